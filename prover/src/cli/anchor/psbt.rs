//! `taproof anchor psbt`: transactions for a signer elsewhere, and back.

use super::{existing_store, store_failure};
use crate::cli::{
    Global,
    data_dir::DataDir,
    failure::{Exit, Failure, Fallible, Result},
    output::{Output, Replaces, make_folder, open_outputs, write},
    path_text,
    psbt::{PsbtVersionOption, key_source, read_psbt},
    session::Session,
};
use bitcoin::{Psbt, bip32::KeySource};
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use taproof_base::{output_file::Access, shown::shown};
use taproof_bitcoin::{
    anchor::FeeRate,
    anchoring::{
        Generation,
        psbt::{self, Accepted, PsbtError},
    },
};

/// Writes a batch's transactions as PSBTs, or reads signed ones back.
#[derive(Debug, Args)]
#[command(after_help = "\
A batch of `taproof anchor run --watch-only KEY --hot-key` waits until its commit is signed. Without --hot-key, at \
least one reveal has to be signed as well: sign all of them, for each pays a higher fee, and the service replaces one \
by the next as it needs to.

Examples:
  taproof anchor psbt --batch 3 --out unsigned \\
    --origin '[deadbeef/86h/0h/0h/0/0]'
  taproof anchor psbt --batch 3 \\
    --signed signed/commit.psbt --signed signed/reveal-0.psbt
  taproof anchor psbt --batch 3 --out unsigned --sweep 5")]
pub(super) struct PsbtCommand {
    /// The batch.
    #[arg(long, value_name = "N")]
    batch: u64,
    /// Writes commit.psbt, and without a hot key reveal-0.psbt to reveal-N.psbt, into this folder.
    #[arg(long, value_name = "DIR", required_unless_present = "signed")]
    out: Option<PathBuf>,
    /// Reads a signed PSBT, of version 0 or 2, in binary, base64 or hexadecimal.
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    signed: Vec<PathBuf>,
    /// Writes sweeps of what the batch's commits lock instead, at this rate in satoshi a virtual byte.
    #[arg(long, value_name = "SAT/VB", requires = "out")]
    sweep: Option<FeeRate>,
    /// Where the signer finds the key: the master key's fingerprint and the path. Known if the service was given a
    /// descriptor.
    #[arg(long, value_parser = key_source, value_name = "FINGERPRINT/PATH")]
    origin: Option<KeySource>,
    #[command(flatten)]
    psbt: PsbtVersionOption,
}

#[derive(Serialize)]
struct Written {
    batch: u64,
    #[serde(serialize_with = "path_text::serialize")]
    files: Vec<PathBuf>,
}

impl PsbtCommand {
    pub(super) fn run(self, global: &Global) -> Result {
        let session = Session::open(global)?;
        let store = existing_store(&session)?;
        let mut jobs = store.jobs().map_err(store_failure)?.into_iter();
        let missing = || Failure::new(Exit::Input, format!("batch {} has no anchor here", self.batch));
        let mut job = jobs.find(|job| job.batch() == self.batch).ok_or_else(missing)?;
        if job.is_closed() {
            let message = format!("batch {} is done with: nothing of its anchor is to be signed", self.batch);
            return Err(Failure::new(Exit::Input, message));
        }
        let Some(out) = &self.out else {
            let mut accepted = Vec::new();
            for path in &self.signed {
                let what = psbt::accept(&mut job, &read_psbt(path)?);
                let is_key_path = matches!(what, Err(PsbtError::KeyPath(_)));
                accepted.push(
                    what.or_exit_while(Exit::Refuted, path.display().to_string())
                        .map_err(|failure| if is_key_path { failure.advise(KEY_PATH_ADVICE) } else { failure })?,
                );
            }
            store.put_signed(&job).map_err(store_failure)?;
            let accepted: Vec<String> = accepted.iter().map(describe).collect();
            let report = serde_json::json!({ "batch": self.batch, "accepted": accepted });
            return global.console().report(&report, |_| format!("taken: {}", accepted.join(", ")));
        };
        let poster = store.identity().poster();
        let origin = match self.origin {
            Some(origin) => Some(origin),
            None => store.origin().map_err(store_failure)?,
        };
        let origin = origin.as_ref();
        let nothing = || Failure::new(Exit::Input, format!("batch {} has nothing to sign", self.batch));
        let files: Vec<(String, Psbt)> = match self.sweep {
            Some(fee_rate) => {
                let is_ours = |generation: &&Generation| psbt::has_hot_leaf(generation, &poster);
                if job.generations().iter().any(|generation| is_ours(&generation)) {
                    global.console().warn("the service sweeps with its hot key by itself");
                }
                let sent = job.generations().iter().filter(|generation| generation.is_commit_sent());
                let sent = sent.filter(|generation| !is_ours(generation)).enumerate();
                sent.map(|(index, generation)| {
                    Ok((format!("sweep-{index}"), psbt::sweep(generation, &poster, fee_rate, origin)?))
                })
                .collect::<Result<_>>()?
            }
            None => {
                let generation = job.generations().last().ok_or_else(nothing)?;
                let commit = ("commit".to_owned(), psbt::commit(generation, &poster, origin));
                let reveals = match psbt::has_hot_leaf(generation, &poster) {
                    true => Vec::new(),
                    false => psbt::reveals(generation, &poster, origin),
                };
                let reveals = reveals.into_iter().enumerate();
                [commit].into_iter().chain(reveals.map(|(i, psbt)| (format!("reveal-{i}"), psbt))).collect()
            }
        };
        if files.is_empty() {
            return Err(nothing());
        }
        let files =
            files.iter().map(|(name, psbt)| (out.join(format!("{name}.psbt")), self.psbt.version.serialize(psbt)));
        let files = write_all(&session.dir, out, files.collect())?;
        global.console().report(&Written { batch: self.batch, files }, |report| {
            let files: Vec<String> = report.files.iter().map(|file| shown(file.display())).collect();
            files.join("\n")
        })
    }
}

/// What to do where a wallet knows the internal key for its own, as embit, BDK and Core's wallet do.
const KEY_PATH_ADVICE: &str = "sign with a signer of taproot leaves (docs/anchoring.md names some), or run `taproof \
                               anchor run` with \
                               --hot-key: the wallet with the coins signs the commit alone then";

/// Writes files into a folder, and gives their names.
fn write_all(dir: &DataDir, folder: &Path, files: Vec<(PathBuf, Vec<u8>)>) -> Result<Vec<PathBuf>> {
    make_folder(folder)?;
    // What a signer has put there may be all that there is of its signatures.
    if let Some((path, _)) = files.iter().find(|(path, bytes)| std::fs::read(path).is_ok_and(|found| found != *bytes)) {
        let failure = Failure::new(Exit::Input, format!("{} is there and holds something else", path.display()));
        return Err(failure.advise("name another folder"));
    }
    let paths: Vec<PathBuf> = files.iter().map(|(path, _)| path.clone()).collect();
    let (access, format, replaces) = (Access::Public, "psbt", Replaces::WhatWasRead);
    let outputs: Vec<Output<'_>> = paths.iter().map(|path| Output { path, access, format, replaces }).collect();
    for (output, (_, bytes)) in open_outputs(dir, &outputs, &[])?.into_iter().zip(&files) {
        write(output, |file| file.write_all(bytes))?;
    }
    Ok(paths)
}

fn describe(accepted: &Accepted) -> String {
    match accepted {
        Accepted::Commit => "commit".to_owned(),
        Accepted::Reveal(fee_sat) => format!("reveal at {fee_sat} sat"),
        Accepted::Sweep(fee_sat) => format!("sweep at {fee_sat} sat"),
    }
}
