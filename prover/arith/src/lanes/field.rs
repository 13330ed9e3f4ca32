//! Field elements in lanes: limbs of 52 or of 29 bits, as the vector multiplies, in Montgomery form with the radix
//! 2^260.
//!
//! p < 2^254, so 260 bits leave room for sums and multiples of p. How much of it a value may use is its type:
//!
//! | type | each lane's value | limbs |
//! |---|---|---|
//! | [`Reduced`] | below 2.4 p, which fits four words | of [`Vector::LIMB_BITS`] bits |
//! | [`Loose`] | below 2^257, 10 p and more | the same |
//! | [`Limbs`] | what its maker says | signed, up to four times as large |
//!
//! A product of loose factors, (a b + q p) / 2^260 with q of 260 bits, is below 2^254 + p + 2^204 < 2.4 p, so
//! reduced. Debug builds check every bound. The types with N = 2 are elements c0 + c1 u of the quadratic extension,
//! u^2 = -1.

use super::{Mask, Vector};
use ark_bn254::{Fq, FqConfig, Fr, FrConfig};
use ark_ff::{BigInt, BigInteger, MontConfig, PrimeField};
use core::marker::PhantomData;

/// A modulus of 254 bits, and what is computed from it.
pub(crate) trait Modulus: Copy + Send + Sync + 'static {
    /// p, in words.
    const MODULUS: [u64; 4];
    /// 2^256 modulo p, in words.
    const RADIX_256: [u64; 4];
    /// 1 / p modulo 2^64.
    const INVERSE: u64 = {
        let p = Self::MODULUS[0];
        // Newton's iteration doubles the number of bits that are right, of which an odd number has three at first.
        let mut inverse = p;
        let mut bits = 3;
        while bits < 64 {
            inverse = inverse.wrapping_mul(2u64.wrapping_sub(p.wrapping_mul(inverse)));
            bits *= 2;
        }
        inverse
    };
}

/// The modulus of [`Fq`], the coordinates' field.
#[derive(Clone, Copy)]
pub(crate) struct BaseModulus;

impl Modulus for BaseModulus {
    const MODULUS: [u64; 4] = Fq::MODULUS.0;
    const RADIX_256: [u64; 4] = FqConfig::R.0;
}

/// The modulus of [`Fr`], the scalars' field.
#[derive(Clone, Copy)]
pub(crate) struct ScalarModulus;

impl Modulus for ScalarModulus {
    const MODULUS: [u64; 4] = Fr::MODULUS.0;
    const RADIX_256: [u64; 4] = FrConfig::R.0;
}

/// The most limbs that a vector cuts numbers into.
pub(super) const LIMBS_MAX: usize = 9;

/// Numbers in the limbs of a vector; those beyond [`Vector::LIMBS`] are zero.
pub(super) struct InLimbs<V, M>(PhantomData<(V, M)>);

impl<V: Vector, M: Modulus> InLimbs<V, M> {
    /// p.
    pub(super) const P: [u64; LIMBS_MAX] = Self::multiple(1);
    /// The k-th entry of table i is limb i of k p.
    pub(super) const MULTIPLES: [[u64; 8]; LIMBS_MAX] = Self::table(false);
    /// The k-th entry of table i is limb i of the greatest multiple of p up to k 2^254.
    const MULTIPLES_BELOW: [[u64; 8]; LIMBS_MAX] = Self::table(true);
    /// 2^260 modulo p: 16 times ark-ff's one, 2^256 modulo p.
    const ONE: [u64; LIMBS_MAX] = {
        let mut words = M::RADIX_256;
        let mut doublings = 0;
        while doublings < 4 {
            words = double(words, &M::MODULUS);
            doublings += 1;
        }
        Self::cut(times(&words, 1))
    };

    /// k p.
    pub(super) const fn multiple(k: u64) -> [u64; LIMBS_MAX] {
        Self::cut(times(&M::MODULUS, k))
    }

    /// 1 / 2^(k [`Vector::LIMB_BITS`]) modulo p.
    pub(super) const fn inverse_of_limbs(k: u32) -> [u64; LIMBS_MAX] {
        let mut words = [1, 0, 0, 0];
        let mut bits = k * V::LIMB_BITS;
        while bits > 0 {
            words = half(words, &M::MODULUS);
            bits -= 1;
        }
        Self::cut(times(&words, 1))
    }

    const fn cut(words: [u64; 5]) -> [u64; LIMBS_MAX] {
        assert!(words[4] >> 4 == 0, "the number fits 260 bits");
        let mut limbs = [0; LIMBS_MAX];
        let mut i = 0;
        while i < V::LIMBS {
            let bit = i * V::LIMB_BITS as usize;
            let (word, shift) = (bit / 64, bit % 64);
            let above = if word == 4 || shift == 0 { 0 } else { words[word + 1] << (64 - shift) };
            limbs[i] = (words[word] >> shift | above) & limb_mask::<V>();
            i += 1;
        }
        limbs
    }

    const fn table(below: bool) -> [[u64; 8]; LIMBS_MAX] {
        assert!(M::MODULUS[3] >> 61 == 1, "a modulus of 254 bits");
        let mut table = [[0; 8]; LIMBS_MAX];
        let mut k = 0;
        while k < 8 {
            let mut factor = k as u64;
            // p is above 2^253, so no more than twice k multiples fit.
            while below && bits_from_254(times(&M::MODULUS, factor + 1)) < k as u64 {
                factor += 1;
            }
            let limbs = Self::multiple(factor);
            let mut i = 0;
            while i < V::LIMBS {
                table[i][k] = limbs[i];
                i += 1;
            }
            k += 1;
        }
        table
    }
}

/// Ones in the bits of a limb.
#[inline(always)]
pub(super) const fn limb_mask<V: Vector>() -> u64 {
    (1 << V::LIMB_BITS) - 1
}

/// The bits of a number below the highest limb.
const fn bits_below_highest<V: Vector>() -> u32 {
    V::LIMB_BITS * (V::LIMBS as u32 - 1)
}

const fn bits_from_254(words: [u64; 5]) -> u64 {
    words[3] >> 62 | words[4] << 2
}

/// A number times a small one.
const fn times(number: &[u64; 4], factor: u64) -> [u64; 5] {
    let mut words = [0; 5];
    let mut carry = 0;
    let mut i = 0;
    while i < 4 {
        let sum = number[i] as u128 * factor as u128 + carry;
        words[i] = sum as u64;
        carry = sum >> 64;
        i += 1;
    }
    words[4] = carry as u64;
    words
}

/// Half of a number below p, modulo p.
pub(super) const fn half(words: [u64; 4], p: &[u64; 4]) -> [u64; 4] {
    let odd = words[0] & 1;
    let mut sum = [0; 4];
    let mut carry = 0;
    let mut i = 0;
    while i < 4 {
        let partial = words[i] as u128 + (p[i] * odd) as u128 + carry;
        sum[i] = partial as u64;
        carry = partial >> 64;
        i += 1;
    }
    [sum[0] >> 1 | sum[1] << 63, sum[1] >> 1 | sum[2] << 63, sum[2] >> 1 | sum[3] << 63, sum[3] >> 1]
}

/// Twice a number below p, modulo p.
const fn double(words: [u64; 4], p: &[u64; 4]) -> [u64; 4] {
    let doubled = times(&words, 2);
    assert!(doubled[4] == 0, "twice a number below 2^254");
    let mut difference = [0; 4];
    let mut borrow = false;
    let mut i = 0;
    while i < 4 {
        let (partial, under) = doubled[i].overflowing_sub(p[i]);
        let (word, under_again) = partial.overflowing_sub(borrow as u64);
        difference[i] = word;
        borrow = under | under_again;
        i += 1;
    }
    if borrow { [doubled[0], doubled[1], doubled[2], doubled[3]] } else { difference }
}

/// Limbs of no particular size, in N components.
#[derive(Clone, Copy)]
pub(crate) struct Limbs<V: Vector, M, const N: usize>([V::Limbs; N], PhantomData<M>);

/// Values below 2^257: what can be multiplied.
#[derive(Clone, Copy)]
pub(crate) struct Loose<V: Vector, M, const N: usize>([V::Limbs; N], PhantomData<M>);

/// Values below 2.4 p: what can be stored in four words.
#[derive(Clone, Copy)]
pub(crate) struct Reduced<V: Vector, M, const N: usize>([V::Limbs; N], PhantomData<M>);

impl<V: Vector, M: Modulus, const N: usize> Limbs<V, M, N> {
    /// Values of four words each, shifted to the left by `SHIFT` bits: the words' vectors, those of the second
    /// component after those of the first. The limbs are those of a factor.
    ///
    /// # Panics
    /// If there are not four words for each component.
    #[inline(always)]
    pub(crate) fn from_words<const SHIFT: u32>(words: &[V]) -> Self {
        let mut components = [V::zero(); N];
        for i in 0..N {
            let words = [words[4 * i], words[4 * i + 1], words[4 * i + 2], words[4 * i + 3]];
            for j in 0..V::LIMBS {
                // The shift is merged with that of each word to its limb.
                let bit = (V::LIMB_BITS * j as u32).saturating_sub(SHIFT);
                let (word, shift) = ((bit / 64) as usize, bit % 64);
                let mut limb = if j == 0 { words[0].shl(SHIFT) } else { words[word].shr(shift) };
                if j > 0 && word < 3 && shift + V::LIMB_BITS > 64 {
                    limb = limb.or(words[word + 1].shl(64 - shift));
                }
                components[i][j] = if j + 1 < V::LIMBS { limb.and(V::splat(limb_mask::<V>())) } else { limb };
            }
        }
        Self(components, PhantomData)
    }

    #[inline(always)]
    pub(crate) fn plus(mut self, other: Self) -> Self {
        for i in 0..N {
            for j in 0..V::LIMBS {
                self.0[i][j] = self.0[i][j].add(other.0[i][j]);
            }
        }
        self
    }

    #[inline(always)]
    pub(crate) fn minus(mut self, other: Self) -> Self {
        for i in 0..N {
            for j in 0..V::LIMBS {
                self.0[i][j] = self.0[i][j].sub(other.0[i][j]);
            }
        }
        self
    }

    /// Adds K p.
    #[inline(always)]
    pub(crate) fn plus_p<const K: usize>(mut self) -> Self {
        let multiple: [u64; LIMBS_MAX] = const { InLimbs::<V, M>::multiple(K as u64) };
        for i in 0..N {
            for j in 0..V::LIMBS {
                self.0[i][j] = self.0[i][j].add(V::splat(multiple[j]));
            }
        }
        self
    }

    /// Negated in the lanes of a mask.
    #[inline(always)]
    pub(crate) fn negated_in(mut self, mask: Mask) -> Self {
        for i in 0..N {
            for j in 0..V::LIMBS {
                self.0[i][j] = self.0[i][j].replaced(mask, V::splat(0).sub(self.0[i][j]));
            }
        }
        self
    }

    /// The same values, which must be from 0 to below 2^257, in the limbs of factors.
    #[inline(always)]
    pub(crate) fn carried(mut self) -> Loose<V, M, N> {
        for i in 0..N {
            self.0[i] = carried::<V>(self.0[i]);
            debug_assert_below::<V>(&self.0[i], 1 << (257 - bits_below_highest::<V>()));
        }
        Loose(self.0, PhantomData)
    }

    /// The lanes in which every limb is zero.
    #[inline(always)]
    pub(crate) fn all_zero(&self) -> Mask {
        let mut any = V::splat(0);
        for i in 0..N {
            for j in 0..V::LIMBS {
                any = any.or(self.0[i][j]);
            }
        }
        any.equal(V::splat(0))
    }
}

/// Takes each limb's excess over its bits to the next.
#[inline(always)]
pub(super) fn carried<V: Vector>(mut limbs: V::Limbs) -> V::Limbs {
    for i in 0..V::LIMBS - 1 {
        limbs[i + 1] = limbs[i + 1].add(limbs[i].carry());
        limbs[i] = limbs[i].and(V::splat(limb_mask::<V>()));
    }
    limbs
}

/// Checks in debug builds that limbs are those of a factor and the highest is below a bound.
#[inline(always)]
fn debug_assert_below<V: Vector>(limbs: &V::Limbs, highest_max: u64) {
    if cfg!(debug_assertions) {
        for i in 0..V::LIMBS {
            let most = if i + 1 < V::LIMBS { limb_mask::<V>() } else { highest_max - 1 };
            assert_eq!(limbs[i].at_most(V::splat(most)), V::ALL, "limb {i}");
        }
    }
}

impl<V: Vector, M: Modulus, const N: usize> Loose<V, M, N> {
    /// The same elements, below p + 2^254: less the greatest multiple of p up to what the bits from 2^254 on stand for.
    #[inline(always)]
    pub(crate) fn reduced(mut self) -> Reduced<V, M, N> {
        for i in 0..N {
            let index = self.0[i][V::LIMBS - 1].shr(254 - bits_below_highest::<V>());
            for j in 0..V::LIMBS {
                self.0[i][j] = self.0[i][j].sub(index.lookup(&InLimbs::<V, M>::MULTIPLES_BELOW[j]));
            }
            self.0[i] = carried::<V>(self.0[i]);
        }
        Reduced::new(self.0)
    }

    /// The lanes whose value may be a multiple of p: all in which it is, and hardly any others.
    #[inline(always)]
    pub(crate) fn maybe_zero(&self) -> Mask {
        let mut mask = V::ALL;
        for i in 0..N {
            mask &= multiple_of_p::<V, M>(&self.0[i]).at_most(V::splat(10));
        }
        mask
    }

    /// The lanes whose value is a multiple of p, which must be below 8 p.
    #[inline(always)]
    pub(crate) fn is_zero(&self) -> Mask {
        let mut mask = V::ALL;
        for i in 0..N {
            let k = multiple_of_p::<V, M>(&self.0[i]);
            mask &= k.at_most(V::splat(7));
            for j in 0..V::LIMBS {
                mask &= self.0[i][j].equal(k.lookup(&InLimbs::<V, M>::MULTIPLES[j]));
            }
        }
        mask
    }

    /// `chosen` in the lanes of a mask, this in the others.
    #[inline(always)]
    pub(crate) fn replaced(self, mask: Mask, chosen: Self) -> Self {
        Self(replaced::<V, N>(self.0, mask, chosen.0), PhantomData)
    }

    /// One in every lane.
    #[inline(always)]
    pub(crate) fn one() -> Self {
        let mut components = [V::zero(); N];
        for j in 0..V::LIMBS {
            components[0][j] = V::splat(InLimbs::<V, M>::ONE[j]);
        }
        Self(components, PhantomData)
    }

    #[inline(always)]
    pub(crate) fn limbs(self) -> Limbs<V, M, N> {
        Limbs(self.0, PhantomData)
    }

    /// The products.
    #[inline(always)]
    pub(crate) fn times(&self, other: &Self) -> Reduced<V, M, N> {
        let mut product = [V::zero(); N];
        match N {
            1 => {
                product[0] = V::times::<M>(&self.0[0], &other.0[0]);
                Reduced::new(product)
            }
            2 => {
                let [a, b] = [&self.0, &other.0];
                [product[0], product[1]] = V::times_in_extension::<M>([&a[0], &a[1]], [&b[0], &b[1]]);
                Self(product, PhantomData).reduced()
            }
            _ => unreachable!("elements have one component or two"),
        }
    }

    /// The squares.
    #[inline(always)]
    pub(crate) fn squared(&self) -> Reduced<V, M, N> {
        match N {
            1 => Reduced::new([V::squared::<M>(&self.0[0]); N]),
            2 => self.squared_by_difference(),
            _ => unreachable!("elements have one component or two"),
        }
    }

    /// (a0 + a1) (a0 - a1) and 2 a0 a1. The factors are below 2^258, 2^257 + 11p < 2^258.1, 2^258 and 2^257, so the
    /// reduced products are below 2^256.1 + p and 2^255 + p: both below 2^257.
    #[inline(always)]
    fn squared_by_difference(&self) -> Reduced<V, M, N> {
        let (a0, a1) = (&self.0[0], &self.0[1]);
        let eleven_p: [u64; LIMBS_MAX] = const { InLimbs::<V, M>::multiple(11) };
        let (mut sum, mut difference, mut twice) = (*a0, *a0, *a0);
        for j in 0..V::LIMBS {
            sum[j] = a0[j].add(a1[j]);
            difference[j] = a0[j].sub(a1[j]).add(V::splat(eleven_p[j]));
            twice[j] = a0[j].add(a0[j]);
        }
        let mut square = [V::zero(); N];
        square[0] = V::times::<M>(&carried::<V>(sum), &carried::<V>(difference));
        square[1] = V::times::<M>(&carried::<V>(twice), a1);
        Self(square, PhantomData).reduced()
    }
}

/// The k for which the lowest limb is that of k p, among the numbers of a limb's bits.
#[inline(always)]
fn multiple_of_p<V: Vector, M: Modulus>(limbs: &V::Limbs) -> V {
    limbs[0].low_product(V::splat(M::INVERSE & limb_mask::<V>()))
}

#[inline(always)]
fn replaced<V: Vector, const N: usize>(mut these: [V::Limbs; N], mask: Mask, chosen: [V::Limbs; N]) -> [V::Limbs; N] {
    for i in 0..N {
        for j in 0..V::LIMBS {
            these[i][j] = these[i][j].replaced(mask, chosen[i][j]);
        }
    }
    these
}

impl<V: Vector, M: Modulus, const N: usize> Reduced<V, M, N> {
    #[inline(always)]
    fn new(components: [V::Limbs; N]) -> Self {
        // The highest limb of p + 2^254 + 2^204 is that of p and a power of two more.
        let highest_max = InLimbs::<V, M>::P[V::LIMBS - 1] + (1 << (254 - bits_below_highest::<V>())) + 1;
        for limbs in &components {
            debug_assert_below::<V>(limbs, highest_max);
        }
        Self(components, PhantomData)
    }

    /// Values of four words that were stored by [`Reduced::words`], or are below p.
    #[inline(always)]
    pub(crate) fn from_words(words: &[V]) -> Self {
        Self::new(Limbs::<V, M, N>::from_words::<0>(words).0)
    }

    /// Four words for each component, the lowest first.
    #[inline(always)]
    pub(crate) fn words(&self, component: usize) -> [V; 4] {
        let mut words = [V::splat(0); 4];
        for j in 0..V::LIMBS {
            let limb = self.0[component][j];
            let bit = V::LIMB_BITS * j as u32;
            let (word, shift) = ((bit / 64) as usize, bit % 64);
            words[word] = words[word].or(limb.shl(shift));
            if word < 3 && shift + V::LIMB_BITS > 64 {
                words[word + 1] = limb.shr(64 - shift);
            }
        }
        words
    }

    /// `chosen` in the lanes of a mask, this in the others.
    #[inline(always)]
    pub(crate) fn replaced(self, mask: Mask, chosen: Self) -> Self {
        Self(replaced::<V, N>(self.0, mask, chosen.0), PhantomData)
    }

    /// Zero in every lane.
    #[inline(always)]
    pub(crate) fn zero() -> Self {
        Self([V::zero(); N], PhantomData)
    }

    /// The same elements below p.
    #[inline(always)]
    pub(crate) fn canonical(mut self) -> Self {
        for i in 0..N {
            // 2.4 p < 3p.
            for _ in 0..2 {
                let mut less = self.0[i];
                for j in 0..V::LIMBS {
                    less[j] = less[j].sub(V::splat(InLimbs::<V, M>::P[j]));
                }
                let less = carried::<V>(less);
                // The highest limb is negative where p was too much.
                let fits = less[V::LIMBS - 1].at_most(V::splat(limb_mask::<V>()));
                for j in 0..V::LIMBS {
                    self.0[i][j] = self.0[i][j].replaced(fits, less[j]);
                }
            }
        }
        self
    }

    /// Zero in the lanes of a mask.
    #[inline(always)]
    pub(crate) fn zeroed(self, mask: Mask) -> Self {
        Self(replaced::<V, N>(self.0, mask, [V::zero(); N]), PhantomData)
    }

    #[inline(always)]
    pub(crate) fn loose(self) -> Loose<V, M, N> {
        Loose(self.0, PhantomData)
    }

    #[inline(always)]
    pub(crate) fn limbs(self) -> Limbs<V, M, N> {
        Limbs(self.0, PhantomData)
    }
}

/// The number below p that differs from one of four words by a multiple of p.
pub(crate) fn canonical<M: Modulus>(words: [u64; 4]) -> [u64; 4] {
    let (mut number, modulus) = (BigInt::new(words), BigInt::new(M::MODULUS));
    // p is above 2^253, so it fits into 2^256 seven times at most.
    while number >= modulus {
        number.sub_with_borrow(&modulus);
    }
    number.0
}

#[cfg(test)]
mod tests;
