//! Evidence: bytes posted beside a record that are checked here, because a circuit would need too many rows for them.
//!
//! A circuit takes the elements of a record as they are. Where a record rests on SHA-256, on secp256k1 or on a Bitcoin
//! header, it holds one element, its *word*, and numbers of at most 64 bits. The functions of this module tie these to
//! the bytes that were posted. All are pure: heights, headers and requests are arguments. None panics on any bytes.
//!
//! Integers are little-endian and unsigned unless something else is said.
//!
//! # Words
//!
//! The word of 32 bytes d is the integer d\[0\] + 256 d\[1\] + ... + 256^31 d\[31\] with its bits 253, 254 and 255
//! cleared, so d\[31\] counts modulo 32. It is below 2^253, hence below the order of the scalar field. The bytes are
//! a SHA-256 digest as FIPS 180-4 writes it: the words H0 to H7 in order, the most significant byte of each first.
//! 253 bits remain of the digest, which gives 126 bits of security against collisions.
//!
//! # Claims
//!
//! A claim opens a lock with a secret of 32 bytes, which is posted. The lock's word is
//!
//! - of a hash lock: the word of SHA-256(secret), the secret's 32 bytes as they are;
//! - of a point lock (PTLC): the word of SHA-256(P), where the secret is an integer t from 1 to n - 1, most significant
//!   byte first, n the order of secp256k1, and P is the point t G in 33 bytes (SEC 1, section 2.3.3, compressed): 2 if
//!   y is even and 3 if it is odd, then x, most significant byte first. With the parity in it, n - t does not open what
//!   t opens.
//!
//! The two hash 32 and 33 bytes, so no secret opens a lock of the other type. The claim's height is that of the Bitcoin
//! block that the batch refers to. Or it is the height of a request on Bitcoin, at most that, with the same cell and
//! the same 32 bytes.
//!
//! # Reports of feeds
//!
//! A feed is a BIP-340 key whose holder signs numbers. The fact that names the feed holds the word of SHA-256(key), the
//! key being x in 32 bytes, most significant byte first. What is signed is a message of 32 bytes: the tagged hash
//! of BIP-340, SHA-256(SHA-256(tag) || SHA-256(tag) || report), with the 15 bytes `taproof/feed/v1` as the tag and
//! the report in 39 bytes:
//!
//! | offset | bytes | content |
//! |---|---|---|
//! | 0 | 15 | chain id |
//! | 15 | 4 | cell of the fact |
//! | 19 | 8 | first value |
//! | 27 | 8 | second value |
//! | 35 | 4 | height that the values are of |
//!
//! The signature has 64 bytes and is checked as BIP-340 says under "Verification".
//!
//! # Header facts
//!
//! A header fact is a number from the header of a Bitcoin block at or below the block that the batch refers to.
//! [`HeaderField`] lists the numbers. The 80 bytes of the header are posted or known; the block's hash authenticates
//! them.
//!
//! Sources: FIPS 180-4 (SHA-256), BIP-340 (tagged hashes, keys, signatures), SEC 1 version 2 (points as bytes), SEC 2
//! version 2 (secp256k1).

use crate::{
    cell::{CellIndex, ChainId},
    field,
    headers::BlockId,
    secp::with_context,
};
use ark_bn254::Fr;
use bitcoin::{
    BlockHash, Network, Target, XOnlyPublicKey,
    block::Header,
    hashes::{Hash, HashEngine, sha256},
    secp256k1::{Message, Secp256k1, SecretKey, schnorr},
};

#[cfg(test)]
mod tests;

/// What the tagged hash of a feed's report begins with.
const FEED_TAG: &[u8] = b"taproof/feed/v1";
/// The bits of the last byte of a digest that a word keeps: bits 248 to 252 of 256.
const WORD_TOP_BITS: u8 = 0x1f;

/// The word of a digest; see the module's words on it.
pub fn word(digest: &[u8; 32]) -> Fr {
    let mut bytes = *digest;
    bytes[31] &= WORD_TOP_BITS;
    field::from_bytes(&bytes).expect("an integer of 253 bits is below the order")
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    sha256::Hash::hash(bytes).to_byte_array()
}

/// What opens a lock, as it is posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Secret {
    /// The preimage of a hash lock.
    Preimage([u8; 32]),
    /// The discrete logarithm of a point lock, most significant byte first.
    Scalar([u8; 32]),
}

impl Secret {
    /// The bytes that are posted.
    pub fn as_bytes(&self) -> &[u8; 32] {
        match self {
            Self::Preimage(bytes) | Self::Scalar(bytes) => bytes,
        }
    }

    /// The word of the lock that the secret opens.
    ///
    /// # Errors
    /// [`ClaimError::ScalarOutOfRange`]; each preimage has a word.
    pub fn word(&self) -> Result<Fr, ClaimError> {
        match self {
            Self::Preimage(preimage) => Ok(word(&sha256(preimage))),
            Self::Scalar(scalar) => {
                let scalar = SecretKey::from_slice(scalar).map_err(|_| ClaimError::ScalarOutOfRange)?;
                let point = scalar.public_key(&Secp256k1::signing_only());
                Ok(word(&sha256(&point.serialize())))
            }
        }
    }
}

/// A request on Bitcoin to open a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct ClaimRequest {
    /// The lock's cell.
    pub cell: CellIndex,
    /// The secret's bytes; the lock says of which type they are.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_form::byte_array"))]
    pub secret: [u8; 32],
    /// The height of the request's block.
    pub height_blocks: u32,
}

/// What a record says about the opening of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The lock's cell.
    pub cell: CellIndex,
    /// The lock's word.
    pub word: Fr,
    /// The height at which the lock counts as opened.
    pub height_blocks: u32,
}

/// Why a claim does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// The scalar is 0, or not below the order of secp256k1.
    #[error("the scalar is zero or not below the order of secp256k1")]
    ScalarOutOfRange,
    /// The secret opens another lock, or none.
    #[error("the secret is not the one that the lock's word commits to")]
    WordMismatch,
    /// The height lies above the block that the batch refers to.
    #[error("the claim is of height {height_blocks}, above the reference at {reference_height_blocks}")]
    AboveReference {
        /// The claim's height.
        height_blocks: u32,
        /// The height of the block that the batch refers to.
        reference_height_blocks: u32,
    },
    /// The height lies below the reference, and no request of that height has this cell and secret.
    #[error("no request at height {height_blocks} shows this secret for this cell")]
    NotRequested {
        /// The claim's height.
        height_blocks: u32,
    },
}

impl Claim {
    /// Checks a claim against the secret that is posted, the height of the block that the batch refers to, and
    /// the requests that wait on Bitcoin.
    ///
    /// # Errors
    /// Each of [`ClaimError`].
    pub fn check(
        &self,
        secret: &Secret,
        reference_height_blocks: u32,
        requests: impl IntoIterator<Item = ClaimRequest>,
    ) -> Result<(), ClaimError> {
        if secret.word()? != self.word {
            return Err(ClaimError::WordMismatch);
        }
        let height_blocks = self.height_blocks;
        if height_blocks > reference_height_blocks {
            return Err(ClaimError::AboveReference { height_blocks, reference_height_blocks });
        }
        let own = ClaimRequest { cell: self.cell, secret: *secret.as_bytes(), height_blocks };
        if height_blocks == reference_height_blocks || requests.into_iter().any(|request| request == own) {
            Ok(())
        } else {
            Err(ClaimError::NotRequested { height_blocks })
        }
    }
}

/// Why a BIP-340 signature does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Bip340Error {
    /// The key is not the x coordinate of a point of secp256k1.
    #[error("the key is not the x coordinate of a point of secp256k1")]
    Key,
    /// The signature is not one of this message by this key.
    #[error("the signature is not one of this message by this key")]
    Mismatch,
}

/// Checks a BIP-340 signature of a message of 32 bytes.
///
/// # Errors
/// Each of [`Bip340Error`].
pub fn verify_bip340(key: &[u8; 32], message: &[u8; 32], signature: &[u8; 64]) -> Result<(), Bip340Error> {
    let key = XOnlyPublicKey::from_slice(key).map_err(|_| Bip340Error::Key)?;
    let signature = schnorr::Signature::from_slice(signature).map_err(|_| Bip340Error::Mismatch)?;
    let message = Message::from_digest(*message);
    let checked = with_context(|secp| secp.verify_schnorr(&signature, &message, &key));
    checked.map_err(|_| Bip340Error::Mismatch)
}

/// What a feed says, and what a record that reads it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FeedReport {
    /// The rollup.
    pub chain_id: ChainId,
    /// The cell of the fact, so that a report means nothing for another one.
    pub cell: CellIndex,
    /// The values; the fact says what they mean.
    pub values: [u64; 2],
    /// The height that the values are of.
    pub height_blocks: u32,
}

/// Why a feed's report does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// The key is not the one that the fact names.
    #[error("the key is not the one that the fact's word commits to")]
    WordMismatch,
    /// The key or the signature.
    #[error(transparent)]
    Signature(#[from] Bip340Error),
}

impl FeedReport {
    /// The bytes of an encoded report.
    pub const LENGTH: usize = ChainId::LENGTH + 24;

    /// Encodes chain id (15 bytes), cell (4), the two values (8 each) and the height (4), all little-endian.
    pub fn to_bytes(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        let (chain_id, rest) = bytes.split_at_mut(ChainId::LENGTH);
        chain_id.copy_from_slice(&self.chain_id.to_byte_array());
        rest[..4].copy_from_slice(&self.cell.get().to_le_bytes());
        rest[4..12].copy_from_slice(&self.values[0].to_le_bytes());
        rest[12..20].copy_from_slice(&self.values[1].to_le_bytes());
        rest[20..].copy_from_slice(&self.height_blocks.to_le_bytes());
        bytes
    }

    /// The message that the feed signs: the tagged hash of the encoded report.
    pub fn message(&self) -> [u8; 32] {
        let tag = sha256(FEED_TAG);
        let mut engine = sha256::Hash::engine();
        [&tag[..], &tag, &self.to_bytes()].into_iter().for_each(|part| engine.input(part));
        sha256::Hash::from_engine(engine).to_byte_array()
    }

    /// The word by which a fact names the feed of a key.
    pub fn word(key: &[u8; 32]) -> Fr {
        word(&sha256(key))
    }

    /// Checks that the feed which a fact names by `word` signed this report.
    ///
    /// # Errors
    /// Each of [`FeedError`].
    pub fn check(&self, word: Fr, key: &[u8; 32], signature: &[u8; 64]) -> Result<(), FeedError> {
        if Self::word(key) != word {
            return Err(FeedError::WordMismatch);
        }
        Ok(verify_bip340(key, &self.message(), signature)?)
    }
}

/// A number that a Bitcoin header holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum HeaderField {
    /// Bytes 0 to 3, the version, its 32 bits as an unsigned integer.
    Version = 1,
    /// Bytes 68 to 71, the time in seconds since 1970.
    Time = 2,
    /// Bytes 72 to 75, the target in its compact form, as an integer.
    Bits = 3,
    /// Bytes 76 to 79, the nonce.
    Nonce = 4,
    /// What follows from the bits: the quotient of 65,535 2^208 and the target, rounded down, on every network.
    Difficulty = 5,
}

impl HeaderField {
    /// Every field.
    pub const ALL: [Self; 5] = [Self::Version, Self::Time, Self::Bits, Self::Nonce, Self::Difficulty];

    /// The field of a number; `None` if there is none.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|field| *field as u8 == number)
    }

    /// The field's value in a header; `None` for a difficulty of more than 64 bits, or of a target of zero.
    pub fn value(self, header: &Header) -> Option<u64> {
        match self {
            Self::Version => Some(u64::from(header.version.to_consensus().cast_unsigned())),
            Self::Time => Some(header.time.into()),
            Self::Bits => Some(header.bits.to_consensus().into()),
            Self::Nonce => Some(header.nonce.into()),
            Self::Difficulty if header.target() == Target::ZERO => None,
            Self::Difficulty => u64::try_from(header.target().difficulty(Network::Bitcoin.params())).ok(),
        }
    }
}

/// What a record says about a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HeaderFact {
    /// Which number.
    pub field: HeaderField,
    /// The height of the header's block.
    pub height_blocks: u32,
    /// The number.
    pub value: u64,
}

/// Why a fact about a header does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderFactError {
    /// The height lies above the block that the batch refers to.
    #[error("the fact is of height {height_blocks}, above the reference at {reference_height_blocks}")]
    AboveReference {
        /// The fact's height.
        height_blocks: u32,
        /// The height of the block that the batch refers to.
        reference_height_blocks: u32,
    },
    /// The block is of another height.
    #[error("the fact is of height {height_blocks}, the block of height {found}")]
    Height {
        /// The fact's height.
        height_blocks: u32,
        /// The block's height.
        found: u32,
    },
    /// The header is not that of the block.
    #[error("the header's hash is {found}, the block's {expected}")]
    HeaderMismatch {
        /// The block's hash.
        expected: BlockHash,
        /// The header's hash.
        found: BlockHash,
    },
    /// The header has no such number of 64 bits.
    #[error("the header's difficulty does not fit 64 bits")]
    NoValue,
    /// The header has another number.
    #[error("the header's value is {expected}, not {found}")]
    ValueMismatch {
        /// The header's value.
        expected: u64,
        /// The fact's value.
        found: u64,
    },
}

impl HeaderFact {
    /// Checks the fact against a header, the block of the best chain at the fact's height, and the height of the
    /// block that the batch refers to, which is of the same chain.
    ///
    /// # Errors
    /// Each of [`HeaderFactError`].
    pub fn check(&self, header: &Header, block: BlockId, reference_height_blocks: u32) -> Result<(), HeaderFactError> {
        let height_blocks = self.height_blocks;
        if height_blocks > reference_height_blocks {
            return Err(HeaderFactError::AboveReference { height_blocks, reference_height_blocks });
        }
        if height_blocks != block.height {
            return Err(HeaderFactError::Height { height_blocks, found: block.height });
        }
        let found = header.block_hash();
        if found != block.hash {
            return Err(HeaderFactError::HeaderMismatch { expected: block.hash, found });
        }
        match self.field.value(header) {
            Some(expected) if expected == self.value => Ok(()),
            Some(expected) => Err(HeaderFactError::ValueMismatch { expected, found: self.value }),
            None => Err(HeaderFactError::NoValue),
        }
    }
}
