//! `taproof prove` and `taproof verify`.

use super::{
    Global,
    console::Bar,
    data_dir::DataDir,
    failure::{Exit, Failure, Fallible, Result},
    foreign::ForeignArgs,
    session::Session,
};
use clap::{ArgGroup, Args};
use serde::Serialize;
use std::{
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Instant,
};
use taproof::{
    artefact,
    batch::{BatchFile, ProvenBatch},
    key_ring::KeyRing,
    prove::{ProveError, prove_batch},
};
use taproof_verifier::{groth16::Proof, statement::CircuitId};

/// Proves the chunks of a batch in parallel, or a witness of any circom circuit, and verifies each proof.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("subject").required(true).args(["batch", "zkey", "key"])))]
#[command(after_help = "\
Examples:
  taproof prove .taproof/batches/0.batch
  taproof prove --zkey circuit.zkey --witness witness.wtns --proof proof.json --public public.json
  taproof prove --key circuit.key --witness witness.wtns")]
pub(crate) struct Prove {
    /// The batch, as `taproof batch` writes it.
    batch: Option<PathBuf>,
    /// The file of a batch's proofs to write; one in the data directory if not given.
    #[arg(long, value_name = "FILE", conflicts_with = "foreign_key")]
    out: Option<PathBuf>,
    /// How many chunks to prove at a time.
    #[arg(long, default_value = "2", value_name = "N", conflicts_with = "foreign_key")]
    at_once: NonZeroUsize,
    #[command(flatten)]
    foreign: ForeignArgs,
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
        match self.batch {
            Some(batch) => prove(global, &batch, self.out, self.at_once),
            None => self.foreign.run(global),
        }
    }
}

fn prove(global: &Global, batch: &Path, out: Option<PathBuf>, at_once: NonZeroUsize) -> Result {
    let session = Session::open(global)?;
    let batch: BatchFile = artefact::read(batch).or_exit(Exit::Input)?;
    expect_program(&session, batch.header().program_id)?;
    let mut circuits: Vec<CircuitId> = batch.chunks().iter().map(|chunk| chunk.statement.circuit).collect();
    circuits.sort_unstable();
    circuits.dedup();
    let ring = KeyRing::open(&session.dir.keys(), &circuits).or_exit(Exit::Input)?;
    for (circuit, key) in ring.keys() {
        let known = session.program.circuits().find(|(known, _)| known == circuit);
        if known.is_none_or(|(_, known)| known.key() != key.verifying_key()) {
            let message = format!("the key of {circuit} is not the one of the rollup's program");
            return Err(Failure::new(Exit::Input, message).advise("restore the key that the rollup was founded with"));
        }
    }
    let (started, bar) = (Instant::now(), Bar::new(global.console(), "proving chunks"));
    let results = prove_batch(batch.chunks(), |circuit| ring.key(circuit), at_once, &bar);
    bar.end();
    let mut proven = Vec::with_capacity(results.len());
    for (chunk, result) in results.into_iter().enumerate() {
        proven.push(result.map_err(|error| {
            let exit = if matches!(error, ProveError::Key(_)) { Exit::Input } else { Exit::Refuted };
            let failure = Failure::of(exit, anyhow::Error::from(error).context(format!("chunk {chunk}")));
            if exit == Exit::Input { failure.advise("restore the key file") } else { failure }
        })?);
    }
    let path = out.unwrap_or_else(|| session.dir.proofs(batch.header().number));
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
