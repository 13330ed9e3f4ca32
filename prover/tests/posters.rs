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
        if batch % 3 != 0 {
            idle.make(batch);
        }
        if batch == 5 {
            idle.make(batch + 1);
        }
        let is_made_anew = matches!(batch, 4 | 7);
        if is_made_anew {
            poster.scene.report(&["rebuild", "--replace"]);
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
