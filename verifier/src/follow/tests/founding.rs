//! What a founder can choose, and what follows from it.

use super::*;
use crate::{
    bridge::{Federation, tests::signer},
    quorum::{Keys, Quorum},
};
use bitcoin::{BlockHash, Network, hashes::Hash};
use std::collections::BTreeSet;

fn keys(secrets: &[u8]) -> Keys {
    Keys::new(secrets.iter().copied().map(signer).collect()).expect("different keys")
}

fn quorum(threshold: u8, secrets: &[u8]) -> Option<Quorum> {
    Quorum::new(threshold, secrets.iter().copied().map(signer).collect()).ok()
}

#[test]
fn every_choice_goes_into_digest_number_and_scripts() {
    type Alter = fn(&mut Founding);
    let federation = |threshold, delay, min_sat| {
        let keys = founding().federation.keys().to_vec();
        Federation::new(threshold, keys, delay, min_sat).expect("a threshold that the keys allow")
    };
    // The notice and the quiet blocks come with keys, so those with other numbers are compared with these.
    let with_keys: Alter = |f| (f.upgrade_keys, f.notice_blocks) = (quorum(1, &[4, 5]), 100);
    let with_sequencers: Alter = |f| (f.sequencer_keys, f.quiet_blocks) = (keys(&[6]), 1);
    let cases: [Alter; 15] = [
        |_| (),
        |f| f.network = Network::Signet,
        |f| f.genesis_depth = depth(3),
        |f| f.deposit_window_blocks -= 1,
        |f| f.deposit_expiry_blocks += 1,
        |f| f.start.height = 1,
        |f| f.start.hash = BlockHash::all_zeros(),
        |f| f.final_depth_blocks += 1,
        with_keys,
        |f| (f.upgrade_keys, f.notice_blocks) = (quorum(1, &[4, 5]), 101),
        |f| (f.upgrade_keys, f.notice_blocks) = (quorum(2, &[4, 5]), 100),
        with_sequencers,
        |f| (f.sequencer_keys, f.quiet_blocks) = (keys(&[6]), 2),
        |f| f.opening_min_sat = 1,
        |f| f.program_id = ProgramId::from_byte_array([1; 32]),
    ];
    let mut all: Vec<Params> = cases.map(params_with).into();
    for federation in [federation(1, 144, 0), federation(2, 145, 0), federation(2, 144, 1)] {
        all.push(params_with(|founding| founding.federation = federation));
    }
    // Keys are never taken for those of the other set.
    all.push(params_with(|f| (f.sequencer_keys, f.quiet_blocks) = (keys(&[4, 5]), 1)));
    all.push(params_with(|f| (f.sequencer_keys, f.quiet_blocks) = (keys(&[4]), 1)));
    let count = |values: BTreeSet<Vec<u8>>| values.len();
    assert_eq!(count(all.iter().map(|params| params.digest().to_byte_array().to_vec()).collect()), all.len());
    assert_eq!(count(all.iter().map(|params| params.chain_id().to_byte_array().to_vec()).collect()), all.len());
    assert_eq!(count(all.iter().map(|params| params.bridge().script_pubkey().to_bytes()).collect()), all.len());
}

/// The bytes of `docs/protocol.md`, written down by hand.
#[test]
fn the_digest_is_that_of_tag_and_parameters() {
    let params = params_with(|f| {
        (f.upgrade_keys, f.notice_blocks) = (quorum(1, &[4, 5]), 0x0102);
        (f.sequencer_keys, f.quiet_blocks) = (keys(&[6]), 3);
        f.opening_min_sat = 0x0a0b;
    });
    let mut bytes = b"taproof/founding/v3".to_vec();
    bytes.extend([0xfa, 0xbf, 0xb5, 0xda, 2, 2, 3]);
    params.federation.keys().iter().for_each(|key| bytes.extend(key.serialize()));
    bytes.extend([144, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend([8, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(params.start.hash.to_byte_array());
    bytes.extend([11, 0, 0, 0, 2, 1, 0, 0, 1, 2]);
    keys(&[4, 5]).iter().for_each(|key| bytes.extend(key.serialize()));
    bytes.extend([3, 0, 0, 0, 1]);
    bytes.extend(signer(6).serialize());
    bytes.extend([0x0b, 0x0a, 0, 0, 0, 0, 0, 0]);
    bytes.extend(params.program_id.to_byte_array());
    let digest = bitcoin::hashes::sha256::Hash::hash(&bytes).to_byte_array();
    assert_eq!(params.digest().to_byte_array(), digest);
    assert_eq!(params.chain_id().to_byte_array(), digest[..15]);
}

#[test]
fn who_disagrees_with_an_upgrade_has_time_to_leave() {
    let check =
        |keys, notice_blocks| Params::new(Founding { upgrade_keys: keys, notice_blocks, ..founding() }).map(drop);
    let left = WINDOW_BLOCKS + FINAL_DEPTH_BLOCKS;
    let error = |has_keys, notice_blocks| {
        let (window_blocks, final_depth_blocks) = (WINDOW_BLOCKS, FINAL_DEPTH_BLOCKS);
        Err(FoundingError::Notice { notice_blocks, has_keys, window_blocks, final_depth_blocks })
    };
    assert_eq!(check(quorum(1, &[4]), left), error(true, left));
    assert_eq!(check(quorum(1, &[4]), 0), error(true, 0));
    assert_eq!(check(quorum(1, &[4]), left + 1), Ok(()));
    assert_eq!(check(quorum(1, &[4]), u32::MAX), Ok(()));
    assert_eq!(check(None, 0), Ok(()));
    assert_eq!(check(None, left + 1), error(false, left + 1));
}

#[test]
fn sequencers_can_be_silent_for_half_a_window_at_most() {
    let check =
        |keys, quiet_blocks| Params::new(Founding { sequencer_keys: keys, quiet_blocks, ..founding() }).map(drop);
    let error = |can_have_sequencers, quiet_blocks| {
        Err(FoundingError::Quiet { quiet_blocks, can_have_sequencers, window_blocks: WINDOW_BLOCKS })
    };
    assert_eq!(check(keys(&[6]), 0), error(true, 0));
    assert_eq!(check(keys(&[6]), 1), Ok(()));
    assert_eq!(check(keys(&[6]), WINDOW_BLOCKS / 2), Ok(()));
    assert_eq!(check(keys(&[6]), WINDOW_BLOCKS / 2 + 1), error(true, WINDOW_BLOCKS / 2 + 1));
    assert_eq!(check(Keys::default(), 0), Ok(()));
    assert_eq!(check(Keys::default(), 1), error(false, 1));
    // Upgrade keys can name sequencers later, who need time of their own then.
    let later = |quiet_blocks| {
        let mut founding = founding();
        let_upgrade(&mut founding);
        Params::new(Founding { quiet_blocks, ..founding }).map(drop)
    };
    assert_eq!([0, 1, WINDOW_BLOCKS / 2].map(later), [Ok(()), Ok(()), Ok(())]);
    assert_eq!(later(WINDOW_BLOCKS / 2 + 1), error(true, WINDOW_BLOCKS / 2 + 1));
    // Of a window of one block there is no half.
    let short = Founding { deposit_window_blocks: 1, sequencer_keys: keys(&[6]), quiet_blocks: 1, ..founding() };
    assert!(Params::new(short).is_err());
}

#[cfg(feature = "serde")]
#[test]
fn what_is_written_down_is_checked_again() {
    let params = params_with(|_| ());
    let text = serde_json::to_string(&params).expect("parameters can be written");
    assert_eq!(serde_json::from_str::<Params>(&text).expect("its own form"), params);
    let altered = |from: &str, to: &str| {
        let altered = text.replacen(from, to, 1);
        assert_ne!(altered, text, "{from}");
        serde_json::from_str::<Params>(&altered).expect_err("another rollup").to_string()
    };
    assert!(altered("\"version\":3", "\"version\":2").contains("version 2 of the protocol, where 3 is known"));
    let chain_id = params.chain_id().to_string();
    assert!(altered(&chain_id, &"0".repeat(30)).contains("not 000000000000000000000000000000"));
    assert!(altered("\"deposit_window_blocks\":8", "\"deposit_window_blocks\":7").contains("those of rollup"));
    assert!(altered("\"deposit_window_blocks\":8", "\"deposit_window_blocks\":9").contains("window of 9 blocks"));
    assert!(altered("\"notice_blocks\":0", "\"notice_blocks\":1").contains("no upgrade keys"));
    assert!(altered("\"opening_min_sat\":", "\"magic\":1,\"opening_min_sat\":").contains("unknown field"));
}
