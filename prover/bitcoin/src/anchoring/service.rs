//! The loop around the rules: follow the chain, look, decide, store, act.

mod act;
mod look;

use super::{
    BatchSource, Config, Decision, Hold, Job, Order, ServiceError, Signer, StatementId, Store, Transition, Waits,
    chain_index::ChainIndex, decide,
};
use crate::{
    anchor::FeeRate,
    coins::CoinStore,
    follow::{Changes, FollowError, Next, next_block, sync_headers},
    node::{Node, SyncState},
    proven_batch::ProvenBatch,
};
use act::Scene;
use bitcoin::{BlockHash, Txid};
use look::Standings;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{SystemTime, UNIX_EPOCH},
};
use taproof_verifier::{follow::Follower, headers::BlockId};

/// How often the chain may move while it is looked at before that counts as unsteady.
const MOVES_MAX: usize = 16;
/// How many actions one batch may take at one tip: build, send twice, rebroadcast, bump, and as many sweeps.
const STEPS_MAX: usize = 64;
/// How many blocks a node may lack of those whose headers it has.
const LAG_BLOCKS_MAX: u32 = 3;
/// How many batches behind the next one are taken in at once.
const AHEAD_MAX: u64 = 64;

/// A moment between two steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A change is about to be stored.
    BeforeStore,
    /// It was stored.
    AfterStore,
    /// A transaction is about to be handed over.
    BeforeSend,
    /// It was handed over.
    AfterSend,
}

/// What the service reports while it works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Note<'a> {
    /// A batch changed its state.
    Moved {
        /// The batch.
        batch: u64,
        /// The change.
        transition: &'a Transition,
    },
    /// A batch waits for something.
    Held {
        /// The batch.
        batch: u64,
        /// For what.
        hold: &'a Hold,
    },
    /// A transaction was handed to the node.
    Sent {
        /// The batch.
        batch: u64,
        /// The transaction.
        txid: Txid,
        /// Commit, reveal or sweep.
        what: &'static str,
        /// Its fee.
        fee_sat: u64,
    },
    /// A batch was proven again, with another outcome.
    ProvenAgain {
        /// The batch.
        batch: u64,
    },
    /// An order wants more paid than the cap allows; it is dropped.
    BumpAboveCap {
        /// The batch.
        batch: u64,
        /// What was to be paid.
        rate: FeeRate,
        /// The cap.
        cap: FeeRate,
    },
    /// An order names a batch that has no anchor here.
    OrderIgnored {
        /// The batch.
        batch: u64,
    },
}

/// Whoever runs the service.
pub trait Driver {
    /// Takes a report.
    fn note(&mut self, note: &Note<'_>);

    /// Asked at every step; the service stops there if the answer is no.
    fn goes_on(&mut self, step: Step) -> bool;

    /// The clock, in seconds since 1970. It is written into histories and decides nothing.
    fn unix_seconds(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
    }
}

/// How things stand after a tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TickReport {
    /// The last block that was followed.
    pub tip: BlockId,
    /// How many batches are anchored.
    pub batches: u64,
    /// Whether the node is up to date.
    pub is_synced: bool,
    /// How many jobs are open.
    pub open_jobs: usize,
}

/// The anchoring service.
#[derive(Debug)]
pub struct Service<S> {
    store: Store,
    coin_store: CoinStore,
    /// The tip at which the coins of all anchors were last kept.
    coins_kept: Option<BlockHash>,
    signer: Signer,
    config: Config,
    follower: Follower,
    batches: S,
    index: ChainIndex,
    jobs: BTreeMap<u64, Job>,
    proven: BTreeMap<u64, ProvenBatch>,
    /// Why the proofs of a batch that are there cannot be used.
    unusable: BTreeMap<u64, String>,
    standings: Standings,
    /// What the store says that batches wait for.
    waits: BTreeMap<u64, Waits>,
}

impl<S: BatchSource> Service<S> {
    /// Reads the store, and goes on from where the follower is: the blocks after it are followed at the first tick.
    /// Coins are kept in the store that all who spend the poster's coins share.
    ///
    /// # Errors
    /// [`ServiceError::Config`] and [`ServiceError::Store`].
    pub fn new(
        store: Store,
        coin_store: CoinStore,
        signer: Signer,
        config: Config,
        follower: Follower,
        batches: S,
    ) -> Result<Self, ServiceError> {
        config.check()?;
        store.put_fee_cap(config.fee_cap)?;
        store.put_leaf_key(signer.leaf_public())?;
        let mut index = ChainIndex::default();
        let jobs: BTreeMap<u64, Job> = store.jobs()?.into_iter().map(|job| (job.batch(), job)).collect();
        // Those that are closed may have to be opened again, where the chain is followed from before their anchors.
        let next = follower.tip().batches;
        let is_watched = |job: &&Job| !job.is_closed || job.batch() >= next;
        jobs.values().filter(is_watched).for_each(|job| watch(&mut index, job));
        let (proven, unusable, standings) = (BTreeMap::new(), BTreeMap::new(), Standings::default());
        let (coins_kept, waits) = (None, store.waits()?);
        Ok(Self {
            store,
            coin_store,
            coins_kept,
            signer,
            config,
            follower,
            batches,
            index,
            jobs,
            proven,
            unusable,
            standings,
            waits,
        })
    }

    /// All jobs, by batch.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.values()
    }

    /// The batches whose proofs are there and cannot be used, as of the last look, with what they wait for.
    pub fn unusable(&self) -> impl Iterator<Item = (u64, Hold)> {
        self.unusable.iter().map(|(batch, reason)| (*batch, Hold::Proofs(reason.clone())))
    }

    /// The job of a batch.
    pub fn job(&self, batch: u64) -> Option<&Job> {
        self.jobs.get(&batch)
    }

    /// The follower.
    pub fn follower(&self) -> &Follower {
        &self.follower
    }

    /// Looks at chain and node once and does all that is to be done now.
    ///
    /// # Errors
    /// [`ServiceError`]; after a transient one, and after a restart, another tick goes on.
    pub fn tick(&mut self, node: &dyn Node, driver: &mut dyn Driver) -> Result<TickReport, ServiceError> {
        let node_hold = node_hold(&node.sync_state()?);
        let mut tip_before = None;
        for _ in 0..MOVES_MAX {
            self.advance(node)?;
            let followed = self.follower.scanned();
            // Where the node has another tip, and nothing more to follow, its chain is none that was taken.
            if tip_before.replace(followed.hash) == Some(followed.hash) && !self.is_current(node)? {
                return Err(FollowError::NoMoreWork { followed, tip_height: node.tip_height()? }.into());
            }
            self.take_orders(driver)?;
            self.take_in(driver)?;
            if node_hold.is_none() {
                self.keep_coins(node)?;
            }
            if self.settle_all(node, driver, node_hold.as_ref())? {
                self.forget_closed(driver)?;
                let open_jobs = self.jobs.values().filter(|job| !job.is_closed).count();
                let (tip, batches) = (self.follower.scanned(), self.follower.tip().batches);
                return Ok(TickReport { tip, batches, is_synced: node_hold.is_none(), open_jobs });
            }
        }
        Err(FollowError::Unsteady.into())
    }

    /// Follows the chain to its tip.
    fn advance(&mut self, node: &dyn Node) -> Result<(), ServiceError> {
        let mut changes = Changes::default();
        loop {
            let Self { follower, index, .. } = &mut *self;
            sync_headers(node, follower, |event| index.observe(event))?;
            loop {
                let Some(next) = self.follower.next_block() else { return Ok(()) };
                let block = match changes.next(&self.follower, next_block(node, &self.follower))? {
                    Next::Read(block) => block,
                    Next::Gone => break,
                    Next::End => return Ok(()),
                };
                let transactions = block.txdata.clone();
                let events = self.follower.connect(block).map_err(FollowError::from)?;
                // Only now: another block than the header's is none.
                self.index.read(next, &transactions);
                events.iter().for_each(|event| self.index.observe(event));
            }
        }
    }

    fn take_orders(&mut self, driver: &mut dyn Driver) -> Result<(), ServiceError> {
        let height = self.follower.scanned().height;
        for signed in self.store.signed()? {
            if let Some(job) = self.jobs.get_mut(&signed.batch()) {
                job.take_signatures(&signed, height);
            }
            self.store.settle_signed(&signed, self.jobs.get(&signed.batch()))?;
        }
        for (batch, order) in self.store.orders()? {
            match self.jobs.get_mut(&batch) {
                Some(job) => {
                    match order {
                        Order::Bump(_) if job.is_abandoned => driver.note(&Note::OrderIgnored { batch }),
                        Order::Bump(bump) => match bump.above(self.config.fee_cap) {
                            Some(rate) => driver.note(&Note::BumpAboveCap { batch, rate, cap: self.config.fee_cap }),
                            None => job.bump = Some(bump),
                        },
                        Order::Abandon => (job.is_abandoned, job.bump) = (true, None),
                        Order::Resume => (job.is_abandoned, job.is_closed) = (false, false),
                    }
                    self.store.fulfil(batch, order, Some(job))?;
                }
                None => {
                    driver.note(&Note::OrderIgnored { batch });
                    self.store.fulfil(batch, order, None)?;
                }
            }
        }
        Ok(())
    }

    /// Makes jobs of the batches that were proven, from the next one on.
    fn take_in(&mut self, driver: &mut dyn Driver) -> Result<(), ServiceError> {
        let next = self.follower.tip().batches;
        self.proven.retain(|batch, _| *batch >= next);
        self.standings.forget_before(next);
        let mut unusable = BTreeMap::new();
        for batch in next..next.saturating_add(AHEAD_MAX) {
            // Those that wait behind the next one are read again when their turn comes.
            let is_known = batch > next && self.proven.contains_key(&batch) && self.jobs.contains_key(&batch);
            if is_known && self.batches.has(batch) {
                continue;
            }
            let proven = match self.batches.proven(batch) {
                Ok(Some(proven)) => proven,
                Ok(None) => {
                    self.proven.remove(&batch);
                    break;
                }
                // It may be that it is being copied, so it is read again at the next look. What was read before still
                // holds.
                Err(error) => {
                    unusable.insert(batch, error.to_string());
                    continue;
                }
            };
            let found = proven.payload().header().batch;
            if found != batch {
                unusable.insert(batch, format!("they are of batch {found}"));
                continue;
            }
            let statement = StatementId::of(proven.payload());
            self.proven.insert(batch, proven);
            match self.jobs.get_mut(&batch) {
                None => {
                    let job = Job::new(batch, statement);
                    store(&self.store, &job, driver)?;
                    self.jobs.insert(batch, job);
                }
                Some(job) if job.statement != statement => {
                    // Whoever gave it up gave up what it stated.
                    (job.statement, job.is_closed, job.is_abandoned) = (statement, false, false);
                    store(&self.store, job, driver)?;
                    driver.note(&Note::ProvenAgain { batch });
                }
                Some(_) => {}
            }
        }
        self.set_unusable(unusable, driver)?;
        self.open_again(next, driver)?;
        self.forget_taken_back(next)
    }

    /// Tells and keeps which batches have proofs that cannot be used. Those that have a job tell it when they are
    /// settled.
    fn set_unusable(&mut self, unusable: BTreeMap<u64, String>, driver: &mut dyn Driver) -> Result<(), ServiceError> {
        let told = std::mem::replace(&mut self.unusable, unusable);
        let jobless = |batch: &u64| !self.jobs.contains_key(batch);
        let batches: BTreeSet<u64> = self.waits.keys().chain(self.unusable.keys()).copied().filter(jobless).collect();
        for batch in batches {
            let hold = self.unusable.get(&batch).map(|reason| Hold::Proofs(reason.clone()));
            if let Some(hold) = hold.as_ref().filter(|_| told.get(&batch) != self.unusable.get(&batch)) {
                driver.note(&Note::Held { batch, hold });
            }
            self.keep_waits(batch, hold.as_ref())?;
        }
        Ok(())
    }

    /// Opens the jobs again that were done with and whose batches the chain does not have: a reorganisation went
    /// below a final block.
    fn open_again(&mut self, next: u64, driver: &mut dyn Driver) -> Result<(), ServiceError> {
        for job in self.jobs.range_mut(next..).map(|(_, job)| job).filter(|job| job.is_closed && !job.is_abandoned) {
            job.is_closed = false;
            store(&self.store, job, driver)?;
        }
        Ok(())
    }

    /// Forgets jobs of which nothing was built and whose proofs are gone, as after the batch was taken back.
    fn forget_taken_back(&mut self, next: u64) -> Result<(), ServiceError> {
        let unbuilt = self.jobs.range(next..).filter(|(_, job)| job.generations.is_empty());
        let gone: Vec<u64> = unbuilt.map(|(batch, _)| *batch).filter(|batch| !self.batches.has(*batch)).collect();
        if gone.is_empty() {
            return Ok(());
        }
        self.store.forget(gone.iter().filter_map(|batch| self.jobs.get(batch)))?;
        self.jobs.retain(|batch, _| !gone.contains(batch));
        self.proven.retain(|batch, _| !gone.contains(batch));
        Ok(())
    }

    /// Settles every open job, in order; `false` if the chain moved meanwhile.
    fn settle_all(
        &mut self,
        node: &dyn Node,
        driver: &mut dyn Driver,
        node_hold: Option<&Hold>,
    ) -> Result<bool, ServiceError> {
        let open: Vec<u64> = self.jobs.values().filter(|job| !job.is_closed).map(Job::batch).collect();
        for batch in open {
            if !self.settle(batch, node, driver, node_hold)? {
                return Ok(false);
            }
        }
        self.is_current(node)
    }

    /// Forgets the oldest of the batches at which nothing can happen any more, so that a look costs the same however
    /// many there were.
    fn forget_closed(&mut self, driver: &mut dyn Driver) -> Result<(), ServiceError> {
        let (height, next) = (self.follower.scanned().height, self.follower.tip().batches);
        let final_depth_blocks = self.config.final_depth_blocks;
        let is_final = |batch: u64| match self.index.anchored(batch) {
            Some(anchored) => height.saturating_sub(anchored.block.height) + 1 >= final_depth_blocks,
            // Anchored before the blocks that are followed, or not at all.
            None => batch < next,
        };
        let closed = self.jobs.values().filter(|job| job.is_closed && is_final(job.batch()));
        let closed: Vec<u64> = closed.map(Job::batch).collect();
        let count = closed.len().saturating_sub(self.config.closed_kept);
        if count == 0 {
            return Ok(());
        }
        let oldest = &closed[..count];
        step(driver, Step::BeforeStore)?;
        self.store.forget(oldest.iter().filter_map(|batch| self.jobs.get(batch)))?;
        step(driver, Step::AfterStore)?;
        self.waits.retain(|batch, _| oldest.binary_search(batch).is_err());
        self.jobs.retain(|batch, _| oldest.binary_search(batch).is_err());
        let open = || self.jobs.values().filter(|job| !job.is_closed);
        let first = open().map(Job::batch).chain([next]).min().unwrap_or(next);
        let mut kept = ChainIndex::default();
        open().for_each(|job| watch(&mut kept, job));
        self.index.narrow(kept, first, (height + 1).saturating_sub(final_depth_blocks));
        Ok(())
    }

    /// Whether the node's tip is the one that was followed.
    fn is_current(&self, node: &dyn Node) -> Result<bool, ServiceError> {
        let tip = self.follower.scanned();
        Ok(node.tip_height()? == tip.height && node.block_hash(tip.height)? == Some(tip.hash))
    }

    /// Decides and acts on one batch until there is nothing to do at this tip; `false` if the chain moved meanwhile.
    fn settle(
        &mut self,
        batch: u64,
        node: &dyn Node,
        driver: &mut dyn Driver,
        node_hold: Option<&Hold>,
    ) -> Result<bool, ServiceError> {
        for _ in 0..STEPS_MAX {
            let view = self.look(batch, node, node_hold.cloned())?;
            // What was seen is only worth something if it was all seen at one tip.
            if !self.is_current(node)? {
                return Ok(false);
            }
            let job = self.jobs.get(&batch).ok_or(ServiceError::NoSuchBatch(batch))?;
            let mut decision = decide(job, &view, &self.config);
            if let Some(reason) = self.unusable.get(&batch).filter(|_| decision.hold.is_none()) {
                decision.hold = Some(Hold::Proofs(reason.clone()));
            }
            self.adopt(batch, &decision, driver)?;
            match decision.action {
                None => {
                    self.keep_waits(batch, decision.hold.as_ref())?;
                    return Ok(true);
                }
                Some(action) => self.act(action, &mut Scene { batch, view: &view, node, driver: &mut *driver })?,
            }
        }
        Err(ServiceError::Unsettled { batch, steps: STEPS_MAX })
    }

    /// Keeps what a batch waits for where the store says something else.
    fn keep_waits(&mut self, batch: u64, hold: Option<&Hold>) -> Result<(), ServiceError> {
        let waits = hold.map(Waits::from);
        if waits.as_ref() != self.waits.get(&batch) {
            self.store.put_waits(batch, waits.as_ref())?;
            match waits {
                Some(waits) => drop(self.waits.insert(batch, waits)),
                None => drop(self.waits.remove(&batch)),
            }
        }
        Ok(())
    }

    /// Takes the decided state over into the job and the store.
    fn adopt(&mut self, batch: u64, decision: &Decision, driver: &mut dyn Driver) -> Result<(), ServiceError> {
        let (height, now) = (self.follower.scanned().height, driver.unix_seconds());
        let job = self.jobs.get_mut(&batch).ok_or(ServiceError::NoSuchBatch(batch))?;
        if decision.hold != job.hold
            && let Some(hold) = &decision.hold
        {
            driver.note(&Note::Held { batch, hold });
        }
        job.hold.clone_from(&decision.hold);
        let reason: String = decision.reason.chars().take(super::codec::REASON_MAX_BYTES / 4).collect();
        let transition = job.move_to(decision.state, height, now, &reason);
        let closes = job.is_closed != decision.is_closed;
        job.is_closed = decision.is_closed;
        if transition.is_some() || closes {
            store(&self.store, job, driver)?;
        }
        if let Some(transition) = &transition {
            driver.note(&Note::Moved { batch, transition });
        }
        Ok(())
    }
}

/// Why a node is not to be believed yet, if it is not up to date.
fn node_hold(sync: &SyncState) -> Option<Hold> {
    let SyncState { initial_download, headers, blocks } = *sync;
    if headers.saturating_sub(blocks) > LAG_BLOCKS_MAX || (initial_download && headers > blocks) {
        return Some(Hold::NodeSyncing { blocks, headers });
    }
    initial_download.then_some(Hold::InitialDownload { blocks })
}

/// Stores a job, between two steps.
fn store(store: &Store, job: &Job, driver: &mut dyn Driver) -> Result<(), ServiceError> {
    step(driver, Step::BeforeStore)?;
    store.save(job)?;
    step(driver, Step::AfterStore)
}

fn step(driver: &mut dyn Driver, step: Step) -> Result<(), ServiceError> {
    if driver.goes_on(step) { Ok(()) } else { Err(ServiceError::Stopped) }
}

fn watch(index: &mut ChainIndex, job: &Job) {
    for generation in job.generations() {
        let coins = generation.funding().iter().map(|coin| coin.outpoint);
        index.watch(generation.commit().compute_txid(), coins.chain([generation.output()]));
    }
}
