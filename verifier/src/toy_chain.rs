//! Regtest chains mined in tests.

use crate::envelope::Envelope;
use alloc::vec::Vec;
use bitcoin::{
    Amount, Block, CompactTarget, Network, OutPoint, ScriptBuf, Sequence, TapLeafHash, TapSighashType, Transaction,
    TxIn, TxMerkleNode, TxOut, Txid, Witness, WitnessMerkleNode, Wtxid,
    absolute::LockTime,
    block::{Header, Version},
    hashes::Hash,
    merkle_tree,
    secp256k1::{Keypair, Message, Secp256k1},
    sighash::{Prevouts, SighashCache},
    taproot, transaction,
};

pub(crate) const REGTEST_BITS: u32 = 0x207f_ffff;

pub(crate) fn regtest_genesis() -> Header {
    bitcoin::constants::genesis_block(Network::Regtest).header
}

/// Finds a nonce with which the header meets its own difficulty.
pub(crate) fn mine_header(mut header: Header) -> Header {
    while !header.target().is_met_by(header.block_hash()) {
        header.nonce += 1;
    }
    header
}

/// The header of a block on top of another.
pub(crate) fn next_header(parent: &Header, merkle_root: TxMerkleNode) -> Header {
    mine_header(Header {
        version: Version::from_consensus(0x2000_0000),
        prev_blockhash: parent.block_hash(),
        merkle_root,
        time: parent.time + 600,
        bits: CompactTarget::from_consensus(REGTEST_BITS),
        nonce: 0,
    })
}

/// Headers without blocks; the tag tells branches apart.
pub(crate) fn regtest_headers(parent: &Header, count: usize, tag: u32) -> Vec<Header> {
    let mut root = [0; 32];
    root[..4].copy_from_slice(&tag.to_le_bytes());
    let root = TxMerkleNode::from_byte_array(root);
    let step = |parent: &mut Header, _| {
        *parent = next_header(parent, root);
        Some(*parent)
    };
    (0..count).scan(*parent, step).collect()
}

/// A coinbase that commits to the witnesses; the tag tells branches apart.
fn coinbase(height: u32, tag: u32, transactions: &[Transaction]) -> Transaction {
    let hashes = transactions.iter().map(|transaction| transaction.compute_wtxid().to_raw_hash());
    let root = merkle_tree::calculate_root(core::iter::once(Wtxid::all_zeros().to_raw_hash()).chain(hashes));
    let root = WitnessMerkleNode::from_raw_hash(root.expect("the coinbase is there"));
    let reserved = [0; 32];
    let commitment = Block::compute_witness_commitment(&root, &reserved);
    let script = [[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed].as_slice(), commitment.as_byte_array()].concat();
    Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: alloc::vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: [height.to_le_bytes(), tag.to_le_bytes()].concat().into(),
            sequence: Sequence::MAX,
            witness: Witness::from_slice(&[reserved]),
        }],
        output: alloc::vec![TxOut { value: Amount::ZERO, script_pubkey: script.into() }],
    }
}

/// A block on top of another.
pub(crate) fn mine_block(parent: &Header, height: u32, tag: u32, transactions: Vec<Transaction>) -> Block {
    let mut txdata = alloc::vec![coinbase(height, tag, &transactions)];
    txdata.extend(transactions);
    let hashes = txdata.iter().map(|transaction| transaction.compute_txid().to_raw_hash());
    let root = merkle_tree::calculate_root(hashes).expect("the coinbase is there");
    Block { header: next_header(parent, TxMerkleNode::from_raw_hash(root)), txdata }
}

/// A transaction with some outputs that spends an output which exists nowhere; the tag makes it unique.
pub(crate) fn pay(tag: u32, output: Vec<TxOut>) -> Transaction {
    let input = TxIn { previous_output: OutPoint::new(Txid::all_zeros(), tag), ..TxIn::default() };
    Transaction { version: transaction::Version::TWO, lock_time: LockTime::ZERO, input: alloc::vec![input], output }
}

/// The key that reveals.
pub(crate) const POSTER_SECRET: u8 = 5;

/// The key pair of a small secret.
pub(crate) fn pair(secret: u8) -> Keypair {
    Keypair::from_seckey_slice(&Secp256k1::new(), &[secret; 32]).expect("a small secret key")
}

/// A signature of a transaction whose first input spends the first of these outputs by a leaf.
pub(crate) fn sign_leaf(
    pair: &Keypair,
    transaction: &Transaction,
    spent: &[TxOut],
    leaf: TapLeafHash,
    sighash_type: TapSighashType,
) -> taproot::Signature {
    let signed = SighashCache::new(transaction)
        .taproot_script_spend_signature_hash(0, &Prevouts::All(spent), leaf, sighash_type)
        .expect("each input spends an output");
    let signature = Secp256k1::new().sign_schnorr_no_aux_rand(&Message::from(signed), pair);
    taproot::Signature { signature, sighash_type }
}

/// A transaction that reveals a payload.
pub(crate) fn reveal(payload: &[u8]) -> Transaction {
    reveal_by(POSTER_SECRET, payload)
}

/// As [`reveal`], by the key of a small secret.
pub(crate) fn reveal_by(secret: u8, payload: &[u8]) -> Transaction {
    let envelope = Envelope::new(pair(secret).x_only_public_key().0, payload).expect("the payload has a header");
    let change = TxOut { value: Amount::from_sat(4_000), script_pubkey: ScriptBuf::new() };
    let mut reveal = envelope.reveal_transaction(OutPoint::null(), LOCKED, change).expect("not much is locked");
    reveal.input[0].previous_output.vout = 0;
    sign_reveal(secret, payload, &mut reveal);
    reveal
}

/// What each commit locks.
const LOCKED: Amount = Amount::from_sat(9_000);

/// Signs a reveal of a payload by the key of a small secret.
pub(crate) fn sign_reveal(secret: u8, payload: &[u8], reveal: &mut Transaction) {
    let (secp, pair) = (Secp256k1::new(), pair(secret));
    let envelope = Envelope::new(pair.x_only_public_key().0, payload).expect("the payload has a header");
    let commit = TxOut { value: LOCKED, script_pubkey: envelope.commit_script_pubkey(&secp) };
    let signature = sign_leaf(&pair, reveal, &[commit], envelope.leaf_hash(), TapSighashType::Default);
    reveal.input[0].witness = envelope.witness(&secp, &signature);
}
