//! What happens in a storm, counted, and how much of it there must be.

use super::{REORG_MAX_BLOCKS, tokens::Counts};
use taproof_circuits::{
    state::{StepsError, TransitionError},
    step::Refusal,
};
use taproof_testkit::poster::Troubles;

/// What happened, counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) events: u64,
    /// Blocks that were mined, lost ones included.
    pub(super) blocks: u64,
    pub(super) reorganisations: u64,
    pub(super) deepest: u64,
    /// Transactions that a reorganisation took out of the chain, and those that the new branch did not have.
    pub(super) displaced: u64,
    pub(super) fell_out: u64,
    pub(super) copies: u64,
    pub(super) thefts: u64,
    pub(super) poster_outages: u64,
    pub(super) pools_lost: u64,
    /// Batches with more than one reveal.
    pub(super) bumped: u64,
    pub(super) rival_links: u64,
    pub(super) refused_by_signers: u64,
    /// Those who read the chain from its start.
    pub(super) readers: u64,
    pub(super) batches: u64,
    pub(super) served: u64,
    pub(super) refuted: u64,
    pub(super) void: u64,
    pub(super) links: u64,
    pub(super) payouts: u64,
    pub(super) dust_sat: u64,
    pub(super) deposited_sat: u64,
    pub(super) paid_sat: u64,
    /// Batches that were ignored because a pool cleared a second time in a block, or because steps came too late.
    pub(super) cleared_twice: u64,
    pub(super) too_late: u64,
    /// Orders that were left out of a session, clauses that expired, and other steps that were refused.
    pub(super) left_out: u64,
    pub(super) expired: u64,
    pub(super) refused: u64,
    /// Orders that a reorganisation took out of a session, and that got something else in another.
    pub(super) filled_anew: u64,
    pub(super) trades: Counts,
    pub(super) troubles: [Troubles; 2],
}

impl Tally {
    pub(super) fn note_refusals<'a>(&mut self, reasons: impl Iterator<Item = &'a TransitionError>) {
        for reason in reasons {
            match reason {
                TransitionError::LeftOut(_) => self.left_out += 1,
                TransitionError::Steps(StepsError::Step { source, .. })
                    if matches!(source.refusal, Refusal::Expired { .. }) =>
                {
                    self.expired += 1;
                }
                TransitionError::Steps(_) => self.refused += 1,
                _ => {}
            }
        }
    }
}

/// The storms are worth the name: each of these happened.
pub(super) fn expect_storms(tallies: &[Tally]) {
    let sum = |count: fn(&Tally) -> u64| tallies.iter().map(count).sum::<u64>();
    let trouble = |count: fn(&Troubles) -> u32| {
        tallies.iter().flat_map(|tally| &tally.troubles).map(|troubles| u64::from(count(troubles))).sum::<u64>()
    };
    let (displaced, fell_out) = (sum(|tally| tally.displaced), sum(|tally| tally.fell_out));
    let counts = [
        ("reorganisations", sum(|tally| tally.reorganisations), 100),
        ("the deepest reorganisation", tallies[0].deepest, REORG_MAX_BLOCKS.into()),
        ("transactions that fell out", fell_out, 100),
        ("transactions that returned", displaced - fell_out, 100),
        ("batches that became stale", trouble(|troubles| troubles.stale), 10),
        ("batches that lost against another", trouble(|troubles| troubles.foreign), 5),
        ("batches that were taken over", trouble(|troubles| troubles.taken_over), 20),
        ("copies of batches", sum(|tally| tally.copies), 5),
        ("stolen coins", sum(|tally| tally.thefts), 5),
        ("crashes", trouble(|troubles| troubles.crashes), 2),
        ("nodes that were down", trouble(|troubles| troubles.node_outages), 2),
        ("posters that were down", sum(|tally| tally.poster_outages), 2),
        ("lost pools", sum(|tally| tally.pools_lost), 2),
        ("batches that were bumped", sum(|tally| tally.bumped), 5),
        ("places with rival links", sum(|tally| tally.rival_links), 2),
        ("links that signers refused", sum(|tally| tally.refused_by_signers), 10),
        ("exits served", sum(|tally| tally.served), 20),
        ("exits refuted", sum(|tally| tally.refuted), 20),
        ("void deposits, all taken back", sum(|tally| tally.void), 4),
        ("payouts", sum(|tally| tally.payouts), 60),
        ("dust that was settled", sum(|tally| tally.dust_sat), 1),
        ("batches", sum(|tally| tally.batches), 60),
        ("tokens", sum(|tally| tally.trades.tokens), 4),
        ("mints", sum(|tally| tally.trades.mints), 20),
        ("burns", sum(|tally| tally.trades.burns), 4),
        ("pools", sum(|tally| tally.trades.pools), 4),
        ("joins", sum(|tally| tally.trades.joins), 6),
        ("exits from pools", sum(|tally| tally.trades.exits), 6),
        ("sessions", sum(|tally| tally.trades.sessions), 60),
        ("orders", sum(|tally| tally.trades.orders), 80),
        ("orders by ticket", sum(|tally| tally.trades.orders_by_ticket), 30),
        ("offers that were taken", sum(|tally| tally.trades.offers), 4),
        ("orders that were left out", sum(|tally| tally.left_out), 50),
        ("clauses that expired", sum(|tally| tally.expired), 50),
        ("other steps that were refused", sum(|tally| tally.refused), 100),
        ("orders that were filled anew", sum(|tally| tally.filled_anew), 10),
        ("pools that were to clear twice in a block", sum(|tally| tally.cleared_twice), 3),
        ("steps that came too late", sum(|tally| tally.too_late), 3),
    ];
    for (what, count, count_min) in counts {
        assert!(count >= count_min, "{what}: {count}, where {count_min} are the least");
    }
}
