//! The traps of the design that are the machine's, each as what somebody would try. Others are in the tests of what
//! they are about: 1 with conservation, 8, 53, 54 and 57 with clauses, 12, 48, 85 and 86 with relations.

use super::probes::{Idle, machine_with};
use crate::{
    chunk::{
        AssignError, assign,
        witness::{ChunkWitness, SlotWitnesses},
    },
    ops::{Draw, Exit, Mint, Open, Order, Pay, Receive, Session, Token as TokenOperation},
    step::{
        Authority, Description, Due, Guesses, Lane, Limits, Machine, Machines, OpenSession, Operation, Refusal, Step,
        StepCircuit, flag, place,
    },
    testing::{
        operations::{EMPTY, Example, POOL, TOKEN, assert_operation, assert_satisfied, state},
        owing::{Owe, owing},
        state::{State, index},
        steps::{HEIGHT, Steps, record},
        twins::{any_below, assert_twins},
        violated_in_its_state,
    },
};
use ark_bn254::Fr;
use proptest::prelude::*;
use std::{collections::BTreeSet, sync::Arc};
use taproof_verifier::{
    cell::{Account, Cell, CellIndex, Token, TokenCell},
    record::{Destination, StepRecord},
    statement,
};

const UNTIL: Limits = Limits { least: 0, until: HEIGHT };
const NONE: Limits = Limits { least: 0, until: 0 };

fn refusal(steps: &Steps, record: StepRecord) -> Option<Refusal> {
    steps.apply(&record, NONE).err().map(|error| error.refusal)
}

/// A transaction in which account 1 has paid 500 sat.
fn paid() -> Steps {
    paid_by(crate::ops::standard())
}

/// The same by another machine.
fn paid_by(machine: Arc<Machine>) -> Steps {
    let mut steps = Steps::on(state());
    steps.machine = machine;
    let pay = StepRecord { a: 500, b: 3, ..record(Pay::NUMBER, 1, flag::END) };
    steps.run_within(pay, UNTIL).expect("it can pay");
    steps
}

/// Checks that a statement with other registers is not proven.
fn assert_registers_are_those(chunk: &ChunkWitness) {
    let machines = crate::testing::machines();
    let registers = chunk.statement.registers;
    let one = Fr::from(1u64);
    for (before, after) in [
        (registers.before + one, registers.after),
        (registers.before, registers.after + one),
        (registers.after, registers.before),
    ] {
        let mut altered = chunk.clone();
        altered.statement.registers = statement::Registers { before, after };
        assert_eq!(assign(&machines, &altered), Err(AssignError::StatementMismatch));
    }
}

/// T8 of chunks: what is in motion at a chunk's end is in motion at the next one's start, no more and no less.
#[test]
fn trap_7_registers_are_neither_lost_nor_made_between_chunks() {
    let machines = crate::testing::machines();
    let mut steps = paid();
    let first = steps.chunk(2);
    steps.run(record(Receive::NUMBER, 2, flag::DONE | Receive::REST)).expect("it can receive");
    let second = steps.chunk(2);
    assert_registers_are_those(&first);
    assert_registers_are_those(&second);
    assert_eq!(first.statement.registers.after, second.statement.registers.before);
    let outside = Fr::from(0u64);
    assert_eq!([first.statement.registers.before, second.statement.registers.after], [outside; 2]);
    assert_ne!(first.statement.registers.after, outside);
    // Registers of one's own suit a chunk, but none that stands behind the first.
    let mut steps = paid();
    let _ = steps.chunk(2);
    steps.run(StepRecord { a: 500, ..record(Receive::NUMBER, 2, 0) }).expect("it can receive");
    let second = steps.chunk(2);
    assign(&machines, &second).expect("a chunk");
    let with_lane = |value| {
        let mut altered = second.clone();
        let SlotWitnesses::Step { slots, .. } = &mut altered.slots else { panic!("steps") };
        slots[0].registers.lanes[0] = Lane { token: Token::BITCOIN, value };
        altered
    };
    assert_eq!(assign(&machines, &with_lane(499)), Err(AssignError::StatementMismatch));
    assert_eq!(assign(&machines, &with_lane(0)), Err(AssignError::StatementMismatch));
    // Within a chunk each slot is handed what the one before leaves.
    let mut steps = paid();
    steps.run(record(Receive::NUMBER, 2, flag::DONE | Receive::REST)).expect("it can receive");
    let mut both = steps.chunk(2);
    let SlotWitnesses::Step { slots, .. } = &mut both.slots else { panic!("steps") };
    slots[1].registers.lanes[0].value += 1;
    assert_eq!(assign(&machines, &both), Err(AssignError::RegistersMismatch { slot: 1 }));
    // A name without value is part of what is handed on, too, until the transaction is done.
    let mut steps = paid();
    steps.run(record(Receive::NUMBER, 2, Receive::REST)).expect("it can receive");
    assert_eq!(steps.registers.lanes.map(|lane| lane.value), [0; 3]);
    steps.registers.lanes[0].token = Token(TOKEN);
    assert_ne!(steps.registers.digest(steps.machine.groups()), outside);
}

/// What is owed is paid to its account, in its token, whole, in the order that it is owed in, and before the
/// transaction is done; nothing else may be owed in its place meanwhile (45).
#[test]
fn traps_10_and_51_what_is_owed_goes_to_its_account_in_its_token_alone() {
    let owing_one = || {
        let mut steps = Steps::on(state());
        steps.machine = owing();
        let pay = StepRecord { a: 70, ..record(Pay::NUMBER, 1, flag::END) };
        steps.run_within(pay, UNTIL).expect("it can pay");
        steps.run(Owe::record(3, 0, 70)).expect("nothing is owed yet");
        let _ = steps.chunk(2);
        steps
    };
    let receive = |cell, flags| record(Receive::NUMBER, cell, flags | Receive::DUE);
    let mut steps = owing_one();
    for (cell, flags) in [(4, 0), (3, flag::SECOND), (1, 0)] {
        assert_eq!(refusal(&steps, receive(cell, flags)), Some(Refusal::NotDue));
    }
    // Credited otherwise, it is owed still.
    let around = StepRecord { a: 70, ..record(Receive::NUMBER, 3, flag::DONE) };
    let due = Refusal::DueOpen { account: index(3), token: Token::BITCOIN, amount: 70 };
    assert_eq!(refusal(&steps, around), Some(due));
    steps.run(receive(3, flag::DONE)).expect("it is owed to account 3");
    assert!(steps.registers.are_zero());
    let chunk = steps.chunk(1);
    let machines = Machines::new(vec![steps.machine.clone()]);
    assign(&machines, &chunk).expect("what is owed is paid");
    // The same in the circuit: to another account, to the same account's other holding.
    let honest = steps.witness_of(&chunk, 0);
    let violated = |change: &dyn Fn(&mut crate::chunk::witness::StepWitness)| {
        let mut witness = honest.clone();
        change(&mut witness);
        violated_in_its_state(&steps.slot(), &chunk, &witness)
    };
    let owed = BTreeSet::from(["RECEIVE R4, what is owed"]);
    assert_eq!(violated(&|witness| witness.record.cell = index(4)), owed);
    let token = |witness: &mut crate::chunk::witness::StepWitness| {
        let due = witness.registers.dues[0].as_mut().expect("something is owed");
        due.token = Token(TOKEN);
    };
    assert_eq!(violated(&token), owed);
}

/// OWE stands for every operation that owes: each relation of [`StepCircuit::owe`](crate::step::StepCircuit::owe).
#[test]
fn what_is_owed_is_held() {
    let owing_of = |count: u32| {
        let mut steps = Steps::on(state());
        steps.machine = owing();
        (0..count).for_each(|number| steps.run(Owe::record(5 + number, TOKEN, 9)).expect("there is a place"));
        let _ = steps.chunk(2);
        steps
    };
    let examples = [0, 1].map(|count| Example::after(owing_of(count), Owe::record(3, TOKEN, 70), NONE));
    assert_operation(&examples, &["OWE R1, account and token", "OWE R2, what is owed"]);
    // A third is not noted over one of them.
    let full = owing_of(2).registers.dues;
    assert_eq!(refusal(&owing_of(2), Owe::record(4, 0, 1)), Some(Refusal::DuesTaken), "trap 45");
    for example in &examples {
        let known = example.violated_with(|witness| witness.registers.dues = full);
        assert_eq!(known, BTreeSet::from(["OWE R2, what is owed"]));
    }
    // The first that is owed is the first that is paid.
    let mut steps = owing_of(1);
    steps.run(Owe::record(3, 0, 70)).expect("there is a place");
    let owed = |account, token, amount| Some(Due { account: index(account), token: Token(token), amount });
    assert_eq!(steps.registers.dues, [owed(5, TOKEN, 9), owed(3, 0, 70)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Rule and circuit agree on whatever is owed beside whatever is owed already, and the circuit leaves no choice.
    #[test]
    fn owing_twins_agree(
        before in prop::collection::vec((1u32..9, any::<u32>(), 1u64..), 0..=2), account: u32, token: u32,
        amount in any_below(64),
    ) {
        let mut steps = Steps::on(state());
        steps.machine = owing();
        for (place, (account, token, amount)) in before.iter().enumerate() {
            steps.registers.dues[place] = Some(Due { account: index(*account), token: Token(*token), amount: *amount });
        }
        let dues = steps.registers.dues;
        let record = Owe::record(account, token, amount as u64);
        match assert_twins(&mut steps, record, NONE, &Guesses::new()) {
            Ok(applied) => {
                let due = Due { account: index(account), token: Token(token), amount: amount as u64 };
                let mut expected = dues;
                expected[before.len()] = Some(due);
                prop_assert_eq!(applied.registers.dues, expected);
            }
            Err(_) => prop_assert!(before.len() == 2 || amount == 0 || account >= 1 << 30),
        }
    }
}

/// A signer's authority ends with his clause, and the next clause is its own signer's.
#[test]
fn trap_41_authority_ends_with_its_clause() {
    let mut steps = Steps::on(state());
    steps.run_within(record(Pay::NUMBER, 1, 0), UNTIL).expect("a clause begins");
    let signers: Vec<Description> =
        steps.machine.descriptions().filter(|known| known.authority == Authority::Signer).collect();
    assert!(signers.len() >= 3, "DRAW, TOKEN, MINT");
    let draw = |cell| StepRecord { a: 5, ..record(Draw::NUMBER, cell, 0) };
    assert_eq!(refusal(&steps, draw(7)), None, "account 7 has the signer's key");
    steps.run(StepRecord { a: 5, ..record(Draw::NUMBER, 7, flag::END) }).expect("the clause ends");
    assert_eq!(steps.registers.clause, None);
    for known in signers {
        let cell = match known.kind_before {
            0 => EMPTY,
            TokenCell::KIND => TOKEN,
            _ => 7,
        };
        assert_eq!(refusal(&steps, record(known.number, cell, 0)), Some(Refusal::NoSigner), "{}", known.name);
    }
    // In the clause of account 2, nothing is the signer's that was account 1's.
    steps.run_within(record(Pay::NUMBER, 2, Pay::JOINT), UNTIL).expect("another clause begins");
    assert_eq!(refusal(&steps, draw(7)), Some(Refusal::NotTheSigners));
    assert_eq!(refusal(&steps, StepRecord { a: 1, ..record(Mint::NUMBER, TOKEN, 0) }), Some(Refusal::NotTheIssuer));
}

/// An operation that writes a lane: what it writes is nothing to the machine.
#[derive(Debug)]
struct WritesLane;

impl Operation for WritesLane {
    fn description(&self) -> Description {
        Description { name: "WRITES LANE", ..Idle { number: 200, kind: Account::KIND }.description() }
    }

    fn apply(&self, _: &mut Step<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn synthesize(&self, step: &mut StepCircuit) {
        step.set_register(place::LANE_VALUE[0], step.a());
        step.set_register(place::LANE_TOKEN[0], step.b());
        step.set_register(place::SIGNER, step.a());
        step.set_register(place::DIGEST, step.b());
    }
}

/// No operation writes a lane: what a cell gains is taken from it, whatever the operation says.
#[test]
fn trap_42_lanes_move_by_cells_alone() {
    let mut steps = paid_by(machine_with(vec![Arc::new(WritesLane)]));
    steps.run(StepRecord { a: 1_000_000, b: 7, ..record(200, 2, 0) }).expect("it does nothing");
    let chunk = steps.chunk(2);
    assign(&Machines::new(vec![steps.machine.clone()]), &chunk).expect("what it writes is not looked at");
    assert_eq!(steps.registers.lanes[0], Lane { token: Token::BITCOIN, value: 500 });
    // RECEIVE from nothing leaves a debt that no transaction ends with.
    let mut steps = Steps::on(state());
    let value = (-300).into();
    let receive = StepRecord { a: 300, ..record(Receive::NUMBER, 2, flag::DONE) };
    assert_eq!(refusal(&steps, receive), Some(Refusal::LaneOpen { token: Token::BITCOIN, value }));
    // What EXIT gives is added to what is in motion, and takes nothing's place.
    let mut exits = paid();
    let shares = StepRecord { a: 5_000, ..record(Pay::NUMBER, 7, flag::SECOND | flag::END | Pay::JOINT) };
    exits.run_within(shares, UNTIL).expect("it can pay shares");
    exits.run(record(Exit::NUMBER, POOL, 0)).expect("the shares are in motion");
    let bitcoin = exits.registers.lanes.iter().find(|lane| lane.token == Token::BITCOIN).expect("in motion");
    assert_eq!(bitcoin.value, 500 + 5_000 * 1_000_000 / 1_732_050);
    assert_satisfied(&mut exits);
    // A fourth token has no lane, and none of the three gives way to it.
    let lane = |token| Lane { token: Token(token), value: 1 };
    steps.registers.lanes = [lane(1), lane(2), lane(3)];
    assert_eq!(refusal(&steps, StepRecord { flags: 0, ..receive }), Some(Refusal::NoLane(Token::BITCOIN)));
}

/// What takes a lane as a whole takes an amount: from 0 to 2^64 - 1.
#[test]
fn trap_43_what_drains_a_lane_takes_an_amount() {
    let token = Token::BITCOIN;
    let with = |value: i128| {
        let mut steps = Steps::on(state());
        steps.put(2, Cell::Account(Account { balance: 0, ..steps.state.account(2) }));
        steps.registers.lanes[0] = Lane { token, value };
        steps
    };
    let rest = record(Receive::NUMBER, 2, Receive::REST);
    let most = i128::from(u64::MAX);
    for value in [-1, most + 1, i128::MIN, i128::MAX] {
        assert_eq!(refusal(&with(value), rest), Some(Refusal::LaneValue { token, value: value.into() }));
    }
    for value in [0, most] {
        let example = Example::after(with(value), rest, NONE);
        // 2^64 and -1 have no representation in 64 bits, whatever the integers are.
        for other in [-1, most + 1] {
            let violated = example.violated_with(|witness| witness.registers.lanes[0].value = other);
            assert_eq!(violated, BTreeSet::from(["RECEIVE R1, amount"]), "{value} to {other}");
        }
    }
}

/// A second PAY in a clause would take the place of its signer, or of what was signed.
#[test]
fn trap_44_no_clause_begins_within_another() {
    let mut steps = Steps::on(state());
    steps.run_within(record(Pay::NUMBER, 1, 0), UNTIL).expect("a clause begins");
    let clause = steps.registers.clause;
    for signer in [1, 2] {
        let again = record(Pay::NUMBER, signer, 0);
        assert_eq!(steps.apply(&again, UNTIL).expect_err("a clause runs").refusal, Refusal::ClauseRuns);
        let ends = record(Pay::NUMBER, signer, flag::END);
        assert_eq!(steps.apply(&ends, UNTIL).expect_err("a clause runs").refusal, Refusal::ClauseRuns);
    }
    let order = StepRecord { c: POOL.into(), ..record(Order::NUMBER, 2, flag::END) };
    assert_eq!(steps.apply(&order, UNTIL).expect_err("a clause runs").refusal, Refusal::ClauseRuns);
    for flags in [0, flag::END] {
        let second = Example::after(Steps::on(state()), record(Pay::NUMBER, 2, flags), UNTIL);
        let violated = second.violated_with(|witness| witness.registers.clause = clause);
        assert!(violated.contains("S3, place of the operation"), "{violated:?}");
    }
}

/// While a session is open, nothing runs but orders of it and what closes it: so lanes are neither drained (4) nor
/// given other tokens (3) before it clears, and no transaction ends (48).
#[test]
fn traps_3_and_4_nothing_but_orders_runs_in_a_session() {
    let mut steps = Steps::on(state());
    steps.run(StepRecord { a: 500, b: 500, ..record(Session::NUMBER, POOL, 0) }).expect("a session opens");
    let Some(OpenSession { pool, .. }) = steps.registers.session else { panic!("a session is open") };
    let mut others = 0;
    for known in steps.machine.descriptions().filter(|known| !known.in_session) {
        let cell = (1..64).find(|at| steps.state.cell(*at).kind() == known.kind_before).expect("a cell of each kind");
        assert_eq!(refusal(&steps, record(known.number, cell, 0)), Some(Refusal::SessionOpen(pool)), "{}", known.name);
        others += 1;
    }
    assert_eq!(others, steps.machine.descriptions().count() - 2, "all but ORDER and CLEAR");
}

/// Nobody is no issuer: a token that nobody can mint, nobody mints, also where nobody signs.
#[test]
fn trap_58_nobody_signs_for_account_0() {
    let mut steps = Steps::on(state());
    let Cell::Token(token) = steps.state.cell(TOKEN) else { panic!("a token") };
    let renounced = Cell::Token(TokenCell { issuer: CellIndex::default(), ..token });
    steps.put(TOKEN, renounced);
    let mint = StepRecord { a: 5, ..record(Mint::NUMBER, TOKEN, 0) };
    assert_eq!(refusal(&steps, mint), Some(Refusal::NoSigner));
    let mut begun = Steps::on(state());
    begun.run_within(record(Pay::NUMBER, 1, 0), UNTIL).expect("a clause begins");
    let minted = Example::after(begun, mint, NONE);
    // Without a clause the signer is account 0, which is the issuer: only its place holds MINT back.
    let violated = minted.violated_with(|witness| {
        witness.registers.clause = None;
        witness.cell.before = renounced;
        // The issuer stands behind the cap.
        witness.integers[1].value = 0;
    });
    assert_eq!(violated, BTreeSet::from(["S3, place of the operation"]));
    // Nor does anyone become account 0's signer, or a token's first issuer, outside of a clause.
    let token = record(TokenOperation::NUMBER, EMPTY, 0);
    assert_eq!(refusal(&Steps::on(state()), token), Some(Refusal::NoSigner));
    let pay = Steps::on(state()).apply(&record(Pay::NUMBER, 0, 0), UNTIL).expect_err("cell 0");
    assert_eq!(pay.refusal, Refusal::Nobody);
}

/// Payments leave tickets and second holdings as they are, so that neither a used ticket nor a second holding comes or
/// goes by them.
#[test]
fn trap_78_payments_keep_tickets_and_second_holdings() {
    let mut scene: State = state();
    let second = |scene: &State, cell| (scene.account(cell).tickets, scene.account(cell).second);
    let before = [1, 2, 3].map(|cell| second(&scene, cell));
    scene.transfer(1, 2, 500, 3);
    scene.withdraw(2, [300, 1], Destination::P2wpkh([1; 20]));
    scene.open(3, EMPTY, [200, 2], 9);
    scene.deposit(3, 700, 3);
    assert_eq!([1, 2, 3].map(|cell| second(&scene, cell)), before);
    // Ticket 64 was used before the payments and is used behind them; 65 was not.
    let mut steps = Steps::on(scene);
    let by_ticket = |place| StepRecord { c: place, ..record(Pay::NUMBER, 1, flag::END | flag::TICKET) };
    assert_eq!(steps.apply(&by_ticket(0), UNTIL).expect_err("it is used").refusal, Refusal::TicketUsed(64));
    steps.run_within(by_ticket(1), UNTIL).expect("it is not used yet");
    // A nonce that a payment used is no clause's any more, and the other way round.
    assert_eq!(steps.state.account(1).nonce, 8);
    steps.run_within(record(Pay::NUMBER, 1, flag::END), UNTIL).expect("the next nonce");
    assert_eq!(steps.state.account(1).nonce, 9);
    assert_satisfied(&mut steps);
}

/// The standard machine and one with another operation are two: their circuits have two identities, so neither proves
/// for the other.
#[test]
fn other_operations_are_another_circuit() {
    let other: Arc<Machine> = machine_with(vec![Arc::new(WritesLane)]);
    let mut steps = paid();
    let chunk = steps.chunk(2);
    let machines = Machines::new(vec![other.clone()]);
    assert!(matches!(assign(&machines, &chunk), Err(AssignError::NoCircuit(_))));
    let depth = steps.state.depth();
    assert_ne!(other.circuit(depth, 2), steps.machine.circuit(depth, 2));
    let open = record(Open::NUMBER, EMPTY, 0);
    assert_eq!(other.get(open.operation).map(|known| known.description().name), Some("OPEN"));
}
