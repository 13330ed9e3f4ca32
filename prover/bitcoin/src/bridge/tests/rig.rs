//! A chain with a bridge whose rollup is made of plain notes, so that anything can be credited and withdrawn at once.
//!
//! A note is a transaction whose output 0 says what an anchor would: which deposits it comes to, and what it withdraws.
//! [`View`] plays the follower: the same notes, the same outcome, whatever it saw before.

use crate::{
    anchor::{FeeRate, Funding, pay},
    bridge::{
        check::{CheckError, CheckedLink, FeeBounds, SignerView},
        link::MAX_LINK_WEIGHT_WU,
        plan::{Plan, PlanError, PlanRequest, plan, sign_fee_inputs},
        scan::{BridgeScan, Passed},
        sign::combine,
    },
    node::Unspent,
    regtest::{Coin, RegtestChain},
};
use bitcoin::{Amount, Block, Network, OutPoint, Psbt, ScriptBuf, Transaction, TxOut};
use std::collections::HashMap;
use taproof_circuits::schnorr::SecretKey;
use taproof_verifier::{
    bridge::Federation,
    cell::Depth,
    deposit::Deposit,
    follow::{Founding, Params, Payout},
    headers::BlockId,
    program::ProgramId,
    quorum::Keys,
    record::Destination,
};
use taproof_wallet::{PosterKey, Wallet};

pub(super) const FINAL_DEPTH_BLOCKS: u32 = 4;
pub(super) const EXPIRY_BLOCKS: u32 = 20;
pub(super) const REFUND_DELAY_BLOCKS: u16 = 60;
pub(super) const DEPOSIT_MIN_SAT: u64 = 500;
const NOTE: &[u8] = &[0x6a, b'n', b'o', b't', b'e'];

#[derive(Clone)]
pub(super) struct World {
    pub(super) chain: RegtestChain,
    pub(super) params: Params,
    pub(super) wallet: Wallet,
    pub(super) poster: PosterKey,
    /// Coins from before the start, which no reorganisation takes away; each is spent once.
    coins: Vec<(OutPoint, Coin)>,
}

impl World {
    pub(super) fn new() -> Self {
        let wallet = Wallet::from_seed(&[3; 32], Network::Regtest).unwrap();
        let poster = wallet.poster_key(0).unwrap();
        let mut chain = RegtestChain::new();
        chain.mine_empty(400, &poster.script_pubkey()).unwrap();
        let signers = [0, 1, 2].map(|index| wallet.signer_key(index).unwrap().public());
        let params = Params::new(Founding {
            network: Network::Regtest,
            genesis_depth: Depth::new(2).unwrap(),
            federation: Federation::new(2, signers.to_vec(), REFUND_DELAY_BLOCKS, DEPOSIT_MIN_SAT).unwrap(),
            deposit_window_blocks: 6,
            deposit_expiry_blocks: EXPIRY_BLOCKS,
            start: BlockId { height: chain.height(), hash: chain.tip_hash() },
            final_depth_blocks: FINAL_DEPTH_BLOCKS,
            upgrade_keys: None,
            notice_blocks: 0,
            sequencer_keys: Keys::default(),
            quiet_blocks: 0,
            opening_min_sat: 0,
            program_id: ProgramId::from_byte_array([0; 32]),
        });
        let params = params.unwrap();
        let coins = chain.spendable_coins(&poster.script_pubkey());
        Self { chain, params, wallet, poster, coins }
    }

    /// A coin of the poster's that nothing else spends.
    pub(super) fn coin(&mut self) -> Funding {
        let (outpoint, coin) = self.coins.pop().expect("enough coins for a test");
        Funding { outpoint, output: coin.output }
    }

    pub(super) fn coins_left(&self) -> usize {
        self.coins.len()
    }

    /// A transaction of the poster's.
    pub(super) fn pay(&mut self, outputs: Vec<TxOut>) -> Transaction {
        let coin = self.coin();
        pay(outputs, rate("1"), &[coin], &self.poster).unwrap()
    }

    pub(super) fn owner(&self) -> SecretKey {
        self.wallet.owner_key(0, 0).unwrap()
    }

    pub(super) fn refund_key(&self, index: u32) -> PosterKey {
        self.wallet.refund_key(index).unwrap()
    }

    pub(super) fn signer(&self, index: u32) -> PosterKey {
        self.wallet.signer_key(index).unwrap()
    }

    /// A deposit; the bridge's output is the first.
    pub(super) fn deposit(&mut self, amount_sat: u64, refund: u32) -> Transaction {
        let deposit = Deposit { amount_sat, owner: *self.owner().public(), refund: self.refund_key(refund).public() };
        let outputs = deposit.outputs(self.params.bridge(), self.params.chain_id());
        self.pay(outputs.into())
    }

    /// A note that comes to the deposits from `before` up to `after`, and withdraws.
    pub(super) fn note(&mut self, before: u64, after: u64, withdrawals: &[(u64, [u8; 20])]) -> Transaction {
        let mut script = NOTE.to_vec();
        script.extend(before.to_le_bytes());
        script.extend(after.to_le_bytes());
        for (amount, program) in withdrawals {
            script.extend(amount.to_le_bytes());
            script.extend(program);
        }
        self.pay(vec![TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::from_bytes(script) }])
    }

    pub(super) fn mine(&mut self, transactions: &[Transaction]) {
        self.chain.mine(transactions, &ScriptBuf::new()).unwrap();
    }

    pub(super) fn mine_empty(&mut self, blocks: u32) {
        self.chain.mine_empty(blocks, &ScriptBuf::new()).unwrap();
    }

    pub(super) fn view(&self) -> View {
        let mut view = View::new(&self.params);
        view.sync(&self.chain);
        view
    }

    /// Mines a deposit of each amount, credits them all, and withdraws; then buries it all.
    pub(super) fn funded(amounts: &[u64], withdrawals: &[(u64, [u8; 20])]) -> Self {
        let mut world = Self::new();
        let deposits: Vec<Transaction> = (0..).zip(amounts).map(|(i, amount)| world.deposit(*amount, i)).collect();
        world.mine(&deposits);
        let note = world.note(0, amounts.len() as u64, withdrawals);
        world.mine(&[note]);
        world.mine_empty(FINAL_DEPTH_BLOCKS);
        world
    }

    /// The next link, with the fee's inputs signed.
    pub(super) fn plan(&mut self, view: &View) -> Result<Plan, PlanError> {
        let coin = self.coin();
        let mut planned = plan(&self.request(view, &[coin]))?;
        assert_eq!(sign_fee_inputs(&mut planned.psbt, &self.poster), 1);
        Ok(planned)
    }

    pub(super) fn request<'a>(&self, view: &'a View, funding: &'a [Funding]) -> PlanRequest<'a> {
        PlanRequest {
            scan: &view.scan,
            fee_rate: rate("2"),
            funding,
            fee_change: self.poster.script_pubkey(),
            payouts_max: 100,
            deposits_max: usize::MAX,
            weight_max_wu: MAX_LINK_WEIGHT_WU,
            exposed: false,
            origins: Default::default(),
        }
    }

    /// What a signer makes of a PSBT.
    pub(super) fn check(&self, psbt: &Psbt, view: &View) -> Result<CheckedLink, CheckError> {
        let bridge_script = |outpoint: &OutPoint| view.scan.coin(outpoint).is_none();
        let outpoints = psbt.unsigned_tx.input.iter().map(|input| input.previous_output).filter(bridge_script);
        let known = |outpoint| {
            let coin = self.chain.coin(&outpoint)?;
            let confirmations = self.chain.height() + 1 - coin.height;
            Some((outpoint, Unspent { output: coin.output.clone(), confirmations, is_coinbase: coin.coinbase }))
        };
        let fee_coins: HashMap<OutPoint, Unspent> = outpoints.filter_map(known).collect();
        let fee_bounds = FeeBounds { min: rate("1"), max: rate("100") };
        CheckedLink::check(psbt.clone(), &SignerView { scan: &view.scan, fee_coins: &fee_coins, fee_bounds })
    }

    /// Two signers sign, and the transaction is made.
    pub(super) fn sign(&self, psbt: &Psbt, view: &View) -> Transaction {
        let signed = [0, 2]
            .map(|signer| self.check(psbt, view).unwrap().sign(&self.signer(signer), self.params.bridge()).unwrap());
        combine(signed.to_vec(), self.params.bridge()).unwrap().0
    }
}

pub(super) fn rate(text: &str) -> FeeRate {
    text.parse().unwrap()
}

#[derive(Clone)]
struct Note {
    height: u32,
    consumed_before: u64,
    withdrawn_before_sat: u64,
    payouts: Vec<Payout>,
}

/// A scan of the bridge, and the notes beside it.
#[derive(Clone)]
pub(super) struct View {
    pub(super) scan: BridgeScan,
    blocks: Vec<BlockId>,
    /// Amount and height of each deposit.
    deposits: Vec<(u64, u32)>,
    notes: Vec<Note>,
    consumed: u64,
    withdrawn_sat: u64,
    /// Payouts of final notes, all that there were.
    pub(super) due: Vec<Payout>,
    notes_due: usize,
}

impl View {
    pub(super) fn new(params: &Params) -> Self {
        Self {
            scan: BridgeScan::new(params.clone()),
            blocks: vec![params.start],
            deposits: Vec::new(),
            notes: Vec::new(),
            consumed: 0,
            withdrawn_sat: 0,
            due: Vec::new(),
            notes_due: 0,
        }
    }

    /// Goes to the tip of the chain, back to where it has forked first.
    pub(super) fn sync(&mut self, chain: &RegtestChain) {
        self.sync_to(chain, chain.height());
    }

    pub(super) fn sync_to(&mut self, chain: &RegtestChain, height: u32) {
        let on_chain = |block: &BlockId| chain.height_of(&block.hash) == Some(block.height);
        let shared = self.blocks.iter().rposition(on_chain).expect("the start is never undone");
        if shared + 1 < self.blocks.len() {
            self.blocks.truncate(shared + 1);
            self.rewind(self.blocks[shared]);
        }
        for height in self.blocks[shared].height + 1..=height {
            self.connect(chain.block_at(height).unwrap(), height);
        }
    }

    /// Deposits that a note may come to.
    pub(super) fn waiting(&self) -> std::ops::Range<u64> {
        self.consumed..self.deposits.len() as u64
    }

    /// What the rollup's accounts hold.
    pub(super) fn balance_sat(&self) -> u64 {
        let credited = self.notes.iter().map(|note| note.consumed_before).chain([self.consumed]).collect::<Vec<_>>();
        let mut sum = 0;
        for (pair, note) in credited.windows(2).zip(&self.notes) {
            sum += self.credited_sat(pair[0]..pair[1], note.height);
        }
        sum - self.withdrawn_sat
    }

    fn credited_sat(&self, deposits: std::ops::Range<u64>, anchor_height: u32) -> u64 {
        let range = deposits.start as usize..deposits.end as usize;
        let alive = |(_, height): &&(u64, u32)| anchor_height <= height + EXPIRY_BLOCKS;
        self.deposits[range].iter().filter(alive).map(|(amount, _)| amount).sum()
    }

    fn rewind(&mut self, to: BlockId) {
        self.scan.rewind(to);
        self.deposits.retain(|(_, height)| *height <= to.height);
        while let Some(note) = self.notes.pop_if(|note| note.height > to.height) {
            (self.consumed, self.withdrawn_sat) = (note.consumed_before, note.withdrawn_before_sat);
        }
        assert!(self.notes_due <= self.notes.len(), "nothing final is undone");
    }

    fn connect(&mut self, block: &Block, height: u32) {
        let id = BlockId { height, hash: block.block_hash() };
        let (params, known) = (self.scan.params().clone(), self.deposits.len() as u64);
        let mut passed = Vec::new();
        for transaction in &block.txdata {
            for (_, deposit) in Deposit::scan(transaction, params.bridge(), params.chain_id()) {
                self.deposits.push((deposit.amount_sat, height));
            }
            let Some((before, after, withdrawals)) = parse_note(transaction) else { continue };
            let sum: u64 = withdrawals.iter().map(|(amount, _)| amount).sum();
            if before != self.consumed || after < before || after > known {
                continue;
            }
            if sum > self.balance_sat() + self.credited_sat(before..after, height) {
                continue;
            }
            let first: u64 = self.notes.iter().map(|note| note.payouts.len() as u64).sum();
            let payouts = (0..).zip(withdrawals).map(|(position, (amount_sat, program))| Payout {
                index: first + u64::from(position),
                batch: self.notes.len() as u64,
                position,
                amount_sat,
                destination: Destination::P2wpkh(program),
                anchor: id,
            });
            let payouts = payouts.collect();
            let (consumed_before, withdrawn_before_sat) = (self.consumed, self.withdrawn_sat);
            self.notes.push(Note { height, consumed_before, withdrawn_before_sat, payouts });
            (self.consumed, self.withdrawn_sat) = (after, self.withdrawn_sat + sum);
            let is_void = |(_, deposited): &&(u64, u32)| height > deposited + EXPIRY_BLOCKS;
            let void = self.deposits[before as usize..after as usize].iter().take_while(is_void).count();
            passed.push(Passed { deposits: before..after, first_credited: before + void as u64 });
        }
        let mut due = Vec::new();
        while self.notes.get(self.notes_due).is_some_and(|note| note.height + FINAL_DEPTH_BLOCKS <= height + 1) {
            for payout in &self.notes[self.notes_due].payouts {
                due.push(*payout);
            }
            self.notes_due += 1;
        }
        self.due.extend(&due);
        self.blocks.push(id);
        self.scan.connect_with(id, &block.txdata, passed.into_iter(), due.into_iter());
    }
}

type Withdrawals = Vec<(u64, [u8; 20])>;

fn parse_note(transaction: &Transaction) -> Option<(u64, u64, Withdrawals)> {
    let body = transaction.output[0].script_pubkey.as_bytes().strip_prefix(NOTE)?;
    let (before, body) = body.split_first_chunk()?;
    let (after, body) = body.split_first_chunk()?;
    let withdrawals = body
        .chunks_exact(28)
        .map(|chunk| (u64::from_le_bytes(chunk[..8].try_into().unwrap()), chunk[8..].try_into().unwrap()));
    Some((u64::from_le_bytes(*before), u64::from_le_bytes(*after), withdrawals.collect()))
}
