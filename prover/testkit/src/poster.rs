//! Whoever posts batches: a ledger, proofs, and the anchoring service with its store; all of it as the command line
//! drives it.

use std::path::PathBuf;
use taproof_bitcoin::{
    anchoring::{Config, Identity, JobState, Service, ServiceError, Signer, Store, TickReport},
    coins::CoinStore,
    follow::{self, FollowError},
    node::{ChainSource, Node},
    proven_batch::ProvenBatch,
    testing::rig::{ProvenBatches, Script, check_cap},
    testing::toy_rollup::prove,
};
use taproof_circuits::{ops, step::Machines};
use taproof_rollup::{
    batch::BatchFile,
    ledger::{AppliedBatch, Ledger},
    sequencer::{self, Sequencer, SequencerError, TakenOver, Terms, final_batches},
};
use taproof_verifier::{
    cell::{CellIndex, Depth},
    exit::Outcome,
    follow::{Event, Follower, Params, VerifiedBatch},
    program::Program,
};
use taproof_wallet::PosterKey;
use tempfile::TempDir;

/// What befell a poster.
#[derive(Clone, Copy, Debug, Default)]
pub struct Troubles {
    /// Batches that were taken back because the chain would not accept them.
    pub stale: u32,
    /// Batches that were taken back because somebody else's took the number.
    pub foreign: u32,
    /// Batches that were taken over from somebody else.
    pub taken_over: u32,
    pub crashes: u32,
    pub node_outages: u32,
}

/// How many batches are made ahead of the chain.
const AHEAD_MAX: u64 = 3;

pub struct Poster {
    pub key: PosterKey,
    pub config: Config,
    pub script: Script,
    pub ledger: Ledger,
    pub proven: ProvenBatches,
    pub troubles: Troubles,
    params: Params,
    program: Program,
    follower: Follower,
    /// The anchored batches, by this poster's follower.
    anchored: Vec<VerifiedBatch>,
    /// How many of them are final.
    finals: u64,
    service: Option<Service<ProvenBatches>>,
    folder: TempDir,
}

impl Poster {
    pub fn new(key: PosterKey, config: Config, node: &dyn ChainSource, params: &Params, program: &Program) -> Self {
        // The stores write thousands of times, and no power cut happens here: a folder in memory will do where there
        // is one.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a scratch folder");
        let ledger = Ledger::create(&folder.path().join("ledger.redb"), params.chain_id(), params.genesis_depth);
        let machines = Machines::new(vec![ops::standard()]);
        let follower = follow::start(node, params.clone(), program.clone()).expect("the node's chain");
        Self {
            key,
            config,
            script: Script::default(),
            ledger: ledger.expect("a new file").with_machines(machines),
            proven: ProvenBatches::default(),
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

    pub fn store(&self) -> Store {
        let identity = Identity::new(self.params.chain_id(), &self.key.scripts());
        Store::open(&self.store_path(), identity).expect("the store is ours")
    }

    fn coin_store(&self) -> CoinStore {
        CoinStore::new(self.store_path().with_file_name("coins.redb"))
    }

    /// The service, while it runs.
    pub fn service(&self) -> Option<&Service<ProvenBatches>> {
        self.service.as_ref()
    }

    /// Forgets all that is not stored.
    pub fn restart(&mut self) {
        self.service = None;
    }

    /// Reads the chain, and brings the ledger in line with it.
    pub fn follow(&mut self, node: &dyn Node) {
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
            let taken = sequencer::take_over(&mut self.ledger, batch).expect("it follows on the chain");
            if let Some(TakenOver { batch: number, taken_back }) = taken {
                self.troubles.taken_over += 1;
                self.troubles.foreign += u32::from(!taken_back.is_empty());
                // Its proofs are in the chain, and serve if a reorganisation takes the anchor away. What it showed is
                // not kept, so a batch that refuted something is made anew then.
                let mut proven = self.proven.0.borrow_mut();
                proven.retain(|made, _| *made < number);
                if batch.settled_requests().iter().all(|settled| settled.outcome == Outcome::Served)
                    && let Ok(batch) = ProvenBatch::new(batch.payload().clone())
                {
                    proven.insert(number, batch);
                }
            }
        }
        let next = self.anchored.len() as u64;
        let is_stale = self.ledger.next_batch() > next && self.is_stale(next);
        let mut sequencer = Sequencer::new(&mut self.ledger, &self.follower).expect("in line with the chain");
        if is_stale {
            // What `taproof batch --take-back` does.
            let taken_back = sequencer.take_back(next).expect("no final batch is taken back");
            self.proven.0.borrow_mut().retain(|number, _| !taken_back.contains(number));
            self.troubles.stale += 1;
        }
        self.finals = final_batches(&self.follower);
    }

    fn is_stale(&self, batch: u64) -> bool {
        let job = self.service.as_ref().and_then(|service| service.job(batch));
        job.is_some_and(|job| job.state() == JobState::Stale)
    }

    /// Makes the next batch of what waits and proves it, if there is anything to apply.
    ///
    /// Without a depth of the reference, that is the sequencer's to choose.
    pub fn make_batch(&mut self, reference_depth: impl Into<Option<u32>>, levels: u8) -> Option<AppliedBatch> {
        if self.ledger.next_batch() >= self.anchored.len() as u64 + AHEAD_MAX {
            return None;
        }
        let terms = Terms {
            reference_depth_blocks: reference_depth.into(),
            depth_min: Depth::new(levels),
            chunks_max: 100,
            admission: Default::default(),
        };
        let mut sequencer = Sequencer::new(&mut self.ledger, &self.follower).expect("in line with the chain");
        let mut draft = match sequencer.draft(&terms, &[]) {
            Err(SequencerError::NoReference { .. }) => return None,
            draft => draft.expect("room"),
        };
        draft.pay_fees_to(CellIndex::default());
        let made = sequencer.make(&draft, &[]).expect("all that is due fits");
        if !made.is_batch() {
            return None;
        }
        let applied = made.applied;
        let file = self.ledger.artefact::<BatchFile>(applied.number).expect("readable").expect("just applied");
        let proven = prove(&self.program, file.header().of_payload(), file.chunks(), file.refutations());
        self.proven.0.borrow_mut().insert(applied.number, proven);
        Some(applied)
    }

    /// Ticks; a service that was stopped or met a node that was down starts again, or goes on, the next time.
    pub fn tick(&mut self, node: &dyn Node) {
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

/// How many requests a batch serves and refutes.
pub fn settled(batch: &VerifiedBatch) -> [usize; 2] {
    [Outcome::Served, Outcome::Refuted]
        .map(|outcome| batch.settled_requests().iter().filter(|settled| settled.outcome == outcome).count())
}
