//! `taproof follow` and `taproof rebuild`.

use super::{
    Global,
    data_dir::expect_absent,
    failure::{Exit, Failure, Result},
    session::{NodeOptions, Session},
};
use clap::Args;
use serde::Serialize;
use std::{fmt, path::PathBuf};
use taproof::{atomic_file::write_atomically, rebuild};
use taproof_circuits::state::State;
use taproof_verifier::{
    cell::Cell,
    follow::{Event, Follower},
};

/// Follows the chain with the verifier: checks every anchor and proof, and tells the verified root.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taproof follow
  taproof follow --node http://127.0.0.1:38332 --cookie .cookie --json")]
pub(crate) struct Follow {
    #[command(flatten)]
    node: NodeOptions,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum EventReport {
    Verified { batch: u64, txid: String, height: u32, root: String, chunks: usize },
    Ignored { txid: String, height: u32, reason: String },
    Due { batch: u64, position: u32, amount_sat: u64, script_pubkey: String },
    Rewound { height: u32 },
}

#[derive(Serialize)]
struct TipReport {
    height: u32,
    block: String,
    batches: u64,
    root_verified: String,
    depth: u8,
    deposits_consumed: u64,
    deposits_pending: usize,
    payouts_pending: usize,
}

#[derive(Serialize)]
struct FollowReport {
    events: Vec<EventReport>,
    #[serde(flatten)]
    tip: TipReport,
}

impl EventReport {
    fn new(event: &Event) -> Option<Self> {
        Some(match event {
            Event::Verified(batch) => Self::Verified {
                batch: batch.batch(),
                txid: batch.txid().to_string(),
                height: batch.block().height,
                root: super::element_text(&batch.root()),
                chunks: batch.payload().chunks().len(),
            },
            Event::Ignored { block, txid, refusal } => {
                Self::Ignored { txid: txid.to_string(), height: block.height, reason: refusal.to_string() }
            }
            Event::Due(payout) => Self::Due {
                batch: payout.batch,
                position: payout.position,
                amount_sat: payout.amount_sat,
                script_pubkey: payout.destination.script_pubkey().to_hex_string(),
            },
            Event::Rewound { to, .. } => Self::Rewound { height: to.height },
            _ => return None,
        })
    }
}

impl fmt::Display for EventReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verified { batch, height, root, chunks, .. } => {
                write!(f, "height {height}: batch {batch} of {chunks} chunks verified, root {root}")
            }
            Self::Ignored { txid, height, reason } => write!(f, "height {height}: {txid} ignored: {reason}"),
            Self::Due { batch, position, amount_sat, script_pubkey } => {
                write!(f, "payout {position} of batch {batch} is due: {amount_sat} sat to {script_pubkey}")
            }
            Self::Rewound { height } => write!(f, "the chain was reorganised above height {height}"),
        }
    }
}

impl TipReport {
    fn new(follower: &Follower) -> Self {
        let (tip, scanned) = (follower.tip(), follower.scanned());
        Self {
            height: scanned.height,
            block: scanned.hash.to_string(),
            batches: tip.batches,
            root_verified: super::element_text(&tip.root),
            depth: tip.depth.levels(),
            deposits_consumed: tip.deposits_consumed,
            deposits_pending: follower.pending_deposits().count(),
            payouts_pending: follower.pending_payouts().count(),
        }
    }
}

impl fmt::Display for TipReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "tip            {} at height {}", self.block, self.height)?;
        writeln!(f, "batches        {}", self.batches)?;
        writeln!(f, "root verified  {} in a tree of {} levels", self.root_verified, self.depth)?;
        writeln!(f, "deposits       {} credited, {} pending", self.deposits_consumed, self.deposits_pending)?;
        write!(f, "payouts        {} not final yet", self.payouts_pending)
    }
}

impl Follow {
    pub(crate) fn run(self, global: &Global) -> Result {
        let session = Session::open(global)?;
        let source = session.source(&self.node)?;
        let spinner = global.console().spinner("following the chain");
        let mut events = Vec::new();
        let follower = session.follow(&source, |event| events.extend(EventReport::new(&event)))?;
        spinner.finish_and_clear();
        let report = FollowReport { events, tip: TipReport::new(&follower) };
        global.console().report(&report, |report| {
            let events: String = report.events.iter().map(|event| format!("{event}\n")).collect();
            format!("{events}{}", report.tip)
        })
    }
}

/// Rebuilds the whole state from the chain alone, and compares its root with the verified one.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  taproof rebuild --out state.json")]
pub(crate) struct Rebuild {
    #[command(flatten)]
    node: NodeOptions,
    /// Writes the cells to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Serialize)]
struct RebuildReport {
    batches: u64,
    accounts: usize,
    balance_sat: u128,
    root_verified: String,
    root_rebuilt: String,
    out: Option<PathBuf>,
}

/// Rebuilds the state from the chain alone.
pub(super) fn rebuilt(session: &Session, node: &NodeOptions, global: &Global) -> Result<(Follower, State)> {
    let source = session.source(node)?;
    let spinner = global.console().spinner("rebuilding the state");
    let (params, program) = (session.params.clone(), session.program.clone());
    let (follower, state) = rebuild::rebuild(source.chain(), params, program, |_| ())?;
    spinner.finish_and_clear();
    if state.root() != follower.tip().root {
        let (rebuilt, verified) = (super::element_text(&state.root()), super::element_text(&follower.tip().root));
        return Err(Failure::new(Exit::Refuted, format!("rebuilt root {rebuilt}, verified root {verified}")));
    }
    Ok((follower, state))
}

impl Rebuild {
    pub(crate) fn run(self, global: &Global) -> Result {
        if let Some(out) = &self.out {
            expect_absent(out)?;
        }
        let session = Session::open(global)?;
        let (follower, state) = rebuilt(&session, &self.node, global)?;
        if let Some(out) = &self.out {
            let json = serde_json::to_string_pretty(&state.tree().snapshot())?;
            write_atomically(out, |file| writeln!(file, "{json}"))?;
        }
        let balances = state.tree().cells().map(|(_, cell)| match cell {
            Cell::Account(account) => u128::from(account.balance),
            _ => 0,
        });
        let report = RebuildReport {
            batches: follower.tip().batches,
            accounts: state.tree().cells().count(),
            balance_sat: balances.sum(),
            root_verified: super::element_text(&follower.tip().root),
            root_rebuilt: super::element_text(&state.root()),
            out: self.out,
        };
        global.console().report(&report, |report| {
            format!(
                "{} accounts after {} batches\nroot verified  {}\nroot rebuilt   {}",
                report.accounts, report.batches, report.root_verified, report.root_rebuilt
            )
        })
    }
}
