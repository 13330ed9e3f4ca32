//! Many proofs, several at a time.

use super::{Blinding, ProveError, Proven, cost, prove_chunk_part};
use crate::key_file::Key;
use rayon::prelude::*;
use std::{
    borrow::Borrow,
    num::NonZeroUsize,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use taproof_base::progress::{Progress, Work};
use taproof_circuits::{chunk::witness::ChunkWitness, step::Machines};
use taproof_verifier::statement::CircuitId;

/// Proves chunks, at most `at_once` at a time, which bounds the memory; results are in the chunks' order.
///
/// `key_of` finds the key of a circuit. `made` is told of each proof as soon as it is made, by whichever thread made
/// it. One failure does not stop the others. Each proof uses all threads, so that two or three at once keep them
/// busy. Progress is counted in the work of the proofs' stages.
pub fn prove_batch<'k, C: Borrow<ChunkWitness> + Sync>(
    machines: &Machines,
    chunks: &[C],
    key_of: impl Fn(CircuitId) -> Option<&'k Key> + Sync,
    at_once: NonZeroUsize,
    made: &(dyn Fn(&Proven) + Sync),
    progress: &dyn Progress,
) -> Vec<Result<Proven, ProveError>> {
    let cost_of = |chunk: &ChunkWitness| key_of(chunk.statement.circuit).map_or(0, cost::proof_with);
    let work = Work::new(chunks.iter().map(|chunk| cost_of(chunk.borrow())).sum(), progress);
    prove_all(chunks, at_once, |chunk| {
        let chunk = chunk.borrow();
        let part = work.part(cost_of(chunk));
        let circuit = chunk.statement.circuit;
        let key = key_of(circuit).ok_or(ProveError::NoKey(circuit))?;
        let proven = prove_chunk_part(machines, key, chunk, &Blinding::fresh(), &part)?;
        made(&proven);
        Ok(proven)
    })
}

/// Runs `prove` on every item, at most `at_once` at a time; results are in the items' order.
pub(super) fn prove_all<T: Sync>(
    items: &[T],
    at_once: NonZeroUsize,
    prove: impl Fn(&T) -> Result<Proven, ProveError> + Sync,
) -> Vec<Result<Proven, ProveError>> {
    let next = AtomicUsize::new(0);
    let slots: Vec<Mutex<Option<_>>> = items.iter().map(|_| Mutex::new(None)).collect();
    let worker = || {
        while let Some((item, slot)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            items.get(index).zip(slots.get(index))
        } {
            let result = prove(item);
            *slot.lock().expect("a worker stores without panicking") = Some(result);
        }
    };
    (0..at_once.get().min(items.len())).into_par_iter().with_max_len(1).for_each(|_| worker());
    let results = slots.into_iter().map(|slot| slot.into_inner().expect("a worker stores without panicking"));
    results.map(|result| result.expect("the workers took every item")).collect()
}
