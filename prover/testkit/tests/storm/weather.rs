//! The chain and what befalls it: blocks, reorganisations, a thief of coins, and a stranger who copies.

use super::{REORG_MAX_BLOCKS, Storm};
use bitcoin::{Amount, OutPoint, Transaction, TxOut, Txid};
use rand::{Rng, seq::SliceRandom};
use std::collections::HashSet;
use taproof_bitcoin::{
    anchor::{AnchorRequest, Funding, build, pay},
    anchoring::Job,
    node::Node,
    regtest::RegtestChain,
    testing::rig::rate,
    testing::toy_rollup::{elsewhere, other_proofs},
};
use taproof_testkit::poster::Poster;
use taproof_verifier::payload::PayloadHash;

/// How long a transaction may be mined after it was made.
const AFLOAT_BLOCKS: u32 = 60;
/// The most transactions that a block takes from the sea.
const CHOSEN_MAX: usize = 10;

impl Storm {
    /// The next block holds what the posters' pool has, or some of what is afloat, or nothing.
    pub(super) fn mine(&mut self) {
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

    pub(super) fn mine_only(&mut self, transactions: &[Transaction]) {
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
    pub(super) fn reorganise(&mut self) {
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
        // Now and then one block has it all: batches that were in many, with the sessions of the same pools.
        let mut position = if self.rng.gen_bool(0.3) { branch.len() - 1 } else { 0 };
        for transaction in &chosen {
            position = self.rng.gen_range(position..branch.len().min(position + 3));
            branch[position].push(transaction.clone());
        }
        // A refund may be locked still where the branch has it.
        if self.node.chain_mut().reorganise(fork, &branch, &elsewhere()).is_err() {
            *self.node.chain_mut() = after;
        }
        let returned: HashSet<Txid> = chosen.iter().map(Transaction::compute_txid).collect();
        self.tally.displaced += lost.len() as u64;
        self.tally.fell_out += lost.iter().filter(|lost| !returned.contains(&lost.compute_txid())).count() as u64;
        if self.rng.gen_bool(0.7) {
            // What is valid still waits again, as nodes do it.
            lost.iter().for_each(|lost| drop(self.node.send(lost)));
        }
        self.tally.reorganisations += 1;
        self.tally.deepest = self.tally.deepest.max(depth.into());
        self.tally.blocks += u64::from(depth) + 1;
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
    pub(super) fn steal(&mut self) {
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

    /// A stranger posts copies of the first poster's next batches, with other proofs of the same, in one block.
    pub(super) fn copy(&mut self) {
        let tip = *self.truth.follower.tip();
        let mut previous = tip.payload_hash;
        let mut block = Vec::new();
        for batch in tip.batches..tip.batches + 2 {
            let Some(proven) = self.posters[0].proven.0.borrow().get(&batch).cloned() else { break };
            let header = *proven.payload().header();
            let Some(reference) = self.truth.follower.headers().at(header.reference_height) else { break };
            let copied = other_proofs(&proven).payload_on(previous, reference.hash).expect("as long as before");
            // Of the second nobody can tell before the first is there.
            let is_first = block.is_empty();
            if is_first && self.truth.follower.preview(&copied, self.purse_key.public()).is_err() {
                break;
            }
            previous = PayloadHash::of(&copied);
            let coin = self.coin();
            let request = AnchorRequest {
                payload: &copied,
                fee_rate: rate("2"),
                headroom: Amount::from_sat(1_000),
                funding: &[coin],
            };
            let anchor = build(&request, &self.purse_key).expect("a coin is worth more");
            block.extend([anchor.commit().clone(), anchor.reveal().clone()]);
            self.tally.copies += 1;
        }
        if !block.is_empty() {
            self.mine_only(&block);
        }
    }
}
