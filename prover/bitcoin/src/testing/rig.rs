//! A rollup with batches that are proven, a chain that the test mines and reorganises, and a service that can be
//! restarted.

use crate::{
    anchor::FeeRate,
    anchoring::{
        BatchSource, Config, Driver, Identity, Job, JobState, Note, Service, ServiceError, Signer, Step, Store,
        TickReport,
    },
    coins::CoinStore,
    follow,
    node::{
        Acceptance, ChainSource, CoinScan, EmbeddedNode, FeeFloors, Found, Node, NodeError, PackageVerdict, PoolEntry,
        Sent, SyncState, Unspent,
    },
    proven_batch::ProvenBatch,
    testing::toy_rollup::{FINAL_DEPTH_BLOCKS, ToyRollup, elsewhere},
};
use bitcoin::{Block, BlockHash, Network, OutPoint, ScriptBuf, Transaction, Txid, block::Header};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    path::PathBuf,
    rc::Rc,
};
use taproof_base::artefact::FileError;
use taproof_circuits::{state, transaction::Deposit};
use taproof_verifier::{
    follow::{Follower, Founding, Tip},
    headers::BlockId,
    payload::{Payload, PayloadHash},
};
use taproof_wallet::{PosterKey, PosterScripts, Wallet};
use tempfile::TempDir;

/// The batches that are proven, as a test has them.
#[derive(Clone, Debug, Default)]
pub struct ProvenBatches(pub Rc<RefCell<BTreeMap<u64, ProvenBatch>>>);

impl BatchSource for ProvenBatches {
    fn proven(&self, batch: u64) -> Result<Option<ProvenBatch>, FileError> {
        Ok(self.0.borrow().get(&batch).cloned())
    }
}

/// A driver that keeps the notes and stops at a step of choice.
#[derive(Debug, Default)]
pub struct Script {
    pub notes: Vec<String>,
    pub steps: Vec<Step>,
    pub stop_at: Option<usize>,
}

impl Driver for Script {
    fn note(&mut self, note: &Note<'_>) {
        self.notes.push(format!("{note:?}"));
    }

    fn goes_on(&mut self, step: Step) -> bool {
        let position = self.steps.len();
        self.steps.push(step);
        self.stop_at != Some(position)
    }

    fn unix_seconds(&self) -> u64 {
        1_700_000_000
    }
}

/// Everything that a test moves.
pub struct Rig {
    pub toy: ToyRollup,
    pub batches: ProvenBatches,
    pub config: Config,
    pub script: Script,
    pub key: PosterKey,
    pub outlook: Outlook,
    /// Only the public half of the key is at hand.
    pub is_external: bool,
    /// The key that signs reveals where the other is elsewhere.
    pub hot_key: Option<PosterKey>,
    folder: TempDir,
    service: Option<Service<ProvenBatches>>,
}

pub fn rate(text: &str) -> FeeRate {
    text.parse().expect("a rate")
}

impl Rig {
    /// A rollup with this many batches that are proven and not anchored; the first credits deposits.
    pub fn new(batches: u64) -> Self {
        Self::with_final_depth(batches, FINAL_DEPTH_BLOCKS)
    }

    /// The same, with another number of blocks that make one final.
    pub fn with_final_depth(batches: u64, final_depth_blocks: u32) -> Self {
        Self::founded(batches, |founding, _| founding.final_depth_blocks = final_depth_blocks)
    }

    /// The same of a rollup whose founder chose otherwise.
    pub fn founded(batches: u64, alter: impl FnOnce(&mut Founding, &Wallet)) -> Self {
        let mut toy = ToyRollup::founded_by(&[2, 3], alter);
        // The deepest reorganisation of these tests stays above the rollup's start.
        toy.node.mine(6).expect("empty blocks are valid");
        let deposits = toy.deposit(&[(0, 50_000), (1, 70_000)]);
        // The reference lies above the deposits, so that it can vanish without them.
        toy.node.mine(5).expect("empty blocks are valid");
        let chain = toy.node.chain();
        toy.reference = BlockId { height: chain.height(), hash: chain.tip_hash() };
        let proven = ProvenBatches::default();
        for number in 0..batches {
            let payload = match number {
                0 => toy.batch(&deposits, &[]),
                number => {
                    let payment = toy.transfer(0, 1, 100 + number, 0);
                    toy.batch(&[], &[payment])
                }
            };
            advance(&mut toy, &payload);
            proven.0.borrow_mut().insert(number, ProvenBatch::new(payload).expect("short"));
        }
        toy.node.mine(1).expect("empty blocks are valid");
        let key = toy.poster.clone();
        let config = Config { safe_depth_blocks: 3, ..Config::new(toy.params.final_depth_blocks) };
        let folder = tempfile::tempdir().expect("a scratch folder");
        let (script, outlook) = (Script::default(), Outlook::default());
        Self {
            toy,
            batches: proven,
            config,
            script,
            key,
            outlook,
            is_external: false,
            hot_key: None,
            folder,
            service: None,
        }
    }

    pub fn store_path(&self) -> PathBuf {
        self.folder.path().join("anchoring.redb")
    }

    pub fn identity(&self) -> Identity {
        Identity::new(self.toy.params.chain_id(), &self.key.scripts())
    }

    pub fn store(&self) -> Store {
        Store::open(&self.store_path(), self.identity()).expect("the store is ours")
    }

    pub fn node(&self) -> &dyn Node {
        &self.toy.node
    }

    pub fn coin_store(&self) -> CoinStore {
        CoinStore::new(self.folder.path().join("coins.redb"))
    }

    fn follower(&self) -> Follower {
        follow::start(self.node(), self.toy.params.clone(), self.toy.program.clone()).expect("the toy's chain")
    }

    /// Forgets all that is not stored.
    pub fn restart(&mut self) {
        self.service = None;
    }

    /// Ticks until nothing is left to do; the service is started if it does not run.
    pub fn try_tick(&mut self) -> Result<TickReport, ServiceError> {
        let mut service = match self.service.take() {
            Some(service) => service,
            None => {
                let poster = PosterScripts::watch_only(self.key.public(), self.key.network());
                let signer = match (self.is_external, self.hot_key.clone()) {
                    (true, Some(key)) => Signer::Hot { poster, key },
                    (true, None) => Signer::External(poster),
                    (false, _) => Signer::Key(self.key.clone()),
                };
                Service::new(
                    self.store(),
                    self.coin_store(),
                    signer,
                    self.config,
                    self.follower(),
                    self.batches.clone(),
                )?
            }
        };
        let node = SeenNode { node: &self.toy.node, outlook: &self.outlook };
        let report = service.tick(&node, &mut self.script);
        self.service = Some(service);
        report
    }

    pub fn tick(&mut self) -> TickReport {
        self.try_tick().expect("the toy's node answers")
    }

    /// All jobs of the running service.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.service.iter().flat_map(Service::jobs)
    }

    /// A job as the service has it, which is as the store has it.
    pub fn job(&self, batch: u64) -> &Job {
        self.service.as_ref().expect("it ticked").job(batch).expect("the batch is proven")
    }

    pub fn state(&self, batch: u64) -> JobState {
        self.job(batch).state()
    }

    pub fn states(&self, batch: u64) -> Vec<JobState> {
        self.job(batch).history().iter().map(|transition| transition.to).collect()
    }

    /// Mines what waits, then empty blocks.
    pub fn mine(&mut self, blocks: u32) {
        self.toy.node.mine(blocks).expect("what waits is valid");
    }

    /// Mines a block of these transactions alone; what waits goes on waiting where it still can.
    pub fn mine_only(&mut self, transactions: &[Transaction]) {
        self.toy.node.chain_mut().mine(transactions, &elsewhere()).expect("valid");
    }

    /// Mines and ticks, block by block.
    pub fn mine_and_tick(&mut self, blocks: u32) {
        for _ in 0..blocks {
            self.mine(1);
            self.tick();
        }
    }

    /// Replaces the last blocks by empty ones, one more; what they held waits again, as nodes do it.
    pub fn reorganise(&mut self, depth: u32) {
        let displaced = self.displace(depth);
        for transaction in displaced {
            // What spent an orphaned reward is gone.
            let _ = self.toy.node.send(&transaction);
        }
    }

    /// As [`Rig::reorganise`], and the node forgets what the blocks held. Gives it.
    pub fn displace(&mut self, depth: u32) -> Vec<Transaction> {
        let chain = self.toy.node.chain_mut();
        let fork = chain.height() - depth;
        let displaced: Vec<Transaction> = (fork + 1..=chain.height())
            .flat_map(|height| chain.block_at(height).expect("below the tip").txdata[1..].to_vec())
            .collect();
        let branch = vec![Vec::new(); depth as usize + 1];
        chain.reorganise(fork, &branch, &elsewhere()).expect("a longer branch");
        displaced
    }

    /// What the chain says, read by a follower that was not there before.
    pub fn anchored(&self) -> u64 {
        let mut follower = self.follower();
        follow::catch_up(self.node(), &mut follower, |_, _| Ok::<(), follow::FollowError>(()))
            .expect("the toy's chain");
        follower.tip().batches
    }
}

/// Moves the toy's tip as if the batch were anchored; only what a next batch reads of it matters.
pub fn advance(toy: &mut ToyRollup, payload: &Payload) {
    let header = payload.header();
    toy.tip = Tip {
        batches: header.batch + 1,
        payload_hash: PayloadHash::NONE,
        root: header.root_after,
        depth: header.depth,
        deposits_consumed: header.deposits_consumed,
        payouts: 0,
        reference: BlockId { height: header.reference_height, hash: header.reference_hash },
        anchored_height: header.reference_height + 1,
    };
}

/// The first batch proven anew on the deposits as the chain has them now.
pub fn prove_again(rig: &mut Rig) {
    let mut follower = rig.follower();
    let read = follow::catch_up(rig.node(), &mut follower, |_, _| Ok::<(), follow::FollowError>(()));
    read.expect("the toy's chain");
    let toy = &mut rig.toy;
    toy.state = state::State::new(toy.params.chain_id(), toy.params.genesis_depth);
    toy.tip = Tip::genesis(&toy.params);
    toy.reference = follower.scanned();
    let deposits: Vec<Deposit> = follower
        .pending_deposits()
        .map(|scanned| Deposit { amount_sat: scanned.deposit.amount_sat, owner: scanned.deposit.owner })
        .collect();
    let payload = toy.batch(&deposits, &[]);
    rig.batches.0.borrow_mut().insert(0, ProvenBatch::new(payload).expect("short"));
}

/// No pair of commit and reveal pays more than the cap.
pub fn check_cap(job: &Job, cap: FeeRate) {
    for generation in job.generations() {
        for attempt in generation.attempts() {
            let vsize = (generation.commit().vsize() + attempt.transaction().vsize()) as u64;
            let paid = generation.commit_fee_sat() + attempt.fee_sat();
            assert!(
                paid <= cap.sat_per_kvb() * vsize / 1_000 + 2,
                "batch {}: {paid} sat are above the cap",
                job.batch()
            );
        }
    }
}

/// What a test makes a node say.
#[derive(Clone, Debug)]
pub struct Outlook {
    pub estimate: Option<FeeRate>,
    pub min_pool: FeeRate,
    pub is_syncing: bool,
    /// The node answers so many more calls.
    pub answers: Cell<u64>,
    /// The most headers that it gives in one answer.
    pub headers_max: u32,
}

impl Default for Outlook {
    fn default() -> Self {
        let answers = Cell::new(u64::MAX);
        Self { estimate: None, min_pool: FeeRate::MIN, is_syncing: false, answers, headers_max: u32::MAX }
    }
}

/// The embedded node, with another outlook.
pub struct SeenNode<'a> {
    pub node: &'a EmbeddedNode,
    pub outlook: &'a Outlook,
}

impl SeenNode<'_> {
    fn up(&self) -> Result<&EmbeddedNode, NodeError> {
        match self.outlook.answers.get() {
            0 => Err(NodeError::Unreachable { url: "http://toy".to_owned(), reason: "it is down".to_owned() }),
            left => {
                self.outlook.answers.set(left - 1);
                self.node.set_pool_minimum(self.outlook.min_pool);
                Ok(self.node)
            }
        }
    }
}

impl ChainSource for SeenNode<'_> {
    fn network(&self) -> Network {
        self.node.network()
    }

    fn tip_height(&self) -> Result<u32, NodeError> {
        self.up()?.tip_height()
    }

    fn block_hash(&self, height: u32) -> Result<Option<BlockHash>, NodeError> {
        self.up()?.block_hash(height)
    }

    fn header(&self, hash: &BlockHash) -> Result<Header, NodeError> {
        self.up()?.header(hash)
    }

    fn block(&self, hash: &BlockHash) -> Result<Block, NodeError> {
        self.up()?.block(hash)
    }

    /// Asks for each by itself, so that the node may go down between any two.
    fn headers(&self, first_height: u32, count_max: u32) -> Result<Vec<Header>, NodeError> {
        let heights = first_height..first_height.saturating_add(count_max.min(self.outlook.headers_max));
        let hashes = heights.map_while(|height| self.block_hash(height).transpose());
        hashes.map(|hash| self.header(&hash?)).collect()
    }
}

impl Node for SeenNode<'_> {
    fn test_accept(&self, transactions: &[Transaction]) -> Result<Vec<Acceptance>, NodeError> {
        self.up()?.test_accept(transactions)
    }

    fn send(&self, transaction: &Transaction) -> Result<Sent, NodeError> {
        self.up()?.send(transaction)
    }

    fn send_package(&self, parent: &Transaction, child: &Transaction) -> Result<[PackageVerdict; 2], NodeError> {
        self.up()?.send_package(parent, child)
    }

    fn pool_entry(&self, txid: &Txid) -> Result<Option<PoolEntry>, NodeError> {
        self.up()?.pool_entry(txid)
    }

    fn pool_spender(&self, outpoint: &OutPoint) -> Result<Option<Txid>, NodeError> {
        self.up()?.pool_spender(outpoint)
    }

    fn find(&self, txid: &Txid) -> Result<Option<Found>, NodeError> {
        self.up()?.find(txid)
    }

    fn unspent(&self, outpoint: &OutPoint) -> Result<Option<Unspent>, NodeError> {
        self.up()?.unspent(outpoint)
    }

    fn coins(&self, scripts: &[ScriptBuf]) -> Result<CoinScan, NodeError> {
        self.up()?.coins(scripts)
    }

    fn fee_estimate(&self, _: u16) -> Result<Option<FeeRate>, NodeError> {
        self.up()?;
        Ok(self.outlook.estimate)
    }

    fn fee_floors(&self) -> Result<FeeFloors, NodeError> {
        self.up()?.fee_floors()
    }

    fn sync_state(&self) -> Result<SyncState, NodeError> {
        Ok(SyncState { initial_download: self.outlook.is_syncing, ..self.up()?.sync_state()? })
    }
}
