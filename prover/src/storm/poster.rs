//! Whoever posts batches: a ledger, proofs, and the anchoring service with its store; all of it as the command line
//! drives it.

use crate::{
    anchoring::{
        Config, Identity, Service, ServiceError, Signer, State, Store, TickReport,
        tests::rig::{Proven, Script, check_cap},
    },
    batch::{BatchFile, BatchHeader, ProvenBatch},
    coins::CoinStore,
    follow::{self, FollowError},
    ledger::{AppliedBatch, Ledger, ScannedDeposit},
    node::{ChainSource, Node},
    toy_rollup::{SLOTS, prove},
    wallet::PosterKey,
};
use std::{collections::BTreeMap, num::NonZeroU16, path::PathBuf};
use taproof_circuits::{
    state::{Plan, Slots},
    transaction::Deposit,
};
use taproof_verifier::{
    cell::{CellIndex, Depth, Token},
    exit::Outcome,
    follow::{Event, Follower, Params, VerifiedBatch},
    headers::BlockId,
    program::Program,
};
use tempfile::TempDir;

/// What befell a poster.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Troubles {
    /// Batches that were taken back because the chain would not accept them.
    pub(crate) stale: u32,
    /// Batches that were taken back because somebody else's took the number.
    pub(crate) foreign: u32,
    /// Batches that were taken over from somebody else.
    pub(crate) taken_over: u32,
    pub(crate) crashes: u32,
    pub(crate) node_outages: u32,
}

/// How many batches are made ahead of the chain.
const AHEAD_MAX: u64 = 3;

pub(crate) struct Poster {
    pub(crate) key: PosterKey,
    pub(crate) config: Config,
    pub(crate) script: Script,
    pub(crate) ledger: Ledger,
    pub(crate) proven: Proven,
    pub(crate) troubles: Troubles,
    params: Params,
    program: Program,
    follower: Follower,
    /// The anchored batches, by this poster's follower.
    anchored: Vec<VerifiedBatch>,
    /// How many of them are final.
    finals: u64,
    service: Option<Service<Proven>>,
    folder: TempDir,
}

impl Poster {
    pub(crate) fn new(
        key: PosterKey,
        config: Config,
        node: &dyn ChainSource,
        params: &Params,
        program: &Program,
    ) -> Self {
        // The stores write thousands of times, and no power cut happens here: a folder in memory will do where there
        // is one.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a scratch folder");
        let ledger = Ledger::create(&folder.path().join("ledger.redb"), params.chain_id, params.genesis_depth);
        let follower = follow::start(node, params.clone(), program.clone()).expect("the node's chain");
        Self {
            key,
            config,
            script: Script::default(),
            ledger: ledger.expect("a new file"),
            proven: Proven::default(),
            troubles: Troubles::default(),
            params: params.clone(),
            program: program.clone(),
            follower,
            anchored: Vec::new(),
            finals: 0,
            service: None,
            folder,
        }
    }

    fn store_path(&self) -> PathBuf {
        self.folder.path().join("anchoring.redb")
    }

    pub(crate) fn store(&self) -> Store {
        let identity = Identity::new(self.params.chain_id, self.params.magic, &self.key.scripts());
        Store::open(&self.store_path(), identity).expect("the store is ours")
    }

    fn coin_store(&self) -> CoinStore {
        CoinStore::new(self.store_path().with_file_name("coins.redb"))
    }

    /// The service, while it runs.
    pub(crate) fn service(&self) -> Option<&Service<Proven>> {
        self.service.as_ref()
    }

    /// Forgets all that is not stored.
    pub(crate) fn restart(&mut self) {
        self.service = None;
    }

    /// Reads the chain, and brings the ledger in line with it.
    pub(crate) fn follow(&mut self, node: &dyn Node) {
        let anchored = &mut self.anchored;
        let read = follow::catch_up(node, &mut self.follower, |_, event| {
            match event {
                Some(Event::Verified(batch)) => anchored.push(*batch),
                Some(Event::Rewound { tip, .. }) => anchored.truncate(tip.batches as usize),
                _ => {}
            }
            Ok::<(), FollowError>(())
        });
        read.expect("the node's chain");
        for batch in &self.anchored[self.finals as usize..] {
            let made = self.ledger.next_batch();
            if self.ledger.take_over(batch).expect("it follows on the chain") {
                self.troubles.taken_over += 1;
                self.troubles.foreign += u32::from(batch.batch() < made);
                // Its proofs are in the chain, and serve if a reorganisation takes the anchor away.
                let mut proven = self.proven.0.borrow_mut();
                proven.retain(|number, _| *number < batch.batch());
                proven.insert(batch.batch(), ProvenBatch::new(batch.payload().clone()).expect("it was in a block"));
            }
        }
        assert!(self.ledger.agrees_with(self.follower.tip()).expect("readable"));
        let next = self.anchored.len() as u64;
        if self.ledger.next_batch() > next && self.is_stale(next) {
            self.take_back(next);
            self.troubles.stale += 1;
        }
        let final_height = self.follower.headers().final_block().height;
        let finals = self.anchored.iter().take_while(|batch| batch.block().height <= final_height).count() as u64;
        if finals > self.finals {
            self.ledger.forget_before(finals).expect("a disk with room");
            self.finals = finals;
        }
    }

    fn is_stale(&self, batch: u64) -> bool {
        let job = self.service.as_ref().and_then(|service| service.job(batch));
        job.is_some_and(|job| job.state() == State::Stale)
    }

    /// What `taproof batch --take-back` does.
    fn take_back(&mut self, batch: u64) {
        self.ledger.rewind_to(batch).expect("no final batch is taken back");
        self.proven.0.borrow_mut().retain(|number, _| *number < batch);
    }

    /// Makes the next batch of what waits and proves it, if there is anything to apply.
    pub(crate) fn make_batch(&mut self, reference_depth: u32, levels: u8) -> Option<AppliedBatch> {
        if self.ledger.next_batch() >= self.anchored.len() as u64 + AHEAD_MAX {
            return None;
        }
        let scanned = self.follower.scanned().height;
        let deep = (scanned + 1).saturating_sub(reference_depth);
        let height = deep.max(self.follower.tip().reference.height).max(self.ledger.reference_height());
        let reference = self.follower.headers().at(height).filter(|block| block.height <= scanned)?;
        let consumed = self.ledger.deposits_consumed();
        let pending = self.follower.pending_deposits().filter(|scanned| scanned.index >= consumed);
        let deposits: Vec<ScannedDeposit> = pending
            .map(|scanned| {
                let (amount_sat, owner) = (scanned.deposit.amount_sat, scanned.deposit.owner);
                ScannedDeposit { deposit: Deposit { amount_sat, owner }, height_blocks: scanned.height }
            })
            .collect();
        let exits: Vec<_> = self.follower.pending_exits().copied().collect();
        if deposits.is_empty() && exits.is_empty() && self.ledger.transactions().expect("readable").is_empty() {
            return None;
        }
        self.ledger.set_deposits(consumed, &deposits).expect("room");
        self.ledger.set_exits(&exits, self.follower.tip().batches).expect("room");
        let slots = NonZeroU16::new(SLOTS).expect("not zero");
        let plan = Plan {
            height_blocks: height,
            slots: Slots { deposit: slots, transfer: slots, open: slots, withdraw: slots },
            operators: BTreeMap::from([(Token::BITCOIN, CellIndex::default())]),
            chunks_max: 100,
            admission: Default::default(),
        };
        let depth = self.ledger.state().depth().max(Depth::new(levels).expect("a few levels"));
        let void_below = self.params.void_below(height);
        let params = &self.params;
        let record = |applied: &AppliedBatch| batch_file(params, applied, reference);
        let applied = self.ledger.apply(&plan, depth, void_below, record).expect("all that is due fits");
        if applied.batch.chunks.is_empty() {
            return None;
        }
        let file = self.ledger.artefact::<BatchFile>(applied.number).expect("readable").expect("just applied");
        self.proven.0.borrow_mut().insert(applied.number, prove(&file));
        Some(applied)
    }

    /// Ticks; a service that was stopped or met a node that was down starts again, or goes on, the next time.
    pub(crate) fn tick(&mut self, node: &dyn Node) {
        match self.try_tick(node) {
            Ok(_) => {
                let service = self.service.as_ref().expect("it ticked");
                service.jobs().filter(|job| !job.is_closed()).for_each(|job| check_cap(job, self.config.fee_cap));
            }
            Err(ServiceError::Stopped) => {
                self.troubles.crashes += 1;
                self.restart();
            }
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                self.troubles.node_outages += 1;
            }
        }
        self.script = Script::default();
    }

    fn try_tick(&mut self, node: &dyn Node) -> Result<TickReport, ServiceError> {
        let mut service = match self.service.take() {
            Some(service) => service,
            None => {
                let (params, program) = (self.params.clone(), self.program.clone());
                let follower = match self.follower.checkpoint() {
                    Some(checkpoint) => follow::resume(node, params, program, checkpoint),
                    None => follow::start(node, params, program),
                };
                let signer = Signer::Key(self.key.clone());
                Service::new(self.store(), self.coin_store(), signer, self.config, follower?, self.proven.clone())?
            }
        };
        let report = service.tick(node, &mut self.script);
        self.service = Some(service);
        report
    }
}

fn batch_file(params: &Params, applied: &AppliedBatch, reference: BlockId) -> BatchFile {
    let header = BatchHeader {
        chain_id: params.chain_id,
        number: applied.number,
        depth: applied.batch.depth,
        root_before: applied.batch.root_before,
        root_after: applied.batch.root_after,
        reference,
        deposits_consumed: applied.deposits_consumed,
        program_id: params.program_id,
    };
    let (chunks, refutations) = (applied.batch.chunks.clone(), applied.refutations.clone());
    BatchFile::with_refutations(header, chunks, refutations).expect("the state's chunks join up")
}

/// How many exit requests a batch serves and refutes.
pub(crate) fn settled(batch: &VerifiedBatch) -> [usize; 2] {
    [Outcome::Served, Outcome::Refuted]
        .map(|outcome| batch.settled_exits().iter().filter(|settled| settled.outcome == outcome).count())
}
