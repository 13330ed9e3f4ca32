//! The circuit of one transfer slot. The numbers are those of the [module](super).

use crate::{
    chunk::{
        Globals, SlotCircuit, SlotInput, SlotParts, SlotRelations, SlotUpdate, blank_path,
        witness::{CellUpdate, TransferWitness},
    },
    cs::{ConstraintSystem, Variable},
    gadgets::{
        bits,
        cell::CellFields,
        merkle::{self, Replaced},
    },
    payer::{self, PayerRelations, Payment},
    transaction::{Body, Transfer},
};
use taproof_verifier::{
    cell::{CellIndex, MerklePath},
    record::Kind,
    statement::Statement,
};

/// One slot that pays from one account to another.
pub(crate) struct TransferCircuit;

impl SlotCircuit for TransferCircuit {
    const KIND: Kind = Kind::Transfer;
    const RELATIONS: SlotRelations = SlotRelations {
        record: "R1 or R12, record",
        state_after: "R10 or R12, state after",
        fee: "R11 or R12, sum of fees",
    };
    type Witness = TransferWitness;

    /// Pays nothing from the account of a key that everyone knows to itself, in a tree of zeros.
    fn padding(&self, statement: &Statement) -> TransferWitness {
        let Statement { chain_id, context, circuit, .. } = *statement;
        let index = CellIndex::default();
        let body = Transfer { chain_id, token: context.token, from: index, nonce: 0, to: index, amount: 0, fee: 0 };
        let payer = payer::padding(&body);
        let path = blank_path(circuit.depth);
        TransferWitness {
            record: body.record(),
            signature: payer.signature,
            to: CellUpdate { index, before: payer.after, after: payer.after, path: path.clone() },
            from: CellUpdate { index, before: payer.before, after: payer.after, path },
        }
    }

    fn paths(witness: &TransferWitness) -> impl Iterator<Item = &MerklePath> {
        [&witness.from.path, &witness.to.path].into_iter()
    }

    fn synthesize<CS: ConstraintSystem>(
        &self,
        cs: &mut CS,
        globals: &Globals<CS::Var>,
        _: SlotInput<'_, CS::Var>,
        witness: &TransferWitness,
    ) -> SlotParts<CS::Var> {
        let TransferWitness { record, signature, from, to, .. } = witness;
        cs.relation("R1, widths of the record");
        let to_bits = globals.witness_index(cs, record.to);
        let to_index = bits::compose(&to_bits);
        let amounts = [record.amount, record.fee];
        let payment = Payment::witness(cs, globals, record.from, to_index, amounts, [CS::Var::zero(), CS::Var::zero()]);
        let paid = payer::pay(cs, &PAYER, globals, Kind::Transfer, &payment, signature, from);

        cs.relation("R8, recipient's account");
        let before = CellFields::witness(cs, &to.before);
        let after = CellFields::witness(cs, &to.after);
        before.enforce_account(cs, &globals.token);
        cs.relation("R9, recipient's balance");
        cs.enforce_equal(&(before.balance.clone() + payment.amount.clone()), &after.balance);
        bits::enforce_width(cs, &after.balance, 64);
        cs.relation("R10, recipient's cell");
        after.enforce_same_account(cs, &before);
        cs.enforce_equal(&after.nonce, &before.nonce);
        let leaf = Replaced { before: before.hash(cs), after: after.hash(cs) };
        let update = merkle::climb(cs, &to_bits, leaf, &to.path);
        let credited = SlotUpdate { relation: "R8, recipient's cell in the state", update };
        SlotParts {
            updates: vec![paid, credited],
            elements: vec![payment.element()],
            fee: payment.fee,
            registers: Vec::new(),
        }
    }
}

/// The names of the payer's relations.
const PAYER: PayerRelations = PayerRelations {
    account: "R3, payer's account",
    signature: "R4, signature",
    balance: "R5, payer's balance",
    nonce: "R6, payer's nonce",
    rest: "R7, payer's cell",
    path: "R2 and R7, payer's path",
    in_state: "R2, payer's cell in the state",
};
