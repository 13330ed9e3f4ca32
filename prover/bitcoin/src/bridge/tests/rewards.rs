//! What miners pay to the bridge in their rewards, which no block may spend before it has 100 confirmations.

use super::rig::{EXPIRY_BLOCKS, FINAL_DEPTH_BLOCKS, REFUND_DELAY_BLOCKS, View, World, rate};
use crate::{
    anchor::Funding,
    bridge::{
        check::CheckError,
        deposit::{RefundError, refund},
        plan::{PlanError, plan},
        scan::{HeadError, Origin},
    },
    node::Unspent,
    regtest::COINBASE_MATURITY_BLOCKS,
};
use bitcoin::{Amount, OutPoint, ScriptBuf, TxOut};
use taproof_verifier::deposit::Deposit;

const A: [u8; 20] = [0xaa; 20];

impl World {
    /// Mines a block whose reward has these outputs first; gives the first.
    fn mine_reward(&mut self, outputs: Vec<TxOut>) -> OutPoint {
        let mut draft = self.chain.clone();
        let mut block = draft.mine(&[], &ScriptBuf::new()).unwrap().clone();
        let coinbase = &mut block.txdata[0];
        let paid: Amount = outputs.iter().map(|output| output.value).sum();
        coinbase.output[0].value -= paid;
        coinbase.output.splice(0..0, outputs);
        let outpoint = OutPoint { txid: coinbase.compute_txid(), vout: 0 };
        block.header.merkle_root = block.compute_merkle_root().unwrap();
        while block.header.validate_pow(block.header.target()).is_err() {
            block.header.nonce += 1;
        }
        self.chain.connect(block).unwrap();
        outpoint
    }

    fn gift_in_reward(&mut self, sat: u64) -> OutPoint {
        let script_pubkey = self.params.bridge().script_pubkey();
        self.mine_reward(vec![TxOut { value: Amount::from_sat(sat), script_pubkey }])
    }

    fn deposit_in_reward(&mut self, amount_sat: u64, refund: u32) -> OutPoint {
        let deposit = Deposit { amount_sat, owner: *self.owner().public(), refund: self.refund_key(refund).public() };
        self.mine_reward(deposit.outputs(self.params.bridge(), self.params.chain_id()).into())
    }

    /// Plans, and lets the node look at what is signed.
    fn link_passes(&mut self, view: &View) -> usize {
        let planned = self.plan(view).unwrap();
        let link = self.sign(&planned.psbt, view);
        self.chain.check_transactions(&[link]).unwrap();
        planned.deposits
    }
}

#[test]
fn a_gift_in_a_reward_stops_nothing() {
    let mut world = World::funded(&[50_000], &[(49_000, A)]);
    let gift = world.gift_in_reward(1);
    let large = world.gift_in_reward(1_000_000);
    let mut view = world.view();
    assert!([gift, large].iter().all(|outpoint| !view.scan.is_spendable(view.scan.coin(outpoint).unwrap())));
    assert_eq!(world.link_passes(&view), 1);
    // A coordinator that spends it all the same is refused, up to the block before the one that may.
    let planned = world.plan(&view).unwrap();
    let mut early = planned.psbt.clone();
    early.unsigned_tx.input[1].previous_output = large;
    early.inputs[1].witness_utxo = Some(view.scan.coin(&large).unwrap().output.clone());
    let height = view.scan.coin(&large).unwrap().height;
    for blocks in [COINBASE_MATURITY_BLOCKS - 1, 1] {
        let to = height + COINBASE_MATURITY_BLOCKS - 1 - blocks;
        world.mine_empty(to - world.chain.height());
        view.sync(&world.chain);
        assert_eq!(world.check(&early, &view).unwrap_err(), CheckError::Immature { input: 1, blocks });
    }
    world.mine_empty(1);
    view.sync(&world.chain);
    assert!(view.scan.is_spendable(view.scan.coin(&large).unwrap()));
    assert!(!matches!(world.check(&early, &view), Err(CheckError::Immature { .. })));
}

#[test]
fn a_credited_deposit_in_a_reward_waits_for_its_maturity_and_is_moved_then() {
    let mut world = World::funded(&[50_000], &[]);
    let outpoint = world.deposit_in_reward(70_000, 1);
    let later = world.deposit(60_000, 2);
    world.mine(&[later]);
    let note = world.note(1, 3, &[(100_000, A)]);
    world.mine(&[note]);
    world.mine_empty(FINAL_DEPTH_BLOCKS);
    let mut view = world.view();
    let coin = view.scan.coin(&outpoint).unwrap().clone();
    assert!(coin.is_coinbase && matches!(coin.origin, Origin::Deposit { index: 1, .. }));
    assert!(view.scan.is_held(&coin) && !view.scan.is_spendable(&coin));
    // What others deposited is moved and paid out meanwhile.
    let planned = world.plan(&view).unwrap();
    assert_eq!((planned.deposits, planned.paid_sat), (2, 100_000));
    let link = world.sign(&planned.psbt, &view);
    world.mine(&[link]);
    world.mine_empty(coin.height + COINBASE_MATURITY_BLOCKS - 2 - world.chain.height());
    view.sync(&world.chain);
    assert!(matches!(world.plan(&view), Err(PlanError::Nothing)));
    world.mine_empty(1);
    view.sync(&world.chain);
    // Here the refund delay is shorter than the maturity, so that the depositor may compete; on mainnet it is not.
    assert_eq!(view.scan.refund_height(&coin), Some(coin.height + COINBASE_MATURITY_BLOCKS));
    let coin = world.coin();
    let funding = [coin];
    let mut request = world.request(&view, &funding);
    request.exposed = true;
    let mut planned = plan(&request).unwrap();
    assert_eq!(planned.deposits, 1);
    crate::bridge::plan::sign_fee_inputs(&mut planned.psbt, &world.poster);
    let link = world.sign(&planned.psbt, &view);
    world.mine(&[link]);
    view.sync(&world.chain);
    assert!(view.scan.faults().is_empty() && view.scan.coin(&outpoint).is_none());
}

#[test]
fn a_chain_that_would_begin_with_a_reward_waits_for_it() {
    let mut world = World::new();
    let outpoint = world.deposit_in_reward(50_000, 0);
    let other = world.deposit(70_000, 1);
    world.mine(&[other]);
    let note = world.note(0, 2, &[(1_000, A)]);
    world.mine(&[note]);
    world.mine_empty(FINAL_DEPTH_BLOCKS);
    let mut view = world.view();
    let height = view.scan.coin(&outpoint).unwrap().spendable_height();
    assert_eq!(view.scan.head(), Err(HeadError::StartImmature { outpoint, height }));
    assert!(matches!(world.plan(&view), Err(PlanError::Head(HeadError::StartImmature { .. }))));
    world.mine_empty(height - 1 - world.chain.height());
    view.sync(&world.chain);
    assert_eq!(view.scan.head().unwrap().outpoint, outpoint);
    assert_eq!(world.link_passes(&view), 1);
}

#[test]
fn a_refund_of_a_reward_waits_for_its_maturity() {
    let mut world = World::new();
    let outpoint = world.deposit_in_reward(50_000, 0);
    let output = world.chain.coin(&outpoint).unwrap().output.clone();
    world.mine_empty(COINBASE_MATURITY_BLOCKS - 2);
    assert!(EXPIRY_BLOCKS < u32::from(REFUND_DELAY_BLOCKS) && u32::from(REFUND_DELAY_BLOCKS) < 98);
    let key = world.refund_key(0);
    let take_back = |world: &World, confirmations| {
        let unspent = Unspent { output: output.clone(), confirmations, is_coinbase: true };
        refund(&world.params, outpoint, &unspent, &key, world.poster.script_pubkey(), rate("1"))
    };
    let early = take_back(&world, COINBASE_MATURITY_BLOCKS - 1);
    assert!(matches!(early, Err(RefundError::TooEarly(1))), "{early:?}");
    world.mine_empty(1);
    let taken = take_back(&world, COINBASE_MATURITY_BLOCKS).unwrap();
    world.chain.check_transactions(&[taken]).unwrap();
}

#[test]
fn a_reward_does_not_pay_the_fee_before_its_maturity() {
    let mut world = World::funded(&[50_000], &[(1_000, A)]);
    let script_pubkey = world.poster.script_pubkey();
    let output = TxOut { value: Amount::from_sat(100_000), script_pubkey };
    let outpoint = world.mine_reward(vec![output.clone()]);
    let view = world.view();
    let funding = [Funding { outpoint, output }];
    let planned = plan(&world.request(&view, &funding)).unwrap();
    let input = planned.psbt.inputs.len() - 1;
    let refusal = world.check(&planned.psbt, &view).unwrap_err();
    assert_eq!(refusal, CheckError::Immature { input, blocks: COINBASE_MATURITY_BLOCKS - 1 });
}
