//! Where files are and streams lead, by which they are told apart whatever they are called.

use super::{folder_of, target::Target};
use std::{
    ffi::OsString,
    fs::{self, Metadata},
    io,
    path::Path,
};

/// Tells files apart, whatever they are called.
#[cfg(unix)]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

#[cfg(unix)]
impl Identity {
    pub(super) fn of(_: &Path, metadata: &Metadata) -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        Ok(Self { device: metadata.dev(), inode: metadata.ino() })
    }

    pub(super) fn of_open(metadata: &Metadata) -> Option<Self> {
        Self::of(Path::new(""), metadata).ok()
    }
}

/// Tells files apart by their names with all links followed, where there are no numbers to tell them by.
#[cfg(not(unix))]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity(PathBuf);

#[cfg(not(unix))]
impl Identity {
    pub(super) fn of(path: &Path, _: &Metadata) -> io::Result<Self> {
        Ok(Self(fs::canonicalize(path)?))
    }

    pub(super) fn of_open(_: &Metadata) -> Option<Self> {
        None
    }
}

/// Where a file is, or will be, or where a stream leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    Found(Identity),
    Absent {
        folder: Identity,
        name: OsString,
    },
    /// A stream that is no file and no pipe.
    Standard(Standard),
}

/// A stream that every process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Standard {
    Output,
    Error,
}

impl Standard {
    /// The file, pipe or device that the stream leads to, where it can be told.
    #[cfg(unix)]
    pub(super) fn metadata(self) -> Option<Metadata> {
        use std::{fs::File, os::fd::AsFd};
        let (output, error) = (io::stdout(), io::stderr());
        let stream = match self {
            Self::Output => output.as_fd(),
            Self::Error => error.as_fd(),
        };
        File::from(stream.try_clone_to_owned().ok()?).metadata().ok()
    }

    #[cfg(not(unix))]
    pub(super) fn metadata(self) -> Option<Metadata> {
        None
    }

    pub(super) fn place(self) -> Place {
        self.metadata().as_ref().and_then(Place::of_one_reader).unwrap_or(Place::Standard(self))
    }
}

impl Place {
    /// An open file or pipe, whose reader takes what comes for the contents of one file. Whoever reads a device or a
    /// socket knows better.
    #[cfg(unix)]
    pub(super) fn of_one_reader(metadata: &Metadata) -> Option<Self> {
        use std::os::unix::fs::FileTypeExt;
        let is_one = metadata.is_file() || metadata.file_type().is_fifo();
        is_one.then(|| Identity::of_open(metadata).map(Self::Found)).flatten()
    }

    #[cfg(not(unix))]
    pub(super) fn of_one_reader(_: &Metadata) -> Option<Self> {
        None
    }

    /// Where a path leads to; `None` where that is no file on a disk.
    pub(super) fn of(path: &Path) -> io::Result<Option<Self>> {
        Ok(match Target::of(path)? {
            Target::Opened => None,
            Target::Absent(target) => Some(Self::absent(&target)?),
            Target::Found(target, metadata) => Some(Self::Found(Identity::of(&target, &metadata)?)),
        })
    }

    pub(super) fn absent(target: &Path) -> io::Result<Self> {
        let folder = folder_of(target);
        let name = target.file_name().unwrap_or_default().to_owned();
        Ok(Self::Absent { folder: Identity::of(folder, &fs::metadata(folder)?)?, name })
    }
}
