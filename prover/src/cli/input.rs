//! The files that users name: from disk, a pipe or standard input, told by what they hold, and never read without end.

use super::{
    failure::{Exit, Failure, Fallible, Result},
    form::{Form, START_LENGTH, elsewhere, misplaced, or_misplaced, unknown},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::error::Category;
use std::{
    fs::File,
    io::{self, BufReader, Cursor, Read, Seek},
    path::{Path, PathBuf},
};
use taproof_base::{
    artefact::{self, Artefact, ArtefactError, FileError},
    shown::shown,
};
use taproof_circuits::iden3::json::{JsonError, VerifyingKeyPoints};
use taproof_kernel::{
    foreign_key::{ForeignKey, Weakness},
    key_file::KeyFile,
    proving_key::ProvingKey,
    zkey,
};
use taproof_rollup::transaction_file::{self, TransactionFile};
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

/// What can be read in any order.
pub(crate) trait ReadSeek: Read + Seek {}

impl<T: Read + Seek> ReadSeek for T {}

/// A file, or what comes through a pipe.
pub(crate) struct Input {
    path: PathBuf,
    /// The first bytes.
    start: Zeroizing<Vec<u8>>,
    contents: Contents,
}

/// Where the contents are.
enum Contents {
    /// In a file on the disk, to which the path leads again.
    File(BufReader<File>),
    /// In a pipe or a device, of which the first bytes were read.
    Stream(Box<dyn Read>),
    /// In memory: a pipe that was read to its end.
    Memory(Cursor<Zeroizing<Vec<u8>>>),
}

/// The longest JSON that is read.
pub(crate) const JSON_LENGTH_MAX: u64 = 64 << 20;
/// The most that is read of what is no file and so has to be kept in memory.
const STREAM_LENGTH_MAX: u64 = 1 << 30;

/// Why a file that a user names is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    /// It holds more than anything that could be meant.
    #[error("it holds more than {length_max} bytes, the most that is read here")]
    TooLong {
        /// The most.
        length_max: u64,
    },
    /// Its bytes are no text.
    #[error("it is no text in UTF-8")]
    NoText,
    /// It is no JSON from some place on.
    #[error("it is no JSON: see line {line}, column {column}")]
    NoJson {
        /// The line of the place, from 1.
        line: usize,
        /// Its column, from 1.
        column: usize,
    },
    /// It is JSON that ends too early.
    #[error("it is JSON that is not whole: it ends in the middle")]
    CutJson,
    /// It is JSON of another form.
    #[error("it is JSON of another form: {0}")]
    Json(String),
    /// It cannot be read. The system's error is a cause of its own, by which the failure knows what to advise.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<serde_json::Error> for InputError {
    fn from(error: serde_json::Error) -> Self {
        match error.classify() {
            Category::Io => Self::Io(error.into()),
            Category::Syntax => Self::NoJson { line: error.line(), column: error.column() },
            Category::Eof => Self::CutJson,
            Category::Data => Self::Json(error.to_string()),
        }
    }
}

/// What errors call a file that is read: standard input by its name.
pub(crate) fn called(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

/// Fails if standard input, by whichever of its names, is to be read for more than one file.
pub(crate) fn expect_stdin_once<'a>(inputs: impl IntoIterator<Item = &'a Path>) -> Result {
    if inputs.into_iter().filter(|path| is_stdin(path)).count() > 1 {
        let failure = Failure::new(Exit::Input, "standard input holds one file, and two are to be read from it");
        return Err(failure.advise("name a file for the other"));
    }
    Ok(())
}

/// Whether a path is standard input.
pub(crate) fn is_stdin(path: &Path) -> bool {
    ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"].into_iter().any(|name| path == Path::new(name))
}

/// Reads JSON from a file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let parsed = serde_json::from_str(&read_text(path)?).map_err(InputError::from);
    parsed.or_exit_while(Exit::Input, path.display().to_string())
}

/// Reads a file that is no longer than this, be it a file, a pipe or a device.
pub(crate) fn read_file(path: &Path, length_max: u64) -> Result<Vec<u8>> {
    let read = || {
        let mut bytes = Vec::new();
        File::open(path)?.take(length_max + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > length_max { Err(InputError::TooLong { length_max }) } else { Ok(bytes) }
    };
    read().or_exit_while(Exit::Input, path.display().to_string())
}

/// Reads a text that is no longer than JSON may be.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    read_text_up_to(path, JSON_LENGTH_MAX)
}

fn read_text_up_to(path: &Path, length_max: u64) -> Result<String> {
    let text = String::from_utf8(read_file(path, length_max)?).map_err(|_| InputError::NoText);
    text.or_exit_while(Exit::Input, path.display().to_string())
}

/// Reads one of the rollup's containers. What is something else is told as that.
pub(crate) fn read_artefact<A: Artefact>(path: &Path) -> Result<A> {
    let expected = A::KIND.described();
    artefact::read(path).map_err(|error| {
        let is_foreign = matches!(&error, FileError::Artefact { source: ArtefactError::Magic, .. });
        let failure = if is_foreign { unknown(path, expected) } else { Failure::of(Exit::Input, error) };
        or_misplaced(failure, path, expected)
    })
}

/// Reads a file of transactions. What is something else is told as that.
pub(crate) fn read_transactions(path: &Path) -> Result<TransactionFile> {
    let read = read_text_up_to(path, transaction_file::TEXT_LENGTH_MAX)
        .and_then(|text| TransactionFile::from_json(&text).or_exit_while(Exit::Input, path.display().to_string()));
    read.map_err(|failure| or_misplaced(failure, path, TRANSACTIONS))
}

/// What a file of transactions is called.
const TRANSACTIONS: &str = "a file of transactions";

impl Input {
    /// Opens a file; `-` is standard input. Of what can be read but once only the first bytes are read at first.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let open = || {
            if path == Path::new("-") {
                return Self::of_stream(path, io::stdin());
            }
            let mut file = File::open(path)?;
            if !file.metadata()?.is_file() {
                return Self::of_stream(path, file);
            }
            let start = read_start(&mut file)?;
            let contents = Contents::File(BufReader::with_capacity(1 << 20, file));
            Ok(Self { path: path.to_owned(), start, contents })
        };
        open().or_exit_while(Exit::Input, called(path))
    }

    fn of_stream(path: &Path, mut stream: impl Read + 'static) -> io::Result<Self> {
        let start = read_start(&mut stream)?;
        Ok(Self { path: path.to_owned(), start, contents: Contents::Stream(Box::new(stream)) })
    }

    /// What the file holds, as its first bytes tell.
    pub(crate) fn form(&self) -> Form {
        Form::of(&self.start)
    }

    /// Fails if the file holds another known form than this, and says where it belongs. Of what can be read but once
    /// no more is read where the first bytes rule the form out; a file on the disk may be one of the rollup's, and
    /// else its decoder has more to say.
    pub(crate) fn expect(&self, expected: Form) -> Result {
        let found = self.form();
        // A proof that begins with its protocol looks like a key so far.
        let may_be = found == Form::Other || (found, expected) == (Form::VerifyingKey, Form::Proof);
        if found == expected || (may_be && expected.may_begin(&self.start)) {
            return Ok(());
        }
        match (found, &self.contents) {
            (Form::Other, Contents::File(_)) => elsewhere(&self.path, &expected.to_string()).map_or(Ok(()), Err),
            // Keys of other kinds begin as verifying keys do.
            (Form::VerifyingKey, Contents::File(_)) => {
                let failure = elsewhere(&self.path, &expected.to_string());
                Err(failure.unwrap_or_else(|| misplaced(&self.path, expected, &self.start)))
            }
            _ => Err(misplaced(&self.path, expected, &self.start)),
        }
    }

    /// All contents, from their start. What can be read but once is read now, and overwritten in memory when it is
    /// dropped.
    fn contents(&mut self, length_max: u64) -> std::result::Result<&mut dyn ReadSeek, InputError> {
        if let Contents::Stream(rest) = &mut self.contents {
            let all = read_all(self.start.as_slice().chain(rest), length_max)?;
            self.contents = Contents::Memory(Cursor::new(all));
        }
        let contents: &mut dyn ReadSeek = match &mut self.contents {
            Contents::File(file) => file,
            Contents::Memory(bytes) => bytes,
            Contents::Stream(_) => unreachable!("it was just read"),
        };
        contents.rewind()?;
        Ok(contents)
    }

    /// Decodes the contents, from their start.
    pub(crate) fn decode<T, E: Into<anyhow::Error>>(
        &mut self,
        decode: impl FnOnce(&mut dyn ReadSeek) -> std::result::Result<T, E>,
    ) -> Result<T> {
        self.decode_up_to(STREAM_LENGTH_MAX, decode)
    }

    fn decode_up_to<T, E: Into<anyhow::Error>>(
        &mut self,
        length_max: u64,
        decode: impl FnOnce(&mut dyn ReadSeek) -> std::result::Result<T, E>,
    ) -> Result<T> {
        let doing = called(&self.path);
        let contents = self.contents(length_max).or_exit_while(Exit::Input, doing.clone())?;
        decode(contents).or_exit_while(Exit::Input, doing)
    }

    /// Reads JSON of some form.
    pub(crate) fn json<T: DeserializeOwned>(mut self, expected: Form) -> Result<T> {
        self.expect(expected)?;
        let parsed = self.decode_up_to(JSON_LENGTH_MAX, |reader| {
            serde_json::from_reader(BufReader::new(reader.take(JSON_LENGTH_MAX))).map_err(InputError::from)
        });
        parsed.map_err(|failure| {
            let failure = or_misplaced(failure, &self.path, &expected.to_string());
            self.other_protocol().unwrap_or(failure)
        })
    }

    /// The failure of JSON that says itself that it belongs to another protocol.
    fn other_protocol(&mut self) -> Option<Failure> {
        #[derive(Deserialize)]
        struct Named {
            protocol: String,
        }
        // A list has no names, though what is derived would take its first entry for one.
        if !self.start.trim_ascii_start().starts_with(b"{") {
            return None;
        }
        let contents = self.contents(JSON_LENGTH_MAX).ok()?;
        let Named { protocol } = serde_json::from_reader(BufReader::new(contents.take(JSON_LENGTH_MAX))).ok()?;
        let advice = match protocol.as_str() {
            "plonk" | "fflonk" => format!("`snarkjs {protocol} verify` checks its proofs"),
            "groth16" => return None,
            _ => "taproof proves and verifies Groth16".to_owned(),
        };
        let failure = Failure::of(Exit::Input, JsonError::OtherProtocol(shown(protocol))).context(called(&self.path));
        Some(failure.advise(advice))
    }

    /// Reads a .zkey.
    pub(crate) fn zkey(mut self) -> Result<ProvingKey> {
        self.expect(Form::Zkey)?;
        self.decode(|reader| zkey::read(reader))
    }

    /// Opens a key that was made ready before.
    pub(crate) fn ready_key(self) -> Result<ForeignKey> {
        self.expect(Form::Key)?;
        self.mapped(ForeignKey::open)
    }

    /// Opens a key of either form.
    pub(crate) fn key(self) -> Result<ForeignKey> {
        match self.form() {
            Form::Key => self.mapped(ForeignKey::open),
            _ => Ok(ForeignKey::new(self.zkey()?)?),
        }
    }

    /// The verifying key of a key of either form, one of Taproof's own circuits included, and why anyone can forge
    /// proofs for it, if so.
    pub(crate) fn verifying_key(self) -> Result<(VerifyingKeyPoints, Option<Weakness>)> {
        match self.form() {
            Form::Key => {
                self.mapped(|path| KeyFile::open(path).map(|key| (key.verifying_key(), key.header().weakness())))
            }
            _ => self.zkey().map(|key| (key.verifying_key(), key.weakness())),
        }
    }

    /// Opens what is used in place, for which what came through a pipe is put into a file that is gone afterwards.
    fn mapped<T, E: Into<anyhow::Error>>(mut self, open: impl FnOnce(&Path) -> std::result::Result<T, E>) -> Result<T> {
        let doing = called(&self.path);
        if matches!(self.contents, Contents::File(_)) {
            return open(&self.path).or_exit_while(Exit::Input, doing);
        }
        let contents = self.contents(STREAM_LENGTH_MAX).or_exit_while(Exit::Input, doing.clone())?;
        let mut copy = NamedTempFile::new()?;
        io::copy(contents, &mut copy).or_exit_while(Exit::Input, doing.clone())?;
        open(copy.path()).or_exit_while(Exit::Input, doing)
    }
}

/// The first bytes, by which the rest is judged before it is read.
fn read_start(reader: &mut impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut start = Zeroizing::new(Vec::with_capacity(START_LENGTH as usize + 1));
    reader.take(START_LENGTH).read_to_end(&mut start)?;
    Ok(start)
}

/// Reads everything without leaving copies of it behind, as a vector that grows would.
fn read_all(mut reader: impl Read, length_max: u64) -> std::result::Result<Zeroizing<Vec<u8>>, InputError> {
    const PIECE_LENGTH: u64 = 1 << 20;
    let (mut pieces, mut length) = (Vec::<Zeroizing<Vec<u8>>>::new(), 0);
    loop {
        let mut piece = Zeroizing::new(Vec::with_capacity(PIECE_LENGTH as usize + 1));
        if reader.by_ref().take(PIECE_LENGTH).read_to_end(&mut piece)? == 0 {
            break;
        }
        length += piece.len();
        if length as u64 > length_max {
            return Err(InputError::TooLong { length_max });
        }
        pieces.push(piece);
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(length));
    pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_through_a_pipe_is_read_whole() {
        let bytes: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
        assert_eq!(*read_all(&bytes[..], 3_000_000).expect("memory"), bytes);
        assert!(read_all(&[][..], 0).expect("memory").is_empty());
        for endless in [read_all(&bytes[..], 2_999_999), read_all(io::repeat(0), 5 << 20)] {
            assert!(matches!(endless, Err(InputError::TooLong { .. })));
        }
    }

    /// A stream that begins like this, goes on with zeros for ever, and fails the test if more is asked for than this.
    struct Endless {
        start: Cursor<Vec<u8>>,
        left: usize,
    }

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = match self.start.read(buffer)? {
                0 => {
                    buffer.fill(0);
                    buffer.len()
                }
                read => read,
            };
            self.left = self.left.checked_sub(read).expect("no more is read than it takes to decide");
            Ok(read)
        }
    }

    #[test]
    fn the_first_bytes_of_a_stream_decide_before_the_rest_is_read() {
        let input = |start: &[u8]| {
            let stream = Endless { start: Cursor::new(start.to_vec()), left: START_LENGTH as usize };
            Input::of_stream(Path::new("-"), stream).expect("it can be read")
        };
        for (start, told) in [
            (&b"ptau\x01\0\0\0"[..], "standard input is a powers-of-tau file (.ptau), where a .zkey is wanted"),
            (b"wtns\x02\0\0\0", "standard input is a witness (.wtns), where a .zkey is wanted"),
            (b"", "standard input is of no format that taproof knows, where a .zkey is wanted"),
        ] {
            for failure in [input(start).zkey().err(), input(start).key().err(), input(start).verifying_key().err()] {
                assert_eq!(failure.expect("it is refused").message(), told);
            }
        }
        let failure = input(b"").ready_key().expect_err("it is refused");
        assert!(failure.message().contains("where a key that was made ready"), "{}", failure.message());
        let failure = input(b"").json::<serde_json::Value>(Form::Proof).expect_err("zeros are no JSON");
        assert!(failure.message().contains("where a proof (proof.json) is wanted"), "{}", failure.message());
        assert!(input(b"").expect(Form::Witness).is_err());
        let failure = Input::of_stream(Path::new("-"), &b""[..]).expect("nothing to read").zkey().err();
        assert_eq!(failure.expect("it is refused").message(), "standard input is empty, where a .zkey is wanted");
    }

    #[test]
    fn a_stream_that_begins_right_is_read_whole() {
        let bytes = [b"wtns".to_vec(), vec![7; 3_000_000]].concat();
        let mut input = Input::of_stream(Path::new("-"), Cursor::new(bytes.clone())).expect("it can be read");
        input.expect(Form::Witness).expect("it is one");
        for _ in 0..2 {
            let mut read = Vec::new();
            input.decode(|reader| reader.read_to_end(&mut read)).expect("it is in memory");
            assert_eq!(read, bytes);
        }
        let json = Input::of_stream(Path::new("-"), &b"  [\"1\"]"[..]).expect("it can be read");
        assert_eq!(json.json::<Vec<String>>(Form::Public).expect("a list"), ["1"]);
    }

    #[test]
    fn files_are_read_up_to_a_bound() {
        let mut file = NamedTempFile::new().expect("a scratch file");
        io::Write::write_all(&mut file, b"seven b").expect("there is room");
        assert_eq!(read_file(file.path(), 7).expect("as long as allowed"), b"seven b");
        let failure = read_file(file.path(), 6).expect_err("too long");
        assert!(matches!(failure.cause(), Some(InputError::TooLong { length_max: 6 })), "{}", failure.message());
        if cfg!(unix) {
            let zeros = read_file(Path::new("/dev/zero"), 1_000).expect_err("without end");
            assert_eq!(zeros.message(), "/dev/zero: it holds more than 1000 bytes, the most that is read here");
            assert!(read_text(Path::new("/dev/zero")).is_err());
        }
    }
}
