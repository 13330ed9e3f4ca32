//! Transactions that found, join, leave and read pools: what nobody gains by them, and pools at the ends of their
//! ranges.

use crate::{
    exchange::{ExitError, FoundError, JoinError, Price, PriceError, ReservesError},
    ops::{Draw, Exit, Join, Open, Pay, Pool, Read, Receive},
    step::{Fact, Lane, Limits, Refusal, Registers, flag},
    testing::{
        assert_chunk_sound,
        operations::{EMPTY, POOL, TOKEN, assert_satisfied, state},
        state::secret,
        steps::{HEIGHT, Steps, record},
    },
};
use taproof_verifier::{
    cell::{self, Cell, Token},
    record::StepRecord,
};

/// The most that a pool holds of a token.
const MOST: u64 = (1 << 63) - 1;
/// Where the tests open an account for shares.
const SHAREHOLDER: u32 = EMPTY + 1;
/// A fee of 30 parts of 10,000, w = 1, H = 10.
const PARAMETERS: u64 = 30 | 1 << 14 | 10 << 16;
const UNTIL: Limits = Limits { least: 0, until: HEIGHT };

fn pool(steps: &Steps, at: u32) -> cell::Pool {
    match steps.state.cell(at) {
        Cell::Pool(pool) => pool,
        other => panic!("{other:?}"),
    }
}

fn lanes(lanes: [(u32, i128); 3]) -> [Lane; 3] {
    lanes.map(|(token, value)| Lane { token: Token(token), value })
}

fn refusal(steps: &Steps, record: StepRecord, limits: Limits) -> Option<Refusal> {
    steps.apply(&record, limits).err().map(|error| error.refusal)
}

/// What an account has of both tokens of the pools here.
fn held(steps: &Steps, account: u32) -> [u64; 2] {
    steps.state.cell(account).holdings().map(|holding| holding.balance)
}

/// The owner of an account begins a clause and puts so much of bitcoin and of the token in motion.
fn pay(steps: &mut Steps, from: u32, [x, y]: [u64; 2]) {
    steps.run_within(StepRecord { a: x, ..record(Pay::NUMBER, from, 0) }, UNTIL).expect("he can pay");
    steps.run(StepRecord { a: y, ..record(Draw::NUMBER, from, flag::SECOND) }).expect("he can pay");
}

/// What comes out of a pool goes to an account, and the transaction is done.
fn collect(steps: &mut Steps, to: u32) {
    steps.run(record(Receive::NUMBER, to, Receive::REST)).expect("bitcoin comes out");
    let flags = Receive::REST | flag::SECOND | flag::END | flag::DONE;
    steps.run(record(Receive::NUMBER, to, flags)).expect("the token comes out");
    assert!(steps.registers.are_zero());
}

/// A new pool of two reserves, from whatever is in motion; its shares stay in motion.
fn founded(x: u64, y: u64) -> Steps {
    let mut steps = Steps::on(state());
    steps.registers.lanes = lanes([(0, x.into()), (TOKEN, y.into()), (0, 0)]);
    steps.run(StepRecord { c: PARAMETERS, ..record(Pool::NUMBER, EMPTY, 0) }).expect("a pool");
    steps
}

/// Account 1 founds the smallest pool there is, whose one share that is not locked a new account gets, and gives half a
/// million of each token to it, by joining with one of them at a time.
fn dear() -> Steps {
    let mut steps = Steps::on(state());
    pay(&mut steps, 1, [1_001, 1_001]);
    steps.run(StepRecord { c: PARAMETERS, ..record(Pool::NUMBER, EMPTY, 0) }).expect("a pool");
    let (c, word) = (EMPTY.into(), secret(1).public().x());
    let flags = Open::REST | flag::END | flag::DONE;
    steps.run(StepRecord { c, word, ..record(Open::NUMBER, SHAREHOLDER, flags) }).expect("an account for the share");
    assert_eq!(held(&steps, SHAREHOLDER), [1, 0]);
    steps.run_within(StepRecord { a: 500_000, ..record(Pay::NUMBER, 1, 0) }, UNTIL).expect("he can pay");
    steps.run(record(Join::NUMBER, EMPTY, 0)).expect("a gift of bitcoin");
    steps.run(StepRecord { a: 500_000, ..record(Draw::NUMBER, 1, flag::SECOND) }).expect("he can pay");
    steps.run(record(Join::NUMBER, EMPTY, flag::END | flag::DONE)).expect("a gift of the token, and no share for it");
    let pool = pool(&steps, EMPTY);
    assert_eq!((pool.supply, pool.first.balance, pool.second.balance), (1_001, 501_001, 501_001));
    steps
}

/// Trap 13: the first one makes a share so dear that whoever joins gets none for what he pays. The locked shares take
/// most of it: he loses what he gave all the same. Trap 14: a gift is the others', too.
#[test]
fn traps_13_and_14_a_founder_who_gives_and_has_others_pay_loses() {
    let mut steps = dear();
    let before = held(&steps, 1);
    pay(&mut steps, 2, [499, 499]);
    steps.run(record(Join::NUMBER, EMPTY, flag::END | flag::DONE)).expect("he joins for nothing");
    assert_eq!(pool(&steps, EMPTY).supply, 1_001, "499 of 501,001 are no share of 1,001");
    let _ = steps.chunk(64);
    steps.run_within(record(Pay::NUMBER, SHAREHOLDER, 0), UNTIL).expect("the founder acts");
    steps.run(StepRecord { a: 1, ..record(Draw::NUMBER, SHAREHOLDER, 0) }).expect("his share");
    steps.run(record(Exit::NUMBER, EMPTY, 0)).expect("he leaves");
    collect(&mut steps, 1);
    let after = held(&steps, 1);
    assert_eq!(after, before.map(|held| held + 501_500 / 1_001));
    let at_first = held(&Steps::on(state()), 1);
    assert!(after[0] < at_first[0] && after[1] < at_first[1]);
    assert_satisfied(&mut steps);
}

/// Trap 13, from the other side: whoever demands a share for what he pays does not pay for none.
#[test]
fn trap_13_whoever_demands_a_share_pays_for_no_fewer() {
    let joins = |paid: u64| {
        let mut steps = dear();
        pay(&mut steps, 2, [paid, paid]);
        steps.run(record(Join::NUMBER, EMPTY, 0)).expect("he joins");
        let flags = Open::REST | flag::END | flag::DONE;
        let (c, word) = (EMPTY.into(), secret(2).public().x());
        let open = StepRecord { c, word, ..record(Open::NUMBER, SHAREHOLDER + 1, flags) };
        refusal(&steps, open, Limits { least: 1, until: 0 })
    };
    assert_eq!(joins(500), Some(Refusal::LimitNotMet { token: Token(EMPTY), least: 1, given: 0 }));
    assert_eq!(joins(501), None);
}

/// Trap 42: what an operation mints or takes out is added to what is in motion, and takes the place of none of it.
#[test]
fn trap_42_lanes_keep_what_was_in_motion() {
    let begin = |before| {
        let mut steps = Steps::on(state());
        steps.registers.lanes = lanes(before);
        steps
    };
    let after = |steps: &Steps| steps.registers.lanes.map(|lane| (lane.token.0, lane.value));
    let [x, y] = [1_000_000u64, 3_000_000].map(|held| i128::from(5_000 * held / 1_732_050));
    let mut leaves = begin([(TOKEN, -7), (POOL, 5_000), (0, 11)]);
    leaves.run(record(Exit::NUMBER, POOL, 0)).expect("they leave");
    assert_eq!(after(&leaves), [(TOKEN, y - 7), (POOL, 0), (0, x + 11)]);
    assert_satisfied(&mut leaves);
    // Somebody was credited with shares before they are minted.
    let mut joins = begin([(TOKEN, 90), (POOL, -50), (0, 1_000)]);
    joins.run(record(Join::NUMBER, POOL, 0)).expect("it joins");
    assert_eq!(after(&joins), [(TOKEN, 0), (POOL, 51 - 50), (0, 0)]);
    assert_satisfied(&mut joins);
    // A third token leaves no lane for the shares, and is not pushed out of its own.
    let crowded = begin([(TOKEN, 90), (9, 1), (0, 1_000)]);
    let refused = Some(Refusal::NoLane(Token(POOL)));
    assert_eq!(refusal(&crowded, record(Join::NUMBER, POOL, 0), Limits::default()), refused);
}

/// Traps 26 and 43: nobody is given shares for what is owed, or parts of a pool for shares that are.
#[test]
fn traps_26_and_43_what_a_pool_takes_is_an_amount() {
    for value in [-1, -(1 << 64), 1 << 64, i128::from(u64::MAX) + 2] {
        for (operation, token) in [(Join::NUMBER, 0), (Join::NUMBER, TOKEN), (Exit::NUMBER, POOL)] {
            let mut steps = Steps::on(state());
            steps.registers.lanes = lanes([(token, value), (9, 5), (0, 0)]);
            let refused = Some(Refusal::LaneValue { token: Token(token), value: value.into() });
            assert_eq!(refusal(&steps, record(operation, POOL, 0), Limits::default()), refused);
        }
    }
}

/// Trap 72: liquidity of one transaction shows in no fact: its reserve is the lesser of those now and after the last
/// session. Nor can it leave, or more of it come, while the fact is noted.
#[test]
fn trap_72_flash_liquidity_raises_no_reserve() {
    let steps = Steps::on(state());
    let at_last_session = pool(&steps, POOL).at_last_session;
    let fact = |steps: &Steps, flags| {
        let applied = steps.apply(&record(Read::NUMBER, POOL, flags), Limits::default()).expect("it can be read");
        applied.registers.fact.expect("a fact is noted")
    };
    let average = 3 << 48;
    let mut joined = Steps::on(state());
    pay(&mut joined, 1, [400_000, 1_200_000]);
    joined.run(record(Join::NUMBER, POOL, 0)).expect("it joins");
    let (c, word) = (POOL.into(), secret(1).public().x());
    let open = record(Open::NUMBER, SHAREHOLDER, Open::REST | flag::END);
    joined.run(StepRecord { c, word, ..open }).expect("an account for the shares");
    assert_eq!(held(&joined, POOL), [1_400_000, 4_200_000]);
    let [x, y] = [Read::INVERSE, 0].map(|flags| fact(&joined, flags));
    assert_eq!([x.reserve, y.reserve], at_last_session);
    let Fact { average: of_first, spot, .. } = y;
    assert_eq!((of_first, spot), (average, average), "nor do prices move where both tokens join");
    // Given bitcoin alone, the spot price falls, and the average stays; readers go by the lower.
    let mut given = Steps::on(state());
    given.registers.lanes = lanes([(0, 1_000_000), (0, 0), (0, 0)]);
    given.run(record(Join::NUMBER, POOL, 0)).expect("a gift");
    let Fact { average: of_first, spot, reserve, .. } = fact(&given, 0);
    assert_eq!((of_first, spot, reserve), (average, average / 2, at_last_session[1]));
    // What left since the last session is not there.
    let mut left = Steps::on(state());
    left.registers.lanes = lanes([(POOL, 866_025), (0, 0), (0, 0)]);
    left.run(record(Exit::NUMBER, POOL, 0)).expect("half leaves");
    assert_eq!([Read::INVERSE, 0].map(|flags| fact(&left, flags).reserve), [500_000, 1_500_000]);
    // While the fact is noted the pool stays as it was read.
    joined.run(record(Read::NUMBER, POOL, 0)).expect("it can be read");
    for operation in [Join::NUMBER, Exit::NUMBER] {
        assert_eq!(refusal(&joined, record(operation, POOL, 0), Limits::default()), Some(Refusal::FactTaken));
    }
    joined.run(record(Receive::NUMBER, 1, flag::DONE)).expect("the transaction ends");
    assert!(joined.registers.are_zero());
    assert_eq!(refusal(&joined, record(Exit::NUMBER, POOL, 0), Limits::default()), None);
    assert_satisfied(&mut joined);
}

/// Pools of the most of both tokens, of a thousand, and of the most again.
#[test]
fn reserves_are_below_2_63() {
    let mut steps = founded(MOST, MOST);
    assert_eq!(pool(&steps, EMPTY).supply, MOST);
    let one_more = |steps: &Steps| {
        let mut steps = Steps::on(steps.state.clone());
        steps.registers.lanes = lanes([(TOKEN, 1), (0, 0), (0, 0)]);
        refusal(&steps, record(Join::NUMBER, EMPTY, 0), Limits::default())
    };
    let full = Some(Refusal::Join(JoinError::Reserves(ReservesError { held: 1 << 63 })));
    assert_eq!(one_more(&steps), full);
    let all = steps.registers.lanes.map(|lane| (lane.token.0, lane.value));
    assert_eq!(all, [(0, 0), (TOKEN, 0), (EMPTY, i128::from(MOST) - 1_000)]);
    steps.run(record(Exit::NUMBER, EMPTY, 0)).expect("all leave that can");
    assert_eq!((held(&steps, EMPTY), pool(&steps, EMPTY).supply), ([1_000; 2], 1_000));
    steps.run(record(Join::NUMBER, EMPTY, 0)).expect("they join again");
    assert_eq!((held(&steps, EMPTY), pool(&steps, EMPTY).supply), ([MOST; 2], MOST));
    assert_eq!(one_more(&steps), full);
    assert_chunk_sound(&steps.chunk(3));
}

/// The smallest pools: 1,001 shares, of a unit of a token or more.
#[test]
fn shares_are_more_than_1_000() {
    let most = i128::from(MOST);
    for (x, y, shares) in [(1, 1_002_001, 1_001), (1_002_001, 1, 1_001), (1_001, 1_001, 1_001)] {
        let mut steps = founded(x, y);
        assert_eq!(pool(&steps, EMPTY).supply, shares);
        steps.run(record(Exit::NUMBER, EMPTY, 0)).expect("a share leaves");
        assert_eq!(pool(&steps, EMPTY).supply, 1_000);
        assert_eq!(held(&steps, EMPTY), [x, y].map(|held| held - held / 1_001));
        assert_satisfied(&mut steps);
        steps.registers.lanes[2] = Lane { token: Token(EMPTY), value: 1 };
        let refused = Some(Refusal::Exit(ExitError::Shares { shares: 1_000, given: 1 }));
        assert_eq!(refusal(&steps, record(Exit::NUMBER, EMPTY, 0), Limits::default()), refused);
    }
    for (x, y, expected) in [
        (1, 1_002_000, Some(Refusal::Found(FoundError::Shares { shares: 1_000 }))),
        (1_002_000, 1, Some(Refusal::Found(FoundError::Shares { shares: 1_000 }))),
        (most, 0, Some(Refusal::Reserves(ReservesError { held: 0 }))),
        (0, most, Some(Refusal::Reserves(ReservesError { held: 0 }))),
    ] {
        let mut steps = Steps::on(state());
        steps.registers.lanes = lanes([(0, x), (TOKEN, y), (0, 0)]);
        let founds = StepRecord { c: PARAMETERS, ..record(Pool::NUMBER, EMPTY, 0) };
        assert_eq!(refusal(&steps, founds, Limits::default()), expected, "{x} and {y}");
    }
}

/// First averages at both ends, and what is read of such pools.
#[test]
fn prices_are_from_2_32_to_below_2_96() {
    let (lowest, highest) = (Price::AVERAGE_MIN.bits(), (1 << 96) - (1 << 48));
    for (x, y, average, spot) in [
        (1 << 26, 1 << 10, lowest, lowest),
        ((1 << 26) - 1, 1 << 10, lowest + 64, lowest + 64),
        ((1 << 26) + 1, 1 << 10, lowest, lowest - 64),
        (MOST, 1, lowest, 0),
        (1, (1 << 48) - 1, highest, highest),
    ] {
        let mut steps = founded(x, y);
        assert_eq!(pool(&steps, EMPTY).average, average, "{x} and {y}");
        // Another batch, at a later height: the pool's last session is before it.
        let before = cell::Pool { last_height: HEIGHT - 1, ..pool(&steps, EMPTY) };
        assert_satisfied(&mut steps);
        steps.registers = Registers::default();
        steps.put(EMPTY, Cell::Pool(before));
        steps.run(record(Read::NUMBER, EMPTY, 0)).expect("it can be read");
        let read = steps.registers.fact.map(|fact| (fact.average, fact.spot, fact.reserve, fact.height_blocks));
        assert_eq!(read, Some((average, spot, y, HEIGHT - 1)), "{x} and {y}");
        assert_satisfied(&mut steps);
        steps.registers = Registers::default();
        let inverse = record(Read::NUMBER, EMPTY, Read::INVERSE);
        let turned = (u128::from(x) << 48) / u128::from(y);
        if turned >> 96 != 0 {
            let refused = Some(Refusal::Price(PriceError::High(turned)));
            assert_eq!(refusal(&steps, inverse, Limits::default()), refused);
            continue;
        }
        steps.run(inverse).expect("it can be read");
        let read = steps.registers.fact.map(|fact| (fact.average, fact.spot, fact.reserve));
        assert_eq!(read, Some(((1 << 96) / average, turned, x)), "{x} and {y}");
        assert_satisfied(&mut steps);
    }
    let mut steep = Steps::on(state());
    steep.registers.lanes = lanes([(0, 1), (TOKEN, 1 << 48), (0, 0)]);
    let founds = StepRecord { c: PARAMETERS, ..record(Pool::NUMBER, EMPTY, 0) };
    let refused = Some(Refusal::Found(FoundError::Price(PriceError::High(1 << 96))));
    assert_eq!(refusal(&steep, founds, Limits::default()), refused);
}

/// A transaction that founds a pool, joins it, and leaves it, each in clauses, over three chunks.
#[test]
fn transactions_of_pools_are_sound() {
    let mut steps = Steps::on(state());
    pay(&mut steps, 1, [10_000, 40_000]);
    steps.run(StepRecord { c: PARAMETERS, ..record(Pool::NUMBER, EMPTY, 0) }).expect("a pool");
    let first = steps.chunk(4);
    let (c, word) = (EMPTY.into(), secret(3).public().x());
    let open = record(Open::NUMBER, SHAREHOLDER, Open::REST | flag::END);
    steps.run_within(StepRecord { c, word, ..open }, Limits { least: 19_000, until: 0 }).expect("an account");
    pay(&mut steps, 2, [1_000, 4_001]);
    let second = steps.chunk(4);
    steps.run(record(Join::NUMBER, EMPTY, 0)).expect("it joins");
    steps.run(record(Exit::NUMBER, EMPTY, 0)).expect("it leaves");
    collect(&mut steps, 2);
    let third = steps.chunk(4);
    // A unit of the token was more than the shares' proportion.
    assert_eq!(held(&steps, 2), [1_000_000, 5_000_000 - 1]);
    assert_eq!(held(&steps, EMPTY), [10_000, 40_001]);
    for chunk in [first, second, third] {
        assert_chunk_sound(&chunk);
    }
}
