//! `taproof upgrade add` and `make`: programs that come into force later.

use super::super::{
    Global,
    data_dir::DataDir,
    failure::{Exit, Failure, Fallible, Result},
    path_text,
    session::{Session, read_program, store_failure},
    setup::{CircuitOptions, Sizes, make_keys},
    values::digits,
};
use clap::Args;
use serde::Serialize;
use std::{fs, path::PathBuf};
use taproof_base::{
    output_file::{Access, write_file},
    shown::shown,
};
use taproof_kernel::setup::{Randomness, SetupOptions};
use taproof_verifier::program::Program;

/// Makes a program known here, so that the rollup can be followed once it is in force.
#[derive(Debug, Args)]
pub(super) struct Add {
    /// The program, as `program.bin` of whoever announced it.
    program: PathBuf,
}

#[derive(Serialize)]
struct Report {
    program_id: String,
    #[serde(serialize_with = "path_text::serialize")]
    file: PathBuf,
    circuits: Vec<String>,
    /// The folder of its keys, where they are here.
    #[serde(serialize_with = "path_text::serialize")]
    keys: Option<PathBuf>,
}

impl Report {
    fn new(program: &Program, file: PathBuf, keys: Option<PathBuf>) -> Self {
        let circuits = program.circuits().map(|(circuit, _)| circuit.to_string()).collect();
        Self { program_id: program.id().to_string(), file, circuits, keys }
    }

    fn print(&self, global: &Global) -> Result {
        global.console().report(self, |report| {
            let keys =
                report.keys.as_ref().map(|keys| format!("\nkeys     {}", shown(keys.display()))).unwrap_or_default();
            format!(
                "program  {}\ncircuits {}\nfile     {}{keys}",
                report.program_id,
                report.circuits.join(", "),
                shown(report.file.display())
            )
        })
    }
}

impl Add {
    pub(super) fn run(self, global: &Global) -> Result {
        let session = Session::open(global)?;
        let program = read_program(&self.program)?;
        let file = keep(&session.dir, &program)?;
        Report::new(&program, file, None).print(global)
    }
}

/// Writes a program to the folder of those that come into force later.
pub(in crate::cli) fn keep(dir: &DataDir, program: &Program) -> Result<PathBuf> {
    let file = dir.later_program(program.id());
    DataDir::create_parent(&file)?;
    write_file(&file, Access::Public, |out| out.write_all(&program.to_bytes()))?;
    Ok(file)
}

/// The program of the greatest height that is known, as far as the chain was followed here.
fn newest_program(session: &Session) -> Result<&Program> {
    let Some(checkpoint) = session.chain_store().checkpoint().map_err(store_failure)? else {
        return Ok(session.first_program());
    };
    let schedule = checkpoint.schedule();
    let announced = [u32::MAX, checkpoint.block().height].map(|height| schedule.program_at(height).1);
    let known = announced.into_iter().find_map(|program| session.programs.get(program));
    Ok(known.unwrap_or_else(|| session.first_program()))
}

/// Makes development keys of another program, beside those that are here.
///
/// Depths and slots that are not given are those of the newest program that is known here: one that is announced, or
/// else that in force.
#[derive(Debug, Args)]
#[command(after_help = "\
The keys are made by this machine alone: whoever controls it can forge proofs. So they are refused outside test \
networks, unless --allow-outside-test-networks is given.")]
pub(super) struct Make {
    #[command(flatten)]
    circuits: CircuitOptions,
    /// Makes the keys from this seed, 64 hexadecimal digits, instead of the system's randomness: for tests.
    #[arg(long, value_parser = digits::<32>, value_name = "HEX")]
    seed: Option<[u8; 32]>,
    /// Makes keys outside test networks, too, although whoever makes them could forge proofs.
    #[arg(long)]
    allow_outside_test_networks: bool,
}

impl Make {
    pub(super) fn run(self, global: &Global) -> Result {
        let session = Session::open(global)?;
        let options = SetupOptions {
            network: session.params.network,
            allow_outside_test_networks: self.allow_outside_test_networks,
            randomness: self.seed.map_or(Randomness::Os, Randomness::Seed),
        };
        let circuits =
            self.circuits.after(global.machines(), &Sizes::of(newest_program(&session)?))?.circuits(global.machines());
        // The program's id is known when its keys are; one that was interrupted goes on with those that are there.
        let unfinished = session.dir.keys().join("unfinished");
        let program = make_keys(global, &unfinished, &circuits, &options)?.program(global.machines())?;
        let keys = session.dir.later_keys(program.id());
        if program.id() == session.params.program_id || keys.exists() {
            let message = format!("the keys of program {} are there already", program.id());
            return Err(Failure::new(Exit::Input, message).advise("take another --seed, or other sizes"));
        }
        fs::rename(&unfinished, &keys).or_exit_while(Exit::Failed, format!("cannot move to {}", keys.display()))?;
        let file = keep(&session.dir, &program)?;
        Report::new(&program, file, Some(keys)).print(global)
    }
}
