//! Where the chain is read and transactions go: by options, or else by the environment.

use super::{
    console::Console,
    data_dir::DataDir,
    environment::variable,
    failure::{Exit, Failure, Fallible, Result},
    session::{Source, read_params},
};
use bitcoin::{Network, ScriptBuf};
use clap::{Args, builder::NonEmptyStringValueParser};
use std::{path::PathBuf, time::Duration};
use taproof_base::network_name::network_name;
use taproof_bitcoin::node::{
    ChainSource, EmbeddedNode, EsploraNode, NodeError, Patience, RpcAuth, RpcNode, check_address,
};
use zeroize::Zeroizing;

/// How long an Esplora server that puts an answer off is waited for, all pauses before that answer together.
const PATIENCE: Duration = Duration::from_secs(600);
/// The variables of the environment that stand for options. An option on the command line comes before any of them.
const NODE: &str = "TAPROOF_NODE";
const ESPLORA: &str = "TAPROOF_ESPLORA";
const COOKIE: &str = "TAPROOF_NODE_COOKIE";
const USER: &str = "TAPROOF_NODE_USER";
const PASSWORD: &str = "TAPROOF_NODE_PASSWORD";

/// Where the chain is read and transactions go.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct NodeOptions {
    /// The address of a bitcoind, http://host:port, or TAPROOF_NODE; without a node or a server, the embedded regtest
    /// chain of the data directory.
    #[arg(long, value_parser = NonEmptyStringValueParser::new(), value_name = "URL", conflicts_with = "esplora")]
    node: Option<String>,
    /// The address of an Esplora server to read the chain from, like https://blockstream.info/api, or
    /// TAPROOF_ESPLORA; nothing it says is believed.
    #[arg(long, value_parser = NonEmptyStringValueParser::new(), value_name = "URL")]
    esplora: Option<String>,
    /// The node's cookie file, or TAPROOF_NODE_COOKIE.
    #[arg(long, value_name = "FILE", conflicts_with = "esplora")]
    cookie: Option<PathBuf>,
    /// The user for the node, where it has no cookie, or TAPROOF_NODE_USER.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["cookie", "esplora"])]
    node_user: Option<String>,
    /// The password for the node, or TAPROOF_NODE_PASSWORD.
    #[arg(long, value_name = "PASSWORD", conflicts_with_all = ["cookie", "esplora"])]
    node_password: Option<String>,
}

/// Where the chain is, when options and environment have been weighed.
#[derive(Debug)]
enum Place {
    /// In the data directory.
    Embedded,
    /// At a bitcoind.
    Node(String, RpcAuth),
    /// At an Esplora server.
    Esplora(String),
}

/// What the address of a bitcoind is.
const NODE_FORM: &str = "bitcoind's is http://127.0.0.1 with the port of rpcport, http://127.0.0.1:8332 on mainnet";
/// What the address of an Esplora server is.
const SERVER_FORM: &str =
    "an Esplora server's is like https://blockstream.info/api, to the end of what comes before /blocks";

fn expect_address(url: &str, form: &str) -> Result {
    check_address(url).or_exit(Exit::Usage).map_err(|failure| failure.advise(form))
}

/// The same of an address from the environment, which the failure names.
fn expect_address_in(name: &'static str, url: &str, form: &str) -> Result {
    check_address(url).or_exit_while(Exit::Usage, name).map_err(|failure| failure.advise(form))
}

/// A failure to reach who was named, with the form that such an address has.
fn unreached(error: NodeError, form: &str) -> Failure {
    match error {
        NodeError::Unreachable { .. } | NodeError::Timeout { .. } => {
            Failure::from(error).advise(format!("see that it runs and that this is its address: {form}"))
        }
        error => error.into(),
    }
}

impl NodeOptions {
    /// Whether the chain is the embedded one.
    pub(crate) fn is_embedded(&self) -> Result<bool> {
        Ok(matches!(self.place(variable)?, Place::Embedded))
    }

    /// Whether there is a chain to ask: one that is named, or the embedded one.
    pub(crate) fn is_at_hand(&self, dir: &DataDir) -> Result<bool> {
        Ok(!self.is_embedded()? || dir.chain().exists())
    }

    /// Opens the chain; blocks that the embedded one mines pay to `reward_to`.
    pub(crate) fn open(
        &self,
        dir: &DataDir,
        network: Network,
        reward_to: ScriptBuf,
        console: Console,
    ) -> Result<Source> {
        match self.place(variable)? {
            Place::Embedded => {
                let advice = format!(
                    "name the node that the rollup was founded on with --node URL or {NODE}, or an Esplora server \
                     with --esplora URL"
                );
                open_embedded(dir, network, reward_to, &advice)
            }
            Place::Node(url, auth) => {
                let node = RpcNode::connect(&url, &auth, network);
                Ok(Source::Rpc(node.map_err(|error| unreached(error, NODE_FORM))?))
            }
            Place::Esplora(url) => {
                let patience = Patience::new(PATIENCE, move |error, pause| {
                    console.note(format!("waiting {:.0} s: {error}", pause.as_secs_f64().ceil()));
                });
                let server = EsploraNode::connect_patiently(&url, network, patience);
                Ok(Source::Esplora(server.map_err(|error| unreached(error, SERVER_FORM))?))
            }
        }
    }

    fn place(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Place> {
        if let Some(url) = &self.node {
            expect_address(url, NODE_FORM)?;
            return Ok(Place::Node(url.clone(), self.auth(&variable)?));
        }
        if let Some(url) = &self.esplora {
            expect_address(url, SERVER_FORM)?;
            return Ok(Place::Esplora(url.clone()));
        }
        let names_caller = self.cookie.is_some() || self.node_user.is_some() || self.node_password.is_some();
        match (variable(NODE), variable(ESPLORA)) {
            (Some(url), esplora) if names_caller || esplora.is_none() => {
                expect_address_in(NODE, &url, NODE_FORM)?;
                Ok(Place::Node(url, self.auth(&variable)?))
            }
            (Some(_), _) => {
                let failure = Failure::new(Exit::Usage, format!("{NODE} and {ESPLORA} are both set"));
                Err(failure.advise("unset one of them, or say which with --node URL or --esplora URL"))
            }
            (None, _) if names_caller => {
                let failure = Failure::new(Exit::Usage, "a cookie, user or password is given, and no node");
                Err(failure.advise(format!("name the node with --node URL, or set {NODE}")))
            }
            (None, Some(url)) => {
                expect_address_in(ESPLORA, &url, SERVER_FORM)?;
                Ok(Place::Esplora(url))
            }
            (None, None) => Ok(Place::Embedded),
        }
    }

    /// How the node knows who calls.
    fn auth(&self, variable: &impl Fn(&str) -> Option<String>) -> Result<RpcAuth> {
        let with_user = |user: String| {
            let password = self.node_password.clone().or_else(|| variable(PASSWORD)).unwrap_or_default();
            RpcAuth::UserPassword { user, password: Zeroizing::new(password) }
        };
        if let Some(cookie) = &self.cookie {
            return Ok(RpcAuth::CookieFile(cookie.clone()));
        }
        if let Some(user) = &self.node_user {
            return Ok(with_user(user.clone()));
        }
        let cookie = variable(COOKIE).filter(|_| self.node_password.is_none());
        if let Some(cookie) = cookie {
            return Ok(RpcAuth::CookieFile(cookie.into()));
        }
        if let Some(user) = variable(USER) {
            return Ok(with_user(user));
        }
        let failure = Failure::new(Exit::Input, "the node wants to know who calls");
        Err(failure.advise(format!("give --cookie FILE or set {COOKIE}, or give --node-user and --node-password")))
    }
}

/// Opens the embedded chain, if the rollup of the data directory lives on it; says else what there is to do.
pub(super) fn open_embedded(
    dir: &DataDir,
    network: Network,
    reward_to: ScriptBuf,
    elsewhere_advice: &str,
) -> Result<Source> {
    if network != Network::Regtest {
        let failure =
            Failure::new(Exit::Input, format!("the rollup lives on {}, not on regtest", network_name(network)));
        return Err(failure.advise(elsewhere_advice));
    }
    let start = if dir.params().exists() { Some(read_params(&dir.params())?.start) } else { None };
    let elsewhere = || {
        let start = start.map_or_else(String::new, |start| format!(" after block {start}"));
        let message = format!("the rollup starts{start}, which the embedded regtest chain does not have");
        Failure::new(Exit::Input, message).advise(elsewhere_advice)
    };
    // No chain is made where the rollup cannot live on it.
    if start.is_some_and(|start| start.height > 0) && !dir.chain().exists() {
        return Err(elsewhere());
    }
    dir.create()?;
    let node = EmbeddedNode::open(&dir.chain(), reward_to).or_exit(Exit::Failed)?;
    // Where it has another block there, whoever follows says that the start is lost.
    match start {
        Some(start) if node.block_hash(start.height)?.is_none() => Err(elsewhere()),
        _ => Ok(Source::Embedded(node)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        node: NodeOptions,
    }

    /// Where the chain is for options and variables, in words; or what is wrong.
    fn place(options: &[&str], variables: &[(&str, &str)]) -> String {
        let line = Line::try_parse_from([&["taproof"], options].concat());
        let Ok(Line { node }) = line else { return "usage".to_owned() };
        let variable = |name: &str| {
            let set = variables.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
            set.filter(|value| !value.is_empty())
        };
        match node.place(variable) {
            Ok(Place::Embedded) => "embedded".to_owned(),
            Ok(Place::Esplora(url)) => format!("esplora {url}"),
            Ok(Place::Node(url, auth)) => format!("{url} {auth:?}"),
            Err(failure) => failure.message(),
        }
    }

    #[test]
    fn an_option_comes_before_the_environment() {
        let both = [("TAPROOF_NODE", "http://n"), ("TAPROOF_NODE_COOKIE", "c"), ("TAPROOF_ESPLORA", "http://e")];
        assert_eq!(place(&[], &[]), "embedded");
        assert_eq!(place(&[], &both[..2]), "http://n CookieFile(c)");
        assert_eq!(place(&[], &both[2..]), "esplora http://e");
        assert_eq!(place(&["--esplora", "http://x"], &both[..2]), "esplora http://x");
        assert_eq!(place(&["--node", "http://x"], &both), "http://x CookieFile(c)");
        assert_eq!(place(&["--cookie", "d"], &both), "http://n CookieFile(d)");
        assert_eq!(place(&["--node-user", "me"], &both), "http://n UserPassword(me)");
        assert_eq!(place(&[], &[("TAPROOF_NODE", ""), ("TAPROOF_ESPLORA", "")]), "embedded");
        assert!(place(&[], &both).contains("both set"));
    }

    #[test]
    fn what_is_no_address_is_told_before_all_else() {
        let node = "foo is no address: write http://host:port or https://host, and the user and password separately";
        assert_eq!(place(&["--node", "foo"], &[]), node);
        assert_eq!(place(&[], &[("TAPROOF_NODE", "foo")]), format!("TAPROOF_NODE: {node}"));
        assert_eq!(place(&["--esplora", "foo"], &[]), node);
        assert_eq!(place(&[], &[("TAPROOF_ESPLORA", "foo")]), format!("TAPROOF_ESPLORA: {node}"));
        let secret = place(&["--node", "http://me:secret@host:1"], &[]);
        assert!(secret.starts_with("host:1 is no address"), "{secret}");
    }

    #[test]
    fn who_does_not_answer_is_told_with_the_form_of_such_an_address() {
        let down = || NodeError::Unreachable { url: "http://127.0.0.1:1".to_owned(), reason: "refused".to_owned() };
        let server = unreached(down(), SERVER_FORM);
        assert_eq!(server.message(), "http://127.0.0.1:1 does not answer: refused");
        let (server, node) =
            (server.advice().unwrap_or_default(), unreached(down(), NODE_FORM).advice().unwrap_or_default());
        assert!(server.contains("Esplora") && !server.contains("rpcport"), "{server}");
        assert!(node.contains("rpcport") && !node.contains("Esplora"), "{node}");
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        assert_eq!(place(&["--node", "http://x", "--esplora", "http://y"], &[]), "usage");
        assert_eq!(place(&["--node", "http://x", "--cookie", "c", "--node-user", "me"], &[]), "usage");
        assert!(place(&["--cookie", "c"], &[("TAPROOF_ESPLORA", "http://e")]).contains("no node"));
        assert!(place(&["--node", "http://x"], &[]).contains("who calls"));
        let user = [("TAPROOF_NODE_USER", "me"), ("TAPROOF_NODE_PASSWORD", "secret")];
        assert_eq!(place(&["--node", "http://x"], &user), "http://x UserPassword(me)");
    }
}
