//! A trace that lies: chosen wires get other values, and every later hint follows from the lie.

use crate::cs::{ConstraintSystem, Variable};
use ark_bn254::Fr;

/// Runs on another back end and replaces what some wires hold.
pub(super) struct Forge<'a, CS> {
    inner: &'a mut CS,
    /// An honest value and the one that replaces it at the first wire that would hold it.
    lie: Option<(Fr, Fr)>,
}

impl<'a, CS> Forge<'a, CS> {
    pub(super) fn new(inner: &'a mut CS, lie: Option<(Fr, Fr)>) -> Self {
        Self { inner, lie }
    }

    /// Whether some wire held the honest value.
    pub(super) fn told(&self) -> bool {
        self.lie.is_none()
    }
}

impl<V: Variable, CS: ConstraintSystem<Var = V>> ConstraintSystem for Forge<'_, CS> {
    type Var = V;

    fn witness(&mut self, value: Fr) -> V {
        match self.lie {
            Some((honest, forged)) if honest == value => {
                self.lie = None;
                self.inner.witness(forged)
            }
            _ => self.inner.witness(value),
        }
    }

    fn value(&self, var: &V) -> Fr {
        self.inner.value(var)
    }

    fn enforce(&mut self, a: &V, b: &V, c: &V) {
        self.inner.enforce(a, b, c);
    }

    fn relation(&mut self, name: &'static str) {
        self.inner.relation(name);
    }
}
