//! The exchange's arithmetic: what a pool gives, and which orders of a session are in, as pure functions on integers.
//!
//! A pool holds `x` of one token and `y` of another, and `S` shares of it exist. Everything is rounded down to an
//! integer, for the pool and against who acts, so that nobody gains by rounding. Below, `F` = 10,000 and `md(a, b, c)`
//! = floor(a b / c), which [`multiply_divide`] computes exactly.
//!
//! | what | formula | here |
//! |---|---|---|
//! | a pool is founded | `S` = floor(sqrt(x y)) > 1,000, of which 1,000 are locked in the pool for ever | [`found`] |
//! | liquidity joins | `S` + min(md(dx, S, x), md(dy, S, y)) | [`join`] |
//! | `s` shares leave | `x` - md(s, x, S), `y` - md(s, y, S), `S` - s >= 1,000 | [`exit`] |
//! | a session opens | N = F y + w (F - fee) B, D = F x + w (F - fee) A | [`Session::open`] |
//! | an order pays `o` of x | gets md(o (F - fee), N, F D) of y | [`Session::fill`] |
//! | an order pays `o` of y | gets md(o (F - fee), D, F N) of x | [`Session::fill`] |
//! | a session clears | x' y' >= x y, both from 1 to 2^63 - 1 | [`Session::clear`] |
//! | the average at a session | floor((average H + q dh) / (H + dh)), q within an eighth of the average | [`advance`] |
//! | what is read of a price | floor(y 2^48 / x), floor(2^96 / p) | [`Price`] |
//!
//! A session sells all that its orders pay, `A` of x and `B` of y, at one price N / D of x in y, whatever their order.
//! With a weight `w` of 1, a session of one order is exactly Uniswap v2's `getAmountOut` (Uniswap v2-periphery,
//! `UniswapV2Library.sol`). With a weight of 2, and no fee, the price is the pool's own after the session, y' / x', so
//! that who trades with the pool before or after it gains nothing: the function-maximising market maker of Canidio and
//! Fritsch ("Arbitrageurs' profits, LVR, and sandwich attacks: batch trading as an AMM design response",
//! arXiv 2307.02074). Founding, joining and leaving are Uniswap v2's (v2-core, `UniswapV2Pair.sol`, `mint` and `burn`)
//! without its fee for the protocol.
//!
//! That x y never falls in a session follows from N and D alone. Let `f` = (F - fee) / F, n = N / F = y + w f B, and d
//! = D / F = x + w f A. Unrounded, x' = x + A - f B d / n, which is at least X = x + f A - f B d / n, and likewise y'
//! is at least Y. For w = 1, X = d y / n and Y = n x / d, so X Y = x y. For w = 2, with r = d y / (n x), X = x (1 + r)
//! / 2 and Y = y (1 + 1 / r) / 2, so X Y = x y (1 + r) (1 + 1 / r) / 4 >= x y. Rounding down what orders get adds to
//! x' and y'. The check at clearing is there all the same.
//!
//! [`matching`] is the operator's choice of orders. It is no rule of the machine: a session with other orders is as
//! valid. But whoever knows the orders that were there can choose again and compare.

mod division;
pub mod matching;
mod pool;
mod price;
mod session;

#[cfg(test)]
mod tests;

pub(crate) use division::multiply;
pub use division::{Division, DivisionError, multiply_divide};
pub use pool::{
    ExitError, Exited, FoundError, Founded, JoinError, Joined, Parameters, ParametersError, Reserves, ReservesError,
    exit, found, join,
};
pub use price::{ADVANCE_BLOCKS_MAX, Advanced, AverageError, Price, PriceError, advance};
pub use session::{ClearError, Fill, FillError, Session, Side};

/// `F`: fees are parts of 10,000, as basis points are.
pub const FEE_UNIT: u16 = 10_000;

/// The highest fee: a tenth.
pub const FEE_MAX: u16 = 1_000;

/// The shares that nobody can ever take out of a pool, so that one share cannot be made dear: as many as Uniswap v2's
/// `MINIMUM_LIQUIDITY`.
pub const LOCKED_SHARES: u64 = 1_000;

/// The end of what a pool can hold of either token: 2^63, so that a sum of two reserves has 64 bits and a product 126.
pub const RESERVE_END: u64 = 1 << 63;

/// The highest `H`, the blocks that the past weighs in an average. With a session in each block, a fall by half has
/// shown but for a fiftieth after 199 blocks at 30, and after 650 at 100, which is too late for whoever lends on it.
pub const MEMORY_BLOCKS_MAX: u16 = 30;
