//! Fee rates with a thousandth of a satoshi a virtual byte, as nodes count.

use bitcoin::{Amount, Weight};
use std::{fmt, str::FromStr};

/// A fee rate, from 0.1 to 10,000 sat/vB in steps of 0.001.
///
/// ```
/// use taproof_bitcoin::fee_rate::FeeRate;
/// let rate: FeeRate = "1.5".parse()?;
/// assert_eq!(rate.sat_per_kvb(), 1_500);
/// # Ok::<(), taproof_bitcoin::fee_rate::FeeRateError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FeeRate(u64);

/// Why a number is no [`FeeRate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FeeRateError {
    /// The text is no decimal number with at most three decimals.
    #[error("a fee rate is a decimal number of satoshi a virtual byte with at most three decimals")]
    Format,
    /// Nodes relay nothing so cheap, or take nothing so dear for meant.
    #[error("a fee rate is from 0.1 to 10000 satoshi a virtual byte")]
    Range,
}

impl FeeRate {
    /// The lowest rate that nodes relay by default.
    pub const MIN: Self = Self(100);
    /// The highest rate that nodes take for meant by default.
    pub const MAX: Self = Self(10_000_000);

    /// A rate in satoshi a thousand virtual bytes.
    ///
    /// # Errors
    /// [`FeeRateError::Range`].
    pub fn from_sat_per_kvb(sat_per_kvb: u64) -> Result<Self, FeeRateError> {
        let rate = Self(sat_per_kvb);
        (Self::MIN..=Self::MAX).contains(&rate).then_some(rate).ok_or(FeeRateError::Range)
    }

    /// The rate in satoshi a thousand virtual bytes.
    pub fn sat_per_kvb(self) -> u64 {
        self.0
    }

    /// The fee for a transaction's weight: of its virtual size, rounded up to a satoshi.
    pub fn fee(self, weight: Weight) -> Amount {
        let vsize_vb = weight.to_wu().div_ceil(4);
        Amount::from_sat(vsize_vb.saturating_mul(self.0).div_ceil(1_000))
    }
}

/// Reads satoshi a virtual byte: digits, and after a point at most three more.
impl FromStr for FeeRate {
    type Err = FeeRateError;

    fn from_str(text: &str) -> Result<Self, FeeRateError> {
        let (whole, decimals) = text.split_once('.').map_or((text, None), |(whole, rest)| (whole, Some(rest)));
        let decimals = decimals.unwrap_or("0");
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || decimals.len() > 3 {
            return Err(FeeRateError::Format);
        }
        let whole: u64 = whole.parse().map_err(|_| FeeRateError::Range)?;
        let thousandths: u64 = format!("{decimals:0<3}").parse().map_err(|_| FeeRateError::Format)?;
        let sum = whole.checked_mul(1_000).and_then(|whole| whole.checked_add(thousandths));
        Self::from_sat_per_kvb(sum.ok_or(FeeRateError::Range)?)
    }
}

/// Writes satoshi a virtual byte with as many decimals as it takes.
impl fmt::Display for FeeRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:03}", self.0 / 1_000, self.0 % 1_000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_round_trips(sat_per_kvb in 100u64..=10_000_000) {
            let rate = FeeRate::from_sat_per_kvb(sat_per_kvb).expect("in range");
            prop_assert_eq!(rate.to_string().parse(), Ok(rate));
        }

        #[test]
        fn a_fee_is_never_below_the_rate(sat_per_kvb in 100u64..=10_000_000, weight in 0u64..=4_000_000) {
            let rate = FeeRate::from_sat_per_kvb(sat_per_kvb).expect("in range");
            let vsize = u128::from(weight.div_ceil(4));
            let fee = u128::from(rate.fee(Weight::from_wu(weight)).to_sat());
            let exact = vsize * u128::from(sat_per_kvb);
            prop_assert!(fee * 1_000 >= exact && fee * 1_000 < exact + 1_000);
        }
    }

    #[test]
    fn text_has_one_form_and_bounds() {
        assert_eq!("0.1".parse(), Ok(FeeRate::MIN));
        assert_eq!("10000.000".parse(), Ok(FeeRate::MAX));
        assert_eq!("2".parse::<FeeRate>().map(FeeRate::sat_per_kvb), Ok(2_000));
        assert_eq!("1.05".parse::<FeeRate>().map(FeeRate::sat_per_kvb), Ok(1_050));
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1.0001", "1 ", "1,5", "１"] {
            assert_eq!(text.parse::<FeeRate>(), Err(FeeRateError::Format), "{text}");
        }
        for text in ["0", "0.099", "10000.001", "18446744073709551616", "18446744073709551615"] {
            assert_eq!(text.parse::<FeeRate>(), Err(FeeRateError::Range), "{text}");
        }
    }

    #[test]
    fn fractions_are_not_rounded_away() {
        let rate: FeeRate = "0.25".parse().expect("a rate");
        assert_eq!(rate.fee(Weight::from_wu(4 * 1_001)).to_sat(), 251);
        assert_eq!(rate.fee(Weight::from_wu(1)).to_sat(), 1);
    }
}
