//! The files that users name: from disk, a pipe or standard input, told by what they hold, and never read without end.

use super::failure::{Exit, Failure, Fallible, Result};
use serde::de::DeserializeOwned;
use std::{
    fmt,
    fs::File,
    io::{self, BufReader, Cursor, Read, Seek},
    path::{Path, PathBuf},
};
use taproof::{artefact, foreign_key::ForeignKey, key_file::KeyFile, proving_key::ProvingKey, zkey};
use taproof_circuits::iden3::json::VerifyingKeyPoints;
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

/// What can be read in any order.
pub(crate) trait ReadSeek: Read + Seek {}

impl<T: Read + Seek> ReadSeek for T {}

/// A file, or what came through a pipe.
pub(crate) struct Input {
    path: PathBuf,
    contents: Box<dyn ReadSeek>,
    /// Whether `path` leads to the contents again.
    is_file: bool,
}

/// The longest JSON that is read.
pub(crate) const JSON_LENGTH_MAX: u64 = 64 << 20;
/// The most that is read of what is no file and so has to be kept in memory.
const PIPE_LENGTH_MAX: u64 = 1 << 30;

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
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
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
    let text = String::from_utf8(read_file(path, JSON_LENGTH_MAX)?).map_err(|_| InputError::NoText);
    text.or_exit_while(Exit::Input, path.display().to_string())
}

impl Input {
    /// Opens a file; `-` is standard input. What cannot be read in any order is read at once, up to a gigabyte, and
    /// overwritten in memory when it is dropped.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let doing = path.display().to_string();
        let path = path.to_owned();
        if path == Path::new("-") {
            let contents =
                Box::new(Cursor::new(read_all(io::stdin().lock(), PIPE_LENGTH_MAX).or_exit_while(Exit::Input, doing)?));
            return Ok(Self { path, contents, is_file: false });
        }
        let file = File::open(&path).or_exit_while(Exit::Input, doing.clone())?;
        let metadata = file.metadata().or_exit_while(Exit::Input, doing.clone())?;
        if metadata.is_file() {
            return Ok(Self { path, contents: Box::new(BufReader::with_capacity(1 << 20, file)), is_file: true });
        }
        let contents = Box::new(Cursor::new(read_all(file, PIPE_LENGTH_MAX).or_exit_while(Exit::Input, doing)?));
        Ok(Self { path, contents, is_file: false })
    }

    /// What the file holds.
    pub(crate) fn form(&mut self) -> Result<Form> {
        let mut start = Vec::new();
        let read = self.contents.by_ref().take(START_LENGTH).read_to_end(&mut start);
        read.and_then(|_| self.contents.rewind()).or_exit_while(Exit::Input, self.path.display().to_string())?;
        Ok(Form::of(&start))
    }

    /// Fails if the file holds another known form than this, and says where it belongs.
    pub(crate) fn expect(&mut self, expected: Form) -> Result {
        let found = self.form()?;
        if found == expected || found == Form::Other {
            return Ok(());
        }
        Err(misplaced(&self.path, expected, found))
    }

    /// Decodes the contents, from their start.
    pub(crate) fn decode<T, E: Into<anyhow::Error>>(
        &mut self,
        decode: impl FnOnce(&mut dyn ReadSeek) -> std::result::Result<T, E>,
    ) -> Result<T> {
        let doing = self.path.display().to_string();
        self.contents.rewind().or_exit_while(Exit::Input, doing.clone())?;
        decode(&mut *self.contents).or_exit_while(Exit::Input, doing)
    }

    /// Reads JSON of some form.
    pub(crate) fn json<T: DeserializeOwned>(mut self, expected: Form) -> Result<T> {
        self.expect(expected)?;
        self.decode(|reader| serde_json::from_reader(BufReader::new(reader.take(JSON_LENGTH_MAX))))
    }

    /// Reads a .zkey.
    pub(crate) fn zkey(mut self) -> Result<ProvingKey> {
        self.expect(Form::Zkey)?;
        self.decode(|reader| zkey::read(reader))
    }

    /// Opens a key that was made ready before.
    pub(crate) fn ready_key(mut self) -> Result<ForeignKey> {
        self.expect(Form::Key)?;
        self.mapped(ForeignKey::open)
    }

    /// Opens a key of either form.
    pub(crate) fn key(mut self) -> Result<ForeignKey> {
        match self.form()? {
            Form::Key => self.mapped(ForeignKey::open),
            _ => Ok(ForeignKey::new(self.zkey()?)?),
        }
    }

    /// The verifying key of a key of either form, one of Taproof's own circuits included.
    pub(crate) fn verifying_key(mut self) -> Result<VerifyingKeyPoints> {
        match self.form()? {
            Form::Key => self.mapped(|path| KeyFile::open(path).map(|key| key.verifying_key())),
            _ => Ok(self.zkey()?.verifying_key()),
        }
    }

    /// Opens what is used in place, for which what came through a pipe is put into a file that is gone afterwards.
    fn mapped<T, E: Into<anyhow::Error>>(mut self, open: impl FnOnce(&Path) -> std::result::Result<T, E>) -> Result<T> {
        let doing = self.path.display().to_string();
        if self.is_file {
            return open(&self.path).or_exit_while(Exit::Input, doing);
        }
        let mut copy = NamedTempFile::new()?;
        io::copy(&mut self.contents, &mut copy).or_exit_while(Exit::Input, doing.clone())?;
        open(copy.path()).or_exit_while(Exit::Input, doing)
    }
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

/// What a file holds, as its first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Zkey,
    Key,
    Witness,
    Circuit,
    PowersOfTau,
    Program,
    Artefact,
    Proof,
    VerifyingKey,
    Public,
    Other,
}

/// Enough for the first key of an object of JSON.
const START_LENGTH: u64 = 64;

impl Form {
    fn of(start: &[u8]) -> Self {
        let magics: [(&[u8], Self); 7] = [
            (b"zkey", Self::Zkey),
            (b"taproofk", Self::Key),
            (b"wtns", Self::Witness),
            (b"r1cs", Self::Circuit),
            (b"ptau", Self::PowersOfTau),
            (b"\0asm", Self::Program),
            (&artefact::MAGIC, Self::Artefact),
        ];
        if let Some((_, form)) = magics.into_iter().find(|(magic, _)| start.starts_with(magic)) {
            return form;
        }
        // Whatever tool wrote it, these keys come first; white space is the writer's own.
        let text: Vec<u8> = start.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        if text.starts_with(b"{\"pi_a\"") || text.starts_with(b"{\"A\"") {
            Self::Proof
        } else if text.starts_with(b"{\"protocol\"") {
            Self::VerifyingKey
        } else if text.starts_with(b"[\"") || text.starts_with(b"[]") {
            Self::Public
        } else {
            Self::Other
        }
    }

    /// Where a file of this form belongs.
    fn place(self, path: &Path) -> Option<String> {
        let path = path.display();
        Some(match self {
            Self::Zkey => {
                format!("a .zkey goes with `--zkey {path}`, and `taproof import-zkey {path}` makes it ready for --key")
            }
            Self::Key => format!("a key that was made ready goes with `--key {path}`"),
            Self::Witness => format!("a witness goes with `--witness {path}`"),
            Self::Circuit => format!("a circuit goes with `--r1cs {path}`"),
            Self::PowersOfTau => {
                "a key is made from it and a circuit by `snarkjs groth16 setup` and `snarkjs zkey contribute`"
                    .to_owned()
            }
            Self::Program => "the circuit's program computes a witness: `snarkjs wtns calculate`".to_owned(),
            Self::Artefact => format!("`taproof inspect {path}` says what it is"),
            Self::Proof => format!(
                "a proof of another circuit is checked with `taproof verify --vkey verification_key.json --public public.json --proof {path}`"
            ),
            Self::VerifyingKey => format!("a verifying key goes with `--vkey {path}`"),
            Self::Public => format!("public inputs go with `--public {path}`"),
            Self::Other => return None,
        })
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zkey => "a .zkey",
            Self::Key => "a key that was made ready by taproof",
            Self::Witness => "a witness (.wtns)",
            Self::Circuit => "a circuit (.r1cs)",
            Self::PowersOfTau => "a powers-of-tau file (.ptau)",
            Self::Program => "a WebAssembly program",
            Self::Artefact => "a file of a rollup",
            Self::Proof => "a proof (proof.json)",
            Self::VerifyingKey => "a verifying key (verification_key.json)",
            Self::Public => "a list of public inputs (public.json)",
            Self::Other => "of no known form",
        })
    }
}

fn misplaced(path: &Path, expected: Form, found: Form) -> Failure {
    let failure = Failure::new(Exit::Input, format!("{} is {found}, where {expected} is wanted", path.display()));
    let exported = format!("`taproof export --vkey {}` writes the verifying key of it", path.display());
    let place = match (expected, found) {
        (Form::VerifyingKey, Form::Zkey | Form::Key) => Some(exported),
        _ => found.place(path),
    };
    match place {
        Some(place) => failure.advise(place),
        None => failure,
    }
}

/// Adds to a failure of reading one of the rollup's files where the file belongs, if it is another tool's.
pub(crate) fn advise_of_form(failure: Failure, path: &Path) -> Failure {
    let form = File::open(path).ok().and_then(|file| {
        let mut start = Vec::new();
        let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
        is_file.then(|| file.take(START_LENGTH).read_to_end(&mut start).ok()).flatten()?;
        Some(Form::of(&start))
    });
    match form.filter(|form| *form != Form::Artefact).and_then(|form| Some((form, form.place(path)?))) {
        Some((form, place)) => failure.advise(format!("this is {form}: {place}")),
        None => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_their_first_bytes() {
        for (start, form) in [
            (&b"zkey\x01\0\0\0"[..], Form::Zkey),
            (b"taproofk", Form::Key),
            (b"taproof\0", Form::Artefact),
            (b"wtns", Form::Witness),
            (b"r1cs", Form::Circuit),
            (b"{\n \"pi_a\": [", Form::Proof),
            (b"{\"protocol\":\"groth16\"", Form::VerifyingKey),
            (b"[\n \"35\"\n]", Form::Public),
            (b"[]", Form::Public),
            (b"zke", Form::Other),
            (b"{\"format\"", Form::Other),
            (b"", Form::Other),
        ] {
            assert_eq!(Form::of(start), form, "{}", start.escape_ascii());
        }
    }

    #[test]
    fn what_comes_through_a_pipe_is_read_whole() {
        let bytes: Vec<u8> = (0..3_000_000u32).map(|n| n as u8).collect();
        assert_eq!(*read_all(&bytes[..], 3_000_000).expect("memory"), bytes);
        assert!(read_all(&[][..], 0).expect("memory").is_empty());
        for endless in [read_all(&bytes[..], 2_999_999), read_all(io::repeat(0), 5 << 20)] {
            assert!(matches!(endless, Err(InputError::TooLong { .. })));
        }
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
