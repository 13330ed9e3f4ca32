//! `taproof prove-account` and `taproof verify-account`.

use super::{
    Global,
    data_dir::expect_absent,
    failure::{Exit, Failure, Fallible, Result},
    output::open_output,
    rebuild::rebuilt,
    session::{NodeOptions, Session},
    tx::cell,
};
use ark_bn254::Fr;
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use taproof::{
    artefact::{self, Artefact},
    state_proof::StateProof,
};
use taproof_verifier::{
    cell::{Cell, CellIndex},
    field,
};

/// Proves what a cell holds: writes it with its path to the verified root.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  taproof prove-account 3 --out 3.account")]
pub(crate) struct ProveAccount {
    /// The cell.
    #[arg(value_parser = cell)]
    cell: CellIndex,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    node: NodeOptions,
}

/// Checks a cell's proof against the root that the verifier takes from the chain, or against a given root.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  taproof verify-account 3.account
  taproof verify-account 3.account --root 0f3a...")]
pub(crate) struct VerifyAccount {
    /// The proof, as `taproof prove-account` writes it.
    proof: PathBuf,
    /// A root that was verified elsewhere: 64 hexadecimal digits, as `taproof follow` prints it.
    #[arg(long, value_parser = root, value_name = "HEX")]
    root: Option<Fr>,
    #[command(flatten)]
    node: NodeOptions,
}

fn root(text: &str) -> std::result::Result<Fr, String> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).map_err(|error| error.to_string())?;
    field::from_bytes(&bytes).map_err(|error| error.to_string())
}

#[derive(Serialize)]
struct Report {
    index: u32,
    batches: u64,
    root: String,
    cell: Cell,
}

/// A report of what was checked and holds; what does not hold is an error.
#[derive(Serialize)]
struct Verified {
    verified: bool,
    #[serde(flatten)]
    report: Report,
}

fn text(report: &Report) -> String {
    let holding = match &report.cell {
        Cell::Account(account) => {
            let amount = account.token.amount(account.balance);
            format!("{amount}, nonce {}, owner {}", account.nonce, account.owner)
        }
        _ => "nothing".to_owned(),
    };
    let Report { index, root, batches, .. } = report;
    format!("cell {index} holds {holding}\nroot {root} after {batches} batches")
}

impl ProveAccount {
    pub(crate) fn run(self, global: &Global) -> Result {
        expect_absent(&self.out)?;
        let out = open_output(&self.out, StateProof::ACCESS, &[])?;
        let console = global.console().beside([&out]);
        let session = Session::open(global)?;
        let (follower, state) = rebuilt(&session, &self.node, global)?;
        let batches = follower.tip().batches;
        let proof = StateProof::new(session.params.chain_id, batches, state.tree(), self.cell).or_exit(Exit::Input)?;
        artefact::write_to(out, &proof)?;
        let cell = *proof.verify(state.root()).or_exit(Exit::Refuted)?;
        let report = Report { index: self.cell.get(), batches, root: super::element_text(&proof.root()), cell };
        console.report(&report, text)
    }
}

impl VerifyAccount {
    pub(crate) fn run(self, global: &Global) -> Result {
        let proof: StateProof = artefact::read(&self.proof).or_exit(Exit::Input)?;
        let root = match self.root {
            Some(root) => root,
            None => self.verified_root(&proof, global)?,
        };
        let cell = *proof.verify(root).or_exit(Exit::Refuted)?;
        let (index, batches) = (proof.index().get(), proof.batches());
        let report = Report { index, batches, root: super::element_text(&root), cell };
        let verified = Verified { verified: true, report };
        global.console().report(&verified, |verified| format!("verified: {}", text(&verified.report)))
    }

    /// The root that the chain verifies for the proof's batch, or the one in force.
    fn verified_root(&self, proof: &StateProof, global: &Global) -> Result<Fr> {
        let session = Session::open(global)?;
        if proof.chain_id() != session.params.chain_id {
            let (found, expected) = (proof.chain_id().0, session.params.chain_id.0);
            let failure =
                Failure::new(Exit::Input, format!("the proof is one of chain {found}, not of chain {expected}"));
            return Err(failure.advise("name its rollup's --dir"));
        }
        let spinner = global.console().spinner("following the chain");
        let source = session.source(&self.node)?;
        let follower = session.follow(&source, |_| ())?;
        spinner.finish_and_clear();
        let tip = follower.tip();
        if tip.batches != proof.batches() {
            let message = format!("the proof is of batch {}, the chain has {}", proof.batches(), tip.batches);
            let failure = Failure::new(Exit::Refuted, message);
            return Err(
                failure.advise("ask for a proof of the present state, or give the root of that batch with --root")
            );
        }
        Ok(tip.root)
    }
}
