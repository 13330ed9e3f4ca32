//! The bridge: who holds the money behind the rollup, and the scripts that they hold it by.
//!
//! The bridge is a federation of n keys, t of which can spend (the leaf [`Bridge::federation_leaf`]). Nobody can
//! spend by key path: the internal key is [`unspendable_key`], the point H of BIP-341, whose discrete logarithm
//! nobody knows.
//!
//! - What the bridge holds for good, its change, is at [`Bridge::script_pubkey`]: the federation's leaf alone. As a
//!   descriptor: `tr(H,multi_a(t,key1,...,keyn))`.
//! - A deposit pays to [`Bridge::deposit_script_pubkey`], which differs from depositor to depositor: beside the
//!   federation's leaf stands one by which the depositor takes the money back, once the output is `refund_delay_blocks`
//!   deep. As a descriptor: `tr(H,{multi_a(t,key1,...,keyn),and_v(v:pk(refund),older(delay))})`.
//!
//! So a deposit that the rollup never credits is not lost, and one that it credits must be moved by the federation
//! before the delay is over; the rules of [`crate::follow`] keep the time for that. As moving costs the same whatever
//! the amount, what pays less than `deposit_min_sat` is no deposit: it is the depositor's alone.

use alloc::vec::Vec;
use bitcoin::{
    ScriptBuf, XOnlyPublicKey,
    opcodes::all::{OP_CHECKSIG, OP_CHECKSIGADD, OP_CHECKSIGVERIFY, OP_CSV, OP_NUMEQUAL},
    script::Builder,
    secp256k1::Secp256k1,
    taproot::{TaprootBuilder, TaprootSpendInfo},
};

/// The most keys of a federation: those of miniscript's `multi_a` that a script of moderate size holds.
pub const KEYS_MAX: usize = 20;

/// The least that an output of the bridge pays, in satoshi: less is dust to a taproot output, which nodes do not relay.
pub const OUTPUT_MIN_SAT: u64 = 330;

/// The x coordinate of H, the hash of secp256k1's generator that is a point of the curve (BIP-341, "Constructing and
/// spending Taproot outputs").
const UNSPENDABLE_KEY: [u8; 32] = [
    0x50, 0x92, 0x9b, 0x74, 0xc1, 0xa0, 0x49, 0x54, 0xb7, 0x8b, 0x4b, 0x60, 0x35, 0xe9, 0x7a, 0x5e, 0x07, 0x8a, 0x5a,
    0x0f, 0x28, 0xec, 0x96, 0xd5, 0x47, 0xbf, 0xee, 0x9a, 0xce, 0x80, 0x3a, 0xc0,
];

/// The internal key of every output of a bridge, which nobody can sign with.
pub fn unspendable_key() -> XOnlyPublicKey {
    XOnlyPublicKey::from_slice(&UNSPENDABLE_KEY).expect("BIP-341 gives a point of the curve")
}

/// The federation that holds deposits, what it takes, and how long a depositor waits for a refund.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Unchecked"))]
pub struct Bridge {
    threshold: u8,
    keys: Vec<XOnlyPublicKey>,
    refund_delay_blocks: u16,
    deposit_min_sat: u64,
}

/// A [`Bridge`] as it is written down.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    threshold: u8,
    keys: Vec<XOnlyPublicKey>,
    refund_delay_blocks: u16,
    deposit_min_sat: u64,
}

#[cfg(feature = "serde")]
impl TryFrom<Unchecked> for Bridge {
    type Error = BridgeError;

    fn try_from(unchecked: Unchecked) -> Result<Self, BridgeError> {
        let Unchecked { threshold, keys, refund_delay_blocks, deposit_min_sat } = unchecked;
        let bridge = Self::new(threshold, keys.clone(), refund_delay_blocks, deposit_min_sat)?;
        if bridge.keys == keys { Ok(bridge) } else { Err(BridgeError::Order) }
    }
}

/// Why keys and numbers make no [`Bridge`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BridgeError {
    /// No key, or more than [`KEYS_MAX`].
    #[error("{0} keys, where a bridge has 1 to {KEYS_MAX}")]
    KeyCount(usize),
    /// The threshold is zero or above the number of keys.
    #[error("{threshold} signatures of {keys} keys")]
    Threshold {
        /// The signatures that are asked for.
        threshold: u8,
        /// The number of keys.
        keys: usize,
    },
    /// A key occurs twice: whoever has it would count twice.
    #[error("key {0} occurs twice")]
    Repeated(XOnlyPublicKey),
    /// Written down, the keys do not ascend.
    #[error("the keys do not ascend")]
    Order,
    /// The refund has no delay, so the depositor could take back what is credited at once.
    #[error("the refund's delay is zero")]
    RefundDelay,
}

impl Bridge {
    /// Joins the parts; the keys may come in any order and are sorted by their bytes.
    ///
    /// # Errors
    /// Each of [`BridgeError`] but [`BridgeError::Order`].
    pub fn new(
        threshold: u8,
        mut keys: Vec<XOnlyPublicKey>,
        refund_delay_blocks: u16,
        deposit_min_sat: u64,
    ) -> Result<Self, BridgeError> {
        if !(1..=KEYS_MAX).contains(&keys.len()) {
            return Err(BridgeError::KeyCount(keys.len()));
        }
        if !(1..=keys.len()).contains(&usize::from(threshold)) {
            return Err(BridgeError::Threshold { threshold, keys: keys.len() });
        }
        keys.sort_by_key(XOnlyPublicKey::serialize);
        if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(BridgeError::Repeated(pair[0]));
        }
        if refund_delay_blocks == 0 {
            return Err(BridgeError::RefundDelay);
        }
        Ok(Self { threshold, keys, refund_delay_blocks, deposit_min_sat })
    }

    /// How many signatures spend.
    pub fn threshold(&self) -> u8 {
        self.threshold
    }

    /// The federation's keys, in ascending order of their bytes.
    pub fn keys(&self) -> &[XOnlyPublicKey] {
        &self.keys
    }

    /// How deep a deposit must be until the depositor can take it back.
    pub fn refund_delay_blocks(&self) -> u16 {
        self.refund_delay_blocks
    }

    /// What a deposit pays at least, in satoshi.
    pub fn deposit_min_sat(&self) -> u64 {
        self.deposit_min_sat
    }

    /// The leaf by which t of the n keys spend: `<key1> CHECKSIG <key2> CHECKSIGADD ... <t> NUMEQUAL`, miniscript's
    /// `multi_a`. The witness has an element for each key, the last key's first, empty where a signature is missing.
    pub fn federation_leaf(&self) -> ScriptBuf {
        let mut script = Builder::new();
        for (position, key) in self.keys.iter().enumerate() {
            let check = if position == 0 { OP_CHECKSIG } else { OP_CHECKSIGADD };
            script = script.push_x_only_key(key).push_opcode(check);
        }
        script.push_int(self.threshold.into()).push_opcode(OP_NUMEQUAL).into_script()
    }

    /// The leaf by which a depositor spends after the delay: `<refund key> CHECKSIGVERIFY <delay> CSV`, miniscript's
    /// `and_v(v:pk(refund),older(delay))`.
    pub fn refund_leaf(&self, refund: XOnlyPublicKey) -> ScriptBuf {
        let script = Builder::new().push_x_only_key(&refund).push_opcode(OP_CHECKSIGVERIFY);
        script.push_int(self.refund_delay_blocks.into()).push_opcode(OP_CSV).into_script()
    }

    /// How the bridge's own outputs are spent.
    pub fn spend_info(&self) -> TaprootSpendInfo {
        finalize(TaprootBuilder::new().add_leaf(0, self.federation_leaf()))
    }

    /// How a deposit is spent, by the federation or by the depositor.
    pub fn deposit_spend_info(&self, refund: XOnlyPublicKey) -> TaprootSpendInfo {
        let leaves = [self.federation_leaf(), self.refund_leaf(refund)];
        finalize(leaves.into_iter().try_fold(TaprootBuilder::new(), |tree, leaf| tree.add_leaf(1, leaf)))
    }

    /// The script of the bridge's own outputs.
    pub fn script_pubkey(&self) -> ScriptBuf {
        ScriptBuf::new_p2tr_tweaked(self.spend_info().output_key())
    }

    /// The script that a deposit pays to.
    pub fn deposit_script_pubkey(&self, refund: XOnlyPublicKey) -> ScriptBuf {
        ScriptBuf::new_p2tr_tweaked(self.deposit_spend_info(refund).output_key())
    }
}

fn finalize(tree: Result<TaprootBuilder, bitcoin::taproot::TaprootBuilderError>) -> TaprootSpendInfo {
    let tree = tree.expect("one leaf at depth 0 and two at depth 1 are whole trees");
    tree.finalize(&Secp256k1::verification_only(), unspendable_key()).expect("the tree is whole")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use bitcoin::{secp256k1::Keypair, taproot::LeafVersion};

    /// The key of a small secret.
    pub(crate) fn signer(secret: u8) -> XOnlyPublicKey {
        let pair = Keypair::from_seckey_slice(&Secp256k1::new(), &[secret; 32]).expect("a small secret key");
        pair.x_only_public_key().0
    }

    pub(crate) fn bridge() -> Bridge {
        Bridge::new(2, [1, 2, 3].map(signer).to_vec(), 144, 0).expect("three keys")
    }

    #[test]
    fn keys_are_sorted_and_bounds_are_checked() {
        let sorted = bridge();
        assert!(sorted.keys().is_sorted_by_key(XOnlyPublicKey::serialize));
        for order in [[3, 1, 2], [2, 3, 1]] {
            assert_eq!(Bridge::new(2, order.map(signer).to_vec(), 144, 0), Ok(sorted.clone()));
        }
        let keys = |count: u8| (1..=count).map(signer).collect::<Vec<_>>();
        assert_eq!(Bridge::new(1, Vec::new(), 144, 0), Err(BridgeError::KeyCount(0)));
        assert_eq!(Bridge::new(1, keys(21), 144, 0), Err(BridgeError::KeyCount(21)));
        assert!(Bridge::new(20, keys(20), u16::MAX, u64::MAX).is_ok() && Bridge::new(1, keys(1), 1, 0).is_ok());
        assert_eq!(Bridge::new(0, keys(2), 144, 0), Err(BridgeError::Threshold { threshold: 0, keys: 2 }));
        assert_eq!(Bridge::new(3, keys(2), 144, 0), Err(BridgeError::Threshold { threshold: 3, keys: 2 }));
        assert_eq!(Bridge::new(2, [1, 2, 1].map(signer).to_vec(), 144, 0), Err(BridgeError::Repeated(signer(1))));
        assert_eq!(Bridge::new(2, keys(3), 0, 0), Err(BridgeError::RefundDelay));
    }

    #[test]
    fn leaves_are_byte_for_byte_what_miniscript_writes() {
        let bridge = bridge();
        let [a, b, c] = [0, 1, 2].map(|i| bridge.keys()[i].serialize());
        let federation = [&[0x20], &a[..], &[0xac, 0x20], &b, &[0xba, 0x20], &c, &[0xba, 0x52, 0x9c]].concat();
        assert_eq!(bridge.federation_leaf().as_bytes(), federation);
        let refund = signer(9);
        let expected = [&[0x20], &refund.serialize()[..], &[0xad, 0x02, 0x90, 0x00, 0xb2]].concat();
        assert_eq!(bridge.refund_leaf(refund).as_bytes(), expected);
        let large = Bridge::new(17, (1..=20).map(signer).collect(), 16, 0).expect("20 keys");
        assert!(large.federation_leaf().as_bytes().ends_with(&[0xba, 0x01, 17, 0x9c]));
        assert!(large.refund_leaf(refund).as_bytes().ends_with(&[0xad, 0x60, 0xb2]));
    }

    #[test]
    fn outputs_commit_to_their_leaves_and_no_key_path() {
        let (bridge, refund) = (bridge(), signer(9));
        let secp = Secp256k1::verification_only();
        let own = bridge.spend_info();
        let deposit = bridge.deposit_spend_info(refund);
        let leaves = [
            (&own, bridge.federation_leaf(), bridge.script_pubkey(), 33),
            (&deposit, bridge.federation_leaf(), bridge.deposit_script_pubkey(refund), 65),
            (&deposit, bridge.refund_leaf(refund), bridge.deposit_script_pubkey(refund), 65),
        ];
        for (info, leaf, script_pubkey, length) in leaves {
            assert_eq!(info.internal_key(), unspendable_key());
            let control = info.control_block(&(leaf.clone(), LeafVersion::TapScript)).expect("a leaf of the tree");
            assert_eq!(control.serialize().len(), length);
            let output_key = info.output_key().to_x_only_public_key();
            assert!(control.verify_taproot_commitment(&secp, output_key, &leaf));
            assert_eq!(script_pubkey.as_bytes(), [&[0x51, 0x20], &output_key.serialize()[..]].concat());
        }
        assert_ne!(bridge.deposit_script_pubkey(refund), bridge.deposit_script_pubkey(signer(8)));
        let slower = Bridge::new(2, bridge.keys().to_vec(), 145, 0).expect("three keys");
        assert_ne!(bridge.deposit_script_pubkey(refund), slower.deposit_script_pubkey(refund));
        assert_eq!(bridge.script_pubkey(), slower.script_pubkey());
    }
}
