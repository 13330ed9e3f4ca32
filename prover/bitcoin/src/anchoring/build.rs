//! Builds what the decisions ask for: commits with their reveals, replacements, sweeps. Signed where the key is at
//! hand.

use super::{
    Attempt, Config, Fees, Generation, Headroom, Identity, Sweep,
    fees::{fee_sat, headroom, ladder},
};
use crate::{
    anchor::{
        AnchorDraft, AnchorError, AnchorRequest, FeeRate, Funding, draft_with_leaf_key, sign_reveal, sign_sweep,
        unsigned_reveal, unsigned_sweep,
    },
    consensus::check_scripts,
};
use bitcoin::{Amount, XOnlyPublicKey, key::Secp256k1};
use taproof_wallet::{PosterKey, PosterScripts};

/// Who signs.
#[derive(Clone, Debug)]
pub enum Signer {
    /// The key is at hand.
    Key(PosterKey),
    /// The key is elsewhere: transactions travel as PSBTs.
    External(PosterScripts),
    /// The coins are another wallet's, which signs commits alone; a key that is at hand signs reveals and sweeps.
    Hot {
        /// Whose coins pay, and get back what is left.
        poster: PosterScripts,
        /// The key of the leaves, which holds what a commit locks until the reveal.
        key: PosterKey,
    },
}

impl Signer {
    /// What is public of the poster.
    pub fn scripts(&self) -> PosterScripts {
        match self {
            Self::Key(key) => key.scripts(),
            Self::External(scripts) | Self::Hot { poster: scripts, .. } => scripts.clone(),
        }
    }

    /// The key that signs reveals and sweeps, where it is at hand.
    pub fn leaf_key(&self) -> Option<&PosterKey> {
        match self {
            Self::Key(key) | Self::Hot { key, .. } => Some(key),
            Self::External(_) => None,
        }
    }

    /// The public half of the key that signs reveals and sweeps.
    pub fn leaf_public(&self) -> XOnlyPublicKey {
        match self {
            Self::Key(key) | Self::Hot { key, .. } => key.public(),
            Self::External(scripts) => scripts.public(),
        }
    }
}

/// The size of a commit's input by a taproot key, and of the rest of a commit with change.
const COMMIT_INPUT_VSIZE_VB: u64 = 58;
const COMMIT_REST_VSIZE_VB: u64 = 97;

/// Builds commit and reveal for a payload, the headroom as configured or, where that is for the cap, as far as the
/// coins go.
///
/// # Errors
/// [`AnchorError`].
pub(super) fn generation(
    payload: &[u8],
    identity: &Identity,
    signer: &Signer,
    fee_rate: FeeRate,
    config: &Config,
    fees: &Fees,
    funding: &[Funding],
) -> Result<Generation, AnchorError> {
    let scripts = signer.scripts();
    let dust = scripts.script_pubkey().minimal_non_dust();
    let with_headroom = |headroom| {
        let request = AnchorRequest { payload, fee_rate, headroom, funding };
        draft_with_leaf_key(&request, &scripts, signer.leaf_public())
    };
    // The smallest headroom tells the sizes, and whether the coins suffice at all.
    let smallest = with_headroom(dust)?;
    let vsize_vb = package_vsize(&smallest, fee_rate);
    let wanted = headroom(config, fee_rate, vsize_vb, dust);
    let draft = match with_headroom(wanted) {
        Err(AnchorError::InsufficientFunds { needed_sat, available_sat }) if config.headroom == Headroom::ForCap => {
            let missing = Amount::from_sat(needed_sat.saturating_sub(available_sat));
            with_headroom(wanted.checked_sub(missing).filter(|rest| *rest >= dust).unwrap_or(dust))?
        }
        draft => draft?,
    };
    signed_or_ladder(draft, payload, identity, signer, config, fees)
}

fn package_vsize(draft: &AnchorDraft, fee_rate: FeeRate) -> u64 {
    let reveal_fee = draft.commit().output[0].value.to_sat() - draft.reveal().output[1].value.to_sat();
    let reveal = (reveal_fee * 1_000).div_ceil(fee_rate.sat_per_kvb());
    reveal + COMMIT_REST_VSIZE_VB + COMMIT_INPUT_VSIZE_VB * draft.funding().len() as u64
}

fn signed_or_ladder(
    draft: AnchorDraft,
    payload: &[u8],
    identity: &Identity,
    signer: &Signer,
    config: &Config,
    fees: &Fees,
) -> Result<Generation, AnchorError> {
    let envelope = draft.envelope().clone();
    let locked = draft.commit().output[0].value;
    let first_sat = locked.to_sat() - draft.reveal().output[1].value.to_sat();
    let (commit, funding, attempts) = match signer {
        Signer::Key(key) => {
            let anchor = draft.sign(key)?;
            let attempt = Attempt { transaction: anchor.reveal().clone(), fee_sat: first_sat, sent: None };
            (anchor.commit().clone(), anchor.funding().to_vec(), vec![attempt])
        }
        // The commit waits for its wallet; its id is known without signatures, so the reveal need not wait.
        Signer::Hot { .. } => (draft.commit().clone(), draft.funding().to_vec(), Vec::new()),
        Signer::External(scripts) => {
            let script = scripts.script_pubkey();
            let vsize_vb = payload_vsize(&draft);
            let max_sat = (locked - script.minimal_non_dust()).to_sat().min(fee_sat(config.fee_cap, vsize_vb));
            let step_sat = fee_sat(fees.incremental, vsize_vb);
            let txid = draft.commit().compute_txid();
            let rung = |fee| {
                let amount = Amount::from_sat(fee);
                let reveal = unsigned_reveal(&envelope, txid, locked, amount, script.clone())?;
                Ok(Attempt { transaction: reveal, fee_sat: fee, sent: None })
            };
            let rungs = ladder(first_sat, max_sat.max(first_sat), step_sat, config.ladder_rungs);
            let attempts = rungs.into_iter().map(rung).collect::<Result<_, AnchorError>>()?;
            (draft.commit().clone(), draft.funding().to_vec(), attempts)
        }
    };
    let (payload, sweeps) = (payload.to_vec(), Vec::new());
    let mut generation =
        Generation { envelope, payload, commit, funding, attempts, sweeps, commit_sent: None, broadcast: None };
    if let Signer::Hot { key, .. } = signer {
        generation.attempts.push(generation.sign_attempt(identity, key, first_sat, None)?);
    }
    Ok(generation)
}

/// The size of the draft's reveal once it is signed, or a little more.
fn payload_vsize(draft: &AnchorDraft) -> u64 {
    /// Signature, control block, lengths and counts of the witness.
    const WITNESS_REST_BYTES: u64 = 65 + 33 + 16;
    let witness = draft.envelope().leaf().len() as u64 + WITNESS_REST_BYTES;
    draft.reveal().vsize() as u64 + witness.div_ceil(4)
}

impl Generation {
    /// Signs the reveal at another fee.
    pub(super) fn sign_attempt(
        &self,
        identity: &Identity,
        key: &PosterKey,
        fee_sat: u64,
        sent: Option<u32>,
    ) -> Result<Attempt, AnchorError> {
        let (txid, locked) = (self.commit.compute_txid(), &self.commit.output[0]);
        let (fee, script) = (Amount::from_sat(fee_sat), identity.poster().script_pubkey());
        let mut reveal = unsigned_reveal(&self.envelope, txid, locked.value, fee, script)?;
        sign_reveal(&Secp256k1::new(), &mut reveal, locked, &self.envelope, key.pair());
        check_scripts(&reveal, std::slice::from_ref(locked))?;
        Ok(Attempt { transaction: reveal, fee_sat, sent })
    }

    /// Signs a sweep of the commit's output.
    pub(super) fn sign_sweep(
        &self,
        identity: &Identity,
        key: &PosterKey,
        fee_sat: u64,
        sent: u32,
    ) -> Result<Sweep, AnchorError> {
        let (txid, locked) = (self.commit.compute_txid(), &self.commit.output[0]);
        let script = identity.poster().script_pubkey();
        let mut sweep = unsigned_sweep(txid, locked.value, Amount::from_sat(fee_sat), script)?;
        sign_sweep(&Secp256k1::new(), &mut sweep, locked, &self.envelope, key);
        check_scripts(&sweep, std::slice::from_ref(locked))?;
        Ok(Sweep { transaction: sweep, fee_sat, sent })
    }
}
