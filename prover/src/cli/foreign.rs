//! `taproof prove --zkey` and `taproof prove --key`: other people's circuits. `taproof import-zkey`: their keys, made
//! ready once.

use super::{
    Global,
    console::{Bar, counted},
    data_dir::DataDir,
    failure::{Exit, Failure, Result},
    form::Form,
    input::{Input, JSON_LENGTH_MAX, called, expect_stdin_once, is_stdin},
    output::{Output, Replaces, open_output, open_outputs, write_json},
    path_text,
};
use ark_bn254::Fr;
use clap::{ArgGroup, Args};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fmt,
    fs::{self, File},
    io::{BufReader, Read},
    path::{Path, PathBuf},
    time::Instant,
};
use taproof_base::{
    output_file::{Access, OutputFile},
    progress::Progress,
    shown::{one_line, shown},
};
use taproof_circuits::iden3::{
    R1csError, check_r1cs,
    json::{ProofJson, PublicJson},
    read_wtns,
};
use taproof_kernel::{
    foreign_key::{ForeignKey, ForeignVerifyingKey, Weakness},
    key_file,
    prove::{Blinding, ForeignProof, ForeignProveError, prove_foreign},
};
use taproof_verifier::groth16::Proof;

/// What to prove for a circuit that is not Taproof's.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("foreign_key").args(["zkey", "key"]).requires("witness")))]
pub(crate) struct ForeignArgs {
    /// The key of any circom circuit over BN254 (bn128), as `snarkjs groth16 setup` and `snarkjs zkey contribute`
    /// make it. A path that is `-` is standard input.
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    zkey: Option<PathBuf>,
    /// The same key as `taproof import-zkey` has made it ready, which is opened without being read first. It is used
    /// in place: put a newer one there by renaming it (mv), never by copying over it (cp), which ends whoever uses the
    /// old one.
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    key: Option<PathBuf>,
    /// The witness, as the circuit's witness calculator writes it; or several, for each of which there is a proof. Of
    /// several, those whose proofs are there already and hold are not proven again, so that a run that was
    /// interrupted goes on.
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "foreign_key", help_heading = HEADING)]
    witness: Vec<PathBuf>,
    /// The circuit. Each witness is checked against it beforehand, and the first constraint that fails is named.
    #[arg(long, value_name = "FILE", requires = "foreign_key", help_heading = HEADING)]
    r1cs: Option<PathBuf>,
    /// Where to write the proof, `-` for standard output: proof.json if not given. For several witnesses as many, or
    /// each beside its witness as NAME.proof.json.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "batch", help_heading = HEADING)]
    proof: Vec<PathBuf>,
    /// Where to write the public inputs, the circuit's outputs among them: public.json, or NAME.public.json, if not
    /// given.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "batch", help_heading = HEADING)]
    public: Vec<PathBuf>,
}

const HEADING: &str = "Other people's circuits";

#[derive(Serialize)]
struct ProveReport {
    matrix_hash: String,
    constraints: usize,
    public_inputs: usize,
    /// Reading the key, or opening it where it was made ready before.
    seconds_key: f64,
    /// From the witnesses in memory to the verified proofs.
    seconds: f64,
    forgeable: bool,
    /// The witnesses that are proven, and where their proofs are.
    proofs: Vec<Written>,
    /// How many of several proofs were there already.
    kept: usize,
    /// The witnesses that are not proven, and why.
    failed: Vec<Unproven>,
}

/// A witness that is not proven.
#[derive(Serialize)]
struct Unproven {
    #[serde(serialize_with = "path_text::serialize")]
    witness: PathBuf,
    error: String,
    advice: Option<String>,
    exit_code: u8,
    /// Files under the names of the proof and its public inputs that this run has not written: those of an earlier one.
    #[serde(serialize_with = "path_text::serialize")]
    older: Vec<PathBuf>,
}

#[derive(Clone, Serialize)]
pub(super) struct Written {
    #[serde(serialize_with = "path_text::serialize")]
    pub(super) witness: PathBuf,
    #[serde(serialize_with = "path_text::serialize")]
    pub(super) proof: PathBuf,
    #[serde(serialize_with = "path_text::serialize")]
    pub(super) public: PathBuf,
}

/// A witness and the files that come of it.
struct Task {
    written: Written,
    proof: OutputFile,
    public: OutputFile,
}

impl ForeignArgs {
    pub(crate) fn run(self, global: &Global) -> Result {
        let tasks = self.tasks(&global.data_dir())?;
        let console = global.console().beside(tasks.iter().flat_map(|task| [&task.proof, &task.public]))?;
        let started = Instant::now();
        let spinner = console.spinner("reading the key");
        let key = match (&self.zkey, &self.key) {
            (Some(path), _) => ForeignKey::new(Input::open(path)?.zkey()?)?,
            (None, Some(path)) => Input::open(path)?.ready_key()?,
            (None, None) => return Err(Failure::new(Exit::Usage, "nothing to prove").advise("name a batch or a key")),
        };
        let seconds_key = started.elapsed().as_secs_f64();
        spinner.finish_and_clear();

        let mut circuit = self.r1cs.as_deref().map(Input::open).transpose()?;
        circuit.as_mut().map_or(Ok(()), |circuit| circuit.expect(Form::Circuit))?;
        let (bar, count) = (Bar::new(console, "proving"), tasks.len());
        let (mut proofs, mut failed, mut failures, mut seconds, mut kept) = (vec![], vec![], vec![], 0.0, 0);
        // One proof is made whatever there is: who asks for it wants it.
        let verifying = (count > 1).then(|| ForeignVerifyingKey::new(&key.verifying_key()).ok()).flatten();
        for task in tasks {
            let files = task.written.clone();
            match prove(&key, verifying.as_ref(), circuit.as_mut(), task, &bar) {
                Ok(took) => {
                    kept += usize::from(took.is_none());
                    seconds += took.unwrap_or_default();
                    proofs.push(files);
                }
                Err((failure, unwritten)) => {
                    failed.push(Unproven::new(files.witness, &failure, unwritten));
                    failures.push(failure);
                }
            }
        }
        bar.end();
        if kept > 0 {
            console.note(format!("{kept} of {count} proofs were there already and hold"));
        }
        let weakness = key.weakness();
        let report = ProveReport {
            matrix_hash: hex::encode(key.matrix_hash()),
            constraints: key.counts().rows(),
            public_inputs: key.counts().public_wires() - 1,
            seconds_key,
            seconds,
            forgeable: weakness.is_some(),
            proofs,
            kept,
            failed,
        };
        let told = match &report.failed[..] {
            // The error says all there is to say of a witness that is the only one.
            [unproven] if count == 1 && !global.json => {
                unproven.older_words().into_iter().for_each(|words| console.warn(words));
                Ok(())
            }
            _ => console.report(&report, |report| format!("{report}{}", warning(weakness))),
        };
        // A report that nobody took is the lesser failure.
        expect_all_proven(failures, count).and(told)
    }

    /// Opens the files that will be written, before anything is read.
    fn tasks(&self, dir: &DataDir) -> Result<Vec<Task>> {
        let count = self.witness.len();
        let proofs = self.outputs(&self.proof, "proof")?;
        let publics = self.outputs(&self.public, "public")?;
        let (access, replaces) = (Access::Public, Replaces::Unknown);
        let output = |path, format| Output { path, access, format, replaces };
        let outputs = proofs.iter().zip(&publics);
        let outputs =
            outputs.flat_map(|(proof, public)| [output(proof, "proof (json)"), output(public, "public inputs (json)")]);
        let outputs: Vec<Output<'_>> = outputs.collect();
        let inputs = [&self.zkey, &self.key, &self.r1cs].into_iter().flatten().chain(&self.witness);
        let inputs: Vec<&Path> = inputs.map(PathBuf::as_path).collect();
        expect_stdin_once(inputs.iter().copied())?;
        let mut opened = open_outputs(dir, &outputs, &inputs)?.into_iter();
        let mut tasks = Vec::with_capacity(count);
        for ((witness, proof_path), public_path) in self.witness.iter().zip(&proofs).zip(&publics) {
            let (Some(proof), Some(public)) = (opened.next(), opened.next()) else { break };
            let written = Written { witness: witness.clone(), proof: proof_path.clone(), public: public_path.clone() };
            tasks.push(Task { written, proof, public });
        }
        Ok(tasks)
    }

    /// The names of one kind of output, one for each witness.
    fn outputs(&self, given: &[PathBuf], kind: &str) -> Result<Vec<PathBuf>> {
        let count = self.witness.len();
        if given.is_empty() && count == 1 {
            return Ok(vec![format!("{kind}.json").into()]);
        }
        if given.is_empty() {
            return self.witness.iter().map(|witness| beside(witness, kind)).collect();
        }
        if given.len() != count {
            let message = format!("{count} witnesses and {} names with --{kind}", given.len());
            return Err(Failure::new(Exit::Input, message).advise("name one file for each witness, or none"));
        }
        Ok(given.to_vec())
    }
}

impl Unproven {
    fn new(witness: PathBuf, failure: &Failure, unwritten: Vec<PathBuf>) -> Self {
        let (error, advice, exit_code) = (failure.message(), failure.advice(), failure.exit() as u8);
        let holds = |path: &PathBuf| fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() > 0);
        Self { witness, error, advice, exit_code, older: unwritten.into_iter().filter(holds).collect() }
    }

    /// What is to be known of files that were there before.
    fn older_words(&self) -> Option<String> {
        let older: Vec<String> = self.older.iter().map(|path| shown(path.display())).collect();
        let stay = if older.len() == 1 { "is as it was before this run" } else { "are as they were before this run" };
        (!older.is_empty()).then(|| format!("{} {stay}", older.join(" and ")))
    }
}

impl fmt::Display for ProveReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let constraints = counted(self.constraints, "constraint");
        let times = format!("in {:.1} s, the key in {:.1} s", self.seconds, self.seconds_key);
        match (&self.proofs[..], &self.failed[..]) {
            ([Written { proof, public, .. }], []) => {
                write!(
                    f,
                    "proof of {constraints} {times}, in {} and {}",
                    shown(proof.display()),
                    shown(public.display())
                )
            }
            (proofs, []) => write!(f, "{} proofs of {constraints} each {times}", proofs.len()),
            (proofs, failed) => {
                let count = proofs.len() + failed.len();
                write!(f, "{} of {count} witnesses are proven, of {constraints} each {times}", proofs.len())?;
                for Written { witness, proof, public } in proofs {
                    let [witness, proof, public] = [witness, proof, public].map(|path| shown(path.display()));
                    write!(f, "\n{witness}: in {proof} and {public}")?;
                }
                for unproven in failed {
                    write!(f, "\n{}: not proven: {}", shown(unproven.witness.display()), one_line(&unproven.error))?;
                    unproven.older_words().map_or(Ok(()), |words| write!(f, "; {words}"))?;
                }
                Ok(())
            }
        }
    }
}

/// Proves one witness and writes what comes of it, unless it is there and holds for the verifying key. Gives the
/// seconds that the proof took, none if it was there already; or why there is none, with the files that are not
/// written.
fn prove(
    key: &ForeignKey,
    verifying: Option<&ForeignVerifyingKey>,
    circuit: Option<&mut Input>,
    task: Task,
    progress: &dyn Progress,
) -> std::result::Result<Option<f64>, (Failure, Vec<PathBuf>)> {
    let Task { written, proof, public } = task;
    let started = Instant::now();
    let proven = match make(key, verifying, circuit, &written, progress) {
        Ok(Some(proven)) => proven,
        Ok(None) => return Ok(None),
        Err(failure) => return Err((failure, vec![written.proof, written.public])),
    };
    let seconds = started.elapsed().as_secs_f64();
    // Where one of the two cannot be written, the other is there all the same.
    let results = [
        (write_json(proof, &ProofJson::from(proven.proof())), written.proof),
        (write_json(public, &PublicJson::new(proven.public_inputs())), written.public),
    ];
    let (mut failures, mut unwritten) = (Vec::new(), Vec::new());
    for (result, path) in results {
        if let Err(failure) = result {
            failures.push(failure);
            unwritten.push(path);
        }
    }
    failures.into_iter().next().map_or(Ok(Some(seconds)), |failure| Err((failure, unwritten)))
}

/// Makes the proof of a witness, unless it is there already and holds for the verifying key.
fn make(
    key: &ForeignKey,
    verifying: Option<&ForeignVerifyingKey>,
    circuit: Option<&mut Input>,
    files: &Written,
    progress: &dyn Progress,
) -> Result<Option<ForeignProof>> {
    let path = &files.witness;
    let mut witness = Input::open(path)?;
    witness.expect(Form::Witness)?;
    let witness = witness.decode(|reader| read_wtns(reader))?;
    let is_checked = circuit.is_some();
    if let Some(circuit) = circuit {
        let checked = circuit.decode(|reader| check_r1cs(reader, &witness));
        checked.map_err(|failure| r1cs_failure(failure, path))?;
    }
    let public_inputs = witness.get(1..key.counts().public_wires()).unwrap_or_default();
    if verifying.is_some_and(|verifying| is_proven(verifying, public_inputs, files)) {
        return Ok(None);
    }
    let proven = prove_foreign(key, &witness, &Blinding::fresh(), progress);
    proven.map(Some).map_err(|error| prove_failure(error, path, is_checked))
}

/// Whether the files of a witness are there, of these public inputs, and the proof holds.
fn is_proven(key: &ForeignVerifyingKey, public_inputs: &[Fr], files: &Written) -> bool {
    fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
        // Nothing else is opened: a pipe would wait for somebody.
        let file = path.is_file().then(|| File::open(path).ok())??;
        serde_json::from_reader(BufReader::new(file.take(JSON_LENGTH_MAX))).ok()
    }
    let proof = read::<ProofJson>(&files.proof).and_then(|json| Proof::try_from(&json).ok());
    let public = read::<PublicJson>(&files.public).map(PublicJson::into_inputs);
    public.as_deref() == Some(public_inputs) && proof.is_some_and(|proof| key.verify(public_inputs, &proof).is_ok())
}

/// `NAME.kind.json` in the folder of `NAME.wtns`. What comes through a pipe has no name to go by.
fn beside(witness: &Path, kind: &str) -> Result<PathBuf> {
    let is_pipe = fs::metadata(witness).is_ok_and(|found| !found.is_file());
    let Some(name) = witness.file_stem().filter(|_| !is_stdin(witness) && !is_pipe) else {
        let message = format!("{}, one of several witnesses, has no name for its proof to go by", called(witness));
        return Err(Failure::new(Exit::Input, message).advise("name all proofs with --proof and --public"));
    };
    let mut name = name.to_owned();
    name.push(format!(".{kind}.json"));
    Ok(witness.with_file_name(name))
}

/// Fails as the first witness did that is not proven; what was proven is written.
fn expect_all_proven(failures: Vec<Failure>, count: usize) -> Result {
    let failed = failures.len();
    let Some(first) = failures.into_iter().next() else { return Ok(()) };
    Err(if count == 1 {
        first
    } else {
        first.context(format!("{failed} of {count} witnesses are not proven, the first"))
    })
}

fn prove_failure(error: ForeignProveError, witness: &Path, is_checked: bool) -> Failure {
    let advice = match &error {
        ForeignProveError::Unsatisfied if is_checked => {
            "take the key that was made for the circuit: the witness satisfies it"
        }
        ForeignProveError::Unsatisfied => {
            "name the circuit with --r1cs to see which constraint fails; compute the witness anew with the circuit's \
             own \
             calculator, and take the key that was made for it"
        }
        ForeignProveError::Key(_) => "make the key anew with `taproof import-zkey`",
        _ => "take the witness and the key of the same circuit",
    };
    let exit = if matches!(error, ForeignProveError::Unsatisfied) { Exit::Refuted } else { Exit::Input };
    Failure::of(exit, error).context(called(witness)).advise(advice)
}

fn r1cs_failure(failure: Failure, witness: &Path) -> Failure {
    match failure.cause::<R1csError>() {
        Some(R1csError::Unsatisfied(_)) => failure
            .context(called(witness))
            .with_exit(Exit::Refuted)
            .advise("compute the witness anew with the circuit's own calculator"),
        Some(R1csError::OtherCircuit { .. }) => {
            failure.context(called(witness)).advise("take the witness and the circuit that belong together")
        }
        _ => failure,
    }
}

/// What a report adds for a key that proves nothing.
pub(super) fn warning(weakness: Option<Weakness>) -> String {
    weakness.map_or_else(String::new, |weakness| format!("\nwarning: {weakness}: see `snarkjs zkey contribute`"))
}

/// Makes the key of any circom circuit ready for proving, once: checks it and writes it as a file that is opened in
/// place.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  taproof import-zkey circuit.zkey --out circuit.key
  taproof prove --key circuit.key --witness witness.wtns")]
pub(crate) struct ImportZkey {
    /// The key, as snarkjs makes it: version 1, protocol groth16, over BN254 (bn128).
    zkey: PathBuf,
    /// The key file to write; beside the .zkey if not given.
    #[arg(long, value_name = "FILE", required_if_eq("zkey", "-"))]
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
    #[serde(serialize_with = "path_text::serialize")]
    out: PathBuf,
}

impl ImportZkey {
    pub(crate) fn run(self, global: &Global) -> Result {
        if self.out.is_none() && fs::metadata(&self.zkey).is_ok_and(|found| !found.is_file()) {
            let failure = Failure::new(Exit::Usage, format!("{} has no place beside it", self.zkey.display()));
            return Err(failure.advise("name the key file to write with --out FILE"));
        }
        let out = self.out.unwrap_or_else(|| self.zkey.with_extension("key"));
        let (format, replaces) = ("proving key", Replaces::Nothing);
        let output = Output { path: &out, access: Access::Public, format, replaces };
        let output = open_output(&global.data_dir(), output, &[&self.zkey])?;
        let console = global.console().beside([&output])?;
        let (started, spinner) = (Instant::now(), console.spinner("reading and checking the key"));
        let key = Input::open(&self.zkey)?.zkey()?;
        key_file::write_to(&key, output)?;
        spinner.finish_and_clear();
        let (bytes, key) = (key_file::length(&key), ForeignKey::new(key)?);
        let weakness = key.weakness();
        let report = ImportReport {
            matrix_hash: hex::encode(key.matrix_hash()),
            constraints: key.counts().rows(),
            wires: key.counts().wires(),
            public_inputs: key.counts().public_wires() - 1,
            bytes,
            seconds: started.elapsed().as_secs_f64(),
            forgeable: weakness.is_some(),
            out,
        };
        console.report(&report, |report| {
            let text = format!(
                "{}: {}, {}, {}, {} bytes, in {:.1} s",
                shown(report.out.display()),
                counted(report.constraints, "constraint"),
                counted(report.wires, "wire"),
                counted(report.public_inputs, "public input"),
                report.bytes,
                report.seconds
            );
            text + &warning(weakness)
        })
    }
}
