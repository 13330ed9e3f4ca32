//! The bridge's scripts as output descriptors (BIP-380 and BIP-386), the language in which wallets and hardware
//! signers are told what they watch.
//!
//! The verifier writes the same scripts byte by byte, without this library, because followers need them; the tests
//! hold the two against each other.

use super::scan::Origin;
use bitcoin::{
    Address, Network, ScriptBuf, TapLeafHash, TapNodeHash, XOnlyPublicKey,
    taproot::{ControlBlock, LeafVersion},
};
use miniscript::Descriptor;
use std::{
    collections::{HashMap, hash_map::Entry},
    str::FromStr,
};
use taproof_verifier::bridge::Bridge;

/// Why there is no descriptor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptorError {
    /// Miniscript refuses what it was asked for. No bridge and no refund key is known to bring this about: a refund key
    /// that is one of the signers', or the internal key, has a descriptor like any other.
    #[error("the script has no sane descriptor: {0}")]
    Miniscript(#[from] miniscript::Error),
}

/// A taproot output of the bridge: its descriptor, and how the federation spends it.
#[derive(Clone, Debug)]
pub struct BridgeOutput {
    descriptor: Descriptor<XOnlyPublicKey>,
    federation: Leaf,
    refund: Option<Leaf>,
    merkle_root: TapNodeHash,
}

/// One way to spend a taproot output: a leaf and the proof that the output commits to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The script.
    pub script: ScriptBuf,
    /// The proof.
    pub control_block: ControlBlock,
}

impl Leaf {
    /// What signatures for this leaf commit to.
    pub fn hash(&self) -> TapLeafHash {
        TapLeafHash::from_script(&self.script, LeafVersion::TapScript)
    }
}

impl BridgeOutput {
    /// An output of the bridge's own: `tr(K,multi_a(t,k1,...,kn))`.
    ///
    /// # Errors
    /// [`DescriptorError`].
    pub fn own(bridge: &Bridge) -> Result<Self, DescriptorError> {
        Self::parse(&format!("tr({},{})", bridge.internal_key(), federation(bridge)))
    }

    /// An output that a deposit pays to: `tr(K,{multi_a(t,k1,...,kn),and_v(v:pk(R),older(n))})`.
    ///
    /// # Errors
    /// [`DescriptorError`].
    pub fn deposit(bridge: &Bridge, refund: XOnlyPublicKey) -> Result<Self, DescriptorError> {
        let (federation, delay) = (federation(bridge), bridge.refund_delay_blocks());
        Self::parse(&format!("tr({},{{{federation},and_v(v:pk({refund}),older({delay}))}})", bridge.internal_key()))
    }

    /// The output that a coin of the bridge is.
    ///
    /// # Errors
    /// [`DescriptorError`].
    pub fn of_coin(bridge: &Bridge, origin: Origin) -> Result<Self, DescriptorError> {
        match origin {
            Origin::Own => Self::own(bridge),
            Origin::Deposit { refund, .. } => Self::deposit(bridge, refund),
        }
    }

    fn parse(text: &str) -> Result<Self, DescriptorError> {
        let descriptor = Descriptor::<XOnlyPublicKey>::from_str(text)?;
        descriptor.sanity_check()?;
        let Descriptor::Tr(tree) = &descriptor else { unreachable!("the text begins with tr") };
        let info = tree.spend_info();
        let mut leaves = info
            .leaves()
            .map(|leaf| Leaf { script: leaf.script().into(), control_block: leaf.control_block().clone() });
        let federation = leaves.next().expect("the text has a leaf for the federation");
        let refund = leaves.next();
        let merkle_root = info.merkle_root().expect("there are leaves");
        Ok(Self { federation, refund, merkle_root, descriptor })
    }

    /// The descriptor; its text ends with a checksum.
    pub fn descriptor(&self) -> &Descriptor<XOnlyPublicKey> {
        &self.descriptor
    }

    /// The script that coins are paid to.
    pub fn script_pubkey(&self) -> ScriptBuf {
        self.descriptor.script_pubkey()
    }

    /// The address of the script.
    pub fn address(&self, network: Network) -> Address {
        self.descriptor.address(network).expect("taproot outputs have addresses")
    }

    /// The way of t signers.
    pub fn federation(&self) -> &Leaf {
        &self.federation
    }

    /// The depositor's way, after the refund delay; the bridge's own outputs have none.
    pub fn refund(&self) -> Option<&Leaf> {
        self.refund.as_ref()
    }

    /// What the output key commits to.
    pub fn merkle_root(&self) -> TapNodeHash {
        self.merkle_root
    }
}

/// The outputs of one bridge, each worked out once: a link may spend hundreds of one depositor's.
pub(super) struct KnownOutputs<'a> {
    bridge: &'a Bridge,
    /// By the refund key; the bridge's own has none.
    known: HashMap<Option<XOnlyPublicKey>, BridgeOutput>,
}

impl<'a> KnownOutputs<'a> {
    pub(super) fn new(bridge: &'a Bridge) -> Self {
        Self { bridge, known: HashMap::new() }
    }

    /// The output that a coin of the bridge is.
    pub(super) fn of_coin(&mut self, origin: Origin) -> Result<&BridgeOutput, DescriptorError> {
        let refund = match origin {
            Origin::Own => None,
            Origin::Deposit { refund, .. } => Some(refund),
        };
        match self.known.entry(refund) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(new) => Ok(new.insert(BridgeOutput::of_coin(self.bridge, origin)?)),
        }
    }
}

fn federation(bridge: &Bridge) -> String {
    federation_of(bridge, XOnlyPublicKey::to_string)
}

/// The federation's leaf in miniscript, its keys as `name` writes them.
pub(super) fn federation_of(bridge: &Bridge, name: impl Fn(&XOnlyPublicKey) -> String) -> String {
    let keys: String = bridge.keys().iter().map(|key| format!(",{}", name(key))).collect();
    format!("multi_a({}{keys})", bridge.threshold())
}
