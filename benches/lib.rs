//! Benchmarks of Taproof: what they share. See the files under `benches/` and `examples/`.
#![forbid(unsafe_code)]

use std::{num::NonZeroU16, path::Path};
use taproof::{
    key_file::{self, Key},
    progress::Silent,
    setup::{self, Randomness, SetupOptions},
};
use taproof_circuits::{
    chunk::witness::ChunkWitness,
    cs::Shape,
    schnorr::SecretKey,
    state::{Plan, Slots, State},
    transaction::{Deposit, Transfer, UnsignedTransaction},
};
use taproof_verifier::{
    bitcoin::Network,
    cell::{CellIndex, ChainId, Depth, Token},
    statement::CircuitId,
};

/// A full chunk of transfers between two accounts, each signed.
///
/// # Panics
/// If `slots` is zero.
pub fn transfer_chunk(depth: Depth, slots: u16) -> ChunkWitness {
    let chain_id = ChainId(1);
    let keys = [1, 2].map(|seed| SecretKey::from_seed(&[seed; 32]));
    let mut state = State::new(chain_id, depth);
    let count = NonZeroU16::new(slots).expect("a chunk has slots");
    let slots_of_kinds = Slots { deposit: count, transfer: count, open: count, withdraw: count };
    let plan = Plan { height_blocks: 1, slots: slots_of_kinds, operators: Default::default(), chunks_max: 10 };
    let deposits = [0, 1].map(|i: usize| Deposit { amount_sat: 1 << 40, owner: *keys[i].public() });
    state.apply(&plan, &deposits, &[]).expect("a plan without operators");
    let cells: [CellIndex; 2] =
        [0, 1].map(|i: usize| state.accounts_of(keys[i].public()).next().expect("a deposit made the account").0);
    let transfers: Vec<_> = (0..u32::from(slots))
        .map(|nonce| {
            let (from, to, amount, fee) = (cells[0], cells[1], u64::from(nonce) * 7919, 0);
            let body = Transfer { chain_id, token: Token::BITCOIN, from, nonce, to, amount, fee };
            UnsignedTransaction::Transfer(body).sign(&keys[0])
        })
        .collect();
    let batch = state.apply(&plan, &[], &transfers).expect("a plan without operators");
    let [chunk] = batch.chunks.try_into().expect("the transfers fill one chunk");
    chunk
}

/// Makes a circuit's key with fixed secrets in a folder and opens it.
///
/// # Panics
/// If the folder cannot be written.
pub fn key(shape: &Shape, circuit: CircuitId, folder: &Path) -> Key {
    let (network, randomness) = (Network::Regtest, Randomness::Seed([1; 32]));
    let options = SetupOptions { network, allow_outside_test_networks: false, randomness };
    let key = setup::generate(shape, circuit, &options, &Silent).expect("a circuit of legal size");
    let path = folder.join("key");
    key_file::write(&key, &path).expect("there is room");
    Key::open(&path, circuit, shape.matrix_hash()).expect("just written")
}
