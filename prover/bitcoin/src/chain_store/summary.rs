//! What a chain store holds, on one page.

use super::{ChainStore, ChainStoreError, FinalAnchor, FinalEvent, View, tables::LOG};
use redb::ReadableTable;
use taproof_base::{store_error::StoreError, store_file};
use taproof_verifier::{follow::Tip, headers::BlockId};

/// What a chain store holds, for those who want an overview.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainSummary {
    /// How the follower sees the chain.
    pub view: View,
    /// The last final block that was scanned; `None` if the chain left what was stored and is being scanned again.
    pub block: Option<BlockId>,
    /// The state of the rollup after that block.
    pub tip: Option<Tip>,
    /// Final anchors: the batches that are anchored for good.
    pub anchors: u64,
    /// The last of them.
    pub last_anchor: Option<FinalAnchor>,
    /// Final transactions that announce an anchor and are none.
    pub refused: u64,
    /// Payouts that are due, paid or not.
    pub payouts: u64,
    /// What they add up to.
    pub payouts_sat: u128,
    /// How many deposits are credited or void in final blocks.
    pub deposits_consumed: u64,
    /// How many of them are void.
    pub deposits_void: u64,
    /// Bytes of all final reveals.
    pub reveal_bytes: u64,
    /// Headers in the store.
    pub headers: u32,
    /// The length of the file.
    pub file_bytes: u64,
}

impl ChainStore {
    /// Summarises the store; `None` if there is no file.
    ///
    /// # Errors
    /// [`ChainStoreError`].
    pub fn summary(&self) -> Result<Option<ChainSummary>, ChainStoreError> {
        self.read(None, |transaction, head| {
            let checkpoint = head.checkpoint()?;
            let mut summary = ChainSummary {
                view: head.view,
                block: checkpoint.as_ref().map(|checkpoint| checkpoint.block()),
                tip: checkpoint.as_ref().map(|checkpoint| *checkpoint.tip()),
                anchors: 0,
                last_anchor: None,
                refused: 0,
                payouts: head.payouts,
                payouts_sat: 0,
                deposits_void: 0,
                deposits_consumed: checkpoint.map_or(0, |checkpoint| checkpoint.tip().deposits_consumed),
                reveal_bytes: 0,
                headers: head.headers_count,
                file_bytes: std::fs::metadata(self.path())
                    .map_err(|error| StoreError::from_io(error, self.path()))?
                    .len(),
            };
            for entry in transaction.open_table(LOG)?.iter()? {
                match store_file::decode(entry?.1.value())? {
                    FinalEvent::Anchor(anchor) => {
                        summary.anchors += 1;
                        summary.reveal_bytes += u64::from(anchor.reveal_bytes);
                        summary.last_anchor = Some(anchor);
                    }
                    FinalEvent::Refused(_) => summary.refused += 1,
                    FinalEvent::RefusedMore(more) => summary.refused = summary.refused.saturating_add(more.count),
                    FinalEvent::Payout(payout) => summary.payouts_sat += u128::from(payout.amount_sat),
                    FinalEvent::Void(void) => summary.deposits_void += void.count,
                    FinalEvent::Upgrade(_) | FinalEvent::UpgradeRefused(_) => {}
                }
            }
            Ok(Some(summary))
        })
    }
}
