//! A UDP relay that makes a loopback into a network: for an edge and a node as
//! processes of their own, where the kernel has no `tc netem`.
//!
//!     cargo run --release -p outrigger-tests --example relay -- \
//!         --listen 127.0.0.1:7444 --to 127.0.0.1:7443 --rtt-ms 40
//!
//! Lines on stdin change it while it runs: `cut`, `uncut`, `stall MS`,
//! `address` (clients appear under a new one), `rtt MS`, `loss SHARE`,
//! `duplicate SHARE`, `reorder SHARE`, `stats`. SIGUSR1 cuts, and SIGUSR2 ends the cut.

use clap::Parser;
use outrigger_offload::transport::{
    Path,
    relay::{Relay, RelayConfig, RelayHandle},
};
use std::{error::Error, net::SocketAddr, thread, time::Duration};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

#[derive(Debug, Parser)]
struct Arguments {
    /// Where it listens; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:7444")]
    listen: SocketAddr,
    /// Where it sends what it hears
    #[arg(long, default_value = "127.0.0.1:7443")]
    to: SocketAddr,
    /// The round trip, half of it each way
    #[arg(long, default_value_t = 0.0)]
    rtt_ms: f64,
    /// The most by which a datagram may take longer, each way
    #[arg(long, default_value_t = 0.0)]
    jitter_ms: f64,
    /// The share of datagrams that is lost each way, 0 to 1
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// The share that arrives twice, 0 to 1
    #[arg(long, default_value_t = 0.0)]
    duplicate: f64,
    /// The share that is held back behind later ones, 0 to 1
    #[arg(long, default_value_t = 0.0)]
    reorder: f64,
    /// Mbit/s each way [default: as many as come]
    #[arg(long)]
    rate_mbit_s: Option<f64>,
    /// Decides all chances
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Arguments {
    fn path(&self) -> Result<Path, Box<dyn Error>> {
        let mut path = Path::with_round_trip(milliseconds(self.rtt_ms)?);
        path.jitter = milliseconds(self.jitter_ms)?;
        path.rate_bits_s = self.rate_mbit_s.map(|rate| (rate * 1e6) as u64);
        (path.loss, path.duplicate, path.reorder) = (self.loss, self.duplicate, self.reorder);
        Ok(path)
    }
}

fn milliseconds(ms: f64) -> Result<Duration, Box<dyn Error>> {
    Ok(Duration::try_from_secs_f64(ms / 1e3)?)
}

/// What the relay is, and what is changed of it.
struct Desk {
    relay: RelayHandle,
    path: Path,
}

impl Desk {
    fn cut(&mut self, cut: bool) {
        self.path.cut = cut;
        self.relay.cut(cut);
        println!("{}", if cut { "cut" } else { "not cut" });
    }

    fn command(&mut self, line: &str) -> Result<(), Box<dyn Error>> {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [] => {}
            ["cut"] => self.cut(true),
            ["uncut"] => self.cut(false),
            ["stall", ms] => self.relay.stall(milliseconds(ms.parse()?)?),
            ["address"] => self.relay.change_address(),
            ["rtt", ms] => {
                self.path.delay = milliseconds(ms.parse()?)? / 2;
                self.relay.set(self.path, self.path);
            }
            [what @ ("loss" | "duplicate" | "reorder"), share] => {
                let share = share.parse()?;
                match what {
                    "loss" => self.path.loss = share,
                    "duplicate" => self.path.duplicate = share,
                    _ => self.path.reorder = share,
                }
                self.relay.set(self.path, self.path);
            }
            ["stats"] => {
                let [up, down] = self.relay.carried();
                let late_ms = self.relay.late_ns() as f64 / 1e6;
                println!(
                    "up {} datagrams, {} bytes; down {} datagrams, {} bytes; late {late_ms:.3} ms",
                    up.0, up.1, down.0, down.1
                );
            }
            _ => return Err(format!("`{line}` is no command").into()),
        }
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let path = arguments.path()?;
    let relay = Relay::spawn(RelayConfig {
        listen: arguments.listen,
        target: arguments.to,
        up: path,
        down: path,
        seed: arguments.seed,
    })
    .await?;
    println!("{} to {}", relay.addr(), arguments.to);
    let mut desk = Desk { relay, path };

    let (sender, mut lines) = mpsc::channel(8);
    // Reading a terminal blocks, and nothing can end that.
    thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    let mut listening = true;
    let mut cut = signal(SignalKind::user_defined1())?;
    let mut uncut = signal(SignalKind::user_defined2())?;
    let mut end = signal(SignalKind::terminate())?;
    loop {
        tokio::select! {
            line = lines.recv(), if listening => match line {
                Some(line) => if let Err(error) = desk.command(&line) {
                    eprintln!("{error}");
                },
                // Without a stdin it runs until it is told to end.
                None => listening = false,
            },
            _ = cut.recv() => desk.cut(true),
            _ = uncut.recv() => desk.cut(false),
            _ = end.recv() => break,
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    desk.command("stats")
}
