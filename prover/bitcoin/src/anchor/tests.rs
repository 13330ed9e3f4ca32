use super::*;
use crate::regtest::{BlockError, COINBASE_MATURITY_BLOCKS, RegtestChain};
use bitcoin::{
    Script, TapNodeHash,
    opcodes::all::{OP_CHECKSIG, OP_NOT, OP_PUSHNUM_1, OP_VERIFY},
    script::Builder,
    taproot::{LeafVersion, NodeInfo, TaprootSpendInfo},
};
use taproof_verifier::{
    cell::ChainId,
    envelope::Reveal,
    payload::{HEADER_LENGTH, PAYLOAD_LENGTH_MAX},
};
use taproof_wallet::Wallet;

fn poster(index: u32) -> PosterKey {
    let wallet = Wallet::from_seed(&[7; 32], Network::Regtest).expect("32 bytes");
    wallet.poster_key(index).expect("a small number")
}

/// The header of a payload, with filler up to a length: all that an envelope looks at.
fn payload(length: usize) -> Vec<u8> {
    assert!(length >= HEADER_LENGTH);
    let mut bytes = vec![0u8; length];
    (0..length).for_each(|position| bytes[position] = (position % 251) as u8);
    // Version, chain, batch 9, hashes and roots (small numbers), depth 4.
    bytes[..HEADER_LENGTH].fill(0);
    bytes[0] = 3;
    bytes[16] = 9;
    bytes[16 + 8 + 32] = 1;
    bytes[16 + 8 + 32 + 32] = 2;
    bytes[16 + 8 + 32 + 32 + 32] = 4;
    bytes
}

/// The rollup that the payloads name.
const CHAIN: ChainId = ChainId::from_byte_array([0; 15]);

fn rate(text: &str) -> FeeRate {
    text.parse().expect("a rate")
}

/// A chain that gave the poster `coins` spendable rewards to a script.
fn chain_paying(script: &Script, coins: u32) -> RegtestChain {
    let mut chain = RegtestChain::new();
    chain.mine_empty(coins, script).expect("empty blocks are valid");
    chain.mine_empty(COINBASE_MATURITY_BLOCKS - 1, &miner()).expect("empty blocks are valid");
    chain
}

fn miner() -> ScriptBuf {
    poster(99).script_pubkey()
}

fn funding(chain: &RegtestChain, script: &Script) -> Vec<Funding> {
    let coins = chain.spendable_coins(script);
    coins.into_iter().map(|(outpoint, coin)| Funding { outpoint, output: coin.output }).collect()
}

fn request<'a>(payload: &'a [u8], fee_rate: FeeRate, funding: &'a [Funding]) -> AnchorRequest<'a> {
    AnchorRequest { payload, fee_rate, headroom: Amount::from_sat(10_000), funding }
}

/// A coin that is on no chain.
fn coin(number: u8, value_sat: u64, script: ScriptBuf) -> Funding {
    let txid = bitcoin::Txid::from_byte_array([number; 32]);
    let output = TxOut { value: Amount::from_sat(value_sat), script_pubkey: script };
    Funding { outpoint: OutPoint { txid, vout: u32::from(number) }, output }
}

#[test]
fn anchors_of_every_rate_and_size_are_mined_and_read_back() {
    let key = poster(0);
    let chain = chain_paying(&key.script_pubkey(), 1);
    let funding = funding(&chain, &key.script_pubkey());
    for (text, length) in [
        ("1", HEADER_LENGTH),
        ("1.001", HEADER_LENGTH + 1),
        ("2.5", 509),
        ("2.5", 510),
        ("37.123", 511),
        ("1000", 50_000),
        ("10000", 10_000),
        ("1", PAYLOAD_LENGTH_MAX),
    ] {
        let payload = payload(length);
        let anchor = build(&request(&payload, rate(text), &funding), &key).expect("enough coins");
        let transactions = [anchor.commit().clone(), anchor.reveal().clone()];
        let facts = chain.check_transactions(&transactions).expect("valid in the next block");
        let figures = [anchor.commit_figures(), anchor.reveal_figures()];
        for (facts, figures) in facts.iter().zip(figures) {
            assert_eq!(facts.nonstandard, None, "{text} sat/vB, {length} bytes");
            assert_eq!((facts.txid, facts.vsize_vb, facts.fee_sat), (figures.txid, figures.vsize_vb, figures.fee_sat));
            assert_eq!(facts.fee_sat, rate(text).fee(bitcoin::Weight::from_wu(facts.weight_wu)).to_sat());
        }
        assert!(transactions.iter().all(|transaction| transaction.is_explicitly_rbf()));
        assert!(facts[0].vsize_vb + facts[1].vsize_vb <= MAX_PACKAGE_VSIZE_VB);
        assert!(facts[0].weight_wu + facts[1].weight_wu <= MAX_PACKAGE_WEIGHT_WU);
        let change = &anchor.reveal().output[1];
        assert_eq!((change.value.to_sat(), &change.script_pubkey), (10_000, &key.script_pubkey()));

        let mut chain = chain.clone();
        let block = chain.mine(&transactions, &miner()).expect("valid");
        let reveal = Reveal::parse(&block.txdata[2], CHAIN).expect("exact").expect("an anchor");
        assert_eq!((reveal.payload(), reveal.poster()), (payload.as_slice(), key.public()));
        assert_eq!(reveal.announcement(), anchor.announcement());
        assert_eq!(reveal.announcement().batch, 9);
    }
}

#[test]
fn rates_below_one_satoshi_a_virtual_byte_are_kept() {
    let key = poster(0);
    let chain = chain_paying(&key.script_pubkey(), 1);
    let funding = funding(&chain, &key.script_pubkey());
    let payload = payload(5_000);
    let anchor = build(&request(&payload, rate("0.1"), &funding), &key).expect("enough coins");
    let facts = chain.check_transactions(&[anchor.commit().clone(), anchor.reveal().clone()]).expect("valid");
    assert_eq!(facts[1].fee_sat, facts[1].vsize_vb.div_ceil(10));
    assert_eq!(facts[1].nonstandard, None);
}

#[test]
fn key_hash_coins_fund_an_anchor_too() {
    let key = poster(0);
    let script = key.witness_v0_script_pubkey();
    let mut chain = chain_paying(&script, 1);
    let output = TxOut { value: Amount::from_sat(500_000_000), script_pubkey: script.clone() };
    let split = pay(vec![output.clone(); 3], rate("1"), &funding(&chain, &script), &key).expect("a reward suffices");
    chain.mine(&[split], &miner()).expect("valid");
    let funding: Vec<Funding> = funding(&chain, &script).into_iter().filter(|coin| coin.output == output).collect();
    let payload = payload(1_000);
    let mut request = request(&payload, rate("3.7"), &funding);
    request.headroom = Amount::from_sat(1_100_000_000);
    let anchor = build(&request, &key).expect("enough coins");
    assert_eq!(anchor.commit().input.len(), 3);
    let figures = anchor.commit_figures();
    let least = rate("3.7").fee(bitcoin::Weight::from_wu(figures.weight_wu)).to_sat();
    assert!((least..least + 10).contains(&figures.fee_sat), "{} of {least}", figures.fee_sat);
    chain.mine(&[anchor.commit().clone(), anchor.reveal().clone()], &miner()).expect("valid");
}

#[test]
fn the_fewest_of_the_largest_coins_are_spent_and_dust_is_not_returned() {
    let key = poster(0);
    let script = key.script_pubkey();
    let payload = payload(400);
    let coins = [coin(1, 20_000, script.clone()), coin(2, 500_000, script.clone()), coin(3, 600, script.clone())];
    let anchor = build(&request(&payload, rate("1"), &coins), &key).expect("enough coins");
    assert_eq!(anchor.funding(), [coins[1].clone()]);
    assert_eq!(anchor.commit().output.len(), 2);
    assert_eq!(anchor.commit().output[1].script_pubkey, script);

    let needed = anchor.commit().output[0].value.to_sat();
    let one_output_fee = anchor.commit_figures().fee_sat - 43;
    for (extra, outputs) in [(0, 1), (43 + 329, 1), (43 + 330, 2)] {
        let exact = [coin(4, needed + one_output_fee + extra, script.clone())];
        let anchor = build(&request(&payload, rate("1"), &exact), &key).expect("just enough");
        assert_eq!(anchor.commit().output.len(), outputs, "{extra} sat beyond");
    }
    let short = [coin(4, needed + one_output_fee - 1, script)];
    let error = build(&request(&payload, rate("1"), &short), &key).expect_err("a satoshi short");
    let available_sat = needed + one_output_fee - 1;
    assert_eq!(error, AnchorError::InsufficientFunds { needed_sat: available_sat + 1, available_sat });
}

#[test]
fn requests_that_cannot_be_met_say_why() {
    let key = poster(0);
    let script = key.script_pubkey();
    let payload = payload(PAYLOAD_LENGTH_MAX);
    let coins = [coin(1, 5_000_000, script.clone())];
    let with = |alter: &dyn Fn(&mut AnchorRequest<'_>)| {
        let mut request = request(&payload, rate("1"), &coins);
        alter(&mut request);
        build(&request, &key).expect_err("cannot be built")
    };
    let none = with(&|request| request.funding = &[]);
    assert!(matches!(none, AnchorError::InsufficientFunds { available_sat: 0, .. }));
    // What an output without a value takes is a fee.
    let output = TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::new_op_return([7; 60]) };
    let unpaid = pay(vec![output], rate("1"), &[], &key).expect_err("there is no coin");
    let is_fee = matches!(unpaid, AnchorError::InsufficientFunds { needed_sat: 100..200, available_sat: 0 });
    assert!(is_fee, "{unpaid}");
    let dust = with(&|request| request.headroom = Amount::from_sat(329));
    assert_eq!(dust, AnchorError::Headroom { headroom_sat: 329, dust_sat: 330 });
    assert_eq!(with(&|request| request.headroom = Amount::MAX), AnchorError::ValueRange);
    let rich = [coin(1, 3_000_000_000, script.clone())];
    let mut untold = request(&payload, rate("1"), &rich);
    untold.headroom = Amount::from_sat(2_500_000_000);
    let error = build(&untold, &key).expect_err("more than a reveal can tell");
    assert!(matches!(error, AnchorError::Envelope(EnvelopeError::Value(2_500_000_000..))), "{error}");
    for length in [10, PAYLOAD_LENGTH_MAX + 1] {
        let error = build(&request(&vec![1; length], rate("1"), &coins), &key).expect_err("no payload");
        assert!(matches!(error, AnchorError::Envelope(_)));
    }

    let build_with = |coins: &[Funding]| build(&request(&payload, rate("1"), coins), &key).expect_err("refused");
    let twice = [coins[0].clone(), coins[0].clone()];
    assert_eq!(build_with(&twice), AnchorError::DuplicateFunding(coins[0].outpoint));
    let foreign = [coins[0].clone(), coin(2, 1, poster(1).script_pubkey())];
    assert_eq!(build_with(&foreign), AnchorError::ForeignFunding(foreign[1].outpoint));
    let many: Vec<Funding> = (0..90).map(|number| coin(number, 2_000, script.clone())).collect();
    assert!(matches!(build_with(&many), AnchorError::PackageSize { .. }), "{:?}", build_with(&many));
    let beyond: Vec<Funding> = (0..3).map(|number| coin(number, u64::MAX / 2, script.clone())).collect();
    assert_eq!(build_with(&beyond), AnchorError::ValueRange);
}

/// Mines the commit and then expects the chain to refuse a reveal.
fn assert_refused(chain: &RegtestChain, anchor: &AnchorArtefact, reveal: Transaction) {
    let mut chain = chain.clone();
    chain.mine(std::slice::from_ref(anchor.commit()), &miner()).expect("valid");
    let error = chain.mine(&[reveal], &miner()).expect_err("the script fails");
    assert!(matches!(error, BlockError::Transaction { source: TransactionError::Script { input: 0 }, .. }), "{error}");
}

#[test]
fn altered_leaves_and_foreign_signatures_are_refused() {
    let key = poster(0);
    let chain = chain_paying(&key.script_pubkey(), 1);
    let funding = funding(&chain, &key.script_pubkey());
    let payload = payload(1_200);
    let anchor = build(&request(&payload, rate("1"), &funding), &key).expect("enough coins");
    let with_witness = |items: [Vec<u8>; 3]| {
        let mut reveal = anchor.reveal().clone();
        reveal.input[0].witness = Witness::from_slice(&items);
        reveal
    };
    let witness = &anchor.reveal().input[0].witness;
    let [signature, leaf, control] = [0, 1, 2].map(|item| witness[item].to_vec());
    let mut altered = leaf.clone();
    altered[700] ^= 1;
    let reveal = with_witness([signature.clone(), altered, control.clone()]);
    assert_eq!(Reveal::parse(&reveal, CHAIN), Err(EnvelopeError::PayloadHash));
    assert_refused(&chain, &anchor, reveal);

    let mut negative = control.clone();
    negative[0] ^= 1;
    assert_refused(&chain, &anchor, with_witness([signature.clone(), leaf.clone(), negative]));
    assert_refused(&chain, &anchor, with_witness([vec![], leaf, control]));

    let secp = Secp256k1::new();
    let envelope = Envelope::new(key.public(), &payload).expect("as before");
    let mut foreign = anchor.reveal().clone();
    sign_reveal(&secp, &mut foreign, &anchor.commit().output[0], &envelope, poster(1).pair());
    assert_eq!(Reveal::parse(&foreign, CHAIN), Err(EnvelopeError::Signature));
    assert_refused(&chain, &anchor, foreign);
    let mut redirected = anchor.reveal().clone();
    redirected.output[1].script_pubkey = miner();
    assert_refused(&chain, &anchor, redirected);
    let mut renamed = anchor.reveal().clone();
    let announcement = taproof_verifier::envelope::Announcement { batch: 10, ..anchor.announcement() };
    renamed.output[0].script_pubkey = announcement.script_pubkey(CHAIN);
    assert_refused(&chain, &anchor, renamed);
}

/// Trap 30: anybody can lock coins to a leaf that names the poster's key but demands that its signature be missing.
#[test]
fn a_leaf_that_negates_the_signature_is_spendable_but_no_anchor() {
    let (victim, forger) = (poster(0), poster(1));
    let secp = Secp256k1::new();
    let mut chain = chain_paying(&forger.script_pubkey(), 1);
    let funding = funding(&chain, &forger.script_pubkey());
    let payload = payload(700);
    let envelope = Envelope::new(victim.public(), &payload).expect("a payload");
    let pushes = &envelope.leaf().as_bytes()[34..];
    assert_eq!(pushes.last(), Some(&OP_PUSHNUM_1.to_u8()));
    let prefix = Builder::new()
        .push_x_only_key(&victim.public())
        .push_opcode(OP_CHECKSIG)
        .push_opcode(OP_NOT)
        .push_opcode(OP_VERIFY);
    let forged = ScriptBuf::from([prefix.as_bytes(), pushes].concat());
    let node = NodeInfo::new_leaf_with_ver(forged.clone(), LeafVersion::TapScript);
    let info = TaprootSpendInfo::from_node_info(&secp, victim.public(), node);
    let root: Option<TapNodeHash> = info.merkle_root();
    let output =
        TxOut { value: Amount::from_sat(50_000), script_pubkey: ScriptBuf::new_p2tr(&secp, victim.public(), root) };
    let (mut commit, coins) = fund(vec![output], rate("1"), &funding, &forger.scripts()).expect("enough coins");
    sign_funding(&secp, &mut commit, &coins, &forger);
    let outpoint = OutPoint { txid: commit.compute_txid(), vout: 0 };
    let change = TxOut { value: Amount::from_sat(10_000), script_pubkey: forger.script_pubkey() };
    let mut reveal = envelope.reveal_transaction(outpoint, Amount::from_sat(50_000), change).expect("not much");
    let control = info.control_block(&(forged.clone(), LeafVersion::TapScript)).expect("the lone leaf");
    reveal.input[0].witness = Witness::from_slice(&[vec![], forged.to_bytes(), control.serialize()]);

    chain.mine(&[commit, reveal.clone()], &miner()).expect("Bitcoin allows it");
    assert_eq!(Reveal::parse(&reveal, CHAIN), Err(EnvelopeError::SignatureLength(0)));
    reveal.input[0].witness = Witness::from_slice(&[vec![1; 64], forged.to_bytes(), control.serialize()]);
    assert_eq!(Reveal::parse(&reveal, CHAIN), Err(EnvelopeError::Leaf));
}

/// An output whose witness version has no rules yet is spent by any witness, also by a copy of the victim's leaf.
#[test]
fn an_output_without_rules_takes_the_victims_leaf_and_is_no_anchor() {
    let (victim, forger) = (poster(0), poster(1));
    let secp = Secp256k1::new();
    let mut chain = chain_paying(&forger.script_pubkey(), 1);
    let funding = funding(&chain, &forger.script_pubkey());
    let envelope = Envelope::new(victim.public(), &payload(700)).expect("a payload");
    let version = bitcoin::WitnessVersion::V2;
    let program = bitcoin::WitnessProgram::new(version, &[7; 32]).expect("32 bytes are a program");
    let output = TxOut { value: Amount::from_sat(50_000), script_pubkey: ScriptBuf::new_witness_program(&program) };
    let (mut commit, coins) = fund(vec![output.clone()], rate("1"), &funding, &forger.scripts()).expect("enough");
    sign_funding(&secp, &mut commit, &coins, &forger);
    let outpoint = OutPoint { txid: commit.compute_txid(), vout: 0 };
    let change = TxOut { value: Amount::from_sat(10_000), script_pubkey: forger.script_pubkey() };
    let mut reveal = envelope.reveal_transaction(outpoint, output.value, change).expect("not much");
    sign_reveal(&secp, &mut reveal, &output, &envelope, forger.pair());
    chain.mine(&[commit, reveal.clone()], &miner()).expect("Bitcoin allows it");
    assert_eq!(Reveal::parse(&reveal, CHAIN), Err(EnvelopeError::Signature));
}

#[test]
fn payments_spend_the_posters_coins() {
    let key = poster(0);
    let mut chain = chain_paying(&key.script_pubkey(), 1);
    let funding = funding(&chain, &key.script_pubkey());
    let outputs: Vec<TxOut> =
        (0..3).map(|number| TxOut { value: Amount::from_sat(1_000_000 + number), script_pubkey: miner() }).collect();
    let payment = pay(outputs.clone(), rate("7.5"), &funding, &key).expect("enough coins");
    assert_eq!(payment.output[..3], outputs);
    assert_eq!(payment.output[3].script_pubkey, key.script_pubkey());
    let facts = chain.check_transactions(std::slice::from_ref(&payment)).expect("valid")[0];
    assert_eq!((facts.nonstandard, facts.fee_sat), (None, rate("7.5").fee(payment.weight()).to_sat()));
    chain.mine(&[payment], &miner()).expect("valid");
    let heavy = vec![outputs[0].clone(); 3_000];
    assert!(matches!(pay(heavy, rate("1"), &funding, &key), Err(AnchorError::TransactionWeight(_))));
    let much = TxOut { value: Amount::from_sat(5_000_000_000), script_pubkey: miner() };
    assert!(matches!(pay(vec![much], rate("1"), &funding, &key), Err(AnchorError::InsufficientFunds { .. })));
}

#[test]
fn a_stuck_commit_is_swept_by_its_poster_alone() {
    let key = poster(0);
    let mut chain = chain_paying(&key.script_pubkey(), 1);
    let funding = funding(&chain, &key.script_pubkey());
    let payload = payload(2_000);
    let anchor = build(&request(&payload, rate("5"), &funding), &key).expect("enough coins");
    assert_eq!(anchor.sweep(&poster(1), rate("1")), Err(AnchorError::NotPoster));
    let locked = anchor.commit().output[0].value.to_sat();
    let error = anchor.sweep(&key, rate("10000")).expect_err("dearer than the coin");
    assert!(matches!(error, AnchorError::NothingToSweep { value_sat, .. } if value_sat == locked));
    chain.mine(std::slice::from_ref(anchor.commit()), &miner()).expect("valid");
    let sweep = anchor.sweep(&key, rate("2.25")).expect("worth it");
    let facts = chain.check_transactions(std::slice::from_ref(&sweep)).expect("valid")[0];
    assert_eq!(facts.nonstandard, None);
    assert_eq!(facts.fee_sat, rate("2.25").fee(sweep.weight()).to_sat());
    assert_eq!(sweep.output[0].script_pubkey, key.script_pubkey());
    let both = [sweep.clone(), anchor.reveal().clone()];
    assert!(chain.check_transactions(&both).is_err(), "the two spend one output");
    chain.mine(&[sweep], &miner()).expect("valid");
}

#[test]
fn an_artefact_is_read_back_whole_or_not_at_all() {
    let key = poster(0);
    let coins = [
        coin(1, 7_000, key.script_pubkey()),
        coin(2, 9_000, key.witness_v0_script_pubkey()),
        coin(3, 9_500, key.script_pubkey()),
    ];
    let payload = payload(1_000);
    let anchor = build(&request(&payload, rate("1.5"), &coins), &key).expect("enough coins");
    assert!(anchor.funding().len() > 1);
    let json = anchor.to_json();
    assert_eq!(AnchorArtefact::from_json(&json).expect("just written"), anchor);
    assert!(anchor.sweep(&key, rate("1")).is_ok());

    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let altered = |alter: &dyn Fn(&mut serde_json::Value)| {
        let mut value = value.clone();
        alter(&mut value);
        assert_ne!(value.to_string(), serde_json::from_str::<serde_json::Value>(&json).expect("JSON").to_string());
        AnchorArtefact::from_json(&value.to_string()).expect_err("altered")
    };
    assert!(matches!(altered(&|v| v["version"] = 2.into()), AnchorFileError::Version(2)));
    assert!(matches!(altered(&|v| v["more"] = 2.into()), AnchorFileError::Json(_)));
    assert!(matches!(altered(&|v| v["batch"] = 8.into()), AnchorFileError::Disagrees("batch")));
    assert!(matches!(altered(&|v| v["chain_id"] = "08".repeat(15).into()), AnchorFileError::Disagrees("reveal.hex")));
    assert!(matches!(
        altered(&|v| v["chain_id"] = format!("{}08", "00".repeat(14)).into()),
        AnchorFileError::Disagrees("chain_id")
    ));
    assert!(matches!(altered(&|v| v["payload_hash"] = "00".into()), AnchorFileError::Disagrees("payload_hash")));
    for part in ["commit", "reveal"] {
        let field = |error| matches!(error, AnchorFileError::Disagrees(field) if field == part);
        assert!(field(altered(&|v| v[part]["fee_sat"] = 1.into())));
        assert!(field(altered(&|v| v[part]["vsize_vb"] = 1.into())));
        assert!(field(
            altered(&|v| v[part]["txid"] = v["funding"][0]["outpoint"].as_str().expect("text")[..64].into())
        ));
        assert!(field(altered(&|v| v[part]["hex"] = "00".into())));
    }
    assert!(matches!(altered(&|v| v["funding"][0]["value_sat"] = 1.into()), AnchorFileError::Disagrees(_)));
    let swap = |v: &mut serde_json::Value| v["funding"].as_array_mut().expect("a list").reverse();
    assert!(matches!(altered(&swap), AnchorFileError::Disagrees("funding")));
    for part in ["commit", "reveal"] {
        let hex = value[part]["hex"].as_str().expect("text").to_owned();
        for position in (0..hex.len()).step_by(if hex.len() > 2_000 { 61 } else { 7 }) {
            let mut bytes = hex.clone().into_bytes();
            bytes[position] = if bytes[position] == b'0' { b'1' } else { b'0' };
            let text = String::from_utf8(bytes).expect("ASCII");
            altered(&|v| v[part]["hex"] = text.clone().into());
        }
    }
    for cut in [0, 1, json.len() / 2, json.len() - 1] {
        assert!(matches!(AnchorArtefact::from_json(&json[..cut]), Err(AnchorFileError::Json(_))));
    }
    let long = " ".repeat(3_000_000);
    assert!(matches!(AnchorArtefact::from_json(&long), Err(AnchorFileError::Size(3_000_000))));
}
