//! `taproof upgrade announce` and `withdraw`.

use super::{
    super::{
        Global,
        bridge::{FeeOptions, origin, signer_keys},
        failure::{Exit, Failure, Fallible, Result},
        path_text,
        psbt::{PsbtVersionOption, open_psbt, write_psbt},
        session::{NodeOptions, Session, Source},
        values::{bitcoin_key, digits},
    },
    address_of,
    judge::{batches_possible, expect_accepted, last_block_line, last_height},
};
use bitcoin::{XOnlyPublicKey, bip32::KeySource};
use clap::Args;
use serde::Serialize;
use std::{collections::BTreeMap, path::PathBuf};
use taproof_base::shown::shown;
use taproof_bitcoin::{
    anchor::Funding,
    node::HEIGHT_MAX,
    regtest::COINBASE_MATURITY_BLOCKS,
    upgrade::{self, UpgradeAddress, UpgradePlanError, UpgradeRequest},
};
use taproof_verifier::{
    follow::Follower,
    program::ProgramId,
    quorum::Keys,
    upgrade::{Change, RENOUNCING_NUMBER, Upgrade, UpgradeError},
};

/// Blocks that are left for signatures and mining, beyond the notice, where no height is named.
const MARGIN_BLOCKS: u32 = 144;
/// The longest script with data that nodes of every release pass on.
const DATA_SCRIPT_BYTES: usize = 83;

/// What is written, and from what.
#[derive(Debug, Args)]
struct Writing {
    #[command(flatten)]
    node: NodeOptions,
    #[command(flatten)]
    fees: FeeOptions,
    /// Where an upgrade key comes from, by which wallets and hardware find it: [FINGERPRINT/PATH]KEY,
    /// [FINGERPRINT/PATH]XPUB/0/0 or KEY=FINGERPRINT/PATH. What `setup` was told is known without.
    #[arg(long = "origin", value_parser = origin, value_name = "ORIGIN")]
    origins: Vec<(XOnlyPublicKey, KeySource)>,
    /// The file of the PSBT.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    psbt: PsbtVersionOption,
}

#[derive(Serialize)]
struct Report {
    number: u32,
    announces: String,
    /// Whether it ends the right of the upgrade keys for good.
    renounces: bool,
    fee_sat: u64,
    /// What is returned to the upgrade address.
    change_sat: u64,
    /// The last block in which it counts; none for a withdrawal.
    last_height: Option<u64>,
    #[serde(serialize_with = "path_text::serialize")]
    psbt: PathBuf,
}

impl Writing {
    /// Writes what `change` says in view of the chain.
    fn run(self, global: &Global, change: impl FnOnce(&Follower) -> Result<Upgrade>) -> Result {
        let out = open_psbt(&global.data_dir(), &self.out, &[])?;
        let console = global.console().beside([&out])?;
        let session = Session::open(global)?;
        let address = address_of(&session)?;
        let source = session.source(&self.node)?;
        source.expect_current()?;
        session.expect_not_behind(&source)?;
        let follower = session.follow(&source, |_| ())?;
        let upgrade = change(&follower)?;
        expect_accepted(&follower, &upgrade)?;
        let coins = coins(&source, address.script_pubkey())?;
        warn_of_rival(&source, &coins, global)?;
        let fee_rate = self.fees.rate(&source, global)?;
        let origins = self.origins(&session, &address, global)?;
        let request = UpgradeRequest { upgrade: &upgrade, coins: &coins, fee_rate, origins };
        let planned = upgrade::plan(&session.params, &request).map_err(|error| {
            let is_funds = matches!(error, UpgradePlanError::Funds { .. });
            let failure = Failure::of(if is_funds { Exit::Failed } else { Exit::Input }, error);
            let to = address.address(session.params.network);
            if is_funds { failure.advise(format!("pay to {to}, and wait for a confirmation")) } else { failure }
        })?;
        write_psbt(out, &planned.psbt, self.psbt.version)?;
        let report = Report {
            number: upgrade.number,
            announces: upgrade.to_string(),
            renounces: upgrade.renounces(),
            fee_sat: planned.fee_sat,
            change_sat: planned.change_sat,
            last_height: last_height(&upgrade, &session.params),
            psbt: self.out,
        };
        warn_of_relay(&planned.psbt, global);
        console.report(&report, |report| {
            format!(
                "announces {}\n{}fee {} sat, {} sat go back to the upgrade address\nnow each signer: taproof \
                 upgrade sign {}",
                report.announces,
                last_block_line(report.last_height),
                report.fee_sat,
                report.change_sat,
                shown(report.psbt.display())
            )
        })
    }
}

impl Writing {
    /// What is known of where the upgrade keys come from, here or by what was said. Where a key's origin is not, a
    /// warning says so: wallets pass over a PSBT that does not name it.
    fn origins(
        &self,
        session: &Session,
        address: &UpgradeAddress,
        global: &Global,
    ) -> Result<BTreeMap<XOnlyPublicKey, KeySource>> {
        if let Some((key, _)) = self.origins.iter().find(|(key, _)| !address.keys().contains(key)) {
            let failure = Failure::new(Exit::Input, format!("--origin names {key}, which is no upgrade key"));
            return Err(failure.advise("`taproof upgrade show` has the upgrade keys in its descriptor"));
        }
        let mut origins = signer_keys(session)?.origins();
        origins.extend(self.origins.iter().cloned());
        let unknown: Vec<String> =
            address.keys().iter().filter(|key| !origins.contains_key(key)).map(ToString::to_string).collect();
        if !unknown.is_empty() {
            global.console().warn(format!(
                "where {} comes from is not known here, so that wallets and hardware that look for it sign nothing: \
                 --origin says it; `taproof upgrade sign`, and a wallet that has the descriptor of `taproof upgrade \
                 show` with its own key, sign without",
                unknown.join(" ")
            ));
        }
        Ok(origins)
    }
}

/// Says if something in the pool spends a coin of the upgrade address: of two announcements of one number one counts.
fn warn_of_rival(source: &Source, coins: &[Funding], global: &Global) -> Result {
    for coin in coins {
        if let Some(txid) = source.payer().pool_spender(&coin.outpoint)? {
            global.console().warn(format!(
                "transaction {txid} in the pool spends {} of the upgrade address: if it announces something, this does \
                 not count beside it; wait until it is mined, or pay a higher --fee-rate to replace it",
                coin.outpoint
            ));
        }
    }
    Ok(())
}

/// Says if nodes that are not of the newest releases pass an announcement on to nobody.
fn warn_of_relay(psbt: &bitcoin::Psbt, global: &Global) {
    let longest = psbt.unsigned_tx.output.iter().filter(|output| output.script_pubkey.is_op_return());
    if longest.map(|output| output.script_pubkey.len()).max() > Some(DATA_SCRIPT_BYTES) {
        global.console().warn(
            "it has more data than Bitcoin Core before version 30 hands on, and Bitcoin Knots with any option: it has \
             to be sent through a node of Bitcoin Core 30 or later, or a miner; one sequencer key has room",
        );
    }
}

/// The coins of the upgrade address that can be spent.
fn coins(source: &Source, script: &bitcoin::ScriptBuf) -> Result<Vec<Funding>> {
    let scan = source.payer().coins(std::slice::from_ref(script))?;
    let next_height = scan.block.height + 1;
    let is_mature = |coin: &taproof_bitcoin::node::Coin| {
        !coin.is_coinbase || next_height.saturating_sub(coin.height) >= COINBASE_MATURITY_BLOCKS
    };
    let mature = scan.coins.into_iter().filter(is_mature);
    Ok(mature.map(|coin| Funding { outpoint: coin.outpoint, output: coin.output }).collect())
}

/// Writes an announcement of another program or of other sequencer keys, without signatures.
#[derive(Debug, Args)]
#[command(override_usage = "taproof upgrade announce [OPTIONS] --out <FILE>")]
pub(super) struct Announce {
    #[command(flatten)]
    change: ChangeOptions,
    /// The height from which it is in force; if not given, a day after the earliest that there can be.
    #[arg(long, value_name = "HEIGHT", value_parser = clap::value_parser!(u32).range(..=i64::from(HEIGHT_MAX)))]
    from: Option<u32>,
    #[command(flatten)]
    writing: Writing,
}

#[derive(Debug, Args)]
#[group(required = true)]
struct ChangeOptions {
    /// Announces the program of this id, which must be known here: see `add` and `make`.
    #[arg(long, value_parser = program_id, value_name = "ID", conflicts_with_all = ["sequencers", "open_posting"])]
    program: Option<ProgramId>,
    /// Announces these sequencer keys, in place of all that were; once for each. It is the poster's key, or the hot key
    /// where that signs reveals.
    #[arg(long = "sequencer-key", value_parser = bitcoin_key, value_name = "KEY", conflicts_with = "open_posting")]
    sequencers: Vec<XOnlyPublicKey>,
    /// Announces that there are no sequencers, so that anybody posts.
    #[arg(long)]
    open_posting: bool,
}

fn program_id(text: &str) -> std::result::Result<ProgramId, String> {
    digits(text).map(ProgramId::from_byte_array)
}

impl Announce {
    pub(super) fn run(self, global: &Global) -> Result {
        let Self { change, from, writing } = self;
        let session = Session::open(global)?;
        writing.run(global, |follower| {
            let height = from.unwrap_or_else(|| default_height(follower));
            let number = follower.schedule().next_number();
            Ok(Upgrade { number, change: change.at(height, &session, follower)? })
        })
    }
}

fn default_height(follower: &Follower) -> u32 {
    let next_height = follower.scanned().height.saturating_add(1);
    next_height.saturating_add(follower.params().notice_blocks).saturating_add(MARGIN_BLOCKS)
}

impl ChangeOptions {
    fn at(self, height: u32, session: &Session, follower: &Follower) -> Result<Change> {
        let Some(id) = self.program else {
            let keys = Keys::new(self.sequencers).or_exit_while(Exit::Input, "the sequencer keys")?;
            if !keys.is_empty() && follower.params().quiet_blocks == 0 {
                return Err(Failure::of(Exit::Input, UpgradeError::NoQuietBlocks));
            }
            return Ok(Change::Sequencers { keys, height });
        };
        let program = session.programs.get(id).ok_or_else(|| {
            let failure = Failure::new(Exit::Input, format!("program {id} is not known here"));
            failure.advise("add it with `taproof upgrade add`, or make it with `taproof upgrade make`")
        })?;
        let change = Change::Program { program: program.id(), height };
        batches_possible(&change, follower).map_err(|failure| failure.with_exit(Exit::Input))?;
        Ok(change)
    }
}

/// Takes back all that is announced and not in force yet: writes the transaction, without signatures.
#[derive(Debug, Args)]
pub(super) struct Withdraw {
    /// Ends the right of the upgrade keys as well: nothing can ever be announced again.
    #[arg(long)]
    renounce: bool,
    #[command(flatten)]
    writing: Writing,
}

impl Withdraw {
    pub(super) fn run(self, global: &Global) -> Result {
        let Self { renounce, writing } = self;
        writing.run(global, |follower| {
            if !renounce && follower.schedule().pending(follower.scanned().height).is_empty() {
                let failure = Failure::new(Exit::Refuted, "nothing is announced that is not in force yet");
                return Err(failure.advise("`taproof upgrade show` shows what is announced"));
            }
            let number = if renounce { RENOUNCING_NUMBER } else { follower.schedule().next_number() };
            Ok(Upgrade { number, change: Change::Withdrawal })
        })
    }
}
