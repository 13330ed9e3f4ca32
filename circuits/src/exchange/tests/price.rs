use super::{
    super::{Advanced, AverageError, Price, PriceError, advance},
    any_below, any_parameters, any_reserves, big, parameters, reserves,
};
use proptest::prelude::*;

const TOP: u64 = (1 << 63) - 1;

fn price(bits: u128) -> Price {
    Price::new(bits).expect("96 bits")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn prices_are_rounded_down(reserves in any_reserves(), bits in any_below(96)) {
        let spot = (big(reserves.y()) << 48u32) / big(reserves.x());
        match Price::spot(reserves) {
            Ok(price) => prop_assert_eq!(big(price.bits()), spot),
            Err(error) => prop_assert_eq!(error, PriceError::High(u128::try_from(spot).expect("111 bits"))),
        }
        if bits > 1 {
            let inverse = price(bits).inverse().expect("less than 2^96");
            prop_assert_eq!(big(inverse.bits()), (big(1u8) << 96u32) / big(bits));
        }
    }

    /// One session moves an average by an eighth at most, towards the spot price and never past it.
    #[test]
    fn an_average_moves_by_an_eighth_at_most(
        average in any_below(96), reserves in any_reserves(), parameters in any_parameters(),
        last in any::<u32>(), height in any::<u32>()
    ) {
        let before = average.max(1 << 32);
        let Ok(advanced) = advance(price(before), reserves, &parameters, last, height) else {
            prop_assert!(height <= last);
            return Ok(());
        };
        let blocks = (height - last).min(1 << 16);
        prop_assert_eq!(advanced.blocks, blocks);
        let spot = u128::try_from((big(reserves.y()) << 48u32) / big(reserves.x())).expect("111 bits");
        let (least, most) = (before - before / 8, before + before / 8);
        prop_assert_eq!(advanced.held, spot.clamp(least, most));
        let memory = u128::from(parameters.memory_blocks());
        let sum = big(before) * big(memory) + big(advanced.held) * big(blocks);
        let weights = memory + u128::from(blocks);
        prop_assert_eq!(big(advanced.division.quotient), sum.clone() / big(weights));
        prop_assert_eq!(big(advanced.division.remainder), sum % big(weights));
        let after = advanced.average.bits();
        prop_assert_eq!(after, advanced.division.quotient.clamp(1 << 32, (1 << 96) - 1));
        prop_assert!((least..=most).contains(&after) || after == 1 << 32);
        prop_assert!(after >= before.min(spot) && after <= before.max(spot).max(1 << 32));
    }
}

#[test]
fn a_price_has_96_bits() {
    assert_eq!(Price::new((1 << 96) - 1), Ok(Price::MAX));
    assert_eq!(Price::new(1 << 96), Err(PriceError::High(1 << 96)));
    assert_eq!(Price::spot(reserves(1, (1 << 48) - 1)).map(Price::bits), Ok((1 << 96) - (1 << 48)));
    assert_eq!(Price::spot(reserves(1, 1 << 48)), Err(PriceError::High(1 << 96)));
    assert_eq!(Price::spot(reserves(TOP, 1)).map(Price::bits), Ok(0));
    assert_eq!(Price::spot_division(reserves(1, TOP)).quotient, u128::from(TOP) << 48);
}

#[test]
fn an_inverse_has_96_bits() {
    assert_eq!(price(0).inverse(), Err(PriceError::Zero));
    assert_eq!(price(1).inverse(), Err(PriceError::High(1 << 96)));
    assert_eq!(price(2).inverse(), Ok(price(1 << 95)));
    assert_eq!(Price::MAX.inverse(), Ok(price(1)));
    assert_eq!(price(3 << 48).inverse().map(Price::bits), Ok((1 << 48) / 3));
}

#[test]
fn an_average_advances_once_a_height() {
    let (pool, parameters) = (reserves(1, 1), parameters(30, 1, 10));
    let at = |last, height| advance(price(1 << 48), pool, &parameters, last, height).map(|advanced| advanced.blocks);
    assert_eq!(at(7, 7), Err(AverageError { height: 7, last: 7 }));
    assert_eq!(at(7, 6), Err(AverageError { height: 6, last: 7 }));
    assert_eq!(at(u32::MAX, 0), Err(AverageError { height: 0, last: u32::MAX }));
    assert_eq!((at(7, 8), at(0, u32::MAX)), (Ok(1), Ok(1 << 16)));
    assert_eq!((at(0, 1 << 16), at(0, (1 << 16) - 1)), (Ok(1 << 16), Ok((1 << 16) - 1)));
}

/// The bounds are 7/8 rounded up and 9/8 rounded down, to the unit.
#[test]
fn an_average_is_held_to_the_unit() {
    let parameters = parameters(30, 1, 1);
    let held = |average, x, y| advance(price(average), reserves(x, y), &parameters, 0, 1).expect("a block later").held;
    for rest in 0..16u128 {
        let average = (1 << 40) + rest;
        assert_eq!(held(average, 1, 1), (9 * average) / 8);
        assert_eq!(held(average, TOP, 1), (7 * average).div_ceil(8));
    }
    // The spot price is 2^40 and 2^40 less a little: within the bounds it is taken as it is.
    assert_eq!(held((1 << 40) + 5, 1 << 8, 1), 1 << 40);
}

/// An average at either end stays a price.
#[test]
fn an_average_has_ends() {
    let after = |average, x, y| {
        let Advanced { average, .. } =
            advance(price(average), reserves(x, y), &parameters(30, 1, 1), 0, 1 << 16).expect("blocks later");
        average
    };
    assert_eq!(after((1 << 96) - 1, 1, TOP), Price::MAX);
    assert_eq!(after(1 << 32, TOP, 1), Price::AVERAGE_MIN);
    // What no pool has: an average below the lowest.
    assert_eq!(after(0, 1, 1), Price::AVERAGE_MIN);
    // From the lowest it can rise again.
    assert_eq!(after(1 << 32, 1, 1).bits(), ((1 << 32) + ((9u128 << 29) << 16)) / (1 + (1 << 16)));
}
