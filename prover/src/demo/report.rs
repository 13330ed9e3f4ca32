//! What the demo measured.

use super::DemoOptions;
use ark_bn254::Fr;
use bitcoin::Weight;
use serde::Serialize;
use taproof_bitcoin::anchor::AnchorArtefact;
use taproof_circuits::{
    state::{Batch, State},
    transaction::Transaction,
};
use taproof_kernel::key_ring::KeyRing;
use taproof_rollup::workload::{BlockPayments, Workload};
use taproof_verifier::{
    cell::Depth,
    codec, field,
    follow::VerifiedBatch,
    groth16::Proof,
    record::{Kind, Records},
};

/// The tree that existing accounts are scattered over: two million cells.
const EXISTING_DEPTH: Depth = Depth::new(7).expect("a tree has up to ten levels");

/// How long each stage took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Seconds {
    /// Opening the keys, or making them.
    pub keys: f64,
    /// Mining the embedded chain, depositing and following it that far.
    pub chain: f64,
    /// Applying the transactions and cutting them into chunks.
    pub apply: f64,
    /// Proving the chunks, and verifying each proof.
    pub prove: f64,
    /// Building the anchor, checking it by Bitcoin's script code, and mining it.
    pub anchor: f64,
    /// Following the chain with the verifier.
    pub follow: f64,
    /// Rebuilding the state from the chain alone, all proofs verified again.
    pub rebuild: f64,
    /// All of it.
    pub total: f64,
}

/// What one kind of transition took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChunkFigures {
    /// The kind.
    pub kind: &'static str,
    /// Its transitions.
    pub records: usize,
    /// Its chunks, a proof each.
    pub chunks: usize,
    /// The slots of a full chunk.
    pub slots: u16,
    /// The constraints of all its chunks, padding slots included.
    pub constraints: usize,
    /// The posted bytes of a record, compressed with others of its kind alone.
    pub posted_bytes_per_record: f64,
}

/// What the demo measured, and the roots that it compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DemoReport {
    /// The block that the payments are from.
    pub block: String,
    /// The payments that were made.
    pub payments: usize,
    /// The accounts that there are now, the operator's included.
    pub accounts: usize,
    /// Deposits that funded the payers.
    pub deposits: usize,
    /// Withdrawals that followed the payments.
    pub withdrawals: usize,
    /// The kinds.
    pub kinds: Vec<ChunkFigures>,
    /// The chunks.
    pub chunks: usize,
    /// The proofs, one a chunk.
    pub proofs: usize,
    /// The constraints of all chunks.
    pub constraints: usize,
    /// The bytes of all proofs.
    pub proof_bytes: usize,
    /// The bytes of all records as posted: deposits, openings, transfers and withdrawals.
    pub records_bytes: usize,
    /// The bytes of the payload: header, chunks, proofs and records.
    pub payload_bytes: usize,
    /// The bytes of a payment's own record as posted, for payments between accounts that exist already: all payments
    /// of the whole block as transfers, the accounts scattered over a tree of seven levels.
    pub posted_bytes_per_payment: f64,
    /// The bytes of this batch's openings and transfers as posted, over its payments: most of them open an account.
    pub posted_bytes_per_payment_with_openings: f64,
    /// [`DemoReport::payload_bytes`] over the payments: with deposits, withdrawals, proofs and headers.
    pub posted_bytes_per_payment_all_in: f64,
    /// The virtual bytes of commit and reveal.
    pub anchor_vsize_vb: u64,
    /// The virtual bytes of commit and reveal over the payments.
    pub vbytes_per_payment: f64,
    /// The virtual bytes of a payment as the block made it on layer 1.
    pub layer_1_vbytes_per_payment: f64,
    /// The virtual bytes of the transactions that made the deposits, once.
    pub deposits_vsize_vb: u64,
    /// The rate of fees, in satoshi a thousand virtual bytes.
    pub fee_rate_sat_per_kvb: u64,
    /// The fee of a payment at that rate.
    pub fee_sat_per_payment: f64,
    /// The fee of a payment on layer 1 at that rate.
    pub layer_1_fee_sat_per_payment: f64,
    /// How long each stage took.
    pub seconds: Seconds,
    /// How long it all took.
    pub seconds_total: f64,
    /// The root that the prover arrived at.
    pub root_proven: String,
    /// The root that the verifier took from the chain.
    pub root_verified: String,
    /// The root of the state that was rebuilt from the chain.
    pub root_rebuilt: String,
}

impl DemoReport {
    /// Whether prover, verifier and rebuilt state have the same root.
    pub fn roots_agree(&self) -> bool {
        self.root_proven == self.root_verified && self.root_verified == self.root_rebuilt
    }
}

/// All that the report is made of.
pub(super) struct Journey<'a> {
    pub(super) options: &'a DemoOptions,
    pub(super) payments: &'a BlockPayments,
    pub(super) workload: &'a Workload,
    pub(super) ring: &'a KeyRing,
    pub(super) state: &'a State,
    pub(super) batch: &'a Batch,
    pub(super) anchor: &'a AnchorArtefact,
    pub(super) deposits_vsize_vb: u64,
    pub(super) verified: &'a VerifiedBatch,
    pub(super) rebuilt: &'a State,
    pub(super) seconds: Seconds,
    /// The payments of the whole block.
    pub(super) all_payments: BlockPayments,
}

impl Journey<'_> {
    pub(super) fn report(&self) -> DemoReport {
        let payments = self.payments.payments().len();
        let per_payment = |total: f64| total / payments as f64;
        let kinds: Vec<ChunkFigures> = Kind::PAYMENTS.into_iter().filter_map(|kind| self.kind(kind)).collect();
        let chunks = self.batch.chunks.len();
        let records: Vec<Records> = self.batch.chunks.iter().map(|chunk| chunk.records()).collect();
        let records_bytes = posted_bytes(&records);
        let payment_bytes =
            posted_bytes(&records.iter().filter(|records| is_payment(records)).cloned().collect::<Vec<_>>());
        let anchor_vsize_vb = self.anchor.commit_figures().vsize_vb + self.anchor.reveal_figures().vsize_vb;
        let rate = self.options.fee_rate;
        let fee = |vsize_vb: u64| rate.fee(Weight::from_vb_unchecked(vsize_vb)).to_sat() as f64;
        let withdrawal = |transaction: &&Transaction| transaction.kind() == Kind::Withdraw;
        DemoReport {
            block: self.payments.block_hash().to_string(),
            payments,
            accounts: self.rebuilt.tree().cells().count(),
            deposits: self.workload.deposits.len(),
            withdrawals: self.workload.transactions.iter().filter(withdrawal).count(),
            chunks,
            proofs: chunks,
            constraints: kinds.iter().map(|kind| kind.constraints).sum(),
            kinds,
            proof_bytes: chunks * Proof::LENGTH,
            records_bytes,
            payload_bytes: self.anchor.payload().len(),
            posted_bytes_per_payment: self.bytes_per_transfer_between_existing(),
            posted_bytes_per_payment_with_openings: per_payment(payment_bytes as f64),
            posted_bytes_per_payment_all_in: per_payment(self.anchor.payload().len() as f64),
            anchor_vsize_vb,
            vbytes_per_payment: per_payment(anchor_vsize_vb as f64),
            layer_1_vbytes_per_payment: per_payment(self.payments.virtual_bytes() as f64),
            deposits_vsize_vb: self.deposits_vsize_vb,
            fee_rate_sat_per_kvb: rate.sat_per_kvb(),
            fee_sat_per_payment: per_payment(fee(anchor_vsize_vb)),
            layer_1_fee_sat_per_payment: per_payment(fee(self.payments.virtual_bytes())),
            seconds: self.seconds,
            seconds_total: self.seconds.total,
            root_proven: root_text(self.state.root()),
            root_verified: root_text(self.verified.root()),
            root_rebuilt: root_text(self.rebuilt.root()),
        }
    }

    fn kind(&self, kind: Kind) -> Option<ChunkFigures> {
        let chunks = self.batch.chunks.iter().filter(|chunk| chunk.statement.circuit.kind == kind);
        let (records, rows): (Vec<Records>, Vec<usize>) = chunks
            .filter_map(|chunk| Some((chunk.records(), self.ring.key(chunk.statement.circuit)?.header().row_count())))
            .unzip();
        let slots = self.options.slots.of(kind)?.largest().get();
        let count: usize = records.iter().map(Records::len).sum();
        (count > 0).then(|| ChunkFigures {
            kind: kind.name(),
            records: count,
            chunks: records.len(),
            slots,
            constraints: rows.iter().sum(),
            posted_bytes_per_record: posted_bytes(&records) as f64 / count as f64,
        })
    }

    fn bytes_per_transfer_between_existing(&self) -> f64 {
        let records = self.all_payments.transfers_between_existing(EXISTING_DEPTH, self.options.fee_sat);
        let records = records.expect("a block has fewer outputs than a tree of seven levels has cells");
        let count = records.len();
        posted_bytes(&[Records::Transfer(records)]) as f64 / count as f64
    }
}

fn is_payment(records: &Records) -> bool {
    matches!(records.kind(), Kind::Open | Kind::Transfer)
}

fn posted_bytes(records: &[Records]) -> usize {
    codec::deflate(&codec::columns(&records.iter().collect::<Vec<_>>())).len()
}

fn root_text(root: Fr) -> String {
    hex::encode(field::to_bytes(&root))
}
