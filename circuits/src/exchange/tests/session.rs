use super::{
    super::{ClearError, DivisionError, FillError, Reserves, ReservesError, Session, Side},
    any_amount, any_below, any_parameters, any_reserves, big, parameters, reserves,
};
use num_bigint::BigUint;
use proptest::prelude::*;

const TOP: u64 = (1 << 63) - 1;

/// Orders of both sides whose sums, with a pool's reserves, have 63 bits.
fn any_orders(reserves: Reserves) -> impl Strategy<Value = Vec<(Side, u64)>> {
    let side = any::<bool>().prop_map(|is_x| if is_x { Side::X } else { Side::Y });
    proptest::collection::vec((side, any_below(63)), 0..8).prop_map(move |orders| {
        let (mut x, mut y) = (reserves.x(), reserves.y());
        let fits = |(side, amount): (Side, u128)| {
            let sum = if side == Side::X { &mut x } else { &mut y };
            let amount = (amount as u64).min(TOP - *sum);
            *sum += amount;
            (amount > 0).then_some((side, amount))
        };
        orders.into_iter().filter_map(fits).collect()
    })
}

fn any_pool_and_orders() -> impl Strategy<Value = (Reserves, Vec<(Side, u64)>)> {
    any_reserves().prop_flat_map(|reserves| (Just(reserves), any_orders(reserves)))
}

fn sum(orders: &[(Side, u64)], of: Side) -> u64 {
    orders.iter().filter(|(side, _)| *side == of).map(|(_, amount)| amount).sum()
}

/// Runs a session: what each order gets, the flows of both tokens and the reserves after.
fn run(session: Session, before: Reserves, orders: &[(Side, u64)]) -> (Vec<u64>, Result<Reserves, ClearError>) {
    let (mut session, mut x, mut y, mut outputs) = (session, 0i128, 0i128, Vec::new());
    for (side, amount) in orders {
        let fill = session.fill(*side, *amount).expect("an order that the session expects");
        let (paid, bought) = if *side == Side::X { (&mut x, &mut y) } else { (&mut y, &mut x) };
        *paid += i128::from(*amount);
        *bought -= i128::from(fill.output);
        outputs.push(fill.output);
        session = fill.session;
    }
    (outputs, session.clear(before, x, y))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    /// Every session of orders that are there clears, and the product of the reserves does not fall.
    #[test]
    fn a_session_clears((before, orders) in any_pool_and_orders(), parameters in any_parameters()) {
        let (a, b) = (sum(&orders, Side::X), sum(&orders, Side::Y));
        let session = Session::open(before, &parameters, a, b);
        let weight = u64::from(parameters.weight()) * (10_000 - u64::from(parameters.fee()));
        let (n, d) = (
            big(10_000u32) * big(before.y()) + big(weight) * big(b),
            big(10_000u32) * big(before.x()) + big(weight) * big(a),
        );
        prop_assert_eq!((big(session.n), big(session.d)), (n.clone(), d.clone()));
        prop_assert!(session.n < 1 << 79 && session.d < 1 << 79);
        let (outputs, after) = run(session, before, &orders);
        let after = after.expect("a session of orders that are there");
        prop_assert!(after.product() >= before.product());
        let kept = 10_000 - u64::from(parameters.fee());
        for ((side, amount), output) in orders.iter().zip(&outputs) {
            let (bought, sold) = if *side == Side::X { (&n, &d) } else { (&d, &n) };
            prop_assert_eq!(big(*output), big(*amount) * big(kept) * bought / (big(10_000u32) * sold));
        }
        // The order of orders does not matter, nor does it pay to cut one into two.
        let reversed: Vec<_> = orders.iter().rev().copied().collect();
        let (mut others, other) = run(session, before, &reversed);
        others.reverse();
        prop_assert_eq!((others, other), (outputs.clone(), Ok(after)));
        if let [(side, amount), rest @ ..] = orders.as_slice() && *amount > 1 {
            let (first, second) = (amount / 3 + 1, amount - amount / 3 - 1);
            let halves = [first, second].into_iter().filter(|half| *half > 0);
            let halves: Vec<_> = halves.map(|half| (*side, half)).collect();
            let cut: Vec<_> = halves.iter().copied().chain(rest.iter().copied()).collect();
            let parts: u64 = run(session, before, &cut).0[..halves.len()].iter().sum();
            prop_assert!(parts <= outputs[0]);
        }
    }

    /// With w = 1 an order alone gets exactly what Uniswap v2 gives.
    #[test]
    fn an_order_alone_is_uniswap_v2((before, orders) in any_pool_and_orders(), fee in 0..=1_000u16) {
        for (side, amount) in orders {
            let (a, b) = if side == Side::X { (amount, 0) } else { (0, amount) };
            let fill = Session::open(before, &parameters(fee, 1, 1), a, b).fill(side, amount).expect("it is expected");
            let (sold, bought) =
                if side == Side::X { (before.x(), before.y()) } else { (before.y(), before.x()) };
            let with_fee = big(amount) * big(10_000 - fee);
            let expected = with_fee.clone() * big(bought) / (big(sold) * big(10_000u32) + with_fee);
            prop_assert_eq!(big(fill.output), expected);
        }
    }

    /// With w = 2 and no fee, the price is the pool's own after the session (FM-AMM): were nothing rounded, y' / x' = N
    /// / D. In whole units, x' and y' exceed the exact ones by less than one for each order that is paid in that token.
    #[test]
    fn a_weight_of_2_clears_at_the_marginal_price((before, orders) in any_pool_and_orders()) {
        let (a, b) = (sum(&orders, Side::X), sum(&orders, Side::Y));
        let session = Session::open(before, &parameters(0, 2, 1), a, b);
        let (n, d) = (big(session.n), big(session.d));
        // x' = x + A - B D / N and y' = y + B - A N / D, as fractions over N and D.
        let exact_x = (big(before.x()) + big(a)) * &n - big(b) * &d;
        let exact_y = (big(before.y()) + big(b)) * &d - big(a) * &n;
        // y' / x' = N / D, that is exact_y / D * D = N * exact_x / N.
        prop_assert_eq!(&exact_y, &exact_x);
        // And x' y' >= x y, before anything is rounded.
        prop_assert!(&exact_x * &exact_y >= big(before.product()) * &n * &d);
        let after = run(session, before, &orders).1.expect("a session of orders that are there");
        let count = |of| big(orders.iter().filter(|(side, _)| *side == of).count());
        let is_rounded = |held: u64, exact: BigUint, scale: &BigUint, count: BigUint| {
            let scaled = big(held) * scale;
            scaled >= exact && scaled <= exact + count * scale
        };
        prop_assert!(is_rounded(after.x(), exact_x, &n, count(Side::Y)));
        prop_assert!(is_rounded(after.y(), exact_y, &d, count(Side::X)));
    }

    /// Whatever the registers hold, an order is filled as its formula says or refused.
    #[test]
    fn no_registers_make_it_panic(
        n in any_below(128), d in any_below(128), unpaid in (any_amount(), any_amount()), fee in any::<u16>(),
        amount in any_amount(), flows in (any::<i128>(), any::<i128>()), before in any_reserves()
    ) {
        let session = Session { n, d, unpaid_x: unpaid.0, unpaid_y: unpaid.1, fee };
        for side in [Side::X, Side::Y] {
            if let Ok(fill) = session.fill(side, amount) {
                let left = (fill.session.unpaid_x, fill.session.unpaid_y);
                let taken = if side == Side::X { (amount, 0) } else { (0, amount) };
                prop_assert_eq!((left.0 + taken.0, left.1 + taken.1), unpaid);
            }
        }
        prop_assert!(session.clear(before, flows.0, flows.1).is_err() || unpaid == (0, 0));
        let cleared = Session { unpaid_x: 0, unpaid_y: 0, ..session }.clear(before, flows.0, flows.1);
        if let Ok(after) = cleared {
            prop_assert_eq!(Ok(after), before.moved(flows.0, flows.1));
            prop_assert!(after.product() >= before.product());
        }
    }
}

fn session(a: u64, b: u64) -> Session {
    Session::open(reserves(1_000_000, 4_000_000), &parameters(30, 1, 10), a, b)
}

#[test]
fn a_session_s_sums_have_79_bits() {
    for (x, y, a, b) in [(TOP, TOP, u64::MAX, u64::MAX), (1, TOP, 0, u64::MAX)] {
        let session = Session::open(reserves(x, y), &parameters(0, 2, 1), a, b);
        assert_eq!(session.n, 10_000 * u128::from(TOP) + 20_000 * u128::from(u64::MAX));
        assert!(session.n < 1 << 79 && session.n > 1 << 78);
        let most = u128::from(u64::MAX) * 10_000;
        assert!(most.ilog2() + session.n.ilog2() + 2 <= 157 && (session.d * 10_000).ilog2() < 93);
    }
}

#[test]
fn an_order_pays_what_the_session_expects() {
    let open = session(1_000, 500);
    assert_eq!(open.fill(Side::X, 0), Err(FillError::Nothing));
    assert_eq!(open.fill(Side::X, 1_001), Err(FillError::Unexpected { amount: 1_001, unpaid: 1_000 }));
    assert_eq!(open.fill(Side::Y, 501), Err(FillError::Unexpected { amount: 501, unpaid: 500 }));
    let first = open.fill(Side::X, 600).expect("expected").session;
    assert_eq!((first.unpaid_x, first.unpaid_y, first.n, first.d), (400, 500, open.n, open.d));
    // Filled twice, it finds that the session does not expect it again.
    assert_eq!(first.fill(Side::X, 600), Err(FillError::Unexpected { amount: 600, unpaid: 400 }));
}

#[test]
fn an_order_needs_a_price() {
    let broken = Session { d: 0, ..session(5, 5) };
    assert_eq!(broken.fill(Side::X, 5), Err(FillError::Division(DivisionError::ByZero)));
    assert_eq!(broken.fill(Side::Y, 5).map(|fill| fill.output), Ok(0));
    assert_eq!(Session { n: 0, ..session(5, 5) }.fill(Side::Y, 5), Err(FillError::Division(DivisionError::ByZero)));
    let dear = Session { n: u128::MAX, ..session(5, 5) };
    assert_eq!(dear.fill(Side::X, 5), Err(FillError::Division(DivisionError::Quotient { bits: 64 })));
    assert_eq!(dear.fill(Side::Y, 5), Err(FillError::Session));
    assert_eq!(Session { fee: 10_001, ..session(5, 5) }.fill(Side::X, 5), Err(FillError::Session));
    assert_eq!(Session { fee: 10_000, ..session(5, 5) }.fill(Side::X, 5).map(|fill| fill.output), Ok(0));
}

#[test]
fn a_session_clears_when_all_have_paid() {
    let before = reserves(1_000_000, 4_000_000);
    let clear = |session: Session, x, y| session.clear(before, x, y);
    assert_eq!(clear(session(1, 0), 0, 0), Err(ClearError::Unpaid { x: 1, y: 0 }));
    assert_eq!(clear(session(0, 1), 0, 0), Err(ClearError::Unpaid { x: 0, y: 1 }));
    assert_eq!(clear(session(0, 0), 0, 0), Ok(before));
    assert_eq!(clear(session(0, 0), 1_000_000, -2_000_000), Ok(reserves(2_000_000, 2_000_000)));
    assert_eq!(clear(session(0, 0), 1_000_000, -2_000_001), Err(ClearError::Product));
    assert_eq!(clear(session(0, 0), 1, -4_000_000), Err(ClearError::Reserves(ReservesError { held: 0 })));
    let held = 1 << 63;
    assert_eq!(clear(session(0, 0), held - 1_000_000, 0), Err(ClearError::Reserves(ReservesError { held })));
}

/// An order that is given the other side's price would take what it pays out again, and more.
#[test]
fn sides_are_told_apart() {
    let open = Session::open(reserves(1_000_000_000_000, 1_000_000), &parameters(30, 1, 1), 100_000, 0);
    assert_eq!(open.fill(Side::X, 100_000).map(|fill| fill.output), Ok(0));
    assert_eq!(open.quote(Side::Y, 100_000).map(|division| division.quotient), Ok(99_700_009_940));
}

const UNIT: u64 = 1_000_000_000_000_000_000;

/// A session as [`Session::open`] makes it, for reserves of more than 63 bits, too.
fn open_beyond(x: u64, y: u64, a: u64, b: u64) -> Session {
    let sum = |units: u64, paid: u64| 10_000 * u128::from(units) * u128::from(UNIT) + 9_970 * u128::from(paid);
    Session { n: sum(y, b), d: sum(x, a), unpaid_x: a, unpaid_y: b, fee: 30 }
}

/// Public vectors of Uniswap v2-core, test/UniswapV2Pair.spec.ts, `swapTestCases`: what is paid and both reserves in
/// units of 10^18, and what is got, exactly.
#[test]
fn public_vectors_of_swaps() {
    for (amount, x, y, output) in [
        (1, 5, 10, 1_662_497_915_624_478_906u64),
        (1, 10, 5, 453_305_446_940_074_565),
        (2, 5, 10, 2_851_015_155_847_869_602),
        (2, 10, 5, 831_248_957_812_239_453),
        (1, 10, 10, 906_610_893_880_149_131),
        (1, 100, 100, 987_158_034_397_061_298),
        (1, 1_000, 1_000, 996_006_981_039_903_216),
    ] {
        let session = open_beyond(x, y, amount * UNIT, 0);
        assert_eq!(session.fill(Side::X, amount * UNIT).map(|fill| fill.output), Ok(output));
        // A thousandth of all gets a thousandth, rounded down, in a pool of reserves that there can be.
        let part = UNIT / 1_000;
        let small = Session::open(reserves(x * part, y * part), &parameters(30, 1, 1), amount * part, 0);
        assert_eq!(small.n * 1_000, session.n);
        assert_eq!(small.fill(Side::X, amount * part).map(|fill| fill.output), Ok(output / 1_000));
    }
}

/// The `optimisticTestCases` of the same file: what is got, both reserves, and the least that has to be paid for it,
/// of one token by the pool's borrower, so at no price but the fee. Here it is two orders that meet at the pool's own
/// price.
#[test]
fn public_vectors_of_the_fee() {
    for (output, x, y, input) in [
        (997_000_000_000_000_000, 5, 10, UNIT),
        (997_000_000_000_000_000, 10, 5, UNIT),
        (997_000_000_000_000_000, 5, 5, UNIT),
        (UNIT, 5, 5, 1_003_009_027_081_243_732u64),
    ] {
        let got = |input: u64| {
            let paid_y = u64::try_from(u128::from(input) * u128::from(y) / u128::from(x)).expect("64 bits");
            let session = open_beyond(x, y, input, paid_y);
            session.fill(Side::Y, paid_y).expect("it is expected").output
        };
        assert_eq!(got(input), output);
        assert!(got(input - 1) < output);
    }
}
