//! The bridge: who holds the money behind the rollup, and the scripts that they hold it by.
//!
//! The bridge is a federation of n keys, t of which can spend (the leaf [`Quorum::leaf`]). Nobody can spend by key
//! path: the internal key is K = H + s G, where H is the point of BIP-341 whose discrete logarithm nobody knows, and s
//! comes from the founding digest of the rollup. Nobody knows the logarithm of K either, or they would know that of H.
//! So two rollups of one federation have different outputs: neither credits a deposit to the other, and as BIP-341's
//! message hash covers the scripts of all spent outputs, no signature for coins of one spends coins of the other.
//!
//! - What the bridge holds for good, its change, is at [`Bridge::script_pubkey`]: the federation's leaf alone. As a
//!   descriptor: `tr(K,multi_a(t,key1,...,keyn))`.
//! - A deposit pays to [`Bridge::deposit_script_pubkey`], which differs from depositor to depositor: beside the
//!   federation's leaf stands one by which the depositor takes the money back, once the output is `refund_delay_blocks`
//!   deep. As a descriptor: `tr(K,{multi_a(t,key1,...,keyn),and_v(v:pk(refund),older(delay))})`.
//!
//! So a deposit that the rollup never credits is not lost, and one that it credits must be moved by the federation
//! before the delay is over; the rules of [`crate::follow`] keep the time for that. As moving costs the same whatever
//! the amount, what pays less than `deposit_min_sat` is no deposit: it is the depositor's alone.

use crate::{
    follow::FoundingDigest,
    quorum::{Quorum, QuorumError},
    secp::with_context,
};
use alloc::vec::Vec;
use bitcoin::{
    ScriptBuf, XOnlyPublicKey,
    hashes::{Hash, HashEngine, sha256},
    opcodes::all::{OP_CHECKSIGVERIFY, OP_CSV},
    script::Builder,
    secp256k1::Scalar,
    taproot::{TaprootBuilder, TaprootSpendInfo},
};

/// The least that an output of the bridge pays, in satoshi: less is dust to a taproot output, which nodes do not relay.
pub const OUTPUT_MIN_SAT: u64 = 330;

/// The x coordinate of H, the hash of secp256k1's generator that is a point of the curve (BIP-341, "Constructing and
/// spending Taproot outputs").
const H: [u8; 32] = [
    0x50, 0x92, 0x9b, 0x74, 0xc1, 0xa0, 0x49, 0x54, 0xb7, 0x8b, 0x4b, 0x60, 0x35, 0xe9, 0x7a, 0x5e, 0x07, 0x8a, 0x5a,
    0x0f, 0x28, 0xec, 0x96, 0xd5, 0x47, 0xbf, 0xee, 0x9a, 0xce, 0x80, 0x3a, 0xc0,
];
/// What is put before the founding digest when s is hashed.
const INTERNAL_KEY_TAG: &[u8] = b"taproof/bridge/v3";

/// The federation that holds deposits, what it takes, and how long a depositor waits for a refund.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "WrittenFederation"))]
pub struct Federation {
    signers: Quorum,
    refund_delay_blocks: u16,
    deposit_min_sat: u64,
}

/// A [`Federation`] as it is written down.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFederation {
    signers: Quorum,
    refund_delay_blocks: u16,
    deposit_min_sat: u64,
}

#[cfg(feature = "serde")]
impl TryFrom<WrittenFederation> for Federation {
    type Error = FederationError;

    fn try_from(written: WrittenFederation) -> Result<Self, FederationError> {
        let WrittenFederation { signers, refund_delay_blocks, deposit_min_sat } = written;
        Self::of_signers(signers, refund_delay_blocks, deposit_min_sat)
    }
}

/// Why keys and numbers make no [`Federation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FederationError {
    /// The keys and the threshold are those of no quorum.
    #[error("the bridge's signers: {0}")]
    Signers(#[from] QuorumError),
    /// The refund has no delay, so the depositor could take back what is credited at once.
    #[error("the refund's delay is zero")]
    RefundDelay,
}

impl Federation {
    /// Joins the parts; the keys may come in any order.
    ///
    /// # Errors
    /// Each of [`FederationError`].
    pub fn new(
        threshold: u8,
        keys: Vec<XOnlyPublicKey>,
        refund_delay_blocks: u16,
        deposit_min_sat: u64,
    ) -> Result<Self, FederationError> {
        Self::of_signers(Quorum::new(threshold, keys)?, refund_delay_blocks, deposit_min_sat)
    }

    fn of_signers(signers: Quorum, refund_delay_blocks: u16, deposit_min_sat: u64) -> Result<Self, FederationError> {
        if refund_delay_blocks == 0 {
            return Err(FederationError::RefundDelay);
        }
        Ok(Self { signers, refund_delay_blocks, deposit_min_sat })
    }

    /// Who spends.
    pub fn signers(&self) -> &Quorum {
        &self.signers
    }

    /// How many signatures spend.
    pub fn threshold(&self) -> u8 {
        self.signers.threshold()
    }

    /// The keys, in ascending order of their bytes.
    pub fn keys(&self) -> &[XOnlyPublicKey] {
        self.signers.keys()
    }

    /// How deep a deposit must be until the depositor can take it back.
    pub fn refund_delay_blocks(&self) -> u16 {
        self.refund_delay_blocks
    }

    /// What a deposit pays at least, in satoshi.
    pub fn deposit_min_sat(&self) -> u64 {
        self.deposit_min_sat
    }
}

/// A rollup's federation and the scripts of its outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    federation: Federation,
    internal_key: XOnlyPublicKey,
}

impl Bridge {
    /// The bridge of the rollup that has this founding digest.
    pub fn new(federation: Federation, founding: FoundingDigest) -> Self {
        Self { federation, internal_key: internal_key(INTERNAL_KEY_TAG, founding) }
    }

    /// Who holds the money.
    pub fn federation(&self) -> &Federation {
        &self.federation
    }

    /// K, the internal key of every output, which nobody can sign with.
    pub fn internal_key(&self) -> XOnlyPublicKey {
        self.internal_key
    }

    /// How many signatures spend.
    pub fn threshold(&self) -> u8 {
        self.federation.threshold()
    }

    /// The federation's keys, in ascending order of their bytes.
    pub fn keys(&self) -> &[XOnlyPublicKey] {
        self.federation.keys()
    }

    /// How deep a deposit must be until the depositor can take it back.
    pub fn refund_delay_blocks(&self) -> u16 {
        self.federation.refund_delay_blocks
    }

    /// What a deposit pays at least, in satoshi.
    pub fn deposit_min_sat(&self) -> u64 {
        self.federation.deposit_min_sat
    }

    /// The leaf by which t of the n keys spend.
    pub fn federation_leaf(&self) -> ScriptBuf {
        self.federation.signers.leaf()
    }

    /// The leaf by which a depositor spends after the delay: `<refund key> CHECKSIGVERIFY <delay> CSV`, miniscript's
    /// `and_v(v:pk(refund),older(delay))`.
    pub fn refund_leaf(&self, refund: XOnlyPublicKey) -> ScriptBuf {
        let script = Builder::new().push_x_only_key(&refund).push_opcode(OP_CHECKSIGVERIFY);
        script.push_int(self.refund_delay_blocks().into()).push_opcode(OP_CSV).into_script()
    }

    /// How the bridge's own outputs are spent.
    pub fn spend_info(&self) -> TaprootSpendInfo {
        self.finalize(TaprootBuilder::new().add_leaf(0, self.federation_leaf()))
    }

    /// How a deposit is spent, by the federation or by the depositor.
    pub fn deposit_spend_info(&self, refund: XOnlyPublicKey) -> TaprootSpendInfo {
        let leaves = [self.federation_leaf(), self.refund_leaf(refund)];
        self.finalize(leaves.into_iter().try_fold(TaprootBuilder::new(), |tree, leaf| tree.add_leaf(1, leaf)))
    }

    /// The script of the bridge's own outputs.
    pub fn script_pubkey(&self) -> ScriptBuf {
        ScriptBuf::new_p2tr_tweaked(self.spend_info().output_key())
    }

    /// The script that a deposit pays to.
    pub fn deposit_script_pubkey(&self, refund: XOnlyPublicKey) -> ScriptBuf {
        ScriptBuf::new_p2tr_tweaked(self.deposit_spend_info(refund).output_key())
    }

    fn finalize(&self, tree: Result<TaprootBuilder, bitcoin::taproot::TaprootBuilderError>) -> TaprootSpendInfo {
        let tree = tree.expect("one leaf at depth 0 and two at depth 1 are whole trees");
        with_context(|secp| tree.finalize(secp, self.internal_key)).expect("the tree is whole")
    }
}

/// H + s G, where s is the hash of a tag and a founding digest: the internal key of some outputs of a rollup.
pub(crate) fn internal_key(tag: &[u8], founding: FoundingDigest) -> XOnlyPublicKey {
    let mut engine = sha256::Hash::engine();
    engine.input(tag);
    engine.input(&founding.to_byte_array());
    // s, most significant byte first. One hash in 2^128 is no scalar, and one in 2^256 leads to infinity.
    let s = Scalar::from_be_bytes(sha256::Hash::from_engine(engine).to_byte_array());
    let s = s.expect("no hash that is not below the order of the group is known");
    let h = XOnlyPublicKey::from_slice(&H).expect("BIP-341 gives a point of the curve");
    with_context(|secp| h.add_tweak(secp, &s)).expect("nobody knows -H as s G").0
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::quorum::KeysError;
    pub(crate) use crate::quorum::tests::signer;
    use bitcoin::{secp256k1::Secp256k1, taproot::LeafVersion};

    const FOUNDING: FoundingDigest = FoundingDigest::from_byte_array([7; 32]);

    pub(crate) fn federation() -> Federation {
        Federation::new(2, [1, 2, 3].map(signer).to_vec(), 144, 0).expect("three keys")
    }

    pub(crate) fn bridge() -> Bridge {
        Bridge::new(federation(), FOUNDING)
    }

    #[test]
    fn bounds_are_checked() {
        let new = |threshold, delay| Federation::new(threshold, [2, 1].map(signer).to_vec(), delay, 0);
        assert!(new(1, 1).is_ok() && new(2, u16::MAX).is_ok());
        assert_eq!(new(2, 0), Err(FederationError::RefundDelay));
        let threshold = QuorumError::Threshold { threshold: 3, keys: 2 };
        assert_eq!(new(3, 144), Err(FederationError::Signers(threshold)));
        let twice = Federation::new(1, [1, 1].map(signer).to_vec(), 144, 0);
        assert_eq!(twice, Err(FederationError::Signers(KeysError::Repeated(signer(1)).into())));
    }

    #[test]
    fn the_refund_leaf_is_byte_for_byte_what_miniscript_writes() {
        let refund = signer(9);
        let expected = [&[0x20], &refund.serialize()[..], &[0xad, 0x02, 0x90, 0x00, 0xb2]].concat();
        assert_eq!(bridge().refund_leaf(refund).as_bytes(), expected);
        let soon = Federation::new(1, [signer(1)].to_vec(), 16, 0).expect("one key");
        assert!(Bridge::new(soon, FOUNDING).refund_leaf(refund).as_bytes().ends_with(&[0xad, 0x60, 0xb2]));
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
            assert_eq!(info.internal_key(), bridge.internal_key());
            let control = info.control_block(&(leaf.clone(), LeafVersion::TapScript)).expect("a leaf of the tree");
            assert_eq!(control.serialize().len(), length);
            let output_key = info.output_key().to_x_only_public_key();
            assert!(control.verify_taproot_commitment(&secp, output_key, &leaf));
            assert_eq!(script_pubkey.as_bytes(), [&[0x51, 0x20], &output_key.serialize()[..]].concat());
        }
        assert_ne!(bridge.deposit_script_pubkey(refund), bridge.deposit_script_pubkey(signer(8)));
        let slower = Federation::new(2, bridge.keys().to_vec(), 145, 0).expect("three keys");
        let slower = Bridge::new(slower, FOUNDING);
        assert_ne!(bridge.deposit_script_pubkey(refund), slower.deposit_script_pubkey(refund));
        assert_eq!(bridge.script_pubkey(), slower.script_pubkey());
    }

    /// s G is what the digest alone says, so that it can be redone by hand: H + s G, and nothing else.
    #[test]
    fn the_internal_key_is_h_and_the_hash_of_the_founding_digest_times_g() {
        use bitcoin::{key::Parity, secp256k1::SecretKey};
        let secp = Secp256k1::new();
        let input = [INTERNAL_KEY_TAG, &[7; 32]].concat();
        let s = SecretKey::from_slice(&sha256::Hash::hash(&input).to_byte_array()).expect("a scalar");
        let h = XOnlyPublicKey::from_slice(&H).expect("BIP-341 gives a point").public_key(Parity::Even);
        let sum = h.combine(&s.public_key(&secp)).expect("a sum of two points");
        assert_eq!(bridge().internal_key(), sum.x_only_public_key().0);
    }

    #[test]
    fn rollups_of_one_federation_have_other_outputs() {
        let other = Bridge::new(federation(), FoundingDigest::from_byte_array([8; 32]));
        assert_ne!(bridge().script_pubkey(), other.script_pubkey());
        assert_ne!(bridge().deposit_script_pubkey(signer(9)), other.deposit_script_pubkey(signer(9)));
        assert_eq!(bridge().federation_leaf(), other.federation_leaf());
    }
}
