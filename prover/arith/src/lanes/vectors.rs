//! Products of vectors in lanes: [`crate::vectors`].
//!
//! The words of a and of b are read four times as large, so that their product over 2^260 has the radix 2^256 that c
//! and the results have.

use super::{
    Register, Task, Unit, Vector,
    field::{Limbs, Loose, Modulus},
};
use crate::vectors::Element;
use core::marker::PhantomData;

/// An element's words in Montgomery form.
pub(crate) type Words = [u64; 4];

/// Replaces each element of a by a b - c.
pub(crate) fn multiply_subtract<U: Unit, F: Element>(a: &mut [F], b: &[F], c: &[F]) {
    let whole = a.len() - a.len() % U::Vector::LANES;
    let (lanes, rest) = a.split_at_mut(whole);
    let (b_lanes, b_rest) = b.split_at(whole);
    let (c_lanes, c_rest) = c.split_at(whole);
    U::perform(MultiplySubtract::<U::Vector, F::Modulus> {
        a: words_mut(lanes),
        b: words(b_lanes),
        c: words(c_lanes),
        types: PhantomData,
    });
    rest.iter_mut().zip(b_rest).zip(c_rest).for_each(|((a, b), c)| *a = a.times(b) - c);
}

/// Whether each element of c is the product of those of a and b.
pub(crate) fn are_products<U: Unit, F: Element>(a: &[F], b: &[F], c: &[F]) -> bool {
    let whole = a.len() - a.len() % U::Vector::LANES;
    let (a_lanes, a_rest) = a.split_at(whole);
    let (b_lanes, b_rest) = b.split_at(whole);
    let (c_lanes, c_rest) = c.split_at(whole);
    let lanes = AreProducts::<U::Vector, F::Modulus> {
        a: words(a_lanes),
        b: words(b_lanes),
        c: words(c_lanes),
        types: PhantomData,
    };
    U::perform(lanes) && a_rest.iter().zip(b_rest).zip(c_rest).all(|((a, b), c)| a.times(b) == *c)
}

struct MultiplySubtract<'a, V, M> {
    a: &'a mut [Words],
    b: &'a [Words],
    c: &'a [Words],
    types: PhantomData<(V, M)>,
}

impl<V: Vector, M: Modulus> Task for MultiplySubtract<'_, V, M> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let a = self.a.chunks_exact_mut(V::LANES);
        for ((a, b), c) in a.zip(self.b.chunks_exact(V::LANES)).zip(self.c.chunks_exact(V::LANES)) {
            let difference = difference::<V, M>(a, b, c).reduced().canonical();
            V::store_quarters(difference.words(0), a);
        }
    }
}

struct AreProducts<'a, V, M> {
    a: &'a [Words],
    b: &'a [Words],
    c: &'a [Words],
    types: PhantomData<(V, M)>,
}

impl<V: Vector, M: Modulus> Task for AreProducts<'_, V, M> {
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        let a = self.a.chunks_exact(V::LANES);
        for ((a, b), c) in a.zip(self.b.chunks_exact(V::LANES)).zip(self.c.chunks_exact(V::LANES)) {
            if difference::<V, M>(a, b, c).is_zero() != V::ALL {
                return false;
            }
        }
        true
    }
}

/// a b - c + p: a product is below 2.4 p, so this lies above 0 and below 4p.
#[inline(always)]
fn difference<V: Vector, M: Modulus>(a: &[Words], b: &[Words], c: &[Words]) -> Loose<V, M, 1> {
    let c = Limbs::<V, M, 1>::from_words::<0>(&V::load_quarters(c));
    four_times::<V, M>(a).times(&four_times(b)).limbs().minus(c).plus_p::<1>().carried()
}

/// Four times elements, which are below 2^256.
#[inline(always)]
fn four_times<V: Vector, M: Modulus>(elements: &[Words]) -> Loose<V, M, 1> {
    Limbs::from_words::<2>(&V::load_quarters(elements)).carried()
}

/// Elements as their words.
pub(crate) fn words<F: Element>(elements: &[F]) -> &[Words] {
    const { assert_words::<F>() };
    // SAFETY: an element is its four words and nothing else, as is asserted above, and every element is valid as words.
    #[allow(unsafe_code)]
    unsafe {
        core::slice::from_raw_parts(elements.as_ptr().cast(), elements.len())
    }
}

/// Elements as their words. Only elements may be written back, that is numbers below p, before the elements are used
/// again.
pub(crate) fn words_mut<F: Element>(elements: &mut [F]) -> &mut [Words] {
    const { assert_words::<F>() };
    // SAFETY: as for `words`; and any four words are valid as the type's memory, though they be no element.
    #[allow(unsafe_code)]
    unsafe {
        core::slice::from_raw_parts_mut(elements.as_mut_ptr().cast(), elements.len())
    }
}

/// [`Element`] is implemented for the two fields of four words alone; this holds their size to that.
const fn assert_words<F: Element>() {
    assert!(size_of::<F>() == size_of::<Words>() && align_of::<F>() == align_of::<Words>());
}
