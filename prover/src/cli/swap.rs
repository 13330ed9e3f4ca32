//! `taproof swap`.

use super::{
    Global,
    batch::FEE_MIN_SAT,
    clause::{ClauseArgs, Desk, purse_failure},
    failure::{Exit, Failure, Result},
    pool::{Slippage, pool_cell, side},
    tx::Fill,
    values::{amount, cell},
};
use clap::Args;
use taproof_circuits::{
    exchange::{
        Side,
        matching::{LeftOutError, Order},
    },
    transaction::{Draft, Fee, Purse, Trade},
};
use taproof_rollup::{amount::Decimal, purses::Trader};
use taproof_verifier::cell::{CellIndex, Pool, Token};

/// Makes and signs an order: an amount of one of a pool's tokens for at least so much of the other.
#[derive(Debug, Args)]
#[command(after_help = "\
All orders of a session get one price, which nobody knows before; an order that would get less than its limit is left \
out. It is filled in one account, which holds both tokens: where the key has none, a clause before the order opens a \
second holding or an account, and fetches what is missing from other accounts of the key. Both go to the batch \
together.

Examples:
  taproof swap --pool 30 --amount 10000 --at-least 350.00 --add-to txs.json
  taproof swap --pool 30 --token 20 --amount 5.50 --slippage 0.5
  taproof swap --pool 30 --amount 10000 --dry-run
  taproof swap --pool 30 --amount 900 --ticket 7 --until 850000")]
pub(crate) struct Swap {
    /// The pool's number, which is that of its cell.
    #[arg(long, value_parser = cell, value_name = "N")]
    pool: CellIndex,
    /// What is paid.
    #[arg(long, value_parser = amount, value_name = "AMOUNT")]
    amount: Decimal,
    /// Which of the pool's tokens is paid; 0 is bitcoin.
    #[arg(long, default_value_t = 0, value_name = "N")]
    token: u32,
    /// The least that is taken of the other token; without it, what a session would give now, less the slippage.
    #[arg(long, value_parser = amount, value_name = "AMOUNT", conflicts_with = "slippage")]
    at_least: Option<Decimal>,
    #[command(flatten)]
    slippage: Slippage,
    #[command(flatten)]
    clause: ClauseArgs,
}

impl Swap {
    pub(crate) fn run(self, global: &Global) -> Result {
        let mut desk = Desk::open(&self.clause, global)?;
        let pool = pool_cell(desk.state(), self.pool)?;
        if pool.last_height >= desk.height_blocks() {
            global.console().warn(format!(
                "pool {} was founded, or had its session, at height {}: a batch rejects the order until it refers to a \
                 later block",
                self.pool, pool.last_height
            ));
        }
        let pays = Token(self.token);
        let side = side(&pool, self.pool, pays, &desk.known())?;
        let gets = [pool.second.token, pool.first.token][side];
        let amount = desk.units(pays, self.amount)?;
        let of = if side == 0 { Side::X } else { Side::Y };
        let outcome = |desk: &Desk<'_>, least| self.outcome(desk, Order { side: of, amount, least });
        let least = match self.at_least {
            Some(least) => desk.units(gets, least)?,
            None => self.slippage.least(outcome(&desk, 0)?.map_err(|reason| {
                let failure = Failure::of(Exit::Refuted, reason).context("a session now would leave the order out");
                failure.advise("trade less, or give --at-least")
            })?),
        };
        let fill = match outcome(&desk, least)? {
            Ok(output) => Fill::Gets(desk.known().amount(gets, output)),
            Err(reason) => Fill::LeftOut(reason.to_string()),
        };
        let trader = self.trader(&mut desk, &pool, pays, amount)?;
        let fee_sat = self.fee(&desk, &trader, global);
        let Trader { account, pays_second, .. } = trader;
        let from = if pays_second { Purse::second(account) } else { Purse::first(account) };
        let trade = Trade { pool: self.pool, sells_second: side == 1, amount, least };
        let signer = desk.signer(account, fee_sat)?;
        let fee = Fee { amount_sat: fee_sat, is_from_second: false };
        desk.take_draft(Draft::order(from, trade, fee, signer.once))?;
        desk.fill = Some(fill);
        desk.finish()
    }

    /// What an order would get in a session now, with those that wait.
    fn outcome(&self, desk: &Desk<'_>, order: Order) -> Result<std::result::Result<u64, LeftOutError>> {
        let matching = desk.book().outlook().session(self.pool, &[order]).map_err(|refusal| {
            Failure::of(Exit::Refuted, refusal).advise("`taproof pool show` has what the pool holds")
        })?;
        Ok(*matching.outcomes.last().expect("one for each order"))
    }

    /// The account that trades. Where one has to be prepared for it, the clause that does is made first.
    fn trader(&self, desk: &mut Desk<'_>, pool: &Pool, pays: Token, amount: u64) -> Result<Trader> {
        let order_fee_sat = desk.fee().unwrap_or(FEE_MIN_SAT);
        let find = |desk: &Desk<'_>, fee_sat| {
            desk.purses().trader(pool, pays, amount, fee_sat, self.clause.from).map_err(purse_failure)
        };
        let found = find(desk, order_fee_sat)?;
        let Some(preparation) = found.preparation else { return Ok(found) };
        let signs = |desk: &Desk<'_>, trader: &Trader| {
            let named = desk.purses().accounts().iter().any(|(index, account)| {
                *index == trader.account && account.token == Token::BITCOIN && account.balance > 0
            });
            desk.purses().signer(named.then_some(trader.account), 1, None).map_err(purse_failure)
        };
        let signer = signs(desk, &found)?;
        let prepare = |desk: &Desk<'_>, preparation| {
            desk.priced(0, |fee_sat| {
                let signer = desk.signer_by_nonce(signer, fee_sat)?;
                desk.purses().prepare(&signer, found.account, preparation).map_err(purse_failure)
            })
        };
        let mut draft = prepare(desk, &preparation)?;
        let mut trader = found;
        // The account pays the fee of the preparation as well: what it needs for the order is beside that.
        if signer == found.account {
            let fees_sat = order_fee_sat.saturating_add(draft.fee());
            let again = find(desk, fees_sat)?;
            if let (true, Some(preparation)) = (again.account == found.account, again.preparation) {
                draft = prepare(desk, &preparation)?;
                trader = again;
            }
        }
        desk.take_draft(draft)?;
        Ok(trader)
    }

    /// What the order pays to the operator: nothing where its account holds no bitcoin to pay it with.
    fn fee(&self, desk: &Desk<'_>, trader: &Trader, global: &Global) -> u64 {
        let holds_bitcoin = desk.book().account(trader.account).is_some_and(|account| account.token == Token::BITCOIN);
        let fee_sat = desk.fee().unwrap_or(if holds_bitcoin { FEE_MIN_SAT } else { 0 });
        if !holds_bitcoin {
            global.console().warn(format!("account {} holds no bitcoin to pay a fee with", trader.account));
        }
        desk.warn_of_fee(fee_sat, 1);
        fee_sat
    }
}
