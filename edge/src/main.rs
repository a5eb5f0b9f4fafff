//! The command line of Outrigger.

mod args;
mod bundled;
mod config;
mod console;
mod energy;
mod exit;
mod folders;
mod interrupt;
mod model;
mod npy;
mod printable;
mod progress;
mod read_speed;
mod table;
mod telemetry;
mod threads;
mod token_ids;
mod units;
mod verb;
mod whole_file;

use std::process::ExitCode;

fn main() -> ExitCode {
    match args::parse() {
        Ok(arguments) => exit::report(verb::run(arguments)),
        Err(refusal) => exit::refuse(&refusal),
    }
}
