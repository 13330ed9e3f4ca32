//! Sets of keys of which some must sign together.

use alloc::vec::Vec;
use bitcoin::{
    ScriptBuf, XOnlyPublicKey,
    opcodes::all::{OP_CHECKSIG, OP_CHECKSIGADD, OP_NUMEQUAL},
    script::Builder,
};

/// The most keys of a set: those of miniscript's `multi_a` that a script of moderate size holds.
pub const KEYS_MAX: usize = 20;

/// n keys (BIP-340), t of which sign together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "WrittenQuorum"))]
pub struct Quorum {
    threshold: u8,
    keys: Keys,
}

/// A [`Quorum`] as it is written down.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenQuorum {
    threshold: u8,
    keys: Keys,
}

#[cfg(feature = "serde")]
impl TryFrom<WrittenQuorum> for Quorum {
    type Error = QuorumError;

    fn try_from(WrittenQuorum { threshold, keys }: WrittenQuorum) -> Result<Self, QuorumError> {
        Self::of_keys(threshold, keys)
    }
}

/// Why keys and a threshold make no [`Quorum`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuorumError {
    /// No key.
    #[error("there is no key")]
    NoKey,
    /// The threshold is zero or above the number of keys.
    #[error("a threshold of {threshold}, where it is from 1 to the number of keys, which is {keys}")]
    Threshold {
        /// The signatures that are asked for.
        threshold: u8,
        /// The number of keys.
        keys: usize,
    },
    /// The keys are no set.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

impl Quorum {
    /// Joins the parts; the keys may come in any order.
    ///
    /// # Errors
    /// Each of [`QuorumError`] but [`KeysError::Order`].
    pub fn new(threshold: u8, keys: Vec<XOnlyPublicKey>) -> Result<Self, QuorumError> {
        Self::of_keys(threshold, Keys::new(keys)?)
    }

    fn of_keys(threshold: u8, keys: Keys) -> Result<Self, QuorumError> {
        if keys.is_empty() {
            return Err(QuorumError::NoKey);
        }
        if !(1..=keys.len()).contains(&usize::from(threshold)) {
            return Err(QuorumError::Threshold { threshold, keys: keys.len() });
        }
        Ok(Self { threshold, keys })
    }

    /// How many sign together.
    pub fn threshold(&self) -> u8 {
        self.threshold
    }

    /// The keys, in ascending order of their bytes.
    pub fn keys(&self) -> &[XOnlyPublicKey] {
        &self.keys
    }

    /// Writes a quorum: threshold (1 byte), then the keys as [`Keys::write`] does. None is written as zeros.
    pub(crate) fn write(quorum: Option<&Self>, out: &mut Vec<u8>) {
        out.push(quorum.map_or(0, Self::threshold));
        quorum.map_or(&Keys::default(), |quorum| &quorum.keys).write(out);
    }

    /// The leaf by which they spend: `<key1> CHECKSIG <key2> CHECKSIGADD ... <t> NUMEQUAL`, miniscript's `multi_a`.
    /// The witness has an element for each key, the last key's first, empty where a signature is missing.
    pub fn leaf(&self) -> ScriptBuf {
        let mut script = Builder::new();
        for (position, key) in self.keys.iter().enumerate() {
            let check = if position == 0 { OP_CHECKSIG } else { OP_CHECKSIGADD };
            script = script.push_x_only_key(key).push_opcode(check);
        }
        script.push_int(self.threshold.into()).push_opcode(OP_NUMEQUAL).into_script()
    }
}

/// Up to [`KEYS_MAX`] different keys (BIP-340), in ascending order of their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Vec<XOnlyPublicKey>"))]
pub struct Keys(Vec<XOnlyPublicKey>);

/// Why keys are no [`Keys`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// More than [`KEYS_MAX`].
    #[error("{0} keys, more than {KEYS_MAX}")]
    TooMany(usize),
    /// A key occurs twice: whoever has it would count twice.
    #[error("key {0} occurs twice")]
    Repeated(XOnlyPublicKey),
    /// Written down, the keys do not ascend.
    #[error("the keys do not ascend")]
    Order,
}

impl Keys {
    /// Takes keys in any order and sorts them.
    ///
    /// # Errors
    /// [`KeysError::TooMany`] and [`KeysError::Repeated`].
    pub fn new(mut keys: Vec<XOnlyPublicKey>) -> Result<Self, KeysError> {
        if keys.len() > KEYS_MAX {
            return Err(KeysError::TooMany(keys.len()));
        }
        keys.sort_by_key(XOnlyPublicKey::serialize);
        match keys.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(KeysError::Repeated(pair[0])),
            None => Ok(Self(keys)),
        }
    }

    /// Writes the number of keys (1 byte), then each (32).
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.len() as u8);
        self.iter().for_each(|key| out.extend(key.serialize()));
    }
}

/// As they are written down: in order.
impl TryFrom<Vec<XOnlyPublicKey>> for Keys {
    type Error = KeysError;

    fn try_from(keys: Vec<XOnlyPublicKey>) -> Result<Self, KeysError> {
        let sorted = Self::new(keys.clone())?;
        if sorted.0 == keys { Ok(sorted) } else { Err(KeysError::Order) }
    }
}

impl core::ops::Deref for Keys {
    type Target = [XOnlyPublicKey];

    fn deref(&self) -> &[XOnlyPublicKey] {
        &self.0
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use bitcoin::secp256k1::{Keypair, Secp256k1};

    /// The key of a small secret.
    pub(crate) fn signer(secret: u8) -> XOnlyPublicKey {
        let pair = Keypair::from_seckey_slice(&Secp256k1::new(), &[secret; 32]).expect("a small secret key");
        pair.x_only_public_key().0
    }

    fn quorum() -> Quorum {
        Quorum::new(2, [1, 2, 3].map(signer).to_vec()).expect("three keys")
    }

    #[test]
    fn keys_are_sorted_and_bounds_are_checked() {
        let sorted = quorum();
        assert!(sorted.keys().is_sorted_by_key(XOnlyPublicKey::serialize));
        for order in [[3, 1, 2], [2, 3, 1]] {
            assert_eq!(Quorum::new(2, order.map(signer).to_vec()), Ok(sorted.clone()));
        }
        let keys = |count: u8| (1..=count).map(signer).collect::<Vec<_>>();
        assert_eq!(Quorum::new(1, Vec::new()), Err(QuorumError::NoKey));
        assert_eq!(Quorum::new(1, keys(21)), Err(KeysError::TooMany(21).into()));
        assert!(Quorum::new(20, keys(20)).is_ok() && Quorum::new(1, keys(1)).is_ok());
        assert_eq!(Quorum::new(0, keys(2)), Err(QuorumError::Threshold { threshold: 0, keys: 2 }));
        assert_eq!(Quorum::new(3, keys(2)), Err(QuorumError::Threshold { threshold: 3, keys: 2 }));
        assert_eq!(Quorum::new(2, [1, 2, 1].map(signer).to_vec()), Err(KeysError::Repeated(signer(1)).into()));
        let mut descending = sorted.keys().to_vec();
        descending.reverse();
        assert_eq!(Keys::try_from(descending), Err(KeysError::Order));
        assert_eq!(Keys::try_from(sorted.keys().to_vec()).as_deref(), Ok(sorted.keys()));
        assert!(Keys::new(Vec::new()).is_ok_and(|keys| keys.is_empty()));
    }

    #[test]
    fn the_leaf_is_byte_for_byte_what_miniscript_writes() {
        let quorum = quorum();
        let [a, b, c] = [0, 1, 2].map(|i| quorum.keys()[i].serialize());
        let expected = [&[0x20], &a[..], &[0xac, 0x20], &b, &[0xba, 0x20], &c, &[0xba, 0x52, 0x9c]].concat();
        assert_eq!(quorum.leaf().as_bytes(), expected);
        let large = Quorum::new(17, (1..=20).map(signer).collect()).expect("20 keys");
        assert!(large.leaf().as_bytes().ends_with(&[0xba, 0x01, 17, 0x9c]));
    }
}
