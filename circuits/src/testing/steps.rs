//! Runs of steps under test: the native rule makes what the circuit is given.

use super::{
    machines,
    state::{CHAIN_ID, State, index, secret},
};
use crate::{
    cap::MerkleCap,
    chunk::{
        StepSlot,
        witness::{CellUpdate, ChunkWitness, SlotWitnesses, StepWitness},
    },
    schnorr::{SecretKey, Signature},
    step::{Applied, Limits, Machine, Machines, PoolInteger, Registers, StepContext, StepError, known_signature},
};
use std::sync::Arc;
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{Account, Cell},
    record::StepRecord,
};

/// The height that the chunks of all tests refer to.
pub(crate) const HEIGHT: u32 = 800_000;

/// A state on which steps run, one after the other.
pub(crate) struct Steps {
    /// The state.
    pub(crate) state: State,
    /// The registers after the last step.
    pub(crate) registers: Registers,
    /// What the steps are of.
    pub(crate) machine: Arc<Machine>,
    cap: MerkleCap,
    slots: Vec<StepWitness>,
}

/// The secret of one of the owners of a test, by the public key.
fn secret_of(owner: &PublicKey) -> SecretKey {
    (0..=u8::MAX).map(secret).find(|secret| secret.public() == owner).expect("an owner of the test")
}

impl Steps {
    /// Begins on a state, outside of transactions.
    pub(crate) fn on(state: State) -> Self {
        let machine = machines().iter().next().expect("the standard machine").clone();
        Self { cap: state.cap(), state, registers: Registers::default(), machine, slots: Vec::new() }
    }

    /// What the steps are of, as chunks are proven with it.
    pub(crate) fn machines(&self) -> Machines {
        Machines::new(vec![self.machine.clone()])
    }

    /// What the steps read.
    pub(crate) fn context(&self) -> StepContext {
        let (depth, token) = (self.state.depth(), self.state.token());
        StepContext { chain_id: CHAIN_ID, depth, height_blocks: HEIGHT, token }
    }

    /// What the rule says of a step.
    pub(crate) fn apply(&self, record: &StepRecord, limits: Limits) -> Result<Applied, StepError> {
        let cell = self.state.cell(record.cell.get());
        self.machine.apply(&self.context(), &self.registers, &cell, record, Some(limits))
    }

    /// Runs a step without limits.
    pub(crate) fn run(&mut self, record: StepRecord) -> Result<(), StepError> {
        self.run_within(record, Limits::default())
    }

    /// Runs a step, and signs for the signer where a clause ends.
    pub(crate) fn run_within(&mut self, record: StepRecord, limits: Limits) -> Result<(), StepError> {
        let Applied { cell, registers, signed, integers, .. } = self.apply(&record, limits)?;
        let signature: Signature = match signed {
            Some((owner, message)) => secret_of(&owner).sign(&message),
            None => known_signature(),
        };
        let cell = self.state.update(record.cell.get(), cell);
        let before = core::mem::replace(&mut self.registers, registers);
        self.slots.push(StepWitness { record, limits, registers: before, signature, cell, integers });
        Ok(())
    }

    /// The chunk of the steps so far; the next one begins where it ends.
    pub(crate) fn chunk(&mut self, slots: u16) -> ChunkWitness {
        let operations = self.machine.set().clone();
        let witnesses = SlotWitnesses::Step { operations, slots: core::mem::take(&mut self.slots) };
        let (machine, registers) = (self.machine.clone(), self.registers);
        let chunk = self.state.step_chunk(self.cap.clone(), slots, witnesses, &machine, &registers);
        self.cap = self.state.cap();
        chunk
    }

    /// A chunk of one step that the rule may refuse, with the integers that a prover gives the circuit, and an
    /// account of the tokens and the owner that he claims for the cell after.
    pub(crate) fn forced(
        &mut self,
        record: StepRecord,
        limits: Limits,
        integers: Vec<PoolInteger>,
        claimed: Account,
    ) -> (ChunkWitness, StepWitness) {
        let at = record.cell.get();
        let after = if self.state.cell(at) == Cell::Empty { Cell::Account(claimed) } else { self.state.cell(at) };
        let update = self.state.update(at, self.state.cell(at));
        let cell = CellUpdate { after, ..update };
        let (registers, signature) = (self.registers, known_signature());
        self.slots.push(StepWitness { record, limits, registers, signature, cell, integers });
        let chunk = self.chunk(1);
        let witness = self.witness_of(&chunk, 0);
        (chunk, witness)
    }

    /// Puts a cell into the state, as if it had been there; no step has run yet.
    pub(crate) fn put(&mut self, at: u32, cell: Cell) {
        assert!(self.slots.is_empty(), "a cell changes by steps");
        self.state.set(at, cell);
        self.cap = self.state.cap();
    }

    /// How many steps ran since the last chunk.
    pub(crate) fn count(&self) -> u16 {
        self.slots.len() as u16
    }

    /// The witness of a slot of a chunk of steps.
    pub(crate) fn witness_of(&self, chunk: &ChunkWitness, slot: usize) -> StepWitness {
        match &chunk.slots {
            SlotWitnesses::Step { slots, .. } => slots[slot].clone(),
            other => panic!("{} slots", other.kind()),
        }
    }

    /// Alters the first slot of a chunk; gives its witness then.
    pub(crate) fn alter(&self, chunk: &mut ChunkWitness, change: impl FnOnce(&mut StepWitness)) -> StepWitness {
        match &mut chunk.slots {
            SlotWitnesses::Step { slots, .. } => change(&mut slots[0]),
            other => panic!("{} slots", other.kind()),
        }
        self.witness_of(chunk, 0)
    }

    /// The circuit of a slot.
    pub(crate) fn slot(&self) -> StepSlot<'_> {
        StepSlot(&self.machine)
    }
}

/// A record of an operation on a cell.
pub(crate) fn record(operation: u8, cell: u32, flags: u8) -> StepRecord {
    StepRecord { cell: index(cell), flags, ..StepRecord::new(operation) }
}
