//! Random circuits for the tests of keys and proofs: a head, a repeated slot and a tail of random rows.

use crate::{
    key_file::Key,
    proving_key::ProvingKey,
    setup::{self, Randomness, SetupOptions},
};
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field, UniformRand};
use bitcoin::Network;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use std::num::NonZeroU16;
use taproof_base::progress::Silent;
use taproof_circuits::{
    chunk::witness::ChunkWitness,
    cs::{Assignment, ConstraintSystem, SegmentShape, Shape, Trace},
    schnorr::SecretKey,
    state::{Plan, Slots, State},
    transaction::Deposit,
};
use taproof_verifier::{
    cell::{CellIndex, ChainId, Depth, Token},
    record::Kind,
    statement::{CircuitId, Context, Registers, Statement},
};

/// The number of rows of each segment; every row adds one wire, and every third row is followed by a wire of value 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Toy {
    pub(crate) seed: u64,
    pub(crate) head_rows: usize,
    pub(crate) slot_rows: usize,
    pub(crate) slots: u16,
    pub(crate) tail_rows: usize,
}

/// The last wires of the head and of each slot that the next segment reads.
const CARRY: usize = 2;

impl Toy {
    /// A circuit of exactly so many rows, in two slots if there is room for them.
    pub(crate) fn of_rows(rows: usize, seed: u64) -> Self {
        let slot_rows = if rows >= 10 { (rows - 4) / 2 } else { CARRY };
        let slots = if rows >= 10 { 2 } else { 0 };
        let head_rows = if slots == 2 { 3 } else { rows };
        Self { seed, head_rows, slot_rows, slots, tail_rows: rows - head_rows - usize::from(slots) * slot_rows }
    }

    pub(crate) fn circuit(&self) -> CircuitId {
        CircuitId::new(Kind::Transfer, Depth::new(1).expect("a legal depth"), self.slots)
    }

    pub(crate) fn statement(&self) -> Statement {
        Statement {
            chain_id: ChainId::from_byte_array([1; 15]),
            circuit: self.circuit(),
            root_before: Fr::from(self.seed),
            root_after: Fr::from(2u64),
            data_digest: Fr::from(3u64),
            context: Context { height_blocks: 4, token: Token(5), operator: CellIndex::new(6).expect("a small index") },
            registers: Registers::NONE,
        }
    }

    pub(crate) fn shape(&self) -> Shape {
        let mut head = SegmentShape::new(0);
        head.witness(Fr::ONE);
        let public = head.witness(Fr::ZERO);
        self.rows(&mut head, 0, self.head_rows, vec![public]);
        let after_head = head.wire_count();
        let shared: Vec<_> = (1..after_head).map(SegmentShape::wire_at).collect();
        let mut slot = SegmentShape::new(after_head);
        self.rows(&mut slot, 1, self.slot_rows, shared.clone());
        let after_slots = after_head + usize::from(self.slots) * slot.wire_count();
        let mut tail = SegmentShape::new(after_slots);
        let carried = (after_slots - CARRY..after_slots).map(SegmentShape::wire_at);
        let inputs = shared[..after_head - 1 - CARRY].iter().cloned().chain(carried).collect();
        self.rows(&mut tail, 2, self.tail_rows, inputs);
        Shape::new(head, slot, tail, self.slots.into(), CARRY)
    }

    pub(crate) fn assignment(&self, shape: &Shape) -> Assignment {
        let (wire_count, row_count) = (shape.wire_count(), shape.row_count());
        let mut wires = vec![Fr::ZERO; wire_count];
        let [mut a, mut b, mut c] = [(); 3].map(|()| vec![Fr::ZERO; row_count]);
        let after_head = shape.head().wire_count();
        let (mut wire, mut row) = (0, 0);
        for part in 0..usize::from(self.slots) + 2 {
            let (which, segment, rows) = match part {
                0 => (0, shape.head(), self.head_rows),
                part if part <= usize::from(self.slots) => (1, shape.slot(), self.slot_rows),
                _ => (2, shape.tail(), self.tail_rows),
            };
            let (before, rest) = wires.split_at_mut(wire);
            let (wire_end, row_end) = (segment.wire_count(), row + segment.rows().len());
            let mut trace =
                Trace::new(&mut rest[..wire_end], &mut a[row..row_end], &mut b[row..row_end], &mut c[row..row_end]);
            let inputs = if part == 0 {
                trace.witness(Fr::ONE);
                vec![trace.witness(self.statement().digest())]
            } else {
                [&before[1..after_head - CARRY], &before[wire - CARRY..]].concat()
            };
            self.rows(&mut trace, which, rows, inputs);
            trace.finish();
            (wire, row) = (wire + wire_end, row_end);
        }
        Assignment { wires, a, b, c }
    }

    /// Adds rows over random sums of what came before; the sums depend on the seed alone.
    fn rows<CS: ConstraintSystem>(&self, cs: &mut CS, segment: u64, rows: usize, mut known: Vec<CS::Var>) {
        let mut rng = ChaCha20Rng::seed_from_u64(self.seed ^ (segment << 32));
        cs.relation(["head", "slot", "tail"][segment as usize]);
        for row in 0..rows {
            let [left, right] = [(); 2].map(|()| {
                let mut sum = CS::Var::from(Fr::from(rng.gen_range(0..2u64)));
                for _ in 0..rng.gen_range(1..4) {
                    let coefficient = if rng.gen_bool(0.3) { Fr::ONE } else { Fr::rand(&mut rng) };
                    sum += known[rng.gen_range(0..known.len())].clone() * coefficient;
                }
                sum
            });
            if row % 3 == 1 {
                known.push(cs.witness(Fr::ZERO));
            }
            known.push(if row % 5 == 4 { cs.wire(&left) } else { cs.product(&left, &right) });
        }
        // The carry exists even in a segment of too few rows.
        if rows < CARRY {
            known.extend((0..CARRY).map(|_| cs.witness(Fr::ZERO)));
        }
    }

    pub(crate) fn proving_key(&self, shape: &Shape) -> ProvingKey {
        proving_key(shape, self.circuit(), SEED)
    }

    /// The circuit's key, through a file.
    pub(crate) fn key(&self, shape: &Shape) -> Key {
        key(shape, self.circuit())
    }
}

fn proving_key(shape: &Shape, circuit: CircuitId, seed: u8) -> ProvingKey {
    let options = SetupOptions {
        network: Network::Regtest,
        allow_outside_test_networks: false,
        randomness: Randomness::Seed([seed; 32]),
    };
    setup::generate(shape, circuit, &options, &Silent).expect("a small circuit")
}

/// A key that is made for these matrices under the name of that circuit, through a file.
pub(crate) fn key(shape: &Shape, circuit: CircuitId) -> Key {
    key_of_seed(shape, circuit, SEED)
}

/// The seed of the keys.
const SEED: u8 = 9;

/// Another key of the same matrices.
pub(crate) fn other_key(shape: &Shape, circuit: CircuitId) -> Key {
    key_of_seed(shape, circuit, SEED + 1)
}

/// Chunks of one deposit each, one after the other.
pub(crate) fn deposit_chunks(count: u8) -> Vec<ChunkWitness> {
    let mut state = State::new(ChainId::from_byte_array([7; 15]), Depth::new(1).expect("a legal depth"));
    let slots = Slots::uniform(NonZeroU16::MIN);
    let plan = Plan {
        height_blocks: 100,
        slots,
        operators: Default::default(),
        chunks_max: usize::from(count),
        admission: Default::default(),
    };
    let deposit = |seed| Deposit { amount_sat: 5000, owner: *SecretKey::from_seed(&[seed; 32]).public() };
    let deposits: Vec<Deposit> = (1..=count).map(deposit).collect();
    state.apply(&plan, &deposits, &[]).expect("a plan without operators").chunks
}

fn key_of_seed(shape: &Shape, circuit: CircuitId, seed: u8) -> Key {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let path = folder.path().join("key");
    crate::key_file::write(&proving_key(shape, circuit, seed), &path).expect("there is room");
    Key::open(&path, circuit).expect("the key was just written")
}
