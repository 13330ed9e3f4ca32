//! A whole regtest chain in one process: blocks, coins and every rule that a spend has to obey.
//!
//! Blocks are mined at regtest's difficulty with a real search for the nonce, carry the height (BIP 34) and the
//! witness commitment (BIP 141), and are checked before they join the chain: proof of work, median time, merkle root,
//! commitment, weight, signature operations, subsidy, maturity of coinbases, locks in time and height (BIP 65, 68,
//! 113), conservation of value, and each input's script by Bitcoin's own code ([`bitcoinconsensus`]) with taproot in
//! force. There is no mempool: [`RegtestChain::mine`] takes the transactions of the next block in order.
//!
//! Nothing reads a clock: each block is stamped ten minutes after its parent, so the same calls give the same chain.

mod check;
mod file;
mod policy;

#[cfg(test)]
mod tests;

use crate::consensus::TransactionError;
use bitcoin::{
    Amount, Block, BlockHash, Network, OutPoint, Script, ScriptBuf, Sequence, Transaction, TxIn, TxMerkleNode, TxOut,
    Txid, Weight, Witness,
    absolute::LockTime,
    block::{Header, Version},
    constants::genesis_block,
    hashes::Hash,
    script::{Builder, PushBytesBuf},
    transaction,
};
use check::{Moment, View};
use std::collections::HashMap;

pub use file::{ChainFile, ChainFileError};
pub use policy::{NonStandardError, TransactionFacts};

/// Confirmations that a coinbase output needs before it can be spent.
pub const COINBASE_MATURITY_BLOCKS: u32 = 100;
/// Blocks after which regtest halves its subsidy of 50 bitcoin.
const HALVING_INTERVAL_BLOCKS: u32 = 150;

/// Seconds between a block's time and its parent's.
const BLOCK_SPACING_SECONDS: u32 = 600;
/// Headers whose median time bounds the next block's.
const MEDIAN_TIME_SPAN: u32 = 11;
/// The cost of all signature operations of a block, in weight-scaled units (BIP 141).
const MAX_SIGOPS_COST: usize = 80_000;

/// An unspent output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coin {
    /// The value and who may spend it.
    pub output: TxOut,
    /// The block that created it.
    pub height: u32,
    /// Whether it is the reward of a block.
    pub coinbase: bool,
}

/// What a block changed, so that it can be taken back.
#[derive(Clone, Debug)]
struct Undo {
    created: Vec<OutPoint>,
    spent: Vec<(OutPoint, Coin)>,
}

/// A chain of checked regtest blocks and the coins that it leaves unspent.
#[derive(Clone, Debug)]
pub struct RegtestChain {
    blocks: Vec<Block>,
    undo: Vec<Undo>,
    heights: HashMap<BlockHash, u32>,
    coins: HashMap<OutPoint, Coin>,
    /// Bytes of the last tip that was displaced; coinbases carry them, so that no branch repeats the one it replaces.
    branch: [u8; 8],
}

/// Why a block does not join the chain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// The block names another parent than the tip.
    #[error("the block's parent {parent} is not the tip {tip}")]
    Parent {
        /// The parent that the block names.
        parent: BlockHash,
        /// The tip of the chain.
        tip: BlockHash,
    },
    /// The target is not regtest's, or the hash misses it.
    #[error("the block has no proof of work at regtest's target")]
    ProofOfWork,
    /// The time is not above the median of the blocks before.
    #[error("the block's time {time} is not above the median time {median} of the blocks before it")]
    Time {
        /// Seconds in the header.
        time: u32,
        /// The median of the eleven blocks before.
        median: u32,
    },
    /// The first transaction is missing, is no coinbase, or does not start with the height.
    #[error("the block does not start with a coinbase for height {0}")]
    Coinbase(u32),
    /// The coinbase takes more than subsidy and fees.
    #[error("the coinbase takes {claimed_sat} sat of {allowed_sat} sat")]
    Reward {
        /// The sum of the coinbase's outputs.
        claimed_sat: u64,
        /// Subsidy and fees.
        allowed_sat: u64,
    },
    /// The header commits to other transactions.
    #[error("the merkle root does not match the transactions")]
    MerkleRoot,
    /// The coinbase commits to other witnesses, or to none where there are some.
    #[error("the witness commitment does not match the transactions")]
    WitnessCommitment,
    /// The block is too heavy.
    #[error("the block weighs {0}, above the limit of {max}", max = Weight::MAX_BLOCK)]
    Weight(Weight),
    /// The block holds too many signature operations.
    #[error("the block's signature operations cost {0}, above the limit of {MAX_SIGOPS_COST}")]
    Sigops(usize),
    /// A transaction breaks a rule.
    #[error("transaction {txid} at position {position} of the block")]
    Transaction {
        /// The position in the block, the coinbase at 0.
        position: usize,
        /// The transaction.
        txid: Txid,
        /// The rule.
        source: TransactionError,
    },
    /// The chain is as long as heights can count.
    #[error("the chain has no height left")]
    Height,
}

/// Why the chain was not reorganised; it is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReorganiseError {
    /// The branch would start above the tip.
    #[error("height {fork_height} is above the tip at {tip_height}")]
    AboveTip {
        /// The last block that both branches share.
        fork_height: u32,
        /// The tip.
        tip_height: u32,
    },
    /// The new branch is not longer than the one it would replace, so no node would follow it.
    #[error("a branch of {branch} blocks does not outweigh the {replaced} it would replace")]
    NotHeavier {
        /// Blocks of the new branch.
        branch: usize,
        /// Blocks above the fork.
        replaced: usize,
    },
    /// A block of the branch was refused.
    #[error("block {position} of the new branch")]
    Block {
        /// The position in the branch.
        position: usize,
        /// The rule.
        source: BlockError,
    },
}

impl Default for RegtestChain {
    fn default() -> Self {
        Self::new()
    }
}

impl RegtestChain {
    /// The chain that holds nothing but the genesis block, whose reward nobody can spend.
    pub fn new() -> Self {
        let genesis = genesis_block(Network::Regtest);
        Self {
            heights: HashMap::from([(genesis.block_hash(), 0)]),
            undo: vec![Undo { created: Vec::new(), spent: Vec::new() }],
            coins: HashMap::new(),
            branch: [0; 8],
            blocks: vec![genesis],
        }
    }

    /// The height of the last block; the genesis block has 0.
    pub fn height(&self) -> u32 {
        u32::try_from(self.blocks.len() - 1).expect("connect refuses a block whose height is not a u32")
    }

    /// The last block.
    pub fn tip(&self) -> &Block {
        self.blocks.last().expect("the genesis block is never taken back")
    }

    /// The hash of the last block.
    pub fn tip_hash(&self) -> BlockHash {
        self.tip().block_hash()
    }

    /// The block at a height, if the chain is that long.
    pub fn block_at(&self, height: u32) -> Option<&Block> {
        self.blocks.get(usize::try_from(height).ok()?)
    }

    /// The height of a block of the chain.
    pub fn height_of(&self, hash: &BlockHash) -> Option<u32> {
        self.heights.get(hash).copied()
    }

    /// All blocks, the genesis block first.
    pub fn blocks(&self) -> impl ExactSizeIterator<Item = &Block> {
        self.blocks.iter()
    }

    /// An unspent output.
    pub fn coin(&self, outpoint: &OutPoint) -> Option<&Coin> {
        self.coins.get(outpoint)
    }

    /// All unspent outputs, in no order.
    pub fn coins(&self) -> impl Iterator<Item = (&OutPoint, &Coin)> {
        self.coins.iter()
    }

    /// The outputs that pay to a script and that the next block may spend, in a fixed order.
    pub fn spendable_coins(&self, script: &Script) -> Vec<(OutPoint, Coin)> {
        let height = self.height() + 1;
        let mature = |coin: &Coin| !coin.coinbase || height - coin.height >= COINBASE_MATURITY_BLOCKS;
        let mut coins: Vec<_> = self
            .coins
            .iter()
            .filter(|(_, coin)| coin.output.script_pubkey == *script && mature(coin))
            .map(|(outpoint, coin)| (*outpoint, coin.clone()))
            .collect();
        coins.sort_by_key(|(outpoint, coin)| (coin.height, *outpoint));
        coins
    }

    /// Checks transactions as the next block would, each seeing the outputs of those before it, and weighs them.
    ///
    /// # Errors
    /// The position of the first transaction that breaks a rule, and the rule.
    pub fn check_transactions(
        &self,
        transactions: &[Transaction],
    ) -> Result<Vec<TransactionFacts>, (usize, TransactionError)> {
        let moment = self.next_moment();
        let mut view = View::new(&self.coins);
        let mut facts = Vec::with_capacity(transactions.len());
        for (position, transaction) in transactions.iter().enumerate() {
            let fee = view.spend(transaction, &moment).map_err(|error| (position, error))?;
            view.create(transaction, moment.height, false);
            facts.push(TransactionFacts::new(transaction, fee));
        }
        Ok(facts)
    }

    /// Mines the next block with these transactions, whose fees go to `reward_to` beside the subsidy.
    ///
    /// # Errors
    /// [`BlockError`] if a transaction or the block as a whole breaks a rule; the chain is as it was.
    pub fn mine(&mut self, transactions: &[Transaction], reward_to: &Script) -> Result<&Block, BlockError> {
        let fees = self.check_transactions(transactions).map_err(|(position, source)| BlockError::Transaction {
            position: position + 1,
            txid: transactions[position].compute_txid(),
            source,
        })?;
        let fee_sat: u64 = fees.iter().map(|facts| facts.fee_sat).sum();
        let height = self.height() + 1;
        let reward = subsidy(height) + Amount::from_sat(fee_sat);
        let mut txdata = vec![self.coinbase(height, reward, reward_to)];
        txdata.extend_from_slice(transactions);
        let tip = self.tip();
        let header = Header {
            version: Version::from_consensus(0x2000_0000),
            prev_blockhash: tip.block_hash(),
            merkle_root: TxMerkleNode::all_zeros(),
            time: tip.header.time + BLOCK_SPACING_SECONDS,
            bits: tip.header.bits,
            nonce: 0,
        };
        let mut block = Block { header, txdata };
        commit_to_witnesses(&mut block);
        block.header.merkle_root = block.compute_merkle_root().expect("the block holds its coinbase");
        while block.header.validate_pow(block.header.target()).is_err() {
            block.header.nonce += 1;
        }
        self.connect(block)?;
        Ok(self.tip())
    }

    /// Mines blocks without transactions.
    ///
    /// # Errors
    /// [`BlockError::Height`] when heights run out.
    pub fn mine_empty(&mut self, blocks: u32, reward_to: &Script) -> Result<(), BlockError> {
        (0..blocks).try_for_each(|_| self.mine(&[], reward_to).map(|_| ()))
    }

    /// Checks a block by every rule and makes it the tip.
    ///
    /// # Errors
    /// [`BlockError`]; the chain is as it was.
    pub fn connect(&mut self, block: Block) -> Result<(), BlockError> {
        let height = self.height().checked_add(1).ok_or(BlockError::Height)?;
        self.check_header(&block.header)?;
        check_commitments(&block, height)?;
        let moment = self.next_moment();
        let mut view = View::new(&self.coins);
        let coinbase = &block.txdata[0];
        let mut allowed = subsidy(height);
        let mut sigops_cost = coinbase.total_sigop_cost(|_| None);
        view.create(coinbase, height, true);
        for (position, transaction) in block.txdata.iter().enumerate().skip(1) {
            sigops_cost += transaction.total_sigop_cost(|outpoint| view.coin(outpoint).map(|coin| coin.output.clone()));
            allowed += view.spend(transaction, &moment).map_err(|source| BlockError::Transaction {
                position,
                txid: transaction.compute_txid(),
                source,
            })?;
            view.create(transaction, height, false);
        }
        if sigops_cost > MAX_SIGOPS_COST {
            return Err(BlockError::Sigops(sigops_cost));
        }
        let claimed = check::output_value(coinbase).map_err(|source| BlockError::Transaction {
            position: 0,
            txid: coinbase.compute_txid(),
            source,
        })?;
        if claimed > allowed {
            return Err(BlockError::Reward { claimed_sat: claimed.to_sat(), allowed_sat: allowed.to_sat() });
        }
        let changes = view.into_changes();
        self.apply(block, height, changes);
        Ok(())
    }

    /// Replaces all blocks above `fork_height` by a longer branch, one list of transactions a block.
    ///
    /// # Errors
    /// [`ReorganiseError`]; the chain is as it was.
    pub fn reorganise(
        &mut self,
        fork_height: u32,
        branch: &[Vec<Transaction>],
        reward_to: &Script,
    ) -> Result<(), ReorganiseError> {
        let tip_height = self.height();
        let replaced =
            tip_height.checked_sub(fork_height).ok_or(ReorganiseError::AboveTip { fork_height, tip_height })? as usize;
        if branch.len() <= replaced {
            return Err(ReorganiseError::NotHeavier { branch: branch.len(), replaced });
        }
        let before = self.clone();
        let displaced = self.tip_hash().to_byte_array();
        self.branch.copy_from_slice(&displaced[..8]);
        (0..replaced).for_each(|_| self.disconnect_tip());
        for (position, transactions) in branch.iter().enumerate() {
            if let Err(source) = self.mine(transactions, reward_to) {
                *self = before;
                return Err(ReorganiseError::Block { position, source });
            }
        }
        Ok(())
    }

    fn apply(&mut self, block: Block, height: u32, changes: HashMap<OutPoint, Option<Coin>>) {
        let mut undo = Undo { created: Vec::new(), spent: Vec::new() };
        for (outpoint, change) in changes {
            match change {
                Some(coin) => {
                    self.coins.insert(outpoint, coin);
                    undo.created.push(outpoint);
                }
                // A coin that was made and spent within the block leaves no trace.
                None => undo.spent.extend(self.coins.remove(&outpoint).map(|coin| (outpoint, coin))),
            }
        }
        self.heights.insert(block.block_hash(), height);
        self.undo.push(undo);
        self.blocks.push(block);
    }

    fn disconnect_tip(&mut self) {
        assert!(self.blocks.len() > 1, "the genesis block stays");
        let hash = self.tip_hash();
        let undo = self.undo.pop().expect("one entry a block");
        self.blocks.pop();
        self.heights.remove(&hash);
        undo.created.iter().for_each(|outpoint| drop(self.coins.remove(outpoint)));
        self.coins.extend(undo.spent);
    }

    fn check_header(&self, header: &Header) -> Result<(), BlockError> {
        let tip = self.tip_hash();
        if header.prev_blockhash != tip {
            return Err(BlockError::Parent { parent: header.prev_blockhash, tip });
        }
        if header.bits != self.tip().header.bits || header.validate_pow(header.target()).is_err() {
            return Err(BlockError::ProofOfWork);
        }
        let median = self.median_time(self.height());
        if header.time <= median {
            return Err(BlockError::Time { time: header.time, median });
        }
        Ok(())
    }

    /// The median time of the eleven blocks that end at a height of the chain (BIP 113).
    fn median_time(&self, height: u32) -> u32 {
        let first = (height + 1).saturating_sub(MEDIAN_TIME_SPAN) as usize;
        let mut times: Vec<u32> = self.blocks[first..=height as usize].iter().map(|block| block.header.time).collect();
        times.sort_unstable();
        times[times.len() / 2]
    }

    fn next_moment(&self) -> Moment<'_> {
        Moment { height: self.height() + 1, median_time_before: self.median_time(self.height()), chain: self }
    }

    fn coinbase(&self, height: u32, reward: Amount, reward_to: &Script) -> Transaction {
        let input = TxIn {
            previous_output: OutPoint::null(),
            script_sig: height_prefix(height).push_slice(self.branch).into_script(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        };
        let output = TxOut { value: reward, script_pubkey: reward_to.to_owned() };
        Transaction {
            version: transaction::Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![input],
            output: vec![output],
        }
    }
}

/// The subsidy of a block.
fn subsidy(height: u32) -> Amount {
    let halvings = height / HALVING_INTERVAL_BLOCKS;
    Amount::from_sat(5_000_000_000u64.checked_shr(halvings).unwrap_or(0))
}

/// The start of the coinbase's input script at a height (BIP 34).
fn height_prefix(height: u32) -> Builder {
    Builder::new().push_int(i64::from(height))
}

/// Gives the coinbase the witness commitment of BIP 141.
fn commit_to_witnesses(block: &mut Block) {
    const HEADER: [u8; 4] = [0xaa, 0x21, 0xa9, 0xed];
    let reserved = [0u8; 32];
    let root = block.witness_root().expect("the block holds its coinbase");
    let commitment = Block::compute_witness_commitment(&root, &reserved);
    let mut data = PushBytesBuf::from(HEADER);
    data.extend_from_slice(commitment.as_ref()).expect("36 bytes can be pushed");
    let coinbase = &mut block.txdata[0];
    coinbase.input[0].witness.push(reserved);
    coinbase.output.push(TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::new_op_return(data) });
}

/// Checks what a block's header, coinbase and transactions promise of each other.
fn check_commitments(block: &Block, height: u32) -> Result<(), BlockError> {
    let coinbase = block.txdata.first().ok_or(BlockError::Coinbase(height))?;
    let prefix = height_prefix(height).into_script();
    let starts_right = coinbase.is_coinbase() && coinbase.input[0].script_sig.as_bytes().starts_with(prefix.as_bytes());
    if !starts_right || !(2..=100).contains(&coinbase.input[0].script_sig.len()) {
        return Err(BlockError::Coinbase(height));
    }
    if !block.check_merkle_root() {
        return Err(BlockError::MerkleRoot);
    }
    if !block.check_witness_commitment() {
        return Err(BlockError::WitnessCommitment);
    }
    if block.weight() > Weight::MAX_BLOCK {
        return Err(BlockError::Weight(block.weight()));
    }
    Ok(())
}
