//! Rule and circuit agree on very many random steps. What runs is all of a slot but its signature, its path and the
//! proof that a new key is one, which have tests of their own and would take most of the time: so what is compared is
//! all that the rule gives.

use super::programs::random_step;
use crate::{
    chunk::{
        Globals, SlotInput, blank_path,
        witness::{CellUpdate, StepWitness},
    },
    gadgets::{baby_jubjub::EdwardsPoint, bits::Bit},
    ops::pools,
    step::{Applied, Fact, Lane, Limits, PoolInteger, Registers, RunningClause, StepError, known_key, known_signature},
    testing::{
        Checker,
        operations::{EMPTY, POOL, TOKEN, state},
        state::{CHAIN_ID, index, secret},
        steps::{HEIGHT, Steps},
    },
};
use ark_bn254::Fr;
use ark_ff::AdditiveGroup;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use rayon::prelude::*;
use std::collections::{BTreeSet, HashMap};
use taproof_verifier::{
    cell::{Cell, Token},
    record::StepRecord,
};

/// A step, and all that it is applied to.
#[derive(Clone, Debug)]
struct Tried {
    registers: Registers,
    cell: Cell,
    record: StepRecord,
    limits: Limits,
}

impl Tried {
    fn rule(&self, steps: &Steps) -> Result<Applied, StepError> {
        let Self { registers, cell, record, limits } = self;
        steps.machine.apply(&steps.context(), registers, cell, record, Some(*limits))
    }

    /// What the circuit says, given these integers and a cell after, of which it takes the tokens and a new key.
    fn circuit(&self, steps: &Steps, integers: Vec<PoolInteger>, after: Cell) -> Proven {
        let Self { registers, cell, record, limits } = *self;
        let slot = steps.slot();
        let new_key = match (cell, after) {
            (Cell::Empty, Cell::Account(account)) => account.owner,
            _ => *known_key(),
        };
        let path = blank_path(steps.state.depth());
        let cell = CellUpdate { index: record.cell, before: cell, after, path };
        let witness = StepWitness { record, limits, registers, signature: known_signature(), cell, integers };
        let mut checker = Checker::default();
        let globals = Globals {
            chain_id: CHAIN_ID.element(),
            height_blocks: Fr::from(HEIGHT),
            token: Fr::from(steps.state.token().0),
            operator: Fr::ZERO,
            depth: steps.state.depth(),
        };
        let active = Bit::witness(&mut checker, true);
        let registers = registers.elements(steps.machine.groups());
        let input = SlotInput { active: &active, registers: &registers };
        let new_key = EdwardsPoint::constant(new_key.point());
        let step = slot.unsigned(&mut checker, &globals, input, &witness, &new_key);
        let (cell, signed) = (step.after.fields, [step.key.x, step.key.y, step.message]);
        Proven { broken: checker.finish(), cell, registers: step.registers, fee: step.fee, signed }
    }
}

/// What the circuit comes to.
struct Proven {
    broken: BTreeSet<&'static str>,
    cell: [Fr; 8],
    registers: Vec<Fr>,
    fee: Fr,
    signed: [Fr; 3],
}

impl Proven {
    /// Checks that all of it is what the rule comes to.
    fn assert_is(&self, applied: &Applied, tried: &Tried) {
        assert_eq!(self.broken, BTreeSet::new(), "the rule accepts {tried:?}");
        assert_eq!(self.cell, applied.cell.elements().0, "{tried:?}");
        assert_eq!(self.registers, applied.registers.all_elements(), "{tried:?}");
        assert_eq!(self.fee, Fr::from(applied.fee), "{tried:?}");
        let signed = match &applied.signed {
            Some((owner, message)) => [owner.x(), owner.y(), message[0]],
            None => [known_key().x(), known_key().y(), Fr::ZERO],
        };
        assert_eq!(self.signed, signed, "{tried:?}");
    }
}

/// Alters one part of a step, or of what it is applied to.
fn alter(rng: &mut StdRng, steps: &Steps, mut tried: Tried) -> Tried {
    let change = |rng: &mut StdRng| match rng.gen_range(0..3) {
        0 => 1,
        1 => 1u64 << rng.gen_range(0..64),
        _ => rng.gen_range(0..1_000),
    };
    let record = &mut tried.record;
    match rng.gen_range(0..10) {
        0 => record.a ^= change(rng),
        1 => record.b ^= change(rng),
        2 => record.c ^= change(rng),
        3 => record.flags ^= 1 << rng.gen_range(0..8),
        4 => record.word += Fr::from(change(rng)),
        5 => {
            let at = *[1, 2, 7, 8, TOKEN, POOL, EMPTY, 63].choose(rng).expect("some cells");
            (record.cell, tried.cell) = (index(at), steps.state.cell(at));
        }
        6 => alter_cell(rng, &mut tried.cell, change),
        7 => {
            tried.limits.least ^= change(rng);
            if rng.r#gen() {
                tried.limits.until = HEIGHT + rng.gen_range(0..3) - 1;
            }
        }
        8 => alter_lanes(rng, &mut tried.registers, change),
        _ => alter_registers(rng, &mut tried.registers),
    }
    tried
}

/// Such as a step can leave: pools have the terms of pools.
fn alter_cell(rng: &mut StdRng, cell: &mut Cell, change: impl Fn(&mut StdRng) -> u64) {
    let before = *cell;
    match cell {
        Cell::Account(account) => match rng.gen_range(0..7) {
            0 => account.balance ^= change(rng),
            1 => account.second.balance ^= change(rng),
            2 => account.token.0 ^= 20,
            3 => account.second.token.0 ^= rng.gen_range(0..64),
            4 => account.nonce = if rng.r#gen() { u32::MAX } else { account.nonce + 1 },
            5 => account.tickets.base = u32::MAX - rng.gen_range(0..100),
            _ => account.tickets.used ^= change(rng),
        },
        Cell::Token(token) => match rng.gen_range(0..4) {
            0 => token.supply ^= change(rng),
            1 => token.cap ^= change(rng),
            2 => token.issuer = index(rng.gen_range(0..9)),
            _ => token.unit ^= change(rng),
        },
        Cell::Pool(pool) => match rng.gen_range(0..6) {
            0 => pool.first.balance ^= change(rng),
            1 => pool.second.balance ^= change(rng),
            2 => pool.supply = pool.supply.wrapping_add(change(rng)).max(1_000),
            3 => pool.average = (pool.average ^ u128::from(change(rng))).max(1 << 16),
            4 => pool.last_height = HEIGHT - rng.gen_range(0..3),
            _ => pool.at_last_session[0] ^= change(rng),
        },
        _ => {}
    }
    if let Cell::Pool(pool) = cell
        && pools::checked(pool).is_err()
    {
        *cell = before;
    }
}

fn alter_lanes(rng: &mut StdRng, registers: &mut Registers, change: impl Fn(&mut StdRng) -> u64) {
    let lane = registers.lanes.choose_mut(rng).expect("three lanes");
    match rng.gen_range(0..3) {
        0 => lane.value += i128::from(change(rng)) - i128::from(change(rng)),
        1 => lane.token = Token(*[0, TOKEN, POOL, EMPTY].choose(rng).expect("four tokens")),
        _ => *lane = Lane::default(),
    }
}

fn alter_registers(rng: &mut StdRng, registers: &mut Registers) {
    match (rng.gen_range(0..4), &mut registers.clause, &mut registers.session) {
        (0, Some(clause), _) => clause.signer = index(rng.gen_range(1..9)),
        (1, Some(clause), _) => clause.owner = *secret(rng.gen_range(1..9)).public(),
        (2, Some(_), _) => registers.clause = None,
        (_, None, None) => {
            let owner = rng.gen_range(1..9);
            let digest = Fr::from(rng.r#gen::<u64>());
            registers.clause =
                Some(RunningClause { signer: index(owner), owner: *secret(owner as u8).public(), digest });
        }
        (0, _, Some(open)) => open.pool = index(POOL + 1),
        (1, _, Some(open)) => open.session.unpaid_x ^= 1,
        (2, _, Some(open)) => open.session.unpaid_y ^= 2,
        (_, _, Some(_)) => registers.session = None,
        (_, Some(clause), None) => clause.digest += Fr::from(1u64),
    }
    if rng.gen_bool(0.2) {
        let [base, quote] = [0, TOKEN].map(Token);
        let fact = Fact { cell: index(POOL), base, quote, average: 3, spot: 4, reserve: 5, height_blocks: HEIGHT - 1 };
        registers.fact = registers.fact.xor(Some(fact));
    }
}

/// How many steps of each outcome were compared.
#[derive(Clone, Copy, Debug, Default)]
struct Compared {
    accepted: usize,
    refused: usize,
}

impl Compared {
    fn and(self, other: Self) -> Self {
        Self { accepted: self.accepted + other.accepted, refused: self.refused + other.refused }
    }
}

/// Compares rule and circuit on the steps of a random program, and on alterations of each.
fn compare(seed: u64) -> Compared {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut steps = Steps::on(state());
    let mut compared = Compared::default();
    // Of each operation, integers and a cell after that were right once, with these limits.
    let mut right: HashMap<u8, (Vec<PoolInteger>, Cell, Limits)> = HashMap::new();
    for _ in 0..350 {
        let (record, limits) = random_step(&mut rng, &steps);
        let cell = steps.state.cell(record.cell.get());
        let tried = Tried { registers: steps.registers, cell, record, limits };
        let accepted = tried.rule(&steps).ok();
        let alterations = if accepted.is_some() { 8 } else { 1 };
        let altered: Vec<_> = (0..alterations).map(|_| alter(&mut rng, &steps, tried.clone())).collect();
        for tried in core::iter::once(tried).chain(altered) {
            match tried.rule(&steps) {
                Ok(applied) => {
                    let integers = applied.integers.clone();
                    tried.circuit(&steps, integers.clone(), applied.cell).assert_is(&applied, &tried);
                    // An integer of another value is the rule's or refused.
                    let mut others = integers.clone();
                    if let Some(integer) = others.choose_mut(&mut rng) {
                        integer.value ^= 1 << rng.gen_range(0..integer.width_bits.min(128));
                        let proven = tried.circuit(&steps, others, applied.cell);
                        assert_ne!(proven.broken, BTreeSet::new(), "a free integer: {tried:?}");
                        compared.refused += 1;
                    }
                    right.insert(tried.record.operation, (integers, applied.cell, tried.limits));
                    compared.accepted += 1;
                }
                Err(error) => {
                    let known = right.get(&tried.record.operation).cloned();
                    let (integers, after, limits) = known.unwrap_or((Vec::new(), tried.cell, Limits::default()));
                    let proven = tried.circuit(&steps, integers, after);
                    if proven.broken.is_empty() {
                        // What the signer holds the step to is among the integers: those are of other limits.
                        let limited = Tried { limits, ..tried };
                        let applied = limited.rule(&steps).unwrap_or_else(|_| panic!("{error}: {limited:?}"));
                        proven.assert_is(&applied, &limited);
                    }
                    compared.refused += 1;
                }
            }
        }
        if let Some(applied) = accepted {
            steps.state.set(record.cell.get(), applied.cell);
            steps.registers = applied.registers;
        }
    }
    compared
}

/// Of what the rule accepts, the circuit proves the same; what the rule refuses, it refuses with the integers of a step
/// that was accepted.
#[test]
fn twins_agree_on_a_hundred_thousand_random_steps() {
    let compared =
        (0..90u64).into_par_iter().map(|seed| compare(30_000 + seed)).reduce(Compared::default, Compared::and);
    let Compared { accepted, refused } = compared;
    assert!(accepted > 15_000 && refused > 30_000 && accepted + refused >= 100_000, "{compared:?}");
}
