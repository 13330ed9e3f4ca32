//! What is in force, what is announced, and whose anchors count, as commands show it.

use serde::Serialize;
use std::fmt;
use taproof_rollup::succession;
use taproof_verifier::{
    follow::Follower,
    schedule::{Entry, EntryChange},
};

/// Program, sequencers, and what the upgrade keys announced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UpgradesRow {
    /// The program of the next batch.
    pub program_id: String,
    /// The height from which it is in force.
    pub program_from_height: u32,
    /// The keys whose anchors count at once; if there are none, anybody's do.
    pub sequencers: Vec<String>,
    /// Whose anchors count as well, in batches that refer to a block before `sequencers` were in force.
    pub former_sequencers: Vec<FormerRow>,
    /// The height from which anybody's anchors count, if no other is accepted before; none without sequencers.
    pub open_height: Option<u32>,
    /// Whether there are upgrade keys that have not given up their right.
    pub can_change: bool,
    /// Whether they have given it up.
    pub is_renounced: bool,
    /// The number of the next announcement.
    pub next_number: u32,
    /// What is announced and not in force yet, ascending by height.
    pub announced: Vec<AnnouncedRow>,
}

/// Sequencers of before, whose anchors count for as long as batches may refer to their time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FormerRow {
    /// Their keys; if there are none, anybody's anchors count.
    pub keys: Vec<String>,
    /// The height of the last block that a batch of theirs refers to.
    pub last_reference: u32,
    /// The height of the last block in which an anchor of theirs counts.
    pub last_height: u32,
}

impl FormerRow {
    /// The sequencers of blocks that a batch may refer to in the next block, but for those in force.
    fn all(follower: &Follower) -> Vec<Self> {
        let (schedule, params, height) = (follower.schedule(), follower.params(), follower.scanned().height);
        let oldest = height.saturating_add(1).saturating_sub(params.deposit_window_blocks);
        let oldest = oldest.max(follower.tip().reference.height);
        let mut rows: Vec<Self> = Vec::new();
        let mut later = schedule.sequencers_at(height);
        for last_reference in (oldest..height).rev() {
            let keys = schedule.sequencers_at(last_reference);
            if keys != later {
                let last_height = last_reference.saturating_add(params.deposit_window_blocks);
                let keys = keys.iter().map(ToString::to_string).collect();
                rows.push(Self { keys, last_reference, last_height });
            }
            later = keys;
        }
        rows
    }
}

impl fmt::Display for FormerRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keys, last_reference, last_height } = self;
        let whose = if keys.is_empty() { "anybody".to_owned() } else { keys.join(" ") };
        write!(
            f,
            "{whose} until block {last_height}, in batches that refer to block {last_reference} or an earlier one"
        )
    }
}

/// What is announced and not in force yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AnnouncedRow {
    /// The number of the announcement.
    pub number: u32,
    /// The height from which it is in force.
    pub height: u32,
    /// The program, if it is one.
    pub program_id: Option<String>,
    /// Whether that program is known here; if not, following stops at the height.
    pub is_known: bool,
    /// Why there can be no batches once it is in force, if that is so: then whoever is there should leave before.
    pub ends_batches: Option<String>,
    /// The sequencer keys, if it is these.
    pub sequencers: Option<Vec<String>>,
}

impl UpgradesRow {
    /// What a follower says at its last scanned block.
    pub fn new(follower: &Follower) -> Self {
        let (schedule, height) = (follower.schedule(), follower.scanned().height);
        let (program_from_height, program) = schedule.program_at(height);
        let sequencers: Vec<String> = schedule.sequencers_at(height).iter().map(ToString::to_string).collect();
        Self {
            program_id: program.to_string(),
            program_from_height,
            former_sequencers: FormerRow::all(follower),
            open_height: (!sequencers.is_empty()).then(|| follower.open_height()),
            sequencers,
            can_change: follower.params().upgrade_keys.is_some() && !schedule.is_renounced(),
            is_renounced: schedule.is_renounced(),
            next_number: schedule.next_number(),
            announced: schedule.pending(height).iter().map(|entry| AnnouncedRow::new(entry, follower)).collect(),
        }
    }

    /// Whose anchors count, in view of the last block's height.
    pub fn posting_words(&self, height: u32) -> String {
        match self.open_height {
            None => "anybody's anchors count".to_owned(),
            Some(open) if open <= height => format!("anybody's anchors count since height {open}"),
            Some(open) if open == height.saturating_add(1) => {
                format!("anybody's anchors count from the next block on, height {open}")
            }
            Some(open) => format!("anybody's anchors count from height {open} on, if no anchor comes"),
        }
    }

    /// What the upgrade keys can do.
    pub fn keys_words(&self) -> &'static str {
        match (self.can_change, self.is_renounced) {
            (true, _) => "they can announce another program or other sequencers",
            (false, true) => "renounced: nothing changes any more",
            (false, false) => "none: nothing changes, ever",
        }
    }

    /// The programs that are announced and not known here, each with its height.
    pub fn unknown(&self) -> impl Iterator<Item = (&str, u32)> {
        let unknown = self.announced.iter().filter(|row| !row.is_known);
        unknown.filter_map(|row| Some((row.program_id.as_deref()?, row.height)))
    }

    /// The heights from which there can be no batches, by what is announced, each with why.
    pub fn ends_of_batches(&self) -> impl Iterator<Item = (u32, &str)> {
        self.announced.iter().filter_map(|row| Some((row.height, row.ends_batches.as_deref()?)))
    }
}

impl AnnouncedRow {
    fn new(entry: &Entry, follower: &Follower) -> Self {
        let row = Self {
            number: entry.number,
            height: entry.height,
            program_id: None,
            is_known: true,
            ends_batches: succession::ends_batches(entry, follower).map(|refusal| refusal.to_string()),
            sequencers: None,
        };
        match &entry.change {
            EntryChange::Program(program) => Self {
                program_id: Some(program.to_string()),
                is_known: follower.programs().get(*program).is_some(),
                ..row
            },
            EntryChange::Sequencers(keys) => {
                Self { sequencers: Some(keys.iter().map(ToString::to_string).collect()), ..row }
            }
        }
    }
}

impl fmt::Display for AnnouncedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from height {} on: ", self.height)?;
        match (&self.program_id, &self.sequencers) {
            (Some(program), _) if self.is_known => write!(f, "program {program}"),
            (Some(program), _) => write!(f, "program {program}, which is not known here"),
            (None, Some(keys)) if !keys.is_empty() => write!(f, "sequencers {}", keys.join(" ")),
            _ => write!(f, "no sequencers, so that anybody posts"),
        }?;
        match &self.ends_batches {
            Some(reason) => write!(f, ", and no batch from then on: {reason}"),
            None => Ok(()),
        }
    }
}
