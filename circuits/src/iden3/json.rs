//! Proofs, verifying keys and public inputs as JSON: numbers are decimal strings, points have projective coordinates.

use ark_bn254::{Bn254, Fq, Fq2, Fr, G1Affine, G2Affine};
use ark_ec::{AffineRepr, pairing::Pairing};
use ark_ff::{AdditiveGroup, BigInt, BigInteger, PrimeField};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, SeqAccess, Visitor},
};
use std::fmt;
use taproof_verifier::groth16::{PointError, Proof, VerifyingKey};

/// Why JSON is no proof or public input.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// The protocol is not groth16.
    #[error("the protocol is {0}, where groth16 is read")]
    OtherProtocol(String),
    /// The curve is not BN254.
    #[error("the curve is {0}, where BN254 is read, which iden3's tools call bn128")]
    OtherCurve(String),
    /// A key has not one point for each public input and one more.
    #[error("{points} IC points, where {public_inputs} public inputs need one more")]
    IcCount {
        /// The public inputs that the key names.
        public_inputs: usize,
        /// Its points.
        points: usize,
    },
    /// A number is no element of its field.
    #[error("{place} {fault}")]
    Number {
        /// Where it stands.
        place: JsonPlace,
        /// What is wrong with it.
        fault: NumberFault,
    },
    /// A third coordinate is not one.
    #[error("{0} has a third coordinate that is not one")]
    NotAffine(JsonPlace),
    /// A point is at infinity that may not be.
    #[error("{0} is the point at infinity")]
    Infinity(JsonPlace),
    /// A point may not be part of a proof.
    #[error("a point of the proof: {0}")]
    Point(#[from] PointError),
}

/// Where a number stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonPlace {
    /// In a list of public inputs.
    PublicInput {
        /// Which one, from 1.
        position: usize,
    },
    /// In a point that has a name.
    Point(&'static str),
    /// In a point of a key's IC.
    Ic {
        /// Which one, from 0: the constant one, then the public inputs.
        index: usize,
    },
}

impl fmt::Display for JsonPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PublicInput { position } => write!(f, "public input {position}"),
            Self::Point(name) => f.write_str(name),
            Self::Ic { index } => write!(f, "IC[{index}]"),
        }
    }
}

/// Why a number is no element of its field, whose one spelling is decimal without sign and leading zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NumberFault {
    /// There is nothing.
    #[error("is empty")]
    Empty,
    /// It has a minus sign.
    #[error("is negative")]
    Negative,
    /// It is hexadecimal.
    #[error("is hexadecimal, where a decimal number is read")]
    Hexadecimal,
    /// It has leading zeros.
    #[error("has leading zeros")]
    LeadingZeros,
    /// It has something else than digits.
    #[error("is not a decimal number")]
    NotDecimal,
    /// It is not below the order of its field.
    #[error("is not below the order of its field")]
    TooGreat,
}

/// A number as text: a string of JSON, or a number of JSON that is whole and short enough to be exact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
struct Decimal(String);

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Decimal;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a decimal number in a string")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Decimal, E> {
                Ok(Decimal(text.to_owned()))
            }

            fn visit_string<E: Error>(self, text: String) -> Result<Decimal, E> {
                Ok(Decimal(text))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Decimal, E> {
                Ok(Decimal(number.to_string()))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Decimal, E> {
                Ok(Decimal(number.to_string()))
            }
        }

        deserializer.deserialize_any(Text)
    }
}

type G1Json = [Decimal; 3];
type G2Json = [[Decimal; 2]; 3];
type F12Json = [[[Decimal; 2]; 3]; 2];

const PROTOCOL: &str = "groth16";
const CURVE: &str = "bn128";

fn protocol() -> String {
    PROTOCOL.to_owned()
}

/// proof.json, with the name of the curve as snarkjs writes it or without as rapidsnark does. As snarkjs does, it is
/// read without the name of the protocol and with fields that others add.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofJson {
    pi_a: G1Json,
    pi_b: G2Json,
    pi_c: G1Json,
    #[serde(default = "protocol")]
    protocol: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    curve: Option<String>,
}

impl ProofJson {
    /// The proof as rapidsnark writes it.
    #[must_use]
    pub fn without_curve(self) -> Self {
        Self { curve: None, ..self }
    }
}

/// Checks the names of the protocol and of the curve, in whichever of the spellings that snarkjs knows.
fn expect_system(protocol: &str, curve: Option<&str>) -> Result<(), JsonError> {
    if protocol != PROTOCOL {
        return Err(JsonError::OtherProtocol(protocol.to_owned()));
    }
    let Some(curve) = curve else { return Ok(()) };
    let letters: String = curve.chars().filter(char::is_ascii_alphanumeric).collect();
    match letters.to_ascii_lowercase().as_str() {
        "bn128" | "bn254" | "altbn128" => Ok(()),
        _ => Err(JsonError::OtherCurve(curve.to_owned())),
    }
}

impl From<&Proof> for ProofJson {
    fn from(proof: &Proof) -> Self {
        Self {
            pi_a: g1(proof.a()),
            pi_b: g2(proof.b()),
            pi_c: g1(proof.c()),
            protocol: PROTOCOL.into(),
            curve: Some(CURVE.into()),
        }
    }
}

impl TryFrom<&ProofJson> for Proof {
    type Error = JsonError;

    fn try_from(json: &ProofJson) -> Result<Self, JsonError> {
        expect_system(&json.protocol, json.curve.as_deref())?;
        let [a, b, c] = ["pi_a", "pi_b", "pi_c"].map(JsonPlace::Point);
        Ok(Self::new(g1_point(&json.pi_a, a)?, g2_point(&json.pi_b, b)?, g1_point(&json.pi_c, c)?)?)
    }
}

/// The points of a verifying key. They are coordinates below the field's order and nothing else is checked of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyingKeyPoints {
    /// Alpha in G1.
    pub alpha: G1Affine,
    /// Beta in G2.
    pub beta: G2Affine,
    /// Gamma in G2.
    pub gamma: G2Affine,
    /// Delta in G2.
    pub delta: G2Affine,
    /// One, then a point for each public input.
    pub ic: Vec<G1Affine>,
}

/// verification_key.json, with the pairing of alpha and beta, which snarkjs writes and nobody needs to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyingKeyJson {
    #[serde(default = "protocol")]
    protocol: String,
    curve: String,
    #[serde(rename = "nPublic")]
    public_count: usize,
    vk_alpha_1: G1Json,
    vk_beta_2: G2Json,
    vk_gamma_2: G2Json,
    vk_delta_2: G2Json,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    vk_alphabeta_12: Option<F12Json>,
    #[serde(rename = "IC")]
    ic: Vec<G1Json>,
}

impl From<&VerifyingKey> for VerifyingKeyJson {
    fn from(key: &VerifyingKey) -> Self {
        let (alpha, beta, gamma, delta) = (*key.alpha(), *key.beta(), *key.gamma(), *key.delta());
        Self::from(&VerifyingKeyPoints { alpha, beta, gamma, delta, ic: key.ic().to_vec() })
    }
}

impl From<&VerifyingKeyPoints> for VerifyingKeyJson {
    fn from(key: &VerifyingKeyPoints) -> Self {
        Self {
            protocol: PROTOCOL.into(),
            curve: CURVE.into(),
            public_count: key.ic.len().saturating_sub(1),
            vk_alpha_1: g1(&key.alpha),
            vk_beta_2: g2(&key.beta),
            vk_gamma_2: g2(&key.gamma),
            vk_delta_2: g2(&key.delta),
            vk_alphabeta_12: pairing(&key.alpha, &key.beta),
            ic: key.ic.iter().map(g1).collect(),
        }
    }
}

impl TryFrom<&VerifyingKeyJson> for VerifyingKeyPoints {
    type Error = JsonError;

    fn try_from(json: &VerifyingKeyJson) -> Result<Self, JsonError> {
        expect_system(&json.protocol, Some(&json.curve))?;
        if json.public_count.checked_add(1) != Some(json.ic.len()) {
            return Err(JsonError::IcCount { public_inputs: json.public_count, points: json.ic.len() });
        }
        let [alpha, beta, gamma, delta] = ["vk_alpha_1", "vk_beta_2", "vk_gamma_2", "vk_delta_2"].map(JsonPlace::Point);
        let ic = json.ic.iter().enumerate().map(|(index, point)| g1_or_infinity(point, JsonPlace::Ic { index }));
        Ok(Self {
            alpha: g1_point(&json.vk_alpha_1, alpha)?,
            beta: g2_point(&json.vk_beta_2, beta)?,
            gamma: g2_point(&json.vk_gamma_2, gamma)?,
            delta: g2_point(&json.vk_delta_2, delta)?,
            ic: ic.collect::<Result<_, _>>()?,
        })
    }
}

/// public.json: the public inputs without the constant one. They are read one by one, so that a list takes as much
/// memory as its elements, whatever their texts would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicJson(Vec<Fr>);

impl PublicJson {
    /// Public inputs, in the order of their wires.
    pub fn new(inputs: &[Fr]) -> Self {
        Self(inputs.to_vec())
    }

    /// The public inputs, in the order of their wires.
    pub fn inputs(&self) -> &[Fr] {
        &self.0
    }

    /// The public inputs, in the order of their wires.
    pub fn into_inputs(self) -> Vec<Fr> {
        self.0
    }
}

impl Serialize for PublicJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|input| decimal(*input)))
    }
}

impl<'de> Deserialize<'de> for PublicJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Decimals;

        impl<'de> Visitor<'de> for Decimals {
            type Value = PublicJson;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of decimal numbers, each a string")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<PublicJson, A::Error> {
                let mut inputs = Vec::new();
                while let Some(input) = list.next_element::<Decimal>()? {
                    let place = JsonPlace::PublicInput { position: inputs.len() + 1 };
                    let error = |fault| A::Error::custom(JsonError::Number { place, fault });
                    inputs.push(element(&input).map_err(error)?);
                }
                Ok(PublicJson(inputs))
            }
        }

        deserializer.deserialize_seq(Decimals)
    }
}

fn decimal<F: PrimeField>(element: F) -> Decimal {
    Decimal(element.into_bigint().to_string())
}

/// A number that is written as it is here.
fn plain(text: &str) -> Decimal {
    Decimal(text.to_owned())
}

fn g1(point: &G1Affine) -> G1Json {
    match point.xy() {
        Some((x, y)) => [decimal(x), decimal(y), plain("1")],
        None => INFINITY.map(plain),
    }
}

/// Infinity in G1. A key has it for a public input that no row holds.
const INFINITY: [&str; 3] = ["0", "1", "0"];

fn g1_or_infinity(json: &G1Json, place: JsonPlace) -> Result<G1Affine, JsonError> {
    if is_infinity(json) { Ok(G1Affine::zero()) } else { g1_point(json, place) }
}

fn is_infinity(json: &G1Json) -> bool {
    json.iter().map(|number| number.0.as_str()).eq(INFINITY)
}

fn g2(point: &G2Affine) -> G2Json {
    let (x, y) = point.xy().unwrap_or((Fq2::ZERO, Fq2::ZERO));
    [f2(x), f2(y), ["1", "0"].map(plain)]
}

fn f2(element: Fq2) -> [Decimal; 2] {
    [decimal(element.c0), decimal(element.c1)]
}

/// The pairing of two points, if they are on their curves.
fn pairing(a: &G1Affine, b: &G2Affine) -> Option<F12Json> {
    let product = Bn254::final_exponentiation(Bn254::miller_loop(*a, *b))?.0;
    Some([product.c0, product.c1].map(|half| [half.c0, half.c1, half.c2].map(f2)))
}

/// Reads a decimal number without sign or leading zeros that is below the order of the field.
fn element<F: PrimeField<BigInt = BigInt<4>>>(Decimal(decimal): &Decimal) -> Result<F, NumberFault> {
    /// The digits of the greatest number below 2^254.
    const DIGITS_MAX: usize = 77;
    let digits = decimal.as_bytes();
    let fault = match digits {
        [] => Some(NumberFault::Empty),
        [b'-', rest @ ..] if rest.iter().all(u8::is_ascii_digit) => Some(NumberFault::Negative),
        [b'0', b'x' | b'X', rest @ ..] if rest.iter().all(u8::is_ascii_hexdigit) => Some(NumberFault::Hexadecimal),
        _ if !digits.iter().all(u8::is_ascii_digit) => Some(NumberFault::NotDecimal),
        [b'0', _, ..] => Some(NumberFault::LeadingZeros),
        _ => (digits.len() > DIGITS_MAX).then_some(NumberFault::TooGreat),
    };
    fault.map_or(Ok(()), Err)?;
    // 77 digits stay below 2^256, so nothing is carried out.
    let number = digits.iter().fold(BigInt::<4>::zero(), |number, digit| {
        let mut sum = number << 3;
        sum.add_with_carry(&(number << 1));
        sum.add_with_carry(&BigInt::from(u64::from(digit - b'0')));
        sum
    });
    F::from_bigint(number).ok_or(NumberFault::TooGreat)
}

fn coordinate(json: &Decimal, place: JsonPlace) -> Result<Fq, JsonError> {
    element(json).map_err(|fault| JsonError::Number { place, fault })
}

fn g1_point(json: &G1Json, place: JsonPlace) -> Result<G1Affine, JsonError> {
    let [x, y, z] = json;
    match z.0.as_str() {
        "1" => Ok(G1Affine::new_unchecked(coordinate(x, place)?, coordinate(y, place)?)),
        _ if is_infinity(json) => Err(JsonError::Infinity(place)),
        _ => Err(JsonError::NotAffine(place)),
    }
}

fn g2_point([x, y, z]: &G2Json, place: JsonPlace) -> Result<G2Affine, JsonError> {
    match z.each_ref().map(|number| number.0.as_str()) {
        ["1", "0"] => {}
        ["0", "0"] => return Err(JsonError::Infinity(place)),
        _ => return Err(JsonError::NotAffine(place)),
    }
    let pair = |[c0, c1]: &[Decimal; 2]| Ok::<_, JsonError>(Fq2::new(coordinate(c0, place)?, coordinate(c1, place)?));
    Ok(G2Affine::new_unchecked(pair(x)?, pair(y)?))
}

#[cfg(test)]
mod tests;
