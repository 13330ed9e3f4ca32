//! Eight or sixteen field elements at a time, in the lanes of vectors of 64-bit words.
//!
//! The arithmetic is written once over [`Vector`]. [`ifma`] gives it AVX-512's 52-bit multiply-add; tests also run it on
//! plain words, so that every machine checks all but the instructions themselves.

#![allow(clippy::needless_range_loop, reason = "loops over lanes and limbs go by index, to be unrolled into registers")]

pub(crate) mod additions;
#[cfg(test)]
mod emulated;
pub(crate) mod field;
#[cfg(target_arch = "x86_64")]
pub(crate) mod ifma;
pub(crate) mod transform;
pub(crate) mod vectors;

#[cfg(test)]
pub(crate) use emulated::Emulated;
#[cfg(target_arch = "x86_64")]
pub(crate) use ifma::Ifma;

/// One bit a lane, the lowest for the first.
pub(crate) type Mask = u32;

/// A vector of 64-bit words. Arithmetic wraps.
///
/// Whatever uses one has to be inlined into a function that is compiled for the vector's instructions. So every method here and every function
/// over vectors is `inline(always)`, and none of them hands a vector to a closure, which the compiler might leave a function of its own.
pub(crate) trait Vector: Copy + Send + Sync + 'static {
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
    fn shl<const BITS: u32>(self) -> Self;
    /// Shifts to the right, filling with zeros.
    fn shr<const BITS: u32>(self) -> Self;
    /// Shifts to the right, filling with the sign.
    fn sar<const BITS: u32>(self) -> Self;

    /// This plus the low 52 bits of the product of the low 52 bits of `a` and `b`.
    fn add_product_low(self, a: Self, b: Self) -> Self;
    /// This plus the high 52 bits of the product of the low 52 bits of `a` and `b`.
    fn add_product_high(self, a: Self, b: Self) -> Self;

    /// In each lane, the entry of the table that the lane's low three bits name.
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
    /// Writes back what [`Vector::load_rows`] read.
    fn store_rows(vectors: [Self; 8], rows: &mut [[u64; 8]]);

    /// Reads a row of four words for each lane, one after the other: the vectors of their first words, of their second,
    /// and so on. The order of the lanes is the vector's own, as [`Vector::store_quarters`] takes it.
    ///
    /// # Panics
    /// If there is not one row for each lane.
    fn load_quarters(rows: &[[u64; 4]]) -> [Self; 4];
    /// Writes back what [`Vector::load_quarters`] read.
    fn store_quarters(vectors: [Self; 4], rows: &mut [[u64; 4]]);

    /// Writes the words in order.
    ///
    /// # Panics
    /// If there is not one word for each lane.
    fn store(self, words: &mut [u64]);
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

/// Two vectors side by side: their instructions are independent, so the processor has work while it waits for one.
#[derive(Clone, Copy)]
pub(crate) struct Pair<V>(V, V);

/// Methods that do the same to both vectors.
macro_rules! on_both {
    ($($method:ident($($argument:ident),*);)*) => {
        $(
            #[inline(always)]
            fn $method(self, $($argument: Self),*) -> Self {
                Self(self.0.$method($($argument.0),*), self.1.$method($($argument.1),*))
            }
        )*
    };
}

impl<V: Vector> Vector for Pair<V> {
    const LANES: usize = 2 * V::LANES;

    on_both! {
        add(other);
        sub(other);
        and(other);
        or(other);
        add_product_low(a, b);
        add_product_high(a, b);
    }

    #[inline(always)]
    fn splat(word: u64) -> Self {
        Self(V::splat(word), V::splat(word))
    }

    #[inline(always)]
    fn shl<const BITS: u32>(self) -> Self {
        Self(self.0.shl::<BITS>(), self.1.shl::<BITS>())
    }

    #[inline(always)]
    fn shr<const BITS: u32>(self) -> Self {
        Self(self.0.shr::<BITS>(), self.1.shr::<BITS>())
    }

    #[inline(always)]
    fn sar<const BITS: u32>(self) -> Self {
        Self(self.0.sar::<BITS>(), self.1.sar::<BITS>())
    }

    #[inline(always)]
    fn lookup(self, table: &[u64; 8]) -> Self {
        Self(self.0.lookup(table), self.1.lookup(table))
    }

    #[inline(always)]
    fn equal(self, other: Self) -> Mask {
        self.0.equal(other.0) | self.1.equal(other.1) << V::LANES
    }

    #[inline(always)]
    fn at_most(self, other: Self) -> Mask {
        self.0.at_most(other.0) | self.1.at_most(other.1) << V::LANES
    }

    #[inline(always)]
    fn replaced(self, mask: Mask, chosen: Self) -> Self {
        Self(self.0.replaced(mask & V::ALL, chosen.0), self.1.replaced(mask >> V::LANES, chosen.1))
    }

    #[inline(always)]
    fn load_rows(rows: &[&[u64; 8]]) -> [Self; 8] {
        let (first, second) = rows.split_at(V::LANES);
        zip(V::load_rows(first), V::load_rows(second))
    }

    #[inline(always)]
    fn store_rows(vectors: [Self; 8], rows: &mut [[u64; 8]]) {
        let (first, second) = rows.split_at_mut(V::LANES);
        let (vectors_first, vectors_second) = unzip(vectors);
        V::store_rows(vectors_first, first);
        V::store_rows(vectors_second, second);
    }

    #[inline(always)]
    fn load_quarters(rows: &[[u64; 4]]) -> [Self; 4] {
        let (first, second) = rows.split_at(V::LANES);
        zip(V::load_quarters(first), V::load_quarters(second))
    }

    #[inline(always)]
    fn store_quarters(vectors: [Self; 4], rows: &mut [[u64; 4]]) {
        let (first, second) = rows.split_at_mut(V::LANES);
        let (vectors_first, vectors_second) = unzip(vectors);
        V::store_quarters(vectors_first, first);
        V::store_quarters(vectors_second, second);
    }

    #[inline(always)]
    fn store(self, words: &mut [u64]) {
        let (first, second) = words.split_at_mut(V::LANES);
        self.0.store(first);
        self.1.store(second);
    }
}

#[inline(always)]
fn zip<V: Vector, const N: usize>(first: [V; N], second: [V; N]) -> [Pair<V>; N] {
    let mut pairs = [Pair::splat(0); N];
    for i in 0..N {
        pairs[i] = Pair(first[i], second[i]);
    }
    pairs
}

#[inline(always)]
fn unzip<V: Vector, const N: usize>(pairs: [Pair<V>; N]) -> ([V; N], [V; N]) {
    let mut vectors = ([V::splat(0); N], [V::splat(0); N]);
    for i in 0..N {
        (vectors.0[i], vectors.1[i]) = (pairs[i].0, pairs[i].1);
    }
    vectors
}
