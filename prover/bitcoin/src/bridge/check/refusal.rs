//! Why a signer does not sign.

use super::super::{
    link::{MAX_LINK_WEIGHT_WU, MAX_PAYOUTS},
    scan::HeadError,
};
use crate::anchor::FeeRate;
use bitcoin::{OutPoint, XOnlyPublicKey, absolute::LockTime};

/// Why a signer does not sign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The version is not 2.
    #[error("the transaction has version {0}, not 2")]
    Version(i32),
    /// There is a lock time.
    #[error("the transaction is locked until {0}")]
    LockTime(LockTime),
    /// An input's sequence is not the one of replaceable inputs.
    #[error("input {0} has a sequence that locks it or keeps it from being replaced")]
    Sequence(usize),
    /// There is no input, or a coin is spent twice.
    #[error("input {0} is missing or spends what another input spends")]
    Inputs(usize),
    /// There is no place for a link.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// Input 0 is not the head of the payout chain.
    #[error("input 0 spends {found}, where the payout chain goes on from {expected}")]
    NotTheHead {
        /// The head.
        expected: OutPoint,
        /// What input 0 spends.
        found: OutPoint,
    },
    /// Output 0 is not the binding.
    #[error("output 0 does not bind the transaction to payouts of this rollup")]
    Binding,
    /// The link does not begin where the one before ends.
    #[error("the link begins with payout {found}, where {expected} comes next")]
    FirstIndex {
        /// The first payout that is not paid.
        expected: u64,
        /// The one that the link names.
        found: u64,
    },
    /// The link makes more payouts than a link may.
    #[error("the link makes {0} payouts, where {MAX_PAYOUTS} is the most")]
    TooManyPayouts(usize),
    /// A payout is not due.
    #[error("payout {index} is not due: {due} are, by this follower")]
    NotDue {
        /// The first one that is not.
        index: u64,
        /// How many are.
        due: u64,
    },
    /// The link neither pays nor moves a deposit.
    #[error("the link neither pays anything nor moves a deposit")]
    Idle,
    /// Output 1 does not go to the bridge.
    #[error("output 1 does not go to the bridge's own script")]
    Change,
    /// Output 1 is dust.
    #[error("output 1 is worth {0} sat, which is not relayed")]
    ChangeDust(u64),
    /// A payout is missing, in another place, or of another amount or script.
    #[error("the output of payout {index} is not what is due")]
    Payout {
        /// The payout.
        index: u64,
    },
    /// There is an output that nothing explains.
    #[error("output {0} is neither a payout nor the change of who pays the fee")]
    UnknownOutput(usize),
    /// An input is neither a coin of the bridge nor a coin that this signer's node knows as confirmed and unspent.
    #[error("input {0} spends something that is not confirmed and unspent")]
    UnknownInput(usize),
    /// The deposit is not credited.
    #[error("input {input} spends deposit {index}, which is its depositor's: it is not credited")]
    NotCredited {
        /// The input.
        input: usize,
        /// The deposit.
        index: u64,
    },
    /// The deposit's credit can still be undone.
    #[error("input {input} spends deposit {index}, whose credit is not final")]
    CreditNotFinal {
        /// The input.
        input: usize,
        /// The deposit.
        index: u64,
    },
    /// A coin is a miner's reward that no node relays a spend of yet.
    #[error("input {input} spends a miner's reward that is locked for {blocks} more blocks")]
    Immature {
        /// The input.
        input: usize,
        /// How many.
        blocks: u32,
    },
    /// A coin for the fee has no witness program, so that others could change the transaction's name.
    #[error("input {0} pays the fee by a script without witness program")]
    FeeScript(usize),
    /// A coin for the fee is locked as the bridge's are, such as a payment to a deposit's address without its data.
    #[error("input {0} pays the fee by an output that the federation can spend")]
    FeeFromBridge(usize),
    /// A coin for the fee has something in the PSBT for a key of the federation.
    #[error("input {0} pays the fee, and the PSBT names a key of the federation for it")]
    FeeByFederation(usize),
    /// A coin for the fee is not signed by whoever can spend it.
    #[error("input {0} pays the fee, and its owner has not signed it: the owner signs first")]
    FeeUnsigned(usize),
    /// The PSBT tells another value or script than the chain.
    #[error("the PSBT is wrong about the output that input {0} spends")]
    SpentOutput(usize),
    /// The bridge would lose money.
    #[error("the bridge spends {spent_sat} sat and gets {change_sat} sat back, with payouts of {paid_sat} sat")]
    BridgeLoses {
        /// The bridge's inputs.
        spent_sat: u64,
        /// Output 1.
        change_sat: u64,
        /// The payouts.
        paid_sat: u64,
    },
    /// The PSBT does not offer the federation's leaf, and it alone, for an input of the bridge.
    #[error("the PSBT offers another way to spend input {0} than the federation's leaf")]
    Leaf(usize),
    /// The PSBT asks for a signature that does not cover the whole transaction.
    #[error("the PSBT asks for a signature on input {0} that leaves something out")]
    Sighash(usize),
    /// A signature that the PSBT has already does not hold, or is by no key of the federation.
    #[error("the signature of {key} on input {input} does not hold")]
    Signature {
        /// The input.
        input: usize,
        /// The key.
        key: XOnlyPublicKey,
    },
    /// The transaction would be too heavy.
    #[error("the link would weigh {0} WU, where {MAX_LINK_WEIGHT_WU} are relayed")]
    Weight(u64),
    /// The outputs are worth more than the inputs.
    #[error("the outputs are worth more than the inputs")]
    Overspent,
    /// The fee is below the signer's bound.
    #[error("the fee of {fee_sat} sat is below {min} for {weight_wu} WU")]
    FeeTooLow {
        /// The fee.
        fee_sat: u64,
        /// The weight with all signatures.
        weight_wu: u64,
        /// The bound.
        min: FeeRate,
    },
    /// The fee is above the signer's bound.
    #[error("the fee of {fee_sat} sat is above {max} for {weight_wu} WU")]
    FeeTooHigh {
        /// The fee.
        fee_sat: u64,
        /// The weight with all signatures.
        weight_wu: u64,
        /// The bound.
        max: FeeRate,
    },
}
