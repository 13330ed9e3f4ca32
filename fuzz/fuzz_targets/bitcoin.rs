//! What comes from Bitcoin: blocks, excerpts of them, headers, reveals, deposits, exit requests, and the follower's
//! checkpoint. Nothing panics, and what is read as a leaf is written again to the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use taproof_verifier::{
    bitcoin::{
        Amount, Network, ScriptBuf, Transaction, TxIn, TxOut, Txid, Witness, XOnlyPublicKey, absolute::LockTime,
        consensus::deserialize, constants::genesis_block, hashes::Hash, transaction::Version,
    },
    block::{Excerpt, ValidatedBlock, ValidatedExcerpt, decode_block},
    bridge::{Bridge, Federation},
    cell::ChainId,
    deposit::Deposit,
    envelope::{Announcement, Envelope, EnvelopeError, Reveal},
    evidence::ClaimRequest,
    exit::{ExitRequest, Queue, Request},
    follow::Checkpoint,
    headers::{BlockId, HeaderChain},
    payload::{Header, PayloadHash},
    spent::telling,
};

const CHAIN: ChainId = ChainId::from_byte_array(*b"a rollup's fuzz");

fuzz_target!(|input: &[u8]| {
    if let Ok(block) = decode_block(input) {
        let id = BlockId { height: 1, hash: block.block_hash() };
        block.txdata.iter().for_each(scan);
        let _ = ValidatedBlock::new(block, id);
    }
    if let Ok(transaction) = deserialize::<Transaction>(input) {
        scan(&transaction);
    }
    if let Ok(checkpoint) = Checkpoint::from_bytes(input) {
        assert_eq!(checkpoint.to_bytes(), input);
    }
    if let Ok(excerpt) = Excerpt::from_bytes(input) {
        assert_eq!(excerpt.to_bytes(), input);
        let id = BlockId { height: 1, hash: excerpt.header.block_hash() };
        let _ = ValidatedExcerpt::new(excerpt, id);
    }
    if let Some(request) = Request::from_bytes(input, 1) {
        assert_eq!(request.to_bytes(), input);
        let mut queue = Queue::with_room(1);
        queue.push(1, Txid::from_byte_array([1; 32]), 0, request);
        assert!(!queue.takes(&request));
    }
    if let Some(request) = ExitRequest::from_bytes(input) {
        assert_eq!(request.to_bytes(), input);
        assert_eq!(ExitRequest::parse(&request.output(CHAIN).script_pubkey, CHAIN), Some(request));
        let _ = request.verify(CHAIN);
    }
    read_headers(input);
    read_leaf(input);
});

fn scan(transaction: &Transaction) {
    let _ = Reveal::parse(transaction, CHAIN);
    for output in &transaction.output {
        let Some(request) = Request::parse(&output.script_pubkey, CHAIN, 1) else { continue };
        let again = match &request {
            Request::Exit(exit) => exit.output(CHAIN),
            Request::Claim(claim) => ClaimRequest::output(claim.request().cell, &claim.request().secret, CHAIN),
        };
        assert_eq!(again.script_pubkey, output.script_pubkey);
        assert_eq!(Request::from_bytes(&request.to_bytes(), 1), Some(request));
    }
    let signer = XOnlyPublicKey::from_slice(&[1; 32]).expect("the x of a point");
    let federation = Federation::new(1, vec![signer], 100, 1).expect("one key");
    let bridge = Bridge::new(federation, taproof_verifier::follow::FoundingDigest::from_byte_array([1; 32]));
    for (vout, deposit) in Deposit::scan(transaction, &bridge, CHAIN) {
        let vout = vout as usize;
        let scripts = |outputs: &[TxOut]| outputs.iter().map(|output| output.script_pubkey.clone()).collect::<Vec<_>>();
        assert_eq!(scripts(&deposit.outputs(&bridge, CHAIN)), scripts(&transaction.output[vout..vout + 2]));
    }
}

fn read_headers(input: &[u8]) {
    let genesis = genesis_block(Network::Regtest).header;
    let start = BlockId { height: 0, hash: genesis.block_hash() };
    let mut chain = HeaderChain::new(Network::Regtest, start, &[genesis], 3).expect("the genesis block");
    for bytes in input.chunks_exact(80) {
        let mut header: taproof_verifier::bitcoin::block::Header = deserialize(bytes).expect("80 bytes are a header");
        let _ = chain.accept(header);
        header.prev_blockhash = chain.tip().hash;
        let _ = chain.accept(header);
    }
}

/// Takes the input as a leaf, behind an announcement of the payload that follows the leaf's key.
fn read_leaf(leaf: &[u8]) {
    let Some(key) = leaf.get(1..33) else { return };
    let Some(payload) = leaf.get(36..leaf.len().saturating_sub(2)) else { return };
    let Ok(header) = Header::decode(payload) else { return };
    let payload_hash = PayloadHash::of(payload);
    let announcement = Announcement { batch: header.batch, payload_hash, root_after: header.root_after };
    let control = [&[0xc0], key].concat();
    let witness = Witness::from_slice(&[[0; 64].as_slice(), leaf, &control]);
    let change = TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::new() };
    let transaction = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn { witness, sequence: telling(Amount::ZERO).expect("little"), ..TxIn::default() }],
        output: vec![TxOut { value: Amount::ZERO, script_pubkey: announcement.script_pubkey(CHAIN) }, change],
    };
    // The signature comes last, and is none of the key's.
    if Reveal::parse(&transaction, CHAIN) == Err(EnvelopeError::Signature) {
        let poster = XOnlyPublicKey::from_slice(key).expect("the leaf has a poster's key");
        let envelope = Envelope::new(poster, payload).expect("the payload has a header");
        assert_eq!(envelope.leaf().as_bytes(), leaf);
    }
}
