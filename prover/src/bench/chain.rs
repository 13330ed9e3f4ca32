//! A circuit of any size to measure with: chained hashes and bit decompositions, as rollup circuits are made of.
//!
//! Seven of eight rows are those of Poseidon2, the others are bits. It proves nothing that anyone wants to know.

use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field, PrimeField};
use taproof_circuits::{
    cs::{Assignment, ConstraintSystem, SegmentShape, Shape, Trace},
    gadgets::{bits, poseidon2},
};
use taproof_kernel::setup::PUBLIC_WIRES;
use taproof_verifier::{
    cell::{CellIndex, ChainId, Depth, Token},
    poseidon2::WIDTH,
    record::Kind,
    statement::{CircuitId, Context, Registers, Statement},
};

/// Hashes of a slot.
const HASHES: usize = 5;

/// Bits of a slot.
const BITS: usize = 253;

/// What a slot hands on: one wire.
const CARRY: usize = 1;

/// The circuit that fills a domain of 2^k to the last row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    rows: usize,
    slots: u16,
}

impl Chain {
    /// The least k: a slot has about 2^11 rows.
    pub(super) const LOG_SIZE_MIN: u32 = 12;

    /// The greatest k: a circuit has fewer than 2^16 slots.
    pub(super) const LOG_SIZE_MAX: u32 = 24;

    /// The circuit that fills a domain of 2^`log_size`.
    pub(super) fn new(log_size: u32) -> Self {
        let rows = (1 << log_size) - PUBLIC_WIRES;
        let mut slot = SegmentShape::new(0);
        link(&mut slot, SegmentShape::wire_at(0));
        let slots = (rows - 1) / slot.rows().len();
        Self { rows, slots: slots.try_into().expect("the range of sizes keeps the slots below 2^16") }
    }

    /// The number of rows.
    pub(super) fn row_count(&self) -> usize {
        self.rows
    }

    /// A statement to have a public input.
    pub(super) fn statement(&self) -> Statement {
        Statement {
            chain_id: ChainId::from_byte_array([0; 15]),
            circuit: CircuitId::new(Kind::Transfer, Depth::MAX, self.slots),
            root_before: Fr::ZERO,
            root_after: Fr::ONE,
            data_digest: Fr::ZERO,
            context: Context { height_blocks: 0, token: Token::BITCOIN, operator: CellIndex::default() },
            registers: Registers::NONE,
        }
    }

    /// The matrices.
    pub(super) fn shape(&self) -> Shape {
        let mut head = SegmentShape::new(0);
        start(&mut head, Fr::ZERO);
        let after_head = head.wire_count();
        let mut slot = SegmentShape::new(after_head);
        link(&mut slot, SegmentShape::wire_at(after_head - 1));
        let slots = usize::from(self.slots);
        let after_slots = after_head + slots * slot.wire_count();
        let mut tail = SegmentShape::new(after_slots);
        let rest = self.rows - head.rows().len() - slots * slot.rows().len();
        fill(&mut tail, SegmentShape::wire_at(after_slots - 1), rest);
        Shape::new(head, slot, tail, slots, CARRY)
    }

    /// An assignment that satisfies them.
    pub(super) fn assignment(&self, shape: &Shape) -> Assignment {
        let mut wires = vec![Fr::ZERO; shape.wire_count()];
        let [mut a, mut b, mut c] = [(); 3].map(|()| vec![Fr::ZERO; shape.row_count()]);
        let (mut wire, mut row) = (0, 0);
        let mut segment = |of: &SegmentShape, run: &mut dyn FnMut(&mut Trace<'_>)| {
            let (wire_end, row_end) = (wire + of.wire_count(), row + of.rows().len());
            let rows = row..row_end;
            let mut trace =
                Trace::new(&mut wires[wire..wire_end], &mut a[rows.clone()], &mut b[rows.clone()], &mut c[rows]);
            run(&mut trace);
            trace.finish();
            (wire, row) = (wire_end, row_end);
        };
        let mut carry = Fr::ZERO;
        segment(shape.head(), &mut |trace| carry = start(trace, self.statement().digest()));
        for _ in 0..self.slots {
            segment(shape.slot(), &mut |trace| carry = link(trace, carry));
        }
        segment(shape.tail(), &mut |trace| fill(trace, carry, shape.tail().rows().len()));
        Assignment { wires, a, b, c }
    }
}

/// The constant one, the public input, and what the first slot takes.
fn start<CS: ConstraintSystem>(cs: &mut CS, public: Fr) -> CS::Var {
    cs.witness(Fr::ONE);
    let public = cs.witness(public);
    cs.product(&public, &public)
}

/// One slot.
fn link<CS: ConstraintSystem>(cs: &mut CS, carry: CS::Var) -> CS::Var {
    let mut hash = carry;
    for round in 0..HASHES {
        let constants = core::array::from_fn::<_, WIDTH, _>(|i| CS::Var::from(Fr::from((i * HASHES + round) as u64)));
        let mut input = constants;
        input[0] = hash;
        hash = poseidon2::compress(cs, &input);
    }
    let mut low = cs.value(&hash).into_bigint();
    low.0[3] &= (1 << (BITS % 64)) - 1;
    let bits = bits::witness_bits(cs, Fr::from_bigint(low).expect("253 bits are below the field's order"), BITS);
    cs.wire(&(hash + bits::compose(&bits)))
}

/// Squares until the rows are full.
fn fill<CS: ConstraintSystem>(cs: &mut CS, mut value: CS::Var, rows: usize) {
    for _ in 0..rows {
        value = cs.product(&value, &value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_its_domain_and_is_satisfied() {
        for log_size in [Chain::LOG_SIZE_MIN, 14] {
            let chain = Chain::new(log_size);
            let shape = chain.shape();
            assert_eq!(shape.row_count() + PUBLIC_WIRES, 1 << log_size);
            assert_eq!(shape.row_count(), chain.row_count());
            let assignment = chain.assignment(&shape);
            assert_eq!(shape.first_unsatisfied(&assignment.wires), None);
            let rows = assignment.a.iter().zip(&assignment.b).zip(&assignment.c);
            assert!(rows.into_iter().all(|((a, b), c)| *a * b == *c));
        }
    }
}
