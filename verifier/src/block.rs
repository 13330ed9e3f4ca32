//! Blocks and parts of blocks, checked against their headers.
//!
//! A whole block is checked to be what its header commits to: the Merkle root without the mutation that leaves it
//! unchanged (CVE-2012-2459), the witness commitment (BIP-141), and the bound on its weight. Without the witness
//! commitment someone could strip the payloads. A block that has no commitment must have no witnesses, so blocks from
//! before the activation of segregated witness pass only without either.
//!
//! An excerpt is some transactions of a block, each with its Merkle branch. It proves that they are in the block, in
//! this order; not that they are all that matters. The branch of the coinbase shows the tree's depth: inner nodes
//! cannot pass for a coinbase, so a transaction of 64 bytes cannot pass for an inner node with another below it.
//! Witnesses have a branch of their own, to what the coinbase commits to; without it a transaction is taken as if it
//! had none. Otherwise who makes an excerpt could show a payload that was never in the block, in the place of a
//! witness that reveals nothing.
//!
//! Scripts, amounts and signatures are not checked. Who follows a chain relies on its miners, or on the node that the
//! blocks come from, for these.

use crate::headers::BlockId;
use alloc::vec::Vec;
use bitcoin::{
    Block, Script, Transaction, TxMerkleNode, Txid, Weight, Wtxid,
    block::Header,
    consensus::encode,
    hashes::{Hash, HashEngine, sha256d},
};

/// The longest block, in bytes: each weighs at least one weight unit.
pub const BLOCK_LENGTH_MAX: usize = Weight::MAX_BLOCK.to_wu() as usize;
/// The deepest Merkle tree of a block: a transaction has 60 bytes or more, each of four weight units.
pub const BRANCH_LENGTH_MAX: usize = 15;

/// The start of the coinbase output that commits to the witnesses.
const COMMITMENT_PREFIX: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
const COMMITMENT_LENGTH_MIN: usize = COMMITMENT_PREFIX.len() + 32;

/// Why a block, or a part of one, is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// The bytes are no block, or go on after it.
    #[error("the bytes are not the encoding of a block")]
    Decode,
    /// The bytes are no excerpt, or go on after it.
    #[error("the bytes are not the encoding of an excerpt")]
    DecodeExcerpt,
    /// The bytes exceed any block.
    #[error("{0} bytes, more than the {BLOCK_LENGTH_MAX} of the longest block")]
    TooLong(usize),
    /// The block weighs too much.
    #[error("the block weighs {0} weight units, more than {max}", max = Weight::MAX_BLOCK.to_wu())]
    TooHeavy(u64),
    /// It is not the block that was asked for.
    #[error("the block has hash {found}, where {expected} is expected")]
    NotExpected {
        /// The block that was asked for.
        expected: BlockId,
        /// The hash of the header given.
        found: bitcoin::BlockHash,
    },
    /// There is no next block: all of the best chain is scanned.
    #[error("the best chain is scanned to its tip")]
    NothingExpected,
    /// The first transaction is not a coinbase, or another is.
    #[error("transaction {position} is a coinbase where none may be, or none where one must be")]
    Coinbase {
        /// The position of the transaction.
        position: usize,
    },
    /// The transactions are not those that the header commits to.
    #[error("the header commits to other transactions")]
    MerkleRoot,
    /// The list of transactions repeats itself in a way that the Merkle root does not show.
    #[error("the list of transactions repeats its end")]
    Mutated,
    /// The witnesses are not those that the coinbase commits to.
    #[error("the coinbase does not commit to these witnesses")]
    WitnessCommitment,
    /// A branch is longer than any block's, or not as long as the coinbase's.
    #[error("a Merkle branch of {found} hashes, where the coinbase's has {expected}")]
    BranchLength {
        /// The length of the coinbase's branch.
        expected: usize,
        /// The length found.
        found: usize,
    },
    /// A transaction is not in the block at its position.
    #[error("the block has no such transaction at position {position}")]
    NotIncluded {
        /// The claimed position.
        position: u32,
    },
    /// The transactions of an excerpt do not come in ascending order.
    #[error("position {position} does not come after the one before it")]
    Order {
        /// The position.
        position: u32,
    },
}

/// A whole block that is what its header commits to.
#[derive(Clone, Debug)]
pub struct ValidatedBlock {
    id: BlockId,
    transactions: Vec<(Txid, Transaction)>,
}

impl ValidatedBlock {
    /// Checks a block against the place in the chain where it is expected, which comes from validated headers.
    ///
    /// # Errors
    /// [`BlockError`].
    pub fn new(block: Block, expected: BlockId) -> Result<Self, BlockError> {
        check_hash(&block.header, expected)?;
        check_coinbases(&block.txdata)?;
        let weight = block.weight();
        if weight > Weight::MAX_BLOCK {
            return Err(BlockError::TooHeavy(weight.to_wu()));
        }
        let ids: Vec<_> = block.txdata.iter().map(Transaction::compute_txid).collect();
        let nodes = ids.iter().map(|id| TxMerkleNode::from(*id)).collect();
        if merkle_root(nodes)? != block.header.merkle_root {
            return Err(BlockError::MerkleRoot);
        }
        check_witness_commitment(&block.txdata)?;
        Ok(Self { id: expected, transactions: ids.into_iter().zip(block.txdata).collect() })
    }

    /// Decodes a block and checks it as [`ValidatedBlock::new`] does.
    ///
    /// # Errors
    /// [`BlockError`].
    pub fn decode(bytes: &[u8], expected: BlockId) -> Result<Self, BlockError> {
        Self::new(decode_block(bytes)?, expected)
    }

    /// The block's place in the chain.
    pub fn id(&self) -> BlockId {
        self.id
    }

    /// The transactions, in order.
    pub fn transactions(&self) -> &[(Txid, Transaction)] {
        &self.transactions
    }
}

/// Decodes a block, within the bound on its length.
///
/// # Errors
/// [`BlockError::TooLong`] and [`BlockError::Decode`].
pub fn decode_block(bytes: &[u8]) -> Result<Block, BlockError> {
    if bytes.len() > BLOCK_LENGTH_MAX {
        return Err(BlockError::TooLong(bytes.len()));
    }
    encode::deserialize(bytes).map_err(|_| BlockError::Decode)
}

fn check_hash(header: &Header, expected: BlockId) -> Result<(), BlockError> {
    let found = header.block_hash();
    if found != expected.hash {
        return Err(BlockError::NotExpected { expected, found });
    }
    Ok(())
}

fn check_coinbases(transactions: &[Transaction]) -> Result<(), BlockError> {
    let misplaced = |(position, transaction): (usize, &Transaction)| transaction.is_coinbase() != (position == 0);
    if transactions.is_empty() {
        return Err(BlockError::Coinbase { position: 0 });
    }
    match transactions.iter().enumerate().position(misplaced) {
        Some(position) => Err(BlockError::Coinbase { position }),
        None => Ok(()),
    }
}

/// The root of the tree over the nodes, which are at least one. A level of odd length repeats its last node, so a list
/// that already ends in a repetition has the root of the shorter list: two equal siblings are refused.
fn merkle_root(mut nodes: Vec<TxMerkleNode>) -> Result<TxMerkleNode, BlockError> {
    while nodes.len() > 1 {
        if nodes.chunks_exact(2).any(|pair| pair[0] == pair[1]) {
            return Err(BlockError::Mutated);
        }
        nodes = nodes.chunks(2).map(|pair| parent(pair[0], pair[pair.len() - 1])).collect();
    }
    nodes.first().copied().ok_or(BlockError::MerkleRoot)
}

fn parent(left: TxMerkleNode, right: TxMerkleNode) -> TxMerkleNode {
    let mut engine = TxMerkleNode::engine();
    engine.input(left.as_byte_array());
    engine.input(right.as_byte_array());
    TxMerkleNode::from_engine(engine)
}

fn check_witness_commitment(transactions: &[Transaction]) -> Result<(), BlockError> {
    let [coinbase, others @ ..] = transactions else { return Err(BlockError::WitnessCommitment) };
    if commitment_of(coinbase).is_none() {
        return if transactions.iter().any(has_witness) { Err(BlockError::WitnessCommitment) } else { Ok(()) };
    }
    let nodes = core::iter::once(coinbase_witness_node()).chain(others.iter().map(witness_node));
    check_witness_root(coinbase, merkle_root(nodes.collect())?)
}

/// Checks that a coinbase commits to the root of the tree of witnesses.
fn check_witness_root(coinbase: &Transaction, root: TxMerkleNode) -> Result<(), BlockError> {
    let commitment = commitment_of(coinbase).ok_or(BlockError::WitnessCommitment)?;
    let input = coinbase.input.first().ok_or(BlockError::WitnessCommitment)?;
    let reserved = match input.witness.nth(0) {
        Some(reserved) if input.witness.len() == 1 && reserved.len() == 32 => reserved,
        _ => return Err(BlockError::WitnessCommitment),
    };
    let mut engine = sha256d::Hash::engine();
    engine.input(root.as_byte_array());
    engine.input(reserved);
    if sha256d::Hash::from_engine(engine).as_byte_array() != commitment {
        return Err(BlockError::WitnessCommitment);
    }
    Ok(())
}

fn has_witness(transaction: &Transaction) -> bool {
    transaction.input.iter().any(|input| !input.witness.is_empty())
}

/// A transaction other than the coinbase in the tree of witnesses.
fn witness_node(transaction: &Transaction) -> TxMerkleNode {
    TxMerkleNode::from_byte_array(transaction.compute_wtxid().to_byte_array())
}

/// The coinbase's place in the tree of witnesses, whose root its own witness is hashed with.
fn coinbase_witness_node() -> TxMerkleNode {
    TxMerkleNode::from_byte_array(Wtxid::all_zeros().to_byte_array())
}

/// What the coinbase says of the witnesses, if anything: the last such output counts.
fn commitment_of(coinbase: &Transaction) -> Option<&[u8; 32]> {
    coinbase.output.iter().rev().find_map(|output| commitment(&output.script_pubkey))
}

fn commitment(script: &Script) -> Option<&[u8; 32]> {
    if script.len() < COMMITMENT_LENGTH_MIN {
        return None;
    }
    script.as_bytes().strip_prefix(&COMMITMENT_PREFIX)?.first_chunk()
}

/// A transaction and the way from it to the Merkle root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// The transaction's position in the block.
    pub position: u32,
    /// The transaction.
    pub transaction: Transaction,
    /// The siblings on the way to the root, lowest first.
    pub branch: Vec<TxMerkleNode>,
    /// The siblings in the tree of witnesses, lowest first; without them nothing is taken from the witnesses.
    pub witness_branch: Option<Vec<TxMerkleNode>>,
}

impl Inclusion {
    fn root(&self) -> Result<TxMerkleNode, BlockError> {
        self.root_from(TxMerkleNode::from(self.transaction.compute_txid()), &self.branch)
    }

    /// The root that a branch leads to from a node at the transaction's position.
    fn root_from(&self, mut node: TxMerkleNode, branch: &[TxMerkleNode]) -> Result<TxMerkleNode, BlockError> {
        let not_included = || BlockError::NotIncluded { position: self.position };
        let mut position = self.position;
        for sibling in branch {
            node = match position % 2 {
                0 => parent(node, *sibling),
                // A right child equal to its sibling is the repetition of the last node, not a transaction's place.
                _ if node == *sibling => return Err(not_included()),
                _ => parent(*sibling, node),
            };
            position /= 2;
        }
        if position == 0 { Ok(node) } else { Err(not_included()) }
    }

    /// The transaction, its witnesses checked, or taken off where nothing is said of them.
    fn into_transaction(mut self, coinbase: &Transaction, depth: usize) -> Result<Transaction, BlockError> {
        match &self.witness_branch {
            None => self.transaction.input.iter_mut().for_each(|input| input.witness.clear()),
            Some(branch) if branch.len() != depth => {
                return Err(BlockError::BranchLength { expected: depth, found: branch.len() });
            }
            Some(branch) => {
                let (coinbase, node) = match self.position {
                    0 => (&self.transaction, coinbase_witness_node()),
                    _ => (coinbase, witness_node(&self.transaction)),
                };
                check_witness_root(coinbase, self.root_from(node, branch)?)?;
            }
        }
        Ok(self.transaction)
    }
}

/// Some transactions of a block, not yet checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The block's header.
    pub header: Header,
    /// The coinbase, whose branch shows the tree's depth.
    pub coinbase: Inclusion,
    /// Other transactions, in ascending order.
    pub transactions: Vec<Inclusion>,
}

impl Excerpt {
    /// Cuts transactions out of a block. Positions outside the block are left out.
    ///
    /// # Errors
    /// [`BlockError::Coinbase`] for a block without transactions.
    pub fn of(block: &Block, positions: &[u32]) -> Result<Self, BlockError> {
        let nodes: Vec<_> = block.txdata.iter().map(|tx| TxMerkleNode::from(tx.compute_txid())).collect();
        let witness_nodes = block.txdata.split_first().filter(|(coinbase, _)| commitment_of(coinbase).is_some());
        let witness_nodes = witness_nodes.map(|(_, others)| {
            core::iter::once(coinbase_witness_node()).chain(others.iter().map(witness_node)).collect::<Vec<_>>()
        });
        let inclusion = |position: u32| {
            let transaction = block.txdata.get(position as usize)?.clone();
            let shown = witness_nodes.as_ref().filter(|_| has_witness(&transaction));
            let witness_branch = shown.map(|nodes| branch(nodes.clone(), position as usize));
            let branch = branch(nodes.clone(), position as usize);
            Some(Inclusion { position, transaction, branch, witness_branch })
        };
        Ok(Self {
            header: block.header,
            coinbase: inclusion(0).ok_or(BlockError::Coinbase { position: 0 })?,
            transactions: positions.iter().filter_map(|position| inclusion(*position)).collect(),
        })
    }
}

fn branch(mut nodes: Vec<TxMerkleNode>, mut position: usize) -> Vec<TxMerkleNode> {
    let mut siblings = Vec::new();
    while nodes.len() > 1 {
        siblings.push(nodes[(position ^ 1).min(nodes.len() - 1)]);
        nodes = nodes.chunks(2).map(|pair| parent(pair[0], pair[pair.len() - 1])).collect();
        position /= 2;
    }
    siblings
}

/// Some transactions of a block, proven to be in it.
#[derive(Clone, Debug)]
pub struct ValidatedExcerpt {
    id: BlockId,
    transactions: Vec<(Txid, Transaction)>,
}

impl ValidatedExcerpt {
    /// Checks an excerpt against the place in the chain where the block is expected.
    ///
    /// A transaction's identity does not cover its witnesses, so they need branches of their own: without one, the
    /// transaction comes out without witnesses.
    ///
    /// # Errors
    /// [`BlockError`].
    pub fn new(excerpt: Excerpt, expected: BlockId) -> Result<Self, BlockError> {
        let Excerpt { header, coinbase, transactions } = excerpt;
        check_hash(&header, expected)?;
        let depth = coinbase.branch.len();
        if depth > BRANCH_LENGTH_MAX {
            return Err(BlockError::BranchLength { expected: BRANCH_LENGTH_MAX, found: depth });
        }
        if coinbase.position != 0 || !coinbase.transaction.is_coinbase() {
            return Err(BlockError::Coinbase { position: 0 });
        }
        if coinbase.root()? != header.merkle_root {
            return Err(BlockError::MerkleRoot);
        }
        let mut next_position = 0;
        let mut included = Vec::with_capacity(transactions.len());
        for inclusion in transactions {
            let (position, found) = (inclusion.position, inclusion.branch.len());
            if position < next_position {
                return Err(BlockError::Order { position });
            }
            if found != depth {
                return Err(BlockError::BranchLength { expected: depth, found });
            }
            if inclusion.root()? != header.merkle_root {
                return Err(BlockError::NotIncluded { position });
            }
            next_position = position + 1;
            let txid = inclusion.transaction.compute_txid();
            included.push((txid, inclusion.into_transaction(&coinbase.transaction, depth)?));
        }
        Ok(Self { id: expected, transactions: included })
    }

    /// The block's place in the chain.
    pub fn id(&self) -> BlockId {
        self.id
    }

    /// The transactions, in order.
    pub fn transactions(&self) -> &[(Txid, Transaction)] {
        &self.transactions
    }
}

mod codec;
#[cfg(test)]
mod tests;

pub use codec::EXCERPT_LENGTH_MAX;
