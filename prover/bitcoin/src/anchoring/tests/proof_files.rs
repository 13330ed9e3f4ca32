//! Files of proofs that are damaged, half copied or misnamed: their batch waits and says so, and others go on.

use crate::testing::rig::{Rig, Script};
use crate::{
    anchoring::{JobState, ProofFolder, Service, Signer, Waits},
    follow,
};
use std::{fs, path::PathBuf};
use taproof_base::artefact;

/// A rig whose proven batches are files, and the service that reads them.
struct Files {
    rig: Rig,
    folder: tempfile::TempDir,
    script: Script,
}

impl Files {
    /// Each batch in its file.
    fn new(batches: u64) -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let files = Self { rig: Rig::new(batches), folder, script: Script::default() };
        (0..batches).for_each(|batch| files.write(batch, batch));
        files
    }

    fn path(&self, batch: u64) -> PathBuf {
        self.folder.path().join(format!("{batch}.proofs"))
    }

    /// Writes the proofs of one batch into the file of another.
    fn write(&self, of: u64, into: u64) {
        artefact::write(&self.path(into), &self.rig.batches.0.borrow()[&of]).expect("room");
    }

    fn service(&self) -> Service<ProofFolder> {
        let (rig, batches) = (&self.rig, ProofFolder::new(self.folder.path().to_owned()));
        let follower = follow::start(rig.node(), rig.toy.params.clone(), rig.toy.program.clone());
        let (signer, follower) = (Signer::Key(rig.key.clone()), follower.expect("the toy's chain"));
        Service::new(rig.store(), rig.coin_store(), signer, rig.config, follower, batches).expect("our store")
    }

    fn tick(&mut self, service: &mut Service<ProofFolder>) {
        service.tick(&self.rig.toy.node, &mut self.script).expect("no file ends the service");
    }

    /// What a batch waits for, as commands beside the service see it.
    fn waits(&self, batch: u64) -> Option<Waits> {
        self.rig.store().waits().expect("our store").remove(&batch)
    }

    /// How many notes have these words.
    fn notes(&self, words: &str) -> usize {
        self.script.notes.iter().filter(|note| note.contains(words)).count()
    }
}

#[test]
fn a_damaged_file_of_proofs_holds_its_batch_and_no_other() {
    let mut files = Files::new(3);
    let whole = fs::read(files.path(1)).expect("it is written");
    let mut edited = whole.clone();
    edited[whole.len() - 1] ^= 1;
    for (bytes, words) in [(&whole[..200], "truncated"), (&edited, "checksum"), (&[][..], "1.proofs")] {
        fs::write(files.path(1), bytes).expect("room");
        let mut service = files.service();
        files.tick(&mut service);
        files.tick(&mut service);
        assert_eq!(service.job(0).map(|job| job.state()), Some(JobState::RevealSent), "the batch before goes on");
        assert!(service.job(1).is_none() && service.job(2).is_some(), "the batch behind is taken in");
        let waits = files.waits(1).expect("it is told");
        assert!(waits.waits_for.contains("its proofs cannot be used") && waits.waits_for.contains(words), "{waits:?}");
        assert!(waits.advice.is_some_and(|advice| advice.contains("taproof prove")));
        assert_eq!(service.unusable().map(|(batch, _)| batch).collect::<Vec<_>>(), [1]);
    }
    assert_eq!(files.notes("Proofs(\""), 3, "once a service, however often it looks: {:?}", files.script.notes);

    // A folder in the file's place, and proofs of another batch.
    fs::remove_file(files.path(1)).expect("it is there");
    fs::create_dir(files.path(1)).expect("room");
    let mut service = files.service();
    files.tick(&mut service);
    assert!(files.waits(1).is_some());
    fs::remove_dir(files.path(1)).expect("it is there");
    files.write(2, 1);
    files.tick(&mut service);
    assert!(files.waits(1).expect("it is told").waits_for.ends_with("they are of batch 2"));

    // It is read again at every look, and goes on as soon as it is whole.
    files.rig.mine(1);
    fs::write(files.path(1), whole).expect("room");
    files.tick(&mut service);
    assert_eq!(service.job(1).map(|job| job.state()), Some(JobState::RevealSent));
    assert_eq!((files.waits(1), service.unusable().count()), (None, 0));
    fs::remove_file(files.path(2)).expect("it is there");
    files.tick(&mut service);
    assert_eq!(files.waits(2), None, "what is gone is not damaged");
}

#[test]
fn an_anchor_on_its_way_is_cared_for_though_its_file_was_damaged() {
    let mut files = Files::new(1);
    let mut service = files.service();
    files.tick(&mut service);
    fs::write(files.path(0), b"no proofs").expect("room");
    for _ in 0..=files.rig.config.bump_every_blocks {
        files.rig.mine_only(&[]);
        files.tick(&mut service);
    }
    let job = service.job(0).expect("it was proven");
    assert_eq!(job.state(), JobState::Bumped, "its proofs were read before");
    assert!(files.waits(0).is_some(), "and it is told that they would not be read again");

    // After a restart there is nothing to go by: what was sent stays as it is, and the state is no worse than it was.
    let mut service = files.service();
    files.tick(&mut service);
    assert_eq!(service.job(0).map(|job| job.state()), Some(JobState::Bumped));
    files.rig.mine(1);
    files.tick(&mut service);
    assert_eq!(service.job(0).map(|job| job.state()), Some(JobState::InBlock));
    assert_eq!(files.waits(0), None);
}

#[cfg(unix)]
#[test]
fn a_pipe_in_the_place_of_proofs_is_not_waited_for() {
    let mut files = Files::new(2);
    fs::remove_file(files.path(0)).expect("it is written");
    let made = std::process::Command::new("mkfifo").arg(files.path(0)).status().expect("there is such a program");
    assert!(made.success());
    let mut service = files.service();
    files.tick(&mut service);
    let waits = files.waits(0).expect("it waits");
    assert!(format!("{waits:?}").contains("no regular file"), "{waits:?}");
}
