//! `taproof rebuild`.

mod comparison;

use super::{
    Global,
    console::counted,
    data_dir::keep_aside,
    failure::{Exit, Failure, Fallible, Result},
    output::{Output, Replaces, open_output, write_json},
    path_text,
    session::{NEWER_RULES, NodeOptions, Session, Source, ledger_failure, not_followed, store_failure},
};
use clap::Args;
use comparison::{Comparison, Tips};
use serde::Serialize;
use std::{fmt, fs, path::PathBuf};
use taproof_base::{output_file::Access, shown::shown, store_error::StoreError};
use taproof_circuits::state::{ReplayError, State};
use taproof_rollup::{
    ledger::{Ledger, LedgerError},
    rebuild::{self, RebuildError, Restoration},
};
use taproof_verifier::{
    cell::Cell,
    follow::{Event, Follower},
};

/// Rebuilds the whole state from the chain alone, compares its root with the verified one and the ledger with it, and
/// restores the ledger if it is lost.
#[derive(Debug, Args)]
#[command(after_help = "\
A ledger that is missing or damaged is made anew: the state, the number of the next batch, and what undoes batches \
that are not final. The damaged file is moved aside, not deleted. Transactions that waited in it are carried over as \
far as they can be read; what was never anchored is nowhere else, so keep the files of transactions. Artefacts of \
batches are not made again: those that are anchored need none, and the next `taproof batch` makes the others.

An intact ledger is compared with the chain. One that is ahead by batches that are not anchored is fine, and one that \
is behind is brought up by `taproof batch`. One that contradicts what is final in it gives exit code 4, and needs \
--replace.

Examples:
  taproof rebuild
  taproof rebuild --out state.json
  taproof rebuild --replace        # where the ledger contradicts the chain")]
pub(crate) struct Rebuild {
    #[command(flatten)]
    node: NodeOptions,
    /// Writes the cells to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Makes the ledger anew though it is intact.
    #[arg(long)]
    replace: bool,
}

/// What was found in the place of the ledger.
enum Found {
    /// One that opens.
    Intact(Box<Ledger>),
    /// One that another process has open.
    InUse,
    /// Nothing.
    Missing,
    /// What is to be replaced.
    Old(Old),
}

/// What became of the ledger.
#[derive(Serialize)]
#[serde(tag = "ledger", rename_all = "snake_case")]
enum LedgerReport {
    /// Another process has it open, so that it was not compared.
    InUse,
    Restored {
        /// The number of the next batch.
        next_batch: u64,
        /// Why the file that was there did not serve.
        fault: Option<String>,
        /// Where that file is now.
        #[serde(serialize_with = "path_text::serialize")]
        moved_to: Option<PathBuf>,
        /// How many transactions wait again; none if the file that had them is missing or cannot be read.
        transactions_kept: Option<usize>,
    },
    /// It was compared with the chain.
    #[serde(untagged)]
    Compared(Comparison),
}

#[derive(Serialize)]
struct RebuildReport {
    batches: u64,
    accounts: usize,
    balance_sat: u128,
    root_verified: String,
    root_rebuilt: String,
    #[serde(serialize_with = "path_text::serialize")]
    out: Option<PathBuf>,
    #[serde(flatten)]
    ledger: LedgerReport,
}

/// Rebuilds the state from the chain alone.
pub(super) fn rebuilt(session: &Session, node: &NodeOptions, global: &Global) -> Result<(Follower, State)> {
    let (follower, restoration) = restoration(session, &session.source(node)?, global, |_| ())?;
    let state = restoration.into_state().map_err(rebuild_failure)?;
    expect_root(&state, &follower)?;
    Ok((follower, state))
}

/// Reads all blocks of the rollup.
fn restoration(
    session: &Session,
    source: &Source,
    global: &Global,
    observe: impl FnMut(&Event),
) -> Result<(Follower, Restoration)> {
    let spinner = global.console().spinner("rebuilding the state");
    let (params, programs) = (session.params.clone(), session.programs.clone());
    let restored =
        rebuild::restore(source.chain(), params, programs, &session.machines, observe).map_err(rebuild_failure)?;
    spinner.finish_and_clear();
    Ok(restored)
}

/// Fails if a state is not the one that the follower has verified.
pub(super) fn expect_root(state: &State, follower: &Follower) -> Result {
    if state.root() == follower.tip().root {
        return Ok(());
    }
    let (rebuilt, verified) = (super::element_text(&state.root()), super::element_text(&follower.tip().root));
    Err(Failure::new(Exit::Refuted, format!("rebuilt root {rebuilt}, verified root {verified}")))
}

/// Gives an error of rebuilding its exit code.
pub(super) fn rebuild_failure(error: RebuildError) -> Failure {
    match error {
        RebuildError::Follow(error) => not_followed(error),
        RebuildError::Replay { ref source, .. } if matches!(**source, ReplayError::NoRule { .. }) => {
            Failure::of(Exit::Failed, error).advise(NEWER_RULES)
        }
        error => Failure::of(Exit::Refuted, error),
    }
}

impl Rebuild {
    pub(crate) fn run(self, global: &Global) -> Result {
        let out = self.out.as_deref().map(|path| {
            let (format, replaces) = ("state", Replaces::Nothing);
            open_output(&global.data_dir(), Output { path, access: Access::Public, format, replaces }, &[])
        });
        let out = out.transpose()?;
        let console = global.console().beside(&out)?;
        let session = Session::open(global)?;
        let found = self.find(&session)?;
        let mut tips = match &found {
            Found::Intact(ledger) => Tips::of(ledger, &session.params)?,
            _ => Tips::default(),
        };
        let source = session.source(&self.node)?;
        session.expect_not_behind(&source)?;
        let (follower, restoration) = restoration(&session, &source, global, |event| tips.observe(event))?;
        let (ledger, state) = match found {
            Found::Intact(ledger) => {
                let store = session.chain_store();
                let undone = store.undone().map_err(store_failure)?;
                let was_final = |batch| {
                    let is_undone = undone.is_some_and(|undone| undone.has_batch(batch));
                    Ok(is_undone || store.anchor(batch).map_err(store_failure)?.is_some())
                };
                let compared = Comparison::new(&ledger, &tips, follower.tip(), was_final)?;
                (LedgerReport::Compared(compared), restoration.into_state().map_err(rebuild_failure)?)
            }
            Found::InUse => (LedgerReport::InUse, restoration.into_state().map_err(rebuild_failure)?),
            Found::Missing => replace(&session, &follower, restoration, None)?,
            Found::Old(old) => replace(&session, &follower, restoration, Some(old))?,
        };
        expect_root(&state, &follower)?;
        if let Some(out) = out {
            write_json(out, &state.tree().snapshot())?;
        }
        let balances = state.tree().cells().map(|(_, cell)| match cell {
            Cell::Account(account) => u128::from(account.balance),
            _ => 0,
        });
        let report = RebuildReport {
            batches: follower.tip().batches,
            accounts: state.tree().cells().count(),
            balance_sat: balances.sum(),
            root_verified: super::element_text(&follower.tip().root),
            root_rebuilt: super::element_text(&state.root()),
            out: self.out,
            ledger,
        };
        console.report(&report, |report| {
            format!(
                "{} after {}\nroot verified  {}\nroot rebuilt   {}\n{}",
                counted(report.accounts, "account"),
                counted(report.batches, "batch"),
                report.root_verified,
                report.root_rebuilt,
                report.ledger
            )
        })?;
        match report.ledger {
            LedgerReport::Compared(compared) => compared.expect_the_chains(),
            _ => Ok(()),
        }
    }

    /// Looks at the ledger. One of another rollup is none to be moved away.
    fn find(&self, session: &Session) -> Result<Found> {
        match Ledger::open(&session.dir.ledger(), session.params.chain_id()) {
            Ok(ledger) if self.replace => {
                let fault = "it was to be replaced".to_owned();
                Ok(Found::Old(Old { fault, ledger: Some(Box::new(ledger)) }))
            }
            Ok(ledger) => Ok(Found::Intact(Box::new(ledger.with_machines(session.machines.clone())))),
            Err(LedgerError::Store(StoreError::Busy(_))) if !self.replace => Ok(Found::InUse),
            Err(LedgerError::NotFound(_)) => Ok(Found::Missing),
            Err(LedgerError::Store(error)) if error.is_unfit() => {
                Ok(Found::Old(Old { fault: LedgerError::from(error).to_string(), ledger: None }))
            }
            Err(error) => Err(ledger_failure(error)),
        }
    }
}

/// What is in the place of a ledger that is made anew.
struct Old {
    /// Why it does not serve.
    fault: String,
    /// The ledger, where it opens. It stays open until it is replaced, so that no other process changes it meanwhile.
    ledger: Option<Box<Ledger>>,
}

/// Makes the ledger anew, beside the one that is there, which gets another name and is replaced. Until the new one is
/// in its place, a run that is interrupted leaves the old one there, whose transactions the next run finds as this
/// one did.
fn replace(
    session: &Session,
    follower: &Follower,
    restoration: Restoration,
    old: Option<Old>,
) -> Result<(LedgerReport, State)> {
    let (path, new) = (session.dir.ledger(), session.dir.new_ledger());
    if new.exists() {
        // It is what a run that was interrupted was making.
        fs::remove_file(&new).or_exit_while(Exit::Failed, new.display().to_string())?;
    }
    let mut ledger = Ledger::restore(&new, restoration, &[]).map_err(ledger_failure)?;
    let (next_batch, state) = (ledger.next_batch(), ledger.state().clone());
    let salvaged = old.as_ref().and_then(|old| match &old.ledger {
        Some(ledger) => ledger.salvaged(&state),
        None => Ledger::salvage(&path, &state),
    });
    ledger.add_transactions(salvaged.as_deref().unwrap_or_default()).map_err(ledger_failure)?;
    drop(ledger);
    if let Err(failure) = expect_root(&state, follower) {
        fs::remove_file(&new).or_exit_while(Exit::Failed, new.display().to_string())?;
        return Err(failure);
    }
    let moved_to = old.as_ref().map(|_| keep_aside(&path)).transpose()?;
    fs::rename(&new, &path).or_exit_while(Exit::Failed, format!("cannot rename {}", new.display()))?;
    let transactions_kept = salvaged.map(|salvaged| salvaged.len());
    let fault = old.map(|old| old.fault);
    Ok((LedgerReport::Restored { next_batch, fault, moved_to, transactions_kept }, state))
}

impl fmt::Display for LedgerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (next_batch, fault, moved_to, transactions_kept) = match self {
            Self::InUse => return write!(f, "ledger         in use by another process, and not compared"),
            Self::Compared(compared) => return write!(f, "{compared}"),
            Self::Restored { next_batch, fault, moved_to, transactions_kept } => {
                (next_batch, fault, moved_to, transactions_kept)
            }
        };
        write!(f, "ledger         restored; batch {next_batch} is next")?;
        if let Some((fault, moved_to)) = fault.as_ref().zip(moved_to.as_ref()) {
            write!(f, "\nreplaced       {}: {fault}", shown(moved_to.display()))?;
        }
        match transactions_kept {
            Some(count) => write!(f, "\ntransactions   {count} wait again"),
            None => write!(
                f,
                "\ntransactions   none: what waited in a ledger that was lost has to be given to `taproof batch` again"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use taproof_verifier::record::Kind;

    #[test]
    fn records_without_a_rule_here_are_no_reason_to_make_the_ledger_anew() {
        let source = ReplayError::NoRule { chunk: 0, kind: Kind::Step };
        let failures = [
            ledger_failure(source.into()),
            rebuild_failure(RebuildError::Replay { batch: 3, source: Box::new(source) }),
        ];
        assert!(failures.iter().all(|failure| failure.advice().as_deref() == Some(NEWER_RULES)));
        let other = ledger_failure(ReplayError::RootMismatch { chunk: 0 }.into());
        assert!(other.advice().is_some_and(|advice| advice.contains("--replace")));
    }
}
