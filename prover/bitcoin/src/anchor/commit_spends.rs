//! What may spend a commit's first output: the reveal, at any fee that the locked value leaves, and the sweep.

use super::{AnchorArtefact, AnchorError, FeeRate, FundingKind, placeholder_witness, taproot_key_witness};
use crate::consensus;
use bitcoin::{
    Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Weight, Witness,
    absolute::LockTime,
    key::{Secp256k1, TapTweak},
    secp256k1::All,
    transaction::Version,
};
use taproof_verifier::envelope::Envelope;
use taproof_wallet::PosterKey;

/// A reveal that pays a given fee out of what its commit locks; the rest returns to the poster.
///
/// # Errors
/// [`AnchorError::Headroom`] if nothing that is relayed would return, and [`AnchorError::Envelope`] if more is locked
/// than a reveal can tell.
pub(crate) fn unsigned_reveal(
    envelope: &Envelope,
    commit: Txid,
    locked: Amount,
    fee: Amount,
    change_script: ScriptBuf,
) -> Result<Transaction, AnchorError> {
    let dust = change_script.minimal_non_dust();
    let value = locked.checked_sub(fee).unwrap_or(Amount::ZERO);
    if value < dust {
        return Err(AnchorError::Headroom { headroom_sat: value.to_sat(), dust_sat: dust.to_sat() });
    }
    let change = TxOut { value, script_pubkey: change_script };
    Ok(envelope.reveal_transaction(OutPoint { txid: commit, vout: 0 }, locked, change)?)
}

/// A transaction that takes a commit's first output back to the poster for a given fee.
///
/// # Errors
/// [`AnchorError::NothingToSweep`].
pub(crate) fn unsigned_sweep(
    commit: Txid,
    locked: Amount,
    fee: Amount,
    script: ScriptBuf,
) -> Result<Transaction, AnchorError> {
    let rest = locked.checked_sub(fee).filter(|rest| *rest >= script.minimal_non_dust());
    let value = rest.ok_or(AnchorError::NothingToSweep { value_sat: locked.to_sat(), fee_sat: fee.to_sat() })?;
    let input = TxIn {
        previous_output: OutPoint { txid: commit, vout: 0 },
        script_sig: ScriptBuf::new(),
        sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
        witness: Witness::new(),
    };
    let output = TxOut { value, script_pubkey: script };
    Ok(Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: vec![input], output: vec![output] })
}

/// The weight of a signed sweep to a script.
pub(crate) fn sweep_weight(script: ScriptBuf) -> Weight {
    let value = script.minimal_non_dust();
    let mut sweep = unsigned_sweep(OutPoint::null().txid, value, Amount::ZERO, script).expect("the value is not dust");
    sweep.input[0].witness = placeholder_witness(FundingKind::TaprootKey);
    sweep.weight()
}

/// Signs a sweep by the poster's key alone.
pub(crate) fn sign_sweep(
    secp: &Secp256k1<All>,
    sweep: &mut Transaction,
    spent: &TxOut,
    envelope: &Envelope,
    poster: &PosterKey,
) {
    let pair = poster.pair().tap_tweak(secp, envelope.spend_info(secp).merkle_root()).to_keypair();
    sweep.input[0].witness = taproot_key_witness(secp, sweep, 0, std::slice::from_ref(spent), &pair);
}

impl AnchorArtefact {
    /// Builds a transaction that takes the commit's output back to the poster, by the key alone. It conflicts with the
    /// reveal: where that waits already, it must pay more than the reveal to replace it.
    ///
    /// # Errors
    /// [`AnchorError::NotPoster`] and [`AnchorError::NothingToSweep`].
    pub fn sweep(&self, poster: &PosterKey, fee_rate: FeeRate) -> Result<Transaction, AnchorError> {
        if self.poster() != poster.public() || self.network() != poster.network() {
            return Err(AnchorError::NotPoster);
        }
        let (script, spent) = (poster.script_pubkey(), self.commit().output[0].clone());
        let fee = fee_rate.fee(sweep_weight(script.clone()));
        let mut sweep = unsigned_sweep(self.commit().compute_txid(), spent.value, fee, script)?;
        let envelope = Envelope::new(poster.public(), self.payload())?;
        sign_sweep(&Secp256k1::new(), &mut sweep, &spent, &envelope, poster);
        consensus::check_scripts(&sweep, &[spent])?;
        Ok(sweep)
    }
}
