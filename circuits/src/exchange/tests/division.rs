use super::{
    super::{Division, DivisionError, division::multiply, multiply_divide},
    any_below, big,
};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn products_and_quotients_are_exact(a in any_below(128), b in any_below(128), c in any_below(128)) {
        let product = big(a) * big(b);
        let (high, low) = multiply(a, b);
        prop_assert_eq!((big(high) << 128u32) + big(low), product.clone());
        match multiply_divide(a, b, c) {
            Ok(Division { quotient, remainder }) => {
                prop_assert!(remainder < c);
                prop_assert_eq!(big(quotient) * big(c) + big(remainder), product);
            }
            Err(DivisionError::ByZero) => prop_assert_eq!(c, 0),
            Err(DivisionError::Quotient { bits }) => {
                prop_assert!(c > 0 && bits == 128 && product / big(c) > big(u128::MAX));
            }
        }
    }

    /// Dividends just below, at and just above multiples of the divisor, and divisors of which digits are full or
    /// empty: where the estimate of a digit is too high.
    #[test]
    fn digits_are_corrected(quotient in any_edge(), divisor in any_edge(), less in 0..3u128) {
        let (high, low) = multiply(quotient, divisor);
        let (low, borrow) = low.overflowing_sub(less);
        let high = high.wrapping_sub(borrow.into());
        prop_assume!(divisor > 2 && high < divisor);
        let found = super::super::division::divide(high, low, divisor);
        prop_assert!(found.remainder < divisor);
        let dividend = (big(high) << 128u32) + big(low);
        prop_assert_eq!(big(found.quotient) * big(divisor) + big(found.remainder), dividend);
    }
}

/// Two digits of 64 bits, each of them near one of its ends or near its middle.
fn any_edge() -> impl Strategy<Value = u128> {
    let digit = || {
        let near = prop_oneof![Just(0u64), Just(1 << 63), Just(1 << 32)];
        (near, -2..3i64).prop_map(|(near, off)| u128::from(near.wrapping_add_signed(off)))
    };
    (digit(), digit()).prop_map(|(high, low)| high << 64 | low)
}

#[test]
fn a_quotient_ends_at_128_bits() {
    let most = u128::MAX;
    assert_eq!(multiply_divide(most, most, most), Ok(Division { quotient: most, remainder: 0 }));
    assert_eq!(multiply_divide(most, most - 1, most), Ok(Division { quotient: most - 1, remainder: 0 }));
    assert_eq!(multiply_divide(most, most, most - 1), Err(DivisionError::Quotient { bits: 128 }));
    assert_eq!(multiply_divide(1 << 127, 2, 1), Err(DivisionError::Quotient { bits: 128 }));
    assert_eq!(multiply_divide(1 << 127, 2, 2), Ok(Division { quotient: 1 << 127, remainder: 0 }));
    assert_eq!(multiply_divide(0, most, 0), Err(DivisionError::ByZero));
    assert_eq!(multiply_divide(0, most, 1), Ok(Division::default()));
}

#[test]
fn an_amount_ends_at_64_bits() {
    let quotient = u128::from(u64::MAX);
    assert_eq!(Division { quotient, remainder: 0 }.amount(), Ok(u64::MAX));
    assert_eq!(Division { quotient: quotient + 1, remainder: 0 }.amount(), Err(DivisionError::Quotient { bits: 64 }));
}
