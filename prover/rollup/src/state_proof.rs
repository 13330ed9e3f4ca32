//! A cell with its path to a root: what an owner shows to prove a balance.

use ark_bn254::Fr;
use serde::{Deserialize, Serialize};
use taproof_base::artefact::{Artefact, ArtefactKind};
use taproof_circuits::tree::{Tree, TreeError};
use taproof_verifier::{
    cell::{CellElements, CellIndex, ChainId, MerklePath},
    serde_form,
};

/// A cell and its path. It proves nothing before [`StateProof::verify`] has compared it with a verified root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateProof {
    chain_id: ChainId,
    batches: u64,
    #[serde(with = "serde_form::element")]
    root: Fr,
    index: CellIndex,
    cell: CellElements,
    path: MerklePath,
}

/// Why a cell is not proven to be in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateProofError {
    /// The cell would be outside the tree.
    #[error("cell {0} is outside the tree of its path")]
    OutsideTree(CellIndex),
    /// The path leads elsewhere.
    #[error("the path does not lead from the cell to the root")]
    OtherRoot,
}

impl StateProof {
    /// Proves a cell of a tree, as it is after a number of batches.
    ///
    /// # Errors
    /// [`TreeError`] if the cell is outside the tree.
    pub fn new(chain_id: ChainId, batches: u64, tree: &Tree, index: CellIndex) -> Result<Self, TreeError> {
        let path = tree.path(index)?;
        Ok(Self { chain_id, batches, root: tree.root(), index, cell: tree.get(index).elements(), path })
    }

    /// The rollup.
    pub fn chain_id(&self) -> ChainId {
        self.chain_id
    }

    /// How many batches the state had.
    pub fn batches(&self) -> u64 {
        self.batches
    }

    /// The root that the proof says it leads to.
    pub fn root(&self) -> Fr {
        self.root
    }

    /// Where the cell is.
    pub fn index(&self) -> CellIndex {
        self.index
    }

    /// The way from the cell to the root.
    pub fn path(&self) -> &MerklePath {
        &self.path
    }

    /// Checks that the cell is in the state of a verified root, and gives the cell, of whatever kind it is.
    ///
    /// # Errors
    /// Each of [`StateProofError`].
    pub fn verify(&self, root: Fr) -> Result<&CellElements, StateProofError> {
        let found = self.path.root(self.index, self.cell.hash()).ok_or(StateProofError::OutsideTree(self.index))?;
        if found == root { Ok(&self.cell) } else { Err(StateProofError::OtherRoot) }
    }
}

impl Artefact for StateProof {
    const KIND: ArtefactKind = ArtefactKind::StateProof;
    const VERSION: u8 = 2;
    const LENGTH_MAX: u64 = 4_096;
}

#[cfg(test)]
mod tests {
    use super::*;
    use taproof_base::artefact::{decode, encode};
    use taproof_circuits::schnorr::SecretKey;
    use taproof_verifier::cell::{Account, Cell, Depth, Holding, Tickets, Token};

    fn tree() -> Tree {
        let owner = *SecretKey::from_seed(&[1; 32]).public();
        let (tickets, second) = (Tickets { base: 64, used: 3 }, Holding { token: Token(5), balance: 9 });
        let account = Account { nonce: 3, tickets, second, ..Account::new(owner, Token::BITCOIN, 500) };
        let mut tree = Tree::new(Depth::MAX);
        for index in [0, 7, 1_000_000] {
            tree.set(CellIndex::new(index).unwrap(), Cell::Account(account)).unwrap();
        }
        tree
    }

    #[test]
    fn accounts_and_empty_cells_are_proven() {
        let tree = tree();
        for index in [7, 8].map(|index| CellIndex::new(index).unwrap()) {
            let proof = StateProof::new(ChainId::from_byte_array([1; 15]), 2, &tree, index).unwrap();
            let read: StateProof = decode(&encode(&proof).unwrap()).unwrap();
            assert_eq!(read, proof);
            let shown = read.verify(tree.root()).unwrap();
            assert_eq!((shown, shown.cell()), (&tree.get(index).elements(), Some(tree.get(index))));
        }
    }

    #[test]
    fn a_cell_of_an_unknown_kind_is_proven_by_its_elements() {
        let tree = tree();
        let cell = CellElements([5, 1, 2, 3, 4, 5, 6, 7].map(|element: u64| -Fr::from(element)));
        let proof = StateProof {
            cell,
            ..StateProof::new(ChainId::from_byte_array([1; 15]), 2, &tree, CellIndex::new(7).unwrap()).unwrap()
        };
        let root = proof.path.root(proof.index, cell.hash()).unwrap();
        let read: StateProof = decode(&encode(&proof).unwrap()).unwrap();
        assert_eq!((read.verify(root), cell.cell()), (Ok(&cell), None));
        assert_eq!(read.verify(tree.root()), Err(StateProofError::OtherRoot));
    }

    #[test]
    fn another_cell_place_or_root_is_refused() {
        let tree = tree();
        let proof = StateProof::new(ChainId::from_byte_array([1; 15]), 2, &tree, CellIndex::new(7).unwrap()).unwrap();
        assert_eq!(proof.verify(Tree::new(Depth::MAX).root()), Err(StateProofError::OtherRoot));
        for position in 0..8 {
            let mut cell = proof.cell;
            cell.0[position] += Fr::from(1u64);
            let other = StateProof { cell, ..proof.clone() };
            assert_eq!(other.verify(tree.root()), Err(StateProofError::OtherRoot), "element {position}");
        }
        let elsewhere = StateProof { index: CellIndex::new(8).unwrap(), ..proof };
        assert_eq!(elsewhere.verify(tree.root()), Err(StateProofError::OtherRoot));
        let mut small = Tree::new(Depth::new(1).unwrap());
        small.set(CellIndex::default(), Cell::Empty).unwrap();
        let outside = StateProof {
            index: CellIndex::new(8).unwrap(),
            ..StateProof::new(ChainId::from_byte_array([1; 15]), 0, &small, CellIndex::default()).unwrap()
        };
        assert!(matches!(outside.verify(small.root()), Err(StateProofError::OutsideTree(_))));
    }
}
