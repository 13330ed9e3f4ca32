//! Anchor payloads: the bytes as they are; the bytes with proofs put in, so that the fuzzer need not find points of the
//! curve; and a valid payload that the input describes, altered before and after it is compressed. And the refutations
//! of exit requests by themselves.
#![no_main]

use ark_ec::{AffineRepr, CurveGroup};
use libfuzzer_sys::fuzz_target;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
};
use taproof_verifier::{
    ark_bn254::{Fr, G1Affine, G2Affine},
    baby_jubjub::{Point, PublicKey},
    bitcoin::{BlockHash, hashes::Hash},
    cell::{CellElements, CellIndex, ChainId, Depth, MerklePath, Token, empty_root},
    codec,
    exit::Refutation,
    groth16::Proof,
    operation::{Check, Columns, Operation, OperationSet, OperationsHash},
    payload::{
        CHUNK_HEADER_LENGTH, Chunk, HEADER_LENGTH, Header, Payload, PayloadError, PayloadHash, REGISTERS_LENGTH,
    },
    poseidon2::compress,
    program::{CircuitTable, ProgramId},
    record::{
        DepositRecord, Destination, Evidence, Kind, OpenRecord, Records, StepRecord, StepRecords, TransferRecord,
        WithdrawRecord,
    },
    statement::CircuitId,
};

/// The groups' generators: a proof of nothing, but a well-formed one.
static PROOF: LazyLock<Proof> = LazyLock::new(|| {
    let (g1, g2) = (G1Affine::generator(), G2Affine::generator());
    Proof::new(g1, g2, g1).expect("the generators are points of the groups")
});

/// Operations with each check, with all columns and with no more than it needs.
static OPERATIONS: LazyLock<Arc<OperationSet>> = LazyLock::new(|| {
    let operation = |(check, number): (Check, u8)| Operation {
        number,
        columns: if usize::from(number) <= Check::ALL.len() { Columns::ALL } else { check.columns_needed() },
        check,
    };
    let operations = Check::ALL.into_iter().chain(Check::ALL).zip(1..).map(operation);
    Arc::new(OperationSet::new(operations.collect()).expect("ascending numbers"))
});

/// A program at two depths: circuits of payments, and of steps with each check.
static TABLE: LazyLock<Arc<CircuitTable>> = LazyLock::new(|| {
    let circuits = [2, 10].into_iter().filter_map(Depth::new).flat_map(|depth| {
        let step = CircuitId { operations: OPERATIONS.hash(), ..CircuitId::new(Kind::Step, depth, 8) };
        Kind::PAYMENTS.map(|kind| CircuitId::new(kind, depth, 8)).into_iter().chain([step])
    });
    let circuits = circuits.collect();
    Arc::new(CircuitTable::new(vec![OperationSet::clone(&OPERATIONS)], circuits).expect("a circuit of each kind"))
});

static OWNERS: LazyLock<Vec<PublicKey>> = LazyLock::new(|| {
    let multiple = |i: u64| (Point::generator() * taproof_verifier::baby_jubjub::Scalar::from(i)).into_affine();
    (1..5).map(|i| PublicKey::new(multiple(i)).expect("a multiple of the generator")).collect()
});

fuzz_target!(|input: &[u8]| {
    decode(input);
    for depth in (1..=Depth::MAX.levels()).filter_map(Depth::new) {
        if let Ok(refutation) = Refutation::from_bytes(input, depth) {
            let mut bytes = Vec::new();
            refutation.write(&mut bytes);
            assert_eq!(bytes, input);
        }
    }
    decode_with_proofs(input);
    alter_a_valid_one(input);
});

fn decode_with_proofs(input: &[u8]) {
    if input.len() < HEADER_LENGTH {
        return;
    }
    let (header, mut rest) = input.split_at(HEADER_LENGTH);
    let chunk_count = usize::from(u16::from_le_bytes([header[HEADER_LENGTH - 12], header[HEADER_LENGTH - 11]])).min(64);
    let chunk_headers = rest;
    for _ in 0..chunk_count {
        let place = rest.first_chunk().map(|place| u16::from_le_bytes(*place));
        let is_step = place.and_then(|place| TABLE.circuit(place)).is_some_and(|circuit| circuit.kind == Kind::Step);
        let length = CHUNK_HEADER_LENGTH + if is_step { REGISTERS_LENGTH } else { 0 };
        let Some((_, records)) = rest.split_at_checked(length) else { return };
        rest = records;
    }
    let chunk_headers = &chunk_headers[..chunk_headers.len() - rest.len()];
    decode(&[header, chunk_headers, &PROOF.to_bytes().repeat(chunk_count), rest].concat());
}

fn decode(bytes: &[u8]) -> Option<PayloadError> {
    let _ = Header::decode(bytes);
    match Payload::decode(bytes, &TABLE) {
        Ok(payload) => {
            assert_eq!(payload.statements().len(), payload.chunks().len());
            let root = Some(payload.header().root_before);
            assert!(payload.refutations().iter().all(|refutation| refutation.root() == root));
            let encoded = payload.encode().expect("a payload that was decoded fits");
            assert_eq!(Payload::decode(&encoded, &TABLE), Ok(payload));
            None
        }
        Err(error) => Some(error),
    }
}

fn alter_a_valid_one(input: &[u8]) {
    let mut input = Input(input);
    let payload = input.payload();
    let bytes = payload.encode().expect("a short payload");
    assert_eq!(Payload::decode(&bytes, &TABLE).as_ref(), Ok(&payload));
    let length_at = |offset: usize| u32::from_le_bytes(*bytes[offset..].first_chunk().expect("in the header")) as usize;
    let (columns_length, compressed_length) = (length_at(HEADER_LENGTH - 8), length_at(HEADER_LENGTH - 4));
    let (fixed, stream) = bytes.split_at(bytes.len() - compressed_length);
    let (mut fixed, columns) = (fixed.to_vec(), codec::inflate(stream, columns_length).expect("just compressed"));
    let mut altered = columns.clone();
    for _ in 0..input.below(4) {
        input.alter(&mut altered);
    }
    let compressed = codec::deflate(&altered);
    fixed[HEADER_LENGTH - 4..HEADER_LENGTH].copy_from_slice(&(compressed.len() as u32).to_le_bytes());
    if let Some(PayloadError::RefutationRoot(position)) = decode(&[fixed.as_slice(), &compressed].concat()) {
        let length = Refutation::length(payload.header().depth);
        let shown = &altered[altered.len() - length * payload.refutations().len()..];
        let refutation = Refutation::from_bytes(&shown[position * length..][..length], payload.header().depth);
        let root = refutation.expect("they were read").root();
        assert_ne!(root, Some(payload.header().root_before), "it does not lead to the root");
    }
    for _ in 0..input.below(4) {
        input.alter(&mut fixed);
    }
    decode(&[fixed.as_slice(), &compressed].concat());
}

/// What is left of an input that is read as choices; zeros follow it.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    fn integer(&mut self) -> u64 {
        let length = self.below(9);
        u64::from_le_bytes(std::array::from_fn(|i| if i < length { self.byte() } else { 0 }))
    }

    /// Alters a byte somewhere.
    fn alter(&mut self, bytes: &mut [u8]) {
        let place = usize::from(u16::from_le_bytes([self.byte(), self.byte()]));
        let length = bytes.len().max(1);
        if let Some(byte) = bytes.get_mut(place % length) {
            *byte ^= self.byte().max(1);
        }
    }

    fn cell(&mut self, depth: Depth) -> CellIndex {
        CellIndex::new(self.integer() as u32 % depth.cell_count()).expect("in the tree")
    }

    fn owner(&mut self) -> PublicKey {
        OWNERS[self.below(OWNERS.len())]
    }

    fn payload(&mut self) -> Payload {
        let depth = Depth::new([2, 10][self.below(2)]).expect("one of the table's");
        let cells: BTreeMap<CellIndex, CellElements> = (0..self.below(4))
            .map(|_| (self.cell(depth), CellElements(std::array::from_fn(|_| Fr::from(self.integer())))))
            .collect();
        let shown: BTreeSet<CellIndex> = (0..self.below(4)).map(|_| self.cell(depth)).collect();
        let shown = shown.into_iter().chain(cells.keys().copied()).collect::<BTreeSet<_>>();
        let refutations: Vec<_> = shown.into_iter().map(|index| show(&cells, depth, index)).collect();
        let root_before = node(&cells, depth.levels(), 0);
        let chunk_count = self.below(6).max(usize::from(refutations.is_empty()));
        let kinds: Vec<Kind> = (0..chunk_count).map(|_| Kind::ALL[self.below(Kind::ALL.len())]).collect();
        let chunk = |(position, kind): (usize, &Kind)| {
            let carries = *kind == Kind::Step && kinds.get(position + 1) == Some(&Kind::Step);
            let registers_after = Fr::from(if carries { self.integer() } else { 0 });
            let is_deposit = *kind == Kind::Deposit;
            let operations = if *kind == Kind::Step { OPERATIONS.hash() } else { OperationsHash::NONE };
            Chunk {
                circuit: CircuitId { operations, ..CircuitId::new(*kind, depth, 8) },
                token: Token(if is_deposit || *kind == Kind::Step { 0 } else { self.below(3) as u32 }),
                operator: if is_deposit { CellIndex::default() } else { self.cell(depth) },
                root_after: Fr::from(position as u64),
                registers_after,
                records: self.records(*kind, depth),
                proof: PROOF.clone(),
            }
        };
        let chunks: Vec<Chunk> = kinds.iter().enumerate().map(chunk).collect();
        let header = Header {
            chain_id: ChainId::from_byte_array([self.byte(); 15]),
            batch: self.integer(),
            previous_payload_hash: PayloadHash::NONE,
            root_before,
            root_after: chunks.last().map_or(root_before, |chunk| chunk.root_after),
            depth,
            reference_height: self.integer() as u32,
            reference_hash: BlockHash::all_zeros(),
            deposits_consumed: self.integer(),
            program_id: ProgramId::from_byte_array([0; 32]),
        };
        Payload::with_refutations(TABLE.clone(), header, chunks, refutations).expect("a valid payload")
    }

    fn records(&mut self, kind: Kind, depth: Depth) -> Records {
        let count = self.below(9);
        match kind {
            Kind::Deposit => Records::Deposit(
                (0..count)
                    .map(|_| DepositRecord { to: self.cell(depth), amount_sat: self.integer(), owner: self.owner() })
                    .collect(),
            ),
            Kind::Transfer => Records::Transfer((0..count).map(|_| self.transfer(depth)).collect()),
            Kind::Open => {
                let open = |_| {
                    let TransferRecord { from, to, amount, fee } = self.transfer(depth);
                    OpenRecord { from, to, amount, fee, owner: self.owner() }
                };
                Records::Open((0..count).map(open).collect())
            }
            Kind::Withdraw => {
                let withdraw = |_| {
                    let TransferRecord { from, amount, fee, .. } = self.transfer(depth);
                    let number = self.below(Destination::TYPES.into()) as u8;
                    let length = Destination::program_length(number).expect("a type");
                    let destination = Destination::new(number, &vec![self.byte(); length]).expect("its length");
                    WithdrawRecord { from, amount, fee, destination }
                };
                Records::Withdraw((0..count).map(withdraw).collect())
            }
            Kind::Step => {
                let records = (0..count).map(|_| self.step(depth)).collect();
                Records::Step(StepRecords::new(OPERATIONS.clone(), records).expect("by the operations' table"))
            }
        }
    }

    fn transfer(&mut self, depth: Depth) -> TransferRecord {
        let (from, to) = (self.cell(depth), self.cell(depth));
        TransferRecord { from, to, amount: self.integer(), fee: self.integer() }
    }

    fn step(&mut self, depth: Depth) -> StepRecord {
        let operation = OPERATIONS.operations()[self.below(OPERATIONS.operations().len())];
        let evidence = vec![self.byte(); operation.check.evidence_length()];
        let (evidence, _) = Evidence::read(operation.check, &evidence).expect("as long as it must be");
        let record = StepRecord { evidence, ..StepRecord::new(operation.number) };
        if operation.columns != Columns::ALL {
            return record;
        }
        let (flags, cell, word) = (self.byte(), self.cell(depth), Fr::from(self.integer()));
        let [a, b, c] = std::array::from_fn(|_| self.integer());
        StepRecord { flags, cell, a, b, c, word, ..record }
    }
}

/// The node at a height and a position of the tree that has these cells.
fn node(cells: &BTreeMap<CellIndex, CellElements>, height: u8, position: u32) -> Fr {
    let first = position << (3 * height);
    let last = first + (1 << (3 * height)) - 1;
    let [first, last] = [first, last].map(|index| CellIndex::new(index).expect("in the tree"));
    match cells.range(first..=last).next() {
        None => EMPTY_ROOTS[usize::from(height)],
        Some((_, cell)) if height == 0 => cell.hash(),
        Some(_) => compress(&std::array::from_fn(|i| node(cells, height - 1, position * 8 + i as u32))),
    }
}

static EMPTY_ROOTS: LazyLock<Vec<Fr>> = LazyLock::new(|| (0..=Depth::MAX.levels()).map(empty_root).collect());

fn show(cells: &BTreeMap<CellIndex, CellElements>, depth: Depth, index: CellIndex) -> Refutation {
    let siblings = |height: u8| {
        let own = index.get() >> (3 * height);
        let mut others = (own & !7..=own | 7).filter(|position| *position != own);
        std::array::from_fn(|_| node(cells, height, others.next().expect("seven siblings")))
    };
    let path = MerklePath::new((0..depth.levels()).map(siblings).collect()).expect("1 to 10 levels");
    Refutation { index, cell: cells.get(&index).copied().unwrap_or_default(), path }
}
