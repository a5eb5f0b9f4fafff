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
    let work = || -> Result<(BTreeMap<Kind, Tally>, Vec<String>, u64), Failure> {
        let (mut tallies, mut wrong, mut digest) = (BTreeMap::new(), Vec::new(), 0);
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= args.runs {
                return Ok((tallies, wrong, digest));
            }
            let played = play(seed, &trust, &language)?;
            let kind = played.scenario.kind;
            let tally: &mut Tally = tallies.entry(kind).or_default();
            tally.add(&played);
            digest ^= played.digest;
            for found in &played.faults_found {
                wrong.push(format!("seed {seed}, {kind}: {found}"));
            }
        }
    };
    let (mut tallies, mut wrong, mut digest) = (BTreeMap::<Kind, Tally>::new(), Vec::new(), 0);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let ended = worker.join().map_err(|_| "a run panicked")?;
            let (more, found, part) = ended?;
            for (kind, tally) in more {
                tallies.entry(kind).or_default().merge(tally);
            }
            wrong.extend(found);
            digest ^= part;
        }
        Ok::<_, Failure>(())
    })?;
    table(tallies);
    for found in &wrong {
        println!("{found}");
    }
    println!("digest of all runs: {digest:016x}");
    Ok(code(wrong.is_empty()))
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
