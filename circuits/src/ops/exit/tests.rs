use super::Exit;
use crate::{
    exchange::ExitError,
    ops::Join,
    step::{Fact, Guesses, Lane, Limits, Refusal},
    testing::{
        operations::{Example, POOL, TOKEN, assert_operation, state},
        state::index,
        steps::{Steps, record},
        twins::{any_below, any_in_motion, assert_twins},
    },
};
use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};
use taproof_verifier::cell::{Cell, Holding, Pool, Token};

fn moving(shares: i128) -> Steps {
    let mut steps = Steps::on(state());
    steps.registers.lanes[0] = Lane { token: Token(POOL), value: shares };
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
    let exit = || record(Exit::NUMBER, POOL, 0);
    let examples = [
        Example::after(moving(5_000), exit(), Limits::default()),
        Example::after(moving(1_731_050), exit(), Limits::default()),
        Example::after(moving(0), exit(), Limits::default()),
    ];
    assert_operation(&examples, &["EXIT R1, no fact", "EXIT R2, shares", "EXIT R3, reserves"]);
}

#[test]
fn shares_leave_with_their_part_of_both_reserves() {
    let steps = moving(5_000);
    let applied = steps.apply(&record(Exit::NUMBER, POOL, 0), Limits::default()).expect("they leave");
    let [x, y] = [5_000u64 * 1_000_000 / 1_732_050, 5_000u64 * 3_000_000 / 1_732_050];
    let lanes = applied.registers.lanes.map(|lane| (lane.token.0, lane.value));
    // The shares give their lane up first; the second lane names bitcoin already.
    assert_eq!(lanes, [(TOKEN, y.into()), (0, x.into()), (0, 0)]);
    assert_eq!(applied.cell.supply(), Some(1_727_050));
}

#[test]
fn what_cannot_leave_is_refused() {
    let refused = |steps: &Steps| {
        steps.apply(&record(Exit::NUMBER, POOL, 0), Limits::default()).map(drop).map_err(|error| error.refusal)
    };
    let (shares, given) = (1_732_050, 1_731_051);
    assert_eq!(refused(&moving(given.into())), Err(Refusal::Exit(ExitError::Shares { shares, given })));
    assert!(matches!(refused(&moving(-1)), Err(Refusal::LaneValue { .. })), "trap 42");
    let mut noted = moving(5);
    noted.registers.fact = Some(fact());
    assert_eq!(refused(&noted), Err(Refusal::FactTaken), "trap 72");
}

/// Traps 13, 14 and 16: whoever joins and leaves, after whatever others gave to the pool, gains nothing.
#[test]
fn ten_thousand_round_trips_gain_nothing() {
    let mut rng = StdRng::seed_from_u64(16);
    let mut gained = 0;
    let mut steps = Steps::on(state());
    let before = pool(&steps);
    for trip in 0..10_000u32 {
        let [x, y] = [0, 1].map(|_| rng.gen_range(1u64..1 << 62) >> rng.gen_range(0..51)).map(|held| held.max(1));
        let supply = (u128::from(x) * u128::from(y)).isqrt() as u64;
        if supply <= 1_000 {
            continue;
        }
        let held = |holding: Holding, balance| Holding { balance, ..holding };
        let founded = Pool { supply, first: held(before.first, x), second: held(before.second, y), ..before };
        steps.state.set(POOL, Cell::Pool(founded));
        let [dx, dy] = [x, y].map(|held| rng.gen_range(0..=held));
        let lane = |token, value: u64| Lane { token: Token(token), value: value.into() };
        steps.registers.lanes = [lane(0, dx), lane(TOKEN, dy), Lane::default()];
        let joined = steps.apply(&record(Join::NUMBER, POOL, 0), Limits::default()).expect("below 2^63");
        steps.state.set(POOL, joined.cell);
        steps.registers = joined.registers;
        let left = steps.apply(&record(Exit::NUMBER, POOL, 0), Limits::default()).expect("no more than was minted");
        let in_motion =
            |token| left.registers.lanes.iter().find(|lane| lane.token == Token(token)).map_or(0, |lane| lane.value);
        assert!(in_motion(0) <= dx.into() && in_motion(TOKEN) <= dy.into(), "trip {trip}");
        gained += 1;
    }
    assert!(gained > 9_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Rule and circuit agree on pools and shares of any size, and the circuit leaves no choice.
    #[test]
    fn twins_agree(
        reserves in prop::array::uniform2(any_below(63)), shares in any_below(64), in_motion in any_in_motion(),
        left in prop::option::of(998u64..1_003), is_noted in prop::bool::weighted(0.05),
    ) {
        let supply = (shares as u64).max(Pool::SHARES_LOCKED + 1);
        // So many as leave about a thousand.
        let mut steps = moving(left.map_or(in_motion, |left| i128::from(supply) - i128::from(left)));
        let before = pool(&steps);
        let [first, second] = reserves.map(|held| (held as u64).max(1));
        let held = |holding: Holding, balance| Holding { balance, ..holding };
        let before = Pool { supply, first: held(before.first, first), second: held(before.second, second), ..before };
        steps.put(POOL, Cell::Pool(before));
        steps.registers.fact = is_noted.then(fact);
        let exited = assert_twins(&mut steps, record(Exit::NUMBER, POOL, 0), Limits::default(), &Guesses::new());
        if let Ok(applied) = exited {
            let Cell::Pool(after) = applied.cell else { panic!("a pool") };
            prop_assert!(after.supply >= Pool::SHARES_LOCKED);
            // Trap 2: no more than the shares' part of either reserve.
            let given = u128::from(before.supply - after.supply);
            for (before_held, after_held) in [(first, after.first.balance), (second, after.second.balance)] {
                prop_assert!(after_held > 0);
                let part = u128::from(before_held - after_held);
                prop_assert!(part * u128::from(supply) <= given * u128::from(before_held));
            }
        }
    }
}
