//! The chain as a file, so that one process can mine what another follows.
//!
//! The format is that of a node's block files: for each block, the genesis block first, the network's magic (4 bytes,
//! `fa bf b5 da`), the length of the block (u32, little-endian) and the block in consensus encoding. Nothing follows
//! the last block.

use super::{BlockError, RegtestChain};
use bitcoin::{Block, Network, Weight, consensus::encode};
use std::{
    ffi::OsString,
    fs::{File, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};
use taproof_base::{
    io_fault::is_denied,
    output_file::{Access, write_file},
    private,
};

/// The largest file that is read: one of a gigabyte is no test chain.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// Magic and length.
const RECORD_HEADER_BYTES: usize = 8;

/// Why a chain was not read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainFileError {
    /// The operating system refused; the file is as it was.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Another process holds the chain.
    #[error("{} is held by another process", .0.display())]
    Locked(PathBuf),
    /// The file is longer than any test chain.
    #[error("the file has {0} bytes, above the limit of {MAX_FILE_BYTES}")]
    Size(u64),
    /// A record does not start with regtest's magic.
    #[error("no regtest block starts at byte {offset}")]
    Magic {
        /// Where the record starts.
        offset: usize,
    },
    /// A record names a length that no block has.
    #[error("the block at byte {offset} claims {length} bytes")]
    Length {
        /// Where the record starts.
        offset: usize,
        /// The length that it names.
        length: u32,
    },
    /// The file ends inside a record.
    #[error("the file ends inside the block at byte {offset}")]
    Truncated {
        /// Where the record starts.
        offset: usize,
    },
    /// The bytes of a record are no block.
    #[error("the bytes at {offset} are no block")]
    Decode {
        /// Where the record starts.
        offset: usize,
        /// What the decoder found.
        source: encode::Error,
    },
    /// The first block is not regtest's genesis block.
    #[error("the file does not start with the genesis block of regtest")]
    Genesis,
    /// A block breaks a rule of the chain.
    #[error("the block at height {height} is invalid")]
    Block {
        /// Its height.
        height: u32,
        /// The rule.
        source: BlockError,
    },
}

/// The one writer of a chain's file; the lock lasts as long as the value.
#[derive(Debug)]
pub struct ChainFile {
    path: PathBuf,
    /// None, with the reason, for a chain that this process may only read.
    lock: Result<File, io::ErrorKind>,
}

impl ChainFile {
    /// Takes the lock on a chain's file and reads it; a file that does not exist is the chain of genesis alone. Where
    /// this process may not write, there is nothing to lock, and the chain is read all the same.
    ///
    /// # Errors
    /// [`ChainFileError::Locked`] while another process writes, and as [`ChainFile::read`].
    pub fn open(path: &Path) -> Result<(Self, RegtestChain), ChainFileError> {
        let lock_path = sibling(path, ".lock");
        let io_error = |source| ChainFileError::Io { action: "lock", path: lock_path.clone(), source };
        let lock = match private::open_lock(&lock_path) {
            Err(error) if is_denied(&error) && path.exists() => Err(error.kind()),
            lock => Ok(lock.map_err(io_error)?),
        };
        if let Ok(lock) = &lock {
            lock.try_lock().map_err(|error| match error {
                TryLockError::WouldBlock => ChainFileError::Locked(path.to_owned()),
                TryLockError::Error(source) => io_error(source),
            })?;
        }
        let chain = if path.exists() { Self::read(path)? } else { RegtestChain::new() };
        Ok((Self { path: path.to_owned(), lock }, chain))
    }

    /// Reads a chain, checking every block anew. A reader needs no lock: the file is replaced whole.
    ///
    /// # Errors
    /// [`ChainFileError`] for a file that is missing, damaged or breaks a rule of the chain.
    pub fn read(path: &Path) -> Result<RegtestChain, ChainFileError> {
        let io_error = |source| ChainFileError::Io { action: "read", path: path.to_owned(), source };
        let file = File::open(path).map_err(io_error)?;
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(io_error)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(ChainFileError::Size(bytes.len() as u64));
        }
        decode(&bytes)
    }

    /// Replaces the file by this chain: a reader, or a restart after a crash, sees the old chain or the new one.
    ///
    /// # Errors
    /// [`ChainFileError::Io`]; the file is as it was.
    pub fn save(&self, chain: &RegtestChain) -> Result<(), ChainFileError> {
        let locked = self.lock.as_ref().map(drop).map_err(|why| io::Error::from(*why));
        let written = locked.and_then(|()| write_file(&self.path, Access::Public, |file| write_blocks(file, chain)));
        written.map_err(|source| ChainFileError::Io { action: "write", path: self.path.clone(), source })
    }
}

fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

fn write_blocks(file: &mut dyn Write, chain: &RegtestChain) -> io::Result<()> {
    for block in chain.blocks() {
        let bytes = encode::serialize(block);
        let length = u32::try_from(bytes.len()).expect("a block is at most four million bytes");
        file.write_all(&Network::Regtest.magic().to_bytes())?;
        file.write_all(&length.to_le_bytes())?;
        file.write_all(&bytes)?;
    }
    Ok(())
}

pub(super) fn decode(bytes: &[u8]) -> Result<RegtestChain, ChainFileError> {
    let mut chain = RegtestChain::new();
    let mut rest = bytes;
    let mut is_first = true;
    while is_first || !rest.is_empty() {
        let offset = bytes.len() - rest.len();
        let (block, after) = decode_record(rest, offset)?;
        rest = after;
        if is_first {
            is_first = false;
            if block != *chain.tip() {
                return Err(ChainFileError::Genesis);
            }
            continue;
        }
        let height = chain.height() + 1;
        chain.connect(block).map_err(|source| ChainFileError::Block { height, source })?;
    }
    Ok(chain)
}

fn decode_record(bytes: &[u8], offset: usize) -> Result<(Block, &[u8]), ChainFileError> {
    let (header, rest) =
        bytes.split_first_chunk::<RECORD_HEADER_BYTES>().ok_or(ChainFileError::Truncated { offset })?;
    let (magic, length) = header.split_at(4);
    if magic != Network::Regtest.magic().to_bytes() {
        return Err(ChainFileError::Magic { offset });
    }
    let length = u32::from_le_bytes(length.try_into().expect("four bytes of eight"));
    if u64::from(length) > Weight::MAX_BLOCK.to_wu() {
        return Err(ChainFileError::Length { offset, length });
    }
    let (block, rest) = rest.split_at_checked(length as usize).ok_or(ChainFileError::Truncated { offset })?;
    let block = encode::deserialize(block).map_err(|source| ChainFileError::Decode { offset, source })?;
    Ok((block, rest))
}
