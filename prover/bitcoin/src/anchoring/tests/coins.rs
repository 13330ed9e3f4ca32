//! Coins that others of the same poster spend: the service leaves theirs alone, and they its own.

use crate::testing::rig::{Rig, rate};
use crate::{
    anchor::{AnchorError, Funding, pay},
    anchoring::{Hold, JobState, Order},
    coins::{Purpose, Purse, SpendError},
    testing::toy_rollup::elsewhere,
};
use bitcoin::{Amount, OutPoint, Transaction, TxOut};

/// Pays a deposit's worth from the poster's free coins, and sends it.
fn deposit(rig: &Rig, value_sat: u64) -> Result<Transaction, SpendError<AnchorError>> {
    let output = TxOut { value: Amount::from_sat(value_sat), script_pubkey: elsewhere() };
    let store = rig.coin_store();
    let purse = Purse { store: &store, node: rig.node(), final_depth_blocks: rig.config.final_depth_blocks };
    let transaction = purse.spend(&super::rig_coins(rig), Purpose::Deposit, |coins: &[Funding]| {
        let transaction = pay(vec![output.clone()], rate("30"), coins, &rig.key)?;
        Ok((transaction.clone(), transaction))
    })?;
    rig.node().send(&transaction).expect("valid");
    Ok(transaction)
}

fn spent(transaction: &Transaction) -> Vec<OutPoint> {
    transaction.input.iter().map(|input| input.previous_output).collect()
}

#[test]
fn a_deposit_leaves_the_coins_of_an_anchor_alone_sent_or_not() {
    // What is sent waits in the pool, what waits for signatures is nowhere but in the store.
    for is_external in [false, true] {
        let mut rig = Rig::new(1);
        rig.is_external = is_external;
        rig.tick();
        let commit = rig.job(0).generations()[0].commit().clone();
        let all = super::rig_coins(&rig).len();
        for _ in 0..3 {
            let deposit = deposit(&rig, 10_000).expect("other coins are free");
            assert!(spent(&deposit).iter().all(|coin| !spent(&commit).contains(coin)), "of {all} coins");
        }
        if !is_external {
            assert!(rig.node().pool_entry(&commit.compute_txid()).expect("it answers").is_some(), "it still waits");
            rig.mine_and_tick(1);
            assert_eq!(rig.state(0), JobState::InBlock);
        }
    }
}

#[test]
fn an_anchor_leaves_the_coins_of_a_deposit_alone() {
    let mut rig = Rig::new(1);
    let deposit = deposit(&rig, 10_000).expect("coins are free");
    // The node has lost the deposit; the coin is still none to take.
    rig.toy.node = crate::node::EmbeddedNode::new(rig.toy.node.chain().clone(), rig.key.script_pubkey());
    rig.tick();
    let commit = rig.job(0).generations()[0].commit().clone();
    assert!(spent(&commit).iter().all(|coin| !spent(&deposit).contains(coin)));
}

#[test]
fn coins_of_an_anchor_that_is_given_up_or_final_are_free() {
    let mut rig = Rig::new(1);
    rig.is_external = true;
    rig.tick();
    let kept = |rig: &Rig| rig.coin_store().reservations().expect("ours").len();
    assert!(kept(&rig) > 0);
    rig.store().put_order(0, Order::Abandon).expect("ours");
    rig.mine_only(&[]);
    rig.tick();
    assert_eq!((rig.state(0), kept(&rig)), (JobState::Abandoned, 0));

    let mut rig = Rig::new(1);
    rig.tick();
    assert!(kept(&rig) > 0);
    rig.mine_and_tick(rig.config.final_depth_blocks);
    rig.mine_only(&[]);
    rig.tick();
    assert_eq!((rig.state(0), kept(&rig)), (JobState::Final, 0));
}

#[test]
fn a_poster_whose_coins_all_wait_is_told_for_what() {
    let mut rig = Rig::new(1);
    let coins = super::rig_coins(&rig);
    let all_sat: u64 = coins.iter().map(|coin| coin.output.value.to_sat()).sum();
    let deposit = deposit(&rig, all_sat - 1_000_000).expect("coins are free");
    rig.tick();
    let hold = rig.job(0).hold().expect("no coin is free");
    assert!(matches!(hold, Hold::NoCoins { busy, .. } if busy.len() == coins.len()), "{hold}");
    let text = hold.to_string();
    assert!(text.contains("a deposit") && text.contains(&deposit.compute_txid().to_string()), "{text}");
    rig.mine_and_tick(1);
    rig.mine_and_tick(1);
    assert!(rig.state(0) >= JobState::CommitSent, "the change is confirmed, and free");
}
