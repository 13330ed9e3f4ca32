//! What a file is, by its first bytes or else by what it holds, and where it belongs.

use super::{
    failure::{Exit, Failure},
    input::called,
    inspect::{self, circom},
};
use std::{
    fmt,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};
use taproof_base::artefact::{self, ArtefactKind};
use taproof_kernel::{key_file::KeyFile, proving_key::Circuit, zkey};

/// What a file holds, as its first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Zkey,
    Key,
    Witness,
    Circuit,
    PowersOfTau,
    WebAssembly,
    Artefact,
    Proof,
    VerifyingKey,
    Public,
    Other,
}

/// Enough for the first key of an object of JSON.
pub(crate) const START_LENGTH: u64 = 64;

/// The bytes that files begin with.
const MAGICS: [(&[u8], Form); 7] = [
    (b"zkey", Form::Zkey),
    (b"taproofk", Form::Key),
    (b"wtns", Form::Witness),
    (b"r1cs", Form::Circuit),
    (b"ptau", Form::PowersOfTau),
    (b"\0asm", Form::WebAssembly),
    (&artefact::MAGIC, Form::Artefact),
];

impl Form {
    /// The form that a file begins as.
    pub(crate) fn of(start: &[u8]) -> Self {
        if let Some((_, form)) = MAGICS.into_iter().find(|(magic, _)| start.starts_with(magic)) {
            return form;
        }
        // Whatever tool wrote it, these keys come first; white space is the writer's own.
        let text: Vec<u8> = start.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        if text.starts_with(b"{\"pi_a\"") {
            Self::Proof
        } else if text.starts_with(b"{\"protocol\"") {
            Self::VerifyingKey
        } else if text.first() == Some(&b'[') && text.get(1).is_some_and(|next| b"\"]0123456789".contains(next)) {
            Self::Public
        } else {
            Self::Other
        }
    }

    /// Whether what begins like this may be of this form: one with magic bytes always begins with them, and JSON with a
    /// bracket, whose first key need not be the usual one.
    pub(crate) fn may_begin(self, start: &[u8]) -> bool {
        match MAGICS.into_iter().find(|(_, form)| *form == self) {
            Some((magic, _)) => start.starts_with(magic),
            None => start.trim_ascii_start().first().is_none_or(|first| b"{[".contains(first)) && !start.is_empty(),
        }
    }

    /// The whole command that takes a file of this form, whatever the command at hand is called.
    fn place(self, path: &Path) -> Option<String> {
        let file = path.display();
        Some(match self {
            Self::Zkey if is_of_other_protocol(path) => {
                "only Groth16 is proven here, and this is a key of another protocol".to_owned()
            }
            Self::Zkey => format!(
                "`taproof prove --zkey {file} --witness FILE` proves with it, and `taproof import-zkey {file}` makes \
                 it \
                 ready for --key"
            ),
            Self::Key if is_own_key(path) => {
                "it is a key of a rollup: commands find it in keys/ of the data directory".to_owned()
            }
            Self::Key => format!("`taproof prove --key {file} --witness FILE` proves with it"),
            Self::Witness => format!("`taproof prove --zkey FILE --witness {file}` proves it"),
            Self::Circuit => {
                format!("`taproof prove --zkey FILE --witness FILE --r1cs {file}` checks a witness against it")
            }
            Self::PowersOfTau => {
                "a key is made from it and a circuit by `snarkjs groth16 setup` and `snarkjs zkey contribute`"
                    .to_owned()
            }
            Self::WebAssembly => "the circuit's program computes a witness: `snarkjs wtns calculate`".to_owned(),
            Self::Artefact => return artefact_kind(path).and_then(|kind| artefact_place(kind, path)),
            Self::Proof => format!("`taproof verify --vkey FILE --public FILE --proof {file}` checks it"),
            Self::VerifyingKey => {
                format!("`taproof verify --vkey {file} --public FILE --proof FILE` checks a proof with it")
            }
            Self::Public => format!("`taproof verify --vkey FILE --public {file} --proof FILE` checks a proof of them"),
            Self::Other => return None,
        })
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zkey => "a .zkey",
            Self::Key => "a key that was made ready by taproof",
            Self::Witness => "a witness (.wtns)",
            Self::Circuit => "a circuit (.r1cs)",
            Self::PowersOfTau => "a powers-of-tau file (.ptau)",
            Self::WebAssembly => "a WebAssembly program",
            Self::Artefact => "a file of a rollup",
            Self::Proof => "a proof (proof.json)",
            Self::VerifyingKey => "a verifying key (verification_key.json)",
            Self::Public => "a list of public inputs (public.json)",
            Self::Other => "of no format that taproof knows",
        })
    }
}

fn is_of_other_protocol(path: &Path) -> bool {
    open_regular(path).is_some_and(|file| matches!(zkey::expect_protocol(file), Err(zkey::ReadError::Protocol(_))))
}

fn is_own_key(path: &Path) -> bool {
    KeyFile::open(path).is_ok_and(|key| matches!(key.header().circuit(), Circuit::Own(_)))
}

/// Opens a file on the disk, and nothing else, as a pipe would wait for somebody.
fn open_regular(path: &Path) -> Option<File> {
    path.is_file().then(|| File::open(path).ok())?
}

/// The first bytes of a file on the disk.
fn start_of(path: &Path) -> Option<Vec<u8>> {
    let mut start = Vec::new();
    open_regular(path)?.take(START_LENGTH).read_to_end(&mut start).ok()?;
    Some(start)
}

fn artefact_kind(path: &Path) -> Option<ArtefactKind> {
    ArtefactKind::from_number(*start_of(path)?.get(artefact::MAGIC.len())?)
}

fn artefact_place(kind: ArtefactKind, path: &Path) -> Option<String> {
    let file = path.display();
    Some(match kind {
        ArtefactKind::Batch => format!("`taproof prove {file}` proves it"),
        ArtefactKind::Proofs => format!("`taproof verify {file}` checks it"),
        ArtefactKind::StateProof => format!("`taproof verify-account {file}` checks it"),
        ArtefactKind::Checkpoint => {
            format!("`taproof follow --headers-only --checkpoint {file}` begins there, and so does `taproof join`")
        }
        _ => return None,
    })
}

/// What a file is, in words, and the command that takes it.
struct Nature {
    what: String,
    place: Option<String>,
}

impl Nature {
    /// Looks into a file on the disk. Nothing is known of a pipe, of a file that is not there, or of one of no known
    /// format.
    fn of(path: &Path) -> Option<Self> {
        let start = start_of(path)?;
        if start.is_empty() {
            return Some(Self { what: "empty".to_owned(), place: None });
        }
        let nature = |what: &str, place: Option<String>| Some(Self { what: what.to_owned(), place });
        let form = Form::of(&start);
        let of_form = || nature(&form.to_string(), form.place(path));
        match form {
            Form::Other | Form::VerifyingKey => {}
            Form::Artefact => {
                let what = artefact_kind(path).map_or("a file of a rollup", ArtefactKind::described);
                return nature(what, Form::Artefact.place(path));
            }
            _ => return of_form(),
        }
        let file = path.display();
        let of_folder = || Some("commands find it in their data directory, which --dir names".to_owned());
        let found = match inspect::format(path) {
            // Damaged, it is one all the same.
            None if form == Form::VerifyingKey => return of_form(),
            found => found?,
        };
        match found.as_str() {
            "verifying key (json)" => {
                let form = Form::VerifyingKey;
                nature(&form.to_string(), form.place(path))
            }
            circom::INPUTS => nature(&format!("a file of {}", circom::INPUTS), Some(compute(&file.to_string()))),
            circom::KEY => {
                nature(&format!("a {}", circom::KEY), Some("name the .zkey that it was exported from".to_owned()))
            }
            "regtest chain" => nature("an embedded regtest chain", of_folder()),
            "store" => nature("a store of a data directory (redb)", of_folder()),
            "parameters" => nature("a rollup's params.json", of_folder()),
            "program" => nature("a rollup's program.bin", of_folder()),
            "wallet words" | "encrypted wallet words" => {
                nature("a wallet", Some(format!("commands that need a wallet take it with --wallet {file}")))
            }
            "transactions" => nature("a file of transactions", Some(format!("`taproof batch {file}` takes it"))),
            "transaction of the rollup" => {
                nature("a transaction of a rollup", Some(format!("`taproof batch {file}` takes it")))
            }
            "psbt" => nature("a PSBT", Some(format!("`taproof inspect {file}` says what it would do"))),
            "block" => nature("a Bitcoin block", Some(format!("`taproof import-block {file}` takes it"))),
            "payout link" | "bitcoin transaction" => {
                nature("a Bitcoin transaction", Some(format!("`taproof bridge send {file}` sends it")))
            }
            known => {
                let article = match known {
                    _ if known.trim_end_matches(" (json)").ends_with('s') => "a file of",
                    _ if known.starts_with(['a', 'e', 'i', 'o', 'u']) => "an",
                    _ => "a",
                };
                nature(&format!("{article} {known}"), Some(format!("`taproof inspect {file}` says what it holds")))
            }
        }
    }
}

/// How a witness comes of the inputs of a circuit.
fn compute(inputs: &str) -> String {
    format!("compute the witness of them first: `snarkjs wtns calculate circuit.wasm {inputs} witness.wtns`")
}

/// A file that is something else than what is wanted in its place.
#[derive(Debug, thiserror::Error)]
#[error("{} is {found}, where {expected} is wanted", called(path))]
pub(crate) struct Misplaced {
    path: PathBuf,
    found: String,
    expected: String,
}

impl Misplaced {
    /// Whether it is a file of those that a prover reads and writes, and so may be in its right place nearby.
    pub(crate) fn is_of_prover(&self) -> bool {
        let forms = [Form::Zkey, Form::Key, Form::Witness, Form::Proof, Form::Public];
        forms.into_iter().any(|form| form.to_string() == self.found)
    }

    /// The failure, with where the file belongs.
    fn failure(path: &Path, expected: &str, found: Nature) -> Failure {
        let Nature { what: found, place } = found;
        let failure = Failure::of(Exit::Input, Self { path: path.to_owned(), found, expected: expected.to_owned() });
        match place {
            Some(place) => failure.advise(place),
            None => failure,
        }
    }
}

/// The failure of a file whose first bytes are those of another form, or of none.
pub(crate) fn misplaced(path: &Path, expected: Form, start: &[u8]) -> Failure {
    let found = Form::of(start);
    let what = if start.is_empty() { "empty".to_owned() } else { found.to_string() };
    let exported = || format!("`taproof export --vkey {}` writes the verifying key of it", path.display());
    let place = match (expected, found) {
        (Form::VerifyingKey, Form::Zkey | Form::Key) => Some(exported()),
        // The inputs of a circuit are an object whose names are anybody's.
        (Form::Witness, Form::Other) if start.trim_ascii_start().starts_with(b"{") => Some(compute("input.json")),
        _ => found.place(path),
    };
    Misplaced::failure(path, &expected.to_string(), Nature { what, place })
}

/// The failure of a file of no known format.
pub(crate) fn unknown(path: &Path, expected: &str) -> Failure {
    Misplaced::failure(path, expected, Nature { what: Form::Other.to_string(), place: None })
}

/// The failure of a file on the disk that is something else than what is wanted; none if it is that, or nobody knows
/// what it is.
pub(crate) fn elsewhere(path: &Path, expected: &str) -> Option<Failure> {
    // What is of this kind and damaged has words of its own.
    let nature = Nature::of(path).filter(|nature| nature.what != expected)?;
    Some(Misplaced::failure(path, expected, nature))
}

/// A failure to read a file as something: if the file is something else, that is said, and where it belongs.
pub(crate) fn or_misplaced(failure: Failure, path: &Path, expected: &str) -> Failure {
    if path.is_dir() {
        let message = format!("{} is a folder, where {expected} is wanted", path.display());
        return Failure::new(failure.exit(), message);
    }
    elsewhere(path, expected).unwrap_or(failure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_their_first_bytes() {
        for (start, form) in [
            (&b"zkey\x01\0\0\0"[..], Form::Zkey),
            (b"taproofk", Form::Key),
            (b"taproof\0", Form::Artefact),
            (b"wtns", Form::Witness),
            (b"r1cs", Form::Circuit),
            (b"{\n \"pi_a\": [", Form::Proof),
            (b"{\"protocol\":\"groth16\"", Form::VerifyingKey),
            (b"{\"A\": 3", Form::Other),
            (b"[\n \"35\"\n]", Form::Public),
            (b"[]", Form::Public),
            (b"zke", Form::Other),
            (b"{\"format\"", Form::Other),
            (b"", Form::Other),
        ] {
            assert_eq!(Form::of(start), form, "{}", start.escape_ascii());
        }
    }

    #[test]
    fn first_bytes_rule_a_form_out() {
        for (form, start, may) in [
            (Form::Zkey, &b"zkey\x01"[..], true),
            (Form::Zkey, b"wtns\x02", false),
            (Form::Zkey, b"", false),
            (Form::Witness, &[0; 64], false),
            (Form::Proof, b" \n{\"proof\"", true),
            (Form::Public, b"[ 35 ]", true),
            (Form::Public, b"   ", true),
            (Form::Public, b"", false),
            (Form::Proof, &[0; 64], false),
        ] {
            assert_eq!(form.may_begin(start), may, "{form}: {}", start.escape_ascii());
        }
    }
}
