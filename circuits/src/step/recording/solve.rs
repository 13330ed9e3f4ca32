//! What a prover could give an operation's circuit: all integers from the pool with which its relations hold.
//!
//! An integer is computed where a relation fixes it: as what is left of a sum, one of several side by side, or as
//! quotient and remainder of a division. Bits that nothing fixes are tried both ways, and a wider integer that nothing
//! fixes before it is multiplied is guessed by the caller. So what is found does not depend on what the rule computes,
//! and an integer that nothing holds is found with more than one value.

use super::{Expression, Instruction, StepCircuit};
use crate::step::PoolInteger;
use ark_bn254::Fr;
use ark_ff::{AdditiveGroup, Field, PrimeField};
use num_bigint::BigUint;
use std::collections::{BTreeMap, BTreeSet};

/// By the number of an integer among those of the operation, what it may be.
pub(crate) type Guesses = BTreeMap<usize, Vec<u128>>;

/// An integer or a product that may not be known yet.
#[derive(Clone, Copy)]
enum Unknown {
    /// Of so many bits.
    Integer { width_bits: usize },
    /// The product of an instruction.
    Product(usize),
}

/// The relations do not hold.
struct Contradiction;

/// A search: which locals are known, and to be what.
#[derive(Clone)]
struct Search<'a> {
    circuit: &'a StepCircuit,
    guesses: &'a Guesses,
    locals: Vec<Option<Fr>>,
    /// What the locals after the inputs are.
    unknowns: &'a [Unknown],
    inputs: usize,
}

fn big(value: Fr) -> BigUint {
    value.into_bigint().into()
}

impl StepCircuit {
    /// The relations that hold something, by their names.
    pub(crate) fn relations(&self) -> BTreeSet<&'static str> {
        let (mut all, mut current) = (BTreeSet::new(), "");
        for instruction in &self.instructions {
            match instruction {
                Instruction::Relation(name) => current = name,
                Instruction::Zero(_) => {
                    all.insert(current);
                }
                _ => {}
            }
        }
        all
    }

    /// All integers with which the relations hold in a slot with these inputs, as far as the guesses reach.
    pub(crate) fn solutions(&self, inputs: &[Fr], guesses: &Guesses) -> Vec<Vec<PoolInteger>> {
        assert_eq!(inputs.len(), super::local::COUNT_OF_INPUTS, "the inputs of every slot");
        let unknowns = self.instructions.iter().enumerate().filter_map(|(place, instruction)| match instruction {
            Instruction::Integer(width) => Some(Unknown::Integer { width_bits: *width }),
            Instruction::Product(..) => Some(Unknown::Product(place)),
            _ => None,
        });
        let unknowns: Vec<_> = unknowns.collect();
        let mut locals: Vec<_> = inputs.iter().copied().map(Some).collect();
        locals.resize(self.locals, None);
        let search = Search { circuit: self, guesses, locals, unknowns: &unknowns, inputs: inputs.len() };
        let mut found = Vec::new();
        search.run(&mut found);
        found
    }
}

impl Search<'_> {
    fn unknown(&self, local: usize) -> Unknown {
        self.unknowns[local - self.inputs]
    }

    fn integers(&self) -> impl Iterator<Item = (usize, usize)> {
        self.unknowns.iter().enumerate().filter_map(|(place, unknown)| match unknown {
            Unknown::Integer { width_bits } => Some((self.inputs + place, *width_bits)),
            Unknown::Product(_) => None,
        })
    }

    /// What a combination is, less the terms that are not known.
    fn split(&self, expression: &Expression) -> (Fr, Vec<(usize, Fr)>) {
        let (mut known, mut rest) = (Fr::ZERO, Vec::new());
        for (place, coefficient) in expression.terms() {
            match self.locals[*place as usize] {
                Some(value) => known += value * coefficient,
                None => rest.push((*place as usize, *coefficient)),
            }
        }
        (known, rest)
    }

    fn value(&self, expression: &Expression) -> Option<Fr> {
        let (known, rest) = self.split(expression);
        rest.is_empty().then_some(known)
    }

    fn run(mut self, found: &mut Vec<Vec<PoolInteger>>) {
        loop {
            match self.propagate() {
                Err(Contradiction) => return,
                Ok(true) => {}
                Ok(false) => break,
            }
        }
        let open = |(_, (local, _)): &(usize, (usize, usize))| self.locals[*local].is_none();
        // Bits are tried before anything is guessed.
        let bit = self.integers().enumerate().filter(open).find(|(_, (_, width))| *width == 1);
        let Some((number, (local, width_bits))) = bit.or_else(|| self.integers().enumerate().find(open)) else {
            let value = |local: usize| big(self.locals[local].expect("known")).try_into().expect("at most 128 bits");
            let integers = self.integers().map(|(local, width_bits)| PoolInteger { value: value(local), width_bits });
            found.push(integers.collect());
            return;
        };
        let guesses = match self.guesses.get(&number) {
            _ if width_bits == 1 => vec![0, 1],
            Some(guesses) => guesses.clone(),
            None => panic!("integer {number} of {width_bits} bits needs a guess"),
        };
        let fits = |guess: &u128| width_bits >= 128 || guess >> width_bits == 0;
        for guess in guesses.into_iter().filter(fits).collect::<BTreeSet<_>>() {
            let mut branch = self.clone();
            branch.locals[local] = Some(Fr::from(guess));
            branch.run(found);
        }
    }

    /// Computes what follows from what is known; says whether anything did.
    fn propagate(&mut self) -> Result<bool, Contradiction> {
        let (mut next, mut changed) = (self.inputs, false);
        let circuit = self.circuit;
        for instruction in &circuit.instructions {
            match instruction {
                Instruction::Integer(_) => next += 1,
                Instruction::Product(a, b) => {
                    if self.locals[next].is_none() {
                        let product = match (self.value(a), self.value(b)) {
                            (Some(a), Some(b)) => Some(a * b),
                            (Some(zero), _) | (_, Some(zero)) if zero == Fr::ZERO => Some(zero),
                            _ => None,
                        };
                        changed |= product.is_some();
                        self.locals[next] = product;
                    }
                    next += 1;
                }
                Instruction::Zero(expression) => {
                    let (known, rest) = self.split(expression);
                    if rest.is_empty() {
                        if known != Fr::ZERO {
                            return Err(Contradiction);
                        }
                    } else {
                        changed |= self.fix(-known, &rest)? || self.divide(-known, &rest)?;
                    }
                }
                Instruction::Relation(_) | Instruction::Set(..) => {}
            }
        }
        Ok(changed)
    }

    /// Fixes integers that stand side by side in a sum. Says whether they do.
    fn fix(&mut self, sum: Fr, terms: &[(usize, Fr)]) -> Result<bool, Contradiction> {
        let mut places = Vec::new();
        for (local, coefficient) in terms {
            let Unknown::Integer { width_bits } = self.unknown(*local) else { return Ok(false) };
            places.push((*local, *coefficient, width_bits));
        }
        let power = |factor: Fr| Some(big(factor)).filter(|factor| factor.count_ones() == 1)?.trailing_zeros();
        // All coefficients have one sign.
        let sign = if power(places[0].1).is_some() { Fr::ONE } else { -Fr::ONE };
        let mut parts = Vec::new();
        for (local, coefficient, width) in places {
            let Some(lowest) = power(coefficient * sign) else { return Ok(false) };
            parts.push((lowest, width as u64, local));
        }
        parts.sort_unstable();
        if parts.windows(2).any(|pair| pair[0].0 + pair[0].1 > pair[1].0) {
            return Ok(false);
        }
        let mut rest = big(sum * sign);
        for (lowest, width, local) in parts {
            let value = (&rest >> lowest) & ((BigUint::from(1u8) << width) - 1u8);
            rest -= &value << lowest;
            self.locals[local] = Some(Fr::from(value));
        }
        if rest == BigUint::ZERO { Ok(true) } else { Err(Contradiction) }
    }

    /// quotient divisor + remainder = dividend, or the same with the other sign, where the divisor is known and the
    /// remainder is held below it.
    fn divide(&mut self, dividend: Fr, terms: &[(usize, Fr)]) -> Result<bool, Contradiction> {
        let [one, other] = terms else { return Ok(false) };
        let (product, factor, (remainder, sign)) = match (self.unknown(one.0), self.unknown(other.0)) {
            (Unknown::Product(product), Unknown::Integer { .. }) => (product, one.1, *other),
            (Unknown::Integer { .. }, Unknown::Product(product)) => (product, other.1, *one),
            _ => return Ok(false),
        };
        let Instruction::Product(a, b) = &self.circuit.instructions[product] else { return Ok(false) };
        let (quotient, divisor) = match (self.value(a), self.value(b)) {
            (None, Some(divisor)) => (a, divisor),
            (Some(divisor), None) => (b, divisor),
            _ => return Ok(false),
        };
        let (constant, integers) = self.split(quotient);
        let divisor = big(divisor * factor * sign);
        if ![Fr::ONE, -Fr::ONE].contains(&sign) || !self.is_below(remainder, &divisor) {
            return Ok(false);
        }
        let dividend = big(dividend * sign);
        let whole = &dividend / &divisor;
        let left = &dividend - &whole * &divisor;
        Ok(self.fix(Fr::from(whole) - constant, &integers)? && self.fix(Fr::from(left), &[(remainder, Fr::ONE)])?)
    }

    /// Whether a relation holds an integer below a bound: bound' - 1 - integer is an integer, and bound' is no more.
    fn is_below(&self, integer: usize, bound: &BigUint) -> bool {
        self.circuit.instructions.iter().any(|instruction| {
            let Instruction::Zero(expression) = instruction else { return false };
            let (known, rest) = self.split(expression);
            let [(one, first), (other, second)] = rest[..] else { return false };
            let are_integers = [one, other].iter().all(|local| matches!(self.unknown(*local), Unknown::Integer { .. }));
            let is_sum = first == second && [Fr::ONE, -Fr::ONE].contains(&first);
            are_integers && is_sum && [one, other].contains(&integer) && big(known * -first) < *bound
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Integer;

    /// The values of the integers of each solution, in a slot in which everything is zero but b, which is 100, and c,
    /// which is 7.
    fn values(circuit: &StepCircuit, guesses: &Guesses) -> Vec<Vec<u128>> {
        let mut inputs = vec![Fr::ZERO; super::super::local::COUNT_OF_INPUTS];
        inputs[0] = Fr::ONE;
        inputs[super::super::local::B] = Fr::from(100u64);
        inputs[super::super::local::C] = Fr::from(7u64);
        let solutions = circuit.solutions(&inputs, guesses);
        solutions.iter().map(|integers| integers.iter().map(|integer| integer.value).collect()).collect()
    }

    #[test]
    fn what_relations_fix_is_computed() {
        let none = Guesses::new();
        let mut circuit = StepCircuit::new();
        circuit.relation("a sum");
        circuit.range(circuit.b() - circuit.c(), 8);
        circuit.relation("a division");
        circuit.multiply_divide([circuit.b().expression(), circuit.b().expression()], circuit.c(), 16, 8);
        circuit.relation("side by side");
        let parts = [3, 5].map(|width| circuit.integer(width));
        let [low, high] = parts.clone();
        circuit.require_equal(circuit.b(), Integer::pack([(low, 3), (high, 5)]));
        circuit.relation("nothing");
        assert_eq!(values(&circuit, &none), [[93, 1_428, 4, 2, 4, 12]]);
        assert_eq!(circuit.relations(), BTreeSet::from(["a sum", "a division", "side by side"]));
        // 100 has 7 bits, 7 - 100 none.
        for (difference, width) in [(circuit.b().expression(), 6), (circuit.c() - circuit.b(), 8)] {
            let mut circuit = StepCircuit::new();
            circuit.range(difference, width);
            assert_eq!(values(&circuit, &none), [[]; 0] as [[u128; 0]; 0]);
        }
    }

    #[test]
    fn what_nothing_holds_has_more_than_one_value() {
        let mut circuit = StepCircuit::new();
        let bit = circuit.integer(1);
        let wide = circuit.integer(8);
        let product = circuit.product(wide, bit);
        circuit.require_equal(product, circuit.c());
        let guesses = Guesses::from([(1, vec![6, 7, 8, 300])]);
        assert_eq!(values(&circuit, &guesses), [[1, 7]]);
        let mut circuit = StepCircuit::new();
        circuit.integer(1);
        assert_eq!(values(&circuit, &guesses), [[0], [1]]);
    }

    /// A division whose remainder is held below nothing is none.
    #[test]
    #[should_panic(expected = "integer 0 of 8 bits needs a guess")]
    fn a_remainder_below_nothing_leaves_a_choice() {
        let mut circuit = StepCircuit::new();
        let [quotient, remainder] = [8, 8].map(|width| circuit.integer(width));
        let multiple = circuit.product(quotient, circuit.c());
        circuit.require_equal(circuit.b(), multiple + remainder);
        values(&circuit, &Guesses::new());
    }
}
