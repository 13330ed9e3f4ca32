//! The circuit of one opening slot. The numbers are those of the [module](super).

use crate::{
    chunk::{
        Globals, SlotCircuit, SlotInput, SlotParts, SlotRelations, SlotUpdate, blank_path,
        witness::{CellUpdate, OpenWitness},
    },
    cs::{ConstraintSystem, Variable},
    gadgets::{
        baby_jubjub, bits,
        cell::CellFields,
        merkle::{self, Replaced},
    },
    payer::{self, PayerRelations, Payment},
    transaction::{Body, Open},
};
use ark_ec::AffineRepr;
use taproof_verifier::{
    baby_jubjub::{Point, PublicKey},
    cell::{Account, Cell, CellIndex, MerklePath},
    record::Kind,
    statement::Statement,
};

/// One slot that pays from an account into an empty cell.
pub(crate) struct OpenCircuit;

impl SlotCircuit for OpenCircuit {
    const KIND: Kind = Kind::Open;
    const RELATIONS: SlotRelations = SlotRelations {
        record: "R1 or R12, record",
        state_after: "R10 or R12, state after",
        fee: "R11 or R12, sum of fees",
    };
    type Witness = OpenWitness;

    /// Pays nothing from the account of a key that everyone knows into an account of the base point's, in a tree of
    /// zeros.
    fn padding(&self, statement: &Statement) -> OpenWitness {
        let Statement { chain_id, context, circuit, .. } = *statement;
        let owner = PublicKey::new(Point::generator()).expect("the base point is a key");
        let (token, index) = (context.token, CellIndex::default());
        let body = Open { chain_id, token, from: index, nonce: 0, to: index, amount: 0, fee: 0, owner };
        let payer = payer::padding(&body);
        let opened = Cell::Account(Account::new(owner, token, 0));
        let path = blank_path(circuit.depth);
        OpenWitness {
            record: body.record(),
            signature: payer.signature,
            to: CellUpdate { index, before: Cell::Empty, after: opened, path: path.clone() },
            from: CellUpdate { index, before: payer.before, after: payer.after, path },
        }
    }

    fn paths(witness: &OpenWitness) -> impl Iterator<Item = &MerklePath> {
        [&witness.from.path, &witness.to.path].into_iter()
    }

    fn synthesize<CS: ConstraintSystem>(
        &self,
        cs: &mut CS,
        globals: &Globals<CS::Var>,
        _: SlotInput<'_, CS::Var>,
        witness: &OpenWitness,
    ) -> SlotParts<CS::Var> {
        let OpenWitness { record, signature, from, to, .. } = witness;
        cs.relation("R9, owner's key");
        let owner = baby_jubjub::witness_key(cs, &record.owner);
        cs.relation("R1, widths of the record");
        let to_bits = globals.witness_index(cs, record.to);
        let to_index = bits::compose(&to_bits);
        let amounts = [record.amount, record.fee];
        let details = [owner.x.clone(), CS::Var::zero()];
        let payment = Payment::witness(cs, globals, record.from, to_index, amounts, details);
        let paid = payer::pay(cs, &PAYER, globals, Kind::Open, &payment, signature, from);

        cs.relation("R10, new account");
        let opened = CellFields::witness(cs, &to.after);
        opened.enforce_account(cs, &globals.token);
        for field in [&opened.nonce, &opened.tickets, &opened.second] {
            cs.enforce_zero(field);
        }
        for (field, expected) in
            [(&opened.balance, &payment.amount), (&opened.owner_x, &owner.x), (&opened.owner_y, &owner.y)]
        {
            cs.enforce_equal(field, expected);
        }
        let leaf = Replaced { before: Cell::Empty.hash().into(), after: opened.hash(cs) };
        let update = merkle::climb(cs, &to_bits, leaf, &to.path);
        let made = SlotUpdate { relation: "R8, empty cell in the state", update };
        let elements = vec![payment.element(), owner.x];
        SlotParts { updates: vec![paid, made], elements, fee: payment.fee, registers: Vec::new() }
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
