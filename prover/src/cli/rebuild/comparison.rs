//! Comparing a ledger with what the chain has.

use crate::cli::{
    console::counted,
    element_text,
    failure::{Exit, Failure, Result},
    session::ledger_failure,
};
use serde::Serialize;
use std::{collections::BTreeMap, fmt, ops::RangeInclusive};
use taproof_rollup::ledger::Ledger;
use taproof_verifier::follow::{Event, Params, Tip};

/// The chain's tips after as many batches as the ledger knows how it stood after.
#[derive(Debug, Default)]
pub(super) struct Tips {
    kept: Option<RangeInclusive<u64>>,
    tips: BTreeMap<u64, Tip>,
}

impl Tips {
    pub(super) fn of(ledger: &Ledger, params: &Params) -> Result<Self> {
        let kept = ledger.first_unfinal().map_err(ledger_failure)?..=ledger.next_batch();
        let mut tips = Self { kept: Some(kept), tips: BTreeMap::new() };
        tips.keep(Tip::genesis(params));
        Ok(tips)
    }

    pub(super) fn observe(&mut self, event: &Event) {
        match event {
            Event::Verified(batch) => self.keep(*batch.after()),
            Event::Rewound { tip, .. } => self.tips.retain(|batches, _| *batches <= tip.batches),
            _ => {}
        }
    }

    fn keep(&mut self, tip: Tip) {
        if self.kept.as_ref().is_some_and(|kept| kept.contains(&tip.batches)) {
            self.tips.insert(tip.batches, tip);
        }
    }
}

/// Where a ledger or the chain stands.
#[derive(Debug, Serialize)]
pub(super) struct Stand {
    next_batch: u64,
    root: String,
    deposits_consumed: u64,
    reference_height: u32,
}

impl fmt::Display for Stand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { next_batch, root, deposits_consumed, reference_height } = self;
        write!(
            f,
            "batch {next_batch} is next, root {root}, {deposits_consumed} deposits consumed, refers to height \
             {reference_height}"
        )
    }
}

/// How an intact ledger compares with the chain.
#[derive(Debug, Serialize)]
#[serde(tag = "ledger", rename_all = "snake_case")]
pub(super) enum Comparison {
    /// It is the chain's.
    Intact {
        /// How many batches it has beyond, which are not anchored.
        ahead: u64,
        /// How many of them were final before a reorganisation below a final block.
        were_final: u64,
    },
    /// It is brought up by the next batch.
    Behind {
        ledger_stand: Stand,
        chain_stand: Stand,
        /// How many of the chain's batches it does not have.
        behind: u64,
        /// How many of its own they take the place of.
        replaced: u64,
    },
    /// What is final in it is not what the chain has.
    Contradicts { ledger_stand: Stand, chain_stand: Stand },
}

impl Comparison {
    pub(super) fn new(
        ledger: &Ledger,
        tips: &Tips,
        chain: &Tip,
        mut was_final: impl FnMut(u64) -> Result<bool>,
    ) -> Result<Self> {
        let next = ledger.next_batch();
        if ledger.agrees_with(chain).map_err(ledger_failure)? {
            let mut were_final = 0;
            for batch in chain.batches..next {
                were_final += u64::from(was_final(batch)?);
            }
            return Ok(Self::Intact { ahead: next - chain.batches, were_final });
        }
        let ledger_stand = Stand {
            next_batch: next,
            root: element_text(&ledger.state().root()),
            deposits_consumed: ledger.deposits_consumed(),
            reference_height: ledger.reference_height(),
        };
        let chain_stand = Stand {
            next_batch: chain.batches,
            root: element_text(&chain.root),
            deposits_consumed: chain.deposits_consumed,
            reference_height: chain.reference.height,
        };
        for (batches, tip) in tips.tips.iter().rev() {
            if ledger.agrees_with(tip).map_err(ledger_failure)? {
                let (behind, replaced) = (chain.batches - batches, next - batches);
                return Ok(Self::Behind { ledger_stand, chain_stand, behind, replaced });
            }
        }
        Ok(Self::Contradicts { ledger_stand, chain_stand })
    }

    /// Fails if the ledger cannot become the chain's by itself.
    pub(super) fn expect_the_chains(&self) -> Result {
        let Self::Contradicts { .. } = self else { return Ok(()) };
        let failure =
            Failure::new(Exit::Refuted, "the ledger is not the chain's: what is final in it the chain does not have");
        Err(failure.advise(
            "make it anew from the chain with `taproof rebuild --replace`: what waits, and what was not final, waits \
             again; give the files of transactions that were final to `taproof batch` once more",
        ))
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Intact { ahead: 0, .. } => write!(f, "ledger         intact"),
            Self::Intact { ahead, were_final } => {
                write!(f, "ledger         intact, and ahead by {} not anchored yet", counted(*ahead, "batch"))?;
                if *were_final == 0 {
                    return Ok(());
                }
                write!(
                    f,
                    "\n               {were_final} of them were final before a reorganisation below a final block: \
                     `taproof anchor run`\n               anchors them again where the chain takes them as they are; \
                     otherwise \
                     `taproof\n               rebuild --replace` makes the ledger anew without them"
                )
            }
            Self::Behind { ledger_stand, chain_stand, behind, replaced } => {
                let behind = counted(*behind, "batch");
                write!(f, "ledger         behind by {behind}, which the next `taproof batch` takes over")?;
                if *replaced > 0 {
                    write!(f, " in place of {replaced} of its own")?;
                }
                write!(f, "\n  here         {ledger_stand}\n  chain        {chain_stand}")
            }
            Self::Contradicts { ledger_stand, chain_stand } => {
                write!(
                    f,
                    "ledger         contradicts the chain\n  here         {ledger_stand}\n  chain        {chain_stand}"
                )
            }
        }
    }
}
