//! Why the outputs of a transaction are deposits, or are none.
//!
//! [`look`] judges the outputs by their form alone, as followers do, and names for each that looks like a part of a
//! deposit what keeps it from being one. What became of a deposit is its [`Fate`]: [`fate_of`] reads it off a scan that
//! still has the coin, and [`trace`] reads the chain from the rollup's start for one that is spent for good.

use super::{
    link::Binding,
    scan::{BridgeCoin, BridgeScan, Credit, Origin, Passed},
    spends_by,
};
use crate::{
    follow::{self, FollowError},
    node::ChainSource,
};
use bitcoin::{OutPoint, Script, ScriptBuf, Transaction, TxOut, Txid, XOnlyPublicKey, script::Instruction};
use rayon::prelude::*;
use std::{collections::HashMap, fmt, hash::Hash};
use taproof_verifier::{
    baby_jubjub::{KeyError, PublicKey},
    cell::ChainId,
    deposit::{Deposit, TAG_LENGTH, Tag},
    envelope::Announcement,
    exit::ExitRequest,
    follow::{Event, Params, ScannedDeposit},
    program::Programs,
};

/// What an output is to a rollup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Meaning {
    /// The payment of a deposit.
    Deposit(Deposit),
    /// The data of the deposit whose payment stands before it.
    DepositData,
    /// A payment or data that should have been one of a deposit.
    NoDeposit(NoDepositError),
    /// Something else between the payment of a deposit and its data, which must be neighbours.
    Between {
        /// Where the payment stands.
        payment_vout: u32,
        /// Where the data stands.
        data_vout: u32,
    },
    /// A payment to the bridge's own script.
    Own,
    /// A demand to exit; whether its owner signed it.
    Exit {
        /// The request.
        request: ExitRequest,
        /// Whether the signature is the owner's.
        is_signed: bool,
    },
    /// The data of a payout transaction, which followers check for themselves.
    LinkData(Binding),
    /// What such a transaction pays, or the change of whoever paid its fee.
    Paid,
    /// The announcement of a batch.
    Announcement {
        /// The number of the batch.
        batch: u64,
    },
    /// Nothing of the rollup's.
    Nothing,
}

/// What keeps an output from being a part of a deposit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoDepositError {
    /// No output carries data for the payment.
    #[error(
        "it pays to the deposit address of {refund}, and no output says whom to credit: the refund key takes it back"
    )]
    NoData {
        /// The refund key of the address.
        refund: XOnlyPublicKey,
    },
    /// The data for the payment does not follow it.
    #[error("it pays to a deposit address, and its data stands in output {data_vout} instead of {}", payment_vout + 1)]
    DataElsewhere {
        /// Where the payment stands.
        payment_vout: u32,
        /// Where the data stands.
        data_vout: u32,
    },
    /// The data follows no output.
    #[error("it is a deposit's data and the first output: the payment must stand right before it")]
    NoPayment,
    /// The payment for the data does not stand before it.
    #[error("it is a deposit's data, and its payment stands in output {payment_vout} instead of \
             {}", data_vout.saturating_sub(1))]
    PaymentElsewhere {
        /// Where the data stands.
        data_vout: u32,
        /// Where the payment stands.
        payment_vout: u32,
    },
    /// No output pays to the deposit address of the refund key in the data.
    #[error(
        "the data names the refund key {refund}, and the output before it does not pay to that key's deposit address"
    )]
    OtherAddress {
        /// The key.
        refund: XOnlyPublicKey,
    },
    /// The payment is smaller than the rollup takes.
    #[error("the payment is of {found_sat} sat, and the rollup takes {min_sat} sat at least")]
    TooSmall {
        /// The least.
        min_sat: u64,
        /// What is paid.
        found_sat: u64,
    },
    /// The owner's key is none.
    #[error("the owner's key in the data is none: {0}")]
    Owner(KeyError),
    /// The refund key is none.
    #[error("the refund key in the data is no point of the curve")]
    Refund,
    /// The data bears the mark of another rollup.
    #[error("the data bears the mark {found} of another rollup, where this one's is {expected}")]
    OtherRollup {
        /// This rollup's mark.
        expected: ChainId,
        /// The mark of the data.
        found: ChainId,
    },
    /// The data is pushed in another way than by the one opcode for its length.
    #[error("it pushes the data of a deposit in another way than by the one opcode for {TAG_LENGTH} bytes")]
    Push,
}

/// What each output of a transaction is. `refunds` are keys whose deposit addresses are known, as the wallet's own;
/// those that the transaction's data names are known in any case.
///
/// Whatever the outputs are, each is looked at a fixed number of times: whoever made the transaction need not be a
/// friend.
pub fn look(transaction: &Transaction, params: &Params, refunds: &[XOnlyPublicKey]) -> Vec<Meaning> {
    let view = View::new(transaction, params, refunds);
    let mut meanings: Vec<Meaning> = (0..view.outputs.len()).into_par_iter().map(|vout| view.meaning(vout)).collect();
    name_what_posters_send(&mut meanings, transaction, params);
    meanings
}

/// Names the outputs of what posters and signers send, by the data of the first.
fn name_what_posters_send(meanings: &mut [Meaning], transaction: &Transaction, params: &Params) {
    let Some((first, others)) = meanings.split_first_mut().filter(|(first, _)| **first == Meaning::Nothing) else {
        return;
    };
    let script = &transaction.output[0].script_pubkey;
    if let Some(binding) = Binding::parse(script, params.chain_id()) {
        *first = Meaning::LinkData(binding);
        others.iter_mut().filter(|other| **other == Meaning::Nothing).for_each(|other| *other = Meaning::Paid);
    } else if let Ok(Some(announcement)) = Announcement::parse(script, params.chain_id()) {
        *first = Meaning::Announcement { batch: announcement.batch };
    }
}

/// The outputs, and what is known of deposits among them.
struct View<'a> {
    outputs: &'a [TxOut],
    params: &'a Params,
    own_script: ScriptBuf,
    deposits: HashMap<usize, Deposit>,
    tags: Vec<Option<Tag>>,
    /// Where the first data with a refund key stands.
    tag_of: HashMap<[u8; 32], usize>,
    /// The refund key to whose deposit address an output pays, if that is known.
    refunds: Vec<Option<XOnlyPublicKey>>,
    /// Why a pair whose second output is this one is no deposit, where it carries data.
    faults: Vec<Option<NoDepositError>>,
    /// The first payment with its data between which an output stands.
    between: Vec<Option<(usize, usize)>>,
}

impl<'a> View<'a> {
    fn new(transaction: &'a Transaction, params: &'a Params, refunds: &[XOnlyPublicKey]) -> Self {
        let outputs = transaction.output.as_slice();
        let tags: Vec<Option<Tag>> = outputs.iter().map(|output| Tag::parse(&output.script_pubkey)).collect();
        let named = tags.iter().flatten().filter_map(|tag| XOnlyPublicKey::from_slice(&tag.refund).ok());
        let mut keys: Vec<XOnlyPublicKey> = named.chain(refunds.iter().copied()).collect();
        keys.sort_by_key(XOnlyPublicKey::serialize);
        keys.dedup();
        let with_address = |key: XOnlyPublicKey| (params.bridge().deposit_script_pubkey(key), key);
        let addresses: HashMap<ScriptBuf, XOnlyPublicKey> = keys.into_par_iter().map(with_address).collect();
        let refund_of = |output: &TxOut| addresses.get(&output.script_pubkey).copied();
        let deposits = Deposit::scan(transaction, params.bridge(), params.chain_id());
        let mut view = Self {
            outputs,
            params,
            own_script: params.bridge().script_pubkey(),
            deposits: deposits.into_iter().map(|(vout, deposit)| (vout as usize, deposit)).collect(),
            tag_of: firsts(tags.iter().map(|tag| tag.map(|tag| tag.refund))),
            refunds: outputs.iter().map(refund_of).collect(),
            tags,
            faults: Vec::new(),
            between: Vec::new(),
        };
        let payment_of = firsts(view.refunds.iter().copied());
        let fault = |(vout, tag): (usize, &Option<Tag>)| Some(view.fault_of_tag(vout, tag.as_ref()?, &payment_of));
        view.faults = view.tags.par_iter().enumerate().map(fault).collect();
        view.between = between(&view.faults);
        view
    }

    fn meaning(&self, vout: usize) -> Meaning {
        let script = &self.outputs[vout].script_pubkey;
        if let Some(deposit) = self.deposits.get(&vout) {
            return Meaning::Deposit(*deposit);
        }
        if vout > 0 && self.deposits.contains_key(&(vout - 1)) {
            return Meaning::DepositData;
        }
        if *script == self.own_script {
            return Meaning::Own;
        }
        if let Some(request) = ExitRequest::parse(script, self.params.chain_id()) {
            return Meaning::Exit { request, is_signed: request.verify(self.params.chain_id()).is_ok() };
        }
        let fault = match (self.faults[vout], self.refunds[vout]) {
            (Some(fault), _) => fault,
            (None, Some(refund)) => self.fault_of_payment(vout, refund),
            (None, None) if is_pushed_otherwise(script, self.params.chain_id()) => NoDepositError::Push,
            (None, None) => return self.bystander(vout),
        };
        Meaning::NoDeposit(fault)
    }

    /// What an output is that is itself no part of a deposit.
    fn bystander(&self, vout: usize) -> Meaning {
        match (self.faults.get(vout + 1), self.between[vout]) {
            (Some(Some(fault @ NoDepositError::OtherAddress { .. })), _)
                if self.outputs[vout].script_pubkey.is_p2tr() =>
            {
                Meaning::NoDeposit(*fault)
            }
            (_, Some((payment, data))) => Meaning::Between { payment_vout: payment as u32, data_vout: data as u32 },
            (_, None) => Meaning::Nothing,
        }
    }

    /// Why a pair whose second output has this tag is no deposit.
    fn fault_of_tag(&self, vout: usize, tag: &Tag, payment_of: &HashMap<XOnlyPublicKey, usize>) -> NoDepositError {
        let (expected, found) = (self.params.chain_id(), tag.chain_id);
        if found != expected {
            return NoDepositError::OtherRollup { expected, found };
        }
        if let Err(error) = PublicKey::from_bytes(&tag.owner) {
            return NoDepositError::Owner(error);
        }
        let Ok(refund) = XOnlyPublicKey::from_slice(&tag.refund) else { return NoDepositError::Refund };
        let before = vout.checked_sub(1);
        if let Some(payment) = before.filter(|before| self.refunds[*before] == Some(refund)) {
            let (min_sat, found_sat) = (self.params.bridge().deposit_min_sat(), self.outputs[payment].value.to_sat());
            return NoDepositError::TooSmall { min_sat, found_sat };
        }
        match payment_of.get(&refund) {
            Some(payment) => NoDepositError::PaymentElsewhere { data_vout: vout as u32, payment_vout: *payment as u32 },
            None if before.is_none() => NoDepositError::NoPayment,
            None => NoDepositError::OtherAddress { refund },
        }
    }

    /// Why an output to the deposit address of a key is no deposit.
    fn fault_of_payment(&self, vout: usize, refund: XOnlyPublicKey) -> NoDepositError {
        let refund_bytes = refund.serialize();
        let next = self.tags.get(vout + 1).copied().flatten().filter(|tag| tag.refund == refund_bytes);
        if let Some(fault) = next.and_then(|_| self.faults[vout + 1]) {
            return fault;
        }
        match self.tag_of.get(&refund_bytes) {
            Some(data) => NoDepositError::DataElsewhere { payment_vout: vout as u32, data_vout: *data as u32 },
            None => NoDepositError::NoData { refund },
        }
    }
}

/// Where each value stands first.
fn firsts<T: Eq + Hash>(values: impl Iterator<Item = Option<T>>) -> HashMap<T, usize> {
    let mut firsts = HashMap::new();
    for (place, value) in values.enumerate() {
        if let Some(value) = value {
            firsts.entry(value).or_insert(place);
        }
    }
    firsts
}

/// For each output the first data whose payment stands before it or is it, and that payment.
fn between(faults: &[Option<NoDepositError>]) -> Vec<Option<(usize, usize)>> {
    let mut between = vec![None; faults.len()];
    // Outputs that no data was found for yet, in order: each is put on once and taken off once.
    let mut open = Vec::new();
    for (data, fault) in faults.iter().enumerate() {
        if let Some(NoDepositError::PaymentElsewhere { payment_vout, .. }) = fault {
            let payment = *payment_vout as usize;
            while let Some(vout) = open.pop_if(|vout| *vout >= payment) {
                between[vout] = Some((payment, data));
            }
        }
        open.push(data);
    }
    between
}

/// Whether a script carries what looks like a deposit's data of the rollup, pushed in a way that followers do not read.
fn is_pushed_otherwise(script: &Script, chain_id: ChainId) -> bool {
    let mut pushed = Vec::new();
    for instruction in script.instructions().skip(1) {
        match instruction {
            Ok(Instruction::PushBytes(bytes)) => pushed.extend_from_slice(bytes.as_bytes()),
            _ => return false,
        }
    }
    script.is_op_return() && pushed.len() == TAG_LENGTH && pushed.starts_with(&chain_id.to_byte_array())
}

impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deposit(deposit) => {
                write!(
                    f,
                    "a deposit of {} sat for {}, refund key {}",
                    deposit.amount_sat, deposit.owner, deposit.refund
                )
            }
            Self::DepositData => f.write_str("the data of the deposit before it"),
            Self::NoDeposit(reason) => write!(f, "no deposit: {reason}"),
            Self::Between { payment_vout, data_vout } => write!(
                f,
                "it stands between a deposit's payment, output {payment_vout}, and its data, output {data_vout}, which \
                 must be neighbours"
            ),
            Self::Own => {
                f.write_str("to the bridge's own script: the change of a payout transaction, or a gift; no deposit")
            }
            Self::Exit { request, is_signed } => {
                let record = request.record();
                write!(f, "an exit request of {} sat from cell {}", record.amount, record.from)?;
                if *is_signed { Ok(()) } else { f.write_str(", not signed by its owner: ignored") }
            }
            Self::LinkData(Binding { first, count }) => {
                write!(f, "the data of a payout transaction: {count} payouts from number {first} on")
            }
            Self::Paid => f.write_str("a payout, or the change of whoever paid the fee"),
            Self::Announcement { batch } => write!(f, "the announcement of batch {batch}"),
            Self::Nothing => f.write_str("nothing of this rollup's"),
        }
    }
}

/// What became of a deposit in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fate {
    /// It stands in no block, or not in one that the rollup's followers read.
    Outside,
    /// No batch has come to it.
    Waiting {
        /// How many deposits came before it.
        index: u64,
        /// The first height at which every anchor must credit it.
        due_height: u32,
        /// The last height of an anchor that can credit it.
        last_height: u32,
    },
    /// No batch came to it in time: it is the depositor's.
    Void {
        /// How many deposits came before it.
        index: u64,
        /// The first height of a block in which the depositor can take it back.
        refund_height: u32,
    },
    /// A batch credited it.
    Credited {
        /// How many deposits came before it.
        index: u64,
        /// The height of the batch's anchor.
        anchor_height: u32,
    },
}

/// How a deposit was spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// The transaction.
    pub txid: Txid,
    /// The height of its block.
    pub height: u32,
    /// Whether the federation moved it; else its depositor took it back.
    pub by_federation: bool,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outside => f.write_str("it stands in no block that followers of the rollup read"),
            Self::Waiting { index, due_height, last_height } => write!(
                f,
                "deposit {index} waits: every anchor from height {due_height} on must credit it, and none above \
                 {last_height} can"
            ),
            Self::Void { index, refund_height } => {
                write!(f, "deposit {index} is void: no batch came in time; its refund opens at height {refund_height}")
            }
            Self::Credited { index, anchor_height } => {
                write!(f, "deposit {index} is credited by the anchor at height {anchor_height}")
            }
        }
    }
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { txid, height, by_federation } = self;
        let what = if *by_federation { "moved by the bridge" } else { "taken back by the depositor" };
        write!(f, "{what} in {txid} at height {height}")
    }
}

/// What a scan that still has a coin says of it; `None` for the bridge's own coins.
pub fn fate_of(scan: &BridgeScan, coin: &BridgeCoin) -> Option<Fate> {
    let Origin::Deposit { index, credit, .. } = coin.origin else { return None };
    Some(fate(scan.params(), scan.scanned().height, index, coin.height, credit))
}

fn fate(params: &Params, scanned_height: u32, index: u64, height: u32, credit: Credit) -> Fate {
    let last_height = height.saturating_add(params.deposit_expiry_blocks);
    let refund_height = height.saturating_add(params.bridge().refund_delay_blocks().into());
    match credit {
        Credit::Credited { anchor_height } => Fate::Credited { index, anchor_height },
        Credit::Waiting if scanned_height < last_height => {
            Fate::Waiting { index, due_height: params.due_height(height), last_height }
        }
        Credit::Waiting | Credit::Void { .. } => Fate::Void { index, refund_height },
    }
}

/// Reads the chain from the rollup's start on, for what became of a deposit and how it was spent; [`Fate::Outside`] if
/// it is none.
///
/// # Errors
/// [`FollowError`].
pub fn trace(
    source: &dyn ChainSource,
    params: &Params,
    programs: impl Into<Programs>,
    outpoint: OutPoint,
) -> Result<(Fate, Option<Spent>), FollowError> {
    let mut tracing =
        Tracing { outpoint, federation_leaf: params.bridge().federation_leaf(), found: None, spent: None };
    let mut follower = follow::start(source, params.clone(), programs)?;
    follow::sync_headers(source, &mut follower, |_| ())?;
    while let Some(block) = follow::next_block(source, &follower)? {
        let height = follower.scanned().height + 1;
        tracing.look_for_spends(&block.txdata, height);
        let events = follower.connect(block)?;
        tracing.take(follower.pending_deposits(), &events, height);
    }
    let fate = tracing.found.map_or(Fate::Outside, |(index, height, credit)| {
        fate(params, follower.scanned().height, index, height, credit)
    });
    Ok((fate, tracing.spent))
}

struct Tracing {
    outpoint: OutPoint,
    federation_leaf: ScriptBuf,
    /// The deposit's number, the height of its block and what a batch made of it.
    found: Option<(u64, u32, Credit)>,
    spent: Option<Spent>,
}

impl Tracing {
    fn look_for_spends(&mut self, transactions: &[Transaction], height: u32) {
        for transaction in transactions {
            let input = transaction.input.iter().find(|input| input.previous_output == self.outpoint);
            let Some(input) = input else { continue };
            let by_federation = spends_by(&input.witness, &self.federation_leaf);
            self.spent = Some(Spent { txid: transaction.compute_txid(), height, by_federation });
        }
    }

    fn take<'a>(&mut self, pending: impl Iterator<Item = &'a ScannedDeposit>, events: &[Event], anchor_height: u32) {
        if self.found.is_none() {
            let OutPoint { txid, vout } = self.outpoint;
            let mut pending = pending;
            let deposit = pending.find(|deposit| (deposit.txid, deposit.vout) == (txid, vout));
            self.found = deposit.map(|deposit| (deposit.index, deposit.height, Credit::Waiting));
        }
        let Some((index, _, credit)) = &mut self.found else { return };
        for event in events {
            let Event::Verified(batch) = event else { continue };
            let passed = Passed::by(batch);
            if passed.deposits.contains(index) {
                let is_void = *index < passed.first_credited;
                *credit = if is_void { Credit::Void { anchor_height } } else { Credit::Credited { anchor_height } };
            }
        }
    }
}
