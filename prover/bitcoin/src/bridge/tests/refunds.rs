//! Deposits and what becomes of those that nobody credits.

use super::rig::{DEPOSIT_MIN_SAT, EXPIRY_BLOCKS, FINAL_DEPTH_BLOCKS, REFUND_DELAY_BLOCKS, World, rate};
use crate::{
    bridge::{
        deposit::{DepositError, RefundError, check_uncredited, deposit_outputs, refund, unfunded_psbt},
        descriptor::BridgeOutput,
        plan::PlanError,
        scan::{BridgeFaultKind, Credit, HeadError, Origin},
    },
    node::Unspent,
};
use bitcoin::{
    Amount, OutPoint, Psbt, Sequence, TapSighashType, Transaction, TxIn, TxOut, Witness,
    absolute::LockTime,
    hashes::Hash,
    key::Secp256k1,
    secp256k1::Message,
    sighash::{Prevouts, SighashCache},
    transaction::Version,
};
use taproof_verifier::{
    bridge::{Federation, OUTPUT_MIN_SAT},
    deposit::Deposit,
};

/// A deposit of depositor 0 spent by the refund leaf, whatever the rules of this code say.
pub(super) fn by_depositor(
    world: &World,
    outpoint: OutPoint,
    spent: &TxOut,
    way: &BridgeOutput,
    output: Vec<TxOut>,
) -> Transaction {
    let input = TxIn {
        previous_output: outpoint,
        script_sig: Default::default(),
        sequence: Sequence::from_height(REFUND_DELAY_BLOCKS),
        witness: Witness::new(),
    };
    let mut transaction = Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: vec![input], output };
    let leaf = way.refund().unwrap();
    let spent = std::slice::from_ref(spent);
    let sighash = SighashCache::new(&transaction)
        .taproot_script_spend_signature_hash(0, &Prevouts::All(spent), leaf.hash(), TapSighashType::Default)
        .unwrap();
    let message = Message::from_digest(sighash.to_byte_array());
    let signature = Secp256k1::new().sign_schnorr_no_aux_rand(&message, world.refund_key(0).pair());
    let control_block = leaf.control_block.serialize();
    transaction.input[0].witness =
        Witness::from_slice(&[signature.serialize().as_slice(), leaf.script.as_bytes(), control_block.as_slice()]);
    transaction
}

fn unspent(world: &World, outpoint: &OutPoint) -> Unspent {
    let coin = world.chain.coin(outpoint).unwrap();
    let confirmations = world.chain.height() + 1 - coin.height;
    Unspent { output: coin.output.clone(), confirmations, is_coinbase: false }
}

#[test]
fn amounts_are_bounded_and_wallets_can_fund_the_outputs() {
    let world = World::new();
    let deposit =
        |amount_sat| Deposit { amount_sat, owner: *world.owner().public(), refund: world.refund_key(0).public() };
    let most = Amount::MAX_MONEY.to_sat();
    for found_sat in [0, DEPOSIT_MIN_SAT - 1, most + 1, u64::MAX] {
        let error = DepositError::Amount { min_sat: DEPOSIT_MIN_SAT, found_sat };
        assert_eq!(deposit_outputs(&world.params, &deposit(found_sat)), Err(error));
    }
    let bridge = world.params.bridge();
    let free = Federation::new(bridge.threshold(), bridge.keys().to_vec(), bridge.refund_delay_blocks(), 0).unwrap();
    let free = world.params.with(|founding| founding.federation = free).unwrap();
    assert!(deposit_outputs(&free, &deposit(OUTPUT_MIN_SAT)).is_ok());
    let error = DepositError::Amount { min_sat: OUTPUT_MIN_SAT, found_sat: OUTPUT_MIN_SAT - 1 };
    assert_eq!(deposit_outputs(&free, &deposit(OUTPUT_MIN_SAT - 1)), Err(error), "nodes do not relay it");
    for amount in [DEPOSIT_MIN_SAT, most] {
        let outputs = deposit_outputs(&world.params, &deposit(amount)).unwrap();
        let psbt = Psbt::deserialize(&unfunded_psbt(outputs.clone()).serialize()).unwrap();
        assert_eq!((psbt.unsigned_tx.input.len(), psbt.unsigned_tx.output), (0, outputs.to_vec()));
    }
}

#[test]
fn an_uncredited_deposit_comes_back_after_the_delay_and_not_before() {
    let mut world = World::new();
    let deposit = world.deposit(50_000, 0);
    let outpoint = OutPoint { txid: deposit.compute_txid(), vout: 0 };
    world.mine(&[deposit]);
    let to = world.poster.script_pubkey();
    let try_refund = |world: &World, key: u32| {
        let key = world.refund_key(key);
        refund(&world.params, outpoint, &unspent(world, &outpoint), &key, to.clone(), rate("2"))
    };
    assert!(matches!(
        check_uncredited(&world.view().scan, &outpoint),
        Err(RefundError::Open { index: 0, last_height }) if last_height == world.chain.height() + EXPIRY_BLOCKS
    ));
    assert!(matches!(try_refund(&world, 1), Err(RefundError::OtherKey { .. })));
    world.mine_empty(u32::from(REFUND_DELAY_BLOCKS) - 2);
    assert!(matches!(try_refund(&world, 0), Err(RefundError::TooEarly(1))));
    // Signed all the same, the chain refuses it; a block later it does not.
    let early = Unspent { confirmations: u32::from(REFUND_DELAY_BLOCKS), ..unspent(&world, &outpoint) };
    let key = world.refund_key(0);
    let early = refund(&world.params, outpoint, &early, &key, to.clone(), rate("2")).unwrap();
    assert!(world.chain.check_transactions(std::slice::from_ref(&early)).is_err());
    world.mine_empty(1);
    check_uncredited(&world.view().scan, &outpoint).unwrap();
    let transaction = try_refund(&world, 0).unwrap();
    assert_eq!(transaction, early);
    let facts = world.chain.check_transactions(std::slice::from_ref(&transaction)).unwrap()[0];
    assert_eq!((facts.nonstandard, facts.fee_sat), (None, facts.vsize_vb * 2));
    world.mine(&[transaction]);
    let view = world.view();
    assert!(view.scan.coins().is_empty() && view.scan.faults().is_empty());
}

#[test]
fn dust_is_not_taken_back() {
    let mut world = World::new();
    let deposit = world.deposit(400, 0);
    let outpoint = OutPoint { txid: deposit.compute_txid(), vout: 0 };
    world.mine(&[deposit]);
    world.mine_empty(u32::from(REFUND_DELAY_BLOCKS));
    let (key, to) = (world.refund_key(0), world.poster.script_pubkey());
    let error = refund(&world.params, outpoint, &unspent(&world, &outpoint), &key, to, rate("2"));
    assert!(matches!(error, Err(RefundError::NothingLeft { value_sat: 400, .. })));
}

#[test]
fn a_void_deposit_is_never_the_bridges() {
    let mut world = World::new();
    let deposit = world.deposit(50_000, 0);
    let outpoint = OutPoint { txid: deposit.compute_txid(), vout: 0 };
    world.mine(&[deposit]);
    let last_height = world.chain.height() + EXPIRY_BLOCKS;
    world.mine_empty(EXPIRY_BLOCKS - 1);
    for (is_late, note_height) in [(false, last_height), (true, last_height + 1)] {
        let mut world_then = world.clone();
        world_then.mine_empty(u32::from(is_late));
        let note = world_then.note(0, 1, &[]);
        world_then.mine(&[note]);
        assert_eq!(world_then.chain.height(), note_height);
        world_then.mine_empty(FINAL_DEPTH_BLOCKS);
        let view = world_then.view();
        let Origin::Deposit { credit, .. } = view.scan.coin(&outpoint).unwrap().origin else { panic!("a deposit") };
        if is_late {
            assert_eq!(credit, Credit::Void { anchor_height: note_height });
            check_uncredited(&view.scan, &outpoint).unwrap();
            assert!(matches!(world_then.plan(&view), Err(PlanError::Head(HeadError::NothingCredited))));
        } else {
            assert_eq!(credit, Credit::Credited { anchor_height: note_height });
            assert!(matches!(check_uncredited(&view.scan, &outpoint), Err(RefundError::Credited(0))));
            assert_eq!(world_then.plan(&view).unwrap().deposits, 1);
        }
    }
}

#[test]
fn a_credited_deposit_that_is_taken_back_is_a_loss_that_is_told() {
    let mut world = World::funded(&[50_000, 70_000], &[(1_000, [1; 20])]);
    world.mine_empty(u32::from(REFUND_DELAY_BLOCKS));
    let mut view = world.view();
    let start = view.scan.head().unwrap().outpoint;
    let coin = view.scan.coin(&start).unwrap().clone();
    let way = BridgeOutput::of_coin(world.params.bridge(), coin.origin).unwrap();
    let to = TxOut { value: Amount::from_sat(49_000), script_pubkey: world.poster.script_pubkey() };
    let stolen = by_depositor(&world, start, &coin.output, &way, vec![to]);
    world.mine(&[stolen]);
    view.sync(&world.chain);
    assert_eq!(view.scan.faults()[0].kind, BridgeFaultKind::TakenBack { index: 0, amount_sat: 50_000 });
    // The chain was to begin with this coin: it begins with another when the loss cannot be undone.
    for _ in 1..FINAL_DEPTH_BLOCKS {
        assert_eq!(view.scan.head(), Err(HeadError::StartUnsettled(start)));
        world.mine_empty(1);
        view.sync(&world.chain);
    }
    assert_ne!(view.scan.head().unwrap().outpoint, start);
    let planned = world.plan(&view).unwrap();
    let link = world.sign(&planned.psbt, &view);
    world.mine(&[link]);
    view.sync(&world.chain);
    assert_eq!(view.scan.next_index(), 1);
}
