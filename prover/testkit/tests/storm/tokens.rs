//! The books of all tokens: what each batch posts, step by step, and what must hold of it, told from the records, from
//! what users signed, and from the words of the protocol.
//!
//! Each batch has a page. It says what every cell holds after the batch, and what exists of every token: what was
//! deposited less what was withdrawn, what issuers minted less what was burnt, what pools gave out of shares less what
//! they took back. The steps themselves are the native rule's; what they may do is not.
//!
//! - What the cells hold of a token is what exists of it.
//! - Nothing leaves an account without what its owner signed: that payment, or that clause whole, in order and in time,
//!   of which each step gives what the owner demands; and with each nonce and each ticket once.
//! - All orders of a session get the price of the pool and of what they pay together, and pay in what was posted.
//! - A pool clears once in a Bitcoin block, and does not lose by it.
//! - Shares are minted and taken back in proportion, rounded for the pool.

use super::signed::{Paid, Posted, Signed};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};
use taproof_circuits::{
    ops::{self, Burn, Draw, Exit, Join, Mint, Open, Order, Pay},
    state::State,
    step::{Machine, Registers, StepContext, flag},
};
use taproof_verifier::{
    cell::{Account, Cell, CellIndex, Pool, Token},
    follow::VerifiedBatch,
    payload::{Chunk, PayloadHash},
    record::{DepositRecord, OpenRecord, Records, StepRecord, TransferRecord, WithdrawRecord},
};

/// F, and the shares of a pool that are nobody's.
const UNIT: u128 = 10_000;
const SHARES_LOCKED: u64 = 1_000;

/// What happened on the chain up to a batch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) tokens: u64,
    pub(super) pools: u64,
    pub(super) joins: u64,
    pub(super) exits: u64,
    pub(super) sessions: u64,
    pub(super) orders: u64,
    pub(super) orders_by_ticket: u64,
    /// Transactions with more than one signer.
    pub(super) offers: u64,
    pub(super) mints: u64,
    pub(super) burns: u64,
}

/// What makes a clause run once: the signer, whether it is a ticket, and which nonce or ticket.
type Number = (CellIndex, bool, u64);

/// What there is after a batch.
#[derive(Clone, Debug)]
struct Page {
    payload_hash: PayloadHash,
    cells: BTreeMap<CellIndex, Cell>,
    existing: BTreeMap<Token, u64>,
    /// The nonces and tickets that clauses used.
    used: BTreeSet<Number>,
    /// The pools that cleared in this batch.
    cleared: Vec<CellIndex>,
    counts: Counts,
}

/// The pages of the batches of a chain.
#[derive(Debug)]
pub(super) struct TokenBooks {
    pub(super) signed: Signed,
    machine: Arc<Machine>,
    pages: Vec<Page>,
    /// What each order ever got, on any branch.
    got: HashMap<(Number, u64), HashSet<u64>>,
}

impl TokenBooks {
    pub(super) fn new() -> Self {
        Self { signed: Signed::default(), machine: ops::standard(), pages: Vec::new(), got: HashMap::new() }
    }

    /// What happened on the chain that was read last.
    pub(super) fn counts(&self) -> Counts {
        self.pages.last().map(|page| page.counts).unwrap_or_default()
    }

    /// Whether a clause of the account is on the chain that was read last.
    pub(super) fn has_used(&self, signer: CellIndex, is_by_ticket: bool, number: u64) -> bool {
        self.pages.last().is_some_and(|page| page.used.contains(&(signer, is_by_ticket, number)))
    }

    /// How many orders were filled more than once, on branches of which all but one were lost, and not alike.
    pub(super) fn filled_anew(&self) -> u64 {
        self.got.values().filter(|outputs| outputs.len() > 1).count() as u64
    }

    /// Turns the pages to a chain of batches, and checks all that is new, with the state that was rebuilt of it.
    pub(super) fn read(&mut self, batches: &[VerifiedBatch], state: &State) {
        let is_same = |(page, batch): &(&Page, &VerifiedBatch)| page.payload_hash == batch.payload_hash();
        let kept = self.pages.iter().zip(batches).take_while(is_same).count();
        self.pages.truncate(kept);
        for batch in &batches[kept..] {
            let page = self.page(batch, state);
            self.pages.push(page);
        }
        let rebuilt =
            || state.tree().cells().filter(|(_, cell)| **cell != Cell::Empty).map(|(index, cell)| (index, *cell));
        let cells = self.pages.last().map(|page| page.cells.clone()).unwrap_or_default();
        assert!(rebuilt().eq(cells), "the rebuilt state is what the records say");
        // The same batch may be in another block after a reorganisation.
        let mut cleared = BTreeSet::new();
        for (page, batch) in self.pages.iter().zip(batches) {
            for pool in &page.cleared {
                assert!(cleared.insert((batch.block().height, *pool)), "pool {pool} cleared twice in a block");
            }
        }
    }

    fn page(&mut self, batch: &VerifiedBatch, state: &State) -> Page {
        let header = batch.payload().header();
        let before = self.pages.last();
        let mut reader = Reader {
            signed: &self.signed,
            machine: &self.machine,
            got: &mut self.got,
            context: StepContext {
                chain_id: state.chain_id(),
                depth: header.depth,
                height_blocks: header.reference_height,
                token: Token::BITCOIN,
            },
            registers: Registers::default(),
            clauses: 0,
            clause: None,
            session: None,
            page: Page {
                payload_hash: batch.payload_hash(),
                cells: before.map(|page| page.cells.clone()).unwrap_or_default(),
                existing: before.map(|page| page.existing.clone()).unwrap_or_default(),
                used: before.map(|page| page.used.clone()).unwrap_or_default(),
                cleared: Vec::new(),
                counts: before.map(|page| page.counts).unwrap_or_default(),
            },
        };
        batch.payload().chunks().iter().for_each(|chunk| reader.chunk(chunk));
        assert!(reader.clause.is_none() && reader.session.is_none(), "a batch ends with all settled");
        reader.page.check_sums();
        reader.page
    }
}

impl Page {
    /// What is held of each token is what exists of it.
    fn check_sums(&self) {
        let mut held: BTreeMap<Token, u128> = self.existing.keys().map(|token| (*token, 0)).collect();
        for holding in self.cells.values().flat_map(Cell::holdings).filter(|holding| holding.balance > 0) {
            *held.entry(holding.token).or_default() += u128::from(holding.balance);
        }
        let existing = self.existing.iter().map(|(token, amount)| (*token, u128::from(*amount)));
        assert_eq!(held, existing.collect(), "what is held is what exists");
    }
}

/// A session that is open.
#[derive(Clone, Copy, Debug)]
struct OpenSession {
    index: CellIndex,
    pool: Pool,
    /// What orders pay of both tokens by the record that opened it, and what they have paid and got.
    posted: [u64; 2],
    paid: [u64; 2],
    got: [u64; 2],
}

/// Reads a batch.
struct Reader<'a> {
    signed: &'a Signed,
    machine: &'a Machine,
    got: &'a mut HashMap<(Number, u64), HashSet<u64>>,
    context: StepContext,
    registers: Registers,
    /// The clauses of the transaction so far.
    clauses: u64,
    clause: Option<Posted>,
    session: Option<OpenSession>,
    page: Page,
}

/// The account in a cell.
fn account(cell: &Cell) -> Account {
    match cell {
        Cell::Account(account) => *account,
        other => panic!("not an account: {other:?}"),
    }
}

fn pool(cell: &Cell) -> Pool {
    match cell {
        Cell::Pool(pool) => *pool,
        other => panic!("not a pool: {other:?}"),
    }
}

/// floor(a b / c), of the amounts that there are in a storm.
fn share(a: u128, b: u128, c: u128) -> u64 {
    u64::try_from(a.checked_mul(b).expect("amounts of a storm") / c).expect("amounts of a storm")
}

fn less(from: u64, taken: u64) -> u64 {
    from.checked_sub(taken).expect("nobody pays what there is not")
}

impl Reader<'_> {
    fn cell(&self, index: CellIndex) -> Cell {
        self.page.cells.get(&index).copied().unwrap_or_default()
    }

    fn put(&mut self, index: CellIndex, account: Account) {
        self.page.cells.insert(index, Cell::Account(account));
    }

    fn exists(&mut self, token: Token) -> &mut u64 {
        self.page.existing.get_mut(&token).expect("a token that there is")
    }

    fn chunk(&mut self, chunk: &Chunk) {
        let token = chunk.token;
        let fees: u64 = match &chunk.records {
            Records::Deposit(records) => records.iter().map(|record| self.deposit(record)).sum(),
            Records::Transfer(records) => {
                let pay = |record: &TransferRecord| {
                    self.pay(record.from, token, [record.amount, record.fee], Paid::Transfer(record));
                    let to = account(&self.cell(record.to));
                    assert_eq!(to.token, token);
                    self.put(record.to, Account { balance: to.balance + record.amount, ..to });
                    record.fee
                };
                records.iter().map(pay).sum()
            }
            Records::Open(records) => {
                let pay = |record: &OpenRecord| {
                    self.pay(record.from, token, [record.amount, record.fee], Paid::Open(record));
                    assert_eq!(self.cell(record.to), Cell::Empty);
                    self.put(record.to, Account::new(record.owner, token, record.amount));
                    record.fee
                };
                records.iter().map(pay).sum()
            }
            Records::Withdraw(records) => {
                let pay = |record: &WithdrawRecord| {
                    self.pay(record.from, token, [record.amount, record.fee], Paid::Withdraw(record));
                    *self.exists(token) -= record.amount;
                    record.fee
                };
                records.iter().map(pay).sum()
            }
            Records::Step(records) => records.records().iter().map(|record| self.step(record)).sum(),
        };
        if fees > 0 {
            let operator = account(&self.cell(chunk.operator));
            assert_eq!(operator.token, token);
            self.put(chunk.operator, Account { balance: operator.balance + fees, ..operator });
        }
    }

    fn deposit(&mut self, record: &DepositRecord) -> u64 {
        let before = match self.cell(record.to) {
            Cell::Empty => Account::new(record.owner, Token::BITCOIN, 0),
            cell => account(&cell),
        };
        assert_eq!((before.owner, before.token), (record.owner, Token::BITCOIN));
        self.put(record.to, Account { balance: before.balance + record.amount_sat, ..before });
        *self.page.existing.entry(Token::BITCOIN).or_default() += record.amount_sat;
        0
    }

    /// Takes an amount and a fee from an account whose owner signed the payment.
    fn pay(&mut self, from: CellIndex, token: Token, [amount, fee]: [u64; 2], paid: Paid<'_>) {
        let before = account(&self.cell(from));
        assert_eq!(before.token, token);
        let is_signed = self.signed.has_paid(&before.owner, (from, before.nonce), token, paid);
        assert!(is_signed, "nobody signed {paid:?} with nonce {}", before.nonce);
        let balance = less(before.balance, amount + fee);
        self.put(from, Account { nonce: before.nonce + 1, balance, ..before });
    }

    /// Runs a step; gives the fee that it pays.
    fn step(&mut self, record: &StepRecord) -> u64 {
        let before = self.cell(record.cell);
        let applied = self.machine.apply(&self.context, &self.registers, &before, record, None);
        let applied = applied.expect("what is proven follows the rule");
        self.registers = applied.registers;
        self.page.cells.insert(record.cell, applied.cell);
        let starts = matches!(record.operation, Pay::NUMBER | Order::NUMBER);
        if starts {
            assert!(self.clause.is_none(), "a clause begins where another is");
            let Account { owner, nonce, tickets, .. } = account(&before);
            let is_by_ticket = record.flags & flag::TICKET != 0;
            let place = if record.operation == Order::NUMBER { record.c >> 32 } else { record.c };
            let number = if is_by_ticket { u64::from(tickets.base) + place } else { nonce.into() };
            self.clause = Some(Posted { signer: record.cell, owner, number, is_by_ticket, steps: Vec::new() });
        }
        let gave = check_holdings(record, &before, &applied.cell);
        self.trade(record, &before, &applied.cell, gave);
        if let Some(clause) = &mut self.clause {
            clause.steps.push((*record, gave));
        }
        if record.flags & flag::END != 0 {
            self.end_clause();
        }
        if record.flags & flag::DONE != 0 {
            self.page.counts.offers += u64::from(self.clauses > 1 && record.operation != ops::Clear::NUMBER);
            self.clauses = 0;
        }
        if starts { record.b } else { 0 }
    }

    fn end_clause(&mut self) {
        let posted = self.clause.take().expect("a clause");
        let number = (posted.signer, posted.is_by_ticket, posted.number);
        assert!(self.page.used.insert(number), "a nonce or ticket is used twice: {posted:?}");
        let height = self.context.height_blocks;
        let signed = self.signed.allows(self.machine, &posted, height);
        assert!(signed.is_some(), "nobody signed that, or not for so little, or until {height}: {posted:?}");
        self.clauses += 1;
        if let [(record, gave)] = posted.steps.as_slice()
            && record.operation == Order::NUMBER
        {
            self.page.counts.orders += 1;
            self.page.counts.orders_by_ticket += u64::from(posted.is_by_ticket);
            self.got.entry((number, record.a)).or_default().insert(*gave);
        }
    }

    /// What a step does to tokens and pools.
    fn trade(&mut self, record: &StepRecord, before: &Cell, after: &Cell, gave: u64) {
        let token = Token(record.cell.get());
        match record.operation {
            ops::Token::NUMBER => {
                assert_eq!(self.page.existing.insert(token, 0), None, "a token is made twice");
                self.page.counts.tokens += 1;
            }
            Mint::NUMBER => {
                *self.exists(token) += record.a;
                self.page.counts.mints += 1;
            }
            Burn::NUMBER => {
                *self.exists(token) -= record.a;
                self.page.counts.burns += 1;
            }
            ops::Pool::NUMBER => {
                let Pool { supply, first, second, .. } = pool(after);
                let product = u128::from(first.balance) * u128::from(second.balance);
                let square = |root: u64| u128::from(root) * u128::from(root);
                assert!(square(supply) <= product && product < square(supply + 1), "shares are the root of x y");
                let shares = supply - SHARES_LOCKED;
                assert_eq!(self.page.existing.insert(token, shares), None, "a pool is made twice");
                self.page.counts.pools += 1;
            }
            Join::NUMBER => {
                let [x, y] = reserves(before).map(u128::from);
                let [dx, dy] = [0, 1].map(|side| u128::from(reserves(after)[side] - reserves(before)[side]));
                let supply = u128::from(pool(before).supply);
                *self.exists(token) += share(dx, supply, x).min(share(dy, supply, y));
                self.page.counts.joins += 1;
            }
            Exit::NUMBER => {
                let (supply, left) = (pool(before).supply, pool(after).supply);
                let given = less(supply, left);
                for (held, kept) in reserves(before).into_iter().zip(reserves(after)) {
                    assert_eq!(held - kept, share(given.into(), held.into(), supply.into()), "a part of the reserve");
                }
                *self.exists(token) -= given;
                self.page.counts.exits += 1;
            }
            ops::Session::NUMBER => {
                let (index, pool, posted) = (record.cell, pool(before), [record.a, record.b]);
                assert!(self.session.is_none() && pool.last_height < self.context.height_blocks);
                self.session = Some(OpenSession { index, pool, posted, paid: [0; 2], got: [0; 2] });
            }
            Order::NUMBER => self.session.as_mut().expect("a session").fill(record, gave),
            ops::Clear::NUMBER => {
                let session = self.session.take().expect("a session");
                session.check_cleared(record.cell, pool(before), reserves(after));
                self.page.cleared.push(record.cell);
                self.page.counts.sessions += 1;
            }
            _ => {}
        }
    }
}

fn reserves(cell: &Cell) -> [u64; 2] {
    let pool = pool(cell);
    [pool.first.balance, pool.second.balance]
}

impl OpenSession {
    /// An order pays its amount, and gets what the price of all says.
    fn fill(&mut self, record: &StepRecord, gave: u64) {
        assert_eq!(record.c as u32, self.index.get(), "an order is of the pool that is open");
        let (fee, weight) = (UNIT - u128::from(self.pool.fee), u128::from(self.pool.weight));
        let [x, y] = [self.pool.first.balance, self.pool.second.balance].map(u128::from);
        let [a, b] = self.posted.map(u128::from);
        let [n, d] = [UNIT * y + weight * fee * b, UNIT * x + weight * fee * a];
        let sold = usize::from(record.flags & Order::SELLS_SECOND != 0);
        let [bought_at, sold_at] = if sold == 0 { [n, d] } else { [d, n] };
        let price = share(u128::from(record.a) * fee, bought_at, UNIT * sold_at);
        assert_eq!(gave, price, "all orders of a session have one price");
        self.paid[sold] += record.a;
        self.got[1 - sold] += gave;
    }

    fn check_cleared(&self, index: CellIndex, before: Pool, after: [u64; 2]) {
        assert_eq!((index, self.paid), (self.index, self.posted), "orders pay in what was posted");
        let held = [before.first.balance, before.second.balance];
        assert_eq!(held, [self.pool.first.balance, self.pool.second.balance], "nothing moves a pool in a session");
        for side in 0..2 {
            assert_eq!(after[side] + self.got[side], held[side] + self.paid[side], "what orders left is the pool's");
        }
        let product = |held: [u64; 2]| u128::from(held[0]) * u128::from(held[1]);
        assert!(product(after) >= product(held), "a pool loses by a session");
    }
}

/// Checks that an account loses no more than its step says; gives what the step gave.
fn check_holdings(record: &StepRecord, before: &Cell, after: &Cell) -> u64 {
    let Cell::Account(_) = after else { return 0 };
    let has = |bit: u8| record.flags & bit != 0;
    let (operation, second) = (record.operation, usize::from(has(flag::SECOND)));
    let mut taken = [0u64; 2];
    if matches!(operation, Pay::NUMBER | Draw::NUMBER | Order::NUMBER) {
        taken[second] += record.a;
    }
    if matches!(operation, Pay::NUMBER | Order::NUMBER) {
        taken[usize::from(has(flag::FEE_SECOND))] += record.b;
    }
    let [before, after] = [before.holdings(), after.holdings()];
    let gains = [0, 1].map(|place| {
        if before[place].token != after[place].token {
            assert_eq!(before[place].balance, 0, "a holding became one of another token");
        }
        let kept = u128::from(after[place].balance) + u128::from(taken[place]);
        let gain = kept.checked_sub(before[place].balance.into());
        u64::try_from(gain.expect("an account loses no more than its step says")).expect("an amount")
    });
    match operation {
        Order::NUMBER => {
            assert_eq!(gains[second], 0, "an order pays what it says");
            gains[1 - second]
        }
        Open::NUMBER => gains[0],
        _ => gains[second],
    }
}
