//! Following a rollup on Bitcoin: headers and blocks in, verified roots, due payouts and rewinds out.
//!
//! The follower does no input or output. Its driver feeds headers ([`Follower::accept_header`]), asks which block of
//! the best chain comes next ([`Follower::next_block`]), and feeds that ([`Follower::connect`]); the order in which
//! headers and blocks alternate does not matter. Every decision is a function of the blocks of the best chain from the
//! start on, so followers that have seen the same chain agree, whatever they saw before.
//!
//! ```text
//! headers -> best chain -> next block -> deposits queued
//!                                     -> reveals: rules -> verified batch -> payouts queued -> due when final
//! ```
//!
//! A batch whose anchor breaks a rule is ignored, with the reason as an event; the first that keeps all of them takes
//! its number, and those after it no longer follow the tip. A batch is named by its number and what its payload
//! states, never by its proofs or its transaction, which others can alter.
//!
//! A block is final when it and the blocks after it number `final_depth_blocks`. Final blocks are never rewound: a
//! branch that leaves the chain below them is an error of [`Follower::accept_header`], and then people must decide.
//! That makes payouts come out once: each when its anchor is final.
//!
//! In place of blocks, excerpts may be fed ([`Follower::connect_excerpt`]): transactions that are proven to be in the
//! block. What they credit and what they anchor is checked all the same, but that nothing was left out, neither an
//! earlier anchor nor a deposit, is the word of who made them. So anchors from the first excerpt on make nothing due.
//!
//! Memory: 32 bytes a block since the start, the deposits not yet credited, and what the blocks that are not final
//! hold.

use crate::{
    block::{BlockError, Excerpt, ValidatedBlock, ValidatedExcerpt},
    bridge::Bridge,
    cell::{ChainId, Depth, Token, empty_root, grown_root},
    deposit::Deposit,
    envelope::{Magic, Reveal},
    headers::{Accepted, BlockId, HeaderChain, HeaderError},
    payload::{Payload, PayloadHash},
    program::{Program, ProgramId},
    record::{Destination, Records},
};
use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use ark_bn254::Fr;
use bitcoin::{Block, Network, Transaction, Txid, block::Header};

mod checkpoint;
mod rules;
#[cfg(test)]
mod tests;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use rules::{DEPOSITS_ENOUGH, Refusal};

/// What tells one rollup from another: everything that all who follow it must agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Params {
    /// The Bitcoin network.
    pub network: Network,
    /// The rollup's number, which statements and signatures name.
    pub chain_id: ChainId,
    /// Marks the outputs that announce anchors.
    pub magic: Magic,
    /// Marks the outputs that name a deposit's owner.
    pub deposit_magic: Magic,
    /// The depth of the empty tree before the first batch.
    pub genesis_depth: Depth,
    /// Who holds what is deposited, and how long a depositor waits for a refund.
    pub bridge: Bridge,
    /// How old a block an anchor may refer to: so long can a deposit or an exit request be left waiting.
    pub deposit_window_blocks: u32,
    /// A deposit cannot be credited in a block so many above its own: from then on it is the depositor's to take back.
    /// More than the window, and less than the refund's delay.
    pub deposit_expiry_blocks: u32,
    /// A block before the first anchor and the first deposit: blocks are read from the one after it.
    pub start: BlockId,
    /// How many blocks, its own included, make a block final.
    pub final_depth_blocks: u32,
    /// The program that proofs are for.
    pub program_id: ProgramId,
}

impl Params {
    /// Checks that the deposits' deadlines leave each party its time: the poster to credit, the federation to move what
    /// is credited.
    ///
    /// # Errors
    /// [`StartError::Deadlines`].
    pub fn check(&self) -> Result<(), StartError> {
        let (window_blocks, expiry_blocks) = (self.deposit_window_blocks, self.deposit_expiry_blocks);
        let refund_blocks = self.bridge.refund_delay_blocks();
        if 0 < window_blocks && window_blocks < expiry_blocks && expiry_blocks < refund_blocks.into() {
            return Ok(());
        }
        Err(StartError::Deadlines { window_blocks, expiry_blocks, refund_blocks })
    }
}

/// The state of the rollup after a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// How many batches there are: the number of the next.
    pub batches: u64,
    /// The hash of the last batch's payload.
    pub payload_hash: PayloadHash,
    /// The root of the state.
    pub root: Fr,
    /// The depth of the tree.
    pub depth: Depth,
    /// How many deposits are credited.
    pub deposits_consumed: u64,
    /// The Bitcoin block up to which deposits are taken into account.
    pub reference: BlockId,
}

impl Tip {
    /// The empty state.
    pub fn genesis(params: &Params) -> Self {
        Self {
            batches: 0,
            payload_hash: PayloadHash::NONE,
            root: empty_root(params.genesis_depth.levels()),
            depth: params.genesis_depth,
            deposits_consumed: 0,
            reference: params.start,
        }
    }

    /// The root of the same state in a tree of that depth; `None` if the tree would shrink.
    pub fn root_at(&self, depth: Depth) -> Option<Fr> {
        let growths = depth.levels().checked_sub(self.depth.levels())?;
        let grow = |root, level| Some(grown_root(root, Depth::new(level)?));
        (self.depth.levels()..self.depth.levels() + growths).try_fold(self.root, grow)
    }
}

/// A deposit in its place on Bitcoin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScannedDeposit {
    /// How many deposits of the rollup came before it.
    pub index: u64,
    /// The height of its block.
    pub height: u32,
    /// Its transaction.
    pub txid: Txid,
    /// The output that pays the bridge.
    pub vout: u32,
    /// What it says.
    pub deposit: Deposit,
}

/// A batch whose anchor keeps every rule; there is no other way to make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedBatch {
    block: BlockId,
    txid: Txid,
    payload: Payload,
    payload_hash: PayloadHash,
    before: Tip,
    after: Tip,
}

impl VerifiedBatch {
    /// The number of the batch.
    pub fn batch(&self) -> u64 {
        self.before.batches
    }

    /// The root after the batch.
    pub fn root(&self) -> Fr {
        self.after.root
    }

    /// The block of the anchor.
    pub fn block(&self) -> BlockId {
        self.block
    }

    /// The anchor's reveal transaction.
    pub fn txid(&self) -> Txid {
        self.txid
    }

    /// What the anchor carries.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// The hash of the payload's bytes.
    pub fn payload_hash(&self) -> PayloadHash {
        self.payload_hash
    }

    /// The tip that the batch followed.
    pub fn before(&self) -> &Tip {
        &self.before
    }

    /// The tip that the batch makes.
    pub fn after(&self) -> &Tip {
        &self.after
    }

    /// What the batch's withdrawals demand of the bridge once the anchor is final. Only bitcoin can be paid out.
    pub fn payouts(&self) -> impl Iterator<Item = Payout> {
        let withdrawals = self.payload.chunks().iter().flat_map(|chunk| match &chunk.records {
            Records::Withdraw(records) => records.iter().map(|record| (chunk.token, record)).collect(),
            _ => Vec::new(),
        });
        (0..).zip(withdrawals).filter(|(_, (token, _))| *token == Token::BITCOIN).map(|(position, (_, record))| {
            Payout {
                batch: self.batch(),
                position,
                amount_sat: record.amount,
                destination: record.destination,
                anchor: self.block,
            }
        })
    }
}

/// A payment that the bridge owes. `batch` and `position` name it for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payout {
    /// The batch of the withdrawal.
    pub batch: u64,
    /// The withdrawal's position among all those of the batch.
    pub position: u32,
    /// The amount.
    pub amount_sat: u64,
    /// Where it is to be paid.
    pub destination: Destination,
    /// The block of the batch's anchor.
    pub anchor: BlockId,
}

/// What a header or block brought about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Blocks above this one have left the best chain, and what they brought about is undone.
    Rewound {
        /// The last block that remains scanned.
        to: BlockId,
        /// The tip again in force.
        tip: Tip,
    },
    /// A batch was anchored.
    Verified(Box<VerifiedBatch>),
    /// A transaction announces an anchor that breaks a rule.
    Ignored {
        /// Its block.
        block: BlockId,
        /// The transaction.
        txid: Txid,
        /// The first rule that it breaks.
        refusal: Refusal,
    },
    /// The anchor of a withdrawal is final.
    Due(Payout),
}

/// Why a follower cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The headers do not lead up to the start.
    #[error(transparent)]
    Headers(#[from] HeaderError),
    /// The program is not the one that the parameters name.
    #[error("the rollup's program is {expected}, not {found}")]
    Program {
        /// The program of the parameters.
        expected: ProgramId,
        /// The program given.
        found: ProgramId,
    },
    /// The times that deposits have do not follow one another.
    #[error(
        "a window of {window_blocks} blocks, expiry after {expiry_blocks}, a refund after {refund_blocks}: each must exceed the one before, and the first 0"
    )]
    Deadlines {
        /// The window.
        window_blocks: u32,
        /// The expiry.
        expiry_blocks: u32,
        /// The refund's delay.
        refund_blocks: u16,
    },
    /// The checkpoint is of another rollup.
    #[error("the checkpoint is of another rollup")]
    Checkpoint,
    /// A checkpoint needs headers back to the last block that a batch referred to.
    #[error("the headers must reach back to the block at height {reference_height}, which the last batch refers to")]
    LeadTooShort {
        /// The height that the headers must reach back to.
        reference_height: u32,
    },
}

/// Follows one rollup.
#[derive(Clone, Debug)]
pub struct Follower {
    params: Params,
    program: Program,
    headers: HeaderChain,
    scanned: BlockId,
    tip: Tip,
    /// For each batch whose anchor is not final: the height of its block and the tip before it.
    history: VecDeque<(u32, Tip)>,
    /// The deposits that are not credited in a final block.
    deposits: VecDeque<ScannedDeposit>,
    /// How many deposits are scanned.
    deposits_scanned: u64,
    /// The payouts whose anchors are not final.
    payouts: VecDeque<Payout>,
    /// The height of the first block of which only an excerpt was seen.
    first_excerpt: Option<u32>,
}

impl Follower {
    /// Starts before the first batch. `lead` are headers of which the last is the start block's; more of them allow
    /// more checks, as [`HeaderChain::new`] says.
    ///
    /// # Errors
    /// [`StartError::Headers`] and [`StartError::Program`].
    pub fn new(params: Params, program: Program, lead: &[Header]) -> Result<Self, StartError> {
        check_params(&params, &program)?;
        let headers = HeaderChain::new(params.network, params.start, lead, params.final_depth_blocks)?;
        Ok(Self {
            tip: Tip::genesis(&params),
            scanned: params.start,
            params,
            program,
            headers,
            history: VecDeque::new(),
            deposits: VecDeque::new(),
            deposits_scanned: 0,
            payouts: VecDeque::new(),
            first_excerpt: None,
        })
    }

    /// What everyone who follows the rollup agrees on.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The program that proofs are checked against.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The header chain.
    pub fn headers(&self) -> &HeaderChain {
        &self.headers
    }

    /// The last block that was scanned.
    pub fn scanned(&self) -> BlockId {
        self.scanned
    }

    /// The state of the rollup after the last scanned block.
    pub fn tip(&self) -> &Tip {
        &self.tip
    }

    /// Whether every block since the start was seen whole.
    pub fn is_complete(&self) -> bool {
        self.first_excerpt.is_none()
    }

    /// The deposits that the next batches must credit, in order.
    pub fn pending_deposits(&self) -> impl Iterator<Item = &ScannedDeposit> {
        self.deposits.iter().skip_while(|deposit| deposit.index < self.tip.deposits_consumed)
    }

    /// The payouts whose anchors are not final yet.
    pub fn pending_payouts(&self) -> impl Iterator<Item = &Payout> {
        self.payouts.iter()
    }

    /// Takes a header, which must come after its parent.
    ///
    /// If its branch has the most work now, scanned blocks that it leaves out are undone and the event says so.
    ///
    /// # Errors
    /// [`HeaderError`], with nothing changed.
    pub fn accept_header(&mut self, header: Header) -> Result<Option<Event>, HeaderError> {
        match self.headers.accept(header)? {
            Accepted::Reorganised(fork) if fork.height < self.scanned.height => Ok(Some(self.rewind(fork))),
            _ => Ok(None),
        }
    }

    /// The block of the best chain that is to be scanned next; `None` when all are.
    pub fn next_block(&self) -> Option<BlockId> {
        self.headers.at(self.scanned.height.checked_add(1)?)
    }

    /// Scans the next block.
    ///
    /// # Errors
    /// [`BlockError`] if it is not the block that [`Follower::next_block`] names, or not what its header commits to;
    /// nothing is changed.
    pub fn connect(&mut self, block: Block) -> Result<Vec<Event>, BlockError> {
        let expected = self.next_block().ok_or(BlockError::NothingExpected)?;
        let block = ValidatedBlock::new(block, expected)?;
        Ok(self.scan(block.id(), block.transactions()))
    }

    /// Scans some transactions of the next block in its place; see the module's words on what that does not show.
    ///
    /// # Errors
    /// As [`Follower::connect`].
    pub fn connect_excerpt(&mut self, excerpt: Excerpt) -> Result<Vec<Event>, BlockError> {
        let expected = self.next_block().ok_or(BlockError::NothingExpected)?;
        let excerpt = ValidatedExcerpt::new(excerpt, expected)?;
        self.first_excerpt.get_or_insert(expected.height);
        Ok(self.scan(excerpt.id(), excerpt.transactions()))
    }

    fn scan(&mut self, block: BlockId, transactions: &[(Txid, Transaction)]) -> Vec<Event> {
        let mut events = Vec::new();
        for (txid, transaction) in transactions {
            self.scan_deposits(block, *txid, transaction);
            let refusal = match Reveal::parse(transaction, self.params.magic) {
                Ok(None) => continue,
                Ok(Some(reveal)) => match self.check(block, *txid, reveal) {
                    Ok(batch) => {
                        self.apply(&batch);
                        events.push(Event::Verified(Box::new(batch)));
                        continue;
                    }
                    Err(refusal) => refusal,
                },
                Err(error) => error.into(),
            };
            events.push(Event::Ignored { block, txid: *txid, refusal });
        }
        self.scanned = block;
        self.make_final(&mut events);
        events
    }

    fn scan_deposits(&mut self, block: BlockId, txid: Txid, transaction: &Transaction) {
        for (vout, deposit) in Deposit::scan(transaction, &self.params.bridge, self.params.deposit_magic) {
            let (index, height) = (self.deposits_scanned, block.height);
            self.deposits.push_back(ScannedDeposit { index, height, txid, vout, deposit });
            self.deposits_scanned += 1;
        }
    }

    fn apply(&mut self, batch: &VerifiedBatch) {
        self.history.push_back((batch.block.height, self.tip));
        self.tip = batch.after;
        if self.is_complete() {
            self.payouts.extend(batch.payouts());
        }
    }

    /// Reports and forgets what can no longer be undone.
    fn make_final(&mut self, events: &mut Vec<Event>) {
        let Some(final_height) = (self.scanned.height + 1).checked_sub(self.params.final_depth_blocks) else { return };
        let is_final = |height: u32| height <= final_height;
        while let Some(payout) = self.payouts.front().copied().filter(|payout| is_final(payout.anchor.height)) {
            self.payouts.pop_front();
            events.push(Event::Due(payout));
        }
        while self.history.front().is_some_and(|(height, _)| is_final(*height)) {
            self.history.pop_front();
        }
        let consumed = self.final_tip().deposits_consumed;
        while self.deposits.front().is_some_and(|deposit| deposit.index < consumed) {
            self.deposits.pop_front();
        }
    }

    /// The tip after the last final block.
    fn final_tip(&self) -> &Tip {
        self.history.front().map_or(&self.tip, |(_, before)| before)
    }

    fn rewind(&mut self, to: BlockId) -> Event {
        while let Some((_, before)) = self.history.back().copied().filter(|(height, _)| *height > to.height) {
            self.history.pop_back();
            self.tip = before;
        }
        while self.deposits.back().is_some_and(|deposit| deposit.height > to.height) {
            self.deposits.pop_back();
            self.deposits_scanned -= 1;
        }
        while self.payouts.back().is_some_and(|payout| payout.anchor.height > to.height) {
            self.payouts.pop_back();
        }
        self.first_excerpt = self.first_excerpt.filter(|height| *height <= to.height);
        self.scanned = to;
        Event::Rewound { to, tip: self.tip }
    }
}

fn check_params(params: &Params, program: &Program) -> Result<(), StartError> {
    params.check()?;
    if program.id() != params.program_id {
        return Err(StartError::Program { expected: params.program_id, found: program.id() });
    }
    Ok(())
}
