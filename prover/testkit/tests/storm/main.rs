//! A storm over everything together: users who deposit, pay, withdraw, demand exits and take back what nobody
//! credited, who make tokens, found pools and trade; two posters with ledgers and anchoring services; a federation that
//! pays out; and a Bitcoin chain that is reorganised at any moment.
//!
//! After each event that moved the chain, this holds ([`truth`]):
//!
//! - one who reads the chain from its start finds what one finds who has followed it all along;
//! - batches are lost by reorganisations alone, and final ones never;
//! - each deposit is credited once, as it was made and in time, or void and its depositor's, or waits;
//! - no payout is paid twice, in another amount or to another script, and none that is not due;
//! - deposited = waiting + void + balances + withdrawn and unpaid + paid + dust, to the satoshi, and the bridge holds
//!   what it owes;
//! - a batch serves every request that the state before it can pay, and refutes none of those;
//! - no token is lost or made, and nobody gives what he did not sign: each order is filled once, at its limit or
//!   better, in time, at the one price of its session ([`tokens`]);
//! - no anchor pays more than the cap.
//!
//! In the calm at the end the rollup still moves, all that is valid becomes final, all that is due is paid, each void
//! deposit is taken back, and the state that is rebuilt from blocks is that of both ledgers.

mod federation;
mod signed;
mod tally;
mod tokens;
mod traders;
mod truth;
mod users;
mod weather;

use bitcoin::{Amount, BlockHash, OutPoint, Psbt, Transaction, TxOut, Txid};
use federation::SIGNERS;
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha20Rng;
use std::{collections::HashMap, thread};
use tally::Tally;
use taproof_bitcoin::{
    anchor::{Funding, pay},
    anchoring::{BumpOrder, Config, Job, Order},
    bridge::watch::BridgeWatch,
    node::EmbeddedNode,
    testing::rig::{Outlook, SeenNode, rate},
    testing::toy_rollup::{ToyRollup, elsewhere, program_with_steps},
};
use taproof_circuits::{ops, schnorr::SecretKey, step::Machines, transaction::Transaction as RollupTransaction};
use taproof_rollup::rebuild::rebuild;
use taproof_testkit::poster::Poster;
use taproof_verifier::{
    bridge::Federation,
    follow::{Founding, Params},
    headers::BlockId,
    program::Program,
};
use taproof_wallet::PosterKey;
use traders::{Offer, Waiting};
use truth::{Books, Sums, Truth};
use users::WAITING_MAX;

/// Deeper than any reorganisation here.
const FINAL_DEPTH_BLOCKS: u32 = 12;
const REORG_MAX_BLOCKS: u32 = 10;
const WINDOW_BLOCKS: u32 = 24;
const EXPIRY_BLOCKS: u32 = 72;
const REFUND_DELAY_BLOCKS: u16 = 100;
/// It pays for the transaction that takes it back.
const DEPOSIT_MIN_SAT: u64 = 500;
/// So many are mined in each storm, or more if that is asked for, those that a reorganisation took away included.
const BLOCKS: u64 = 1_000;
/// Asks for more, 5,000 at most: there are coins for no more.
const BLOCKS_VARIABLE: &str = "TAPROOF_STORM_BLOCKS";
const SEEDS: [u64; 2] = [1, 2];
/// Names one seed more.
const SEED_VARIABLE: &str = "TAPROOF_STORM_SEED";
/// The slots of circuits of payments; of those of steps some have four times as many.
const SLOTS: u16 = 4;
/// How many give orders before each of the batches that are made in a hurry.
const RUSHING: u32 = 8;
/// How many events pass between two that read the chain from its start.
const EVENTS_BETWEEN_READERS: u64 = 150;
/// How often the calm brings a link or a refund on its way that others keep out of blocks.
const ATTEMPTS_MAX: u32 = 8;
/// What each of the purse's coins is worth.
const COIN_SAT: u64 = 9_000_000;

/// A transaction that somebody made and that may be in a block, or not, or again.
struct Afloat {
    transaction: Transaction,
    since: u32,
}

struct Storm {
    rng: ChaCha20Rng,
    node: EmbeddedNode,
    /// What the first poster's node says.
    outlook: Outlook,
    params: Params,
    program: Program,
    owners: Vec<SecretKey>,
    refund_keys: Vec<PosterKey>,
    signer_keys: Vec<PosterKey>,
    purse_key: PosterKey,
    /// Coins from before the start, which no reorganisation takes away; each is spent for one purpose.
    purse: Vec<Funding>,
    posters: [Poster; 2],
    signers: Vec<BridgeWatch>,
    drafts: Vec<Vec<Psbt>>,
    /// The links that were signed for each place of the payout chain.
    links_for: HashMap<OutPoint, Vec<Txid>>,
    sea: Vec<Afloat>,
    offers: Vec<Offer>,
    /// What traders handed in last.
    handed_in: Vec<RollupTransaction>,
    truth: Truth,
    books: Books,
    /// The tip of the last audit, and what it found.
    audited: (BlockHash, Sums),
    /// No poster works below this height.
    asleep_until: u32,
    /// The second poster races below this height.
    racing_until: u32,
    blocks_max: u64,
    tally: Tally,
}

/// A chain on which everybody has coins, and the rollup's parameters.
fn setting() -> (ToyRollup, [PosterKey; 3], Vec<Funding>) {
    let mut toy = ToyRollup::new();
    let keys = [0, 1, 2].map(|index| toy.wallet.poster_key(index).expect("a small number"));
    let coin =
        |value_sat, key: &PosterKey| TxOut { value: Amount::from_sat(value_sat), script_pubkey: key.script_pubkey() };
    let rewards = toy.node.chain().spendable_coins(&keys[0].script_pubkey());
    let rewards = rewards.into_iter().map(|(outpoint, coin)| Funding { outpoint, output: coin.output });
    let rewards: Vec<Funding> = rewards.collect();
    let mut block = Vec::new();
    for reward in &rewards[..6] {
        let outputs = vec![coin(COIN_SAT, &keys[2]); 500];
        block.push(pay(outputs, rate("1"), std::slice::from_ref(reward), &keys[0]).expect("50 bitcoin"));
    }
    let outputs = vec![coin(100_000_000, &keys[1]); 20];
    block.push(pay(outputs, rate("1"), &rewards[6..7], &keys[0]).expect("50 bitcoin"));
    let outputs = vec![coin(100_000_000, &keys[0]); 20];
    block.push(pay(outputs, rate("1"), &rewards[7..8], &keys[0]).expect("50 bitcoin"));
    toy.node.chain_mut().mine(&block, &elsewhere()).expect("valid");
    let chain = toy.node.chain();
    let purse = chain.spendable_coins(&keys[2].script_pubkey());
    let purse = purse.into_iter().map(|(outpoint, coin)| Funding { outpoint, output: coin.output }).collect();
    let signers = toy.params.bridge().keys().to_vec();
    toy.program = program_with_steps(&[2, 3], SLOTS);
    let params = Params::new(Founding {
        federation: Federation::new(2, signers, REFUND_DELAY_BLOCKS, DEPOSIT_MIN_SAT).expect("three keys"),
        deposit_window_blocks: WINDOW_BLOCKS,
        deposit_expiry_blocks: EXPIRY_BLOCKS,
        start: BlockId { height: chain.height(), hash: chain.tip_hash() },
        final_depth_blocks: FINAL_DEPTH_BLOCKS,
        opening_min_sat: 500,
        program_id: toy.program.id(),
        ..toy.params.founding().clone()
    });
    toy.params = params.expect("consistent parameters");
    (toy, keys, purse)
}

impl Storm {
    fn new(seed: u64, blocks_max: u64) -> Self {
        let (toy, [first, second, purse_key], purse) = setting();
        let ToyRollup { node, params, program, wallet, .. } = toy;
        let node = EmbeddedNode::new(node.chain().clone(), elsewhere());
        let config = Config { fee_cap: rate("60"), safe_depth_blocks: 3, ..Config::new(FINAL_DEPTH_BLOCKS) };
        let poster = |key| Poster::new(key, config, &node, &params, &program);
        let posters = [poster(first), poster(second)];
        let watch = |_| BridgeWatch::start(&node, params.clone(), program.clone()).expect("the node's chain");
        let signers = (0..SIGNERS).map(watch).collect();
        let truth = Truth::start(&node, &params, &program);
        Self {
            rng: ChaCha20Rng::seed_from_u64(seed),
            outlook: Outlook::default(),
            owners: (0..6).map(|index| wallet.owner_key(0, index).expect("a small number")).collect(),
            refund_keys: (0..3).map(|index| wallet.refund_key(index).expect("a small number")).collect(),
            signer_keys: (0..3).map(|index| wallet.signer_key(index).expect("a small number")).collect(),
            purse_key,
            purse,
            posters,
            signers,
            drafts: Vec::new(),
            links_for: HashMap::new(),
            sea: Vec::new(),
            offers: Vec::new(),
            handed_in: Vec::new(),
            truth,
            books: Books::new(params.clone()),
            audited: (params.start.hash, Sums::default()),
            asleep_until: 0,
            racing_until: 0,
            blocks_max,
            tally: Tally::default(),
            node,
            params,
            program,
        }
    }

    fn coin(&mut self) -> Funding {
        self.purse.pop().expect("more coins than events")
    }

    fn height(&self) -> u32 {
        self.node.chain().height()
    }

    fn event(&mut self) {
        self.tally.events += 1;
        let tip = self.node.chain().tip_hash();
        // The second poster seldom hears of anything, unless it races.
        let of_second = if self.height() < self.racing_until { 0.5 } else { 0.1 };
        let poster = usize::from(self.rng.gen_bool(of_second));
        match self.rng.gen_range(-60..100) {
            ..0 => {
                if self.posters[poster].ledger.transactions().expect("readable").len() < WAITING_MAX {
                    self.trade(poster);
                }
            }
            0..10 => self.deposit(),
            10..24 => self.transact(poster),
            24..30 => self.demand(),
            30..33 => self.take_back(),
            33..39 => self.draft(),
            39..52 => self.sign(),
            52..58 => {
                let signer = self.rng.gen_range(0..SIGNERS);
                self.look(signer);
            }
            58..81 => self.mine(),
            81..87 => self.reorganise(),
            _ => self.fault(),
        }
        // Where the chain stands still there is little to see, and each look takes its time.
        if self.node.chain().tip_hash() != tip || self.rng.gen_bool(0.2) {
            self.work();
        }
        self.check();
    }

    /// What befalls the posters.
    fn fault(&mut self) {
        match self.rng.gen_range(0..16) {
            0 => self.posters[0].restart(),
            1 | 2 => self.posters[0].script.stop_at = Some(self.rng.gen_range(0..12)),
            3 => self.outlook.answers.set(self.rng.gen_range(0..60)),
            4 => self.outlook.estimate = Some(rate(["0.5", "1", "7", "25.125", "300"][self.rng.gen_range(0..5)])),
            5 => self.outlook.is_syncing = true,
            6 => {
                self.node = EmbeddedNode::new(self.node.chain().clone(), elsewhere());
                self.tally.pools_lost += 1;
            }
            7 => {
                let batch = self.truth.batches.len() as u64;
                let order = Order::Bump(BumpOrder { sat_per_kvb: self.rng.gen_bool(0.5).then_some(15_000) });
                self.posters[0].store().put_order(batch, order).expect("ours");
            }
            8 => self.steal(),
            9 | 10 => self.copy(),
            11 | 12 => self.rush(),
            13 | 14 => self.racing_until = self.height() + self.rng.gen_range(4..12),
            _ if self.height() > self.asleep_until + 100 => {
                self.asleep_until = self.height() + self.rng.gen_range(30..45);
                self.tally.poster_outages += 1;
            }
            _ => {}
        }
    }

    /// The posters look at the chain, make batches, and tick.
    fn work(&mut self) {
        let height = self.height();
        if height < self.asleep_until {
            return;
        }
        let is_racing = height < self.racing_until;
        let mut order = vec![0];
        if is_racing || self.rng.gen_bool(0.05) {
            order.push(1);
            order.shuffle(&mut self.rng);
        }
        for position in order {
            // Where two race, either may be slow.
            if is_racing && self.rng.gen_bool(0.5) {
                continue;
            }
            self.posters[position].follow(&self.node);
            if (position == 0 || is_racing) && self.rng.gen_bool(0.4) {
                let depths = [None, Some(1), Some(2), Some(3), Some(6)];
                let reference_depth = *depths.choose(&mut self.rng).expect("depths");
                self.make_batch(position, reference_depth);
            }
            let poster = &mut self.posters[position];
            let clear = Outlook::default();
            let outlook = if position == 0 { &self.outlook } else { &clear };
            poster.tick(&SeenNode { node: &self.node, outlook });
            if position == 0 {
                self.outlook.is_syncing = false;
                self.outlook.answers.set(u64::MAX);
            }
        }
    }

    fn make_batch(&mut self, poster: usize, reference_depth: Option<u32>) {
        let levels = if self.tally.blocks < self.blocks_max / 2 { 2 } else { 3 };
        if let Some(applied) = self.posters[poster].make_batch(reference_depth, levels) {
            self.tally.note_refusals(applied.rejected().map(|(_, reason)| reason));
        }
    }

    /// Traders hurry, the first poster makes two batches, each with sessions, and somebody anchors both in one block.
    fn rush(&mut self) {
        self.posters[0].follow(&self.node);
        for reference_depth in [2, 1] {
            for _ in 0..RUSHING {
                self.order_somewhere(0);
            }
            self.make_batch(0, Some(reference_depth));
        }
        self.copy();
    }

    /// Reads the chain, and checks all that must hold.
    fn check(&mut self) -> Sums {
        self.truth.sync(&self.node);
        if self.node.chain().tip_hash() != self.audited.0 {
            self.audited = (self.node.chain().tip_hash(), self.books.audit(self.node.chain(), &self.truth));
        }
        if self.tally.events.is_multiple_of(EVENTS_BETWEEN_READERS) {
            self.read_anew();
        }
        self.audited.1
    }

    fn read_anew(&mut self) {
        let mut reader = Truth::start(&self.node, &self.params, &self.program);
        reader.sync(&self.node);
        self.truth.expect_same(&reader);
        self.tally.readers += 1;
    }

    /// Blocks, one by one, in which nothing goes wrong any more.
    fn calm(&mut self, blocks: u32) -> Sums {
        let mut sums = self.check();
        for _ in 0..blocks {
            self.work();
            self.mine();
            self.tally.events += 1;
            sums = self.check();
        }
        sums
    }

    /// The calm at the end.
    fn settle(&mut self) {
        (self.outlook, self.asleep_until, self.racing_until) = (Outlook::default(), 0, 0);
        self.posters.iter_mut().for_each(Poster::restart);
        self.calm(40);
        // What cannot be served is refuted by the next batch, which a deposit brings about.
        self.deposit();
        self.calm(10);
        self.sea.clear();
        self.racing_until = u32::MAX;
        let mut sums = self.calm(40);
        assert_eq!(sums.waiting_sat, 0, "every deposit is credited or void: {}", self.outlook_of_jobs());
        assert_eq!(self.truth.follower.pending_exits().count(), 0, "every request is served or refuted");
        self.expect_motion();
        for _ in 0..ATTEMPTS_MAX {
            if self.pay_out() {
                sums = self.calm(12);
            }
        }
        assert_eq!(self.truth.scan.unpaid().len(), 0, "everything that is due is paid");
        // The delay of the last may have to pass.
        self.calm(u32::from(REFUND_DELAY_BLOCKS) - 40);
        for _ in 0..ATTEMPTS_MAX {
            self.take_back();
            sums = self.calm(4);
        }
        assert_eq!(sums.refunded, sums.void, "what nobody credited is its depositor's again");
        self.read_anew();
        self.expect_final();
        let tally = &mut self.tally;
        for batch in &self.truth.batches {
            let [served, refuted] = taproof_testkit::poster::settled(batch);
            (tally.served, tally.refuted) = (tally.served + served as u64, tally.refuted + refuted as u64);
        }
        (tally.cleared_twice, tally.too_late) = (self.truth.cleared_twice, self.truth.too_late);
        (tally.trades, tally.filled_anew) = (self.books.tokens.counts(), self.books.tokens.filled_anew());
        (tally.batches, tally.links) = (self.truth.batches.len() as u64, sums.links);
        (tally.void, tally.payouts) = (sums.void, sums.settled);
        (tally.deposited_sat, tally.paid_sat, tally.dust_sat) = (sums.deposited_sat, sums.paid_sat, sums.dust_sat);
        tally.troubles = self.posters.each_ref().map(|poster| poster.troubles);
    }

    /// The rollup still moves: a payment, an order and an exit get through.
    fn expect_motion(&mut self) {
        // One that meets a pool which has cleared at that height is given again.
        let is_filled = (0..ATTEMPTS_MAX).any(|_| {
            let Waiting { signer, nonce } = self.order_in_the_calm(0);
            self.calm(20);
            self.books.tokens.has_used(signer, false, nonce.into())
        });
        assert!(is_filled, "an order is filled");
        let paid = self.pay_in_the_calm(0);
        let demanded = self.demand_in_the_calm(paid.signer);
        self.calm(20);
        let nonce_after = |of| self.truth.rebuild.state().account(of).map(|account| account.nonce);
        assert_eq!(nonce_after(paid.signer), Some(paid.nonce + 1), "a payment is made");
        assert_eq!(nonce_after(demanded.signer), Some(demanded.nonce + 1), "an exit is served");
    }

    /// What the posters wait for.
    fn outlook_of_jobs(&self) -> String {
        let services = self.posters.iter().filter_map(Poster::service);
        let jobs = services.flat_map(|service| service.jobs()).filter(|job| !job.is_closed());
        let words = jobs.map(|job| {
            let reason = job.history().last().map(|last| last.reason.as_str()).unwrap_or_default();
            format!("batch {}: {} ({reason}), {:?}; ", job.batch(), job.state(), job.hold())
        });
        let tips = self.posters.iter().map(|poster| format!("{} batches made; ", poster.ledger.next_batch()));
        words.chain(tips).collect()
    }

    /// All batches of both ledgers are final, and the state that blocks alone give is theirs.
    fn expect_final(&mut self) {
        assert_eq!(self.books.finals(), self.truth.batches.len());
        let machines = Machines::new(vec![ops::standard()]);
        let (follower, state) =
            rebuild(&self.node, self.params.clone(), self.program.clone(), &machines, |_| ()).expect("posted whole");
        for poster in &self.posters {
            assert_eq!(poster.ledger.next_batch(), follower.tip().batches);
            assert_eq!(poster.ledger.state().root(), state.root());
            assert_eq!(poster.ledger.state().tree().snapshot(), state.tree().snapshot());
        }
        let jobs = self.posters[0].store().jobs().expect("whole");
        // A batch that was taken back for good leaves its job behind.
        for job in jobs.iter().filter(|job| job.batch() < follower.tip().batches) {
            assert!(job.is_closed(), "batch {}: {}, {:?}", job.batch(), job.state(), job.hold());
        }
        let is_bumped = |job: &&Job| job.generations().iter().any(|generation| generation.attempts().len() > 1);
        self.tally.bumped = jobs.iter().filter(is_bumped).count() as u64;
    }
}

fn number_in(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|number| number.parse().expect("a number"))
}

#[test]
fn value_is_conserved_and_everything_valid_becomes_final_in_a_storm() {
    let blocks_max = number_in(BLOCKS_VARIABLE).unwrap_or(BLOCKS).max(BLOCKS);
    let rage = |seed| {
        println!("seed {seed}");
        let mut storm = Storm::new(seed, blocks_max);
        while storm.tally.blocks < blocks_max {
            storm.event();
        }
        storm.settle();
        println!("seed {seed}: {:#?}", storm.tally);
        storm.tally
    };
    let tallies: Vec<Tally> = thread::scope(|scope| {
        let seeds = SEEDS.into_iter().chain(number_in(SEED_VARIABLE));
        let storms: Vec<_> = seeds.map(|seed| scope.spawn(move || rage(seed))).collect();
        storms.into_iter().map(|storm| storm.join().expect("its panic is printed")).collect()
    });
    tally::expect_storms(&tallies);
}
