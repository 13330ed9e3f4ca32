//! `taproof follow --headers-only`, and the excerpts that full followers write for it.

use super::{
    data_dir::DataDir,
    failure::{Exit, Failure, Fallible, Result},
    input::read_artefact,
    output::{Output, Replaces, make_folder, open_output},
    session::{Session, Source, not_followed},
    values::{address, of_network, txid},
};
use bitcoin::{Address, Txid, address::NetworkUnchecked};
use clap::Args;
use serde::Serialize;
use std::{collections::BTreeSet, fmt, fs, io, path::PathBuf};
use taproof_base::{
    artefact::{self, Artefact, ArtefactKind},
    output_file::OutputFile,
};
use taproof_bitcoin::{
    chain_store::{StoredFollower, View},
    follow::{self, FollowError},
    light::{CheckpointFile, ExcerptCutter, ExcerptFolder, ExcerptSource, cut},
    node::HistoryEntry,
    upgrade::UpgradeAddress,
};
use taproof_verifier::{envelope::Announcement, follow::Event, headers::BlockId};

/// What a light follower cannot know, for its reports.
pub(crate) const CAVEATS: [&str; 3] = [
    "an anchor or a deposit that was left out is not seen: the verified root may be an older one, and a batch may be \
     ignored that a full follower accepts; give --txid of deposits and exits that you know of, or --excerpts of \
     somebody who follows whole blocks",
    "an announcement of the upgrade keys that was left out is not seen, nor one taken back: another program or other \
     sequencers may be in force",
    "payouts are not reported; whoever pays them must follow whole blocks",
];

/// How little is read.
#[derive(Debug, Args)]
pub(crate) struct LightOptions {
    /// Reads headers and excerpts of blocks in place of whole blocks, and says what it cannot see that way. Its store
    /// is `light.redb`.
    #[arg(long)]
    headers_only: bool,
    /// The folder of excerpts, as `--export-excerpts` writes them; without it, blocks are fetched and cut here.
    #[arg(long, value_name = "DIR", requires = "headers_only")]
    excerpts: Option<PathBuf>,
    /// A poster's address: from an Esplora server, the blocks are fetched in which it pays, or is paid by an anchor.
    #[arg(long = "poster", value_parser = address, value_name = "ADDRESS", requires_all = ["headers_only", "esplora"])]
    posters: Vec<Address<NetworkUnchecked>>,
    /// A transaction with a deposit or an exit request, whose block is fetched, too.
    #[arg(long = "txid", value_parser = txid, value_name = "TXID", requires_all = ["headers_only", "esplora"])]
    txids: Vec<Txid>,
    /// Where there is no `light.redb` yet, begins at this checkpoint, which `--export-checkpoint` wrote. It is
    /// believed, so it must come from somebody you trust.
    #[arg(long, value_name = "FILE", requires = "headers_only")]
    checkpoint: Option<PathBuf>,
    /// Begins from the rollup's start, or the checkpoint, again, because there are more excerpts now of blocks that
    /// were passed over.
    #[arg(long, requires = "headers_only")]
    rescan: bool,
    /// Writes an excerpt of every block that has anything of the rollup's, from its start on, for those who follow by
    /// headers.
    #[arg(long, value_name = "DIR", conflicts_with = "headers_only")]
    export_excerpts: Option<PathBuf>,
    /// Writes the state after the last final block, for others to begin there.
    #[arg(long, value_name = "FILE", conflicts_with = "headers_only")]
    export_checkpoint: Option<PathBuf>,
}

/// A checkpoint that was written, or begun at.
#[derive(Serialize)]
pub(crate) struct CheckpointReport {
    /// The final block.
    block: BlockId,
    /// The SHA-256 of the checkpoint, which is the same for all who follow.
    digest: String,
}

impl CheckpointReport {
    pub(crate) fn new(file: &CheckpointFile) -> Self {
        Self { block: file.0.block(), digest: file.digest().to_string() }
    }
}

impl fmt::Display for CheckpointReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at block {}", self.digest, self.block)
    }
}

impl LightOptions {
    /// Whether excerpts are followed in place of blocks.
    pub(crate) fn is_light(&self) -> bool {
        self.headers_only
    }

    /// Opens the light follower and catches up; rewinds go to `rewound`.
    pub(crate) fn follow(
        &self,
        session: &Session,
        source: &Source,
        rewound: &mut dyn FnMut(BlockId),
    ) -> Result<StoredFollower> {
        let path = session.dir.light_store();
        if self.rescan {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).or_exit_while(Exit::Failed, path.display().to_string());
                }
                _ => {}
            }
        }
        let store = session.store_at(path, View::Light);
        let (params, programs) = (session.params.clone(), session.programs.clone());
        let checkpoint = self.checkpoint.as_deref().map(read_artefact::<CheckpointFile>);
        let opened = match checkpoint.transpose()? {
            Some(CheckpointFile(checkpoint)) => {
                StoredFollower::open_at(store, source.chain(), params, programs, checkpoint)
            }
            None => StoredFollower::open(store, source.chain(), params, programs),
        };
        let mut stored = opened.map_err(not_followed)?;
        session.warn_of(&stored)?;
        let excerpts: Box<dyn ExcerptSource> = match &self.excerpts {
            Some(folder) => {
                fs::read_dir(folder).or_exit_while(Exit::Input, folder.display().to_string())?;
                Box::new(ExcerptFolder::new(folder.clone()))
            }
            None => {
                // No rewind goes further back.
                let scanned = stored.follower().scanned().height;
                Box::new(self.cutter(session, source, scanned.saturating_sub(session.params.final_depth_blocks))?)
            }
        };
        let followed = stored.catch_up_light(source.chain(), excerpts.as_ref(), |_, event| {
            if let Event::Rewound { to, .. } = event {
                rewound(*to);
            }
            Ok::<(), FollowError>(())
        });
        followed.map_err(not_followed)?;
        Ok(stored)
    }

    /// Cuts a node's blocks, or those from a height on that a server's index names.
    fn cutter<'a>(&self, session: &'a Session, source: &'a Source, from_height: u32) -> Result<ExcerptCutter<'a>> {
        let Source::Esplora(server) = source else { return Ok(ExcerptCutter::new(source.chain(), &session.params)) };
        if self.posters.is_empty() {
            let failure = Failure::new(Exit::Input, "without an address there is nothing to ask an Esplora server for");
            return Err(failure.advise("give --poster ADDRESS, or --excerpts DIR"));
        }
        let mut heights = BTreeSet::new();
        // Anybody can pay to an address, and would so have blocks fetched in which there is nothing. What the upgrade
        // keys announce spends from their address; anchors, which pay to a poster's, say what they are.
        if let Some(address) = UpgradeAddress::of(&session.params) {
            let history = server.history(address.script_pubkey(), from_height)?;
            heights.extend(history.iter().filter(|entry| entry.spends).map(|entry| entry.block.height));
        }
        let chain_id = session.params.chain_id();
        let is_posters = |entry: &&HistoryEntry| {
            entry.spends || !matches!(Announcement::parse(&entry.first_output, chain_id), Ok(None))
        };
        for poster in &self.posters {
            let poster = of_network(poster, session.params.network)?;
            let history = server.history(&poster.script_pubkey(), from_height)?;
            heights.extend(history.iter().filter(is_posters).map(|entry| entry.block.height));
        }
        for txid in &self.txids {
            let located = server.inclusion(txid)?;
            let located = located.ok_or_else(|| Failure::new(Exit::Input, format!("{txid} is in no block")))?;
            heights.insert(located.height);
        }
        Ok(ExcerptCutter::at_heights(source.chain(), &session.params, heights))
    }

    /// Opens the file of the checkpoint if one is asked for, and makes the folder of excerpts, before anything is
    /// followed.
    pub(crate) fn open_exports(&self, dir: &DataDir) -> Result<Option<OutputFile>> {
        self.export_excerpts.as_deref().map_or(Ok(()), make_folder)?;
        let Some(path) = &self.export_checkpoint else { return Ok(None) };
        let (format, replaces) = (ArtefactKind::Checkpoint.name(), Replaces::OwnFormat);
        open_output(dir, Output { path, access: CheckpointFile::ACCESS, format, replaces }, &[]).map(Some)
    }

    /// Writes the checkpoint if asked.
    pub(crate) fn export_checkpoint(
        output: Option<OutputFile>,
        stored: &StoredFollower,
    ) -> Result<Option<CheckpointReport>> {
        let Some(output) = output else { return Ok(None) };
        let Some(checkpoint) = stored.follower().checkpoint() else {
            return Err(Failure::new(Exit::Failed, "no block is final yet"));
        };
        let file = CheckpointFile(checkpoint);
        artefact::write_to(output, &file).or_exit(Exit::Failed)?;
        Ok(Some(CheckpointReport::new(&file)))
    }

    /// Writes the excerpts if asked, and gives how many there are. Blocks are validated as they are followed.
    pub(crate) fn export(&self, session: &Session, source: &Source) -> Result<Option<usize>> {
        let Some(folder) = &self.export_excerpts else { return Ok(None) };
        let folder = ExcerptFolder::new(folder.clone());
        let (params, programs) = (session.params.clone(), session.programs.clone());
        let mut follower = follow::start(source.chain(), params, programs).map_err(not_followed)?;
        follow::sync_headers(source.chain(), &mut follower, |_| ()).map_err(not_followed)?;
        let mut count = 0;
        while let Some(next) = follower.next_block() {
            let block = source.chain().block(&next.hash).map_err(FollowError::from).map_err(not_followed)?;
            let excerpt = cut(&block, &session.params).or_exit(Exit::Failed)?;
            follower.connect(block).map_err(FollowError::from).map_err(not_followed)?;
            if let Some(excerpt) = excerpt {
                folder.write(next, &excerpt).or_exit(Exit::Failed)?;
                count += 1;
            }
        }
        Ok(Some(count))
    }
}
