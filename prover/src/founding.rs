//! What tells a new rollup from all others: its number and the marks of its outputs, derived from everything else
//! that its founder chose.
//!
//! Two rollups differ in their keys, their federation or the block that they start from, so they get other numbers
//! and marks without anybody having to think of some. A signature for one of them is then none for the other, and who
//! follows one does not look at the other's outputs. Neither circuits nor keys depend on them: a statement names the
//! number, a program does not.

use bitcoin::hashes::{Hash, HashEngine, sha256};
use taproof_circuits::state::Slots;
use taproof_verifier::{
    cell::ChainId,
    envelope::Magic,
    exit::EXITS_ENOUGH,
    follow::{Params, deposits_enough},
    payload::SLOTS_MAX,
};

/// What is put before the parameters when they are hashed.
const TAG: &[u8] = b"taproof v1 rollup identity";

/// What the rules can demand of one batch has more slots than a payload may have: a batch that everybody has to make
/// could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what the rules can demand of one batch has {found} slots, more than the {SLOTS_MAX} of a payload")]
pub struct TooManySlots {
    /// The slots of the most deposits and exits that a batch can be asked for.
    pub found: usize,
}

/// Checks that circuits of so many slots can do in one batch what the rules can demand of it: the most deposits, in
/// full chunks, and the most exits, each in a chunk of its own, as where the operator cannot take its fee.
///
/// # Errors
/// [`TooManySlots`].
pub fn check_slots(slots: &Slots) -> Result<(), TooManySlots> {
    let deposit = slots.deposit.get();
    let deposits = deposits_enough(deposit).next_multiple_of(usize::from(deposit));
    let found = deposits + EXITS_ENOUGH * usize::from(slots.withdraw.get());
    if found > SLOTS_MAX { Err(TooManySlots { found }) } else { Ok(()) }
}

/// A rollup's number and marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollupIdentity {
    /// The rollup's number, which statements and signatures name.
    pub chain_id: ChainId,
    /// Marks the outputs that announce anchors.
    pub magic: Magic,
    /// Marks the outputs that name a deposit's owner.
    pub deposit_magic: Magic,
}

impl RollupIdentity {
    /// Derives number and marks from all other parameters, whatever number and marks these have: the 4-byte words of
    /// a SHA-256 are number, magic and deposit magic, which is the next word that is not the magic.
    ///
    /// Hashed are the tag `taproof v1 rollup identity`; the network as Bitcoin's messages name it (4 bytes); the
    /// depth (1); the bridge: threshold (1), number of keys (1), the keys (32 each), refund delay (2), least deposit
    /// (8); window (4), expiry (4), the start's height (4) and hash (32), final depth (4), program id (32). Integers
    /// are little-endian, the hash is in its internal order.
    pub fn derive(params: &Params) -> Self {
        let bridge = &params.bridge;
        let mut engine = sha256::Hash::engine();
        engine.input(TAG);
        engine.input(&params.network.magic().to_bytes());
        engine.input(&[params.genesis_depth.levels(), bridge.threshold(), bridge.keys().len() as u8]);
        bridge.keys().iter().for_each(|key| engine.input(&key.serialize()));
        engine.input(&bridge.refund_delay_blocks().to_le_bytes());
        engine.input(&bridge.deposit_min_sat().to_le_bytes());
        engine.input(&params.deposit_window_blocks.to_le_bytes());
        engine.input(&params.deposit_expiry_blocks.to_le_bytes());
        engine.input(&params.start.height.to_le_bytes());
        engine.input(&params.start.hash.to_byte_array());
        engine.input(&params.final_depth_blocks.to_le_bytes());
        engine.input(&params.program_id.to_byte_array());
        let hash = sha256::Hash::from_engine(engine).to_byte_array();
        let (words, _) = hash.as_chunks::<4>();
        let [number, magic, rest @ ..] = words else { unreachable!("32 bytes are 8 words") };
        let deposit_magic = rest.iter().find(|word| *word != magic).expect("a hash repeats no word seven times");
        Self {
            chain_id: ChainId(u32::from_le_bytes(*number)),
            magic: Magic(*magic),
            deposit_magic: Magic(*deposit_magic),
        }
    }

    /// The number and the marks that a rollup has.
    pub fn of(params: &Params) -> Self {
        Self { chain_id: params.chain_id, magic: params.magic, deposit_magic: params.deposit_magic }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::{BlockHash, Network, XOnlyPublicKey};
    use std::{collections::BTreeSet, num::NonZeroU16};
    use taproof_verifier::{bridge::Bridge, cell::Depth, headers::BlockId, program::ProgramId};

    fn params() -> Params {
        Params {
            network: Network::Regtest,
            chain_id: ChainId(1),
            magic: Magic(*b"tprf"),
            deposit_magic: Magic(*b"tpdp"),
            genesis_depth: Depth::new(4).unwrap(),
            bridge: bridge(1, 2_016, 10_000),
            deposit_window_blocks: 144,
            deposit_expiry_blocks: 1_008,
            start: BlockId { height: 100, hash: BlockHash::from_byte_array([7; 32]) },
            final_depth_blocks: 6,
            program_id: ProgramId::from_byte_array([9; 32]),
        }
    }

    fn bridge(threshold: u8, refund_delay_blocks: u16, deposit_min_sat: u64) -> Bridge {
        let key = |text: &str| text.parse::<XOnlyPublicKey>().unwrap();
        let keys = [
            key("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"),
            key("c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5"),
        ];
        Bridge::new(threshold, keys.to_vec(), refund_delay_blocks, deposit_min_sat).unwrap()
    }

    #[test]
    fn slots_that_no_batch_could_use_for_what_it_must_hold_are_refused() {
        let check = |deposit, withdraw| {
            let [deposit, withdraw, one] = [deposit, withdraw, 1].map(|slots| NonZeroU16::new(slots).unwrap());
            check_slots(&Slots { deposit, transfer: one, open: one, withdraw })
        };
        assert_eq!(check(20, 6), Ok(()));
        // 64 exits in chunks of 1,984 slots leave room for 4,096 deposits in full chunks, and for no more.
        assert_eq!(check(4_096, 1_984), Ok(()));
        assert_eq!(check(4_096, 1_985), Err(TooManySlots { found: SLOTS_MAX + 64 }));
        assert_eq!(check(4_097, 1_984), Err(TooManySlots { found: SLOTS_MAX + 1 }));
        assert!(check(u16::MAX, u16::MAX).is_err());
    }

    #[test]
    fn number_and_marks_do_not_go_into_themselves() {
        let derived = RollupIdentity::derive(&params());
        let RollupIdentity { chain_id, magic, deposit_magic } = derived;
        let named = Params { chain_id, magic, deposit_magic, ..params() };
        assert_eq!(RollupIdentity::derive(&named), derived);
        assert_eq!(RollupIdentity::of(&named), derived);
        assert_ne!(magic, deposit_magic);
    }

    #[test]
    fn every_other_parameter_goes_into_all_three() {
        let rollups = [
            params(),
            Params { network: Network::Signet, ..params() },
            Params { genesis_depth: Depth::new(5).unwrap(), ..params() },
            Params { bridge: bridge(2, 2_016, 10_000), ..params() },
            Params { bridge: bridge(1, 2_017, 10_000), ..params() },
            Params { bridge: bridge(1, 2_016, 10_001), ..params() },
            Params { deposit_window_blocks: 145, ..params() },
            Params { deposit_expiry_blocks: 1_009, ..params() },
            Params { start: BlockId { height: 101, ..params().start }, ..params() },
            Params { start: BlockId { hash: BlockHash::from_byte_array([8; 32]), ..params().start }, ..params() },
            Params { final_depth_blocks: 7, ..params() },
            Params { program_id: ProgramId::from_byte_array([10; 32]), ..params() },
        ];
        let derived = rollups.each_ref().map(RollupIdentity::derive);
        assert_eq!(derived.iter().map(|rollup| rollup.chain_id.0).collect::<BTreeSet<_>>().len(), rollups.len());
        assert_eq!(derived.iter().map(|rollup| rollup.magic).collect::<BTreeSet<_>>().len(), rollups.len());
        assert_eq!(derived.iter().map(|rollup| rollup.deposit_magic).collect::<BTreeSet<_>>().len(), rollups.len());
    }
}
