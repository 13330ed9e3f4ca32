//! Claims beside exits: how both count together, and that what [`answer`] plans opens every lock that can be opened.

use super::*;
use crate::{
    evidence::{ClaimRequest, Secret},
    field::pack,
};
use alloc::collections::BTreeMap;

fn claim(cell: u32, secret: u8, height_blocks: u32) -> ClaimRequest {
    ClaimRequest { cell: index(cell), secret: [secret; 32], height_blocks }
}

/// A hash lock of a secret for an account of bitcoin.
fn lock(secret: u8, payee: u32, expiry: u32, sum: u64) -> CellElements {
    let amounts = pack([(sum, 64), (0, 64), (0, 32), (0, 32), (1, 8)]);
    let terms = pack([(0, 32), (payee.into(), 32), (expiry.into(), 32), (0, 32), (0, 16), (0, 32)]);
    let word = Secret::Preimage([secret; 32]).word().expect("a preimage has a word");
    CellElements([Fr::from(4u64), amounts, terms, Fr::ZERO, word, Fr::ZERO, Fr::ZERO, Fr::ZERO])
}

fn settle_all(
    waiting: &[ScannedRequest],
    claims: Option<Vec<ClaimRequest>>,
    refutations: &[Refutation],
) -> Result<Vec<(u64, Outcome)>, u64> {
    let records = ServingRecords { withdrawals: Vec::new(), claims };
    let settled = settle(waiting, records, refutations, depth(3)).map_err(|LeftOutError { index }| index)?;
    Ok(settled.iter().map(|settled| (settled.request.index, settled.outcome)).collect())
}

#[test]
fn a_claim_that_two_cells_refute_counts_as_two() {
    // A lock for a cell that is no account, and in front of it exits on cells of their own.
    for (others, is_enough) in [(61, false), (62, true)] {
        let mut waiting: Vec<_> = (0..others).map(|i| scanned(i, request(3, 10 + i as u32, 0, 505))).collect();
        waiting.push(scanned(others, claim(1, 1, 1)));
        waiting.push(scanned(others + 1, request(3, 9, 0, 505)));
        let mut shown: Vec<_> = (0..others).map(|i| show(10 + i as u32, Cell::Empty)).collect();
        shown.extend([show(1, lock(1, 2, 5, 7)), show(2, Cell::Empty)]);
        let settled = settle_all(&waiting, Some(Vec::new()), &shown);
        let refuted = (0..=others).map(|i| (i, Outcome::Refuted)).collect();
        assert_eq!(settled, if is_enough { Ok(refuted) } else { Err(others + 1) });
    }
    // A cell that refutes two claims counts once.
    let locks = [show(1, lock(1, 2, 5, 7)), show(2, Cell::Empty), show(3, lock(1, 2, 5, 7))];
    let waiting = [scanned(0, claim(1, 1, 1)), scanned(1, claim(3, 1, 1)), scanned(2, claim(4, 1, 1))];
    assert_eq!(settle_all(&waiting, Some(Vec::new()), &locks), Err(2));
}

#[test]
fn of_a_cell_whose_lock_is_opened_nothing_is_left_to_claim() {
    use Outcome::{Refuted, Served};
    let exit = scanned(2, request(3, 1, 0, 505));
    let waiting = [scanned(0, claim(1, 1, 1)), scanned(1, claim(1, 2, 1)), exit];
    let records = || Some([claim(1, 1, 1)].to_vec());
    assert_eq!(settle_all(&waiting, records(), &[]), Ok([(0, Served)].to_vec()), "nothing is shown");
    let settled = [(0, Served), (1, Refuted), (2, Refuted)].to_vec();
    assert_eq!(settle_all(&waiting, records(), &[show(1, lock(1, 2, 5, 7))]), Ok(settled));
}

#[test]
fn claims_are_void_where_no_lock_is_opened_and_count_as_nothing_done() {
    let claims: Vec<_> = (0..70).map(|i| scanned(i, claim(i as u32, 1, 1))).collect();
    let exit = scanned(70, request(3, 71, 0, 505));
    let waiting = [claims.as_slice(), &[exit]].concat();
    assert_eq!(settle_all(&waiting, None, &[]), Err(70));
    let settled = settle_all(&waiting, None, &[show(71, Cell::Empty)]);
    let void = (0..70).map(|i| (i, Outcome::Void)).chain([(70, Outcome::Refuted)]).collect();
    assert_eq!(settled, Ok(void));
    assert_eq!(settle_all(&waiting, Some(Vec::new()), &[show(71, Cell::Empty)]), Err(0), "where locks are opened");
    let plan = answer(&waiting, depth(3), false, AnswerRoom::default(), |_| CellElements::default());
    assert_eq!((plan.claims, plan.shown), (Vec::new(), [index(71)].to_vec()));
}

#[test]
fn a_record_serves_one_claim_by_cell_height_and_secret() {
    let waiting = [scanned(0, claim(1, 1, 4)), scanned(1, claim(2, 1, 4))];
    let serve = |claims: &[ClaimRequest]| settle_all(&waiting, Some(claims.to_vec()), &[]);
    let both = [(0, Outcome::Served), (1, Outcome::Served)].to_vec();
    assert_eq!(serve(&[claim(2, 1, 4), claim(1, 1, 4)]), Ok(both));
    assert_eq!(serve(&[claim(1, 1, 4), claim(1, 1, 4)]), Err(1));
    for other in [claim(3, 1, 4), claim(1, 2, 4), claim(1, 1, 3), claim(1, 1, 5)] {
        assert_eq!(serve(&[other, claim(2, 1, 4)]), Err(0));
    }
}

/// Cells of the tree of two levels.
const CELLS: u32 = 64;

/// What a request names: its cell, whether it is a claim, a secret or a nonce, and a height.
type Ask = (u32, bool, u8, u32);
/// What a cell is: nothing, an account with a nonce and a balance, or a lock with a secret, payee and expiry.
type Holds = (u8, u8, u64, u32, u32);

fn cell((kind, small, balance, payee, expiry): Holds) -> CellElements {
    match kind {
        0 => CellElements::default(),
        1 => Cell::Account(account(3, small.into(), balance * 505)).elements(),
        _ => lock(small, payee, expiry, balance),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn what_is_planned_opens_locks_and_empties_the_queue(
        asks in (1..CELLS + 8).prop_flat_map(|cells| {
            prop::collection::vec((0..cells, any::<bool>(), 0u8..3, 1u32..4), 1..300)
        }),
        holds in prop::collection::vec((0u8..4, 0u8..3, 0u64..4, 0..CELLS + 8, 0u32..4), CELLS as usize),
        served_max in 0usize..100,
        shown_max in 0usize..80,
    ) {
        let depth = depth(2);
        let fields = fields(3, 1, 0, 505);
        let unsigned = |from: u32, nonce: u32| {
            let fields = ExitRequestFields { from: index(from), nonce, owner: *KEY, ..fields };
            ExitRequest::try_from(fields).expect("within the bounds")
        };
        let mut ids = alloc::collections::BTreeSet::new();
        let request = |(cell, is_claim, small, height): &Ask| match is_claim {
            true => Request::from(claim(*cell, *small, *height)),
            false => unsigned(*cell, (*small).into()).into(),
        };
        let requests = asks.iter().map(request).filter(|request| ids.insert(request.id()));
        let mut waiting: Vec<_> = (0..).zip(requests).map(|(number, request)| scanned(number, request)).collect();
        let mut cells: BTreeMap<_, _> = (0..).map(index).zip(holds.into_iter().map(cell)).collect();
        while let Some(first) = waiting.first().copied() {
            let room = AnswerRoom { served_max, shown_max };
            let get = |index: CellIndex| cells[&index];
            let plan = answer(&waiting, depth, true, room, get);
            prop_assert!(plan.shown.len() <= shown_max.max(REQUESTS_ENOUGH + 1));
            prop_assert!(plan.served.len() + plan.claims.len() <= served_max.max(REQUESTS_ENOUGH));
            let shown: Vec<_> = plan.shown.iter().map(|index| show(index.get(), get(*index))).collect();
            let records = ServingRecords {
                withdrawals: plan.served.iter().map(ExitRequest::record).collect(),
                claims: Some(plan.claims.clone()),
            };
            let settled = settle(&waiting, records, &shown, depth);
            prop_assert!(settled.is_ok(), "{settled:?}");
            // Withdrawals first, then the locks, each by the state as it is then.
            for request in &plan.served {
                let elements = cells.get_mut(&request.from()).expect("in the tree");
                prop_assert!(request.is_servable_by(elements));
                elements.0[2] += Fr::ONE;
                elements.0[3] -= Fr::from(505u64);
            }
            for claim in &plan.claims {
                let refuted = QueuedClaim::new(*claim).refuted_by(depth, |index| cells.get(&index).copied());
                prop_assert_eq!(refuted, None);
                cells.insert(claim.cell, CellElements::default());
            }
            let settled = settled.expect("it was checked");
            for SettledRequest { request, outcome } in &settled {
                let is_made = request.request.claim().is_some_and(|claim| plan.claims.contains(claim));
                prop_assert_eq!(is_made, request.request.claim().is_some() && *outcome == Outcome::Served);
            }
            let settled: Vec<u64> = settled.iter().map(|settled| settled.request.index).collect();
            prop_assert_eq!(settled.first(), Some(&first.index));
            waiting.retain(|scanned| settled.binary_search(&scanned.index).is_err());
        }
    }
}

static KEY: std::sync::LazyLock<PublicKey> = std::sync::LazyLock::new(|| key(3));
