//! `taproof verify --vkey` and `taproof export --vkey`: proofs and keys of other people's circuits.

use super::{
    Global,
    console::counted,
    failure::{Exit, Failure, Fallible, Result},
    foreign::warning,
    form::Form,
    input::{Input, called, expect_stdin_once},
    output::{Output, Replaces, make_folder, names_folder, open_output, write_json},
    path_text,
};
use clap::Args;
use serde::Serialize;
use std::{
    path::{Path, PathBuf},
    time::Instant,
};
use taproof_base::{output_file::Access, shown::shown};
use taproof_circuits::iden3::json::{ProofJson, PublicJson, VerifyingKeyJson, VerifyingKeyPoints};
use taproof_kernel::foreign_key::{ForeignVerifyError, ForeignVerifyingKey, Weakness};
use taproof_verifier::groth16::Proof;

/// A proof of a circuit that is not Taproof's.
#[derive(Debug, Args)]
pub(crate) struct ForeignVerifyArgs {
    /// The verifying key, as `snarkjs zkey export verificationkey` and `taproof export --vkey` write it.
    #[arg(long, value_name = "FILE", requires_all = ["proof", "public"], help_heading = HEADING)]
    vkey: Option<PathBuf>,
    /// The proof, as taproof, snarkjs and rapidsnark write it.
    #[arg(long, value_name = "FILE", requires_all = ["vkey", "public"], help_heading = HEADING)]
    proof: Option<PathBuf>,
    /// The public inputs.
    #[arg(long, value_name = "FILE", requires_all = ["vkey", "proof"], help_heading = HEADING)]
    public: Option<PathBuf>,
}

const HEADING: &str = "Other people's circuits";

#[derive(Serialize)]
struct VerifyReport {
    public_inputs: usize,
    forgeable: bool,
    milliseconds: f64,
}

impl ForeignVerifyArgs {
    pub(crate) fn run(self, global: &Global) -> Result {
        let (Some(vkey), Some(proof_path), Some(public_path)) = (self.vkey, self.proof, self.public) else {
            return Err(Failure::new(Exit::Usage, "nothing to verify").advise("name a file of proofs"));
        };
        expect_stdin_once([vkey.as_path(), &proof_path, &public_path])?;
        let key: VerifyingKeyJson = Input::open(&vkey)?.json(Form::VerifyingKey)?;
        let proof: ProofJson = Input::open(&proof_path)?.json(Form::Proof)?;
        let public: PublicJson = Input::open(&public_path)?.json(Form::Public)?;
        let key = VerifyingKeyPoints::try_from(&key).or_exit_while(Exit::Input, called(&vkey))?;
        let key = ForeignVerifyingKey::new(&key).or_exit_while(Exit::Input, called(&vkey))?;
        let proof = Proof::try_from(&proof).or_exit_while(Exit::Input, called(&proof_path))?;
        let public = public.into_inputs();
        let started = Instant::now();
        key.verify(&public, &proof).map_err(|error| match error {
            ForeignVerifyError::InputCount { .. } => {
                Failure::of(Exit::Input, error).advise("take the key and the public inputs of the same circuit")
            }
            _ => Failure::of(Exit::Refuted, error),
        })?;
        let report = VerifyReport {
            public_inputs: public.len(),
            forgeable: key.is_forgeable(),
            milliseconds: started.elapsed().as_secs_f64() * 1_000.0,
        };
        global.console().report(&report, |report| {
            let inputs = counted(report.public_inputs, "public input");
            let holds = format!("the proof holds for {inputs} ({:.1} ms)", report.milliseconds);
            if report.forgeable { format!("{holds}\nwarning: {}", Weakness::NoContribution) } else { holds }
        })
    }
}

#[derive(Serialize)]
struct ExportReport {
    public_inputs: usize,
    /// Whether anyone can forge proofs for the key, as the key that it is taken from shows: the verifying key need not.
    forgeable: bool,
    #[serde(serialize_with = "path_text::serialize")]
    out: PathBuf,
}

/// Writes the verifying key of a .zkey or of a key that was made ready, one of Taproof's own included.
pub(super) fn export_verifying_key(key: &Path, out: Option<PathBuf>, global: &Global) -> Result {
    const NAME: &str = "verification_key.json";
    let out = match out {
        None => NAME.into(),
        Some(folder) if folder.is_dir() || names_folder(&folder) => {
            make_folder(&folder)?;
            folder.join(NAME)
        }
        Some(file) => file,
    };
    let (format, replaces) = ("verifying key (json)", Replaces::OwnFormat);
    let output = Output { path: &out, access: Access::Public, format, replaces };
    let output = open_output(&global.data_dir(), output, &[key])?;
    let console = global.console().beside([&output])?;
    let spinner = console.spinner("reading the key");
    let (verifying, weakness) = Input::open(key)?.verifying_key()?;
    spinner.finish_and_clear();
    write_json(output, &VerifyingKeyJson::from(&verifying))?;
    let (public_inputs, forgeable) = (verifying.ic.len().saturating_sub(1), weakness.is_some());
    console.report(&ExportReport { public_inputs, forgeable, out }, |report| {
        let inputs = counted(report.public_inputs, "public input");
        format!("verifying key for {inputs} in {}{}", shown(report.out.display()), warning(weakness))
    })
}
