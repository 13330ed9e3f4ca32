//! Reads the [`View`] of a job: the rules first, then the node.

use super::{Service, ServiceError};
use crate::{
    anchoring::{
        BatchSource, Fees, Generation, GenerationView, Hold, Inputs, Place, Spender, Standing, StatementId, View,
    },
    node::Node,
    proven_batch::ProvenBatch,
};
use bitcoin::{BlockHash, OutPoint, Txid, hashes::Hash};
use std::collections::BTreeMap;
use taproof_verifier::{
    follow::{Follower, RuleError},
    headers::BlockId,
    payload::PayloadHash,
};

/// What the rules said of each batch at a tip: proofs are verified once a tip.
#[derive(Debug, Default)]
pub(super) struct Standings(BTreeMap<u64, (BlockHash, StatementId, Standing)>);

impl Standings {
    /// Forgets the batches before one.
    pub(super) fn forget_before(&mut self, batch: u64) {
        self.0.retain(|kept, _| *kept >= batch);
    }

    fn get(&self, batch: u64, tip: BlockHash, statement: StatementId) -> Option<&Standing> {
        let (at, of, standing) = self.0.get(&batch)?;
        (*at == tip && *of == statement).then_some(standing)
    }
}

impl<S: BatchSource> Service<S> {
    /// What is true of a batch now.
    pub(super) fn look(&mut self, batch: u64, node: &dyn Node, node_hold: Option<Hold>) -> Result<View, ServiceError> {
        let standing = self.standing(batch)?;
        let tip = self.follower.scanned();
        let job = self.jobs.get(&batch).ok_or(ServiceError::NoSuchBatch(batch))?;
        let views = job.generations().iter().map(|generation| self.look_at(generation, node));
        let generations = views.collect::<Result<_, _>>()?;
        Ok(View { tip, node_hold, standing, generations, fees: self.fees(node)? })
    }

    /// How a batch stands with the rules at the tip.
    fn standing(&mut self, batch: u64) -> Result<Standing, ServiceError> {
        if let Some(anchored) = self.index.anchored(batch) {
            return Ok(Standing::Anchored(*anchored));
        }
        let next = self.follower.tip().batches;
        if next > batch {
            return Ok(Standing::AnchoredBefore);
        }
        if next < batch {
            return Ok(Standing::Behind { next });
        }
        let tip = self.follower.scanned().hash;
        let Some(proven) = self.proven.get(&batch) else {
            return Ok(match self.unusable.get(&batch) {
                Some(reason) => Standing::Unusable(reason.clone()),
                None => Standing::Unproven,
            });
        };
        let statement = StatementId::of(proven.payload());
        if let Some(standing) = self.standings.get(batch, tip, statement) {
            return Ok(standing.clone());
        }
        let standing = match payload(&self.follower, proven)? {
            None => Standing::ReferenceAhead { height: proven.payload().header().reference_height },
            Some(payload) => match self.follower.preview(&payload, self.signer.leaf_public()) {
                Ok(()) => Standing::Next(PayloadHash::of(&payload)),
                Err(RuleError::NotSequencer { open_height, .. }) => Standing::NotSequencer { open_height },
                Err(refusal) => Standing::Refused(advice(&refusal)),
            },
        };
        self.standings.0.insert(batch, (tip, statement, standing.clone()));
        Ok(standing)
    }

    /// The payload that the chain asks for now.
    pub(super) fn wanted_payload(&self, batch: u64) -> Result<Option<Vec<u8>>, ServiceError> {
        let Some(proven) = self.proven.get(&batch) else { return Ok(None) };
        payload(&self.follower, proven)
    }

    pub(super) fn fees(&self, node: &dyn Node) -> Result<Fees, ServiceError> {
        Ok(Fees::ask(node, self.config.target_blocks)?)
    }

    /// What became of a commit and its reveals.
    pub(super) fn look_at(&self, generation: &Generation, node: &dyn Node) -> Result<GenerationView, ServiceError> {
        let txid = generation.commit().compute_txid();
        let commit = self.place(&txid, generation.output(), node)?;
        let output = self.spender(generation.output(), commit, node)?;
        let place = |txid: Txid| match output {
            Spender::Block(spender) if spender == txid => Place::Block(self.follower.scanned()),
            Spender::Pool { txid: spender, .. } if spender == txid => Place::Pool,
            _ => Place::Nowhere,
        };
        let attempts = generation.attempts().iter().map(|attempt| place(attempt.transaction.compute_txid())).collect();
        let inputs = if commit == Place::Nowhere { self.inputs(generation, node)? } else { Inputs::Good };
        Ok(GenerationView { commit, attempts, inputs, output })
    }

    fn place(&self, commit: &Txid, output: OutPoint, node: &dyn Node) -> Result<Place, ServiceError> {
        if let Some(block) = self.index.block_of(commit) {
            return Ok(Place::Block(block));
        }
        if let Some(unspent) = node.unspent(&output)? {
            // Mined before the blocks that are followed.
            let height = (self.follower.scanned().height + 1).saturating_sub(unspent.confirmations);
            let at = self.follower.headers().at(height);
            return Ok(Place::Block(at.unwrap_or(BlockId { height, hash: BlockHash::all_zeros() })));
        }
        Ok(if node.pool_entry(commit)?.is_some() { Place::Pool } else { Place::Nowhere })
    }

    fn spender(&self, output: OutPoint, commit: Place, node: &dyn Node) -> Result<Spender, ServiceError> {
        if let Some(txid) = self.index.spender(&output) {
            return Ok(Spender::Block(txid));
        }
        if commit == Place::Nowhere {
            return Ok(Spender::None);
        }
        let Some(txid) = node.pool_spender(&output)? else { return Ok(Spender::None) };
        let evicted_fee_sat = node.pool_entry(&txid)?.map_or(0, |entry| entry.descendant_fee_sat);
        Ok(Spender::Pool { txid, evicted_fee_sat })
    }

    /// What became of the coins of a commit that is neither in a block nor in the pool.
    fn inputs(&self, generation: &Generation, node: &dyn Node) -> Result<Inputs, ServiceError> {
        let mut found = Inputs::Good;
        for coin in generation.funding() {
            let outpoint = coin.outpoint;
            if let Some(txid) = self.index.spender(&outpoint) {
                return Ok(Inputs::SpentInBlock(outpoint, txid));
            }
            if node.unspent(&outpoint)?.is_none() {
                if node.pool_entry(&outpoint.txid)?.is_none() {
                    return Ok(Inputs::Missing(outpoint));
                }
                found = Inputs::Unconfirmed(outpoint);
            } else if let Some(txid) = node.pool_spender(&outpoint)? {
                found = Inputs::SpentInPool(outpoint, txid);
            }
        }
        Ok(found)
    }
}

/// The payload of a batch on the follower's tip, with the reference's hash as it is now; `None` if the chain is too
/// short for it.
fn payload(follower: &Follower, proven: &ProvenBatch) -> Result<Option<Vec<u8>>, ServiceError> {
    let height = proven.payload().header().reference_height;
    let Some(reference) = follower.headers().at(height).filter(|_| height <= follower.scanned().height) else {
        return Ok(None);
    };
    Ok(Some(proven.payload_on(follower.tip().payload_hash, reference.hash)?))
}

/// Says what a refusal means for who posts the batch.
fn advice(refusal: &RuleError) -> String {
    match refusal {
        RuleError::Opening { .. }
        | RuleError::DepositMissing { .. }
        | RuleError::DepositDiffers { .. }
        | RuleError::DepositLeftOut { .. }
        | RuleError::DepositCount { .. }
        | RuleError::RequestLeftOut(_)
        | RuleError::ReferenceTooOld { .. }
        | RuleError::StepsTooLate { .. }
        | RuleError::RootBefore
        | RuleError::ReferenceGoesBack { .. } => {
            format!("{refusal}: take the batch back with `taproof batch --take-back`, and prove it again")
        }
        _ => refusal.to_string(),
    }
}
