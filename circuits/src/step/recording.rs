//! The circuit of an operation, recorded once.
//!
//! [`StepCircuit`] is what [`Operation::synthesize`](super::Operation::synthesize) writes to. What is recorded runs in
//! every slot of every chunk, whichever operation the slot is of: each relation is multiplied by the bit that selects
//! the operation, each result is added to what the machine makes of the selected one.
//!
//! **Integers.** Amounts, tokens and supplies can be set to an [`Integer`] alone: a variable below a power of two. It
//! has no other source than the slot's pool of bits, the record, the cell before, constants, and what is made of these
//! without leaving the width, and nothing is set twice, which would add up. So whatever an operation does, no holding
//! leaves its width, and the machine's one rule of conservation holds for it.
//!
//! **The pool.** All operations share the bits of the pool. Each takes them from its start on; what the selected one
//! does not take is zero.

#[cfg(any(test, feature = "testing"))]
mod solve;

use super::registers::{REGISTERS_MAX, place};
use crate::{
    cs::{ConstraintSystem, LinearCombination, SegmentShape, Variable},
    gadgets::bits::{self, Bit},
};
use ark_bn254::Fr;
use ark_ff::Field;
use core::ops::{Add, Mul, Sub};

#[cfg(any(test, feature = "testing"))]
pub(crate) use solve::Guesses;

/// A linear combination of what a slot has.
pub type Expression = LinearCombination;

/// What every slot has, before the operation adds to it: the places of the locals. Local 0 is the constant one.
pub(super) mod local {
    pub(crate) const FLAGS: usize = 1;
    pub(crate) const CELL: usize = 9;
    pub(crate) const A: usize = 10;
    pub(crate) const B: usize = 11;
    pub(crate) const C: usize = 12;
    pub(crate) const WORD: usize = 13;
    pub(crate) const HEIGHT: usize = 14;
    pub(crate) const CHUNK_TOKEN: usize = 15;
    pub(crate) const TOKEN: usize = 16;
    pub(crate) const COUNT: usize = 17;
    pub(crate) const AMOUNT: usize = 18;
    pub(crate) const OWN: usize = 19;
    pub(crate) const SECOND_TOKEN: usize = 22;
    pub(crate) const SECOND_AMOUNT: usize = 23;
    pub(crate) const LANES: usize = 24;
    pub(crate) const KEY: usize = 27;
    pub(crate) const SIGNER: usize = 29;
    pub(crate) const REGISTERS: usize = 30;
    pub(crate) const COUNT_OF_INPUTS: usize = REGISTERS + super::REGISTERS_MAX;
}

/// What an operation can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The token of the first holding.
    Token,
    /// The nonce, or the supply.
    Count,
    /// The amount of the first holding.
    Amount,
    /// An element of the kind's own: 0, 1 or 2.
    Own(usize),
    /// The token of the second holding.
    SecondToken,
    /// The amount of the second holding.
    SecondAmount,
    /// A register, by its place.
    Register(usize),
    /// What is paid as a fee from the first holding, or from the second.
    Fee(usize),
    /// The limit that the signer sets.
    Limit,
    /// The last height that the signer allows.
    Until,
    /// The nonce or the ticket that a clause starts with.
    Number,
    /// Whether the number is a ticket.
    Purpose,
    /// One, where the slot's new key is used.
    UsesKey,
}

#[derive(Clone, Debug)]
enum Instruction {
    Relation(&'static str),
    /// The integer of the next bits of the pool, as a local.
    Integer(usize),
    /// A product, as a local.
    Product(Expression, Expression),
    Zero(Expression),
    Set(Target, Expression),
}

/// A variable below 2^width.
#[derive(Clone, Debug)]
pub struct Integer {
    expression: Expression,
    width_bits: usize,
}

impl Integer {
    /// A constant.
    pub fn constant(value: u128) -> Self {
        Self { expression: Fr::from(value).into(), width_bits: (u128::BITS - value.leading_zeros()) as usize }
    }

    /// The variable.
    pub fn expression(&self) -> Expression {
        self.expression.clone()
    }

    /// Integers side by side as one, the first in the lowest bits, each as wide as is said.
    ///
    /// # Panics
    /// If an integer is wider than that, or all together have more than 253 bits.
    pub fn pack<const N: usize>(parts: [(Self, usize); N]) -> Self {
        let (mut expression, mut width_bits) = (Expression::zero(), 0);
        for (part, width) in parts {
            assert!(part.width_bits <= width, "an integer of {} bits in {width}", part.width_bits);
            expression += part.expression * Fr::from(2u64).pow([width_bits as u64]);
            width_bits += width;
        }
        assert!(width_bits <= bits::WIDTH_BITS_MAX, "{width_bits} bits have one representation");
        Self { expression, width_bits }
    }
}

macro_rules! expression_operator {
    ($operator:ident, $method:ident) => {
        impl $operator for Integer {
            type Output = Expression;
            fn $method(self, other: Self) -> Expression {
                self.expression.$method(other.expression)
            }
        }
        impl $operator<Expression> for Integer {
            type Output = Expression;
            fn $method(self, other: Expression) -> Expression {
                self.expression.$method(other)
            }
        }
        impl $operator<Integer> for Expression {
            type Output = Expression;
            fn $method(self, other: Integer) -> Expression {
                self.$method(other.expression)
            }
        }
    };
}

expression_operator!(Add, add);
expression_operator!(Sub, sub);

impl Mul<Fr> for Integer {
    type Output = Expression;
    fn mul(self, factor: Fr) -> Expression {
        self.expression * factor
    }
}

impl From<Integer> for Expression {
    fn from(integer: Integer) -> Self {
        integer.expression
    }
}

/// Where an operation records its relations. The machine alone makes one: an integer of another circuit would be some
/// variable of this one.
#[derive(Debug)]
pub struct StepCircuit {
    instructions: Vec<Instruction>,
    locals: usize,
    bits: usize,
}

impl StepCircuit {
    /// Begins an operation.
    pub(super) fn new() -> Self {
        Self { instructions: Vec::new(), locals: local::COUNT_OF_INPUTS, bits: 0 }
    }
}

/// What the record says, and what the cell holds before.
impl StepCircuit {
    fn input(&self, place: usize, width_bits: usize) -> Integer {
        Integer { expression: SegmentShape::wire_at(place), width_bits }
    }

    /// A flag, one bit.
    ///
    /// # Panics
    /// If it is not one flag.
    pub fn flag(&self, flag: u8) -> Integer {
        assert_eq!(flag.count_ones(), 1, "one flag");
        self.input(local::FLAGS + flag.trailing_zeros() as usize, 1)
    }

    /// The cell's index.
    pub fn cell(&self) -> Integer {
        self.input(local::CELL, 32)
    }

    /// The record's first number.
    pub fn a(&self) -> Integer {
        self.input(local::A, 64)
    }

    /// The record's second number.
    pub fn b(&self) -> Integer {
        self.input(local::B, 64)
    }

    /// The record's third number.
    pub fn c(&self) -> Integer {
        self.input(local::C, 64)
    }

    /// The record's word.
    pub fn word(&self) -> Expression {
        SegmentShape::wire_at(local::WORD)
    }

    /// The height that the batch refers to.
    pub fn height(&self) -> Integer {
        self.input(local::HEIGHT, 32)
    }

    /// The token of the chunk's fees.
    pub fn chunk_token(&self) -> Integer {
        self.input(local::CHUNK_TOKEN, 32)
    }

    /// The token of the first holding before.
    pub fn token(&self) -> Integer {
        self.input(local::TOKEN, 32)
    }

    /// The nonce before, or the supply.
    pub fn count(&self) -> Integer {
        self.input(local::COUNT, 64)
    }

    /// The amount of the first holding before.
    pub fn amount(&self) -> Integer {
        self.input(local::AMOUNT, 64)
    }

    /// An element of the kind's own before: 0, 1 or 2.
    pub fn own(&self, number: usize) -> Expression {
        assert!(number < 3, "a kind has three elements of its own");
        SegmentShape::wire_at(local::OWN + number)
    }

    /// The token of the second holding before.
    pub fn second_token(&self) -> Integer {
        self.input(local::SECOND_TOKEN, 32)
    }

    /// The amount of the second holding before.
    pub fn second_amount(&self) -> Integer {
        self.input(local::SECOND_AMOUNT, 64)
    }

    /// What is in motion before the step of the token that the cell itself mints.
    pub fn lane_of_own(&self) -> Expression {
        SegmentShape::wire_at(local::LANES)
    }

    /// What is in motion before the step of the token that the first holding has after it.
    pub fn lane_of_first(&self) -> Expression {
        SegmentShape::wire_at(local::LANES + 1)
    }

    /// What is in motion before the step of the token that the second holding has after it.
    pub fn lane_of_second(&self) -> Expression {
        SegmentShape::wire_at(local::LANES + 2)
    }

    /// The token that a lane names before the step. It has 32 bits: what a lane names was the token of a holding, or
    /// the index of a cell.
    pub fn lane_token(&self, lane: usize) -> Integer {
        self.input(local::REGISTERS + place::LANE_TOKEN[lane], 32)
    }

    /// The account whose clause runs, the step's own if it starts one; 0 if none runs. The index of a cell, of 32 bits.
    pub fn signer(&self) -> Integer {
        self.input(local::SIGNER, 32)
    }

    /// A register before the step, by its place.
    pub(crate) fn register(&self, place: usize) -> Expression {
        assert!(place < REGISTERS_MAX, "a register");
        SegmentShape::wire_at(local::REGISTERS + place)
    }

    /// The coordinates of the signer's key.
    pub fn signer_key(&self) -> [Expression; 2] {
        [place::SIGNER_X, place::SIGNER_Y].map(|place| self.register(place))
    }
}

/// Relations.
impl StepCircuit {
    /// Names the relation that what follows belongs to.
    pub fn relation(&mut self, name: &'static str) {
        self.instructions.push(Instruction::Relation(name));
    }

    fn next_local(&mut self) -> Expression {
        self.locals += 1;
        SegmentShape::wire_at(self.locals - 1)
    }

    /// Takes an integer from the pool: as many bits, no row of its own. The rule gives its value by
    /// [`Step::integer`](super::Step::integer).
    pub fn integer(&mut self, width_bits: usize) -> Integer {
        self.bits += width_bits;
        self.instructions.push(Instruction::Integer(width_bits));
        Integer { expression: self.next_local(), width_bits }
    }

    /// A product, one row.
    pub fn product(&mut self, a: impl Into<Expression>, b: impl Into<Expression>) -> Expression {
        self.instructions.push(Instruction::Product(a.into(), b.into()));
        self.next_local()
    }

    /// One of two integers, as wide as the wider one; one row.
    ///
    /// # Panics
    /// If the condition is no bit.
    pub fn select(&mut self, condition: &Integer, if_one: &Integer, if_zero: &Integer) -> Integer {
        assert!(condition.width_bits <= 1, "a condition is a bit");
        let difference = if_one.clone() - if_zero.clone();
        let expression = self.product(difference, condition.clone()) + if_zero.clone();
        Integer { expression, width_bits: if_one.width_bits.max(if_zero.width_bits) }
    }

    /// Holds a combination to zero, one row.
    pub fn require_zero(&mut self, expression: impl Into<Expression>) {
        self.instructions.push(Instruction::Zero(expression.into()));
    }

    /// Holds two combinations equal, one row.
    pub fn require_equal(&mut self, left: impl Into<Expression>, right: impl Into<Expression>) {
        self.require_zero(left.into() - right.into());
    }

    /// Takes a combination that is an integer of that width; one row.
    pub fn range(&mut self, expression: impl Into<Expression>, width_bits: usize) -> Integer {
        let integer = self.integer(width_bits);
        self.require_equal(expression, integer.clone());
        integer
    }

    /// floor(a b / c) and the remainder, for factors whose product cannot wrap, a quotient below 2^`quotient_bits` and
    /// a divisor below 2^`divisor_bits`; five rows. Takes the quotient, the remainder, and what the remainder leaves
    /// below the divisor, in this order.
    pub fn multiply_divide(
        &mut self,
        [a, b]: [Expression; 2],
        c: impl Into<Expression>,
        quotient_bits: usize,
        divisor_bits: usize,
    ) -> [Integer; 2] {
        assert!(quotient_bits + divisor_bits < bits::WIDTH_BITS_MAX, "quotient times divisor does not wrap");
        let c = c.into();
        let [quotient, remainder] = [quotient_bits, divisor_bits].map(|width| self.integer(width));
        let dividend = self.product(a, b);
        let multiple = self.product(quotient.clone(), c.clone());
        self.require_zero(dividend - multiple - remainder.clone());
        self.range(c - remainder.clone() - Expression::one(), divisor_bits);
        [quotient, remainder]
    }

    /// Notes that the transaction owes a payment: so much of a token to an account, which RECEIVE makes with its flag
    /// [`DUE`](crate::ops::Receive::DUE). Nothing is owed to nobody, and a transaction owes two payments at a time at
    /// most. Takes 129 bits, nine rows. The operation writes [`Groups::DUES`](super::Groups::DUES).
    ///
    /// # Panics
    /// If account or token are wider than 32 bits, or the amount than 64.
    pub fn owe(&mut self, account: &Integer, token: &Integer, amount: &Integer) {
        assert!(account.width_bits <= 32 && token.width_bits <= 32 && amount.width_bits <= 64, "a payment's widths");
        let owed = place::DUE_AMOUNT.map(|place| self.register(place));
        let is_first = self.integer(1);
        let before_first = self.product(owed[0].clone(), is_first.clone());
        self.require_zero(before_first);
        self.range(owed[0].clone() - Expression::one() + is_first.clone(), 64);
        let is_second = Expression::one() - is_first.clone();
        let before_second = self.product(owed[1].clone(), is_second);
        self.require_zero(before_second);
        self.range(amount.clone() - Expression::one(), 64);
        for (places, value) in [(place::DUE_ACCOUNT, account), (place::DUE_TOKEN, token), (place::DUE_AMOUNT, amount)] {
            let [first, second] = places.map(|place| self.register(place));
            // What is not owed is zeros.
            let to_first = self.product(value.clone(), is_first.clone());
            self.set_register(places[1], second + value.clone() - to_first.clone());
            self.set_register(places[0], first + to_first);
        }
    }

    /// A point that is an owner's key, and posted as its x.
    pub fn new_key(&mut self) -> [Expression; 2] {
        self.set(Target::UsesKey, Expression::one());
        [local::KEY, local::KEY + 1].map(SegmentShape::wire_at)
    }
}

/// Results. Each is set once at most.
impl StepCircuit {
    fn set(&mut self, target: Target, value: impl Into<Expression>) {
        let is_same = |set: &Instruction| matches!(set, Instruction::Set(other, _) if *other == target);
        assert!(!self.instructions.iter().any(is_same), "{target:?} is set twice");
        self.instructions.push(Instruction::Set(target, value.into()));
    }

    fn set_integer(&mut self, target: Target, value: Integer, width_bits: usize) {
        assert!(value.width_bits <= width_bits, "{target:?} has {width_bits} bits, not {}", value.width_bits);
        self.set(target, value);
    }

    /// Sets the token of the first holding.
    pub fn set_token(&mut self, token: Integer) {
        self.set_integer(Target::Token, token, 32);
    }

    /// Sets the nonce of an account.
    pub fn set_nonce(&mut self, nonce: Integer) {
        self.set_integer(Target::Count, nonce, 32);
    }

    /// Sets what the cell has minted of its own token.
    pub fn set_supply(&mut self, supply: Integer) {
        self.set_integer(Target::Count, supply, 64);
    }

    /// Sets the amount of the first holding.
    pub fn set_amount(&mut self, amount: Integer) {
        self.set_integer(Target::Amount, amount, 64);
    }

    /// Sets the token of the second holding.
    pub fn set_second_token(&mut self, token: Integer) {
        self.set_integer(Target::SecondToken, token, 32);
    }

    /// Sets the amount of the second holding.
    pub fn set_second_amount(&mut self, amount: Integer) {
        self.set_integer(Target::SecondAmount, amount, 64);
    }

    /// Sets an element of the kind's own: 0, 1 or 2.
    pub fn set_own(&mut self, number: usize, element: impl Into<Expression>) {
        assert!(number < 3, "a kind has three elements of its own");
        self.set(Target::Own(number), element);
    }

    /// Pays a fee from the first holding (0) or the second (1), which must be in the chunk's token.
    pub(crate) fn add_fee(&mut self, holding: usize, fee: impl Into<Expression>) {
        self.set(Target::Fee(holding), fee);
    }

    /// Sets a register by its place.
    pub(crate) fn set_register(&mut self, place: usize, value: impl Into<Expression>) {
        assert!(place < REGISTERS_MAX, "a register");
        self.set(Target::Register(place), value);
    }

    /// Takes the least that the signer demands, and holds what is given to it: 128 bits, one row.
    pub fn demand(&mut self, given: impl Into<Expression>) {
        let least = self.integer(64);
        self.set(Target::Limit, least.clone());
        self.range(given.into() - least, 64);
    }

    /// Takes the last height that the signer allows, and holds the batch's to it: 64 bits, one row.
    pub(crate) fn until(&mut self) {
        let until = self.integer(32);
        self.set(Target::Until, until.clone());
        self.range(until - self.height(), 32);
    }

    /// What a clause starts with.
    pub(crate) fn start(&mut self, number: impl Into<Expression>, is_ticket: Integer) {
        self.set(Target::Number, number);
        self.set(Target::Purpose, is_ticket);
    }
}

/// What the operations of a slot set, summed over all of them: only the selected one adds anything.
pub(crate) struct Sums<V> {
    /// By how much token, count, amount, own elements, second token and second amount change, in this order.
    pub(crate) cell: [V; 8],
    /// By how much the registers change.
    pub(crate) registers: Vec<V>,
    pub(crate) fees: [V; 2],
    pub(crate) limit: V,
    pub(crate) until: V,
    pub(crate) number: V,
    pub(crate) purpose: V,
    pub(crate) uses_key: V,
}

impl<V: Variable> Sums<V> {
    pub(crate) fn zero() -> Self {
        let zero = V::zero;
        Self {
            cell: core::array::from_fn(|_| zero()),
            registers: vec![zero(); REGISTERS_MAX],
            fees: [zero(), zero()],
            limit: zero(),
            until: zero(),
            number: zero(),
            purpose: zero(),
            uses_key: zero(),
        }
    }

    /// Where a target's sum is, and the local that it changes, if it is one that stays otherwise.
    fn of(&mut self, target: Target) -> (&mut V, Option<usize>) {
        match target {
            Target::Token => (&mut self.cell[0], Some(local::TOKEN)),
            Target::Count => (&mut self.cell[1], Some(local::COUNT)),
            Target::Amount => (&mut self.cell[2], Some(local::AMOUNT)),
            Target::Own(number) => (&mut self.cell[3 + number], Some(local::OWN + number)),
            Target::SecondToken => (&mut self.cell[6], Some(local::SECOND_TOKEN)),
            Target::SecondAmount => (&mut self.cell[7], Some(local::SECOND_AMOUNT)),
            Target::Register(place) => (&mut self.registers[place], Some(local::REGISTERS + place)),
            Target::Fee(holding) => (&mut self.fees[holding], None),
            Target::Limit => (&mut self.limit, None),
            Target::Until => (&mut self.until, None),
            Target::Number => (&mut self.number, None),
            Target::Purpose => (&mut self.purpose, None),
            Target::UsesKey => (&mut self.uses_key, None),
        }
    }
}

impl StepCircuit {
    /// The bits that the operation takes from the pool.
    pub(crate) fn bit_count(&self) -> usize {
        self.bits
    }

    /// Runs what is recorded in a slot, whose inputs are `inputs`: relations hold where `selected` is one.
    ///
    /// # Panics
    /// If there are other inputs than every slot has, or too few bits.
    pub(crate) fn run<CS: ConstraintSystem>(
        &self,
        cs: &mut CS,
        selected: &Bit<CS::Var>,
        inputs: &[CS::Var],
        pool: &[Bit<CS::Var>],
        sums: &mut Sums<CS::Var>,
    ) {
        assert_eq!(inputs.len(), local::COUNT_OF_INPUTS, "the inputs of every slot");
        let mut locals = inputs.to_vec();
        let mut rest = pool;
        for instruction in &self.instructions {
            match instruction {
                Instruction::Relation(name) => cs.relation(name),
                Instruction::Integer(width) => {
                    let (taken, after) = rest.split_at(*width);
                    rest = after;
                    locals.push(bits::compose(taken));
                }
                Instruction::Product(a, b) => {
                    let [a, b] = [a, b].map(|factor| evaluate(factor, &locals));
                    locals.push(cs.product(&a, &b));
                }
                Instruction::Zero(expression) => {
                    cs.enforce(&evaluate(expression, &locals), selected.var(), &CS::Var::zero());
                }
                Instruction::Set(target, value) => {
                    let (sum, changes) = sums.of(*target);
                    let mut value = evaluate(value, &locals);
                    if let Some(before) = changes {
                        value = value - locals[before].clone();
                    }
                    *sum += cs.product(&value, selected.var());
                }
            }
        }
        cs.relation("S9, bits that the operation does not take");
        let unused = rest.iter().fold(CS::Var::zero(), |sum, bit| sum + bit.var().clone());
        cs.enforce(&unused, selected.var(), &CS::Var::zero());
    }
}

/// The value of a combination of locals.
fn evaluate<V: Variable>(expression: &Expression, locals: &[V]) -> V {
    let mut sum = V::zero();
    for (place, coefficient) in expression.terms() {
        let local = &locals[*place as usize];
        sum += if *coefficient == Fr::ONE { local.clone() } else { local.clone() * *coefficient };
    }
    sum
}
