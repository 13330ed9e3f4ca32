//! A thousand blocks of random events on a real bitcoind: deposits that fall out of the chain or are displaced,
//! withdrawals, batches, reorganisations of up to ten blocks, crashes of the service, and a node whose pool is lost.
//!
//! After each event: the verified root goes on from what it was, or a reorganisation took it back, and never a final
//! batch; no payout falls due twice. In the end every deposit of the chain is credited once, and what went out is
//! what was withdrawn.

use bitcoin::{Amount, Transaction, TxOut, Txid};
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha20Rng;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use taproof_bitcoin::testing::{bitcoind, rig::rate, world::World};
use taproof_bitcoin::{
    anchor::{Funding, pay},
    anchoring::{BumpOrder, JobState, Order},
    follow::{self, FollowError},
    node::Node,
};
use taproof_circuits::{
    schnorr::SecretKey,
    transaction::{UnsignedTransaction, Withdraw},
};
use taproof_testkit::poster::Poster;
use taproof_verifier::{
    cell::{Cell, Token},
    deposit::Deposit,
    follow::{Event, Follower, VerifiedBatch},
    record::Destination,
};
use taproof_wallet::PosterKey;

const SEED: u64 = 1;
/// So many are mined, those that a reorganisation took away included.
const BLOCKS: u32 = 1_000;
const REORG_MAX_BLOCKS: u32 = 10;
const PURSE_COINS: u32 = 60;
const POWER_CUTS_MAX: u32 = 3;
/// More than it takes to bring all that waits into final blocks.
const CALM_BLOCKS_MAX: u32 = 100;

/// What one follower sees, event by event.
struct Truth {
    follower: Follower,
    batches: Vec<VerifiedBatch>,
    finals: usize,
    /// The payouts that fell due, by index.
    due: BTreeMap<u64, u64>,
}

impl Truth {
    fn start(world: &World) -> Self {
        let (params, program) = (world.setting.params.clone(), world.setting.program.clone());
        let follower = follow::start(&world.core.node(), params, program).expect("the node's chain");
        Self { follower, batches: Vec::new(), finals: 0, due: BTreeMap::new() }
    }

    fn look(&mut self, node: &dyn Node) {
        let Self { follower, batches, finals, due } = self;
        let read = follow::catch_up(node, follower, |_, event| {
            match event {
                Some(Event::Verified(batch)) => {
                    assert_eq!(batch.batch(), batches.len() as u64, "batches follow one another");
                    let root_before = batches.last().map(VerifiedBatch::root);
                    assert!(root_before.is_none_or(|root| batch.before().root == root));
                    batches.push(*batch);
                }
                Some(Event::Rewound { tip, .. }) => {
                    assert!(tip.batches as usize >= *finals, "a final batch is gone");
                    batches.truncate(tip.batches as usize);
                }
                Some(Event::Due(payout)) => {
                    assert_eq!(due.insert(payout.index, payout.amount_sat), None, "a payout falls due twice");
                }
                _ => {}
            }
            Ok::<(), FollowError>(())
        });
        read.expect("the node's chain");
        let final_height = follower.headers().final_block().height;
        *finals = batches.iter().take_while(|batch| batch.block().height <= final_height).count();
        assert_eq!(follower.tip().batches, batches.len() as u64);
    }
}

#[derive(Debug, Default)]
struct Tally {
    events: u32,
    blocks: u32,
    reorganisations: u32,
    displaced: u32,
    deposits: u32,
    withdrawals: u32,
    power_cuts: u32,
}

struct Storm {
    rng: ChaCha20Rng,
    world: World,
    poster: Poster,
    truth: Truth,
    owners: Vec<SecretKey>,
    purse_key: PosterKey,
    purse: Vec<Funding>,
    /// Deposits that were sent, each with the coin that it spends.
    deposits: Vec<(Transaction, Funding)>,
    base_height: u32,
    tally: Tally,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let world = World::new(0);
        let purse_key = bitcoind::poster(5);
        let purse = world.core.fund(PURSE_COINS, &purse_key.script_pubkey());
        let purse = purse.into_iter().map(|(outpoint, output)| Funding { outpoint, output }).collect();
        let setting = &world.setting;
        let poster =
            Poster::new(setting.key.clone(), setting.config, &world.core.node(), &setting.params, &setting.program);
        Self {
            rng: ChaCha20Rng::seed_from_u64(seed),
            truth: Truth::start(&world),
            owners: [1u8, 2, 3].map(|number| SecretKey::from_seed(&[number; 32])).into(),
            base_height: world.core.tip().0,
            world,
            poster,
            purse_key,
            purse,
            deposits: Vec::new(),
            tally: Tally::default(),
        }
    }

    fn mine(&mut self, blocks: u32) {
        self.world.core.mine(blocks, &self.world.core.new_script());
        self.tally.blocks += blocks;
    }

    fn mine_empty(&mut self, blocks: u32) {
        self.world.core.mine_empty(blocks);
        self.tally.blocks += blocks;
    }

    fn event(&mut self) {
        self.tally.events += 1;
        match self.rng.gen_range(0..20) {
            0..=6 => self.mine(1),
            7 => {
                let blocks = self.rng.gen_range(1..=3);
                self.mine_empty(blocks);
            }
            8..=9 => self.reorganise(),
            10..=11 => self.deposit(),
            12 => self.withdraw(),
            13..=15 => {
                let reference_depth = self.rng.gen_range(1..=6);
                let is_made = self.poster.make_batch(reference_depth, 2).is_some();
                // There is something to build and send, in the midst of which the service is killed.
                self.poster.script.stop_at = (is_made && self.rng.gen_bool(0.5)).then(|| self.rng.gen_range(0..4));
            }
            16..=17 => self.poster.restart(),
            18 => {
                let sat_per_kvb = self.rng.gen_bool(0.5).then_some(15_000);
                let next = self.truth.batches.len() as u64;
                self.poster.store().put_order(next, Order::Bump(BumpOrder { sat_per_kvb })).expect("ours");
            }
            _ => self.cut_power(),
        }
    }

    /// Replaces the last blocks; now and then a deposit's coin is spent by something else in the new ones.
    fn reorganise(&mut self) {
        let tip = self.world.core.tip().0;
        let depth = self.rng.gen_range(1..=REORG_MAX_BLOCKS).min(tip - self.base_height);
        if depth == 0 {
            return;
        }
        self.world.core.invalidate(&self.world.core.block_hash(tip - depth + 1));
        self.tally.reorganisations += 1;
        let chosen = if self.rng.gen_bool(0.4) { self.deposits.choose(&mut self.rng).cloned() } else { None };
        let mut left = depth + 1;
        if let Some((_, coin)) = chosen.filter(|(_, coin)| self.is_unspent(coin)) {
            let output = TxOut { value: Amount::from_sat(1_000_000), script_pubkey: self.world.core.new_script() };
            let rival = pay(vec![output], rate("9"), &[coin], &self.purse_key).expect("a coin is worth more");
            self.world.core.mine_with(&[rival], &self.world.core.new_script());
            self.tally.displaced += 1;
            self.tally.blocks += 1;
            left -= 1;
        }
        self.mine_empty(left);
    }

    /// Whether no block spends a coin.
    fn is_unspent(&self, coin: &Funding) -> bool {
        !self.world.core.call("gettxout", json!([coin.outpoint.txid, coin.outpoint.vout, false])).is_null()
    }

    fn deposit(&mut self) {
        let Some(coin) = self.purse.pop() else { return };
        let owner = *self.owners.choose(&mut self.rng).expect("three").public();
        let (params, refund) = (&self.world.setting.params, self.purse_key.public());
        let deposit = Deposit { amount_sat: self.rng.gen_range(1_000..500_000), owner, refund };
        let outputs = deposit.outputs(params.bridge(), params.chain_id());
        let transaction = pay(outputs.into(), rate("5"), std::slice::from_ref(&coin), &self.purse_key);
        let transaction = transaction.expect("a coin is worth more");
        self.world.core.send(&transaction);
        self.deposits.push((transaction, coin));
        self.tally.deposits += 1;
    }

    /// Signs a withdrawal by the state that the poster shows, unless one waits already.
    fn withdraw(&mut self) {
        let ledger = &self.poster.ledger;
        if !ledger.transactions().expect("readable").is_empty() {
            return;
        }
        let accounts: Vec<_> = ledger
            .state()
            .tree()
            .cells()
            .filter_map(|(index, cell)| match cell {
                Cell::Account(account) => Some((index, *account)),
                _ => None,
            })
            .collect();
        let Some((from, account)) = accounts.choose(&mut self.rng).copied() else { return };
        let Some(owner) = self.owners.iter().find(|owner| *owner.public() == account.owner) else { return };
        let withdraw = Withdraw {
            chain_id: self.world.setting.params.chain_id(),
            token: Token::BITCOIN,
            from,
            nonce: account.nonce,
            amount: self.rng.gen_range(0..=account.balance),
            fee: 0,
            destination: Destination::P2wpkh([7; 20]),
        };
        let signed = UnsignedTransaction::Withdraw(withdraw).sign(owner);
        self.poster.ledger.add_transactions(&[signed]).expect("room");
        self.tally.withdrawals += 1;
    }

    /// The node is killed: its pool is lost, and nobody answers the service meanwhile.
    fn cut_power(&mut self) {
        if self.tally.power_cuts == POWER_CUTS_MAX || self.rng.gen_bool(0.7) {
            return;
        }
        let node = self.world.core.node();
        self.world.core.flush();
        self.world.core.kill9();
        self.poster.tick(&node);
        self.world.core.restart();
        self.mine_empty(1);
        self.tally.power_cuts += 1;
    }

    fn look(&mut self) {
        let node = self.world.core.node();
        self.poster.tick(&node);
        self.poster.follow(&node);
        self.truth.look(&node);
    }

    /// Until all that waits is in final blocks.
    fn calm_down(&mut self) {
        self.poster.restart();
        for _ in 0..CALM_BLOCKS_MAX {
            self.mine(1);
            self.look();
            drop(self.poster.make_batch(1, 2));
            let is_settled = self.truth.finals == self.truth.batches.len()
                && self.truth.follower.pending_deposits().next().is_none()
                && self.poster.ledger.transactions().expect("readable").is_empty()
                && self.poster.ledger.next_batch() == self.truth.batches.len() as u64;
            if is_settled {
                return;
            }
        }
        panic!("{} batches, {} of them final", self.truth.batches.len(), self.truth.finals);
    }

    /// The deposits of the chain, read from its blocks.
    fn deposited_sat(&self) -> u64 {
        let (params, core) = (&self.world.setting.params, &self.world.core);
        let blocks = (params.start.height + 1..=core.tip().0).map(|height| core.block(&core.block_hash(height)));
        let scan = |transaction: &Transaction| Deposit::scan(transaction, params.bridge(), params.chain_id());
        let deposits = blocks.flat_map(|block| block.txdata.iter().flat_map(scan).collect::<Vec<_>>());
        deposits.map(|(_, deposit)| deposit.amount_sat).sum()
    }
}

#[test]
fn a_thousand_blocks_of_random_events_lose_nothing_and_pay_nothing_twice() {
    println!("seed {SEED}");
    let mut storm = Storm::new(SEED);
    storm.look();
    while storm.tally.blocks < BLOCKS {
        storm.event();
        storm.look();
    }
    storm.calm_down();
    println!("{:#?} {:#?}", storm.tally, storm.poster.troubles);

    // One who reads the chain from its start sees the same.
    let fresh = storm.world.follower();
    assert_eq!((fresh.tip(), fresh.scanned()), (storm.truth.follower.tip(), storm.truth.follower.scanned()));
    assert_eq!(fresh.tip().root, storm.poster.ledger.state().root());
    let cells = storm.poster.ledger.state().tree().cells();
    let balances = cells.map(|(_, cell)| if let Cell::Account(account) = cell { account.balance } else { 0 });
    let paid_sat: u64 = storm.truth.due.values().sum();
    assert_eq!(storm.deposited_sat(), balances.sum::<u64>() + paid_sat, "value is conserved");
    assert_eq!(storm.truth.due.len() as u64, fresh.tip().payouts);
    let reveals: BTreeSet<Txid> = storm.truth.batches.iter().map(VerifiedBatch::txid).collect();
    assert_eq!(reveals.len(), storm.truth.batches.len());
    let service = storm.poster.service().expect("it ticked");
    for batch in 0..storm.truth.batches.len() as u64 {
        assert_eq!(service.job(batch).expect("it was proven").state(), JobState::Final, "batch {batch}");
    }
    // It was a storm.
    let Tally { reorganisations, displaced, deposits, withdrawals, power_cuts, .. } = storm.tally;
    let troubles = storm.poster.troubles;
    assert!(reorganisations >= 40 && displaced >= 2 && deposits >= 40 && withdrawals >= 10 && power_cuts >= 1);
    assert!(troubles.stale >= 2 && troubles.crashes >= 1 && troubles.node_outages >= 1, "{troubles:?}");
    assert!(storm.truth.batches.len() >= 20 && !storm.truth.due.is_empty());
}
