//! `taproof join`.

use super::{
    Global,
    console::counted,
    data_dir::expect_none,
    failure::{Exit, Failure, Result},
    form::Misplaced,
    in_line::{APART, bring_up},
    input::read_artefact,
    light::CheckpointReport,
    rebuild::{expect_root, rebuild_failure},
    session::{
        NodeOptions, OtherProgramError, Session, Source, ledger_failure, not_followed, read_params, read_program,
    },
    upgrade::keep,
};
use bitcoin::Network;
use clap::Args;
use serde::Serialize;
use std::{fmt, fs, path::PathBuf};
use taproof_base::{
    network_name::network_name,
    output_file::{Access, write_file},
};
use taproof_bitcoin::{
    chain_store::{Origin, StoredFollower},
    follow::FollowError,
    light::CheckpointFile,
};
use taproof_kernel::{key_file::Key, key_ring::key_path};
use taproof_rollup::{
    ledger::{Ledger, LedgerError},
    rebuild::{self, Restoration},
};
use taproof_verifier::{cell::ChainId, follow::Follower, headers::BlockId};

/// Makes the data directory of a rollup that exists, from its parameters, its program and the chain.
#[derive(Debug, Args)]
#[command(after_help = "\
Parameters and program are params.json and program.bin of anybody who follows the rollup; they say which rollup it is, \
so take them from somebody you trust, or compare them. All else comes from blocks: the ledger, so that batches can be \
made here, and the tip.

With --checkpoint, only the blocks after the checkpoint are read. Its root has no cells with it, so there is no \
ledger: wallets, signers and followers need none, and `taproof rebuild` makes one when all blocks are to be had.

The proving keys are not in the chain. Who wants to prove batches copies the folder keys/ from the rollup's founder, \
before or after; each key is compared with the program. Those of a later program are in a folder of keys/ that has its \
id as its name. `taproof setup` would make others, whose proofs nobody accepts.

Examples:
  taproof join params.json program.bin \\
    --node http://127.0.0.1:38332 --cookie .cookie
  taproof join params.json program.bin \\
    --esplora https://blockstream.info/signet/api
  taproof join params.json program.bin --checkpoint final.checkpoint \\
    --node http://127.0.0.1:38332 --cookie .cookie")]
pub(crate) struct Join {
    /// The rollup's params.json.
    params: PathBuf,
    /// The rollup's program.bin.
    program: PathBuf,
    /// Programs that came into force later, or will.
    #[arg(value_name = "PROGRAM")]
    later: Vec<PathBuf>,
    /// Begins at this checkpoint, which `taproof follow --export-checkpoint` wrote. It is believed, so it must come
    /// from somebody you trust; two of one block have the same digest.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    #[command(flatten)]
    node: NodeOptions,
}

/// Whether this machine can prove batches.
#[derive(Serialize)]
struct KeysReport {
    /// The circuits whose keys are here and are the program's.
    present: Vec<String>,
    /// The circuits whose keys are missing.
    missing: Vec<String>,
    /// The circuits whose files hold something else, each with the fault.
    unusable: Vec<String>,
}

#[derive(Serialize)]
struct Report {
    chain_id: ChainId,
    network: Network,
    program_id: String,
    block: BlockId,
    batches: u64,
    root_verified: String,
    /// The number of the next batch; none without a ledger.
    next_batch: Option<u64>,
    checkpoint: Option<CheckpointReport>,
    keys: KeysReport,
}

/// Where the two files come from.
const FILES: &str = "\
    name params.json and program.bin, in this order, of somebody who follows the rollup: they are in the data \
    directory \
    there";

/// Which program comes first.
const FIRST_PROGRAM: &str = "\
    name params.json and program.bin of one data directory; programs that came into force later come behind the first: \
    taproof join PARAMS PROGRAM LATER-PROGRAM...";

/// What to do about a program that came into force later.
const LATER_PROGRAM: &str = "\
    the upgrade keys announced it: get its file, which is in programs/ of the data directory of anybody who follows \
    the rollup, judge it, and join again with it: taproof join PARAMS PROGRAM LATER-PROGRAM...";

impl Join {
    pub(crate) fn run(self, global: &Global) -> Result {
        let dir = global.data_dir();
        let mut session = Session::read(dir, &self.params, &self.program, global).map_err(|failure| {
            if failure.cause::<OtherProgramError>().is_some() {
                return failure.advise(FIRST_PROGRAM);
            }
            let is_misplaced = failure.cause::<Misplaced>().is_some();
            if failure.is_missing() || is_misplaced { failure.advise(FILES) } else { failure }
        })?;
        let later = self.later.iter().map(|path| read_program(path)).collect::<Result<Vec<_>>>()?;
        later.iter().for_each(|program| session.programs.insert(program.clone()));
        expect_unfinished(&session)?;
        if self.checkpoint.is_some() {
            expect_none(&[session.dir.ledger()])?;
        }
        if self.node.is_embedded()? && !session.dir.chain().exists() {
            let failure = Failure::new(Exit::Input, format!("there is no chain at {}", session.dir.chain().display()));
            return Err(failure.advise("name --node or --esplora, or copy the regtest.chain of the rollup there"));
        }
        let checkpoint = self.checkpoint.as_deref().map(read_artefact::<CheckpointFile>).transpose()?;
        let source = session.source(&self.node)?;
        session.dir.create()?;
        let spinner = global.console().spinner("following the chain");
        let told = checkpoint.as_ref().map(CheckpointReport::new);
        let followed = match checkpoint {
            Some(checkpoint) => follow_from(&session, &source, checkpoint).map(|follower| (follower, None)),
            None => {
                follow_all(&session, &source, global).map(|(follower, ledger)| (follower, Some(ledger.next_batch())))
            }
        };
        let (follower, next_batch) = followed.map_err(|failure| match failure.cause() {
            Some(FollowError::UnknownProgram(_)) => failure.advise(LATER_PROGRAM),
            _ => failure,
        })?;
        // What an interrupted run has left is gone on with; these come last: where both are, the rest is.
        later.iter().try_for_each(|program| keep(&session.dir, program).map(drop))?;
        let bytes = session.first_program().to_bytes();
        write_file(&session.dir.program(), Access::Public, |file| file.write_all(&bytes))?;
        let text = serde_json::to_string_pretty(&session.params)?;
        write_file(&session.dir.params(), Access::Public, |file| writeln!(file, "{text}"))?;
        spinner.finish_and_clear();
        let report = Report {
            chain_id: session.params.chain_id(),
            network: session.params.network,
            program_id: follower.program_at(follower.scanned().height)?.id().to_string(),
            block: follower.scanned(),
            batches: follower.tip().batches,
            root_verified: super::element_text(&follower.tip().root),
            next_batch,
            checkpoint: told,
            keys: KeysReport::new(&session, &follower)?,
        };
        global.console().report(&report, ToString::to_string)
    }
}

/// Fails if a rollup is there already. One of the two files may be, as after a run that was interrupted, or where the
/// other is lost: then it must be the same.
fn expect_unfinished(session: &Session) -> Result {
    let (params, program) = (session.dir.params(), session.dir.program());
    if params.exists() && program.exists() {
        return expect_none(&[params]);
    }
    if params.exists() && read_params(&params)? != session.params {
        return expect_none(&[params]);
    }
    if program.exists() && fs::read(&program)? != session.first_program().to_bytes() {
        return expect_none(&[program]);
    }
    Ok(())
}

/// Follows from the rollup's start and makes the ledger. One that is there is brought up to the chain.
fn follow_all(session: &Session, source: &Source, global: &Global) -> Result<(Follower, Ledger)> {
    if session.dir.ledger().exists() {
        let brought = bring_up(session, source).map_err(|failure| match failure.cause() {
            Some(error @ LedgerError::Store(file)) if file.is_unfit() => {
                let failure = Failure::new(Exit::Input, error);
                failure.advise("move it away, and join once more: the ledger is made anew from the chain")
            }
            _ => failure,
        });
        return match brought? {
            Some((ledger, follower)) => Ok((follower, ledger)),
            None => {
                global.console().warn(APART);
                Ok((session.follow(source, |_| ())?, session.ledger()?))
            }
        };
    }
    let mut stored = session.stored_follower(source)?;
    let restoration = if *stored.origin() == Origin::Start {
        let mut restoration = Restoration::new(&session.params).with_machines(session.machines.clone());
        let followed = stored.catch_up(source.chain(), |follower, event| {
            restoration.apply(event)?;
            restoration.settle(follower.headers().final_block().height)
        });
        followed.map_err(rebuild_failure)?;
        restoration
    } else {
        // What the store has is not told again, and the ledger needs all of it.
        stored.catch_up(source.chain(), |_, _| Ok::<(), FollowError>(())).map_err(not_followed)?;
        let (params, programs) = (session.params.clone(), session.programs.clone());
        let (_, restoration) =
            rebuild::restore(source.chain(), params, programs, &session.machines, |_| ()).map_err(rebuild_failure)?;
        restoration
    };
    let ledger = Ledger::restore(&session.dir.ledger(), restoration, &[]).map_err(ledger_failure)?;
    expect_root(ledger.state(), stored.follower())?;
    Ok((stored.into_follower(), ledger))
}

/// Follows from a checkpoint, which the store keeps.
fn follow_from(session: &Session, source: &Source, checkpoint: CheckpointFile) -> Result<Follower> {
    let (params, programs) = (session.params.clone(), session.programs.clone());
    let stored = StoredFollower::open_at(session.chain_store(), source.chain(), params, programs, checkpoint.0);
    let mut stored = stored.map_err(not_followed)?;
    stored.catch_up(source.chain(), |_, _| Ok::<(), FollowError>(())).map_err(not_followed)?;
    Ok(stored.into_follower())
}

impl KeysReport {
    /// Looks in the data directory for the keys of the program that the next batch is proven for.
    fn new(session: &Session, follower: &Follower) -> Result<Self> {
        let program = follower.program_at(follower.scanned().height)?;
        let folder = session.keys_of(program.id());
        let mut report = Self { present: Vec::new(), missing: Vec::new(), unusable: Vec::new() };
        for (circuit, known) in program.circuits() {
            let path = key_path(&folder, circuit);
            match Key::open(&path, circuit) {
                _ if !path.exists() => report.missing.push(circuit.to_string()),
                Ok(key) if known.key() == key.verifying_key() => report.present.push(circuit.to_string()),
                Ok(_) => report.unusable.push(format!("{circuit}: it is not the program's key")),
                Err(error) => report.unusable.push(format!("{circuit}: {error}")),
            }
        }
        Ok(report)
    }
}

impl fmt::Display for KeysReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.present.len() + self.missing.len() + self.unusable.len();
        if self.present.len() == count {
            return write!(f, "keys           all {count}, so batches can be proven here");
        }
        write!(f, "keys           {} of {count}", self.present.len())?;
        self.unusable.iter().try_for_each(|fault| write!(f, "\nunusable key   {fault}"))?;
        write!(f, "\n               to prove batches, copy keys/ from the rollup's founder; all else works without")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "rollup         {} on {}", self.chain_id, network_name(self.network))?;
        writeln!(f, "program        {}", self.program_id)?;
        writeln!(f, "tip            {}", self.block)?;
        writeln!(f, "root verified  {} after {}", self.root_verified, counted(self.batches, "batch"))?;
        match (&self.checkpoint, self.next_batch) {
            (Some(checkpoint), _) => {
                writeln!(f, "believed       checkpoint {checkpoint}")?;
                writeln!(
                    f,
                    "ledger         none: a checkpoint has no cells; `taproof rebuild` makes one from all blocks"
                )?;
            }
            (None, Some(next_batch)) => writeln!(f, "ledger         made; batch {next_batch} is next")?,
            (None, None) => {}
        }
        write!(f, "{}", self.keys)
    }
}
