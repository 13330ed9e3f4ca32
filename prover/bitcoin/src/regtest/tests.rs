use super::*;
use bitcoin::{
    Address, KnownHrp,
    key::{Keypair, Secp256k1, TapTweak, TweakedKeypair, UntweakedKeypair},
    secp256k1::{All, Message, SecretKey},
    sighash::{Prevouts, SighashCache, TapSighashType},
};

/// Somebody with coins: a taproot key with no script.
struct Person {
    secp: Secp256k1<All>,
    key: TweakedKeypair,
    script: ScriptBuf,
}

impl Person {
    fn new(seed: u8) -> Self {
        let secp = Secp256k1::new();
        let secret = SecretKey::from_slice(&[seed; 32]).expect("a small scalar");
        let key: UntweakedKeypair = Keypair::from_secret_key(&secp, &secret);
        let (internal, _) = key.x_only_public_key();
        let script = Address::p2tr(&secp, internal, None, KnownHrp::Regtest).script_pubkey();
        let key = key.tap_tweak(&secp, None);
        Self { secp, key, script }
    }

    /// A signed transaction that spends `coins` to one output of `value_sat`.
    fn pay(&self, coins: &[(OutPoint, Coin)], to: &Script, value_sat: u64) -> Transaction {
        self.sign(unsigned(coins, to, value_sat), coins)
    }

    fn sign(&self, mut transaction: Transaction, coins: &[(OutPoint, Coin)]) -> Transaction {
        let outputs: Vec<TxOut> = coins.iter().map(|(_, coin)| coin.output.clone()).collect();
        for input in 0..coins.len() {
            let sighash = SighashCache::new(&transaction)
                .taproot_key_spend_signature_hash(input, &Prevouts::All(&outputs), TapSighashType::Default)
                .expect("all outputs are given");
            let message = Message::from_digest(sighash.to_byte_array());
            let signature = self.secp.sign_schnorr_no_aux_rand(&message, &self.key.to_keypair());
            transaction.input[input].witness = Witness::from_slice(&[signature.as_ref()]);
        }
        transaction
    }
}

fn unsigned(coins: &[(OutPoint, Coin)], to: &Script, value_sat: u64) -> Transaction {
    let input = |(outpoint, _): &(OutPoint, Coin)| TxIn {
        previous_output: *outpoint,
        sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
        ..TxIn::default()
    };
    Transaction {
        version: transaction::Version::TWO,
        lock_time: LockTime::ZERO,
        input: coins.iter().map(input).collect(),
        output: vec![TxOut { value: Amount::from_sat(value_sat), script_pubkey: to.to_owned() }],
    }
}

/// A chain on which `person` can spend the rewards of the first `spendable` blocks.
fn funded(person: &Person, spendable: u32) -> RegtestChain {
    let mut chain = RegtestChain::new();
    chain.mine_empty(spendable, &person.script).expect("empty blocks are valid");
    chain.mine_empty(COINBASE_MATURITY_BLOCKS - 1, &Person::new(99).script).expect("empty blocks are valid");
    chain
}

fn refused(chain: &RegtestChain, transaction: Transaction) -> TransactionError {
    let mut copy = chain.clone();
    let before = copy.tip_hash();
    let error = copy.mine(&[transaction], &Person::new(99).script).expect_err("the transaction breaks a rule");
    assert_eq!(copy.tip_hash(), before);
    match error {
        BlockError::Transaction { position: 1, source, .. } => source,
        other => panic!("{other}"),
    }
}

#[test]
fn a_payment_moves_coins_and_fees_reach_the_miner() {
    let (alice, bob, miner) = (Person::new(1), Person::new(2), Person::new(3));
    let mut chain = funded(&alice, 1);
    let coins = chain.spendable_coins(&alice.script);
    assert_eq!(coins.len(), 1);
    let first = alice.pay(&coins, &bob.script, 4_999_000_000);
    let bobs = vec![(
        OutPoint { txid: first.compute_txid(), vout: 0 },
        Coin { output: first.output[0].clone(), height: 0, coinbase: false },
    )];
    let second = bob.pay(&bobs, &alice.script, 4_998_999_000);
    let facts = chain.check_transactions(&[first.clone(), second.clone()]).expect("both are valid in order");
    assert_eq!((facts[0].fee_sat, facts[1].fee_sat), (1_000_000, 1_000));
    assert_eq!(facts[0].nonstandard, None);
    assert_eq!(facts[0].vsize_vb, first.vsize() as u64);
    assert_eq!(chain.check_transactions(&[second.clone(), first.clone()]).expect_err("wrong order").0, 0);

    let block = chain.mine(&[first, second], &miner.script).expect("both are valid in order");
    assert_eq!(block.txdata[0].output[0].value.to_sat(), 5_000_000_000 + 1_001_000);
    assert_eq!(chain.spendable_coins(&alice.script)[0].1.output.value.to_sat(), 4_998_999_000);
    assert!(chain.spendable_coins(&bob.script).is_empty());
}

#[test]
fn every_block_carries_work_height_and_commitment() {
    let miner = Person::new(1).script;
    let mut chain = RegtestChain::new();
    chain.mine_empty(160, &miner).expect("empty blocks are valid");
    for (height, block) in chain.blocks().enumerate().skip(1) {
        assert!(block.header.validate_pow(block.header.target()).is_ok());
        assert!(block.check_witness_commitment() && block.check_merkle_root());
        assert_eq!(chain.height_of(&block.block_hash()), Some(height as u32));
        let reward = if height < 150 { 5_000_000_000 } else { 2_500_000_000 };
        assert_eq!(block.txdata[0].output[0].value.to_sat(), reward);
        if height > 16 {
            assert_eq!(block.bip34_block_height(), Ok(height as u64));
        }
    }
}

#[test]
fn spends_that_break_a_rule_are_refused() {
    let (alice, bob) = (Person::new(1), Person::new(2));
    let chain = funded(&alice, 2);
    let coins = chain.spendable_coins(&alice.script);
    let good = alice.pay(&coins[..1], &bob.script, 5_000_000_000);
    assert!(chain.check_transactions(std::slice::from_ref(&good)).is_ok());

    let stolen = bob.pay(&coins[..1], &bob.script, 1_000);
    assert_eq!(refused(&chain, stolen), TransactionError::Script { input: 0 });
    let mut altered = good.clone();
    altered.output[0].value = Amount::from_sat(1);
    assert_eq!(refused(&chain, altered), TransactionError::Script { input: 0 });
    let unsigned_spend = unsigned(&coins[..1], &bob.script, 1_000);
    assert_eq!(refused(&chain, unsigned_spend), TransactionError::Script { input: 0 });
    let overspent = alice.pay(&coins[..1], &bob.script, 5_000_000_001);
    let expected = TransactionError::Overspent { inputs_sat: 5_000_000_000, outputs_sat: 5_000_000_001 };
    assert_eq!(refused(&chain, overspent), expected);
    let beyond_supply = alice.pay(&coins[..1], &bob.script, u64::MAX);
    assert_eq!(refused(&chain, beyond_supply), TransactionError::ValueRange);
    let twice = [coins[0].clone(), coins[0].clone()];
    assert_eq!(refused(&chain, alice.pay(&twice, &bob.script, 1)), TransactionError::DuplicateInput(coins[0].0));
    let nowhere = OutPoint { txid: coins[0].0.txid, vout: 7 };
    let missing = [(nowhere, coins[0].1.clone())];
    assert_eq!(refused(&chain, alice.pay(&missing, &bob.script, 1)), TransactionError::MissingCoin(nowhere));
    let mut empty = good.clone();
    empty.output.clear();
    assert_eq!(refused(&chain, empty), TransactionError::Empty);
    assert_eq!(refused(&chain, chain.tip().txdata[0].clone()), TransactionError::Coinbase);
}

#[test]
fn rewards_mature_after_a_hundred_blocks() {
    let (alice, bob) = (Person::new(1), Person::new(2));
    let mut chain = RegtestChain::new();
    chain.mine_empty(1, &alice.script).expect("empty blocks are valid");
    let outpoint = OutPoint { txid: chain.tip().txdata[0].compute_txid(), vout: 0 };
    let coins = vec![(outpoint, chain.coin(&outpoint).expect("mined").clone())];
    let spend = alice.pay(&coins, &bob.script, 1_000);
    chain.mine_empty(98, &bob.script).expect("empty blocks are valid");
    assert!(chain.spendable_coins(&alice.script).is_empty());
    let immature = TransactionError::Immature { outpoint, spendable_height: 101 };
    assert_eq!(refused(&chain, spend.clone()), immature);
    chain.mine_empty(1, &bob.script).expect("empty blocks are valid");
    assert_eq!(chain.spendable_coins(&alice.script), coins);
    chain.mine(&[spend], &bob.script).expect("the reward is mature");
}

#[test]
fn locks_hold_until_they_pass() {
    let (alice, bob) = (Person::new(1), Person::new(2));
    let mut chain = funded(&alice, 1);
    let coins = chain.spendable_coins(&alice.script);
    let next = chain.height() + 1;
    let with = |lock_time: u32, sequence: Sequence| {
        let mut transaction = unsigned(&coins, &bob.script, 1_000);
        transaction.lock_time = LockTime::from_consensus(lock_time);
        transaction.input[0].sequence = sequence;
        alice.sign(transaction, &coins)
    };
    let accepted = |chain: &RegtestChain, transaction: Transaction| chain.check_transactions(&[transaction]).is_ok();
    assert!(accepted(&chain, with(next - 1, Sequence::ZERO)));
    assert!(accepted(&chain, with(next, Sequence::MAX)));
    let locked = TransactionError::Locked(LockTime::from_consensus(next));
    assert_eq!(refused(&chain, with(next, Sequence::ENABLE_RBF_NO_LOCKTIME)), locked);
    let median = chain.median_time(chain.height());
    assert!(accepted(&chain, with(median - 1, Sequence::ZERO)));
    assert!(!accepted(&chain, with(median, Sequence::ZERO)));

    let age = u16::try_from(next - coins[0].1.height).expect("a short chain");
    assert!(accepted(&chain, with(0, Sequence::from_height(age))));
    let relative = TransactionError::RelativelyLocked { input: 0 };
    assert_eq!(refused(&chain, with(0, Sequence::from_height(age + 1))), relative);
    let age_seconds = median - chain.median_time(coins[0].1.height - 1);
    let intervals = u16::try_from(age_seconds / 512).expect("a short chain");
    assert!(accepted(&chain, with(0, Sequence::from_512_second_intervals(intervals))));
    assert_eq!(refused(&chain, with(0, Sequence::from_512_second_intervals(intervals + 1))), relative);
    chain.mine(&[with(0, Sequence::from_height(age))], &bob.script).expect("the lock has passed");
}

#[test]
fn blocks_that_break_a_rule_are_refused() {
    let (alice, bob) = (Person::new(1), Person::new(2));
    let base = funded(&alice, 1);
    let coins = base.spendable_coins(&alice.script);
    let mut longer = base.clone();
    let spend = alice.pay(&coins, &bob.script, 4_999_999_000);
    let good = longer.mine(&[spend], &bob.script).expect("valid").clone();
    let connect = |alter: &dyn Fn(&mut Block)| {
        let mut block = good.clone();
        alter(&mut block);
        while block.header.validate_pow(block.header.target()).is_err() {
            block.header.nonce = block.header.nonce.wrapping_add(1);
        }
        base.clone().connect(block)
    };
    let seal = |block: &mut Block| {
        block.txdata[0].output.pop();
        block.txdata[0].input[0].witness.clear();
        commit_to_witnesses(block);
        block.header.merkle_root = block.compute_merkle_root().expect("not empty");
    };
    connect(&|_| ()).expect("unaltered");
    assert!(matches!(connect(&|b| b.header.prev_blockhash = BlockHash::all_zeros()), Err(BlockError::Parent { .. })));
    assert!(matches!(connect(&|b| b.header.time = 0), Err(BlockError::Time { .. })));
    assert!(matches!(connect(&|b| drop(b.txdata.pop())), Err(BlockError::MerkleRoot)));
    let strip = |b: &mut Block| b.txdata[1].input[0].witness.push([1]);
    assert!(matches!(connect(&strip), Err(BlockError::WitnessCommitment)));
    let wrong_height = |b: &mut Block| {
        b.txdata[0].input[0].script_sig = height_prefix(7).push_slice([0; 8]).into_script();
        seal(b);
    };
    assert!(matches!(connect(&wrong_height), Err(BlockError::Coinbase(101))));
    let greedy = |b: &mut Block| {
        b.txdata[0].output[0].value += Amount::ONE_SAT;
        seal(b);
    };
    let reward = connect(&greedy).expect_err("a satoshi too much");
    assert!(matches!(reward, BlockError::Reward { claimed_sat: 5_000_001_001, allowed_sat: 5_000_001_000 }));
    let heavy = |b: &mut Block| {
        b.txdata[0].output.push(TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::from(vec![0x6a; 1_000_000]) });
        b.txdata[0].output.swap(1, 2);
        seal(b);
    };
    assert!(matches!(connect(&heavy), Err(BlockError::Weight(_))));
    let checks = |b: &mut Block| {
        b.txdata[0].output.push(TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::from(vec![0xac; 20_001]) });
        b.txdata[0].output.swap(1, 2);
        seal(b);
    };
    assert!(matches!(connect(&checks), Err(BlockError::Sigops(_))));
    let mut worthless = good.clone();
    while worthless.header.validate_pow(worthless.header.target()).is_ok() {
        worthless.header.nonce = worthless.header.nonce.wrapping_add(1);
    }
    assert!(matches!(base.clone().connect(worthless), Err(BlockError::ProofOfWork)));
    let easier = |b: &mut Block| b.header.bits = bitcoin::CompactTarget::from_consensus(0x2000_ffff);
    assert!(matches!(connect(&easier), Err(BlockError::ProofOfWork)));
}

#[test]
fn a_longer_branch_replaces_blocks_and_coins() {
    let (alice, bob, miner) = (Person::new(1), Person::new(2), Person::new(3));
    for depth in 1..=6u32 {
        let mut chain = funded(&alice, 1);
        let fork_height = chain.height();
        let base = chain.clone();
        let coins = chain.spendable_coins(&alice.script);
        chain.mine(&[alice.pay(&coins, &bob.script, 4_000_000_000)], &miner.script).expect("valid");
        chain.mine_empty(depth - 1, &miner.script).expect("valid");
        let replaced = chain.clone();

        let too_short = vec![Vec::new(); depth as usize];
        let error = chain.reorganise(fork_height, &too_short, &miner.script).expect_err("no more work");
        assert!(matches!(error, ReorganiseError::NotHeavier { .. }));
        let invalid = vec![vec![bob.pay(&coins, &bob.script, 1)]; depth as usize + 1];
        let error = chain.reorganise(fork_height, &invalid, &miner.script).expect_err("not bob's coin");
        assert!(matches!(error, ReorganiseError::Block { position: 0, .. }));
        assert_eq!((chain.tip_hash(), &chain.coins), (replaced.tip_hash(), &replaced.coins));

        let mut branch = vec![Vec::new(); depth as usize + 1];
        branch[depth as usize] = vec![alice.pay(&coins, &miner.script, 3_000_000_000)];
        chain.reorganise(fork_height, &branch, &miner.script).expect("more work");
        assert_eq!(chain.height(), replaced.height() + 1);
        assert!(chain.spendable_coins(&bob.script).is_empty());
        assert_ne!(chain.block_at(fork_height + 1), replaced.block_at(fork_height + 1));
        assert_eq!(chain.height_of(&replaced.tip_hash()), None);

        (0..=depth).for_each(|_| chain.disconnect_tip());
        assert_eq!((chain.tip_hash(), &chain.coins), (base.tip_hash(), &base.coins));
    }
    let mut chain = RegtestChain::new();
    assert!(matches!(chain.reorganise(1, &[], &miner.script), Err(ReorganiseError::AboveTip { .. })));
}

#[test]
fn relay_rules_are_reported_and_do_not_bind_the_chain() {
    let (alice, bob) = (Person::new(1), Person::new(2));
    let mut chain = funded(&alice, 1);
    let coins = chain.spendable_coins(&alice.script);
    let facts_of = |chain: &RegtestChain, alter: &dyn Fn(&mut Transaction)| {
        let mut transaction = unsigned(&coins, &bob.script, 4_999_000_000);
        alter(&mut transaction);
        let signed = alice.sign(transaction, &coins);
        let facts = chain.check_transactions(&[signed]).expect("valid for a block")[0];
        facts.nonstandard
    };
    let data = |bytes: usize| TxOut {
        value: Amount::ZERO,
        script_pubkey: ScriptBuf::new_op_return(PushBytesBuf::try_from(vec![7; bytes]).expect("short")),
    };
    assert_eq!(facts_of(&chain, &|t| t.output.push(data(80))), None);
    assert_eq!(facts_of(&chain, &|t| t.output.push(data(81))), Some(NonStandardError::Data(1)));
    assert_eq!(facts_of(&chain, &|t| t.output.extend([data(1), data(1)])), Some(NonStandardError::Data(2)));
    assert_eq!(facts_of(&chain, &|t| t.output[0].value = Amount::from_sat(329)), Some(NonStandardError::Dust(0)));
    assert_eq!(facts_of(&chain, &|t| t.output[0].value = Amount::from_sat(330)), None);
    assert_eq!(facts_of(&chain, &|t| t.version.0 = 4), Some(NonStandardError::Version(4)));
    let plain = ScriptBuf::from(vec![0x51; 10]);
    assert_eq!(
        facts_of(&chain, &|t| t.output[0].script_pubkey = plain.clone()),
        Some(NonStandardError::OutputScript(0))
    );
    let whole = |t: &mut Transaction| t.output[0].value = Amount::from_sat(5_000_000_000);
    assert!(matches!(facts_of(&chain, &whole), Some(NonStandardError::Fee { fee_sat: 0, .. })));
    let bulky = |t: &mut Transaction| {
        t.output.extend(vec![t.output[0].clone(); 2_400].into_iter().map(|mut o| {
            o.value = Amount::from_sat(330);
            o
        }))
    };
    assert!(matches!(facts_of(&chain, &bulky), Some(NonStandardError::Weight(_))));
    let odd = alice.pay(&coins, &plain, 1_000);
    chain.mine(&[odd], &bob.script).expect("blocks may hold what is not relayed");
}

mod file {
    use super::*;

    fn sample() -> RegtestChain {
        let alice = Person::new(1);
        let mut chain = funded(&alice, 1);
        let coins = chain.spendable_coins(&alice.script);
        chain.mine(&[alice.pay(&coins, &Person::new(2).script, 1_000)], &alice.script).expect("valid");
        chain
    }

    #[test]
    fn a_chain_survives_a_file_and_has_one_writer() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("chain.blk");
        let (file, empty) = ChainFile::open(&path).expect("a new file");
        assert_eq!(empty.height(), 0);
        assert!(matches!(ChainFile::open(&path), Err(ChainFileError::Locked(_))));
        assert!(matches!(ChainFile::read(&path), Err(ChainFileError::Io { .. })));
        let chain = sample();
        file.save(&chain).expect("writable");
        let read = ChainFile::read(&path).expect("readers need no lock");
        assert_eq!((read.tip_hash(), &read.coins), (chain.tip_hash(), &chain.coins));
        drop(file);
        let (file, mut again) = ChainFile::open(&path).expect("the lock is free");
        again.mine_empty(1, &Person::new(1).script).expect("valid");
        file.save(&again).expect("writable");
        assert_eq!(ChainFile::read(&path).expect("readable").tip_hash(), again.tip_hash());
        assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 2, "the chain and its lock");
    }

    #[test]
    fn damaged_files_are_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("chain.blk");
        let (writer, _) = ChainFile::open(&path).expect("a new file");
        let chain = sample();
        writer.save(&chain).expect("writable");
        let bytes = std::fs::read(&path).expect("readable");
        let decode = super::super::file::decode;
        assert!(decode(&bytes).is_ok());
        assert!(matches!(decode(&[]), Err(ChainFileError::Truncated { offset: 0 })));
        for cut in [1, 7, 8, 9, 100, bytes.len() - 1] {
            assert!(matches!(decode(&bytes[..cut]), Err(ChainFileError::Truncated { .. })), "{cut}");
        }
        let extended = [bytes.as_slice(), &[0]].concat();
        assert!(matches!(decode(&extended), Err(ChainFileError::Truncated { .. })));
        let altered = |position: usize, with: u8| {
            let mut bytes = bytes.clone();
            bytes[position] ^= with;
            decode(&bytes)
        };
        assert!(matches!(altered(0, 1), Err(ChainFileError::Magic { offset: 0 })));
        assert!(matches!(altered(7, 0xff), Err(ChainFileError::Length { offset: 0, .. })));
        assert!(matches!(altered(8 + 80, 1), Err(ChainFileError::Decode { offset: 0, .. })));
        assert!(matches!(altered(8 + 4, 1), Err(ChainFileError::Genesis)));
        let genesis_end = 8 + bitcoin::consensus::serialize(chain.block_at(0).expect("genesis")).len();
        let in_parent = genesis_end + 8 + 4;
        assert!(matches!(altered(in_parent, 1), Err(ChainFileError::Block { height: 1, .. })));
        let last_witness = bytes.len() - 10;
        assert!(matches!(altered(last_witness, 1), Err(ChainFileError::Block { height: 101, .. })));
        for position in (0..bytes.len()).step_by(97) {
            assert!(altered(position, 0x10).is_err(), "byte {position}");
        }
    }
}
