//! Heights as a source claims them: none is taken that no chain has, so that sums of heights stay in range and
//! nothing looks for blocks that cannot be.

use super::NodeError;
use serde::{Deserialize, Deserializer, de::Error};

/// The highest height, and the most confirmations, that a source is believed: ten minutes a block would take nineteen
/// centuries, and no test network with its storms of blocks has come near.
pub const HEIGHT_MAX: u32 = 100_000_000;

/// Reads a height, or a number of confirmations, from an answer.
pub(super) fn claimed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    plausible(u64::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// As [`claimed`], for an answer that may lack it.
pub(super) fn claimed_if_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    let height = Option::<u64>::deserialize(deserializer)?;
    height.map(|height| plausible(height).map_err(D::Error::custom)).transpose()
}

/// Takes a height that is the whole answer to a call.
pub(super) fn checked(method: &'static str, height: u64) -> Result<u32, NodeError> {
    plausible(height).map_err(|reason| NodeError::Answer { method, reason })
}

fn plausible(height: u64) -> Result<u32, String> {
    let height_checked = u32::try_from(height).ok().filter(|height| *height <= HEIGHT_MAX);
    height_checked.ok_or_else(|| format!("{height} blocks, which make no sense: no chain has more than {HEIGHT_MAX}"))
}
