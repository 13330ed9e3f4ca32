//! Trees that are full, and trees that grow.

use super::*;
use crate::{rebuild, state_proof::StateProof};
use taproof_bitcoin::{bridge::deposit::refund, node::Node, testing::toy_rollup::elsewhere};
use taproof_circuits::{
    step::Machines,
    transaction::{Signed, UnsignedTransaction, Withdraw},
};
use taproof_verifier::{bridge::Federation, exit::ExitRequest, record::Destination};

const ALL: [u32; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
const REFUND_DELAY_BLOCKS: u32 = 60;

fn cell(index: u32) -> CellIndex {
    CellIndex::new(index).expect("a small index")
}

/// A rollup with a tree of eight cells, all of them accounts.
fn full(levels: &[u8]) -> Scene {
    let toy = ToyRollup::of_depths(levels).founded(|founding| {
        let keys = founding.federation.keys().to_vec();
        founding.federation = Federation::new(2, keys, REFUND_DELAY_BLOCKS as u16, 0).expect("three keys");
        (founding.deposit_window_blocks, founding.deposit_expiry_blocks) = (10, 30);
    });
    let mut scene = Scene::of(toy);
    scene.deposit(&ALL.map(|owner| (owner, 10_000)));
    assert_eq!(scene.make(&TERMS).applied.batch.deposits_applied, 8);
    scene.anchor(0);
    scene.toy.state = scene.ledger.state().clone();
    scene
}

impl Scene {
    /// Makes a batch of what waits and of these, and anchors it.
    fn make_of(&mut self, new: &[Transaction]) -> MadeBatch {
        let mut sequencer = self.sequencer();
        let mut draft = sequencer.draft(&TERMS, &[]).expect("circuits and blocks");
        draft.pay_fees_to(cell(0));
        let made = sequencer.make(&draft, new).expect("what is due fits");
        assert!(made.is_batch());
        let number = made.applied.number;
        self.anchor(number);
        self.toy.state = self.ledger.state().clone();
        made
    }

    fn demand(&mut self, owners: &[u32]) {
        let requests = owners.iter().map(|owner| self.request(*owner).output(self.toy.params.chain_id())).collect();
        self.toy.mine_outputs(requests);
        self.read();
    }

    fn request(&self, owner: u32) -> ExitRequest {
        let key = self.toy.owner(owner);
        let (from, account) = self.toy.state.accounts_of(key.public()).next().expect("an account");
        let body = Withdraw {
            chain_id: self.toy.params.chain_id(),
            token: Token::BITCOIN,
            from,
            nonce: account.nonce,
            amount: account.balance,
            fee: 0,
            destination: Destination::P2sh([owner as u8; 20]),
        };
        Signed::sign(body, &key).demand(*key.public()).expect("bitcoin")
    }

    fn withdrawal(&self, owner: u32, amount: u64) -> Transaction {
        self.toy.withdraw(owner, Destination::P2pkh([owner as u8; 20]), amount)
    }
}

#[test]
fn in_a_full_tree_everybody_leaves_and_a_deposit_without_a_cell_comes_back() {
    let mut scene = full(&[1]);
    // The ninth owner finds no cell. The first has an account, but his deposit comes after that of the ninth.
    scene.deposit(&[(8, 5_000), (0, 6_000)]);
    let homeless = *scene.follower.pending_deposits().next().expect("it waits");
    let made_at = homeless.height;
    scene.demand(&[3]);
    let transfer = scene.toy.transfer(1, 2, 1_000, 0);
    let made = scene.make_of(&[transfer.clone(), scene.withdrawal(4, 10_000)]);
    assert!(made.applied.has_withdrawals_alone);
    assert_eq!((made.exit_count(Outcome::Served), made.applied.batch.applied.len()), (1, 1));
    assert_eq!((made.deposits_waiting, made.void_deposits, made.applied.batch.deposits_applied), (2, 0, 0));
    assert_eq!(
        (made.applied.rejected().count(), scene.ledger.transactions().expect("readable")),
        (0, vec![transfer.clone()])
    );
    assert_eq!(scene.follower.tip().payouts, 2);
    // A withdrawal that follows on what waits, waits, too: it is not refused.
    let follows = Withdraw {
        chain_id: scene.toy.params.chain_id(),
        token: Token::BITCOIN,
        from: scene.toy.cell(1),
        nonce: 1,
        amount: 500,
        fee: 0,
        destination: Destination::P2tr([1; 32]),
    };
    let follows = UnsignedTransaction::Withdraw(follows).sign(&scene.toy.owner(1));
    // All others leave, some by an exit and some by a withdrawal, and the accounts stay.
    scene.demand(&[5, 6]);
    let made = scene.make_of(&[follows.clone(), scene.withdrawal(7, 10_000), scene.withdrawal(2, 10_000)]);
    assert!(made.applied.has_withdrawals_alone);
    assert_eq!((made.exit_count(Outcome::Served), made.applied.batch.applied.len()), (2, 2));
    assert_eq!(scene.ledger.transactions().expect("readable"), [transfer, follows]);
    scene.demand(&[0]);
    assert!(scene.make_of(&[]).applied.has_withdrawals_alone);
    assert_eq!((scene.follower.tip().payouts, scene.ledger.state().tree().cells().count()), (7, 8));
    // Nothing to withdraw is no batch, and no error.
    let idle = scene.make(&TERMS);
    assert!(!idle.is_batch() && idle.applied.has_withdrawals_alone);
    // In time the deposits are void, and all goes on.
    while scene.height() <= scene.follower.pending_deposits().last().expect("two").height + 20 {
        scene.mine(1);
    }
    let made = scene.make_of(&[]);
    assert!(!made.applied.has_withdrawals_alone);
    assert_eq!((made.void_deposits, made.applied.batch.applied.len(), made.deposits_waiting), (2, 2, 0));
    assert_eq!(scene.ledger.state().account(scene.toy.cell(1)).map(|account| account.balance), Some(8_500));
    scene.mine(made_at + REFUND_DELAY_BLOCKS - scene.height());
    let outpoint = bitcoin::OutPoint { txid: homeless.txid, vout: homeless.vout };
    let key = scene.toy.wallet.refund_key(8).expect("a small number");
    let unspent = scene.toy.node.unspent(&outpoint).expect("readable").expect("nobody moved it");
    let rate = "2".parse().expect("a rate");
    let back = refund(&scene.toy.params, outpoint, &unspent, &key, elsewhere(), rate).expect("the delay is over");
    scene.toy.mine(&[back]);
    assert!(scene.toy.node.chain().coin(&outpoint).is_none());
}

#[test]
fn a_deposit_without_a_cell_makes_the_tree_grow() {
    let mut scene = full(&[1, 3]);
    scene.deposit(&[(0, 500)]);
    let made = scene.make_of(&[]);
    assert_eq!(made.applied.batch.depth.levels(), 1, "who has an account needs no cell");
    scene.deposit(&[(8, 5_000), (8, 400), (9, 500)]);
    let before = scene.ledger.state().tree().snapshot();
    let fork_height = scene.height();
    let made = scene.make_of(&[]);
    assert_eq!((made.applied.batch.depth.levels(), made.applied.batch.deposits_applied), (3, 3));
    assert_eq!((scene.follower.tip().depth.levels(), scene.follower.tip().root), (3, scene.ledger.state().root()));
    assert_eq!([8, 9].map(|owner| scene.toy.cell(owner).get()), [8, 9]);
    let proof = StateProof::new(scene.toy.params.chain_id(), 3, scene.ledger.state().tree(), cell(8)).expect("a cell");
    assert!(proof.verify(scene.follower.tip().root).is_ok());
    let (params, program) = (scene.toy.params.clone(), scene.toy.program.clone());
    let (_, rebuilt) =
        rebuild::restore(&scene.toy.node, params, program, &Machines::default(), |_| ()).expect("the toy's chain");
    assert_eq!(rebuilt.into_state().expect("all of it").tree().snapshot(), scene.ledger.state().tree().snapshot());

    // A reorganisation takes the batch away, and the tree shrinks with it, as far as anybody knows.
    let blocks = (scene.height() - fork_height) as usize + 1;
    scene.toy.node.chain_mut().reorganise(fork_height, &vec![Vec::new(); blocks], &elsewhere()).expect("more work");
    scene.read();
    assert_eq!((scene.follower.tip().batches, scene.follower.tip().depth.levels()), (2, 1));
    assert_eq!(scene.sequencer().take_back(2).expect("the chain has it no more"), 2..3);
    assert_eq!(scene.ledger.state().tree().snapshot(), before);
    // In the meantime somebody leaves: what is made again grows all the same.
    scene.toy.state = scene.ledger.state().clone();
    scene.demand(&[2]);
    let made = scene.make_of(&[]);
    assert_eq!((made.applied.batch.depth.levels(), made.exit_count(Outcome::Served)), (3, 1));
    assert_eq!((scene.follower.tip().batches, scene.follower.tip().depth.levels()), (3, 3));
    // From now on there are cells enough.
    scene.deposit(&[(10, 700)]);
    assert_eq!(scene.make_of(&[]).applied.batch.deposits_applied, 1);
}

#[test]
fn an_opening_makes_a_full_tree_grow_and_no_other() {
    let mut scene = Scene::of(ToyRollup::of_depths(&[1, 2, 3]));
    scene.deposit(&[0, 1, 2, 3, 4, 5, 6].map(|owner| (owner, 10_000)));
    scene.make_of(&[]);
    let made = scene.make_of(&[scene.toy.open(0, cell(8), 9, 100, 0), scene.toy.transfer(1, 2, 1, 0)]);
    assert_eq!((made.applied.batch.depth.levels(), made.applied.rejected().count()), (1, 1), "cell 7 is empty");
    let made = scene.make_of(&[scene.toy.open(0, cell(7), 9, 100, 0)]);
    assert_eq!((made.applied.batch.depth.levels(), made.applied.batch.applied.len()), (1, 1));
    // What opens nothing, and what lies beyond the next tree, grows nothing.
    let beyond = scene.toy.open(0, cell(64), 9, 100, 0);
    let made = scene.make_of(&[beyond, scene.toy.transfer(1, 2, 1, 0)]);
    assert_eq!((made.applied.batch.depth.levels(), made.applied.rejected().count()), (1, 1));
    // Nor does an opening that the state refuses all the same: it would cost nobody anything.
    let unpaid = scene.toy.open(0, cell(9), 9, 1_000_000, 0);
    let Transaction::Open(opening) = scene.toy.open(0, cell(9), 9, 100, 0) else { panic!("an opening") };
    let forged = Transaction::Open(Signed::sign(*opening.body(), &scene.toy.owner(5)));
    let made = scene.make_of(&[unpaid, forged, scene.toy.transfer(1, 2, 1, 0)]);
    assert_eq!((made.applied.batch.depth.levels(), made.applied.rejected().count()), (1, 2));
    let made = scene.make_of(&[scene.toy.open(0, cell(9), 9, 100, 0)]);
    assert_eq!((made.applied.batch.depth.levels(), made.applied.batch.applied.len()), (2, 1));
    assert_eq!(scene.follower.tip().depth.levels(), 2);
    // The deepest tree of the program does not grow.
    let mut deepest = full(&[1]);
    let made = deepest.make_of(&[deepest.toy.open(0, cell(8), 9, 100, 0), deepest.toy.transfer(1, 2, 1, 0)]);
    assert_eq!((made.applied.batch.depth.levels(), made.applied.rejected().count()), (1, 1));
}

#[test]
fn a_tree_grows_no_further_than_deposits_find_cells() {
    let mut scene = Scene::of(ToyRollup::of_depths(&[1, 2, 4]));
    scene.deposit(&ALL.map(|owner| (owner, 10_000)));
    scene.make_of(&[]);
    let many: Vec<(u32, u64)> = (8..8 + 57).map(|owner| (owner, 500)).collect();
    scene.deposit(&many[..56]);
    let draft = scene.sequencer().draft(&TERMS, &[]).expect("circuits and blocks");
    assert_eq!(draft.depth.levels(), 2);
    scene.deposit(&many[56..]);
    let draft = scene.sequencer().draft(&TERMS, &[]).expect("circuits and blocks");
    assert_eq!(draft.depth.levels(), 4);
    let made = scene.make_of(&[]);
    assert_eq!((made.applied.batch.depth.levels(), made.applied.batch.deposits_applied), (4, 57));
}

#[test]
fn openings_of_less_than_the_rollup_allows_are_taken_on_no_terms() {
    let toy = ToyRollup::of_depths(&[2]).founded(|founding| founding.opening_min_sat = 600);
    let mut scene = Scene::of(toy);
    scene.deposit(&[(0, 10_000)]);
    scene.make_of(&[]);
    let [less, enough] = [599, 600].map(|amount| scene.toy.open(0, cell(5), 3, amount, 0));
    let made = scene.make_of(&[less, enough]);
    let reasons: Vec<String> = made.applied.rejected().map(|(_, reason)| reason.to_string()).collect();
    assert_eq!(reasons, ["an account is opened with 600 sat at least, and this would have 599"]);
    assert_eq!((made.applied.batch.applied.len(), scene.follower.tip().batches), (1, 2));
}
