//! What a coordinator may offer as a coin that pays the fee, and how a signer's wallet would lose by it.

use super::rig::{View, World};
use crate::bridge::{
    check::CheckError,
    descriptor::{BridgeOutput, Leaf},
    plan::sign_fee_inputs,
};
use bitcoin::{
    Amount, CompressedPublicKey, EcdsaSighashType, OutPoint, Psbt, ScriptBuf, TxIn, TxOut, Witness, XOnlyPublicKey,
    bip32::KeySource,
    ecdsa,
    hashes::Hash,
    key::{Secp256k1, TapTweak},
    psbt,
    secp256k1::{Message, Parity},
    sighash::SighashCache,
    taproot::{self, ControlBlock, LeafVersion, TaprootBuilder},
};

const A: [u8; 20] = [0xaa; 20];

/// A link that pays out of one deposit, with a signed coin for the fee at the end.
struct Scene {
    world: World,
    view: View,
    psbt: Psbt,
}

impl Scene {
    fn new() -> Self {
        let mut world = World::funded(&[50_000], &[(30_000, A)]);
        let view = world.view();
        let psbt = world.plan(&view).unwrap().psbt;
        world.check(&psbt, &view).unwrap();
        Self { world, view, psbt }
    }

    /// Somebody's money, confirmed.
    fn payment(&mut self, sat: u64, script_pubkey: ScriptBuf) -> (OutPoint, TxOut) {
        let output = TxOut { value: Amount::from_sat(sat), script_pubkey };
        let payment = self.world.pay(vec![output.clone()]);
        self.world.mine(std::slice::from_ref(&payment));
        self.view.sync(&self.world.chain);
        (OutPoint { txid: payment.compute_txid(), vout: 0 }, output)
    }

    /// The link with one coin more, whose value goes to the coordinator's change; his own coin is signed.
    fn with_coin(&self, (previous_output, output): &(OutPoint, TxOut), fields: psbt::Input) -> Psbt {
        let mut psbt = self.psbt.clone();
        let sequence = psbt.unsigned_tx.input[0].sequence;
        psbt.unsigned_tx.input.push(TxIn { previous_output: *previous_output, sequence, ..TxIn::default() });
        psbt.inputs.push(psbt::Input { witness_utxo: Some(output.clone()), ..fields });
        // The rest pays for the input itself.
        psbt.unsigned_tx.output.last_mut().unwrap().value += output.value - Amount::from_sat(1_000);
        sign_fee_inputs(&mut psbt, &self.world.poster);
        psbt
    }

    fn refusal(&self, psbt: &Psbt) -> CheckError {
        self.world.check(psbt, &self.view).unwrap_err()
    }
}

fn offer(leaf: &Leaf) -> psbt::Input {
    let script = (leaf.script.clone(), LeafVersion::TapScript);
    psbt::Input { tap_scripts: [(leaf.control_block.clone(), script)].into(), ..psbt::Input::default() }
}

/// A payment to a deposit's address without the data: no scan knows it, and the federation can spend it.
#[test]
fn misplaced_payments_pay_no_fee() {
    let mut scene = Scene::new();
    let victim = scene.world.refund_key(7).public();
    let way = BridgeOutput::deposit(scene.world.params.bridge(), victim).unwrap();
    let coin = scene.payment(1_000_000, way.script_pubkey());
    let added = scene.psbt.inputs.len();
    let internal =
        psbt::Input { tap_internal_key: Some(scene.world.params.bridge().internal_key()), ..psbt::Input::default() };
    let both = psbt::Input { tap_merkle_root: Some(way.merkle_root()), ..internal.clone() };
    for fields in [offer(way.federation()), offer(way.refund().unwrap()), internal, both] {
        assert_eq!(scene.refusal(&scene.with_coin(&coin, fields)), CheckError::FeeFromBridge(added));
    }
    // Signed by some of the federation and finished, as a wallet with enough keys does it.
    let leaf = way.federation();
    let mut witness = Witness::from_slice(&[vec![], vec![1; 64], vec![1; 64]]);
    witness.push(&leaf.script);
    witness.push(leaf.control_block.serialize());
    let finished = psbt::Input { final_script_witness: Some(witness), ..psbt::Input::default() };
    assert_eq!(scene.refusal(&scene.with_coin(&coin, finished)), CheckError::FeeFromBridge(added));
    // A wallet that watches the address needs no field to sign. Nobody but the federation can sign first.
    let pretended = Witness::from_slice(&[[7; 64]]);
    let pretended = psbt::Input { final_script_witness: Some(pretended), ..psbt::Input::default() };
    for fields in [psbt::Input::default(), pretended] {
        assert_eq!(scene.refusal(&scene.with_coin(&coin, fields)), CheckError::FeeUnsigned(added));
    }
}

/// What came after the signer's scan, no scan has seen.
#[test]
fn the_bridges_own_script_pays_no_fee() {
    let mut scene = Scene::new();
    let output = TxOut { value: Amount::from_sat(70_000), script_pubkey: scene.world.params.bridge().script_pubkey() };
    let payment = scene.world.pay(vec![output.clone()]);
    scene.world.mine(std::slice::from_ref(&payment));
    let coin = (OutPoint { txid: payment.compute_txid(), vout: 0 }, output);
    let psbt = scene.with_coin(&coin, psbt::Input::default());
    assert_eq!(scene.refusal(&psbt), CheckError::FeeFromBridge(psbt.inputs.len() - 1));
}

/// Each field by which a member of the federation could sign for a coin that pays the fee.
#[test]
fn nothing_in_a_coin_for_the_fee_is_for_the_federation() {
    let scene = Scene::new();
    let fee = scene.psbt.inputs.len() - 1;
    let signer = scene.world.params.bridge().keys()[2];
    let whole = [Parity::Even, Parity::Odd].map(|parity| signer.public_key(parity));
    let origin = KeySource::default();
    let federation = scene.world.params.bridge().federation_leaf();
    let leaf = (federation.clone(), LeafVersion::TapScript);
    // A tree of the coordinator's with the federation's leaf in it.
    let own = scene.world.poster.public();
    let tree = TaprootBuilder::new().add_leaf(0, federation.clone()).unwrap();
    let control: ControlBlock =
        tree.finalize(&Secp256k1::verification_only(), own).unwrap().control_block(&leaf).unwrap();
    let message = Message::from_digest([1; 32]);
    let pair = scene.world.signer(0);
    let schnorr = Secp256k1::new().sign_schnorr_no_aux_rand(&message, pair.pair());
    let schnorr = taproot::Signature { signature: schnorr, sighash_type: bitcoin::TapSighashType::Default };
    let signature = Secp256k1::new().sign_ecdsa(&message, &pair.pair().secret_key());
    let signature = ecdsa::Signature { signature, sighash_type: EcdsaSighashType::All };
    let hash = taproot::TapLeafHash::all_zeros();
    let alter = |alter: &dyn Fn(&mut psbt::Input)| {
        let mut psbt = scene.psbt.clone();
        alter(&mut psbt.inputs[fee]);
        scene.refusal(&psbt)
    };
    let refusals = [
        alter(&|input| input.tap_internal_key = Some(signer)),
        alter(&|input| drop(input.tap_scripts.insert(control.clone(), leaf.clone()))),
        alter(&|input| drop(input.tap_key_origins.insert(signer, (vec![], origin.clone())))),
        alter(&|input| _ = input.tap_script_sigs.insert((signer, hash), schnorr)),
        alter(&|input| drop(input.bip32_derivation.insert(whole[0], origin.clone()))),
        alter(&|input| drop(input.bip32_derivation.insert(whole[1], origin.clone()))),
        alter(&|input| _ = input.partial_sigs.insert(whole[0].into(), signature)),
        alter(&|input| _ = input.partial_sigs.insert(whole[1].into(), signature)),
        alter(&|input| input.witness_script = Some(federation.clone())),
        alter(&|input| input.redeem_script = Some(federation.clone())),
    ];
    assert!(refusals.iter().all(|refusal| *refusal == CheckError::FeeByFederation(fee)), "{refusals:?}");
    // The same for somebody else's key does no harm.
    let other: XOnlyPublicKey = scene.world.refund_key(5).public();
    let mut psbt = scene.psbt.clone();
    psbt.inputs[fee].tap_internal_key = Some(own);
    psbt.inputs[fee].tap_key_origins.insert(other, (vec![], origin.clone()));
    psbt.inputs[fee].bip32_derivation.insert(other.public_key(Parity::Even), origin);
    scene.world.check(&psbt, &scene.view).unwrap();
}

/// A wallet signs every coin that it holds, also one of a signer's own that a coordinator slipped in.
#[test]
fn whoever_pays_the_fee_has_signed_this_very_link() {
    let mut scene = Scene::new();
    let fee = scene.psbt.inputs.len() - 1;
    let honest = scene.psbt.clone();
    let mut unsigned = honest.clone();
    unsigned.inputs[fee].final_script_witness = None;
    assert_eq!(scene.refusal(&unsigned), CheckError::FeeUnsigned(fee));
    let mut script_sig = honest.clone();
    script_sig.inputs[fee].final_script_sig = Some(ScriptBuf::from_bytes(vec![0x51]));
    assert_eq!(scene.refusal(&script_sig), CheckError::FeeUnsigned(fee));
    let mut altered = honest.clone();
    altered.unsigned_tx.output.last_mut().unwrap().value -= Amount::ONE_SAT;
    assert_eq!(scene.refusal(&altered), CheckError::FeeUnsigned(fee));
    let private = scene.world.refund_key(3);
    let coin = scene.payment(80_000, private.script_pubkey());
    assert_eq!(scene.refusal(&scene.with_coin(&coin, psbt::Input::default())), CheckError::FeeUnsigned(fee + 1));
    let mut agreed = scene.with_coin(&coin, psbt::Input::default());
    sign_fee_inputs(&mut agreed, &private);
    scene.world.check(&agreed, &scene.view).unwrap();
}

/// Signatures that a wallet has not finished count as well, for a taproot key and for one from before.
#[test]
fn signatures_for_the_fee_need_not_be_finished() {
    let mut scene = Scene::new();
    let fee = scene.psbt.inputs.len() - 1;
    let mut open = scene.psbt.clone();
    let witness = open.inputs[fee].final_script_witness.take().unwrap();
    open.inputs[fee].tap_internal_key = Some(scene.world.poster.public());
    open.inputs[fee].tap_key_sig = Some(taproot::Signature::from_slice(&witness[0]).unwrap());
    scene.world.check(&open, &scene.view).unwrap();

    let key = scene.world.refund_key(4);
    let public = CompressedPublicKey(key.pair().public_key());
    let coin = scene.payment(80_000, ScriptBuf::new_p2wpkh(&public.wpubkey_hash()));
    let mut psbt = scene.with_coin(&coin, psbt::Input::default());
    let sighash = SighashCache::new(&psbt.unsigned_tx)
        .p2wpkh_signature_hash(fee + 1, &coin.1.script_pubkey, coin.1.value, EcdsaSighashType::All)
        .unwrap();
    let message = Message::from_digest(sighash.to_byte_array());
    let signature = Secp256k1::new().sign_ecdsa(&message, &key.pair().secret_key());
    let signature = ecdsa::Signature { signature, sighash_type: EcdsaSighashType::All };
    psbt.inputs[fee + 1].partial_sigs.insert(public.into(), signature);
    let checked = scene.world.check(&psbt, &scene.view).unwrap();
    let link = crate::bridge::sign::combine(
        [0, 2]
            .map(|signer| checked.clone().sign(&scene.world.signer(signer), scene.world.params.bridge()).unwrap())
            .into(),
        scene.world.params.bridge(),
    );
    scene.world.chain.check_transactions(&[link.unwrap().0]).unwrap();
    // One of another key does not.
    let other = scene.world.refund_key(5).pair().tap_tweak(&Secp256k1::new(), None).to_keypair();
    let forged = Secp256k1::new().sign_ecdsa(&message, &other.secret_key());
    let forged = ecdsa::Signature { signature: forged, sighash_type: EcdsaSighashType::All };
    psbt.inputs[fee + 1].partial_sigs.insert(public.into(), forged);
    assert_eq!(scene.refusal(&psbt), CheckError::FeeUnsigned(fee + 1));
}
