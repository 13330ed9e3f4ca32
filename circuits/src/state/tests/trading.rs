//! What users want, from drafts: a token, a pool, orders, offers and tickets, from deposits on.

use super::{
    steps::{apply_steps, machines, step_plan},
    *,
};
use crate::{
    exchange::Parameters,
    ops,
    step::Refusal,
    transaction::{Clause, Draft, Fee, Number, Once, Purse, StepTransaction, Taken, TokenTerms, Trade},
};
use taproof_verifier::cell::TokenName;

pub(super) const GOLD: u32 = 20;
pub(super) const POOL: u32 = 30;
const SHARES: u32 = 31;

pub(super) fn once(nonce: u32) -> Once {
    Once { number: Number::Nonce(nonce), until: u32::MAX }
}

pub(super) fn ticket(place: u8) -> Once {
    Once { number: Number::Ticket { base: 0, place }, until: 800_000 }
}

pub(super) fn fee(amount_sat: u64) -> Fee {
    Fee { amount_sat, is_from_second: false }
}

/// The draft of an owner who pays nothing but a fee.
pub(super) fn begun(cell: u32, nonce: u32) -> Draft {
    Draft::pay(Purse::first(index(cell)), 0, fee(3), once(nonce))
}

pub(super) fn signed(number: u8, draft: Draft) -> Clause {
    draft.sign(&ops::standard(), CHAIN, &key(number)).expect("a clause")
}

pub(super) fn alone(number: u8, draft: Draft) -> Transaction {
    Transaction::Steps(StepTransaction::of_clauses(CHAIN, [signed(number, draft)]))
}

/// Applies transactions that are all accepted.
fn accept(state: &mut State, transactions: &[Transaction]) {
    accept_at(800_000, state, transactions);
}

/// Applies transactions that are all accepted, at a height.
fn accept_at(height_blocks: u32, state: &mut State, transactions: &[Transaction]) {
    let batch = apply_steps(state, &Plan { height_blocks, ..step_plan() }, transactions);
    assert_eq!(batch.rejected, []);
    assert_eq!(batch.applied.len(), transactions.len());
    state.commit();
}

/// Makes, mints and pairs gold, and founds a pool of it with bitcoin.
pub(super) fn founded() -> State {
    let mut state = funded(&[1_000_000; 5]).with_machines(machines());
    let name = TokenName::new("gold").expect("a name");
    let terms = TokenTerms { name, cap: 50_000_000, decimals: 2 };
    let gold = Token(GOLD);
    accept(&mut state, &[alone(1, begun(1, 0).token(index(GOLD), terms))]);
    let minted = begun(1, 1).mint(gold, 5_000_000, false).pair(index(1), gold);
    let to_others = minted.receive(Purse::second(index(1)), Taken::Exactly(4_000_000)).open(
        index(21),
        gold,
        &owner(3),
        Taken::AllAtLeast(1_000_000),
    );
    accept(&mut state, &[alone(1, to_others)]);
    let parameters = Parameters::new(30, 2, 10).expect("parameters");
    let founds = Draft::pay(Purse::first(index(1)), 400_000, fee(2), once(2))
        .draw(Purse::second(index(1)), 1_600_000)
        .found_pool(index(POOL), &parameters)
        .open(index(SHARES), Token(POOL), &owner(1), Taken::AllAtLeast(799_000));
    accept(&mut state, &[alone(1, founds)]);
    state
}

fn holdings(state: &State, cell: u32) -> [u64; 2] {
    state.tree().get(index(cell)).holdings().map(|holding| holding.balance)
}

#[test]
fn a_token_is_made_minted_and_put_into_a_pool() {
    let state = founded();
    assert_eq!(holdings(&state, 1), [1_000_000 - 400_000 - 8, 2_400_000]);
    assert_eq!(holdings(&state, 21), [1_000_000, 0]);
    assert_eq!(holdings(&state, SHARES), [799_000, 0]);
    assert_eq!(holdings(&state, POOL), [400_000, 1_600_000]);
}

#[test]
fn orders_trade_and_liquidity_joins_and_leaves() {
    let mut state = founded();
    let buys = Trade { pool: index(POOL), sells_second: false, amount: 10_000, least: 35_000 };
    let sells = Trade { pool: index(POOL), sells_second: true, amount: 40_000, least: 9_000 };
    let orders = [
        // Account 2 has no gold yet, and opens its second holding for it in the same batch.
        alone(2, begun(2, 0).pair(index(2), Token(GOLD))),
        alone(2, Draft::order(Purse::first(index(2)), buys, fee(1), once(1))),
        alone(1, Draft::order(Purse::second(index(1)), sells, fee(1), once(3))),
    ];
    // A pool clears above the height that it was founded at.
    accept_at(800_001, &mut state, &orders);
    let bought = holdings(&state, 2)[1];
    assert!((39_000..40_000).contains(&bought), "{bought}");
    // Two orders that meet leave the pool as it was, but for the fees.
    let [x, y] = holdings(&state, POOL);
    assert!((400_000..400_100).contains(&x) && (1_600_000..1_600_200).contains(&y), "{x}, {y}");
    // Shares of a new provider go into an account of their own.
    let joins = Draft::pay(Purse::first(index(1)), x / 10, fee(1), once(4))
        .draw(Purse::second(index(1)), y / 10)
        .join(index(POOL))
        .receive(Purse::first(index(SHARES)), Taken::AllAtLeast(79_000));
    accept(&mut state, &[alone(1, joins)]);
    let shares = holdings(&state, SHARES)[0];
    assert!((878_000..=879_000).contains(&shares), "{shares}");
    let [before, _] = holdings(&state, 1);
    let leaves = begun(1, 5)
        .draw(Purse::first(index(SHARES)), shares)
        .exit(index(POOL))
        .receive(Purse::first(index(1)), Taken::AllAtLeast(439_000))
        .receive(Purse::second(index(1)), Taken::AllAtLeast(1_750_000));
    accept(&mut state, &[alone(1, leaves)]);
    assert!(holdings(&state, 1)[0] > before + 439_000);
    // What belongs to nobody stays.
    assert!(holdings(&state, POOL)[0] >= 500);
}

#[test]
fn an_offer_signed_by_a_ticket_is_taken_once_and_by_whoever_pays_what_it_asks() {
    let mut state = founded();
    // Owner 3 offers gold of account 21 for bitcoin in account 3, signed for account 3's ticket.
    let offer = || {
        Draft::pay(Purse::first(index(3)), 0, fee(0), ticket(7))
            .draw(Purse::first(index(21)), 100_000)
            .receive(Purse::first(index(3)), Taken::Exactly(25_000))
            .joint()
    };
    let takes = |nonce, paid| {
        Draft::pay(Purse::first(index(2)), paid, fee(4), once(nonce))
            .pair(index(2), Token(GOLD))
            .receive(Purse::second(index(2)), Taken::Exactly(100_000))
            .joint()
    };
    let both = |nonce, paid| {
        let clauses = [signed(3, offer()), signed(2, takes(nonce, paid))];
        Transaction::Steps(StepTransaction::of_clauses(CHAIN, clauses))
    };
    let batch = apply_steps(&mut state, &step_plan(), &[both(0, 24_999), both(0, 25_000), both(1, 25_000)]);
    assert_eq!(batch.applied, [1]);
    let why: Vec<_> = batch.rejected.iter().map(|rejected| rejected.reason).collect();
    let refusal = |reason: TransitionError| match reason {
        TransitionError::Steps(StepsError::Step { source, .. }) => source.refusal,
        other => panic!("{other}"),
    };
    let whys = why.iter().map(|reason| refusal(*reason));
    assert_eq!(whys.collect::<Vec<_>>(), [Refusal::TicketUsed(7), Refusal::TicketUsed(7)]);
    assert_eq!(holdings(&state, 2), [1_000_000 - 25_004, 100_000]);
    assert_eq!((holdings(&state, 3)[0], holdings(&state, 21)[0]), (1_025_000, 900_000));
    state.commit();
    // New tickets: the old ones, used or not, are gone.
    accept(&mut state, &[alone(3, begun(3, 0).rebase(index(3)))]);
    let batch = apply_steps(&mut state, &step_plan(), &[both(1, 25_000)]);
    assert_eq!(refusal(batch.rejected[0].reason), Refusal::TicketRange(7));
    let renewed = Once { number: Number::Ticket { base: 64, place: 63 }, until: 800_000 };
    let pays =
        Draft::pay(Purse::first(index(3)), 5, fee(0), renewed).receive(Purse::first(index(4)), Taken::Exactly(5));
    accept(&mut state, &[alone(3, pays)]);
}

#[test]
fn an_issuer_burns_and_renounces() {
    let mut state = founded();
    let gold = Token(GOLD);
    let burns = begun(1, 3).draw(Purse::second(index(1)), 400_000).burn(gold, 400_000);
    let renounces = begun(1, 4).mint(gold, 7, true).receive(Purse::second(index(1)), Taken::Exactly(7));
    accept(&mut state, &[alone(1, burns), alone(1, renounces)]);
    assert_eq!(holdings(&state, 1)[1], 2_000_007);
    assert_eq!(state.tree().get(index(GOLD)).supply(), Some(4_600_007));
    let mints = begun(1, 5).mint(gold, 1, false).receive(Purse::second(index(1)), Taken::Exactly(1));
    let batch = apply_steps(&mut state, &step_plan(), &[alone(1, mints)]);
    let reason = batch.rejected[0].reason.to_string();
    assert!(reason.contains("MINT of cell 20: the signer is not the issuer"), "{reason}");
}
