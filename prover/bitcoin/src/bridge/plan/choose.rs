//! Which coins a link spends and which payouts it makes, within its weight.

use super::{
    super::{
        descriptor::KnownOutputs,
        link::{Binding, MAX_LINK_WEIGHT_WU, MAX_PAYOUTS, payout_output},
        scan::{BridgeCoin, Origin},
        weight::federation_input_wu,
    },
    PlanError, PlanRequest,
};
use bitcoin::{Amount, OutPoint, Transaction, TxOut, absolute::LockTime, transaction::Version};
use std::{cmp::Reverse, collections::HashSet};

/// Weight units that are kept for the coins that pay the fee, their change, and longer counts.
pub(super) const RESERVE_WU: u64 = 8_000;

/// What goes into a link.
pub(super) struct Choice<'a> {
    /// The head, then the others.
    pub(super) coins: Vec<&'a BridgeCoin>,
    /// What they are worth.
    pub(super) available_sat: u64,
    /// What coins are worth that the link has room for, beyond those.
    pub(super) unused_sat: u64,
    /// How many of the coins are deposits.
    pub(super) deposits: usize,
    /// How many deposits are left that could be moved, too.
    pub(super) deposits_left: usize,
    /// How many more are left alone because their depositors can take them back.
    pub(super) deposits_exposed: usize,
    /// The outputs of the payouts.
    pub(super) payouts: Vec<TxOut>,
    /// How many indices are settled: there is no output for those of dust, however many they are.
    pub(super) count: u32,
    /// What the payouts are worth.
    pub(super) paid_sat: u64,
    taken: HashSet<OutPoint>,
    weight_left_wu: u64,
    own_input_wu: u64,
    deposit_input_wu: u64,
}

/// Chooses what a link does. The rules are at the head of [`super`].
pub(super) fn choose<'a>(request: &PlanRequest<'a>, head: OutPoint) -> Result<Choice<'a>, PlanError> {
    let scan = request.scan;
    let mut by_value: Vec<&BridgeCoin> = scan.coins();
    by_value.retain(|coin| coin.outpoint != head && scan.is_spendable(coin));
    let all = by_value.len();
    by_value.retain(|coin| request.exposed || !scan.is_exposed(coin));
    let deposits_exposed = all - by_value.len();
    let mut by_refund: Vec<&BridgeCoin> = by_value.iter().copied().filter(|coin| is_deposit(coin)).collect();
    by_refund.sort_by_key(|coin| (scan.refund_height(coin), coin.outpoint));
    by_value.sort_by_key(|coin| (Reverse(coin.output.value), coin.outpoint));

    let mut choice = Choice::new(request, head)?;
    let kept_wu = if scan.unpaid().next().is_some() { choice.weight_left_wu / 2 } else { 0 };
    choice.move_deposits(&by_refund, request.deposits_max, kept_wu);
    choice.pay(request, &by_value);
    choice.move_deposits(&by_refund, request.deposits_max, 0);
    choice.deposits_exposed = deposits_exposed;
    choice.deposits_left = by_refund.iter().filter(|coin| !choice.taken.contains(&coin.outpoint)).count();
    Ok(choice)
}

fn is_deposit(coin: &BridgeCoin) -> bool {
    matches!(coin.origin, Origin::Deposit { .. })
}

impl<'a> Choice<'a> {
    /// The head alone.
    fn new(request: &PlanRequest<'a>, head: OutPoint) -> Result<Self, PlanError> {
        let params = request.scan.params();
        let head = request.scan.coin(&head).expect("the head is unspent");
        let (keys, threshold) = (params.bridge().keys().len(), params.bridge().threshold());
        let mut outputs = KnownOutputs::new(params.bridge());
        let own_input_wu = federation_input_wu(outputs.of_coin(Origin::Own)?.federation(), keys, threshold);
        // The control block of a deposit has the hash of the other leaf, whoever the depositor is.
        let deposit_input_wu = own_input_wu + bitcoin::taproot::TAPROOT_CONTROL_NODE_SIZE as u64;
        let change = TxOut { value: Amount::ZERO, script_pubkey: params.bridge().script_pubkey() };
        let binding = Binding { first: 0, count: 0 }.output(params.chain_id());
        let empty = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: Vec::new(),
            output: vec![binding, change],
        };
        let weight_max_wu = request.weight_max_wu.min(MAX_LINK_WEIGHT_WU);
        let mut choice = Self {
            coins: Vec::new(),
            available_sat: 0,
            unused_sat: 0,
            deposits: 0,
            deposits_left: 0,
            deposits_exposed: 0,
            payouts: Vec::new(),
            count: 0,
            paid_sat: 0,
            taken: HashSet::new(),
            weight_left_wu: weight_max_wu.saturating_sub(empty.weight().to_wu() + RESERVE_WU),
            own_input_wu,
            deposit_input_wu,
        };
        choice.take(head);
        Ok(choice)
    }

    fn input_wu(&self, coin: &BridgeCoin) -> u64 {
        if is_deposit(coin) { self.deposit_input_wu } else { self.own_input_wu }
    }

    fn take(&mut self, coin: &'a BridgeCoin) {
        self.weight_left_wu = self.weight_left_wu.saturating_sub(self.input_wu(coin));
        self.available_sat += coin.output.value.to_sat();
        self.deposits += usize::from(is_deposit(coin));
        self.taken.insert(coin.outpoint);
        self.coins.push(coin);
    }

    /// Takes deposits in their order while they leave so much weight.
    fn move_deposits(&mut self, by_refund: &[&'a BridgeCoin], deposits_max: usize, kept_wu: u64) {
        for coin in by_refund {
            if self.deposits >= deposits_max || self.weight_left_wu < kept_wu.saturating_add(self.input_wu(coin)) {
                return;
            }
            if !self.taken.contains(&coin.outpoint) {
                self.take(coin);
            }
        }
    }

    /// Settles payouts in their order, each with as many coins more as its amount needs, while there is weight.
    fn pay(&mut self, request: &PlanRequest<'a>, by_value: &[&'a BridgeCoin]) {
        let untaken: Vec<&BridgeCoin> =
            by_value.iter().copied().filter(|coin| !self.taken.contains(&coin.outpoint)).collect();
        let mut coins = untaken.as_slice();
        // A binding has no room for more indices.
        let within = request.scan.unpaid_within(u32::MAX);
        for payout in within.take(request.payouts_max.min(MAX_PAYOUTS) as usize) {
            let output = payout_output(payout).expect("what is unpaid is large enough for an output");
            let needed_sat = self.paid_sat.saturating_add(payout.amount_sat);
            let (mut available_sat, mut needed_wu, mut more) = (self.available_sat, output.weight().to_wu(), 0);
            while available_sat < needed_sat && needed_wu <= self.weight_left_wu {
                let Some(coin) = coins.get(more) else { break };
                available_sat += coin.output.value.to_sat();
                needed_wu += self.input_wu(coin);
                more += 1;
            }
            if available_sat < needed_sat || needed_wu > self.weight_left_wu {
                self.unused_sat = available_sat - self.available_sat;
                break;
            }
            let (used, rest) = coins.split_at(more);
            used.iter().for_each(|coin| self.take(coin));
            coins = rest;
            self.weight_left_wu -= output.weight().to_wu();
            self.paid_sat = needed_sat;
            self.payouts.push(output);
        }
        self.count = self.settled(request);
    }

    /// How many indices the payouts settle, with those of dust before and after them, which cost nothing.
    fn settled(&self, request: &PlanRequest<'a>) -> u32 {
        let next = request.scan.unpaid().nth(self.payouts.len());
        let end = next.map_or(request.scan.due_count(), |payout| payout.index);
        u32::try_from(end - request.scan.next_index()).unwrap_or(u32::MAX)
    }
}
