//! Deposits: outputs to the bridge that name who is credited on the rollup.
//!
//! A deposit is a pair of adjacent outputs of one transaction: the first pays the bridge's script, the second is
//! `OP_RETURN` with one push of 36 bytes, the deposit magic and the owner's key. Any other form is no deposit; nothing
//! on the rollup then stands for the money. Deposits are ordered by block, transaction and output.

use crate::{baby_jubjub::PublicKey, envelope::Magic};
use alloc::vec::Vec;
use bitcoin::{
    Amount, Script, ScriptBuf, Transaction, TxOut,
    opcodes::all::{OP_PUSHBYTES_36, OP_RETURN},
};

/// Bytes that the second output pushes.
pub const TAG_LENGTH: usize = 4 + 32;

/// A payment to the bridge for an owner on the rollup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deposit {
    /// What the bridge was paid, in satoshi.
    pub amount_sat: u64,
    /// Who is to be credited.
    pub owner: PublicKey,
}

impl Deposit {
    /// The two outputs, which must stand next to each other in this order.
    pub fn outputs(&self, bridge: &Script, magic: Magic) -> [TxOut; 2] {
        let payment =
            TxOut { value: Amount::from_sat(self.amount_sat), script_pubkey: ScriptBuf::from_bytes(bridge.to_bytes()) };
        [payment, TxOut { value: Amount::ZERO, script_pubkey: tag_script(&self.owner, magic) }]
    }

    /// Finds a transaction's deposits, each with the position of the output that pays the bridge, in ascending order.
    pub fn scan(transaction: &Transaction, bridge: &Script, magic: Magic) -> Vec<(u32, Self)> {
        let deposit = |(vout, pair): (u32, &[TxOut])| {
            let [payment, tag] = pair else { return None };
            if *payment.script_pubkey != *bridge {
                return None;
            }
            let owner = parse_tag(&tag.script_pubkey, magic)?;
            Some((vout, Self { amount_sat: payment.value.to_sat(), owner }))
        };
        (0..).zip(transaction.output.windows(2)).filter_map(deposit).collect()
    }
}

/// `OP_RETURN`, then one push of the magic (4 bytes) and [`PublicKey::to_bytes`] (32).
fn tag_script(owner: &PublicKey, Magic(magic): Magic) -> ScriptBuf {
    let mut script = Vec::with_capacity(2 + TAG_LENGTH);
    script.extend([OP_RETURN.to_u8(), OP_PUSHBYTES_36.to_u8()]);
    script.extend(magic);
    script.extend(owner.to_bytes());
    script.into()
}

fn parse_tag(script: &Script, Magic(magic): Magic) -> Option<PublicKey> {
    let push = script.as_bytes().strip_prefix(&[OP_RETURN.to_u8(), OP_PUSHBYTES_36.to_u8()])?;
    let key = push.strip_prefix(&magic)?.try_into().ok()?;
    PublicKey::from_bytes(key).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baby_jubjub::{Point, Scalar};
    use ark_ec::{AffineRepr, CurveGroup};
    use bitcoin::{absolute::LockTime, transaction::Version};
    use proptest::prelude::*;

    const MAGIC: Magic = Magic(*b"tpd0");

    fn key(secret: u64) -> PublicKey {
        let point = (Point::generator() * Scalar::from(secret)).into_affine();
        PublicKey::new(point).expect("a small multiple of the generator")
    }

    fn bridge() -> ScriptBuf {
        [[0x51, 0x20].as_slice(), &[7; 32]].concat().into()
    }

    fn transaction(output: Vec<TxOut>) -> Transaction {
        Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: Vec::new(), output }
    }

    fn scan(output: Vec<TxOut>) -> Vec<(u32, Deposit)> {
        Deposit::scan(&transaction(output), &bridge(), MAGIC)
    }

    proptest! {
        #[test]
        fn every_pair_is_found_in_its_place(amounts in prop::collection::vec((any::<u64>(), 1u64.., any::<bool>()), 0..5)) {
            let (mut outputs, mut expected) = (Vec::new(), Vec::new());
            for (amount_sat, secret, gap) in amounts {
                if gap {
                    outputs.push(TxOut { value: Amount::ONE_BTC, script_pubkey: bridge() });
                }
                let deposit = Deposit { amount_sat, owner: key(secret) };
                expected.push((outputs.len() as u32, deposit));
                outputs.extend(deposit.outputs(&bridge(), MAGIC));
            }
            prop_assert_eq!(scan(outputs), expected);
        }
    }

    #[test]
    fn anything_else_is_no_deposit() {
        let deposit = Deposit { amount_sat: 5, owner: key(1) };
        let [payment, tag] = deposit.outputs(&bridge(), MAGIC);
        let with_tag =
            |script: Vec<u8>| alloc::vec![payment.clone(), TxOut { script_pubkey: script.into(), ..tag.clone() }];
        let bytes = tag.script_pubkey.to_bytes();
        assert_eq!(scan(with_tag(bytes.clone())), [(0, deposit)]);
        assert!(scan(alloc::vec![payment.clone()]).is_empty());
        assert!(scan(alloc::vec![tag.clone(), payment.clone()]).is_empty());
        let between = TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::new() };
        assert!(scan(alloc::vec![payment.clone(), between, tag.clone()]).is_empty());
        let elsewhere = TxOut { script_pubkey: ScriptBuf::new(), ..payment.clone() };
        assert!(scan(alloc::vec![elsewhere, tag.clone()]).is_empty());
        assert!(Deposit::scan(&transaction(with_tag(bytes.clone())), &bridge(), Magic(*b"tpd1")).is_empty());
        assert!(scan(with_tag([bytes.as_slice(), &[0]].concat())).is_empty());
        assert!(scan(with_tag(bytes[..bytes.len() - 1].to_vec())).is_empty());
        let mut pushdata = alloc::vec![0x6a, 0x4c, 36];
        pushdata.extend(&bytes[2..]);
        assert!(scan(with_tag(pushdata)).is_empty(), "the push must be minimal");
        let mut outside_subgroup = bytes.clone();
        outside_subgroup[6..].fill(0);
        assert!(scan(with_tag(outside_subgroup)).is_empty());
        let mut not_canonical = bytes;
        not_canonical[6..].fill(0xff);
        assert!(scan(with_tag(not_canonical)).is_empty());
    }
}
