//! `taproof completions`.

use super::{Cli, console::produce, failure::Result};
use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Prints a shell's completion script.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  taproof completions bash > ~/.local/share/bash-completion/completions/taproof")]
pub(crate) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Result {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "taproof", &mut script);
        produce(|out| out.write_all(&script))
    }
}
