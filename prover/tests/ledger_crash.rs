//! A process that writes to a ledger is killed, or runs out of disk; what it had reported as done must still be there.
//!
//! Each test runs itself again as that process, told by an environment variable.

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    num::NonZeroU16,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};
use taproof_base::{
    artefact::{Artefact, ArtefactKind},
    store_error::StoreError,
};
use taproof_circuits::{
    chunk::witness::ChunkWitness,
    schnorr::SecretKey,
    state::{Plan, PostedChunk, Slots, State},
    transaction::{Deposit, Signed, Transaction, Transfer},
};
use taproof_rollup::ledger::{AppliedBatch, Ledger, LedgerError, WaitingDeposit};
use taproof_verifier::cell::{CellIndex, ChainId, Depth, Token};

const CHAIN: ChainId = ChainId::from_byte_array([7; 15]);
/// Names the ledger's file to the process that is to write to it.
const LEDGER: &str = "TAPROOF_TEST_LEDGER";

/// What the process keeps of a batch, padded so that the file grows.
#[derive(Serialize, Deserialize)]
struct Kept {
    chunks: Vec<ChunkWitness>,
    padding: Vec<u8>,
}

impl Artefact for Kept {
    const KIND: ArtefactKind = ArtefactKind::Batch;
    const VERSION: u8 = 1;
    const LENGTH_MAX: u64 = 1 << 20;
}

fn kept(applied: &AppliedBatch) -> Kept {
    Kept { chunks: applied.batch.chunks.clone(), padding: vec![0xa5; 100_000] }
}

fn depth() -> Depth {
    Depth::new(2).expect("two levels")
}

fn plan() -> Plan {
    let slots = Slots::uniform(NonZeroU16::new(2).expect("not zero"));
    Plan { height_blocks: 0, slots, operators: BTreeMap::new(), chunks_max: 100, admission: Default::default() }
}

fn open_or_create(path: &Path) -> Result<Ledger, LedgerError> {
    match Ledger::open(path, CHAIN) {
        Err(LedgerError::NotFound(_)) => Ledger::create(path, CHAIN, depth()),
        opened => opened,
    }
}

/// Adds a deposit and a payment and applies them, again and again, reporting each batch once it is stored.
fn write_on(path: &Path) -> Result<(), LedgerError> {
    let mut ledger = open_or_create(path)?;
    let key = SecretKey::from_seed(&[1; 32]);
    let deposit = Deposit { amount_sat: 1, owner: *key.public() };
    loop {
        let waiting = ledger.deposits()?.len() as u64;
        let scanned = WaitingDeposit { deposit, height_blocks: 0 };
        ledger.set_deposits(ledger.deposits_consumed() + waiting, &[scanned])?;
        let from = CellIndex::default();
        if let Some(account) = ledger.state().account(from) {
            let nonce = account.nonce;
            let body = Transfer {
                chain_id: CHAIN,
                token: Token::BITCOIN,
                from,
                nonce,
                to: from,
                amount: account.balance,
                fee: 0,
            };
            ledger.add_transactions(&[Transaction::Transfer(Signed::sign(body, &key))])?;
        }
        let applied = ledger.apply(&plan(), depth(), 0, kept)?;
        let mut out = std::io::stdout();
        writeln!(out, "batch {}", applied.number).and_then(|()| out.flush()).expect("the parent reads");
    }
}

/// Checks a ledger after its process ended: each reported batch is there, at most one more, and all of them replayed
/// lead to its state.
fn assert_sound(path: &Path, reported: u64) -> u64 {
    let ledger = match Ledger::open(path, CHAIN) {
        Err(LedgerError::NotFound(_)) if reported == 0 => return 0,
        opened => opened.expect("a sound ledger"),
    };
    let count = ledger.next_batch();
    assert!(count == reported || count == reported + 1, "{reported} batches reported, {count} found");
    let mut rebuilt = State::new(CHAIN, depth());
    for batch in 0..count {
        let kept: Kept = ledger.artefact(batch).expect("readable").expect("every batch is kept");
        for chunk in kept.chunks {
            let (context, root_after) = (chunk.statement.context, chunk.statement.root_after);
            let records = chunk.records();
            let posted =
                PostedChunk { token: context.token, operator: context.operator, records: &records, root_after };
            rebuilt.replay(depth(), 0, &[posted]).expect("what was posted");
            rebuilt.commit();
        }
    }
    assert_eq!(ledger.state().tree().snapshot(), rebuilt.tree().snapshot());
    assert_eq!(ledger.deposits_consumed(), rebuilt.account(CellIndex::default()).map_or(0, |account| account.balance));
    count
}

fn ledger_of_this_process() -> Option<PathBuf> {
    std::env::var_os(LEDGER).map(PathBuf::from)
}

/// This test, to be run as the process that writes.
fn command(test: &str, path: &Path) -> Command {
    let mut command = Command::new("bash");
    let executable = std::env::current_exe().expect("a running program");
    command.env(LEDGER, path).env("TEST_EXECUTABLE", executable).env("TEST_NAME", test);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// How many batches the process reported, where an earlier one had reported some.
fn reported(written: &str, before: u64) -> u64 {
    // A kill may cut the last line, so only what ends in a line break counts.
    let lines = written.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    let mut numbers =
        lines.filter_map(|line| line.split_once("batch ").and_then(|(_, number)| number.parse::<u64>().ok()));
    numbers.next_back().map_or(before, |last| last + 1)
}

#[test]
fn a_ledger_survives_kills_at_any_moment() {
    if let Some(path) = ledger_of_this_process() {
        write_on(&path).expect("a disk with room");
    }
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path().join("ledger");
    let mut rng = StdRng::seed_from_u64(3);
    let mut count = 0;
    for round in 0..14 {
        let mut process = command("a_ledger_survives_kills_at_any_moment", &path)
            .args(["-c", r#"exec "$TEST_EXECUTABLE" --exact "$TEST_NAME" --nocapture"#])
            .spawn()
            .expect("bash is there");
        let mut stdout = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut written = String::new();
        // Most rounds wait until something is written, the last ones also hit the start.
        while round < 10 && !written.contains("batch") {
            assert_ne!(stdout.read_line(&mut written).expect("readable"), 0, "it ended by itself");
        }
        std::thread::sleep(Duration::from_millis(rng.gen_range(0..200)));
        if round == 2 {
            let busy = Ledger::open(&path, CHAIN);
            assert!(matches!(busy, Err(LedgerError::Store(StoreError::Busy(_)))), "{busy:?}");
        }
        process.kill().expect("it runs until it is killed");
        stdout.read_to_string(&mut written).expect("readable");
        process.wait().expect("it was killed");
        let after = assert_sound(&path, reported(&written, count));
        assert!(round >= 10 || after > count, "what was reported is there");
        count = after;
    }
}

#[test]
fn a_full_disk_is_an_error_and_loses_nothing() {
    if let Some(path) = ledger_of_this_process() {
        let refused = write_on(&path);
        assert!(matches!(refused, Err(LedgerError::Store(StoreError::DiskFull(_)))), "{refused:?}");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path().join("ledger");
    let output = command("a_full_disk_is_an_error_and_loses_nothing", &path)
        .args(["-c", r#"trap '' XFSZ; ulimit -f 6000; exec "$TEST_EXECUTABLE" --exact "$TEST_NAME" --nocapture"#])
        .output()
        .expect("bash is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let reported = reported(&String::from_utf8_lossy(&output.stdout), 0);
    assert!(reported > 3, "{reported} batches fit");
    assert_sound(&path, reported);
    // With room again, the ledger goes on from where it stood.
    let mut ledger = Ledger::open(&path, CHAIN).expect("a sound ledger");
    let before = ledger.next_batch();
    let key = SecretKey::from_seed(&[2; 32]);
    let waiting = ledger.deposits().expect("readable").len() as u64;
    let scanned = WaitingDeposit { deposit: Deposit { amount_sat: 1, owner: *key.public() }, height_blocks: 0 };
    ledger.set_deposits(ledger.deposits_consumed() + waiting, &[scanned]).expect("room");
    ledger.apply(&plan(), depth(), 0, kept).expect("room");
    assert_eq!(ledger.next_batch(), before + 1);
}

/// What a ledger has of each: batches, deposits ever found, transactions ever added that were applied or wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    batches: u64,
    deposits: u64,
    transactions: u64,
}

impl Counts {
    fn of(ledger: &Ledger) -> Self {
        let waiting = ledger.deposits().expect("readable").len() as u64;
        let sent = ledger.state().account(CellIndex::default()).map_or(0, |account| account.nonce.into());
        Self {
            batches: ledger.next_batch(),
            deposits: ledger.deposits_consumed() + waiting,
            transactions: sent + ledger.transactions().expect("readable").len() as u64,
        }
    }

    /// Reads the last whole line that the process wrote.
    fn read(written: &str, before: Self) -> Self {
        let lines = written.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        let mut counts = lines.filter_map(|line| {
            let mut numbers = line.split_once("counts ")?.1.split(' ').map(|number| number.parse().ok());
            let mut next = || numbers.next().flatten();
            Some(Self { batches: next()?, deposits: next()?, transactions: next()? })
        });
        counts.next_back().unwrap_or(before)
    }
}

/// Adds, applies, and takes the last two of each five batches back, reporting each step once it is stored.
fn write_and_rewind(path: &Path) -> Result<(), LedgerError> {
    let mut ledger = open_or_create(path)?;
    let key = SecretKey::from_seed(&[1; 32]);
    let report = |ledger: &Ledger| {
        let Counts { batches, deposits, transactions } = Counts::of(ledger);
        let mut out = std::io::stdout();
        writeln!(out, "counts {batches} {deposits} {transactions}").and_then(|()| out.flush()).expect("it is read");
    };
    for step in 1u64.. {
        let scanned = WaitingDeposit { deposit: Deposit { amount_sat: 1, owner: *key.public() }, height_blocks: 0 };
        ledger.set_deposits(Counts::of(&ledger).deposits, &[scanned])?;
        report(&ledger);
        let from = CellIndex::default();
        let nonce = Counts::of(&ledger).transactions as u32;
        let body = Transfer { chain_id: CHAIN, token: Token::BITCOIN, from, nonce, to: from, amount: 1, fee: 0 };
        ledger.add_transactions(&[Transaction::Transfer(Signed::sign(body, &key))])?;
        report(&ledger);
        ledger.apply(&plan(), depth(), 0, kept)?;
        report(&ledger);
        if step.is_multiple_of(5) {
            ledger.rewind_to(ledger.next_batch() - 2)?;
            report(&ledger);
        }
        ledger.forget_before(ledger.next_batch().saturating_sub(4))?;
    }
    Ok(())
}

#[test]
fn a_ledger_that_goes_back_survives_kills_at_any_moment() {
    if let Some(path) = ledger_of_this_process() {
        write_and_rewind(&path).expect("a disk with room");
    }
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path().join("ledger");
    let mut rng = StdRng::seed_from_u64(4);
    let mut counts = Counts::default();
    for round in 0..14 {
        let mut process = command("a_ledger_that_goes_back_survives_kills_at_any_moment", &path)
            .args(["-c", r#"exec "$TEST_EXECUTABLE" --exact "$TEST_NAME" --nocapture"#])
            .spawn()
            .expect("bash is there");
        let mut stdout = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut written = String::new();
        while !written.contains("counts") {
            assert_ne!(stdout.read_line(&mut written).expect("readable"), 0, "it ended by itself");
        }
        std::thread::sleep(Duration::from_millis(rng.gen_range(0..300)));
        process.kill().expect("it runs until it is killed");
        stdout.read_to_string(&mut written).expect("readable");
        process.wait().expect("it was killed");
        let reported = Counts::read(&written, counts);
        let found = Counts::of(&Ledger::open(&path, CHAIN).expect("a sound ledger"));
        // At most one step was stored and not reported.
        let Counts { batches, deposits, transactions } = reported;
        let next = [
            reported,
            Counts { deposits: deposits + 1, ..reported },
            Counts { transactions: transactions + 1, ..reported },
            Counts { batches: batches + 1, ..reported },
            Counts { batches: batches.saturating_sub(2), ..reported },
        ];
        assert!(next.contains(&found), "round {round}: {reported:?} reported, {found:?} found");
        assert_sound(&path, found.batches);
        counts = found;
    }
    assert!(counts.batches > 3 && counts.deposits > counts.batches, "{counts:?}: some batches were taken back");
}
