//! Loads a model, decodes a few tokens and says what that took:
//!
//! ```text
//! cargo run --release -p outrigger-runtime --example footprint -- FILE [STEPS] [THREADS]
//! ```

use outrigger_runtime::{
    kv::SequenceId,
    loaded::{LoadedModel, RunOptions},
    model::ModelOptions,
    stage::{Batch, Column},
    transcript::Class,
};
use std::{env, error::Error, fs, path::Path, sync::atomic::AtomicBool, time::Instant};

/// The lines of `/proc/self/status` about resident memory; elsewhere nothing.
fn resident() -> String {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let lines = text.lines().filter(|line| line.starts_with("Rss"));
    let words = lines.flat_map(str::split_whitespace);
    words.collect::<Vec<_>>().join(" ")
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args().skip(1);
    let path = args
        .next()
        .ok_or("usage: footprint FILE [STEPS] [THREADS]")?;
    let steps: u32 = args.next().map_or(Ok(16), |n| n.parse())?;
    let threads = args.next().map(|n| n.parse()).transpose()?;
    let start = Instant::now();
    let model = LoadedModel::open(Path::new(&path), &ModelOptions::default())?;
    let options = RunOptions {
        threads,
        ..RunOptions::default()
    };
    let mut pipeline = model.pipeline(&options)?;
    println!("loaded in {:?}: {}", start.elapsed(), resident());
    let sequence = SequenceId(0);
    pipeline.create(sequence)?;
    let mut batch = Batch::default();
    let mut start = Instant::now();
    for position in 0..=steps {
        batch.clear();
        let column = Column {
            sequence,
            position,
            class: Class::Generated,
            wanted: true,
        };
        batch.push(column, position % 256);
        pipeline.forward(&mut batch, &AtomicBool::new(false))?;
        if position == 0 {
            println!("first token in {:?}: {}", start.elapsed(), resident());
            start = Instant::now();
        }
    }
    let rate = f64::from(steps) / start.elapsed().as_secs_f64();
    println!("{steps} tokens at {rate:.2} per second: {}", resident());
    Ok(())
}
