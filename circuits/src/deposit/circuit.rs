//! The circuit of one deposit slot. The numbers are those of the [module](super).

use crate::{
    chunk::{
        Globals, SlotCircuit, SlotInput, SlotParts, SlotRelations, SlotUpdate, blank_path,
        witness::{CellUpdate, DepositWitness},
    },
    cs::{ConstraintSystem, Variable},
    gadgets::{
        baby_jubjub,
        bits::{self, Bit},
        cell::CellFields,
        merkle::{self, Replaced},
    },
};
use ark_bn254::Fr;
use ark_ec::AffineRepr;
use ark_ff::Field;
use taproof_verifier::{
    baby_jubjub::{Point, PublicKey},
    cell::{Account, Cell, CellIndex, MerklePath, Token},
    record::{DepositRecord, Kind},
    statement::Statement,
};

/// One slot that credits a deposit.
pub(crate) struct DepositCircuit;

impl SlotCircuit for DepositCircuit {
    const KIND: Kind = Kind::Deposit;
    const RELATIONS: SlotRelations =
        SlotRelations { record: "R1 or R8, record", state_after: "R7 or R8, state after", fee: "R8, no fee" };
    type Witness = DepositWitness;

    /// Credits nothing to the base point's empty cell 0 in a tree of zeros.
    fn padding(&self, statement: &Statement) -> DepositWitness {
        let owner = PublicKey::new(Point::generator()).expect("the base point is a key");
        let to = CellIndex::default();
        let after = Cell::Account(Account::new(owner, Token::BITCOIN, 0));
        let path = blank_path(statement.circuit.depth);
        DepositWitness {
            record: DepositRecord { to, amount_sat: 0, owner },
            to: CellUpdate { index: to, before: Cell::Empty, after, path },
        }
    }

    fn paths(witness: &DepositWitness) -> impl Iterator<Item = &MerklePath> {
        core::iter::once(&witness.to.path)
    }

    fn synthesize<CS: ConstraintSystem>(
        &self,
        cs: &mut CS,
        globals: &Globals<CS::Var>,
        _: SlotInput<'_, CS::Var>,
        witness: &DepositWitness,
    ) -> SlotParts<CS::Var> {
        let DepositWitness { record, to } = witness;
        cs.relation("R1, widths of the record");
        let to_bits = globals.witness_index(cs, record.to);
        let amount = bits::witness_integer(cs, record.amount_sat, 64);
        cs.relation("R2, owner's key");
        let owner = baby_jubjub::witness_key(cs, &record.owner);

        cs.relation("R4, cell before");
        let before = CellFields::witness(cs, &to.before);
        // For a deposit the chunk's token is bitcoin, number 0, which is an empty cell's too.
        cs.enforce_zero(&globals.token);
        cs.enforce_zero(&before.token);
        let exists = Bit::enforce(cs, before.kind.clone());
        let zero = CS::Var::zero();
        for (field, of_account) in [(&before.owner_x, &owner.x), (&before.owner_y, &owner.y)] {
            cs.enforce(of_account, exists.var(), field);
        }
        for field in [&before.nonce, &before.balance, &before.tickets, &before.second] {
            cs.enforce(field, exists.not().var(), &zero);
        }

        let after = CellFields::witness(cs, &to.after);
        cs.relation("R5, balance after");
        cs.enforce_equal(&(before.balance.clone() + amount.clone()), &after.balance);
        bits::enforce_width(cs, &after.balance, 64);
        cs.relation("R6, cell after");
        after.enforce_account(cs, &zero);
        for (field, expected) in [
            (&after.nonce, &before.nonce),
            (&after.owner_x, &owner.x),
            (&after.owner_y, &owner.y),
            (&after.tickets, &before.tickets),
            (&after.second, &before.second),
        ] {
            cs.enforce_equal(field, expected);
        }

        cs.relation("R3 and R7, path");
        let leaf = Replaced { before: before.hash(cs), after: after.hash(cs) };
        let update = merkle::climb(cs, &to_bits, leaf, &to.path);
        let credited = SlotUpdate { relation: "R3, cell before in the state", update };
        let packed = CS::Var::one() + bits::compose(&to_bits) * Fr::from(2u64) + amount * Fr::from(2u64).pow([33]);
        SlotParts { updates: vec![credited], fee: zero, elements: vec![packed, owner.x], registers: Vec::new() }
    }
}
