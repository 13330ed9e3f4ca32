//! Keys of signers as wallets write them, with the place that they come from.
//!
//! A federation has x-only keys and nothing more. Hardware signers and wallets want to know of their own key by which
//! path it descends from which master key, or they do not find it. So a signer's key may be given as a key expression
//! of BIP-380, like `[d34db33f/86h/1h/1h]tpub.../0/0`; what it says beyond the key itself goes into PSBTs and into
//! descriptors, never into the rollup's parameters.

use super::descriptor::{DescriptorError, federation_of};
use bitcoin::{NetworkKind, XOnlyPublicKey, bip32::KeySource, key::Secp256k1};
use miniscript::{
    DefiniteDescriptorKey, Descriptor,
    descriptor::{DescriptorPublicKey, SinglePubKey},
};
use std::{collections::BTreeMap, fmt, str::FromStr};
use taproof_verifier::bridge::Bridge;

/// The most steps from a master key.
const DEPTH_MAX: usize = 255;

/// Why a text is no signer's key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignerKeyError {
    /// The text is no key expression.
    #[error("a key is 64 hexadecimal digits, or an expression like [d34db33f/86h/1h/1h]tpub.../0/0: {0}")]
    Form(String),
    /// The expression stands for many keys, or for one that its extended key does not lead to.
    #[error("the expression must name one key: no wildcard, and no hardened step after the extended key")]
    NotOne,
}

/// The key of a signer, and how a wallet that has it finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignerKey {
    key: XOnlyPublicKey,
    expression: DescriptorPublicKey,
}

impl FromStr for SignerKey {
    type Err = SignerKeyError;

    fn from_str(text: &str) -> Result<Self, SignerKeyError> {
        let text = text.trim();
        let expression = DescriptorPublicKey::from_str(text);
        let expression = expression.map_err(|error| {
            let is_bare = text.bytes().all(|byte| byte.is_ascii_hexdigit());
            SignerKeyError::Form(match text.len() {
                64 if is_bare => "no point of the curve has this one".to_owned(),
                length if is_bare => format!("there are {length} digits"),
                _ => error.to_string(),
            })
        })?;
        if let DescriptorPublicKey::XPub(extended) = &expression
            && usize::from(extended.xkey.depth) + extended.derivation_path.len() > DEPTH_MAX
        {
            return Err(SignerKeyError::NotOne);
        }
        let definite = DefiniteDescriptorKey::new(expression.clone()).map_err(|_| SignerKeyError::NotOne)?;
        let key = definite.derive_public_key(&Secp256k1::verification_only()).inner.x_only_public_key().0;
        Ok(Self { key, expression })
    }
}

impl fmt::Display for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.expression)
    }
}

impl From<XOnlyPublicKey> for SignerKey {
    fn from(key: XOnlyPublicKey) -> Self {
        let single = miniscript::descriptor::SinglePub { origin: None, key: SinglePubKey::XOnly(key) };
        Self { key, expression: DescriptorPublicKey::Single(single) }
    }
}

impl SignerKey {
    /// The key itself.
    pub fn key(&self) -> XOnlyPublicKey {
        self.key
    }

    /// Where it comes from: a master key and the path from it.
    pub fn origin(&self) -> Option<KeySource> {
        match &self.expression {
            DescriptorPublicKey::Single(single) => single.origin.clone(),
            extended => Some((extended.master_fingerprint(), extended.full_derivation_path()?)),
        }
    }

    /// The kind of network that its extended key is for, if it has one.
    pub fn network(&self) -> Option<NetworkKind> {
        match &self.expression {
            DescriptorPublicKey::XPub(extended) => Some(extended.xkey.network),
            _ => None,
        }
    }
}

/// What is known of where a bridge's keys come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignerKeys(BTreeMap<XOnlyPublicKey, SignerKey>);

impl SignerKeys {
    /// Reads lines of key expressions, as [`SignerKeys::to_lines`] writes them.
    ///
    /// # Errors
    /// [`SignerKeyError`] of the first line that is none.
    pub fn from_lines(text: &str) -> Result<Self, SignerKeyError> {
        text.lines().filter(|line| !line.trim().is_empty()).map(str::parse).collect()
    }

    /// One key expression a line.
    pub fn to_lines(&self) -> String {
        self.0.values().map(|key| format!("{key}\n")).collect()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A key as it is known best: with its origin, or bare.
    pub fn expression(&self, key: &XOnlyPublicKey) -> String {
        self.0.get(key).map_or_else(|| key.to_string(), ToString::to_string)
    }

    /// The origins, for PSBTs.
    pub fn origins(&self) -> BTreeMap<XOnlyPublicKey, KeySource> {
        self.0.values().filter_map(|key| Some((key.key(), key.origin()?))).collect()
    }

    /// The descriptor of an output of the bridge, with all that is known of its keys: the bridge's own, or that of
    /// deposits with a refund key.
    ///
    /// # Errors
    /// [`DescriptorError`].
    pub fn descriptor(
        &self,
        bridge: &Bridge,
        refund: Option<XOnlyPublicKey>,
    ) -> Result<Descriptor<DescriptorPublicKey>, DescriptorError> {
        let federation = federation_of(bridge, |key| self.expression(key));
        let (internal, delay) = (bridge.internal_key(), bridge.refund_delay_blocks());
        let text = match refund {
            None => format!("tr({internal},{federation})"),
            Some(refund) => format!("tr({internal},{{{federation},and_v(v:pk({refund}),older({delay}))}})"),
        };
        Ok(Descriptor::from_str(&text)?)
    }
}

impl FromIterator<SignerKey> for SignerKeys {
    /// Keeps of each key what is known of it; of a bare key nothing is.
    fn from_iter<I: IntoIterator<Item = SignerKey>>(keys: I) -> Self {
        let known = keys.into_iter().filter(|key| key.origin().is_some());
        Self(known.map(|key| (key.key(), key)).collect())
    }
}

impl Extend<SignerKey> for SignerKeys {
    fn extend<I: IntoIterator<Item = SignerKey>>(&mut self, keys: I) {
        self.0.extend(keys.into_iter().collect::<Self>().0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::{Network, bip32};
    use taproof_verifier::{bridge::Federation, follow::FoundingDigest};
    use taproof_wallet::Wallet;

    /// The account of a wallet's signer keys, as other wallets export it, and the wallet.
    fn account() -> (String, Wallet) {
        let wallet = Wallet::from_seed(&[3; 32], Network::Regtest).expect("a seed");
        let secp = Secp256k1::new();
        let master = bip32::Xpriv::new_master(Network::Regtest, &[3; 32]).expect("a seed");
        let path: bip32::DerivationPath = "86h/1h/1h".parse().expect("a path");
        let account = bip32::Xpub::from_priv(&secp, &master.derive_priv(&secp, &path).expect("a key"));
        (format!("[{}/86h/1h/1h]{account}", master.fingerprint(&secp)), wallet)
    }

    /// The same with the other mark of hardened steps.
    fn apostrophes(account: &str) -> String {
        account.replace("h/", "'/").replace("h]", "']")
    }

    #[test]
    fn keys_are_read_in_every_spelling_that_names_one() {
        let (account, wallet) = account();
        let key = wallet.signer_key(5).expect("a small number").public();
        let fingerprint = account[1..9].to_owned();
        let path: bip32::DerivationPath = "86h/1h/1h/0/5".parse().expect("a path");
        let origin = Some((fingerprint.parse().expect("a fingerprint"), path));
        let compressed = key.public_key(bitcoin::secp256k1::Parity::Odd);
        let spellings = [
            (format!("{key}"), None),
            (format!("{compressed}"), None),
            (format!("{account}/0/5"), origin.clone()),
            (apostrophes(&account) + "/0/5", origin.clone()),
            (format!("[{fingerprint}/86h/1h/1h/0/5]{key}"), origin),
        ];
        for (text, origin) in spellings {
            let read: SignerKey = text.parse().expect("a spelling of one key");
            assert_eq!((read.key(), read.origin()), (key, origin), "{text}");
            assert_eq!(read.to_string().parse(), Ok(read), "{text}");
        }
        let without_origin: SignerKey =
            format!("{}/0/5", account.split_once(']').expect("an origin").1).parse().expect("a key");
        assert_eq!(without_origin.key(), key);
        assert_eq!(without_origin.network(), Some(NetworkKind::Test));
        assert_eq!(
            wallet.signer_key_expression(5).expect("a small number").parse::<SignerKey>().expect("ours").key(),
            key
        );
        for not_one in ["/0/*", "/0h/0", "/<0;1>/0", "/*h"] {
            assert!(format!("{account}{not_one}").parse::<SignerKey>().is_err(), "{not_one}");
        }
        for none in ["", "[", "00", "xpub", "[d34db33f/86h]", &"ff".repeat(32)] {
            assert!(none.parse::<SignerKey>().is_err(), "{none}");
        }
    }

    #[test]
    fn descriptors_with_origins_are_of_the_same_outputs() {
        let (account, wallet) = account();
        let bare = wallet.signer_key(2).expect("a small number").public();
        let keys = [format!("{account}/0/0"), format!("{account}/0/1"), bare.to_string()];
        let keys = keys.map(|text| text.parse::<SignerKey>().expect("a key"));
        let federation = Federation::new(2, keys.iter().map(SignerKey::key).collect(), 144, 0).expect("three keys");
        let bridge = Bridge::new(federation, FoundingDigest::from_byte_array([7; 32]));
        let known: SignerKeys = keys.into_iter().collect();
        assert_eq!(known.origins().len(), 2);
        assert_eq!(SignerKeys::from_lines(&known.to_lines()), Ok(known.clone()));
        let refund = wallet.refund_key(0).expect("a small number").public();
        let scripts = [(None, bridge.script_pubkey()), (Some(refund), bridge.deposit_script_pubkey(refund))];
        for (refund, script) in scripts {
            let descriptor = known.descriptor(&bridge, refund).expect("sane");
            let definite = descriptor.at_derivation_index(0).expect("no wildcard");
            assert_eq!(definite.script_pubkey(), script);
            let text = descriptor.to_string();
            assert!(text.contains(&apostrophes(&account)), "{text}");
            assert_eq!(text.split('#').count(), 2, "a checksum");
        }
    }
}
