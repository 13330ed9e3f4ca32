//! What steps post: the columns and the evidence that the table of their operations says.

use super::{Kind, Record};
use crate::{
    cell::CellIndex,
    field::pack,
    operation::{Check, Columns, OperationSet},
};
use alloc::{sync::Arc, vec::Vec};
use ark_bn254::Fr;
use ark_ff::AdditiveGroup;

/// Bytes that a step posts beside what its circuit sees, for the verifier to check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case", deny_unknown_fields))]
#[non_exhaustive]
pub enum Evidence {
    /// None.
    #[default]
    None,
    /// The secret that opens a lock.
    Claim(#[cfg_attr(feature = "serde", serde(with = "crate::serde_form::byte_array"))] [u8; 32]),
    /// The report of a feed.
    Feed {
        /// The feed's BIP-340 key.
        #[cfg_attr(feature = "serde", serde(with = "crate::serde_form::byte_array"))]
        key: [u8; 32],
        /// Its signature.
        #[cfg_attr(feature = "serde", serde(with = "crate::serde_form::byte_array"))]
        signature: [u8; 64],
    },
    /// A Bitcoin header.
    Header(#[cfg_attr(feature = "serde", serde(with = "crate::serde_form::byte_array"))] [u8; 80]),
}

impl Evidence {
    /// Whether it is what a check needs.
    pub fn is_for(&self, check: Check) -> bool {
        match check {
            Check::None | Check::OncePerBlock => *self == Self::None,
            Check::Claim => matches!(self, Self::Claim(_)),
            Check::Feed => matches!(self, Self::Feed { .. }),
            Check::Header => matches!(self, Self::Header(_)),
        }
    }

    /// Appends its [`Check::evidence_length`] bytes: of a feed the key, then the signature.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::None => (),
            Self::Claim(secret) => out.extend(secret),
            Self::Feed { key, signature } => {
                out.extend(key);
                out.extend(signature);
            }
            Self::Header(header) => out.extend(header),
        }
    }

    /// Reads what [`Evidence::write`] appends for a check from the start of some bytes, and gives the rest of them;
    /// `None` if there are too few.
    pub fn read(check: Check, bytes: &[u8]) -> Option<(Self, &[u8])> {
        match check {
            Check::None | Check::OncePerBlock => Some((Self::None, bytes)),
            Check::Claim => bytes.split_first_chunk().map(|(secret, rest)| (Self::Claim(*secret), rest)),
            Check::Feed => {
                let (key, rest) = bytes.split_first_chunk()?;
                let (signature, rest) = rest.split_first_chunk()?;
                Some((Self::Feed { key: *key, signature: *signature }, rest))
            }
            Check::Header => bytes.split_first_chunk().map(|(header, rest)| (Self::Header(*header), rest)),
        }
    }
}

/// An operation on a cell. What its operation does not post is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct StepRecord {
    /// The number of the operation, from 1.
    pub operation: u8,
    /// What the operation makes of these bits.
    pub flags: u8,
    /// The cell that the step changes.
    pub cell: CellIndex,
    /// The first number.
    pub a: u64,
    /// The second number.
    pub b: u64,
    /// The third number.
    pub c: u64,
    /// An element: a hash, a key, a digest of terms.
    #[cfg_attr(feature = "serde", serde(with = "crate::serde_form::element"))]
    pub word: Fr,
    /// What the verifier checks; no part of the elements, and bound to the record by the check alone.
    pub evidence: Evidence,
}

impl StepRecord {
    /// A record of zeros of an operation.
    pub fn new(operation: u8) -> Self {
        let cell = CellIndex::default();
        Self { operation, flags: 0, cell, a: 0, b: 0, c: 0, word: Fr::ZERO, evidence: Evidence::None }
    }

    /// The columns that are not zero.
    pub fn columns_used(&self) -> Columns {
        let used = [
            (self.flags != 0, Columns::FLAGS),
            (self.cell != CellIndex::default(), Columns::CELL),
            (self.a != 0, Columns::A),
            (self.b != 0, Columns::B),
            (self.c != 0, Columns::C),
            (self.word != Fr::ZERO, Columns::WORD),
        ];
        used.into_iter().filter(|(used, _)| *used).fold(Columns::default(), |all, (_, column)| all.and(column))
    }
}

impl Record for StepRecord {
    const KIND: Kind = Kind::Step;

    /// Packs 1 (1 bit), operation (8), flags (8), cell (32), a (64), b (64), c (64); then the word.
    fn write_elements(&self, out: &mut Vec<Fr>) {
        let Self { operation, flags, cell, a, b, c, word, .. } = *self;
        let parts =
            [(1, 1), (operation.into(), 8), (flags.into(), 8), (cell.get().into(), 32), (a, 64), (b, 64), (c, 64)];
        out.extend([pack(parts), word]);
    }
}

/// Why records are none of a set of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// No operation of the set has this number.
    #[error("step {position} is of operation {operation}, which is none of its circuit's")]
    UnknownOperation {
        /// The position of the record.
        position: usize,
        /// The number found.
        operation: u8,
    },
    /// A record holds something that its operation does not post.
    #[error("step {position} holds what its operation does not post")]
    NotPosted {
        /// The position of the record.
        position: usize,
    },
    /// A record has other evidence than its operation's check needs.
    #[error("step {position} has other evidence than its operation needs")]
    Evidence {
        /// The position of the record.
        position: usize,
    },
}

/// The records of a chunk of steps, with the operations that they are of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRecords {
    operations: Arc<OperationSet>,
    records: Vec<StepRecord>,
}

impl StepRecords {
    /// Checks that each record is of an operation of the set, and posts what that says.
    ///
    /// # Errors
    /// Each of [`StepError`].
    pub fn new(operations: Arc<OperationSet>, records: Vec<StepRecord>) -> Result<Self, StepError> {
        for (position, record) in records.iter().enumerate() {
            let operation = record.operation;
            let known = operations.get(operation).ok_or(StepError::UnknownOperation { position, operation })?;
            if !known.columns.contain(record.columns_used()) {
                return Err(StepError::NotPosted { position });
            }
            if !record.evidence.is_for(known.check) {
                return Err(StepError::Evidence { position });
            }
        }
        Ok(Self { operations, records })
    }

    /// The set of operations.
    pub fn operations(&self) -> &Arc<OperationSet> {
        &self.operations
    }

    /// The records, in order.
    pub fn records(&self) -> &[StepRecord] {
        &self.records
    }

    /// The check that a record needs.
    pub fn check_of(&self, record: &StepRecord) -> Check {
        self.operations.get(record.operation).map_or(Check::None, |operation| operation.check)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for StepRecords {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&*self.operations, &self.records).serialize(serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for StepRecords {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (operations, records): (OperationSet, _) = serde::Deserialize::deserialize(deserializer)?;
        Self::new(Arc::new(operations), records).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{operation::tests::example_set, record::Records};

    /// One record of each operation of the example, all that is posted different from zero.
    pub(crate) fn example_records() -> Vec<StepRecord> {
        let cell = CellIndex::new(70).expect("a small index");
        let word = Fr::from(11u64);
        let (feed, header) = (Evidence::Feed { key: [1; 32], signature: [2; 64] }, Evidence::Header([3; 80]));
        alloc::vec![
            StepRecord { flags: 3, cell, a: 4, b: 5, c: u64::MAX, word, ..StepRecord::new(1) },
            StepRecord { cell, c: 6, word, evidence: Evidence::Claim([4; 32]), ..StepRecord::new(7) },
            StepRecord { cell, a: 7, b: 8, c: 9, word, evidence: feed, ..StepRecord::new(8) },
            StepRecord { cell, a: 10, b: 1, c: 12, evidence: header, ..StepRecord::new(9) },
            StepRecord { cell, a: 13, ..StepRecord::new(10) },
            StepRecord::new(255),
        ]
    }

    #[test]
    fn records_are_those_of_their_operations() {
        let set = Arc::new(example_set());
        let new = |records: Vec<StepRecord>| StepRecords::new(set.clone(), records).map(drop);
        assert_eq!(new(example_records()), Ok(()));
        let unknown = StepError::UnknownOperation { position: 1, operation: 2 };
        assert_eq!(new(alloc::vec![StepRecord::new(255), StepRecord::new(2)]), Err(unknown));
        let position = 0;
        // The last operation posts nothing.
        let [full, ..] = example_records()[..] else { panic!("five records") };
        let none = StepRecord::new(255);
        let too_much = [
            StepRecord { flags: full.flags, ..none },
            StepRecord { cell: full.cell, ..none },
            StepRecord { a: full.a, ..none },
            StepRecord { b: full.b, ..none },
            StepRecord { c: full.c, ..none },
            StepRecord { word: full.word, ..none },
        ];
        for record in too_much {
            assert_eq!(new(alloc::vec![record]), Err(StepError::NotPosted { position }));
        }
        for record in example_records() {
            let is_other =
                |other: &&StepRecord| !other.evidence.is_for(set.get(record.operation).expect("known").check);
            for other in example_records().iter().filter(is_other) {
                let wrong = StepRecord { evidence: other.evidence, ..record };
                assert_eq!(new(alloc::vec![wrong]), Err(StepError::Evidence { position }));
            }
        }
    }

    /// The layout that docs/protocol.md gives.
    #[test]
    fn elements_pack_the_record_from_the_low_end() {
        use ark_ff::Field;
        let mut elements = Vec::new();
        example_records()[0].write_elements(&mut elements);
        let shifted = |value: u64, bits: u64| Fr::from(value) * Fr::from(2u64).pow([bits]);
        let parts = [(1, 0), (1, 1), (3, 9), (70, 17), (4, 49), (5, 113), (u64::MAX, 177)];
        let packed: Fr = parts.into_iter().map(|(value, bits)| shifted(value, bits)).sum();
        assert_eq!(elements, [packed, Fr::from(11u64)]);
    }

    #[test]
    fn each_part_of_a_record_but_its_evidence_changes_the_digest() {
        let set = Arc::new(example_set());
        let digest = |record: StepRecord| {
            let records = StepRecords::new(set.clone(), alloc::vec![record]).expect("records of the set");
            Records::Step(records).digest(2).expect("one record")
        };
        let base = StepRecord::new(1);
        let variants = [
            base,
            StepRecord::new(255),
            StepRecord { flags: 1, ..base },
            StepRecord { cell: CellIndex::new(1).expect("a small index"), ..base },
            StepRecord { a: 1, ..base },
            StepRecord { b: 1, ..base },
            StepRecord { c: 1, ..base },
            StepRecord { word: Fr::from(1u64), ..base },
        ];
        let digests: std::collections::HashSet<_> = variants.into_iter().map(digest).collect();
        assert_eq!(digests.len(), variants.len());
        let claim = |secret| StepRecord { evidence: Evidence::Claim([secret; 32]), ..StepRecord::new(7) };
        assert_eq!(digest(claim(1)), digest(claim(2)));
    }

    #[test]
    fn evidence_is_read_as_it_is_written() {
        for record in example_records() {
            let mut bytes = Vec::new();
            record.evidence.write(&mut bytes);
            let check = example_set().get(record.operation).expect("of the set").check;
            assert_eq!(bytes.len(), check.evidence_length());
            for length in 0..bytes.len() {
                assert_eq!(Evidence::read(check, &bytes[..length]), None);
            }
            bytes.push(9);
            assert_eq!(Evidence::read(check, &bytes), Some((record.evidence, &[9][..])));
        }
    }
}
