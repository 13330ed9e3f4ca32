//! Transactions of steps, as users give them: clauses that owners signed, and steps that anyone runs, in one run that
//! is applied whole or not at all.

use super::codec::{Reader, TransactionFormatError};
use crate::{
    schnorr::{SecretKey, Signature},
    step::{Limits, Machine, clause_digest, clause_message, flag},
};
use ark_bn254::Fr;
use serde::{Deserialize, Serialize};
use taproof_verifier::{
    cell::{CellIndex, ChainId},
    field,
    operation::{Check, Columns},
    record::{Evidence, StepRecord},
};

/// The most steps of a transaction that a user gives. What an operator makes of many orders may have more.
pub const STEPS_MAX: usize = 128;

/// A step of a clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClauseStep {
    /// What is posted, [`flag::DONE`] aside.
    pub record: StepRecord,
    /// What the signer holds it to.
    pub limits: Limits,
}

/// A run of steps that one owner signs. The first is of the signer's account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clause {
    /// The nonce, or the ticket, that it uses.
    pub number: u64,
    /// The steps; the last one has [`flag::END`].
    pub steps: Vec<ClauseStep>,
    /// The signature.
    pub signature: Signature,
}

/// Why there is no clause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClauseError {
    /// A clause has 1 to [`STEPS_MAX`] steps.
    #[error("a clause of {0} steps, where it has 1 to {STEPS_MAX}")]
    Count(usize),
    /// The last step, and no other, ends the clause; none is the transaction's last by itself.
    #[error("step {0} has flags that are not those of its place")]
    Flags(usize),
    /// The set has no operation of this number.
    #[error("step {step} is of operation {operation}, which is unknown")]
    UnknownOperation {
        /// The step.
        step: usize,
        /// Its operation.
        operation: u8,
    },
}

impl Clause {
    /// Signs steps with the account's nonce or ticket. Sets the flags that end the clause.
    ///
    /// # Errors
    /// [`ClauseError`].
    pub fn sign(
        machine: &Machine,
        chain_id: ChainId,
        number: u64,
        mut steps: Vec<ClauseStep>,
        key: &SecretKey,
    ) -> Result<Self, ClauseError> {
        let count = steps.len();
        for (position, step) in steps.iter_mut().enumerate() {
            let end = if position + 1 == count { flag::END } else { 0 };
            step.record.flags = step.record.flags & !(flag::END | flag::DONE) | end;
        }
        let unsigned = Self { number, steps, signature: crate::step::known_signature() };
        unsigned.check()?;
        let digest = unsigned.digest(machine, chain_id)?;
        Ok(Self { signature: key.sign(&clause_message(digest)), ..unsigned })
    }

    /// The signer's account.
    pub fn signer(&self) -> CellIndex {
        self.steps.first().map_or(CellIndex::default(), |step| step.record.cell)
    }

    /// Whether it uses a ticket.
    pub fn is_by_ticket(&self) -> bool {
        self.steps.first().is_some_and(|step| step.record.flags & flag::TICKET != 0)
    }

    /// Checks the number of its steps, and their flags.
    ///
    /// # Errors
    /// [`ClauseError::Count`] and [`ClauseError::Flags`].
    pub fn check(&self) -> Result<(), ClauseError> {
        let count = self.steps.len();
        if !(1..=STEPS_MAX).contains(&count) {
            return Err(ClauseError::Count(count));
        }
        let expected = |position: usize| if position + 1 == count { flag::END } else { 0 };
        let is_wrong =
            |position: usize, step: &ClauseStep| step.record.flags & (flag::END | flag::DONE) != expected(position);
        let wrong = self.steps.iter().enumerate().position(|(position, step)| is_wrong(position, step));
        wrong.map_or(Ok(()), |position| Err(ClauseError::Flags(position)))
    }

    /// What the signer signs.
    ///
    /// # Errors
    /// [`ClauseError::UnknownOperation`].
    pub fn digest(&self, machine: &Machine, chain_id: ChainId) -> Result<Fr, ClauseError> {
        for (step, ClauseStep { record, .. }) in self.steps.iter().enumerate() {
            let operation = record.operation;
            machine.get(operation).ok_or(ClauseError::UnknownOperation { step, operation })?;
        }
        let steps = self.steps.iter().map(|step| (step.record, step.limits));
        Ok(clause_digest(chain_id, self.signer(), self.number, self.is_by_ticket(), machine.element(), steps))
    }
}

/// A part of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// What an owner signed.
    Clause(Clause),
    /// A step that anyone runs.
    Step(StepRecord),
}

impl Part {
    /// Its steps, each with what its signer holds it to.
    pub fn steps(&self) -> impl Iterator<Item = ClauseStep> {
        let (clause, step) = match self {
            Self::Clause(clause) => (clause.steps.as_slice(), None),
            Self::Step(record) => (&[][..], Some(ClauseStep { record: *record, limits: Limits::default() })),
        };
        clause.iter().copied().chain(step)
    }
}

/// A run of steps that is applied whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepTransaction {
    /// The rollup that it is for.
    pub chain_id: ChainId,
    /// Its parts, in order.
    pub parts: Vec<Part>,
}

impl StepTransaction {
    /// A transaction of clauses alone.
    pub fn of_clauses(chain_id: ChainId, clauses: impl IntoIterator<Item = Clause>) -> Self {
        Self { chain_id, parts: clauses.into_iter().map(Part::Clause).collect() }
    }

    /// The number of steps.
    pub fn step_count(&self) -> usize {
        self.parts.iter().map(|part| part.steps().count()).sum()
    }

    /// The fees that its clauses pay, each in its first step.
    pub fn fee(&self) -> u64 {
        let fees = self.clauses().filter_map(|clause| clause.steps.first()).map(|step| step.record.b);
        fees.fold(0, u64::saturating_add)
    }

    /// The clauses.
    pub fn clauses(&self) -> impl Iterator<Item = &Clause> {
        self.parts.iter().filter_map(|part| match part {
            Part::Clause(clause) => Some(clause),
            Part::Step(_) => None,
        })
    }
}

/// The tag of a clause in the encoding of a transaction, and that of a step that anyone runs.
const CLAUSE: u8 = 1;
const STEP: u8 = 0;

/// The most bytes of an encoded transaction of steps.
pub(super) const STEPS_LENGTH_MAX: usize = 19 + STEPS_MAX * (STEP_LENGTH_MAX + CLAUSE_LENGTH);
/// The bytes of a clause beside its steps.
const CLAUSE_LENGTH: usize = 2 + 8 + Signature::SIZE_BYTES;
/// The most bytes of an encoded step.
const STEP_LENGTH_MAX: usize = 4 + 4 + 24 + 32 + 12 + 96;

/// Appends a step: its operation, its flags, the bits of the columns that it uses (each 1 byte), the number of the
/// check that its evidence is for (1), cell (4), a, b, c (8 each), word (32) as far as the bits say, least (8) and
/// until (4) if bits 6 and 7 of the columns' byte are set, and the evidence.
fn write_step(ClauseStep { record, limits }: &ClauseStep, out: &mut Vec<u8>) {
    let columns = record.columns_used();
    let has = |bit: u8, used: bool| if used { 1 << bit } else { 0 };
    let bits = columns.bits() | has(6, limits.least != 0) | has(7, limits.until != 0);
    let check = Check::ALL.into_iter().find(|check| record.evidence.is_for(*check)).unwrap_or(Check::None);
    out.extend([record.operation, record.flags, bits, check as u8]);
    if columns.contain(Columns::CELL) {
        out.extend(record.cell.get().to_le_bytes());
    }
    for (column, number) in [(Columns::A, record.a), (Columns::B, record.b), (Columns::C, record.c)] {
        if columns.contain(column) {
            out.extend(number.to_le_bytes());
        }
    }
    if columns.contain(Columns::WORD) {
        out.extend(field::to_bytes(&record.word));
    }
    if limits.least != 0 {
        out.extend(limits.least.to_le_bytes());
    }
    if limits.until != 0 {
        out.extend(limits.until.to_le_bytes());
    }
    record.evidence.write(out);
}

/// Reads what [`write_step`] appends, in its one encoding.
fn read_step(reader: &mut Reader<'_>) -> Result<ClauseStep, TransactionFormatError> {
    let [operation, flags, bits, check] = reader.array()?;
    let columns = Columns::from_bits(bits & Columns::ALL.bits()).expect("bits of columns");
    let has = |column: Columns| columns.contain(column);
    let mut record = StepRecord { flags, ..StepRecord::new(operation) };
    if has(Columns::CELL) {
        record.cell = reader.index()?;
    }
    for (column, number) in [(Columns::A, &mut record.a), (Columns::B, &mut record.b), (Columns::C, &mut record.c)] {
        if has(column) {
            *number = u64::from_le_bytes(reader.array()?);
        }
    }
    if has(Columns::WORD) {
        record.word = field::from_bytes(&reader.array()?).map_err(|_| TransactionFormatError::Word)?;
    }
    let least = if bits & 1 << 6 != 0 { u64::from_le_bytes(reader.array()?) } else { 0 };
    let until = if bits & 1 << 7 != 0 { reader.word()? } else { 0 };
    let check = Check::from_number(check).ok_or(TransactionFormatError::Check(check))?;
    let bytes = reader.bytes(check.evidence_length())?;
    let (evidence, _) = Evidence::read(check, bytes).ok_or(TransactionFormatError::Truncated)?;
    record.evidence = evidence;
    let limits = Limits { least, until };
    let step = ClauseStep { record, limits };
    let mut again = Vec::new();
    write_step(&step, &mut again);
    // A zero that is written out, or a check without evidence, would be a second encoding.
    if again[..4] != [operation, flags, bits, check as u8] {
        return Err(TransactionFormatError::NotCanonical);
    }
    Ok(step)
}

impl StepTransaction {
    /// Appends the number of parts (2 bytes); then each part: 0 and a step, or 1, the number of steps (1), the nonce or
    /// ticket (8), the steps and the signature (64).
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend((self.parts.len() as u16).to_le_bytes());
        for part in &self.parts {
            match part {
                Part::Step(record) => {
                    out.push(STEP);
                    write_step(&ClauseStep { record: *record, limits: Limits::default() }, out);
                }
                Part::Clause(clause) => {
                    out.extend([CLAUSE, clause.steps.len() as u8]);
                    out.extend(clause.number.to_le_bytes());
                    clause.steps.iter().for_each(|step| write_step(step, out));
                    out.extend(clause.signature.to_bytes());
                }
            }
        }
    }

    /// Reads what [`StepTransaction::write`] appends.
    pub(super) fn read(chain_id: ChainId, reader: &mut Reader<'_>) -> Result<Self, TransactionFormatError> {
        let count = usize::from(u16::from_le_bytes(reader.array()?));
        let mut parts = Vec::new();
        let mut steps_left = STEPS_MAX;
        let mut take = |steps: usize| {
            steps_left = steps_left.checked_sub(steps).ok_or(TransactionFormatError::TooManySteps)?;
            Ok::<_, TransactionFormatError>(())
        };
        for _ in 0..count {
            let part = match reader.byte()? {
                STEP => {
                    take(1)?;
                    let step = read_step(reader)?;
                    if step.limits != Limits::default() {
                        return Err(TransactionFormatError::NotCanonical);
                    }
                    Part::Step(step.record)
                }
                CLAUSE => {
                    let count = usize::from(reader.byte()?);
                    take(count.max(1))?;
                    let number = u64::from_le_bytes(reader.array()?);
                    let steps = (0..count).map(|_| read_step(reader)).collect::<Result<Vec<_>, _>>()?;
                    Part::Clause(Clause { number, steps, signature: reader.signature()? })
                }
                tag => return Err(TransactionFormatError::Part(tag)),
            };
            parts.push(part);
        }
        Ok(Self { chain_id, parts })
    }
}
