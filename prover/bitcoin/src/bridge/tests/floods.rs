//! Floods: whoever pays the bridge any number of coins, of any value and age, keeps neither deposits from moving nor
//! payouts from being made.

use super::rig::{DEPOSIT_MIN_SAT, FINAL_DEPTH_BLOCKS, REFUND_DELAY_BLOCKS, View, World};
use crate::bridge::{
    link::MAX_LINK_WEIGHT_WU,
    plan::{Plan, PlanError, plan, sign_fee_inputs},
};
use bitcoin::{Amount, OutPoint, Transaction, TxOut};
use proptest::prelude::*;
use std::collections::HashSet;
use taproof_verifier::{bridge::OUTPUT_MIN_SAT, deposit::Deposit};

const A: [u8; 20] = [0xaa; 20];
/// A link of this weight holds a few dozen coins, so that small floods do what large ones do to a whole one.
const SMALL_LINK_WU: u64 = 24_000;

impl World {
    /// One transaction that pays these amounts to the bridge's own script.
    fn gifts(&mut self, amounts: &[u64]) -> Transaction {
        let script_pubkey = self.params.bridge().script_pubkey();
        let gift = |amount: &u64| TxOut { value: Amount::from_sat(*amount), script_pubkey: script_pubkey.clone() };
        let outputs = amounts.iter().map(gift).collect();
        self.pay(outputs)
    }

    /// One transaction that makes a deposit of each amount.
    fn deposits(&mut self, amounts: &[u64]) -> Transaction {
        let (owner, refund) = (*self.owner().public(), self.refund_key(0).public());
        let outputs = amounts.iter().flat_map(|amount| {
            Deposit { amount_sat: *amount, owner, refund }.outputs(self.params.bridge(), self.params.chain_id())
        });
        let outputs = outputs.collect();
        self.pay(outputs)
    }

    /// A link within a weight, which every signer must take.
    fn link_within(&mut self, view: &View, weight_max_wu: u64) -> Result<Plan, PlanError> {
        let coin = self.coin();
        let funding = [coin];
        let mut request = self.request(view, &funding);
        (request.payouts_max, request.weight_max_wu) = (u32::MAX, weight_max_wu);
        let mut planned = plan(&request)?;
        sign_fee_inputs(&mut planned.psbt, &self.poster);
        assert!(planned.weight_wu <= weight_max_wu, "{} WU", planned.weight_wu);
        let summary = self.check(&planned.psbt, view).expect("signers take what is planned").summary();
        assert_eq!((summary.deposits, summary.paid_sat), (planned.deposits, planned.paid_sat));
        Ok(planned)
    }
}

/// The deposits that can be moved, those whose refund opens first at the front.
fn movable(view: &View) -> Vec<(u32, OutPoint)> {
    let scan = &view.scan;
    let coins = scan.coins().into_iter().filter(|coin| scan.is_spendable(coin));
    let mut deposits: Vec<_> = coins.filter_map(|coin| Some((scan.refund_height(coin)?, coin.outpoint))).collect();
    deposits.sort();
    deposits
}

#[test]
fn gifts_of_dust_neither_keep_deposits_from_moving_nor_payouts_from_finding_value() {
    let mut world = World::new();
    let gifts = world.gifts(&[OUTPUT_MIN_SAT; 100]);
    world.mine(&[gifts]);
    let first = world.deposit(50_000, 0);
    world.mine(&[first]);
    let gifts = world.gifts(&[OUTPUT_MIN_SAT; 900]);
    world.mine(&[gifts]);
    let second = world.deposit(70_000, 1);
    world.mine(&[second]);
    let note = world.note(0, 2, &[(110_000, A)]);
    world.mine(&[note]);
    world.mine_empty(FINAL_DEPTH_BLOCKS);
    let view = world.view();
    let planned = world.plan(&view).unwrap();
    assert_eq!((planned.deposits, planned.paid_sat), (2, 110_000));
    // Both deposits and the coin for the fee: no gift is paid for.
    assert_eq!(planned.psbt.inputs.len(), 3);
    world.check(&planned.psbt, &view).unwrap();
}

#[test]
fn gifts_are_spent_where_value_is_missing_the_largest_first() {
    // A depositor takes back what was credited, and the bridge is short of it.
    let mut world = World::new();
    let [kept, taken] = [(50_000, 0), (70_000, 1)].map(|(amount, refund)| world.deposit(amount, refund));
    let taken_out = OutPoint { txid: taken.compute_txid(), vout: 0 };
    world.mine(&[kept, taken.clone()]);
    let note = world.note(0, 2, &[(100_000, A)]);
    world.mine(&[note]);
    world.mine_empty(u32::from(REFUND_DELAY_BLOCKS));
    let key = world.refund_key(1);
    let confirmations = world.chain.height() + 1 - world.chain.coin(&taken_out).unwrap().height;
    let unspent = crate::node::Unspent { output: taken.output[0].clone(), confirmations, is_coinbase: false };
    let to = world.poster.script_pubkey();
    let refund =
        crate::bridge::deposit::refund(&world.params, taken_out, &unspent, &key, to, super::rig::rate("1")).unwrap();
    world.mine(&[refund]);
    let view = world.view();
    let short = world.plan(&view).unwrap();
    assert_eq!((short.binding.count, short.deposits), (0, 1), "what is left is moved all the same");
    let gifts = world.gifts(&[OUTPUT_MIN_SAT, 45_000, 1_000, 6_000, OUTPUT_MIN_SAT]);
    world.mine(&[gifts]);
    let view = world.view();
    let planned = world.plan(&view).unwrap();
    assert_eq!(planned.paid_sat, 100_000);
    let spent: Vec<u64> =
        planned.psbt.inputs[..3].iter().map(|input| input.witness_utxo.as_ref().unwrap().value.to_sat()).collect();
    assert_eq!((spent.as_slice(), planned.psbt.inputs.len()), ([50_000, 45_000, 6_000].as_slice(), 4));
}

#[test]
fn a_whole_link_of_deposits_is_within_its_weight() {
    let mut world = World::funded(&[50_000], &[]);
    for _ in 0..2 {
        let flood = world.deposits(&[4 * DEPOSIT_MIN_SAT; 500]);
        world.mine(&[flood]);
    }
    let payouts: Vec<(u64, [u8; 20])> = (0..1_500).map(|_| (OUTPUT_MIN_SAT, A)).collect();
    let note = world.note(1, 1_001, &payouts);
    world.mine(&[note]);
    world.mine_empty(FINAL_DEPTH_BLOCKS);
    let view = world.view();
    let planned = world.link_within(&view, MAX_LINK_WEIGHT_WU).unwrap();
    // Deposits have half of the weight, and payouts what they need of the other.
    assert!(planned.deposits >= 390, "{}", planned.deposits);
    assert!((planned.binding.count, planned.deposits_left) == (1_500, 1_001 - planned.deposits));
    assert!(planned.weight_wu > MAX_LINK_WEIGHT_WU - 9_000, "{}", planned.weight_wu);
}

/// Coins that are paid to the bridge in one block.
#[derive(Clone, Debug)]
struct Wave {
    gifts: Vec<u64>,
    deposits: Vec<u64>,
    empty_blocks: u32,
}

fn wave() -> impl Strategy<Value = Wave> {
    let gift = prop_oneof![8 => Just(OUTPUT_MIN_SAT), 1 => 1..5_000u64, 1 => 1_000..200_000u64];
    let deposit = prop_oneof![4 => Just(DEPOSIT_MIN_SAT), 1 => DEPOSIT_MIN_SAT..100_000];
    let deposits = prop_oneof![prop::collection::vec(deposit.clone(), 0..3), prop::collection::vec(deposit, 0..60)];
    let gifts = prop_oneof![Just(Vec::new()), prop::collection::vec(gift, 0..120)];
    (gifts, deposits, 0..3u32).prop_map(|(gifts, deposits, empty_blocks)| Wave { gifts, deposits, empty_blocks })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// After any flood: each link moves the deposits whose refund opens first, payouts go out with each link that the
    /// most valuable coins of half of it can pay, and in a few links all is moved and paid.
    #[test]
    fn no_flood_stops_deposits_or_payouts(
        waves in prop::collection::vec(wave(), 1..5),
        shares in prop::collection::vec(1..20u64, 0..40),
    ) {
        let mut world = World::funded(&[DEPOSIT_MIN_SAT], &[]);
        let mut deposited = 1;
        for Wave { gifts, deposits, empty_blocks } in &waves {
            let gifts = (!gifts.is_empty()).then(|| world.gifts(gifts));
            let paid = [gifts, (!deposits.is_empty()).then(|| world.deposits(deposits))];
            world.mine(&paid.into_iter().flatten().collect::<Vec<_>>());
            world.mine_empty(*empty_blocks);
            deposited += deposits.len() as u64;
        }
        let balance = DEPOSIT_MIN_SAT + waves.iter().flat_map(|wave| &wave.deposits).sum::<u64>();
        let parts: u64 = shares.iter().sum::<u64>().max(1);
        let payouts: Vec<(u64, [u8; 20])> = shares.iter().map(|share| (balance * share / parts, A)).collect();
        let note = world.note(1, deposited, &payouts);
        world.mine(&[note]);
        world.mine_empty(FINAL_DEPTH_BLOCKS);
        let mut view = world.view();
        let due = view.scan.unpaid().count();
        // What a link of this weight moves and pays at the least while both wait.
        let least = 10;
        let links_max = deposited as usize / least + due / least + 2;
        for link in 0..=links_max {
            let planned = match world.link_within(&view, SMALL_LINK_WU) {
                Err(PlanError::Nothing) => break,
                planned => planned.expect("what is credited can be moved and paid"),
            };
            prop_assert!(link < links_max, "{} links were not enough", links_max);
            let inputs: HashSet<OutPoint> =
                planned.psbt.unsigned_tx.input.iter().map(|input| input.previous_output).collect();
            let waiting = movable(&view);
            // No deposit is passed over for `least` others whose refund opens later.
            let first: Vec<_> = waiting.iter().take(least.min(waiting.len())).collect();
            prop_assert!(first.iter().all(|(_, outpoint)| inputs.contains(outpoint)), "{first:?}");
            let transaction = world.sign(&planned.psbt, &view);
            world.mine(&[transaction]);
            view.sync(&world.chain);
            prop_assert!(view.scan.faults().is_empty());
        }
        prop_assert_eq!(view.scan.unpaid().count(), 0);
        prop_assert!(movable(&view).is_empty());
    }
}
