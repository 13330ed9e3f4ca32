use super::Join;
use crate::{
    exchange::{JoinError, ReservesError},
    step::{Fact, Lane, Limits, Refusal},
    testing::operations::{Example, POOL, TOKEN, assert_operation, state},
    testing::steps::{Steps, record},
};
use proptest::prelude::*;
use taproof_verifier::cell::{Cell, Holding, Pool, Token};

fn moving(x: i128, y: i128) -> Steps {
    let mut steps = Steps::on(state());
    let lane = |token, value| Lane { token: Token(token), value };
    steps.registers.lanes = [lane(0, x), lane(TOKEN, y), Lane::default()];
    steps
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
    let (cell, token) = (crate::testing::state::index(POOL), Token::BITCOIN);
    let fact = Fact { cell, base: token, quote: token, average: 1, spot: 1, reserve: 1, height_blocks: 1 };
    noted.registers.fact = Some(fact);
    assert_eq!(refused(&noted), Err(Refusal::FactTaken), "trap 72");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Rule and circuit make the same shares of pools of any size.
    #[test]
    fn twins_agree(
        x in 1u64..1 << 63, y in 1u64..1 << 63, shift in 0u32..62, shares in 1_001u64..1 << 63,
        dx in 0u64..1 << 63, dy in 0u64..1 << 63,
    ) {
        let mut steps = moving((dx >> shift).into(), (dy >> (shift / 2)).into());
        let [first, second] = [(x >> shift).max(1), (y >> (shift / 3)).max(1)];
        let before = pool(&steps);
        let held = |holding: Holding, balance| Holding { balance, ..holding };
        let before = Pool {
            supply: shares, first: held(before.first, first), second: held(before.second, second), ..before
        };
        steps.put(POOL, Cell::Pool(before));
        if steps.run(record(Join::NUMBER, POOL, 0)).is_ok() {
            crate::testing::operations::assert_satisfied(&mut steps);
        }
    }
}
