use super::*;
use crate::toy::Toy;
use proptest::prelude::*;
use std::{fs, sync::LazyLock};
use taproof_circuits::cs::Shape;

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
    Key::open(&path, TOY.circuit(), SHAPE.matrix_hash())
}

/// The bytes with some replaced and the header's checksum made to match.
fn resealed(offset: usize, replacement: &[u8]) -> Vec<u8> {
    let mut bytes = BYTES.clone();
    bytes[offset..offset + replacement.len()].copy_from_slice(replacement);
    let checksum = blake3::hash(&bytes[..864]);
    bytes[864..896].copy_from_slice(checksum.as_bytes());
    bytes
}

#[test]
fn what_is_written_is_read_back() {
    let key = open(&BYTES).expect("a good key");
    let sections = key.sections().expect("good sections");
    assert_eq!((sections.a_wires, sections.a), (&KEY.a_wires[..], &KEY.a[..]));
    assert_eq!((sections.b_wires, sections.b_g1, sections.b_g2), (&KEY.b_wires[..], &KEY.b_g1[..], &KEY.b_g2[..]));
    assert_eq!((sections.l, sections.h), (&KEY.l[..], &KEY.h[..]));
    let header = key.header();
    assert_eq!((header.circuit(), header.matrix_hash()), (TOY.circuit(), SHAPE.matrix_hash()));
    assert_eq!((header.wire_count(), header.row_count()), (SHAPE.wire_count(), SHAPE.row_count()));
    assert_eq!(header.verifying_key(), KEY.verifying_key());
    assert_eq!((header.beta_g1, header.delta_g1), (KEY.beta_g1, KEY.delta_g1));
    assert_eq!(header.file_length(), BYTES.len() as u64);
    assert_eq!(KeyHeader::decode(&BYTES).expect("a good header"), *header);
    for section in header.sections {
        assert_eq!(section.offset % 64, 0);
    }
}

#[test]
fn what_is_no_key_is_refused() {
    assert!(matches!(open(b""), Err(KeyFileError::NotAKey)));
    assert!(matches!(open(b"taproof"), Err(KeyFileError::NotAKey)));
    assert!(matches!(open(&[0; 2000]), Err(KeyFileError::NotAKey)));
    let missing = Key::open(Path::new("/nowhere/at/all"), TOY.circuit(), SHAPE.matrix_hash());
    assert!(matches!(missing, Err(KeyFileError::Read { .. })));
}

#[test]
fn foreign_byte_orders_and_versions_are_named() {
    assert!(matches!(open(&resealed(8, &0x0102_0304u32.to_be_bytes())), Err(KeyFileError::ForeignByteOrder)));
    let foreign = open(&resealed(12, &2u32.to_le_bytes()));
    assert!(matches!(foreign, Err(KeyFileError::ForeignVersion { found: 2, known: 1 })));
}

#[test]
fn keys_of_other_circuits_are_refused() {
    let other_slots = TOY.circuit().slots + 1;
    let other = open(&resealed(26, &other_slots.to_le_bytes()));
    assert!(matches!(other, Err(KeyFileError::OtherCircuit { found, .. }) if found.slots == other_slots));
    assert!(matches!(open(&resealed(32, &[7; 32])), Err(KeyFileError::OtherMatrices(_))));
}

#[test]
fn headers_that_contradict_themselves_are_refused() {
    let length = BYTES.len() as u64;
    for (what, offset, replacement) in [
        ("file length", 16, (length - 1).to_le_bytes()),
        ("kind", 24, [9, 1, 3, 0, 1, 0, 0, 0]),
        ("depth", 24, [2, 99, 3, 0, 1, 0, 0, 0]),
        ("reserved", 24, [2, 1, 3, 0, 1, 0, 1, 0]),
        ("wires", 64, [255; 8]),
        ("no wires", 64, [0; 8]),
        ("domain", 72, [9, 0, 0, 0, 0, 0, 0, 0]),
        ("more reserved", 72, [5, 0, 0, 0, 1, 0, 0, 0]),
        ("first offset", 504, 960u64.to_le_bytes()),
        ("first length", 512, u64::MAX.to_le_bytes()),
        ("last length", 512 + 6 * 48, u64::MAX.to_le_bytes()),
        ("padding", 850, [1; 8]),
    ] {
        assert!(matches!(open(&resealed(offset, &replacement)), Err(KeyFileError::Inconsistent)), "{what}");
    }
    let mut longer = BYTES.clone();
    longer.push(0);
    assert!(matches!(open(&longer), Err(KeyFileError::Inconsistent)));
    assert!(matches!(open(&resealed(80, &[255; 64])), Err(KeyFileError::VerifyingKey(_))));
}

#[test]
fn wires_out_of_range_or_order_are_refused_even_if_they_hash_well() {
    for (section, name) in [(0, "A wires"), (2, "B wires")] {
        let header = KeyHeader::decode(&BYTES).expect("a good header");
        let Section { offset, length, .. } = header.sections[section];
        for wires in [vec![u32::MAX; 1], vec![5, 5], vec![6, 5]] {
            let mut bytes = BYTES.clone();
            let section_bytes = &mut bytes[offset as usize..][..length as usize];
            let start = section_bytes.len() - 4 * wires.len();
            section_bytes[start..].copy_from_slice(bytemuck::cast_slice(&wires));
            let digest = blake3::hash(section_bytes);
            let table = 504 + section * 48 + 16;
            bytes[table..table + 32].copy_from_slice(digest.as_bytes());
            let checksum = blake3::hash(&bytes[..864]);
            bytes[864..896].copy_from_slice(checksum.as_bytes());
            let key = open(&bytes).expect("the header is good");
            assert!(matches!(key.sections(), Err(KeyFileError::SectionInvalid(found)) if found == name));
        }
    }
}

#[test]
fn a_full_disk_and_a_missing_folder_are_told_apart() {
    let missing = write(&KEY, Path::new("/nowhere/at/all"));
    assert!(matches!(missing, Err(KeyFileError::Write { .. })));
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
        let full = write_error(Path::new("key"), 7, kind.into());
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
            Err(_) => prop_assert!(position < 896),
            Ok(key) => {
                // Gaps between sections belong to nothing and are never read.
                prop_assert!(position >= 896);
                prop_assert_eq!(key.sections().is_err(), in_section);
                prop_assert_eq!(key.sections().is_err(), in_section, "the answer is kept");
            }
        }
    }
}
