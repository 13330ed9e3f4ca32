//! Both versions, every form of a file, and each rule of BIP-370 broken alone.

use super::*;
use bitcoin::{bip32, secp256k1::Secp256k1};
use proptest::prelude::*;

/// The two inputs and the output of the BIP's own examples of lock times, up to the fields that these differ in.
const GLOBAL: &str = "70736274ff0102040200000001030400000000010401020105010101fb040200000000";
const FIRST: &str = "010e200f758dbfbd4da7c16c8a3309c3c81e1100f561ea646db5b01752c485e1bdde9f010f0401000000";
const SECOND: &str = "010e203a1b3b3c837d6489ea7a31d8e6c7dd503c001bef3e06958e7574808d68ca78a5010f0400000000";
const OUTPUT: &str = "0103084f9335770000000001041600140b1352cacd03cf6aa1b7f3c8d6388671b34a5e1100";
const HEIGHT_10_000: &str = "01120410270000";
const HEIGHT_9_000: &str = "01120428230000";
const TIME_459: &str = "0111048b8dc462";
const TIME_460: &str = "0111048c8dc462";

/// An example of the BIP with these fields in its inputs.
fn example(first: &[&str], second: &[&str]) -> Vec<u8> {
    let text = [GLOBAL, FIRST, &first.concat(), "00", SECOND, &second.concat(), "00", OUTPUT].concat();
    hex::decode(text).expect("hexadecimal")
}

/// A PSBT of version 0 with something in every map.
fn sample(inputs: usize, outputs: usize, lock_time: u32, value: u64) -> Psbt {
    let input = |index: usize| TxIn {
        previous_output: OutPoint { txid: Txid::from_byte_array([index as u8; 32]), vout: index as u32 },
        sequence: Sequence(0xffff_fff0 + (index as u32 % 16)),
        ..TxIn::default()
    };
    let script = ScriptBuf::new_op_return([7; 9]);
    let output = TxOut { value: Amount::from_sat(value), script_pubkey: script };
    let transaction = Transaction {
        version: Version::TWO,
        lock_time: LockTime::from_consensus(lock_time),
        input: (0..inputs).map(input).collect(),
        output: vec![output.clone(); outputs],
    };
    let mut psbt = Psbt::from_unsigned_tx(transaction).expect("there are no scripts");
    let master = bip32::Xpriv::new_master(bitcoin::NetworkKind::Test, &[7; 32]).expect("a seed");
    let public = bip32::Xpub::from_priv(&Secp256k1::new(), &master);
    psbt.xpub.insert(public, (public.fingerprint(), Default::default()));
    for fields in &mut psbt.inputs {
        fields.witness_utxo = Some(output.clone());
        fields.tap_internal_key = Some(public.to_x_only_pub());
    }
    for fields in &mut psbt.outputs {
        fields.tap_internal_key = Some(public.to_x_only_pub());
    }
    psbt
}

#[test]
fn lock_times_are_those_of_the_bip() {
    let expected: [(&[&str], &[&str], u32); 9] = [
        (&[], &[], 0),
        (&[HEIGHT_10_000], &[], 10_000),
        (&[HEIGHT_10_000], &[HEIGHT_9_000], 10_000),
        (&[HEIGHT_10_000], &[TIME_460, HEIGHT_9_000], 10_000),
        (&[TIME_459, HEIGHT_10_000], &[TIME_460, HEIGHT_9_000], 10_000),
        (&[TIME_459], &[TIME_460, HEIGHT_9_000], 1_657_048_460),
        (&[TIME_459, HEIGHT_10_000], &[TIME_460], 1_657_048_460),
        (&[], &[TIME_460], 1_657_048_460),
        (&[], &[HEIGHT_9_000, TIME_459], 9_000),
    ];
    for (first, second, lock_time) in expected {
        let psbt = parse(&example(first, second)).expect("the BIP's own");
        assert_eq!(psbt.unsigned_tx.lock_time.to_consensus_u32(), lock_time, "{first:?} {second:?}");
        assert_eq!(psbt.unsigned_tx.input.len(), 2);
        assert_eq!(psbt.unsigned_tx.input[0].previous_output.vout, 1);
        assert_eq!(psbt.unsigned_tx.input[1].sequence, Sequence::MAX);
        assert_eq!(psbt.unsigned_tx.output[0].value, Amount::from_sat(1_999_999_823));
        assert!(psbt.unsigned_tx.output[0].script_pubkey.is_p2wpkh());
    }
    let impossible = parse(&example(&[HEIGHT_10_000], &[TIME_460]));
    assert!(matches!(impossible, Err(PsbtFileError::LockTime)), "{impossible:?}");
    for field in ["01120400000000", "0112040065cd1d", "011104ff64cd1d", "01110300000000"] {
        let refused = parse(&example(&[field], &[]));
        assert!(refused.is_err(), "{field}: {refused:?}");
    }
}

#[test]
fn every_form_of_a_file_is_read() {
    let psbt = sample(2, 3, 0, 1_000);
    for binary in [psbt.serialize(), to_version_2(&psbt)] {
        let base64 = BASE64_STANDARD.encode(&binary);
        let broken: String =
            base64.as_bytes().chunks(76).map(|line| format!("{}\r\n", String::from_utf8_lossy(line))).collect();
        let digits = hex::encode(&binary);
        let texts = [base64.clone(), format!(" {base64}\n"), broken, digits.to_uppercase(), format!("{digits}\n")];
        for bytes in texts.into_iter().map(String::into_bytes).chain([binary]) {
            assert_eq!(parse(&bytes).expect("a form that tools write"), psbt);
        }
    }
    let nothing: [&[u8]; 6] = [b"", b"psbt", b"psbt\xfe", b"not a psbt", b"70736274", b"AAAA"];
    for bytes in nothing {
        assert!(matches!(parse(bytes), Err(PsbtFileError::NotAPsbt)), "{bytes:?}");
    }
}

#[test]
fn whatever_is_cut_added_or_repeated_is_refused() {
    let psbt = sample(2, 2, 0, 1_000);
    for bytes in [psbt.serialize(), to_version_2(&psbt)] {
        for length in MAGIC.len()..bytes.len() {
            assert!(parse(&bytes[..length]).is_err(), "cut at {length}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(matches!(parse(&longer), Err(PsbtFileError::Trailing(1))));
    }
    let repeated = example(&[HEIGHT_9_000, HEIGHT_9_000], &[]);
    assert!(matches!(parse(&repeated), Err(PsbtFileError::Repeated)));
    let third = [MAGIC, &[1, 0xfb, 4, 1, 0, 0, 0, 0]].concat();
    assert!(matches!(parse(&third), Err(PsbtFileError::Version(1))));
    // A count that no file could hold ends where the bytes do.
    let mut map = Map(BTreeMap::new());
    map.put(VERSION, 2u32.to_le_bytes());
    map.put(TX_VERSION, 2u32.to_le_bytes());
    map.put(INPUT_COUNT, [0xff; 9]);
    map.put(OUTPUT_COUNT, [1]);
    let mut many = MAGIC.to_vec();
    map.write(&mut many);
    assert!(matches!(parse(&many), Err(PsbtFileError::Truncated)));
}

/// The maps of a PSBT.
fn maps(bytes: &[u8]) -> Vec<Map> {
    let mut rest = &bytes[MAGIC.len()..];
    let mut maps = Vec::new();
    while !rest.is_empty() {
        maps.push(Map::read(&mut rest).expect("whole maps"));
    }
    maps
}

fn join(maps: &[Map]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    maps.iter().for_each(|map| map.write(&mut bytes));
    bytes
}

#[test]
fn fields_stand_in_their_version_alone_and_once() {
    let psbt = sample(1, 1, 0, 1_000);
    let field_of = |bytes: &[u8]| match parse(bytes) {
        Err(PsbtFileError::Field(name)) => name,
        other => panic!("{other:?}"),
    };
    let own = [&GLOBAL_OF_VERSION_2[..], &INPUT_OF_VERSION_2, &OUTPUT_OF_VERSION_2];
    for (position, fields) in own.into_iter().enumerate() {
        for field in fields {
            let mut version_0 = maps(&psbt.serialize());
            version_0[position].put(*field, [1, 0, 0, 0]);
            assert_eq!(field_of(&join(&version_0)), field.1);
        }
    }
    let needed = [(0, TX_VERSION), (0, INPUT_COUNT), (0, OUTPUT_COUNT), (1, PREVIOUS_TXID), (1, OUTPUT_INDEX)];
    for (position, field) in needed.into_iter().chain([(2, AMOUNT), (2, SCRIPT)]) {
        let written = to_version_2(&psbt);
        let mut missing = maps(&written);
        missing[position].remove(field);
        assert_eq!(field_of(&join(&missing)), field.1);
        let mut with_key_data = maps(&written);
        with_key_data[position].0.insert(vec![field.0, 7], vec![0; 4]);
        assert_eq!(field_of(&join(&with_key_data)), field.1);
        if field != SCRIPT {
            let mut short = maps(&written);
            short[position].put(field, [7, 7]);
            assert_eq!(field_of(&join(&short)), field.1);
        }
    }
    let mut both = maps(&to_version_2(&psbt));
    both[0].put(UNSIGNED_TX, encode::serialize(&psbt.unsigned_tx));
    assert_eq!(field_of(&join(&both)), UNSIGNED_TX.1);
    let mut negative = maps(&to_version_2(&psbt));
    negative[2].put(AMOUNT, (-1i64).to_le_bytes());
    assert_eq!(field_of(&join(&negative)), AMOUNT.1);
}

proptest! {
    #[test]
    fn version_2_says_the_same(
        inputs in 0usize..300,
        outputs in 0usize..5,
        lock_time: u32,
        value in 0..=i64::MAX as u64,
    ) {
        let psbt = sample(inputs, outputs, lock_time, value);
        prop_assert_eq!(parse(&to_version_2(&psbt)).expect("as written"), psbt);
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), position in 0usize..150, to: u8) {
        let _ = parse(&[MAGIC, &bytes].concat());
        let mut written = to_version_2(&sample(1, 1, 0, 1_000));
        let position = position % written.len();
        written[position] = to;
        let _ = parse(&written);
    }
}
