//! Four or eight field elements at a time, in the lanes of vectors of 64-bit words.
//!
//! The arithmetic is written once over [`Vector`]; what differs are the limbs that a number is cut into, and their
//! products. [`ifma`] has AVX-512's 52-bit multiply-add, [`avx2`] the product of two numbers of 32 bits. Tests also
//! run it on plain words that multiply as AVX-512 does, so that every machine checks all but the instructions
//! themselves.

#![allow(clippy::needless_range_loop, reason = "loops over lanes and limbs go by index, to be unrolled into registers")]

pub(crate) mod additions;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(test)]
mod emulated;
pub(crate) mod field;
#[cfg(target_arch = "x86_64")]
pub(crate) mod ifma;
mod multiply_add;
pub(crate) mod transform;
pub(crate) mod vectors;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(test)]
pub(crate) use emulated::Emulated;
#[cfg(target_arch = "x86_64")]
pub(crate) use ifma::Ifma;

use core::ops::IndexMut;
use field::Modulus;

/// Calls a function of tests, which is generic over a [`Unit`], with each that the machine has.
#[cfg(test)]
macro_rules! on_every_unit {
    ($on:ident) => {
        $on::<$crate::lanes::Emulated>();
        #[cfg(target_arch = "x86_64")]
        if $crate::lanes::avx2::are_there() {
            $on::<$crate::lanes::Avx2>();
        }
        #[cfg(target_arch = "x86_64")]
        if $crate::lanes::ifma::are_there() {
            $on::<$crate::lanes::Ifma>();
        }
    };
}
#[cfg(test)]
pub(crate) use on_every_unit;

/// One bit a lane, the lowest for the first.
pub(crate) type Mask = u32;

/// A vector of 64-bit words. Arithmetic wraps.
///
/// Whatever uses one has to be inlined into a function that is compiled for the vector's instructions. So every
/// method here and every function over vectors is `inline(always)`, and none of them hands a vector to a closure,
/// which the compiler might leave a function of its own.
pub(crate) trait Register: Copy + Send + Sync + 'static {
    /// The number of words.
    const LANES: usize;

    /// A mask of every lane.
    const ALL: Mask = (1 << Self::LANES) - 1;

    /// The same word in every lane.
    fn splat(word: u64) -> Self;

    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn and(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    /// Shifts to the left.
    fn shl(self, bits: u32) -> Self;
    /// Shifts to the right, filling with zeros.
    fn shr(self, bits: u32) -> Self;

    /// In each lane, the entry of the table that the lane's low three bits name, if its word is below 2^32. The first
    /// entry is zero.
    fn lookup(self, table: &[u64; 8]) -> Self;

    /// The lanes in which both are equal.
    fn equal(self, other: Self) -> Mask;
    /// The lanes in which this is at most the other, without sign.
    fn at_most(self, other: Self) -> Mask;
    /// `chosen` in the lanes of the mask, this in the others.
    fn replaced(self, mask: Mask, chosen: Self) -> Self;

    /// Reads a row of eight words for each lane: the vectors of their first words, of their second, and so on.
    ///
    /// # Panics
    /// If there is not one row for each lane.
    fn load_rows(rows: &[&[u64; 8]]) -> [Self; 8];
    /// Writes back what [`Register::load_rows`] read.
    fn store_rows(vectors: [Self; 8], rows: &mut [[u64; 8]]);

    /// Reads a row of four words for each lane, one after the other: the vectors of their first words, of their second,
    /// and so on. The order of the lanes is the vector's own, as [`Register::store_quarters`] takes it.
    ///
    /// # Panics
    /// If there is not one row for each lane.
    fn load_quarters(rows: &[[u64; 4]]) -> [Self; 4];
    /// Writes back what [`Register::load_quarters`] read.
    fn store_quarters(vectors: [Self; 4], rows: &mut [[u64; 4]]);

    /// Writes the words in order.
    ///
    /// # Panics
    /// If there is not one word for each lane.
    fn store(self, words: &mut [u64]);
}

/// Numbers of 260 bits in limbs, one number in each lane, and their products in Montgomery form with the radix 2^260.
///
/// Factors have no negative limbs and none above [`Vector::LIMB_BITS`] bits, but for the highest, which holds what is
/// left of the number. So do results. A product t of the factors, or a sum of such, becomes t / 2^260 modulo p, below
/// t / 2^260 + p + 2^204.
pub(crate) trait Vector: Register {
    /// The limbs of a number, the lowest first.
    type Limbs: Copy + Send + Sync + IndexMut<usize, Output = Self>;
    const LIMBS: usize;
    const LIMB_BITS: u32;

    /// Zero.
    fn zero() -> Self::Limbs;

    /// What a signed limb carries to the next: it is shifted to the right by [`Vector::LIMB_BITS`], filling with the
    /// sign. Limbs are at most four times as large as limbs of a factor.
    fn carry(self) -> Self;

    /// The lowest limb of the product of two limbs.
    fn low_product(self, other: Self) -> Self;

    /// A product of factors below 2^258.1.
    fn times<M: Modulus>(a: &Self::Limbs, b: &Self::Limbs) -> Self::Limbs;

    /// A square of a factor below 2^257.
    fn squared<M: Modulus>(a: &Self::Limbs) -> Self::Limbs;

    /// A product of elements of the quadratic extension, whose components are below 2^257; so are the product's.
    fn times_in_extension<M: Modulus>(a: [&Self::Limbs; 2], b: [&Self::Limbs; 2]) -> [Self::Limbs; 2];
}

/// Work on vectors. Implementations of [`Task::run`] are `inline(always)`.
pub(crate) trait Task {
    /// What comes of it.
    type Output;

    /// Does the work.
    fn run(self) -> Self::Output;
}

/// What can do work on its vectors.
pub(crate) trait Unit: Send + Sync + 'static {
    /// The vectors.
    type Vector: Vector;

    /// Does the work, compiled for the vectors' instructions.
    ///
    /// # Panics
    /// If the processor does not have them.
    fn perform<T: Task>(task: T) -> T::Output;
}
