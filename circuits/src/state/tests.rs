mod cutting;
mod outlook;
mod steps;
mod thieves;
mod trading;

use super::*;
use crate::{
    account::PayerError,
    chunk::witness::{CellUpdate, ChunkWitness, SlotWitnesses},
    schnorr::{SecretKey, SignatureError},
    transaction::{Body, DemandError, Deposit, Open, Signed, Transaction, Transfer, Withdraw},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{collections::BTreeMap, num::NonZeroU16};
use taproof_verifier::{
    cell::{Holding, Tickets},
    record::{Destination, Records},
};

const CHAIN: ChainId = ChainId::from_byte_array([7; 15]);

fn index(i: u32) -> CellIndex {
    CellIndex::new(i).expect("below 2^30")
}

fn depth(levels: u8) -> Depth {
    Depth::new(levels).expect("1 to 10 levels")
}

fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

fn owner(number: u8) -> PublicKey {
    *key(number).public()
}

fn deposit(number: u8, amount_sat: u64) -> Deposit {
    Deposit { amount_sat, owner: owner(number) }
}

/// The plan of all tests: two slots a chunk, fees to cell 0.
fn plan() -> Plan {
    let slots = Slots::uniform(NonZeroU16::new(2).expect("not zero"));
    Plan {
        height_blocks: 800_000,
        slots,
        operators: BTreeMap::from([(Token::BITCOIN, index(0))]),
        chunks_max: 1000,
        admission: Default::default(),
    }
}

fn transfer(number: u8, from: u32, nonce: u32, to: u32, amount: u64, fee: u64) -> Transaction {
    let (from, to) = (index(from), index(to));
    let body = Transfer { chain_id: CHAIN, token: Token::BITCOIN, from, nonce, to, amount, fee };
    Transaction::Transfer(Signed::sign(body, &key(number)))
}

fn open(number: u8, from: u32, nonce: u32, to: u32, amount: u64, fee: u64, new_owner: u8) -> Transaction {
    let (from, to, owner) = (index(from), index(to), owner(new_owner));
    let body = Open { chain_id: CHAIN, token: Token::BITCOIN, from, nonce, to, amount, fee, owner };
    Transaction::Open(Signed::sign(body, &key(number)))
}

fn withdraw(number: u8, from: u32, nonce: u32, amount: u64, fee: u64) -> Transaction {
    let destination = Destination::P2tr([number; 32]);
    let body = Withdraw { chain_id: CHAIN, token: Token::BITCOIN, from: index(from), nonce, amount, fee, destination };
    Transaction::Withdraw(Signed::sign(body, &key(number)))
}

/// A state with accounts of owners 0, 1, 2, ... in cells 0, 1, 2, ...
fn funded(balances: &[u64]) -> State {
    let mut state = State::new(CHAIN, depth(2));
    let deposits: Vec<_> = balances.iter().zip(0..).map(|(balance, number)| deposit(number, *balance)).collect();
    let batch = state.apply(&plan(), &deposits, &[]).expect("a valid plan");
    assert_eq!(batch.deposits_applied, balances.len());
    state.commit();
    state
}

/// A new account of the owner with the number of its cell.
fn owned(number: u32, balance: u64) -> Account {
    Account::new(owner(number as u8), Token::BITCOIN, balance)
}

fn balances(state: &State) -> Vec<u64> {
    state.tree().cells().map(|(index, _)| state.account(index).expect("an account").balance).collect()
}

/// Follows every update of a chunk through its paths, as the circuit does.
fn assert_joined(chunk: &ChunkWitness) {
    let updates: Vec<&CellUpdate> = match &chunk.slots {
        SlotWitnesses::Deposit(slots) => slots.iter().map(|slot| &slot.to).collect(),
        SlotWitnesses::Transfer(slots) => slots.iter().flat_map(|slot| [&slot.from, &slot.to]).collect(),
        SlotWitnesses::Open(slots) => slots.iter().flat_map(|slot| [&slot.from, &slot.to]).collect(),
        SlotWitnesses::Withdraw(slots) => slots.iter().map(|slot| &slot.from).collect(),
        SlotWitnesses::Step { slots, .. } => slots.iter().map(|slot| &slot.cell).collect(),
    };
    let mut root = chunk.statement.root_before;
    assert_eq!(chunk.cap.root(), root);
    for update in updates.into_iter().chain(&chunk.operator) {
        assert_eq!(update.path.root(update.index, update.before.hash()), Some(root));
        root = update.path.root(update.index, update.after.hash()).expect("inside");
    }
    assert_eq!(root, chunk.statement.root_after);
    let slots = chunk.statement.circuit.slots;
    assert!(!chunk.slots.is_empty() && chunk.slots.len() <= usize::from(slots));
    assert_eq!(chunk.records().digest(slots), Some(chunk.statement.data_digest));
    assert_eq!(chunk.operator.is_some(), chunk.slots.kind().pays_fee());
}

/// Applies a batch to a state, and what it posts to a second one, which must end up the same.
fn apply(state: &mut State, deposits: &[Deposit], transactions: &[Transaction]) -> Batch {
    apply_plan(state, &plan(), deposits, transactions)
}

fn apply_plan(state: &mut State, plan: &Plan, deposits: &[Deposit], transactions: &[Transaction]) -> Batch {
    let mut rebuilt = State::load(CHAIN, &state.tree().snapshot()).expect("a snapshot");
    let batch = state.apply(plan, deposits, transactions).expect("a valid plan");
    let mut root = batch.root_before;
    for chunk in &batch.chunks {
        assert_eq!(chunk.statement.root_before, root);
        assert_joined(chunk);
        root = chunk.statement.root_after;
    }
    assert_eq!((batch.root_after, state.root()), (root, root));
    assert_eq!(batch.applied.len() + batch.rejected.len() + batch.left_over.len(), transactions.len());

    let records: Vec<_> = batch.chunks.iter().map(ChunkWitness::records).collect();
    let posted: Vec<_> = posted(&batch, &records);
    rebuilt.replay(state.depth(), 0, &posted).expect("what was posted of a batch");
    assert_eq!(rebuilt.tree().snapshot(), state.tree().snapshot());
    batch
}

fn posted<'a>(batch: &Batch, records: &'a [Records]) -> Vec<PostedChunk<'a>> {
    let chunk = |(chunk, records): (&ChunkWitness, &'a Records)| PostedChunk {
        token: chunk.statement.context.token,
        operator: chunk.statement.context.operator,
        records,
        root_after: chunk.statement.root_after,
    };
    batch.chunks.iter().zip(records).map(chunk).collect()
}

fn reasons(batch: &Batch) -> Vec<(usize, TransitionError)> {
    batch.rejected.iter().map(|rejected| (rejected.position, rejected.reason)).collect()
}

#[test]
fn deposits_go_to_their_owners_account_or_a_new_one() {
    let mut state = funded(&[10, 20]);
    let batch = apply(&mut state, &[deposit(1, 5), deposit(9, 7), deposit(9, 1), deposit(0, 0)], &[]);
    assert_eq!((batch.deposits_applied, batch.chunks.len()), (4, 2));
    assert_eq!(balances(&state), [10, 25, 8]);
    assert_eq!(state.accounts_of(&owner(9)).map(|(index, _)| index).collect::<Vec<_>>(), [index(2)]);
}

#[test]
fn a_deposit_that_would_overflow_opens_a_second_account() {
    let mut state = funded(&[u64::MAX]);
    apply(&mut state, &[deposit(0, 1)], &[]);
    assert_eq!(balances(&state), [u64::MAX, 1]);
}

#[test]
fn deposits_stop_at_a_full_tree_and_at_the_last_chunk() {
    let mut state = State::new(CHAIN, depth(1));
    let deposits: Vec<_> = (0..10).map(|number| deposit(number, 1)).collect();
    let batch = apply(&mut state, &deposits, &[]);
    assert_eq!((batch.deposits_applied, batch.deposits_left_out), (8, Some(DepositsLeftOutError::TreeFull)));
    state.commit();
    state.grow().expect("shallow");
    let batch = apply_plan(&mut state, &Plan { chunks_max: 0, ..plan() }, &deposits[8..], &[]);
    assert_eq!((batch.deposits_applied, batch.deposits_left_out), (0, Some(DepositsLeftOutError::ChunksMax)));
    let batch = apply(&mut state, &deposits[8..], &[]);
    assert_eq!((batch.deposits_applied, batch.deposits_left_out), (2, None));
}

#[test]
fn every_kind_moves_exact_amounts_and_pays_its_fee() {
    let mut state = funded(&[0, 100, 50]);
    let transactions = [transfer(1, 1, 0, 2, 10, 1), open(2, 2, 0, 3, 20, 2, 8), withdraw(1, 1, 1, 30, 3)];
    let batch = apply(&mut state, &[], &transactions);
    assert_eq!(batch.rejected, []);
    assert_eq!(balances(&state), [6, 100 - 11 - 33, 50 + 10 - 22, 20]);
    assert_eq!(state.account(index(1)).map(|account| account.nonce), Some(2));
    assert_eq!(state.account(index(3)).map(|account| account.owner), Some(owner(8)));
}

#[test]
fn paying_oneself_costs_the_fee_alone() {
    let mut state = funded(&[0, 100]);
    let batch = apply(&mut state, &[], &[transfer(1, 1, 0, 1, 60, 5), transfer(1, 1, 1, 1, 95, 1)]);
    assert_eq!(balances(&state), [5, 95]);
    let insufficient = PayerError::InsufficientBalance { token: Token::BITCOIN, balance: 95, needed: 96 };
    assert_eq!(reasons(&batch), [(1, TransitionError::Transfer(TransferError::Payer(insufficient)))]);
}

#[test]
fn one_cell_may_occur_in_every_slot() {
    let mut state = funded(&[100, 100]);
    let transactions = [
        transfer(1, 1, 0, 0, 10, 1),
        transfer(1, 1, 1, 1, 10, 1),
        transfer(0, 0, 0, 1, 50, 2),
        withdraw(0, 0, 1, 1, 1),
    ];
    let batch = apply(&mut state, &[], &transactions);
    assert_eq!(batch.rejected, []);
    assert_eq!(balances(&state), [100 + 10 - 52 - 2 + 5, 100 - 12 + 50]);
}

#[test]
fn zero_amounts_are_legal_and_fees_of_zero_leave_the_operator_alone() {
    let mut state = funded(&[5, 0]);
    let no_operator = Plan { operators: BTreeMap::new(), ..plan() };
    let batch = apply_plan(&mut state, &no_operator, &[deposit(1, 0)], &[transfer(1, 1, 0, 0, 0, 0)]);
    assert_eq!(batch.applied, [0]);
    let absent = Plan { operators: BTreeMap::from([(Token::BITCOIN, index(60))]), ..plan() };
    let batch = apply_plan(&mut state, &absent, &[], &[transfer(1, 1, 1, 0, 0, 0), transfer(0, 0, 0, 1, 1, 1)]);
    assert_eq!(batch.applied, [0]);
    let empty = AccountError::EmptyCell { index: index(60) };
    assert_eq!(reasons(&batch), [(1, TransitionError::Fee(FeeError::Operator(empty)))]);
    assert_eq!(batch.chunks[0].operator.as_ref().map(|update| (update.before, update.after)), {
        Some((Cell::Empty, Cell::Empty))
    });
    let batch = apply_plan(&mut state, &no_operator, &[], &[transfer(0, 0, 0, 1, 1, 1)]);
    assert_eq!(reasons(&batch), [(0, TransitionError::Fee(FeeError::NoOperator(Token::BITCOIN)))]);
}

#[test]
fn transactions_wait_for_those_they_depend_on() {
    let mut state = funded(&[0, 100, 1]);
    let transactions = [
        transfer(5, 4, 1, 2, 3, 0),  // after the next: an account that is opened below, by nonce
        withdraw(5, 4, 0, 4, 0),     // needs the account of the third
        open(5, 3, 1, 4, 20, 0, 5),  // needs the next, of another kind and by nonce
        transfer(5, 3, 0, 2, 10, 0), // needs the account of the next
        open(1, 1, 1, 3, 40, 0, 5),  // needs the next
        transfer(1, 1, 0, 1, 7, 0),
    ];
    let batch = apply(&mut state, &[], &transactions);
    assert_eq!(batch.rejected, []);
    assert_eq!(balances(&state), [0, 60, 14, 10, 13]);
    assert_eq!(batch.applied, [5, 4, 3, 2, 1, 0]);
}

#[test]
fn one_payers_transactions_share_chunks_in_the_order_of_nonces() {
    let mut state = funded(&[0, 100]);
    let transactions: Vec<_> = (0..20).rev().map(|nonce| transfer(1, 1, nonce, 0, 1, 0)).collect();
    let batch = apply(&mut state, &[], &transactions);
    assert_eq!((batch.rejected.len(), batch.chunks.len()), (0, 10));
}

#[test]
fn each_refusal_names_its_reason_and_the_rest_goes_on() {
    let mut state = funded(&[0, 100, 50, u64::MAX]);
    let foreign = Transfer {
        chain_id: ChainId::from_byte_array([8; 15]),
        token: Token::BITCOIN,
        from: index(1),
        nonce: 1,
        to: index(2),
        amount: 1,
        fee: 0,
    };
    let wrong_token = Transfer { chain_id: CHAIN, token: Token(3), ..foreign };
    let other = transfer(1, 1, 1, 2, 2, 0);
    let (_, signature) = other.signed().expect("a payment");
    let tampered = Signed::new(Transfer { chain_id: CHAIN, ..foreign }, *signature);
    let other_token = Withdraw {
        chain_id: CHAIN,
        token: Token(3),
        from: index(1),
        nonce: 1,
        amount: 1,
        fee: 0,
        destination: Destination::P2wpkh([1; 20]),
    };
    let sign = |body| Transaction::Transfer(Signed::sign(body, &key(1)));
    let transactions = [
        transfer(1, 1, 0, 2, 1, 0),
        sign(foreign),
        sign(wrong_token),
        Transaction::Transfer(tampered),
        transfer(2, 1, 1, 2, 1, 0),
        transfer(1, 1, 0, 2, 1, 0),
        transfer(1, 1, 9, 2, 1, 0),
        transfer(1, 9, 0, 2, 1, 0),
        transfer(1, 64, 0, 2, 1, 0),
        transfer(1, 1, 1, 64, 1, 0),
        transfer(1, 1, 1, 40, 1, 0),
        transfer(1, 1, 1, 3, 1, 0),
        transfer(1, 1, 1, 2, u64::MAX, u64::MAX),
        open(2, 2, 0, 1, 1, 0, 9),
        Transaction::Withdraw(Signed::sign(other_token, &key(1))),
        transfer(1, 1, 1, 2, 1, 0),
    ];
    let batch = apply(&mut state, &[], &transactions);
    assert_eq!(batch.applied, [0, 15]);
    let payer = |error| TransitionError::Transfer(TransferError::Payer(error));
    let recipient = |error| TransitionError::Transfer(TransferError::Recipient(error));
    let range = AccountError::IndexOutOfRange { index: index(64), depth: depth(2) };
    let token = AccountError::WrongToken { index: index(1), expected: Token(3), found: Token::BITCOIN };
    let stale = |found| PayerError::StaleNonce { expected: 2, found };
    let expected = [
        (1, payer(PayerError::WrongChain { expected: CHAIN, found: ChainId::from_byte_array([8; 15]) })),
        (2, payer(token.into())),
        (3, payer(SignatureError::Mismatch.into())),
        (4, payer(SignatureError::Mismatch.into())),
        (5, payer(PayerError::StaleNonce { expected: 1, found: 0 })),
        (6, payer(PayerError::NonceTooHigh { expected: 2, found: 9 })),
        (7, payer(AccountError::EmptyCell { index: index(9) }.into())),
        (8, payer(PayerError::Account(range))),
        (9, recipient(range)),
        (10, payer(stale(1))),
        (11, payer(stale(1))),
        (12, payer(stale(1))),
        (13, TransitionError::Open(OpenError::CellOccupied { index: index(1) })),
        (14, TransitionError::Withdraw(WithdrawError::Payer(token.into()))),
    ];
    assert_eq!(reasons(&batch), expected);
}

#[test]
fn what_waits_in_vain_is_refused_with_its_last_reason() {
    let mut state = funded(&[0, 100, u64::MAX]);
    let refused = |state: &mut State, transaction| reasons(&apply(state, &[], &[transaction]))[0].1;
    let empty = AccountError::EmptyCell { index: index(40) };
    let recipient = |error| TransitionError::Transfer(TransferError::Recipient(error));
    assert_eq!(refused(&mut state, transfer(1, 1, 0, 40, 1, 0)), recipient(empty));
    let overflow =
        AccountError::BalanceOverflow { token: Token::BITCOIN, index: index(2), balance: u64::MAX, amount: 1 };
    assert_eq!(
        overflow.to_string(),
        format!("a credit of 1 sat to the balance of {} sat in cell 2 exceeds 64 bits", u64::MAX)
    );
    assert_eq!(refused(&mut state, transfer(1, 1, 0, 2, 1, 0)), recipient(overflow));
    let needed = 2 * u128::from(u64::MAX);
    let insufficient = PayerError::InsufficientBalance { token: Token::BITCOIN, balance: 100, needed };
    let of_another = PayerError::InsufficientBalance { token: Token(7), balance: 100, needed: 101 };
    assert_eq!(of_another.to_string(), "the balance of 100 of token 7 does not cover 101 of token 7");
    let payer = TransitionError::Transfer(TransferError::Payer(insufficient));
    assert_eq!(refused(&mut state, transfer(1, 1, 0, 2, u64::MAX, u64::MAX)), payer);
    assert!(recipient(empty).may_pass() && recipient(overflow).may_pass() && payer.may_pass());
}

#[test]
fn a_nonce_runs_out_for_good() {
    let mut state = funded(&[0]);
    let last = Account { nonce: u32::MAX - 1, ..Account::new(owner(1), Token::BITCOIN, 9) };
    state.tree.set(index(1), Cell::Account(last)).expect("inside");
    state.commit();
    let batch = apply(&mut state, &[], &[transfer(1, 1, u32::MAX - 1, 0, 1, 0), transfer(1, 1, u32::MAX, 0, 1, 0)]);
    assert_eq!(batch.applied, [0]);
    assert_eq!(reasons(&batch), [(1, TransitionError::Transfer(TransferError::Payer(PayerError::NonceExhausted)))]);
}

#[test]
fn tickets_and_second_holdings_stay_where_payments_pass() {
    let mut state = funded(&[1_000, 1_000, 1_000]);
    let besides = |number: u32| {
        let tickets = Tickets { base: 64 * number, used: 1 << number };
        (tickets, Holding { token: Token(10 + number), balance: u64::MAX - u64::from(number) })
    };
    for number in 0..3 {
        let (tickets, second) = besides(number);
        let account = Account { tickets, second, ..state.account(index(number)).expect("funded") };
        state.tree.set(index(number), Cell::Account(account)).expect("inside");
    }
    state.commit();
    let transactions = [
        transfer(1, 1, 0, 2, 100, 1),
        open(1, 1, 1, 9, 100, 1, 9),
        withdraw(1, 1, 2, 400, 1),
        transfer(2, 2, 0, 2, 5, 1),
    ];
    let batch = apply(&mut state, &[deposit(2, 7), deposit(8, 7)], &transactions);
    assert_eq!((batch.deposits_applied, batch.rejected), (2, vec![]));
    let account = |number, nonce, balance, (tickets, second)| {
        (index(number), Cell::Account(Account { nonce, tickets, second, ..owned(number, balance) }))
    };
    let none = Default::default();
    let expected = [
        account(0, 0, 1_004, besides(0)),
        account(1, 3, 397, besides(1)),
        account(2, 1, 1_106, besides(2)),
        (index(3), Cell::Account(Account::new(owner(8), Token::BITCOIN, 7))),
        account(9, 0, 100, none),
    ];
    assert_eq!(state.tree().cells().map(|(index, cell)| (index, *cell)).collect::<Vec<_>>(), expected);
}

#[test]
fn fees_that_the_operator_cannot_hold_are_refused_one_by_one() {
    let mut state = funded(&[u64::MAX - 10, 100]);
    let transactions = [
        transfer(1, 1, 0, 1, 0, 6),
        transfer(1, 1, 1, 1, 0, 4),
        transfer(1, 1, 2, 0, 1, 0), // waits for the next
        transfer(0, 0, 0, 1, 10, 0),
    ];
    let batch = apply(&mut state, &[], &transactions);
    assert_eq!((batch.applied, batch.rejected), (vec![0, 1, 3, 2], vec![]));

    let mut state = funded(&[u64::MAX - 10, 100]);
    let transactions = [transfer(1, 1, 0, 1, 0, 6), transfer(1, 1, 1, 0, 5, 0), transfer(1, 1, 1, 0, 4, 0)];
    let batch = apply(&mut state, &[], &transactions);
    let no_room =
        AccountError::BalanceOverflow { token: Token::BITCOIN, index: index(0), balance: u64::MAX - 5, amount: 6 };
    assert_eq!(batch.applied, [0, 2]);
    assert_eq!(reasons(&batch), [(1, TransitionError::Fee(FeeError::Operator(no_room)))]);
    assert_eq!(balances(&state), [u64::MAX, 90]);

    let mut state = funded(&[0, u64::MAX, u64::MAX]);
    let batch = apply(&mut state, &[], &[transfer(1, 1, 0, 1, 0, u64::MAX), transfer(2, 2, 0, 2, 0, 1)]);
    assert_eq!(reasons(&batch), [(1, TransitionError::Fee(FeeError::SumOverflow))]);
}

#[test]
fn what_finds_no_room_is_left_over_not_refused() {
    let mut state = funded(&[0, 100]);
    let transactions: Vec<_> = (0..7).map(|nonce| transfer(1, 1, nonce, 0, 1, 0)).collect();
    let batch = apply_plan(&mut state, &Plan { chunks_max: 2, ..plan() }, &[], &transactions);
    assert_eq!((batch.chunks.len(), batch.applied.len()), (2, 4));
    assert_eq!((batch.left_over, batch.rejected), (vec![4, 5, 6], vec![]));
}

#[test]
fn operators_outside_the_tree_are_refused() {
    let mut state = funded(&[1]);
    let plan = Plan { operators: BTreeMap::from([(Token::BITCOIN, index(64))]), ..plan() };
    let refused = PlanError::OperatorOutOfRange { index: index(64), depth: depth(2) };
    assert_eq!(state.apply(&plan, &[], &[]), Err(refused));
}

#[test]
fn rollback_takes_a_batch_back() {
    let mut state = funded(&[0, 100]);
    let before = state.tree().snapshot();
    apply(&mut state, &[deposit(9, 9)], &[transfer(1, 1, 0, 0, 1, 1)]);
    state.rollback();
    assert_eq!(state.tree().snapshot(), before);
}

#[test]
fn altered_records_do_not_replay() {
    let state = funded(&[0, 100, 50]);
    let mut ahead = state.clone();
    let batch = apply(&mut ahead, &[deposit(9, 9)], &[transfer(1, 1, 0, 2, 10, 1), withdraw(1, 1, 1, 3, 0)]);
    let records: Vec<_> = batch.chunks.iter().map(ChunkWitness::records).collect();
    let posted = posted(&batch, &records);
    let replay = |chunks: &[PostedChunk<'_>], levels| {
        let mut state = state.clone();
        let result = state.replay(depth(levels), 0, chunks);
        assert!(result.is_ok() || state.tree().snapshot() == funded(&[0, 100, 50]).tree().snapshot());
        result
    };
    assert_eq!(replay(&posted, 2), Ok(()));
    assert_eq!(replay(&posted, 1), Err(ReplayError::TooShallow { expected: depth(2), found: depth(1) }));
    assert_eq!(replay(&posted, 3), Err(ReplayError::RootMismatch { chunk: 0 }), "the batch was not of a grown tree");
    assert_eq!(replay(&posted[1..], 2), Err(ReplayError::RootMismatch { chunk: 0 }));

    let mut transfers = records[1].clone();
    let Records::Transfer(altered) = &mut transfers else { panic!("the second chunk is one of transfers") };
    altered[0].amount += 1;
    let mut chunks = posted.clone();
    chunks[1].records = &transfers;
    assert_eq!(replay(&chunks, 2), Err(ReplayError::RootMismatch { chunk: 1 }));
    let Records::Transfer(altered) = &mut transfers.clone() else { panic!("still transfers") };
    altered[0].amount = 1000;
    let overdrawn = Records::Transfer(altered.clone());
    chunks[1].records = &overdrawn;
    assert!(matches!(replay(&chunks, 2), Err(ReplayError::Slot { chunk: 1, slot: 0, .. })));
    let mut chunks = posted.clone();
    chunks[1].operator = index(50);
    assert!(matches!(replay(&chunks, 2), Err(ReplayError::Fees { chunk: 1, .. })));
    chunks[1].operator = index(2);
    assert_eq!(replay(&chunks, 2), Err(ReplayError::RootMismatch { chunk: 1 }));
}

/// A random transaction, about half of them valid. `sent` counts the transactions of each cell so far.
fn random_transaction(rng: &mut StdRng, state: &State, sent: &mut BTreeMap<u32, u32>) -> Transaction {
    let occupied: Vec<_> = state.tree().cells().map(|(index, _)| index.get()).collect();
    let pick = |rng: &mut StdRng| match rng.gen_range(0..10) {
        0 => rng.gen_range(0..70),
        _ => occupied[rng.gen_range(0..occupied.len())],
    };
    let (from, to) = (pick(rng), pick(rng));
    let account = state.account(index(from));
    let signer = account.and_then(|account| (0..12).find(|number| owner(*number) == account.owner)).unwrap_or(3);
    let signer = if rng.gen_range(0..20) == 0 { signer + 1 } else { signer };
    let sent = sent.entry(from).or_default();
    let nonce = account.map_or(0, |account| account.nonce) + *sent + u32::from(rng.gen_range(0..20) == 0);
    *sent += 1;
    let (amount, fee) = (rng.gen_range(0..30), rng.gen_range(0..3));
    match rng.gen_range(0..4) {
        0 => open(signer, from, nonce, rng.gen_range(0..64), amount, fee, rng.gen_range(0..12)),
        1 => withdraw(signer, from, nonce, amount, fee),
        _ => transfer(signer, from, nonce, to, amount, fee),
    }
}

#[test]
fn random_workloads_conserve_every_satoshi_and_rebuild() {
    let mut rng = StdRng::seed_from_u64(5);
    let mut state = State::new(CHAIN, depth(2));
    let (mut deposited, mut withdrawn, mut applied, mut rejected) = (0u64, 0u64, 0, 0);
    for round in 0..8 {
        if round == 5 {
            state.grow().expect("shallow");
            state.commit();
        }
        let deposits: Vec<_> = (0..4).map(|_| deposit(rng.gen_range(0..8), rng.gen_range(0..100))).collect();
        apply(&mut state, &deposits, &[]);
        let mut sent = BTreeMap::new();
        let transactions: Vec<_> = (0..25).map(|_| random_transaction(&mut rng, &state, &mut sent)).collect();
        let batch = apply(&mut state, &[], &transactions);
        state.commit();
        deposited += deposits.iter().map(|deposit| deposit.amount_sat).sum::<u64>();
        for chunk in &batch.chunks {
            if let Records::Withdraw(records) = chunk.records() {
                withdrawn += records.iter().map(|record| record.amount).sum::<u64>();
            }
        }
        applied += batch.applied.len();
        rejected += batch.rejected.len();
        assert_eq!(balances(&state).iter().sum::<u64>(), deposited - withdrawn);
    }
    assert!(applied > 50 && rejected > 20 && withdrawn > 0, "{applied} applied, {rejected} rejected");
}

#[test]
fn chunks_have_binary_and_json_forms() {
    let mut state = funded(&[0, 100]);
    let batch = apply(&mut state, &[deposit(9, 9)], &[transfer(1, 1, 0, 0, 1, 1), withdraw(1, 1, 1, 3, 0)]);
    for chunk in batch.chunks {
        let bytes = postcard::to_stdvec(&chunk).expect("every chunk has a binary form");
        assert_eq!(postcard::from_bytes::<ChunkWitness>(&bytes).expect("what was written"), chunk);
        let json = serde_json::to_string(&chunk).expect("every chunk has a JSON form");
        assert_eq!(serde_json::from_str::<ChunkWitness>(&json).expect("what was written"), chunk);
    }
    let plan = serde_json::to_string(&plan()).expect("every plan has a JSON form");
    assert_eq!(serde_json::from_str::<Plan>(&plan).expect("what was written"), self::plan());
}

fn signed_withdraw(signer: u8, from: u32, nonce: u32, amount: u64, fee: u64) -> Signed<Withdraw> {
    match withdraw(signer, from, nonce, amount, fee) {
        Transaction::Withdraw(signed) => signed,
        other => panic!("{other:?}"),
    }
}

#[test]
fn exits_go_ahead_of_everything_else() {
    let mut state = funded(&[0, 100, 50]);
    let exits = [signed_withdraw(1, 1, 0, 60, 2), signed_withdraw(2, 2, 0, 10, 0)];
    // Both payers have sent something that would spend the money or the nonce first.
    let transactions = [transfer(1, 1, 0, 0, 90, 0), transfer(2, 2, 0, 0, 50, 0), transfer(1, 1, 1, 0, 38, 0)];
    let batch = state.apply_with_exits(&plan(), &exits, &[deposit(9, 5)], &transactions).expect("a plan that fits");
    assert_eq!((batch.exits_applied, batch.exits_left_out, batch.deposits_applied), (2, None, 1));
    assert!(matches!(batch.chunks[0].records(), Records::Withdraw(records) if records.len() == 2));
    assert_eq!(batch.applied, [2]);
    assert_eq!(batch.rejected.len(), 2);
    let posted: Vec<_> = batch.chunks.iter().map(|chunk| (chunk.statement.context, chunk.records())).collect();
    assert!(posted.iter().all(|(context, _)| context.height_blocks == plan().height_blocks));
    assert_eq!(state.account(index(1)).map(|account| (account.nonce, account.balance)), Some((2, 0)));
}

#[test]
fn the_fee_of_an_exit_that_no_operator_can_take_goes_back() {
    for operators in [BTreeMap::new(), BTreeMap::from([(Token::BITCOIN, index(40))])] {
        let mut state = funded(&[0, 100, 50, 30]);
        let plan = Plan { operators, ..plan() };
        let exits = [signed_withdraw(1, 1, 0, 60, 0), signed_withdraw(2, 2, 0, 10, 7), signed_withdraw(3, 3, 0, 30, 0)];
        let batch = state.apply_with_exits(&plan, &exits, &[], &[]).expect("a plan that fits");
        assert_eq!((batch.exits_applied, batch.exits_left_out, batch.chunks.len()), (3, None, 3));
        assert_eq!(batch.chunks[1].statement.context.operator, index(2));
        let balances = [1, 2, 3].map(|cell| state.account(index(cell)).map(|account| account.balance));
        assert_eq!(balances, [Some(40), Some(40), Some(0)]);
    }
}

#[test]
fn exits_that_cannot_be_served_are_reported() {
    let mut state = funded(&[0, 100]);
    let exits = [signed_withdraw(1, 1, 0, 60, 0), signed_withdraw(1, 1, 1, 60, 0)];
    let batch = state.apply_with_exits(&plan(), &exits, &[], &[]).expect("a plan that fits");
    assert_eq!(batch.exits_applied, 1);
    assert!(matches!(batch.exits_left_out, Some(ExitsLeftOutError::Refused(TransitionError::Withdraw(_)))));
    state.rollback();
    let none = Plan { chunks_max: 0, ..plan() };
    let batch = state.apply_with_exits(&none, &exits, &[], &[]).expect("a plan that fits");
    assert_eq!((batch.exits_applied, batch.exits_left_out), (0, Some(ExitsLeftOutError::ChunksMax)));
}

#[test]
fn a_withdrawal_and_the_request_for_it_are_signed_alike() {
    let signed = signed_withdraw(1, 1, 5, 600, 2);
    let request = signed.demand(owner(1)).expect("bitcoin");
    assert_eq!(request.verify(CHAIN), Ok(()));
    assert_eq!(request.message(CHAIN), signed.body().message());
    assert_eq!(Withdraw::demanded(&request, CHAIN), signed);
    let foreign = Signed::new(Withdraw { token: Token(1), ..*signed.body() }, *signed.signature());
    assert_eq!(foreign.demand(owner(1)), Err(DemandError::NotBitcoin(Token(1))));
}
