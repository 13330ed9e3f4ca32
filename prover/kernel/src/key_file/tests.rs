use super::*;
use crate::{
    prove::{Blinding, ProveError, prove},
    toy::Toy,
};
use proptest::prelude::*;
use std::{fs, sync::LazyLock};
use taproof_circuits::cs::Shape;

/// Where the header's checksum and its table of sections begin.
const CHECKSUM_AT: usize = header::LENGTH - 32;
const SECTIONS_AT: usize = 656;

const TOY: Toy = Toy { seed: 1, head_rows: 5, slot_rows: 6, slots: 3, tail_rows: 4 };

static SHAPE: LazyLock<Shape> = LazyLock::new(|| TOY.shape());
static KEY: LazyLock<ProvingKey> = LazyLock::new(|| TOY.proving_key(&SHAPE));
static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a scratch folder");
    write(&KEY, &folder.path().join("key")).expect("there is room");
    fs::read(folder.path().join("key")).expect("just written")
});

fn open(bytes: &[u8]) -> Result<Key, KeyFileError> {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let path = folder.path().join("key");
    fs::write(&path, bytes).expect("there is room");
    Key::open(&path, TOY.circuit())
}

/// The bytes with some replaced and the header's checksum made to match.
fn resealed(offset: usize, replacement: &[u8]) -> Vec<u8> {
    let mut bytes = BYTES.clone();
    bytes[offset..offset + replacement.len()].copy_from_slice(replacement);
    let checksum = blake3::hash(&bytes[..CHECKSUM_AT]);
    bytes[CHECKSUM_AT..header::LENGTH].copy_from_slice(checksum.as_bytes());
    bytes
}

#[test]
fn what_is_written_is_read_back() {
    let key = open(&BYTES).expect("a good key");
    let (sections, header) = (key.sections().expect("good sections"), key.header());
    assert_eq!(sections.to_bytes(), KEY.sections().to_bytes());
    assert_eq!((key.circuit(), header.circuit()), (TOY.circuit(), Circuit::Own(TOY.circuit())));
    assert_eq!((header.matrix_hash(), header.counts(), header.points), (KEY.matrix_hash, KEY.counts, KEY.points));
    assert_eq!((header.wire_count(), header.row_count()), (SHAPE.wire_count(), SHAPE.row_count()));
    let ic: Vec<_> = KEY.ic.iter().map(Point::to_affine).collect();
    assert_eq!((key.verifying_key().alpha(), &key.verifying_key().ic()[..]), (&KEY.points.alpha.to_affine(), &ic[..]));
    assert_eq!(header.file_length(), BYTES.len() as u64);
    assert_eq!(KeyHeader::decode(&BYTES).expect("a good header"), *header);
    for section in header.sections {
        assert_eq!(section.offset % 64, 0);
    }
}

#[test]
fn a_key_that_another_process_has_locked_is_copied_if_it_is_whole() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let path = folder.path().join("key");
    fs::write(&path, &*BYTES).expect("there is room");
    // Whoever can read a file can lock it.
    let locked = fs::File::open(&path).expect("just written");
    locked.lock().expect("nobody has it");
    let key = Key::open(&path, TOY.circuit()).expect("it can be read");
    assert_eq!(key.sections().expect("good sections").to_bytes(), KEY.sections().to_bytes());
    // What is being written is no key yet, though its header is one's.
    for bytes in [&BYTES[..BYTES.len() / 2], &[&BYTES[..BYTES.len() - 64], &[1; 64]].concat()] {
        fs::write(&path, bytes).expect("there is room");
        assert!(matches!(Key::open(&path, TOY.circuit()), Err(KeyFileError::Locked(_))));
    }
}

#[test]
fn what_is_no_key_is_refused() {
    assert!(matches!(open(b""), Err(KeyFileError::NotAKey)));
    assert!(matches!(open(b"taproof"), Err(KeyFileError::NotAKey)));
    assert!(matches!(open(&[0; 2000]), Err(KeyFileError::NotAKey)));
    let missing = Key::open(Path::new("/nowhere/at/all"), TOY.circuit());
    assert!(matches!(missing, Err(KeyFileError::Read { .. })));
}

#[test]
fn foreign_byte_orders_and_versions_are_named() {
    assert!(matches!(open(&resealed(8, &0x0102_0304u32.to_be_bytes())), Err(KeyFileError::ForeignByteOrder)));
    let foreign = open(&resealed(12, &2u32.to_le_bytes()));
    assert!(matches!(foreign, Err(KeyFileError::ForeignVersion { found: 2, known: 3 })));
}

#[test]
fn keys_of_other_circuits_are_refused() {
    let other_slots = TOY.circuit().slots + 1;
    let other = open(&resealed(26, &other_slots.to_le_bytes()));
    assert!(matches!(
        other,
        Err(KeyFileError::OtherCircuit { found: Circuit::Own(found), .. }) if found.slots == other_slots
    ));
    let other = open(&resealed(32, &[7; 32])).expect("a good key of other matrices");
    assert!(matches!(other.expect_matrices(SHAPE.matrix_hash()), Err(KeyFileError::OtherMatrices(_))));
    assert!(open(&BYTES).expect("a good key").expect_matrices(SHAPE.matrix_hash()).is_ok());
}

#[test]
fn headers_that_contradict_themselves_are_refused() {
    let length = BYTES.len() as u64;
    for (what, offset, replacement) in [
        ("file length", 16, (length - 1).to_le_bytes()),
        ("kind", 24, [9, 1, 3, 0, 0, 0, 1, 0]),
        ("depth", 24, [2, 99, 3, 0, 0, 0, 1, 0]),
        ("slots", 24, [2, 1, 3, 0, 1, 0, 1, 0]),
        ("a set of operations of payments", 1281, [0, 0, 0, 0, 0, 0, 0, 1]),
        ("steps without a set of operations", 24, [5, 1, 3, 0, 0, 0, 1, 0]),
        ("wires", 64, [255; 8]),
        ("no wires", 64, [0; 8]),
        ("one public wire", 68, [1, 0, 0, 0, 0, 0, 0, 0]),
        ("a larger domain", 76, [6, 0, 0, 0, 0, 0, 0, 0]),
        ("a foreign circuit's", 24, [0; 8]),
        ("first offset", SECTIONS_AT, (header::LENGTH as u64 + 64).to_le_bytes()),
        ("first length", SECTIONS_AT + 8, u64::MAX.to_le_bytes()),
        ("length of H", SECTIONS_AT + 7 * 48 + 8, u64::MAX.to_le_bytes()),
        ("last length", SECTIONS_AT + 12 * 48 + 8, 32u64.to_le_bytes()),
        ("padding", 1313, [1, 0, 0, 0, 0, 0, 0, 0]),
        ("padding's end", 1368, [0, 0, 0, 0, 0, 0, 0, 1]),
    ] {
        assert!(matches!(open(&resealed(offset, &replacement)), Err(KeyFileError::Inconsistent)), "{what}");
    }
    let mut longer = BYTES.clone();
    longer.push(0);
    assert!(matches!(open(&longer), Err(KeyFileError::Inconsistent)));
}

#[test]
fn points_that_are_none_are_refused_even_if_the_checksum_holds() {
    for (offset, length, expected) in
        [(80, 64, "alpha"), (208, 64, "delta in G1"), (272, 128, "beta in G2"), (528, 128, "delta in G2")]
    {
        let fault = |replacement: &[u8]| match open(&resealed(offset, replacement)) {
            Err(KeyFileError::Point(fault)) if fault.name == expected => fault.source,
            other => panic!("{expected}: {other:?}"),
        };
        assert_eq!(fault(&vec![255; length]), PointError::NotCanonical);
        assert_eq!(fault(&vec![1; length]), PointError::NotOnCurve);
        assert_eq!(fault(&vec![0; length]), PointError::Infinity);
    }
    // Gamma in the place of delta.
    let same = open(&resealed(528, &BYTES[400..528]));
    assert!(matches!(same, Err(KeyFileError::VerifyingKey(groth16::KeyError::GammaIsDelta))));
    let ic = with_section(0, |bytes| bytes[64..].fill(1));
    assert!(matches!(open(&ic), Err(KeyFileError::IcPoint { index: 1, source: PointError::NotOnCurve })));
    let infinite = with_section(0, |bytes| bytes.fill(0));
    assert!(matches!(open(&infinite), Err(KeyFileError::VerifyingKey(groth16::KeyError::Point(_)))));
}

/// The bytes with a section altered and both its digest and the checksum made to match.
fn with_section(section: usize, alter: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let Section { offset, length, .. } = KeyHeader::decode(&BYTES).expect("a good header").sections[section];
    let mut bytes = BYTES.clone();
    let contents = &mut bytes[offset as usize..][..length as usize];
    alter(contents);
    let digest = digest(contents);
    bytes[SECTIONS_AT + section * 48 + 16..][..32].copy_from_slice(&digest);
    let checksum = blake3::hash(&bytes[..CHECKSUM_AT]);
    bytes[CHECKSUM_AT..header::LENGTH].copy_from_slice(checksum.as_bytes());
    bytes
}

#[test]
fn wires_out_of_range_or_order_are_refused_even_if_they_hash_well() {
    for (section, name) in [(1, "A wires"), (3, "B wires")] {
        for wires in [vec![u32::MAX; 1], vec![5, 5], vec![6, 5]] {
            let bytes = with_section(section, |bytes| {
                let start = bytes.len() - 4 * wires.len();
                bytes[start..].copy_from_slice(cast_slice(&wires));
            });
            let key = open(&bytes).expect("the header is good");
            assert!(matches!(key.sections(), Err(KeyFileError::SectionInvalid(found)) if found == name));
        }
    }
}

#[test]
fn coordinates_that_are_none_are_refused_even_if_they_hash_well() {
    for (section, name) in [(2, "A"), (4, "B in G1"), (5, "B in G2"), (6, "L"), (7, "H")] {
        let bytes = with_section(section, |bytes| {
            let start = bytes.len() - 32;
            let modulus = <ark_bn254::Fq as ark_ff::PrimeField>::MODULUS.0;
            bytes[start..].copy_from_slice(cast_slice(&modulus));
        });
        let key = open(&bytes).expect("the header is good");
        assert!(matches!(key.sections(), Err(KeyFileError::SectionInvalid(found)) if found == name));
    }
}

#[test]
fn values_out_of_range_in_a_damaged_section_are_damage() {
    let Section { offset, length, .. } = KeyHeader::decode(&BYTES).expect("a good header").sections[7];
    let mut bytes = BYTES.clone();
    bytes[(offset + length) as usize - 1] = 255;
    let key = open(&bytes).expect("the header is good");
    for _ in 0..2 {
        assert!(matches!(key.sections(), Err(KeyFileError::SectionAltered("H"))));
    }
}

#[test]
fn damage_that_leaves_values_in_range_is_named_when_the_proof_fails() {
    let header = KeyHeader::decode(&BYTES).expect("a good header");
    for (section, name) in [(2, "A"), (4, "B in G1"), (5, "B in G2"), (6, "L"), (7, "H")] {
        let Section { offset, length, .. } = header.sections[section];
        let mut bytes = BYTES.clone();
        bytes[offset as usize..][..length as usize].iter_mut().step_by(64).for_each(|byte| *byte ^= 1);
        let key = open(&bytes).expect("the header is good");
        assert!(key.sections().is_ok(), "{name}");
        match prove(&key, &TOY.statement(), TOY.assignment(&SHAPE), &Blinding::fresh()) {
            // No proof reads these points.
            Ok(_) => assert_eq!(name, "B in G1"),
            Err(ProveError::Key(KeyFileError::SectionAltered(found))) => assert_eq!(found, name),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn a_full_disk_and_a_missing_folder_are_told_apart() {
    let missing = write(&KEY, Path::new("/nowhere/at/all"));
    assert!(matches!(missing, Err(KeyFileError::Write { .. })));
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
        let full = write_error("key".into(), 7, kind.into());
        assert!(matches!(full, KeyFileError::DiskFull { length: 7, .. }));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn truncation_is_noticed(cut in any::<prop::sample::Index>()) {
        let length = cut.index(BYTES.len());
        match open(&BYTES[..length]) {
            Err(KeyFileError::NotAKey) => prop_assert!(length < 8),
            Err(KeyFileError::Truncated { found, .. }) => prop_assert_eq!(found, length as u64),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn every_altered_bit_is_noticed(position in any::<prop::sample::Index>(), bit in 0..8u8) {
        let mut bytes = BYTES.clone();
        let position = position.index(bytes.len());
        bytes[position] ^= 1 << bit;
        let header = KeyHeader::decode(&BYTES).expect("a good header");
        let lies_in = |s: &Section| (s.offset..s.offset + s.length).contains(&(position as u64));
        let in_section = header.sections.iter().any(lies_in);
        match open(&bytes) {
            // The IC points, the first section, are read with the header.
            Err(_) => prop_assert!(position < header::LENGTH + 128),
            Ok(key) => {
                // Gaps between sections belong to nothing and are never read.
                prop_assert!(position >= header::LENGTH + 128);
                prop_assert_eq!(key.expect_intact().is_err(), in_section);
                prop_assert!(key.sections().is_ok() || in_section);
            }
        }
    }
}
