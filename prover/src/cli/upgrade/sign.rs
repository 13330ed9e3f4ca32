//! `taproof upgrade sign` and `combine`.

use super::{
    super::{
        Global,
        failure::{Exit, Failure, Fallible, Result},
        path_text,
        psbt::{CombineOptions, PsbtKind, PsbtVersion, combine_failure, open_psbt, read_psbt, write_psbt},
        session::{NodeOptions, Session},
        wallet::WalletOptions,
    },
    address_of,
    judge::{batches_possible, expect_accepted, last_block_line, last_height},
};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use taproof_base::shown::shown;
use taproof_bitcoin::upgrade::{self, CheckedUpgrade, UpgradeCheckError, UpgradeCombineError};
use taproof_verifier::upgrade::{Change, Upgrade};

/// The most that a signer lets an announcement pay, if nobody says otherwise.
const FEE_MAX_SAT: u64 = 100_000;

/// Shows what a PSBT announces, checks it against the chain of one's own node, and signs it with a key of this wallet.
///
/// Who signs in another wallet checks it here all the same, without --out: exit code 0 says that nothing is wrong with
/// it.
#[derive(Debug, Args)]
pub(super) struct Sign {
    /// The PSBT, of version 0 or 2, in binary, base64 or hexadecimal.
    psbt: PathBuf,
    #[command(flatten)]
    node: NodeOptions,
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
    /// Signs without a look at the chain: whether the announcement would count is not checked then, nor whether there
    /// could be batches under what it announces. For a machine without a node, where another one has checked it.
    #[arg(long)]
    without_chain: bool,
    /// The file of the signed PSBT; without it, nothing is signed.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Serialize)]
struct Signed {
    number: u32,
    announces: String,
    /// Whether it ends the right of the upgrade keys for good.
    renounces: bool,
    fee_sat: u64,
    /// The last block in which it counts; none for a withdrawal.
    last_height: Option<u64>,
    /// The height of the chain that it was checked against; none if it was not.
    chain_height: Option<u32>,
    /// Why it is not to be signed, if it is not.
    refusal: Option<String>,
    #[serde(serialize_with = "path_text::serialize")]
    signed: Option<PathBuf>,
}

impl Sign {
    pub(super) fn run(self, global: &Global) -> Result {
        let out = self.out.as_ref().map(|out| open_psbt(&global.data_dir(), out, &[&self.psbt])).transpose()?;
        let console = global.console().beside(&out)?;
        let session = Session::open(global)?;
        let checked = self.check(&session)?;
        let judged = self.judge(checked.upgrade(), &session, global);
        let mut report = Signed {
            number: checked.upgrade().number,
            announces: checked.upgrade().to_string(),
            renounces: checked.upgrade().renounces(),
            fee_sat: checked.fee_sat(),
            last_height: last_height(checked.upgrade(), &session.params),
            chain_height: judged.as_ref().ok().copied().flatten(),
            refusal: judged.as_ref().err().map(Failure::message),
            signed: None,
        };
        let Some(out) = out else {
            // What it announces is told whether or not it is to be signed.
            console.report(&report, Signed::text)?;
            return judged.map(drop);
        };
        judged?;
        let key = self.wallet.open(global)?.signer_key(self.index).or_exit(Exit::Input)?;
        let signed = checked.sign(&key).or_exit(Exit::Input);
        let signed = signed.map_err(|failure| failure.advise("name the signer's key with --index"))?;
        write_psbt(out, &signed, PsbtVersion::default())?;
        report.signed = self.out;
        console.report(&report, Signed::text)
    }

    /// Looks at the PSBT alone.
    fn check(&self, session: &Session) -> Result<CheckedUpgrade> {
        let psbt = read_psbt(&self.psbt)?;
        let kind = PsbtKind::of(&psbt, &session.params);
        CheckedUpgrade::check(psbt, &session.params, self.fee_max).map_err(|refusal| {
            let advice = match (&refusal, kind) {
                (UpgradeCheckError::Fee { .. }, _) => {
                    "ask who made it for one that pays less, or let it pay as much with --fee-max".to_owned()
                }
                (_, Some(PsbtKind::Payout)) => {
                    format!("it is a payout of the bridge: sign it with `taproof {} sign`", PsbtKind::Payout.command())
                }
                _ => "sign nothing of the kind; ask who made it for another".to_owned(),
            };
            Failure::of(Exit::Refuted, refusal).advise(advice)
        })
    }

    /// Fails for what a signer should not sign, or may not have understood; gives the height of the chain that it was
    /// checked against.
    fn judge(&self, upgrade: &Upgrade, session: &Session, global: &Global) -> Result<Option<u32>> {
        if upgrade.renounces() && !self.renounce {
            let failure = Failure::new(Exit::Refuted, "it gives the right of the upgrade keys up for good");
            return Err(failure.advise("say --renounce if that is meant"));
        }
        match upgrade.change {
            Change::Program { program, .. } if session.programs.get(program).is_none() => {
                let message = format!("it announces program {program}, which is not known here");
                return Err(Failure::new(Exit::Refuted, message).advise(
                    "get the program from whoever wants it announced, judge it, and add it with `taproof upgrade add`",
                ));
            }
            _ => {}
        }
        if self.without_chain {
            session.console.warn(
                "whether it would count, and whether there could be batches under what it announces, is not checked",
            );
            return Ok(None);
        }
        if !self.node.is_at_hand(&session.dir)? {
            let failure = Failure::new(
                Exit::Input,
                "no chain is at hand, by which to check that it would count, and that there could be batches under \
                 what it announces",
            );
            return Err(failure.advise(
                "name your own node with --node URL; or check it on a machine that has one, and say --without-chain \
                 here",
            ));
        }
        let source = session.source(&self.node)?;
        source.expect_current()?;
        session.expect_not_behind(&source)?;
        let spinner = global.console().spinner("following the chain");
        let follower = session.follow(&source, |_| ())?;
        spinner.finish_and_clear();
        expect_accepted(&follower, upgrade)?;
        batches_possible(&upgrade.change, &follower)?;
        Ok(Some(follower.scanned().height))
    }
}

impl Signed {
    fn text(&self) -> String {
        let signed = match (&self.signed, &self.refusal) {
            (Some(path), _) => format!("signed: {}", shown(path.display())),
            (None, Some(_)) => "nothing is signed".to_owned(),
            (None, None) => "nothing is wrong with it, and nothing is signed: name a file with --out".to_owned(),
        };
        let last_block = last_block_line(self.last_height);
        format!("announces {}\n{last_block}fee {} sat\n{signed}", self.announces, self.fee_sat)
    }
}

/// Joins signatures to the transaction.
#[derive(Debug, Args)]
pub(super) struct Combine {
    #[command(flatten)]
    options: CombineOptions,
}

impl Combine {
    pub(super) fn run(self, global: &Global) -> Result {
        let command = PsbtKind::Announcement.command();
        self.options.run(global, command, |session, psbts| {
            let address = address_of(session)?;
            let kinds: Vec<_> = psbts.iter().map(|psbt| PsbtKind::of(psbt, &session.params)).collect();
            upgrade::combine(psbts, &address).map_err(|error| match error {
                UpgradeCombineError::Announcement { position, .. } => {
                    let advice = match kinds[position] {
                        Some(PsbtKind::Payout) => "payouts of the bridge are joined with `taproof bridge combine`",
                        _ => "name the data directory of the rollup that it is for with --dir",
                    };
                    Failure::of(Exit::Refuted, error).advise(advice)
                }
                UpgradeCombineError::Combine(error) => combine_failure(error, command),
                error => Failure::of(Exit::Refuted, error),
            })
        })
    }
}
