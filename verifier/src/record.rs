//! Public records: what a transition posts, one type for each kind.
//!
//! A record holds all that a reader needs to replay the transition. In a proof it stands as field elements, the
//! first of which packs an active bit and the record's integers, lowest first; a padding slot is zeros, so
//! the active bit tells it from every record.

use crate::{
    baby_jubjub::PublicKey,
    cell::CellIndex,
    field::{from_short_bytes, pack},
    poseidon2::{Domain, hash},
};
use alloc::vec::Vec;
use ark_bn254::Fr;
use ark_ff::AdditiveGroup;

mod step;

#[cfg(test)]
pub(crate) use step::tests::example_records;
pub use step::{Evidence, StepError, StepRecord, StepRecords};

/// A kind of transition.
///
/// Whoever tells kinds apart names each: a further one changes the protocol, and every place that has something to say
/// about kinds, none of which compiles until it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Credits a deposit on Bitcoin to an empty cell or to one of the same owner.
    Deposit = 1,
    /// Pays from one account to another.
    Transfer = 2,
    /// Pays from an account into an empty cell, which becomes the account of a named owner.
    Open = 3,
    /// Pays from an account to an output on Bitcoin.
    Withdraw = 4,
    /// Runs an operation on a cell.
    Step = 5,
}

impl Kind {
    /// The kinds of payments, in the order of their numbers: a program has each of them at each of its depths.
    pub const PAYMENTS: [Self; 4] = [Self::Deposit, Self::Transfer, Self::Open, Self::Withdraw];

    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 5] = {
        // A further kind does not compile until it is named here, and so in the list below.
        match Self::Deposit {
            Self::Deposit | Self::Transfer | Self::Open | Self::Withdraw | Self::Step => {}
        }
        [Self::Deposit, Self::Transfer, Self::Open, Self::Withdraw, Self::Step]
    };

    /// The kind of that number, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == number)
    }

    /// The version of the circuits of this kind that the prover beside this verifier makes proofs for. A verifier
    /// takes any version that is part of a program.
    pub fn circuit_version(self) -> u16 {
        match self {
            Self::Deposit | Self::Transfer | Self::Open | Self::Withdraw | Self::Step => 1,
        }
    }

    /// The kind's name, lower-case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deposit => "deposit",
            Self::Transfer => "transfer",
            Self::Open => "open",
            Self::Withdraw => "withdraw",
            Self::Step => "step",
        }
    }

    /// How many field elements a record of this kind is in a proof.
    pub fn elements_per_record(self) -> usize {
        match self {
            Self::Transfer => 1,
            Self::Deposit | Self::Open | Self::Step => 2,
            Self::Withdraw => 3,
        }
    }

    /// Whether slots of this kind pay a fee, which the chunk credits to the operator's cell.
    pub fn pays_fee(self) -> bool {
        match self {
            Self::Deposit => false,
            Self::Transfer | Self::Open | Self::Withdraw | Self::Step => true,
        }
    }
}

impl core::fmt::Display for Kind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

/// A deposit on Bitcoin, credited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct DepositRecord {
    /// The cell that is credited: empty, or an account of `owner` in bitcoin.
    pub to: CellIndex,
    /// The amount, in satoshi.
    pub amount_sat: u64,
    /// The key that the deposit named.
    pub owner: PublicKey,
}

/// A payment from one account to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct TransferRecord {
    /// The account that pays.
    pub from: CellIndex,
    /// The account that is paid.
    pub to: CellIndex,
    /// The amount paid, in the token's smallest unit.
    pub amount: u64,
    /// The fee for the operator, in the same unit, on top of the amount.
    pub fee: u64,
}

/// A payment that opens an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct OpenRecord {
    /// The account that pays.
    pub from: CellIndex,
    /// The empty cell that becomes an account.
    pub to: CellIndex,
    /// The new account's first balance.
    pub amount: u64,
    /// The fee for the operator.
    pub fee: u64,
    /// The new account's owner.
    pub owner: PublicKey,
}

/// A payment to an output on Bitcoin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct WithdrawRecord {
    /// The account that pays.
    pub from: CellIndex,
    /// The amount to be paid out.
    pub amount: u64,
    /// The fee for the operator.
    pub fee: u64,
    /// Where on Bitcoin it is to be paid.
    pub destination: Destination,
}

/// What on Bitcoin a withdrawal pays to: a witness program (BIP-141, BIP-341), or a hash of a key or a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Destination {
    /// Version 0, 20 bytes: a key hash.
    P2wpkh(#[cfg_attr(feature = "serde", serde(with = "crate::serde_form::byte_array"))] [u8; 20]),
    /// Version 0, 32 bytes: a script hash.
    P2wsh(#[cfg_attr(feature = "serde", serde(with = "crate::serde_form::byte_array"))] [u8; 32]),
    /// Version 1, 32 bytes: an output key.
    P2tr(#[cfg_attr(feature = "serde", serde(with = "crate::serde_form::byte_array"))] [u8; 32]),
    /// No witness program, 20 bytes: a key hash.
    P2pkh(#[cfg_attr(feature = "serde", serde(with = "crate::serde_form::byte_array"))] [u8; 20]),
    /// No witness program, 20 bytes: a script hash.
    P2sh(#[cfg_attr(feature = "serde", serde(with = "crate::serde_form::byte_array"))] [u8; 20]),
}

impl Destination {
    /// The number of types: each has a number below.
    pub const TYPES: u8 = 5;

    /// The destination of that number and program; `None` if no type has the number, or its program another length.
    pub fn new(number: u8, program: &[u8]) -> Option<Self> {
        match number {
            0 => program.try_into().ok().map(Self::P2wpkh),
            1 => program.try_into().ok().map(Self::P2wsh),
            2 => program.try_into().ok().map(Self::P2tr),
            3 => program.try_into().ok().map(Self::P2pkh),
            4 => program.try_into().ok().map(Self::P2sh),
            _ => None,
        }
    }

    /// The length of the program of the type with that number, if there is one.
    pub fn program_length(number: u8) -> Option<usize> {
        match number {
            0 | 3 | 4 => Some(20),
            1 | 2 => Some(32),
            _ => None,
        }
    }

    /// The type's number: 0 to 4 in the order of the variants.
    pub fn number(&self) -> u8 {
        match self {
            Self::P2wpkh(_) => 0,
            Self::P2wsh(_) => 1,
            Self::P2tr(_) => 2,
            Self::P2pkh(_) => 3,
            Self::P2sh(_) => 4,
        }
    }

    /// The program, which is the hash where there is no witness program: 20 or 32 bytes.
    pub fn program(&self) -> &[u8] {
        match self {
            Self::P2wpkh(program) | Self::P2pkh(program) | Self::P2sh(program) => program,
            Self::P2wsh(program) | Self::P2tr(program) => program,
        }
    }

    /// The least that is paid out to it, in satoshi: less is dust, and nodes relay no transaction with dust. No exit
    /// request can demand less. A due payout below this is passed over: its index counts as paid, and the money stays
    /// with the bridge.
    pub fn payout_min_sat(&self) -> u64 {
        match self {
            Self::P2wpkh(_) | Self::P2wsh(_) | Self::P2tr(_) => 330,
            Self::P2pkh(_) => 546,
            Self::P2sh(_) => 540,
        }
    }

    /// The program as elements: its first 20 bytes and its last 12, zeros where there are none, each a little-endian
    /// integer.
    pub fn elements(&self) -> [Fr; 2] {
        let (head, tail) = self.program().split_at(20);
        [from_short_bytes(head), from_short_bytes(tail)]
    }

    /// The destination that an output script pays to, if it is one of these.
    pub fn from_script_pubkey(script: &bitcoin::Script) -> Option<Self> {
        match script.as_bytes() {
            [0x00, 20, program @ ..] => Self::new(0, program),
            [0x00, 32, program @ ..] => Self::new(1, program),
            [0x51, 32, program @ ..] => Self::new(2, program),
            [0x76, 0xa9, 20, hash @ .., 0x88, 0xac] => Self::new(3, hash),
            [0xa9, 20, hash @ .., 0x87] => Self::new(4, hash),
            _ => None,
        }
    }

    /// The output script that a payout must carry.
    pub fn script_pubkey(&self) -> bitcoin::ScriptBuf {
        let (before, after): (&[u8], &[u8]) = match self {
            Self::P2wpkh(_) => (&[0x00, 20], &[]),
            Self::P2wsh(_) => (&[0x00, 32], &[]),
            Self::P2tr(_) => (&[0x51, 32], &[]),
            Self::P2pkh(_) => (&[0x76, 0xa9, 20], &[0x88, 0xac]),
            Self::P2sh(_) => (&[0xa9, 20], &[0x87]),
        };
        [before, self.program(), after].concat().into()
    }
}

/// A record as it stands in a proof.
pub trait Record: Copy + core::fmt::Debug + PartialEq {
    /// The kind of transition.
    const KIND: Kind;

    /// Appends the record's [`Kind::elements_per_record`] elements.
    fn write_elements(&self, out: &mut Vec<Fr>);
}

impl Record for DepositRecord {
    const KIND: Kind = Kind::Deposit;

    /// Packs 1 (1 bit), to (32), amount (64); then the owner's x.
    fn write_elements(&self, out: &mut Vec<Fr>) {
        out.extend([pack([(1, 1), (self.to.get().into(), 32), (self.amount_sat, 64)]), self.owner.x()]);
    }
}

impl Record for TransferRecord {
    const KIND: Kind = Kind::Transfer;

    /// Packs 1 (1 bit), from (32), to (32), amount (64), fee (64).
    fn write_elements(&self, out: &mut Vec<Fr>) {
        out.push(pack_payment(self.from, self.to, self.amount, self.fee));
    }
}

impl Record for OpenRecord {
    const KIND: Kind = Kind::Open;

    /// Packs 1 (1 bit), from (32), to (32), amount (64), fee (64); then the owner's x.
    fn write_elements(&self, out: &mut Vec<Fr>) {
        out.extend([pack_payment(self.from, self.to, self.amount, self.fee), self.owner.x()]);
    }
}

impl Record for WithdrawRecord {
    const KIND: Kind = Kind::Withdraw;

    /// Packs 1 (1 bit), from (32), the destination's number (32), amount (64), fee (64); then
    /// [`Destination::elements`].
    fn write_elements(&self, out: &mut Vec<Fr>) {
        let number = self.destination.number();
        let parts = [(1, 1), (self.from.get().into(), 32), (number.into(), 32), (self.amount, 64), (self.fee, 64)];
        out.push(pack(parts));
        out.extend(self.destination.elements());
    }
}

fn pack_payment(from: CellIndex, to: CellIndex, amount: u64, fee: u64) -> Fr {
    pack([(1, 1), (from.get().into(), 32), (to.get().into(), 32), (amount, 64), (fee, 64)])
}

/// The records of one chunk: all of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Records {
    /// Deposits.
    Deposit(Vec<DepositRecord>),
    /// Transfers.
    Transfer(Vec<TransferRecord>),
    /// Openings.
    Open(Vec<OpenRecord>),
    /// Withdrawals.
    Withdraw(Vec<WithdrawRecord>),
    /// Steps.
    Step(StepRecords),
}

impl Records {
    /// The kind of all these records.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Deposit(_) => Kind::Deposit,
            Self::Transfer(_) => Kind::Transfer,
            Self::Open(_) => Kind::Open,
            Self::Withdraw(_) => Kind::Withdraw,
            Self::Step(_) => Kind::Step,
        }
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Deposit(records) => records.len(),
            Self::Transfer(records) => records.len(),
            Self::Open(records) => records.len(),
            Self::Withdraw(records) => records.len(),
            Self::Step(steps) => steps.records().len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The records if they are deposits, else none.
    pub fn deposits(&self) -> &[DepositRecord] {
        match self {
            Self::Deposit(records) => records,
            Self::Transfer(_) | Self::Open(_) | Self::Withdraw(_) | Self::Step(_) => &[],
        }
    }

    /// The records if they are withdrawals, else none.
    pub fn withdrawals(&self) -> &[WithdrawRecord] {
        match self {
            Self::Withdraw(records) => records,
            Self::Deposit(_) | Self::Transfer(_) | Self::Open(_) | Self::Step(_) => &[],
        }
    }

    /// Every cell that a record names, in order.
    pub fn cells(&self) -> impl Iterator<Item = CellIndex> + '_ {
        (0..self.len()).flat_map(move |i| {
            let (first, second) = match self {
                Self::Deposit(records) => (records[i].to, None),
                Self::Transfer(records) => (records[i].from, Some(records[i].to)),
                Self::Open(records) => (records[i].from, Some(records[i].to)),
                Self::Withdraw(records) => (records[i].from, None),
                Self::Step(steps) => (steps.records()[i].cell, None),
            };
            core::iter::once(first).chain(second)
        })
    }

    /// The digest that a chunk of `slots` slots proves: [`hash`] in [`Domain::Data`] of the elements of all slots,
    /// those of padding slots zero. `None` if there are more records than slots.
    pub fn digest(&self, slots: u16) -> Option<Fr> {
        if self.len() > usize::from(slots) {
            return None;
        }
        let length = usize::from(slots) * self.kind().elements_per_record();
        let mut elements = Vec::with_capacity(length);
        match self {
            Self::Deposit(records) => write_all(records, &mut elements),
            Self::Transfer(records) => write_all(records, &mut elements),
            Self::Open(records) => write_all(records, &mut elements),
            Self::Withdraw(records) => write_all(records, &mut elements),
            Self::Step(steps) => write_all(steps.records(), &mut elements),
        }
        elements.resize(length, Fr::ZERO);
        Some(hash(Domain::Data, &elements))
    }
}

fn write_all<R: Record>(records: &[R], out: &mut Vec<Fr>) {
    records.iter().for_each(|record| record.write_elements(out));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baby_jubjub::Point;
    use ark_ec::AffineRepr;

    fn transfer(amount: u64) -> TransferRecord {
        let index = |i| CellIndex::new(i).expect("a small index");
        TransferRecord { from: index(3), to: index(4), amount, fee: 1 }
    }

    #[test]
    fn elements_match_their_announced_number() {
        let owner = PublicKey::new(Point::generator()).expect("the generator is a key");
        let (to, amount, fee) = (CellIndex::default(), 7, 1);
        let destination = Destination::P2wpkh([9; 20]);
        let mut out = Vec::new();
        let mut count = |write: &dyn Fn(&mut Vec<Fr>)| {
            out.clear();
            write(&mut out);
            out.len()
        };
        assert_eq!(count(&|out| DepositRecord { to, amount_sat: 7, owner }.write_elements(out)), 2);
        assert_eq!(count(&|out| transfer(1).write_elements(out)), 1);
        assert_eq!(count(&|out| OpenRecord { from: to, to, amount, fee, owner }.write_elements(out)), 2);
        assert_eq!(count(&|out| WithdrawRecord { from: to, amount, fee, destination }.write_elements(out)), 3);
    }

    #[test]
    fn digest_tells_padding_from_an_empty_record() {
        let zero = CellIndex::default();
        let all_zero = TransferRecord { from: zero, to: zero, amount: 0, fee: 0 };
        let padded = Records::Transfer(Vec::new()).digest(2);
        let recorded = Records::Transfer(alloc::vec![all_zero]).digest(2);
        assert_ne!(padded, recorded);
    }

    #[test]
    fn digest_binds_the_number_of_slots_and_refuses_too_many_records() {
        let records = Records::Transfer(alloc::vec![transfer(1), transfer(2)]);
        assert_eq!(records.digest(1), None);
        assert_ne!(records.digest(2), records.digest(3));
    }

    /// One of each type.
    fn destinations() -> [Destination; Destination::TYPES as usize] {
        [
            Destination::P2wpkh([1; 20]),
            Destination::P2wsh([2; 32]),
            Destination::P2tr([3; 32]),
            Destination::P2pkh([4; 20]),
            Destination::P2sh([5; 20]),
        ]
    }

    #[test]
    fn destinations_become_standard_scripts() {
        let scripts = destinations().map(|destination| destination.script_pubkey());
        assert!(scripts[0].is_p2wpkh() && scripts[1].is_p2wsh() && scripts[2].is_p2tr());
        assert!(scripts[3].is_p2pkh() && scripts[4].is_p2sh());
        for (destination, script) in destinations().iter().zip(scripts) {
            let length = Destination::program_length(destination.number());
            assert_eq!(length, Some(destination.program().len()));
            assert_eq!(Destination::new(destination.number(), destination.program()), Some(*destination));
            assert_eq!(Destination::new(destination.number(), &destination.program()[1..]), None);
            assert!(script.as_bytes().windows(destination.program().len()).any(|part| part == destination.program()));
        }
        assert_eq!(Destination::new(Destination::TYPES, &[0; 20]), None);
    }

    #[test]
    fn less_than_the_least_payout_is_dust() {
        for destination in destinations() {
            // Outputs to 20 bytes of version 0 may be smaller, as far as nodes are asked.
            let dust_sat = destination.script_pubkey().minimal_non_dust().to_sat();
            let expected = if destination.number() == 0 { (294, 330) } else { (dust_sat, dust_sat) };
            assert_eq!((dust_sat, destination.payout_min_sat()), expected);
        }
    }

    #[test]
    fn destinations_are_read_from_their_scripts_alone() {
        for destination in destinations() {
            let script = destination.script_pubkey();
            assert_eq!(Destination::from_script_pubkey(&script), Some(destination));
            let longer = bitcoin::ScriptBuf::from([script.as_bytes(), &[0x51]].concat());
            assert_eq!(Destination::from_script_pubkey(&longer), None);
            for length in 0..script.len() {
                let shorter = bitcoin::Script::from_bytes(&script.as_bytes()[..length]);
                assert_eq!(Destination::from_script_pubkey(shorter), None);
            }
            let bytes = script.as_bytes();
            let length = destination.program().len();
            let first = bytes.windows(length).position(|part| part == destination.program()).expect("it is there");
            for position in 0..bytes.len() {
                let mut other = bytes.to_vec();
                other[position] ^= 0x04;
                let read = Destination::from_script_pubkey(bitcoin::Script::from_bytes(&other));
                let is_program = (first..first + length).contains(&position);
                assert!(read != Some(destination) && read.is_some() == is_program, "{destination:?}, byte {position}");
            }
        }
        let later = bitcoin::ScriptBuf::from([&[0x52, 32][..], &[0; 32]].concat());
        assert_eq!(Destination::from_script_pubkey(&later), None);
    }
}
