//! How an anchor stands in a Bitcoin transaction: the reveal, whose input carries the payload in a taproot leaf and
//! whose first output announces it.
//!
//! The leaf is `<32-byte key of the poster> OP_CHECKSIGVERIFY (PUSH PUSH OP_2DROP)* [PUSH OP_DROP] OP_1`. The pushes
//! are minimal, each but the last is 255 bytes long, none is empty, and together they are the payload. The leaf is
//! the only one of its tree, and the internal key is the poster's. Output 0 is `OP_RETURN` with one push of 78 bytes.
//!
//! The grammar is exact: of each script, what is read is written again and must come out the same, so an opcode more,
//! such as one that negates the check of the signature, makes the transaction no anchor.
//!
//! The poster's signature is checked here, too, and [`crate::spent`] says why.

use crate::{
    cell::ChainId,
    field,
    payload::{self, PAYLOAD_LENGTH_MAX, PayloadError, PayloadHash},
    secp::with_context,
    spent::{self, TOLD_VALUE_MAX, WholeSignature},
};
use alloc::vec::Vec;
use ark_bn254::Fr;
use bitcoin::{
    Amount, OutPoint, Script, ScriptBuf, TapLeafHash, TapNodeHash, Transaction, TxIn, TxOut, Witness, XOnlyPublicKey,
    absolute::LockTime,
    opcodes::all::{
        OP_2DROP, OP_CHECKSIGVERIFY, OP_DROP, OP_PUSHBYTES_1, OP_PUSHBYTES_32, OP_PUSHBYTES_75, OP_PUSHDATA1,
        OP_PUSHNUM_1, OP_PUSHNUM_16, OP_PUSHNUM_NEG1, OP_RETURN,
    },
    secp256k1::{Secp256k1, Verification},
    taproot::{self, LeafVersion, TaprootSpendInfo},
    transaction::Version,
};

/// The longest push of a leaf, and the length of each but the last.
pub const PUSH_LENGTH_MAX: usize = 255;
/// Bytes that output 0 pushes.
pub const ANNOUNCEMENT_LENGTH: usize = 4 + 1 + 1 + 8 + 32 + 32;
/// Bytes of the longest leaf: key and check, pushes with their lengths, drops, `OP_1`.
pub const LEAF_LENGTH_MAX: usize =
    LEAF_PREFIX_LENGTH + PAYLOAD_LENGTH_MAX + 2 * PUSHES_MAX + PUSHES_MAX.div_ceil(2) + 1;

const PUSHES_MAX: usize = PAYLOAD_LENGTH_MAX.div_ceil(PUSH_LENGTH_MAX);
const LEAF_PREFIX_LENGTH: usize = 1 + 32 + 1;
const CONTROL_BLOCK_LENGTH: usize = 33;
const VERSION: u8 = 2;
const KIND_ANCHOR: u8 = 1;
/// The number that stands for -1 as one byte of data.
const NEGATIVE_ONE: u8 = 0x81;

/// Why a transaction that announces an anchor is none, or an anchor cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The announcement is of a version that this verifier does not know.
    #[error("the announcement has version {0}, where {VERSION} is known")]
    Version(u8),
    /// The announcement is of something else than an anchor.
    #[error("the announcement has kind {0}, where an anchor has {KIND_ANCHOR}")]
    Kind(u8),
    /// The announced root is no field element.
    #[error("the announced root: {0}")]
    Root(#[from] field::NotCanonicalError),
    /// Output 0 carries money.
    #[error("output 0 carries {0} satoshi")]
    Output0Value(u64),
    /// There is not exactly one input.
    #[error("{0} inputs, where a reveal has 1")]
    InputCount(usize),
    /// There are not exactly two outputs.
    #[error("{0} outputs, where a reveal has 2")]
    OutputCount(usize),
    /// The input has a signature script.
    #[error("the input has a signature script")]
    ScriptSig,
    /// The witness is not signature, leaf and control block.
    #[error("{0} witness elements, where a reveal has 3")]
    WitnessCount(usize),
    /// The signature has an impossible length.
    #[error("a signature of {0} bytes, where it has 64 or 65")]
    SignatureLength(usize),
    /// The signature leaves inputs or outputs open to change.
    #[error("the signature does not cover all inputs and outputs")]
    Sighash,
    /// The input does not tell the value that it spends.
    #[error("the input's sequence tells no value")]
    Sequence,
    /// The poster's key did not sign.
    #[error("the signature is not one by the poster's key")]
    Signature,
    /// The commit locks more than a reveal can tell.
    #[error("{0} sat are locked, and a reveal can tell of {max} sat at most", max = TOLD_VALUE_MAX.to_sat())]
    Value(u64),
    /// The leaf does not follow the grammar.
    #[error("the leaf does not follow the grammar")]
    Leaf,
    /// The control block is not that of a lone leaf under the poster's key.
    #[error("the control block is not that of a lone leaf under the poster's key")]
    ControlBlock,
    /// The payload is not the announced one.
    #[error("the payload does not hash to what output 0 announces")]
    PayloadHash,
    /// The payload exceeds what a reveal carries.
    #[error("{0} bytes of payload, more than {PAYLOAD_LENGTH_MAX}")]
    TooLong(usize),
    /// The payload has no header.
    #[error("the payload: {0}")]
    Payload(#[from] PayloadError),
}

/// What output 0 of a reveal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The number of the batch.
    pub batch: u64,
    /// The hash of the payload.
    pub payload_hash: PayloadHash,
    /// The root after the batch.
    pub root_after: Fr,
}

impl Announcement {
    /// The output's script: `OP_RETURN`, then one push of the first 4 bytes of the chain id, version 2 (1), kind 1 (1),
    /// batch (8, little-endian), the payload's SHA-256 (32), root after (32, little-endian).
    pub fn script_pubkey(&self, chain_id: ChainId) -> ScriptBuf {
        let mut bytes = Vec::with_capacity(PREFIX_LENGTH + ANNOUNCEMENT_LENGTH);
        bytes.extend(announcement_prefix(chain_id));
        bytes.extend([VERSION, KIND_ANCHOR]);
        bytes.extend(self.batch.to_le_bytes());
        bytes.extend(self.payload_hash.to_byte_array());
        bytes.extend(field::to_bytes(&self.root_after));
        bytes.into()
    }

    /// Reads what [`Announcement::script_pubkey`] writes; `None` if the script is none of this rollup's.
    ///
    /// # Errors
    /// [`EnvelopeError::Version`], [`EnvelopeError::Kind`] and [`EnvelopeError::Root`].
    pub fn parse(script: &Script, chain_id: ChainId) -> Result<Option<Self>, EnvelopeError> {
        let Some(body) = script.as_bytes().strip_prefix(&announcement_prefix(chain_id)) else { return Ok(None) };
        let Ok(body) = <&[u8; BODY_LENGTH]>::try_from(body) else { return Ok(None) };
        let [version, kind, rest @ ..] = body;
        if *version != VERSION {
            return Err(EnvelopeError::Version(*version));
        }
        if *kind != KIND_ANCHOR {
            return Err(EnvelopeError::Kind(*kind));
        }
        let (batch, rest) = rest.split_first_chunk().expect("the rest of the body is 72 bytes");
        let (hash, root) = rest.split_first_chunk().expect("the rest of the body is 64 bytes");
        let root = root.first_chunk().expect("the rest of the body is 32 bytes");
        Ok(Some(Self {
            batch: u64::from_le_bytes(*batch),
            payload_hash: PayloadHash::from_byte_array(*hash),
            root_after: field::from_bytes(root)?,
        }))
    }
}

/// `OP_RETURN`, `OP_PUSHDATA1`, the length, the first 4 bytes of the chain id.
const PREFIX_LENGTH: usize = 3 + 4;
const BODY_LENGTH: usize = ANNOUNCEMENT_LENGTH - 4;

fn announcement_prefix(chain_id: ChainId) -> [u8; PREFIX_LENGTH] {
    let [m0, m1, m2, m3, ..] = chain_id.to_byte_array();
    [OP_RETURN.to_u8(), OP_PUSHDATA1.to_u8(), ANNOUNCEMENT_LENGTH as u8, m0, m1, m2, m3]
}

/// An anchor about to be posted: what the commit transaction locks up and the reveal transaction shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    chain_id: ChainId,
    poster: XOnlyPublicKey,
    announcement: Announcement,
    leaf: ScriptBuf,
}

impl Envelope {
    /// Wraps an encoded payload for a poster, whose key signs the reveal and can sweep the commit.
    ///
    /// # Errors
    /// [`EnvelopeError::TooLong`], and [`EnvelopeError::Payload`] if the payload's header does not decode.
    pub fn new(poster: XOnlyPublicKey, payload: &[u8]) -> Result<Self, EnvelopeError> {
        if payload.len() > PAYLOAD_LENGTH_MAX {
            return Err(EnvelopeError::TooLong(payload.len()));
        }
        let header = payload::Header::decode(payload)?;
        let announcement =
            Announcement { batch: header.batch, payload_hash: PayloadHash::of(payload), root_after: header.root_after };
        let leaf = leaf_script(&poster, payload);
        Ok(Self { chain_id: header.chain_id, poster, announcement, leaf })
    }

    /// The rollup that the payload names.
    pub fn chain_id(&self) -> ChainId {
        self.chain_id
    }

    /// The poster's key.
    pub fn poster(&self) -> XOnlyPublicKey {
        self.poster
    }

    /// What output 0 will say.
    pub fn announcement(&self) -> Announcement {
        self.announcement
    }

    /// The leaf script.
    pub fn leaf(&self) -> &Script {
        &self.leaf
    }

    /// The leaf's hash, which the reveal's signature signs.
    pub fn leaf_hash(&self) -> TapLeafHash {
        TapLeafHash::from_script(&self.leaf, LeafVersion::TapScript)
    }

    /// How the commit output is spent: by this leaf, or by the poster's key alone.
    pub fn spend_info<C: Verification>(&self, secp: &Secp256k1<C>) -> TaprootSpendInfo {
        let leaf = taproot::NodeInfo::new_leaf_with_ver(self.leaf.clone(), LeafVersion::TapScript);
        TaprootSpendInfo::from_node_info(secp, self.poster, leaf)
    }

    /// The script of the output that the commit transaction must have.
    pub fn commit_script_pubkey<C: Verification>(&self, secp: &Secp256k1<C>) -> ScriptBuf {
        let root = TapNodeHash::from_script(&self.leaf, LeafVersion::TapScript);
        ScriptBuf::new_p2tr(secp, self.poster, Some(root))
    }

    /// The reveal transaction, its witness still missing: it spends the commit output, which has the value `locked`,
    /// announces the anchor and pays what is left to the poster.
    ///
    /// # Errors
    /// [`EnvelopeError::Value`].
    pub fn reveal_transaction(
        &self,
        commit: OutPoint,
        locked: Amount,
        change: TxOut,
    ) -> Result<Transaction, EnvelopeError> {
        let input = TxIn {
            previous_output: commit,
            script_sig: ScriptBuf::new(),
            sequence: spent::telling(locked).ok_or(EnvelopeError::Value(locked.to_sat()))?,
            witness: Witness::new(),
        };
        let announcement = TxOut { value: Amount::ZERO, script_pubkey: self.announcement.script_pubkey(self.chain_id) };
        Ok(Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: alloc::vec![input],
            output: alloc::vec![announcement, change],
        })
    }

    /// The reveal's witness: the signature by the poster's key over the leaf, the leaf, and the control block.
    pub fn witness<C: Verification>(&self, secp: &Secp256k1<C>, signature: &taproot::Signature) -> Witness {
        let leaf = (self.leaf.clone(), LeafVersion::TapScript);
        let control = self.spend_info(secp).control_block(&leaf).expect("the leaf is in its own tree");
        let mut witness = Witness::new();
        witness.push(signature.to_vec());
        witness.push(self.leaf.as_bytes());
        witness.push(control.serialize());
        witness
    }
}

/// What a reveal transaction carries: its form is exact, the payload is the announced one, and the poster's key signed.
/// Whether the payload decodes, let alone follows the tip, is not said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reveal {
    poster: XOnlyPublicKey,
    announcement: Announcement,
    payload: Vec<u8>,
}

impl Reveal {
    /// Reads a transaction; `None` if its first output announces nothing of this rollup's.
    ///
    /// # Errors
    /// [`EnvelopeError`] if it does, but the transaction is not a reveal.
    pub fn parse(transaction: &Transaction, chain_id: ChainId) -> Result<Option<Self>, EnvelopeError> {
        let Some(output) = transaction.output.first() else { return Ok(None) };
        let Some(announcement) = Announcement::parse(&output.script_pubkey, chain_id)? else { return Ok(None) };
        if output.value != Amount::ZERO {
            return Err(EnvelopeError::Output0Value(output.value.to_sat()));
        }
        if transaction.output.len() != 2 {
            return Err(EnvelopeError::OutputCount(transaction.output.len()));
        }
        let [input] = transaction.input.as_slice() else {
            return Err(EnvelopeError::InputCount(transaction.input.len()));
        };
        if !input.script_sig.is_empty() {
            return Err(EnvelopeError::ScriptSig);
        }
        let (poster, payload) = parse_witness(&input.witness)?;
        if PayloadHash::of(&payload) != announcement.payload_hash {
            return Err(EnvelopeError::PayloadHash);
        }
        // What costs most is checked last.
        check_signature(transaction, &poster)?;
        Ok(Some(Self { poster, announcement, payload }))
    }

    /// The key that signed the reveal.
    pub fn poster(&self) -> XOnlyPublicKey {
        self.poster
    }

    /// What output 0 says.
    pub fn announcement(&self) -> Announcement {
        self.announcement
    }

    /// The payload's bytes.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The payload's bytes, given away.
    pub fn into_payload(self) -> Vec<u8> {
        self.payload
    }
}

fn parse_witness(witness: &Witness) -> Result<(XOnlyPublicKey, Vec<u8>), EnvelopeError> {
    if witness.len() != 3 {
        return Err(EnvelopeError::WitnessCount(witness.len()));
    }
    let (signature, leaf, control) = (&witness[0], &witness[1], &witness[2]);
    if !matches!(signature.len(), 64 | 65) {
        return Err(EnvelopeError::SignatureLength(signature.len()));
    }
    let (poster, payload) = parse_leaf(Script::from_bytes(leaf))?;
    let [version, key @ ..] = control else { return Err(EnvelopeError::ControlBlock) };
    let is_lone_leaf = control.len() == CONTROL_BLOCK_LENGTH && version & 0xfe == LeafVersion::TapScript.to_consensus();
    if !is_lone_leaf || key != poster.serialize() {
        return Err(EnvelopeError::ControlBlock);
    }
    Ok((poster, payload))
}

/// Checks the signature of a transaction that has the form of a reveal: that the poster's key signed all of it, for an
/// output with the leaf alone under that key and with the value that the sequence tells.
fn check_signature(transaction: &Transaction, poster: &XOnlyPublicKey) -> Result<(), EnvelopeError> {
    let input = &transaction.input[0];
    let signature = WholeSignature::from_bytes(&input.witness[0]).ok_or(EnvelopeError::Sighash)?;
    let value = spent::told(input.sequence).ok_or(EnvelopeError::Sequence)?;
    let leaf = TapLeafHash::from_script(Script::from_bytes(&input.witness[1]), LeafVersion::TapScript);
    let holds = with_context(|secp| {
        let script_pubkey = ScriptBuf::new_p2tr(secp, *poster, Some(leaf.into()));
        signature.holds(secp, transaction, &[TxOut { value, script_pubkey }], leaf, poster)
    });
    if holds { Ok(()) } else { Err(EnvelopeError::Signature) }
}

/// Writes a leaf. The payload is not longer than [`PAYLOAD_LENGTH_MAX`].
fn leaf_script(poster: &XOnlyPublicKey, payload: &[u8]) -> ScriptBuf {
    let mut script = Vec::with_capacity(LEAF_PREFIX_LENGTH + payload.len() + payload.len() / 64 + 8);
    script.push(OP_PUSHBYTES_32.to_u8());
    script.extend(poster.serialize());
    script.push(OP_CHECKSIGVERIFY.to_u8());
    for pair in payload.chunks(2 * PUSH_LENGTH_MAX) {
        pair.chunks(PUSH_LENGTH_MAX).for_each(|data| write_push(data, &mut script));
        let drop = if pair.len() > PUSH_LENGTH_MAX { OP_2DROP } else { OP_DROP };
        script.push(drop.to_u8());
    }
    script.push(OP_PUSHNUM_1.to_u8());
    script.into()
}

/// Writes the one minimal push of 1 to 255 bytes: small numbers have opcodes of their own.
fn write_push(data: &[u8], script: &mut Vec<u8>) {
    match data {
        [number @ 1..=16] => return script.push(OP_PUSHNUM_1.to_u8() + number - 1),
        [NEGATIVE_ONE] => return script.push(OP_PUSHNUM_NEG1.to_u8()),
        _ if data.len() <= usize::from(OP_PUSHBYTES_75.to_u8()) => script.push(data.len() as u8),
        _ => script.extend([OP_PUSHDATA1.to_u8(), data.len() as u8]),
    }
    script.extend(data);
}

/// Reads what [`leaf_script`] writes, and nothing else: the pushes are collected whatever stands between them, then the
/// script is written again and compared.
fn parse_leaf(script: &Script) -> Result<(XOnlyPublicKey, Vec<u8>), EnvelopeError> {
    let bytes = script.as_bytes();
    if bytes.len() > LEAF_LENGTH_MAX {
        return Err(EnvelopeError::Leaf);
    }
    let (key, pushes) = match bytes {
        [push, rest @ ..] if *push == OP_PUSHBYTES_32.to_u8() => rest.split_first_chunk::<32>(),
        _ => None,
    }
    .ok_or(EnvelopeError::Leaf)?;
    let poster = XOnlyPublicKey::from_slice(key).map_err(|_| EnvelopeError::Leaf)?;
    let (_, pushes) = pushes.split_last().ok_or(EnvelopeError::Leaf)?;
    let payload = collect_pushes(pushes).ok_or(EnvelopeError::Leaf)?;
    if payload.len() > PAYLOAD_LENGTH_MAX || leaf_script(&poster, &payload).as_bytes() != bytes {
        return Err(EnvelopeError::Leaf);
    }
    Ok((poster, payload))
}

/// Puts together the data that opcodes push; `None` if a push runs over the end.
fn collect_pushes(mut script: &[u8]) -> Option<Vec<u8>> {
    let mut payload = Vec::with_capacity(script.len());
    let (direct, numbers) =
        (OP_PUSHBYTES_1.to_u8()..=OP_PUSHBYTES_75.to_u8(), OP_PUSHNUM_1.to_u8()..=OP_PUSHNUM_16.to_u8());
    while let [opcode, rest @ ..] = script {
        script = rest;
        let length = match *opcode {
            length if direct.contains(&length) => usize::from(length),
            opcode if opcode == OP_PUSHDATA1.to_u8() => {
                let (length, rest) = script.split_first()?;
                script = rest;
                usize::from(*length)
            }
            number if numbers.contains(&number) => {
                payload.push(number - OP_PUSHNUM_1.to_u8() + 1);
                0
            }
            opcode if opcode == OP_PUSHNUM_NEG1.to_u8() => {
                payload.push(NEGATIVE_ONE);
                0
            }
            _ => 0,
        };
        let (data, rest) = script.split_at_checked(length)?;
        payload.extend(data);
        script = rest;
    }
    Some(payload)
}

#[cfg(test)]
mod tests;
