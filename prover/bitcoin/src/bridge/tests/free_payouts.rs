//! Withdrawals too small for an output cost whoever makes them next to nothing, and hold up nobody: neither links, nor
//! memory, nor what is kept.

use super::rig::{FINAL_DEPTH_BLOCKS, View, World};
use crate::bridge::{
    check::CheckError,
    link::{Binding, MAX_PAYOUTS},
    plan::{Plan, PlanError, plan, sign_fee_inputs},
    scan::{BridgeScan, Snapshot},
};
use taproof_verifier::{bridge::OUTPUT_MIN_SAT, follow::Payout, headers::BlockId, record::Destination};

const A: [u8; 20] = [0xaa; 20];

impl World {
    /// The next link with as many payouts as one may make, which signers must take; its block follows.
    fn link(&mut self, view: &mut View) -> Plan {
        let planned = self.whole_link(view).unwrap();
        let summary = self.check(&planned.psbt, view).expect("signers take what is planned").summary();
        assert_eq!((summary.binding, summary.payouts), (planned.binding, planned.payouts));
        let link = self.sign(&planned.psbt, view);
        assert_eq!(self.chain.check_transactions(std::slice::from_ref(&link)).unwrap()[0].nonstandard, None);
        self.mine(&[link]);
        view.sync(&self.chain);
        assert!(view.scan.faults().is_empty(), "{:?}", view.scan.faults());
        planned
    }

    fn whole_link(&mut self, view: &View) -> Result<Plan, PlanError> {
        let coin = self.coin();
        let funding = [coin];
        let mut request = self.request(view, &funding);
        request.payouts_max = u32::MAX;
        let mut planned = plan(&request)?;
        sign_fee_inputs(&mut planned.psbt, &self.poster);
        Ok(planned)
    }

    /// A note of withdrawals alone.
    fn withdraw(&mut self, consumed: u64, amounts: &[u64]) {
        let withdrawals: Vec<(u64, [u8; 20])> = amounts.iter().map(|amount| (*amount, A)).collect();
        let note = self.note(consumed, consumed, &withdrawals);
        self.mine(&[note]);
    }
}

/// A free one, at an index.
fn free(index: u64) -> Payout {
    let anchor = BlockId { height: 0, hash: bitcoin::hashes::Hash::all_zeros() };
    let destination = Destination::P2wpkh(A);
    Payout { index, batch: 0, position: 0, amount_sat: OUTPUT_MIN_SAT - 1, destination, anchor }
}

#[test]
fn an_honest_payout_behind_thousands_of_free_ones_is_in_the_next_link() {
    let mut world = World::funded(&[50_000], &[]);
    for _ in 0..3 {
        world.withdraw(1, &vec![0; MAX_PAYOUTS as usize]);
    }
    world.withdraw(1, &[30_000, OUTPUT_MIN_SAT - 1]);
    world.mine_empty(FINAL_DEPTH_BLOCKS);
    let mut view = world.view();
    assert_eq!((view.scan.due_count(), view.scan.unpaid().len()), (6_002, 1));
    let planned = world.link(&mut view);
    assert_eq!((planned.binding, planned.paid_sat), (Binding { first: 0, count: 6_002 }, 30_000));
    assert_eq!((view.scan.next_index(), view.scan.unpaid().len()), (6_002, 0));
}

#[test]
fn a_link_makes_as_many_payouts_as_it_may_and_settles_the_free_ones_between_them() {
    let amounts = [OUTPUT_MIN_SAT - 1, OUTPUT_MIN_SAT, 0].repeat(MAX_PAYOUTS as usize + 1);
    let mut world = World::funded(&[5_000_000], &[]);
    amounts.chunks(3_000).for_each(|part| world.withdraw(1, part));
    world.mine_empty(FINAL_DEPTH_BLOCKS);
    let mut view = world.view();
    let planned = world.whole_link(&view).unwrap();
    // Up to the next payout that has an output.
    let count = 3 * MAX_PAYOUTS + 1;
    assert_eq!((planned.payouts, planned.binding), (MAX_PAYOUTS as usize, Binding { first: 0, count }));
    let mut bound = planned.psbt.clone();
    for count in [count, count - 1, count - 2] {
        bound.unsigned_tx.output[0] = Binding { first: 0, count }.output(world.params.chain_id());
        sign_fee_inputs(&mut bound, &world.poster);
        assert_eq!(world.check(&bound, &view).unwrap().summary().payouts, planned.payouts, "{count} indices");
    }
    bound.unsigned_tx.output[0] = Binding { first: 0, count: count - 3 }.output(world.params.chain_id());
    let last = world.check(&bound, &view).unwrap_err();
    assert!(matches!(last, CheckError::UnknownOutput(_)), "{last}");
    bound.unsigned_tx.output[0] = Binding { first: 0, count: count + 1 }.output(world.params.chain_id());
    let one_more = world.check(&bound, &view).unwrap_err();
    assert_eq!(one_more, CheckError::TooManyPayouts(MAX_PAYOUTS as usize + 1));
    world.link(&mut view);
    assert_eq!(world.link(&mut view).binding, Binding { first: count.into(), count: 2 });
}

#[test]
fn free_payouts_alone_are_worth_no_link_and_go_with_the_next() {
    let mut world = World::funded(&[50_000], &[]);
    let mut view = world.view();
    world.link(&mut view);
    world.withdraw(1, &[0; 5]);
    world.mine_empty(FINAL_DEPTH_BLOCKS);
    view.sync(&world.chain);
    assert!(matches!(world.whole_link(&view), Err(PlanError::Nothing)));
    // What is too much for the bridge is named, and not the free ones before it.
    let deposit = world.deposit(10_000, 1);
    world.mine(&[deposit]);
    let note = world.note(1, 2, &[]);
    world.mine(&[note]);
    world.mine_empty(FINAL_DEPTH_BLOCKS);
    view.sync(&world.chain);
    let planned = world.link(&mut view);
    assert_eq!((planned.binding, planned.deposits, planned.payouts), (Binding { first: 0, count: 5 }, 1, 0));
}

#[test]
fn millions_of_free_payouts_take_no_room() {
    let mut world = World::funded(&[50_000], &[]);
    let mut view = world.view();
    let scanned = view.scan.scanned();
    let room = |scan: &BridgeScan| postcard::to_stdvec(&scan.snapshot(scanned)).unwrap().len();
    let before = room(&view.scan);
    world.mine_empty(1);
    let next = BlockId { height: world.chain.height(), hash: world.chain.tip_hash() };
    let honest = Payout { amount_sat: OUTPUT_MIN_SAT, ..free(1_500_000) };
    let due = (0..1_500_000).map(free).chain([honest]).chain((1_500_001..3_000_000).map(free));
    view.scan.connect_with(next, &[], std::iter::empty(), due);
    assert_eq!((view.scan.due_count(), view.scan.unpaid().copied().collect::<Vec<_>>()), (3_000_000, vec![honest]));
    assert!(room(&view.scan) < before + 150, "{before} bytes, then {}", room(&view.scan));
    let kept = BridgeScan::restore(world.params.clone(), view.scan.snapshot(next)).unwrap();
    assert_eq!((kept.due_count(), kept.unpaid().copied().collect::<Vec<_>>()), (3_000_000, vec![honest]));
}

/// A snapshot in which so many payouts are due, one of them with an output.
fn with_due(view: &View, index: u64, due_count: u64) -> Option<Snapshot> {
    let honest = Payout { amount_sat: 30_000, ..free(index) };
    let mut snapshot = serde_json::to_value(view.scan.snapshot(view.scan.scanned())).unwrap();
    snapshot["due_count"] = due_count.into();
    snapshot["due"] = serde_json::json!([{
        "index": honest.index, "batch": honest.batch, "position": honest.position, "amount_sat": honest.amount_sat,
        "destination": serde_json::to_value(honest.destination).unwrap(),
        "anchor": serde_json::to_value(honest.anchor).unwrap(),
    }]);
    serde_json::from_value(snapshot).ok()
}

/// More of them than a binding can count.
#[test]
fn however_many_free_payouts_there_are_links_get_past_them() {
    let mut world = World::funded(&[50_000], &[]);
    let mut view = world.view();
    let whole = u64::from(u32::MAX);
    let snapshot = with_due(&view, 2 * whole + 5, 2 * whole + 9).unwrap();
    view.scan = BridgeScan::restore(world.params.clone(), snapshot).unwrap();
    for (first, count, payouts) in [(0, u32::MAX, 0), (whole, u32::MAX, 0), (2 * whole, 9, 1)] {
        let planned = world.link(&mut view);
        assert_eq!((planned.binding, planned.payouts), (Binding { first, count }, payouts));
    }
    assert!(matches!(world.whole_link(&view), Err(PlanError::Nothing)));
    // What no scan has kept is not gone on from.
    let contradictions = [(9, 9), (9, 0)];
    for (index, count) in contradictions {
        let snapshot = with_due(&view, index, count).unwrap();
        assert!(BridgeScan::restore(world.params.clone(), snapshot).is_none(), "payout {index} of {count}");
    }
}
