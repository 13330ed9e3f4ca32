//! Those who try to gain by rounding, by being first, by giving, and by moving a price.

use super::{
    super::{LOCKED_SHARES, Price, Reserves, Session, Side, advance, exit, found, join},
    parameters, reserves,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// An integer of any length, of at least one and at most so many bits.
fn any_length(random: &mut ChaCha8Rng, bits: u32) -> u64 {
    let length = random.gen_range(1..=bits);
    random.gen_range(1 << (length - 1)..1 << length)
}

/// 10,000 times in a row somebody joins the same pool and leaves it at once: the pool is never the poorer, and he never
/// the richer in either token.
#[test]
fn round_trips_drain_nothing() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for (x, y) in [(1_001, 1_001), (1_500, 1_000_000), (123_456_789, 987_654_321), (1 << 40, 1 << 55)] {
        let founded = found(reserves(x, y)).expect("enough shares");
        let (mut pool, mut shares) = (reserves(x, y), founded.shares);
        let (mut paid, mut got) = ([0u128; 2], [0u128; 2]);
        for _ in 0..10_000 {
            let (dx, dy) = (any_length(&mut random, 50), any_length(&mut random, 50));
            let joined = join(pool, shares, dx, dy).expect("within bounds");
            let given = if random.r#gen() { joined.minted } else { random.gen_range(0..=joined.minted) };
            let left = exit(joined.reserves, joined.shares, given).expect("the locked ones stay");
            assert!(left.x.quotient <= dx.into() && left.y.quotient <= dy.into());
            let next = exit(left.reserves, left.shares, joined.minted - given).expect("the locked ones stay");
            paid = [paid[0] + u128::from(dx), paid[1] + u128::from(dy)];
            got = [got[0] + left.x.quotient + next.x.quotient, got[1] + left.y.quotient + next.y.quotient];
            assert!(next.reserves.x() >= pool.x() && next.reserves.y() >= pool.y() && next.shares == shares);
            // What has stayed is more than pools hold, in the end: a new one of the first size.
            (pool, shares) = if next.reserves.x().max(next.reserves.y()) < 1 << 62 {
                (next.reserves, next.shares)
            } else {
                (reserves(x, y), founded.shares)
            };
        }
        assert!(got[0] <= paid[0] && got[1] <= paid[1]);
    }
}

/// The first one founds the smallest pool, gives to it what he likes so that a share is dear, and hopes that those who
/// join after him get none for what they pay. The locked shares take most of what he gives: he always loses.
#[test]
fn the_first_depositor_gains_nothing() {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    for _ in 0..20_000 {
        let side = random.gen_range(LOCKED_SHARES + 1..4_000);
        let founded = found(reserves(side, side)).expect("enough shares");
        let own = founded.shares - LOCKED_SHARES;
        let gift = any_length(&mut random, 40);
        let given = reserves(side + gift, side + gift);
        let (mut pool, mut shares) = (given, founded.shares);
        for _ in 0..random.gen_range(1..4) {
            let paid = any_length(&mut random, 45);
            let joined = join(pool, shares, paid, paid).expect("within bounds");
            (pool, shares) = (joined.reserves, joined.shares);
        }
        let left = exit(pool, shares, own).expect("the locked ones stay");
        assert!(left.x.quotient < u128::from(side + gift), "he gave {gift} to {side}");
    }
}

/// Whoever gives to a pool, by joining on one side alone, gets no share for it, and others' shares are worth more.
#[test]
fn gifts_are_gifts() {
    let pool = reserves(1_000_000, 1_000_000);
    let joined = join(pool, 1_000_000, 500_000, 0).expect("within bounds");
    assert_eq!((joined.minted, joined.shares), (0, 1_000_000));
    let before = exit(pool, 1_000_000, 1_000).expect("shares stay");
    let after = exit(joined.reserves, joined.shares, 1_000).expect("shares stay");
    assert_eq!((before.x.quotient, after.x.quotient), (1_000, 1_500));
    assert_eq!((before.y.quotient, after.y.quotient), (1_000, 1_000));
}

/// Runs a session of one order and tells what it gets.
fn trade(pool: Reserves, fee: u16, weight: u8, side: Side, amount: u64) -> (u64, Reserves) {
    let (a, b) = if side == Side::X { (amount, 0) } else { (0, amount) };
    let fill = Session::open(pool, &parameters(fee, weight, 10), a, b).fill(side, amount).expect("it is expected");
    let flow = (i128::from(amount), -i128::from(fill.output));
    let (x, y) = if side == Side::X { flow } else { (flow.1, flow.0) };
    (fill.output, fill.session.clear(pool, x, y).expect("the product does not fall"))
}

/// There and back, in two sessions, costs.
#[test]
fn trades_there_and_back_gain_nothing() {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    for _ in 0..10_000 {
        let mut pool = reserves(any_length(&mut random, 50), any_length(&mut random, 50));
        let (fee, weight) = ([0, 30, 1_000][random.gen_range(0..3)], random.gen_range(1..=2));
        let (paid, product) = (any_length(&mut random, 50), pool.product());
        let (got, after) = trade(pool, fee, weight, Side::X, paid);
        pool = after;
        if got > 0 {
            let (back, after) = trade(pool, fee, weight, Side::Y, got);
            assert!(back <= paid && after.product() >= product);
        }
    }
}

/// A sandwich by two sessions: buy before the victim's session, sell after it. Without a limit the victim pays for it
/// (as in any market), with one he is left out: [`Session::fill`] gives less, which his limit says no to.
#[test]
fn a_sandwich_shows_in_the_victim_s_output() {
    let pool = reserves(1_000_000_000, 1_000_000_000);
    let (fair, _) = trade(pool, 30, 1, Side::X, 10_000_000);
    let (bought, moved) = trade(pool, 30, 1, Side::X, 100_000_000);
    let (poor, after) = trade(moved, 30, 1, Side::X, 10_000_000);
    let (back, _) = trade(after, 30, 1, Side::Y, bought);
    assert!(back > 100_000_000 && poor < fair, "he would have gained");
    // The victim's wallet signs at least what it was shown, less a part of 200.
    assert!(poor < fair - fair / 200);
    // Against a victim in the same session nothing is gained: both get the same price.
    let together = Session::open(pool, &parameters(30, 1, 10), 110_000_000, 0);
    let one = together.fill(Side::X, 10_000_000).expect("expected");
    let ten = one.session.fill(Side::X, 100_000_000).expect("expected");
    assert!(one.output * 10 <= ten.output && ten.output <= one.output * 10 + 10);
}

/// Whatever one trade does to a pool, and however long it was idle before: the average moves by an eighth at most.
#[test]
fn one_trade_does_not_throw_the_average() {
    let pool = reserves(1_000_000, 1_000_000);
    let average = found(pool).expect("enough shares").average;
    for (side, amount) in [(Side::X, 1 << 60), (Side::Y, 1 << 60), (Side::X, 1_000), (Side::Y, 200_000)] {
        let (_, moved) = trade(pool, 30, 1, side, amount);
        for (memory, height) in [(1, 1), (30, 1), (1, 1 << 16), (30, u32::MAX)] {
            let after = advance(average, moved, &parameters(30, 1, memory), 0, height).expect("blocks later").average;
            assert!(after.bits().abs_diff(average.bits()) <= average.bits() / 8);
            // The session of the trade itself has advanced it by the price before.
            let same = advance(average, pool, &parameters(30, 1, memory), 0, height).expect("blocks later").average;
            assert_eq!(same, average);
        }
    }
    // With the shortest memory an idle pool's average moves by all of the eighth, with the longest, in one block, by a
    // 31st part of it.
    let (_, moved) = trade(pool, 30, 1, Side::Y, 1 << 60);
    let after = |memory, height| advance(average, moved, &parameters(30, 1, memory), 0, height).expect("later").average;
    assert_eq!(after(30, 1).bits(), (average.bits() * 30 + average.bits() * 9 / 8) / 31);
    assert!(after(1, 1 << 16).bits() > average.bits() * 1_124 / 1_000);
}

/// A price that has lasted becomes the average, up and down.
#[test]
fn an_average_follows_what_lasts() {
    for (x, y) in [(1_000_000, 2_000_000), (2_000_000, 1_000_000)] {
        let (pool, parameters) = (reserves(x, y), parameters(30, 1, 30));
        let spot = Price::spot(pool).expect("96 bits").bits();
        let mut average = Price::new(1 << 48).expect("96 bits");
        for height in 1..=250 {
            average = advance(average, pool, &parameters, height - 1, height).expect("a block later").average;
        }
        assert!(average.bits().abs_diff(spot) < spot / 50, "after 250 blocks {average:?}");
    }
}
