//! Each relation of the machine violated alone. What operations hold is in their own tests.

use crate::{
    chunk::{
        SlotCircuit,
        witness::{ChunkWitness, StepWitness},
    },
    ops::{Pay, Receive, Session, Token as TokenOperation},
    schnorr::SecretKey,
    step::{Lane, Limits, PoolInteger, RunningClause, flag},
    testing::{
        Lie, assert_breaks_alone, assert_lies_break,
        operations::{EMPTY, POOL, TOKEN, state},
        state::{index, secret},
        steps::{HEIGHT, Steps, record},
        violated_by_lies, violated_in_its_state,
    },
};
use ark_bn254::Fr;
use std::collections::BTreeSet;
use taproof_verifier::{
    cell::{Account, Cell, CellIndex, Token},
    record::StepRecord,
};

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
        Self::new(Steps::on(state()), pay, Limits { least: 0, until: HEIGHT })
    }

    /// Account 2 receives 300 sat, outside of clauses.
    fn receive() -> Self {
        let receive = StepRecord { a: 300, ..record(Receive::NUMBER, 2, 0) };
        Self::new(Steps::on(state()), receive, Limits::default())
    }

    fn violated(&self, change: impl FnOnce(&mut StepWitness)) -> BTreeSet<&'static str> {
        let mut witness = self.witness.clone();
        change(&mut witness);
        violated_in_its_state(&self.steps.slot(), &self.chunk, &witness)
    }

    fn assert_alone(&self, relation: &'static str, change: impl FnOnce(&mut StepWitness)) {
        assert_eq!(self.violated(change), BTreeSet::from([relation]));
    }

    fn assert_lie_breaks(&self, heading: &'static str, wire: usize, forged: Fr, relation: &str) {
        let lie = Lie::At { relation: heading, wire, forged };
        assert_lies_break(&self.steps.slot(), &self.chunk, true, &self.witness, &[lie], relation);
    }
}

#[test]
fn s1_a_record_is_that_of_its_operation() {
    let pay = Slot::pay();
    pay.assert_alone("S1, what is not posted", |witness| witness.record.word = Fr::from(1u64));
    Slot::receive().assert_alone("S1, what is not posted", |witness| witness.record.b = 1);
    for unknown in [1 << 5, 1 << 6, 1 << 7] {
        pay.assert_alone("S1, flags", |witness| witness.record.flags |= unknown);
    }
    // Trap 1: cell 0, whose token is bitcoin, is nobody's.
    pay.assert_alone("S1, nobody's cell", |witness| witness.record.cell = CellIndex::default());
    // No operation is selected, or two are.
    for (wire, bit) in [(0, 0u64), (2, 1)] {
        let lie = Lie::At { relation: "S1, operation", wire, forged: bit.into() };
        let violated = violated_by_lies(&pay.steps.slot(), &pay.chunk, true, &pay.witness, &[lie]);
        assert!(violated.contains("S1, operation"), "{violated:?}");
    }
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
}

#[test]
fn s3_operations_stand_where_they_may_and_signers_signed() {
    let clause = RunningClause { signer: index(3), owner: *secret(3).public(), digest: Fr::from(9u64) };
    let session = Slot::new(Steps::on(state()), record(Session::NUMBER, POOL, 0), Limits::default());
    session.assert_alone("S3, place of the operation", |witness| witness.registers.clause = Some(clause));
    // Trap 44: a second PAY would take the place of the signer.
    let violated = Slot::pay().violated(|witness| witness.registers.clause = Some(clause));
    assert!(violated.contains("S3, place of the operation"), "{violated:?}");
    let mut begun = Steps::on(state());
    begun.run_within(record(Pay::NUMBER, 2, 0), Limits { least: 0, until: HEIGHT }).expect("a clause begins");
    let token = StepRecord { a: 9, ..record(TokenOperation::NUMBER, EMPTY, 0) };
    let token = Slot::new(begun, token, Limits::default());
    // Trap 41: without a clause nobody signs.
    let violated = token.violated(|witness| witness.registers.clause = None);
    assert!(violated.contains("S3, place of the operation"), "{violated:?}");
    let mut open = Steps::on(state());
    open.run(record(Session::NUMBER, POOL, 0)).expect("a session opens");
    let registers = open.registers;
    Slot::receive().assert_alone("S3, place of the operation", |witness| witness.registers.session = registers.session);
    // Trap 12: the signature is the signer's, of the digest, whatever else is so.
    let pay = StepRecord { a: 500, ..record(Pay::NUMBER, 1, flag::END) };
    let ended = Slot::new(Steps::on(state()), pay, Limits { least: 0, until: HEIGHT });
    let other = SecretKey::from_seed(&[77; 32]).sign(&[Fr::from(0u64); 4]);
    ended.assert_alone("S3, signature", |witness| witness.signature = other);
}

#[test]
fn s4_a_clause_ends_where_one_runs_and_new_keys_are_owners_keys() {
    let violated = Slot::receive().violated(|witness| witness.record.flags |= flag::END);
    assert!(violated.contains("S4, end of the clause"), "{violated:?}");
    let mut begun = Steps::on(state());
    begun.run_within(record(Pay::NUMBER, 2, 0), Limits { least: 0, until: HEIGHT }).expect("a clause begins");
    let token = StepRecord { a: 9, ..record(TokenOperation::NUMBER, EMPTY, 0) };
    let token = Slot::new(begun, token, Limits::default());
    let stranger = Account::new(*secret(9).public(), Token::BITCOIN, 0);
    token.assert_alone("S4, new owner's key", |witness| witness.cell.after = Cell::Account(stranger));
}

#[test]
fn s5_what_cells_lose_is_in_motion() {
    let pay = Slot::pay();
    let lane = |token, value| Lane { token: Token(token), value };
    pay.assert_alone("S5, lanes", |witness| witness.registers.lanes = [lane(1, 5), lane(2, 1), lane(3, 2)]);
    // The wires that claim the tokens of the cell after.
    let claims = "S5, what is in motion";
    pay.assert_lie_breaks(claims, 0, Fr::from(5u64), "S5, what the cell holds after");
    // Whether the first lane is of the token, which PAY does not ask.
    pay.assert_lie_breaks(claims, 3, Fr::from(1u64), "S5, what is in motion");
    // Trap 85: a fee in another token than the chunk's.
    let mut other = Slot::pay();
    other.chunk.statement.context.token = Token(TOKEN);
    other.assert_alone("S5, token of the fee", |_| ());
}

#[test]
fn s6_who_signs_nothing_sets_no_limit() {
    let receive = Slot::receive();
    receive.assert_alone("S6, limits", |witness| {
        // The least, and what is given beyond it.
        witness.integers[2].value = 1;
        witness.integers[3].value = 299;
    });
}

#[test]
fn s7_nothing_is_left_open() {
    Slot::pay().assert_alone("S7, nothing is left open", |witness| witness.record.flags |= flag::DONE);
    let receive = Slot::receive();
    receive.assert_alone("S7, nothing is left open", |witness| witness.record.flags |= flag::DONE);
}

#[test]
fn s8_bits_that_nobody_takes_are_zero() {
    let pay = Slot::pay();
    let relation = "S9, bits that the operation does not take";
    pay.assert_alone(relation, |witness| witness.integers.push(PoolInteger { value: 1, width_bits: 1 }));
    let lie = Lie::At { relation: "S8, bits that the operations share", wire: 5, forged: Fr::from(1u64) };
    let padding = pay.steps.slot().padding(&pay.chunk.statement);
    let relation = "S8, bits that the operations share";
    assert_lies_break(&pay.steps.slot(), &pay.chunk, false, &padding, &[lie], relation);
}

/// Trap 86: a padding slot has no record, whatever its flags and numbers would be.
#[test]
fn s9_padding_has_no_record() {
    let pay = Slot::pay();
    let padding = pay.steps.slot().padding(&pay.chunk.statement);
    // A flag, a bit of the cell's index, and one of a number.
    for wire in [3, 9, 20] {
        let lie = Lie::At { relation: "S1, widths of the record", wire, forged: Fr::from(1u64) };
        let violated = violated_by_lies(&pay.steps.slot(), &pay.chunk, false, &padding, &[lie]);
        assert!(violated.contains("S9, padding has no record"), "{violated:?}");
    }
}
