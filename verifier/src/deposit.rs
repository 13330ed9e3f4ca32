//! Deposits: outputs to the bridge that name who is credited on the rollup.
//!
//! A deposit is a pair of adjacent outputs of one transaction: the first pays to [`Bridge::deposit_script_pubkey`] of
//! a refund key, the second is `OP_RETURN` with one push of 80 bytes: the chain id (15), the tag 1, the owner's
//! key (32) and the refund key (32). Any other form, or an amount below [`Bridge::deposit_min_sat`], is no deposit;
//! nothing on the rollup then stands for the money. Deposits are ordered by block, transaction and output.

use crate::{baby_jubjub::PublicKey, bridge::Bridge, cell::ChainId};
use alloc::vec::Vec;
use bitcoin::{Amount, Script, ScriptBuf, Transaction, TxOut, XOnlyPublicKey};

/// Bytes that the second output pushes.
pub const TAG_LENGTH: usize = ChainId::LENGTH + 1 + 32 + 32;

/// `OP_RETURN`, `OP_PUSHDATA1`, the length: with the push, the longest that nodes of every version pass on.
const PREFIX: [u8; 3] = [0x6a, 0x4c, TAG_LENGTH as u8];
/// What follows the chain id in a deposit's second output.
const TAG: u8 = 1;

/// What a script that has the form of a deposit's second output says, of whatever rollup, its keys unchecked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The rollup.
    pub chain_id: ChainId,
    /// The owner's key, as [`PublicKey::from_bytes`] reads it.
    pub owner: [u8; 32],
    /// The refund key's x coordinate.
    pub refund: [u8; 32],
}

impl Tag {
    /// Reads a script; `None` if it has another form.
    pub fn parse(script: &Script) -> Option<Self> {
        let push = script.as_bytes().strip_prefix(&PREFIX)?;
        let (chain_id, rest) = push.split_first_chunk()?;
        let (owner, refund) = rest.strip_prefix(&[TAG])?.split_first_chunk()?;
        Some(Self { chain_id: ChainId::from_byte_array(*chain_id), owner: *owner, refund: refund.try_into().ok()? })
    }
}

/// A payment to the bridge for an owner on the rollup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// What the bridge was paid, in satoshi.
    pub amount_sat: u64,
    /// Who is to be credited.
    pub owner: PublicKey,
    /// The key that takes the money back on Bitcoin when the refund's delay is over.
    pub refund: XOnlyPublicKey,
}

impl Deposit {
    /// The two outputs, which must stand next to each other in this order.
    pub fn outputs(&self, bridge: &Bridge, chain_id: ChainId) -> [TxOut; 2] {
        let script_pubkey = bridge.deposit_script_pubkey(self.refund);
        let payment = TxOut { value: Amount::from_sat(self.amount_sat), script_pubkey };
        [payment, TxOut { value: Amount::ZERO, script_pubkey: tag_script(&self.owner, &self.refund, chain_id) }]
    }

    /// Finds a transaction's deposits, each with the position of the output that pays the bridge, in ascending order.
    pub fn scan(transaction: &Transaction, bridge: &Bridge, chain_id: ChainId) -> Vec<(u32, Self)> {
        let deposit = |(vout, pair): (u32, &[TxOut])| {
            let [payment, tag] = pair else { return None };
            // Cheap comparisons come first: only what has the form of a deposit costs operations on curves.
            let is_payment = payment.script_pubkey.is_p2tr() && payment.value.to_sat() >= bridge.deposit_min_sat();
            let tag = Tag::parse(&tag.script_pubkey).filter(|tag| is_payment && tag.chain_id == chain_id)?;
            let owner = PublicKey::from_bytes(&tag.owner).ok()?;
            let refund = XOnlyPublicKey::from_slice(&tag.refund).ok()?;
            let is_to_bridge = payment.script_pubkey == bridge.deposit_script_pubkey(refund);
            is_to_bridge.then_some((vout, Self { amount_sat: payment.value.to_sat(), owner, refund }))
        };
        (0..).zip(transaction.output.windows(2)).filter_map(deposit).collect()
    }
}

/// `OP_RETURN`, then one push: the chain id (15 bytes), [`TAG`], [`PublicKey::to_bytes`] (32), the refund key (32).
fn tag_script(owner: &PublicKey, refund: &XOnlyPublicKey, chain_id: ChainId) -> ScriptBuf {
    let mut script = Vec::with_capacity(PREFIX.len() + TAG_LENGTH);
    script.extend(PREFIX);
    script.extend(chain_id.to_byte_array());
    script.push(TAG);
    script.extend(owner.to_bytes());
    script.extend(refund.serialize());
    script.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        baby_jubjub::{Point, Scalar},
        bridge::{
            Federation,
            tests::{bridge, signer},
        },
        follow::FoundingDigest,
    };
    use ark_ec::{AffineRepr, CurveGroup};
    use bitcoin::{absolute::LockTime, transaction::Version};
    use proptest::prelude::*;

    const CHAIN: ChainId = ChainId::from_byte_array([7; 15]);

    fn key(secret: u64) -> PublicKey {
        let point = (Point::generator() * Scalar::from(secret)).into_affine();
        PublicKey::new(point).expect("a small multiple of the generator")
    }

    fn transaction(output: Vec<TxOut>) -> Transaction {
        Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: Vec::new(), output }
    }

    fn scan(output: Vec<TxOut>) -> Vec<(u32, Deposit)> {
        Deposit::scan(&transaction(output), &bridge(), CHAIN)
    }

    proptest! {
        #[test]
        fn every_pair_is_found_in_its_place(
            amounts in prop::collection::vec((any::<u64>(), 1u64.., 1u8..4, any::<bool>()), 0..5),
        ) {
            let (mut outputs, mut expected) = (Vec::new(), Vec::new());
            for (amount_sat, secret, refund, gap) in amounts {
                let refund = signer(refund);
                if gap {
                    let script_pubkey = bridge().deposit_script_pubkey(refund);
                    outputs.push(TxOut { value: Amount::ONE_BTC, script_pubkey });
                }
                let deposit = Deposit { amount_sat, owner: key(secret), refund };
                expected.push((outputs.len() as u32, deposit));
                outputs.extend(deposit.outputs(&bridge(), CHAIN));
            }
            prop_assert_eq!(scan(outputs), expected);
        }
    }

    #[test]
    fn anything_else_is_no_deposit() {
        let deposit = Deposit { amount_sat: 5, owner: key(1), refund: signer(9) };
        let [payment, tag] = deposit.outputs(&bridge(), CHAIN);
        let with_tag =
            |script: Vec<u8>| alloc::vec![payment.clone(), TxOut { script_pubkey: script.into(), ..tag.clone() }];
        let bytes = tag.script_pubkey.to_bytes();
        assert_eq!(bytes.len(), PREFIX.len() + TAG_LENGTH);
        assert_eq!(scan(with_tag(bytes.clone())), [(0, deposit)]);
        assert!(scan(alloc::vec![payment.clone()]).is_empty());
        assert!(scan(alloc::vec![tag.clone(), payment.clone()]).is_empty());
        let between = TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::new() };
        assert!(scan(alloc::vec![payment.clone(), between, tag.clone()]).is_empty());
        let others = [ScriptBuf::new(), bridge().script_pubkey(), bridge().deposit_script_pubkey(signer(8))];
        for script_pubkey in others {
            let elsewhere = TxOut { script_pubkey, ..payment.clone() };
            assert!(scan(alloc::vec![elsewhere, tag.clone()]).is_empty());
        }
        let with = |delay, min_sat| {
            let federation = Federation::new(2, bridge().keys().to_vec(), delay, min_sat).expect("three keys");
            Bridge::new(federation, FoundingDigest::from_byte_array([7; 32]))
        };
        let slower = with(145, 0);
        assert!(Deposit::scan(&transaction(with_tag(bytes.clone())), &slower, CHAIN).is_empty());
        for (deposit_min_sat, expected) in [(5, 1), (6, 0)] {
            let bridge = with(144, deposit_min_sat);
            let found = Deposit::scan(&transaction(with_tag(bytes.clone())), &bridge, CHAIN);
            assert_eq!(found.len(), expected, "at least {deposit_min_sat} sat");
        }
        assert!(
            Deposit::scan(&transaction(with_tag(bytes.clone())), &bridge(), ChainId::from_byte_array([8; 15]))
                .is_empty()
        );
        assert!(scan(with_tag([bytes.as_slice(), &[0]].concat())).is_empty());
        assert!(scan(with_tag(bytes[..bytes.len() - 1].to_vec())).is_empty());
        let mut pushdata = alloc::vec![0x6a, 0x4d, 80, 0];
        pushdata.extend(&bytes[3..]);
        assert!(scan(with_tag(pushdata)).is_empty(), "the push must be minimal");
        let altered = |range: core::ops::Range<usize>, byte: u8| {
            let mut altered = bytes.clone();
            altered[range].fill(byte);
            scan(with_tag(altered))
        };
        assert!(altered(18..19, 2).is_empty(), "another tag");
        assert!(altered(19..51, 0).is_empty(), "the owner's key is outside the subgroup");
        assert!(altered(19..51, 0xff).is_empty(), "the owner's key is not canonical");
        assert!(altered(51..83, 0).is_empty(), "the refund key is not on the curve");
        assert!(altered(51..83, 0xff).is_empty(), "the refund key is not canonical");
    }
}
