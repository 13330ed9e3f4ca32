//! The poster's coins among commands: paying with those that nothing else of ours spends, and `taproof wallet coins`.

use super::{
    Global,
    failure::{Exit, Failure, Result},
    session::{Session, Source, file_advice},
    values::outpoint,
};
use bitcoin::{OutPoint, Transaction};
use clap::Args;
use taproof_bitcoin::{
    anchor::{AnchorError, Funding},
    coins::{Busy, CoinStore, CoinStoreError, Purpose, Purse, Reservation, SpendError},
    node::{Node, NodeError},
};
use taproof_wallet::PosterKey;

/// What becomes of a transaction that is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// It is shown.
    Show,
    /// It is sent, or given to somebody who signs: its coins are kept for it.
    Keep,
}

/// Builds a transaction from coins that are free. `explain` says what to do where it cannot be built.
pub(super) fn spend<T, E>(
    session: &Session,
    node: &dyn Node,
    coins: &[Funding],
    (purpose, usage): (Purpose, Use),
    build: impl FnMut(&[Funding]) -> std::result::Result<(T, Transaction), E>,
    explain: impl FnOnce(E) -> Failure,
) -> Result<T> {
    let store = CoinStore::new(session.dir.coins());
    let purse = Purse { store: &store, node, final_depth_blocks: session.params.final_depth_blocks };
    let built = match usage {
        Use::Show => purse.preview(coins, purpose, build),
        Use::Keep => purse.spend(coins, purpose, build),
    };
    built.map_err(|error| match error {
        SpendError::Build { error, busy } if busy.is_empty() => explain(error),
        SpendError::Build { error, busy } => explain(error).advise(advice(&busy)),
        SpendError::Node(error) => error.into(),
        SpendError::Store(error) => coin_store_failure(error),
    })
}

/// Says where no coin was found.
pub(super) fn no_coins(needed_sat: u64, poster: &PosterKey) -> Failure {
    let address = poster.address();
    let failure =
        Failure::new(Exit::Failed, format!("{needed_sat} sat are needed, and no coin was found at {address}"));
    failure.advise(format!(
        "pay to {address} and wait for a block, or name a coin with --coin; a miner's reward, as of `taproof regtest \
         mine 101`, can be \
         spent after 100 blocks"
    ))
}

/// Says what to do about a transaction that cannot be built from the coins that were found or named.
pub(super) fn explain(error: AnchorError, poster: &PosterKey, coins: &[Funding]) -> Failure {
    match &error {
        AnchorError::InsufficientFunds { needed_sat, .. } if coins.is_empty() => no_coins(*needed_sat, poster),
        AnchorError::InsufficientFunds { .. } => {
            Failure::of(Exit::Failed, error).advise(format!("pay to {} or name coins with --coin", poster.address()))
        }
        AnchorError::Headroom { .. } => Failure::of(Exit::Failed, error).advise("give a larger --headroom"),
        _ => Failure::of(Exit::Failed, error),
    }
}

/// Which coins wait for what.
fn advice(busy: &[Busy]) -> String {
    let coins: Vec<String> = busy.iter().map(Busy::to_string).collect();
    let coins = coins.join("; ");
    format!("wait, pay more to the poster's address, or give a coin up with `taproof wallet coins --release`: {coins}")
}

/// Sends a transaction, and mines it where the chain is the embedded one. If the node refuses it, its coins are free
/// again.
pub(super) fn send_kept(session: &Session, source: &mut Source, transaction: &Transaction) -> Result {
    match source.payer().send(transaction) {
        Err(error @ NodeError::Rejected { txid, .. }) => {
            CoinStore::new(session.dir.coins()).release_spent_by(txid).map_err(coin_store_failure)?;
            return Err(error.into());
        }
        sent => sent?,
    };
    if let Source::Embedded(node) = source {
        node.mine(1)?;
    }
    Ok(())
}

/// Gives an error of the store of coins its exit code.
pub(super) fn coin_store_failure(error: CoinStoreError) -> Failure {
    let (exit, advice) = match &error {
        CoinStoreError::Store(error) => {
            file_advice(error, "move coins.redb away: payouts that wait for signatures may then lose their coin")
        }
        _ => (Exit::Failed, ""),
    };
    Failure::of(exit, error).advise(advice)
}

/// Lists the poster's coins that wait for a transaction, or gives one up.
#[derive(Debug, Args)]
#[command(after_help = "\
A coin is free again by itself when its transaction is not seen in the node's pool for 144 blocks, or for 1,008 where \
others have to sign it, and once what spends it is final.

Examples:
  taproof wallet coins
  taproof wallet coins --release TXID:VOUT")]
pub(super) struct Coins {
    /// Lets this coin go: another transaction may spend it, and the one that it was kept for may then be void.
    #[arg(long, value_parser = outpoint, value_name = "TXID:VOUT")]
    release: Option<OutPoint>,
}

impl Coins {
    pub(super) fn run(self, global: &Global) -> Result {
        let store = CoinStore::new(global.data_dir().coins());
        if let Some(outpoint) = self.release {
            let missing = || Failure::new(Exit::Input, format!("{outpoint} waits for nothing"));
            let kept = store.release(&outpoint).map_err(coin_store_failure)?.ok_or_else(missing)?;
            return global
                .console()
                .report(&report(&kept), |_| format!("{outpoint} is free, and waited for {}", kept.purpose));
        }
        let kept = store.reservations().map_err(coin_store_failure)?;
        let reports: Vec<_> = kept.iter().map(report).collect();
        global.console().report(&serde_json::json!({ "kept": reports }), |_| {
            let lines: Vec<String> = kept.iter().map(|kept| Busy::Kept(*kept).to_string()).collect();
            if lines.is_empty() { "no coin waits for a transaction".to_owned() } else { lines.join("\n") }
        })
    }
}

/// What is told of a coin that waits.
pub(super) fn report(kept: &Reservation) -> serde_json::Value {
    serde_json::json!({
        "coin": kept.outpoint, "purpose": kept.purpose.to_string(), "txid": kept.spender,
        "free_height": kept.free_height(),
    })
}
