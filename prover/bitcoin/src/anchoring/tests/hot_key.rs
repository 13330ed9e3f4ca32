//! Coins that another wallet holds, and a key at hand for the leaf: the wallet signs one ordinary transaction a batch.

use crate::testing::rig::Rig;
use crate::{
    anchoring::{
        Hold, JobState, Order,
        psbt::{self, Accepted},
    },
    node::EmbeddedNode,
};
use bitcoin::{NetworkKind, Psbt, Transaction, bip32::Xpriv, key::Secp256k1};

/// A service that waits for the signature of its commit.
fn hot() -> Rig {
    let mut rig = Rig::new(2);
    rig.is_external = true;
    rig.hot_key = Some(rig.toy.wallet.hot_key(0).expect("a small number"));
    rig.tick();
    assert_eq!((rig.state(0), rig.job(0).hold()), (JobState::Built, Some(&Hold::AwaitingSignatures)));
    rig
}

/// Signs the commit of a batch as its wallet does, from the files alone, and gives it back.
fn sign_commit(rig: &Rig, batch: u64) {
    let mut job = rig.store().jobs().expect("ours").remove(usize::try_from(batch).expect("small"));
    let (master, poster) = (Xpriv::new_master(NetworkKind::Test, &[3; 32]).expect("a seed"), rig.identity().poster());
    let origin = (master.fingerprint(&Secp256k1::new()), "86h/1h/0h/0/0".parse().expect("a path"));
    let generation = job.generations().last().expect("built");
    assert!(psbt::has_hot_leaf(generation, &poster));
    let commit = psbt::commit(generation, &poster, Some(&origin)).serialize();
    let mut commit = Psbt::deserialize(&commit).expect("just written");
    commit.sign(&master, &Secp256k1::new()).expect("the coins are the wallet's");
    assert_eq!(psbt::accept(&mut job, &commit), Ok(Accepted::Commit));
    rig.store().put_signed(&job).expect("ours");
}

/// All that is not locked returns to the wallet with the coins.
fn returns(rig: &Rig, transaction: &Transaction) -> bool {
    transaction.output[1..].iter().all(|output| output.script_pubkey == rig.key.script_pubkey())
}

#[test]
fn a_wallet_signs_one_transaction_a_batch_and_the_service_the_rest() {
    let mut rig = hot();
    for batch in 0..2 {
        sign_commit(&rig, batch);
        rig.restart();
        rig.tick();
        let states = [JobState::Built, JobState::Signed, JobState::CommitSent, JobState::RevealSent];
        assert_eq!(rig.states(batch), states, "batch {batch}");
        for _ in 0..rig.config.bump_every_blocks {
            rig.mine_only(&[]);
            rig.tick();
        }
        assert_eq!(rig.state(batch), JobState::Bumped, "nobody is asked for a dearer reveal");
        let generation = &rig.job(batch).generations()[0];
        assert!(returns(&rig, generation.commit()));
        assert!(generation.attempts().iter().all(|attempt| returns(&rig, attempt.transaction())));
        rig.mine_and_tick(1);
        assert_eq!(rig.state(batch), JobState::InBlock);
    }
    rig.mine_and_tick(10);
    assert_eq!((rig.anchored(), rig.state(0), rig.state(1)), (2, JobState::Final, JobState::Final));
}

#[test]
fn what_a_commit_locks_comes_back_to_the_wallet_without_it() {
    let mut rig = hot();
    sign_commit(&rig, 0);
    rig.tick();
    let commit = rig.job(0).generations()[0].commit().clone();
    rig.mine_only(std::slice::from_ref(&commit));
    rig.toy.node = EmbeddedNode::new(rig.toy.node.chain().clone(), rig.key.script_pubkey());
    rig.store().put_order(0, Order::Abandon).expect("ours");
    rig.tick();
    rig.mine_and_tick(1);
    assert_eq!(rig.state(0), JobState::Swept, "{:?}", rig.job(0).hold());
    let sweep = rig.job(0).generations()[0].sweeps()[0].transaction().clone();
    assert_eq!(sweep.output[0].script_pubkey, rig.key.script_pubkey());
}

#[test]
fn a_store_knows_every_key_that_has_signed() {
    let mut rig = hot();
    sign_commit(&rig, 0);
    rig.tick();
    assert_eq!(rig.state(0), JobState::RevealSent);
    // The next run has another hot key, and then none: what was signed by the first goes on as far as it goes without.
    for key in [Some(rig.toy.wallet.hot_key(1).expect("a small number")), None] {
        rig.hot_key = key;
        rig.restart();
        for _ in 0..rig.config.bump_every_blocks {
            rig.mine_only(&[]);
            rig.tick();
        }
        assert_eq!(rig.state(0), JobState::RevealSent);
        assert!(matches!(rig.job(0).hold(), Some(Hold::LadderUsed { .. })), "{:?}", rig.job(0).hold());
    }
    rig.mine_and_tick(1);
    assert_eq!(rig.state(0), JobState::InBlock);
}
