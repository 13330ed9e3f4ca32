//! What a follower makes of the chain, and what must hold of that, counted anew from blocks and records.

use super::{EXPIRY_BLOCKS, FINAL_DEPTH_BLOCKS, WINDOW_BLOCKS, tokens::TokenBooks};
use bitcoin::{Block, BlockHash, OutPoint, ScriptBuf, Transaction, TxOut, Txid};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use taproof_bitcoin::{
    bridge::{
        link::{Binding, CHANGE_VOUT, FIRST_PAYOUT_VOUT},
        scan::BridgeScan,
    },
    follow,
    node::{ChainSource, EmbeddedNode},
    regtest::RegtestChain,
};
use taproof_circuits::{ops, state::State, step::Machines};
use taproof_rollup::rebuild::Rebuild;
use taproof_verifier::{
    bridge::OUTPUT_MIN_SAT,
    cell::{CellIndex, Token},
    deposit::Deposit,
    exit::{ExitRequest, Outcome, ScannedExit},
    follow::{Event, Follower, Params, Payout, RuleError, VerifiedBatch},
    headers::BlockId,
    payload::PayloadHash,
    program::Program,
    record::{DepositRecord, Destination, Records},
};

/// A follower with all that stands beside it: the bridge's scan, the rebuilt state, the batches and what has fallen
/// due.
pub(super) struct Truth {
    pub(super) follower: Follower,
    pub(super) scan: BridgeScan,
    pub(super) rebuild: Rebuild,
    /// The anchored batches, by number.
    pub(super) batches: Vec<VerifiedBatch>,
    /// The payouts that ever fell due.
    pub(super) due: Vec<Payout>,
    /// Batches that were ignored because a pool cleared a second time in a block, or because steps came too late.
    pub(super) cleared_twice: u64,
    pub(super) too_late: u64,
}

impl Truth {
    pub(super) fn start(node: &EmbeddedNode, params: &Params, program: &Program) -> Self {
        let follower = follow::start(node, params.clone(), program.clone()).expect("the node's chain");
        let machines = Machines::new(vec![ops::standard()]);
        let (scan, rebuild) = (BridgeScan::new(params.clone()), Rebuild::new(params).with_machines(machines));
        Self { follower, scan, rebuild, batches: Vec::new(), due: Vec::new(), cleared_twice: 0, too_late: 0 }
    }

    /// Reads the chain to its tip.
    pub(super) fn sync(&mut self, node: &EmbeddedNode) {
        let Self { follower, scan, rebuild, batches, .. } = &mut *self;
        let rewound = |event: &Event| {
            let Event::Rewound { to, tip } = event else { panic!("{event:?}") };
            scan.rewind(*to);
            rebuild.apply(event).expect("nothing final is undone");
            batches.truncate(tip.batches as usize);
        };
        follow::sync_headers(node, follower, rewound).expect("the node's headers");
        while let Some(next) = self.follower.next_block() {
            let block = node.block(&next.hash).expect("the header was read");
            let transactions = block.txdata.clone();
            let events = self.follower.connect(block).expect("the node has checked it");
            self.scan.connect(next, &transactions, &events);
            for event in events {
                if let Event::Verified(batch) = &event {
                    check_exits(batch, self.rebuild.state(), self.follower.pending_exits());
                }
                self.rebuild.apply(&event).expect("the records follow the native rules");
                match event {
                    Event::Verified(batch) => self.batches.push(*batch),
                    Event::Due(payout) => self.due.push(payout),
                    Event::Ignored { refusal: RuleError::ChangedTwice { .. }, .. } => self.cleared_twice += 1,
                    Event::Ignored { refusal: RuleError::StepsTooLate { .. }, .. } => self.too_late += 1,
                    _ => {}
                }
            }
            self.rebuild.settle(self.follower.headers().final_block().height);
        }
    }

    /// Somebody who reads the chain from its start finds the same.
    pub(super) fn expect_same(&self, other: &Self) {
        let followed = |truth: &Self| {
            let deposits: Vec<_> = truth.follower.pending_deposits().copied().collect();
            let exits: Vec<_> = truth.follower.pending_exits().collect();
            let payouts: Vec<_> = truth.follower.pending_payouts().copied().collect();
            (truth.follower.scanned(), *truth.follower.tip(), deposits, exits, payouts)
        };
        assert_eq!(followed(self), followed(other));
        assert_eq!(self.due, other.due);
        let bridge = |truth: &Self| {
            let coins: Vec<_> = truth.scan.coins().into_iter().cloned().collect();
            (coins, truth.scan.next_index(), truth.scan.due_count(), truth.scan.faults().to_vec(), truth.scan.head())
        };
        assert_eq!(bridge(self), bridge(other));
        let state = |truth: &Self| truth.rebuild.state().tree().snapshot();
        assert_eq!(state(self), state(other));
    }
}

/// What rule 8 demands, told by the state before the batch alone: the first request that an account can pay is served,
/// and of those behind it none is refuted that the account can pay after those before it.
fn check_exits(batch: &VerifiedBatch, before: &State, waiting: impl Iterator<Item = ScannedExit>) {
    let reference_height = batch.payload().header().reference_height;
    assert!(reference_height + WINDOW_BLOCKS >= batch.block().height, "the window");
    let settled = batch.settled_requests().iter().map(|settled| {
        let request = *settled.request.request.exit().expect("a program without locks");
        (settled.request.index, request, Some(settled.outcome))
    });
    let waiting = waiting.filter(|exit| exit.height <= reference_height);
    let waiting = waiting.map(|exit| (exit.index, exit.request, None));
    let mut requests: Vec<(u64, ExitRequest, Option<Outcome>)> = settled.chain(waiting).collect();
    requests.sort_unstable_by_key(|(index, ..)| *index);
    // The accounts that served a request: how many they served or come next, and what these take.
    let mut moved: BTreeMap<CellIndex, (u32, u128)> = BTreeMap::new();
    for (index, request, outcome) in requests {
        let (record, place) = (request.record(), moved.get(&request.from()).copied());
        let needed = u128::from(record.amount) + u128::from(record.fee);
        let (nonces, taken) = place.unwrap_or_default();
        let can_pay = before.account(record.from).is_some_and(|account| {
            (account.token, account.nonce + nonces, &account.owner)
                == (Token::BITCOIN, request.nonce(), request.owner())
                && u128::from(account.balance) >= taken + needed
        });
        let comes_next = match outcome {
            Some(Outcome::Served) => true,
            Some(_) => {
                assert!(!can_pay, "valid request {index} was refuted: {request:?}");
                false
            }
            None => {
                assert!(place.is_some() || !can_pay, "valid request {index} was left out: {request:?}");
                can_pay
            }
        };
        if comes_next {
            moved.insert(request.from(), (nonces + 1, taken + needed));
        }
    }
}

/// What of a block matters here.
#[derive(Default)]
struct Facts {
    deposits: Vec<(OutPoint, Deposit)>,
    links: Vec<Transaction>,
    spends: Vec<(OutPoint, Txid)>,
}

impl Facts {
    fn of(block: &Block, params: &Params) -> Self {
        let mut facts = Self::default();
        for transaction in &block.txdata[1..] {
            let txid = transaction.compute_txid();
            let deposits = Deposit::scan(transaction, params.bridge(), params.chain_id());
            facts.deposits.extend(deposits.into_iter().map(|(vout, deposit)| (OutPoint { txid, vout }, deposit)));
            facts.spends.extend(transaction.input.iter().map(|input| (input.previous_output, txid)));
            if Binding::parse(&transaction.output[0].script_pubkey, params.chain_id()).is_some() {
                facts.links.push(transaction.clone());
            }
        }
        facts
    }
}

/// What became of a deposit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Waiting,
    Credited,
    Void,
}

struct Entry {
    outpoint: OutPoint,
    deposit: Deposit,
    height: u32,
    fate: Fate,
    /// The batch that credited it.
    credit: Option<usize>,
}

/// Sums in satoshi, and counts, at one tip.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    pub(super) deposited_sat: u64,
    pub(super) waiting_sat: u64,
    pub(super) void_sat: u64,
    pub(super) credited_sat: u64,
    pub(super) balances_sat: u64,
    pub(super) withdrawn_sat: u64,
    /// Paid to those who withdrew.
    pub(super) paid_sat: u64,
    /// Settled without an output, for being dust.
    pub(super) dust_sat: u64,
    pub(super) top_up_sat: u64,
    pub(super) void: u64,
    pub(super) refunded: u64,
    pub(super) settled: u64,
    pub(super) links: u64,
}

/// The chain's own books. They are written by nobody but blocks, and compared with what followers say.
pub(super) struct Books {
    params: Params,
    facts: HashMap<BlockHash, Facts>,
    /// The payloads of final batches, which stay.
    finals: Vec<PayloadHash>,
    /// The deposits that no final batch has credited, so that no link may move them.
    untouchable: HashSet<OutPoint>,
    last: Option<(BlockId, Vec<PayloadHash>)>,
    pub(super) tokens: TokenBooks,
}

impl Books {
    pub(super) fn new(params: Params) -> Self {
        let (facts, finals, untouchable) = (HashMap::new(), Vec::new(), HashSet::new());
        Self { params, facts, finals, untouchable, last: None, tokens: TokenBooks::new() }
    }

    /// Signers signed this: it moves nothing whose credit can still be undone.
    pub(super) fn check_signed(&self, link: &Transaction) {
        for input in &link.input {
            let outpoint = input.previous_output;
            assert!(!self.untouchable.contains(&outpoint), "signers move {outpoint}, whose credit is not final");
        }
    }

    pub(super) fn finals(&self) -> usize {
        self.finals.len()
    }

    /// Checks all that holds at every moment.
    pub(super) fn audit(&mut self, chain: &RegtestChain, truth: &Truth) -> Sums {
        self.check_order(chain, truth);
        self.tokens.read(&truth.batches, truth.rebuild.state());
        let (params, finals) = (self.params.clone(), self.finals.len());
        let facts = self.read(chain);
        let mut entries = Vec::new();
        for (height, facts) in &facts {
            let entry = |(outpoint, deposit): &(OutPoint, Deposit)| Entry {
                outpoint: *outpoint,
                deposit: *deposit,
                height: *height,
                fate: Fate::Waiting,
                credit: None,
            };
            entries.extend(facts.deposits.iter().map(entry));
        }
        let payouts = settle_credits(&mut entries, &truth.batches);
        let is_final = |entry: &&Entry| entry.credit.is_some_and(|credit| credit < finals);
        let untouchable = entries.iter().filter(|entry| !is_final(entry)).map(|entry| entry.outpoint).collect();
        let state = truth.rebuild.state();
        assert_eq!(state.root(), truth.follower.tip().root, "the records lead to the verified root");
        let mut sums = Sums::default();
        for entry in &entries {
            let amount_sat = entry.deposit.amount_sat;
            sums.deposited_sat += amount_sat;
            match entry.fate {
                Fate::Waiting => sums.waiting_sat += amount_sat,
                Fate::Credited => sums.credited_sat += amount_sat,
                Fate::Void => sums.void_sat += amount_sat,
            }
        }
        sums.balances_sat = balances_sat(state);
        sums.withdrawn_sat = payouts.iter().map(|payout| payout.value.to_sat()).sum();
        let held_sat = check_links(&params, &facts, &entries, &payouts, truth, &mut sums);
        check_outputs(chain, &facts, &entries, &mut sums);
        // Value is conserved on the rollup, and at the bridge.
        assert_eq!(sums.credited_sat, sums.balances_sat + sums.withdrawn_sat, "{sums:?}");
        let unsettled_sat = sums.withdrawn_sat - sums.paid_sat - sums.dust_sat;
        let everything = sums.waiting_sat + sums.void_sat + sums.balances_sat + unsettled_sat;
        assert_eq!(sums.deposited_sat, everything + sums.paid_sat + sums.dust_sat, "{sums:?}");
        let owed_sat = sums.balances_sat + unsettled_sat + sums.dust_sat + sums.top_up_sat;
        assert_eq!(held_sat, owed_sat, "what the bridge holds is what it owes: {sums:?}");
        self.untouchable = untouchable;
        sums
    }

    /// The chain of batches only grows while the chain of blocks does, and what is final stays.
    fn check_order(&mut self, chain: &RegtestChain, truth: &Truth) {
        let tip = truth.follower.scanned();
        assert_eq!((tip.height, tip.hash), (chain.height(), chain.tip_hash()));
        let hashes: Vec<PayloadHash> = truth.batches.iter().map(VerifiedBatch::payload_hash).collect();
        assert_eq!(hashes.len() as u64, truth.follower.tip().batches);
        if let Some((last, before)) = &self.last
            && chain.height_of(&last.hash) == Some(last.height)
        {
            assert!(hashes.starts_with(before), "a chain that grew lost batches");
        }
        assert!(hashes.starts_with(&self.finals), "a final batch changed");
        let is_final = |batch: &&VerifiedBatch| batch.block().height + FINAL_DEPTH_BLOCKS <= tip.height + 1;
        let finals = truth.batches.iter().take_while(is_final).count();
        if finals > self.finals.len() {
            self.finals.clone_from(&hashes[..finals].to_vec());
        }
        let due: u64 = truth.batches[..self.finals.len()].iter().map(|batch| batch.payouts().count() as u64).sum();
        assert_eq!(truth.due.len() as u64, due, "a payout falls due once, with its batch");
        self.last = Some((tip, hashes));
    }

    /// What the blocks after the start hold, with their heights.
    fn read(&mut self, chain: &RegtestChain) -> Vec<(u32, &Facts)> {
        let params = &self.params;
        let heights = params.start.height + 1..=chain.height();
        let blocks: Vec<(u32, &Block)> =
            heights.map(|height| (height, chain.block_at(height).expect("below the tip"))).collect();
        let hashes: Vec<(u32, BlockHash)> =
            blocks.iter().map(|(height, block)| (*height, block.block_hash())).collect();
        for ((_, block), (_, hash)) in blocks.iter().zip(&hashes) {
            self.facts.entry(*hash).or_insert_with(|| Facts::of(block, params));
        }
        hashes.iter().map(|(height, hash)| (*height, &self.facts[hash])).collect()
    }
}

/// Links settle each payout once, in order, by the exact output; gives what the bridge holds.
fn check_links(
    params: &Params,
    facts: &[(u32, &Facts)],
    entries: &[Entry],
    payouts: &[TxOut],
    truth: &Truth,
    sums: &mut Sums,
) -> u64 {
    let mut coins: HashMap<OutPoint, u64> = entries
        .iter()
        .filter(|entry| entry.fate == Fate::Credited)
        .map(|entry| (entry.outpoint, entry.deposit.amount_sat))
        .collect();
    let mut head: Option<OutPoint> = None;
    let own_script = params.bridge().script_pubkey();
    for link in facts.iter().flat_map(|(_, facts)| &facts.links) {
        let binding = Binding::parse(&link.output[0].script_pubkey, params.chain_id()).expect("a link");
        assert_eq!(binding.first, sums.settled, "each payout is settled once, in order");
        let first_input = link.input[0].previous_output;
        assert!(head.is_none_or(|head| head == first_input), "links follow one another");
        let spent = link.input.iter().filter_map(|input| coins.remove(&input.previous_output));
        let spent_sat: u64 = spent.sum();
        sums.settled += u64::from(binding.count);
        assert!(sums.settled <= truth.due.len() as u64, "only what is due is paid");
        let settled = &payouts[binding.first as usize..sums.settled as usize];
        let (paid, dust): (Vec<_>, Vec<_>) =
            settled.iter().cloned().partition(|payout| payout.value.to_sat() >= least_sat(&payout.script_pubkey));
        assert_eq!(link.output[FIRST_PAYOUT_VOUT..][..paid.len()], paid, "the amount and script that are due");
        assert!(link.output.len() <= FIRST_PAYOUT_VOUT + paid.len() + 1);
        let value_sat = |outputs: &[TxOut]| outputs.iter().map(|output| output.value.to_sat()).sum::<u64>();
        let change = &link.output[CHANGE_VOUT as usize];
        assert_eq!(change.script_pubkey, own_script);
        sums.paid_sat += value_sat(&paid);
        sums.dust_sat += value_sat(&dust);
        let top_up_sat = (change.value.to_sat() + value_sat(&paid)).checked_sub(spent_sat).expect("no loss");
        assert!(top_up_sat < OUTPUT_MIN_SAT, "who pays the fee adds no more than dust");
        sums.top_up_sat += top_up_sat;
        let change_at = OutPoint { txid: link.compute_txid(), vout: CHANGE_VOUT };
        coins.insert(change_at, change.value.to_sat());
        head = Some(change_at);
        sums.links += 1;
    }
    assert_eq!(truth.scan.next_index(), sums.settled);
    assert!(truth.scan.faults().is_empty(), "{:?}", truth.scan.faults());
    coins.values().sum()
}

/// Each deposit is credited once, as it was made and in time, or void, or waits; gives all withdrawals in their order.
fn settle_credits(entries: &mut [Entry], batches: &[VerifiedBatch]) -> Vec<TxOut> {
    let mut payouts = Vec::new();
    let mut next = 0;
    for (number, batch) in batches.iter().enumerate() {
        let header = batch.payload().header();
        let records: Vec<&Records> = batch.payload().chunks().iter().map(|chunk| &chunk.records).collect();
        let mut credits: Vec<&DepositRecord> = Vec::new();
        for records in records {
            credits.extend(records.deposits());
            payouts.extend(records.withdrawals().iter().map(|record| TxOut {
                value: bitcoin::Amount::from_sat(record.amount),
                script_pubkey: script_of(&record.destination),
            }));
        }
        let end = header.deposits_consumed as usize;
        let (void, credited) = entries[next..end].split_at_mut(end - next - credits.len());
        for entry in void {
            assert!(entry.height + (EXPIRY_BLOCKS - WINDOW_BLOCKS) < header.reference_height, "void too early");
            entry.fate = Fate::Void;
        }
        for (entry, record) in credited.iter_mut().zip(credits) {
            assert_eq!((entry.deposit.amount_sat, entry.deposit.owner), (record.amount_sat, record.owner));
            assert!(entry.height <= header.reference_height);
            assert!(batch.block().height <= entry.height + EXPIRY_BLOCKS, "credited too late");
            (entry.fate, entry.credit) = (Fate::Credited, Some(number));
        }
        next = end;
    }
    payouts
}

/// What waits is there, what is credited was moved by links alone, and what is void by its depositor alone.
fn check_outputs(chain: &RegtestChain, facts: &[(u32, &Facts)], entries: &[Entry], sums: &mut Sums) {
    let spends: HashMap<OutPoint, Txid> = facts.iter().flat_map(|(_, facts)| facts.spends.iter().copied()).collect();
    let links: BTreeSet<Txid> =
        facts.iter().flat_map(|(_, facts)| &facts.links).map(Transaction::compute_txid).collect();
    for entry in entries {
        let spender = spends.get(&entry.outpoint);
        assert_eq!(chain.coin(&entry.outpoint).is_some(), spender.is_none());
        let by_link = spender.is_some_and(|spender| links.contains(spender));
        match entry.fate {
            // What nobody credited in time is its depositor's, though no batch has passed it over yet.
            Fate::Waiting if entry.height + EXPIRY_BLOCKS < chain.height() => {
                assert!(!by_link, "the federation took a deposit that waits");
            }
            Fate::Waiting => assert_eq!(spender, None, "a deposit that waits was taken"),
            Fate::Credited => assert_eq!(spender.is_some(), by_link, "a credited deposit was taken back"),
            Fate::Void => {
                assert!(!by_link, "the federation took a void deposit");
                sums.void += 1;
                sums.refunded += u64::from(spender.is_some());
            }
        }
    }
}

/// All the bitcoin that accounts and pools hold.
fn balances_sat(state: &State) -> u64 {
    let holdings = state.tree().cells().flat_map(|(_, cell)| cell.holdings());
    holdings.filter(|holding| holding.token == Token::BITCOIN).map(|holding| holding.balance).sum()
}

/// The script of a destination, from the words of the protocol.
fn script_of(destination: &Destination) -> ScriptBuf {
    let (before, program, after): (&[u8], &[u8], &[u8]) = match destination {
        Destination::P2wpkh(program) => (&[0x00, 20], program, &[]),
        Destination::P2wsh(program) => (&[0x00, 32], program, &[]),
        Destination::P2tr(program) => (&[0x51, 32], program, &[]),
        Destination::P2pkh(hash) => (&[0x76, 0xa9, 20], hash, &[0x88, 0xac]),
        Destination::P2sh(hash) => (&[0xa9, 20], hash, &[0x87]),
    };
    ScriptBuf::from_bytes([before, program, after].concat())
}

/// The least that is paid out to a script, from the words of the protocol.
fn least_sat(script: &ScriptBuf) -> u64 {
    match script.as_bytes()[0] {
        0x76 => 546,
        0xa9 => 540,
        _ => 330,
    }
}
