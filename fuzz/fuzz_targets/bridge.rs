//! What reaches signers of the bridge: PSBTs of a coordinator, and bindings on the chain. Nothing panics, nothing is
//! signed that a signer knows nothing of, and a binding has one form.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::{collections::HashMap, sync::LazyLock};
use taproof::bridge::{
    check::{CheckedLink, FeeBounds, SignerView},
    link::Binding,
    scan::BridgeScan,
    sign::combine,
};
use taproof_verifier::{
    bitcoin::{Network, Psbt, Script, Transaction, consensus::deserialize, constants::genesis_block},
    bridge::{Bridge, unspendable_key},
    cell::{ChainId, Depth},
    envelope::Magic,
    follow::Params,
    headers::BlockId,
    program::ProgramId,
};

const MAGIC: Magic = Magic(*b"fuzz");

static PARAMS: LazyLock<Params> = LazyLock::new(|| Params {
    network: Network::Regtest,
    chain_id: ChainId(1),
    magic: MAGIC,
    deposit_magic: MAGIC,
    genesis_depth: Depth::new(2).expect("a few levels"),
    bridge: Bridge::new(1, vec![unspendable_key()], 100, 0).expect("one key"),
    deposit_window_blocks: 6,
    deposit_expiry_blocks: 20,
    start: BlockId { height: 0, hash: genesis_block(Network::Regtest).block_hash() },
    final_depth_blocks: 3,
    program_id: ProgramId::from_byte_array([0; 32]),
});

fuzz_target!(|input: &[u8]| {
    if let Some(binding) = Binding::parse(Script::from_bytes(input), MAGIC) {
        assert_eq!(binding.output(MAGIC).script_pubkey.as_bytes(), input);
    }
    if let Ok(transaction) = deserialize::<Transaction>(input) {
        let mut scan = BridgeScan::new(PARAMS.clone());
        let block = BlockId { height: 1, hash: PARAMS.start.hash };
        scan.connect(block, &[transaction.clone(), transaction], &[]);
        scan.rewind(PARAMS.start);
        assert!(scan.coins().is_empty());
    }
    let Ok(psbt) = Psbt::deserialize(input) else { return };
    let _ = combine(vec![psbt.clone(), psbt.clone()], &PARAMS.bridge);
    let rate = |text: &str| text.parse().expect("a rate");
    let fee_coins = HashMap::new();
    let fee_bounds = FeeBounds { min: rate("1"), max: rate("100") };
    let scan = BridgeScan::new(PARAMS.clone());
    let view = SignerView { scan: &scan, fee_coins: &fee_coins, fee_bounds };
    assert!(CheckedLink::check(psbt, &view).is_err(), "no deposit is credited");
});
