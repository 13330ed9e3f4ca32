//! Who changes the program and the sequencers of a new rollup, and who posts.

use super::{Exit, Failure, Fallible, Result};
use crate::cli::{console::counted, values::bitcoin_key};
use bitcoin::XOnlyPublicKey;
use clap::Args;
use taproof_bitcoin::bridge::signer_key::SignerKey;
use taproof_verifier::{
    follow::Founding,
    quorum::{Keys, Quorum},
};

/// A week, where that is enough: so long do those who disagree have to leave.
const NOTICE_BLOCKS: u32 = 1_008;
/// Ten years: with a longer one nothing could ever change, and nobody would have said so.
const NOTICE_BLOCKS_MAX: i64 = 525_600;
/// A share of the window: others have the rest of it to serve who was left waiting.
const QUIET_SHARE: u32 = 4;

/// Who changes the program and the sequencers, and who posts.
#[derive(Debug, Args)]
pub(super) struct GovernanceOptions {
    /// A key that can announce another program or other sequencers, in the forms of --bridge-key (`bridge keys` shows
    /// the wallet's); once for each. If none is given, nothing ever changes.
    #[arg(long = "upgrade-key", value_name = "KEY", requires = "upgrade_threshold")]
    upgrade_keys: Vec<SignerKey>,
    /// How many of the upgrade keys announce together.
    #[arg(long, value_name = "N", requires = "upgrade_keys")]
    upgrade_threshold: Option<u8>,
    /// The least number of blocks from an announcement to the height from which it is in force: more than window and
    /// final depth together. If not given, a week, or as few as can be where that is too short.
    #[arg(long, value_name = "BLOCKS", requires = "upgrade_keys")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=NOTICE_BLOCKS_MAX))]
    notice: Option<u32>,
    /// The poster's key of a sequencer, as `wallet keys` shows it, or the hot key of a poster that runs with one, whose
    /// anchors count at any time; once for each. If none is given, anybody's anchors count.
    #[arg(long = "sequencer-key", value_name = "KEY", value_parser = bitcoin_key)]
    sequencer_keys: Vec<XOnlyPublicKey>,
    /// After how many blocks without an accepted anchor anybody's anchors count, where there are sequencers, or where
    /// upgrade keys may name some later; half a window at most, and a quarter of it if not given.
    #[arg(long, value_name = "BLOCKS")]
    quiet_blocks: Option<u32>,
}

impl GovernanceOptions {
    /// The upgrade keys as they were given, with what is known of where they come from.
    pub(super) fn signers(&self) -> &[SignerKey] {
        &self.upgrade_keys
    }

    pub(super) fn upgrade_keys(&self) -> Result<Option<Quorum>> {
        let Some(threshold) = self.upgrade_threshold else { return Ok(None) };
        let keys = self.upgrade_keys.iter().map(SignerKey::key).collect();
        let quorum = Quorum::new(threshold, keys);
        quorum.map(Some).map_err(|error| {
            let failure = Failure::new(Exit::Input, format!("the upgrade keys: {error}"));
            failure.advise("give --upgrade-key once for each key, and an --upgrade-threshold of no more than those")
        })
    }

    pub(super) fn notice_blocks(&self, window_blocks: u32, final_depth_blocks: u32) -> u32 {
        let least = window_blocks.saturating_add(final_depth_blocks).saturating_add(1);
        match self.upgrade_threshold {
            None => 0,
            Some(_) => self.notice.unwrap_or_else(|| NOTICE_BLOCKS.max(least)),
        }
    }

    pub(super) fn sequencer_keys(&self) -> Result<Keys> {
        let keys = Keys::new(self.sequencer_keys.clone()).or_exit_while(Exit::Input, "the sequencer keys");
        keys.map_err(|failure| failure.advise("give --sequencer-key once for each key"))
    }

    pub(super) fn quiet_blocks(&self, window_blocks: u32) -> u32 {
        let can_have_sequencers = !self.sequencer_keys.is_empty() || self.upgrade_threshold.is_some();
        let default = if can_have_sequencers { (window_blocks / QUIET_SHARE).max(1).min(window_blocks / 2) } else { 0 };
        self.quiet_blocks.unwrap_or(default)
    }
}

/// Who changes program and sequencers, and whose anchors count, as labelled lines.
pub(in crate::cli) fn governance(founding: &Founding) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    match &founding.upgrade_keys {
        None => lines.push(("upgrades", "none: program and sequencers never change".to_owned())),
        Some(keys) => {
            let (threshold, count) = (keys.threshold(), counted(keys.keys().len(), "key"));
            lines.push((
                "upgrades",
                format!("by {threshold} of {count}, {} blocks ahead at least", founding.notice_blocks),
            ));
            lines.extend(keys.keys().iter().map(|key| ("upgrade key", key.to_string())));
        }
    }
    lines.push(match founding.sequencer_keys.len() {
        0 if founding.upgrade_keys.is_none() => ("posting", "anybody's anchors count, always".to_owned()),
        0 => ("posting", "anybody's anchors count, while no upgrade names sequencers".to_owned()),
        count => {
            let (keys, quiet) = (counted(count, "sequencer"), founding.quiet_blocks);
            ("posting", format!("{keys}; anybody's anchors count {quiet} blocks after the last"))
        }
    });
    lines.extend(founding.sequencer_keys.iter().map(|key| ("sequencer", key.to_string())));
    lines
}
