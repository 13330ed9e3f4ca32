//! `taproof import-block`.

use super::{
    Global,
    console::counted,
    failure::{Exit, Failure, Fallible, Result},
    form::or_misplaced,
    input::read_file,
    output::{Output, Replaces, open_output},
    path_text,
    setup::OPENING_MIN_SAT,
    values::chain_id,
};
use clap::Args;
use serde::Serialize;
use std::{fmt, path::PathBuf};
use taproof_base::{output_file::Access, shown::shown};
use taproof_circuits::transaction::Transaction;
use taproof_rollup::{
    transaction_file,
    workload::{BlockPayments, PlanParameters},
};
use taproof_verifier::{
    block::BLOCK_LENGTH_MAX,
    cell::{ChainId, Depth},
    codec,
    record::{Kind, Records},
};
use zeroize::Zeroizing;

/// Turns a raw Bitcoin block into deposits and signed transactions that make the same payments.
#[derive(Debug, Args)]
#[command(after_help = "\
Every output with an amount becomes one payment, from the account of its transaction's first input to the account of \
its own script. Payers are funded by deposits, to the satoshi.

Example:
  taproof import-block block.raw --payments 500 --out payments.json")]
pub(crate) struct ImportBlock {
    /// The block, consensus-encoded as nodes store and send it.
    block: PathBuf,
    /// Takes only the first payments of the block.
    #[arg(long, value_name = "N")]
    payments: Option<usize>,
    /// The file of transactions to write; without it, the block is only reported on.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The fee of every transaction, in satoshi.
    #[arg(long, default_value_t = 25, value_name = "SAT")]
    fee: u64,
    /// The least amount that opens an account on the rollup; smaller payments to somebody without one are left out.
    #[arg(long, default_value_t = OPENING_MIN_SAT, value_name = "SAT")]
    opening_min: u64,
    /// The depth of the rollup's tree.
    #[arg(long, default_value_t = 7, value_name = "LEVELS", value_parser = clap::value_parser!(u8).range(1..=10))]
    depth: u8,
    /// The rollup that the transactions are for.
    #[arg(long, default_value_t = ChainId::from_byte_array([0; 15]), value_parser = chain_id, value_name = "HEX")]
    chain_id: ChainId,
    /// The secret that the accounts' keys are derived from, as any text.
    #[arg(long, default_value = "import-block", value_name = "TEXT")]
    seed: String,
    /// How many of the accounts that only receive payments withdraw all that they have in the end.
    #[arg(long, default_value_t = 0, value_name = "N")]
    withdrawals: usize,
}

#[derive(Serialize)]
struct Report {
    block_hash: String,
    payments: usize,
    holders: usize,
    amount_sat: u128,
    layer_1_virtual_bytes: u64,
    deposits: usize,
    /// Payments to somebody without an account that are too small to open one.
    passed_over: usize,
    opens: usize,
    transfers: usize,
    withdrawals: usize,
    /// What the payments would post, records only, if all accounts existed, scattered over the tree.
    posted_bytes_per_transfer_between_existing_accounts: Option<f64>,
    #[serde(serialize_with = "path_text::serialize")]
    out: Option<PathBuf>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "block         {}", self.block_hash)?;
        writeln!(f, "payments      {} between {}", self.payments, counted(self.holders, "holder"))?;
        writeln!(f, "amount        {} sat", self.amount_sat)?;
        writeln!(f, "on layer 1    {} vB", self.layer_1_virtual_bytes)?;
        write!(f, "as a rollup   {}, {}, ", counted(self.deposits, "deposit"), counted(self.opens, "open"))?;
        write!(f, "{}, {}", counted(self.transfers, "transfer"), counted(self.withdrawals, "withdrawal"))?;
        if self.passed_over > 0 {
            write!(f, "\npassed over   {} payments that are too small to open an account", self.passed_over)?;
        }
        if let Some(bytes) = self.posted_bytes_per_transfer_between_existing_accounts {
            write!(f, "\nposted        {bytes:.2} bytes a payment if all accounts existed, records only")?;
        }
        if let Some(out) = &self.out {
            write!(f, "\nwritten       {}", shown(out.display()))?;
        }
        Ok(())
    }
}

impl ImportBlock {
    pub(crate) fn run(self, global: &Global) -> Result {
        let out = self.out.as_deref().map(|path| {
            let (format, replaces) = ("transactions", Replaces::Nothing);
            let output = Output { path, access: Access::Public, format, replaces };
            open_output(&global.data_dir(), output, &[&self.block])
        });
        let out = out.transpose()?;
        let console = global.console().beside(&out)?;
        let spinner = console.spinner("planning and signing");
        let payments = read_file(&self.block, BLOCK_LENGTH_MAX as u64).and_then(|bytes| {
            let payments = BlockPayments::from_block(&bytes, self.payments.unwrap_or(usize::MAX));
            payments.or_exit_while(Exit::Input, self.block.display().to_string())
        });
        let payments = payments.map_err(|failure| or_misplaced(failure, &self.block, "a Bitcoin block"))?;
        let depth = Depth::new(self.depth).expect("the parser allows 1 to 10");
        let parameters = PlanParameters {
            chain_id: self.chain_id,
            depth,
            fee_sat: self.fee,
            seed: Zeroizing::new(blake3::derive_key("taproof v1 import-block seed", self.seed.as_bytes())),
            withdrawals_max: self.withdrawals,
            opening_min_sat: self.opening_min,
        };
        let workload = payments.plan(&parameters).map_err(|error| {
            Failure::new(Exit::Input, error).advise("take fewer --payments, a greater --depth or a lower --fee")
        })?;
        if let Some(out) = out {
            transaction_file::write_to(out, &workload.deposits, &workload.transactions)?;
        }
        spinner.finish_and_clear();
        let count = |kind| workload.transactions.iter().map(Transaction::kind).filter(|k| *k == kind).count();
        let report = Report {
            block_hash: payments.block_hash().to_string(),
            payments: payments.payments().len(),
            holders: payments.holders().len(),
            amount_sat: payments.payments().iter().map(|payment| u128::from(payment.amount_sat)).sum(),
            layer_1_virtual_bytes: payments.virtual_bytes(),
            deposits: workload.deposits.len(),
            passed_over: workload.passed_over,
            opens: count(Kind::Open),
            transfers: count(Kind::Transfer),
            withdrawals: count(Kind::Withdraw),
            posted_bytes_per_transfer_between_existing_accounts: posted_bytes(&payments, depth, self.fee),
            out: self.out,
        };
        console.report(&report, ToString::to_string)
    }
}

/// The posted bytes of each payment as a transfer between existing accounts; `None` where the tree is too small
/// or there are no payments.
fn posted_bytes(payments: &BlockPayments, depth: Depth, fee_sat: u64) -> Option<f64> {
    let records = payments.transfers_between_existing(depth, fee_sat).filter(|records| !records.is_empty())?;
    let count = records.len();
    Some(codec::deflate(&codec::columns(&[&Records::Transfer(records)])).len() as f64 / count as f64)
}
