//! The block's payments as if all its holders had accounts already: what the data of transfers alone costs.

use super::BlockPayments;
use rand::{SeedableRng, seq::index::sample};
use rand_chacha::ChaCha20Rng;
use taproof_verifier::{
    cell::{CellIndex, Depth},
    record::TransferRecord,
};

impl BlockPayments {
    /// The payments as transfers between accounts that lie scattered over a whole tree, in random cells that
    /// the block's hash alone determines: in a rollup that is long in use, the parties of a block have
    /// no neighbouring cells. `None` if the tree has fewer cells than the block has holders.
    pub fn transfers_between_existing(&self, depth: Depth, fee_sat: u64) -> Option<Vec<TransferRecord>> {
        let cells = depth.cell_count() as usize;
        if cells < self.holders.len() {
            return None;
        }
        let seed = blake3::derive_key("taproof v1 workload cells", self.block_hash.as_ref());
        let cells = sample(&mut ChaCha20Rng::from_seed(seed), cells, self.holders.len());
        let cell = |holder| {
            let index = u32::try_from(cells.index(holder)).ok().and_then(CellIndex::new);
            index.expect("a sample of a tree's cells lies in the tree")
        };
        let payments = self.payments.iter();
        let transfer = |payment: &super::BlockPayment| TransferRecord {
            from: cell(payment.from),
            to: cell(payment.to),
            amount: payment.amount_sat,
            fee: fee_sat,
        };
        Some(payments.map(transfer).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use taproof_fixtures::MAINNET_BLOCK_702861;
    use taproof_verifier::{codec, record::Records};

    #[test]
    fn real_transfers_take_at_most_nine_bytes_each() {
        let payments = BlockPayments::from_block(MAINNET_BLOCK_702861, usize::MAX).unwrap();
        let records = payments.transfers_between_existing(Depth::new(7).unwrap(), 25).unwrap();
        let count = records.len();
        let posted = codec::deflate(&codec::columns(&[&Records::Transfer(records)])).len();
        assert!(posted <= 9 * count, "{posted} bytes for {count} transfers");
    }

    #[test]
    fn each_holder_has_a_cell_of_its_own() {
        let payments = BlockPayments::from_block(MAINNET_BLOCK_702861, 500).unwrap();
        let depth = Depth::new(4).unwrap();
        let records = payments.transfers_between_existing(depth, 0).unwrap();
        let cells: HashSet<_> = records.iter().flat_map(|record| [record.from, record.to]).collect();
        assert_eq!(cells.len(), payments.holders().len());
        assert!(cells.iter().all(|cell| depth.contains(*cell)));
        assert_eq!(payments.transfers_between_existing(Depth::new(2).unwrap(), 0), None);
        assert_eq!(payments.transfers_between_existing(depth, 0), Some(records));
    }
}
