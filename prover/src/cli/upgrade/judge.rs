//! What is checked of an announcement in view of the chain, before anybody signs or sends it.

use super::super::{
    failure::{Exit, Failure, Fallible, Result},
    session::{Session, Source},
};
use bitcoin::Transaction;
use taproof_rollup::succession::{SuccessionError, expect_batches_possible};
use taproof_verifier::{
    follow::{Follower, Params},
    upgrade::{Change, Upgrade, UpgradeOutput},
};

/// Fails if the announcement would not count in the next block: nobody needs to sign or send it.
pub(super) fn expect_accepted(follower: &Follower, upgrade: &Upgrade) -> Result {
    let next_height = follower.scanned().height.saturating_add(1);
    let accepted = follower.schedule().clone().accept(upgrade, next_height, follower.params().notice_blocks);
    accepted.or_exit(Exit::Refuted).map_err(|failure| {
        failure.advise(
        "only another announcement counts: `taproof upgrade announce` and `withdraw` write it with the number that is \
         next, and without --from for a height that is late enough; `taproof upgrade show` shows what is announced",
    )
    })
}

/// Fails for what would leave the rollup without batches, so that nobody could leave it, or where that is not known.
pub(super) fn batches_possible(change: &Change, follower: &Follower) -> Result {
    expect_batches_possible(change, follower).map_err(no_batches)
}

/// Says what to do about what would leave the rollup without batches.
fn no_batches(error: SuccessionError) -> Failure {
    let advice = match error {
        SuccessionError::Unknown(_) => {
            "get it from whoever announced it or from anybody who follows the rollup, judge it, and add it with \
             `taproof upgrade add PROGRAM`"
                .to_owned()
        }
        SuccessionError::TooShallow { depth, .. } => {
            format!("`taproof upgrade make --full-depth {}` makes one that has them", depth.levels())
        }
        SuccessionError::TooDeep { .. } => "withdraw that first, with `taproof upgrade withdraw`".to_owned(),
        _ => "make one with fewer --withdraw-slots or --deposit-slots".to_owned(),
    };
    Failure::of(Exit::Refuted, error).advise(advice)
}

/// Whether a transaction bears the mark of a rollup's announcements. It may be anybody's.
pub(in crate::cli) fn is_announcement(params: &Params, transaction: &Transaction) -> bool {
    UpgradeOutput::of(params).is_some_and(|output| output.is_marked(transaction))
}

/// Fails for an announcement that would not count in the next block, for which it would be paid, and nobody would hear
/// of it, or that would leave the rollup without batches. Other transactions are none of its business.
pub(in crate::cli) fn expect_to_count(session: &Session, source: &Source, transaction: &Transaction) -> Result {
    let Some(output) = UpgradeOutput::of(&session.params).filter(|output| output.is_marked(transaction)) else {
        return Ok(());
    };
    let upgrade = output.parse(transaction).or_exit(Exit::Refuted)?.ok_or_else(|| {
        let failure = Failure::new(Exit::Refuted, "the upgrade keys have not signed all of what it announces");
        failure.advise(
            "join what t of them signed with `taproof upgrade combine`; where that is what it is, write it anew with \
             `taproof upgrade announce`, and have it signed",
        )
    })?;
    session.expect_not_behind(source)?;
    // Where a program is missing here, what was announced since is not known.
    match session.follow_as_far_as_known(source)? {
        (follower, None) => {
            expect_accepted(&follower, &upgrade)?;
            match expect_batches_possible(&upgrade.change, &follower) {
                // The signers have looked at what they sign; who sends it need not know it.
                Err(SuccessionError::Unknown(unknown)) => {
                    session.console.warn(format!("whether there could be batches under it is not known: {unknown}"));
                }
                judged => judged.map_err(no_batches)?,
            }
        }
        (_, Some(stopped)) => {
            session.console.warn(format!("whether it would count is not known: {}", stopped.message()));
        }
    }
    Ok(())
}

/// The last block in which an announcement counts: those who disagree have the notice from there on.
pub(super) fn last_height(upgrade: &Upgrade, params: &Params) -> Option<u64> {
    match &upgrade.change {
        Change::Program { height, .. } | Change::Sequencers { height, .. } => {
            Some(u64::from(height.saturating_sub(params.notice_blocks)))
        }
        Change::Withdrawal => None,
    }
}

pub(super) fn last_block_line(last_height: Option<u64>) -> String {
    last_height.map_or_else(String::new, |height| format!("counts where block {height} or an earlier one holds it\n"))
}
