//! The operations of steps, each in a module of its own: relations, rule, circuit, tests.
//!
//! [`standard`] is the set that rollups have unless they choose another.

mod burn;
mod clear;
mod draw;
mod exit;
mod join;
mod mint;
mod open;
mod order;
mod pay;
mod pool;
pub(crate) mod pools;
mod read;
mod receive;
mod session;
mod spend;
mod token;
mod wide;

use crate::step::{Machine, Operation};
use std::sync::{Arc, LazyLock};

pub use burn::Burn;
pub use clear::Clear;
pub use draw::Draw;
pub use exit::Exit;
pub use join::Join;
pub use mint::Mint;
pub use open::Open;
pub use order::Order;
pub use pay::Pay;
pub use pool::Pool;
pub use read::Read;
pub use receive::Receive;
pub use session::Session;
pub use token::Token;

/// The operations that rollups have unless they choose others.
pub fn operations() -> Vec<Arc<dyn Operation>> {
    vec![
        Arc::new(Pay),
        Arc::new(Draw),
        Arc::new(Receive),
        Arc::new(Open),
        Arc::new(Token),
        Arc::new(Mint),
        Arc::new(Burn),
        Arc::new(Pool),
        Arc::new(Join),
        Arc::new(Exit),
        Arc::new(Session),
        Arc::new(Order),
        Arc::new(Clear),
        Arc::new(Read),
    ]
}

/// The machine of these operations.
pub fn standard() -> Arc<Machine> {
    static STANDARD: LazyLock<Arc<Machine>> =
        LazyLock::new(|| Arc::new(Machine::new(operations()).expect("the operations are a set")));
    STANDARD.clone()
}
