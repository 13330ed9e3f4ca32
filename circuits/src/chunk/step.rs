//! The circuit of one step, the twin of [`Machine::apply`]. The numbers are those of [steps](crate::step).

use super::{
    Globals, SlotCircuit, SlotInput, SlotParts, SlotRelations, SlotUpdate, blank_path,
    witness::{CellUpdate, StepWitness},
};
use crate::{
    cs::{ConstraintSystem, Variable},
    gadgets::{
        baby_jubjub::{self, EdwardsPoint},
        bits::{self, Bit},
        cell::pack,
        merkle::{self, Replaced},
        poseidon2, schnorr,
    },
    step::{
        Authority, Description, LaneWires, Limits, MACHINE_VERSION, Machine, PoolInteger, REGISTERS_MAX, Registers,
        Sums, flag, has_supply, known_key, known_signature, place,
    },
};
use ark_bn254::Fr;
use ark_ff::Field;
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{Cell, CellIndex, ChainId, MerklePath, Pool},
    operation::Columns,
    poseidon2::WIDTH,
    record::{Kind, StepRecord},
    statement::Statement,
};

/// One slot that is a step of a machine.
#[derive(Debug)]
pub(crate) struct StepSlot<'a>(pub(crate) &'a Machine);

/// The bits of a record's flags.
const FLAGS: usize = 8;

impl SlotCircuit for StepSlot<'_> {
    const KIND: Kind = Kind::Step;
    const RELATIONS: SlotRelations = SlotRelations {
        record: "S1 or S9, record",
        state_after: "S2 or S9, state after",
        fee: "S5 or S9, sum of fees",
    };
    type Witness = StepWitness;

    fn register_count(&self) -> usize {
        self.0.groups().all_places().len()
    }

    fn registers(&self, witness: &StepWitness) -> Vec<Fr> {
        witness.registers.elements(self.0.groups())
    }

    /// No operation on an empty cell.
    fn padding(&self, statement: &Statement) -> StepWitness {
        let (before, after) = (Cell::Empty, Cell::Empty);
        let path = blank_path(statement.circuit.depth);
        StepWitness {
            record: StepRecord::new(0),
            limits: Limits::default(),
            registers: Registers::default(),
            signature: known_signature(),
            cell: CellUpdate { index: CellIndex::default(), before, after, path },
            integers: Vec::new(),
        }
    }

    fn paths(witness: &StepWitness) -> impl Iterator<Item = &MerklePath> {
        [&witness.cell.path].into_iter()
    }

    fn synthesize<CS: ConstraintSystem>(
        &self,
        cs: &mut CS,
        globals: &Globals<CS::Var>,
        slot: SlotInput<'_, CS::Var>,
        witness: &StepWitness,
    ) -> SlotParts<CS::Var> {
        cs.relation("S4, new owner's key");
        let new_key = baby_jubjub::witness_key(cs, &new_owner(witness));
        let UnsignedStep { record, before, after, fee, registers, key, message } =
            self.unsigned(cs, globals, slot, witness, &new_key);
        cs.relation("S3, signature");
        let zero = CS::Var::zero;
        schnorr::verify(cs, &witness.signature, &key, [message, zero(), zero(), zero()]);
        cs.relation("S2, path of the cell");
        let leaf = Replaced { before: before.hash(cs), after: after.hash(cs) };
        let update = merkle::climb(cs, &record.index_bits, leaf, &witness.cell.path);
        SlotParts {
            updates: vec![SlotUpdate { relation: "S2, cell in the state", update }],
            fee,
            elements: vec![record.element, record.word],
            registers: self.0.groups().all_places().into_iter().map(|place| registers[place].clone()).collect(),
        }
    }
}

/// A step without its signature and its place in the state: what these must be.
pub(crate) struct UnsignedStep<V> {
    record: RecordWires<V>,
    before: FrameWires<V>,
    /// The cell after.
    pub(crate) after: FrameWires<V>,
    /// The fee.
    pub(crate) fee: V,
    /// The registers after, of all groups.
    pub(crate) registers: Vec<V>,
    /// Who must have signed.
    pub(crate) key: EdwardsPoint<V>,
    /// What, in the first element of the message.
    pub(crate) message: V,
}

impl StepSlot<'_> {
    /// All of a step but the signature and the path: what the machine and its operations hold. `new_key` is a key.
    pub(crate) fn unsigned<CS: ConstraintSystem>(
        &self,
        cs: &mut CS,
        globals: &Globals<CS::Var>,
        SlotInput { active, registers }: SlotInput<'_, CS::Var>,
        witness: &StepWitness,
        new_key: &EdwardsPoint<CS::Var>,
    ) -> UnsignedStep<CS::Var> {
        let record = RecordWires::witness(cs, self.0, globals, active, &witness.record);
        let before = FrameWires::witness(cs, &record, &witness.cell.before);
        let registers = all_registers(self.0, registers);
        let clause = Clause::place(cs, &record, active, &registers, self.0.element());
        let mut lanes = LaneWires {
            tokens: place::LANE_TOKEN.map(|place| registers[place].clone()),
            values: place::LANE_VALUE.map(|place| registers[place].clone()),
        };

        cs.relation("S5, what is in motion");
        let holdings_after = witness.cell.after.holdings();
        let tokens_after = holdings_after.map(|holding| cs.witness(holding.token.0.into()));
        let [first_token, second_token] = &tokens_after;
        let in_motion = [&record.cell, first_token, second_token].map(|token| lanes.in_motion(cs, token));

        let mut inputs = vec![CS::Var::one()];
        inputs.extend(record.flags.iter().map(|flag| flag.var().clone()));
        inputs.extend([&record.cell, &record.a, &record.b, &record.c, &record.word].map(Clone::clone));
        inputs.extend([globals.height_blocks.clone(), globals.token.clone()]);
        inputs.extend(before.fields[1..7].iter().cloned());
        inputs.extend([before.second_token.clone(), before.second_amount.clone()]);
        inputs.extend(in_motion);
        inputs.extend([new_key.x.clone(), new_key.y.clone()]);
        inputs.push(clause.signer.clone());
        inputs.extend(registers.iter().cloned());
        cs.relation("S8, bits that the operations share");
        let pool = witness_pool(cs, self.0.pool_bits(), &witness.integers);
        let unused = pool.iter().fold(CS::Var::zero(), |sum, bit| sum + bit.var().clone());
        cs.enforce(&unused, active.not().var(), &CS::Var::zero());
        let mut sums = Sums::zero();
        for (known, selected) in self.0.operations().iter().zip(&record.selected) {
            known.circuit.run(cs, selected, &inputs, &pool, &mut sums);
        }

        cs.relation("S4, new owner's key");
        let unused = CS::Var::one() - sums.uses_key.clone();
        for (coordinate, of_known) in [(&new_key.x, known_key().x()), (&new_key.y, known_key().y())] {
            cs.enforce(&(coordinate.clone() - of_known.into()), &unused, &CS::Var::zero());
        }
        cs.relation("S5, what the cell holds after");
        let after = before.after(&record, &sums);
        cs.enforce_equal(first_token, &after.fields[1]);
        cs.enforce_equal(second_token, &after.second_token);
        move_lanes(cs, globals, &record, &before, &after, &sums.fees, &mut lanes);
        let (running, key, message) = clause.run(cs, globals, &record, &registers, &before, &sums);
        let registers = settle(cs, &record, &registers, &sums, lanes, running);
        let [first_fee, second_fee] = sums.fees;
        UnsignedStep { record, before, after, fee: first_fee + second_fee, registers, key, message }
    }
}

/// The key that a step's cell gets, if it gets one: an account that was none.
fn new_owner(witness: &StepWitness) -> PublicKey {
    match (&witness.cell.before, &witness.cell.after) {
        (Cell::Empty, Cell::Account(account)) => account.owner,
        _ => *known_key(),
    }
}

/// The registers of all groups: those that the circuit does not carry are zero.
fn all_registers<V: Variable>(machine: &Machine, carried: &[V]) -> Vec<V> {
    let mut all = vec![V::zero(); REGISTERS_MAX];
    for (place, register) in machine.groups().all_places().into_iter().zip(carried) {
        all[place] = register.clone();
    }
    all
}

/// The bits of the pool.
fn witness_pool<CS: ConstraintSystem>(cs: &mut CS, count: usize, integers: &[PoolInteger]) -> Vec<Bit<CS::Var>> {
    let bits = integers.iter().flat_map(|PoolInteger { value, width_bits }| {
        (0..*width_bits).map(move |position| position < 128 && value >> position & 1 == 1)
    });
    let bits = bits.chain(core::iter::repeat(false)).take(count);
    bits.collect::<Vec<_>>().into_iter().map(|bit| Bit::witness(cs, bit)).collect()
}

/// The record, and the operation that it selects.
struct RecordWires<V> {
    descriptions: Vec<Description>,
    /// One bit for each operation.
    selected: Vec<Bit<V>>,
    flags: Vec<Bit<V>>,
    index_bits: Vec<Bit<V>>,
    cell: V,
    a: V,
    b: V,
    c: V,
    word: V,
    /// The first element of an active slot.
    element: V,
}

impl<V: Variable> RecordWires<V> {
    /// S1.
    fn witness<CS: ConstraintSystem<Var = V>>(
        cs: &mut CS,
        machine: &Machine,
        globals: &Globals<V>,
        active: &Bit<V>,
        record: &StepRecord,
    ) -> Self {
        cs.relation("S1, operation");
        let descriptions: Vec<_> = machine.descriptions().collect();
        let is_selected = |description: &Description| description.number == record.operation;
        let selected: Vec<_> =
            descriptions.iter().map(|description| Bit::witness(cs, is_selected(description))).collect();
        let count = selected.iter().fold(V::zero(), |sum, bit| sum + bit.var().clone());
        cs.enforce_equal(&count, active.var());
        cs.relation("S1, widths of the record");
        let flags = bits::witness_bits(cs, record.flags.into(), FLAGS);
        let index_bits = globals.witness_index(cs, record.cell);
        let cell = bits::compose(&index_bits);
        let [a, b, c] = [record.a, record.b, record.c].map(|number| bits::witness_integer(cs, number, 64));
        let word = cs.witness(record.word);
        let mut wires = Self { descriptions, selected, flags, index_bits, cell, a, b, c, word, element: V::zero() };
        let operation = wires.sum_of(|description| description.number.into());
        wires.element = pack([
            (V::one(), 1),
            (operation, 8),
            (bits::compose(&wires.flags), FLAGS as u64),
            (wires.cell.clone(), 32),
            (wires.a.clone(), 64),
            (wires.b.clone(), 64),
            (wires.c.clone(), 64),
        ]);
        cs.relation("S9, padding has no record");
        let inactive = active.not();
        for zero in [wires.element.clone() - V::one(), wires.word.clone()] {
            cs.enforce(&zero, inactive.var(), &V::zero());
        }
        cs.relation("S1, what is not posted");
        let columns =
            [(Columns::A, &wires.a), (Columns::B, &wires.b), (Columns::C, &wires.c), (Columns::WORD, &wires.word)];
        for (column, value) in columns {
            let unposted = wires.is(|description| !description.columns.contain(column));
            cs.enforce(value, unposted.var(), &V::zero());
        }
        cs.relation("S1, nobody's cell");
        bits::enforce_nonzero(cs, &(wires.cell.clone() + inactive.var().clone()));
        cs.relation("S1, flags");
        for (number, flag) in wires.flags.iter().enumerate() {
            let unknown = |description: &Description| {
                let flags = description.flags | flag::END | flag::DONE;
                let posts = description.columns.contain(Columns::FLAGS);
                u64::from(!posts || flags >> number & 1 == 0)
            };
            if wires.descriptions.iter().any(|description| unknown(description) == 1) {
                cs.enforce(flag.var(), &wires.sum_of(unknown), &V::zero());
            }
        }
        wires
    }

    /// What the selected operation has of something that each operation has; free. Zero in padding.
    fn sum_of(&self, what: impl Fn(&Description) -> u64) -> V {
        let weighted = self.descriptions.iter().zip(&self.selected).map(|(description, selected)| {
            let weight = what(description);
            (weight != 0).then(|| selected.var().clone() * Fr::from(weight))
        });
        weighted.flatten().fold(V::zero(), |sum, term| sum + term)
    }

    /// Whether the selected operation is one of some; free.
    fn is(&self, which: impl Fn(&Description) -> bool) -> Bit<V> {
        let chosen: Vec<_> =
            self.descriptions.iter().zip(&self.selected).filter(|(description, _)| which(description)).collect();
        let refs: Vec<_> = chosen.iter().map(|(_, selected)| *selected).collect();
        Bit::any_of(&refs)
    }

    fn flag(&self, flag: u8) -> &Bit<V> {
        &self.flags[flag.trailing_zeros() as usize]
    }
}

/// A cell, its second holding apart.
pub(crate) struct FrameWires<V> {
    /// The cell's elements.
    pub(crate) fields: [V; WIDTH],
    second_token: V,
    second_amount: V,
}

impl<V: Variable> FrameWires<V> {
    /// The cell before, of the kind that the operation needs. That its first token, its nonce or supply and its amount
    /// have their widths was held when they were written.
    fn witness<CS: ConstraintSystem<Var = V>>(cs: &mut CS, record: &RecordWires<V>, cell: &Cell) -> Self {
        cs.relation("S2, kind of the cell");
        let fields = cell.elements().0.map(|element| cs.witness(element));
        cs.enforce_equal(&fields[0], &record.sum_of(|description| description.kind_before.into()));
        cs.relation("S2, second holding");
        let [_, second] = cell.holdings();
        let second_token = bits::witness_integer(cs, second.token.0.into(), 32);
        let second_amount = bits::witness_integer(cs, second.balance, 64);
        cs.enforce_equal(&fields[7], &pack([(second_token.clone(), 32), (second_amount.clone(), 64)]));
        Self { fields, second_token, second_amount }
    }

    /// The cell after: what the operation does not set stays.
    fn after(&self, record: &RecordWires<V>, sums: &Sums<V>) -> Self {
        let kind = record.sum_of(|description| description.kind_after.into());
        let changed = |field: usize| self.fields[field].clone() + sums.cell[field - 1].clone();
        let second_token = self.second_token.clone() + sums.cell[6].clone();
        let second_amount = self.second_amount.clone() + sums.cell[7].clone();
        let second = pack([(second_token.clone(), 32), (second_amount.clone(), 64)]);
        let [token, count, amount, own, another, third] = [1, 2, 3, 4, 5, 6].map(changed);
        Self { fields: [kind, token, count, amount, own, another, third, second], second_token, second_amount }
    }

    fn hash<CS: ConstraintSystem<Var = V>>(&self, cs: &mut CS) -> V {
        poseidon2::compress(cs, &self.fields)
    }
}

/// S5.
fn move_lanes<CS: ConstraintSystem>(
    cs: &mut CS,
    globals: &Globals<CS::Var>,
    record: &RecordWires<CS::Var>,
    before: &FrameWires<CS::Var>,
    after: &FrameWires<CS::Var>,
    fees: &[CS::Var; 2],
    lanes: &mut LaneWires<CS::Var>,
) {
    cs.relation("S5, supply");
    let mints = record.is(|description| has_supply(description.kind_after));
    let minted = cs.product(&(after.fields[2].clone() - before.fields[2].clone()), mints.var());
    let founds = |description: &Description| description.kind_after == Pool::KIND && description.fills_empty();
    let locked = record.is(founds).var().clone() * Fr::from(Pool::SHARES_LOCKED);
    cs.relation("S5, lanes");
    lanes.add(cs, &record.cell, &(minted - locked));
    let holdings = |frame: &FrameWires<CS::Var>| {
        let first = (frame.fields[1].clone(), frame.fields[3].clone());
        [first, (frame.second_token.clone(), frame.second_amount.clone())]
    };
    for (((token_before, before), (token, after)), fee) in holdings(before).into_iter().zip(holdings(after)).zip(fees) {
        cs.relation("S5, token of a holding");
        cs.enforce(&(token.clone() - token_before), &before, &CS::Var::zero());
        cs.relation("S5, token of the fee");
        cs.enforce(&(token.clone() - globals.token.clone()), fee, &CS::Var::zero());
        cs.relation("S5, lanes");
        lanes.add(cs, &token, &(before - after - fee.clone()));
    }
}

/// The clause that runs in a slot.
struct Clause<V> {
    /// Whether the step starts one.
    starts: Bit<V>,
    /// Whether the step belongs to one.
    runs: Bit<V>,
    /// Whose: 0 if none runs.
    signer: V,
    /// What stands for the set of operations in what is signed.
    operations: Fr,
}

/// What a slot leaves of the registers of a clause: signer, x, y, digest.
type RunningWires<V> = [V; 4];

impl<V: Variable> Clause<V> {
    /// S3: where the operation may stand.
    fn place<CS: ConstraintSystem<Var = V>>(
        cs: &mut CS,
        record: &RecordWires<V>,
        active: &Bit<V>,
        registers: &[V],
        operations: Fr,
    ) -> Self {
        cs.relation("S3, place of the operation");
        let signer = &registers[place::SIGNER];
        let none_runs = bits::is_zero(cs, signer);
        let starts = record.is(|description| description.authority == Authority::Starts);
        let outside = record.is(|description| matches!(description.authority, Authority::Starts | Authority::Anyone));
        cs.enforce(signer, outside.var(), &V::zero());
        let inside = record.is(|description| description.authority == Authority::Signer);
        cs.enforce(none_runs.var(), inside.var(), &V::zero());
        let settles = record.is(|description| !description.in_session);
        cs.enforce(&registers[place::POOL], settles.var(), &V::zero());
        let continues = none_runs.not().and(cs, active);
        let runs = Bit::any_of(&[&starts, &continues]);
        let own = cs.product(&record.cell, starts.var());
        Self { signer: own + signer.clone(), starts, runs, operations }
    }

    /// S4 and S6: absorbs the step. Gives the registers after, and by whom what must be signed: the digest by the
    /// signer where the clause ends.
    fn run<CS: ConstraintSystem<Var = V>>(
        &self,
        cs: &mut CS,
        globals: &Globals<V>,
        record: &RecordWires<V>,
        registers: &[V],
        before: &FrameWires<V>,
        sums: &Sums<V>,
    ) -> (RunningWires<V>, EdwardsPoint<V>, V) {
        let Self { starts, runs, operations, .. } = self;
        cs.relation("S4, digest");
        let digest_before = &registers[place::DIGEST];
        let start = pack([
            (globals.chain_id.clone(), ChainId::BITS.into()),
            (Fr::from(Kind::Step as u8).into(), 8),
            (Fr::from(MACHINE_VERSION).into(), 16),
            (sums.purpose.clone(), 8),
            (record.cell.clone(), 32),
            (sums.number.clone(), 33),
        ]);
        let digest = starts.select(cs, &start, digest_before);
        let done = record.flag(flag::DONE).var().clone() * Fr::from(2u64).pow([9 + u64::from(flag::DONE.ilog2())]);
        let signed = record.element.clone() - done;
        let limits = pack([(sums.limit.clone(), 64), (sums.until.clone(), 32)]);
        let zero = V::zero;
        let absorbed = [digest, signed, record.word.clone(), limits, (*operations).into(), zero(), zero(), zero()];
        let absorbed = poseidon2::compress(cs, &absorbed);

        cs.relation("S6, limits");
        let limits = sums.limit.clone() + sums.until.clone() * Fr::from(2u64).pow([64]);
        cs.enforce(&limits, runs.not().var(), &V::zero());
        cs.relation("S4, end of the clause");
        let end = record.flag(flag::END);
        cs.enforce(end.var(), runs.not().var(), &V::zero());
        cs.relation("S3, signature");
        let own_key = EdwardsPoint { x: before.fields[4].clone(), y: before.fields[5].clone() };
        let running_key = EdwardsPoint { x: registers[place::SIGNER_X].clone(), y: registers[place::SIGNER_Y].clone() };
        let key = EdwardsPoint::select(cs, starts, &own_key, &running_key);
        let known = EdwardsPoint::constant(known_key().point());
        let key = EdwardsPoint::select(cs, end, &key, &known);
        let message = cs.product(&absorbed, end.var());

        cs.relation("S4, clause after");
        let opens = starts.and(cs, &end.not());
        let mut clear = |register: &V, opened: &V| {
            let cleared = cs.product(register, end.var());
            register.clone() - cleared + cs.product(opened, opens.var())
        };
        let signer = clear(&registers[place::SIGNER], &record.cell);
        let x = clear(&registers[place::SIGNER_X], &own_key.x);
        let y = clear(&registers[place::SIGNER_Y], &own_key.y);
        let keeps = Bit::none_of_within(runs, &[end]);
        let kept = cs.product(&absorbed, keeps.var());
        let replaced = cs.product(digest_before, runs.var());
        ([signer, x, y, digest_before.clone() - replaced + kept], key, message)
    }
}

/// S7: the registers after, and that nothing is left open where the transaction ends.
fn settle<CS: ConstraintSystem>(
    cs: &mut CS,
    record: &RecordWires<CS::Var>,
    registers: &[CS::Var],
    sums: &Sums<CS::Var>,
    lanes: LaneWires<CS::Var>,
    running: RunningWires<CS::Var>,
) -> Vec<CS::Var> {
    let mut after: Vec<_> =
        registers.iter().zip(&sums.registers).map(|(before, change)| before.clone() + change.clone()).collect();
    for (lane, (token, value)) in lanes.tokens.into_iter().zip(lanes.values).enumerate() {
        after[place::LANE_TOKEN[lane]] = token;
        after[place::LANE_VALUE[lane]] = value;
    }
    for (register, value) in (place::SIGNER..=place::DIGEST).zip(running) {
        after[register] = value;
    }
    cs.relation("S7, nothing is left open");
    let done = record.flag(flag::DONE);
    let settled = [place::SIGNER, place::POOL].into_iter().chain(place::LANE_VALUE).chain(place::DUE_AMOUNT);
    for register in settled {
        cs.enforce(&after[register], done.var(), &CS::Var::zero());
    }
    cs.relation("S7, registers after");
    for register in place::LANE_TOKEN.into_iter().chain(place::FACT) {
        let cleared = cs.product(&after[register], done.var());
        after[register] = after[register].clone() - cleared;
    }
    after
}
