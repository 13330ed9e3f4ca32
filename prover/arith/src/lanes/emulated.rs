//! Vectors of plain words: what the instructions of [`super::ifma`] are meant to do.

use super::{Mask, Register, Task, Unit, multiply_add::MultiplyAdd};

/// Eight words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Emulated([u64; 8]);

impl Emulated {
    fn zip(self, other: Self, of: impl Fn(u64, u64) -> u64) -> Self {
        Self(core::array::from_fn(|lane| of(self.0[lane], other.0[lane])))
    }

    fn mask(self, other: Self, of: impl Fn(&u64, &u64) -> bool) -> Mask {
        (0..8).map(|lane| u32::from(of(&self.0[lane], &other.0[lane])) << lane).sum()
    }
}

impl Unit for Emulated {
    type Vector = Self;

    fn perform<T: Task>(task: T) -> T::Output {
        task.run()
    }
}

fn product(a: u64, b: u64) -> u128 {
    const LOW: u64 = (1 << 52) - 1;
    u128::from(a & LOW) * u128::from(b & LOW)
}

impl MultiplyAdd for Emulated {
    fn sar_52(self) -> Self {
        Self(self.0.map(|word| (word.cast_signed() >> 52).cast_unsigned()))
    }

    fn add_product_low(self, a: Self, b: Self) -> Self {
        self.add(a.zip(b, |a, b| product(a, b) as u64 & ((1 << 52) - 1)))
    }

    fn add_product_high(self, a: Self, b: Self) -> Self {
        self.add(a.zip(b, |a, b| (product(a, b) >> 52) as u64))
    }
}

impl Register for Emulated {
    const LANES: usize = 8;

    fn splat(word: u64) -> Self {
        Self([word; 8])
    }

    fn add(self, other: Self) -> Self {
        self.zip(other, u64::wrapping_add)
    }

    fn sub(self, other: Self) -> Self {
        self.zip(other, u64::wrapping_sub)
    }

    fn and(self, other: Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    fn or(self, other: Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    fn shl(self, bits: u32) -> Self {
        Self(self.0.map(|word| word << bits))
    }

    fn shr(self, bits: u32) -> Self {
        Self(self.0.map(|word| word >> bits))
    }

    fn lookup(self, table: &[u64; 8]) -> Self {
        Self(self.0.map(|word| table[word as usize % 8]))
    }

    fn equal(self, other: Self) -> Mask {
        self.mask(other, |a, b| a == b)
    }

    fn at_most(self, other: Self) -> Mask {
        self.mask(other, |a, b| a <= b)
    }

    fn replaced(self, mask: Mask, chosen: Self) -> Self {
        Self(core::array::from_fn(|lane| if mask >> lane & 1 == 1 { chosen.0[lane] } else { self.0[lane] }))
    }

    fn load_rows(rows: &[&[u64; 8]]) -> [Self; 8] {
        assert_eq!(rows.len(), Self::LANES);
        core::array::from_fn(|word| Self(core::array::from_fn(|lane| rows[lane][word])))
    }

    fn store_rows(vectors: [Self; 8], rows: &mut [[u64; 8]]) {
        assert_eq!(rows.len(), Self::LANES);
        rows.iter_mut().enumerate().for_each(|(lane, row)| *row = vectors.map(|vector| vector.0[lane]));
    }

    fn load_quarters(rows: &[[u64; 4]]) -> [Self; 4] {
        assert_eq!(rows.len(), Self::LANES);
        core::array::from_fn(|word| Self(core::array::from_fn(|lane| rows[lane][word])))
    }

    fn store_quarters(vectors: [Self; 4], rows: &mut [[u64; 4]]) {
        assert_eq!(rows.len(), Self::LANES);
        rows.iter_mut().enumerate().for_each(|(lane, row)| *row = vectors.map(|vector| vector.0[lane]));
    }

    fn store(self, words: &mut [u64]) {
        words.copy_from_slice(&self.0);
    }
}
