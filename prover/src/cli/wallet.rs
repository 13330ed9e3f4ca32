//! `taproof wallet`.

use super::{
    Global,
    coins::Coins,
    data_dir::DataDir,
    failure::{Exit, Failure, Fallible, Result},
    session::read_params,
};
use bitcoin::Network;
use clap::{Args, Subcommand};
use serde::Serialize;
use std::{
    fmt,
    io::{self, Read},
    path::PathBuf,
};
use taproof::wallet::{Phrase, Wallet, WalletError};
use taproof_circuits::schnorr::SecretKey;
use zeroize::Zeroizing;

/// Makes and shows keys: owners' on the rollup and the poster's on Bitcoin, from a BIP-39 mnemonic.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taproof wallet new
  taproof wallet keys --count 3
  taproof wallet import < words.txt")]
pub(crate) struct WalletCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Makes 24 new words and keeps them in the data directory, readable by you alone.
    New(KeyFile),
    /// Reads words from standard input and keeps them.
    Import(KeyFile),
    /// Prints the words: whoever sees them has every key.
    Words(KeyFile),
    /// Lists owners' keys and the poster's address.
    Keys(Keys),
    Coins(Coins),
}

/// Where the words are.
#[derive(Clone, Debug, Args)]
pub(crate) struct KeyFile {
    /// The file of the words; `wallet.words` in the data directory if not given.
    #[arg(long, value_name = "FILE")]
    wallet: Option<PathBuf>,
}

/// Which wallet to use.
#[derive(Clone, Debug, Args)]
pub(crate) struct WalletOptions {
    #[command(flatten)]
    file: KeyFile,
    /// The passphrase of BIP-39, if the words have one.
    #[arg(long, env = "TAPROOF_PASSPHRASE", hide_env_values = true, default_value = "", value_name = "WORDS")]
    passphrase: String,
    /// The network that keys are derived for; the rollup's if not given, and regtest while there is no rollup.
    #[arg(long, value_parser = network, value_name = "NETWORK")]
    network: Option<Network>,
}

/// A network by its name, as bitcoind and its tools have it, or as people say it.
fn network(text: &str) -> std::result::Result<Network, String> {
    let known = if text == "mainnet" { Ok(Network::Bitcoin) } else { text.parse() };
    known
        .or_else(|_| Network::from_core_arg(text))
        .map_err(|_| "a network is mainnet, testnet, testnet4, signet or regtest".to_owned())
}

/// Which of an owner's keys.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct KeyNumber {
    /// The wallet's account that the owner's key belongs to.
    #[arg(long, default_value_t = 0, value_name = "N")]
    account: u32,
    /// The number of the owner's key in its account.
    #[arg(long, default_value_t = 0, value_name = "N")]
    index: u32,
}

#[derive(Debug, Args)]
struct Keys {
    #[command(flatten)]
    wallet: WalletOptions,
    #[command(flatten)]
    first: KeyNumber,
    /// How many owners' keys to list, from that one on.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
}

impl KeyFile {
    fn path(&self, global: &Global) -> PathBuf {
        self.wallet.clone().unwrap_or_else(|| global.data_dir().wallet())
    }
}

impl WalletOptions {
    /// Reads the wallet.
    pub(crate) fn open(&self, global: &Global) -> Result<Wallet> {
        let network = self.network(global)?.unwrap_or(Network::Regtest);
        let phrase = read_phrase(&self.file.path(global))?;
        Ok(Wallet::new(&phrase, &self.passphrase, network))
    }

    /// The network of the data directory's rollup, or the one that is named where there is no rollup; none if neither. Keys differ by
    /// network, so another one than the rollup's would make keys that own nothing on it.
    pub(crate) fn network(&self, global: &Global) -> Result<Option<Network>> {
        let path = global.data_dir().params();
        if !path.exists() {
            return Ok(self.network);
        }
        let rollup = read_params(&path)?.network;
        match self.network {
            Some(named) if named != rollup => {
                let failure = Failure::new(Exit::Input, format!("the rollup lives on {rollup}, not on {named}"));
                Err(failure.advise("leave out --network, or name another rollup's --dir"))
            }
            _ => Ok(Some(rollup)),
        }
    }
}

impl KeyNumber {
    /// The owner's key of this number.
    pub(crate) fn secret_key(self, wallet: &Wallet) -> Result<SecretKey> {
        wallet.owner_key(self.account, self.index).or_exit(Exit::Input)
    }
}

fn read_phrase(path: &std::path::Path) -> Result<Phrase> {
    Phrase::read_file(path).or_exit(Exit::Input).map_err(|failure| {
        if path.exists() { failure } else { failure.advise("make a wallet with `taproof wallet new`") }
    })
}

#[derive(Serialize)]
struct KeyReport {
    account: u32,
    index: u32,
    owner: String,
}

#[derive(Serialize)]
struct KeysReport {
    network: Network,
    poster_address: String,
    poster_key: String,
    owners: Vec<KeyReport>,
}

#[derive(Serialize)]
struct WalletReport {
    wallet: PathBuf,
}

impl fmt::Display for KeysReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "network         {}", self.network)?;
        writeln!(f, "poster address  {}", self.poster_address)?;
        write!(f, "poster key      {}", self.poster_key)?;
        self.owners.iter().try_for_each(|key| write!(f, "\nowner {}/{:<6} {}", key.account, key.index, key.owner))
    }
}

impl WalletCommand {
    pub(crate) fn run(self, global: &Global) -> Result {
        match self.action {
            Action::New(file) => keep(&Phrase::generate()?, file.path(global), global),
            Action::Import(file) => {
                let mut words = Zeroizing::new(String::new());
                io::stdin().lock().take(4_096).read_to_string(&mut words)?;
                keep(&Phrase::parse(&words).or_exit(Exit::Input)?, file.path(global), global)
            }
            Action::Words(file) => {
                let words = read_phrase(&file.path(global))?.reveal();
                global.console().report(&serde_json::json!({ "words": words.as_str() }), |_| words.as_str())
            }
            Action::Keys(keys) => keys.run(global),
            Action::Coins(coins) => coins.run(global),
        }
    }
}

fn keep(phrase: &Phrase, path: PathBuf, global: &Global) -> Result {
    DataDir::create_parent(&path)?;
    phrase.create_file(&path).map_err(|error| {
        let exists = matches!(error, WalletError::Exists(_));
        let failure = Failure::from(error);
        if exists { failure.advise("name another file with --wallet FILE") } else { failure }
    })?;
    global.console().report(&WalletReport { wallet: path }, |report| {
        format!("words kept in {}; write them down: taproof wallet words", report.wallet.display())
    })
}

impl Keys {
    fn run(self, global: &Global) -> Result {
        let wallet = self.wallet.open(global)?;
        let poster = wallet.poster_key(0)?;
        let mut owners = Vec::new();
        for offset in 0..self.count {
            let index = self.first.index.saturating_add(offset);
            let number = KeyNumber { index, ..self.first };
            let owner = number.secret_key(&wallet)?.public().to_string();
            owners.push(KeyReport { account: number.account, index, owner });
        }
        let report = KeysReport {
            network: wallet.network(),
            poster_address: poster.address().to_string(),
            poster_key: poster.public().to_string(),
            owners,
        };
        global.console().report(&report, ToString::to_string)
    }
}
