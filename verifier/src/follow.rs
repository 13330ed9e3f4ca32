//! Following a rollup on Bitcoin: headers and blocks in, verified roots, due payouts and rewinds out.
//!
//! The follower does no input or output. Its driver feeds headers ([`Follower::accept_header`]), asks which block of
//! the best chain comes next ([`Follower::next_block`]), and feeds that ([`Follower::connect`]); the order in which
//! headers and blocks alternate does not matter. Every decision is a function of the blocks of the best chain from the
//! start on, so followers that have seen the same chain agree, whatever they saw before.
//!
//! ```text
//! headers -> best chain -> next block -> deposits and requests queued
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
//! Which program proofs are checked against, and whose anchors count, follows from the [`Schedule`]. A follower that
//! lacks the program in force stops before the first block that it may matter in ([`Follower::unknown_program`]).
//!
//! Memory: 32 bytes a block since the last final batch's reference, the deposits not yet credited, at most
//! [`REQUESTS_WAITING_MAX`] requests that wait, and what the blocks that are not final hold.
//!
//! [`REQUESTS_WAITING_MAX`]: crate::exit::REQUESTS_WAITING_MAX

use crate::{
    block::{BlockError, Excerpt, ValidatedBlock, ValidatedExcerpt},
    deposit::Deposit,
    envelope::Reveal,
    exit::{Queue, Request, ScannedExit, ScannedRequest},
    headers::{Accepted, BlockId, HeaderChain, HeaderError},
    program::Programs,
    schedule::Schedule,
    upgrade::{Upgrade, UpgradeError, UpgradeOutput},
};
use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use bitcoin::{Block, Transaction, Txid, block::Header};

mod checkpoint;
mod params;
mod rules;
mod steps;
#[cfg(test)]
mod tests;
mod upgrades;
mod verified;

pub use checkpoint::{Checkpoint, CheckpointError};
pub use params::{Deadlines, Founding, FoundingDigest, FoundingError, Params, StartError, Tip};
pub use rules::{RuleError, deposits_enough};
pub use steps::STEPS_WINDOW_BLOCKS;
pub use upgrades::{ConnectError, UnknownProgramError};
pub use verified::{Payout, ScannedDeposit, VerifiedBatch};

use steps::OncePerBlock;

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
        refusal: RuleError,
    },
    /// The anchor of a withdrawal is final.
    Due(Payout),
    /// The upgrade keys announced something.
    Announced {
        /// Its block.
        block: BlockId,
        /// The transaction.
        txid: Txid,
        /// What they announced.
        upgrade: Upgrade,
    },
    /// What the upgrade keys announced does not count.
    UpgradeIgnored {
        /// Its block.
        block: BlockId,
        /// The transaction.
        txid: Txid,
        /// The first rule that it breaks.
        refusal: UpgradeError,
    },
}

/// What undoes a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Undo {
    /// The height of its anchor's block.
    height: u32,
    /// The tip before it.
    before: Tip,
}

/// Follows one rollup.
#[derive(Clone, Debug)]
pub struct Follower {
    params: Params,
    programs: Programs,
    /// What the upgrade keys announce from; none without keys.
    upgrade_output: Option<UpgradeOutput>,
    headers: HeaderChain,
    scanned: BlockId,
    /// The height of the last final block whose events are final, too: it never falls, though a branch of fewer
    /// blocks and more work may take the scanned block back to where fewer are above it.
    final_height: u32,
    tip: Tip,
    /// For each batch whose anchor is not final.
    history: VecDeque<Undo>,
    /// The deposits that are not credited in a final block.
    deposits: VecDeque<ScannedDeposit>,
    /// How many deposits are scanned.
    deposits_scanned: u64,
    /// The exit and claim requests that wait.
    requests: Queue,
    /// The payouts whose anchors are not final.
    payouts: VecDeque<Payout>,
    schedule: Schedule,
    /// For each block that is not final and changed the schedule, its height and the schedule before it.
    schedules_before: VecDeque<(u32, Schedule)>,
    /// The height of the first block of which only an excerpt was seen.
    first_excerpt: Option<u32>,
}

impl Follower {
    /// Starts before the first batch. Of the programs the rollup's first must be there; others are needed
    /// [when they are in force](Follower::unknown_program). `lead` are headers of which the last is the start block's;
    /// more of them allow more checks, as [`HeaderChain::new`] says.
    ///
    /// # Errors
    /// Each of [`StartError`] but [`StartError::Checkpoint`] and [`StartError::LeadTooShort`].
    pub fn new(params: Params, programs: impl Into<Programs>, lead: &[Header]) -> Result<Self, StartError> {
        let programs = programs.into();
        check_params(&params, &programs)?;
        let headers = HeaderChain::new(params.network, params.start, lead, params.final_depth_blocks)?;
        Ok(Self {
            tip: Tip::genesis(&params),
            scanned: params.start,
            final_height: params.start.height,
            schedule: Schedule::new(params.start.height, params.program_id, params.sequencer_keys.clone()),
            schedules_before: VecDeque::new(),
            upgrade_output: UpgradeOutput::of(&params),
            params,
            programs,
            headers,
            history: VecDeque::new(),
            deposits: VecDeque::new(),
            deposits_scanned: 0,
            requests: Queue::default(),
            payouts: VecDeque::new(),
            first_excerpt: None,
        })
    }

    /// What everyone who follows the rollup agrees on.
    pub fn params(&self) -> &Params {
        &self.params
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

    /// The deposits that no batch has come to, in order: the next batches must credit them, but for those that have
    /// [expired](Follower::has_expired).
    pub fn pending_deposits(&self) -> impl Iterator<Item = &ScannedDeposit> {
        self.deposits.iter().skip_while(|deposit| deposit.index < self.tip.deposits_consumed)
    }

    /// Whether no anchor can credit a pending deposit any more, so that it is the depositor's.
    pub fn has_expired(&self, deposit: &ScannedDeposit) -> bool {
        let next_height = self.scanned.height.saturating_add(1);
        let oldest = next_height.saturating_sub(self.params.deposit_window_blocks);
        deposit.height < self.params.void_below(oldest.max(self.tip.reference.height))
    }

    /// The exit and claim requests that wait, in the order of the chain.
    pub fn pending_requests(&self) -> impl Iterator<Item = &ScannedRequest> {
        self.requests.waiting()
    }

    /// The exit requests among them.
    pub fn pending_exits(&self) -> impl Iterator<Item = ScannedExit> {
        self.pending_requests().filter_map(ScannedRequest::exit)
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
    /// [`ConnectError::Block`] if it is not the block that [`Follower::next_block`] names, or not what its header
    /// commits to, and [`ConnectError::Program`] if [a program is missing](Follower::unknown_program).
    pub fn connect(&mut self, block: Block) -> Result<Vec<Event>, ConnectError> {
        let expected = self.next_block().ok_or(BlockError::NothingExpected)?;
        self.expect_programs()?;
        let block = ValidatedBlock::new(block, expected)?;
        Ok(self.scan(block.id(), block.transactions()))
    }

    /// Scans some transactions of the next block in its place; see the module's words on what that does not show.
    ///
    /// # Errors
    /// As [`Follower::connect`].
    pub fn connect_excerpt(&mut self, excerpt: Excerpt) -> Result<Vec<Event>, ConnectError> {
        let expected = self.next_block().ok_or(BlockError::NothingExpected)?;
        self.expect_programs()?;
        let excerpt = ValidatedExcerpt::new(excerpt, expected)?;
        self.first_excerpt.get_or_insert(expected.height);
        Ok(self.scan(excerpt.id(), excerpt.transactions()))
    }

    /// Passes over the next block, of which nothing is shown; `None` if all are scanned. It is as an excerpt without
    /// transactions.
    ///
    /// # Errors
    /// [`UnknownProgramError`], with nothing changed.
    pub fn skip_block(&mut self) -> Result<Option<Vec<Event>>, UnknownProgramError> {
        let Some(block) = self.next_block() else { return Ok(None) };
        self.expect_programs()?;
        self.first_excerpt.get_or_insert(block.height);
        Ok(Some(self.scan(block, &[])))
    }

    fn scan(&mut self, block: BlockId, transactions: &[(Txid, Transaction)]) -> Vec<Event> {
        let mut events = Vec::new();
        let opens_locks = self.opens_locks_next();
        // The cells that have had their one change in this block. Blocks are read, and taken back, as a whole.
        let mut changed = OncePerBlock::default();
        for (txid, transaction) in transactions {
            self.scan_deposits(block, *txid, transaction);
            self.scan_requests(block, *txid, transaction, opens_locks);
            events.extend(self.scan_upgrade(block, *txid, transaction));
            let refusal = match Reveal::parse(transaction, self.params.chain_id()) {
                Ok(None) => continue,
                Ok(Some(reveal)) => match self.check(block, *txid, reveal, &changed) {
                    Ok(batch) => {
                        changed.extend(batch.payload());
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
        for (vout, deposit) in Deposit::scan(transaction, self.params.bridge(), self.params.chain_id()) {
            let (index, height) = (self.deposits_scanned, block.height);
            self.deposits.push_back(ScannedDeposit { index, height, txid, vout, deposit });
            self.deposits_scanned += 1;
        }
    }

    /// Queues the exit requests that are signed, and the first claim request where locks are opened, if there is room
    /// for them and they do not wait already.
    fn scan_requests(&mut self, block: BlockId, txid: Txid, transaction: &Transaction, opens_locks: bool) {
        let chain_id = self.params.chain_id();
        let mut may_claim = opens_locks;
        for (vout, output) in (0..).zip(&transaction.output) {
            let Some(request) = Request::parse(&output.script_pubkey, chain_id, block.height) else { continue };
            if request.claim().is_some() && !core::mem::take(&mut may_claim) {
                continue;
            }
            // A signature costs most and is checked last.
            let is_signed = |request: &Request| request.exit().is_none_or(|exit| exit.verify(chain_id).is_ok());
            if self.requests.takes(&request) && is_signed(&request) {
                self.requests.push(block.height, txid, vout, request);
            }
        }
    }

    fn apply(&mut self, batch: &VerifiedBatch) {
        let height = batch.block.height;
        batch.settled.iter().for_each(|settled| self.requests.remove(height, settled.request.index));
        self.history.push_back(Undo { height, before: self.tip });
        self.tip = batch.after;
        if self.is_complete() {
            self.payouts.extend(batch.payouts());
        }
    }

    /// Reports and forgets what can no longer be undone.
    fn make_final(&mut self, events: &mut Vec<Event>) {
        // A block is its own first confirmation.
        let confirmed = self.scanned.height.saturating_sub(self.params.final_depth_blocks - 1);
        let final_height = confirmed.max(self.final_height);
        self.final_height = final_height;
        let is_final = |height: u32| height <= final_height;
        while let Some(payout) = self.payouts.front().copied().filter(|payout| is_final(payout.anchor.height)) {
            self.payouts.pop_front();
            events.push(Event::Due(payout));
        }
        while self.history.front().is_some_and(|undo| is_final(undo.height)) {
            self.history.pop_front();
        }
        self.requests.forget(final_height);
        let consumed = self.final_tip().deposits_consumed;
        while self.deposits.front().is_some_and(|deposit| deposit.index < consumed) {
            self.deposits.pop_front();
        }
        // References do not go back.
        self.headers.forget_below(self.final_tip().reference.height);
        self.make_schedule_final();
    }

    /// The tip after the last final block.
    fn final_tip(&self) -> &Tip {
        self.history.front().map_or(&self.tip, |undo| &undo.before)
    }

    fn rewind(&mut self, to: BlockId) -> Event {
        self.requests.rewind(to.height);
        while self.history.back().is_some_and(|undo| undo.height > to.height) {
            let Some(undo) = self.history.pop_back() else { break };
            self.tip = undo.before;
        }
        while self.deposits.back().is_some_and(|deposit| deposit.height > to.height) {
            self.deposits.pop_back();
            self.deposits_scanned -= 1;
        }
        while self.payouts.back().is_some_and(|payout| payout.anchor.height > to.height) {
            self.payouts.pop_back();
        }
        self.rewind_schedule(to.height);
        self.first_excerpt = self.first_excerpt.filter(|height| *height <= to.height);
        self.scanned = to;
        Event::Rewound { to, tip: self.tip }
    }
}

fn check_params(params: &Params, programs: &Programs) -> Result<(), StartError> {
    let first = programs.get(params.program_id).ok_or(StartError::Program(params.program_id))?;
    let (genesis, program) = (params.genesis_depth, first.depth_max());
    if program < genesis { Err(StartError::GenesisDepth { genesis, program }) } else { Ok(()) }
}
