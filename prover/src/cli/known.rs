//! What is known of a rollup by whoever pays or looks: by the ledger, which is brought up to the chain where one is at
//! hand, or else by the chain alone.

use super::{
    Global,
    failure::{Failure, Result},
    in_line::{APART, bring_up},
    rebuild::rebuilt,
    session::{NodeOptions, Session, ledger_failure, read_program},
};
use taproof_circuits::{
    state::{Slots, State},
    transaction::Transaction,
};
use taproof_rollup::ledger::{Ledger, LedgerError};
use taproof_verifier::{cell::Depth, exit::ExitRequest, follow::Follower, operation::OperationsHash, program::Program};

/// The state after the last batch, and what waits for the next.
pub(crate) struct Outset {
    pub(crate) state: State,
    /// The exit requests that wait.
    pub(crate) exits: Vec<ExitRequest>,
    /// The transactions that wait in the ledger.
    pub(crate) transactions: Vec<Transaction>,
    /// The operations that the steps of the next batch can be, if it can have any.
    pub(crate) operations: Option<OperationsHash>,
    /// The height that the next batch could refer to.
    pub(crate) height_blocks: u32,
    /// The deepest tree that the program in force has circuits for, where the chain was asked.
    pub(crate) depth_max: Option<Depth>,
}

/// The operations of a program's steps.
fn operations(program: &Program, depth: Depth) -> Option<OperationsHash> {
    Slots::of_program(program, depth).ok()?.step.map(|step| step.operations)
}

impl Outset {
    /// What the ledger alone knows.
    pub(crate) fn of_ledger(ledger: &Ledger, global: &Global) -> std::result::Result<Self, LedgerError> {
        let requests = ledger.requests()?;
        let exits = requests.iter().filter_map(|scanned| scanned.request.exit()).copied().collect();
        let state = ledger.state().clone();
        let program = read_program(&global.data_dir().program()).ok();
        Ok(Self {
            operations: program.and_then(|program| operations(&program, state.depth())),
            state,
            exits,
            transactions: ledger.transactions()?,
            height_blocks: ledger.reference_height(),
            depth_max: None,
        })
    }

    /// What a state is for a follower that stands where it does.
    fn of_state(state: State, transactions: Vec<Transaction>, follower: &Follower) -> Result<Self> {
        let height_blocks = follower.scanned().height;
        let program = follower.program_at(height_blocks)?;
        let exits = follower.pending_exits().map(|exit| exit.request).collect();
        let (operations, depth_max) = (operations(program, state.depth()), Some(program.depth_max()));
        Ok(Self { state, exits, transactions, operations, height_blocks, depth_max })
    }

    /// What ledger and chain know together; none where batches that were made here are not the chain's.
    pub(crate) fn brought_up(session: &Session, node: &NodeOptions, global: &Global) -> Result<Option<Self>> {
        let spinner = global.console().spinner("following the chain");
        let brought = bring_up(session, &session.source(node)?)?;
        spinner.finish_and_clear();
        let Some((ledger, follower)) = brought else { return Ok(None) };
        let transactions = ledger.transactions().map_err(ledger_failure)?;
        Self::of_state(ledger.state().clone(), transactions, &follower).map(Some)
    }

    /// What the chain alone knows.
    pub(crate) fn of_chain(session: &Session, node: &NodeOptions, global: &Global) -> Result<Self> {
        let (follower, state) = rebuilt(session, node, global)?;
        let state = state.with_machines(session.machines.clone());
        Self::of_state(state, Vec::new(), &follower)
    }

    /// All that can be known: by the ledger, or where there is none by the chain.
    pub(crate) fn find(node: &NodeOptions, global: &Global) -> Result<Self> {
        let session = Session::open(global)?;
        if !session.dir.ledger().exists() {
            return Self::of_chain(&session, node, global);
        }
        if node.is_at_hand(&session.dir)? {
            match Self::brought_up(&session, node, global) {
                Ok(Some(outset)) => return Ok(outset),
                Ok(None) => global.console().warn(APART),
                Err(failure) if failure.cause::<LedgerError>().is_some() => return Err(failure),
                Err(failure) => global.console().warn(not_asked(&failure)),
            }
        } else {
            global.console().warn("no chain is at hand: what it has beyond the ledger is not known");
        }
        Self::of_ledger(&session.ledger()?, global).map_err(ledger_failure)
    }
}

/// What is said where the chain is at hand and does not answer.
pub(crate) fn not_asked(failure: &Failure) -> String {
    format!("the chain could not be asked, so this goes by the ledger as it is: {}", failure.message())
}
