//! A proof that has been verified, wherever it was made.
//!
//! Provers here, provers on other machines, files and folders of kept proofs all hand over a statement and a proof, and
//! are believed as little as one another: nothing else than a check against the circuit's verifying key makes them
//! [`Proven`].

use crate::key_file::Key;
use taproof_verifier::{
    groth16::{Proof, Verified},
    program::{Program, VerifyError},
    statement::Statement,
};

/// A proof that has been verified. There is no other way to one than to verify it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Proven {
    proof: Proof,
    verified: Verified,
}

impl Proven {
    /// Takes a proof of a rollup's circuits, whoever made it, if the program's key of the statement's circuit accepts
    /// it.
    ///
    /// # Errors
    /// Each of [`VerifyError`].
    pub fn by_program(program: &Program, statement: &Statement, proof: Proof) -> Result<Self, VerifyError> {
        let verified = program.verify(statement, &proof)?;
        Ok(Self { proof, verified })
    }

    /// Takes a proof of one circuit, whoever made it, if the verifying key beside this proving key accepts it.
    ///
    /// # Errors
    /// Each of [`VerifyError`]: [`VerifyError::UnknownCircuit`] if the key is another circuit's.
    pub fn by_key(key: &Key, statement: &Statement, proof: Proof) -> Result<Self, VerifyError> {
        if statement.circuit != key.circuit() {
            return Err(VerifyError::UnknownCircuit(statement.circuit));
        }
        let verified = key.prepared_verifying_key().verify(statement, &proof)?;
        Ok(Self { proof, verified })
    }

    /// The proof.
    pub fn proof(&self) -> &Proof {
        &self.proof
    }

    /// What it proves.
    pub fn statement(&self) -> &Statement {
        self.verified.statement()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        prove::{Blinding, prove_chunk},
        toy,
    };
    use taproof_circuits::{chunk::shape, step::Machines};
    use taproof_verifier::{cell::Depth, record::Kind, statement::CircuitId};

    #[test]
    fn a_proof_made_elsewhere_enters_by_verification_alone() {
        let chunks = toy::deposit_chunks(2);
        let circuit = chunks[0].statement.circuit;
        let matrices = shape(&Machines::default(), circuit).expect("a circuit");
        let (key, other_key) = (toy::key(&matrices, circuit), toy::other_key(&matrices, circuit));
        let keys = |key: &Key| {
            let kinds = Kind::PAYMENTS.map(|kind| CircuitId::new(kind, circuit.depth, circuit.slots));
            Program::new(kinds.map(|circuit| (circuit, key.verifying_key().clone()))).expect("all kinds")
        };
        let (program, other_program) = (keys(&key), keys(&other_key));
        let made = prove_chunk(&Machines::default(), &key, &chunks[0], &Blinding::fresh()).expect("a valid deposit");
        // What a worker sends: bytes of a proof, and the statement.
        let (statement, bytes) = (*made.statement(), made.proof().to_bytes());
        let proof = || Proof::from_bytes(&bytes).expect("just encoded");
        assert_eq!(Proven::by_program(&program, &statement, proof()), Ok(made.clone()));
        assert_eq!(Proven::by_key(&key, &statement, proof()), Ok(made));
        let rejected = |refused| assert!(matches!(refused, Err(VerifyError::Rejected(_))), "{refused:?}");
        rejected(Proven::by_program(&program, &chunks[1].statement, proof()));
        rejected(Proven::by_key(&key, &chunks[1].statement, proof()));
        rejected(Proven::by_program(&other_program, &statement, proof()));
        rejected(Proven::by_key(&other_key, &statement, proof()));
        let deeper = CircuitId::new(circuit.kind, Depth::MAX, circuit.slots);
        let elsewhere = Statement { circuit: deeper, ..statement };
        let unknown = Err(VerifyError::UnknownCircuit(deeper));
        assert_eq!(Proven::by_program(&program, &elsewhere, proof()), unknown);
        assert_eq!(Proven::by_key(&key, &elsewhere, proof()), unknown);
    }
}
