//! The public records of a batch as bytes: column by column, then one raw DEFLATE stream.
//!
//! All records of a kind share their columns, whatever chunk they are in, and the kinds follow each other in the
//! order of their numbers. A column of integers is stored in planes: the lowest byte of every value, then the second
//! byte of every value, and so on. The upper planes are nearly constant and cost almost nothing once compressed,
//! while the lower ones hold little but what is really random. Accounts that pay stand as differences, because one
//! account's payments tend to follow each other; an operator may order transfers by payer to make more of it.
//!
//! Every value has a fixed width, so the numbers of records determine the length of the columns of payments; that of
//! steps follows from their column of operations. Every list of records has exactly one encoding before compression.

use crate::{
    baby_jubjub::{KeyError, PublicKey},
    cell::CellIndex,
    field::NotCanonicalError,
    operation::OperationSet,
    parallel,
    record::{DepositRecord, Destination, Kind, OpenRecord, Records, TransferRecord, WithdrawRecord},
};
use alloc::{boxed::Box, collections::BTreeMap, sync::Arc, vec::Vec};
use miniz_oxide::{
    deflate::compress_to_vec,
    inflate::{
        TINFLStatus,
        core::{DecompressorOxide, decompress, inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF},
    },
};

mod steps;

/// How hard the encoder compresses; a decoder accepts any stream.
const COMPRESSION_LEVEL: u8 = 10;
/// The fewest keys that are worth a thread.
const KEYS_MIN: usize = 16;
/// The part of a destination's program that each has; only some go on.
const PROGRAM_HEAD_LENGTH: usize = 20;
/// The part of a destination's program beyond the head, zeros where there is none.
const PROGRAM_TAIL_LENGTH: usize = 12;

/// Why bytes are no columns of the announced records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The columns have another length than their records need.
    #[error("{found} bytes of columns, where the records need {expected}")]
    Length {
        /// The length found or announced.
        found: usize,
        /// The length that the records need.
        expected: usize,
    },
    /// The columns are shorter or longer than those of any steps of as many.
    #[error("{found} bytes of columns, where the records need {min} to {max}")]
    LengthOutOfRange {
        /// The length found or announced.
        found: usize,
        /// The least that the records can need.
        min: usize,
        /// The most that they can need.
        max: usize,
    },
    /// A step is of an operation that is none of its circuit's.
    #[error("step {position} of the payload is of operation {operation}, which is none of its circuit's")]
    Operation {
        /// Its position among all steps of the payload.
        position: usize,
        /// The number found.
        operation: u8,
    },
    /// A word is not below the order of the field.
    #[error("a word: {0}")]
    Word(#[from] NotCanonicalError),
    /// A cell's index is 2^30 or more.
    #[error("cell index {0} is not below 2^30")]
    Index(u32),
    /// An owner's key is invalid.
    #[error("an owner's key: {0}")]
    Owner(#[from] KeyError),
    /// No type of destination has this number.
    #[error("no type of destination has number {0}")]
    Destination(u8),
    /// A destination of 20 bytes is followed by others than zeros.
    #[error("a program of 20 bytes is not followed by zeros")]
    DestinationPadding,
    /// The compressed stream is malformed, holds another number of bytes than announced, or is followed by others.
    #[error("the compressed stream does not hold exactly the announced number of bytes")]
    Stream,
}

/// The records of one chunk as they are counted before they are read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layout {
    /// So many deposits.
    Deposit(u16),
    /// So many transfers.
    Transfer(u16),
    /// So many openings.
    Open(u16),
    /// So many withdrawals.
    Withdraw(u16),
    /// So many steps, of these operations.
    Step(u16, Arc<OperationSet>),
}

impl Layout {
    /// That of payments of a kind; `None` for steps.
    pub fn payments(kind: Kind, count: u16) -> Option<Self> {
        match kind {
            Kind::Deposit => Some(Self::Deposit(count)),
            Kind::Transfer => Some(Self::Transfer(count)),
            Kind::Open => Some(Self::Open(count)),
            Kind::Withdraw => Some(Self::Withdraw(count)),
            Kind::Step => None,
        }
    }

    /// How many records there are.
    pub fn count(&self) -> usize {
        match self {
            Self::Deposit(count) | Self::Transfer(count) | Self::Open(count) | Self::Withdraw(count) => (*count).into(),
            Self::Step(count, _) => (*count).into(),
        }
    }

    /// The least and the most bytes that a record takes in the columns.
    pub fn record_lengths(&self) -> (usize, usize) {
        let length = match self {
            Self::Deposit(_) => 4 + 8 + 32,
            Self::Transfer(_) => 4 + 4 + 8 + 8,
            Self::Open(_) => 4 + 4 + 8 + 8 + 32,
            Self::Withdraw(_) => 4 + 8 + 8 + 1 + PROGRAM_HEAD_LENGTH + PROGRAM_TAIL_LENGTH,
            Self::Step(_, operations) => return operations.record_lengths(),
        };
        (length, length)
    }
}

/// Writes the columns of all chunks' records.
pub fn columns(chunks: &[&Records]) -> Vec<u8> {
    let (mut deposits, mut transfers) = (Vec::new(), Vec::new());
    let (mut opens, mut withdraws) = (Vec::new(), Vec::new());
    let mut steps = Vec::new();
    for records in chunks {
        match records {
            Records::Deposit(records) => deposits.extend(records),
            Records::Transfer(records) => transfers.extend(records),
            Records::Open(records) => opens.extend(records),
            Records::Withdraw(records) => withdraws.extend(records),
            Records::Step(records) => steps.push(records),
        }
    }
    let mut out = Vec::new();
    write_deposits(&deposits, &mut out);
    write_transfers(&transfers, &mut out);
    write_opens(&opens, &mut out);
    write_withdraws(&withdraws, &mut out);
    steps::write(&steps, &mut out);
    out
}

/// Reads what [`columns`] writes, given the layout of every chunk.
///
/// # Errors
/// Each of [`CodecError`] but [`CodecError::Stream`].
pub fn from_columns(chunks: &[Layout], bytes: &[u8]) -> Result<Vec<Records>, CodecError> {
    check_length(chunks, bytes.len())?;
    let mut reader = Reader { bytes };
    let total = |of: fn(&Layout) -> bool| chunks.iter().filter(|layout| of(layout)).map(Layout::count).sum();
    let mut deposits = read_deposits(total(|layout| matches!(layout, Layout::Deposit(_))), &mut reader)?.into_iter();
    let mut transfers = read_transfers(total(|layout| matches!(layout, Layout::Transfer(_))), &mut reader)?.into_iter();
    let mut opens = read_opens(total(|layout| matches!(layout, Layout::Open(_))), &mut reader)?.into_iter();
    let mut withdraws = read_withdraws(total(|layout| matches!(layout, Layout::Withdraw(_))), &mut reader)?.into_iter();
    let mut steps = steps::read(chunks, &mut reader)?.into_iter();
    let records = |layout: &Layout| match layout {
        Layout::Deposit(count) => Records::Deposit(deposits.by_ref().take((*count).into()).collect()),
        Layout::Transfer(count) => Records::Transfer(transfers.by_ref().take((*count).into()).collect()),
        Layout::Open(count) => Records::Open(opens.by_ref().take((*count).into()).collect()),
        Layout::Withdraw(count) => Records::Withdraw(withdraws.by_ref().take((*count).into()).collect()),
        Layout::Step(..) => Records::Step(steps.next().expect("as many chunks of steps as were read")),
    };
    Ok(chunks.iter().map(records).collect())
}

/// Checks that columns have a length that their records can need; that of payments alone is the one that they need.
///
/// # Errors
/// [`CodecError::Length`] and [`CodecError::LengthOutOfRange`].
pub fn check_length(chunks: &[Layout], found: usize) -> Result<(), CodecError> {
    let (min, max) = chunks.iter().fold((0, 0), |(min, max), layout| {
        let (least, most) = layout.record_lengths();
        (min + layout.count() * least, max + layout.count() * most)
    });
    match (min..=max).contains(&found) {
        true => Ok(()),
        false if min == max => Err(CodecError::Length { found, expected: min }),
        false => Err(CodecError::LengthOutOfRange { found, min, max }),
    }
}

/// Compresses columns to a raw DEFLATE stream (RFC 1951).
pub fn deflate(columns: &[u8]) -> Vec<u8> {
    compress_to_vec(columns, COMPRESSION_LEVEL)
}

/// Decompresses a stream that must hold exactly `length` bytes and nothing after its last block. No more than
/// `length` bytes are ever written, so the caller's bound on `length` is a bound on what the stream can do.
///
/// # Errors
/// [`CodecError::Stream`].
pub fn inflate(stream: &[u8], length: usize) -> Result<Vec<u8>, CodecError> {
    let mut out = alloc::vec![0; length];
    let mut state = Box::<DecompressorOxide>::default();
    let (status, read, written) = decompress(&mut state, stream, &mut out, 0, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF);
    if status != TINFLStatus::Done || read != stream.len() || written != length {
        return Err(CodecError::Stream);
    }
    Ok(out)
}

fn write_deposits(records: &[DepositRecord], out: &mut Vec<u8>) {
    write_planes(records, |record| record.to.get().to_le_bytes(), out);
    write_planes(records, |record| record.amount_sat.to_le_bytes(), out);
    records.iter().for_each(|record| out.extend(record.owner.to_bytes()));
}

fn read_deposits(count: usize, reader: &mut Reader<'_>) -> Result<Vec<DepositRecord>, CodecError> {
    let to = reader.indices(count)?;
    let amount = reader.amounts(count);
    let owner = reader.owners(count)?;
    let record = |i: usize| DepositRecord { to: to[i], amount_sat: amount[i], owner: owner[i] };
    Ok((0..count).map(record).collect())
}

fn write_transfers(records: &[TransferRecord], out: &mut Vec<u8>) {
    write_planes(&differences(records.iter().map(|record| record.from)), |difference| *difference, out);
    write_planes(records, |record| record.to.get().to_le_bytes(), out);
    write_planes(records, |record| record.amount.to_le_bytes(), out);
    write_planes(records, |record| record.fee.to_le_bytes(), out);
}

fn read_transfers(count: usize, reader: &mut Reader<'_>) -> Result<Vec<TransferRecord>, CodecError> {
    let from = reader.indices_by_difference(count)?;
    let to = reader.indices(count)?;
    let (amount, fee) = (reader.amounts(count), reader.amounts(count));
    let record = |i: usize| TransferRecord { from: from[i], to: to[i], amount: amount[i], fee: fee[i] };
    Ok((0..count).map(record).collect())
}

fn write_opens(records: &[OpenRecord], out: &mut Vec<u8>) {
    write_planes(&differences(records.iter().map(|record| record.from)), |difference| *difference, out);
    write_planes(records, |record| record.to.get().to_le_bytes(), out);
    write_planes(records, |record| record.amount.to_le_bytes(), out);
    write_planes(records, |record| record.fee.to_le_bytes(), out);
    records.iter().for_each(|record| out.extend(record.owner.to_bytes()));
}

fn read_opens(count: usize, reader: &mut Reader<'_>) -> Result<Vec<OpenRecord>, CodecError> {
    let from = reader.indices_by_difference(count)?;
    let to = reader.indices(count)?;
    let (amount, fee) = (reader.amounts(count), reader.amounts(count));
    let owner = reader.owners(count)?;
    let record = |i: usize| OpenRecord { from: from[i], to: to[i], amount: amount[i], fee: fee[i], owner: owner[i] };
    Ok((0..count).map(record).collect())
}

fn write_withdraws(records: &[WithdrawRecord], out: &mut Vec<u8>) {
    write_planes(&differences(records.iter().map(|record| record.from)), |difference| *difference, out);
    write_planes(records, |record| record.amount.to_le_bytes(), out);
    write_planes(records, |record| record.fee.to_le_bytes(), out);
    records.iter().for_each(|record| out.push(record.destination.number()));
    records.iter().for_each(|record| out.extend(&record.destination.program()[..PROGRAM_HEAD_LENGTH]));
    for record in records {
        let mut tail = [0; PROGRAM_TAIL_LENGTH];
        let program_tail = &record.destination.program()[PROGRAM_HEAD_LENGTH..];
        tail[..program_tail.len()].copy_from_slice(program_tail);
        out.extend(tail);
    }
}

fn read_withdraws(count: usize, reader: &mut Reader<'_>) -> Result<Vec<WithdrawRecord>, CodecError> {
    let from = reader.indices_by_difference(count)?;
    let (amount, fee) = (reader.amounts(count), reader.amounts(count));
    let numbers = reader.rows::<1>(count);
    let heads = reader.rows::<PROGRAM_HEAD_LENGTH>(count);
    let tails = reader.rows::<PROGRAM_TAIL_LENGTH>(count);
    let record = |i: usize| {
        let destination = read_destination(numbers[i][0], &heads[i], &tails[i])?;
        Ok(WithdrawRecord { from: from[i], amount: amount[i], fee: fee[i], destination })
    };
    (0..count).map(record).collect()
}

fn read_destination(
    number: u8,
    head: &[u8; PROGRAM_HEAD_LENGTH],
    tail: &[u8; PROGRAM_TAIL_LENGTH],
) -> Result<Destination, CodecError> {
    let mut program = [0; PROGRAM_HEAD_LENGTH + PROGRAM_TAIL_LENGTH];
    program[..PROGRAM_HEAD_LENGTH].copy_from_slice(head);
    program[PROGRAM_HEAD_LENGTH..].copy_from_slice(tail);
    let unknown = CodecError::Destination(number);
    let (program, rest) =
        Destination::program_length(number).and_then(|length| program.split_at_checked(length)).ok_or(unknown)?;
    if rest.iter().any(|byte| *byte != 0) {
        return Err(CodecError::DestinationPadding);
    }
    Destination::new(number, program).ok_or(unknown)
}

/// Writes the first byte of every value, then the second byte of every value, and so on.
fn write_planes<T, const N: usize>(values: &[T], bytes: impl Fn(&T) -> [u8; N], out: &mut Vec<u8>) {
    for plane in 0..N {
        out.extend(values.iter().map(|value| bytes(value)[plane]));
    }
}

/// Each index less the one before it, the first less zero, modulo 2^32; folded so that small differences of either
/// sign are small integers: d to 2 d, and -d to 2 d - 1.
fn differences(indices: impl Iterator<Item = CellIndex>) -> Vec<[u8; 4]> {
    let mut previous = 0u32;
    let difference = |index: CellIndex| {
        let difference = index.get().wrapping_sub(previous) as i32;
        previous = index.get();
        ((difference << 1) ^ (difference >> 31)).to_le_bytes()
    };
    indices.map(difference).collect()
}

/// What is left of columns whose length has been found right.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn rows<const N: usize>(&mut self, count: usize) -> &'a [[u8; N]] {
        let (rows, rest) = self.bytes.split_at(count * N);
        self.bytes = rest;
        rows.as_chunks().0
    }

    fn planes<const N: usize>(&mut self, count: usize) -> Vec<[u8; N]> {
        let mut values = alloc::vec![[0; N]; count];
        for plane in 0..N {
            for (value, [byte]) in values.iter_mut().zip(self.rows(count)) {
                value[plane] = *byte;
            }
        }
        values
    }

    /// Some bytes.
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.bytes.split_at(length);
        self.bytes = rest;
        taken
    }

    fn amounts(&mut self, count: usize) -> Vec<u64> {
        self.planes(count).into_iter().map(u64::from_le_bytes).collect()
    }

    fn indices(&mut self, count: usize) -> Result<Vec<CellIndex>, CodecError> {
        self.planes(count).into_iter().map(|bytes| read_index(u32::from_le_bytes(bytes))).collect()
    }

    /// Reads what [`differences`] returns.
    fn indices_by_difference(&mut self, count: usize) -> Result<Vec<CellIndex>, CodecError> {
        let mut previous = 0u32;
        let index = |bytes: [u8; 4]| {
            let folded = u32::from_le_bytes(bytes);
            let difference = (folded >> 1) ^ (folded & 1).wrapping_neg();
            previous = previous.wrapping_add(difference);
            read_index(previous)
        };
        self.planes(count).into_iter().map(index).collect()
    }

    fn owners(&mut self, count: usize) -> Result<Vec<PublicKey>, CodecError> {
        Ok(each_once(self.rows(count), PublicKey::from_bytes)?)
    }
}

/// What `read` makes of each row, in order, or the first error in that order. Rows that are alike compress to next to
/// nothing, and to read a key takes a thousand times as long as to find it again, so what is alike is read once.
fn each_once<T: Copy + Send, E: Copy + Send>(
    rows: &[[u8; 32]],
    read: impl Fn(&[u8; 32]) -> Result<T, E> + Sync,
) -> Result<Vec<T>, E> {
    let mut distinct: Vec<&[u8; 32]> = rows.iter().collect();
    distinct.sort_unstable();
    distinct.dedup();
    let made = parallel::map(&distinct, KEYS_MIN, |row| read(row));
    let known: BTreeMap<_, _> = distinct.into_iter().zip(made).collect();
    rows.iter().map(|row| known[row]).collect()
}

fn read_index(index: u32) -> Result<CellIndex, CodecError> {
    CellIndex::new(index).ok_or(CodecError::Index(index))
}

#[cfg(test)]
pub(crate) mod tests;
