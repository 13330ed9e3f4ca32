use super::Pool;
use crate::{
    exchange::{FoundError, ParametersError, PriceError, ReservesError},
    step::{Guesses, Lane, Limits, Refusal},
    testing::{
        operations::{EMPTY, Example, TOKEN, assert_operation, state},
        steps::{HEIGHT, Steps, record},
        twins::{any_below, any_in_motion, assert_twins},
    },
};
use proptest::prelude::*;
use taproof_verifier::{
    cell::{self, Cell, Holding, Token},
    record::StepRecord,
};

/// A transaction that has so much of both tokens in motion.
fn moving(x: i128, y: i128) -> Steps {
    let mut steps = Steps::on(state());
    let lane = |token, value| Lane { token: Token(token), value };
    steps.registers.lanes = [lane(0, x), lane(TOKEN, y), Lane::default()];
    steps
}

const PARAMETERS: u64 = 30 | 2 << 14 | 10 << 16;

fn pool(c: u64) -> StepRecord {
    StepRecord { c, ..record(Pool::NUMBER, EMPTY, 0) }
}

#[test]
fn each_relation_is_held_alone() {
    let none = Limits::default();
    let most = (1 << 63) - 1;
    let examples = [
        Example::after(moving(1_000_000, 3_000_000), pool(PARAMETERS), none),
        Example::after(moving(1_002_001, 1), pool(1_000 | 1 << 14 | 1 << 16), none),
        Example::after(moving(most, 1), pool(1 << 14 | 30 << 16), none),
        Example::after(moving(most, most), pool(PARAMETERS), none),
    ];
    let relations =
        ["POOL R1, tokens", "POOL R1, reserves", "POOL R2, shares", "POOL R3, average", "POOL R4, parameters"];
    assert_operation(&examples, &relations);
}

#[test]
fn a_pool_is_founded_with_all_that_is_in_motion() {
    let steps = moving(1_000_000, 3_000_000);
    let applied = steps.apply(&pool(PARAMETERS), Limits::default()).expect("enough");
    let holding = |token, balance| Holding { token: Token(token), balance };
    let founded = cell::Pool {
        supply: 1_732_050,
        first: holding(0, 1_000_000),
        second: holding(TOKEN, 3_000_000),
        at_last_session: [1_000_000, 3_000_000],
        average: 3 << 48,
        last_height: HEIGHT,
        fee: 30,
        weight: 2,
        averaging_blocks: 10,
    };
    assert_eq!(applied.cell, Cell::Pool(founded));
    // 1,000 shares are nobody's; the others are in motion, in the third lane.
    let lanes = applied.registers.lanes.map(|lane| (lane.token.0, lane.value));
    assert_eq!(lanes, [(0, 0), (TOKEN, 0), (EMPTY, 1_731_050)]);
}

#[test]
fn what_founds_no_pool_is_refused() {
    let refused = |x, y, c| moving(x, y).apply(&pool(c), Limits::default()).map(drop).map_err(|error| error.refusal);
    let most = 1i128 << 63;
    let reserves = |held| Err(Refusal::Reserves(ReservesError { held }));
    assert_eq!(refused(most, 5, PARAMETERS), reserves(most));
    assert_eq!(refused(5, most, PARAMETERS), reserves(most));
    assert_eq!(refused(0, 5_000_000, PARAMETERS), reserves(0));
    assert!(matches!(refused(-1, 5, PARAMETERS), Err(Refusal::LaneValue { .. })), "trap 43");
    assert!(matches!(refused(1 << 64, 5, PARAMETERS), Err(Refusal::LaneValue { .. })), "trap 43");
    assert_eq!(refused(1_000, 1_001, PARAMETERS), Err(Refusal::Found(FoundError::Shares { shares: 1_000 })));
    assert_eq!(refused(1_001, 1_001, PARAMETERS), Ok(()));
    assert_eq!(
        refused(1, most - 1, PARAMETERS),
        Err(Refusal::Found(FoundError::Price(PriceError::High((1 << 111) - (1 << 48)))))
    );
    let parameters = |fee: u64, weight: u64, blocks: u64| refused(5_000, 5_000, fee | weight << 14 | blocks << 16);
    assert_eq!(parameters(1_001, 1, 1), Err(Refusal::Parameters(ParametersError::Fee(1_001))), "trap 71");
    assert_eq!(parameters(0, 0, 1), Err(Refusal::Parameters(ParametersError::Weight(0))), "trap 71");
    assert_eq!(parameters(0, 3, 1), Err(Refusal::Parameters(ParametersError::Weight(3))));
    assert_eq!(parameters(0, 1, 0), Err(Refusal::Parameters(ParametersError::Memory(0))));
    assert_eq!(parameters(0, 1, 31), Err(Refusal::Parameters(ParametersError::Memory(31))));
    assert!(matches!(refused(5_000, 5_000, PARAMETERS | 1 << 32), Err(Refusal::Overflow { .. })));
    let mut turned = moving(5_000, 5_000);
    turned.registers.lanes.swap(0, 1);
    let refusal = turned.apply(&pool(PARAMETERS), Limits::default()).expect_err("tokens in the wrong order");
    assert_eq!(refusal.refusal, Refusal::TokenOrder(Token(TOKEN), Token(0)));
}

/// What a prover may say of the shares, all but the 1,001 that there are at least.
fn guesses([x, y]: [i128; 2]) -> Guesses {
    let amount = |value: i128| u128::from(u64::try_from(value).unwrap_or(0));
    let shares = (amount(x) * amount(y)).isqrt();
    let guesses = [1_000, 1_001, 1_002].map(|least| shares.saturating_sub(least));
    Guesses::from([(3, guesses.into_iter().chain([0, (1 << 63) - 1]).collect())])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Rule and circuit agree on what is in motion and parameters of any size, and the circuit leaves no choice.
    #[test]
    fn twins_agree(
        in_motion in prop::array::uniform2(any_in_motion()),
        tokens in prop::array::uniform2(prop::sample::select(vec![0, TOKEN, u32::MAX])),
        turned in prop::bool::weighted(0.2), third in prop::bool::weighted(0.1),
        fee in prop_oneof![0u64..=1_001, Just(16_383)], weight in prop::sample::select(vec![1u64, 2, 1, 2, 0, 3]),
        blocks in prop_oneof![6 => 1u64..=30, 1 => 0u64..1 << 16],
        beyond in prop::sample::select(vec![0u64, 0, 0, 0, 1]),
    ) {
        let [x, y] = in_motion;
        let mut steps = moving(x, y);
        let [mut first, mut second] = tokens;
        if (first > second) != turned {
            (first, second) = (second, first);
        }
        steps.registers.lanes[0].token = Token(first);
        steps.registers.lanes[1].token = Token(second);
        if third {
            steps.registers.lanes[2] = Lane { token: Token(9), value: 1 };
        }
        let c = fee | weight << 14 | blocks << 16 | beyond << 32;
        let _ = assert_twins(&mut steps, pool(c), Limits::default(), &guesses(in_motion));
    }

    /// The same for what founds a pool, of any size and price.
    #[test]
    fn twins_agree_on_pools(x in any_below(63), y in any_below(63), fee in 0u64..=1_000, blocks in 1u64..=30) {
        let in_motion = [x, y].map(|amount| amount as i128);
        let c = fee | 1 << 14 | blocks << 16;
        let mut steps = moving(in_motion[0], in_motion[1]);
        let founded = assert_twins(&mut steps, pool(c), Limits::default(), &guesses(in_motion));
        let is_pool = x * y >= 1_001 * 1_001 && (y << 48) / x.max(1) < 1 << 96;
        prop_assert_eq!(founded.is_ok(), is_pool);
    }
}
