//! Excerpts as bytes, for those who get them by other ways than from a node.
//!
//! Version 1 (1 byte); the header (80); the coinbase; the number of other transactions (4), and these. A transaction
//! is its position (4), the number of hashes of its branch (1), these (32 each), the number of hashes of its
//! witnesses' branch (1), or 255 if there is none, these (32 each), the length of the transaction (4), and it as
//! Bitcoin serialises it. Integers are little-endian, hashes in their internal order.

use super::{BLOCK_LENGTH_MAX, BRANCH_LENGTH_MAX, BlockError, Excerpt, Inclusion};
use crate::take::take;
use alloc::vec::Vec;
use bitcoin::{Transaction, TxMerkleNode, block::Header, consensus::encode, hashes::Hash};

/// The longest excerpt, in bytes: all of a block of the least transactions, each with the longest branch, fits.
pub const EXCERPT_LENGTH_MAX: usize = BLOCK_LENGTH_MAX + (BLOCK_LENGTH_MAX / (4 * 60)) * INCLUSION_LENGTH_MAX;

const VERSION: u8 = 1;
/// What a transaction takes beside its own bytes.
const INCLUSION_LENGTH_MAX: usize = 4 + 2 * (1 + 32 * BRANCH_LENGTH_MAX) + 4;
/// The least that a transaction takes: position, no branches, length, and as many bytes as any transaction has.
const INCLUSION_LENGTH_MIN: usize = 4 + 2 + 4 + 10;
/// Stands where the number of hashes of a branch stands, if there is none.
const NO_BRANCH: u8 = u8::MAX;

impl Excerpt {
    /// Encodes the excerpt; the module `block` says how, and `docs/protocol.md` too.
    ///
    /// # Panics
    /// If a branch has more than 254 hashes, which no excerpt that was decoded or cut has.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = alloc::vec![VERSION];
        bytes.extend(encode::serialize(&self.header));
        write(&self.coinbase, &mut bytes);
        bytes.extend((self.transactions.len() as u32).to_le_bytes());
        self.transactions.iter().for_each(|inclusion| write(inclusion, &mut bytes));
        bytes
    }

    /// Decodes what [`Excerpt::to_bytes`] encodes. Nothing is checked but the form.
    ///
    /// # Errors
    /// [`BlockError::TooLong`], [`BlockError::BranchLength`] and [`BlockError::DecodeExcerpt`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BlockError> {
        if bytes.len() > EXCERPT_LENGTH_MAX {
            return Err(BlockError::TooLong(bytes.len()));
        }
        let mut reader = Reader(bytes);
        if reader.array()? != [VERSION] {
            return Err(BlockError::DecodeExcerpt);
        }
        let header: [u8; Header::SIZE] = reader.array()?;
        let header = encode::deserialize(&header).map_err(|_| BlockError::DecodeExcerpt)?;
        let coinbase = reader.inclusion()?;
        let count = u32::from_le_bytes(reader.array()?) as usize;
        if count > reader.0.len() / INCLUSION_LENGTH_MIN {
            return Err(BlockError::DecodeExcerpt);
        }
        let transactions = (0..count).map(|_| reader.inclusion()).collect::<Result<Vec<_>, _>>()?;
        if !reader.0.is_empty() {
            return Err(BlockError::DecodeExcerpt);
        }
        Ok(Self { header, coinbase, transactions })
    }
}

fn write(inclusion: &Inclusion, out: &mut Vec<u8>) {
    out.extend(inclusion.position.to_le_bytes());
    write_branch(&inclusion.branch, out);
    match &inclusion.witness_branch {
        Some(branch) => write_branch(branch, out),
        None => out.push(NO_BRANCH),
    }
    let transaction = encode::serialize(&inclusion.transaction);
    out.extend((transaction.len() as u32).to_le_bytes());
    out.extend(transaction);
}

fn write_branch(branch: &[TxMerkleNode], out: &mut Vec<u8>) {
    let count = u8::try_from(branch.len()).ok().filter(|count| *count != NO_BRANCH);
    out.push(count.expect("branches have 15 hashes at most"));
    branch.iter().for_each(|node| out.extend(node.to_byte_array()));
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], BlockError> {
        take(&mut self.0).ok_or(BlockError::DecodeExcerpt)
    }

    fn inclusion(&mut self) -> Result<Inclusion, BlockError> {
        let position = u32::from_le_bytes(self.array()?);
        let branch = self.branch()?.ok_or(BlockError::DecodeExcerpt)?;
        let witness_branch = self.branch()?;
        let length = u32::from_le_bytes(self.array()?) as usize;
        let transaction = self.0.split_off(..length).ok_or(BlockError::DecodeExcerpt)?;
        let transaction: Transaction = encode::deserialize(transaction).map_err(|_| BlockError::DecodeExcerpt)?;
        Ok(Inclusion { position, transaction, branch, witness_branch })
    }

    fn branch(&mut self) -> Result<Option<Vec<TxMerkleNode>>, BlockError> {
        let [count] = self.array()?;
        if count == NO_BRANCH {
            return Ok(None);
        }
        let found = usize::from(count);
        if found > BRANCH_LENGTH_MAX {
            return Err(BlockError::BranchLength { expected: BRANCH_LENGTH_MAX, found });
        }
        (0..found).map(|_| self.array().map(TxMerkleNode::from_byte_array)).collect::<Result<_, _>>().map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        block::{ValidatedExcerpt, decode_block},
        headers::BlockId,
    };
    use proptest::prelude::*;
    use taproof_fixtures::MAINNET_BLOCK_702861;

    fn excerpt() -> (Excerpt, BlockId) {
        let block = decode_block(MAINNET_BLOCK_702861).expect("a real block");
        let id = BlockId { height: 702_861, hash: block.block_hash() };
        (Excerpt::of(&block, &[1, 700, 2_499]).expect("the coinbase is there"), id)
    }

    #[test]
    fn bytes_round_trip_and_other_lengths_are_refused() {
        let (excerpt, id) = excerpt();
        let bytes = excerpt.to_bytes();
        let decoded = Excerpt::from_bytes(&bytes).expect("just encoded");
        assert_eq!(decoded, excerpt);
        assert_eq!(decoded.to_bytes(), bytes);
        assert!(ValidatedExcerpt::new(decoded, id).is_ok());
        for length in (0..bytes.len()).step_by(7) {
            assert_eq!(Excerpt::from_bytes(&bytes[..length]), Err(BlockError::DecodeExcerpt));
        }
        assert_eq!(Excerpt::from_bytes(&[bytes.as_slice(), &[0]].concat()), Err(BlockError::DecodeExcerpt));
        let mut other_version = bytes.clone();
        other_version[0] = 2;
        assert_eq!(Excerpt::from_bytes(&other_version), Err(BlockError::DecodeExcerpt));
        let mut deep = bytes;
        deep[1 + 80 + 4] = 16;
        let error = BlockError::BranchLength { expected: 15, found: 16 };
        assert_eq!(Excerpt::from_bytes(&deep), Err(error));
        let long = alloc::vec![1; EXCERPT_LENGTH_MAX + 1];
        assert_eq!(Excerpt::from_bytes(&long), Err(BlockError::TooLong(EXCERPT_LENGTH_MAX + 1)));
    }

    proptest! {
        #[test]
        fn altered_bytes_do_not_panic_and_decode_to_themselves(position: prop::sample::Index, byte: u8) {
            let (excerpt, id) = excerpt();
            let mut bytes = excerpt.to_bytes();
            let position = position.index(bytes.len());
            bytes[position] = byte;
            if let Ok(decoded) = Excerpt::from_bytes(&bytes) {
                prop_assert_eq!(decoded.to_bytes(), bytes);
                let _ = ValidatedExcerpt::new(decoded, id);
            }
        }
    }
}
