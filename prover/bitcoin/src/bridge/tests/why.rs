//! What keeps outputs from being deposits, and what became of those that are.

use super::rig::{DEPOSIT_MIN_SAT, World};
use crate::{
    anchor::Funding,
    bridge::{
        deposit::refund,
        link::Binding,
        recipe::Recipe,
        scan::Origin,
        watch::BridgeWatch,
        why::{Fate, Meaning, NoDepositError, RequestFate, fate_of, look, trace, trace_requests},
    },
    node::Node,
    testing::toy_rollup::{FINAL_DEPTH_BLOCKS, ToyRollup},
    upgrade::{self, CheckedUpgrade, UpgradeAddress, UpgradeRequest},
};
use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction, TxOut, absolute::LockTime, transaction::Version};
use taproof_circuits::transaction::{Signed, Withdraw};
use taproof_verifier::{
    cell::{CellIndex, ChainId, Token},
    deposit::Deposit,
    envelope::Announcement,
    evidence::ClaimRequest,
    payload::PayloadHash,
    quorum::Quorum,
    record::Destination,
    upgrade::{Change, Upgrade, UpgradeError, UpgradeOutput},
};

fn transaction(output: Vec<TxOut>) -> Transaction {
    Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input: Vec::new(), output }
}

fn change() -> TxOut {
    TxOut {
        value: Amount::from_sat(70_000),
        script_pubkey: ScriptBuf::from([[0x00, 0x14].as_slice(), &[7; 20]].concat()),
    }
}

/// The data of a pair with some bytes replaced, the opcode of the push included.
fn altered(tag: &TxOut, range: std::ops::Range<usize>, byte: u8) -> TxOut {
    let mut script = tag.script_pubkey.to_bytes();
    script[range].fill(byte);
    TxOut { script_pubkey: script.into(), ..tag.clone() }
}

#[test]
fn each_way_to_miss_a_deposit_is_named() {
    let world = World::new();
    let (key, other) = (world.refund_key(0).public(), world.refund_key(1).public());
    let deposit = Deposit { amount_sat: 5_000, owner: *world.owner().public(), refund: key };
    let of = |deposit: &Deposit, chain_id| deposit.outputs(world.params.bridge(), chain_id);
    let [payment, tag] = of(&deposit, world.params.chain_id());
    let see = |outputs: &[&TxOut]| {
        let outputs: Vec<TxOut> = outputs.iter().map(|output| (*output).clone()).collect();
        look(&transaction(outputs), &world.params, &[other])
    };
    let no = Meaning::NoDeposit;

    let good = see(&[&change(), &payment, &tag, &change()]);
    assert_eq!(good, [Meaning::Nothing, Meaning::Deposit(deposit), Meaning::DepositData, Meaning::Nothing]);
    // The change between the two, and the two the wrong way round.
    let between = see(&[&payment, &change(), &tag]);
    let elsewhere = no(NoDepositError::DataElsewhere { payment_vout: 0, data_vout: 2 });
    let payment_elsewhere = no(NoDepositError::PaymentElsewhere { data_vout: 2, payment_vout: 0 });
    assert_eq!(between, [elsewhere, Meaning::Between { payment_vout: 0, data_vout: 2 }, payment_elsewhere]);
    let sorted = see(&[&tag, &payment, &change()]);
    assert_eq!(sorted[0], no(NoDepositError::PaymentElsewhere { data_vout: 0, payment_vout: 1 }));
    assert_eq!(sorted[1..], [no(NoDepositError::DataElsewhere { payment_vout: 1, data_vout: 0 }), Meaning::Nothing]);
    // One of the two is missing.
    assert_eq!(see(&[&tag, &change()])[0], no(NoDepositError::NoPayment));
    let own_key = Deposit { refund: other, ..deposit };
    let [own_payment, own_tag] = of(&own_key, world.params.chain_id());
    assert_eq!(see(&[&own_payment]), [no(NoDepositError::NoData { refund: other })]);
    assert_eq!(see(&[&payment]), [Meaning::Nothing], "nobody can tell whose address it is");
    // The data is another payment's.
    let other_address = no(NoDepositError::OtherAddress { refund: other });
    let stranger = TxOut { script_pubkey: world.poster.script_pubkey(), ..payment.clone() };
    assert_eq!(see(&[&stranger, &own_tag]), [other_address.clone(), other_address.clone()]);
    assert_eq!(see(&[&change(), &own_tag]), [Meaning::Nothing, other_address]);
    // Something in the pair is not as it must be; it is told of both.
    let small = Deposit { amount_sat: DEPOSIT_MIN_SAT - 1, ..deposit };
    let [small_payment, small_tag] = of(&small, world.params.chain_id());
    let too_small = NoDepositError::TooSmall { min_sat: DEPOSIT_MIN_SAT, found_sat: DEPOSIT_MIN_SAT - 1 };
    assert_eq!(see(&[&small_payment, &small_tag]), [no(too_small), no(too_small)]);
    let other = ChainId::from_byte_array([9; 15]);
    let foreign = NoDepositError::OtherRollup { expected: world.params.chain_id(), found: other };
    let [foreign_payment, foreign_tag] = of(&deposit, other);
    assert_eq!(see(&[&foreign_payment, &foreign_tag]), [no(foreign), no(foreign)]);
    let seen = see(&[&payment, &altered(&tag, 19..51, 0)]);
    let [first, second] = &seen[..] else { panic!("two outputs") };
    assert!(matches!(first, Meaning::NoDeposit(NoDepositError::Owner(_))) && first == second, "{first}");
    assert_eq!(see(&[&payment, &altered(&tag, 51..83, 0xff)])[1], no(NoDepositError::Refund));
    let mut pushed = vec![0x6a, 0x4d, 80, 0];
    pushed.extend(&tag.script_pubkey.as_bytes()[3..]);
    let pushed = TxOut { script_pubkey: pushed.into(), ..tag.clone() };
    assert_eq!(see(&[&payment, &pushed])[1], no(NoDepositError::Push));

    let gift = TxOut { script_pubkey: world.params.bridge().script_pubkey(), ..payment.clone() };
    assert_eq!(see(&[&gift]), [Meaning::Own]);
    // What posters and signers send is told as that.
    let (params, binding) = (&world.params, Binding { first: 4, count: 1 });
    let data = binding.output(params.chain_id());
    assert_eq!(see(&[&data, &gift, &change()]), [Meaning::LinkData(binding), Meaning::Own, Meaning::Paid]);
    let announcement =
        Announcement { batch: 7, payload_hash: PayloadHash::of(b"a payload"), root_after: Default::default() };
    let announced = TxOut { value: Amount::ZERO, script_pubkey: announcement.script_pubkey(params.chain_id()) };
    assert_eq!(see(&[&announced, &change()]), [Meaning::Announcement { batch: 7 }, Meaning::Nothing]);
    for meaning in [between, sorted, good].concat() {
        assert!(!meaning.to_string().contains('\n') && meaning.to_string().len() < 250, "{meaning}");
    }
}

#[test]
fn requests_and_announcements_are_told_as_that() {
    let world = World::new();
    let key = world.signer(0);
    let founded = world.params.with(|founding| {
        founding.upgrade_keys = Some(Quorum::new(1, vec![key.public()]).unwrap());
        (founding.notice_blocks, founding.quiet_blocks) = (2_000, 1);
    });
    let params = founded.unwrap();
    let see = |outputs: &[TxOut]| look(&transaction(outputs.to_vec()), &params, &[]);
    let cell = CellIndex::new(5).unwrap();
    let [first, second] = [7, 8].map(|byte| ClaimRequest::output(cell, &[byte; 32], params.chain_id()));
    let claims = see(&[change(), first.clone(), second]);
    let claim = |byte, is_first| {
        let request = ClaimRequest { cell, secret: [byte; 32], height_blocks: 0 };
        Meaning::Claim { request, is_first }
    };
    assert_eq!(claims, [Meaning::Nothing, claim(7, true), claim(8, false)]);
    assert!(claims[1].to_string().contains("lock in cell 5") && claims[2].to_string().contains("ignored"));
    assert_eq!(look(&transaction(vec![first]), &world.params, &[]), [Meaning::Nothing], "it is another rollup's");

    let output = UpgradeOutput::of(&params).unwrap();
    let address = UpgradeAddress::of(&params).unwrap();
    let coin = TxOut { value: Amount::from_sat(5_000), script_pubkey: address.script_pubkey().clone() };
    let upgrade = Upgrade { number: 0, change: Change::Withdrawal };
    let announcement = output.announcement(&upgrade);
    let unsigned = Meaning::Upgrade { upgrade: upgrade.clone(), is_signed: false };
    let seen = see(&[announcement.clone(), coin.clone()]);
    assert_eq!(seen, [unsigned, Meaning::UpgradeCoin]);
    assert!(seen[0].to_string().ends_with("ignored"), "{}", seen[0]);
    let funding = Funding { outpoint: OutPoint::null(), output: coin.clone() };
    let (fee_rate, origins) = ("2".parse().unwrap(), Default::default());
    let request = UpgradeRequest { upgrade: &upgrade, coins: &[funding], fee_rate, origins };
    let planned = upgrade::plan(&params, &request).unwrap().psbt;
    let signed = CheckedUpgrade::check(planned, &params, 10_000).unwrap().sign(&key).unwrap();
    let signed = upgrade::combine(vec![signed], &address).unwrap();
    let seen = look(&signed, &params, &[]);
    assert_eq!(seen, [Meaning::Upgrade { upgrade, is_signed: true }, Meaning::UpgradeCoin]);
    let twice = see(&[announcement.clone(), announcement]);
    assert!(twice.iter().all(|meaning| *meaning == Meaning::NoUpgrade(UpgradeError::Outputs(2))), "{twice:?}");
    assert_eq!(look(&signed, &world.params, &[]), [Meaning::Nothing, Meaning::Nothing], "it has no upgrade keys");
}

#[test]
fn what_became_of_a_request_is_told() {
    let (mut toy, _) = ToyRollup::with_two_batches();
    let chain_id = toy.params.chain_id();
    let cell = toy.cell(1);
    let nonce = toy.state.account(cell).unwrap().nonce;
    let destination = Destination::P2wpkh([6; 20]);
    let demand = |nonce: u32| {
        let body = Withdraw { chain_id, token: Token::BITCOIN, from: cell, nonce, amount: 1_000, fee: 0, destination };
        let key = toy.owner(1);
        Signed::sign(body, &key).demand(*key.public()).unwrap().output(chain_id)
    };
    let claim = ClaimRequest::output(cell, &[7; 32], chain_id);
    let outputs = vec![demand(nonce), demand(nonce + 9), demand(nonce), claim];
    toy.mine_outputs(outputs.clone());
    let height = toy.node.chain().height();
    let block = toy.node.chain().blocks().last().unwrap().clone();
    let is_ours = |transaction: &&Transaction| transaction.output.starts_with(&outputs);
    let txid = block.txdata.iter().find(is_ours).unwrap().compute_txid();
    let asked = [0, 1, 2, 3].map(|vout| OutPoint { txid, vout });
    let fates = trace_requests(&toy.node, &toy.params, toy.program.clone(), (&asked, height)).unwrap();
    let waiting = |index| RequestFate::Waiting { index, due_height: toy.params.due_height(height) };
    // The same is demanded twice, and nobody's program opens locks.
    let expected = [waiting(0), waiting(1), RequestFate::NotQueued, RequestFate::NotQueued];
    assert_eq!(fates, expected);
    for fate in expected {
        assert!(fate.to_string().contains("waits") || fate.to_string().contains("not queued"), "{fate}");
    }
}

/// A stranger makes a transaction as he likes: with each output looked at again for each of the others this would not
/// end in a day.
#[test]
fn thousands_of_outputs_are_looked_at_once_each() {
    const DATA: usize = 3_000;
    let world = World::new();
    let deposit = Deposit { amount_sat: 5_000, owner: *world.owner().public(), refund: world.refund_key(0).public() };
    let [payment, tag] = deposit.outputs(world.params.bridge(), world.params.chain_id());
    // One payment, and then data for it behind other outputs, over and over.
    let pairs = std::iter::repeat_n([change(), tag], DATA).flatten();
    let outputs: Vec<TxOut> = [payment, change()].into_iter().chain(pairs).collect();
    let seen = look(&transaction(outputs), &world.params, &[]);
    assert_eq!(seen.len(), 2 + 2 * DATA);
    assert_eq!(seen[0], Meaning::NoDeposit(NoDepositError::DataElsewhere { payment_vout: 0, data_vout: 3 }));
    assert_eq!(seen[1], Meaning::Between { payment_vout: 0, data_vout: 3 });
    for (data, meanings) in (3u32..).step_by(2).zip(seen[2..].chunks(2)) {
        let elsewhere = NoDepositError::PaymentElsewhere { payment_vout: 0, data_vout: data };
        let between = Meaning::Between { payment_vout: 0, data_vout: data };
        assert_eq!(meanings, [between, Meaning::NoDeposit(elsewhere)]);
    }
}

/// The meanings agree with what followers take for deposits, whatever the outputs are.
#[test]
fn an_output_is_called_a_deposit_if_followers_credit_it() {
    let world = World::new();
    let deposit = |amount_sat, refund| {
        let deposit = Deposit { amount_sat, owner: *world.owner().public(), refund: world.refund_key(refund).public() };
        deposit.outputs(world.params.bridge(), world.params.chain_id())
    };
    let [[a, a_tag], [b, b_tag]] = [deposit(5_000, 0), deposit(400, 1)];
    let pieces = [&a, &a_tag, &b, &b_tag, &change()].map(Clone::clone);
    // Every sequence of four outputs of these.
    for code in 0..5usize.pow(4) {
        let outputs: Vec<TxOut> = (0..4).map(|place| pieces[code / 5usize.pow(place) % 5].clone()).collect();
        let transaction = transaction(outputs);
        let credited = Deposit::scan(&transaction, world.params.bridge(), world.params.chain_id());
        let seen = look(&transaction, &world.params, &[]);
        let called: Vec<(u32, Deposit)> = (0..)
            .zip(&seen)
            .filter_map(|(vout, meaning)| match meaning {
                Meaning::Deposit(deposit) => Some((vout, *deposit)),
                _ => None,
            })
            .collect();
        assert_eq!(called, credited, "{code}");
        let data = seen.iter().filter(|meaning| **meaning == Meaning::DepositData).count();
        assert_eq!(data, credited.len(), "{code}");
    }
}

#[test]
fn what_another_wallet_is_told_is_the_deposit() {
    let world = World::new();
    let deposit =
        Deposit { amount_sat: 123_456_789, owner: *world.owner().public(), refund: world.refund_key(0).public() };
    let recipe = Recipe::new(&world.params, &deposit).unwrap();
    let [payment, tag] = deposit.outputs(world.params.bridge(), world.params.chain_id());
    assert!(tag.script_pubkey.to_hex_string().ends_with(&recipe.data) && recipe.data.len() == 2 * 80);
    assert!(recipe.core.contains(":1.23456789}") && recipe.core.contains("\"changePosition\":2"), "{}", recipe.core);
    assert!(recipe.core.starts_with("bitcoin-cli -chain=regtest -named walletcreatefundedpsbt "), "{}", recipe.core);
    let uri = format!("bitcoin:{}?amount=1.23456789&req-op_return={}", recipe.address, recipe.data);
    assert_eq!(recipe.uri, uri);
    // Version, no inputs, two outputs, lock time.
    let outputs = bitcoin::consensus::encode::serialize_hex(&vec![payment, tag]);
    assert_eq!(recipe.transaction, format!("0200000000{outputs}00000000"));
}

#[test]
fn the_fate_of_a_deposit_is_told_while_its_coin_is_there_and_after() {
    let (mut toy, _) = ToyRollup::with_two_batches();
    toy.deposit(&[(1, 60_000)]);
    let watch = |toy: &ToyRollup| {
        let mut watch = BridgeWatch::start(&toy.node, toy.params.clone(), toy.program.clone()).unwrap();
        watch.catch_up(&toy.node).unwrap();
        watch
    };
    let fates = |toy: &ToyRollup| {
        let watch = watch(toy);
        let coins = watch.scan().coins().into_iter().filter(|coin| matches!(coin.origin, Origin::Deposit { .. }));
        let fates = coins.map(|coin| (coin.outpoint, coin.height, fate_of(watch.scan(), coin).unwrap()));
        let fates: Vec<_> = fates.collect();
        let asked: Vec<OutPoint> = fates.iter().map(|(outpoint, ..)| *outpoint).collect();
        let expected: Vec<_> = fates.iter().map(|(.., fate)| (*fate, None)).collect();
        assert_eq!(trace(&toy.node, &toy.params, toy.program.clone(), &asked).unwrap(), expected);
        fates
    };
    let all = fates(&toy);
    let (outpoint, height, last) = *all.last().unwrap();
    assert_eq!(all.len(), 6);
    assert!(all[..5].iter().all(|(.., fate)| matches!(fate, Fate::Credited { .. })), "{all:?}");
    let (due_height, last_height) = (height + 100, height + 500);
    assert_eq!(last, Fate::Waiting { index: 5, due_height, last_height });
    // Nobody credits it, and its depositor takes it back.
    toy.node.mine(500).unwrap();
    let void = Fate::Void { index: 5, refund_height: height + 1_000 };
    assert_eq!(fates(&toy).last().unwrap().2, void);
    toy.node.mine(499).unwrap();
    let unspent = toy.node.unspent(&outpoint).unwrap().unwrap();
    let (key, to) = (toy.wallet.refund_key(1).unwrap(), toy.poster.script_pubkey());
    let refund = refund(&toy.params, outpoint, &unspent, &key, to, "2".parse().unwrap()).unwrap();
    toy.mine(std::slice::from_ref(&refund));
    toy.node.mine(FINAL_DEPTH_BLOCKS).unwrap();
    assert!(watch(&toy).scan().coin(&outpoint).is_none());
    let asked = [outpoint, OutPoint { vout: 9, ..outpoint }];
    let traced = trace(&toy.node, &toy.params, toy.program.clone(), &asked).unwrap();
    let (fate, spent) = (traced[0].0, traced[0].1.unwrap());
    assert_eq!((fate, spent.txid, spent.by_federation), (void, refund.compute_txid(), false));
    assert_eq!(traced[1], (Fate::Outside, None));
}
