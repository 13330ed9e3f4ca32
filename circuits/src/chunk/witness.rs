//! What a chunk's circuit is given: the statement, and for each slot the transition and the cells it changes.
//!
//! Witnesses are claims, made by the native rules and checked by the circuit; their fields are public so that tests can
//! falsify them one by one.

use serde::{Deserialize, Serialize};
use std::sync::Arc;
use taproof_verifier::{
    cell::{Cell, CellIndex, MerklePath},
    groth16::Proof,
    operation::OperationSet,
    payload::Chunk,
    record::{DepositRecord, Kind, OpenRecord, Records, StepRecord, StepRecords, TransferRecord, WithdrawRecord},
    statement::Statement,
};

use crate::{
    cap::MerkleCap,
    schnorr::Signature,
    step::{Limits, PoolInteger, Registers},
};

/// The change of one cell. The path is that of the tree in which the cell still is `before`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellUpdate {
    /// Where the cell is.
    pub index: CellIndex,
    /// The cell before.
    pub before: Cell,
    /// The cell after.
    pub after: Cell,
    /// The siblings, which the update leaves as they are. A circuit reads those below the [cap](MerkleCap).
    pub path: MerklePath,
}

/// One slot of a deposit chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DepositWitness {
    /// What is posted.
    pub record: DepositRecord,
    /// The cell that is credited.
    pub to: CellUpdate,
}

/// One slot of a transfer chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferWitness {
    /// What is posted.
    pub record: TransferRecord,
    /// The payer's signature.
    pub signature: Signature,
    /// The account that pays, updated first.
    pub from: CellUpdate,
    /// The account that is paid. If it is the one that pays, `before` is that account as just updated.
    pub to: CellUpdate,
}

/// One slot of an open chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenWitness {
    /// What is posted.
    pub record: OpenRecord,
    /// The payer's signature.
    pub signature: Signature,
    /// The account that pays, updated first.
    pub from: CellUpdate,
    /// The cell that becomes an account.
    pub to: CellUpdate,
}

/// One slot of a withdraw chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithdrawWitness {
    /// What is posted.
    pub record: WithdrawRecord,
    /// The payer's signature.
    pub signature: Signature,
    /// The account that pays.
    pub from: CellUpdate,
}

/// One slot of a chunk of steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepWitness {
    /// What is posted.
    pub record: StepRecord,
    /// What the signer holds the step to.
    pub limits: Limits,
    /// The registers before.
    pub registers: Registers,
    /// The signature of the clause that ends here, or else one of nothing by a key that everyone knows.
    pub signature: Signature,
    /// The cell.
    pub cell: CellUpdate,
    /// What the operation takes from the slot's pool of bits, in order.
    pub integers: Vec<PoolInteger>,
}

/// The slots of one chunk that hold a transition; the circuit's other slots are padding and follow them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotWitnesses {
    /// Deposits.
    Deposit(Vec<DepositWitness>),
    /// Transfers.
    Transfer(Vec<TransferWitness>),
    /// Openings.
    Open(Vec<OpenWitness>),
    /// Withdrawals.
    Withdraw(Vec<WithdrawWitness>),
    /// Steps.
    Step {
        /// The operations that they can be.
        #[serde(with = "shared_set")]
        operations: Arc<OperationSet>,
        /// The steps.
        slots: Vec<StepWitness>,
    },
}

/// A shared set of operations, written as the set.
mod shared_set {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::sync::Arc;
    use taproof_verifier::operation::OperationSet;

    pub(super) fn serialize<S: Serializer>(set: &Arc<OperationSet>, serializer: S) -> Result<S::Ok, S::Error> {
        OperationSet::serialize(set, serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<OperationSet>, D::Error> {
        OperationSet::deserialize(deserializer).map(Arc::new)
    }
}

impl SlotWitnesses {
    /// The kind of all slots.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Deposit(_) => Kind::Deposit,
            Self::Transfer(_) => Kind::Transfer,
            Self::Open(_) => Kind::Open,
            Self::Withdraw(_) => Kind::Withdraw,
            Self::Step { .. } => Kind::Step,
        }
    }

    /// How many slots hold a transition.
    pub fn len(&self) -> usize {
        match self {
            Self::Deposit(slots) => slots.len(),
            Self::Transfer(slots) => slots.len(),
            Self::Open(slots) => slots.len(),
            Self::Withdraw(slots) => slots.len(),
            Self::Step { slots, .. } => slots.len(),
        }
    }

    /// Whether all slots are padding.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is posted.
    ///
    /// # Panics
    /// If a step posts what its operation does not, which the rule refuses.
    pub fn records(&self) -> Records {
        match self {
            Self::Deposit(slots) => Records::Deposit(slots.iter().map(|slot| slot.record).collect()),
            Self::Transfer(slots) => Records::Transfer(slots.iter().map(|slot| slot.record).collect()),
            Self::Open(slots) => Records::Open(slots.iter().map(|slot| slot.record).collect()),
            Self::Withdraw(slots) => Records::Withdraw(slots.iter().map(|slot| slot.record).collect()),
            Self::Step { operations, slots } => {
                let records = slots.iter().map(|slot| slot.record).collect();
                Records::Step(StepRecords::new(operations.clone(), records).expect("the rule checked the records"))
            }
        }
    }
}

/// All that the circuit of one chunk is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkWitness {
    /// What is proven; it names the circuit.
    pub statement: Statement,
    /// The cap of the state before the first slot.
    pub cap: MerkleCap,
    /// The transitions, in order.
    pub slots: SlotWitnesses,
    /// The credit of all fees to the operator's cell after the last slot; `None` for a kind without fees. Where the
    /// fees sum to zero, the cell stays as it is, whatever it is.
    pub operator: Option<CellUpdate>,
}

impl ChunkWitness {
    /// What is posted of the slots.
    pub fn records(&self) -> Records {
        self.slots.records()
    }

    /// What is posted of the chunk, with its proof.
    pub fn posted(&self, proof: Proof) -> Chunk {
        let Statement { circuit, context, root_after, registers, .. } = self.statement;
        Chunk {
            circuit,
            token: context.token,
            operator: context.operator,
            root_after,
            registers_after: registers.after,
            records: self.records(),
            proof,
        }
    }
}
