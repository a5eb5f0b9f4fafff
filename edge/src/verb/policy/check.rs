//! `policy check`: whether a policy can be used.

use super::super::Session;
use crate::{
    console,
    printable::Printable,
    table::{Align, Table},
    telemetry::{self, Linux, Source},
};
use clap::{Args, ValueHint};
use outrigger_offload::policy::{Effect, Gate, Mode, Policy, Signals, State, Undecided};
use serde::Serialize;
use std::{io::Write, path::PathBuf};

/// Says whether a policy can be used, and which of its gates this machine leaves undecided
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  outrigger policy check configs/policies/fastest.toml
  outrigger policy check mine.toml --json | jq '.gates[] | select(.unknown_here != [])'")]
pub(super) struct Check {
    /// The policy
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: PathBuf,
}

#[derive(Serialize)]
struct Report<'a> {
    file: String,
    modes_allowed: &'a [Mode],
    gates: Vec<GateReport<'a>>,
}

#[derive(Serialize)]
struct GateReport<'a> {
    name: &'a str,
    when: &'a str,
    signals: &'a [&'static str],
    /// Signals that a machine tells of itself and this one does not, where the
    /// gate has no result without them.
    unknown_here: Vec<&'static str>,
}

impl<'a> GateReport<'a> {
    fn of(gate: &'a Gate, here: &Signals) -> Self {
        let unknown = match gate.state(here) {
            State::Undecided(Undecided::Unknown(unknown)) => unknown,
            _ => Vec::new(),
        };
        let of_machine = |name: &&str| telemetry::NAMES.contains(name);
        Self {
            name: &gate.name,
            when: gate.when.text(),
            signals: gate.when.signals(),
            unknown_here: unknown.into_iter().filter(of_machine).collect(),
        }
    }
}

impl Check {
    pub(super) fn run(self, session: &Session) -> anyhow::Result<()> {
        let policy = super::load(Some(&self.file))?;
        let mut here = Signals::default();
        Linux::here().read().fill(&mut here);
        let gates = policy.gates.iter().map(|gate| GateReport::of(gate, &here));
        let report = Report {
            file: self.file.display().to_string(),
            modes_allowed: &policy.modes_allowed,
            gates: gates.collect(),
        };
        if session.json {
            return console::print_json(&report);
        }
        let mut out = console::stdout();
        writeln!(out, "{}: can be used", Printable::line(&report.file))?;
        print(&policy, &report, &mut out)?;
        out.flush()?;
        Ok(())
    }
}

fn print(policy: &Policy, report: &Report<'_>, out: &mut impl Write) -> anyhow::Result<()> {
    writeln!(out, "modes allowed: {}", names(report.modes_allowed))?;
    if policy.gates.is_empty() {
        writeln!(out, "no gates")?;
        return Ok(());
    }
    writeln!(out)?;
    let mut table = Table::new([
        ("gate", Align::Left),
        ("effect", Align::Left),
        ("signals", Align::Left),
    ]);
    for gate in &policy.gates {
        let effect = match &gate.effect {
            Effect::Deny(modes) => format!("denies {}", names(modes)),
            Effect::Only(modes) => format!("only {}", names(modes)),
        };
        let signals = gate.when.signals().join(", ");
        table.push([Printable::line(&gate.name).to_string(), effect, signals]);
    }
    table.print(out)?;
    for gate in report
        .gates
        .iter()
        .filter(|gate| !gate.unknown_here.is_empty())
    {
        writeln!(
            out,
            "\ngate `{}`: this machine does not tell `{}`; without it the gate lets nothing leave \
             this machine; `known(...)` asks first",
            Printable::line(gate.name),
            gate.unknown_here.join("`, `")
        )?;
    }
    Ok(())
}

fn names(modes: &[Mode]) -> String {
    let names: Vec<&str> = modes.iter().map(|mode| mode.name()).collect();
    names.join(", ")
}
