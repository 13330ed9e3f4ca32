//! `taproof setup`.

mod governance;
mod sizes;

use super::{
    Global,
    console::Bar,
    data_dir::expect_none,
    failure::{Exit, Failure, Fallible, Result},
    session::{NodeOptions, Source, ledger_failure},
    values::digits,
    wallet::WalletOptions,
};
use bitcoin::{Network, NetworkKind, ScriptBuf};
use clap::Args;
use governance::GovernanceOptions;
pub(super) use governance::governance;
use serde::Serialize;
pub(super) use sizes::{CircuitOptions, SizeOptions, Sizes, expect_possible, steps};
use std::{ops::RangeInclusive, path::Path};
use taproof_base::{
    network_name::network_name,
    output_file::{Access, write_file},
};
use taproof_bitcoin::bridge::signer_key::{SignerKey, SignerKeys};
use taproof_kernel::{
    key_file::KeyFileError,
    key_ring::{KeyRing, KeyRingError},
    setup::{Randomness, SetupError, SetupOptions},
};
use taproof_rollup::ledger::Ledger;
use taproof_verifier::{
    bridge::{Federation, FederationError, OUTPUT_MIN_SAT},
    cell::ChainId,
    follow::{Deadlines, Founding, FoundingError, Params},
    headers::BlockId,
    program::ProgramId,
    statement::CircuitId,
};
use taproof_wallet::{Wallet, WalletError};

/// Founds a rollup: makes development keys, the parameters and an empty ledger in the data directory.
#[derive(Debug, Args)]
#[command(after_help = "\
The keys are made by this machine alone: whoever controls it can forge proofs. So they are refused outside test \
networks, unless --allow-outside-test-networks is given. The rollup starts at the last block that is final, so that no \
usual reorganisation can take its start away.

If not given, --depth is 7 and --full-depth 10, or --depth if that is given; --slots is 8, --deposit-slots 20, \
--withdraw-slots 6 and --step-slots 10,4. Of several sizes, full chunks have the largest, and the last chunk of a \
batch has the smallest that holds what is left: a smaller proof, for one more key.

Examples:
  taproof wallet new && taproof setup --depth 4 --slots 2
  taproof setup --slots 16,4 --step-slots 22,10,4
  taproof setup --payments-only
  taproof setup --network signet \\
    --node http://127.0.0.1:38332 --cookie ~/.bitcoin/signet/.cookie \\
    --bridge-threshold 2 --bridge-key $KEY1 \\
    --bridge-key $KEY2 --bridge-key $KEY3")]
pub(crate) struct Setup {
    #[command(flatten)]
    wallet: WalletOptions,
    #[command(flatten)]
    node: NodeOptions,
    #[command(flatten)]
    circuits: CircuitOptions,
    /// The least amount that opens an account, in satoshi. Cells are never freed, so this is what filling the tree
    /// costs.
    #[arg(long, default_value_t = OPENING_MIN_SAT, value_name = "SAT")]
    #[arg(value_parser = clap::value_parser!(u64).range(..=SAT_MAX))]
    opening_min: u64,
    #[command(flatten)]
    bridge: BridgeOptions,
    #[command(flatten)]
    governance: GovernanceOptions,
    /// The height of the block after which the rollup starts, a final one; the last that is final if not given.
    #[arg(long, value_name = "HEIGHT")]
    start: Option<u32>,
    /// The number of blocks that make a block final.
    #[arg(long, default_value_t = 6, value_name = "BLOCKS", value_parser = clap::value_parser!(u32).range(1..=2016))]
    final_depth: u32,
    /// Makes the keys from this seed, 64 hexadecimal digits, instead of the system's randomness: for tests.
    #[arg(long, value_parser = digits::<32>, value_name = "HEX")]
    seed: Option<[u8; 32]>,
    /// Makes keys outside test networks, too, although whoever makes them could forge proofs.
    #[arg(long)]
    allow_outside_test_networks: bool,
}

/// What an opening moves at the least, if nobody says otherwise.
pub(super) const OPENING_MIN_SAT: u64 = 1_000;

/// All that there is.
pub(super) const SAT_MAX: u64 = 2_100_000_000_000_000;

/// What the least amount of deposits can be: what nodes pass on, up to all that there is.
const DEPOSIT_MIN_SAT: RangeInclusive<u64> = OUTPUT_MIN_SAT..=SAT_MAX;

/// Who holds deposits, and what deadlines these have.
#[derive(Debug, Args)]
struct BridgeOptions {
    /// The key of a signer of the bridge: 64 hexadecimal digits, or [FINGERPRINT/PATH]XPUB/0/0, by which hardware
    /// finds it; once for each signer. On regtest, three keys of the wallet if not given.
    #[arg(long = "bridge-key", value_name = "KEY")]
    keys: Vec<SignerKey>,
    /// How many of the signers spend together; on regtest, 2 if not given.
    #[arg(long = "bridge-threshold", value_name = "N", requires = "keys")]
    threshold: Option<u8>,
    /// The least that a deposit pays, in satoshi: moving one costs the signers the same, however small it is.
    #[arg(
        long,
        default_value_t = 10_000,
        value_name = "SAT",
        value_parser = clap::value_parser!(u64).range(DEPOSIT_MIN_SAT),
    )]
    deposit_min: u64,
    /// How deep a deposit must be until its depositor can take it back, if nobody has moved it.
    #[arg(long, default_value_t = 2016, value_name = "BLOCKS")]
    refund_delay: u16,
    /// How old a block an anchor may refer to: within that time deposits and exit requests are served.
    #[arg(long, default_value_t = 144, value_name = "BLOCKS")]
    deposit_window: u32,
    /// The age from which a deposit is credited no more, three windows at least; the signers have from then until the
    /// refund's delay is over to move what was credited.
    #[arg(long, default_value_t = 1008, value_name = "BLOCKS")]
    deposit_expiry: u32,
}

impl BridgeOptions {
    /// The federation; the wallet is opened for default signers alone.
    fn federation(
        &self,
        network: Network,
        wallet: impl FnOnce() -> Result<Wallet>,
        final_depth_blocks: u32,
    ) -> Result<Federation> {
        let (threshold, keys) = match self.threshold {
            Some(threshold) => (threshold, self.keys.iter().map(SignerKey::key).collect()),
            None if !self.keys.is_empty() => {
                let failure = Failure::new(Exit::Input, "the bridge has keys and no threshold");
                return Err(failure.advise("say with --bridge-threshold how many of the keys spend together"));
            }
            None if network == Network::Regtest => {
                let wallet = wallet()?;
                let keys = (0..3).map(|index| Ok(wallet.signer_key(index)?.public()));
                (2, keys.collect::<std::result::Result<_, WalletError>>()?)
            }
            None => {
                let failure = Failure::new(Exit::Input, "outside regtest the bridge has no default signers");
                return Err(failure.advise("give --bridge-threshold, and each signer's key with --bridge-key"));
            }
        };
        let deadlines = Deadlines {
            window_blocks: self.deposit_window,
            expiry_blocks: self.deposit_expiry,
            final_depth_blocks,
            refund_delay_blocks: self.refund_delay,
        };
        deadlines.check(network).map_err(not_founded)?;
        let kind = NetworkKind::from(network);
        if let Some(key) = self.keys.iter().find(|key| key.network().is_some_and(|network| network != kind)) {
            return Err(Failure::new(
                Exit::Input,
                format!("{key} is for another network than {}", network_name(network)),
            ));
        }
        let federation = Federation::new(threshold, keys, self.refund_delay, self.deposit_min);
        federation.map_err(|error| {
            let advice = match &error {
                FederationError::Signers(_) => {
                    "give --bridge-key once for each key, and a --bridge-threshold of no more than those"
                }
                _ => "give a longer --refund-delay",
            };
            Failure::of(Exit::Input, error).advise(advice)
        })
    }
}

#[derive(Serialize)]
struct Report {
    program_id: String,
    chain_id: ChainId,
    network: Network,
    depth: u8,
    full_depth: u8,
    opening_min_sat: u64,
    bridge: String,
    bridge_descriptor: String,
    start: BlockId,
    circuits: Vec<String>,
}

impl Setup {
    pub(crate) fn run(self, global: &Global) -> Result {
        let dir = global.data_dir();
        expect_none(&dir.of_one_rollup())?;
        let network = self.wallet.network(global)?.unwrap_or(Network::Regtest);
        let federation = self.bridge.federation(network, || self.wallet.open(global), self.final_depth)?;
        // Nothing is mined here, so no wallet is needed for the rewards of the embedded chain.
        let source = self.node.open(&dir, network, ScriptBuf::new(), global.console())?;
        let start = self.start_block(&source)?;
        let sizes = self.circuits.first(global.machines())?;
        let [depth, full_depth] = sizes.depths;
        let options = SetupOptions {
            network,
            allow_outside_test_networks: self.allow_outside_test_networks,
            randomness: self.seed.map_or(Randomness::Os, Randomness::Seed),
        };
        let founding = Founding {
            network,
            genesis_depth: depth,
            federation,
            deposit_window_blocks: self.bridge.deposit_window,
            deposit_expiry_blocks: self.bridge.deposit_expiry,
            start,
            final_depth_blocks: self.final_depth,
            notice_blocks: self.governance.notice_blocks(self.bridge.deposit_window, self.final_depth),
            upgrade_keys: self.governance.upgrade_keys()?,
            quiet_blocks: self.governance.quiet_blocks(self.bridge.deposit_window),
            sequencer_keys: self.governance.sequencer_keys()?,
            opening_min_sat: self.opening_min,
            program_id: ProgramId::from_byte_array([0; 32]),
        };
        // Keys take long: what nobody can found a rollup with is told before they are made.
        Params::new(founding.clone()).map_err(not_founded)?;
        let ring = make_keys(global, &dir.keys(), &sizes.circuits(global.machines()), &options)?;
        let program = ring.program(global.machines())?;
        let params = Params::new(Founding { program_id: program.id(), ..founding }).map_err(not_founded)?;
        dir.create()?;
        write_file(&dir.program(), Access::Public, |file| file.write_all(&program.to_bytes()))?;
        Ledger::create(&dir.ledger(), params.chain_id(), depth).map_err(ledger_failure)?;
        if params.sequencer_keys.is_empty() && network != Network::Regtest {
            global.console().warn(
                "no sequencer is named: anybody's anchors count always, and whoever wants to can void yours, \
                 block after block, by small \
                 ones ahead of them; --sequencer-key names one",
            );
        }
        let signers: SignerKeys = self.bridge.keys.iter().chain(self.governance.signers()).cloned().collect();
        if !signers.is_empty() {
            write_file(&dir.bridge_keys(), Access::Public, |file| file.write_all(signers.to_lines().as_bytes()))?;
        }
        // The parameters come last: where they are, the rest is.
        let text = serde_json::to_string_pretty(&params)?;
        write_file(&dir.params(), Access::Public, |file| writeln!(file, "{text}"))?;
        let report = Report {
            program_id: params.program_id.to_string(),
            chain_id: params.chain_id(),
            network,
            depth: depth.levels(),
            full_depth: full_depth.levels(),
            opening_min_sat: params.opening_min_sat,
            bridge: params.bridge().script_pubkey().to_hex_string(),
            bridge_descriptor: signers.descriptor(params.bridge(), None).or_exit(Exit::Input)?.to_string(),
            start: params.start,
            circuits: ring.keys().map(|(circuit, _)| circuit.to_string()).collect(),
        };
        global.console().report(&report, |report| {
            let text = format!(
                "rollup {} on {}, starting after block {}\nprogram {}\nkeys    {}\nbridge  {}",
                report.chain_id,
                network_name(network),
                report.start,
                report.program_id,
                report.circuits.join(", "),
                report.bridge_descriptor
            );
            let rules = governance(&params);
            rules.into_iter().fold(text, |text, (label, rule)| format!("{text}\n{label:<7} {rule}"))
        })
    }

    /// The block after which the rollup starts. A block that is not final may leave the chain, and then nobody can
    /// follow the rollup any more; the first of all cannot.
    fn start_block(&self, source: &Source) -> Result<BlockId> {
        let tip_height = source.chain().tip_height()?;
        let final_height = (tip_height + 1).saturating_sub(self.final_depth);
        let height = self.start.unwrap_or(final_height);
        if final_height < height && height <= tip_height {
            let (depth, final_depth) = (tip_height + 1 - height, self.final_depth);
            let message = format!(
                "block {height} has {depth} of the {final_depth} confirmations that make it final: if a reorganisation \
                 took it away, \
                 the rollup would end"
            );
            return Err(Failure::new(Exit::Input, message)
                .advise(format!("leave out --start, which is {final_height} then, or wait for more blocks")));
        }
        let hash = source.chain().block_hash(height)?;
        let hash =
            hash.ok_or_else(|| Failure::new(Exit::Input, format!("the chain has no block at height {height}")))?;
        Ok(BlockId { height, hash })
    }
}

/// The failure of numbers that do not fit together, with the options that choose them.
fn not_founded(error: FoundingError) -> Failure {
    let advice = match &error {
        FoundingError::Deadlines { .. } => {
            "--deposit-window, --deposit-expiry, --final-depth and --refund-delay choose them: `taproof setup --help` \
             has those that are usual"
        }
        FoundingError::Notice { .. } => "give a longer --notice, or leave it out: it is as long as it must be then",
        FoundingError::Quiet { can_have_sequencers: true, .. } => {
            "give other --quiet-blocks, or leave them out: they are a quarter of the window then; a --deposit-window \
             of 1 leaves no room for any"
        }
        FoundingError::Quiet { .. } => "leave out --quiet-blocks, or name sequencers with --sequencer-key",
        _ => "",
    };
    Failure::of(Exit::Input, error).advise(advice)
}

/// Makes the keys of circuits in a folder that lacks them, and shows the progress.
pub(super) fn make_keys(
    global: &Global,
    folder: &Path,
    circuits: &[CircuitId],
    options: &SetupOptions,
) -> Result<KeyRing> {
    let console = global.console();
    let mut last: Option<Bar> = None;
    global.data_dir().create()?;
    let ring = KeyRing::open_or_make(global.machines(), folder, circuits, options, |circuit, fault| {
        last.take().iter().for_each(Bar::end);
        fault.into_iter().for_each(|fault| console.warn(another_key(fault)));
        let bar = Bar::new(console, &format!("making the key of {circuit}"));
        last = Some(bar.clone());
        Box::new(bar)
    });
    last.iter().for_each(Bar::end);
    ring.map_err(|error| match &error {
        KeyRingError::Setup { source: SetupError::NotATestNetwork(_), .. } => {
            Failure::of(Exit::Input, error).advise("on a network with real money, keys should come from a ceremony")
        }
        KeyRingError::Setup { .. } => Failure::of(Exit::Input, error),
        KeyRingError::File { source: KeyFileError::DiskFull { .. }, .. } => Failure::of(Exit::Failed, error)
            .advise("make room, and run it again: the keys that were made before are kept"),
        _ => Failure::of(Exit::Failed, error),
    })
}

/// Says that a key was unusable, in whose place another is made. No rollup has been founded with it that this would
/// be the end of: where there is one, nothing is set up.
pub(super) fn another_key(fault: KeyRingError) -> String {
    format!("{}; another key is made", Failure::from(fault).message())
}
