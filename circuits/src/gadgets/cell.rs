//! Cells in rows: the twin of [`taproof_verifier::cell::Cell`].

use super::poseidon2;
use crate::cs::{ConstraintSystem, Variable};
use ark_bn254::Fr;
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
    /// What an account leaves zero.
    pub rest: [V; 2],
}

impl<V: Variable> CellFields<V> {
    /// Adds eight wires, which nothing holds until the cell is hashed and its hash compared.
    pub fn witness<CS: ConstraintSystem<Var = V>>(cs: &mut CS, cell: &Cell) -> Self {
        let [kind, token, nonce, balance, owner_x, owner_y, rest_0, rest_1] =
            cell.fields().map(|field| cs.witness(field));
        Self { kind, token, nonce, balance, owner_x, owner_y, rest: [rest_0, rest_1] }
    }

    /// Holds the cell to be an account of a token, four rows. That its nonce and balance have 32 and 64 bits was held
    /// when they were written.
    pub fn enforce_account<CS: ConstraintSystem<Var = V>>(&self, cs: &mut CS, token: &V) {
        cs.enforce_equal(&self.kind, &Fr::from(Account::KIND).into());
        cs.enforce_equal(&self.token, token);
        self.rest.iter().for_each(|field| cs.enforce_zero(field));
    }

    /// Holds all but nonce and balance to be those of another cell, six rows.
    pub fn enforce_same_account<CS: ConstraintSystem<Var = V>>(&self, cs: &mut CS, other: &Self) {
        for (mine, theirs) in [
            (&self.kind, &other.kind),
            (&self.token, &other.token),
            (&self.owner_x, &other.owner_x),
            (&self.owner_y, &other.owner_y),
            (&self.rest[0], &other.rest[0]),
            (&self.rest[1], &other.rest[1]),
        ] {
            cs.enforce_equal(mine, theirs);
        }
    }

    /// The leaf of the tree that stands for this cell, one permutation.
    pub fn hash<CS: ConstraintSystem<Var = V>>(&self, cs: &mut CS) -> V {
        let Self { kind, token, nonce, balance, owner_x, owner_y, rest: [rest_0, rest_1] } = self.clone();
        let fields: [V; WIDTH] = [kind, token, nonce, balance, owner_x, owner_y, rest_0, rest_1];
        poseidon2::compress(cs, &fields)
    }
}
