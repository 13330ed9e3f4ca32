//! Operations: what the steps of a program can be, as far as a verifier must know.
//!
//! A step posts a record that begins with the number of its operation. What the operation does to the state is the
//! circuit's matter alone. A verifier needs three things of it: which columns its records post, whether bytes are
//! posted beside them as [evidence](crate::evidence), and by which rule these are checked. A program says it in a
//! table for each set of operations, so that a verifier handles operations that are younger than itself.

use alloc::vec::Vec;
use bitcoin::hashes::{Hash, HashEngine, sha256};

/// The most operations of a set.
pub const OPERATIONS_MAX: usize = 64;

/// What the hash of a set's encoding begins with, so that no other hash can be taken for one of a set.
const HASH_TAG: &[u8] = b"taproof/operations/v1";
/// Bytes of an encoded operation.
const OPERATION_LENGTH: usize = 3;

/// The SHA-256 of the encoding of a set of operations behind a tag; zeros where there is no such set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OperationsHash(#[cfg_attr(feature = "serde", serde(with = "crate::serde_form::byte_array"))] [u8; 32]);

impl OperationsHash {
    /// What circuits of payments have in the place of a hash.
    pub const NONE: Self = Self([0; 32]);

    /// Takes the hash's bytes.
    pub fn from_byte_array(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash's bytes.
    pub fn to_byte_array(self) -> [u8; 32] {
        self.0
    }
}

impl core::fmt::Display for OperationsHash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The columns that the records of an operation post; what they do not post is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Columns(u8);

impl Columns {
    /// Flags, 8 bits.
    pub const FLAGS: Self = Self(1);
    /// The cell that the step changes.
    pub const CELL: Self = Self(1 << 1);
    /// The first number, 64 bits.
    pub const A: Self = Self(1 << 2);
    /// The second number, 64 bits.
    pub const B: Self = Self(1 << 3);
    /// The third number, 64 bits.
    pub const C: Self = Self(1 << 4);
    /// The word, an element.
    pub const WORD: Self = Self(1 << 5);
    /// All columns.
    pub const ALL: Self = Self((1 << 6) - 1);
    /// Each column, in the order in which they are posted.
    pub const EACH: [Self; 6] = [Self::FLAGS, Self::CELL, Self::A, Self::B, Self::C, Self::WORD];

    /// The columns of some bits; `None` if a bit means no column.
    pub fn from_bits(bits: u8) -> Option<Self> {
        let columns = Self(bits);
        Self::ALL.contain(columns).then_some(columns)
    }

    /// The columns as bits, flags lowest.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// These columns and others.
    pub fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether all of some columns are among these.
    pub fn contain(self, columns: Self) -> bool {
        self.0 & columns.0 == columns.0
    }

    /// The bytes that a record takes in these columns.
    pub fn length(self) -> usize {
        let lengths = [(Self::FLAGS, 1), (Self::CELL, 4), (Self::A, 8), (Self::B, 8), (Self::C, 8), (Self::WORD, 32)];
        lengths.iter().filter(|(column, _)| self.contain(*column)).map(|(_, length)| length).sum()
    }
}

/// Which check of the verifier the records of an operation need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Check {
    /// None.
    None = 0,
    /// The opening of a lock: [`crate::evidence::Claim`].
    Claim = 1,
    /// The report of a feed: [`crate::evidence::FeedReport`].
    Feed = 2,
    /// A number from a Bitcoin header: [`crate::evidence::HeaderFact`].
    Header = 3,
    /// That the records with this check are of one cell each, of all that are anchored in one Bitcoin block: so a pool
    /// clears at one price a block, and nobody trades before and behind somebody else.
    OncePerBlock = 4,
}

impl Check {
    /// Every check, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::None, Self::Claim, Self::Feed, Self::Header, Self::OncePerBlock];

    /// The check of that number, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|check| *check as u8 == number)
    }

    /// The bytes of evidence that a record posts for it.
    pub fn evidence_length(self) -> usize {
        match self {
            Self::None | Self::OncePerBlock => 0,
            Self::Claim => 32,
            Self::Feed => 32 + 64,
            Self::Header => 80,
        }
    }

    /// The columns that an operation posts whose records need it. Without one of these for claims, a lock might be
    /// asked to be opened that no record can open; without a cell, one of all cells would be regarded.
    pub fn columns_needed(self) -> Columns {
        match self {
            Self::Claim => Columns::CELL.and(Columns::C).and(Columns::WORD),
            Self::OncePerBlock => Columns::CELL,
            Self::None | Self::Feed | Self::Header => Columns::default(),
        }
    }
}

/// What a verifier knows of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Operation {
    /// Its number, 1 to 255, with which each of its records begins.
    pub number: u8,
    /// The columns that its records post.
    pub columns: Columns,
    /// The check that its records need.
    pub check: Check,
}

impl Operation {
    /// The bytes that a record takes: its number, its columns and its evidence.
    pub fn record_length(&self) -> usize {
        1 + self.columns.length() + self.check.evidence_length()
    }
}

/// Why operations are no [`OperationSet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OperationSetError {
    /// A set has 1 to 64 operations.
    #[error("{0} operations, where a set has 1 to {OPERATIONS_MAX}")]
    Count(usize),
    /// The bytes end early.
    #[error("the bytes end within a set of operations")]
    Length,
    /// Operations are numbered from 1.
    #[error("an operation has number 0")]
    Zero,
    /// The numbers do not ascend.
    #[error("operation {0} is out of order")]
    Order(u8),
    /// A bit means no column.
    #[error("operation {number} has columns {bits:#04x}, where {known:#04x} are known", known = Columns::ALL.bits())]
    Columns {
        /// The operation.
        number: u8,
        /// Its bits.
        bits: u8,
    },
    /// An operation does not post what its check is about.
    #[error("operation {number} has columns {bits:#04x}, and its check needs {needed:#04x}")]
    ColumnsOfCheck {
        /// The operation.
        number: u8,
        /// Its bits.
        bits: u8,
        /// The bits that the check needs.
        needed: u8,
    },
    /// No check has this number.
    #[error("operation {number} has check {check}, which is none")]
    Check {
        /// The operation.
        number: u8,
        /// The check's number.
        check: u8,
    },
}

/// The operations that the steps of a circuit can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationSet {
    /// In ascending order of their numbers.
    operations: Vec<Operation>,
    hash: OperationsHash,
}

impl OperationSet {
    /// Takes operations in ascending order of their numbers.
    ///
    /// # Errors
    /// [`OperationSetError::Count`], [`OperationSetError::Zero`], [`OperationSetError::Order`] and
    /// [`OperationSetError::ColumnsOfCheck`].
    pub fn new(operations: Vec<Operation>) -> Result<Self, OperationSetError> {
        if !(1..=OPERATIONS_MAX).contains(&operations.len()) {
            return Err(OperationSetError::Count(operations.len()));
        }
        let mut previous = 0;
        for Operation { number, columns, check } in &operations {
            let (number, needed) = (*number, check.columns_needed());
            match number {
                0 => return Err(OperationSetError::Zero),
                number if number <= previous => return Err(OperationSetError::Order(number)),
                number => previous = number,
            }
            if !columns.contain(needed) {
                let (bits, needed) = (columns.bits(), needed.bits());
                return Err(OperationSetError::ColumnsOfCheck { number, bits, needed });
            }
        }
        let mut engine = sha256::Hash::engine();
        engine.input(HASH_TAG);
        engine.input(&encode(&operations));
        let hash = OperationsHash(sha256::Hash::from_engine(engine).to_byte_array());
        Ok(Self { operations, hash })
    }

    /// What names the set in a circuit's identity.
    pub fn hash(&self) -> OperationsHash {
        self.hash
    }

    /// The operations, in ascending order of their numbers.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The operation of a number, if it is in the set.
    pub fn get(&self, number: u8) -> Option<&Operation> {
        let found = self.operations.binary_search_by_key(&number, |operation| operation.number);
        found.ok().map(|position| &self.operations[position])
    }

    /// Whether the set has an operation whose records need a check.
    pub fn has_check(&self, check: Check) -> bool {
        self.operations.iter().any(|operation| operation.check == check)
    }

    /// The least and the most bytes that a record takes.
    pub fn record_lengths(&self) -> (usize, usize) {
        let lengths = || self.operations.iter().map(Operation::record_length);
        (lengths().min().unwrap_or(0), lengths().max().unwrap_or(0))
    }

    /// Encodes the number of operations (1 byte), then for each, in ascending order, its number, the bits of its
    /// columns and the number of its check, a byte each.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(&self.operations)
    }

    /// Decodes what [`OperationSet::to_bytes`] encodes from the start of some bytes, and gives the rest of them.
    ///
    /// # Errors
    /// Each of [`OperationSetError`].
    pub fn from_start(bytes: &[u8]) -> Result<(Self, &[u8]), OperationSetError> {
        let (count, rest) = bytes.split_first().ok_or(OperationSetError::Length)?;
        let count = usize::from(*count);
        if !(1..=OPERATIONS_MAX).contains(&count) {
            return Err(OperationSetError::Count(count));
        }
        let (entries, rest) = rest.split_at_checked(count * OPERATION_LENGTH).ok_or(OperationSetError::Length)?;
        let (entries, _) = entries.as_chunks::<OPERATION_LENGTH>();
        let operation = |[number, bits, check]: &[u8; OPERATION_LENGTH]| {
            let (number, bits, check) = (*number, *bits, *check);
            let columns = Columns::from_bits(bits).ok_or(OperationSetError::Columns { number, bits })?;
            let check = Check::from_number(check).ok_or(OperationSetError::Check { number, check })?;
            Ok(Operation { number, columns, check })
        };
        let operations = entries.iter().map(operation).collect::<Result<Vec<_>, OperationSetError>>()?;
        Ok((Self::new(operations)?, rest))
    }
}

fn encode(operations: &[Operation]) -> Vec<u8> {
    let entries = operations.iter().flat_map(|Operation { number, columns, check }| [*number, columns.0, *check as u8]);
    core::iter::once(operations.len() as u8).chain(entries).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A claim, a report of a feed, a header fact, one that a cell has once a block, and others without a check.
    pub(crate) fn example_set() -> OperationSet {
        let operation = |number, columns, check| Operation { number, columns, check };
        let claim = Columns::CELL.and(Columns::C).and(Columns::WORD);
        let fact = Columns::CELL.and(Columns::A).and(Columns::B).and(Columns::C);
        OperationSet::new(alloc::vec![
            operation(1, Columns::ALL, Check::None),
            operation(7, claim, Check::Claim),
            operation(8, fact.and(Columns::WORD), Check::Feed),
            operation(9, fact, Check::Header),
            operation(10, Columns::CELL.and(Columns::A), Check::OncePerBlock),
            operation(255, Columns::default(), Check::None),
        ])
        .expect("a valid set")
    }

    #[test]
    fn sets_round_trip_and_their_hash_is_that_of_tag_and_encoding() {
        let set = example_set();
        let bytes = set.to_bytes();
        assert_eq!(bytes, [6, 1, 0x3f, 0, 7, 0x32, 1, 8, 0x3e, 2, 9, 0x1e, 3, 10, 0x06, 4, 255, 0, 0]);
        let longer = [bytes.as_slice(), &[9, 9]].concat();
        assert_eq!(OperationSet::from_start(&longer), Ok((set.clone(), &[9, 9][..])));
        let input = [b"taproof/operations/v1".as_slice(), &bytes].concat();
        assert_eq!(set.hash().to_byte_array(), sha256::Hash::hash(&input).to_byte_array());
        for length in 0..bytes.len() {
            assert_eq!(OperationSet::from_start(&bytes[..length]), Err(OperationSetError::Length), "{length}");
        }
        assert_eq!(set.record_lengths(), (1, 1 + 60 + 96));
        assert_eq!((set.get(8).map(|operation| operation.number), set.get(2)), (Some(8), None));
    }

    #[test]
    fn what_is_no_set_is_refused() {
        let with = |offset: usize, value: u8| {
            let mut bytes = example_set().to_bytes();
            bytes[offset] = value;
            OperationSet::from_start(&bytes).map(drop)
        };
        assert_eq!(with(0, 0), Err(OperationSetError::Count(0)));
        assert_eq!(with(0, 65), Err(OperationSetError::Count(65)));
        assert_eq!(with(1, 0), Err(OperationSetError::Zero));
        assert_eq!(with(4, 1), Err(OperationSetError::Order(1)));
        assert_eq!(with(1, 8), Err(OperationSetError::Order(7)));
        assert_eq!(with(2, 0x40), Err(OperationSetError::Columns { number: 1, bits: 0x40 }));
        assert_eq!(with(2, 0x80), Err(OperationSetError::Columns { number: 1, bits: 0x80 }));
        assert_eq!(with(3, 5), Err(OperationSetError::Check { number: 1, check: 5 }));
        assert_eq!(with(14, 4), Err(OperationSetError::ColumnsOfCheck { number: 10, bits: 4, needed: 2 }));
        assert_eq!(OperationSet::new(Vec::new()), Err(OperationSetError::Count(0)));
        let many = (1..=65).map(|number| Operation { number, columns: Columns::ALL, check: Check::None });
        assert_eq!(OperationSet::new(many.collect()), Err(OperationSetError::Count(65)));
    }

    #[test]
    fn a_claim_posts_what_opens_a_lock() {
        let needed = Columns::CELL.and(Columns::C).and(Columns::WORD);
        for column in Columns::EACH {
            let bits = Columns::ALL.bits() & !column.bits();
            let columns = Columns::from_bits(bits).expect("bits of columns");
            let set = OperationSet::new(alloc::vec![Operation { number: 7, columns, check: Check::Claim }]);
            if needed.contain(column) {
                let error = OperationSetError::ColumnsOfCheck { number: 7, bits, needed: 0x32 };
                assert_eq!(set, Err(error));
                assert_eq!(OperationSet::from_start(&[1, 7, bits, 1]), Err(error), "nor is there one in a file");
            } else {
                assert!(set.is_ok_and(|set| set.has_check(Check::Claim) && !set.has_check(Check::Feed)));
            }
        }
    }

    #[test]
    fn columns_have_their_lengths() {
        let lengths = Columns::EACH.map(Columns::length);
        assert_eq!(lengths, [1, 4, 8, 8, 8, 32]);
        assert_eq!(Columns::ALL.length(), lengths.iter().sum::<usize>());
        assert_eq!(Columns::EACH.into_iter().fold(Columns::default(), Columns::and), Columns::ALL);
    }
}
