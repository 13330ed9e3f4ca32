use super::rig::{DEPOSIT_MIN_SAT, FINAL_DEPTH_BLOCKS, REFUND_DELAY_BLOCKS, World};
use crate::bridge::descriptor::{BridgeOutput, Leaf};
use bitcoin::{Network, TapLeafHash, XOnlyPublicKey, taproot::LeafVersion};
use miniscript::Descriptor;
use std::str::FromStr;
use taproof_verifier::{
    bridge::{Bridge, Federation},
    deposit::Deposit,
};

/// Holds a descriptor's output and leaves against the verifier's.
fn compare(bridge: &Bridge, refund: XOnlyPublicKey) {
    let own = BridgeOutput::own(bridge).unwrap();
    assert_eq!(own.script_pubkey(), bridge.script_pubkey());
    assert_eq!(Some(own.merkle_root()), bridge.spend_info().merkle_root());
    assert!(own.refund().is_none());
    let deposit = BridgeOutput::deposit(bridge, refund).unwrap();
    assert_eq!(deposit.script_pubkey(), bridge.deposit_script_pubkey(refund));
    let info = bridge.deposit_spend_info(refund);
    assert_eq!(Some(deposit.merkle_root()), info.merkle_root());
    let leaves: [(&Leaf, _, _); 3] = [
        (own.federation(), bridge.federation_leaf(), bridge.spend_info()),
        (deposit.federation(), bridge.federation_leaf(), info.clone()),
        (deposit.refund().unwrap(), bridge.refund_leaf(refund), info),
    ];
    for (leaf, script, info) in leaves {
        assert_eq!(leaf.script, script);
        assert_eq!(leaf.hash(), TapLeafHash::from_script(&script, LeafVersion::TapScript));
        assert_eq!(Some(&leaf.control_block), info.control_block(&(script, LeafVersion::TapScript)).as_ref());
    }
}

#[test]
fn descriptors_are_the_verifiers_scripts() {
    let world = World::new();
    let signers: Vec<XOnlyPublicKey> = (0..20).map(|index| world.signer(index).public()).collect();
    let refund = world.refund_key(0).public();
    for (threshold, count, delay) in [(1, 1, 1), (2, 3, 144), (3, 3, 16), (15, 20, 17), (17, 20, 65_535)] {
        let federation = Federation::new(threshold, signers[..count].to_vec(), delay, 0).unwrap();
        compare(&Bridge::new(federation, world.params.digest()), refund);
    }
}

/// What the verifier takes for a deposit, the federation must be able to move.
#[test]
fn odd_refund_keys_have_descriptors() {
    let world = World::new();
    for refund in [world.params.bridge().keys()[0], world.params.bridge().internal_key()] {
        compare(world.params.bridge(), refund);
    }
}

/// A stranger's deposit of the least amount, its refund key a public one, before an honest deposit or after it.
#[test]
fn deposits_with_odd_refund_keys_are_moved_like_others() {
    let keys = World::new();
    for refund in [keys.signer(0).public(), keys.signer(2).public(), keys.params.bridge().internal_key()] {
        for is_first in [true, false] {
            let mut world = World::new();
            let odd = Deposit { amount_sat: DEPOSIT_MIN_SAT, owner: *world.owner().public(), refund };
            let odd = world.pay(odd.outputs(world.params.bridge(), world.params.chain_id()).into());
            let honest = world.deposit(100_000, 1);
            world.mine(&if is_first { [odd, honest] } else { [honest, odd] });
            let note = world.note(0, 2, &[(100_000, [0xaa; 20])]);
            world.mine(&[note]);
            world.mine_empty(FINAL_DEPTH_BLOCKS);
            let mut view = world.view();
            let planned = world.plan(&view).unwrap();
            assert_eq!((planned.deposits, planned.paid_sat), (2, 100_000), "{refund}, first: {is_first}");
            let link = world.sign(&planned.psbt, &view);
            world.mine(&[link]);
            view.sync(&world.chain);
            assert!(view.scan.faults().is_empty() && view.scan.unpaid().len() == 0);
        }
    }
}

#[test]
fn descriptors_have_the_documented_form_and_are_read_back() {
    let world = World::new();
    let bridge = world.params.bridge();
    let [a, b, c] = [0, 1, 2].map(|i| bridge.keys()[i]);
    let (internal, refund) = (world.params.bridge().internal_key(), world.refund_key(0).public());
    let text = BridgeOutput::own(bridge).unwrap().descriptor().to_string();
    assert_eq!(text.split('#').next(), Some(format!("tr({internal},multi_a(2,{a},{b},{c}))").as_str()));
    let deposit = BridgeOutput::deposit(bridge, refund).unwrap();
    let text = deposit.descriptor().to_string();
    let federation = format!("multi_a(2,{a},{b},{c})");
    let expected = format!("tr({internal},{{{federation},and_v(v:pk({refund}),older({REFUND_DELAY_BLOCKS}))}})");
    assert_eq!(text.split('#').next(), Some(expected.as_str()));
    let read = Descriptor::<XOnlyPublicKey>::from_str(&text).unwrap();
    assert_eq!(read.script_pubkey(), deposit.script_pubkey());
    assert!(deposit.address(Network::Regtest).to_string().starts_with("bcrt1p"));
}
