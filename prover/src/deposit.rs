//! Transactions that make deposits: paid by the wallet's coins, as any user could.

use crate::{
    anchor::{FeeRate, Funding},
    regtest,
    wallet::PosterKey,
};
use bitcoin::{
    Amount, ScriptBuf, Sequence, TapSighashType, Transaction, TxIn, TxOut, Witness,
    absolute::LockTime,
    key::{Secp256k1, TapTweak},
    secp256k1::Message,
    sighash::{Prevouts, SighashCache},
    taproot,
    transaction::Version,
};
use taproof_verifier::{deposit::Deposit, follow::Params};

/// The most deposits of one transaction, so that nodes relay it.
pub const DEPOSITS_PER_TRANSACTION_MAX: usize = 500;

/// Why deposits cannot be paid.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PayError {
    /// More deposits than one transaction may have.
    #[error("{0} deposits, where one transaction has at most {DEPOSITS_PER_TRANSACTION_MAX}")]
    TooMany(usize),
    /// The coins do not suffice.
    #[error("the deposits and their fee take {needed_sat} sat, the wallet has {available_sat} sat")]
    InsufficientFunds {
        /// Amounts and fee.
        needed_sat: u128,
        /// The sum of all coins.
        available_sat: u64,
    },
    /// What was built breaks a rule of Bitcoin.
    #[error("the transaction does not hold")]
    Script(#[from] regtest::TransactionError),
}

/// Builds and signs a transaction that pays deposits from the wallet's taproot coins, and returns the rest to the wallet.
///
/// # Errors
/// Each of [`PayError`].
pub fn pay(
    deposits: &[Deposit],
    params: &Params,
    coins: &[Funding],
    wallet: &PosterKey,
    fee_rate: FeeRate,
) -> Result<Transaction, PayError> {
    if deposits.len() > DEPOSITS_PER_TRANSACTION_MAX {
        return Err(PayError::TooMany(deposits.len()));
    }
    let script_pubkey = wallet.script_pubkey();
    let outputs = deposits.iter().flat_map(|deposit| deposit.outputs(&params.bridge, params.deposit_magic));
    let change = TxOut { value: Amount::ZERO, script_pubkey: script_pubkey.clone() };
    let mut transaction = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: Vec::new(),
        output: outputs.chain([change]).collect(),
    };
    let paid_sat: u128 = deposits.iter().map(|deposit| u128::from(deposit.amount_sat)).sum();
    let dust = script_pubkey.minimal_non_dust();
    let mut spent: Vec<TxOut> = Vec::new();
    let mut available_sat = 0u64;
    let mut needed_sat = paid_sat;
    let mut own: Vec<&Funding> = coins.iter().filter(|coin| coin.output.script_pubkey == script_pubkey).collect();
    own.sort_by_key(|coin| (std::cmp::Reverse(coin.output.value), coin.outpoint));
    for coin in own {
        transaction.input.push(TxIn {
            previous_output: coin.outpoint,
            script_sig: ScriptBuf::new(),
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
            // As long as the signature that takes its place.
            witness: Witness::from_slice(&[[0; 64]]),
        });
        spent.push(coin.output.clone());
        available_sat = available_sat.saturating_add(coin.output.value.to_sat());
        needed_sat = paid_sat + u128::from(fee_rate.fee(transaction.weight()).to_sat());
        let change = u128::from(available_sat).checked_sub(needed_sat).and_then(|rest| u64::try_from(rest).ok());
        if let Some(change) = change.map(Amount::from_sat).filter(|change| *change >= dust) {
            transaction.output.last_mut().expect("change is the last output").value = change;
            sign(&mut transaction, &spent, wallet);
            regtest::check_scripts(&transaction, &spent)?;
            return Ok(transaction);
        }
    }
    Err(PayError::InsufficientFunds { needed_sat: needed_sat + u128::from(dust.to_sat()), available_sat })
}

fn sign(transaction: &mut Transaction, spent: &[TxOut], wallet: &PosterKey) {
    let secp = Secp256k1::new();
    let pair = wallet.pair().tap_tweak(&secp, None).to_keypair();
    let sighash_type = TapSighashType::Default;
    let witnesses: Vec<Witness> = {
        let mut cache = SighashCache::new(&*transaction);
        let mut witness = |input| {
            let sighash = cache.taproot_key_spend_signature_hash(input, &Prevouts::All(spent), sighash_type);
            let message = Message::from(sighash.expect("every spent output is given"));
            let signature = secp.sign_schnorr_no_aux_rand(&message, &pair);
            Witness::p2tr_key_spend(&taproot::Signature { signature, sighash_type })
        };
        (0..spent.len()).map(&mut witness).collect()
    };
    transaction.input.iter_mut().zip(witnesses).for_each(|(input, witness)| input.witness = witness);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{regtest::RegtestChain, wallet::Wallet};
    use bitcoin::Network;
    use taproof_circuits::schnorr::SecretKey;
    use taproof_verifier::{
        cell::{ChainId, Depth},
        envelope::Magic,
        headers::BlockId,
        program::ProgramId,
    };

    fn wallet() -> PosterKey {
        Wallet::from_seed(&[5; 32], Network::Regtest).unwrap().poster_key(0).unwrap()
    }

    fn params() -> Params {
        Params {
            network: Network::Regtest,
            chain_id: ChainId(1),
            magic: Magic(*b"tptr"),
            deposit_magic: Magic(*b"tpdp"),
            genesis_depth: Depth::new(1).unwrap(),
            bridge: ScriptBuf::from(vec![0x51]),
            start: BlockId { height: 0, hash: RegtestChain::new().tip_hash() },
            final_depth_blocks: 6,
            program_id: ProgramId::from_byte_array([0; 32]),
        }
    }

    fn deposit(amount_sat: u64, seed: u8) -> Deposit {
        Deposit { amount_sat, owner: *SecretKey::from_seed(&[seed; 32]).public() }
    }

    fn coins(chain: &RegtestChain, script: &bitcoin::Script) -> Vec<Funding> {
        let coins = chain.spendable_coins(script).into_iter();
        coins.map(|(outpoint, coin)| Funding { outpoint, output: coin.output }).collect()
    }

    #[test]
    fn a_block_takes_the_deposits_and_the_scan_finds_them() {
        let (wallet, params) = (wallet(), params());
        let mut chain = RegtestChain::new();
        chain.mine_empty(103, &wallet.script_pubkey()).unwrap();
        let deposits = [deposit(6_000_000_000, 1), deposit(1, 2), deposit(0, 1)];
        let rate = FeeRate::from_sat_per_kvb(2_000).unwrap();
        let transaction = pay(&deposits, &params, &coins(&chain, &wallet.script_pubkey()), &wallet, rate).unwrap();
        assert_eq!(transaction.input.len(), 2, "coins are taken as needed");
        let facts = chain.check_transactions(std::slice::from_ref(&transaction)).unwrap();
        assert_eq!(facts[0].fee_sat, rate.fee(transaction.weight()).to_sat());
        chain.mine(&[transaction], &wallet.script_pubkey()).unwrap();
        let scanned = Deposit::scan(&chain.tip().txdata[1], &params.bridge, params.deposit_magic);
        let scanned: Vec<Deposit> = scanned.into_iter().map(|(_, deposit)| deposit).collect();
        assert_eq!(scanned, deposits);
    }

    #[test]
    fn missing_coins_and_too_many_deposits_are_named() {
        let (wallet, params) = (wallet(), params());
        let mut chain = RegtestChain::new();
        chain.mine_empty(101, &wallet.script_pubkey()).unwrap();
        let coins = coins(&chain, &wallet.script_pubkey());
        let rate = FeeRate::MIN;
        let error = pay(&[deposit(u64::MAX, 1), deposit(1, 2)], &params, &coins, &wallet, rate).unwrap_err();
        assert!(matches!(error, PayError::InsufficientFunds { available_sat: 5_000_000_000, .. }), "{error:?}");
        let many = vec![deposit(1, 1); DEPOSITS_PER_TRANSACTION_MAX + 1];
        assert!(matches!(pay(&many, &params, &coins, &wallet, rate), Err(PayError::TooMany(501))));
    }
}
