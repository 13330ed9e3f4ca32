//! What the files of a rollup hold.

use super::Finding;
use crate::cli::{
    console::counted,
    element_text,
    failure::{Exit, Fallible, Result},
    setup::governance,
    shown_cell::ShownCell,
};
use serde::Serialize;
use serde_json::json;
use std::path::Path;
use taproof_base::{
    artefact::{self, ArtefactKind, Header},
    network_name::network_name,
};
use taproof_bitcoin::{bridge::watch::BridgeState, light::CheckpointFile, proven_batch::ProvenBatch};
use taproof_kernel::{kept_proofs::KeptProof, key_file::KeyFile, proving_key::Circuit};
use taproof_rollup::{batch::BatchFile, state_proof::StateProof};
use taproof_verifier::{
    cell::{CellIndex, ChainId, MerklePath},
    codec,
    follow::Params,
    program::Program,
    record::Records,
    statement::Statement,
};

/// A container, by the kind in its header.
pub(super) fn artefact(bytes: &[u8]) -> Result<Finding> {
    match Header::decode(bytes).or_exit(Exit::Input)?.kind {
        ArtefactKind::Batch => batch(&artefact::decode(bytes).or_exit(Exit::Input)?),
        ArtefactKind::Proofs => proofs(&artefact::decode(bytes).or_exit(Exit::Input)?),
        ArtefactKind::BridgeState => bridge_state(&artefact::decode(bytes).or_exit(Exit::Input)?),
        ArtefactKind::Checkpoint => checkpoint(&artefact::decode(bytes).or_exit(Exit::Input)?),
        ArtefactKind::KeptProof => kept_proof(&artefact::decode(bytes).or_exit(Exit::Input)?),
        _ => state_proof(&artefact::decode(bytes).or_exit(Exit::Input)?),
    }
}

fn kept_proof(kept: &KeptProof) -> Result<Finding> {
    let lines =
        vec![("batch", kept.batch.to_string()), ("holds", "one proof, for `taproof prove` to go on from".into())];
    Finding::new("kept proof", &json!({ "batch": kept.batch }), lines)
}

#[derive(Serialize)]
struct ChunkReport {
    circuit: String,
    records: usize,
    token: u32,
    operator: u32,
    root_after: String,
}

impl ChunkReport {
    fn new(statement: &Statement, records: usize) -> Self {
        Self {
            circuit: statement.circuit.to_string(),
            records,
            token: statement.context.token.0,
            operator: statement.context.operator.get(),
            root_after: element_text(&statement.root_after),
        }
    }

    fn line(&self) -> (&'static str, String) {
        ("chunk", format!("{}, {} records, root after {}", self.circuit, self.records, self.root_after))
    }
}

fn batch(batch: &BatchFile) -> Result<Finding> {
    let header = batch.header();
    let reports: Vec<ChunkReport> =
        batch.chunks().iter().map(|chunk| ChunkReport::new(&chunk.statement, chunk.slots.len())).collect();
    let mut lines = vec![
        ("chain id", header.chain_id.to_string()),
        ("batch", header.number.to_string()),
        ("reference", header.reference.to_string()),
        ("program", header.program_id.to_string()),
        ("root before", element_text(&header.root_before)),
    ];
    lines.extend(reports.iter().map(ChunkReport::line));
    Finding::new("batch", &json!({ "header": header, "chunks": reports }), lines)
}

fn proofs(proven: &ProvenBatch) -> Result<Finding> {
    let payload = proven.payload();
    let header = payload.header();
    let statements = payload.statements();
    let chunks = statements.iter().zip(payload.chunks());
    let reports: Vec<ChunkReport> =
        chunks.map(|(statement, chunk)| ChunkReport::new(statement, chunk.records.len())).collect();
    let records: Vec<&Records> = payload.chunks().iter().map(|chunk| &chunk.records).collect();
    let records_bytes = codec::deflate(&codec::columns(&records)).len();
    let mut lines = vec![
        ("chain id", header.chain_id.to_string()),
        ("batch", header.batch.to_string()),
        ("program", header.program_id.to_string()),
        ("proofs", reports.len().to_string()),
        ("records", format!("{records_bytes} bytes when posted")),
        ("root before", element_text(&header.root_before)),
    ];
    lines.extend(reports.iter().map(ChunkReport::line));
    let report = json!({
        "chain_id": header.chain_id,
        "batch": header.batch,
        "program_id": header.program_id.to_string(),
        "root_before": element_text(&header.root_before),
        "root_after": element_text(&header.root_after),
        "records_bytes": records_bytes,
        "chunks": reports,
    });
    Finding::new("proofs", &report, lines)
}

fn bridge_state(state: &BridgeState) -> Result<Finding> {
    let scan = state.scan();
    let (block, coins, due) = (scan.block(), scan.coin_count(), scan.due_count());
    let report = json!({ "block": block.to_string(), "coins": coins, "due": due });
    let lines =
        vec![("block", block.to_string()), ("coins", coins.to_string()), ("payouts due so far", due.to_string())];
    Finding::new("bridge state", &report, lines)
}

fn checkpoint(file: &CheckpointFile) -> Result<Finding> {
    let (block, tip, digest) = (file.0.block(), file.0.tip(), file.digest());
    let report = json!({
        "block": block,
        "batches": tip.batches,
        "root": element_text(&tip.root),
        "deposits_consumed": tip.deposits_consumed,
        "payouts": tip.payouts,
        "digest": digest.to_string(),
    });
    let lines = vec![
        ("block", block.to_string()),
        ("batches", tip.batches.to_string()),
        ("root", format!("{}, which this file claims and does not prove", element_text(&tip.root))),
        ("deposits credited or void", tip.deposits_consumed.to_string()),
        ("payouts", tip.payouts.to_string()),
        ("digest", digest.to_string()),
    ];
    Finding::new("checkpoint", &report, lines)
}

#[derive(Serialize)]
struct StateProofReport {
    chain_id: ChainId,
    index: CellIndex,
    #[serde(flatten)]
    shown: ShownCell,
    batches: u64,
    root: String,
    path: MerklePath,
}

fn state_proof(proof: &StateProof) -> Result<Finding> {
    let shown = ShownCell::new(proof.verify(proof.root()).or_exit(Exit::Refuted)?);
    let lines = vec![
        ("chain id", proof.chain_id().to_string()),
        ("cell", proof.index().to_string()),
        ("holds", shown.to_string()),
        ("batches", proof.batches().to_string()),
        ("root", format!("{}, which this file claims and does not prove", element_text(&proof.root()))),
    ];
    let report = StateProofReport {
        chain_id: proof.chain_id(),
        index: proof.index(),
        shown,
        batches: proof.batches(),
        root: element_text(&proof.root()),
        path: proof.path().clone(),
    };
    Finding::new("state proof", &report, lines)
}

/// The header of a proving key.
pub(super) fn key(path: &Path) -> Result<Finding> {
    let key = KeyFile::open(path).or_exit_while(Exit::Input, path.display().to_string())?;
    let header = key.header();
    let circuit = match header.circuit() {
        Circuit::Own(circuit) => circuit.to_string(),
        Circuit::Foreign => header.circuit().to_string(),
    };
    let weakness = header.weakness();
    let report = json!({
        "circuit": circuit,
        "forgeable": weakness.is_some(),
        "matrix_hash": hex::encode(header.matrix_hash()),
        "constraints": header.row_count(),
        "public_inputs": header.counts().public_wires() - 1,
        "wires": header.wire_count(),
        "bytes": header.file_length(),
    });
    let mut lines = vec![
        ("circuit", circuit),
        ("matrix hash", hex::encode(header.matrix_hash())),
        ("constraints", header.row_count().to_string()),
        ("public inputs", (header.counts().public_wires() - 1).to_string()),
        ("wires", header.wire_count().to_string()),
        ("length", format!("{} bytes", header.file_length())),
    ];
    lines.extend(weakness.map(|weakness| ("warning", weakness.to_string())));
    Finding::new("proving key", &report, lines)
}

/// The parameters of a rollup.
pub(super) fn params(params: &Params) -> Result<Finding> {
    let mut lines = vec![
        ("network", network_name(params.network).to_owned()),
        ("chain id", params.chain_id().to_string()),
        ("genesis depth", params.genesis_depth.levels().to_string()),
        ("bridge", format!("{} of {}", params.bridge().threshold(), counted(params.bridge().keys().len(), "key"))),
        ("bridge script", params.bridge().script_pubkey().to_hex_string()),
        ("deposits", {
            let [window, expiry] = [params.deposit_window_blocks, params.deposit_expiry_blocks];
            let (min_sat, refund) = (params.bridge().deposit_min_sat(), params.bridge().refund_delay_blocks());
            format!(
                "of {min_sat} sat at least, credited within {window} blocks, void after {expiry}, back to the \
                 depositor after {refund}"
            )
        }),
        ("start", params.start.to_string()),
        ("final after", counted(params.final_depth_blocks, "block")),
        ("program", params.program_id.to_string()),
        ("openings", format!("of {} sat at least", params.opening_min_sat)),
    ];
    lines.extend(governance(params));
    Finding::new("parameters", params, lines)
}

/// A program.
pub(super) fn program(program: &Program) -> Result<Finding> {
    let circuits: Vec<String> = program.circuits().map(|(circuit, _)| circuit.to_string()).collect();
    let mut lines = vec![("id", program.id().to_string())];
    lines.extend(circuits.iter().map(|circuit| ("circuit", circuit.clone())));
    Finding::new("program", &json!({ "program_id": program.id().to_string(), "circuits": circuits }), lines)
}
