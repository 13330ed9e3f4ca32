//! Programs that are announced beside others, on a chain that has the announcements.

use super::*;
use taproof_bitcoin::{
    anchor::Funding,
    follow::{FollowError, catch_up, start},
    testing::toy_rollup::{ToyRollup, program},
    upgrade::{CheckedUpgrade, UpgradeAddress, UpgradeRequest, combine, plan},
};
use taproof_verifier::{
    payload::SLOTS_MAX,
    quorum::{Keys, Quorum},
    upgrade::Upgrade,
};

const NOTICE_BLOCKS: u32 = 200;
const SLOTS: u16 = 4;

/// A rollup whose tree has two levels and can grow to three, with one upgrade key.
struct Scene {
    toy: ToyRollup,
    follower: Follower,
}

impl Scene {
    fn new() -> Self {
        let mut toy = ToyRollup::founded_by(&[2, 3], |founding, wallet| {
            let key = wallet.signer_key(0).unwrap().public();
            founding.upgrade_keys = Some(Quorum::new(1, vec![key]).unwrap());
            (founding.notice_blocks, founding.quiet_blocks) = (NOTICE_BLOCKS, 25);
        });
        let script_pubkey = UpgradeAddress::of(&toy.params).unwrap().script_pubkey().clone();
        toy.mine_outputs(vec![bitcoin::TxOut { value: bitcoin::Amount::from_sat(50_000), script_pubkey }]);
        let follower = start(&toy.node, toy.params.clone(), toy.program.clone()).unwrap();
        let mut scene = Self { toy, follower };
        scene.read();
        scene
    }

    fn read(&mut self) {
        catch_up(&self.toy.node, &mut self.follower, |_, _| Ok::<(), FollowError>(())).unwrap();
    }

    /// The lowest height that can be announced now, and for some blocks.
    fn height(&self) -> u32 {
        self.follower.scanned().height + 50 + NOTICE_BLOCKS
    }

    fn announce(&mut self, change: Change) {
        let (params, number) = (&self.toy.params, self.follower.schedule().next_number());
        let address = UpgradeAddress::of(params).unwrap();
        let found = self.toy.node.chain().spendable_coins(address.script_pubkey());
        let coins: Vec<Funding> =
            found.into_iter().map(|(outpoint, coin)| Funding { outpoint, output: coin.output }).collect();
        let upgrade = Upgrade { number, change };
        let (fee_rate, origins) = ("2".parse().unwrap(), Default::default());
        let request = UpgradeRequest { upgrade: &upgrade, coins: &coins, fee_rate, origins };
        let checked = CheckedUpgrade::check(plan(params, &request).unwrap().psbt, params, 10_000).unwrap();
        let signed = checked.sign(&self.toy.wallet.signer_key(0).unwrap()).unwrap();
        self.toy.mine(&[combine(vec![signed], &address).unwrap()]);
        self.read();
        assert_eq!(self.follower.schedule().next_number(), number + 1);
    }

    /// Where there are no batches any more, by what is announced.
    fn ends(&self) -> Vec<(u32, SuccessionError)> {
        let pending = self.follower.schedule().pending(self.follower.scanned().height).iter();
        pending.filter_map(|entry| Some((entry.height, ends_batches(entry, &self.follower)?))).collect()
    }

    fn check(&self, program: &Program, height: u32) -> Result<(), SuccessionError> {
        expect_batches_possible(&Change::Program { program: program.id(), height }, &self.follower)
    }
}

fn depth(levels: u8) -> Depth {
    Depth::new(levels).unwrap()
}

#[test]
fn a_program_has_circuits_for_what_the_tree_may_grow_to_under_those_before_it() {
    let mut scene = Scene::new();
    let [shallow, same, deeper, deep] = [&[2][..], &[3], &[3, 4], &[5]].map(|levels| program(levels, SLOTS));
    let height = scene.height();
    let missing = |program: &Program, from_height| {
        Err(SuccessionError::Unknown(UnknownProgramError { program: program.id(), from_height }))
    };
    assert_eq!(scene.check(&same, height), missing(&same, height));
    [&shallow, &same, &deep].into_iter().for_each(|program| scene.follower.learn(program.clone()));
    let too_shallow =
        |program: &Program, levels| Err(SuccessionError::TooShallow { program: program.id(), depth: depth(levels) });
    assert_eq!(scene.check(&shallow, height), too_shallow(&shallow, 3), "the tree has two levels, and may have three");
    assert_eq!(scene.check(&same, height), Ok(()));
    assert_eq!(scene.check(&deep, height), Ok(()), "a tree grows to where there are circuits");

    // One is announced that nobody here knows: how deep it lets the tree become is anybody's guess.
    scene.announce(Change::Program { program: deeper.id(), height });
    assert_eq!(scene.check(&same, height + 1), missing(&deeper, height));
    assert_eq!(scene.check(&same, height - 1), missing(&deeper, height));
    assert_eq!(scene.check(&same, height), Ok(()), "of two for one height the later is in force");
    scene.follower.learn(deeper.clone());
    assert_eq!(scene.check(&same, height + 1), too_shallow(&same, 4));
    assert_eq!(scene.check(&same, height - 1), Ok(()));
    assert_eq!(scene.check(&deeper, height + 1), Ok(()));
    // And a deep one before it would leave it without circuits.
    let too_deep = SuccessionError::TooDeep { program: deeper.id(), height, depth: depth(5) };
    assert_eq!(scene.check(&deep, height - 1), Err(too_deep));
    scene.announce(Change::Withdrawal);
    assert_eq!(scene.check(&same, height + 1), Ok(()), "what is withdrawn does not count");
}

#[test]
fn what_is_announced_already_and_ends_batches_is_told() {
    let mut scene = Scene::new();
    let [shallow, deep] = [2, 5].map(|levels| program(&[levels], SLOTS));
    let height = scene.height();
    scene.announce(Change::Program { program: shallow.id(), height });
    assert_eq!(scene.ends(), [], "nothing is known of it");
    scene.follower.learn(shallow.clone());
    let too_shallow = |levels| SuccessionError::TooShallow { program: shallow.id(), depth: depth(levels) };
    assert_eq!(scene.ends(), [(height, too_shallow(3))]);
    // One that lets the tree become deeper before is no fault of its own.
    scene.follower.learn(deep.clone());
    scene.announce(Change::Program { program: deep.id(), height: height - 10 });
    assert_eq!(scene.ends(), [(height, too_shallow(5))]);
}

#[test]
fn a_program_whose_circuits_fill_a_payload_is_refused_and_other_changes_need_no_look() {
    let mut scene = Scene::new();
    let wide = program(&[3], u16::MAX);
    scene.follower.learn(wide.clone());
    let refused = scene.check(&wide, scene.height());
    assert!(
        matches!(refused, Err(SuccessionError::Slots { program, source: TooManySlotsError { found: SLOTS_MAX.. } })
            if program == wide.id()),
        "{refused:?}"
    );
    let height = scene.height();
    for change in [Change::Withdrawal, Change::Sequencers { keys: Keys::default(), height }] {
        assert_eq!(expect_batches_possible(&change, &scene.follower), Ok(()));
    }
}
