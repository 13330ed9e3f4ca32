//! The same circuits for arkworks: setup, prover and verifier of `ark-groth16` take a [`Synthesis`] as any other
//! circuit.

use crate::cs::{Assignment, Shape};
use ark_bn254::Fr;
use ark_relations::gr1cs::{
    ConstraintSynthesizer, ConstraintSystemRef, LinearCombination, Result, SynthesisError, Variable,
};

/// The matrices of a circuit, with an assignment to prove or without one for setup.
///
/// Rows and wires keep their order and number: wire 0 is arkworks' constant one, wire 1 its first instance variable.
#[derive(Clone, Copy, Debug)]
pub struct Synthesis<'a> {
    shape: &'a Shape,
    assignment: Option<&'a Assignment>,
}

impl<'a> Synthesis<'a> {
    /// A circuit without values, for setup.
    pub fn for_setup(shape: &'a Shape) -> Self {
        Self { shape, assignment: None }
    }

    /// A circuit with the values of all wires.
    pub fn for_proof(shape: &'a Shape, assignment: &'a Assignment) -> Self {
        Self { shape, assignment: Some(assignment) }
    }
}

impl ConstraintSynthesizer<Fr> for Synthesis<'_> {
    fn generate_constraints(self, cs: ConstraintSystemRef<Fr>) -> Result<()> {
        let first_private = 1 + self.shape.public_count();
        let value = |wire: usize| match self.assignment {
            Some(assignment) => assignment.wires.get(wire).copied().ok_or(SynthesisError::AssignmentMissing),
            None => Err(SynthesisError::AssignmentMissing),
        };
        let mut variables = vec![Variable::One];
        for wire in 1..self.shape.wire_count() {
            variables.push(match wire < first_private {
                true => cs.new_input_variable(|| value(wire))?,
                false => cs.new_witness_variable(|| value(wire))?,
            });
        }
        for row in self.shape.rows() {
            cs.enforce_r1cs_constraint(
                || combination(&variables, row.a()),
                || combination(&variables, row.b()),
                || combination(&variables, row.c()),
            )?;
        }
        Ok(())
    }
}

fn combination<'a>(variables: &[Variable], terms: impl Iterator<Item = (usize, &'a Fr)>) -> LinearCombination<Fr> {
    LinearCombination(terms.map(|(wire, coefficient)| (*coefficient, variables[wire])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chunk::witness::SlotWitnesses,
        testing::{assign, shape, state::State},
    };
    use ark_bn254::Bn254;
    use ark_ff::Field;
    use ark_groth16::Groth16;
    use ark_relations::gr1cs::{ConstraintSystem, OptimizationGoal};
    use ark_snark::SNARK;
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;
    use taproof_verifier::cell::Token;

    #[test]
    fn arkworks_proves_and_verifies_a_chunk() {
        let mut rng = ChaCha20Rng::seed_from_u64(5);
        let mut state = State::new(1, Token::BITCOIN, 6);
        let cap = state.cap();
        let slots = SlotWitnesses::Deposit(vec![state.deposit(1, 500, 1)]);
        let chunk = state.chunk(cap, 2, slots);
        let shape = shape(chunk.statement.circuit).expect("a circuit");
        let assignment = assign(&chunk).expect("a valid chunk");
        let (key, verifying_key) = Groth16::<Bn254>::circuit_specific_setup(Synthesis::for_setup(&shape), &mut rng)
            .expect("keys for a circuit");
        assert_eq!(verifying_key.gamma_abc_g1.len(), 2);
        let proof = Groth16::<Bn254>::prove(&key, Synthesis::for_proof(&shape, &assignment), &mut rng)
            .expect("a proof of a valid chunk");
        let digest = chunk.statement.digest();
        assert_eq!(Groth16::<Bn254>::verify(&verifying_key, &[digest], &proof), Ok(true));
        assert_eq!(Groth16::<Bn254>::verify(&verifying_key, &[digest + Fr::ONE], &proof), Ok(false));
    }

    #[test]
    fn rows_and_wires_keep_their_numbers() {
        let mut state = State::new(1, Token(3), 6);
        let cap = state.cap();
        let slots = SlotWitnesses::Transfer(vec![state.transfer(1, 2, 500, 3)]);
        let chunk = state.chunk(cap, 2, slots);
        let shape = shape(chunk.statement.circuit).expect("a circuit");
        let mut assignment = assign(&chunk).expect("a valid chunk");
        for falsified in [false, true] {
            if falsified {
                assignment.wires[9] += Fr::ONE;
            }
            let cs = ConstraintSystem::<Fr>::new_ref();
            cs.set_optimization_goal(OptimizationGoal::Constraints);
            Synthesis::for_proof(&shape, &assignment).generate_constraints(cs.clone()).expect("values for all wires");
            cs.finalize();
            assert_eq!(cs.num_constraints(), shape.row_count());
            assert_eq!(cs.num_instance_variables(), 1 + shape.public_count());
            assert_eq!(cs.num_variables(), shape.wire_count());
            assert_eq!(cs.is_satisfied(), Ok(!falsified));
            let matrices = cs.to_matrices().expect("matrices are kept");
            let [rows] = matrices.values().collect::<Vec<_>>()[..] else { panic!("one predicate") };
            for (number, row) in shape.rows().enumerate() {
                let mut found = rows[0][number].clone();
                found.sort_by_key(|(_, wire)| *wire);
                let expected: Vec<_> = row.a().map(|(wire, coefficient)| (*coefficient, wire)).collect();
                assert_eq!(found, expected);
            }
        }
    }
}
