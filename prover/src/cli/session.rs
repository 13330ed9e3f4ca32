//! What most commands need: the rollup's parameters, its program, and where its chain is read.

pub(crate) use super::node_options::NodeOptions;
use super::{
    Global,
    console::Console,
    data_dir::DataDir,
    failure::{Exit, Failure, Fallible, Result},
    form::or_misplaced,
    input::{read_file, read_json},
};
use crate::overview::{ClaimRow, ExitRow, UpgradesRow};
use bitcoin::ScriptBuf;
use serde::de::IgnoredAny;
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::OnceLock,
};
use taproof_base::{
    io_fault::is_denied,
    output_file::{Access, OutputFile},
    store_error::StoreError,
};
use taproof_bitcoin::{
    anchoring::Hold,
    chain_store::{ChainStore, ChainStoreError, StoredFollower, View},
    follow::{self, FollowError},
    node::{ChainSource, EmbeddedNode, EsploraNode, HEIGHT_MAX, Node, RpcNode, SyncState},
};
use taproof_circuits::{state::ReplayError, step::Machines};
use taproof_rollup::{
    ledger::{Ledger, LedgerError},
    sequencer::SequencerError,
};
use taproof_verifier::{
    follow::{Event, Follower, Params, Tip},
    headers::HeaderError,
    program::{Program, ProgramError, ProgramId, Programs},
};
use tempfile::TempDir;

/// The longest program that is read: as many circuits as two bytes count, of some 300 bytes each.
const PROGRAM_LENGTH_MAX: u64 = 1 << 25;

/// A chain that is read and may be written: a node's, or the embedded one.
pub(crate) enum Source {
    /// The embedded regtest chain.
    Embedded(EmbeddedNode),
    /// A bitcoind.
    Rpc(RpcNode),
    /// An Esplora server, which is only read.
    Esplora(EsploraNode),
}

impl Source {
    /// The chain as commands read it.
    pub(crate) fn chain(&self) -> &dyn ChainSource {
        match self {
            Self::Embedded(node) => node,
            Self::Rpc(node) => node,
            Self::Esplora(node) => node,
        }
    }

    /// The chain as commands write it, with its pool and its coins.
    pub(crate) fn node(&self) -> Result<&dyn Node> {
        match self {
            Self::Embedded(node) => Ok(node),
            Self::Rpc(node) => Ok(node),
            Self::Esplora(_) => {
                let failure = Failure::new(Exit::Input, "an Esplora server's word on coins and fees cannot be checked");
                Err(failure.advise("name a bitcoind with --node URL"))
            }
        }
    }
}

impl Source {
    /// Makes sure that the source is not behind, before anything is paid, signed or made from what it says: what a
    /// node in its initial download does not know yet may be the end of the rollup, or somebody else's batch or
    /// payout.
    pub(crate) fn expect_current(&self) -> Result {
        let SyncState { initial_download, headers, blocks } = self.payer().sync_state()?;
        let hold = match (blocks < headers, initial_download) {
            (true, _) => Hold::NodeSyncing { blocks, headers },
            (false, true) => Hold::InitialDownload { blocks },
            (false, false) => return Ok(()),
        };
        let advice = hold.advice().unwrap_or("wait until the node has caught up");
        Err(Failure::new(Exit::Failed, hold).advise(advice))
    }

    /// The chain as those see it who pay from coins of their own, and whom a server's lie costs a transaction that
    /// nobody mines. Who signs or posts for others asks [`Source::node`].
    pub(crate) fn payer(&self) -> &dyn Node {
        match self {
            Self::Embedded(node) => node,
            Self::Rpc(node) => node,
            Self::Esplora(node) => node,
        }
    }
}

/// What to do about a reorganisation below a final block.
const UNDONE_ADVICE: &str = "see that other nodes say the same, and what docs/operating.md says; `taproof follow \
                             --acknowledge` ends this \
                             warning";

/// One rollup, as the data directory has it.
pub(crate) struct Session {
    pub(crate) dir: DataDir,
    pub(crate) params: Params,
    pub(crate) programs: Programs,
    /// The machines whose steps are known.
    pub(crate) machines: Machines,
    /// Where warnings go.
    pub(crate) console: Console,
    /// A folder for what is found in the chain where the data directory may not be written. It goes with the process.
    scratch: OnceLock<Option<TempDir>>,
    /// Whether a reorganisation below a final block was told.
    undone_told: OnceLock<()>,
}

impl Session {
    /// Reads the parameters and the program.
    pub(crate) fn open(global: &Global) -> Result<Self> {
        let dir = global.data_dir();
        let (params, program) = (dir.params(), dir.program());
        Self::read(dir, &params, &program, global)
    }

    /// Reads parameters and program from anywhere, for a data directory.
    pub(crate) fn read(dir: DataDir, params: &Path, program: &Path, global: &Global) -> Result<Self> {
        let (console, machines) = (global.console(), global.machines().clone());
        let params = read_params(params)?;
        let program = read_program(program).map_err(|failure| match failure.is_missing() {
            false => failure,
            true => failure.advise(
                "anybody who follows the rollup has it: `taproof join PARAMS PROGRAM` puts it back, and changes \
                 nothing else",
            ),
        })?;
        if program.id() != params.program_id {
            let error = OtherProgramError { found: program.id(), expected: params.program_id };
            return Err(Failure::of(Exit::Input, error).advise("restore program.bin from where params.json is from"));
        }
        let mut programs = read_later_programs(&dir, console)?;
        programs.insert(program);
        Ok(Self { dir, params, programs, machines, console, scratch: OnceLock::new(), undone_told: OnceLock::new() })
    }

    /// The program that the rollup began with.
    pub(crate) fn first_program(&self) -> &Program {
        self.programs.get(self.params.program_id).expect("it was read with the parameters")
    }

    /// The folder of a program's keys.
    pub(crate) fn keys_of(&self, program: ProgramId) -> PathBuf {
        if program == self.params.program_id { self.dir.keys() } else { self.dir.later_keys(program) }
    }

    /// Opens the chain without the wallet, for reading.
    pub(crate) fn source(&self, node: &NodeOptions) -> Result<Source> {
        node.open(&self.dir, self.params.network, ScriptBuf::new(), self.console)
    }

    /// The store of what a follower of whole blocks has found.
    pub(crate) fn chain_store(&self) -> ChainStore {
        self.store_at(self.dir.chain_store(), View::Full)
    }

    /// A store of what a follower finds. Where this process may not write it, it is a copy that goes with the
    /// process: so who may only read a data directory can follow all the same.
    pub(crate) fn store_at(&self, path: PathBuf, view: View) -> ChainStore {
        let store = |path| ChainStore::new(path, &self.params, view);
        let Some(denied) = OutputFile::open(&path, Access::Public).err().filter(is_denied) else { return store(path) };
        let scratch = self.scratch.get_or_init(|| {
            self.console.warn(format!(
                "{} may not be written ({denied}): what is read from the chain is read again the next time",
                path.display()
            ));
            tempfile::tempdir().ok()
        });
        let Some(scratch) = scratch else { return store(path) };
        let copy = scratch.path().join(path.file_name().unwrap_or_default());
        // Where it cannot be copied, whoever opens it says why.
        if !copy.exists() && store(path.clone()).copy_to(&copy).is_err() {
            return store(path);
        }
        store(copy)
    }

    /// Follows the chain to its tip, from where the store ends; events of the blocks since then go to `observe`.
    pub(crate) fn follow(&self, source: &Source, mut observe: impl FnMut(&Event)) -> Result<Follower> {
        let mut stored = self.stored_follower(source)?;
        let followed = stored.catch_up(source.chain(), |_, event| {
            observe(event);
            Ok::<(), FollowError>(())
        });
        followed.map_err(not_followed)?;
        self.warn_of_upgrades(stored.follower());
        Ok(stored.into_follower())
    }

    /// Follows the chain as far as the programs that are known here allow; where one is missing, the failure says
    /// which.
    pub(crate) fn follow_as_far_as_known(&self, source: &Source) -> Result<(Follower, Option<Failure>)> {
        let (stored, stopped) = self.stored_as_far_as_known(source)?;
        Ok((stored.into_follower(), stopped))
    }

    /// As [`Session::follow_as_far_as_known`], with what the store keeps.
    pub(crate) fn stored_as_far_as_known(&self, source: &Source) -> Result<(StoredFollower, Option<Failure>)> {
        let mut stored = self.stored_follower(source)?;
        match stored.catch_up(source.chain(), |_, _| Ok::<(), FollowError>(())) {
            Ok(()) => Ok((stored, None)),
            Err(error @ FollowError::UnknownProgram(_)) => Ok((stored, Some(not_followed(error)))),
            Err(error) => Err(not_followed(error)),
        }
    }

    /// Says on standard error which programs are announced and not known here, and which would end all batches, while
    /// there is time.
    fn warn_of_upgrades(&self, follower: &Follower) {
        let upgrades = UpgradesRow::new(follower);
        for (program, height) in upgrades.unknown() {
            self.console.warn(lacking_program(program, height));
        }
        for (height, reason) in upgrades.ends_of_batches() {
            self.console.warn(format!(
                "no batch can be made from height {height} on: {reason}; leave the rollup before, unless the upgrade \
                 keys take it back"
            ));
        }
    }

    /// Makes sure that the source is not behind and the rollup lives in its chain, before anything is paid into it:
    /// the chain is followed to its tip, of an Esplora server by headers alone. Gives what follows blocks.
    pub(crate) fn expect_alive(&self, source: &Source, global: &Global) -> Result<Option<Follower>> {
        source.expect_current()?;
        self.expect_not_behind(source)?;
        let spinner = global.console().spinner("following the chain");
        let followed = if let Source::Esplora(server) = source {
            let follower = follow::start(server, self.params.clone(), self.programs.clone());
            let mut follower = follower.map_err(not_followed)?;
            follow::sync_headers(server, &mut follower, |_| ()).map_err(not_followed)?;
            None
        } else {
            Some(self.follow(source, |_| ())?)
        };
        spinner.finish_and_clear();
        Ok(followed)
    }

    /// Makes sure that the source has come as far as what is stored as final, before the ledger is judged by it, or
    /// anything is signed or paid: one that is behind, or in the middle of a reorganisation, lacks what others have
    /// built on.
    pub(crate) fn expect_not_behind(&self, source: &Source) -> Result {
        let Some(stored) = self.chain_store().checkpoint().map_err(store_failure)? else { return Ok(()) };
        let (stored_height, tip_height) = (stored.block().height, source.chain().tip_height()?);
        if tip_height >= stored_height {
            return Ok(());
        }
        let failure = Failure::new(
            Exit::Failed,
            format!("the chain ends at height {tip_height}, below height {stored_height}, which was final here before"),
        );
        Err(failure.advise("wait until the node or the server has caught up, or name another"))
    }

    /// A follower that goes on from where the store ends. If it cannot, that is said on standard error.
    pub(crate) fn stored_follower(&self, source: &Source) -> Result<StoredFollower> {
        let (params, programs) = (self.params.clone(), self.programs.clone());
        let stored = StoredFollower::open(self.chain_store(), source.chain(), params, programs);
        let stored = stored.map_err(not_followed)?;
        self.warn_of(&stored)?;
        Ok(stored)
    }

    /// Says on standard error if a follower could not go on from its store, and what a reorganisation below a final
    /// block took back, until that is acknowledged.
    pub(crate) fn warn_of(&self, stored: &StoredFollower) -> Result {
        if stored.origin().is_fallback() {
            self.console.warn(stored.origin());
        }
        self.warn_of_undone(stored.store())
    }

    /// Says on standard error, once a process, what a reorganisation below a final block took back.
    pub(crate) fn warn_of_undone(&self, store: &ChainStore) -> Result {
        if let Some(undone) = store.undone().map_err(store_failure)? {
            self.undone_told.get_or_init(|| self.console.warn(format!("{undone}; {UNDONE_ADVICE}")));
        }
        Ok(())
    }

    /// Opens the ledger.
    pub(crate) fn ledger(&self) -> Result<Ledger> {
        let ledger = Ledger::open(&self.dir.ledger(), self.params.chain_id()).map_err(ledger_failure)?;
        Ok(ledger.with_machines(self.machines.clone()))
    }

    /// Says of requests which of them can be served, where the ledger is at hand and stands where the chain does.
    pub(crate) fn judge_requests(&self, exits: &mut [ExitRow], claims: &mut [ClaimRow], tip: &Tip) {
        if (exits.is_empty() && claims.is_empty()) || !self.dir.ledger().exists() {
            return;
        }
        // One that is in use, or behind, or ahead, has no say.
        if let Ok(ledger) = self.ledger()
            && ledger.next_batch() == tip.batches
            && ledger.state().root() == tip.root
        {
            ExitRow::judge(exits, ledger.state());
            ClaimRow::judge(claims, ledger.state());
        }
    }
}

/// Reads the file of a program.
pub(crate) fn read_program(path: &Path) -> Result<Program> {
    let decoded = |bytes: Vec<u8>| {
        Program::from_bytes(&bytes).map_err(|error| {
            let advice = match error {
                ProgramError::Version(_) | ProgramError::Protocol2 => "get one of this protocol's version",
                _ => "get it anew from who has it: it was cut off or changed on its way, or is none",
            };
            Failure::of(Exit::Input, error).context(path.display()).advise(advice)
        })
    };
    let read = read_file(path, PROGRAM_LENGTH_MAX).and_then(decoded);
    read.map_err(|failure| or_misplaced(failure, path, "a rollup's program.bin"))
}

/// The programs that came into force later, or will: all that lie in their folder. What is none is passed over: where
/// it is needed, following says so.
fn read_later_programs(dir: &DataDir, console: Console) -> Result<Programs> {
    let folder = dir.programs();
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Programs::default()),
        entries => entries.or_exit_while(Exit::Input, folder.display().to_string())?,
    };
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
    let paths = paths.or_exit_while(Exit::Input, folder.display().to_string())?;
    let mut programs = Programs::default();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|end| end == "bin")) {
        match read_program(path) {
            Ok(program) => programs.insert(program),
            Err(failure) => console.warn(format!(
                "passed over: {}; move it away, or add the program again with `taproof upgrade add`",
                failure.message()
            )),
        }
    }
    Ok(programs)
}

/// What to do about a program that is announced and not known here.
pub(crate) fn lacking_program(program: &str, height: u32) -> String {
    format!(
        "program {program} comes into force at height {height} and is not known here: add it with \
         `taproof upgrade add` before, or leave the rollup in time"
    )
}

/// What was given as a rollup's program is another.
#[derive(Debug, thiserror::Error)]
#[error("program {found} is not the rollup's, {expected}")]
pub(crate) struct OtherProgramError {
    found: ProgramId,
    expected: ProgramId,
}

/// Whether the block that the rollup starts after is in the source's chain; `None` if that does not reach so far.
pub(crate) fn has_start(params: &Params, source: &Source) -> Result<Option<bool>> {
    let found = source.chain().block_hash(params.start.height)?;
    Ok(found.map(|hash| hash == params.start.hash))
}

/// Reads the parameters of a rollup.
pub(crate) fn read_params(path: &Path) -> Result<Params> {
    let params = read_json(path).map_err(|failure| {
        if has_params_of_protocol_2(path) {
            return params_of_protocol_2();
        }
        let advice = "make a rollup with `taproof setup`, join one with `taproof join`, or name its --dir";
        if failure.is_missing() { failure.advise(advice) } else { failure }
    });
    let params: Params = params.map_err(|failure| or_misplaced(failure, path, "a rollup's params.json"))?;
    if params.start.height > HEIGHT_MAX {
        let message = format!("{}: no chain has a block at height {}", path.display(), params.start.height);
        return Err(Failure::new(Exit::Input, message));
    }
    Ok(params)
}

/// Whether a file holds the parameters of a rollup of protocol 2, which had two magics.
fn has_params_of_protocol_2(path: &Path) -> bool {
    // A pipe has nothing left to be read again.
    let fields = || read_json::<BTreeMap<String, IgnoredAny>>(path);
    path.is_file() && fields().is_ok_and(|fields| fields.contains_key("deposit_magic"))
}

pub(crate) fn params_of_protocol_2() -> Failure {
    let message = format!("these are parameters of protocol 2, where {} is known", Params::VERSION);
    Failure::new(Exit::Input, message).advise("found the rollup anew with `taproof setup`, in another directory")
}

/// Gives an error of following its exit code.
pub(crate) fn not_followed(error: FollowError) -> Failure {
    let transient = error.is_transient();
    let (exit, advice) = match &error {
        FollowError::Store(error) => store_advice(error),
        FollowError::StartLost { .. } => (
            Exit::Failed,
            "name another node with --node URL if one may have the block; if none has, deposit nothing more, take \
             deposits back with \
            `taproof bridge refund` once their delay is over, and found a rollup that starts deeper",
        ),
        FollowError::UnknownProgram(_) => (
            Exit::Failed,
            "the upgrade keys announced it: look at `taproof upgrade show`, get the program from whoever \
             announced it or from anybody \
            who follows the rollup, judge it, and add it with `taproof upgrade add PROGRAM`; following goes on \
            from there",
        ),
        FollowError::Header(HeaderError::ForksBelowFinal { .. }) => (
            Exit::Failed,
            "the chain leaves what was final here: it is a reorganisation below a final block, or a node on a branch \
             of its own; see \
            what other nodes have",
        ),
        FollowError::NoMoreWork { .. } => (
            Exit::Failed,
            "see why the node left its blocks (invalidateblock, or another node behind the address): it goes on with \
             the next block \
            that brings more work",
        ),
        // What a node says brings its own advice.
        FollowError::Node(_) => (Exit::Failed, ""),
        _ if transient => (Exit::Failed, "try again in a moment"),
        _ => (Exit::Failed, ""),
    };
    Failure::of(exit, error).advise(advice)
}

/// Gives an error of the chain store its exit code.
pub(crate) fn store_failure(error: ChainStoreError) -> Failure {
    not_followed(error.into())
}

/// The exit code for what goes wrong with a store's file, and what to do about it; `unfit` where the file does not
/// serve.
pub(crate) fn file_advice(error: &StoreError, unfit: &'static str) -> (Exit, &'static str) {
    match error {
        StoreError::Busy(_) => (Exit::Busy, "wait until the other command is done"),
        StoreError::DiskFull(_) => (Exit::Failed, "make room; nothing was changed"),
        error if error.is_unfit() => (Exit::Input, unfit),
        _ => (Exit::Failed, ""),
    }
}

fn store_advice(error: &ChainStoreError) -> (Exit, &'static str) {
    const AGAIN: &str = "move the file away: it is made anew by following from the rollup's start";
    match error {
        ChainStoreError::Store(error) => file_advice(error, AGAIN),
        ChainStoreError::WrongRollup(_) => (Exit::Input, AGAIN),
        ChainStoreError::LessWork { .. } => (Exit::Failed, "wait for the node to catch up, or ask another one"),
        _ => (Exit::Failed, ""),
    }
}

/// What to do about records that followers check and whose rule the state does not know.
pub(crate) const NEWER_RULES: &str = "\
    the program in force has circuits whose rules this release does not know: it follows them, and cannot make batches \
    after them; get a release that knows them";

/// Gives an error of the ledger its exit code.
pub(crate) fn ledger_failure(error: LedgerError) -> Failure {
    const RESTORE: &str = "restore it from Bitcoin with `taproof rebuild`";
    let (exit, advice) = match &error {
        LedgerError::Store(error) => file_advice(error, RESTORE),
        LedgerError::NotFound(_) => (Exit::Input, RESTORE),
        LedgerError::WrongChain { .. } => (Exit::Input, "name its rollup's --dir"),
        LedgerError::Replay(ReplayError::NoRule { .. }) => (Exit::Failed, NEWER_RULES),
        LedgerError::Final(_) | LedgerError::NotNext { .. } | LedgerError::Replay(_) => (
            Exit::Failed,
            "the chain has left what was final here: make the ledger anew from it with `taproof rebuild --replace`",
        ),
        _ => (Exit::Failed, ""),
    };
    Failure::of(exit, error).advise(advice)
}

/// Gives an error of the sequencer its exit code.
pub(crate) fn sequencer_failure(error: SequencerError) -> Failure {
    let (exit, advice) = match error {
        SequencerError::Ledger(error) => return ledger_failure(error),
        SequencerError::NoReference { .. } => (
            Exit::Failed,
            "the last batch refers to a block that a reorganisation took away; follow the chain and try again"
                .to_owned(),
        ),
        SequencerError::Anchored { .. } => {
            (Exit::Input, "it can be taken back once a reorganisation has taken its anchor away".to_owned())
        }
        SequencerError::BeyondWindow { window_blocks, .. } | SequencerError::StepsTooDeep { window_blocks, .. } => {
            (Exit::Input, format!("give a --reference-depth of {} or less", (window_blocks / 2).max(1)))
        }
        SequencerError::NoCircuit { .. } => (
            Exit::Input,
            "nobody can make a batch until the upgrade keys announce a program that has it: see `taproof upgrade show`"
                .to_owned(),
        ),
        SequencerError::NoAccount(_) => {
            (Exit::Input, "name a cell of yours with --operator; nothing was applied".to_owned())
        }
        _ => (Exit::Input, String::new()),
    };
    Failure::of(exit, error).advise(advice)
}
