//! How reports show a cell: its eight elements, and what they mean where this release knows the kind.

use serde::Serialize;
use std::fmt;
use taproof_verifier::cell::{Cell, CellElements, Holding, Tickets, TokenCell};

/// A cell that a path has shown.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct ShownCell {
    /// What it holds, if this release knows its kind.
    cell: Option<Cell>,
    elements: CellElements,
}

impl ShownCell {
    pub(super) fn new(elements: &CellElements) -> Self {
        Self { cell: elements.cell(), elements: *elements }
    }
}

impl fmt::Display for ShownCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cell {
            Some(Cell::Empty) => f.write_str("nothing"),
            Some(Cell::Account(account)) => {
                let amount = account.token.amount(account.balance);
                write!(f, "{amount}, nonce {}, owner {}", account.nonce, account.owner)?;
                if account.second != Holding::default() {
                    write!(f, ", second holding {}", account.second.token.amount(account.second.balance))?;
                }
                if account.tickets != Tickets::default() {
                    let Tickets { base, used } = account.tickets;
                    write!(f, ", {} tickets from {base} on are used", used.count_ones())?;
                }
                Ok(())
            }
            Some(Cell::Token(token)) => {
                let TokenCell { supply, name, cap, issuer, decimals, unit: _ } = token;
                write!(
                    f,
                    "token {name:?}: {supply} of at most {cap}, {decimals} decimal places",
                    name = name.to_string()
                )?;
                match issuer.get() {
                    0 => f.write_str(", minted by nobody any more"),
                    issuer => write!(f, ", minted by cell {issuer}"),
                }
            }
            Some(Cell::Pool(pool)) => {
                let [first, second] = [pool.first, pool.second].map(|held| held.token.amount(held.balance));
                let fee = pool.fee;
                write!(
                    f,
                    "pool of {first} and {second}, {} shares, fee {}.{:02} %",
                    pool.supply,
                    fee / 100,
                    fee % 100
                )?;
                write!(f, ", last cleared at height {}", pool.last_height)
            }
            _ => {
                f.write_str("what this release does not know, of elements")?;
                self.elements.0.iter().try_for_each(|element| write!(f, " {}", super::element_text(element)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use taproof_circuits::schnorr::SecretKey;
    use taproof_verifier::{
        ark_bn254::Fr,
        cell::{Account, CellIndex, Pool, Token, TokenName},
    };

    #[test]
    fn cells_of_any_kind_are_shown() {
        let owner = *SecretKey::from_seed(&[1; 32]).public();
        let account = Account { nonce: 3, ..Account::new(owner, Token::BITCOIN, 500) };
        let (tickets, second) = (Tickets { base: 64, used: 0b1011 }, Holding { token: Token(5), balance: 9 });
        let full = Account { tickets, second, ..account };
        let shown = |cell: CellElements| ShownCell::new(&cell).to_string();
        assert_eq!(shown(Cell::Empty.elements()), "nothing");
        assert_eq!(shown(Cell::Account(account).elements()), format!("500 sat, nonce 3, owner {owner}"));
        let rest = "second holding 9 of token 5, 3 tickets from 64 on are used";
        assert_eq!(shown(Cell::Account(full).elements()), format!("500 sat, nonce 3, owner {owner}, {rest}"));
        let name = TokenName::new("gold").expect("a name");
        let token =
            TokenCell { supply: 5, name, cap: 9, issuer: CellIndex::new(7).expect("small"), decimals: 2, unit: 0 };
        let text = "token \"gold\": 5 of at most 9, 2 decimal places, minted by ";
        assert_eq!(shown(Cell::Token(token).elements()), format!("{text}cell 7"));
        let renounced = TokenCell { issuer: CellIndex::default(), ..token };
        assert_eq!(shown(Cell::Token(renounced).elements()), format!("{text}nobody any more"));
        let pool = Pool {
            supply: 2_000,
            first: Holding { token: Token::BITCOIN, balance: 10 },
            second: Holding { token: Token(3), balance: 20 },
            at_last_session: [10, 20],
            average: 2 << 48,
            last_height: 800,
            fee: 30,
            weight: 1,
            averaging_blocks: 10,
        };
        let text = "pool of 10 sat and 20 of token 3, 2000 shares, fee 0.30 %, last cleared at height 800";
        assert_eq!(shown(Cell::Pool(pool).elements()), text);
        let unknown = CellElements([6, 1, 2, 3, 4, 5, 6, 7].map(|element: u64| Fr::from(element)));
        let texts: Vec<String> = unknown.0.iter().map(crate::cli::element_text).collect();
        assert_eq!(shown(unknown), format!("what this release does not know, of elements {}", texts.join(" ")));

        let json = |cell: CellElements| serde_json::to_value(ShownCell::new(&cell)).unwrap();
        assert_eq!(json(unknown), json!({ "cell": null, "elements": texts }));
        let read = |elements: &[String]| serde_json::from_value::<CellElements>(json!(elements)).ok();
        assert_eq!((read(&texts), read(&texts[1..])), (Some(unknown), None));
        let not_canonical = [&texts[1..], &["ff".repeat(32)]].concat();
        assert_eq!(read(&not_canonical), None);
        let known = json(Cell::Account(full).elements());
        let account = &known["cell"]["account"];
        assert_eq!(
            (&account["tickets"], &account["second"]),
            (&json!({ "base": 64, "used": 11 }), &json!({ "token": 5, "balance": 9 }))
        );
        assert_eq!(known["elements"].as_array().map(Vec::len), Some(8));
    }
}
