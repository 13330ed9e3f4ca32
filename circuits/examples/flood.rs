//! How long an honest exit request waits while somebody floods the queue, and what that costs whom.
//!
//! ```text
//! cargo run --release -p taproof-circuits --example flood
//! ```
//!
//! The queue, the plan of a batch and the rules that it is checked by are the verifier's own ([`Queue`], [`answer`],
//! [`settle`]), the requests are real outputs but for their signatures, which nobody checks here, and the bytes are
//! those of real payloads. The tree is one of 10,000 accounts, or a full one of 2^30: what a node of it hashes to is
//! made up, except that empty subtrees are what they are. A block comes every ten minutes, and in each the attacker's
//! requests stand before the honest one. Everything is drawn from a fixed seed.

use ark_bn254::Fr;
use ark_ff::PrimeField;
use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha20Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::LazyLock,
};
use taproof_circuits::schnorr::SecretKey;
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{ARITY, Account, Cell, CellIndex, ChainId, Depth, MerklePath, Token, empty_root},
    exit::{
        AnswerRoom, ExitRequest, ExitRequestFields, Outcome, Queue, Refutation, ScannedRequest, ServingRecords, answer,
        settle,
    },
    payload::{CHUNK_LENGTH, PAYLOAD_LENGTH_MAX, REFUTATIONS_MAX, encoded_length},
    record::{Destination, Records, WithdrawRecord},
    schnorr::{Message, Signature},
};

const BLOCKS_A_DAY: u32 = 144;
const WINDOW_BLOCKS: u32 = 144;
/// How far below its own block an anchor's batch refers to, as `taproof batch` has it if nothing else is said.
const REFERENCE_DEPTH_BLOCKS: u32 = 6;
const HONEST_EVERY_BLOCKS: u32 = 12;
/// Slots of a chunk of withdrawals.
const SLOTS: u16 = 6;
/// Accounts that only honest owners have; the attacker's stand behind them.
const HONEST_ACCOUNTS: u32 = 5_000;
const ATTACKERS_ACCOUNTS: u32 = 1_000;
/// What is asked for, each time: the attacker's money comes back to him.
const AMOUNT_SAT: u64 = 330;

/// Owners of accounts, in turn; so many that paths do not compress because of them. The attacker signs bogus requests
/// with a key of his own.
static OWNERS: LazyLock<Vec<PublicKey>> = LazyLock::new(|| (0..=250).map(|seed| key(seed).0).collect());
static ATTACKER: LazyLock<(PublicKey, Signature)> = LazyLock::new(|| key(255));

static EMPTY: LazyLock<Vec<Fr>> = LazyLock::new(|| (0..=Depth::MAX.levels()).map(empty_root).collect());

fn key(seed: u8) -> (PublicKey, Signature) {
    let secret = SecretKey::from_seed(&[seed; 32]);
    (*secret.public(), secret.sign(&Message::default()))
}

/// What the attacker's requests are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strategy {
    /// Bogus ones on one cell.
    OneCell,
    /// Bogus ones, each on another account.
    ManyCells,
    /// Good ones on accounts of his, with rising nonces: he pays himself.
    OwnAccounts,
    /// Requests that were settled before, on accounts of his.
    Replays,
    /// Good ones that are stale when a batch comes to them: he moves the accounts on.
    Stale,
}

/// Who posts batches, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Poster {
    /// As the ledger does: it serves what it can, and refutes as much as there is room for.
    Willing,
    /// Does the least that the rules accept, in a batch every half window. Once a request has waited for longer than
    /// the window, others may post, and somebody who is willing does, every so many blocks.
    Hostile,
}

#[derive(Clone, Copy, Debug)]
struct Scene {
    strategy: Strategy,
    poster: Poster,
    levels: u8,
    attack_vbytes_a_day: u64,
    days: u32,
    batch_every_blocks: u32,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
struct Outcomes {
    /// For each honest request how many blocks it waited, settled or not.
    waited: Vec<u32>,
    /// How many of them found no room in the queue.
    without_room: usize,
    served: usize,
    attack_vbytes: u64,
    posted_bytes: u64,
    waiting_max: usize,
    /// The longest that anything waited.
    oldest_max: u32,
}

impl Outcomes {
    fn waited_max(&self) -> u32 {
        self.waited.iter().copied().max().unwrap_or(0)
    }

    fn waited_median(&self) -> u32 {
        let mut sorted = self.waited.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or(0)
    }
}

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cost = |rate: u64| self.attack_vbytes as f64 * rate as f64 / 1e8;
        write!(
            f,
            "{:>3} | {:>4} | {:>5} | {:>6} | {:>5} | {:>7.2} | {:>7.2} | {:.2} / {:.1} / {:.0}",
            self.waited_median(),
            self.waited_max(),
            self.waited.len() - self.served,
            self.waiting_max,
            self.oldest_max,
            self.attack_vbytes as f64 / 1e6,
            self.posted_bytes as f64 / 4e6,
            cost(1),
            cost(10),
            cost(100)
        )
    }
}

/// The accounts: the first so many cells, but for what changed.
struct Accounts {
    depth: Depth,
    count: u64,
    changed: BTreeMap<CellIndex, Cell>,
}

impl Accounts {
    fn new(levels: u8) -> Self {
        let depth = Depth::new(levels).expect("1 to 10 levels");
        let count = if depth == Depth::MAX { depth.cell_count().into() } else { 10_000 };
        Self { depth, count, changed: BTreeMap::new() }
    }

    fn get(&self, index: CellIndex) -> Cell {
        if let Some(cell) = self.changed.get(&index) {
            return *cell;
        }
        if u64::from(index.get()) >= self.count {
            return Cell::Empty;
        }
        let owner = OWNERS[index.get() as usize % OWNERS.len()];
        Cell::Account(Account::new(owner, Token::BITCOIN, 1 << 40))
    }

    fn account(&self, index: CellIndex) -> Account {
        let Cell::Account(account) = self.get(index) else { panic!("cell {index:?} has an account") };
        account
    }

    /// The nonce goes on, and so much goes away.
    fn spend(&mut self, index: CellIndex, sum: u64) {
        let account = self.account(index);
        let after = Account { nonce: account.nonce + 1, balance: account.balance - sum, ..account };
        self.changed.insert(index, Cell::Account(after));
    }

    /// A node that anything is below is as good as random.
    fn node(&self, height: u8, position: u64) -> Fr {
        if position << (3 * u32::from(height)) >= self.count {
            return EMPTY[usize::from(height)];
        }
        let mut bytes = [0; 32];
        ChaCha20Rng::seed_from_u64(position << 8 | u64::from(height)).fill_bytes(&mut bytes);
        Fr::from_le_bytes_mod_order(&bytes)
    }

    fn show(&self, index: CellIndex) -> Refutation {
        let level = |height: u8| {
            let position = u64::from(index.get()) >> (3 * u32::from(height));
            let family = position / ARITY as u64 * ARITY as u64;
            let siblings: Vec<_> = (family..family + ARITY as u64).filter(|sibling| *sibling != position).collect();
            core::array::from_fn(|sibling| self.node(height, siblings[sibling]))
        };
        let path = MerklePath::new((0..self.depth.levels()).map(level).collect()).expect("1 to 10 levels");
        Refutation { index, cell: self.get(index).elements(), path }
    }
}

fn index(number: u32) -> CellIndex {
    CellIndex::new(number).expect("below 2^30")
}

fn request(from: CellIndex, owner: PublicKey, nonce: u32) -> ExitRequest {
    // No bogus request can take the record that is made for an honest one.
    let destination = Destination::P2wpkh([u8::from(is_attackers(from) || owner == ATTACKER.0); 20]);
    let fields = ExitRequestFields {
        from,
        nonce,
        amount_sat: AMOUNT_SAT,
        fee_sat: 0,
        destination,
        owner,
        signature: ATTACKER.1,
    };
    fields.try_into().expect("within the bounds")
}

/// The records of a batch of a program that opens no locks.
fn serving(withdrawals: &[WithdrawRecord]) -> ServingRecords {
    ServingRecords { withdrawals: withdrawals.to_vec(), claims: None }
}

/// A rollup under attack.
struct World {
    scene: Scene,
    accounts: Accounts,
    queue: Queue,
    rng: ChaCha20Rng,
    /// How many requests the attacker made.
    attacks: u64,
    /// The virtual bytes that he has left over.
    budget: u64,
    /// The honest requests that wait, each with its height; 0 where it did not get in.
    honest: BTreeMap<CellIndex, u32>,
    last_batch: u32,
    outcomes: Outcomes,
}

impl World {
    fn new(scene: Scene) -> Self {
        Self {
            scene,
            accounts: Accounts::new(scene.levels),
            queue: Queue::default(),
            rng: ChaCha20Rng::seed_from_u64(1),
            attacks: 0,
            budget: 0,
            honest: BTreeMap::new(),
            last_batch: 0,
            outcomes: Outcomes::default(),
        }
    }

    fn run(mut self) -> Outcomes {
        let blocks = self.scene.days * BLOCKS_A_DAY;
        for height in 1..=blocks {
            self.attack(height);
            if height % HONEST_EVERY_BLOCKS == 0 {
                self.ask(height);
            }
            self.outcomes.waiting_max = self.outcomes.waiting_max.max(self.queue.len());
            let oldest = self.queue.waiting().next().map_or(0, |exit| height - exit.height);
            self.outcomes.oldest_max = self.outcomes.oldest_max.max(oldest);
            let is_time = |every: u32| height - self.last_batch >= every;
            match self.scene.poster {
                Poster::Hostile if oldest <= WINDOW_BLOCKS && !is_time(WINDOW_BLOCKS / 2) => {}
                Poster::Hostile if oldest <= WINDOW_BLOCKS => self.post_least(height),
                _ if is_time(self.scene.batch_every_blocks) => self.post(height),
                _ => {}
            }
        }
        self.outcomes.waited.extend(self.honest.values().map(|asked| blocks - asked));
        self.outcomes
    }

    /// The attacker spends what he has for this block.
    fn attack(&mut self, height: u32) {
        self.budget += self.scene.attack_vbytes_a_day / u64::from(BLOCKS_A_DAY);
        loop {
            let request = self.next_attack();
            // What each more of many outputs in one transaction takes.
            let length = request.output(ChainId::from_byte_array([0; ChainId::LENGTH])).size() as u64;
            if self.budget < length {
                break;
            }
            self.budget -= length;
            self.outcomes.attack_vbytes += length;
            self.attacks += 1;
            self.queue.push(height, bitcoin_txid(), 0, request.into());
        }
        if self.scene.strategy == Strategy::Stale && height.is_multiple_of(self.scene.batch_every_blocks) {
            let own = |request: &&ExitRequest| request.owner() != &ATTACKER.0 && is_attackers(request.from());
            let waiting = self.queue.waiting().filter_map(|scanned| scanned.request.exit());
            let moved: BTreeSet<_> = waiting.filter(own).map(ExitRequest::from).collect();
            moved.into_iter().for_each(|index| self.accounts.spend(index, 1));
        }
    }

    fn next_attack(&mut self) -> ExitRequest {
        let number = self.attacks;
        let own = index(HONEST_ACCOUNTS + (number % u64::from(ATTACKERS_ACCOUNTS)) as u32);
        let round = (number / u64::from(ATTACKERS_ACCOUNTS)) as u32;
        let account = self.accounts.account(own);
        match self.scene.strategy {
            Strategy::OneCell => request(index(9), ATTACKER.0, number as u32),
            Strategy::ManyCells => {
                let target = self.rng.gen_range(0..self.accounts.count) as u32;
                request(index(target), ATTACKER.0, number as u32)
            }
            Strategy::OwnAccounts => request(own, account.owner, round),
            Strategy::Replays => request(own, account.owner, 0),
            Strategy::Stale => request(own, account.owner, account.nonce),
        }
    }

    /// An honest owner asks, and so do those again who found no room.
    fn ask(&mut self, height: u32) {
        let from = index(height / HONEST_EVERY_BLOCKS % HONEST_ACCOUNTS);
        self.honest.insert(from, height);
        let account = self.accounts.account(from);
        let request = request(from, account.owner, account.nonce);
        self.outcomes.without_room += usize::from(!self.queue.takes(&request.into()));
        self.queue.push(height, bitcoin_txid(), 0, request.into());
    }

    fn due(&self, height: u32) -> Vec<ScannedRequest> {
        let reference = (height + 1).saturating_sub(REFERENCE_DEPTH_BLOCKS);
        self.queue.waiting().take_while(|exit| exit.height <= reference).copied().collect()
    }

    /// A batch that does what it can.
    fn post(&mut self, height: u32) {
        let due = self.due(height);
        let depth = self.accounts.depth;
        for room in AnswerRoom::STEPS {
            let plan = answer(&due, depth, false, room, |index| self.accounts.get(index).elements());
            if plan.shown.len() > REFUTATIONS_MAX {
                continue;
            }
            let records: Vec<_> = plan.served.iter().map(ExitRequest::record).collect();
            let shown: Vec<_> = plan.shown.iter().map(|index| self.accounts.show(*index)).collect();
            if records.len() + shown.len() == 0 {
                self.last_batch = height;
                return;
            }
            if let Some(length) = payload_length(&records, &shown) {
                return self.settle(height, &due, &records, &shown, length);
            }
        }
        panic!("what the rules demand fits");
    }

    /// A batch that does no more than it must: nothing of what it may leave out is served or refuted.
    fn post_least(&mut self, height: u32) {
        let due = self.due(height);
        let depth = self.accounts.depth;
        let plan = answer(&due, depth, false, AnswerRoom::default(), |index| self.accounts.get(index).elements());
        let mut records: Vec<_> = plan.served.iter().map(ExitRequest::record).collect();
        let shown: Vec<_> = plan.shown.iter().map(|index| self.accounts.show(*index)).collect();
        while let Some(last) = records.pop() {
            if settle(&due, serving(&records), &shown, depth).is_err() {
                records.push(last);
                break;
            }
        }
        let length = payload_length(&records, &shown).expect("what the rules demand fits");
        self.settle(height, &due, &records, &shown, length);
    }

    fn settle(
        &mut self,
        height: u32,
        due: &[ScannedRequest],
        records: &[WithdrawRecord],
        shown: &[Refutation],
        length: usize,
    ) {
        let depth = self.accounts.depth;
        let settled = settle(due, serving(records), shown, depth).expect("the plan keeps the rules");
        for record in records {
            self.accounts.spend(record.from, record.amount + record.fee);
        }
        for settled in settled {
            self.queue.remove(height, settled.request.index);
            let request = settled.request.request.exit().expect("exits alone");
            let from = request.from();
            let is_honest = request.owner() != &ATTACKER.0 && !is_attackers(from);
            if is_honest && let Some(asked) = self.honest.remove(&from) {
                assert_eq!(settled.outcome, Outcome::Served, "an honest request is never refuted");
                self.outcomes.waited.push(height - asked);
                self.outcomes.served += 1;
            }
        }
        self.outcomes.posted_bytes += length as u64;
        self.last_batch = height;
    }
}

fn is_attackers(from: CellIndex) -> bool {
    (HONEST_ACCOUNTS..HONEST_ACCOUNTS + ATTACKERS_ACCOUNTS).contains(&from.get())
}

fn bitcoin_txid() -> taproof_verifier::bitcoin::Txid {
    use taproof_verifier::bitcoin::hashes::Hash;
    taproof_verifier::bitcoin::Txid::all_zeros()
}

/// The length of a payload that does nothing else, if it is one.
fn payload_length(records: &[WithdrawRecord], shown: &[Refutation]) -> Option<usize> {
    let chunks = records.chunks(SLOTS.into()).map(|records| (SLOTS, Records::Withdraw(records.to_vec())));
    let chunks: Vec<_> = chunks.collect();
    let length = encoded_length(&chunks, shown).ok()?;
    assert!(length <= PAYLOAD_LENGTH_MAX && length >= chunks.len() * CHUNK_LENGTH);
    Some(length)
}

fn main() {
    let base = Scene {
        strategy: Strategy::ManyCells,
        poster: Poster::Willing,
        levels: 7,
        attack_vbytes_a_day: 1_000_000,
        days: 30,
        batch_every_blocks: 6,
    };
    println!(
        "tree, poster, strategy, MvB a day | median and longest wait of an honest request, in blocks | not served | \
         most that wait | oldest | attack, MvB | posted, MvB | cost of the attack at 1 / 10 / 100 sat/vB, in bitcoin"
    );
    let show = |scene: Scene| {
        let tree = if scene.levels == 10 { "2^30 " } else { "10^4 " };
        let Scene { poster, strategy, attack_vbytes_a_day, .. } = scene;
        let rate = attack_vbytes_a_day as f64 / 1e6;
        let head = format!("{tree} {poster:?} {strategy:?} {rate}");
        println!("{head:<34} | {}", World::new(scene).run());
    };
    for levels in [7, 10] {
        for poster in [Poster::Willing, Poster::Hostile] {
            for strategy in
                [Strategy::OneCell, Strategy::ManyCells, Strategy::OwnAccounts, Strategy::Replays, Strategy::Stale]
            {
                show(Scene { levels, poster, strategy, ..base });
            }
        }
        // Within days it shows whether a poster keeps up.
        for attack_vbytes_a_day in [0, 2_000_000, 4_000_000, 8_000_000, 16_000_000, 32_000_000] {
            show(Scene { levels, attack_vbytes_a_day, days: 4, ..base });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAYS: Scene = Scene {
        strategy: Strategy::ManyCells,
        poster: Poster::Willing,
        levels: 7,
        attack_vbytes_a_day: 1_000_000,
        days: 2,
        batch_every_blocks: 1,
    };

    #[test]
    fn a_willing_poster_serves_at_once_whatever_the_flood_is() {
        for strategy in
            [Strategy::OneCell, Strategy::ManyCells, Strategy::OwnAccounts, Strategy::Replays, Strategy::Stale]
        {
            let outcomes = World::new(Scene { strategy, ..DAYS }).run();
            assert!(outcomes.attack_vbytes > 1_900_000, "{strategy:?}: {outcomes}");
            assert!(outcomes.served >= 22, "{strategy:?}: {outcomes}");
            assert!(outcomes.waited_max() <= REFERENCE_DEPTH_BLOCKS, "{strategy:?}: {outcomes}");
            assert!(outcomes.oldest_max <= WINDOW_BLOCKS, "{strategy:?}: {outcomes}");
            assert_eq!(outcomes.without_room, 0);
        }
    }

    #[test]
    fn a_hostile_poster_holds_up_nobody_for_much_longer_than_the_window() {
        let outcomes = World::new(Scene { poster: Poster::Hostile, days: 4, ..DAYS }).run();
        assert!(outcomes.oldest_max > WINDOW_BLOCKS, "else nobody else could post: {outcomes}");
        assert!(outcomes.waited_max() <= WINDOW_BLOCKS + 24, "{outcomes}");
        let undisturbed = World::new(Scene { attack_vbytes_a_day: 0, poster: Poster::Hostile, ..DAYS }).run();
        assert!(undisturbed.oldest_max <= WINDOW_BLOCKS, "without a flood, the rules alone do: {undisturbed}");
    }
}
