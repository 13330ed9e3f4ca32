//! The service on a real bitcoind that has a toy rollup's blocks.

use super::{
    bitcoind::{Bitcoind, Options},
    rig::{ProvenBatches, Rig, Script},
};
use crate::{
    anchoring::{Config, Identity, Job, JobState, Service, ServiceError, Signer, Store, TickReport},
    coins::CoinStore,
    follow,
    node::{Node, RpcAuth, RpcNode},
};
use bitcoin::{Network, consensus::encode::serialize_hex};
use serde_json::json;
use std::path::{Path, PathBuf};
use taproof_verifier::{
    follow::{Follower, Params},
    program::Program,
};
use taproof_wallet::PosterKey;
use tempfile::TempDir;

/// Deeper than any reorganisation here.
pub const FINAL_DEPTH_BLOCKS: u32 = 14;

/// What a service needs beside a node: made alike in every process.
pub struct Setting {
    pub params: Params,
    pub program: Program,
    pub batches: ProvenBatches,
    pub key: PosterKey,
    pub config: Config,
    pub blocks: Vec<bitcoin::Block>,
}

impl Setting {
    pub fn new(batches: u64) -> Self {
        let rig = Rig::with_final_depth(batches, FINAL_DEPTH_BLOCKS);
        Self {
            params: rig.toy.params.clone(),
            program: rig.toy.program.clone(),
            batches: rig.batches.clone(),
            key: rig.key.clone(),
            config: rig.config,
            blocks: rig.toy.node.chain().blocks().cloned().collect(),
        }
    }

    pub fn service(&self, store: &Path, node: &dyn Node) -> Result<Service<ProvenBatches>, ServiceError> {
        let coins = CoinStore::new(store.with_extension("coins"));
        let identity = Identity::new(self.params.chain_id(), &self.key.scripts());
        let store = Store::open(store, identity)?;
        let follower = follow::start(node, self.params.clone(), self.program.clone())?;
        Service::new(store, coins, Signer::Key(self.key.clone()), self.config, follower, self.batches.clone())
    }
}

/// A bitcoind that has the toy's blocks, and a service.
pub struct World {
    pub core: Bitcoind,
    pub setting: Setting,
    pub script: Script,
    pub folder: TempDir,
    pub service: Option<Service<ProvenBatches>>,
}

impl World {
    pub fn new(batches: u64) -> Self {
        let world = Self::behind(batches);
        // A block of now ends the initial download.
        world.core.mine_empty(1);
        world
    }

    /// A node whose last block is years old.
    pub fn behind(batches: u64) -> Self {
        Self::behind_with(batches, Options::default())
    }

    pub fn behind_with(batches: u64, options: Options) -> Self {
        let (core, setting) = (Bitcoind::start_with(options), Setting::new(batches));
        for block in &setting.blocks[1..] {
            let refusal = core.call("submitblock", json!([serialize_hex(block)]));
            assert!(refusal.is_null(), "the embedded chain is one of regtest: {refusal}");
        }
        let folder = tempfile::tempdir().expect("a scratch folder");
        Self { core, setting, script: Script::default(), folder, service: None }
    }

    pub fn store_path(&self) -> PathBuf {
        self.folder.path().join("anchoring.redb")
    }

    pub fn try_tick(&mut self) -> Result<TickReport, ServiceError> {
        let auth = RpcAuth::CookieFile(self.core.cookie_file());
        let node = RpcNode::connect(&self.core.url(), &auth, Network::Regtest)?;
        let mut service = match self.service.take() {
            Some(service) => service,
            None => self.setting.service(&self.store_path(), &node)?,
        };
        let report = service.tick(&node, &mut self.script);
        self.service = Some(service);
        report
    }

    pub fn tick(&mut self) -> TickReport {
        self.try_tick().expect("the node answers")
    }

    pub fn mine_and_tick(&mut self, blocks: u32) {
        for _ in 0..blocks {
            self.core.mine(1, &self.core.new_script());
            self.tick();
        }
    }

    pub fn job(&self, batch: u64) -> &Job {
        self.service.as_ref().expect("it ticked").job(batch).expect("proven")
    }

    pub fn state(&self, batch: u64) -> JobState {
        self.job(batch).state()
    }

    pub fn follower(&self) -> Follower {
        let node = self.core.node();
        let (params, program) = (self.setting.params.clone(), self.setting.program.clone());
        let mut follower = follow::start(&node, params, program).expect("the node's chain");
        follow::catch_up(&node, &mut follower, |_, _| Ok::<(), follow::FollowError>(())).expect("the node's chain");
        follower
    }
}
