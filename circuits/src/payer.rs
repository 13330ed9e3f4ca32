//! The paying side of a slot, which transfers, openings and withdrawals share.
//!
//! Each kind counts these relations among its own and names them by [`PayerRelations`].

use crate::{
    chunk::{Globals, SlotUpdate, witness::CellUpdate},
    cs::{ConstraintSystem, Variable},
    gadgets::{
        baby_jubjub::EdwardsPoint,
        bits::{self, Bit},
        cell::{CellFields, pack},
        merkle::{self, Replaced},
        schnorr,
    },
    schnorr::{SecretKey, Signature},
    transaction::Body,
};
use ark_bn254::Fr;
use taproof_verifier::{
    cell::{Account, Cell, CellIndex, ChainId},
    record::Kind,
};

/// Names of the payer's relations, for reports.
pub(crate) struct PayerRelations {
    /// The cell before is an account of the chunk's token.
    pub(crate) account: &'static str,
    /// The owner signed.
    pub(crate) signature: &'static str,
    /// The balance after is the balance before less amount and fee.
    pub(crate) balance: &'static str,
    /// The nonce after is the nonce before plus 1.
    pub(crate) nonce: &'static str,
    /// All else stays.
    pub(crate) rest: &'static str,
    /// The way from the cells before and after to the cap.
    pub(crate) path: &'static str,
    /// The cell before is in the state.
    pub(crate) in_state: &'static str,
}

/// The integers of a payment, held to their widths.
pub(crate) struct Payment<V> {
    from_bits: Vec<Bit<V>>,
    /// The cell that is paid, or the number of a destination's type.
    pub(crate) to: V,
    /// The amount.
    pub(crate) amount: V,
    /// The fee.
    pub(crate) fee: V,
    /// The last two elements of the message that the payer signs.
    pub(crate) details: [V; 2],
}

impl<V: Variable> Payment<V> {
    /// Adds the payer's index, the amount and the fee; the caller holds `to` and `details` to their widths.
    pub(crate) fn witness<CS: ConstraintSystem<Var = V>>(
        cs: &mut CS,
        globals: &Globals<V>,
        from: CellIndex,
        to: V,
        [amount, fee]: [u64; 2],
        details: [V; 2],
    ) -> Self {
        let from_bits = globals.witness_index(cs, from);
        let [amount, fee] = [amount, fee].map(|integer| bits::witness_integer(cs, integer, 64));
        Self { from_bits, to, amount, fee, details }
    }

    /// The record's first element: 1 + 2 from + 2^33 to + 2^65 amount + 2^129 fee.
    pub(crate) fn element(&self) -> V {
        let from = bits::compose(&self.from_bits);
        pack([(V::one(), 1), (from, 32), (self.to.clone(), 32), (self.amount.clone(), 64), (self.fee.clone(), 64)])
    }

    /// The message that the payer signs.
    fn message(&self, globals: &Globals<V>, kind: Kind, nonce: V) -> [V; 4] {
        let (chain_id, token) = (globals.chain_id.clone(), globals.token.clone());
        let kind = Fr::from(kind as u8).into();
        let from = bits::compose(&self.from_bits);
        let who = pack([(chain_id, ChainId::BITS.into()), (kind, 8), (token, 32), (from, 32), (nonce, 32)]);
        let what = pack([(self.to.clone(), 32), (self.amount.clone(), 64), (self.fee.clone(), 64)]);
        let [first, second] = self.details.clone();
        [who, what, first, second]
    }
}

/// Adds the payer's side; gives the update of the payer's cell.
pub(crate) fn pay<CS: ConstraintSystem>(
    cs: &mut CS,
    names: &PayerRelations,
    globals: &Globals<CS::Var>,
    kind: Kind,
    payment: &Payment<CS::Var>,
    signature: &Signature,
    update: &CellUpdate,
) -> SlotUpdate<CS::Var> {
    let before = CellFields::witness(cs, &update.before);
    let after = CellFields::witness(cs, &update.after);
    cs.relation(names.account);
    before.enforce_account(cs, &globals.token);

    cs.relation(names.signature);
    let owner = EdwardsPoint { x: before.owner_x.clone(), y: before.owner_y.clone() };
    let message = payment.message(globals, kind, before.nonce.clone());
    schnorr::verify(cs, signature, &owner, message);

    cs.relation(names.balance);
    let balance = before.balance.clone() - payment.amount.clone() - payment.fee.clone();
    cs.enforce_equal(&balance, &after.balance);
    bits::enforce_width(cs, &after.balance, 64);
    cs.relation(names.nonce);
    cs.enforce_equal(&(before.nonce.clone() + CS::Var::one()), &after.nonce);
    bits::enforce_width(cs, &after.nonce, 32);
    cs.relation(names.rest);
    after.enforce_same_account(cs, &before);

    cs.relation(names.path);
    let leaf = Replaced { before: before.hash(cs), after: after.hash(cs) };
    SlotUpdate { relation: names.in_state, update: merkle::climb(cs, &payment.from_bits, leaf, &update.path) }
}

/// The payer of a padding slot.
pub(crate) struct PaddingPayer {
    /// The payer's signature.
    pub(crate) signature: Signature,
    /// The account before.
    pub(crate) before: Cell,
    /// The account after.
    pub(crate) after: Cell,
}

/// Signs a body that pays nothing, with a key that everyone knows.
pub(crate) fn padding<B: Body>(body: &B) -> PaddingPayer {
    let secret = SecretKey::from_seed(&[0; 32]);
    let nonce = body.payment().nonce;
    let account = Account { nonce, ..Account::new(*secret.public(), body.payment().token, 0) };
    PaddingPayer {
        signature: secret.sign(&body.message()),
        before: Cell::Account(account),
        after: Cell::Account(Account { nonce: nonce + 1, ..account }),
    }
}
