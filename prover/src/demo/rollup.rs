//! The demo's rollup: its chain, its wallet and its follower.

use super::{DemoError, DemoOptions};
use bitcoin::{Amount, Network};
use taproof_base::progress::Progress;
use taproof_bitcoin::{
    anchor::{self, AnchorArtefact, AnchorRequest, Funding},
    follow::{catch_up, start},
    node::{EmbeddedNode, Node},
    proven_batch::ProvenBatch,
    regtest::RegtestChain,
};
use taproof_kernel::proven::Proven;
use taproof_rollup::{batch::BatchFile, ledger::Ledger, workload::Workload};
use taproof_verifier::{
    bridge::Federation,
    deposit::Deposit,
    follow::{Deadlines, Event, Follower, Founding, Params, VerifiedBatch},
    headers::BlockId,
    program::Program,
    quorum::Keys,
    record::DepositRecord,
};
use taproof_wallet::{Phrase, PosterKey, Wallet, WalletError};
use tempfile::TempDir;

/// Blocks that make a block final.
const FINAL_DEPTH_BLOCKS: u32 = 6;
/// What the wallet needs beside the deposits: fees and the reveal's headroom.
const SPARE: Amount = Amount::from_sat(100_000_000);
/// The reveal's change, for raising its fee.
const HEADROOM: Amount = Amount::from_sat(100_000);
/// Blocks after which a regtest chain has no subsidy worth mining for.
const HEIGHT_MAX: u32 = 3_000;
/// Blocks after which a depositor could take a deposit back: more than the demo mines.
const REFUND_DELAY_BLOCKS: u16 = 10_000;
/// Blocks that are mined between two looks at the wallet.
const BLOCKS_PER_STEP: u32 = 20;

/// A batch that was made, proven and anchored.
#[derive(Clone, Debug)]
pub struct Anchored {
    /// The chunks with their witnesses.
    pub batch: BatchFile,
    /// Their proofs.
    pub proofs: ProvenBatch,
    /// The transactions that anchor them.
    pub anchor: AnchorArtefact,
}

/// The demo's rollup.
pub(super) struct DemoChain {
    pub(super) node: EmbeddedNode,
    pub(super) follower: Follower,
    pub(super) ledger: Ledger,
    /// The virtual size of the transactions that made the deposits.
    pub(super) deposits_vsize_vb: u64,
    wallet: PosterKey,
    /// Where the ledger is.
    _folder: TempDir,
}

/// What tells the demo's rollup from others: the signers of its bridge are keys of the wallet of these words.
pub(super) fn params(phrase: &Phrase, program: &Program, options: &DemoOptions) -> Result<Params, DemoError> {
    let wallet = Wallet::new(phrase, "", Network::Regtest);
    let signers = (0..3).map(|index| Ok(wallet.signer_key(index)?.public())).collect::<Result<_, WalletError>>()?;
    let params = Params::new(Founding {
        network: Network::Regtest,
        genesis_depth: options.depth,
        federation: Federation::new(2, signers, REFUND_DELAY_BLOCKS, 0).expect("the wallet's keys differ"),
        deposit_window_blocks: HEIGHT_MAX,
        deposit_expiry_blocks: Deadlines::EXPIRY_WINDOWS_MIN * HEIGHT_MAX,
        start: BlockId { height: 0, hash: RegtestChain::new().tip_hash() },
        final_depth_blocks: FINAL_DEPTH_BLOCKS,
        upgrade_keys: None,
        notice_blocks: 0,
        sequencer_keys: Keys::default(),
        quiet_blocks: 0,
        opening_min_sat: 0,
        program_id: program.id(),
    });
    Ok(params.expect("consistent parameters"))
}

impl DemoChain {
    /// Mines a chain, makes the workload's deposits on it from a wallet of these words, and follows it to its tip.
    pub(super) fn found(
        phrase: &Phrase,
        program: Program,
        params: Params,
        workload: &Workload,
        options: &DemoOptions,
        progress: &dyn Progress,
    ) -> Result<Self, DemoError> {
        let wallet = Wallet::new(phrase, "", Network::Regtest);
        let (refund, wallet) = (wallet.refund_key(0)?.public(), wallet.poster_key(0)?);
        let chain = RegtestChain::new();
        let mut node = EmbeddedNode::new(chain, wallet.script_pubkey());
        let needed_sat: u128 = workload.deposits.iter().map(|deposit| u128::from(deposit.amount_sat)).sum();
        mine_coins(&mut node, &wallet, needed_sat + u128::from(SPARE.to_sat()), progress)?;
        let mut deposits_vsize_vb = 0;
        for planned in &workload.deposits {
            let DepositRecord { amount_sat, owner, .. } = *planned;
            let outputs = Deposit { amount_sat, owner, refund }.outputs(params.bridge(), params.chain_id());
            let transaction = anchor::pay(outputs.into(), options.fee_rate, &coins(&node, &wallet), &wallet)?;
            deposits_vsize_vb += transaction.vsize() as u64;
            // Each deposit has a transaction of its own, as its owner would make it, and nodes relay no more than one
            // or two outputs of data in one.
            node.send(&transaction)?;
            node.mine(1)?;
        }
        let folder = tempfile::tempdir().map_err(DemoError::Scratch)?;
        let ledger = Ledger::create(&folder.path().join("ledger.redb"), params.chain_id(), params.genesis_depth)?
            .with_machines(options.machines.clone());
        let follower = start(&node, params, program)?;
        let mut rollup = Self { node, follower, ledger, deposits_vsize_vb, wallet, _folder: folder };
        rollup.catch_up()?;
        Ok(rollup)
    }

    /// Builds the anchor of a batch, publishes it and mines it.
    pub(super) fn anchor(
        &mut self,
        number: u64,
        proven: &[Proven],
        options: &DemoOptions,
    ) -> Result<Anchored, DemoError> {
        let batch = self.ledger.artefact::<BatchFile>(number)?.expect("the ledger keeps each batch that it makes");
        let program =
            self.follower.programs().get(batch.header().program_id).expect("batches are of the demo's program");
        let proofs = batch.with_proofs(proven, program.table())?;
        let payload = proofs.payload_after(self.follower.tip().payload_hash)?;
        let funding = coins(&self.node, &self.wallet);
        let request =
            AnchorRequest { payload: &payload, fee_rate: options.fee_rate, headroom: HEADROOM, funding: &funding };
        let anchor = anchor::build(&request, &self.wallet)?;
        taproof_bitcoin::node::publish(&self.node, anchor.commit(), anchor.reveal())?;
        self.node.mine(FINAL_DEPTH_BLOCKS)?;
        Ok(Anchored { batch, proofs, anchor })
    }

    /// Follows the chain to its tip and gives the one batch that was anchored.
    pub(super) fn follow(&mut self) -> Result<VerifiedBatch, DemoError> {
        let mut verified = None;
        for event in self.catch_up()? {
            match event {
                Event::Verified(batch) => verified = Some(*batch),
                Event::Ignored { refusal, .. } => return Err(DemoError::Ignored(refusal)),
                _ => {}
            }
        }
        verified.ok_or(DemoError::NotFound)
    }

    fn catch_up(&mut self) -> Result<Vec<Event>, DemoError> {
        let mut events = Vec::new();
        catch_up(&self.node, &mut self.follower, |_, event| {
            events.extend(event);
            Ok::<(), DemoError>(())
        })?;
        Ok(events)
    }
}

/// Mines until the wallet can spend as much as is needed.
fn mine_coins(
    node: &mut EmbeddedNode,
    wallet: &PosterKey,
    needed_sat: u128,
    progress: &dyn Progress,
) -> Result<(), DemoError> {
    loop {
        let coins = coins(node, wallet);
        let mined_sat: u64 = coins.iter().map(|coin| coin.output.value.to_sat()).sum();
        let total = u64::try_from(needed_sat).unwrap_or(u64::MAX);
        progress.report(mined_sat.min(total), total);
        if u128::from(mined_sat) >= needed_sat {
            return Ok(());
        }
        if node.chain().height() >= HEIGHT_MAX {
            return Err(DemoError::TooMuchMoney { needed_sat, mined_sat });
        }
        node.mine(BLOCKS_PER_STEP)?;
    }
}

fn coins(node: &EmbeddedNode, wallet: &PosterKey) -> Vec<Funding> {
    let coins = node.chain().spendable_coins(&wallet.script_pubkey()).into_iter();
    coins.map(|(outpoint, coin)| Funding { outpoint, output: coin.output }).collect()
}
