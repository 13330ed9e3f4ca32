//! Keys from a mnemonic: an owner's keys on the rollup and the poster's keys on Bitcoin.
//!
//! The words of BIP-39 give the seed of BIP-32. From its master key descend
//!
//! - an owner's key: `m/29808'/coin'/account'/index'`, every step hardened; the 32 bytes of the derived private key are
//!   the seed of [`SecretKey::from_seed`], which hashes them to a scalar of Baby Jubjub. 29808 is `tp` in ASCII;
//! - the poster's key: `m/86'/coin'/0'/0/index`, a single-key taproot address of BIP-86, and, for coins that are still
//!   at older addresses, the same key as a version 0 witness key hash;
//! - a bridge signer's key: `m/86'/coin'/1'/0/index`, and the key of a depositor's refund: `m/86'/coin'/2'/0/index`.
//!
//! docs/wallet.md says it for users, and how to bring the keys into other wallets.
//!
//! `coin` is 0 on mainnet and 1 on test networks (SLIP-44), so that no key is used on both.
#![forbid(unsafe_code)]

mod sealed;
mod words;

pub use sealed::{SealedError, is_encrypted};
pub use words::{EncryptedWords, Phrase, WordsFile};

use bitcoin::{
    Address, CompressedPublicKey, KnownHrp, Network, NetworkKind, ScriptBuf, XOnlyPublicKey,
    bip32::{ChildNumber, Xpriv},
    key::{Keypair, Secp256k1},
};
use std::{fmt, io, path::PathBuf};
use taproof_circuits::schnorr::SecretKey;
use zeroize::{Zeroize, Zeroizing};

/// The first step to owners' keys: `tp` in ASCII.
const OWNER_PURPOSE: u32 = 0x7470;
/// The first step to the poster's keys: BIP-86.
const POSTER_PURPOSE: u32 = 86;
/// The account of signers' keys.
const SIGNER_ACCOUNT: u32 = 1;
/// Why there is no key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalletError {
    /// The words are no mnemonic of BIP-39 in English.
    #[error("the words are no BIP-39 mnemonic: {0}")]
    Mnemonic(#[from] bip39::Error),
    /// The seed's length is not that of BIP-32.
    #[error("a seed has 16 to 64 bytes, not {0}")]
    SeedLength(usize),
    /// An account or index is 2^31 or more.
    #[error("key number {0} is not below 2^31")]
    KeyNumber(u32),
    /// A derived number is no private key, which happens to nobody by chance.
    #[error("the derivation gives no key: {0}")]
    Derivation(bitcoin::bip32::Error),
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness: {0}")]
    Randomness(rand::Error),
    /// The file that should be created is there already.
    #[error("{} exists and is not overwritten", .0.display())]
    Exists(PathBuf),
    /// Others than its owner can read the file.
    #[error("others can read {}: make it private (chmod 600)", .0.display())]
    Permissions(PathBuf),
    /// The file is longer than any mnemonic.
    #[error("{} is longer than a mnemonic", .0.display())]
    FileLength(PathBuf),
    /// The words are encrypted, and there is no password to open them with.
    #[error("the words in {} are encrypted", .0.display())]
    Encrypted(PathBuf),
    /// The words are encrypted already.
    #[error("the words in {} are encrypted already", .0.display())]
    EncryptedAlready(PathBuf),
    /// A password is empty.
    #[error("the password is empty")]
    EmptyPassword,
    /// Encrypted words are not opened.
    #[error("cannot open {}: {source}", path.display())]
    Sealed {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: SealedError,
    },
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// All keys of one seed on one network.
#[derive(Clone)]
pub struct Wallet {
    seed: Zeroizing<Vec<u8>>,
    network: Network,
}

impl Wallet {
    /// The wallet of a mnemonic and its optional passphrase, empty for none.
    pub fn new(phrase: &Phrase, passphrase: &str, network: Network) -> Self {
        let mut seed = phrase.0.to_seed(passphrase);
        let wallet = Self { seed: Zeroizing::new(seed.to_vec()), network };
        seed.zeroize();
        wallet
    }

    /// The wallet of a BIP-32 seed.
    ///
    /// # Errors
    /// [`WalletError::SeedLength`].
    pub fn from_seed(seed: &[u8], network: Network) -> Result<Self, WalletError> {
        if !(16..=64).contains(&seed.len()) {
            return Err(WalletError::SeedLength(seed.len()));
        }
        Ok(Self { seed: Zeroizing::new(seed.to_vec()), network })
    }

    /// The network whose keys these are.
    pub fn network(&self) -> Network {
        self.network
    }

    /// The key of an owner on the rollup.
    ///
    /// # Errors
    /// [`WalletError::KeyNumber`] and [`WalletError::Derivation`].
    pub fn owner_key(&self, account: u32, index: u32) -> Result<SecretKey, WalletError> {
        let path = [hardened(OWNER_PURPOSE)?, hardened(self.coin())?, hardened(account)?, hardened(index)?];
        let mut key = self.derive(&path)?;
        let seed = Zeroizing::new(key.private_key.secret_bytes());
        key.private_key.non_secure_erase();
        Ok(SecretKey::from_seed(&seed))
    }

    /// The key that posts anchors and pays for them.
    ///
    /// # Errors
    /// [`WalletError::KeyNumber`] and [`WalletError::Derivation`].
    pub fn poster_key(&self, index: u32) -> Result<PosterKey, WalletError> {
        self.taproot_key(0, index)
    }

    /// The key by which a signer of the bridge takes part in its federation.
    ///
    /// # Errors
    /// [`WalletError::KeyNumber`] and [`WalletError::Derivation`].
    pub fn signer_key(&self, index: u32) -> Result<PosterKey, WalletError> {
        self.taproot_key(SIGNER_ACCOUNT, index)
    }

    /// The same key as a key expression of BIP-380, with the place that it comes from, for other wallets of the same
    /// words.
    ///
    /// # Errors
    /// [`WalletError::KeyNumber`] and [`WalletError::Derivation`].
    pub fn signer_key_expression(&self, index: u32) -> Result<String, WalletError> {
        let key = self.signer_key(index)?.public();
        let master = self.derive(&[])?.fingerprint(&Secp256k1::new());
        Ok(format!("[{master}/{POSTER_PURPOSE}h/{}h/{SIGNER_ACCOUNT}h/0/{index}]{key}", self.coin()))
    }

    /// The key by which a depositor takes a deposit back.
    ///
    /// # Errors
    /// [`WalletError::KeyNumber`] and [`WalletError::Derivation`].
    pub fn refund_key(&self, index: u32) -> Result<PosterKey, WalletError> {
        self.taproot_key(2, index)
    }

    /// The key that signs reveals and sweeps where another wallet's coins pay for anchors.
    ///
    /// # Errors
    /// [`WalletError::KeyNumber`] and [`WalletError::Derivation`].
    pub fn hot_key(&self, index: u32) -> Result<PosterKey, WalletError> {
        self.taproot_key(3, index)
    }

    fn taproot_key(&self, account: u32, index: u32) -> Result<PosterKey, WalletError> {
        let last = ChildNumber::from_normal_idx(index).map_err(|_| WalletError::KeyNumber(index))?;
        let receiving = ChildNumber::Normal { index: 0 };
        let path = [hardened(POSTER_PURPOSE)?, hardened(self.coin())?, hardened(account)?, receiving, last];
        let mut key = self.derive(&path)?;
        let pair = Keypair::from_secret_key(&Secp256k1::signing_only(), &key.private_key);
        key.private_key.non_secure_erase();
        Ok(PosterKey { pair, network: self.network })
    }

    fn coin(&self) -> u32 {
        u32::from(self.network != Network::Bitcoin)
    }

    fn derive(&self, path: &[ChildNumber]) -> Result<Xpriv, WalletError> {
        let master = Xpriv::new_master(NetworkKind::from(self.network), &self.seed).map_err(WalletError::Derivation)?;
        master.derive_priv(&Secp256k1::new(), &path).map_err(WalletError::Derivation)
    }
}

impl fmt::Debug for Wallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wallet").field("network", &self.network).finish_non_exhaustive()
    }
}

fn hardened(number: u32) -> Result<ChildNumber, WalletError> {
    ChildNumber::from_hardened_idx(number).map_err(|_| WalletError::KeyNumber(number))
}

/// The key that funds, signs and sweeps anchors. It is wiped from memory when dropped and never printed.
#[derive(Clone)]
pub struct PosterKey {
    pair: Keypair,
    network: Network,
}

impl PosterKey {
    /// The key that verifies the signature in an anchor's leaf, and the internal key of the poster's addresses.
    pub fn public(&self) -> XOnlyPublicKey {
        self.pair.x_only_public_key().0
    }

    /// The network whose coins it spends.
    pub fn network(&self) -> Network {
        self.network
    }

    /// The poster's address: taproot with this key and no script (BIP-86).
    pub fn address(&self) -> Address {
        Address::p2tr(&Secp256k1::verification_only(), self.public(), None, KnownHrp::from(self.network))
    }

    /// The script of [`PosterKey::address`].
    pub fn script_pubkey(&self) -> ScriptBuf {
        self.address().script_pubkey()
    }

    /// The script of the same key as a version 0 witness key hash.
    pub fn witness_v0_script_pubkey(&self) -> ScriptBuf {
        ScriptBuf::new_p2wpkh(&CompressedPublicKey(self.pair.public_key()).wpubkey_hash())
    }

    /// What is public of the poster.
    pub fn scripts(&self) -> PosterScripts {
        PosterScripts {
            public: self.public(),
            network: self.network,
            witness_v0: Some(self.witness_v0_script_pubkey()),
        }
    }

    /// The key pair itself, for signing.
    pub fn pair(&self) -> &Keypair {
        &self.pair
    }
}

/// What is public of a poster: enough to find its coins and to draft its transactions, with the key kept elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PosterScripts {
    public: XOnlyPublicKey,
    network: Network,
    witness_v0: Option<ScriptBuf>,
}

impl PosterScripts {
    /// The poster of a key that an external signer holds. Its coins are those of the key's taproot address without
    /// script.
    pub fn watch_only(public: XOnlyPublicKey, network: Network) -> Self {
        Self { public, network, witness_v0: None }
    }

    /// The internal key of the poster's addresses, which also signs reveals.
    pub fn public(&self) -> XOnlyPublicKey {
        self.public
    }

    /// The network whose coins it spends.
    pub fn network(&self) -> Network {
        self.network
    }

    /// The poster's address: taproot with this key and no script (BIP-86).
    pub fn address(&self) -> Address {
        Address::p2tr(&Secp256k1::verification_only(), self.public, None, KnownHrp::from(self.network))
    }

    /// The script of [`PosterScripts::address`].
    pub fn script_pubkey(&self) -> ScriptBuf {
        self.address().script_pubkey()
    }

    /// The script of the same key as a version 0 witness key hash, where the whole key is known.
    pub fn witness_v0_script_pubkey(&self) -> Option<&ScriptBuf> {
        self.witness_v0.as_ref()
    }

    /// Every script whose coins are the poster's.
    pub fn all(&self) -> Vec<ScriptBuf> {
        [self.script_pubkey()].into_iter().chain(self.witness_v0.clone()).collect()
    }
}

impl Drop for PosterKey {
    fn drop(&mut self) {
        self.pair.non_secure_erase();
    }
}

impl fmt::Debug for PosterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PosterKey(of {})", self.public())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";

    fn wallet(network: Network) -> Wallet {
        Wallet::new(&Phrase::parse(WORDS).expect("a valid mnemonic"), "", network)
    }

    #[test]
    fn poster_addresses_are_those_of_bip_86() {
        let wallet = wallet(Network::Bitcoin);
        let expected = [
            "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr",
            "bc1p4qhjn9zdvkux4e44uhx8tc55attvtyu358kutcqkudyccelu0was9fqzwh",
        ];
        for (index, address) in (0..).zip(expected) {
            let key = wallet.poster_key(index).expect("a small number");
            assert_eq!(key.address().to_string(), address);
        }
        let key = wallet.poster_key(0).expect("a small number");
        assert_eq!(key.public().to_string(), "cc8a4bc64d897bddc5fbc2f670f7a8ba0b386779106cf1223c6fc5d7cd6fc115");
        let others = [wallet.signer_key(0), wallet.signer_key(1), wallet.refund_key(0)];
        let others = others.map(|key| key.expect("a small number").public());
        assert!(!others.contains(&key.public()) && others[0] != others[1] && others[0] != others[2]);
    }

    #[test]
    fn keys_differ_by_account_index_network_and_passphrase() {
        let regtest = wallet(Network::Regtest);
        let phrase = Phrase::parse(WORDS).expect("a valid mnemonic");
        let wallets = [wallet(Network::Bitcoin), regtest.clone(), Wallet::new(&phrase, "salt", Network::Regtest)];
        let mut keys = Vec::new();
        for wallet in &wallets {
            for (account, index) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
                keys.push(*wallet.owner_key(account, index).expect("small numbers").public());
            }
        }
        let distinct: std::collections::HashSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
        assert_eq!(*regtest.owner_key(1, 0).expect("small numbers").public(), keys[6]);
        assert_eq!(
            wallet(Network::Testnet).poster_key(0).expect("small").public(),
            regtest.poster_key(0).expect("small").public()
        );
    }

    #[test]
    fn numbers_and_seeds_have_bounds() {
        let wallet = wallet(Network::Regtest);
        let over = 1 << 31;
        assert!(wallet.owner_key(over - 1, over - 1).is_ok());
        assert!(matches!(wallet.owner_key(over, 0), Err(WalletError::KeyNumber(n)) if n == over));
        assert!(matches!(wallet.owner_key(0, over), Err(WalletError::KeyNumber(_))));
        assert!(matches!(wallet.poster_key(over), Err(WalletError::KeyNumber(_))));
        assert!(matches!(Wallet::from_seed(&[1; 15], Network::Regtest), Err(WalletError::SeedLength(15))));
        assert!(matches!(Wallet::from_seed(&[1; 65], Network::Regtest), Err(WalletError::SeedLength(65))));
        assert!(Wallet::from_seed(&[1; 16], Network::Regtest).is_ok());
    }

    #[test]
    fn secrets_are_not_printed() {
        let phrase = Phrase::parse(WORDS).expect("a valid mnemonic");
        let wallet = wallet(Network::Regtest);
        let poster = wallet.poster_key(0).expect("a small number");
        let secret = hex::encode(poster.pair().secret_bytes());
        let printed = format!("{phrase:?} {wallet:?} {poster:?}");
        assert_eq!(
            printed,
            format!("Phrase(12 words) Wallet {{ network: Regtest, .. }} PosterKey(of {})", poster.public())
        );
        assert!(!printed.contains("abandon") && !printed.contains(&secret));
    }
}
