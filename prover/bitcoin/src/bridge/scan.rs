//! What the chain says of the bridge: its coins, which of them are credited, the payout chain and its head, and what is
//! paid.
//!
//! The scan runs beside a [`Follower`](taproof_verifier::follow::Follower): the same blocks, and what the follower
//! makes of them. It does no input or output, and each thing it keeps carries its height, so a reorganisation is undone
//! by dropping what lies above the fork. What is final and of no further use is forgotten.
//!
//! A link is recognised by the federation's own signatures: its input 0 spends the head of the chain through the
//! federation's leaf. Nobody else can make a transaction that counts, whatever its outputs look like. What the
//! federation signs beside the chain is a [`BridgeFault`], and a chain with a fault is continued by nobody: people must
//! look at it.

use super::{
    link::{BINDING_VOUT, Binding, CHANGE_VOUT, FIRST_PAYOUT_VOUT, payout_output},
    spends_by,
};
use crate::regtest::COINBASE_MATURITY_BLOCKS;
use bitcoin::{OutPoint, ScriptBuf, Transaction, TxOut, Txid, XOnlyPublicKey};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap, VecDeque, vec_deque},
    ops::Range,
};
use taproof_verifier::{
    deposit::Deposit,
    follow::{Event, Params, Payout, VerifiedBatch},
    headers::BlockId,
};

mod due;
mod fault;
mod snapshot;

use due::Due;

pub use fault::{BridgeFault, BridgeFaultKind, HeadError};
pub use snapshot::Snapshot;

/// An output that the federation can spend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeCoin {
    /// Where it is.
    pub outpoint: OutPoint,
    /// Its value and script.
    pub output: TxOut,
    /// The height of its block.
    pub height: u32,
    /// How it came to the bridge.
    pub origin: Origin,
    /// Whether it is in the reward of a miner, which nobody can spend in the next 99 blocks.
    pub is_coinbase: bool,
    spent: Option<Spend>,
}

/// How a coin came to the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// To the bridge's own script: the change of a link, or a gift.
    Own,
    /// By a deposit.
    Deposit {
        /// How many deposits came before it.
        index: u64,
        /// Who may take it back after the refund delay.
        refund: XOnlyPublicKey,
        /// What became of it on the rollup.
        credit: Credit,
    },
}

/// What became of a deposit on the rollup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Credit {
    /// No batch has come to it.
    Waiting,
    /// A batch credited it.
    Credited {
        /// The height of the batch's anchor.
        anchor_height: u32,
    },
    /// It expired before a batch came to it: it is the depositor's.
    Void {
        /// The height of the anchor that passed over it.
        anchor_height: u32,
    },
}

/// The deposits that a batch came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Passed {
    /// Their indices.
    pub(super) deposits: Range<u64>,
    /// The first of them that is credited: those before it are void.
    pub(super) first_credited: u64,
}

impl Passed {
    /// What a verified batch says: it has a record for each deposit that it credits, and passes over the others before
    /// these.
    pub(super) fn by(batch: &VerifiedBatch) -> Self {
        let deposits = batch.before().deposits_consumed..batch.after().deposits_consumed;
        Self { first_credited: batch.credited_deposits().start, deposits }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Spend {
    height: u32,
}

/// A payout transaction in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The transaction.
    pub txid: Txid,
    /// The height of its block.
    pub height: u32,
    /// Which payouts it settles.
    pub binding: Binding,
    /// Its outputs from the first payout on, until they are compared with what was due.
    unaudited: Option<Vec<TxOut>>,
}

/// Where the payout chain goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// What input 0 of the next link must spend.
    pub outpoint: OutPoint,
    /// The index of the first payout that is not paid.
    pub next_index: u64,
}

/// The bridge's side of a chain up to a block.
#[derive(Clone, Debug)]
pub struct BridgeScan {
    params: Params,
    own_script: ScriptBuf,
    federation_leaf: ScriptBuf,
    scanned: BlockId,
    deposits_scanned: u64,
    coins: HashMap<OutPoint, BridgeCoin>,
    /// The deposits among the coins, by index.
    deposits: BTreeMap<u64, OutPoint>,
    /// Spent coins, in the order of spending.
    spent: VecDeque<OutPoint>,
    /// The last final link, if any, and those after it.
    links: VecDeque<Link>,
    due: Due,
    faults: Vec<BridgeFault>,
}

impl BridgeScan {
    /// The bridge before the rollup's first block.
    pub fn new(params: Params) -> Self {
        Self {
            own_script: params.bridge().script_pubkey(),
            federation_leaf: params.bridge().federation_leaf(),
            scanned: params.start,
            params,
            deposits_scanned: 0,
            coins: HashMap::new(),
            deposits: BTreeMap::new(),
            spent: VecDeque::new(),
            links: VecDeque::new(),
            due: Due::default(),
            faults: Vec::new(),
        }
    }

    /// The rollup's parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The last block that was scanned.
    pub fn scanned(&self) -> BlockId {
        self.scanned
    }

    /// Scans the block after the last: its transactions, and the events that the follower reports for it.
    ///
    /// # Panics
    /// If the block is not the next: the follower, which knows the chain, hands them out in order.
    pub fn connect(&mut self, block: BlockId, transactions: &[Transaction], events: &[Event]) {
        let passed = events.iter().filter_map(|event| match event {
            Event::Verified(batch) => Some(Passed::by(batch)),
            _ => None,
        });
        let due = events.iter().filter_map(|event| if let Event::Due(payout) = event { Some(*payout) } else { None });
        self.connect_with(block, transactions, passed, due);
    }

    /// Scans a block whose anchors come to these deposits, and which makes these payouts due.
    pub(super) fn connect_with(
        &mut self,
        block: BlockId,
        transactions: &[Transaction],
        passed: impl Iterator<Item = Passed>,
        due: impl Iterator<Item = Payout>,
    ) {
        assert_eq!(block.height, self.scanned.height + 1, "blocks come in order");
        self.scanned = block;
        transactions.iter().for_each(|transaction| self.scan(transaction));
        passed.for_each(|passed| self.credit(&passed));
        due.for_each(|payout| self.due.push(payout));
        self.audit();
        self.forget_final();
    }

    /// Undoes the blocks above one.
    pub fn rewind(&mut self, to: BlockId) {
        let stays = |height: u32| height <= to.height;
        let before = self.deposits.len();
        let coins = &mut self.coins;
        self.deposits.retain(|_, outpoint| coins.get(outpoint).is_some_and(|coin| stays(coin.height)));
        self.deposits_scanned -= (before - self.deposits.len()) as u64;
        coins.retain(|_, coin| stays(coin.height));
        for coin in coins.values_mut() {
            coin.spent = coin.spent.filter(|spend| stays(spend.height));
            if let Origin::Deposit { credit, .. } = &mut coin.origin {
                credit.rewind(to.height);
            }
        }
        self.spent.retain(|outpoint| coins.get(outpoint).is_some_and(|coin| coin.spent.is_some()));
        while self.links.back().is_some_and(|link| !stays(link.height)) {
            self.links.pop_back();
        }
        self.faults.retain(|fault| stays(fault.height));
        self.scanned = to;
    }

    fn scan(&mut self, transaction: &Transaction) {
        let spends: Vec<usize> = (0..transaction.input.len())
            .filter(|input| self.coin(&transaction.input[*input].previous_output).is_some())
            .collect();
        let (mut taken_out, mut txid) = (false, None);
        for input in spends {
            let txid = *txid.get_or_insert_with(|| transaction.compute_txid());
            let by_federation = spends_by(&transaction.input[input].witness, &self.federation_leaf);
            taken_out |= by_federation;
            self.spend(transaction.input[input].previous_output, txid, by_federation);
        }
        if let Some(txid) = txid.filter(|_| taken_out) {
            match self.link(transaction, txid) {
                Ok(link) => self.links.push_back(link),
                Err(kind) => self.faults.push(BridgeFault { height: self.scanned.height, txid, kind }),
            }
        }
        self.receive(transaction, txid);
    }

    fn spend(&mut self, outpoint: OutPoint, txid: Txid, by_federation: bool) {
        let height = self.scanned.height;
        // The node has checked the block; that nothing is spent twice is not taken for granted all the same.
        let Some(coin) = self.coins.get_mut(&outpoint).filter(|coin| coin.spent.is_none()) else { return };
        coin.spent = Some(Spend { height });
        self.spent.push_back(outpoint);
        let Origin::Deposit { index, credit: Credit::Credited { .. }, .. } = coin.origin else { return };
        if !by_federation {
            let kind = BridgeFaultKind::TakenBack { index, amount_sat: coin.output.value.to_sat() };
            self.faults.push(BridgeFault { height, txid, kind });
        }
    }

    /// Takes a transaction that the federation signed for a link, or says what it breaks.
    fn link(&self, transaction: &Transaction, txid: Txid) -> Result<Link, BridgeFaultKind> {
        let head = self.links.back().map(Link::change);
        let first_input = transaction.input[0].previous_output;
        // At the start of the chain any deposit may be the first coin: which one it must be is for signers to check.
        let follows = match head {
            Some(head) => head == first_input,
            None => self.coins.contains_key(&first_input),
        };
        if !follows || !spends_by(&transaction.input[0].witness, &self.federation_leaf) {
            return Err(BridgeFaultKind::BesideTheChain);
        }
        let binding = transaction.output.get(BINDING_VOUT).map(|output| &output.script_pubkey);
        let binding = binding.and_then(|script| Binding::parse(script, self.params.chain_id()));
        let change = transaction.output.get(CHANGE_VOUT as usize);
        let change = change.filter(|output| output.script_pubkey == self.own_script);
        let (Some(binding), Some(_)) = (binding, change) else { return Err(BridgeFaultKind::NotALink) };
        let expected = self.next_index();
        if binding.first != expected || binding.end().is_none() {
            return Err(BridgeFaultKind::OutOfOrder { expected, found: binding.first });
        }
        let unaudited = Some(transaction.output[FIRST_PAYOUT_VOUT..].to_vec());
        Ok(Link { txid, height: self.scanned.height, binding, unaudited })
    }

    fn receive(&mut self, transaction: &Transaction, txid: Option<Txid>) {
        let own = (0u32..).zip(&transaction.output).filter(|(_, output)| output.script_pubkey == self.own_script);
        let mut received: Vec<(u32, Origin)> = own.map(|(vout, _)| (vout, Origin::Own)).collect();
        for (vout, deposit) in Deposit::scan(transaction, self.params.bridge(), self.params.chain_id()) {
            let (index, refund) = (self.deposits_scanned, deposit.refund);
            self.deposits_scanned += 1;
            received.push((vout, Origin::Deposit { index, refund, credit: Credit::Waiting }));
        }
        if received.is_empty() {
            return;
        }
        let txid = txid.unwrap_or_else(|| transaction.compute_txid());
        for (vout, origin) in received {
            let outpoint = OutPoint { txid, vout };
            if let Origin::Deposit { index, .. } = origin {
                self.deposits.insert(index, outpoint);
            }
            let output = transaction.output[vout as usize].clone();
            let (height, is_coinbase) = (self.scanned.height, transaction.is_coinbase());
            let coin = BridgeCoin { outpoint, output, height, origin, is_coinbase, spent: None };
            // A transaction is in a chain once (BIP-30).
            self.coins.entry(outpoint).or_insert(coin);
        }
    }

    /// The deposits that a batch came to are credited, but for the void ones, which come first.
    fn credit(&mut self, passed: &Passed) {
        let anchor_height = self.scanned.height;
        for (index, outpoint) in self.deposits.range(passed.deposits.clone()) {
            let Some(coin) = self.coins.get_mut(outpoint) else { continue };
            if let Origin::Deposit { credit, .. } = &mut coin.origin {
                *credit = if *index < passed.first_credited {
                    Credit::Void { anchor_height }
                } else {
                    Credit::Credited { anchor_height }
                };
            }
        }
    }

    /// Compares what links pay with what is due, as far as that is known.
    fn audit(&mut self) {
        for position in 0..self.links.len() {
            let Link { txid, height, binding, ref unaudited } = self.links[position];
            let indices = binding.first..binding.first + u64::from(binding.count);
            let is_known = indices.end <= self.due.count();
            let Some(outputs) = unaudited.as_deref().filter(|_| is_known) else { continue };
            let expected = self.due.within(indices);
            let count = expected.len();
            let is_paid = expected.filter_map(payout_output).eq(outputs.iter().take(count).cloned());
            if !is_paid || outputs.len() > count + 1 {
                self.faults.push(BridgeFault { height, txid, kind: BridgeFaultKind::WrongPayouts });
            }
            self.links[position].unaudited = None;
        }
    }

    fn forget_final(&mut self) {
        let Some(final_height) = self.final_height() else { return };
        while let Some(outpoint) = self.spent.front().copied() {
            let spend = self.coins.get(&outpoint).and_then(|coin| coin.spent);
            if spend.is_some_and(|spend| spend.height > final_height) {
                break;
            }
            self.spent.pop_front();
            let coin = self.coins.remove(&outpoint);
            if let Some(Origin::Deposit { index, .. }) = coin.map(|coin| coin.origin) {
                self.deposits.remove(&index);
            }
        }
        while self.links.len() >= 2 && self.links[1].height <= final_height && self.links[0].unaudited.is_none() {
            self.links.pop_front();
        }
        let first = self.links.front().filter(|link| link.height <= final_height && link.unaudited.is_none());
        let paid = first.map_or(0, |link| link.binding.first + u64::from(link.binding.count));
        self.due.forget_below(paid);
    }

    /// The height up to which blocks are final; `None` before there are any.
    pub fn final_height(&self) -> Option<u32> {
        (self.scanned.height + 1).checked_sub(self.params.final_depth_blocks)
    }

    /// The index of the first payout that is not settled.
    pub fn next_index(&self) -> u64 {
        self.links.back().map_or(0, |link| link.binding.first + u64::from(link.binding.count))
    }

    /// How many payouts have fallen due, settled or not, those without an output included.
    pub fn due_count(&self) -> u64 {
        self.due.count()
    }

    /// The payouts that are due, not paid, and large enough for an output, in order.
    pub fn unpaid(&self) -> vec_deque::Iter<'_, Payout> {
        self.due.from(self.next_index())
    }

    /// The payouts of a link that is to come next: those with an output among the first `count` indices not settled.
    pub fn unpaid_within(&self, count: u32) -> vec_deque::Iter<'_, Payout> {
        let first = self.next_index();
        self.due.within(first..first.saturating_add(count.into()))
    }

    /// The last final link, if any, and all after it.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        self.links.iter()
    }

    /// What has gone wrong.
    pub fn faults(&self) -> &[BridgeFault] {
        &self.faults
    }

    /// A coin that is not spent.
    pub fn coin(&self, outpoint: &OutPoint) -> Option<&BridgeCoin> {
        self.coins.get(outpoint).filter(|coin| coin.spent.is_none())
    }

    /// The coins that are not spent, the oldest first.
    pub fn coins(&self) -> Vec<&BridgeCoin> {
        let mut coins: Vec<&BridgeCoin> = self.coins.values().filter(|coin| coin.spent.is_none()).collect();
        coins.sort_by_key(|coin| (coin.height, coin.outpoint));
        coins
    }

    /// Whether the federation can spend a coin in the next block: it holds it, and no node takes it for an immature
    /// reward.
    pub fn is_spendable(&self, coin: &BridgeCoin) -> bool {
        self.is_held(coin) && coin.spendable_height() <= self.scanned.height.saturating_add(1)
    }

    /// Whether a coin is the bridge's: paid to its own script, or a deposit whose credit is final.
    pub fn is_held(&self, coin: &BridgeCoin) -> bool {
        match coin.origin {
            Origin::Own => true,
            Origin::Deposit { credit: Credit::Credited { anchor_height }, .. } => {
                self.final_height().is_some_and(|height| anchor_height <= height)
            }
            Origin::Deposit { .. } => false,
        }
    }

    /// The last height of an anchor that can credit a deposit.
    pub fn last_credit_height(&self, coin: &BridgeCoin) -> u32 {
        coin.height.saturating_add(self.params.deposit_expiry_blocks)
    }

    /// The first height of a block in which a depositor can take a coin back; `None` for the bridge's own.
    pub fn refund_height(&self, coin: &BridgeCoin) -> Option<u32> {
        let delay = u32::from(self.params.bridge().refund_delay_blocks());
        let height = coin.height.saturating_add(delay).max(coin.spendable_height());
        matches!(coin.origin, Origin::Deposit { .. }).then_some(height)
    }

    /// Whether the next block may hold a transaction by which the depositor takes back a deposit that is the bridge's.
    pub fn is_exposed(&self, coin: &BridgeCoin) -> bool {
        self.is_held(coin) && self.refund_height(coin).is_some_and(|height| height <= self.scanned.height + 1)
    }

    /// Where the next link goes on.
    ///
    /// # Errors
    /// [`HeadError`].
    pub fn head(&self) -> Result<Head, HeadError> {
        if let Some(fault) = self.faults.iter().find(|fault| fault.kind.stops_the_chain()) {
            return Err(HeadError::Fault(*fault));
        }
        if let Some(link) = self.links.back() {
            let outpoint = link.change();
            self.coin(&outpoint).ok_or(HeadError::Gone(outpoint))?;
            return Ok(Head { outpoint, next_index: self.next_index() });
        }
        let credited =
            |coin: &&BridgeCoin| matches!(coin.origin, Origin::Deposit { credit: Credit::Credited { .. }, .. });
        let first = self.deposits.values().filter_map(|outpoint| self.coins.get(outpoint)).find(credited);
        let first = first.filter(|coin| self.is_held(coin)).ok_or(HeadError::NothingCredited)?;
        if first.spent.is_some() {
            // A depositor took it back. Another start is safe when that cannot be undone any more.
            return Err(HeadError::StartUnsettled(first.outpoint));
        }
        if !self.is_spendable(first) {
            // To begin with another meanwhile would leave two beginnings to choose from.
            return Err(HeadError::StartImmature { outpoint: first.outpoint, height: first.spendable_height() });
        }
        Ok(Head { outpoint: first.outpoint, next_index: 0 })
    }
}

impl BridgeCoin {
    /// The first height of a block that may spend it, whoever does.
    pub fn spendable_height(&self) -> u32 {
        self.height.saturating_add(if self.is_coinbase { COINBASE_MATURITY_BLOCKS } else { 0 })
    }
}

impl Link {
    /// The output that the next link spends.
    pub fn change(&self) -> OutPoint {
        OutPoint { txid: self.txid, vout: CHANGE_VOUT }
    }
}

impl Credit {
    fn rewind(&mut self, to_height: u32) {
        match *self {
            Self::Credited { anchor_height } | Self::Void { anchor_height } if anchor_height > to_height => {
                *self = Self::Waiting;
            }
            _ => {}
        }
    }
}
