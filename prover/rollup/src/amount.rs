//! Amounts as people write them: with a point, where the token has decimal places. Underneath they are whole numbers of
//! the smallest unit, and nothing is ever rounded.

use std::{fmt, str::FromStr};

/// The most digits on either side of the point.
const DIGITS_MAX: usize = 20;

/// A number with a point, as it was written, of a token whose decimal places are yet to be known.
///
/// # Examples
/// ```
/// use taproof_rollup::amount::{Decimal, decimal_text};
///
/// let amount: Decimal = "12.5".parse()?;
/// assert_eq!(amount.units(2)?, 1_250);
/// assert_eq!(decimal_text(1_250u64, 2), "12.50");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decimal {
    /// The digits without the point.
    digits: u128,
    /// How many of them stand after it.
    places: u8,
}

/// Why a text is no number of this form, or a number no amount of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AmountError {
    /// It is not digits, with a point between them or none.
    #[error("an amount is digits, with a point between them or none, such as 12.5")]
    Form,
    /// It has too many digits.
    #[error("an amount has at most {DIGITS_MAX} digits on either side of its point")]
    Digits,
    /// It has more decimal places than the token.
    #[error("{places} decimal places, where the token has {decimals}")]
    Places {
        /// Those of the number.
        places: u8,
        /// Those of the token.
        decimals: u8,
    },
    /// It is more than an account can hold.
    #[error("that is more than 2^64 - 1 of the smallest unit, and nothing holds so much")]
    Overflow,
}

impl FromStr for Decimal {
    type Err = AmountError;

    fn from_str(text: &str) -> Result<Self, AmountError> {
        let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, rest)| (whole, Some(rest)));
        let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !fraction.is_none_or(is_number) {
            return Err(AmountError::Form);
        }
        let fraction = fraction.unwrap_or_default();
        if whole.len() > DIGITS_MAX || fraction.len() > DIGITS_MAX {
            return Err(AmountError::Digits);
        }
        // 40 digits at most: 2^128 has 39.
        let digits = format!("{whole}{fraction}").parse().map_err(|_| AmountError::Digits)?;
        Ok(Self { digits, places: fraction.len() as u8 })
    }
}

impl Decimal {
    /// The amount in the smallest unit of a token of so many decimal places.
    ///
    /// # Errors
    /// [`AmountError::Places`] and [`AmountError::Overflow`].
    pub fn units(self, decimals: u8) -> Result<u64, AmountError> {
        let Self { digits, places } = self;
        let missing = decimals.checked_sub(places).ok_or(AmountError::Places { places, decimals })?;
        let units = 10u128.checked_pow(missing.into()).and_then(|factor| digits.checked_mul(factor));
        units.and_then(|units| u64::try_from(units).ok()).ok_or(AmountError::Overflow)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&decimal_text(self.digits, self.places))
    }
}

/// A whole number of smallest units with its point.
pub fn decimal_text(units: impl Into<u128>, decimals: u8) -> String {
    let (units, width) = (units.into(), usize::from(decimals));
    if width == 0 {
        return units.to_string();
    }
    let digits = format!("{units:0>least$}", least = width + 1);
    let (whole, fraction) = digits.split_at(digits.len() - width);
    format!("{whole}.{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(text: &str, decimals: u8) -> Result<u64, AmountError> {
        text.parse::<Decimal>().and_then(|decimal| decimal.units(decimals))
    }

    #[test]
    fn amounts_are_read_exactly_or_not_at_all() {
        for (text, decimals, expected) in [
            ("0", 0, 0),
            ("12.5", 2, 1_250),
            ("12.50", 2, 1_250),
            ("0.01", 2, 1),
            ("00012", 0, 12),
            ("18446744073709551615", 0, u64::MAX),
            ("18.446744073709551615", 18, u64::MAX),
            ("18446744073.709551615", 9, u64::MAX),
        ] {
            assert_eq!(units(text, decimals), Ok(expected), "{text} of {decimals}");
        }
        for (text, decimals, expected) in [
            ("18446744073709551616", 0, AmountError::Overflow),
            ("18.446744073709551616", 18, AmountError::Overflow),
            ("99999999999999999999", 18, AmountError::Overflow),
            ("184467440737095516.16", 2, AmountError::Overflow),
            ("1.5", 0, AmountError::Places { places: 1, decimals: 0 }),
            ("1.50", 1, AmountError::Places { places: 2, decimals: 1 }),
            ("100000000000000000000", 0, AmountError::Digits),
            ("1.000000000000000000001", 18, AmountError::Digits),
            ("99999999999999999999.99999999999999999999", 18, AmountError::Digits),
        ] {
            assert_eq!(units(text, decimals), Err(expected), "{text} of {decimals}");
        }
        for text in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", "1.5.0", " 1", "\u{0663}", "0x10", "1_000"] {
            assert_eq!(units(text, 18), Err(AmountError::Form), "{text}");
        }
    }

    #[test]
    fn amounts_are_written_as_they_are_read() {
        for (amount, decimals, text) in
            [(0, 0, "0"), (0, 2, "0.00"), (5, 2, "0.05"), (1_250, 2, "12.50"), (u64::MAX, 18, "18.446744073709551615")]
        {
            assert_eq!(decimal_text(amount, decimals), text);
            assert_eq!(units(text, decimals), Ok(amount));
            assert_eq!(text.parse::<Decimal>().map(|decimal| decimal.to_string()).as_deref(), Ok(text));
        }
    }
}
