use super::*;
use std::num::NonZeroU16;
use taproof_circuits::{
    exchange::matching::LeftOutError,
    ops,
    state::{Batch, Plan, Slots, StepSlots, TransitionError},
    step::Machines,
    transaction::Deposit,
};
use taproof_fixtures::MAINNET_BLOCK_702861;
use taproof_verifier::cell::ChainId;
use zeroize::Zeroizing;

const FEE_SAT: u64 = 25;

fn parameters(depth: Depth) -> PlanParameters {
    PlanParameters {
        chain_id: ChainId::from_byte_array([7; 15]),
        depth,
        fee_sat: FEE_SAT,
        opening_min_sat: 0,
        seed: Zeroizing::new([3; 32]),
        withdrawals_max: 0,
    }
}

fn apply(state: &mut State, height_blocks: u32, deposits: &[Deposit], transactions: &[Transaction]) -> Batch {
    let slots = NonZeroU16::new(14).unwrap();
    let step = Some(StepSlots { operations: ops::standard().set().hash(), slots: slots.into() });
    let plan = Plan {
        height_blocks,
        slots: Slots { step, ..Slots::uniform(slots) },
        operators: [(Token::BITCOIN, CellIndex::default())].into(),
        chunks_max: usize::MAX,
        admission: Default::default(),
    };
    let batch = state.apply(&plan, deposits, transactions).unwrap();
    state.commit();
    batch
}

/// A state with the payments that fund so many traders, and their market.
fn market(depth: Depth, traders: usize) -> Result<(Market, State), MarketError> {
    let all = BlockPayments::from_block(MAINNET_BLOCK_702861, usize::MAX).unwrap();
    let count = all.payments_that_fund(traders + CAST, MEMBER_MIN_SAT).unwrap();
    let payments = BlockPayments::from_block(MAINNET_BLOCK_702861, count).unwrap();
    assert!(payments.holders_paid(MEMBER_MIN_SAT) == traders + CAST, "as few payments as it takes");
    let parameters = parameters(depth);
    let workload = payments.plan(&parameters).unwrap();
    let mut state = State::new(parameters.chain_id, depth).with_machines(Machines::new(vec![ops::standard()]));
    let deposits: Vec<_> = workload
        .deposits
        .iter()
        .map(|deposit| Deposit { amount_sat: deposit.amount_sat, owner: deposit.owner })
        .collect();
    let batch = apply(&mut state, 800_000, &deposits, &workload.transactions);
    assert!(batch.rejected.is_empty() && batch.left_over.is_empty());
    let market = Market::new(&workload, &state, ops::standard(), parameters, traders)?;
    Ok((market, state))
}

#[test]
fn a_hundred_traders_meet_in_one_session_and_those_left_out_know_why() {
    let (market, mut state) = market(Depth::new(3).unwrap(), 100).unwrap();
    let issued = market.issue(&state).unwrap();
    let batch = apply(&mut state, 800_001, &[], &issued);
    assert_eq!((&batch.rejected, batch.applied.len()), (&vec![], issued.len()));
    let pool = market.pool_of(&state).unwrap();
    assert_eq!(pool.second.balance, pool.first.balance * PRICE_FOUNDED);

    let (transactions, orders) = market.trade(&state, 800_002).unwrap();
    assert_eq!(orders.len(), 100);
    let batch = apply(&mut state, 800_002, &[], &transactions);
    let mut beyond_limit = 0;
    for rejected in &batch.rejected {
        assert!(orders.iter().any(|order| order.position == rejected.position), "{rejected:?}");
        match rejected.reason {
            TransitionError::LeftOut(LeftOutError::Limit { .. }) => beyond_limit += 1,
            TransitionError::LeftOut(_) => (),
            other => panic!("{other}"),
        }
    }
    // Most are in, some want a better price, and the largest would spoil it for itself.
    assert!(batch.rejected.len() < 20 && beyond_limit > 0, "{:?}", batch.rejected);
    let largest = orders.iter().find(|order| order.trader == largest(100)).unwrap();
    let reason = batch.rejected.iter().find(|rejected| rejected.position == largest.position).unwrap().reason;
    assert!(matches!(reason, TransitionError::LeftOut(LeftOutError::Size { .. })), "{reason}");

    let (transactions, withdrawals) = market.leave(&state, 4).unwrap();
    assert_eq!((withdrawals, transactions.len()), (4, 5));
    let batch = apply(&mut state, 800_003, &[], &transactions);
    assert_eq!(batch.rejected, []);
    assert_eq!(state.account(market.provider_shares).unwrap().balance, 0);
}

#[test]
fn a_market_needs_people_and_cells() {
    let depth = Depth::new(2).unwrap();
    let (_, state) = market(depth, 4).unwrap();
    let payments = BlockPayments::from_block(MAINNET_BLOCK_702861, 4).unwrap();
    let workload = payments.plan(&parameters(depth)).unwrap();
    let found = Market::new(&workload, &state, ops::standard(), parameters(depth), 1_000).unwrap_err();
    assert!(matches!(found, MarketError::Members { needed: 1_003, .. }), "{found}");
    assert_eq!(BlockPayments::from_block(MAINNET_BLOCK_702861, 4).unwrap().payments_that_fund(100, 1), None);
    let accounts = 64 - CELLS as usize + 1;
    let mut crowded = workload.clone();
    crowded.accounts.resize(accounts, workload.accounts[0].clone());
    let (small, _) = market(depth, 1).unwrap();
    assert_eq!(small.traders.len(), 1);
    let full = Market::new(&crowded, &state, ops::standard(), parameters(depth), 1);
    assert!(matches!(full, Err(MarketError::TreeTooSmall { accounts: 59, .. } | MarketError::Members { .. })));
}

#[test]
fn amounts_are_round_and_never_nothing() {
    let rounded = [0, 1, 9, 10, 99, 100, 129, 1_234, 987_654_321].map(round);
    assert_eq!(rounded, [1, 1, 9, 10, 99, 100, 120, 1_200, 980_000_000]);
}
