//! The machine: what all operations share.

mod clauses;
mod conservation;
mod faulty;
mod probes;
mod programs;
mod relations;
mod traps;
mod twins;

use super::{Limits, flag};
use crate::{
    ops::{
        Burn, Clear, Draw, Exit, Join, Mint, Open, Order, Pay, Pool, Read, Receive, Session, Token as TokenOperation,
    },
    testing::{
        Lie, assert_chunk_sound, assert_padding_holds, assert_padding_is_inert,
        operations::{EMPTY, POOL, TOKEN, state},
        state::{State, secret},
        steps::{HEIGHT, Steps, record},
        violated_by_lies,
    },
};
use ark_bn254::Fr;
use std::collections::BTreeSet;
use taproof_verifier::{
    cell::{Token, TokenName},
    record::StepRecord,
};

/// Two steps in a chunk of three slots, within a transaction or to its end.
fn transfer(last: u8) -> Steps {
    let mut steps = Steps::on(State::new(3, Token::BITCOIN, 6));
    let pay = StepRecord { a: 500, b: 3, ..record(Pay::NUMBER, 1, flag::END) };
    steps.run_within(pay, Limits { least: 0, until: HEIGHT }).expect("it can pay");
    steps.run(record(Receive::NUMBER, 2, last)).expect("it can receive");
    steps
}

#[test]
fn chunks_with_padding_hold_every_wire() {
    for last in [flag::DONE | Receive::REST, 0] {
        let mut steps = transfer(last);
        assert_eq!(steps.registers.are_zero(), last != 0);
        let chunk = steps.chunk(3);
        assert_chunk_sound(&chunk);
        assert_padding_is_inert(&steps.slot(), &chunk);
        // Trap 7: what is in motion when padding begins is in motion when it ends.
        let holders = ["S1 or S9, record", "S2 or S9, state after", "S5 or S9, sum of fees"];
        assert_padding_holds(&steps.slot(), &chunk, holders);
        let first = steps.witness_of(&chunk, 0);
        let lie = Lie::At { relation: "S1, active bit", wire: 0, forged: Fr::from(2u64) };
        let violated = violated_by_lies(&steps.slot(), &chunk, true, &first, &[lie]);
        assert!(violated.contains("S1, active bit"), "{violated:?}");
    }
}

/// Every operation, in three chunks that mix them: transactions of two owners, clauses and a session cross from chunk
/// to chunk, and no wire of any of them can change alone.
#[test]
fn chunks_of_all_operations_hold_every_wire() {
    let mut steps = Steps::on(state());
    let until = Limits { least: 0, until: HEIGHT };
    let [minted, founded, shares] = [EMPTY, EMPTY + 1, EMPTY + 2];
    let name = TokenName::new("silver").expect("a name").element();
    let at = |operation: u8, cell: u32, flags: u8| record(operation, cell, flags);
    let program = [
        // A token is made and minted, and a pool of it is founded, in the clause of account 1.
        StepRecord { a: 90_000, b: 3, ..at(Pay::NUMBER, 1, 0) },
        StepRecord { a: 1_000_000, c: 2, word: name, ..at(TokenOperation::NUMBER, minted, 0) },
        StepRecord { a: 50_000, ..at(Mint::NUMBER, minted, 0) },
        StepRecord { c: 30 | 2 << 14 | 10 << 16, ..at(Pool::NUMBER, founded, 0) },
        StepRecord { a: 5_000, ..at(Draw::NUMBER, 7, flag::SECOND) },
        StepRecord {
            c: founded.into(),
            word: secret(9).public().x(),
            ..at(Open::NUMBER, shares, Open::REST | flag::END)
        },
        // Shares of the other pool leave it, a part of what they were comes back, and a part is burnt.
        at(Exit::NUMBER, POOL, 0),
        StepRecord { a: 100, ..at(Burn::NUMBER, TOKEN, 0) },
        at(Join::NUMBER, POOL, 0),
        at(Receive::NUMBER, 7, flag::SECOND | Receive::REST | flag::DONE),
        at(Read::NUMBER, POOL, Read::INVERSE | flag::DONE),
        StepRecord { a: 500, b: 400, ..at(Session::NUMBER, POOL, 0) },
        StepRecord { a: 500, b: 2, c: POOL.into(), ..at(Order::NUMBER, 3, flag::END) },
        StepRecord { a: 400, c: POOL.into(), ..at(Order::NUMBER, 4, flag::END | flag::SECOND | Order::SELLS_SECOND) },
        at(Clear::NUMBER, POOL, flag::DONE),
    ];
    let mut run = BTreeSet::new();
    for (number, record) in program.into_iter().enumerate() {
        let starts = [Pay::NUMBER, Order::NUMBER].contains(&record.operation);
        let limits = if starts { until } else { Limits::default() };
        steps.run_within(record, limits).unwrap_or_else(|error| panic!("step {number}: {error}"));
        run.insert(record.operation);
        if [3, 12, 14].contains(&number) {
            assert_eq!(steps.registers.are_zero(), number == 14);
            let slots = steps.count() + u16::from(number == 14);
            assert_chunk_sound(&steps.chunk(slots));
        }
    }
    assert_eq!(run.len(), crate::ops::operations().len(), "every operation");
}
