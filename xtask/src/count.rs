//! Counts the instructions of fixed work under valgrind and compares them with stored counts: a measurement that
//! neighbours on the machine do not disturb.
//!
//! What is counted is one run of a subject of `taproof bench` on one thread, its preparation left out, in the build
//! that the tests use, so with the checks of debug builds. Counts depend on the compiler and on the instruction sets
//! of the processor that valgrind presents, which lacks `adx` and AVX-512; both are stored, and counts of other ones
//! are told but not compared.

use crate::{cargo, root, run, tools};
use anyhow::{Context, bail, ensure};
use std::{collections::BTreeMap, fmt, fs, path::Path, process::Command, thread};

/// What is counted: back ends, subjects and their sizes. The longest comes first.
const COUNTED: [(&str, &str, u32); 13] = [
    ("portable", "prove", 12),
    ("avx2", "prove", 12),
    ("portable", "witness", 15),
    ("portable", "setup", 12),
    ("avx2", "setup", 12),
    ("portable", "verify", 0),
    ("portable", "msm-g1", 10),
    ("portable", "msm-g2", 8),
    ("portable", "transform", 12),
    ("portable", "hash", 6),
    ("avx2", "msm-g1", 10),
    ("avx2", "msm-g2", 8),
    ("avx2", "transform", 12),
];

/// How far a count may lie from the stored one, in percent.
const TOLERANCE_PERCENT: f64 = 3.0;

const EXAMPLE: &str = "count_instructions";

/// Where counts are stored, below the root.
const STORED: &str = "benches/counts.txt";

const STORED_HEAD: &str = "\
# Instructions of one run on one thread, by back end, subject and binary logarithm of the size: see xtask/src/count.rs.
# `cargo xtask count` compares with them, `cargo xtask count --pin` writes them anew; the commit says why they changed.
";

/// Counts, and what they depend on.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    /// The compiler's name, version and date.
    compiler: String,
    /// The instruction sets that the program saw.
    code: String,
    /// By back end, subject and size.
    instructions: BTreeMap<String, u64>,
}

/// Counts anew and compares with the stored counts, or stores the new ones.
pub(crate) fn count(pin: bool) -> anyhow::Result<()> {
    tools::ensure_valgrind()?;
    // The workspace's other packages choose the dependencies' features: without them all dependencies would be built
    // again.
    run(cargo().args(["build", "--workspace", "--example", EXAMPLE]))?;
    let program = tools::target_folder(&root()).join("debug/examples").join(EXAMPLE);
    let counts = Counts::take(&program)?;
    let path = root().join(STORED);
    if pin {
        fs::write(&path, format!("{STORED_HEAD}{counts}")).with_context(|| format!("{STORED} cannot be written"))?;
        eprint!("xtask: pinned in {STORED}\n{counts}");
        return Ok(());
    }
    let text = fs::read_to_string(&path).with_context(|| format!("{STORED} cannot be read"))?;
    let stored = Counts::parse(&text).with_context(|| format!("{STORED} is not a list of counts"))?;
    counts.compare(&stored)
}

impl Counts {
    fn take(program: &Path) -> anyhow::Result<Self> {
        let compiler = output(Command::new("rustc").arg("--version").current_dir(root()))?;
        let threads = COUNTED.map(|(backend, subject, size)| {
            let (program, arguments) = (program.to_owned(), [backend, subject, &size.to_string()].map(str::to_owned));
            (arguments.join(" "), thread::spawn(move || count_one(&program, &arguments)))
        });
        let mut code = None;
        let mut instructions = BTreeMap::new();
        for (what, thread) in threads {
            let counted = thread.join().map_err(|_| anyhow::anyhow!("a count panicked"))?;
            let (its_code, count) = counted.with_context(|| format!("{what} was not counted"))?;
            code = Some(its_code);
            instructions.extend(count.map(|count| (what, count)));
        }
        Ok(Self { compiler: compiler.trim().to_owned(), code: code.context("nothing is counted")?, instructions })
    }

    fn compare(&self, stored: &Self) -> anyhow::Result<()> {
        for (what, now, then) in [("compiler", &self.compiler, &stored.compiler), ("code", &self.code, &stored.code)] {
            if now != then {
                eprint!("xtask: {what} is {now}, counts were stored with {then}: not comparable\n{self}");
                return Ok(());
            }
        }
        ensure!(self.instructions.keys().eq(stored.instructions.keys()), "{STORED} holds other subjects: pin them");
        let mut far = Vec::new();
        for ((what, now), then) in self.instructions.iter().zip(stored.instructions.values()) {
            let percent = 100.0 * (*now as f64 / *then as f64 - 1.0);
            let line = format!("{what}: {now} instructions, {percent:+.2} % from {then}");
            eprintln!("xtask: {line}");
            if percent.abs() > TOLERANCE_PERCENT {
                far.push(line);
            }
        }
        if !far.is_empty() {
            bail!(
                "more than {TOLERANCE_PERCENT} % from the counts in {STORED}; if that is meant, `cargo xtask count \
                 --pin`\n{}",
                far.join("\n")
            );
        }
        Ok(())
    }

    /// Reads what [`fmt::Display`] writes, and comments.
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let compiler = lines.next()?.strip_prefix("compiler: ")?.to_owned();
        let code = lines.next()?.strip_prefix("code: ")?.to_owned();
        let count = |line: &str| {
            let (what, count) = line.rsplit_once(' ')?;
            let is_name = what.split(' ').count() == 3;
            is_name.then_some((what.to_owned(), count.parse().ok()?))
        };
        Some(Self { compiler, code, instructions: lines.map(count).collect::<Option<_>>()? })
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "compiler: {}\ncode: {}", self.compiler, self.code)?;
        self.instructions.iter().try_for_each(|(what, count)| writeln!(f, "{what} {count}"))
    }
}

/// Gives the instruction sets that the program saw, and the instructions of its function `counted`, unless it cannot
/// run the back end.
fn count_one(program: &Path, arguments: &[String; 3]) -> anyhow::Result<(String, Option<u64>)> {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=count_instructions::counted*"])
        .arg(program)
        .args(arguments);
    let output = command.output().context("valgrind could not be started")?;
    let report = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {}\n{report}", output.status);
    let count: Option<u64> = report.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    let count = count.with_context(|| format!("{command:?} told no count\n{report}"))?;
    Ok((String::from_utf8_lossy(&output.stdout).trim().to_owned(), Some(count).filter(|count| *count > 0)))
}

fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("{command:?} could not be started"))?;
    ensure!(output.status.success(), "{command:?} failed: {}", output.status);
    String::from_utf8(output.stdout).with_context(|| format!("{command:?} wrote no text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(compiler: &str, count: u64) -> Counts {
        let instructions = [("portable prove 12", count), ("avx2 prove 12", 500)].map(|(what, n)| (what.to_owned(), n));
        Counts { compiler: compiler.to_owned(), code: "bmi2 avx2".to_owned(), instructions: instructions.into() }
    }

    #[test]
    fn counts_are_read_as_they_are_written() {
        let written = format!("{STORED_HEAD}{}", counts("rustc 1", 1000));
        assert_eq!(Counts::parse(&written), Some(counts("rustc 1", 1000)));
        for broken in
            ["", "compiler: a\n", "compiler: a\ncode: b\navx2 prove 12\n", "compiler: a\ncode: b\navx2 prove 12 1 1\n"]
        {
            assert_eq!(Counts::parse(broken), None);
        }
    }

    #[test]
    fn counts_far_above_and_below_are_refused() {
        let stored = counts("rustc 1", 1000);
        for near in [971, 1000, 1029] {
            assert!(counts("rustc 1", near).compare(&stored).is_ok());
        }
        for far in [969, 1031] {
            assert!(counts("rustc 1", far).compare(&stored).is_err());
        }
        let mut other = counts("rustc 1", 1000);
        other.instructions.remove("avx2 prove 12");
        assert!(other.compare(&stored).is_err());
    }

    #[test]
    fn counts_of_other_compilers_and_code_are_not_compared() {
        let stored = counts("rustc 1", 1000);
        assert!(counts("rustc 2", 2000).compare(&stored).is_ok());
        let other = Counts { code: "bmi2".to_owned(), ..counts("rustc 1", 2000) };
        assert!(other.compare(&stored).is_ok());
    }
}
