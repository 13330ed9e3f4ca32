//! Whether there can be batches once what is announced is in force. Where there can be none, nobody leaves the rollup
//! until another program is in force, which takes a notice.
//!
//! Whoever announces checks it, and each signer for himself: who writes what the others are to sign is not trusted.

use crate::founding::{TooManySlotsError, check_slots};
use std::collections::BTreeSet;
use taproof_circuits::state::Slots;
use taproof_verifier::{
    cell::Depth,
    follow::{Follower, UnknownProgramError},
    program::{Program, ProgramId},
    schedule::{Entry, EntryChange},
    upgrade::Change,
};

/// Why there could be no batches, or why that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SuccessionError {
    /// The program that is announced, or one that is announced already, is not known. A tree may grow as deep as it has
    /// circuits for.
    #[error(transparent)]
    Unknown(#[from] UnknownProgramError),
    /// The tree may be too deep for the program.
    #[error("the rollup's tree may have {} levels by then, and program {program} no circuits for it", depth.levels())]
    TooShallow {
        /// The program.
        program: ProgramId,
        /// How deep the tree may be by then.
        depth: Depth,
    },
    /// The tree may become too deep for a program that is announced for a later height.
    #[error(
        "the rollup's tree may have {} levels then, and program {program}, announced for height {height}, no circuits \
         for it",
        depth.levels()
    )]
    TooDeep {
        /// The later program.
        program: ProgramId,
        /// The height from which that is in force.
        height: u32,
        /// How deep the tree may be by then.
        depth: Depth,
    },
    /// A batch that everybody has to make could not be made.
    #[error("program {program}: {source}")]
    Slots {
        /// The program.
        program: ProgramId,
        /// Why.
        source: TooManySlotsError,
    },
}

/// Checks that there could be batches at any time if this were announced in the next block: in view of the tree as it
/// is, and of the programs that are in force or announced.
///
/// # Errors
/// [`SuccessionError`].
pub fn expect_batches_possible(change: &Change, follower: &Follower) -> Result<(), SuccessionError> {
    let Change::Program { program, height } = *change else { return Ok(()) };
    let known = |program: ProgramId, from_height: u32| {
        follower.programs().get(program).ok_or(UnknownProgramError { program, from_height })
    };
    let announced = known(program, height)?;
    let (schedule, tip) = (follower.schedule(), follower.tip());
    // A tree never shrinks, and until then whoever posts can let it grow as deep as a program in force has circuits.
    let mut depth = tip.depth;
    for (from_height, before) in schedule.programs_between(tip.reference.height, height.saturating_sub(1)) {
        depth = depth.max(known(before, from_height)?.depth_max());
    }
    if announced.depth_max() < depth {
        return Err(SuccessionError::TooShallow { program, depth });
    }
    let depth = announced.depth_max();
    for entry in schedule.entries().iter().filter(|entry| entry.height > height) {
        let EntryChange::Program(later) = entry.change else { continue };
        if known(later, entry.height)?.depth_max() < depth {
            return Err(SuccessionError::TooDeep { program: later, height: entry.height, depth });
        }
    }
    check_batches(announced)
}

/// Why there can be no batches once what is announced already is in force, if that is known. Signers who look at what
/// they sign announce nothing of the kind.
pub fn ends_batches(entry: &Entry, follower: &Follower) -> Option<SuccessionError> {
    let EntryChange::Program(program) = entry.change else { return None };
    match expect_batches_possible(&Change::Program { program, height: entry.height }, follower).err()? {
        // That is said of the later one itself; and what is not known may be no harm.
        SuccessionError::TooDeep { .. } | SuccessionError::Unknown(_) => None,
        refusal => Some(refusal),
    }
}

/// Checks that what the rules can demand of one batch fits in one, at each depth of a program.
fn check_batches(program: &Program) -> Result<(), SuccessionError> {
    let depths: BTreeSet<Depth> = program.table().circuits().iter().map(|circuit| circuit.depth).collect();
    depths.into_iter().try_for_each(|depth| {
        let slots = Slots::of_program(program, depth).expect("a program has circuits of all kinds at each depth");
        check_slots(&slots).map_err(|source| SuccessionError::Slots { program: program.id(), source })
    })
}

#[cfg(test)]
mod tests;
