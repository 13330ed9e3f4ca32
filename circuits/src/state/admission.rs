//! Which transactions whoever makes a batch takes.

use crate::transaction::Transaction;
use serde::{Deserialize, Serialize};
use taproof_verifier::{cell::Token, record::Kind};

/// Which transactions are taken at all; what owners demand on Bitcoin always is. By default all but openings in other
/// tokens than bitcoin, which no follower accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admission {
    /// The least fee in bitcoin.
    pub fee_min_sat: u64,
    /// Whether withdrawals that are too small to be paid out
    /// ([`Destination::payout_min_sat`](taproof_verifier::record::Destination::payout_min_sat)) are refused.
    pub refuses_dust: bool,
    /// The least amount of an opening. No follower accepts a batch with a smaller one than the rollup's parameters
    /// allow.
    pub opening_min_sat: u64,
}

/// Why a transaction is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdmissionError {
    /// It pays too small a fee.
    #[error("a fee of {fee_sat} sat, where the batch takes {min_sat} or more")]
    Fee {
        /// Its fee.
        fee_sat: u64,
        /// The least that is taken.
        min_sat: u64,
    },
    /// It withdraws what cannot be paid out.
    #[error("the bridge pays out {min_sat} sat at least to such an address: {amount_sat} would be lost")]
    Payout {
        /// The amount.
        amount_sat: u64,
        /// The least that is paid out.
        min_sat: u64,
    },
    /// It opens an account with too little.
    #[error("an account is opened with {min_sat} sat at least, and this would have {amount_sat}")]
    Opening {
        /// The amount.
        amount_sat: u64,
        /// The least that opens one.
        min_sat: u64,
    },
    /// It opens an account of another token than bitcoin.
    #[error("accounts are opened with bitcoin alone, not with token {}", .0.0)]
    OpeningToken(Token),
}

impl Admission {
    /// Takes a transaction or says why not.
    ///
    /// # Errors
    /// Each of [`AdmissionError`].
    pub fn check(&self, transaction: &Transaction) -> Result<(), AdmissionError> {
        let Some(payment) = transaction.payment() else { return self.check_steps(transaction) };
        let (token, amount_sat) = (payment.token, payment.amount);
        if token != Token::BITCOIN {
            let opens = transaction.kind() == Kind::Open;
            return if opens { Err(AdmissionError::OpeningToken(token)) } else { Ok(()) };
        }
        match transaction {
            Transaction::Withdraw(signed) => {
                let min_sat = signed.body().destination.payout_min_sat();
                if self.refuses_dust && amount_sat < min_sat {
                    return Err(AdmissionError::Payout { amount_sat, min_sat });
                }
            }
            Transaction::Open(_) => {
                let min_sat = self.opening_min_sat;
                if amount_sat < min_sat {
                    return Err(AdmissionError::Opening { amount_sat, min_sat });
                }
            }
            Transaction::Transfer(_) | Transaction::Steps(_) => {}
        }
        let (fee_sat, min_sat) = (payment.fee, self.fee_min_sat);
        if fee_sat < min_sat { Err(AdmissionError::Fee { fee_sat, min_sat }) } else { Ok(()) }
    }

    /// Steps pay the least fee for each of them, together.
    fn check_steps(&self, transaction: &Transaction) -> Result<(), AdmissionError> {
        let Transaction::Steps(steps) = transaction else { return Ok(()) };
        let fee_sat = steps.fee();
        let min_sat = self.fee_min_sat.saturating_mul(steps.step_count() as u64);
        if fee_sat < min_sat { Err(AdmissionError::Fee { fee_sat, min_sat }) } else { Ok(()) }
    }
}
