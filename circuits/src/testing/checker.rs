//! A back end that keeps nothing but which relations do not hold, for tests that run very many slots.

use crate::cs::ConstraintSystem;
use ark_bn254::Fr;
use std::collections::BTreeSet;

/// Checks each row as it comes.
#[derive(Debug, Default)]
pub(crate) struct Checker {
    relation: &'static str,
    broken: BTreeSet<&'static str>,
}

impl Checker {
    /// The relations that some row violates.
    pub(crate) fn finish(self) -> BTreeSet<&'static str> {
        self.broken
    }
}

impl ConstraintSystem for Checker {
    type Var = Fr;

    fn witness(&mut self, value: Fr) -> Fr {
        value
    }

    fn value(&self, var: &Fr) -> Fr {
        *var
    }

    fn enforce(&mut self, a: &Fr, b: &Fr, c: &Fr) {
        if *a * b != *c {
            self.broken.insert(self.relation);
        }
    }

    fn relation(&mut self, name: &'static str) {
        self.relation = name;
    }
}
