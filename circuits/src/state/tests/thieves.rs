//! What others put before, between and in place of somebody's clauses: whoever makes a transaction, or sees a clause
//! before it is anchored, chooses that. Clauses are signed once, as wallets make them.

use super::{
    steps::{apply_steps, machines, step, step_plan},
    trading::{GOLD, POOL, begun, fee, founded, once, signed},
    *,
};
use crate::{
    exchange::Parameters,
    ops::Receive,
    state::{StepsError, steps::STEPS_RUN},
    step::{Refusal, flag},
    transaction::{Clause, Draft, Part, Purse, StepTransaction, Taken, TokenTerms},
};
use taproof_verifier::cell::TokenName;

/// The account of the founder's shares, the thief's token, what he holds of it, and his account.
const SHARES: u32 = 31;
const JUNK: u32 = 25;
const JUNKS: u32 = 26;
const THIEF: u32 = 2;

fn of(parts: Vec<Part>) -> Transaction {
    Transaction::Steps(StepTransaction { chain_id: CHAIN, parts })
}

fn alone(clause: &Clause) -> Transaction {
    of(vec![Part::Clause(clause.clone())])
}

fn accepted(state: &mut State, transactions: &[Transaction]) {
    let batch = apply_steps(state, &step_plan(), transactions);
    assert_eq!(batch.rejected, []);
    assert_eq!(batch.applied.len(), transactions.len());
    state.commit();
}

/// Applies a transaction that must be refused, and says by which part and why.
fn refused(state: &mut State, transaction: Transaction) -> (usize, Refusal) {
    let before = state.root();
    let batch = apply_steps(state, &step_plan(), &[transaction]);
    assert!(batch.applied.is_empty());
    assert_eq!(state.root(), before);
    match batch.rejected[..] {
        [Rejected { reason: TransitionError::Steps(StepsError::Step { part, source, .. }), .. }] => {
            (part, source.refusal)
        }
        ref other => panic!("one refusal of a step: {other:?}"),
    }
}

/// Owner 1 has gold in account 1, owner 2 has junk in account 26.
fn with_junk() -> State {
    let mut state = funded(&[1_000_000; 5]).with_machines(machines());
    let terms = |name| TokenTerms { name: TokenName::new(name).expect("a name"), cap: u64::MAX, decimals: 2 };
    let (gold, junk) = (Token(GOLD), Token(JUNK));
    let makes = [(1, GOLD, "gold"), (2, JUNK, "junk")];
    accepted(
        &mut state,
        &makes.map(|(who, cell, name)| alone(&signed(who as u8, begun(who, 0).token(index(cell), terms(name))))),
    );
    let golds = begun(1, 1).mint(gold, 4_000_000, false).pair(index(1), gold);
    let golds = golds.receive(Purse::second(index(1)), Taken::Exactly(4_000_000));
    let junks = begun(2, 1).mint(junk, 1 << 40, false).open(index(JUNKS), junk, &owner(2), Taken::Exactly(1 << 40));
    let junks = junks.pair(index(THIEF), gold);
    accepted(&mut state, &[alone(&signed(1, golds)), alone(&signed(2, junks))]);
    state
}

/// What the founder of a pool signs: all that he puts in, and all shares, not one less.
fn founding() -> Clause {
    let founds = Draft::pay(Purse::first(index(1)), 400_000, fee(6), once(2))
        .draw(Purse::second(index(1)), 1_600_000)
        .found_pool(index(POOL), &Parameters::new(30, 1, 10).expect("parameters"))
        .open(index(SHARES), Token(POOL), &owner(1), Taken::AllAtLeast(799_000));
    signed(1, founds)
}

/// A step that takes gold, or bitcoin, for the thief before it is given.
fn takes(second: bool, amount: u64) -> Part {
    Part::Step(step(Receive::NUMBER, THIEF, if second { flag::SECOND } else { 0 }, [amount, 0, 0]).record)
}

/// The pool would be one of bitcoin and junk, and the gold the thief's.
#[test]
fn a_founder_puts_in_what_he_signed_alone() {
    let junk = Draft::pay(Purse::first(index(THIEF)), 1, fee(100), once(2)).draw(Purse::first(index(JUNKS)), 1_600_000);
    let robbery = of(vec![Part::Clause(signed(2, junk)), takes(true, 1_600_000), Part::Clause(founding())]);
    let in_motion = Refusal::InMotion { token: Token::BITCOIN, value: 1.into() };
    let mut state = with_junk();
    assert_eq!(refused(&mut state, robbery), (2, in_motion));
    accepted(&mut state, &[alone(&founding())]);
}

/// What the limits of whoever joins or leaves have left would be the thief's, who signs nothing.
#[test]
fn the_rest_is_its_owner_s() {
    let mut state = founded();
    accepted(&mut state, &[alone(&signed(2, begun(2, 0).pair(index(2), Token(GOLD))))]);
    let joins = Draft::pay(Purse::first(index(1)), 40_000, fee(5), once(3))
        .draw(Purse::second(index(1)), 160_000)
        .join(index(POOL))
        .receive(Purse::first(index(SHARES)), Taken::AllAtLeast(79_200));
    let leaves = begun(1, 3)
        .draw(Purse::first(index(SHARES)), 400_000)
        .exit(index(POOL))
        .receive(Purse::first(index(1)), Taken::AllAtLeast(198_000))
        .receive(Purse::second(index(1)), Taken::AllAtLeast(792_000));
    for clause in [joins, leaves].map(|draft| signed(1, draft)) {
        for (second, token) in [(false, Token::BITCOIN), (true, Token(GOLD))] {
            let robbery = of(vec![takes(second, 400), Part::Clause(clause.clone())]);
            assert_eq!(refused(&mut state, robbery), (1, Refusal::InMotion { token, value: (-400).into() }));
        }
        let batch = apply_steps(&mut state.clone(), &step_plan(), &[alone(&clause)]);
        assert_eq!(batch.rejected, []);
    }
}

/// The founder's next clause names the account of his shares: it would be the thief's.
#[test]
fn an_account_is_opened_where_its_owner_said() {
    let mut state = with_junk();
    let mut elsewhere = founding();
    elsewhere.steps.last_mut().expect("the opening").record.cell = index(45);
    let (part, refusal) = refused(&mut state, alone(&elsewhere));
    assert!(part == 0 && matches!(refusal, Refusal::BadSignature(_)), "{refusal:?}");
    // Somebody else may be there first. Then nothing of the founder's happens: what he signs next is of a later nonce.
    let joins = Draft::pay(Purse::first(index(1)), 400_000, fee(6), once(3))
        .draw(Purse::second(index(1)), 1_600_000)
        .join(index(POOL))
        .receive(Purse::first(index(SHARES)), Taken::AllAtLeast(792_000));
    let squats = signed(2, begun(2, 2).open(index(SHARES), Token(POOL), &owner(2), Taken::Exactly(0)));
    let before = holdings(&state, 1);
    let transactions = [alone(&squats), alone(&founding()), alone(&signed(1, joins))];
    let batch = apply_steps(&mut state, &step_plan(), &transactions);
    assert_eq!(batch.applied, [0]);
    assert_eq!(holdings(&state, 1), before);
}

/// The steps that are run to make a batch.
fn steps_run(transactions: &[Transaction]) -> (usize, usize) {
    let mut state = funded(&[1_000_000; 5]).with_machines(machines());
    let before = STEPS_RUN.get();
    let batch = state.apply(&step_plan(), &[], transactions).expect("a plan");
    (STEPS_RUN.get() - before, batch.applied.len())
}

/// A transaction that fails in its last step, with a reason that may pass, pays nothing. It is not run again and again
/// because others move, be it that they move a cell of its own.
#[test]
fn what_fails_is_run_as_often_as_what_it_is_about_changes_and_no_more_than_sixteen_times() {
    let heavy = |receives: bool| {
        let begun = Draft::pay(Purse::first(index(3)), 2, fee(42), once(0));
        let opens =
            (0..40).fold(begun, |draft, i| draft.open(index(10 + i), Token::BITCOIN, &owner(3), Taken::Exactly(0)));
        let to = if receives { 2 } else { 3 };
        // 1 sat stays in motion.
        alone(&signed(3, opens.receive(Purse::first(index(to)), Taken::Exactly(1))))
    };
    let chain =
        (0..300).rev().map(|nonce| alone(&signed(2, Draft::pay(Purse::first(index(2)), 0, fee(1), once(nonce)))));
    let chain: Vec<_> = chain.collect();
    let (of_chain, moved) = steps_run(&chain);
    // One for each pass over them: 16 rounds of 16, and one after the sessions.
    assert_eq!((of_chain, moved), (272, 272), "nonces are looked at before steps");
    for (receives, times) in [(false, 1), (true, 16)] {
        let (all, moved) = steps_run(&[vec![heavy(receives); 8], chain.clone()].concat());
        assert_eq!((all - of_chain, moved), (8 * times * 42, 272), "{receives}");
    }
}

fn holdings(state: &State, cell: u32) -> [u64; 2] {
    state.tree().get(index(cell)).holdings().map(|holding| holding.balance)
}
