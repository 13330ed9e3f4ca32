mod circuit;

use super::*;
use crate::{
    foreign_key::{ForeignKey, ForeignVerifyError, ForeignVerifyingKey, VerifyingKeyError, Weakness},
    key_file::{self, Key, KeyFile, KeyFileError},
    prove::{Blinding, ForeignProveError, prove, prove_foreign},
    proving_key::{Circuit as KeyCircuit, ProvingKey},
    toy::Toy,
};
use ark_bn254::{Bn254, Fq, Fr};
use ark_ff::{AdditiveGroup, Field, PrimeField, UniformRand};
use ark_groth16::Groth16;
use circuit::{Circuit, Values, Zkey};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use std::{
    fs,
    io::{Cursor, Seek, SeekFrom, Write},
    path::PathBuf,
    sync::LazyLock,
};
use taproof_base::progress::Silent;
use taproof_circuits::iden3::{ContainerError, json::VerifyingKeyPoints};
use taproof_verifier::groth16::PointError;

fn read_bytes(bytes: &[u8]) -> Result<ProvingKey, ReadError> {
    read(Cursor::new(bytes))
}

fn key(zkey: &Zkey) -> ForeignKey {
    ForeignKey::new(read_bytes(&zkey.bytes()).expect("well-formed")).expect("a .zkey's circuit is foreign")
}

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(77)
}

fn blinding() -> Blinding {
    Blinding::from_rng(&mut rng())
}

/// From the .zkey, and from the key file that it is made into, comes the proof of ark-groth16 with r and s, whatever
/// they are, for the r1 and r2 that lead to the same points; ark-groth16 accepts it for the circuit's public inputs
/// and no others.
fn assert_agrees_with_ark(circuit: &Circuit) {
    let key = key(&circuit.zkey());
    assert_eq!((key.counts().rows(), key.counts().public_wires()), (circuit.rows(), circuit.public_wires));
    assert_eq!(key.weakness(), None);
    let mut rng = rng();
    let (r, s) = (Fr::rand(&mut rng), Fr::rand(&mut rng));
    let blinding = circuit.blinding(r, s);
    let proven = prove_foreign(&key, &circuit.witness, &blinding, &Silent).expect("the witness satisfies the circuit");
    let expected = circuit.ark().prove(&circuit.witness, r, s).expect("a small domain");
    let proof = proven.proof();
    assert_eq!((proof.a(), proof.b(), proof.c()), (&expected.a, &expected.b, &expected.c));
    assert_eq!(proven.public_inputs(), circuit.public_inputs());
    let prepared = ark_groth16::prepare_verifying_key(&circuit.key().vk);
    let accepts = |inputs: &[Fr]| Groth16::<Bn254>::verify_proof(&prepared, &expected, inputs).expect("any inputs");
    assert!(accepts(proven.public_inputs()));
    for input in 0..proven.public_inputs().len() {
        let mut others = proven.public_inputs().to_vec();
        others[input] += Fr::ONE;
        assert!(!accepts(&others) && !key.verifies(&others, proof), "input {input}");
    }
    let (_folder, path) = mapped(circuit);
    let mapped = ForeignKey::open(&path).expect("just written");
    assert_eq!((mapped.counts(), mapped.matrix_hash()), (key.counts(), key.matrix_hash()));
    assert_eq!(prove_foreign(&mapped, &circuit.witness, &blinding, &Silent).expect("the same key"), proven);
}

/// The circuit's key as a key file.
fn mapped(circuit: &Circuit) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let path = folder.path().join("circuit.key");
    key_file::write(&read_bytes(&circuit.zkey().bytes()).expect("well-formed"), &path).expect("there is room");
    (folder, path)
}

#[test]
fn proofs_at_the_boundaries_of_domains() {
    let mut seed = 0;
    for power in [2, 8, 16] {
        for total in power - 1..=power + 1 {
            for public_wires in [1, 2, 4].into_iter().filter(|public| *public <= total) {
                for values in [Values::Zeros, Values::Ones, Values::Random] {
                    seed += 1;
                    assert_agrees_with_ark(&Circuit::random(seed, total - public_wires, public_wires, values));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn proofs_of_random_circuits(seed: u64, rows in 0usize..60, public_inputs in 0usize..7, values in 0..3) {
        let values = [Values::Zeros, Values::Ones, Values::Random][values as usize];
        assert_agrees_with_ark(&Circuit::random(seed, rows, public_inputs + 1, values));
    }
}

#[test]
fn a_key_of_ours_proves_the_same_through_its_zkey() {
    for toy in [
        Toy { seed: 1, head_rows: 5, slot_rows: 6, slots: 3, tail_rows: 4 },
        Toy::of_rows(14, 2),
        Toy::of_rows(15, 3),
        Toy::of_rows(200, 4),
    ] {
        let shape = toy.shape();
        let (ours, assignment, blinding) = (toy.key(&shape), toy.assignment(&shape), blinding());
        let mut bytes = Vec::new();
        write(&ours, &shape, &mut bytes).expect("memory");
        let read = read_bytes(&bytes).expect("what we write");
        let sections = ours.sections().expect("just written");
        assert_eq!((&read.a_wires[..], &read.a[..]), (sections.a_wires, sections.a));
        assert_eq!(
            (&read.b_wires[..], &read.b_g1[..], &read.b_g2[..]),
            (sections.b_wires, sections.b_g1, sections.b_g2)
        );
        assert_eq!((&read.ic[..], &read.l[..], &read.h[..]), (sections.ic, sections.l, sections.h));
        assert_eq!((read.points, read.counts), (ours.header().points, ours.header().counts()));
        let foreign = ForeignKey::new(read).expect("a .zkey's circuit is foreign");
        let proven = prove_foreign(&foreign, &assignment.wires, &blinding, &Silent).expect("satisfied");
        let native = prove(&ours, &toy.statement(), assignment, &blinding).expect("satisfied");
        assert_eq!(proven.proof(), native.proof());
        assert_eq!(proven.public_inputs(), [toy.statement().digest()]);
    }
}

/// 19 rows, two public inputs.
static CIRCUIT: LazyLock<Circuit> = LazyLock::new(|| Circuit::random(5, 19, 3, Values::Random));
static ZKEY: LazyLock<Zkey> = LazyLock::new(|| CIRCUIT.zkey());

#[test]
fn no_proof_leaves_for_a_witness_that_does_not_hold() {
    let key = key(&ZKEY);
    let attempt = |witness: &[Fr]| prove_foreign(&key, witness, &Blinding::fresh(), &Silent);
    assert!(attempt(&CIRCUIT.witness).is_ok());
    let wires = CIRCUIT.witness.len();
    let mut refused = 0;
    for wire in 1..wires {
        let mut witness = CIRCUIT.witness.clone();
        witness[wire] += Fr::ONE;
        let satisfied = CIRCUIT.is_satisfied(&witness);
        match attempt(&witness) {
            Ok(_) => assert!(satisfied, "wire {wire}"),
            Err(ForeignProveError::Unsatisfied) => {
                assert!(!satisfied, "wire {wire}");
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > wires / 2, "most wires occur in a row");
    let longer = [&CIRCUIT.witness[..], &[Fr::ONE]].concat();
    for witness in [&CIRCUIT.witness[1..], &longer, &[]] {
        let other = attempt(witness);
        assert!(matches!(other, Err(ForeignProveError::OtherCircuit { expected, .. }) if expected == wires));
    }
    let mut witness = CIRCUIT.witness.clone();
    witness[0] = Fr::from(2u64);
    assert!(matches!(attempt(&witness), Err(ForeignProveError::FirstNotOne)));
}

#[test]
fn a_key_without_contributions_proves_and_is_known_as_forgeable() {
    let mut zkey = ZKEY.clone();
    let parameters = zkey.section(2);
    // Beta, gamma, delta in G1 and delta follow two primes, three counts, alpha and beta in G1.
    let (gamma, delta) = (84 + 2 * 64 + 128, 84 + 2 * 64 + 2 * 128 + 64);
    parameters.copy_within(gamma..gamma + 128, delta);
    let key = key(&zkey);
    assert_eq!(key.weakness(), Some(Weakness::NoContribution));
    // Delta in G1 is another point now, so the key contradicts itself, which no proof survives.
    let attempt = prove_foreign(&key, &CIRCUIT.witness, &Blinding::fresh(), &Silent);
    assert!(matches!(attempt, Err(ForeignProveError::Unsatisfied)));
}

/// A list of contributions: the types, after the last of which delta is that of the key.
fn contributions(types: &[u32], delta: &[u8]) -> Vec<u8> {
    let mut bytes = [&[3; 64][..], &(types.len() as u32).to_le_bytes()].concat();
    for (position, kind) in types.iter().enumerate() {
        bytes.extend(if position + 1 == types.len() { delta } else { &[5; 64] });
        bytes.extend([7; 64 + 64 + 128 + 64]);
        bytes.extend(kind.to_le_bytes());
        // Parameters of two lengths: a name of a contribution, rounds and hash of a beacon.
        let parameters: &[u8] = if *kind == 0 { &[1, 1, b'a'] } else { &[2, 10, 3, 2, 1, 2] };
        bytes.extend((parameters.len() as u32).to_le_bytes());
        bytes.extend(parameters);
    }
    bytes
}

#[test]
fn a_key_with_only_beacons_is_known_as_forgeable() {
    let weakness = |list: Option<Vec<u8>>| {
        let mut zkey = ZKEY.clone();
        zkey.0.retain(|(section, _)| *section != 10);
        zkey.0.extend(list.map(|list| (10, list)));
        let key = key(&zkey);
        // The key file that it is made into says the same.
        let folder = tempfile::tempdir().expect("a scratch folder");
        let path = folder.path().join("key");
        key_file::write(&read_bytes(&zkey.bytes()).expect("well-formed"), &path).expect("there is room");
        assert_eq!(ForeignKey::open(&path).expect("just written").weakness(), key.weakness());
        key.weakness()
    };
    let delta_at = 84 + 2 * 64 + 2 * 128;
    let delta = ZKEY.clone().section(2)[delta_at..delta_at + 64].to_vec();
    let list = |types: &[u32]| contributions(types, &delta);
    let forgeable = Some(Weakness::BeaconsOnly);
    assert_eq!(weakness(Some(list(&[1]))), forgeable);
    assert_eq!(weakness(Some(list(&[1, 1]))), forgeable);
    for types in [&[0][..], &[0, 1], &[1, 0], &[1, 0, 1], &[]] {
        assert_eq!(weakness(Some(list(types))), None, "{types:?}");
    }
    // What does not decode, is another key's or is not there says nothing, and no prover needs it.
    assert_eq!(weakness(None), None);
    assert_eq!(weakness(Some(contributions(&[1], &[9; 64]))), None);
    for length in [0, 64, 66, 68, 100, list(&[1]).len() - 1] {
        assert_eq!(weakness(Some(list(&[1])[..length].to_vec())), None, "{length} bytes");
    }
    let mut long = list(&[1]);
    long[64 + 4 + 384 + 4..64 + 4 + 384 + 8].fill(255);
    assert_eq!(weakness(Some(long)), None);
}

#[test]
fn a_verifying_key_checks_proofs_for_any_number_of_inputs() {
    for public_wires in [1, 2, 4] {
        let circuit = Circuit::random(public_wires as u64, 6, public_wires, Values::Random);
        let key = key(&circuit.zkey());
        let proven = prove_foreign(&key, &circuit.witness, &blinding(), &Silent).expect("it satisfies");
        let points = key.verifying_key();
        let verifying = ForeignVerifyingKey::new(&points).expect("a key");
        assert!(!verifying.is_forgeable());
        assert_eq!(verifying.verify(proven.public_inputs(), proven.proof()), Ok(()));
        let mut more = proven.public_inputs().to_vec();
        more.push(Fr::ONE);
        let (expected, found) = (public_wires - 1, public_wires);
        let count = ForeignVerifyError::InputCount { expected, found };
        assert_eq!(verifying.verify(&more, proven.proof()), Err(count));
        for input in 0..proven.public_inputs().len() {
            let mut others = proven.public_inputs().to_vec();
            others[input] += Fr::ONE;
            assert_eq!(verifying.verify(&others, proven.proof()), Err(ForeignVerifyError::Rejected));
        }
        let off = ark_bn254::G1Affine::new_unchecked(Fq::ONE, Fq::ONE);
        let altered = VerifyingKeyPoints { alpha: off, ..points.clone() };
        assert!(matches!(ForeignVerifyingKey::new(&altered), Err(VerifyingKeyError::FixedPoint(_))));
        let altered = VerifyingKeyPoints { ic: vec![off], ..points.clone() };
        assert!(matches!(ForeignVerifyingKey::new(&altered), Err(VerifyingKeyError::IcPoint { index: 0, .. })));
        let none = VerifyingKeyPoints { ic: Vec::new(), ..points.clone() };
        assert_eq!(ForeignVerifyingKey::new(&none).map(|_| ()), Err(VerifyingKeyError::NoIcPoint));
        let forgeable = VerifyingKeyPoints { gamma: points.delta, ..points };
        assert!(ForeignVerifyingKey::new(&forgeable).expect("a key").is_forgeable());
    }
}

#[test]
fn keys_of_other_protocols_and_curves_are_named() {
    for (number, name) in [(2, "PLONK"), (10, "FFLONK"), (77, "an unknown protocol")] {
        let error = fault(1, |section| section.copy_from_slice(&u32::to_le_bytes(number))).to_string();
        assert!(error.contains(name) && error.contains("Groth16"), "{error}");
    }
    let order = "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab";
    let mut order = hex::decode(order).expect("digits");
    order.reverse();
    let error = fault(2, |section| {
        *section = [&48u32.to_le_bytes()[..], &order, &[0; 900]].concat();
    });
    assert!(error.to_string().starts_with("the file is one of BLS12-381"), "{error}");
}

/// What reading says of the key with one section altered.
fn fault(section: u32, alter: impl FnOnce(&mut Vec<u8>)) -> ReadError {
    let mut zkey = ZKEY.clone();
    alter(zkey.section(section));
    read_bytes(&zkey.bytes()).expect_err("a fault")
}

#[test]
fn faults_of_the_container_and_the_parameters_are_named() {
    use ContainerError as C;
    use ReadError as E;
    assert!(read_bytes(&ZKEY.bytes()).is_ok());
    assert!(matches!(fault(1, |s| s[0] = 2), E::Protocol(2)));
    assert!(matches!(fault(1, |s| s.push(0)), E::Container(C::SectionLength { section: 1, .. })));
    for (offset, field) in [(4, "base field"), (40, "scalar field")] {
        let other = fault(2, |s| s[offset] ^= 1);
        assert!(matches!(other, E::Container(C::OtherField { section: 2, field: found, .. }) if found == field));
    }
    // The curve that iden3's tools know besides has a longer base field.
    assert!(matches!(fault(2, |s| s[0] = 48), E::Container(C::OtherField { field: "base field", .. })));
    assert!(matches!(fault(2, |s| s.truncate(600)), E::Container(C::SectionLength { section: 2, .. })));
    let count = |at: usize, count: u32| move |s: &mut Vec<u8>| s[at..at + 4].copy_from_slice(&count.to_le_bytes());
    let (wires, public, roots) = (72, 76, 80);
    for size in [0, 3, 1 << 28, u32::MAX] {
        assert!(matches!(fault(2, count(roots, size)), E::DomainSize { found, .. } if found == size));
    }
    assert!(matches!(fault(2, count(wires, 0)), E::Counts { wires: 0, .. }));
    assert!(matches!(fault(2, count(public, u32::MAX)), E::Counts { public_inputs: u32::MAX, .. }));
    assert!(matches!(fault(2, count(roots, 2)), E::Counts { roots: 2, .. }));
    // Counts that agree with one another and not with the sections, and that would take gigabytes.
    for altered in [count(wires, u32::MAX), count(public, 3), count(roots, 1 << 27)] {
        assert!(matches!(fault(2, altered), E::Container(C::SectionLength { .. })));
    }
    for (at, length, name) in
        [(84, 64, "alpha"), (148, 64, "beta in G1"), (212, 128, "beta in G2"), (532, 128, "delta in G2")]
    {
        let point = |byte: u8| match fault(2, |s| s[at..at + length].fill(byte)) {
            E::FixedPoint(fault) if fault.name == name => fault.source,
            other => panic!("{name}: {other}"),
        };
        assert_eq!([0, 1, 255].map(point), [PointError::Infinity, PointError::NotOnCurve, PointError::NotCanonical]);
    }
    for section in 1..=9 {
        let mut zkey = ZKEY.clone();
        zkey.0.retain(|(number, _)| *number != section);
        let missing = read_bytes(&zkey.bytes());
        assert!(matches!(missing, Err(E::Container(C::MissingSection(found))) if found == section));
        zkey.0.extend([(section, vec![]), (section, vec![])]);
        let twice = read_bytes(&zkey.bytes());
        assert!(matches!(twice, Err(E::Container(C::DuplicateSection(found))) if found == section));
        if section != 2 {
            assert!(matches!(
                fault(section, |s| s.push(0)),
                E::Container(C::SectionLength { section: found, .. }) if found == section
            ));
            assert!(matches!(
                fault(section, |s| s.clear()),
                E::Container(C::SectionLength { section: found, .. }) if found == section
            ));
        }
    }
}

#[test]
fn faults_of_points_and_coefficients_are_named() {
    use ReadError as E;
    for section in [3, 5, 6, 7, 8, 9] {
        let length = if section == 7 { 128 } else { 64 };
        let last = ZKEY.clone().section(section).len() / length - 1;
        let point = |byte: u8| match fault(section, |s| s[last * length..].fill(byte)) {
            E::Point { section: found, index, source } if (found, index) == (section, last) => source,
            other => panic!("section {section}: {other}"),
        };
        assert_eq!([1, 255].map(point), [PointError::NotOnCurve, PointError::NotCanonical]);
        // The order of the field is no coordinate.
        let order: Vec<u8> = Fq::MODULUS.0.iter().flat_map(|limb| limb.to_le_bytes()).collect();
        let above = fault(section, |s| s[..32].copy_from_slice(&order));
        assert!(matches!(above, E::Point { index: 0, source: PointError::NotCanonical, .. }));
    }
    let occurring = read_bytes(&ZKEY.bytes()).expect("well-formed").b_wires[0] as usize;
    for (section, length) in [(6, 64), (7, 128)] {
        let one_sided = fault(section, |s| s[occurring * length..][..length].fill(0));
        assert!(matches!(one_sided, E::OneSidedB { wire } if wire == occurring));
    }
    let second = 4 + COEFFICIENT_LENGTH;
    let field = |at: usize, value: u32| fault(4, move |s| s[second + at..][..4].copy_from_slice(&value.to_le_bytes()));
    assert!(matches!(field(0, 2), E::Matrix { index: 1, found: 2 }));
    assert!(matches!(field(4, 32), E::Row { index: 1, row: 32, roots: 32 }));
    assert!(matches!(field(8, u32::MAX), E::Wire { index: 1, wire: u32::MAX, .. }));
    let order: Vec<u8> = Fr::MODULUS.0.iter().flat_map(|limb| limb.to_le_bytes()).collect();
    assert!(matches!(fault(4, |s| s[second + 12..][..32].copy_from_slice(&order)), E::Coefficient { index: 1 }));
    assert!(matches!(field(4, 30), E::PublicRows));
    let without_last = |s: &mut Vec<u8>| {
        s.truncate(s.len() - COEFFICIENT_LENGTH);
        s[0] -= 1;
    };
    assert!(matches!(fault(4, without_last), E::PublicRows));
    assert!(matches!(fault(4, |s| *s = vec![0; 4]), E::PublicRows));
}

#[test]
fn keys_of_either_sort_are_not_taken_for_the_other() {
    let (_folder, path) = mapped(&CIRCUIT);
    let file = KeyFile::open(&path).expect("just written");
    assert_eq!(file.header().circuit(), KeyCircuit::Foreign);
    assert_eq!(file.header().file_length(), fs::metadata(&path).expect("just written").len());
    assert!(matches!(Key::open_any(&path), Err(KeyFileError::ForeignCircuit)));
    let toy = Toy::of_rows(9, 1);
    let ours = Key::open(&path, toy.circuit());
    assert!(matches!(ours, Err(KeyFileError::OtherCircuit { found: KeyCircuit::Foreign, .. })));
    key_file::write(&toy.proving_key(&toy.shape()), &path).expect("there is room");
    assert!(matches!(ForeignKey::open(&path), Err(KeyFileError::OwnCircuit(circuit)) if circuit == toy.circuit()));
    let in_memory = ForeignKey::new(toy.proving_key(&toy.shape()));
    assert!(in_memory.is_err_and(|error| error.0 == KeyCircuit::Own(toy.circuit())));
}

/// Who copies another key over one that is in use, in place of renaming it there, takes what was checked away.
#[test]
fn a_key_file_that_is_overwritten_in_use_is_told_to_be_altered() {
    // Wires of A, row ends and terms of A, and coefficients: all that is an index, or has one.
    for section in [1, 3, 8, 9, 10, 11, 12] {
        let (_folder, path) = mapped(&CIRCUIT);
        let key = ForeignKey::open(&path).expect("just written");
        let attempt = || prove_foreign(&key, &CIRCUIT.witness, &Blinding::fresh(), &Silent);
        let _ = attempt().expect("it was checked");
        let bytes = fs::read(&path).expect("it is ours");
        let [offset, length] = [0, 8].map(|at| {
            let number = bytes[656 + 48 * section + at..].first_chunk().expect("the header is longer");
            u64::from_le_bytes(*number)
        });
        let mut file = fs::File::options().write(true).open(&path).expect("it is ours");
        file.seek(SeekFrom::Start(offset)).expect("it is a file");
        // Numbers above all that there are; coordinates and coefficients would be none, too.
        file.write_all(&vec![0xfe; length as usize]).expect("as long as before");
        let told = attempt();
        assert!(matches!(told, Err(ForeignProveError::Key(KeyFileError::SectionAltered(_)))), "{section}: {told:?}");
    }
}

#[test]
fn altered_matrices_of_a_key_file_are_noticed() {
    let (_folder, path) = mapped(&CIRCUIT);
    let good = fs::read(&path).expect("just written");
    let open = |bytes: &[u8]| {
        // Under a new name, for what is mapped is never written in place.
        let other = path.with_extension("altered");
        let _ = fs::remove_file(&other);
        fs::write(&other, bytes).expect("there is room");
        ForeignKey::open(&other)
    };
    let attempt = |bytes: &[u8]| {
        prove_foreign(&open(bytes).expect("the header is good"), &CIRCUIT.witness, &Blinding::fresh(), &Silent)
    };
    assert!(attempt(&good).is_ok());
    let mut altered = good.clone();
    *altered.last_mut().expect("not empty") ^= 1;
    assert!(matches!(attempt(&altered), Err(ForeignProveError::Key(KeyFileError::SectionAltered("coefficients")))));
    // Another hash of the matrices than that of their sections, with a checksum that holds.
    let mut altered = good.clone();
    altered[32] ^= 1;
    assert!(matches!(open(&altered), Err(KeyFileError::HeaderAltered)));
    let end = 1408 - 32;
    let checksum = blake3::hash(&altered[..end]);
    altered[end..end + 32].copy_from_slice(checksum.as_bytes());
    assert!(matches!(open(&altered), Err(KeyFileError::Inconsistent)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn truncated_and_altered_files_give_errors_or_the_proof_of_the_circuit(
        at in any::<prop::sample::Index>(),
        bit in 0..8u8,
    ) {
        let mut bytes = ZKEY.bytes();
        let at = at.index(bytes.len());
        prop_assert!(read_bytes(&bytes[..at]).is_err());
        bytes[at] ^= 1 << bit;
        let Ok(altered) = read_bytes(&bytes) else { return Ok(()) };
        let altered = ForeignKey::new(altered).expect("a .zkey's circuit is foreign");
        // Coefficients remain, and the last section, of which nothing is read.
        match prove_foreign(&altered, &CIRCUIT.witness, &Blinding::fresh(), &Silent) {
            Ok(proven) => prop_assert!(key(&ZKEY).verifies(CIRCUIT.public_inputs(), proven.proof())),
            Err(ForeignProveError::Unsatisfied | ForeignProveError::OtherCircuit { .. }) => (),
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
}

#[test]
fn the_zero_coefficient_is_no_trouble() {
    let mut zkey = ZKEY.clone();
    let section = zkey.section(4);
    section[0] += 1;
    let mut term = vec![0; COEFFICIENT_LENGTH];
    term[8] = 1;
    section.extend(term);
    let proven = prove_foreign(&key(&zkey), &CIRCUIT.witness, &Blinding::fresh(), &Silent);
    assert!(proven.is_ok_and(|proven| proven.public_inputs() != [Fr::ZERO; 2]));
}
