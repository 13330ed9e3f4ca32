//! Folders and files that are nobody's but their owner's.
//!
//! Whoever can open a file can lock it, without any right to change it, and so stop all who need the lock. So a data
//! directory is closed to others when it is made, and a file that is there to be locked also where the directory is
//! open.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

/// Makes a folder, and those above it that are not there, for their owner alone. A folder that exists stays as it is.
///
/// # Errors
/// Those of the file system.
pub fn create_folder(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() {
        return Ok(());
    }
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(path)
}

/// Opens a file that processes lock, made if it is not there. Others than its owner can open it no more.
///
/// # Errors
/// Those of the file system.
pub fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    close_to_others(&file)?;
    Ok(file)
}

/// Takes all rights to a file from others than its owner, if it is ours.
#[cfg(unix)]
fn close_to_others(file: &File) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let found = file.metadata()?;
    if found.mode() & 0o077 != 0 && found.uid() == rustix::process::geteuid().as_raw() {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn close_to_others(_: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it is there").permissions().mode() & 0o777
    }

    #[test]
    fn folders_and_locks_are_their_owners_alone() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let (outer, inner) = (folder.path().join("outer"), folder.path().join("outer/inner"));
        create_folder(&inner).expect("the folder is ours");
        assert_eq!((mode(&outer), mode(&inner)), (0o700, 0o700));
        fs::set_permissions(&outer, fs::Permissions::from_mode(0o755)).expect("ours");
        create_folder(&outer).expect("it is there");
        assert_eq!(mode(&outer), 0o755, "what exists stays");
        create_folder(Path::new("")).expect("the folder that we are in");
        let lock = inner.join("lock");
        drop(open_lock(&lock).expect("ours"));
        assert_eq!(mode(&lock), 0o600);
        // One of before, which everybody can open.
        fs::set_permissions(&lock, fs::Permissions::from_mode(0o644)).expect("ours");
        let held = open_lock(&lock).expect("ours");
        assert_eq!(mode(&lock), 0o600);
        held.try_lock().expect("nobody has it");
        assert!(open_lock(&lock).expect("ours").try_lock().is_err());
    }
}
