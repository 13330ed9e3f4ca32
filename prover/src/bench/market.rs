//! A market to measure with: a pool of bitcoin and a token, and traders whose orders it clears.

use std::{iter, num::NonZeroU16, sync::Arc};
use taproof_circuits::{
    chunk::{
        shape,
        witness::{ChunkWitness, SlotWitnesses, StepWitness},
    },
    exchange::Parameters,
    ops,
    schnorr::SecretKey,
    state::{Plan, Slots, State, StepSlots},
    step::{Machine, Machines, StepContext},
    transaction::{Deposit, Draft, Fee, Number, Once, Purse, StepTransaction, Taken, TokenTerms, Trade, Transaction},
};
use taproof_verifier::cell::{CellIndex, ChainId, Depth, Token, TokenName};

/// The greatest k: a session of 2^k orders.
pub(super) const LOG_SIZE_MAX: u32 = 7;
/// So many traders get their tokens in one clause, which has 128 steps at most.
const FUNDED_AT_ONCE: usize = 100;
/// The rows that a chunk has at most.
const LOG_ROWS_MAX: u32 = 18;

/// The account that issues the token and founds the pool. Steps refuse cell 0, which is somebody else's.
const FOUNDER: u32 = 1;
const TRADERS: u32 = 2;
/// The cells of the token, of the pool and of its first shares, behind those of the accounts.
const TOKEN: u32 = 300;
const POOL: u32 = 301;
const SHARES: u32 = 302;
/// The height at which the orders are cleared; everything else was before.
const HEIGHT_BLOCKS: u32 = 2;
const CHAIN_ID: ChainId = ChainId::from_byte_array([1; 15]);

/// How many steps the fullest chunk at the greatest depth has.
pub(super) fn slots_max() -> u16 {
    let machines = machines();
    let rows = |slots| {
        let circuit = ops::standard().circuit(Depth::MAX, slots);
        shape(&machines, circuit).expect("a circuit of few slots").row_count()
    };
    let (one, two) = (rows(1), rows(2));
    let more = ((1usize << LOG_ROWS_MAX) - one) / (two - one);
    u16::try_from(1 + more).expect("a slot has more than four rows")
}

/// The machine of all steps here.
pub(super) fn machines() -> Machines {
    Machines::new(vec![ops::standard()])
}

/// Signed orders of traders, and the state and the plan that clear them in one session.
pub(super) struct Market {
    state: State,
    plan: Plan,
    orders: Vec<Transaction>,
}

fn cell(index: u32) -> CellIndex {
    CellIndex::new(index).expect("a small index")
}

/// The key of the owner of a cell.
fn key(cell: u32) -> SecretKey {
    SecretKey::from_seed(&[cell as u8; 32])
}

fn once(nonce: u32) -> Once {
    Once { number: Number::Nonce(nonce), until: u32::MAX }
}

fn signed(signer: u32, draft: Draft) -> Transaction {
    let clause = draft.sign(&ops::standard(), CHAIN_ID, &key(signer)).expect("operations of the set");
    Transaction::Steps(StepTransaction::of_clauses(CHAIN_ID, [clause]))
}

/// The draft of an owner who pays no fee.
fn begun(signer: u32, nonce: u32) -> Draft {
    Draft::pay(Purse::first(cell(signer)), 0, Fee::default(), once(nonce))
}

impl Market {
    /// Founds the market, and signs an order of each trader; chunks have so many slots.
    pub(super) fn new(depth: Depth, slots: u16, orders: u16) -> Self {
        let slots = NonZeroU16::new(slots).expect("a chunk has slots");
        let step = Some(StepSlots { operations: ops::standard().set().hash(), slots: slots.into() });
        let plan = Plan {
            height_blocks: HEIGHT_BLOCKS,
            slots: Slots { step, ..Slots::uniform(NonZeroU16::new(32).expect("not zero")) },
            operators: Default::default(),
            chunks_max: 1_000,
            admission: Default::default(),
        };
        let mut state = State::new(CHAIN_ID, depth).with_machines(machines());
        let traders = TRADERS..TRADERS + u32::from(orders);
        let owners = 0..traders.end;
        let deposits: Vec<_> = owners.map(|cell| Deposit { amount_sat: 1 << 40, owner: *key(cell).public() }).collect();
        let before = Plan { height_blocks: HEIGHT_BLOCKS - 1, ..plan.clone() };
        state.apply(&before, &deposits, &[]).expect("a plan without operators");
        let token = Token(TOKEN);
        let terms = TokenTerms { name: TokenName::new("gold").expect("a name"), cap: u64::MAX, decimals: 8 };
        let makes = begun(FOUNDER, 0).token(cell(TOKEN), terms);
        let pairs = traders.clone().map(|trader| signed(trader, begun(trader, 0).pair(cell(trader), token)));
        let all: Vec<_> = traders.clone().collect();
        let each = 1 << 40;
        let mints = all.chunks(FUNDED_AT_ONCE).zip(1..).map(|(traders, nonce)| {
            let mints = begun(FOUNDER, nonce).mint(token, each * traders.len() as u64, false);
            let receive =
                |draft: Draft, trader: &u32| draft.receive(Purse::second(cell(*trader)), Taken::Exactly(each));
            signed(FOUNDER, traders.iter().fold(mints, receive))
        });
        let mints: Vec<_> = mints.collect();
        let (reserve, next) = (1 << 39, 1 + mints.len() as u32);
        let parameters = Parameters::new(30, 2, 10).expect("parameters");
        let founds = Draft::pay(Purse::first(cell(FOUNDER)), reserve, Fee::default(), once(next))
            .mint(token, reserve, true)
            .found_pool(cell(POOL), &parameters)
            .open(cell(SHARES), Token(POOL), key(FOUNDER).public(), Taken::AllAtLeast(0));
        let founding = iter::once(signed(FOUNDER, makes)).chain(pairs).chain(mints).chain([signed(FOUNDER, founds)]);
        let founding: Vec<_> = founding.collect();
        let batch = state.apply(&before, &[], &founding).expect("a plan without operators");
        assert_eq!(batch.applied.len(), founding.len(), "{:?}", batch.rejected);
        state.commit();
        // Half of them sell bitcoin, half buy it, so that most of what they pay meets.
        let order = |trader: u32| {
            let sells_second = trader % 2 == 1;
            let from = if sells_second { Purse::second(cell(trader)) } else { Purse::first(cell(trader)) };
            let trade = Trade { pool: cell(POOL), sells_second, amount: (1 << 20) + u64::from(trader), least: 1 << 19 };
            signed(trader, Draft::order(from, trade, Fee::default(), once(1)))
        };
        Self { state, plan, orders: traders.map(order).collect() }
    }

    /// The state before the orders.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Checks the orders, matches them and applies them to the state before them; cuts the chunks.
    pub(super) fn clear(&self, state: &mut State) -> Vec<ChunkWitness> {
        let batch = state.apply(&self.plan, &[], &self.orders).expect("a plan without operators");
        assert_eq!(batch.applied.len(), self.orders.len(), "{:?}", batch.rejected);
        batch.chunks
    }
}

/// The first chunk, full, of a session that clears as many orders as have room in it, and one more.
///
/// # Panics
/// If `slots` is zero or above 127, or the tree has less than five levels.
pub fn order_chunk(depth: Depth, slots: u16) -> ChunkWitness {
    assert!(
        u32::from(slots) < 1 << LOG_SIZE_MAX,
        "{slots} slots, with orders of {} traders at most",
        1 << LOG_SIZE_MAX
    );
    let market = Market::new(depth, slots, slots + 1);
    market.clear(&mut market.state.clone()).swap_remove(0)
}

/// Steps with the cells and registers that each finds, for the native rule alone.
pub(super) struct Run {
    machine: Arc<Machine>,
    context: StepContext,
    steps: Vec<StepWitness>,
}

impl Run {
    /// The steps of sessions, again and again.
    pub(super) fn new(count: usize) -> Self {
        let orders = 1 << LOG_SIZE_MAX;
        let market = Market::new(Depth::MAX, orders + 2, orders);
        let chunks = market.clear(&mut market.state.clone());
        let steps = chunks.into_iter().flat_map(|chunk| match chunk.slots {
            SlotWitnesses::Step { slots, .. } => slots,
            _ => Vec::new(),
        });
        let steps: Vec<_> = steps.collect();
        let context =
            StepContext { chain_id: CHAIN_ID, depth: Depth::MAX, height_blocks: HEIGHT_BLOCKS, token: Token::BITCOIN };
        Self { machine: ops::standard(), context, steps: steps.into_iter().cycle().take(count).collect() }
    }

    /// Applies each as whoever rebuilds a state does, who asks for no signature.
    pub(super) fn apply(&self) -> usize {
        let apply = |step: &StepWitness| {
            let StepWitness { registers, cell, record, .. } = step;
            self.machine.apply(&self.context, registers, &cell.before, record, None).expect("a step that was applied")
        };
        self.steps.iter().map(|step| apply(step).integers.len()).sum()
    }
}
