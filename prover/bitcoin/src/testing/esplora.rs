//! An Esplora server of an embedded chain, for tests: honest, or with lies.

use crate::{
    node::{EmbeddedNode, Node},
    regtest::RegtestChain,
};
use bitcoin::{
    Block, OutPoint, Transaction, TxOut, Txid,
    consensus::encode,
    hashes::{Hash, sha256},
};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};
use taproof_verifier::{block::Excerpt, headers::BlockId};

/// A status and a body.
pub type Reply = (u16, Vec<u8>);

/// Changes replies to requests of a path that begins so.
type Lie = (&'static str, Box<dyn FnMut(Reply) -> Reply + Send>);

/// Transactions on a page of a history; servers have 25.
pub const PAGE: usize = 4;

/// Chooses by the number of a request and its path.
type Choose = Box<dyn Fn(usize, &str) -> bool + Send>;

/// What comes after the last request that is allowed.
#[derive(Clone, Debug)]
pub struct Limit {
    /// How many requests are answered.
    pub requests: usize,
    /// The status of the answers after that.
    pub status: u16,
    /// What `Retry-After` says then.
    pub retry_after: Option<String>,
    /// After how many refusals as many requests are answered again; never if none.
    pub refusals: Option<usize>,
}

/// What a server does beside being honest.
#[derive(Default)]
struct Whims {
    lies: Vec<Lie>,
    /// The limit, and how many requests were answered and refused since it began.
    limit: Option<(Limit, usize, usize)>,
    /// Another back end, and which requests it answers.
    other: Option<(EmbeddedNode, Choose)>,
    requests: usize,
}

impl Whims {
    /// Counts a request; the refusal, if there were too many.
    fn refuse(&mut self) -> Option<Limit> {
        let (limit, answered, refused) = self.limit.as_mut()?;
        if *answered < limit.requests {
            *answered += 1;
            return None;
        }
        *refused += 1;
        let refusal = limit.clone();
        if limit.refusals == Some(*refused) {
            (*answered, *refused) = (0, 0);
        }
        Some(refusal)
    }
}

/// A server of the embedded chain that speaks as much of Esplora's interface as the client; it serves until the
/// process ends.
pub struct Server {
    pub url: String,
    node: Arc<Mutex<EmbeddedNode>>,
    whims: Arc<Mutex<Whims>>,
}

impl Server {
    pub fn start(node: EmbeddedNode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/api", listener.local_addr().expect("bound"));
        let (node, whims) = (Arc::new(Mutex::new(node)), Arc::new(Mutex::new(Whims::default())));
        let server = Self { url, node: node.clone(), whims: whims.clone() };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (node, whims) = (node.clone(), whims.clone());
                thread::spawn(move || {
                    let mut reader = BufReader::new(stream);
                    while let Some((path, body)) = read_request(&mut reader) {
                        let answer = serve(&node, &mut whims.lock().expect("no holder panics"), &path, &body);
                        if reader.get_mut().write_all(&answer).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        server
    }

    fn whims(&self) -> std::sync::MutexGuard<'_, Whims> {
        self.whims.lock().expect("no holder panics")
    }

    /// From now on, only so many requests are answered.
    pub fn limit(&self, limit: Limit) {
        self.whims().limit = Some((limit, 0, 0));
    }

    /// From now on, another back end answers the requests that are chosen.
    pub fn stand_before(&self, other: EmbeddedNode, choose: impl Fn(usize, &str) -> bool + Send + 'static) {
        self.whims().other = Some((other, Box::new(choose)));
    }

    /// How many requests came so far.
    pub fn requests(&self) -> usize {
        self.whims().requests
    }

    /// From now on, replies to paths that begin so are changed.
    pub fn lie(&self, path: &'static str, lie: impl FnMut(Reply) -> Reply + Send + 'static) {
        self.whims().lies = vec![(path, Box::new(lie))];
    }

    /// From now on, nothing is changed.
    pub fn be_honest(&self) {
        let requests = self.requests();
        *self.whims() = Whims { requests, ..Whims::default() };
    }

    /// Mines what was sent, and empty blocks until there are so many.
    pub fn mine(&self, blocks: u32) {
        self.node.lock().expect("no holder panics").mine(blocks).expect("valid");
    }

    pub fn chain(&self) -> RegtestChain {
        self.node.lock().expect("no holder panics").chain().clone()
    }
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.trim().parse().ok()?;
        }
        if line.trim_end().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let path = first.split(' ').nth(1)?.strip_prefix("/api")?.to_owned();
    Some((path, body))
}

/// An answer as it is sent.
fn serve(node: &Mutex<EmbeddedNode>, whims: &mut Whims, path: &str, body: &[u8]) -> Vec<u8> {
    whims.requests += 1;
    if let Some(Limit { status, retry_after, .. }) = whims.refuse() {
        let retry_after = retry_after.map_or_else(String::new, |value| format!("Retry-After: {value}\r\n"));
        return format!("HTTP/1.1 {status} X\r\n{retry_after}Content-Length: 0\r\n\r\n").into_bytes();
    }
    let mut reply = match &whims.other {
        Some((other, choose)) if choose(whims.requests, path) => reply(other, path, body),
        _ => reply(&node.lock().expect("no holder panics"), path, body),
    };
    for (beginning, lie) in &mut whims.lies {
        if path.starts_with(*beginning) {
            reply = lie(reply);
        }
    }
    let head = format!("HTTP/1.1 {} X\r\nContent-Length: {}\r\n\r\n", reply.0, reply.1.len());
    [head.as_bytes(), &reply.1].concat()
}

/// What an honest server says.
fn reply(node: &EmbeddedNode, path: &str, body: &[u8]) -> Reply {
    let found = answer(node, path, body);
    found.unwrap_or_else(|| (404, b"Not found".to_vec()))
}

fn answer(node: &EmbeddedNode, path: &str, body: &[u8]) -> Option<Reply> {
    let chain = node.chain();
    let text = |text: String| Some((200, text.into_bytes()));
    let value = |value: Value| Some((200, value.to_string().into_bytes()));
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let block_of = |hash: &str| chain.block_at(chain.height_of(&hash.parse().ok()?)?);
    match parts[..] {
        ["tx"] => {
            let transaction = encode::deserialize_hex(str::from_utf8(body).ok()?).ok()?;
            match node.send(&transaction) {
                Ok(_) => text(transaction.compute_txid().to_string()),
                Err(_) => {
                    let error = json!({ "code": -25, "message": "bad-txns-inputs-missingorspent" });
                    Some((400, format!("sendrawtransaction RPC error: {error}").into_bytes()))
                }
            }
        }
        ["blocks", "tip", "height"] => text(chain.height().to_string()),
        ["blocks", height] => {
            let last: u32 = height.parse().ok().filter(|height| *height <= chain.height())?;
            let heights = (last.saturating_sub(9)..=last).rev();
            value(heights.map(|height| summary(chain.block_at(height).expect("mined"), height)).collect())
        }
        ["block-height", height] => text(chain.block_at(height.parse().ok()?)?.block_hash().to_string()),
        ["block", hash, "header"] => text(encode::serialize_hex(&block_of(hash)?.header)),
        ["block", hash, "raw"] => Some((200, encode::serialize(block_of(hash)?))),
        ["block", hash, "txid", index] => {
            text(block_of(hash)?.txdata.get(index.parse::<usize>().ok()?)?.compute_txid().to_string())
        }
        ["tx", txid] => {
            let found = node.find(&txid.parse().ok()?).expect("it answers")?;
            let status = status(found.block);
            value(json!({ "txid": txid, "weight": found.transaction.weight().to_wu(), "fee": 0, "status": status }))
        }
        ["tx", txid, "raw"] => {
            let found = node.find(&txid.parse().ok()?).expect("it answers")?;
            Some((200, encode::serialize(&found.transaction)))
        }
        ["tx", txid, "outspend", vout] => {
            let outpoint = OutPoint { txid: txid.parse().ok()?, vout: vout.parse().ok()? };
            value(spending(node, &outpoint))
        }
        ["tx", txid, "merkle-proof"] => {
            let (height, block, position) = find(chain, &txid.parse().ok()?)?;
            let excerpt = Excerpt::of(block, &[u32::try_from(position).ok()?]).ok()?;
            let branch = if position == 0 { excerpt.coinbase.branch } else { excerpt.transactions[0].branch.clone() };
            value(json!({ "block_height": height, "merkle": branch, "pos": position }))
        }
        ["scripthash", hash, "txs", "chain"] => value(history(chain, hash, None)),
        ["scripthash", hash, "txs", "chain", last] => value(history(chain, hash, Some(last.parse().ok()?))),
        ["scripthash", hash, "utxo"] => {
            let pays = |output: &TxOut| sha256::Hash::hash(output.script_pubkey.as_bytes()).to_string() == hash;
            let coins = chain.coins().filter(|(_, coin)| pays(&coin.output)).map(|(outpoint, coin)| {
                let hash = chain.block_at(coin.height).expect("mined").block_hash();
                let status = status(Some(BlockId { height: coin.height, hash }));
                let value = coin.output.value.to_sat();
                json!({ "txid": outpoint.txid, "vout": outpoint.vout, "value": value, "status": status })
            });
            value(coins.collect())
        }
        ["fee-estimates"] => value(json!({ "1": 4.5, "3": 3.0, "25": 1.001, "1008": 1 })),
        _ => None,
    }
}

/// Where a transaction stands.
fn status(block: Option<BlockId>) -> Value {
    match block {
        Some(block) => json!({ "confirmed": true, "block_height": block.height, "block_hash": block.hash }),
        None => json!({ "confirmed": false }),
    }
}

/// What spends an output.
fn spending(node: &EmbeddedNode, outpoint: &OutPoint) -> Value {
    if let Some(txid) = node.pool_spender(outpoint).expect("it answers") {
        return json!({ "spent": true, "txid": txid, "vin": 0, "status": status(None) });
    }
    let chain = node.chain();
    if chain.coin(outpoint).is_some() {
        return json!({ "spent": false });
    }
    let mined = (0..).zip(chain.blocks()).find_map(|(height, block)| {
        let spends =
            |transaction: &&Transaction| transaction.input.iter().any(|input| input.previous_output == *outpoint);
        let spender = block.txdata.iter().find(spends)?.compute_txid();
        Some((spender, BlockId { height, hash: block.block_hash() }))
    });
    match mined {
        Some((txid, block)) => json!({ "spent": true, "txid": txid, "vin": 0, "status": status(Some(block)) }),
        None => json!({ "spent": false }),
    }
}

/// A block in a list of blocks.
pub fn summary(block: &Block, height: u32) -> Value {
    let parent = (height > 0).then_some(block.header.prev_blockhash);
    json!({
        "id": block.block_hash(), "height": height, "version": block.header.version.to_consensus(),
        "timestamp": block.header.time, "bits": block.header.bits.to_consensus(), "nonce": block.header.nonce,
        "merkle_root": block.header.merkle_root, "previousblockhash": parent, "tx_count": block.txdata.len(),
    })
}

fn find<'a>(chain: &'a RegtestChain, txid: &Txid) -> Option<(u32, &'a Block, usize)> {
    (0..).zip(chain.blocks()).find_map(|(height, block)| {
        let position = block.txdata.iter().position(|transaction| transaction.compute_txid() == *txid)?;
        Some((height, block, position))
    })
}

fn spent_output<'a>(chain: &'a RegtestChain, outpoint: &OutPoint) -> Option<&'a TxOut> {
    let (_, block, position) = find(chain, &outpoint.txid)?;
    block.txdata[position].output.get(usize::try_from(outpoint.vout).ok()?)
}

/// A page: the newest first, after the last that was seen.
fn history(chain: &RegtestChain, script_hash: &str, last: Option<Txid>) -> Value {
    let mut items = Vec::new();
    for (height, block) in (0..).zip(chain.blocks()) {
        for transaction in &block.txdata {
            let pays = |output: &TxOut| sha256::Hash::hash(output.script_pubkey.as_bytes()).to_string() == script_hash;
            let spent = transaction.input.iter().map(|input| spent_output(chain, &input.previous_output));
            let spent: Vec<Option<&TxOut>> = spent.collect();
            if transaction.output.iter().chain(spent.iter().copied().flatten()).any(pays) {
                let block = BlockId { height, hash: block.block_hash() };
                let script = |output: &TxOut| json!({ "scriptpubkey": output.script_pubkey });
                let inputs: Value = spent.iter().map(|spent| json!({ "prevout": spent.map(script) })).collect();
                let outputs: Value = transaction.output.iter().map(script).collect();
                let status = status(Some(block));
                let txid = transaction.compute_txid();
                items.push((txid, json!({ "txid": txid, "status": status, "vin": inputs, "vout": outputs })));
            }
        }
    }
    items.reverse();
    let position = |last| items.iter().position(|(txid, _)| *txid == last);
    let start = last.map_or(0, |last| position(last).map_or(items.len(), |position| position + 1));
    items[start..].iter().take(PAGE).map(|(_, item)| item.clone()).collect()
}
