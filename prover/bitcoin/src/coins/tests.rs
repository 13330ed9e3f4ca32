//! Coins that are kept: for how long, for whom, across processes, and in a file that may be damaged.

use super::{
    Busy, CoinStore, CoinStoreError, Purpose, Purse, Reservation, SENT_LIFE_BLOCKS, SpendError, UNSIGNED_LIFE_BLOCKS,
};
use crate::testing::damage::damage_every_page;
use crate::{
    anchor::{AnchorError, FeeRate, Funding, pay},
    node::{EmbeddedNode, Node},
    regtest::{COINBASE_MATURITY_BLOCKS, RegtestChain},
    testing::toy_rollup::elsewhere,
};
use bitcoin::{Amount, Network, OutPoint, Transaction, TxOut};
use std::thread;
use taproof_base::store_error::StoreError;
use taproof_wallet::{PosterKey, Wallet};
use tempfile::TempDir;

const FINAL_DEPTH_BLOCKS: u32 = 3;

/// A poster with coins on a chain in memory.
struct Scene {
    node: EmbeddedNode,
    poster: PosterKey,
    /// Another key, with one coin.
    other: PosterKey,
    folder: TempDir,
}

impl Scene {
    fn new(coins: u32) -> Self {
        let wallet = Wallet::from_seed(&[5; 32], Network::Regtest).expect("32 bytes");
        let poster = wallet.poster_key(0).expect("a small number");
        let other = wallet.poster_key(1).expect("a small number");
        let mut chain = RegtestChain::new();
        chain.mine_empty(1, &other.script_pubkey()).expect("empty blocks are valid");
        chain.mine_empty(coins, &poster.script_pubkey()).expect("empty blocks are valid");
        chain.mine_empty(COINBASE_MATURITY_BLOCKS, &elsewhere()).expect("empty blocks are valid");
        let node = EmbeddedNode::new(chain, elsewhere());
        Self { node, poster, other, folder: tempfile::tempdir().expect("a scratch folder") }
    }

    fn store(&self) -> CoinStore {
        CoinStore::new(self.folder.path().join("coins.redb"))
    }

    fn coins(&self) -> Vec<Funding> {
        self.coins_of(&self.poster)
    }

    fn coins_of(&self, key: &PosterKey) -> Vec<Funding> {
        let coins = self.node.chain().spendable_coins(&key.script_pubkey()).into_iter();
        coins.map(|(outpoint, coin)| Funding { outpoint, output: coin.output }).collect()
    }

    /// A payment of a purpose at a rate, whose coin is kept and which is not sent.
    fn spend(&self, purpose: Purpose, rate: &str) -> Result<Transaction, SpendError<AnchorError>> {
        let rate: FeeRate = rate.parse().expect("a rate");
        let output = TxOut { value: Amount::from_sat(10_000), script_pubkey: elsewhere() };
        let (store, node) = (self.store(), &self.node);
        let purse = Purse { store: &store, node, final_depth_blocks: FINAL_DEPTH_BLOCKS };
        purse.spend(&self.coins(), purpose, |coins| {
            let transaction = pay(vec![output.clone()], rate, coins, &self.poster)?;
            Ok((transaction.clone(), transaction))
        })
    }

    fn spent(&self, purpose: Purpose, rate: &str) -> OutPoint {
        self.spend(purpose, rate).expect("coins are free").input[0].previous_output
    }

    /// The coins that stand in the way of a payment that cannot be made.
    fn busy(&self, purpose: Purpose) -> Vec<Busy> {
        match self.spend(purpose, "9") {
            Err(SpendError::Build { error: AnchorError::InsufficientFunds { .. }, busy }) => busy,
            other => panic!("{other:?}"),
        }
    }

    fn mine(&mut self, blocks: u32) {
        self.node.chain_mut().mine_empty(blocks, &elsewhere()).expect("empty blocks are valid");
    }
}

#[test]
fn two_payments_in_a_row_at_rising_rates_are_both_mined() {
    let mut scene = Scene::new(2);
    let sent = ["2", "5"].map(|rate| {
        let transaction = scene.spend(Purpose::Deposit, rate).expect("coins are free");
        scene.node.send(&transaction).expect("nothing conflicts");
        transaction.compute_txid()
    });
    scene.node.mine(1).expect("what waits is valid");
    let mined: Vec<_> = scene.node.chain().tip().txdata.iter().map(Transaction::compute_txid).collect();
    assert!(sent.iter().all(|txid| mined.contains(txid)), "{sent:?} of {mined:?}");
}

#[test]
fn what_the_pool_spends_is_not_free_though_nobody_kept_it() {
    let scene = Scene::new(1);
    let output = TxOut { value: Amount::from_sat(10_000), script_pubkey: elsewhere() };
    let foreign = pay(vec![output], FeeRate::MIN, &scene.coins(), &scene.poster).expect("a coin");
    scene.node.send(&foreign).expect("valid");
    let txid = foreign.compute_txid();
    assert_eq!(scene.busy(Purpose::Deposit), [Busy::InPool { outpoint: foreign.input[0].previous_output, txid }]);
    assert_eq!(scene.store().reservations().expect("ours"), [], "nothing is kept for what is not built");
}

#[test]
fn a_coin_that_was_kept_and_never_sent_is_free_after_its_life() {
    for (purpose, life_blocks) in [
        (Purpose::Deposit, SENT_LIFE_BLOCKS),
        (Purpose::AnchorByHand { batch: 4 }, SENT_LIFE_BLOCKS),
        (Purpose::Anchor { batch: 4 }, UNSIGNED_LIFE_BLOCKS),
    ] {
        // The process ended after the coin was kept and before anything was sent.
        let mut scene = Scene::new(1);
        let coin = scene.spent(purpose, "2");
        scene.mine(life_blocks - 1);
        let busy = scene.busy(Purpose::Deposit);
        assert!(matches!(busy[..], [Busy::Kept(kept)] if kept.outpoint == coin && kept.purpose == purpose), "{busy:?}");
        assert!(busy[0].to_string().contains(&purpose.to_string()), "{}", busy[0]);
        scene.mine(1);
        assert_eq!(scene.spent(Purpose::Deposit, "2"), coin);
    }
}

#[test]
fn a_coin_is_kept_while_its_transaction_waits_in_the_pool() {
    let mut scene = Scene::new(1);
    let transaction = scene.spend(Purpose::Deposit, "2").expect("a coin");
    scene.node.send(&transaction).expect("valid");
    for _ in 0..3 {
        scene.mine(SENT_LIFE_BLOCKS - 1);
        assert!(matches!(scene.busy(Purpose::Deposit)[..], [Busy::Kept(_)]));
    }
}

#[test]
fn a_spent_coin_is_kept_until_nothing_can_be_undone() {
    let mut scene = Scene::new(1);
    let transaction = scene.spend(Purpose::Deposit, "2").expect("a coin");
    scene.node.chain_mut().mine(std::slice::from_ref(&transaction), &elsewhere()).expect("valid");
    let kept = |scene: &Scene| {
        let (store, node) = (scene.store(), &scene.node);
        let purse = Purse { store: &store, node, final_depth_blocks: FINAL_DEPTH_BLOCKS };
        purse.kept::<AnchorError>().expect("ours").len()
    };
    assert_eq!(kept(&scene), 1);
    let fork = scene.node.chain().height() - 1;
    scene.node.chain_mut().reorganise(fork, &[vec![], vec![]], &elsewhere()).expect("a longer branch");
    assert!(matches!(scene.busy(Purpose::Deposit)[..], [Busy::Kept(_)]), "the block is gone, the payment is not");
    scene.node.chain_mut().mine(&[transaction], &elsewhere()).expect("valid");
    assert_eq!(kept(&scene), 1);
    scene.mine(FINAL_DEPTH_BLOCKS - 1);
    assert_eq!(kept(&scene), 1);
    scene.mine(1);
    assert_eq!((kept(&scene), scene.store().reservations().expect("ours").len()), (0, 0));
}

#[test]
fn a_payout_keeps_its_coin_from_all_but_its_own_replacement() {
    let mut scene = Scene::new(2);
    let head = scene.coins_of(&scene.other).remove(0);
    let payout = Purpose::Payout { head: head.outpoint };
    let coin = scene.spent(payout, "2");
    assert_eq!(scene.spent(payout, "3"), coin, "a link that takes the place of another takes its coin");
    let deposit = scene.spent(Purpose::Deposit, "2");
    assert_ne!(deposit, coin);
    let other = Purpose::Payout { head: deposit };
    assert_eq!(scene.busy(other).len(), 2);
    scene.mine(UNSIGNED_LIFE_BLOCKS - 1);
    assert_eq!(scene.spent(Purpose::Deposit, "2"), deposit, "the deposit was never seen, the link still may be");
    // Where something else spends what it goes on from, the link is void.
    let rival = pay(vec![], FeeRate::MIN, &[head], &scene.other).expect("a coin");
    scene.node.chain_mut().mine(&[rival], &elsewhere()).expect("valid");
    assert_eq!(scene.busy(other).len(), 2);
    scene.mine(FINAL_DEPTH_BLOCKS);
    assert_eq!(scene.spent(other, "2"), coin);
}

#[test]
fn of_many_processes_none_gets_the_coin_of_another() {
    const PROCESSES: usize = 6;
    let scene = Scene::new(PROCESSES as u32);
    let spent: Vec<OutPoint> = thread::scope(|scope| {
        let spending = [(); PROCESSES].map(|()| scope.spawn(|| scene.spent(Purpose::Deposit, "2")));
        spending.map(|thread| thread.join().expect("no panic")).to_vec()
    });
    let distinct: std::collections::HashSet<_> = spent.iter().collect();
    assert_eq!(distinct.len(), PROCESSES);
    assert_eq!(scene.busy(Purpose::Deposit).len(), PROCESSES);
}

#[test]
fn anchors_have_exactly_the_coins_that_the_service_names() {
    let scene = Scene::new(3);
    let coins: Vec<OutPoint> = scene.coins().iter().map(|coin| coin.outpoint).collect();
    let deposit = scene.spent(Purpose::Deposit, "2");
    let spender = bitcoin::hashes::Hash::all_zeros();
    let kept = |batch, outpoint| Reservation {
        outpoint,
        purpose: Purpose::Anchor { batch },
        spender,
        height: 1,
        spent_since: None,
    };
    let all: Vec<Reservation> = coins.iter().map(|coin| kept(0, *coin)).collect();
    scene.store().keep_for_anchors(&all).expect("ours");
    let purposes = || scene.store().reservations().expect("ours").into_iter().map(|kept| (kept.outpoint, kept.purpose));
    assert_eq!(purposes().count(), 3);
    assert!(purposes().any(|found| found == (deposit, Purpose::Deposit)), "what is kept for others stays theirs");
    scene.store().keep_for_anchors(&[]).expect("ours");
    assert_eq!(purposes().collect::<Vec<_>>(), [(deposit, Purpose::Deposit)]);
    let wanted = kept(1, deposit);
    assert!(matches!(scene.store().keep(&[wanted]), Err(CoinStoreError::Kept(kept)) if kept.outpoint == deposit));
}

#[test]
fn a_damaged_file_is_told_and_never_believed() {
    let scene = Scene::new(2);
    scene.spent(Purpose::Deposit, "2");
    let path = scene.folder.path().join("coins.redb");
    let bytes = std::fs::read(&path).expect("just written");
    for (content, what) in [(Vec::new(), "empty"), (b"no store".to_vec(), "text"), (bytes[..100].to_vec(), "cut")] {
        std::fs::write(&path, content).expect("our file");
        assert!(scene.store().reservations().is_err(), "{what}");
        assert!(matches!(scene.spend(Purpose::Deposit, "2"), Err(SpendError::Store(_))), "{what}");
    }
    std::fs::remove_file(&path).expect("our file");
    std::fs::create_dir(&path).expect("our folder");
    assert!(matches!(scene.store().reservations(), Err(CoinStoreError::Store(StoreError::NotAStore(_)))));
}

#[test]
fn no_damaged_page_is_a_panic() {
    let scene = Scene::new(2);
    let coin = scene.spent(Purpose::Deposit, "2");
    let kept = scene.store().reservations().expect("ours");
    let noticed = damage_every_page(&scene.folder.path().join("coins.redb"), |damaged| {
        let store = CoinStore::new(damaged.to_owned());
        assert!(store.reservations()?.iter().all(|found| kept.contains(found)));
        store.keep_for_anchors(&[])?;
        store.release(&coin)?;
        store.keep(&kept)
    });
    assert!(noticed > 2, "{noticed}");
}
