//! Files of PSBTs, and the places that keys come from, as signers write them.

use super::{
    Global,
    data_dir::DataDir,
    failure::{Exit, Failure, Fallible, Result},
    form::or_misplaced,
    input,
    output::{Output, Replaces, open_output, write},
    path_text,
    session::Session,
    upgrade,
};
use bitcoin::{
    Psbt, Transaction,
    bip32::{DerivationPath, Fingerprint, KeySource},
    consensus::encode,
};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use taproof_base::{
    output_file::{Access, OutputFile},
    shown::shown,
};
use taproof_bitcoin::{
    bridge::{link::Binding, sign::CombineError},
    psbt_file,
};
use taproof_verifier::follow::Params;

/// The longest file that is taken for a PSBT or a transaction: 4 MB in hexadecimal, and white space.
const MAX_FILE_BYTES: u64 = 1 << 23;

/// The signatures that are joined to a transaction.
#[derive(Debug, Args)]
pub(super) struct CombineOptions {
    /// The signed PSBTs.
    #[arg(required = true)]
    psbts: Vec<PathBuf>,
    /// The file of the transaction, in hexadecimal.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl CombineOptions {
    /// Joins them as `combine` does it for a rollup. `command` has the commands that sign and send, such as `bridge`.
    pub(super) fn run(
        &self,
        global: &Global,
        command: &str,
        combine: impl FnOnce(&Session, Vec<Psbt>) -> Result<Transaction>,
    ) -> Result {
        let (format, replaces) = ("bitcoin transaction", Replaces::Nothing);
        let out = Output { path: &self.out, access: Access::Public, format, replaces };
        let inputs: Vec<&Path> = self.psbts.iter().map(PathBuf::as_path).collect();
        let out = open_output(&global.data_dir(), out, &inputs)?;
        let console = global.console().beside([&out])?;
        let session = Session::open(global)?;
        let psbts = self.psbts.iter().map(|path| read_psbt(path)).collect::<Result<Vec<_>>>()?;
        let transaction = combine(&session, psbts)?;
        let hex = encode::serialize_hex(&transaction);
        write(out, |file| writeln!(file, "{hex}"))?;
        let txid = transaction.compute_txid();
        let report = serde_json::json!({ "txid": txid, "file": path_text::text(&self.out) });
        console
            .report(&report, |_| format!("{txid} in {0}; now: taproof {command} send {0}", shown(self.out.display())))
    }
}

/// Says what to do about signatures that cannot be joined. `command` has the commands that sign, such as `bridge`.
pub(super) fn combine_failure(error: CombineError, command: &str) -> Failure {
    let advice = match error {
        CombineError::TooFew { .. } => Some(format!("let another signer run `taproof {command} sign`")),
        CombineError::Signature { .. } | CombineError::Contradiction { .. } => {
            Some("leave that PSBT out, or ask whoever gave it; positions are counted from 0".to_owned())
        }
        CombineError::Different(_) => {
            Some("join PSBTs of one transaction alone; `taproof inspect` says of which each is".to_owned())
        }
        _ => None,
    };
    let failure = Failure::of(Exit::Refuted, error);
    advice.into_iter().fold(failure, Failure::advise)
}

/// What a PSBT is to its signers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PsbtKind {
    /// An announcement of the upgrade keys.
    Announcement,
    /// A payout of the bridge.
    Payout,
}

impl PsbtKind {
    /// What a PSBT is to the signers of a rollup, by its marks; `None` for any other.
    pub(super) fn of(psbt: &Psbt, params: &Params) -> Option<Self> {
        let transaction = &psbt.unsigned_tx;
        if upgrade::is_announcement(params, transaction) {
            return Some(Self::Announcement);
        }
        Binding::of(transaction, params.chain_id()).map(|_| Self::Payout)
    }

    /// The command that has those which check, sign, combine and send it.
    pub(super) fn command(self) -> &'static str {
        match self {
            Self::Announcement => "upgrade",
            Self::Payout => "bridge",
        }
    }
}

/// Reads a file that is no longer than any PSBT or transaction.
pub(super) fn read_file(path: &Path) -> Result<Vec<u8>> {
    input::read_file(path, MAX_FILE_BYTES)
}

/// Reads a PSBT of version 0 or 2, in binary, base64 or hexadecimal.
pub(super) fn read_psbt(path: &Path) -> Result<Psbt> {
    let parsed = read_file(path)
        .and_then(|bytes| psbt_file::parse(&bytes).or_exit_while(Exit::Input, path.display().to_string()));
    parsed.map_err(|failure| or_misplaced(failure, path, "a PSBT"))
}

/// Reads a transaction: in hexadecimal, as bytes, or what a PSBT would make, signed or not.
pub(super) fn read_transaction(path: &Path) -> Result<Transaction> {
    let bytes = read_file(path).map_err(|failure| failure.advise("name a transaction by its 64 digits, or a file"))?;
    let found = transaction_of(&bytes).or_else(|| psbt_file::parse(&bytes).ok().map(|psbt| psbt.unsigned_tx));
    found.ok_or_else(|| no_transaction(path))
}

/// The transaction that bytes are, in hexadecimal or as they are.
pub(super) fn transaction_of(bytes: &[u8]) -> Option<Transaction> {
    let text = str::from_utf8(bytes).ok().map(str::trim);
    text.and_then(|text| encode::deserialize_hex(text).ok()).or_else(|| encode::deserialize(bytes).ok())
}

/// The failure of a file that is neither a transaction nor a PSBT.
pub(super) fn no_transaction(path: &Path) -> Failure {
    let failure = Failure::new(Exit::Input, format!("{} is neither a transaction nor a PSBT", path.display()));
    or_misplaced(failure, path, "a Bitcoin transaction")
}

/// Opens the file of a PSBT that will be written. It replaces none: what a signer has put there may be all that there
/// is of its signatures.
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
    let path: DerivationPath = path.parse().map_err(|_| FORM)?;
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
