//! What bitcoind's reasons for refusing a transaction mean.

use super::{RejectClass, Rejection};
use taproof_base::shown::shown;

/// Reasons of bitcoind by their beginnings, the first that fits; from its `validation.cpp` and `policy/`, of several
/// versions.
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

/// Sorts a reason of bitcoind; what is not known counts as policy, because nodes invent rules of relay more often
/// than rules of consensus.
pub(super) fn classify(reason: String) -> Rejection {
    let known = REASONS.iter().find(|(beginning, _)| reason.starts_with(beginning));
    // It is kept, and told in many places.
    Rejection { class: known.map_or(RejectClass::Policy, |(_, class)| *class), reason: shown(reason) }
}

/// What lets anchors into a Bitcoin Knots, which by default takes neither a reveal's data nor their number, counts
/// them for more than they weigh, and takes no script as long as a payload.
const KNOTS: &str = "start the node with -corepolicy, as Bitcoin Knots needs it, or send through another node";
const ANNOUNCEMENT: &str = "start the node with -datacarrier=1 -datacarriersize=83, or send through another node";

/// Reasons by which nodes keep anchors out by a policy of their own, by their beginnings, and what lets anchors in.
const POLICIES: [(&str, &str); 5] = [
    ("txn-datacarrier-", KNOTS),
    ("bad-witness-", KNOTS),
    ("scriptpubkey", ANNOUNCEMENT),
    ("datacarrier", ANNOUNCEMENT),
    (
        "min relay fee not met",
        "raise --fee-floor, or where the node is Bitcoin Knots, which counts data for more than they weigh, start it \
         with -corepolicy",
    ),
];

/// What to change of a node's own policy, where its reason is one that keeps anchors out.
pub fn policy_advice(reason: &str) -> Option<&'static str> {
    POLICIES.iter().find(|(beginning, _)| reason.starts_with(beginning)).map(|(_, advice)| *advice)
}
