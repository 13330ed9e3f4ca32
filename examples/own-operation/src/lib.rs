//! Loyalty points: a payment to a shop that mints points of the shop's to whoever pays, by a rate.
//!
//! - POINTS fills an empty cell with a token of points, whose issuer is the signer's account. Record: a is the cap, b
//!   the rate, in points for 10,000 sat. R1: the rate is not zero. Whatever has a rate, MINT refuses to mint.
//! - REWARD mints points for a payment of a sat. R1: the token's terms. R2: the points are floor(a rate / 10,000), and
//!   the supply grows by them, up to the cap. R3: a is owed to the issuer's account, in bitcoin.

use std::sync::Arc;
use taproof_circuits::{
    ops,
    step::{Authority, Description, Due, Groups, Integer, Limits, Machine, Operation, Refusal, Step, StepCircuit},
};
use taproof_verifier::{
    cell::{Cell, Token, TokenCell, TokenName},
    operation::{Check, Columns},
    record::StepRecord,
};

/// The sat that the rate is for.
const RATE_SAT: u64 = 10_000;

/// The operations that every rollup has unless it chooses others, and these two.
pub fn machine() -> Arc<Machine> {
    let mut operations = ops::operations();
    operations.extend([Arc::new(Points) as Arc<dyn Operation>, Arc::new(Reward)]);
    Arc::new(Machine::new(operations).expect("their numbers differ"))
}

fn description(number: u8, name: &'static str, kind_before: u8, authority: Authority, writes: Groups) -> Description {
    Description {
        number,
        name,
        columns: Columns::FLAGS.and(Columns::CELL).and(Columns::A).and(Columns::B),
        check: Check::None,
        flags: 0,
        kind_before,
        kind_after: TokenCell::KIND,
        authority,
        in_session: false,
        writes,
    }
}

#[derive(Debug)]
struct Points;

impl Operation for Points {
    fn description(&self) -> Description {
        description(128, "POINTS", 0, Authority::Signer, Groups::ALWAYS)
    }

    fn apply(&self, step: &mut Step<'_>) -> Result<(), Refusal> {
        let StepRecord { a: cap, b: rate, .. } = *step.record();
        step.integer(rate.checked_sub(1).ok_or(Refusal::Zero("the rate"))?, 64); // R1
        let name = TokenName::new("points").expect("a short name");
        let issuer = step.signer().unwrap_or_default();
        step.put(Cell::Token(TokenCell { supply: 0, name, cap, issuer, decimals: 0, unit: rate }));
        Ok(())
    }

    fn synthesize(&self, step: &mut StepCircuit) {
        step.relation("POINTS R1, rate");
        step.range(step.b() - Integer::constant(1), 64);
        step.set_own(0, TokenName::new("points").expect("a short name").element());
        step.set_own(1, Integer::pack([(step.a(), 64), (step.signer(), 32), (Integer::constant(0), 8)]));
        step.set_own(2, step.b());
    }
}

#[derive(Debug)]
struct Reward;

impl Operation for Reward {
    fn description(&self) -> Description {
        description(129, "REWARD", TokenCell::KIND, Authority::Either, Groups::DUES)
    }

    fn apply(&self, step: &mut Step<'_>) -> Result<(), Refusal> {
        let (token, amount) = (step.token()?, step.record().a);
        let TokenCell { supply, cap, issuer, decimals, unit: rate, .. } = token;
        step.integer(cap, 64);
        step.integer(issuer.get(), 32);
        step.integer(decimals, 8); // R1
        let points = step.multiply_divide([amount.into(), rate.into()], RATE_SAT.into(), 64, 14)?;
        let supply = step.sum(supply, points as u64, "the supply")?;
        step.difference(cap, supply.into(), Refusal::Cap { supply, cap })?; // R2
        step.owe(Due { account: issuer, token: Token::BITCOIN, amount })?; // R3
        step.put(Cell::Token(TokenCell { supply, ..token }));
        Ok(())
    }

    fn synthesize(&self, step: &mut StepCircuit) {
        step.relation("REWARD R1, terms");
        let [cap, issuer, decimals] = [64, 32, 8].map(|width| step.integer(width));
        step.require_equal(step.own(1), Integer::pack([(cap.clone(), 64), (issuer.clone(), 32), (decimals, 8)]));
        step.relation("REWARD R2, supply");
        let factors = [step.a().expression(), step.own(2)];
        let [points, _] = step.multiply_divide(factors, Integer::constant(RATE_SAT.into()), 64, 14);
        let supply = step.range(step.count() + points, 64);
        step.range(cap - supply.clone(), 64);
        step.set_supply(supply);
        step.relation("REWARD R3, what is owed");
        step.owe(&issuer, &Integer::constant(0), &step.a());
    }

    fn words(&self, StepRecord { a, cell, .. }: &StepRecord, _: &Limits) -> Option<String> {
        Some(format!("owes {a} sat to the shop of token {cell}, and mints its points for that"))
    }
}
