//! Words under a password: a file in the format of age (age-encryption.org/v1) whose one recipient is a password.
//!
//! The format is small and open, so that `age --decrypt` opens the file as well when this program is gone. Of it this
//! module writes and reads what a few words need: one stanza `scrypt`, one chunk of payload, with or without the armor
//! of text.
//!
//! ```text
//! age-encryption.org/v1
//! -> scrypt SALT LOG_N
//! WRAPPED FILE KEY
//! --- MAC
//! nonce (16), sealed words
//! ```
//!
//! The password and the salt give, by scrypt with 2^LOG_N steps, the key that wraps a random file key; the file key
//! gives the key of the MAC over the header and the key of the payload, both by HKDF-SHA-256. Both ciphers are
//! ChaCha20-Poly1305.

use bitcoin::base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD},
};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, aead::Aead};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// The work of a new file: 2^18 steps over 256 MiB, about a second for whoever knows the password and for each guess of
/// who does not.
pub(super) const LOG_N: u8 = 18;
/// The most work that a file may ask for: it could be anybody's.
const LOG_N_MAX: u8 = 22;

const VERSION_LINE: &str = "age-encryption.org/v1\n";
const ARMOR_BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----";
const ARMOR_END: &str = "-----END AGE ENCRYPTED FILE-----";
const ARMOR_COLUMNS: usize = 64;
const SALT_LABEL: &[u8] = b"age-encryption.org/v1/scrypt";
const SALT_BYTES: usize = 16;
const FILE_KEY_BYTES: usize = 16;
const NONCE_BYTES: usize = 16;
const KEY_BYTES: usize = 32;
/// The nonce of the first chunk, numbered 0, that is the last as well.
const ONLY_CHUNK: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
/// The longest chunk: one that is full is followed by others, which words do not need.
const CHUNK_BYTES: usize = 1 << 16;

type Key = Zeroizing<[u8; KEY_BYTES]>;

/// Why words are not read out of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealedError {
    /// The file is not of the form that is read.
    #[error("the encrypted words are damaged, or encrypted to a key and not with a password")]
    Form,
    /// The file asks for more work than anybody would.
    #[error("the encrypted words ask for 2^{0} steps, and 2^22 are the most that are made")]
    Work(u8),
    /// The password is another.
    #[error("the password is wrong")]
    Password,
    /// The words are not what was sealed.
    #[error("the encrypted words are damaged")]
    Damaged,
}

/// Whether a file is in the format of age, whoever it is encrypted to.
pub fn is_encrypted(file: &[u8]) -> bool {
    let file = file.trim_ascii_start();
    file.starts_with(b"age-encryption.org/") || file.starts_with(ARMOR_BEGIN.as_bytes())
}

/// Seals words, as text. The work is 2^`log_n` steps.
pub(super) fn seal(words: &str, password: &str, log_n: u8) -> Result<String, rand::Error> {
    let mut random = Zeroizing::new([0; FILE_KEY_BYTES + SALT_BYTES + NONCE_BYTES]);
    rand::RngCore::try_fill_bytes(&mut rand::rngs::OsRng, random.as_mut_slice())?;
    let (file_key, public) = random.split_at(FILE_KEY_BYTES);
    let (salt, nonce) = public.split_at(SALT_BYTES);
    let encrypt = |key: &Key, nonce: &[u8; 12], plain: &[u8]| {
        let cipher = ChaCha20Poly1305::new(key.as_slice().try_into().expect("a key's length"));
        cipher.encrypt(nonce.into(), plain).expect("the text is short")
    };
    let wrapped = encrypt(&wrapping_key(password, salt, log_n), &[0; 12], file_key);
    let salt = BASE64_STANDARD_NO_PAD.encode(salt);
    let wrapped = BASE64_STANDARD_NO_PAD.encode(wrapped);
    let header = format!("{VERSION_LINE}-> scrypt {salt} {log_n}\n{wrapped}\n---");
    let mac = BASE64_STANDARD_NO_PAD.encode(header_mac(file_key, &header).finalize().into_bytes());
    let mut file = format!("{header} {mac}\n").into_bytes();
    file.extend(nonce);
    file.extend(encrypt(&payload_key(file_key, nonce), &ONLY_CHUNK, words.as_bytes()));
    Ok(armor(&file))
}

/// Opens what [`seal`] or `age --passphrase` has sealed.
pub(super) fn open(file: &[u8], password: &str) -> Result<Zeroizing<Vec<u8>>, SealedError> {
    let file = unarmor(file).ok_or(SealedError::Form)?;
    let Sealed { salt, log_n, wrapped, header, mac, nonce, payload } = Sealed::parse(&file).ok_or(SealedError::Form)?;
    if log_n > LOG_N_MAX {
        return Err(SealedError::Work(log_n));
    }
    let decrypt = |key: &Key, nonce: &[u8; 12], sealed: &[u8]| {
        let cipher = ChaCha20Poly1305::new(key.as_slice().try_into().expect("a key's length"));
        cipher.decrypt(nonce.into(), sealed).ok().map(Zeroizing::new)
    };
    let file_key = decrypt(&wrapping_key(password, &salt, log_n), &[0; 12], &wrapped).ok_or(SealedError::Password)?;
    header_mac(&file_key, header).verify_slice(&mac).map_err(|_| SealedError::Damaged)?;
    decrypt(&payload_key(&file_key, nonce), &ONLY_CHUNK, payload).ok_or(SealedError::Damaged)
}

/// The parts of a file.
struct Sealed<'a> {
    salt: [u8; SALT_BYTES],
    log_n: u8,
    wrapped: [u8; FILE_KEY_BYTES + 16],
    header: &'a str,
    mac: [u8; 32],
    nonce: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Sealed<'a> {
    fn parse(file: &'a [u8]) -> Option<Self> {
        // The header is three lines and one that begins with dashes; the rest are bytes.
        let end = file.windows(4).position(|bytes| bytes == b"\n---")? + 4;
        let header = std::str::from_utf8(&file[..end]).ok()?;
        let mut lines = header.strip_prefix(VERSION_LINE)?.strip_suffix("\n---")?.split('\n');
        let (stanza, wrapped) = (lines.next()?, lines.next()?);
        if lines.next().is_some() {
            return None;
        }
        let (salt, log_n) = stanza.strip_prefix("-> scrypt ")?.split_once(' ')?;
        let is_number = !log_n.starts_with('0') && log_n.bytes().all(|byte| byte.is_ascii_digit());
        let log_n = log_n.parse().ok().filter(|_| is_number)?;
        let rest = &file[end..];
        let line_end = rest.iter().position(|byte| *byte == b'\n')?;
        let mac = std::str::from_utf8(&rest[..line_end]).ok()?.strip_prefix(' ')?;
        let (nonce, payload) = rest[line_end + 1..].split_at_checked(NONCE_BYTES)?;
        if payload.len() > CHUNK_BYTES {
            return None;
        }
        let (salt, wrapped, mac) = (array(salt)?, array(wrapped)?, array(mac)?);
        Some(Self { salt, log_n, wrapped, header, mac, nonce, payload })
    }
}

fn array<const N: usize>(text: &str) -> Option<[u8; N]> {
    BASE64_STANDARD_NO_PAD.decode(text).ok()?.try_into().ok()
}

fn wrapping_key(password: &str, salt: &[u8], log_n: u8) -> Key {
    let params = scrypt::Params::new(log_n, 8, 1).expect("the work is below 2^64");
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let salt = [SALT_LABEL, salt].concat();
    scrypt::scrypt(password.as_bytes(), &salt, &params, key.as_mut_slice()).expect("a key is longer than nothing");
    key
}

fn derive(file_key: &[u8], salt: Option<&[u8]>, label: &[u8]) -> Key {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    Hkdf::<Sha256>::new(salt, file_key).expand(label, key.as_mut_slice()).expect("a key is one block of the hash");
    key
}

fn payload_key(file_key: &[u8], nonce: &[u8]) -> Key {
    derive(file_key, Some(nonce), b"payload")
}

fn header_mac(file_key: &[u8], header: &str) -> Hmac<Sha256> {
    let key = derive(file_key, None, b"header");
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key.as_slice()).expect("a key of any length");
    mac.update(header.as_bytes());
    mac
}

fn armor(file: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(file);
    let lines: Vec<&str> = (0..text.len())
        .step_by(ARMOR_COLUMNS)
        .map(|start| &text[start..text.len().min(start + ARMOR_COLUMNS)])
        .collect();
    format!("{ARMOR_BEGIN}\n{}\n{ARMOR_END}\n", lines.join("\n"))
}

/// The bytes of a file with or without armor.
fn unarmor(file: &[u8]) -> Option<Vec<u8>> {
    let Some(text) = std::str::from_utf8(file).ok().filter(|text| text.trim_start().starts_with(ARMOR_BEGIN)) else {
        return Some(file.to_vec());
    };
    let body = text.trim().strip_prefix(ARMOR_BEGIN)?.strip_suffix(ARMOR_END)?;
    let body: String = body.split_ascii_whitespace().collect();
    BASE64_STANDARD.decode(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str =
        "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about\n";
    const PASSWORD: &str = "correct horse battery staple";
    /// Little work, for tests.
    const LOG_N: u8 = 4;
    /// What `age --passphrase --armor` has made of the words.
    const BY_AGE: &str = concat!(
        "-----BEGIN AGE ENCRYPTED FILE-----\n",
        "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdCBBQnRjWmJmK3gwcUkzV2Ez\n",
        "bVFQV09nIDE4CmxQcTR2aS8yK0xZdnNzT1Bjd2NhUXFpQ3lEMUpRMi9SU1EyZG5Q\n",
        "WDNaVGcKLS0tIFMrczlOdG9seThjdnRPMUk5ZWh6LzBZcVVvMzJOR0JXSWpWdVFo\n",
        "WDc3YXMK9Ftu4dnVUTMmizB2HSxJ2KpMIJudc758dX3+wYCqeGsJDsEyj7yKbSIl\n",
        "S5bV9fN3FcUDPkwGl5TPE7Nj9vm57xqgM0GIGVLe39ELfS6UpNMT5qfRyEmOljNh\n",
        "Yw4U4+JRQez+ps74qCNPfMHgYJ/ynIKhiiBc1xqtfyZbvumE\n",
        "-----END AGE ENCRYPTED FILE-----\n",
    );

    #[test]
    fn what_is_sealed_is_opened_by_its_password_alone() {
        let sealed = seal(WORDS, PASSWORD, LOG_N).expect("the system has randomness");
        assert!(is_encrypted(sealed.as_bytes()) && !is_encrypted(WORDS.as_bytes()));
        assert_eq!(open(sealed.as_bytes(), PASSWORD).as_deref().map(Vec::as_slice), Ok(WORDS.as_bytes()));
        for wrong in ["", "correct horse battery", "Correct horse battery staple"] {
            assert_eq!(open(sealed.as_bytes(), wrong), Err(SealedError::Password));
        }
        let again = seal(WORDS, PASSWORD, LOG_N).expect("the system has randomness");
        assert_ne!(sealed, again, "salt, nonce and file key are new");
        assert!(sealed.lines().all(|line| line.len() <= ARMOR_COLUMNS));
    }

    #[test]
    fn a_file_of_age_is_opened() {
        assert!(is_encrypted(BY_AGE.as_bytes()));
        assert_eq!(open(BY_AGE.as_bytes(), PASSWORD).as_deref().map(Vec::as_slice), Ok(WORDS.as_bytes()));
    }

    #[test]
    fn damage_is_noticed_wherever_it_is() {
        let sealed = seal(WORDS, PASSWORD, LOG_N).expect("the system has randomness");
        let file = unarmor(sealed.as_bytes()).expect("as written");
        for position in 0..file.len() {
            let mut damaged = file.clone();
            damaged[position] ^= 1;
            assert!(open(&damaged, PASSWORD).is_err(), "byte {position}");
            assert!(open(&file[..position], PASSWORD).is_err(), "cut at {position}");
        }
        let text = String::from_utf8_lossy(&file).into_owned();
        assert!(text.contains(&format!(" {LOG_N}\n")));
        let harder = |log_n: &str| {
            let at = file.windows(3).position(|bytes| bytes == format!(" {LOG_N}\n").as_bytes()).expect("the work");
            [&file[..=at], log_n.as_bytes(), &file[at + 2..]].concat()
        };
        assert_eq!(open(&harder("23"), PASSWORD), Err(SealedError::Work(23)));
        for none in ["04", "", "-4", "+4", "256", "4 4"] {
            assert_eq!(open(&harder(none), PASSWORD), Err(SealedError::Form), "{none}");
        }
    }
}
