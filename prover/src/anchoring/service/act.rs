//! Carries actions out. What is about to be handed over is stored first; handing over twice does no harm.

use super::{Driver, Note, Service, ServiceError, Step, refused, step, store, watch};
use crate::{
    anchor::Funding,
    anchoring::{
        Action, BatchSource, Generation, Hold, Job, Place, Signer, View, build,
        codec::{ATTEMPTS_MAX, GENERATIONS_MAX},
        error::hold_of,
        fees::FeeRange,
        job::{Failed, generation_progress},
        view::Fate,
    },
    node::{Acceptance, Node, NodeError},
    regtest::COINBASE_MATURITY_BLOCKS,
};
use bitcoin::{OutPoint, Transaction};
use std::collections::HashSet;

impl<S: BatchSource> Service<S> {
    pub(super) fn act(
        &mut self,
        batch: u64,
        action: Action,
        view: &View,
        node: &dyn Node,
        driver: &mut dyn Driver,
    ) -> Result<(), ServiceError> {
        let place = action.generation().and_then(|index| view.generations.get(index)).map(|seen| seen.commit);
        let is_mined = place.is_some_and(Place::is_mined);
        match action {
            Action::Build { fee_rate } => self.build(batch, fee_rate, view, node, driver),
            Action::SendCommit { generation } => self.send_commit(batch, generation, view, node, driver),
            Action::SendReveal { generation, attempt } => {
                self.send_reveal(batch, generation, attempt, view, node, driver)
            }
            Action::Rebroadcast { generation } => self.rebroadcast(batch, generation, is_mined, view, node, driver),
            Action::Bump { generation, range } => self.bump(batch, generation, range, view, node, driver),
            Action::Sweep { generation, fee_sat } => self.sweep(batch, generation, fee_sat, view, node, driver),
            Action::ResendSweep { generation } => self.resend_sweep(batch, generation, view, node, driver),
        }
    }

    fn job_mut(&mut self, batch: u64) -> Result<&mut Job, ServiceError> {
        self.jobs.get_mut(&batch).ok_or(ServiceError::NoSuchBatch(batch))
    }

    fn generation(&self, batch: u64, index: usize) -> Result<&Generation, ServiceError> {
        let generation = self.jobs.get(&batch).and_then(|job| job.generations.get(index));
        generation.ok_or(ServiceError::NoSuchBatch(batch))
    }

    /// Changes a generation and stores the job, in the state that this makes.
    fn change(
        &mut self,
        batch: u64,
        index: usize,
        reason: &str,
        driver: &mut dyn Driver,
        change: impl FnOnce(&mut Generation),
    ) -> Result<(), ServiceError> {
        let (height, now) = (self.follower.scanned().height, driver.unix_seconds());
        let job = self.jobs.get_mut(&batch).ok_or(ServiceError::NoSuchBatch(batch))?;
        let generation = job.generations.get_mut(index).ok_or(ServiceError::NoSuchBatch(batch))?;
        change(generation);
        let state = generation_progress(generation);
        // Sweeps change no state; they are of generations that the batch left behind.
        let transition = if generation.sweeps.is_empty() { job.move_to(state, height, now, reason) } else { None };
        store(&self.store, job, driver)?;
        if let Some(transition) = &transition {
            driver.note(&Note::Moved { batch, transition });
        }
        Ok(())
    }

    fn build(
        &mut self,
        batch: u64,
        fee_rate: crate::anchor::FeeRate,
        view: &View,
        node: &dyn Node,
        driver: &mut dyn Driver,
    ) -> Result<(), ServiceError> {
        let Some(payload) = self.wanted_payload(batch)? else { return Ok(()) };
        let mut reserved = self.reserved(batch, node)?;
        let funding = self.coins(node, &reserved)?;
        let generation = loop {
            let coins: Vec<Funding> =
                funding.iter().filter(|coin| !reserved.contains(&coin.outpoint)).cloned().collect();
            let built = build::generation(
                &payload,
                self.store.identity(),
                &self.signer,
                fee_rate,
                &self.config,
                &view.fees,
                &coins,
            );
            let generation = match built {
                Ok(generation) => generation,
                Err(error) => {
                    let hold = hold_of(&error);
                    self.job_mut(batch)?.refused = refused(view.tip.hash, hold);
                    return Ok(());
                }
            };
            // Somebody may spend a coin of ours right now: in the pool, where the search of the chain does not look.
            let mut spent = HashSet::new();
            for coin in generation.funding() {
                if node.pool_spender(&coin.outpoint)?.is_some() {
                    spent.insert(coin.outpoint);
                }
            }
            if spent.is_empty() {
                break generation;
            }
            reserved.extend(spent);
        };
        let job = self.jobs.get_mut(&batch).ok_or(ServiceError::NoSuchBatch(batch))?;
        // What nobody has seen needs no memory.
        job.generations.retain(|generation| generation.commit_sent.is_some());
        if job.generations.len() >= GENERATIONS_MAX {
            let hold = Hold::NotBuilt(format!("{GENERATIONS_MAX} commits were sent for this batch"));
            job.refused = refused(view.tip.hash, hold);
            return Ok(());
        }
        job.generations.push(generation);
        let index = job.generations.len() - 1;
        watch(&mut self.index, job);
        self.change(batch, index, "built for the payload that the chain asks for", driver, |_| ())
    }

    /// The coins that no other anchor may spend meanwhile.
    fn reserved(&self, building: u64, node: &dyn Node) -> Result<HashSet<OutPoint>, ServiceError> {
        let mut reserved = HashSet::new();
        for job in self.jobs.values().filter(|job| !job.is_closed) {
            for generation in job.generations() {
                let is_free = if generation.commit_sent.is_none() {
                    job.batch() == building || job.is_abandoned
                } else {
                    self.look_at(generation, node)?.fate(generation) == Fate::Dead
                };
                if !is_free {
                    reserved.extend(generation.funding().iter().map(|coin| coin.outpoint));
                }
            }
        }
        Ok(reserved)
    }

    /// The poster's coins that are confirmed, mature and free.
    fn coins(&self, node: &dyn Node, reserved: &HashSet<OutPoint>) -> Result<Vec<Funding>, ServiceError> {
        let scan = node.coins(&self.signer.scripts().all())?;
        let next_height = scan.block.height + 1;
        let is_mature = |coin: &crate::node::Coin| {
            !coin.is_coinbase || next_height.saturating_sub(coin.height) >= COINBASE_MATURITY_BLOCKS
        };
        let free = scan.coins.into_iter().filter(|coin| is_mature(coin) && !reserved.contains(&coin.outpoint));
        Ok(free.map(|coin| Funding { outpoint: coin.outpoint, output: coin.output }).collect())
    }

    fn send_commit(
        &mut self,
        batch: u64,
        index: usize,
        view: &View,
        node: &dyn Node,
        driver: &mut dyn Driver,
    ) -> Result<(), ServiceError> {
        let generation = self.generation(batch, index)?;
        let (commit, fee_sat) = (generation.commit.clone(), generation.commit_fee_sat());
        let reveal = generation.attempts.iter().find(|attempt| attempt.is_signed());
        let Some(reveal) = reveal.map(|attempt| attempt.transaction.clone()) else { return Ok(()) };
        if let Some(hold) = judge(node, &[commit.clone(), reveal])? {
            self.job_mut(batch)?.refused = refused(view.tip.hash, hold);
            return Ok(());
        }
        let tip = view.tip;
        self.change(batch, index, "the gate is open: the commit is handed over", driver, |generation| {
            generation.commit_sent = Some(tip.height);
            generation.broadcast = Some(tip.hash);
        })?;
        self.send(batch, &commit, "commit", fee_sat, view, node, driver)
    }

    fn send_reveal(
        &mut self,
        batch: u64,
        index: usize,
        attempt: usize,
        view: &View,
        node: &dyn Node,
        driver: &mut dyn Driver,
    ) -> Result<(), ServiceError> {
        let Some(chosen) = self.generation(batch, index)?.attempts.get(attempt).cloned() else { return Ok(()) };
        // After a crash between storing and sending, the commit may not be there yet.
        if view.generations.get(index).is_some_and(|seen| seen.commit == Place::Nowhere) {
            let generation = self.generation(batch, index)?;
            let (commit, fee_sat) = (generation.commit.clone(), generation.commit_fee_sat());
            self.send(batch, &commit, "commit", fee_sat, view, node, driver)?;
            if self.generation_is_refused(batch, view) {
                return Ok(());
            }
        }
        if let Some(hold) = judge(node, std::slice::from_ref(&chosen.transaction))? {
            self.job_mut(batch)?.refused = refused(view.tip.hash, hold);
            return Ok(());
        }
        let tip = view.tip;
        self.change(batch, index, "the reveal is handed over", driver, |generation| {
            generation.attempts[attempt].sent = Some(tip.height);
            generation.broadcast = Some(tip.hash);
        })?;
        self.send(batch, &chosen.transaction, "reveal", chosen.fee_sat, view, node, driver)
    }

    fn generation_is_refused(&self, batch: u64, view: &View) -> bool {
        self.jobs.get(&batch).is_some_and(|job| job.refused_at(view.tip).is_some())
    }

    fn rebroadcast(
        &mut self,
        batch: u64,
        index: usize,
        commit_is_mined: bool,
        view: &View,
        node: &dyn Node,
        driver: &mut dyn Driver,
    ) -> Result<(), ServiceError> {
        let generation = self.generation(batch, index)?;
        let (commit, commit_fee_sat) = (generation.commit.clone(), generation.commit_fee_sat());
        let latest = generation.latest_sent().map(|(_, latest)| latest.clone());
        // A repetition is no news: it is remembered for this run, and not stored.
        if let Some(generation) = self.job_mut(batch)?.generations.get_mut(index) {
            generation.broadcast = Some(view.tip.hash);
        }
        if !commit_is_mined {
            self.send(batch, &commit, "commit", commit_fee_sat, view, node, driver)?;
        }
        match latest {
            Some(latest) if !self.generation_is_refused(batch, view) => {
                self.send(batch, &latest.transaction, "reveal", latest.fee_sat, view, node, driver)
            }
            _ => Ok(()),
        }
    }

    fn bump(
        &mut self,
        batch: u64,
        index: usize,
        range: FeeRange,
        view: &View,
        node: &dyn Node,
        driver: &mut dyn Driver,
    ) -> Result<(), ServiceError> {
        let tip = view.tip;
        let generation = self.generation(batch, index)?;
        let (position, attempt) = match &self.signer {
            Signer::Key(key) if generation.attempts.len() < ATTEMPTS_MAX => {
                let attempt = generation.sign_attempt(self.store.identity(), key, range.aim_sat, tip.height)?;
                (generation.attempts.len(), attempt)
            }
            _ => match generation.rung(&range) {
                Some(position) => (position, generation.attempts[position].clone()),
                None => {
                    let hold = Hold::LadderUsed { needed_sat: range.min_sat };
                    self.job_mut(batch)?.refused = refused(tip.hash, hold);
                    return Ok(());
                }
            },
        };
        if let Some(hold) = judge(node, std::slice::from_ref(&attempt.transaction))? {
            self.job_mut(batch)?.refused = refused(tip.hash, hold);
            return Ok(());
        }
        let (transaction, fee_sat) = (attempt.transaction.clone(), attempt.fee_sat);
        self.job_mut(batch)?.bump = None;
        self.change(batch, index, &format!("the reveal's fee is raised to {fee_sat} sat"), driver, |generation| {
            generation.attempts.truncate(generation.attempts.len().max(position));
            match generation.attempts.get_mut(position) {
                Some(rung) => rung.sent = Some(tip.height),
                None => generation.attempts.push(attempt),
            }
            generation.broadcast = Some(tip.hash);
        })?;
        self.job_mut(batch)?.refused = None;
        self.send(batch, &transaction, "reveal", fee_sat, view, node, driver)
    }

    fn sweep(
        &mut self,
        batch: u64,
        index: usize,
        fee_sat: u64,
        view: &View,
        node: &dyn Node,
        driver: &mut dyn Driver,
    ) -> Result<(), ServiceError> {
        let tip = view.tip;
        let generation = self.generation(batch, index)?;
        let sweep = match &self.signer {
            Signer::Key(key) if generation.sweeps.len() < ATTEMPTS_MAX => {
                generation.sign_sweep(key, fee_sat, tip.height)?
            }
            _ => {
                let hold = Hold::SweepAwaitsSignature(generation.commit.compute_txid());
                if !generation.sweeps.is_empty() && generation.broadcast != Some(tip.hash) {
                    self.resend_sweep(batch, index, view, node, driver)?;
                }
                self.job_mut(batch)?.refused = refused(tip.hash, hold);
                return Ok(());
            }
        };
        if let Some(hold) = judge(node, std::slice::from_ref(&sweep.transaction))? {
            self.job_mut(batch)?.refused = refused(tip.hash, hold);
            return Ok(());
        }
        let transaction = sweep.transaction.clone();
        self.change(batch, index, "", driver, |generation| {
            generation.sweeps.push(sweep);
            generation.broadcast = Some(tip.hash);
        })?;
        self.send(batch, &transaction, "sweep", fee_sat, view, node, driver)
    }

    fn resend_sweep(
        &mut self,
        batch: u64,
        index: usize,
        view: &View,
        node: &dyn Node,
        driver: &mut dyn Driver,
    ) -> Result<(), ServiceError> {
        let tip = view.tip.hash;
        let Some(generation) = self.job_mut(batch)?.generations.get_mut(index) else { return Ok(()) };
        generation.broadcast = Some(tip);
        let Some(sweep) = generation.sweeps.last().cloned() else { return Ok(()) };
        self.send(batch, &sweep.transaction, "sweep", sweep.fee_sat, view, node, driver)
    }

    /// Hands a transaction over; a refusal is remembered until the next tip.
    #[expect(clippy::too_many_arguments, reason = "one place that sends, for all kinds of transactions")]
    fn send(
        &mut self,
        batch: u64,
        transaction: &Transaction,
        what: &'static str,
        fee_sat: u64,
        view: &View,
        node: &dyn Node,
        driver: &mut dyn Driver,
    ) -> Result<(), ServiceError> {
        step(driver, Step::BeforeSend)?;
        match node.send(transaction) {
            Ok(_) => driver.note(&Note::Sent { batch, txid: transaction.compute_txid(), what, fee_sat }),
            Err(NodeError::Rejected { txid, rejection }) => {
                let hold = Hold::Refused { txid, reason: rejection.reason };
                self.job_mut(batch)?.refused = Some(Failed { tip: view.tip.hash, hold, is_of_sending: true });
            }
            Err(error) => return Err(error.into()),
        }
        step(driver, Step::AfterSend)
    }
}

/// Asks whether the node would take transactions that spend from one another, without handing them over.
fn judge(node: &dyn Node, transactions: &[Transaction]) -> Result<Option<Hold>, ServiceError> {
    let verdicts = node.test_accept(transactions)?;
    // A package with a known member is not judged as a whole, but what remains of it can be.
    if transactions.len() > 1 && verdicts.first().is_some_and(Acceptance::is_known) {
        return judge(node, &transactions[1..]);
    }
    // Where one is refused, the node may leave the others unjudged: the refusal is the reason to tell.
    let rejected = transactions.iter().zip(&verdicts).find_map(|(transaction, verdict)| match verdict {
        Acceptance::Rejected(rejection) => Some((transaction, rejection.reason.clone())),
        _ => None,
    });
    let unjudged = || {
        let mut all = transactions.iter().zip(&verdicts);
        let (transaction, _) = all.find(|(_, verdict)| **verdict == Acceptance::NotJudged)?;
        Some((transaction, "the node did not judge it".to_owned()))
    };
    Ok(rejected
        .or_else(unjudged)
        .map(|(transaction, reason)| Hold::Refused { txid: transaction.compute_txid(), reason }))
}
