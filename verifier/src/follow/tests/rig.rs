//! A toy rollup on a toy chain: its circuits prove anything, so that each rule can be broken by itself.

use super::*;
use crate::{
    baby_jubjub::{Point, PublicKey, Scalar},
    bridge::tests::signer,
    cell::{CellIndex, ChainId, Depth},
    exit::{ExitRequest, Refutation, tests::request_for},
    groth16::{Proof, VerifyingKey},
    operation::tests::example_set,
    payload::{self, Chunk, Payload},
    program::Program,
    quorum::{Keys, Quorum},
    record::{DepositRecord, Destination, Kind, Records, TransferRecord, WithdrawRecord},
    statement::CircuitId,
    toy_chain::{mine_block, regtest_genesis, reveal, reveal_by},
    upgrade::{Change, Upgrade, tests::sign},
};
use ark_bn254::{Bn254, Fr};
use ark_ec::{AffineRepr, CurveGroup};
use ark_groth16::Groth16;
use ark_relations::{
    gr1cs::{ConstraintSynthesizer, ConstraintSystemRef, SynthesisError, Variable},
    lc,
};
use ark_snark::SNARK;
use bitcoin::Network;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use std::sync::{LazyLock, Mutex};

pub(super) const FINAL_DEPTH_BLOCKS: u32 = 11;
pub(super) const WINDOW_BLOCKS: u32 = 8;
pub(super) const EXPIRY_BLOCKS: u32 = 24;
/// What opens an account at the least.
pub(super) const OPENING_MIN_SAT: u64 = 1_000;
/// Just more than a window and the final depth.
pub(super) const NOTICE_BLOCKS: u32 = WINDOW_BLOCKS + FINAL_DEPTH_BLOCKS + 1;
pub(super) const QUIET_BLOCKS: u32 = 4;
/// Slots of every toy circuit but the large one.
pub(super) const SLOTS: u16 = 8;
/// Slots of the circuit for deposits in bulk.
pub(super) const SLOTS_LARGE: u16 = 4_200;

/// Slots of the circuit for withdrawals in bulk.
const SLOTS_EXITS: u16 = 80;

/// A circuit that holds for every public input.
struct Anything(Fr);

impl ConstraintSynthesizer<Fr> for Anything {
    fn generate_constraints(self, cs: ConstraintSystemRef<Fr>) -> Result<(), SynthesisError> {
        let input = cs.new_input_variable(|| Ok(self.0))?;
        let copy = cs.new_witness_variable(|| Ok(self.0))?;
        cs.enforce_r1cs_constraint(|| lc!() + copy, || lc!() + Variable::One, || lc!() + input)
    }
}

struct Toy {
    proving: ark_groth16::ProvingKey<Bn254>,
    program: Program,
    next_program: Program,
    rng: Mutex<ChaCha20Rng>,
}

static TOY: LazyLock<Toy> = LazyLock::new(|| {
    let mut rng = ChaCha20Rng::seed_from_u64(11);
    let (proving, _) =
        Groth16::<Bn254>::circuit_specific_setup(Anything(Fr::from(1u64)), &mut rng).expect("the circuit has a setup");
    let vk = &proving.vk;
    let key = VerifyingKey::new(vk.alpha_g1, vk.beta_g2, vk.gamma_g2, vk.delta_g2, &vk.gamma_abc_g1);
    let key = key.expect("arkworks makes valid keys");
    let circuit = |kind, levels, slots| (CircuitId::new(kind, depth(levels), slots), key.clone());
    let small = Kind::PAYMENTS.into_iter().flat_map(|kind| [circuit(kind, 2, SLOTS), circuit(kind, 3, SLOTS)]);
    let circuits = small.chain([circuit(Kind::Deposit, 2, SLOTS_LARGE), circuit(Kind::Withdraw, 2, SLOTS_EXITS)]);
    let steps = [2, 3].map(|levels| CircuitId {
        operations: example_set().hash(),
        ..CircuitId::new(Kind::Step, depth(levels), SLOTS)
    });
    let circuits = circuits.chain(steps.map(|steps| (steps, key.clone())));
    let program = Program::with_operations(alloc::vec![example_set()], circuits).expect("each circuit is there once");
    let next_program =
        Program::new(Kind::PAYMENTS.map(|kind| circuit(kind, 2, SLOTS))).expect("each circuit is there once");
    Toy { proving, program, next_program, rng: Mutex::new(rng) }
});

fn prove(input: Fr) -> Proof {
    let mut rng = TOY.rng.lock().expect("no test panics while proving");
    let proof = Groth16::<Bn254>::prove(&TOY.proving, Anything(input), &mut *rng).expect("any input is provable");
    Proof::new(proof.a, proof.b, proof.c).expect("the points are valid")
}

/// A proof of something else, in the place of one until its statement is known.
pub(super) fn any_proof() -> Proof {
    prove(Fr::from(0u64))
}

pub(super) fn program() -> Program {
    TOY.program.clone()
}

/// Both programs.
pub(super) fn programs() -> Programs {
    [program(), next_program()].into_iter().collect()
}

/// Another program: trees of depth 2 alone, and no circuits for bulk.
pub(super) fn next_program() -> Program {
    TOY.next_program.clone()
}

pub(super) fn depth(levels: u8) -> Depth {
    Depth::new(levels).expect("1 to 10 levels")
}

pub(super) fn key(secret: u64) -> PublicKey {
    PublicKey::new((Point::generator() * Scalar::from(secret)).into_affine()).expect("a multiple of the generator")
}

pub(super) fn destination(position: usize) -> Destination {
    Destination::P2wpkh([position as u8; 20])
}

/// The parameters of the toy rollup, which has upgrade keys.
pub(super) fn params() -> Params {
    static PARAMS: LazyLock<Params> = LazyLock::new(|| params_with(let_upgrade));
    PARAMS.clone()
}

/// What the founder of the toy rollup chose, but for the upgrade keys.
pub(super) fn founding() -> Founding {
    Founding {
        network: Network::Regtest,
        genesis_depth: depth(2),
        federation: crate::bridge::tests::federation(),
        deposit_window_blocks: WINDOW_BLOCKS,
        deposit_expiry_blocks: EXPIRY_BLOCKS,
        start: BlockId { height: 0, hash: regtest_genesis().block_hash() },
        final_depth_blocks: FINAL_DEPTH_BLOCKS,
        upgrade_keys: None,
        notice_blocks: 0,
        sequencer_keys: Keys::default(),
        quiet_blocks: 0,
        opening_min_sat: OPENING_MIN_SAT,
        program_id: TOY.program.id(),
    }
}

/// The parameters that a founder would have who chose one thing otherwise, without upgrade keys.
pub(super) fn params_with(alter: impl FnOnce(&mut Founding)) -> Params {
    let mut founding = founding();
    alter(&mut founding);
    Params::new(founding).expect("consistent parameters")
}

/// Gives a rollup upgrade keys, and time of their own to the sequencers that they may name.
pub(super) fn let_upgrade(founding: &mut Founding) {
    founding.upgrade_keys = Quorum::new(2, [11, 12, 13].map(signer).to_vec()).ok();
    founding.notice_blocks = NOTICE_BLOCKS;
    founding.quiet_blocks = QUIET_BLOCKS;
}

/// A transaction in which the upgrade keys announce something.
pub(super) fn announcement(tag: u32, number: u32, change: Change) -> Transaction {
    announcement_of(&params(), tag, number, change)
}

/// The same of a rollup with other parameters.
pub(super) fn announcement_of(params: &Params, tag: u32, number: u32, change: Change) -> Transaction {
    let output = UpgradeOutput::of(params).expect("there are upgrade keys");
    let mut transaction = pay(10_000 + tag, alloc::vec![output.announcement(&Upgrade { number, change })]);
    sign(&output, &mut transaction, &[11, 13]);
    transaction
}

/// A transaction with a deposit of each amount.
pub(super) fn deposit_transaction(tag: u32, amounts: &[u64]) -> Transaction {
    deposit_transaction_to(&params(), tag, amounts)
}

/// A transaction with a deposit of each amount to a rollup.
pub(super) fn deposit_transaction_to(params: &Params, tag: u32, amounts: &[u64]) -> Transaction {
    // All have one script: to find it anew for each would take most of a test's time.
    let outputs = |amount_sat: u64| {
        Deposit { amount_sat, owner: key(1), refund: signer(9) }.outputs(params.bridge(), params.chain_id())
    };
    let [payment, tag_output] = outputs(0);
    let pair =
        |amount_sat: &u64| [TxOut { value: Amount::from_sat(*amount_sat), ..payment.clone() }, tag_output.clone()];
    pay(tag, amounts.iter().flat_map(pair).collect())
}

/// A signed exit request to this rollup.
pub(super) fn request(secret: u64, from: u32, nonce: u32, amount_sat: u64) -> ExitRequest {
    request_for(params().chain_id(), secret, from, nonce, amount_sat)
}

/// A transaction with some exit requests.
pub(super) fn exit_transaction(tag: u32, requests: &[ExitRequest]) -> Transaction {
    pay(tag, requests.iter().map(|request| request.output(params().chain_id())).collect())
}

/// What a toy batch does.
#[derive(Clone)]
pub(super) struct Batch {
    pub(super) tip: Tip,
    pub(super) depth: Depth,
    pub(super) reference: BlockId,
    /// How many void deposits are passed over.
    pub(super) void: u64,
    pub(super) deposits: Vec<Deposit>,
    /// How many transfers of nothing.
    pub(super) transfers: usize,
    pub(super) withdrawals: Vec<u64>,
    /// Withdrawals that serve exit requests, after the others.
    pub(super) served: Vec<ExitRequest>,
    pub(super) refutations: Vec<Refutation>,
    pub(super) token: Token,
    pub(super) root_seed: u64,
    /// The root after the batch, if it is to be that of a real tree.
    pub(super) root: Option<Fr>,
    pub(super) program: ProgramId,
    pub(super) chain_id: ChainId,
}

impl Batch {
    pub(super) fn root_after(&self) -> Fr {
        self.root.unwrap_or_else(|| Fr::from(1_000 * (self.tip.batches + 1) + self.root_seed))
    }

    /// The tip that the batch makes when it is anchored with this payload in the next block.
    pub(super) fn tip_after(&self, payload: &[u8]) -> Tip {
        Tip {
            batches: self.tip.batches + 1,
            payload_hash: PayloadHash::of(payload),
            root: self.root_after(),
            depth: self.depth,
            deposits_consumed: self.deposits_consumed(),
            payouts: self.tip.payouts + self.payouts(),
            reference: self.reference,
            anchored_height: self.reference.height + 1,
        }
    }

    fn deposits_consumed(&self) -> u64 {
        self.tip.deposits_consumed + self.void + self.deposits.len() as u64
    }

    fn payouts(&self) -> u64 {
        if self.token == Token::BITCOIN { (self.withdrawals.len() + self.served.len()) as u64 } else { 0 }
    }

    fn header(&self) -> payload::Header {
        payload::Header {
            chain_id: self.chain_id,
            batch: self.tip.batches,
            previous_payload_hash: self.tip.payload_hash,
            root_before: self.tip.root_at(self.depth).unwrap_or(self.tip.root),
            root_after: self.root_after(),
            depth: self.depth,
            reference_height: self.reference.height,
            reference_hash: self.reference.hash,
            deposits_consumed: self.deposits_consumed(),
            program_id: self.program,
        }
    }

    fn chunks(&self) -> Vec<Chunk> {
        let cell = CellIndex::new(3).expect("a small index");
        let chunk = |slots, token, records: Records| Chunk {
            circuit: CircuitId::new(records.kind(), self.depth, slots),
            token,
            operator: CellIndex::default(),
            root_after: self.root_after(),
            registers_after: Fr::from(0u64),
            records,
            proof: any_proof(),
        };
        let credit =
            |deposit: &Deposit| DepositRecord { to: cell, amount_sat: deposit.amount_sat, owner: deposit.owner };
        let credits: Vec<_> = self.deposits.iter().map(credit).collect();
        let slots = if credits.len() > usize::from(SLOTS) { SLOTS_LARGE } else { SLOTS };
        let withdrawal = |(position, amount): (usize, &u64)| WithdrawRecord {
            from: cell,
            amount: *amount,
            fee: 1,
            destination: destination(position),
        };
        let transfer = TransferRecord { from: cell, to: cell, amount: 0, fee: 0 };
        let served = self.served.iter().map(ExitRequest::record);
        let withdrawals: Vec<_> = self.withdrawals.iter().enumerate().map(withdrawal).chain(served).collect();
        let slots_out = if withdrawals.len() > usize::from(SLOTS) { SLOTS_EXITS } else { SLOTS };
        alloc::vec![
            chunk(slots, Token::BITCOIN, Records::Deposit(credits)),
            chunk(SLOTS, self.token, Records::Transfer(alloc::vec![transfer; self.transfers])),
            chunk(slots_out, self.token, Records::Withdraw(withdrawals)),
        ]
    }
}

/// Encodes a batch, altered before it is proven; another depth is put in afterwards, as circuits are for theirs.
pub(super) fn payload_of(batch: &Batch, alter: impl FnOnce(&mut payload::Header, &mut Vec<Chunk>)) -> Vec<u8> {
    let (mut header, mut chunks) = (batch.header(), batch.chunks());
    alter(&mut header, &mut chunks);
    let depth = core::mem::replace(&mut header.depth, batch.depth);
    // Any other program than the next has a payload by the table of the first.
    let is_next = header.program_id == TOY.next_program.id();
    let table = if is_next { TOY.next_program.table() } else { TOY.program.table() };
    let with = |chunks| Payload::with_refutations(table.clone(), header, chunks, batch.refutations.clone());
    let unproven = with(chunks.clone()).expect("well-formed");
    for (chunk, statement) in chunks.iter_mut().zip(unproven.statements()) {
        chunk.proof = prove(statement.digest());
    }
    let mut bytes = with(chunks).and_then(|payload| payload.encode()).expect("short");
    bytes[120] = depth.levels();
    bytes
}

/// Wraps a payload in a reveal transaction.
pub(super) fn reveal_of(payload: &[u8]) -> Transaction {
    reveal(payload)
}

/// As [`reveal_of`], posted by the key of a small secret.
pub(super) fn reveal_of_by(secret: u8, payload: &[u8]) -> Transaction {
    reveal_by(secret, payload)
}

/// The reveal of an altered batch.
pub(super) fn anchor_of(batch: &Batch, alter: impl FnOnce(&mut payload::Header, &mut Vec<Chunk>)) -> Transaction {
    reveal_of(&payload_of(batch, alter))
}

/// A branch of the chain and a follower that has seen nothing else.
#[derive(Clone)]
pub(super) struct Branch {
    pub(super) follower: Follower,
    pub(super) header: Header,
    pub(super) tag: u32,
}

impl Branch {
    pub(super) fn new() -> Self {
        Self::tagged(0)
    }

    pub(super) fn tagged(tag: u32) -> Self {
        Self { tag, ..Self::of(params()) }
    }

    /// A branch of a rollup with other parameters, whose follower knows both programs.
    pub(super) fn of(params: Params) -> Self {
        let header = regtest_genesis();
        let follower = Follower::new(params, programs(), &[header]).expect("the genesis block is the start");
        Self { follower, header, tag: 0 }
    }

    /// The same branch, to go on differently.
    pub(super) fn fork(&self, tag: u32) -> Self {
        Self { tag, ..self.clone() }
    }

    /// A batch of one transfer that follows the tip and credits every deposit that waits and is not void.
    pub(super) fn batch(&self) -> Batch {
        let void_below = params().void_below(self.follower.scanned.height);
        let (void, live): (Vec<ScannedDeposit>, Vec<ScannedDeposit>) =
            self.follower.pending_deposits().copied().partition(|deposit| deposit.height < void_below);
        Batch {
            tip: self.follower.tip,
            depth: self.follower.tip.depth,
            reference: self.follower.scanned,
            void: void.len() as u64,
            deposits: live.iter().map(|deposit| deposit.deposit).collect(),
            transfers: 1,
            withdrawals: Vec::new(),
            served: Vec::new(),
            refutations: Vec::new(),
            token: Token::BITCOIN,
            root_seed: 0,
            root: None,
            program: self.follower.schedule.program_at(self.follower.scanned.height).1,
            chain_id: self.follower.params.chain_id(),
        }
    }

    pub(super) fn anchor(&self, batch: &Batch) -> Transaction {
        anchor_of(batch, |_, _| ())
    }

    pub(super) fn next_block(&self, transactions: Vec<Transaction>) -> Block {
        mine_block(&self.header, self.follower.scanned.height + 1, self.tag, transactions)
    }

    /// Mines a block and follows it.
    pub(super) fn mine(&mut self, transactions: Vec<Transaction>) -> Vec<Event> {
        let block = self.next_block(transactions);
        self.follow(block)
    }

    /// Mines a block and follows it; gives the block, for other followers.
    pub(super) fn mined(&mut self, transactions: Vec<Transaction>) -> Block {
        let block = self.next_block(transactions);
        self.follow(block.clone());
        block
    }

    pub(super) fn follow(&mut self, block: Block) -> Vec<Event> {
        self.header = block.header;
        assert_eq!(self.follower.accept_header(block.header), Ok(None));
        self.follower.connect(block).expect("mined by the rules")
    }
}

/// Shows a follower the headers of another branch, which outgrows its own.
pub(super) fn rewind(follower: &mut Follower, blocks: &[Block]) -> Event {
    let rewound = blocks.iter().filter_map(|block| follower.accept_header(block.header).expect("mined by the rules"));
    let rewound: Vec<_> = rewound.collect();
    let [rewound] = <[_; 1]>::try_from(rewound).expect("one block of the branch outgrows the follower's own");
    rewound
}

/// Feeds a follower the blocks of another branch, which outgrows its own.
pub(super) fn reorganise(follower: &mut Follower, blocks: &[Block]) -> Vec<Event> {
    let mut events = alloc::vec![rewind(follower, blocks)];
    let is_missing = |block: &&Block| follower.next_block().map(|next| next.hash) == Some(block.block_hash());
    let missing: Vec<_> = blocks.iter().skip_while(|block| !is_missing(block)).cloned().collect();
    missing.into_iter().for_each(|block| events.extend(follower.connect(block).expect("mined by the rules")));
    events
}

/// Grows a trunk by so many blocks, and has it lose the last ones, each number of them that can be lost, to a branch
/// that outgrows it; blocks are made with the tag of the one or of the other. Where the trunk's follower was rewound
/// it holds `kept` as of the fork, and it ends like the branch's own. Gives the states of the trunk.
pub(super) fn reorganise_at_every_depth<T: PartialEq + core::fmt::Debug>(
    mut trunk: Branch,
    count: u32,
    step: impl Fn(&mut Branch, u32) -> Block,
    kept: impl Fn(&Follower) -> T,
) -> Vec<Branch> {
    let mut states = alloc::vec![trunk.clone()];
    for _ in 0..count {
        step(&mut trunk, 0);
        states.push(trunk.clone());
    }
    for lost in 1..FINAL_DEPTH_BLOCKS as usize {
        let fork = &states[states.len() - 1 - lost];
        let (mut branch, mut alone, mut follower) = (fork.fork(1), fork.clone(), trunk.follower.clone());
        let blocks: Vec<_> = (0..=lost).map(|_| step(&mut branch, 1)).collect();
        rewind(&mut follower, &blocks);
        assert_eq!(kept(&follower), kept(&fork.follower), "{lost} blocks lost");
        for block in blocks {
            let (expected, found) = (alone.follow(block.clone()), follower.connect(block).expect("mined by the rules"));
            assert_eq!((verified(&found), refusals(&found)), (verified(&expected), refusals(&expected)));
        }
        assert_eq!(state(&follower), state(&branch.follower), "{lost} blocks lost");
    }
    states
}

/// The requests that wait, and how many were queued.
pub(super) fn queue(follower: &Follower) -> (Vec<ScannedRequest>, u64) {
    (follower.requests.waiting().copied().collect(), follower.requests.queued())
}

/// All of a follower's state that the best chain determines.
pub(super) fn state(follower: &Follower) -> impl PartialEq + core::fmt::Debug + use<> {
    (
        (follower.scanned, follower.tip, follower.headers.tip(), follower.first_excerpt),
        (follower.history.clone(), follower.deposits.clone(), follower.deposits_scanned, follower.payouts.clone()),
        follower.requests.clone(),
        (follower.schedule.clone(), follower.schedules_before.clone()),
    )
}
