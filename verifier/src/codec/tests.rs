use super::*;
use crate::{
    baby_jubjub::{Point, Scalar},
    operation::{Columns, tests::example_set},
    record::{Evidence, StepRecord, StepRecords, example_records},
};
use ark_bn254::Fr;
use ark_ec::{AffineRepr, CurveGroup};
use proptest::{collection::vec, prelude::*};

fn index() -> impl Strategy<Value = CellIndex> {
    prop_oneof![0u32..50, 0u32..1 << 30, Just((1 << 30) - 1)].prop_map(|i| CellIndex::new(i).expect("below 2^30"))
}

fn amount() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..1000, any::<u64>(), Just(u64::MAX)]
}

fn owner() -> impl Strategy<Value = PublicKey> {
    let key = |scalar: u64| PublicKey::new((Point::generator() * Scalar::from(scalar)).into_affine());
    (1u64..5000).prop_map(move |scalar| key(scalar).expect("a multiple of the generator"))
}

fn destination() -> impl Strategy<Value = Destination> {
    prop_oneof![
        any::<[u8; 20]>().prop_map(Destination::P2wpkh),
        any::<[u8; 32]>().prop_map(Destination::P2wsh),
        any::<[u8; 32]>().prop_map(Destination::P2tr),
        any::<[u8; 20]>().prop_map(Destination::P2pkh),
        any::<[u8; 20]>().prop_map(Destination::P2sh),
    ]
}

/// Records of any kind, as many as `count` allows.
pub(crate) fn records(count: core::ops::Range<usize>) -> impl Strategy<Value = Records> {
    prop_oneof![4 => payments(count.clone()), 1 => vec(step(), count).prop_map(steps)]
}

/// Records of any kind of payment, as many as `count` allows.
pub(crate) fn payments(count: core::ops::Range<usize>) -> impl Strategy<Value = Records> {
    let deposit =
        (index(), amount(), owner()).prop_map(|(to, amount_sat, owner)| DepositRecord { to, amount_sat, owner });
    let transfer = (index(), index(), amount(), amount()).prop_map(|(from, to, amount, fee)| TransferRecord {
        from,
        to,
        amount,
        fee,
    });
    let open = (index(), index(), amount(), amount(), owner()).prop_map(|(from, to, amount, fee, owner)| OpenRecord {
        from,
        to,
        amount,
        fee,
        owner,
    });
    let withdraw = (index(), amount(), amount(), destination())
        .prop_map(|(from, amount, fee, destination)| WithdrawRecord { from, amount, fee, destination });
    prop_oneof![
        vec(deposit, count.clone()).prop_map(Records::Deposit),
        vec(transfer, count.clone()).prop_map(Records::Transfer),
        vec(open, count.clone()).prop_map(Records::Open),
        vec(withdraw, count).prop_map(Records::Withdraw),
    ]
}

/// A set of operations with each column and each check in some of them.
fn operations() -> Arc<OperationSet> {
    Arc::new(example_set())
}

/// A step of any operation of the example.
fn step() -> impl Strategy<Value = StepRecord> {
    let position = 0..example_records().len();
    let word = any::<[u64; 4]>().prop_map(|limbs| limbs.into_iter().map(Fr::from).product());
    (position, any::<u8>(), index(), [amount(), amount(), amount()], word, any::<u8>()).prop_map(
        |(position, flags, cell, [a, b, c], word, byte)| {
            let posted = example_records()[position];
            let columns = operations().get(posted.operation).expect("of the example").columns;
            let mut step = posted;
            step.flags = if columns.contain(Columns::FLAGS) { flags } else { 0 };
            step.cell = if columns.contain(Columns::CELL) { cell } else { CellIndex::default() };
            step.a = if columns.contain(Columns::A) { a } else { 0 };
            step.b = if columns.contain(Columns::B) { b } else { 0 };
            step.c = if columns.contain(Columns::C) { c } else { 0 };
            step.word = if columns.contain(Columns::WORD) { word } else { Fr::from(0u64) };
            step.evidence = match posted.evidence {
                Evidence::Claim(_) => Evidence::Claim([byte; 32]),
                Evidence::Feed { .. } => Evidence::Feed { key: [byte; 32], signature: [byte ^ 1; 64] },
                Evidence::Header(_) => Evidence::Header([byte; 80]),
                none => none,
            };
            step
        },
    )
}

fn steps(records: Vec<StepRecord>) -> Records {
    Records::Step(StepRecords::new(operations(), records).expect("records of the set"))
}

/// The layout of any records.
pub(crate) fn layout(chunks: &[Records]) -> Vec<Layout> {
    let layout = |records: &Records| {
        let count = records.len() as u16;
        match records {
            Records::Step(steps) => Layout::Step(count, steps.operations().clone()),
            payments => Layout::payments(payments.kind(), count).expect("payments"),
        }
    };
    chunks.iter().map(layout).collect()
}

fn encode(chunks: &[Records]) -> Vec<u8> {
    columns(&chunks.iter().collect::<Vec<_>>())
}

fn transfers() -> Vec<Records> {
    let transfer = |i: u32| TransferRecord {
        from: CellIndex::new(i * 77 % 100).expect("a small index"),
        to: CellIndex::new(i).expect("a small index"),
        amount: u64::from(i) * 1_000_003,
        fee: 10,
    };
    vec![Records::Transfer((0..50).map(transfer).collect()), Records::Transfer((50..60).map(transfer).collect())]
}

proptest! {
    #[test]
    fn columns_round_trip(chunks in vec(records(0..9), 0..7)) {
        let bytes = encode(&chunks);
        prop_assert_eq!(from_columns(&layout(&chunks), &bytes), Ok(chunks));
    }

    #[test]
    fn compression_round_trips(bytes in vec(any::<u8>(), 0..3000)) {
        prop_assert_eq!(inflate(&deflate(&bytes), bytes.len()), Ok(bytes));
    }

    /// Of two different strings no two decode to the same records: what decodes encodes back to the same bytes.
    #[test]
    fn altered_columns_are_refused_or_other_records(
        chunks in vec(records(1..5), 1..4),
        position in any::<proptest::sample::Index>(),
        flip in 1u8..,
    ) {
        let mut bytes = encode(&chunks);
        let position = position.index(bytes.len());
        bytes[position] ^= flip;
        if let Ok(decoded) = from_columns(&layout(&chunks), &bytes) {
            prop_assert_ne!(&decoded, &chunks);
            prop_assert_eq!(encode(&decoded), bytes);
        }
    }

    #[test]
    fn any_columns_are_refused_or_encode_back(
        counts in vec((0usize..5, 0u16..4), 0..4),
        numbers in vec(prop_oneof![Just(1u8), 7u8..10, Just(255)], 12),
        bytes in vec(any::<u8>(), 0..600),
    ) {
        let layout = |(kind, count)| {
            Layout::payments(Kind::ALL[kind], count).unwrap_or_else(|| Layout::Step(count, operations()))
        };
        let layout: Vec<_> = counts.into_iter().map(layout).collect();
        let fixed: usize = layout.iter().map(|layout| match layout {
            Layout::Step(..) => 0,
            payments => payments.count() * payments.record_lengths().0,
        }).sum();
        let steps: usize = layout.iter().filter(|layout| matches!(layout, Layout::Step(..))).map(Layout::count).sum();
        let length = |number: &u8| operations().get(*number).expect("of the example").record_length() - 1;
        let mut bytes = bytes;
        bytes.resize(fixed, 0);
        bytes.extend(&numbers[..steps]);
        bytes.resize(bytes.len() + numbers[..steps].iter().map(length).sum::<usize>(), 1);
        if let Ok(decoded) = from_columns(&layout, &bytes) {
            prop_assert_eq!(encode(&decoded), bytes);
        }
    }

    #[test]
    fn any_stream_is_handled(stream in vec(any::<u8>(), 0..400), length in 0usize..2000) {
        if let Ok(bytes) = inflate(&stream, length) {
            prop_assert_eq!(bytes.len(), length);
        }
    }
}

#[test]
fn another_length_is_refused() {
    let chunks = transfers();
    let bytes = encode(&chunks);
    for length in 0..bytes.len() {
        let error = CodecError::Length { found: length, expected: bytes.len() };
        assert_eq!(from_columns(&layout(&chunks), &bytes[..length]), Err(error));
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(matches!(from_columns(&layout(&chunks), &longer), Err(CodecError::Length { .. })));
}

#[test]
fn indices_beyond_the_largest_tree_are_refused() {
    let layout = [Layout::Transfer(1)];
    let mut columns = [0; 24];
    columns[4..8].copy_from_slice(&(1u32 << 30).to_le_bytes());
    assert_eq!(from_columns(&layout, &columns), Err(CodecError::Index(1 << 30)));
    let mut columns = [0; 24];
    columns[..4].copy_from_slice(&1u32.to_le_bytes());
    assert_eq!(from_columns(&layout, &columns), Err(CodecError::Index(u32::MAX)));
}

#[test]
fn destinations_have_one_encoding() {
    let layout = [Layout::Withdraw(1)];
    let mut columns = [0; 53];
    for number in Destination::TYPES..=u8::MAX {
        columns[20] = number;
        assert_eq!(from_columns(&layout, &columns), Err(CodecError::Destination(number)));
    }
    for position in 41..53 {
        let mut columns = columns;
        columns[position] = 1;
        for number in [0, 3, 4] {
            columns[20] = number;
            assert_eq!(from_columns(&layout, &columns), Err(CodecError::DestinationPadding));
        }
        for number in [1, 2] {
            columns[20] = number;
            assert!(from_columns(&layout, &columns).is_ok());
        }
    }
}

#[test]
fn owners_are_checked() {
    let mut columns = [0; 44];
    columns[12..].fill(0xff);
    assert_eq!(from_columns(&[Layout::Deposit(1)], &columns), Err(CodecError::Owner(KeyError::NotCanonical)));
}

/// The bytes of two transfers, by hand: differences of payers, then planes of payees, amounts and fees.
#[test]
fn columns_of_two_transfers_are_pinned() {
    let index = |i| CellIndex::new(i).expect("a small index");
    let records = Records::Transfer(vec![
        TransferRecord { from: index(0x102), to: index(3), amount: 0x1122, fee: 1 },
        TransferRecord { from: index(0x101), to: index(0x0405), amount: 0x3344, fee: 2 },
    ]);
    let expected = [
        [0x04, 0x01, 0x02, 0x00, 0, 0, 0, 0].as_slice(),
        &[0x03, 0x05, 0x00, 0x04, 0, 0, 0, 0],
        &[0x22, 0x44, 0x11, 0x33, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ];
    assert_eq!(columns(&[&records]), expected.concat());
}

#[test]
fn streams_must_hold_exactly_the_announced_bytes() {
    let bytes = encode(&transfers());
    let stream = deflate(&bytes);
    assert_eq!(inflate(&stream, bytes.len()).as_ref(), Ok(&bytes));
    assert_eq!(inflate(&stream, bytes.len() - 1), Err(CodecError::Stream));
    assert_eq!(inflate(&stream, bytes.len() + 1), Err(CodecError::Stream));
    for length in 0..stream.len() {
        assert_eq!(inflate(&stream[..length], bytes.len()), Err(CodecError::Stream));
    }
    assert_eq!(inflate(&[stream.as_slice(), &[0]].concat(), bytes.len()), Err(CodecError::Stream));
}

#[test]
fn a_bomb_stops_at_the_announced_length() {
    let bomb = deflate(&vec![0; 50_000_000]);
    assert!(bomb.len() < 60_000);
    assert_eq!(inflate(&bomb, 1000), Err(CodecError::Stream));
}

/// The bytes of two steps, by hand: operations, then each column of those that post it, then the evidence.
#[test]
fn columns_of_two_steps_are_pinned() {
    let index = |i| CellIndex::new(i).expect("a small index");
    let word = Fr::from(0x0b0au64);
    let first = StepRecord { flags: 5, cell: index(0x102), a: 0x1122, b: 1, c: 2, word, ..StepRecord::new(1) };
    let evidence = Evidence::Claim([0xee; 32]);
    let second = StepRecord { cell: index(0x101), c: 0x3344, word: Fr::from(1u64), evidence, ..StepRecord::new(7) };
    let mut words = [[0; 32]; 2];
    words[0][..2].copy_from_slice(&[0x0a, 0x0b]);
    words[1][0] = 1;
    let expected = [
        [1, 7].as_slice(),
        &[5],
        &[0x04, 0x01, 0x02, 0x00, 0, 0, 0, 0],
        &[0x22, 0x11, 0, 0, 0, 0, 0, 0],
        &[1, 0, 0, 0, 0, 0, 0, 0],
        &[2, 0x44, 0, 0x33, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &words.concat(),
        &[0xee; 32],
    ];
    let records = steps(vec![first, second]);
    assert_eq!(columns(&[&records]), expected.concat());
    assert_eq!(from_columns(&layout(std::slice::from_ref(&records)), &expected.concat()), Ok(vec![records]));
}

#[test]
fn steps_are_refused_as_they_are_read() {
    let chunks = [transfers(), vec![steps(example_records()), steps(Vec::new()), steps(example_records())]].concat();
    let bytes = encode(&chunks);
    let layout = layout(&chunks);
    assert_eq!(from_columns(&layout, &bytes), Ok(chunks.clone()));
    for length in 0..bytes.len() {
        assert!(from_columns(&layout, &bytes[..length]).is_err(), "{length} bytes");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    let [flags, cell, number, word] = [1, 4, 8, 32];
    let claim = cell + number + word + 32;
    let (feed, header) = (cell + 3 * number + word + 96, cell + 3 * number + 80);
    let once = cell + number;
    let expected = 2 * (6 + flags + cell + 3 * number + word + claim + feed + header + once);
    assert_eq!(bytes.len(), 60 * 24 + expected);
    assert_eq!(from_columns(&layout, &longer), Err(CodecError::Length { found: expected + 1, expected }));
    // The operations stand behind the 60 transfers.
    let with = |offset: usize, value: u8| {
        let mut altered = bytes.clone();
        altered[60 * 24 + offset] = value;
        from_columns(&layout, &altered).map(drop)
    };
    assert_eq!(with(6, 2), Err(CodecError::Operation { position: 6, operation: 2 }));
    assert!(matches!(with(6, 8), Err(CodecError::Length { .. })), "another operation needs other columns");
    let (least, most) = operations().record_lengths();
    let (min, max) = (60 * 24 + 12 * least, 60 * 24 + 12 * most);
    let out_of_range = |found| Err(CodecError::LengthOutOfRange { found, min, max });
    assert_eq!(check_length(&layout, min - 1), out_of_range(min - 1));
    assert_eq!(check_length(&layout, max + 1), out_of_range(max + 1));
    assert_eq!((check_length(&layout, min), check_length(&layout, max)), (Ok(()), Ok(())));
}

#[test]
fn words_and_cells_of_steps_are_checked() {
    let layout = [Layout::Step(1, operations())];
    let record = [example_records()[0]].to_vec();
    let bytes = columns(&[&steps(record)]);
    let with = |offset: usize, replacement: &[u8]| {
        let mut altered = bytes.clone();
        altered[offset..offset + replacement.len()].copy_from_slice(replacement);
        from_columns(&layout, &altered).map(drop)
    };
    assert_eq!(with(2, &(1u32 << 31).to_le_bytes()), Err(CodecError::Index(1 << 30)));
    assert_eq!(with(bytes.len() - 32, &[0xff; 32]), Err(CodecError::Word(NotCanonicalError)));
}

#[test]
fn owners_that_are_alike_are_read_once() {
    use core::sync::atomic::{AtomicUsize, Ordering};
    let rows = [[1; 32], [2; 32], [1; 32], [4; 32], [2; 32], [3; 32]];
    let count = AtomicUsize::new(0);
    let read = |row: &[u8; 32]| {
        count.fetch_add(1, Ordering::Relaxed);
        if row[0] < 3 { Ok(row[0]) } else { Err(row[0]) }
    };
    let counted = |rows| (each_once(rows, read), count.swap(0, Ordering::Relaxed));
    assert_eq!(counted(&rows[..3]), (Ok(alloc::vec![1, 2, 1]), 2));
    // Of several errors the first in the order of the rows is told, whichever thread finds it.
    assert_eq!(counted(&rows), (Err(4), 4));
    assert_eq!(counted(&[]), (Ok(Vec::new()), 0));
}
