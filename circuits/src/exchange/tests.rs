//! The exchange's arithmetic against integers of any size, at its bounds, and against those who try to gain by it.

mod attacks;
mod division;
mod matching;
mod pool;
mod price;
mod session;

use super::{Parameters, Reserves};
use num_bigint::BigUint;
use proptest::prelude::*;

fn big(value: impl Into<BigUint>) -> BigUint {
    value.into()
}

/// An integer below 2^bits of any length, the shorter ones as often as the longer ones.
fn any_below(bits: u32) -> impl Strategy<Value = u128> {
    (1..=bits, any::<u128>()).prop_map(|(length, value)| value >> (u128::BITS - length))
}

fn any_amount() -> impl Strategy<Value = u64> {
    any_below(64).prop_map(|value| value as u64)
}

fn any_reserves() -> impl Strategy<Value = Reserves> {
    let reserve = || any_below(63).prop_map(|value| (value as u64).max(1));
    (reserve(), reserve()).prop_map(|(x, y)| Reserves::new(x, y).expect("from 1 to 2^63 - 1"))
}

fn any_parameters() -> impl Strategy<Value = Parameters> {
    let fee = prop_oneof![Just(0), Just(30), Just(1_000), 0..=1_000u16];
    (fee, 1..=2u8, 1..=30u16).prop_map(|(fee, weight, memory)| parameters(fee, weight, memory))
}

fn parameters(fee: u16, weight: u8, memory_blocks: u16) -> Parameters {
    Parameters::new(fee, weight, memory_blocks).expect("within bounds")
}

fn reserves(x: u64, y: u64) -> Reserves {
    Reserves::new(x, y).expect("from 1 to 2^63 - 1")
}
