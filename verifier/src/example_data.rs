//! The files that the README's examples read, in `examples-data/`: a rollup of one batch on a regtest chain of four
//! blocks.
//!
//! Blocks, records, roots, the cell and its path are what the protocol says. The proofs are made from the secrets of
//! the keys (see [`Trapdoor`]), not from a witness: here no circuit is at hand, and a verifier cannot tell.

use crate::{
    baby_jubjub::{Point, PublicKey, Scalar},
    bridge::{Federation, tests::signer},
    cell::{ARITY, Account, Cell, CellIndex, Depth, MerklePath, Token, empty_root},
    deposit::Deposit,
    field,
    follow::{Event, Follower, Founding, Params},
    groth16::simulate::Trapdoor,
    headers::BlockId,
    payload::{Chunk, Header, Payload, PayloadHash},
    poseidon2::compress,
    program::Program,
    quorum::Keys,
    record::{DepositRecord, Destination, Kind, Records, WithdrawRecord},
    statement::CircuitId,
    toy_chain::{mine_block, pay, regtest_genesis, reveal},
};
use alloc::vec::Vec;
use ark_bn254::Fr;
use ark_ec::{AffineRepr, CurveGroup};
use bitcoin::{Block, Network, consensus::serialize};
use std::{fs, path::Path};

const SLOTS: u16 = 2;
const DEPOSITS_SAT: [u64; 2] = [50_000, 20_000];
const WITHDRAWN_SAT: u64 = 7_000;
const FEE_SAT: u64 = 10;

fn depth() -> Depth {
    Depth::new(2).expect("1 to 10 levels")
}

fn index(index: u32) -> CellIndex {
    CellIndex::new(index).expect("a small index")
}

/// The keys of the owners of cells 0 and 1.
fn owner(position: u64) -> PublicKey {
    let point = (Point::generator() * Scalar::from(position + 1)).into_affine();
    PublicKey::new(point).expect("a multiple of the generator")
}

fn account(position: u64, nonce: u32, balance: u64) -> Cell {
    Cell::Account(Account { nonce, ..Account::new(owner(position), Token::BITCOIN, balance) })
}

/// The path of cell 0 in a tree that holds two cells.
fn path(second: Cell) -> MerklePath {
    let mut levels = [[empty_root(0); ARITY - 1], [empty_root(1); ARITY - 1]];
    levels[0][0] = second.hash();
    MerklePath::new(levels.to_vec()).expect("two levels")
}

fn root(cells: [Cell; 2]) -> Fr {
    path(cells[1]).root(index(0), cells[0].hash()).expect("cell 0 is in every tree")
}

/// Each circuit has a key of its own, whose secrets are known.
fn trapdoor(kind: Kind) -> Trapdoor {
    Trapdoor::new(kind as u64)
}

fn program() -> Program {
    let circuit = |kind| (CircuitId::new(kind, depth(), SLOTS), trapdoor(kind).key());
    Program::new(Kind::PAYMENTS.map(circuit)).expect("a circuit of every kind")
}

fn params() -> Params {
    let founding = Founding {
        network: Network::Regtest,
        genesis_depth: depth(),
        federation: Federation::new(1, [signer(1)].to_vec(), 144, 1_000).expect("one key"),
        deposit_window_blocks: 6,
        deposit_expiry_blocks: 18,
        start: BlockId { height: 0, hash: regtest_genesis().block_hash() },
        final_depth_blocks: 3,
        upgrade_keys: None,
        notice_blocks: 0,
        sequencer_keys: Keys::default(),
        quiet_blocks: 0,
        opening_min_sat: 1_000,
        program_id: program().id(),
    };
    Params::new(founding).expect("consistent parameters")
}

/// The cells after the deposits, and after the withdrawal, whose fee goes to cell 1.
fn cells() -> [[Cell; 2]; 2] {
    let [first, second] = DEPOSITS_SAT;
    let left = first - WITHDRAWN_SAT - FEE_SAT;
    [[account(0, 0, first), account(1, 0, second)], [account(0, 1, left), account(1, 0, second + FEE_SAT)]]
}

/// The batch: the two deposits are credited, then the first owner withdraws.
fn payload(reference: BlockId) -> Payload {
    let [deposited, withdrawn] = cells().map(root);
    let header = Header {
        chain_id: params().chain_id(),
        batch: 0,
        previous_payload_hash: PayloadHash::NONE,
        root_before: empty_root(depth().levels()),
        root_after: withdrawn,
        depth: depth(),
        reference_height: reference.height,
        reference_hash: reference.hash,
        deposits_consumed: DEPOSITS_SAT.len() as u64,
        program_id: program().id(),
    };
    let credit = |position: u32| DepositRecord {
        to: index(position),
        amount_sat: DEPOSITS_SAT[position as usize],
        owner: owner(position.into()),
    };
    let destination = Destination::P2wpkh([9; 20]);
    let withdrawal = WithdrawRecord { from: index(0), amount: WITHDRAWN_SAT, fee: FEE_SAT, destination };
    let chunk = |records: Records, operator, root_after| Chunk {
        circuit: CircuitId::new(records.kind(), depth(), SLOTS),
        token: Token::BITCOIN,
        operator,
        root_after,
        registers_after: Fr::from(0u64),
        // A place for the proof until the statement is known.
        proof: trapdoor(records.kind()).prove(root_after, 0),
        records,
    };
    let mut chunks = [
        chunk(Records::Deposit([0, 1].map(credit).to_vec()), index(0), deposited),
        chunk(Records::Withdraw([withdrawal].to_vec()), index(1), withdrawn),
    ];
    let table = program().table().clone();
    let unproven = Payload::new(table.clone(), header, chunks.to_vec()).expect("a valid payload");
    for (chunk, statement) in chunks.iter_mut().zip(unproven.statements()) {
        chunk.proof = trapdoor(statement.circuit.kind).prove(statement.digest(), 1);
    }
    Payload::new(table, header, chunks.to_vec()).expect("a valid payload")
}

/// Block 1 holds the deposits, block 2 the anchor, which block 4 makes final.
fn blocks() -> Vec<Block> {
    let deposits = [0, 1].map(|position| {
        let (amount_sat, owner) = (DEPOSITS_SAT[position], owner(position as u64));
        let deposit = Deposit { amount_sat, owner, refund: signer(9) };
        pay(position as u32, deposit.outputs(params().bridge(), params().chain_id()).to_vec())
    });
    let first = mine_block(&regtest_genesis(), 1, 0, deposits.to_vec());
    let payload = payload(BlockId { height: 1, hash: first.block_hash() });
    let anchor = reveal(&payload.encode().expect("a short payload"));
    let second = mine_block(&first.header, 2, 0, [anchor].to_vec());
    let third = mine_block(&second.header, 3, 0, Vec::new());
    let fourth = mine_block(&third.header, 4, 0, Vec::new());
    [first, second, third, fourth].to_vec()
}

/// Every file by its name.
fn files() -> [(&'static str, Vec<u8>); 5] {
    let blocks = blocks();
    let [deposited, withdrawn] = cells().map(root);
    let payload = payload(BlockId { height: 1, hash: blocks[0].block_hash() });
    [
        ("program.bin", program().to_bytes()),
        ("blocks.bin", blocks.iter().flat_map(serialize).collect()),
        ("roots.bin", [deposited, withdrawn].iter().flat_map(field::to_bytes).collect()),
        ("proof.bin", payload.chunks()[1].proof.to_bytes().to_vec()),
        ("path.bin", path(cells()[1][1]).to_bytes()),
    ]
}

/// `TAPROOF_REPIN=1 cargo test -p taproof-verifier examples_data` writes the files anew when a format changes.
#[test]
fn examples_data_are_made_again_byte_for_byte() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples-data");
    for (name, bytes) in files() {
        let path = folder.join(name);
        if std::env::var_os("TAPROOF_REPIN").is_some() {
            fs::write(&path, &bytes).expect("the crate's folder can be written");
        }
        assert!(fs::read(&path).expect("the file is part of the crate") == bytes, "{name} has changed");
    }
}

/// The example is a rollup as the rules have it: the proofs aside, nothing in it is made up.
#[test]
fn examples_data_follow_the_rules() {
    let mut follower =
        Follower::new(params(), program(), &[regtest_genesis()]).expect("the genesis block is the start");
    let mut events = Vec::new();
    for block in blocks() {
        assert_eq!(follower.accept_header(block.header), Ok(None));
        events.extend(follower.connect(block).expect("mined by the rules"));
    }
    let [Event::Verified(batch), Event::Due(payout)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((batch.root(), batch.credited_deposits()), (root(cells()[1]), 0..2));
    assert_eq!((payout.amount_sat, payout.destination), (WITHDRAWN_SAT, Destination::P2wpkh([9; 20])));
    let children = |cells: [Cell; 2]| {
        let mut leaves = [Cell::Empty.hash(); ARITY];
        leaves[..2].copy_from_slice(&cells.map(|cell| cell.hash()));
        let mut nodes = [empty_root(1); ARITY];
        nodes[0] = compress(&leaves);
        compress(&nodes)
    };
    assert_eq!(cells().map(root), cells().map(children));
}
