//! Checkpoints: a valid one, altered. What decodes has one encoding, and who goes on from it follows blocks with
//! deposits, exit requests and announcements, whatever it says.
#![no_main]

use ark_ec::{AffineRepr, CurveGroup};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use taproof_circuits::schnorr::SecretKey;
use taproof_verifier::{
    ark_bn254::{Fr, G1Affine, G2Affine},
    bitcoin::{
        Amount, Block, Network, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness, XOnlyPublicKey,
        absolute::LockTime, block::Header, constants::genesis_block, hashes::Hash, transaction::Version,
    },
    bridge::Federation,
    cell::{CellIndex, Depth, empty_root},
    deposit::Deposit,
    exit::{ExitRequest, ExitRequestFields},
    field,
    follow::{Checkpoint, Follower, Founding, Params},
    groth16::VerifyingKey,
    headers::BlockId,
    program::Program,
    quorum::{Keys, Quorum},
    record::{Destination, Kind},
    schnorr::Signature,
    statement::CircuitId,
    upgrade::{Change, Upgrade},
};

/// The signer, the upgrade key and the sequencer.
static KEY: LazyLock<XOnlyPublicKey> =
    LazyLock::new(|| XOnlyPublicKey::from_slice(&[1; 32]).expect("the x of a point"));
static OWNER: LazyLock<SecretKey> = LazyLock::new(|| SecretKey::from_seed(&[1; 32]));

static PROGRAM: LazyLock<Program> = LazyLock::new(|| {
    let g1 = |i: u64| (G1Affine::generator() * Fr::from(i)).into_affine();
    let g2 = |i: u64| (G2Affine::generator() * Fr::from(i)).into_affine();
    let key = VerifyingKey::new(g1(1), g2(2), g2(3), g2(4), &[g1(5), g1(6)]).expect("points of the groups");
    let depth = Depth::new(2).expect("two levels");
    let circuits = Kind::PAYMENTS.map(|kind| (CircuitId::new(kind, depth, 4), key.clone()));
    Program::new(circuits).expect("a circuit of each kind")
});

static GENESIS: LazyLock<Block> = LazyLock::new(|| genesis_block(Network::Regtest));

static PARAMS: LazyLock<Params> = LazyLock::new(|| {
    let params = Params::new(Founding {
        network: Network::Regtest,
        genesis_depth: Depth::new(2).expect("two levels"),
        federation: Federation::new(1, vec![*KEY], 100, 0).expect("one key"),
        deposit_window_blocks: 6,
        deposit_expiry_blocks: 20,
        start: BlockId { height: 0, hash: GENESIS.block_hash() },
        final_depth_blocks: 1,
        upgrade_keys: Some(Quorum::new(1, vec![*KEY]).expect("one key")),
        notice_blocks: 10,
        sequencer_keys: Keys::new(vec![*KEY]).expect("one key"),
        quiet_blocks: 2,
        opening_min_sat: 0,
        program_id: PROGRAM.id(),
    });
    params.expect("consistent parameters")
});

static DEPOSIT: LazyLock<Deposit> = LazyLock::new(|| Deposit { amount_sat: 500, owner: *OWNER.public(), refund: *KEY });

/// Signed exit requests for two destinations.
static REQUESTS: LazyLock<[ExitRequest; 2]> = LazyLock::new(|| {
    [Destination::P2tr([7; 32]), Destination::P2sh([8; 20])].map(|destination| {
        let request = |signature: Signature| {
            let (from, owner) = (CellIndex::new(9).expect("a small index"), *OWNER.public());
            let fields =
                ExitRequestFields { from, nonce: 3, amount_sat: 700, fee_sat: 1, destination, owner, signature };
            ExitRequest::try_from(fields).expect("within the bounds")
        };
        let unsigned = request(OWNER.sign(&[Fr::from(0u64); 4]));
        request(OWNER.sign(&unsigned.message(PARAMS.chain_id())))
    })
});

/// After the first block, with one deposit that is credited and two that are not, two exit requests and two
/// announcements.
static CHECKPOINT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let block = [0u32.to_le_bytes().as_slice(), &GENESIS.block_hash().to_byte_array()].concat();
    let mut bytes = vec![3];
    bytes.extend(PARAMS.chain_id().to_byte_array());
    bytes.extend(PROGRAM.id().to_byte_array());
    bytes.extend(&block);
    bytes.extend(4u64.to_le_bytes());
    bytes.extend([9; 32]);
    bytes.extend(field::to_bytes(&empty_root(2)));
    bytes.push(2);
    bytes.extend([1u64, 5].into_iter().flat_map(u64::to_le_bytes));
    bytes.extend(&block);
    bytes.extend(0u32.to_le_bytes());
    bytes.extend(3u64.to_le_bytes());
    bytes.extend(2u32.to_le_bytes());
    for vout in [0u32, 2] {
        bytes.extend(0u32.to_le_bytes());
        bytes.extend([6; 32]);
        bytes.extend(vout.to_le_bytes());
        bytes.extend(DEPOSIT.amount_sat.to_le_bytes());
        bytes.extend(DEPOSIT.owner.to_bytes());
        bytes.extend(DEPOSIT.refund.serialize());
    }
    bytes.extend(7u64.to_le_bytes());
    bytes.extend(2u32.to_le_bytes());
    for (number, request) in [4u64, 6].into_iter().zip(&*REQUESTS) {
        bytes.extend(number.to_le_bytes());
        bytes.extend(0u32.to_le_bytes());
        bytes.extend([5; 32]);
        bytes.extend(0u32.to_le_bytes());
        bytes.push(1 + request.to_bytes().len() as u8);
        bytes.push(2);
        bytes.extend(request.to_bytes());
    }
    bytes.extend(2u32.to_le_bytes());
    bytes.extend(0u32.to_le_bytes());
    bytes.extend(PROGRAM.id().to_byte_array());
    bytes.extend(0u32.to_le_bytes());
    bytes.push(1);
    bytes.extend(KEY.serialize());
    let changes = [
        Change::Program { program: PROGRAM.id(), height: 12 },
        Change::Sequencers { keys: Keys::default(), height: 15 },
    ];
    bytes.push(2);
    (0..).zip(changes).for_each(|(number, change)| bytes.extend(Upgrade { number, change }.to_bytes()));
    assert_eq!(Checkpoint::from_bytes(&bytes).map(|checkpoint| checkpoint.to_bytes()).as_ref(), Ok(&bytes));
    bytes
});

/// Where bytes are altered, by which, and how; and how many blocks are followed.
type Input = (Vec<(u16, [u8; 8], u8)>, u8);

fuzz_target!(|input: Input| {
    let (alterations, blocks) = input;
    let mut bytes = CHECKPOINT.clone();
    for (place, with, count) in &alterations {
        let place = usize::from(*place) % bytes.len().max(1);
        // A few bytes are replaced, put in or taken out.
        let end = bytes.len().min(place + usize::from(count % 8) + 1);
        match count / 64 {
            0 | 1 => bytes[place..end].iter_mut().zip(with).for_each(|(byte, with)| *byte = *with),
            2 => drop(bytes.splice(place..place, with[..end - place].iter().copied())),
            _ => drop(bytes.drain(place..end)),
        }
    }
    let Ok(checkpoint) = Checkpoint::from_bytes(&bytes) else { return };
    assert_eq!(checkpoint.to_bytes(), bytes);
    let (tip, program) = (*checkpoint.tip(), PROGRAM.clone());
    let Ok(mut follower) = Follower::resume(PARAMS.clone(), program, checkpoint, &[GENESIS.header]) else { return };
    assert_eq!(follower.tip(), &tip);
    let mut header = GENESIS.header;
    for height in 1..=u32::from(blocks % 8) {
        let block = block_after(&header, height);
        header = block.header;
        assert_eq!(follower.accept_header(header), Ok(None));
        if follower.unknown_program().is_some() {
            assert!(follower.connect(block).is_err());
            return;
        }
        follower.connect(block).expect("mined by the rules");
        let pending: Vec<_> = follower.pending_deposits().copied().collect();
        let _ = pending.iter().filter(|deposit| follower.has_expired(deposit)).count();
        let _ = (follower.open_height(), follower.schedule().pending(height).len());
        let again = follower.checkpoint().expect("each block was seen whole");
        assert_eq!(Checkpoint::from_bytes(&again.to_bytes()), Ok(again));
    }
});

/// A block with a deposit and an exit request.
fn block_after(parent: &Header, height: u32) -> Block {
    let input = |tag: u32| TxIn {
        previous_output: OutPoint { txid: Txid::from_byte_array([tag as u8; 32]), vout: tag },
        script_sig: ScriptBuf::new(),
        sequence: Sequence::MAX,
        witness: Witness::new(),
    };
    let transaction = |input: TxIn, output: Vec<TxOut>| Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![input],
        output,
    };
    let script = ScriptBuf::builder().push_int(height.into()).push_int(0).into_script();
    let coinbase = TxIn { previous_output: OutPoint::null(), script_sig: script, ..input(0) };
    let outputs = DEPOSIT.outputs(PARAMS.bridge(), PARAMS.chain_id());
    let request = REQUESTS[height as usize % 2].output(PARAMS.chain_id());
    let mut block = Block {
        header: Header { prev_blockhash: parent.block_hash(), time: parent.time + 600, nonce: 0, ..*parent },
        txdata: vec![
            transaction(coinbase, vec![TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::new() }]),
            transaction(input(height), outputs.into_iter().chain([request]).collect()),
        ],
    };
    block.header.merkle_root = block.compute_merkle_root().expect("there are transactions");
    let target = block.header.target();
    while block.header.validate_pow(target).is_err() {
        block.header.nonce += 1;
    }
    block
}
