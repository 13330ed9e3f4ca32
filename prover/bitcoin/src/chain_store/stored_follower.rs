//! A follower that goes on from the store and writes to it.

use super::{
    ChainStore, DuePayout, FinalAnchor, FinalEvent, FinalUpgrade, Progress, RefusedAnchor, RefusedMore, View,
    VoidDeposits,
    stored_headers::{accept_stored, fork_height, kept_lead, leave_stale_headers, write_headers},
};
use crate::{
    follow::{self, Changes, FollowError, Next, next_block, sync_headers_with},
    light::ExcerptSource,
    node::ChainSource,
};
use bitcoin::{BlockHash, Transaction, Txid, block::Header};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    time::{Duration, Instant},
};
use taproof_verifier::{
    block::Excerpt,
    follow::{Checkpoint, Event, Follower, Params, VerifiedBatch},
    headers::BlockId,
    program::Programs,
};

/// How many blocks are scanned between two writes while a follower catches up. After a crash at most these are
/// scanned again.
const BLOCKS_BETWEEN_WRITES: u32 = 144;
/// How many headers or events wait to be written at most; 112 and about 250 bytes each.
const WAITING_MAX: usize = 4_096;
/// How long they wait at most while a source is read, which may be slow and may be interrupted.
const WRITE_EVERY: Duration = Duration::from_secs(20);
/// How many of the transactions of one block that announce an anchor and are none are kept one by one; the others are
/// counted. Strangers can put thousands into a block.
pub(super) const REFUSED_A_BLOCK_MAX: usize = 8;

/// From where a follower went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nothing was stored: from the rollup's start.
    Start,
    /// From the stored final block.
    Checkpoint(BlockId),
    /// The source does not reach the stored final block, so the follower began anew; the store stays as it is.
    Behind {
        /// The stored final block.
        stored: BlockId,
        /// The height that the source reaches.
        source_height: u32,
    },
    /// The source has left the stored chain below its final block, by a branch with more work. The follower began
    /// anew, and what was stored above the fork is taken back.
    Left {
        /// The stored final block.
        stored: BlockId,
        /// The last block that both have.
        fork_height: u32,
    },
}

impl Origin {
    /// Whether the user should know.
    pub fn is_fallback(&self) -> bool {
        matches!(self, Self::Behind { .. } | Self::Left { .. })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => write!(f, "following from the rollup's start"),
            Self::Checkpoint(block) => write!(f, "going on from block {block}"),
            Self::Behind { stored, source_height } => write!(
                f,
                "the node reaches height {source_height} only, the store has block {stored}: \
                 following from the rollup's start, and keeping the store as it is"
            ),
            Self::Left { stored, fork_height } => write!(
                f,
                "the node's chain leaves the stored one after height {fork_height}, though block {stored} was final: \
                 following from the rollup's start; what was final above the fork is taken back"
            ),
        }
    }
}

/// What a block shows of an anchor beside what the follower checks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    reveal_bytes: u32,
    reveal_vsize_vb: u32,
    reveal_fee_sat: Option<u64>,
}

/// A follower and its store.
#[derive(Debug)]
pub struct StoredFollower {
    follower: Follower,
    store: ChainStore,
    origin: Origin,
    /// Headers that may have to be written, by hash.
    headers: HashMap<BlockHash, Header>,
    /// The height of the first header that is not written.
    headers_next: u32,
    /// Events that are not written, by the height of the final block they will stand in, in their order.
    events: BTreeMap<u32, Vec<FinalEvent>>,
    events_count: usize,
    /// The height up to which everything is written, or was when the follower started.
    written_height: u32,
    /// When something was written last, or the follower started.
    written_at: Instant,
}

impl StoredFollower {
    /// Goes on from the store, or from the rollup's start where the store has nothing that suits the source's chain.
    ///
    /// # Errors
    /// [`FollowError`]; [`LessWork`](super::ChainStoreError::LessWork) if the source has left the stored chain
    /// without having more work.
    pub fn open(
        store: ChainStore,
        source: &dyn ChainSource,
        params: Params,
        programs: impl Into<Programs>,
    ) -> Result<Self, FollowError> {
        let programs = programs.into();
        follow::expect_network(source, params.network)?;
        let Some(checkpoint) = store.checkpoint()? else {
            return Self::begin(store, source, params, programs, Origin::Start);
        };
        let (stored, source_height) = (checkpoint.block(), source.tip_height()?);
        if source_height < stored.height {
            let origin = Origin::Behind { stored, source_height };
            return Self::begin(store, source, params, programs, origin);
        }
        if source.block_hash(stored.height)? != Some(stored.hash) {
            let fork_height = fork_height(&store, source, stored)?;
            let origin = Origin::Left { stored, fork_height };
            let begun = Self::begin(store, source, params, programs, origin)?;
            begun.store.rewind_to(fork_height, Some(stored))?;
            return Ok(begun);
        }
        Self::go_on(store, source, params, programs, checkpoint)
    }

    /// As [`StoredFollower::open`], but begins at a checkpoint where the store has nothing. Of the checkpoint only
    /// that its block is in the source's chain is checked: it must come from somebody who is trusted.
    ///
    /// # Errors
    /// [`FollowError`]; [`FollowError::Checkpoint`] and [`FollowError::TooShort`] if the source does not have the
    /// block.
    pub fn open_at(
        store: ChainStore,
        source: &dyn ChainSource,
        params: Params,
        programs: impl Into<Programs>,
        checkpoint: Checkpoint,
    ) -> Result<Self, FollowError> {
        let programs = programs.into();
        if store.has_log()? {
            return Self::open(store, source, params, programs);
        }
        follow::expect_network(source, params.network)?;
        let block = checkpoint.block();
        match source.block_hash(block.height)? {
            Some(hash) if hash == block.hash => {
                let begun = Self::go_on(store, source, params, programs, checkpoint.clone())?;
                // Whole blocks are followed by many commands, which are not told of the checkpoint again.
                if begun.store.view() == View::Full {
                    begun.store.begin_at(&checkpoint)?;
                }
                Ok(begun)
            }
            Some(_) => Err(FollowError::Checkpoint(block)),
            None => Err(FollowError::TooShort(block.height)),
        }
    }

    fn begin(
        store: ChainStore,
        source: &dyn ChainSource,
        params: Params,
        programs: Programs,
        origin: Origin,
    ) -> Result<Self, FollowError> {
        let start = params.start;
        // A chain without the start block is refused by what it has in its place.
        let lead = match source.block_hash(start.height)? {
            Some(found) if found != start.hash => return Err(FollowError::StartLost { start, found }),
            Some(_) => kept_lead(&store, source, params.network, start, start.height)?,
            None => return Err(FollowError::TooShort(start.height)),
        };
        let mut headers_next = start.height + 1 - lead.len() as u32;
        let mut follower = Follower::new(params, programs, &lead)?;
        let mut headers = lead.iter().map(|header| (header.block_hash(), *header)).collect();
        if origin == Origin::Start && leave_stale_headers(&store, source, start.height)? {
            headers_next = accept_stored(&store, &mut follower, start.height + 1)?;
            headers = HashMap::new();
        }
        Ok(Self::new(follower, store, origin, headers, headers_next, start.height))
    }

    fn go_on(
        store: ChainStore,
        source: &dyn ChainSource,
        params: Params,
        programs: Programs,
        checkpoint: Checkpoint,
    ) -> Result<Self, FollowError> {
        let block = checkpoint.block();
        let lead = kept_lead(&store, source, params.network, block, checkpoint.tip().reference.height)?;
        let view = store.view();
        let mut follower = match view {
            View::Full => Follower::resume(params, programs, checkpoint, &lead)?,
            View::Light => Follower::resume_light(params, programs, checkpoint, &lead)?,
        };
        let headers_next = accept_stored(&store, &mut follower, block.height + 1)?;
        Ok(Self::new(follower, store, Origin::Checkpoint(block), HashMap::new(), headers_next, block.height))
    }

    fn new(
        follower: Follower,
        store: ChainStore,
        origin: Origin,
        headers: HashMap<BlockHash, Header>,
        headers_next: u32,
        written_height: u32,
    ) -> Self {
        let (events, events_count, written_at) = (BTreeMap::new(), 0, Instant::now());
        Self { follower, store, origin, headers, headers_next, events, events_count, written_height, written_at }
    }

    /// From where the follower went on.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The follower.
    pub fn follower(&self) -> &Follower {
        &self.follower
    }

    /// The store.
    pub fn store(&self) -> &ChainStore {
        &self.store
    }

    /// The follower, to be used without the store.
    pub fn into_follower(self) -> Follower {
        self.follower
    }

    /// What is not final yet, in the order of the chain.
    pub fn unsettled(&self) -> impl Iterator<Item = &FinalEvent> {
        self.events.values().flatten()
    }

    /// Reads and scans all that the source has, giving each event to `observe` as it comes, and writes what is final.
    ///
    /// # Errors
    /// [`FollowError`], or what `observe` fails with. What was scanned stays scanned, and what is final of it is
    /// written, too, headers included: a source that answers only so many questions a run is followed over several
    /// runs.
    pub fn catch_up<E: From<FollowError>>(
        &mut self,
        source: &dyn ChainSource,
        mut observe: impl FnMut(&Follower, &Event) -> Result<(), E>,
    ) -> Result<(), E> {
        let read = self.read_blocks(source, &mut observe);
        self.write_after(read, source)
    }

    /// As [`StoredFollower::catch_up`], with headers from `source` and of the blocks what `excerpts` shows.
    ///
    /// A block whose excerpt is not valid is an error: a light follower must not pass over what it was shown.
    ///
    /// # Errors
    /// As [`StoredFollower::catch_up`].
    pub fn catch_up_light<E: From<FollowError>>(
        &mut self,
        source: &dyn ChainSource,
        excerpts: &dyn ExcerptSource,
        mut observe: impl FnMut(&Follower, &Event) -> Result<(), E>,
    ) -> Result<(), E> {
        let read = self.read_excerpts(source, excerpts, &mut observe);
        self.write_after(read, source)
    }

    fn read_blocks<E: From<FollowError>>(
        &mut self,
        source: &dyn ChainSource,
        observe: &mut dyn FnMut(&Follower, &Event) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut changes = Changes::default();
        loop {
            self.sync_headers(source, observe)?;
            loop {
                let block = match changes.next(&self.follower, next_block(source, &self.follower))? {
                    Next::Read(block) => block,
                    Next::Gone => break,
                    Next::End => return Ok(()),
                };
                let (header, facts) = (block.header, anchor_facts(&block.txdata, self.follower.params()));
                let events = self.follower.connect(block).map_err(FollowError::from)?;
                self.take(&events, &header, &facts, observe)?;
                self.write_if_much(source)?;
            }
        }
    }

    fn read_excerpts<E: From<FollowError>>(
        &mut self,
        source: &dyn ChainSource,
        excerpts: &dyn ExcerptSource,
        observe: &mut dyn FnMut(&Follower, &Event) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut changes = Changes::default();
        loop {
            self.sync_headers(source, observe)?;
            loop {
                let read = self.follower.next_block().map(|next| excerpts.excerpt(next)).transpose();
                match changes.next(&self.follower, read.map_err(FollowError::from))? {
                    Next::Read(None) => drop(self.follower.skip_block().map_err(FollowError::from)?),
                    Next::Read(Some(excerpt)) => self.take_excerpt(excerpt, observe)?,
                    Next::Gone => break,
                    Next::End => return Ok(()),
                }
                self.write_if_much(source)?;
            }
        }
    }

    /// Writes what is final and not written, and gives the result of reading. Where that failed, its error is the one
    /// to tell.
    fn write_after<E: From<FollowError>>(&mut self, read: Result<(), E>, source: &dyn ChainSource) -> Result<(), E> {
        let written = self.write(source);
        read?;
        Ok(written?)
    }

    fn take_excerpt<E: From<FollowError>>(
        &mut self,
        excerpt: Excerpt,
        observe: &mut dyn FnMut(&Follower, &Event) -> Result<(), E>,
    ) -> Result<(), E> {
        let header = excerpt.header;
        let transactions: Vec<_> = excerpt.transactions.iter().map(|shown| shown.transaction.clone()).collect();
        let facts = anchor_facts(&transactions, self.follower.params());
        let events = self.follower.connect_excerpt(excerpt).map_err(FollowError::from)?;
        self.take(&events, &header, &facts, observe)
    }

    /// Brings the header chain up to the source's tip, and gives the rewinds that this brings about to `observe`.
    pub(crate) fn sync_headers<E: From<FollowError>>(
        &mut self,
        source: &dyn ChainSource,
        observe: &mut dyn FnMut(&Follower, &Event) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self { follower, headers, events, events_count, store, headers_next, written_at, .. } = self;
        sync_headers_with(source, follower, &mut |follower, header, event| {
            headers.insert(header.block_hash(), *header);
            // What is kept follows the follower before anything can fail.
            if let Some(Event::Rewound { to, .. }) = &event {
                events.split_off(&(to.height + 1));
                *events_count = events.values().map(Vec::len).sum();
            }
            event.iter().try_for_each(|event| observe(follower, event))?;
            if headers.len() >= WAITING_MAX || written_at.elapsed() >= WRITE_EVERY {
                write_headers(store, follower, headers, headers_next, source)?;
                *written_at = Instant::now();
            }
            Ok(())
        })
    }

    /// Remembers the events of a block, and gives them to `observe` then: whether it fails or not, all of them are
    /// kept.
    fn take<E>(
        &mut self,
        events: &[Event],
        header: &Header,
        facts: &BTreeMap<Txid, Facts>,
        observe: &mut dyn FnMut(&Follower, &Event) -> Result<(), E>,
    ) -> Result<(), E> {
        let is_refused = |event: &&Event| matches!(event, Event::Ignored { .. });
        let refused = events.iter().filter(is_refused).count();
        let mut kept = 0;
        for event in events {
            kept += usize::from(is_refused(&event));
            if !is_refused(&event) || kept <= REFUSED_A_BLOCK_MAX {
                self.keep(event, header, facts);
            }
        }
        if refused > REFUSED_A_BLOCK_MAX {
            let (block, count) = (self.follower.scanned(), (refused - REFUSED_A_BLOCK_MAX) as u64);
            self.log(FinalEvent::RefusedMore(RefusedMore { block, count }));
        }
        events.iter().try_for_each(|event| observe(&self.follower, event))
    }

    /// Remembers what is to be written once it is final.
    fn keep(&mut self, event: &Event, header: &Header, facts: &BTreeMap<Txid, Facts>) {
        let event = match event {
            Event::Verified(batch) => {
                self.log(FinalEvent::Anchor(final_anchor(batch, header, facts.get(&batch.txid()).copied())));
                let (void, batch, anchor) = (batch.void_deposits(), batch.batch(), batch.block());
                let (first, count) = (void.start, void.end - void.start);
                if count == 0 {
                    return;
                }
                FinalEvent::Void(VoidDeposits { first, count, batch, anchor })
            }
            Event::Ignored { block, txid, refusal } => {
                FinalEvent::Refused(RefusedAnchor { block: *block, txid: *txid, reason: refusal.to_string() })
            }
            Event::Announced { block, txid, upgrade } => {
                FinalEvent::Upgrade(FinalUpgrade { block: *block, txid: *txid, upgrade: upgrade.clone() })
            }
            Event::UpgradeIgnored { block, txid, refusal } => {
                FinalEvent::UpgradeRefused(RefusedAnchor { block: *block, txid: *txid, reason: refusal.to_string() })
            }
            Event::Due(payout) => FinalEvent::Payout(DuePayout {
                index: payout.index,
                batch: payout.batch,
                position: payout.position,
                amount_sat: payout.amount_sat,
                destination: payout.destination,
                anchor: payout.anchor,
            }),
            _ => return,
        };
        self.log(event);
    }

    fn log(&mut self, event: FinalEvent) {
        self.events.entry(event.height()).or_default().push(event);
        self.events_count += 1;
    }

    fn write_if_much(&mut self, source: &dyn ChainSource) -> Result<(), FollowError> {
        let final_height =
            (self.follower.scanned().height + 1).saturating_sub(self.follower.params().final_depth_blocks);
        let is_far = final_height >= self.written_height.saturating_add(BLOCKS_BETWEEN_WRITES);
        let is_due = self.events_count >= WAITING_MAX || self.written_at.elapsed() >= WRITE_EVERY;
        if is_far || (is_due && final_height > self.written_height) { self.write(source) } else { Ok(()) }
    }

    /// Writes what is final and not written.
    fn write(&mut self, source: &dyn ChainSource) -> Result<(), FollowError> {
        self.written_at = Instant::now();
        write_headers(&self.store, &self.follower, &mut self.headers, &mut self.headers_next, source)?;
        let checkpoint = match self.store.view() {
            View::Full => self.follower.checkpoint(),
            View::Light => self.follower.light_checkpoint(),
        };
        let Some(checkpoint) = checkpoint.filter(|checkpoint| checkpoint.block().height > self.written_height) else {
            return Ok(());
        };
        let height = checkpoint.block().height;
        let events: Vec<FinalEvent> = self.events.range(..=height).flat_map(|(_, events)| events.clone()).collect();
        let progress =
            Progress { checkpoint: Some(&checkpoint), events: &events, headers_first: self.headers_next, headers: &[] };
        self.store.append(&progress)?;
        self.events = self.events.split_off(&(height + 1));
        self.events_count = self.events.values().map(Vec::len).sum();
        self.written_height = height;
        Ok(())
    }
}

fn final_anchor(batch: &VerifiedBatch, header: &Header, facts: Option<Facts>) -> FinalAnchor {
    FinalAnchor {
        batch: batch.batch(),
        block: batch.block(),
        time_seconds: header.time,
        txid: batch.txid(),
        payload_hash: batch.payload_hash(),
        root: batch.root(),
        depth: batch.after().depth,
        chunks: batch.payload().chunks().len() as u32,
        deposits_consumed: batch.after().deposits_consumed,
        reveal_bytes: facts.map_or(0, |facts| facts.reveal_bytes),
        reveal_vsize_vb: facts.map_or(0, |facts| facts.reveal_vsize_vb),
        reveal_fee_sat: facts.and_then(|facts| facts.reveal_fee_sat),
    }
}

/// Sizes and fees of the transactions that could be anchors. Few have their prefix, but strangers can fill a block
/// with such: each transaction is hashed once.
pub(super) fn anchor_facts(transactions: &[Transaction], params: &Params) -> BTreeMap<Txid, Facts> {
    if !transactions.iter().any(|transaction| super::announces(transaction, params)) {
        return BTreeMap::new();
    }
    let by_id: HashMap<Txid, &Transaction> = transactions.iter().map(|each| (each.compute_txid(), each)).collect();
    let facts = |transaction: &Transaction| {
        let spent = transaction.input.first().map(|input| input.previous_output);
        let commit = spent.and_then(|spent| {
            let commit = by_id.get(&spent.txid)?;
            commit.output.get(spent.vout as usize).map(|output| output.value.to_sat())
        });
        let paid = transaction.output.iter().try_fold(0u64, |sum, output| sum.checked_add(output.value.to_sat()));
        Facts {
            reveal_bytes: transaction.total_size() as u32,
            reveal_vsize_vb: transaction.vsize() as u32,
            reveal_fee_sat: commit.zip(paid).and_then(|(commit, paid)| commit.checked_sub(paid)),
        }
    };
    let could_be = by_id.iter().filter(|(_, transaction)| super::announces(transaction, params));
    could_be.map(|(txid, transaction)| (*txid, facts(transaction))).collect()
}
