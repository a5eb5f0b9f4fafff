//! Where a token's time goes.

use crate::table::{Align, Table};
use outrigger_runtime::{model::Operation, stage::Profile};
use serde::Serialize;
use std::{
    io::{self, Write},
    time::Duration,
};

/// The part of an operation's time that threads wait for each other from which
/// on that is what it waits for.
const WAIT_SHARE: f64 = 1.0 / 3.0;
/// The part of the probe's speed of reading from which on memory is.
const READ_SHARE: f64 = 0.6;

/// What something waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Awaited {
    /// Bytes from memory.
    Memory,
    /// The processor.
    Compute,
    /// Threads that have not finished their part.
    Threads,
    /// Threads that have to come or to be told.
    Handover,
    /// What the caller does between two passes.
    Caller,
}

impl Awaited {
    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Compute => "compute",
            Self::Threads => "threads",
            Self::Handover => "handover",
            Self::Caller => "caller",
        }
    }
}

/// A part of a token's time.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    operation: &'static str,
    /// Microseconds, summed over layers.
    us_per_token: f64,
    /// Part of the token's time.
    share: f64,
    /// Part of it that the threads were at work; the rest they waited for each
    /// other. Operations of passes only.
    busy: Option<f64>,
    /// Bytes that have to be read.
    bytes_per_token: Option<f64>,
    bytes_per_second: Option<f64>,
    /// Multiplications and additions.
    ops_per_second: Option<f64>,
    waits_for: Awaited,
}

/// Where the time of a test's tokens went; the rows sum to all of it.
#[derive(Debug, Serialize)]
pub(super) struct Breakdown {
    us_per_token: f64,
    /// Passes in all repetitions.
    passes: u64,
    rows: Vec<Row>,
    /// What a token's sampling took besides. Generations only.
    sampling_us_per_token: Option<f64>,
}

/// What a breakdown is made of.
pub(super) struct Measured<'a> {
    pub(super) profile: &'a Profile,
    /// What was timed, the passes included.
    pub(super) time: Duration,
    /// What the sampler took besides.
    pub(super) sampling: Duration,
    pub(super) tokens: usize,
    /// Bytes per second at which the threads just read.
    pub(super) read_bandwidth: Option<f64>,
}

impl Breakdown {
    pub(super) fn new(measured: &Measured<'_>) -> Self {
        let Measured {
            profile,
            time,
            sampling,
            tokens,
            read_bandwidth,
        } = *measured;
        let per_token = |time: Duration| time.as_secs_f64() / tokens.max(1) as f64;
        let whole = per_token(time);
        let row = |operation, time: Duration, waits_for| Row {
            operation,
            us_per_token: 1e6 * per_token(time),
            share: per_token(time) / whole,
            busy: None,
            bytes_per_token: None,
            bytes_per_second: None,
            ops_per_second: None,
            waits_for,
        };
        let mut rows = vec![row("hand-over", profile.hand_over, Awaited::Handover)];
        for operation in Operation::ALL {
            let figures = profile.operation(operation);
            let seconds = figures.time().as_secs_f64();
            if seconds == 0.0 {
                continue;
            }
            let some = |value: f64| (value > 0.0).then_some(value);
            let busy = figures.busy.as_secs_f64() / seconds;
            let speed = some(figures.bytes / seconds);
            let reads = speed.zip(read_bandwidth).map(|(speed, most)| speed / most);
            let waits_for = if 1.0 - busy >= WAIT_SHARE {
                Awaited::Threads
            } else if reads.is_some_and(|share| share >= READ_SHARE) {
                Awaited::Memory
            } else {
                Awaited::Compute
            };
            rows.push(Row {
                busy: Some(busy),
                bytes_per_token: some(figures.bytes / tokens.max(1) as f64),
                bytes_per_second: speed,
                ops_per_second: some(figures.arithmetic / seconds),
                ..row(operation.name(), figures.time(), waits_for)
            });
        }
        rows.push(row("hand-back", profile.hand_back, Awaited::Handover));
        let between = time.saturating_sub(profile.wall);
        rows.push(row("between passes", between, Awaited::Caller));
        Self {
            us_per_token: 1e6 * whole,
            passes: profile.passes,
            rows,
            sampling_us_per_token: (!sampling.is_zero()).then(|| 1e6 * per_token(sampling)),
        }
    }

    /// Prints the rows, and their sum.
    pub(super) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let number = |value: Option<f64>, unit: f64, digits: usize| {
            value.map_or_else(String::new, |value| format!("{:.digits$}", value / unit))
        };
        let mut table = Table::new([
            ("operation", Align::Left),
            ("us/token", Align::Right),
            ("share %", Align::Right),
            ("busy %", Align::Right),
            ("MB/token", Align::Right),
            ("GB/s", Align::Right),
            ("GOP/s", Align::Right),
            ("waits for", Align::Left),
        ]);
        for row in &self.rows {
            table.push([
                row.operation.to_owned(),
                format!("{:.1}", row.us_per_token),
                format!("{:.1}", 100.0 * row.share),
                number(row.busy, 0.01, 0),
                number(row.bytes_per_token, 1e6, 3),
                number(row.bytes_per_second, 1e9, 1),
                number(row.ops_per_second, 1e9, 1),
                row.waits_for.name().to_owned(),
            ]);
        }
        let sum = |of: fn(&Row) -> f64| self.rows.iter().map(of).sum::<f64>();
        let few = |name: &str, us: f64, share: String| {
            let mut cells = [const { String::new() }; 8];
            [cells[0], cells[1], cells[2]] = [name.to_owned(), format!("{us:.1}"), share];
            cells
        };
        let share = format!("{:.1}", 100.0 * sum(|row| row.share));
        table.push(few("sum", sum(|row| row.us_per_token), share));
        if let Some(us) = self.sampling_us_per_token {
            table.push(few("sampling, besides", us, String::new()));
        }
        table.print(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_runtime::stage::OperationProfile;

    /// Ten tokens in 10 ms, of which the passes took 9.
    fn breakdown(read_bandwidth: Option<f64>) -> Breakdown {
        let ms = Duration::from_millis;
        let mut profile = Profile {
            passes: 10,
            columns: 10,
            wall: ms(9) + Duration::from_micros(20),
            hand_over: Duration::from_micros(10),
            hand_back: Duration::from_micros(10),
            ..Profile::default()
        };
        let mut set = |operation: Operation, busy, wait, bytes, arithmetic| {
            profile.operations[operation.index()] = OperationProfile {
                busy,
                wait,
                bytes,
                arithmetic,
            };
        };
        set(Operation::GateUp, ms(5), ms(1), 120e6, 300e6);
        set(Operation::Down, ms(2), ms(0), 20e6, 200e6);
        set(Operation::LayerEnd, ms(0), ms(1), 0.0, 0.0);
        Breakdown::new(&Measured {
            profile: &profile,
            time: ms(10),
            sampling: ms(1),
            tokens: 10,
            read_bandwidth,
        })
    }

    #[test]
    fn rows_are_printed_with_what_they_wait_for() {
        let mut out = Vec::new();
        breakdown(Some(30e9)).print(&mut out).unwrap();
        let wanted = "\
operation            us/token  share %  busy %  MB/token  GB/s  GOP/s  waits for
hand-over                 1.0      0.1                                 handover
ffn gate, up            600.0     60.0      83    12.000  20.0   50.0  memory
ffn down                200.0     20.0     100     2.000  10.0  100.0  compute
residual, next norm     100.0     10.0       0                         threads
hand-back                 1.0      0.1                                 handover
between passes           98.0      9.8                                 caller
sum                    1000.0    100.0
sampling, besides       100.0
";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }

    #[test]
    fn rows_sum_to_what_was_measured() {
        let breakdown = breakdown(None);
        let sum = |of: fn(&Row) -> f64| breakdown.rows.iter().map(of).sum::<f64>();
        assert!((sum(|row| row.us_per_token) - 1000.0).abs() < 1e-6);
        assert!((sum(|row| row.share) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_waited_for_follows_from_the_figures() {
        let of = |read_bandwidth, name| {
            let rows = breakdown(read_bandwidth).rows;
            rows.iter()
                .find(|row| row.operation == name)
                .unwrap()
                .waits_for
        };
        assert_eq!(of(Some(30e9), "ffn gate, up"), Awaited::Memory);
        assert_eq!(of(Some(40e9), "ffn gate, up"), Awaited::Compute);
        assert_eq!(of(None, "ffn gate, up"), Awaited::Compute);
        assert_eq!(of(None, "residual, next norm"), Awaited::Threads);
    }

    #[test]
    fn json_names_the_units() {
        let value = serde_json::to_value(breakdown(Some(30e9))).unwrap();
        let wanted = serde_json::json!({
            "operation": "ffn down",
            "us_per_token": 200.0,
            "share": 0.2,
            "busy": 1.0,
            "bytes_per_token": 2e6,
            "bytes_per_second": 1e10,
            "ops_per_second": 1e11,
            "waits_for": "compute",
        });
        assert_eq!(value["rows"][2], wanted);
        assert_eq!(value["sampling_us_per_token"], 100.0);
        assert_eq!(value["rows"][0]["busy"], serde_json::Value::Null);
    }
}
