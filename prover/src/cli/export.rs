//! `taproof export`.

use super::{
    Global,
    failure::{Exit, Failure, Fallible, Result},
    foreign_verify::export_verifying_key,
    input::{read_artefact, read_json},
    output::{Output, Replaces, make_folder, open_outputs, write, write_json},
    path_text,
    session::Session,
};
use clap::Args;
use serde::Serialize;
use std::{
    io,
    path::{Path, PathBuf},
};
use taproof_base::{output_file::Access, shown::shown};
use taproof_bitcoin::proven_batch::ProvenBatch;
use taproof_circuits::{
    chunk,
    iden3::{
        json::{ProofJson, PublicJson, VerifyingKeyJson},
        write_r1cs, write_wtns,
    },
};
use taproof_kernel::{key_file::Key, key_ring::key_path, zkey};
use taproof_rollup::batch::BatchFile;
use taproof_verifier::{groth16::Proof, statement::Statement};

/// Writes a chunk's circuit, witness and key, and its proof, in the formats of iden3, for snarkjs and rapidsnark; or
/// the verifying key of any key.
#[derive(Debug, Args)]
#[command(override_usage = "\
taproof export [OPTIONS] --out <DIR> <BATCH>
       taproof export [OPTIONS] --vkey <KEY>")]
#[command(after_help = "\
Example:
  taproof export .taproof/batches/0.batch --chunk 0 \\
    --proofs .taproof/proofs/0.proofs --out iden3
  snarkjs groth16 verify iden3/verification_key.json \\
    iden3/public.json iden3/proof.json
  taproof export --vkey circuit.zkey --out verification_key.json")]
pub(crate) struct Export {
    /// The batch, as `taproof batch` writes it.
    #[arg(required_unless_present = "vkey")]
    batch: Option<PathBuf>,
    /// Writes the verifying key of this key alone: a .zkey, or a key that was made ready.
    #[arg(long, value_name = "KEY", conflicts_with_all = ["batch", "chunk", "proofs"])]
    vkey: Option<PathBuf>,
    /// The chunk, from 0.
    #[arg(long, default_value_t = 0, value_name = "N")]
    chunk: usize,
    /// The batch's proofs, as `taproof prove` writes them.
    #[arg(long, value_name = "FILE")]
    proofs: Option<PathBuf>,
    /// The folder to write to, made if it does not exist; with --vkey a file, or a folder that is there or whose name
    /// ends in a slash, verification_key.json if not given.
    #[arg(long, value_name = "DIR", required_unless_present = "vkey")]
    out: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    circuit: String,
    #[serde(serialize_with = "path_text::serialize")]
    out: PathBuf,
    files: Vec<&'static str>,
}

impl Export {
    pub(crate) fn run(self, global: &Global) -> Result {
        if let Some(key) = &self.vkey {
            return export_verifying_key(key, self.out, global);
        }
        let (Some(batch_path), Some(folder)) = (&self.batch, &self.out) else {
            return Err(Failure::new(Exit::Usage, "nothing to export").advise("name a batch and a folder"));
        };
        let session = Session::open(global)?;
        let batch: BatchFile = read_artefact(batch_path)?;
        let count = batch.chunks().len();
        let missing = || Failure::new(Exit::Input, format!("chunk {} of a batch of {count} chunks", self.chunk));
        let witness = batch.chunks().get(self.chunk).ok_or_else(missing)?;
        let circuit = witness.statement.circuit;
        let proof = match &self.proofs {
            Some(path) => Some(self.proof(&read_artefact(path)?, witness.statement)?),
            None => None,
        };
        let path = key_path(&session.keys_of(batch.header().program_id), circuit);
        let inputs: Vec<&Path> = [batch_path, &path].into_iter().chain(&self.proofs).map(PathBuf::as_path).collect();
        let mut files = FILES.to_vec();
        files.truncate(FILES.len() - usize::from(proof.is_none()));
        let paths: Vec<PathBuf> = files.iter().map(|file| folder.join(file)).collect();
        let outputs = files.iter().zip(&paths).zip(FORMATS).map(|((file, path), format)| {
            let access = if *file == WITNESS { Access::Private } else { Access::Public };
            Output { path, access, format, replaces: Replaces::Unknown }
        });
        make_folder(folder)?;
        if proof.is_none() {
            expect_own_proof(&folder.join(PROOF), &path, witness.statement)?;
        }
        let mut outputs = open_outputs(&session.dir, &outputs.collect::<Vec<_>>(), &inputs)?.into_iter();
        let mut next = || outputs.next().expect("there is an output for each file");

        let spinner = global.console().spinner(format!("exporting {circuit}"));
        let shape = chunk::shape(global.machines(), circuit).or_exit(Exit::Input)?;
        let key = Key::open(&path, circuit).and_then(|key| key.expect_matrices(shape.matrix_hash()).map(|()| key));
        let key = key.or_exit_while(Exit::Input, path.display().to_string())?;
        let wires = chunk::assign(global.machines(), witness).or_exit(Exit::Input)?.wires;
        write(next(), |out| write_r1cs(&shape, out))?;
        write(next(), |out| write_wtns(&wires, out))?;
        write(next(), |out| zkey::write(&key, &shape, out).map_err(io::Error::other))?;
        write_json(next(), &VerifyingKeyJson::from(key.verifying_key()))?;
        write_json(next(), &PublicJson::new(&[witness.statement.digest()]))?;
        if let Some(proof) = proof {
            write_json(next(), &proof)?;
        }
        spinner.finish_and_clear();
        let report = Report { circuit: circuit.to_string(), out: folder.clone(), files };
        global.console().report(&report, |report| {
            format!("{} in {}: {}", report.circuit, shown(report.out.display()), shown(report.files.join(", ")))
        })
    }

    /// The chunk's proof, if the proofs are those of the batch.
    fn proof(&self, proven: &ProvenBatch, statement: Statement) -> Result<ProofJson> {
        let payload = proven.payload();
        let proof =
            payload.chunks().get(self.chunk).filter(|_| payload.statements().get(self.chunk) == Some(&statement));
        let proof = proof.ok_or_else(|| Failure::new(Exit::Input, "the proofs are those of another batch"))?;
        Ok(ProofJson::from(&proof.proof))
    }
}

/// The files, in the order in which they are written; the last one only where there is a proof.
const FILES: [&str; 6] = ["circuit.r1cs", WITNESS, "circuit.zkey", "verification_key.json", "public.json", PROOF];

/// What `inspect` calls their formats.
const FORMATS: [&str; 6] = [
    "circuit (r1cs)",
    "witness (wtns)",
    "proving key (zkey)",
    "verifying key (json)",
    "public inputs (json)",
    "proof (json)",
];
const WITNESS: &str = "witness.wtns";
const PROOF: &str = "proof.json";

/// Fails if the proof of something else is there, which would stand beside the files of this chunk as if it were
/// theirs.
fn expect_own_proof(path: &Path, key: &Path, statement: Statement) -> Result {
    if !path.exists() {
        return Ok(());
    }
    let key = Key::open(key, statement.circuit).or_exit_while(Exit::Input, key.display().to_string())?;
    let proof = read_json::<ProofJson>(path).ok().and_then(|json| Proof::try_from(&json).ok());
    if proof.is_some_and(|proof| key.prepared_verifying_key().verify(&statement, &proof).is_ok()) {
        return Ok(());
    }
    let message = format!("{} is there, and is no proof of this chunk", path.display());
    Err(Failure::new(Exit::Input, message)
        .advise("name the chunk's own with --proofs, or another folder, or move that one away"))
}
