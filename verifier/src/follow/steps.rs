//! The rules of batches with steps: how late they are, and the evidence that their records post.
//!
//! A verifier knows of an operation what the program's table says, so its check takes the fields of a record in one
//! way for all operations:
//!
//! - A claim: the lock in `cell`, whose word is the record's, counts as opened at height `c`. The secret is that of a
//!   hash lock or of a point lock: none opens both. The height is that of the batch's reference, or that of a claim
//!   request which the record serves.
//! - A report of a feed: the word names the key, the fact is in `cell`, and the values are `a` and `b` at height `c`.
//! - A header fact: `a` is the number `b` of the header at height `c`.
//! - Once per block: the record posts nothing for it. Of all such records in the batches accepted of one Bitcoin block
//!   there is one for each `cell`. What this needs to know lasts as long as the block is read.
//!
//! A header's height lies between the references of the batch before and of this one, both included: these headers
//! every follower knows, wherever it started.

use super::{Follower, RuleError};
use crate::{
    cell::CellIndex,
    evidence::{Claim, ClaimError, ClaimRequest, FeedReport, HeaderFact, HeaderField, Secret},
    exit::{Outcome, SettledRequest},
    field,
    headers::BlockId,
    operation::Check,
    payload::Payload,
    record::{Evidence, Kind, Records, StepRecord, StepRecords},
};
use alloc::{collections::BTreeSet, vec::Vec};
use bitcoin::{block::Header, consensus::deserialize};

/// How many blocks below that of its anchor a batch with steps refers to at most. Steps read the height as the time, so
/// none is to be true of a time that is long over; proofs and an anchor take their time, too.
pub const STEPS_WINDOW_BLOCKS: u32 = 18;

/// Checks that a batch with steps does not come late.
pub(super) fn check_reference_of_steps(block: BlockId, payload: &Payload) -> Result<(), RuleError> {
    let (min, found) = (block.height.saturating_sub(STEPS_WINDOW_BLOCKS), payload.header().reference_height);
    let has_steps = payload.chunks().iter().any(|chunk| chunk.circuit.kind == Kind::Step);
    if has_steps && found < min { Err(RuleError::StepsTooLate { min, found }) } else { Ok(()) }
}

/// The request that a record would serve, if it is one that opens a lock. One whose height exceeds 32 bits serves none,
/// and the check of its evidence refuses it.
fn claim(record: &StepRecord) -> Option<ClaimRequest> {
    match record.evidence {
        Evidence::Claim(secret) => {
            Some(ClaimRequest { cell: record.cell, secret, height_blocks: u32::try_from(record.c).ok()? })
        }
        _ => None,
    }
}

/// The requests that the records of a batch which open locks would serve.
pub(super) fn claims(payload: &Payload) -> impl Iterator<Item = ClaimRequest> {
    step_chunks(payload).flat_map(|(_, steps)| steps.records()).filter_map(claim)
}

/// The chunks of steps of a batch, each with its number.
fn step_chunks(payload: &Payload) -> impl Iterator<Item = (usize, &StepRecords)> {
    payload.chunks().iter().enumerate().filter_map(|(chunk, content)| match &content.records {
        Records::Step(steps) => Some((chunk, steps)),
        _ => None,
    })
}

/// The cells that records whose check is [`Check::OncePerBlock`] changed in the accepted batches of one block.
#[derive(Debug, Default)]
pub(super) struct OncePerBlock(BTreeSet<CellIndex>);

impl OncePerBlock {
    /// Checks that a batch in the block changes none of these cells by such a record, and no other one twice.
    pub(super) fn check(&self, payload: &Payload) -> Result<(), RuleError> {
        let mut own = BTreeSet::new();
        for ([chunk, position], cell) in Self::cells(payload) {
            if self.0.contains(&cell) || !own.insert(cell) {
                return Err(RuleError::ChangedTwice { chunk, position, cell });
            }
        }
        Ok(())
    }

    /// Takes note of a batch that was accepted.
    pub(super) fn extend(&mut self, payload: &Payload) {
        self.0.extend(Self::cells(payload).map(|(_, cell)| cell));
    }

    /// The cells of a payload's records with the check, each with its chunk and the position there.
    fn cells(payload: &Payload) -> impl Iterator<Item = ([usize; 2], CellIndex)> {
        step_chunks(payload).flat_map(|(chunk, steps)| {
            let is_checked = |record: &StepRecord| steps.check_of(record) == Check::OncePerBlock;
            let records = (0..).zip(steps.records()).filter(move |(_, record)| is_checked(record));
            records.map(move |(position, record)| ([chunk, position], record.cell))
        })
    }
}

impl Follower {
    /// Checks what steps post for the verifier. Records that are alike compress to next to nothing, and a signature
    /// takes as long each time, so evidence is checked once, however often it is posted. Of the requests that the batch
    /// settles, each that it serves is good for one record.
    pub(super) fn check_evidence(&self, payload: &Payload, settled: &[SettledRequest]) -> Result<(), RuleError> {
        let mut checked = Checked::default();
        let served = settled.iter().filter(|settled| settled.outcome == Outcome::Served);
        let mut served: BTreeSet<ClaimRequest> =
            served.filter_map(|settled| settled.request.request.claim()).copied().collect();
        let reference_height = payload.header().reference_height;
        for (chunk, steps) in step_chunks(payload) {
            for (position, record) in steps.records().iter().enumerate() {
                if let Some(own) = claim(record)
                    && !served.remove(&own)
                    && own.height_blocks < reference_height
                {
                    let source = ClaimError::NotRequested { height_blocks: own.height_blocks };
                    return Err(RuleError::Claim { chunk, position, source });
                }
                if checked.is_new(record) {
                    self.check_step(payload, record, [chunk, position])?;
                }
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
                // A request of a lower height is there.
                let request = ClaimRequest { cell: record.cell, secret, height_blocks };
                let checked = check_claim(&claim, secret, reference_height, request);
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

/// The evidence of a payload that was checked, as far as it costs much.
#[derive(Default)]
struct Checked(BTreeSet<Vec<u8>>);

impl Checked {
    /// Whether a record has something to check that no record before it had. What it takes for another to have is some
    /// 32 bytes that do not compress: another word, or another signature.
    fn is_new(&mut self, record: &StepRecord) -> bool {
        let StepRecord { cell, a, b, c, word, evidence, .. } = record;
        let mut regarded = Vec::new();
        match evidence {
            Evidence::None => return false,
            Evidence::Header(_) => return true,
            Evidence::Claim(_) => {}
            Evidence::Feed { .. } => {
                regarded.extend(cell.get().to_le_bytes());
                [a, b].into_iter().for_each(|number| regarded.extend(number.to_le_bytes()));
            }
        }
        regarded.extend(c.to_le_bytes());
        regarded.extend(field::to_bytes(word));
        evidence.write(&mut regarded);
        self.0.insert(regarded)
    }
}

/// Checks a claim by whichever type of lock its secret opens.
fn check_claim(
    claim: &Claim,
    secret: [u8; 32],
    reference_height: u32,
    request: ClaimRequest,
) -> Result<(), ClaimError> {
    match claim.check(&Secret::Preimage(secret), reference_height, [request]) {
        Err(ClaimError::WordMismatch) => {
            let by_scalar = claim.check(&Secret::Scalar(secret), reference_height, [request]);
            by_scalar.map_err(|error| match error {
                ClaimError::ScalarOutOfRange => ClaimError::WordMismatch,
                other => other,
            })
        }
        checked => checked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_bn254::Fr;

    #[test]
    fn evidence_is_checked_once_for_all_that_its_check_regards() {
        let cell = CellIndex::new(1).expect("a small index");
        let record =
            |evidence| StepRecord { cell, a: 2, b: 3, c: 4, word: Fr::from(5u64), evidence, ..StepRecord::new(6) };
        let other = |position: usize, record: StepRecord| match position {
            0 => StepRecord { cell: CellIndex::default(), ..record },
            1 => StepRecord { a: 0, ..record },
            2 => StepRecord { b: 0, ..record },
            3 => StepRecord { c: 0, ..record },
            4 => StepRecord { word: Fr::from(0u64), ..record },
            _ => StepRecord { operation: 0, flags: 1, ..record },
        };
        let feed = |key, signature| Evidence::Feed { key: [key; 32], signature: [signature; 64] };
        let cases = [
            (Evidence::Claim([1; 32]), [false, false, false, true, true, false]),
            (feed(1, 1), [true, true, true, true, true, false]),
            (Evidence::Header([1; 80]), [true; 6]),
            (Evidence::None, [false; 6]),
        ];
        for (evidence, are_new) in cases {
            let mut checked = Checked::default();
            assert_eq!(checked.is_new(&record(evidence)), evidence != Evidence::None);
            assert_eq!(checked.is_new(&record(evidence)), matches!(evidence, Evidence::Header(_)));
            for (position, is_new) in are_new.into_iter().enumerate() {
                assert_eq!(checked.is_new(&other(position, record(evidence))), is_new, "{evidence:?}, {position}");
            }
        }
        let mut checked = Checked::default();
        for evidence in [Evidence::Claim([1; 32]), Evidence::Claim([2; 32]), feed(1, 1), feed(1, 2), feed(2, 1)] {
            assert!(checked.is_new(&record(evidence)));
        }
    }
}
