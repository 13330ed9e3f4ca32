//! The subjects of those who follow: blocks looked through, blocks followed, anchors verified.

use super::{Prepared, trapdoor::Trapdoor};
use ark_bn254::Fr;
use bitcoin::{
    Amount, Block, CompactTarget, Network, OutPoint, ScriptBuf, Sequence, TapSighashType, Transaction, TxIn,
    TxMerkleNode, TxOut, Txid, Witness, WitnessMerkleNode, Wtxid, XOnlyPublicKey,
    absolute::LockTime,
    block::{Header, Version},
    consensus::encode,
    constants::genesis_block,
    hashes::Hash,
    merkle_tree,
    secp256k1::{Keypair, Message, Secp256k1},
    sighash::{Prevouts, SighashCache},
    taproot, transaction,
};
use std::{hint::black_box, sync::Arc, time::Instant};
use taproof_fixtures::MAINNET_BLOCK_702861;
use taproof_verifier::{
    block::decode_block,
    bridge::{Bridge, Federation},
    cell::{CellIndex, Depth, Token},
    deposit::Deposit,
    envelope::{Envelope, Reveal},
    follow::{Event, Follower, Founding, FoundingDigest, Params, Tip},
    headers::BlockId,
    payload::{Chunk, Header as PayloadHeader, Payload, PayloadHash, SLOTS_MAX},
    program::{CircuitTable, Program},
    quorum::Keys,
    record::{Kind, Records, TransferRecord},
    statement::CircuitId,
};

/// Proofs of an anchor that is measured.
const PROOFS: usize = 16;
/// Slots and records of each of its chunks: what a circuit of about 2^18 constraints holds.
const SLOTS: u16 = 14;

/// Near 390,000 bytes, of which a proof takes 172, and 2^17 slots.
const HEAVIEST_PROOFS: usize = 2_210;
const HEAVIEST_SLOTS: u16 = 59;

const BLOCK_INTERVAL_SECONDS: u32 = 600;

/// Bytes as the unit that rates are told in.
fn kilobytes(bytes: usize) -> usize {
    bytes / 1_000
}

/// From bytes to the knowledge that no transaction of a block is an anchor or a deposit. Nothing is hashed.
pub(super) fn scan(log_size: u32) -> Prepared {
    let count = 1usize << log_size;
    let founding = FoundingDigest::from_byte_array([1; 32]);
    let (bridge, chain_id) = (Bridge::new(federation(), founding), founding.chain_id());
    let ours = move || {
        let start = Instant::now();
        for _ in 0..count {
            let block = decode_block(black_box(MAINNET_BLOCK_702861)).expect("a real block");
            for transaction in &block.txdata {
                assert_eq!(Reveal::parse(transaction, chain_id), Ok(None), "the block is older than the rollup");
                assert!(Deposit::scan(transaction, &bridge, chain_id).is_empty(), "the bridge is a new address");
            }
        }
        Ok(start.elapsed())
    };
    Prepared { count: kilobytes(count * MAINNET_BLOCK_702861.len()), ours: Box::new(ours), ark: None }
}

/// From bytes to scanned: full blocks, each with the transactions of the real one, on a chain of their own.
pub(super) fn follow(log_size: u32) -> Prepared {
    let chain = FullBlocks::new(1 << log_size);
    let (follower, blocks) = (chain.follower(), chain.blocks());
    let count = kilobytes(blocks.iter().map(Vec::len).sum());
    let headers = chain.headers;
    let ours = move || {
        let mut follower = follower.clone();
        let start = Instant::now();
        for header in &headers {
            follower.accept_header(*header).expect("valid headers");
        }
        for bytes in &blocks {
            let block = decode_block(black_box(bytes)).expect("valid blocks");
            assert!(follower.connect(block).expect("valid blocks").is_empty(), "nothing is there to verify");
        }
        Ok(start.elapsed())
    };
    Prepared { count, ours: Box::new(ours), ark: None }
}

/// From blocks in memory to verified batches: 2^`log_size` anchors of 16 proofs each, one a block.
pub(super) fn anchors(log_size: u32) -> Prepared {
    let count = 1usize << log_size;
    let AnchorBlocks { follower, blocks } = AnchorBlocks::new(count, PROOFS, SLOTS);
    let ours = move || {
        let (mut follower, blocks) = (follower.clone(), blocks.clone());
        let start = Instant::now();
        for block in blocks {
            follower.accept_header(block.header).expect("valid headers");
            let events = follower.connect(block).expect("valid blocks");
            assert!(matches!(events[..], [Event::Verified(_)]), "{events:?}");
        }
        let elapsed = start.elapsed();
        assert_eq!(follower.tip().batches, count as u64);
        Ok(elapsed)
    };
    Prepared { count, ours: Box::new(ours), ark: None }
}

/// A regtest chain of blocks with an anchor each.
#[derive(Debug)]
pub struct AnchorBlocks {
    /// A follower that stands before the first block.
    pub follower: Follower,
    blocks: Vec<Block>,
}

impl AnchorBlocks {
    /// A chain of `count` blocks, each with an anchor of so many proofs, of as many records as slots each.
    ///
    /// # Panics
    /// If no payload holds that.
    pub fn new(count: usize, proofs: usize, slots: u16) -> Self {
        let mut trapdoor = Trapdoor::new();
        let program = program(&trapdoor, slots);
        let params = params(&program);
        let genesis = genesis_block(Network::Regtest).header;
        let (mut tip, mut parent, mut blocks) = (Tip::genesis(&params), genesis, Vec::with_capacity(count));
        for height in 0..count as u32 {
            tip.reference = BlockId { height, hash: parent.block_hash() };
            let payload = payload(&mut trapdoor, &params, program.table(), &tip, proofs, slots);
            let bytes = payload.encode().expect("a short payload");
            let header = payload.header();
            tip =
                Tip { batches: tip.batches + 1, payload_hash: PayloadHash::of(&bytes), root: header.root_after, ..tip };
            let block = mine_block(&parent, reveal(&bytes));
            parent = block.header;
            blocks.push(block);
        }
        let follower = Follower::new(params, program, &[genesis]).expect("its own program and start");
        Self { follower, blocks }
    }

    /// One anchor that takes a follower as much memory as any: about as many proofs and slots as a payload holds.
    pub fn heaviest() -> Self {
        const { assert!(HEAVIEST_PROOFS * HEAVIEST_SLOTS as usize <= SLOTS_MAX) };
        Self::new(1, HEAVIEST_PROOFS, HEAVIEST_SLOTS)
    }

    /// The blocks as Bitcoin serialises them.
    pub fn encoded(&self) -> Vec<Vec<u8>> {
        self.blocks.iter().map(encode::serialize).collect()
    }
}

/// A regtest chain of blocks with the transactions of mainnet block 702861, 1.4 million bytes each, and nothing of a
/// rollup.
#[derive(Debug)]
pub struct FullBlocks {
    headers: Vec<Header>,
    params: Params,
    program: Program,
}

impl FullBlocks {
    /// A chain of `count` blocks after the genesis block.
    pub fn new(count: usize) -> Self {
        let program = program(&Trapdoor::new(), SLOTS);
        let params = params(&program);
        let merkle_root = decode_block(MAINNET_BLOCK_702861).expect("a real block").header.merkle_root;
        let next = |parent: &mut Header, _| {
            *parent = mine_on(parent, merkle_root);
            Some(*parent)
        };
        let headers = (0..count).scan(genesis_block(Network::Regtest).header, next).collect();
        Self { headers, params, program }
    }

    /// The headers.
    pub fn headers(&self) -> &[Header] {
        &self.headers
    }

    /// A follower that stands before the first block.
    ///
    /// # Panics
    /// Never: the parameters are valid.
    pub fn follower(&self) -> Follower {
        let lead = [genesis_block(Network::Regtest).header];
        Follower::new(self.params.clone(), self.program.clone(), &lead).expect("its own program and start")
    }

    /// The bytes of the block with that header.
    pub fn block(header: &Header) -> Vec<u8> {
        let mut bytes = encode::serialize(header);
        bytes.extend(&MAINNET_BLOCK_702861[Header::SIZE..]);
        bytes
    }

    fn blocks(&self) -> Vec<Vec<u8>> {
        self.headers.iter().map(Self::block).collect()
    }
}

fn federation() -> Federation {
    Federation::new(1, vec![signer()], 2_016, 0).expect("one key")
}

fn signer() -> XOnlyPublicKey {
    signer_pair().x_only_public_key().0
}

fn signer_pair() -> Keypair {
    Keypair::from_seckey_slice(&Secp256k1::new(), &[3; 32]).expect("a small number")
}

fn program(trapdoor: &Trapdoor, slots: u16) -> Program {
    let circuits = Kind::PAYMENTS.map(|kind| (CircuitId::new(kind, Depth::MAX, slots), trapdoor.key()));
    Program::new(circuits).expect("a circuit of each kind")
}

fn params(program: &Program) -> Params {
    let params = Params::new(Founding {
        network: Network::Regtest,
        genesis_depth: Depth::MAX,
        federation: federation(),
        deposit_window_blocks: 144,
        deposit_expiry_blocks: 1_008,
        start: BlockId { height: 0, hash: genesis_block(Network::Regtest).block_hash() },
        final_depth_blocks: 100,
        upgrade_keys: None,
        notice_blocks: 0,
        sequencer_keys: Keys::default(),
        quiet_blocks: 0,
        opening_min_sat: 0,
        program_id: program.id(),
    });
    params.expect("consistent parameters")
}

/// A header on top of another, with as much work as regtest asks for.
fn mine_on(parent: &Header, merkle_root: TxMerkleNode) -> Header {
    let mut header = Header {
        version: Version::from_consensus(0x2000_0000),
        prev_blockhash: parent.block_hash(),
        merkle_root,
        time: parent.time + BLOCK_INTERVAL_SECONDS,
        bits: CompactTarget::from_consensus(0x207f_ffff),
        nonce: 0,
    };
    while !header.target().is_met_by(header.block_hash()) {
        header.nonce += 1;
    }
    header
}

/// A batch of full chunks after a tip.
fn payload(
    trapdoor: &mut Trapdoor,
    params: &Params,
    table: &Arc<CircuitTable>,
    tip: &Tip,
    proofs: usize,
    slots: u16,
) -> Payload {
    let root = |chunk: usize| Fr::from((tip.batches << 32) + 1 + chunk as u64);
    let record = |slot: u16| TransferRecord {
        from: CellIndex::new(u32::from(slot) * 7_919).expect("a small index"),
        to: CellIndex::new(u32::from(slot) * 104_729).expect("a small index"),
        amount: u64::from(slot) * 1_299_709,
        fee: 10,
    };
    let any_proof = trapdoor.prove(Fr::from(1u64));
    let circuit = CircuitId::new(Kind::Transfer, Depth::MAX, slots);
    let chunk = |position: usize| Chunk {
        circuit,
        token: Token::BITCOIN,
        operator: CellIndex::default(),
        root_after: root(position),
        registers_after: Fr::from(0u64),
        records: Records::Transfer((0..slots).map(record).collect()),
        proof: any_proof.clone(),
    };
    let header = PayloadHeader {
        chain_id: params.chain_id(),
        batch: tip.batches,
        previous_payload_hash: tip.payload_hash,
        root_before: tip.root,
        root_after: root(proofs - 1),
        depth: tip.depth,
        reference_height: tip.reference.height,
        reference_hash: tip.reference.hash,
        deposits_consumed: 0,
        program_id: params.program_id,
    };
    let chunks: Vec<Chunk> = (0..proofs).map(chunk).collect();
    let unproven = Payload::new(table.clone(), header, chunks.clone()).expect("chunks that join up");
    let proofs = unproven.statements().into_iter().map(|statement| trapdoor.prove(statement.digest()));
    let proven = chunks.into_iter().zip(proofs.collect::<Vec<_>>()).map(|(chunk, proof)| Chunk { proof, ..chunk });
    Payload::new(table.clone(), header, proven.collect()).expect("chunks that join up")
}

/// A reveal of a payload, signed by the poster.
fn reveal(payload: &[u8]) -> Transaction {
    let secp = Secp256k1::new();
    let envelope = Envelope::new(signer(), payload).expect("a short payload");
    let commit = TxOut { value: Amount::from_sat(9_000), script_pubkey: envelope.commit_script_pubkey(&secp) };
    let change = TxOut { value: Amount::from_sat(1_000), script_pubkey: ScriptBuf::new_p2tr(&secp, signer(), None) };
    let reveal = envelope.reveal_transaction(OutPoint::new(Txid::all_zeros(), 0), commit.value, change);
    let mut reveal = reveal.expect("not much is locked");
    let signed = SighashCache::new(&reveal)
        .taproot_script_spend_signature_hash(
            0,
            &Prevouts::All(&[commit]),
            envelope.leaf_hash(),
            TapSighashType::Default,
        )
        .expect("the spent output is given");
    let signature = secp.sign_schnorr_no_aux_rand(&Message::from(signed), &signer_pair());
    let signature = taproot::Signature { signature, sighash_type: TapSighashType::Default };
    reveal.input[0].witness = envelope.witness(&secp, &signature);
    reveal
}

/// A block of a coinbase and another transaction.
fn mine_block(parent: &Header, transaction: Transaction) -> Block {
    let hashes = [Wtxid::all_zeros(), transaction.compute_wtxid()].map(|id| id.to_raw_hash());
    let root = merkle_tree::calculate_root(hashes.into_iter()).expect("two transactions");
    let commitment = Block::compute_witness_commitment(&WitnessMerkleNode::from_raw_hash(root), &[0; 32]);
    let script = [[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed].as_slice(), commitment.as_byte_array()].concat();
    let coinbase = Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: parent.time.to_le_bytes().to_vec().into(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[[0; 32]]),
        }],
        output: vec![TxOut { value: Amount::ZERO, script_pubkey: script.into() }],
    };
    let txdata = vec![coinbase, transaction];
    let ids = txdata.iter().map(|transaction| transaction.compute_txid().to_raw_hash());
    let root = merkle_tree::calculate_root(ids).expect("two transactions");
    Block { header: mine_on(parent, TxMerkleNode::from_raw_hash(root)), txdata }
}
