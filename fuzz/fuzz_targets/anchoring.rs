//! What the anchoring service reads back: stored jobs, whose payload follows in the input, and PSBTs of external
//! signers.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use taproof_bitcoin::anchoring::{Identity, Job, psbt};
use taproof_verifier::{
    bitcoin::{Network, Psbt, XOnlyPublicKey},
    cell::ChainId,
};
use taproof_wallet::Wallet;

/// Bytes that say how long the job is.
const LENGTH_BYTES: usize = 2;

/// Whose anchors these are, and the hot key of some.
static IDENTITY: LazyLock<(Identity, XOnlyPublicKey)> = LazyLock::new(|| {
    let wallet = Wallet::from_seed(&[7; 32], Network::Regtest).expect("32 bytes");
    let key = wallet.poster_key(0).expect("a small number");
    let hot = wallet.hot_key(0).expect("a small number").public();
    (Identity::new(ChainId::from_byte_array([7; 15]), &key.scripts()), hot)
});

fuzz_target!(|input: &[u8]| {
    let Some((length, rest)) = input.split_first_chunk::<LENGTH_BYTES>() else { return };
    let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    let (bytes, rest) = rest.split_at(length);
    let Ok(mut job) = Job::from_bytes(bytes, &IDENTITY.0, &[IDENTITY.1], |_| Some(rest.to_vec())) else { return };
    assert_eq!(job.to_bytes(), bytes, "a job has one form");
    if let Ok(signed) = Psbt::deserialize(rest) {
        let _ = psbt::accept(&mut job, &signed);
    }
});
