//! Regtest chains mined in tests.

use alloc::vec::Vec;
use bitcoin::{
    CompactTarget, Network, TxMerkleNode,
    block::{Header, Version},
    hashes::Hash,
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
