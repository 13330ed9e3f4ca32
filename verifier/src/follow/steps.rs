//! The rules of batches with steps: how late they are, and the evidence that their records post.
//!
//! A verifier knows of an operation what the program's table says, so its check takes the fields of a record in one
//! way for all operations:
//!
//! - A claim: the lock in `cell`, whose word is the record's, counts as opened at height `c`. The secret is that of a
//!   hash lock or of a point lock: none opens both.
//! - A report of a feed: the word names the key, the fact is in `cell`, and the values are `a` and `b` at height `c`.
//! - A header fact: `a` is the number `b` of the header at height `c`.
//!
//! A header's height lies between the references of the batch before and of this one, both included: these headers
//! every follower knows, wherever it started.

use super::{Follower, RuleError};
use crate::{
    evidence::{Claim, ClaimError, ClaimRequest, FeedReport, HeaderFact, HeaderField, Secret},
    headers::BlockId,
    payload::Payload,
    record::{Evidence, Kind, Records, StepRecord},
};
use bitcoin::{block::Header, consensus::deserialize};

/// How many blocks below that of its anchor a batch with steps refers to at most. Steps read the height as the time, so
/// none is to be true of a time that is long over.
pub(super) const STEPS_WINDOW_BLOCKS: u32 = 6;

/// Checks that a batch with steps does not come late.
pub(super) fn check_reference_of_steps(block: BlockId, payload: &Payload) -> Result<(), RuleError> {
    let (min, found) = (block.height.saturating_sub(STEPS_WINDOW_BLOCKS), payload.header().reference_height);
    let has_steps = payload.chunks().iter().any(|chunk| chunk.circuit.kind == Kind::Step);
    if has_steps && found < min { Err(RuleError::StepsTooLate { min, found }) } else { Ok(()) }
}

impl Follower {
    /// Checks what steps post for the verifier.
    pub(super) fn check_evidence(&self, payload: &Payload) -> Result<(), RuleError> {
        for (chunk, records) in payload.chunks().iter().map(|chunk| &chunk.records).enumerate() {
            let Records::Step(steps) = records else { continue };
            for (position, record) in steps.records().iter().enumerate() {
                self.check_step(payload, record, [chunk, position])?;
            }
        }
        Ok(())
    }

    fn check_step(
        &self,
        payload: &Payload,
        record: &StepRecord,
        [chunk, position]: [usize; 2],
    ) -> Result<(), RuleError> {
        let (reference_height, chain_id) = (payload.header().reference_height, payload.header().chain_id);
        if record.evidence == Evidence::None {
            return Ok(());
        }
        let height_blocks = u32::try_from(record.c).map_err(|_| RuleError::NoHeight { chunk, position })?;
        match record.evidence {
            Evidence::None => Ok(()),
            Evidence::Claim(secret) => {
                let claim = Claim { cell: record.cell, word: record.word, height_blocks };
                let checked = check_claim(&claim, secret, reference_height);
                checked.map_err(|source| RuleError::Claim { chunk, position, source })
            }
            Evidence::Feed { key, signature } => {
                let values = [record.a, record.b];
                let report = FeedReport { chain_id, cell: record.cell, values, height_blocks };
                let checked = report.check(record.word, &key, &signature);
                checked.map_err(|source| RuleError::Feed { chunk, position, source })
            }
            Evidence::Header(header) => {
                let nothing = RuleError::NoHeaderFact { chunk, position };
                let field = u8::try_from(record.b).ok().and_then(HeaderField::from_number);
                let (Some(field), Ok(header)) = (field, deserialize::<Header>(&header)) else { return Err(nothing) };
                if !(self.tip.reference.height..=reference_height).contains(&height_blocks) {
                    return Err(nothing);
                }
                let block = self.headers.at(height_blocks).ok_or(nothing)?;
                let fact = HeaderFact { field, height_blocks, value: record.a };
                let checked = fact.check(&header, block, reference_height);
                checked.map_err(|source| RuleError::HeaderFact { chunk, position, source })
            }
        }
    }
}

/// Checks a claim by whichever type of lock its secret opens.
fn check_claim(claim: &Claim, secret: [u8; 32], reference_height: u32) -> Result<(), ClaimError> {
    let requests = core::iter::empty::<ClaimRequest>;
    match claim.check(&Secret::Preimage(secret), reference_height, requests()) {
        Err(ClaimError::WordMismatch) => {
            let by_scalar = claim.check(&Secret::Scalar(secret), reference_height, requests());
            by_scalar.map_err(|error| match error {
                ClaimError::ScalarOutOfRange => ClaimError::WordMismatch,
                other => other,
            })
        }
        checked => checked,
    }
}
