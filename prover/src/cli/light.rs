//! `taproof follow --headers-only`, and the excerpts that full followers write for it.

use super::{
    failure::{Exit, Failure, Fallible, Result},
    session::{Session, Source, not_followed},
};
use clap::Args;
use std::{fs, io, path::PathBuf};
use taproof::{
    chain_store::{ChainStore, StoredFollower, View},
    follow::{self, FollowError},
    light::{Cutter, ExcerptFolder, ExcerptSource, cut},
};
use taproof_verifier::{follow::Event, headers::BlockId};

/// What a light follower cannot know, for its reports.
pub(crate) const CAVEATS: [&str; 2] = [
    "an anchor or a deposit that was left out is not seen: the verified root may be an older one, and a batch may be ignored that \
     a full follower accepts",
    "payouts are not reported; whoever pays them must follow whole blocks",
];

/// How little is read.
#[derive(Debug, Args)]
pub(crate) struct LightOptions {
    /// Reads headers, and of the blocks only excerpts; what it then cannot see, it says. Its store is `light.redb`.
    #[arg(long)]
    headers_only: bool,
    /// The folder of excerpts, as `--export-excerpts` writes them; without it, the node's blocks are cut here.
    #[arg(long, value_name = "DIR", requires = "headers_only")]
    excerpts: Option<PathBuf>,
    /// Begins from the rollup's start again, because there are more excerpts now of blocks that were passed over.
    #[arg(long, requires = "headers_only")]
    rescan: bool,
    /// Writes an excerpt of every block that has anything of the rollup's, from its start on, for those who follow by headers.
    #[arg(long, value_name = "DIR", conflicts_with = "headers_only")]
    export_excerpts: Option<PathBuf>,
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
                    return Err(Failure::of(Exit::Failed, error));
                }
                _ => {}
            }
        }
        let store = ChainStore::new(path, &session.params, View::Light);
        let (params, program) = (session.params.clone(), session.program.clone());
        let mut stored = StoredFollower::open(store, source.chain(), params, program).map_err(not_followed)?;
        session.warn_of(stored.origin());
        let excerpts: Box<dyn ExcerptSource> = match &self.excerpts {
            Some(folder) => {
                fs::read_dir(folder).or_exit_while(Exit::Input, folder.display().to_string())?;
                Box::new(ExcerptFolder::new(folder.clone()))
            }
            None => Box::new(Cutter::new(source.chain(), &session.params)),
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

    /// Writes the excerpts if asked, and gives how many there are. Blocks are validated as they are followed.
    pub(crate) fn export(&self, session: &Session, source: &Source) -> Result<Option<usize>> {
        let Some(folder) = &self.export_excerpts else { return Ok(None) };
        let folder = ExcerptFolder::new(folder.clone());
        let (params, program) = (session.params.clone(), session.program.clone());
        let mut follower = follow::start(source.chain(), params, program).map_err(not_followed)?;
        follow::sync_headers(source.chain(), &mut follower).map_err(not_followed)?;
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
