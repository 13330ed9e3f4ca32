//! What a wallet looks ahead to is what a batch does, but for fees and for what orders get.

use super::{
    steps::{apply_steps, machines, step_plan},
    trading::{GOLD, POOL, alone, begun, fee, founded, once, signed, ticket},
    *,
};
use crate::{
    exchange::{Side, matching},
    ops,
    state::Outlook,
    step::{Lane, Refusal},
    transaction::{Draft, Once, Purse, StepTransaction, Taken, Trade},
};
use taproof_verifier::operation::OperationsHash;

fn operations() -> Option<OperationsHash> {
    Some(ops::standard().set().hash())
}

/// An order that sells bitcoin for gold.
fn buys(amount: u64, least: u64) -> Trade {
    Trade { pool: index(POOL), sells_second: false, amount, least }
}

#[test]
fn cells_after_are_those_that_a_batch_leaves() {
    let mut state = founded();
    let gold = Token(GOLD);
    let pays = Draft::pay(Purse::first(index(2)), 5_000, fee(1), once(0)).pair(index(2), gold);
    let transactions = [
        alone(2, begun(2, 1).draw(Purse::first(index(2)), 7).receive(Purse::first(index(4)), Taken::Exactly(7))),
        alone(2, pays.receive(Purse::first(index(3)), Taken::Exactly(5_000))),
        alone(1, begun(1, 3).draw(Purse::second(index(1)), 400).burn(gold, 400)),
        // The signature of another.
        alone(3, begun(4, 0).rebase(index(4))),
        Transaction::Transfer(Signed::sign(
            Transfer {
                chain_id: CHAIN,
                token: Token::BITCOIN,
                from: index(3),
                nonce: 0,
                to: index(4),
                amount: 9,
                fee: 1,
            },
            &key(3),
        )),
    ];
    let mut outlook = Outlook::new(state.clone(), operations(), 800_000);
    let left = outlook.apply_all(&transactions);
    assert_eq!(left.iter().map(|(position, _)| *position).collect::<Vec<_>>(), [3]);
    let batch = apply_steps(&mut state, &step_plan(), &transactions);
    let rejected: Vec<_> = batch.rejected.iter().map(|rejected| (rejected.position, rejected.reason)).collect();
    assert_eq!(left, rejected);
    // The operator's account alone is other, by the fees.
    let [ahead, after] = [outlook.state(), &state].map(|state| state.tree().cells().collect::<Vec<_>>());
    let differ: Vec<_> = ahead.iter().zip(&after).filter(|(ahead, after)| ahead != after).collect();
    assert_eq!((ahead.len(), differ.len()), (after.len(), 1), "{differ:?}");
    assert_eq!(differ[0].0.0, step_plan().operators[&Token::BITCOIN]);
}

#[test]
fn orders_pay_and_wait_and_their_session_is_foreseen() {
    let mut state = founded();
    let orders = [
        alone(2, begun(2, 0).pair(index(2), Token(GOLD))),
        alone(2, Draft::order(Purse::first(index(2)), buys(10_000, 35_000), fee(1), once(1))),
    ];
    let mut outlook = Outlook::new(state.clone(), operations(), 800_001);
    assert_eq!(outlook.apply_all(&orders), []);
    let waiting = outlook.state().account(index(2)).expect("an account");
    assert_eq!((waiting.nonce, waiting.balance, waiting.second.balance), (2, 1_000_000 - 10_000 - 4, 0));
    let foreseen = outlook.session(index(POOL), &[]).expect("a pool").outcomes;
    let batch = apply_steps(&mut state, &Plan { height_blocks: 800_001, ..step_plan() }, &orders);
    assert_eq!((batch.rejected.as_slice(), batch.applied.len()), (&[][..], 2));
    let filled = state.account(index(2)).expect("an account");
    assert_eq!((foreseen, filled.balance), (vec![Ok(filled.second.balance)], waiting.balance));
    // A further order is asked after without being applied.
    let further = matching::Order { side: Side::X, amount: 10_000, least: 39_999 };
    let asked = outlook.session(index(POOL), &[further]).expect("a pool").outcomes;
    assert!(asked[0].is_ok() && asked[1].is_err(), "{asked:?}");
    let none = outlook.session(index(GOLD), &[]).map(|_| ());
    assert_eq!(none, Err(Refusal::WrongCell { expected: 5, found: 2 }));
    let of_no_pool = Trade { pool: index(GOLD), ..buys(1, 0) };
    let order = Draft::order(Purse::first(index(2)), of_no_pool, fee(1), once(2));
    let reason = outlook.apply(&alone(2, order)).expect_err("no pool").to_string();
    assert!(reason.contains("ORDER of cell 2: the cell is a token, where a pool is needed"), "{reason}");
}

#[test]
fn what_an_offer_leaves_open_is_what_it_gives_and_wants() {
    let outlook = Outlook::new(founded(), operations(), 800_000);
    let offer = |until| {
        let draft = Draft::pay(Purse::first(index(3)), 0, fee(0), Once { until, ..ticket(7) });
        let draft =
            draft.draw(Purse::first(index(21)), 100_000).receive(Purse::first(index(3)), Taken::Exactly(25_000));
        StepTransaction::of_clauses(CHAIN, [signed(3, draft)])
    };
    let open = outlook.left_open(&offer(800_000)).expect("it can be taken");
    let lane = |token, value| Lane { token, value };
    assert_eq!(open.lanes[..2], [lane(Token(GOLD), 100_000), lane(Token::BITCOIN, -25_000)]);
    assert!(open.clause.is_none() && open.session.is_none());
    let reason = outlook.left_open(&offer(799_999)).expect_err("it has expired").to_string();
    assert!(reason.contains("it holds until height 799999"), "{reason}");
    // By itself it is no transaction.
    let reason = outlook.clone().apply(&Transaction::Steps(offer(800_000))).expect_err("it leaves something open");
    assert!(reason.to_string().contains("in motion"), "{reason}");
}

#[test]
fn without_operations_there_are_no_steps() {
    let state = founded();
    for (machines, operations) in [(machines(), None), (Default::default(), operations())] {
        let mut outlook = Outlook::new(state.clone().with_machines(machines), operations, 800_000);
        assert!(outlook.machine().is_none());
        let refused = outlook.apply(&alone(2, begun(2, 0).rebase(index(2))));
        assert_eq!(refused, Err(StepsError::NoSteps.into()));
    }
}
