//! `taproof bridge why`.

use super::{Exit, Global, NodeOptions, Result, Session, Source, WalletOptions, XOnlyPublicKey, look_on};
use crate::cli::{
    console::counted,
    failure::Failure,
    psbt::read_transaction,
    session::{read_params, store_failure},
    upgrade::expect_to_count,
    values::bitcoin_key,
};
use bitcoin::{Address, OutPoint, Transaction, Txid};
use clap::{Args, builder::NonEmptyStringValueParser};
use serde::Serialize;
use std::{collections::HashMap, fmt, path::Path};
use taproof_bitcoin::{
    bridge::why::{Fate, Meaning, NoDepositError, RequestFate, Spent, fate_of, look, trace, trace_requests},
    chain_store::FinalEvent,
    node::Found,
    upgrade::UpgradeFate,
};
use taproof_verifier::{follow::Params, headers::BlockId};

/// How many refund keys of the wallet are known to be its own.
const REFUND_KEYS: u32 = 20;
/// How many confirmations the block has that `taproof batch` refers to if it is told nothing else.
const REFERENCE_DEPTH_BLOCKS: u32 = 6;

/// Says what each output of a transaction is: a deposit and what became of it, or why it is none; a request or an
/// announcement of the upgrade keys, and what became of that.
///
/// A transaction that is not sent yet is read from a file, so that it can be looked at while nothing is lost.
#[derive(Debug, Args)]
pub(super) struct Why {
    /// The transaction's txid; or a file with a PSBT, or with the transaction itself.
    #[arg(value_parser = NonEmptyStringValueParser::new(), value_name = "TXID|FILE")]
    transaction: String,
    /// A refund key, to know payments to its deposit address; the wallet's if none is given.
    #[arg(long = "refund", value_parser = bitcoin_key, value_name = "KEY")]
    refunds: Vec<XOnlyPublicKey>,
    #[command(flatten)]
    wallet: WalletOptions,
    #[command(flatten)]
    node: NodeOptions,
}

#[derive(Serialize)]
struct Output {
    vout: usize,
    amount_sat: u64,
    address: Option<String>,
    is_deposit: bool,
    meaning: String,
    /// What became of a deposit, of a payment to a deposit's address that is none, of a request or an announcement.
    fate: Option<String>,
    /// What it asks of followers.
    #[serde(skip)]
    asked: Option<Asked>,
    /// Whether it pays to a deposit's address and is no deposit.
    #[serde(skip)]
    is_missed: bool,
}

/// What an output asks of followers, beside deposits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// That something be in force.
    Upgrade,
    /// That a batch make something.
    Request,
}

impl Asked {
    fn of(meaning: &Meaning) -> Option<Self> {
        match meaning {
            Meaning::Upgrade { is_signed: true, .. } | Meaning::NoUpgrade(_) => Some(Self::Upgrade),
            Meaning::Exit { is_signed: true, .. } | Meaning::Claim { is_first: true, .. } => Some(Self::Request),
            _ => None,
        }
    }
}

#[derive(Serialize)]
struct Report {
    txid: Txid,
    block: Option<BlockId>,
    confirmations: Option<u32>,
    outputs: Vec<Output>,
    notes: Vec<String>,
}

impl Report {
    fn outpoint(&self, position: usize) -> OutPoint {
        OutPoint { txid: self.txid, vout: self.outputs[position].vout as u32 }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "transaction {}", self.txid)?;
        match self.block.zip(self.confirmations) {
            Some((block, count)) => write!(f, ", at height {}, {}", block.height, counted(count, "confirmation"))?,
            None => write!(f, ", in no block")?,
        }
        for output in &self.outputs {
            write!(f, "\noutput {}, {} sat: {}", output.vout, output.amount_sat, output.meaning)?;
            output.fate.iter().try_for_each(|fate| write!(f, "\n  {fate}"))?;
        }
        self.notes.iter().try_for_each(|note| write!(f, "\n{note}"))
    }
}

impl Why {
    pub(super) fn run(self, global: &Global) -> Result {
        let Ok(txid) = self.transaction.parse::<Txid>() else {
            let params = read_params(&global.data_dir().params())?;
            let transaction = read_transaction(Path::new(&self.transaction))?;
            let Some((session, source)) = self.chain_at_hand(global) else {
                // Where no chain can be asked, it is judged by its form alone.
                let report = self.report(&Found { transaction, block: None }, &params, global);
                return global.console().report(&report, ToString::to_string);
            };
            let mined = mined(&transaction, &source, &session.params, global);
            return self.tell(&mined.unwrap_or(Found { transaction, block: None }), &session, &source, global);
        };
        let session = Session::open(global)?;
        let source = session.source(&self.node)?;
        let found = search(&txid, &source, &session.params, global)?;
        self.tell(&found, &session, &source, global)
    }

    /// The chain by which a transaction of a file is judged, where one can be asked.
    fn chain_at_hand(&self, global: &Global) -> Option<(Session, Source)> {
        let session = Session::open(global).ok()?;
        if !self.node.is_at_hand(&session.dir).ok()? {
            return None;
        }
        let source = session.source(&self.node).ok()?;
        source.chain().tip_height().ok()?;
        Some((session, source))
    }

    /// Reports on a transaction of the chain or of the pool.
    fn tell(&self, found: &Found, session: &Session, source: &Source, global: &Global) -> Result {
        let mut report = self.report(found, &session.params, global);
        if let Some(block) = found.block {
            report.confirmations = Some((source.chain().tip_height()? + 1).saturating_sub(block.height));
            tell_missed(&mut report, block, session, source, global)?;
            tell_fates(&mut report, block, session, source, global)?;
            tell_asked(&mut report, block, session, source, global)?;
        } else {
            tell_next(&mut report, &found.transaction, session, source);
        }
        global.console().report(&report, ToString::to_string)
    }

    /// What the outputs are by their form.
    fn report(&self, found: &Found, params: &Params, global: &Global) -> Report {
        let transaction = &found.transaction;
        let mut meanings = look(transaction, params, &self.refunds);
        let is_unknown = |(meaning, output): (&Meaning, &bitcoin::TxOut)| {
            *meaning == Meaning::Nothing && output.script_pubkey.is_p2tr()
        };
        if self.refunds.is_empty() && meanings.iter().zip(&transaction.output).any(is_unknown) {
            meanings = look(transaction, params, &self.wallet_refunds(global));
        }
        let outputs = (0..).zip(meanings.iter().zip(&transaction.output)).map(|(vout, (meaning, output))| Output {
            vout,
            amount_sat: output.value.to_sat(),
            address: Address::from_script(&output.script_pubkey, params.network)
                .ok()
                .map(|address| address.to_string()),
            is_deposit: matches!(meaning, Meaning::Deposit(_)),
            meaning: meaning.to_string(),
            fate: None,
            asked: Asked::of(meaning),
            is_missed: match meaning {
                Meaning::NoDeposit(fault) => !matches!(fault, NoDepositError::OtherAddress { .. }),
                _ => false,
            } && !output.script_pubkey.is_op_return(),
        });
        let mut notes = Vec::new();
        let has_deposit = meanings.iter().any(|meaning| matches!(meaning, Meaning::Deposit(_)));
        let is_missed = |meaning: &Meaning| matches!(meaning, Meaning::NoDeposit(_) | Meaning::Between { .. });
        if found.block.is_none() && has_deposit {
            notes.push("A deposit counts from when a block holds it.".to_owned());
        }
        if found.block.is_none() && meanings.iter().any(|meaning| Asked::of(meaning).is_some()) {
            notes.push("A request or an announcement counts from when a block holds it, if it does then.".to_owned());
        }
        if meanings.iter().any(is_missed) {
            notes.push(missed_note(found.block.is_some(), params));
        }
        if has_deposit && transaction.is_coinbase() {
            notes.push(
                "It is the reward of a block, which the bridge can move after 100 confirmations only.".to_owned(),
            );
        }
        Report {
            txid: transaction.compute_txid(),
            block: found.block,
            confirmations: None,
            outputs: outputs.collect(),
            notes,
        }
    }

    /// The refund keys of the wallet; none if there is no wallet that opens.
    fn wallet_refunds(&self, global: &Global) -> Vec<XOnlyPublicKey> {
        let Ok(wallet) = self.wallet.open(global) else { return Vec::new() };
        (0..REFUND_KEYS).filter_map(|index| Some(wallet.refund_key(index).ok()?.public())).collect()
    }
}

/// What to do about payments to deposit addresses that are no deposits.
fn missed_note(is_mined: bool, params: &Params) -> String {
    let when = if is_mined { "What" } else { "If it is mined, what" };
    let delay = params.bridge().refund_delay_blocks();
    format!(
        "{when} pays to a deposit address and is no deposit comes back by `taproof bridge refund` after {delay} \
         blocks, and is \
         credited to nobody."
    )
}

/// Adds what became of payments to deposit addresses that are no deposits. Where all are taken back, nothing is to be
/// done.
fn tell_missed(report: &mut Report, block: BlockId, session: &Session, source: &Source, global: &Global) -> Result {
    let refund_height = block.height.saturating_add(session.params.bridge().refund_delay_blocks().into());
    let is_open = refund_height <= source.chain().tip_height()?.saturating_add(1);
    let (mut waiting, mut spent) = (0, Vec::new());
    let missed = (0..report.outputs.len()).filter(|position| report.outputs[*position].is_missed);
    for position in missed.collect::<Vec<_>>() {
        if source.payer().unspent(&report.outpoint(position))?.is_none() {
            spent.push(position);
            continue;
        }
        waiting += 1;
        let opens = if is_open { "is open since" } else { "opens at" };
        let waits = format!("it waits for its depositor: the refund {opens} height {refund_height}");
        report.outputs[position].fate = Some(waits);
    }
    let traced = traced(report, &spent, session, source, global)?;
    for (position, (_, spent)) in spent.iter().zip(traced) {
        let told = spent.map_or_else(|| "it is spent".to_owned(), |spent| spent.to_string());
        report.outputs[*position].fate = Some(told);
    }
    if waiting == 0 && !spent.is_empty() {
        let note = missed_note(true, &session.params);
        report.notes.retain(|told| *told != note);
    }
    Ok(())
}

/// What became of outputs of a transaction that are spent for good, all read off the chain at once: whoever made the
/// transaction may have made thousands.
fn traced(
    report: &Report,
    positions: &[usize],
    session: &Session,
    source: &Source,
    global: &Global,
) -> Result<Vec<(Fate, Option<Spent>)>> {
    if positions.is_empty() {
        return Ok(Vec::new());
    }
    let outpoints: Vec<OutPoint> = positions.iter().map(|position| report.outpoint(*position)).collect();
    let spinner = global.console().spinner("reading the chain from the rollup's start");
    let traced = trace(source.chain(), &session.params, session.programs.clone(), &outpoints)?;
    spinner.finish_and_clear();
    Ok(traced)
}

/// A transaction of a file that a block holds. One whose first coin is unspent is in none, so that the blocks are not
/// searched for what is not sent yet.
fn mined(transaction: &Transaction, source: &Source, params: &Params, global: &Global) -> Option<Found> {
    let txid = transaction.compute_txid();
    if let Some(found) = source.payer().find(&txid).ok()? {
        return found.block.is_some().then_some(found);
    }
    let coin = transaction.input.first()?.previous_output;
    if source.payer().unspent(&coin).ok()?.is_some() {
        return None;
    }
    search_blocks(&txid, source, params, global).ok()?
}

/// The transaction, from the node's own knowledge or else block by block down to the rollup's start.
fn search(txid: &Txid, source: &Source, params: &Params, global: &Global) -> Result<Found> {
    if let Some(found) = source.payer().find(txid)? {
        return Ok(found);
    }
    search_blocks(txid, source, params, global)?.ok_or_else(|| {
        let message = format!("{txid} is neither in the pool nor in a block from height {} on", params.start.height);
        Failure::new(Exit::Input, message)
    })
}

/// The transaction, block by block down to the rollup's start.
fn search_blocks(txid: &Txid, source: &Source, params: &Params, global: &Global) -> Result<Option<Found>> {
    // A server that has an index has been asked.
    if matches!(source, Source::Esplora(_)) {
        return Ok(None);
    }
    let spinner = global.console().spinner("searching the blocks");
    let (chain, mut found) = (source.chain(), None);
    for height in (params.start.height..chain.tip_height()? + 1).rev() {
        let Some(hash) = chain.block_hash(height)? else { continue };
        let transactions = chain.block(&hash)?.txdata;
        found = transactions
            .into_iter()
            .find(|transaction| transaction.compute_txid() == *txid)
            .map(|transaction| Found { transaction, block: Some(BlockId { height, hash }) });
        if found.is_some() {
            break;
        }
    }
    spinner.finish_and_clear();
    Ok(found)
}

/// Says of an announcement that no block holds what the next one would make of it, as far as that is known.
fn tell_next(report: &mut Report, transaction: &Transaction, session: &Session, source: &Source) {
    let mut signed = report.outputs.iter_mut().filter(|output| output.asked == Some(Asked::Upgrade));
    let Some(output) = signed.next() else { return };
    output.fate = match expect_to_count(session, source, transaction) {
        Err(failure) if failure.exit() == Exit::Refuted => {
            Some(format!("would be ignored in the next block: {}", failure.message()))
        }
        _ => None,
    };
}

/// Adds what became of the deposits.
fn tell_fates(report: &mut Report, block: BlockId, session: &Session, source: &Source, global: &Global) -> Result {
    let start_height = session.params.start.height;
    if block.height <= start_height {
        report.notes.push(format!(
            "Followers of the rollup read blocks above height {start_height} only: it counts for nothing."
        ));
        return Ok(());
    }
    if !report.outputs.iter().any(|output| output.is_deposit) {
        return Ok(());
    }
    let watch = look_on(session, source, global)?;
    let deposits = (0..report.outputs.len()).filter(|position| report.outputs[*position].is_deposit);
    let held: Vec<(usize, Option<Fate>)> = deposits
        .map(|position| {
            let coin = watch.scan().coin(&report.outpoint(position));
            (position, coin.and_then(|coin| fate_of(watch.scan(), coin)))
        })
        .collect();
    // The scan has forgotten what is spent for good.
    let forgotten: Vec<usize> = held.iter().filter(|(_, fate)| fate.is_none()).map(|(position, _)| *position).collect();
    let traced: HashMap<usize, (Fate, Option<Spent>)> =
        forgotten.iter().copied().zip(traced(report, &forgotten, session, source, global)?).collect();
    let batches = Batches::read(session);
    let confirmations = report.confirmations.unwrap_or_default();
    for (position, fate) in held {
        let told = fate.map(|fate| (fate, None)).or_else(|| traced.get(&position).copied());
        let Some((fate, spent)) = told else { continue };
        report.outputs[position].fate = Some(fate_text(fate, spent, &batches));
        if matches!(fate, Fate::Waiting { .. }) && confirmations < REFERENCE_DEPTH_BLOCKS {
            report.notes.push(format!(
                "It is not deep yet: posters refer to blocks with {REFERENCE_DEPTH_BLOCKS} confirmations, unless told \
                 otherwise."
            ));
        }
    }
    report.notes.dedup();
    Ok(())
}

/// Adds what became of requests and announcements.
fn tell_asked(report: &mut Report, block: BlockId, session: &Session, source: &Source, global: &Global) -> Result {
    let is_asked = report.outputs.iter().any(|output| output.asked.is_some());
    if !is_asked || block.height <= session.params.start.height {
        return Ok(());
    }
    let spinner = global.console().spinner("following the chain");
    let (stored, stopped) = session.stored_as_far_as_known(source)?;
    let events = stored.store().events(0, usize::MAX).map_err(store_failure)?;
    let events: Vec<&FinalEvent> = events.iter().map(|(_, event)| event).chain(stored.unsettled()).collect();
    let (txid, scanned) = (report.txid, stored.follower().scanned().height);
    let waiting: HashMap<OutPoint, RequestFate> =
        RequestFate::all_waiting(stored.follower()).filter(|(outpoint, _)| outpoint.txid == txid).collect();
    // The requests that wait no more.
    let mut settled = Vec::new();
    for position in 0..report.outputs.len() {
        let outpoint = report.outpoint(position);
        let output = &mut report.outputs[position];
        output.fate = match (output.asked, &stopped) {
            (None, _) => continue,
            (Some(_), Some(stopped)) if block.height > scanned => {
                Some(format!("what becomes of it is not known here: {}", stopped.message()))
            }
            // One that enough keys have not signed, or that is older than what is kept here, is found nowhere.
            (Some(Asked::Upgrade), _) => {
                UpgradeFate::of(txid, scanned, events.iter().copied()).map(|fate| fate.to_string())
            }
            (Some(Asked::Request), _) => {
                let fate = waiting.get(&outpoint);
                if fate.is_none() {
                    settled.push(position);
                }
                fate.map(ToString::to_string)
            }
        };
    }
    if !settled.is_empty() {
        let outpoints: Vec<OutPoint> = settled.iter().map(|position| report.outpoint(*position)).collect();
        let (params, programs) = (&session.params, session.programs.clone());
        let fates = trace_requests(source.chain(), params, programs, (&outpoints, block.height))?;
        for (position, fate) in settled.into_iter().zip(fates) {
            report.outputs[position].fate = Some(fate.to_string());
        }
    }
    spinner.finish_and_clear();
    Ok(())
}

fn fate_text(fate: Fate, spent: Option<Spent>, batches: &Batches) -> String {
    let batch = match fate {
        Fate::Credited { index, .. } => batches.of_deposit(index),
        _ => None,
    };
    let batch = batch.map_or_else(String::new, |batch| format!(", batch {batch}"));
    let spent = spent.map_or_else(String::new, |spent| format!("; {spent}"));
    format!("{fate}{batch}{spent}")
}

/// The final batches, where the chain was followed before: how many deposits are consumed after each, and its number.
struct Batches(Vec<(u64, u64)>);

impl Batches {
    fn read(session: &Session) -> Self {
        let events = session.chain_store().events(0, usize::MAX).unwrap_or_default();
        let anchors = events.into_iter().filter_map(|(_, event)| match event {
            FinalEvent::Anchor(anchor) => Some((anchor.deposits_consumed, anchor.batch)),
            _ => None,
        });
        Self(anchors.collect())
    }

    /// The first that came to a deposit.
    fn of_deposit(&self, index: u64) -> Option<u64> {
        let position = self.0.partition_point(|(consumed, _)| *consumed <= index);
        self.0.get(position).map(|(_, batch)| *batch)
    }
}
