//! Both twins accept the same withdrawals, and each relation broken alone is refused by both.

use super::{
    circuit::{WithdrawCircuit, destination},
    rule::{WithdrawError, apply},
};
use crate::{
    account::{AccountError, PayerError, Rollup},
    chunk::{
        AssignError,
        witness::{CellUpdate, ChunkWitness, SlotWitnesses, WithdrawWitness},
    },
    cs::ConstraintSystem,
    schnorr::SignatureError,
    testing::{
        Piece, any_destination, assert_active_is_a_bit, assert_breaks_alone, assert_chunk_sound, assert_forgery_breaks,
        assert_padding_holds, assert_padding_is_inert, assert_sound, assign, run,
        state::{ALTERATIONS, CHAIN_ID, State, besides, index, paid, secret},
        unsatisfied,
    },
    transaction::{Body, Open, Signed, Withdraw},
};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field};
use proptest::prelude::*;
use std::collections::BTreeSet;
use taproof_verifier::{
    cell::{Account, Cell, ChainId, Depth, Token},
    record::{Destination, Record},
};

const TOKEN: Token = Token::BITCOIN;
const FROM: u32 = 1;

/// A withdrawal that is valid until a test changes it: what is signed, what is posted, and what is claimed of the cell.
#[derive(Clone)]
struct Draft {
    state: State,
    signed: Signed<Withdraw>,
    posted: Withdraw,
    /// The payer's account as it is claimed to be before.
    before: Account,
    after: Account,
}

impl Draft {
    fn new() -> Self {
        let body = Withdraw {
            chain_id: CHAIN_ID,
            token: TOKEN,
            from: index(FROM),
            nonce: 7,
            amount: 54_321,
            fee: 12_345,
            destination: Destination::P2tr([0xee; 32]),
        };
        Self::of(State::new(3, TOKEN, 6), body)
    }

    /// Claims what the rule says of a body, with wrapping where the rule refuses.
    fn of(state: State, body: Withdraw) -> Self {
        let before = state.account(body.from.get());
        let signed = Signed::sign(body, &secret(body.from.get() as u8));
        Self { state, signed, posted: body, before, after: paid(before, body.amount, body.fee) }
    }

    /// The same with another body, signed by the payer.
    fn with(mut self, change: impl FnOnce(&mut State, &mut Withdraw)) -> Self {
        let mut body = self.posted;
        change(&mut self.state, &mut body);
        Self::of(self.state, body)
    }

    /// What the native rule says of the signed body in the true state.
    fn native(&self) -> Result<Cell, WithdrawError> {
        let rollup = Rollup { chain_id: CHAIN_ID, depth: self.state.depth };
        apply(&rollup, &self.signed, &self.state.cell(self.signed.body().from.get()))
    }

    fn witness(&self) -> (ChunkWitness, WithdrawWitness) {
        let mut state = self.state.clone();
        let cap = state.cap();
        let from = state.update(self.posted.from.get(), Cell::Account(self.after));
        let from = CellUpdate { before: Cell::Account(self.before), ..from };
        let record = self.posted.record();
        let witness = WithdrawWitness { record, signature: *self.signed.signature(), from };
        (state.chunk(cap, 1, SlotWitnesses::Withdraw(vec![witness.clone()])), witness)
    }

    fn assert_breaks(&self, relation: &str) {
        let (chunk, witness) = self.witness();
        assert_breaks_alone(&WithdrawCircuit, &chunk, &witness, relation);
    }

    /// Checks that the native rule refuses with this error and the circuit by this relation alone.
    fn assert_refused(&self, error: impl Into<WithdrawError>, relation: &str) {
        assert_eq!(self.native(), Err(error.into()), "{relation}");
        self.assert_breaks(relation);
    }

    /// Checks that the native rule comes to another result and the circuit refuses by this relation alone.
    fn assert_other_result(&self, relation: &str) {
        assert!(self.native().is_ok_and(|after| after != Cell::Account(self.after)), "{relation}");
        self.assert_breaks(relation);
    }

    fn assert_forgery_breaks(&self, honest: Fr, forged: Fr, relation: &str) {
        let (chunk, witness) = self.witness();
        assert_forgery_breaks(&WithdrawCircuit, &chunk, &witness, [honest, forged], relation);
    }
}

fn claim(change: impl FnOnce(&mut Draft)) -> Draft {
    let mut draft = Draft::new();
    change(&mut draft);
    draft
}

#[test]
fn valid_withdrawals_hold_every_wire() {
    let mut state = State::new(3, TOKEN, 6);
    let cap = state.cap();
    // Every type of destination; nothing and everything can be paid; the operator pays itself.
    let slots = vec![
        state.withdraw(1, [500, 3], Destination::P2wpkh([0xff; 20])),
        state.withdraw(1, [999_497, 0], Destination::P2wsh([0xff; 32])),
        state.withdraw(2, [0, 0], Destination::P2tr([0; 32])),
        state.withdraw(5, [7, 2], Destination::P2tr([0xff; 32])),
        state.withdraw(5, [7, 2], Destination::P2pkh([0xff; 20])),
        state.withdraw(5, [7, 2], Destination::P2sh([0xff; 20])),
    ];
    assert_chunk_sound(&state.chunk(cap, 7, SlotWitnesses::Withdraw(slots)));
    let cap = state.cap();
    assert_chunk_sound(&state.chunk(cap, 1, SlotWitnesses::Withdraw(Vec::new())));
}

#[test]
fn the_draft_itself_is_valid() {
    let draft = Draft::new();
    assert_eq!(draft.native(), Ok(Cell::Account(draft.after)));
    assert!(assign(&draft.witness().0).is_ok());
}

#[test]
fn r1_the_record_is_that_of_the_transition() {
    let draft = Draft::new();
    let mut elements = Vec::new();
    draft.posted.record().write_elements(&mut elements);
    draft.assert_forgery_breaks(elements[0], elements[0] + Fr::from(2u64), "R1 or R11, record");
    // An index beyond the tree whose low bits are those of the cell.
    let beyond = index(512 + FROM);
    let depth = Depth::new(3).expect("three levels");
    let body = Withdraw { from: beyond, ..draft.posted };
    let rollup = Rollup { chain_id: CHAIN_ID, depth };
    let native = apply(&rollup, &Signed::sign(body, &secret(FROM as u8)), &draft.state.cell(FROM));
    let error = PayerError::Account(AccountError::IndexOutOfRange { index: beyond, depth });
    assert_eq!(native, Err(error.into()));
    let (_, mut witness) = draft.witness();
    witness.record = body.record();
    let mut state = draft.state.clone();
    let cap = state.cap();
    state.set(FROM, witness.from.after);
    let chunk = state.chunk(cap, 1, SlotWitnesses::Withdraw(vec![witness]));
    assert_eq!(assign(&chunk), Err(AssignError::StatementMismatch));
}

struct Program(u8, [Fr; 2]);

impl Piece for Program {
    fn synthesize<CS: ConstraintSystem>(&self, cs: &mut CS) {
        let (number, [head, tail]) = destination(cs, self.0, self.1);
        // The record binds all three.
        cs.enforce_equal(&number, &Fr::from(self.0).into());
        cs.enforce_equal(&head, &self.1[0].into());
        cs.enforce_equal(&tail, &self.1[1].into());
    }
}

impl Program {
    fn broken(&self) -> BTreeSet<&'static str> {
        let (shape, assignment) = run(self);
        unsatisfied(&shape, &assignment)
    }
}

#[test]
fn r2_destinations_have_five_types() {
    let (zero, one) = (Fr::ZERO, Fr::ONE);
    for number in 0..Destination::TYPES {
        assert_eq!(assert_sound(&Program(number, [one, zero])), 3 + 1 + 160 + 96 + 2 + 3);
    }
    // With a tail of zero, higher numbers violate nothing else. No native destination has one of these.
    for number in Destination::TYPES..8 {
        assert_eq!(Program(number, [one, zero]).broken(), BTreeSet::from(["R2, destination's number"]), "{number}");
        assert_eq!(Destination::program_length(number), None);
    }
    let numbers = [
        Destination::P2wpkh([1; 20]),
        Destination::P2wsh([1; 32]),
        Destination::P2tr([1; 32]),
        Destination::P2pkh([1; 20]),
        Destination::P2sh([1; 20]),
    ];
    assert_eq!(numbers.map(|destination| destination.number()), [0, 1, 2, 3, 4]);
}

#[test]
fn r3_programs_have_the_length_of_their_type() {
    let relation = BTreeSet::from(["R3, destination's program"]);
    let power = |exponent: u64| Fr::from(2u64).pow([exponent]);
    let (head_max, tail_max) = (power(160) - Fr::ONE, power(96) - Fr::ONE);
    for number in [0, 3, 4] {
        assert_sound(&Program(number, [head_max, Fr::ZERO]));
        for tail in [Fr::ONE, tail_max] {
            assert_eq!(Program(number, [head_max, tail]).broken(), relation);
        }
    }
    for number in [1, 2] {
        assert_sound(&Program(number, [head_max, tail_max]));
        assert_eq!(Program(number, [head_max + Fr::ONE, tail_max]).broken(), relation);
        assert_eq!(Program(number, [head_max, tail_max + Fr::ONE]).broken(), relation);
        assert_eq!(Program(number, [-Fr::ONE, tail_max]).broken(), relation);
    }
    // A program of 20 bytes has no native tail, and the widest programs meet the bounds exactly.
    assert_eq!(Destination::P2wpkh([0xff; 20]).elements(), [head_max, Fr::ZERO]);
    assert_eq!(Destination::P2sh([0xff; 20]).elements(), [head_max, Fr::ZERO]);
    assert_eq!(Destination::P2tr([0xff; 32]).elements(), [head_max, tail_max]);
}

#[test]
fn r4_the_payer_is_in_the_state() {
    let mut draft = Draft::new().with(|_, body| body.amount = 2_000_000);
    draft.before.balance += 2_000_000;
    draft.after.balance = draft.after.balance.wrapping_add(2_000_000);
    let (balance, needed) = (1_000_000, 2_000_000 + 12_345);
    draft.assert_refused(
        PayerError::InsufficientBalance { token: Token::BITCOIN, balance, needed },
        "R4, payer's cell in the state",
    );
}

#[test]
fn r5_the_payer_holds_bitcoin() {
    let other = Token(4);
    let draft = Draft::new().with(|state, body| {
        let account = state.account(body.from.get());
        state.set(body.from.get(), Cell::Account(Account { token: other, ..account }));
    });
    let error = AccountError::WrongToken { index: index(FROM), expected: TOKEN, found: other };
    draft.assert_refused(PayerError::from(error), "R5, payer's account");
    let body = Withdraw { token: other, ..Draft::new().posted };
    let draft = Draft::of(State::new(3, other, 6), body);
    draft.assert_refused(WithdrawError::NotBitcoin(other), "R5, bitcoin");
}

#[test]
fn r6_the_owner_signed() {
    let relation = "R6, signature";
    let mismatch = PayerError::BadSignature(SignatureError::Mismatch);
    let valid = Draft::new();
    let by_another = Signed::sign(valid.posted, &secret(2));
    let of_another = |change: fn(&mut Withdraw)| {
        let mut body = valid.posted;
        change(&mut body);
        Signed::new(valid.posted, *Signed::sign(body, &secret(FROM as u8)).signature())
    };
    let Withdraw { chain_id, token, from, nonce, amount, fee, .. } = valid.posted;
    let open = Open { chain_id, token, from, nonce, to: index(2), amount, fee, owner: *secret(9).public() };
    let open = Signed::sign(open, &secret(FROM as u8));
    for signed in [
        by_another,
        Signed::new(valid.posted, *open.signature()),
        of_another(|body| body.token = Token(4)),
        of_another(|body| body.from = index(2)),
        of_another(|body| body.amount -= 1),
        of_another(|body| body.fee -= 1),
        of_another(|body| body.destination = Destination::P2wsh([0xee; 32])),
        of_another(|body| body.destination = Destination::P2tr([0xef; 32])),
        of_another(|body| body.destination = Destination::P2sh([0xee; 20])),
    ] {
        Draft { signed, ..valid.clone() }.assert_refused(mismatch, relation);
    }
    let stale = valid.clone().with(|_, body| body.nonce = 6);
    stale.assert_refused(PayerError::StaleNonce { expected: 7, found: 6 }, relation);
    let early = valid.clone().with(|_, body| body.nonce = 8);
    early.assert_refused(PayerError::NonceTooHigh { expected: 7, found: 8 }, relation);
    let found = ChainId::from_byte_array([1; 15]);
    let replayed = valid.with(|_, body| body.chain_id = found);
    replayed.assert_refused(PayerError::WrongChain { expected: CHAIN_ID, found }, relation);
}

#[test]
fn r7_the_payer_pays_amount_and_fee() {
    let relation = "R7, payer's balance";
    claim(|draft| draft.after.balance += 1).assert_other_result(relation);
    claim(|draft| draft.after.balance += 12_345).assert_other_result(relation);
    let balance = 1_000_000;
    for (amount, fee) in [(1_000_001, 0), (1_000_000, 1), (u64::MAX, 0), (0, u64::MAX), (u64::MAX, 2)] {
        let draft = Draft::new().with(|_, body| (body.amount, body.fee) = (amount, fee));
        let needed = u128::from(amount) + u128::from(fee);
        draft.assert_refused(PayerError::InsufficientBalance { token: Token::BITCOIN, balance, needed }, relation);
    }
    // The balance that the field would give for an overdraft by one.
    let draft = Draft::new().with(|_, body| (body.amount, body.fee) = (balance, 1));
    draft.assert_forgery_breaks(Fr::from(u64::MAX), -Fr::ONE, relation);
}

#[test]
fn r8_the_nonce_is_counted() {
    let relation = "R8, payer's nonce";
    claim(|draft| draft.after.nonce -= 1).assert_other_result(relation);
    claim(|draft| draft.after.nonce += 1).assert_other_result(relation);
    let exhausted = Draft::new().with(|state, body| {
        let account = state.account(body.from.get());
        state.set(body.from.get(), Cell::Account(Account { nonce: u32::MAX, ..account }));
        body.nonce = u32::MAX;
    });
    exhausted.assert_refused(PayerError::NonceExhausted, relation);
    let mut beyond = exhausted;
    beyond.after.nonce = 77_777;
    beyond.assert_forgery_breaks(Fr::from(77_777u64), Fr::from(1u64 << 32), relation);
}

#[test]
fn r9_the_payer_keeps_all_else() {
    let relation = "R9, payer's cell";
    for change in ALTERATIONS {
        claim(|draft| change(&mut draft.after)).assert_other_result(relation);
    }
    claim(|draft| draft.after.token = Token(4)).assert_other_result(relation);
    claim(|draft| draft.after.owner = *secret(2).public()).assert_other_result(relation);
    let draft = Draft::new();
    let mut state = draft.state.clone();
    state.set(FROM, Cell::Account(draft.after));
    // The node of the cap above the payer's cell.
    let [before, after] = [&draft.state, &state].map(|state| state.cap().nodes()[0]);
    draft.assert_forgery_breaks(after, before, "R9 or R11, state after");
    draft.assert_forgery_breaks(after - before, Fr::ZERO, "R9 or R11, state after");
}

#[test]
fn r10_the_fee_is_counted() {
    let fee = Fr::from(12_345u64);
    Draft::new().assert_forgery_breaks(fee, fee - Fr::ONE, "R10 or R11, sum of fees");
    Draft::new().assert_forgery_breaks(fee, Fr::ZERO, "R10 or R11, sum of fees");
}

#[test]
fn r11_padding_posts_and_changes_nothing() {
    let mut state = State::new(3, TOKEN, 6);
    let cap = state.cap();
    let slots = vec![state.withdraw(1, [500, 3], Destination::P2wsh([9; 32]))];
    let chunk = state.chunk(cap, 2, SlotWitnesses::Withdraw(slots));
    let holders = ["R1 or R11, record", "R9 or R11, state after", "R10 or R11, sum of fees"];
    assert_padding_holds(&WithdrawCircuit, &chunk, holders);
    assert_padding_is_inert(&WithdrawCircuit, &chunk);
    let (chunk, witness) = Draft::new().witness();
    assert_active_is_a_bit(&WithdrawCircuit, &chunk, &witness);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn twins_agree(
        from in 1u32..6,
        nonce in prop_oneof![4 => Just(7u32), 1 => 6u32..9],
        amount in prop_oneof![0u64..2, 999_990u64..1_000_010, any::<u32>().prop_map(u64::from)],
        fee in 0u64..20,
        destination in any_destination(),
        signer in prop_oneof![4 => Just(None), 1 => (1u8..9).prop_map(Some)],
        (tickets, second) in besides(),
    ) {
        let body = Withdraw { chain_id: CHAIN_ID, token: TOKEN, from: index(from), nonce, amount, fee, destination };
        let mut state = State::new(3, TOKEN, 6);
        state.set(from, Cell::Account(Account { tickets, second, ..state.account(from) }));
        let mut draft = Draft::of(state, body);
        if let Some(signer) = signer {
            draft.signed = Signed::sign(body, &secret(signer));
        }
        let native = draft.native();
        prop_assert_eq!(assign(&draft.witness().0).is_ok(), native.is_ok());
        if let Ok(after) = native {
            prop_assert_eq!(after, Cell::Account(draft.after));
        }
    }
}
