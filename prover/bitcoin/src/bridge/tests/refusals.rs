//! Each rule of signing, broken alone.

use super::rig::{FINAL_DEPTH_BLOCKS, View, World};
use crate::bridge::{
    check::{CheckError, CheckedLink, FeeBounds, SignerView},
    descriptor::BridgeOutput,
    link::{Binding, MAX_LINK_WEIGHT_WU},
    plan::{plan, sign_fee_inputs},
    scan::HeadError,
};
use bitcoin::{
    Amount, OutPoint, Psbt, ScriptBuf, Sequence, TapSighashType, TxOut, Txid, Witness,
    absolute::LockTime,
    hashes::Hash,
    psbt::{self, PsbtSighashType},
    taproot::LeafVersion,
    transaction::Version,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use taproof_verifier::bridge::OUTPUT_MIN_SAT;

const A: [u8; 20] = [0xaa; 20];
const B: [u8; 20] = [0xbb; 20];
/// Outputs of the link that the tests alter: binding, change, two payouts, change of who pays.
const PAYOUT_A: usize = 2;
const PAYOUT_B: usize = 3;
const FEE_CHANGE: usize = 4;
/// Its inputs: two deposits and a coin for the fee.
const FEE_INPUT: usize = 2;

struct Scene {
    world: World,
    view: View,
    psbt: Psbt,
}

impl Scene {
    fn new() -> Self {
        let mut world = World::funded(&[50_000, 70_000], &[(30_000, A), (40_000, B), (5_000, A)]);
        let view = world.view();
        let coin = world.coin();
        let funding = [coin];
        let mut request = world.request(&view, &funding);
        request.payouts_max = 2;
        let mut psbt = plan(&request).unwrap().psbt;
        sign_fee_inputs(&mut psbt, &world.poster);
        assert_eq!((psbt.inputs.len(), psbt.unsigned_tx.output.len()), (3, 5));
        let scene = Self { world, view, psbt };
        scene.world.check(&scene.psbt, &scene.view).unwrap();
        scene
    }

    /// What the signer makes of a PSBT that was altered before whoever pays the fee signed it.
    fn check(&self, mut psbt: Psbt) -> Result<CheckedLink, CheckError> {
        sign_fee_inputs(&mut psbt, &self.world.poster);
        self.world.check(&psbt, &self.view)
    }

    /// Why the signer refuses an altered PSBT.
    fn refusal(&self, alter: impl FnOnce(&mut Psbt)) -> CheckError {
        let mut psbt = self.psbt.clone();
        alter(&mut psbt);
        self.world.check(&psbt, &self.view).unwrap_err()
    }

    fn bind(&self, psbt: &mut Psbt, first: u64, count: u32) {
        psbt.unsigned_tx.output[0] = Binding { first, count }.output(self.world.params.chain_id());
    }
}

fn add(output: &mut TxOut, sat: i64) {
    output.value = Amount::from_sat(output.value.to_sat().checked_add_signed(sat).unwrap());
}

#[test]
fn form() {
    let scene = Scene::new();
    let refusal = scene.refusal(|psbt| psbt.unsigned_tx.version = Version(3));
    assert_eq!(refusal, CheckError::Version(3));
    let lock = LockTime::from_height(1).unwrap();
    assert_eq!(scene.refusal(|psbt| psbt.unsigned_tx.lock_time = lock), CheckError::LockTime(lock));
    for sequence in [Sequence::MAX, Sequence::ENABLE_LOCKTIME_NO_RBF, Sequence::from_height(1)] {
        assert_eq!(scene.refusal(|psbt| psbt.unsigned_tx.input[1].sequence = sequence), CheckError::Sequence(1));
    }
    let twice = scene.refusal(|psbt| psbt.unsigned_tx.input[1] = psbt.unsigned_tx.input[0].clone());
    assert_eq!(twice, CheckError::Inputs(1));
    let none = scene.refusal(|psbt| {
        psbt.unsigned_tx.input.clear();
        psbt.inputs.clear();
    });
    assert_eq!(none, CheckError::Inputs(0));
}

#[test]
fn place_in_the_chain() {
    let mut scene = Scene::new();
    let swapped = scene.refusal(|psbt| {
        psbt.unsigned_tx.input.swap(0, 1);
        psbt.inputs.swap(0, 1);
    });
    let [expected, found] = [0, 1].map(|input| scene.psbt.unsigned_tx.input[input].previous_output);
    assert_eq!(swapped, CheckError::NotTheHead { expected, found });
    let early = View::new(&scene.world.params);
    let refusal = scene.world.check(&scene.psbt, &early).unwrap_err();
    assert_eq!(refusal, CheckError::Head(HeadError::NothingCredited));
    // Once a link is confirmed, the same link and others in its place are past.
    let link = scene.world.sign(&scene.psbt, &scene.view);
    scene.world.mine(&[link]);
    scene.view.sync(&scene.world.chain);
    assert!(matches!(scene.refusal(|_| ()), CheckError::NotTheHead { found, .. } if found == expected));
}

#[test]
fn binding() {
    let scene = Scene::new();
    let not_found = [
        scene.refusal(|psbt| add(&mut psbt.unsigned_tx.output[0], 1)),
        scene.refusal(|psbt| psbt.unsigned_tx.output[0].script_pubkey.push_slice([1; 3])),
        scene.refusal(|psbt| {
            let other = taproof_verifier::cell::ChainId::from_byte_array([9; 15]);
            psbt.unsigned_tx.output[0] = Binding { first: 0, count: 2 }.output(other);
        }),
        scene.refusal(|psbt| {
            psbt.unsigned_tx.output.clear();
            psbt.outputs.clear();
        }),
    ];
    assert!(not_found.iter().all(|refusal| *refusal == CheckError::Binding), "{not_found:?}");
    let skipping = scene.refusal(|psbt| scene.bind(psbt, 1, 2));
    assert_eq!(skipping, CheckError::FirstIndex { expected: 0, found: 1 });
    let not_due = scene.refusal(|psbt| scene.bind(psbt, 0, 4));
    assert_eq!(not_due, CheckError::NotDue { index: 3, due: 3 });
    let not_even_countable = scene.refusal(|psbt| scene.bind(psbt, 0, u32::MAX));
    assert_eq!(not_even_countable, CheckError::NotDue { index: 3, due: 3 });
}

#[test]
fn a_link_that_does_nothing() {
    let mut scene = Scene::new();
    let link = scene.world.sign(&scene.psbt, &scene.view);
    scene.world.mine(&[link]);
    scene.view.sync(&scene.world.chain);
    scene.psbt = scene.world.plan(&scene.view).unwrap().psbt;
    scene.world.check(&scene.psbt, &scene.view).unwrap();
    // The one payout left is taken out, its value stays: nothing is wrong but that nothing happens.
    let idle = scene.refusal(|psbt| {
        scene.bind(psbt, 2, 0);
        let paid = psbt.unsigned_tx.output.remove(PAYOUT_A);
        psbt.outputs.pop();
        psbt.unsigned_tx.output[1].value += paid.value;
    });
    assert_eq!(idle, CheckError::Idle);
}

#[test]
fn outputs() {
    let scene = Scene::new();
    let own = scene.world.poster.script_pubkey();
    let elsewhere = scene.refusal(|psbt| psbt.unsigned_tx.output[1].script_pubkey = own.clone());
    assert_eq!(elsewhere, CheckError::Change);
    let dust = scene.refusal(|psbt| psbt.unsigned_tx.output[1].value = Amount::from_sat(OUTPUT_MIN_SAT - 1));
    assert_eq!(dust, CheckError::ChangeDust(OUTPUT_MIN_SAT - 1));
    let payout = |index| CheckError::Payout { index };
    assert_eq!(scene.refusal(|psbt| add(&mut psbt.unsigned_tx.output[PAYOUT_A], 1)), payout(0));
    assert_eq!(scene.refusal(|psbt| add(&mut psbt.unsigned_tx.output[PAYOUT_B], -1)), payout(1));
    assert_eq!(scene.refusal(|psbt| psbt.unsigned_tx.output[PAYOUT_B].script_pubkey = own.clone()), payout(1));
    assert_eq!(scene.refusal(|psbt| psbt.unsigned_tx.output.swap(PAYOUT_A, PAYOUT_B)), payout(0));
    let missing = scene.refusal(|psbt| {
        psbt.unsigned_tx.output.truncate(PAYOUT_B);
        psbt.outputs.truncate(PAYOUT_B);
    });
    assert_eq!(missing, payout(1));
    let more = scene.refusal(|psbt| {
        let mut output = psbt.unsigned_tx.output[FEE_CHANGE].clone();
        output.value = Amount::from_sat(1_000);
        add(&mut psbt.unsigned_tx.output[FEE_CHANGE], -1_000);
        psbt.unsigned_tx.output.push(output);
        psbt.outputs.push(psbt::Output::default());
    });
    assert_eq!(more, CheckError::UnknownOutput(FEE_CHANGE + 1));
    // The tag of a deposit, say, after a payout that goes to somebody's deposit address.
    let data = scene.refusal(|psbt| psbt.unsigned_tx.output[FEE_CHANGE].script_pubkey = ScriptBuf::new_op_return([7]));
    assert_eq!(data, CheckError::UnknownOutput(FEE_CHANGE));
}

#[test]
fn coins() {
    let mut scene = Scene::new();
    let nowhere = OutPoint { txid: Txid::all_zeros(), vout: 0 };
    for input in [1, FEE_INPUT] {
        let refusal = scene.refusal(|psbt| psbt.unsigned_tx.input[input].previous_output = nowhere);
        assert_eq!(refusal, CheckError::UnknownInput(input));
    }
    for input in [0, FEE_INPUT] {
        let wrong = [
            scene.refusal(|psbt| add(psbt.inputs[input].witness_utxo.as_mut().unwrap(), 1)),
            scene.refusal(|psbt| psbt.inputs[input].witness_utxo.as_mut().unwrap().script_pubkey.push_slice([0])),
            scene.refusal(|psbt| psbt.inputs[input].witness_utxo = None),
        ];
        assert!(wrong.iter().all(|refusal| *refusal == CheckError::SpentOutput(input)), "{wrong:?}");
    }
    // Deposits that are nobody's but the depositor's, and one whose credit is fresh.
    let deposit = scene.world.deposit(9_000, 4);
    let outpoint = OutPoint { txid: deposit.compute_txid(), vout: 0 };
    let other = |scene: &Scene| {
        scene.refusal(|psbt| {
            psbt.unsigned_tx.input[1].previous_output = outpoint;
            psbt.inputs[1].witness_utxo = Some(deposit.output[0].clone());
        })
    };
    scene.world.mine(std::slice::from_ref(&deposit));
    scene.view.sync(&scene.world.chain);
    assert_eq!(other(&scene), CheckError::NotCredited { input: 1, index: 2 });
    let note = scene.world.note(2, 3, &[]);
    scene.world.mine(&[note]);
    for _ in 1..FINAL_DEPTH_BLOCKS {
        scene.view.sync(&scene.world.chain);
        assert_eq!(other(&scene), CheckError::CreditNotFinal { input: 1, index: 2 });
        scene.world.mine_empty(1);
    }
    scene.view.sync(&scene.world.chain);
    // Now it may be spent, but the PSBT offers another deposit's leaf for it.
    assert_eq!(other(&scene), CheckError::Leaf(1));
}

#[test]
fn coins_for_the_fee_have_witness_programs() {
    let mut scene = Scene::new();
    let legacy = bitcoin::PublicKey::new(bitcoin::secp256k1::PublicKey::from_x_only_public_key(
        scene.world.poster.public(),
        bitcoin::secp256k1::Parity::Even,
    ));
    let output = TxOut { value: Amount::from_sat(50_000), script_pubkey: ScriptBuf::new_p2pkh(&legacy.pubkey_hash()) };
    let payment = scene.world.pay(vec![output.clone()]);
    scene.world.mine(std::slice::from_ref(&payment));
    scene.view.sync(&scene.world.chain);
    let refusal = scene.refusal(|psbt| {
        psbt.unsigned_tx.input[FEE_INPUT].previous_output = OutPoint { txid: payment.compute_txid(), vout: 0 };
        psbt.inputs[FEE_INPUT].witness_utxo = Some(output);
    });
    assert_eq!(refusal, CheckError::FeeScript(FEE_INPUT));
}

#[test]
fn the_bridge_loses_nothing() {
    let scene = Scene::new();
    let loses = scene.refusal(|psbt| {
        add(&mut psbt.unsigned_tx.output[1], -1);
        add(&mut psbt.unsigned_tx.output[FEE_CHANGE], 1);
    });
    assert_eq!(loses, CheckError::BridgeLoses { spent_sat: 120_000, change_sat: 49_999, paid_sat: 70_000 });
    // It may gain: whoever pays the fee may add to the change.
    let mut gains = scene.psbt.clone();
    add(&mut gains.unsigned_tx.output[1], 1);
    add(&mut gains.unsigned_tx.output[FEE_CHANGE], -1);
    scene.check(gains).unwrap();
}

#[test]
fn ways_to_spend() {
    let scene = Scene::new();
    let coin = scene.view.scan.coin(&scene.psbt.unsigned_tx.input[0].previous_output).unwrap();
    let way = BridgeOutput::of_coin(scene.world.params.bridge(), coin.origin).unwrap();
    let (federation, refund) = (way.federation().clone(), way.refund().unwrap().clone());
    let offered = (refund.script.clone(), LeafVersion::TapScript);
    let signer = scene.world.params.bridge().keys()[0];
    let signature = scene.world.check(&scene.psbt, &scene.view).unwrap();
    let signature = signature.sign(&scene.world.signer(0), scene.world.params.bridge()).unwrap();
    let signature = *signature.inputs[0].tap_script_sigs.values().next().unwrap();
    let alter = |alter: &dyn Fn(&mut psbt::Input)| scene.refusal(|psbt| alter(&mut psbt.inputs[0]));
    let refusals = [
        alter(&|input| input.tap_scripts.clear()),
        alter(&|input| drop(input.tap_scripts.insert(refund.control_block.clone(), offered.clone()))),
        alter(&|input| {
            input.tap_scripts.clear();
            input.tap_scripts.insert(refund.control_block.clone(), offered.clone());
        }),
        alter(&|input| input.tap_scripts.get_mut(&federation.control_block).unwrap().0.push_slice([1])),
        alter(&|input| {
            input.tap_script_sigs.insert((signer, refund.hash()), signature);
        }),
        alter(&|input| {
            input.tap_key_origins.insert(signer, (vec![refund.hash()], Default::default()));
        }),
        alter(&|input| input.tap_internal_key = Some(signer)),
        alter(&|input| input.tap_merkle_root = Some(Hash::all_zeros())),
        alter(&|input| input.tap_key_sig = Some(signature)),
        alter(&|input| input.final_script_witness = Some(Witness::new())),
        alter(&|input| input.final_script_sig = Some(ScriptBuf::new())),
    ];
    assert!(refusals.iter().all(|refusal| *refusal == CheckError::Leaf(0)), "{refusals:?}");
}

#[test]
fn signatures_cover_everything() {
    let scene = Scene::new();
    let ask = |sighash: TapSighashType| {
        let mut psbt = scene.psbt.clone();
        psbt.inputs[1].sighash_type = Some(PsbtSighashType::from(sighash));
        scene.world.check(&psbt, &scene.view)
    };
    use TapSighashType::{
        All, AllPlusAnyoneCanPay, Default, None as Nothing, NonePlusAnyoneCanPay, Single, SinglePlusAnyoneCanPay,
    };
    for sighash in [Default, All] {
        let signed = ask(sighash).unwrap().sign(&scene.world.signer(0), scene.world.params.bridge()).unwrap();
        assert_eq!(signed.inputs[1].tap_script_sigs.values().next().unwrap().sighash_type, sighash);
    }
    for sighash in [Nothing, Single, AllPlusAnyoneCanPay, NonePlusAnyoneCanPay, SinglePlusAnyoneCanPay] {
        assert_eq!(ask(sighash).unwrap_err(), CheckError::Sighash(1));
    }
    let mut unknown = scene.psbt.clone();
    unknown.inputs[1].sighash_type = Some(PsbtSighashType::from_u32(0x42));
    assert_eq!(scene.world.check(&unknown, &scene.view).unwrap_err(), CheckError::Sighash(1));
}

#[test]
fn weight_and_fee() {
    let scene = Scene::new();
    let heavy = scene.refusal(|psbt| {
        psbt.inputs[FEE_INPUT].final_script_witness =
            Some(Witness::from_slice(&[vec![0; MAX_LINK_WEIGHT_WU as usize]]));
    });
    assert!(matches!(heavy, CheckError::Weight(weight) if weight > MAX_LINK_WEIGHT_WU));
    let overspent = scene.refusal(|psbt| psbt.unsigned_tx.output[FEE_CHANGE].value = Amount::MAX_MONEY);
    assert_eq!(overspent, CheckError::Overspent);
    let summary = scene.world.check(&scene.psbt, &scene.view).unwrap().summary();
    let to = |fee_sat: u64| {
        let more = fee_sat as i64 - summary.fee_sat as i64;
        let mut psbt = scene.psbt.clone();
        add(&mut psbt.unsigned_tx.output[FEE_CHANGE], -more);
        scene.check(psbt)
    };
    let (least, most) = (summary.weight_wu.div_ceil(4), 100 * summary.weight_wu.div_ceil(4));
    assert_eq!([to(least), to(most)].map(|checked| checked.unwrap().summary().fee_sat), [least, most]);
    assert!(matches!(to(least - 1), Err(CheckError::FeeTooLow { fee_sat, .. }) if fee_sat == least - 1));
    assert!(matches!(to(most + 1), Err(CheckError::FeeTooHigh { fee_sat, .. }) if fee_sat == most + 1));
}

/// A coordinator that pays one more than is due by its own reckoning, and a signer whose node knows no coin for the
/// fee.
#[test]
fn the_signers_own_node_decides() {
    let scene = Scene::new();
    let none = Default::default();
    let fee_bounds = FeeBounds { min: "1".parse().unwrap(), max: "100".parse().unwrap() };
    let view = SignerView { scan: &scene.view.scan, fee_coins: &none, fee_bounds };
    assert_eq!(CheckedLink::check(scene.psbt.clone(), &view).unwrap_err(), CheckError::UnknownInput(FEE_INPUT));
    // A signer who is behind sees less due.
    let mut behind = View::new(&scene.world.params);
    behind.sync_to(&scene.world.chain, scene.world.chain.height() - 2);
    let refusal = scene.world.check(&scene.psbt, &behind).unwrap_err();
    assert_eq!(refusal, CheckError::Head(HeadError::NothingCredited));
}

/// A coordinator who alters anything: what a signer still takes pays, and takes, the same as before.
#[test]
fn random_alterations_take_nothing_from_the_bridge() {
    let scene = Scene::new();
    let honest = scene.psbt.serialize();
    let seed = 11;
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut read, mut taken) = (0, 0);
    for _ in 0..20_000 {
        let mut bytes = honest.clone();
        for _ in 0..rng.gen_range(1..4) {
            let position = rng.gen_range(0..bytes.len());
            match rng.gen_range(0..4) {
                0 => bytes[position] ^= 1 << rng.gen_range(0..8),
                1 => bytes[position] = rng.r#gen(),
                2 => drop(bytes.remove(position)),
                _ => bytes.insert(position, rng.r#gen()),
            }
        }
        let Ok(psbt) = Psbt::deserialize(&bytes) else { continue };
        read += 1;
        let Ok(checked) = scene.world.check(&psbt, &scene.view) else { continue };
        taken += 1;
        let (altered, before) = (&checked.psbt().unsigned_tx, &scene.psbt.unsigned_tx);
        assert_eq!(altered.input, before.input);
        assert_eq!(altered.output[PAYOUT_A..FEE_CHANGE], before.output[PAYOUT_A..FEE_CHANGE]);
        assert!(altered.output[1].value >= before.output[1].value);
        assert_eq!(altered.output[1].script_pubkey, before.output[1].script_pubkey);
        assert_eq!((&altered.output[0], altered.output.len()), (&before.output[0], before.output.len()));
    }
    assert!(read > 1_000 && taken > 0, "{read} were read, {taken} taken");
}
