//! What reaches signers of the bridge: PSBTs of a coordinator, and bindings on the chain. Nothing panics, nothing is
//! signed that a signer knows nothing of, and a binding has one form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::{collections::HashMap, sync::LazyLock};
use taproof_bitcoin::bridge::{
    check::{CheckedLink, FeeBounds, SignerView},
    link::Binding,
    scan::BridgeScan,
    sign::combine,
};
use taproof_verifier::{
    bitcoin::{Network, Psbt, Script, Transaction, XOnlyPublicKey, consensus::deserialize, constants::genesis_block},
    bridge::Federation,
    cell::Depth,
    follow::{Founding, Params},
    headers::BlockId,
    program::ProgramId,
    quorum::Keys,
};

static PARAMS: LazyLock<Params> = LazyLock::new(|| {
    let signer = XOnlyPublicKey::from_slice(&[1; 32]).expect("the x of a point");
    let params = Params::new(Founding {
        network: Network::Regtest,
        genesis_depth: Depth::new(2).expect("a few levels"),
        federation: Federation::new(1, vec![signer], 100, 0).expect("one key"),
        deposit_window_blocks: 6,
        deposit_expiry_blocks: 20,
        start: BlockId { height: 0, hash: genesis_block(Network::Regtest).block_hash() },
        final_depth_blocks: 3,
        upgrade_keys: None,
        notice_blocks: 0,
        sequencer_keys: Keys::default(),
        quiet_blocks: 0,
        opening_min_sat: 0,
        program_id: ProgramId::from_byte_array([0; 32]),
    });
    params.expect("consistent parameters")
});

fuzz_target!(|input: &[u8]| {
    if let Some(binding) = Binding::parse(Script::from_bytes(input), PARAMS.chain_id()) {
        assert_eq!(binding.output(PARAMS.chain_id()).script_pubkey.as_bytes(), input);
    }
    if let Ok(transaction) = deserialize::<Transaction>(input) {
        let mut scan = BridgeScan::new(PARAMS.clone());
        let block = BlockId { height: 1, hash: PARAMS.start.hash };
        scan.connect(block, &[transaction.clone(), transaction], &[]);
        scan.rewind(PARAMS.start);
        assert!(scan.coins().is_empty());
    }
    let Ok(psbt) = Psbt::deserialize(input) else { return };
    let _ = combine(vec![psbt.clone(), psbt.clone()], PARAMS.bridge());
    let rate = |text: &str| text.parse().expect("a rate");
    let fee_coins = HashMap::new();
    let fee_bounds = FeeBounds { min: rate("1"), max: rate("100") };
    let scan = BridgeScan::new(PARAMS.clone());
    let view = SignerView { scan: &scan, fee_coins: &fee_coins, fee_bounds };
    assert!(CheckedLink::check(psbt, &view).is_err(), "no deposit is credited");
});
