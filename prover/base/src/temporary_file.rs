//! Files under temporary names, and what runs that were killed have left of them.
//!
//! A file that is to appear whole is written under a name that begins with `.taproof-tmp-`, beside the place where it
//! is to be. A process that is killed leaves it there. The next one that writes into the folder removes it: the
//! file's lock has gone with the process that held it.

use crate::io_fault::{is_denied, is_full};
use std::{
    collections::BTreeSet,
    fs::{self, DirEntry, File},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime},
};
use tempfile::{Builder, NamedTempFile};

const PREFIX: &str = ".taproof-tmp-";
/// How old an empty file must be to be taken for one that was left: a new one may not be locked yet. What holds
/// anything was locked before.
const AGE_MIN: Duration = Duration::from_secs(60);

/// The folders that this process has looked through.
static SWEPT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Makes a file in a folder with what `builder` says, under a temporary name, for its maker to lock before it is
/// written. What others have left in the folder is removed before the first of this process.
pub fn temporary_in(folder: &Path, builder: &mut Builder<'_, '_>) -> io::Result<NamedTempFile> {
    let is_new = SWEPT.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.to_owned());
    if is_new {
        sweep(folder, SystemTime::now());
    }
    // The error would name a file that nobody knows.
    let made = builder.prefix(PREFIX).tempfile_in(folder);
    made.map_err(|error| if is_denied(&error) || is_full(&error) { error.kind().into() } else { error })
}

/// Locks a file that may be written for long, until it is closed. Where files cannot be locked, age alone protects
/// them.
pub fn hold(file: &NamedTempFile) {
    let _ = file.as_file().try_lock();
}

/// Removes what killed processes have left. Whatever cannot be read or removed stays: it harms nobody.
fn sweep(folder: &Path, now: SystemTime) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(is_temporary) {
        if is_left(&entry, now).unwrap_or(false) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn is_temporary(entry: &DirEntry) -> bool {
    entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX))
}

/// Whether a file is old, or its maker has had it locked, and no process has it locked now.
fn is_left(entry: &DirEntry, now: SystemTime) -> io::Result<bool> {
    let metadata = entry.metadata()?;
    let is_old = now.duration_since(metadata.modified()?).is_ok_and(|age| age >= AGE_MIN);
    let was_locked = metadata.len() > 0;
    Ok(metadata.is_file() && (is_old || was_locked) && File::open(entry.path())?.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let in_use = temporary_in(folder.path(), &mut Builder::new()).expect("our folder");
        hold(&in_use);
        let temporary = || temporary_in(folder.path(), &mut Builder::new()).expect("our folder");
        let (_, left) = temporary().keep().expect("ours");
        let half_written = temporary();
        hold(&half_written);
        let (file, half_written) = half_written.keep().expect("ours");
        fs::write(&half_written, "half a key").expect("ours");
        for other in ["taproof-tmp-1", ".taproof-notes", ".tmpAbCdEf"] {
            fs::write(folder.path().join(other), "somebody else's").expect("our folder");
        }
        let exists = |path: &Path| path.exists();
        let now = SystemTime::now();
        sweep(folder.path(), now);
        assert!(exists(&half_written), "its maker writes it");
        drop(file);
        sweep(folder.path(), now);
        assert!(!exists(&half_written), "its maker was killed a moment ago");
        assert!(exists(&left), "it is new, and may be locked in a moment");
        sweep(folder.path(), now + AGE_MIN);
        assert!(!exists(&left) && exists(in_use.path()), "what is written stays, however old");
        assert_eq!(fs::read_dir(folder.path()).expect("our folder").count(), 4);
        drop(in_use);
        assert_eq!(fs::read_dir(folder.path()).expect("our folder").count(), 3);
        sweep(&folder.path().join("nowhere"), now);
    }
}
