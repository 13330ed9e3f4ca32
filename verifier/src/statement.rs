//! What one proof proves: a chunk's roots, records and context, hashed to the proof's one public input.

use crate::{
    cell::{CellIndex, ChainId, Depth, Token},
    field::{from_short_bytes, pack},
    operation::OperationsHash,
    poseidon2::{Domain, RATE, hash},
    record::Kind,
};
use ark_bn254::Fr;
use ark_ff::AdditiveGroup;

/// Which circuit: a kind of transition, the tree's depth, the number of slots, the circuit's version, and the
/// operations that its slots can be.
///
/// Never the hash of a key: the key is made from the circuit, so the circuit cannot contain it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct CircuitId {
    /// The kind of all slots.
    pub kind: Kind,
    /// The depth of the tree before and after.
    pub depth: Depth,
    /// The number of slots. Formats have 4 bytes for it; nobody has proven more than 65,535 in one piece.
    pub slots: u16,
    /// Changes whenever the circuit of a kind holds other relations. What its records post does not change with it.
    pub version: u16,
    /// The hash of the set of operations; [`OperationsHash::NONE`] for payments.
    pub operations: OperationsHash,
}

impl CircuitId {
    /// The circuit of a kind of payment in its present version: each kind counts its own.
    pub fn new(kind: Kind, depth: Depth, slots: u16) -> Self {
        Self { kind, depth, slots, version: kind.circuit_version(), operations: OperationsHash::NONE }
    }

    /// The identity as one element: the [`hash`] in [`Domain::Circuit`] of three, which are kind (8 bits), depth (8),
    /// slots (32) and version (16), the kind lowest; the first 16 bytes of the operations' hash; its last 16 bytes.
    pub fn element(&self) -> Fr {
        let [kind, depth] = [self.kind as u8, self.depth.levels()];
        let named = pack([(kind.into(), 8), (depth.into(), 8), (self.slots.into(), 32), (self.version.into(), 16)]);
        let operations = self.operations.to_byte_array();
        let (low, high) = operations.split_at(16);
        hash(Domain::Circuit, &[named, from_short_bytes(low), from_short_bytes(high)])
    }
}

impl core::fmt::Display for CircuitId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}-d{}-n{}-v{}", self.kind, self.depth.levels(), self.slots, self.version)?;
        if self.operations == OperationsHash::NONE {
            return Ok(());
        }
        f.write_str("-")?;
        self.operations.to_byte_array()[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What slots read beside the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Context {
    /// The height of the Bitcoin block that the batch refers to.
    pub height_blocks: u32,
    /// The token that every slot of the chunk moves.
    pub token: Token,
    /// The cell that receives the chunk's fees; 0 for kinds without fees.
    pub operator: CellIndex,
}

/// The digests of the registers, which steps carry from one to the next, before and after a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Registers {
    /// Before the first slot.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_form::element"))]
    pub before: Fr,
    /// After the last slot.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_form::element"))]
    pub after: Fr,
}

impl Registers {
    /// Those of payments: all registers are zero before and after.
    pub const NONE: Self = Self { before: Fr::ZERO, after: Fr::ZERO };

    /// The digest of registers: their [`hash`] in [`Domain::Registers`] less that of as many zeros. So the digest of
    /// zeros is 0, however many registers there are.
    pub fn digest(registers: &[Fr]) -> Fr {
        let zeros = alloc::vec![Fr::ZERO; registers.len()];
        hash(Domain::Registers, registers) - hash(Domain::Registers, &zeros)
    }
}

/// What one proof proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Statement {
    /// The rollup.
    pub chain_id: ChainId,
    /// The circuit.
    pub circuit: CircuitId,
    /// The root of the state before the chunk.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_form::element"))]
    pub root_before: Fr,
    /// The root of the state after the chunk.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_form::element"))]
    pub root_after: Fr,
    /// The digest of the chunk's records: [`crate::record::Records::digest`].
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_form::element"))]
    pub data_digest: Fr,
    /// What slots read beside the state.
    pub context: Context,
    /// The registers before and after the chunk; [`Registers::NONE`] for payments.
    pub registers: Registers,
}

/// How many elements a statement hashes: as many as two permutations take.
pub const STATEMENT_ELEMENTS: usize = 2 * RATE;

impl Statement {
    /// The statement's elements, in the one order that verifier and circuit share: circuit, chain id, root before,
    /// root after, data digest, Bitcoin height, token, operator's cell, registers before, registers after, four zeros.
    pub fn elements(&self) -> [Fr; STATEMENT_ELEMENTS] {
        self.elements_in(self.circuit.element())
    }

    fn elements_in(&self, circuit: Fr) -> [Fr; STATEMENT_ELEMENTS] {
        [
            circuit,
            self.chain_id.element(),
            self.root_before,
            self.root_after,
            self.data_digest,
            Fr::from(self.context.height_blocks),
            Fr::from(self.context.token.0),
            Fr::from(self.context.operator.get()),
            self.registers.before,
            self.registers.after,
            Fr::ZERO,
            Fr::ZERO,
            Fr::ZERO,
            Fr::ZERO,
        ]
    }

    /// The public input of the proof.
    pub fn digest(&self) -> Fr {
        self.digest_in(self.circuit.element())
    }

    /// The same where the circuit's element is known: it is a hash as well, which many statements share.
    pub(crate) fn digest_in(&self, circuit: Fr) -> Fr {
        hash(Domain::Statement, &self.elements_in(circuit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{string::ToString, vec::Vec};
    use std::collections::HashSet;

    #[test]
    fn every_field_changes_the_digest() {
        let index = |i| CellIndex::new(i).expect("a small index");
        let depth = |levels| Depth::new(levels).expect("1 to 10 levels");
        let base = Statement {
            chain_id: ChainId::from_byte_array([1; 15]),
            circuit: CircuitId::new(Kind::Transfer, depth(4), 2),
            root_before: Fr::from(5u64),
            root_after: Fr::from(6u64),
            data_digest: Fr::from(7u64),
            context: Context { height_blocks: 8, token: Token(9), operator: index(10) },
            registers: Registers::NONE,
        };
        let operations = |byte, at: usize| {
            let mut bytes = [0; 32];
            bytes[at] = byte;
            OperationsHash::from_byte_array(bytes)
        };
        let variants = [
            base,
            Statement { chain_id: ChainId::from_byte_array([2; 15]), ..base },
            Statement { circuit: CircuitId { kind: Kind::Open, ..base.circuit }, ..base },
            Statement { circuit: CircuitId { depth: depth(5), ..base.circuit }, ..base },
            Statement { circuit: CircuitId { slots: 3, ..base.circuit }, ..base },
            Statement { circuit: CircuitId { version: 9, ..base.circuit }, ..base },
            Statement { circuit: CircuitId { operations: operations(1, 0), ..base.circuit }, ..base },
            Statement { circuit: CircuitId { operations: operations(1, 15), ..base.circuit }, ..base },
            Statement { circuit: CircuitId { operations: operations(1, 16), ..base.circuit }, ..base },
            Statement { circuit: CircuitId { operations: operations(128, 31), ..base.circuit }, ..base },
            Statement { registers: Registers { before: Fr::from(1u64), ..base.registers }, ..base },
            Statement { registers: Registers { after: Fr::from(1u64), ..base.registers }, ..base },
            Statement { root_before: Fr::from(50u64), ..base },
            Statement { root_after: Fr::from(60u64), ..base },
            Statement { data_digest: Fr::from(70u64), ..base },
            Statement { context: Context { height_blocks: 80, ..base.context }, ..base },
            Statement { context: Context { token: Token(90), ..base.context }, ..base },
            Statement { context: Context { operator: index(100), ..base.context }, ..base },
        ];
        let digests: HashSet<_> = variants.iter().map(Statement::digest).collect();
        assert_eq!(digests.len(), variants.len());
    }
    /// The order that docs/protocol.md gives.
    #[test]
    fn elements_stand_in_their_order() {
        let index = CellIndex::new(10).expect("a small index");
        let circuit = CircuitId::new(Kind::Open, Depth::MAX, 300);
        let element = |i: u64| Fr::from(i);
        let statement = Statement {
            chain_id: ChainId::from_byte_array(core::array::from_fn(|i| u8::from(i == 0))),
            circuit,
            root_before: element(5),
            root_after: element(6),
            data_digest: element(7),
            context: Context { height_blocks: 8, token: Token(9), operator: index },
            registers: Registers { before: element(11), after: element(12) },
        };
        let [head, rest @ ..] = statement.elements();
        assert_eq!(head, circuit.element());
        assert_eq!(rest, [1, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0, 0, 0].map(element));
        let named = element(3 + (10 << 8) + (300 << 16) + (1 << 48));
        assert_eq!(circuit.element(), hash(Domain::Circuit, &[named, Fr::ZERO, Fr::ZERO]));
        let operations = OperationsHash::from_byte_array(core::array::from_fn(|i| u8::from(i == 1 || i == 16)));
        let with_operations = CircuitId { operations, ..circuit };
        assert_eq!(with_operations.element(), hash(Domain::Circuit, &[named, element(256), element(1)]));
    }

    #[test]
    fn circuits_have_names() {
        let circuit = CircuitId::new(Kind::Transfer, Depth::new(7).expect("1 to 10 levels"), 8);
        assert_eq!(circuit.to_string(), "transfer-d7-n8-v1");
        let operations = OperationsHash::from_byte_array([0xab; 32]);
        let step = CircuitId { kind: Kind::Step, operations, ..circuit };
        assert_eq!(step.to_string(), "step-d7-n8-v1-abababab");
    }

    #[test]
    fn registers_of_zeros_have_the_digest_zero_and_others_do_not() {
        for count in [0usize, 1, 7, 46] {
            assert_eq!(Registers::digest(&alloc::vec![Fr::ZERO; count]), Fr::ZERO);
        }
        let registers: Vec<_> = (0..46).map(|one| (0..46).map(|i| Fr::from(u64::from(i == one))).collect()).collect();
        let digests: HashSet<_> = registers.iter().map(|registers: &Vec<Fr>| Registers::digest(registers)).collect();
        assert_eq!(digests.len(), 46);
        assert!(!digests.contains(&Fr::ZERO));
        assert_eq!(
            Registers::digest(&registers[3]),
            hash(Domain::Registers, &registers[3]) - hash(Domain::Registers, &[Fr::ZERO; 46]),
        );
    }
}
