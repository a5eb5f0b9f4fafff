//! Runs every mode under simulated time over a grid of links and machines, and
//! holds it against the policy's predictions and choices:
//!
//! ```text
//! cargo run --release -p outrigger-tests --example offload_grid
//! ```
//!
//! Fails unless every mode runs within 10 % of its prediction, and the policy
//! picks a mode within 5 % of the fastest in 95 % of cells.

use clap::Parser;
use outrigger_offload::policy::Mode;
use outrigger_tests::simulation::{
    Failure, Language, Trust, bundled_pair,
    grid::{Axes, MODES, Row, rows},
};
use std::{collections::BTreeMap, num::NonZeroUsize, process::ExitCode, thread};

/// How far a speed may be from its prediction.
const PREDICTION: f64 = 0.10;
/// How far the picked mode may be behind the fastest.
const PICK: f64 = 0.05;
/// The share of cells in which it must not be further behind.
const PICKS: f64 = 0.95;

/// The modes of offload over a grid, under simulated time.
#[derive(Parser)]
struct Args {
    /// A few cells only
    #[arg(long)]
    quick: bool,
    /// Where all chances come from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Prints the rows as JSON
    #[arg(long)]
    json: bool,
    /// Cells at a time [default: the processors]
    #[arg(long)]
    threads: Option<NonZeroUsize>,
}

fn main() -> Result<ExitCode, Failure> {
    let args = Args::parse();
    let pair = bundled_pair()?;
    let axes = match args.quick {
        true => Axes::quick(pair.acceptance.clone()),
        false => Axes::whole(pair.acceptance.clone()),
    };
    let threads = match args.threads {
        Some(threads) => threads.get(),
        None => thread::available_parallelism()?.get(),
    };
    let language = Language::new(args.seed, pair.tokenizer);
    let rows = rows(&axes.cells(), args.seed, threads, &Trust::new()?, &language)?;
    if args.json {
        let rows: Vec<_> = rows.iter().map(json).collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        println!("the bundled draft is right at {:.3?}\n", pair.acceptance);
        table(&rows);
    }
    let summary = Summary::of(&rows);
    eprintln!("{}", summary.text);
    Ok(match summary.met {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Tokens a second, measured and predicted, and their ratio.
fn table(rows: &[Row]) {
    print!("RTT ms  loss  T_c  T_d  accept ");
    for mode in MODES {
        print!(" | {:^24}", mode.name());
    }
    println!(" | pick             of best");
    for row in rows {
        let cell = &row.cell;
        print!(
            "{:6} {:4.0}% {:4} {:4}  {:<7}",
            cell.rtt_ms,
            cell.loss * 100.0,
            cell.times.cloud_ms,
            cell.times.draft_ms,
            cell.rates.name
        );
        for one in &row.modes {
            let mark = match (one.ratio() - 1.0).abs() > PREDICTION {
                true => '!',
                false => ' ',
            };
            let drafts = one.draft_tokens.map_or(String::new(), |k| format!("k{k}"));
            print!(
                " | {:6.2} {:6.2} {:5.3}{mark} {drafts:3}",
                one.measured,
                one.predicted,
                one.ratio()
            );
        }
        println!(" | {:16} {:.3}", row.pick.name(), row.pick_ratio());
    }
}

fn json(row: &Row) -> serde_json::Value {
    let modes = row.modes.iter().map(|one| {
        serde_json::json!({
            "mode": one.mode.name(),
            "measured_tokens_s": one.measured,
            "predicted_tokens_s": one.predicted,
            "ratio": one.ratio(),
            "draft_tokens": one.draft_tokens,
        })
    });
    serde_json::json!({
        "rtt_ms": row.cell.rtt_ms,
        "loss": row.cell.loss,
        "t_cloud_ms": row.cell.times.cloud_ms,
        "t_draft_ms": row.cell.times.draft_ms,
        "acceptance": row.cell.rates.places.to_vec(),
        "modes": modes.collect::<Vec<_>>(),
        "pick": row.pick.name(),
        "pick_of_best": row.pick_ratio(),
    })
}

struct Summary {
    text: String,
    met: bool,
}

impl Summary {
    fn of(rows: &[Row]) -> Self {
        let mut text = String::new();
        let mut met = true;
        let mut by_mode: BTreeMap<Mode, Vec<f64>> = BTreeMap::new();
        for one in rows.iter().flat_map(|row| &row.modes) {
            by_mode.entry(one.mode).or_default().push(one.ratio());
        }
        for (mode, ratios) in by_mode {
            let near = |ratio: &&f64| (**ratio - 1.0).abs() <= PREDICTION;
            let count = ratios.iter().filter(near).count();
            let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
            let most = ratios.iter().copied().fold(0.0, f64::max);
            met &= count == ratios.len();
            text += &format!(
                "{mode}: {count} of {} cells within {:.0} % of the prediction; measured over \
                 predicted from {least:.3} to {most:.3}\n",
                ratios.len(),
                PREDICTION * 100.0
            );
        }
        let near = |row: &&Row| row.pick_ratio() >= 1.0 - PICK;
        let picked = rows.iter().filter(near).count();
        let share = picked as f64 / rows.len().max(1) as f64;
        let worst = rows.iter().map(Row::pick_ratio).fold(1.0, f64::min);
        met &= share >= PICKS;
        text += &format!(
            "picks within {:.0} % of the fastest mode in {picked} of {} cells ({:.1} %); the worst \
             at {worst:.3}",
            PICK * 100.0,
            rows.len(),
            share * 100.0
        );
        Self { text, met }
    }
}
