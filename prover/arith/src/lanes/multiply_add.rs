//! Numbers in five limbs of 52 bits, multiplied by multiply-adds that take either half of a product.

use super::{
    Register, Vector,
    field::{InLimbs, LIMBS_MAX, Modulus, carried, limb_mask},
};

/// Multiplies 52 bits by 52 bits.
pub(crate) trait MultiplyAdd: Register {
    /// Shifts to the right by 52 bits, filling with the sign.
    fn sar_52(self) -> Self;
    /// This plus the low 52 bits of the product of the low 52 bits of `a` and `b`.
    fn add_product_low(self, a: Self, b: Self) -> Self;
    /// This plus the high 52 bits of the product of the low 52 bits of `a` and `b`.
    fn add_product_high(self, a: Self, b: Self) -> Self;
}

impl<V: MultiplyAdd> Vector for V {
    type Limbs = [V; 5];
    const LIMBS: usize = 5;
    const LIMB_BITS: u32 = 52;

    #[inline(always)]
    fn zero() -> [V; 5] {
        [V::splat(0); 5]
    }

    #[inline(always)]
    fn carry(self) -> Self {
        self.sar_52()
    }

    #[inline(always)]
    fn low_product(self, other: Self) -> Self {
        V::splat(0).add_product_low(self, other)
    }

    #[inline(always)]
    fn times<M: Modulus>(a: &[V; 5], b: &[V; 5]) -> [V; 5] {
        montgomery::<V, M>(product(a, b))
    }

    #[inline(always)]
    fn squared<M: Modulus>(a: &[V; 5]) -> [V; 5] {
        montgomery::<V, M>(square(a))
    }

    /// Karatsuba's method on the products before their reduction, of which two are left. The components' sums are
    /// below 2^258, so that the three products are below 2^516, with room to 2^520.
    #[inline(always)]
    fn times_in_extension<M: Modulus>([a0, a1]: [&[V; 5]; 2], [b0, b1]: [&[V; 5]; 2]) -> [[V; 5]; 2] {
        let (low, high) = (product(a0, b0), product(a1, b1));
        let (mut a, mut b) = (*a0, *b0);
        for i in 0..5 {
            (a[i], b[i]) = (a[i].add(a1[i]), b[i].add(b1[i]));
        }
        let (mut c0, mut c1) = (low, product(&carried::<V>(a), &carried::<V>(b)));
        for i in 0..10 {
            c0[i] = low[i].sub(high[i]);
            c1[i] = c1[i].sub(low[i]).sub(high[i]);
        }
        // high < 2^514 < 2^260 2p, so this is above zero, and c0 / 2^260 below 2^254 + 2p.
        for i in 0..5 {
            c0[5 + i] = c0[5 + i].add(V::splat(InLimbs::<V, M>::MULTIPLES[i][2]));
        }
        // c1 = a0 b1 + a1 b0 < 2^515, so the results are below 2^254 + 3p and 2^255 + p: both below 2^257.
        [montgomery::<V, M>(c0), montgomery::<V, M>(c1)]
    }
}

/// The ten limbs of a product, each a sum of at most ten numbers below 2^52. The factors' limbs are below 2^52.
#[inline(always)]
fn product<V: MultiplyAdd>(a: &[V; 5], b: &[V; 5]) -> [V; 10] {
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
fn square<V: MultiplyAdd>(a: &[V; 5]) -> [V; 10] {
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

/// A number t of ten signed limbs, 0 <= t < 2^520, divided by 2^260 modulo p, in limbs of 52 bits: below t / 2^260 +
/// p + 2^204.
///
/// A step drops the lowest limb l of t = 2^52 h + l. Montgomery's adds a multiple q p that makes it zero, and first
/// multiplies to find q. As t is 2^52 (h + l / 2^52) modulo p, l times 1 / 2^52 modulo p can be added to h instead,
/// with nothing to wait for. That is below 2^52 p, where Montgomery's step adds at most p, so the last two steps are
/// his. The first three limbs, two of them at a time, add less than 2^209 p to t, so less than 2^204 to the result.
#[inline(always)]
fn montgomery<V: MultiplyAdd, M: Modulus>(mut t: [V; 10]) -> [V; 5] {
    t[1] = t[1].add(t[0].sar_52());
    t[2] = t[2].add(t[1].sar_52());
    replace_limb(&mut t, 0, 2, const { &InLimbs::<V, M>::inverse_of_limbs(2) });
    replace_limb(&mut t, 1, 3, const { &InLimbs::<V, M>::inverse_of_limbs(2) });
    t[3] = t[3].add(t[2].sar_52());
    replace_limb(&mut t, 2, 3, const { &InLimbs::<V, M>::inverse_of_limbs(1) });
    // -1 / p modulo 2^52.
    let factor = V::splat(M::INVERSE.wrapping_neg() & limb_mask::<V>());
    for i in 3..5 {
        let q = V::splat(0).add_product_low(t[i], factor);
        for j in 1..5 {
            t[i + j] = t[i + j].add_product_low(q, V::splat(InLimbs::<V, M>::P[j]));
        }
        for j in 0..5 {
            t[i + j + 1] = t[i + j + 1].add_product_high(q, V::splat(InLimbs::<V, M>::P[j]));
        }
        // The low bits of q p make those of t zero: they carry unless they were zero before.
        t[i + 1] = t[i + 1].add(t[i].add(V::splat(limb_mask::<V>())).sar_52());
    }
    let [.., t5, t6, t7, t8, t9] = t;
    carried::<V>([t5, t6, t7, t8, t9])
}

/// Adds the product of a limb's low 52 bits and a number to the limbs from `to` on.
#[inline(always)]
fn replace_limb<V: MultiplyAdd>(t: &mut [V; 10], limb: usize, to: usize, number: &[u64; LIMBS_MAX]) {
    let factor = t[limb];
    for j in 0..5 {
        t[to + j] = t[to + j].add_product_low(factor, V::splat(number[j]));
        t[to + j + 1] = t[to + j + 1].add_product_high(factor, V::splat(number[j]));
    }
}
