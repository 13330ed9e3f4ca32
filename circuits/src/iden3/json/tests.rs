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
fn proofs_are_read_as_snarkjs_and_as_rapidsnark_write_them() {
    let ours = ProofJson::from(&proof(1));
    let theirs = serde_json::to_string(&ours.clone().without_curve()).expect("strings alone");
    assert!(theirs.starts_with("{\"pi_a\":[") && theirs.ends_with(",\"protocol\":\"groth16\"}"), "{theirs}");
    let json: ProofJson = serde_json::from_str(&theirs).expect("what rapidsnark writes");
    assert_eq!(Proof::try_from(&json), Ok(proof(1)));
    for curve in ["bn128", "BN254", "alt_bn128", "bn-128"] {
        let json = ProofJson { curve: Some(curve.into()), ..ours.clone() };
        assert_eq!(Proof::try_from(&json), Ok(proof(1)), "{curve}");
    }
}

#[test]
fn verifying_keys_round_trip_through_text() {
    let (g1, g2) = (G1Affine::generator(), G2Affine::generator());
    let twice = (g2 + g2).into_affine();
    let key = VerifyingKeyPoints { alpha: g1, beta: g2, gamma: twice, delta: g2, ic: vec![g1, G1Affine::zero()] };
    let json = VerifyingKeyJson::from(&key);
    let mut value = serde_json::to_value(&json).expect("strings alone");
    // The pairing is passed over, whatever it is.
    assert_eq!(value["vk_alphabeta_12"][1].as_array().map(Vec::len), Some(3));
    value["vk_alphabeta_12"] = serde_json::json!([]);
    let read: VerifyingKeyJson = serde_json::from_value(value).expect("what was written");
    assert_eq!(VerifyingKeyPoints::try_from(&read), Ok(key));
    let short = VerifyingKeyJson { public_count: 2, ..json.clone() };
    assert_eq!(VerifyingKeyPoints::try_from(&short), Err(JsonError::IcCount { public_inputs: 2, points: 2 }));
    let none = VerifyingKeyJson { public_count: usize::MAX, ic: Vec::new(), ..json.clone() };
    assert!(VerifyingKeyPoints::try_from(&none).is_err());
    let fflonk = VerifyingKeyJson { protocol: "fflonk".into(), ..json };
    assert_eq!(VerifyingKeyPoints::try_from(&fflonk), Err(JsonError::OtherProtocol("fflonk".into())));
}

#[test]
fn numbers_are_canonical_decimals_below_the_order() {
    for number in [Fr::ZERO, Fr::ONE, -Fr::ONE, Fr::from(u64::MAX)] {
        let json = serde_json::to_string(&PublicJson::new(&[number, Fr::ONE])).expect("strings alone");
        assert_eq!(json, format!("[\"{number}\",\"1\"]"));
        let read: PublicJson = serde_json::from_str(&json).expect("what was written");
        assert_eq!(read.inputs(), [number, Fr::ONE]);
    }
    let order = Fr::MODULUS.to_string();
    for (text, told) in [
        ("", "is empty"),
        ("00", "has leading zeros"),
        ("01", "has leading zeros"),
        ("-1", "is negative"),
        ("+1", "is not a decimal number"),
        ("1 ", "is not a decimal number"),
        ("1e3", "is not a decimal number"),
        ("0x1", "is hexadecimal, where a decimal number is read"),
        (&order, "is not below the order of its field"),
        (&"9".repeat(77), "is not below the order of its field"),
        (&"9".repeat(78), "is not below the order of its field"),
    ] {
        let error = serde_json::from_value::<PublicJson>(serde_json::json!(["1", text])).expect_err("no element");
        assert_eq!(error.to_string(), format!("public input 2 {told}"));
    }
    assert!(serde_json::from_str::<PublicJson>("[]").expect("none").inputs().is_empty());
    assert!(serde_json::from_str::<PublicJson>("{}").is_err());
}

#[test]
fn what_snarkjs_takes_is_taken() {
    let good = ProofJson::from(&proof(1));
    let mut value = serde_json::to_value(&good).expect("strings alone");
    value["publicSignals"] = serde_json::json!(["6"]);
    value["pi_a"][2] = 1.into();
    let object = value.as_object_mut().expect("it is one");
    object.remove("protocol");
    object.remove("curve");
    let read: ProofJson = serde_json::from_value(value).expect("extra fields, no protocol, a number for a string");
    assert_eq!(Proof::try_from(&read), Ok(proof(1)));
    let numbers = |text| serde_json::from_str::<PublicJson>(text).map(PublicJson::into_inputs);
    let exact = numbers("[6, \"7\", 18446744073709551615]").expect("exact numbers");
    assert_eq!(exact, [6, 7, u64::MAX].map(Fr::from));
    assert!(numbers("[-1]").expect_err("no element").to_string().starts_with("public input 1 is negative"));
    // What JSON rounds is another number.
    for rounded in ["[18446744073709551616]", "[1.0]", "[1e30]", "[null]", "[[1]]"] {
        let told = numbers(rounded).expect_err("no exact number").to_string();
        assert!(told.contains("a decimal number in a string"), "{told}");
    }
}

#[test]
fn what_is_no_proof_is_refused() {
    let good = ProofJson::from(&proof(1));
    let altered = |alter: fn(&mut ProofJson)| {
        let mut json = good.clone();
        alter(&mut json);
        Proof::try_from(&json)
    };
    let other = altered(|json| json.protocol = "plonk".into());
    assert_eq!(other, Err(JsonError::OtherProtocol("plonk".into())));
    let other = altered(|json| json.curve = Some("bls12381".into()));
    assert_eq!(other, Err(JsonError::OtherCurve("bls12381".into())));
    let [a, b, c] = ["pi_a", "pi_b", "pi_c"].map(JsonPlace::Point);
    assert_eq!(altered(|json| json.pi_a[2] = plain("2")), Err(JsonError::NotAffine(a)));
    assert_eq!(altered(|json| json.pi_b[2][1] = plain("1")), Err(JsonError::NotAffine(b)));
    assert_eq!(altered(|json| json.pi_c = INFINITY.map(plain)), Err(JsonError::Infinity(c)));
    assert_eq!(altered(|json| json.pi_b[2] = ["0", "0"].map(plain)), Err(JsonError::Infinity(b)));
    assert_eq!(altered(|json| json.pi_b.swap(0, 1)), Err(JsonError::Point(PointError::NotOnCurve)));
    assert_eq!(altered(|json| json.pi_a[0] = plain("0")), Err(JsonError::Point(PointError::NotOnCurve)));
    let fault = NumberFault::TooGreat;
    let great = altered(|json| json.pi_c[1] = plain(&Fq::MODULUS.to_string()));
    assert_eq!(great, Err(JsonError::Number { place: c, fault }));
}
