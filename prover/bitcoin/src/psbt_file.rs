//! PSBTs as wallets and signers write them, read into one form.
//!
//! A file holds a PSBT in binary, in base64 or in hexadecimal. Its version is 0 (BIP-174), where the transaction stands
//! in one field, or 2 (BIP-370), where it is spread over the inputs and outputs; some hardware signers speak version 2
//! alone. Both become the version 0 that the rest of the code knows: what differs is rewritten field by field, and all
//! else is left to the library that reads version 0.

use bitcoin::{
    Amount, OutPoint, Psbt, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, VarInt, Witness,
    absolute::LockTime,
    base64::{Engine, prelude::BASE64_STANDARD},
    consensus::{Decodable, encode},
    hashes::Hash,
    psbt::{self, raw},
    transaction::Version,
};
use std::collections::BTreeMap;

/// The first bytes of every PSBT.
const MAGIC: &[u8] = b"psbt\xff";

/// A field that only one of the versions has: the type that its key consists of, and its name in the BIP.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Field(u8, &'static str);

const UNSIGNED_TX: Field = Field(0x00, "PSBT_GLOBAL_UNSIGNED_TX");
const TX_VERSION: Field = Field(0x02, "PSBT_GLOBAL_TX_VERSION");
const FALLBACK_LOCKTIME: Field = Field(0x03, "PSBT_GLOBAL_FALLBACK_LOCKTIME");
const INPUT_COUNT: Field = Field(0x04, "PSBT_GLOBAL_INPUT_COUNT");
const OUTPUT_COUNT: Field = Field(0x05, "PSBT_GLOBAL_OUTPUT_COUNT");
const TX_MODIFIABLE: Field = Field(0x06, "PSBT_GLOBAL_TX_MODIFIABLE");
const VERSION: Field = Field(0xfb, "PSBT_GLOBAL_VERSION");
const PREVIOUS_TXID: Field = Field(0x0e, "PSBT_IN_PREVIOUS_TXID");
const OUTPUT_INDEX: Field = Field(0x0f, "PSBT_IN_OUTPUT_INDEX");
const SEQUENCE: Field = Field(0x10, "PSBT_IN_SEQUENCE");
const REQUIRED_TIME: Field = Field(0x11, "PSBT_IN_REQUIRED_TIME_LOCKTIME");
const REQUIRED_HEIGHT: Field = Field(0x12, "PSBT_IN_REQUIRED_HEIGHT_LOCKTIME");
const AMOUNT: Field = Field(0x03, "PSBT_OUT_AMOUNT");
const SCRIPT: Field = Field(0x04, "PSBT_OUT_SCRIPT");

/// What version 0 must not have, of the whole, of an input and of an output.
const GLOBAL_OF_VERSION_2: [Field; 5] = [TX_VERSION, FALLBACK_LOCKTIME, INPUT_COUNT, OUTPUT_COUNT, TX_MODIFIABLE];
const INPUT_OF_VERSION_2: [Field; 5] = [PREVIOUS_TXID, OUTPUT_INDEX, SEQUENCE, REQUIRED_TIME, REQUIRED_HEIGHT];
const OUTPUT_OF_VERSION_2: [Field; 2] = [AMOUNT, SCRIPT];

/// Why bytes are no PSBT.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PsbtFileError {
    /// The bytes are of no PSBT, whatever they are.
    #[error("this is no PSBT, neither in binary nor in base64 nor in hexadecimal")]
    NotAPsbt,
    /// A part is missing at the end.
    #[error("the PSBT ends in the middle")]
    Truncated,
    /// Something follows the end.
    #[error("{0} bytes follow the end of the PSBT")]
    Trailing(usize),
    /// The version is another.
    #[error("the PSBT is of version {0}, and versions 0 and 2 are read")]
    Version(u32),
    /// A field occurs twice.
    #[error("the PSBT has a field twice")]
    Repeated,
    /// A field is missing where it must be, there where it must not be, or malformed.
    #[error("the field {0} of the PSBT is missing, malformed, or of another version")]
    Field(&'static str),
    /// One input must wait for a height, another for a time.
    #[error("the inputs of the PSBT need lock times of different kinds")]
    LockTime,
    /// What both versions share is malformed.
    #[error("the PSBT is malformed: {0}")]
    Shared(#[from] psbt::Error),
}

/// Reads a PSBT of version 0 or 2, in binary, base64 or hexadecimal.
///
/// # Errors
/// [`PsbtFileError`].
pub fn parse(bytes: &[u8]) -> Result<Psbt, PsbtFileError> {
    let decoded;
    let binary = if bytes.starts_with(MAGIC) {
        bytes
    } else {
        decoded = from_text(bytes).ok_or(PsbtFileError::NotAPsbt)?;
        &decoded
    };
    let mut rest = binary.strip_prefix(MAGIC).ok_or(PsbtFileError::NotAPsbt)?;
    let mut global = Map::read(&mut rest)?;
    match global.take(VERSION)?.map_or(0, u32::from_le_bytes) {
        0 => version_0(binary),
        2 => version_0(&rewrite(global, rest)?),
        version => Err(PsbtFileError::Version(version)),
    }
}

/// Writes a PSBT in version 2, for signers that read no other.
pub fn to_version_2(psbt: &Psbt) -> Vec<u8> {
    let bytes = psbt.serialize();
    let mut rest = &bytes[MAGIC.len()..];
    let mut next = || Map::read(&mut rest).expect("the library writes whole maps");
    let transaction = &psbt.unsigned_tx;
    let mut global = next();
    global.remove(UNSIGNED_TX);
    global.put(VERSION, 2u32.to_le_bytes());
    global.put(TX_VERSION, transaction.version.0.to_le_bytes());
    global.put(FALLBACK_LOCKTIME, transaction.lock_time.to_consensus_u32().to_le_bytes());
    global.put(INPUT_COUNT, encode::serialize(&VarInt::from(transaction.input.len())));
    global.put(OUTPUT_COUNT, encode::serialize(&VarInt::from(transaction.output.len())));
    let mut written = MAGIC.to_vec();
    global.write(&mut written);
    for input in &transaction.input {
        let mut map = next();
        map.put(PREVIOUS_TXID, input.previous_output.txid.to_byte_array());
        map.put(OUTPUT_INDEX, input.previous_output.vout.to_le_bytes());
        map.put(SEQUENCE, input.sequence.0.to_le_bytes());
        map.write(&mut written);
    }
    for output in &transaction.output {
        let mut map = next();
        map.put(AMOUNT, output.value.to_sat().to_le_bytes());
        map.put(SCRIPT, output.script_pubkey.as_bytes());
        map.write(&mut written);
    }
    written
}

/// The bytes of a text, in which white space counts for nothing: tools break lines.
fn from_text(text: &[u8]) -> Option<Vec<u8>> {
    let text: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    hex::decode(&text).ok().or_else(|| BASE64_STANDARD.decode(&text).ok())
}

fn version_0(bytes: &[u8]) -> Result<Psbt, PsbtFileError> {
    let mut rest = bytes;
    let psbt = Psbt::deserialize_from_reader(&mut rest)?;
    if !rest.is_empty() {
        return Err(PsbtFileError::Trailing(rest.len()));
    }
    let inputs = psbt.inputs.iter().map(|input| (&input.unknown, &INPUT_OF_VERSION_2[..]));
    let outputs = psbt.outputs.iter().map(|output| (&output.unknown, &OUTPUT_OF_VERSION_2[..]));
    let maps = std::iter::once((&psbt.unknown, &GLOBAL_OF_VERSION_2[..])).chain(inputs).chain(outputs);
    for (unknown, fields) in maps {
        let found = |key: &raw::Key| fields.iter().find(|field| field.0 == key.type_value);
        if let Some(field) = unknown.keys().find_map(found) {
            return Err(PsbtFileError::Field(field.1));
        }
    }
    Ok(psbt)
}

/// Rewrites what follows the magic of a PSBT of version 2 as version 0.
fn rewrite(mut global: Map, mut rest: &[u8]) -> Result<Vec<u8>, PsbtFileError> {
    if global.remove(UNSIGNED_TX).is_some() {
        return Err(PsbtFileError::Field(UNSIGNED_TX.1));
    }
    let version = Version(i32::from_le_bytes(global.need(TX_VERSION)?));
    let fallback = global.take(FALLBACK_LOCKTIME)?.map_or(0, u32::from_le_bytes);
    let (input_count, output_count) = (global.count(INPUT_COUNT)?, global.count(OUTPUT_COUNT)?);
    let _: Option<[u8; 1]> = global.take(TX_MODIFIABLE)?;
    let mut transaction = Transaction { version, lock_time: LockTime::ZERO, input: Vec::new(), output: Vec::new() };
    let (mut locks, mut maps) = (Vec::new(), Vec::new());
    // A count may be anything. Each map takes a byte at least, so the loops end where the bytes do.
    for _ in 0..input_count {
        let mut map = Map::read(&mut rest)?;
        transaction.input.push(map.input()?);
        locks.push(RequiredLock::take(&mut map)?);
        maps.push(map);
    }
    for _ in 0..output_count {
        let mut map = Map::read(&mut rest)?;
        transaction.output.push(map.output()?);
        maps.push(map);
    }
    if !rest.is_empty() {
        return Err(PsbtFileError::Trailing(rest.len()));
    }
    transaction.lock_time = LockTime::from_consensus(RequiredLock::join(&locks, fallback)?);
    // Without inputs the library would write the mark of a transaction with witnesses; the PSBT has a form of its own.
    global.put(UNSIGNED_TX, without_witnesses(&transaction));
    let mut written = MAGIC.to_vec();
    std::iter::once(global).chain(maps).for_each(|map| map.write(&mut written));
    Ok(written)
}

fn without_witnesses(transaction: &Transaction) -> Vec<u8> {
    let mut bytes = encode::serialize(&transaction.version);
    bytes.extend(encode::serialize(&transaction.input));
    bytes.extend(encode::serialize(&transaction.output));
    bytes.extend(encode::serialize(&transaction.lock_time));
    bytes
}

/// The lock times that an input needs: of a height, of a time, of either, or none.
struct RequiredLock {
    height: Option<u32>,
    time: Option<u32>,
}

impl RequiredLock {
    /// Lock times from here on are times; below they are heights (BIP-65).
    const TIME_MIN: u32 = 500_000_000;

    fn take(map: &mut Map) -> Result<Self, PsbtFileError> {
        let height = map.take(REQUIRED_HEIGHT)?.map(u32::from_le_bytes);
        let time = map.take(REQUIRED_TIME)?.map(u32::from_le_bytes);
        if height.is_some_and(|height| height == 0 || height >= Self::TIME_MIN) {
            return Err(PsbtFileError::Field(REQUIRED_HEIGHT.1));
        }
        if time.is_some_and(|time| time < Self::TIME_MIN) {
            return Err(PsbtFileError::Field(REQUIRED_TIME.1));
        }
        Ok(Self { height, time })
    }

    /// The lock time of the transaction: the highest of the kind that every input that needs one allows, a height if
    /// both are.
    fn join(locks: &[Self], fallback: u32) -> Result<u32, PsbtFileError> {
        let needing: Vec<&Self> = locks.iter().filter(|lock| lock.height.is_some() || lock.time.is_some()).collect();
        if needing.is_empty() {
            return Ok(fallback);
        }
        let highest = |of: fn(&Self) -> Option<u32>| needing.iter().map(|lock| of(lock)).collect::<Option<Vec<_>>>();
        let chosen = highest(|lock| lock.height).or_else(|| highest(|lock| lock.time));
        chosen.and_then(|locks| locks.into_iter().max()).ok_or(PsbtFileError::LockTime)
    }
}

/// The fields of the whole, of an input or of an output, in the order of their keys.
struct Map(BTreeMap<Vec<u8>, Vec<u8>>);

impl Map {
    /// Reads fields up to the zero byte that ends them.
    fn read(rest: &mut &[u8]) -> Result<Self, PsbtFileError> {
        let mut fields = BTreeMap::new();
        loop {
            let key = read_bytes(rest)?;
            if key.is_empty() {
                return Ok(Self(fields));
            }
            if fields.insert(key, read_bytes(rest)?).is_some() {
                return Err(PsbtFileError::Repeated);
            }
        }
    }

    fn write(&self, to: &mut Vec<u8>) {
        for bytes in self.0.iter().flat_map(|(key, value)| [key, value]) {
            to.extend(encode::serialize(&VarInt::from(bytes.len())));
            to.extend(bytes);
        }
        to.push(0);
    }

    fn put(&mut self, field: Field, value: impl Into<Vec<u8>>) {
        self.0.insert(vec![field.0], value.into());
    }

    fn remove(&mut self, field: Field) -> Option<Vec<u8>> {
        self.0.remove(&[field.0][..])
    }

    /// Takes a field out. Its key is its type and nothing more.
    fn take_bytes(&mut self, field: Field) -> Result<Option<Vec<u8>>, PsbtFileError> {
        let value = self.remove(field);
        let is_longer = self.0.range(vec![field.0]..).next().is_some_and(|(key, _)| key[0] == field.0);
        if is_longer { Err(PsbtFileError::Field(field.1)) } else { Ok(value) }
    }

    /// Takes out a field of a fixed length.
    fn take<const N: usize>(&mut self, field: Field) -> Result<Option<[u8; N]>, PsbtFileError> {
        let bytes = self.take_bytes(field)?;
        bytes.map(|bytes| bytes.try_into().map_err(|_| PsbtFileError::Field(field.1))).transpose()
    }

    /// Takes out a field of a fixed length that must be there.
    fn need<const N: usize>(&mut self, field: Field) -> Result<[u8; N], PsbtFileError> {
        self.take(field)?.ok_or(PsbtFileError::Field(field.1))
    }

    fn count(&mut self, field: Field) -> Result<u64, PsbtFileError> {
        let bytes = self.take_bytes(field)?.ok_or(PsbtFileError::Field(field.1))?;
        let count: VarInt = encode::deserialize(&bytes).map_err(|_| PsbtFileError::Field(field.1))?;
        Ok(count.0)
    }

    fn input(&mut self) -> Result<TxIn, PsbtFileError> {
        let txid = Txid::from_byte_array(self.need(PREVIOUS_TXID)?);
        let vout = u32::from_le_bytes(self.need(OUTPUT_INDEX)?);
        let sequence = self.take(SEQUENCE)?.map_or(Sequence::MAX, |bytes| Sequence(u32::from_le_bytes(bytes)));
        let previous_output = OutPoint { txid, vout };
        Ok(TxIn { previous_output, script_sig: ScriptBuf::new(), sequence, witness: Witness::new() })
    }

    fn output(&mut self) -> Result<TxOut, PsbtFileError> {
        let sat = u64::try_from(i64::from_le_bytes(self.need(AMOUNT)?)).map_err(|_| PsbtFileError::Field(AMOUNT.1))?;
        let script = self.take_bytes(SCRIPT)?.ok_or(PsbtFileError::Field(SCRIPT.1))?;
        Ok(TxOut { value: Amount::from_sat(sat), script_pubkey: ScriptBuf::from_bytes(script) })
    }
}

/// Reads a length and so many bytes.
fn read_bytes(rest: &mut &[u8]) -> Result<Vec<u8>, PsbtFileError> {
    let length = VarInt::consensus_decode(rest).map_err(|_| PsbtFileError::Truncated)?.0;
    let length = usize::try_from(length).map_err(|_| PsbtFileError::Truncated)?;
    let (bytes, after) = rest.split_at_checked(length).ok_or(PsbtFileError::Truncated)?;
    *rest = after;
    Ok(bytes.to_vec())
}

#[cfg(test)]
mod tests;
