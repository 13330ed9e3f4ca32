//! A trace that lies: chosen wires get other values, and every later hint follows from the lie.

use crate::cs::{ConstraintSystem, Variable};
use ark_bn254::Fr;

/// One wire and what it is made to hold.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lie {
    /// A wire by its place.
    At {
        /// The relation after whose heading the wire is added.
        relation: &'static str,
        /// Which wire of those after the heading, from 0.
        wire: usize,
        /// What it holds.
        forged: Fr,
    },
    /// The first wire that would hold a value.
    First {
        /// What it would hold.
        honest: Fr,
        /// What it holds.
        forged: Fr,
    },
}

/// Runs on another back end and replaces what some wires hold.
pub(super) struct Forge<'a, CS> {
    inner: &'a mut CS,
    lies: Vec<Lie>,
    relation: &'static str,
    wires: usize,
}

impl<'a, CS> Forge<'a, CS> {
    pub(super) fn new(inner: &'a mut CS, lies: &[Lie]) -> Self {
        Self { inner, lies: lies.to_vec(), relation: "", wires: 0 }
    }

    /// Checks that every lie found its wire.
    pub(super) fn finish(self) {
        assert!(self.lies.is_empty(), "no wire for {:?}", self.lies);
    }
}

impl<V: Variable, CS: ConstraintSystem<Var = V>> ConstraintSystem for Forge<'_, CS> {
    type Var = V;

    fn witness(&mut self, value: Fr) -> V {
        let here = |lie: &Lie| match lie {
            Lie::At { relation, wire, .. } => (*relation, *wire) == (self.relation, self.wires),
            Lie::First { honest, .. } => *honest == value,
        };
        let told = self.lies.iter().position(here).map(|lie| self.lies.swap_remove(lie));
        self.wires += 1;
        self.inner.witness(match told {
            Some(Lie::At { forged, .. } | Lie::First { forged, .. }) => forged,
            None => value,
        })
    }

    fn value(&self, var: &V) -> Fr {
        self.inner.value(var)
    }

    fn enforce(&mut self, a: &V, b: &V, c: &V) {
        self.inner.enforce(a, b, c);
    }

    fn relation(&mut self, name: &'static str) {
        (self.relation, self.wires) = (name, 0);
        self.inner.relation(name);
    }
}
