//! Chunks as such: full, partly filled and empty ones, and what head, tail and carry refuse.

mod step_counts;

use super::{
    AssignError, NoCircuitError,
    witness::{ChunkWitness, SlotWitnesses},
};
use crate::{
    cap::MerkleCap,
    cs::{RowView, Segment},
    testing::{
        Freedom, assert_chunk_sound, assign, free_wires_of, machines, shape,
        state::{ALTERATIONS, OPERATOR, State, index},
    },
};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field};
use std::collections::{BTreeSet, HashSet};
use taproof_verifier::{
    cell::{Account, Cell, ChainId, Depth, MerklePath, Token},
    operation::OperationsHash,
    record::{Destination, Kind},
    statement::CircuitId,
};

const TOKEN: Token = Token(3);

/// Two transfers in three slots.
fn transfers() -> ChunkWitness {
    let mut state = State::new(3, TOKEN, 6);
    let cap = state.cap();
    let slots = vec![state.transfer(1, 2, 500, 3), state.transfer(2, 2, 7, 1)];
    state.chunk(cap, 3, SlotWitnesses::Transfer(slots))
}

fn assert_violates(chunk: &ChunkWitness, segment: Segment, relation: &str) {
    match assign(chunk) {
        Err(AssignError::Unsatisfied { segment: found, relation: named }) => {
            assert_eq!((found, named), (segment, relation));
        }
        other => panic!("not the error that names {relation}: {:?}", other.err()),
    }
}

/// A chunk of each kind, the last slot of each a padding slot.
fn chunks_of_every_kind() -> [ChunkWitness; 4] {
    let mut state = State::new(1, Token::BITCOIN, 6);
    let cap = state.cap();
    let slots = vec![state.deposit(1, 500, 1), state.deposit(7, 7, 7), state.deposit(7, 0, 7)];
    let deposits = state.chunk(cap, 4, SlotWitnesses::Deposit(slots));

    let mut state = State::new(2, TOKEN, 6);
    let cap = state.cap();
    let slots = vec![state.open(1, 9, [500, 3], 9), state.open(9, 10, [499, 0], 1)];
    let opens = state.chunk(cap, 3, SlotWitnesses::Open(slots));

    let mut state = State::new(1, Token::BITCOIN, 6);
    let cap = state.cap();
    let destinations = [Destination::P2wpkh([1; 20]), Destination::P2wsh([2; 32]), Destination::P2tr([0xff; 32])];
    let slots = (1..).zip(destinations).map(|(from, to)| state.withdraw(from, [500, 3], to)).collect();
    let withdrawals = state.chunk(cap, 4, SlotWitnesses::Withdraw(slots));

    [deposits, transfers(), opens, withdrawals]
}

#[test]
fn chunks_with_padding_hold_every_wire() {
    chunks_of_every_kind().iter().for_each(assert_chunk_sound);
}

/// The wire that a row holds to 0 or 1 and that stands in it alone.
fn bit_of(row: RowView<'_>) -> Option<usize> {
    let [a, b, c]: [Vec<(usize, &Fr)>; 3] = [row.a().collect(), row.b().collect(), row.c().collect()];
    match a.as_slice() {
        [(wire, coefficient)] if a == b && b == c && **coefficient == Fr::ONE => Some(*wire),
        _ => None,
    }
}

/// Of the rows that hold bits, and no others, the search leaves each bit the change to the other one, and nothing else.
#[test]
fn the_only_change_of_every_bit_is_tried() {
    for chunk in chunks_of_every_kind() {
        let assignment = assign(&chunk).expect("a valid chunk");
        let shape = shape(chunk.statement.circuit).expect("a circuit");
        let rows = || shape.rows().enumerate().filter_map(|(number, row)| Some((number, row, bit_of(row)?)));
        let bits: BTreeSet<usize> = rows().map(|(_, _, bit)| bit).collect();
        let found = free_wires_of(rows().map(|(number, row, _)| (number, row)), &assignment);
        assert_eq!(found.held_count, 0, "each of these rows leaves a change");
        let changes: Vec<_> = found.free.iter().filter(|(wire, _)| bits.contains(wire)).collect();
        assert!(
            changes
                .iter()
                .all(|(wire, freedom)| { *freedom == Freedom::By(Fr::ONE - assignment.wires[*wire].double()) })
        );
        let ones = bits.iter().filter(|bit| assignment.wires[**bit] == Fr::ONE).count();
        let kind = chunk.statement.circuit.kind;
        assert_eq!(changes.len(), bits.len(), "{kind}");
        assert!(0 < ones && ones < bits.len(), "{kind}: {ones} of {} bits hold one", bits.len());
    }
}

#[test]
fn empty_chunks_change_nothing() {
    let mut state = State::new(1, TOKEN, 0);
    let (root, cap) = (state.root(), state.cap());
    // Without fees, the operator's cell may be empty.
    let chunk = state.chunk(cap.clone(), 2, SlotWitnesses::Transfer(Vec::new()));
    assert_eq!(chunk.statement.root_after, root);
    assert_chunk_sound(&chunk);
    let mut altered = chunk.clone();
    altered.statement.root_after += Fr::ONE;
    assert_eq!(assign(&altered), Err(AssignError::StatementMismatch));
    let chunk = state.chunk(cap, 1, SlotWitnesses::Deposit(Vec::new()));
    assert_violates(&chunk, Segment::Slot(0), "R4, cell before");
    // No two nodes of this cap are equal: between equal ones a padding deposit, which posts and changes nothing, has
    // the choice.
    let mut state = State::new(1, Token::BITCOIN, 7);
    let cap = state.cap();
    assert_chunk_sound(&state.chunk(cap, 1, SlotWitnesses::Deposit(Vec::new())));
}

#[test]
fn a_cell_may_change_twice_in_a_chunk_and_stale_paths_are_refused() {
    let mut state = State::new(2, TOKEN, 6);
    let cap = state.cap();
    let (mut stale, cap_again) = (state.clone(), cap.clone());
    let first = state.transfer(1, 2, 500, 3);
    let slots = vec![first.clone(), state.transfer(1, 2, 500, 3), state.transfer(2, 1, 9, 0)];
    let slots = [slots, vec![state.transfer(OPERATOR, 1, 4, 2)]].concat();
    assert_chunk_sound(&state.chunk(cap, 4, SlotWitnesses::Transfer(slots)));

    let replay = stale.transfer(1, 2, 500, 3);
    let slots = vec![first, replay];
    let chunk = stale.chunk(cap_again, 2, SlotWitnesses::Transfer(slots));
    assert_violates(&chunk, Segment::Slot(1), "R2, payer's cell in the state");
}

#[test]
fn transitions_must_be_those_of_the_statement() {
    let chunk = transfers();
    let mut altered = chunk.clone();
    altered.statement.data_digest += Fr::ONE;
    assert_eq!(assign(&altered), Err(AssignError::StatementMismatch));
    let mut altered = chunk.clone();
    altered.statement.context.height_blocks += 1;
    assert!(assign(&altered).is_ok(), "no transition reads the height");
    // Payments carry no registers, and are of no set of operations.
    let mut altered = chunk.clone();
    altered.statement.registers.before += Fr::ONE;
    assert_eq!(assign(&altered), Err(AssignError::StatementMismatch));
    let mut altered = chunk.clone();
    altered.statement.registers.after += Fr::ONE;
    assert_eq!(assign(&altered), Err(AssignError::StatementMismatch));
    let mut altered = chunk.clone();
    altered.statement.circuit.operations = OperationsHash::from_byte_array([1; 32]);
    assert_eq!(assign(&altered), Err(NoCircuitError(altered.statement.circuit).into()));
    let mut altered = chunk;
    altered.statement.chain_id = ChainId::from_byte_array([1; 15]);
    assert_violates(&altered, Segment::Slot(0), "R4, signature");
}

#[test]
fn the_operator_is_credited_once_and_exactly() {
    let chunk = transfers();
    let operator = chunk.operator.clone().expect("transfers pay fees");
    let alter = |change: &dyn Fn(&mut ChunkWitness)| {
        let mut altered = chunk.clone();
        change(&mut altered);
        altered
    };
    let in_state = "T5, operator's cell in the state";
    assert_violates(&alter(&|chunk| chunk.statement.context.operator = index(OPERATOR + 1)), Segment::Tail, in_state);
    assert_violates(
        &alter(&|chunk| chunk.statement.context.operator = index(OPERATOR + 512)),
        Segment::Tail,
        "T2, operator's index",
    );
    let mut levels = operator.path.levels().to_vec();
    levels[0][0] += Fr::ONE;
    let path = MerklePath::new(levels).expect("three levels");
    assert_violates(
        &alter(&|chunk| chunk.operator.as_mut().expect("transfers pay fees").path = path.clone()),
        Segment::Tail,
        in_state,
    );
    assert_eq!(assign(&alter(&|chunk| chunk.operator = None)), Err(AssignError::OperatorMismatch));
}

#[test]
fn the_operator_keeps_all_but_its_balance() {
    let mut state = State::new(3, TOKEN, 6);
    let cap = state.cap();
    let slots = vec![state.transfer(1, 2, 500, 3)];
    let before = state.account(OPERATOR);
    let chunk = state.chunk(cap, 1, SlotWitnesses::Transfer(slots));
    assert_eq!(state.account(OPERATOR), Account { balance: before.balance + 3, ..before });
    assert_chunk_sound(&chunk);
    // The tail takes the wires of the cell before, so what is claimed of the cell after is nothing but another root.
    for change in ALTERATIONS {
        let mut altered = chunk.clone();
        let mut account = state.account(OPERATOR);
        change(&mut account);
        let mut other = state.clone();
        other.set(OPERATOR, Cell::Account(account));
        altered.operator.as_mut().expect("transfers pay fees").after = Cell::Account(account);
        assert!(assign(&altered).is_ok(), "the claim is not looked at");
        altered.statement.root_after = other.root();
        assert_eq!(assign(&altered), Err(AssignError::StatementMismatch));
    }
}

#[test]
fn the_cap_is_that_of_the_root_before() {
    let chunk = transfers();
    let with_cap = |nodes: Vec<Fr>| {
        let cap = MerkleCap::new(nodes).expect("8 or 64 nodes");
        assign(&ChunkWitness { cap, ..chunk.clone() }).expect_err("another cap")
    };
    let nodes = chunk.cap.nodes();
    // A node above no cell of the chunk.
    let mut altered = nodes.to_vec();
    altered[63] += Fr::ONE;
    assert_eq!(with_cap(altered), AssignError::StatementMismatch);
    assert_eq!(with_cap(nodes[..8].to_vec()), AssignError::CapMismatch { expected: 64, found: 8 });
    let mut altered = chunk.clone();
    altered.statement.root_before += Fr::ONE;
    assert_eq!(assign(&altered), Err(AssignError::StatementMismatch));
}

/// A chunk of one transfer with a fee, for an operator whose cell is `cell`.
fn paid_to(cell: Cell, fee: u64) -> ChunkWitness {
    let mut state = State::new(1, TOKEN, 4);
    state.set(OPERATOR, cell);
    let cap = state.cap();
    let slots = vec![state.transfer(1, 2, 500, fee)];
    state.chunk(cap, 1, SlotWitnesses::Transfer(slots))
}

#[test]
fn fees_need_an_account_of_the_token_that_can_hold_them() {
    let account = State::new(1, TOKEN, 6).account(OPERATOR);
    let cell = |token, balance| Cell::Account(Account { token, balance, ..account });
    let full = u64::MAX;
    for (operator, fee, violated) in [
        (cell(TOKEN, full - 3), 3, None),
        (cell(TOKEN, full - 3), 4, Some("T4, operator's balance")),
        (cell(Token(4), 0), 0, None),
        (cell(Token(4), 0), 1, Some("T3, operator's account")),
        (Cell::Empty, 0, None),
        (Cell::Empty, 1, Some("T3, operator's account")),
    ] {
        let chunk = paid_to(operator, fee);
        match violated {
            None => assert_chunk_sound(&chunk),
            Some(relation) => assert_violates(&chunk, Segment::Tail, relation),
        }
    }
}

#[test]
fn witnesses_of_another_form_are_refused() {
    let chunk = transfers();
    let with_circuit = |kind, levels, slots| {
        let depth = Depth::new(levels).expect("1 to 10 levels");
        let mut altered = chunk.clone();
        altered.statement.circuit = CircuitId::new(kind, depth, slots);
        assign(&altered).expect_err("another circuit")
    };
    let mismatch = AssignError::KindMismatch { circuit: Kind::Deposit, witness: Kind::Transfer };
    assert_eq!(with_circuit(Kind::Deposit, 3, 3), mismatch);
    assert_eq!(with_circuit(Kind::Transfer, 3, 1), AssignError::TooManyTransitions { slots: 1, found: 2 });
    assert!(matches!(with_circuit(Kind::Transfer, 3, 0), AssignError::NoCircuit(_)));
    let deeper = with_circuit(Kind::Transfer, 4, 3);
    assert!(matches!(deeper, AssignError::DepthMismatch { segment: Segment::Slot(0), .. }));
    let mut foreign = chunk.clone();
    foreign.statement.circuit.version += 1;
    let circuit = foreign.statement.circuit;
    assert_eq!(assign(&foreign), Err(NoCircuitError(circuit).into()));
    assert_eq!(shape(circuit), Err(NoCircuitError(circuit)));
    let step = CircuitId { version: 1, kind: Kind::Step, ..circuit };
    assert_eq!(shape(step), Err(NoCircuitError(step)));
}

/// Sizes and hashes of every circuit, as the file beside the crate has them. To change them is to change every key:
/// `TAPROOF_REPIN=1 cargo test -p taproof-circuits pinned` writes the file anew, and the commit says why.
#[test]
fn pinned_circuits_are_unchanged() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/pins.txt");
    let mut lines = vec!["kind depth slots constraints_per_slot constraints matrix_hash".to_owned()];
    for (levels, slots) in [(4, 3), (10, 1), (10, 12)] {
        let depth = Depth::new(levels).expect("1 to 10 levels");
        for found in super::counts(&machines(), depth, slots).expect("circuits with slots") {
            let hash = blake3::Hash::from(found.matrix_hash);
            let (kind, per_slot, all) = (found.kind, found.constraints_per_slot, found.constraints);
            lines.push(format!("{kind} {levels} {slots} {per_slot} {all} {hash}"));
        }
    }
    let text = lines.join("\n") + "\n";
    if std::env::var_os("TAPROOF_REPIN").is_some() {
        std::fs::write(path, &text).expect("the crate's folder can be written");
    }
    assert_eq!(std::fs::read_to_string(path).expect("pins.txt is part of the crate"), text);
}

#[test]
fn circuits_stay_within_their_budgets() {
    let budgets = [(Kind::Deposit, 9_000), (Kind::Transfer, 20_000), (Kind::Open, 20_500), (Kind::Withdraw, 12_500)];
    for (kind, budget) in budgets {
        let found =
            super::count(&machines(), CircuitId::new(kind, Depth::MAX, 1)).expect("a circuit").constraints_per_slot;
        assert!(found <= budget, "{kind} takes {found} constraints a slot");
    }
}

/// A wire that stands on both sides of a row is in B whatever the sides are; hardly another one should be, since a
/// wire in B costs a multiplication in G2.
#[test]
fn b_holds_few_wires_that_no_row_forces_into_it() {
    for kind in Kind::PAYMENTS {
        let shape = shape(CircuitId::new(kind, Depth::MAX, 2)).unwrap();
        let (mut in_b, mut forced) = (HashSet::new(), HashSet::<usize>::new());
        for row in shape.rows() {
            let a: HashSet<usize> = row.a().map(|(wire, _)| wire).collect();
            let b: HashSet<usize> = row.b().map(|(wire, _)| wire).collect();
            forced.extend(a.intersection(&b));
            in_b.extend(b);
        }
        let (in_b, forced) = (in_b.len(), forced.len());
        assert!(in_b <= forced + forced / 500, "{kind}: {in_b} wires in B, {forced} of them forced");
    }
}
