//! What [`answer`] plans keeps the rules of [`settle`], whatever waits and whatever else the batch holds.

use super::*;
use alloc::{collections::BTreeMap, vec::Vec};
use std::sync::LazyLock;

/// The least that is paid out to the destination of all requests here.
const MIN_SAT: u64 = 330;
/// Cells of the tree of two levels.
const CELLS: u32 = 64;

static KEYS: LazyLock<Vec<PublicKey>> = LazyLock::new(|| (1..4).map(key).collect());
/// Nobody checks a signature here.
static SIGNATURE: LazyLock<Signature> = LazyLock::new(|| sign(1, 1, &[Fr::from(0u64); 4]));

/// A request without signature: from, owner, nonce, amount and fee, each one of few.
type Ask = (u32, usize, u32, u64, u64);

fn unsigned((from, owner, nonce, amount, fee_sat): Ask) -> ExitRequest {
    let (owner, signature) = (KEYS[owner], *SIGNATURE);
    let destination = Destination::P2wpkh([5; 20]);
    let fields = ExitRequestFields {
        from: index(from),
        nonce,
        amount_sat: MIN_SAT + amount,
        fee_sat,
        destination,
        owner,
        signature,
    };
    fields.try_into().expect("within the bounds")
}

/// Requests on so many cells, some of them outside the tree.
fn asks(cells: u32) -> impl Strategy<Value = Vec<Ask>> {
    prop::collection::vec((0..cells, 0usize..3, 0u32..3, 0u64..2, 0u64..2), 1..1_000)
}

/// Of each cell of the tree what it holds: owner, nonce, and for how many of the requests its balance lasts.
fn accounts() -> impl Strategy<Value = Vec<Option<(usize, u32, u64)>>> {
    prop::collection::vec(prop::option::weighted(0.8, (0usize..3, 0u32..3, 0u64..4)), CELLS as usize)
}

/// The state that a queue meets, with the rules of accounts, and no tree.
struct Cells(BTreeMap<CellIndex, Cell>);

impl Cells {
    fn new(accounts: &[Option<(usize, u32, u64)>]) -> Self {
        let cell = |(i, account): (u32, &Option<(usize, u32, u64)>)| {
            let (owner, nonce, lasts_for) = (*account)?;
            let balance = lasts_for * (MIN_SAT + 2);
            Some((index(i), Cell::Account(Account { nonce, ..Account::new(KEYS[owner], Token::BITCOIN, balance) })))
        };
        Self((0..).zip(accounts).filter_map(cell).collect())
    }

    fn get(&self, index: CellIndex) -> CellElements {
        self.0.get(&index).copied().unwrap_or(Cell::Empty).elements()
    }

    /// Makes a withdrawal, if the account can.
    fn withdraw(&mut self, record: &WithdrawRecord) -> bool {
        let Some(Cell::Account(account)) = self.0.get_mut(&record.from) else { return false };
        let Some(rest) = account.balance.checked_sub(record.amount + record.fee) else { return false };
        (account.balance, account.nonce) = (rest, account.nonce + 1);
        true
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_is_planned_is_accepted_and_empties_the_queue(
        asks in (1..CELLS + 8).prop_flat_map(asks),
        accounts in accounts(),
        others in prop::collection::vec(0usize..1_000, 0..40),
        served_max in 0usize..200,
        shown_max in 0usize..80,
    ) {
        let depth = depth(2);
        let mut waiting: Vec<_> = (0..).zip(&asks).map(|(number, ask)| scanned(number, unsigned(*ask))).collect();
        let mut cells = Cells::new(&accounts);
        let mut others = others.iter().map(|other| unsigned(asks[other % asks.len()]).record());
        let [served_least, shown_least] = [served_max, shown_max].map(|most| most.max(REQUESTS_ENOUGH));
        let least = AnswerRoom { served_max: served_least, shown_max: shown_least };
        while let Some(first) = waiting.first().copied() {
            let room = AnswerRoom { served_max, shown_max };
            let plan = answer(&waiting, depth, true, room, |index| cells.get(index));
            prop_assert!(plan.served.len() <= least.served_max && plan.shown.len() <= least.shown_max);
            let show = |index: &CellIndex| show(index.get(), cells.get(*index));
            let shown: Vec<_> = plan.shown.iter().map(show).collect();
            let mut records: Vec<_> = plan.served.iter().map(ExitRequest::record).collect();
            let alone = settle(&waiting, serving(records.iter().copied()), &shown, depth);
            let is_served = |exit: &&SettledRequest| exit.outcome == Outcome::Served;
            let served = |settled: &[SettledRequest]| settled.iter().filter(is_served).count();
            prop_assert_eq!(alone.map(|settled| served(&settled)), Ok(plan.served.len()), "each takes one record");
            for request in &plan.served {
                prop_assert!(request.is_servable_by(&cells.get(request.from())), "after those before it");
                prop_assert!(cells.withdraw(&request.record()));
            }
            // Somebody withdraws besides what happens to be demanded as well.
            records.extend(others.by_ref().take(8).filter(|record| cells.withdraw(record)));
            let settled = settle(&waiting, serving(records), &shown, depth);
            prop_assert!(settled.is_ok(), "{settled:?}");
            let settled: Vec<u64> = settled.iter().flatten().map(|settled| settled.request.index).collect();
            prop_assert_eq!(settled.first(), Some(&first.index));
            waiting.retain(|exit| settled.binary_search(&exit.index).is_err());
        }
    }
}

#[test]
fn a_record_counts_where_it_is_taken() {
    // The first request differs from the second in its owner alone.
    let asked = |from: u32, owner: usize| unsigned((from, owner, 0, 0, 0));
    let mut requests = alloc::vec![asked(0, 1), asked(0, 0)];
    requests.extend((2..CELLS).map(|cell| asked(cell, 0)));
    requests.push(asked(1, 0));
    let waiting: Vec<_> = (0..).zip(&requests).map(|(number, request)| scanned(number, *request)).collect();
    let mut accounts = alloc::vec![None; CELLS as usize];
    accounts[..2].fill(Some((0, 0, 1)));
    let cells = Cells::new(&accounts);
    let plan = answer(&waiting, depth(2), true, AnswerRoom::default(), |index| cells.get(index));
    assert_eq!(plan.served, [requests[1], requests[64]]);
    assert_eq!(plan.shown, (2..CELLS).map(index).collect::<Vec<_>>());
}

#[test]
fn a_good_request_is_served_whatever_waits_before_it() {
    // A thousand bogus requests, each on a cell of its own, of which a batch must refute 64.
    let depth = Depth::new(5).expect("five levels");
    let mut requests: Vec<_> = (0..1_000).map(|i| unsigned((100 + i, 1, 0, 0, 0))).collect();
    requests.extend([unsigned((1, 0, 0, 0, 0)), unsigned((1, 0, 1, 1, 0)), unsigned((1, 0, 3, 1, 0))]);
    let waiting: Vec<_> = (0..).zip(&requests).map(|(number, request)| scanned(number, *request)).collect();
    let cells = Cells::new(&[None, Some((0, 0, 3))]);
    for (room, shown) in [(AnswerRoom::default(), 64), (AnswerRoom { served_max: 0, shown_max: 300 }, 300)] {
        let plan = answer(&waiting, depth, true, room, |index| cells.get(index));
        assert_eq!(plan.served, requests[1_000..1_002], "one after another, as far as the nonces go");
        assert_eq!(plan.shown, (100..100 + shown).map(index).collect::<Vec<_>>());
        let refutation = |index: &CellIndex| show(index.get(), Cell::Empty);
        let refutations: Vec<_> = plan.shown.iter().map(refutation).collect();
        let settled = settle(&waiting, serving(plan.served.iter().map(ExitRequest::record)), &refutations, depth);
        let settled: Vec<_> =
            settled.expect("the plan keeps the rules").iter().map(|settled| settled.request.index).collect();
        assert_eq!(settled, (0..u64::from(shown)).chain([1_000, 1_001]).collect::<Vec<_>>());
    }
}

#[test]
fn what_there_is_no_room_to_serve_waits_behind_what_is_served() {
    // One account asks for more than a batch has room for.
    let requests: Vec<_> = (0..100).map(|nonce| unsigned((1, 0, nonce, 0, 0))).collect();
    let waiting: Vec<_> = (0..).zip(&requests).map(|(number, request)| scanned(number, *request)).collect();
    let cells = Cells::new(&[None, Some((0, 0, 200))]);
    for (served_max, served) in [(0, REQUESTS_ENOUGH), (80, 80), (200, 100)] {
        let room = AnswerRoom { served_max, shown_max: 9 };
        let plan = answer(&waiting, depth(2), true, room, |index| cells.get(index));
        assert_eq!((plan.served.len(), plan.shown.len()), (served, 0));
        let settled = settle(&waiting, serving(plan.served.iter().map(ExitRequest::record)), &[], depth(2));
        assert_eq!(settled.map(|settled| settled.len()), Ok(served));
    }
}

#[test]
fn requests_that_share_their_terms_do_not_stand_for_as_long_as_one_of_them_is_served() {
    // All but the last have nonces that the account never reaches, and the terms of what is asked once a batch. The one
    // record is taken by the oldest.
    let mut requests: Vec<_> = (0..50).map(|nonce| unsigned((1, 0, 1_000 + nonce, 0, 0))).collect();
    requests.push(unsigned((1, 0, 0, 0, 0)));
    let waiting: Vec<_> = (0..).zip(&requests).map(|(number, request)| scanned(number, *request)).collect();
    let cells = Cells::new(&[None, Some((0, 0, 1_000))]);
    let plan = |room| answer(&waiting, depth(2), true, room, |index| cells.get(index));
    let settled = |plan: &Answer| {
        let shown: Vec<_> = plan.shown.iter().map(|index| show(index.get(), cells.get(*index))).collect();
        settle(&waiting, serving(plan.served.iter().map(ExitRequest::record)), &shown, depth(2)).map(|all| all.len())
    };
    let willing = plan(AnswerRoom::STEPS[0]);
    assert_eq!((willing.served.len(), willing.shown.as_slice()), (1, &[index(1)][..]));
    assert_eq!(settled(&willing), Ok(51));
    // Who does the least shows nothing for them: nothing demands it.
    let least = plan(AnswerRoom::default());
    assert_eq!((least.served.len(), least.shown.len()), (1, 0));
    assert_eq!(settled(&least), Ok(1));
}

/// How many batches it takes until the requests that wait at first do no longer, where one account makes one more
/// request before each, in the order of its nonces, and all are of one amount.
fn batches_until_settled(mut requests: Vec<ExitRequest>) -> usize {
    let mut cells = Cells::new(&[None, Some((0, 0, 1_000))]);
    let first = requests.len() as u64;
    requests.push(unsigned((1, 0, 0, 0, 0)));
    let mut waiting: Vec<_> = (0..).zip(&requests).map(|(number, request)| scanned(number, *request)).collect();
    let mut batches = 0;
    while waiting.iter().any(|scanned| scanned.index < first) {
        let plan = answer(&waiting, depth(2), true, AnswerRoom::STEPS[0], |index| cells.get(index));
        let shown: Vec<_> = plan.shown.iter().map(|index| show(index.get(), cells.get(*index))).collect();
        let settled = settle(&waiting, serving(plan.served.iter().map(ExitRequest::record)), &shown, depth(2));
        plan.served.iter().for_each(|request| assert!(cells.withdraw(&request.record())));
        let settled: Vec<u64> =
            settled.expect("the plan keeps the rules").iter().map(|settled| settled.request.index).collect();
        waiting.retain(|scanned| settled.binary_search(&scanned.index).is_err());
        let Some(Cell::Account(account)) = cells.get(index(1)).cell() else { panic!("the account stays") };
        batches += 1;
        waiting.push(scanned(first + batches, unsigned((1, 0, account.nonce, 0, 0))));
    }
    batches as usize
}

#[test]
fn requests_of_one_amount_do_not_wait_for_a_batch_each() {
    let of_nonces = |nonces: &mut dyn Iterator<Item = u32>| {
        batches_until_settled(nonces.map(|nonce| unsigned((1, 0, nonce, 0, 0))).collect())
    };
    // Nonces that the account does not come to; those that it does, backwards and forwards.
    assert_eq!(of_nonces(&mut (1_000..1_050)), 1);
    assert!(of_nonces(&mut (1..50).rev()) <= 2);
    assert!(of_nonces(&mut (1..50)) <= 2);
    // Those of somebody else's key.
    assert_eq!(batches_until_settled((0..50).map(|nonce| unsigned((1, 1, nonce, 0, 0))).collect()), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_request_waits_behind_others_of_one_account_for_long(
        nonces in prop::collection::vec((0usize..2, 0u32..20, 0u64..2), 1..60),
    ) {
        let requests = nonces.iter().map(|(owner, nonce, amount)| unsigned((1, *owner, *nonce, *amount, 0)));
        prop_assert!(batches_until_settled(requests.collect()) <= 3);
    }
}
