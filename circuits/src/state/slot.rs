//! The kinds of signed transaction as a batch and a replay see them.

use super::TransitionError;
use crate::{
    account::Rollup,
    chunk::witness::{CellUpdate, OpenWitness, SlotWitnesses, TransferWitness, WithdrawWitness},
    open::rule as open,
    transaction::{Body, Open, Signed, Transfer, Withdraw},
    transfer::rule as transfer,
    tree::Tree,
    withdraw::rule as withdraw,
};
use taproof_verifier::{
    cell::{Cell, CellIndex, Depth, Token},
    record::{Kind, OpenRecord, Record, TransferRecord, WithdrawRecord},
};

/// The cells that one transition leaves behind, in the order of their updates; a cell may occur twice.
pub(super) type CellsAfter = Vec<(CellIndex, Cell)>;

/// A kind of record that pays a fee.
pub(super) trait PaidRecord {
    /// What the slot pays to the operator.
    fn fee(&self) -> u64;

    /// Applies what was posted.
    fn settle(
        &self,
        depth: Depth,
        token: Token,
        get: impl Fn(CellIndex) -> Cell,
    ) -> Result<CellsAfter, TransitionError>;
}

/// A kind of transaction that fills slots.
pub(super) trait SlotKind: Body {
    /// The kind.
    const KIND: Kind = <Self::Record as Record>::KIND;

    /// What the circuit of a slot is given.
    type Witness;

    /// Applies the rule to the cells of a tree, without changing them.
    fn cells_after(rollup: &Rollup, signed: &Signed<Self>, tree: &Tree) -> Result<CellsAfter, TransitionError>;

    /// What the circuit of a slot is given; `update` performs and gives the next of [`SlotKind::cells_after`].
    fn witness(signed: &Signed<Self>, update: impl FnMut() -> CellUpdate) -> Self::Witness;

    /// The slots of a chunk.
    fn slots(witnesses: Vec<Self::Witness>) -> SlotWitnesses;
}

impl PaidRecord for TransferRecord {
    fn fee(&self) -> u64 {
        self.fee
    }

    fn settle(
        &self,
        depth: Depth,
        token: Token,
        get: impl Fn(CellIndex) -> Cell,
    ) -> Result<CellsAfter, TransitionError> {
        let effect = transfer::settle(depth, token, self, &get(self.from), &get(self.to))?;
        Ok(vec![(self.from, effect.from_after), (self.to, effect.to_after)])
    }
}

impl PaidRecord for OpenRecord {
    fn fee(&self) -> u64 {
        self.fee
    }

    fn settle(
        &self,
        depth: Depth,
        token: Token,
        get: impl Fn(CellIndex) -> Cell,
    ) -> Result<CellsAfter, TransitionError> {
        let effect = open::settle(depth, token, self, &get(self.from), &get(self.to))?;
        Ok(vec![(self.from, effect.from_after), (self.to, effect.to_after)])
    }
}

impl PaidRecord for WithdrawRecord {
    fn fee(&self) -> u64 {
        self.fee
    }

    fn settle(
        &self,
        depth: Depth,
        token: Token,
        get: impl Fn(CellIndex) -> Cell,
    ) -> Result<CellsAfter, TransitionError> {
        Ok(vec![(self.from, withdraw::settle(depth, token, self, &get(self.from))?)])
    }
}

impl SlotKind for Transfer {
    type Witness = TransferWitness;

    fn cells_after(rollup: &Rollup, signed: &Signed<Self>, tree: &Tree) -> Result<CellsAfter, TransitionError> {
        let body = signed.body();
        let effect = transfer::apply(rollup, signed, &tree.get(body.from), &tree.get(body.to))?;
        Ok(vec![(body.from, effect.from_after), (body.to, effect.to_after)])
    }

    fn witness(signed: &Signed<Self>, mut update: impl FnMut() -> CellUpdate) -> TransferWitness {
        let body = signed.body();
        let (from, to) = (update(), update());
        TransferWitness { record: body.record(), signature: *signed.signature(), from, to }
    }

    fn slots(witnesses: Vec<TransferWitness>) -> SlotWitnesses {
        SlotWitnesses::Transfer(witnesses)
    }
}

impl SlotKind for Open {
    type Witness = OpenWitness;

    fn cells_after(rollup: &Rollup, signed: &Signed<Self>, tree: &Tree) -> Result<CellsAfter, TransitionError> {
        let body = signed.body();
        let effect = open::apply(rollup, signed, &tree.get(body.from), &tree.get(body.to))?;
        Ok(vec![(body.from, effect.from_after), (body.to, effect.to_after)])
    }

    fn witness(signed: &Signed<Self>, mut update: impl FnMut() -> CellUpdate) -> OpenWitness {
        let body = signed.body();
        let (from, to) = (update(), update());
        OpenWitness { record: body.record(), signature: *signed.signature(), from, to }
    }

    fn slots(witnesses: Vec<OpenWitness>) -> SlotWitnesses {
        SlotWitnesses::Open(witnesses)
    }
}

impl SlotKind for Withdraw {
    type Witness = WithdrawWitness;

    fn cells_after(rollup: &Rollup, signed: &Signed<Self>, tree: &Tree) -> Result<CellsAfter, TransitionError> {
        let from = signed.body().from;
        Ok(vec![(from, withdraw::apply(rollup, signed, &tree.get(from))?)])
    }

    fn witness(signed: &Signed<Self>, mut update: impl FnMut() -> CellUpdate) -> WithdrawWitness {
        let body = signed.body();
        WithdrawWitness { record: body.record(), signature: *signed.signature(), from: update() }
    }

    fn slots(witnesses: Vec<WithdrawWitness>) -> SlotWitnesses {
        SlotWitnesses::Withdraw(witnesses)
    }
}
