//! Rule and circuit of a step against each other, where the prover does what he can: the integers that the circuit
//! takes are looked for in the circuit itself, so a step that the rule refuses is not merely shown badly.

use crate::{
    step::{
        Applied, Authority, Guesses, LANES, Lane, Limits, Registers, RunningClause, StepContext, StepError, flag,
        known_key,
    },
    testing::{
        operations::{OTHER, POOL, TOKEN, assert_satisfied},
        state::{OPERATOR, index, secret},
        steps::Steps,
        violated_in_its_state,
    },
};
use ark_bn254::Fr;
use proptest::prelude::*;
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{Account, Cell, Holding, Tickets, Token, TokenCell},
    record::StepRecord,
};

/// What a prover claims for the cell after, of which the circuit reads tokens and owner alone: for a cell that was
/// empty what the record and the lanes say, else what was there.
fn claimed(steps: &Steps, record: &StepRecord, kind_after: u8) -> Account {
    let known = *known_key();
    let [first, second, _] = steps.registers.lanes;
    let (owner, tokens) = match (steps.state.cell(record.cell.get()), kind_after) {
        (Cell::Empty, Account::KIND) => {
            (PublicKey::from_x(record.word).unwrap_or(known), [Token(record.c as u32), Token::default()])
        }
        (Cell::Empty, TokenCell::KIND) => (known, Default::default()),
        (Cell::Empty, _) => (known, [first.token, second.token]),
        (cell, _) => (known, cell.holdings().map(|holding| holding.token)),
    };
    let [first, second] = tokens.map(|token| Holding { token, balance: 0 });
    Account { second, ..Account::new(owner, first.token, 0) }
}

/// What every slot has before the operation adds to it, in the order of [`StepCircuit`](crate::step::StepCircuit).
fn inputs(steps: &Steps, record: &StepRecord, starts: bool, claimed: &Account) -> Vec<Fr> {
    let Registers { lanes, clause, .. } = steps.registers;
    let StepContext { height_blocks, token, .. } = steps.context();
    let cell = steps.state.cell(record.cell.get());
    let second = cell.holdings()[1];
    let own = Token(record.cell.get());
    let in_motion = [own, claimed.token, claimed.second.token]
        .map(|token| lanes.iter().find(|lane| lane.token == token).map_or(0, |lane| lane.value));
    let signer = if starts { record.cell } else { clause.map_or(index(0), |clause| clause.signer) };
    let mut inputs = vec![Fr::from(1u64)];
    inputs.extend((0..8).map(|bit| Fr::from(record.flags >> bit & 1)));
    inputs.push(Fr::from(record.cell.get()));
    inputs.extend([record.a, record.b, record.c].map(Fr::from));
    inputs.push(record.word);
    inputs.extend([height_blocks, token.0].map(Fr::from));
    inputs.extend(&cell.elements().0[1..7]);
    inputs.extend([Fr::from(second.token.0), Fr::from(second.balance)]);
    inputs.extend(in_motion.map(Fr::from));
    inputs.extend([claimed.owner.x(), claimed.owner.y()]);
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
    let _ = steps.chunk(64);
    let rule = steps.apply(&record, limits);
    let before = steps.state.cell(record.cell.get());
    let claimed = claimed(steps, &record, known.description.kind_after);
    let starts = known.description.authority == Authority::Starts;
    let solutions = known.circuit.solutions(&inputs(steps, &record, starts, &claimed), guesses);
    match rule {
        Ok(applied) => {
            assert_eq!(solutions, std::slice::from_ref(&applied.integers), "{record:?} on {before:?}");
            // Trap 60: what is posted rebuilds the state.
            let posted = machine.apply(&steps.context(), &steps.registers, &before, &record, None);
            let posted = posted.expect("what was proven can be applied anew");
            assert_eq!((posted.cell, posted.fee), (applied.cell, applied.fee), "{record:?} on {before:?}");
            assert_eq!(posted.registers.lanes, applied.registers.lanes, "{record:?} on {before:?}");
            let operator = steps.state.account(OPERATOR);
            if operator.balance.checked_add(applied.fee).is_none() {
                // The operator has room for the fee.
                steps.put(OPERATOR, Cell::Account(Account { balance: 0, ..operator }));
            }
            steps.run_within(record, limits).expect("it was applied");
            assert_satisfied(steps);
            Ok(applied)
        }
        Err(error) => {
            for integers in solutions {
                let (chunk, witness) = steps.forced(record, limits, integers, claimed);
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

/// Flags of which an operation knows some, mostly those: the clause ends as often as not, the transaction seldom.
pub(crate) fn any_flags(known: u8) -> impl Strategy<Value = u8> {
    let of_operation = any::<u8>().prop_map(move |flags| flags & (known | flag::END));
    let done = any::<u8>().prop_map(move |flags| flags & (known | flag::END) | flag::DONE);
    prop_oneof![16 => of_operation, 2 => done, 1 => any::<u8>()]
}

/// A balance of any length.
fn any_balance() -> impl Strategy<Value = u64> {
    any_below(64).prop_map(|balance| balance as u64)
}

/// Accounts of account 1's owner with any nonce, tickets, tokens and balances.
pub(crate) fn any_account() -> impl Strategy<Value = Account> {
    let count = || prop_oneof![8 => any::<u32>(), 1 => Just(u32::MAX), 1 => Just(u32::MAX - 64)];
    let token = || prop::sample::select(vec![Token::BITCOIN, Token(TOKEN), Token(OTHER)]);
    let holding = move || (token(), any_balance());
    (holding(), holding(), count(), count(), any::<u64>()).prop_map(
        |((token, balance), (second_token, second), nonce, base, used)| {
            let account = Account::new(*secret(1).public(), token, balance);
            let second = Holding { token: second_token, balance: second };
            Account { nonce, tickets: Tickets { base, used }, second, ..account }
        },
    )
}

/// Lanes of some tokens, which may be any amount, or nothing.
pub(crate) fn any_lanes() -> impl Strategy<Value = [Lane; LANES]> {
    let token = prop::sample::select(vec![Token::BITCOIN, Token(TOKEN), Token(OTHER), Token(POOL)]);
    let value = prop_oneof![1 => Just(0), 2 => any_in_motion()];
    prop::array::uniform3((token, value).prop_map(|(token, value)| Lane { token, value }))
}

/// The clause of account 1 mostly, else that of another account with its key, or of another owner, or none.
pub(crate) fn any_clause() -> impl Strategy<Value = Option<RunningClause>> {
    let clause = |signer, owner, digest: u64| {
        Some(RunningClause { signer: index(signer), owner: *secret(owner).public(), digest: Fr::from(digest) })
    };
    let of = move |signer, owner| any::<u64>().prop_map(move |digest| clause(signer, owner, digest));
    prop_oneof![16 => of(1, 1), 2 => of(7, 1), 2 => of(2, 2), 2 => Just(None)]
}
