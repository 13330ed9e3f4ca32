//! Each relation of a transfer, broken alone, is refused by rule and circuit; what is legal is accepted by both.

use super::{
    circuit::TransferCircuit,
    rule::{TransferError, apply},
};
use crate::{
    account::{AccountError, PayerError, Rollup},
    chunk::{
        AssignError, SlotCircuit,
        witness::{ChunkWitness, SlotWitnesses, TransferWitness},
    },
    schnorr::SecretKey,
    testing::{
        Lie, assert_active_is_a_bit, assert_breaks_alone, assert_chunk_sound, assert_lies_break,
        assert_padding_is_inert, assign,
        state::{ALTERATIONS, CHAIN_ID, State, besides, index, paid, secret},
    },
    transaction::{Body, Open, Signed, Transfer},
};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field};
use proptest::prelude::*;
use taproof_verifier::cell::{Account, Cell, ChainId, MerklePath, Token};

const TOKEN: Token = Token(3);
/// Wires after the heading of R1: the bits of `to`, `from`, amount and fee, then the payer's fields before and after.
const PAYER_BEFORE: usize = 9 + 9 + 64 + 64;
const PAYER_AFTER: usize = PAYER_BEFORE + 8;
const NONCE: usize = 2;
const BALANCE: usize = 3;
const TICKETS: usize = 6;
const SECOND: usize = 7;
const WIDTHS: &str = "R1, widths of the record";
/// Wires after the heading of R8: the recipient's fields before and after.
const RECIPIENT_AFTER: usize = 8;
const RECIPIENT: &str = "R8, recipient's account";

/// A transfer of 500 with a fee of 3 from account 1 to account 2, and claims of what it does.
#[derive(Clone)]
struct Scene {
    /// The state with the cells before.
    state: State,
    body: Transfer,
    from_after: Cell,
    to_before: Cell,
    to_after: Cell,
    signer: SecretKey,
}

impl Scene {
    fn new(state: State, [from, to]: [u32; 2], [amount, fee]: [u64; 2]) -> Self {
        let payer = state.account(from);
        let (from_index, to_index) = (index(from), index(to));
        let body = Transfer {
            chain_id: CHAIN_ID,
            token: TOKEN,
            from: from_index,
            nonce: payer.nonce,
            to: to_index,
            amount,
            fee,
        };
        let from_after = Cell::Account(paid(payer, amount, fee));
        let to_before = if from == to { from_after } else { state.cell(to) };
        let to_after = match to_before {
            Cell::Account(account) => {
                Cell::Account(Account { balance: account.balance.wrapping_add(amount), ..account })
            }
            empty => empty,
        };
        Self { state, body, from_after, to_before, to_after, signer: secret(from as u8) }
    }

    fn usual() -> Self {
        Self::new(State::new(3, TOKEN, 6), [1, 2], [500, 3])
    }

    /// The rule's opinion.
    fn native(&self) -> Result<super::rule::TransferEffect, TransferError> {
        let rollup = Rollup { chain_id: CHAIN_ID, depth: self.state.depth };
        let signed = Signed::sign(self.body, &self.signer);
        let (from, to) = (self.state.cell(self.body.from.get()), self.state.cell(self.body.to.get()));
        apply(&rollup, &signed, &from, &to)
    }

    /// The rule refuses, or says otherwise than is claimed.
    fn assert_native_differs(&self) {
        if let Ok(effect) = self.native() {
            assert_ne!((effect.from_after, effect.to_after), (self.from_after, self.to_after));
        }
    }

    fn witness(&self, state: &mut State) -> TransferWitness {
        let Transfer { from, to, .. } = self.body;
        let from = state.update(from.get(), self.from_after);
        if self.to_before != state.cell(to.get()) {
            state.set(to.get(), self.to_before);
        }
        let to = state.update(to.get(), self.to_after);
        let signature = self.signer.sign(&self.body.message());
        TransferWitness { record: self.body.record(), signature, from, to }
    }

    /// The chunk of this transfer alone.
    fn chunk(&self) -> (ChunkWitness, TransferWitness) {
        let mut state = self.state.clone();
        let witness = self.witness(&mut state);
        (state.chunk(self.state.cap(), 1, SlotWitnesses::Transfer(vec![witness.clone()])), witness)
    }

    fn assert_breaks(&self, relation: &str) {
        self.assert_native_differs();
        let (chunk, witness) = self.chunk();
        assert_breaks_alone(&TransferCircuit, &chunk, &witness, relation);
    }

    fn assert_lie_breaks(&self, lie: Lie, relation: &str) {
        let (chunk, witness) = self.chunk();
        assert_lies_break(&TransferCircuit, &chunk, true, &witness, &[lie], relation);
    }

    /// As [`Scene::assert_lie_breaks`] for a field of cell 1 after, with the path of cell 2 in the state that the lie
    /// makes.
    fn assert_payer_lie_breaks(&self, field: usize, forged: Fr, relation: &str) {
        let (chunk, mut witness) = self.chunk();
        let mut elements = self.from_after.elements();
        elements.0[field] = forged;
        let mut levels = witness.to.path.levels().to_vec();
        levels[0][1] = elements.hash();
        witness.to.path = MerklePath::new(levels).expect("three levels");
        let lie = Lie::At { relation: WIDTHS, wire: PAYER_AFTER + field, forged };
        assert_lies_break(&TransferCircuit, &chunk, true, &witness, &[lie], relation);
    }
}

/// A state with an account in cell 9, which is below another node of the cap than cells 1 to 6.
fn with_distant_account() -> State {
    let mut state = State::new(3, TOKEN, 6);
    state.set(9, Cell::Account(state.account(2)));
    state
}

/// Alters the account of a cell.
fn alter(cell: &mut Cell, change: impl FnOnce(&mut Account)) {
    match cell {
        Cell::Account(account) => change(account),
        other => panic!("{other:?} is no account"),
    }
}

#[test]
fn r1_indices_outside_the_tree_prove_another_record() {
    let (chunk, witness) = Scene::usual().chunk();
    for position in 0..2 {
        let (mut scene, mut witness, mut chunk) = (Scene::usual(), witness.clone(), chunk.clone());
        let (field, claimed) = match position {
            0 => (&mut witness.record.from, &mut scene.body.from),
            _ => (&mut witness.record.to, &mut scene.body.to),
        };
        *field = index(field.get() + 512);
        *claimed = *field;
        let refused = match scene.native() {
            Err(TransferError::Payer(PayerError::Account(error)) | TransferError::Recipient(error)) => error,
            other => panic!("{other:?}"),
        };
        assert!(matches!(refused, AccountError::IndexOutOfRange { .. }));
        chunk.slots = SlotWitnesses::Transfer(vec![witness]);
        chunk.statement.data_digest = chunk.records().digest(1).expect("one record");
        assert_eq!(assign(&chunk), Err(AssignError::StatementMismatch));
    }
}

#[test]
fn r2_the_payers_cell_is_that_of_the_state() {
    let mut state = with_distant_account();
    let real = state.cap();
    state.set(1, Cell::Account(Account { balance: 2_000_000, ..state.account(1) }));
    let scene = Scene::new(state, [1, 9], [1_500_000, 3]);
    let (mut chunk, witness) = scene.chunk();
    (chunk.statement.root_before, chunk.cap) = (real.root(), real);
    assert_breaks_alone(&TransferCircuit, &chunk, &witness, "R2, payer's cell in the state");
}

#[test]
fn r3_the_payer_holds_the_chunks_token() {
    let mut scene = Scene::usual();
    scene.state.set(1, Cell::Account(Account { token: Token(4), ..scene.state.account(1) }));
    let scene = Scene::new(scene.state, [1, 2], [500, 3]);
    assert!(matches!(scene.native(), Err(TransferError::Payer(PayerError::Account(_)))));
    scene.assert_breaks("R3, payer's account");
}

#[test]
fn r4_the_owner_signs() {
    let mut scene = Scene::usual();
    scene.signer = secret(2);
    assert!(matches!(scene.native(), Err(TransferError::Payer(PayerError::BadSignature(_)))));
    scene.assert_breaks("R4, signature");
}

#[test]
fn r4_the_signature_covers_every_field_and_the_kind() {
    let scene = Scene::usual();
    let (chunk, witness) = scene.chunk();
    let body = scene.body;
    let Transfer { chain_id, token, from, nonce, to, amount, fee } = body;
    let open = Open { chain_id, token, from, nonce, to, amount, fee, owner: *secret(2).public() };
    let mut messages = vec![open.message()];
    let mut open_without_owner = open.message();
    open_without_owner[2] = Fr::ZERO;
    messages.push(open_without_owner);
    for other in [
        Transfer { chain_id: ChainId::from_byte_array([1; 15]), ..body },
        Transfer { token: Token(token.0 + 1), ..body },
        Transfer { from: index(3), ..body },
        Transfer { nonce: nonce + 1, ..body },
        Transfer { to: index(3), ..body },
        Transfer { amount: amount + 1, ..body },
        Transfer { fee: fee + 1, ..body },
    ] {
        messages.push(other.message());
    }
    for message in messages {
        assert_ne!(message, body.message());
        let signature = scene.signer.sign(&message);
        assert!(signature.verify(scene.signer.public(), &body.message()).is_err());
        let witness = TransferWitness { signature, ..witness.clone() };
        let chunk = ChunkWitness { slots: SlotWitnesses::Transfer(vec![witness.clone()]), ..chunk.clone() };
        assert_breaks_alone(&TransferCircuit, &chunk, &witness, "R4, signature");
    }
}

#[test]
fn r5_the_payer_pays_amount_and_fee() {
    for wrong in [1i64, -1, 3, 500, 503] {
        let mut scene = Scene::usual();
        alter(&mut scene.from_after, |account| account.balance = account.balance.wrapping_add_signed(wrong));
        scene.assert_breaks("R5, payer's balance");
    }
}

#[test]
fn r5_a_balance_does_not_wrap() {
    let scene = Scene::new(State::new(3, TOKEN, 6), [1, 2], [999_998, 3]);
    assert!(matches!(scene.native(), Err(TransferError::Payer(PayerError::InsufficientBalance { .. }))));
    scene.assert_payer_lie_breaks(BALANCE, -Fr::ONE, "R5, payer's balance");
}

#[test]
fn r6_the_nonce_grows_by_one() {
    for nonce in [0, 7, 9] {
        let mut scene = Scene::usual();
        alter(&mut scene.from_after, |account| account.nonce = nonce);
        scene.assert_breaks("R6, payer's nonce");
    }
}

#[test]
fn r6_an_exhausted_nonce_sends_no_more() {
    let mut state = State::new(3, TOKEN, 6);
    state.set(1, Cell::Account(Account { nonce: u32::MAX, ..state.account(1) }));
    let scene = Scene::new(state, [1, 2], [500, 3]);
    assert_eq!(scene.native(), Err(TransferError::Payer(PayerError::NonceExhausted)));
    scene.assert_payer_lie_breaks(NONCE, Fr::from(1u64 << 32), "R6, payer's nonce");
}

#[test]
fn r7_all_else_of_the_payer_stays() {
    let alterations: [fn(&mut Account); 2] =
        [|account| account.token = Token(4), |account| account.owner = *secret(2).public()];
    for change in alterations.into_iter().chain(ALTERATIONS) {
        let mut scene = Scene::usual();
        alter(&mut scene.from_after, change);
        scene.assert_breaks("R7, payer's cell");
    }
    // Elements that no tickets and no holding have.
    for field in [TICKETS, SECOND] {
        Scene::usual().assert_payer_lie_breaks(field, -Fr::ONE, "R7, payer's cell");
    }
}

#[test]
fn r8_the_recipient_is_an_account_of_the_token() {
    let mut state = State::new(3, TOKEN, 6);
    state.set(2, Cell::Account(Account { token: Token(4), ..state.account(2) }));
    let scene = Scene::new(state, [1, 2], [500, 3]);
    assert!(matches!(scene.native(), Err(TransferError::Recipient(AccountError::WrongToken { .. }))));
    scene.assert_breaks(RECIPIENT);

    let scene = Scene::new(State::new(3, TOKEN, 6), [1, 9], [0, 3]);
    assert!(matches!(scene.native(), Err(TransferError::Recipient(AccountError::EmptyCell { .. }))));
    scene.assert_breaks(RECIPIENT);
}

#[test]
fn r8_the_recipients_cell_is_that_of_the_state_between() {
    let relation = "R8, recipient's cell in the state";
    // The path of the state before the payer's update, and a payer that is paid from the cell it had before.
    for to in [2, 1] {
        let scene = Scene::new(State::new(3, TOKEN, 6), [1, to], [500, 3]);
        let (mut chunk, mut witness) = scene.chunk();
        witness.to.path = scene.state.path(to);
        witness.to.before = scene.state.cell(to);
        let mut after = witness.to.before;
        alter(&mut after, |account| account.balance += 500);
        witness.to.after = after;
        chunk.slots = SlotWitnesses::Transfer(vec![witness.clone()]);
        assert_breaks_alone(&TransferCircuit, &chunk, &witness, relation);
    }
    let (mut chunk, mut witness) = Scene::usual().chunk();
    let mut levels = witness.to.path.levels().to_vec();
    levels[0][0] += Fr::ONE;
    witness.to.path = MerklePath::new(levels).expect("three levels");
    chunk.slots = SlotWitnesses::Transfer(vec![witness.clone()]);
    assert_breaks_alone(&TransferCircuit, &chunk, &witness, relation);
}

#[test]
fn r9_the_recipient_gets_the_amount() {
    for wrong in [1i64, -1, 3, -500] {
        let mut scene = Scene::usual();
        alter(&mut scene.to_after, |account| account.balance = account.balance.wrapping_add_signed(wrong));
        scene.assert_breaks("R9, recipient's balance");
    }
}

#[test]
fn r9_the_recipients_balance_stays_below_64_bits() {
    let mut state = State::new(3, TOKEN, 6);
    state.set(2, Cell::Account(Account { balance: u64::MAX - 499, ..state.account(2) }));
    let scene = Scene::new(state, [1, 2], [500, 3]);
    assert!(matches!(scene.native(), Err(TransferError::Recipient(AccountError::BalanceOverflow { .. }))));
    let forged = Fr::from(u64::MAX) + Fr::ONE;
    scene.assert_lie_breaks(
        Lie::At { relation: RECIPIENT, wire: RECIPIENT_AFTER + BALANCE, forged },
        "R9, recipient's balance",
    );
}

#[test]
fn r10_all_else_of_the_recipient_stays() {
    let alterations: [fn(&mut Account); 3] = [
        |account| account.token = Token(4),
        |account| account.nonce += 1,
        |account| account.owner = *secret(1).public(),
    ];
    for change in alterations.into_iter().chain(ALTERATIONS) {
        let mut scene = Scene::usual();
        alter(&mut scene.to_after, change);
        scene.assert_breaks("R10, recipient's cell");
    }
    for field in [TICKETS, SECOND] {
        let lie = Lie::At { relation: RECIPIENT, wire: RECIPIENT_AFTER + field, forged: -Fr::ONE };
        Scene::usual().assert_lie_breaks(lie, "R10, recipient's cell");
    }
}

#[test]
fn r10_and_r11_state_and_fee_are_carried_on() {
    let names = TransferCircuit::RELATIONS;
    let scene = Scene::usual();
    for (relation, forged) in [(names.fee, Fr::ZERO), (names.fee, Fr::from(4u64)), (names.record, Fr::ZERO)] {
        scene.assert_lie_breaks(Lie::At { relation, wire: 0, forged }, relation);
    }
    // The node of the cap above both cells: before, between the updates and after.
    let mut state = scene.state.clone();
    let mut nodes = vec![state.cap().nodes()[0]];
    for (cell, after) in [(scene.body.from, scene.from_after), (scene.body.to, scene.to_after)] {
        state.set(cell.get(), after);
        nodes.push(state.cap().nodes()[0]);
    }
    let [before, between, after] = nodes[..] else { panic!("three nodes") };
    for (honest, forged) in [(after - between, Fr::ZERO), (after, before), (after, between), (after, Fr::ZERO)] {
        scene.assert_lie_breaks(Lie::First { honest, forged }, names.state_after);
    }
}

#[test]
fn r12_padding_is_inert() {
    let (chunk, _) = Scene::usual().chunk();
    assert_padding_is_inert(&TransferCircuit, &chunk);
    let (chunk, witness) = Scene::new(with_distant_account(), [1, 9], [500, 3]).chunk();
    assert_active_is_a_bit(&TransferCircuit, &chunk, &witness);
}

#[test]
fn paying_oneself_costs_the_fee_only() {
    let scene = Scene::new(State::new(1, TOKEN, 6), [1, 1], [500, 3]);
    let effect = scene.native().expect("legal");
    let mut expected = Cell::Account(scene.state.account(1));
    alter(&mut expected, |account| (account.balance, account.nonce) = (account.balance - 3, account.nonce + 1));
    assert_eq!(effect.to_after, expected);
    assert_chunk_sound(&scene.chunk().0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The circuit accepts what the rule accepts: any amounts and cells, the claims made without checks.
    #[test]
    fn twins_agree(
        cells in [1u32..4, 1..8],
        balances in [edges(), edges(), edges()],
        amounts in [edges(), edges()],
        nonce in prop_oneof![Just(u32::MAX), any::<u32>()],
        besides in [besides(), besides(), besides()],
    ) {
        let mut state = State::new(1, TOKEN, 6);
        for (number, (balance, (tickets, second))) in (1..).zip(balances.into_iter().zip(besides)) {
            state.set(number, Cell::Account(Account { balance, nonce, tickets, second, ..state.account(number) }));
        }
        let scene = Scene::new(state, cells, amounts);
        let native = scene.native();
        let (chunk, witness) = scene.chunk();
        prop_assert_eq!(assign(&chunk).is_ok(), native.is_ok() && operator_can_take(&scene));
        if let Ok(effect) = native {
            prop_assert_eq!((effect.from_after, effect.to_after), (witness.from.after, witness.to.after));
        }
    }
}

/// Amounts near the edges, so that sums overflow and differences run below zero in some cases.
fn edges() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), 0..1000u64, Just(u64::MAX), (u64::MAX - 1000)..u64::MAX]
}

/// Whether the fee fits into the operator's balance after the transfer.
fn operator_can_take(scene: &Scene) -> bool {
    let mut state = scene.state.clone();
    scene.witness(&mut state);
    state.account(crate::testing::state::OPERATOR).balance.checked_add(scene.body.fee).is_some()
}
