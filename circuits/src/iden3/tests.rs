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
    fn wtns_round_trips_and_nothing_else_is_read(values in proptest::collection::vec(any::<u64>(), 0..20), at in any::<prop::sample::Index>(), bit in 0..8u8) {
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
            Ok(found) => prop_assert!(at >= 76 && *found != wires),
            Err(WtnsError::NotCanonical(wire)) => prop_assert_eq!(wire, (at - 76) / 32),
            Err(_) => prop_assert!(at < 76),
        }
        bytes.push(0);
        prop_assert!(matches!(read(&bytes), Err(WtnsError::Container(ContainerError::Trailing(1)))));
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
