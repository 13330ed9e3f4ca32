//! Cells that mint a token.

use super::CellIndex;
use crate::field;
#[cfg(feature = "serde")]
use alloc::string::String;
use ark_bn254::Fr;

/// What a token is called: 31 bytes, which are a text in UTF-8 with zeros behind it wherever a wallet made them.
///
/// Circuits hold a name to its 31 bytes and to nothing else, so any bytes may occur.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenName([u8; Self::LENGTH_MAX]);

/// Why a text is no [`TokenName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenNameError {
    /// It is too long.
    #[error("a name has at most {max} bytes, and this has {0}", max = TokenName::LENGTH_MAX)]
    Length(usize),
    /// It has a control character.
    #[error("a name has no control characters")]
    Control,
}

impl TokenName {
    /// The most bytes of a name.
    pub const LENGTH_MAX: usize = 31;

    /// Takes a text.
    ///
    /// # Errors
    /// [`TokenNameError`].
    pub fn new(text: &str) -> Result<Self, TokenNameError> {
        if text.len() > Self::LENGTH_MAX {
            return Err(TokenNameError::Length(text.len()));
        }
        if text.chars().any(char::is_control) {
            return Err(TokenNameError::Control);
        }
        let mut bytes = [0; Self::LENGTH_MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(Self(bytes))
    }

    /// Takes any bytes.
    pub fn from_byte_array(bytes: [u8; Self::LENGTH_MAX]) -> Self {
        Self(bytes)
    }

    /// The text, if it is one that [`TokenName::new`] takes.
    pub fn text(&self) -> Option<&str> {
        let length = self.0.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let text = core::str::from_utf8(&self.0[..length]).ok()?;
        Self::new(text).ok().map(|_| text)
    }

    /// The bytes as a little-endian integer.
    pub fn element(&self) -> Fr {
        field::from_short_bytes(&self.0)
    }

    /// Reads what [`TokenName::element`] gives; `None` for an integer of more than 248 bits.
    pub fn from_element(element: Fr) -> Option<Self> {
        let bytes = field::to_bytes(&element);
        let (name, [high]) = bytes.split_first_chunk()? else { return None };
        (*high == 0).then_some(Self(*name))
    }
}

/// The text, or the bytes in hexadecimal digits after `0x`.
impl core::fmt::Display for TokenName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.text() {
            Some(text) => f.write_str(text),
            None => {
                f.write_str("0x")?;
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// Written as it is displayed.
#[cfg(feature = "serde")]
impl serde::Serialize for TokenName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for TokenName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text: String = serde::Deserialize::deserialize(deserializer)?;
        // A text of so many digits would be too long for a name, so the forms exclude each other.
        let digits = text.strip_prefix("0x").filter(|digits| digits.len() == 2 * Self::LENGTH_MAX);
        let Some(digits) = digits.filter(|digits| digits.is_ascii()) else {
            return Self::new(&text).map_err(serde::de::Error::custom);
        };
        let mut bytes = [0; Self::LENGTH_MAX];
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * place..2 * place + 2], 16).map_err(serde::de::Error::custom)?;
        }
        Ok(Self(bytes))
    }
}

/// A cell that mints the token of its own index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields))]
pub struct TokenCell {
    /// What exists of the token.
    pub supply: u64,
    /// Its name.
    pub name: TokenName,
    /// The most that may exist.
    pub cap: u64,
    /// The account that may mint; 0 if nobody may any more.
    pub issuer: CellIndex,
    /// How many decimal places amounts are shown with.
    pub decimals: u8,
    /// What one item that backs the token stands for; 0 if none does.
    pub unit: u64,
}

impl TokenCell {
    /// The first element of a token's cell.
    pub const KIND: u8 = 2;
    /// The most decimal places: as many as an amount of 64 bits has whole digits.
    pub const DECIMALS_MAX: u8 = 18;
}
