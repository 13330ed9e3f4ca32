//! What a batch brought about.

use super::Tip;
use crate::{
    cell::Token,
    deposit::Deposit,
    exit::SettledRequest,
    headers::BlockId,
    payload::{Payload, PayloadHash},
    record::{Destination, WithdrawRecord},
};
use alloc::vec::Vec;
use ark_bn254::Fr;
use bitcoin::{Txid, XOnlyPublicKey};
use core::ops::Range;

/// A deposit in its place on Bitcoin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScannedDeposit {
    /// How many deposits of the rollup came before it.
    pub index: u64,
    /// The height of its block.
    pub height: u32,
    /// Its transaction.
    pub txid: Txid,
    /// The output that pays the bridge.
    pub vout: u32,
    /// What it says.
    pub deposit: Deposit,
}

/// A batch whose anchor keeps every rule; there is no other way to make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedBatch {
    pub(super) block: BlockId,
    pub(super) txid: Txid,
    pub(super) poster: XOnlyPublicKey,
    pub(super) payload: Payload,
    pub(super) payload_hash: PayloadHash,
    pub(super) before: Tip,
    pub(super) after: Tip,
    pub(super) settled: Vec<SettledRequest>,
}

impl VerifiedBatch {
    /// The number of the batch.
    pub fn batch(&self) -> u64 {
        self.before.batches
    }

    /// The root after the batch.
    pub fn root(&self) -> Fr {
        self.after.root
    }

    /// The block of the anchor.
    pub fn block(&self) -> BlockId {
        self.block
    }

    /// The anchor's reveal transaction.
    pub fn txid(&self) -> Txid {
        self.txid
    }

    /// The key that signed the reveal.
    pub fn poster(&self) -> XOnlyPublicKey {
        self.poster
    }

    /// What the anchor carries, without the cells that it shows: what they refute is settled.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The hash of the payload's bytes.
    pub fn payload_hash(&self) -> PayloadHash {
        self.payload_hash
    }

    /// The tip that the batch followed.
    pub fn before(&self) -> &Tip {
        &self.before
    }

    /// The tip that the batch makes.
    pub fn after(&self) -> &Tip {
        &self.after
    }

    /// The numbers of the deposits that the batch credits.
    pub fn credited_deposits(&self) -> Range<u64> {
        let records = self.payload.chunks().iter().map(|chunk| chunk.records.deposits().len() as u64);
        let end = self.after.deposits_consumed;
        end - records.sum::<u64>()..end
    }

    /// The numbers of the deposits that the batch passes over because they had expired.
    pub fn void_deposits(&self) -> Range<u64> {
        self.before.deposits_consumed..self.credited_deposits().start
    }

    /// The exit and claim requests that wait no longer after the batch, in the order of the chain.
    pub fn settled_requests(&self) -> &[SettledRequest] {
        &self.settled
    }

    /// What the batch's withdrawals demand of the bridge once the anchor is final. Only bitcoin can be paid out.
    pub fn payouts(&self) -> impl Iterator<Item = Payout> {
        let payouts = payable(&self.payload);
        (self.before.payouts..).zip(payouts).map(|(index, (position, record))| Payout {
            index,
            batch: self.batch(),
            position,
            amount_sat: record.amount,
            destination: record.destination,
            anchor: self.block,
        })
    }
}

/// The withdraw records of bitcoin, each with its position among all withdraw records of the payload.
pub(super) fn payable(payload: &Payload) -> impl Iterator<Item = (u32, WithdrawRecord)> {
    let chunks = payload.chunks().iter();
    let withdrawals = chunks.flat_map(|chunk| chunk.records.withdrawals().iter().map(|record| (chunk.token, *record)));
    let numbered = (0..).zip(withdrawals);
    numbered.filter(|(_, (token, _))| *token == Token::BITCOIN).map(|(position, (_, record))| (position, record))
}

/// A payment that the bridge owes. `batch` and `position` name it for good, and so does `index`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payout {
    /// How many payouts of the rollup came before it.
    pub index: u64,
    /// The batch of the withdrawal.
    pub batch: u64,
    /// The withdrawal's position among all those of the batch.
    pub position: u32,
    /// The amount.
    pub amount_sat: u64,
    /// Where it is to be paid.
    pub destination: Destination,
    /// The block of the batch's anchor.
    pub anchor: BlockId,
}
