//! Carries actions out. What is about to be handed over is stored first; handing over twice does no harm.

use super::{Driver, Note, Service, ServiceError, Step, step, store, watch};
use crate::{
    anchor::{FeeRate, Funding},
    anchoring::{
        Action, Attempt, BatchSource, Generation, GenerationView, Hold, Inputs, Job, Place, Sweep, View, build,
        codec::{ATTEMPTS_MAX, GENERATIONS_MAX},
        error::hold_of,
        fees::{FeeRange, Fees},
        job::Failed,
        view::Fate,
    },
    coins::{Busy, Purpose, Purse, Reservation, SpendError, own_coins},
    node::{Acceptance, Node, NodeError, RejectClass, Rejection},
};
use bitcoin::{Transaction, Txid};
use taproof_wallet::PosterKey;

/// What an action works with.
pub(super) struct Scene<'a> {
    pub(super) batch: u64,
    pub(super) view: &'a View,
    pub(super) node: &'a dyn Node,
    pub(super) driver: &'a mut dyn Driver,
}

impl Scene<'_> {
    /// What is seen of a generation.
    fn seen(&self, index: usize) -> Option<&GenerationView> {
        self.view.generations.get(index)
    }

    /// Whether a generation's commit is neither in the pool nor in a block.
    fn lacks_commit(&self, index: usize) -> bool {
        self.seen(index).is_some_and(|seen| seen.commit == Place::Nowhere)
    }
}

/// A transaction on its way to the node.
struct Parcel {
    transaction: Transaction,
    what: &'static str,
    fee_sat: u64,
    is_sweep: bool,
}

impl Parcel {
    fn commit(generation: &Generation) -> Self {
        Self {
            transaction: generation.commit.clone(),
            what: "commit",
            fee_sat: generation.commit_fee_sat(),
            is_sweep: false,
        }
    }

    fn reveal(attempt: &Attempt) -> Self {
        Self { transaction: attempt.transaction.clone(), what: "reveal", fee_sat: attempt.fee_sat, is_sweep: false }
    }

    fn sweep(sweep: &Sweep) -> Self {
        Self { transaction: sweep.transaction.clone(), what: "sweep", fee_sat: sweep.fee_sat, is_sweep: true }
    }
}

/// How transactions that spend from one another enter the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Each by itself.
    Singly,
    /// The first pays too little by itself: the second has to pay for both.
    AsPackage,
}

impl<S: BatchSource> Service<S> {
    pub(super) fn act(&mut self, action: Action, scene: &mut Scene<'_>) -> Result<(), ServiceError> {
        match action {
            Action::Build { fee_rate } => self.build(fee_rate, scene),
            Action::SendCommit { generation, attempt } => self.send_commit(generation, attempt, scene),
            Action::SendReveal { generation, attempt } => self.send_reveal(generation, attempt, scene),
            Action::Rebroadcast { generation } => self.rebroadcast(generation, scene),
            Action::Bump { generation, range } => self.bump(generation, range, scene),
            Action::Sweep { generation, fee_sat } => self.sweep(generation, fee_sat, scene),
            Action::ResendSweep { generation } => self.resend_sweep(generation, scene),
        }
    }

    fn job_mut(&mut self, batch: u64) -> Result<&mut Job, ServiceError> {
        self.jobs.get_mut(&batch).ok_or(ServiceError::NoSuchBatch(batch))
    }

    fn generation(&self, batch: u64, index: usize) -> Result<&Generation, ServiceError> {
        let generation = self.jobs.get(&batch).and_then(|job| job.generations.get(index));
        generation.ok_or(ServiceError::NoSuchBatch(batch))
    }

    /// What failed is not tried again before the next tip.
    fn refuse(&mut self, hold: Hold, is_of_sending: bool, scene: &Scene<'_>) -> Result<(), ServiceError> {
        self.job_mut(scene.batch)?.refused = Some(Failed { tip: scene.view.tip.hash, hold, is_of_sending });
        Ok(())
    }

    /// A sweep that failed is not tried again before the next tip, and holds up nothing else.
    fn refuse_sweep(&mut self, hold: Hold, scene: &Scene<'_>) -> Result<(), ServiceError> {
        let failed = Failed { tip: scene.view.tip.hash, hold, is_of_sending: false };
        self.job_mut(scene.batch)?.sweep_refused = Some(failed);
        Ok(())
    }

    fn refuse_parcel(&mut self, parcel: &Parcel, refusal: NodeRefusal, scene: &Scene<'_>) -> Result<(), ServiceError> {
        if parcel.is_sweep {
            self.refuse_sweep(refusal.into(), scene)
        } else {
            self.refuse(refusal.into(), true, scene)
        }
    }

    /// Changes a generation and stores the job, in the state that this makes.
    fn change(
        &mut self,
        index: usize,
        reason: &str,
        scene: &mut Scene<'_>,
        change: impl FnOnce(&mut Generation),
    ) -> Result<(), ServiceError> {
        let (batch, height, now) = (scene.batch, self.follower.scanned().height, scene.driver.unix_seconds());
        let job = self.jobs.get_mut(&batch).ok_or(ServiceError::NoSuchBatch(batch))?;
        let generation = job.generations.get_mut(index).ok_or(ServiceError::NoSuchBatch(batch))?;
        change(generation);
        let state = generation.progress();
        // Sweeps change no state; they are of generations that the batch left behind.
        let transition = if generation.sweeps.is_empty() { job.move_to(state, height, now, reason) } else { None };
        store(&self.store, job, scene.driver)?;
        if let Some(transition) = &transition {
            scene.driver.note(&Note::Moved { batch, transition });
        }
        Ok(())
    }

    fn build(&mut self, fee_rate: FeeRate, scene: &mut Scene<'_>) -> Result<(), ServiceError> {
        let (batch, view, node) = (scene.batch, scene.view, scene.node);
        let Some(payload) = self.wanted_payload(batch)? else { return Ok(()) };
        let own = self.reserved(Some(batch), node)?;
        let (taken, coins): (Vec<Funding>, Vec<Funding>) = own_coins(node, &self.signer.scripts())?
            .into_iter()
            .partition(|coin| own.iter().any(|kept| kept.outpoint == coin.outpoint));
        let final_depth_blocks = self.config.final_depth_blocks;
        let purse = Purse { store: &self.coin_store, node, final_depth_blocks };
        let built = purse.spend(&coins, Purpose::Anchor { batch }, |coins| {
            let (identity, signer) = (self.store.identity(), &self.signer);
            let built = build::generation(&payload, identity, signer, fee_rate, &self.config, &view.fees, coins);
            built.map(|generation| (generation.clone(), generation.commit))
        });
        let generation = match built {
            Ok(generation) => generation,
            Err(SpendError::Build { error, mut busy }) => {
                let taken = own.into_iter().filter(|kept| taken.iter().any(|coin| coin.outpoint == kept.outpoint));
                busy.extend(taken.map(Busy::Kept));
                return self.refuse(hold_of(&error, busy), false, scene);
            }
            Err(SpendError::Node(error)) => return Err(error.into()),
            Err(SpendError::Store(error)) => return Err(error.into()),
        };
        let job = self.jobs.get_mut(&batch).ok_or(ServiceError::NoSuchBatch(batch))?;
        // What nobody has seen needs no memory.
        job.generations.retain(|generation| generation.commit_sent.is_some());
        if job.generations.len() >= GENERATIONS_MAX {
            let hold = Hold::NotBuilt(format!("{GENERATIONS_MAX} commits were sent for this batch"));
            return self.refuse(hold, false, scene);
        }
        job.generations.push(generation);
        let index = job.generations.len() - 1;
        watch(&mut self.index, job);
        self.change(index, "built for the payload that the chain asks for", scene, |_| ())
    }

    /// The coins that no other anchor may spend meanwhile, but for what is built anew.
    fn reserved(&self, building: Option<u64>, node: &dyn Node) -> Result<Vec<Reservation>, ServiceError> {
        let mut reserved = Vec::new();
        let height = self.follower.scanned().height;
        for job in self.jobs.values().filter(|job| !job.is_closed) {
            for generation in job.generations() {
                let is_free = if generation.commit_sent.is_none() {
                    Some(job.batch()) == building || job.is_abandoned
                } else {
                    self.look_at(generation, node)?.fate(generation) == Fate::Dead
                };
                if is_free {
                    continue;
                }
                let (purpose, spender) = (Purpose::Anchor { batch: job.batch() }, generation.commit().compute_txid());
                let coins = generation.funding().iter().map(|coin| coin.outpoint);
                reserved.extend(coins.map(|outpoint| Reservation {
                    outpoint,
                    purpose,
                    spender,
                    height,
                    spent_since: None,
                }));
            }
        }
        Ok(reserved)
    }

    /// Keeps the coins of all anchors for them, once at every tip: other commands see them, and those of anchors that
    /// are given up or final are free.
    pub(super) fn keep_coins(&mut self, node: &dyn Node) -> Result<(), ServiceError> {
        let tip = self.follower.scanned().hash;
        if self.coins_kept != Some(tip) {
            self.coin_store.keep_for_anchors(&self.reserved(None, node)?)?;
            self.coins_kept = Some(tip);
        }
        Ok(())
    }

    fn send_commit(&mut self, index: usize, attempt: usize, scene: &mut Scene<'_>) -> Result<(), ServiceError> {
        let generation = self.generation(scene.batch, index)?;
        let Some(chosen) = generation.attempts.get(attempt) else { return Ok(()) };
        let mut parcels = vec![Parcel::commit(generation), Parcel::reveal(chosen)];
        let way = match judge(index, &parcels, scene)? {
            Ok(way) => way,
            Err((hold, _)) => return self.refuse(hold, false, scene),
        };
        let height = scene.view.tip.height;
        let reason = match way {
            Way::Singly => "the gate is open: the commit is handed over",
            Way::AsPackage => "the gate is open: the commit is handed over, with the reveal that pays for it",
        };
        if way == Way::Singly {
            parcels.truncate(1);
        }
        self.store_and_send(index, reason, &parcels, scene, |generation| {
            generation.commit_sent = Some(height);
            if way == Way::AsPackage {
                generation.attempts[attempt].sent = Some(height);
            }
        })
    }

    fn send_reveal(&mut self, index: usize, attempt: usize, scene: &mut Scene<'_>) -> Result<(), ServiceError> {
        let generation = self.generation(scene.batch, index)?;
        let Some(chosen) = generation.attempts.get(attempt) else { return Ok(()) };
        // After a crash between storing and sending, the commit may not be there yet.
        let commit = scene.lacks_commit(index).then(|| Parcel::commit(generation));
        let parcels: Vec<Parcel> = commit.into_iter().chain([Parcel::reveal(chosen)]).collect();
        if let Err((hold, is_too_cheap)) = judge(index, &parcels, scene)? {
            return self.refuse(hold, is_too_cheap, scene);
        }
        let height = scene.view.tip.height;
        self.store_and_send(index, "the reveal is handed over", &parcels, scene, |generation| {
            generation.attempts[attempt].sent = Some(height);
        })
    }

    fn rebroadcast(&mut self, index: usize, scene: &mut Scene<'_>) -> Result<(), ServiceError> {
        let is_mined = scene.seen(index).is_some_and(|seen| seen.commit.is_mined());
        let generation = self.generation(scene.batch, index)?;
        let commit = (!is_mined).then(|| Parcel::commit(generation));
        let latest = generation.latest_sent().map(|(_, latest)| Parcel::reveal(latest));
        let parcels: Vec<Parcel> = commit.into_iter().chain(latest).collect();
        self.repeat(index, &parcels, scene)
    }

    /// The key that signs reveals and sweeps of a generation, where it is at hand: an earlier run may have had another.
    fn key_of(&self, generation: &Generation) -> Option<&PosterKey> {
        self.signer.leaf_key().filter(|key| key.public() == generation.envelope.poster())
    }

    fn bump(&mut self, index: usize, range: FeeRange, scene: &mut Scene<'_>) -> Result<(), ServiceError> {
        let height = scene.view.tip.height;
        let generation = self.generation(scene.batch, index)?;
        let (position, attempt) = match self.key_of(generation) {
            Some(key) if generation.attempts.len() < ATTEMPTS_MAX => {
                let attempt = generation.sign_attempt(self.store.identity(), key, range.aim_sat, Some(height))?;
                (generation.attempts.len(), attempt)
            }
            _ => match generation.rung(&range) {
                Some(position) => (position, generation.attempts[position].clone()),
                None => return self.refuse(Hold::LadderUsed { needed_sat: range.min_sat }, false, scene),
            },
        };
        let commit = scene.lacks_commit(index).then(|| Parcel::commit(generation));
        let parcels: Vec<Parcel> = commit.into_iter().chain([Parcel::reveal(&attempt)]).collect();
        if let Err((hold, _)) = judge(index, &parcels, scene)? {
            return self.refuse(hold, false, scene);
        }
        let reason = format!("the reveal's fee is raised to {} sat", attempt.fee_sat);
        let job = self.job_mut(scene.batch)?;
        (job.bump, job.refused) = (None, None);
        self.store_and_send(index, &reason, &parcels, scene, |generation| match generation.attempts.get_mut(position) {
            Some(rung) => rung.sent = Some(height),
            None => generation.attempts.push(attempt),
        })
    }

    fn sweep(&mut self, index: usize, fee_sat: u64, scene: &mut Scene<'_>) -> Result<(), ServiceError> {
        let tip = scene.view.tip;
        let generation = self.generation(scene.batch, index)?;
        let sweep = match self.key_of(generation) {
            Some(key) if generation.sweeps.len() < ATTEMPTS_MAX => {
                generation.sign_sweep(self.store.identity(), key, fee_sat, tip.height)?
            }
            _ => {
                let weight = crate::anchor::sweep_weight(self.signer.scripts().script_pubkey());
                let rate = Fees::rate_of(fee_sat, weight.to_wu().div_ceil(4));
                let hold = Hold::SweepAwaitsSignature { commit: generation.commit.compute_txid(), rate };
                if !generation.sweeps.is_empty() && generation.broadcast != Some(tip.hash) {
                    self.resend_sweep(index, scene)?;
                }
                return self.refuse_sweep(hold, scene);
            }
        };
        let parcels = [Parcel::sweep(&sweep)];
        if let Err((hold, _)) = judge(index, &parcels, scene)? {
            return self.refuse_sweep(hold, scene);
        }
        self.store_and_send(index, "", &parcels, scene, |generation| generation.sweeps.push(sweep))
    }

    fn resend_sweep(&mut self, index: usize, scene: &mut Scene<'_>) -> Result<(), ServiceError> {
        let latest = self.generation(scene.batch, index)?.sweeps.last().map(Parcel::sweep);
        self.repeat(index, latest.as_slice(), scene)
    }

    /// Notes in the store what is about to be handed over for the first time, and hands it over.
    fn store_and_send(
        &mut self,
        index: usize,
        reason: &str,
        parcels: &[Parcel],
        scene: &mut Scene<'_>,
        change: impl FnOnce(&mut Generation),
    ) -> Result<(), ServiceError> {
        let tip = scene.view.tip.hash;
        self.change(index, reason, scene, |generation| {
            change(generation);
            generation.broadcast = Some(tip);
        })?;
        self.hand_over(index, parcels, scene)
    }

    /// Hands over again. A repetition is no news: it is remembered for this run, and not stored.
    fn repeat(&mut self, index: usize, parcels: &[Parcel], scene: &mut Scene<'_>) -> Result<(), ServiceError> {
        let tip = scene.view.tip.hash;
        if let Some(generation) = self.job_mut(scene.batch)?.generations.get_mut(index) {
            generation.broadcast = Some(tip);
        }
        self.hand_over(index, parcels, scene)
    }

    /// Hands transactions over, each after the one that it spends from: singly, or together where the first pays too
    /// little. A refusal is remembered until the next tip, and ends it.
    fn hand_over(&mut self, index: usize, parcels: &[Parcel], scene: &mut Scene<'_>) -> Result<(), ServiceError> {
        for (position, parcel) in parcels.iter().enumerate() {
            step(scene.driver, Step::BeforeSend)?;
            let mut refusal = send(parcel, scene)?;
            let is_too_cheap = refusal.as_ref().is_some_and(|refusal| is_too_cheap(index, &refusal.rejection, scene));
            if let Some(child) = parcels.get(position + 1).filter(|_| is_too_cheap) {
                refusal = send_package(parcel, child, scene)?;
                step(scene.driver, Step::AfterSend)?;
                return refusal.map_or(Ok(()), |refusal| self.refuse_parcel(parcel, refusal, scene));
            }
            step(scene.driver, Step::AfterSend)?;
            if let Some(refusal) = refusal {
                return self.refuse_parcel(parcel, refusal, scene);
            }
        }
        Ok(())
    }
}

/// A transaction that the node refuses.
struct NodeRefusal {
    txid: Txid,
    rejection: Rejection,
}

impl From<NodeRefusal> for Hold {
    fn from(refusal: NodeRefusal) -> Self {
        Self::Refused { txid: refusal.txid, reason: refusal.rejection.reason }
    }
}

fn send(parcel: &Parcel, scene: &mut Scene<'_>) -> Result<Option<NodeRefusal>, ServiceError> {
    match scene.node.send(&parcel.transaction) {
        Ok(_) => {
            note_sent(parcel, scene);
            Ok(None)
        }
        Err(NodeError::Rejected { txid, rejection }) => Ok(Some(NodeRefusal { txid, rejection })),
        Err(error) => Err(error.into()),
    }
}

/// Hands over a transaction that the next one pays for; the refusal that says the most, if there is any.
fn send_package(parent: &Parcel, child: &Parcel, scene: &mut Scene<'_>) -> Result<Option<NodeRefusal>, ServiceError> {
    let verdicts = scene.node.send_package(&parent.transaction, &child.transaction)?;
    let mut refusals = Vec::new();
    for (parcel, verdict) in [parent, child].into_iter().zip(verdicts) {
        match verdict {
            Ok(_) => note_sent(parcel, scene),
            Err(rejection) => refusals.push(NodeRefusal { txid: parcel.transaction.compute_txid(), rejection }),
        }
    }
    // Without its parent a child has no inputs, which says nothing; what it lacks in fees it lacks for both.
    Ok(refusals.into_iter().rev().max_by_key(|refusal| refusal.rejection.class == RejectClass::FeeTooLow))
}

fn note_sent(parcel: &Parcel, scene: &mut Scene<'_>) {
    let (batch, txid) = (scene.batch, parcel.transaction.compute_txid());
    scene.driver.note(&Note::Sent { batch, txid, what: parcel.what, fee_sat: parcel.fee_sat });
}

/// Whether what the node refuses would enter with a child that pays for it. Whatever else spends the commit's coins
/// is not replaced that way.
fn is_too_cheap(index: usize, rejection: &Rejection, scene: &Scene<'_>) -> bool {
    let is_free = scene.seen(index).is_some_and(|seen| seen.inputs == Inputs::Good);
    rejection.class == RejectClass::FeeTooLow && is_free
}

/// Asks whether the node would take transactions that spend from one another, without handing them over. If not, why,
/// and whether a higher fee may help. A package that pays together is not judged by nodes before it is sent.
fn judge(index: usize, parcels: &[Parcel], scene: &Scene<'_>) -> Result<Result<Way, (Hold, bool)>, ServiceError> {
    let transactions: Vec<Transaction> = parcels.iter().map(|parcel| parcel.transaction.clone()).collect();
    let verdicts = scene.node.test_accept(&transactions)?;
    // A package with a known member is not judged as a whole, but what remains of it can be.
    if parcels.len() > 1 && verdicts.first().is_some_and(Acceptance::is_known) {
        return judge(index, &parcels[1..], scene);
    }
    // Where one is refused, the node may leave the others unjudged: the refusal is the reason to tell.
    let rejected = verdicts.iter().enumerate().find_map(|(position, verdict)| match verdict {
        Acceptance::Rejected(rejection) => Some((position, rejection.clone())),
        _ => None,
    });
    let unjudged = || {
        let position = verdicts.iter().position(|verdict| *verdict == Acceptance::NotJudged)?;
        Some((position, Rejection { class: RejectClass::Policy, reason: "the node did not judge it".to_owned() }))
    };
    Ok(match rejected.or_else(unjudged) {
        None => Ok(Way::Singly),
        Some((0, rejection)) if parcels.len() > 1 && is_too_cheap(index, &rejection, scene) => Ok(Way::AsPackage),
        Some((position, rejection)) => {
            let is_too_cheap = rejection.class == RejectClass::FeeTooLow;
            let refusal = NodeRefusal { txid: transactions[position].compute_txid(), rejection };
            Err((refusal.into(), is_too_cheap))
        }
    })
}
