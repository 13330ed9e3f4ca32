//! The exits of a batch.

use super::{Cutter, ExitsLeftOutError, Filling};
use crate::{
    chunk::witness::WithdrawWitness,
    state::TransitionError,
    transaction::{Signed, Withdraw},
};
use std::collections::BTreeMap;
use taproof_verifier::{cell::Token, record::Kind};

impl Cutter<'_> {
    /// Serves exits in their order; gives how many, and why not all.
    pub(super) fn serve_exits(&mut self, exits: &[Signed<Withdraw>]) -> (usize, Option<ExitsLeftOutError>) {
        let mut filling = Filling::new(self.tree);
        let mut count = 0;
        let mut left_out = None;
        for signed in exits {
            if let Err(reason) = self.serve_exit(&mut filling, signed) {
                left_out = Some(reason);
                break;
            }
            count += 1;
            if filling.slots.len() == self.slots_of(Kind::Withdraw) {
                self.close_paid::<Withdraw>(Token::BITCOIN, &mut filling);
            }
        }
        self.close_paid::<Withdraw>(Token::BITCOIN, &mut filling);
        (count, left_out)
    }

    fn serve_exit(
        &mut self,
        filling: &mut Filling<WithdrawWitness>,
        signed: &Signed<Withdraw>,
    ) -> Result<(), ExitsLeftOutError> {
        if filling.slots.is_empty() && self.is_full(Kind::Withdraw) {
            return Err(ExitsLeftOutError::ChunksMax);
        }
        match self.fill(filling, Token::BITCOIN, signed) {
            Err(TransitionError::Fee(_)) => {}
            filled => return filled.map_err(ExitsLeftOutError::Refused),
        }
        // A chunk of its own, whose operator is the payer.
        self.close_paid::<Withdraw>(Token::BITCOIN, filling);
        if self.is_full(Kind::Withdraw) {
            return Err(ExitsLeftOutError::ChunksMax);
        }
        let payer = BTreeMap::from([(Token::BITCOIN, signed.body().from)]);
        let operators = std::mem::replace(&mut self.operators, payer);
        let filled = self.fill(filling, Token::BITCOIN, signed);
        self.close_paid::<Withdraw>(Token::BITCOIN, filling);
        self.operators = operators;
        filled.map_err(ExitsLeftOutError::Refused)
    }
}
