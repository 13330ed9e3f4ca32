//! What the upgrade keys have a say in: the program that a batch is proven for, and who posts it.

use super::{Event, Follower, RuleError};
use crate::{
    block::BlockError,
    headers::BlockId,
    program::{Program, ProgramId, Programs},
    schedule::Schedule,
};
use bitcoin::{Transaction, Txid, XOnlyPublicKey};

/// A program is in force that the follower was not given. It stops before the first block in which a batch may be
/// proven for it, and goes on from there [when it has it](Follower::learn).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("program {program}, in force from height {from_height} on, is not known here")]
pub struct UnknownProgramError {
    /// The program.
    pub program: ProgramId,
    /// The height from which it is in force.
    pub from_height: u32,
}

/// Why a block is not scanned. Nothing is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The block is not the expected one, or not what its header commits to.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// A program is not known that batches of the block may be proven for.
    #[error(transparent)]
    Program(#[from] UnknownProgramError),
}

impl Follower {
    /// The programs that the follower was given.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Gives the follower another program.
    pub fn learn(&mut self, program: Program) {
        self.programs.insert(program);
    }

    /// What is in force when, as far as the scanned blocks say.
    pub fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// The program for batches that refer to a block at a height.
    ///
    /// # Errors
    /// [`UnknownProgramError`].
    pub fn program_at(&self, reference_height: u32) -> Result<&Program, UnknownProgramError> {
        let (from_height, program) = self.schedule.program_at(reference_height);
        self.programs.get(program).ok_or(UnknownProgramError { program, from_height })
    }

    /// The program that is missing to scan the next block, if one is: batches in that block may refer to the last
    /// scanned block, and to those a window below.
    pub fn unknown_program(&self) -> Option<UnknownProgramError> {
        let last = self.scanned.height;
        let oldest = last.saturating_add(1).saturating_sub(self.params.deposit_window_blocks);
        let first = oldest.max(self.tip.reference.height);
        let mut in_force = self.schedule.programs_between(first, last);
        let unknown = in_force.find(|(_, program)| self.programs.get(*program).is_none());
        unknown.map(|(from_height, program)| UnknownProgramError { program, from_height })
    }

    pub(super) fn expect_programs(&self) -> Result<(), UnknownProgramError> {
        self.unknown_program().map_or(Ok(()), Err)
    }

    /// Whether a claim request counts in the next block: the program in force at the height of the last scanned one
    /// opens locks. That program is known before the block is read; no lock of its making is older.
    pub(super) fn opens_locks_next(&self) -> bool {
        self.program_at(self.scanned.height).is_ok_and(|program| program.table().opens_locks())
    }

    /// The height of the first block in which anybody's anchor counts, whoever the sequencers are: after the quiet
    /// blocks, or where an exit or claim request has waited for longer than the window. So sequencers who leave a
    /// queue long, or make it long, keep nobody else from working it off.
    pub fn open_height(&self) -> u32 {
        let after_silence = self.tip.anchored_height.saturating_add(self.params.quiet_blocks);
        let oldest = self.pending_requests().next();
        let overdue = oldest.map(|oldest| self.params.due_height(oldest.height).saturating_add(1));
        overdue.map_or(after_silence, |overdue| overdue.min(after_silence))
    }

    /// Whether a key's anchor in a block would count, for a batch that refers to a block at a height.
    ///
    /// # Errors
    /// [`RuleError::NotSequencer`].
    pub fn check_poster(
        &self,
        poster: XOnlyPublicKey,
        reference_height: u32,
        block_height: u32,
    ) -> Result<(), RuleError> {
        let sequencers = self.schedule.sequencers_at(reference_height);
        let open_height = self.open_height();
        if sequencers.is_empty() || block_height >= open_height || sequencers.contains(&poster) {
            return Ok(());
        }
        Err(RuleError::NotSequencer { poster, open_height })
    }

    /// Reads what the upgrade keys announce in a transaction.
    pub(super) fn scan_upgrade(&mut self, block: BlockId, txid: Txid, transaction: &Transaction) -> Option<Event> {
        let upgrade = match self.upgrade_output.as_ref()?.parse(transaction) {
            Ok(None) => return None,
            Ok(Some(upgrade)) => upgrade,
            Err(refusal) => return Some(Event::UpgradeIgnored { block, txid, refusal }),
        };
        let before = self.schedule.clone();
        if let Err(refusal) = self.schedule.accept(&upgrade, block.height, self.params.notice_blocks) {
            return Some(Event::UpgradeIgnored { block, txid, refusal });
        }
        // One for each block is enough to undo it.
        if self.schedules_before.back().is_none_or(|(height, _)| *height != block.height) {
            self.schedules_before.push_back((block.height, before));
        }
        Some(Event::Announced { block, txid, upgrade })
    }

    /// Forgets how to undo what is final, and what no batch can refer to any more.
    pub(super) fn make_schedule_final(&mut self) {
        let final_height = self.final_height;
        while self.schedules_before.front().is_some_and(|(height, _)| *height <= final_height) {
            self.schedules_before.pop_front();
        }
        self.schedule.forget_below(self.references_min());
    }

    pub(super) fn rewind_schedule(&mut self, height: u32) {
        while self.schedules_before.back().is_some_and(|(changed, _)| *changed > height) {
            let Some((_, before)) = self.schedules_before.pop_back() else { break };
            self.schedule = before;
        }
    }

    /// The schedule after the last final block.
    pub(super) fn final_schedule(&self) -> Schedule {
        let mut schedule = self.schedules_before.front().map_or(&self.schedule, |(_, before)| before).clone();
        schedule.forget_below(self.references_min());
        schedule
    }

    /// The lowest height that an anchor may refer to in a block above the last final one.
    fn references_min(&self) -> u32 {
        let oldest = self.final_height.saturating_add(1).saturating_sub(self.params.deposit_window_blocks);
        oldest.max(self.final_tip().reference.height)
    }
}
