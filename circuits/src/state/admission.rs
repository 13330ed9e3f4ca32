//! Which transactions whoever makes a batch takes.

use crate::transaction::Transaction;
use serde::{Deserialize, Serialize};
use taproof_verifier::{cell::Token, record::Kind};

/// Which transactions of bitcoin are taken at all; those that owners demand on Bitcoin always are. By default all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admission {
    /// The least fee.
    pub fee_min_sat: u64,
    /// The least withdrawal: less than what Bitcoin's nodes relay is paid to nobody.
    pub payout_min_sat: u64,
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
    #[error("the bridge pays out {min_sat} sat at least: {amount_sat} would be lost")]
    Payout {
        /// The amount.
        amount_sat: u64,
        /// The least that is paid out.
        min_sat: u64,
    },
}

impl Admission {
    /// Takes a transaction or says why not.
    ///
    /// # Errors
    /// Each of [`AdmissionError`].
    pub fn check(&self, transaction: &Transaction) -> Result<(), AdmissionError> {
        let payment = transaction.payment();
        if payment.token != Token::BITCOIN {
            return Ok(());
        }
        let (amount_sat, min_sat) = (payment.amount, self.payout_min_sat);
        if transaction.kind() == Kind::Withdraw && amount_sat < min_sat {
            return Err(AdmissionError::Payout { amount_sat, min_sat });
        }
        let (fee_sat, min_sat) = (payment.fee, self.fee_min_sat);
        if fee_sat < min_sat { Err(AdmissionError::Fee { fee_sat, min_sat }) } else { Ok(()) }
    }
}
