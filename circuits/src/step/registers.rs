//! The registers: what steps hand from one to the next within a transaction, and from chunk to chunk.
//!
//! All of them are zero outside transactions. They come in groups, and a circuit carries the groups that an operation
//! of its set writes: what no operation can write is zero. As elements the groups stand in the order of
//! [`Groups::EACH`], each in the order of its fields here, 31 elements in all.

use crate::exchange::Session;
use ark_bn254::Fr;
use ark_ff::AdditiveGroup;
use core::ops::Range;
use serde::{Deserialize, Serialize};
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{CellIndex, Token},
    serde_form, statement,
};

/// The lanes of a transaction: as many tokens as it has in motion at a time.
pub const LANES: usize = 3;

/// The most payments that a transaction can owe at a time.
pub const DUES: usize = 2;

/// The elements of all groups.
pub const REGISTERS_MAX: usize = 31;

/// Groups of registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Groups(u8);

impl Groups {
    /// The lanes: of each token and value.
    pub const LANES: Self = Self(1);
    /// The clause that runs: the signer's cell, the coordinates of its key, and the digest so far.
    pub const CLAUSE: Self = Self(1 << 1);
    /// What is owed: of each account, token and amount.
    pub const DUES: Self = Self(1 << 2);
    /// The session of a pool: pool, both tokens, both terms of its price, what has yet to be paid in of both, fee.
    pub const SESSION: Self = Self(1 << 3);
    /// What was read: cell, base and quote, average, spot price, reserve, height.
    pub const FACT: Self = Self(1 << 4);
    /// Each group.
    pub const EACH: [Self; 5] = [Self::LANES, Self::CLAUSE, Self::DUES, Self::SESSION, Self::FACT];
    /// What every set of operations has.
    pub const ALWAYS: Self = Self(Self::LANES.0 | Self::CLAUSE.0);
    /// All groups.
    pub const ALL: Self = Self((1 << Self::EACH.len()) - 1);

    /// These groups and others.
    pub const fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Whether all of some groups are among these.
    pub const fn contain(self, groups: Self) -> bool {
        self.0 & groups.0 == groups.0
    }

    /// The places of a group among the elements of all groups.
    const fn places(self) -> Range<usize> {
        match self.0 {
            1 => 0..6,
            2 => 6..10,
            4 => 10..16,
            8 => 16..24,
            16 => 24..REGISTERS_MAX,
            _ => panic!("one group"),
        }
    }

    /// The places of these groups among the elements of all groups, in order.
    pub fn all_places(self) -> Vec<usize> {
        Self::EACH.into_iter().filter(|group| self.contain(*group)).flat_map(Self::places).collect()
    }
}

/// Where the registers stand among the elements of all groups.
pub(crate) mod place {
    use super::{DUES, LANES};

    pub(crate) const LANE_TOKEN: [usize; LANES] = [0, 2, 4];
    pub(crate) const LANE_VALUE: [usize; LANES] = [1, 3, 5];
    pub(crate) const SIGNER: usize = 6;
    pub(crate) const SIGNER_X: usize = 7;
    pub(crate) const SIGNER_Y: usize = 8;
    pub(crate) const DIGEST: usize = 9;
    pub(crate) const DUE_ACCOUNT: [usize; DUES] = [10, 13];
    pub(crate) const DUE_TOKEN: [usize; DUES] = [11, 14];
    pub(crate) const DUE_AMOUNT: [usize; DUES] = [12, 15];
    pub(crate) const POOL: usize = 16;
    pub(crate) const POOL_TOKENS: [usize; 2] = [17, 18];
    pub(crate) const NUMERATOR: usize = 19;
    pub(crate) const DENOMINATOR: usize = 20;
    pub(crate) const UNPAID: [usize; 2] = [21, 22];
    pub(crate) const POOL_FEE: usize = 23;
    pub(crate) const FACT: core::ops::Range<usize> = 24..31;
}

/// What a transaction has taken from cells, or minted, and not yet put anywhere, of one token. A lane of value zero
/// names its token still, until another takes its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lane {
    /// What the value counts.
    pub token: Token,
    /// The sum of at most 2^17 terms of 65 bits; negative where cells were credited first.
    pub value: i128,
}

/// The clause that runs: what its signer signs up to here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunningClause {
    /// The signer's account.
    pub signer: CellIndex,
    /// The account's owner.
    pub owner: PublicKey,
    /// The digest of the steps so far.
    #[serde(with = "serde_form::element")]
    pub digest: Fr,
}

/// A payment that must be made before the transaction is done: to that account and in that token alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Due {
    /// Who must be paid.
    pub account: CellIndex,
    /// In what.
    pub token: Token,
    /// How much; not zero.
    pub amount: u64,
}

/// The session of a pool that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenSession {
    /// The pool.
    pub pool: CellIndex,
    /// Its two tokens.
    pub tokens: [Token; 2],
    /// Its price, and what has yet to be paid in.
    pub session: Session,
}

/// What was read of a cell, for later steps of the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    /// The cell.
    pub cell: CellIndex,
    /// What is priced.
    pub base: Token,
    /// In what.
    pub quote: Token,
    /// The average price, of 96 bits.
    pub average: u128,
    /// The spot price, of 96 bits.
    pub spot: u128,
    /// The lesser of what the pool holds of the quote token now and after its last session.
    pub reserve: u64,
    /// The height that it is true of.
    pub height_blocks: u32,
}

/// All registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registers {
    /// What is in motion.
    pub lanes: [Lane; LANES],
    /// Whose steps run.
    pub clause: Option<RunningClause>,
    /// What is owed.
    pub dues: [Option<Due>; DUES],
    /// Which pool clears.
    pub session: Option<OpenSession>,
    /// What was read.
    pub fact: Option<Fact>,
}

impl Registers {
    /// Whether they are those outside of transactions.
    pub fn are_zero(&self) -> bool {
        *self == Self::default()
    }

    /// What is in motion of the first token of which anything is.
    pub fn in_motion(&self) -> Option<Lane> {
        self.lanes.into_iter().find(|lane| lane.value != 0)
    }

    /// The elements of some groups.
    pub fn elements(&self, groups: Groups) -> Vec<Fr> {
        let all = self.all_elements();
        groups.all_places().into_iter().map(|place| all[place]).collect()
    }

    /// What stands in a statement for these registers.
    pub fn digest(&self, groups: Groups) -> Fr {
        if self.are_zero() { Fr::ZERO } else { statement::Registers::digest(&self.elements(groups)) }
    }

    /// The elements of all groups.
    pub(crate) fn all_elements(&self) -> [Fr; REGISTERS_MAX] {
        let mut all = [Fr::ZERO; REGISTERS_MAX];
        for (lane, Lane { token, value }) in self.lanes.iter().enumerate() {
            all[place::LANE_TOKEN[lane]] = token.0.into();
            all[place::LANE_VALUE[lane]] = (*value).into();
        }
        if let Some(RunningClause { signer, owner, digest }) = self.clause {
            all[place::SIGNER..=place::DIGEST].copy_from_slice(&[signer.get().into(), owner.x(), owner.y(), digest]);
        }
        for (number, due) in self.dues.iter().enumerate() {
            if let Some(Due { account, token, amount }) = due {
                all[place::DUE_ACCOUNT[number]] = account.get().into();
                all[place::DUE_TOKEN[number]] = token.0.into();
                all[place::DUE_AMOUNT[number]] = (*amount).into();
            }
        }
        if let Some(OpenSession { pool, tokens: [first, second], session }) = self.session {
            let Session { n, d, unpaid_x, unpaid_y, fee } = session;
            let [pool, first, second] = [pool.get(), first.0, second.0].map(Fr::from);
            let elements = [pool, first, second, n.into(), d.into(), unpaid_x.into(), unpaid_y.into(), fee.into()];
            all[place::POOL..=place::POOL_FEE].copy_from_slice(&elements);
        }
        if let Some(Fact { cell, base, quote, average, spot, reserve, height_blocks }) = self.fact {
            let [cell, base, quote, height] = [cell.get(), base.0, quote.0, height_blocks].map(Fr::from);
            all[place::FACT].copy_from_slice(&[cell, base, quote, average.into(), spot.into(), reserve.into(), height]);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn groups_share_no_place_and_leave_none_out() {
        let places: Vec<_> = Groups::EACH.into_iter().flat_map(Groups::places).collect();
        assert_eq!(places, (0..REGISTERS_MAX).collect::<Vec<_>>());
        assert_eq!(Groups::ALL.all_places(), places);
        assert_eq!(Groups::ALWAYS.all_places(), (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn registers_of_zeros_are_elements_of_zero_and_each_part_has_its_own() {
        let zero = Registers::default();
        assert!(zero.are_zero());
        assert_eq!(zero.all_elements(), [Fr::ZERO; REGISTERS_MAX]);
        assert_eq!(zero.digest(Groups::ALL), Fr::ZERO);
        let index = |i| CellIndex::new(i).expect("a small index");
        let owner = *crate::schnorr::SecretKey::from_seed(&[3; 32]).public();
        let full = Registers {
            lanes: [1, 2, 3].map(|i| Lane { token: Token(i), value: -i128::from(i) << 70 }),
            clause: Some(RunningClause { signer: index(4), owner, digest: Fr::from(5u64) }),
            dues: [6, 7]
                .map(|i| Some(Due { account: index(i), token: Token(10 * i), amount: u64::MAX - u64::from(i) })),
            session: Some(OpenSession {
                pool: index(8),
                tokens: [22, 23].map(Token),
                session: Session { n: 9, d: 11, unpaid_x: 12, unpaid_y: 13, fee: 14 },
            }),
            fact: Some(Fact {
                cell: index(15),
                base: Token(16),
                quote: Token(17),
                average: 18,
                spot: 19,
                reserve: 20,
                height_blocks: 21,
            }),
        };
        let elements = full.all_elements();
        let distinct: BTreeSet<_> = elements.iter().collect();
        assert_eq!(distinct.len(), REGISTERS_MAX);
        assert!(!distinct.contains(&Fr::ZERO));
        assert_eq!(elements[1], -Fr::from(1u128 << 70));
        assert_eq!(full.elements(Groups::LANES.and(Groups::FACT)), [&elements[..6], &elements[24..]].concat());
        assert_ne!(full.digest(Groups::ALL), full.digest(Groups::ALWAYS));
    }
}
