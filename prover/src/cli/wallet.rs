//! `taproof wallet`.

use super::{
    Global,
    coins::Coins,
    environment::variable,
    failure::{Exit, Failure, Fallible, Result},
    form::or_misplaced,
    input::InputError,
    output::expect_folder_of,
    path_text,
    session::read_params,
};
use bitcoin::Network;
use clap::{Args, Subcommand};
use serde::Serialize;
use std::{
    cell::OnceCell,
    fmt,
    fs::File,
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
};
use taproof_base::{network_name::network_name, shown::shown};
use taproof_circuits::schnorr::SecretKey;
use taproof_wallet::{Phrase, Wallet, WalletError, WordsFile};
use zeroize::Zeroizing;

/// Makes and shows keys: owners' on the rollup and the poster's on Bitcoin, from a BIP-39 mnemonic.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taproof wallet new
  taproof wallet new --encrypt
  taproof wallet encrypt
  taproof wallet keys --count 3
  taproof wallet import < words.txt")]
pub(crate) struct WalletCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Makes 24 new words and keeps them in the data directory, readable by you alone.
    New(NewFile),
    /// Reads words from standard input and keeps them.
    Import(NewFile),
    /// Encrypts the words that are kept with a password, in their place.
    Encrypt(KeyFile),
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
    /// A file whose first line is the password of encrypted words. TAPROOF_WALLET_PASSWORD may be the password itself;
    /// without either it is asked for where there is a terminal.
    #[arg(long, env = PASSWORD_FILE_VARIABLE, value_name = "FILE")]
    wallet_password_file: Option<PathBuf>,
    /// The words, once they are read: a password is asked for once.
    #[arg(skip)]
    words: OnceCell<Phrase>,
}

/// The variable that names the file of a password.
const PASSWORD_FILE_VARIABLE: &str = "TAPROOF_WALLET_PASSWORD_FILE";
/// The variable that is a password; there is no option for it, which everybody could see in the list of processes.
const PASSWORD_VARIABLE: &str = "TAPROOF_WALLET_PASSWORD";
/// The longest file of a password.
const PASSWORD_BYTES_MAX: u64 = 4_096;

/// Where new words go.
#[derive(Clone, Debug, Args)]
struct NewFile {
    #[command(flatten)]
    file: KeyFile,
    /// Encrypts the words with a password, in the format of age.
    #[arg(long)]
    encrypt: bool,
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
    pub(crate) account: u32,
    /// The number of the owner's key in its account.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) index: u32,
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

    /// The words, opened with the password if they are encrypted.
    fn words(&self, global: &Global) -> Result<Phrase> {
        if let Some(words) = self.words.get() {
            return Ok(words.clone());
        }
        let path = self.path(global);
        let file = WordsFile::read(&path).or_exit(Exit::Input).map_err(|failure| match failure.is_missing() {
            false => or_misplaced(failure, &path, "a wallet"),
            // Other words have other keys, which own nothing of a rollup that was run from here.
            true if global.data_dir().params().exists() => failure.advise(
                "if there was a wallet here, bring back your copy of its words with `taproof wallet import`: only they \
                 have the keys that were used here; if there never was one, make it with `taproof wallet new`",
            ),
            true => failure.advise("make a wallet with `taproof wallet new`"),
        })?;
        let words = match file {
            WordsFile::Plain(words) => words,
            WordsFile::Encrypted(words) => {
                let password = self.password(&path, &["password of"])?;
                words.open(&password).or_exit(Exit::Input)?
            }
        };
        Ok(self.words.get_or_init(|| words).clone())
    }

    /// The password from the file, the environment, or the terminal, where each prompt must get the same answer.
    fn password(&self, path: &Path, prompts: &[&str]) -> Result<Zeroizing<String>> {
        if let Some(file) = &self.wallet_password_file {
            let doing = || file.display().to_string();
            let mut bytes = Zeroizing::new(Vec::with_capacity(PASSWORD_BYTES_MAX as usize + 1));
            let opened = File::open(file).or_exit_while(Exit::Input, doing())?;
            opened.take(PASSWORD_BYTES_MAX).read_to_end(&mut bytes).or_exit_while(Exit::Input, doing())?;
            let text = std::str::from_utf8(&bytes).map_err(|_| InputError::NoText);
            let text = text.or_exit_while(Exit::Input, doing())?;
            let first = text.lines().next().filter(|line| !line.is_empty()).ok_or_else(|| {
                let failure =
                    Failure::new(Exit::Input, format!("the password is empty: {} has none in its first line", doing()));
                failure.advise("write the password into the first line")
            })?;
            return Ok(Zeroizing::new(first.to_owned()));
        }
        if let Some(password) = variable(PASSWORD_VARIABLE) {
            return Ok(Zeroizing::new(password));
        }
        if !io::stderr().is_terminal() {
            let failure = Failure::new(Exit::Input, format!("the words in {} need a password", path.display()));
            return Err(
                failure.advise(format!("name its file with --wallet-password-file, or set {PASSWORD_VARIABLE}"))
            );
        }
        let ask =
            |prompt: &&str| rpassword::prompt_password(format!("{prompt} {}: ", path.display())).map(Zeroizing::new);
        let answers = prompts.iter().map(ask).collect::<io::Result<Vec<_>>>()?;
        match answers.iter().all(|answer| *answer == answers[0]) {
            true => Ok(answers[0].clone()),
            false => Err(Failure::new(Exit::Input, "the passwords differ")),
        }
    }

    /// A password for words that are to be encrypted.
    fn new_password(&self, path: &Path) -> Result<Zeroizing<String>> {
        self.password(path, &["new password of", "the same again, of"])
    }
}

impl WalletOptions {
    /// Reads the wallet.
    pub(crate) fn open(&self, global: &Global) -> Result<Wallet> {
        let network = self.network(global)?.unwrap_or(Network::Regtest);
        let phrase = self.file.words(global)?;
        Ok(Wallet::new(&phrase, &self.passphrase, network))
    }

    /// The network of the data directory's rollup, or the one that is named where there is no rollup; none if neither.
    /// Keys differ by network, so another one than the rollup's would make keys that own nothing on it.
    pub(crate) fn network(&self, global: &Global) -> Result<Option<Network>> {
        let path = global.data_dir().params();
        if !path.exists() {
            return Ok(self.network);
        }
        let rollup = read_params(&path)?.network;
        match self.network {
            Some(named) if named != rollup => {
                let failure = Failure::new(
                    Exit::Input,
                    format!("the rollup lives on {}, not on {}", network_name(rollup), network_name(named)),
                );
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
    /// The key that signs reveals where `anchor run --hot-key` is used; that one is the poster's then.
    hot_key: String,
    owners: Vec<KeyReport>,
}

#[derive(Serialize)]
struct WalletReport {
    #[serde(serialize_with = "path_text::serialize")]
    wallet: PathBuf,
    encrypted: bool,
}

impl fmt::Display for KeysReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "network         {}", network_name(self.network))?;
        writeln!(f, "poster address  {}", self.poster_address)?;
        writeln!(f, "poster key      {}", self.poster_key)?;
        write!(f, "hot key         {}", self.hot_key)?;
        self.owners
            .iter()
            .try_for_each(|key| write!(f, "\n{:<15} {}", format!("owner {}/{}", key.account, key.index), key.owner))
    }
}

/// The longest text that words are looked for in.
const WORDS_LENGTH_MAX: usize = 4_096;

impl WalletCommand {
    pub(crate) fn run(self, global: &Global) -> Result {
        match self.action {
            Action::New(file) => file.keep(&Phrase::generate()?, global),
            Action::Import(file) => {
                let mut bytes = Zeroizing::new(Vec::with_capacity(WORDS_LENGTH_MAX + 1));
                let read = io::stdin().lock().take(WORDS_LENGTH_MAX as u64).read_to_end(&mut bytes);
                read.or_exit_while(Exit::Failed, "standard input")?;
                let no_text = |_| Failure::new(Exit::Input, "standard input is no text, so it holds no words");
                let words = std::str::from_utf8(&bytes).map_err(no_text)?;
                file.keep(&Phrase::parse(words).or_exit(Exit::Input)?, global)
            }
            Action::Encrypt(file) => {
                let path = file.path(global);
                // What cannot be encrypted is told before a password is asked for.
                Phrase::read_file(&path).or_exit(Exit::Input)?;
                WordsFile::encrypt(&path, &file.new_password(&path)?).or_exit(Exit::Input)?;
                global.console().report(&WalletReport { wallet: path, encrypted: true }, |report| {
                    let caution = "copies and backups of the words that were made before are not encrypted";
                    format!("the words in {} are encrypted; {caution}", shown(report.wallet.display()))
                })
            }
            Action::Words(file) => {
                let words = file.words(global)?.reveal();
                global.console().produce(&serde_json::json!({ "words": words.as_str() }), |_| words.as_str())
            }
            Action::Keys(keys) => keys.run(global),
            Action::Coins(coins) => coins.run(global),
        }
    }
}

impl NewFile {
    fn keep(&self, phrase: &Phrase, global: &Global) -> Result {
        let path = self.file.path(global);
        let exists = || {
            let failure = Failure::of(Exit::Input, WalletError::Exists(path.clone()));
            failure.advise("name another file with --wallet FILE")
        };
        if path.exists() {
            return Err(exists());
        }
        match &self.file.wallet {
            Some(named) => expect_folder_of(named)?,
            None => global.data_dir().create()?,
        }
        let created = match self.encrypt {
            true => phrase.create_encrypted_file(&path, &self.file.new_password(&path)?),
            false => phrase.create_file(&path),
        };
        created.map_err(|error| match error {
            WalletError::Exists(_) => exists(),
            WalletError::EmptyPassword => Failure::of(Exit::Input, error),
            error => Failure::from(error),
        })?;
        global.console().report(&WalletReport { wallet: path, encrypted: self.encrypt }, |report| {
            let how = if report.encrypted { "encrypted " } else { "" };
            format!("words kept {how}in {}; write them down: taproof wallet words", shown(report.wallet.display()))
        })
    }
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
            hot_key: wallet.hot_key(0)?.public().to_string(),
            owners,
        };
        global.console().report(&report, ToString::to_string)
    }
}
