//! A chain of a rollup that anybody can anchor batches of refutations of, for targets that follow it.

use ark_ec::{AffineRepr, CurveGroup};
use std::sync::LazyLock;
use taproof_circuits::schnorr::SecretKey;
use taproof_verifier::{
    ark_bn254::{Fr, G1Affine, G2Affine},
    bitcoin::{
        Amount, Block, Network, OutPoint, ScriptBuf, TapLeafHash, TapSighashType, Transaction, TxIn, TxOut, Txid,
        Witness, XOnlyPublicKey,
        absolute::LockTime,
        block::Header as BlockHeader,
        constants::genesis_block,
        hashes::{Hash, sha256d},
        secp256k1::{All, Keypair, Message, Secp256k1},
        sighash::{Prevouts, SighashCache},
        taproot,
        transaction::Version,
    },
    bridge::Federation,
    cell::{Cell, CellElements, CellIndex, Depth, MerklePath, empty_root},
    deposit::Deposit,
    envelope::Envelope,
    evidence::ClaimRequest,
    exit::{AnswerRoom, ExitRequest, ExitRequestFields, Refutation, ScannedRequest, answer},
    follow::{Follower, Founding, Params, RuleError},
    groth16::VerifyingKey,
    headers::BlockId,
    operation::{Check, Columns, Operation, OperationSet},
    payload::{Header, Payload},
    program::{Program, Programs},
    quorum::{Keys, Quorum},
    record::{Destination, Kind},
    spent::telling,
    statement::CircuitId,
    upgrade::{Change, Upgrade, UpgradeOutput},
};

pub(crate) const FINAL_DEPTH_BLOCKS: u32 = 3;
const WINDOW_BLOCKS: u32 = 4;
const NOTICE_BLOCKS: u32 = 8;
const VALUE: Amount = Amount::from_sat(9_000);
/// The depths that the programs have circuits for.
const LEVELS: [u8; 2] = [3, 4];

static SECP: LazyLock<Secp256k1<All>> = LazyLock::new(Secp256k1::new);
/// The first is the upgrade key and the founder's sequencer.
static PAIRS: LazyLock<[Keypair; 3]> =
    LazyLock::new(|| [1, 2, 3].map(|secret| Keypair::from_seckey_slice(&SECP, &[secret; 32]).expect("a secret key")));
static GENESIS: LazyLock<Block> = LazyLock::new(|| genesis_block(Network::Regtest));

/// Two programs that followers know, of which the second opens locks, and one that they do not.
static PROGRAMS: LazyLock<[Program; 3]> = LazyLock::new(|| {
    let g1 = |i: u64| (G1Affine::generator() * Fr::from(i)).into_affine();
    let g2 = |i: u64| (G2Affine::generator() * Fr::from(i)).into_affine();
    [1, 2, 3].map(|i| {
        let key = VerifyingKey::new(g1(i), g2(2), g2(3), g2(4), &[g1(5), g1(6)]).expect("points of the groups");
        let depths = LEVELS.into_iter().filter_map(Depth::new);
        let circuits = depths.flat_map(|depth| Kind::PAYMENTS.map(|kind| CircuitId::new(kind, depth, 4)));
        let claim = Operation { number: 1, columns: Columns::ALL, check: Check::Claim };
        let set = (i == 2).then(|| OperationSet::new(vec![claim]).expect("one operation"));
        let steps = set.iter().flat_map(|set| {
            let depths = LEVELS.into_iter().filter_map(Depth::new);
            depths.map(|depth| CircuitId { operations: set.hash(), ..CircuitId::new(Kind::Step, depth, 4) })
        });
        let circuits: Vec<_> = circuits.chain(steps).map(|circuit| (circuit, key.clone())).collect();
        Program::with_operations(set.into_iter().collect(), circuits).expect("a circuit of each kind")
    })
});

pub(crate) fn known() -> Programs {
    PROGRAMS[..2].iter().cloned().collect()
}

pub(crate) static PARAMS: LazyLock<Params> = LazyLock::new(|| {
    let params = Params::new(Founding {
        network: Network::Regtest,
        genesis_depth: Depth::new(LEVELS[0]).expect("a few levels"),
        federation: Federation::new(1, vec![key(0)], 100, 0).expect("one key"),
        deposit_window_blocks: WINDOW_BLOCKS,
        deposit_expiry_blocks: 3 * WINDOW_BLOCKS,
        start: BlockId { height: 0, hash: GENESIS.block_hash() },
        final_depth_blocks: FINAL_DEPTH_BLOCKS,
        upgrade_keys: Some(Quorum::new(1, vec![key(0)]).expect("one key")),
        notice_blocks: NOTICE_BLOCKS,
        sequencer_keys: Keys::new(vec![key(0)]).expect("one key"),
        quiet_blocks: 2,
        opening_min_sat: 0,
        program_id: PROGRAMS[0].id(),
    });
    params.expect("consistent parameters")
});

static UPGRADES: LazyLock<UpgradeOutput> = LazyLock::new(|| UpgradeOutput::of(&PARAMS).expect("there is a key"));

pub(crate) fn key(i: usize) -> XOnlyPublicKey {
    PAIRS[i].x_only_public_key().0
}

/// Signed requests on 120 cells, some of them outside the first tree; more than a batch must refute.
static REQUESTS: LazyLock<Vec<ExitRequest>> = LazyLock::new(|| {
    let owner = SecretKey::from_seed(&[1; 32]);
    let request = |i: u32| {
        let unsigned = |signature| {
            let fields = ExitRequestFields {
                from: CellIndex::new(i * 5).expect("a small index"),
                nonce: i % 3,
                amount_sat: 700,
                fee_sat: 0,
                destination: Destination::P2wpkh([i as u8; 20]),
                owner: *owner.public(),
                signature,
            };
            ExitRequest::try_from(fields).expect("within the bounds")
        };
        let message = unsigned(owner.sign(&[Fr::from(0u64); 4])).message(PARAMS.chain_id());
        unsigned(owner.sign(&message))
    };
    (0..120).map(request).collect()
});

static DEPOSIT: LazyLock<[TxOut; 2]> = LazyLock::new(|| {
    let owner = *SecretKey::from_seed(&[1; 32]).public();
    Deposit { amount_sat: 500, owner, refund: key(0) }.outputs(PARAMS.bridge(), PARAMS.chain_id())
});

/// What is in a block, or how a fork leaves the chain.
pub(crate) type Step = (u8, u8, u8, u8);

pub(crate) fn fresh() -> Follower {
    Follower::new(PARAMS.clone(), known(), &[GENESIS.header]).expect("the genesis block is the start")
}

pub(crate) fn headers(blocks: &[Block]) -> impl Iterator<Item = BlockHeader> {
    [GENESIS.header].into_iter().chain(blocks.iter().map(|block| block.header))
}

/// Feeds what a follower has not seen of a chain, as far as it knows the programs.
pub(crate) fn feed(follower: &mut Follower, blocks: &[Block], mut after_each: impl FnMut(&Follower)) {
    for header in headers(blocks).skip(follower.scanned().height as usize + 1) {
        follower.accept_header(header).expect("mined by the rules");
    }
    while let Some(next) = follower.next_block() {
        if follower.connect(blocks[next.height as usize - 1].clone()).is_err() {
            assert!(follower.unknown_program().is_some());
            return;
        }
        after_each(follower);
    }
}

/// A batch of refutations alone that refers to a block so far below the tip, in a tree of so many levels more, with so
/// few refutations less than it must have.
pub(crate) fn batch(follower: &Follower, age: u32, deeper: u8, fewer: usize) -> Vec<u8> {
    let tip = follower.tip();
    let height = follower.scanned().height.saturating_sub(age).max(tip.reference.height);
    let reference = follower.headers().at(height).expect("it is recent");
    let levels = (tip.depth.levels() + deeper).min(LEVELS[1]);
    let depth = Depth::new(levels).expect("a few levels");
    let waiting = follower.pending_requests().take_while(|scanned| scanned.height <= height);
    let waiting: Vec<ScannedRequest> = waiting.copied().collect();
    let program = follower.program_at(height).expect("followers stop before they need another");
    let opens_locks = program.table().opens_locks();
    let mut shown = answer(&waiting, depth, opens_locks, AnswerRoom::default(), |_| CellElements::default()).shown;
    shown.truncate(shown.len().saturating_sub(fewer));
    if shown.is_empty() {
        shown.push(CellIndex::default());
    }
    let path = MerklePath::new((0..levels).map(|level| [EMPTY_ROOTS[usize::from(level)]; 7]).collect());
    let path = path.expect("a few levels");
    let cell = Cell::Empty.elements();
    let refutations = shown.into_iter().map(|index| Refutation { index, cell, path: path.clone() });
    let void_below = follower.params().void_below(height);
    let void = follower.pending_deposits().take_while(|deposit| deposit.height < void_below).count();
    let root = EMPTY_ROOTS[usize::from(levels)];
    let header = Header {
        chain_id: follower.params().chain_id(),
        batch: tip.batches,
        previous_payload_hash: tip.payload_hash,
        root_before: root,
        root_after: root,
        depth,
        reference_height: height,
        reference_hash: reference.hash,
        deposits_consumed: tip.deposits_consumed + void as u64,
        program_id: program.id(),
    };
    let payload = Payload::with_refutations(program.table().clone(), header, Vec::new(), refutations.collect());
    payload.and_then(|payload| payload.encode()).expect("a short payload")
}

static EMPTY_ROOTS: LazyLock<Vec<Fr>> = LazyLock::new(|| (0..=LEVELS[1]).map(empty_root).collect());

pub(crate) fn transactions(follower: &Follower, tag: u32, (what, first, count, how): Step) -> Vec<Transaction> {
    let mut transactions = Vec::new();
    if what & 1 != 0 {
        transactions.push(pay(tag, 0, DEPOSIT.to_vec()));
    }
    if what & 2 != 0 {
        // To check them takes most of the time.
        let count = usize::from(if count < 240 { count % 8 } else { 80 });
        let requests = REQUESTS.iter().cycle().skip(first.into()).take(count);
        transactions.push(pay(tag, 1, requests.map(|request| request.output(PARAMS.chain_id())).collect()));
    }
    if what & 16 != 0 {
        let cell = CellIndex::new(u32::from(first) * 5).expect("a small index");
        let secrets = (0..=count % 3).map(|secret| ClaimRequest::output(cell, &[secret; 32], PARAMS.chain_id()));
        transactions.push(pay(tag, 4, secrets.collect()));
    }
    if what & 4 != 0 {
        transactions.push(announcement(follower, tag, first, how));
    }
    if what & 8 != 0 {
        let payload = batch(follower, u32::from(how % 8), how >> 3 & 1, usize::from(how >> 4 & 1));
        let poster = usize::from(count) % 3;
        let reveal = anchor(poster, &payload);
        let refused = follower.preview(&payload, key(poster)).err();
        let is_expected = matches!(
            refused,
            None | Some(
                RuleError::NotSequencer { .. }
                    | RuleError::RequestLeftOut(_)
                    | RuleError::ReferenceTooOld { .. }
                    | RuleError::ReferenceGoesBack { .. }
            )
        );
        assert!(is_expected, "{refused:?}");
        transactions.push(reveal);
    }
    transactions
}

fn announcement(follower: &Follower, tag: u32, what: u8, how: u8) -> Transaction {
    let height = follower.scanned().height + 1 + NOTICE_BLOCKS + u32::from(how % 4);
    let change = match what % 8 {
        0 | 1 => Change::Program { program: PROGRAMS[usize::from(what % 2)].id(), height },
        2 if how > 250 => Change::Program { program: PROGRAMS[2].id(), height },
        2..5 => Change::Sequencers { keys: Keys::new(vec![key(usize::from(how % 2))]).expect("one key"), height },
        5 => Change::Sequencers { keys: Keys::default(), height },
        _ => Change::Withdrawal,
    };
    let number = follower.schedule().next_number().wrapping_add(u32::from(how >= 240));
    let spent = TxOut { value: VALUE, script_pubkey: UPGRADES.script_pubkey(&SECP) };
    let mut transaction = pay(tag, 2, vec![UPGRADES.announcement(&Upgrade { number, change })]);
    transaction.input[0].sequence = telling(VALUE).expect("not much");
    let leaf = TapLeafHash::from_script(UPGRADES.leaf(), taproot::LeafVersion::TapScript);
    let signature = sign(0, &transaction, spent, leaf);
    let control = [&[0xc0], &UPGRADES.internal_key().serialize()[..]].concat();
    transaction.input[0].witness = Witness::from_slice(&[&signature.to_vec(), UPGRADES.leaf().as_bytes(), &control]);
    transaction
}

fn anchor(poster: usize, payload: &[u8]) -> Transaction {
    let envelope = Envelope::new(key(poster), payload).expect("the payload has a header");
    let change = TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::new() };
    let commit = OutPoint { vout: 0, ..OutPoint::null() };
    let mut reveal = envelope.reveal_transaction(commit, VALUE, change).expect("not much is locked");
    let spent = TxOut { value: VALUE, script_pubkey: envelope.commit_script_pubkey(&*SECP) };
    let signature = sign(poster, &reveal, spent, envelope.leaf_hash());
    reveal.input[0].witness = envelope.witness(&*SECP, &signature);
    reveal
}

fn sign(pair: usize, transaction: &Transaction, spent: TxOut, leaf: TapLeafHash) -> taproot::Signature {
    let sighash_type = TapSighashType::Default;
    let signed = SighashCache::new(transaction)
        .taproot_script_spend_signature_hash(0, &Prevouts::All(&[spent]), leaf, sighash_type)
        .expect("the input spends an output");
    let signature = SECP.sign_schnorr_no_aux_rand(&Message::from(signed), &PAIRS[pair]);
    taproot::Signature { signature, sighash_type }
}

/// A transaction that spends an output which exists nowhere; tag and place make it unique.
fn pay(tag: u32, place: u32, output: Vec<TxOut>) -> Transaction {
    let txid = Txid::from_raw_hash(sha256d::Hash::hash(&tag.to_le_bytes()));
    let input = TxIn { previous_output: OutPoint::new(txid, place), ..TxIn::default() };
    Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: vec![input], output }
}

pub(crate) fn mine(blocks: &mut Vec<Block>, follower: &mut Follower, tag: u32, transactions: Vec<Transaction>) {
    blocks.push(block_after(blocks, tag, transactions));
    feed(follower, blocks, |_| ());
}

pub(crate) fn block_after(blocks: &[Block], tag: u32, transactions: Vec<Transaction>) -> Block {
    let parent = headers(blocks).last().expect("the genesis block is there");
    let height = blocks.len() as i64 + 1;
    let script = ScriptBuf::builder().push_int(height).push_int(i64::from(tag) + 1_000).into_script();
    let mut coinbase = pay(tag, 3, vec![TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::new() }]);
    coinbase.input[0] = TxIn { previous_output: OutPoint::null(), script_sig: script, ..TxIn::default() };
    coinbase.input[0].witness = Witness::from_slice(&[[0; 32]]);
    let header = BlockHeader { prev_blockhash: parent.block_hash(), time: parent.time + 600, nonce: 0, ..parent };
    let mut block = Block { header, txdata: vec![coinbase] };
    block.txdata.extend(transactions);
    let root = block.witness_root().expect("there are transactions");
    let commitment = Block::compute_witness_commitment(&root, &[0; 32]);
    let script = [&[0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed][..], commitment.as_ref()].concat();
    block.txdata[0].output.push(TxOut { value: Amount::ZERO, script_pubkey: script.into() });
    block.header.merkle_root = block.compute_merkle_root().expect("there are transactions");
    let target = block.header.target();
    while block.header.validate_pow(target).is_err() {
        block.header.nonce += 1;
    }
    block
}
