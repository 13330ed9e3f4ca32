//! Files of PSBTs, and the places that keys come from, as signers write them.

use super::{
    data_dir::DataDir,
    failure::{Exit, Fallible, Result},
    input,
    output::{Output, Replaces, open_output, write},
};
use bitcoin::{
    Psbt,
    bip32::{DerivationPath, Fingerprint, KeySource},
};
use clap::{Args, ValueEnum};
use std::path::Path;
use taproof::{
    output_file::{Access, OutputFile},
    psbt_file,
};

/// The longest file that is taken for a PSBT or a transaction: 4 MB in hexadecimal, and white space.
const MAX_FILE_BYTES: u64 = 1 << 23;

/// Reads a file that is no longer than any PSBT or transaction.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>> {
    input::read_file(path, MAX_FILE_BYTES)
}

/// Reads a PSBT of version 0 or 2, in binary, base64 or hexadecimal.
pub(super) fn read_psbt(path: &Path) -> Result<Psbt> {
    psbt_file::parse(&read_file(path)?).or_exit_while(Exit::Input, path.display().to_string())
}

/// Opens the file of a PSBT that will be written. It replaces none: what a signer has put there may be all that there is of its
/// signatures.
pub(super) fn open_psbt(dir: &DataDir, path: &Path, inputs: &[&Path]) -> Result<OutputFile> {
    open_output(dir, Output { path, access: Access::Public, format: "psbt", replaces: Replaces::Nothing }, inputs)
}

/// Writes a PSBT, in binary.
pub(super) fn write_psbt(output: OutputFile, psbt: &Psbt, version: PsbtVersion) -> Result {
    write(output, |file| file.write_all(&version.serialize(psbt)))
}

/// The version of PSBTs that are written.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum PsbtVersion {
    /// BIP-174, which nearly every wallet reads.
    #[default]
    #[value(name = "0")]
    Zero,
    /// BIP-370, which some hardware signers want.
    #[value(name = "2")]
    Two,
}

impl PsbtVersion {
    pub(super) fn serialize(self, psbt: &Psbt) -> Vec<u8> {
        match self {
            Self::Zero => psbt.serialize(),
            Self::Two => psbt_file::to_version_2(psbt),
        }
    }
}

/// The option that chooses the version.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct PsbtVersionOption {
    /// The version of the PSBTs that are written. Both are read, wherever a PSBT is read.
    #[arg(id = "psbt_version", long = "psbt-version", default_value = "0", value_name = "VERSION")]
    pub(super) version: PsbtVersion,
}

/// Parses where a key comes from, FINGERPRINT/PATH, also in the brackets that descriptors have around it.
pub(super) fn key_source(text: &str) -> std::result::Result<KeySource, String> {
    const FORM: &str = "an origin is FINGERPRINT/PATH, as in [deadbeef/86h/0h/0h/0/0]";
    let bare = match text.strip_prefix('[') {
        Some(opened) => opened.strip_suffix(']').ok_or(FORM)?,
        None => text,
    };
    let (fingerprint, path) = bare.split_once('/').ok_or(FORM)?;
    let fingerprint: Fingerprint = fingerprint.parse().map_err(|_| "a fingerprint is 8 hexadecimal digits")?;
    let path: DerivationPath = path.parse().map_err(|error| format!("no path of keys: {error}"))?;
    Ok((fingerprint, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_with_brackets_and_without() {
        let expected = (Fingerprint::from([0xde, 0xad, 0xbe, 0xef]), "86'/0'/0'/0/0".parse().expect("a path"));
        for text in ["deadbeef/86h/0h/0h/0/0", "[deadbeef/86h/0h/0h/0/0]", "[deadbeef/86'/0'/0'/0/0]"] {
            assert_eq!(key_source(text), Ok(expected.clone()), "{text}");
        }
        for text in ["[deadbeef/0", "deadbeef/0]", "[deadbeef]", "deadbee/0", "deadbeef/x", "", "[]"] {
            assert!(key_source(text).is_err(), "{text}");
        }
    }
}
