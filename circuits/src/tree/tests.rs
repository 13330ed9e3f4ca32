use super::*;
use ark_ec::AffineRepr;
use proptest::prelude::*;
use taproof_verifier::{
    baby_jubjub::{Point, PublicKey},
    cell::{Account, Token, grown_root},
};

fn depth(levels: u8) -> Depth {
    Depth::new(levels).expect("1 to 10 levels")
}

fn index(i: u32) -> CellIndex {
    CellIndex::new(i).expect("below 2^30")
}

/// An account, or an empty cell for balance 0.
fn cell(balance: u64) -> Cell {
    let owner = PublicKey::new(Point::generator()).expect("the generator is a key");
    match balance {
        0 => Cell::Empty,
        balance => Cell::Account(Account::new(owner, Token::BITCOIN, balance)),
    }
}

/// The root by the definition: hash all cells, then all nodes of each level.
fn naive_root(depth: Depth, cells: &BTreeMap<u32, u64>) -> Fr {
    let mut level: Vec<Fr> =
        (0..depth.cell_count()).map(|i| cell(cells.get(&i).copied().unwrap_or(0)).hash()).collect();
    while level.len() > 1 {
        let (groups, _) = level.as_chunks::<ARITY>();
        level = groups.iter().map(compress).collect();
    }
    level[0]
}

fn writes(levels: u8) -> impl Strategy<Value = Vec<(u32, u64)>> {
    prop::collection::vec((0..depth(levels).cell_count(), 0u64..4), 0..12)
}

fn written(writes: &[(u32, u64)]) -> BTreeMap<u32, u64> {
    writes.iter().copied().collect()
}

fn as_cells(writes: &[(u32, u64)]) -> impl Iterator<Item = (CellIndex, Cell)> + '_ {
    writes.iter().map(|(i, balance)| (index(*i), cell(*balance)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn roots_and_paths_are_those_of_a_full_recomputation(levels in 1u8..=3, seed in writes(3), probe in 0u32..512) {
        let depth = depth(levels);
        let writes: Vec<_> = seed.iter().map(|(i, balance)| (i % depth.cell_count(), *balance)).collect();
        let mut tree = Tree::new(depth);
        for (i, balance) in &writes {
            let before = tree.clone();
            let update = tree.update(index(*i), cell(*balance)).expect("inside");
            prop_assert_eq!(tree.cap().root(), tree.root());
            prop_assert_eq!(update.before, before.get(index(*i)));
            prop_assert_eq!(update.path.root(index(*i), update.before.hash()), Some(before.root()));
            prop_assert_eq!(update.path.root(index(*i), update.after.hash()), Some(tree.root()));
        }
        prop_assert_eq!(tree.root(), naive_root(depth, &written(&writes)));
        let probe = index(probe % depth.cell_count());
        let path = tree.path(probe).expect("inside");
        prop_assert_eq!(path.root(probe, tree.get(probe).hash()), Some(tree.root()));
    }

    #[test]
    fn bulk_and_single_writes_agree(first in writes(3), second in writes(3)) {
        let mut single = Tree::new(depth(3));
        for (i, cell) in as_cells(&first).chain(as_cells(&second)) {
            single.set(i, cell).expect("inside");
        }
        let mut bulk = Tree::new(depth(3));
        bulk.set_all(as_cells(&first)).expect("inside");
        bulk.set_all(as_cells(&second)).expect("inside");
        prop_assert_eq!(bulk.root(), single.root());
        prop_assert_eq!(bulk.snapshot(), single.snapshot());
        let loaded = Tree::load(&bulk.snapshot()).expect("a snapshot of a tree");
        prop_assert_eq!(loaded.root(), bulk.root());
    }

    #[test]
    fn rollback_restores_the_last_commit(first in writes(2), second in writes(3), grow in 0u8..3, more in writes(2)) {
        let mut tree = Tree::new(depth(2));
        tree.set_all(as_cells(&first)).expect("inside");
        tree.commit();
        let committed = tree.snapshot();
        for _ in 0..grow {
            tree.grow().expect("shallow");
        }
        let count = tree.depth().cell_count();
        let inside: Vec<_> = second.iter().map(|(i, balance)| (i % count, *balance)).collect();
        tree.set_all(as_cells(&inside)).expect("inside");
        tree.rollback();
        prop_assert_eq!(&tree.snapshot(), &committed);
        prop_assert!(tree.changes().cells.is_empty());
        // What follows behaves as if nothing had been taken back.
        let mut twin = Tree::load(&committed).expect("a snapshot");
        for tree in [&mut tree, &mut twin] {
            tree.grow().expect("shallow");
            tree.set_all(as_cells(&more)).expect("inside");
        }
        prop_assert_eq!(tree.root(), twin.root());
        prop_assert_eq!(tree.cap(), twin.cap());
        prop_assert_eq!(tree.cap().root(), tree.root());
        for i in 0..64 {
            prop_assert_eq!(tree.path(index(i)), twin.path(index(i)));
        }
    }
}

#[test]
fn growing_is_the_verifiers_rule() {
    let mut tree = Tree::new(depth(2));
    tree.set(index(63), cell(7)).expect("inside");
    let expected = grown_root(tree.root(), tree.depth());
    assert_eq!(tree.grow(), Ok(expected));
    assert_eq!(tree.depth(), depth(3));
    assert_eq!(tree.path(index(63)).expect("inside").root(index(63), cell(7).hash()), Some(expected));
    let mut deepest = Tree::new(Depth::MAX);
    assert_eq!(deepest.grow(), Err(TreeError::CannotGrow));
    assert_eq!(deepest.root(), empty_root(10));
}

#[test]
fn indices_outside_are_refused() {
    let mut tree = Tree::new(depth(2));
    let refused = TreeError::IndexOutOfRange { index: index(64), depth: depth(2) };
    let root = tree.root();
    assert_eq!(tree.set(index(64), cell(1)), Err(refused));
    assert_eq!(tree.path(index(64)), Err(refused));
    assert_eq!(tree.set_all([(index(1), cell(1)), (index(64), cell(1))]), Err(refused));
    assert_eq!((tree.root(), tree.cells().count()), (root, 0));
}

#[test]
fn a_corrupt_store_is_refused() {
    let mut tree = Tree::new(depth(3));
    tree.set_all((0..20).map(|i| (index(i * 7), cell(u64::from(i) + 1)))).expect("inside");
    let stored = tree.snapshot();
    let mut altered = stored.clone();
    altered.cells[3].1 = cell(99);
    let mut missing = stored.clone();
    missing.cells.pop();
    let mut shallower = stored.clone();
    shallower.depth = depth(2);
    assert_eq!(Tree::load(&altered).err(), Some(TreeError::RootMismatch));
    assert_eq!(Tree::load(&missing).err(), Some(TreeError::RootMismatch));
    assert!(matches!(Tree::load(&shallower), Err(TreeError::IndexOutOfRange { .. })));
    assert!(Tree::load(&stored).is_ok());
}

#[test]
fn changes_are_those_since_the_last_commit() {
    let mut tree = Tree::new(depth(2));
    tree.set(index(5), cell(1)).expect("inside");
    assert_eq!(tree.commit().cells, [(index(5), cell(1))]);
    tree.set(index(9), cell(2)).expect("inside");
    tree.set(index(5), Cell::Empty).expect("inside");
    let changes = tree.commit();
    assert_eq!(changes.cells, [(index(5), Cell::Empty), (index(9), cell(2))]);
    assert_eq!(changes.root, tree.root());
}

#[test]
fn vacant_cells_are_found_in_order() {
    let mut tree = Tree::new(depth(1));
    assert_eq!(tree.vacant_from(index(0)), Some(index(0)));
    tree.set_all([0, 1, 3].map(|i| (index(i), cell(1)))).expect("inside");
    assert_eq!(tree.vacant_from(index(0)), Some(index(2)));
    assert_eq!(tree.vacant_from(index(3)), Some(index(4)));
    tree.set_all((0..8).map(|i| (index(i), cell(1)))).expect("inside");
    assert_eq!(tree.vacant_from(index(0)), None);
}
