//! How many slots the circuits have that a batch is cut for.

use serde::{Deserialize, Serialize};
use std::num::NonZeroU16;
use taproof_verifier::{cell::Depth, operation::OperationsHash, program::Program, record::Kind, statement::CircuitId};

/// The sizes of the circuits of one kind, in slots: one at least, ascending, none twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<NonZeroU16>", into = "Vec<NonZeroU16>")]
pub struct SlotCounts(Vec<NonZeroU16>);

/// There is no size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a kind has circuits of one size at least")]
pub struct NoSizeError;

impl SlotCounts {
    /// All sizes, in ascending order.
    pub fn sizes(&self) -> &[NonZeroU16] {
        &self.0
    }

    /// The slots of the largest circuit, which chunks are filled for.
    pub fn largest(&self) -> NonZeroU16 {
        *self.0.last().expect("there is one at least")
    }

    /// The slots of the smallest circuit that holds so many records; of the largest, if they are too many for any.
    pub fn fitting(&self, records: usize) -> NonZeroU16 {
        let fits = |size: &&NonZeroU16| usize::from(size.get()) >= records;
        self.0.iter().find(fits).copied().unwrap_or_else(|| self.largest())
    }

    /// How many chunks and slots so many records take: full chunks of the largest circuit, and one of the smallest that
    /// holds the rest.
    pub fn chunks_and_slots(&self, records: usize) -> (usize, usize) {
        let largest = usize::from(self.largest().get());
        let (full, rest) = (records / largest, records % largest);
        let rest_slots = if rest == 0 { 0 } else { self.fitting(rest).get().into() };
        (full + usize::from(rest > 0), full * largest + rest_slots)
    }
}

impl From<NonZeroU16> for SlotCounts {
    fn from(size: NonZeroU16) -> Self {
        Self(vec![size])
    }
}

impl TryFrom<Vec<NonZeroU16>> for SlotCounts {
    type Error = NoSizeError;

    fn try_from(mut sizes: Vec<NonZeroU16>) -> Result<Self, NoSizeError> {
        sizes.sort_unstable();
        sizes.dedup();
        if sizes.is_empty() { Err(NoSizeError) } else { Ok(Self(sizes)) }
    }
}

impl From<SlotCounts> for Vec<NonZeroU16> {
    fn from(counts: SlotCounts) -> Self {
        counts.0
    }
}

/// The numbers of slots of the circuits of each kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slots {
    /// Slots of deposit chunks.
    pub deposit: SlotCounts,
    /// Slots of transfer chunks.
    pub transfer: SlotCounts,
    /// Slots of open chunks.
    pub open: SlotCounts,
    /// Slots of withdraw chunks.
    pub withdraw: SlotCounts,
    /// Slots of chunks of steps, where the program has steps.
    #[serde(default)]
    pub step: Option<StepSlots>,
}

/// The circuits that steps are cut for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepSlots {
    /// The operations that they can be.
    pub operations: OperationsHash,
    /// Slots of chunks.
    pub slots: SlotCounts,
}

impl Slots {
    /// One circuit of each kind of payment, with as many slots, and no steps.
    pub fn uniform(count: NonZeroU16) -> Self {
        let count = || count.into();
        Self { deposit: count(), transfer: count(), open: count(), withdraw: count(), step: None }
    }

    /// The circuits of a program for a depth: of steps those of the operations of the largest.
    ///
    /// # Errors
    /// The kind that has none there.
    pub fn of_program(program: &Program, depth: Depth) -> Result<Self, Kind> {
        let slots = |kind: Kind| sizes(program, |circuit| (circuit.kind, circuit.depth) == (kind, depth)).ok_or(kind);
        Ok(Self {
            deposit: slots(Kind::Deposit)?,
            transfer: slots(Kind::Transfer)?,
            open: slots(Kind::Open)?,
            withdraw: slots(Kind::Withdraw)?,
            step: step_slots(program, depth),
        })
    }

    /// The slots of chunks of a kind; `None` for steps where there are none.
    pub fn of(&self, kind: Kind) -> Option<&SlotCounts> {
        match kind {
            Kind::Deposit => Some(&self.deposit),
            Kind::Transfer => Some(&self.transfer),
            Kind::Open => Some(&self.open),
            Kind::Withdraw => Some(&self.withdraw),
            Kind::Step => self.step.as_ref().map(|step| &step.slots),
        }
    }
}

/// The sizes of those of a program's circuits that are meant, if there are any.
fn sizes(program: &Program, is_meant: impl Fn(&CircuitId) -> bool) -> Option<SlotCounts> {
    let circuits = program.table().circuits().iter().filter(|circuit| is_meant(circuit));
    let sizes: Vec<_> = circuits.filter_map(|circuit| NonZeroU16::new(circuit.slots)).collect();
    sizes.try_into().ok()
}

/// The circuits of steps of a program for a depth, of the operations of the largest.
fn step_slots(program: &Program, depth: Depth) -> Option<StepSlots> {
    let is_step = |circuit: &&CircuitId| (circuit.kind, circuit.depth) == (Kind::Step, depth);
    let largest = program.table().circuits().iter().filter(is_step).max_by_key(|circuit| circuit.slots)?;
    let is_meant = |circuit: &CircuitId| is_step(&circuit) && circuit.operations == largest.operations;
    Some(StepSlots { operations: largest.operations, slots: sizes(program, is_meant)? })
}
