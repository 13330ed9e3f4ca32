//! Both twins accept the same openings, and each relation broken alone is refused by both.

use super::{
    circuit::OpenCircuit,
    rule::{OpenEffect, OpenError, apply},
};
use crate::{
    account::{AccountError, PayerError, Rollup},
    chunk::{
        AssignError,
        witness::{CellUpdate, ChunkWitness, OpenWitness, SlotWitnesses},
    },
    schnorr::SignatureError,
    testing::{
        assert_active_is_a_bit, assert_breaks_alone, assert_chunk_sound, assert_forgery_breaks, assert_padding_holds,
        assert_padding_is_inert, assign,
        state::{ALTERATIONS, CHAIN_ID, State, besides, index, paid, secret},
    },
    transaction::{Body, Open, Signed, Transfer},
};
use ark_bn254::Fr;
use proptest::prelude::*;
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{Account, Cell, CellIndex, ChainId, Depth, Token},
    record::Record,
};

const TOKEN: Token = Token(3);
const FROM: u32 = 1;
const TO: u32 = 9;

/// An opening that is valid until a test changes it: what is signed, what is posted, and what is claimed of the cells.
#[derive(Clone)]
struct Draft {
    state: State,
    signed: Signed<Open>,
    posted: Open,
    /// The payer's account as it is claimed to be before.
    from_before: Account,
    from_after: Account,
    to_after: Account,
}

impl Draft {
    fn new() -> Self {
        let state = State::new(3, TOKEN, 6);
        let body = Open {
            chain_id: CHAIN_ID,
            token: TOKEN,
            from: index(FROM),
            nonce: 7,
            to: index(TO),
            amount: 54_321,
            fee: 12_345,
            owner: *secret(9).public(),
        };
        Self::of(state, body)
    }

    /// Claims what the rule says of a body, with wrapping where the rule refuses.
    fn of(state: State, body: Open) -> Self {
        let from_before = state.account(body.from.get());
        let from_after = paid(from_before, body.amount, body.fee);
        let to_after = Account::new(body.owner, body.token, body.amount);
        let signed = Signed::sign(body, &secret(body.from.get() as u8));
        Self { state, signed, posted: body, from_before, from_after, to_after }
    }

    /// The same with another body, signed by the payer.
    fn with(mut self, change: impl FnOnce(&mut State, &mut Open)) -> Self {
        let mut body = self.posted;
        change(&mut self.state, &mut body);
        Self::of(self.state, body)
    }

    /// What the native rule says of the signed body in the true state.
    fn native(&self) -> Result<OpenEffect, OpenError> {
        let rollup = Rollup { chain_id: CHAIN_ID, depth: self.state.depth };
        let body = self.signed.body();
        apply(&rollup, &self.signed, &self.state.cell(body.from.get()), &self.state.cell(body.to.get()))
    }

    /// What the witness claims that the rule says.
    fn claimed(&self) -> OpenEffect {
        OpenEffect { from_after: Cell::Account(self.from_after), to_after: Cell::Account(self.to_after) }
    }

    fn witness(&self) -> (ChunkWitness, OpenWitness) {
        let mut state = self.state.clone();
        let cap = state.cap();
        let from = state.update(self.posted.from.get(), Cell::Account(self.from_after));
        let from = CellUpdate { before: Cell::Account(self.from_before), ..from };
        let to = state.update(self.posted.to.get(), Cell::Account(self.to_after));
        let record = self.posted.record();
        let witness = OpenWitness { record, signature: *self.signed.signature(), from, to };
        (state.chunk(cap, 1, SlotWitnesses::Open(vec![witness.clone()])), witness)
    }

    fn assert_breaks(&self, relation: &str) {
        let (chunk, witness) = self.witness();
        assert_breaks_alone(&OpenCircuit, &chunk, &witness, relation);
    }

    /// Checks that the native rule refuses with this error and the circuit by this relation alone.
    fn assert_refused(&self, error: impl Into<OpenError>, relation: &str) {
        assert_eq!(self.native(), Err(error.into()), "{relation}");
        self.assert_breaks(relation);
    }

    /// Checks that the native rule comes to another result and the circuit refuses by this relation alone.
    fn assert_other_result(&self, relation: &str) {
        assert!(self.native().is_ok_and(|effect| effect != self.claimed()), "{relation}");
        self.assert_breaks(relation);
    }

    /// Checks that this relation alone is broken where a field of the payer's cell after holds what no account can.
    fn assert_forged_payer_breaks(&self, field: usize, forged: Fr, relation: &str) {
        // The new account is below another node of the cap, so that its path stays.
        self.assert_forgery_breaks(Cell::Account(self.from_after).elements().0[field], forged, relation);
    }

    fn assert_forgery_breaks(&self, honest: Fr, forged: Fr, relation: &str) {
        let (chunk, witness) = self.witness();
        assert_forgery_breaks(&OpenCircuit, &chunk, &witness, [honest, forged], relation);
    }
}

/// Where a cell's fields have the nonce and the balance.
const NONCE: usize = 2;
const BALANCE: usize = 3;

fn claim(change: impl FnOnce(&mut Draft)) -> Draft {
    let mut draft = Draft::new();
    change(&mut draft);
    draft
}

#[test]
fn valid_openings_hold_every_wire() {
    let mut state = State::new(3, TOKEN, 6);
    let cap = state.cap();
    // A new account pays at once; nothing and everything can be paid; the operator pays itself.
    let slots = vec![
        state.open(1, 9, [500, 3], 9),
        state.open(9, 10, [499, 1], 1),
        state.open(2, 11, [0, 0], 2),
        state.open(3, 12, [1_000_000, 0], 9),
        state.open(5, 63, [7, 2], 9),
    ];
    assert_chunk_sound(&state.chunk(cap, 6, SlotWitnesses::Open(slots)));
    let cap = state.cap();
    assert_chunk_sound(&state.chunk(cap, 1, SlotWitnesses::Open(Vec::new())));
}

#[test]
fn the_draft_itself_is_valid() {
    let draft = Draft::new();
    assert_eq!(draft.native(), Ok(draft.claimed()));
    assert!(assign(&draft.witness().0).is_ok());
}

#[test]
fn r1_the_record_is_that_of_the_transition() {
    let mut elements = Vec::new();
    let draft = Draft::new();
    draft.posted.record().write_elements(&mut elements);
    draft.assert_forgery_breaks(elements[0], elements[0] + Fr::from(2u64), "R1 or R12, record");
    // Indices beyond the tree whose low bits are those of the cells.
    let beyond = |low: u32| index(512 + low);
    let depth = Depth::new(3).expect("three levels");
    let out_of_range = |index| AccountError::IndexOutOfRange { index, depth };
    type Place = fn(&mut Open) -> &mut CellIndex;
    let places: [(Place, u32); 2] = [(|body| &mut body.from, FROM), (|body| &mut body.to, TO)];
    for (place, low) in places {
        let mut body = draft.posted;
        *place(&mut body) = beyond(low);
        let rollup = Rollup { chain_id: CHAIN_ID, depth };
        let signed = Signed::sign(body, &secret(FROM as u8));
        let native = apply(&rollup, &signed, &draft.state.cell(FROM), &draft.state.cell(TO));
        let expected = match low {
            FROM => OpenError::Payer(PayerError::Account(out_of_range(beyond(low)))),
            _ => OpenError::NewAccount(out_of_range(beyond(low))),
        };
        assert_eq!(native, Err(expected));
        let (_, mut witness) = draft.witness();
        witness.record = body.record();
        let mut state = draft.state.clone();
        let cap = state.cap();
        state.set(FROM, witness.from.after);
        state.set(TO, witness.to.after);
        let chunk = state.chunk(cap, 1, SlotWitnesses::Open(vec![witness]));
        assert_eq!(assign(&chunk), Err(AssignError::StatementMismatch));
    }
}

#[test]
fn r2_the_payer_is_in_the_state() {
    let mut draft = Draft::new().with(|_, body| body.amount = 2_000_000);
    draft.from_before.balance += 2_000_000;
    draft.from_after.balance = draft.from_after.balance.wrapping_add(2_000_000);
    let (balance, needed) = (1_000_000, 2_000_000 + 12_345);
    draft.assert_refused(
        PayerError::InsufficientBalance { token: TOKEN, balance, needed },
        "R2, payer's cell in the state",
    );
}

#[test]
fn r3_the_payer_holds_the_token() {
    let other = Token(4);
    let draft = Draft::new().with(|state, body| {
        let account = state.account(body.from.get());
        state.set(body.from.get(), Cell::Account(Account { token: other, ..account }));
    });
    let error = AccountError::WrongToken { index: index(FROM), expected: TOKEN, found: other };
    draft.assert_refused(PayerError::from(error), "R3, payer's account");
}

#[test]
fn r4_the_owner_signed() {
    let relation = "R4, signature";
    let mismatch = PayerError::BadSignature(SignatureError::Mismatch);
    let valid = Draft::new();
    let by_another = Signed::sign(valid.posted, &secret(2));
    let of_another = |change: fn(&mut Open)| {
        let mut body = valid.posted;
        change(&mut body);
        Signed::new(valid.posted, *Signed::sign(body, &secret(FROM as u8)).signature())
    };
    let Open { chain_id, token, from, nonce, to, amount, fee, .. } = valid.posted;
    let transfer = Signed::sign(Transfer { chain_id, token, from, nonce, to, amount, fee }, &secret(FROM as u8));
    for signed in [
        by_another,
        Signed::new(valid.posted, *transfer.signature()),
        of_another(|body| body.token = Token(4)),
        of_another(|body| body.from = index(2)),
        of_another(|body| body.to = index(10)),
        of_another(|body| body.amount -= 1),
        of_another(|body| body.fee -= 1),
        of_another(|body| body.owner = *secret(8).public()),
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
fn r5_the_payer_pays_amount_and_fee() {
    let relation = "R5, payer's balance";
    claim(|draft| draft.from_after.balance += 1).assert_other_result(relation);
    claim(|draft| draft.from_after.balance += 12_345).assert_other_result(relation);
    let balance = 1_000_000;
    for (amount, fee) in [(1_000_001, 0), (1_000_000, 1), (u64::MAX, 0), (0, u64::MAX), (u64::MAX, 2)] {
        let draft = Draft::new().with(|_, body| (body.amount, body.fee) = (amount, fee));
        let needed = u128::from(amount) + u128::from(fee);
        assert_eq!(draft.native(), Err(PayerError::InsufficientBalance { token: TOKEN, balance, needed }.into()));
        draft.assert_breaks(relation);
    }
    // The balance that the field would give for an overdraft by one.
    let draft = Draft::new().with(|_, body| (body.amount, body.fee) = (balance, 1));
    draft.assert_forged_payer_breaks(BALANCE, -Fr::from(1u64), relation);
}

#[test]
fn r6_the_nonce_is_counted() {
    let relation = "R6, payer's nonce";
    claim(|draft| draft.from_after.nonce -= 1).assert_other_result(relation);
    claim(|draft| draft.from_after.nonce += 1).assert_other_result(relation);
    let exhausted = Draft::new().with(|state, body| {
        let account = state.account(body.from.get());
        state.set(body.from.get(), Cell::Account(Account { nonce: u32::MAX, ..account }));
        body.nonce = u32::MAX;
    });
    exhausted.assert_refused(PayerError::NonceExhausted, relation);
    let mut beyond = exhausted;
    beyond.from_after.nonce = 77_777;
    beyond.assert_forged_payer_breaks(NONCE, Fr::from(1u64 << 32), relation);
}

#[test]
fn r7_the_payer_keeps_all_else() {
    let relation = "R7, payer's cell";
    for change in ALTERATIONS {
        claim(|draft| change(&mut draft.from_after)).assert_other_result(relation);
    }
    claim(|draft| draft.from_after.token = Token(4)).assert_other_result(relation);
    claim(|draft| draft.from_after.owner = *secret(2).public()).assert_other_result(relation);
}

#[test]
fn r8_the_cell_was_empty() {
    for taken in [2, FROM] {
        let draft = Draft::new().with(|_, body| body.to = index(taken));
        draft.assert_refused(OpenError::CellOccupied { index: index(taken) }, "R8, empty cell in the state");
    }
}

#[test]
fn r9_the_owner_is_a_key() {
    // The circuit holds the key by a hidden eighth of it. Everything but that follows the forged x.
    let valid = Draft::new();
    let owner = valid.posted.owner;
    let opposite = PublicKey::new(-*owner.point()).expect("the opposite of a key");
    let forged = valid.clone().with(|_, body| body.owner = opposite);
    let draft = Draft { posted: valid.posted, ..forged };
    draft.assert_forgery_breaks(owner.x(), opposite.x(), "R9, owner's key");
    assert_ne!(valid.native(), draft.native());
}

#[test]
fn r10_the_new_account_is_the_owners() {
    let relation = "R10, new account";
    claim(|draft| draft.to_after.token = Token(4)).assert_other_result(relation);
    claim(|draft| draft.to_after.nonce = 1).assert_other_result(relation);
    claim(|draft| draft.to_after.balance += 1).assert_other_result(relation);
    claim(|draft| draft.to_after.owner = *secret(8).public()).assert_other_result(relation);
    claim(|draft| draft.to_after.tickets.base = 1).assert_other_result(relation);
    claim(|draft| draft.to_after.tickets.used = 1).assert_other_result(relation);
    claim(|draft| draft.to_after.second.token = Token(4)).assert_other_result(relation);
    claim(|draft| draft.to_after.second.balance = 1).assert_other_result(relation);
    // The payer's own are not handed on.
    claim(|draft| draft.to_after.tickets = draft.from_after.tickets).assert_other_result(relation);
    claim(|draft| draft.to_after.second = draft.from_after.second).assert_other_result(relation);
    let draft = Draft::new();
    let mut state = draft.state.clone();
    state.set(FROM, Cell::Account(draft.from_after));
    state.set(TO, Cell::Account(draft.to_after));
    // The node of the cap above the new account.
    let [before, after] = [&draft.state, &state].map(|state| state.cap().nodes()[TO as usize / 8]);
    draft.assert_forgery_breaks(after, before, "R10 or R12, state after");
    draft.assert_forgery_breaks(after - before, Fr::from(0u64), "R10 or R12, state after");
}

#[test]
fn r11_the_fee_is_counted() {
    let fee = Fr::from(12_345u64);
    Draft::new().assert_forgery_breaks(fee, fee - Fr::from(1u64), "R11 or R12, sum of fees");
    Draft::new().assert_forgery_breaks(fee, Fr::from(0u64), "R11 or R12, sum of fees");
}

#[test]
fn r12_padding_posts_and_changes_nothing() {
    let mut state = State::new(3, TOKEN, 6);
    let cap = state.cap();
    let slots = vec![state.open(1, 9, [500, 3], 9)];
    let chunk = state.chunk(cap, 2, SlotWitnesses::Open(slots));
    let holders = ["R1 or R12, record", "R10 or R12, state after", "R11 or R12, sum of fees"];
    assert_padding_holds(&OpenCircuit, &chunk, holders);
    assert_padding_is_inert(&OpenCircuit, &chunk);
    let (chunk, witness) = Draft::new().witness();
    assert_active_is_a_bit(&OpenCircuit, &chunk, &witness);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn twins_agree(
        from in 1u32..6,
        to in prop_oneof![1u32..9, 508u32..512],
        nonce in prop_oneof![4 => Just(7u32), 1 => 6u32..9],
        amount in prop_oneof![0u64..2, 999_990u64..1_000_010, any::<u32>().prop_map(u64::from)],
        fee in 0u64..20,
        signer in prop_oneof![4 => Just(None), 1 => (1u8..9).prop_map(Some)],
        (tickets, second) in besides(),
    ) {
        let owner = *secret(9).public();
        let (from, to) = (index(from), index(to));
        let body = Open { chain_id: CHAIN_ID, token: TOKEN, from, nonce, to, amount, fee, owner };
        let mut state = State::new(3, TOKEN, 6);
        state.set(from.get(), Cell::Account(Account { tickets, second, ..state.account(from.get()) }));
        let mut draft = Draft::of(state, body);
        if let Some(signer) = signer {
            draft.signed = Signed::sign(body, &secret(signer));
        }
        let native = draft.native();
        prop_assert_eq!(assign(&draft.witness().0).is_ok(), native.is_ok());
        if let Ok(effect) = native {
            prop_assert_eq!(effect, draft.claimed());
        }
    }
}
