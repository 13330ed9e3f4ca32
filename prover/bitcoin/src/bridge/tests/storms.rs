//! Random deposits, withdrawals, coordinators, signers and reorganisations over the bridge alone: nothing is paid
//! twice, and in the end all is paid. The storm of `prover/testkit` does it with batches, posters and users.
//!
//! Every party has a view of its own, as old as it happens to be. Whatever was ever signed may be mined at any later
//! time.

use super::rig::{EXPIRY_BLOCKS, FINAL_DEPTH_BLOCKS, REFUND_DELAY_BLOCKS, View, World, rate};
use crate::{
    bridge::{
        deposit::{check_uncredited, refund},
        link::{Binding, FIRST_PAYOUT_VOUT, payout_output},
        plan::{plan, sign_fee_inputs},
        scan::Origin,
        sign::combine,
    },
    node::Unspent,
    regtest::RegtestChain,
};
use bitcoin::{Psbt, Script, Transaction, TxOut};
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

const SEEDS: u64 = 8;
const STEPS: usize = 150;
const SIGNERS: usize = 3;

struct Storm {
    world: World,
    rng: ChaCha8Rng,
    /// The signers', and one that follows every step.
    views: Vec<View>,
    truth: View,
    /// Links with the signatures that they have got so far.
    drafts: Vec<Vec<Psbt>>,
    links: Vec<Transaction>,
    others: Vec<Transaction>,
    most_links_for_a_place: usize,
    payouts_at_sea: usize,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let world = World::new();
        let truth = world.view();
        Self {
            views: vec![truth.clone(); SIGNERS],
            truth,
            rng: ChaCha8Rng::seed_from_u64(seed),
            drafts: Vec::new(),
            links: Vec::new(),
            others: Vec::new(),
            most_links_for_a_place: 0,
            payouts_at_sea: 0,
            world,
        }
    }

    fn step(&mut self) {
        match self.rng.gen_range(0..100) {
            0..12 => self.deposit(),
            12..27 => self.note(),
            27..32 => self.take_back(),
            32..45 => self.draft(),
            45..65 => self.sign(),
            65..75 => self.look(),
            75..92 => self.mine(),
            _ => self.reorganise(),
        }
        self.truth.sync(&self.world.chain);
        self.check();
    }

    fn deposit(&mut self) {
        let amount = self.rng.gen_range(330..20_000);
        let refund = self.rng.gen_range(0..3);
        let deposit = self.world.deposit(amount, refund);
        self.others.push(deposit);
    }

    /// Comes to some of the deposits, and withdraws some of what there is, dust included.
    fn note(&mut self) {
        let waiting = self.truth.waiting();
        let after = self.rng.gen_range(waiting.start..=waiting.end);
        let mut left = self.truth.balance_sat();
        let mut withdrawals = Vec::new();
        for _ in 0..self.rng.gen_range(0..3) {
            let amount = self.rng.gen_range(0..=left / 2);
            left -= amount;
            withdrawals.push((amount, self.rng.r#gen()));
        }
        let note = self.world.note(waiting.start, after, &withdrawals);
        self.others.push(note);
    }

    /// A depositor takes back what was not credited.
    fn take_back(&mut self) {
        let chain = &self.world.chain;
        let deposits = self.truth.scan.coins().into_iter().filter_map(|coin| match coin.origin {
            Origin::Deposit { refund, .. } => Some((coin.outpoint, coin.height, coin.output.clone(), refund)),
            Origin::Own => None,
        });
        for (outpoint, height, output, key) in deposits {
            let unspent = Unspent { output, confirmations: chain.height() + 1 - height, is_coinbase: false };
            let key = (0..3).map(|index| self.world.refund_key(index)).find(|refund| refund.public() == key).unwrap();
            let to = self.world.poster.script_pubkey();
            if check_uncredited(&self.truth.scan, &outpoint).is_err() {
                continue;
            }
            if let Ok(refund) = refund(&self.world.params, outpoint, &unspent, &key, to, rate("1")) {
                self.others.push(refund);
                return;
            }
        }
    }

    /// Some signer coordinates, by its own view.
    fn draft(&mut self) {
        let view = self.rng.gen_range(0..SIGNERS);
        let coin = self.world.coin();
        let funding = [coin];
        let mut request = self.world.request(&self.views[view], &funding);
        request.payouts_max = self.rng.gen_range(1..5);
        request.deposits_max = self.rng.gen_range(0..4);
        request.exposed = self.rng.gen_bool(0.2);
        let Ok(mut planned) = plan(&request) else { return };
        sign_fee_inputs(&mut planned.psbt, &self.world.poster);
        self.drafts.push(vec![planned.psbt]);
    }

    /// A signer signs any draft that it can by its own view.
    fn sign(&mut self) {
        let Some(draft) = self.drafts.choose_mut(&mut self.rng) else { return };
        let signer = self.rng.gen_range(0..SIGNERS);
        let Ok(checked) = self.world.check(&draft[0], &self.views[signer]) else { return };
        draft.push(checked.sign(&self.world.signer(signer as u32), self.world.params.bridge()).unwrap());
        let Ok((link, _)) = combine(draft.clone(), self.world.params.bridge()) else { return };
        if !self.links.iter().any(|known| known.compute_txid() == link.compute_txid()) {
            self.links.push(link);
        }
    }

    /// A signer looks at the chain, perhaps not up to its tip.
    fn look(&mut self) {
        let signer = self.rng.gen_range(0..SIGNERS);
        let lag = if self.rng.gen_bool(0.3) { self.rng.gen_range(0..3) } else { 0 };
        let height = (self.world.chain.height() - lag).max(self.views[signer].scan.scanned().height);
        self.views[signer].sync_to(&self.world.chain, height.min(self.world.chain.height()));
    }

    /// Transactions that the next block of a chain may hold, chosen and ordered at random.
    fn choose(&mut self, chain: &RegtestChain) -> Vec<Transaction> {
        let mut candidates: Vec<Transaction> = self.links.iter().chain(&self.others).cloned().collect();
        candidates.shuffle(&mut self.rng);
        let mut chosen = Vec::new();
        for candidate in candidates {
            if self.rng.gen_bool(0.4) {
                continue;
            }
            chosen.push(candidate);
            if chain.check_transactions(&chosen).is_err() {
                chosen.pop();
            }
        }
        chosen
    }

    fn mine(&mut self) {
        let chain = self.world.chain.clone();
        let chosen = self.choose(&chain);
        self.world.mine(&chosen);
    }

    fn reorganise(&mut self) {
        let depth = self.rng.gen_range(1..FINAL_DEPTH_BLOCKS);
        let fork = (self.world.chain.height() - depth).max(self.world.params.start.height);
        let replaced = self.world.chain.height() - fork;
        let mut branch = vec![Vec::new(); replaced as usize + 1];
        let mut after = self.world.chain.clone();
        after.reorganise(fork, &branch, Script::new()).unwrap();
        branch[0] = self.choose(&after);
        // A refund may be locked still in the first block of the branch.
        if self.world.chain.reorganise(fork, &branch, Script::new()).is_err() {
            self.world.chain = after;
        }
    }

    /// Reads the chain anew, without the scan, and counts what is paid.
    fn check(&mut self) {
        let binding = |transaction: &Transaction| {
            let output = &transaction.output[0];
            Some((transaction.clone(), Binding::parse(&output.script_pubkey, self.world.params.chain_id())?))
        };
        let blocks = self.world.chain.blocks();
        let links: Vec<(Transaction, Binding)> = blocks.flat_map(|block| &block.txdata).filter_map(binding).collect();
        let mut next = 0;
        for (link, binding) in &links {
            assert_eq!(binding.first, next, "each index is settled once, in order");
            next += u64::from(binding.count);
            let range = binding.first as usize..next as usize;
            let Some(payouts) = self.truth.due.get(range) else {
                self.payouts_at_sea += 1;
                continue;
            };
            let expected: Vec<TxOut> = payouts.iter().filter_map(payout_output).collect();
            assert_eq!(link.output[FIRST_PAYOUT_VOUT..][..expected.len()], expected);
        }
        assert_eq!(self.truth.scan.next_index(), next);
        assert!(self.truth.scan.faults().is_empty(), "{:?}", self.truth.scan.faults());
        let owed: u64 = self.truth.scan.unpaid().map(|payout| payout.amount_sat).sum();
        let spendable = self.truth.scan.coins().into_iter().filter(|coin| self.truth.scan.is_spendable(coin));
        let held: u64 = spendable.map(|coin| coin.output.value.to_sat()).sum();
        assert!(held >= owed, "the bridge holds {held} sat and owes {owed} sat");
        for (link, _) in &links {
            let place = link.input[0].previous_output;
            let rivals = self.links.iter().filter(|rival| rival.input[0].previous_output == place).count();
            self.most_links_for_a_place = self.most_links_for_a_place.max(rivals);
        }
    }

    /// Calm: everyone sees the same chain, and what is due is paid.
    fn settle(&mut self) {
        self.world.mine_empty(FINAL_DEPTH_BLOCKS);
        loop {
            self.truth.sync(&self.world.chain);
            self.check();
            if self.truth.scan.unpaid().next().is_none() {
                return;
            }
            let planned = self.world.plan(&self.truth).unwrap();
            let link = self.world.sign(&planned.psbt, &self.truth);
            self.world.mine(std::slice::from_ref(&link));
            self.links.push(link);
        }
    }
}

#[test]
fn no_payout_is_made_twice_and_none_is_lost() {
    assert!(EXPIRY_BLOCKS < u32::from(REFUND_DELAY_BLOCKS));
    let (mut paid, mut rivals, mut at_sea) = (0, 0, 0);
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let mut storm = Storm::new(seed);
        for _ in 0..STEPS {
            if storm.world.coins_left() < 20 {
                break;
            }
            storm.step();
        }
        storm.settle();
        paid += storm.truth.scan.next_index();
        rivals = rivals.max(storm.most_links_for_a_place);
        at_sea += storm.payouts_at_sea;
        assert_eq!(storm.truth.scan.unpaid().len(), 0);
    }
    // The storms are worth the name: links compete, and some are mined before what they pay is final again.
    println!(
        "{paid} payouts, up to {rivals} links for a place, {at_sea} links looked at before their payouts were final \
         again"
    );
    assert!(paid >= 100 && rivals >= 2);
}
