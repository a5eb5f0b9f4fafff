//! Generations under simulated time whose node and link fail, 1,000 by
//! default:
//!
//! ```text
//! cargo run --release -p outrigger-tests --example offload_faults
//! cargo run --release -p outrigger-tests --example offload_faults -- --seed 7
//! ```
//!
//! The second replays one of them and tells what happened. Fails if a text is
//! not that of local decoding, at any panic, and if a failure is told or taken
//! over too late.

use clap::Parser;
use outrigger_tests::simulation::{
    Failure, Language, Trust, bundled_pair,
    faults::{Kind, Played, Tally, play},
};
use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

/// Generations whose node and link fail.
#[derive(Parser)]
struct Args {
    /// Runs
    #[arg(long, default_value_t = 1000)]
    runs: u64,
    /// Replays this run alone and tells what happened
    #[arg(long)]
    seed: Option<u64>,
    /// Runs at a time [default: the processors]
    #[arg(long)]
    threads: Option<NonZeroUsize>,
}

fn main() -> Result<ExitCode, Failure> {
    let args = Args::parse();
    let language = Language::new(1, bundled_pair()?.tokenizer);
    let trust = Trust::new()?;
    if let Some(seed) = args.seed {
        let played = play(seed, &trust, &language)?;
        tell(&played);
        return Ok(code(played.faults_found.is_empty()));
    }
    let threads = match args.threads {
        Some(threads) => threads.get(),
        None => thread::available_parallelism()?.get(),
    };
    let next = AtomicU64::new(0);
    let work = || -> Result<Runs, Failure> {
        let mut runs = Runs::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= args.runs {
                return Ok(runs);
            }
            runs.add(&play(seed, &trust, &language)?);
        }
    };
    let mut all = Runs::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            all.merge(worker.join().map_err(|_| "a run panicked")??);
        }
        Ok::<_, Failure>(())
    })?;
    table(all.tallies);
    for found in &all.wrong {
        println!("{found}");
    }
    println!("digest of all runs: {:016x}", all.digest);
    Ok(code(all.wrong.is_empty()))
}

/// Runs that were played.
#[derive(Default)]
struct Runs {
    tallies: BTreeMap<Kind, Tally>,
    /// What was found wrong.
    wrong: Vec<String>,
    /// Of all runs, in any order.
    digest: u64,
}

impl Runs {
    fn add(&mut self, played: &Played) {
        let Played { scenario, .. } = played;
        self.tallies.entry(scenario.kind).or_default().add(played);
        self.digest ^= played.digest;
        let (seed, kind) = (scenario.seed, scenario.kind);
        let wrong = played.faults_found.iter();
        (self.wrong).extend(wrong.map(|found| format!("seed {seed}, {kind}: {found}")));
    }

    fn merge(&mut self, other: Self) {
        for (kind, tally) in other.tallies {
            self.tallies.entry(kind).or_default().merge(tally);
        }
        self.wrong.extend(other.wrong);
        self.digest ^= other.digest;
    }
}

fn code(right: bool) -> ExitCode {
    match right {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// What happened in a run.
fn tell(played: &Played) {
    println!("{:#?}", played.scenario);
    for (at, event) in &played.events {
        println!("{:9.3} s  {event}", at.as_secs_f64());
    }
    for found in &played.faults_found {
        println!("wrong: {found}");
    }
    println!("digest {:016x}", played.digest);
}

fn table(tallies: BTreeMap<Kind, Tally>) {
    println!(
        "{:24} {:>5} {:>5}  {:>22}  {:>22}  {:>22}",
        "", "", "", "told after ms", "taken over, warm, ms", "taken over, rebuilt, ms"
    );
    println!(
        "{:24} {:>5} {:>5}  {:>22}  {:>22}  {:>22}",
        "", "runs", "right", "count    p50    max", "count    p50    max", "count    p50    max"
    );
    let mut all = Tally::default();
    for (kind, mut tally) in tallies {
        tally.sort();
        line(&kind.to_string(), &tally);
        all.merge(tally);
    }
    all.sort();
    line("all", &all);
}

fn line(name: &str, tally: &Tally) {
    println!(
        "{name:24} {:5} {:5}  {}  {}  {}",
        tally.runs,
        tally.right,
        times(&tally.detections),
        times(&tally.warm),
        times(&tally.rebuilt)
    );
}

/// Number, median and largest of ascending times.
fn times(times: &[Duration]) -> String {
    let ms = |time: Option<&Duration>| time.map_or("-".into(), |time| time.as_millis().to_string());
    let (median, most) = (times.get(times.len() / 2), times.last());
    format!("{:8} {:>6} {:>6}", times.len(), ms(median), ms(most))
}
