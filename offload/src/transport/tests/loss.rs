//! What lost packets cost messages that are small and few.

use super::{
    super::Path,
    ground::{EDGE, Ground, NODE, RTT, identity},
};
use crate::policy::formula::loss_ms;
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, sleep, sleep_until};

const BYTES: usize = 60;
const EVERY: Duration = Duration::from_millis(30);
const COUNT: usize = 2000;

/// Messages of a datagram that carries those before it too.
const SUFFIX: usize = 4;

async fn ground(loss: f64) -> (Ground, quinn::Connection, super::super::Link) {
    let mut ground = Ground::new(7);
    let anna = identity(&ground.authority, "anna", SystemTime::now());
    let (edge, link) = ground.link(&anna).await;
    let path = Path {
        loss,
        ..Path::with_round_trip(RTT)
    };
    ground.network.set_paths(EDGE, NODE, path);
    (ground, edge, link)
}

/// Milliseconds by which messages came late: the mean, and one in a hundred.
fn late(mut delays: Vec<Duration>) -> (f64, f64) {
    delays.sort();
    let ms = |delay: &Duration| delay.as_secs_f64() * 1e3 - RTT.as_secs_f64() * 5e2;
    let mean = delays.iter().map(ms).sum::<f64>() / delays.len() as f64;
    (mean, ms(&delays[delays.len() * 99 / 100]))
}

/// Tokens that a node sends as they come, on one stream.
async fn streamed(loss: f64) -> (f64, f64) {
    let (_ground, edge, link) = ground(loss).await;
    let began = Instant::now() + EVERY;
    let (mut up, mut down) = edge.open_bi().await.unwrap();
    up.write_all(&[0]).await.unwrap();
    tokio::spawn(async move {
        let (mut write, mut read) = link.accept_bi().await.unwrap();
        read.read_exact(&mut [0]).await.unwrap();
        for index in 0..COUNT {
            sleep_until(began + EVERY * index as u32).await;
            // The other end goes when it has had enough.
            if write.write_all(&[1; BYTES]).await.is_err() {
                return;
            }
        }
        sleep(Duration::from_secs(5)).await;
    });
    let mut delays = Vec::new();
    for index in 0..COUNT {
        down.read_exact(&mut [0; BYTES]).await.unwrap();
        delays.push(Instant::now() - (began + EVERY * index as u32));
    }
    late(delays)
}

/// The same as datagrams, each with some before it.
async fn in_datagrams(loss: f64) -> (f64, f64) {
    let (_ground, edge, link) = ground(loss).await;
    let began = Instant::now() + EVERY;
    tokio::spawn(async move {
        for index in 0..COUNT + SUFFIX {
            sleep_until(began + EVERY * index as u32).await;
            let mut message = (index as u32).to_le_bytes().to_vec();
            message.resize(BYTES + SUFFIX * 8, 0);
            if link.send_datagram(message.into()).is_err() {
                return;
            }
        }
        sleep(Duration::from_secs(5)).await;
    });
    let mut delays = Vec::new();
    while delays.len() < COUNT {
        let message = edge.read_datagram().await.unwrap();
        let index = u32::from_le_bytes(message[..4].try_into().unwrap()) as usize;
        let first = delays.len();
        for index in first..(index + 1).min(COUNT) {
            delays.push(Instant::now() - (began + EVERY * index as u32));
        }
    }
    late(delays)
}

/// Milliseconds beyond a round trip that a request and its answer take.
async fn exchanged(loss: f64) -> f64 {
    let (_ground, edge, link) = ground(loss).await;
    let (mut up, mut down) = edge.open_bi().await.unwrap();
    tokio::spawn(async move {
        let (mut write, mut read) = link.accept_bi().await.unwrap();
        while read.read_exact(&mut [0; BYTES]).await.is_ok() {
            if write.write_all(&[1; BYTES]).await.is_err() {
                return;
            }
        }
    });
    let began = Instant::now();
    for _ in 0..COUNT {
        up.write_all(&[1; BYTES]).await.unwrap();
        down.read_exact(&mut [0; BYTES]).await.unwrap();
    }
    ((Instant::now() - began) / COUNT as u32).as_secs_f64() * 1e3 - RTT.as_secs_f64() * 1e3
}

#[tokio::test(start_paused = true)]
async fn lost_packets_cost_what_the_cost_model_says() {
    for loss in [0.0, 0.01, 0.05] {
        let stream = streamed(loss).await;
        let datagrams = in_datagrams(loss).await;
        let exchange = exchanged(loss).await;
        let predicted = loss_ms(loss, RTT.as_secs_f64() * 1e3, 0.0);
        println!(
            "loss {loss}: on a stream {:.1} ms late, one in 100 {:.0}; in datagrams {:.1} and \
             {:.0}; a lone exchange {exchange:.1}, by the cost model {predicted:.1}",
            stream.0, stream.1, datagrams.0, datagrams.1
        );
        assert!(datagrams.0 <= stream.0 + 0.5);
        // Timeouts that double where the probe is lost too are not in it.
        assert!(exchange > predicted * 0.9 - 0.1, "{exchange}, {predicted}");
        assert!(exchange < predicted * 1.25 + 0.1, "{exchange}, {predicted}");
    }
}
