//! The three segments of a chunk's circuit. The numbers are those of the [module](super).

use super::witness::CellUpdate;
use crate::{
    cs::ConstraintSystem,
    cs::Variable,
    gadgets::{
        bits::{self, Bit},
        cell::CellFields,
        merkle::{self, Roots},
        poseidon2,
    },
};
use ark_bn254::Fr;
use ark_ff::AdditiveGroup;
use taproof_verifier::{
    cell::{Account, Cell, CellIndex, Depth, MerklePath},
    poseidon2::Domain,
    record::Kind,
    statement::{CircuitId, Statement},
};

/// The wires of the head: the constant one, the public input, the globals, and the carry.
pub(super) const HEAD_WIRES: usize = 8;
/// The wires that each segment hands to the next: the root and the sum of fees.
pub(super) const CARRY_WIRES: usize = 2;

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
    /// The root before the first slot.
    pub(crate) root_before: V,
    /// The depth of the tree.
    pub(crate) depth: Depth,
}

impl<V> Globals<V> {
    /// Reads the globals from the wires of the head.
    pub(super) fn at(depth: Depth, wire: impl Fn(usize) -> V) -> Self {
        let [chain_id, height_blocks, token, operator, root_before] = [2, 3, 4, 5, 6].map(wire);
        Self { chain_id, height_blocks, token, operator, root_before, depth }
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
    /// The root of the state.
    pub(crate) root: V,
    /// The sum of the fees so far.
    pub(crate) fee_sum: V,
}

/// What a slot of some kind gives to the chunk.
pub(crate) struct SlotParts<V> {
    /// The roots before and after the transition.
    pub(crate) roots: Roots<V>,
    /// The fee that the transition pays.
    pub(crate) fee: V,
    /// The elements of the record, of an active slot.
    pub(crate) elements: Vec<V>,
}

/// The names of the relations that the chunk adds to the slots of a kind.
pub(crate) struct SlotRelations {
    /// The record's elements, zero in a padding slot.
    pub(crate) record: &'static str,
    /// The root before is the carried one.
    pub(crate) root_before: &'static str,
    /// The root after is carried on.
    pub(crate) root_after: &'static str,
    /// The fee is added to the sum.
    pub(crate) fee: &'static str,
}

/// The circuit of one slot.
pub(crate) trait SlotCircuit {
    /// The kind of transition.
    const KIND: Kind;
    /// Names for reports.
    const RELATIONS: SlotRelations;
    /// The values of one slot.
    type Witness: Sync;

    /// Values of a padding slot: they satisfy every relation that does not depend on the carried root, with no secret.
    fn padding(statement: &Statement) -> Self::Witness;

    /// The paths, whose depth must be the circuit's.
    fn paths(witness: &Self::Witness) -> impl Iterator<Item = &MerklePath>;

    /// The fee that the transition pays.
    fn fee(witness: &Self::Witness) -> u64;

    /// Adds the transition. `active` is for relations between the transition's own two updates; the
    /// chunk itself binds roots, fee and record of an active slot and ignores those of a padding slot.
    fn synthesize<CS: ConstraintSystem>(
        cs: &mut CS,
        globals: &Globals<CS::Var>,
        active: &Bit<CS::Var>,
        witness: &Self::Witness,
    ) -> SlotParts<CS::Var>;
}

/// Adds the head: H1.
pub(super) fn head<CS: ConstraintSystem>(cs: &mut CS, statement: &Statement, digest: Fr) {
    let Statement { chain_id, root_before, context, .. } = statement;
    cs.witness(Fr::from(1u64));
    cs.witness(digest);
    for global in [chain_id.0, context.height_blocks, context.token.0, context.operator.get()] {
        cs.witness(global.into());
    }
    cs.witness(*root_before);
    cs.relation("H1, fees start at zero");
    let fee_sum = cs.witness(Fr::ZERO);
    cs.enforce_zero(&fee_sum);
}

/// Adds a slot: the kind's own relations and S1 to S4.
///
/// `carry_in` gets the value of the root that the transition starts from, which a trace takes for the carried one until
/// all slots are traced and compared.
pub(crate) fn slot<S: SlotCircuit, CS: ConstraintSystem>(
    cs: &mut CS,
    globals: &Globals<CS::Var>,
    active: bool,
    witness: &S::Witness,
    carry_in: impl FnOnce(Fr) -> Carry<CS::Var>,
) {
    let names = S::RELATIONS;
    cs.relation("S1, active bit");
    let active = Bit::witness(cs, active);
    let SlotParts { roots, fee, elements } = S::synthesize(cs, globals, &active, witness);
    let carry = carry_in(cs.value(&roots.before));
    cs.relation(names.root_before);
    bits::enforce_equal_if(cs, &active, &roots.before, &carry.root);
    cs.relation(names.record);
    for element in &elements {
        cs.product(element, active.var());
    }
    let mut carry_on = |name: &'static str, old: CS::Var, change: CS::Var| {
        cs.relation(name);
        let new = cs.witness(cs.value(&old) + cs.value(active.var()) * cs.value(&change));
        cs.enforce(&change, active.var(), &(new - old));
    };
    carry_on(names.root_after, carry.root.clone(), roots.after - carry.root);
    carry_on(names.fee, carry.fee_sum, fee);
}

/// Adds the tail: T1 to T6. Gives the statement's digest, which the caller holds to the public input.
pub(super) fn tail<CS: ConstraintSystem>(
    cs: &mut CS,
    circuit: CircuitId,
    globals: &Globals<CS::Var>,
    elements: &[CS::Var],
    carry: &Carry<CS::Var>,
    operator: Option<&CellUpdate>,
) -> CS::Var {
    cs.relation("T1, data digest");
    let data_digest = poseidon2::hash(cs, Domain::Data, elements);
    let root_after = match operator {
        Some(operator) => credit_operator(cs, globals, carry, operator),
        None => carry.root.clone(),
    };
    cs.relation("T6, statement");
    let statement = [
        circuit.element().into(),
        globals.chain_id.clone(),
        globals.root_before.clone(),
        root_after,
        data_digest,
        globals.height_blocks.clone(),
        globals.token.clone(),
        globals.operator.clone(),
    ];
    poseidon2::hash(cs, Domain::Statement, &statement)
}

/// T2 to T5: the operator's cell after the last slot, with the sum of fees added; gives the root after.
fn credit_operator<CS: ConstraintSystem>(
    cs: &mut CS,
    globals: &Globals<CS::Var>,
    carry: &Carry<CS::Var>,
    operator: &CellUpdate,
) -> CS::Var {
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
    let leaves = Roots { before: before.hash(cs), after: after.hash(cs) };
    cs.relation("T5, operator's cell in the state");
    let roots = merkle::update(cs, &index_bits, leaves, &operator.path);
    cs.enforce_equal(&roots.before, &carry.root);
    roots.after
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
