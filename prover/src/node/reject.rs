//! What bitcoind's reasons for refusing a transaction mean.

use super::{RejectClass, Rejection};

/// Reasons of bitcoind by their beginnings, the first that fits; from its `validation.cpp` and `policy/`, of several versions.
const REASONS: [(&str, RejectClass); 33] = [
    ("missing-inputs", RejectClass::MissingInputs),
    ("missing-ephemeral-spends", RejectClass::Policy),
    ("bad-txns-inputs-missingorspent", RejectClass::MissingInputs),
    ("Missing inputs", RejectClass::MissingInputs),
    ("Inputs missing or spent", RejectClass::MissingInputs),
    ("txn-mempool-conflict", RejectClass::Conflict),
    ("bip125-replacement-disallowed", RejectClass::Conflict),
    ("bad-txns-spends-conflicting-tx", RejectClass::Conflict),
    ("replacement-adds-unconfirmed", RejectClass::Conflict),
    ("too many potential replacements", RejectClass::Conflict),
    ("conflict-in-package", RejectClass::Conflict),
    ("min relay fee not met", RejectClass::FeeTooLow),
    ("mempool min fee not met", RejectClass::FeeTooLow),
    ("mempool full", RejectClass::FeeTooLow),
    ("insufficient fee", RejectClass::FeeTooLow),
    ("replacement-failed", RejectClass::FeeTooLow),
    ("package RBF failed: insufficient", RejectClass::FeeTooLow),
    ("package RBF failed: package feerate", RejectClass::FeeTooLow),
    ("package RBF failed", RejectClass::Conflict),
    ("too-long-mempool-chain", RejectClass::PackageLimit),
    ("too-large-cluster", RejectClass::PackageLimit),
    ("package-mempool-limits", RejectClass::PackageLimit),
    ("package-too-", RejectClass::PackageLimit),
    ("non-final", RejectClass::TooEarly),
    ("non-BIP68-final", RejectClass::TooEarly),
    ("bad-txns-premature-spend-of-coinbase", RejectClass::TooEarly),
    ("bad-txns-nonstandard-inputs", RejectClass::Policy),
    ("bad-txns-too-many-sigops", RejectClass::Policy),
    ("bad-txns", RejectClass::Consensus),
    ("block-script-verify-flag-failed", RejectClass::Consensus),
    ("mandatory-script-verify-flag-failed", RejectClass::Consensus),
    ("coinbase", RejectClass::Consensus),
    ("TX decode failed", RejectClass::Consensus),
];

/// Sorts a reason of bitcoind; what is not known counts as policy, because nodes invent rules of relay more often than rules
/// of consensus.
pub(super) fn classify(reason: String) -> Rejection {
    let known = REASONS.iter().find(|(beginning, _)| reason.starts_with(beginning));
    Rejection { class: known.map_or(RejectClass::Policy, |(_, class)| *class), reason }
}
