//! Proofs, verifying keys and public inputs as JSON: numbers are decimal strings, points have projective coordinates.

use ark_bn254::{Fq, Fq2, Fr, G1Affine, G2Affine};
use ark_ec::AffineRepr;
use ark_ff::{AdditiveGroup, BigInt, BigInteger, PrimeField};
use serde::{Deserialize, Serialize};
use taproof_verifier::groth16::{PointError, Proof, VerifyingKey};

/// Why JSON is no proof or public input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// The protocol is not groth16 or the curve not bn128.
    #[error("the protocol must be groth16 and the curve bn128")]
    OtherSystem,
    /// A string is no decimal number below the order of its field, without leading zeros.
    #[error("a string is not a decimal number below the order of its field")]
    Number,
    /// A third coordinate is not one.
    #[error("a point's third coordinate is not one")]
    NotAffine,
    /// A point may not be part of a proof.
    #[error("a point of the proof: {0}")]
    Point(#[from] PointError),
}

type G1Json = [String; 3];
type G2Json = [[String; 2]; 3];

const PROTOCOL: &str = "groth16";
const CURVE: &str = "bn128";

/// proof.json.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProofJson {
    pi_a: G1Json,
    pi_b: G2Json,
    pi_c: G1Json,
    protocol: String,
    curve: String,
}

impl From<&Proof> for ProofJson {
    fn from(proof: &Proof) -> Self {
        Self {
            pi_a: g1(proof.a()),
            pi_b: g2(proof.b()),
            pi_c: g1(proof.c()),
            protocol: PROTOCOL.into(),
            curve: CURVE.into(),
        }
    }
}

impl TryFrom<&ProofJson> for Proof {
    type Error = JsonError;

    fn try_from(json: &ProofJson) -> Result<Self, JsonError> {
        if json.protocol != PROTOCOL || json.curve != CURVE {
            return Err(JsonError::OtherSystem);
        }
        Ok(Self::new(g1_point(&json.pi_a)?, g2_point(&json.pi_b)?, g1_point(&json.pi_c)?)?)
    }
}

/// verification_key.json, without the precomputed pairing that snarkjs writes and does not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerifyingKeyJson {
    protocol: &'static str,
    curve: &'static str,
    #[serde(rename = "nPublic")]
    public_count: usize,
    vk_alpha_1: G1Json,
    vk_beta_2: G2Json,
    vk_gamma_2: G2Json,
    vk_delta_2: G2Json,
    #[serde(rename = "IC")]
    ic: Vec<G1Json>,
}

impl From<&VerifyingKey> for VerifyingKeyJson {
    fn from(key: &VerifyingKey) -> Self {
        Self {
            protocol: PROTOCOL,
            curve: CURVE,
            public_count: key.ic().len() - 1,
            vk_alpha_1: g1(key.alpha()),
            vk_beta_2: g2(key.beta()),
            vk_gamma_2: g2(key.gamma()),
            vk_delta_2: g2(key.delta()),
            ic: key.ic().iter().map(g1).collect(),
        }
    }
}

/// public.json: the public inputs without the constant one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PublicJson(Vec<String>);

impl PublicJson {
    /// Public inputs, in the order of their wires.
    pub fn new(inputs: &[Fr]) -> Self {
        Self(inputs.iter().map(|input| decimal(*input)).collect())
    }

    /// The public inputs, in the order of their wires.
    ///
    /// # Errors
    /// [`JsonError::Number`] if one is no element.
    pub fn inputs(&self) -> Result<Vec<Fr>, JsonError> {
        self.0.iter().map(|input| element(input)).collect()
    }
}

fn decimal<F: PrimeField>(element: F) -> String {
    element.into_bigint().to_string()
}

fn g1(point: &G1Affine) -> G1Json {
    let (x, y) = point.xy().unwrap_or((Fq::ZERO, Fq::ZERO));
    [decimal(x), decimal(y), "1".into()]
}

fn g2(point: &G2Affine) -> G2Json {
    let pair = |element: Fq2| [decimal(element.c0), decimal(element.c1)];
    let (x, y) = point.xy().unwrap_or((Fq2::ZERO, Fq2::ZERO));
    [pair(x), pair(y), ["1".into(), "0".into()]]
}

/// Reads a decimal number without sign or leading zeros that is below the order of the field.
fn element<F: PrimeField<BigInt = BigInt<4>>>(decimal: &str) -> Result<F, JsonError> {
    /// The digits of the greatest number below 2^254.
    const DIGITS_MAX: usize = 77;
    let digits = decimal.as_bytes();
    let canonical = digits == b"0" || !digits.starts_with(b"0");
    if digits.is_empty() || digits.len() > DIGITS_MAX || !canonical || !digits.iter().all(u8::is_ascii_digit) {
        return Err(JsonError::Number);
    }
    // 77 digits stay below 2^256, so nothing is carried out.
    let number = digits.iter().fold(BigInt::<4>::zero(), |number, digit| {
        let mut sum = number << 3;
        sum.add_with_carry(&(number << 1));
        sum.add_with_carry(&BigInt::from(u64::from(digit - b'0')));
        sum
    });
    F::from_bigint(number).ok_or(JsonError::Number)
}

fn g1_point([x, y, z]: &G1Json) -> Result<G1Affine, JsonError> {
    if z != "1" {
        return Err(JsonError::NotAffine);
    }
    Ok(G1Affine::new_unchecked(element(x)?, element(y)?))
}

fn g2_point([x, y, z]: &G2Json) -> Result<G2Affine, JsonError> {
    if *z != ["1", "0"] {
        return Err(JsonError::NotAffine);
    }
    let pair = |[c0, c1]: &[String; 2]| Ok::<_, JsonError>(Fq2::new(element(c0)?, element(c1)?));
    Ok(G2Affine::new_unchecked(pair(x)?, pair(y)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_ec::CurveGroup;
    use ark_ff::{Field, UniformRand};
    use rand::SeedableRng;

    fn proof(seed: u64) -> Proof {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(seed);
        let [a, c] = [(); 2].map(|()| (G1Affine::generator() * Fr::rand(&mut rng)).into_affine());
        Proof::new(a, (G2Affine::generator() * Fr::rand(&mut rng)).into_affine(), c).expect("points of the groups")
    }

    #[test]
    fn proofs_round_trip_through_text() {
        for seed in 0..20 {
            let text = serde_json::to_string(&ProofJson::from(&proof(seed))).expect("strings alone");
            let json: ProofJson = serde_json::from_str(&text).expect("what was written");
            assert_eq!(Proof::try_from(&json), Ok(proof(seed)));
        }
    }

    #[test]
    fn numbers_are_canonical_decimals_below_the_order() {
        for number in [Fr::ZERO, Fr::ONE, -Fr::ONE, Fr::from(u64::MAX)] {
            assert_eq!(PublicJson::new(&[number, Fr::ONE]).inputs(), Ok(vec![number, Fr::ONE]));
        }
        let order = Fr::MODULUS.to_string();
        for text in ["", "00", "01", "-1", "+1", "1 ", "0x1", "1e3", &order, &"9".repeat(77), &"9".repeat(78)] {
            assert_eq!(PublicJson(vec!["1".into(), text.into()]).inputs(), Err(JsonError::Number), "{text:?}");
        }
        assert_eq!(PublicJson::new(&[]).inputs(), Ok(vec![]));
    }

    #[test]
    fn what_is_no_proof_is_refused() {
        let good = ProofJson::from(&proof(1));
        let altered = |alter: fn(&mut ProofJson)| {
            let mut json = good.clone();
            alter(&mut json);
            Proof::try_from(&json)
        };
        assert_eq!(altered(|json| json.protocol = "plonk".into()), Err(JsonError::OtherSystem));
        assert_eq!(altered(|json| json.curve = "bls12381".into()), Err(JsonError::OtherSystem));
        assert_eq!(altered(|json| json.pi_a[2] = "2".into()), Err(JsonError::NotAffine));
        assert_eq!(altered(|json| json.pi_b[2][1] = "1".into()), Err(JsonError::NotAffine));
        assert_eq!(altered(|json| json.pi_b.swap(0, 1)), Err(JsonError::Point(PointError::NotOnCurve)));
        assert_eq!(altered(|json| json.pi_a[0] = "0".into()), Err(JsonError::Point(PointError::NotOnCurve)));
        assert_eq!(altered(|json| json.pi_c[1] = Fq::MODULUS.to_string()), Err(JsonError::Number));
        let extra = serde_json::to_string(&good).expect("strings alone").replacen('{', "{\"more\":1,", 1);
        assert!(serde_json::from_str::<ProofJson>(&extra).is_err());
    }
}
