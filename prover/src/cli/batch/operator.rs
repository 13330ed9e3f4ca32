//! Who collects the fees of a batch.
//!
//! Fees go to the cell that the batch names. A default that is somebody else's cell would give them away, so without
//! a name it is a cell that the wallet's own keys own, and if there is none, nothing is applied.

use super::BatchCommand;
use crate::cli::{
    Global,
    failure::{Exit, Failure, Fallible, Result},
    session::ledger_failure,
};
use std::collections::BTreeMap;
use taproof::{ledger::Ledger, wallet::Wallet};
use taproof_circuits::{
    state::{Plan, State},
    transaction::Transaction,
};
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{Cell, CellIndex, Token},
    follow::deposits_enough,
};

/// How many of the wallet's owner's keys are looked for.
const KEYS_COUNT: u32 = 20;

impl BatchCommand {
    /// The account that collects the fees of what waits, of new transactions, and of exits; none if there are no
    /// fees, or if they are those of exits, which go back to who pays them, and the wallet has no account.
    pub(super) fn operator_of(
        &self,
        ledger: &Ledger,
        plan: &Plan,
        void_below: u32,
        new: &[Transaction],
        global: &Global,
    ) -> Result<Option<CellIndex>> {
        let waiting = ledger.transactions().map_err(ledger_failure)?;
        let pays = |transaction: &Transaction| {
            let payment = transaction.payment();
            payment.fee > 0 && payment.token == Token::BITCOIN && plan.admission.check(transaction).is_ok()
        };
        let are_demanded = waiting.iter().chain(new).any(pays);
        let exits = ledger.exits().map_err(ledger_failure)?;
        let of_exits = exits.iter().any(|exit| exit.height <= plan.height_blocks && exit.request.record().fee > 0);
        if !are_demanded && !of_exits {
            return Ok(None);
        }
        let before = || Ok::<_, Failure>(ledger.state().clone());
        if let Some(cell) = self.operator {
            let collects = |state: &State| is_account(state, cell);
            if collects(ledger.state()) || collects(&credited(before()?, ledger, plan, void_below)?) {
                return Ok(Some(cell));
            }
            let failure = Failure::new(Exit::Input, format!("cell {cell} holds no bitcoin account to collect fees"));
            return Err(failure.advise("name a cell of yours with --operator; nothing was applied"));
        }
        let nobody = |failure: Failure| {
            if are_demanded { Err(failure.advise(ADVICE)) } else { Ok(None) }
        };
        let owners = match self.wallet.open(global).and_then(|wallet| owners(&wallet)) {
            Ok(owners) => owners,
            Err(failure) => return nobody(failure),
        };
        if let Some(cell) = first_owned(ledger.state(), &owners) {
            return Ok(Some(cell));
        }
        match first_owned(&credited(before()?, ledger, plan, void_below)?, &owners) {
            Some(cell) => Ok(Some(cell)),
            None => nobody(Failure::new(
                Exit::Input,
                "there are fees, and the wallet's keys own no cell that could collect them",
            )),
        }
    }
}

const ADVICE: &str = "fees go to the cell that --operator names, or to one that a key of the wallet owns: make a deposit to such a key, \
                      or name a cell; nothing was applied";

/// The wallet's owner's keys, each with its number.
fn owners(wallet: &Wallet) -> Result<BTreeMap<[u8; 32], u32>> {
    let key = |index| Ok((wallet.owner_key(0, index)?.public().to_bytes(), index));
    (0..KEYS_COUNT).map(key).collect::<std::result::Result<_, taproof::wallet::WalletError>>().or_exit(Exit::Input)
}

/// The state once the plan's deposits are credited, which comes before fees.
fn credited(mut state: State, ledger: &Ledger, plan: &Plan, void_below: u32) -> Result<State> {
    let due = ledger.deposits_due(plan.height_blocks, void_below).map_err(ledger_failure)?;
    let credited = due.iter().take(deposits_enough(plan.slots.deposit.get()));
    let deposits: Vec<_> = credited.map(|scanned| scanned.deposit).collect();
    state.apply(plan, &deposits, &[])?;
    Ok(state)
}

fn is_account(state: &State, index: CellIndex) -> bool {
    state.depth().contains(index) && state.account(index).is_some_and(|account| account.token == Token::BITCOIN)
}

/// The first cell with bitcoin of the lowest key that has one.
fn first_owned(state: &State, owners: &BTreeMap<[u8; 32], u32>) -> Option<CellIndex> {
    let number = |owner: &PublicKey| owners.get(&owner.to_bytes()).copied();
    let owned = state.tree().cells().filter_map(|(index, cell)| match cell {
        Cell::Account(account) if account.token == Token::BITCOIN => Some((number(&account.owner)?, index)),
        _ => None,
    });
    owned.min().map(|(_, index)| index)
}
