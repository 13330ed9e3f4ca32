//! `taproof anchor run`.

use super::{JobReport, identity, service_failure, store_failure, watch_only::WatchOnly};
use crate::cli::{
    Global,
    console::{Console, counted},
    failure::{Exit, Failure, Result},
    session::{NodeOptions, Session, Source, lacking_program},
    wallet::WalletOptions,
};
use crate::overview::UpgradesRow;
use clap::Args;
use serde::Serialize;
use std::{
    collections::BTreeSet,
    fmt::{self, Display},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use taproof_base::shown;
use taproof_bitcoin::{
    anchor::FeeRate,
    anchoring::{
        AnchorStoreError, Config, Driver, Headroom, Hold, JobState, Note, ProofFolder, Service, ServiceError,
        ServiceLock, Signer, Step, Store, TickReport, Waits,
    },
    chain_store::ChainStoreError,
    coins::{CoinStore, CoinStoreError},
    follow::FollowError,
    node::NodeError,
};
use taproof_verifier::follow::Follower;
use taproof_wallet::PosterScripts;

/// Anchors every proven batch, in order: sends, raises fees, sends again after reorganisations, until each is final.
///
/// It can be stopped and killed at any moment and goes on where the chain, the node and its store say it is.
#[derive(Debug, Args)]
#[command(after_help = "\
On the embedded chain, which has no other miner, each look also mines a block, and --once is needed.

Examples:
  taproof anchor run --once
  taproof anchor run --node http://127.0.0.1:8332 \\
    --cookie ~/.bitcoin/.cookie --fee-cap 80
  taproof anchor run --hot-key \\
    --watch-only \"tr([deadbeef/86h/1h/0h]tpub.../0/5)\" \\
    --node http://127.0.0.1:38332 --cookie .cookie
  taproof anchor run --watch-only $KEY \\
    --node http://127.0.0.1:38332 --cookie .cookie")]
pub(super) struct Run {
    #[command(flatten)]
    wallet: WalletOptions,
    #[command(flatten)]
    node: NodeOptions,
    /// The poster's key where it is kept elsewhere: 64 hexadecimal digits, or the wallet's descriptor of one address,
    /// tr(KEY). Transactions are signed as PSBTs.
    #[arg(long, value_name = "KEY|DESCRIPTOR")]
    watch_only: Option<WatchOnly>,
    /// Signs reveals and sweeps with a key of the data directory's wallet, so that the wallet with the coins signs
    /// commits alone, which are ordinary transactions. Until its reveal is mined, what a commit locks is this key's.
    #[arg(long, requires = "watch_only")]
    hot_key: bool,
    /// Looks once, does what is to be done, and ends.
    #[arg(long)]
    once: bool,
    /// The pause between two looks at the chain.
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    every: u64,
    /// Never pays less, in satoshi a virtual byte.
    #[arg(long, default_value = "1", value_name = "SAT/VB")]
    fee_floor: FeeRate,
    /// Never pays more for commit and reveal together, in satoshi a virtual byte.
    #[arg(long, default_value = "100", value_name = "SAT/VB")]
    fee_cap: FeeRate,
    /// In how many blocks an anchor should be mined, for the node's estimate of fees.
    #[arg(long, default_value_t = 3, value_name = "BLOCKS")]
    target_blocks: u16,
    /// Raises the fee of an anchor that is not mined every so many blocks.
    #[arg(long, default_value_t = 3, value_name = "BLOCKS")]
    bump_every: u32,
    /// By how much it is raised at least.
    #[arg(long, default_value_t = 25, value_name = "PERCENT")]
    bump_percent: u32,
    /// What the reveal returns, from which its fee can be raised; enough for the fee cap, or what the coins allow, if
    /// not given.
    #[arg(long, value_name = "SAT")]
    headroom: Option<u64>,
    /// How many confirmations make an anchor safe, so that leftovers are swept.
    #[arg(long, default_value_t = 6, value_name = "BLOCKS")]
    safe_depth: u32,
}

#[derive(Debug, Serialize)]
struct Report {
    height: u32,
    batches: u64,
    node_synced: bool,
    jobs: Vec<JobReport>,
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "height {}, {} anchored", self.height, counted(self.batches, "batch"))?;
        self.jobs.iter().try_for_each(|job| write!(f, "\n{job}"))
    }
}

/// Writes notes, and stops the service between two steps when a signal came.
struct Journal {
    console: Console,
    json: bool,
    is_silent: bool,
    stop: Arc<AtomicBool>,
    /// The programs whose lack was told, each with its height.
    lacking: BTreeSet<(String, u32)>,
}

impl Journal {
    /// Says what the service waits for, and how long.
    fn waits(&self, failure: &Failure, pause: Duration) {
        let (reason, advice, seconds) = (failure.message(), failure.advice(), pause.as_secs());
        if self.json {
            let line = serde_json::json!({ "event": "waits", "reason": reason, "advice": advice, "seconds": seconds });
            self.print(&line);
        } else {
            let advice = advice.map_or_else(String::new, |advice| format!("; {advice}"));
            self.print_text(format!("waiting: {reason}{advice}; looking again in {seconds} s"));
        }
    }

    /// Says, once for each, which programs are announced and not known here, while there is time.
    fn warn_of_programs(&mut self, follower: &Follower) {
        let upgrades = UpgradesRow::new(follower);
        for (program, height) in upgrades.unknown() {
            if self.lacking.insert((program.to_owned(), height)) {
                self.console.warn(lacking_program(program, height));
            }
        }
    }

    /// Says that what the service waited for has passed.
    fn goes_on_again(&self) {
        if self.json {
            self.print(&serde_json::json!({ "event": "goes_on" }));
        } else {
            self.print_text("what was waited for is over");
        }
    }

    // Who does not read the journal does not stop the service.
    fn print(&self, value: &serde_json::Value) {
        if !self.is_silent {
            let _ = self.console.print_json(value);
        }
    }

    fn print_text(&self, line: impl Display) {
        if !self.is_silent {
            let _ = self.console.print(shown::one_line(line));
        }
    }
}

impl Driver for Journal {
    fn note(&mut self, note: &Note<'_>) {
        if self.json {
            self.print(&json_line(note));
        } else {
            self.print_text(text_line(note));
        }
    }

    fn goes_on(&mut self, _: Step) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

fn text_line(note: &Note<'_>) -> String {
    match note {
        Note::Moved { batch, transition } => format!(
            "height {}: batch {batch}: {} -> {}: {}",
            transition.height, transition.from, transition.to, transition.reason
        ),
        Note::Held { batch, hold } => match hold.advice() {
            Some(advice) => format!("batch {batch} waits: {hold}; {advice}"),
            None => format!("batch {batch} waits: {hold}"),
        },
        Note::Sent { batch, txid, what, fee_sat } => format!("batch {batch}: {what} {txid} sent, fee {fee_sat} sat"),
        Note::ProvenAgain { batch } => format!("batch {batch} was proven again"),
        Note::BumpAboveCap { batch, rate, cap } => {
            format!("batch {batch}: a bump to {rate} sat/vB is above the cap of {cap} sat/vB; the order is dropped")
        }
        Note::OrderIgnored { batch } => {
            format!("batch {batch} has no anchor here, or was given up; the order is dropped")
        }
        _ => String::new(),
    }
}

fn json_line(note: &Note<'_>) -> serde_json::Value {
    match note {
        Note::Moved { batch, transition } => {
            serde_json::json!({ "event": "moved", "batch": batch, "from": transition.from.name(),
                "to": transition.to.name(), "height": transition.height, "reason": transition.reason })
        }
        Note::Held { batch, hold } => {
            serde_json::json!({ "event": "held", "batch": batch, "reason": hold.to_string(), "advice": hold.advice() })
        }
        Note::Sent { batch, txid, what, fee_sat } => {
            let txid = txid.to_string();
            serde_json::json!({ "event": "sent", "batch": batch, "txid": txid, "what": what, "fee_sat": fee_sat })
        }
        Note::ProvenAgain { batch } => serde_json::json!({ "event": "proven_again", "batch": batch }),
        Note::BumpAboveCap { batch, rate, cap } => serde_json::json!({ "event": "bump_above_cap", "batch": batch,
            "rate_sat_per_kvb": rate.sat_per_kvb(), "cap_sat_per_kvb": cap.sat_per_kvb() }),
        Note::OrderIgnored { batch } => serde_json::json!({ "event": "order_ignored", "batch": batch }),
        _ => serde_json::json!({ "event": "other" }),
    }
}

/// The longest pause after failures of the node.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How often a pause looks whether a signal came.
const NAP: Duration = Duration::from_millis(100);
/// The most blocks that one look mines on the embedded chain.
const EMBEDDED_BLOCKS_MAX: usize = 64;

impl Run {
    pub(super) fn run(self, global: &Global) -> Result {
        let session = Session::open(global)?;
        let config = self.config(session.params.final_depth_blocks);
        config.check().map_err(|error| service_failure(error.into()))?;
        let signer = self.signer(&session, global)?;
        if !self.once && self.node.is_embedded()? {
            let failure = Failure::new(Exit::Input, "the embedded chain grows only when a command mines it");
            return Err(failure.advise("give --once, or a --node"));
        }
        let lock = ServiceLock::take(&session.dir.anchoring_lock()).map_err(service_failure)?;
        let identity = identity(&session, &signer.scripts());
        let store = Store::open(&session.dir.anchoring(), identity).map_err(store_failure)?;
        if let Some(origin) = self.watch_only.as_ref().and_then(|watch_only| watch_only.origin.as_ref()) {
            store.put_origin(origin).map_err(store_failure)?;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let flag = stop.clone();
        ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))?;
        let mut journal = Journal {
            console: global.console(),
            json: global.json,
            is_silent: self.once || global.quiet,
            stop,
            lacking: BTreeSet::new(),
        };
        let begin = || {
            // Programs that were added meanwhile are known from here on.
            let session = Session::open(global)?;
            let source = self.node.open(
                &session.dir,
                session.params.network,
                signer.scripts().script_pubkey(),
                session.console,
            )?;
            let follower = session.stored_follower(&source)?.into_follower();
            let batches = ProofFolder::new(session.dir.proofs_folder());
            let coins = CoinStore::new(session.dir.coins());
            let service = Service::new(store.clone(), coins, signer.clone(), config, follower, batches);
            Ok((source, service.map_err(service_failure)?))
        };
        let done = if self.once {
            let (mut source, mut service) = begin()?;
            once(&mut service, &mut source, &mut journal).and_then(|report| report_on(&service, &report, global))
        } else {
            self.keep_at_it(&begin, &mut journal)
        };
        drop(lock);
        done
    }

    fn config(&self, final_depth_blocks: u32) -> Config {
        Config {
            fee_floor: self.fee_floor,
            fee_cap: self.fee_cap,
            target_blocks: self.target_blocks,
            bump_every_blocks: self.bump_every,
            bump_percent: self.bump_percent,
            headroom: self.headroom.map_or(Headroom::ForCap, Headroom::Fixed),
            safe_depth_blocks: self.safe_depth,
            ..Config::new(final_depth_blocks)
        }
    }

    fn signer(&self, session: &Session, global: &Global) -> Result<Signer> {
        let network = session.params.network;
        let poster = self.watch_only.as_ref().map(|watch_only| PosterScripts::watch_only(watch_only.key, network));
        if let Some(poster) = poster.clone().filter(|_| !self.hot_key) {
            return Ok(Signer::External(poster));
        }
        let wallet = self.wallet.open(global)?;
        Ok(match poster {
            Some(poster) => Signer::Hot { poster, key: wallet.hot_key(0)? },
            None => Signer::Key(wallet.poster_key(0)?),
        })
    }

    /// Looks again and again until a signal comes. What a node does not answer now, it may answer later, at the start
    /// as well as after months.
    fn keep_at_it(&self, begin: &dyn Fn() -> Result<Begun>, journal: &mut Journal) -> Result {
        let pause = Duration::from_secs(self.every);
        let (mut begun, mut failures) = (None::<Begun>, 0u32);
        while !journal.stop.load(Ordering::Relaxed) {
            let looked = match &mut begun {
                Some((source, service)) => look(service, source, journal),
                None => begin().map(|started| {
                    begun = Some(started);
                    Looked::Begun
                }),
            };
            match looked {
                Ok(Looked::Stopped) => break,
                Ok(Looked::Begun) => continue,
                Ok(Looked::Done) => {
                    if failures > 0 {
                        journal.goes_on_again();
                    }
                    failures = 0;
                    if let Some((_, service)) = &begun {
                        journal.warn_of_programs(service.follower());
                    }
                }
                Err(failure) => {
                    match outlook(&failure) {
                        Outlook::Over => return Err(failure),
                        Outlook::Afresh => begun = None,
                        Outlook::Again => {}
                    }
                    failures += 1;
                    journal.waits(&failure, pause_after(failures, pause));
                }
            }
            sleep(pause_after(failures, pause), &journal.stop);
        }
        Ok(())
    }
}

/// A service and the chain that it works on.
type Begun = (Source, Service<ProofFolder>);

/// What came of one round.
enum Looked {
    /// The service is there, and has not looked yet.
    Begun,
    /// It has looked.
    Done,
    /// A signal came.
    Stopped,
}

fn look(service: &mut Service<ProofFolder>, source: &Source, journal: &mut Journal) -> Result<Looked> {
    match service.tick(source.node()?, journal) {
        Ok(_) => Ok(Looked::Done),
        Err(ServiceError::Stopped) => Ok(Looked::Stopped),
        Err(error) => Err(service_failure(error)),
    }
}

/// What is to be expected after a failure.
enum Outlook {
    /// It may pass.
    Again,
    /// It may pass, and the chain is to be followed from what is stored: the node's left what was followed, or a
    /// program may be known by then.
    Afresh,
    /// It stays until somebody changes something here.
    Over,
}

fn outlook(failure: &Failure) -> Outlook {
    let may_pass = |may_pass: bool| if may_pass { Outlook::Again } else { Outlook::Over };
    let followed = |error: &FollowError| match error {
        FollowError::Node(error) => may_pass(error.may_pass()),
        FollowError::Header(_)
        | FollowError::Block(_)
        | FollowError::StartLost { .. }
        | FollowError::UnknownProgram(_)
        | FollowError::Store(ChainStoreError::LessWork { .. }) => Outlook::Afresh,
        error => may_pass(error.is_transient()),
    };
    if let Some(error) = failure.cause::<NodeError>() {
        return may_pass(error.may_pass());
    }
    match (failure.cause::<FollowError>(), failure.cause::<ServiceError>()) {
        (Some(error), _) | (_, Some(ServiceError::Follow(error))) => followed(error),
        (_, Some(error)) => may_pass(error.is_transient()),
        _ => may_pass(
            failure.cause::<AnchorStoreError>().is_some_and(AnchorStoreError::is_transient)
                || failure.cause::<CoinStoreError>().is_some_and(CoinStoreError::is_transient),
        ),
    }
}

/// How long to wait for the next look: ever longer while looks fail.
fn pause_after(failures: u32, pause: Duration) -> Duration {
    pause.saturating_mul(1 << failures.min(6)).min(PAUSE_MAX.max(pause))
}

/// One look; on the embedded chain as many as it takes to mine what was sent.
fn once(service: &mut Service<ProofFolder>, source: &mut Source, journal: &mut Journal) -> Result<TickReport> {
    let mut report = service.tick(source.node()?, journal).map_err(service_failure)?;
    let Source::Embedded(node) = source else { return Ok(report) };
    for _ in 0..EMBEDDED_BLOCKS_MAX {
        let is_sent = |state| matches!(state, JobState::CommitSent | JobState::RevealSent | JobState::Bumped);
        if !service.jobs().any(|job| !job.is_closed() && is_sent(job.state())) {
            break;
        }
        node.mine(1)?;
        report = service.tick(node, journal).map_err(service_failure)?;
    }
    Ok(report)
}

fn report_on(service: &Service<ProofFolder>, tick: &TickReport, global: &Global) -> Result {
    let unusable: Vec<(u64, Hold)> = service.unusable().collect();
    let unread = unusable.iter().filter(|(batch, _)| service.job(*batch).is_none());
    let unread = unread.map(|(batch, hold)| JobReport::unread(*batch, &Waits::from(hold)));
    let known = service.jobs().map(|job| JobReport::new(job, job.hold().map(Waits::from).as_ref()));
    let mut jobs: Vec<JobReport> = known.chain(unread).collect();
    jobs.sort_by_key(|job| job.batch);
    let report = Report { height: tick.tip.height, batches: tick.batches, node_synced: tick.is_synced, jobs };
    global.console().report(&report, ToString::to_string)?;
    let Some((_, hold)) = unusable.first() else { return Ok(()) };
    let each: Vec<String> = unusable.iter().map(|(batch, hold)| format!("batch {batch}: {hold}")).collect();
    let failure = Failure::new(Exit::Input, each.join("; "));
    Err(match hold.advice() {
        Some(advice) => failure.advise(advice),
        None => failure,
    })
}

fn sleep(pause: Duration, stop: &AtomicBool) {
    let started = Instant::now();
    while started.elapsed() < pause && !stop.load(Ordering::Relaxed) {
        thread::sleep(NAP.min(pause));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::session::not_followed;
    use taproof_verifier::{follow::UnknownProgramError, program::ProgramId};

    #[test]
    fn a_program_that_is_not_known_is_waited_for_and_looked_for_afresh() {
        let unknown = || UnknownProgramError { program: ProgramId::from_byte_array([1; 32]), from_height: 7 };
        assert!(matches!(outlook(&not_followed(unknown().into())), Outlook::Afresh));
        assert!(matches!(outlook(&service_failure(FollowError::from(unknown()).into())), Outlook::Afresh));
    }
}
