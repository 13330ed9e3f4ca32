//! Witness generation: wires and rows of full chunks at depth 10, on one thread, with the check of every row.
//!
//! The time an element is the time a constraint; the goal is at most 0.3 us.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::{collections::BTreeMap, hint::black_box, num::NonZeroU16};
use taproof_circuits::{
    chunk::{assign, witness::ChunkWitness},
    schnorr::SecretKey,
    state::{Plan, Slots, State},
    taproof_verifier::cell::{CellIndex, ChainId, Depth, Token},
    transaction::{Deposit, Signed, Transaction, Transfer},
};

const SLOTS: u16 = 8;

/// A full chunk of deposits and one of transfers.
fn chunks() -> Vec<ChunkWitness> {
    let slots = NonZeroU16::new(SLOTS).expect("a chunk has slots");
    let plan = Plan {
        height_blocks: 800_000,
        slots: Slots { deposit: slots, transfer: slots, open: slots, withdraw: slots },
        operators: BTreeMap::from([(Token::BITCOIN, CellIndex::default())]),
        chunks_max: 16,
    };
    let chain_id = ChainId(1);
    let mut state = State::new(chain_id, Depth::MAX);
    let secrets: Vec<_> = (0..SLOTS as u8).map(|number| SecretKey::from_seed(&[number; 32])).collect();
    let deposits: Vec<_> =
        secrets.iter().map(|secret| Deposit { amount_sat: 1_000_000, owner: *secret.public() }).collect();
    let funded = state.apply(&plan, &deposits, &[]).expect("the operator's cell is in the tree");
    let pay = |secret: &SecretKey| {
        let (from, _) = state.accounts_of(secret.public()).next().expect("a funded account");
        let body =
            Transfer { chain_id, token: Token::BITCOIN, from, nonce: 0, to: CellIndex::default(), amount: 500, fee: 3 };
        Transaction::Transfer(Signed::sign(body, secret))
    };
    let transfers: Vec<_> = secrets.iter().map(pay).collect();
    let paid = state.apply(&plan, &[], &transfers).expect("the operator's cell is in the tree");
    let chunks: Vec<_> = funded.chunks.into_iter().chain(paid.chunks).collect();
    assert!(chunks.len() == 2 && chunks.iter().all(|chunk| chunk.slots.len() == usize::from(SLOTS)));
    chunks
}

fn witness(criterion: &mut Criterion) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("one thread");
    let mut group = criterion.benchmark_group("witness");
    group.sample_size(10);
    for chunk in chunks() {
        let constraints = assign(&chunk).expect("a valid chunk").a.len();
        group.throughput(Throughput::Elements(constraints as u64));
        let name = chunk.statement.circuit.kind.name();
        group.bench_function(name, |bencher| bencher.iter(|| pool.install(|| assign(black_box(&chunk)))));
    }
    group.finish();
}

criterion_group!(benches, witness);
criterion_main!(benches);
