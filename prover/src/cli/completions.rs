//! `taproof completions`.

use super::{Cli, failure::Result};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use std::io::{self, Write};

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
        Ok(io::stdout().lock().write_all(&script)?)
    }
}
