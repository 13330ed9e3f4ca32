//! Claim requests: secrets shown on Bitcoin, so that no poster can keep a lock from being opened until it expires.
//!
//! A request is an output of any transaction whose script is `OP_RETURN` with one push: the chain id, the tag 3, the
//! lock's cell (4 bytes, little-endian) and the secret (32). Nobody signs it: who knows the secret may open the lock,
//! and what is locked goes to the account that the lock names. Of a transaction's claim requests the first counts, so
//! that one costs about what an exit request does, and a flood of them no less.
//!
//! Its height is that of its block. The state before a batch can serve it iff all of these hold; a batch can show the
//! cells that say otherwise, and is rid of it:
//!
//! 1. The cell is a lock: its first element is 4, its second pack(a: 64, b: 64, token: 32, version: 32, mode: 8), its
//!    third pack(A: 32, B: 32, expiry: 32, start: 32, window: 16, source: 32).
//! 2. The mode is 1, a hash lock, or 2, a point lock, and the fifth element is the word that the secret has there (see
//!    [`evidence`](crate::evidence)).
//! 3. The request's height is at most the expiry.
//! 4. The cell B lies in the tree and is an account that counts the lock's token, in its first holding, or else in
//!    the second unless the token is bitcoin, and a + b more there are below 2^64.
//!
//! The first three, and a B outside the tree, are refuted by the cell alone, the rest of the last by both cells. So
//! whatever is asked, and whatever the lock holds, a claim can be made or refuted. Two claims that pay one account are
//! in nobody's way: a program in which all holdings of a token together stay below 2^64 can make both.
//!
//! A claim is served by a step that has the check for claims, names its cell and its height, and posts its secret. A
//! program without such an operation could not make it, so claim requests are nothing there; see
//! [`settle`](super::settle) for those that wait when it comes into force.

use super::{Refuting, RequestId};
use crate::{
    cell::{Account, CellElements, CellIndex, ChainId, Depth, Token},
    evidence::{ClaimRequest, Secret},
    field::unpack,
};
use alloc::vec::Vec;
use ark_bn254::Fr;
use bitcoin::{
    Amount, Script, ScriptBuf, TxOut,
    hashes::{Hash, sha256},
    opcodes::all::{OP_PUSHBYTES_52, OP_RETURN},
};

/// What follows the chain id in a claim request's output.
pub(super) const TAG: u8 = 3;
/// The first element of a lock.
const LOCK_KIND: u8 = 4;
const HASH_LOCK: u64 = 1;
const POINT_LOCK: u64 = 2;

/// What a claim on a lock brings about.
struct Opened {
    token: Token,
    /// What the lock holds, below 2^65.
    sum: u128,
    payee: CellIndex,
}

impl ClaimRequest {
    /// Encodes the lock's cell (4 bytes, little-endian) and the secret (32).
    pub fn to_bytes(&self) -> [u8; 36] {
        let mut bytes = [0; 36];
        bytes[..4].copy_from_slice(&self.cell.get().to_le_bytes());
        bytes[4..].copy_from_slice(&self.secret);
        bytes
    }

    /// Decodes what [`ClaimRequest::to_bytes`] encodes, of a request at a height; `None` for what is none.
    pub fn from_bytes(bytes: &[u8], height_blocks: u32) -> Option<Self> {
        let (cell, secret) = bytes.split_first_chunk()?;
        let cell = CellIndex::new(u32::from_le_bytes(*cell))?;
        Some(Self { cell, secret: secret.try_into().ok()?, height_blocks })
    }

    /// The output that puts the request on Bitcoin.
    pub fn output(cell: CellIndex, secret: &[u8; 32], chain_id: ChainId) -> TxOut {
        let mut script = Vec::with_capacity(2 + usize::from(OP_PUSHBYTES_52.to_u8()));
        script.extend([OP_RETURN.to_u8(), OP_PUSHBYTES_52.to_u8()]);
        script.extend(chain_id.to_byte_array());
        script.push(TAG);
        script.extend(Self { cell, secret: *secret, height_blocks: 0 }.to_bytes());
        TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::from_bytes(script) }
    }

    /// Reads the script of an output, of any value, in the block at a height; `None` if it holds no claim request.
    pub fn parse(script: &Script, chain_id: ChainId, height_blocks: u32) -> Option<Self> {
        let push = script.as_bytes().strip_prefix(&[OP_RETURN.to_u8(), OP_PUSHBYTES_52.to_u8()])?;
        let body = push.strip_prefix(&chain_id.to_byte_array())?.strip_prefix(&[TAG])?;
        Self::from_bytes(body, height_blocks)
    }
}

/// A claim request with what its secret opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(from = "ClaimRequest", into = "ClaimRequest"))]
pub struct QueuedClaim {
    request: ClaimRequest,
    /// The word of the point lock that the secret opens, if it is a scalar. It costs a multiplication on the curve, and
    /// thousands of requests may be held against one lock by each anchor, so it is found once.
    point_word: Option<Fr>,
}

impl From<ClaimRequest> for QueuedClaim {
    fn from(request: ClaimRequest) -> Self {
        Self::new(request)
    }
}

impl From<QueuedClaim> for ClaimRequest {
    fn from(claim: QueuedClaim) -> Self {
        claim.request
    }
}

impl QueuedClaim {
    /// Finds out what a request's secret opens.
    pub fn new(request: ClaimRequest) -> Self {
        Self { request, point_word: Secret::Scalar(request.secret).word().ok() }
    }

    /// The request.
    pub fn request(&self) -> &ClaimRequest {
        &self.request
    }

    pub(super) fn id(&self) -> RequestId {
        RequestId(sha256::Hash::hash(&self.request.to_bytes()).to_byte_array())
    }

    /// As [`Request::refuted_by`](super::Request::refuted_by).
    pub(super) fn refuted_by(
        &self,
        depth: Depth,
        shown: impl Fn(CellIndex) -> Option<CellElements>,
    ) -> Option<Refuting> {
        let cell = self.request.cell;
        let alone = Refuting { cell, payee: None };
        let Some(opened) = self.open(depth, &shown(cell)?) else { return Some(alone) };
        let is_payable = opened.can_be_paid_to(&shown(opened.payee)?);
        let both = Refuting { payee: (opened.payee != cell).then_some(opened.payee), ..alone };
        (!is_payable).then_some(both)
    }

    /// What the secret brings about at the request's height, if it opens what a cell holds.
    fn open(&self, depth: Depth, CellElements([kind, amounts, terms, _, word, ..]): &CellElements) -> Option<Opened> {
        if *kind != Fr::from(LOCK_KIND) {
            return None;
        }
        let [a, b, token, _, mode] = unpack(*amounts, [64, 64, 32, 32, 8])?;
        let [_, payee, expiry, ..] = unpack(*terms, [32, 32, 32, 32, 16, 32])?;
        let opens = match mode {
            HASH_LOCK => Secret::Preimage(self.request.secret).word().ok(),
            POINT_LOCK => self.point_word,
            _ => return None,
        };
        let is_open = opens == Some(*word) && u64::from(self.request.height_blocks) <= expiry;
        let payee = CellIndex::new(u32::try_from(payee).ok()?).filter(|payee| is_open && depth.contains(*payee))?;
        Some(Opened { token: Token(u32::try_from(token).ok()?), sum: u128::from(a) + u128::from(b), payee })
    }
}

impl Opened {
    /// Whether a cell is an account that can take what the lock holds.
    fn can_be_paid_to(&self, CellElements([kind, token, _, balance, _, _, _, second]): &CellElements) -> bool {
        let holds = |held: u64| u128::from(held) + self.sum < 1u128 << 64;
        if *kind != Fr::from(Account::KIND) {
            return false;
        }
        if *token == Fr::from(self.token.0) {
            return unpack(*balance, [64]).is_some_and(|[balance]| holds(balance));
        }
        let second = unpack(*second, [32, 64]).filter(|[token, _]| *token == u64::from(self.token.0));
        self.token != Token::BITCOIN && second.is_some_and(|[_, balance]| holds(balance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{evidence::word, field::pack};
    use ark_ff::AdditiveGroup;

    const CHAIN: ChainId = ChainId::from_byte_array([9; 15]);
    const SECRET: [u8; 32] = [7; 32];
    const EXPIRY: u32 = 500;

    fn depth(levels: u8) -> Depth {
        Depth::new(levels).expect("1 to 10 levels")
    }

    fn index(i: u32) -> CellIndex {
        CellIndex::new(i).expect("a small index")
    }

    fn request() -> ClaimRequest {
        ClaimRequest { cell: index(5), secret: SECRET, height_blocks: EXPIRY }
    }

    /// A lock of 30 + 12 of a token, for the account in cell 8.
    fn lock(token: u64, mode: u64) -> CellElements {
        let of_secret = match mode {
            POINT_LOCK => Secret::Scalar(SECRET).word().expect("in range"),
            _ => word(&sha256::Hash::hash(&SECRET).to_byte_array()),
        };
        let amounts = pack([(30, 64), (12, 64), (token, 32), (3, 32), (mode, 8)]);
        let terms = pack([(6, 32), (8, 32), (EXPIRY.into(), 32), (1, 32), (20, 16), (0, 32)]);
        CellElements([LOCK_KIND.into(), amounts, terms, Fr::ZERO, of_secret, 77.into(), Fr::ZERO, Fr::ZERO])
    }

    fn account(token: u64, balance: u64, second: (u64, u64)) -> CellElements {
        let second = pack([(second.0, 32), (second.1, 64)]);
        let [x, y] = [11, 12].map(Fr::from);
        CellElements([Account::KIND.into(), token.into(), 4.into(), balance.into(), x, y, Fr::ZERO, second])
    }

    /// Which cells refute the request in a state of these two cells; checks that just these do.
    fn refuting(request: &ClaimRequest, lock: CellElements, payee: CellElements) -> Option<Vec<u32>> {
        let cell = |i: CellIndex| match i.get() {
            5 => lock,
            8 => payee,
            _ => CellElements::default(),
        };
        let claim = QueuedClaim::new(*request);
        let refuting = claim.refuted_by(depth(2), |i| Some(cell(i)))?;
        for shown in refuting.cells() {
            let without = |i: CellIndex| (i != shown).then(|| cell(i));
            assert_eq!(claim.refuted_by(depth(2), without), None, "cell {shown:?} is needed");
            let alone = claim.refuted_by(depth(2), |i| refuting.cells().any(|j| j == i).then(|| cell(i)));
            assert_eq!(alone, Some(refuting), "no other cell is needed");
        }
        Some(refuting.cells().map(CellIndex::get).collect())
    }

    #[test]
    fn the_grammar_of_claims_is_exact() {
        let script = ClaimRequest::output(index(5), &SECRET, CHAIN).script_pubkey.to_bytes();
        assert_eq!((script.len(), &script[..2]), (54, [0x6a, 0x34].as_slice()));
        let parse = |script: &[u8]| ClaimRequest::parse(Script::from_bytes(script), CHAIN, EXPIRY);
        assert_eq!(parse(&script), Some(request()));
        for length in 0..script.len() {
            assert_eq!(parse(&script[..length]), None, "{length} bytes");
        }
        assert_eq!(parse(&[script.as_slice(), &[0]].concat()), None);
        for position in 0..18 {
            let mut altered = script.clone();
            altered[position] ^= 1;
            assert_eq!(parse(&altered), None, "byte {position}");
        }
        let mut outside = script;
        outside[18..22].copy_from_slice(&(1u32 << 30).to_le_bytes());
        assert_eq!(parse(&outside), None, "the cell is beyond the largest tree");
    }

    #[test]
    fn a_claim_is_served_by_its_lock_alone() {
        let (request, payee) = (request(), account(0, 1, (0, 0)));
        for mode in [HASH_LOCK, POINT_LOCK] {
            assert_eq!(refuting(&request, lock(0, mode), payee), None);
        }
        let late = ClaimRequest { height_blocks: EXPIRY + 1, ..request };
        let other = ClaimRequest { secret: [8; 32], ..request };
        let zero = ClaimRequest { secret: [0; 32], ..request };
        for (request, lock) in [
            (request, CellElements::default()),
            (request, payee),
            (request, lock(0, 0)),
            (request, lock(0, 3)),
            (late, lock(0, HASH_LOCK)),
            (other, lock(0, HASH_LOCK)),
            (zero, lock(0, POINT_LOCK)),
        ] {
            assert_eq!(refuting(&request, lock, payee), Some(alloc::vec![5]), "{request:?}");
        }
        // Elements that no rule writes are no lock, and refute as such.
        for position in [0, 1, 2, 4] {
            let mut broken = lock(0, HASH_LOCK);
            broken.0[position] = -Fr::from(1u64);
            assert_eq!(refuting(&request, broken, payee), Some(alloc::vec![5]), "element {position}");
        }
    }

    #[test]
    fn a_payee_that_cannot_take_it_refutes_the_claim() {
        let most = u64::MAX - 42;
        for (token, payee) in [
            (0, account(0, most, (0, 0))),
            (9, account(9, 0, (0, 0))),
            (9, account(0, 0, (9, most))),
            (9, account(9, 0, (9, u64::MAX))),
        ] {
            assert_eq!(refuting(&request(), lock(token, HASH_LOCK), payee), None, "{payee:?}");
        }
        for (token, payee) in [
            (0, CellElements::default()),
            (0, lock(0, HASH_LOCK)),
            (0, account(0, most + 1, (0, 0))),
            (0, account(9, 0, (0, 0))),
            (9, account(0, 0, (0, 0))),
            (9, account(0, 0, (9, most + 1))),
        ] {
            assert_eq!(refuting(&request(), lock(token, HASH_LOCK), payee), Some(alloc::vec![5, 8]), "{payee:?}");
        }
        // In a tree of eight cells there is no cell 8, so the lock alone is shown.
        let alone = QueuedClaim::new(request()).refuted_by(depth(1), |_| Some(lock(0, HASH_LOCK)));
        assert_eq!(alone, Some(Refuting { cell: index(5), payee: None }));
        let mut own = lock(0, HASH_LOCK);
        own.0[2] = pack([(6, 32), (5, 32), (EXPIRY.into(), 32), (1, 32), (20, 16), (0, 32)]);
        assert_eq!(refuting(&request(), own, account(0, 0, (0, 0))), Some(alloc::vec![5]), "it names itself");
        let mut broken = account(0, 0, (0, 0));
        broken.0[3] = -Fr::from(1u64);
        assert_eq!(refuting(&request(), lock(0, HASH_LOCK), broken), Some(alloc::vec![5, 8]));
    }
}
