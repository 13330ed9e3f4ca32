//! The store: what was written is read back, and what was damaged is told, never believed and never a panic.

use crate::anchoring::{AnchorStoreError, Identity, Job, Order, Store, codec};
use crate::testing::damage::damage_every_page;
use crate::testing::rig::Rig;
use bitcoin::Network;
use proptest::prelude::*;
use taproof_base::store_error::StoreError;
use taproof_verifier::cell::ChainId;
use taproof_wallet::Wallet;

/// A job with two commits, a bump and a sweep, and the rig that it is from.
fn rich() -> (Rig, Job) {
    let mut rig = Rig::with_final_depth(1, 40);
    rig.tick();
    for _ in 0..3 {
        rig.mine_only(&[]);
        rig.tick();
    }
    let commit = rig.job(0).generations()[0].commit().clone();
    rig.mine_only(&[commit]);
    rig.store().put_order(0, Order::Abandon).expect("ours");
    rig.tick();
    let job = rig.job(0).clone();
    assert!(job.generations()[0].attempts().len() > 1 && !job.generations()[0].sweeps().is_empty());
    (rig, job)
}

fn decode(bytes: &[u8], job: &Job, identity: &Identity) -> Result<Job, StoreError> {
    let payload = job.generations()[0].payload().to_vec();
    codec::decode(bytes, identity, &[], |hash| {
        Ok((hash == job.generations()[0].payload_hash()).then(|| payload.clone()))
    })
}

#[test]
fn a_job_is_read_back_whole_or_not_at_all() {
    let (rig, job) = rich();
    let stored = rig.store().jobs().expect("ours");
    assert_eq!(stored.len(), 1);
    assert_eq!(codec::encode(&stored[0]), codec::encode(&job));
    let (bytes, identity) = (codec::encode(&job), rig.identity());
    assert!(decode(&bytes, &job, &identity).is_ok());
    for length in 0..bytes.len() {
        assert!(matches!(decode(&bytes[..length], &job, &identity), Err(StoreError::Corrupted(_))), "{length} bytes");
    }
    for position in (0..bytes.len()).step_by(3) {
        let mut altered = bytes.clone();
        altered[position] ^= 1 << (position % 8);
        // Heights, hashes of tips and words carry no checksum here; the file's pages do.
        if let Ok(job) = decode(&altered, &job, &identity) {
            assert_eq!(codec::encode(&job), altered, "the one form");
        }
    }
    let long = [bytes.as_slice(), &[0]].concat();
    assert!(matches!(decode(&long, &job, &identity), Err(StoreError::Corrupted(_))));
    let missing = codec::decode(&bytes, &identity, &[], |_| Ok(None));
    assert!(matches!(missing, Err(StoreError::Corrupted(_))));
}

#[test]
fn signatures_that_do_not_hold_are_not_read() {
    let (rig, mut job) = rich();
    let identity = rig.identity();
    let mut forged = job.generations[0].attempts[0].transaction.input[0].witness.to_vec();
    forged[0][7] ^= 1;
    job.generations[0].attempts[0].transaction.input[0].witness = bitcoin::Witness::from_slice(&forged);
    let bytes = codec::encode(&job);
    assert!(matches!(decode(&bytes, &job, &identity), Err(StoreError::Corrupted(_))));
}

#[test]
fn any_bytes_are_refused_or_are_the_one_form_of_a_job() {
    let (rig, job) = rich();
    let (identity, valid) = (rig.identity(), codec::encode(&job));
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let bytes = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..400),
        (0..valid.len(), proptest::collection::vec(any::<u8>(), 1..40)).prop_map(move |(at, patch)| {
            let mut bytes = valid.clone();
            let end = (at + patch.len()).min(bytes.len());
            bytes.splice(at..end, patch);
            bytes
        }),
    ];
    let outcome = runner.run(&bytes, |bytes| {
        if let Ok(read) = decode(&bytes, &job, &identity) {
            prop_assert_eq!(codec::encode(&read), bytes);
        }
        Ok(())
    });
    outcome.expect("typed errors");
}

#[test]
fn damaged_and_foreign_files_are_told_apart() {
    let (rig, _) = rich();
    let path = rig.store_path();
    let other = Wallet::from_seed(&[1; 32], Network::Regtest).and_then(|wallet| wallet.poster_key(0)).expect("a key");
    let params = &rig.toy.params;
    let open = |identity| Store::open(&path, identity);
    let foreign = Identity::new(params.chain_id(), &other.scripts());
    assert!(matches!(open(foreign), Err(AnchorStoreError::Foreign("poster"))));
    let foreign = Identity::new(ChainId::from_byte_array([99; 15]), &rig.key.scripts());
    assert!(matches!(open(foreign), Err(AnchorStoreError::Foreign("rollup"))));
    let found = Store::find(&path).expect("ours").expect("it is there");
    assert_eq!(*found.identity(), rig.identity());
    assert!(Store::find(&path.with_extension("none")).expect("no error").is_none());

    let whole = std::fs::read(&path).expect("ours");
    for length in [0, 1, 100, 4_096, whole.len() / 2] {
        std::fs::write(&path, &whole[..length]).expect("ours");
        assert!(open(rig.identity()).and_then(|store| store.jobs()).is_err(), "{length} bytes");
    }
    std::fs::write(&path, b"something else entirely, and long enough to be no accident".repeat(200)).expect("ours");
    assert!(matches!(open(rig.identity()), Err(AnchorStoreError::Store(StoreError::NotAStore(_)))));
    for position in (0..whole.len()).step_by(whole.len() / 97) {
        let mut altered = whole.clone();
        altered[position] ^= 0x55;
        std::fs::write(&path, &altered).expect("ours");
        // Pages that hold nothing may be altered without harm; nothing panics.
        let _ = open(rig.identity()).and_then(|store| store.jobs());
    }
}

#[test]
fn no_damaged_page_is_a_panic() {
    let (rig, _) = rich();
    let noticed = damage_every_page(&rig.store_path(), |damaged| {
        Store::find(damaged)?;
        let store = Store::open(damaged, rig.identity())?;
        for job in store.jobs()? {
            store.save(&job)?;
        }
        Ok::<(), AnchorStoreError>(())
    });
    assert!(noticed > 2, "{noticed}");
}
