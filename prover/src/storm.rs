//! A storm over everything together: users who deposit, pay, withdraw, demand exits and take back what nobody credited; two
//! posters with ledgers and anchoring services; a federation that pays out; and a Bitcoin chain that is reorganised at any moment.
//!
//! After each event that moved the chain, this holds ([`truth`]):
//!
//! - one who reads the chain from its start finds what one finds who has followed it all along;
//! - batches are lost by reorganisations alone, and final ones never;
//! - each deposit is credited once, as it was made and in time, or void and its depositor's, or waits;
//! - no payout is paid twice, in another amount or to another script, and none that is not due;
//! - deposited = waiting + void + balances + withdrawn and unpaid + paid + dust, to the satoshi, and the bridge holds what it owes;
//! - a batch serves every request that the state before it can pay, and refutes none of those;
//! - no anchor pays more than the cap.
//!
//! In the calm at the end all that is valid becomes final, all that is due is paid, each void deposit is taken back, and the state
//! that is rebuilt from blocks is that of both ledgers.

mod federation;
pub(crate) mod poster;
mod truth;
mod users;

use crate::{
    anchor::{AnchorRequest, Funding, build, pay},
    anchoring::{
        BumpOrder, Config, Job, Order,
        tests::rig::{Outlook, SeenNode, rate},
    },
    batch::ProvenBatch,
    bridge::watch::BridgeWatch,
    node::{EmbeddedNode, Node},
    rebuild::rebuild,
    regtest::RegtestChain,
    toy_rollup::{ToyRollup, elsewhere},
    wallet::PosterKey,
};
use bitcoin::{Amount, OutPoint, Psbt, Transaction, TxOut, Txid};
use federation::SIGNERS;
use poster::{Poster, Troubles};
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha20Rng;
use std::collections::{HashMap, HashSet};
use taproof_circuits::schnorr::SecretKey;
use taproof_verifier::{
    bridge::Bridge, exit::ExitId, follow::Params, groth16::Proof, headers::BlockId, payload::Payload, program::Program,
};
use truth::{Books, Truth};

/// Deeper than any reorganisation here.
const FINAL_DEPTH_BLOCKS: u32 = 12;
const REORG_MAX_BLOCKS: u32 = 10;
const WINDOW_BLOCKS: u32 = 30;
const EXPIRY_BLOCKS: u32 = 50;
const REFUND_DELAY_BLOCKS: u16 = 100;
/// So many are mined in each storm, those that a reorganisation took away included.
const BLOCKS: u32 = 1_000;
const SEEDS: [u64; 2] = [1, 2];
/// Names one seed more.
const SEED_VARIABLE: &str = "TAPROOF_STORM_SEED";
/// How many events pass between two that read the chain from its start.
const EVENTS_BETWEEN_READERS: u32 = 150;
/// How long a transaction may be mined after it was made.
const AFLOAT_BLOCKS: u32 = 60;
/// The most transactions that a block takes from the sea.
const CHOSEN_MAX: usize = 10;
/// How often the calm brings a link or a refund on its way that others keep out of blocks.
const ATTEMPTS_MAX: u32 = 8;
/// What each of the purse's coins is worth.
const COIN_SAT: u64 = 9_000_000;

/// A transaction that somebody made and that may be in a block, or not, or again.
struct Afloat {
    transaction: Transaction,
    since: u32,
}

/// What happened.
#[derive(Debug, Default)]
struct Tally {
    events: u32,
    blocks: u32,
    reorganisations: u32,
    deepest: u32,
    /// Transactions that a reorganisation took out of the chain, and those that the new branch did not have.
    displaced: usize,
    fell_out: usize,
    copies: u32,
    thefts: u32,
    outages_of_posters: u32,
    pools_lost: u32,
    bumped: usize,
    rival_links: usize,
    refused_by_signers: u32,
    readers: u32,
    batches: usize,
    served: usize,
    refuted: usize,
    void: usize,
    links: usize,
    payouts: u64,
    dust_sat: u64,
    deposited_sat: u64,
    paid_sat: u64,
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
    /// Exit requests that were answered for good and demanded once more.
    asked_again: HashSet<ExitId>,
    sea: Vec<Afloat>,
    truth: Truth,
    books: Books,
    /// No poster works below this height.
    asleep_until: u32,
    /// The second poster races below this height.
    racing_until: u32,
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
    let signers = toy.params.bridge.keys().to_vec();
    toy.params = Params {
        bridge: Bridge::new(2, signers, REFUND_DELAY_BLOCKS).expect("three keys"),
        deposit_window_blocks: WINDOW_BLOCKS,
        deposit_expiry_blocks: EXPIRY_BLOCKS,
        start: BlockId { height: chain.height(), hash: chain.tip_hash() },
        final_depth_blocks: FINAL_DEPTH_BLOCKS,
        ..toy.params
    };
    (toy, keys, purse)
}

impl Storm {
    fn new(seed: u64) -> Self {
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
            asked_again: HashSet::new(),
            sea: Vec::new(),
            truth,
            books: Books::new(params.clone()),
            asleep_until: 0,
            racing_until: 0,
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
        match self.rng.gen_range(0..100) {
            0..10 => self.deposit(),
            10..24 => {
                let poster = usize::from(self.rng.gen_bool(0.1));
                self.transact(poster);
            }
            24..30 => self.demand(),
            30..33 => self.take_back(),
            33..39 => self.draft(),
            39..51 => self.sign(),
            51..55 => {
                let signer = self.rng.gen_range(0..SIGNERS);
                self.look(signer);
            }
            55..80 => self.mine(),
            80..86 => self.reorganise(),
            _ => self.fault(),
        }
        self.work();
        self.check();
    }

    /// What befalls the posters.
    fn fault(&mut self) {
        match self.rng.gen_range(0..14) {
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
            11 | 12 => self.racing_until = self.height() + self.rng.gen_range(4..12),
            _ if self.height() > self.asleep_until + 100 => {
                self.asleep_until = self.height() + self.rng.gen_range(25..40);
                self.tally.outages_of_posters += 1;
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
            let poster = &mut self.posters[position];
            poster.follow(&self.node);
            if (position == 0 || is_racing) && self.rng.gen_bool(0.4) {
                let reference_depth = *[1, 2, 3, 6].choose(&mut self.rng).expect("depths");
                let levels = if self.tally.blocks < BLOCKS / 2 { 2 } else { 3 };
                poster.make_batch(reference_depth, levels);
            }
            let clear = Outlook::default();
            let outlook = if position == 0 { &self.outlook } else { &clear };
            poster.tick(&SeenNode { node: &self.node, outlook });
            if position == 0 {
                self.outlook.is_syncing = false;
                self.outlook.answers.set(u64::MAX);
            }
        }
    }

    /// The next block holds what the posters' pool has, or some of what is afloat, or nothing.
    fn mine(&mut self) {
        let kind = self.rng.gen_range(0..10);
        if kind < 6 {
            let afloat = self.sea.iter().map(|afloat| afloat.transaction.clone()).collect();
            let chosen = self.choose(self.node.chain().clone(), afloat);
            self.mine_only(&chosen);
        }
        match kind {
            3..9 => {
                self.node.mine(1).expect("what waits is valid");
                self.tally.blocks += 1;
            }
            9 => self.mine_only(&[]),
            _ => {}
        }
        let height = self.height();
        self.sea.retain(|afloat| afloat.since + AFLOAT_BLOCKS > height);
    }

    fn mine_only(&mut self, transactions: &[Transaction]) {
        self.node.chain_mut().mine(transactions, &elsewhere()).expect("chosen to be valid");
        self.tally.blocks += 1;
    }

    /// Those of the candidates that the next blocks of a chain can hold, in an order of chance.
    fn choose(&mut self, chain: RegtestChain, mut candidates: Vec<Transaction>) -> Vec<Transaction> {
        candidates.shuffle(&mut self.rng);
        let mut chosen: Vec<Transaction> = Vec::new();
        let (mut made, mut spent) = (HashSet::new(), HashSet::new());
        // Twice, so that what spends from another finds its place after it.
        for candidate in candidates.iter().chain(&candidates) {
            let txid = candidate.compute_txid();
            let inputs = || candidate.input.iter().map(|input| input.previous_output);
            let is_there = |outpoint: &OutPoint| chain.coin(outpoint).is_some() || made.contains(outpoint);
            let fits = inputs().all(|outpoint| is_there(&outpoint) && !spent.contains(&outpoint));
            if chosen.len() >= CHOSEN_MAX || !fits || self.rng.gen_bool(0.25) {
                continue;
            }
            chosen.push(candidate.clone());
            if chain.check_transactions(&chosen).is_err() {
                chosen.pop();
                continue;
            }
            spent.extend(inputs());
            made.extend((0u32..).zip(&candidate.output).map(|(vout, _)| OutPoint { txid, vout }));
        }
        chosen
    }

    /// Another branch wins. What the lost blocks held is in it, later, or falls out, or is displaced by something else.
    fn reorganise(&mut self) {
        let chain = self.node.chain();
        let depth = self.rng.gen_range(1..=REORG_MAX_BLOCKS).min(chain.height() - self.params.start.height);
        if depth == 0 {
            return;
        }
        let fork = chain.height() - depth;
        let lost =
            (fork + 1..=chain.height()).flat_map(|height| &chain.block_at(height).expect("below the tip").txdata[1..]);
        let lost: Vec<Transaction> = lost.cloned().collect();
        let mut branch = vec![Vec::new(); depth as usize + 1];
        let mut after = chain.clone();
        after.reorganise(fork, &branch, &elsewhere()).expect("a longer branch");
        let returning = [0.0, 0.5, 1.0][self.rng.gen_range(0..3)];
        let mut candidates: Vec<Transaction> = lost.iter().filter(|_| self.rng.gen_bool(returning)).cloned().collect();
        if self.rng.gen_bool(0.5) {
            candidates.extend(self.sea.iter().map(|afloat| afloat.transaction.clone()));
            candidates.extend(self.anchors());
        }
        let chosen = self.choose(after.clone(), candidates);
        let mut position = 0;
        for transaction in &chosen {
            position = self.rng.gen_range(position..branch.len().min(position + 3));
            branch[position].push(transaction.clone());
        }
        // A refund may be locked still where the branch has it.
        if self.node.chain_mut().reorganise(fork, &branch, &elsewhere()).is_err() {
            *self.node.chain_mut() = after;
        }
        let returned: HashSet<Txid> = chosen.iter().map(Transaction::compute_txid).collect();
        self.tally.displaced += lost.len();
        self.tally.fell_out += lost.iter().filter(|lost| !returned.contains(&lost.compute_txid())).count();
        if self.rng.gen_bool(0.7) {
            // What is valid still waits again, as nodes do it.
            lost.iter().for_each(|lost| drop(self.node.send(lost)));
        }
        self.tally.reorganisations += 1;
        self.tally.deepest = self.tally.deepest.max(depth);
        self.tally.blocks += depth + 1;
    }

    /// Commits and reveals of the posters, replaced ones and those of batches that were taken back included.
    fn anchors(&self) -> Vec<Transaction> {
        let services = self.posters.iter().filter_map(Poster::service);
        let jobs = services.flat_map(|service| service.jobs()).filter(|job| !job.is_closed());
        let generations = jobs.flat_map(Job::generations);
        let transactions = generations.flat_map(|generation| {
            let reveals = generation.attempts().iter().map(|attempt| attempt.transaction().clone());
            std::iter::once(generation.commit().clone()).chain(reveals)
        });
        transactions.collect()
    }

    /// Somebody else with the first poster's key spends a coin, in a block.
    fn steal(&mut self) {
        let key = self.posters[0].key.clone();
        let coins = self.node.chain().spendable_coins(&key.script_pubkey());
        let Some((outpoint, coin)) = coins.choose(&mut self.rng).cloned() else { return };
        let coin = Funding { outpoint, output: coin.output };
        let value = Amount::from_sat(coin.output.value.to_sat() / 2);
        if value < Amount::from_sat(10_000) {
            return;
        }
        let output = TxOut { value, script_pubkey: key.script_pubkey() };
        let theft = pay(vec![output], rate("2"), &[coin], &key).expect("half is left");
        self.mine_only(&[theft]);
        self.tally.thefts += 1;
    }

    /// A stranger posts a copy of the first poster's next batch, with other proofs of the same.
    fn copy(&mut self) {
        let (tip, headers) = (self.truth.follower.tip(), self.truth.follower.headers());
        let Some(proven) = self.posters[0].proven.0.borrow().get(&tip.batches).cloned() else { return };
        let Some(reference) = headers.at(proven.payload().header().reference_height) else { return };
        let copied = other_proofs(&proven).payload_on(tip.payload_hash, reference.hash).expect("as long as before");
        if self.truth.follower.preview(&copied).is_err() {
            return;
        }
        let coin = self.coin();
        let request = AnchorRequest {
            payload: &copied,
            magic: self.params.magic,
            fee_rate: rate("2"),
            headroom: Amount::from_sat(1_000),
            funding: &[coin],
        };
        let anchor = build(&request, &self.purse_key).expect("a coin is worth more");
        self.mine_only(&[anchor.commit().clone(), anchor.reveal().clone()]);
        self.tally.copies += 1;
    }

    /// Reads the chain, and checks all that must hold.
    fn check(&mut self) -> truth::Sums {
        self.truth.sync(&self.node);
        let sums = self.books.audit(self.node.chain(), &self.truth);
        if self.tally.events.is_multiple_of(EVENTS_BETWEEN_READERS) {
            self.read_anew();
        }
        sums
    }

    fn read_anew(&mut self) {
        let mut reader = Truth::start(&self.node, &self.params, &self.program);
        reader.sync(&self.node);
        self.truth.expect_same(&reader);
        self.tally.readers += 1;
    }

    /// Blocks, one by one, in which nothing goes wrong any more.
    fn calm(&mut self, blocks: u32) -> truth::Sums {
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
        self.calm(60);
        // What cannot be served is refuted by the next batch, which a deposit brings about.
        self.deposit();
        self.calm(10);
        self.sea.clear();
        self.racing_until = u32::MAX;
        let mut sums = self.calm(60);
        assert_eq!(sums.waiting_sat, 0, "every deposit is credited or void: {}", self.outlook_of_jobs());
        assert_eq!(self.truth.follower.pending_exits().count(), 0, "every request is served or refuted");
        for _ in 0..ATTEMPTS_MAX {
            if self.pay_out() {
                sums = self.calm(12);
            }
        }
        assert_eq!(sums.settled, self.truth.due.len() as u64, "everything that is due is paid");
        // The delay of the last may have to pass.
        self.calm(u32::from(REFUND_DELAY_BLOCKS) - 60);
        for _ in 0..ATTEMPTS_MAX {
            self.take_back();
            sums = self.calm(4);
        }
        assert_eq!(sums.refunded, sums.void, "what nobody credited is its depositor's again");
        self.read_anew();
        self.expect_final();
        let tally = &mut self.tally;
        for batch in &self.truth.batches {
            let [served, refuted] = poster::settled(batch);
            (tally.served, tally.refuted) = (tally.served + served, tally.refuted + refuted);
        }
        (tally.batches, tally.void, tally.links, tally.payouts) =
            (self.truth.batches.len(), sums.void, sums.links, sums.settled);
        (tally.deposited_sat, tally.paid_sat, tally.dust_sat) = (sums.deposited_sat, sums.paid_sat, sums.dust_sat);
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
        let (follower, state) =
            rebuild(&self.node, self.params.clone(), self.program.clone(), |_| ()).expect("posted whole");
        for poster in &self.posters {
            assert_eq!(poster.ledger.next_batch(), follower.tip().batches);
            assert_eq!(poster.ledger.state().root(), state.root());
            assert_eq!(poster.ledger.state().tree().snapshot(), state.tree().snapshot());
        }
        let jobs = self.posters[0].store().jobs().expect("whole");
        for job in &jobs {
            assert!(job.is_closed(), "batch {}: {}, {:?}", job.batch(), job.state(), job.hold());
        }
        let is_bumped = |job: &&Job| job.generations().iter().any(|generation| generation.attempts().len() > 1);
        self.tally.bumped = jobs.iter().filter(is_bumped).count();
    }
}

/// The same statements with other proofs: -A and -B prove what A and B prove.
fn other_proofs(proven: &ProvenBatch) -> ProvenBatch {
    let payload = proven.payload();
    let mut chunks = payload.chunks().to_vec();
    for chunk in &mut chunks {
        let proof = &chunk.proof;
        chunk.proof = Proof::new(-*proof.a(), -*proof.b(), *proof.c()).expect("points of the groups");
    }
    let payload = Payload::with_refutations(*payload.header(), chunks, payload.refutations().to_vec());
    ProvenBatch::new(payload.expect("as long as before")).expect("short")
}

fn seeds() -> Vec<u64> {
    let chosen = std::env::var(SEED_VARIABLE).ok().map(|seed| seed.parse().expect("a seed is a number"));
    SEEDS.into_iter().chain(chosen).collect()
}

#[test]
fn value_is_conserved_and_everything_valid_becomes_final_in_a_storm() {
    for seed in seeds() {
        println!("seed {seed}");
        let mut storm = Storm::new(seed);
        while storm.tally.blocks < BLOCKS {
            storm.event();
        }
        storm.settle();
        let (tally, troubles) = (&storm.tally, storm.posters.each_ref().map(|poster| poster.troubles));
        println!("seed {seed}: {tally:#?}\n{troubles:#?}");
        let sum = |count: fn(&Troubles) -> u32| troubles.iter().map(count).sum::<u32>();
        // The storm was worth the name.
        assert_eq!(tally.deepest, REORG_MAX_BLOCKS);
        let counts = [
            ("reorganisations", tally.reorganisations >= 20),
            ("transactions that fell out", tally.fell_out > 0 && tally.fell_out < tally.displaced),
            ("stale batches", sum(|troubles| troubles.stale) > 0),
            ("batches of another poster", sum(|troubles| troubles.foreign) > 0),
            ("batches that were taken over", sum(|troubles| troubles.taken_over) > 0),
            ("copies of batches", tally.copies > 0),
            ("stolen coins", tally.thefts > 0),
            ("crashes", sum(|troubles| troubles.crashes) > 0),
            ("nodes that are down", sum(|troubles| troubles.node_outages) > 0),
            ("posters that are down", tally.outages_of_posters > 0),
            ("lost pools", tally.pools_lost > 0),
            ("bumps", tally.bumped > 0),
            ("rival links", tally.rival_links > 0),
            ("links refused by signers", tally.refused_by_signers > 0),
            ("exits served", tally.served > 0),
            ("exits refuted", tally.refuted > 0),
            ("void deposits", tally.void > 0),
            ("dust", tally.dust_sat > 0),
            ("payouts", tally.payouts >= 50),
            ("batches", tally.batches >= 60),
        ];
        for (what, happened) in counts {
            assert!(happened, "seed {seed} brings no {what}");
        }
    }
}
