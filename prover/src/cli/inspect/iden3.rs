//! Files of iden3's formats, as circom, snarkjs and `taproof export` write them.

use super::{Finding, subject::Subject};
use crate::cli::failure::{Exit, Failure, Fallible, Result};
use ark_bn254::{Fq, Fr};
use serde_json::json;
use taproof_circuits::iden3::{
    Container, expect_prime,
    json::{ProofJson, PublicJson, VerifyingKeyJson, VerifyingKeyPoints},
    read_wtns,
};
use taproof_kernel::{
    foreign_key::{ForeignKey, ForeignVerifyingKey, Weakness},
    zkey,
};
use taproof_verifier::groth16::Proof;

/// A binary format, which begins with the four letters of its name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Format {
    Circuit,
    Witness,
    Key,
    PowersOfTau,
    WebAssembly,
}

impl Format {
    /// The format that a file begins as.
    pub(super) fn of(start: &[u8]) -> Option<Self> {
        match start.first_chunk::<4>()? {
            b"r1cs" => Some(Self::Circuit),
            b"wtns" => Some(Self::Witness),
            b"zkey" => Some(Self::Key),
            b"ptau" => Some(Self::PowersOfTau),
            b"\0asm" => Some(Self::WebAssembly),
            _ => None,
        }
    }

    /// What reports call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Circuit => "circuit (r1cs)",
            Self::Witness => "witness (wtns)",
            Self::Key => "proving key (zkey)",
            Self::PowersOfTau => "powers of tau (ptau)",
            Self::WebAssembly => "program (wasm)",
        }
    }
}

/// What a binary file holds.
pub(super) fn file(format: Format, subject: &Subject) -> Result<Finding> {
    match format {
        Format::Circuit => circuit(subject),
        Format::Witness => witness(subject),
        Format::Key => key(subject),
        Format::PowersOfTau => powers_of_tau(subject),
        Format::WebAssembly => {
            let holds = "WebAssembly, as circom's calculators of witnesses are".to_owned();
            Finding::new(format.name(), &json!({}), vec![("holds", holds)])
        }
    }
}

/// The header of an .r1cs file.
fn circuit(subject: &Subject) -> Result<Finding> {
    let mut container = Container::open(subject.reader()?, "r1cs", 1).or_exit_while(Exit::Input, subject.name())?;
    // The prime with its length, four counts of 32 bits, one of 64, one of 32.
    let header = container.start(1, 36 + 4 * 4 + 8 + 4).or_exit_while(Exit::Input, subject.name())?;
    let rest = expect_prime::<Fr>(&header, 1, "scalar field").or_exit_while(Exit::Input, subject.name())?;
    let counts: &[u8; 28] = rest
        .first_chunk()
        .ok_or_else(|| Failure::new(Exit::Input, format!("{}: the header ends early", subject.name())))?;
    let count = |offset: usize| {
        let bytes = counts[offset..].first_chunk().expect("the counts are 28 bytes");
        u32::from_le_bytes(*bytes)
    };
    let [wires, outputs, public_inputs, private_inputs, constraints] = [0, 4, 8, 12, 24].map(count);
    let report = json!({
        "constraints": constraints,
        "wires": wires,
        "public_outputs": outputs,
        "public_inputs": public_inputs,
        "private_inputs": private_inputs,
    });
    let lines = vec![
        ("constraints", constraints.to_string()),
        ("wires", wires.to_string()),
        ("public outputs", outputs.to_string()),
        ("public inputs", public_inputs.to_string()),
        ("private inputs", private_inputs.to_string()),
    ];
    Finding::new(Format::Circuit.name(), &report, lines)
}

/// The length of a witness; its values are secret.
fn witness(subject: &Subject) -> Result<Finding> {
    let wires = read_wtns(subject.reader()?).or_exit_while(Exit::Input, subject.name())?.len();
    let lines = vec![("wires", format!("{wires}, whose values are not shown"))];
    Finding::new(Format::Witness.name(), &json!({ "wires": wires }), lines)
}

/// A .zkey, checked as for proving.
fn key(subject: &Subject) -> Result<Finding> {
    let key = match zkey::read(subject.reader()?) {
        Err(zkey::ReadError::Protocol(number)) => {
            let protocol = zkey::protocol_name(number);
            let line = format!("{protocol}, where only Groth16 is proven here");
            return Finding::new(Format::Key.name(), &json!({ "protocol": protocol }), vec![("protocol", line)]);
        }
        key => key.or_exit_while(Exit::Input, subject.name())?,
    };
    let key = ForeignKey::new(key).or_exit_while(Exit::Input, subject.name())?;
    let counts = key.counts();
    let (constraints, wires) = (counts.rows(), counts.wires());
    let (public_inputs, matrix_hash) = (counts.public_wires() - 1, hex::encode(key.matrix_hash()));
    let weakness = key.weakness();
    let report = json!({
        "constraints": constraints,
        "wires": wires,
        "public_inputs": public_inputs,
        "matrix_hash": matrix_hash,
        "forgeable": weakness.is_some(),
    });
    let mut lines = vec![
        ("constraints", constraints.to_string()),
        ("wires", wires.to_string()),
        ("public inputs", public_inputs.to_string()),
        ("matrix hash", matrix_hash),
    ];
    lines.extend(weakness.map(|weakness| ("warning", weakness.to_string())));
    Finding::new(Format::Key.name(), &report, lines)
}

/// The header of a .ptau file.
fn powers_of_tau(subject: &Subject) -> Result<Finding> {
    let mut container = Container::open(subject.reader()?, "ptau", 1).or_exit_while(Exit::Input, subject.name())?;
    // The prime with its length, then two numbers of 32 bits: the power, and that of the ceremony it was cut from.
    let header = container.start(1, 36 + 2 * 4).or_exit_while(Exit::Input, subject.name())?;
    let rest = expect_prime::<Fq>(&header, 1, "base field").or_exit_while(Exit::Input, subject.name())?;
    let power = rest.first_chunk().map(|power| u32::from_le_bytes(*power));
    let power = power.ok_or_else(|| Failure::new(Exit::Input, format!("{}: the header ends early", subject.name())))?;
    let lines = vec![("constraints", format!("circuits of 2^{power} at most"))];
    Finding::new(Format::PowersOfTau.name(), &json!({ "power": power }), lines)
}

/// proof.json.
pub(super) fn proof(json: &ProofJson) -> Result<Finding> {
    Proof::try_from(json).or_exit(Exit::Input)?;
    let lines = vec![("holds", "three points of their groups; whether it verifies, its key and inputs say".to_owned())];
    Finding::new("proof (json)", &json!({ "protocol": "groth16" }), lines)
}

/// public.json.
pub(super) fn public_inputs(json: &PublicJson) -> Result<Finding> {
    /// How many inputs are listed for people, and for programs.
    const LISTED_MAX: usize = 8;
    const LISTED_JSON_MAX: usize = 1 << 10;
    let inputs = json.inputs();
    let mut lines = vec![("inputs", inputs.len().to_string())];
    lines.extend(inputs.iter().take(LISTED_MAX).map(|input| ("input", input.to_string())));
    let listed: Vec<String> = inputs.iter().take(LISTED_JSON_MAX).map(ToString::to_string).collect();
    Finding::new("public inputs (json)", &json!({ "count": inputs.len(), "inputs": listed }), lines)
}

/// verification_key.json.
pub(super) fn verifying_key(json: &VerifyingKeyJson) -> Result<Finding> {
    let points = VerifyingKeyPoints::try_from(json).or_exit(Exit::Input)?;
    let key = ForeignVerifyingKey::new(&points).or_exit(Exit::Input)?;
    let report = json!({ "public_inputs": key.public_inputs(), "forgeable": key.is_forgeable() });
    let mut lines = vec![("public inputs", key.public_inputs().to_string())];
    if key.is_forgeable() {
        lines.push(("warning", Weakness::NoContribution.to_string()));
    }
    Finding::new("verifying key (json)", &report, lines)
}
