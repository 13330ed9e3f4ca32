//! `taproof upgrade announce`, `withdraw`, `sign` and `combine`.

use super::{
    super::{
        Global,
        bridge::FeeOptions,
        failure::{Exit, Failure, Fallible, Result},
        path_text,
        psbt::{CombineOptions, PsbtVersion, PsbtVersionOption, open_psbt, read_psbt, write_psbt},
        session::{NodeOptions, Session, Source},
        values::{bitcoin_key, digits},
        wallet::WalletOptions,
    },
    address_of,
};
use bitcoin::XOnlyPublicKey;
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use taproof_base::shown::shown;
use taproof_bitcoin::{
    anchor::Funding,
    regtest::COINBASE_MATURITY_BLOCKS,
    upgrade::{self, CheckedUpgrade, UpgradePlanError, UpgradeRequest},
};
use taproof_verifier::{
    follow::{Follower, Params},
    program::ProgramId,
    quorum::Keys,
    upgrade::{Change, Upgrade},
};

/// Blocks that are left for signatures and mining, beyond the notice, where no height is named.
const MARGIN_BLOCKS: u32 = 144;
/// The most that a signer lets an announcement pay, if nobody says otherwise.
const FEE_MAX_SAT: u64 = 100_000;

/// What is written, and from what.
#[derive(Debug, Args)]
struct Writing {
    #[command(flatten)]
    node: NodeOptions,
    #[command(flatten)]
    fees: FeeOptions,
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
    fee_sat: u64,
    /// What is returned to the upgrade address.
    change_sat: u64,
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
        let follower = session.follow(&source, |_| ())?;
        let upgrade = change(&follower)?;
        expect_accepted(&follower, &upgrade)?;
        let coins = coins(&source, address.script_pubkey())?;
        let fee_rate = self.fees.rate(&source, global)?;
        let origins = super::super::bridge::signer_keys(&session)?.origins();
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
            fee_sat: planned.fee_sat,
            change_sat: planned.change_sat,
            psbt: self.out,
        };
        console.report(&report, |report| {
            format!(
                "announces {}\nfee {} sat, {} sat go back to the upgrade address\nnow each signer: taproof \
                 upgrade sign {}",
                report.announces,
                report.fee_sat,
                report.change_sat,
                shown(report.psbt.display())
            )
        })
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

/// Fails if the announcement would not count in the next block: nobody needs to sign it.
fn expect_accepted(follower: &Follower, upgrade: &Upgrade) -> Result {
    let next_height = follower.scanned().height.saturating_add(1);
    let accepted = follower.schedule().clone().accept(upgrade, next_height, follower.params().notice_blocks);
    accepted.or_exit(Exit::Refuted).map_err(|failure| failure.advise("`taproof upgrade show` shows what would count"))
}

/// Writes an announcement of another program or of other sequencer keys, without signatures.
#[derive(Debug, Args)]
#[command(override_usage = "taproof upgrade announce [OPTIONS] --out <FILE>")]
pub(super) struct Announce {
    #[command(flatten)]
    change: ChangeOptions,
    /// The height from which it is in force; the earliest and a day if not given.
    #[arg(long, value_name = "HEIGHT")]
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
    /// Announces these sequencer keys, in place of all that were; once for each.
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
            return Ok(Change::Sequencers { keys, height });
        };
        let program = session.programs.get(id).ok_or_else(|| {
            let failure = Failure::new(Exit::Input, format!("program {id} is not known here"));
            failure.advise("add it with `taproof upgrade add`, or make it with `taproof upgrade make`")
        })?;
        // A tree never shrinks: nobody could make a batch any more, nor leave.
        let depth = follower.tip().depth;
        if program.depth_max() < depth {
            let levels = depth.levels();
            let message = format!("program {id} has no circuits for the rollup's tree, which has {levels} levels");
            return Err(Failure::new(Exit::Input, message).advise("make one of that --depth"));
        }
        Ok(Change::Program { program: id, height })
    }
}

/// Writes a withdrawal of all that is announced and not in force yet, without signatures.
#[derive(Debug, Args)]
pub(super) struct Withdraw {
    /// Gives the right of the upgrade keys up as well: nothing can be announced after it, ever.
    #[arg(long)]
    renounce: bool,
    #[command(flatten)]
    writing: Writing,
}

impl Withdraw {
    pub(super) fn run(self, global: &Global) -> Result {
        let Self { renounce, writing } = self;
        writing.run(global, |follower| {
            let number = if renounce { u32::MAX - 1 } else { follower.schedule().next_number() };
            Ok(Upgrade { number, change: Change::Withdrawal })
        })
    }
}

/// Shows what a PSBT announces, and signs it with a key of this wallet.
#[derive(Debug, Args)]
pub(super) struct Sign {
    /// The PSBT, of version 0 or 2, in binary, base64 or hexadecimal.
    psbt: PathBuf,
    #[command(flatten)]
    wallet: WalletOptions,
    /// The number of the wallet's signer key.
    #[arg(long, default_value_t = 0, value_name = "N")]
    index: u32,
    /// The highest fee that is signed.
    #[arg(long, default_value_t = FEE_MAX_SAT, value_name = "SAT")]
    fee_max: u64,
    /// The file of the signed PSBT; without it, nothing is signed.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Serialize)]
struct Signed {
    announces: String,
    fee_sat: u64,
    #[serde(serialize_with = "path_text::serialize")]
    signed: Option<PathBuf>,
}

impl Sign {
    pub(super) fn run(self, global: &Global) -> Result {
        let out = self.out.as_ref().map(|out| open_psbt(&global.data_dir(), out, &[&self.psbt])).transpose()?;
        let console = global.console().beside(&out)?;
        let session = Session::open(global)?;
        let checked = check(&self.psbt, &session.params, self.fee_max)?;
        let mut report = Signed { announces: checked.upgrade().to_string(), fee_sat: checked.fee_sat(), signed: None };
        if let Some(out) = out {
            let key = self.wallet.open(global)?.signer_key(self.index).or_exit(Exit::Input)?;
            let signed = checked.sign(&key).or_exit(Exit::Input);
            let signed = signed.map_err(|failure| failure.advise("name the signer's key with --index"))?;
            write_psbt(out, &signed, PsbtVersion::default())?;
            report.signed = self.out;
        }
        console.report(&report, |report| {
            let signed = match &report.signed {
                Some(path) => format!("signed: {}", shown(path.display())),
                None => "nothing is signed: name a file with --out".to_owned(),
            };
            format!("announces {}\nfee {} sat\n{signed}", report.announces, report.fee_sat)
        })
    }
}

fn check(path: &Path, params: &Params, fee_max_sat: u64) -> Result<CheckedUpgrade> {
    CheckedUpgrade::check(read_psbt(path)?, params, fee_max_sat).map_err(|refusal| {
        Failure::of(Exit::Refuted, refusal).advise("sign nothing of the kind; ask who made it for another")
    })
}

/// Joins signatures to the transaction.
#[derive(Debug, Args)]
pub(super) struct Combine {
    #[command(flatten)]
    options: CombineOptions,
}

impl Combine {
    pub(super) fn run(self, global: &Global) -> Result {
        self.options.run(global, "upgrade", |session| {
            let address = address_of(session)?;
            Ok(move |psbts| upgrade::combine(psbts, &address))
        })
    }
}
