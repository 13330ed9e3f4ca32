//! Signatures of clauses, checked together before any step is applied.
//!
//! What a clause's signer signed does not depend on the state, and an account's key never changes. So all clauses of a
//! batch whose signers have an account before it are checked together; those of accounts that the batch opens are
//! checked when their steps are tried.

use crate::{
    schnorr::{
        Message, Signature, SignatureError,
        together::{Signed, which_hold},
    },
    step::{Machine, clause_message},
    transaction::{StepTransaction, Transaction},
    tree::Tree,
};
use ark_bn254::Fr;
use rayon::prelude::*;
use std::collections::HashSet;
use taproof_verifier::{
    baby_jubjub::{PublicKey, Scalar},
    cell::Cell,
};

/// Signatures that hold.
#[derive(Debug, Default)]
pub(super) struct KnownSignatures(HashSet<(PublicKey, Message, PublicKey, Scalar)>);

impl KnownSignatures {
    /// Checks those of all clauses whose signers the tree knows.
    pub(super) fn of(machine: &Machine, tree: &Tree, transactions: &[Transaction]) -> Self {
        let clauses = |transaction: &StepTransaction| -> Vec<Signed> {
            let signed = transaction.clauses().filter_map(|clause| {
                let signer = clause.signer();
                let Cell::Account(account) = tree.depth().contains(signer).then(|| tree.get(signer))? else {
                    return None;
                };
                let digest: Fr = clause.digest(machine, transaction.chain_id).ok()?;
                let (message, signature) = (clause_message(digest), clause.signature);
                Some(Signed { key: account.owner, message, signature })
            });
            signed.collect()
        };
        let signed: Vec<Signed> = transactions
            .par_iter()
            .filter_map(|transaction| match transaction {
                Transaction::Steps(transaction) => Some(clauses(transaction)),
                Transaction::Transfer(_) | Transaction::Open(_) | Transaction::Withdraw(_) => None,
            })
            .flatten()
            .collect();
        let holds = which_hold(&signed);
        let holding = signed.into_iter().zip(holds).filter(|(_, holds)| *holds);
        Self(holding.map(|(Signed { key, message, signature }, _)| entry(&signature, &key, &message)).collect())
    }

    /// Checks a signature, unless it was found to hold before.
    pub(super) fn verify(
        &self,
        signature: &Signature,
        key: &PublicKey,
        message: &Message,
    ) -> Result<(), SignatureError> {
        if self.0.contains(&entry(signature, key, message)) { Ok(()) } else { signature.verify(key, message) }
    }
}

fn entry(signature: &Signature, key: &PublicKey, message: &Message) -> (PublicKey, Message, PublicKey, Scalar) {
    (*key, *message, *signature.commitment(), signature.response())
}
