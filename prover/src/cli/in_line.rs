//! The ledger in line with the chain.

use super::{
    failure::{Failure, Result},
    session::{Session, Source, ledger_failure, not_followed},
};
use taproof::{
    batch::BatchFile,
    follow::{catch_up, resume, start},
    ledger::{Ledger, LedgerError},
};
use taproof_verifier::follow::{Event, Follower};

/// Takes over what others anchored, if anything; gives how many batches that were, and a follower of what was read.
/// `observe` is told the number of each, and how many batches the ledger had before.
pub(crate) fn take_over(
    session: &Session,
    source: &Source,
    ledger: &mut Ledger,
    follower: Follower,
    mut observe: impl FnMut(u64, u64),
) -> Result<(u64, Follower)> {
    if ledger.agrees_with(follower.tip()).map_err(ledger_failure)? {
        return Ok((0, follower));
    }
    let mut taken_over = 0;
    let mut reader = reader(session, source, ledger, &follower)?;
    catch_up(source.chain(), &mut reader, |_, event| {
        if let Some(Event::Verified(batch)) = event {
            let next = ledger.next_batch();
            if ledger.take_over(&batch).map_err(ledger_failure)? {
                taken_over += 1;
                observe(batch.batch(), next);
            }
        }
        Ok::<(), Failure>(())
    })?;
    if !ledger.agrees_with(reader.tip()).map_err(ledger_failure)? {
        // Every batch of the chain is one that the ledger has, and it has more that were final.
        return Err(ledger_failure(LedgerError::Final(reader.tip().batches)));
    }
    Ok((taken_over, reader))
}

/// A follower that tells of all batches which the ledger may not have: the store tells of final batches once, and
/// nobody may have listened for the ledger.
fn reader(session: &Session, source: &Source, ledger: &Ledger, follower: &Follower) -> Result<Follower> {
    let (params, program) = (session.params.clone(), session.program.clone());
    if let Some(checkpoint) = follower.checkpoint()
        && ledger.agrees_with(checkpoint.tip()).map_err(ledger_failure)?
    {
        return resume(source.chain(), params, program, checkpoint).map_err(not_followed);
    }
    start(source.chain(), params, program).map_err(not_followed)
}

/// Forgets how to take back what is final on the chain, which the ledger agrees with.
pub(crate) fn settle(ledger: &mut Ledger, follower: &Follower) -> Result {
    let first_unfinal = final_batches(follower);
    if ledger.first_unfinal().map_err(ledger_failure)? < first_unfinal {
        ledger.forget_before(first_unfinal).map_err(ledger_failure)?;
    }
    Ok(())
}

/// How many batches are final.
pub(crate) fn final_batches(follower: &Follower) -> u64 {
    follower.checkpoint().map_or(0, |checkpoint| checkpoint.tip().batches)
}

/// What is said where batches that were made here are not the chain's.
pub(crate) const APART: &str = "batches that were made here are not those of the chain: `taproof batch` brings the ledger in line, or says what does";

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
    let (_, follower) = take_over(session, source, &mut ledger, follower, |_, _| ())?;
    if ledger.next_batch() > anchored {
        // They came from the chain, and a reorganisation took them away.
        ledger.rewind_to(anchored).map_err(ledger_failure)?;
    }
    settle(&mut ledger, &follower)?;
    Ok(Some((ledger, follower)))
}
