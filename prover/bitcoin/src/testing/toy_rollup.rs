//! A rollup on the embedded chain whose proofs are made from the keys' trapdoor, so that anything can be proven at
//! once.

use crate::{
    anchor::{AnchorArtefact, AnchorRequest, FeeRate, Funding, build, pay},
    node::{EmbeddedNode, Node},
    proven_batch::ProvenBatch,
    regtest::{COINBASE_MATURITY_BLOCKS, RegtestChain},
};
use ark_bn254::{Fr, G1Projective, G2Projective};
use ark_ec::{CurveGroup, PrimeGroup};
use ark_ff::Field;
use bitcoin::{Amount, Network, ScriptBuf, Transaction, TxOut};
use std::collections::BTreeMap;
use taproof_circuits::{
    chunk::witness::ChunkWitness,
    ops,
    schnorr::SecretKey,
    state::{Plan, Slots, State},
    transaction as rollup,
};
use taproof_verifier::{
    bridge::Federation,
    cell::{CellIndex, Depth, Token},
    deposit::Deposit,
    exit::Refutation,
    follow::{Founding, Params, Tip},
    groth16::{Proof, VerifyingKey},
    headers::BlockId,
    operation::OperationSet,
    payload::{Chunk, Header, Payload, PayloadHash},
    program::Program,
    quorum::Keys,
    record::{Destination, Kind},
    statement::{CircuitId, Statement},
};
use taproof_wallet::{PosterKey, Wallet};

const SLOTS: u16 = 4;
/// The number of blocks that make one final.
pub const FINAL_DEPTH_BLOCKS: u32 = 6;

/// The secrets behind the one key that serves all circuits.
const ALPHA: u64 = 3;
const BETA: u64 = 5;
const GAMMA: u64 = 7;
const DELTA: u64 = 11;
const IC: [u64; 2] = [13, 17];

fn g1(scalar: Fr) -> ark_bn254::G1Affine {
    (G1Projective::generator() * scalar).into_affine()
}

fn g2(scalar: Fr) -> ark_bn254::G2Affine {
    (G2Projective::generator() * scalar).into_affine()
}

/// A program of circuits of payments with so many slots for trees of these numbers of levels.
pub fn program(levels: &[u8], slots: u16) -> Program {
    program_of(Vec::new(), payments(levels, slots))
}

/// The same with steps of the standard operations, in circuits of so many slots and of four times as many.
pub fn program_with_steps(levels: &[u8], slots: u16) -> Program {
    let machine = ops::standard();
    let steps = depths(levels).flat_map(|depth| [slots, 4 * slots].map(|slots| machine.circuit(depth, slots)));
    program_of(vec![(**machine.set()).clone()], payments(levels, slots).chain(steps))
}

fn depths(levels: &[u8]) -> impl Iterator<Item = Depth> {
    levels.iter().map(|levels| Depth::new(*levels).expect("a few levels"))
}

fn payments(levels: &[u8], slots: u16) -> impl Iterator<Item = CircuitId> {
    depths(levels).flat_map(move |depth| Kind::PAYMENTS.map(|kind| CircuitId::new(kind, depth, slots)))
}

/// A program whose circuits have one key, that of all proofs here.
fn program_of(sets: Vec<OperationSet>, circuits: impl Iterator<Item = CircuitId>) -> Program {
    let [alpha, ic_0, ic_1] = [ALPHA, IC[0], IC[1]].map(|scalar| g1(Fr::from(scalar)));
    let [beta, gamma, delta] = [BETA, GAMMA, DELTA].map(|scalar| g2(Fr::from(scalar)));
    let key = VerifyingKey::new(alpha, beta, gamma, delta, &[ic_0, ic_1]).expect("points of the groups");
    let circuits = circuits.map(|circuit| (circuit, key.clone()));
    Program::with_operations(sets, circuits).expect("known kinds and slots")
}

/// Proves any statement: C is solved for, since every secret is known.
pub fn forge(statement: &Statement) -> Proof {
    let [a, b] = [Fr::from(19u64), Fr::from(23u64)];
    let input = Fr::from(IC[0]) + statement.digest() * Fr::from(IC[1]);
    let rest = a * b - Fr::from(ALPHA * BETA) - input * Fr::from(GAMMA);
    let c = rest * Fr::from(DELTA).inverse().expect("not zero");
    Proof::new(g1(a), g2(b), g1(c)).expect("points of the groups")
}

/// What is posted of a chunk, proven.
pub fn prove_chunk(witness: &ChunkWitness) -> Chunk {
    witness.posted(forge(&witness.statement))
}

/// Proves a batch: its header, its chunks, and the cells that refute exit requests.
pub fn prove(program: &Program, header: Header, chunks: &[ChunkWitness], refutations: &[Refutation]) -> ProvenBatch {
    let (table, chunks) = (program.table().clone(), chunks.iter().map(prove_chunk).collect());
    let payload = Payload::with_refutations(table, header, chunks, refutations.to_vec()).expect("it fits");
    ProvenBatch::new(payload).expect("it fits")
}

/// The same statements with other proofs: -A and -B prove what A and B prove.
pub fn other_proofs(proven: &ProvenBatch) -> ProvenBatch {
    let payload = proven.payload();
    let mut chunks = payload.chunks().to_vec();
    for chunk in &mut chunks {
        let proof = &chunk.proof;
        chunk.proof = Proof::new(-*proof.a(), -*proof.b(), *proof.c()).expect("points of the groups");
    }
    let (table, refutations) = (payload.table().clone(), payload.refutations().to_vec());
    let payload = Payload::with_refutations(table, *payload.header(), chunks, refutations);
    ProvenBatch::new(payload.expect("as long as before")).expect("short")
}

/// A rollup, its poster, and the chain that it is anchored on.
pub struct ToyRollup {
    pub node: EmbeddedNode,
    pub params: Params,
    pub program: Program,
    pub state: State,
    pub tip: Tip,
    pub poster: PosterKey,
    /// The block of the last deposit, which batches refer to.
    pub reference: BlockId,
    pub wallet: Wallet,
}

impl ToyRollup {
    /// A rollup that starts at the tip of a chain on which the poster has coins, with trees of two and three levels.
    pub fn new() -> Self {
        Self::founded_by(&[2, 3], |_, _| ())
    }

    /// As [`ToyRollup::new`], with a program for trees of these numbers of levels, of which the first is the genesis'.
    pub fn of_depths(levels: &[u8]) -> Self {
        Self::founded_by(levels, |_, _| ())
    }

    /// As [`ToyRollup::of_depths`], of a founder who chose otherwise, in view of the wallet.
    pub fn founded_by(levels: &[u8], alter: impl FnOnce(&mut Founding, &Wallet)) -> Self {
        let wallet = Wallet::from_seed(&[3; 32], Network::Regtest).expect("32 bytes");
        let poster = wallet.poster_key(0).expect("a small number");
        let mut chain = RegtestChain::new();
        let script = poster.script_pubkey();
        chain.mine_empty(COINBASE_MATURITY_BLOCKS + 20, &script).expect("empty blocks are valid");
        let start = BlockId { height: chain.height(), hash: chain.tip_hash() };
        let program = program(levels, SLOTS);
        let signers = [0, 1, 2].map(|index| wallet.signer_key(index).expect("a small number").public());
        let mut founding = Founding {
            network: Network::Regtest,
            genesis_depth: Depth::new(levels[0]).expect("a few levels"),
            federation: Federation::new(2, signers.to_vec(), 1_000, 0).expect("three keys"),
            deposit_window_blocks: 100,
            deposit_expiry_blocks: 500,
            start,
            final_depth_blocks: FINAL_DEPTH_BLOCKS,
            upgrade_keys: None,
            notice_blocks: 0,
            sequencer_keys: Keys::default(),
            quiet_blocks: 0,
            opening_min_sat: 0,
            program_id: program.id(),
        };
        alter(&mut founding, &wallet);
        let params = Params::new(founding).expect("consistent parameters");
        let state = State::new(params.chain_id(), params.genesis_depth);
        let tip = Tip::genesis(&params);
        Self { node: EmbeddedNode::new(chain, script), params, program, state, tip, poster, reference: start, wallet }
    }

    /// The same, before anything happened, founded otherwise.
    pub fn founded(self, alter: impl FnOnce(&mut Founding)) -> Self {
        let params = self.params.with(alter).expect("consistent parameters");
        let state = State::new(params.chain_id(), params.genesis_depth);
        let tip = Tip::genesis(&params);
        Self { params, state, tip, ..self }
    }

    /// The key of an owner.
    pub fn owner(&self, index: u32) -> SecretKey {
        self.wallet.owner_key(0, index).expect("a small number")
    }

    fn funding(&self) -> Vec<Funding> {
        let coins = self.node.chain().spendable_coins(&self.poster.script_pubkey());
        coins.into_iter().map(|(outpoint, coin)| Funding { outpoint, output: coin.output }).collect()
    }

    /// Pays deposits on Bitcoin, each in a block of its own; gives them as the rollup credits them.
    pub fn deposit(&mut self, deposits: &[(u32, u64)]) -> Vec<rollup::Deposit> {
        let mut credited = Vec::new();
        for (owner, amount_sat) in deposits {
            let refund = self.wallet.refund_key(*owner).expect("a small number").public();
            let deposit = Deposit { amount_sat: *amount_sat, owner: *self.owner(*owner).public(), refund };
            let outputs: Vec<TxOut> = deposit.outputs(self.params.bridge(), self.params.chain_id()).into();
            let payment = pay(outputs, rate(), &self.funding(), &self.poster).expect("enough coins");
            self.node.send(&payment).expect("standard");
            self.node.mine(1).expect("valid");
            let chain = self.node.chain();
            self.reference = BlockId { height: chain.height(), hash: chain.tip_hash() };
            credited.push(rollup::Deposit { amount_sat: *amount_sat, owner: deposit.owner });
        }
        credited
    }

    /// Pays outputs on Bitcoin that no policy need relay, in a block of their own.
    pub fn mine_outputs(&mut self, outputs: Vec<TxOut>) {
        let payment = pay(outputs, rate(), &self.funding(), &self.poster).expect("enough coins");
        let script = self.poster.script_pubkey();
        self.node.chain_mut().mine(&[payment], &script).expect("valid");
    }

    /// Applies a batch to the state that refers to the last deposit's block, and proves it.
    pub fn batch(&mut self, deposits: &[rollup::Deposit], transactions: &[rollup::Transaction]) -> Payload {
        let plan = Plan {
            height_blocks: self.reference.height,
            slots: Slots::of_program(&self.program, self.state.depth())
                .expect("the program has circuits of that depth"),
            operators: BTreeMap::from([(Token::BITCOIN, CellIndex::default())]),
            chunks_max: 100,
            admission: Default::default(),
        };
        let batch = self.state.apply(&plan, deposits, transactions).expect("the operator lies in the tree");
        assert!(batch.rejected.is_empty() && batch.deposits_left_out.is_none(), "{:?}", batch.rejected);
        self.state.commit();
        let consumed = self.tip.deposits_consumed + deposits.len() as u64;
        let header = Header {
            chain_id: self.params.chain_id(),
            batch: self.tip.batches,
            previous_payload_hash: self.tip.payload_hash,
            root_before: batch.root_before,
            root_after: batch.root_after,
            depth: batch.depth,
            reference_height: self.reference.height,
            reference_hash: self.reference.hash,
            deposits_consumed: consumed,
            program_id: self.program.id(),
        };
        let chunks = batch.chunks.iter().map(prove_chunk).collect();
        let payload = Payload::new(self.program.table().clone(), header, chunks).expect("a batch with chunks");
        let statements: Vec<Statement> = batch.chunks.iter().map(|chunk| chunk.statement).collect();
        assert_eq!(payload.statements(), statements, "the prover and the verifier prove the same");
        payload
    }

    /// Anchors a payload and mines it; the tip moves on.
    pub fn anchor(&mut self, payload: &Payload) -> AnchorArtefact {
        let anchor = self.build_anchor(payload);
        self.mine(&[anchor.commit().clone(), anchor.reveal().clone()]);
        let header = payload.header();
        self.tip = Tip {
            batches: header.batch + 1,
            payload_hash: PayloadHash::of(anchor.payload()),
            root: header.root_after,
            depth: header.depth,
            deposits_consumed: header.deposits_consumed,
            payouts: self.tip.payouts + payouts(payload),
            reference: BlockId { height: header.reference_height, hash: header.reference_hash },
            anchored_height: self.node.chain().height(),
        };
        anchor
    }

    /// Builds an anchor and sends nothing.
    pub fn build_anchor(&self, payload: &Payload) -> AnchorArtefact {
        let encoded = payload.encode().expect("short");
        let request = AnchorRequest {
            payload: &encoded,
            fee_rate: rate(),
            headroom: Amount::from_sat(5_000),
            funding: &self.funding(),
        };
        build(&request, &self.poster).expect("enough coins")
    }

    /// Sends transactions and mines them.
    pub fn mine(&mut self, transactions: &[Transaction]) {
        for transaction in transactions {
            self.node.send(transaction).expect("standard");
        }
        self.node.mine(1).expect("valid");
    }

    /// The cell of an owner's account.
    pub fn cell(&self, owner: u32) -> CellIndex {
        self.state.accounts_of(self.owner(owner).public()).next().expect("an account").0
    }

    /// A signed payment of bitcoin from one owner's account to another's.
    pub fn transfer(&self, from: u32, to: u32, amount: u64, fee: u64) -> rollup::Transaction {
        let (from, nonce, key) = self.payer(from);
        let (chain_id, token, to) = (self.params.chain_id(), Token::BITCOIN, self.cell(to));
        let body = rollup::Transfer { chain_id, token, from, nonce, to, amount, fee };
        rollup::UnsignedTransaction::Transfer(body).sign(&key)
    }

    /// A signed payment into an empty cell for a new owner.
    pub fn open(&self, from: u32, to: CellIndex, owner: u32, amount: u64, fee: u64) -> rollup::Transaction {
        let (from, nonce, key) = self.payer(from);
        let (chain_id, token, owner) = (self.params.chain_id(), Token::BITCOIN, *self.owner(owner).public());
        let body = rollup::Open { chain_id, token, from, nonce, to, amount, fee, owner };
        rollup::UnsignedTransaction::Open(body).sign(&key)
    }

    /// A signed withdrawal.
    pub fn withdraw(&self, from: u32, destination: Destination, amount: u64) -> rollup::Transaction {
        let (from, nonce, key) = self.payer(from);
        let (chain_id, token, fee) = (self.params.chain_id(), Token::BITCOIN, 0);
        let body = rollup::Withdraw { chain_id, token, from, nonce, amount, fee, destination };
        rollup::UnsignedTransaction::Withdraw(body).sign(&key)
    }

    fn payer(&self, owner: u32) -> (CellIndex, u32, SecretKey) {
        let key = self.owner(owner);
        let (from, account) = self.state.accounts_of(key.public()).next().expect("an account");
        (from, account.nonce, key)
    }

    /// Two anchored batches: deposits for owners 0 to 2, then, in a deeper tree, every other kind of transition.
    pub fn with_two_batches() -> (Self, [AnchorArtefact; 2]) {
        let mut toy = Self::new();
        let deposits = toy.deposit(&[(0, 50_000), (1, 70_000), (2, 90_000), (1, 5_000), (0, 400)]);
        let payload = toy.batch(&deposits, &[]);
        let first = toy.anchor(&payload);
        toy.state.grow().expect("not the deepest");
        let outside_the_old_tree = CellIndex::new(100).expect("a small index");
        let transactions = [
            toy.transfer(1, 2, 10_000, 7),
            toy.open(2, outside_the_old_tree, 3, 20_000, 9),
            toy.withdraw(0, Destination::P2wpkh([8; 20]), 30_000),
        ];
        let payload = toy.batch(&[], &transactions);
        let second = toy.anchor(&payload);
        (toy, [first, second])
    }
}

/// How many withdrawals of bitcoin a payload has.
fn payouts(payload: &Payload) -> u64 {
    let withdrawals = payload.chunks().iter().filter(|chunk| chunk.records.kind() == Kind::Withdraw);
    withdrawals.filter(|chunk| chunk.token == Token::BITCOIN).map(|chunk| chunk.records.len() as u64).sum()
}

fn rate() -> FeeRate {
    "2".parse().expect("a rate")
}

/// A script that nobody in these tests spends.
pub fn elsewhere() -> ScriptBuf {
    ScriptBuf::from([[0x51, 0x20].as_slice(), &[9; 32]].concat())
}
