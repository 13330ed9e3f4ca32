//! Files of circom and snarkjs that taproof knows, and takes nowhere: sources, symbols and inputs of circuits, and what
//! belongs to other protocols than Groth16.

use super::Finding;
use crate::cli::failure::Result;
use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::json;
use std::fmt;
use taproof_base::shown::shown;

/// What `inspect` calls the inputs of a circuit, of which a witness is computed.
pub(crate) const INPUTS: &str = "circuit inputs (json)";
/// What `inspect` calls a .zkey that snarkjs has written as JSON.
pub(crate) const KEY: &str = "proving key (zkey as json)";

/// A text of circom's, which is no JSON.
pub(super) fn text(text: &str) -> Result<Option<Finding>> {
    if is_source(text) {
        let templates = text.lines().filter(|line| line.trim_start().starts_with("template ")).count();
        let lines = vec![("templates", templates.to_string())];
        return Finding::new("circuit source (circom)", &json!({ "templates": templates }), lines).map(Some);
    }
    if !text.is_empty() && text.lines().all(is_symbol) {
        let signals = text.lines().count();
        let lines = vec![("signals", signals.to_string())];
        return Finding::new("symbol table (sym)", &json!({ "signals": signals }), lines).map(Some);
    }
    Ok(None)
}

/// Whether a text says that it is circom's, or has a template and the component that it begins with.
fn is_source(text: &str) -> bool {
    let has = |start: &str| text.lines().any(|line| line.trim_start().starts_with(start));
    has("pragma circom ") || has("template ") && has("component main")
}

/// Whether a line is one of a .sym file: label, wire, which is -1 where it was left out, component, and name.
fn is_symbol(line: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let [label, wire, component, name] = line.splitn(4, ',').collect::<Vec<_>>()[..] else { return false };
    is_number(label) && (wire == "-1" || is_number(wire)) && is_number(component) && name.starts_with("main.")
}

/// What JSON of other protocols says of itself.
#[derive(Default, Deserialize)]
struct Outline {
    #[serde(default)]
    protocol: String,
    #[serde(rename = "nPublic")]
    public_inputs: Option<u64>,
}

/// What an object of JSON is that has some of these names; `None` for what is of no form that is known.
pub(super) fn json(text: &str, has: &dyn Fn(&str) -> bool) -> Result<Option<Finding>> {
    // Where a name is a signal's, it may have any value.
    let Outline { protocol, public_inputs } = serde_json::from_str(text).unwrap_or_default();
    let is_proof = has("eval_a") || has("evaluations");
    let (name, advice) = match (protocol.as_str(), has("n8q"), has("X_2"), is_proof) {
        (_, true, ..) => (KEY, "taproof takes the .zkey that it was exported from"),
        ("plonk", _, true, _) => ("verifying key of PLONK (json)", GROTH16),
        ("fflonk", _, true, _) => ("verifying key of FFLONK (json)", GROTH16),
        ("plonk", _, _, true) => ("proof of PLONK (json)", GROTH16),
        ("fflonk", _, _, true) => ("proof of FFLONK (json)", GROTH16),
        _ => return inputs(text),
    };
    let report = json!({ "protocol": shown(&protocol), "public_inputs": public_inputs });
    let mut lines = vec![("protocol", shown(&protocol))];
    lines.extend(public_inputs.map(|count| ("public inputs", count.to_string())));
    lines.push(("use", advice.to_owned()));
    Finding::new(name, &report, lines).map(Some)
}

/// What can be done here with a file of another protocol.
const GROTH16: &str = "none here: taproof proves and verifies Groth16";

/// The inputs of a circuit: names of signals with a number or numbers. They are as secret as the witness, and not kept.
fn inputs(text: &str) -> Result<Option<Finding>> {
    let Some(Signals(count)) = serde_json::from_str(text).ok().filter(|Signals(count)| *count > 0) else {
        return Ok(None);
    };
    let lines = vec![
        ("signals", format!("{count}, whose values are not shown")),
        ("use", "a witness is computed of it: `snarkjs wtns calculate`".to_owned()),
    ];
    Finding::new(INPUTS, &json!({ "signals": count }), lines).map(Some)
}

/// How many signals an object gives numbers.
struct Signals(usize);

impl<'de> Deserialize<'de> for Signals {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Signals;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("signals")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> std::result::Result<Signals, A::Error> {
                let mut count = 0;
                while fields.next_entry::<IgnoredAny, Signal>()?.is_some() {
                    count += 1;
                }
                Ok(Signals(count))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// A number, a number as a string, or a list of such.
struct Signal;

impl<'de> Deserialize<'de> for Signal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Signal {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or a list of numbers")
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> std::result::Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> std::result::Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> std::result::Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<Self, E> {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let is_number = match digits.strip_prefix("0x") {
            Some(digits) => !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
            None => !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()),
        };
        if is_number { Ok(self) } else { Err(E::custom("it is no number")) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Self, A::Error> {
        while list.next_element::<Signal>()?.is_some() {}
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(finding: Result<Option<Finding>>) -> Option<String> {
        finding.expect("it can be told").map(|finding| finding.value["format"].as_str().unwrap_or_default().to_owned())
    }

    #[test]
    fn inputs_are_names_of_signals_with_numbers() {
        for signals in [
            json!({ "a": "12", "secret": 99 }),
            json!({ "A": ["1", ["-2", "0x1F"]], "z": [] }),
            json!({ "a": "21888242871839275222246405745257275088548364400416034343698204186575808495616" }),
        ] {
            assert_eq!(format(inputs(&signals.to_string())).as_deref(), Some(INPUTS), "{signals}");
        }
        for other in
            [json!({}), json!({ "a": true }), json!({ "a": "b" }), json!({ "a": { "b": 1 } }), json!({ "a": "0x" })]
        {
            assert_eq!(format(inputs(&other.to_string())), None, "{other}");
        }
    }

    #[test]
    fn texts_of_circom_are_told_from_others() {
        for (source, expected) in [
            ("// mine\npragma circom 2.1.0;\ntemplate T() {}\n", Some("circuit source (circom)")),
            ("template T() { signal input a; }\ncomponent main = T();\n", Some("circuit source (circom)")),
            ("1,1,0,main.o[0]\n2,-1,0,main.h.in\n", Some("symbol table (sym)")),
            ("1,1,0,main.o\n2,x,0,main.a\n", None),
            ("template ", None),
            ("", None),
        ] {
            assert_eq!(format(text(source)).as_deref(), expected, "{source}");
        }
    }
}
