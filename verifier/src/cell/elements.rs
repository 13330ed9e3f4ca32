//! Cells as the tree has them: eight elements, whatever they mean.

use super::{Account, Cell, CellIndex, Holding, Pool, Tickets, Token, TokenCell, TokenName};
use crate::{
    baby_jubjub::PublicKey,
    field::{self, NotCanonicalError},
    poseidon2::{WIDTH, compress},
};
use ark_bn254::Fr;
use ark_ff::Zero;

/// The eight elements of a cell of any kind: what is shown wherever a cell is shown to somebody who has the root alone.
///
/// Later programs have kinds of cells that this release knows nothing of, and the path authenticates theirs as well.
/// So nothing is demanded of the elements. [`CellElements::cell`] reads those of the kinds that are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CellElements(pub [Fr; WIDTH]);

impl CellElements {
    /// The bytes of an encoded cell.
    pub const LENGTH: usize = WIDTH * 32;

    /// The leaf of the tree that stands for this cell.
    pub fn hash(&self) -> Fr {
        compress(&self.0)
    }

    /// The cell, if it is of a kind that this release knows. An account with a field that exceeds its width, or with an
    /// owner that is no key, is none: no rule writes one.
    pub fn cell(&self) -> Option<Cell> {
        if self.0.iter().all(Fr::is_zero) {
            return Some(Cell::Empty);
        }
        let kind = self.0[0];
        if kind == Fr::from(Account::KIND) {
            return self.account().map(Cell::Account);
        }
        if kind == Fr::from(TokenCell::KIND) {
            return self.token().map(Cell::Token);
        }
        if kind == Fr::from(Pool::KIND) {
            return self.pool().map(Cell::Pool);
        }
        None
    }

    fn account(&self) -> Option<Account> {
        let [_, token, nonce, balance, x, y, tickets, second] = self.0;
        let [token] = field::unpack(token, [32])?;
        let [nonce] = field::unpack(nonce, [32])?;
        let [balance] = field::unpack(balance, [64])?;
        let [base, used] = field::unpack(tickets, [32, 64])?;
        Some(Account {
            token: Token(u32::try_from(token).ok()?),
            nonce: u32::try_from(nonce).ok()?,
            balance,
            owner: PublicKey::from_coordinates(x, y).ok()?,
            tickets: Tickets { base: u32::try_from(base).ok()?, used },
            second: holding(second)?,
        })
    }

    fn token(&self) -> Option<TokenCell> {
        let [_, token, supply, amount, name, terms, unit, second] = self.0;
        let [supply] = field::unpack(supply, [64])?;
        let [cap, issuer, decimals] = field::unpack(terms, [64, 32, 8])?;
        let [unit] = field::unpack(unit, [64])?;
        if ![token, amount, second].iter().all(Fr::is_zero) {
            return None;
        }
        Some(TokenCell {
            supply,
            name: TokenName::from_element(name)?,
            cap,
            issuer: CellIndex::new(u32::try_from(issuer).ok()?)?,
            decimals: u8::try_from(decimals).ok()?,
            unit,
        })
    }

    fn pool(&self) -> Option<Pool> {
        let [_, token, supply, amount, at_last_session, average, terms, second] = self.0;
        let [token] = field::unpack(token, [32])?;
        let [supply] = field::unpack(supply, [64])?;
        let [balance] = field::unpack(amount, [64])?;
        let [low, high, last_height] = field::unpack(average, [64, 32, 32])?;
        let [fee, weight, averaging_blocks] = field::unpack(terms, [14, 2, 16])?;
        Some(Pool {
            supply,
            first: Holding { token: Token(u32::try_from(token).ok()?), balance },
            second: holding(second)?,
            at_last_session: field::unpack(at_last_session, [64, 64])?,
            average: u128::from(low) | u128::from(high) << 64,
            last_height: u32::try_from(last_height).ok()?,
            fee: u16::try_from(fee).ok()?,
            weight: u8::try_from(weight).ok()?,
            averaging_blocks: u16::try_from(averaging_blocks).ok()?,
        })
    }

    /// Encodes the elements, 32 bytes each, little-endian.
    pub fn to_bytes(&self) -> [u8; Self::LENGTH] {
        let mut bytes = [0; Self::LENGTH];
        for (out, element) in bytes.as_chunks_mut::<32>().0.iter_mut().zip(&self.0) {
            *out = field::to_bytes(element);
        }
        bytes
    }

    /// Decodes what [`CellElements::to_bytes`] encodes.
    ///
    /// # Errors
    /// [`NotCanonicalError`] if an integer is not below the order of the field.
    pub fn from_bytes(bytes: &[u8; Self::LENGTH]) -> Result<Self, NotCanonicalError> {
        let mut elements = [Fr::zero(); WIDTH];
        for (element, bytes) in elements.iter_mut().zip(bytes.as_chunks::<32>().0) {
            *element = field::from_bytes(bytes)?;
        }
        Ok(Self(elements))
    }
}

/// Reads pack(token: 32, balance: 64).
fn holding(element: Fr) -> Option<Holding> {
    let [token, balance] = field::unpack(element, [32, 64])?;
    Some(Holding { token: Token(u32::try_from(token).ok()?), balance })
}

impl From<Cell> for CellElements {
    fn from(cell: Cell) -> Self {
        cell.elements()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baby_jubjub::Point;
    use ark_ec::AffineRepr;
    use ark_ff::Field;
    use proptest::prelude::*;

    fn account(token: u32, nonce: u32, balance: u64, tickets: (u32, u64), second: (u32, u64)) -> Account {
        Account {
            token: Token(token),
            nonce,
            balance,
            owner: PublicKey::new(Point::generator()).expect("the generator is a key"),
            tickets: Tickets { base: tickets.0, used: tickets.1 },
            second: Holding { token: Token(second.0), balance: second.1 },
        }
    }

    proptest! {
        #[test]
        fn accounts_are_read_as_they_are_written(
            token: u32, nonce: u32, balance: u64, tickets: (u32, u64), second: (u32, u64),
        ) {
            let cell = Cell::Account(account(token, nonce, balance, tickets, second));
            let elements = cell.elements();
            prop_assert_eq!(elements.cell(), Some(cell));
            prop_assert_eq!(CellElements::from_bytes(&elements.to_bytes()), Ok(elements));
            prop_assert_eq!(elements.hash(), cell.hash());
        }
    }

    #[test]
    fn fields_beyond_their_widths_make_no_account() {
        let full = Cell::Account(account(u32::MAX, u32::MAX, u64::MAX, (u32::MAX, u64::MAX), (u32::MAX, u64::MAX)));
        assert_eq!(full.elements().cell(), Some(full));
        for (position, bits) in [(1, 32), (2, 32), (3, 64), (6, 96), (7, 96)] {
            for beyond in [Fr::from(2u64).pow([bits]), -Fr::ONE] {
                let mut elements = full.elements();
                elements.0[position] = beyond;
                assert_eq!(elements.cell(), None, "element {position}");
            }
        }
        for position in [4, 5] {
            let mut elements = full.elements();
            elements.0[position] += Fr::ONE;
            assert_eq!(elements.cell(), None, "the owner is no key");
        }
    }

    #[test]
    fn other_kinds_have_elements_and_a_leaf() {
        assert_eq!(Cell::Empty.elements(), CellElements::default());
        assert_eq!(CellElements::default().cell(), Some(Cell::Empty));
        let mut elements = Cell::Account(account(0, 0, 0, (0, 0), (0, 0))).elements();
        for kind in [Fr::from(0u64), Fr::from(5u64), -Fr::ONE] {
            elements.0[0] = kind;
            assert_eq!(elements.cell(), None, "kind {kind}");
            assert_eq!(elements.hash(), compress(&elements.0));
            assert_eq!(CellElements::from_bytes(&elements.to_bytes()), Ok(elements));
        }
        assert_ne!(elements.hash(), Cell::Empty.hash());
    }

    #[test]
    fn an_element_has_one_encoding() {
        for position in 0..WIDTH {
            let mut bytes = [0; CellElements::LENGTH];
            bytes[32 * position..][..32].fill(0xff);
            assert_eq!(CellElements::from_bytes(&bytes), Err(NotCanonicalError), "element {position}");
        }
    }
}
