use super::*;
use crate::lanes::{Task, Unit, on_every_unit};
use ark_bn254::Fq2;
use ark_ff::{AdditiveGroup, Field};
use rand::{Rng, SeedableRng};

/// Runs a test on every kind of vector that the machine has.
macro_rules! on_every_vector {
    ($test:ident) => {
        #[test]
        fn $test() {
            fn on<U: Unit>() {
                struct Test<W>(PhantomData<W>);
                impl<W: Vector> Task for Test<W> {
                    type Output = ();
                    #[inline(always)]
                    fn run(self) {
                        cases::$test::<W>();
                    }
                }
                U::perform(Test::<U::Vector>(PhantomData));
            }
            on_every_unit!(on);
        }
    };
}

on_every_vector!(words_survive_limbs);
on_every_vector!(products_are_those_of_ark_ff);
on_every_vector!(products_in_the_extension_are_those_of_ark_ff);
on_every_vector!(the_largest_factors_give_reduced_products);
on_every_vector!(multiples_of_p_are_found);
on_every_vector!(rows_and_quarters_are_read_back);

/// A column of numbers, one for each lane.
fn vector<W: Vector>(words: impl Fn(usize) -> u64) -> W {
    let rows: Vec<[u64; 8]> = (0..W::LANES).map(|lane| [words(lane); 8]).collect();
    W::load_rows(&rows.iter().collect::<Vec<_>>())[0]
}

fn words<W: Vector>(vector: W) -> Vec<u64> {
    let mut words = vec![0; W::LANES];
    vector.store(&mut words);
    words
}

/// Edge cases and random elements, as many as there are lanes.
fn elements<W: Vector, F: Field>(seed: u64) -> Vec<F> {
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(seed);
    let two = F::ONE.double();
    let edges = [F::ZERO, F::ONE, -F::ONE, two.pow([52]), two.pow([208]) - F::ONE, -two.pow([253]), two.pow([256])];
    (0..W::LANES)
        .map(|_| if rng.gen_bool(0.4) { edges[rng.gen_range(0..edges.len())] } else { F::rand(&mut rng) })
        .collect()
}

/// An element x / 2^260 for each number x of its lane, and for each component.
fn values<W: Vector, const N: usize>(reduced: Reduced<W, BaseModulus, N>) -> Vec<[Fq; N]> {
    let components: [_; N] = core::array::from_fn(|i| reduced.words(i).map(words));
    let sixteenth = Fq::from(16u64).inverse().unwrap();
    let value = |words: &[Vec<u64>; 4], lane: usize| {
        let number = canonical::<BaseModulus>(core::array::from_fn(|i| words[i][lane]));
        Fq::new_unchecked(BigInt::new(number)) * sixteenth
    };
    (0..W::LANES).map(|lane| core::array::from_fn(|i| value(&components[i], lane))).collect()
}

/// The elements, in Montgomery form with the radix 2^260.
fn lanes<W: Vector, const N: usize>(elements: &[[Fq; N]]) -> Reduced<W, BaseModulus, N> {
    let word = |i: usize| vector(|lane| (elements[lane][i / 4] * Fq::from(16u64)).0.0[i % 4]);
    Reduced::from_words(&(0..4 * N).map(word).collect::<Vec<W>>())
}

fn in_limbs<W: Vector>(limb: impl Fn(usize) -> W) -> W::Limbs {
    let mut limbs = W::zero();
    (0..W::LIMBS).for_each(|i| limbs[i] = limb(i));
    limbs
}

mod cases {
    use super::*;

    #[inline(always)]
    pub(super) fn words_survive_limbs<W: Vector>() {
        let elements: Vec<Fq> = elements::<W, _>(1);
        let given: [W; 4] = core::array::from_fn(|i| vector(|lane| elements[lane].0.0[i]));
        let reduced = Reduced::<W, BaseModulus, 1>::from_words(&given);
        assert_eq!(reduced.words(0).map(words), given.map(words));
        // Shifts multiply, and negation and addition take back.
        let by_shift = Limbs::<W, BaseModulus, 1>::from_words::<2>(&given);
        let once = Limbs::from_words::<0>(&given);
        let twice = Limbs::from_words::<1>(&given);
        let zero = by_shift.minus(once.plus(once)).plus(twice.negated_in(W::ALL));
        assert_eq!(zero.plus_p::<0>().carried().reduced().limbs().all_zero(), W::ALL);
        let third = by_shift.negated_in(1 << 3).plus_p::<4>().carried().reduced();
        let expected = |lane: usize| elements[lane] * if lane == 3 { -Fq::from(4u64) } else { Fq::from(4u64) };
        let expected: Vec<Fq> = (0..W::LANES).map(|lane| expected(lane) * Fq::from(16u64).inverse().unwrap()).collect();
        assert_eq!(values(third).concat(), expected);
    }

    #[inline(always)]
    pub(super) fn products_are_those_of_ark_ff<W: Vector>() {
        for seed in 0..100 {
            let (a, b): (Vec<Fq>, Vec<Fq>) = (elements::<W, _>(seed), elements::<W, _>(seed + 1000));
            let given = [&a, &b].map(|elements| lanes::<W, 1>(elements.as_chunks().0).loose());
            let expected: Vec<Fq> = a.iter().zip(&b).map(|(a, b)| *a * b).collect();
            assert_eq!(values(given[0].times(&given[1])).concat(), expected);
            let expected: Vec<Fq> = a.iter().map(Fq::square).collect();
            assert_eq!(values(given[0].squared()).concat(), expected);
            assert_eq!(values(given[0].times(&Loose::one())).concat(), a);
        }
    }

    #[inline(always)]
    pub(super) fn products_in_the_extension_are_those_of_ark_ff<W: Vector>() {
        for seed in 0..100 {
            let (a, b): (Vec<Fq2>, Vec<Fq2>) = (elements::<W, _>(seed), elements::<W, _>(seed + 1000));
            let components = |elements: &[Fq2]| -> Vec<[Fq; 2]> { elements.iter().map(|e| [e.c0, e.c1]).collect() };
            let given = [&a, &b].map(|elements| lanes::<W, 2>(&components(elements)).loose());
            let expected: Vec<Fq2> = a.iter().zip(&b).map(|(a, b)| *a * b).collect();
            assert_eq!(values(given[0].times(&given[1])), components(&expected));
            let expected: Vec<Fq2> = a.iter().map(Fq2::square).collect();
            assert_eq!(values(given[0].squared()), components(&expected));
            assert_eq!(values(given[0].times(&Loose::one())), components(&a));
        }
    }

    /// The factors 2^257 - 1 in every pairing with zero; debug builds check the bounds of what comes out.
    #[inline(always)]
    pub(super) fn the_largest_factors_give_reduced_products<W: Vector>() {
        let zero = [0; LIMBS_MAX];
        let mut large = zero;
        large[..W::LIMBS].fill(limb_mask::<W>());
        large[W::LIMBS - 1] = (1 << (257 - bits_below_highest::<W>())) - 1;
        let number = |limbs: [u64; LIMBS_MAX]| {
            limbs.iter().rev().fold(Fq::ZERO, |sum, limb| sum * Fq::from(limb_mask::<W>() + 1) + Fq::from(*limb))
        };
        let radix = Fq::from(2u64).pow([260]);
        let element = |components: [[u64; LIMBS_MAX]; 2]| {
            let [c0, c1] = components.map(|limbs| number(limbs) / radix);
            Fq2::new(c0, c1)
        };
        let loose = |components: [[u64; LIMBS_MAX]; 2]| {
            Loose::<W, BaseModulus, 2>(components.map(|limbs| in_limbs(|i| W::splat(limbs[i]))), PhantomData)
        };
        let cases = [[large, large], [large, zero], [zero, large], [zero, zero]];
        for a in cases {
            for b in cases {
                let product = element(a) * element(b);
                assert_eq!(values(loose(a).times(&loose(b))), vec![[product.c0, product.c1]; W::LANES]);
            }
            let square = element(a).square();
            assert_eq!(values(loose(a).squared()), vec![[square.c0, square.c1]; W::LANES]);
            let one = Loose::<W, BaseModulus, 1>([in_limbs(|i| W::splat(a[0][i]))], PhantomData);
            assert_eq!(values(one.reduced()), vec![[element(a).c0]; W::LANES]);
            assert_eq!(values(one.squared()), vec![[element([a[0], zero]).square().c0]; W::LANES]);
        }
    }

    #[inline(always)]
    pub(super) fn multiples_of_p_are_found<W: Vector>() {
        let component = |limbs: [u64; LIMBS_MAX]| in_limbs(|i| W::splat(limbs[i]));
        let of = |limbs: [u64; LIMBS_MAX]| Loose::<W, BaseModulus, 1>([component(limbs)], PhantomData);
        for k in 0..8 {
            let mut limbs = InLimbs::<W, BaseModulus>::multiple(k);
            assert_eq!(of(limbs).maybe_zero() & of(limbs).is_zero(), W::ALL, "{k} p");
            let reduced = of(limbs).reduced();
            assert!(values(reduced).concat().iter().all(|value| *value == Fq::ZERO));
            limbs[3] ^= 1;
            assert_eq!(of(limbs).is_zero(), 0, "beside {k} p");
            limbs[3] ^= 1;
            limbs[0] ^= 1;
            assert_eq!(of(limbs).maybe_zero() | of(limbs).is_zero(), 0, "beside {k} p");
            // One component alone does not make an element zero.
            let (zero, other) = (InLimbs::<W, BaseModulus>::multiple(k), limbs);
            for components in [[zero, other], [other, zero]] {
                let element = Loose::<W, BaseModulus, 2>(components.map(component), PhantomData);
                assert_eq!(element.maybe_zero() | element.is_zero(), 0);
            }
        }
        // Lanes are told apart.
        let mixed = Loose::<W, BaseModulus, 1>(
            [in_limbs::<W>(|i| vector(|lane| if lane == 2 { InLimbs::<W, BaseModulus>::P[i] } else { 1 }))],
            PhantomData,
        );
        assert_eq!((mixed.maybe_zero(), mixed.is_zero()), (1 << 2, 1 << 2));
    }

    #[inline(always)]
    pub(super) fn rows_and_quarters_are_read_back<W: Vector>() {
        let rows: Vec<[u64; 8]> =
            (0..W::LANES as u64).map(|lane| core::array::from_fn(|i| 100 * lane + i as u64)).collect();
        let vectors = W::load_rows(&rows.iter().collect::<Vec<_>>());
        for (i, vector) in vectors.into_iter().enumerate() {
            assert_eq!(words(vector), (0..W::LANES as u64).map(|lane| 100 * lane + i as u64).collect::<Vec<_>>());
        }
        let mut stored = vec![[0; 8]; W::LANES];
        W::store_rows(vectors, &mut stored);
        assert_eq!(stored, rows);

        let rows: Vec<[u64; 4]> = rows.iter().map(|row| [row[0], row[1], row[2], row[3]]).collect();
        let vectors = W::load_quarters(&rows);
        let order: Vec<u64> = words(vectors[0]);
        for (i, vector) in vectors.into_iter().enumerate() {
            assert_eq!(words(vector), order.iter().map(|first| first + i as u64).collect::<Vec<_>>());
        }
        let mut stored = vec![[0; 4]; W::LANES];
        W::store_quarters(vectors, &mut stored);
        assert_eq!(stored, rows);
    }
}
