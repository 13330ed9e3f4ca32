use super::{
    super::{
        ExitError, FoundError, JoinError, Parameters, ParametersError, Price, PriceError, Reserves, ReservesError,
        exit, found, join,
    },
    any_amount, any_reserves, big, reserves,
};
use proptest::prelude::*;

const TOP: u64 = (1 << 63) - 1;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn a_pool_is_founded_with_the_root_of_the_product(reserves in any_reserves()) {
        let founded = found(reserves);
        if let Ok(founded) = founded {
            let shares = big(founded.shares);
            prop_assert!(shares.pow(2) <= big(reserves.product()) && (shares + 1u8).pow(2) > big(reserves.product()));
            prop_assert!(founded.shares > 1_000);
            let price = (big(reserves.y()) << 48u32) / big(reserves.x());
            prop_assert_eq!(big(founded.average.bits()), price.max(big(1u64 << 32)));
        } else {
            let is_small = reserves.product() < 1_001 * 1_001;
            prop_assert!(is_small || (big(reserves.y()) << 48u32) / big(reserves.x()) >= big(1u128 << 96));
        }
    }

    /// x y / S^2 never falls, neither by joining nor by leaving, whatever the shares are.
    #[test]
    fn rounding_favours_those_who_stay(
        reserves in any_reserves(), shares in any_amount(), dx in any_amount(), dy in any_amount(),
        given in any_amount()
    ) {
        let worth = |reserves: Reserves, by: u64| big(reserves.product()) * big(by).pow(2);
        if let Ok(joined) = join(reserves, shares, dx, dy) {
            prop_assert_eq!(joined.reserves, super::reserves(reserves.x() + dx, reserves.y() + dy));
            prop_assert_eq!(joined.shares, shares + joined.minted);
            prop_assert!(worth(joined.reserves, shares) >= worth(reserves, joined.shares));
            let is_paid = |minted: u64, paid: u64, held| big(minted) * big(held) <= big(paid) * big(shares);
            let both = |minted| is_paid(minted, dx, reserves.x()) && is_paid(minted, dy, reserves.y());
            prop_assert!(both(joined.minted) && (joined.minted == u64::MAX || !both(joined.minted + 1)));
        }
        let given = if shares == 0 { given } else { given % shares };
        if let Ok(left) = exit(reserves, shares, given) {
            let part = |held: u64| big(given) * big(held) / big(shares);
            prop_assert_eq!((big(left.x.quotient), big(left.y.quotient)), (part(reserves.x()), part(reserves.y())));
            let stays = |held: u64, gone: u128| held - u64::try_from(gone).expect("less than what is held");
            let after = super::reserves(stays(reserves.x(), left.x.quotient), stays(reserves.y(), left.y.quotient));
            prop_assert_eq!((left.reserves, left.shares), (after, shares - given));
            prop_assert!(worth(left.reserves, shares) >= worth(reserves, left.shares));
        } else {
            prop_assert!(shares - given.min(shares) < 1_000);
        }
    }

    /// Whoever joins and leaves at once has no more of either token than before.
    #[test]
    fn a_round_trip_gains_nothing(
        reserves in any_reserves(), shares in 1_000..=u64::MAX, dx in any_amount(), dy in any_amount()
    ) {
        let shares = shares.min(u64::try_from(reserves.product().isqrt()).expect("63 bits")).max(1_000);
        if let Ok(joined) = join(reserves, shares, dx, dy) {
            let left = exit(joined.reserves, joined.shares, joined.minted).expect("more than are locked stay");
            prop_assert!(left.x.quotient <= dx.into() && left.y.quotient <= dy.into());
        }
    }
}

#[test]
fn reserves_are_from_1_to_2_63_less_1() {
    assert_eq!(Reserves::new(1, TOP).map(|held| (held.x(), held.y())), Ok((1, TOP)));
    for (x, y, held) in [(0, 1, 0), (1, 0, 0), (TOP + 1, 1, 1 << 63), (1, u64::MAX, (1 << 64) - 1)] {
        assert_eq!(Reserves::new(x, y), Err(ReservesError { held }));
    }
    let pool = reserves(5, 7);
    assert_eq!(pool.moved(-4, i128::from(TOP - 7)), Ok(reserves(1, TOP)));
    assert_eq!(pool.moved(-5, 0), Err(ReservesError { held: 0 }));
    assert_eq!(pool.moved(-6, 0), Err(ReservesError { held: -1 }));
    assert_eq!(pool.moved(0, i128::from(TOP - 6)), Err(ReservesError { held: 1 << 63 }));
    assert_eq!(pool.moved(0, i128::MAX), Err(ReservesError { held: i128::MAX }));
    assert_eq!(pool.moved(i128::MIN, 0), Err(ReservesError { held: i128::MIN + 5 }));
}

#[test]
fn parameters_have_bounds() {
    for (fee, weight, memory) in [(0, 1, 1), (1_000, 2, 30)] {
        let taken = Parameters::new(fee, weight, memory).expect("within bounds");
        assert_eq!((taken.fee(), taken.weight(), taken.memory_blocks()), (fee, weight, memory));
    }
    assert_eq!(Parameters::new(1_001, 1, 1), Err(ParametersError::Fee(1_001)));
    assert_eq!(Parameters::new(0, 0, 1), Err(ParametersError::Weight(0)));
    assert_eq!(Parameters::new(0, 3, 1), Err(ParametersError::Weight(3)));
    assert_eq!(Parameters::new(0, 1, 0), Err(ParametersError::Memory(0)));
    assert_eq!(Parameters::new(0, 1, 31), Err(ParametersError::Memory(31)));
}

#[test]
fn a_pool_has_more_shares_than_are_locked() {
    assert_eq!(found(reserves(1_000, 1_001)), Err(FoundError::Shares { shares: 1_000 }));
    assert_eq!(found(reserves(1_001, 1_001)).map(|founded| founded.shares), Ok(1_001));
    assert_eq!(found(reserves(TOP, TOP)).map(|founded| founded.shares), Ok(TOP));
}

#[test]
fn a_first_average_is_a_price() {
    let average = |x, y| found(reserves(x, y)).map(|founded| founded.average.bits());
    assert_eq!(average(3, 1 << 40), Ok((1 << 88) / 3));
    assert_eq!(average(1 << 40, 3), Ok(1 << 32)); // 3 * 2^8
    assert_eq!(average(1, (1 << 48) - 1), Ok((1 << 96) - (1 << 48)));
    assert_eq!(average(1, 1 << 48), Err(FoundError::Price(PriceError::High(1 << 96))));
    assert_eq!(Price::AVERAGE_MIN.bits(), 1 << 32);
}

#[test]
fn joining_has_bounds() {
    let pool = reserves(1_000_000, 4_000_000);
    let joined = join(pool, 2_000_000, 10, 39).expect("within bounds");
    assert_eq!((joined.minted, joined.shares), (19, 2_000_019)); // 39 of y are the lesser part; a y stays unpaid for
    assert_eq!(joined.reserves, reserves(1_000_010, 4_000_039));
    assert_eq!(join(pool, 2_000_000, 0, 1 << 60).map(|joined| joined.minted), Ok(0));
    let over = join(pool, 2_000_000, TOP, 0);
    assert_eq!(over, Err(JoinError::Reserves(ReservesError { held: i128::from(TOP) + 1_000_000 })));
    // Shares that no pool can have, which are more than the root of the product.
    assert_eq!(join(reserves(1, 1), u64::MAX, 2, 2), Err(JoinError::Shares));
    assert_eq!(join(reserves(2, 2), u64::MAX - 1, 1, 1), Err(JoinError::Shares));
    assert_eq!(join(reserves(2, 2), 2, 1, 1).map(|joined| joined.shares), Ok(3));
}

#[test]
fn locked_shares_stay() {
    let pool = reserves(1_000_000, 4_000_000);
    let left = exit(pool, 2_000_000, 1_999_000).expect("1,000 stay");
    assert_eq!((left.shares, left.reserves), (1_000, reserves(500, 2_000)));
    assert_eq!(exit(pool, 2_000_000, 1_999_001), Err(ExitError::Shares { shares: 2_000_000, given: 1_999_001 }));
    assert_eq!(exit(pool, 999, 0), Err(ExitError::Shares { shares: 999, given: 0 }));
    assert_eq!(exit(pool, 0, 1), Err(ExitError::Shares { shares: 0, given: 1 }));
}
