//! A set of operations, ready to be applied and proven.

use super::{
    clause,
    operation::{Authority, Description, Operation},
    recording::StepCircuit,
    registers::Groups,
};
use ark_bn254::Fr;
use std::sync::Arc;
use taproof_verifier::{
    cell::{Account, Depth, Pool, TokenCell},
    operation::{OperationSet, OperationSetError, OperationsHash},
    record::Kind,
    statement::CircuitId,
};

/// A set of operations: the rules of a rollup's steps, and their circuit.
#[derive(Clone, Debug)]
pub struct Machine {
    operations: Arc<[Known]>,
    set: Arc<OperationSet>,
    /// What stands for the set in what is signed.
    element: Fr,
    groups: Groups,
}

/// An operation with what is asked for again and again.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) description: Description,
    pub(crate) operation: Arc<dyn Operation>,
    pub(crate) circuit: StepCircuit,
}

/// Why operations make no machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MachineError {
    /// A verifier would refuse them.
    #[error(transparent)]
    Set(#[from] OperationSetError),
    /// What starts a clause is signed by the owner of an account.
    #[error("operation {0} starts clauses, and its cell is no account")]
    StartsWithoutAccount(u8),
    /// What has a supply keeps its kind: the supply of another cell would be none.
    #[error("operation {0} makes a cell with a supply of one that is not empty, or another cell of one with a supply")]
    ChangesSupply(u8),
}

/// Whether cells of a kind mint the token of their own index.
pub(crate) fn has_supply(kind: u8) -> bool {
    [TokenCell::KIND, Pool::KIND].contains(&kind)
}

impl Machine {
    /// Takes operations in any order.
    ///
    /// # Errors
    /// Each of [`MachineError`].
    pub fn new(mut operations: Vec<Arc<dyn Operation>>) -> Result<Self, MachineError> {
        operations.sort_by_key(|operation| operation.description().number);
        let set = OperationSet::new(operations.iter().map(|known| known.description().for_verifier()).collect())?;
        let mut groups = Groups::ALWAYS;
        let mut known = Vec::with_capacity(operations.len());
        for operation in operations {
            let description = operation.description();
            let Description { number, kind_before, kind_after, .. } = description;
            if description.authority == Authority::Starts && kind_before != Account::KIND {
                return Err(MachineError::StartsWithoutAccount(number));
            }
            let mints = has_supply(kind_before) || has_supply(kind_after);
            if mints && kind_before != kind_after && !description.fills_empty() {
                return Err(MachineError::ChangesSupply(number));
            }
            groups = groups.and(description.writes);
            let mut circuit = StepCircuit::new();
            operation.synthesize(&mut circuit);
            known.push(Known { description, operation, circuit });
        }
        let element = clause::operations_element(set.hash());
        Ok(Self { operations: known.into(), set: Arc::new(set), element, groups })
    }

    /// What a verifier knows of the operations.
    pub fn set(&self) -> &Arc<OperationSet> {
        &self.set
    }

    /// What stands for the set of operations in what is signed.
    pub(crate) fn element(&self) -> Fr {
        self.element
    }

    /// The groups of registers that its circuits carry.
    pub fn groups(&self) -> Groups {
        self.groups
    }

    /// The operation of a number.
    pub fn get(&self, number: u8) -> Option<&dyn Operation> {
        let found = self.operations.binary_search_by_key(&number, |known| known.description.number);
        found.ok().map(|position| &*self.operations[position].operation)
    }

    /// The descriptions, in ascending order of their numbers.
    pub fn descriptions(&self) -> impl Iterator<Item = Description> {
        self.operations.iter().map(|known| known.description)
    }

    /// All operations, in ascending order of their numbers.
    pub(crate) fn operations(&self) -> &[Known] {
        &self.operations
    }

    /// The bits that the widest operation takes.
    pub fn pool_bits(&self) -> usize {
        self.operations.iter().map(|known| known.circuit.bit_count()).max().unwrap_or(0)
    }
}

/// The version of the machine's circuit: changes whenever the circuit of a step holds other relations.
const CIRCUIT_VERSION: u16 = 1;

impl Machine {
    /// The circuit of the machine's steps.
    pub fn circuit(&self, depth: Depth, slots: u16) -> CircuitId {
        CircuitId { kind: Kind::Step, depth, slots, version: CIRCUIT_VERSION, operations: self.set.hash() }
    }
}

/// The machines whose circuits are known: a rollup has one at a time, and another once its program changes.
#[derive(Clone, Debug, Default)]
pub struct Machines(Vec<Arc<Machine>>);

impl Machines {
    /// Takes machines.
    pub fn new(machines: Vec<Arc<Machine>>) -> Self {
        Self(machines)
    }

    /// The machine of a set of operations.
    pub fn get(&self, operations: OperationsHash) -> Option<&Machine> {
        self.iter().find(|machine| machine.set.hash() == operations).map(|machine| &**machine)
    }

    /// The same, to be kept.
    pub fn get_shared(&self, operations: OperationsHash) -> Option<Arc<Machine>> {
        self.iter().find(|machine| machine.set.hash() == operations).cloned()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Machine>> {
        self.0.iter()
    }
}
