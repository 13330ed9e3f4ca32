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
