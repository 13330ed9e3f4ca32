//! Announcements from the plan to the chain, on scripts that are really executed.

use super::*;
use crate::{bridge::signer_key::SignerKeys, follow, testing::toy_rollup::ToyRollup};
use bitcoin::{OutPoint, Sequence, TapSighashType, WitnessProgram, WitnessVersion};
use taproof_verifier::{
    follow::{Event, Follower},
    program::ProgramId,
    upgrade::Change,
};

const NOTICE_BLOCKS: u32 = 200;

/// A rollup whose three signers are the upgrade keys, too, two of whom sign, and coins at their address.
struct Scene {
    toy: ToyRollup,
    address: UpgradeAddress,
    coins: Vec<Funding>,
}

impl Scene {
    fn new(values_sat: &[u64]) -> Self {
        let mut toy = ToyRollup::founded_by(&[2, 3], |founding, wallet| {
            let keys = (0..3).map(|index| wallet.signer_key(index).unwrap().public()).collect();
            (founding.upgrade_keys, founding.notice_blocks) = (Some(Quorum::new(2, keys).unwrap()), NOTICE_BLOCKS);
        });
        let address = UpgradeAddress::of(&toy.params).unwrap();
        let output = |value| TxOut { value: Amount::from_sat(value), script_pubkey: address.script_pubkey().clone() };
        toy.mine_outputs(values_sat.iter().map(|value| output(*value)).collect());
        let found = toy.node.chain().spendable_coins(address.script_pubkey());
        let coins = found.into_iter().map(|(outpoint, coin)| Funding { outpoint, output: coin.output }).collect();
        Self { toy, address, coins }
    }

    fn upgrade(&self, number: u32) -> Upgrade {
        let height = self.toy.node.chain().height() + 1 + NOTICE_BLOCKS;
        Upgrade { number, change: Change::Program { program: ProgramId::from_byte_array([7; 32]), height } }
    }

    fn plan(&self, upgrade: &Upgrade) -> Result<PlannedUpgrade, UpgradePlanError> {
        let fee_rate = "2".parse().unwrap();
        plan(&self.toy.params, &UpgradeRequest { upgrade, coins: &self.coins, fee_rate, origins: BTreeMap::new() })
    }

    fn key(&self, index: u32) -> PosterKey {
        self.toy.wallet.signer_key(index).unwrap()
    }

    fn check(&self, psbt: &Psbt) -> Result<CheckedUpgrade, UpgradeCheckError> {
        CheckedUpgrade::check(psbt.clone(), &self.toy.params, 10_000)
    }

    fn sign(&self, psbt: &Psbt, index: u32) -> Psbt {
        self.check(psbt).unwrap().sign(&self.key(index)).unwrap()
    }

    fn followed(&self) -> (Follower, Vec<Event>) {
        let toy = &self.toy;
        let mut follower = follow::start(&toy.node, toy.params.clone(), toy.program.clone()).unwrap();
        let mut events = Vec::new();
        follow::catch_up(&toy.node, &mut follower, |_, event| {
            events.extend(event);
            Ok::<(), follow::FollowError>(())
        })
        .unwrap();
        (follower, events)
    }
}

#[test]
fn an_announcement_is_signed_by_two_of_three_mined_and_followed() {
    let mut scene = Scene::new(&[5_000]);
    let upgrade = scene.upgrade(0);
    let planned = scene.plan(&upgrade).unwrap();
    assert_eq!(planned.fee_sat + planned.change_sat, 5_000);
    let signed = [2, 0].map(|index| scene.sign(&planned.psbt, index));
    let one = combine(vec![signed[0].clone()], &scene.address);
    let few = matches!(one, Err(UpgradeCombineError::Combine(CombineError::TooFew { found: 1, needed: 2, .. })));
    assert!(few, "{one:?}");
    let transaction = combine(signed.to_vec(), &scene.address).unwrap();
    let vsize = transaction.vsize() as u64;
    assert!((2 * vsize..=2 * vsize + 4).contains(&planned.fee_sat), "{} sat for {vsize} vB", planned.fee_sat);
    scene.toy.mine(std::slice::from_ref(&transaction));
    let (follower, events) = scene.followed();
    let expected = Event::Announced { block: follower.scanned(), txid: transaction.compute_txid(), upgrade };
    assert_eq!(events, [expected]);
    assert_eq!(follower.schedule().pending(follower.scanned().height).len(), 1);
    // What is returned pays the next one.
    scene.coins = vec![Funding {
        outpoint: OutPoint { txid: transaction.compute_txid(), vout: 1 },
        output: transaction.output[1].clone(),
    }];
    let planned = scene.plan(&Upgrade { number: 1, change: Change::Withdrawal }).unwrap();
    let signed = [1, 2].map(|index| scene.sign(&planned.psbt, index));
    scene.toy.mine(&[combine(signed.to_vec(), &scene.address).unwrap()]);
    let (follower, _) = scene.followed();
    assert_eq!((follower.schedule().next_number(), follower.schedule().entries().len()), (2, 0));
}

/// An output whose witness version has no rules yet is spent by any witness, also by a copy of the upgrade keys'.
#[test]
fn a_copied_witness_on_an_output_without_rules_announces_nothing() {
    let mut scene = Scene::new(&[5_000]);
    let Upgrade { number, change: Change::Program { program, height } } = scene.upgrade(0) else { unreachable!() };
    // A few blocks are mined before the genuine one.
    let upgrade = Upgrade { number, change: Change::Program { program, height: height + 10 } };
    let planned = scene.plan(&upgrade).unwrap();
    let signed = [2, 0].map(|index| scene.sign(&planned.psbt, index));
    let genuine = combine(signed.to_vec(), &scene.address).unwrap();
    let program = WitnessProgram::new(WitnessVersion::V2, &[7; 32]).unwrap();
    let output = TxOut { value: Amount::from_sat(5_000), script_pubkey: ScriptBuf::new_witness_program(&program) };
    scene.toy.mine_outputs(vec![output.clone(), output.clone()]);
    let coins = scene.toy.node.chain().spendable_coins(&output.script_pubkey);
    let mut elements = genuine.input[0].witness.to_vec();
    for (outpoint, _) in coins.into_iter().take(2) {
        let mut forged = genuine.clone();
        forged.input[0].previous_output = outpoint;
        forged.input[0].witness = Witness::from_slice(&elements);
        scene.toy.mine(&[forged]);
        // And once more without any signature.
        elements[..3].iter_mut().for_each(Vec::clear);
    }
    let (follower, events) = scene.followed();
    assert_eq!((events, follower.schedule().next_number()), (Vec::new(), 0));
    scene.toy.mine(&[genuine]);
    assert_eq!(scene.followed().0.schedule().next_number(), 1);
}

/// The parameters without upgrade keys.
fn immutable(params: &Params) -> Params {
    params.with(|founding| (founding.upgrade_keys, founding.notice_blocks) = (None, 0)).unwrap()
}

#[test]
fn the_address_is_the_descriptors_and_no_bridges() {
    let scene = Scene::new(&[]);
    let descriptor = scene.address.descriptor(|key| SignerKeys::default().expression(key)).unwrap();
    let definite = descriptor.at_derivation_index(0).unwrap();
    assert_eq!(&definite.script_pubkey(), scene.address.script_pubkey());
    assert_ne!(scene.address.script_pubkey(), &scene.toy.params.bridge().script_pubkey());
    assert!(UpgradeAddress::of(&immutable(&scene.toy.params)).is_none());
}

#[test]
fn few_coins_are_spent_the_largest_first_and_too_little_is_told() {
    let scene = Scene::new(&[400, 350, 340]);
    let planned = scene.plan(&scene.upgrade(0)).unwrap_err();
    let UpgradePlanError::Funds { needed_sat, available_sat, too_large: 0 } = planned else { panic!("{planned}") };
    assert!(available_sat == 1_090 && needed_sat > 1_090 && !planned.to_string().contains("too large"), "{planned}");
    let scene = Scene::new(&[400, 3_000, 500]);
    let planned = scene.plan(&scene.upgrade(0)).unwrap();
    assert_eq!(planned.psbt.inputs.len(), 1);
    assert_eq!(planned.psbt.inputs[0].witness_utxo.as_ref().unwrap().value.to_sat(), 3_000);
    // What is too large to be told is left to other spends.
    let large = TOLD_VALUE_MAX.to_sat() + 1;
    let planned = Scene::new(&[large, 3_000]).plan(&scene.upgrade(0)).unwrap();
    assert_eq!(planned.psbt.inputs[0].witness_utxo.as_ref().unwrap().value.to_sat(), 3_000);
    let nothing = Scene::new(&[]).plan(&scene.upgrade(0)).unwrap_err();
    assert!(matches!(nothing, UpgradePlanError::Funds { available_sat: 0, too_large: 0, .. }), "{nothing}");
    let nothing = Scene::new(&[large]).plan(&scene.upgrade(0)).unwrap_err();
    assert!(matches!(nothing, UpgradePlanError::Funds { available_sat: 0, too_large: 1, .. }), "{nothing}");
    assert!(nothing.to_string().ends_with("which is too large to be announced with"), "{nothing}");
}

#[test]
fn a_signer_refuses_whatever_does_more_than_announce() {
    let scene = Scene::new(&[5_000]);
    let planned = scene.plan(&scene.upgrade(0)).unwrap().psbt;
    type Alter = fn(&mut Psbt);
    let refused = |alter: Alter| {
        let mut psbt = planned.clone();
        alter(&mut psbt);
        scene.check(&psbt).map(drop).unwrap_err()
    };
    assert_eq!(scene.check(&planned).unwrap().upgrade(), &scene.upgrade(0));
    assert!(matches!(refused(|p| p.inputs[0].witness_utxo = None), UpgradeCheckError::Input(0)));
    let unheard = refused(|p| p.unsigned_tx.input[0].sequence = Sequence::ENABLE_RBF_NO_LOCKTIME);
    assert!(matches!(unheard, UpgradeCheckError::Value(0)));
    let burnt = refused(|p| p.unsigned_tx.output[0].value = Amount::from_sat(1));
    assert!(matches!(burnt, UpgradeCheckError::Output(0)));
    let theft = refused(|p| p.inputs[0].witness_utxo.as_mut().unwrap().script_pubkey = ScriptBuf::new());
    assert!(matches!(theft, UpgradeCheckError::Input(0)));
    let theft = refused(|p| p.unsigned_tx.output[1].script_pubkey = ScriptBuf::new_op_return([]));
    assert!(matches!(theft, UpgradeCheckError::Output(1)));
    let nothing = refused(|p| p.unsigned_tx.output[0].script_pubkey = p.unsigned_tx.output[1].script_pubkey.clone());
    assert!(matches!(nothing, UpgradeCheckError::Nothing));
    let twice = refused(|p| p.unsigned_tx.output[1] = p.unsigned_tx.output[0].clone());
    assert!(matches!(twice, UpgradeCheckError::Upgrade(UpgradeError::Outputs(2))));
    let open = refused(|p| p.inputs[0].sighash_type = Some(TapSighashType::SinglePlusAnyoneCanPay.into()));
    assert!(matches!(open, UpgradeCheckError::Sighash(0)));
    let dear = refused(|p| {
        let value = Amount::from_sat(50_000);
        p.inputs[0].witness_utxo.as_mut().unwrap().value = value;
        p.unsigned_tx.input[0].sequence = spent::telling(value).unwrap();
    });
    assert!(matches!(dear, UpgradeCheckError::Fee { fee_sat: 45_000.., max_sat: 10_000 }));
    // Of what is locked nobody would hear in time.
    let locked = refused(|p| p.unsigned_tx.lock_time = LockTime::from_consensus(100_000));
    assert!(matches!(locked, UpgradeCheckError::LockTime(_)));
    let version = refused(|p| p.unsigned_tx.version = Version(3));
    assert!(matches!(version, UpgradeCheckError::Version(3)));
    let twice = refused(|p| {
        p.unsigned_tx.input.push(p.unsigned_tx.input[0].clone());
        p.inputs.push(p.inputs[0].clone());
    });
    assert!(matches!(twice, UpgradeCheckError::Twice(1)));
    // Coins that are worth less than spending them costs announce nothing any more.
    let split = refused(|p| {
        let half = TxOut { value: Amount::from_sat(330), ..p.unsigned_tx.output[1].clone() };
        p.unsigned_tx.output[1].value -= half.value;
        p.unsigned_tx.output.push(half);
        p.outputs.push(p.outputs[1].clone());
    });
    assert!(matches!(split, UpgradeCheckError::Split(2)));
    let stranger = scene.check(&planned).unwrap().sign(&scene.toy.poster).unwrap_err();
    assert!(matches!(stranger, UpgradeCheckError::NotASigner(_)));
    let refusal = CheckedUpgrade::check(planned, &immutable(&scene.toy.params), 10_000).unwrap_err();
    assert!(matches!(refusal, UpgradeCheckError::Immutable));
}

#[test]
fn signatures_of_other_transactions_are_not_joined() {
    let scene = Scene::new(&[5_000]);
    let planned = scene.plan(&scene.upgrade(0)).unwrap().psbt;
    let other = scene.plan(&scene.upgrade(1)).unwrap().psbt;
    let (one, two) = (scene.sign(&planned, 0), scene.sign(&other, 1));
    let different = combine(vec![one.clone(), two.clone()], &scene.address);
    assert!(matches!(different, Err(UpgradeCombineError::Combine(CombineError::Different(1)))), "{different:?}");
    let mut forged = planned.clone();
    forged.inputs[0].tap_script_sigs = two.inputs[0].tap_script_sigs.clone();
    let error = combine(vec![one, forged], &scene.address).unwrap_err();
    let is_signature = matches!(error, UpgradeCombineError::Combine(CombineError::Signature { input: 0, .. }));
    assert!(is_signature, "{error}");
}

#[test]
fn what_is_no_announcement_of_the_rollup_is_not_joined() {
    let scene = Scene::new(&[5_000]);
    let planned = scene.plan(&scene.upgrade(0)).unwrap().psbt;
    let signed = [0, 1].map(|index| scene.sign(&planned, index));
    // Another rollup has other marks, whoever its keys are.
    let founded = scene.toy.params.with(|founding| founding.notice_blocks += 1).unwrap();
    let other = UpgradeAddress::of(&founded).unwrap();
    let refused = combine(signed.to_vec(), &other).unwrap_err();
    let expected = UpgradeCheckError::Nothing.to_string();
    assert!(
        matches!(&refused, UpgradeCombineError::Announcement { position: 0, source } if source.to_string() == expected),
        "{refused}"
    );
    // The mark alone makes none: the coins are others'.
    let mut foreign = signed.clone();
    foreign[1].inputs[0].witness_utxo.as_mut().unwrap().script_pubkey = other.script_pubkey().clone();
    let refused = combine(foreign.to_vec(), &scene.address).unwrap_err();
    let is_input =
        matches!(refused, UpgradeCombineError::Announcement { position: 1, source: UpgradeCheckError::Input(0) });
    assert!(is_input, "{refused}");
    // One that says what is spent is enough.
    let mut unsaid = signed;
    unsaid[1].inputs[0].witness_utxo = None;
    combine(unsaid.to_vec(), &scene.address).unwrap();
}
