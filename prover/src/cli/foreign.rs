//! `taproof prove --zkey` and `taproof prove --key`: other people's circuits. `taproof import-zkey`: their keys, made ready once.

use super::{
    Global,
    console::Bar,
    data_dir::expect_absent,
    failure::{Exit, Failure, Fallible, Result},
    output::{open_output, open_outputs, write_json},
};
use clap::{ArgGroup, Args};
use serde::Serialize;
use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
    time::Instant,
};
use taproof::{
    foreign_key::ForeignKey,
    key_file,
    output_file::Access,
    prove::{Blinding, ForeignProveError, prove_foreign},
    proving_key::ProvingKey,
    zkey,
};
use taproof_circuits::iden3::{
    json::{ProofJson, PublicJson},
    read_wtns,
};

/// What to prove for a circuit that is not Taproof's.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("foreign_key").args(["zkey", "key"]).requires("witness")))]
pub(crate) struct ForeignArgs {
    /// The key of any circom circuit over BN254 (bn128), as `snarkjs groth16 setup` and `snarkjs zkey contribute` make it.
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    zkey: Option<PathBuf>,
    /// The same key as `taproof import-zkey` has made it ready, which is opened without being read first.
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    key: Option<PathBuf>,
    /// The witness, as the circuit's witness calculator writes it.
    #[arg(long, value_name = "FILE", requires = "foreign_key", help_heading = HEADING)]
    witness: Option<PathBuf>,
    /// Where to write the proof.
    #[arg(long, value_name = "FILE", default_value = "proof.json", conflicts_with = "batch", help_heading = HEADING)]
    proof: PathBuf,
    /// Where to write the public inputs, the circuit's outputs among them.
    #[arg(long, value_name = "FILE", default_value = "public.json", conflicts_with = "batch", help_heading = HEADING)]
    public: PathBuf,
}

const HEADING: &str = "Other people's circuits";

#[derive(Serialize)]
struct ProveReport {
    matrix_hash: String,
    constraints: usize,
    public_inputs: usize,
    /// Reading the key, or opening it where it was made ready before.
    seconds_key: f64,
    /// From the witness in memory to the verified proof.
    seconds: f64,
    forgeable: bool,
    proof: PathBuf,
    public: PathBuf,
}

impl ForeignArgs {
    pub(crate) fn run(self, global: &Global) -> Result {
        let inputs: Vec<&Path> =
            [&self.zkey, &self.key, &self.witness].into_iter().flatten().map(PathBuf::as_path).collect();
        let outputs = [&self.proof, &self.public].map(|path| (path.as_path(), Access::Public));
        let outputs = open_outputs(&outputs, &inputs)?;
        let console = global.console().beside(&outputs);
        let started = Instant::now();
        let spinner = console.spinner("reading the key and the witness");
        let key = match (&self.zkey, &self.key) {
            (Some(path), _) => ForeignKey::new(read_zkey(path)?)?,
            (None, Some(path)) => ForeignKey::open(path).or_exit_while(Exit::Input, path.display().to_string())?,
            (None, None) => return Err(no_key()),
        };
        let seconds_key = started.elapsed().as_secs_f64();
        let path = self.witness.as_ref().ok_or_else(no_key)?;
        let witness = open(path)?;
        let witness = read_wtns(witness).or_exit_while(Exit::Input, path.display().to_string())?;
        spinner.finish_and_clear();

        let (started, bar) = (Instant::now(), Bar::new(console, "proving"));
        let proven = prove_foreign(&key, &witness, &Blinding::fresh(), &bar);
        bar.end();
        let proven = proven.map_err(prove_failure)?;
        let seconds = started.elapsed().as_secs_f64();
        let [proof, public] = <[_; 2]>::try_from(outputs).expect("two files were opened");
        write_json(proof, &ProofJson::from(proven.proof()))?;
        write_json(public, &PublicJson::new(proven.public_inputs()))?;
        let report = ProveReport {
            matrix_hash: hex::encode(key.matrix_hash()),
            constraints: key.counts().rows(),
            public_inputs: proven.public_inputs().len(),
            seconds_key,
            seconds,
            forgeable: key.is_forgeable(),
            proof: self.proof,
            public: self.public,
        };
        console.report(&report, |report| {
            let text = format!(
                "proof of {} constraints in {:.1} s, the key in {:.1} s, in {} and {}",
                report.constraints,
                report.seconds,
                report.seconds_key,
                report.proof.display(),
                report.public.display()
            );
            text + warning(report.forgeable)
        })
    }
}

fn no_key() -> Failure {
    Failure::new(Exit::Failed, "nothing to prove").advise("name a batch, or a key and a --witness")
}

fn prove_failure(error: ForeignProveError) -> Failure {
    match error {
        ForeignProveError::Unsatisfied => Failure::of(Exit::Refuted, error).advise(
            "compute the witness anew with the circuit's own calculator, and take the key that was made for it",
        ),
        ForeignProveError::Key(_) => {
            Failure::of(Exit::Input, error).advise("make the key anew with `taproof import-zkey`")
        }
        _ => Failure::of(Exit::Input, error).advise("take the witness and the key of the same circuit"),
    }
}

/// What a report adds for a key that proves nothing.
fn warning(forgeable: bool) -> &'static str {
    if forgeable {
        "\nwarning: nobody has contributed to this key, so anyone can forge proofs for it: see `snarkjs zkey contribute`"
    } else {
        ""
    }
}

fn open(path: &Path) -> Result<BufReader<File>> {
    let file = File::open(path).or_exit_while(Exit::Input, path.display().to_string())?;
    Ok(BufReader::with_capacity(1 << 20, file))
}

fn read_zkey(path: &Path) -> Result<ProvingKey> {
    zkey::read(open(path)?).or_exit_while(Exit::Input, path.display().to_string())
}

/// Makes the key of any circom circuit ready for proving, once: checks it and writes it as a file that is opened in place.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  taproof import-zkey circuit.zkey --out circuit.key
  taproof prove --key circuit.key --witness witness.wtns")]
pub(crate) struct ImportZkey {
    /// The key, as snarkjs makes it: version 1, protocol groth16, over BN254 (bn128).
    zkey: PathBuf,
    /// The key file to write; beside the .zkey if not given.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Serialize)]
struct ImportReport {
    matrix_hash: String,
    constraints: usize,
    wires: usize,
    public_inputs: usize,
    bytes: u64,
    seconds: f64,
    forgeable: bool,
    out: PathBuf,
}

impl ImportZkey {
    pub(crate) fn run(self, global: &Global) -> Result {
        let out = self.out.unwrap_or_else(|| self.zkey.with_extension("key"));
        expect_absent(&out)?;
        let output = open_output(&out, Access::Public, &[&self.zkey])?;
        let console = global.console().beside([&output]);
        let (started, spinner) = (Instant::now(), console.spinner("reading and checking the key"));
        let key = read_zkey(&self.zkey)?;
        key_file::write_to(&key, output)?;
        spinner.finish_and_clear();
        let (bytes, key) = (key_file::length(&key), ForeignKey::new(key)?);
        let report = ImportReport {
            matrix_hash: hex::encode(key.matrix_hash()),
            constraints: key.counts().rows(),
            wires: key.counts().wires(),
            public_inputs: key.counts().public_wires() - 1,
            bytes,
            seconds: started.elapsed().as_secs_f64(),
            forgeable: key.is_forgeable(),
            out,
        };
        console.report(&report, |report| {
            let text = format!(
                "{}: {} constraints, {} wires, {} public inputs, {} bytes, in {:.1} s",
                report.out.display(),
                report.constraints,
                report.wires,
                report.public_inputs,
                report.bytes,
                report.seconds
            );
            text + warning(report.forgeable)
        })
    }
}
