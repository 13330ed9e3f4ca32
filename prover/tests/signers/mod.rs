//! Programs of others that sign.

use std::{path::Path, process::Command};

/// Has one of them sign a file with the key at a path below a seed, in hexadecimal; writes what came out.
pub(crate) fn sign(signer: &str, seed: &str, key_path: &str, from: &Path, to: &Path) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/signers");
    let mut command = match signer {
        "embit" => {
            let mut command = Command::new("python3");
            command.env("PYTHONPATH", folder.join("python")).arg(folder.join("sign.py")).arg(seed);
            command
        }
        library => {
            let key_path = format!("m/{}", key_path.replace('h', "'"));
            let mut command = Command::new("node");
            command.arg(folder.join("sign.mjs")).args([library, seed, &key_path]);
            command
        }
    };
    let output = command.arg(from).arg(to).output().expect("the signer starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{signer}: {told}; `cargo xtask test` installs the signers");
}
