use super::*;
use crate::{
    baby_jubjub::{Point, PublicKey},
    cell::{Cell, CellElements, MerklePath},
    codec::{self, CodecError},
    exit::REQUESTS_ENOUGH,
    follow::deposits_enough,
    groth16::{self, PointError, VerifyingKey, simulate::Trapdoor},
    operation::{OperationSet, tests::example_set},
    program::{Program, VerifyError},
    record::{DepositRecord, Destination, StepRecords, TransferRecord, WithdrawRecord, example_records},
};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::UniformRand;
use proptest::{collection::vec, prelude::*};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha20Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

static TRAPDOOR: LazyLock<Trapdoor> = LazyLock::new(|| Trapdoor::new(20));
static PROOF: LazyLock<Proof> = LazyLock::new(|| TRAPDOOR.prove(Fr::from(1u64), 1));

fn depth() -> Depth {
    Depth::MAX
}

fn index(i: u32) -> CellIndex {
    CellIndex::new(i).expect("below 2^30")
}

fn header(root_after: Fr) -> Header {
    Header {
        chain_id: ChainId::from_byte_array([7; 15]),
        batch: 3,
        previous_payload_hash: PayloadHash::from_byte_array([5; 32]),
        root_before: Fr::from(100u64),
        root_after,
        depth: depth(),
        reference_height: 800_000,
        reference_hash: BlockHash::from_byte_array([6; 32]),
        deposits_consumed: 12,
        program_id: ProgramId::from_byte_array([8; 32]),
    }
}

fn chunk(records: Records, root: u64) -> Chunk {
    let (token, operator) = match records.kind() {
        Kind::Deposit => (Token::BITCOIN, index(0)),
        Kind::Step => (Token::BITCOIN, index(9)),
        _ => (Token(4), index(9)),
    };
    let circuit = circuit(&records, records.len() as u16 + 1);
    let (root_after, registers_after) = (Fr::from(root), Fr::from(0u64));
    Chunk { circuit, token, operator, root_after, registers_after, records, proof: PROOF.clone() }
}

/// The circuit of records with so many slots.
fn circuit(records: &Records, slots: u16) -> CircuitId {
    let operations = match records {
        Records::Step(steps) => steps.operations().hash(),
        _ => OperationsHash::NONE,
    };
    CircuitId { operations, ..CircuitId::new(records.kind(), depth(), slots) }
}

/// A table with the circuits of chunks, and with one of a slot for each kind of payment.
fn table_of(chunks: &[Chunk]) -> Arc<CircuitTable> {
    let sets: BTreeMap<_, _> = chunks
        .iter()
        .filter_map(|chunk| match &chunk.records {
            Records::Step(steps) => Some((steps.operations().hash(), (**steps.operations()).clone())),
            _ => None,
        })
        .collect();
    let payments = Kind::PAYMENTS.map(|kind| CircuitId::new(kind, depth(), 1));
    let circuits: BTreeSet<_> = chunks.iter().map(|chunk| chunk.circuit).chain(payments).collect();
    let table = CircuitTable::new(sets.into_values().collect(), circuits.into_iter().collect());
    Arc::new(table.expect("circuits with slots"))
}

/// A chunk of steps of the example's operations, one record for each.
fn steps(root: u64, registers_after: u64) -> Chunk {
    let records = StepRecords::new(Arc::new(example_set()), example_records()).expect("records of the set");
    Chunk { registers_after: Fr::from(registers_after), ..chunk(Records::Step(records), root) }
}

fn transfers(count: u32) -> Records {
    let transfer = |i| TransferRecord { from: index(i), to: index(i + 1), amount: u64::from(i) << 20, fee: 10 };
    Records::Transfer((0..count).map(transfer).collect())
}

fn payload_of(chunks: Vec<Chunk>) -> Result<Payload, PayloadError> {
    let root_after = chunks.last().map_or(Fr::from(1u64), |chunk| chunk.root_after);
    Payload::new(table_of(&chunks), header(root_after), chunks)
}

fn payload() -> Payload {
    let opens = Records::Open(Vec::new());
    payload_of(vec![chunk(transfers(3), 1), chunk(opens, 2), chunk(transfers(5), 3)]).expect("the payload is valid")
}

fn any_payload() -> impl Strategy<Value = Payload> {
    vec(codec::tests::records(0..6), 1..5).prop_map(|chunks| {
        let chunks = chunks.into_iter().zip(1..).map(|(records, root)| chunk(records, root)).collect();
        payload_of(chunks).expect("the payload is valid")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn payloads_round_trip(payload in any_payload()) {
        let bytes = payload.encode().expect("a short payload");
        prop_assert_eq!(Header::decode(&bytes), Ok(*payload.header()));
        prop_assert_eq!(Payload::decode(&bytes, payload.table()), Ok(payload));
    }

    #[test]
    fn altered_payloads_are_refused_or_others(
        payload in any_payload(),
        position in any::<proptest::sample::Index>(),
        flip in 1u8..,
    ) {
        let mut bytes = payload.encode().expect("a short payload");
        let position = position.index(bytes.len());
        bytes[position] ^= flip;
        if let Ok(altered) = Payload::decode(&bytes, payload.table()) {
            // Only the compressed records have more than one encoding.
            let steps = payload.chunks().iter().filter(|chunk| chunk.circuit.kind == Kind::Step).count();
            let fixed = HEADER_LENGTH + payload.chunks().len() * CHUNK_LENGTH + steps * REGISTERS_LENGTH;
            prop_assert!(altered != payload || position >= fixed);
        }
    }

    #[test]
    fn any_bytes_are_handled(bytes in vec(any::<u8>(), 0..600)) {
        let mut with_version = bytes;
        if let Some(version) = with_version.first_mut() {
            *version = VERSION;
        }
        prop_assert!(Payload::decode(&with_version, payload().table()).is_err());
    }
}

#[test]
fn every_altered_bit_of_the_fixed_part_is_refused_or_seen() {
    let payload = payload();
    let bytes = payload.encode().expect("a short payload");
    let proofs_start = HEADER_LENGTH + payload.chunks().len() * CHUNK_HEADER_LENGTH;
    for bit in 0..proofs_start * 8 {
        let mut altered = bytes.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(Payload::decode(&altered, payload.table()).as_ref(), Ok(&payload), "bit {bit}");
    }
}

#[test]
fn truncated_and_longer_payloads_are_refused() {
    let chunks = [payload().chunks(), &[steps(4, 0)]].concat();
    let payload = payload_of(chunks).expect("the payload is valid");
    let bytes = payload.encode().expect("a short payload");
    let decode = |bytes: &[u8]| Payload::decode(bytes, payload.table());
    for length in 0..bytes.len() {
        assert!(decode(&bytes[..length]).is_err());
    }
    assert_eq!(decode(&[bytes.as_slice(), &[0]].concat()), Err(PayloadError::Length));
    let oversize = [bytes, vec![0; PAYLOAD_LENGTH_MAX]].concat();
    assert_eq!(decode(&oversize), Err(PayloadError::TooLong(oversize.len())));
}

/// The offsets that docs/protocol.md gives.
#[test]
fn fields_lie_where_the_protocol_says() {
    let payload = payload();
    let bytes = payload.encode().expect("a short payload");
    assert_eq!((HEADER_LENGTH, CHUNK_HEADER_LENGTH), (209, 44));
    assert_eq!(bytes[0], 3);
    assert_eq!(bytes[1..16], [7; 15]);
    assert_eq!(bytes[16..24], 3u64.to_le_bytes());
    assert_eq!(bytes[24..56], [5; 32]);
    assert_eq!(bytes[56..88], field::to_bytes(&Fr::from(100u64)));
    assert_eq!(bytes[88..120], field::to_bytes(&Fr::from(3u64)));
    assert_eq!(bytes[120], 10);
    assert_eq!(bytes[121..125], 800_000u32.to_le_bytes());
    assert_eq!(bytes[125..157], [6; 32]);
    assert_eq!(bytes[157..165], 12u64.to_le_bytes());
    assert_eq!(bytes[165..197], [8; 32]);
    assert_eq!(bytes[197..199], 3u16.to_le_bytes());
    assert_eq!(bytes[199..201], [0; 2]);
    assert_eq!(bytes[201..205], (8 * 24u32).to_le_bytes());
    let compressed_length = bytes.len() - 209 - 3 * (44 + 128);
    assert_eq!(bytes[205..209], (compressed_length as u32).to_le_bytes());
    let first_chunk = &bytes[209..253];
    let place = payload.table().place(payload.chunks()[0].circuit).expect("a circuit of the table");
    assert_eq!((place, &first_chunk[..2]), (2, &[2, 0][..]), "behind those of one slot for deposits and transfers");
    assert_eq!(first_chunk[2..4], 3u16.to_le_bytes());
    assert_eq!(first_chunk[4..8], 4u32.to_le_bytes());
    assert_eq!(first_chunk[8..12], 9u32.to_le_bytes());
    assert_eq!(first_chunk[12..44], field::to_bytes(&Fr::from(1u64)));
    assert_eq!(bytes[209 + 3 * 44..][..128], PROOF.to_bytes());
}

/// A chunk of steps says its registers behind its root; what follows stands where it would otherwise.
#[test]
fn steps_say_their_registers() {
    let payload = payload_of(vec![steps(1, 77), steps(2, 0)]).expect("the payload is valid");
    let bytes = payload.encode().expect("a short payload");
    let (first, second) = (&bytes[209..285], &bytes[285..361]);
    assert_eq!(first[12..44], field::to_bytes(&Fr::from(1u64)));
    assert_eq!(first[44..], field::to_bytes(&Fr::from(77u64)));
    assert_eq!(second[44..], [0; 32]);
    assert_eq!(bytes[361..][..128], PROOF.to_bytes());
    assert_eq!(Payload::decode(&bytes, payload.table()).as_ref(), Ok(&payload));
    let registers = |statement: &Statement| (statement.registers.before, statement.registers.after);
    let [zero, middle] = [0u64, 77].map(Fr::from);
    assert_eq!(payload.statements().iter().map(registers).collect::<Vec<_>>(), [(zero, middle), (middle, zero)]);
    let mut altered = bytes;
    altered[209 + 44..][..32].fill(0xff);
    assert_eq!(Payload::decode(&altered, payload.table()), Err(PayloadError::Root(field::NotCanonicalError)));
}

/// Registers run from steps to steps alone.
#[test]
fn registers_are_zero_at_both_ends_and_around_payments() {
    let open = |chunk| Err(PayloadError::Registers { chunk });
    let payment = || chunk(transfers(2), 5);
    let check = |chunks: Vec<Chunk>| payload_of(chunks).map(drop);
    assert_eq!(check(vec![steps(1, 7), steps(2, 8), steps(3, 0), payment(), steps(4, 1), steps(5, 0)]), Ok(()));
    assert_eq!(check(vec![steps(1, 7)]), open(0), "at the end");
    assert_eq!(check(vec![steps(1, 7), steps(2, 8)]), open(1), "at the end");
    assert_eq!(check(vec![steps(1, 7), payment()]), open(0), "before a payment");
    assert_eq!(check(vec![steps(1, 7), payment(), steps(2, 0)]), open(0), "before a payment");
    let carried = Chunk { registers_after: Fr::from(7u64), ..payment() };
    assert_eq!(check(vec![carried.clone(), steps(2, 0)]), open(0), "payments carry none");
    assert_eq!(check(vec![carried]), open(0), "payments carry none");
}

#[test]
fn records_are_those_of_their_circuit() {
    let other = Err(PayloadError::OtherRecords { chunk: 0 });
    let table = table_of(&[steps(1, 0), chunk(transfers(3), 1)]);
    let with = |chunk: Chunk| Payload::new(table.clone(), header(chunk.root_after), vec![chunk]);
    assert!(with(steps(1, 0)).is_ok());
    assert_eq!(with(Chunk { records: transfers(1), ..steps(1, 0) }), other);
    let wrong = circuit(&Records::Open(Vec::new()), 1);
    assert_eq!(with(Chunk { circuit: wrong, ..chunk(transfers(0), 1) }), other);
    // Records of another set of operations than the circuit's.
    let set = OperationSet::new(example_set().operations()[..4].to_vec()).expect("a valid set");
    let records = StepRecords::new(Arc::new(set), example_records()[..4].to_vec()).expect("records of the set");
    assert_eq!(with(Chunk { records: Records::Step(records), ..steps(1, 0) }), other);
    let circuit = CircuitId::new(Kind::Transfer, depth(), 9);
    let unknown = PayloadError::UnknownCircuit { chunk: 0, circuit };
    assert_eq!(with(Chunk { circuit, ..chunk(transfers(3), 1) }), Err(unknown));
    let shallow = Header { depth: Depth::new(9).expect("nine levels"), ..header(Fr::from(1u64)) };
    let deep = chunk(transfers(3), 1);
    let depth_error = PayloadError::CircuitDepth { chunk: 0, circuit: deep.circuit };
    let circuits = Kind::PAYMENTS.map(|kind| CircuitId::new(kind, shallow.depth, 1));
    let shallow_steps = CircuitId { depth: shallow.depth, ..steps(1, 0).circuit };
    let both = CircuitTable::new(
        table.operation_sets().iter().map(|set| (**set).clone()).collect(),
        table.circuits().iter().copied().chain(circuits).chain([shallow_steps]).collect(),
    );
    assert_eq!(Payload::new(Arc::new(both.expect("both depths")), shallow, vec![deep]), Err(depth_error));
}

#[test]
fn foreign_versions_and_false_lengths_are_refused() {
    let payload = payload();
    let bytes = payload.encode().expect("a short payload");
    let with = |offset: usize, replacement: &[u8]| {
        let mut altered = bytes.clone();
        altered[offset..offset + replacement.len()].copy_from_slice(replacement);
        Payload::decode(&altered, payload.table())
    };
    for version in [1, 2, 4] {
        assert_eq!(with(0, &[version]), Err(PayloadError::Version(version)));
        assert_eq!(Header::decode(&[version; 300]), Err(PayloadError::Version(version)));
    }
    assert_eq!(with(120, &[0]), Err(PayloadError::Depth(0)));
    assert_eq!(with(120, &[11]), Err(PayloadError::Depth(11)));
    let shallow = with(120, &[9]);
    assert!(matches!(shallow, Err(PayloadError::CircuitDepth { chunk: 0, .. })), "circuits are for their depth");
    assert_eq!(with(56, &[0xff; 32]), Err(PayloadError::Root(field::NotCanonicalError)));
    assert_eq!(with(197, &[0, 0]), Err(PayloadError::Empty));
    assert_eq!(with(197, &[0xff, 0xff]), Err(PayloadError::Length));
    let announced = CodecError::Length { found: u32::MAX as usize, expected: 192 };
    assert_eq!(with(201, &[0xff; 4]), Err(PayloadError::Records(announced)));
    assert_eq!(with(199, &[1, 0]), Err(PayloadError::Length), "the columns are shorter than a refutation");
    assert_eq!(with(199, &[1, 16]), Err(PayloadError::TooManyRefutations(4_097)));
    assert_eq!(with(205, &[0xff; 4]), Err(PayloadError::Length));
    assert_eq!(with(209, &[6, 0]), Err(PayloadError::Place { chunk: 0, place: 6 }));
    assert_eq!(with(209, &[0xff; 2]), Err(PayloadError::Place { chunk: 0, place: u16::MAX }));
    assert_eq!(with(211, &[5, 0]), Err(PayloadError::RecordCount { chunk: 0, records: 5, slots: 4 }));
    assert_eq!(with(217, &[0xff; 4]), Err(PayloadError::IndexOutsideTree { chunk: 0, index: u32::MAX }));
    assert_eq!(with(209 + 44, &[0]), Err(PayloadError::DepositContext { chunk: 1 }));
    let proof = PayloadError::Proof { chunk: 1, source: PointError::NotCanonical };
    assert_eq!(with(209 + 3 * 44 + 128, &[0x3f; 32]), Err(proof));
}

/// A batch that shows cells may have no chunks, and then leaves the state as it is.
#[test]
fn refutations_alone_are_a_payload() {
    let levels = (0..depth().levels()).map(|height| [crate::cell::empty_root(height); 7]).collect();
    let path = MerklePath::new(levels).expect("ten levels");
    let refutation = |i: u32| Refutation { index: index(i), cell: Cell::Empty.elements(), path: path.clone() };
    let root = crate::cell::empty_root(depth().levels());
    let alone = |header, refutations| Payload::with_refutations(table_of(&[]), header, Vec::new(), refutations);
    let unchanged = Header { root_before: root, ..header(root) };
    let payload = alone(unchanged, vec![refutation(3), refutation(9)]).expect("the payload is valid");
    let bytes = payload.encode().expect("a short payload");
    assert_eq!(Payload::decode(&bytes, payload.table()).as_ref(), Ok(&payload));
    assert_eq!(encoded_length(&[], payload.refutations()), Ok(bytes.len()));
    assert!(payload.statements().is_empty());
    assert_eq!(groth16::verify_batch(&[]), Ok(Vec::new()), "there is nothing to prove");
    assert_eq!(alone(unchanged, Vec::new()), Err(PayloadError::Empty));
    let changed = Header { root_after: Fr::from(1u64), ..unchanged };
    let shallow = Header { depth: Depth::new(9).expect("nine levels"), ..unchanged };
    assert_eq!(alone(shallow, vec![refutation(3)]), Err(PayloadError::NoCircuits(shallow.depth)));
    assert_eq!(alone(changed, vec![refutation(3)]), Err(PayloadError::RootAfter));
    // As many as there can be: those of empty cells take little room, and more are refused.
    let many = |count| (0..count).map(refutation).collect::<Vec<_>>();
    let payload = alone(unchanged, many(REFUTATIONS_MAX as u32)).expect("the payload is valid");
    let bytes = payload.encode().expect("a short payload");
    assert_eq!(Payload::decode(&bytes, payload.table()), Ok(payload));
    let more = REFUTATIONS_MAX + 1;
    assert_eq!(alone(unchanged, many(more as u32)), Err(PayloadError::TooManyRefutations(more)));
}

#[test]
fn contradictory_parts_are_refused() {
    let with = |change: &dyn Fn(&mut Chunk)| {
        let mut chunks = vec![chunk(transfers(3), 1), chunk(transfers(2), 2)];
        change(&mut chunks[1]);
        Payload::new(table_of(&chunks), header(Fr::from(2u64)), chunks)
    };
    assert!(with(&|_| ()).is_ok());
    assert_eq!(payload_of(Vec::new()), Err(PayloadError::Empty));
    assert_eq!(with(&|chunk| chunk.root_after = Fr::from(3u64)), Err(PayloadError::RootAfter));
    let too_many = PayloadError::RecordCount { chunk: 1, records: 2, slots: 1 };
    assert_eq!(with(&|chunk| chunk.circuit.slots = 1), Err(too_many));
    let beyond_u16 = PayloadError::RecordCount { chunk: 1, records: 65_536, slots: 3 };
    assert_eq!(with(&|chunk| chunk.records = transfers(65_536)), Err(beyond_u16));
    assert!(with(&|chunk| chunk.records = Records::Deposit(Vec::new())).is_err());
    let chunks = vec![chunk(Records::Deposit(Vec::new()), 1)];
    assert!(payload_of(chunks.clone()).is_ok());
    for change in [|chunk: &mut Chunk| chunk.token = Token(1), |chunk: &mut Chunk| chunk.operator = index(1)] {
        let mut chunks = chunks.clone();
        change(&mut chunks[0]);
        assert_eq!(payload_of(chunks), Err(PayloadError::DepositContext { chunk: 0 }));
    }
    let of_token = |token| payload_of(vec![Chunk { token, operator: index(1), ..steps(1, 0) }]).map(drop);
    assert_eq!(of_token(Token::BITCOIN), Ok(()));
    assert_eq!(of_token(Token(4)), Err(PayloadError::StepToken { chunk: 0 }));
    let wide = |chunk: &mut Chunk| chunk.circuit.slots = u16::MAX;
    let mut chunks = vec![chunk(transfers(1), 1); 3];
    chunks.iter_mut().for_each(wide);
    assert_eq!(payload_of(chunks), Err(PayloadError::TooManySlots(3 * 65_535)));
}

#[test]
fn cells_outside_the_tree_are_refused() {
    let shallow = Header { depth: Depth::new(2).expect("two levels"), ..header(Fr::from(1u64)) };
    let new = |mut chunk: Chunk| {
        chunk.circuit.depth = shallow.depth;
        let circuits = Kind::PAYMENTS.map(|kind| CircuitId::new(kind, shallow.depth, 2)).to_vec();
        let table = Arc::new(CircuitTable::new(Vec::new(), circuits).expect("a circuit of each kind"));
        Payload::new(table, shallow, vec![chunk])
    };
    let records = |from, to| Records::Transfer(vec![TransferRecord { from, to, amount: 1, fee: 1 }]);
    assert!(new(chunk(records(index(63), index(63)), 1)).is_ok());
    let outside = Err(PayloadError::IndexOutsideTree { chunk: 0, index: 64 });
    assert_eq!(new(chunk(records(index(64), index(1)), 1)), outside);
    assert_eq!(new(chunk(records(index(1), index(64)), 1)), outside);
    assert_eq!(new(Chunk { operator: index(64), ..chunk(records(index(1), index(1)), 1) }), outside);
}

#[test]
fn a_payload_that_no_reveal_carries_is_not_encoded() {
    let mut state = 1u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state ^ (state >> 29)
    };
    let mut transfer =
        |_| TransferRecord { from: index(1), to: index(random() as u32 >> 2), amount: random(), fee: random() };
    let records = Records::Transfer((0..30_000).map(&mut transfer).collect());
    let posted = [(30_000, records.clone())];
    let payload = payload_of(vec![chunk(records, 1)]).expect("30,000 records fit");
    assert!(matches!(payload.encode(), Err(PayloadError::TooLong(_))));
    assert_eq!(encoded_length(&posted, &[]), payload.encode().map(|bytes| bytes.len()));
    let records = posted[0].1.clone();
    let found = encoded_length(&[(29_999, records)], &[]);
    assert_eq!(found, Err(PayloadError::RecordCount { chunk: 0, records: 30_000, slots: 29_999 }));
    assert_eq!(encoded_length(&[], &[]), Err(PayloadError::Empty));
    let none = Records::Transfer(Vec::new());
    let slots = [(u16::MAX, none.clone()), (u16::MAX, none.clone()), (3, none)];
    assert_eq!(encoded_length(&slots, &[]), Err(PayloadError::TooManySlots(SLOTS_MAX + 1)));
}

/// However many deposits and exit requests wait, and whatever they hold, a batch can do what the rules demand at once.
#[test]
fn what_a_flood_can_demand_fits_a_payload() {
    let mut rng = ChaCha20Rng::seed_from_u64(4);
    for slots in [1, 20, 22, 4_200] {
        let mut owner = Point::generator().into_group();
        let mut deposit = || {
            owner += Point::generator();
            let owner = PublicKey::new(owner.into_affine()).expect("a multiple of the generator");
            DepositRecord { to: index(rng.next_u32() >> 2), amount_sat: rng.next_u64() >> 13, owner }
        };
        let deposits: Vec<_> = (0..deposits_enough(slots)).map(|_| deposit()).collect();
        let deposits = deposits.chunks(usize::from(slots)).map(|records| Records::Deposit(records.to_vec()));
        // Each with a fee, where the operator has no account: a chunk of its own.
        let mut program = [0; 32];
        let mut exit = || {
            rng.fill_bytes(&mut program);
            WithdrawRecord {
                from: index(rng.next_u32() >> 2),
                amount: rng.next_u64() >> 1,
                fee: rng.next_u64() >> 1,
                destination: Destination::P2tr(program),
            }
        };
        let exits: Vec<_> = (0..REQUESTS_ENOUGH).map(|_| Records::Withdraw(vec![exit()])).collect();
        let chunks = deposits.chain(exits).zip(1..).map(|(records, root)| Chunk {
            circuit: circuit(&records, if records.kind() == Kind::Deposit { slots } else { 1 }),
            token: Token::BITCOIN,
            operator: CellIndex::default(),
            root_after: Fr::from(root),
            registers_after: Fr::from(0u64),
            records,
            proof: PROOF.clone(),
        });
        let chunks: Vec<_> = chunks.collect();
        assert!(chunks.len() <= 256, "as many as a batch has by default");
        let posted: Vec<_> = chunks.iter().map(|chunk| (chunk.circuit.slots, chunk.records.clone())).collect();
        let payload = payload_of(chunks).expect("a valid payload");
        let encoded = payload.encode().expect("a short payload");
        assert_eq!(encoded_length(&posted, &[]), Ok(encoded.len()), "it needs neither header nor proofs");
        assert!(encoded.len() <= PAYLOAD_LENGTH_MAX, "{slots} slots: {} bytes", encoded.len());
        // Requests served and refutations share the number that is enough, and a refutation is the dearer: in place of
        // every exit one, and one more as a claim may take two, of random hashes, which compress by nothing.
        let refutations: Vec<_> = (0..=REQUESTS_ENOUGH as u32).map(|i| random_refutation(index(i), &mut rng)).collect();
        // Who serves what waits behind those that he must refute does both, and that fits as well.
        let both = encoded_length(&posted, &refutations).expect("a short payload");
        assert!(both <= PAYLOAD_LENGTH_MAX, "{slots} slots: {both} bytes");
        let deposits = posted.into_iter().filter(|(_, records)| records.kind() == Kind::Deposit).collect::<Vec<_>>();
        let length = encoded_length(&deposits, &refutations).expect("a short payload");
        assert!(length <= 375_613 + 5 * (342_724 / 65_535 + 1), "{slots} slots: {length} bytes");
        assert!(length <= PAYLOAD_LENGTH_MAX);
    }
}

/// A refutation of random elements, which is true of no state.
fn random_refutation(index: CellIndex, rng: &mut ChaCha20Rng) -> Refutation {
    let mut element = || Fr::rand(rng);
    let levels = (0..depth().levels()).map(|_| core::array::from_fn(|_| element())).collect();
    let path = MerklePath::new(levels).expect("ten levels");
    Refutation { index, cell: CellElements(core::array::from_fn(|_| element())), path }
}

#[test]
fn statements_join_up_and_carry_the_context() {
    let payload = payload();
    let statements = payload.statements();
    let roots: Vec<_> = statements.iter().map(|statement| (statement.root_before, statement.root_after)).collect();
    let root = |i: u64| Fr::from(i);
    assert_eq!(roots, [(root(100), root(1)), (root(1), root(2)), (root(2), root(3))]);
    for (statement, chunk) in statements.iter().zip(payload.chunks()) {
        assert_eq!(statement.chain_id, ChainId::from_byte_array([7; 15]));
        assert_eq!(statement.circuit, chunk.circuit);
        assert_eq!(Some(statement.data_digest), chunk.records.digest(chunk.circuit.slots));
        let context = Context { height_blocks: 800_000, token: Token(4), operator: index(9) };
        assert_eq!((statement.context, statement.registers), (context, Registers::NONE));
    }
}

#[test]
fn a_program_checks_all_statements_of_a_payload() {
    let key = |_| VerifyingKey::from_bytes(&TRAPDOOR.key().to_bytes()).expect("the key round-trips");
    let circuits = [(Kind::Transfer, 4), (Kind::Open, 1), (Kind::Transfer, 6), (Kind::Deposit, 1), (Kind::Withdraw, 1)];
    let circuits = circuits.map(|(kind, slots)| CircuitId::new(kind, depth(), slots));
    let program = Program::new(circuits.map(|circuit| (circuit, key(circuit)))).expect("the program is valid");
    let mut chunks = payload().chunks().to_vec();
    for (chunk, statement) in chunks.iter_mut().zip(payload().statements()) {
        chunk.proof = TRAPDOOR.prove(statement.digest(), 5);
    }
    let payload = Payload::new(program.table().clone(), *payload().header(), chunks).expect("the payload is valid");
    let statements = payload.statements();
    let proofs = || statements.iter().zip(payload.chunks().iter().map(|chunk| &chunk.proof));
    assert_eq!(program.verify_batch(proofs()).map(|verified| verified.len()), Ok(3));
    assert!(program.verify(&statements[0], &payload.chunks()[0].proof).is_ok());
    assert!(matches!(program.verify(&statements[0], &payload.chunks()[1].proof), Err(VerifyError::Rejected(_))));
    let others = circuits.into_iter().filter(|circuit| *circuit != circuits[2]);
    let smaller = Program::new(others.map(|circuit| (circuit, key(circuit)))).expect("the program is valid");
    assert_eq!(smaller.verify_batch(proofs()), Err(VerifyError::UnknownCircuit(circuits[2])));
}
