//! Files of the prover: containers whose checksum is made to hold, raw blocks for a workload, keys, chains.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::{fs, path::PathBuf, sync::LazyLock};
use taproof_base::artefact::{self, Artefact};
use taproof_bitcoin::{
    bridge::watch::BridgeState, light::CheckpointFile, proven_batch::ProvenBatch, regtest::ChainFile,
};
use taproof_kernel::{kept_proofs::KeptProof, key_file::Key};
use taproof_rollup::{batch::BatchFile, state_proof::StateProof, workload::BlockPayments};

/// A file that the readers of paths are given.
static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("taproof-fuzz-{}", std::process::id())));

fuzz_target!(|input: &[u8]| {
    container::<BatchFile>(input);
    container::<ProvenBatch>(input);
    container::<StateProof>(input);
    container::<BridgeState>(input);
    container::<CheckpointFile>(input);
    container::<KeptProof>(input);
    let _ = artefact::Header::decode(input);
    let _ = BlockPayments::from_block(input, 100);
    fs::write(&*FILE, input).expect("the folder for temporary files can be written");
    let _ = Key::open_any(&FILE);
    let _ = ChainFile::read(&FILE);
});

/// Takes the input as the body of a container, whose one form it must be if it decodes.
fn container<A: Artefact>(body: &[u8]) {
    let _ = artefact::decode::<A>(body);
    let bytes = artefact::seal(A::KIND, A::VERSION, body);
    if let Ok(decoded) = artefact::decode::<A>(&bytes) {
        assert_eq!(artefact::encode(&decoded), Ok(bytes));
    }
}
