//! The circuit of DRAW. The numbers are those of the [module](super).

use super::Draw;
use crate::step::{Expression, Integer, StepCircuit, flag};
use ark_bn254::Fr;

pub(super) fn synthesize(step: &mut StepCircuit) {
    let [second, rebase, pair] = [flag::SECOND, Draw::REBASE, Draw::PAIR].map(|flag| step.flag(flag));
    let one = || Integer::constant(1);
    step.relation("DRAW R1, signer's key");
    let [x, y] = step.signer_key();
    step.require_equal(step.own(0), x);
    step.require_equal(step.own(1), y);
    step.relation("DRAW R2, holdings");
    let of_second = step.product(step.a(), second);
    let first = step.range(step.amount() - step.a() + of_second.clone(), 64);
    let other = step.range(step.second_amount() - of_second, 64);
    step.set_amount(first);
    step.set_second_amount(other);
    step.relation("DRAW R3, tickets");
    let [base, used] = [32, 64].map(|width| step.integer(width));
    step.require_equal(step.own(2), Integer::pack([(base.clone(), 32), (used.clone(), 64)]));
    let base = step.range(base + rebase.clone() * Fr::from(64u64), 32);
    let used = step.select(&rebase, &Integer::constant(0), &used);
    step.set_own(2, Integer::pack([(base, 32), (used, 64)]));
    step.relation("DRAW R4, second token");
    let token = step.range(step.c(), 32);
    let unpaired = step.product(token.clone(), one() - pair.clone());
    step.require_zero(unpaired);
    let held = step.product(step.second_amount(), pair.clone());
    step.require_zero(held);
    // Not zero.
    step.range(token.clone() - pair.clone(), 32);
    // Not the first token: their difference is a sign and a distance, at least 1 with PAIR and 0 without.
    let difference = step.product(token.clone() - step.token(), pair.clone());
    let is_less = step.integer(1);
    let distance = step.integer(32);
    let twice = step.product(distance.clone() + distance.expression(), is_less.clone());
    step.require_equal(difference, distance.clone() - twice);
    step.range(distance - pair.clone(), 32);
    let unpaired = step.product(is_less, Expression::from(one()) - pair.clone());
    step.require_zero(unpaired);
    let token = step.select(&pair, &token, &step.second_token());
    step.set_second_token(token);
}
