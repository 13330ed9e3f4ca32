//! A small state, and chunks of valid transitions on it.

use crate::{
    account::Rollup,
    cap::MerkleCap,
    chunk::witness::{
        CellUpdate, ChunkWitness, DepositWitness, OpenWitness, SlotWitnesses, StepWitness, TransferWitness,
        WithdrawWitness,
    },
    deposit, open,
    schnorr::SecretKey,
    step::{Machine, Registers, StepContext},
    transaction::{Body, Open, Signed, Transfer, Withdraw},
    transfer, withdraw,
};
use ark_bn254::Fr;
use proptest::prelude::*;
use std::collections::BTreeMap;
use taproof_verifier::{
    cell::{Account, Cell, CellIndex, ChainId, Depth, Holding, MerklePath, Tickets, Token, empty_root},
    poseidon2::compress,
    record::{DepositRecord, Destination},
    statement::{self, CircuitId, Context, Statement},
};

/// The rollup of the tests.
pub(crate) const CHAIN_ID: ChainId = ChainId::from_byte_array(*b"a toy rollup id");
/// The operator's cell in the tests.
pub(crate) const OPERATOR: u32 = 5;

/// What an account has that payments do not look at: nothing, or anything.
pub(crate) fn besides() -> impl Strategy<Value = (Tickets, Holding)> {
    let tickets = any::<(u32, u64)>().prop_map(|(base, used)| Tickets { base, used });
    let second = any::<(u32, u64)>().prop_map(|(token, balance)| Holding { token: Token(token), balance });
    prop_oneof![1 => Just(Default::default()), 3 => (tickets, second)]
}

/// What is claimed of whoever pays, of any kind: with wrapping where the rule refuses.
pub(crate) fn paid(before: Account, amount: u64, fee: u64) -> Account {
    let balance = before.balance.wrapping_sub(amount).wrapping_sub(fee);
    Account { nonce: before.nonce.wrapping_add(1), balance, ..before }
}

/// Alterations of what an account has that payments do not look at, each of one part alone.
pub(crate) const ALTERATIONS: [fn(&mut Account); 6] = [
    |account| account.tickets = Tickets::default(),
    |account| account.tickets.base ^= 1 << 31,
    |account| account.tickets.used ^= 1,
    |account| account.second = Holding::default(),
    |account| account.second.token.0 ^= 1,
    |account| account.second.balance ^= 1 << 63,
];

/// A state whose tree is computed anew for each question.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) depth: Depth,
    pub(crate) token: Token,
    cells: BTreeMap<u32, Cell>,
}

/// The key of a small number.
pub(crate) fn secret(number: u8) -> SecretKey {
    SecretKey::from_seed(&[number; 32])
}

/// A cell's index.
pub(crate) fn index(number: u32) -> CellIndex {
    CellIndex::new(number).expect("a small index")
}

impl State {
    /// Accounts in cells 1 to `accounts`, each with the key of its cell's number, 1,000,000 units, and tickets and a
    /// second holding of its own, the operator's among them.
    pub(crate) fn new(levels: u8, token: Token, accounts: u8) -> Self {
        let depth = Depth::new(levels).expect("1 to 10 levels");
        let mut state = Self { depth, token, cells: BTreeMap::new() };
        for number in 1..=accounts {
            let tickets = Tickets { base: 64 * u32::from(number), used: u64::MAX - u64::from(number) };
            let second = Holding { token: Token(100 + u32::from(number)), balance: u64::MAX / u64::from(number) };
            let account = Account::new(*secret(number).public(), token, 1_000_000);
            let account = Account { nonce: 7, tickets, second, ..account };
            state.cells.insert(number.into(), Cell::Account(account));
        }
        state
    }

    /// The depth.
    pub(crate) fn depth(&self) -> Depth {
        self.depth
    }

    /// The token that every slot moves.
    pub(crate) fn token(&self) -> Token {
        self.token
    }

    /// The cell at an index.
    pub(crate) fn cell(&self, index: u32) -> Cell {
        self.cells.get(&index).copied().unwrap_or_default()
    }

    /// Puts a cell, without a witness.
    pub(crate) fn set(&mut self, index: u32, cell: Cell) {
        self.cells.insert(index, cell);
    }

    /// The account at an index.
    pub(crate) fn account(&self, index: u32) -> Account {
        match self.cell(index) {
            Cell::Account(account) => account,
            other => panic!("cell {index} is {other:?}"),
        }
    }

    /// The root of the subtree `height` levels high that is the `position`th of its height.
    fn node(&self, height: u8, position: u32) -> Fr {
        let shift = 3 * u32::from(height);
        if self.cells.range(position << shift..(position + 1) << shift).next().is_none() {
            return empty_root(height);
        }
        match height.checked_sub(1) {
            None => self.cell(position).hash(),
            Some(below) => compress(&core::array::from_fn(|child| self.node(below, 8 * position + child as u32))),
        }
    }

    /// The root of the whole tree.
    pub(crate) fn root(&self) -> Fr {
        self.node(self.depth.levels(), 0)
    }

    /// The cap of the tree.
    pub(crate) fn cap(&self) -> MerkleCap {
        let positions = 0..MerkleCap::node_count(self.depth) as u32;
        let nodes = positions.map(|position| self.node(MerkleCap::levels_below(self.depth), position)).collect();
        MerkleCap::new(nodes).expect("8 or 64 nodes")
    }

    /// The siblings on the way from a cell to the root.
    pub(crate) fn path(&self, index: u32) -> MerklePath {
        let siblings = |height: u8| {
            let position = index >> (3 * u32::from(height));
            let children = (0..8).map(|child| position & !7 | child).filter(|sibling| *sibling != position);
            let nodes: Vec<_> = children.map(|sibling| self.node(height, sibling)).collect();
            nodes.try_into().expect("seven siblings")
        };
        MerklePath::new((0..self.depth.levels()).map(siblings).collect()).expect("1 to 10 levels")
    }

    /// Replaces a cell.
    pub(crate) fn update(&mut self, at: u32, after: Cell) -> CellUpdate {
        let update = CellUpdate { index: index(at), before: self.cell(at), after, path: self.path(at) };
        self.cells.insert(at, after);
        update
    }

    /// Credits a deposit to a cell.
    pub(crate) fn deposit(&mut self, to: u32, amount_sat: u64, owner: u8) -> DepositWitness {
        let record = DepositRecord { to: index(to), amount_sat, owner: *secret(owner).public() };
        let after = deposit::rule::apply(self.depth, &record, &self.cell(to)).expect("a valid deposit");
        DepositWitness { record, to: self.update(to, after) }
    }

    /// Pays from one account to another, signed with the key of the payer's cell.
    pub(crate) fn transfer(&mut self, from: u32, to: u32, amount: u64, fee: u64) -> TransferWitness {
        let nonce = self.account(from).nonce;
        let (from_index, to_index) = (index(from), index(to));
        let body =
            Transfer { chain_id: CHAIN_ID, token: self.token, from: from_index, nonce, to: to_index, amount, fee };
        let signed = Signed::sign(body, &secret(from as u8));
        let rollup = Rollup { chain_id: CHAIN_ID, depth: self.depth };
        let effect =
            transfer::rule::apply(&rollup, &signed, &self.cell(from), &self.cell(to)).expect("a valid transfer");
        let from = self.update(from, effect.from_after);
        let to = self.update(to, effect.to_after);
        TransferWitness { record: body.record(), signature: *signed.signature(), from, to }
    }

    /// Pays from an account into an empty cell for the key of a small number, signed with the key of the payer's cell.
    pub(crate) fn open(&mut self, from: u32, to: u32, [amount, fee]: [u64; 2], owner: u8) -> OpenWitness {
        let body = Open {
            chain_id: CHAIN_ID,
            token: self.token,
            from: index(from),
            nonce: self.account(from).nonce,
            to: index(to),
            amount,
            fee,
            owner: *secret(owner).public(),
        };
        let signed = Signed::sign(body, &secret(from as u8));
        let rollup = Rollup { chain_id: CHAIN_ID, depth: self.depth };
        let effect = open::rule::apply(&rollup, &signed, &self.cell(from), &self.cell(to)).expect("a valid opening");
        let from = self.update(from, effect.from_after);
        let to = self.update(to, effect.to_after);
        OpenWitness { record: body.record(), signature: *signed.signature(), from, to }
    }

    /// Pays from an account to a destination, signed with the key of the payer's cell.
    pub(crate) fn withdraw(&mut self, from: u32, [amount, fee]: [u64; 2], destination: Destination) -> WithdrawWitness {
        let (nonce, token) = (self.account(from).nonce, self.token);
        let body = Withdraw { chain_id: CHAIN_ID, token, from: index(from), nonce, amount, fee, destination };
        let signed = Signed::sign(body, &secret(from as u8));
        let rollup = Rollup { chain_id: CHAIN_ID, depth: self.depth };
        let after = withdraw::rule::apply(&rollup, &signed, &self.cell(from)).expect("a valid withdrawal");
        let from = self.update(from, after);
        WithdrawWitness { record: body.record(), signature: *signed.signature(), from }
    }

    /// The chunk of `slots` slots that runs from the state with that cap to this one, with the fees credited to
    /// [`OPERATOR`].
    pub(crate) fn chunk(&mut self, cap: MerkleCap, slots: u16, witnesses: SlotWitnesses) -> ChunkWitness {
        let kind = witnesses.kind();
        let fees: u64 = match &witnesses {
            SlotWitnesses::Transfer(slots) => slots.iter().map(|slot| slot.record.fee).sum(),
            SlotWitnesses::Open(slots) => slots.iter().map(|slot| slot.record.fee).sum(),
            SlotWitnesses::Withdraw(slots) => slots.iter().map(|slot| slot.record.fee).sum(),
            SlotWitnesses::Deposit(_) => 0,
            SlotWitnesses::Step { .. } => panic!("steps are cut by their machine"),
        };
        let circuit = CircuitId::new(kind, self.depth, slots);
        self.chunk_of(cap, circuit, witnesses, fees, statement::Registers::NONE)
    }

    /// The same of steps, which leave `registers_after`.
    pub(crate) fn step_chunk(
        &mut self,
        cap: MerkleCap,
        slots: u16,
        witnesses: SlotWitnesses,
        machine: &Machine,
        registers_after: &Registers,
    ) -> ChunkWitness {
        let SlotWitnesses::Step { slots: steps, .. } = &witnesses else { panic!("steps") };
        let before = steps.first().map_or(*registers_after, |first| first.registers);
        let context = StepContext { chain_id: CHAIN_ID, depth: self.depth, height_blocks: 800_000, token: self.token };
        let fee = |step: &StepWitness| {
            let applied = machine.apply(&context, &step.registers, &step.cell.before, &step.record, Some(step.limits));
            applied.map_or(0, |applied| applied.fee)
        };
        let fees = steps.iter().map(fee).sum();
        let [before, after] = [&before, registers_after].map(|registers| registers.digest(machine.groups()));
        let registers = statement::Registers { before, after };
        self.chunk_of(cap, machine.circuit(self.depth, slots), witnesses, fees, registers)
    }

    fn chunk_of(
        &mut self,
        cap: MerkleCap,
        circuit: CircuitId,
        witnesses: SlotWitnesses,
        fees: u64,
        registers: statement::Registers,
    ) -> ChunkWitness {
        let (kind, slots) = (circuit.kind, circuit.slots);
        let credited = match self.cell(OPERATOR) {
            Cell::Account(account) => Cell::Account(Account { balance: account.balance.wrapping_add(fees), ..account }),
            empty => empty,
        };
        let operator = kind.pays_fee().then(|| self.update(OPERATOR, credited));
        let operator_index = if kind.pays_fee() { index(OPERATOR) } else { CellIndex::default() };
        let context = Context { height_blocks: 800_000, token: self.token, operator: operator_index };
        let data_digest = witnesses.records().digest(slots).expect("no more records than slots");
        let (root_before, root_after) = (cap.root(), self.root());
        let statement =
            Statement { chain_id: CHAIN_ID, circuit, root_before, root_after, data_digest, context, registers };
        ChunkWitness { statement, cap, slots: witnesses, operator }
    }
}
