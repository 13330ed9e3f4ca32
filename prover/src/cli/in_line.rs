//! The ledger in line with the chain.

use super::{
    failure::{Failure, Result},
    session::{Session, Source, ledger_failure, not_followed, sequencer_failure},
};
use std::ops::Range;
use taproof_bitcoin::follow::{catch_up, resume, start};
use taproof_rollup::{
    batch::BatchFile,
    ledger::Ledger,
    sequencer::{self, ReadFrom, Sequencer},
};
use taproof_verifier::follow::{Event, Follower};

/// Takes over what others anchored, if anything; gives how many batches that were, and a follower of what was read.
/// `observe` is told which batches of the ledger's own were taken back.
pub(crate) fn take_over(
    session: &Session,
    source: &Source,
    ledger: &mut Ledger,
    follower: Follower,
    mut observe: impl FnMut(Range<u64>),
) -> Result<(u64, Follower)> {
    let (params, programs) = (session.params.clone(), session.programs.clone());
    let reader = match sequencer::read_from(ledger, &follower).map_err(ledger_failure)? {
        ReadFrom::Nowhere => return Ok((0, follower)),
        ReadFrom::Checkpoint(checkpoint) => resume(source.chain(), params, programs, checkpoint),
        ReadFrom::Start => start(source.chain(), params, programs),
    };
    let (mut reader, mut taken_over) = (reader.map_err(not_followed)?, 0);
    catch_up(source.chain(), &mut reader, |_, event| {
        if let Some(Event::Verified(batch)) = event
            && let Some(taken) = sequencer::take_over(ledger, &batch).map_err(ledger_failure)?
        {
            taken_over += 1;
            observe(taken.taken_back);
        }
        Ok::<(), Failure>(())
    })?;
    sequencer::expect_in_line(ledger, reader.tip()).map_err(ledger_failure)?;
    Ok((taken_over, reader))
}

/// What is said where batches that were made here are not the chain's.
pub(crate) const APART: &str = "batches that were made here are not those of the chain: `taproof batch` brings the \
                                ledger in line, or says what does";

/// Opens the ledger for those who look or pay, and brings it up to the chain in either direction. One in which
/// batches were made stays as it is: it is the chain's, or ahead of it; or else there is none to go by, as only
/// `taproof batch` takes batches back.
pub(crate) fn bring_up(session: &Session, source: &Source) -> Result<Option<(Ledger, Follower)>> {
    let mut ledger = session.ledger()?;
    session.expect_not_behind(source)?;
    let follower = session.follow(source, |_| ())?;
    let anchored = follower.tip().batches;
    let first_unfinal = ledger.first_unfinal().map_err(ledger_failure)?;
    let mut makes_batches = false;
    for batch in first_unfinal..ledger.next_batch() {
        makes_batches |= ledger.has_artefact::<BatchFile>(batch).map_err(ledger_failure)?;
    }
    if makes_batches {
        return Ok(ledger.agrees_with(follower.tip()).map_err(ledger_failure)?.then_some((ledger, follower)));
    }
    let (_, follower) = take_over(session, source, &mut ledger, follower, |_| ())?;
    if ledger.next_batch() > anchored {
        // They came from the chain, and a reorganisation took them away.
        ledger.rewind_to(anchored).map_err(ledger_failure)?;
    }
    Sequencer::new(&mut ledger, &follower).map_err(sequencer_failure)?;
    Ok(Some((ledger, follower)))
}
