//! Rule and circuit of a step against each other, where the prover does what he can: the integers that the circuit
//! takes are looked for in the circuit itself, so a step that the rule refuses is not merely shown badly.

use crate::{
    step::{Applied, Authority, Guesses, Limits, Registers, StepContext, StepError, known_secret},
    testing::{operations::assert_satisfied, state::index, steps::Steps, violated_in_its_state},
};
use ark_bn254::Fr;
use proptest::prelude::*;
use taproof_verifier::{
    cell::{Cell, Token},
    record::StepRecord,
};

/// What every slot has before the operation adds to it, in the order of [`StepCircuit`](crate::step::StepCircuit).
fn inputs(steps: &Steps, record: &StepRecord, starts: bool, tokens_after: [Token; 2]) -> Vec<Fr> {
    let Registers { lanes, clause, .. } = steps.registers;
    let StepContext { height_blocks, token, .. } = steps.context();
    let cell = steps.state.cell(record.cell.get());
    let second = cell.holdings()[1];
    let own = Token(record.cell.get());
    let in_motion = [own, tokens_after[0], tokens_after[1]]
        .map(|token| lanes.iter().find(|lane| lane.token == token).map_or(0, |lane| lane.value));
    let signer = if starts { record.cell } else { clause.map_or(index(0), |clause| clause.signer) };
    let known = known_secret();
    let mut inputs = vec![Fr::from(1u64)];
    inputs.extend((0..8).map(|bit| Fr::from(record.flags >> bit & 1)));
    inputs.push(Fr::from(record.cell.get()));
    inputs.extend([record.a, record.b, record.c].map(Fr::from));
    inputs.push(record.word);
    inputs.extend([height_blocks, token.0].map(Fr::from));
    inputs.extend(&cell.elements().0[1..7]);
    inputs.extend([Fr::from(second.token.0), Fr::from(second.balance)]);
    inputs.extend(in_motion.map(Fr::from));
    inputs.extend([known.public().x(), known.public().y()]);
    inputs.push(Fr::from(signer.get()));
    inputs.extend(steps.registers.all_elements());
    inputs
}

/// Checks that the circuit accepts a step exactly if the rule does, and with one choice of its integers alone, those of
/// the rule. Gives what the rule says; an accepted step has run.
pub(crate) fn assert_twins(
    steps: &mut Steps,
    record: StepRecord,
    limits: Limits,
    guesses: &Guesses,
) -> Result<Applied, StepError> {
    let machine = steps.machine.clone();
    let known = machine.operations().iter().find(|known| known.description.number == record.operation);
    let known = known.expect("an operation of the set");
    let rule = steps.apply(&record, limits);
    let before = steps.state.cell(record.cell.get());
    let [first, second, _] = steps.registers.lanes;
    let tokens_after = match before {
        Cell::Empty => [first.token, second.token],
        ref cell => cell.holdings().map(|holding| holding.token),
    };
    let starts = known.description.authority == Authority::Starts;
    let solutions = known.circuit.solutions(&inputs(steps, &record, starts, tokens_after), guesses);
    match rule {
        Ok(applied) => {
            assert_eq!(solutions, std::slice::from_ref(&applied.integers), "{record:?} on {before:?}");
            steps.run_within(record, limits).expect("it was applied");
            assert_satisfied(steps);
            Ok(applied)
        }
        Err(error) => {
            let _ = steps.chunk(64);
            for integers in solutions {
                let (chunk, witness) = steps.forced(record, limits, integers, tokens_after);
                let violated = violated_in_its_state(&steps.slot(), &chunk, &witness);
                // Nobody signs what the rule refuses.
                let held = violated.iter().any(|name| *name != "S3, signature");
                assert!(held, "the circuit accepts what the rule refuses: {error}: {record:?} on {before:?}");
            }
            Err(error)
        }
    }
}

/// Integers below 2^bits of any length, and those at the ends.
pub(crate) fn any_below(bits: u32) -> impl Strategy<Value = u128> {
    let most = u128::MAX >> (128 - bits);
    let any = (1..=bits, any::<u128>()).prop_map(|(length, value)| value >> (128 - length));
    prop_oneof![8 => any, 1 => Just(0), 1 => Just(1), 1 => Just(most), 1 => Just(most - 1)]
}

/// What may be in motion of a token: mostly an amount, of any length.
pub(crate) fn any_in_motion() -> impl Strategy<Value = i128> {
    let amount = |bits| any_below(bits).prop_map(|value| value as i128);
    prop_oneof![8 => amount(63), 1 => amount(65), 1 => amount(65).prop_map(|value| -value)]
}
