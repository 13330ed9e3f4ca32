//! What a step does, from its record.

use super::{Action, Amount, Holding, Taken, Teller};
use crate::amount::decimal_text;
use taproof_circuits::{
    ops::{Burn, Clear, Draw, Exit, Join, Mint, Open, Order, Pay, Pool, Read, Receive, Session, Token as NewToken},
    step::flag,
    transaction::ClauseStep,
};
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{Cell, CellIndex, Token, TokenName},
    field,
    record::StepRecord,
};

impl Teller<'_> {
    pub(super) fn action(&mut self, ClauseStep { record, limits }: &ClauseStep) -> Action {
        let StepRecord { operation, flags, cell, a, b, c, word, .. } = *record;
        let has = |flag: u8| flags & flag != 0;
        let holding = if has(flag::SECOND) { Holding::Second } else { Holding::First };
        match operation {
            Pay::NUMBER => {
                let (amount, joint) = (self.held(cell, holding, a), has(Pay::JOINT));
                Action::Pay { account: cell, holding, amount, joint }
            }
            Draw::NUMBER => {
                let amount = self.held(cell, holding, a);
                let paired = has(Draw::PAIR).then(|| u32::try_from(c).map(Token));
                if let Some(Ok(token)) = paired {
                    let tokens = [self.token_of(cell, Holding::First), Some(token)];
                    self.tokens.insert(cell, tokens);
                }
                let pairs_with = paired
                    .map(|token| token.map_or_else(|_| format!("no token ({c})"), |token| self.known.token(token)));
                Action::Draw { account: cell, holding, amount, pairs_with, renews_tickets: has(Draw::REBASE) }
            }
            Receive::NUMBER => {
                let taken = match (has(Receive::REST), has(Receive::DUE)) {
                    (false, false) => Taken::Exactly(self.held(cell, holding, a)),
                    (_, false) => Taken::AllAtLeast(self.held(cell, holding, limits.least)),
                    (_, true) => Taken::DueAtLeast(self.held(cell, holding, limits.least)),
                };
                Action::Receive { account: cell, holding, taken, own: has(Receive::OWN) }
            }
            Open::NUMBER => {
                let token = u32::try_from(c).map(Token).ok();
                self.tokens.insert(cell, [token, None]);
                let amount = |units| self.amount(token, units);
                let taken = match has(Open::REST) {
                    false => Taken::Exactly(amount(a)),
                    true => Taken::AllAtLeast(amount(limits.least)),
                };
                let element = || format!("that is no key, {}", hex(&field::to_bytes(&word)));
                let owner = PublicKey::from_x(word).map_or_else(|_| element(), |key| key.to_string());
                Action::Open { cell, owner, taken }
            }
            NewToken::NUMBER => {
                let name = TokenName::from_element(word).map_or_else(String::new, |name| name.to_string());
                let cap = u8::try_from(c).map_or_else(|_| a.to_string(), |decimals| decimal_text(a, decimals));
                Action::Token { cell, name, cap, decimals: c }
            }
            Mint::NUMBER => Action::Mint { amount: self.own(cell, a), renounces: has(Mint::RENOUNCE) },
            Burn::NUMBER => Action::Burn { amount: self.own(cell, a) },
            Pool::NUMBER => {
                let (fee_parts, weight, average_blocks) = (c & 0x3fff, c >> 14 & 3, c >> 16);
                Action::Pool { cell, fee_parts, weight, average_blocks }
            }
            Join::NUMBER => Action::Join { pool: cell },
            Exit::NUMBER => Action::Exit { pool: cell },
            Session::NUMBER => {
                let [first, second] = self.tokens_of_pool(cell);
                Action::Session { pool: cell, paid: [self.amount(first, a), self.amount(second, b)] }
            }
            Order::NUMBER => {
                let pool = c & u64::from(u32::MAX);
                let [first, second] = CellIndex::new(pool as u32).map_or([None; 2], |pool| self.tokens_of_pool(pool));
                let (sold, bought) = if has(Order::SELLS_SECOND) { (second, first) } else { (first, second) };
                let (pays, at_least) = (self.amount(sold, a), self.amount(bought, limits.least));
                Action::Order { pool, account: cell, holding, pays, at_least }
            }
            Clear::NUMBER => Action::Clear { pool: cell },
            Read::NUMBER => Action::Read { pool: cell },
            _ => {
                let known = self.known.operation(operation);
                let name = known.map(|known| known.description().name);
                let told =
                    known.and_then(|known| known.words(record, limits)).map(|told| told.replace(char::is_control, " "));
                let word = hex(&field::to_bytes(&word));
                Action::Other { operation, name, told, flags, cell, numbers: [a, b, c], word, least: limits.least }
            }
        }
    }

    /// An amount of a token that may not be known.
    fn amount(&self, token: Option<Token>, units: u64) -> Amount {
        match token {
            Some(token) => self.known.amount(token, units),
            None => Amount { token, units, words: format!("{units} of its token") },
        }
    }

    /// An amount of what an account holds.
    fn held(&self, account: CellIndex, holding: Holding, units: u64) -> Amount {
        self.amount(self.token_of(account, holding), units)
    }

    /// An amount of the token that a cell mints.
    fn own(&self, cell: CellIndex, units: u64) -> Amount {
        self.known.amount(Token(cell.get()), units)
    }

    /// The token of a holding, as it is at this step.
    fn token_of(&self, account: CellIndex, holding: Holding) -> Option<Token> {
        let place = match holding {
            Holding::First => 0,
            Holding::Second => 1,
        };
        if let Some(tokens) = self.tokens.get(&account) {
            return tokens[place];
        }
        match self.known.cell(account)? {
            Cell::Account(account) => Some([account.token, account.second.token][place]),
            _ => None,
        }
    }

    fn tokens_of_pool(&self, pool: CellIndex) -> [Option<Token>; 2] {
        match self.known.cell(pool) {
            Some(Cell::Pool(pool)) => [Some(pool.first.token), Some(pool.second.token)],
            _ => [None; 2],
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
