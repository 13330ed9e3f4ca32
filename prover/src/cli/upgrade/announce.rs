//! `taproof upgrade announce`, `withdraw`, `sign` and `combine`.

use super::{
    super::{
        Global,
        bridge::{FeeOptions, origin, signer_keys},
        failure::{Exit, Failure, Fallible, Result},
        path_text,
        psbt::{CombineOptions, PsbtVersion, PsbtVersionOption, open_psbt, read_psbt, write_psbt},
        session::{NodeOptions, Session, Source},
        values::{bitcoin_key, digits},
        wallet::WalletOptions,
    },
    address_of,
};
use bitcoin::{XOnlyPublicKey, bip32::KeySource};
use clap::Args;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};
use taproof_base::shown::shown;
use taproof_bitcoin::{
    anchor::Funding,
    node::HEIGHT_MAX,
    regtest::COINBASE_MATURITY_BLOCKS,
    upgrade::{self, CheckedUpgrade, UpgradeAddress, UpgradePlanError, UpgradeRequest},
};
use taproof_rollup::{founding::check_slots, sequencer::slots};
use taproof_verifier::{
    cell::Depth,
    follow::{Follower, Params},
    program::{Program, ProgramId},
    quorum::Keys,
    schedule::EntryChange,
    upgrade::{Change, RENOUNCING_NUMBER, Upgrade, UpgradeError},
};

/// Blocks that are left for signatures and mining, beyond the notice, where no height is named.
const MARGIN_BLOCKS: u32 = 144;
/// The longest script with data that nodes of every release pass on.
const DATA_SCRIPT_BYTES: usize = 83;
/// The most that a signer lets an announcement pay, if nobody says otherwise.
const FEE_MAX_SAT: u64 = 100_000;

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

/// The last block in which an announcement counts: those who disagree have the notice from there on.
fn last_height(upgrade: &Upgrade, params: &Params) -> Option<u64> {
    match &upgrade.change {
        Change::Program { height, .. } | Change::Sequencers { height, .. } => {
            Some(u64::from(height.saturating_sub(params.notice_blocks)))
        }
        Change::Withdrawal => None,
    }
}

fn last_block_line(last_height: Option<u64>) -> String {
    last_height.map_or_else(String::new, |height| format!("counts where block {height} or an earlier one holds it\n"))
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

/// Fails if the announcement would not count in the next block: nobody needs to sign or send it.
pub(super) fn expect_accepted(follower: &Follower, upgrade: &Upgrade) -> Result {
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
        expect_batches_possible(program, height, follower)?;
        Ok(Change::Program { program: id, height })
    }
}

/// Fails for a program, in force from a height on, under which there could be no batches: then nobody could leave.
fn expect_batches_possible(program: &Program, height: u32, follower: &Follower) -> Result {
    let (id, schedule, programs) = (program.id(), follower.schedule(), follower.programs());
    // A tree never shrinks, and until then whoever posts can let it grow as deep as the program in force has circuits.
    let before = schedule.programs_between(follower.tip().reference.height, height);
    let before = before.filter_map(|(_, id)| programs.get(id)).map(Program::depth_max);
    let deepest = before.fold(follower.tip().depth, Depth::max);
    if program.depth_max() < deepest {
        let levels = deepest.levels();
        let message =
            format!("the rollup's tree may have {levels} levels by then, and program {id} no circuits for it");
        return Err(Failure::new(Exit::Input, message).advise(format!("make one with circuits of --depth {levels}")));
    }
    for entry in schedule.entries().iter().filter(|entry| entry.height > height) {
        let EntryChange::Program(later) = entry.change else { continue };
        if programs.get(later).is_some_and(|later| later.depth_max() < program.depth_max()) {
            let (levels, height) = (program.depth_max().levels(), entry.height);
            let message = format!(
                "the rollup's tree may have {levels} levels then, and program {later}, announced for height {height}, \
                 no circuits for it"
            );
            return Err(Failure::new(Exit::Input, message).advise("withdraw that first"));
        }
    }
    let depths = program.circuits().map(|(circuit, _)| circuit.depth);
    for depth in depths.collect::<std::collections::BTreeSet<_>>() {
        let slots = slots(program, depth).or_exit(Exit::Input)?;
        check_slots(&slots).or_exit_while(Exit::Input, format!("program {id}"))?;
    }
    Ok(())
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
    /// Signs also what gives the right of the upgrade keys up for good.
    #[arg(long)]
    renounce: bool,
    /// The file of the signed PSBT; without it, nothing is signed.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Serialize)]
struct Signed {
    announces: String,
    fee_sat: u64,
    /// The last block in which it counts; none for a withdrawal.
    last_height: Option<u64>,
    #[serde(serialize_with = "path_text::serialize")]
    signed: Option<PathBuf>,
}

impl Sign {
    pub(super) fn run(self, global: &Global) -> Result {
        let out = self.out.as_ref().map(|out| open_psbt(&global.data_dir(), out, &[&self.psbt])).transpose()?;
        let console = global.console().beside(&out)?;
        let session = Session::open(global)?;
        let checked = check(&self.psbt, &session.params, self.fee_max)?;
        let mut report = Signed {
            announces: checked.upgrade().to_string(),
            fee_sat: checked.fee_sat(),
            last_height: last_height(checked.upgrade(), &session.params),
            signed: None,
        };
        if let Some(out) = out {
            expect_meant(checked.upgrade(), self.renounce, &session)?;
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
            let last_block = last_block_line(report.last_height);
            format!("announces {}\n{last_block}fee {} sat\n{signed}", report.announces, report.fee_sat)
        })
    }
}

/// Fails for what a signer may not have understood: what ends the keys' right, and a program that he has not looked at.
fn expect_meant(upgrade: &Upgrade, renounce: bool, session: &Session) -> Result {
    if upgrade.renounces() && !renounce {
        let failure = Failure::new(Exit::Refuted, "it gives the right of the upgrade keys up for good");
        return Err(failure.advise("say --renounce if that is meant"));
    }
    match upgrade.change {
        Change::Program { program, .. } if session.programs.get(program).is_none() => {
            let failure =
                Failure::new(Exit::Refuted, format!("it announces program {program}, which is not known here"));
            Err(failure.advise("get the program from who wrote this, judge it, and add it with `taproof upgrade add`"))
        }
        _ => Ok(()),
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
