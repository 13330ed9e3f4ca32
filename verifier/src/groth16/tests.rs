use super::{pairing::Lines, *};
use crate::{
    cell::{CellIndex, ChainId, Depth, Token},
    record::Kind,
    statement::{CircuitId, Context, Registers, Statement},
};
use ark_bn254::{Bn254, Fq, Fq2, Fr, G1Projective, G2Projective};
use ark_ec::{AffineRepr, CurveConfig, CurveGroup, PrimeGroup, pairing::Pairing};
use ark_ff::{AdditiveGroup, Field, PrimeField, UniformRand, Zero};
use ark_groth16::Groth16;
use ark_relations::{
    gr1cs::{ConstraintSynthesizer, ConstraintSystemRef, SynthesisError, Variable},
    lc,
};
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use ark_snark::SNARK;
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use std::sync::LazyLock;

/// The circuit x = y^2 with x public.
#[derive(Clone)]
struct Square {
    root: Fr,
}

impl ConstraintSynthesizer<Fr> for Square {
    fn generate_constraints(self, cs: ConstraintSystemRef<Fr>) -> Result<(), SynthesisError> {
        let x = cs.new_input_variable(|| Ok(self.root.square()))?;
        let y = cs.new_witness_variable(|| Ok(self.root))?;
        cs.enforce_r1cs_constraint(|| lc!() + y, || lc!() + y, || lc!() + x)?;
        cs.enforce_r1cs_constraint(|| lc!() + x, || lc!() + Variable::One, || lc!() + x)
    }
}

/// A key made by arkworks, with the means to prove under it.
struct Setup {
    proving: ark_groth16::ProvingKey<Bn254>,
    prepared: PreparedVerifyingKey,
}

impl Setup {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let circuit = Square { root: Fr::from(3u64) };
        let (proving, _) =
            Groth16::<Bn254>::circuit_specific_setup(circuit, &mut rng).expect("the circuit has a setup");
        let vk = &proving.vk;
        let key = VerifyingKey::new(vk.alpha_g1, vk.beta_g2, vk.gamma_g2, vk.delta_g2, &vk.gamma_abc_g1);
        let prepared = key.expect("arkworks makes valid keys").prepare();
        Self { proving, prepared }
    }

    fn prove(&self, statement: &Statement, rng: &mut ChaCha20Rng) -> Proof {
        let root = statement.digest().sqrt().expect("the statement was chosen so");
        from_ark(Groth16::<Bn254>::prove(&self.proving, Square { root }, rng).expect("the witness is valid"))
    }
}

fn from_ark(proof: ark_groth16::Proof<Bn254>) -> Proof {
    Proof::new(proof.a, proof.b, proof.c).expect("arkworks makes proofs of points in their groups")
}

/// Two keys and, for each, statements with valid proofs.
struct Fixture {
    setups: [Setup; 2],
    proven: [Vec<(Statement, Proof)>; 2],
}

static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| {
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let setups = [Setup::new(1), Setup::new(2)];
    let proven = [0, 1].map(|which| {
        let statements = statements(which as u32).take(6);
        statements.map(|statement| (statement, setups[which].prove(&statement, &mut rng))).collect()
    });
    Fixture { setups, proven }
});

impl Fixture {
    fn key(&self, which: usize) -> &PreparedVerifyingKey {
        &self.setups[which].prepared
    }

    /// All proofs of both keys, interleaved.
    fn items(&self) -> Vec<BatchItem<'_>> {
        let item = |which: usize, i: usize| {
            let (statement, proof) = &self.proven[which][i];
            BatchItem { key: self.key(which), statement, proof }
        };
        (0..6).flat_map(|i| [item(0, i), item(1, i)]).collect()
    }
}

/// Statements whose digest is a square, so that the toy circuit can prove them.
fn statements(chain: u32) -> impl Iterator<Item = Statement> {
    let statement = move |i: u64| Statement {
        chain_id: ChainId::from_byte_array([chain as u8; 15]),
        circuit: CircuitId::new(Kind::Transfer, Depth::MAX, 2),
        root_before: Fr::from(i),
        root_after: Fr::from(i + 1),
        data_digest: Fr::from(i * i),
        context: Context { height_blocks: 7, token: Token::BITCOIN, operator: CellIndex::default() },
        registers: Registers::NONE,
    };
    (0..).map(statement).filter(|statement| statement.digest().legendre().is_qr())
}

fn other_g1(rng: &mut ChaCha20Rng) -> G1Affine {
    (G1Projective::generator() * Fr::rand(rng)).into_affine()
}

fn other_g2(rng: &mut ChaCha20Rng) -> G2Affine {
    (G2Projective::generator() * Fr::rand(rng)).into_affine()
}

/// A random point of the twist, which is in the subgroup with a chance of 2^-254.
fn point_of_twist(rng: &mut ChaCha20Rng) -> G2Affine {
    loop {
        let x = Fq2::rand(rng);
        if let Some(point) = G2Affine::get_point_from_x_unchecked(x, rng.r#gen()) {
            return point;
        }
    }
}

#[test]
fn proofs_of_arkworks_are_accepted_one_by_one_and_together() {
    let fixture = &*FIXTURE;
    for item in fixture.items() {
        assert_eq!(item.key.verify(item.statement, item.proof).as_ref().map(Verified::statement), Ok(item.statement));
    }
    let verified = verify_batch(&fixture.items()).expect("all proofs are valid");
    let statements: Vec<_> = fixture.items().iter().map(|item| *item.statement).collect();
    assert_eq!(verified.iter().map(|verified| *verified.statement()).collect::<Vec<_>>(), statements);
    assert_eq!(verify_batch(&[]), Ok(Vec::new()));
}

#[test]
fn a_rerandomised_proof_is_accepted() {
    let fixture = &*FIXTURE;
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let (statement, proof) = &fixture.proven[0][0];
    let original = ark_groth16::Proof { a: *proof.a(), b: *proof.b(), c: *proof.c() };
    let vk = &fixture.setups[0].proving.vk;
    let other = from_ark(Groth16::<Bn254>::rerandomize_proof(vk, &original, &mut rng));
    assert_ne!(other.to_bytes(), proof.to_bytes());
    assert!(fixture.key(0).verify(statement, &other).is_ok());
}

#[test]
fn altered_proofs_statements_and_keys_are_rejected() {
    let fixture = &*FIXTURE;
    let mut rng = ChaCha20Rng::seed_from_u64(6);
    let (statement, proof) = &fixture.proven[0][0];
    let (a, b, c) = (*proof.a(), *proof.b(), *proof.c());
    let altered = [
        Proof::new(-a, b, c),
        Proof::new(a, -b, c),
        Proof::new(a, b, -c),
        Proof::new(c, b, a),
        Proof::new(other_g1(&mut rng), b, c),
        Proof::new(a, other_g2(&mut rng), c),
        Proof::new(a, b, other_g1(&mut rng)),
    ];
    for proof in altered {
        let proof = proof.expect("the points are in their groups");
        assert_eq!(fixture.key(0).verify(statement, &proof), Err(RejectedError));
        assert_eq!(verify_batch(&[BatchItem { key: fixture.key(0), statement, proof: &proof }]), Err(RejectedError));
    }
    let other_statement = Statement { root_after: statement.root_after + Fr::ONE, ..*statement };
    assert_eq!(fixture.key(0).verify(&other_statement, proof), Err(RejectedError));
    assert_eq!(fixture.key(1).verify(statement, proof), Err(RejectedError));
}

#[test]
fn one_bad_proof_spoils_its_batch() {
    let fixture = &*FIXTURE;
    let items = fixture.items();
    for position in 0..items.len() {
        let mut spoilt = items.clone();
        let proof = spoilt[position].proof;
        let negated = Proof::new(*proof.a(), *proof.b(), -*proof.c()).expect("the points are in their groups");
        spoilt[position].proof = &negated;
        assert_eq!(verify_batch(&spoilt), Err(RejectedError));
    }
    for position in 0..items.len() {
        let mut wrong_key = items.clone();
        wrong_key[position].key = if position % 2 == 0 { items[1].key } else { items[0].key };
        assert_eq!(verify_batch(&wrong_key), Err(RejectedError));
    }
}

/// Without weights, errors that cancel would pass: C + D in one proof and C - D in another.
#[test]
fn errors_that_cancel_and_swapped_statements_are_rejected() {
    let fixture = &*FIXTURE;
    let (statement_0, proof_0) = &fixture.proven[0][0];
    let (statement_1, proof_1) = &fixture.proven[0][1];
    let item = |statement, proof| BatchItem { key: fixture.key(0), statement, proof };
    assert!(verify_batch(&[item(statement_0, proof_0), item(statement_1, proof_1)]).is_ok());
    assert_eq!(verify_batch(&[item(statement_1, proof_0), item(statement_0, proof_1)]), Err(RejectedError));
    let shift = other_g1(&mut ChaCha20Rng::seed_from_u64(7));
    let shifted = |proof: &Proof, by: G1Affine| {
        let c = (*proof.c() + by).into_affine();
        Proof::new(*proof.a(), *proof.b(), c).expect("the points are in their groups")
    };
    let (up, down) = (shifted(proof_0, shift), shifted(proof_1, -shift));
    assert_eq!(verify_batch(&[item(statement_0, &up), item(statement_1, &down)]), Err(RejectedError));
}

#[test]
fn miller_loop_agrees_with_arkworks() {
    let mut rng = ChaCha20Rng::seed_from_u64(8);
    for count in [1, 3, 9] {
        let points: Vec<_> = (0..count).map(|_| (other_g1(&mut rng), other_g2(&mut rng))).collect();
        let twists: Vec<_> = points.iter().map(|(_, q)| *q).collect();
        let lines: Vec<_> = Lines::of_all(&twists).into_iter().flatten().collect();
        assert_eq!(lines.len(), count);
        let pairs: Vec<_> = points.iter().zip(&lines).map(|((p, _), lines)| (*p, lines)).collect();
        let product = ark_ec::pairing::MillerLoopOutput(pairing::miller_loop(&pairs));
        let expected = Bn254::multi_pairing(points.iter().map(|(p, _)| *p), twists);
        assert_eq!(Bn254::final_exponentiation(product), Some(expected));
    }
}

#[test]
fn subgroup_check_agrees_with_multiplication_by_the_order() {
    let mut rng = ChaCha20Rng::seed_from_u64(9);
    for _ in 0..40 {
        let outside = point_of_twist(&mut rng);
        let inside = outside.clear_cofactor();
        let torsion = outside.mul_bigint(Fr::MODULUS).into_affine();
        let mixed = (inside + torsion).into_affine();
        let points = [outside, inside, torsion, mixed];
        let expected = points.map(|point| point.mul_bigint(Fr::MODULUS).is_zero());
        assert_eq!(expected, [false, true, false, false]);
        let together = Lines::of_all(&points.repeat(3));
        assert_eq!(together.iter().map(Option::is_some).collect::<Vec<_>>(), expected.repeat(3));
        let alone: Vec<_> = points.iter().map(|point| Lines::of_all(&[*point])[0].is_some()).collect();
        assert_eq!(alone, expected);
    }
}

/// Divides a little-endian integer by a small one that divides it.
fn divide(limbs: &[u64], divisor: u64) -> Vec<u64> {
    let mut remainder = 0;
    let mut quotient = limbs.to_vec();
    for limb in quotient.iter_mut().rev() {
        let dividend = u128::from(remainder) << 64 | u128::from(*limb);
        *limb = (dividend / u128::from(divisor)) as u64;
        remainder = (dividend % u128::from(divisor)) as u64;
    }
    assert_eq!(remainder, 0);
    quotient
}

/// The cofactor's smallest prime factor is 10069; points of that order meet their own multiples on the way.
#[test]
fn points_of_small_order_are_refused() {
    let mut rng = ChaCha20Rng::seed_from_u64(10);
    for factor in [10_069u64, 5_864_401] {
        let torsion = point_of_twist(&mut rng).mul_bigint(Fr::MODULUS).into_affine();
        let point = torsion.mul_bigint(divide(ark_bn254::g2::Config::COFACTOR, factor)).into_affine();
        assert!(!point.is_zero() && point.mul_bigint([factor]).is_zero());
        let good = other_g2(&mut rng);
        for repeats in [1, 4] {
            let found = Lines::of_all(&[good, point, good].repeat(repeats));
            let found: Vec<_> = found.iter().map(Option::is_some).collect();
            assert_eq!(found, [true, false, true].repeat(repeats));
        }
        let (g1, mixed) = (other_g1(&mut rng), (good + point).into_affine());
        assert_eq!(Proof::new(g1, point, g1), Err(PointError::NotInSubgroup));
        assert_eq!(Proof::new(g1, mixed, g1), Err(PointError::NotInSubgroup));
    }
}

#[test]
fn bytes_are_those_of_arkworks() {
    let mut rng = ChaCha20Rng::seed_from_u64(11);
    for _ in 0..30 {
        let (a, b, c) = (other_g1(&mut rng), other_g2(&mut rng), other_g1(&mut rng));
        let mut expected = Vec::new();
        ark_groth16::Proof::<Bn254> { a, b, c }.serialize_compressed(&mut expected).expect("a vector grows");
        let proof = Proof::new(a, b, c).expect("the points are in their groups");
        assert_eq!(proof.to_bytes().as_slice(), expected);
        assert_eq!(Proof::from_bytes(&proof.to_bytes()), Ok(proof));
    }
    let setup = &FIXTURE.setups[0];
    let mut expected = Vec::new();
    setup.proving.vk.serialize_compressed(&mut expected).expect("a vector grows");
    let key = setup.prepared.key();
    assert_eq!(key.to_bytes().as_slice(), expected);
    assert_eq!(VerifyingKey::from_bytes(&expected).as_ref(), Ok(key));
}

/// Every encoding that this decoder accepts, arkworks accepts as the same point, and encodes to the same bytes.
#[test]
fn twist_points_decode_as_in_arkworks() {
    let mut rng = ChaCha20Rng::seed_from_u64(12);
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..200 {
        let mut bytes = [0; 64];
        rng.fill(&mut bytes);
        bytes[31] &= 0x1f;
        bytes[63] &= 0x9f;
        if rng.r#gen::<u8>() < 40 {
            bytes[32..63].fill(0);
            bytes[63] &= 0x80;
        }
        let expected = G2Affine::deserialize_with_mode(
            bytes.as_slice(),
            ark_serialize::Compress::Yes,
            ark_serialize::Validate::No,
        );
        match (point::g2_from_bytes(&bytes), expected) {
            (Ok(point), Ok(expected)) => {
                assert_eq!(point, expected);
                assert_eq!(g2_to_bytes(&point), bytes);
                accepted += 1;
            }
            (Err(_), Err(_)) => refused += 1,
            (found, expected) => panic!("{bytes:02x?}: {found:?} against {expected:?}"),
        }
    }
    assert!(accepted > 30 && refused > 30);
}

#[test]
fn square_roots_cover_the_base_field() {
    for i in 1..20u64 {
        for c0 in [Fq::from(i), -Fq::from(i)] {
            let element = Fq2::new(c0, Fq::ZERO);
            let root = point::sqrt_fq2(&element).expect("every element of Fq is a square in Fq2");
            assert_eq!(root.square(), element);
            let imaginary = Fq2::new(Fq::ZERO, c0);
            assert_eq!(point::sqrt_fq2(&imaginary).map(|root| root.square()), imaginary.sqrt().map(|_| imaginary));
        }
    }
    assert_eq!(point::sqrt_fq2(&Fq2::ZERO), Some(Fq2::ZERO));
}

#[test]
fn encodings_that_are_not_canonical_are_refused() {
    let (_, proof) = &FIXTURE.proven[0][0];
    let bytes = proof.to_bytes();
    let with = |offset: usize, replacement: &[u8]| {
        let mut altered = bytes;
        altered[offset..offset + replacement.len()].copy_from_slice(replacement);
        Proof::from_bytes(&altered)
    };
    let mut modulus = [0; 32];
    for (out, limb) in modulus.chunks_exact_mut(8).zip(Fq::MODULUS.0) {
        out.copy_from_slice(&limb.to_le_bytes());
    }
    for offset in [0, 32, 64, 96] {
        assert_eq!(with(offset, &modulus), Err(PointError::NotCanonical));
    }
    let mut infinity = [0; 32];
    infinity[31] = 0x40;
    let mut both_flags = infinity;
    both_flags[31] = 0xc0;
    for offset in [0, 64, 96] {
        assert_eq!(with(offset, &infinity), Err(PointError::Infinity));
        assert_eq!(with(offset, &both_flags), Err(PointError::Infinity));
    }
    let mut flag_in_the_wrong_half = bytes;
    flag_in_the_wrong_half[63] |= 0x80;
    assert_eq!(Proof::from_bytes(&flag_in_the_wrong_half), Err(PointError::NotCanonical));
    assert_eq!(Proof::new(G1Affine::zero(), *proof.b(), *proof.c()), Err(PointError::Infinity));
    assert_eq!(Proof::new(*proof.a(), G2Affine::zero(), *proof.c()), Err(PointError::Infinity));
    let off_curve = G1Affine::new_unchecked(Fq::ONE, Fq::ONE);
    assert_eq!(Proof::new(*proof.a(), *proof.b(), off_curve), Err(PointError::NotOnCurve));
    let off_twist = G2Affine::new_unchecked(Fq2::ONE, Fq2::ONE);
    assert_eq!(Proof::new(*proof.a(), off_twist, *proof.c()), Err(PointError::NotOnCurve));
}

#[test]
fn an_altered_bit_changes_the_proof_or_is_refused() {
    let fixture = &*FIXTURE;
    let (statement, proof) = &fixture.proven[0][0];
    let bytes = proof.to_bytes();
    let flipped: Vec<_> = (0..Proof::LENGTH * 8)
        .map(|bit| {
            let mut altered = bytes;
            altered[bit / 8] ^= 1 << (bit % 8);
            altered
        })
        .collect();
    for (decoded, bytes) in Proof::from_bytes_all(&flipped).into_iter().zip(&flipped) {
        if let Ok(altered) = decoded {
            assert_eq!(altered.to_bytes(), *bytes);
            assert_eq!(fixture.key(0).verify(statement, &altered), Err(RejectedError));
        }
    }
}

#[test]
fn decoding_together_keeps_errors_in_their_places() {
    let bytes: Vec<_> = FIXTURE.proven[0].iter().map(|(_, proof)| proof.to_bytes()).collect();
    let mut encoded = bytes.clone();
    encoded[1][63] |= 0x40;
    encoded[3][..32].fill(0xff);
    encoded[4][32..96].fill(0x07);
    let decoded = Proof::from_bytes_all(&encoded);
    for (position, result) in decoded.into_iter().enumerate() {
        assert_eq!(
            result.map(|proof| proof.to_bytes()),
            Proof::from_bytes(&encoded[position]).map(|_| bytes[position])
        );
    }
}

#[test]
fn unsound_and_foreign_keys_are_refused() {
    let vk = &FIXTURE.setups[0].proving.vk;
    let key = |gamma, delta, ic: &[G1Affine]| VerifyingKey::new(vk.alpha_g1, vk.beta_g2, gamma, delta, ic);
    let ic = vk.gamma_abc_g1.as_slice();
    assert_eq!(key(vk.gamma_g2, vk.gamma_g2, ic), Err(KeyError::GammaIsDelta));
    assert_eq!(key(vk.gamma_g2, -vk.gamma_g2, ic), Err(KeyError::GammaIsDelta));
    assert_eq!(key(vk.gamma_g2, vk.delta_g2, &ic[..1]), Err(KeyError::IcCount(1)));
    assert_eq!(key(vk.gamma_g2, vk.delta_g2, &[ic[0], ic[1], ic[1]]), Err(KeyError::IcCount(3)));
    let infinity = G1Affine::zero();
    assert_eq!(key(vk.gamma_g2, vk.delta_g2, &[ic[0], infinity]), Err(KeyError::Point(PointError::Infinity)));
    assert_eq!(key(G2Affine::zero(), vk.delta_g2, ic), Err(KeyError::Point(PointError::Infinity)));
    let outside = point_of_twist(&mut ChaCha20Rng::seed_from_u64(13));
    assert_eq!(key(vk.gamma_g2, outside, ic), Err(KeyError::Point(PointError::NotInSubgroup)));

    let bytes = FIXTURE.key(0).key().to_bytes();
    let mut gamma_is_delta = bytes;
    gamma_is_delta.copy_within(96..160, 160);
    assert_eq!(VerifyingKey::from_bytes(&gamma_is_delta), Err(KeyError::GammaIsDelta));
    for length in 0..bytes.len() {
        assert!(VerifyingKey::from_bytes(&bytes[..length]).is_err());
    }
    let longer = [bytes.as_slice(), &bytes[232..264]].concat();
    assert_eq!(VerifyingKey::from_bytes(&longer), Err(KeyError::Length(328)));
    let mut three = longer;
    three[224] = 3;
    assert_eq!(VerifyingKey::from_bytes(&three), Err(KeyError::IcCount(3)));
}

/// A public input above the order has no representation: r + x is the element x, so only x can be asked for.
#[test]
fn an_input_and_the_input_plus_the_order_are_one_element() {
    let (statement, _) = &FIXTURE.proven[0][0];
    let digest = statement.digest();
    let mut bytes = crate::field::to_bytes(&digest);
    let mut carry = 0u64;
    for (chunk, limb) in bytes.chunks_exact_mut(8).zip(Fr::MODULUS.0) {
        let word = u64::from_le_bytes(chunk.try_into().expect("chunks of eight bytes"));
        let sum = u128::from(word) + u128::from(limb) + u128::from(carry);
        carry = (sum >> 64) as u64;
        chunk.copy_from_slice(&(sum as u64).to_le_bytes());
    }
    assert_eq!(carry, 0);
    assert_eq!(crate::field::from_bytes(&bytes), Err(crate::field::NotCanonicalError));
    assert_eq!(Fr::from_le_bytes_mod_order(&bytes), digest);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_refused_or_encode_back(bytes in proptest::array::uniform32(any::<u8>()), repeat in 0usize..3) {
        let mut proof = FIXTURE.proven[0][0].1.to_bytes();
        let offset = [0, 32, 96][repeat];
        proof[offset..offset + 32].copy_from_slice(&bytes);
        if let Ok(decoded) = Proof::from_bytes(&proof) {
            prop_assert_eq!(decoded.to_bytes(), proof);
        }
    }
}
