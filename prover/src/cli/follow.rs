//! `taproof follow`.

use super::{
    Global,
    console::counted,
    failure::Result,
    light::{CAVEATS, CheckpointReport, LightOptions},
    overview::{request_entries, upgrade_entries},
    session::{NodeOptions, Session, Source, not_followed, store_failure},
};
use crate::overview::{ClaimRow, DepositCounts, ExitRow, UpgradesRow};
use bitcoin::{Address, Network};
use clap::Args;
use serde::Serialize;
use std::fmt;
use taproof_bitcoin::{
    chain_store::{FinalEvent, StoredFollower, Undone},
    follow::FollowError,
};
use taproof_verifier::{follow::Event, headers::BlockId};

/// Follows the chain with the verifier: checks every anchor and proof, and tells the verified root.
///
/// Following goes on from where the last command stopped, which `chain.redb` in the data directory remembers. Listed
/// is what became final since the last `taproof follow`, each event once and with its number, and then what is not
/// final yet and may change, every time. `--all` lists everything final from the rollup's start on.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taproof follow
  taproof follow --all
  taproof follow --export-excerpts excerpts
  taproof follow --export-checkpoint final.checkpoint
  taproof follow --headers-only \\
    --checkpoint final.checkpoint --excerpts excerpts
  taproof follow --headers-only \\
    --esplora https://blockstream.info/api --poster bc1p...
  taproof follow --node http://127.0.0.1:38332 --cookie .cookie --json")]
pub(crate) struct Follow {
    #[command(flatten)]
    node: NodeOptions,
    /// Lists every final event from the rollup's start on, not only those that are new.
    #[arg(long)]
    all: bool,
    /// Ends the warning of a reorganisation below a final block, which every command repeats until then. What to do
    /// before: docs/operating.md.
    #[arg(long)]
    acknowledge: bool,
    #[command(flatten)]
    light: LightOptions,
}

/// How many transactions that announce an anchor and are none are listed without `--all`.
const IGNORED_LISTED_MAX: usize = 100;

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum What {
    Verified { batch: u64, txid: String, height: u32, root: String, chunks: u32 },
    Ignored { txid: String, height: u32, reason: String },
    IgnoredMore { count: u64, height: u32 },
    Due { index: u64, batch: u64, position: u32, amount_sat: u64, script_pubkey: String, address: String },
    Void { first: u64, count: u64, batch: u64, height: u32 },
    Announced { txid: String, height: u32, upgrade: String, renounces: bool },
    AnnouncementIgnored { txid: String, height: u32, reason: String },
    Rewound { height: u32 },
}

/// An event as it is told.
#[derive(Serialize)]
struct EventReport {
    /// The event's number among all final ones; none if it is not final.
    number: Option<u64>,
    #[serde(flatten)]
    what: What,
}

#[derive(Serialize)]
struct TipReport {
    height: u32,
    block: String,
    batches: u64,
    root_verified: String,
    depth: u8,
    deposits: DepositCounts,
    exits: Vec<ExitRow>,
    claims: Vec<ClaimRow>,
    payouts_pending: usize,
    upgrades: UpgradesRow,
}

#[derive(Serialize)]
struct FollowReport {
    /// Whether whole blocks were seen.
    complete: bool,
    /// What a follower of excerpts cannot know.
    caveats: &'static [&'static str],
    /// How many excerpts were written, if any were to be.
    excerpts: Option<usize>,
    /// The checkpoint that was written, if one was to be.
    checkpoint: Option<CheckpointReport>,
    events: Vec<EventReport>,
    /// How many transactions that announce an anchor and are none are not listed.
    ignored_more: u64,
    /// What a reorganisation below a final block took back, until it is acknowledged.
    undone: Option<Undone>,
    #[serde(flatten)]
    tip: TipReport,
}

impl EventReport {
    fn new(number: Option<u64>, event: &FinalEvent, network: Network) -> Self {
        let what = match event {
            FinalEvent::Anchor(anchor) => What::Verified {
                batch: anchor.batch,
                txid: anchor.txid.to_string(),
                height: anchor.block.height,
                root: super::element_text(&anchor.root),
                chunks: anchor.chunks,
            },
            FinalEvent::Refused(refused) => What::Ignored {
                txid: refused.txid.to_string(),
                height: refused.block.height,
                reason: refused.reason.clone(),
            },
            FinalEvent::RefusedMore(more) => What::IgnoredMore { count: more.count, height: more.block.height },
            FinalEvent::Payout(payout) => {
                let script = payout.destination.script_pubkey();
                What::Due {
                    index: payout.index,
                    batch: payout.batch,
                    position: payout.position,
                    amount_sat: payout.amount_sat,
                    address: Address::from_script(&script, network).expect("destinations have addresses").to_string(),
                    script_pubkey: script.to_hex_string(),
                }
            }
            FinalEvent::Void(void) => {
                What::Void { first: void.first, count: void.count, batch: void.batch, height: void.anchor.height }
            }
            FinalEvent::Upgrade(announced) => What::Announced {
                txid: announced.txid.to_string(),
                height: announced.block.height,
                upgrade: announced.upgrade.to_string(),
                renounces: announced.upgrade.renounces(),
            },
            FinalEvent::UpgradeRefused(refused) => What::AnnouncementIgnored {
                txid: refused.txid.to_string(),
                height: refused.block.height,
                reason: refused.reason.clone(),
            },
        };
        Self { number, what }
    }
}

impl fmt::Display for EventReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Verified { batch, height, root, chunks, .. } => {
                let chunks = counted(*chunks, "chunk");
                write!(f, "height {height}: batch {batch} of {chunks} verified, root {root}")
            }
            What::Ignored { txid, height, reason } => write!(f, "height {height}: {txid} ignored: {reason}"),
            What::IgnoredMore { count, height } => {
                write!(f, "height {height}: {count} more that announce an anchor and are none ignored")
            }
            What::Due { index, batch, position, amount_sat, address, .. } => {
                write!(f, "payout {index}, of batch {batch} at {position}, is due: {amount_sat} sat to {address}")
            }
            What::Void { first, count: 1, batch, height } => {
                write!(f, "height {height}: deposit {first} is void: batch {batch} came to it too late")
            }
            What::Void { first, count, batch, height } => {
                let last = first + count - 1;
                write!(f, "height {height}: deposits {first} to {last} are void: batch {batch} came to them too late")
            }
            What::Announced { txid, height, upgrade, .. } => {
                write!(f, "height {height}: {txid} announces number {upgrade}")
            }
            What::AnnouncementIgnored { txid, height, reason } => {
                write!(f, "height {height}: {txid} of the upgrade keys ignored: {reason}")
            }
            What::Rewound { height } => write!(f, "the chain was reorganised above height {height}"),
        }?;
        if self.number.is_none() && !matches!(self.what, What::Rewound { .. }) {
            write!(f, " (not final)")
        } else {
            Ok(())
        }
    }
}

impl TipReport {
    fn new(stored: &StoredFollower) -> Result<Self> {
        let follower = stored.follower();
        let (tip, scanned) = (follower.tip(), follower.scanned());
        Ok(Self {
            height: scanned.height,
            block: scanned.hash.to_string(),
            batches: tip.batches,
            root_verified: super::element_text(&tip.root),
            depth: tip.depth.levels(),
            deposits: DepositCounts::new(stored).map_err(store_failure)?,
            exits: ExitRow::waiting(follower.pending_exits(), follower.params(), None),
            claims: ClaimRow::waiting(follower.pending_requests(), follower.params()),
            payouts_pending: follower.pending_payouts().count(),
            upgrades: UpgradesRow::new(follower),
        })
    }
}

impl fmt::Display for TipReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "tip            {} at height {}", self.block, self.height)?;
        writeln!(f, "batches        {}", self.batches)?;
        writeln!(f, "root verified  {} in a tree of {}", self.root_verified, counted(self.depth, "level"))?;
        writeln!(f, "deposits       {}", self.deposits)?;
        request_entries(&self.exits, &self.claims).iter().try_for_each(|line| writeln!(f, "{line}"))?;
        upgrade_entries(&self.upgrades, self.height).iter().try_for_each(|line| writeln!(f, "{line}"))?;
        write!(f, "payouts        {} not final yet", self.payouts_pending)
    }
}

impl Follow {
    pub(crate) fn run(self, global: &Global) -> Result {
        let session = Session::open(global)?;
        let checkpoint = self.light.open_exports(&session.dir)?;
        let console = global.console().beside(&checkpoint)?;
        let source = session.source(&self.node)?;
        let spinner = console.spinner("following the chain");
        let mut events = Vec::new();
        let mut rewound =
            |to: BlockId| events.push(EventReport { number: None, what: What::Rewound { height: to.height } });
        let stored = if self.light.is_light() {
            self.light.follow(&session, &source, &mut rewound)?
        } else {
            follow_whole(&session, &source, &mut rewound)?
        };
        let excerpts = self.light.export(&session, &source)?;
        let checkpoint = LightOptions::export_checkpoint(checkpoint, &stored)?;
        spinner.finish_and_clear();
        let store = stored.store();
        let first = if self.all { 0 } else { store.first_untold().map_err(store_failure)? };
        let settled = store.events(first, usize::MAX).map_err(store_failure)?;
        let next = first + settled.len() as u64;
        let network = session.params.network;
        events.extend(settled.iter().map(|(number, event)| EventReport::new(Some(*number), event, network)));
        events.extend(stored.unsettled().map(|event| EventReport::new(None, event, network)));
        let ignored_more = if self.all { 0 } else { shorten(&mut events) };
        if self.acknowledge {
            store.acknowledge_undone().map_err(store_failure)?;
        }
        let undone = store.undone().map_err(store_failure)?;
        let caveats: &[&str] = if self.light.is_light() { &CAVEATS } else { &[] };
        let mut tip = TipReport::new(&stored)?;
        session.judge_requests(&mut tip.exits, &mut tip.claims, stored.follower().tip());
        let complete = !self.light.is_light();
        let report = FollowReport { complete, caveats, excerpts, checkpoint, events, ignored_more, undone, tip };
        console.report(&report, |report| {
            let mut text: String = report.events.iter().map(|event| format!("{event}\n")).collect();
            if report.ignored_more > 0 {
                let count = report.ignored_more;
                text += &format!(
                    "{count} more that announce an anchor and are none ignored: `taproof follow --all` lists them\n"
                );
            }
            text += &report.tip.to_string();
            if let Some(count) = report.excerpts {
                text += &format!("\nexcerpts       {count} written");
            }
            if let Some(checkpoint) = &report.checkpoint {
                text += &format!("\ncheckpoint     {checkpoint}");
            }
            report.caveats.iter().for_each(|caveat| text += &format!("\nnot seen       {caveat}"));
            text
        })?;
        // Only now: who is interrupted before is told again.
        store.set_told(next).map_err(store_failure)
    }
}

/// Leaves out all but the last transactions that announce an anchor and are none: strangers can make any number.
/// Gives how many.
fn shorten(events: &mut Vec<EventReport>) -> u64 {
    let ignored = |event: &EventReport| match event.what {
        What::Ignored { .. } => Some(1),
        What::IgnoredMore { count, .. } => Some(count),
        _ => None,
    };
    let listed = events.iter().filter(|event| ignored(event).is_some()).count();
    let (mut surplus, mut left_out) = (listed.saturating_sub(IGNORED_LISTED_MAX), 0u64);
    events.retain(|event| match ignored(event) {
        Some(count) if surplus > 0 => {
            surplus -= 1;
            left_out = left_out.saturating_add(count);
            false
        }
        _ => true,
    });
    left_out
}

/// Follows whole blocks to the tip; rewinds go to `rewound`.
fn follow_whole(session: &Session, source: &Source, rewound: &mut dyn FnMut(BlockId)) -> Result<StoredFollower> {
    let mut stored = session.stored_follower(source)?;
    let followed = stored.catch_up(source.chain(), |_, event| {
        if let Event::Rewound { to, .. } = event {
            rewound(*to);
        }
        Ok::<(), FollowError>(())
    });
    followed.map_err(not_followed)?;
    Ok(stored)
}
