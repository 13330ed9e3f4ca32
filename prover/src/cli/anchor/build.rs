//! `taproof anchor build`: one anchor by hand, without the service.

use crate::cli::{
    Global,
    coins::{Use, explain, spend},
    data_dir::DataDir,
    failure::{Exit, Failure, Fallible, Result},
    input::read_artefact,
    output::{Output, Replaces, open_output, write},
    path_text,
    session::{NodeOptions, Session, Source},
    values,
    wallet::WalletOptions,
};
use bitcoin::{Amount, OutPoint, TxOut};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use taproof_base::{output_file::Access, shown::shown};
use taproof_bitcoin::{
    anchor::{self, AnchorRequest, FeeRate, Funding},
    coins::{Purpose, own_coins},
    node::publish,
    proven_batch::ProvenBatch,
};
use taproof_wallet::PosterKey;

/// Builds the commit and the reveal of one proven batch, whatever its proofs are worth, keeps them, and sends them
/// once if asked.
#[derive(Debug, Args)]
#[command(after_help = "\
On the embedded chain the wallet's coins are found, and sending also mines a block. With a node, name the coins.

Examples:
  taproof anchor build .taproof/proofs/0.proofs --send
  taproof anchor build 0.proofs --node http://127.0.0.1:38332 \\
    --cookie .cookie --coin TXID:VOUT:SAT --send")]
pub(crate) struct Build {
    /// The proofs, as `taproof prove` writes them.
    proofs: PathBuf,
    #[command(flatten)]
    wallet: WalletOptions,
    #[command(flatten)]
    node: NodeOptions,
    /// The rate of fees, in satoshi a virtual byte.
    #[arg(long, default_value = "2", value_name = "SAT/VB")]
    fee_rate: FeeRate,
    /// What the reveal returns to the poster, from which its fee can be raised.
    #[arg(long, default_value_t = 20_000, value_name = "SAT")]
    headroom: u64,
    /// A coin of the poster's address to pay with.
    #[arg(long = "coin", value_parser = coin, value_name = "TXID:VOUT:SAT")]
    coins: Vec<(OutPoint, Amount)>,
    /// Sends both transactions.
    #[arg(long)]
    send: bool,
}

fn coin(text: &str) -> std::result::Result<(OutPoint, Amount), String> {
    let (outpoint, value) = text.rsplit_once(':').ok_or("a coin is TXID:VOUT:SAT")?;
    let value = value.parse().map_err(|_| "a coin is TXID:VOUT:SAT, and SAT what it is worth, in satoshi")?;
    Ok((values::outpoint(outpoint)?, Amount::from_sat(value)))
}

#[derive(Serialize)]
struct Report {
    batch: u64,
    payload_bytes: usize,
    commit_txid: String,
    reveal_txid: String,
    vsize_vb: u64,
    fee_sat: u64,
    #[serde(serialize_with = "path_text::serialize")]
    file: PathBuf,
    sent: bool,
}

impl Build {
    pub(crate) fn run(self, global: &Global) -> Result {
        let session = Session::open(global)?;
        let proven: ProvenBatch = read_artefact(&self.proofs)?;
        let wallet = self.wallet.open(global)?;
        let poster = wallet.poster_key(0)?;
        let mut source =
            self.node.open(&session.dir, session.params.network, poster.script_pubkey(), session.console)?;
        source.expect_current()?;
        let spinner = global.console().spinner("following the chain");
        let follower = session.follow(&source, |_| ())?;
        let (tip, header) = (follower.tip(), proven.payload().header());
        if header.chain_id != session.params.chain_id() {
            let failure = Failure::new(Exit::Input, "the batch is one of another rollup");
            return Err(failure.advise("name its rollup's --dir"));
        }
        if header.batch != tip.batches || Some(header.root_before) != tip.root_at(header.depth) {
            let message =
                format!("batch {} does not follow the {} batches that are anchored", header.batch, tip.batches);
            let failure = Failure::new(Exit::Refuted, message);
            return Err(failure.advise("anchor batches in their order; one that is anchored already is done"));
        }
        let path = session.dir.anchor(header.batch);
        DataDir::create_parent(&path)?;
        let output = Output { path: &path, access: Access::Public, format: "anchor", replaces: Replaces::OwnFormat };
        let output = open_output(&session.dir, output, &[&self.proofs])?;
        let payload = proven.payload_after(tip.payload_hash).or_exit(Exit::Input)?;
        let funding = self.funding(&source, &poster)?;
        let build = |funding: &[Funding]| {
            let request = AnchorRequest {
                payload: &payload,
                fee_rate: self.fee_rate,
                headroom: Amount::from_sat(self.headroom),
                funding,
            };
            let built = anchor::build(&request, &poster)?;
            let commit = built.commit().clone();
            Ok((built, commit))
        };
        let usage = (Purpose::AnchorByHand { batch: header.batch }, if self.send { Use::Keep } else { Use::Show });
        let explain = |error| explain(error, &poster, &funding);
        let built = spend(&session, source.node()?, &funding, usage, build, explain)?;
        // Both transactions are durable before either is sent.
        let json = built.to_json();
        write(output, |file| file.write_all(json.as_bytes()))?;
        if self.send {
            spinner.set_message("sending");
            publish(source.node()?, built.commit(), built.reveal())?;
            if let Source::Embedded(node) = &mut source {
                node.mine(1)?;
            }
        }
        spinner.finish_and_clear();
        let (commit, reveal) = (built.commit_figures(), built.reveal_figures());
        let report = Report {
            batch: header.batch,
            payload_bytes: payload.len(),
            commit_txid: commit.txid.to_string(),
            reveal_txid: reveal.txid.to_string(),
            vsize_vb: commit.vsize_vb + reveal.vsize_vb,
            fee_sat: commit.fee_sat + reveal.fee_sat,
            file: path,
            sent: self.send,
        };
        global.console().report(&report, |report| {
            format!(
                "batch {}: payload of {} bytes, {} vB, fee {} sat, in {}\ncommit  {}\nreveal  {}\n{}",
                report.batch,
                report.payload_bytes,
                report.vsize_vb,
                report.fee_sat,
                shown(report.file.display()),
                report.commit_txid,
                report.reveal_txid,
                if report.sent { "sent" } else { "not sent: run again with --send" }
            )
        })
    }

    fn funding(&self, source: &Source, poster: &PosterKey) -> Result<Vec<Funding>> {
        if let (Source::Embedded(node), true) = (source, self.coins.is_empty()) {
            return Ok(own_coins(node, &poster.scripts())?);
        }
        let own = |(outpoint, value): &(OutPoint, Amount)| Funding {
            outpoint: *outpoint,
            output: TxOut { value: *value, script_pubkey: poster.script_pubkey() },
        };
        Ok(self.coins.iter().map(own).collect())
    }
}
