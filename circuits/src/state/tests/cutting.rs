//! Batches that are cut for circuits of several sizes: into the fewest chunks, the last of a kind in the smallest
//! circuit that holds it, whatever users send.

use super::{
    steps::{
        HEIGHT, POOL, TOKEN, apply_steps, clause, holdings, machines, order, pay, pay_to, run, step, step_plan, sums,
        traders,
    },
    trading::{alone, begun, fee, once, signed},
    *,
};
use crate::{
    chunk::assign,
    exchange::matching::LeftOutError,
    ops::{self, Order, Receive},
    step::{Limits, Refusal},
    transaction::{
        Clause, ClauseStep, Draft, Number, Once, Part, Purse, StepTransaction, Taken, Trade, closes_session,
        opens_session,
    },
};
use taproof_verifier::{
    cell::Pool,
    record::{Kind, StepRecord},
};

const SIZES: [u16; 3] = [1, 2, 5];

/// The plan of these tests: of each kind circuits of all sizes.
fn sized_plan() -> Plan {
    let sizes = || SlotCounts::try_from(SIZES.map(|size| NonZeroU16::new(size).expect("not zero")).to_vec());
    let sizes = || sizes().expect("a size");
    let step = Some(StepSlots { operations: ops::standard().set().hash(), slots: sizes() });
    let slots = Slots { deposit: sizes(), transfer: sizes(), open: sizes(), withdraw: sizes(), step };
    Plan { slots, ..step_plan() }
}

/// The slots of the chunks of a kind, each with how many are used.
fn cut(batch: &Batch, kind: Kind) -> Vec<(u16, usize)> {
    let chunks = batch.chunks.iter().filter(|chunk| chunk.statement.circuit.kind == kind);
    chunks.map(|chunk| (chunk.statement.circuit.slots, chunk.slots.len())).collect()
}

/// Full chunks of the largest size, and the smallest that holds the rest.
fn fewest(count: usize) -> Vec<(u16, usize)> {
    let mut chunks = vec![(5, 5); count / 5];
    chunks.extend(match count % 5 {
        0 => None,
        1 => Some((1, 1)),
        2 => Some((2, 2)),
        rest => Some((5, rest)),
    });
    chunks
}

/// The step that a refusal names, and why.
fn refusal(reason: TransitionError) -> (usize, usize, Refusal) {
    match reason {
        TransitionError::Steps(StepsError::Step { part, step, source }) => (part, step, source.refusal),
        other => panic!("{other}"),
    }
}

#[test]
fn every_count_is_cut_into_the_fewest_chunks_and_the_last_has_the_smallest_circuit_that_fits() {
    let transaction = |kind: Kind, nonce: u32| match kind {
        Kind::Transfer => transfer(1, 1, nonce, 2, 1, 1),
        Kind::Open => open(1, 1, nonce, 40 + nonce, 1, 1, 9),
        Kind::Withdraw => withdraw(1, 1, nonce, 330, 1),
        _ => run(vec![Part::Clause(clause(1, nonce.into(), vec![pay(1, 0, 1)]))]),
    };
    for count in 0..=11 {
        for kind in [Kind::Transfer, Kind::Open, Kind::Withdraw, Kind::Step] {
            let transactions: Vec<_> = (0..count).map(|nonce| transaction(kind, nonce)).collect();
            let batch = apply_steps(&mut traders(3), &sized_plan(), &transactions);
            assert_eq!((batch.applied.len(), cut(&batch, kind)), (transactions.len(), fewest(count as usize)));
            assert_eq!(batch.chunks.len(), fewest(count as usize).len());
        }
        let deposits: Vec<_> = (0..count).map(|number| deposit(number as u8, 5)).collect();
        let mut state = State::new(CHAIN, depth(2)).with_machines(machines());
        let batch = state.apply(&sized_plan(), &deposits, &[]).expect("a valid plan");
        assert_eq!((batch.deposits_applied, cut(&batch, Kind::Deposit)), (count as usize, fewest(count as usize)));
        batch.chunks.iter().for_each(|chunk| drop(assign(&machines(), chunk).expect("every chunk can be proven")));
    }
}

#[test]
fn sizes_count_the_chunks_and_slots_that_they_take() {
    let Plan { slots: Slots { transfer, .. }, .. } = sized_plan();
    for count in 0..=17 {
        let chunks = fewest(count);
        let slots = chunks.iter().map(|(slots, _)| usize::from(*slots)).sum();
        assert_eq!(transfer.chunks_and_slots(count), (chunks.len(), slots), "{count}");
    }
    let none = SlotCounts::try_from(Vec::new());
    assert_eq!(none, Err(NoSizeError));
    let twice = [5, 1, 5].map(|size| NonZeroU16::new(size).expect("not zero")).to_vec();
    let twice = SlotCounts::try_from(twice).expect("sizes");
    assert_eq!(twice.sizes().iter().map(|size| size.get()).collect::<Vec<_>>(), [1, 5]);
}

/// What an account does that is opened in the same batch: it gets a second holding, buys, pays from what it bought and
/// from what it was opened with, and withdraws.
fn journey() -> Vec<Transaction> {
    let buys = Trade { pool: index(POOL), sells_second: false, amount: 10_000, least: 38_000 };
    let [first, second] = [Purse::first(index(40)), Purse::second(index(40))];
    vec![
        open(1, 1, 0, 40, 50_000, 1, 9),
        alone(9, begun(40, 0).pair(index(40), Token(TOKEN))),
        alone(9, Draft::order(first, buys, fee(1), once(1))),
        alone(9, Draft::pay(second, 38_000, fee(1), once(2)).receive(Purse::second(index(2)), Taken::Exactly(38_000))),
        transfer(9, 40, 3, 2, 20_000, 1),
        withdraw(9, 40, 4, 330, 1),
    ]
}

#[test]
fn a_batch_mixes_payments_and_steps_that_depend_on_each_other_in_any_order() {
    for first in 0..6 {
        let mut state = traders(4);
        let before = sums(&state);
        let mut transactions = journey();
        transactions.rotate_left(first);
        let batch = apply_steps(&mut state, &sized_plan(), &transactions);
        assert_eq!((batch.rejected.as_slice(), batch.applied.len()), (&[][..], 6), "from {first}");
        assert_eq!(holdings(&state, 2), [1_020_000, 1_038_000]);
        let [bitcoin, bought] = holdings(&state, 40);
        assert_eq!(bitcoin, 50_000 - 10_000 - 20_000 - 330 - 3 - 1 - 1 - 1 - 1);
        assert!((1..2_000).contains(&bought), "{bought}");
        assert_eq!(sums(&state), [before[0] - 330, before[1]]);
        for (slots, used) in
            [Kind::Transfer, Kind::Open, Kind::Withdraw, Kind::Step].map(|kind| cut(&batch, kind)).concat()
        {
            assert!(SIZES.iter().find(|size| usize::from(**size) >= used) == Some(&slots), "{used} in {slots}");
        }
        // Two steps before the session, three of it, and two after it, in one run.
        assert_eq!(cut(&batch, Kind::Step), [(5, 5), (2, 2)]);
    }
}

#[test]
fn a_transaction_crosses_from_a_full_chunk_into_a_smaller_one() {
    let mut state = traders(4);
    let pays = |cell: u32, number: u8| Part::Clause(clause(number, 0, vec![pay(cell, 10, 1)]));
    let taken = |cell| Part::Step(step(Receive::NUMBER, cell, Receive::REST, [0; 3]).record);
    let long = run(vec![pays(1, 1), taken(2), pays(2, 2), taken(3), pays(3, 3), taken(1)]);
    let batch = apply_steps(&mut state, &sized_plan(), &[long]);
    assert_eq!(cut(&batch, Kind::Step), [(5, 5), (1, 1)]);
    // A lane is open between them.
    assert_ne!(batch.chunks[0].statement.registers.after, Fr::from(0u64));
    assert_eq!([1, 2, 3].map(|cell| holdings(&state, cell)[0]), [999_999; 3]);
}

/// A transaction of a sound clause and of others.
fn besides(parts: Vec<Part>) -> Transaction {
    let sound =
        Draft::pay(Purse::first(index(5)), 5, fee(1), once(0)).receive(Purse::first(index(2)), Taken::Exactly(5));
    run([vec![Part::Clause(signed(5, sound))], parts].concat())
}

/// A transaction, the part and the step that are refused, and whether a reason is the right one.
type Hostile = (Transaction, (usize, usize), fn(&Refusal) -> bool);

/// Every kind of badness in the second part of a transaction, and in the third where it is no clause; and which step is
/// named.
fn hostile() -> Vec<Hostile> {
    let pays = |once| Draft::pay(Purse::first(index(6)), 5, fee(1), once);
    let to = |cell: u32, taken| move |draft: Draft| draft.receive(Purse::first(index(cell)), taken);
    let sound = || to(2, Taken::Exactly(5))(pays(once(0)));
    let of = |draft: Draft| besides(vec![Part::Clause(signed(6, draft))]);
    let forged = {
        let mut forged = signed(6, sound());
        forged.steps[1].record.cell = index(3);
        besides(vec![Part::Clause(forged)])
    };
    let ticket = |base, until| Once { number: Number::Ticket { base, place: 0 }, until };
    let unknown = Part::Step(StepRecord { cell: index(3), ..StepRecord::new(99) });
    vec![
        (forged, (1, 1), |refusal| matches!(refusal, Refusal::BadSignature(_))),
        (of(to(2, Taken::Exactly(5))(pays(once(7)))), (1, 0), |refusal| matches!(refusal, Refusal::Nonce { .. })),
        (of(to(2, Taken::Exactly(5))(pays(ticket(64, u32::MAX)))), (1, 0), |refusal| {
            *refusal == Refusal::TicketRange(64)
        }),
        (of(to(2, Taken::AllAtLeast(6))(pays(once(0)))), (1, 1), |refusal| {
            matches!(refusal, Refusal::LimitNotMet { .. })
        }),
        (of(to(2, Taken::Exactly(5))(pays(ticket(0, HEIGHT - 1)))), (1, 0), |refusal| {
            matches!(refusal, Refusal::Expired { .. })
        }),
        (of(pays(once(0))), (1, 0), |refusal| matches!(refusal, Refusal::LaneOpen { .. })),
        (of(to(TOKEN, Taken::Exactly(5))(pays(once(0)))), (1, 1), |refusal| {
            matches!(refusal, Refusal::WrongCell { .. })
        }),
        (besides(vec![Part::Clause(signed(6, sound())), unknown]), (2, 0), |refusal| {
            *refusal == Refusal::UnknownOperation(99)
        }),
    ]
}

#[test]
fn what_is_bad_rejects_its_transaction_alone_and_names_the_step() {
    let hostile = hostile();
    let too_long = run(vec![Part::Step(step(Receive::NUMBER, 1, 0, [0; 3]).record); 101]);
    let mut transactions = Vec::new();
    let mut good = Vec::new();
    for (number, (transaction, ..)) in hostile.iter().enumerate() {
        good.push(transactions.len());
        transactions.push(pay_to(1, number as u64, 2, 10, 1));
        transactions.push(transaction.clone());
    }
    let last = transactions.len();
    good.extend([last + 1, last + 2]);
    transactions.extend([too_long, transfer(3, 3, 0, 2, 1, 1), order(4, 0, 10_000, false, 0)]);
    let mut state = traders(7);
    let before = sums(&state);
    let batch = apply_steps(&mut state, &Plan { chunks_max: 20, ..sized_plan() }, &transactions);
    let mut applied = batch.applied.clone();
    applied.sort_unstable();
    assert_eq!(applied, good);
    assert_eq!((sums(&state), holdings(&state, 5)[0], holdings(&state, 6)[0]), (before, 1_000_000, 1_000_000));
    let mut reasons = reasons(&batch).into_iter();
    for (number, (_, named, is_it)) in hostile.iter().enumerate() {
        let (position, reason) = reasons.next().expect("a refusal of each");
        let (part, step, found) = refusal(reason);
        assert_eq!((position, (part, step), is_it(&found)), (2 * number + 1, *named, true), "{reason}");
        assert!(reason.to_string().contains(&format!("part {part}, step {step}: ")), "{reason}");
    }
    assert_eq!(reasons.next(), Some((last, StepsError::TooLong { found: 101 }.into())));
    assert_eq!(reasons.next(), None);
}

/// An order that sells bitcoin for a fee.
fn sells(number: u8, amount: u64, least: u64, fee_sat: u64) -> Transaction {
    let sold = step(Order::NUMBER, number.into(), 0, [amount, fee_sat, POOL.into()]);
    let limits = Limits { least, until: HEIGHT };
    run(vec![Part::Clause(clause(number, 0, vec![ClauseStep { limits, ..sold }]))])
}

fn sorted(batch: &Batch) -> Vec<usize> {
    let mut applied = batch.applied.clone();
    applied.sort_unstable();
    applied
}

#[test]
fn an_order_whose_fee_nobody_can_take_keeps_no_other_out() {
    let numbers = (1..30).filter(|number| u32::from(*number) != TOKEN);
    let orders: Vec<_> = numbers.map(|number| sells(number, 1_000, 0, u64::from(number < 28))).collect();
    let mut state = traders(30);
    // More of them than a session is tried.
    let batch = apply_steps(&mut state, &Plan { operators: BTreeMap::new(), ..sized_plan() }, &orders);
    assert_eq!((sorted(&batch), batch.rejected.len()), (vec![26, 27], 26));
    let no_operator = StepsError::Fee { part: 0, source: FeeError::NoOperator(Token::BITCOIN) };
    assert!(reasons(&batch).iter().all(|(_, reason)| *reason == no_operator.into()));
    // Each fee could be taken, but not all.
    let mut state = traders(4);
    let operator = Account { balance: u64::MAX - 3, ..owned(0, 0) };
    state.tree.set(index(0), Cell::Account(operator)).expect("inside");
    let orders = [sells(1, 1_000, 0, 2), sells(2, 1_000, 0, 3), sells(3, 1_000, 0, 1)];
    let batch = apply_steps(&mut state, &sized_plan(), &orders);
    assert_eq!(sorted(&batch), [0, 2]);
    assert!(matches!(reasons(&batch)[..], [(1, TransitionError::Steps(StepsError::Fee { part: 0, .. }))]));
    assert_eq!(holdings(&state, 0)[0], u64::MAX);
}

#[test]
fn limits_out_of_reach_take_no_room_and_those_that_pay_most_share_it() {
    // SESSION, three orders and CLEAR.
    let plan = Plan { chunks_max: 1, ..sized_plan() };
    let far = |number| sells(number, 1_000, 1_000_000, 9);
    let batch =
        apply_steps(&mut traders(7), &plan, &[far(1), far(2), far(3), sells(4, 1_000, 0, 1), sells(5, 1_000, 0, 1)]);
    assert_eq!((sorted(&batch), batch.is_full), (vec![3, 4], false));
    assert!(
        reasons(&batch)
            .iter()
            .all(|(_, reason)| matches!(reason, TransitionError::LeftOut(LeftOutError::Limit { .. })))
    );
    let fees = [1, 3, 1, 2, 2];
    let orders: Vec<_> = (1..).zip(fees).map(|(number, fee)| sells(number, 1_000, 0, fee)).collect();
    let batch = apply_steps(&mut traders(7), &plan, &orders);
    assert_eq!((sorted(&batch), batch.is_full), (vec![1, 3, 4], true));
    assert_eq!((batch.left_over.as_slice(), batch.rejected.len()), (&[0, 2][..], 0));
}

#[test]
fn whoever_holds_a_session_of_his_own_keeps_no_orders_out() {
    let own = || {
        let parts = [opens_session(index(POOL), 0, 0), closes_session(index(POOL))];
        Transaction::Steps(StepTransaction { chain_id: CHAIN, parts: parts.map(Part::Step).to_vec() })
    };
    // With an order of his own in it.
    let Transaction::Steps(mine) = sells(3, 1_000, 0, 1) else { unreachable!() };
    let opens = Part::Step(opens_session(index(POOL), 1_000, 0));
    let with_order = run([vec![opens], mine.parts, vec![Part::Step(closes_session(index(POOL)))]].concat());
    let cleared = |reason| matches!(refusal(reason), (0, 0, Refusal::Average(_)));
    let batch = apply_steps(
        &mut traders(4),
        &sized_plan(),
        &[own(), with_order.clone(), sells(1, 1_000, 0, 1), sells(2, 1_000, 0, 1)],
    );
    assert_eq!(sorted(&batch), [2, 3]);
    assert_eq!(
        reasons(&batch).iter().map(|(position, reason)| (*position, cleared(*reason))).collect::<Vec<_>>(),
        [(0, true), (1, true)]
    );
    // Without orders he may, once.
    let batch = apply_steps(&mut traders(4), &sized_plan(), &[with_order, own()]);
    assert_eq!((sorted(&batch), batch.rejected.len()), (vec![0], 1));
    assert!(cleared(batch.rejected[0].reason));
}

#[test]
fn an_order_is_filled_that_would_overflow_at_the_price_before_it() {
    let mut state = traders(3);
    let Cell::Pool(pool) = state.tree().get(index(POOL)) else { panic!("a pool") };
    let (x, y) = (1 << 16, 1 << 62);
    let [first, second] = [(pool.first, x), (pool.second, y)].map(|(held, balance)| Holding { balance, ..held });
    let steep = Pool { first, second, at_last_session: [x, y], average: 1 << (46 + 48), ..pool };
    state.tree.set(index(POOL), Cell::Pool(steep)).expect("inside");
    let batch = apply_steps(&mut state, &sized_plan(), &[sells(1, 1 << 19, 1 << 61, 1)]);
    assert_eq!((batch.applied.as_slice(), batch.rejected.as_slice()), (&[0][..], &[][..]));
}

#[test]
fn an_order_beside_other_parts_is_refused_alone_for_want_of_a_session() {
    let Transaction::Steps(order) = sells(1, 1_000, 0, 1) else { unreachable!() };
    let paid: Clause = signed(2, Draft::pay(Purse::first(index(2)), 0, fee(0), once(0)));
    let both = run([order.parts, vec![Part::Clause(paid)]].concat());
    let batch = apply_steps(&mut traders(5), &sized_plan(), &[both, sells(3, 1_000, 0, 1), sells(4, 1_000, 0, 1)]);
    assert_eq!(sorted(&batch), [1, 2]);
    assert_eq!(refusal(batch.rejected[0].reason), (0, 0, Refusal::NoSession(index(POOL))));
}
