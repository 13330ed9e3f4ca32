//! The words that every key descends from, and the files that keep them.

use super::{
    WalletError,
    sealed::{self, SealedError},
};
use bip39::Mnemonic;
use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};
use taproof_base::output_file::{Access, write_file};
use zeroize::Zeroizing;

/// Bytes of randomness behind a new mnemonic of 24 words.
const ENTROPY_BYTES: usize = 32;
/// The longest file of words: 24 of them, of at most eight letters, are shorter by far, encrypted ones as well.
const MAX_FILE_BYTES: u64 = 4_096;

/// The words that every key descends from. They are wiped from memory when dropped and never printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Phrase(pub(super) Mnemonic);

impl Phrase {
    /// Makes 24 new words from the operating system's randomness.
    ///
    /// # Errors
    /// [`WalletError::Randomness`].
    pub fn generate() -> Result<Self, WalletError> {
        let mut entropy = Zeroizing::new([0u8; ENTROPY_BYTES]);
        rand::RngCore::try_fill_bytes(&mut rand::rngs::OsRng, entropy.as_mut_slice())
            .map_err(WalletError::Randomness)?;
        Ok(Self(Mnemonic::from_entropy(entropy.as_slice())?))
    }

    /// Checks words, separated by white space, in English.
    ///
    /// # Errors
    /// [`WalletError::Mnemonic`] for an unknown word, a wrong count or a wrong checksum.
    pub fn parse(words: &str) -> Result<Self, WalletError> {
        Ok(Self(Mnemonic::parse_in(bip39::Language::English, words)?))
    }

    /// The words, separated by spaces: who sees them has every key.
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.to_string())
    }

    /// Writes the words to a new file that only its owner may read, and makes it durable.
    ///
    /// # Errors
    /// [`WalletError::Exists`]; [`WalletError::Io`], after which there is no file.
    pub fn create_file(&self, path: &Path) -> Result<(), WalletError> {
        create_private(path, self.line().as_bytes())
    }

    /// Writes the words to a new file as [`Phrase::create_file`] does, encrypted with a password.
    ///
    /// # Errors
    /// [`WalletError::EmptyPassword`], [`WalletError::Randomness`], and those of [`Phrase::create_file`].
    pub fn create_encrypted_file(&self, path: &Path, password: &str) -> Result<(), WalletError> {
        create_private(path, self.seal(password, sealed::LOG_N)?.as_bytes())
    }

    /// Reads the words of a file that is not encrypted.
    ///
    /// # Errors
    /// [`WalletError::Encrypted`] if it is, and those of [`WordsFile::read`].
    pub fn read_file(path: &Path) -> Result<Self, WalletError> {
        match WordsFile::read(path)? {
            WordsFile::Plain(phrase) => Ok(phrase),
            WordsFile::Encrypted(_) => Err(WalletError::Encrypted(path.to_owned())),
        }
    }

    fn line(&self) -> Zeroizing<String> {
        let words = self.reveal();
        let mut line = Zeroizing::new(String::with_capacity(words.len() + 1));
        line.push_str(&words);
        line.push('\n');
        line
    }

    fn seal(&self, password: &str, log_n: u8) -> Result<String, WalletError> {
        if password.is_empty() {
            return Err(WalletError::EmptyPassword);
        }
        sealed::seal(&self.line(), password, log_n).map_err(WalletError::Randomness)
    }
}

/// A file of words, as it is found.
#[derive(Clone, Debug)]
pub enum WordsFile {
    /// The words themselves.
    Plain(Phrase),
    /// Words that a password opens.
    Encrypted(EncryptedWords),
}

/// Words that a password opens.
#[derive(Clone, Debug)]
pub struct EncryptedWords {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl WordsFile {
    /// Reads a file of words.
    ///
    /// # Errors
    /// [`WalletError::Permissions`] if others can read words without a password, [`WalletError::FileLength`],
    /// [`WalletError::Mnemonic`] and [`WalletError::Io`].
    pub fn read(path: &Path) -> Result<Self, WalletError> {
        let io_error = |source| WalletError::Io { action: "read", path: path.to_owned(), source };
        let file = File::open(path).map_err(io_error)?;
        let is_public = is_readable_by_others(&file).map_err(io_error)?;
        // The capacity is never exceeded, so no copy of the words is left behind by growing.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE_BYTES as usize + 1));
        file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(io_error)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(WalletError::FileLength(path.to_owned()));
        }
        if sealed::is_encrypted(&bytes) {
            return Ok(Self::Encrypted(EncryptedWords { path: path.to_owned(), bytes: bytes.to_vec() }));
        }
        // What a password protects may lie where others read it.
        if is_public {
            return Err(WalletError::Permissions(path.to_owned()));
        }
        let words = std::str::from_utf8(&bytes);
        Ok(Self::Plain(Phrase::parse(
            words.map_err(|_| io_error(io::Error::new(io::ErrorKind::InvalidData, "it is no text in UTF-8")))?,
        )?))
    }

    /// Encrypts a file of words in its place. Until the end of it, the file holds what it held before; what the
    /// medium keeps of the old one is beyond any program.
    ///
    /// # Errors
    /// [`WalletError::EncryptedAlready`], and those of [`WordsFile::read`] and [`Phrase::create_encrypted_file`].
    pub fn encrypt(path: &Path, password: &str) -> Result<(), WalletError> {
        let Self::Plain(phrase) = Self::read(path)? else {
            return Err(WalletError::EncryptedAlready(path.to_owned()));
        };
        let text = phrase.seal(password, sealed::LOG_N)?;
        write_file(path, Access::Private, |file| file.write_all(text.as_bytes())).map_err(|source| WalletError::Io {
            action: "encrypt",
            path: path.to_owned(),
            source,
        })
    }
}

impl EncryptedWords {
    /// Opens the words, which takes about a second and 256 MiB.
    ///
    /// # Errors
    /// [`WalletError::Sealed`], and [`WalletError::Mnemonic`] if what was encrypted are no words.
    pub fn open(&self, password: &str) -> Result<Phrase, WalletError> {
        let error = |source| WalletError::Sealed { path: self.path.clone(), source };
        let words = sealed::open(&self.bytes, password).map_err(error)?;
        Phrase::parse(std::str::from_utf8(&words).map_err(|_| error(SealedError::Form))?)
    }
}

/// Writes a new file that only its owner may read, and makes it durable.
fn create_private(path: &Path, bytes: &[u8]) -> Result<(), WalletError> {
    let io_error = |source| WalletError::Io { action: "create", path: path.to_owned(), source };
    let mut file = private_options().create_new(true).open(path).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => WalletError::Exists(path.to_owned()),
        _ => io_error(source),
    })?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(|source| {
        // A file that holds half a mnemonic is worse than none; the first error is the one to report.
        let _ = fs::remove_file(path);
        io_error(source)
    })
}

impl fmt::Debug for Phrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Phrase({} words)", self.0.word_count())
    }
}

#[cfg(unix)]
fn private_options() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

#[cfg(unix)]
fn is_readable_by_others(file: &File) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    Ok(file.metadata()?.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn private_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    options
}

/// Elsewhere than on Unix a new file inherits the access rules of its folder, which are not looked at.
#[cfg(not(unix))]
fn is_readable_by_others(_: &File) -> io::Result<bool> {
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";

    #[test]
    fn a_mnemonic_file_is_private_and_never_overwritten() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("words");
        let phrase = Phrase::generate().expect("the system has randomness");
        assert_eq!(phrase.reveal().split(' ').count(), 24);
        assert_ne!(phrase, Phrase::generate().expect("the system has randomness"));
        phrase.create_file(&path).expect("a new file");
        assert_eq!(Phrase::read_file(&path).expect("just written"), phrase);
        let other = Phrase::parse(WORDS).expect("a valid mnemonic");
        assert!(matches!(other.create_file(&path), Err(WalletError::Exists(_))));
        assert_eq!(Phrase::read_file(&path).expect("unchanged"), phrase);
        assert!(matches!(Phrase::read_file(&folder.path().join("none")), Err(WalletError::Io { .. })));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("our file");
            assert!(matches!(Phrase::read_file(&path), Err(WalletError::Permissions(_))));
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("our file");
        }
        fs::write(&path, "abandon ".repeat(12)).expect("our file");
        assert!(matches!(Phrase::read_file(&path), Err(WalletError::Mnemonic(_))));
        fs::write(&path, "abandon ".repeat(600)).expect("our file");
        assert!(matches!(Phrase::read_file(&path), Err(WalletError::FileLength(_))));
    }

    #[test]
    fn encrypted_words_are_opened_by_their_password() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("words");
        let phrase = Phrase::parse(WORDS).expect("a valid mnemonic");
        assert!(matches!(phrase.create_encrypted_file(&path, ""), Err(WalletError::EmptyPassword)));
        phrase.create_file(&path).expect("a new file");
        WordsFile::encrypt(&path, "a password").expect("words that are not encrypted");
        assert!(!fs::read_to_string(&path).expect("text").contains("abandon"));
        assert!(matches!(Phrase::read_file(&path), Err(WalletError::Encrypted(_))));
        let twice = WordsFile::encrypt(&path, "another");
        assert!(matches!(twice, Err(WalletError::EncryptedAlready(_))));
        let Ok(WordsFile::Encrypted(words)) = WordsFile::read(&path) else { panic!("encrypted words") };
        assert_eq!(words.open("a password").expect("the password"), phrase);
        let wrong = words.open("another");
        assert!(matches!(wrong, Err(WalletError::Sealed { source: SealedError::Password, .. })), "{wrong:?}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        }
    }
}
