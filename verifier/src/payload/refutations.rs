//! The cells that a payload shows to refute exit requests.

use super::{Header, PayloadError};
use crate::{
    cell::{ARITY, BITS_PER_LEVEL, CellElements, CellIndex, Depth, empty_root},
    exit::Refutation,
    parallel,
    poseidon2::compress,
};
use alloc::vec::Vec;
use ark_bn254::Fr;

/// The fewest refutations that are worth a thread: each takes up to as many hashes as the tree has levels.
const PART_LENGTH_MIN: usize = 8;

/// Reads refutations that follow one another.
pub(super) fn read(bytes: &[u8], depth: Depth) -> Result<Vec<Refutation>, PayloadError> {
    let refutation = |(position, bytes)| {
        Refutation::from_bytes(bytes, depth).map_err(|source| PayloadError::Refutation { position, source })
    };
    bytes.chunks(Refutation::length(depth)).enumerate().map(refutation).collect()
}

/// Checks that refutations are in order, and true of the state before the batch.
pub(super) fn check(header: &Header, refutations: &[Refutation]) -> Result<(), PayloadError> {
    // Most payloads show no cells, and the roots of empty subtrees are hashes.
    if refutations.is_empty() {
        return Ok(());
    }
    if let Some(position) = refutations.windows(2).position(|pair| pair[0].index >= pair[1].index) {
        return Err(PayloadError::RefutationOrder(position + 1));
    }
    let depth = header.depth;
    let is_outside = |shown: &Refutation| shown.path.depth() != depth || !depth.contains(shown.index);
    if let Some(position) = refutations.iter().position(is_outside) {
        return Err(PayloadError::RefutationRoot(position));
    }
    let levels = usize::from(depth.levels());
    let above = |root: &Fr| Some(compress(&[*root; ARITY]));
    let empty_roots: Vec<Fr> = core::iter::successors(Some(empty_root(0)), above).take(levels + 1).collect();
    let check_part = |part: &[Refutation]| {
        let found = first_false(part, header.root_before, &empty_roots, compress);
        found.map_or(Ok(part.len()), Err)
    };
    let mut start = 0;
    for part in parallel::by_parts(refutations, PART_LENGTH_MIN, check_part) {
        start += part.map_err(|position| PayloadError::RefutationRoot(start + position))?;
    }
    Ok(())
}

/// The position of the first refutation whose cell and path do not lead to the root, of some in ascending order in a
/// tree whose empty subtrees have these roots.
///
/// What is alike compresses to next to nothing, so it is not hashed again: a path is hashed up to where it meets the
/// one before, which leads to the root, and compared from there on; the roots of empty subtrees are known; and nothing
/// is hashed behind a false path.
fn first_false(
    refutations: &[Refutation],
    root: Fr,
    empty_roots: &[Fr],
    compress: impl Fn(&[Fr; ARITY]) -> Fr,
) -> Option<usize> {
    let node = |height: usize, children: &[Fr; ARITY]| match children.iter().all(|child| *child == empty_roots[height])
    {
        true => empty_roots[height + 1],
        false => compress(children),
    };
    let mut before: Option<Way<'_>> = None;
    for (position, refutation) in refutations.iter().enumerate() {
        let is_empty = refutation.cell == CellElements::default();
        let leaf = if is_empty { empty_roots[0] } else { compress(&refutation.cell.0) };
        let mut way = Way { refutation, nodes: alloc::vec![leaf] };
        let levels = empty_roots.len() - 1;
        let meeting = before.as_ref().map_or(levels, |before| before.meeting_height(refutation.index));
        for height in 0..meeting {
            way.nodes.push(node(height, &way.children(height)));
        }
        let is_true = match &before {
            None => way.nodes.pop() == Some(root),
            Some(before) => way.join(before),
        };
        if !is_true {
            return Some(position);
        }
        before = Some(way);
    }
    None
}

/// The way from a cell to the root.
struct Way<'a> {
    refutation: &'a Refutation,
    /// The nodes on it that are computed, the cell's leaf first, without the root.
    nodes: Vec<Fr>,
}

impl Way<'_> {
    /// The children of the next node above the one at a height.
    fn children(&self, height: usize) -> [Fr; ARITY] {
        self.refutation.path.children(self.refutation.index, height, self.nodes[height])
    }

    /// The height at which this way and that of another cell have different nodes of one parent.
    fn meeting_height(&self, index: CellIndex) -> usize {
        let differing = self.refutation.index.get() ^ index.get();
        (differing.max(1).ilog2() / BITS_PER_LEVEL) as usize
    }

    /// Goes on to the root as another way does, of which all nodes are computed; says whether the two agree from where
    /// they meet, next above the last node of this one.
    fn join(&mut self, other: &Self) -> bool {
        let height = self.nodes.len() - 1;
        let (own, others) = (self.refutation.path.levels(), other.refutation.path.levels());
        let agree = self.children(height) == other.children(height) && own[height + 1..] == others[height + 1..];
        self.nodes.extend_from_slice(&other.nodes[height + 1..]);
        agree
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::MerklePath;
    use alloc::collections::BTreeMap;
    use ark_ff::UniformRand;
    use core::cell::Cell;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha20Rng;

    /// A tree with these cells and no others.
    struct Tree {
        depth: Depth,
        /// The nodes that are not those of empty subtrees, by height and position.
        nodes: BTreeMap<(usize, u32), Fr>,
        cells: BTreeMap<u32, CellElements>,
        empty_roots: Vec<Fr>,
    }

    impl Tree {
        fn new(levels: u8, cells: BTreeMap<u32, CellElements>) -> Self {
            let depth = Depth::new(levels).expect("1 to 10 levels");
            let empty_roots: Vec<Fr> = (0..=levels).map(empty_root).collect();
            let nodes = cells.iter().map(|(index, cell)| ((0, *index), cell.hash())).collect();
            let mut tree = Self { depth, nodes, cells, empty_roots };
            for height in 0..usize::from(levels) {
                let parents: Vec<u32> = tree.cells.keys().map(|index| index >> (3 * (height + 1))).collect();
                for parent in parents {
                    let children = core::array::from_fn(|i| tree.node(height, parent * 8 + i as u32));
                    tree.nodes.insert((height + 1, parent), compress(&children));
                }
            }
            tree
        }

        fn node(&self, height: usize, position: u32) -> Fr {
            self.nodes.get(&(height, position)).copied().unwrap_or(self.empty_roots[height])
        }

        fn root(&self) -> Fr {
            self.node(self.depth.levels().into(), 0)
        }

        fn show(&self, index: u32) -> Refutation {
            let siblings = |height: usize| {
                let own = index >> (3 * height);
                let mut others = (own & !7..=own | 7).filter(|position| *position != own);
                core::array::from_fn(|_| self.node(height, others.next().expect("seven")))
            };
            let levels = (0..usize::from(self.depth.levels())).map(siblings).collect();
            let cell = self.cells.get(&index).copied().unwrap_or_default();
            let index = CellIndex::new(index).expect("in the tree");
            Refutation { index, cell, path: MerklePath::new(levels).expect("1 to 10 levels") }
        }

        /// What is found, and how many hashes it took.
        fn check(&self, refutations: &[Refutation]) -> (Option<usize>, usize) {
            let hashes = Cell::new(0);
            let counted = |children: &[Fr; ARITY]| {
                hashes.set(hashes.get() + 1);
                compress(children)
            };
            (first_false(refutations, self.root(), &self.empty_roots, counted), hashes.get())
        }
    }

    fn cell(rng: &mut ChaCha20Rng) -> CellElements {
        CellElements(core::array::from_fn(|_| Fr::rand(rng)))
    }

    #[test]
    fn what_is_found_is_what_whole_paths_say() {
        let mut rng = ChaCha20Rng::seed_from_u64(6);
        for levels in [1, 2, 3, 10] {
            let count = 8u32.pow(levels.into());
            for _ in 0..20 {
                let cells = (0..rng.gen_range(0..40)).map(|_| (rng.gen_range(0..count), cell(&mut rng))).collect();
                let tree = Tree::new(levels, cells);
                // Cells that are there, their neighbours, and any.
                let mut shown: Vec<u32> = tree.cells.keys().flat_map(|index| [*index, index ^ 1, index ^ 9]).collect();
                shown.extend((0..8).map(|_| rng.gen_range(0..count)));
                shown.retain(|index| *index < count && rng.gen_bool(0.7));
                shown.sort_unstable();
                shown.dedup();
                let mut refutations: Vec<_> = shown.iter().map(|index| tree.show(*index)).collect();
                assert_eq!(tree.check(&refutations).0, None);
                let Some(last) = refutations.len().checked_sub(1) else { continue };
                // One element that is another, wherever it is, makes that path false.
                for _ in 0..40 {
                    let position = rng.gen_range(0..=last);
                    let before = refutations[position].clone();
                    match rng.gen_range(0..=levels) {
                        0 => refutations[position].cell.0[rng.gen_range(0..8)] = Fr::rand(&mut rng),
                        level => {
                            let mut levels = before.path.levels().to_vec();
                            levels[usize::from(level) - 1][rng.gen_range(0..7)] = Fr::rand(&mut rng);
                            refutations[position].path = MerklePath::new(levels).expect("as many");
                        }
                    }
                    assert_ne!(refutations[position].root(), Some(tree.root()));
                    assert_eq!(tree.check(&refutations).0, Some(position));
                    refutations[position] = before;
                }
            }
        }
    }

    #[test]
    fn what_is_alike_is_hashed_once() {
        let mut rng = ChaCha20Rng::seed_from_u64(7);
        let cells = [5, 6, 5 + (1 << 29)].map(|index| (index, cell(&mut rng)));
        let tree = Tree::new(10, cells.into_iter().collect());
        let check = |shown: &[u32]| {
            let refutations: Vec<_> = shown.iter().map(|index| tree.show(*index)).collect();
            tree.check(&refutations)
        };
        // A cell and ten nodes.
        assert_eq!(check(&[5]), (None, 11));
        // The neighbour is one hash more, an empty one none, and one far away only where it has cells of its own.
        assert_eq!(check(&[5, 6]), (None, 12));
        assert_eq!(check(&[4, 5, 6, 7]), (None, 12));
        assert_eq!(check(&[5, 1 << 20]), (None, 11));
        assert_eq!(check(&[5, 5 + (1 << 29)]), (None, 11 + 10));
        // As many as a payload can show, all over the tree: those of empty cells cost nothing beside the first.
        let all: Vec<u32> = (0..4_096).map(|i| i << 18).collect();
        assert!(check(&all).1 < 32, "{:?}", check(&all));
        // Nothing is hashed behind a false one.
        let mut refutations: Vec<_> = all.iter().map(|index| tree.show(*index)).collect();
        refutations.iter_mut().for_each(|shown| shown.cell.0[3] = Fr::from(u64::from(shown.index.get()) + 1));
        assert_eq!(tree.check(&refutations), (Some(0), 11));
        assert_eq!(tree.check(&refutations[1..]), (Some(0), 11));
    }
}
