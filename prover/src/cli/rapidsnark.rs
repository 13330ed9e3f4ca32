//! rapidsnark's own command line: four paths, nothing said if all goes well, exit code 1 if anything does not.

use super::{
    Global,
    console::Console,
    data_dir::DataDir,
    environment,
    failure::{Exit, Failure, Fallible, Result},
    foreign::Written,
    form::{Form, Misplaced},
    input::{Input, expect_stdin_once},
    output::{Output, Replaces, open_outputs},
};
use ark_bn254::Fr;
use clap::Args;
use std::{
    ffi::OsString,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};
use taproof_base::{output_file::Access, progress::Silent};
use taproof_circuits::iden3::{
    json::{ProofJson, PublicJson},
    read_wtns,
};
use taproof_kernel::{
    foreign_key::ForeignKey,
    prove::{Blinding, prove_foreign},
};
use zeroize::Zeroizing;

/// Proves a witness of any circom circuit, with the arguments, the files and the silence of rapidsnark's `prover`.
///
/// The same happens, without the word, where the program is called by the name `prover` or `rapidsnark`: a link of that
/// name takes rapidsnark's place in scripts. Unlike rapidsnark it verifies the proof before it writes it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taproof rapidsnark circuit.zkey witness.wtns proof.json public.json
  ln -s $(command -v taproof) ~/bin/prover
  prover circuit.zkey witness.wtns proof.json public.json

Exit codes are rapidsnark's: 0 for a proof, 1 for anything else. With --json there is a report: the files of the \
proof. RAYON_NUM_THREADS sets the number of threads.")]
pub(crate) struct Rapidsnark {
    /// The key: a .zkey, or what `taproof import-zkey` has made of it, which is opened at once.
    key: PathBuf,
    /// The witness.
    witness: PathBuf,
    /// Where to write the proof.
    proof: PathBuf,
    /// Where to write the public inputs.
    public: PathBuf,
}

impl Rapidsnark {
    /// Proves.
    pub(crate) fn run(self, global: &Global) -> Result {
        self.prove(&global.data_dir(), global.json.then(|| global.console()))
    }

    /// Proves, and tells a failure as rapidsnark does.
    fn main(self) -> ExitCode {
        let environment = environment::check().and_then(|()| environment::force_backend());
        let environment = environment.map_err(|wrong| Failure::new(Exit::Failed, wrong));
        match environment.and_then(|()| self.prove(&DataDir::of_environment(), None)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                // Nobody is left to tell if standard error is gone.
                let _ = writeln!(io::stderr().lock(), "Error: {}", failure.message());
                ExitCode::FAILURE
            }
        }
    }

    /// Proves, and reports where a console is given.
    fn prove(self, dir: &DataDir, console: Option<Console>) -> Result {
        let inputs = [self.key.as_path(), &self.witness];
        expect_stdin_once(inputs)?;
        let outputs = [(&self.proof, "proof (json)"), (&self.public, "public inputs (json)")];
        let (access, replaces) = (Access::Public, Replaces::Unknown);
        let outputs = outputs.map(|(path, format)| Output { path, access, format, replaces });
        let outputs = open_outputs(dir, &outputs, &inputs)?;
        let console = console.map(|console| console.beside(&outputs)).transpose()?;
        let mut outputs = outputs.into_iter();
        let (key, witness) = read(&self.key, &self.witness).map_err(|failure| {
            let is_swapped = failure.cause().is_some_and(Misplaced::is_of_prover);
            if is_swapped { failure.advise(ORDER) } else { failure }
        })?;
        let proven = prove_foreign(&key, &witness, &Blinding::fresh(), &Silent).or_exit(Exit::Refuted)?;
        let proof = serde_json::to_string(&ProofJson::from(proven.proof()).without_curve())?;
        let public = serde_json::to_string(&PublicJson::new(proven.public_inputs()))?;
        // Where one of the two cannot be written, the other is there all the same.
        let written = [(proof, &self.proof), (public, &self.public)].map(|(text, path)| {
            let output = outputs.next().expect("two files were opened");
            let written = output.write(|file| file.write_all(text.as_bytes()));
            written.or_exit_while(Exit::Failed, path.display().to_string())
        });
        written.into_iter().collect::<Result>()?;
        let Some(console) = console else { return Ok(()) };
        let proofs = [Written { witness: self.witness, proof: self.proof, public: self.public }];
        console.report(&serde_json::json!({ "proofs": proofs }), |report| report.to_string())
    }
}

/// The order of the arguments, for who has it wrong.
const ORDER: &str =
    "the arguments are the key, the witness, the proof to write and the public inputs to write, in this order";

fn read(key: &Path, witness: &Path) -> Result<(ForeignKey, Zeroizing<Vec<Fr>>)> {
    let key = Input::open(key)?.key()?;
    let mut witness = Input::open(witness)?;
    witness.expect(Form::Witness)?;
    Ok((key, witness.decode(|reader| read_wtns(reader))?))
}

/// Runs rapidsnark's command line if the program is called by the name of rapidsnark's program.
pub(crate) fn main_by_name(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let name = arguments.next()?;
    let name = Path::new(&name).file_stem()?.to_str()?;
    if name != "prover" && name != "rapidsnark" {
        return None;
    }
    let arguments: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    let Ok([key, witness, proof, public]) = <[PathBuf; 4]>::try_from(arguments) else {
        let usage = format!(
            "Invalid number of parameters\nUsage: {name} <circuit.zkey> <witness.wtns> <proof.json> <public.json>"
        );
        let _ = writeln!(io::stderr().lock(), "{usage}");
        return Some(ExitCode::FAILURE);
    };
    Some(Rapidsnark { key, witness, proof, public }.main())
}
