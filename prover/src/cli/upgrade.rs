//! `taproof upgrade`.

mod announce;
mod judge;
mod program;
mod sign;

use super::{
    Global,
    failure::{Exit, Failure, Fallible, Result},
    overview::entry,
    session::{NodeOptions, Session},
};
use crate::overview::UpgradesRow;
use announce::{Announce, Withdraw};
use clap::{Args, Subcommand};
pub(super) use judge::{expect_to_count, is_announcement};
pub(super) use program::keep;
use program::{Add, Make};
use serde::Serialize;
use sign::{Combine, Sign};
use taproof_bitcoin::upgrade::UpgradeAddress;

/// Announces another program or other sequencer keys by the upgrade keys, takes that back, and shows what holds.
///
/// An announcement spends coins of the upgrade address, to which anybody can pay. It goes from whoever runs `announce`,
/// who is not trusted, to t of the upgrade keys, each of which signs with `sign` or in any wallet that reads PSBTs, and
/// back to `combine` and `send`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taproof upgrade show
  taproof upgrade add program.bin
  taproof upgrade make
  taproof upgrade make --full-depth 10 --slots 16
  taproof upgrade announce --program $ID --from 900000 --out up.psbt
  taproof upgrade announce --sequencer-key $KEY --out up.psbt
  taproof upgrade withdraw --out back.psbt
  taproof upgrade sign up.psbt --out signed-1.psbt
  taproof upgrade combine signed-1.psbt signed-2.psbt --out up.tx
  taproof upgrade send up.tx")]
pub(crate) struct UpgradeCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Shows what is in force, what is announced, and the upgrade address.
    Show(Show),
    /// Makes a program known here, so that the rollup can be followed once it is in force.
    Add(Add),
    /// Makes development keys of another program, beside those that are here.
    Make(Make),
    /// Writes an announcement of another program or of other sequencer keys, without signatures.
    Announce(Box<Announce>),
    /// Takes back all that is announced and not in force yet: writes the transaction, without signatures.
    Withdraw(Box<Withdraw>),
    /// Shows what a PSBT announces, and signs it with a key of this wallet.
    Sign(Box<Sign>),
    /// Joins signatures to the transaction.
    Combine(Combine),
    /// Sends a transaction.
    Send(super::bridge::Send),
}

impl UpgradeCommand {
    pub(crate) fn run(self, global: &Global) -> Result {
        match self.action {
            Action::Show(command) => command.run(global),
            Action::Add(command) => command.run(global),
            Action::Make(command) => command.run(global),
            Action::Announce(command) => command.run(global),
            Action::Withdraw(command) => command.run(global),
            Action::Sign(command) => command.run(global),
            Action::Combine(command) => command.run(global),
            Action::Send(command) => command.run(global, &super::bridge::ANNOUNCEMENT),
        }
    }
}

#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    node: NodeOptions,
}

#[derive(Serialize)]
struct ShowReport {
    height: u32,
    /// How many blocks ahead something is announced at least.
    notice_blocks: u32,
    quiet_blocks: u32,
    /// The programs that are known here.
    programs_known: Vec<String>,
    /// The upgrade address and its descriptor; none without upgrade keys.
    address: Option<String>,
    descriptor: Option<String>,
    #[serde(flatten)]
    upgrades: UpgradesRow,
}

impl Show {
    fn run(self, global: &Global) -> Result {
        let session = Session::open(global)?;
        let source = session.source(&self.node)?;
        let spinner = global.console().spinner("following the chain");
        // Where a program is missing, this is the command that says what is announced: it shows the blocks before.
        let (follower, stopped) = session.follow_as_far_as_known(&source)?;
        spinner.finish_and_clear();
        let address = UpgradeAddress::of(&session.params);
        let descriptor = match &address {
            Some(address) => Some(descriptor(&session, address)?),
            None => None,
        };
        let report = ShowReport {
            height: follower.scanned().height,
            notice_blocks: session.params.notice_blocks,
            quiet_blocks: session.params.quiet_blocks,
            programs_known: session.programs.iter().map(|program| program.id().to_string()).collect(),
            address: address.as_ref().map(|address| address.address(session.params.network).to_string()),
            descriptor,
            upgrades: UpgradesRow::new(&follower),
        };
        global.console().report(&report, ShowReport::text)?;
        match stopped {
            Some(stopped) => Err(stopped),
            None => Ok(()),
        }
    }
}

impl ShowReport {
    fn text(&self) -> String {
        let upgrades = &self.upgrades;
        let since = format!("{} from height {} on", upgrades.program_id, upgrades.program_from_height);
        let mut lines = vec![entry("height", &self.height.to_string()), entry("program", &since)];
        lines.extend(upgrades.sequencers.iter().map(|key| entry("sequencer", key)));
        if !upgrades.sequencers.is_empty() {
            lines.push(entry("quiet blocks", &self.quiet_blocks.to_string()));
        }
        lines.extend(upgrades.former_sequencers.iter().map(|former| entry("besides", &former.to_string())));
        lines.push(entry("posting", &upgrades.posting_words(self.height)));
        lines.extend(upgrades.announced.iter().map(|announced| entry("announced", &announced.to_string())));
        match (&self.address, &self.descriptor) {
            (Some(address), Some(descriptor)) if upgrades.can_change => {
                lines.push(entry("notice", &format!("{} blocks", self.notice_blocks)));
                lines.push(entry("next number", &upgrades.next_number.to_string()));
                lines.push(entry("address", address));
                lines.push(entry("descriptor", descriptor));
            }
            (Some(address), Some(descriptor)) => {
                lines.push(entry("upgrade keys", upgrades.keys_words()));
                lines.push(entry("address", address));
                lines.push(entry("descriptor", descriptor));
            }
            _ => lines.push(entry("upgrade keys", upgrades.keys_words())),
        }
        lines.join("\n")
    }
}

/// The address of the rollup's upgrade keys.
fn address_of(session: &Session) -> Result<UpgradeAddress> {
    UpgradeAddress::of(&session.params)
        .ok_or_else(|| Failure::new(Exit::Input, "the rollup has no upgrade keys: it is as it was founded, for ever"))
}

/// The descriptor of the upgrade address, with what is known of its keys.
fn descriptor(session: &Session, address: &UpgradeAddress) -> Result<String> {
    let known = super::bridge::signer_keys(session)?;
    let descriptor = address.descriptor(|key| known.expression(key));
    Ok(descriptor.or_exit(Exit::Input)?.to_string())
}
