//! What the tests of operations share: a state with everything in it, and the search for what holds each relation.
//!
//! A test gives examples: steps that the rule accepts, each where a transaction may have come to. From each example one
//! part at a time is altered - an integer that the circuit takes from its pool, limits among them, the record, the cell
//! before, a register - and the slot runs with all else as it was. So each relation of an operation is looked for
//! in a slot that violates it and no other.

use crate::{
    chunk::{
        self,
        witness::{ChunkWitness, SlotWitnesses, StepWitness},
    },
    exchange::Price,
    step::{Applied, Due, Limits, Registers, StepError, flag, known_signature},
    testing::{
        assert_sound_with,
        state::{State, secret},
        steps::{HEIGHT, Steps},
        violated_in_its_state,
    },
};
use std::collections::{BTreeMap, BTreeSet};
use taproof_verifier::{
    cell::{Account, Cell, CellElements, Holding, Pool, Tickets, Token, TokenCell, TokenName},
    field,
    record::StepRecord,
};

/// The cell of a token that account 1 issues.
pub(crate) const TOKEN: u32 = 20;
/// The cell of a pool of bitcoin and that token.
pub(crate) const POOL: u32 = 30;
/// An empty cell.
pub(crate) const EMPTY: u32 = 50;
/// The token of no account.
pub(crate) const OTHER: u32 = 21;

fn holding(token: u32, balance: u64) -> Holding {
    Holding { token: Token(token), balance }
}

/// Accounts 1 to 6, each with the key of its cell's number, bitcoin, and the token as second holding; 7 with the key of
/// account 1, and shares of the pool as second holding; 8 without a second holding. Tickets from 64 on, of which the
/// first, the third and the last are used.
pub(crate) fn state() -> State {
    let mut state = State::new(2, Token::BITCOIN, 6);
    for number in 1..=8u32 {
        let owner = if number == 7 { 1 } else { number };
        let second = match number {
            7 => holding(POOL, 5_000),
            8 => Holding::default(),
            _ => holding(TOKEN, 5_000_000),
        };
        let account = Account::new(*secret(owner as u8).public(), Token::BITCOIN, 1_000_000);
        let tickets = Tickets { base: 64, used: 1 << 63 | 0b101 };
        state.set(number, Cell::Account(Account { nonce: 7, tickets, second, ..account }));
    }
    let name = TokenName::new("gold").expect("a name");
    let issuer = crate::testing::state::index(1);
    let token = TokenCell { supply: 40_000_000, name, cap: 100_000_000, issuer, decimals: 2, unit: 0 };
    state.set(TOKEN, Cell::Token(token));
    let pool = Pool {
        supply: 1_732_050,
        first: holding(0, 1_000_000),
        second: holding(TOKEN, 3_000_000),
        at_last_session: [1_000_100, 2_999_900],
        average: 3 << 48,
        last_height: HEIGHT - 10,
        fee: 30,
        weight: 2,
        averaging_blocks: 10,
    };
    state.set(POOL, Cell::Pool(pool));
    state
}

/// A step where the rule accepts it.
pub struct Example {
    steps: Steps,
    chunk: ChunkWitness,
}

impl Example {
    /// Runs a step after those that `before` runs.
    pub(crate) fn after(mut before: Steps, record: StepRecord, limits: Limits) -> Self {
        let _ = before.chunk(64);
        before.run_within(record, limits).expect("an example is accepted");
        let chunk = before.chunk(1);
        Self { steps: before, chunk }
    }

    fn witness(&self) -> &StepWitness {
        match &self.chunk.slots {
            SlotWitnesses::Step { slots, .. } => &slots[0],
            other => panic!("{} slots", other.kind()),
        }
    }

    /// The relations that a change violates, in the state that suits it.
    pub(crate) fn violated_with(&self, change: impl FnOnce(&mut StepWitness)) -> BTreeSet<&'static str> {
        let mut witness = self.witness().clone();
        change(&mut witness);
        self.violated(&witness)
    }

    fn violated(&self, witness: &StepWitness) -> BTreeSet<&'static str> {
        violated_in_its_state(&self.steps.slot(), &self.chunk, witness)
    }

    /// What the rule says of a witness's record, cell, registers and limits.
    fn apply(&self, witness: &StepWitness) -> Result<Applied, StepError> {
        let StepWitness { record, limits, registers, cell, .. } = witness;
        self.steps.machine.apply(&self.steps.context(), registers, &cell.before, record, Some(*limits))
    }

    /// Every witness that differs from the example's in one part.
    fn altered(&self) -> Vec<StepWitness> {
        let witness = self.witness();
        let mut all = Vec::new();
        for place in 0..witness.integers.len() {
            let width = witness.integers[place].width_bits;
            for change in [1u128, 1 << (width - 1).min(127), 1 << (width / 2)] {
                let mut altered = witness.clone();
                altered.integers[place].value ^= change;
                all.push(altered);
            }
        }
        let record = witness.record;
        let mut with_record = |record: StepRecord| all.push(StepWitness { record, ..witness.clone() });
        for bit in 0..8 {
            with_record(StepRecord { flags: record.flags ^ 1 << bit, ..record });
        }
        if record.flags & flag::END != 0 {
            // The clause goes on, and nobody signs yet.
            let (record, signature) = (StepRecord { flags: record.flags ^ flag::END, ..record }, known_signature());
            all.push(StepWitness { record, signature, ..witness.clone() });
        }
        let mut with_record = |record: StepRecord| all.push(StepWitness { record, ..witness.clone() });
        for change in [1, 1 << 40, 1 << 63] {
            with_record(StepRecord { a: record.a ^ change, ..record });
            with_record(StepRecord { b: record.b ^ change, ..record });
            with_record(StepRecord { c: record.c ^ change, ..record });
        }
        for part in 0..3 {
            with_record(StepRecord { c: record.c ^ 1 << (14 * part), ..record });
        }
        with_record(StepRecord { word: record.word + ark_bn254::Fr::from(1u64), ..record });
        for before in altered_cells(&witness.cell.before) {
            let mut altered = witness.clone();
            altered.cell.before = before;
            all.push(altered);
        }
        for registers in altered_registers(&witness.registers) {
            all.push(StepWitness { registers, ..witness.clone() });
        }
        all
    }
}

/// A cell with one part changed, in each way that leaves a cell that can be read.
fn altered_cells(cell: &Cell) -> Vec<Cell> {
    let elements = cell.elements().0;
    let one = field::pack([(1, 1)]);
    let powers = [0u64, 14, 16, 32, 48, 64, 96, 104].map(|bits| ark_ff::Field::pow(&ark_bn254::Fr::from(2u64), [bits]));
    let mut all = Vec::new();
    for place in 1..8 {
        for power in powers {
            for change in [power, -power] {
                let mut altered = elements;
                altered[place] += change;
                all.extend(CellElements(altered).cell());
            }
        }
    }
    all.push(if elements[0] == one { Cell::Empty } else { state().cell(2) });
    all.retain(|altered| altered != cell && can_be(altered));
    all
}

/// Whether a step could have left such a cell: no pool comes to have other terms than those it can be founded with.
fn can_be(cell: &Cell) -> bool {
    match cell {
        Cell::Pool(pool) => crate::ops::pools::checked(pool).is_ok() && pool.average >= Price::AVERAGE_MIN.bits(),
        _ => true,
    }
}

fn altered_registers(registers: &Registers) -> Vec<Registers> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Registers)| {
        let mut altered = *registers;
        change(&mut altered);
        all.push(altered);
    };
    for lane in 0..3 {
        for value in [1, -1, 1 << 63, -(1 << 64)] {
            with(&|registers| registers.lanes[lane].value += value);
        }
        with(&|registers| registers.lanes[lane].token.0 += 1);
        with(&|registers| registers.lanes[lane].token.0 += 40);
    }
    with(&|registers| registers.clause = None);
    if let Some(clause) = registers.clause {
        let other = *secret(9).public();
        with(&|registers| registers.clause = Some(crate::step::RunningClause { owner: other, ..clause }));
        let signer = crate::testing::state::index(clause.signer.get() + 1);
        with(&|registers| registers.clause = Some(crate::step::RunningClause { signer, ..clause }));
    }
    for (number, due) in registers.dues.into_iter().enumerate() {
        let Some(Due { account, token, amount }) = due else { continue };
        let other = crate::testing::state::index(account.get() + 1);
        let changes = [(other, token, amount), (account, Token(token.0 + 1), amount), (account, token, amount ^ 1)];
        for (account, token, amount) in changes {
            with(&|registers| registers.dues[number] = Some(Due { account, token, amount }));
        }
        with(&|registers| registers.dues[number] = None);
    }
    if let Some(open) = registers.session {
        type Change<'a> = &'a dyn Fn(&mut crate::step::OpenSession);
        let changes: [Change<'_>; 8] = [
            &|open| open.pool = crate::testing::state::index(open.pool.get() + 1),
            &|open| open.tokens[0].0 += 1,
            &|open| open.tokens[1].0 += 1,
            &|open| open.session.n += 1 << 60,
            &|open| open.session.d += 1 << 60,
            &|open| open.session.unpaid_x ^= 1,
            &|open| open.session.unpaid_y ^= 1,
            &|open| open.session.fee += 1,
        ];
        for change in changes {
            let mut altered = open;
            change(&mut altered);
            with(&|registers| registers.session = Some(altered));
        }
        with(&|registers| registers.session = None);
    }
    if registers.fact.is_none() {
        let cell = crate::testing::state::index(3);
        let fact = crate::step::Fact {
            cell,
            base: Token(1),
            quote: Token(2),
            average: 3,
            spot: 4,
            reserve: 5,
            height_blocks: 6,
        };
        with(&|registers| registers.fact = Some(fact));
    }
    all
}

/// Checks that the circuit accepts the steps that were run, each in its slot.
pub(crate) fn assert_satisfied(steps: &mut Steps) {
    let count = steps.count();
    let chunk = steps.chunk(count);
    chunk::assign(&steps.machines(), &chunk).expect("what the rule accepts, the circuit does");
}

/// Checks that the circuit accepts the steps that were run, each in its slot, and that no wire can change alone.
pub(crate) fn assert_all_sound(steps: &mut Steps) {
    let count = steps.count();
    let chunk = steps.chunk(count);
    assert_sound_with(&steps.machines(), &chunk);
}

/// Checks examples of one operation: they are sound, no wire of them can change alone, rule and circuit agree on what
/// is altered, and each of the relations, which are all that the operation holds, is violated alone by something that
/// is altered.
///
/// # Panics
/// If there is no example, or one of this does not hold.
pub fn assert_operation(examples: &[Example], relations: &[&'static str]) {
    let operation = examples[0].witness().record.operation;
    let machine = examples[0].steps.machine.clone();
    let known = machine.operations().iter().find(|known| known.description.number == operation);
    let held = known.expect("an operation of the set").circuit.relations();
    assert_eq!(relations.iter().copied().collect::<BTreeSet<_>>(), held, "the relations that hold something");
    let mut alone: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for example in examples {
        assert_sound_with(&example.steps.machines(), &example.chunk);
        let integers = &example.witness().integers;
        for altered in example.altered() {
            let violated = example.violated(&altered);
            // The circuit makes the cell after by itself; signatures apart, a witness has nothing else.
            let is_what_the_rule_makes =
                example.apply(&altered).is_ok_and(|applied| applied.integers == altered.integers);
            if violated.is_empty() {
                let rule = example.apply(&altered).map(|applied| applied.integers);
                let (record, held) = (altered.record, altered.integers);
                let text = "the circuit accepts what the rule refuses";
                assert!(is_what_the_rule_makes, "{text}: {record:?}, {held:?} for {integers:?}, rule {rule:?}");
            }
            let of_operation: BTreeSet<_> = violated.iter().copied().filter(|name| relations.contains(name)).collect();
            seen.extend(&of_operation);
            if violated.len() == 1 {
                of_operation.into_iter().for_each(|name| *alone.entry(name).or_default() += 1);
            }
        }
    }
    let missing: Vec<_> = relations.iter().filter(|name| !alone.contains_key(*name)).collect();
    assert!(missing.is_empty(), "nothing violates these alone: {missing:?}; at all: {seen:?}");
}
