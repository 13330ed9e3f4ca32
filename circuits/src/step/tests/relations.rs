//! Each relation of the machine violated alone, by rule and circuit. What operations hold is in their own tests.

use super::{
    conservation::Faulty,
    probes::{Idle, Limited, machine_with},
};
use crate::{
    chunk::{
        BegunSlot, SlotCircuit, begin_slot,
        witness::{ChunkWitness, StepWitness},
    },
    cs::{ConstraintSystem, Nothing, Outline},
    ops::{Clear, Mint, Open, Order, Pay, Receive, Session, Token as TokenOperation},
    schnorr::SecretKey,
    step::{Lane, Limits, PoolInteger, Refusal, Registers, RunningClause, StepContext, flag},
    testing::{
        Lie, assert_breaks_alone, assert_lies_break,
        operations::{EMPTY, OTHER, POOL, TOKEN, state},
        owing::{Owe, owing},
        state::{State, index, secret},
        steps::{HEIGHT, Steps, record},
        violated_by_lies, violated_in_its_state,
    },
};
use ark_bn254::Fr;
use std::{collections::BTreeSet, sync::Arc};
use taproof_verifier::{
    cell::{Account, Cell, CellIndex, Token},
    record::StepRecord,
};

/// The last height that signers of these tests allow.
const UNTIL: Limits = Limits { least: 0, until: HEIGHT };

/// A slot that holds a step, and the chunk that it is the first slot of.
struct Slot {
    steps: Steps,
    chunk: ChunkWitness,
    witness: StepWitness,
}

impl Slot {
    fn new(mut steps: Steps, record: StepRecord, limits: Limits) -> Self {
        let _ = steps.chunk(64);
        steps.run_within(record, limits).expect("a valid step");
        let chunk = steps.chunk(1);
        let witness = steps.witness_of(&chunk, 0);
        Self { steps, chunk, witness }
    }

    /// Account 1 pays 500 sat and a fee; its clause goes on.
    fn pay() -> Self {
        let pay = StepRecord { a: 500, b: 3, ..record(Pay::NUMBER, 1, 0) };
        Self::new(Steps::on(state()), pay, UNTIL)
    }

    /// Account 2 receives 300 sat, outside of clauses.
    fn receive() -> Self {
        let receive = StepRecord { a: 300, ..record(Receive::NUMBER, 2, 0) };
        Self::new(Steps::on(state()), receive, Limits::default())
    }

    /// Nothing happens to a cell of a kind, behind `before`.
    fn idle(mut before: Steps, kind: u8, cell: u32, flags: u8) -> Self {
        before.machine = machine_with(vec![Arc::new(Idle { number: 200, kind }), Arc::new(Idle { number: 201, kind })]);
        Self::new(before, record(200, cell, flags), Limits::default())
    }

    fn violated(&self, change: impl FnOnce(&mut StepWitness)) -> BTreeSet<&'static str> {
        let mut witness = self.witness.clone();
        change(&mut witness);
        violated_in_its_state(&self.steps.slot(), &self.chunk, &witness)
    }

    fn violated_by(&self, lies: &[Lie]) -> BTreeSet<&'static str> {
        violated_by_lies(&self.steps.slot(), &self.chunk, true, &self.witness, lies)
    }

    /// The same of the padding slot of this chunk.
    fn violated_in_padding(&self, lies: &[Lie]) -> BTreeSet<&'static str> {
        let padding = self.steps.slot().padding(&self.chunk.statement);
        violated_by_lies(&self.steps.slot(), &self.chunk, false, &padding, lies)
    }

    /// Checks that a change violates `relation` alone; gives why the rule refuses the step.
    fn assert_alone(&self, relation: &'static str, change: impl FnOnce(&mut StepWitness)) -> Option<Refusal> {
        let mut witness = self.witness.clone();
        change(&mut witness);
        let violated = violated_in_its_state(&self.steps.slot(), &self.chunk, &witness);
        assert_eq!(violated, BTreeSet::from([relation]));
        let StepWitness { record, limits, registers, cell, integers, .. } = &witness;
        let token = self.chunk.statement.context.token;
        let context = StepContext { token, ..self.steps.context() };
        let applied = self.steps.machine.apply(&context, registers, &cell.before, record, Some(*limits));
        let is_the_same = applied.as_ref().is_ok_and(|applied| {
            (&applied.integers, &applied.cell) == (integers, &cell.after)
                && applied.signed.is_some() == (record.flags & flag::END != 0)
        });
        assert!(!is_the_same, "{relation}: the rule accepts what the circuit refuses");
        applied.err().map(|error| error.refusal)
    }

    fn assert_lie_breaks(&self, heading: &'static str, wire: usize, forged: Fr, relation: &str) {
        let lie = Lie::At { relation: heading, wire, forged };
        assert_lies_break(&self.steps.slot(), &self.chunk, true, &self.witness, &[lie], relation);
    }

    /// Checks that each of the first wires behind a heading is held by the relation of that heading alone.
    fn assert_wires_held(&self, heading: &'static str, count: usize) {
        (0..count).for_each(|wire| assert_eq!(self.violated_by(&[at(heading, wire, 77)]), only(heading), "{wire}"));
    }
}

fn at(relation: &'static str, wire: usize, forged: u64) -> Lie {
    Lie::At { relation, wire, forged: forged.into() }
}

fn only(relation: &'static str) -> BTreeSet<&'static str> {
    BTreeSet::from([relation])
}

/// A transaction in which the clause of an account begins.
fn begun(signer: u32) -> Steps {
    let mut steps = Steps::on(state());
    steps.run_within(record(Pay::NUMBER, signer, 0), UNTIL).expect("a clause begins");
    steps
}

/// A transaction in which the session of the pool is open.
fn in_session() -> Steps {
    let mut steps = Steps::on(state());
    steps.run(record(Session::NUMBER, POOL, 0)).expect("a session opens");
    steps
}

/// The names of all relations of a slot of steps, and of what the chunk adds to it.
fn names() -> BTreeSet<&'static str> {
    let slot = Slot::pay();
    let mut names = Names::default();
    let step = slot.steps.slot();
    let globals = crate::chunk::Globals::at(slot.chunk.statement.circuit.depth, |_| Nothing);
    let registers = vec![Nothing; step.register_count()];
    let BegunSlot { parts, .. } = begin_slot(&mut names, &step, &globals, true, &registers, &slot.witness);
    let of_updates = parts.updates.iter().map(|update| update.relation);
    let all = names.0.into_iter().chain(of_updates);
    all.filter(|name| name.starts_with('S') && name[1..].starts_with(|digit: char| digit.is_ascii_digit())).collect()
}

/// Collects the names of relations.
#[derive(Default)]
struct Names(BTreeSet<&'static str>, Outline);

impl ConstraintSystem for Names {
    type Var = Nothing;

    fn witness(&mut self, value: Fr) -> Nothing {
        self.1.witness(value)
    }

    fn value(&self, var: &Nothing) -> Fr {
        self.1.value(var)
    }

    fn enforce(&mut self, a: &Nothing, b: &Nothing, c: &Nothing) {
        self.1.enforce(a, b, c);
    }

    fn relation(&mut self, name: &'static str) {
        self.0.insert(name);
    }
}

/// What a new relation of the machine needs is a test that breaks it.
#[test]
fn every_relation_of_the_machine_is_in_these_tests() {
    let names = names();
    assert!(names.len() > 25, "{names:?}");
    let tests = [include_str!("relations.rs"), include_str!("../tests.rs")].concat();
    let missing: Vec<_> = names.iter().filter(|name| !tests.contains(&format!("\"{name}\""))).collect();
    assert!(missing.is_empty(), "no test breaks {missing:?}");
}

#[test]
fn s1_one_operation_is_selected() {
    let idle = Slot::idle(Steps::on(state()), 0, EMPTY, 0);
    let standard = crate::ops::operations().len();
    // None is, or two are, which agree on everything.
    assert_eq!(idle.violated_by(&[at("S1, operation", standard, 0)]), only("S1, operation"));
    assert_eq!(idle.violated_by(&[at("S1, operation", standard + 1, 1)]), only("S1, operation"));
    let refusal = idle.steps.apply(&record(199, EMPTY, 0), Limits::default()).expect_err("none has that number");
    assert_eq!(refusal.refusal, Refusal::UnknownOperation(199));
    // A slot that acts twice would post what is no record, and so it is held by more than its bit.
    let violated = idle.violated_by(&[at("S1, active bit", 0, 2)]);
    assert!(violated.contains("S1, active bit"), "{violated:?}");
}

#[test]
fn s1_a_record_is_that_of_its_operation() {
    let pay = Slot::pay();
    let word = pay.assert_alone("S1, what is not posted", |witness| witness.record.word = Fr::from(1u64));
    let receive = Slot::receive();
    let b = receive.assert_alone("S1, what is not posted", |witness| witness.record.b = 1);
    assert_eq!([word, b], [Some(Refusal::NotPosted); 2]);
    for unknown in [1 << 6, 1 << 7] {
        let refusal = pay.assert_alone("S1, flags", |witness| witness.record.flags |= unknown);
        assert_eq!(refusal, Some(Refusal::Flags(unknown)));
    }
    // Trap 1: cell 0, whose token is bitcoin, is nobody's.
    let nobody = pay.assert_alone("S1, nobody's cell", |witness| witness.record.cell = CellIndex::default());
    assert_eq!(nobody, Some(Refusal::Nobody));
    let outside = StepRecord { cell: index(64), ..pay.witness.record };
    let refusal = pay.steps.apply(&outside, UNTIL).expect_err("64 cells are 0 to 63");
    assert_eq!(refusal.refusal, Refusal::OutsideTree(pay.steps.state.depth()));
}

/// The bits of the record are bits: behind the heading the flags, the cell's index, then a, b and c.
#[test]
fn s1_numbers_of_the_record_have_their_widths() {
    let idle = Slot::idle(Steps::on(state()), 0, EMPTY, 0);
    let heading = "S1, widths of the record";
    let first = 8 + 6;
    for wire in [2, 7, first, first + 63, first + 64, first + 128, first + 191] {
        assert_eq!(idle.violated_by(&[at(heading, wire, 2)]), only(heading), "wire {wire}");
    }
    let violated = idle.violated_by(&[at(heading, 8, 2)]);
    assert!(violated.contains(heading), "{violated:?}");
}

#[test]
fn s2_the_cell_is_in_the_state_and_of_its_kind() {
    let receive = Slot::receive();
    // The first wires are the elements of the cell before.
    receive.assert_lie_breaks("S2, kind of the cell", 0, Fr::from(2u64), "S2, kind of the cell");
    let second = receive.witness.cell.before.elements().0[7];
    receive.assert_lie_breaks("S2, kind of the cell", 7, second + Fr::from(1u64), "S2, second holding");
    let mut chunk = receive.chunk.clone();
    let witness = receive.steps.alter(&mut chunk, |witness| {
        let Cell::Account(account) = witness.cell.before else { panic!("an account") };
        witness.cell.before = Cell::Account(Account { nonce: account.nonce + 1, ..account });
    });
    assert_breaks_alone(&receive.steps.slot(), &chunk, &witness, "S2, cell in the state");
    let refusal = receive.steps.apply(&record(Receive::NUMBER, TOKEN, 0), Limits::default()).expect_err("a token");
    assert_eq!(refusal.refusal, Refusal::WrongCell { expected: 1, found: 2 });
}

#[test]
fn s2_the_cell_after_is_what_the_state_after_has() {
    let mut steps = Steps::on(State::new(3, Token::BITCOIN, 6));
    let pay = StepRecord { a: 500, b: 3, ..record(Pay::NUMBER, 1, 0) };
    steps.run_within(pay, UNTIL).expect("it can pay");
    let chunk = steps.chunk(1);
    let slot = Slot { witness: steps.witness_of(&chunk, 0), chunk, steps };
    // The hashes of the cell, and the level of the tree below the cap.
    slot.assert_wires_held("S2, path of the cell", 2);
    slot.assert_lie_breaks("S2, path of the cell", 2 * 363 + 8, Fr::from(77u64), "S2, path of the cell");
    slot.assert_lie_breaks("S2 or S9, state after", 0, Fr::from(77u64), "S2 or S9, state after");
    slot.assert_lie_breaks("S1 or S9, record", 0, Fr::from(77u64), "S1 or S9, record");
    slot.assert_lie_breaks("S1 or S9, record", 1, Fr::from(77u64), "S1 or S9, record");
    slot.assert_lie_breaks("S5 or S9, sum of fees", 0, Fr::from(4u64), "S5 or S9, sum of fees");
}

#[test]
fn s3_operations_stand_where_they_may() {
    let place = "S3, place of the operation";
    let clause = RunningClause { signer: index(3), owner: *secret(3).public(), digest: Fr::from(9u64) };
    let session = Slot::new(Steps::on(state()), record(Session::NUMBER, POOL, 0), Limits::default());
    let refusal = session.assert_alone(place, |witness| witness.registers.clause = Some(clause));
    assert_eq!(refusal, Some(Refusal::ClauseRuns));
    // Trap 41: without a clause nobody signs.
    let token = StepRecord { a: 9, ..record(TokenOperation::NUMBER, EMPTY, 0) };
    let token = Slot::new(begun(2), token, Limits::default());
    let violated = token.violated(|witness| witness.registers.clause = None);
    assert!(violated.contains(place), "{violated:?}");
    let registers = in_session().registers;
    let refusal = Slot::receive().assert_alone(place, |witness| witness.registers.session = registers.session);
    assert_eq!(refusal, Some(Refusal::SessionOpen(index(POOL))));
    // Whether a clause runs, whether it goes on, and whose it is.
    Slot::pay().assert_wires_held(place, 1);
    token.assert_wires_held(place, 4);
}

/// The signature is the signer's, of the digest, whatever else is so.
#[test]
fn trap_12_s3_the_signer_signed_the_digest() {
    let pay = StepRecord { a: 500, ..record(Pay::NUMBER, 1, flag::END) };
    let ended = Slot::new(Steps::on(state()), pay, UNTIL);
    let applied = ended.steps.machine.apply(
        &ended.steps.context(),
        &Registers::default(),
        &ended.witness.cell.before,
        &pay,
        Some(UNTIL),
    );
    let (owner, message) = applied.expect("a valid step").signed.expect("the clause ends");
    assert_eq!(owner, *secret(1).public());
    let nothing = [Fr::from(0u64); 4];
    let others = [
        SecretKey::from_seed(&[77; 32]).sign(&message),
        secret(1).sign(&nothing),
        secret(1).sign(&[message[0] + Fr::from(1u64), message[1], message[2], message[3]]),
        crate::step::known_signature(),
    ];
    let violated = |witness: &StepWitness| violated_in_its_state(&ended.steps.slot(), &ended.chunk, witness);
    for signature in others {
        assert_eq!(violated(&StepWitness { signature, ..ended.witness.clone() }), only("S3, signature"));
    }
    // Where nobody has to sign, the known key signed nothing, and the account's owner cannot stand in for it.
    let going_on = Slot::pay();
    let signature = secret(1).sign(&nothing);
    assert_eq!(going_on.violated(|witness| witness.signature = signature), only("S3, signature"));
    // The wires that select the key and the message.
    ended.assert_lie_breaks("S3, signature", 0, Fr::from(77u64), "S3, signature");
}

#[test]
fn s4_a_clause_ends_where_one_runs() {
    let violated = Slot::receive().violated(|witness| witness.record.flags |= flag::END);
    assert!(violated.contains("S4, end of the clause"), "{violated:?}");
    let end = StepRecord { a: 300, ..record(Receive::NUMBER, 2, flag::END) };
    let refusal = Steps::on(state()).apply(&end, Limits::default()).expect_err("no clause runs");
    assert_eq!(refusal.refusal, Refusal::NoClause);
    // In a padding slot, where a clause may run, nothing ends it.
    let violated = Slot::pay().violated_in_padding(&[at("S1, widths of the record", 0, 1)]);
    assert!(violated.contains("S4, end of the clause"), "{violated:?}");
}

#[test]
fn s4_the_digest_and_what_is_left_of_a_clause_are_computed() {
    // PAY does not end its clause: what it absorbs is in the registers alone.
    let pay = Slot::pay();
    pay.assert_wires_held("S4, digest", 40);
    pay.assert_wires_held("S4, clause after", 9);
    let receive = StepRecord { a: 300, ..record(Receive::NUMBER, 2, flag::END) };
    Slot::new(begun(1), receive, Limits::default()).assert_wires_held("S4, clause after", 9);
}

#[test]
fn s4_new_keys_are_owners_keys() {
    let token = StepRecord { a: 9, ..record(TokenOperation::NUMBER, EMPTY, 0) };
    let token = Slot::new(begun(2), token, Limits::default());
    let stranger = Account::new(*secret(9).public(), Token::BITCOIN, 0);
    token.assert_alone("S4, new owner's key", |witness| witness.cell.after = Cell::Account(stranger));
    // A hidden point that is not on the curve, of an account that is opened.
    let word = secret(9).public().x();
    let open = StepRecord { word, ..record(Open::NUMBER, EMPTY, 0) };
    let open = Slot::new(Steps::on(state()), open, Limits::default());
    let violated = open.violated_by(&[at("S4, new owner's key", 0, 77)]);
    assert!(violated.contains("S4, new owner's key"), "{violated:?}");
}

#[test]
fn s5_what_cells_lose_is_in_motion() {
    let pay = Slot::pay();
    let lane = |token, value| Lane { token: Token(token), value };
    let full = [lane(1, 5), lane(2, 1), lane(3, 2)];
    let refusal = pay.assert_alone("S5, lanes", |witness| {
        witness.record.flags |= Pay::JOINT;
        witness.registers.lanes = full;
    });
    assert_eq!(refusal, Some(Refusal::NoLane(Token::BITCOIN)));
    pay.assert_wires_held("S5, lanes", 12);
    // The wires that claim the tokens of the cell after.
    let claims = "S5, what is in motion";
    pay.assert_lie_breaks(claims, 0, Fr::from(5u64), "S5, what the cell holds after");
    pay.assert_lie_breaks(claims, 1, Fr::from(5u64), "S5, what the cell holds after");
    // Whether the first lane is of the token, which PAY does not ask.
    pay.assert_lie_breaks(claims, 3, Fr::from(1u64), "S5, what is in motion");
    // Trap 85: a fee in another token than the chunk's.
    let mut other = Slot::pay();
    other.chunk.statement.context.token = Token(TOKEN);
    let refusal = other.assert_alone("S5, token of the fee", |_| ());
    assert_eq!(refusal, Some(Refusal::FeeToken { expected: Token(TOKEN), found: Token::BITCOIN }));
    // What is minted, which RECEIVE does not look at.
    let minted = Slot::new(begun(1), StepRecord { a: 5, ..record(Mint::NUMBER, TOKEN, 0) }, Limits::default());
    minted.assert_wires_held("S5, supply", 1);
}

/// A holding's token changes only while the holding is empty: otherwise ten sat would become ten of a token.
#[test]
fn s5_the_token_of_a_holding_stays_while_it_holds_something() {
    let mut steps = Steps::on(state());
    steps.machine = machine_with(vec![Arc::new(Faulty { kind: Account::KIND, number: 202 })]);
    let held = |first: u32, second: u32| {
        let c = u64::from(first) | u64::from(second) << 32;
        StepRecord { a: 1_000_000, b: 5_000_000, c, ..record(202, 1, 0) }
    };
    let slot = Slot::new(steps, held(0, TOKEN), Limits::default());
    for (first, second) in [(OTHER, TOKEN), (0, OTHER), (TOKEN, 0)] {
        let refusal = slot.assert_alone("S5, token of a holding", |witness| {
            witness.record = held(first, second);
            let Cell::Account(account) = &mut witness.cell.after else { panic!("an account") };
            (account.token, account.second.token) = (Token(first), Token(second));
            for (integer, token) in witness.integers.iter_mut().zip([first, second]) {
                integer.value = token.into();
            }
        });
        assert_eq!(refusal, Some(Refusal::TokenChanged));
    }
}

/// The registers that a slot hands on, active or not, are what it leaves.
#[test]
fn s5_registers_are_handed_on() {
    let pay = Slot::pay();
    let count = pay.steps.slot().register_count();
    pay.assert_wires_held("S5, registers", count);
    for wire in 0..count {
        assert_eq!(pay.violated_in_padding(&[at("S5, registers", wire, 77)]), only("S5, registers"));
    }
}

#[test]
fn s6_who_signs_nothing_sets_no_limit() {
    let receive = Slot::receive();
    let refusal = receive.assert_alone("S6, limits", |witness| {
        witness.limits.least = 1;
        // The least, and what is given beyond it.
        witness.integers[2].value = 1;
        witness.integers[3].value = 299;
    });
    assert_eq!(refusal, Some(Refusal::NoLimit));
    let mut steps = Steps::on(state());
    steps.machine = machine_with(vec![Arc::new(Limited)]);
    let limited = StepRecord { a: 300, ..record(Limited::NUMBER, 2, 0) };
    // Without a clause even the last height must be zero, which has passed.
    let refusal = steps.apply(&limited, UNTIL).expect_err("nobody signs it");
    assert_eq!(refusal.refusal, Refusal::NoLimit);
    steps.run_within(record(Pay::NUMBER, 1, 0), UNTIL).expect("a clause begins");
    let limited = Slot::new(steps, limited, Limits { least: 200, until: HEIGHT + 1 });
    // What the operation knows, the operation holds; beyond it, and past the height, there is no integer.
    let refusal = limited.assert_alone("LIMITED, limits", |witness| {
        witness.limits.least = 301;
        witness.integers[0].value = 301;
    });
    assert!(matches!(refusal, Some(Refusal::LimitNotMet { least: 301, given: 300, .. })), "{refusal:?}");
    let refusal = limited.assert_alone("LIMITED, limits", |witness| {
        witness.limits.until = HEIGHT - 1;
        witness.integers[2].value = u128::from(HEIGHT - 1);
    });
    assert_eq!(refusal, Some(Refusal::Expired { until: HEIGHT - 1, height_blocks: HEIGHT }));
}

/// Each register that S7 looks at, left open alone.
#[test]
fn trap_48_s7_nothing_is_left_open() {
    let relation = "S7, nothing is left open";
    let done = |witness: &mut StepWitness| witness.record.flags |= flag::DONE;
    let lane = |value: i64| Some(Refusal::LaneOpen { token: Token::BITCOIN, value: i128::from(value).into() });
    assert_eq!(Slot::receive().assert_alone(relation, done), lane(-300));
    let paid = Slot::new(Steps::on(state()), StepRecord { a: 500, ..record(Pay::NUMBER, 1, flag::END) }, UNTIL);
    assert_eq!(paid.assert_alone(relation, done), lane(500));
    for position in 0..3 {
        let mut steps = Steps::on(state());
        steps.registers.lanes[position] = Lane { token: Token(OTHER), value: -1 };
        let value = (-1).into();
        let refusal = Slot::idle(steps, Account::KIND, 2, 0).assert_alone(relation, done);
        assert_eq!(refusal, Some(Refusal::LaneOpen { token: Token(OTHER), value }));
    }
    let clause = Slot::new(Steps::on(state()), record(Pay::NUMBER, 1, 0), UNTIL);
    assert_eq!(clause.assert_alone(relation, done), Some(Refusal::ClauseOpen));
    let order = StepRecord { c: POOL.into(), ..record(Order::NUMBER, 2, flag::END) };
    let session = Slot::new(in_session(), order, UNTIL);
    assert_eq!(session.assert_alone(relation, done), Some(Refusal::SessionOpen(index(POOL))));
    let mut steps = Steps::on(state());
    steps.machine = owing();
    let owed = Slot::new(steps, Owe::record(2, 0, 70), Limits::default());
    let due = Refusal::DueOpen { account: index(2), token: Token::BITCOIN, amount: 70 };
    assert_eq!(owed.assert_alone(relation, done), Some(due));
    // The lanes' tokens and the fact, which are cleared where the transaction is done.
    let closed = Slot::new(in_session(), record(Clear::NUMBER, POOL, flag::DONE), Limits::default());
    closed.assert_wires_held("S7, registers after", 10);
}

#[test]
fn s8_bits_that_nobody_takes_are_zero() {
    let pay = Slot::pay();
    let relation = "S9, bits that the operation does not take";
    pay.assert_alone(relation, |witness| witness.integers.push(PoolInteger { value: 1, width_bits: 1 }));
    let relation = "S8, bits that the operations share";
    assert_eq!(pay.violated_in_padding(&[at(relation, 5, 1)]), only(relation));
    // A bit is a bit, for the operation that takes it as for those that do not.
    let violated = pay.violated_by(&[at(relation, 0, 2)]);
    assert!(violated.contains(relation), "{violated:?}");
}

/// A padding slot has no record, whatever its flags and numbers would be.
#[test]
fn trap_86_s9_padding_has_no_record() {
    let pay = Slot::pay();
    let heading = "S1, widths of the record";
    // Flags of an operation's own, bits of the cell's index and of numbers, and the word.
    for wire in [3, 7, 8, 13, 14, 20, 100, 205, 206] {
        let violated = pay.violated_in_padding(&[at(heading, wire, 1)]);
        assert_eq!(violated, only("S9, padding has no record"), "wire {wire}");
    }
    // DONE, which would clear what is in motion; where nothing is open, it breaks nothing else.
    let closed = Slot::new(Steps::on(state()), record(Receive::NUMBER, 2, flag::DONE), Limits::default());
    assert_eq!(closed.violated_in_padding(&[at(heading, 1, 1)]), only("S9, padding has no record"));
    // An operation that is selected where nothing is active.
    let idle = Slot::idle(Steps::on(state()), 0, EMPTY, 0);
    let violated = idle.violated_in_padding(&[at("S1, operation", crate::ops::operations().len(), 1)]);
    assert!(violated.contains("S1, operation") && violated.contains("S9, padding has no record"), "{violated:?}");
}
