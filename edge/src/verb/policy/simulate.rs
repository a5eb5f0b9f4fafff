//! `policy simulate`: what would be chosen over a range of links.

use super::{super::Session, signals_file};
use crate::{console, exit::Usage, whole_file::WholeFile};
use clap::{Args, ValueHint};
use outrigger_offload::policy::{Axes, Privacy, Signals};
use std::{io::Write, path::PathBuf};

/// Shows which mode would be chosen over a range of links and batteries
///
/// Everything but the link and the battery is the same everywhere: by default an edge that takes 80
/// ms for a token of an 8B model and 8 for one of its draft, a node that takes 40, and drafts
/// accepted at 0.8 falling to 0.6; --signals gives other signals, as a JSON object.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  outrigger policy simulate configs/policies/fastest.toml
  outrigger policy simulate configs/policies/battery-saver.toml --charge plugged,0.5,0.1
  outrigger policy simulate mine.toml --rtt-ms 1,10,100 --mbit-s 1,100 --svg regions.svg --json")]
pub(super) struct Simulate {
    /// The policy [default: nothing leaves this machine]
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// Takes what is the same everywhere from a JSON file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    signals: Option<PathBuf>,
    /// Round trips, in ms [default: 1,5,10,20,40,80,120,200]
    #[arg(long, value_name = "MS,...", value_delimiter = ',')]
    rtt_ms: Option<Vec<f64>>,
    /// Bandwidths, the same each way, in Mbit/s [default: 0.1,1,10,100]
    #[arg(long, value_name = "MBIT,...", value_delimiter = ',')]
    mbit_s: Option<Vec<f64>>,
    /// Charges of the battery from 0 to 1, or `plugged` [default: plugged,0.5,0.1]
    #[arg(long, value_name = "CHARGE,...", value_delimiter = ',', value_parser = charge)]
    charge: Option<Vec<Charge>>,
    /// Draws the regions in which each mode is chosen to an SVG file, over finer steps where the
    /// options above do not give them
    #[arg(long, value_name = "OUT", value_hint = ValueHint::FilePath)]
    svg: Option<PathBuf>,
}

/// A battery's charge; `None` is plugged in.
#[derive(Debug, Clone, Copy)]
struct Charge(Option<f64>);

fn charge(text: &str) -> Result<Charge, String> {
    if text == "plugged" {
        return Ok(Charge(None));
    }
    let number = text.parse().map(|charge| Charge(Some(charge)));
    number.map_err(|_| "a charge is a number from 0 to 1, or `plugged`".to_owned())
}

impl Simulate {
    pub(super) fn run(self, session: &Session) -> anyhow::Result<()> {
        let policy = super::load(self.file.as_deref())?;
        let signals = match &self.signals {
            Some(path) => signals_file::read(path)?,
            None => example(),
        };
        let axes = self.axes(Axes::default());
        let simulate = |axes| {
            let simulation = policy.simulate(&signals, &axes);
            simulation.map_err(|error| Usage(error.to_string()))
        };
        let simulation = simulate(axes)?;
        if let Some(path) = &self.svg {
            let drawn = simulate(self.axes(Axes::fine()))?;
            let mut file = WholeFile::create(path)?;
            file.write(drawn.svg().as_bytes())?;
            file.finish()?;
        }
        if session.json {
            return console::print_json(&simulation);
        }
        let mut out = console::stdout();
        write!(out, "{simulation}")?;
        out.flush()?;
        Ok(())
    }

    /// The axes that were asked for, others as they are.
    fn axes(&self, others: Axes) -> Axes {
        let charges = self.charge.as_ref();
        Axes {
            rtt_ms: self.rtt_ms.clone().unwrap_or(others.rtt_ms),
            mbit_s: self.mbit_s.clone().unwrap_or(others.mbit_s),
            charge: charges.map_or(others.charge, |charges| {
                charges.iter().map(|&Charge(charge)| charge).collect()
            }),
        }
    }
}

/// An 8B model in Q4_K on a laptop, whose memory gives 60 GB/s, and on a node
/// that is a server without a GPU.
fn example() -> Signals {
    Signals {
        metered: Some(false),
        loss: Some(0.0),
        queue_depth: Some(0.0),
        node_model_matches: Some(true),
        node_tokenizer_matches: Some(true),
        node_kernels_match: Some(true),
        node_has_draft: Some(false),
        edge_has_model: Some(true),
        edge_has_draft: Some(true),
        t_local_ms: Some(80.0),
        t_cloud_ms: Some(40.0),
        t_verify_base_ms: Some(40.0),
        t_verify_per_token_ms: Some(0.5),
        t_draft_ms: Some(8.0),
        t_edge_split_ms: Some(40.0),
        t_node_split_ms: Some(20.0),
        acceptance: vec![0.8, 0.75, 0.7, 0.65, 0.6],
        hidden_bytes: Some(16_384.0),
        prompt_tokens: Some(200.0),
        context_tokens: Some(300.0),
        privacy: Some(Privacy::Public),
        cost_so_far: Some(0.0),
        memory_pressure: Some(0.0),
        temperature_c: Some(60.0),
        throttled: Some(false),
        load: Some(0.5),
        edge_power_w: Some(15.0),
        ..Signals::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_offload::policy::{Mode, Policy};

    #[test]
    fn charges_are_read() {
        assert_eq!(charge("plugged").unwrap().0, None);
        assert_eq!(charge("0.5").unwrap().0, Some(0.5));
        assert!(charge("full").is_err());
    }

    #[test]
    fn the_example_decides_every_ready_policy() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/policies");
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let policy = Policy::load(&path).unwrap();
            let simulation = policy.simulate(&example(), &Axes::default()).unwrap();
            let mut modes: Vec<Mode> = simulation.cells.iter().filter_map(|c| c.mode).collect();
            assert_eq!(modes.len(), simulation.cells.len(), "{}", path.display());
            modes.sort();
            modes.dedup();
            let name = path.file_stem().unwrap().to_str().unwrap();
            match name {
                // A node saves less than what its tokens count as.
                "private" | "cheapest" => assert_eq!(modes, [Mode::Local]),
                "always-cloud" => assert_eq!(modes, [Mode::Stream]),
                _ => assert!(modes.len() > 1, "{name}: {modes:?}"),
            }
        }
    }
}
