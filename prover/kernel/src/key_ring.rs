//! The keys of one program: a folder with one key file for each circuit.

use crate::{
    key_file::{self, Key, KeyFileError},
    setup::{self, SetupError, SetupOptions},
};
use rayon::prelude::*;
use std::{
    collections::BTreeMap,
    io::ErrorKind,
    path::{Path, PathBuf},
};
use taproof_base::{private, progress::Progress};
use taproof_circuits::{
    chunk::{NoCircuitError, shape},
    state::Slots,
    step::Machines,
};
use taproof_verifier::{
    cell::Depth,
    program::{Program, ProgramError},
    record::Kind,
    statement::CircuitId,
};

/// The mapped keys of a set of circuits.
#[derive(Debug)]
pub struct KeyRing {
    keys: BTreeMap<CircuitId, Key>,
}

/// Why there are no keys for a set of circuits.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyRingError {
    /// There is no such circuit.
    #[error(transparent)]
    NoCircuit(#[from] NoCircuitError),
    /// A key file cannot be used.
    #[error("{path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyFileError,
    },
    /// A key cannot be made.
    #[error("the key of circuit {circuit}")]
    Setup {
        /// The circuit.
        circuit: CircuitId,
        /// Why.
        source: SetupError,
    },
    /// The keys make no program.
    #[error(transparent)]
    Program(#[from] ProgramError),
}

/// The circuits of all kinds and sizes at a depth: those of payments, and those of steps where the slots say so and the
/// machine is known.
pub fn circuits(machines: &Machines, depth: Depth, slots: &Slots) -> Vec<CircuitId> {
    let sizes = |kind| slots.of(kind).into_iter().flat_map(|sizes| sizes.sizes()).map(|size| size.get());
    let payments =
        Kind::PAYMENTS.into_iter().flat_map(|kind| sizes(kind).map(move |size| CircuitId::new(kind, depth, size)));
    let machine = slots.step.as_ref().and_then(|step| machines.get(step.operations));
    let steps = machine.into_iter().flat_map(|machine| sizes(Kind::Step).map(|size| machine.circuit(depth, size)));
    payments.chain(steps).collect()
}

/// The file of a circuit's key in a folder.
pub fn key_path(folder: &Path, circuit: CircuitId) -> PathBuf {
    folder.join(format!("{circuit}.key"))
}

impl KeyRing {
    /// Opens the keys of circuits; each must be there. A key that was made for other matrices of its circuit than
    /// those that are built in here shows when [a chunk is proven](crate::prove::prove_chunk).
    ///
    /// # Errors
    /// [`KeyRingError::File`].
    pub fn open(folder: &Path, circuits: &[CircuitId]) -> Result<Self, KeyRingError> {
        let open = |circuit: &CircuitId| {
            let path = key_path(folder, *circuit);
            let key = Key::open(&path, *circuit).map_err(|source| KeyRingError::File { path, source })?;
            Ok((*circuit, key))
        };
        Ok(Self { keys: circuits.par_iter().map(open).collect::<Result<_, KeyRingError>>()? })
    }

    /// Makes the keys of circuits that a folder has no usable key of, one after the other, and opens all. Those that
    /// are there are read through for damage.
    ///
    /// `observe` is called before a key is made, with what is wrong with one that is there, and gives what the
    /// progress is reported to.
    ///
    /// # Errors
    /// Each of [`KeyRingError`] but [`KeyRingError::Program`].
    pub fn open_or_make(
        machines: &Machines,
        folder: &Path,
        circuits: &[CircuitId],
        options: &SetupOptions,
        mut observe: impl FnMut(CircuitId, Option<KeyRingError>) -> Box<dyn Progress>,
    ) -> Result<Self, KeyRingError> {
        for circuit in circuits {
            let shape = shape(machines, *circuit)?;
            let path = key_path(folder, *circuit);
            let usable = Key::open(&path, *circuit).and_then(|key| {
                key.expect_matrices(shape.matrix_hash())?;
                key.expect_intact()
            });
            if let Err(source) = usable {
                let fault = KeyRingError::File { path, source };
                let fault = (!fault.is_missing()).then_some(fault);
                make(machines, folder, *circuit, options, &*observe(*circuit, fault))?;
            }
        }
        Self::open(folder, circuits)
    }

    /// The key of a circuit.
    pub fn key(&self, circuit: CircuitId) -> Option<&Key> {
        self.keys.get(&circuit)
    }

    /// The circuits and their keys, in the order of the circuits.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = (&CircuitId, &Key)> {
        self.keys.iter()
    }

    /// The program that these keys' proofs are for, with the sets of operations of circuits of steps.
    ///
    /// # Errors
    /// [`ProgramError`].
    pub fn program(&self, machines: &Machines) -> Result<Program, ProgramError> {
        let mut operations: Vec<_> = self.keys.keys().map(|circuit| circuit.operations).collect();
        operations.sort_unstable();
        operations.dedup();
        let sets = operations.into_iter().filter_map(|operations| Some((**machines.get(operations)?.set()).clone()));
        let keys = self.keys.iter().map(|(circuit, key)| (*circuit, key.verifying_key().clone()));
        Program::with_operations(sets.collect(), keys)
    }
}

/// Makes the key of a circuit and writes it to a folder, in place of any that is there.
///
/// # Errors
/// Each of [`KeyRingError`] but [`KeyRingError::Program`].
pub fn make(
    machines: &Machines,
    folder: &Path,
    circuit: CircuitId,
    options: &SetupOptions,
    progress: &dyn Progress,
) -> Result<PathBuf, KeyRingError> {
    let path = key_path(folder, circuit);
    let key = setup::generate(&shape(machines, circuit)?, circuit, options, progress)
        .map_err(|source| KeyRingError::Setup { circuit, source })?;
    let written = private::create_folder(folder)
        .map_err(|source| KeyFileError::Write { path: folder.to_owned(), source })
        .and_then(|()| key_file::write(&key, &path));
    written.map_err(|source| KeyRingError::File { path: path.clone(), source })?;
    Ok(path)
}

impl KeyRingError {
    /// Whether a key file is missing, so that making it would help.
    pub fn is_missing(&self) -> bool {
        matches!(
            self,
            Self::File { source: KeyFileError::Read { source, .. }, .. } if source.kind() == ErrorKind::NotFound
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::Randomness;
    use bitcoin::Network;
    use std::fs;
    use taproof_base::progress::Silent;

    fn circuit(depth: u8) -> CircuitId {
        CircuitId::new(Kind::Deposit, Depth::new(depth).unwrap(), 1)
    }

    fn options() -> SetupOptions {
        let randomness = Randomness::Seed([1; 32]);
        SetupOptions { network: Network::Regtest, allow_outside_test_networks: false, randomness }
    }

    #[test]
    fn keys_are_made_once_and_made_anew_when_unusable() {
        let folder = tempfile::tempdir().unwrap();
        let circuits = [circuit(1)];
        assert!(KeyRing::open(folder.path(), &circuits).is_err_and(|error| error.is_missing()));
        let mut faults = Vec::new();
        let mut open = |circuits: &[CircuitId]| {
            let ring = KeyRing::open_or_make(&Machines::default(), folder.path(), circuits, &options(), |_, fault| {
                faults.push(fault);
                Box::new(Silent)
            });
            ring.unwrap().key(circuits[0]).unwrap().verifying_key().clone()
        };
        let first = open(&circuits);
        assert_eq!(open(&circuits), first);
        fs::write(key_path(folder.path(), circuits[0]), b"not a key").unwrap();
        assert_eq!(open(&circuits), first, "the seed gives the same keys");
        let of_others =
            setup::generate(&shape(&Machines::default(), circuit(2)).unwrap(), circuits[0], &options(), &Silent)
                .unwrap();
        key_file::write(&of_others, &key_path(folder.path(), circuits[0])).unwrap();
        assert_eq!(open(&circuits), first, "a key that was made before the circuit changed is made anew");
        let mut damaged = fs::read(key_path(folder.path(), circuits[0])).unwrap();
        *damaged.last_mut().unwrap() ^= 1;
        fs::write(key_path(folder.path(), circuits[0]), damaged).unwrap();
        assert_eq!(open(&circuits), first, "a key that was damaged in its sections is made anew");
        let faults: Vec<_> = faults.into_iter().map(|fault| fault.map(|fault| fault.to_string())).collect();
        let path = key_path(folder.path(), circuits[0]).display().to_string();
        assert_eq!(faults, [None, Some(path.clone()), Some(path.clone()), Some(path)], "of each the file is named");
    }

    #[test]
    fn another_circuits_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let written = make(&Machines::default(), folder.path(), circuit(1), &options(), &Silent).unwrap();
        fs::rename(written, key_path(folder.path(), circuit(2))).unwrap();
        let error = KeyRing::open(folder.path(), &[circuit(2)]).unwrap_err();
        assert!(matches!(error, KeyRingError::File { source: KeyFileError::OtherCircuit { .. }, .. }), "{error:?}");
    }
}
