//! What a policy would choose over a range of links and batteries.

use super::{Candidate, Mode, Policy, Signals, chooser::first_choice};
use serde::Serialize;
use std::fmt;

/// Most values on an axis, and most cells of all.
const AXIS_MAX: usize = 200;
const CELLS_MAX: usize = 50_000;
/// The spread of the simulated round trip, as shares of its mean.
const VARIATION_SHARE: f64 = 0.05;
const P95_SHARE: f64 = 1.1;

/// Over what is simulated.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Axes {
    /// Round trips, in milliseconds. Their mean deviation is taken as 5 % and
    /// their 95th percentile as 10 % more.
    pub rtt_ms: Vec<f64>,
    /// Bandwidths, the same each way, in megabits per second.
    pub mbit_s: Vec<f64>,
    /// Charges of the battery, from 0 to 1; `None` is plugged in.
    pub charge: Vec<Option<f64>>,
}

/// Axes that are empty, too long or out of range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AxesError {
    /// Too few or too many values on an axis.
    #[error("`{axis}` must have 1 to {AXIS_MAX} values, not {found}")]
    Length {
        /// The axis.
        axis: &'static str,
        /// How many values it has.
        found: usize,
    },
    /// Too many cells.
    #[error("{0} cells are too many; up to {CELLS_MAX} are simulated")]
    Cells(usize),
    /// A value that cannot be.
    #[error("`{axis}` must be {wanted}, not {value}")]
    Value {
        /// The axis.
        axis: &'static str,
        /// What it must be.
        wanted: &'static str,
        /// What it is.
        value: String,
    },
}

/// What is chosen at one place.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cell {
    /// Round trip, in milliseconds.
    pub rtt_ms: f64,
    /// Bandwidth, in megabits per second.
    pub mbit_s: f64,
    /// Charge of the battery, from 0 to 1; `None` is plugged in.
    pub charge: Option<f64>,
    /// The mode that costs least, or that is taken while no cost can be
    /// predicted; `None` if all are barred.
    pub mode: Option<Mode>,
    /// Its predicted time per output token, in milliseconds.
    pub tpot_ms: Option<f64>,
    /// Its cost as the policy weighs it, in milliseconds per output token.
    pub cost_ms: Option<f64>,
}

/// All places.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Simulation {
    /// What was simulated over.
    pub axes: Axes,
    /// What held everywhere.
    pub signals: Signals,
    /// By charge, then bandwidth, then round trip, in the order of the axes.
    pub cells: Vec<Cell>,
}

impl Policy {
    /// Chooses at each place of `axes`, everything else as in `signals`. Each
    /// choice is a first one: hysteresis plays no part.
    ///
    /// # Errors
    /// The axes are empty, too long, or hold what cannot be.
    pub fn simulate(&self, signals: &Signals, axes: &Axes) -> Result<Simulation, AxesError> {
        axes.check()?;
        let mut cells = Vec::new();
        for &charge in &axes.charge {
            for &mbit_s in &axes.mbit_s {
                for &rtt_ms in &axes.rtt_ms {
                    let here = Signals {
                        online: Some(true),
                        rtt_ms: Some(rtt_ms),
                        rtt_var_ms: Some(rtt_ms * VARIATION_SHARE),
                        rtt_p95_ms: Some(rtt_ms * P95_SHARE),
                        up_mbit_s: Some(mbit_s),
                        down_mbit_s: Some(mbit_s),
                        on_battery: Some(charge.is_some()),
                        charge: Some(charge.unwrap_or(1.0)),
                        ..signals.clone()
                    };
                    let candidates = self.weigh(&here);
                    let chosen = first_choice(&candidates);
                    let prediction = chosen.and_then(Candidate::prediction);
                    cells.push(Cell {
                        rtt_ms,
                        mbit_s,
                        charge,
                        mode: chosen.map(|one| one.mode),
                        tpot_ms: prediction.map(|prediction| prediction.tpot_ms),
                        cost_ms: prediction.map(|prediction| prediction.cost_ms),
                    });
                }
            }
        }
        Ok(Simulation {
            axes: axes.clone(),
            signals: signals.clone(),
            cells,
        })
    }
}

impl Default for Axes {
    fn default() -> Self {
        Self {
            rtt_ms: vec![1.0, 5.0, 10.0, 20.0, 40.0, 80.0, 120.0, 200.0],
            mbit_s: vec![0.1, 1.0, 10.0, 100.0],
            charge: vec![None, Some(0.5), Some(0.1)],
        }
    }
}

impl Axes {
    /// Values close enough together for a chart, over the range of the default.
    pub fn fine() -> Self {
        Self {
            rtt_ms: (0..=40).map(|step| f64::from(step) * 5.0).collect(),
            // Six steps to the power of ten.
            mbit_s: (-6..=12)
                .map(|step| {
                    let rate = 10_f64.powf(f64::from(step) / 6.0);
                    (rate * 100.0).round() / 100.0
                })
                .collect(),
            ..Self::default()
        }
    }

    fn check(&self) -> Result<(), AxesError> {
        let lengths = [
            ("rtt_ms", self.rtt_ms.len()),
            ("mbit_s", self.mbit_s.len()),
            ("charge", self.charge.len()),
        ];
        for (axis, found) in lengths {
            if !(1..=AXIS_MAX).contains(&found) {
                return Err(AxesError::Length { axis, found });
            }
        }
        let cells = lengths.iter().map(|(_, found)| found).product();
        if cells > CELLS_MAX {
            return Err(AxesError::Cells(cells));
        }
        let (rtts, rates) = (self.rtt_ms.iter(), self.mbit_s.iter());
        let charges = self.charge.iter().flatten();
        let checked = rtts
            .map(|&value| ("rtt_ms", "0 or more", value, value >= 0.0))
            .chain(rates.map(|&value| ("mbit_s", "above 0", value, value > 0.0)))
            .chain(charges.map(|&value| {
                let fits = (0.0..=1.0).contains(&value);
                ("charge", "from 0 to 1", value, fits)
            }));
        for (axis, wanted, value, fits) in checked {
            if !(fits && value.is_finite()) {
                let value = value.to_string();
                return Err(AxesError::Value {
                    axis,
                    wanted,
                    value,
                });
            }
        }
        Ok(())
    }
}

impl Simulation {
    /// The cells of one charge, a row for each bandwidth.
    pub(super) fn panels(&self) -> impl Iterator<Item = (Option<f64>, &[Cell])> {
        let size = self.axes.rtt_ms.len() * self.axes.mbit_s.len();
        let panels = self.cells.chunks(size.max(1));
        self.axes.charge.iter().copied().zip(panels)
    }
}

/// What a panel is called.
pub(super) fn battery(charge: Option<f64>) -> String {
    charge.map_or_else(
        || "plugged in".to_owned(),
        |charge| format!("battery at {:.0} %", charge * 100.0),
    )
}

/// As tables, one for each charge: modes with their time per output token.
impl fmt::Display for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |cell: &Cell| match (cell.mode, cell.tpot_ms) {
            (Some(mode), Some(ms)) => format!("{mode} {ms:.1}"),
            (Some(mode), None) => format!("{mode} ?"),
            (None, _) => "none".to_owned(),
        };
        let columns = self.axes.rtt_ms.len();
        for (index, (charge, cells)) in self.panels().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            writeln!(f, "{}: mode and ms per token", battery(charge))?;
            let heads = self.axes.rtt_ms.iter().map(|rtt| format!("RTT {rtt} ms"));
            let heads: Vec<String> = heads.collect();
            let texts: Vec<String> = cells.iter().map(shown).collect();
            let widths: Vec<usize> = (0..columns)
                .map(|column| {
                    let cells = texts.iter().skip(column).step_by(columns).map(String::len);
                    cells.max().unwrap_or(0).max(heads[column].len())
                })
                .collect();
            let mut line = format!("{:>12}", "");
            for (head, width) in heads.iter().zip(&widths) {
                line += &format!("  {head:<width$}");
            }
            writeln!(f, "{}", line.trim_end())?;
            for (row, mbit_s) in texts.chunks(columns).zip(&self.axes.mbit_s) {
                let mut line = format!("{:>12}", format!("{mbit_s} Mbit/s"));
                for (text, width) in row.iter().zip(&widths) {
                    line += &format!("  {text:<width$}");
                }
                writeln!(f, "{}", line.trim_end())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::policy) fn simulated() -> Simulation {
        let text = "modes_allowed = [\"local\", \"stream\", \"split\"]\n\
                    [[gate]]\nname = \"low\"\nwhen = \"on_battery && charge < 0.2\"\n\
                    deny = [\"local\"]\nreason = \"low\"\n";
        let signals = Signals {
            node_model_matches: Some(true),
            node_tokenizer_matches: Some(false),
            edge_has_model: Some(true),
            t_local_ms: Some(100.0),
            t_edge_split_ms: Some(10.0),
            t_node_split_ms: Some(10.0),
            hidden_bytes: Some(10_000.0),
            ..Signals::default()
        };
        let axes = Axes {
            rtt_ms: vec![10.0, 100.0],
            mbit_s: vec![1.0, 100.0],
            charge: vec![None, Some(0.1)],
        };
        let policy = Policy::parse(text, "p.toml").unwrap();
        policy.simulate(&signals, &axes).unwrap()
    }

    #[test]
    fn each_place_has_its_mode() {
        let simulation = simulated();
        let modes: Vec<Mode> = simulation
            .cells
            .iter()
            .filter_map(|cell| cell.mode)
            .collect();
        use Mode::{Local, Split};
        // 10 kB each way take 160 ms at 1 Mbit/s.
        assert_eq!(
            modes,
            [Local, Local, Split, Local, Split, Split, Split, Split]
        );
        let text = simulation.to_string();
        assert!(
            text.starts_with("plugged in: mode and ms per token\n"),
            "{text}"
        );
        assert!(
            text.contains("  100 Mbit/s  split 31.6   local 100.0\n"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 9);
    }

    #[test]
    fn what_cannot_be_predicted_is_marked() {
        let signals = Signals {
            edge_has_model: Some(true),
            ..Signals::default()
        };
        let simulation = Policy::default().simulate(&signals, &Axes::default());
        let text = simulation.unwrap().to_string();
        assert!(text.contains("local ?"), "{text}");
    }

    #[test]
    fn axes_are_checked() {
        let policy = Policy::default();
        let check = |axes| policy.simulate(&Signals::default(), &axes).map(|_| ());
        let axes = Axes::default();
        assert_eq!(check(axes.clone()), Ok(()));
        assert_eq!(check(Axes::fine()), Ok(()));
        let error = |axes| check(axes).unwrap_err().to_string();
        let none = Axes {
            rtt_ms: vec![],
            ..axes.clone()
        };
        assert_eq!(error(none), "`rtt_ms` must have 1 to 200 values, not 0");
        let zero = Axes {
            mbit_s: vec![0.0],
            ..axes.clone()
        };
        assert_eq!(error(zero), "`mbit_s` must be above 0, not 0");
        let nan = Axes {
            charge: vec![Some(f64::NAN)],
            ..axes.clone()
        };
        assert_eq!(error(nan), "`charge` must be from 0 to 1, not NaN");
        let many = Axes {
            rtt_ms: vec![1.0; 200],
            mbit_s: vec![1.0; 200],
            ..axes
        };
        assert!(error(many).contains("120000 cells"));
    }
}
