//! Markets small enough to follow by hand, and some as large as can be posted.

use super::{
    super::super::{
        Side,
        matching::{LeftOutError, Order, match_in_rounds},
    },
    Market, TOP, assert_by_the_rule, assert_right, close_market, parameters, reserves,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const MILLION: u64 = 1_000_000;

fn market<const N: usize>(orders: [(Side, u64, u64); N]) -> Market {
    let orders = orders.map(|(side, amount, least)| Order { side, amount, least }).to_vec();
    Market { pool: reserves(MILLION, MILLION), parameters: parameters(0, 2, 1), orders }
}

fn outcomes<const N: usize>(orders: [(Side, u64, u64); N]) -> Vec<Result<u64, LeftOutError>> {
    let market = market(orders);
    assert_by_the_rule(&market);
    market.run().outcomes
}

#[test]
fn no_orders_are_a_session() {
    let matching = market([]).run();
    assert_eq!((matching.outcomes, matching.reserves), (vec![], reserves(MILLION, MILLION)));
    assert_eq!((matching.session.n, matching.session.d), (10_000 * 1_000_000, 10_000 * 1_000_000));
}

#[test]
fn a_limit_is_met_to_the_unit() {
    // 10^6 / (10^6 + 2,000) of 1,000 are 998.003.
    assert_eq!(outcomes([(Side::X, 1_000, 998)]), [Ok(998)]);
    assert_eq!(outcomes([(Side::X, 1_000, 999)]), [Err(LeftOutError::Size { output: 998 })]);
    assert_eq!(outcomes([(Side::X, 1_000, 1_000)]), [Err(LeftOutError::Size { output: 998 })]);
    assert_eq!(outcomes([(Side::X, 1_000, 1_001)]), [Err(LeftOutError::Limit { output: 1_000 })]);
    assert_eq!(outcomes([(Side::Y, 1_000, 998)]), [Ok(998)]);
    assert_eq!(outcomes([(Side::Y, 1_000, 999)]), [Err(LeftOutError::Size { output: 998 })]);
    assert_eq!(outcomes([(Side::Y, 1_000, 1_001)]), [Err(LeftOutError::Limit { output: 1_000 })]);
    assert_eq!(outcomes([(Side::Y, 0, 0), (Side::X, 0, 0)]), [Err(LeftOutError::Nothing); 2]);
}

/// Orders that could not be in alone are in together.
#[test]
fn orders_meet() {
    let meeting = [(Side::X, 100_000, 99_999), (Side::Y, 100_000, 99_999)];
    assert_eq!(outcomes(meeting), [Ok(100_000); 2]);
    assert_eq!(outcomes([meeting[0]]), [Err(LeftOutError::Size { output: 83_333 })]);
    // At exactly one price, too.
    assert_eq!(outcomes([(Side::X, 100_000, 100_000), (Side::Y, 100_000, 100_000)]), [Ok(100_000); 2]);
}

/// An order that drops out moves the price for all, so that another one drops, and a third.
#[test]
fn orders_drop_one_by_one() {
    let (seller, buyer) = ((Side::X, 100_000, 97_000), (Side::Y, 200_000, 190_000));
    let other = |least| outcomes([seller, buyer, (Side::X, 100_000, least)]);
    assert_eq!(other(100_000), [Ok(100_000), Ok(200_000), Ok(100_000)]);
    let size = |output| Err(LeftOutError::Size { output });
    assert_eq!(other(110_000), [size(83_333), size(142_857), Err(LeftOutError::Limit { output: 100_000 })]);
}

/// An order of any size with a limit that is better than others' cannot keep them out.
#[test]
fn a_whale_blocks_nobody() {
    let few = [(Side::X, 1_000, 990), (Side::Y, 1_000, 990), (Side::X, 2_000, 1_980)];
    let [a, b, c] = few;
    let expected = outcomes(few);
    assert!(expected.iter().all(Result::is_ok));
    for whale in [(Side::X, 1 << 50, 1 << 49), (Side::Y, 1 << 50, 1 << 49), (Side::X, 300_000, 280_000)] {
        let with = outcomes([a, whale, b, c]);
        assert!(matches!(with[1], Err(LeftOutError::Size { .. })));
        assert_eq!([with[0], with[2], with[3]], expected[..]);
    }
}

/// It is left out that would move the price too far for another, which is in already.
#[test]
fn others_are_in_the_way() {
    let orders = [
        (Side::Y, 15_000, 14_970),
        (Side::Y, 16_000, 15_024),
        (Side::X, 29_000, 28_594),
        (Side::X, 6_000, 6_066),
        (Side::X, 12_000, 11_880),
    ];
    let expected = [
        Err(LeftOutError::Limit { output: 14_709 }),
        Ok(15_689),
        Err(LeftOutError::Size { output: 27_970 }),
        Ok(6_118),
        Err(LeftOutError::Other { position: 3 }),
    ];
    assert_eq!(outcomes(orders), expected);
}

/// What was set aside takes a place that is free in the end; without rounds it is told that there were none.
#[test]
fn offers_are_taken() {
    let orders = [(Side::Y, 11_000, 11_484), (Side::X, 22_000, 21_032), (Side::X, 28_000, 26_544)];
    let (large, small) = (LeftOutError::Size { output: 25_454 }, LeftOutError::Size { output: 11_236 });
    assert_eq!(outcomes(orders), [Err(small), Ok(21_072), Err(large)]);
    let market = market(orders);
    let without = match_in_rounds(market.pool, &market.parameters, &market.orders, 0);
    assert_right(&market, &without);
    assert_eq!(without.outcomes[1], Err(LeftOutError::Rounds));
}

/// The bound keeps out the largest orders of a side, and not those of the other.
#[test]
fn a_pool_keeps_its_bound() {
    let room = TOP - MILLION;
    let orders = [(Side::X, room - 4, 0), (Side::X, 3, 0), (Side::X, 2, 0), (Side::Y, room, 0), (Side::Y, 1, 0)];
    let bound = Err(LeftOutError::Bound);
    let matching = market(orders).run();
    assert_eq!([0, 3].map(|position| matching.outcomes[position]), [bound; 2]);
    assert!([1, 2, 4].iter().all(|position| matching.outcomes[*position].is_ok()));
    let full = market([(Side::X, room, 0), (Side::Y, room, 0)]).run();
    assert_eq!(full.outcomes, [Ok(room), Ok(room)]);
    assert_eq!(full.reserves, reserves(MILLION, MILLION));
    assert_eq!(market([(Side::X, room + 1, 0)]).run().outcomes, [bound]);
    assert_eq!(market([(Side::X, u64::MAX, u64::MAX)]).run().outcomes, [bound]);
}

/// Books that are as large as can be posted, ordinary ones and some that are made to take long: all are set aside one
/// by one, limits are all equal, or there are as many rounds as there can be.
#[test]
fn many_orders_are_matched() {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let count = 100_000;
    let scale = 1 << 40;
    let mut whale = |side| Order { side, amount: scale + random.gen_range(0..scale), least: scale / 2 };
    let whales: Vec<_> = (0..count).map(|at| whale(if at % 2 == 0 { Side::X } else { Side::Y })).collect();
    let equal =
        |at| Order { side: if at % 2 == 0 { Side::X } else { Side::Y }, amount: scale / 1_000, least: scale / 1_000 };
    let ordinary = close_market(&mut random, count, 1_000, 20);
    for orders in [ordinary.orders, whales, (0..count).map(equal).collect()] {
        let book = Market { pool: reserves(scale, scale), parameters: parameters(0, 2, 1), orders };
        let matching = book.run();
        let mut session = matching.session;
        for (order, outcome) in book.orders.iter().zip(&matching.outcomes) {
            match outcome {
                Ok(output) => {
                    let fill = session.fill(order.side, order.amount).expect("the session expects it");
                    assert!(fill.output == *output && fill.output >= order.least);
                    session = fill.session;
                }
                Err(LeftOutError::Limit { output } | LeftOutError::Size { output }) => assert!(*output < order.least),
                Err(LeftOutError::Other { position }) => assert!(matching.outcomes[*position].is_ok()),
                Err(LeftOutError::Bound) => {}
                Err(error @ (LeftOutError::Nothing | LeftOutError::Rounds)) => panic!("{error}"),
            }
        }
        assert_eq!((session.unpaid_x, session.unpaid_y), (0, 0));
        assert!(matching.reserves.product() >= book.pool.product());
    }
}
