//! What to do about what a node says, whichever command met it.

use super::failure::Exit;
use crate::demo::DemoError;
use std::{error::Error, io};
use taproof_bitcoin::{
    anchoring::ServiceError,
    follow::FollowError,
    light::ExcerptError,
    node::{NodeError, policy_advice},
};
use taproof_rollup::rebuild::RebuildError;

/// The node's failure among an error and its causes, if a node caused it.
pub(super) fn node_error(error: &anyhow::Error) -> Option<&NodeError> {
    error.chain().find_map(of_node)
}

fn of_node<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a NodeError> {
    let followed = |error: &'a FollowError| match error {
        FollowError::Node(error) | FollowError::Excerpt(ExcerptError::Node(error)) => Some(error),
        _ => None,
    };
    if let Some(error) = error.downcast_ref::<NodeError>() {
        return Some(error);
    }
    if let Some(error) = error.downcast_ref::<FollowError>() {
        return followed(error);
    }
    match error.downcast_ref::<ServiceError>() {
        Some(ServiceError::Node(error)) => return Some(error),
        Some(ServiceError::Follow(error)) => return followed(error),
        _ => {}
    }
    match (error.downcast_ref::<RebuildError>(), error.downcast_ref::<DemoError>()) {
        (Some(RebuildError::Follow(error)), _) | (_, Some(DemoError::Follow(error))) => followed(error),
        (_, Some(DemoError::Node(error))) => Some(error),
        _ => None,
    }
}

/// The exit code of a node's failure: what was named is not what it must be, or something else failed.
pub(super) fn exit(error: &NodeError) -> Exit {
    match error {
        NodeError::Url(_)
        | NodeError::Cookie { .. }
        | NodeError::Unauthorized { .. }
        | NodeError::Network { .. }
        | NodeError::NotEsplora { .. }
        | NodeError::NotHttp { .. } => Exit::Input,
        _ => Exit::Failed,
    }
}

/// What the user can do about a node's failure, where there is something.
pub(super) fn advice(error: &NodeError) -> Option<String> {
    let text = match error {
        NodeError::Cookie { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            "name the file with --cookie: bitcoind writes .cookie into its data directory, or a network's folder \
             there, \
             when it starts, and removes it when it ends"
        }
        NodeError::Cookie { .. } => "let this user read the file, or give --node-user and --node-password",
        NodeError::Unauthorized { .. } => {
            "name the cookie of the node that runs now, or the user and password of its rpcauth"
        }
        NodeError::Forbidden { method, .. } => {
            return Some(format!(
                "add {method} to the rpcwhitelist of this user in the node's configuration, and this machine to \
                 rpcallowip"
            ));
        }
        NodeError::Pruned { .. } => {
            "ask a node that has the blocks from there on (prune=0, then -reindex), or an Esplora server with \
             --esplora URL"
        }
        NodeError::Network { .. } => "name a node of the rollup's network",
        NodeError::NotEsplora { .. } => {
            "see that the address is that of the interface, which on many servers ends in /api, and begins with \
             https:// where the \
             server wants it; a bitcoind is named with --node"
        }
        NodeError::NotHttp { .. } => {
            "name the port of the node's RPC (8332, 18443 on regtest), not the one on which nodes talk to each other \
             (8333, 18444)"
        }
        NodeError::Unreachable { .. } | NodeError::Timeout { .. } => "see that it runs and that this is its address",
        NodeError::Http { status: 429 | 503, .. } => "wait, and run again: what was read of the chain is kept",
        NodeError::Rejected { rejection, .. } => {
            return policy_advice(&rejection.reason).map(ToOwned::to_owned);
        }
        error if error.is_transient() => "try again in a moment",
        _ => return None,
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::failure::Failure;
    use bitcoin::{BlockHash, Txid, hashes::Hash};
    use taproof_bitcoin::node::{RejectClass, Rejection};

    /// The exit code, the message and the advice of a failure.
    fn told(failure: &Failure) -> (Exit, String, String) {
        (failure.exit(), failure.message(), failure.advice().unwrap_or_default())
    }

    #[test]
    fn a_nodes_failure_is_told_with_what_to_do_whatever_command_met_it() {
        let cookie = || NodeError::Cookie { path: "/x/.cookie".into(), source: io::ErrorKind::NotFound.into() };
        for failure in [
            Failure::from(cookie()),
            Failure::of(Exit::Failed, FollowError::from(cookie())),
            Failure::of(Exit::Failed, ServiceError::from(FollowError::from(cookie()))),
            Failure::of(Exit::Failed, RebuildError::from(FollowError::from(cookie()))),
            Failure::of(Exit::Failed, anyhow::Error::from(cookie()).context("following")),
        ] {
            let (exit, message, advice) = told(&failure);
            assert_eq!(exit, Exit::Input, "{message}");
            assert!(message.contains("/x/.cookie") && advice.contains("--cookie"), "{message}: {advice}");
        }
    }

    #[test]
    fn each_failure_has_its_own_words() {
        let url = || "http://n".to_owned();
        let forbidden = NodeError::Forbidden { url: url(), method: "getblock" };
        let (exit, message, advice) = told(&forbidden.into());
        assert_eq!(
            (exit, message.as_str()),
            (Exit::Failed, "the node at http://n does not allow getblock to this caller")
        );
        assert!(advice.contains("add getblock to the rpcwhitelist"), "{advice}");

        let pruned = NodeError::Pruned { hash: BlockHash::all_zeros(), height: Some(7), kept_from: Some(900) };
        let (_, message, advice) = told(&pruned.into());
        assert!(message.contains("at height 7") && message.contains("from height 900 on"), "{message}");
        assert!(advice.contains("--esplora"), "{advice}");

        let limited =
            NodeError::Http { url: url(), status: 429, retry_after: Some(std::time::Duration::from_secs(90)) };
        let (_, message, advice) = told(&limited.into());
        assert!(
            message.ends_with("status 429 and asks to wait 90 s") && advice.contains("is kept"),
            "{message}: {advice}"
        );

        for (reason, option) in [
            ("bad-witness-witness-size", "-corepolicy"),
            ("min relay fee not met, 325 < 643", "-corepolicy"),
            ("txn-datacarrier-exceeded", "-corepolicy"),
            ("scriptpubkey", "-datacarriersize=83"),
        ] {
            let rejection = Rejection { class: RejectClass::Policy, reason: reason.to_owned() };
            let (_, _, advice) = told(&NodeError::Rejected { txid: Txid::all_zeros(), rejection }.into());
            assert!(advice.contains(option), "{reason}: {advice}");
        }
        let (exit, ..) = told(&NodeError::Unauthorized { url: url() }.into());
        assert_eq!(exit, Exit::Input);
        let said = Failure::from(NodeError::Unauthorized { url: url() }).advise("this");
        assert_eq!(said.advice().as_deref(), Some("this"), "what was said where it failed comes first");
    }
}
