//! The subjects that are a stage of a proof's life: setup, witness, proof, check.

use super::{
    BenchError, Prepared, Program,
    chain::Chain,
    chunk::{self, Transfers},
    market::{self, Market, Run},
    timed,
    trapdoor::Trapdoor,
};
use ark_bn254::{Bn254, Fr};
use ark_ff::UniformRand;
use ark_groth16::{Groth16, prepare_verifying_key};
use bitcoin::Network;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use std::{hint::black_box, num::NonZeroUsize, sync::Arc, time::Instant};
use taproof_base::progress::{Progress, Silent};
use taproof_circuits::{
    chunk::{assign, shape},
    cs::Shape,
    step::Machines,
};
use taproof_kernel::{
    against_ark::{self, ArkProver},
    key_file::{self, Key},
    prove::{self, Blinding},
    proving_key::ProvingKey,
    setup::{self, Randomness, SetupError, SetupOptions},
};
use taproof_verifier::{
    cell::Depth,
    groth16::{BatchItem, verify_batch},
    record::Kind,
    statement::CircuitId,
};

pub(super) fn prove(log_size: u32, against_ark: bool, progress: &dyn Progress) -> Result<Prepared, BenchError> {
    let chain = Chain::new(log_size);
    let (shape, statement) = (chain.shape(), chain.statement());
    let key = mapped_key(&shape, statement.circuit, progress)?;
    let assignment = Arc::new(chain.assignment(&shape));
    // The same blinding in every round and run, so that all do the same work.
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let (r, s) = (Fr::rand(&mut rng), Fr::rand(&mut rng));
    let ark = if against_ark {
        let (prover, assignment) = (ArkProver::new(&key, &shape)?, assignment.clone());
        let run = move || prover.prove(&assignment.wires, r, s).expect("the key was made for this domain");
        Some(Box::new(move || Ok(timed(&run))) as Program)
    } else {
        None
    };
    let blinding = Blinding::from_rng(&mut ChaCha20Rng::seed_from_u64(1));
    let ours = move || {
        let given = assignment.as_ref().clone();
        let start = Instant::now();
        let proven = prove::prove(&key, &statement, given, &blinding)?;
        let elapsed = start.elapsed();
        black_box(proven.proof());
        Ok(elapsed)
    };
    Ok(Prepared { count: chain.row_count(), ours: Box::new(ours), ark })
}

/// A key with fixed secrets, which is fit for nothing else.
fn generate(shape: &Shape, circuit: CircuitId, progress: &dyn Progress) -> Result<ProvingKey, SetupError> {
    let (network, randomness) = (Network::Regtest, Randomness::Seed([1; 32]));
    let options = SetupOptions { network, allow_outside_test_networks: false, randomness };
    setup::generate(shape, circuit, &options, progress)
}

/// The same, mapped as a prover has it and checked. The file has no name any more.
fn mapped_key(shape: &Shape, circuit: CircuitId, progress: &dyn Progress) -> Result<Key, BenchError> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("key");
    key_file::write(&generate(shape, circuit, progress)?, &path)?;
    let key = Key::open(&path, circuit)?;
    key.sections()?;
    Ok(key)
}

/// Both generators take the circuit's rows: ours reads them from the recorded slot, ark-groth16 has a circuit write
/// them.
pub(super) fn setup(log_size: u32, against_ark: bool) -> Prepared {
    let chain = Chain::new(log_size);
    let shape = Arc::new(chain.shape());
    let ark = against_ark.then(|| {
        let shape = shape.clone();
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let run = move || Ok(timed(|| against_ark::generate(&shape, &mut rng).expect("a circuit of legal size")));
        Box::new(run) as Program
    });
    let ours = move || {
        let start = Instant::now();
        black_box(generate(&shape, chain.statement().circuit, &Silent)?);
        Ok(start.elapsed())
    };
    Prepared { count: chain.row_count(), ours: Box::new(ours), ark }
}

pub(super) fn verify(log_size: u32, against_ark: bool) -> Prepared {
    let mut trapdoor = Trapdoor::new();
    let key = trapdoor.key().prepare();
    let statement = |number: u64| {
        let mut statement = Chain::new(Chain::LOG_SIZE_MIN).statement();
        statement.root_after = Fr::from(number);
        statement
    };
    let statements: Vec<_> = (0..1 << log_size).map(statement).collect();
    let proofs: Vec<_> = statements.iter().map(|statement| trapdoor.prove(statement.digest())).collect();
    let count = proofs.len();
    let ark = against_ark.then(|| {
        let key = prepare_verifying_key(&against_ark::verifying_key(key.key()));
        let inputs = statements.iter().map(|statement| [statement.digest()]);
        let cases: Vec<_> = inputs.zip(proofs.iter().map(against_ark::proof)).collect();
        let check = move || {
            let is_valid = |(input, proof): &([Fr; 1], _)| {
                Groth16::<Bn254>::verify_proof(&key, proof, input).expect("one public input")
            };
            assert!(black_box(&cases).iter().all(is_valid), "the proofs are valid");
        };
        Box::new(move || Ok(timed(&check))) as Program
    });
    let check = move || {
        if let ([statement], [proof]) = (&statements[..], &proofs[..]) {
            let _ = black_box(key.verify(black_box(statement), proof).expect("the proof is valid"));
            return;
        }
        let item = |(statement, proof)| BatchItem { key: &key, statement, proof };
        let items: Vec<_> = statements.iter().zip(&proofs).map(item).collect();
        black_box(verify_batch(black_box(&items)).expect("the proofs are valid"));
    };
    Prepared { count, ours: Box::new(move || Ok(timed(&check))), ark }
}

/// All that an operator does for a payment before it is anchored.
pub(super) fn payments(log_size: u32, progress: &dyn Progress) -> Result<Prepared, BenchError> {
    let slots = chunk::transfers_within(log_size);
    let transfers = Transfers::new(Depth::MAX, slots);
    let circuit = CircuitId::new(Kind::Transfer, Depth::MAX, slots);
    let key = mapped_key(&shape(&Machines::default(), circuit).expect("transfers have a circuit"), circuit, progress)?;
    let ours = move || {
        let mut state = transfers.state().clone();
        let start = Instant::now();
        let chunk = transfers.apply_to(&mut state);
        let _ = black_box(prove::prove_chunk(&Machines::default(), &key, &chunk, &Blinding::fresh())?);
        Ok(start.elapsed())
    };
    Ok(Prepared { count: slots.into(), ours: Box::new(ours), ark: None })
}

/// All that an operator does for a session of a pool before it is anchored.
pub(super) fn orders(log_size: u32, progress: &dyn Progress) -> Result<Prepared, BenchError> {
    let orders = 1 << log_size;
    // With those that open and close the session.
    let slots = market::slots_max().min(orders + 2);
    let (market, machines) = (Market::new(Depth::MAX, slots, orders), market::machines());
    let circuit = taproof_circuits::ops::standard().circuit(Depth::MAX, slots);
    let key = mapped_key(&shape(&machines, circuit).expect("a known machine"), circuit, progress)?;
    let at_once = NonZeroUsize::new(2).expect("not zero");
    let ours = move || {
        let mut state = market.state().clone();
        let start = Instant::now();
        let chunks = market.clear(&mut state);
        let key_of = |named| (named == circuit).then_some(&key);
        for proven in prove::prove_batch(&machines, &chunks, key_of, at_once, &|_| (), &Silent) {
            let _ = black_box(proven?);
        }
        Ok(start.elapsed())
    };
    Ok(Prepared { count: orders.into(), ours: Box::new(ours), ark: None })
}

/// What replay does for a step, beside the tree.
pub(super) fn steps(log_size: u32) -> Prepared {
    let count = 1 << log_size;
    let run = Run::new(count);
    Prepared { count, ours: Box::new(move || Ok(timed(|| black_box(&run).apply()))), ark: None }
}

pub(super) fn witness(log_size: u32) -> Prepared {
    let chunk = chunk::transfer_chunk(Depth::MAX, chunk::transfers_within(log_size));
    let count = shape(&Machines::default(), chunk.statement.circuit).expect("chunks name a circuit").row_count();
    let ours = move || Ok(timed(|| assign(&Machines::default(), black_box(&chunk)).expect("valid transfers")));
    Prepared { count, ours: Box::new(ours), ark: None }
}
