//! Upgrades: how the holders of the upgrade keys announce, on Bitcoin, another program or other sequencer keys.
//!
//! An announcement is a transaction that spends an output of the upgrade keys and has an output that says what is
//! announced. What t of the n keys sign is the spend, so any wallet and any hardware signer that spends by a leaf of
//! taproot can announce: as a descriptor the output is `tr(U,multi_a(t,key 1,...,key n))`, where U is a key that nobody
//! has and that differs from rollup to rollup. A signature covers all outputs of the transaction and the script of the
//! one that it spends, hence the announcement and the rollup.
//!
//! The signatures are checked here: that Bitcoin takes a transaction does not say that the keys in its witness signed
//! it ([`crate::spent`] says why). So each input spends an output of the upgrade keys and tells its value.
//!
//! What is accepted when, and what is in force, is the [`Schedule`](crate::schedule::Schedule)'s part.

use crate::{
    bridge,
    cell::ChainId,
    follow::Params,
    program::ProgramId,
    quorum::{KEYS_MAX, Keys, Quorum},
    secp::with_context,
    spent::{self, WholeSignature},
    take::take,
};
use alloc::vec::Vec;
use bitcoin::{
    Script, ScriptBuf, TapLeafHash, TapNodeHash, Transaction, TxIn, TxOut, Witness, XOnlyPublicKey,
    opcodes::all::{OP_PUSHDATA1, OP_PUSHDATA2, OP_RETURN},
    secp256k1::{Secp256k1, Verification},
    taproot::{LeafVersion, TAPROOT_CONTROL_BASE_SIZE},
};

/// What is put before the founding digest when the internal key is made; see [`bridge::Bridge::internal_key`].
const INTERNAL_KEY_TAG: &[u8] = b"taproof/upgrade/v3";
/// The bytes of the longest announcement, behind the mark.
pub const UPGRADE_LENGTH_MAX: usize = FIXED_LENGTH + 1 + 32 * KEYS_MAX;

/// The number of a withdrawal that ends the right of the upgrade keys for good.
pub const RENOUNCING_NUMBER: u32 = u32::MAX - 1;

const FIXED_LENGTH: usize = 4 + 1 + 4;
const PROGRAM: u8 = 1;
const SEQUENCERS: u8 = 2;
const WITHDRAWAL: u8 = 3;
/// What stands between identity and announcement.
const KIND: u8 = 5;

/// What is announced.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Change {
    /// Another program.
    Program {
        /// The program.
        program: ProgramId,
        /// The height from which it is in force.
        height: u32,
    },
    /// Other sequencer keys.
    Sequencers {
        /// The keys; with none, anybody posts.
        keys: Keys,
        /// The height from which they are in force.
        height: u32,
    },
    /// All that was announced and is not in force yet is taken back.
    Withdrawal,
}

/// An announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Upgrade {
    /// How many were accepted before it.
    pub number: u32,
    /// What it announces.
    pub change: Change,
}

/// Why a transaction of the upgrade keys announces nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// More than one output announces something.
    #[error("{0} outputs announce something, where one can")]
    Outputs(usize),
    /// The announcement ends early or goes on.
    #[error("the announcement has not the length of its kind")]
    Length,
    /// No kind of announcement has this number.
    #[error("no kind of announcement has number {0}")]
    Kind(u8),
    /// There are too many sequencer keys, or they are not valid and strictly ascending.
    #[error("the sequencer keys are not up to {KEYS_MAX} valid ones in ascending order")]
    Sequencers,
    /// A withdrawal has a height.
    #[error("a withdrawal has height {0}, where it has none")]
    Height(u32),
    /// Another announcement comes next.
    #[error("the announcement has number {found}, where number {expected} comes next")]
    Number {
        /// The number of the next.
        expected: u32,
        /// The number that it has.
        found: u32,
    },
    /// Those who disagree would have too little time.
    #[error("the announcement is for height {found}, where one in its block is for height {min} or higher")]
    TooSoon {
        /// The lowest height that can be announced in that block.
        min: u64,
        /// The height that it has.
        found: u32,
    },
    /// Too many announcements are not in force yet.
    #[error("{0} announcements are not in force yet; one must be, or all be withdrawn, before another is accepted")]
    Full(usize),
    /// Sequencers would have no time of their own.
    #[error("the founder chose no quiet blocks, so anybody's anchors would count whoever the sequencers are")]
    NoQuietBlocks,
    /// The upgrade keys gave up their right.
    #[error("the upgrade keys were renounced: nothing can be announced any more")]
    Renounced,
}

impl Upgrade {
    /// Whether it ends the right of the upgrade keys for good.
    pub fn renounces(&self) -> bool {
        self.change == Change::Withdrawal && self.number == RENOUNCING_NUMBER
    }

    /// The bytes behind the mark: number (4), kind (1), height (4), and the program's id (32), or the number of keys
    /// (1) and the keys (32 each), or nothing. Integers are little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (kind, height) = match &self.change {
            Change::Program { height, .. } => (PROGRAM, *height),
            Change::Sequencers { height, .. } => (SEQUENCERS, *height),
            Change::Withdrawal => (WITHDRAWAL, 0),
        };
        let mut bytes = Vec::with_capacity(UPGRADE_LENGTH_MAX);
        bytes.extend(self.number.to_le_bytes());
        bytes.push(kind);
        bytes.extend(height.to_le_bytes());
        match &self.change {
            Change::Program { program, .. } => bytes.extend(program.to_byte_array()),
            Change::Sequencers { keys, .. } => keys.write(&mut bytes),
            Change::Withdrawal => {}
        }
        bytes
    }

    /// Reads what [`Upgrade::to_bytes`] writes.
    ///
    /// # Errors
    /// [`UpgradeError::Length`], [`UpgradeError::Kind`], [`UpgradeError::Sequencers`] and [`UpgradeError::Height`].
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, UpgradeError> {
        let upgrade = Self::read(&mut bytes)?;
        if bytes.is_empty() { Ok(upgrade) } else { Err(UpgradeError::Length) }
    }

    /// Reads an announcement from the front of some bytes.
    pub(crate) fn read(bytes: &mut &[u8]) -> Result<Self, UpgradeError> {
        let number = u32::from_le_bytes(read(bytes)?);
        let [kind] = read(bytes)?;
        let height = u32::from_le_bytes(read(bytes)?);
        let change = match kind {
            PROGRAM => Change::Program { program: ProgramId::from_byte_array(read(bytes)?), height },
            SEQUENCERS => Change::Sequencers { keys: read_keys(bytes)?, height },
            WITHDRAWAL if height != 0 => return Err(UpgradeError::Height(height)),
            WITHDRAWAL => Change::Withdrawal,
            kind => return Err(UpgradeError::Kind(kind)),
        };
        Ok(Self { number, change })
    }
}

fn read<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], UpgradeError> {
    take(bytes).ok_or(UpgradeError::Length)
}

impl core::fmt::Display for Upgrade {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}: ", self.number)?;
        match &self.change {
            Change::Program { program, height } => write!(f, "program {program} from height {height} on"),
            Change::Sequencers { keys, height } if keys.is_empty() => {
                write!(f, "no sequencers, so that anybody posts, from height {height} on")
            }
            Change::Sequencers { keys, height } => {
                write!(f, "sequencers")?;
                keys.iter().try_for_each(|key| write!(f, " {key}"))?;
                write!(f, " from height {height} on")
            }
            Change::Withdrawal if self.renounces() => {
                write!(f, "the upgrade keys give up their right for good, and what is not in force yet is withdrawn")
            }
            Change::Withdrawal => write!(f, "what is not in force yet is withdrawn"),
        }
    }
}

/// Reads what [`Keys::write`] writes.
pub(crate) fn read_keys(bytes: &mut &[u8]) -> Result<Keys, UpgradeError> {
    let [count] = read(bytes)?;
    if usize::from(count) > KEYS_MAX {
        return Err(UpgradeError::Sequencers);
    }
    let mut keys = Vec::with_capacity(count.into());
    for _ in 0..count {
        let key = read::<32>(bytes)?;
        keys.push(XOnlyPublicKey::from_slice(&key).map_err(|_| UpgradeError::Sequencers)?);
    }
    Keys::try_from(keys).map_err(|_| UpgradeError::Sequencers)
}

/// The outputs that the upgrade keys announce from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpgradeOutput {
    internal_key: XOnlyPublicKey,
    keys: Quorum,
    leaf: ScriptBuf,
    mark: Vec<u8>,
    /// Whether sequencers have time of their own.
    has_quiet_blocks: bool,
}

impl UpgradeOutput {
    /// The outputs of a rollup whose upgrade keys have this leaf, over an internal key that nobody has.
    fn new(internal_key: XOnlyPublicKey, keys: Quorum, chain_id: ChainId, has_quiet_blocks: bool) -> Self {
        let mark = chain_id.to_byte_array().into_iter().chain([KIND]).collect();
        Self { internal_key, leaf: keys.leaf(), keys, mark, has_quiet_blocks }
    }

    /// The outputs of a rollup; `None` if it has no upgrade keys.
    pub fn of(params: &Params) -> Option<Self> {
        let keys = params.upgrade_keys.clone()?;
        let internal_key = bridge::internal_key(INTERNAL_KEY_TAG, params.digest());
        Some(Self::new(internal_key, keys, params.chain_id(), params.quiet_blocks > 0))
    }

    /// The internal key.
    pub fn internal_key(&self) -> XOnlyPublicKey {
        self.internal_key
    }

    /// The leaf by which t of the n keys spend.
    pub fn leaf(&self) -> &Script {
        &self.leaf
    }

    /// The script of the output.
    pub fn script_pubkey<C: Verification>(&self, secp: &Secp256k1<C>) -> ScriptBuf {
        let root = TapNodeHash::from_script(&self.leaf, LeafVersion::TapScript);
        ScriptBuf::new_p2tr(secp, self.internal_key, Some(root))
    }

    /// The output that announces an upgrade. Its script is `OP_RETURN` and one minimal push: the rollup's identity, 5,
    /// [the announcement](Upgrade::to_bytes).
    pub fn announcement(&self, upgrade: &Upgrade) -> TxOut {
        let data: Vec<u8> = self.mark.iter().copied().chain(upgrade.to_bytes()).collect();
        let mut script = alloc::vec![OP_RETURN.to_u8()];
        match data.len() {
            length @ ..=75 => script.push(length as u8),
            length @ ..=255 => script.extend([OP_PUSHDATA1.to_u8(), length as u8]),
            length => {
                script.push(OP_PUSHDATA2.to_u8());
                script.extend((length as u16).to_le_bytes());
            }
        }
        script.extend(data);
        TxOut { value: bitcoin::Amount::ZERO, script_pubkey: script.into() }
    }

    /// Whether an output of a transaction has the mark of announcements. It may be anybody's.
    pub fn is_marked(&self, transaction: &Transaction) -> bool {
        self.marked(transaction).next().is_some()
    }

    /// What the outputs of a transaction announce, behind their marks.
    fn marked<'a>(&'a self, transaction: &'a Transaction) -> impl Iterator<Item = &'a [u8]> {
        let scripts = transaction.output.iter().map(|output| output.script_pubkey.as_bytes());
        scripts.filter_map(|script| single_push(script)?.strip_prefix(self.mark.as_slice()))
    }

    /// Reads a transaction; `None` if it announces nothing, or somebody else than the upgrade keys made it.
    ///
    /// # Errors
    /// [`UpgradeError`] if the upgrade keys made it, and it is not well-formed.
    pub fn parse(&self, transaction: &Transaction) -> Result<Option<Upgrade>, UpgradeError> {
        // Signatures cost most.
        if !self.is_marked(transaction) || !self.is_signed(transaction) {
            return Ok(None);
        }
        self.announced(transaction)
    }

    /// What a transaction announces, whoever made it; `None` if nothing.
    ///
    /// # Errors
    /// [`UpgradeError`] if it is not well-formed.
    pub fn announced(&self, transaction: &Transaction) -> Result<Option<Upgrade>, UpgradeError> {
        let mut marked = self.marked(transaction);
        let Some(announced) = marked.next() else { return Ok(None) };
        let further = marked.count();
        if further > 0 {
            return Err(UpgradeError::Outputs(1 + further));
        }
        let upgrade = Upgrade::from_bytes(announced)?;
        match &upgrade.change {
            Change::Sequencers { keys, .. } if !keys.is_empty() && !self.has_quiet_blocks => {
                Err(UpgradeError::NoQuietBlocks)
            }
            _ => Ok(Some(upgrade)),
        }
    }

    /// Whether a transaction spends outputs of the upgrade keys alone, and t of them signed all of it.
    fn is_signed(&self, transaction: &Transaction) -> bool {
        let Some(first) = transaction.input.first() else { return false };
        let told = |input: &TxIn| self.signatures(&input.witness).and_then(|_| spent::told(input.sequence));
        let spends = transaction.input.iter().map(told);
        let (Some(values), Some(signatures)) = (spends.collect::<Option<Vec<_>>>(), self.signatures(&first.witness))
        else {
            return false;
        };
        with_context(|secp| {
            let script_pubkey = self.script_pubkey(secp);
            let spent = values.into_iter().map(|value| TxOut { value, script_pubkey: script_pubkey.clone() });
            let spent: Vec<TxOut> = spent.collect();
            let leaf = TapLeafHash::from_script(&self.leaf, LeafVersion::TapScript);
            let mut count = 0;
            // The last key's comes first.
            for (key, signature) in self.keys.keys().iter().rev().zip(signatures) {
                if signature.is_empty() {
                    continue;
                }
                let signature = WholeSignature::from_bytes(signature);
                if !signature.is_some_and(|signature| signature.holds(secp, transaction, &spent, leaf, key)) {
                    return false;
                }
                count += 1;
            }
            count == usize::from(self.keys.threshold())
        })
    }

    /// The elements for signatures of a witness that spends an output of the upgrade keys; `None` for any other.
    fn signatures<'a>(&self, witness: &'a Witness) -> Option<impl Iterator<Item = &'a [u8]> + use<'a>> {
        let (leaf, control) = (witness.nth(witness.len().checked_sub(2)?)?, witness.last()?);
        let [version, key @ ..] = control else { return None };
        let is_lone_leaf = control.len() == TAPROOT_CONTROL_BASE_SIZE
            && version & 0xfe == LeafVersion::TapScript.to_consensus()
            && key == self.internal_key.serialize();
        let keys = self.keys.keys().len();
        let is_spent = witness.len() == keys + 2 && is_lone_leaf && leaf == self.leaf.as_bytes();
        is_spent.then(|| witness.iter().take(keys))
    }
}

/// What a script of `OP_RETURN` and one minimal push of data pushes.
fn single_push(script: &[u8]) -> Option<&[u8]> {
    const PUSHDATA1: u8 = OP_PUSHDATA1.to_u8();
    const PUSHDATA2: u8 = OP_PUSHDATA2.to_u8();
    let (length, data) = match script.strip_prefix(&[OP_RETURN.to_u8()])? {
        [length @ 1..=75, data @ ..] => (usize::from(*length), data),
        [PUSHDATA1, length @ 76..=255, data @ ..] => (usize::from(*length), data),
        [PUSHDATA2, low, high @ 1..=255, data @ ..] => (usize::from(u16::from_le_bytes([*low, *high])), data),
        _ => return None,
    };
    (data.len() == length).then_some(data)
}

#[cfg(test)]
pub(crate) mod tests;
