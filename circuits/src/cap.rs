//! The Merkle cap of a tree: its nodes two levels below the root, which a chunk's circuit carries from slot to slot
//! in place of the root.
//!
//! To choose and to change one of 64 carried nodes takes fewer rows than to hash the two levels above it for each
//! update. The name is Plonky2's (Polygon Zero, "Plonky2: Fast Recursive Arguments with PLONK and FRI", 2022).

use ark_bn254::Fr;
use ark_ff::AdditiveGroup;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use taproof_verifier::{
    cell::{ARITY, Depth},
    field::{self, NotCanonicalError},
    poseidon2::compress,
    serde_form,
};

/// The nodes of one height, in the order of the cells below them: 64, or the 8 cells of a tree of one level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MerkleCap(Vec<Fr>);

/// Why bytes are no [`MerkleCap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CapError {
    /// The length is neither that of 8 nor of 64 nodes.
    #[error("the length is neither that of 8 nor of 64 nodes")]
    Length,
    /// A node is not canonical.
    #[error(transparent)]
    NotCanonical(#[from] NotCanonicalError),
}

impl MerkleCap {
    /// The levels of a tree that lie above its cap: two, or one if the tree has no more.
    pub fn levels(depth: Depth) -> u8 {
        depth.levels().min(2)
    }

    /// The levels of a tree below its cap, which an update climbs.
    pub fn levels_below(depth: Depth) -> u8 {
        depth.levels() - Self::levels(depth)
    }

    /// The nodes of a tree's cap: 8 or 64.
    pub fn node_count(depth: Depth) -> usize {
        ARITY.pow(Self::levels(depth).into())
    }

    /// Takes the nodes; `None` unless there are 8 or 64.
    pub fn new(nodes: Vec<Fr>) -> Option<Self> {
        Self::is_length(nodes.len()).then_some(Self(nodes))
    }

    fn is_length(nodes: usize) -> bool {
        [ARITY, ARITY * ARITY].contains(&nodes)
    }

    /// A cap of zeros, which is that of no tree.
    pub fn blank(depth: Depth) -> Self {
        Self(vec![Fr::ZERO; Self::node_count(depth)])
    }

    /// The nodes.
    pub fn nodes(&self) -> &[Fr] {
        &self.0
    }

    /// The root above the cap.
    pub fn root(&self) -> Fr {
        let mut nodes = self.0.clone();
        while nodes.len() > 1 {
            nodes = nodes.as_chunks().0.iter().map(compress).collect();
        }
        nodes[0]
    }

    /// Encodes the nodes, 32 bytes each, little-endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(field::to_bytes).collect()
    }

    /// Decodes what [`MerkleCap::to_bytes`] encodes.
    ///
    /// # Errors
    /// [`CapError`] for another length or a node that is not canonical.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CapError> {
        let (nodes, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() || !Self::is_length(nodes.len()) {
            return Err(CapError::Length);
        }
        Ok(Self(nodes.iter().map(field::from_bytes).collect::<Result<_, _>>()?))
    }
}

impl Serialize for MerkleCap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_form::serialize_bytes(&self.to_bytes(), serializer)
    }
}

impl<'de> Deserialize<'de> for MerkleCap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_bytes(&serde_form::deserialize_bytes(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cap(count: u64) -> MerkleCap {
        MerkleCap::new((0..count).map(Fr::from).collect()).expect("8 or 64 nodes")
    }

    #[test]
    fn caps_have_8_or_64_nodes() {
        for count in [0, 1, 7, 9, 63, 65, 512] {
            assert_eq!(MerkleCap::new(vec![Fr::ZERO; count]), None);
        }
        for levels in 1..=Depth::MAX.levels() {
            let depth = Depth::new(levels).expect("1 to 10 levels");
            assert_eq!(MerkleCap::levels(depth) + MerkleCap::levels_below(depth), levels);
            assert_eq!(MerkleCap::node_count(depth), if levels == 1 { 8 } else { 64 });
            assert_eq!(MerkleCap::blank(depth).nodes().len(), MerkleCap::node_count(depth));
        }
    }

    #[test]
    fn bytes_round_trip_and_are_exact() {
        for cap in [cap(8), cap(64)] {
            let bytes = cap.to_bytes();
            assert_eq!(MerkleCap::from_bytes(&bytes), Ok(cap));
            assert_eq!(MerkleCap::from_bytes(&bytes[1..]), Err(CapError::Length));
            assert_eq!(MerkleCap::from_bytes(&bytes[32..]), Err(CapError::Length));
            let mut altered = bytes;
            altered[..32].fill(0xff);
            assert_eq!(MerkleCap::from_bytes(&altered), Err(CapError::NotCanonical(NotCanonicalError)));
        }
        assert_eq!(MerkleCap::from_bytes(&[]), Err(CapError::Length));
    }
}
