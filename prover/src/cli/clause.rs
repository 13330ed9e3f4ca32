//! How commands make clauses: by which key and account, with which nonce or ticket and fee, and where they go.

use super::{
    Global,
    batch::FEE_MIN_SAT,
    failure::{Exit, Failure, Fallible, Result},
    known::Outset,
    session::{NodeOptions, read_params},
    tx::{Addition, Book, Fill, Preview},
    values::cell,
    wallet::{KeyNumber, WalletOptions},
};
use bitcoin::Network;
use clap::Args;
use rand::Rng;
use std::{collections::BTreeSet, path::PathBuf};
use taproof_circuits::{
    ops::{Draw, Join, Open, Order},
    schnorr::SecretKey,
    state::State,
    step::Machine,
    transaction::{Clause, ClauseStep, Draft, Number, Once, Part, StepTransaction, Transaction},
};
use taproof_rollup::{
    amount::Decimal,
    purses::{Place, PurseError, Purses, Signer, ticket, vacant_cells},
    told::{Known, Told},
};
use taproof_verifier::{
    cell::{Cell, CellIndex, ChainId, Depth, Token},
    record::StepRecord,
};

/// Who signs a clause, and what becomes of it.
#[derive(Debug, Args)]
pub(super) struct ClauseArgs {
    #[command(flatten)]
    wallet: WalletOptions,
    #[command(flatten)]
    key: KeyNumber,
    /// The account that signs, and that pays the fee; without it, one that the key owns and that can.
    #[arg(long, value_parser = cell, value_name = "CELL")]
    pub(super) from: Option<CellIndex>,
    /// How many transactions that account has sent; without it, counted from the ledger and from the file that is added
    /// to.
    #[arg(long, value_name = "N", conflicts_with = "ticket")]
    nonce: Option<u32>,
    /// Uses this ticket of the account in place of its nonce, so that it can be applied in any order, or never.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..1 << 33))]
    ticket: Option<u64>,
    /// The last height on Bitcoin that the batch may refer to; without it, there is no end.
    #[arg(long, value_name = "HEIGHT")]
    until: Option<u32>,
    /// The fee for the operator, of each clause; if not given, 1 sat for each step, the least that `taproof batch`
    /// takes by default.
    #[arg(long, value_name = "SAT")]
    fee: Option<u64>,
    /// Signs what a batch would reject, too.
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    node: NodeOptions,
    /// Adds the transaction to this file instead of printing it.
    #[arg(long, value_name = "FILE")]
    add_to: Option<PathBuf>,
    /// Signs nothing and writes nothing: says what the transaction would do, and what the key would own after it.
    #[arg(long)]
    dry_run: bool,
}

/// Empty cells that a clause may want.
const VACANT_MAX: usize = 4;

/// Where clauses are made.
pub(super) struct Desk<'a> {
    args: &'a ClauseArgs,
    global: &'a Global,
    key: SecretKey,
    chain_id: ChainId,
    network: Network,
    book: Book,
    /// The height that the next batch could refer to.
    height_blocks: u32,
    /// Where empty cells are looked for.
    vacant_from: CellIndex,
    /// The state without anything that waits.
    settled: State,
    /// The state before the transactions that are made here.
    before: State,
    file: Option<Addition>,
    made: Vec<Transaction>,
    told: Vec<Told>,
    pub(super) fill: Option<Fill>,
}

impl<'a> Desk<'a> {
    /// Reads the wallet, the file that is added to, and what is known of the rollup.
    pub(super) fn open(args: &'a ClauseArgs, global: &'a Global) -> Result<Self> {
        let file = args.add_to.as_deref().map(|path| Addition::read(path, &global.data_dir())).transpose()?;
        let params = read_params(&global.data_dir().params())?;
        let key = args.key.secret_key(&args.wallet.open(global)?)?;
        let outset = Outset::find(&args.node, global)?;
        let (height_blocks, settled) = (outset.height_blocks, outset.state.clone());
        let vacant_from = vacant_from(settled.depth());
        let added = file.as_ref().map_or(&[][..], Addition::transactions);
        let book = Book::new(outset, added);
        if book.machine().is_none() {
            let failure = Failure::new(Exit::Input, "this rollup has payments alone: its program has no steps");
            return Err(failure.advise("tokens and pools are on rollups that were founded with `setup --step-slots`"));
        }
        let before = book.state().clone();
        let (chain_id, network) = (params.chain_id(), params.network);
        let (made, told) = (Vec::new(), Vec::new());
        Ok(Self {
            args,
            global,
            key,
            chain_id,
            network,
            book,
            height_blocks,
            vacant_from,
            settled,
            before,
            file,
            made,
            told,
            fill: None,
        })
    }

    /// The state after all that waits, and what was made here.
    pub(super) fn state(&self) -> &State {
        self.book.state()
    }

    /// The rollup's operations.
    pub(super) fn machine(&self) -> &Machine {
        self.book.machine().expect("it was there when the desk was opened")
    }

    pub(super) fn book(&self) -> &Book {
        &self.book
    }

    /// The height that the next batch could refer to.
    pub(super) fn height_blocks(&self) -> u32 {
        self.height_blocks
    }

    /// What tokens are called.
    pub(super) fn known(&self) -> Known<'_> {
        Known { state: Some(self.state()), network: Some(self.network), machines: Some(self.global.machines()) }
    }

    /// What the key owns.
    pub(super) fn purses(&self) -> Purses {
        let vacant = vacant_cells(self.state(), self.vacant_from, VACANT_MAX, |cell| self.book.is_spoken_for(cell));
        Purses::new(self.state(), self.key.public(), vacant)
    }

    /// The cell that is named, or the first that is empty.
    pub(super) fn empty_cell(&self, named: Option<CellIndex>) -> Result<CellIndex> {
        if let Some(named) = named {
            return Ok(named);
        }
        let vacant = vacant_cells(self.state(), self.vacant_from, 1, |cell| self.book.is_spoken_for(cell));
        let vacant = vacant.first().copied();
        vacant.ok_or_else(|| purse_failure(PurseError::Full))
    }

    /// An amount of a token in its smallest unit.
    pub(super) fn units(&self, token: Token, amount: Decimal) -> Result<u64> {
        units(&self.known(), token, amount)
    }

    /// What makes a clause of an account run once.
    fn once(&self, account: CellIndex) -> Result<Once> {
        let number = match (self.args.ticket, self.args.nonce) {
            (Some(_), _) => self.ticket(account)?,
            (None, Some(nonce)) => Number::Nonce(nonce),
            (None, None) => Number::Nonce(self.book.next_nonce(account)?),
        };
        Ok(Once { number, until: self.args.until.unwrap_or(u32::MAX) })
    }

    /// A ticket of an account: the one that is named, or the first that is not used.
    fn ticket(&self, account: CellIndex) -> Result<Number> {
        let holder = self.book.account(account);
        let holder = holder.ok_or_else(|| purse_failure(PurseError::NotTheKeys(account)))?;
        let signed_with = self.book.tickets_signed_with(account);
        ticket(&holder, self.args.ticket, &signed_with).or_exit(Exit::Refuted).map_err(|failure| {
            failure.advise(format!(
                "give another --ticket, or new ones to the account: `taproof offer renew --from {account}`"
            ))
        })
    }

    /// Who signs with the nonce or ticket that is asked for.
    pub(super) fn signer(&self, account: CellIndex, fee_sat: u64) -> Result<Signer> {
        Ok(Signer { account, once: self.once(account)?, fee_sat })
    }

    /// Who signs with the next nonce in any case.
    pub(super) fn signer_by_nonce(&self, account: CellIndex, fee_sat: u64) -> Result<Signer> {
        let number = Number::Nonce(self.book.next_nonce(account)?);
        Ok(Signer { account, once: Once { number, until: self.args.until.unwrap_or(u32::MAX) }, fee_sat })
    }

    /// Who signs with a ticket in any case.
    pub(super) fn signer_by_ticket(&self, account: CellIndex, fee_sat: u64) -> Result<Signer> {
        let once = Once { number: self.ticket(account)?, until: self.args.until.unwrap_or(u32::MAX) };
        Ok(Signer { account, once, fee_sat })
    }

    /// An account that signs: the one that is named, or one that can pay the fee, which is this if none is given.
    pub(super) fn account(&self, fee_sat: u64, pays: Option<(Token, u64)>) -> Result<CellIndex> {
        let fee_sat = self.args.fee.unwrap_or(fee_sat);
        self.purses().signer(self.args.from, fee_sat, pays).map_err(purse_failure)
    }

    /// The fee that is given, if one is.
    pub(super) fn fee(&self) -> Option<u64> {
        self.args.fee
    }

    /// Says on standard error if a batch takes no fee so low for so many steps.
    pub(super) fn warn_of_fee(&self, fee_sat: u64, steps: usize) {
        let least_sat = steps as u64 * FEE_MIN_SAT;
        if fee_sat < least_sat {
            self.global.console().warn(format!(
                "`taproof batch` takes no fee below {least_sat} sat for so many steps, unless told otherwise by its \
                 --fee-min, and rejects this"
            ));
        }
    }

    /// A draft with the fee that is given, or else with the least for its steps and so many others.
    pub(super) fn priced(&self, others: usize, build: impl Fn(u64) -> Result<Draft>) -> Result<Draft> {
        if let Some(fee_sat) = self.args.fee {
            let draft = build(fee_sat)?;
            self.warn_of_fee(fee_sat, draft.steps().len() + others);
            return Ok(draft);
        }
        let mut fee_sat = (1 + others) as u64 * FEE_MIN_SAT;
        loop {
            let draft = build(fee_sat)?;
            let least_sat = (draft.steps().len() + others) as u64 * FEE_MIN_SAT;
            // A higher fee may take another purse, and so more steps, but never fewer.
            if fee_sat >= least_sat {
                return Ok(draft);
            }
            fee_sat = least_sat;
        }
    }

    /// Signs a draft, after its words are shown.
    pub(super) fn sign(&self, draft: Draft) -> Result<Clause> {
        if !self.args.dry_run {
            let told = Told::of_clause(self.chain_id, &draft.unsigned(), &self.known());
            told.lines().into_iter().for_each(|line| self.global.console().note(line));
        }
        self.warn_of_what_waits(draft.steps());
        draft.sign(self.machine(), self.chain_id, &self.key).or_exit(Exit::Input)
    }

    /// Warns where steps name a token or a pool that only waits for a batch, unless the key issues the token: it is
    /// named by its cell, in which whoever posts could put another.
    fn warn_of_what_waits(&self, steps: &[ClauseStep]) {
        let named = steps.iter().filter_map(|step| named_by(&step.record)).collect::<BTreeSet<_>>();
        let is_own = |cell| match self.state().tree().get(cell) {
            Cell::Token(token) => {
                self.book.account(token.issuer).is_some_and(|issuer| issuer.owner == *self.key.public())
            }
            _ => false,
        };
        let waits = |cell: &CellIndex| {
            let is_in = |state: &State| state.depth().contains(*cell) && state.tree().get(*cell) != Cell::Empty;
            is_in(self.state()) && !is_in(&self.settled)
        };
        for cell in named.into_iter().filter(waits).filter(|cell| !is_own(*cell)) {
            let called = match self.state().tree().get(cell) {
                Cell::Pool(_) => format!("pool {cell}"),
                _ => self.known().token(Token(cell.get())),
            };
            self.global.console().warn(format!(
                "{called} is in no batch yet: whoever makes the batch can put another in cell {cell} before"
            ));
        }
    }

    /// Takes a transaction of clauses, if a batch would.
    pub(super) fn take(&mut self, clauses: impl IntoIterator<Item = Clause>) -> Result {
        self.take_parts(clauses.into_iter().map(Part::Clause).collect())
    }

    /// Takes a transaction of clauses and of steps that anyone runs, if a batch would.
    pub(super) fn take_parts(&mut self, parts: Vec<Part>) -> Result {
        let transaction = Transaction::Steps(StepTransaction { chain_id: self.chain_id, parts });
        if let Some(objection) = self.book.objection(&transaction, self.key.public()) {
            if !objection.may_pass && !self.args.force {
                let failure = Failure::new(Exit::Refuted, objection.reason);
                return Err(failure.advise("nothing is written; --force signs it all the same"));
            }
            let unless = if objection.may_pass { ", unless that changes before" } else { "" };
            self.global.console().warn(format!("a batch would reject this{unless}: {}", objection.reason));
        }
        self.told.push(Told::new(&transaction, &self.known()));
        self.book.add(transaction.clone());
        self.made.push(transaction);
        Ok(())
    }

    /// Takes a clause that leaves something in motion, for another to complete.
    pub(super) fn take_part(&mut self, clause: Clause) -> Result {
        let part = StepTransaction::of_clauses(self.chain_id, [clause]);
        if let Err(refusal) = self.book.outlook().left_open(&part) {
            if !self.args.force {
                let failure = Failure::of(Exit::Refuted, refusal);
                return Err(failure.advise("nothing is written; --force signs it all the same"));
            }
            self.global.console().warn(format!("nobody could take this: {refusal}"));
        }
        let transaction = Transaction::Steps(part);
        self.told.push(Told::new(&transaction, &self.known()));
        self.made.push(transaction);
        Ok(())
    }

    /// Where a token can be put by a clause that fills an empty cell itself.
    pub(super) fn place_beside(
        &self,
        purses: &Purses,
        token: Token,
        near: CellIndex,
        filled: CellIndex,
    ) -> Result<Place> {
        let place = (0..VACANT_MAX).map(|opened| purses.place(token, near, opened));
        let mut place = place.filter(|place| *place != Ok(Place::Opened(filled)));
        place.next().unwrap_or(Err(PurseError::Full)).map_err(purse_failure)
    }

    /// Signs a draft and takes it as a transaction.
    pub(super) fn take_draft(&mut self, draft: Draft) -> Result {
        let clause = self.sign(draft)?;
        self.take([clause])
    }

    /// Adds what was made to the file, or prints it; or says what would come of it.
    pub(super) fn finish(self) -> Result {
        let Self { args, global, key, book, before, file, made, told, fill, .. } = self;
        if args.dry_run {
            let preview = Preview::between(&before, book.state(), key.public(), told, fill);
            return global.console().produce(&preview, ToString::to_string);
        }
        if let Some(fill) = fill {
            global.console().note(fill);
        }
        match file {
            Some(file) => file.add(made, &told, global),
            None => made.iter().try_for_each(|transaction| global.console().produce_json(transaction)),
        }
    }
}

/// Where empty cells are looked for: in a tree of more than three levels somewhere, so that neither deposits, which
/// fill the first ones, nor others who fill cells in the same batch come first.
fn vacant_from(depth: Depth) -> CellIndex {
    let cell = if depth.levels() > 3 { rand::thread_rng().gen_range(1..depth.cell_count()) } else { 1 };
    CellIndex::new(cell).expect("a tree has fewer cells than there are indices")
}

/// The token or the pool that a step names beside what its signer owns.
fn named_by(record: &StepRecord) -> Option<CellIndex> {
    match record.operation {
        Join::NUMBER => Some(record.cell),
        Order::NUMBER => CellIndex::new(record.c as u32),
        Open::NUMBER => u32::try_from(record.c).ok().and_then(CellIndex::new),
        Draw::NUMBER if record.flags & Draw::PAIR != 0 => u32::try_from(record.c).ok().and_then(CellIndex::new),
        _ => None,
    }
}

/// An amount of a token in its smallest unit.
pub(super) fn units(known: &Known<'_>, token: Token, amount: Decimal) -> Result<u64> {
    amount.units(known.decimals(token)).or_exit(Exit::Input).map_err(|failure| {
        let decimals = known.decimals(token);
        let failure = failure.context(format!("{amount} of {}", known.token(token)));
        failure.advise(match decimals {
            0 => "it is counted in whole numbers".to_owned(),
            decimals => format!("it is counted with at most {decimals} digits after the point"),
        })
    })
}

/// What to do where a key's accounts do not do.
pub(super) fn purse_failure(error: PurseError) -> Failure {
    let advice = match error {
        PurseError::Insufficient { .. } => {
            "take less, or name another of the wallet's keys with --account and --index; what waits for a batch is \
             counted, and what is in cell 0 is not, which takes part in payments alone"
        }
        PurseError::NoSigner => {
            "open an account of the key in another cell with `taproof tx open`, or name another key with --account and \
             --index; the account in cell 0 takes part in payments alone"
        }
        PurseError::CannotTrade(_) => "leave --from out: an account that can is found, or opened",
        PurseError::NotTheKeys(_) => "leave --from out, or name the key that owns it with --account and --index",
        _ => "wait until the tree has grown",
    };
    Failure::of(Exit::Refuted, error).advise(advice)
}
