use super::*;
use taproof_bitcoin::testing::toy_rollup::{FINAL_DEPTH_BLOCKS, ToyRollup, elsewhere, forge};
use taproof_verifier::{
    payload::{Chunk, Payload},
    record::{Kind, Records, TransferRecord},
};

fn cells(state: &State) -> Vec<(CellIndex, Cell)> {
    state.tree().cells().map(|(index, cell)| (index, *cell)).filter(|(_, cell)| *cell != Cell::Empty).collect()
}

fn whole(toy: &ToyRollup) -> Result<(Follower, State), RebuildError> {
    rebuild(&toy.node, toy.params.clone(), toy.program.clone(), &Machines::default(), |_| ())
}

#[test]
fn the_state_is_rebuilt_from_the_chain_alone() {
    let (mut toy, _) = ToyRollup::with_two_batches();
    let mut blocks = 0;
    let (follower, state) =
        rebuild(&toy.node, toy.params.clone(), toy.program.clone(), &Machines::default(), |_| blocks += 1)
            .expect("posted whole");
    assert_eq!(blocks, toy.node.chain().height() - toy.params.start.height);
    assert_eq!((state.root(), state.depth()), (toy.state.root(), toy.state.depth()));
    assert_eq!(follower.tip().root, state.root());
    assert_eq!(cells(&state), cells(&toy.state));
    assert!(cells(&state).len() > 3);

    toy.node.mine(2 * FINAL_DEPTH_BLOCKS).expect("valid");
    let deposits = toy.deposit(&[(4, 600)]);
    let payload = toy.batch(&deposits, &[]);
    toy.anchor(&payload);
    let (_, state) = whole(&toy).expect("posted whole");
    assert_eq!(cells(&state), cells(&toy.state));
}

#[test]
fn an_empty_rollup_has_an_empty_state() {
    let toy = ToyRollup::new();
    let (follower, state) = whole(&toy).expect("nothing to replay");
    assert_eq!((state.root(), follower.tip().batches), (follower.tip().root, 0));
    assert!(cells(&state).is_empty());
}

/// Rebuilds what a follower reports, across reorganisations.
fn advance(toy: &ToyRollup, follower: &mut Follower, rebuild: &mut Rebuild) -> Result<(), RebuildError> {
    catch_up(&toy.node, follower, |follower, event| {
        match event {
            Some(event) => rebuild.apply(&event)?,
            None => rebuild.settle(follower.headers().final_block().height),
        }
        Ok(())
    })
}

#[test]
fn rewinds_take_batches_back_and_put_them_on_again() {
    let (mut toy, anchors) = ToyRollup::with_two_batches();
    let mut follower = start(&toy.node, toy.params.clone(), toy.program.clone()).expect("a start");
    let mut rebuild = Rebuild::new(&toy.params);
    advance(&toy, &mut follower, &mut rebuild).expect("posted whole");
    assert_eq!(rebuild.batches(), 2);
    let full = cells(rebuild.state());
    let height = toy.node.chain().height();
    let pair = |number: usize| vec![anchors[number].commit().clone(), anchors[number].reveal().clone()];
    // Forks below the second anchor, then below both, then with both again.
    let branches = [
        (height - 1, vec![vec![], vec![]], 1),
        (height - 2, vec![vec![], vec![], vec![], vec![]], 0),
        (height - 2, vec![pair(0), vec![], pair(1), vec![], vec![]], 2),
    ];
    for (fork_height, branch, batches) in branches {
        toy.node.chain_mut().reorganise(fork_height, &branch, &elsewhere()).expect("more work");
        advance(&toy, &mut follower, &mut rebuild).expect("posted whole");
        assert_eq!((rebuild.batches(), follower.tip().batches), (batches, batches));
        let state = rebuild.state();
        assert_eq!((state.root(), state.depth()), (follower.tip().root, follower.tip().depth));
    }
    assert_eq!(cells(rebuild.state()), full);
    assert_eq!(rebuild.into_state().root(), toy.state.root());
}

#[test]
fn events_out_of_order_and_rewinds_of_final_batches_are_refused() {
    let (toy, _) = ToyRollup::with_two_batches();
    let mut follower = start(&toy.node, toy.params.clone(), toy.program.clone()).expect("a start");
    let genesis = *follower.tip();
    let mut events = Vec::new();
    catch_up(&toy.node, &mut follower, |_, event| {
        events.extend(event);
        Ok::<(), FollowError>(())
    })
    .expect("a steady source");
    let mut rebuild = Rebuild::new(&toy.params);
    let error = rebuild.apply(&events[1]).expect_err("the second comes first");
    assert!(matches!(error, RebuildError::OutOfOrder { expected: 0, found: 1 }));
    events.iter().try_for_each(|event| rebuild.apply(event)).expect("in order");
    let error = rebuild.apply(&events[1]).expect_err("the second comes twice");
    assert!(matches!(error, RebuildError::OutOfOrder { expected: 2, found: 1 }));
    rebuild.settle(toy.node.chain().height() - 1);
    let rewound = Event::Rewound { to: toy.params.start, tip: genesis };
    let error = rebuild.apply(&rewound).expect_err("the first batch is final");
    assert!(matches!(error, RebuildError::Final { batch: 0 }));
    assert_eq!((rebuild.batches(), rebuild.state().root()), (2, toy.state.root()));
}

/// Trap 26: proofs of a program whose circuits do not enforce the rules hold, and still nothing wrong is rebuilt.
#[test]
fn records_that_break_a_rule_are_refused_though_proven() {
    let (mut toy, anchors) = ToyRollup::with_two_batches();
    let payload = Payload::decode(anchors[1].payload(), toy.program.table()).expect("just anchored");
    let mut header = *payload.header();
    header.batch = toy.tip.batches;
    header.previous_payload_hash = toy.tip.payload_hash;
    header.root_before = toy.tip.root;
    header.root_after = toy.tip.root;
    let nowhere = CellIndex::new(77).expect("a small index");
    let record = TransferRecord { from: nowhere, to: toy.cell(1), amount: 1_000_000, fee: 0 };
    let transfers = toy
        .program
        .table()
        .circuits()
        .iter()
        .find(|circuit| circuit.kind == Kind::Transfer && circuit.depth == header.depth);
    let chunk = Chunk {
        circuit: *transfers.expect("a circuit of every payment"),
        records: Records::Transfer(vec![record]),
        root_after: header.root_after,
        ..payload.chunks().last().expect("not empty").clone()
    };
    let table = toy.program.table();
    let unproven = Payload::new(table.clone(), header, vec![chunk.clone()]).expect("well-formed");
    let proof = forge(&unproven.statements()[0]);
    let forged = Payload::new(table.clone(), header, vec![Chunk { proof, ..chunk }]).expect("well-formed");
    toy.anchor(&forged);
    let error = whole(&toy).expect_err("nobody has that money");
    assert!(matches!(error, RebuildError::Replay { batch: 2, .. }), "{error}");
}
