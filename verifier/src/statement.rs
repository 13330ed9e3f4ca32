//! What one proof proves: a chunk's roots, records and context, hashed to the proof's one public input.

use crate::{
    cell::{CellIndex, ChainId, Depth, Token},
    field::pack,
    poseidon2::{Domain, hash},
    record::Kind,
};
use ark_bn254::Fr;

/// Which circuit: a kind of transition, the tree's depth, the number of slots, and the circuit's version.
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
    /// The number of slots.
    pub slots: u16,
    /// Changes whenever the meaning of the circuit changes.
    pub version: u16,
}

impl CircuitId {
    /// The version of the circuits that this crate knows the records of.
    pub const VERSION: u16 = 1;

    /// The circuit of the present version.
    pub fn new(kind: Kind, depth: Depth, slots: u16) -> Self {
        Self { kind, depth, slots, version: Self::VERSION }
    }

    /// The identity as one element: kind (8 bits), depth (8), slots (16), version (16), the kind lowest.
    pub fn element(&self) -> Fr {
        let kind = self.kind as u8;
        pack([(kind.into(), 8), (self.depth.levels().into(), 8), (self.slots.into(), 16), (self.version.into(), 16)])
    }
}

impl core::fmt::Display for CircuitId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}-d{}-n{}-v{}", self.kind, self.depth.levels(), self.slots, self.version)
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
}

/// How many elements a statement hashes.
pub const STATEMENT_ELEMENTS: usize = 8;

impl Statement {
    /// The statement's elements, in the one order that verifier and circuit share: circuit, chain id, root before,
    /// root after, data digest, Bitcoin height, token, operator's cell.
    pub fn elements(&self) -> [Fr; STATEMENT_ELEMENTS] {
        [
            self.circuit.element(),
            self.chain_id.element(),
            self.root_before,
            self.root_after,
            self.data_digest,
            Fr::from(self.context.height_blocks),
            Fr::from(self.context.token.0),
            Fr::from(self.context.operator.get()),
        ]
    }

    /// The public input of the proof.
    pub fn digest(&self) -> Fr {
        hash(Domain::Statement, &self.elements())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        };
        let variants = [
            base,
            Statement { chain_id: ChainId::from_byte_array([2; 15]), ..base },
            Statement { circuit: CircuitId { kind: Kind::Open, ..base.circuit }, ..base },
            Statement { circuit: CircuitId { depth: depth(5), ..base.circuit }, ..base },
            Statement { circuit: CircuitId { slots: 3, ..base.circuit }, ..base },
            Statement { circuit: CircuitId { version: 9, ..base.circuit }, ..base },
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
}
