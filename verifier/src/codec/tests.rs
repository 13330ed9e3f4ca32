use super::*;
use crate::baby_jubjub::{Point, Scalar};
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

fn layout(chunks: &[Records]) -> Vec<(Kind, u16)> {
    chunks.iter().map(|records| (records.kind(), records.len() as u16)).collect()
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
        prop_assert_eq!(bytes.len(), columns_length(&layout(&chunks)));
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
        counts in vec((0usize..4, 0u16..4), 0..4),
        bytes in vec(any::<u8>(), 0..600),
    ) {
        let layout: Vec<_> = counts.into_iter().map(|(kind, count)| (Kind::ALL[kind], count)).collect();
        let mut bytes = bytes;
        bytes.resize(columns_length(&layout), 0);
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
    let layout = [(Kind::Transfer, 1)];
    let mut columns = [0; 24];
    columns[4..8].copy_from_slice(&(1u32 << 30).to_le_bytes());
    assert_eq!(from_columns(&layout, &columns), Err(CodecError::Index(1 << 30)));
    let mut columns = [0; 24];
    columns[..4].copy_from_slice(&1u32.to_le_bytes());
    assert_eq!(from_columns(&layout, &columns), Err(CodecError::Index(u32::MAX)));
}

#[test]
fn destinations_have_one_encoding() {
    let layout = [(Kind::Withdraw, 1)];
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
    assert_eq!(from_columns(&[(Kind::Deposit, 1)], &columns), Err(CodecError::Owner(KeyError::NotCanonical)));
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
