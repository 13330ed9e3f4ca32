//! `taproof steps`.

use super::{
    Global,
    clause::{ClauseArgs, Desk},
    failure::{Exit, Failure, Result},
    form::or_misplaced,
    input::read_json,
};
use clap::Args;
use serde::Deserialize;
use std::path::PathBuf;
use taproof_circuits::{
    step::{Description, Limits, Machine, flag},
    transaction::{Draft, Fee, Part, Purse},
};
use taproof_verifier::{
    cell::{CellIndex, Token},
    field,
    record::StepRecord,
};

/// Makes and signs a transaction of any steps, those of a rollup's own operations among them.
#[derive(Debug, Args)]
#[command(after_help = "\
The file says what the signer's account pays first, which steps follow in the same clause, and which anyone runs after \
it. Amounts are in a token's smallest unit. `operation` is a number, or the name of an operation that is known here; \
`flags` are those of the operation, without END and DONE, which are set where they belong; `word` are 64 hexadecimal \
digits; all numbers that are left out are zero.

  {\"pay\": {\"amount\": 5000},
   \"steps\": [{\"operation\": \"MINT\", \"cell\": 20, \"a\": 50},
             {\"operation\": \"RECEIVE\", \"cell\": 4, \"flags\": 4, \"a\": 50}],
   \"then\": [{\"operation\": \"RECEIVE\", \"cell\": 2, \"a\": 5000}]}

Examples:
  taproof steps purchase.json --from 4 --dry-run
  taproof steps purchase.json --from 4 --add-to txs.json")]
pub(crate) struct Steps {
    /// The file of the steps.
    file: PathBuf,
    #[command(flatten)]
    clause: ClauseArgs,
}

/// What the file says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    /// What the signer's account pays.
    #[serde(default)]
    pay: Payment,
    /// The steps of the clause after that.
    #[serde(default)]
    steps: Vec<PlannedStep>,
    /// The steps that anyone runs.
    #[serde(default)]
    then: Vec<PlannedStep>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Payment {
    #[serde(default)]
    amount: u64,
    /// Whether the second holding pays.
    #[serde(default)]
    second: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Called {
    Number(u8),
    Name(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PlannedStep {
    operation: Called,
    cell: u32,
    #[serde(default)]
    flags: u8,
    #[serde(default)]
    a: u64,
    #[serde(default)]
    b: u64,
    #[serde(default)]
    c: u64,
    /// An element's 32 bytes, little-endian.
    #[serde(default)]
    word: Option<String>,
    /// The least that the signer wants.
    #[serde(default)]
    least: u64,
}

impl PlannedStep {
    /// The step; `what` says which it is.
    fn step(&self, machine: &Machine, what: &str) -> Result<(StepRecord, Limits)> {
        let failure = |reason: String| Failure::new(Exit::Input, format!("{what}: {reason}"));
        let is_called = |known: &Description| match &self.operation {
            Called::Number(number) => known.number == *number,
            Called::Name(name) => known.name.eq_ignore_ascii_case(name),
        };
        let known = machine.descriptions().find(is_called).ok_or_else(|| {
            let called = match &self.operation {
                Called::Number(number) => number.to_string(),
                Called::Name(name) => format!("{name:?}"),
            };
            let names: Vec<_> = machine.descriptions().map(|known| known.name).collect();
            let advice = format!("this rollup's operations are {}", names.join(", "));
            failure(format!("operation {called} is not known here")).advise(advice)
        })?;
        if self.flags & (flag::END | flag::DONE) != 0 {
            let failure = failure(format!("flags {} include END (1) or DONE (2)", self.flags));
            return Err(failure.advise("leave them out: they are set where they belong"));
        }
        let cell = CellIndex::new(self.cell).ok_or_else(|| failure(format!("no cell has the index {}", self.cell)))?;
        let word = match &self.word {
            None => Default::default(),
            Some(word) => {
                let bytes: Option<[u8; 32]> = hex::decode(word).ok().and_then(|bytes| bytes.try_into().ok());
                let bytes = bytes.ok_or_else(|| failure(format!("word {word:?} has not 64 hexadecimal digits")))?;
                field::from_bytes(&bytes).map_err(|error| failure(error.to_string()))?
            }
        };
        let Self { flags, a, b, c, least, .. } = *self;
        let record = StepRecord { flags, cell, a, b, c, word, ..StepRecord::new(known.number) };
        Ok((record, Limits { least, until: 0 }))
    }
}

impl Steps {
    pub(crate) fn run(self, global: &Global) -> Result {
        let plan: Plan =
            read_json(&self.file).map_err(|failure| or_misplaced(failure, &self.file, "a file of steps"))?;
        if plan.steps.is_empty() && plan.then.is_empty() {
            let failure = Failure::new(Exit::Input, format!("{}: it has no steps", self.file.display()));
            return Err(failure.advise("`taproof steps --help` shows what the file says"));
        }
        let mut desk = Desk::open(&self.clause, global)?;
        let Payment { amount, second } = plan.pay;
        let machine = desk.machine();
        let steps = plan.steps.iter().enumerate();
        let steps = steps.map(|(position, step)| step.step(machine, &format!("steps, number {position}")));
        let steps = steps.collect::<Result<Vec<_>>>()?;
        let after = plan.then.iter().enumerate().map(|(position, step)| {
            let (record, limits) = step.step(machine, &format!("then, number {position}"))?;
            if limits != Limits::default() {
                let message = format!("then, number {position}: nobody signs it, so it has no \"least\"");
                return Err(Failure::new(Exit::Input, message));
            }
            Ok(Part::Step(record))
        });
        let after = after.collect::<Result<Vec<_>>>()?;
        let pays = (amount > 0 && !second).then_some((Token::BITCOIN, amount));
        let draft = desk.priced(after.len(), |fee_sat| {
            let account = desk.account(fee_sat, pays)?;
            let signer = desk.signer(account, fee_sat)?;
            let from = Purse { cell: account, is_second: second };
            let draft = Draft::pay(from, amount, Fee { amount_sat: fee_sat, is_from_second: false }, signer.once);
            Ok(steps.iter().fold(draft, |draft, (record, limits)| draft.step(*record, *limits)))
        })?;
        let clause = desk.sign(draft)?;
        desk.take_parts([Part::Clause(clause)].into_iter().chain(after).collect())?;
        desk.finish()
    }
}
