//! Field elements in lanes: five limbs of 52 bits, in Montgomery form with the radix 2^260.
//!
//! p < 2^254, so 260 bits leave room for sums and multiples of p. How much of it a value may use is its type:
//!
//! | type | each lane's value | limbs |
//! |---|---|---|
//! | [`Reduced`] | below p + 2^254, which fits four words | below 2^52 |
//! | [`Loose`] | below 2^257, 10 p and more | below 2^52 |
//! | [`Limbs`] | what its maker says | signed, any that do not overflow |
//!
//! A product of loose factors, (a b + q p) / 2^260 with q < 2^260, is below 2^254 + p, so reduced. Debug builds check every bound.
//! The types with N = 2 are elements c0 + c1 u of the quadratic extension, u^2 = -1.

use super::{Mask, Vector};
use ark_bn254::{Fq, FqConfig, Fr, FrConfig};
use ark_ff::{BigInt, BigInteger, MontConfig, PrimeField};
use core::marker::PhantomData;

/// Ones in the bits of a limb.
const LIMB: u64 = (1 << 52) - 1;

/// A modulus of 254 bits, and what is computed from it.
pub(crate) trait Modulus: Copy + Send + Sync + 'static {
    /// p, in words.
    const MODULUS: [u64; 4];
    /// 2^256 modulo p, in words.
    const RADIX_256: [u64; 4];
    /// p, in limbs.
    const P: [u64; 5] = multiple(&Self::MODULUS, 1);
    /// 1 / p modulo 2^52.
    const INVERSE: u64 = {
        let p = Self::MODULUS[0];
        // Newton's iteration doubles the number of bits that are right, of which an odd number has three at first.
        let mut inverse = p;
        let mut bits = 3;
        while bits < 64 {
            inverse = inverse.wrapping_mul(2u64.wrapping_sub(p.wrapping_mul(inverse)));
            bits *= 2;
        }
        inverse & LIMB
    };
    /// The k-th entry of table i is limb i of k p.
    const MULTIPLES: [[u64; 8]; 5] = table(&Self::MODULUS, false);
    /// The k-th entry of table i is limb i of the greatest multiple of p up to k 2^254.
    const MULTIPLES_BELOW: [[u64; 8]; 5] = table(&Self::MODULUS, true);
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

/// k p, in limbs.
const fn multiple(p: &[u64; 4], k: u64) -> [u64; 5] {
    let p = [
        p[0] & LIMB,
        (p[0] >> 52 | p[1] << 12) & LIMB,
        (p[1] >> 40 | p[2] << 24) & LIMB,
        (p[2] >> 28 | p[3] << 36) & LIMB,
        p[3] >> 16,
    ];
    let mut limbs = [0; 5];
    let mut carry = 0;
    let mut i = 0;
    while i < 5 {
        let sum = p[i] as u128 * k as u128 + carry;
        limbs[i] = sum as u64 & LIMB;
        carry = sum >> 52;
        i += 1;
    }
    assert!(carry == 0, "the multiple fits 260 bits");
    limbs
}

const fn table(p: &[u64; 4], below: bool) -> [[u64; 8]; 5] {
    assert!(p[3] >> 61 == 1, "a modulus of 254 bits");
    let mut table = [[0; 8]; 5];
    let mut k = 0;
    while k < 8 {
        let mut factor = k as u64;
        // p is above 2^253, so no more than twice k multiples fit.
        while below && multiple(p, factor + 1)[4] >> 46 < k as u64 {
            factor += 1;
        }
        let limbs = multiple(p, factor);
        let mut i = 0;
        while i < 5 {
            table[i][k] = limbs[i];
            i += 1;
        }
        k += 1;
    }
    table
}

/// An array of one value for each limb; `$i` is the limb's constant index.
macro_rules! limbs {
    ($i:ident => $value:expr) => {
        limbs!($i => $value; 0, 1, 2, 3, 4)
    };
    ($i:ident => $value:expr; $($index:literal),*) => {
        [$({
            const $i: usize = $index;
            $value
        }),*]
    };
}

/// Limbs of no particular size, in N components.
#[derive(Clone, Copy)]
pub(crate) struct Limbs<V, M, const N: usize>([[V; 5]; N], PhantomData<M>);

/// Values below 2^257 with limbs below 2^52: what can be multiplied.
#[derive(Clone, Copy)]
pub(crate) struct Loose<V, M, const N: usize>([[V; 5]; N], PhantomData<M>);

/// Values below p + 2^254 with limbs below 2^52: what can be stored in four words.
#[derive(Clone, Copy)]
pub(crate) struct Reduced<V, M, const N: usize>([[V; 5]; N], PhantomData<M>);

impl<V: Vector, M: Modulus, const N: usize> Limbs<V, M, N> {
    /// Values of four words each, shifted to the left by `SHIFT` bits: the words' vectors, those of the second component
    /// after those of the first. The limbs are below 2^52.
    ///
    /// # Panics
    /// If there are not four words for each component.
    #[inline(always)]
    pub(crate) fn from_words<const SHIFT: u32>(words: &[V]) -> Self {
        let mut components = [[V::splat(0); 5]; N];
        for i in 0..N {
            let [w0, w1, w2, w3] = [words[4 * i], words[4 * i + 1], words[4 * i + 2], words[4 * i + 3]];
            let limb = V::splat(LIMB);
            // The shift is merged with that of each word to its limb.
            let [l1, l2, l3, l4] = match SHIFT {
                0 => [
                    w0.shr::<52>().or(w1.shl::<12>()),
                    w1.shr::<40>().or(w2.shl::<24>()),
                    w2.shr::<28>().or(w3.shl::<36>()),
                    w3.shr::<16>(),
                ],
                1 => [
                    w0.shr::<51>().or(w1.shl::<13>()),
                    w1.shr::<39>().or(w2.shl::<25>()),
                    w2.shr::<27>().or(w3.shl::<37>()),
                    w3.shr::<15>(),
                ],
                2 => [
                    w0.shr::<50>().or(w1.shl::<14>()),
                    w1.shr::<38>().or(w2.shl::<26>()),
                    w2.shr::<26>().or(w3.shl::<38>()),
                    w3.shr::<14>(),
                ],
                _ => unreachable!("shifts are by two bits at most"),
            };
            components[i] = [w0.shl::<SHIFT>().and(limb), l1.and(limb), l2.and(limb), l3.and(limb), l4];
        }
        Self(components, PhantomData)
    }

    #[inline(always)]
    pub(crate) fn plus(mut self, other: Self) -> Self {
        for i in 0..N {
            self.0[i] = limbs!(J => self.0[i][J].add(other.0[i][J]));
        }
        self
    }

    #[inline(always)]
    pub(crate) fn minus(mut self, other: Self) -> Self {
        for i in 0..N {
            self.0[i] = limbs!(J => self.0[i][J].sub(other.0[i][J]));
        }
        self
    }

    /// Adds K p.
    #[inline(always)]
    pub(crate) fn plus_p<const K: usize>(mut self) -> Self {
        let multiple: [u64; 5] = const { multiple(&M::MODULUS, K as u64) };
        for i in 0..N {
            self.0[i] = limbs!(J => self.0[i][J].add(V::splat(multiple[J])));
        }
        self
    }

    /// Negated in the lanes of a mask.
    #[inline(always)]
    pub(crate) fn negated_in(mut self, mask: Mask) -> Self {
        for i in 0..N {
            self.0[i] = limbs!(J => self.0[i][J].replaced(mask, V::splat(0).sub(self.0[i][J])));
        }
        self
    }

    /// The same values, which must be from 0 to below 2^257, in limbs of 52 bits.
    #[inline(always)]
    pub(crate) fn carried(mut self) -> Loose<V, M, N> {
        for i in 0..N {
            self.0[i] = carried(self.0[i]);
            debug_assert_below(&self.0[i], 1 << (257 - 208));
        }
        Loose(self.0, PhantomData)
    }

    /// The lanes in which every limb is zero.
    #[inline(always)]
    pub(crate) fn all_zero(&self) -> Mask {
        let mut any = V::splat(0);
        for i in 0..N {
            let [l0, l1, l2, l3, l4] = self.0[i];
            any = any.or(l0.or(l1)).or(l2.or(l3)).or(l4);
        }
        any.equal(V::splat(0))
    }
}

/// Takes each limb's excess over 52 bits to the next.
#[inline(always)]
fn carried<V: Vector>(mut limbs: [V; 5]) -> [V; 5] {
    for i in 0..4 {
        limbs[i + 1] = limbs[i + 1].add(limbs[i].sar::<52>());
        limbs[i] = limbs[i].and(V::splat(LIMB));
    }
    limbs
}

/// Checks in debug builds that limbs are of 52 bits and the highest below a bound.
#[inline(always)]
fn debug_assert_below<V: Vector>(limbs: &[V; 5], highest_max: u64) {
    debug_assert_eq!(
        limbs[0].or(limbs[1]).or(limbs[2]).or(limbs[3]).at_most(V::splat(LIMB)),
        V::ALL,
        "limbs of 52 bits"
    );
    debug_assert_eq!(limbs[4].at_most(V::splat(highest_max - 1)), V::ALL, "the highest limb");
}

impl<V: Vector, M: Modulus, const N: usize> Loose<V, M, N> {
    /// The same elements below p + 2^254: less the greatest multiple of p up to what the bits from 2^254 on stand for.
    #[inline(always)]
    pub(crate) fn reduced(mut self) -> Reduced<V, M, N> {
        for i in 0..N {
            let index = self.0[i][4].shr::<{ 254 - 208 }>();
            self.0[i] = carried(limbs!(J => self.0[i][J].sub(index.lookup(&M::MULTIPLES_BELOW[J]))));
        }
        Reduced::new(self.0)
    }

    /// The lanes whose value may be a multiple of p: all in which it is, and one in 2^48 of the others.
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
            for j in 0..5 {
                mask &= self.0[i][j].equal(k.lookup(&M::MULTIPLES[j]));
            }
        }
        mask
    }

    /// `chosen` in the lanes of a mask, this in the others.
    #[inline(always)]
    pub(crate) fn replaced(self, mask: Mask, chosen: Self) -> Self {
        Self(replaced(self.0, mask, chosen.0), PhantomData)
    }

    /// One in every lane.
    #[inline(always)]
    pub(crate) fn one() -> Self {
        let mut components = [[V::splat(0); 5]; N];
        // 2^260 is 16 times ark-ff's one, 2^256 modulo p.
        let one: [u64; 5] = const {
            let mut words = M::RADIX_256;
            let mut doublings = 0;
            while doublings < 4 {
                words = double(words, &M::MODULUS);
                doublings += 1;
            }
            multiple(&words, 1)
        };
        components[0] = limbs!(J => V::splat(one[J]));
        Self(components, PhantomData)
    }

    #[inline(always)]
    pub(crate) fn limbs(self) -> Limbs<V, M, N> {
        Limbs(self.0, PhantomData)
    }
}

/// Twice a number below p, modulo p.
const fn double(words: [u64; 4], p: &[u64; 4]) -> [u64; 4] {
    let mut doubled = [0; 4];
    let mut i = 0;
    while i < 4 {
        doubled[i] = words[i] << 1 | if i == 0 { 0 } else { words[i - 1] >> 63 };
        i += 1;
    }
    let mut difference = [0; 4];
    let mut borrow = false;
    i = 0;
    while i < 4 {
        let (partial, under) = doubled[i].overflowing_sub(p[i]);
        let (word, under_again) = partial.overflowing_sub(borrow as u64);
        difference[i] = word;
        borrow = under | under_again;
        i += 1;
    }
    if borrow { doubled } else { difference }
}

/// The k below 2^52 for which the lowest limb is that of k p.
#[inline(always)]
fn multiple_of_p<V: Vector, M: Modulus>(limbs: &[V; 5]) -> V {
    V::splat(0).add_product_low(limbs[0], V::splat(M::INVERSE))
}

#[inline(always)]
fn replaced<V: Vector, const N: usize>(mut these: [[V; 5]; N], mask: Mask, chosen: [[V; 5]; N]) -> [[V; 5]; N] {
    for i in 0..N {
        these[i] = limbs!(J => these[i][J].replaced(mask, chosen[i][J]));
    }
    these
}

impl<V: Vector, M: Modulus, const N: usize> Reduced<V, M, N> {
    #[inline(always)]
    fn new(components: [[V; 5]; N]) -> Self {
        // The highest limb of p + 2^254 is that of p and 2^46 more.
        for limbs in &components {
            debug_assert_below(limbs, M::P[4] + (1 << 46) + 1);
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
        let [l0, l1, l2, l3, l4] = self.0[component];
        [
            l0.or(l1.shl::<52>()),
            l1.shr::<12>().or(l2.shl::<40>()),
            l2.shr::<24>().or(l3.shl::<28>()),
            l3.shr::<36>().or(l4.shl::<16>()),
        ]
    }

    /// `chosen` in the lanes of a mask, this in the others.
    #[inline(always)]
    pub(crate) fn replaced(self, mask: Mask, chosen: Self) -> Self {
        Self(replaced(self.0, mask, chosen.0), PhantomData)
    }

    /// Zero in every lane.
    #[inline(always)]
    pub(crate) fn zero() -> Self {
        Self([[V::splat(0); 5]; N], PhantomData)
    }

    /// The same elements below p.
    #[inline(always)]
    pub(crate) fn canonical(mut self) -> Self {
        for i in 0..N {
            // p + 2^254 < 3p.
            for _ in 0..2 {
                let less = carried(limbs!(J => self.0[i][J].sub(V::splat(M::P[J]))));
                // The highest limb is negative where p was too much.
                let fits = less[4].at_most(V::splat(LIMB));
                self.0[i] = limbs!(J => self.0[i][J].replaced(fits, less[J]));
            }
        }
        self
    }

    /// Zero in the lanes of a mask.
    #[inline(always)]
    pub(crate) fn zeroed(self, mask: Mask) -> Self {
        Self(replaced(self.0, mask, [[V::splat(0); 5]; N]), PhantomData)
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

impl<V: Vector, M: Modulus, const N: usize> Loose<V, M, N> {
    /// The products.
    #[inline(always)]
    pub(crate) fn times(self, other: Self) -> Reduced<V, M, N> {
        match N {
            1 => Reduced::new([montgomery::<V, M>(product(&self.0[0], &other.0[0])); N]),
            2 => self.times_by_karatsuba(other),
            _ => unreachable!("elements have one component or two"),
        }
    }

    /// The squares.
    #[inline(always)]
    pub(crate) fn squared(self) -> Reduced<V, M, N> {
        match N {
            1 => Reduced::new([montgomery::<V, M>(square(&self.0[0])); N]),
            2 => self.squared_by_difference(),
            _ => unreachable!("elements have one component or two"),
        }
    }

    /// Karatsuba's method on the products before their reduction, of which two are left. The components' sums are below 2^258, so that the
    /// three products are below 2^516, with room to 2^520.
    #[inline(always)]
    fn times_by_karatsuba(mut self, other: Self) -> Reduced<V, M, N> {
        let [a0, a1, b0, b1] = [self.0[0], self.0[1], other.0[0], other.0[1]];
        let (low, high) = (product(&a0, &b0), product(&a1, &b1));
        let (a, b) = (carried(limbs!(J => a0[J].add(a1[J]))), carried(limbs!(J => b0[J].add(b1[J]))));
        let (mut c0, mut c1) = (low, product(&a, &b));
        for i in 0..10 {
            c0[i] = low[i].sub(high[i]);
            c1[i] = c1[i].sub(low[i]).sub(high[i]);
        }
        // high < 2^514 < 2^260 2p, so this is above zero, and c0 / 2^260 below 2^254 + 2p.
        for i in 0..5 {
            c0[5 + i] = c0[5 + i].add(V::splat(M::MULTIPLES[i][2]));
        }
        // c1 = a0 b1 + a1 b0 < 2^515, so the results are below 2^254 + 3p and 2^255 + p: both below 2^257.
        self.0[0] = montgomery::<V, M>(c0);
        self.0[1] = montgomery::<V, M>(c1);
        self.reduced()
    }

    /// (a0 + a1) (a0 - a1) and 2 a0 a1. The factors are below 2^258, 2^257 + 11p < 2^258.1, 2^258 and 2^257, so the reduced products are below
    /// 2^256.1 + p and 2^255 + p: both below 2^257.
    #[inline(always)]
    fn squared_by_difference(mut self) -> Reduced<V, M, N> {
        let [a0, a1] = [self.0[0], self.0[1]];
        let eleven_p: [u64; 5] = const { multiple(&M::MODULUS, 11) };
        let sum = carried(limbs!(J => a0[J].add(a1[J])));
        let difference = carried(limbs!(J => a0[J].sub(a1[J]).add(V::splat(eleven_p[J]))));
        let twice = carried(limbs!(J => a0[J].add(a0[J])));
        self.0[0] = montgomery::<V, M>(product(&sum, &difference));
        self.0[1] = montgomery::<V, M>(product(&twice, &a1));
        self.reduced()
    }
}

/// The ten limbs of a product, each a sum of at most ten numbers below 2^52. The factors' limbs are below 2^52.
#[inline(always)]
fn product<V: Vector>(a: &[V; 5], b: &[V; 5]) -> [V; 10] {
    let mut limbs = [V::splat(0); 10];
    for i in 0..5 {
        for j in 0..5 {
            limbs[i + j] = limbs[i + j].add_product_low(a[i], b[j]);
        }
        for j in 0..5 {
            limbs[i + j + 1] = limbs[i + j + 1].add_product_high(a[i], b[j]);
        }
    }
    limbs
}

/// The same for two equal factors: each product of different limbs is computed once and doubled.
#[inline(always)]
fn square<V: Vector>(a: &[V; 5]) -> [V; 10] {
    let mut limbs = [V::splat(0); 10];
    for i in 0..5 {
        for j in i + 1..5 {
            limbs[i + j] = limbs[i + j].add_product_low(a[i], a[j]);
            limbs[i + j + 1] = limbs[i + j + 1].add_product_high(a[i], a[j]);
        }
    }
    for i in 1..9 {
        limbs[i] = limbs[i].add(limbs[i]);
    }
    for i in 0..5 {
        limbs[2 * i] = limbs[2 * i].add_product_low(a[i], a[i]);
        limbs[2 * i + 1] = limbs[2 * i + 1].add_product_high(a[i], a[i]);
    }
    limbs
}

/// A number t of ten signed limbs, 0 <= t < 2^520, divided by 2^260 modulo p: below t / 2^260 + p, in limbs of 52 bits.
#[inline(always)]
fn montgomery<V: Vector, M: Modulus>(mut t: [V; 10]) -> [V; 5] {
    // -1 / p modulo 2^52.
    let factor = V::splat((1 << 52) - M::INVERSE);
    for i in 0..5 {
        let q = V::splat(0).add_product_low(t[i], factor);
        for j in 1..5 {
            t[i + j] = t[i + j].add_product_low(q, V::splat(M::P[j]));
        }
        for j in 0..5 {
            t[i + j + 1] = t[i + j + 1].add_product_high(q, V::splat(M::P[j]));
        }
        // The low bits of q p make those of t zero: they carry unless they were zero before.
        t[i + 1] = t[i + 1].add(t[i].add(V::splat(LIMB)).sar::<52>());
    }
    let [.., t5, t6, t7, t8, t9] = t;
    carried([t5, t6, t7, t8, t9])
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
