//! An Esplora server, for followers, depositors and owners who run no node.
//!
//! Nothing it says is believed. Blocks and headers are checked against the hash they were asked by, transactions
//! against their id; whether a block belongs to the chain with the most work, and a transaction to its block, is
//! checked by the follower with headers and branches. What remains to the server is to be silent, to be late and to
//! leave out.

mod answers;
mod coins;
mod patience;

#[cfg(test)]
mod tests;

use super::{
    ChainSource, NodeError, height,
    http::{Answer, HttpClient, Request},
};
use answers::{BlockSummary, HistoryItem, MerkleProof};
use bitcoin::{
    Block, BlockHash, Network, Script, ScriptBuf, Transaction, Txid,
    block::Header,
    consensus::{Decodable, encode},
    hashes::{Hash, sha256},
};
use serde::de::DeserializeOwned;
use std::{collections::HashSet, fmt::Display, str::FromStr, thread, time::Duration};
use taproof_verifier::{
    block::{BLOCK_LENGTH_MAX, Excerpt, Inclusion},
    headers::BlockId,
};

pub use patience::Patience;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The longest answer that is a line of text, a header or a branch.
const SHORT_BYTES_MAX: usize = 1 << 16;
/// The longest page of summaries of blocks, or of a history, which holds whole transactions in JSON.
const PAGE_BYTES_MAX: usize = 64 << 20;
/// Blocks on a page of summaries.
const SUMMARIES: u32 = 10;
/// Headers that one call asks for at most.
const HEADERS_MAX: u32 = 200;
/// The longest history that is read.
const HISTORY_MAX: usize = 100_000;

/// A connection to an Esplora server that follows the network it should.
#[derive(Debug)]
pub struct EsploraNode {
    client: HttpClient,
    url: String,
    network: Network,
    timeout: Duration,
    patience: Patience,
}

/// A transaction that pays to a script or spends from it, as the server describes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HistoryEntry {
    /// The block that holds it.
    pub block: BlockId,
    /// The transaction.
    pub txid: Txid,
    /// Whether it spends from the script, which others than its keys' holders cannot make it do.
    pub spends: bool,
    /// The script of its first output.
    pub first_output: ScriptBuf,
}

/// A transaction and the way to the Merkle root of the block that the server says holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The block's height.
    pub height: u32,
    /// The transaction and its branch, not checked.
    pub inclusion: Inclusion,
}

impl EsploraNode {
    /// Connects to the server whose interface is at this address, like `https://blockstream.info/api`, and asks for
    /// its first block.
    ///
    /// # Errors
    /// [`NodeError::Url`], [`NodeError::Network`], and whatever a call may meet.
    pub fn connect(url: &str, network: Network) -> Result<Self, NodeError> {
        Self::connect_with(url, network, TIMEOUT, Patience::none())
    }

    /// Connects to a server that may ask for pauses, and makes them.
    ///
    /// # Errors
    /// As [`EsploraNode::connect`].
    pub fn connect_patiently(url: &str, network: Network, patience: Patience) -> Result<Self, NodeError> {
        Self::connect_with(url, network, TIMEOUT, patience)
    }

    /// Connects to a server whose every answer has to come within a time.
    ///
    /// # Errors
    /// As [`EsploraNode::connect`].
    pub fn connect_within(url: &str, network: Network, timeout: Duration) -> Result<Self, NodeError> {
        Self::connect_with(url, network, timeout, Patience::none())
    }

    fn connect_with(url: &str, network: Network, timeout: Duration, patience: Patience) -> Result<Self, NodeError> {
        let shown = url.rsplit('@').next().unwrap_or_default();
        let client = HttpClient::new(url).map_err(|error| NodeError::from_http(error, shown, "connect"))?;
        let node = Self { client, url: url.to_owned(), network, timeout, patience };
        let genesis = node.block_hash(0).map_err(|error| node.not_esplora(error))?;
        if genesis.is_none() {
            return Err(node.not_esplora(NodeError::Http { url: String::new(), status: 404, retry_after: None }));
        }
        if genesis.map(BlockHash::to_byte_array) != Some(network.chain_hash().to_bytes()) {
            let found =
                genesis.map_or("a chain without blocks".to_owned(), |hash| format!("the chain of block {hash}"));
            return Err(NodeError::Network { expected: network, found });
        }
        Ok(node)
    }

    /// What an answer to the first question means, where it is none that an Esplora server gives.
    fn not_esplora(&self, error: NodeError) -> NodeError {
        let reason = match error {
            NodeError::Http { status: status @ (300..=428 | 430..=499), .. } => format!("HTTP status {status}"),
            NodeError::Answer { .. } => "what it gives for the hash of block 0 is no hash".to_owned(),
            error => return error,
        };
        NodeError::NotEsplora { url: self.url.clone(), reason }
    }

    /// The transactions in blocks from a height on that pay to a script or spend from it, in the order of their blocks.
    /// The server may leave some out, and add others.
    ///
    /// # Errors
    /// [`NodeError`]; [`NodeError::Answer`] if there are more than 100,000.
    pub fn history(&self, script: &Script, from_height: u32) -> Result<Vec<HistoryEntry>, NodeError> {
        let method = "GET /scripthash/txs/chain";
        let base = format!("/scripthash/{}/txs/chain", sha256::Hash::hash(script.as_bytes()));
        let (mut entries, mut seen) = (Vec::new(), HashSet::new());
        let mut path = base.clone();
        loop {
            let page: Vec<HistoryItem> = self.json(method, &path, PAGE_BYTES_MAX)?.unwrap_or_default();
            let before = seen.len();
            let last = page.last().map(|item| (item.txid, item.block()));
            let new = page.into_iter().filter(|item| seen.insert(item.txid));
            let entry = |item: HistoryItem| item.entry(script).filter(|entry| entry.block.height >= from_height);
            entries.extend(new.filter_map(entry));
            // The last page is empty, and a server that repeats itself has no more to say. The newest come first.
            let Some((last, block)) = last.filter(|_| seen.len() > before) else { break };
            if block.is_some_and(|block| block.height < from_height) {
                break;
            }
            if seen.len() > HISTORY_MAX {
                let reason = format!("a history of more than {HISTORY_MAX} transactions");
                return Err(NodeError::Answer { method, reason });
            }
            path = format!("{base}/{last}");
        }
        entries.sort_unstable();
        Ok(entries)
    }

    /// A confirmed transaction, with the branch from it to its block's Merkle root; `None` if the server knows of none.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn inclusion(&self, txid: &Txid) -> Result<Option<Located>, NodeError> {
        let method = "GET /tx/merkle-proof";
        let proof: Option<MerkleProof> = self.json(method, &format!("/tx/{txid}/merkle-proof"), SHORT_BYTES_MAX)?;
        let Some(proof) = proof else { return Ok(None) };
        let Some(transaction) = self.transaction(txid)? else { return Ok(None) };
        let located = proof.into_located(transaction);
        located.map(Some).map_err(|reason| NodeError::Answer { method, reason })
    }

    /// A transaction, checked against its id; `None` if the server has none.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn transaction(&self, txid: &Txid) -> Result<Option<Transaction>, NodeError> {
        let method = "GET /tx/raw";
        let raw = self.get(method, &format!("/tx/{txid}/raw"), BLOCK_LENGTH_MAX)?;
        let Some(raw) = raw else { return Ok(None) };
        let transaction: Transaction = decode(method, &raw)?;
        expect(method, transaction.compute_txid(), *txid)?;
        Ok(Some(transaction))
    }

    /// A block's header, its coinbase and some of its transactions with their branches, to be checked by
    /// [`ValidatedExcerpt`](taproof_verifier::block::ValidatedExcerpt). It shows outputs: deposits, exits,
    /// announcements. Servers prove no witnesses, so the payload of an anchor takes the whole block.
    ///
    /// # Errors
    /// [`NodeError::Block`] if the server has no such block or places a transaction elsewhere; otherwise [`NodeError`].
    pub fn excerpt(&self, block: &BlockId, txids: &[Txid]) -> Result<Excerpt, NodeError> {
        let header = self.header(&block.hash)?;
        let first = self.text(&format!("/block/{}/txid/0", block.hash), "GET /block/txid")?;
        let coinbase: Txid = first.ok_or(NodeError::Block(block.hash))?;
        let located = |txid: &Txid| {
            let located = self.inclusion(txid)?.filter(|located| located.height == block.height);
            Ok(located.ok_or(NodeError::Block(block.hash))?.inclusion)
        };
        let coinbase = located(&coinbase)?;
        let mut transactions = txids.iter().map(located).collect::<Result<Vec<Inclusion>, NodeError>>()?;
        transactions.sort_by_key(|inclusion| inclusion.position);
        Ok(Excerpt { header, coinbase, transactions })
    }

    /// A page of the summaries that end at a height, the highest first.
    fn summaries(&self, last_height: u32) -> Result<Vec<BlockSummary>, NodeError> {
        let page = self.json("GET /blocks", &format!("/blocks/{last_height}"), PAGE_BYTES_MAX)?;
        Ok(page.unwrap_or_default())
    }

    fn exchange(
        &self,
        method: &'static str,
        path: &str,
        body: Option<&[u8]>,
        answer_bytes_max: usize,
    ) -> Result<Answer, NodeError> {
        let request = Request { path, body, authorization: None, answer_bytes_max, timeout: self.timeout };
        let mut pauses = self.patience.pauses();
        loop {
            let answer = self.client.request(&request);
            let answer = answer.map_err(|error| NodeError::from_http(error, &self.url, method))?;
            // A server that has had enough says so by one of these, and means all questions for a while.
            let pause = match answer.status {
                429 | 502..=504 => pauses.next(answer.retry_after),
                _ => None,
            };
            let Some(pause) = pause else { return Ok(answer) };
            self.patience.tell(&self.status(&answer), pause);
            thread::sleep(pause);
        }
    }

    /// The body of an answer; `None` if the server has not what was asked for.
    fn get(&self, method: &'static str, path: &str, answer_bytes_max: usize) -> Result<Option<Vec<u8>>, NodeError> {
        let answer = self.exchange(method, path, None, answer_bytes_max)?;
        match answer.status {
            200 => Ok(Some(answer.body)),
            404 => Ok(None),
            _ => Err(self.status(&answer)),
        }
    }

    fn status(&self, answer: &Answer) -> NodeError {
        NodeError::Http { url: self.url.clone(), status: answer.status, retry_after: answer.retry_after }
    }

    fn json<T: DeserializeOwned>(
        &self,
        method: &'static str,
        path: &str,
        answer_bytes_max: usize,
    ) -> Result<Option<T>, NodeError> {
        let Some(body) = self.get(method, path, answer_bytes_max)? else { return Ok(None) };
        let parsed = serde_json::from_slice(&body);
        parsed.map(Some).map_err(|error| NodeError::Answer { method, reason: error.to_string() })
    }

    /// A value that is sent as text.
    fn text<T: FromStr>(&self, path: &str, method: &'static str) -> Result<Option<T>, NodeError>
    where
        T::Err: Display,
    {
        let Some(body) = self.get(method, path, SHORT_BYTES_MAX)? else { return Ok(None) };
        let no_text = |reason: String| NodeError::Answer { method, reason };
        let text = str::from_utf8(&body).map_err(|error| no_text(error.to_string()))?;
        text.trim().parse().map(Some).map_err(|error: T::Err| no_text(error.to_string()))
    }
}

fn decode<T: Decodable>(method: &'static str, bytes: &[u8]) -> Result<T, NodeError> {
    encode::deserialize(bytes).map_err(|error| NodeError::Answer { method, reason: error.to_string() })
}

fn expect<T: PartialEq + Display>(method: &'static str, found: T, expected: T) -> Result<(), NodeError> {
    if found == expected {
        return Ok(());
    }
    Err(NodeError::Answer { method, reason: format!("{found} instead of {expected}") })
}

impl ChainSource for EsploraNode {
    fn network(&self) -> Network {
        self.network
    }

    fn tip_height(&self) -> Result<u32, NodeError> {
        let method = "GET /blocks/tip/height";
        let height = self.text("/blocks/tip/height", method)?;
        let missing = || NodeError::Http { url: self.url.clone(), status: 404, retry_after: None };
        height::checked(method, height.ok_or_else(missing)?)
    }

    fn block_hash(&self, height: u32) -> Result<Option<BlockHash>, NodeError> {
        self.text(&format!("/block-height/{height}"), "GET /block-height")
    }

    fn header(&self, hash: &BlockHash) -> Result<Header, NodeError> {
        let method = "GET /block/header";
        let text: Option<String> = self.text(&format!("/block/{hash}/header"), method)?;
        let text = text.ok_or(NodeError::Block(*hash))?;
        let header = encode::deserialize_hex::<Header>(&text);
        let header = header.map_err(|error| NodeError::Answer { method, reason: error.to_string() })?;
        expect(method, header.block_hash(), *hash)?;
        Ok(header)
    }

    fn block(&self, hash: &BlockHash) -> Result<Block, NodeError> {
        let method = "GET /block/raw";
        let raw = self.get(method, &format!("/block/{hash}/raw"), BLOCK_LENGTH_MAX)?;
        let block: Block = decode(method, &raw.ok_or(NodeError::Block(*hash))?)?;
        expect(method, block.block_hash(), *hash)?;
        Ok(block)
    }

    fn headers(&self, first_height: u32, count_max: u32) -> Result<Vec<Header>, NodeError> {
        let tip_height = self.tip_height()?;
        let end = first_height.saturating_add(count_max.min(HEADERS_MAX)).min(tip_height.saturating_add(1));
        let mut headers: Vec<Header> = Vec::new();
        let mut height = first_height;
        while height < end {
            let last_height = height.saturating_add(SUMMARIES - 1).min(end - 1);
            let page = match self.summaries(last_height) {
                // What came before is worth having.
                Err(_) if !headers.is_empty() => break,
                page => page?,
            };
            let before = headers.len();
            for summary in page.iter().rev().filter(|summary| (height..=last_height).contains(&summary.height)) {
                let header = summary.header();
                expect("GET /blocks", header.block_hash(), summary.id)?;
                let is_next = u32::try_from(headers.len()).is_ok_and(|count| summary.height - first_height == count);
                if !is_next || headers.last().is_some_and(|parent| parent.block_hash() != header.prev_blockhash) {
                    return Ok(headers);
                }
                headers.push(header);
            }
            if headers.len() == before {
                break;
            }
            height = last_height + 1;
        }
        Ok(headers)
    }
}
