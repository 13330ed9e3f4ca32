//! Whose coins pay for anchors where another wallet holds them: a key, or the descriptor that the wallet shows.

use crate::cli::values::bitcoin_key;
use bitcoin::{XOnlyPublicKey, bip32::KeySource, key::Secp256k1};
use miniscript::{Descriptor, DescriptorPublicKey};
use std::str::FromStr;

/// The internal key of the poster's taproot address, and where its wallet finds it, if that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WatchOnly {
    pub(super) key: XOnlyPublicKey,
    pub(super) origin: Option<KeySource>,
}

/// Reads 64 hexadecimal digits, or a descriptor of one address such as `tr([deadbeef/86h/0h/0h]xpub.../0/5)`.
impl FromStr for WatchOnly {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return bitcoin_key(text).map(|key| Self { key, origin: None });
        }
        if !text.contains('(') {
            return Err("neither a key of 64 hexadecimal digits nor a descriptor, tr(KEY)".to_owned());
        }
        let descriptor: Descriptor<DescriptorPublicKey> = text
            .parse()
            .map_err(|error| format!("neither a key of 64 hexadecimal digits nor a descriptor: {error}"))?;
        let Descriptor::Tr(taproot) = &descriptor else { return Err("only tr(KEY) is signed for".to_owned()) };
        if taproot.tap_tree().is_some() {
            return Err("only tr(KEY) without scripts is signed for".to_owned());
        }
        if descriptor.has_wildcard() || descriptor.is_multipath() {
            return Err("the descriptor is of many addresses: put a number in the place of *".to_owned());
        }
        let key = taproot.internal_key();
        let origin = match key {
            DescriptorPublicKey::Single(single) => single.origin.clone(),
            key => key.full_derivation_path().map(|path| (key.master_fingerprint(), path)),
        };
        let derived = descriptor.derived_descriptor(&Secp256k1::verification_only(), 0);
        let derived = derived.map_err(|error| error.to_string())?;
        let key = derived.internal_key().ok_or("the descriptor has no key")?.inner.x_only_public_key().0;
        Ok(Self { key, origin })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The account of BIP-86's vectors, and the internal key of its first receiving address.
    const ACCOUNT: &str = "xpub6BgBgsespWvERF3LHQu6CnqdvfEvtMcQjYrcRzx53QJjSxarj2afYWcLteoGVky7D3UKDP9QyrLprQ3VCECoY49yfdDEHGCtMMj92pReUsQ";
    const KEY: &str = "cc8a4bc64d897bddc5fbc2f670f7a8ba0b386779106cf1223c6fc5d7cd6fc115";

    #[test]
    fn keys_and_descriptors_name_one_address() {
        let key: XOnlyPublicKey = KEY.parse().expect("a key");
        assert_eq!(KEY.parse(), Ok(WatchOnly { key, origin: None }));
        let origin = Some(("73c5da0a".parse().expect("digits"), "86h/0h/0h/0/0".parse().expect("a path")));
        for text in [format!("tr([73c5da0a/86h/0h/0h]{ACCOUNT}/0/0)"), format!("tr([73c5da0a/86h/0h/0h/0/0]{KEY})")] {
            assert_eq!(text.parse(), Ok(WatchOnly { key, origin: origin.clone() }), "{text}");
        }
        for (text, reason) in [
            (format!("tr([73c5da0a/86h/0h/0h]{ACCOUNT}/0/*)"), "many addresses"),
            (format!("wpkh({ACCOUNT}/0/0)"), "only tr(KEY)"),
            (format!("tr({KEY},pk({KEY}))"), "without scripts"),
            (KEY[1..].to_owned(), "there are 63"),
            (ACCOUNT.to_owned(), "neither"),
        ] {
            let error = text.parse::<WatchOnly>().expect_err(&text);
            assert!(error.contains(reason), "{error}");
        }
    }
}
