//! A chunk to measure with.

use std::num::NonZeroU16;
use taproof_circuits::{
    chunk::{shape, witness::ChunkWitness},
    schnorr::SecretKey,
    state::{Plan, Slots, State},
    step::Machines,
    transaction::{Deposit, Transaction, Transfer, UnsignedTransaction},
};
use taproof_verifier::{
    cell::{CellIndex, ChainId, Depth, Token},
    record::Kind,
    statement::CircuitId,
};

/// The least k: a chunk of one transfer at the greatest depth has about 2^14.9 rows.
pub(super) const LOG_SIZE_MIN: u32 = 15;

/// The greatest k.
pub(super) const LOG_SIZE_MAX: u32 = 20;

/// How many transfers the fullest chunk at the greatest depth with at most 2^`log_size` rows has.
pub(super) fn transfers_within(log_size: u32) -> u16 {
    let rows = |slots| {
        shape(&Machines::default(), CircuitId::new(Kind::Transfer, Depth::MAX, slots))
            .expect("a circuit of few slots")
            .row_count()
    };
    let (one, two) = (rows(1), rows(2));
    let more = ((1usize << log_size) - one) / (two - one);
    u16::try_from(1 + more).expect("the range of sizes keeps the slots below 2^16")
}

/// Signed transfers between two accounts, and the state and the plan that make one full chunk of them.
pub(super) struct Transfers {
    state: State,
    plan: Plan,
    signed: Vec<Transaction>,
}

impl Transfers {
    /// Signs as many transfers as a chunk of `slots` slots holds.
    ///
    /// # Panics
    /// If `slots` is zero.
    pub(super) fn new(depth: Depth, slots: u16) -> Self {
        let chain_id = ChainId::from_byte_array([1; 15]);
        let keys = [1, 2].map(|seed| SecretKey::from_seed(&[seed; 32]));
        let mut state = State::new(chain_id, depth);
        let count = NonZeroU16::new(slots).expect("a chunk has slots");
        let plan = Plan {
            height_blocks: 1,
            slots: Slots::uniform(count),
            operators: Default::default(),
            chunks_max: 10,
            admission: Default::default(),
        };
        let deposits = [0, 1].map(|i: usize| Deposit { amount_sat: 1 << 40, owner: *keys[i].public() });
        state.apply(&plan, &deposits, &[]).expect("a plan without operators");
        let cells: [CellIndex; 2] =
            [0, 1].map(|i: usize| state.accounts_of(keys[i].public()).next().expect("a deposit made the account").0);
        let sign = |nonce| {
            let (from, to, amount, fee) = (cells[0], cells[1], u64::from(nonce) * 7919, 0);
            let body = Transfer { chain_id, token: Token::BITCOIN, from, nonce, to, amount, fee };
            UnsignedTransaction::Transfer(body).sign(&keys[0])
        };
        Self { signed: (0..u32::from(slots)).map(sign).collect(), state, plan }
    }

    /// The state before the transfers.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Checks and applies the transfers to the state before them, and cuts the chunk.
    pub(super) fn apply_to(&self, state: &mut State) -> ChunkWitness {
        let batch = state.apply(&self.plan, &[], &self.signed).expect("a plan without operators");
        let [chunk] = batch.chunks.try_into().expect("the transfers fill one chunk");
        chunk
    }
}

/// A full chunk of transfers between two accounts, each signed.
///
/// # Panics
/// If `slots` is zero.
pub fn transfer_chunk(depth: Depth, slots: u16) -> ChunkWitness {
    let transfers = Transfers::new(depth, slots);
    transfers.apply_to(&mut transfers.state.clone())
}
