//! What a taproot input spends, as far as it has to be known to check its signatures in a block alone.
//!
//! That Bitcoin takes a transaction does not say that the keys in its witness signed it. An output whose witness
//! version has no rules yet is spent by any witness, a copied leaf and control block included, and a block does not
//! show which output an input spends. So followers check the signatures of anchors and announcements themselves. What
//! is signed holds the scripts and the values of all spent outputs (BIP-341). The scripts follow from the witnesses;
//! the values are told by the sequences: 2^31 + value. A sequence of that size means nothing to Bitcoin (BIP-68) and
//! leaves the transaction replaceable (BIP-125).

use bitcoin::{
    Amount, Sequence, TapLeafHash, TapSighashType, Transaction, TxOut, XOnlyPublicKey,
    secp256k1::{Message, Secp256k1, Verification, schnorr},
    sighash::{Prevouts, SighashCache},
};

/// The highest value that a sequence tells: some 21 bitcoin.
pub const TOLD_VALUE_MAX: Amount = Amount::from_sat(0x7fff_fffd);

/// The bit that takes a sequence's other meanings from it.
const TELLS: u32 = 1 << 31;

/// The sequence of an input that tells the value that it spends; `None` above [`TOLD_VALUE_MAX`].
pub fn telling(value: Amount) -> Option<Sequence> {
    let value = u32::try_from(value.to_sat()).ok().filter(|value| u64::from(*value) <= TOLD_VALUE_MAX.to_sat())?;
    Some(Sequence(TELLS + value))
}

/// The value that a sequence tells, if it tells one.
pub fn told(sequence: Sequence) -> Option<Amount> {
    let value = Amount::from_sat(sequence.0.checked_sub(TELLS)?.into());
    (value <= TOLD_VALUE_MAX).then_some(value)
}

/// A signature of everything: of 64 bytes, or of 65 that end in 01.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WholeSignature {
    signature: schnorr::Signature,
    sighash_type: TapSighashType,
}

impl WholeSignature {
    /// Reads one; `None` for bytes that are none, or sign less.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (signature, sighash_type) = match bytes.split_at_checked(64)? {
            (signature, []) => (signature, TapSighashType::Default),
            (signature, [0x01]) => (signature, TapSighashType::All),
            _ => return None,
        };
        Some(Self { signature: schnorr::Signature::from_slice(signature).ok()?, sighash_type })
    }

    /// Whether a key made it for the first input of a transaction, which spends these outputs, the first of them by a
    /// leaf.
    pub(crate) fn holds<C: Verification>(
        &self,
        secp: &Secp256k1<C>,
        transaction: &Transaction,
        spent: &[TxOut],
        leaf: TapLeafHash,
        key: &XOnlyPublicKey,
    ) -> bool {
        let mut cache = SighashCache::new(transaction);
        let signed = cache.taproot_script_spend_signature_hash(0, &Prevouts::All(spent), leaf, self.sighash_type);
        signed.is_ok_and(|signed| secp.verify_schnorr(&self.signature, &Message::from(signed), key).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_tells_each_value_up_to_the_highest_and_is_replaceable_and_locks_nothing() {
        for sat in [0, 1, 330, 0x7fff_fffc, 0x7fff_fffd] {
            let sequence = telling(Amount::from_sat(sat)).expect("at most the highest");
            assert_eq!(told(sequence), Some(Amount::from_sat(sat)));
            assert!(sequence.is_rbf() && !sequence.is_relative_lock_time());
        }
        for sat in [0x7fff_fffe, 0x7fff_ffff, 0x8000_0000, 0x1_0000_0000, u64::MAX] {
            assert_eq!(telling(Amount::from_sat(sat)), None);
        }
        for sequence in [0, 0x7fff_ffff, 0xffff_fffe, 0xffff_ffff] {
            assert_eq!(told(Sequence(sequence)), None);
        }
    }

    #[test]
    fn a_whole_signature_has_64_bytes_or_one_more_that_says_so() {
        let with = |tail: &[u8]| WholeSignature::from_bytes(&[&[1; 64][..], tail].concat());
        assert!(with(&[]).is_some() && with(&[1]).is_some());
        for tail in [&[0][..], &[2], &[3], &[0x81], &[0x82], &[0x83], &[1, 1]] {
            assert_eq!(with(tail), None);
        }
        assert_eq!(WholeSignature::from_bytes(&[1; 63]), None);
        assert_eq!(WholeSignature::from_bytes(&[]), None);
    }
}
