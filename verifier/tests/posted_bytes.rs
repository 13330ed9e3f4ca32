//! What a transfer costs on Bitcoin: the payments of mainnet block 702861, as compressed records.

use bitcoin::{
    Block, OutPoint, PubkeyHash, ScriptBuf, ScriptHash, TxIn, WPubkeyHash, WScriptHash, consensus,
    hashes::{Hash, hash160},
    script::Instruction,
};
use rand::{SeedableRng, seq::SliceRandom};
use std::collections::{HashMap, HashSet};
use taproof_fixtures::MAINNET_BLOCK_702861;
use taproof_verifier::{
    cell::CellIndex,
    codec::{self, Layout},
    record::{Records, TransferRecord},
};

/// The fee of every payment, in satoshi.
const FEE_SAT: u64 = 10;
/// The most records that one chunk holds here.
const CHUNK_RECORDS: usize = 1024;

/// What an account stands for: a script, or where that cannot be told, the output that is spent.
#[derive(PartialEq, Eq, Hash)]
enum Holder {
    Script(ScriptBuf),
    Output(OutPoint),
}

impl Holder {
    /// Who signs an input, as far as the input tells.
    fn of_input(input: &TxIn) -> Self {
        let push = |instruction| match instruction {
            Instruction::PushBytes(bytes) => Some(bytes),
            Instruction::Op(_) => None,
        };
        let pushes: Vec<_> = input.script_sig.instructions().flatten().filter_map(push).collect();
        let witness: Vec<_> = input.witness.iter().collect();
        let script = match (pushes.as_slice(), witness.as_slice()) {
            ([signature, key], _) if signature.len() >= 64 && matches!(key.len(), 33 | 65) => {
                let hash = hash160::Hash::hash(key.as_bytes());
                ScriptBuf::new_p2pkh(&PubkeyHash::from_raw_hash(hash))
            }
            ([.., redeem], _) => {
                ScriptBuf::new_p2sh(&ScriptHash::from_raw_hash(hash160::Hash::hash(redeem.as_bytes())))
            }
            ([], [_, key]) if key.len() == 33 => {
                ScriptBuf::new_p2wpkh(&WPubkeyHash::from_raw_hash(hash160::Hash::hash(key)))
            }
            ([], [.., script]) => ScriptBuf::new_p2wsh(&WScriptHash::hash(script)),
            ([], []) => return Self::Output(input.previous_output),
        };
        Self::Script(script)
    }
}

/// Every output as a payment from the signer of its transaction's first input, with accounts numbered as they
/// appear; and how many accounts there are.
fn transfers() -> (Vec<TransferRecord>, usize) {
    let block: Block = consensus::deserialize(MAINNET_BLOCK_702861).expect("the block is valid");
    let mut accounts = HashMap::new();
    let mut account = |holder: Holder| {
        let next = accounts.len() as u32;
        CellIndex::new(*accounts.entry(holder).or_insert(next)).expect("fewer than 2^30 accounts")
    };
    let mut transfers = Vec::new();
    for transaction in &block.txdata {
        let from = account(Holder::of_input(&transaction.input[0]));
        for output in &transaction.output {
            let to = account(Holder::Script(output.script_pubkey.clone()));
            transfers.push(TransferRecord { from, to, amount: output.value.to_sat(), fee: FEE_SAT });
        }
    }
    (transfers, accounts.len())
}

/// The same payments between accounts that lie anywhere among `cells`.
fn scattered(transfers: &[TransferRecord], accounts: usize, cells: u32) -> Vec<TransferRecord> {
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
    let mut taken = HashSet::new();
    while taken.len() < accounts {
        taken.insert(rand::Rng::gen_range(&mut rng, 0..cells));
    }
    let mut places: Vec<_> = taken.into_iter().collect();
    places.sort_unstable();
    places.shuffle(&mut rng);
    let place = |index: CellIndex| CellIndex::new(places[index.get() as usize]).expect("below 2^30");
    transfers.iter().map(|t| TransferRecord { from: place(t.from), to: place(t.to), ..*t }).collect()
}

/// The bytes that a transfer takes in a payload, all else left out; checks that the records can be read back.
fn posted_bytes_per_transfer(transfers: &[TransferRecord]) -> f64 {
    let chunks: Vec<_> = transfers.chunks(CHUNK_RECORDS).map(|chunk| Records::Transfer(chunk.to_vec())).collect();
    let columns = codec::columns(&chunks.iter().collect::<Vec<_>>());
    let compressed = codec::deflate(&columns);
    let layouts: Vec<_> = chunks.iter().map(|chunk| Layout::Transfer(chunk.len() as u16)).collect();
    let inflated = codec::inflate(&compressed, columns.len()).expect("the stream is our own");
    assert_eq!(codec::from_columns(&layouts, &inflated).expect("the columns are our own"), chunks);
    compressed.len() as f64 / transfers.len() as f64
}

#[test]
fn transfers_of_a_real_block_take_at_most_nine_bytes() {
    let (transfers, accounts) = transfers();
    assert_eq!(transfers.len(), 6015);
    let by_payer = |mut transfers: Vec<TransferRecord>| {
        transfers.sort_by_key(|transfer| transfer.from);
        transfers
    };
    let two_million = scattered(&transfers, accounts, 1 << 21);
    let billion = scattered(&transfers, accounts, 1 << 30);
    let cases = [
        ("accounts numbered as they appear", transfers, 8.0),
        ("accounts anywhere among 2^21", two_million.clone(), 8.0),
        ("the same, ordered by payer", by_payer(two_million), 8.0),
        ("accounts anywhere among 2^30, ordered by payer", by_payer(billion), 9.0),
    ];
    for (case, transfers, bytes_max) in cases {
        let bytes = posted_bytes_per_transfer(&transfers);
        println!("{case}: {bytes:.3} bytes a transfer");
        assert!(bytes <= bytes_max, "{case}: {bytes} bytes a transfer");
        assert!(bytes > 2.0, "{case}: amounts alone take more");
    }
}
