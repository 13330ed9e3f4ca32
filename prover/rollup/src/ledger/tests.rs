use super::*;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, num::NonZeroU16};
use taproof_base::artefact::{ArtefactError, ArtefactKind};
use taproof_circuits::{
    schnorr::SecretKey,
    state::{DepositsLeftOutError, Plan, PlanError, Slots},
    transaction::{Signed, Transfer},
    tree::Tree,
};
use taproof_verifier::cell::{Account, Cell, CellIndex, Holding, Tickets, Token};
use tempfile::TempDir;

mod anchored;
mod exits;
mod rewind;
mod room;

const CHAIN: ChainId = ChainId::from_byte_array([7; 15]);

/// Stands for what a batch leaves behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note(Vec<u8>);

impl Artefact for Note {
    const KIND: ArtefactKind = ArtefactKind::Batch;
    const VERSION: u8 = 1;
    const LENGTH_MAX: u64 = 1 << 20;
}

fn index(i: u32) -> CellIndex {
    CellIndex::new(i).expect("below 2^30")
}

fn depth(levels: u8) -> Depth {
    Depth::new(levels).expect("1 to 10 levels")
}

fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

fn plan() -> Plan {
    let slots = Slots::uniform(NonZeroU16::new(2).expect("not zero"));
    Plan {
        height_blocks: 100,
        slots,
        operators: BTreeMap::from([(Token::BITCOIN, index(0))]),
        chunks_max: 100,
        admission: Default::default(),
    }
}

fn scanned(number: u8, amount_sat: u64, height_blocks: u32) -> WaitingDeposit {
    WaitingDeposit { deposit: Deposit { amount_sat, owner: *key(number).public() }, height_blocks }
}

fn transfer(number: u8, nonce: u32, to: u32, amount: u64) -> Transaction {
    let (from, to) = (index(number.into()), index(to));
    let body = Transfer { chain_id: CHAIN, token: Token::BITCOIN, from, nonce, to, amount, fee: 1 };
    Transaction::Transfer(Signed::sign(body, &key(number)))
}

fn note(applied: &AppliedBatch) -> Note {
    Note(vec![0xa5 ^ applied.number as u8; 100])
}

/// A ledger in a folder of its own, with accounts 0, 1 and 2 of 1,000 each.
fn funded() -> (TempDir, PathBuf, Ledger) {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path().join("ledger");
    let mut ledger = Ledger::create(&path, CHAIN, depth(2)).expect("a new file");
    ledger.set_deposits(0, &[0, 1, 2].map(|number| scanned(number, 1_000, 50))).expect("room");
    let applied = ledger.apply(&plan(), depth(2), 0, note).expect("a disk with room");
    assert_eq!((applied.number, applied.deposits_consumed), (0, 3));
    (folder, path, ledger)
}

fn reopen(path: &Path, ledger: Ledger) -> Ledger {
    drop(ledger);
    Ledger::open(path, CHAIN).expect("a sound ledger")
}

#[test]
fn everything_survives_a_restart() {
    let (_folder, path, mut ledger) = funded();
    ledger.add_transactions(&[transfer(1, 0, 2, 10), transfer(1, 9, 2, 10), transfer(2, 0, 1, 5)]).expect("room");
    ledger.set_deposits(3, &[scanned(4, 7, 60), scanned(5, 8, 200)]).expect("room");
    let mut ledger = reopen(&path, ledger);
    assert_eq!(ledger.transactions().expect("readable").len(), 3);
    assert_eq!(ledger.deposits().expect("readable"), [scanned(4, 7, 60), scanned(5, 8, 200)]);

    let applied = ledger.apply(&plan(), depth(3), 0, note).expect("a disk with room");
    assert_eq!((applied.number, applied.deposits_consumed, applied.batch.applied.len()), (1, 4, 2));
    assert_eq!(
        applied.rejected().map(|(transaction, _)| transaction.clone()).collect::<Vec<_>>(),
        [transfer(1, 9, 2, 10)]
    );
    let snapshot = ledger.state().tree().snapshot();
    let ledger = reopen(&path, ledger);
    assert_eq!(ledger.state().tree().snapshot(), snapshot);
    assert_eq!((ledger.state().depth(), ledger.next_batch(), ledger.deposits_consumed()), (depth(3), 2, 4));
    assert_eq!(ledger.transactions().expect("readable"), []);
    assert_eq!(ledger.deposits().expect("readable"), [scanned(5, 8, 200)]);
    assert_eq!(ledger.artefact::<Note>(1).expect("readable"), Some(Note(vec![0xa4; 100])));
    assert_eq!(ledger.artefact::<Note>(2).expect("readable"), None);
}

#[test]
fn what_finds_no_room_waits_on_and_nothing_makes_no_batch() {
    let (_folder, path, mut ledger) = funded();
    let root = ledger.state().root();
    let transactions: Vec<_> = (0..5).map(|nonce| transfer(1, nonce, 2, 1)).collect();
    ledger.add_transactions(&transactions).expect("room");
    let one = Plan { chunks_max: 1, ..plan() };
    let applied = ledger.apply(&one, depth(2), 0, note).expect("a disk with room");
    assert_eq!(applied.batch.left_over, [2, 3, 4]);
    let mut ledger = reopen(&path, ledger);
    assert_eq!(ledger.transactions().expect("readable"), transactions[2..]);
    ledger.apply(&plan(), depth(2), 0, note).expect("a disk with room");
    assert_ne!(ledger.state().root(), root);

    ledger.add_transactions(&[transfer(1, 0, 2, 1)]).expect("room");
    let root = ledger.state().root();
    let applied = ledger.apply(&plan(), depth(4), 0, note).expect("a disk with room");
    assert_eq!((applied.batch.chunks.len(), applied.rejected().count()), (0, 1));
    assert_eq!((ledger.next_batch(), ledger.state().root(), ledger.state().depth()), (3, root, depth(2)));
    assert_eq!(ledger.transactions().expect("readable"), []);
    assert_eq!(reopen(&path, ledger).state().root(), root);
}

#[test]
fn what_cannot_be_applied_leaves_the_ledger_as_it_was() {
    let (_folder, path, mut ledger) = funded();
    ledger.add_transactions(&[transfer(1, 0, 2, 1)]).expect("room");
    ledger.set_deposits(3, &[scanned(4, 7, 60)]).expect("room");
    let snapshot = ledger.state().tree().snapshot();
    let no_chunks = Plan { chunks_max: 0, ..plan() };
    let refused = ledger.apply(&no_chunks, depth(3), 0, note);
    assert!(matches!(refused, Err(LedgerError::DepositsDoNotFit { why: DepositsLeftOutError::ChunksMax })));
    let refused = ledger.apply(&plan(), depth(1), 0, note);
    assert!(matches!(refused, Err(LedgerError::Depth { .. })));
    let astray = Plan { operators: BTreeMap::from([(Token::BITCOIN, index(64))]), ..plan() };
    let refused = ledger.apply(&astray, depth(2), 0, note);
    assert!(matches!(refused, Err(LedgerError::Plan(PlanError::OperatorOutOfRange { .. }))));
    assert!(matches!(ledger.put_artefact(1, &Note(vec![])), Err(LedgerError::NoSuchBatch(1))));
    assert_eq!(ledger.state().tree().snapshot(), snapshot);
    let mut ledger = reopen(&path, ledger);
    assert_eq!((ledger.state().tree().snapshot(), ledger.next_batch()), (snapshot, 1));
    assert_eq!(ledger.apply(&plan(), depth(2), 0, note).expect("a disk with room").batch.applied, [0]);
}

#[test]
fn deposits_are_replaced_from_where_a_scan_starts() {
    let (_folder, _path, mut ledger) = funded();
    ledger.set_deposits(3, &[scanned(4, 1, 60), scanned(5, 2, 61), scanned(6, 3, 62)]).expect("room");
    ledger.set_deposits(4, &[scanned(7, 9, 61)]).expect("room");
    assert_eq!(ledger.deposits().expect("readable"), [scanned(4, 1, 60), scanned(7, 9, 61)]);
    for first in [2, 6] {
        let refused = ledger.set_deposits(first, &[]);
        assert!(matches!(refused, Err(LedgerError::DepositsApart { consumed: 3, known: 5, .. })));
    }
    ledger.set_deposits(3, &[]).expect("room");
    assert_eq!(ledger.deposits().expect("readable"), []);
}

#[test]
fn a_second_opening_and_a_foreign_chain_are_refused() {
    let (folder, path, ledger) = funded();
    assert!(matches!(Ledger::open(&path, CHAIN), Err(LedgerError::Store(StoreError::Busy(_)))));
    assert!(matches!(Ledger::create(&path, CHAIN, depth(2)), Err(LedgerError::AlreadyExists(_))));
    drop(ledger);
    let foreign = Ledger::open(&path, ChainId::from_byte_array([8; 15]));
    let Err(LedgerError::WrongChain { expected, found }) = foreign else { panic!("the ledger is of another rollup") };
    assert_eq!((expected, found), (ChainId::from_byte_array([8; 15]), CHAIN));
    let absent = folder.path().join("absent");
    assert!(matches!(Ledger::open(&absent, CHAIN), Err(LedgerError::NotFound(_))));
    let nowhere = absent.join("ledger");
    assert!(matches!(Ledger::create(&nowhere, CHAIN, depth(2)), Err(LedgerError::Store(StoreError::Io(_)))));
    assert!(Ledger::open(&path, CHAIN).is_ok());
}

#[test]
fn foreign_files_and_versions_are_refused() {
    let (folder, path, ledger) = funded();
    drop(ledger);
    let other = folder.path().join("other");
    for bytes in [&b""[..], b"no ledger", &[0; 10_000], &[0xff; 10_000]] {
        std::fs::write(&other, bytes).expect("room");
        let refused = Ledger::open(&other, CHAIN);
        assert!(
            matches!(refused, Err(LedgerError::Store(StoreError::NotAStore(_)))),
            "{} bytes: {refused:?}",
            bytes.len()
        );
        assert_eq!(std::fs::read(&other).expect("readable"), bytes);
    }
    assert!(matches!(Ledger::open(folder.path(), CHAIN), Err(LedgerError::Store(StoreError::NotAStore(_)))));

    std::fs::remove_file(&other).expect("it was just written");
    drop(Database::create(&other).expect("a store without tables"));
    assert!(matches!(Ledger::open(&other, CHAIN), Err(LedgerError::Store(StoreError::NotAStore(_)))));

    let database = Database::open(&path).expect("a sound store");
    let transaction = database.begin_write().expect("a sound store");
    transaction.open_table(FORMAT).expect("the table").insert((), 3).expect("room");
    transaction.commit().expect("room");
    drop(database);
    assert!(matches!(
        Ledger::open(&path, CHAIN),
        Err(LedgerError::Store(StoreError::Version { expected: 4, found: 3 }))
    ));
}

/// A later program's operations use tickets and pay into second holdings.
#[test]
fn cells_are_kept_and_put_back_whole() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path().join("ledger");
    let mut tree = Tree::new(depth(2));
    for number in 0..3u8 {
        let tickets = Tickets { base: u32::MAX - u32::from(number), used: 1 << number };
        let second = Holding { token: Token(u32::MAX), balance: u64::MAX - u64::from(number) };
        let account = Account::new(*key(number).public(), Token::BITCOIN, 1_000);
        let account = Account { tickets, second, ..account };
        tree.set(index(number.into()), Cell::Account(account)).expect("inside");
    }
    let state = State::load(CHAIN, &tree.snapshot()).expect("a snapshot");
    let head = Head::new(&state);
    let (ledger, unnamed) = Ledger::begin(&path, state, head).expect("a disk with room");
    let before = tree.snapshot();
    let mut ledger = reopen(&path, ledger.name(unnamed).expect("a new file"));
    assert_eq!(ledger.state().tree().snapshot(), before);
    ledger.add_transactions(&[transfer(1, 0, 2, 10)]).expect("room");
    ledger.apply(&plan(), depth(2), 0, note).expect("a disk with room");
    let mut ledger = reopen(&path, ledger);
    let cells = ledger.state().tree().snapshot().cells;
    for ((_, after), (_, before)) in cells.iter().zip(&before.cells) {
        let (Cell::Account(after), Cell::Account(before)) = (after, before) else { panic!("{after:?}, {before:?}") };
        assert_eq!((after.tickets, after.second), (before.tickets, before.second));
        assert_ne!(after, before, "each of the three was paid or paid");
    }
    ledger.rewind_to(0).expect("it is kept");
    assert_eq!(reopen(&path, ledger).state().tree().snapshot(), before);
}

#[test]
fn cells_that_do_not_hash_to_the_root_are_refused() {
    let (_folder, path, ledger) = funded();
    drop(ledger);
    let database = Database::open(&path).expect("a sound store");
    let transaction = database.begin_write().expect("a sound store");
    transaction.open_table(tables::CELLS).expect("the table").remove(1).expect("room");
    transaction.commit().expect("room");
    drop(database);
    assert!(matches!(Ledger::open(&path, CHAIN), Err(LedgerError::Store(StoreError::Corrupted(_)))));
}

#[test]
fn altered_files_are_refused_or_hold_what_they_held() {
    let (folder, path, mut ledger) = funded();
    ledger.add_transactions(&[transfer(1, 0, 2, 1)]).expect("room");
    let (snapshot, waiting) = (ledger.state().tree().snapshot(), ledger.transactions().expect("readable"));
    drop(ledger);
    let bytes = std::fs::read(&path).expect("readable");
    let used: Vec<_> = (0..bytes.len()).filter(|position| bytes[*position] != 0).collect();
    let mut rng = StdRng::seed_from_u64(1);
    let copy = folder.path().join("copy");
    let (mut refused, mut opened) = (0, 0);
    for _ in 0..150 {
        let mut altered = bytes.clone();
        let position = used[rng.gen_range(0..used.len())];
        altered[position] ^= 1 << rng.gen_range(0..8);
        std::fs::write(&copy, &altered).expect("room");
        match Ledger::open(&copy, CHAIN) {
            Ok(ledger) => {
                assert_eq!(ledger.state().tree().snapshot(), snapshot, "byte {position}");
                assert_eq!(ledger.transactions().expect("readable"), waiting, "byte {position}");
                assert_eq!(
                    ledger.artefact::<Note>(0).expect("readable"),
                    Some(Note(vec![0xa5; 100])),
                    "byte {position}"
                );
                opened += 1;
            }
            Err(LedgerError::Store(StoreError::Corrupted(_) | StoreError::NotAStore(_) | StoreError::Io(_))) => {
                refused += 1
            }
            Err(other) => panic!("byte {position}: {other:?}"),
        }
    }
    // Most bytes are left from earlier transactions or of no page in use.
    assert!(refused > 0 && opened > 0, "{refused} refused, {opened} opened");

    let root = taproof_verifier::field::to_bytes(&snapshot.root);
    let (_, signature) = waiting[0].signed().expect("a payment");
    let signature = signature.to_bytes();
    for content in [&root[..], &signature, &[0xa5; 100]] {
        let mut altered = bytes.clone();
        let positions = (0..bytes.len() - content.len()).filter(|start| bytes[*start..].starts_with(content));
        let count = positions.map(|start| altered[start + content.len() / 2] ^= 1).count();
        assert!(count > 0, "what is stored stands in the file as it is");
        std::fs::write(&copy, &altered).expect("room");
        assert!(matches!(Ledger::open(&copy, CHAIN), Err(LedgerError::Store(StoreError::Corrupted(_)))));
    }
}

#[test]
fn no_damaged_page_is_a_panic() {
    let (_folder, path, mut ledger) = funded();
    ledger.add_transactions(&[transfer(1, 0, 2, 1)]).expect("room");
    drop(ledger);
    let noticed = taproof_bitcoin::testing::damage::damage_every_page(&path, |damaged| {
        let _ = Ledger::salvage(damaged, &State::new(CHAIN, Depth::new(3).expect("small")));
        let mut ledger = Ledger::open(damaged, CHAIN)?;
        ledger.transactions()?;
        ledger.artefact::<Note>(0)?;
        ledger.add_transactions(&[transfer(1, 1, 2, 1)])
    });
    assert!(noticed > 2, "{noticed}");
}

#[test]
fn truncated_files_are_refused() {
    let (folder, path, ledger) = funded();
    drop(ledger);
    let bytes = std::fs::read(&path).expect("readable");
    let copy = folder.path().join("copy");
    for length in (0..bytes.len()).step_by(bytes.len() / 40) {
        std::fs::write(&copy, &bytes[..length]).expect("room");
        match Ledger::open(&copy, CHAIN) {
            Err(LedgerError::Store(StoreError::Corrupted(_) | StoreError::NotAStore(_))) => {}
            other => panic!("{length} bytes: {other:?}"),
        }
    }
}

#[test]
fn an_artefact_of_another_form_is_refused() {
    let (_folder, _path, ledger) = funded();

    #[derive(Debug, Serialize, Deserialize)]
    struct Later(u8);
    impl Artefact for Later {
        const KIND: ArtefactKind = ArtefactKind::Batch;
        const VERSION: u8 = 2;
        const LENGTH_MAX: u64 = 1;
    }
    let refused = ledger.artefact::<Later>(0);
    assert!(matches!(refused, Err(LedgerError::Artefact(ArtefactError::Version { found: 1, .. }))));
}
