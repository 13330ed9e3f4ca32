//! The watch beside a real follower, and what it keeps between two runs.

use crate::{
    bridge::{
        scan::{Credit, Origin},
        watch::{Afresh, BridgeWatch},
    },
    testing::toy_rollup::{FINAL_DEPTH_BLOCKS, ToyRollup},
};
use bitcoin::ScriptBuf;
use std::{fs, path::Path};
use taproof_verifier::record::Destination;

fn open(toy: &ToyRollup, path: &Path) -> (BridgeWatch, Option<Afresh>) {
    let (mut watch, afresh) = BridgeWatch::open(path, &toy.node, toy.params.clone(), toy.program.clone()).unwrap();
    watch.catch_up(&toy.node).unwrap();
    (watch, afresh)
}

/// What a watch knows, for comparison.
fn facts(watch: &BridgeWatch) -> String {
    let scan = watch.scan();
    let (coins, due): (Vec<_>, Vec<_>) = (scan.coins(), scan.unpaid().collect());
    format!("{:?} {coins:?} {due:?} {:?} {}", scan.scanned(), scan.head(), scan.due_count())
}

#[test]
fn a_watch_sees_what_the_follower_credits_and_goes_on_from_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bridge.state");
    let (mut toy, _) = ToyRollup::with_two_batches();
    let (early, afresh) = open(&toy, &path);
    assert!(matches!(afresh, Some(Afresh::Nothing)));
    assert_eq!((early.scan().coins().len(), early.scan().unpaid().count()), (5, 0));
    early.save(&path).unwrap();

    toy.mine(&[]);
    toy.node.mine(FINAL_DEPTH_BLOCKS).unwrap();
    let (late, afresh) = open(&toy, &path);
    assert!(afresh.is_none(), "{afresh:?}");
    let due: Vec<_> = late.scan().unpaid().collect();
    assert_eq!((due[0].index, due[0].amount_sat, due.len()), (0, 30_000, 1));
    assert_eq!(due[0].destination, Destination::P2wpkh([8; 20]));
    assert!(late.scan().coins().iter().all(|coin| {
        late.scan().is_spendable(coin) && matches!(coin.origin, Origin::Deposit { credit: Credit::Credited { .. }, .. })
    }));
    let indices = late
        .scan()
        .coins()
        .iter()
        .map(|coin| match coin.origin {
            Origin::Deposit { index, .. } => index,
            Origin::Own => panic!("deposits alone"),
        })
        .collect::<Vec<_>>();
    assert_eq!(indices, [0, 1, 2, 3, 4]);
    let fresh = open(&toy, &folder.path().join("none")).0;
    assert_eq!(facts(&late), facts(&fresh));

    // Damaged, of another rollup, or undone by the chain: everything is read anew.
    late.save(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    let mut damaged = bytes.clone();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&path, damaged).unwrap();
    assert!(matches!(open(&toy, &path).1, Some(Afresh::File(_))));
    fs::write(&path, bytes).unwrap();
    let params = toy.params.with(|founding| founding.deposit_expiry_blocks += 1).unwrap();
    let (_, afresh) = BridgeWatch::open(&path, &toy.node, params, toy.program.clone()).unwrap();
    assert!(matches!(afresh, Some(Afresh::Other)));
    let height = toy.node.chain().height();
    let branch = vec![Vec::new(); FINAL_DEPTH_BLOCKS as usize + 3];
    toy.node.chain_mut().reorganise(height - FINAL_DEPTH_BLOCKS - 2, &branch, &ScriptBuf::new()).unwrap();
    let (anew, afresh) = open(&toy, &path);
    let told = afresh.as_ref().map(ToString::to_string).unwrap_or_default();
    assert!(
        matches!(afresh, Some(Afresh::Left { .. })) && told.starts_with("a reorganisation below a final block"),
        "{told}"
    );
    assert_eq!(facts(&anew), facts(&open(&toy, &folder.path().join("none")).0));
}

/// What a batch passes over without a record is the depositor's, and the signers' tools leave it alone.
#[test]
fn a_deposit_that_a_batch_passes_over_is_void() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bridge.state");
    let mut toy = ToyRollup::new();
    let age_max = toy.params.deposit_expiry_blocks - toy.params.deposit_window_blocks;
    toy.deposit(&[(0, 50_000)]);
    toy.node.mine(age_max).unwrap();
    let credited = toy.deposit(&[(1, 70_000)]);
    toy.tip.deposits_consumed += 1;
    let payload = toy.batch(&credited, &[]);
    toy.anchor(&payload);
    toy.node.mine(FINAL_DEPTH_BLOCKS).unwrap();
    let (watch, _) = open(&toy, &path);
    assert_eq!(watch.follower().tip().deposits_consumed, 2);
    let [void, credited] = watch.scan().coins()[..] else { panic!("two deposits") };
    assert!(matches!(void.origin, Origin::Deposit { index: 0, credit: Credit::Void { .. }, .. }), "{void:?}");
    assert!(matches!(credited.origin, Origin::Deposit { index: 1, credit: Credit::Credited { .. }, .. }));
    assert_eq!([void, credited].map(|coin| watch.scan().is_spendable(coin)), [false, true]);
    assert_eq!(watch.scan().head().unwrap().outpoint, credited.outpoint);
}
