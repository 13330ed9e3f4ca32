//! How reports show a cell: its eight elements, and what they mean where this release knows the kind.

use serde::Serialize;
use std::fmt;
use taproof_verifier::cell::{Cell, CellElements, Holding, Tickets};

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
        cell::{Account, Token},
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
        let unknown = CellElements([5, 1, 2, 3, 4, 5, 6, 7].map(|element: u64| Fr::from(element)));
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
