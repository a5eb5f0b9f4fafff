//! `policy explain`: what would be chosen now, and why.

use super::{super::Session, signals_file};
use crate::{
    console,
    printable::Printable,
    table::{Align, Table},
    telemetry::{Linux, Source},
};
use clap::{Args, ValueHint};
use outrigger_offload::policy::{
    Chooser, Decision, Policy, Scalar, Signal, Signals, Standing, State,
};
use serde::Serialize;
use std::{io::Write, path::PathBuf, sync::Arc, time::Duration};

/// Says what would be chosen now, and why
///
/// The signals are those that this machine tells of itself: battery, heat, load and memory. No link
/// is opened and nothing is measured, so no node answers and no time is known; --signals gives
/// signals instead, for other cases. They are a JSON object; what it leaves out is not known.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  outrigger policy explain
  outrigger policy explain configs/policies/battery-saver.toml
  outrigger policy explain configs/policies/fastest.toml --signals signals.json --json")]
pub(super) struct Explain {
    /// The policy [default: nothing leaves this machine]
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// Takes the signals from a JSON file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    signals: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    decision: &'a Decision,
    gates: Vec<GateReport<'a>>,
}

#[derive(Serialize)]
struct GateReport<'a> {
    name: &'a str,
    when: &'a str,
    /// `open`, `shut` or `undecided`.
    state: &'static str,
    /// Why it is shut or undecided.
    reason: Option<String>,
}

impl Explain {
    pub(super) fn run(self, session: &Session) -> anyhow::Result<()> {
        let policy = Arc::new(super::load(self.file.as_deref())?);
        let signals = match &self.signals {
            Some(path) => signals_file::read(path)?,
            None => of_this_machine(&Linux::here()),
        };
        let mut chooser = Chooser::new(Arc::clone(&policy));
        let decision = chooser.decide(&signals, Duration::ZERO);
        let gates = gates(&policy, &signals);
        if session.json {
            let decision = &decision;
            return console::print_json(&Report { decision, gates });
        }
        let mut out = console::stdout();
        print(&decision, &gates, &mut out)?;
        out.flush()?;
        Ok(())
    }
}

/// What is known without a link and without measuring. There is always a model:
/// one comes with the program.
fn of_this_machine(source: &impl Source) -> Signals {
    let mut signals = Signals {
        online: Some(false),
        edge_has_model: Some(true),
        ..Signals::default()
    };
    source.read().fill(&mut signals);
    signals
}

fn gates<'a>(policy: &'a Policy, signals: &Signals) -> Vec<GateReport<'a>> {
    let report = |gate: &'a outrigger_offload::policy::Gate| {
        let (state, reason) = match gate.state(signals) {
            State::Open => ("open", None),
            State::Shut => ("shut", Some(gate.reason.clone())),
            State::Undecided(why) => ("undecided", Some(why.to_string())),
        };
        GateReport {
            name: &gate.name,
            when: gate.when.text(),
            state,
            reason,
        }
    };
    policy.gates.iter().map(report).collect()
}

fn print(
    decision: &Decision,
    gates: &[GateReport<'_>],
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let choice = decision.choice.map_or("none", |mode| mode.name());
    writeln!(out, "choice: {choice}")?;
    writeln!(out, "reason: {}", Printable::line(&decision.reason))?;
    for note in &decision.notes {
        writeln!(out, "note:   {}", Printable::line(note))?;
    }
    writeln!(out)?;
    let mut table = Table::new([
        ("mode", Align::Left),
        ("cost", Align::Right),
        ("ms/token", Align::Right),
        ("first ms", Align::Right),
        ("draft", Align::Right),
        ("node tokens", Align::Right),
        ("J/token", Align::Right),
        ("why not", Align::Left),
    ]);
    for candidate in &decision.candidates {
        let name = candidate.mode.name().to_owned();
        let blank = String::new;
        let unknown = || "-".to_owned();
        table.push(match &candidate.standing {
            Standing::Open(prediction) => [
                name,
                format!("{:.1}", prediction.cost_ms),
                format!("{:.1}", prediction.tpot_ms),
                prediction
                    .ttft_ms
                    .map_or_else(unknown, |ms| format!("{ms:.0}")),
                prediction
                    .draft_tokens
                    .map_or_else(unknown, |drafts| drafts.to_string()),
                format!("{:.2}", prediction.cloud_tokens),
                prediction
                    .edge_joules
                    .map_or_else(unknown, |joules| format!("{joules:.2}")),
                blank(),
            ],
            barred => {
                let why = printable(&barred.to_string());
                [
                    name,
                    blank(),
                    blank(),
                    blank(),
                    blank(),
                    blank(),
                    blank(),
                    why,
                ]
            }
        });
    }
    table.print(out)?;
    if !gates.is_empty() {
        writeln!(out)?;
        let mut table = Table::new([
            ("gate", Align::Left),
            ("state", Align::Left),
            ("reason", Align::Left),
        ]);
        for gate in gates {
            let reason = gate.reason.as_deref().unwrap_or_default();
            table.push([
                printable(gate.name),
                gate.state.to_owned(),
                printable(reason),
            ]);
        }
        table.print(out)?;
    }
    writeln!(out)?;
    let mut table = Table::new([("signal", Align::Left), ("value", Align::Left)]);
    for signal in Signal::all() {
        let value = match signal.value(&decision.signals) {
            None => "not known".to_owned(),
            Some(Scalar::Bool(value)) => value.to_string(),
            Some(Scalar::Number(value)) => shown(value),
            Some(Scalar::Text(value)) => value.to_owned(),
        };
        table.push([signal.name.to_owned(), value]);
    }
    table.print(out)?;
    Ok(())
}

/// A policy comes from a file that the terminal must not obey.
fn printable(text: &str) -> String {
    Printable::line(text).to_string()
}

/// A number with three decimals at most.
fn shown(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::{Fake, Telemetry};

    #[test]
    fn the_machine_speaks_for_itself() {
        let machine = Fake(Telemetry {
            charge: Some(0.25),
            on_battery: Some(true),
            ..Telemetry::default()
        });
        let signals = of_this_machine(&machine);
        assert_eq!((signals.charge, signals.online), (Some(0.25), Some(false)));
        let mut chooser = Chooser::new(Arc::default());
        let decision = chooser.decide(&signals, Duration::ZERO);
        let mut text = Vec::new();
        print(&decision, &[], &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.starts_with("choice: local\n"), "{text}");
        assert!(text.contains("\ncharge                  0.25\n"), "{text}");
        assert!(
            text.contains("\nrtt_ms                  not known\n"),
            "{text}"
        );
        assert_eq!((shown(40.0), shown(0.1234)), ("40".into(), "0.123".into()));
    }
}
