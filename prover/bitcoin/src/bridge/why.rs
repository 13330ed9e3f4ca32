//! Why the outputs of a transaction are deposits, or are none.
//!
//! [`look`] judges the outputs by their form alone, as followers do, and names for each that looks like a part of a
//! deposit what keeps it from being one. What became of a deposit is its [`Fate`]: [`fate_of`] reads it off a scan that
//! still has the coin, and [`trace`] reads the chain from the rollup's start for one that is spent for good. So does
//! [`trace_requests`] for what was demanded. What became of announcements is
//! [`UpgradeFate`](crate::upgrade::UpgradeFate).

mod fate;

pub use fate::{Fate, RequestFate, Spent, fate_of, trace, trace_requests};

use super::link::Binding;
use bitcoin::{
    Script, ScriptBuf, Transaction, TxOut, XOnlyPublicKey, absolute::LockTime, key::Secp256k1, script::Instruction,
    transaction::Version,
};
use rayon::prelude::*;
use std::{collections::HashMap, fmt, hash::Hash};
use taproof_verifier::{
    baby_jubjub::{KeyError, PublicKey},
    cell::ChainId,
    deposit::{Deposit, TAG_LENGTH, Tag},
    envelope::Announcement,
    evidence::ClaimRequest,
    exit::{ExitRequest, Request},
    follow::Params,
    upgrade::{Upgrade, UpgradeError, UpgradeOutput},
};

/// What an output is to a rollup.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// A demand that a lock be opened; whether it is the transaction's first, which alone counts.
    Claim {
        /// The request.
        request: ClaimRequest,
        /// Whether none stands before it.
        is_first: bool,
    },
    /// What the upgrade keys announce; whether enough of them signed the transaction.
    Upgrade {
        /// The announcement.
        upgrade: Upgrade,
        /// Whether it is the upgrade keys'.
        is_signed: bool,
    },
    /// It bears the mark of announcements, and announces nothing.
    NoUpgrade(UpgradeError),
    /// A payment to the upgrade address.
    UpgradeCoin,
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
    name_what_upgrade_keys_send(&mut meanings, transaction, params);
    let claims = meanings.iter_mut().filter_map(|meaning| match meaning {
        Meaning::Claim { is_first, .. } => Some(is_first),
        _ => None,
    });
    claims.skip(1).for_each(|is_first| *is_first = false);
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

/// Names the announcements among the outputs, and what is paid to the upgrade address.
fn name_what_upgrade_keys_send(meanings: &mut [Meaning], transaction: &Transaction, params: &Params) {
    let Some(output) = UpgradeOutput::of(params) else { return };
    let address = output.script_pubkey(&Secp256k1::verification_only());
    let is_signed = matches!(output.parse(transaction), Ok(Some(_)));
    let announced = output.announced(transaction);
    for (meaning, paid) in meanings.iter_mut().zip(&transaction.output).filter(|(known, _)| **known == Meaning::Nothing)
    {
        if paid.script_pubkey == address {
            *meaning = Meaning::UpgradeCoin;
        } else if is_marked(&output, paid) {
            *meaning = match &announced {
                Ok(Some(upgrade)) => Meaning::Upgrade { upgrade: upgrade.clone(), is_signed },
                Ok(None) => continue,
                Err(error) => Meaning::NoUpgrade(*error),
            };
        }
    }
}

/// Whether an output bears the mark of announcements.
fn is_marked(output: &UpgradeOutput, paid: &TxOut) -> bool {
    let alone =
        Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: Vec::new(), output: vec![paid.clone()] };
    paid.script_pubkey.is_op_return() && output.is_marked(&alone)
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
        // What it demands does not depend on the height, which is not known here.
        match Request::parse(script, self.params.chain_id(), 0) {
            Some(Request::Exit(request)) => {
                return Meaning::Exit { request, is_signed: request.verify(self.params.chain_id()).is_ok() };
            }
            Some(Request::Claim(claim)) => return Meaning::Claim { request: *claim.request(), is_first: true },
            None => {}
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
            Self::Claim { request, is_first } => {
                write!(f, "a request to open the lock in cell {} by the secret that it shows", request.cell)?;
                if *is_first { Ok(()) } else { f.write_str(", behind another of this transaction: ignored") }
            }
            Self::Upgrade { upgrade, is_signed } => {
                write!(f, "announces {upgrade}")?;
                if *is_signed { Ok(()) } else { f.write_str(", not signed by enough of the upgrade keys: ignored") }
            }
            Self::NoUpgrade(error) => write!(f, "it bears the mark of announcements and is ignored: {error}"),
            Self::UpgradeCoin => {
                f.write_str("to the upgrade address, from which the upgrade keys pay for what they announce")
            }
            Self::LinkData(Binding { first, count }) => {
                let payouts = if *count == 1 { "payout" } else { "payouts" };
                write!(f, "the data of a payout transaction: {count} {payouts} from number {first} on")
            }
            Self::Paid => f.write_str("a payout, or the change of whoever paid the fee"),
            Self::Announcement { batch } => write!(f, "the announcement of batch {batch}"),
            Self::Nothing => f.write_str("nothing of this rollup's"),
        }
    }
}
