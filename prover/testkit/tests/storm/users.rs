//! Those who use the rollup: they deposit, pay each other, withdraw, demand exits on Bitcoin, and take back what
//! nobody credited.

use super::{Afloat, DEPOSIT_MIN_SAT, Storm, rate, traders::Waiting};
use bitcoin::{OutPoint, Transaction, TxOut};
use rand::{Rng, seq::SliceRandom};
use taproof_bitcoin::{
    anchor::pay,
    bridge::deposit::{check_uncredited, refund},
    bridge::scan::Origin,
    node::Unspent,
};
use taproof_circuits::{
    state::State,
    transaction::{Open, Signed, Transfer, UnsignedTransaction, Withdraw},
};
use taproof_verifier::{
    cell::{Account, CellIndex, Token},
    deposit::Deposit,
    exit::ExitRequest,
    record::Destination,
};

/// The most transactions that wait with one poster.
pub(super) const WAITING_MAX: usize = 20;

impl Storm {
    /// The accounts of the users in a state, each with who owns it.
    fn accounts(&self, state: &State) -> Vec<(CellIndex, Account, usize)> {
        let owner = |account: &Account| self.owners.iter().position(|key| *key.public() == account.owner);
        let cells = state.tree().cells().map(|(index, _)| index);
        let accounts = cells.filter_map(|index| Some((index, state.account(index)?)));
        accounts.filter_map(|(index, account)| Some((index, account, owner(&account)?))).collect()
    }

    fn destination(&mut self) -> Destination {
        match self.rng.gen_range(0..Destination::TYPES) {
            0 => Destination::P2wpkh(self.rng.r#gen()),
            1 => Destination::P2wsh(self.rng.r#gen()),
            2 => Destination::P2tr(self.rng.r#gen()),
            3 => Destination::P2pkh(self.rng.r#gen()),
            _ => Destination::P2sh(self.rng.r#gen()),
        }
    }

    /// Sends outputs on their way, paid by a coin of the purse.
    fn pay_outputs(&mut self, outputs: Vec<TxOut>) {
        let coin = self.coin();
        let transaction = pay(outputs, rate("1"), &[coin], &self.purse_key).expect("a coin is worth more");
        self.set_afloat(transaction);
    }

    fn set_afloat(&mut self, transaction: Transaction) {
        self.sea.push(Afloat { transaction, since: self.node.chain().height() });
    }

    /// Deposits, now and then twice from one coin, of which one deposit can be mined.
    pub(super) fn deposit(&mut self) {
        let coin = self.coin();
        for _ in 0..if self.rng.gen_bool(0.2) { 2 } else { 1 } {
            let amount_sat =
                if self.rng.gen_bool(0.1) { DEPOSIT_MIN_SAT } else { self.rng.gen_range(1_000..2_000_000) };
            let owner = *self.owners.choose(&mut self.rng).expect("users").public();
            let refund = self.refund_keys.choose(&mut self.rng).expect("keys").public();
            let deposit = Deposit { amount_sat, owner, refund };
            let outputs = deposit.outputs(self.params.bridge(), self.params.chain_id());
            let transaction = pay(outputs.into(), rate("1"), std::slice::from_ref(&coin), &self.purse_key);
            self.set_afloat(transaction.expect("a coin is worth more"));
        }
    }

    /// Signs a payment on the rollup, by the state that a poster shows, and hands it to that poster. Some overdraw.
    pub(super) fn transact(&mut self, poster: usize) {
        let ledger = &self.posters[poster].ledger;
        let waiting = ledger.transactions().expect("readable");
        let accounts = self.accounts(ledger.state());
        let Some((from, account, owner)) = accounts.choose(&mut self.rng).copied() else { return };
        if waiting.len() >= WAITING_MAX {
            return;
        }
        let queued =
            waiting.iter().filter(|transaction| transaction.nonces().iter().any(|(payer, _)| *payer == from)).count()
                as u32;
        let nonce = account.nonce + queued;
        let overdraw = if self.rng.gen_bool(0.05) { account.balance } else { 0 };
        let amount = self.rng.gen_range(0..=account.balance / 3) + overdraw;
        let (chain_id, token) = (self.params.chain_id(), account.token);
        // Nobody collects fees in other tokens.
        let fee = if token == Token::BITCOIN { self.rng.gen_range(0..20) } else { 0 };
        let unsigned = match self.rng.gen_range(0..10) {
            0..5 => {
                let alike: Vec<_> = accounts.iter().filter(|(_, to, _)| to.token == token).collect();
                let (to, _, _) = **alike.choose(&mut self.rng).expect("the payer's");
                UnsignedTransaction::Transfer(Transfer { chain_id, token, from, nonce, to, amount, fee })
            }
            5..6 => {
                let cells = 8u32.pow(ledger.state().depth().levels().into());
                let Some(to) = CellIndex::new(self.rng.gen_range(0..cells)) else { return };
                let owner = *self.owners.choose(&mut self.rng).expect("users").public();
                UnsignedTransaction::Open(Open { chain_id, token, from, nonce, to, amount, fee, owner })
            }
            _ => {
                let destination = self.destination();
                let amount = if self.rng.gen_bool(0.2) { self.rng.gen_range(0..550) } else { amount };
                UnsignedTransaction::Withdraw(Withdraw { chain_id, token, from, nonce, amount, fee, destination })
            }
        };
        // Somebody signs who has no right to, now and then.
        let signer = if self.rng.gen_bool(0.04) { self.rng.gen_range(0..self.owners.len()) } else { owner };
        let key = &self.owners[signer];
        self.books.tokens.signed.add_payment(key.public(), unsigned);
        let signed = unsigned.sign(key);
        self.posters[poster].ledger.add_transactions(&[signed]).expect("room");
    }

    fn request(&mut self, from: CellIndex, nonce: u32, amount: u64, signer: usize, owner: usize) -> ExitRequest {
        let (chain_id, token, destination) = (self.params.chain_id(), Token::BITCOIN, self.destination());
        let amount = amount.max(destination.payout_min_sat());
        let body = Withdraw { chain_id, token, from, nonce, amount, fee: 0, destination };
        let (owner, signer) = (*self.owners[owner].public(), &self.owners[signer]);
        self.books.tokens.signed.add_payment(signer.public(), UnsignedTransaction::Withdraw(body));
        Signed::sign(body, signer).demand(owner).expect("bitcoin")
    }

    /// Demands on Bitcoin: what the chain's state can pay, what it cannot, and what makes no sense.
    pub(super) fn demand(&mut self) {
        let accounts = self.accounts(self.truth.rebuild.state());
        let Some((from, account, owner)) = accounts.choose(&mut self.rng).copied() else { return };
        let amount = self.rng.gen_range(0..=account.balance);
        let stranger = (owner + 1) % self.owners.len();
        let mut requests = match self.rng.gen_range(0..10) {
            0..5 => vec![self.request(from, account.nonce, amount, owner, owner)],
            // Two rivals, of which the account can serve one.
            5 => [amount, amount / 2].map(|amount| self.request(from, account.nonce, amount, owner, owner)).into(),
            6 => vec![self.request(from, account.nonce, account.balance + 1, owner, owner)],
            7 => vec![self.request(from, account.nonce.saturating_sub(1), amount, owner, owner)],
            8 => {
                // Tokens and pools among them.
                let from = [from.get(), self.rng.gen_range(0..64), 63, 100_000][self.rng.gen_range(0..4)];
                let from = CellIndex::new(from).expect("a small index");
                vec![self.request(from, account.nonce, amount, stranger, stranger)]
            }
            // Signed by somebody else, so that no follower queues it.
            _ => vec![self.request(from, account.nonce, amount, stranger, owner)],
        };
        // One that was answered is asked again.
        if self.rng.gen_bool(0.2) {
            requests.extend(self.answered());
        }
        let outputs = requests.iter().map(|request| request.output(self.params.chain_id())).collect();
        self.pay_outputs(outputs);
    }

    /// Pays from the richest account to itself, so that nothing is missing.
    pub(super) fn pay_in_the_calm(&mut self, poster: usize) -> Waiting {
        let ledger = &self.posters[poster].ledger;
        let accounts = self.accounts(ledger.state());
        let of_bitcoin = accounts.iter().filter(|(_, account, _)| account.token == Token::BITCOIN);
        let (from, account, owner) = *of_bitcoin.max_by_key(|(_, account, _)| account.balance).expect("users");
        let (chain_id, token, nonce) = (self.params.chain_id(), account.token, account.nonce);
        let body = Transfer { chain_id, token, from, nonce, to: from, amount: account.balance / 2, fee: 0 };
        let body = UnsignedTransaction::Transfer(body);
        self.books.tokens.signed.add_payment(self.owners[owner].public(), body);
        self.posters[poster].ledger.add_transactions(&[body.sign(&self.owners[owner])]).expect("room");
        Waiting { signer: from, nonce }
    }

    /// Demands what the richest account has but one.
    pub(super) fn demand_in_the_calm(&mut self, but: CellIndex) -> Waiting {
        let accounts = self.accounts(self.truth.rebuild.state());
        let others = accounts.iter().filter(|(index, account, _)| *index != but && account.token == Token::BITCOIN);
        let (from, account, owner) = *others.max_by_key(|(_, account, _)| account.balance).expect("users");
        let request = self.request(from, account.nonce, account.balance, owner, owner);
        self.pay_outputs(vec![request.output(self.params.chain_id())]);
        Waiting { signer: from, nonce: account.nonce }
    }

    /// A request that a batch served or refuted, be that final or not.
    fn answered(&mut self) -> Option<ExitRequest> {
        let settled = self.truth.batches.iter().flat_map(|batch| batch.settled_requests());
        let answered: Vec<ExitRequest> =
            settled.filter_map(|settled| settled.request.request.exit()).copied().collect();
        answered.choose(&mut self.rng).copied()
    }

    /// Depositors take back what no batch credited, as far as they may.
    pub(super) fn take_back(&mut self) {
        let chain = self.node.chain();
        let deposits = self.truth.scan.coins().into_iter().filter_map(|coin| match coin.origin {
            Origin::Deposit { refund, .. } => Some((coin.outpoint, coin.height, coin.output.clone(), refund)),
            Origin::Own => None,
        });
        let mut refunds = Vec::new();
        for (outpoint, height, output, key) in deposits {
            if check_uncredited(&self.truth.scan, &outpoint).is_err() || self.is_spent_at_sea(&outpoint) {
                continue;
            }
            let unspent = Unspent { output, confirmations: chain.height() + 1 - height, is_coinbase: false };
            let key = self.refund_keys.iter().find(|refund| refund.public() == key).expect("one of ours");
            let to = self.purse_key.script_pubkey();
            refunds.extend(refund(&self.params, outpoint, &unspent, key, to, rate("1")));
        }
        refunds.into_iter().for_each(|refund| self.set_afloat(refund));
    }

    fn is_spent_at_sea(&self, outpoint: &OutPoint) -> bool {
        let mut inputs = self.sea.iter().flat_map(|afloat| &afloat.transaction.input);
        inputs.any(|input| input.previous_output == *outpoint)
    }
}
