//! Headers without what follows from those before them: 48 bytes each, in groups that fill two pages.

use super::tables::{HEADERS, Head};
use bitcoin::{
    BlockHash, CompactTarget, TxMerkleNode,
    block::{Header, Version},
    hashes::Hash,
};
use redb::{ReadTransaction, ReadableTable, WriteTransaction};
use std::ops::RangeInclusive;
use taproof_base::store_error::StoreError;

/// Headers of a group: with 32 bytes before them they fill two pages of the store but for its own marks.
pub(super) const GROUP_COUNT: u32 = 168;
/// Version, Merkle root, time, bits, nonce.
const HEADER_LENGTH: usize = 4 + 32 + 4 + 4 + 4;
const HASH_LENGTH: usize = 32;

/// Encodes headers that follow each other: the hash of the first one's parent (32 bytes), then for each version (4),
/// Merkle root (32), time (4), bits (4), nonce (4). Integers are little-endian.
fn encode(headers: &[Header]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HASH_LENGTH + headers.len() * HEADER_LENGTH);
    bytes.extend(headers.first().map_or([0; HASH_LENGTH], |header| header.prev_blockhash.to_byte_array()));
    for header in headers {
        bytes.extend(header.version.to_consensus().to_le_bytes());
        bytes.extend(header.merkle_root.to_byte_array());
        bytes.extend(header.time.to_le_bytes());
        bytes.extend(header.bits.to_consensus().to_le_bytes());
        bytes.extend(header.nonce.to_le_bytes());
    }
    bytes
}

/// Decodes what [`encode`] encodes; `None` for another length.
fn decode(bytes: &[u8]) -> Option<Vec<Header>> {
    let (parent, rest) = bytes.split_first_chunk::<HASH_LENGTH>()?;
    let (headers, []) = rest.as_chunks::<HEADER_LENGTH>() else { return None };
    let mut prev_blockhash = BlockHash::from_byte_array(*parent);
    let header = |bytes: &[u8; HEADER_LENGTH]| {
        let (version, rest) = bytes.split_first_chunk()?;
        let (root, rest) = rest.split_first_chunk()?;
        let (time, rest) = rest.split_first_chunk()?;
        let (bits, rest) = rest.split_first_chunk()?;
        let header = Header {
            version: Version::from_consensus(i32::from_le_bytes(*version)),
            prev_blockhash,
            merkle_root: TxMerkleNode::from_byte_array(*root),
            time: u32::from_le_bytes(*time),
            bits: CompactTarget::from_consensus(u32::from_le_bytes(*bits)),
            nonce: u32::from_le_bytes(rest.try_into().ok()?),
        };
        prev_blockhash = header.block_hash();
        Some(header)
    };
    headers.iter().map(header).collect()
}

fn damaged(group: u32) -> StoreError {
    StoreError::corrupted(format_args!("group {group} of the headers"))
}

fn read_group(table: &impl ReadableTable<u32, &'static [u8]>, group: u32) -> Result<Option<Vec<Header>>, StoreError> {
    let Some(bytes) = table.get(group)? else { return Ok(None) };
    let headers = decode(bytes.value()).filter(|headers| headers.len() <= GROUP_COUNT as usize);
    headers.map(Some).ok_or_else(|| damaged(group))
}

/// The headers at heights that are stored.
pub(super) fn read(
    transaction: &ReadTransaction,
    head: &Head,
    heights: RangeInclusive<u32>,
) -> Result<Vec<Header>, StoreError> {
    let table = transaction.open_table(HEADERS)?;
    let (first, last) = (heights.start() - head.headers_first, heights.end() - head.headers_first);
    let mut headers = Vec::with_capacity((last - first + 1) as usize);
    for group in first / GROUP_COUNT..=last / GROUP_COUNT {
        let stored = read_group(&table, group)?.ok_or_else(|| damaged(group))?;
        let from = first.saturating_sub(group * GROUP_COUNT) as usize;
        let to = ((last - group * GROUP_COUNT).min(GROUP_COUNT - 1) + 1) as usize;
        headers.extend(stored.get(from..to).ok_or_else(|| damaged(group))?);
    }
    Ok(headers)
}

/// Adds headers, the first at height `first`, leaving out those that are stored. Headers that do not follow are not
/// added.
pub(super) fn append(
    transaction: &WriteTransaction,
    head: &mut Head,
    first: u32,
    headers: &[Header],
) -> Result<(), StoreError> {
    let next = head.headers_first + head.headers_count;
    let Some(mut new) = next.checked_sub(first).and_then(|known| headers.get(known as usize..)) else { return Ok(()) };
    let mut table = transaction.open_table(HEADERS)?;
    while !new.is_empty() {
        let group = head.headers_count / GROUP_COUNT;
        let mut stored = match head.headers_count % GROUP_COUNT {
            0 => Vec::new(),
            _ => read_group(&table, group)?.ok_or_else(|| damaged(group))?,
        };
        stored.truncate((head.headers_count % GROUP_COUNT) as usize);
        if stored.last().is_some_and(|last| last.block_hash() != new[0].prev_blockhash) {
            return Ok(());
        }
        let (taken, rest) = new.split_at(new.len().min(GROUP_COUNT as usize - stored.len()));
        stored.extend(taken);
        table.insert(group, encode(&stored).as_slice())?;
        head.headers_count += taken.len() as u32;
        new = rest;
    }
    Ok(())
}

/// Forgets the headers above a height. What is left of the last group is written over by the next ones.
pub(super) fn truncate(transaction: &WriteTransaction, head: &mut Head, height: u32) -> Result<(), StoreError> {
    let count = (height + 1).saturating_sub(head.headers_first).min(head.headers_count);
    transaction.open_table(HEADERS)?.retain_in(count.div_ceil(GROUP_COUNT).., |_, _| false)?;
    head.headers_count = count;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use taproof_fixtures::MAINNET_HEADERS_40000;

    #[test]
    fn real_headers_come_back_and_other_lengths_do_not() {
        let headers: Vec<Header> = MAINNET_HEADERS_40000
            .chunks_exact(80)
            .take(GROUP_COUNT as usize)
            .map(|bytes| bitcoin::consensus::deserialize(bytes).expect("a real header"))
            .collect();
        let bytes = encode(&headers);
        assert_eq!(bytes.len(), 8_096);
        assert_eq!(decode(&bytes), Some(headers));
        assert_eq!(decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(decode(&bytes[..31]), None);
        assert_eq!(decode(&encode(&[])), Some(Vec::new()));
    }
}
