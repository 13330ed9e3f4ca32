//! On a real bitcoind: batches that a ledger makes again, and proves again, when a reorganisation moved their deposits.

use bitcoin::{Amount, Block, Transaction, TxOut};
use taproof_bitcoin::testing::{
    rig::rate,
    world::{FINAL_DEPTH_BLOCKS, Setting, World},
};
use taproof_bitcoin::{
    anchor::{Funding, pay},
    anchoring::JobState,
};
use taproof_testkit::poster::Poster;
use taproof_verifier::{cell::Cell, deposit::Deposit, payload::Payload};

/// What a reorganisation makes of the second of two deposits.
#[derive(Clone, Copy, Debug)]
enum Fallen {
    /// Its coin is spent by something else.
    Displaced,
    /// It is mined again, above the block that the batch refers to.
    Later,
    /// It is mined again, before the first.
    Earlier,
}

/// A world whose batches are made by a ledger on the node's chain: two deposits, ten and nine blocks deep, and a
/// batch that credits them is posted.
fn with_ledger() -> (World, Poster) {
    let world = World::new(0);
    world.core.mine_empty(2);
    let Setting { key, config, params, program, .. } = &world.setting;
    let node = world.core.node();
    let mut poster = Poster::new(key.clone(), *config, &node, params, program);
    poster.follow(&node);
    let applied = poster.make_batch(1, 2).expect("there is something to credit");
    assert_eq!(applied.batch.deposits_applied, 2);
    poster.tick(&node);
    assert_eq!(state_of(&poster), JobState::RevealSent);
    (world, poster)
}

fn state_of(poster: &Poster) -> JobState {
    poster.service().and_then(|service| service.job(0)).expect("the batch is proven").state()
}

/// The transactions of the two deposits, in the order of the chain.
fn deposits(world: &World) -> [Transaction; 2] {
    let params = &world.setting.params;
    let is_deposit =
        |transaction: &&Transaction| !Deposit::scan(transaction, params.bridge(), params.chain_id()).is_empty();
    let transactions = world.setting.blocks.iter().flat_map(|block| &block.txdata);
    let deposits: Vec<Transaction> = transactions.filter(is_deposit).cloned().collect();
    deposits.try_into().expect("two deposits")
}

/// A payment from the coin that a transaction spends.
fn spend_coin_of(world: &World, transaction: &Transaction) -> Transaction {
    let spent = transaction.input[0].previous_output;
    let mut made = world.setting.blocks.iter().flat_map(|block| &block.txdata);
    let made = made.find(|made| made.compute_txid() == spent.txid).expect("the chain has it");
    let coin = Funding { outpoint: spent, output: made.output[spent.vout as usize].clone() };
    let output = TxOut { value: Amount::from_sat(1_000_000), script_pubkey: world.core.new_script() };
    pay(vec![output], rate("5"), &[coin], &world.setting.key).expect("a coin")
}

/// Another branch from below both deposits, one block longer.
fn replace_deposits(world: &World, fallen: Fallen) {
    let [first, second] = deposits(world);
    let (tip, _) = world.core.tip();
    let in_block = |block: &Block| block.txdata.contains(&first);
    let height = world.setting.blocks.iter().position(in_block).expect("a block has it") as u32;
    let mut blocks = match fallen {
        Fallen::Displaced => vec![vec![first], vec![spend_coin_of(world, &second)]],
        Fallen::Later => vec![vec![first]],
        Fallen::Earlier => vec![vec![second.clone()], vec![first]],
    };
    blocks.resize((tip + 2 - height) as usize, Vec::new());
    if let (Fallen::Later, Some(last)) = (fallen, blocks.last_mut()) {
        last.push(second);
    }
    world.core.invalidate(&world.core.block_hash(height));
    for block in blocks {
        world.core.mine_with(&block, &world.core.new_script());
    }
    assert_eq!(world.core.tip().0, tip + 1);
}
#[test]
fn a_batch_whose_deposits_fell_is_taken_back_and_proven_again() {
    for (fallen, credited_sat) in [(Fallen::Displaced, 50_000), (Fallen::Later, 120_000), (Fallen::Earlier, 120_000)] {
        for is_mined in [false, true] {
            println!("{fallen:?}, in a block: {is_mined}");
            let (world, mut poster) = with_ledger();
            let node = world.core.node();
            if is_mined {
                world.core.mine(1, &world.core.new_script());
                poster.tick(&node);
                assert_eq!(state_of(&poster), JobState::InBlock);
                poster.follow(&node);
            }
            let stale = poster.proven.0.borrow()[&0].clone();
            replace_deposits(&world, fallen);
            poster.tick(&node);
            assert_eq!(state_of(&poster), JobState::Stale);
            // Nothing of it gets into the chain, however often its transactions are mined.
            world.core.mine(1, &world.core.new_script());
            poster.tick(&node);
            assert_eq!((state_of(&poster), world.follower().tip().batches), (JobState::Stale, 0));
            assert_eq!(poster.ledger.next_batch(), 1);
            poster.follow(&node);
            assert_eq!((poster.ledger.next_batch(), poster.troubles.stale), (0, 1));
            let applied = poster.make_batch(1, 2).expect("there is something to credit");
            assert_ne!(poster.proven.0.borrow()[&0], stale);
            poster.tick(&node);
            assert_eq!(state_of(&poster), JobState::RevealSent);
            world.core.mine(1, &world.core.new_script());
            poster.tick(&node);
            assert_eq!(state_of(&poster), JobState::InBlock);
            let tip = *world.follower().tip();
            assert_eq!((tip.batches, tip.root), (1, applied.batch.root_after));
            assert_eq!(tip.root, poster.ledger.state().root());
            let cells = poster.ledger.state().tree().cells();
            let balances = cells.map(|(_, cell)| if let Cell::Account(account) = cell { account.balance } else { 0 });
            assert_eq!(balances.sum::<u64>(), credited_sat);
            world.core.mine(FINAL_DEPTH_BLOCKS, &world.core.new_script());
            poster.tick(&node);
            assert_eq!(state_of(&poster), JobState::Final);
        }
    }
}

#[test]
fn a_reference_that_has_another_hash_costs_no_proof() {
    for depth in 1..=6 {
        let (world, mut poster) = with_ledger();
        let node = world.core.node();
        let proven = poster.proven.0.borrow()[&0].clone();
        // The batch refers to the tip; its deposits are deeper.
        world.core.reorganise(depth, depth + 1);
        poster.tick(&node);
        poster.follow(&node);
        assert_eq!(state_of(&poster), JobState::RevealSent, "{depth} replaced");
        assert_eq!((poster.ledger.next_batch(), poster.troubles.stale), (1, 0));
        let job = poster.service().and_then(|service| service.job(0)).expect("proven");
        let payloads =
            job.generations().iter().map(|generation| Payload::decode(generation.payload(), proven.payload().table()));
        let payloads: Vec<Payload> = payloads.map(|payload| payload.expect("our own")).collect();
        let [before, after] = payloads.as_slice() else { panic!("the payload was rebuilt once: {}", payloads.len()) };
        let height = before.header().reference_height;
        assert_eq!(after.header().reference_height, height);
        assert_ne!(after.header().reference_hash, before.header().reference_hash);
        assert_eq!(after.header().reference_hash, world.core.block_hash(height));
        assert_eq!(after.chunks(), proven.payload().chunks(), "the same proofs");
        world.core.mine(1, &world.core.new_script());
        poster.tick(&node);
        assert_eq!(state_of(&poster), JobState::InBlock);
        assert_eq!(world.follower().tip().root, poster.ledger.state().root());
    }
}
