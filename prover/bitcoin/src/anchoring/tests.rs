//! The service on toy chains, and its parts.

mod coins;
mod crashes;
mod decisions;
mod hot_key;
mod proof_files;
mod psbt;
mod races;
mod random;
mod real;
mod reorgs;
mod sequencers;
mod store;
mod stories;

use crate::anchor::{Funding, pay};
use crate::testing::rig::{Rig, rate};
use bitcoin::{Amount, TxOut};

/// The coins of the toy's own poster.
fn rig_coins(rig: &Rig) -> Vec<Funding> {
    let coins = rig.toy.node.chain().spendable_coins(&rig.toy.poster.script_pubkey());
    coins.into_iter().map(|(outpoint, coin)| Funding { outpoint, output: coin.output }).collect()
}

/// Pays the rig's key from the toy's poster, in a block of its own.
fn fund(rig: &mut Rig, amount_sat: u64) {
    let coin = TxOut { value: Amount::from_sat(amount_sat), script_pubkey: rig.key.script_pubkey() };
    let payment = pay(vec![coin], rate("1"), &rig_coins(rig), &rig.toy.poster).expect("enough coins");
    rig.mine_only(&[payment]);
}
