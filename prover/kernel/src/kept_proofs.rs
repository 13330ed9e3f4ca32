//! Proofs that were made, kept by what they prove, so that none is made twice.
//!
//! A folder holds a file for each, named by the digest of its statement: the proof of a batch that was interrupted is
//! there when the batch is proven again, and so is one whose statement recurs in another batch. Kept proofs are
//! believed as little as any other: whoever takes one verifies it.

use crate::{
    key_file::Key,
    prove::{ProveError, prove_batch},
    proven::Proven,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use std::{
    fs, io,
    num::NonZeroUsize,
    path::PathBuf,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};
use taproof_base::{
    artefact::{self, Artefact, ArtefactKind, FileError},
    progress::Progress,
};
use taproof_circuits::{chunk::witness::ChunkWitness, step::Machines};
use taproof_verifier::{
    field,
    groth16::Proof,
    serde_form,
    statement::{CircuitId, Statement},
};

/// The folder of kept proofs.
#[derive(Clone, Debug)]
pub struct KeptProofs {
    folder: PathBuf,
}

/// A proof as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptProof {
    /// The batch that the proof was last made or taken for.
    pub batch: u64,
    /// The proof, which may be anyone's and of anything.
    pub proof: Proof,
}

/// What came of proving with kept proofs.
#[derive(Debug)]
pub struct Outcome {
    /// One result for each chunk, in order.
    pub proofs: Vec<Result<Proven, ProveError>>,
    /// How many proofs were there already.
    pub taken: usize,
    /// Why a proof could not be kept, if one could not. It is among the results nevertheless.
    pub not_kept: Option<FileError>,
}

impl KeptProofs {
    /// The folder, which need not exist.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The proof of a statement, if one is kept that verifies.
    pub fn find(&self, statement: &Statement, key: &Key) -> Option<Proven> {
        let kept: KeptProof = artefact::read(&self.file(statement)).ok()?;
        Proven::by_key(key, statement, kept.proof).ok()
    }

    /// Keeps a proof for a batch, in the place of any of the same statement.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn keep(&self, batch: u64, proven: &Proven) -> Result<(), FileError> {
        fs::create_dir_all(&self.folder).map_err(|source| FileError::Io { path: self.folder.clone(), source })?;
        artefact::write(&self.file(proven.statement()), &KeptProof { batch, proof: proven.proof().clone() })
    }

    /// Proves the chunks of a batch as [`prove_batch`] does, but for those whose proofs are kept, and keeps each
    /// proof as soon as it is made. `observe` is told beforehand how many there are.
    #[allow(clippy::too_many_arguments, reason = "those of the proofs, and those of what is kept")]
    pub fn prove<'k>(
        &self,
        machines: &Machines,
        batch: u64,
        chunks: &[ChunkWitness],
        key_of: impl Fn(CircuitId) -> Option<&'k Key> + Sync,
        at_once: NonZeroUsize,
        observe: impl FnOnce(usize),
        progress: &dyn Progress,
    ) -> Outcome {
        let find = |chunk: &ChunkWitness| self.find(&chunk.statement, key_of(chunk.statement.circuit)?);
        let found: Vec<Option<Proven>> = chunks.iter().map(find).collect();
        let not_kept = OnceLock::new();
        let keep = |proven: &Proven| {
            if let Err(error) = self.keep(batch, proven) {
                // One is enough to say: whatever the reason, it is that of the others as well.
                let _ = not_kept.set(error);
            }
        };
        // What is taken belongs to this batch from now on.
        found.iter().flatten().for_each(keep);
        let taken = found.iter().flatten().count();
        observe(taken);
        let missing: Vec<&ChunkWitness> =
            chunks.iter().zip(&found).filter(|(_, found)| found.is_none()).map(|(chunk, _)| chunk).collect();
        let mut made = prove_batch(machines, &missing, key_of, at_once, &keep, progress).into_iter();
        let proofs = found.into_iter().map(|found| match found {
            Some(proven) => Ok(proven),
            None => made.next().expect("each chunk without a proof was proven"),
        });
        let proofs = proofs.collect();
        Outcome { proofs, taken, not_kept: not_kept.into_inner() }
    }

    /// Removes the proofs of batches that are no longer needed and what cannot be read, and gives their number.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn sweep(&self, is_needed: impl Fn(u64) -> bool) -> io::Result<usize> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            entries => entries?,
        };
        let removed = AtomicUsize::new(0);
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != EXTENSION) {
                continue;
            }
            let kept = artefact::read::<KeptProof>(&path);
            if !kept.is_ok_and(|kept| is_needed(kept.batch)) {
                fs::remove_file(&path)?;
                removed.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(removed.into_inner())
    }

    fn file(&self, statement: &Statement) -> PathBuf {
        self.folder.join(format!("{}.{EXTENSION}", hex::encode(field::to_bytes(&statement.digest()))))
    }
}

const EXTENSION: &str = "proof";

impl Serialize for KeptProof {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Body(u64, #[serde(serialize_with = "bytes")] [u8; Proof::LENGTH]);
        fn bytes<S: Serializer>(bytes: &[u8; Proof::LENGTH], serializer: S) -> Result<S::Ok, S::Error> {
            serde_form::serialize_bytes(bytes, serializer)
        }
        Body(self.batch, self.proof.to_bytes()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for KeptProof {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Body(u64, #[serde(deserialize_with = "serde_form::deserialize_array")] [u8; Proof::LENGTH]);
        let Body(batch, bytes) = Body::deserialize(deserializer)?;
        Ok(Self { batch, proof: Proof::from_bytes(&bytes).map_err(D::Error::custom)? })
    }
}

impl Artefact for KeptProof {
    const KIND: ArtefactKind = ArtefactKind::KeptProof;
    const VERSION: u8 = 1;
    const LENGTH_MAX: u64 = 160;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toy;
    use std::sync::Mutex;
    use taproof_base::progress::Silent;
    use taproof_circuits::chunk::shape;

    struct Scene {
        folder: tempfile::TempDir,
        chunks: Vec<ChunkWitness>,
        key: Key,
    }

    impl Scene {
        /// Three chunks of one circuit.
        fn new() -> Self {
            let chunks = toy::deposit_chunks(3);
            let circuit = chunks[0].statement.circuit;
            let key = toy::key(&shape(&Machines::default(), circuit).expect("a circuit"), circuit);
            Self { folder: tempfile::tempdir().expect("a scratch folder"), chunks, key }
        }

        fn kept(&self) -> KeptProofs {
            KeptProofs::new(self.folder.path().join("kept"))
        }

        fn files(&self) -> Vec<PathBuf> {
            let entries = fs::read_dir(self.folder.path().join("kept")).expect("proofs are kept");
            entries.map(|entry| entry.expect("readable").path()).collect()
        }

        /// Proves, and gives how many proofs were there already.
        fn prove(&self, batch: u64, chunks: &[ChunkWitness]) -> usize {
            let (one, told) = (NonZeroUsize::MIN, Mutex::new(None));
            let observe = |taken| *told.lock().expect("no panic") = Some(taken);
            let outcome =
                self.kept().prove(&Machines::default(), batch, chunks, |_| Some(&self.key), one, observe, &Silent);
            assert!(outcome.not_kept.is_none());
            assert_eq!(told.into_inner().expect("no panic"), Some(outcome.taken));
            for (chunk, proven) in chunks.iter().zip(outcome.proofs) {
                assert_eq!(proven.expect("a valid deposit").statement(), &chunk.statement);
            }
            outcome.taken
        }
    }

    #[test]
    fn what_was_made_before_a_run_ended_is_not_made_again() {
        let scene = Scene::new();
        assert_eq!(scene.prove(7, &scene.chunks[1..2]), 0);
        assert_eq!(scene.prove(7, &scene.chunks), 1);
        assert_eq!(scene.prove(7, &scene.chunks), 3);
        // A statement that recurs in another batch is proven already, in whatever order.
        let reversed: Vec<ChunkWitness> = scene.chunks.iter().rev().cloned().collect();
        assert_eq!(scene.prove(8, &reversed), 3);
    }

    #[test]
    fn each_proof_is_there_before_the_next_is_made() {
        let scene = Scene::new();
        // Another process reads the folder whenever it is told of progress: the work of one proof at a time is done.
        let seen = Mutex::new(vec![0]);
        let progress = |_: u64, _: u64| {
            let count = fs::read_dir(scene.folder.path().join("kept")).map_or(0, Iterator::count);
            seen.lock().expect("no panic").push(count);
        };
        let outcome = scene.kept().prove(
            &Machines::default(),
            0,
            &scene.chunks,
            |_| Some(&scene.key),
            NonZeroUsize::MIN,
            |_| (),
            &progress,
        );
        assert!(outcome.proofs.iter().all(Result::is_ok));
        let mut seen = seen.into_inner().expect("no panic");
        seen.dedup();
        // Nothing is told after the last one is kept; a temporary file may have been seen beside any.
        assert!(seen.contains(&1) && seen.contains(&2), "{seen:?}");
        assert_eq!(scene.files().len(), 3);
    }

    #[test]
    fn a_kept_proof_that_is_damaged_or_of_another_statement_is_made_again() {
        let scene = Scene::new();
        scene.prove(0, &scene.chunks);
        let [first, second, third] = [0, 1, 2].map(|chunk: usize| scene.kept().file(&scene.chunks[chunk].statement));
        fs::copy(&second, &first).expect("the files are ours");
        let mut bytes = fs::read(&third).expect("it is there");
        *bytes.last_mut().expect("not empty") ^= 1;
        fs::write(&third, bytes).expect("the files are ours");
        assert_eq!(scene.prove(0, &scene.chunks), 1);
        assert_eq!(scene.prove(0, &scene.chunks), 3);
        fs::write(&second, b"").expect("the files are ours");
        assert_eq!(scene.prove(0, &scene.chunks), 2);
    }

    #[test]
    fn proofs_of_other_keys_are_not_taken() {
        let scene = Scene::new();
        scene.prove(0, &scene.chunks);
        let circuit = scene.chunks[0].statement.circuit;
        let other = toy::other_key(&shape(&Machines::default(), circuit).expect("a circuit"), circuit);
        assert!(scene.chunks.iter().all(|chunk| scene.kept().find(&chunk.statement, &other).is_none()));
    }

    #[test]
    fn a_folder_that_cannot_be_written_costs_no_proof() {
        let scene = Scene::new();
        fs::write(scene.folder.path().join("kept"), b"no folder").expect("the folder is ours");
        let prove = |chunks| {
            scene.kept().prove(
                &Machines::default(),
                0,
                chunks,
                |_| Some(&scene.key),
                NonZeroUsize::MIN,
                |_| (),
                &Silent,
            )
        };
        let outcome = prove(&scene.chunks[..1]);
        assert!(outcome.proofs[0].is_ok() && outcome.not_kept.is_some());
    }

    #[test]
    fn proofs_of_batches_that_are_over_are_swept() {
        let scene = Scene::new();
        assert_eq!(scene.kept().sweep(|_| false).expect("no folder, nothing to do"), 0);
        scene.prove(3, &scene.chunks[..2]);
        scene.prove(4, &scene.chunks[1..]);
        fs::write(scene.folder.path().join("kept/other.txt"), b"not ours").expect("the folder is ours");
        assert_eq!(scene.kept().sweep(|batch| batch >= 3).expect("the folder is ours"), 0);
        // The second chunk was taken for batch 4, so that the first alone is batch 3's.
        assert_eq!(scene.kept().sweep(|batch| batch >= 4).expect("the folder is ours"), 1);
        assert_eq!(scene.prove(4, &scene.chunks[1..]), 2);
        fs::write(scene.kept().file(&scene.chunks[2].statement), b"damaged").expect("the folder is ours");
        assert_eq!(scene.kept().sweep(|_| true).expect("the folder is ours"), 1);
        assert_eq!(scene.files().len(), 2);
    }
}
