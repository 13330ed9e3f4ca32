//! Conservation as a theorem: whatever an operation does, even a faulty one, no value of a token is made but by the
//! cell of that token's index.

use crate::{
    chunk::witness::StepWitness,
    step::{
        Authority, Description, Groups, Integer, Limits, Machine, MachineError, Operation, PoolInteger, Refusal,
        Registers, Step, StepCircuit, StepContext,
    },
    testing::operations::{POOL, TOKEN, state},
    testing::{
        owing::{Owe, owing},
        state::index,
        steps::{Steps, record},
        violated_in_its_state,
    },
};
use proptest::prelude::*;
use std::{collections::BTreeMap, sync::Arc};
use taproof_verifier::{
    cell::{Account, Cell, Pool, Token, TokenCell},
    operation::{Check, Columns},
    record::StepRecord,
};

/// An operation that sets whatever it can to what the record says: tokens, amounts, nonce or supply, its own elements,
/// a fee. Rule and circuit do the same, and check nothing.
#[derive(Debug)]
pub(super) struct Faulty {
    pub(super) kind: u8,
    pub(super) number: u8,
}

impl Operation for Faulty {
    fn description(&self) -> Description {
        Description {
            number: self.number,
            name: "FAULTY",
            columns: Columns::ALL,
            check: Check::None,
            flags: 0xfc,
            kind_before: self.kind,
            kind_after: self.kind,
            authority: Authority::Either,
            in_session: false,
            writes: Groups::ALWAYS,
        }
    }

    fn apply(&self, step: &mut Step<'_>) -> Result<(), Refusal> {
        let StepRecord { a, b, c, .. } = *step.record();
        let (low, high) = (c as u32, (c >> 32) as u32);
        step.integer(low, 32);
        step.integer(high, 32);
        if step.flag(1 << 7) {
            step.add_fee(0, a);
        }
        let cell = match *step.before() {
            Cell::Account(mut account) => {
                (account.token, account.second.token) = (Token(low), Token(high));
                (account.balance, account.second.balance) = (a, b);
                Cell::Account(account)
            }
            Cell::Token(token) => Cell::Token(TokenCell { supply: a, ..token }),
            Cell::Pool(mut pool) => {
                (pool.first.token, pool.second.token) = (Token(low), Token(high));
                (pool.first.balance, pool.second.balance, pool.supply) = (a, b, a);
                Cell::Pool(pool)
            }
            ref other => panic!("{other:?}"),
        };
        step.put(cell);
        Ok(())
    }

    fn synthesize(&self, step: &mut StepCircuit) {
        let [low, high] = [32, 32].map(|width| step.integer(width));
        step.relation("FAULTY, halves of c");
        step.require_equal(step.c(), Integer::pack([(low.clone(), 32), (high.clone(), 32)]));
        let flag = step.flag(1 << 7);
        let fee = step.product(step.a(), flag);
        step.add_fee(0, fee);
        if self.kind != TokenCell::KIND {
            step.set_token(low);
            step.set_second_token(high);
            step.set_amount(step.a());
            step.set_second_amount(step.b());
        }
        if self.kind != Account::KIND {
            step.set_supply(step.a());
        }
    }
}

fn machine() -> Arc<Machine> {
    let kinds = [(Account::KIND, 200), (TokenCell::KIND, 201), (Pool::KIND, 202)];
    let operations = kinds.map(|(kind, number)| Arc::new(Faulty { kind, number }) as Arc<dyn Operation>);
    Arc::new(Machine::new(operations.to_vec()).expect("a set"))
}

/// What exists of each token, less what its own cell has minted: in the cell and in motion.
fn held(index: u32, cell: &Cell, registers: &Registers) -> BTreeMap<u32, i128> {
    let mut sums = BTreeMap::new();
    let holdings = cell.holdings().map(|holding| (holding.token.0, i128::from(holding.balance)));
    let lanes = registers.lanes.map(|lane| (lane.token.0, lane.value));
    for (token, amount) in holdings.into_iter().chain(lanes) {
        *sums.entry(token).or_default() += amount;
    }
    *sums.entry(index).or_default() -= i128::from(cell.supply().unwrap_or(0));
    sums.retain(|_, amount| *amount != 0);
    sums
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// The rule refuses or conserves, the circuit accepts exactly what the rule does, and no faulty operation mints
    /// bitcoin.
    #[test]
    fn a_faulty_operation_makes_no_value(
        which in 0usize..3, a: u64, b: u64, shifts in [0u32..64, 0..64], tokens in prop::array::uniform2(0u32..32),
        same: bool, takes_fee: bool, lanes in prop::array::uniform3((0u32..32, -3i128..3)),
    ) {
        let (cell, number) = [(1, 200), (TOKEN, 201), (POOL, 202)][which];
        let mut steps = Steps::on(state());
        steps.machine = machine();
        let before = steps.state.cell(cell);
        let holdings = before.holdings();
        let [low, high] = if same { holdings.map(|holding| holding.token.0) } else { tokens };
        let flags = if takes_fee { 1 << 7 } else { 0 };
        let c = u64::from(low) | u64::from(high) << 32;
        let record =
            StepRecord { a: a >> shifts[0], b: b >> shifts[1], c, ..record(number, cell, flags) };
        steps.registers.lanes =
            lanes.map(|(token, value)| crate::step::Lane { token: Token(token), value: value << shifts[0] });
        let registers = steps.registers;
        match steps.apply(&record, Limits::default()) {
            Ok(applied) => {
                let mut after = held(cell, &applied.cell, &applied.registers);
                *after.entry(0).or_default() += i128::from(applied.fee);
                after.retain(|_, amount| *amount != 0);
                prop_assert_eq!(held(cell, &before, &registers), after);
                steps.run(record).expect("it was applied");
                let chunk = steps.chunk(1);
                let witness = steps.witness_of(&chunk, 0);
                prop_assert_eq!(violated_in_its_state(&steps.slot(), &chunk, &witness), Default::default());
            }
            Err(error) => {
                // The same in the circuit: the lanes, the token of a holding or of the fee, and nothing of the
                // operation's.
                let refused = error.refusal;
                let integers = [low, high].map(|value| PoolInteger { value: value.into(), width_bits: 32 });
                let mut empty = Steps::on(state());
                empty.machine = machine();
                let untouched = StepRecord {
                    a: holdings[0].balance.max(before.supply().unwrap_or(0)),
                    b: holdings[1].balance,
                    c: u64::from(holdings[0].token.0) | u64::from(holdings[1].token.0) << 32,
                    flags: 0,
                    ..record
                };
                let chunk = match which {
                    2 => return Ok(()),
                    _ => {
                        empty.run(untouched).expect("nothing changes");
                        empty.chunk(1)
                    }
                };
                let honest = empty.witness_of(&chunk, 0);
                let witness = StepWitness { record, registers, integers: integers.to_vec(), ..honest };
                let violated = violated_in_its_state(&empty.slot(), &chunk, &witness);
                let expected = match refused {
                    Refusal::NoLane(_) => "S5, lanes",
                    Refusal::TokenChanged => "S5, token of a holding",
                    Refusal::FeeToken { .. } => "S5, token of the fee",
                    other => panic!("{other}"),
                };
                prop_assert!(violated.contains(expected), "{:?} for {}", violated, refused);
            }
        }
    }
}

/// Trap 1 and the theorem's edge: bitcoin is the token of cell 0, and no step has cell 0.
#[test]
fn trap_1_nobody_mints_bitcoin() {
    let machine = machine();
    let steps = Steps::on(state());
    let context = StepContext { ..steps.context() };
    let Cell::Token(token) = steps.state.cell(TOKEN) else { panic!("a token") };
    let mint = StepRecord { a: token.supply + 1, ..record(201, 0, 0) };
    let refusal = machine.apply(&context, &Registers::default(), &Cell::Token(token), &mint, None);
    assert_eq!(refusal.expect_err("cell 0").refusal, Refusal::Nobody);
    let minted = StepRecord { cell: index(TOKEN), ..mint };
    let applied = machine.apply(&context, &Registers::default(), &Cell::Token(token), &minted, None).expect("its own");
    assert_eq!(applied.registers.lanes[0].token, Token(TOKEN));
}

/// Sets an amount twice: the changes would add up to more than 64 bits, or to less than zero.
#[test]
#[should_panic(expected = "Amount is set twice")]
fn nothing_is_set_twice() {
    let mut circuit = StepCircuit::new();
    circuit.set_amount(circuit.a());
    circuit.set_amount(circuit.b());
}

/// A faulty operation that turns a cell into one of another kind.
#[derive(Debug)]
struct Turns([u8; 2], Cell);

impl Operation for Turns {
    fn description(&self) -> Description {
        let faulty = Faulty { kind: Account::KIND, number: 200 };
        let Self([kind_before, kind_after], _) = *self;
        Description { kind_before, kind_after, ..faulty.description() }
    }

    fn apply(&self, step: &mut Step<'_>) -> Result<(), Refusal> {
        step.put(self.1);
        Ok(())
    }

    fn synthesize(&self, _: &mut StepCircuit) {}
}

/// The supply of a cell is what its flows are counted against: a cell that came to have one otherwise, or lost it,
/// would have minted what nobody holds, or nothing of what is held.
#[test]
fn a_supply_stays_with_its_kind() {
    let (account, token, pool) = (Account::KIND, TokenCell::KIND, Pool::KIND);
    let made = |kinds| Machine::new(vec![Arc::new(Turns(kinds, Cell::Empty))]).map(drop);
    for kinds in [[token, account], [account, token], [pool, token], [token, pool], [pool, 0], [token, 0]] {
        assert_eq!(made(kinds), Err(MachineError::ChangesSupply(200)), "{kinds:?}");
    }
    for kinds in [[0, token], [0, pool], [token, token], [pool, pool], [0, account], [account, account], [account, 0]] {
        assert_eq!(made(kinds), Ok(()), "{kinds:?}");
    }
    let starts = Machine::new(vec![Arc::new(Starts)]).map(drop);
    assert_eq!(starts, Err(MachineError::StartsWithoutAccount(200)));
}

/// An operation that would start a clause of a token's owner, who is nobody.
#[derive(Debug)]
struct Starts;

impl Operation for Starts {
    fn description(&self) -> Description {
        Description { authority: Authority::Starts, ..Faulty { kind: TokenCell::KIND, number: 200 }.description() }
    }

    fn apply(&self, _: &mut Step<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn synthesize(&self, _: &mut StepCircuit) {}
}

/// What a rule makes that the circuit could not: a cell of another kind than is said, fees beyond 64 bits, nothing
/// owed.
#[test]
fn the_rule_refuses_what_no_circuit_has() {
    let mut steps = Steps::on(state());
    let turned = Turns([Account::KIND; 2], steps.state.cell(TOKEN));
    steps.machine = Arc::new(Machine::new(vec![Arc::new(turned)]).expect("a set"));
    let refusal = steps.apply(&record(200, 1, 0), Limits::default()).expect_err("a token is no account");
    assert_eq!(refusal.refusal, Refusal::WrongCell { expected: Account::KIND, found: TokenCell::KIND });
    steps.machine = Arc::new(Machine::new(vec![Arc::new(Overpays)]).expect("a set"));
    let refusal = steps.apply(&record(200, 8, 0), Limits::default()).expect_err("2^64");
    assert_eq!(refusal.refusal, Refusal::Overflow { what: "the fee", width_bits: 64 });
    steps.machine = owing();
    let refusal = steps.apply(&Owe::record(2, 0, 0), Limits::default()).expect_err("nothing is owed");
    assert_eq!(refusal.refusal, Refusal::Zero("what is owed"));
}

/// An operation whose fees are 2^64.
#[derive(Debug)]
struct Overpays;

impl Operation for Overpays {
    fn description(&self) -> Description {
        Faulty { kind: Account::KIND, number: 200 }.description()
    }

    fn apply(&self, step: &mut Step<'_>) -> Result<(), Refusal> {
        step.add_fee(0, u64::MAX);
        step.add_fee(1, 1);
        Ok(())
    }

    fn synthesize(&self, _: &mut StepCircuit) {}
}

#[test]
#[should_panic(expected = "64 bits, not 65")]
fn an_amount_is_an_integer_of_64_bits() {
    let mut circuit = StepCircuit::new();
    let wide = circuit.integer(65);
    circuit.set_amount(wide);
}

#[test]
#[should_panic(expected = "32 bits, not 64")]
fn a_token_is_an_integer_of_32_bits() {
    let mut circuit = StepCircuit::new();
    let wide = circuit.a();
    circuit.set_token(wide);
}

#[test]
#[should_panic(expected = "an integer of 64 bits in 32")]
fn packed_integers_have_their_places() {
    let circuit = StepCircuit::new();
    let _ = Integer::pack([(circuit.a(), 32), (circuit.b(), 64)]);
}
