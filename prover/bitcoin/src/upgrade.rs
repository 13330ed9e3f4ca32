//! What the upgrade keys announce, as transactions for their signers, wherever their keys are.
//!
//! An announcement spends coins of the [upgrade address](UpgradeAddress), which anybody can pay to, and returns what
//! is left to it: the next announcement spends that, so they cannot be mined in another order. [`plan`] writes it as
//! a PSBT with all that hardware signers want; [`CheckedUpgrade`] is what one's own signer looks at and
//! [signs](CheckedUpgrade::sign); [`combine`] joins the signatures. [`UpgradeFate`] says what became of it in
//! the chain.

mod fate;

pub use fate::UpgradeFate;

use crate::{
    anchor::{FeeRate, Funding},
    bridge::{
        descriptor::Leaf,
        sign::{self, CombineError},
    },
};
use bitcoin::{
    Address, Amount, Network, Psbt, ScriptBuf, TapNodeHash, Transaction, TxIn, TxOut, Witness, XOnlyPublicKey,
    absolute::LockTime, bip32::KeySource, key::Secp256k1, taproot, taproot::LeafVersion, transaction::Version,
};
use miniscript::{Descriptor, descriptor::DescriptorPublicKey};
use std::{
    collections::{BTreeMap, HashSet},
    str::FromStr,
};
use taproof_verifier::{
    follow::Params,
    quorum::Quorum,
    spent::{self, TOLD_VALUE_MAX},
    upgrade::{Upgrade, UpgradeError, UpgradeOutput},
};
use taproof_wallet::PosterKey;

/// The longest signature in a tapscript: 64 bytes, and one that names what is signed.
const SIGNATURE_BYTES_MAX: usize = 65;

/// Why there is no announcement.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradePlanError {
    /// The rollup has no upgrade keys.
    #[error("the rollup has no upgrade keys: it is as it was founded, for ever")]
    Immutable,
    /// The coins of the upgrade address do not suffice.
    #[error(
        "{needed_sat} sat are needed, and the coins of the upgrade address are worth {available_sat} sat{}",
        but_large(*too_large)
    )]
    Funds {
        /// What it takes.
        needed_sat: u64,
        /// What there is, without what is too large.
        available_sat: u64,
        /// How many coins there are that are too large to be announced with.
        too_large: usize,
    },
}

fn but_large(count: usize) -> String {
    let max = TOLD_VALUE_MAX.to_sat();
    match count {
        0 => String::new(),
        1 => format!(", without one above {max} sat, which is too large to be announced with"),
        count => format!(", without {count} above {max} sat, which are too large to be announced with"),
    }
}

/// Why a PSBT is not signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeCheckError {
    /// The rollup has no upgrade keys.
    #[error("the rollup has no upgrade keys")]
    Immutable,
    /// The version is not 2, so that nodes may not pass it on.
    #[error("the transaction has version {0}, not 2")]
    Version(i32),
    /// There is a lock time, before which no block holds what is announced.
    #[error("the transaction is locked until {0}")]
    LockTime(LockTime),
    /// A coin is spent twice, which no block does.
    #[error("input {0} spends what another input spends")]
    Twice(usize),
    /// An input spends something else than a coin of the upgrade address, or does not say what it spends.
    #[error("input {0} is not shown to spend a coin of the upgrade address")]
    Input(usize),
    /// An input does not tell the value that it spends, so nobody would hear of what is announced.
    #[error("input {0} does not tell in its sequence what it spends")]
    Value(usize),
    /// An input asks for a signature that does not cover everything.
    #[error("input {0} asks for a signature that leaves inputs or outputs open to change")]
    Sighash(usize),
    /// An output neither announces something nor returns coins, or announces something and burns coins.
    #[error("output {0} neither announces something, without burning coins, nor pays back to the upgrade address")]
    Output(usize),
    /// What is returned is split, so that coins become too small to be worth what spending them costs.
    #[error("output {0} pays back to the upgrade address, as another output does: one is enough")]
    Split(usize),
    /// Nothing is announced that is this rollup's.
    #[error("it announces nothing of this rollup")]
    Nothing,
    /// What is announced is not well-formed.
    #[error(transparent)]
    Upgrade(#[from] UpgradeError),
    /// The fee is above what is taken for meant.
    #[error("it pays a fee of {fee_sat} sat, and {max_sat} sat are the most that is signed")]
    Fee {
        /// The fee.
        fee_sat: u64,
        /// The most.
        max_sat: u64,
    },
    /// The key is none of the upgrade keys.
    #[error("key {0} is none of the upgrade keys")]
    NotASigner(XOnlyPublicKey),
}

/// The address that announcements are made from.
#[derive(Clone, Debug)]
pub struct UpgradeAddress {
    output: UpgradeOutput,
    script_pubkey: ScriptBuf,
    leaf: Leaf,
    merkle_root: TapNodeHash,
    quorum: Quorum,
}

impl UpgradeAddress {
    /// The address of a rollup; `None` if it has no upgrade keys.
    pub fn of(params: &Params) -> Option<Self> {
        let output = UpgradeOutput::of(params)?;
        let quorum = params.upgrade_keys.clone()?;
        let secp = Secp256k1::verification_only();
        let script = output.leaf().to_owned();
        let tree = taproot::TaprootBuilder::new().add_leaf(0, script.clone()).expect("a lone leaf is a tree");
        let spend = tree.finalize(&secp, output.internal_key()).expect("the tree is whole");
        let versioned = (script.clone(), LeafVersion::TapScript);
        let control_block = spend.control_block(&versioned).expect("the leaf is in its own tree");
        Some(Self {
            script_pubkey: output.script_pubkey(&secp),
            merkle_root: spend.merkle_root().expect("there is a leaf"),
            leaf: Leaf { script, control_block },
            output,
            quorum,
        })
    }

    /// What is paid to it.
    pub fn script_pubkey(&self) -> &ScriptBuf {
        &self.script_pubkey
    }

    /// The address.
    pub fn address(&self, network: Network) -> Address {
        Address::from_script(&self.script_pubkey, network).expect("taproot outputs have addresses")
    }

    /// The descriptor, with its checksum, its keys as `name` writes them.
    ///
    /// # Errors
    /// [`miniscript::Error`], for key expressions that make none.
    pub fn descriptor(
        &self,
        name: impl Fn(&XOnlyPublicKey) -> String,
    ) -> Result<Descriptor<DescriptorPublicKey>, miniscript::Error> {
        let keys: String = self.quorum.keys().iter().map(|key| format!(",{}", name(key))).collect();
        let internal = self.output.internal_key();
        Descriptor::from_str(&format!("tr({internal},multi_a({}{keys}))", self.quorum.threshold()))
    }

    /// The keys, ascending.
    pub fn keys(&self) -> &[XOnlyPublicKey] {
        self.quorum.keys()
    }

    fn witness_size_max(&self) -> Witness {
        let mut witness = Witness::new();
        for place in 0..self.quorum.keys().len() {
            let is_signed = place < usize::from(self.quorum.threshold());
            witness.push(vec![0; if is_signed { SIGNATURE_BYTES_MAX } else { 0 }]);
        }
        witness.push(&self.leaf.script);
        witness.push(self.leaf.control_block.serialize());
        witness
    }
}

/// What an announcement is made from.
#[derive(Clone, Debug)]
pub struct UpgradeRequest<'a> {
    /// What is announced.
    pub upgrade: &'a Upgrade,
    /// Coins of the upgrade address.
    pub coins: &'a [Funding],
    /// What it pays.
    pub fee_rate: FeeRate,
    /// Where keys come from, as far as it is known.
    pub origins: BTreeMap<XOnlyPublicKey, KeySource>,
}

/// An announcement that is to be signed.
#[derive(Clone, Debug)]
pub struct PlannedUpgrade {
    /// The transaction, for its signers.
    pub psbt: Psbt,
    /// Its fee.
    pub fee_sat: u64,
    /// What it returns to the upgrade address.
    pub change_sat: u64,
}

/// Writes an announcement. It spends as few coins as it takes, the largest first that it can tell of, and always
/// returns some.
///
/// # Errors
/// [`UpgradePlanError`].
pub fn plan(params: &Params, request: &UpgradeRequest<'_>) -> Result<PlannedUpgrade, UpgradePlanError> {
    let address = UpgradeAddress::of(params).ok_or(UpgradePlanError::Immutable)?;
    let dust = address.script_pubkey.minimal_non_dust();
    let own = request.coins.iter().filter(|coin| coin.output.script_pubkey == address.script_pubkey);
    let (mut coins, large): (Vec<&Funding>, Vec<&Funding>) = own.partition(|coin| coin.output.value <= TOLD_VALUE_MAX);
    coins.sort_by_key(|coin| (std::cmp::Reverse(coin.output.value), coin.outpoint));
    let (mut available, mut needed) = (Amount::ZERO, Amount::ZERO);
    for count in 1..=coins.len().max(1) {
        let chosen = &coins[..count.min(coins.len())];
        let mut transaction = unsigned(&address, request.upgrade, chosen);
        let mut signed = transaction.clone();
        signed.input.iter_mut().for_each(|input| input.witness = address.witness_size_max());
        let fee = request.fee_rate.fee(signed.weight());
        (available, needed) = (chosen.iter().map(|coin| coin.output.value).sum(), fee + dust);
        if chosen.is_empty() || available < needed {
            continue;
        }
        let change = available - fee;
        transaction.output[1].value = change;
        let psbt = for_signers(&address, transaction, chosen, &request.origins);
        return Ok(PlannedUpgrade { psbt, fee_sat: fee.to_sat(), change_sat: change.to_sat() });
    }
    let (needed_sat, available_sat) = (needed.to_sat(), available.to_sat());
    Err(UpgradePlanError::Funds { needed_sat, available_sat, too_large: large.len() })
}

fn unsigned(address: &UpgradeAddress, upgrade: &Upgrade, coins: &[&Funding]) -> Transaction {
    let input = |coin: &&Funding| TxIn {
        previous_output: coin.outpoint,
        sequence: spent::telling(coin.output.value).expect("larger coins are left out"),
        ..TxIn::default()
    };
    let change = TxOut { value: Amount::ZERO, script_pubkey: address.script_pubkey.clone() };
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: coins.iter().map(input).collect(),
        output: vec![address.output.announcement(upgrade), change],
    }
}

fn for_signers(
    address: &UpgradeAddress,
    transaction: Transaction,
    coins: &[&Funding],
    origins: &BTreeMap<XOnlyPublicKey, KeySource>,
) -> Psbt {
    let mut psbt = Psbt::from_unsigned_tx(transaction).expect("no input is signed");
    let leaf = &address.leaf;
    let known = address.keys().iter().filter_map(|key| Some((*key, (vec![leaf.hash()], origins.get(key)?.clone()))));
    let known: BTreeMap<_, _> = known.collect();
    for (fields, coin) in psbt.inputs.iter_mut().zip(coins) {
        fields.witness_utxo = Some(coin.output.clone());
        fields.tap_internal_key = Some(address.output.internal_key());
        fields.tap_merkle_root = Some(address.merkle_root);
        fields.tap_scripts.insert(leaf.control_block.clone(), (leaf.script.clone(), LeafVersion::TapScript));
        fields.tap_key_origins = known.clone();
    }
    let change = &mut psbt.outputs[1];
    change.tap_internal_key = Some(address.output.internal_key());
    let tree = taproot::TaprootBuilder::new().add_leaf(0, leaf.script.clone()).expect("a lone leaf is a tree");
    change.tap_tree = Some(tree.try_into_taptree().expect("the tree is whole"));
    change.tap_key_origins = known;
    psbt
}

/// An announcement that its signer has looked at: it spends nothing but coins of the upgrade address, and does nothing
/// but announce and return.
#[derive(Clone, Debug)]
pub struct CheckedUpgrade {
    psbt: Psbt,
    upgrade: Upgrade,
    spent: Vec<TxOut>,
    fee_sat: u64,
    address: UpgradeAddress,
}

impl CheckedUpgrade {
    /// Looks at a PSBT, from whomever it comes.
    ///
    /// # Errors
    /// [`UpgradeCheckError`].
    pub fn check(psbt: Psbt, params: &Params, fee_max_sat: u64) -> Result<Self, UpgradeCheckError> {
        let address = UpgradeAddress::of(params).ok_or(UpgradeCheckError::Immutable)?;
        check_form(&psbt.unsigned_tx)?;
        let mut spent = Vec::with_capacity(psbt.inputs.len());
        for (input, fields) in psbt.inputs.iter().enumerate() {
            let output = fields.witness_utxo.clone().filter(|output| output.script_pubkey == address.script_pubkey);
            let output = output.ok_or(UpgradeCheckError::Input(input))?;
            if spent::told(psbt.unsigned_tx.input[input].sequence) != Some(output.value) {
                return Err(UpgradeCheckError::Value(input));
            }
            spent.push(output);
            let asked = fields.sighash_type.map(|asked| asked.taproot_hash_ty());
            let covers_all =
                matches!(asked, None | Some(Ok(bitcoin::TapSighashType::Default | bitcoin::TapSighashType::All)));
            if !covers_all {
                return Err(UpgradeCheckError::Sighash(input));
            }
        }
        if spent.is_empty() {
            return Err(UpgradeCheckError::Input(0));
        }
        let upgrade = address.output.announced(&psbt.unsigned_tx)?.ok_or(UpgradeCheckError::Nothing)?;
        let announcement = address.output.announcement(&upgrade);
        let is_known = |output: &TxOut| *output == announcement || output.script_pubkey == address.script_pubkey;
        if let Some(output) = psbt.unsigned_tx.output.iter().position(|output| !is_known(output)) {
            return Err(UpgradeCheckError::Output(output));
        }
        let returns = |output: &TxOut| output.script_pubkey == address.script_pubkey;
        let mut returned = (0..).zip(&psbt.unsigned_tx.output).filter(|(_, output)| returns(output));
        if let Some((position, _)) = returned.nth(1) {
            return Err(UpgradeCheckError::Split(position));
        }
        let total = |outputs: &[TxOut]| outputs.iter().map(|o| o.value.to_sat()).fold(0, u64::saturating_add);
        let fee_sat = total(&spent).saturating_sub(total(&psbt.unsigned_tx.output));
        if fee_sat > fee_max_sat {
            return Err(UpgradeCheckError::Fee { fee_sat, max_sat: fee_max_sat });
        }
        Ok(Self { psbt, upgrade, spent, fee_sat, address })
    }

    /// What is announced.
    pub fn upgrade(&self) -> &Upgrade {
        &self.upgrade
    }

    /// The fee.
    pub fn fee_sat(&self) -> u64 {
        self.fee_sat
    }

    /// Signs each input.
    ///
    /// # Errors
    /// [`UpgradeCheckError::NotASigner`].
    pub fn sign(self, key: &PosterKey) -> Result<Psbt, UpgradeCheckError> {
        if !self.address.keys().contains(&key.public()) {
            return Err(UpgradeCheckError::NotASigner(key.public()));
        }
        let leaves = vec![Some(self.address.leaf.clone()); self.spent.len()];
        let mut psbt = self.psbt;
        sign::sign_inputs(&mut psbt, &self.spent, &leaves, key);
        Ok(psbt)
    }
}

/// Fails for what no block holds yet or ever, whoever signs it.
fn check_form(transaction: &Transaction) -> Result<(), UpgradeCheckError> {
    if transaction.version != Version::TWO {
        return Err(UpgradeCheckError::Version(transaction.version.0));
    }
    if transaction.lock_time != LockTime::ZERO {
        return Err(UpgradeCheckError::LockTime(transaction.lock_time));
    }
    let mut seen = HashSet::new();
    let twice = transaction.input.iter().position(|input| !seen.insert(input.previous_output));
    twice.map_or(Ok(()), |input| Err(UpgradeCheckError::Twice(input)))
}

/// Why signatures were not joined to an announcement.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeCombineError {
    /// A PSBT is no announcement of the rollup's upgrade keys.
    #[error("the PSBT at position {position} is no announcement of this rollup's: {source}")]
    Announcement {
        /// Its position.
        position: usize,
        /// Why.
        source: UpgradeCheckError,
    },
    /// The signatures make no transaction.
    #[error(transparent)]
    Combine(#[from] CombineError),
}

/// Joins PSBTs of one announcement, each with some signatures, to the transaction.
///
/// # Errors
/// [`UpgradeCombineError`].
pub fn combine(psbts: Vec<Psbt>, address: &UpgradeAddress) -> Result<Transaction, UpgradeCombineError> {
    for (position, psbt) in psbts.iter().enumerate() {
        let expected = expect_announcement(psbt, address);
        expected.map_err(|source| UpgradeCombineError::Announcement { position, source })?;
    }
    let own = Some((address.script_pubkey.clone(), address.leaf.clone()));
    Ok(sign::combine_for(psbts, &address.quorum, own)?.0)
}

/// Fails for a PSBT that announces nothing, or says that it spends something else than coins of the upgrade address. It
/// need not say what it spends: others may.
fn expect_announcement(psbt: &Psbt, address: &UpgradeAddress) -> Result<(), UpgradeCheckError> {
    address.output.announced(&psbt.unsigned_tx)?.ok_or(UpgradeCheckError::Nothing)?;
    let is_other = |fields: &bitcoin::psbt::Input| {
        fields.witness_utxo.as_ref().is_some_and(|output| output.script_pubkey != address.script_pubkey)
    };
    psbt.inputs.iter().position(is_other).map_or(Ok(()), |input| Err(UpgradeCheckError::Input(input)))
}

#[cfg(test)]
mod tests;
