//! Keys kept elsewhere: an independent signer, and what is refused of what it gives back.

use crate::testing::rig::{Rig, prove_again};
use crate::{
    anchoring::{
        BumpOrder, Hold, Job, JobState, Order,
        psbt::{self, Accepted, PsbtError},
    },
    consensus::TransactionError,
};
use bitcoin::{
    Amount, NetworkKind, Psbt, TxOut, Witness,
    bip32::{DerivationPath, KeySource, Xpriv},
    key::Secp256k1,
};

/// The master key behind the toy's poster, as a signer has it.
fn master() -> (Xpriv, KeySource) {
    let master = Xpriv::new_master(NetworkKind::Test, &[3; 32]).expect("a seed");
    let path: DerivationPath = "86h/1h/0h/0/0".parse().expect("a path");
    (master, (master.fingerprint(&Secp256k1::new()), path))
}

fn sign(psbt: &mut Psbt) {
    psbt.sign(&master().0, &Secp256k1::new()).expect("the key is the poster's");
}

fn external() -> Rig {
    let mut rig = Rig::new(1);
    rig.is_external = true;
    rig.tick();
    assert_eq!(rig.state(0), JobState::Built);
    assert_eq!(rig.job(0).hold(), Some(&Hold::AwaitingSignatures));
    rig
}

/// All PSBTs of a job's last generation.
fn all(rig: &Rig, job: &Job) -> Vec<Psbt> {
    let (poster, origin) = (rig.identity().poster(), master().1);
    let generation = job.generations().last().expect("built");
    let mut all = psbt::reveals(generation, &poster, Some(&origin));
    all.insert(0, psbt::commit(generation, &poster, Some(&origin)));
    // As files carry them.
    all.iter().map(|psbt| Psbt::deserialize(&psbt.serialize()).expect("just written")).collect()
}

#[test]
fn an_external_signer_is_asked_once_for_a_whole_ladder() {
    let mut rig = external();
    let mut job = rig.job(0).clone();
    let mut psbts = all(&rig, &job);
    assert!(psbts.len() > 4, "a commit and a ladder of reveals: {}", psbts.len());
    psbts.iter_mut().for_each(sign);
    let accepted: Vec<Accepted> = psbts.iter().map(|psbt| psbt::accept(&mut job, psbt).expect("well signed")).collect();
    assert_eq!(accepted[0], Accepted::Commit);
    let fees: Vec<u64> = accepted[1..]
        .iter()
        .map(|accepted| match accepted {
            Accepted::Reveal(fee_sat) => *fee_sat,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(fees.windows(2).all(|pair| pair[1] > pair[0]), "{fees:?}");
    rig.store().put_signed(&job).expect("ours");
    rig.restart();
    rig.tick();
    assert_eq!(rig.states(0), [JobState::Built, JobState::Signed, JobState::CommitSent, JobState::RevealSent]);
    for _ in 0..6 {
        rig.mine_only(&[]);
        rig.tick();
    }
    assert_eq!(rig.state(0), JobState::Bumped, "rung by rung, with nobody asked");
    assert_eq!(rig.job(0).figures().expect("built").attempts, 3);
    for _ in 0..40 {
        rig.mine_only(&[]);
        rig.tick();
    }
    assert!(matches!(
        rig.job(0).hold(),
        Some(Hold::LadderUsed { .. } | Hold::AtCap { .. } | Hold::HeadroomUsed { .. })
    ));
    rig.mine_and_tick(1);
    assert_eq!(rig.state(0), JobState::InBlock);
}

#[test]
fn signatures_that_come_one_by_one_are_all_taken() {
    let mut rig = external();
    let psbts = all(&rig, rig.job(0));
    let store = rig.store();
    for (position, mut psbt) in psbts.into_iter().enumerate() {
        sign(&mut psbt);
        // As commands of their own do it, between two looks of the service, from what it has stored.
        let mut job = store.jobs().expect("ours").remove(0);
        psbt::accept(&mut job, &psbt).expect("well signed");
        let before = store.signed().expect("ours");
        store.put_signed(&job).expect("ours");
        // The service took what was there and forgets that alone.
        if let Some(before) = before.first().filter(|_| position == 1) {
            store.settle_signed(before, None).expect("ours");
        }
    }
    store.put_order(0, Order::Bump(BumpOrder { sat_per_kvb: None })).expect("ours");
    rig.tick();
    let generation = &rig.job(0).generations()[0];
    assert!(generation.commit().input.iter().all(|input| !input.witness.is_empty()));
    assert!(generation.attempts().iter().all(|rung| !rung.transaction().input[0].witness.is_empty()));
    let states = [JobState::Built, JobState::Signed, JobState::CommitSent, JobState::RevealSent, JobState::Bumped];
    assert_eq!(rig.states(0), states, "the order beside them is carried out");
    assert!(store.signed().expect("ours").is_empty() && store.orders().expect("ours").is_empty());
}

/// A batch of which a signer elsewhere has signed all that it was asked for, as the store has it and the service not
/// yet.
fn signed_by_others() -> (Rig, Job) {
    let rig = external();
    let mut job = rig.job(0).clone();
    for mut psbt in all(&rig, &job) {
        sign(&mut psbt);
        psbt::accept(&mut job, &psbt).expect("well signed");
    }
    rig.store().put_signed(&job).expect("ours");
    (rig, job)
}

#[test]
fn the_rung_that_pays_for_the_commit_goes_with_it() {
    let (mut rig, job) = signed_by_others();
    // The pool's minimum rose while the signer was busy: the commit pays too little, and the first rungs do.
    rig.outlook.min_pool = crate::testing::rig::rate("8");
    rig.tick();
    assert_eq!(rig.states(0), [JobState::Built, JobState::Signed, JobState::RevealSent], "both at once");
    let generation = &rig.job(0).generations()[0];
    let sent = generation.attempts().iter().position(|attempt| attempt.sent_height().is_some()).expect("one was sent");
    assert!(sent > 0, "not the cheapest");
    assert_eq!(
        generation.commit().compute_txid(),
        job.generations()[0].commit().compute_txid(),
        "nothing is signed anew"
    );
    rig.mine_and_tick(1);
    assert_eq!(rig.state(0), JobState::InBlock);
}

#[test]
fn a_sweep_can_be_signed_elsewhere_too() {
    let (mut rig, _) = signed_by_others();
    rig.tick();
    let generation = rig.job(0).generations()[0].clone();
    rig.mine_only(&[generation.commit().clone()]);
    rig.toy.node = crate::node::EmbeddedNode::new(rig.toy.node.chain().clone(), rig.key.script_pubkey());
    rig.store().put_order(0, Order::Abandon).expect("ours");
    rig.tick();
    assert!(matches!(rig.job(0).hold(), Some(Hold::SweepAwaitsSignature { .. })), "{:?}", rig.job(0).hold());
    let mut job = rig.job(0).clone();
    let (poster, origin) = (rig.identity().poster(), master().1);
    let rate = crate::testing::rig::rate("4");
    let mut sweep = psbt::sweep(&generation, &poster, rate, Some(&origin)).expect("worth it");
    sign(&mut sweep);
    assert!(matches!(psbt::accept(&mut job, &sweep), Ok(Accepted::Sweep(_))));
    rig.store().put_signed(&job).expect("ours");
    rig.mine_only(&[]);
    rig.tick();
    rig.mine_and_tick(1);
    assert_eq!(rig.state(0), JobState::Swept, "{:?}", rig.job(0).hold());
}

#[test]
fn a_sweep_that_is_signed_takes_the_place_of_a_reveal_that_waits_at_once() {
    let (mut rig, _) = signed_by_others();
    rig.tick();
    let generation = rig.job(0).generations()[0].clone();
    rig.store().put_order(0, Order::Abandon).expect("ours");
    rig.tick();
    assert_eq!(rig.state(0), JobState::Abandoned);
    let Some(Hold::SweepAwaitsSignature { rate, .. }) = rig.job(0).hold().cloned() else {
        panic!("{:?}", rig.job(0).hold())
    };
    // Commands beside the service say so, too.
    let waits = rig.store().waits().expect("ours").remove(&0).expect("it waits");
    assert!(waits.waits_for.contains(&format!("{rate} sat/vB or more")), "{waits:?}");
    assert!(waits.advice.is_some_and(|advice| advice.contains("--sweep")));
    let give = |rig: &Rig, rate| {
        let mut job = rig.job(0).clone();
        let sweep = psbt::sweep(&generation, &rig.identity().poster(), rate, Some(&master().1));
        let mut sweep = sweep.expect("worth it");
        sign(&mut sweep);
        psbt::accept(&mut job, &sweep).expect("well signed");
        rig.store().put_signed(&job).expect("ours");
        sweep.unsigned_tx.compute_txid()
    };
    // One that pays too little to take the reveal's place changes nothing, and it is said.
    give(&rig, crate::testing::rig::rate("1"));
    rig.tick();
    assert!(matches!(rig.job(0).hold(), Some(Hold::SweepAwaitsSignature { .. })), "{:?}", rig.job(0).hold());
    let sweep = give(&rig, rate);
    rig.tick();
    assert_eq!(rig.node().pool_spender(&generation.output()).expect("it answers"), Some(sweep), "at the same tip");
    assert!(rig.store().waits().expect("ours").is_empty());
    rig.mine_and_tick(1);
    assert_eq!((rig.state(0), rig.anchored()), (JobState::Swept, 0), "{:?}", rig.job(0).hold());
}

#[test]
fn what_comes_back_is_checked_as_if_a_stranger_gave_it() {
    let rig = external();
    let job = rig.job(0).clone();
    let psbts = all(&rig, &job);
    let refused = |psbt: &Psbt| {
        let mut copy = job.clone();
        let error = psbt::accept(&mut copy, psbt).expect_err("altered");
        assert_eq!(copy, job, "nothing is taken");
        error
    };
    assert_eq!(refused(&psbts[0]), PsbtError::Unsigned(0));
    assert_eq!(refused(&psbts[1]), PsbtError::Unsigned(0));
    let signed: Vec<Psbt> = psbts
        .into_iter()
        .map(|mut psbt| {
            sign(&mut psbt);
            psbt
        })
        .collect();
    // Another transaction, another amount, another coin.
    let mut altered = signed[1].clone();
    altered.unsigned_tx.output[1].value += Amount::from_sat(1);
    let txid = altered.unsigned_tx.compute_txid();
    assert!(
        matches!(refused(&altered), PsbtError::Unsigned(_) | PsbtError::Unknown(_) | PsbtError::Script(_)),
        "{txid}"
    );
    let mut altered = signed[0].clone();
    altered.unsigned_tx.output[0].value += Amount::from_sat(1);
    let txid = altered.unsigned_tx.compute_txid();
    assert_eq!(refused(&altered), PsbtError::Unknown(txid));
    // A sweep whose outputs are worth more than its coin, and than 64 bits hold.
    let generation = job.generations().last().expect("built");
    let (poster, origin) = (rig.identity().poster(), master().1);
    let sweep = psbt::sweep(generation, &poster, crate::testing::rig::rate("4"), Some(&origin)).expect("worth it");
    let inputs_sat = generation.commit().output[0].value.to_sat();
    let with_values = |values: &[u64]| {
        let mut sweep = sweep.clone();
        let script_pubkey = sweep.unsigned_tx.output[0].script_pubkey.clone();
        let output = |sat: &u64| TxOut { value: Amount::from_sat(*sat), script_pubkey: script_pubkey.clone() };
        sweep.unsigned_tx.output = values.iter().map(output).collect();
        sweep.outputs = vec![Default::default(); values.len()];
        sign(&mut sweep);
        refused(&sweep)
    };
    let overspent = TransactionError::Overspent { inputs_sat, outputs_sat: inputs_sat + 1 };
    assert_eq!(with_values(&[inputs_sat + 1]), PsbtError::Script(overspent));
    assert_eq!(with_values(&[u64::MAX, 1]), PsbtError::Script(TransactionError::ValueRange));
    let mut altered = signed[0].clone();
    altered.inputs[0].witness_utxo.as_mut().expect("given").value += Amount::from_sat(1);
    assert_eq!(refused(&altered), PsbtError::SpentOutput(0));
    // A signature of another input, of another kind, and of nothing.
    let mut altered = signed[0].clone();
    altered.inputs[0].tap_key_sig = signed[1].inputs[0].tap_script_sigs.values().next().copied();
    assert!(matches!(refused(&altered), PsbtError::Script(_)));
    let mut altered = signed[0].clone();
    altered.inputs[0].tap_key_sig.as_mut().expect("signed").sighash_type = bitcoin::TapSighashType::None;
    assert_eq!(refused(&altered), PsbtError::SighashType(0));
    let mut altered = signed[0].clone();
    altered.inputs[0].tap_key_sig = None;
    altered.inputs[0].final_script_witness = Some(Witness::from_slice(&[[1u8; 64], [2; 64]]));
    assert_eq!(refused(&altered), PsbtError::Witness(0));
    // A wallet that takes the internal key of a reveal for its own signs the key path, finished or not.
    let mut altered = signed[1].clone();
    let signature = altered.inputs[0].tap_script_sigs.values().next().copied().expect("signed");
    altered.inputs[0].tap_script_sigs.clear();
    let mut finished = altered.clone();
    altered.inputs[0].tap_key_sig = Some(signature);
    finished.inputs[0].final_script_witness = Some(Witness::p2tr_key_spend(&signature));
    for of_key_path in [altered, finished] {
        assert_eq!(refused(&of_key_path), PsbtError::KeyPath(0));
    }
    // A signer that finishes what it signs is as good.
    let mut finished = signed[0].clone();
    for input in &mut finished.inputs {
        let signature = input.tap_key_sig.take().expect("signed");
        input.final_script_witness = Some(Witness::p2tr_key_spend(&signature));
    }
    assert_eq!(psbt::accept(&mut job.clone(), &finished), Ok(Accepted::Commit));
}

/// The sweep of a reveal that waits needs a signature: the batch that was proven again does not wait for it.
#[test]
fn a_sweep_that_waits_for_its_signer_holds_up_no_other_anchor() {
    let (mut rig, _) = signed_by_others();
    rig.tick();
    assert_eq!(rig.state(0), JobState::RevealSent);
    let first = rig.job(0).generations()[0].clone();
    rig.mine_only(&[first.commit().clone()]);
    prove_again(&mut rig);
    for _ in 0..2 {
        rig.tick();
        assert_eq!((rig.state(0), rig.job(0).hold()), (JobState::Built, Some(&Hold::AwaitingSignatures)));
        assert!(rig.job(0).generations()[0].sweeps().is_empty(), "nobody has signed one");
        rig.mine_only(&[]);
    }
    let mut job = rig.job(0).clone();
    for mut psbt in all(&rig, &job) {
        sign(&mut psbt);
        psbt::accept(&mut job, &psbt).expect("well signed");
    }
    rig.store().put_signed(&job).expect("ours");
    rig.tick();
    assert_eq!(rig.state(0), JobState::RevealSent);
    assert!(matches!(rig.job(0).hold(), Some(Hold::SweepAwaitsSignature { .. })), "{:?}", rig.job(0).hold());
    // Nor does a bump wait.
    rig.store().put_order(0, Order::Bump(BumpOrder { sat_per_kvb: None })).expect("ours");
    rig.tick();
    assert_eq!(rig.state(0), JobState::Bumped);
}
