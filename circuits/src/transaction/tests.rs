use super::*;
use crate::testing::any_destination;
use proptest::prelude::*;
use std::collections::HashSet;

fn index(i: u32) -> CellIndex {
    CellIndex::new(i).expect("below 2^30")
}

fn key() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

fn any_index() -> impl Strategy<Value = CellIndex> {
    (0u32..1 << 30).prop_map(index)
}

fn any_unsigned() -> impl Strategy<Value = UnsignedTransaction> {
    let fields = (any::<[u8; 15]>(), any::<u32>(), any_index(), any::<u32>(), any_index(), any::<u64>(), any::<u64>());
    (fields, 0..3, any_destination()).prop_map(
        |((chain_id, token, from, nonce, to, amount, fee), kind, destination)| {
            let (chain_id, token, owner) = (ChainId::from_byte_array(chain_id), Token(token), *key().public());
            match kind {
                0 => UnsignedTransaction::Transfer(Transfer { chain_id, token, from, nonce, to, amount, fee }),
                1 => UnsignedTransaction::Open(Open { chain_id, token, from, nonce, to, amount, fee, owner }),
                _ => UnsignedTransaction::Withdraw(Withdraw { chain_id, token, from, nonce, amount, fee, destination }),
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn bytes_and_json_round_trip(unsigned in any_unsigned()) {
        let transaction = unsigned.sign(&key());
        let bytes = transaction.to_bytes();
        prop_assert!(bytes.len() <= TRANSACTION_LENGTH_MAX);
        prop_assert_eq!(Transaction::from_bytes(&bytes), Ok(transaction.clone()));
        let json = serde_json::to_string(&transaction).expect("every transaction has a JSON form");
        prop_assert_eq!(&serde_json::from_str::<Transaction>(&json).expect("what was written"), &transaction);
        let packed = postcard::to_stdvec(&transaction).expect("every transaction has a binary form");
        prop_assert_eq!(postcard::from_bytes::<Transaction>(&packed).expect("what was written"), transaction);
    }

    #[test]
    fn truncated_and_extended_bytes_are_refused(unsigned in any_unsigned(), cut in any::<prop::sample::Index>()) {
        let mut bytes = unsigned.sign(&key()).to_bytes();
        let shorter = &bytes[..cut.index(bytes.len())];
        prop_assert_eq!(Transaction::from_bytes(shorter), Err(TransactionFormatError::Truncated));
        bytes.push(0);
        prop_assert_eq!(Transaction::from_bytes(&bytes), Err(TransactionFormatError::TrailingBytes(1)));
    }

    #[test]
    fn altered_bytes_are_refused_or_break_the_signature(
        unsigned in any_unsigned(),
        bit in any::<prop::sample::Index>(),
    ) {
        let mut bytes = unsigned.sign(&key()).to_bytes();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(altered) = Transaction::from_bytes(&bytes) {
            prop_assert_eq!(altered.to_bytes(), bytes);
            if let Some((message, signature)) = altered.signed() {
                prop_assert!(signature.verify(key().public(), &message).is_err());
            }
        }
    }

    #[test]
    fn decoding_survives_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(transaction) = Transaction::from_bytes(&bytes) {
            prop_assert_eq!(transaction.to_bytes(), bytes);
        }
    }
}

/// A transfer whose fields all differ.
fn transfer() -> Transfer {
    let chain_id = ChainId::from_byte_array([1; 15]);
    Transfer { chain_id, token: Token(2), from: index(3), nonce: 4, to: index(5), amount: 6, fee: 7 }
}

#[test]
fn every_field_changes_the_message() {
    let base = transfer();
    let Transfer { chain_id, token, from, nonce, to, amount, fee } = base;
    let open = Open { chain_id, token, from, nonce, to, amount, fee, owner: *key().public() };
    let other_owner = *SecretKey::from_seed(&[2; 32]).public();
    let destination = Destination::P2wsh([9; 32]);
    let withdraw = Withdraw { chain_id, token, from, nonce, amount, fee, destination };
    let messages = [
        base.message(),
        Transfer { chain_id: ChainId::from_byte_array([9; 15]), ..base }.message(),
        Transfer { token: Token(9), ..base }.message(),
        Transfer { from: index(9), ..base }.message(),
        Transfer { nonce: 9, ..base }.message(),
        Transfer { to: index(9), ..base }.message(),
        Transfer { amount: 9, ..base }.message(),
        Transfer { fee: 9, ..base }.message(),
        open.message(),
        Open { owner: other_owner, ..open }.message(),
        withdraw.message(),
        Withdraw { destination: Destination::P2tr([9; 32]), ..withdraw }.message(),
        Withdraw { destination: Destination::P2wsh([8; 32]), ..withdraw }.message(),
        Withdraw { destination: Destination::P2wpkh([9; 20]), ..withdraw }.message(),
        Withdraw { destination: Destination::P2pkh([9; 20]), ..withdraw }.message(),
        Withdraw { destination: Destination::P2sh([9; 20]), ..withdraw }.message(),
    ];
    let distinct: HashSet<_> = messages.iter().collect();
    assert_eq!(distinct.len(), messages.len());
}

#[test]
fn message_packs_fields_from_the_low_end() {
    let two = |exponent: u64| ark_ff::Field::pow(&Fr::from(2u64), [exponent]);
    let chain_id = (0..15).map(|byte| two(8 * byte)).sum::<Fr>();
    let m0 = chain_id
        + Fr::from(2u64) * two(120)
        + Fr::from(2u64) * two(128)
        + Fr::from(3u64) * two(160)
        + Fr::from(4u64) * two(192);
    let m1 = Fr::from(5u64) + Fr::from(6u64) * two(32) + Fr::from(7u64) * two(96);
    assert_eq!(transfer().message(), [m0, m1, Fr::ZERO, Fr::ZERO]);
}

#[test]
fn foreign_formats_are_refused_by_name() {
    let bytes = UnsignedTransaction::Transfer(transfer()).sign(&key()).to_bytes();
    let altered = |position: usize, value: u8| {
        let mut bytes = bytes.clone();
        bytes[position] = value;
        Transaction::from_bytes(&bytes)
    };
    assert_eq!(altered(0, 2), Err(TransactionFormatError::Version(2)));
    assert_eq!(altered(1, 1), Err(TransactionFormatError::Kind(1)), "deposits are not signed");
    assert_eq!(altered(1, 77), Err(TransactionFormatError::Kind(77)));
    assert_eq!(altered(24, 0xff), Err(TransactionFormatError::Index(0xff00_0003)));
    let destination = Destination::P2sh([9; 20]);
    let body = Withdraw {
        chain_id: ChainId::from_byte_array([1; 15]),
        token: Token(2),
        from: index(3),
        nonce: 4,
        amount: 6,
        fee: 7,
        destination,
    };
    let bytes = UnsignedTransaction::Withdraw(body).sign(&key()).to_bytes();
    let number = bytes.len() - Signature::SIZE_BYTES - 20 - 1;
    let of_number = |value: u8| {
        let mut bytes = bytes.clone();
        bytes[number] = value;
        Transaction::from_bytes(&bytes)
    };
    for number in Destination::TYPES..=u8::MAX {
        assert_eq!(of_number(number), Err(TransactionFormatError::Destination(number)));
    }
    for number in [0, 3] {
        assert!(
            of_number(number).is_ok_and(|other| other.signed().is_some_and(|signed| signed.0 != body.message())),
            "{number} has 20 bytes, too"
        );
    }
    for number in [1, 2] {
        assert!(of_number(number).is_err(), "a program of 32 bytes takes 12 of the signature's");
    }
    assert!(serde_json::from_str::<Transaction>(r#"{"transfer":{}}"#).is_err());
}
