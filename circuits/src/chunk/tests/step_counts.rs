//! The rows of a step, part by part, as docs/circuits.md has them.

use crate::{
    chunk::{StepSlot, circuit::Layout},
    ops,
    step::{Authority, Description, Groups, Machine, Operation, Refusal, Step, StepCircuit, place},
};
use std::{collections::BTreeMap, sync::Arc};
use taproof_verifier::cell::Depth;

/// The rows of a slot at depth 10, by the relations that they belong to.
fn rows(machine: &Machine) -> BTreeMap<&'static str, usize> {
    let slot = Layout::of(&StepSlot(machine), machine.circuit(Depth::MAX, 1)).slot;
    let mut rows = BTreeMap::new();
    (0..slot.row_count()).for_each(|row| *rows.entry(slot.relation_of(row)).or_default() += 1);
    rows
}

/// The standard operations and as many more as docs/circuits.md foresees.
fn with_all_that_is_foreseen() -> Machine {
    let foreseen = (100..118).map(|number| Arc::new(Foreseen(number)) as Arc<dyn Operation>);
    Machine::new(ops::operations().into_iter().chain(foreseen).collect()).expect("32 operations")
}

/// What the machine holds of every slot, and which relations it is.
const PARTS: [(&str, &[&str]); 11] = [
    ("path to the cap, with both hashes of the cell", &["S2, path of the cell"]),
    ("cap: position, change, and the result on wires", &["S2, cell in the state", "S2 or S9, state after"]),
    ("signature, and whose it is", &["S3, signature"]),
    ("digest of the clause", &["S4, digest"]),
    (
        "clause: place of the operation, limits, end, what is left",
        &["S3, place of the operation", "S6, limits", "S4, end of the clause", "S4, clause after"],
    ),
    (
        "record: active bit, operation, flags, index, three numbers",
        &[
            "S1, active bit",
            "S1, operation",
            "S1, widths of the record",
            "S1, what is not posted",
            "S1, nobody's cell",
            "S1, flags",
            "S9, padding has no record",
            "S1 or S9, record",
        ],
    ),
    ("cell before: kind, second holding", &["S2, kind of the cell", "S2, second holding"]),
    ("bits that the operations share", &["S8, bits that the operations share"]),
    (
        "lanes: looked up, moved; supply, tokens, sum of fees",
        &[
            "S5, what is in motion",
            "S5, what the cell holds after",
            "S5, supply",
            "S5, lanes",
            "S5, token of a holding",
            "S5, token of the fee",
            "S5 or S9, sum of fees",
        ],
    ),
    ("a new owner's key", &["S4, new owner's key"]),
    ("registers: left open, cleared, handed on", &["S7, nothing is left open", "S7, registers after", "S5, registers"]),
];

/// The one row that each operation has beside its own relations.
const UNUSED_BITS: &str = "S9, bits that the operation does not take";

fn digits(number: usize) -> String {
    match number / 1_000 {
        0 => number.to_string(),
        thousands => format!("{thousands},{:03}", number % 1_000),
    }
}

/// To change what a step holds is to write the tables anew: what fails says what they must have.
#[test]
fn the_tables_of_steps_are_what_is_counted() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/circuits.md");
    let text = std::fs::read_to_string(path).expect("a document of this repository");
    let machine = ops::standard();
    let mut counted = rows(&machine);
    let all: usize = counted.values().sum();
    let mut lines = Vec::new();
    for (part, relations) in PARTS {
        let of_part = relations.iter().map(|name| counted.remove(name).unwrap_or_else(|| panic!("no row of {name}")));
        lines.push(format!("| {part} | {} |", digits(of_part.sum())));
    }
    let unused = counted.remove(UNUSED_BITS).expect("a row of each operation");
    assert_eq!(unused, machine.descriptions().count());
    let of_operations: usize = counted.values().sum();
    lines.push(format!("| relations of the operations | {} |", digits(of_operations + unused)));
    lines.push(format!("| together | {} |", digits(all)));
    for known in machine.operations() {
        let name = known.description.name;
        let is_its = |relation: &str| relation.strip_prefix(name).is_some_and(|rest| rest.starts_with(" R"));
        let (its, others): (BTreeMap<_, _>, _) = counted.into_iter().partition(|(relation, _)| is_its(relation));
        counted = others;
        let its_rows = its.values().sum::<usize>() + 1;
        lines.push(format!("| {name} | {} | {} |", digits(its_rows), digits(known.circuit.bit_count())));
    }
    assert_eq!(counted, BTreeMap::new(), "rows of no operation and no part");
    let foreseen = with_all_that_is_foreseen();
    let with_foreseen: usize = rows(&foreseen).values().sum();
    lines.push(format!("| the standard ones | {} |", digits(all)));
    lines.push(format!("| with 18 more operations | {} |", digits(with_foreseen)));
    let missing: Vec<_> = lines.iter().filter(|line| !text.contains(*line)).map(String::as_str).collect();
    assert!(missing.is_empty(), "docs/circuits.md needs these lines:\n{}", missing.join("\n"));
}

#[test]
fn a_step_stays_within_its_budget() {
    let rows: usize = rows(&ops::standard()).values().sum();
    assert!(rows <= 12_500, "{rows} rows");
}

#[test]
fn room_for_all_operations() {
    let all = with_all_that_is_foreseen();
    assert_eq!((all.descriptions().count(), all.pool_bits(), all.groups()), (32, 1_500, Groups::ALL));
    let rows: usize = rows(&all).values().sum();
    assert!(rows <= 14_000, "{rows} rows with 32 operations");
}

/// An operation as wide as any that is foreseen: 1,500 bits, 60 rows of relations, and every group of registers that
/// operations write.
#[derive(Debug)]
struct Foreseen(u8);

impl Operation for Foreseen {
    fn description(&self) -> Description {
        let account = ops::operations()[0].description();
        let writes = Groups::ALL;
        Description { number: self.0, name: "FORESEEN", authority: Authority::Either, writes, ..account }
    }

    fn apply(&self, _: &mut Step<'_>) -> Result<(), Refusal> {
        Err(Refusal::Own("it is counted, not run"))
    }

    fn synthesize(&self, step: &mut StepCircuit) {
        step.relation("FORESEEN R1");
        for _ in 0..25 {
            let wide = step.range(step.a(), 60);
            step.product(wide.clone(), wide);
        }
        let sessions = [place::POOL, place::UNPAID[0]];
        for register in place::DUE_ACCOUNT.into_iter().chain(sessions).chain(place::FACT) {
            step.set_register(register, step.b());
        }
        step.require_zero(step.c());
    }
}
