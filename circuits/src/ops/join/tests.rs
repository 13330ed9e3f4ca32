use super::Join;
use crate::{
    exchange::{JoinError, ReservesError},
    step::{Fact, Guesses, Lane, Limits, Refusal},
    testing::{
        operations::{Example, POOL, TOKEN, assert_operation, state},
        state::index,
        steps::{Steps, record},
        twins::{any_below, any_in_motion, assert_twins},
    },
};
use proptest::prelude::*;
use taproof_verifier::cell::{Cell, Holding, Pool, Token};

fn moving(x: i128, y: i128) -> Steps {
    let mut steps = Steps::on(state());
    let lane = |token, value| Lane { token: Token(token), value };
    steps.registers.lanes = [lane(0, x), lane(TOKEN, y), Lane::default()];
    steps
}

fn fact() -> Fact {
    let (cell, token) = (index(POOL), Token::BITCOIN);
    Fact { cell, base: token, quote: token, average: 1, spot: 1, reserve: 1, height_blocks: 1 }
}

fn pool(steps: &Steps) -> Pool {
    match steps.state.cell(POOL) {
        Cell::Pool(pool) => pool,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_relation_is_held_alone() {
    let join = || record(Join::NUMBER, POOL, 0);
    let examples = [
        Example::after(moving(1_000, 3_000), join(), Limits::default()),
        Example::after(moving(1_000, 90), join(), Limits::default()),
        Example::after(moving(3, 90_000), join(), Limits::default()),
        Example::after(moving(0, 0), join(), Limits::default()),
    ];
    assert_operation(&examples, &["JOIN R1, no fact", "JOIN R2, reserves", "JOIN R3, shares"]);
}

#[test]
fn shares_grow_by_the_lesser_proportion_and_all_is_kept() {
    let steps = moving(1_000, 90);
    let applied = steps.apply(&record(Join::NUMBER, POOL, 0), Limits::default()).expect("it joins");
    let after = Pool {
        supply: 1_732_050 + 51,
        first: Holding { balance: 1_001_000, ..pool(&steps).first },
        second: Holding { balance: 3_000_090, ..pool(&steps).second },
        ..pool(&steps)
    };
    assert_eq!(applied.cell, Cell::Pool(after));
    let lanes = applied.registers.lanes.map(|lane| (lane.token.0, lane.value));
    assert_eq!(lanes, [(0, 0), (TOKEN, 0), (POOL, 51)]);
}

#[test]
fn what_cannot_join_is_refused() {
    let refused = |steps: &Steps| {
        steps.apply(&record(Join::NUMBER, POOL, 0), Limits::default()).map(drop).map_err(|error| error.refusal)
    };
    let held = (1i128 << 63) + 1_000_000 - 1;
    let too_much = Err(Refusal::Join(JoinError::Reserves(ReservesError { held })));
    assert_eq!(refused(&moving((1 << 63) - 1, 5)), too_much);
    assert!(matches!(refused(&moving(-1, 5)), Err(Refusal::LaneValue { .. })), "traps 26 and 43");
    assert!(matches!(refused(&moving(5, 1 << 64)), Err(Refusal::LaneValue { .. })), "trap 43");
    let mut noted = moving(5, 5);
    noted.registers.fact = Some(fact());
    assert_eq!(refused(&noted), Err(Refusal::FactTaken), "trap 72");
}

/// What a prover may say was minted.
fn guesses(pool: &Pool, [dx, dy]: [i128; 2]) -> Guesses {
    let proportion = |paid: i128, held: u64| match u64::try_from(paid) {
        Ok(paid) => u128::from(paid) * u128::from(pool.supply) / u128::from(held),
        Err(_) => 0,
    };
    let parts = [proportion(dx, pool.first.balance), proportion(dy, pool.second.balance)];
    let near = parts.into_iter().flat_map(|part| [part.saturating_sub(1), part, part + 1]);
    Guesses::from([(4, near.chain([0, u64::MAX.into()]).collect())])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Rule and circuit agree on pools and payments of any size, and the circuit leaves no choice.
    #[test]
    fn twins_agree(
        reserves in prop::array::uniform2(any_below(63)), shares in any_below(64),
        in_motion in prop::array::uniform2(any_in_motion()), is_noted in prop::bool::weighted(0.05),
    ) {
        let mut steps = moving(in_motion[0], in_motion[1]);
        let before = pool(&steps);
        let [first, second] = reserves.map(|held| (held as u64).max(1));
        let held = |holding: Holding, balance| Holding { balance, ..holding };
        let supply = (shares as u64).max(Pool::SHARES_LOCKED + 1);
        let before = Pool { supply, first: held(before.first, first), second: held(before.second, second), ..before };
        steps.put(POOL, Cell::Pool(before));
        steps.registers.fact = is_noted.then(fact);
        let guesses = guesses(&before, in_motion);
        let joined = assert_twins(&mut steps, record(Join::NUMBER, POOL, 0), Limits::default(), &guesses);
        // Trap 2: the lesser proportion, and S^2 / (x y) never grows.
        if let Ok(applied) = joined {
            let Cell::Pool(after) = applied.cell else { panic!("a pool") };
            let minted = u128::from(after.supply - before.supply);
            for (before_held, after_held) in [(first, after.first.balance), (second, after.second.balance)] {
                let paid = u128::from(after_held - before_held);
                prop_assert!(minted * u128::from(before_held) <= paid * u128::from(before.supply));
            }
        }
    }
}
