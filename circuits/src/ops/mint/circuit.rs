//! The circuit of MINT. The numbers are those of the [module](super).

use super::Mint;
use crate::step::{Integer, StepCircuit};

pub(super) fn synthesize(step: &mut StepCircuit) {
    step.relation("MINT R4, terms before");
    let [cap, issuer, decimals] = [64, 32, 8].map(|width| step.integer(width));
    let terms = [(cap.clone(), 64), (issuer.clone(), 32), (decimals.clone(), 8)];
    step.require_equal(step.own(1), Integer::pack(terms));
    step.relation("MINT R1, issuer");
    step.require_equal(issuer.clone(), step.signer());
    step.relation("MINT R2, supply");
    let supply = step.range(step.count() + step.a(), 64);
    step.range(cap.clone() - supply.clone(), 64);
    step.set_supply(supply);
    step.relation("MINT R3, unit");
    step.require_zero(step.own(2));
    step.relation("MINT R4, terms after");
    let renounced = step.flag(Mint::RENOUNCE);
    let issuer = step.select(&renounced, &Integer::constant(0), &issuer);
    step.set_own(1, Integer::pack([(cap, 64), (issuer, 32), (decimals, 8)]));
}
