//! Several posters of one rollup, each with a ledger of its own, from the command line.

mod scene;

use scene::Scene;

/// A poster that pays from an account of its own.
struct Poster {
    scene: Scene,
    cell: usize,
    nonce: u32,
    /// How many of its transactions are in batches that were not anchored.
    unanchored: u32,
}

impl Poster {
    fn new(scene: Scene, cell: usize) -> Self {
        Self { scene, cell, nonce: 0, unanchored: 0 }
    }

    /// Signs a payment to the other's account, and gives the file's name.
    fn pay(&mut self) -> String {
        let file = format!("payment-{}.json", self.nonce);
        let (from, to) = (self.cell.to_string(), (1 - self.cell).to_string());
        let nonce = self.nonce.to_string();
        let tx = ["tx", "transfer", "--index", &from, "--from", &from, "--to", &to, "--nonce", &nonce, "--amount", "1"];
        self.scene.report(&[&tx[..], &["--force", "--add-to", &file]].concat());
        self.nonce += 1;
        file
    }

    /// Makes a batch that is never anchored.
    fn make(&mut self, batch: u64) {
        let file = self.pay();
        let report = self.scene.report(&["batch", "--reference-depth", "1", &file]);
        assert_eq!(report["batch"], batch, "{report}");
        self.unanchored += 1;
    }
}

#[test]
fn two_posters_alternate_whatever_is_final_and_whatever_else_they_have_made() {
    let founder = Scene::funded();
    founder.bring_in(0, &[]);
    let other = founder.joined_by_another();
    let mut posters = [Poster::new(founder, 0), Poster::new(other, 1)];
    for batch in 1..=9 {
        let [founder, other] = &mut posters;
        let (poster, idle) = if batch % 2 == 0 { (founder, other) } else { (other, founder) };
        poster.scene.see_chain_of(&idle.scene);
        idle.make(batch);
        if batch == 5 {
            idle.make(batch + 1);
        }
        let intact = idle.scene.report(&["rebuild"]);
        assert_eq!((&intact["ledger"], &intact["ahead"]), (&"intact".into(), &(1 + u64::from(batch == 5)).into()));
        let behind = poster.scene.report(&["rebuild"]);
        if batch > 1 {
            let counts = ["behind", "replaced"].map(|name| behind[name].clone());
            assert_eq!(
                (&behind["ledger"], counts),
                (&"behind".into(), [1.into(), poster.unanchored.into()]),
                "{behind}"
            );
        }
        let is_made_anew = matches!(batch, 4 | 7);
        if is_made_anew {
            let report = poster.scene.report(&["rebuild", "--replace"]);
            // Those of the batch whose number the other one's took are not lost.
            assert_eq!(report["transactions_kept"], poster.unanchored, "{report}");
        }
        let file = poster.pay();
        let report = poster.scene.bring_in(batch, &[&file]);
        // Those that were in batches that another's took the place of wait again, and nothing is rejected.
        assert_eq!(
            (&report["applied"], &report["rejected"]),
            (&(poster.unanchored + 1).into(), &serde_json::json!([]))
        );
        let taken_over = u64::from(batch > 1 && !is_made_anew);
        assert_eq!(report["taken_over"], taken_over, "batch {batch}");
        poster.unanchored = 0;
        if batch > 3 {
            // All that is anchored is final now.
            poster.scene.report(&["regtest", "mine", "7"]);
        }
    }
}

#[test]
fn a_ledger_that_contradicts_the_chain_is_told_and_made_anew() {
    let founder = Scene::funded();
    founder.bring_in(0, &[]);
    let other = founder.joined_by_another();
    let pay = |scene: &Scene, amount: &str| {
        let tx = ["tx", "transfer", "--to", "1", "--amount", amount, "--add-to", "payment.json"];
        scene.report(&tx);
        scene.bring_in(1, &["payment.json"])
    };
    let [ours, theirs] = [pay(&founder, "10"), pay(&other, "20")];
    for scene in [&founder, &other] {
        scene.report(&["regtest", "mine", "7"]);
        scene.report(&["batch"]);
    }
    // The chain is another one than that on which the ledger's batch became final.
    std::fs::remove_file(founder.path("rollup/chain.redb")).expect("the follower's file");
    founder.see_chain_of(&other);
    let rebuilt = founder.run(&["--json", "rebuild"]);
    assert_eq!(rebuilt.status.code(), Some(4));
    let report: serde_json::Value = serde_json::from_slice(&rebuilt.stdout).expect("JSON");
    let stands = ["ledger_stand", "chain_stand"].map(|name| (&report[name]["next_batch"], &report[name]["root"]));
    assert_eq!(report["ledger"], "contradicts", "{report}");
    assert_eq!(stands, [(&2.into(), &ours["root_after"]), (&2.into(), &theirs["root_after"])]);
    assert!(String::from_utf8_lossy(&rebuilt.stderr).contains("rebuild --replace"));
    assert!(founder.failure(1, &["batch"]).contains("batch 1 is final"));
    founder.report(&["rebuild", "--replace"]);
    assert_eq!(founder.report(&["rebuild"])["ledger"], "intact");
}

#[test]
fn what_is_taken_back_leaves_nothing_behind() {
    let scene = Scene::funded();
    scene.bring_in(0, &[]);
    let mut poster = Poster::new(scene, 0);
    for batch in 1..=4 {
        poster.make(batch);
        poster.scene.report(&["prove", &format!("rollup/batches/{batch}.batch")]);
    }
    let Poster { scene, .. } = poster;
    // A poster without coins, so that nothing is built.
    std::fs::remove_file(scene.path("rollup/anchoring.redb")).expect("the first batch was anchored");
    let key = "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
    let run = ["anchor", "run", "--once", "--watch-only", key];
    let jobs = |report: serde_json::Value| report["jobs"].as_array().map(Vec::len);
    assert_eq!(jobs(scene.report(&run)), Some(4));
    let warned = scene.run(&["batch", "--reference-depth", "1"]);
    assert!(String::from_utf8_lossy(&warned.stderr).contains("4 batches wait for their anchors"));

    assert!(scene.failure(3, &["batch", "--take-back", "99"]).contains("no batch 99"));
    std::fs::copy(scene.path("rollup/batches/3.batch"), scene.path("kept.batch")).expect("it was made");
    let report = scene.report(&["batch", "--reference-depth", "1", "--take-back", "2"]);
    assert_eq!((&report["taken_back"], &report["batch"]), (&serde_json::json!([2, 3, 4]), &2.into()));
    for (folder, batches) in [("batches", &[0, 1, 2][..]), ("proofs", &[0, 1])] {
        let extension = if folder == "batches" { "batch" } else { "proofs" };
        let there = (0..5).filter(|batch| scene.path(&format!("rollup/{folder}/{batch}.{extension}")).exists());
        assert_eq!(there.collect::<Vec<_>>(), batches, "{folder}");
    }
    // The store forgets at once, and a later look takes nothing up again.
    assert_eq!(jobs(scene.report(&["anchor", "status"])), Some(1));
    assert_eq!(jobs(scene.report(&run)), Some(1));
    // A copy that somebody kept is not proven.
    assert!(scene.failure(3, &["prove", "kept.batch"]).contains("does not have this batch 3"));
    scene.report(&["prove", "rollup/batches/2.batch"]);
    assert_eq!(jobs(scene.report(&run)), Some(2));
    // A service that runs meanwhile forgets what lost its proofs at its next look.
    std::fs::remove_file(scene.path("rollup/proofs/2.proofs")).expect("it was proven");
    assert_eq!(jobs(scene.report(&run)), Some(1));
}
