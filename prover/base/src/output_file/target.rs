//! What a path leads to, where no stranger has set the way.
//!
//! In a folder where everybody may make files and each may only remove his own, as `/tmp`, another user can lay a
//! symbolic link, a pipe or a file in our way, under a name that we are about to write. Linux keeps programs from
//! following and opening them, where its settings `fs.protected_symlinks`, `fs.protected_fifos` and
//! `fs.protected_regular` are on and the program lets the kernel follow links. As links are followed here, the rule is
//! kept here as well, whatever the settings say, and for each part of the path.

use super::folder_of;
use std::{
    ffi::OsString,
    fs::{self, Metadata},
    io,
    path::{Component, Path, PathBuf},
};

/// What a path leads to.
pub(super) enum Target {
    /// A descriptor of a process: its link names a file, and is more than that name.
    Opened,
    /// Nothing yet.
    Absent(PathBuf),
    /// Something.
    Found(PathBuf, Metadata),
}

/// Why a way is not gone.
#[derive(Debug, thiserror::Error)]
enum Untrusted {
    #[error("the symbolic link {} is another user's, in a folder where everybody may make files: it is not \
             followed", .0.display())]
    Link(PathBuf),
    #[error("{} is another user's, in a folder where everybody may make files: it is not written", .0.display())]
    File(PathBuf),
}

impl Target {
    /// Follows the links in all parts of a path until there is none. The path that is found has none.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        /// As many as Linux follows.
        const LINKS_MAX: usize = 40;
        let (mut target, mut ahead, mut links) = (PathBuf::new(), parts(path), 0);
        while let Some(part) = ahead.pop() {
            target.push(&part);
            let metadata = match fs::symlink_metadata(&target) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && ahead.is_empty() => {
                    return Ok(Self::Absent(target));
                }
                found => found?,
            };
            if !metadata.is_symlink() {
                if ahead.is_empty() {
                    expect_trusted(&target, &metadata, Untrusted::File)?;
                    return Ok(Self::Found(target, metadata));
                }
                continue;
            }
            links += 1;
            if links > LINKS_MAX {
                return Err(io::Error::other("too many symbolic links lead from one to another"));
            }
            if ahead.is_empty() && cfg!(unix) && fs::canonicalize(folder_of(&target))?.starts_with("/proc") {
                return Ok(Self::Opened);
            }
            expect_trusted(&target, &metadata, Untrusted::Link)?;
            let next = fs::read_link(&target)?;
            target.pop();
            ahead.extend(parts(&next));
        }
        // Links to nothing but the folder that they are in end here.
        let folder = if target.as_os_str().is_empty() { PathBuf::from(".") } else { target };
        let metadata = fs::symlink_metadata(&folder)?;
        Ok(Self::Found(folder, metadata))
    }
}

/// The parts of a path, the last first.
fn parts(path: &Path) -> Vec<OsString> {
    let parts = path.components().filter(|part| *part != Component::CurDir);
    let mut parts: Vec<OsString> = parts.map(|part| part.as_os_str().to_owned()).collect();
    parts.reverse();
    parts
}

/// Fails if somebody else could have put this in our way.
#[cfg(unix)]
fn expect_trusted(path: &Path, found: &Metadata, error: fn(PathBuf) -> Untrusted) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let folder = fs::metadata(folder_of(path))?;
    let us = rustix::process::geteuid().as_raw();
    if found.is_dir() || is_trusted((folder.mode(), folder.uid()), found.uid(), us) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, error(path.to_owned())))
}

#[cfg(not(unix))]
fn expect_trusted(_: &Path, _: &Metadata, _: fn(PathBuf) -> Untrusted) -> io::Result<()> {
    Ok(())
}

/// Whether what a user has made in a folder of this mode and owner is to be trusted by us.
#[cfg(unix)]
pub(super) fn is_trusted((folder_mode, folder_owner): (u32, u32), owner: u32, us: u32) -> bool {
    const STICKY_AND_WORLD_WRITABLE: u32 = 0o1002;
    const ROOT: u32 = 0;
    folder_mode & STICKY_AND_WORLD_WRITABLE != STICKY_AND_WORLD_WRITABLE || [us, ROOT, folder_owner].contains(&owner)
}
