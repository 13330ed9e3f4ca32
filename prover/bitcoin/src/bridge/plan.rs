//! Builds the next link of the payout chain: what the coordinator does, who may be anybody.
//!
//! The link spends the head of the chain, moves deposits, and pays what is due, in order. What it can hold is bounded
//! by its weight, and whoever wants to may pay any number of coins to the bridge. So the weight is shared out
//! (`choose`): deposits come first, by the height at which their refund opens, but leave half of it to payouts while
//! any are due; payouts take further coins only for their value, the largest first; what is left goes to further
//! deposits. However many coins there are, each link moves those deposits whose refund opens first, and pays out what
//! the most valuable coins that fit can pay. Gifts of dust are never touched unless their value is needed.
//!
//! The miner's fee comes from coins of whoever builds the link. They also lift the bridge's change to what is relayed,
//! where the payouts take all but dust.

use super::{
    descriptor::{BridgeOutput, DescriptorError, KnownOutputs, Leaf},
    link::{Binding, FIRST_PAYOUT_VOUT},
    scan::{BridgeCoin, BridgeScan, HeadError},
    weight::signed_weight_wu,
};
use crate::anchor::{FeeRate, Funding};
use bitcoin::{
    Amount, EcdsaSighashType, Psbt, ScriptBuf, Sequence, TapSighashType, Transaction, TxIn, TxOut, Weight, Witness,
    XOnlyPublicKey,
    absolute::LockTime,
    bip32::KeySource,
    ecdsa,
    hashes::Hash,
    key::{Secp256k1, TapTweak},
    psbt,
    secp256k1::Message,
    sighash::{Prevouts, SighashCache},
    taproot::{self, LeafVersion},
    transaction::Version,
};
use std::collections::BTreeMap;
use taproof_verifier::bridge::OUTPUT_MIN_SAT;
use taproof_wallet::PosterKey;

mod choose;

use choose::{Choice, choose};

/// Where signers' keys come from, for hardware that must find its own among the keys of a PSBT.
pub type KeyOrigins = BTreeMap<XOnlyPublicKey, KeySource>;

/// What a link is built from.
#[derive(Clone, Debug)]
pub struct PlanRequest<'a> {
    /// The bridge, by the coordinator's follower.
    pub scan: &'a BridgeScan,
    /// The fee rate.
    pub fee_rate: FeeRate,
    /// Coins that pay the fee, all to witness programs, of which as few of the largest as suffice are taken.
    pub funding: &'a [Funding],
    /// Where the rest of these goes.
    pub fee_change: ScriptBuf,
    /// The most payouts, at most [`MAX_PAYOUTS`](super::link::MAX_PAYOUTS); those without an output do not count.
    pub payouts_max: u32,
    /// The most deposits that are moved for their own sake, those whose refund opens first.
    pub deposits_max: usize,
    /// The heaviest that the link may become, at most [`MAX_LINK_WEIGHT_WU`](super::link::MAX_LINK_WEIGHT_WU).
    pub weight_max_wu: u64,
    /// Whether to spend deposits, too, that their depositors can take back already: if they do, the link is void.
    pub exposed: bool,
    /// Origins of signers' keys.
    pub origins: KeyOrigins,
}

/// A link without signatures.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The link.
    pub psbt: Psbt,
    /// Which payouts it settles.
    pub binding: Binding,
    /// How many of these it pays: the others are too small for an output.
    pub payouts: usize,
    /// What it pays out.
    pub paid_sat: u64,
    /// How many deposits it moves.
    pub deposits: usize,
    /// How many more could be moved, for which it had no room.
    pub deposits_left: usize,
    /// How many more are left alone because their depositors can take them back.
    pub deposits_exposed: usize,
    /// The fee.
    pub fee_sat: u64,
    /// What the coins of who builds it add to the bridge's change.
    pub top_up_sat: u64,
    /// The weight with all signatures.
    pub weight_wu: u64,
}

/// Why there is no link to build.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// There is no place for a link.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// Nothing is due, and no deposit waits to be moved.
    #[error("nothing is due and no deposit waits to be moved")]
    Nothing,
    /// The bridge's coins do not cover the next payout.
    #[error(
        "the next payout is of {next_sat} sat, and the coins that a link can spend now are worth {available_sat} sat"
    )]
    Short {
        /// The payout.
        next_sat: u64,
        /// The coins.
        available_sat: u64,
    },
    /// The coins for the fee do not suffice.
    #[error(
        "the link needs {needed_sat} sat beside the bridge's own, and the coins given are worth {available_sat} sat"
    )]
    Funding {
        /// What is needed.
        needed_sat: u64,
        /// What there is.
        available_sat: u64,
    },
    /// A coin for the fee is not at a witness program, or is a coin of the bridge.
    #[error("the coin {0} cannot pay the fee")]
    FundingCoin(bitcoin::OutPoint),
    /// A coin of the bridge has no descriptor.
    #[error(transparent)]
    Descriptor(#[from] DescriptorError),
}

/// Builds the next link.
///
/// # Errors
/// [`PlanError`].
pub fn plan(request: &PlanRequest<'_>) -> Result<Plan, PlanError> {
    let scan = request.scan;
    let head = scan.head()?;
    let Choice {
        coins,
        payouts,
        count,
        available_sat,
        paid_sat,
        unused_sat,
        deposits,
        deposits_left,
        deposits_exposed,
        ..
    } = choose(request, head.outpoint)?;
    // A link for indices without an output alone is worth its fee only where they fill a whole binding.
    if payouts.is_empty() && deposits == 0 && count < u32::MAX {
        let next = scan.unpaid().next().map(|payout| payout.amount_sat);
        let available_sat = available_sat + unused_sat;
        return Err(next.map_or(PlanError::Nothing, |next_sat| PlanError::Short { next_sat, available_sat }));
    }

    let params = scan.params();
    let binding = Binding { first: head.next_index, count };
    let top_up_sat = OUTPUT_MIN_SAT.saturating_sub(available_sat - paid_sat);
    let change = TxOut {
        value: Amount::from_sat(available_sat - paid_sat + top_up_sat),
        script_pubkey: params.bridge().script_pubkey(),
    };
    let transaction = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: coins.iter().map(|coin| input(coin.outpoint)).collect(),
        output: [binding.output(params.chain_id()), change].into_iter().chain(payouts).collect(),
    };
    let payouts = transaction.output.len() - FIRST_PAYOUT_VOUT;
    let mut psbt = Psbt::from_unsigned_tx(transaction).expect("the inputs have no scripts yet");
    let mut outputs = KnownOutputs::new(params.bridge());
    let mut leaves = Vec::with_capacity(coins.len());
    for (fields, coin) in psbt.inputs.iter_mut().zip(&coins) {
        let output = outputs.of_coin(coin.origin)?;
        *fields = bridge_input(coin, output, request);
        leaves.push(Some(output.federation().clone()));
    }
    let (fee_sat, weight_wu) = pay_fee(request, &mut psbt, leaves, top_up_sat)?;
    Ok(Plan {
        psbt,
        binding,
        payouts,
        paid_sat,
        deposits,
        deposits_left,
        deposits_exposed,
        fee_sat,
        top_up_sat,
        weight_wu,
    })
}

fn input(previous_output: bitcoin::OutPoint) -> TxIn {
    let sequence = Sequence::ENABLE_RBF_NO_LOCKTIME;
    TxIn { previous_output, script_sig: ScriptBuf::new(), sequence, witness: Witness::new() }
}

fn bridge_input(coin: &BridgeCoin, output: &BridgeOutput, request: &PlanRequest<'_>) -> psbt::Input {
    let leaf = output.federation();
    let origin = |key: &XOnlyPublicKey| {
        let source = request.origins.get(key)?.clone();
        Some((*key, (vec![leaf.hash()], source)))
    };
    psbt::Input {
        witness_utxo: Some(coin.output.clone()),
        tap_internal_key: Some(leaf.control_block.internal_key),
        tap_merkle_root: Some(output.merkle_root()),
        tap_scripts: BTreeMap::from([(leaf.control_block.clone(), (leaf.script.clone(), LeafVersion::TapScript))]),
        tap_key_origins: request.scan.params().bridge().keys().iter().filter_map(origin).collect(),
        ..psbt::Input::default()
    }
}

fn weight(request: &PlanRequest<'_>, psbt: &Psbt, leaves: &[Option<Leaf>]) -> Weight {
    let bridge = request.scan.params().bridge();
    signed_weight_wu(psbt, leaves, bridge.keys().len(), bridge.threshold())
}

/// Adds coins for the fee and the bridge's top-up, and their change unless it is dust. Gives the fee and the weight.
///
/// The choice left [`RESERVE_WU`](choose::RESERVE_WU) for them; coins that are too small to pay within it do not
/// suffice.
fn pay_fee(
    request: &PlanRequest<'_>,
    psbt: &mut Psbt,
    mut leaves: Vec<Option<Leaf>>,
    top_up_sat: u64,
) -> Result<(u64, u64), PlanError> {
    let mut funding: Vec<&Funding> = request.funding.iter().collect();
    funding.sort_by_key(|coin| (std::cmp::Reverse(coin.output.value), coin.outpoint));
    // Without a coin, what is needed is more than this by what the coin's own input costs.
    let mut needed_sat = top_up_sat + request.fee_rate.fee(weight(request, psbt, &leaves)).to_sat();
    let mut available_sat = 0u64;
    let change = TxOut { value: Amount::ZERO, script_pubkey: request.fee_change.clone() };
    for coin in funding {
        if !coin.output.script_pubkey.is_witness_program() || request.scan.coin(&coin.outpoint).is_some() {
            return Err(PlanError::FundingCoin(coin.outpoint));
        }
        psbt.unsigned_tx.input.push(input(coin.outpoint));
        psbt.inputs.push(psbt::Input { witness_utxo: Some(coin.output.clone()), ..psbt::Input::default() });
        leaves.push(None);
        available_sat = available_sat.saturating_add(coin.output.value.to_sat());
        let exact = weight(request, psbt, &leaves);
        if exact.to_wu() > request.weight_max_wu {
            break;
        }
        let with_change = exact + change.weight() + Weight::from_wu(8);
        needed_sat = top_up_sat + request.fee_rate.fee(exact).to_sat();
        let left = available_sat.saturating_sub(top_up_sat + request.fee_rate.fee(with_change).to_sat());
        if left >= change.script_pubkey.minimal_non_dust().to_sat() {
            psbt.unsigned_tx.output.push(TxOut { value: Amount::from_sat(left), ..change });
            psbt.outputs.push(psbt::Output::default());
            let weight = weight(request, psbt, &leaves);
            return Ok((available_sat - top_up_sat - left, weight.to_wu()));
        }
        if available_sat >= needed_sat {
            return Ok((available_sat - top_up_sat, exact.to_wu()));
        }
    }
    Err(PlanError::Funding { needed_sat, available_sat })
}

/// Signs the inputs that spend the poster's coins, at its taproot address and at its version 0 address, and nothing
/// else; gives how many.
///
/// A signature covers the whole link, so it is made when the link is built and needs no second look.
pub fn sign_fee_inputs(psbt: &mut Psbt, poster: &PosterKey) -> usize {
    let spent = psbt.inputs.iter().map(|input| input.witness_utxo.clone());
    let Some(spent) = spent.collect::<Option<Vec<TxOut>>>() else { return 0 };
    let secp = Secp256k1::new();
    let pair = poster.pair().tap_tweak(&secp, None).to_keypair();
    let (own, own_v0) = (poster.script_pubkey(), poster.witness_v0_script_pubkey());
    let mut signed = 0;
    for (input, TxOut { script_pubkey, value }) in spent.iter().enumerate() {
        let mut cache = SighashCache::new(&psbt.unsigned_tx);
        let witness = if *script_pubkey == own {
            let sighash = cache
                .taproot_key_spend_signature_hash(input, &Prevouts::All(&spent), TapSighashType::Default)
                .expect("every spent output is given");
            let signature = secp.sign_schnorr_no_aux_rand(&Message::from_digest(sighash.to_byte_array()), &pair);
            Witness::p2tr_key_spend(&taproot::Signature { signature, sighash_type: TapSighashType::Default })
        } else if *script_pubkey == own_v0 {
            let sighash = cache
                .p2wpkh_signature_hash(input, script_pubkey, *value, EcdsaSighashType::All)
                .expect("the script is of a version 0 key hash");
            let message = Message::from_digest(sighash.to_byte_array());
            let signature = secp.sign_ecdsa_low_r(&message, &poster.pair().secret_key());
            let signature = ecdsa::Signature { signature, sighash_type: EcdsaSighashType::All };
            Witness::p2wpkh(&signature, &poster.pair().public_key())
        } else {
            continue;
        };
        psbt.inputs[input].final_script_witness = Some(witness);
        signed += 1;
    }
    signed
}
