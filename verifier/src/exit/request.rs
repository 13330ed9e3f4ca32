//! What is demanded of batches on Bitcoin, in its place there.

use super::{ExitRequest, QueuedClaim, TAG, claim};
use crate::{
    cell::{CellElements, CellIndex, ChainId, Depth},
    evidence::ClaimRequest,
};
use alloc::vec::Vec;
use ark_bn254::Fr;
use ark_ff::Field;
use bitcoin::{Script, Txid};

/// A demand on whoever makes batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Request {
    /// That an account's bitcoin be paid out.
    Exit(ExitRequest),
    /// That a lock be opened.
    Claim(QueuedClaim),
}

/// A request's name among those that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(super) [u8; 32]);

/// The cells that show together that a batch cannot serve a request: its own, and of a claim the payee's, too, where it
/// is that one's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refuting {
    /// The cell that the request names.
    pub cell: CellIndex,
    /// Another one.
    pub payee: Option<CellIndex>,
}

impl Refuting {
    /// The cells, one or two.
    pub fn cells(&self) -> impl Iterator<Item = CellIndex> {
        [Some(self.cell), self.payee].into_iter().flatten()
    }
}

impl From<ExitRequest> for Request {
    fn from(request: ExitRequest) -> Self {
        Self::Exit(request)
    }
}

impl From<ClaimRequest> for Request {
    fn from(request: ClaimRequest) -> Self {
        Self::Claim(QueuedClaim::new(request))
    }
}

impl Request {
    /// The cell that it is about.
    pub fn cell(&self) -> CellIndex {
        match self {
            Self::Exit(request) => request.from(),
            Self::Claim(claim) => claim.request().cell,
        }
    }

    /// The withdrawal that is demanded, if it is one.
    pub fn exit(&self) -> Option<&ExitRequest> {
        match self {
            Self::Exit(request) => Some(request),
            Self::Claim(_) => None,
        }
    }

    /// The opening of a lock that is demanded, if it is one.
    pub fn claim(&self) -> Option<&ClaimRequest> {
        match self {
            Self::Exit(_) => None,
            Self::Claim(claim) => Some(claim.request()),
        }
    }

    /// The request's name among those that wait. Of an exit it leaves out the signature, and of a claim the height: the
    /// first that shows a secret for a cell is the one that counts.
    pub fn id(&self) -> RequestId {
        match self {
            Self::Exit(request) => request.id(),
            Self::Claim(claim) => claim.id(),
        }
    }

    /// The cells among those that a batch shows of the state before it, in a tree of a depth, which say that this state
    /// cannot serve the request; `None` if they do not say so. Of a cell outside the tree none is needed, and this is
    /// not asked.
    pub fn refuted_by(&self, depth: Depth, shown: impl Fn(CellIndex) -> Option<CellElements>) -> Option<Refuting> {
        match self {
            Self::Exit(request) => {
                let cell = request.from();
                let is_servable = request.is_servable_by(&shown(cell)?);
                (!is_servable).then_some(Refuting { cell, payee: None })
            }
            Self::Claim(claim) => claim.refuted_by(depth, shown),
        }
    }

    /// What its cell holds once it has served the request: of an exit a nonce more and what it pays less, of a lock
    /// nothing. Of a cell that could not serve it the result means nothing.
    pub(super) fn after(&self, CellElements(mut elements): CellElements) -> CellElements {
        match self {
            Self::Exit(request) => {
                let record = request.record();
                elements[2] += Fr::ONE;
                elements[3] -= Fr::from(record.amount + record.fee);
                CellElements(elements)
            }
            Self::Claim(_) => CellElements::default(),
        }
    }

    /// Encodes what follows the chain id in the request's output: the tag, then an exit as [`ExitRequest::to_bytes`]
    /// writes it, or of a claim the lock's cell (4 bytes, little-endian) and the secret (32).
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Exit(request) => core::iter::once(TAG).chain(request.to_bytes()).collect(),
            Self::Claim(claim) => core::iter::once(claim::TAG).chain(claim.request().to_bytes()).collect(),
        }
    }

    /// Decodes what [`Request::to_bytes`] encodes of a request at a height; `None` for what is no request.
    pub fn from_bytes(bytes: &[u8], height_blocks: u32) -> Option<Self> {
        let (tag, body) = bytes.split_first()?;
        match *tag {
            TAG => ExitRequest::from_bytes(body).map(Self::Exit),
            claim::TAG => ClaimRequest::from_bytes(body, height_blocks).map(Self::from),
            _ => None,
        }
    }

    /// Reads the script of an output, of any value, in the block at a height; `None` if it holds no request. An exit's
    /// signature is not checked.
    pub fn parse(script: &Script, chain_id: ChainId, height_blocks: u32) -> Option<Self> {
        let exit = || ExitRequest::parse(script, chain_id).map(Self::Exit);
        let claim = || ClaimRequest::parse(script, chain_id, height_blocks);
        exit().or_else(|| claim().map(Self::from))
    }
}

/// A request in its place on Bitcoin; an exit is signed by its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ScannedRequest<R = Request> {
    /// How many requests of the rollup were queued before it.
    pub index: u64,
    /// The height of its block.
    pub height: u32,
    /// Its transaction.
    pub txid: Txid,
    /// Its output.
    pub vout: u32,
    /// What it demands.
    pub request: R,
}

/// An exit request in its place on Bitcoin.
pub type ScannedExit = ScannedRequest<ExitRequest>;

impl ScannedRequest {
    /// The same, if it is an exit request.
    pub fn exit(&self) -> Option<ScannedExit> {
        let Self { index, height, txid, vout, request } = *self;
        request.exit().map(|request| ScannedRequest { index, height, txid, vout, request: *request })
    }
}

impl From<ScannedExit> for ScannedRequest {
    fn from(ScannedRequest { index, height, txid, vout, request }: ScannedExit) -> Self {
        Self { index, height, txid, vout, request: Request::Exit(request) }
    }
}
