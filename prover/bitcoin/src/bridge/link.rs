//! The form of a payout transaction, a *link* of the payout chain.
//!
//! | output | |
//! |---|---|
//! | 0 | the binding: `OP_RETURN` with one push of 28 bytes: chain id (15), tag 4 (1), first payout (u64), count (u32), little-endian |
//! | 1 | what stays with the bridge, to its own script |
//! | then | the payouts of these indices in their order, without those below [`Destination::payout_min_sat`](taproof_verifier::record::Destination::payout_min_sat) |
//! | at last | possibly one more: the change of whoever pays the fee |
//!
//! Input 0 spends output 1 of the link before. An output is spent once, so at each place of the chain there is one
//! link, and the indices in it follow those of the link before: no payout is in two.

use bitcoin::{
    Amount, Script, ScriptBuf, Transaction, TxOut,
    opcodes::all::{OP_PUSHBYTES_28, OP_RETURN},
};
use serde::{Deserialize, Serialize};
use taproof_verifier::{cell::ChainId, follow::Payout};

/// The output that carries the binding.
pub const BINDING_VOUT: usize = 0;
/// The output that stays with the bridge.
pub const CHANGE_VOUT: u32 = 1;
/// The first output that may be a payout.
pub const FIRST_PAYOUT_VOUT: usize = 2;
/// The most payouts that one link makes. At 43 bytes each, these fill 86 of the 100 kvB that nodes relay. Of those that
/// are too small for an output, it settles as many as its count has room for.
pub const MAX_PAYOUTS: u32 = 2_000;
/// The heaviest link, in weight units: what nodes relay.
pub const MAX_LINK_WEIGHT_WU: u64 = 400_000;

/// The tag of a binding, after the chain id.
const TAG: u8 = 4;
const PUSH_BYTES: usize = ChainId::LENGTH + 1 + 8 + 4;

/// Which payouts a link settles: `count` of them from the index `first` on. A link that settles none moves deposits
/// only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// The index of the first payout.
    pub first: u64,
    /// How many.
    pub count: u32,
}

impl Binding {
    /// The index after the last; `None` beyond 64 bits.
    pub fn end(&self) -> Option<u64> {
        self.first.checked_add(self.count.into())
    }

    /// The output that says so.
    pub fn output(&self, chain_id: ChainId) -> TxOut {
        let mut script = Vec::with_capacity(2 + PUSH_BYTES);
        script.extend([OP_RETURN.to_u8(), OP_PUSHBYTES_28.to_u8()]);
        script.extend(chain_id.to_byte_array());
        script.push(TAG);
        script.extend(self.first.to_le_bytes());
        script.extend(self.count.to_le_bytes());
        TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::from_bytes(script) }
    }

    /// Reads the output of a transaction that carries one; `None` if it is no link of this rollup's.
    pub fn of(transaction: &Transaction, chain_id: ChainId) -> Option<Self> {
        Self::parse(&transaction.output.get(BINDING_VOUT)?.script_pubkey, chain_id)
    }

    /// Reads a script; `None` if it is no binding of this rollup's.
    pub fn parse(script: &Script, chain_id: ChainId) -> Option<Self> {
        let push = script.as_bytes().strip_prefix(&[OP_RETURN.to_u8(), OP_PUSHBYTES_28.to_u8()])?;
        let body = push.strip_prefix(&chain_id.to_byte_array())?.strip_prefix(&[TAG])?;
        let (first, count) = body.split_first_chunk::<8>()?;
        let count = count.try_into().ok()?;
        Some(Self { first: u64::from_le_bytes(*first), count: u32::from_le_bytes(count) })
    }
}

/// The output that pays a withdrawal; `None` if the amount is too small to be relayed.
pub fn payout_output(payout: &Payout) -> Option<TxOut> {
    let output =
        TxOut { value: Amount::from_sat(payout.amount_sat), script_pubkey: payout.destination.script_pubkey() };
    (payout.amount_sat >= payout.destination.payout_min_sat()).then_some(output)
}
