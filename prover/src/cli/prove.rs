//! `taproof prove` and `taproof verify`.

use super::{
    Global,
    console::{Bar, counted},
    data_dir::DataDir,
    failure::{Exit, Failure, Fallible, Result},
    foreign::ForeignArgs,
    foreign_verify::ForeignVerifyArgs,
    input::read_artefact,
    output::{Output, Replaces, open_output},
    path_text,
    session::{Session, ledger_failure},
    values::threads,
};
use clap::{ArgGroup, Args};
use serde::Serialize;
use std::{
    io,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    time::Instant,
};
use taproof_base::{
    artefact::{self, Artefact, ArtefactKind},
    shown::shown,
};
use taproof_bitcoin::proven_batch::ProvenBatch;
use taproof_kernel::{
    kept_proofs::KeptProofs,
    key_ring::{KeyRing, KeyRingError, key_path},
    prove::ProveError,
};
use taproof_rollup::{batch::BatchFile, ledger::Ledger};
use taproof_verifier::{
    groth16::Proof,
    program::{Program, ProgramId},
    statement::CircuitId,
};

/// Proves the chunks of a batch in parallel, or witnesses of any circom circuit, and verifies each proof.
///
/// Each proof of a batch is kept as soon as it is made: a run that is interrupted goes on from there when it is
/// started again.
#[derive(Debug, Args)]
#[command(override_usage = "\
taproof prove [OPTIONS] <BATCH>
       taproof prove [OPTIONS] <--zkey <FILE>|--key <FILE>> --witness <FILE>...")]
#[command(group(ArgGroup::new("subject").required(true).args(["batch", "zkey", "key"])))]
#[command(after_help = "\
Examples:
  taproof prove .taproof/batches/0.batch
  taproof prove --zkey circuit.zkey --witness witness.wtns \\
    --proof proof.json --public public.json
  taproof prove --key circuit.key --witness a.wtns b.wtns c.wtns \\
    --r1cs circuit.r1cs
  circuit_calculator input.json /dev/stdout | \\
    taproof prove --key circuit.key --witness - --proof - --public public.json

With --json the report on witnesses lists what is proven (proofs) and what is not (failed), for one as for many, and \
so it does where the command fails. Files of an earlier run stay there under the names of a proof that failed, and are \
named (older).

All processors are used unless --threads, or else RAYON_NUM_THREADS, says how many.")]
pub(crate) struct Prove {
    /// The batch, as `taproof batch` writes it.
    batch: Option<PathBuf>,
    /// The file of a batch's proofs to write; one in the data directory if not given.
    #[arg(long, value_name = "FILE", conflicts_with = "foreign_key")]
    out: Option<PathBuf>,
    /// How many chunks to prove at a time.
    #[arg(long, default_value = "2", value_name = "N", conflicts_with = "foreign_key")]
    at_once: NonZeroUsize,
    /// How many threads to use; RAYON_NUM_THREADS if not given, and all processors without it.
    #[arg(long, value_name = "N", value_parser = threads)]
    threads: Option<u16>,
    #[command(flatten)]
    foreign: ForeignArgs,
}

#[derive(Serialize)]
struct ProveReport {
    batch: u64,
    proofs: usize,
    /// How many of them were there from an earlier run, or from another batch.
    kept: usize,
    proof_bytes: usize,
    constraints: usize,
    seconds: f64,
    #[serde(serialize_with = "path_text::serialize")]
    file: PathBuf,
}

impl Prove {
    pub(crate) fn run(self, global: &Global) -> Result {
        if let Some(threads) = self.threads {
            rayon::ThreadPoolBuilder::new().num_threads(threads.into()).build_global()?;
        }
        match self.batch {
            Some(batch) => prove(global, &batch, self.out, self.at_once),
            None => self.foreign.run(global),
        }
    }
}

fn prove(global: &Global, batch_path: &Path, out: Option<PathBuf>, at_once: NonZeroUsize) -> Result {
    // What is no file of a rollup needs none to say so.
    let batch: BatchFile = read_artefact(batch_path).map_err(|failure| match failure.is_missing() {
        false => failure,
        true => {
            let batches = global.data_dir().batch(0).with_file_name("");
            failure.advise(format!(
                "name a batch's file: `taproof batch` writes it into {}, also where it is missing",
                batches.display()
            ))
        }
    })?;
    let session = Session::open(global)?;
    let program = known_program(&session, batch.header().program_id)?;
    batch.payload_length().or_exit_while(Exit::Input, "no payload holds the batch").map_err(|failure| {
        failure.advise("take it back with `taproof batch --take-back`, which makes a smaller one; nothing was proven")
    })?;
    let first_unfinal = expect_in_ledger(&session, &batch)?;
    let mut circuits: Vec<CircuitId> = batch.chunks().iter().map(|chunk| chunk.statement.circuit).collect();
    circuits.sort_unstable();
    circuits.dedup();
    let keys = session.keys_of(program.id());
    let key_failure = |error: KeyRingError| Failure::of(Exit::Input, error).advise(key_advice(&session, program.id()));
    let ring = KeyRing::open(&keys, &circuits).map_err(key_failure)?;
    for (circuit, key) in ring.keys() {
        let known = program.circuits().find(|(known, _)| known == circuit);
        if known.is_none_or(|(_, known)| known.key() != key.verifying_key()) {
            let message = format!("the key of {circuit} is not the one of program {}", program.id());
            return Err(Failure::new(Exit::Input, message).advise(key_advice(&session, program.id())));
        }
    }
    let own = session.dir.proofs(batch.header().number);
    if out.is_none() {
        DataDir::create_parent(&own)?;
    }
    let path = out.unwrap_or(own);
    let (format, replaces) = (ArtefactKind::Proofs.name(), Replaces::OwnFormat);
    let output = Output { path: &path, access: ProvenBatch::ACCESS, format, replaces };
    let output = open_output(&session.dir, output, &[batch_path])?;
    let console = global.console().beside([&output])?;
    let (started, bar) = (Instant::now(), Bar::new(console, "proving chunks"));
    let (kept, number, count) =
        (KeptProofs::new(session.dir.kept_proofs()), batch.header().number, batch.chunks().len());
    let say = |taken| {
        if taken > 0 {
            bar.note(format!("kept from an earlier run, and checked: {taken} of {}", counted(count, "proof")));
        }
    };
    let outcome =
        kept.prove(global.machines(), number, batch.chunks(), |circuit| ring.key(circuit), at_once, say, &bar);
    bar.end();
    if let Some(error) = outcome.not_kept {
        console.warn(format!("proofs cannot be kept, so that an interrupted run begins anew: {error}"));
    }
    let mut proven = Vec::with_capacity(count);
    for (chunk, result) in outcome.proofs.into_iter().enumerate() {
        proven.push(result.map_err(|error| {
            let circuit = batch.chunks()[chunk].statement.circuit;
            match error {
                ProveError::Key(source) => key_failure(KeyRingError::File { path: key_path(&keys, circuit), source }),
                error => Failure::of(Exit::Refuted, anyhow::Error::from(error).context(format!("chunk {chunk}"))),
            }
        })?);
    }
    artefact::write_to(output, &batch.with_proofs(&proven, program.table())?)?;
    if let Err(error) = sweep(&session, &kept, number, first_unfinal) {
        console.warn(format!("{}: {error}", session.dir.kept_proofs().display()));
    }
    let constraints = proven.iter().filter_map(|proven| ring.key(proven.statement().circuit));
    let report = ProveReport {
        batch: batch.header().number,
        proofs: proven.len(),
        kept: outcome.taken,
        proof_bytes: proven.len() * Proof::LENGTH,
        constraints: constraints.map(|key| key.header().row_count()).sum(),
        seconds: started.elapsed().as_secs_f64(),
        file: path,
    };
    console.report(&report, |report| {
        let kept = if report.kept > 0 { format!(" ({} of them kept from before)", report.kept) } else { String::new() };
        format!(
            "{}{kept} of batch {}, {} in {:.1} s, in {}",
            counted(report.proofs, "proof"),
            report.batch,
            counted(report.constraints, "constraint"),
            report.seconds,
            shown(report.file.display())
        )
    })
}

/// What to do about a key of a program that is missing or damaged: none can be made in its place.
fn key_advice(session: &Session, program: ProgramId) -> String {
    let folder = if program == session.params.program_id { "keys/".to_owned() } else { format!("keys/{program}/") };
    format!(
        "copy the key file from {folder} of whoever made the program or of any other poster: a new one would be \
         another program's"
    )
}

/// Fails if the ledger is known not to have the batch, as after it was taken back. Where there is no ledger, or
/// another process has it open, it has no say. Gives the number of the first batch that the ledger can still take
/// back.
fn expect_in_ledger(session: &Session, batch: &BatchFile) -> Result<Option<u64>> {
    let Ok(ledger) = Ledger::open(&session.dir.ledger(), session.params.chain_id()) else { return Ok(None) };
    if !ledger.lacks(batch).map_err(ledger_failure)? {
        return Ok(ledger.first_unfinal().ok());
    }
    let message = format!("the ledger does not have this batch {}: it was taken back", batch.header().number);
    Err(Failure::new(Exit::Input, message).advise("prove the file that the last `taproof batch` has named"))
}

/// Removes kept proofs of batches that are final. What was taken back may be made again as it was, and its proofs
/// hold then. The ledger is not opened for it again, which would keep others from it: what has become final meanwhile
/// goes the next time.
fn sweep(session: &Session, kept: &KeptProofs, proven: u64, first_unfinal: Option<u64>) -> io::Result<usize> {
    // Whatever cannot be asked, or is in use, has no say.
    let summary = session.chain_store().summary().ok().flatten();
    let finals = summary.and_then(|summary| summary.tip).map(|tip| tip.batches);
    let first = first_unfinal.max(finals).unwrap_or(0).max(proven.saturating_sub(BATCHES_KEPT));
    kept.sweep(|batch| batch == proven || batch >= first)
}

/// How many batches' proofs are kept where nobody knows which are final.
const BATCHES_KEPT: u64 = 1000;

/// Checks the proofs of a batch against the rollup's program, or the proof of any circom circuit against its key.
#[derive(Debug, Args)]
#[command(override_usage = "\
taproof verify [OPTIONS] <PROOFS>
       taproof verify [OPTIONS] --vkey <FILE> --proof <FILE> --public <FILE>")]
#[command(after_help = "\
Examples:
  taproof verify .taproof/proofs/0.proofs
  taproof verify --vkey verification_key.json \\
    --proof proof.json --public public.json")]
pub(crate) struct Verify {
    /// The proofs, as `taproof prove` writes them.
    #[arg(required_unless_present = "vkey", conflicts_with_all = ["vkey", "proof", "public"])]
    proofs: Option<PathBuf>,
    #[command(flatten)]
    foreign: ForeignVerifyArgs,
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
        let Some(proofs) = self.proofs else { return self.foreign.run(global) };
        // What is no file of a rollup needs none to say so.
        let proven: ProvenBatch = read_artefact(&proofs)?;
        let session = Session::open(global)?;
        let payload = proven.payload();
        let header = payload.header();
        let program = known_program(&session, header.program_id)?;
        if header.chain_id != session.params.chain_id() {
            let message =
                format!("the batch is one of rollup {}, not of rollup {}", header.chain_id, session.params.chain_id());
            return Err(Failure::new(Exit::Input, message).advise("name its rollup's --dir"));
        }
        let started = Instant::now();
        let statements = payload.statements();
        let proofs = payload.chunks().iter().map(|chunk| &chunk.proof);
        program.verify_batch(statements.iter().zip(proofs)).or_exit(Exit::Refuted)?;
        let report = VerifyReport {
            batch: header.batch,
            proofs: statements.len(),
            root_before: super::element_text(&header.root_before),
            root_after: super::element_text(&header.root_after),
            milliseconds: started.elapsed().as_secs_f64() * 1_000.0,
        };
        global.console().report(&report, |report| {
            format!(
                "{} of batch {} verified ({:.1} ms)\nroot before  {}\nroot after   {}",
                counted(report.proofs, "proof"),
                report.batch,
                report.milliseconds,
                report.root_before,
                report.root_after
            )
        })
    }
}

/// The program that a batch is for. Whether it is in force where the batch refers to, the follower says.
fn known_program(session: &Session, id: ProgramId) -> Result<&Program> {
    session.programs.get(id).ok_or_else(|| {
        let message = format!("the batch is for program {id}, which is none of those that are known of the rollup");
        Failure::new(Exit::Input, message)
            .advise("name its rollup's --dir, or add the program with `taproof upgrade add`")
    })
}
