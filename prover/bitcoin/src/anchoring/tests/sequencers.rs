//! Rollups with sequencers: who is one posts whatever others post, and who is none waits until they are silent.

use super::{races::rival_key, rig_coins};
use crate::testing::rig::Rig;
use crate::{
    anchor::{AnchorArtefact, AnchorRequest, Funding, build, pay},
    anchoring::{Hold, JobState},
};
use bitcoin::{Amount, OutPoint, TxOut};
use taproof_verifier::quorum::Keys;

const QUIET_BLOCKS: u32 = 30;

/// A rollup with one batch that is proven, and with one sequencer: the rig's poster, or somebody else.
fn rig(is_ours: bool) -> Rig {
    Rig::founded(1, |founding, wallet| {
        let key = if is_ours { wallet.poster_key(0).unwrap() } else { rival_key() };
        founding.sequencer_keys = Keys::new(vec![key.public()]).unwrap();
        founding.quiet_blocks = QUIET_BLOCKS;
    })
}

/// Pays a stranger.
fn fund_a_stranger(rig: &mut Rig) -> Funding {
    let output = TxOut { value: Amount::from_sat(30_000_000), script_pubkey: rival_key().script_pubkey() };
    let payment = pay(vec![output.clone()], "1".parse().unwrap(), &rig_coins(rig), &rig.toy.poster).unwrap();
    let vout = payment.output.iter().position(|paid| *paid == output).unwrap() as u32;
    rig.mine_only(std::slice::from_ref(&payment));
    Funding { outpoint: OutPoint { txid: payment.compute_txid(), vout }, output }
}

/// The stranger's anchor of a payload.
fn anchor_of_a_stranger(payload: &[u8], coin: Funding) -> AnchorArtefact {
    let (fee_rate, headroom) = ("2".parse().unwrap(), Amount::from_sat(1_000));
    build(&AnchorRequest { payload, fee_rate, headroom, funding: &[coin] }, &rival_key()).unwrap()
}

#[test]
fn a_strangers_copy_ahead_of_it_does_not_void_a_sequencers_anchor() {
    let mut rig = rig(true);
    let coin = fund_a_stranger(&mut rig);
    rig.tick();
    let ours = rig.job(0).generations()[0].clone();
    let copy = anchor_of_a_stranger(ours.payload(), coin);
    let reveal = ours.attempts()[0].transaction().clone();
    rig.mine_only(&[copy.commit().clone(), copy.reveal().clone(), ours.commit().clone(), reveal.clone()]);
    rig.tick();
    assert_eq!(rig.state(0), JobState::InBlock);
    let reason = &rig.job(0).history().last().unwrap().reason;
    assert!(reason.contains(&reveal.compute_txid().to_string()) && !reason.contains("somebody else"), "{reason}");
    rig.mine_and_tick(9);
    assert_eq!((rig.state(0), rig.anchored()), (JobState::Final, 1));
}

#[test]
fn who_is_no_sequencer_waits_says_so_and_takes_over_when_they_were_silent_for_long_enough() {
    let mut rig = rig(false);
    let open_height = rig.toy.params.start.height + QUIET_BLOCKS;
    rig.tick();
    while rig.toy.node.chain().height() + 1 < open_height {
        assert_eq!(rig.job(0).hold(), Some(&Hold::NotSequencer(open_height)));
        assert_eq!((rig.state(0), rig.job(0).generations().len()), (JobState::Waiting, 0), "nothing is paid in vain");
        rig.mine_and_tick(1);
    }
    assert_eq!((rig.state(0), rig.job(0).hold()), (JobState::RevealSent, None));
    rig.mine_and_tick(9);
    assert_eq!((rig.state(0), rig.anchored()), (JobState::Final, 1));
}
