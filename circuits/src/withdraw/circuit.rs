//! The circuit of one withdrawal slot. The numbers are those of the [module](super).

use crate::{
    chunk::{
        Globals, SlotCircuit, SlotInput, SlotParts, SlotRelations, blank_path,
        witness::{CellUpdate, WithdrawWitness},
    },
    cs::{ConstraintSystem, Variable},
    gadgets::bits,
    payer::{self, PayerRelations, Payment},
    transaction::{Body, Withdraw},
};
use ark_bn254::Fr;
use taproof_verifier::{
    cell::{CellIndex, MerklePath, Token},
    record::{Destination, Kind},
    statement::Statement,
};

/// The bits of the destination's number.
const NUMBER_BITS: usize = 3;
/// The bits of a program's first 20 bytes.
const HEAD_BITS: usize = 160;
/// The bits of a program's last 12 bytes.
const TAIL_BITS: usize = 96;

/// One slot that pays from an account to an output on Bitcoin.
pub(crate) struct WithdrawCircuit;

impl SlotCircuit for WithdrawCircuit {
    const KIND: Kind = Kind::Withdraw;
    const RELATIONS: SlotRelations = SlotRelations {
        record: "R1 or R11, record",
        state_after: "R9 or R11, state after",
        fee: "R10 or R11, sum of fees",
    };
    type Witness = WithdrawWitness;

    /// Pays nothing from the account of a key that everyone knows to a program of zeros, in a tree of zeros.
    fn padding(&self, statement: &Statement) -> WithdrawWitness {
        let Statement { chain_id, circuit, .. } = *statement;
        let from = CellIndex::default();
        let destination = Destination::P2wpkh([0; 20]);
        let body = Withdraw { chain_id, token: Token::BITCOIN, from, nonce: 0, amount: 0, fee: 0, destination };
        let payer = payer::padding(&body);
        let path = blank_path(circuit.depth);
        WithdrawWitness {
            record: body.record(),
            signature: payer.signature,
            from: CellUpdate { index: from, before: payer.before, after: payer.after, path },
        }
    }

    fn paths(witness: &WithdrawWitness) -> impl Iterator<Item = &MerklePath> {
        core::iter::once(&witness.from.path)
    }

    fn synthesize<CS: ConstraintSystem>(
        &self,
        cs: &mut CS,
        globals: &Globals<CS::Var>,
        _: SlotInput<'_, CS::Var>,
        witness: &WithdrawWitness,
    ) -> SlotParts<CS::Var> {
        let WithdrawWitness { record, signature, from, .. } = witness;
        let (number, program) = destination(cs, record.destination.number(), record.destination.elements());
        cs.relation("R1, widths of the record");
        let amounts = [record.amount, record.fee];
        let payment = Payment::witness(cs, globals, record.from, number, amounts, program.clone());
        cs.relation("R5, bitcoin");
        cs.enforce_zero(&globals.token);
        let paid = payer::pay(cs, &PAYER, globals, Kind::Withdraw, &payment, signature, from);
        let [head, tail] = program;
        SlotParts {
            updates: vec![paid],
            elements: vec![payment.element(), head, tail],
            fee: payment.fee,
            registers: Vec::new(),
        }
    }
}

/// R2 and R3: the number and the two elements of a destination.
pub(super) fn destination<CS: ConstraintSystem>(cs: &mut CS, number: u8, elements: [Fr; 2]) -> (CS::Var, [CS::Var; 2]) {
    cs.relation("R2, destination's number");
    let number_bits = bits::witness_bits(cs, number.into(), NUMBER_BITS);
    let [low, middle, high] = [0, 1, 2].map(|position| number_bits[position].var().clone());
    // Where the highest bit is one, the sum of the others is zero, and so are both.
    cs.enforce(&high, &(low.clone() + middle.clone()), &CS::Var::zero());
    cs.relation("R3, destination's program");
    let [head, tail] = elements.map(|element| cs.witness(element));
    bits::enforce_width(cs, &head, HEAD_BITS);
    bits::enforce_width(cs, &tail, TAIL_BITS);
    // Of 0 to 4, exactly 1 and 2 have one of the two lower bits.
    let both = cs.product(&low, &middle);
    let is_long = low + middle - both.clone() - both;
    cs.enforce(&(CS::Var::one() - is_long), &tail, &CS::Var::zero());
    (bits::compose(&number_bits), [head, tail])
}

/// The names of the payer's relations.
const PAYER: PayerRelations = PayerRelations {
    account: "R5, payer's account",
    signature: "R6, signature",
    balance: "R7, payer's balance",
    nonce: "R8, payer's nonce",
    rest: "R9, payer's cell",
    path: "R4 and R9, payer's path",
    in_state: "R4, payer's cell in the state",
};
