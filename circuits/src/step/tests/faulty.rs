//! Conservation as a theorem, of programs: operations that are made up at random, each of what can be written against
//! [`StepCircuit`], run among the standard ones, and of no token anything is made but by its own cell.

use super::{
    probes::machine_with,
    programs::{random_step, totals},
};
use crate::{
    chunk,
    step::{Authority, Description, Groups, Integer, Limits, Machines, Operation, Refusal, Step, StepCircuit},
    testing::{
        operations::{OTHER, POOL, TOKEN, state},
        state::{OPERATOR, index},
        steps::Steps,
    },
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use taproof_verifier::{
    cell::{Account, Cell, CellIndex, Pool, Token, TokenCell},
    operation::{Check, Columns},
    record::StepRecord,
};

/// An integer that a formula takes: of the record, of the cell before, a constant, or what an earlier formula gave.
#[derive(Clone, Copy, Debug)]
enum Term {
    A,
    B,
    LowOfC,
    HighOfC,
    Amount,
    SecondAmount,
    Token,
    SecondToken,
    Count,
    Cell,
    Height,
    Constant(u32),
    Earlier(usize),
}

impl Term {
    /// One of 32 bits.
    fn narrow(rng: &mut StdRng) -> Self {
        let constant = Self::Constant(*[0, TOKEN, OTHER, POOL].choose(rng).expect("four tokens"));
        *[Self::LowOfC, Self::HighOfC, Self::Token, Self::SecondToken, Self::Cell, Self::Height, constant]
            .choose(rng)
            .expect("some terms")
    }

    /// Any one, where so many formulas have been given.
    fn any(rng: &mut StdRng, given: usize) -> Self {
        match rng.gen_range(0..10) {
            0 => Self::A,
            1 => Self::B,
            2 => Self::Amount,
            3 => Self::SecondAmount,
            4 => Self::Count,
            5..=7 if given > 0 => Self::Earlier(rng.gen_range(0..given)),
            _ => Self::narrow(rng),
        }
    }
}

/// What gives an integer of 64 bits.
#[derive(Clone, Copy, Debug)]
enum Formula {
    Sum(Term, Term),
    Difference(Term, Term),
    /// floor(x y / z).
    Part(Term, Term, Term),
    /// By the flag of that bit.
    Choice(u8, Term, Term),
    /// All that is in motion of the token of the cell itself.
    OwnLane,
    /// All that is in motion of the first holding's token, as it is after the step.
    FirstLane,
}

impl Formula {
    fn random(rng: &mut StdRng, given: usize) -> Self {
        let [x, y, z] = [(); 3].map(|()| Term::any(rng, given));
        match rng.gen_range(0..6) {
            0 => Self::Sum(x, y),
            1 => Self::Difference(x, y),
            2 => Self::Part(x, y, z),
            3 => Self::Choice(rng.gen_range(2..8), x, y),
            4 => Self::OwnLane,
            _ => Self::FirstLane,
        }
    }
}

/// What an operation sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Token,
    SecondToken,
    Amount,
    SecondAmount,
    /// The nonce of an account, the supply of another cell.
    Count,
    /// What the kind packs into 32 bits of its own: the base of tickets, the issuer, the height of the last session.
    Own32,
    /// The same of 64 bits: the tickets used, the cap, a reserve after the last session.
    Own64,
    Fee,
    SecondFee,
}

/// An operation that sets whatever it happens to.
#[derive(Debug)]
struct Made {
    number: u8,
    kind: u8,
    authority: Authority,
    in_session: bool,
    formulas: Vec<Formula>,
    sets: BTreeMap<Place, Term>,
}

impl Made {
    fn random(rng: &mut StdRng, number: u8) -> Self {
        let kind = *[Account::KIND, Account::KIND, TokenCell::KIND, Pool::KIND].choose(rng).expect("three kinds");
        let formulas: Vec<_> = (0..rng.gen_range(0..4)).map(|given| Formula::random(rng, given)).collect();
        let narrow = [Place::Token, Place::SecondToken, Place::Own32];
        let wide = [Place::Amount, Place::SecondAmount, Place::Own64, Place::Fee, Place::SecondFee];
        let mut sets = BTreeMap::new();
        sets.extend(narrow.map(|place| (place, Term::narrow(rng))));
        sets.extend(wide.map(|place| (place, Term::any(rng, formulas.len()))));
        let count = if kind == Account::KIND { Term::narrow(rng) } else { Term::any(rng, formulas.len()) };
        sets.insert(Place::Count, count);
        // A token's cell holds nothing, and has no place to.
        let has = |place: Place| kind != TokenCell::KIND || [Place::Count, Place::Own32, Place::Own64].contains(&place);
        sets.retain(|place, _| {
            let likely = if [Place::Fee, Place::SecondFee].contains(place) { 0.2 } else { 0.6 };
            has(*place) && rng.gen_bool(likely)
        });
        let authority = *[Authority::Either, Authority::Either, Authority::Anyone, Authority::Signer]
            .choose(rng)
            .expect("three authorities");
        Self { number, kind, authority, in_session: rng.r#gen(), formulas, sets }
    }

    /// A record that it is likelier to do something with.
    fn record(&self, rng: &mut StdRng, steps: &Steps) -> StepRecord {
        let is_one = |at: &u32| *at != OPERATOR && steps.state.cell(*at).kind() == self.kind;
        let cells: Vec<u32> = (1..64).filter(is_one).collect();
        let cell = *cells.choose(rng).expect("there are cells of each kind");
        let holdings = steps.state.cell(cell).holdings();
        let tokens = match rng.gen_range(0..10) {
            0 => [TOKEN, OTHER],
            1 => [rng.r#gen(), 0],
            _ => holdings.map(|holding| holding.token.0),
        };
        let mut amount = |held: u64| match rng.gen_range(0..6) {
            0 => rng.r#gen(),
            1 => held,
            2 => held / 2,
            3 => steps.registers.lanes[rng.gen_range(0..3)].value.unsigned_abs() as u64,
            _ => rng.gen_range(0..10_000),
        };
        let [a, b] = holdings.map(|holding| amount(holding.balance));
        let c = u64::from(tokens[0]) | u64::from(tokens[1]) << 32;
        // Now and then END or DONE.
        let flags = rng.r#gen::<u8>() & (rng.r#gen::<u8>() & rng.r#gen::<u8>() | 0xfc);
        StepRecord { flags, cell: index(cell), a, b, c, ..StepRecord::new(self.number) }
    }

    fn value(step: &Step<'_>, given: &[u64], term: Term) -> u64 {
        let StepRecord { a, b, c, cell, .. } = *step.record();
        let [first, second] = step.before().holdings();
        match term {
            Term::A => a,
            Term::B => b,
            Term::LowOfC => c & u64::from(u32::MAX),
            Term::HighOfC => c >> 32,
            Term::Amount => first.balance,
            Term::SecondAmount => second.balance,
            Term::Token => first.token.0.into(),
            Term::SecondToken => second.token.0.into(),
            Term::Count => match step.before() {
                Cell::Account(account) => account.nonce.into(),
                other => other.supply().unwrap_or(0),
            },
            Term::Cell => cell.get().into(),
            Term::Height => step.height_blocks().into(),
            Term::Constant(constant) => constant.into(),
            Term::Earlier(number) => given[number],
        }
    }

    fn formula(step: &mut Step<'_>, given: &[u64], first_token: Token, formula: Formula) -> Result<u64, Refusal> {
        let value = |step: &Step<'_>, term| Self::value(step, given, term);
        let of_lane = |step: &mut Step<'_>, token| {
            let whole = step.whole_lane(token)?;
            step.integer(whole, 64);
            Ok(whole)
        };
        match formula {
            Formula::Sum(x, y) => step.sum(value(step, x), value(step, y), "a sum"),
            Formula::Difference(x, y) => {
                step.difference(value(step, x), value(step, y).into(), Refusal::Own("less than nothing"))
            }
            Formula::Part(x, y, z) => {
                let [x, y, z] = [x, y, z].map(|term| u128::from(value(step, term)));
                step.multiply_divide([x, y], z, 64, 64).map(|quotient| quotient as u64)
            }
            Formula::Choice(bit, x, y) => Ok(value(step, if step.flag(1 << bit) { x } else { y })),
            Formula::OwnLane => of_lane(step, Token(step.record().cell.get())),
            Formula::FirstLane => of_lane(step, first_token),
        }
    }

    /// The parts of what a kind packs for itself, as the circuit takes them.
    fn unpack(step: &mut Step<'_>) {
        match *step.before() {
            Cell::Account(account) => {
                step.integer(account.tickets.base, 32);
                step.integer(account.tickets.used, 64);
            }
            Cell::Token(token) => {
                step.integer(token.cap, 64);
                step.integer(token.issuer.get(), 32);
                step.integer(token.decimals, 8);
            }
            Cell::Pool(pool) => {
                pool.at_last_session.into_iter().for_each(|reserve| step.integer(reserve, 64));
                step.integer(pool.average, 96);
                step.integer(pool.last_height, 32);
            }
            ref other => panic!("{other:?}"),
        }
    }

    /// The twin of [`Made::unpack`] and of what is set of it.
    fn pack(&self, step: &mut StepCircuit, own32: Option<Integer>, own64: Option<Integer>) {
        match self.kind {
            Account::KIND => {
                let [base, used] = [32, 64].map(|width| step.integer(width));
                step.require_equal(step.own(2), Integer::pack([(base.clone(), 32), (used.clone(), 64)]));
                let (base, used) = (own32.unwrap_or(base), own64.unwrap_or(used));
                step.set_own(2, Integer::pack([(base, 32), (used, 64)]));
            }
            TokenCell::KIND => {
                let [cap, issuer, decimals] = [64, 32, 8].map(|width| step.integer(width));
                let terms = [(cap.clone(), 64), (issuer.clone(), 32), (decimals.clone(), 8)];
                step.require_equal(step.own(1), Integer::pack(terms));
                let (cap, issuer) = (own64.unwrap_or(cap), own32.unwrap_or(issuer));
                step.set_own(1, Integer::pack([(cap, 64), (issuer, 32), (decimals, 8)]));
            }
            _ => {
                let [x, y] = [64, 64].map(|width| step.integer(width));
                step.require_equal(step.own(0), Integer::pack([(x.clone(), 64), (y.clone(), 64)]));
                let [average, last] = [96, 32].map(|width| step.integer(width));
                step.require_equal(step.own(1), Integer::pack([(average.clone(), 96), (last.clone(), 32)]));
                step.set_own(0, Integer::pack([(own64.unwrap_or(x), 64), (y, 64)]));
                step.set_own(1, Integer::pack([(average, 96), (own32.unwrap_or(last), 32)]));
            }
        }
    }
}

impl Operation for Made {
    fn description(&self) -> Description {
        let Self { number, kind, authority, in_session, .. } = *self;
        Description {
            number,
            name: "MADE",
            columns: Columns::ALL,
            check: Check::None,
            flags: 0xfc,
            kind_before: kind,
            kind_after: kind,
            authority,
            in_session,
            writes: Groups::ALWAYS,
        }
    }

    fn apply(&self, step: &mut Step<'_>) -> Result<(), Refusal> {
        let c = step.record().c;
        step.integer(c & u64::from(u32::MAX), 32);
        step.integer(c >> 32, 32);
        let set =
            |step: &Step<'_>, given: &[u64], place| self.sets.get(&place).map(|term| Self::value(step, given, *term));
        let first_token = match set(step, &[], Place::Token) {
            Some(token) => Token(token as u32),
            None => step.before().holdings()[0].token,
        };
        let mut given = Vec::new();
        for formula in &self.formulas {
            let value = Self::formula(step, &given, first_token, *formula)?;
            given.push(value);
        }
        Self::unpack(step);
        let set = |place| set(step, &given, place);
        let [mut first, mut second] = step.before().holdings();
        first.token = first_token;
        second.token = set(Place::SecondToken).map_or(second.token, |token| Token(token as u32));
        first.balance = set(Place::Amount).unwrap_or(first.balance);
        second.balance = set(Place::SecondAmount).unwrap_or(second.balance);
        let (count, own32, own64) = (set(Place::Count), set(Place::Own32).map(|own| own as u32), set(Place::Own64));
        let cell = match *step.before() {
            Cell::Account(mut account) => {
                (account.token, account.balance, account.second) = (first.token, first.balance, second);
                account.nonce = count.map_or(account.nonce, |nonce| nonce as u32);
                account.tickets.base = own32.unwrap_or(account.tickets.base);
                account.tickets.used = own64.unwrap_or(account.tickets.used);
                Cell::Account(account)
            }
            Cell::Token(mut token) => {
                token.supply = count.unwrap_or(token.supply);
                token.cap = own64.unwrap_or(token.cap);
                let issuer = own32.map_or(Some(token.issuer), CellIndex::new);
                token.issuer = issuer.ok_or(Refusal::Own("there is no such account"))?;
                Cell::Token(token)
            }
            Cell::Pool(mut pool) => {
                (pool.first, pool.second) = (first, second);
                pool.supply = count.unwrap_or(pool.supply);
                pool.last_height = own32.unwrap_or(pool.last_height);
                pool.at_last_session[0] = own64.unwrap_or(pool.at_last_session[0]);
                Cell::Pool(pool)
            }
            ref other => panic!("{other:?}"),
        };
        let fees = [Place::Fee, Place::SecondFee].map(set);
        step.put(cell);
        for (holding, fee) in fees.into_iter().enumerate() {
            if let Some(fee) = fee {
                step.add_fee(holding, fee);
            }
        }
        Ok(())
    }

    fn synthesize(&self, step: &mut StepCircuit) {
        step.relation("MADE, halves of c");
        let [low, high] = [32, 32].map(|width| step.integer(width));
        step.require_equal(step.c(), Integer::pack([(low.clone(), 32), (high.clone(), 32)]));
        let integer = |step: &StepCircuit, given: &[Integer], term| match term {
            Term::A => step.a(),
            Term::B => step.b(),
            Term::LowOfC => low.clone(),
            Term::HighOfC => high.clone(),
            Term::Amount => step.amount(),
            Term::SecondAmount => step.second_amount(),
            Term::Token => step.token(),
            Term::SecondToken => step.second_token(),
            Term::Count => step.count(),
            Term::Cell => step.cell(),
            Term::Height => step.height(),
            Term::Constant(constant) => Integer::constant(constant.into()),
            Term::Earlier(number) => given[number].clone(),
        };
        step.relation("MADE, formulas");
        let mut given = Vec::new();
        for formula in &self.formulas {
            let of = |step: &StepCircuit, term| integer(step, &given, term);
            let integer = match *formula {
                Formula::Sum(x, y) => step.range(of(step, x) + of(step, y), 64),
                Formula::Difference(x, y) => step.range(of(step, x) - of(step, y), 64),
                Formula::Part(x, y, z) => {
                    let factors = [x, y].map(|term| of(step, term).expression());
                    let [quotient, _] = step.multiply_divide(factors, of(step, z), 64, 64);
                    quotient
                }
                Formula::Choice(bit, x, y) => step.select(&step.flag(1 << bit), &of(step, x), &of(step, y)),
                Formula::OwnLane => step.range(step.lane_of_own(), 64),
                Formula::FirstLane => step.range(step.lane_of_first(), 64),
            };
            given.push(integer);
        }
        step.relation("MADE, results");
        let set = |step: &StepCircuit, place| self.sets.get(&place).map(|term| integer(step, &given, *term));
        let [own32, own64] = [Place::Own32, Place::Own64].map(|place| set(step, place));
        self.pack(step, own32, own64);
        type Setter = fn(&mut StepCircuit, Integer);
        let is_account = self.kind == Account::KIND;
        let setters: [(Place, Setter); 7] = [
            (Place::Token, StepCircuit::set_token),
            (Place::SecondToken, StepCircuit::set_second_token),
            (Place::Amount, StepCircuit::set_amount),
            (Place::SecondAmount, StepCircuit::set_second_amount),
            (Place::Count, if is_account { StepCircuit::set_nonce } else { StepCircuit::set_supply }),
            (Place::Fee, |step, fee| step.add_fee(0, fee)),
            (Place::SecondFee, |step, fee| step.add_fee(1, fee)),
        ];
        for (place, setter) in setters {
            if let Some(value) = set(step, place) {
                setter(step, value);
            }
        }
    }
}

/// The rule refuses or conserves whatever operations are, and every chunk of what it accepts can be proven: so after
/// each step, of each token, what cells hold, what is in motion and what was paid in fees, less what its own cell has
/// minted, is what it was. Bitcoin has no cell that mints it.
#[test]
fn t1_no_operation_makes_value_of_another_cells_token() {
    let (mut accepted, mut refused, mut chunks) = (0, 0, 0);
    let mut places = BTreeSet::new();
    for seed in 0..70 {
        let mut rng = StdRng::seed_from_u64(20_000 + seed);
        let made: Vec<_> = (200..204).map(|number| Arc::new(Made::random(&mut rng, number))).collect();
        let mut steps = Steps::on(state());
        steps.machine = machine_with(made.iter().map(|made| made.clone() as Arc<dyn Operation>).collect());
        let machines = Machines::new(vec![steps.machine.clone()]);
        let (before, mut fees) = (totals(&steps, 0), 0u128);
        for _ in 0..80 {
            let faulty = made.choose(&mut rng).expect("four operations");
            let is_faulty = rng.gen_bool(0.7);
            let (record, limits) = if is_faulty {
                (faulty.record(&mut rng, &steps), Limits::default())
            } else {
                random_step(&mut rng, &steps)
            };
            let Ok(applied) = steps.apply(&record, limits) else {
                refused += 1;
                continue;
            };
            // The chunk holds the operator to be able to take its fees (T4).
            let operator = if record.cell.get() == OPERATOR { applied.cell } else { steps.state.cell(OPERATOR) };
            let sum = fees + u128::from(applied.fee);
            if u64::try_from(sum + u128::from(operator.holdings()[0].balance)).is_err() {
                continue;
            }
            fees = sum;
            steps.run_within(record, limits).expect("it was applied");
            assert_eq!(totals(&steps, fees), before, "seed {seed}: {record:?} of {made:?}");
            if is_faulty {
                accepted += 1;
                places.extend(faulty.sets.keys().copied());
            }
            if steps.count() == 6 {
                let chunk = steps.chunk(7);
                chunk::assign(&machines, &chunk).unwrap_or_else(|error| panic!("seed {seed}: {error}, {made:?}"));
                // The operator has them.
                fees = 0;
                assert_eq!(totals(&steps, fees), before, "seed {seed}");
                chunks += 1;
            }
        }
    }
    assert!(accepted > 600 && refused > 600 && chunks > 100, "{accepted} accepted, {refused} refused, {chunks} chunks");
    assert_eq!(places.len(), 9, "each place was set");
}
