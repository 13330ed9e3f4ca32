//! Batches with steps: transactions that are applied whole or not at all, and the sessions of pools.

use super::*;
use crate::{
    chunk::assign,
    exchange::matching::LeftOutError,
    ops::{self, Order, Pay, Receive},
    step::{Limits, Machines, Refusal, flag},
    transaction::{Clause, ClauseStep, Part, StepTransaction},
};
use taproof_verifier::{
    cell::{Pool, TokenCell, TokenName},
    record::StepRecord,
};

pub(super) const HEIGHT: u32 = 800_000;
pub(super) const TOKEN: u32 = 20;
pub(super) const POOL: u32 = 30;

pub(super) fn machines() -> Machines {
    Machines::new(vec![ops::standard()])
}

/// The plan of all tests, with chunks of three steps.
pub(super) fn step_plan() -> Plan {
    let operations = ops::standard().set().hash();
    let slots = NonZeroU16::new(3).expect("not zero").into();
    Plan { slots: Slots { step: Some(StepSlots { operations, slots }), ..plan().slots }, ..plan() }
}

/// Accounts 0 to `count` - 1 with 1,000,000 sat and as much of a token, which has a pool with bitcoin.
pub(super) fn traders(count: u8) -> State {
    let mut state = funded(&vec![1_000_000; count.into()]).with_machines(machines());
    let held = Holding { token: Token(TOKEN), balance: 1_000_000 };
    for number in 0..count {
        let account = Account { second: held, ..owned(number.into(), 1_000_000) };
        state.tree.set(index(number.into()), Cell::Account(account)).expect("inside");
    }
    let supply = 1_000_000 * u64::from(count) + 4_000_000;
    let name = TokenName::new("gold").expect("a name");
    let token = TokenCell { supply, name, cap: u64::MAX, issuer: index(1), decimals: 2, unit: 0 };
    state.tree.set(index(TOKEN), Cell::Token(token)).expect("inside");
    let pool = Pool {
        supply: 2_000_000,
        first: Holding { token: Token::BITCOIN, balance: 1_000_000 },
        second: Holding { token: Token(TOKEN), balance: 4_000_000 },
        at_last_session: [1_000_000, 4_000_000],
        average: 4 << 48,
        last_height: HEIGHT - 3,
        fee: 30,
        weight: 1,
        averaging_blocks: 10,
    };
    state.tree.set(index(POOL), Cell::Pool(pool)).expect("inside");
    state.commit();
    state
}

pub(super) fn step(operation: u8, cell: u32, flags: u8, [a, b, c]: [u64; 3]) -> ClauseStep {
    let record = StepRecord { cell: index(cell), flags, a, b, c, ..StepRecord::new(operation) };
    ClauseStep { record, limits: Limits { least: 0, until: 0 } }
}

pub(super) fn pay(cell: u32, amount: u64, fee: u64) -> ClauseStep {
    let limits = Limits { least: 0, until: u32::MAX };
    ClauseStep { limits, ..step(Pay::NUMBER, cell, 0, [amount, fee, 0]) }
}

pub(super) fn clause(number: u8, nonce: u64, steps: Vec<ClauseStep>) -> Clause {
    Clause::sign(&ops::standard(), CHAIN, nonce, steps, &key(number)).expect("a clause")
}

pub(super) fn run(parts: Vec<Part>) -> Transaction {
    Transaction::Steps(StepTransaction { chain_id: CHAIN, parts })
}

/// A payment of two steps.
pub(super) fn pay_to(number: u8, nonce: u64, to: u32, amount: u64, fee: u64) -> Transaction {
    let signed = clause(number, nonce, vec![pay(number.into(), amount, fee)]);
    let received = step(Receive::NUMBER, to, Receive::REST, [0; 3]).record;
    run(vec![Part::Clause(signed), Part::Step(received)])
}

/// An order that sells bitcoin, or with `sells_second` the token.
pub(super) fn order(number: u8, nonce: u64, amount: u64, sells_second: bool, least: u64) -> Transaction {
    let flags = if sells_second { flag::SECOND | Order::SELLS_SECOND } else { 0 };
    let order = step(Order::NUMBER, number.into(), flags, [amount, 1, POOL.into()]);
    let limits = Limits { least, until: HEIGHT };
    run(vec![Part::Clause(clause(number, nonce, vec![ClauseStep { limits, ..order }]))])
}

/// Applies a batch, and what it posts to a second state; checks that every chunk can be proven, and that the registers
/// join up.
pub(super) fn apply_steps(state: &mut State, plan: &Plan, transactions: &[Transaction]) -> Batch {
    let mut rebuilt = State::load(CHAIN, &state.tree().snapshot()).expect("a snapshot").with_machines(machines());
    let batch = state.apply(plan, &[], transactions).expect("a valid plan");
    let (mut root, mut registers) = (batch.root_before, Fr::from(0u64));
    for chunk in &batch.chunks {
        assert_eq!((chunk.statement.root_before, chunk.statement.registers.before), (root, registers));
        assert_joined(chunk);
        assign(&machines(), chunk).expect("every chunk can be proven");
        root = chunk.statement.root_after;
        registers = chunk.statement.registers.after;
    }
    assert_eq!((batch.root_after, registers), (root, Fr::from(0u64)));
    assert_eq!(batch.applied.len() + batch.rejected.len() + batch.left_over.len(), transactions.len());
    let records: Vec<_> = batch.chunks.iter().map(ChunkWitness::records).collect();
    rebuilt.replay(state.depth(), plan.height_blocks, &posted(&batch, &records)).expect("what was posted of a batch");
    assert_eq!(rebuilt.tree().snapshot(), state.tree().snapshot());
    batch
}

pub(super) fn holdings(state: &State, cell: u32) -> [u64; 2] {
    state.tree().get(index(cell)).holdings().map(|holding| holding.balance)
}

/// What exists of both tokens.
pub(super) fn sums(state: &State) -> [u64; 2] {
    let held = |token: Token| {
        let holdings = state.tree().cells().flat_map(|(_, cell)| cell.holdings());
        holdings.filter(|holding| holding.token == token).map(|holding| holding.balance).sum()
    };
    [held(Token::BITCOIN), held(Token(TOKEN))]
}

#[test]
fn a_transaction_is_applied_whole_and_fees_go_to_the_operator() {
    let mut state = traders(4);
    let batch = apply_steps(&mut state, &step_plan(), &[pay_to(1, 0, 2, 500, 7), pay_to(2, 0, 3, 1_000_400, 5)]);
    assert_eq!((batch.applied.as_slice(), batch.rejected.len()), (&[0, 1][..], 0));
    // Four steps in chunks of three: the second transaction crosses them.
    let steps: Vec<_> = batch.chunks.iter().map(|chunk| chunk.slots.len()).collect();
    assert_eq!(steps, [3, 1]);
    let bitcoin = [0, 1, 2, 3].map(|cell| holdings(&state, cell)[0]);
    assert_eq!(bitcoin, [1_000_012, 999_493, 95, 2_000_400]);
}

#[test]
fn a_refusal_names_its_step_and_leaves_nothing_behind() {
    let mut state = traders(4);
    let root = state.root();
    let open_lane = run(vec![Part::Clause(clause(1, 0, vec![pay(1, 500, 0)]))]);
    let forged = {
        let Transaction::Steps(mut steps) = pay_to(1, 0, 2, 500, 0) else { unreachable!() };
        let Part::Clause(clause) = &mut steps.parts[0] else { unreachable!() };
        clause.steps[0].record.a += 1;
        Transaction::Steps(steps)
    };
    let Transaction::Steps(foreign) = pay_to(1, 0, 2, 500, 0) else { unreachable!() };
    let foreign = Transaction::Steps(StepTransaction { chain_id: ChainId::from_byte_array([9; 15]), ..foreign });
    let later = pay_to(1, 3, 2, 500, 0);
    let empty = run(Vec::new());
    let batch = apply_steps(&mut state, &step_plan(), &[open_lane, forged, foreign, later, empty]);
    assert_eq!((state.root(), batch.chunks.len(), batch.applied.len()), (root, 0, 0));
    let found = reasons(&batch).into_iter().map(|(position, reason)| match reason {
        TransitionError::Steps(StepsError::Step { part, step, source }) => (position, Ok((part, step, source.refusal))),
        TransitionError::Steps(other) => (position, Err(other)),
        other => panic!("{other}"),
    });
    let found: Vec<_> = found.collect();
    let wrong_chain = StepsError::WrongChain { expected: CHAIN, found: ChainId::from_byte_array([9; 15]) };
    assert_eq!(found[0], (0, Ok((0, 0, Refusal::LaneOpen { token: Token::BITCOIN, value: 500.into() }))));
    assert!(matches!(found[1], (1, Ok((0, 0, Refusal::BadSignature(_))))));
    assert_eq!(found[2], (2, Err(wrong_chain)));
    assert_eq!(found[3], (3, Ok((0, 0, Refusal::Nonce { expected: 3, found: 0 }))));
    assert_eq!(found[4], (4, Err(StepsError::Empty)));
}

#[test]
fn payments_and_steps_that_depend_on_each_other_are_in_one_batch() {
    let mut state = traders(4);
    // Account 9 does not exist yet, is opened by a payment, receives by steps and pays on.
    let transactions =
        [transfer(9, 9, 0, 1, 300, 0), pay_to(1, 0, 9, 900, 0), open(2, 2, 0, 9, 100, 0, 9), pay_to(9, 1, 3, 600, 1)];
    let batch = apply_steps(&mut state, &step_plan(), &transactions);
    assert_eq!(batch.rejected, []);
    assert_eq!(batch.applied.len(), 4);
    assert_eq!(holdings(&state, 9), [100 + 900 - 300 - 600 - 1, 0]);
}

#[test]
fn orders_of_a_pool_clear_at_one_price_and_those_that_do_not_fit_wait_with_a_reason() {
    let mut state = traders(7);
    let before = sums(&state);
    let transactions = [
        order(1, 0, 10_000, false, 38_000),
        order(2, 0, 30_000, true, 7_000),
        order(3, 0, 10_000, false, 41_000),
        order(4, 0, 10_000, false, 38_000),
        // Two of one account by nonces: the second waits.
        order(4, 1, 10_000, false, 30_000),
        // Not funded.
        order(5, 0, 2_000_000, false, 0),
    ];
    let batch = apply_steps(&mut state, &step_plan(), &transactions);
    let mut applied = batch.applied.clone();
    applied.sort_unstable();
    assert_eq!(applied, [0, 1, 3]);
    let reasons: BTreeMap<_, _> = reasons(&batch).into_iter().collect();
    assert!(matches!(reasons[&2], TransitionError::LeftOut(LeftOutError::Limit { .. })));
    let TransitionError::Steps(StepsError::Step { source, .. }) = reasons[&5] else { panic!("{:?}", reasons[&5]) };
    assert!(matches!(source.refusal, Refusal::Insufficient { .. }));
    assert_eq!(batch.left_over, [4]);
    assert_eq!(sums(&state), before);
    let [first, second] = [1, 4].map(|cell| holdings(&state, cell));
    assert_eq!((first, first[1] > 1_038_000), (second, true), "one price for all");
    let Cell::Pool(pool) = state.tree().get(index(POOL)) else { panic!("a pool") };
    assert_eq!((pool.last_height, pool.at_last_session), (HEIGHT, [pool.first.balance, pool.second.balance]));
    assert!(u128::from(pool.first.balance) * u128::from(pool.second.balance) >= 4_000_000_000_000);
    // The pool has cleared at this height: what waits waits on.
    let again = apply_steps(&mut state, &step_plan(), &[order(4, 1, 10_000, false, 30_000)]);
    assert_eq!((again.applied.len(), again.rejected.len()), (0, 1));
    let next = Plan { height_blocks: HEIGHT + 1, ..step_plan() };
    let order = |until| {
        let order = step(Order::NUMBER, 4, 0, [10_000, 1, POOL.into()]);
        run(vec![Part::Clause(clause(4, 1, vec![ClauseStep { limits: Limits { least: 0, until }, ..order }]))])
    };
    let expired = apply_steps(&mut state, &next, &[order(HEIGHT)]);
    assert_eq!((expired.applied.len(), expired.rejected.len()), (0, 1));
    assert_eq!(apply_steps(&mut state, &next, &[order(HEIGHT + 1)]).applied, [0]);
}

#[test]
fn a_batch_takes_as_many_steps_as_it_has_room_for() {
    let mut state = traders(6);
    let plan = Plan { chunks_max: 2, ..step_plan() };
    let transactions: Vec<_> = (1..6).map(|number| pay_to(number, 0, 2, 10, 0)).collect();
    let batch = apply_steps(&mut state, &plan, &transactions);
    assert_eq!((batch.applied.len(), batch.left_over.len(), batch.is_full, batch.chunks.len()), (3, 2, true, 2));
    let received = step(Receive::NUMBER, 1, 0, [0; 3]).record;
    let long = run(vec![Part::Step(received); 7]);
    let batch = apply_steps(&mut state, &plan, &[long]);
    assert_eq!(reasons(&batch), [(0, StepsError::TooLong { found: 7 }.into())]);
    // Orders, too: two beside the steps that open and clear.
    let orders: Vec<_> = (1..6).map(|number| order(number, 9, 10, false, 0)).collect();
    let batch = apply_steps(&mut state, &Plan { chunks_max: 1, ..step_plan() }, &orders);
    assert_eq!((batch.applied.len(), batch.rejected.len() + batch.left_over.len()), (0, 5));
}

#[test]
fn a_rollup_without_steps_says_so() {
    let mut state = traders(3);
    let batch = apply_steps(&mut state, &plan(), &[pay_to(1, 0, 2, 10, 0)]);
    assert_eq!(reasons(&batch), [(0, StepsError::NoSteps.into())]);
}
