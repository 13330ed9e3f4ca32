//! The public records of a batch as bytes: column by column, then one raw DEFLATE stream.
//!
//! All records of a kind share their columns, whatever chunk they are in, because values of one column resemble
//! each other more than the values of one record do. The kinds follow each other in the order of their numbers.

use crate::{
    baby_jubjub::{KeyError, PublicKey},
    cell::CellIndex,
    record::{DepositRecord, Destination, Kind, OpenRecord, Records, TransferRecord, WithdrawRecord},
};
use alloc::{boxed::Box, vec::Vec};
use miniz_oxide::{
    deflate::compress_to_vec,
    inflate::{
        TINFLStatus,
        core::{DecompressorOxide, decompress, inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF},
    },
};

/// The most bytes that the columns of one payload can have.
pub const COLUMNS_LENGTH_MAX: usize = 1 << 23;
/// How hard the encoder compresses; a decoder accepts any stream.
const COMPRESSION_LEVEL: u8 = 10;

/// Why bytes are no columns of the announced records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The columns end early.
    #[error("the columns end early")]
    Truncated,
    /// The columns go on after the last value.
    #[error("{0} bytes follow the last column")]
    TrailingBytes(usize),
    /// An integer has leading zero groups, so that it has a shorter encoding, or more than 64 bits.
    #[error("an integer is not encoded in the one shortest way")]
    Integer,
    /// A cell's index is 2^30 or more.
    #[error("cell index {0} is not below 2^30")]
    Index(u64),
    /// An owner's key is invalid.
    #[error("an owner's key: {0}")]
    Owner(#[from] KeyError),
    /// No type of destination has this number.
    #[error("no type of destination has number {0}")]
    Destination(u8),
    /// The columns are longer than a payload may hold.
    #[error("{0} bytes of columns, more than {COLUMNS_LENGTH_MAX}")]
    TooLong(usize),
    /// The compressed stream is malformed, holds another number of bytes than announced, or is followed by others.
    #[error("the compressed stream does not hold exactly the announced number of bytes")]
    Stream,
}

/// Writes the columns of all chunks' records.
pub fn columns(chunks: &[&Records]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut deposits = Vec::new();
    let mut transfers = Vec::new();
    let mut opens = Vec::new();
    let mut withdraws = Vec::new();
    for records in chunks {
        match records {
            Records::Deposit(records) => deposits.extend(records),
            Records::Transfer(records) => transfers.extend(records),
            Records::Open(records) => opens.extend(records),
            Records::Withdraw(records) => withdraws.extend(records),
        }
    }
    write_deposits(&deposits, &mut out);
    write_transfers(&transfers, &mut out);
    write_opens(&opens, &mut out);
    write_withdraws(&withdraws, &mut out);
    out
}

/// Reads what [`columns`] writes, given the kind and the number of records of every chunk.
///
/// # Errors
/// Each of [`CodecError`] but [`CodecError::TooLong`] and [`CodecError::Stream`].
pub fn from_columns(chunks: &[(Kind, u16)], bytes: &[u8]) -> Result<Vec<Records>, CodecError> {
    let mut reader = Reader { bytes };
    let count = |kind| chunks.iter().filter(|(k, _)| *k == kind).map(|(_, count)| usize::from(*count)).sum::<usize>();
    let mut deposits = read_deposits(count(Kind::Deposit), &mut reader)?.into_iter();
    let mut transfers = read_transfers(count(Kind::Transfer), &mut reader)?.into_iter();
    let mut opens = read_opens(count(Kind::Open), &mut reader)?.into_iter();
    let mut withdraws = read_withdraws(count(Kind::Withdraw), &mut reader)?.into_iter();
    if !reader.bytes.is_empty() {
        return Err(CodecError::TrailingBytes(reader.bytes.len()));
    }
    let records = |&(kind, count): &(Kind, u16)| match kind {
        Kind::Deposit => Records::Deposit(deposits.by_ref().take(count.into()).collect()),
        Kind::Transfer => Records::Transfer(transfers.by_ref().take(count.into()).collect()),
        Kind::Open => Records::Open(opens.by_ref().take(count.into()).collect()),
        Kind::Withdraw => Records::Withdraw(withdraws.by_ref().take(count.into()).collect()),
    };
    Ok(chunks.iter().map(records).collect())
}

/// Compresses columns to a raw DEFLATE stream (RFC 1951).
pub fn deflate(columns: &[u8]) -> Vec<u8> {
    compress_to_vec(columns, COMPRESSION_LEVEL)
}

/// Decompresses a stream that must hold exactly `length` bytes and nothing after its last block.
///
/// # Errors
/// [`CodecError::TooLong`] and [`CodecError::Stream`].
pub fn inflate(stream: &[u8], length: usize) -> Result<Vec<u8>, CodecError> {
    if length > COLUMNS_LENGTH_MAX {
        return Err(CodecError::TooLong(length));
    }
    let mut out = alloc::vec![0; length];
    let mut state = Box::<DecompressorOxide>::default();
    let (status, read, written) = decompress(&mut state, stream, &mut out, 0, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF);
    if status != TINFLStatus::Done || read != stream.len() || written != length {
        return Err(CodecError::Stream);
    }
    Ok(out)
}

fn write_deposits(records: &[DepositRecord], out: &mut Vec<u8>) {
    records.iter().for_each(|record| write_integer(record.to.get().into(), out));
    records.iter().for_each(|record| write_integer(record.amount_sat, out));
    records.iter().for_each(|record| out.extend(record.owner.to_bytes()));
}

fn read_deposits(count: usize, reader: &mut Reader<'_>) -> Result<Vec<DepositRecord>, CodecError> {
    let to = reader.column(count, Reader::index)?;
    let amount = reader.column(count, Reader::integer)?;
    let owner = reader.column(count, Reader::owner)?;
    let record = |i: usize| DepositRecord { to: to[i], amount_sat: amount[i], owner: owner[i] };
    Ok((0..count).map(record).collect())
}

fn write_transfers(records: &[TransferRecord], out: &mut Vec<u8>) {
    records.iter().for_each(|record| write_integer(record.from.get().into(), out));
    records.iter().for_each(|record| write_integer(record.to.get().into(), out));
    records.iter().for_each(|record| write_integer(record.amount, out));
    records.iter().for_each(|record| write_integer(record.fee, out));
}

fn read_transfers(count: usize, reader: &mut Reader<'_>) -> Result<Vec<TransferRecord>, CodecError> {
    let from = reader.column(count, Reader::index)?;
    let to = reader.column(count, Reader::index)?;
    let amount = reader.column(count, Reader::integer)?;
    let fee = reader.column(count, Reader::integer)?;
    let record = |i: usize| TransferRecord { from: from[i], to: to[i], amount: amount[i], fee: fee[i] };
    Ok((0..count).map(record).collect())
}

fn write_opens(records: &[OpenRecord], out: &mut Vec<u8>) {
    records.iter().for_each(|record| write_integer(record.from.get().into(), out));
    records.iter().for_each(|record| write_integer(record.to.get().into(), out));
    records.iter().for_each(|record| write_integer(record.amount, out));
    records.iter().for_each(|record| write_integer(record.fee, out));
    records.iter().for_each(|record| out.extend(record.owner.to_bytes()));
}

fn read_opens(count: usize, reader: &mut Reader<'_>) -> Result<Vec<OpenRecord>, CodecError> {
    let from = reader.column(count, Reader::index)?;
    let to = reader.column(count, Reader::index)?;
    let amount = reader.column(count, Reader::integer)?;
    let fee = reader.column(count, Reader::integer)?;
    let owner = reader.column(count, Reader::owner)?;
    let record = |i: usize| OpenRecord { from: from[i], to: to[i], amount: amount[i], fee: fee[i], owner: owner[i] };
    Ok((0..count).map(record).collect())
}

fn write_withdraws(records: &[WithdrawRecord], out: &mut Vec<u8>) {
    records.iter().for_each(|record| write_integer(record.from.get().into(), out));
    records.iter().for_each(|record| write_integer(record.amount, out));
    records.iter().for_each(|record| write_integer(record.fee, out));
    records.iter().for_each(|record| out.push(record.destination.number()));
    records.iter().for_each(|record| out.extend(record.destination.program()));
}

fn read_withdraws(count: usize, reader: &mut Reader<'_>) -> Result<Vec<WithdrawRecord>, CodecError> {
    let from = reader.column(count, Reader::index)?;
    let amount = reader.column(count, Reader::integer)?;
    let fee = reader.column(count, Reader::integer)?;
    let numbers = reader.column(count, |reader| Ok(reader.array::<1>()?[0]))?;
    let mut destinations = Vec::with_capacity(count);
    for number in numbers {
        destinations.push(match number {
            0 => Destination::P2wpkh(*reader.array()?),
            1 => Destination::P2wsh(*reader.array()?),
            2 => Destination::P2tr(*reader.array()?),
            _ => return Err(CodecError::Destination(number)),
        });
    }
    let record =
        |i: usize| WithdrawRecord { from: from[i], amount: amount[i], fee: fee[i], destination: destinations[i] };
    Ok((0..count).map(record).collect())
}

/// Writes seven bits a byte, the lowest first, with the top bit set on every byte but the last.
fn write_integer(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// What is left of the columns.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `count` values, each of at least one byte: so the bytes bound what is allocated.
    fn column<T>(
        &mut self,
        count: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, CodecError>,
    ) -> Result<Vec<T>, CodecError> {
        if count > self.bytes.len() {
            return Err(CodecError::Truncated);
        }
        (0..count).map(|_| read(self)).collect()
    }

    fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], CodecError> {
        let (array, rest) = self.bytes.split_first_chunk().ok_or(CodecError::Truncated)?;
        self.bytes = rest;
        Ok(array)
    }

    fn integer(&mut self) -> Result<u64, CodecError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.array::<1>()?[0];
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(CodecError::Integer);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 { Err(CodecError::Integer) } else { Ok(value) };
            }
        }
        Err(CodecError::Integer)
    }

    fn index(&mut self) -> Result<CellIndex, CodecError> {
        let index = self.integer()?;
        u32::try_from(index).ok().and_then(CellIndex::new).ok_or(CodecError::Index(index))
    }

    fn owner(&mut self) -> Result<PublicKey, CodecError> {
        Ok(PublicKey::from_bytes(self.array()?)?)
    }
}
