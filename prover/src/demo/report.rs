//! What the demo measured.

use super::DemoOptions;
use ark_bn254::Fr;
use bitcoin::Weight;
use serde::Serialize;
use taproof_bitcoin::anchor::{AnchorArtefact, FeeRate};
use taproof_circuits::{
    state::{Batch, State},
    transaction::Transaction,
};
use taproof_kernel::key_ring::KeyRing;
use taproof_rollup::workload::{BlockPayments, Workload};
use taproof_verifier::{
    cell::Depth,
    codec, field,
    groth16::Proof,
    record::{Kind, Records},
    statement::CircuitId,
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
    /// The slots of the largest of them.
    pub slots: u16,
    /// The constraints of all its chunks, padding slots included.
    pub constraints: usize,
    /// The posted bytes of a record, compressed with others of its kind alone.
    pub posted_bytes_per_record: f64,
}

/// A batch that was played, as far as it is measured.
#[derive(Clone, Debug)]
pub(super) struct Act {
    /// What was applied.
    pub(super) batch: Batch,
    /// The bytes of its payload.
    pub(super) payload_bytes: usize,
    /// The virtual bytes of its commit and its reveal.
    pub(super) anchor_vsize_vb: u64,
}

impl Act {
    pub(super) fn new(batch: Batch, anchor: &AnchorArtefact) -> Self {
        let anchor_vsize_vb = anchor.commit_figures().vsize_vb + anchor.reveal_figures().vsize_vb;
        Self { batch, payload_bytes: anchor.payload().len(), anchor_vsize_vb }
    }
}

/// What every demo measures, over all its batches, and the roots that it compares.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RunFigures {
    /// The block that the payments are from.
    pub block: String,
    /// Deposits that funded the payers.
    pub deposits: usize,
    /// The batches.
    pub batches: usize,
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
    /// The bytes of all records as posted, batch by batch.
    pub records_bytes: usize,
    /// The bytes of the payloads: headers, chunks, proofs and records.
    pub payload_bytes: usize,
    /// The virtual bytes of commits and reveals.
    pub anchor_vsize_vb: u64,
    /// The virtual bytes of the transactions that made the deposits, once.
    pub deposits_vsize_vb: u64,
    /// The rate of fees, in satoshi a thousand virtual bytes.
    pub fee_rate_sat_per_kvb: u64,
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

impl RunFigures {
    /// Whether prover, verifier and rebuilt state have the same root.
    pub fn roots_agree(&self) -> bool {
        self.root_proven == self.root_verified && self.root_verified == self.root_rebuilt
    }

    /// Sums up batches, whose keys are of this ring; roots proven, verified and rebuilt.
    pub(super) fn of(acts: &[Act], ring: &KeyRing, roots: [Fr; 3]) -> Self {
        let kinds: Vec<ChunkFigures> =
            Kind::PAYMENTS.into_iter().chain([Kind::Step]).filter_map(|kind| chunk_figures(acts, ring, kind)).collect();
        let chunks = acts.iter().map(|act| act.batch.chunks.len()).sum();
        let [root_proven, root_verified, root_rebuilt] = roots.map(root_text);
        Self {
            batches: acts.len(),
            chunks,
            proofs: chunks,
            constraints: kinds.iter().map(|kind| kind.constraints).sum(),
            kinds,
            proof_bytes: chunks * Proof::LENGTH,
            records_bytes: acts.iter().map(|act| posted_bytes(&records(&act.batch))).sum(),
            payload_bytes: acts.iter().map(|act| act.payload_bytes).sum(),
            anchor_vsize_vb: acts.iter().map(|act| act.anchor_vsize_vb).sum(),
            root_proven,
            root_verified,
            root_rebuilt,
            ..Self::default()
        }
    }
}

/// What the demo of payments measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DemoReport {
    /// What every demo measures.
    #[serde(flatten)]
    pub run: RunFigures,
    /// The payments that were made.
    pub payments: usize,
    /// The accounts that there are now, the operator's included.
    pub accounts: usize,
    /// Withdrawals that followed the payments.
    pub withdrawals: usize,
    /// The bytes of a payment's own record as posted, for payments between accounts that exist already: all payments
    /// of the whole block as transfers, the accounts scattered over a tree of seven levels.
    pub posted_bytes_per_payment: f64,
    /// The bytes of this batch's openings and transfers as posted, over its payments: most of them open an account.
    pub posted_bytes_per_payment_with_openings: f64,
    /// [`RunFigures::payload_bytes`] over the payments: with deposits, withdrawals, proofs and headers.
    pub posted_bytes_per_payment_all_in: f64,
    /// The virtual bytes of commit and reveal over the payments.
    pub vbytes_per_payment: f64,
    /// The virtual bytes of a payment as the block made it on layer 1.
    pub layer_1_vbytes_per_payment: f64,
    /// The fee of a payment at the rate of fees.
    pub fee_sat_per_payment: f64,
    /// The fee of a payment on layer 1 at that rate.
    pub layer_1_fee_sat_per_payment: f64,
}

impl AsRef<RunFigures> for DemoReport {
    fn as_ref(&self) -> &RunFigures {
        &self.run
    }
}

/// The report on some payments of a block, all of whose payments are given beside them, in one batch.
pub(super) fn of_payments(
    run: RunFigures,
    options: &DemoOptions,
    (some, all): (&BlockPayments, &BlockPayments),
    workload: &Workload,
    batch: &Batch,
    rebuilt: &State,
) -> DemoReport {
    let payments = some.payments().len();
    let per_payment = |total: f64| total / payments as f64;
    let is_payment = |records: &Records| matches!(records.kind(), Kind::Open | Kind::Transfer);
    let payment_bytes = posted_bytes(&records(batch).into_iter().filter(is_payment).collect::<Vec<_>>());
    let withdrawal = |transaction: &&Transaction| transaction.kind() == Kind::Withdraw;
    DemoReport {
        payments,
        accounts: rebuilt.tree().cells().count(),
        withdrawals: workload.transactions.iter().filter(withdrawal).count(),
        posted_bytes_per_payment: bytes_per_transfer_between_existing(all, options.fee_sat),
        posted_bytes_per_payment_with_openings: per_payment(payment_bytes as f64),
        posted_bytes_per_payment_all_in: per_payment(run.payload_bytes as f64),
        vbytes_per_payment: per_payment(run.anchor_vsize_vb as f64),
        layer_1_vbytes_per_payment: per_payment(some.virtual_bytes() as f64),
        fee_sat_per_payment: per_payment(fee_sat(options.fee_rate, run.anchor_vsize_vb)),
        layer_1_fee_sat_per_payment: per_payment(fee_sat(options.fee_rate, some.virtual_bytes())),
        run,
    }
}

fn chunk_figures(acts: &[Act], ring: &KeyRing, kind: Kind) -> Option<ChunkFigures> {
    let all = acts.iter().flat_map(|act| &act.batch.chunks);
    let chunks: Vec<_> = all.filter(|chunk| chunk.statement.circuit.kind == kind).collect();
    let records: Vec<Records> = chunks.iter().map(|chunk| chunk.records()).collect();
    let count: usize = records.iter().map(Records::len).sum();
    let rows = chunks.iter().map(|chunk| row_count(ring, chunk.statement.circuit));
    Some(ChunkFigures {
        kind: kind.name(),
        records: count,
        chunks: records.len(),
        slots: chunks.iter().map(|chunk| chunk.statement.circuit.slots).max()?,
        constraints: rows.sum(),
        posted_bytes_per_record: posted_bytes(&records) as f64 / count as f64,
    })
}

/// The rows of a circuit, which the ring has the key of: its proofs were made.
pub(super) fn row_count(ring: &KeyRing, circuit: CircuitId) -> usize {
    ring.key(circuit).expect("its proofs were made by it").header().row_count()
}

fn bytes_per_transfer_between_existing(payments: &BlockPayments, fee_sat: u64) -> f64 {
    let records = payments.transfers_between_existing(EXISTING_DEPTH, fee_sat);
    let records = records.expect("a block has fewer outputs than a tree of seven levels has cells");
    let count = records.len();
    posted_bytes(&[Records::Transfer(records)]) as f64 / count as f64
}

/// What a batch posts, chunk by chunk.
pub(super) fn records(batch: &Batch) -> Vec<Records> {
    batch.chunks.iter().map(|chunk| chunk.records()).collect()
}

/// The bytes of records as posted: in columns, compressed.
pub(super) fn posted_bytes(records: &[Records]) -> usize {
    codec::deflate(&codec::columns(&records.iter().collect::<Vec<_>>())).len()
}

/// The fee of so many virtual bytes.
pub(super) fn fee_sat(rate: FeeRate, vsize_vb: u64) -> f64 {
    rate.fee(Weight::from_vb_unchecked(vsize_vb)).to_sat() as f64
}

fn root_text(root: Fr) -> String {
    hex::encode(field::to_bytes(&root))
}
