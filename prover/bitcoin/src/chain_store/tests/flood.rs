//! Blocks full of transactions that announce an anchor and are none.

use super::*;
use crate::anchor::{FeeRate, Funding, pay};
use bitcoin::{Amount, OutPoint, TxIn, absolute::LockTime, transaction::Version};
use std::{collections::BTreeSet, time::Instant};

#[test]
fn of_a_flood_of_false_anchors_a_block_keeps_a_few_and_the_number() {
    let mut scene = Scene::new();
    let store = scene.store("flood.redb");
    let toy = &mut scene.toy;
    let coins = |toy: &ToyRollup| -> Vec<Funding> {
        let coins = toy.node.chain().spendable_coins(&toy.poster.script_pubkey());
        coins.into_iter().map(|(outpoint, coin)| Funding { outpoint, output: coin.output }).collect()
    };
    let own = |amount_sat| TxOut { value: Amount::from_sat(amount_sat), script_pubkey: toy.poster.script_pubkey() };
    let rate: FeeRate = "1".parse().expect("a rate");
    let split = pay((0..40).map(|_| own(20_000)).collect(), rate, &coins(toy), &toy.poster).expect("enough coins");
    let announcement = Announcement { batch: 2, payload_hash: PayloadHash::NONE, root_after: 0u64.into() };
    let junk = TxOut { value: Amount::ZERO, script_pubkey: announcement.script_pubkey(toy.params.chain_id()) };
    let txid = split.compute_txid();
    let flood: Vec<Transaction> = (0..40)
        .map(|vout| {
            let coin = Funding { outpoint: OutPoint::new(txid, vout), output: own(20_000) };
            pay(vec![junk.clone()], rate, &[coin], &toy.poster).expect("enough")
        })
        .collect();
    toy.node.chain_mut().mine(&[split], &elsewhere()).expect("valid");
    toy.node.chain_mut().mine(&flood, &elsewhere()).expect("valid");
    let height = toy.node.chain().height();
    toy.node.mine(FINAL_DEPTH_BLOCKS).expect("valid");
    let (_, events, _) = scene.follow(&store).expect("a steady source");
    assert_eq!(events.iter().filter(|event| matches!(event, Event::Ignored { .. })).count(), 41, "all are told of");
    let log = log_of(&store);
    let of_block: Vec<&FinalEvent> = log.iter().filter(|event| event.height() == height).collect();
    assert_eq!(of_block.len(), stored_follower::REFUSED_A_BLOCK_MAX + 1);
    let Some(FinalEvent::RefusedMore(more)) = of_block.last() else { panic!("{of_block:?}") };
    assert_eq!(more.count, 40 - stored_follower::REFUSED_A_BLOCK_MAX as u64);
    assert_eq!(store.summary().expect("sound").expect("written").refused, 41);
    // Whoever was stopped in between has the same, and the chain may leave the block.
    let again = scene.store("again.redb");
    scene.follow(&again).expect("a steady source");
    assert_eq!(log_of(&again), log);
    let depth = scene.toy.node.chain().height() - height + 1;
    replace_last(&mut scene, depth);
    scene.follow(&store).expect("a steady source");
    assert_eq!(store.summary().expect("sound").expect("written").refused, 1);
}

#[test]
fn a_block_full_of_false_anchors_is_hashed_once() {
    let scene = Scene::new();
    let announcement = Announcement { batch: 2, payload_hash: PayloadHash::NONE, root_after: 0u64.into() };
    let output = TxOut { value: Amount::ZERO, script_pubkey: announcement.script_pubkey(scene.toy.params.chain_id()) };
    let transaction = |number: u32| Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn { previous_output: OutPoint::new(Txid::all_zeros(), number), ..TxIn::default() }],
        output: vec![output.clone()],
    };
    let block: Vec<Transaction> = (0..6_000).map(transaction).collect();
    let started = Instant::now();
    assert_eq!(block.iter().map(Transaction::compute_txid).collect::<BTreeSet<_>>().len(), block.len());
    let once = started.elapsed();
    let started = Instant::now();
    assert_eq!(stored_follower::anchor_facts(&block, &scene.toy.params).len(), block.len());
    // A hash of every transaction for each of them would take some thousand times as long.
    assert!(started.elapsed() < once * 100 + Duration::from_millis(500), "{:?}, {once:?}", started.elapsed());
}
