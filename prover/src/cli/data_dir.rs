//! The folder that holds everything of one rollup.

use super::{
    environment::variable,
    failure::{Exit, Failure, Fallible, Result},
};
use std::{
    env,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};
use taproof_base::{
    output_file::{Access, write_file},
    private,
};
use taproof_verifier::program::ProgramId;

/// The folder that holds everything of one rollup.
#[derive(Clone, Debug)]
pub(crate) struct DataDir(PathBuf);

impl DataDir {
    /// The folder at a path, which need not exist.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The folder that the environment names, or else the one of this name here.
    pub(crate) fn of_environment() -> Self {
        Self::new(variable("TAPROOF_DIR").map_or_else(|| PathBuf::from(".taproof"), PathBuf::from))
    }

    /// The words of the wallet.
    pub(crate) fn wallet(&self) -> PathBuf {
        self.0.join("wallet.words")
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The parameters of the rollup.
    pub(crate) fn params(&self) -> PathBuf {
        self.0.join("params.json")
    }

    /// The program of the rollup.
    pub(crate) fn program(&self) -> PathBuf {
        self.0.join("program.bin")
    }

    /// The folder of programs that came into force later, or will.
    pub(crate) fn programs(&self) -> PathBuf {
        self.0.join("programs")
    }

    /// The file of such a program.
    pub(crate) fn later_program(&self, program: ProgramId) -> PathBuf {
        self.programs().join(format!("{program}.bin"))
    }

    /// The folder of such a program's keys.
    pub(crate) fn later_keys(&self, program: ProgramId) -> PathBuf {
        self.keys().join(program.to_string())
    }

    /// The ledger.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.0.join("ledger.redb")
    }

    /// A ledger that is being made in the place of a damaged one.
    pub(crate) fn new_ledger(&self) -> PathBuf {
        self.0.join("ledger.redb.new")
    }

    /// What a follower keeps.
    pub(crate) fn chain_store(&self) -> PathBuf {
        self.0.join("chain.redb")
    }

    /// What a follower of headers and excerpts keeps.
    pub(crate) fn light_store(&self) -> PathBuf {
        self.0.join("light.redb")
    }

    /// What a watch of the bridge keeps between two runs.
    pub(crate) fn bridge_state(&self) -> PathBuf {
        self.0.join("bridge.state")
    }

    /// Where the bridge's keys come from, as `setup` was told.
    pub(crate) fn bridge_keys(&self) -> PathBuf {
        self.0.join("bridge.keys")
    }

    /// The embedded chain.
    pub(crate) fn chain(&self) -> PathBuf {
        self.0.join("regtest.chain")
    }

    /// The page of a market that was a demo.
    pub(crate) fn defi_page(&self) -> PathBuf {
        self.0.join("defi.html")
    }

    /// The folder of the keys.
    pub(crate) fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// The file of a batch.
    pub(crate) fn batch(&self, number: u64) -> PathBuf {
        self.0.join("batches").join(format!("{number}.batch"))
    }

    /// The file of a batch's proofs.
    pub(crate) fn proofs(&self, number: u64) -> PathBuf {
        self.0.join("proofs").join(format!("{number}.proofs"))
    }

    /// The store of the anchoring service.
    pub(crate) fn anchoring(&self) -> PathBuf {
        self.0.join("anchoring.redb")
    }

    /// The poster's coins that wait for transactions.
    pub(crate) fn coins(&self) -> PathBuf {
        self.0.join("coins.redb")
    }

    /// The file that a running anchoring service has locked.
    pub(crate) fn anchoring_lock(&self) -> PathBuf {
        self.0.join("anchoring.lock")
    }

    /// The folder of the proofs.
    pub(crate) fn proofs_folder(&self) -> PathBuf {
        self.0.join("proofs")
    }

    /// The folder of proofs that are kept as they are made.
    pub(crate) fn kept_proofs(&self) -> PathBuf {
        self.proofs_folder().join("kept")
    }

    /// The file of a batch's anchor.
    pub(crate) fn anchor(&self, number: u64) -> PathBuf {
        self.0.join("anchors").join(format!("{number}.json"))
    }

    /// What the rollup lives by, which nothing that a user names as an output may take the place of.
    pub(crate) fn guarded(&self) -> Vec<PathBuf> {
        let mut files = vec![
            self.wallet(),
            self.params(),
            self.program(),
            self.ledger(),
            self.new_ledger(),
            self.chain_store(),
            self.light_store(),
            self.bridge_state(),
            self.bridge_keys(),
            self.chain(),
            self.anchoring(),
            self.anchoring_lock(),
            self.coins(),
        ];
        // Without the folder there are no keys.
        for folder in [self.keys(), self.programs()] {
            files.extend(fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
        files
    }

    /// What only a rollup that was founded or joined here leaves behind, keys apart: another one cannot go on from it.
    pub(crate) fn of_one_rollup(&self) -> Vec<PathBuf> {
        let batches = self.0.join("batches");
        vec![
            self.params(),
            self.program(),
            self.programs(),
            self.ledger(),
            self.chain_store(),
            self.light_store(),
            self.bridge_state(),
            self.anchoring(),
            batches,
            self.proofs_folder(),
        ]
    }

    /// Makes the folder itself, closed to others, if it is not there.
    pub(crate) fn create(&self) -> Result {
        expect_no_file(&self.0)?;
        private::create_folder(&self.0).or_exit_while(Exit::Failed, format!("cannot create {}", self.0.display()))
    }

    /// Creates the folder of a file that is to be written.
    pub(crate) fn create_parent(path: &Path) -> Result {
        let Some(parent) = path.parent() else { return Ok(()) };
        fs::create_dir_all(parent).or_exit_while(Exit::Failed, format!("cannot create {}", parent.display()))
    }
}

/// Gives a file that is about to be replaced another name besides its own, `NAME.old` or `NAME.old.N`, whichever is
/// free; gives the new path. It is a copy where the file system has no links.
pub(crate) fn keep_aside(path: &Path) -> Result<PathBuf> {
    let named = |end: String| {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(end);
        path.with_file_name(name)
    };
    let mut names =
        std::iter::once(".old".to_owned()).chain((1..).map(|number: u32| format!(".old.{number}"))).map(named);
    let free = names.find(|path| !path.exists()).expect("a folder has fewer files than there are numbers");
    let kept = fs::hard_link(path, &free)
        .or_else(|_| write_file(&free, Access::Private, |out| io::copy(&mut File::open(path)?, out).map(drop)));
    kept.or_exit_while(Exit::Failed, format!("cannot copy {} to {}", path.display(), free.display()))?;
    Ok(free)
}

/// The folder for what can be made anew: `taproof` in the user's cache.
pub(crate) fn cache_dir() -> Result<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| set("LOCALAPPDATA")).or_else(|| Some(set("HOME")?.join(".cache")));
    let cache = cache.ok_or_else(|| Failure::new(Exit::Failed, "neither XDG_CACHE_HOME nor HOME is set"));
    Ok(cache
        .map_err(|failure| failure.advise("set one of them, or name the folders with --dir and --keys"))?
        .join("taproof"))
}

/// Fails if a file is where a folder is to be.
pub(crate) fn expect_no_file(folder: &Path) -> Result {
    let is_file = match fs::metadata(folder) {
        Ok(found) => !found.is_dir(),
        // Its name ends in a slash, or goes on.
        Err(error) => error.kind() == io::ErrorKind::NotADirectory,
    };
    match is_file {
        true => Err(Failure::new(Exit::Input, format!("{} is no folder", folder.display()))),
        false => Ok(()),
    }
}

/// Whether something is there that holds anything. Pipes, devices and empty files are there to be written to.
fn holds_something(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_dir() || found.is_file() && found.len() > 0)
}

/// Fails if a file that would be replaced holds anything.
pub(crate) fn expect_absent(path: &Path) -> Result {
    if holds_something(path) {
        let failure = Failure::new(Exit::Input, format!("{} exists and is not overwritten", path.display()));
        return Err(failure.advise("move it away or name another file"));
    }
    Ok(())
}

/// Fails if a data directory has some of these files of a rollup already, and names all of them.
pub(crate) fn expect_none(paths: &[PathBuf]) -> Result {
    let there: Vec<String> =
        paths.iter().filter(|path| holds_something(path)).map(|path| path.display().to_string()).collect();
    let (message, what) = match there.as_slice() {
        [] => return Ok(()),
        [one] => (format!("{one} exists and is not overwritten"), "that file"),
        all => (format!("these exist and are not overwritten: {}", all.join(", ")), "these files"),
    };
    let advice = format!(
        "there is a rollup, or what is left of one: name another folder with --dir, or move {what} away; the wallet \
         can stay"
    );
    Err(Failure::new(Exit::Input, message).advise(advice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_aside_stays_in_its_place_until_it_is_replaced() {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let path = folder.path().join("ledger");
        for (contents, name) in [("first", "ledger.old"), ("second", "ledger.old.1"), ("third", "ledger.old.2")] {
            fs::write(folder.path().join("new"), contents).expect("room");
            fs::rename(folder.path().join("new"), &path).expect("the files are ours");
            let kept = keep_aside(&path).expect("room");
            assert_eq!(kept, folder.path().join(name));
            let read = |path: &Path| fs::read_to_string(path).expect("it is there");
            assert_eq!([read(&path), read(&kept)], [contents, contents]);
        }
        assert_eq!(fs::read_to_string(folder.path().join("ledger.old")).expect("it is there"), "first");
    }
}
