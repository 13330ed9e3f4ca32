//! The state: a sparse Merkle tree of arity 8 whose leaves are typed cells.

use crate::{
    baby_jubjub::PublicKey,
    field::{self, NotCanonicalError},
    poseidon2::compress,
};
use alloc::vec::Vec;
use ark_bn254::Fr;
use ark_ff::Zero;

mod elements;
mod pool;
mod token;

pub use elements::CellElements;
pub use pool::Pool;
pub use token::{TokenCell, TokenName, TokenNameError};

/// Children of a node.
pub const ARITY: usize = 8;
/// Bits of a cell's index that one level of the tree consumes.
pub const BITS_PER_LEVEL: u32 = 3;

/// The number of levels of the tree, 1 to 10: a tree of depth d has 8^d cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Depth(u8);

impl Depth {
    /// The deepest tree: 2^30 cells.
    pub const MAX: Self = Self(10);

    /// Checks a number of levels; `None` unless it is 1 to 10.
    pub const fn new(levels: u8) -> Option<Self> {
        if levels >= 1 && levels <= Self::MAX.0 { Some(Self(levels)) } else { None }
    }

    /// The number of levels.
    pub fn levels(self) -> u8 {
        self.0
    }

    /// The number of cells of the tree, 8^depth.
    pub fn cell_count(self) -> u32 {
        1 << self.index_bits()
    }

    /// The bits of an index into the tree, 3 for each level.
    pub fn index_bits(self) -> u32 {
        u32::from(self.0) * BITS_PER_LEVEL
    }

    /// Whether a cell lies in the tree.
    pub fn contains(self, index: CellIndex) -> bool {
        index.0 < self.cell_count()
    }
}

/// The position of a cell, below 2^30. Its lowest three bits choose among the children of the leaf's parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellIndex(u32);

impl CellIndex {
    /// Checks a position; `None` if it is 2^30 or more.
    pub fn new(index: u32) -> Option<Self> {
        (index < Depth::MAX.cell_count()).then_some(Self(index))
    }

    /// The position as an integer.
    pub fn get(self) -> u32 {
        self.0
    }

    /// The position among its siblings of the ancestor at `height` levels above the cells, 0 for the cell itself. Above
    /// the deepest tree every cell's ancestors are the first of their siblings.
    pub fn child_position(self, height: u8) -> usize {
        self.0.checked_shr(u32::from(height) * BITS_PER_LEVEL).unwrap_or(0) as usize % ARITY
    }
}

impl core::fmt::Display for CellIndex {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(&self.0, f)
    }
}

/// Tells one rollup from another, so that nothing signed or proven for one means anything on the other: the first 15
/// bytes of the rollup's founding digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct ChainId(#[cfg_attr(feature = "serde", serde(with = "crate::serde_form::byte_array"))] [u8; Self::LENGTH]);

impl ChainId {
    /// Its bytes.
    pub const LENGTH: usize = 15;
    /// Its bits: the most that the first element of a signed message, and a deposit's output, have room for.
    pub const BITS: u32 = 120;

    /// Takes the bytes.
    pub const fn from_byte_array(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub fn to_byte_array(self) -> [u8; Self::LENGTH] {
        self.0
    }

    /// The bytes as a little-endian integer of 120 bits.
    pub fn element(self) -> Fr {
        field::from_short_bytes(&self.0)
    }

    /// The integer's low 64 bits and its high 56, to be packed.
    pub fn limbs(self) -> [u64; 2] {
        let mut words = [0; 16];
        words[..Self::LENGTH].copy_from_slice(&self.0);
        let integer = u128::from_le_bytes(words);
        [integer as u64, (integer >> 64) as u64]
    }
}

/// 30 hexadecimal digits.
impl core::fmt::Display for ChainId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What an account holds; token 0 is bitcoin, counted in satoshi.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Token(pub u32);

impl Token {
    /// Bitcoin; amounts are satoshi.
    pub const BITCOIN: Self = Self(0);

    /// An amount of the token as messages say it: `5 sat`, or `5 of token 3`.
    pub fn amount(self, amount: impl Into<u128>) -> impl core::fmt::Display {
        Amount(self, amount.into())
    }
}

/// An amount and what it counts.
struct Amount(Token, u128);

impl core::fmt::Display for Amount {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self(Token::BITCOIN, amount) => write!(f, "{amount} sat"),
            Self(Token(token), amount) => write!(f, "{amount} of token {token}"),
        }
    }
}

/// One leaf of the state, of the kinds that this release knows the rules of. See [`CellElements`] for all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Cell {
    /// Nothing: eight zeros.
    #[default]
    Empty,
    /// One owner's holding of one token.
    Account(Account),
    /// What mints a token.
    Token(TokenCell),
    /// The liquidity of two tokens.
    Pool(Pool),
}

/// What one owner holds. Payments move what the first four fields say, and keep the others as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Account {
    /// What the balance counts.
    pub token: Token,
    /// How many transactions the owner has sent from this cell.
    pub nonce: u32,
    /// The holding, in the token's smallest unit.
    pub balance: u64,
    /// Who may spend it.
    pub owner: PublicKey,
    /// Which tickets are used.
    pub tickets: Tickets,
    /// What the account holds of another token, its slot 1. Payments and exits look at the first token alone.
    pub second: Holding,
}

impl Account {
    /// The first element of an account's cell.
    pub const KIND: u8 = 1;

    /// An account as deposits and openings make it: nothing was sent, no ticket is used, and there is no second
    /// holding.
    pub fn new(owner: PublicKey, token: Token, balance: u64) -> Self {
        let (tickets, second) = (Tickets::default(), Holding::default());
        Self { token, nonce: 0, balance, owner, tickets, second }
    }
}

/// Numbers that stand in for a nonce where an owner's operations need no order: ticket t is one of the 64 from `base`
/// on, and is used once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Tickets {
    /// The lowest ticket that can be used.
    pub base: u32,
    /// Bit i tells whether ticket `base` + i is used.
    pub used: u64,
}

impl Tickets {
    /// pack(base: 32, used: 64).
    fn element(self) -> Fr {
        field::pack([(self.base.into(), 32), (self.used, 64)])
    }
}

/// An amount of a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct Holding {
    /// What the balance counts.
    pub token: Token,
    /// The holding, in the token's smallest unit.
    pub balance: u64,
}

impl Holding {
    /// pack(token: 32, balance: 64).
    fn element(self) -> Fr {
        field::pack([(self.token.0.into(), 32), (self.balance, 64)])
    }
}

impl Cell {
    /// The cell as elements: kind, token, nonce, balance, owner x, owner y, tickets, second holding. The empty cell is
    /// zeros.
    pub fn elements(&self) -> CellElements {
        match self {
            Self::Empty => CellElements::default(),
            Self::Account(account) => CellElements([
                Fr::from(Account::KIND),
                Fr::from(account.token.0),
                Fr::from(account.nonce),
                Fr::from(account.balance),
                account.owner.x(),
                account.owner.y(),
                account.tickets.element(),
                account.second.element(),
            ]),
            Self::Token(token) => CellElements([
                Fr::from(TokenCell::KIND),
                Fr::zero(),
                Fr::from(token.supply),
                Fr::zero(),
                token.name.element(),
                field::pack([(token.cap, 64), (token.issuer.get().into(), 32), (token.decimals.into(), 8)]),
                Fr::from(token.unit),
                Fr::zero(),
            ]),
            Self::Pool(pool) => {
                let [x, y] = pool.at_last_session;
                let (low, high) = (pool.average as u64, (pool.average >> 64) as u64);
                let [fee, weight, blocks] = [pool.fee, pool.weight.into(), pool.averaging_blocks].map(u64::from);
                CellElements([
                    Fr::from(Pool::KIND),
                    Fr::from(pool.first.token.0),
                    Fr::from(pool.supply),
                    Fr::from(pool.first.balance),
                    field::pack([(x, 64), (y, 64)]),
                    field::pack([(low, 64), (high, 32), (pool.last_height.into(), 32)]),
                    field::pack([(fee, 14), (weight, 2), (blocks, 16)]),
                    pool.second.element(),
                ])
            }
        }
    }

    /// The first element: which kind of cell.
    pub fn kind(&self) -> u8 {
        match self {
            Self::Empty => 0,
            Self::Account(_) => Account::KIND,
            Self::Token(_) => TokenCell::KIND,
            Self::Pool(_) => Pool::KIND,
        }
    }

    /// What the cell holds, its first holding and its second.
    pub fn holdings(&self) -> [Holding; 2] {
        match self {
            Self::Empty | Self::Token(_) => [Holding::default(); 2],
            Self::Account(account) => [Holding { token: account.token, balance: account.balance }, account.second],
            Self::Pool(pool) => [pool.first, pool.second],
        }
    }

    /// What the cell has minted of the token of its own index; `None` of a kind that mints nothing.
    pub fn supply(&self) -> Option<u64> {
        match self {
            Self::Empty | Self::Account(_) => None,
            Self::Token(token) => Some(token.supply),
            Self::Pool(pool) => Some(pool.supply),
        }
    }

    /// The leaf of the tree that stands for this cell.
    pub fn hash(&self) -> Fr {
        self.elements().hash()
    }
}

/// The root of a subtree of empty cells, `levels` levels high; 0 is one empty cell.
pub fn empty_root(levels: u8) -> Fr {
    (0..levels).fold(Cell::Empty.hash(), |child, _| compress(&[child; ARITY]))
}

/// The root of the tree one level deeper that holds the same cells: the old tree becomes the first of eight children.
pub fn grown_root(root: Fr, depth: Depth) -> Fr {
    let mut children = [empty_root(depth.levels()); ARITY];
    children[0] = root;
    compress(&children)
}

/// The siblings on the way from a cell to the root: a proof that the cell is in the state.
///
/// Level 0 holds the cell's own siblings; each level lists the seven siblings in the order of their positions, the
/// path's own position left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MerklePath {
    levels: Vec<[Fr; ARITY - 1]>,
}

impl MerklePath {
    /// Takes the siblings of each level, lowest first; `None` unless there are 1 to 10 levels.
    pub fn new(levels: Vec<[Fr; ARITY - 1]>) -> Option<Self> {
        Depth::new(u8::try_from(levels.len()).ok()?)?;
        Some(Self { levels })
    }

    /// The siblings of each level, lowest first.
    pub fn levels(&self) -> &[[Fr; ARITY - 1]] {
        &self.levels
    }

    /// The depth of the tree that this is a path of.
    pub fn depth(&self) -> Depth {
        Depth(self.levels.len() as u8)
    }

    /// The root of the tree that has `leaf` at `index`; `None` if the index is outside the tree.
    pub fn root(&self, index: CellIndex, leaf: Fr) -> Option<Fr> {
        if !self.depth().contains(index) {
            return None;
        }
        Some((0..self.levels.len()).fold(leaf, |node, height| compress(&self.children(index, height, node))))
    }

    /// The children of the parent of a node on the way from a cell, the siblings at the node's height beside it.
    pub(crate) fn children(&self, index: CellIndex, height: usize, node: Fr) -> [Fr; ARITY] {
        let (siblings, position) = (&self.levels[height], index.child_position(height as u8));
        let mut children = [node; ARITY];
        children[..position].copy_from_slice(&siblings[..position]);
        children[position + 1..].copy_from_slice(&siblings[position..]);
        children
    }

    /// Encodes the path: one byte for the number of levels, then 7 elements a level, 32 bytes each, little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = alloc::vec![self.levels.len() as u8];
        bytes.extend(self.levels.iter().flatten().flat_map(field::to_bytes));
        bytes
    }

    /// Decodes what [`MerklePath::to_bytes`] encodes.
    ///
    /// # Errors
    /// [`PathError`] for a wrong length or an element that is not canonical.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PathError> {
        let (&count, elements) = bytes.split_first().ok_or(PathError::Length)?;
        let depth = Depth::new(count).ok_or(PathError::Length)?;
        let (elements, rest) = elements.as_chunks::<32>();
        if !rest.is_empty() || elements.len() != usize::from(depth.levels()) * (ARITY - 1) {
            return Err(PathError::Length);
        }
        let mut levels = Vec::with_capacity(usize::from(count));
        for chunk in elements.chunks_exact(ARITY - 1) {
            let mut siblings = [Fr::zero(); ARITY - 1];
            for (sibling, bytes) in siblings.iter_mut().zip(chunk) {
                *sibling = field::from_bytes(bytes)?;
            }
            levels.push(siblings);
        }
        Ok(Self { levels })
    }
}

/// Why bytes are no [`MerklePath`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// The length is not that of a path of 1 to 10 levels.
    #[error("the length is not that of a path of 1 to 10 levels")]
    Length,
    /// A sibling is not canonical.
    #[error(transparent)]
    NotCanonical(#[from] NotCanonicalError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_ff::AdditiveGroup;

    fn path(levels: u64) -> MerklePath {
        let siblings = |level: u64| core::array::from_fn(|i| Fr::from(level * 100 + i as u64));
        MerklePath::new((0..levels).map(siblings).collect()).expect("1 to 10 levels")
    }

    #[test]
    fn depth_and_index_have_bounds() {
        assert_eq!(Depth::new(0), None);
        assert_eq!(Depth::new(11), None);
        assert_eq!(Depth::MAX.cell_count(), 1 << 30);
        assert_eq!(CellIndex::new(1 << 30), None);
        let last = CellIndex::new((1 << 30) - 1).expect("the last cell");
        assert!(Depth::MAX.contains(last) && !Depth::new(9).expect("nine levels").contains(last));
    }

    #[test]
    fn child_positions_are_those_of_any_height() {
        let index = CellIndex::new(0o1234567012).expect("below 2^30");
        let positions = (0..=u8::MAX).map(|height| index.child_position(height));
        let digits = [2, 1, 0, 7, 6, 5, 4, 3, 2, 1];
        assert!(positions.eq(digits.into_iter().chain(core::iter::repeat_n(0, 246))));
    }

    #[test]
    fn growing_keeps_paths_valid() {
        let depth = Depth::new(3).expect("three levels");
        assert_eq!(grown_root(empty_root(3), depth), empty_root(4));
        let index = CellIndex::new(77).expect("a small index");
        let leaf = Fr::from(9u64);
        let root = path(3).root(index, leaf).expect("77 lies within 512 cells");
        let mut levels = path(3).levels().to_vec();
        levels.push([empty_root(3); 7]);
        let grown = MerklePath::new(levels).expect("four levels");
        assert_eq!(grown.root(index, leaf), Some(grown_root(root, depth)));
    }

    #[test]
    fn a_path_refuses_indices_outside_its_tree() {
        let outside = CellIndex::new(64).expect("a small index");
        assert_eq!(path(2).root(outside, Fr::ZERO), None);
    }

    #[test]
    fn path_bytes_round_trip_and_are_exact() {
        let bytes = path(4).to_bytes();
        assert_eq!(MerklePath::from_bytes(&bytes), Ok(path(4)));
        assert_eq!(MerklePath::from_bytes(&bytes[..bytes.len() - 1]), Err(PathError::Length));
        assert_eq!(MerklePath::from_bytes(&[bytes.as_slice(), &[0]].concat()), Err(PathError::Length));
        let mut altered = bytes;
        altered[1..33].fill(0xff);
        assert_eq!(MerklePath::from_bytes(&altered), Err(PathError::NotCanonical(NotCanonicalError)));
    }
}
