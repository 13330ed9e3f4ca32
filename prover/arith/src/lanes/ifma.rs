//! Vectors in AVX-512 registers, multiplied by the 52-bit multiply-add of AVX-512 IFMA.
#![allow(unsafe_code, reason = "vector instructions")]

use super::{Mask, Register, Task, Unit, multiply_add::MultiplyAdd};
use core::arch::x86_64::*;

/// Eight words in a register.
///
/// Values exist only where the processor has AVX-512 F and IFMA: every function that makes one is called by kernels
/// that are compiled for them, and these are called only after [`are_there`].
#[derive(Clone, Copy)]
pub(crate) struct Ifma(__m512i);

/// Whether the processor has the instructions and the operating system keeps the registers.
pub(crate) fn are_there() -> bool {
    std::arch::is_x86_feature_detected!("avx512f") && std::arch::is_x86_feature_detected!("avx512ifma")
}

impl Unit for Ifma {
    type Vector = Self;

    fn perform<T: Task>(task: T) -> T::Output {
        assert!(are_there(), "the processor has AVX-512 F and IFMA");
        // SAFETY: it has.
        unsafe { perform(task) }
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn perform<T: Task>(task: T) -> T::Output {
    // The compiler aligns the stack only for what it knows of before it assigns registers. Registers that do not
    // suffice are stored there, too, and would lie across two cache lines each.
    core::hint::black_box(&mut Ifma::splat(0));
    task.run()
}

/// Calls an instruction.
macro_rules! instruction {
    ($call:expr) => {
        // SAFETY: a value of the type exists or is made here, so the processor has the instruction; it reads and
        // writes registers only.
        unsafe { $call }
    };
}

impl MultiplyAdd for Ifma {
    #[inline(always)]
    fn sar_52(self) -> Self {
        Self(instruction!(_mm512_srai_epi64::<52>(self.0)))
    }

    #[inline(always)]
    fn add_product_low(self, a: Self, b: Self) -> Self {
        Self(instruction!(_mm512_madd52lo_epu64(self.0, a.0, b.0)))
    }

    #[inline(always)]
    fn add_product_high(self, a: Self, b: Self) -> Self {
        Self(instruction!(_mm512_madd52hi_epu64(self.0, a.0, b.0)))
    }
}

impl Register for Ifma {
    const LANES: usize = 8;

    #[inline(always)]
    fn splat(word: u64) -> Self {
        Self(instruction!(_mm512_set1_epi64(word.cast_signed())))
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(instruction!(_mm512_add_epi64(self.0, other.0)))
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(instruction!(_mm512_sub_epi64(self.0, other.0)))
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        Self(instruction!(_mm512_and_si512(self.0, other.0)))
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        Self(instruction!(_mm512_or_si512(self.0, other.0)))
    }

    #[inline(always)]
    fn shl(self, bits: u32) -> Self {
        Self(instruction!(_mm512_sll_epi64(self.0, _mm_cvtsi32_si128(bits.cast_signed()))))
    }

    #[inline(always)]
    fn shr(self, bits: u32) -> Self {
        Self(instruction!(_mm512_srl_epi64(self.0, _mm_cvtsi32_si128(bits.cast_signed()))))
    }

    #[inline(always)]
    fn lookup(self, table: &[u64; 8]) -> Self {
        let table = load(table);
        Self(instruction!(_mm512_permutexvar_epi64(self.0, table.0)))
    }

    #[inline(always)]
    fn equal(self, other: Self) -> Mask {
        instruction!(_mm512_cmpeq_epu64_mask(self.0, other.0)).into()
    }

    #[inline(always)]
    fn at_most(self, other: Self) -> Mask {
        instruction!(_mm512_cmple_epu64_mask(self.0, other.0)).into()
    }

    #[inline(always)]
    fn replaced(self, mask: Mask, chosen: Self) -> Self {
        Self(instruction!(_mm512_mask_mov_epi64(self.0, mask as __mmask8, chosen.0)))
    }

    #[inline(always)]
    fn load_rows(rows: &[&[u64; 8]]) -> [Self; 8] {
        let [r0, r1, r2, r3, r4, r5, r6, r7] = *rows else { panic!("a row for each lane") };
        transpose([load(r0), load(r1), load(r2), load(r3), load(r4), load(r5), load(r6), load(r7)])
    }

    #[inline(always)]
    fn store_rows(vectors: [Self; 8], rows: &mut [[u64; 8]]) {
        let vectors = transpose(vectors);
        assert_eq!(rows.len(), Self::LANES, "a row for each lane");
        for lane in 0..Self::LANES {
            rows[lane] = unload(vectors[lane]);
        }
    }

    #[inline(always)]
    fn load_quarters(rows: &[[u64; 4]]) -> [Self; 4] {
        let [a, b, c, d] = rows.as_flattened().as_chunks().0 else { panic!("a row for each lane") };
        let [ab_even, ab_odd] = interleave(load(a), load(b));
        let [cd_even, cd_odd] = interleave(load(c), load(d));
        let [[first, third], [second, fourth]] = [gather_quarters(ab_even, cd_even), gather_quarters(ab_odd, cd_odd)];
        [first, second, third, fourth]
    }

    #[inline(always)]
    fn store_quarters(vectors: [Self; 4], rows: &mut [[u64; 4]]) {
        let [first, second, third, fourth] = vectors;
        let [ab_even, cd_even] = spread_quarters(first, third);
        let [ab_odd, cd_odd] = spread_quarters(second, fourth);
        let [[first, second], [third, fourth]] = [interleave(ab_even, ab_odd), interleave(cd_even, cd_odd)];
        let [a, b, c, d] = rows.as_flattened_mut().as_chunks_mut().0 else { panic!("a row for each lane") };
        (*a, *b, *c, *d) = (unload(first), unload(second), unload(third), unload(fourth));
    }

    #[inline(always)]
    fn store(self, words: &mut [u64]) {
        words.copy_from_slice(&unload(self));
    }
}

#[inline(always)]
fn load(words: &[u64; 8]) -> Ifma {
    // SAFETY: the reference is to the 64 bytes that are read, which need no alignment; the processor has the
    // instruction, as for any value of the type.
    Ifma(unsafe { _mm512_loadu_si512(words.as_ptr().cast()) })
}

#[inline(always)]
fn unload(vector: Ifma) -> [u64; 8] {
    let mut words = [0u64; 8];
    // SAFETY: the reference is to the 64 bytes that are written, which need no alignment; a vector exists, so the
    // processor has the instruction.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), vector.0) };
    words
}

/// The even words of two vectors in turn, and the odd ones.
#[inline(always)]
fn interleave(a: Ifma, b: Ifma) -> [Ifma; 2] {
    let even = Ifma(instruction!(_mm512_unpacklo_epi64(a.0, b.0)));
    let odd = Ifma(instruction!(_mm512_unpackhi_epi64(a.0, b.0)));
    [even, odd]
}

/// Quarters 0 and 2 of both vectors, and quarters 1 and 3.
#[inline(always)]
fn gather_quarters(a: Ifma, b: Ifma) -> [Ifma; 2] {
    let even = Ifma(instruction!(_mm512_shuffle_i64x2::<0b10_00_10_00>(a.0, b.0)));
    let odd = Ifma(instruction!(_mm512_shuffle_i64x2::<0b11_01_11_01>(a.0, b.0)));
    [even, odd]
}

/// Puts quarters back where [`gather_quarters`] took them from.
#[inline(always)]
fn spread_quarters(even: Ifma, odd: Ifma) -> [Ifma; 2] {
    let low = instruction!(_mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11));
    let high = instruction!(_mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15));
    let a = Ifma(instruction!(_mm512_permutex2var_epi64(even.0, low, odd.0)));
    let b = Ifma(instruction!(_mm512_permutex2var_epi64(even.0, high, odd.0)));
    [a, b]
}

/// Swaps rows and columns.
#[inline(always)]
fn transpose(rows: [Ifma; 8]) -> [Ifma; 8] {
    let [r0, r1, r2, r3, r4, r5, r6, r7] = rows;
    let [[even_a, odd_a], [even_b, odd_b]] = [interleave(r0, r1), interleave(r2, r3)];
    let [[even_c, odd_c], [even_d, odd_d]] = [interleave(r4, r5), interleave(r6, r7)];
    let [c0, c2, c4, c6] = transpose_quarters(even_a, even_b, even_c, even_d);
    let [c1, c3, c5, c7] = transpose_quarters(odd_a, odd_b, odd_c, odd_d);
    [c0, c1, c2, c3, c4, c5, c6, c7]
}

/// Quarter 0 of each, quarter 1 of each, and so on.
#[inline(always)]
fn transpose_quarters(a: Ifma, b: Ifma, c: Ifma, d: Ifma) -> [Ifma; 4] {
    let [[ab_even, ab_odd], [cd_even, cd_odd]] = [gather_quarters(a, b), gather_quarters(c, d)];
    let [[first, third], [second, fourth]] = [gather_quarters(ab_even, cd_even), gather_quarters(ab_odd, cd_odd)];
    [first, second, third, fourth]
}
