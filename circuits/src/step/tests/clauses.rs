//! What a signer signs: all of a clause, in order, once.

use crate::{
    ops::{Draw, Open, Order, Pay, Receive},
    schnorr::Message,
    step::{Limits, Refusal, Registers, StepError, flag},
    testing::{
        operations::{EMPTY, POOL, state},
        state::{index, secret},
        steps::{HEIGHT, Steps, record},
    },
};
use std::collections::HashSet;
use taproof_verifier::{
    cell::{Account, Cell, CellIndex, ChainId},
    record::StepRecord,
};

type Clause = Vec<(StepRecord, Limits)>;

/// A clause of three steps.
fn clause() -> Clause {
    let none = Limits::default();
    let draw = StepRecord { a: 5, ..record(Draw::NUMBER, 7, 0) };
    let open = StepRecord { a: 100, word: secret(9).public().x(), ..record(Open::NUMBER, EMPTY, flag::END) };
    vec![
        (StepRecord { a: 500, b: 3, ..record(Pay::NUMBER, 1, 0) }, Limits { least: 0, until: HEIGHT }),
        (draw, none),
        (open, Limits { least: 50, until: 0 }),
    ]
}

/// The message that must be signed for a clause.
fn message(steps: &Steps, clause: &Clause) -> Result<Message, StepError> {
    let (mut registers, mut cells) = (Registers::default(), std::collections::BTreeMap::new());
    let mut signed = None;
    for (record, limits) in clause {
        let at = record.cell.get();
        let cell = cells.get(&at).copied().unwrap_or_else(|| steps.state.cell(at));
        let applied = steps.machine.apply(&steps.context(), &registers, &cell, record, Some(*limits))?;
        (registers, signed) = (applied.registers, applied.signed);
        cells.insert(at, applied.cell);
    }
    Ok(signed.expect("the clause ends").1)
}

/// Trap 8: the digest has every part of every step.
#[test]
fn trap_8_every_part_of_a_clause_changes_what_is_signed() {
    let steps = Steps::on(state());
    let honest = message(&steps, &clause()).expect("a clause");
    let mut messages = HashSet::from([honest]);
    type Change<'a> = &'a dyn Fn(&mut Clause);
    let changes: [Change<'_>; 12] = [
        &|clause| clause[0].0.a += 1,
        &|clause| clause[0].0.b += 1,
        &|clause| clause[0].0.flags |= flag::SECOND,
        &|clause| clause[0].0.cell = index(7),
        &|clause| clause[0].1.until += 1,
        &|clause| clause[1].0.a += 1,
        &|clause| clause[1].0.cell = index(1),
        &|clause| clause[1].0.flags |= Draw::REBASE,
        &|clause| clause[2].0.word = secret(10).public().x(),
        &|clause| clause[2].0.c = 0x100,
        &|clause| clause[2].1.least += 1,
        &|clause| {
            clause.remove(1);
        },
    ];
    for (number, change) in changes.iter().enumerate() {
        let mut altered = clause();
        change(&mut altered);
        let altered = message(&steps, &altered).unwrap_or_else(|error| panic!("change {number}: {error}"));
        assert!(messages.insert(altered), "change {number}");
    }
    // The nonce, and with a ticket instead of one.
    let mut later = Steps::on(state());
    later.put(1, Cell::Account(Account { nonce: 8, ..later.state.account(1) }));
    assert!(messages.insert(message(&later, &clause()).expect("a clause")));
    let mut by_ticket = clause();
    (by_ticket[0].0.flags, by_ticket[0].0.c) = (flag::TICKET, 1);
    assert!(messages.insert(message(&steps, &by_ticket).expect("a clause")));
    // Trap 53: a ticket of the same number as the nonce starts another clause.
    let mut same = Steps::on(state());
    let account = same.state.account(1);
    let tickets = taproof_verifier::cell::Tickets { base: 7, used: 0 };
    same.put(1, Cell::Account(Account { tickets, ..account }));
    by_ticket[0].0.c = 0;
    let by_seventh = message(&same, &by_ticket).expect("a clause");
    let by_nonce = message(&same, &clause()).expect("a clause");
    assert_ne!(by_seventh, by_nonce);
}

#[test]
fn the_rollup_and_the_version_change_what_is_signed() {
    let mut digests = HashSet::new();
    for chain_id in [ChainId::from_byte_array([1; 15]), ChainId::from_byte_array([2; 15])] {
        for (signer, number, is_ticket) in [(1, 7, false), (2, 7, false), (1, 8, false), (1, 7, true)] {
            let digest = crate::step::clause_digest(chain_id, index(signer), number, is_ticket, &[]);
            assert!(digests.insert(digest));
        }
    }
}

/// What is not signed: whether the transaction ends there, and which empty cell is filled (trap 57: somebody else could
/// fill it first, and the clause would be void).
#[test]
fn trap_57_whoever_makes_the_transaction_chooses_its_end_and_the_empty_cell() {
    let steps = Steps::on(state());
    let honest = message(&steps, &clause()).expect("a clause");
    let mut elsewhere = clause();
    elsewhere[2].0.cell = index(EMPTY + 1);
    assert_eq!(message(&steps, &elsewhere), Ok(honest));
    let mut nowhere = clause();
    nowhere[2].0.cell = CellIndex::default();
    assert_eq!(message(&steps, &nowhere).map_err(|error| error.refusal), Err(Refusal::Nobody));
    let whole = StepRecord { a: 0, ..record(Pay::NUMBER, 1, flag::END) };
    let limits = Limits { least: 0, until: HEIGHT };
    let done = StepRecord { flags: flag::END | flag::DONE, ..whole };
    assert_eq!(message(&steps, &vec![(whole, limits)]), message(&steps, &vec![(done, limits)]));
}

#[test]
fn clauses_run_where_they_may() {
    let mut steps = Steps::on(state());
    let limits = Limits { least: 0, until: HEIGHT };
    let refused = |steps: &Steps, record: StepRecord, limits| {
        steps.apply(&record, limits).map(drop).map_err(|error| error.refusal)
    };
    let none = Limits::default();
    let ends = StepRecord { flags: flag::END, a: 1, ..record(Receive::NUMBER, 2, 0) };
    assert_eq!(refused(&steps, ends, none), Err(Refusal::NoClause));
    assert_eq!(refused(&steps, record(Draw::NUMBER, 1, 0), none), Err(Refusal::NoSigner));
    let receive = StepRecord { a: 1, ..record(Receive::NUMBER, 2, 0) };
    assert_eq!(refused(&steps, receive, Limits { least: 1, until: 0 }), Err(Refusal::NoLimit));
    assert_eq!(refused(&steps, receive, Limits { least: 0, until: 1 }), Err(Refusal::NoLimit));
    steps.run_within(record(Pay::NUMBER, 1, 0), limits).expect("a clause begins");
    assert_eq!(refused(&steps, record(Pay::NUMBER, 2, 0), limits), Err(Refusal::ClauseRuns), "trap 44");
    let order = StepRecord { c: POOL.into(), ..record(Order::NUMBER, 2, flag::END) };
    assert_eq!(refused(&steps, order, limits), Err(Refusal::ClauseRuns));
    let done = StepRecord { flags: flag::DONE, ..record(Receive::NUMBER, 2, 0) };
    assert_eq!(refused(&steps, done, none), Err(Refusal::ClauseOpen), "trap 48");
    let expired = refused(&Steps::on(state()), record(Pay::NUMBER, 1, 0), Limits { least: 0, until: HEIGHT - 1 });
    assert_eq!(expired, Err(Refusal::Expired { until: HEIGHT - 1, height_blocks: HEIGHT }));
}

/// Trap 54: nothing but PAY and ORDER starts a clause, and both use up their nonce or ticket. T4: no start comes twice.
#[test]
fn t4_no_clause_starts_twice() {
    let mut steps = Steps::on(state());
    let limits = Limits { least: 0, until: HEIGHT };
    let mut starts = HashSet::new();
    for place in [1u64, 3, 4, 61, 62] {
        let by_ticket = StepRecord { c: place, ..record(Pay::NUMBER, 1, flag::END | flag::TICKET) };
        let by_nonce = record(Pay::NUMBER, 1, flag::END);
        for record in [by_ticket, by_nonce] {
            let (_, message) = steps.apply(&record, limits).expect("not used yet").signed.expect("it ends");
            assert!(starts.insert(message));
            steps.run_within(record, limits).expect("not used yet");
        }
        let again = steps.apply(&by_ticket, limits).expect_err("the ticket is used");
        assert_eq!(again.refusal, Refusal::TicketUsed(64 + place), "trap 11");
    }
    // The last nonce is used by nobody.
    let mut last = Steps::on(state());
    last.put(1, Cell::Account(Account { nonce: u32::MAX, ..last.state.account(1) }));
    let refusal = last.apply(&record(Pay::NUMBER, 1, 0), limits).expect_err("no nonce is left");
    assert_eq!(refusal.refusal, Refusal::NonceExhausted);
}
