//! The three segments of a chunk's circuit. The numbers are those of the [module](super).

use super::witness::CellUpdate;
use crate::{
    cap::MerkleCap,
    cs::{ConstraintSystem, Variable},
    gadgets::{
        bits::{self, Bit},
        cell::CellFields,
        merkle::{self, Cap, CapUpdate, Replaced},
        poseidon2,
    },
};
use ark_bn254::Fr;
use ark_ff::AdditiveGroup;
use taproof_verifier::{
    cell::{Account, Cell, CellIndex, Depth, MerklePath},
    poseidon2::{Domain, hash as native_hash},
    record::Kind,
    statement::{CircuitId, STATEMENT_ELEMENTS, Statement},
};

/// The wires that each segment hands to the next: the cap, the sum of fees, and the registers.
pub(super) fn carry_wires(depth: Depth, register_count: usize) -> usize {
    MerkleCap::node_count(depth) + 1 + register_count
}

/// What every segment reads.
pub(crate) struct Globals<V> {
    /// The rollup.
    pub(crate) chain_id: V,
    /// The height of the Bitcoin block that the batch refers to.
    pub(crate) height_blocks: V,
    /// The token that every slot moves.
    pub(crate) token: V,
    /// The cell that receives the fees.
    pub(crate) operator: V,
    /// The depth of the tree.
    pub(crate) depth: Depth,
}

impl<V> Globals<V> {
    /// Reads the globals from the wires of the head.
    pub(crate) fn at(depth: Depth, wire: impl Fn(usize) -> V) -> Self {
        let [chain_id, height_blocks, token, operator] = [2, 3, 4, 5].map(wire);
        Self { chain_id, height_blocks, token, operator, depth }
    }
}

impl<V: Variable> Globals<V> {
    /// Adds the index of a cell as three bits a level, so that it lies in the tree.
    pub(crate) fn witness_index<CS: ConstraintSystem<Var = V>>(&self, cs: &mut CS, index: CellIndex) -> Vec<Bit<V>> {
        bits::witness_bits(cs, index.get().into(), self.depth.index_bits() as usize)
    }
}

/// What runs from segment to segment.
#[derive(Clone, Debug)]
pub(crate) struct Carry<V> {
    /// The cap of the state.
    pub(crate) cap: Cap<V>,
    /// The sum of the fees so far.
    pub(crate) fee_sum: V,
    /// The registers of steps; none of payments.
    pub(crate) registers: Vec<V>,
}

/// One update of a slot.
pub(crate) struct SlotUpdate<V> {
    /// The relation that the cell before is in the state.
    pub(crate) relation: &'static str,
    /// What the update does to the cap.
    pub(crate) update: CapUpdate<V>,
}

/// What a slot of some kind gives to the chunk.
pub(crate) struct SlotParts<V> {
    /// The updates, at least one, each made in the state that the one before leaves.
    pub(crate) updates: Vec<SlotUpdate<V>>,
    /// The fee that the transition pays.
    pub(crate) fee: V,
    /// The elements of the record, of an active slot.
    pub(crate) elements: Vec<V>,
    /// The registers after, which padding leaves as they are; none of payments.
    pub(crate) registers: Vec<V>,
}

/// What a slot is given by its chunk.
#[derive(Clone, Copy)]
pub(crate) struct SlotInput<'a, V> {
    /// Whether it holds a transition.
    pub(crate) active: &'a Bit<V>,
    /// The registers that the slot before leaves.
    pub(crate) registers: &'a [V],
}

/// The names of the relations that the chunk adds to the slots of a kind.
pub(crate) struct SlotRelations {
    /// The record's elements, zero in a padding slot.
    pub(crate) record: &'static str,
    /// The state after is carried on.
    pub(crate) state_after: &'static str,
    /// The fee is added to the sum.
    pub(crate) fee: &'static str,
}

/// The circuit of one slot.
pub(crate) trait SlotCircuit: Sync {
    /// The kind of transition.
    const KIND: Kind;
    /// Names for reports.
    const RELATIONS: SlotRelations;
    /// The values of one slot.
    type Witness: Sync;

    /// How many registers run from slot to slot.
    fn register_count(&self) -> usize {
        0
    }

    /// The registers that a slot is handed, as its witness has them.
    fn registers(&self, _: &Self::Witness) -> Vec<Fr> {
        Vec::new()
    }

    /// Values of a padding slot: they satisfy every relation that does not depend on the carried state, with no secret.
    fn padding(&self, statement: &Statement) -> Self::Witness;

    /// The paths, whose depth must be the circuit's.
    fn paths(witness: &Self::Witness) -> impl Iterator<Item = &MerklePath>;

    /// Adds the transition, up to the cap; the chunk itself binds updates, fee and record of an active slot and
    /// ignores those of a padding slot.
    fn synthesize<CS: ConstraintSystem>(
        &self,
        cs: &mut CS,
        globals: &Globals<CS::Var>,
        slot: SlotInput<'_, CS::Var>,
        witness: &Self::Witness,
    ) -> SlotParts<CS::Var>;
}

/// Adds the head: H1. The registers before the first slot are held by the tail, as the cap is.
pub(super) fn head<CS: ConstraintSystem>(
    cs: &mut CS,
    statement: &Statement,
    cap: &MerkleCap,
    registers: &[Fr],
    digest: Fr,
) -> Carry<CS::Var> {
    let Statement { chain_id, context, .. } = statement;
    cs.witness(Fr::from(1u64));
    cs.witness(digest);
    cs.witness(chain_id.element());
    for global in [context.height_blocks, context.token.0, context.operator.get()] {
        cs.witness(global.into());
    }
    let cap = Cap::witness(cs, cap);
    cs.relation("H1, fees start at zero");
    let fee_sum = cs.witness(Fr::ZERO);
    cs.enforce_zero(&fee_sum);
    let registers = registers.iter().map(|register| cs.witness(*register)).collect();
    Carry { cap, fee_sum, registers }
}

/// A slot that does not know yet what it is handed.
pub(crate) struct BegunSlot<V> {
    active: Bit<V>,
    pub(crate) parts: SlotParts<V>,
}

/// Adds the part of a slot that reads nothing of the slot before it but the registers: S1 and the kind's own relations.
pub(crate) fn begin_slot<S: SlotCircuit, CS: ConstraintSystem>(
    cs: &mut CS,
    slot: &S,
    globals: &Globals<CS::Var>,
    active: bool,
    registers: &[CS::Var],
    witness: &S::Witness,
) -> BegunSlot<CS::Var> {
    cs.relation("S1, active bit");
    let active = Bit::witness(cs, active);
    let parts = slot.synthesize(cs, globals, SlotInput { active: &active, registers }, witness);
    BegunSlot { active, parts }
}

/// Adds the rest of a slot: S2 to S4. Gives what it posts and what it hands on.
pub(crate) fn end_slot<CS: ConstraintSystem>(
    cs: &mut CS,
    names: &SlotRelations,
    BegunSlot { active, parts }: BegunSlot<CS::Var>,
    Carry { mut cap, fee_sum, .. }: Carry<CS::Var>,
) -> (Vec<CS::Var>, Carry<CS::Var>) {
    cs.relation(names.record);
    let posted = parts.elements.iter().map(|element| cs.product(element, active.var())).collect();
    let last = parts.updates.len() - 1;
    for (number, SlotUpdate { relation, update: CapUpdate { bits, node } }) in parts.updates.into_iter().enumerate() {
        cs.relation(relation);
        let before = cap.choose(cs, &bits);
        bits::enforce_equal_if(cs, &active, &before, &node.before);
        cs.relation(names.state_after);
        let change = cs.product(&(node.after - node.before), active.var());
        cap = if number < last { cap.changed(cs, &bits, change) } else { cap.changed_on_wires(cs, &bits, change) };
    }
    cs.relation(names.fee);
    let fee_sum_after = cs.witness(cs.value(&fee_sum) + cs.value(active.var()) * cs.value(&parts.fee));
    cs.enforce(&parts.fee, active.var(), &(fee_sum_after.clone() - fee_sum));
    cs.relation("S5, registers");
    let registers = parts.registers.iter().map(|register| cs.wire(register)).collect();
    (posted, Carry { cap, fee_sum: fee_sum_after, registers })
}

/// Adds the tail: T1 to T7. Gives the statement's digest, which the caller holds to the public input.
pub(super) fn tail<CS: ConstraintSystem>(
    cs: &mut CS,
    circuit: CircuitId,
    globals: &Globals<CS::Var>,
    elements: &[CS::Var],
    start: &Carry<CS::Var>,
    carry: &Carry<CS::Var>,
    operator: Option<&CellUpdate>,
) -> CS::Var {
    cs.relation("T1, data digest");
    let data_digest = poseidon2::hash(cs, Domain::Data, elements);
    let cap_after = match operator {
        Some(operator) => credit_operator(cs, globals, carry, operator),
        None => carry.cap.clone(),
    };
    cs.relation("T6, roots");
    let [root_before, root_after] = [&start.cap, &cap_after].map(|cap| cap.root(cs));
    cs.relation("T8, registers");
    let [registers_before, registers_after] = [start, carry].map(|carry| registers_digest(cs, &carry.registers));
    cs.relation("T7, statement");
    let zero = CS::Var::zero;
    let statement: [_; STATEMENT_ELEMENTS] = [
        circuit.element().into(),
        globals.chain_id.clone(),
        root_before,
        root_after,
        data_digest,
        globals.height_blocks.clone(),
        globals.token.clone(),
        globals.operator.clone(),
        registers_before,
        registers_after,
        zero(),
        zero(),
        zero(),
        zero(),
    ];
    poseidon2::hash(cs, Domain::Statement, &statement)
}

/// The twin of [`taproof_verifier::statement::Registers::digest`]: zero, and no row, where there are none.
fn registers_digest<CS: ConstraintSystem>(cs: &mut CS, registers: &[CS::Var]) -> CS::Var {
    if registers.is_empty() {
        return CS::Var::zero();
    }
    let of_zeros = native_hash(Domain::Registers, &vec![Fr::ZERO; registers.len()]);
    poseidon2::hash(cs, Domain::Registers, registers) - of_zeros.into()
}

/// T2 to T5: the operator's cell after the last slot, with the sum of fees added; gives the cap after.
fn credit_operator<CS: ConstraintSystem>(
    cs: &mut CS,
    globals: &Globals<CS::Var>,
    carry: &Carry<CS::Var>,
    operator: &CellUpdate,
) -> Cap<CS::Var> {
    cs.relation("T2, operator's index");
    let index_bits = bits::decompose(cs, &globals.operator, globals.depth.index_bits() as usize);
    cs.relation("T3, operator's account");
    let before = CellFields::witness(cs, &operator.before);
    let has_fees = bits::is_zero(cs, &carry.fee_sum).not();
    bits::enforce_equal_if(cs, &has_fees, &before.kind, &Fr::from(Account::KIND).into());
    bits::enforce_equal_if(cs, &has_fees, &before.token, &globals.token);
    cs.relation("T4, operator's balance");
    let after = CellFields { balance: before.balance.clone() + carry.fee_sum.clone(), ..before.clone() };
    // Without fees the cell need not be an account, and its fourth field may be any element.
    let balance = cs.product(&after.balance, has_fees.var());
    bits::enforce_width(cs, &balance, 64);
    let leaf = Replaced { before: before.hash(cs), after: after.hash(cs) };
    cs.relation("T5, operator's cell in the state");
    let CapUpdate { bits, node } = merkle::climb(cs, &index_bits, leaf, &operator.path);
    let found = carry.cap.choose(cs, &bits);
    cs.enforce_equal(&found, &node.before);
    carry.cap.changed(cs, &bits, node.after - node.before)
}

/// The operator's update of a circuit without values.
pub(super) fn blank_operator(depth: Depth) -> CellUpdate {
    let (before, after) = (Cell::Empty, Cell::Empty);
    CellUpdate { index: CellIndex::default(), before, after, path: blank_path(depth) }
}

/// A path of zeros.
pub(crate) fn blank_path(depth: Depth) -> MerklePath {
    let levels = vec![[Fr::ZERO; 7]; usize::from(depth.levels())];
    MerklePath::new(levels).expect("a depth is 1 to 10 levels")
}
