//! The one operation that all amounts come from: a product, divided and rounded down, exact at any size.
//!
//! A product of two integers of 128 bits has 256, which are two integers of 128, the high one first.

/// A quotient, rounded down, and what is left: `a b = quotient c + remainder`, where the remainder is below `c`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Division {
    /// The quotient.
    pub quotient: u128,
    /// What is left.
    pub remainder: u128,
}

/// Why a product cannot be divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DivisionError {
    /// The divisor is zero.
    #[error("the divisor is zero")]
    ByZero,
    /// The quotient does not fit.
    #[error("the quotient has more than {bits} bits")]
    Quotient {
        /// What it would have to fit.
        bits: u32,
    },
}

impl Division {
    /// The quotient, if it is an amount.
    ///
    /// # Errors
    /// [`DivisionError::Quotient`] if it has more than 64 bits.
    pub fn amount(&self) -> Result<u64, DivisionError> {
        u64::try_from(self.quotient).map_err(|_| DivisionError::Quotient { bits: u64::BITS })
    }
}

/// Computes floor(a b / c), and what is left.
///
/// # Errors
/// Each of [`DivisionError`]: `c` is zero, or the quotient has more than 128 bits.
///
/// # Examples
/// ```
/// use taproof_circuits::exchange::{Division, multiply_divide};
///
/// assert_eq!(multiply_divide(7, 5, 4), Ok(Division { quotient: 8, remainder: 3 }));
/// assert_eq!(multiply_divide(u128::MAX, 10, 10), Ok(Division { quotient: u128::MAX, remainder: 0 }));
/// assert!(multiply_divide(u128::MAX, 10, 9).is_err() && multiply_divide(1, 1, 0).is_err());
/// ```
pub fn multiply_divide(a: u128, b: u128, c: u128) -> Result<Division, DivisionError> {
    if c == 0 {
        return Err(DivisionError::ByZero);
    }
    let (high, low) = multiply(a, b);
    if high == 0 {
        return Ok(Division { quotient: low / c, remainder: low % c });
    }
    if high >= c {
        return Err(DivisionError::Quotient { bits: u128::BITS });
    }
    Ok(divide(high, low, c))
}

const LIMB_BITS: u32 = 64;
const LIMB_MASK: u128 = u64::MAX as u128;

/// A product: its high and its low 128 bits. Pairs compare as products do.
pub(crate) fn multiply(a: u128, b: u128) -> (u128, u128) {
    let ([a1, a0], [b1, b0]) = (limbs(a), limbs(b));
    let low = a0 * b0;
    // At most (2^64 - 1)^2 + 2^64 - 1, which has 128 bits; so has the next one.
    let middle = a1 * b0 + (low >> LIMB_BITS);
    let other = a0 * b1 + (middle & LIMB_MASK);
    (a1 * b1 + (middle >> LIMB_BITS) + (other >> LIMB_BITS), other << LIMB_BITS | low & LIMB_MASK)
}

/// The high and the low half.
fn limbs(value: u128) -> [u128; 2] {
    [value >> LIMB_BITS, value & LIMB_MASK]
}

/// Divides 256 bits by 128 of which the high half of the dividend is below: Knuth's algorithm D (The Art of Computer
/// Programming, volume 2, 4.3.1) for two digits of 64 bits.
pub(super) fn divide(high: u128, low: u128, divisor: u128) -> Division {
    // The divisor's highest bit is set, which a digit's estimate needs; the quotient stays the same.
    let shift = divisor.leading_zeros();
    let divisor = divisor << shift;
    let high = if shift == 0 { high } else { high << shift | low >> (u128::BITS - shift) };
    let [low1, low0] = limbs(low << shift);
    let (digit1, left) = divide_digit(high, low1, divisor);
    let (digit0, left) = divide_digit(left, low0, divisor);
    Division { quotient: digit1 << LIMB_BITS | digit0, remainder: left >> shift }
}

/// Divides `left 2^64 + next` by a divisor above `left` whose highest bit is set: a digit of 64 bits, and what is left.
fn divide_digit(left: u128, next: u128, divisor: u128) -> (u128, u128) {
    let [divisor1, divisor0] = limbs(divisor);
    let mut digit = left / divisor1;
    let mut rest = left % divisor1;
    // The estimate is too high by 2 at most. Once `rest` is beyond 64 bits, it is not too high.
    while digit > LIMB_MASK || digit * divisor0 > (rest << LIMB_BITS | next) {
        digit -= 1;
        rest += divisor1;
        if rest > LIMB_MASK {
            break;
        }
    }
    // What is left is below the divisor, so it is right modulo 2^128.
    let left = (left << LIMB_BITS | next).wrapping_sub(digit.wrapping_mul(divisor));
    (digit, left)
}
