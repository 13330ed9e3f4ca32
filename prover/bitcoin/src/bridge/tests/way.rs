//! The way of payouts, and what the scan says when the federation leaves it.

use super::rig::{FINAL_DEPTH_BLOCKS, REFUND_DELAY_BLOCKS, World, rate};
use crate::anchor::Funding;
use crate::bridge::{
    check::CheckError,
    descriptor::BridgeOutput,
    link::{Binding, MAX_PAYOUTS},
    plan::{KeyOrigins, PlanError, plan},
    scan::{BridgeCoin, BridgeFaultKind, HeadError, Origin},
    sign::{CombineError, combine, combine_links, sign_inputs},
};
use bitcoin::{Amount, OutPoint, Psbt, Sequence, Transaction, TxIn, TxOut, Witness, bip32, key::Secp256k1, psbt};
use miniscript::psbt::PsbtExt;
use taproof_verifier::bridge::OUTPUT_MIN_SAT;

const A: [u8; 20] = [0xaa; 20];
const B: [u8; 20] = [0xbb; 20];

fn values(transaction: &Transaction) -> Vec<u64> {
    transaction.output.iter().map(|output| output.value.to_sat()).collect()
}

#[test]
fn a_withdrawal_is_paid_once_and_the_chain_goes_on() {
    let mut world = World::funded(&[50_000, 70_000], &[(30_000, A), (OUTPUT_MIN_SAT - 1, A), (40_000, B)]);
    let mut view = world.view();
    assert_eq!((view.scan.due_count(), view.scan.unpaid().count()), (3, 2));
    let planned = world.plan(&view).unwrap();
    assert_eq!((planned.binding, planned.payouts), (Binding { first: 0, count: 3 }, 2));
    assert_eq!((planned.deposits, planned.paid_sat, planned.top_up_sat), (2, 70_000, 0));
    let summary = world.check(&planned.psbt, &view).unwrap().summary();
    assert_eq!((summary.paid_sat, summary.change_sat, summary.fee_sat), (70_000, 50_000, planned.fee_sat));
    let link = world.sign(&planned.psbt, &view);
    // Dust is passed over: its index counts, its money stays.
    assert_eq!(values(&link)[..4], [0, 50_000, 30_000, 40_000]);
    let facts = world.chain.check_transactions(std::slice::from_ref(&link)).unwrap()[0];
    assert_eq!(facts.nonstandard, None);
    assert!((facts.weight_wu..facts.weight_wu + 12).contains(&summary.weight_wu), "{facts:?} {summary:?}");
    world.mine(std::slice::from_ref(&link));
    view.sync(&world.chain);
    let head = view.scan.head().unwrap();
    assert_eq!((head.outpoint, head.next_index), (OutPoint { txid: link.compute_txid(), vout: 1 }, 3));
    assert_eq!((view.scan.unpaid().count(), view.scan.faults().len()), (0, 0));
    assert!(matches!(world.plan(&view), Err(PlanError::Nothing)));

    // The next link goes on from this one, with a deposit that came between, and pays out everything.
    let deposit = world.deposit(10_000, 2);
    world.mine(&[deposit]);
    let note = world.note(2, 3, &[(59_671, B)]);
    world.mine(&[note]);
    world.mine_empty(FINAL_DEPTH_BLOCKS);
    view.sync(&world.chain);
    let planned = world.plan(&view).unwrap();
    assert_eq!(planned.binding, Binding { first: 3, count: 1 });
    assert_eq!(planned.top_up_sat, 1, "the change is lifted to what is relayed");
    let link = world.sign(&planned.psbt, &view);
    assert_eq!(values(&link)[..3], [0, OUTPUT_MIN_SAT, 59_671]);
    world.mine(&[link]);
    view.sync(&world.chain);
    assert_eq!((view.scan.next_index(), view.scan.faults().len()), (4, 0));
    // What is final is forgotten.
    world.mine_empty(FINAL_DEPTH_BLOCKS);
    view.sync(&world.chain);
    assert_eq!((view.scan.links().count(), view.scan.coins().len()), (1, 1));
}

#[test]
fn nothing_is_paid_before_it_is_final() {
    let mut world = World::new();
    let deposit = world.deposit(50_000, 0);
    world.mine(&[deposit]);
    let note = world.note(0, 1, &[(1_000, A)]);
    world.mine(&[note]);
    for _ in 1..FINAL_DEPTH_BLOCKS {
        let view = world.view();
        assert!(matches!(world.plan(&view), Err(PlanError::Head(HeadError::NothingCredited))));
        world.mine_empty(1);
    }
    let view = world.view();
    assert_eq!(world.plan(&view).unwrap().paid_sat, 1_000);
}

#[test]
fn limits_split_what_is_due() {
    let many: Vec<(u64, [u8; 20])> = (0..MAX_PAYOUTS + 7).map(|i| (400 + u64::from(i), A)).collect();
    let mut world = World::funded(&[5_000_000], &many);
    let mut view = world.view();
    let coin = world.coin();
    let funding = [coin];
    let mut request = world.request(&view, &funding);
    request.payouts_max = u32::MAX;
    let planned = plan(&request).unwrap();
    assert_eq!(planned.binding, Binding { first: 0, count: MAX_PAYOUTS });
    let mut psbt = planned.psbt;
    crate::bridge::plan::sign_fee_inputs(&mut psbt, &world.poster);
    let link = world.sign(&psbt, &view);
    assert_eq!(world.chain.check_transactions(std::slice::from_ref(&link)).unwrap()[0].nonstandard, None);
    world.mine(&[link]);
    view.sync(&world.chain);
    let planned = world.plan(&view).unwrap();
    assert_eq!(planned.binding, Binding { first: u64::from(MAX_PAYOUTS), count: 7 });
    // A coin at the poster's other address pays as well, and signers take it.
    let (mut world_v0, script_pubkey) =
        (World::funded(&[50_000], &[(1_000, A)]), world.poster.witness_v0_script_pubkey());
    let payment = world_v0.pay(vec![TxOut { value: Amount::from_sat(40_000), script_pubkey }]);
    let coin =
        Funding { outpoint: OutPoint { txid: payment.compute_txid(), vout: 0 }, output: payment.output[0].clone() };
    world_v0.mine(&[payment]);
    let view_v0 = world_v0.view();
    let mut psbt = plan(&world_v0.request(&view_v0, &[coin])).unwrap().psbt;
    assert_eq!(crate::bridge::plan::sign_fee_inputs(&mut psbt, &world_v0.poster), 1);
    let link = world_v0.sign(&psbt, &view_v0);
    assert_eq!(world_v0.chain.check_transactions(std::slice::from_ref(&link)).unwrap()[0].nonstandard, None);
    // Coins that do not suffice are refused, as are coins of the bridge.
    let mut poor = world.coin();
    poor.output.value = Amount::from_sat(100);
    assert!(matches!(plan(&world.request(&view, &[poor])), Err(PlanError::Funding { available_sat: 100, .. })));
    let error = plan(&world.request(&view, &[])).unwrap_err();
    assert!(matches!(error, PlanError::Funding { needed_sat: 100.., available_sat: 0 }), "{error}: a fee at least");
    let mut own = world.coin();
    own.outpoint = view.scan.head().unwrap().outpoint;
    assert!(matches!(plan(&world.request(&view, &[own])), Err(PlanError::FundingCoin(_))));
}

#[test]
fn hardware_signers_find_their_keys() {
    let mut world = World::funded(&[50_000], &[(1_000, A)]);
    let view = world.view();
    let key = world.params.bridge().keys()[1];
    let source = (bip32::Fingerprint::from([1, 2, 3, 4]), "m/87'/1'/0'/0/5".parse().unwrap());
    let coin = world.coin();
    let funding = [coin];
    let mut request = world.request(&view, &funding);
    request.origins = KeyOrigins::from([(key, source.clone())]);
    let mut psbt = plan(&request).unwrap().psbt;
    crate::bridge::plan::sign_fee_inputs(&mut psbt, &world.poster);
    let leaf = BridgeOutput::of_coin(world.params.bridge(), view.scan.coins()[0].origin).unwrap().federation().hash();
    assert_eq!(psbt.inputs[0].tap_key_origins[&key], (vec![leaf], source));
    world.check(&psbt, &view).unwrap();
    assert_eq!(Psbt::deserialize(&psbt.serialize()).unwrap(), psbt);
}

#[test]
fn deposits_are_moved_before_their_refund_opens_and_left_out_when_it_is_open() {
    let mut world = World::funded(&[50_000, 70_000], &[]);
    let planned = world.plan(&world.view()).unwrap();
    assert_eq!((planned.binding, planned.deposits), (Binding { first: 0, count: 0 }, 2));
    world.mine_empty(u32::from(REFUND_DELAY_BLOCKS) - 3 - FINAL_DEPTH_BLOCKS);
    assert_eq!(world.plan(&world.view()).unwrap().deposits, 2);
    // From the next block on the depositors compete. The start of the chain is taken all the same: there is no other.
    world.mine_empty(1);
    let view = world.view();
    let careful = world.plan(&view).unwrap();
    assert_eq!((careful.deposits, careful.deposits_exposed), (1, 1));
    assert!(view.scan.coins().into_iter().all(|coin| view.scan.is_exposed(coin)));
    let coin = world.coin();
    let funding = [coin];
    let mut request = world.request(&view, &funding);
    request.exposed = true;
    let bold = plan(&request).unwrap();
    assert_eq!((bold.deposits, bold.deposits_exposed), (2, 0));
}

/// Coins of the federation spent by a transaction of any form, with two signatures.
fn by_federation(world: &World, coins: &[&BridgeCoin], output: Vec<TxOut>) -> Transaction {
    let bridge = world.params.bridge();
    let ways: Vec<BridgeOutput> =
        coins.iter().map(|coin| BridgeOutput::of_coin(bridge, coin.origin).unwrap()).collect();
    let input = coins.iter().map(|coin| TxIn {
        previous_output: coin.outpoint,
        sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
        script_sig: Default::default(),
        witness: Witness::new(),
    });
    let unsigned = Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: input.collect(),
        output,
    };
    let mut psbt = Psbt::from_unsigned_tx(unsigned).unwrap();
    let spent: Vec<TxOut> = coins.iter().map(|coin| coin.output.clone()).collect();
    for ((fields, output), way) in psbt.inputs.iter_mut().zip(&spent).zip(&ways) {
        let leaf = way.federation();
        let script = (leaf.script.clone(), bitcoin::taproot::LeafVersion::TapScript);
        *fields = psbt::Input { witness_utxo: Some(output.clone()), ..psbt::Input::default() };
        fields.tap_scripts.insert(leaf.control_block.clone(), script);
        fields.tap_internal_key = Some(leaf.control_block.internal_key);
        fields.tap_merkle_root = Some(way.merkle_root());
    }
    let leaves: Vec<_> = ways.iter().map(|way| Some(way.federation().clone())).collect();
    for signer in [0, 1] {
        sign_inputs(&mut psbt, &spent, &leaves, &world.signer(signer));
    }
    combine(vec![psbt], bridge).unwrap().0
}

/// What the scan says of what two signers have signed instead of a link, and that a reorganisation takes it back.
fn fault_of(outputs: impl Fn(&World) -> Vec<TxOut>, coin: usize) -> BridgeFaultKind {
    let mut world = World::funded(&[50_000, 70_000], &[(1_000, A), (2_000, B)]);
    let mut view = world.view();
    let transaction = by_federation(&world, &[view.scan.coins()[coin]], outputs(&world));
    world.mine(&[transaction]);
    view.sync(&world.chain);
    let [fault] = view.scan.faults() else { panic!("{:?}", view.scan.faults()) };
    let fault = *fault;
    assert_eq!(view.scan.head(), Err(HeadError::Fault(fault)));
    assert!(matches!(world.plan(&view), Err(PlanError::Head(_))));
    world.chain.reorganise(world.chain.height() - 1, &[vec![], vec![]], bitcoin::Script::new()).unwrap();
    view.sync(&world.chain);
    assert!(view.scan.faults().is_empty() && view.scan.head().is_ok());
    fault.kind
}

fn link_outputs(world: &World, first: u64, payouts: &[(u64, [u8; 20])]) -> Vec<TxOut> {
    let binding = Binding { first, count: payouts.len() as u32 };
    let change = TxOut { value: Amount::from_sat(40_000), script_pubkey: world.params.bridge().script_pubkey() };
    let paid = payouts.iter().map(|(amount, program)| TxOut {
        value: Amount::from_sat(*amount),
        script_pubkey: taproof_verifier::record::Destination::P2wpkh(*program).script_pubkey(),
    });
    [binding.output(world.params.chain_id()), change].into_iter().chain(paid).collect()
}

#[test]
fn what_the_federation_signs_beside_the_rules_is_told() {
    let out_of_order = fault_of(|world| link_outputs(world, 1, &[(2_000, B)]), 0);
    assert_eq!(out_of_order, BridgeFaultKind::OutOfOrder { expected: 0, found: 1 });
    assert_eq!(fault_of(|world| link_outputs(world, 0, &[(1_001, A)]), 0), BridgeFaultKind::WrongPayouts);
    assert_eq!(fault_of(|world| link_outputs(world, 0, &[(2_000, B), (1_000, A)]), 0), BridgeFaultKind::WrongPayouts);
    let two_more = |world: &World| {
        let mut outputs = link_outputs(world, 0, &[(1_000, A), (1_000, A), (1_000, A)]);
        outputs[0] = Binding { first: 0, count: 1 }.output(world.params.chain_id());
        outputs
    };
    assert_eq!(fault_of(two_more, 0), BridgeFaultKind::WrongPayouts);
    assert_eq!(fault_of(|world| link_outputs(world, 0, &[])[1..].to_vec(), 0), BridgeFaultKind::NotALink);
    let elsewhere = |world: &World| {
        let mut outputs = link_outputs(world, 0, &[]);
        outputs[1].script_pubkey = world.poster.script_pubkey();
        outputs
    };
    assert_eq!(fault_of(elsewhere, 0), BridgeFaultKind::NotALink);
}

#[test]
fn a_second_beginning_is_a_fault() {
    let mut world = World::funded(&[50_000, 70_000], &[(1_000, A)]);
    let mut view = world.view();
    let coins: Vec<BridgeCoin> = view.scan.coins().into_iter().cloned().collect();
    let first = by_federation(&world, &[&coins[0]], link_outputs(&world, 0, &[(1_000, A)]));
    let second = by_federation(&world, &[&coins[1]], link_outputs(&world, 0, &[(1_000, A)]));
    world.mine(&[first, second]);
    view.sync(&world.chain);
    assert_eq!(view.scan.faults()[0].kind, BridgeFaultKind::BesideTheChain);
}

#[test]
fn outsiders_make_no_link() {
    // Everything but the federation's signatures: a depositor takes back a deposit by a transaction in the form of a
    // link.
    let mut world = World::new();
    let deposit = world.deposit(50_000, 0);
    let outpoint = OutPoint { txid: deposit.compute_txid(), vout: 0 };
    world.mine(&[deposit]);
    world.mine_empty(u32::from(REFUND_DELAY_BLOCKS));
    let mut view = world.view();
    let way = BridgeOutput::of_coin(world.params.bridge(), view.scan.coins()[0].origin).unwrap();
    let outputs = link_outputs(&world, 0, &[]);
    let spent = view.scan.coins()[0].output.clone();
    let forged = super::refunds::by_depositor(&world, outpoint, &spent, &way, outputs);
    world.mine(&[forged]);
    view.sync(&world.chain);
    assert_eq!((view.scan.links().count(), view.scan.faults().len()), (0, 0));
    assert!(matches!(view.scan.coins()[0].origin, Origin::Own), "what it pays to the bridge is a gift");
}

#[test]
fn signatures_are_joined_with_a_reason_when_they_are_not() {
    let mut world = World::funded(&[50_000], &[(1_000, A)]);
    let view = world.view();
    let bridge = world.params.bridge().clone();
    let psbt = world.plan(&view).unwrap().psbt;
    let sign = |index| world.check(&psbt, &view).unwrap().sign(&world.signer(index), &bridge);
    let [first, second, third] = [0, 1, 2].map(|index| sign(index).unwrap());
    assert!(sign(3).is_err(), "not a signer");
    for enough in [vec![first.clone(), second.clone()], vec![third.clone(), first.clone(), second.clone()]] {
        combine(enough, &bridge).unwrap();
    }
    assert!(matches!(combine(Vec::new(), &bridge), Err(CombineError::Empty)));
    let enough = vec![first.clone(), second.clone()];
    assert_eq!(combine_links(enough.clone(), &world.params).unwrap(), combine(enough.clone(), &bridge).unwrap().0);
    let other = world.params.with(|founding| founding.opening_min_sat += 1).unwrap();
    assert!(matches!(combine_links(enough, &other), Err(CombineError::NotALink(0))), "it is another rollup's");
    let too_few = combine(vec![first.clone(), first.clone()], &bridge);
    assert!(matches!(too_few, Err(CombineError::TooFew { input: 0, found: 1, needed: 2 })));
    let other = world.clone_plan(&view, "3");
    assert!(matches!(combine(vec![first.clone(), other], &bridge), Err(CombineError::Different(1))));
    let mut forged = second.clone();
    let signature = *first.inputs[0].tap_script_sigs.values().next().unwrap();
    forged.inputs[0].tap_script_sigs.values_mut().for_each(|held| *held = signature);
    let wrong = combine(vec![first.clone(), forged.clone()], &bridge);
    assert!(matches!(wrong, Err(CombineError::Signature { position: 1, input: 0, .. })), "{wrong:?}");
    // One that says what is spent is enough, but they must not contradict each other.
    let mut unsaid = [first.clone(), second.clone()];
    unsaid[1].inputs[0].witness_utxo = None;
    combine(unsaid.to_vec(), &bridge).unwrap();
    unsaid[0].inputs[0].witness_utxo = None;
    assert!(matches!(combine(unsaid.to_vec(), &bridge), Err(CombineError::SpentOutput(0))));
    let mut other = second.clone();
    other.inputs[0].witness_utxo.as_mut().unwrap().value += Amount::ONE_SAT;
    let contradicted = combine(vec![first.clone(), other], &bridge);
    assert!(matches!(contradicted, Err(CombineError::Contradiction { position: 1, input: 0 })), "{contradicted:?}");
    let mut unpaid = [first, second];
    unpaid.iter_mut().for_each(|psbt| psbt.inputs[1].final_script_witness = None);
    assert!(matches!(combine(unpaid.to_vec(), &bridge), Err(CombineError::Unsigned { input: 1, .. })));
}

#[test]
fn what_one_hands_in_under_anothers_key_keeps_nobodys_signatures_from_being_joined() {
    let mut world = World::funded(&[50_000, 70_000], &[(1_000, A)]);
    let view = world.view();
    let bridge = world.params.bridge().clone();
    let psbt = world.plan(&view).unwrap().psbt;
    let [first, second] =
        [0, 1].map(|index| world.check(&psbt, &view).unwrap().sign(&world.signer(index), &bridge).unwrap());
    let expected = combine(vec![first.clone(), second.clone()], &bridge).unwrap();
    // The second's own signatures hold; what it has under the first's key, a stranger's and for the fee does not.
    let mut evil = second.clone();
    let fee_input = evil.inputs.iter().position(|fields| fields.final_script_witness.is_some()).unwrap();
    for (fields, good) in evil.inputs.iter_mut().zip(&first.inputs) {
        let own: Vec<_> = fields.tap_script_sigs.values().copied().collect();
        let named = good.tap_script_sigs.keys().copied().zip(own.iter().copied());
        let strangers = own
            .iter()
            .zip(good.tap_script_sigs.keys())
            .map(|(own, (_, hash))| ((world.signer(3).public(), *hash), *own));
        fields.tap_script_sigs.extend(named.chain(strangers));
    }
    evil.inputs[fee_input].final_script_witness = Some(Witness::from_slice(&[[7; 64]]));
    for files in [[first.clone(), evil.clone()], [evil.clone(), first.clone()]] {
        assert_eq!(combine(files.to_vec(), &bridge).unwrap(), expected);
    }
    // Without the first's own there are too few, and the file is named that has what does not hold.
    let wrong = combine(vec![second, evil], &bridge).unwrap_err();
    assert!(matches!(wrong, CombineError::Signature { position: 1, .. }), "{wrong}");
}

/// A wallet that has enough keys finishes an input and drops what led to it, as Bitcoin Core does.
#[test]
fn inputs_that_a_wallet_has_finished_are_checked_signed_and_joined_like_others() {
    let mut world = World::funded(&[50_000, 70_000], &[(1_000, A)]);
    let view = world.view();
    let bridge = world.params.bridge().clone();
    let psbt = world.plan(&view).unwrap().psbt;
    let sign = |psbt: &Psbt, index| world.check(psbt, &view).unwrap().sign(&world.signer(index), &bridge).unwrap();
    let both = sign(&sign(&psbt, 0), 1);
    let mut finished = both.clone();
    for input in 0..2 {
        finished.finalize_inp_mut(&Secp256k1::verification_only(), input).unwrap();
        let fields = &finished.inputs[input];
        assert!(fields.final_script_witness.is_some() && fields.tap_scripts.is_empty());
        assert!(fields.tap_script_sigs.is_empty());
    }
    let link = combine(vec![finished.clone()], &bridge).unwrap().0;
    assert_eq!(link, combine(vec![both], &bridge).unwrap().0);
    world.chain.check_transactions(std::slice::from_ref(&link)).unwrap();
    assert_eq!(world.check(&psbt, &view).unwrap().summary().signatures, 0);
    assert_eq!(world.check(&finished, &view).unwrap().summary().signatures, 2);
    let third = sign(&psbt, 2);
    let more = sign(&finished, 2);
    for files in [vec![finished.clone(), third.clone()], vec![third, finished.clone()], vec![more, finished.clone()]] {
        combine(files, &bridge).unwrap();
    }
    // Some wallets leave nothing in the place of a key that has not signed, and finish with one signature as well.
    let bare = |signatures: usize| {
        let mut bare = finished.clone();
        for fields in &mut bare.inputs[..2] {
            let mut elements = fields.final_script_witness.as_ref().unwrap().to_vec();
            elements.retain(|element| !element.is_empty());
            elements.drain(..2 - signatures);
            fields.final_script_witness = Some(Witness::from_slice(&elements));
        }
        bare
    };
    assert_eq!(combine(vec![bare(2)], &bridge).unwrap().0, link);
    assert_eq!(world.check(&bare(2), &view).unwrap().summary().signatures, 2);
    combine(vec![bare(1), sign(&psbt, 2)], &bridge).unwrap();
    let too_few = combine(vec![bare(1)], &bridge);
    assert!(matches!(too_few, Err(CombineError::TooFew { input: 0, found: 1, needed: 2 })), "{too_few:?}");
    // What a finished witness lacks or forges is told as it is of any signature.
    let alter = |alter: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut altered = finished.clone();
        let mut elements = altered.inputs[1].final_script_witness.as_ref().unwrap().to_vec();
        alter(&mut elements);
        altered.inputs[1].final_script_witness = Some(Witness::from_slice(&elements));
        altered
    };
    let signed = |elements: &[Vec<u8>]| elements.iter().position(|element| element.len() == 64).unwrap();
    let fewer = alter(&|elements| {
        let position = signed(elements);
        elements[position].clear();
    });
    let too_few = combine(vec![fewer.clone()], &bridge);
    assert!(matches!(too_few, Err(CombineError::TooFew { input: 1, found: 1, needed: 2 })), "{too_few:?}");
    assert_eq!(world.check(&fewer, &view).unwrap().summary().signatures, 1);
    let forged = alter(&|elements| {
        let position = signed(elements);
        elements[position][40] ^= 1;
    });
    assert!(matches!(combine(vec![forged.clone()], &bridge), Err(CombineError::Signature { input: 1, .. })));
    assert!(matches!(world.check(&forged, &view), Err(CheckError::Signature { input: 1, .. })));
    let other_leaf = alter(&|elements| elements[3].push(0));
    assert_eq!(world.check(&other_leaf, &view).unwrap_err(), CheckError::Leaf(1));
}

impl World {
    /// The next link at another fee rate, not signed.
    fn clone_plan(&mut self, view: &super::rig::View, fee_rate: &str) -> Psbt {
        let coin = self.coin();
        let funding = [coin];
        let mut request = self.request(view, &funding);
        request.fee_rate = rate(fee_rate);
        plan(&request).unwrap().psbt
    }
}
