//! `taproof prove` and `taproof verify`.

use super::{
    Global,
    console::Bar,
    data_dir::DataDir,
    failure::{Exit, Failure, Fallible, Result},
    session::Session,
};
use clap::Args;
use serde::Serialize;
use std::{num::NonZeroUsize, path::PathBuf, time::Instant};
use taproof::{
    artefact,
    batch::{BatchFile, ProvenBatch},
    key_ring::KeyRing,
    prove::{ProveError, prove_batch},
};
use taproof_verifier::{groth16::Proof, statement::CircuitId};

/// Proves the chunks of a batch in parallel, and verifies each proof.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  taproof prove .taproof/batches/0.batch")]
pub(crate) struct Prove {
    /// The batch, as `taproof batch` writes it.
    batch: PathBuf,
    /// The file of proofs to write; one in the data directory if not given.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// How many chunks to prove at a time.
    #[arg(long, default_value = "2", value_name = "N")]
    at_once: NonZeroUsize,
}

#[derive(Serialize)]
struct ProveReport {
    batch: u64,
    proofs: usize,
    proof_bytes: usize,
    constraints: usize,
    seconds: f64,
    file: PathBuf,
}

impl Prove {
    pub(crate) fn run(self, global: &Global) -> Result {
        let session = Session::open(global)?;
        let batch: BatchFile = artefact::read(&self.batch).or_exit(Exit::Input)?;
        expect_program(&session, batch.header().program_id)?;
        let mut circuits: Vec<CircuitId> = batch.chunks().iter().map(|chunk| chunk.statement.circuit).collect();
        circuits.sort_unstable();
        circuits.dedup();
        let ring = KeyRing::open(&session.dir.keys(), &circuits).or_exit(Exit::Input)?;
        for (circuit, key) in ring.keys() {
            let known = session.program.circuits().find(|(known, _)| known == circuit);
            if known.is_none_or(|(_, known)| known.key() != key.header().verifying_key()) {
                let message = format!("the key of {circuit} is not the one of the rollup's program");
                return Err(
                    Failure::new(Exit::Input, message).advise("restore the key that the rollup was founded with")
                );
            }
        }
        let (started, bar) = (Instant::now(), Bar::new(global.console(), "proving chunks"));
        let results = prove_batch(batch.chunks(), |circuit| ring.key(circuit), self.at_once, &bar);
        bar.end();
        let mut proven = Vec::with_capacity(results.len());
        for (chunk, result) in results.into_iter().enumerate() {
            proven.push(result.map_err(|error| {
                let exit = if matches!(error, ProveError::Key(_)) { Exit::Input } else { Exit::Refuted };
                let failure = Failure::of(exit, anyhow::Error::from(error).context(format!("chunk {chunk}")));
                if exit == Exit::Input { failure.advise("restore the key file") } else { failure }
            })?);
        }
        let path = self.out.unwrap_or_else(|| session.dir.proofs(batch.header().number));
        DataDir::create_parent(&path)?;
        artefact::write(&path, &batch.with_proofs(&proven)?)?;
        let constraints = proven.iter().filter_map(|proven| ring.key(proven.statement().circuit));
        let report = ProveReport {
            batch: batch.header().number,
            proofs: proven.len(),
            proof_bytes: proven.len() * Proof::LENGTH,
            constraints: constraints.map(|key| key.header().row_count()).sum(),
            seconds: started.elapsed().as_secs_f64(),
            file: path,
        };
        global.console().report(&report, |report| {
            format!(
                "{} proofs of batch {}, {} constraints in {:.1} s, in {}",
                report.proofs,
                report.batch,
                report.constraints,
                report.seconds,
                report.file.display()
            )
        })
    }
}

/// Checks the proofs of a batch against the rollup's program.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  taproof verify .taproof/proofs/0.proofs")]
pub(crate) struct Verify {
    /// The proofs, as `taproof prove` writes them.
    proofs: PathBuf,
}

#[derive(Serialize)]
struct VerifyReport {
    batch: u64,
    proofs: usize,
    root_before: String,
    root_after: String,
    milliseconds: f64,
}

impl Verify {
    pub(crate) fn run(self, global: &Global) -> Result {
        let session = Session::open(global)?;
        let proven: ProvenBatch = artefact::read(&self.proofs).or_exit(Exit::Input)?;
        let payload = proven.payload();
        let header = payload.header();
        expect_program(&session, header.program_id)?;
        if header.chain_id != session.params.chain_id {
            let message =
                format!("the batch is one of chain {}, not of chain {}", header.chain_id.0, session.params.chain_id.0);
            return Err(Failure::new(Exit::Input, message).advise("name its rollup's --dir"));
        }
        let started = Instant::now();
        let statements = payload.statements();
        let proofs = payload.chunks().iter().map(|chunk| &chunk.proof);
        session.program.verify_batch(statements.iter().zip(proofs)).or_exit(Exit::Refuted)?;
        let report = VerifyReport {
            batch: header.batch,
            proofs: statements.len(),
            root_before: super::element_text(&header.root_before),
            root_after: super::element_text(&header.root_after),
            milliseconds: started.elapsed().as_secs_f64() * 1_000.0,
        };
        global.console().report(&report, |report| {
            format!(
                "{} proofs of batch {} hold ({:.1} ms)\nroot before  {}\nroot after   {}",
                report.proofs, report.batch, report.milliseconds, report.root_before, report.root_after
            )
        })
    }
}

fn expect_program(session: &Session, found: taproof_verifier::program::ProgramId) -> Result {
    let expected = session.params.program_id;
    if found != expected {
        let message = format!("the batch is for program {found}, the rollup's is {expected}");
        return Err(Failure::new(Exit::Input, message).advise("name its rollup's --dir"));
    }
    Ok(())
}
