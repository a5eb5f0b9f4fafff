//! `policy`: what decides where tokens come from.

mod check;
mod explain;
mod signals_file;
mod simulate;

use super::Session;
use crate::exit::Usage;
use clap::{Args, Subcommand};
use outrigger_offload::policy;
use std::path::Path;

/// Shows what a policy makes of this machine and its links
///
/// A policy is a TOML file of allowed modes, gates and weights; configs/policies has some that
/// work as they stand. Without one nothing leaves this machine.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  outrigger policy check configs/policies/fastest.toml
  outrigger policy explain configs/policies/fastest.toml --signals signals.json
  outrigger policy simulate configs/policies/fastest.toml --svg regions.svg")]
pub(crate) struct Policy {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Check(check::Check),
    Explain(explain::Explain),
    Simulate(simulate::Simulate),
}

impl Policy {
    pub(super) fn run(self, session: &Session) -> anyhow::Result<()> {
        match self.action {
            Action::Check(check) => check.run(session),
            Action::Explain(explain) => explain.run(session),
            Action::Simulate(simulate) => simulate.run(session),
        }
    }
}

/// The policy in a file; without one, that of those who have none.
fn load(path: Option<&Path>) -> anyhow::Result<policy::Policy> {
    let Some(path) = path else {
        return Ok(policy::Policy::default());
    };
    Ok(policy::Policy::load(path).map_err(|error| Usage(error.to_string()))?)
}
