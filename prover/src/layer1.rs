//! What the same payments cost on Bitcoin itself, measured on a real block.

use bitcoin::Block;

/// The space that payments take on Bitcoin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layer1Figures {
    /// The payments: outputs that carry money, in the block's order, without the miner's.
    pub payments: usize,
    /// The transactions that make them; the last may make more.
    pub transactions: usize,
    /// The transactions' virtual sizes, of the last the part of its payments that are counted.
    pub vsize_vb: f64,
}

impl Layer1Figures {
    /// Measures the first payments of a block, all if there are fewer than `payments_max`.
    pub fn measure(block: &Block, payments_max: usize) -> Self {
        let mut figures = Self { payments: 0, transactions: 0, vsize_vb: 0.0 };
        for transaction in block.txdata.iter().filter(|transaction| !transaction.is_coinbase()) {
            let left = payments_max - figures.payments;
            if left == 0 {
                break;
            }
            let payments = transaction.output.iter().filter(|output| output.value.to_sat() > 0).count();
            let counted = payments.min(left);
            figures.transactions += 1;
            figures.payments += counted;
            // A transaction that pays nobody takes space all the same.
            let share = if payments == 0 { 1.0 } else { counted as f64 / payments as f64 };
            figures.vsize_vb += share * transaction.weight().to_wu().div_ceil(4) as f64;
        }
        figures
    }

    /// Virtual bytes a payment; 0 without payments.
    pub fn vsize_per_payment_vb(&self) -> f64 {
        if self.payments == 0 { 0.0 } else { self.vsize_vb / self.payments as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::consensus::deserialize;

    fn block() -> Block {
        deserialize(taproof_fixtures::MAINNET_BLOCK_702861).expect("a mainnet block")
    }

    #[test]
    fn the_whole_block_adds_up() {
        let block = block();
        let all = Layer1Figures::measure(&block, usize::MAX);
        let others = &block.txdata[1..];
        assert_eq!(all.transactions, others.len());
        assert_eq!(all.vsize_vb, others.iter().map(|transaction| transaction.vsize() as f64).sum::<f64>());
        let outputs = others.iter().flat_map(|transaction| &transaction.output);
        assert_eq!(all.payments, outputs.filter(|output| output.value.to_sat() > 0).count());
        assert!((50.0..200.0).contains(&all.vsize_per_payment_vb()), "{}", all.vsize_per_payment_vb());
    }

    #[test]
    fn the_last_transaction_counts_in_part() {
        let block = block();
        let first = &block.txdata[1];
        let payments = first.output.iter().filter(|output| output.value.to_sat() > 0).count();
        let whole = Layer1Figures::measure(&block, payments);
        assert_eq!((whole.payments, whole.transactions), (payments, 1));
        assert_eq!(whole.vsize_vb, first.vsize() as f64);
        let one = Layer1Figures::measure(&block, 1);
        assert_eq!(one.vsize_vb, first.vsize() as f64 / payments as f64);
        let more = Layer1Figures::measure(&block, payments + 1);
        assert_eq!((more.payments, more.transactions), (payments + 1, 2));
        assert!(more.vsize_vb > whole.vsize_vb);
        let none = Layer1Figures::measure(&block, 0);
        assert_eq!((none.payments, none.vsize_per_payment_vb()), (0, 0.0));
    }
}
