//! How large the tree and the circuits are that keys are made for.

use super::{Exit, Failure, Fallible, Result};
use ark_bn254::Fr;
use ark_ff::FftField;
use clap::Args;
use std::num::NonZeroU16;
use taproof_circuits::{
    chunk::counts,
    state::{SlotCounts, Slots, StepSlots},
    step::Machines,
};
use taproof_kernel::key_ring;
use taproof_rollup::founding::check_slots;
use taproof_verifier::{cell::Depth, program::Program, record::Kind, statement::CircuitId};

/// The most rows that a proof over BN254 can have: its scalar field has roots of unity of this order and no higher.
const ROWS_MAX: usize = 1 << Fr::TWO_ADICITY;
/// More rows than a slot of any kind has.
const SLOT_ROWS_MAX: usize = 32_768;
/// The most sizes of a kind. More would hardly save anything, and each is a key to make, to keep and to check.
const SIZES_MAX: usize = 8;

/// How large tree and circuits are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct Sizes {
    /// The depths of a young tree and of a full one.
    pub(super) depths: [Depth; 2],
    slots: Slots,
}

const fn depth(levels: u8) -> Depth {
    match Depth::new(levels) {
        Some(depth) => depth,
        None => panic!("a tree has 1 to 10 levels"),
    }
}

/// The depths of a new rollup, if nobody says otherwise.
const FIRST_DEPTHS: [Depth; 2] = [depth(7), depth(10)];
/// The slots of chunks of steps of a new rollup. A proof's cost goes with the power of two from its rows up: with so
/// many, chunks of steps of a tree of 10 levels have just below 2^17 and 2^16 rows.
const FIRST_STEP_SLOTS: [u16; 2] = [10, 4];

fn sizes(counts: &[u16]) -> SlotCounts {
    let sizes: Vec<_> = counts.iter().filter_map(|count| NonZeroU16::new(*count)).collect();
    sizes.try_into().expect("not zero")
}

/// The circuits of so many steps, of all operations that are known.
pub(in crate::cli) fn steps(machines: &Machines, slots: SlotCounts) -> Result<StepSlots> {
    let machine = machines.iter().next();
    let machine = machine.ok_or_else(|| Failure::new(Exit::Input, "no operations of steps are known here"))?;
    Ok(StepSlots { operations: machine.set().hash(), slots })
}

impl Sizes {
    /// Those of a new rollup, if nobody says otherwise, but for steps.
    pub(in crate::cli) fn of_payments() -> Self {
        let [deposit, transfer, open, withdraw] = [20, 8, 8, 6].map(|count| sizes(&[count]));
        Self { depths: FIRST_DEPTHS, slots: Slots { deposit, transfer, open, withdraw, step: None } }
    }

    /// Those of a new rollup, if nobody says otherwise.
    fn first(machines: &Machines) -> Result<Self> {
        let payments = Self::of_payments();
        let step = Some(steps(machines, sizes(&FIRST_STEP_SLOTS))?);
        Ok(Self { slots: Slots { step, ..payments.slots }, ..payments })
    }

    /// Those of a program: its least depth and its greatest, and the slots of the circuits for the first.
    pub(in crate::cli) fn of(program: &Program) -> Self {
        let least = program.table().circuits().iter().map(|circuit| circuit.depth).min();
        let least = least.expect("a program has circuits");
        let slots = Slots::of_program(program, least).expect("a program has circuits of all kinds at each depth");
        Self { depths: [least, program.depth_max()], slots }
    }

    /// The circuits of both depths. The keys of the full tree could be made when it is needed only from a secret that
    /// is kept until then, and whoever had it could forge proofs.
    pub(in crate::cli) fn circuits(&self, machines: &Machines) -> Vec<CircuitId> {
        let of_depth = |depth| key_ring::circuits(machines, depth, &self.slots);
        let mut circuits: Vec<CircuitId> = self.depths.into_iter().flat_map(of_depth).collect();
        circuits.sort_unstable();
        circuits.dedup();
        circuits
    }
}

/// The circuits that keys are made for. The command says what holds where nothing is given.
#[derive(Debug, Args)]
pub(in crate::cli) struct CircuitOptions {
    #[command(flatten)]
    sizes: SizeOptions,
    /// The slots of chunks of steps, which are tokens and the exchange.
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    step_slots: Vec<NonZeroU16>,
    /// Has payments alone, and no steps: keys are made in less time.
    #[arg(long, conflicts_with = "step_slots")]
    payments_only: bool,
    /// The depth that the tree can grow to: keys are made for both depths.
    #[arg(long, value_name = "LEVELS", value_parser = clap::value_parser!(u8).range(1..=10))]
    full_depth: Option<u8>,
}

impl CircuitOptions {
    /// The sizes of a new rollup. A tree whose first depth alone is given does not grow.
    pub(super) fn first(&self, machines: &Machines) -> Result<Sizes> {
        let full = if self.sizes.depth.is_some() { depth(1) } else { FIRST_DEPTHS[1] };
        let first = if self.payments_only { Sizes::of_payments() } else { Sizes::first(machines)? };
        self.sizes(machines, &first, full)
    }

    /// The sizes of a program that comes after one of others, whose tree may have grown: what is not given is as there.
    pub(in crate::cli) fn after(&self, machines: &Machines, others: &Sizes) -> Result<Sizes> {
        self.sizes(machines, others, others.depths[1])
    }

    /// The sizes, with the full depth that there is at least if none is given.
    fn sizes(&self, machines: &Machines, others: &Sizes, full: Depth) -> Result<Sizes> {
        let (young, mut slots) = self.sizes.sizes(others)?;
        if let Ok(counts) = self.step_slots.clone().try_into() {
            slots.step = Some(steps(machines, counts)?);
        }
        if self.payments_only {
            slots.step = None;
        }
        let full = self.full_depth.map_or(full.max(young), depth);
        if full < young {
            let (full, young) = (full.levels(), young.levels());
            let failure = Failure::new(Exit::Input, format!("a tree of {young} levels cannot grow to {full}"));
            return Err(failure.advise("give a --full-depth of --depth or more"));
        }
        expect_possible(machines, full, &slots)?;
        Ok(Sizes { depths: [young, full], slots })
    }
}

/// How large tree and circuits are.
#[derive(Debug, Args)]
pub(in crate::cli) struct SizeOptions {
    /// The depth of the tree: 8^LEVELS cells.
    #[arg(long, value_name = "LEVELS", value_parser = clap::value_parser!(u8).range(1..=10))]
    depth: Option<u8>,
    /// The slots of transfer and open chunks: of full ones, and of smaller ones for the last of a batch.
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    slots: Vec<NonZeroU16>,
    /// The slots of deposit chunks.
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    deposit_slots: Vec<NonZeroU16>,
    /// The slots of withdraw chunks.
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    withdraw_slots: Vec<NonZeroU16>,
}

impl SizeOptions {
    /// The depth of the tree, and the slots, if batches and proofs of so many can be made; what is not given is as in
    /// `others`.
    pub(in crate::cli) fn sizes(&self, others: &Sizes) -> Result<(Depth, Slots)> {
        let young = self.depth.map_or(others.depths[0], depth);
        let given = |counts: &[NonZeroU16], other: &SlotCounts| {
            SlotCounts::try_from(counts.to_vec()).unwrap_or_else(|_| other.clone())
        };
        let slots = Slots {
            deposit: given(&self.deposit_slots, &others.slots.deposit),
            transfer: given(&self.slots, &others.slots.transfer),
            open: given(&self.slots, &others.slots.open),
            withdraw: given(&self.withdraw_slots, &others.slots.withdraw),
            step: others.slots.step.clone(),
        };
        expect_possible(&Machines::default(), young, &slots)?;
        Ok((young, slots))
    }
}

/// Fails for slots with which no batch could be made, or no proof.
pub(in crate::cli) fn expect_possible(machines: &Machines, depth: Depth, slots: &Slots) -> Result {
    check_slots(slots)
        .or_exit(Exit::Input)
        .map_err(|failure| failure.advise("take fewer --withdraw-slots or --deposit-slots"))?;
    let kinds = Kind::PAYMENTS.into_iter().chain([Kind::Step]);
    let of_kinds = kinds.filter_map(|kind| Some((kind, slots.of(kind)?)));
    let mut most = 0;
    for (kind, counts) in of_kinds {
        let found = counts.sizes().len();
        if found > SIZES_MAX {
            let message = format!("{found} sizes of {kind} chunks, more than {SIZES_MAX}");
            return Err(Failure::new(Exit::Input, message).advise("two or three do: a large one, and small ones"));
        }
        most = most.max(counts.largest().get());
    }
    // So few are never too many, and need not be counted.
    if usize::from(most) <= ROWS_MAX / SLOT_ROWS_MAX {
        return Ok(());
    }
    for count in counts(machines, depth, 1)? {
        let kind_slots = slots.of(count.kind).map_or(0, |counts| counts.largest().get());
        let rows = count.constraints_per_slot * usize::from(kind_slots);
        if rows > ROWS_MAX {
            let kind = count.kind;
            let message = format!("{kind_slots} slots of {kind} have {rows} constraints, where a proof has {ROWS_MAX}");
            return Err(Failure::new(Exit::Input, message).advise("take fewer slots"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use taproof_circuits::ops;

    /// The power of two that a proof of a chunk of so many steps is made over.
    fn domain(slots: u16) -> usize {
        let machines = Machines::new(vec![ops::standard()]);
        let counts = counts(&machines, FIRST_DEPTHS[1], slots).expect("circuits");
        let count = counts.iter().find(|count| count.kind == Kind::Step).expect("steps");
        count.constraints.next_power_of_two()
    }

    #[test]
    fn chunks_of_steps_use_their_domains_up() {
        for (slots, used) in FIRST_STEP_SLOTS.into_iter().zip([1 << 17, 1 << 16]) {
            assert_eq!([domain(slots), domain(slots + 1)], [used, 2 * used]);
        }
    }
}
