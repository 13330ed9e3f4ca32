//! What a signer signs: all of a clause, in order, once.

use super::probes::{Idle, machine_with};
use crate::{
    chunk::witness::{ChunkWitness, StepWitness},
    ops::{Draw, Open, Order, Pay, Read, Receive, Session, Token as TokenOperation},
    schnorr::Message,
    step::{Limits, Refusal, Registers, RunningClause, StepError, flag},
    testing::{
        assign,
        operations::{EMPTY, POOL, state},
        state::{CHAIN_ID, index, secret},
        steps::{HEIGHT, Steps, record},
        violated_in_its_state,
    },
};
use ark_bn254::Fr;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};
use taproof_verifier::{
    cell::{Account, Cell, CellIndex, ChainId, Tickets},
    poseidon2::compress,
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
    let changes: [Change<'_>; 15] = [
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
        // The order of steps, one more, and another operation.
        &|clause| {
            let receive = StepRecord { a: 5, ..record(Receive::NUMBER, 7, 0) };
            clause.insert(1, (receive, Limits::default()));
        },
        &|clause| {
            let receive = StepRecord { a: 5, ..record(Receive::NUMBER, 7, 0) };
            clause.insert(2, (receive, Limits::default()));
        },
        &|clause| clause[1].0.operation = Receive::NUMBER,
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
}

#[test]
fn trap_53_a_ticket_of_the_nonces_number_starts_another_clause() {
    let mut same = Steps::on(state());
    let tickets = Tickets { base: 7, used: 0 };
    same.put(1, Cell::Account(Account { tickets, ..same.state.account(1) }));
    let mut by_ticket = clause();
    by_ticket[0].0.flags = flag::TICKET;
    let by_seventh = message(&same, &by_ticket).expect("a clause");
    let by_nonce = message(&same, &clause()).expect("a clause");
    assert_ne!(by_seventh, by_nonce);
}

/// What is signed, written out: whatever changes it, changes the machine's version too.
#[test]
fn the_digest_is_that_of_version_1() {
    let shifted = |value: u128, bits: u32| Fr::from(value) * ark_ff::Field::pow(&Fr::from(2u64), [u64::from(bits)]);
    let zero = Fr::from(0u64);
    let chain_id = CHAIN_ID.element();
    // Kind 5, version 1, purpose 0, cell 1, nonce 7.
    let start = chain_id + shifted(5, 120) + shifted(1, 128) + shifted(1, 152) + shifted(7, 184);
    let pay = shifted(1, 0) + shifted(1, 1) + shifted(1, 17) + shifted(500, 49) + shifted(3, 113);
    let draw = shifted(1, 0) + shifted(2, 1) + shifted(7, 17) + shifted(5, 49);
    let open = shifted(1, 0) + shifted(4, 1) + shifted(1, 9) + shifted(u128::from(EMPTY), 17) + shifted(100, 49);
    let word = secret(9).public().x();
    let until = shifted(u128::from(HEIGHT), 64);
    // The first 31 bytes of the hash of the set of operations, the first byte lowest.
    let steps = Steps::on(state());
    let set = steps.machine.set().hash().to_byte_array();
    let set = set[..31].iter().rev().fold(zero, |sum, byte| sum * Fr::from(256u64) + Fr::from(*byte));
    let mut digest = start;
    for (element, word, limits) in [(pay, zero, until), (draw, zero, zero), (open, word, Fr::from(50u64))] {
        digest = compress(&[digest, element, word, limits, set, zero, zero, zero]);
    }
    assert_eq!(message(&steps, &clause()), Ok([digest, zero, zero, zero]));
}

/// A running clause of account 3 whose last step is one that holds nothing, of account 2 and with numbers everywhere.
fn last_step() -> (Steps, ChunkWitness, StepWitness) {
    let mut steps = Steps::on(state());
    steps.machine = machine_with(vec![Arc::new(Idle { number: 200, kind: Account::KIND })]);
    steps.run_within(record(Pay::NUMBER, 3, 0), Limits { least: 0, until: HEIGHT }).expect("a clause begins");
    let _ = steps.chunk(1);
    let idle = record(200, 2, flag::END | flag::SECOND | 1 << 6);
    let idle = StepRecord { a: 1 << 63, b: 1 << 33, c: 1 << 3, word: Fr::from(77u64), ..idle };
    steps.run(idle).expect("nothing can be wrong");
    let chunk = steps.chunk(1);
    let witness = steps.witness_of(&chunk, 0);
    (steps, chunk, witness)
}

/// Trap 8 in the circuit: with the signature of one clause, no other one is proven.
#[test]
fn trap_8_a_signature_is_of_one_clause_alone() {
    let (steps, chunk, honest) = last_step();
    let violated = |change: &dyn Fn(&mut StepWitness)| {
        let mut witness = honest.clone();
        change(&mut witness);
        violated_in_its_state(&steps.slot(), &chunk, &witness)
    };
    let signature = BTreeSet::from(["S3, signature"]);
    for bit in [0, 1, 31, 32, 62, 63] {
        assert_eq!(violated(&|witness| witness.record.a ^= 1 << bit), signature, "bit {bit} of a");
        assert_eq!(violated(&|witness| witness.record.b ^= 1 << bit), signature, "bit {bit} of b");
        assert_eq!(violated(&|witness| witness.record.c ^= 1 << bit), signature, "bit {bit} of c");
    }
    assert_eq!(violated(&|witness| witness.record.word += Fr::from(1u64)), signature);
    // Every flag but END, which ends nothing then, and DONE, which whoever makes the transaction sets.
    for bit in 2..8 {
        assert_eq!(violated(&|witness| witness.record.flags ^= 1 << bit), signature, "flag {bit}");
    }
    assert_eq!(violated(&|witness| witness.record.flags |= flag::DONE), BTreeSet::new());
    assert!(violated(&|witness| witness.record.flags ^= flag::END).contains("S3, signature"));
    let account = steps.state.cell(4);
    let other_cell = |witness: &mut StepWitness| {
        (witness.record.cell, witness.cell.before, witness.cell.after) = (index(4), account, account);
    };
    assert_eq!(violated(&other_cell), signature);
    let clause = honest.registers.clause.expect("a clause runs");
    let with = |clause: RunningClause| move |witness: &mut StepWitness| witness.registers.clause = Some(clause);
    let digest = clause.digest + Fr::from(1u64);
    assert_eq!(violated(&with(RunningClause { digest, ..clause })), signature, "what ran before");
    let owner = *secret(4).public();
    assert_eq!(violated(&with(RunningClause { owner, ..clause })), signature);
}

/// The same of what a clause starts with: rollup, account, nonce or ticket, and the last height.
#[test]
fn trap_8_a_signature_is_of_one_start_alone() {
    let mut steps = Steps::on(state());
    let pay = StepRecord { flags: flag::END | flag::TICKET, a: 500, c: 1, ..record(Pay::NUMBER, 1, 0) };
    let limits = Limits { least: 0, until: HEIGHT };
    steps.run_within(pay, limits).expect("it can pay");
    let chunk = steps.chunk(1);
    let honest = steps.witness_of(&chunk, 0);
    let signature = BTreeSet::from(["S3, signature"]);
    // The rule gives what suits each change; the signature stays.
    let violated = |pay: StepRecord, limits: Limits, account: Account| {
        let (context, cell) = (steps.context(), Cell::Account(account));
        let applied = steps.machine.apply(&context, &Registers::default(), &cell, &pay, Some(limits));
        let applied = applied.expect("a valid step");
        let mut witness = StepWitness { record: pay, limits, integers: applied.integers, ..honest.clone() };
        (witness.cell.before, witness.cell.after) = (cell, applied.cell);
        violated_in_its_state(&steps.slot(), &chunk, &witness)
    };
    let Cell::Account(account) = honest.cell.before else { panic!("an account") };
    assert_eq!(violated(pay, limits, account), BTreeSet::new());
    assert_eq!(violated(pay, Limits { least: 0, until: HEIGHT + 1 }, account), signature);
    assert_eq!(violated(StepRecord { c: 3, ..pay }, limits, account), signature, "another ticket");
    assert_eq!(violated(StepRecord { flags: flag::END, c: 0, ..pay }, limits, account), signature, "the nonce");
    assert_eq!(
        violated(StepRecord { cell: index(7), ..pay }, limits, account),
        signature,
        "account 7 has the same key"
    );
    let rebased = Account { tickets: Tickets { base: 128, ..account.tickets }, ..account };
    assert_eq!(violated(pay, limits, rebased), signature, "the same place of the next tickets");
    let mut elsewhere = chunk.clone();
    elsewhere.statement.chain_id = ChainId::from_byte_array([9; 15]);
    assert_eq!(violated_in_its_state(&steps.slot(), &elsewhere, &honest), signature);
    // Trap 57: which empty cell is filled is signed, in the circuit too.
    let mut steps = Steps::on(state());
    steps.run_within(record(Pay::NUMBER, 3, 0), limits).expect("a clause begins");
    let _ = steps.chunk(1);
    let open = StepRecord { word: secret(9).public().x(), ..record(Open::NUMBER, EMPTY, flag::END) };
    steps.run(open).expect("an account is opened");
    let chunk = steps.chunk(1);
    let mut witness = steps.witness_of(&chunk, 0);
    witness.record.cell = index(EMPTY + 1);
    assert_eq!(violated_in_its_state(&steps.slot(), &chunk, &witness), signature);
}

#[test]
fn the_rollup_and_the_operations_change_what_is_signed() {
    let mut digests = HashSet::new();
    for chain_id in [ChainId::from_byte_array([1; 15]), ChainId::from_byte_array([2; 15])] {
        for (signer, number, is_ticket) in [(1, 7, false), (2, 7, false), (1, 8, false), (1, 7, true)] {
            let digest = crate::step::clause_digest(chain_id, index(signer), number, is_ticket, Fr::from(0), []);
            assert!(digests.insert(digest));
        }
    }
    // The same step of another set of operations is another step.
    for operations in [0, 1] {
        let step = (record(Pay::NUMBER, 1, flag::END), Limits::default());
        let digest = crate::step::clause_digest(CHAIN_ID, index(1), 7, false, Fr::from(operations), [step]);
        assert!(digests.insert(digest));
    }
}

/// What is not signed is whether the transaction ends there. Which empty cell is filled is signed, although somebody
/// else could fill it first (trap 57): what the signer signs next may name the cell.
#[test]
fn trap_57_whoever_makes_the_transaction_chooses_its_end_alone() {
    let steps = Steps::on(state());
    let honest = message(&steps, &clause()).expect("a clause");
    let mut elsewhere = clause();
    elsewhere[2].0.cell = index(EMPTY + 1);
    assert!(message(&steps, &elsewhere).is_ok_and(|message| message != honest));
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
    // An operation of nobody's has no place in a clause, and one of the signer's none behind its end.
    for anyones in [Session::NUMBER, Read::NUMBER] {
        assert_eq!(refused(&steps, record(anyones, POOL, 0), none), Err(Refusal::ClauseRuns));
    }
    steps.run(record(Receive::NUMBER, 1, flag::END)).expect("the clause ends");
    assert_eq!(refused(&steps, record(Draw::NUMBER, 1, 0), none), Err(Refusal::NoSigner), "trap 41");
    let token = StepRecord { a: 9, ..record(TokenOperation::NUMBER, EMPTY, 0) };
    assert_eq!(refused(&steps, token, none), Err(Refusal::NoSigner), "trap 41");
    assert_eq!(refused(&steps, record(Receive::NUMBER, 1, flag::END), none), Err(Refusal::NoClause));
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

/// A clause may begin in one chunk and end in the next, which can be proven with the registers of the first alone.
#[test]
fn a_clause_runs_across_chunks() {
    let mut steps = Steps::on(state());
    let mut chunks = Vec::new();
    for (record, limits) in clause() {
        steps.run_within(record, limits).expect("a valid clause");
        chunks.push(steps.chunk(2));
        let registers = chunks.last().expect("just made").statement.registers;
        assert_eq!(registers.after, steps.registers.digest(steps.machine.groups()));
    }
    chunks.iter().for_each(|chunk| drop(assign(chunk).expect("a chunk of a step")));
    let registers: Vec<_> = chunks.iter().map(|chunk| chunk.statement.registers).collect();
    assert_eq!([registers[0].after, registers[1].after], [registers[1].before, registers[2].before]);
    assert_eq!((registers[0].before, steps.registers.clause), (Fr::from(0u64), None));
    // The last of them, behind a clause that drew from another account.
    let mut other = chunks[2].clone();
    let witness = steps.alter(&mut other, |witness| {
        let clause = witness.registers.clause.as_mut().expect("a clause runs");
        clause.digest += Fr::from(1u64);
    });
    assert_eq!(violated_in_its_state(&steps.slot(), &other, &witness), BTreeSet::from(["S3, signature"]));
}

/// T3: between PAY and END exactly the signed steps run, in order, once; else none. Of 2,000 clauses, each made of
/// another by leaving out, doubling, exchanging, adding or altering steps, no two have one message, unless they are
/// the same.
#[test]
fn t3_a_signed_clause_runs_whole_and_in_order_or_not_at_all() {
    let mut rng = StdRng::seed_from_u64(3);
    let steps = Steps::on(state());
    let mut signed: HashMap<Message, Clause> = HashMap::new();
    let none = Limits::default();
    let mut refused = 0;
    for _ in 0..2_000 {
        let mut altered = clause();
        altered.insert(2, (StepRecord { a: 4, ..record(Receive::NUMBER, 2, 0) }, Limits { least: 2, until: 0 }));
        for _ in 0..rng.gen_range(1..7) {
            // The first one starts the clause and the last one ends it, whatever is between them.
            let [place, other] = [(); 2].map(|()| rng.gen_range(1..altered.len() - 1));
            match rng.gen_range(0..8) {
                0 if altered.len() > 3 => drop(altered.remove(place)),
                1 => altered.insert(place, altered[place]),
                2 => altered.swap(place, other),
                3 => {
                    let receive = StepRecord { a: rng.gen_range(0..6), ..record(Receive::NUMBER, 2, 0) };
                    altered.insert(place, (receive, none));
                }
                4 => altered[place].0.a += rng.gen_range(0..3),
                5 => altered[place].1.least += rng.gen_range(0..2),
                6 => altered[place].0.flags ^= *[flag::END, flag::SECOND].choose(&mut rng).expect("two flags"),
                _ => altered[place].0.cell = index(*[1, 7].choose(&mut rng).expect("two accounts")),
            }
        }
        match message(&steps, &altered) {
            Ok(message) => {
                let same = signed.entry(message).or_insert_with(|| altered.clone());
                assert_eq!(*same, altered);
            }
            Err(_) => refused += 1,
        }
    }
    assert!(signed.len() > 500 && refused > 200, "{} messages, {refused} refused", signed.len());
    // Once: behind itself a clause is another one, of the next nonce.
    let mut once = Steps::on(state());
    clause().into_iter().for_each(|(record, limits)| once.run_within(record, limits).expect("a valid clause"));
    let mut again = clause();
    again[2].0.cell = index(EMPTY + 1);
    assert!(!signed.contains_key(&message(&once, &again).expect("of the next nonce")));
}
