//! Theorems on random programs of steps: valid and hostile ones, flags and registers included.

use crate::{
    ops::{Draw, Open, Order, Pay, Pool, Receive, Session, Token as TokenOperation},
    step::{Applied, Authority, Description, Limits, Registers, StepContext, flag},
    testing::{
        assign,
        operations::{EMPTY, POOL, TOKEN, state},
        state::{index, secret},
        steps::{HEIGHT, Steps},
    },
};
use ark_bn254::Fr;
use ark_ff::AdditiveGroup;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use std::collections::{BTreeMap, HashSet};
use taproof_verifier::{
    cell::{Cell, CellIndex, TokenName},
    operation::Columns,
    record::StepRecord,
};

/// A random step of any operation of the machine, likely enough to be valid that programs get somewhere. What an
/// operation needs beyond a cell of its kind is in [`suit`].
pub(super) fn random_step(rng: &mut StdRng, steps: &Steps) -> (StepRecord, Limits) {
    let descriptions: Vec<_> = steps.machine.descriptions().collect();
    let is_common =
        |description: &&Description| [Pay::NUMBER, Receive::NUMBER, Order::NUMBER].contains(&description.number);
    let common: Vec<_> = descriptions.iter().filter(is_common).collect();
    let [first, second, _] = steps.registers.lanes;
    let founds = first.token < second.token && first.value > 1_001 && second.value > 1_001 && rng.gen_bool(0.2);
    let description = if founds {
        descriptions.iter().find(|known| known.number == Pool::NUMBER).expect("a standard one")
    } else if rng.gen_bool(0.35) {
        *common.choose(rng).expect("the standard ones")
    } else {
        descriptions.choose(rng).expect("a set has operations")
    };
    let cells: Vec<u32> = (1..64).filter(|at| steps.state.cell(*at).kind() == description.kind_before).collect();
    let any = rng.gen_range(0..64);
    let cell = if rng.gen_bool(0.02) { any } else { cells.choose(rng).copied().unwrap_or(any) };
    let posts = |column| description.columns.contain(column);
    let [a, b, c] =
        [Columns::A, Columns::B, Columns::C].map(|column| if posts(column) { amount(rng, steps) } else { 0 });
    let mut flags = 0;
    for (bit, likely) in (0..8).map(|bit| (1 << bit, if bit < 2 { 0.3 } else { 0.2 })) {
        if (description.flags | flag::END | flag::DONE) & bit != 0 && rng.gen_bool(likely) {
            flags |= bit;
        }
    }
    let word = if posts(Columns::WORD) { Fr::from(rng.r#gen::<u64>()) } else { Fr::from(0u64) };
    let cell = CellIndex::new(cell).expect("a small index");
    let mut record = StepRecord { flags, cell, a, b, c, word, ..StepRecord::new(description.number) };
    suit(rng, steps, &mut record);
    if rng.gen_bool(0.02) {
        record.flags ^= 1 << rng.gen_range(0..8);
    }
    let until = HEIGHT + rng.gen_range(0..2) - rng.gen_range(0..2);
    let until = if description.authority == Authority::Starts { until } else { 0 };
    let least = if steps.registers.clause.is_some() && rng.gen_bool(0.1) { rng.gen_range(0..500) } else { 0 };
    (record, Limits { least, until })
}

fn amount(rng: &mut StdRng, steps: &Steps) -> u64 {
    match rng.gen_range(0..8) {
        0 => rng.r#gen(),
        1 => 0,
        2 => steps.registers.lanes[rng.gen_range(0..3)].value.unsigned_abs() as u64,
        _ => rng.gen_range(0..2_000),
    }
}

/// Makes a record likelier to be one of its operation.
fn suit(rng: &mut StdRng, steps: &Steps, record: &mut StepRecord) {
    let session = steps.registers.session.map(|open| open.session);
    match record.operation {
        Pay::NUMBER => {
            record.b = rng.gen_range(0..5);
            record.c = if record.flags & flag::TICKET != 0 { rng.gen_range(0..65) } else { 0 };
            if steps.registers.in_motion().is_some() && rng.gen_bool(0.9) {
                record.flags |= Pay::JOINT;
            }
        }
        Order::NUMBER => {
            let sells_second = rng.r#gen();
            record.flags &= flag::DONE | flag::TICKET;
            record.flags |= flag::END | if sells_second { flag::SECOND | Order::SELLS_SECOND } else { 0 };
            let unpaid = session.map_or(0, |session| if sells_second { session.unpaid_y } else { session.unpaid_x });
            record.a = if rng.gen_bool(0.7) { unpaid } else { unpaid / 2 };
            record.b = rng.gen_range(0..5);
            let place = if record.flags & flag::TICKET != 0 { rng.gen_range(0..65u64) } else { 0 };
            record.c = u64::from(POOL) | place << 32;
        }
        Draw::NUMBER if record.flags & Draw::PAIR == 0 => record.c = 0,
        Draw::NUMBER => record.c = rng.gen_range(0..40),
        Receive::NUMBER => {
            record.flags &= if rng.gen_bool(0.1) { !Receive::DUE } else { !(Receive::DUE | Receive::OWN) };
            if rng.gen_bool(0.6) {
                (record.flags, record.a) = (record.flags | Receive::REST, 0);
            }
        }
        Session::NUMBER => record.b = rng.gen_range(0..2_000),
        Open::NUMBER => {
            record.c = if rng.r#gen() { 0 } else { TOKEN.into() };
            record.word = secret(rng.gen_range(9..12)).public().x();
            if record.flags & Open::REST != 0 {
                record.a = 0;
            }
        }
        TokenOperation::NUMBER => {
            (record.b, record.c) = (0, rng.gen_range(0..20));
            record.word = TokenName::new("silver").expect("a name").element();
        }
        Pool::NUMBER => {
            record.c = 30 | 1 << 14 | 10 << 16;
            record.cell = index(EMPTY);
        }
        _ => {}
    }
}

/// What exists of each token in all cells and in motion, with the fees that were paid.
pub(super) fn totals(steps: &Steps, fees: u128) -> BTreeMap<u32, i128> {
    let mut sums = BTreeMap::from([(0, fees as i128)]);
    for at in 0..64 {
        let cell = steps.state.cell(at);
        for holding in cell.holdings() {
            *sums.entry(holding.token.0).or_default() += i128::from(holding.balance);
        }
        // The shares that are locked are held by nobody.
        let locked = if let Cell::Pool(_) = cell { 1_000 } else { 0 };
        *sums.entry(at).or_default() -= i128::from(cell.supply().unwrap_or(0)) - locked;
    }
    for lane in steps.registers.lanes {
        *sums.entry(lane.token.0).or_default() += lane.value;
    }
    sums.retain(|_, amount| *amount != 0);
    sums
}

/// The owners of the cells, where they have any.
fn owner_of(cell: &Cell) -> Option<taproof_verifier::baby_jubjub::PublicKey> {
    match cell {
        Cell::Account(account) => Some(account.owner),
        _ => None,
    }
}

/// T1: after each step, of each token, what is held, in motion and paid in fees is what has been minted. T2: a balance
/// falls, and an owner changes, in the clause of the cell's owner alone, and a supply grows in its issuer's. T4: no
/// clause starts as another did. T5: DONE leaves nothing. T8: the records alone lead to the same cells.
#[test]
fn t1_t2_t4_t5_t8_random_programs_conserve_and_are_rebuilt_from_records() {
    let (mut accepted, mut refused, mut transactions) = (BTreeMap::<u8, usize>::new(), 0usize, 0usize);
    for seed in 0..800 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut steps = Steps::on(state());
        let minted = totals(&steps, 0);
        let mut replayed: BTreeMap<u32, Cell> = (0..64).map(|at| (at, steps.state.cell(at))).collect();
        let mut replayed_registers = Registers::default();
        let mut fees = 0;
        let mut starts = HashSet::new();
        let carried: HashSet<usize> = steps.machine.groups().all_places().into_iter().collect();
        for _ in 0..60 {
            let (record, limits) = random_step(&mut rng, &steps);
            let context: StepContext = steps.context();
            let before = steps.state.cell(record.cell.get());
            let Ok(Applied { cell, registers, fee, .. }) = steps.apply(&record, limits) else {
                refused += 1;
                continue;
            };
            *accepted.entry(record.operation).or_default() += 1;
            // T2: signers alone lose.
            let signer = steps.registers.clause.map(|clause| clause.owner);
            let operation = steps.machine.get(record.operation).expect("it was applied").description();
            let begins = operation.authority == Authority::Starts;
            let acts = signer.or_else(|| begins.then(|| owner_of(&before)).flatten());
            if let (Cell::Token(old), Cell::Token(new)) = (before, cell)
                && new.supply > old.supply
            {
                let signer = steps.registers.clause.map(|clause| clause.signer);
                assert_eq!(signer, Some(old.issuer), "seed {seed}: {record:?}");
            }
            if let Cell::Account(account) = before {
                // T4: what it starts with is the nonce or a ticket, which no other clause of the account had.
                let is_ticket = record.flags & flag::TICKET != 0;
                let place = if record.operation == Order::NUMBER { record.c >> 32 } else { record.c };
                let number = if is_ticket { u64::from(account.tickets.base) + place } else { account.nonce.into() };
                assert!(!begins || starts.insert((record.cell, is_ticket, number)), "seed {seed}: {record:?}");
                assert_eq!(owner_of(&cell), Some(account.owner), "owners never change");
                let falls = before.holdings().iter().zip(cell.holdings()).any(|(old, new)| new.balance < old.balance);
                assert!(!falls || acts == Some(account.owner), "seed {seed}: {record:?}");
            }
            fees += u128::from(fee);
            steps.state.set(record.cell.get(), cell);
            steps.registers = registers;
            assert_eq!(totals(&steps, fees), minted, "seed {seed}: {record:?}");
            let elements = registers.all_elements().into_iter().enumerate();
            let beyond = elements.filter(|(place, element)| !carried.contains(place) && *element != Fr::ZERO);
            assert_eq!(beyond.count(), 0, "no circuit carries these: seed {seed}, {record:?}");
            if record.flags & flag::DONE != 0 {
                assert!(registers.are_zero(), "seed {seed}: {record:?}");
                transactions += 1;
            }
            // T8, without limits and signatures.
            let at = record.cell.get();
            let posted = steps.machine.apply(&context, &replayed_registers, &replayed[&at], &record, None);
            let posted = posted.expect("what was proven can be applied anew");
            assert_eq!(posted.cell, cell, "seed {seed}: {record:?}");
            assert_eq!((posted.registers.lanes, posted.fee), (registers.lanes, fee));
            replayed.insert(at, posted.cell);
            replayed_registers = posted.registers;
        }
    }
    assert!(refused > 2_000 && transactions > 150, "{refused} refused, {transactions} transactions");
    // Every operation took part; one that cannot be met by chance needs a word in `suit`.
    let standard = crate::ops::standard();
    let missing = standard.descriptions().filter(|known| accepted.get(&known.number).copied() < Some(2));
    assert_eq!(missing.count(), 0, "{accepted:?}");
}

/// Rule and circuit agree on random programs, in chunks that mix all operations and cut transactions anywhere.
#[test]
fn random_programs_can_be_proven() {
    for seed in 0..12 {
        let mut rng = StdRng::seed_from_u64(1_000 + seed);
        let mut steps = Steps::on(state());
        let mut in_chunk = 0;
        for _ in 0..250 {
            let (record, limits) = random_step(&mut rng, &steps);
            if steps.run_within(record, limits).is_ok() {
                in_chunk += 1;
            }
            if in_chunk == 8 {
                let chunk = steps.chunk(9);
                assign(&chunk).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
                in_chunk = 0;
            }
        }
    }
}

/// The rule takes anything: no registers, cell or record make it panic.
#[test]
fn the_rule_refuses_or_applies_whatever_it_is_given() {
    let mut rng = StdRng::seed_from_u64(7);
    let mut steps = Steps::on(state());
    let mut applied = 0;
    for _ in 0..40_000 {
        let wild = |rng: &mut StdRng| match rng.gen_range(0..5) {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << rng.gen_range(0..64),
            3 => rng.gen_range(0..100),
            _ => rng.r#gen(),
        };
        for lane in &mut steps.registers.lanes {
            lane.token.0 = rng.gen_range(0..40);
            lane.value = i128::from(wild(&mut rng)) - i128::from(wild(&mut rng));
            if rng.gen_bool(0.01) {
                lane.value = if rng.r#gen() { i128::MAX } else { i128::MIN };
            }
        }
        let clause = crate::step::RunningClause {
            signer: index(rng.gen_range(1..9)),
            owner: *secret(rng.gen_range(1..9)).public(),
            digest: Fr::from(wild(&mut rng)),
        };
        steps.registers.clause = rng.r#gen::<bool>().then_some(clause);
        let session = crate::exchange::Session {
            n: wild(&mut rng).into(),
            d: wild(&mut rng).into(),
            unpaid_x: wild(&mut rng),
            unpaid_y: wild(&mut rng),
            fee: rng.r#gen(),
        };
        let tokens = [0, TOKEN].map(taproof_verifier::cell::Token);
        let open = crate::step::OpenSession { pool: index(POOL), tokens, session };
        steps.registers.session = rng.gen_bool(0.3).then_some(open);
        let due = crate::step::Due {
            account: index(rng.gen_range(1..9)),
            token: tokens[rng.gen_range(0..2)],
            amount: wild(&mut rng),
        };
        steps.registers.dues = [rng.gen_bool(0.2).then_some(due), None];
        let record = StepRecord {
            operation: rng.gen_range(0..16),
            flags: rng.r#gen(),
            cell: index(0),
            a: wild(&mut rng),
            b: wild(&mut rng),
            c: if rng.r#gen() { POOL.into() } else { wild(&mut rng) },
            word: Fr::from(wild(&mut rng)),
            ..StepRecord::new(0)
        };
        let known = steps.machine.descriptions().find(|description| description.number == record.operation);
        let columns = known.map(|known| known.columns);
        let kind = known.map_or(1, |known| known.kind_before);
        let at = match kind {
            _ if rng.gen_bool(0.05) => rng.gen_range(0..70),
            0 => EMPTY + rng.gen_range(0..10),
            2 => TOKEN,
            5 => POOL,
            _ => rng.gen_range(1..9),
        };
        let has = |column| columns.is_some_and(|columns| columns.contain(column));
        use taproof_verifier::operation::Columns;
        let record = StepRecord {
            cell: index(at),
            flags: if has(Columns::FLAGS) { record.flags & known.map_or(0xff, |known| known.flags | 3) } else { 0 },
            a: if has(Columns::A) { record.a } else { 0 },
            b: if has(Columns::B) { record.b } else { 0 },
            c: if has(Columns::C) { record.c } else { 0 },
            word: if has(Columns::WORD) { record.word } else { Fr::from(0u64) },
            ..record
        };
        let cell = altered(&mut rng, steps.state.cell(record.cell.get()), wild);
        let limits = rng.r#gen::<bool>().then(|| Limits { least: wild(&mut rng), until: rng.r#gen() });
        let result = steps.machine.apply(&steps.context(), &steps.registers, &cell, &record, limits);
        applied += usize::from(result.is_ok());
    }
    assert!(applied > 100, "{applied} were applied");
}

/// A cell with other numbers of its kind, such as no step may have left.
fn altered(rng: &mut StdRng, mut cell: Cell, wild: impl Fn(&mut StdRng) -> u64) -> Cell {
    match &mut cell {
        Cell::Account(account) => {
            (account.balance, account.second.balance) = (wild(rng), wild(rng));
            (account.tickets.base, account.tickets.used) = (wild(rng) as u32, wild(rng));
        }
        Cell::Token(token) => (token.supply, token.cap) = (wild(rng), wild(rng)),
        Cell::Pool(pool) => {
            (pool.supply, pool.first.balance, pool.second.balance) = (wild(rng), wild(rng), wild(rng));
            pool.average = u128::from(wild(rng)) << rng.gen_range(0..32);
            (pool.fee, pool.weight) = (rng.gen_range(0..1 << 14), rng.gen_range(0..4));
            (pool.last_height, pool.averaging_blocks) = (wild(rng) as u32, rng.r#gen());
        }
        _ => {}
    }
    cell
}
