//! Signatures: each signer adds its own, and whoever has t of them makes the transaction.

use super::{
    check::CheckedLink,
    descriptor::{BridgeOutput, Leaf},
    link::Binding,
};
use crate::consensus::{self, TransactionError};
use bitcoin::{
    Psbt, ScriptBuf, TapSighashType, Transaction, TxOut, Witness, XOnlyPublicKey,
    hashes::Hash,
    key::Secp256k1,
    psbt,
    secp256k1::{Message, VerifyOnly},
    sighash::{Prevouts, SighashCache},
    taproot::{self, ControlBlock, LeafVersion, TapLeafHash},
};
use miniscript::psbt::PsbtExt;
use std::collections::BTreeMap;
use taproof_verifier::{bridge::Bridge, follow::Params, quorum::Quorum};
use taproof_wallet::PosterKey;

/// Why there is no signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The key is none of the federation's.
    #[error("key {0} is none of the bridge's")]
    NotASigner(XOnlyPublicKey),
}

/// Why signatures were not joined to a transaction.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CombineError {
    /// There is nothing to join.
    #[error("no PSBT was given")]
    Empty,
    /// A PSBT is no payout of the rollup's bridge.
    #[error("the PSBT at position {0} is no payout of this rollup's bridge")]
    NotALink(usize),
    /// A PSBT is of another transaction.
    #[error("the PSBT at position {0} is of another transaction than the first")]
    Different(usize),
    /// No PSBT says what an input spends.
    #[error("the PSBTs do not say what input {0} spends")]
    SpentOutput(usize),
    /// A PSBT says otherwise than one before it what an input spends.
    #[error("the PSBT at position {position} says otherwise than one before it what input {input} spends")]
    Contradiction {
        /// Its position.
        position: usize,
        /// The input.
        input: usize,
    },
    /// A signature is not what its key signs, and there are too few without it.
    #[error("the signature of {key} on input {input} does not hold, as the PSBT at position {position} has it")]
    Signature {
        /// The position of the PSBT, whoever wrote the signature into it.
        position: usize,
        /// The input.
        input: usize,
        /// The key.
        key: XOnlyPublicKey,
    },
    /// There are too few signatures.
    #[error("input {input} has {found} of {needed} signatures")]
    TooFew {
        /// The input.
        input: usize,
        /// How many there are.
        found: usize,
        /// How many it takes.
        needed: usize,
    },
    /// An input is neither the federation's nor signed by who owns it.
    #[error("input {input} is not signed: {reason}")]
    Unsigned {
        /// The input.
        input: usize,
        /// What is missing.
        reason: String,
    },
    /// Bitcoin's own code refuses the transaction.
    #[error("the transaction does not hold: {0}")]
    Script(#[from] TransactionError),
}

impl CheckedLink {
    /// Signs each input of the bridge.
    ///
    /// # Errors
    /// [`SignError`].
    pub fn sign(self, key: &PosterKey, bridge: &Bridge) -> Result<Psbt, SignError> {
        if !bridge.keys().contains(&key.public()) {
            return Err(SignError::NotASigner(key.public()));
        }
        let (spent, leaves) = (self.spent().to_vec(), self.leaves().to_vec());
        let mut psbt = self.into_psbt();
        sign_inputs(&mut psbt, &spent, &leaves, key);
        Ok(psbt)
    }
}

/// Signs the inputs that have a leaf. What is signed was checked before.
pub(crate) fn sign_inputs(psbt: &mut Psbt, spent: &[TxOut], leaves: &[Option<Leaf>], key: &PosterKey) {
    let secp = Secp256k1::signing_only();
    let mut cache = SighashCache::new(&psbt.unsigned_tx);
    for (input, leaf) in leaves.iter().enumerate() {
        let Some(leaf) = leaf else { continue };
        let asked = psbt.inputs[input].sighash_type.and_then(|sighash| sighash.taproot_hash_ty().ok());
        let sighash_type = asked.unwrap_or(TapSighashType::Default);
        let message = message(&mut cache, input, spent, leaf, sighash_type);
        let signature = secp.sign_schnorr_no_aux_rand(&message, key.pair());
        let signature = taproot::Signature { signature, sighash_type };
        psbt.inputs[input].tap_script_sigs.insert((key.public(), leaf.hash()), signature);
    }
}

/// What a signature on an input signs.
///
/// # Panics
/// If `spent` does not name an output for each input, or the type signs less than everything.
fn message(
    cache: &mut SighashCache<&Transaction>,
    input: usize,
    spent: &[TxOut],
    leaf: &Leaf,
    sighash_type: TapSighashType,
) -> Message {
    let sighash = cache
        .taproot_script_spend_signature_hash(input, &Prevouts::All(spent), leaf.hash(), sighash_type)
        .expect("every spent output is given");
    Message::from_digest(sighash.to_byte_array())
}

/// Checks the federation's signatures on an input, and gives how many there are.
///
/// # Errors
/// The first key whose signature does not hold, or that is none of the federation's.
pub(super) fn check_signatures(
    cache: &mut SighashCache<&Transaction>,
    input: usize,
    signatures: &Signatures,
    spent: &[TxOut],
    leaf: &Leaf,
    signers: &Quorum,
) -> Result<usize, XOnlyPublicKey> {
    let secp = Secp256k1::verification_only();
    let mut holds = |named, signature| holds(&secp, cache, input, (named, signature), spent, leaf, signers);
    match signatures.iter().find(|(named, signature)| !holds(named, signature)) {
        Some(((key, _), _)) => Err(*key),
        None => Ok(signatures.len()),
    }
}

/// Whether a signature on an input is by the key that it is named after, one of the signers', and over everything.
fn holds(
    secp: &Secp256k1<VerifyOnly>,
    cache: &mut SighashCache<&Transaction>,
    input: usize,
    ((key, hash), signature): (&(XOnlyPublicKey, TapLeafHash), &taproot::Signature),
    spent: &[TxOut],
    leaf: &Leaf,
    signers: &Quorum,
) -> bool {
    let covers_all = matches!(signature.sighash_type, TapSighashType::Default | TapSighashType::All);
    *hash == leaf.hash() && signers.keys().contains(key) && covers_all && {
        let message = message(cache, input, spent, leaf, signature.sighash_type);
        secp.verify_schnorr(&signature.signature, &message, key).is_ok()
    }
}

/// The signatures of an input, as a PSBT has them.
type Signatures = BTreeMap<(XOnlyPublicKey, TapLeafHash), taproot::Signature>;

/// Takes the federation's signatures out of witnesses that a wallet has finished already, and puts them back where they
/// were.
///
/// A wallet that has enough keys finishes an input and drops what led to it, Bitcoin Core's among them. What it leaves
/// is all the same some signatures, which can be checked, counted and joined with others like those of any signer. Some
/// wallets, bitcoinjs-lib among them, finish with whatever they have and leave nothing in the place of a key that has
/// not signed: then each signature is its key's for whom it holds.
pub(super) fn reopen(psbt: &mut Psbt, signers: &Quorum) {
    let spent: Option<Vec<TxOut>> = psbt.inputs.iter().map(|fields| fields.witness_utxo.clone()).collect();
    let unsigned = psbt.unsigned_tx.clone();
    let mut cache = SighashCache::new(&unsigned);
    for (input, fields) in psbt.inputs.iter_mut().enumerate() {
        let Some((leaf, places)) = fields.final_script_witness.as_ref().and_then(|done| take_apart(done, signers))
        else {
            continue;
        };
        let signatures = if places.len() == signers.keys().len() {
            let named = signers.keys().iter().rev().zip(places);
            Some(named.filter_map(|(key, signature)| Some(((*key, leaf.hash()), signature?))).collect())
        } else {
            spent.as_ref().and_then(|spent| name_by_what_holds(&mut cache, input, &places, spent, &leaf, signers))
        };
        let Some(signatures): Option<Signatures> = signatures else { continue };
        fields.tap_script_sigs.extend(signatures);
        fields.tap_scripts.insert(leaf.control_block, (leaf.script, LeafVersion::TapScript));
        fields.final_script_witness = None;
    }
}

/// The leaf of a witness of the federation's, and the signatures before it, none where an element is empty; `None` if
/// it is another.
fn take_apart(witness: &Witness, signers: &Quorum) -> Option<(Leaf, Vec<Option<taproot::Signature>>)> {
    let elements: Vec<&[u8]> = witness.iter().collect();
    let [signatures @ .., script, control_block] = elements.as_slice() else { return None };
    let control_block = ControlBlock::decode(control_block).ok()?;
    let leaf = Leaf { script: ScriptBuf::from_bytes(script.to_vec()), control_block };
    if leaf.script != signers.leaf() || signatures.len() > signers.keys().len() {
        return None;
    }
    let place = |signature: &&[u8]| match signature.is_empty() {
        true => Some(None),
        false => taproot::Signature::from_slice(signature).ok().map(Some),
    };
    Some((leaf, signatures.iter().map(place).collect::<Option<_>>()?))
}

/// The keys that some signatures hold for, which stand in the order of a witness, the last key's first; `None` if one
/// holds for none that is left.
fn name_by_what_holds(
    cache: &mut SighashCache<&Transaction>,
    input: usize,
    places: &[Option<taproot::Signature>],
    spent: &[TxOut],
    leaf: &Leaf,
    signers: &Quorum,
) -> Option<Signatures> {
    let (secp, hash) = (Secp256k1::verification_only(), leaf.hash());
    let mut keys = signers.keys().iter().rev();
    let mut name = |signature: &taproot::Signature| {
        let mut holds =
            |key: &&XOnlyPublicKey| holds(&secp, cache, input, (&(**key, hash), signature), spent, leaf, signers);
        let key = keys.find(|key| holds(key))?;
        Some(((*key, hash), *signature))
    };
    places.iter().flatten().map(&mut name).collect()
}

/// The witness that t signatures make; the leaf has a place for each key, the last key's first.
fn put_together(leaf: &Leaf, signatures: &Signatures, signers: &Quorum) -> Witness {
    let hash = leaf.hash();
    let mut witness = Witness::new();
    for key in signers.keys().iter().rev() {
        witness.push(signatures.get(&(*key, hash)).map(|given| given.to_vec()).unwrap_or_default());
    }
    witness.push(&leaf.script);
    witness.push(leaf.control_block.serialize());
    witness
}

/// Joins PSBTs of one transaction, each with some signatures, to the transaction.
///
/// Signatures are checked one by one. One that does not hold is passed over where others suffice, and else has a name:
/// whoever hands in a PSBT can write anything into it under anybody's key. Of more than enough the first t are taken,
/// because the federation's leaf takes no more. Inputs that a wallet has finished count like others.
///
/// # Errors
/// [`CombineError`].
pub fn combine(psbts: Vec<Psbt>, bridge: &Bridge) -> Result<(Transaction, Vec<TxOut>), CombineError> {
    let own = BridgeOutput::own(bridge).ok().map(|own| (own.script_pubkey(), own.federation().clone()));
    combine_for(psbts, bridge.federation().signers(), own)
}

/// As [`combine`], for links of a rollup alone: no signature makes another's payout, or what is none, one of its own.
///
/// # Errors
/// [`CombineError`].
pub fn combine_links(psbts: Vec<Psbt>, params: &Params) -> Result<Transaction, CombineError> {
    let is_link = |psbt: &Psbt| Binding::of(&psbt.unsigned_tx, params.chain_id()).is_some();
    if let Some(position) = psbts.iter().position(|psbt| !is_link(psbt)) {
        return Err(CombineError::NotALink(position));
    }
    combine(psbts, params.bridge()).map(|(transaction, _)| transaction)
}

/// As [`combine`], for the outputs of any signers. Of one of these their way to spend is known, if no PSBT says it.
pub(crate) fn combine_for(
    mut psbts: Vec<Psbt>,
    signers: &Quorum,
    own: Option<(ScriptBuf, Leaf)>,
) -> Result<(Transaction, Vec<TxOut>), CombineError> {
    psbts.iter_mut().for_each(|psbt| reopen(psbt, signers));
    let (mut joined, spent) = join(&psbts)?;
    let unsigned = joined.unsigned_tx.clone();
    let mut cache = SighashCache::new(&unsigned);
    for input in 0..joined.inputs.len() {
        if let Some(leaf) = signers_leaf(&joined, input, &spent[input], signers, own.as_ref()) {
            let kept = enough(&mut cache, input, &psbts, &spent, &leaf, signers)?;
            joined.inputs[input].tap_script_sigs.clear();
            joined.inputs[input].final_script_witness = Some(put_together(&leaf, &kept, signers));
        } else {
            finish(&mut joined, input, &psbts, &spent)?;
        }
    }
    let transaction = joined.extract_tx_unchecked_fee_rate();
    consensus::check_scripts(&transaction, &spent)?;
    Ok((transaction, spent))
}

/// As many signatures on an input as it takes, all of which hold.
fn enough(
    cache: &mut SighashCache<&Transaction>,
    input: usize,
    psbts: &[Psbt],
    spent: &[TxOut],
    leaf: &Leaf,
    signers: &Quorum,
) -> Result<Signatures, CombineError> {
    let secp = Secp256k1::verification_only();
    let (mut held, mut wrong) = (Signatures::new(), None);
    for (position, psbt) in psbts.iter().enumerate() {
        for (named, signature) in &psbt.inputs[input].tap_script_sigs {
            if held.contains_key(named) {
                continue;
            }
            if holds(&secp, cache, input, (named, signature), spent, leaf, signers) {
                held.insert(*named, *signature);
            } else {
                wrong.get_or_insert(CombineError::Signature { position, input, key: named.0 });
            }
        }
    }
    let (found, needed) = (held.len(), usize::from(signers.threshold()));
    if found < needed {
        return Err(wrong.unwrap_or(CombineError::TooFew { input, found, needed }));
    }
    Ok(held.into_iter().take(needed).collect())
}

/// Finishes an input of somebody else's by what the PSBTs have together, or else by what one of them has: another may
/// have anything in its place.
fn finish(joined: &mut Psbt, input: usize, psbts: &[Psbt], spent: &[TxOut]) -> Result<(), CombineError> {
    let together = joined.inputs[input].clone();
    let done = finish_alone(joined, input, spent);
    if done.is_ok() {
        return Ok(());
    }
    for fields in psbts.iter().map(|psbt| &psbt.inputs[input]) {
        joined.inputs[input] = psbt::Input { witness_utxo: together.witness_utxo.clone(), ..fields.clone() };
        if finish_alone(joined, input, spent).is_ok() {
            return Ok(());
        }
    }
    done
}

fn finish_alone(psbt: &mut Psbt, input: usize, spent: &[TxOut]) -> Result<(), CombineError> {
    if psbt.inputs[input].final_script_witness.is_none() {
        let finalized = psbt.finalize_inp_mut(&Secp256k1::verification_only(), input);
        finalized.map_err(|error| CombineError::Unsigned { input, reason: error.to_string() })?;
    }
    let (mut transaction, fields) = (psbt.unsigned_tx.clone(), &psbt.inputs[input]);
    transaction.input[input].witness = fields.final_script_witness.clone().unwrap_or_default();
    transaction.input[input].script_sig = fields.final_script_sig.clone().unwrap_or_default();
    Ok(consensus::check_input_scripts(&transaction, spent, [input])?)
}

/// All that the PSBTs have in one, and the outputs that are spent.
fn join(psbts: &[Psbt]) -> Result<(Psbt, Vec<TxOut>), CombineError> {
    let (first, others) = psbts.split_first().ok_or(CombineError::Empty)?;
    let mut joined = first.clone();
    for (position, psbt) in (1..).zip(others) {
        if psbt.unsigned_tx != joined.unsigned_tx {
            return Err(CombineError::Different(position));
        }
        for (input, (fields, others)) in joined.inputs.iter_mut().zip(&psbt.inputs).enumerate() {
            let known = fields.witness_utxo.take().or_else(|| others.witness_utxo.clone());
            if others.witness_utxo.is_some() && others.witness_utxo != known {
                return Err(CombineError::Contradiction { position, input });
            }
            fields.witness_utxo = known;
            fields.tap_script_sigs.extend(others.tap_script_sigs.iter().map(|(named, given)| (*named, *given)));
            fields.tap_scripts.extend(others.tap_scripts.clone());
            fields.partial_sigs.extend(others.partial_sigs.iter().map(|(key, given)| (*key, *given)));
            fields.tap_key_sig = fields.tap_key_sig.or(others.tap_key_sig);
            fields.final_script_witness =
                fields.final_script_witness.take().or_else(|| others.final_script_witness.clone());
        }
    }
    let spent = joined.inputs.iter().enumerate();
    let spent: Result<Vec<TxOut>, _> =
        spent.map(|(input, fields)| fields.witness_utxo.clone().ok_or(CombineError::SpentOutput(input))).collect();
    Ok((joined, spent?))
}

/// The signers' leaf of an input, if the output that it spends commits to it.
fn signers_leaf(
    psbt: &Psbt,
    input: usize,
    spent: &TxOut,
    signers: &Quorum,
    own: Option<&(ScriptBuf, Leaf)>,
) -> Option<Leaf> {
    let script = signers.leaf();
    let output_key = spent.script_pubkey.as_bytes().strip_prefix(&[0x51, 0x20])?;
    let output_key = XOnlyPublicKey::from_slice(output_key).ok()?;
    let secp = Secp256k1::verification_only();
    let own = || own.filter(|(script_pubkey, _)| *script_pubkey == spent.script_pubkey);
    let offered = psbt.inputs[input].tap_scripts.iter();
    let mut offered = offered.filter(|(control_block, (leaf, _))| {
        *leaf == script && control_block.verify_taproot_commitment(&secp, output_key, &script)
    });
    let offered =
        offered.next().map(|(control_block, _)| Leaf { control_block: control_block.clone(), script: script.clone() });
    offered.or_else(|| own().map(|(_, leaf)| leaf.clone()))
}
