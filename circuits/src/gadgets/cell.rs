//! Cells in rows: the twin of [`taproof_verifier::cell::Cell`].
//!
//! Nonces and balances are held to their widths when they are written. Tickets and the second holding are not: payments
//! carry both elements on as they are and read nothing of them, and make new accounts with zeros. So both are in range
//! in every state that payments make. Whoever writes them otherwise holds them to their widths then.

use super::poseidon2;
use crate::cs::{ConstraintSystem, Variable};
use ark_bn254::Fr;
use ark_ff::Field;
use taproof_verifier::{
    cell::{Account, Cell},
    poseidon2::WIDTH,
};

/// The fields of a cell.
#[derive(Clone, Debug)]
pub struct CellFields<V> {
    /// The kind of cell: 0 if empty, [`Account::KIND`] for an account.
    pub kind: V,
    /// What the balance counts.
    pub token: V,
    /// How many transactions the owner has sent.
    pub nonce: V,
    /// The holding.
    pub balance: V,
    /// The owner's x coordinate.
    pub owner_x: V,
    /// The owner's y coordinate.
    pub owner_y: V,
    /// Which tickets are used.
    pub tickets: V,
    /// The second holding.
    pub second: V,
}

impl<V: Variable> CellFields<V> {
    /// Adds eight wires, which nothing holds until the cell is hashed and its hash compared.
    pub fn witness<CS: ConstraintSystem<Var = V>>(cs: &mut CS, cell: &Cell) -> Self {
        let [kind, token, nonce, balance, owner_x, owner_y, tickets, second] =
            cell.elements().0.map(|element| cs.witness(element));
        Self { kind, token, nonce, balance, owner_x, owner_y, tickets, second }
    }

    /// Holds the cell to be an account of a token, two rows. That its nonce and balance have 32 and 64 bits was held
    /// when they were written.
    pub fn enforce_account<CS: ConstraintSystem<Var = V>>(&self, cs: &mut CS, token: &V) {
        cs.enforce_equal(&self.kind, &Fr::from(Account::KIND).into());
        cs.enforce_equal(&self.token, token);
    }

    /// Holds all but nonce and balance to be those of another cell, six rows.
    pub fn enforce_same_account<CS: ConstraintSystem<Var = V>>(&self, cs: &mut CS, other: &Self) {
        for (mine, theirs) in [
            (&self.kind, &other.kind),
            (&self.token, &other.token),
            (&self.owner_x, &other.owner_x),
            (&self.owner_y, &other.owner_y),
            (&self.tickets, &other.tickets),
            (&self.second, &other.second),
        ] {
            cs.enforce_equal(mine, theirs);
        }
    }

    /// The leaf of the tree that stands for this cell, one permutation.
    pub fn hash<CS: ConstraintSystem<Var = V>>(&self, cs: &mut CS) -> V {
        let Self { kind, token, nonce, balance, owner_x, owner_y, tickets, second } = self.clone();
        let elements: [V; WIDTH] = [kind, token, nonce, balance, owner_x, owner_y, tickets, second];
        poseidon2::compress(cs, &elements)
    }
}

/// The twin of [`taproof_verifier::field::pack`]: variables of fixed widths as one, the first in the lowest bits; free.
pub(crate) fn pack<V: Variable, const N: usize>(parts: [(V, u64); N]) -> V {
    let parts = parts.into_iter().rev();
    parts.fold(V::zero(), |sum, (part, width_bits)| sum * Fr::from(2u64).pow([width_bits]) + part)
}
