//! Announcements in transactions: the exact form, and each way to leave it.

use super::*;
use crate::{
    bridge::tests::{bridge, signer},
    quorum::KeysError,
    toy_chain::{pair, pay, sign_leaf},
};
use bitcoin::{Amount, OutPoint, Sequence, TapSighashType, hashes::Hash};
use proptest::prelude::*;

const IDENTITY: [u8; 15] = *b"fifteen-bytes!!";

fn keys(secrets: &[u8]) -> Result<Keys, KeysError> {
    Keys::new(secrets.iter().map(|secret| signer(*secret)).collect())
}

fn sorted(secrets: &[u8]) -> Keys {
    keys(secrets).expect("up to 20 different keys")
}

/// An output of 2 of 3 keys under an internal key.
fn output_of(internal_key: XOnlyPublicKey, threshold: u8, secrets: [u8; 3]) -> UpgradeOutput {
    let quorum = Quorum::new(threshold, secrets.map(signer).to_vec()).expect("three keys");
    UpgradeOutput::new(internal_key, quorum, ChainId::from_byte_array(IDENTITY), true)
}

fn output() -> UpgradeOutput {
    output_of(signer(99), 2, [4, 5, 6])
}

fn upgrade() -> Upgrade {
    Upgrade { number: 7, change: Change::Program { program: ProgramId::from_byte_array([9; 32]), height: 1_000 } }
}

/// A witness of the upgrade keys with these elements for signatures.
pub(crate) fn witness(output: &UpgradeOutput, signatures: &[&[u8]]) -> Witness {
    let control = [&[0xc1], &output.internal_key().serialize()[..]].concat();
    let mut witness = Witness::new();
    signatures.iter().for_each(|signature| witness.push(signature));
    witness.push(output.leaf().as_bytes());
    witness.push(control);
    witness
}

/// What each output of the upgrade keys is worth.
const VALUE: Amount = Amount::from_sat(1_000);

/// The signatures that the keys of some secrets make of a transaction whose inputs spend outputs of the upgrade keys,
/// an element for each key.
fn signatures(
    output: &UpgradeOutput,
    transaction: &Transaction,
    secrets: &[u8],
    sighash_type: TapSighashType,
) -> Vec<Vec<u8>> {
    let spent = TxOut { value: VALUE, script_pubkey: output.script_pubkey(&Secp256k1::verification_only()) };
    let spent = alloc::vec![spent; transaction.input.len()];
    let leaf = TapLeafHash::from_script(output.leaf(), LeafVersion::TapScript);
    let of_key = |key: &XOnlyPublicKey| {
        let pairs = secrets.iter().map(|secret| pair(*secret));
        let own = pairs.into_iter().find(|pair| pair.x_only_public_key().0 == *key);
        own.map(|pair| sign_leaf(&pair, transaction, &spent, leaf, sighash_type).to_vec()).unwrap_or_default()
    };
    output.keys.keys().iter().rev().map(of_key).collect()
}

/// Lets the keys of some secrets sign a transaction, each of whose inputs spends an output of the upgrade keys.
pub(crate) fn sign(output: &UpgradeOutput, transaction: &mut Transaction, secrets: &[u8]) {
    sign_as(output, transaction, secrets, TapSighashType::Default);
}

fn sign_as(output: &UpgradeOutput, transaction: &mut Transaction, secrets: &[u8], sighash_type: TapSighashType) {
    let told = spent::telling(VALUE).expect("a small value");
    transaction.input.iter_mut().for_each(|input| input.sequence = told);
    let signatures = signatures(output, transaction, secrets, sighash_type);
    let elements: Vec<&[u8]> = signatures.iter().map(Vec::as_slice).collect();
    // Followers look at the signatures of the first input.
    transaction.input.iter_mut().for_each(|input| input.witness = witness(output, &elements));
}

/// A transaction of the upgrade keys that announces something.
fn announcing(upgrade: &Upgrade) -> Transaction {
    let mut transaction = pay(1, alloc::vec![output().announcement(upgrade)]);
    sign(&output(), &mut transaction, &[4, 6]);
    transaction
}

fn all() -> Vec<Upgrade> {
    let sequencers = |count: u8| Change::Sequencers { keys: sorted(&(1..=count).collect::<Vec<_>>()), height: 500 };
    let changes = [upgrade().change, sequencers(0), sequencers(1), sequencers(7), sequencers(8), sequencers(20)];
    let changes = changes.into_iter().chain([Change::Withdrawal]);
    (0..).zip(changes).map(|(number, change)| Upgrade { number, change }).collect()
}

#[test]
fn announcements_are_read_as_they_are_written() {
    for upgrade in all() {
        let transaction = announcing(&upgrade);
        assert_eq!(output().parse(&transaction), Ok(Some(upgrade.clone())));
        assert_eq!(Upgrade::from_bytes(&upgrade.to_bytes()), Ok(upgrade));
    }
}

#[test]
fn the_bytes_are_those_of_the_protocol() {
    let script = output().announcement(&upgrade()).script_pubkey;
    let expected = [&[0x6a, 57], &IDENTITY[..], &[5, 7, 0, 0, 0, 1, 0xe8, 3, 0, 0], &[9; 32]].concat();
    assert_eq!(script.as_bytes(), expected);
    let withdrawal = Upgrade { number: 1, change: Change::Withdrawal };
    let expected = [&[0x6a, 25], &IDENTITY[..], &[5, 1, 0, 0, 0, 3, 0, 0, 0, 0]].concat();
    assert_eq!(output().announcement(&withdrawal).script_pubkey.as_bytes(), expected);
    let lengths = |count: u8| {
        let change = Change::Sequencers { keys: sorted(&(1..=count).collect::<Vec<_>>()), height: 0x0102_0304 };
        output().announcement(&Upgrade { number: 0, change }).script_pubkey.as_bytes()[..4].to_vec()
    };
    assert_eq!(lengths(1)[..2], [0x6a, 58]);
    assert_eq!(lengths(2)[..3], [0x6a, 0x4c, 90]);
    assert_eq!(lengths(7)[..3], [0x6a, 0x4c, 250]);
    assert_eq!(lengths(8), [0x6a, 0x4d, 26, 1]);
    assert_eq!(lengths(20), [0x6a, 0x4d, 154, 2]);
    assert_eq!(UPGRADE_LENGTH_MAX, 650);
}

#[test]
fn bytes_of_other_lengths_kinds_and_keys_are_refused() {
    for upgrade in all() {
        let bytes = upgrade.to_bytes();
        for length in 0..bytes.len() {
            assert_eq!(Upgrade::from_bytes(&bytes[..length]), Err(UpgradeError::Length));
        }
        assert_eq!(Upgrade::from_bytes(&[&bytes[..], &[0]].concat()), Err(UpgradeError::Length));
    }
    let with = |upgrade: Upgrade, position: usize, byte: u8| {
        let mut bytes = upgrade.to_bytes();
        bytes[position] = byte;
        Upgrade::from_bytes(&bytes)
    };
    assert_eq!(with(upgrade(), 4, 0), Err(UpgradeError::Kind(0)));
    assert_eq!(with(upgrade(), 4, 4), Err(UpgradeError::Kind(4)));
    assert_eq!(with(all()[6].clone(), 5, 1), Err(UpgradeError::Height(1)));
    assert_eq!(with(all()[5].clone(), 9, 21), Err(UpgradeError::Sequencers), "more than there can be");
    let keys = sorted(&[1, 2]);
    let of = |keys: [XOnlyPublicKey; 2]| {
        let change = Change::Sequencers { keys: sorted(&[1, 2]), height: 1 };
        let mut bytes = Upgrade { number: 0, change }.to_bytes();
        bytes[10..].copy_from_slice(&keys.map(|key| key.serialize()).concat());
        Upgrade::from_bytes(&bytes)
    };
    assert!(of([keys[0], keys[1]]).is_ok());
    assert_eq!(of([keys[1], keys[0]]), Err(UpgradeError::Sequencers), "they do not ascend");
    assert_eq!(of([keys[0], keys[0]]), Err(UpgradeError::Sequencers), "one occurs twice");
    let mut bytes = all()[2].to_bytes();
    bytes[10..].fill(0xff);
    assert_eq!(Upgrade::from_bytes(&bytes), Err(UpgradeError::Sequencers), "no point of the curve");
}

#[test]
fn only_a_spend_of_the_upgrade_keys_announces() {
    type Alter = fn(&mut Transaction);
    let none: [(&str, Alter); 12] = [
        ("no witness", |t| t.input[0].witness.clear()),
        ("a stranger's key path", |t| t.input[0].witness = Witness::from_slice(&[[1; 64]])),
        ("another threshold", |t| {
            let other = output_of(signer(99), 1, [4, 5, 6]);
            t.input[0].witness = witness(&other, &[&[1; 64][..], &[], &[]]);
        }),
        ("other keys", |t| {
            let other = output_of(signer(99), 2, [4, 5, 7]);
            t.input[0].witness = witness(&other, &[&[1; 64][..], &[], &[2; 64]]);
        }),
        ("another internal key, as of another rollup or of its bridge", |t| {
            let other = output_of(bridge().internal_key(), 2, [4, 5, 6]);
            t.input[0].witness = witness(&other, &[&[1; 64][..], &[], &[2; 64]]);
        }),
        ("an element less", |t| t.input[0].witness = witness(&output(), &[&[1; 64], &[2; 64]])),
        ("an element more", |t| t.input[0].witness = witness(&output(), &[&[1; 64], &[], &[2; 64], &[]])),
        ("an annex", |t| t.input[0].witness.push([0x50])),
        ("a leaf that goes on", |t| {
            let mut elements = t.input[0].witness.to_vec();
            elements[3].push(0x51);
            t.input[0].witness = Witness::from_slice(&elements);
        }),
        ("a leaf version that has no rules", |t| {
            let mut elements = t.input[0].witness.to_vec();
            elements[4][0] = 0xc2;
            t.input[0].witness = Witness::from_slice(&elements);
        }),
        ("a second leaf in the tree", |t| {
            let mut elements = t.input[0].witness.to_vec();
            elements[4].extend([0; 32]);
            t.input[0].witness = Witness::from_slice(&elements);
        }),
        ("no mark", |t| t.output[0].script_pubkey = ScriptBuf::new_op_return([1; 57])),
    ];
    for (case, alter) in none {
        let mut transaction = announcing(&upgrade());
        alter(&mut transaction);
        assert_eq!(output().parse(&transaction), Ok(None), "{case}");
    }
}

#[test]
fn the_mark_is_exact() {
    let scripts = |alter: fn(&mut Vec<u8>)| {
        let mut transaction = announcing(&upgrade());
        let mut script = transaction.output[0].script_pubkey.to_bytes();
        alter(&mut script);
        transaction.output[0].script_pubkey = script.into();
        sign(&output(), &mut transaction, &[4, 6]);
        output().parse(&transaction)
    };
    assert_eq!(scripts(|_| ()), Ok(Some(upgrade())));
    assert_eq!(scripts(|script| script[2] ^= 1), Ok(None), "another rollup's");
    assert_eq!(scripts(|script| script[17] = 4), Ok(None), "another kind of output");
    assert_eq!(scripts(|script| script.push(0)), Ok(None), "more than one push");
    assert_eq!(scripts(|script| script.truncate(58)), Ok(None), "a push that runs over the end");
    assert_eq!(scripts(|script| script.insert(1, 0x4c)), Ok(None), "a push that is not minimal");
    assert_eq!(scripts(|script| drop(script.splice(1..2, [0x4d, 57, 0]))), Ok(None), "a push that is not minimal");
    assert_eq!(scripts(|script| script[0] = 0x51), Ok(None), "no OP_RETURN");
    let malformed = scripts(|script| {
        script.push(0);
        script[1] += 1;
    });
    assert_eq!(malformed, Err(UpgradeError::Length));
}

/// An output whose witness version has no rules yet is spent by any witness, so a copied leaf says nothing.
#[test]
fn only_the_signatures_of_so_many_keys_of_all_of_the_transaction_announce() {
    let signed_by = |secrets: &[u8]| {
        let mut transaction = announcing(&upgrade());
        sign(&output(), &mut transaction, secrets);
        output().parse(&transaction)
    };
    for pair in [[4, 5], [4, 6], [5, 6]] {
        assert_eq!(signed_by(&pair), Ok(Some(upgrade())));
    }
    for other in [&[][..], &[4], &[4, 7], &[4, 5, 6]] {
        assert_eq!(signed_by(other), Ok(None), "{other:?}");
    }
    type Alter = fn(&mut Transaction);
    let none: [(&str, Alter); 9] = [
        ("elements as long as signatures", |t| {
            t.input[0].witness = witness(&output(), &[&[1; 64][..], &[], &[2; 64]]);
        }),
        ("another outpoint", |t| t.input[0].previous_output.vout += 1),
        ("other outputs", |t| t.output.push(TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::new() })),
        ("another value", |t| t.input[0].sequence.0 += 1),
        ("no value", |t| t.input[0].sequence = Sequence::MAX),
        ("a signature in another key's place", |t| {
            let mut elements = t.input[0].witness.to_vec();
            elements[..3].rotate_left(1);
            t.input[0].witness = Witness::from_slice(&elements);
        }),
        ("one that holds and one that does not", |t| {
            let mut elements = t.input[0].witness.to_vec();
            elements.iter_mut().take(3).filter(|element| !element.is_empty()).take(1).for_each(|e| e[3] ^= 1);
            t.input[0].witness = Witness::from_slice(&elements);
        }),
        ("an input that spends something else", |t| t.input.push(TxIn::default())),
        ("no input", |t| t.input.clear()),
    ];
    for (case, alter) in none {
        let mut transaction = announcing(&upgrade());
        alter(&mut transaction);
        assert_eq!(output().parse(&transaction), Ok(None), "{case}");
    }
    let mut stranger_first = announcing(&upgrade());
    stranger_first.input.insert(0, TxIn::default());
    assert_eq!(output().parse(&stranger_first), Ok(None));
}

#[test]
fn signatures_cover_all_outputs_and_one_output_announces() {
    let signed_as = |sighash_type| {
        let mut transaction = announcing(&upgrade());
        sign_as(&output(), &mut transaction, &[4, 6], sighash_type);
        output().parse(&transaction)
    };
    assert_eq!(signed_as(TapSighashType::All), Ok(Some(upgrade())));
    for sighash_type in [
        TapSighashType::None,
        TapSighashType::Single,
        TapSighashType::AllPlusAnyoneCanPay,
        TapSighashType::NonePlusAnyoneCanPay,
        TapSighashType::SinglePlusAnyoneCanPay,
    ] {
        assert_eq!(signed_as(sighash_type), Ok(None), "{sighash_type}");
    }
    let mut twice = announcing(&upgrade());
    twice.output.push(twice.output[0].clone());
    sign(&output(), &mut twice, &[4, 6]);
    assert_eq!(output().parse(&twice), Err(UpgradeError::Outputs(2)));
    // Several outputs of the upgrade keys can be spent, and coins be returned.
    let mut both = announcing(&upgrade());
    let previous_output = OutPoint { txid: bitcoin::Txid::from_byte_array([7; 32]), vout: 0 };
    both.input.insert(0, TxIn { previous_output, ..TxIn::default() });
    both.output.insert(0, TxOut { value: Amount::from_sat(1_000), script_pubkey: ScriptBuf::new() });
    sign(&output(), &mut both, &[5, 6]);
    assert_eq!(output().parse(&both), Ok(Some(upgrade())));
}

#[test]
fn sequencers_are_announced_where_they_have_time_of_their_own() {
    let quorum = Quorum::new(2, [4, 5, 6].map(signer).to_vec()).expect("three keys");
    let without = UpgradeOutput::new(signer(99), quorum, ChainId::from_byte_array(IDENTITY), false);
    let announced = |change: &Change| {
        let mut transaction = pay(1, alloc::vec![without.announcement(&Upgrade { number: 7, change: change.clone() })]);
        sign(&without, &mut transaction, &[4, 6]);
        without.parse(&transaction)
    };
    let sequencers = |secrets| Change::Sequencers { keys: sorted(secrets), height: 500 };
    assert_eq!(announced(&sequencers(&[1])), Err(UpgradeError::NoQuietBlocks));
    for change in [sequencers(&[]), upgrade().change, Change::Withdrawal] {
        assert_eq!(announced(&change), Ok(Some(Upgrade { number: 7, change })));
    }
}

#[test]
fn a_renunciation_is_called_one() {
    let withdrawal = |number| Upgrade { number, change: Change::Withdrawal };
    assert!(withdrawal(RENOUNCING_NUMBER).renounces() && !withdrawal(RENOUNCING_NUMBER - 1).renounces());
    assert!(!Upgrade { number: RENOUNCING_NUMBER, ..upgrade() }.renounces());
    let told = withdrawal(RENOUNCING_NUMBER).to_string();
    assert!(told.contains("the upgrade keys give up their right for good"), "{told}");
    assert!(!withdrawal(3).to_string().contains("right"));
}

#[test]
fn the_output_is_a_lone_leaf_under_the_internal_key() {
    let secp = Secp256k1::verification_only();
    let control = bitcoin::taproot::ControlBlock {
        leaf_version: LeafVersion::TapScript,
        output_key_parity: bitcoin::secp256k1::Parity::Odd,
        internal_key: output().internal_key(),
        merkle_branch: Default::default(),
    };
    let script = output().script_pubkey(&secp);
    let key = XOnlyPublicKey::from_slice(&script.as_bytes()[2..]).expect("an output's key");
    let holds = |parity| {
        bitcoin::taproot::ControlBlock { output_key_parity: parity, ..control.clone() }.verify_taproot_commitment(
            &secp,
            key,
            output().leaf(),
        )
    };
    assert!(holds(bitcoin::secp256k1::Parity::Odd) || holds(bitcoin::secp256k1::Parity::Even));
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_the_one_encoding(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        if let Ok(upgrade) = Upgrade::from_bytes(&bytes) {
            prop_assert_eq!(upgrade.to_bytes(), bytes);
        }
    }
}

#[test]
fn the_internal_key_is_the_rollups_and_another_than_its_bridges() {
    use crate::follow::FoundingDigest;
    let key = |digest: u8| bridge::internal_key(INTERNAL_KEY_TAG, FoundingDigest::from_byte_array([digest; 32]));
    assert_ne!(key(7), key(8));
    assert_ne!(key(7), bridge().internal_key());
}
