//! `completions`: scripts that complete the command line in a shell.

use crate::{args::Arguments, console};
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use std::io::Write;

/// Prints the completion script of a shell
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  source <(outrigger completions bash)
  outrigger completions zsh > ~/.zfunc/_outrigger
  outrigger completions fish > ~/.config/fish/completions/outrigger.fish")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let mut script = Vec::new();
        let mut command = Arguments::command();
        clap_complete::generate(self.shell, &mut command, "outrigger", &mut script);
        let mut out = console::stdout();
        out.write_all(&script)?;
        out.flush()?;
        Ok(())
    }
}
