//! Which program and which sequencer keys are in force at a height.
//!
//! A schedule begins with those of the founding parameters. Announcements of the upgrade keys
//! ([`crate::upgrade`]) change it, each at least a notice ahead, so what is in force at a height is known
//! when the block at that height is mined, and nothing that is mined later changes it. Of several announcements of a
//! kind the one for the highest height that is reached is in force, whatever the order in which they came; of several
//! for one height the last.
//!
//! Each announcement says how many were accepted before it, so it is accepted in the state that its signers saw, or not
//! at all. A withdrawal is accepted also where a few less were: it takes back what is numbered below it, mined before
//! or after it, as after a reorganisation that left an announcement out. With the highest number that there is, it ends
//! the upgrade keys' right for good.
//!
//! Bounds: at most [`PENDING_MAX`] announcements are not in force yet. Only those in force within a window below the
//! last final block matter beside them, and as the notice is longer than that, they are as many at most.

use crate::{
    program::ProgramId,
    quorum::Keys,
    take::take,
    upgrade::{self, Change, RENOUNCING_NUMBER, Upgrade, UpgradeError},
};
use alloc::vec::Vec;

/// The most announcements that are not in force yet.
pub const PENDING_MAX: usize = 16;
/// The most entries that a schedule holds.
const ENTRIES_MAX: usize = 2 * PENDING_MAX;
/// By how much the number of a withdrawal may exceed that of the next announcement, unless it renounces: more than a
/// reorganisation leaves out, and so few that no withdrawal uses the numbers up.
pub const WITHDRAWAL_AHEAD_MAX: u32 = 255;
/// Once so many were accepted, nothing is any more.
const RENOUNCED: u32 = RENOUNCING_NUMBER + 1;

/// The program and the sequencer keys in force at each height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// How many announcements were accepted: the number of the next.
    accepted: u32,
    /// What is in force below all entries, each with the height from which it is.
    program: (u32, ProgramId),
    sequencers: (u32, Keys),
    /// Ascending by height, of equals by the order of acceptance.
    entries: Vec<Entry>,
}

/// A change of the schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The number of its announcement.
    pub number: u32,
    /// The height from which it is in force.
    pub height: u32,
    /// What changes.
    pub change: EntryChange,
}

/// What an entry of a schedule changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryChange {
    /// The program.
    Program(ProgramId),
    /// The sequencer keys.
    Sequencers(Keys),
}

impl Schedule {
    /// The schedule of a rollup that starts at a height.
    pub fn new(start_height: u32, program: ProgramId, sequencers: Keys) -> Self {
        let (program, sequencers) = ((start_height, program), (start_height, sequencers));
        Self { accepted: 0, program, sequencers, entries: Vec::new() }
    }

    /// The number of the next announcement.
    pub fn next_number(&self) -> u32 {
        self.accepted
    }

    /// Whether the upgrade keys gave up their right.
    pub fn is_renounced(&self) -> bool {
        self.accepted == RENOUNCED
    }

    /// The changes that are kept, ascending by height. Those that no batch can come before any more are not.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The changes that are not in force at a height yet.
    pub fn pending(&self, height: u32) -> &[Entry] {
        &self.entries[self.entries.partition_point(|entry| entry.height <= height)..]
    }

    /// The program in force at a height, and the height from which it is.
    pub fn program_at(&self, height: u32) -> (u32, ProgramId) {
        let programs = self.reached(height).filter_map(|entry| match entry.change {
            EntryChange::Program(program) => Some((entry.height, program)),
            EntryChange::Sequencers(_) => None,
        });
        programs.last().unwrap_or(self.program)
    }

    /// The sequencer keys in force at a height; with none, anybody posts.
    pub fn sequencers_at(&self, height: u32) -> &Keys {
        let keys = self.reached(height).filter_map(|entry| match &entry.change {
            EntryChange::Sequencers(keys) => Some(keys),
            EntryChange::Program(_) => None,
        });
        keys.last().unwrap_or(&self.sequencers.1)
    }

    /// The programs that are in force anywhere from one height to another, each with the height from which it is.
    pub fn programs_between(&self, first: u32, last: u32) -> impl Iterator<Item = (u32, ProgramId)> {
        let later = self.reached(last).filter(move |entry| entry.height > first).map(|entry| entry.height);
        // Of several for one height only the last is in force.
        core::iter::once(first).chain(later).map(|height| self.program_at(height))
    }

    fn reached(&self, height: u32) -> impl Iterator<Item = &Entry> {
        self.entries.iter().take_while(move |entry| entry.height <= height)
    }

    /// Takes an announcement of a block.
    ///
    /// # Errors
    /// [`UpgradeError::Renounced`], [`UpgradeError::Number`], [`UpgradeError::TooSoon`] and [`UpgradeError::Full`],
    /// with nothing changed.
    pub fn accept(&mut self, upgrade: &Upgrade, block_height: u32, notice_blocks: u32) -> Result<(), UpgradeError> {
        if self.is_renounced() {
            return Err(UpgradeError::Renounced);
        }
        let (expected, found) = (self.accepted, upgrade.number);
        let after = found.checked_add(1).ok_or(UpgradeError::Number { expected, found })?;
        let (height, change) = match &upgrade.change {
            Change::Withdrawal => {
                let is_next = found.checked_sub(expected).is_some_and(|ahead| ahead <= WITHDRAWAL_AHEAD_MAX);
                if !is_next && !upgrade.renounces() {
                    return Err(UpgradeError::Number { expected, found });
                }
                self.entries.retain(|entry| entry.height <= block_height);
                self.accepted = after;
                return Ok(());
            }
            _ if found != expected => return Err(UpgradeError::Number { expected, found }),
            Change::Program { program, height } => (*height, EntryChange::Program(*program)),
            Change::Sequencers { keys, height } => (*height, EntryChange::Sequencers(keys.clone())),
        };
        let min = u64::from(block_height) + u64::from(notice_blocks);
        if u64::from(height) < min {
            return Err(UpgradeError::TooSoon { min, found: height });
        }
        let pending = self.pending(block_height).len();
        if pending >= PENDING_MAX {
            return Err(UpgradeError::Full(pending));
        }
        let place = self.entries.partition_point(|entry| entry.height <= height);
        self.entries.insert(place, Entry { number: found, height, change });
        self.accepted = after;
        Ok(())
    }

    /// Forgets what was in force before a height: no batch refers to a block below it any more.
    pub(crate) fn forget_below(&mut self, height: u32) {
        let reached = self.entries.partition_point(|entry| entry.height <= height);
        for entry in self.entries.drain(..reached) {
            match entry.change {
                EntryChange::Program(program) => self.program = (entry.height, program),
                EntryChange::Sequencers(keys) => self.sequencers = (entry.height, keys),
            }
        }
    }

    /// Writes the schedule: number of the next announcement (4 bytes); height from which the program is in force (4)
    /// and its id (32); height (4), number (1) and each (32) of the sequencer keys; number of entries (1), then each:
    /// number (4), kind (1), height (4) and what the announcement has behind these. Integers are little-endian.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.accepted.to_le_bytes());
        out.extend(self.program.0.to_le_bytes());
        out.extend(self.program.1.to_byte_array());
        out.extend(self.sequencers.0.to_le_bytes());
        self.sequencers.1.write(out);
        out.push(self.entries.len() as u8);
        for Entry { number, height, change } in &self.entries {
            let height = *height;
            let change = match change {
                EntryChange::Program(program) => Change::Program { program: *program, height },
                EntryChange::Sequencers(keys) => Change::Sequencers { keys: keys.clone(), height },
            };
            out.extend(Upgrade { number: *number, change }.to_bytes());
        }
    }

    /// Reads what [`Schedule::write`] writes from the front of some bytes; `None` if it is none.
    pub(crate) fn read(bytes: &mut &[u8]) -> Option<Self> {
        let mut rest = *bytes;
        let accepted = read_u32(&mut rest)?;
        let program = (read_u32(&mut rest)?, ProgramId::from_byte_array(take(&mut rest)?));
        let sequencers = (read_u32(&mut rest)?, upgrade::read_keys(&mut rest).ok()?);
        let [count] = take(&mut rest)?;
        if usize::from(count) > ENTRIES_MAX {
            return None;
        }
        let mut entries: Vec<Entry> = Vec::with_capacity(count.into());
        for _ in 0..count {
            let entry = read_entry(&mut rest)?;
            let is_ordered =
                entries.last().is_none_or(|last| (last.height, last.number) < (entry.height, entry.number));
            let is_above = entry.height > program.0.max(sequencers.0);
            if !is_ordered || !is_above || entry.number >= accepted {
                return None;
            }
            entries.push(entry);
        }
        *bytes = rest;
        Some(Self { accepted, program, sequencers, entries })
    }
}

fn read_entry(rest: &mut &[u8]) -> Option<Entry> {
    let Upgrade { number, change } = Upgrade::read(rest).ok()?;
    let (height, change) = match change {
        Change::Program { program, height } => (height, EntryChange::Program(program)),
        Change::Sequencers { keys, height } => (height, EntryChange::Sequencers(keys)),
        // It takes announcements back, and leaves none of its own.
        Change::Withdrawal => return None,
    };
    Some(Entry { number, height, change })
}

fn read_u32(bytes: &mut &[u8]) -> Option<u32> {
    take(bytes).map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests;
