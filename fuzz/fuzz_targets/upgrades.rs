//! What keys sign on Bitcoin: announcements of the upgrade keys, and anchors. A signed transaction is read as what it
//! says, and none that was altered is read at all; and whatever is announced, nothing changes within the notice.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use taproof_verifier::{
    bitcoin::{
        Amount, Network, OutPoint, ScriptBuf, TapLeafHash, TapSighashType, Transaction, TxIn, TxOut, Witness,
        XOnlyPublicKey,
        absolute::LockTime,
        consensus::{deserialize, serialize},
        constants::genesis_block,
        secp256k1::{All, Keypair, Message, Secp256k1},
        sighash::{Prevouts, SighashCache},
        taproot,
        transaction::Version,
    },
    bridge::Federation,
    cell::{ChainId, Depth},
    envelope::{Envelope, Reveal},
    follow::{Founding, Params},
    headers::BlockId,
    payload::HEADER_LENGTH,
    program::ProgramId,
    quorum::{Keys, Quorum},
    schedule::{PENDING_MAX, Schedule},
    spent::telling,
    upgrade::{Change, Upgrade, UpgradeOutput},
};

const NOTICE_BLOCKS: u32 = 10;
const VALUE: Amount = Amount::from_sat(9_000);

static SECP: LazyLock<Secp256k1<All>> = LazyLock::new(Secp256k1::new);

/// Key pairs in the ascending order of their keys.
static PAIRS: LazyLock<[Keypair; 3]> = LazyLock::new(|| {
    let mut pairs = [1, 2, 3].map(|secret| Keypair::from_seckey_slice(&SECP, &[secret; 32]).expect("a secret key"));
    pairs.sort_by_key(key);
    pairs
});

fn key(pair: &Keypair) -> XOnlyPublicKey {
    pair.x_only_public_key().0
}

static OUTPUT: LazyLock<UpgradeOutput> = LazyLock::new(|| {
    let keys = PAIRS.iter().map(key).collect::<Vec<_>>();
    let params = Params::new(Founding {
        network: Network::Regtest,
        genesis_depth: Depth::new(2).expect("two levels"),
        federation: Federation::new(1, vec![keys[0]], 100, 0).expect("one key"),
        deposit_window_blocks: 6,
        deposit_expiry_blocks: 20,
        start: BlockId { height: 0, hash: genesis_block(Network::Regtest).block_hash() },
        final_depth_blocks: 1,
        upgrade_keys: Some(Quorum::new(2, keys.clone()).expect("three keys")),
        notice_blocks: NOTICE_BLOCKS,
        sequencer_keys: Keys::new(keys).expect("three keys"),
        quiet_blocks: 2,
        opening_min_sat: 0,
        program_id: ProgramId::from_byte_array([0; 32]),
    });
    UpgradeOutput::of(&params.expect("consistent parameters")).expect("there are upgrade keys")
});

/// Kind, number, height and keys of an announcement, and how many blocks later it comes.
type Step = (u8, u8, u8, u8, u8);

/// Announcements, alterations, and bytes.
type Input = (Vec<Step>, Vec<(u16, u8)>, Vec<u8>);

fuzz_target!(|input: Input| {
    let (steps, alterations, bytes) = input;
    if let Ok(upgrade) = Upgrade::from_bytes(&bytes) {
        assert_eq!(upgrade.to_bytes(), bytes);
    }
    if let Ok(transaction) = deserialize::<Transaction>(&bytes) {
        let _ = (OUTPUT.parse(&transaction), OUTPUT.announced(&transaction));
    }
    change_a_schedule(&steps);
    let step = steps.first().copied().unwrap_or_default();
    announce(&upgrade(step, 0, 0), 1 + usize::from(step.4 % 3), &alterations);
    anchor(&bytes, &alterations);
});

fn upgrade((kind, number, height, keys, _): Step, next: u32, block: u32) -> Upgrade {
    let height = block + u32::from(height % 32);
    let keys = PAIRS.iter().enumerate().filter(|(i, _)| keys >> i & 1 == 1).map(|(_, pair)| key(pair)).collect();
    let change = match kind % 4 {
        0 | 1 => Change::Program { program: ProgramId::from_byte_array([kind; 32]), height },
        2 => Change::Sequencers { keys: Keys::new(keys).expect("up to three keys"), height },
        _ => Change::Withdrawal,
    };
    let number = match number {
        0..200 => next,
        200..254 => next.wrapping_add(u32::from(number)).wrapping_sub(227),
        _ => u32::MAX - 1,
    };
    Upgrade { number, change }
}

fn change_a_schedule(steps: &[Step]) {
    let mut block = 100;
    let mut schedule = Schedule::new(block, ProgramId::from_byte_array([0; 32]), Keys::default());
    for step in steps {
        block += u32::from(step.4 % 8);
        let upgrade = upgrade(*step, schedule.next_number(), block);
        let before = schedule.clone();
        if schedule.accept(&upgrade, block, NOTICE_BLOCKS).is_err() {
            assert_eq!(schedule, before);
            continue;
        }
        assert!(!before.is_renounced());
        assert_eq!(schedule.next_number(), upgrade.number + 1);
        let is_withdrawal = upgrade.change == Change::Withdrawal;
        let certain = if is_withdrawal { block } else { block + NOTICE_BLOCKS - 1 };
        for height in 100..=certain {
            assert_eq!(schedule.program_at(height), before.program_at(height));
            assert_eq!(schedule.sequencers_at(height), before.sequencers_at(height));
        }
        let pending = schedule.pending(block).len();
        assert!(if is_withdrawal { pending == 0 } else { (1..=PENDING_MAX).contains(&pending) });
        assert!(schedule.entries().windows(2).all(|pair| pair[0].height <= pair[1].height));
    }
}

/// Two of the three keys announce something, from so many outputs.
fn announce(upgrade: &Upgrade, inputs: usize, alterations: &[(u16, u8)]) {
    let input = |vout: usize| TxIn {
        previous_output: OutPoint { vout: vout as u32, ..OutPoint::null() },
        sequence: telling(VALUE).expect("not much"),
        ..TxIn::default()
    };
    let spent = TxOut { value: VALUE, script_pubkey: OUTPUT.script_pubkey(&SECP) };
    let outputs = vec![OUTPUT.announcement(upgrade), spent.clone()];
    let mut transaction = transaction((0..inputs).map(input).collect(), outputs);
    let leaf = TapLeafHash::from_script(OUTPUT.leaf(), taproot::LeafVersion::TapScript);
    let signatures = [0, 2].map(|i| sign(&PAIRS[i], &transaction, &vec![spent.clone(); inputs], leaf));
    let control = [&[0xc0], &OUTPUT.internal_key().serialize()[..]].concat();
    let [first, third] = &signatures;
    // The last key's signature comes first.
    let witness = Witness::from_slice(&[third.as_slice(), &[], first, OUTPUT.leaf().as_bytes(), &control]);
    transaction.input.iter_mut().for_each(|input| input.witness = witness.clone());
    assert_eq!(OUTPUT.parse(&transaction).as_ref(), Ok(&Some(upgrade.clone())));
    let Some(altered) = altered(&transaction, alterations) else { return };
    if !matches!(OUTPUT.parse(&altered), Ok(None)) {
        assert_eq!(altered.compute_txid(), transaction.compute_txid(), "all of it is signed");
    }
}

/// A key reveals a payload that has at least a header.
fn anchor(bytes: &[u8], alterations: &[(u16, u8)]) {
    let mut payload = vec![0; HEADER_LENGTH];
    (payload[0], payload[120]) = (3, 1);
    payload.extend(bytes);
    let envelope = Envelope::new(key(&PAIRS[0]), &payload).expect("the payload has a header");
    let change = TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::new() };
    let mut reveal = envelope.reveal_transaction(OutPoint::null(), VALUE, change).expect("not much is locked");
    let commit = TxOut { value: VALUE, script_pubkey: envelope.commit_script_pubkey(&*SECP) };
    let signature = sign(&PAIRS[0], &reveal, &[commit], envelope.leaf_hash());
    let signature = taproot::Signature::from_slice(&signature).expect("just made");
    reveal.input[0].witness = envelope.witness(&*SECP, &signature);
    let chain = ChainId::from_byte_array([0; 15]);
    let parsed = Reveal::parse(&reveal, chain).expect("a reveal").expect("of this rollup");
    assert_eq!((parsed.payload(), parsed.poster()), (payload.as_slice(), key(&PAIRS[0])));
    let Some(altered) = altered(&reveal, alterations) else { return };
    if let Ok(Some(parsed)) = Reveal::parse(&altered, chain) {
        assert_eq!(altered.compute_txid(), reveal.compute_txid(), "all of it is signed");
        assert_eq!((parsed.payload(), parsed.poster()), (payload.as_slice(), key(&PAIRS[0])));
    }
}

fn transaction(input: Vec<TxIn>, output: Vec<TxOut>) -> Transaction {
    Transaction { version: Version::TWO, lock_time: LockTime::ZERO, input, output }
}

fn sign(pair: &Keypair, transaction: &Transaction, spent: &[TxOut], leaf: TapLeafHash) -> Vec<u8> {
    let signed = SighashCache::new(transaction)
        .taproot_script_spend_signature_hash(0, &Prevouts::All(spent), leaf, TapSighashType::Default)
        .expect("each input spends an output");
    SECP.sign_schnorr_no_aux_rand(&Message::from(signed), pair).serialize().to_vec()
}

/// What an altered encoding decodes to, if it does.
fn altered(transaction: &Transaction, alterations: &[(u16, u8)]) -> Option<Transaction> {
    let mut bytes = serialize(transaction);
    let length = bytes.len();
    alterations.iter().for_each(|(place, with)| bytes[usize::from(*place) % length] ^= with);
    deserialize(&bytes).ok()
}
