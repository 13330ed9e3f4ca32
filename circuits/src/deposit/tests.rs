//! Each relation of a deposit, broken alone, is refused by rule and circuit; what is legal is accepted by both.

use super::{
    circuit::DepositCircuit,
    rule::{DepositError, apply},
};
use crate::{
    account::AccountError,
    chunk::{
        AssignError, SlotCircuit,
        witness::{CellUpdate, ChunkWitness, DepositWitness, SlotWitnesses},
    },
    testing::{
        Lie, assert_active_is_a_bit, assert_breaks_alone, assert_lies_break, assert_padding_is_inert, assign,
        state::{ALTERATIONS, State, besides, index, secret},
    },
};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field};
use proptest::prelude::*;
use taproof_verifier::{
    cell::{Account, Cell, MerklePath, Token},
    record::DepositRecord,
};

const CELL_BEFORE: &str = "R4, cell before";
/// Wires after the heading of R4: the fields of the cell before, then of the cell after.
const KIND_BEFORE: usize = 0;
const FIELDS: usize = 8;
const NONCE: usize = 2;
const BALANCE: usize = 3;
const TICKETS: usize = 6;
const SECOND: usize = 7;

fn state() -> State {
    State::new(3, Token::BITCOIN, 4)
}

/// A deposit that claims what it likes of the cell after.
fn claim(state: &mut State, record: DepositRecord, after: Cell) -> (ChunkWitness, DepositWitness) {
    let cap = state.cap();
    let witness = DepositWitness { record, to: state.update(record.to.get(), after) };
    (state.chunk(cap, 1, SlotWitnesses::Deposit(vec![witness.clone()])), witness)
}

fn record(to: u32, amount_sat: u64, owner: u8) -> DepositRecord {
    DepositRecord { to: index(to), amount_sat, owner: *secret(owner).public() }
}

/// The cell that a valid deposit of 500 to account 1 makes, altered.
fn altered(state: &State, alter: impl FnOnce(&mut Account)) -> Cell {
    let mut account = state.account(1);
    account.balance += 500;
    alter(&mut account);
    Cell::Account(account)
}

#[test]
fn r1_an_index_outside_the_tree_proves_another_record() {
    let mut state = state();
    let cap = state.cap();
    let mut witness = state.deposit(9, 500, 9);
    witness.record.to = index(9 + 512);
    let error = apply(state.depth, &witness.record, &Cell::Empty).expect_err("outside the tree");
    assert!(matches!(error, DepositError::Account(AccountError::IndexOutOfRange { .. })));
    let chunk = state.chunk(cap, 1, SlotWitnesses::Deposit(vec![witness]));
    assert_eq!(assign(&chunk), Err(AssignError::StatementMismatch));
}

#[test]
fn r3_the_cell_before_is_that_of_the_state() {
    let mut state = state();
    let real = state.clone();
    let rich = Account { balance: u64::MAX - 500, ..state.account(1) };
    state.set(1, Cell::Account(rich));
    let mut witness = state.deposit(1, 500, 1);
    let mut chunk = state.chunk(real.cap(), 1, SlotWitnesses::Deposit(vec![witness.clone()]));
    assert_breaks_alone(&DepositCircuit, &chunk, &witness, "R3, cell before in the state");

    let (mut state, cap) = (real.clone(), real.cap());
    witness = state.deposit(1, 500, 1);
    let mut levels = witness.to.path.levels().to_vec();
    levels[0][3] += Fr::ONE;
    witness.to.path = MerklePath::new(levels).expect("three levels");
    chunk = state.chunk(cap, 1, SlotWitnesses::Deposit(vec![witness.clone()]));
    assert_breaks_alone(&DepositCircuit, &chunk, &witness, "R3, cell before in the state");
}

#[test]
fn r4_an_account_of_another_owner_or_token_is_not_credited() {
    let mut state = state();
    let taken = record(1, 500, 2);
    let error = apply(state.depth, &taken, &state.cell(1)).expect_err("somebody else's");
    assert_eq!(error, DepositError::OwnerMismatch { index: index(1) });
    let after = altered(&state, |account| account.owner = taken.owner);
    let (chunk, witness) = claim(&mut state, taken, after);
    assert_breaks_alone(&DepositCircuit, &chunk, &witness, CELL_BEFORE);

    let mut state = self::state();
    let foreign = Account { token: Token(4), ..state.account(1) };
    state.set(1, Cell::Account(foreign));
    let error = apply(state.depth, &record(1, 500, 1), &state.cell(1)).expect_err("another token");
    assert!(matches!(error, DepositError::Account(AccountError::WrongToken { .. })));
    let after = altered(&state, |account| account.token = Token::BITCOIN);
    let (chunk, witness) = claim(&mut state, record(1, 500, 1), after);
    assert_breaks_alone(&DepositCircuit, &chunk, &witness, CELL_BEFORE);
}

#[test]
fn r4_an_empty_cell_holds_nothing() {
    let mut state = state();
    let after = altered(&state, |_| ());
    let (chunk, witness) = claim(&mut state, record(1, 500, 1), after);
    for forged in [Fr::ZERO, Fr::from(2u64)] {
        let lie = Lie::At { relation: CELL_BEFORE, wire: KIND_BEFORE, forged };
        assert_lies_break(&DepositCircuit, &chunk, true, &witness, &[lie], CELL_BEFORE);
    }
    // No account comes out of a cell without one with more than the deposit: the lie is carried on to the cell after.
    let mut state = self::state();
    let record = record(9, 500, 9);
    let after = apply(state.depth, &record, &Cell::Empty).expect("an empty cell");
    let (chunk, witness) = claim(&mut state, record, after);
    for (field, forged, carried) in [
        (NONCE, Fr::ONE, Fr::ONE),
        (BALANCE, Fr::ONE, Fr::from(501u64)),
        (TICKETS, Fr::ONE, Fr::ONE),
        (SECOND, -Fr::ONE, -Fr::ONE),
    ] {
        let lie = |wire, forged| Lie::At { relation: CELL_BEFORE, wire, forged };
        let lies = [lie(field, forged), lie(FIELDS + field, carried)];
        assert_lies_break(&DepositCircuit, &chunk, true, &witness, &lies, CELL_BEFORE);
    }
}

#[test]
fn r5_the_balance_grows_by_the_amount() {
    for wrong in [-1i64, 1] {
        let mut state = state();
        let after = altered(&state, |account| account.balance = account.balance.wrapping_add_signed(wrong));
        assert_ne!(apply(state.depth, &record(1, 500, 1), &state.cell(1)), Ok(after));
        let (chunk, witness) = claim(&mut state, record(1, 500, 1), after);
        assert_breaks_alone(&DepositCircuit, &chunk, &witness, "R5, balance after");
    }
}

#[test]
fn r5_the_balance_stays_below_64_bits() {
    let mut state = state();
    state.set(1, Cell::Account(Account { balance: u64::MAX - 499, ..state.account(1) }));
    let error = apply(state.depth, &record(1, 500, 1), &state.cell(1)).expect_err("too much");
    assert!(matches!(error, DepositError::Account(AccountError::BalanceOverflow { .. })));
    let after = Cell::Account(Account { balance: 0, ..state.account(1) });
    let (chunk, witness) = claim(&mut state, record(1, 500, 1), after);
    let forged = Fr::from(u64::MAX) + Fr::ONE;
    let lie = Lie::At { relation: CELL_BEFORE, wire: FIELDS + BALANCE, forged };
    assert_lies_break(&DepositCircuit, &chunk, true, &witness, &[lie], "R5, balance after");
}

#[test]
fn r6_all_else_stays() {
    let alterations: [fn(&mut Account); 3] = [
        |account| account.nonce = 0,
        |account| account.token = Token(4),
        |account| account.owner = *secret(3).public(),
    ];
    for alter in alterations.into_iter().chain(ALTERATIONS) {
        let mut state = state();
        let after = altered(&state, alter);
        assert_ne!(apply(state.depth, &record(1, 500, 1), &state.cell(1)), Ok(after));
        let (chunk, witness) = claim(&mut state, record(1, 500, 1), after);
        assert_breaks_alone(&DepositCircuit, &chunk, &witness, "R6, cell after");
    }
    // Elements that no tickets and no holding have, and a new account that begins with some.
    for record in [record(1, 500, 1), record(9, 500, 9)] {
        let mut state = state();
        let after = apply(state.depth, &record, &state.cell(record.to.get())).expect("a valid deposit");
        let (chunk, witness) = claim(&mut state, record, after);
        for (field, forged) in [(TICKETS, Fr::ONE), (TICKETS, -Fr::ONE), (SECOND, Fr::ONE), (SECOND, -Fr::ONE)] {
            let lie = Lie::At { relation: CELL_BEFORE, wire: FIELDS + field, forged };
            assert_lies_break(&DepositCircuit, &chunk, true, &witness, &[lie], "R6, cell after");
        }
    }
}

#[test]
fn r7_the_state_after_is_that_of_the_cell_after() {
    let mut state = state();
    let after = altered(&state, |_| ());
    let (chunk, witness) = claim(&mut state, record(1, 500, 1), after);
    let relation = DepositCircuit::RELATIONS.state_after;
    let [before, honest] = [chunk.cap.nodes()[0], state.cap().nodes()[0]];
    let no_change = Lie::At { relation, wire: 0, forged: Fr::ZERO };
    for lie in [no_change, Lie::First { honest, forged: before }, Lie::First { honest, forged: Fr::ZERO }] {
        assert_lies_break(&DepositCircuit, &chunk, true, &witness, &[lie], relation);
    }
}

#[test]
fn r8_padding_is_inert() {
    let mut state = state();
    let cap = state.cap();
    let chunk = state.chunk(cap, 1, SlotWitnesses::Deposit(Vec::new()));
    assert_padding_is_inert(&DepositCircuit, &chunk);
    let cap = state.cap();
    let witness = state.deposit(1, 500, 1);
    let chunk = state.chunk(cap, 1, SlotWitnesses::Deposit(vec![witness.clone()]));
    assert_active_is_a_bit(&DepositCircuit, &chunk, &witness);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The circuit accepts what the rule accepts: any cell, owner and amount, the claims made without checks.
    #[test]
    fn twins_agree(
        to in 0u32..8,
        owner in 1u8..4,
        held in prop::option::of((0u32..2, prop_oneof![Just(0), Just(u64::MAX), any::<u64>()], 1u8..4, besides())),
        amount in prop_oneof![Just(0), Just(u64::MAX), any::<u64>()],
    ) {
        let mut state = State::new(1, Token::BITCOIN, 0);
        if let Some((token, balance, owner, (tickets, second))) = held {
            let account = Account::new(*secret(owner).public(), Token(token), balance);
            state.set(to, Cell::Account(Account { nonce: 5, tickets, second, ..account }));
        }
        let record = record(to, amount, owner);
        let before = state.cell(to);
        let new = Account::new(record.owner, Token::BITCOIN, 0);
        let held = if let Cell::Account(account) = before { account } else { new };
        let balance = held.balance.wrapping_add(amount);
        let claimed = Cell::Account(Account { token: Token::BITCOIN, balance, owner: record.owner, ..held });
        let native = apply(state.depth, &record, &before);
        let (chunk, DepositWitness { to: CellUpdate { after, .. }, .. }) = claim(&mut state, record, claimed);
        prop_assert_eq!(assign(&chunk).is_ok(), native.is_ok());
        if let Ok(expected) = native {
            prop_assert_eq!(after, expected);
        }
    }
}
