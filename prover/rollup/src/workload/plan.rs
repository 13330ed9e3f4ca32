//! The block's payments as deposits and signed transactions of a rollup that starts with no accounts.

use super::{BlockPayment, BlockPayments, Holder};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};
use taproof_circuits::{
    schnorr::SecretKey,
    transaction::{Open, Transaction, Transfer, UnsignedTransaction, Withdraw},
};
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{CellIndex, ChainId, Depth, Token},
    record::{DepositRecord, Destination},
};
use zeroize::Zeroizing;

/// What the operator deposits to have a cell that fees can go to.
pub const OPERATOR_DEPOSIT_SAT: u64 = 10_000;

/// How a block's payments become transactions.
#[derive(Clone, Debug)]
pub struct PlanParameters {
    /// The rollup that the transactions are for.
    pub chain_id: ChainId,
    /// The depth of its tree.
    pub depth: Depth,
    /// The fee of every transaction, in satoshi.
    pub fee_sat: u64,
    /// What opens an account at the least. Payments of less to who would have no account otherwise are passed over,
    /// and stay with who would pay them.
    pub opening_min_sat: u64,
    /// The secret that all holders' keys are derived from.
    pub seed: Zeroizing<[u8; 32]>,
    /// How many of the accounts that are paid and do not pay then withdraw all they have, to their own script. Accounts
    /// that the bridge does not pay to, or too small to be paid out, are passed over.
    pub withdrawals_max: usize,
}

/// One holder's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedAccount {
    /// Whom it stands for.
    pub holder: Holder,
    /// Where it is.
    pub cell: CellIndex,
    /// Its owner's key.
    pub owner: PublicKey,
}

/// Deposits and transactions that make a block's payments.
///
/// Everything is funded in advance and to the satoshi: each payer deposits the sum of its payments and their fees.
/// The deposits go to the first cells, the operator's to cell 0. Then come all payments to holders without an
/// account, which open one in the next cell, then the rest, as transfers; so an account exists before it is paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// The accounts, by cell, from cell 0 without a gap.
    pub accounts: Vec<PlannedAccount>,
    /// The deposits, in order.
    pub deposits: Vec<DepositRecord>,
    /// The transactions, in order: openings, transfers, withdrawals.
    pub transactions: Vec<Transaction>,
    /// How many payments are passed over.
    pub passed_over: usize,
}

/// Why payments cannot be planned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The tree has fewer cells than there are holders.
    #[error("{needed} accounts need more than the {} cells of a tree of {} levels", depth.cell_count(), depth.levels())]
    TreeTooSmall {
        /// The accounts, the operator's included.
        needed: usize,
        /// The tree's depth.
        depth: Depth,
    },
    /// Amounts and fees sum to more than 64 bits.
    #[error("what {0} pays sums to more than 64 bits")]
    SumTooLarge(Holder),
}

impl PlanParameters {
    /// The secret key of a holder.
    pub fn secret_key(&self, holder: &Holder) -> SecretKey {
        let mut hasher = blake3::Hasher::new_derive_key("taproof v1 workload owner");
        hasher.update(self.seed.as_slice()).update(&holder.to_bytes());
        SecretKey::from_seed(&Zeroizing::new(hasher.finalize().into()))
    }
}

impl BlockPayments {
    /// Plans deposits and transactions; the same block and parameters give the same plan.
    ///
    /// # Errors
    /// Each of [`PlanError`].
    pub fn plan(&self, parameters: &PlanParameters) -> Result<Workload, PlanError> {
        let needed = self.holders.len() + 1;
        if needed > parameters.depth.cell_count() as usize {
            return Err(PlanError::TreeTooSmall { needed, depth: parameters.depth });
        }
        let keys: Vec<SecretKey> = self.holders.par_iter().map(|holder| parameters.secret_key(holder)).collect();
        let spent_sat = self.spent_sat(parameters.fee_sat)?;
        let payments = self.payable(parameters.opening_min_sat, &spent_sat);
        let mut planner = Planner::new(parameters, &self.holders, &keys);
        planner.deposit(&spent_sat);
        let transfers = planner.open(&payments);
        transfers.into_iter().for_each(|payment| planner.transfer(payment));
        planner.withdraw(&payments, &spent_sat);
        Ok(planner.finish(self.payments.len() - payments.len()))
    }

    /// The payments to those who have an account: who pay, or are paid enough at once to open one.
    fn payable(&self, opening_min_sat: u64, spent_sat: &[Option<u64>]) -> Vec<BlockPayment> {
        let mut has_account: Vec<bool> = spent_sat.iter().map(Option::is_some).collect();
        let enough = self.payments.iter().filter(|payment| payment.amount_sat >= opening_min_sat);
        enough.for_each(|payment| has_account[payment.to] = true);
        self.payments.iter().copied().filter(|payment| has_account[payment.to]).collect()
    }

    /// What each holder pays in all, fees included; `None` for those who do not pay.
    fn spent_sat(&self, fee_sat: u64) -> Result<Vec<Option<u64>>, PlanError> {
        let mut spent = vec![None; self.holders.len()];
        for payment in &self.payments {
            let sum = spent[payment.from].unwrap_or(0u64).checked_add(payment.amount_sat);
            let sum = sum.and_then(|sum| sum.checked_add(fee_sat));
            let sum = sum.ok_or_else(|| PlanError::SumTooLarge(self.holders[payment.from].clone()))?;
            spent[payment.from] = Some(sum);
        }
        Ok(spent)
    }
}

struct Planner<'a> {
    parameters: &'a PlanParameters,
    holders: &'a [Holder],
    keys: &'a [SecretKey],
    cells: Vec<Option<CellIndex>>,
    nonces: Vec<u32>,
    accounts: Vec<PlannedAccount>,
    deposits: Vec<DepositRecord>,
    unsigned: Vec<(usize, UnsignedTransaction)>,
}

impl<'a> Planner<'a> {
    fn new(parameters: &'a PlanParameters, holders: &'a [Holder], keys: &'a [SecretKey]) -> Self {
        let operator = Holder::Operator;
        let (cell, owner) = (CellIndex::default(), *parameters.secret_key(&operator).public());
        Self {
            parameters,
            holders,
            keys,
            cells: vec![None; holders.len()],
            nonces: vec![0; holders.len()],
            accounts: vec![PlannedAccount { holder: operator, cell, owner }],
            deposits: vec![DepositRecord { to: cell, amount_sat: OPERATOR_DEPOSIT_SAT, owner }],
            unsigned: Vec::new(),
        }
    }

    /// Gives a holder the next cell.
    fn add_account(&mut self, holder: usize) -> PlannedAccount {
        let index = u32::try_from(self.accounts.len()).ok().and_then(CellIndex::new);
        let cell = index.expect("the tree has a cell for every holder");
        let owner = *self.keys[holder].public();
        let account = PlannedAccount { holder: self.holders[holder].clone(), cell, owner };
        self.cells[holder] = Some(cell);
        self.accounts.push(account.clone());
        account
    }

    fn deposit(&mut self, spent_sat: &[Option<u64>]) {
        for (holder, spent_sat) in spent_sat.iter().enumerate() {
            if let Some(amount_sat) = *spent_sat {
                let PlannedAccount { cell: to, owner, .. } = self.add_account(holder);
                self.deposits.push(DepositRecord { to, amount_sat, owner });
            }
        }
    }

    /// Opens the accounts that are missing and gives the payments that are left.
    fn open(&mut self, payments: &[BlockPayment]) -> Vec<BlockPayment> {
        let mut transfers = Vec::new();
        for payment in payments {
            // Openings come first, so an account is there for what is paid before its opening, too.
            if self.cells[payment.to].is_some() || payment.amount_sat < self.parameters.opening_min_sat {
                transfers.push(*payment);
                continue;
            }
            let PlannedAccount { cell: to, owner, .. } = self.add_account(payment.to);
            let (from, nonce) = self.next_nonce(payment.from);
            let body = Open {
                chain_id: self.parameters.chain_id,
                token: Token::BITCOIN,
                from,
                nonce,
                to,
                amount: payment.amount_sat,
                fee: self.parameters.fee_sat,
                owner,
            };
            self.unsigned.push((payment.from, UnsignedTransaction::Open(body)));
        }
        transfers
    }

    fn transfer(&mut self, payment: BlockPayment) {
        let (from, nonce) = self.next_nonce(payment.from);
        let body = Transfer {
            chain_id: self.parameters.chain_id,
            token: Token::BITCOIN,
            from,
            nonce,
            to: self.cell(payment.to),
            amount: payment.amount_sat,
            fee: self.parameters.fee_sat,
        };
        self.unsigned.push((payment.from, UnsignedTransaction::Transfer(body)));
    }

    /// Withdraws all that some of those who were only paid have.
    fn withdraw(&mut self, payments: &[BlockPayment], spent_sat: &[Option<u64>]) {
        let fee = self.parameters.fee_sat;
        let mut received_sat = vec![0u128; self.holders.len()];
        payments.iter().for_each(|payment| received_sat[payment.to] += u128::from(payment.amount_sat));
        let withdrawals_max = self.unsigned.len() + self.parameters.withdrawals_max;
        for (holder, received_sat) in received_sat.into_iter().enumerate() {
            if self.unsigned.len() >= withdrawals_max {
                break;
            }
            let amount = u64::try_from(received_sat).ok().and_then(|received| received.checked_sub(fee));
            let (Some(amount), Some(destination)) = (amount, destination(&self.holders[holder])) else { continue };
            if amount < destination.payout_min_sat() || spent_sat[holder].is_some() {
                continue;
            }
            let (from, nonce) = self.next_nonce(holder);
            let (chain_id, token) = (self.parameters.chain_id, Token::BITCOIN);
            let body = Withdraw { chain_id, token, from, nonce, amount, fee, destination };
            self.unsigned.push((holder, UnsignedTransaction::Withdraw(body)));
        }
    }

    fn cell(&self, holder: usize) -> CellIndex {
        self.cells[holder].expect("payers have deposited and everyone who is paid has been opened")
    }

    fn next_nonce(&mut self, holder: usize) -> (CellIndex, u32) {
        let nonce = self.nonces[holder];
        self.nonces[holder] += 1;
        (self.cell(holder), nonce)
    }

    fn finish(self, passed_over: usize) -> Workload {
        let keys = self.keys;
        let transactions = self.unsigned.par_iter().map(|(holder, unsigned)| unsigned.sign(&keys[*holder])).collect();
        Workload { accounts: self.accounts, deposits: self.deposits, transactions, passed_over }
    }
}

/// Where on Bitcoin a holder can be paid, if the bridge pays to such scripts.
fn destination(holder: &Holder) -> Option<Destination> {
    match holder {
        Holder::Script(script) => Destination::from_script_pubkey(script),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use taproof_circuits::transaction::Body;
    use taproof_fixtures::MAINNET_BLOCK_702861;
    use taproof_verifier::record::Kind;

    fn parameters() -> PlanParameters {
        PlanParameters {
            chain_id: ChainId::from_byte_array([7; 15]),
            depth: Depth::new(5).unwrap(),
            fee_sat: 25,
            opening_min_sat: 0,
            seed: Zeroizing::new([3; 32]),
            withdrawals_max: 4,
        }
    }

    fn payments() -> BlockPayments {
        BlockPayments::from_block(MAINNET_BLOCK_702861, 300).unwrap()
    }

    /// Plays a workload on balances and nonces alone.
    fn play(workload: &Workload) -> HashMap<CellIndex, (PublicKey, u64, u32)> {
        let mut cells: HashMap<CellIndex, (PublicKey, u64, u32)> = HashMap::new();
        for deposit in &workload.deposits {
            assert!(cells.insert(deposit.to, (deposit.owner, deposit.amount_sat, 0)).is_none());
        }
        let operator = CellIndex::default();
        for transaction in &workload.transactions {
            let paid = transaction.payment().expect("a payment");
            assert_eq!(paid.chain_id, ChainId::from_byte_array([7; 15]));
            let (owner, balance, nonce) = cells.get_mut(&paid.from).expect("the payer has an account");
            let (message, signature) = transaction.signed().expect("a payment");
            signature.verify(owner, &message).unwrap();
            assert_eq!(*nonce, paid.nonce);
            *nonce += 1;
            *balance = balance.checked_sub(paid.amount + paid.fee).expect("the payer is funded");
            match transaction {
                Transaction::Open(open) => {
                    let account = (open.body().owner, paid.amount, 0);
                    assert!(cells.insert(open.body().to, account).is_none(), "an opened cell was empty");
                }
                Transaction::Transfer(transfer) => {
                    cells.get_mut(&transfer.body().to).expect("who is paid has an account").1 += paid.amount;
                }
                Transaction::Withdraw(_) => {}
                Transaction::Steps(_) => panic!("no payment"),
            }
            cells.get_mut(&operator).expect("the operator has deposited").1 += paid.fee;
        }
        cells
    }

    #[test]
    fn balances_are_exact() {
        let (payments, parameters) = (payments(), parameters());
        let workload = payments.plan(&PlanParameters { withdrawals_max: 0, ..parameters.clone() }).unwrap();
        let cells = play(&workload);
        let mut expected: HashMap<&Holder, u64> = HashMap::new();
        for payment in payments.payments() {
            *expected.entry(&payments.holders()[payment.to]).or_default() += payment.amount_sat;
        }
        for account in &workload.accounts[1..] {
            let (owner, balance, _) = cells[&account.cell];
            assert_eq!(owner, account.owner);
            assert_eq!(balance, expected.get(&account.holder).copied().unwrap_or(0), "{}", account.holder);
        }
        let fees = 25 * payments.payments().len() as u64;
        assert_eq!(cells[&CellIndex::default()].1, OPERATOR_DEPOSIT_SAT + fees);
        assert_eq!(workload.accounts.len(), payments.holders().len() + 1);
    }

    #[test]
    fn each_payment_is_one_transaction_of_its_amount() {
        let payments = payments();
        let workload = payments.plan(&parameters()).unwrap();
        let cells: HashMap<_, _> = workload.accounts.iter().map(|account| (account.cell, &account.holder)).collect();
        let mut planned: Vec<_> = workload
            .transactions
            .iter()
            .filter_map(|transaction| {
                let to = match transaction {
                    Transaction::Open(open) => open.body().record().to,
                    Transaction::Transfer(transfer) => transfer.body().record().to,
                    Transaction::Withdraw(_) | Transaction::Steps(_) => return None,
                };
                let paid = transaction.payment()?;
                Some((cells[&paid.from].clone(), cells[&to].clone(), paid.amount))
            })
            .collect();
        let holder = |index: usize| payments.holders()[index].clone();
        let made = payments.payments().iter();
        let mut made: Vec<_> =
            made.map(|payment| (holder(payment.from), holder(payment.to), payment.amount_sat)).collect();
        planned.sort_unstable();
        made.sort_unstable();
        assert_eq!(planned, made);
    }

    #[test]
    fn withdrawals_empty_their_accounts_to_their_own_scripts() {
        let workload = payments().plan(&parameters()).unwrap();
        let cells = play(&workload);
        let withdrawals: Vec<_> =
            workload.transactions.iter().filter(|transaction| transaction.kind() == Kind::Withdraw).collect();
        assert_eq!(withdrawals.len(), 4);
        for withdrawal in withdrawals {
            let Transaction::Withdraw(signed) = withdrawal else { unreachable!("filtered by kind") };
            let account = &workload.accounts[signed.body().from.get() as usize];
            assert_eq!(account.holder, Holder::Script(signed.body().destination.script_pubkey()));
            assert_eq!(cells[&account.cell].1, 0);
        }
    }

    #[test]
    fn nobody_opens_an_account_with_less_than_the_least() {
        let opening_min_sat = 20_000;
        let workload = payments().plan(&PlanParameters { opening_min_sat, ..parameters() }).unwrap();
        let cells = play(&workload);
        let opened: Vec<u64> = workload
            .transactions
            .iter()
            .filter(|transaction| transaction.kind() == Kind::Open)
            .map(|transaction| transaction.payment().expect("a payment").amount)
            .collect();
        assert!(!opened.is_empty() && opened.iter().all(|amount| *amount >= opening_min_sat));
        assert!(workload.passed_over > 0);
        let paid = workload.transactions.iter().filter(|transaction| transaction.kind() != Kind::Withdraw).count();
        assert_eq!(paid + workload.passed_over, payments().payments().len());
        assert_eq!(cells.len(), workload.accounts.len());
        assert_eq!(payments().plan(&parameters()).unwrap().passed_over, 0);
    }

    #[test]
    fn plans_are_deterministic_and_keys_depend_on_seed_and_holder() {
        let (payments, parameters) = (payments(), parameters());
        assert_eq!(payments.plan(&parameters), payments.plan(&parameters));
        let key = |seed, holder: &Holder| {
            let parameters = PlanParameters { seed: Zeroizing::new([seed; 32]), ..parameters.clone() };
            *parameters.secret_key(holder).public()
        };
        assert_ne!(key(1, &Holder::Operator), key(2, &Holder::Operator));
        assert_ne!(key(1, &Holder::Operator), key(1, &Holder::Coinbase));
    }

    #[test]
    fn bounds_are_checked() {
        let payments = payments();
        let depth = Depth::new(2).unwrap();
        let needed = payments.holders().len() + 1;
        let small = payments.plan(&PlanParameters { depth, ..parameters() });
        assert_eq!(small, Err(PlanError::TreeTooSmall { needed, depth }));
        let dear = payments.plan(&PlanParameters { fee_sat: u64::MAX, ..parameters() });
        assert!(matches!(dear, Err(PlanError::SumTooLarge(_))));
    }
}
