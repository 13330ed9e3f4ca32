//! The state as a sparse Merkle tree in memory.
//!
//! Cells that are not empty, and the nodes above them, are kept; everything else is the root of an empty subtree. A
//! tree remembers what changed since it was last [committed](Tree::commit), so that a store persists just that and a
//! failed batch can be [taken back](Tree::rollback).

use crate::{cap::MerkleCap, chunk::witness::CellUpdate};
use ark_bn254::Fr;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
};
use taproof_verifier::{
    cell::{ARITY, BITS_PER_LEVEL, Cell, CellIndex, Depth, MerklePath, empty_root},
    poseidon2::compress,
};

/// The roots of empty subtrees of 0 to 10 levels.
static EMPTY_ROOTS: LazyLock<Vec<Fr>> = LazyLock::new(|| (0..=Depth::MAX.levels()).map(empty_root).collect());

/// A node by its height above the cells, 1 to the tree's depth, and its position among the nodes of that height.
type NodeIndex = (u8, u32);

/// The state.
#[derive(Clone, Debug)]
pub struct Tree {
    depth: Depth,
    root: Fr,
    cells: BTreeMap<CellIndex, Cell>,
    /// The children of each node that has a cell below it.
    nodes: HashMap<NodeIndex, [Fr; ARITY]>,
    depth_committed: Depth,
    /// The cells that changed since the last commit, as they were then.
    replaced: BTreeMap<CellIndex, Cell>,
}

/// What changed between two commits, or the whole of a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeSet {
    /// The depth of the tree.
    pub depth: Depth,
    /// The root of the tree.
    #[serde(with = "taproof_verifier::serde_form::element")]
    pub root: Fr,
    /// The cells, in the order of their indices.
    pub cells: Vec<(CellIndex, Cell)>,
}

/// Why a tree is not changed or loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// The cell is outside the tree.
    #[error("cell {index} is outside a tree of {} cells", depth.cell_count())]
    IndexOutOfRange {
        /// The cell.
        index: CellIndex,
        /// The depth of the tree.
        depth: Depth,
    },
    /// A tree has 10 levels at most.
    #[error("a tree of 10 levels cannot grow")]
    CannotGrow,
    /// The cells are not those that the root was computed from: the store is corrupt.
    #[error("the cells do not hash to the stored root")]
    RootMismatch,
}

impl Tree {
    /// Makes a tree of empty cells.
    pub fn new(depth: Depth) -> Self {
        Self {
            depth,
            root: EMPTY_ROOTS[usize::from(depth.levels())],
            cells: BTreeMap::new(),
            nodes: HashMap::new(),
            depth_committed: depth,
            replaced: BTreeMap::new(),
        }
    }

    /// Loads a whole tree, computing every node anew from the cells.
    ///
    /// Nodes are not stored: to check them costs as much as to compute them.
    ///
    /// # Errors
    /// [`TreeError::IndexOutOfRange`] and [`TreeError::RootMismatch`].
    pub fn load(stored: &ChangeSet) -> Result<Self, TreeError> {
        let mut tree = Self::new(stored.depth);
        tree.set_all(stored.cells.iter().copied())?;
        if tree.root != stored.root {
            return Err(TreeError::RootMismatch);
        }
        tree.commit();
        Ok(tree)
    }

    /// The depth.
    pub fn depth(&self) -> Depth {
        self.depth
    }

    /// The root.
    pub fn root(&self) -> Fr {
        self.root
    }

    /// The cap.
    pub fn cap(&self) -> MerkleCap {
        let height = MerkleCap::levels_below(self.depth) + 1;
        let parents = 0..(MerkleCap::node_count(self.depth) / ARITY) as u32;
        let nodes = parents.flat_map(|at| self.children(height, at)).collect();
        MerkleCap::new(nodes).expect("a cap has 8 or 64 nodes")
    }

    /// The cell at an index; outside the tree there are empty cells only.
    pub fn get(&self, index: CellIndex) -> Cell {
        self.cells.get(&index).copied().unwrap_or_default()
    }

    /// The cells that are not empty, in the order of their indices.
    pub fn cells(&self) -> impl Iterator<Item = (CellIndex, &Cell)> {
        self.cells.iter().map(|(index, cell)| (*index, cell))
    }

    /// Whether no cell is empty.
    pub fn is_full(&self) -> bool {
        self.cells.len() == self.depth.cell_count() as usize
    }

    /// The first empty cell at or after an index, if the tree has one.
    pub fn vacant_from(&self, index: CellIndex) -> Option<CellIndex> {
        let mut vacant = index.get();
        for (occupied, _) in self.cells.range(index..) {
            if occupied.get() != vacant {
                break;
            }
            vacant += 1;
        }
        CellIndex::new(vacant).filter(|vacant| self.depth.contains(*vacant))
    }

    /// The siblings on the way from a cell to the root.
    ///
    /// # Errors
    /// [`TreeError::IndexOutOfRange`].
    pub fn path(&self, index: CellIndex) -> Result<MerklePath, TreeError> {
        self.expect_index(index)?;
        let siblings = |height: u8| {
            let children = self.children(height + 1, parent(index.get(), height));
            let position = index.child_position(height);
            std::array::from_fn(|i| children[if i < position { i } else { i + 1 }])
        };
        let levels = (0..self.depth.levels()).map(siblings).collect();
        Ok(MerklePath::new(levels).expect("a depth is 1 to 10 levels"))
    }

    /// Replaces a cell; gives the change with the path, as a circuit wants it.
    ///
    /// # Errors
    /// [`TreeError::IndexOutOfRange`].
    pub fn update(&mut self, index: CellIndex, after: Cell) -> Result<CellUpdate, TreeError> {
        let path = self.path(index)?;
        let before = self.get(index);
        self.set(index, after)?;
        Ok(CellUpdate { index, before, after, path })
    }

    /// Replaces a cell; gives the new root.
    ///
    /// # Errors
    /// [`TreeError::IndexOutOfRange`].
    pub fn set(&mut self, index: CellIndex, cell: Cell) -> Result<Fr, TreeError> {
        self.expect_index(index)?;
        self.replace(index, cell);
        let mut node = cell.hash();
        for height in 0..self.depth.levels() {
            let at = (height + 1, parent(index.get(), height));
            let children = self.nodes.entry(at).or_insert([EMPTY_ROOTS[usize::from(height)]; ARITY]);
            children[index.child_position(height)] = node;
            node = compress(children);
        }
        self.root = node;
        Ok(node)
    }

    /// Replaces many cells, level by level on all cores; gives the new root. Of two entries for a cell the last counts.
    ///
    /// # Errors
    /// [`TreeError::IndexOutOfRange`]; then nothing is replaced.
    pub fn set_all(&mut self, cells: impl IntoIterator<Item = (CellIndex, Cell)>) -> Result<Fr, TreeError> {
        let cells: BTreeMap<CellIndex, Cell> = cells.into_iter().collect();
        if let Some((index, _)) = cells.last_key_value() {
            self.expect_index(*index)?;
        }
        let cells: Vec<_> = cells.into_iter().collect();
        let mut level: Vec<(u32, Fr)> = cells.par_iter().map(|(index, cell)| (index.get(), cell.hash())).collect();
        for (index, cell) in cells {
            self.replace(index, cell);
        }
        for height in 0..self.depth.levels() {
            let groups: Vec<_> = level.chunk_by(|(a, _), (b, _)| a / ARITY as u32 == b / ARITY as u32).collect();
            let renewed: Vec<_> = groups
                .par_iter()
                .map(|group| {
                    let at = group[0].0 / ARITY as u32;
                    let mut children = self.children(height + 1, at);
                    group.iter().for_each(|(child, node)| children[*child as usize % ARITY] = *node);
                    (at, children, compress(&children))
                })
                .collect();
            level = renewed.iter().map(|(at, _, node)| (*at, *node)).collect();
            self.nodes.extend(renewed.into_iter().map(|(at, children, _)| ((height + 1, at), children)));
        }
        if let Some((_, root)) = level.first() {
            self.root = *root;
        }
        Ok(self.root)
    }

    /// Makes the tree one level deeper: the old tree becomes the first of eight subtrees.
    ///
    /// # Errors
    /// [`TreeError::CannotGrow`].
    pub fn grow(&mut self) -> Result<Fr, TreeError> {
        let levels = self.depth.levels();
        let depth = Depth::new(levels + 1).ok_or(TreeError::CannotGrow)?;
        let mut children = [EMPTY_ROOTS[usize::from(levels)]; ARITY];
        children[0] = self.root;
        self.nodes.insert((depth.levels(), 0), children);
        self.root = compress(&children);
        self.depth = depth;
        Ok(self.root)
    }

    /// What changed since the last commit.
    pub fn changes(&self) -> ChangeSet {
        let cells = self.replaced.keys().map(|index| (*index, self.get(*index))).collect();
        ChangeSet { depth: self.depth, root: self.root, cells }
    }

    /// The cells that changed since the last commit, as they were then, in the order of their indices.
    pub fn replaced(&self) -> impl Iterator<Item = (CellIndex, Cell)> {
        self.replaced.iter().map(|(index, cell)| (*index, *cell))
    }

    /// The whole tree, for [`Tree::load`].
    pub fn snapshot(&self) -> ChangeSet {
        let cells = self.cells.iter().map(|(index, cell)| (*index, *cell)).collect();
        ChangeSet { depth: self.depth, root: self.root, cells }
    }

    /// Makes the changes since the last commit final; gives them.
    pub fn commit(&mut self) -> ChangeSet {
        let changes = self.changes();
        self.replaced.clear();
        self.depth_committed = self.depth;
        changes
    }

    /// Takes back all changes since the last commit.
    pub fn rollback(&mut self) {
        while self.depth > self.depth_committed {
            let levels = self.depth.levels();
            self.nodes.remove(&(levels, 0));
            // Cells beyond the shallower tree go, and with them the nodes above them.
            self.nodes.retain(|(height, at), _| at >> (BITS_PER_LEVEL * u32::from(levels - 1 - height)) == 0);
            self.depth = Depth::new(levels - 1).expect("the tree was deeper than a tree can be");
        }
        let depth = self.depth;
        let replaced = std::mem::take(&mut self.replaced);
        let (inside, outside): (Vec<_>, Vec<_>) = replaced.into_iter().partition(|(index, _)| depth.contains(*index));
        for (index, _) in outside {
            self.cells.remove(&index);
        }
        // The top node's children are up to date even where growth had moved the root above it.
        self.root = match self.nodes.get(&(depth.levels(), 0)) {
            Some(children) => compress(children),
            None => EMPTY_ROOTS[usize::from(depth.levels())],
        };
        self.set_all(inside).expect("these indices lie in the tree");
        self.replaced.clear();
    }

    fn replace(&mut self, index: CellIndex, cell: Cell) {
        let before = match cell {
            Cell::Empty => self.cells.remove(&index),
            cell => self.cells.insert(index, cell),
        };
        self.replaced.entry(index).or_insert(before.unwrap_or_default());
    }

    fn children(&self, height: u8, at: u32) -> [Fr; ARITY] {
        let empty = || [EMPTY_ROOTS[usize::from(height - 1)]; ARITY];
        self.nodes.get(&(height, at)).copied().unwrap_or_else(empty)
    }

    fn expect_index(&self, index: CellIndex) -> Result<(), TreeError> {
        let depth = self.depth;
        if depth.contains(index) { Ok(()) } else { Err(TreeError::IndexOutOfRange { index, depth }) }
    }
}

/// The position of the ancestor `height + 1` levels above a cell, given the cell's.
fn parent(index: u32, height: u8) -> u32 {
    index >> (BITS_PER_LEVEL * (u32::from(height) + 1))
}

#[cfg(test)]
mod tests;
