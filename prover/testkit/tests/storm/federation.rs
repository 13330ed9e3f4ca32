//! The signers of the bridge, each with a watch of its own that is as old as it happens to be, and whoever of them
//! coordinates.

use super::{Afloat, Storm, rate};
use bitcoin::{OutPoint, Psbt, Transaction};
use rand::Rng;
use std::collections::HashMap;
use taproof_bitcoin::{
    anchor::Funding,
    bridge::{
        check::{CheckError, CheckedLink, FeeBounds, SignerView},
        link::MAX_LINK_WEIGHT_WU,
        plan::{Plan, PlanError, PlanRequest, plan, sign_fee_inputs},
        scan::BridgeScan,
        sign::combine,
    },
    node::{Node, Unspent},
};

pub(super) const SIGNERS: usize = 3;
/// Drafts that are older are forgotten.
const DRAFTS_MAX: usize = 8;

impl Storm {
    /// A signer looks at the chain.
    pub(super) fn look(&mut self, signer: usize) {
        self.signers[signer].catch_up(&self.node).expect("the node's chain");
    }

    fn plan(
        &self,
        scan: &BridgeScan,
        funding: &[Funding],
        payouts_max: u32,
        deposits_max: usize,
    ) -> Result<Plan, PlanError> {
        plan(&PlanRequest {
            scan,
            fee_rate: rate("2"),
            funding,
            fee_change: self.purse_key.script_pubkey(),
            payouts_max,
            deposits_max,
            weight_max_wu: MAX_LINK_WEIGHT_WU,
            exposed: true,
            origins: Default::default(),
        })
    }

    /// A signer coordinates, by its own view, which may be new.
    pub(super) fn draft(&mut self) {
        let signer = self.rng.gen_range(0..SIGNERS);
        if self.rng.gen_bool(0.5) {
            self.look(signer);
        }
        let (payouts_max, deposits_max) = (self.rng.gen_range(1..8), self.rng.gen_range(0..6));
        let coin = self.coin();
        match self.plan(self.signers[signer].scan(), std::slice::from_ref(&coin), payouts_max, deposits_max) {
            Ok(mut planned) => {
                sign_fee_inputs(&mut planned.psbt, &self.purse_key);
                self.drafts.push(vec![planned.psbt]);
                if self.drafts.len() > DRAFTS_MAX {
                    self.drafts.remove(0);
                }
            }
            Err(_) => self.purse.push(coin),
        }
    }

    fn check_link(&self, psbt: &Psbt, scan: &BridgeScan) -> Result<CheckedLink, CheckError> {
        let outpoints = psbt.unsigned_tx.input.iter().map(|input| input.previous_output);
        let known = |outpoint: OutPoint| Some((outpoint, self.node.unspent(&outpoint).ok()??));
        let fee_coins: HashMap<OutPoint, Unspent> =
            outpoints.filter(|outpoint| scan.coin(outpoint).is_none()).filter_map(known).collect();
        let fee_bounds = FeeBounds { min: rate("1"), max: rate("100") };
        CheckedLink::check(psbt.clone(), &SignerView { scan, fee_coins: &fee_coins, fee_bounds })
    }

    /// A signer signs a draft, more often than not the last one, if it can by its own view; with enough signatures
    /// the link is on its way.
    pub(super) fn sign(&mut self) {
        let Some(last) = self.drafts.len().checked_sub(1) else { return };
        let draft = if self.rng.gen_bool(0.6) { last } else { self.rng.gen_range(0..=last) };
        let signer = self.rng.gen_range(0..SIGNERS);
        if self.rng.gen_bool(0.3) {
            self.look(signer);
        }
        let checked = match self.check_link(&self.drafts[draft][0], self.signers[signer].scan()) {
            Ok(checked) => checked,
            Err(_) => {
                self.tally.refused_by_signers += 1;
                return;
            }
        };
        let signed = checked.sign(&self.signer_keys[signer], self.params.bridge()).expect("a signer");
        self.drafts[draft].push(signed);
        let Ok((link, _)) = combine(self.drafts[draft].clone(), self.params.bridge()) else { return };
        self.launch(link);
    }

    fn launch(&mut self, link: Transaction) {
        self.books.check_signed(&link);
        let txid = link.compute_txid();
        let place = link.input[0].previous_output;
        let rivals = self.links_for.entry(place).or_default();
        if !rivals.contains(&txid) {
            rivals.push(txid);
            self.tally.rival_links += u64::from(rivals.len() == 2);
            self.sea.push(Afloat { transaction: link, since: self.node.chain().height() });
        }
    }

    /// All signers look and sign; what is due is paid. Gives whether there was anything to pay.
    pub(super) fn pay_out(&mut self) -> bool {
        (0..SIGNERS).for_each(|signer| self.look(signer));
        if self.truth.scan.unpaid().next().is_none() {
            return false;
        }
        let coin = self.coin();
        let mut planned = self.plan(&self.truth.scan, &[coin], 100, 100).expect("the bridge holds what it owes");
        sign_fee_inputs(&mut planned.psbt, &self.purse_key);
        let absent = self.rng.gen_range(0..SIGNERS);
        let signed = (0..SIGNERS).filter(|signer| *signer != absent);
        let signed = signed.map(|signer| {
            let checked = self.check_link(&planned.psbt, self.signers[signer].scan()).expect("an honest link");
            checked.sign(&self.signer_keys[signer], self.params.bridge()).expect("a signer")
        });
        let (link, _) = combine(signed.collect(), self.params.bridge()).expect("two signatures");
        self.launch(link);
        true
    }
}
