//! Who collects the fees of a batch.
//!
//! Fees go to the cell that the batch names. A default that is somebody else's cell would give them away, so without
//! a name it is a cell that the wallet's own keys own, and if there is none, nothing is applied.

use super::BatchCommand;
use crate::cli::{
    Global,
    failure::{Exit, Failure, Fallible, Result},
    session::{ledger_failure, sequencer_failure},
};
use taproof_circuits::transaction::Transaction;
use taproof_rollup::sequencer::{Draft, Fees, Sequencer, SequencerError};
use taproof_verifier::{baby_jubjub::PublicKey, cell::CellIndex};
use taproof_wallet::{Wallet, WalletError};

/// How many of the wallet's owner's keys are looked for.
const KEYS_COUNT: u32 = 20;

const ADVICE: &str = "\
    fees go to the cell that --operator names, or to one that a key of the wallet owns: make a deposit to such a key, \
    or name a cell; nothing was applied";

impl BatchCommand {
    /// The account that collects the fees of what waits, of new transactions, and of exits; none if there are no
    /// fees, or if they are those of exits, which go back to who pays them, and the wallet has no account.
    pub(super) fn collector(
        &self,
        sequencer: &Sequencer<'_>,
        draft: &Draft,
        new: &[Transaction],
        global: &Global,
    ) -> Result<Option<CellIndex>> {
        let fees = sequencer.fees(draft, new).map_err(ledger_failure)?;
        if fees == Fees::None {
            return Ok(None);
        }
        if let Some(cell) = self.operator {
            return match sequencer.collects(draft, cell).map_err(ledger_failure)? {
                true => Ok(Some(cell)),
                false => Err(sequencer_failure(SequencerError::NoAccount(cell))),
            };
        }
        let found = self.wallet.open(global).and_then(|wallet| owners(&wallet));
        let nobody = match found {
            Ok(owners) => match sequencer.first_owned(draft, &owners).map_err(ledger_failure)? {
                Some(cell) => return Ok(Some(cell)),
                None => Failure::new(
                    Exit::Input,
                    "there are fees, and the wallet's keys own no cell that could collect them",
                ),
            },
            Err(failure) => failure,
        };
        match fees {
            Fees::OfTransactions => Err(nobody.advise(ADVICE)),
            Fees::OfExits | Fees::None => Ok(None),
        }
    }
}

/// The wallet's owner's keys, in the order of their numbers.
fn owners(wallet: &Wallet) -> Result<Vec<PublicKey>> {
    let key = |index| Ok(*wallet.owner_key(0, index)?.public());
    (0..KEYS_COUNT).map(key).collect::<std::result::Result<_, WalletError>>().or_exit(Exit::Input)
}
