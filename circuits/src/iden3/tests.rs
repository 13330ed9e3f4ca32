use super::*;
use crate::cs::{ConstraintSystem, SegmentShape, Shape};
use ark_bn254::Fr;
use ark_ff::Field;
use proptest::prelude::*;
use std::io::Cursor;

/// Head: x y = public; slots: square the carry; tail: carry + 3 = one more wire.
fn shape(slots: usize) -> Shape {
    let mut head = SegmentShape::new(0);
    let [_, public, x, y] = [(); 4].map(|()| head.witness(Fr::ONE));
    head.enforce(&x, &y, &public);
    let mut slot = SegmentShape::new(4);
    slot.product(&y, &y);
    let end = 4 + slots;
    let mut tail = SegmentShape::new(end);
    tail.wire(&(SegmentShape::wire_at(end - 1) + crate::cs::LinearCombination::from(Fr::from(3u64))));
    Shape::new(head, slot, tail, slots, 1)
}

/// The terms of one row of A, B and C.
type Row = [Vec<(usize, Fr)>; 3];

/// Reads back the number of wires and the rows of a .r1cs file by the format's description.
fn read_r1cs(bytes: &[u8]) -> (usize, Vec<Row>) {
    let mut rest = bytes;
    let mut take = |n: usize| {
        let (taken, after) = rest.split_at(n);
        rest = after;
        taken.to_vec()
    };
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
    assert_eq!((take(4), number(&take(4)), number(&take(4))), (b"r1cs".to_vec(), 1, 3));
    assert_eq!((number(&take(4)), number(&take(8)), number(&take(4))), (1, 64, 32));
    assert_eq!(take(32), prime_bytes::<Fr>()[4..]);
    let wires = number(&take(4));
    assert_eq!((number(&take(4)), number(&take(4)), number(&take(4))), (0, 1, 0), "outputs, public, private");
    assert_eq!(number(&take(8)), wires, "labels");
    let rows = number(&take(4));
    assert_eq!(number(&take(4)), 2);
    take(8);
    let rows = (0..rows)
        .map(|_| {
            [(); 3].map(|()| {
                let terms = number(&take(4));
                let mut term = || {
                    let wire = number(&take(4));
                    let bytes: [u8; 32] = take(32).try_into().expect("32 bytes");
                    (wire, taproof_verifier::field::from_bytes(&bytes).expect("canonical"))
                };
                (0..terms).map(|_| term()).collect()
            })
        })
        .collect();
    assert_eq!((number(&take(4)), number(&take(8))), (3, 8 * wires));
    (0..wires).for_each(|wire| assert_eq!(number(&take(8)), wire, "label"));
    assert!(rest.is_empty());
    (wires, rows)
}

#[test]
fn r1cs_holds_every_row() {
    for slots in [0, 1, 3] {
        let shape = shape(slots);
        let mut bytes = Vec::new();
        write_r1cs(&shape, &mut bytes).expect("memory");
        let (wires, rows) = read_r1cs(&bytes);
        assert_eq!((wires, rows.len()), (shape.wire_count(), shape.row_count()));
        for (found, row) in rows.iter().zip(shape.rows()) {
            let owned = |terms: Vec<(usize, &Fr)>| terms.into_iter().map(|(w, c)| (w, *c)).collect::<Vec<_>>();
            assert_eq!(*found, [owned(row.a().collect()), owned(row.b().collect()), owned(row.c().collect())]);
        }
    }
}

proptest! {
    #[test]
    fn wtns_round_trips_and_nothing_else_is_read(
        values in proptest::collection::vec(any::<u64>(), 0..20),
        at in any::<prop::sample::Index>(),
        bit in 0..8u8,
    ) {
        let wires: Vec<Fr> = values.iter().map(|value| Fr::from(*value).inverse().unwrap_or(Fr::ONE)).collect();
        let mut bytes = Vec::new();
        write_wtns(&wires, &mut bytes).expect("memory");
        let read = |bytes: &[u8]| read_wtns(Cursor::new(bytes));
        prop_assert_eq!(&*read(&bytes).expect("just written"), &wires);
        let at = at.index(bytes.len());
        prop_assert!(read(&bytes[..at]).is_err());
        let mut altered = bytes.clone();
        altered[at] ^= 1 << bit;
        match read(&altered) {
            // Of the version, 2, the only bit that is set leads to version 0.
            Ok(found) if at >= 76 => prop_assert!(*found != wires),
            Ok(found) => prop_assert!((at, bit) == (4, 1) && *found == wires),
            Err(WtnsError::NotCanonical(wire)) => prop_assert_eq!(wire, (at - 76) / 32),
            Err(_) => prop_assert!(at < 76),
        }
        bytes.push(0);
        prop_assert_eq!(&*read(&bytes).expect("what follows the last section is nobody's"), &wires);
    }
}

#[test]
fn values_at_and_above_the_order_and_other_fields_are_refused() {
    let mut bytes = Vec::new();
    write_wtns(&vec![-Fr::ONE; 1500], &mut bytes).expect("memory");
    let read = |bytes: &[u8]| read_wtns(Cursor::new(bytes));
    assert_eq!(read(&bytes).expect("the greatest value").len(), 1500);
    let at = bytes.len() - 64;
    bytes[at] += 1;
    assert!(matches!(read(&bytes), Err(WtnsError::NotCanonical(1498))), "the order itself");
    bytes[24] = 8;
    let other = read(&bytes);
    assert!(matches!(other, Err(WtnsError::Container(ContainerError::OtherField { section: 1, .. }))));
    let mut file = Vec::new();
    let mut container = BinaryFile::start(&mut file, *b"wtns", 2, 1).expect("memory");
    container.section(2, 0, |_| Ok(())).expect("memory");
    assert!(matches!(read(&file), Err(WtnsError::Container(ContainerError::MissingSection(1)))));
}

/// The offset of the constraints in a file that [`write_r1cs`] wrote.
const ROWS_AT: usize = 12 + 12 + 36 + 4 * 4 + 8 + 4 + 12;

#[test]
fn a_witness_is_checked_constraint_by_constraint() {
    let shape = shape(3);
    let mut bytes = Vec::new();
    write_r1cs(&shape, &mut bytes).expect("memory");
    let check = |bytes: &[u8], wires: &[Fr]| check_r1cs(Cursor::new(bytes), wires);
    // x y = 35 and the squares of y = 7, then 3 more.
    let y = Fr::from(7u64);
    let [once, twice, thrice] = [y.square(), y.square().square(), y.square().square().square()];
    let wires = [Fr::ONE, Fr::from(35u64), Fr::from(5u64), y, once, twice, thrice, thrice + Fr::from(3u64)];
    assert_eq!(shape.first_unsatisfied(&wires), None);
    let (wire_count, rows) = (shape.wire_count() as u32, shape.row_count() as u32);
    assert_eq!(check(&bytes, &wires).expect("it satisfies"), R1csCounts { wires: wire_count, public: 1, rows });
    // The first constraint that an altered wire breaks is that of the matrices.
    for wire in 1..wires.len() {
        let mut altered = wires;
        altered[wire] += Fr::ONE;
        let expected = shape.first_unsatisfied(&altered).expect("each wire occurs");
        let Err(R1csError::Unsatisfied(found)) = check(&bytes, &altered) else { panic!("wire {wire}") };
        assert_eq!((found.row as usize, found.rows), (expected, rows));
    }
    let mut altered = wires;
    altered[1] = Fr::from(36u64);
    let message = check(&bytes, &altered).expect_err("5 times 7 is 35").to_string();
    assert_eq!(message, "constraint 0 of 5 does not hold: (w2) * (w3) = w1, and 5 * 7 is not 36");
    assert!(matches!(check(&bytes, &wires[..7]), Err(R1csError::OtherCircuit { expected: 8, found: 7 })));
    // Damage is told from what does not hold.
    let damaged = |at: usize, replacement: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + replacement.len()].copy_from_slice(replacement);
        check(&bytes, &wires).expect_err("a fault")
    };
    assert!(matches!(damaged(ROWS_AT + 4, &[8]), R1csError::Constraint(0)), "a wire that is not there");
    assert!(matches!(damaged(ROWS_AT + 8, &[255; 32]), R1csError::Constraint(0)), "no element");
    assert!(matches!(damaged(ROWS_AT, &[255; 4]), R1csError::Constraint(0)), "a side that does not end");
    let rows_at = ROWS_AT - 12 - 4;
    assert!(matches!(damaged(rows_at, &[6]), R1csError::Constraint(5)), "one constraint too few");
    assert!(matches!(damaged(rows_at, &[4]), R1csError::Trailing(_)), "one constraint too many");
    assert!(matches!(damaged(rows_at - 16, &[8]), R1csError::Counts { wires: 8, public: 8 }));
    assert!(matches!(damaged(0, b"wtns"), R1csError::Container(ContainerError::Magic { .. })));
}

#[test]
fn no_bytes_of_a_circuit_make_its_check_panic() {
    let shape = shape(2);
    let mut bytes = Vec::new();
    write_r1cs(&shape, &mut bytes).expect("memory");
    let y = Fr::from(7u64);
    let [once, twice] = [y.square(), y.square().square()];
    let wires = [Fr::ONE, Fr::from(35u64), Fr::from(5u64), y, once, twice, twice + Fr::from(3u64)];
    let check = |bytes: &[u8]| check_r1cs(Cursor::new(bytes), &wires);
    assert!(check(&bytes).is_ok());
    for length in 0..bytes.len() {
        assert!(check(&bytes[..length]).is_err(), "{length} bytes");
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut altered = bytes.clone();
            altered[at] ^= 1 << bit;
            // A count that swallows its neighbours may leave a constraint that holds, so nothing is said of the result.
            let _ = check(&altered);
        }
    }
}

#[test]
fn files_of_other_curves_are_named() {
    let file = |magic: &[u8; 4], length: u32, order: &[u8]| {
        let mut bytes = Vec::new();
        let mut file = BinaryFile::start(&mut bytes, *magic, 1, 1).expect("memory");
        let section = [&length.to_le_bytes()[..], order, &[0; 28]].concat();
        file.section(1, section.len() as u64, |out| out.write_all(&section)).expect("memory");
        file.finish();
        bytes
    };
    let goldilocks = 0xffff_ffff_0000_0001u64.to_le_bytes();
    let found = read_wtns(Cursor::new(file(b"wtns", 8, &goldilocks))).expect_err("another field").to_string();
    assert!(found.starts_with("the file is one of Goldilocks") && found.contains("bn128"), "{found}");
    let found = check_r1cs(Cursor::new(file(b"r1cs", 8, &goldilocks)), &[]).expect_err("another field");
    assert!(found.to_string().starts_with("the file is one of Goldilocks"), "{found}");
    let found = read_wtns(Cursor::new(file(b"wtns", 8, &[1; 8]))).expect_err("another field").to_string();
    assert!(found.starts_with("the file is one of another curve"), "{found}");
}

#[test]
fn the_first_version_of_a_witness_is_read() {
    let (wires, mut bytes) = ([Fr::ONE, Fr::from(5u64)], Vec::new());
    write_wtns(&wires, &mut bytes).expect("memory");
    bytes[4] = 1;
    assert_eq!(read_wtns(Cursor::new(&bytes)).expect("version 1")[..], wires);
    bytes.push(0);
    assert_eq!(read_wtns(Cursor::new(&bytes)).expect("what follows is nobody's")[..], wires);
    bytes[4] = 3;
    assert!(read_wtns(Cursor::new(&bytes)).is_err());
}
