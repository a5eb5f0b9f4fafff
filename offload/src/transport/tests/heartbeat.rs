use super::{
    super::{Beat, Heartbeat, HeartbeatConfig, Path},
    ground::{EDGE, Ground, NODE, RTT, identity},
};
use quinn::Connection;
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, sleep_until};

/// Pings a peer that echoes datagrams until it is dead or time is over.
async fn watch(link: &Connection, heart: &mut Heartbeat, end: Instant) -> Option<Instant> {
    let mut heard = link.stats().udp_rx.datagrams;
    loop {
        let now = Instant::now();
        // What QUIC hears counts: pings may wait behind a prompt's states.
        let hears = link.stats().udp_rx.datagrams;
        if hears > heard {
            heart.heard(now.into_std());
            heard = hears;
        }
        let wake = match heart.poll(now.into_std()) {
            Beat::Dead { .. } => return Some(now),
            Beat::Rest => panic!("there is work"),
            Beat::Wake(at) => Instant::from_std(at).min(end),
            Beat::Ping(number) => {
                let ping = number.to_le_bytes().to_vec().into();
                link.send_datagram(ping).unwrap();
                continue;
            }
        };
        tokio::select! {
            biased;
            pong = link.read_datagram() => {
                let number = pong.unwrap().as_ref().try_into().unwrap();
                heart.answered(u64::from_le_bytes(number), Instant::now().into_std());
            }
            () = sleep_until(wake) => if wake == end {
                return None;
            },
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_killed_node_is_noticed_in_time_behind_a_full_link() {
    let mut noticed = Vec::new();
    for seed in 0..5 {
        let mut ground = Ground::new(seed);
        let path = Path {
            loss: 0.05,
            jitter: Duration::from_millis(5),
            rate_bits_s: Some(20_000_000),
            ..Path::with_round_trip(RTT)
        };
        ground.network.set_paths(EDGE, NODE, path);
        let anna = identity(&ground.authority, "anna", SystemTime::now());
        let (edge, link) = ground.link(&anna).await;
        tokio::spawn(async move {
            let mut upload = link.accept_uni().await.unwrap();
            let sink = async { while let Ok(Some(_)) = upload.read_chunk(1 << 16, true).await {} };
            let echo = async {
                while let Ok(datagram) = link.read_datagram().await {
                    let _ = link.send_datagram(datagram);
                }
            };
            tokio::join!(sink, echo);
        });
        let mut upload = edge.open_uni().await.unwrap();
        tokio::spawn(async move { while upload.write_all(&[7; 1 << 14]).await.is_ok() {} });

        let mut heart = Heartbeat::new(HeartbeatConfig::default(), Instant::now().into_std());
        heart.set_working(true, Instant::now().into_std());
        let end = Instant::now() + Duration::from_secs(20);
        assert_eq!(
            watch(&edge, &mut heart, end).await,
            None,
            "seed {seed}: false alarm"
        );
        let killed = Instant::now();
        ground.network.kill(NODE);
        let end = killed + Duration::from_secs(10);
        let dead = watch(&edge, &mut heart, end).await.unwrap();
        noticed.push(dead - killed);
        println!(
            "seed {seed}: srtt {:?}, p95 {:?}, loss {:.3}; death noticed after {:?}",
            heart.estimate().srtt().unwrap(),
            heart.estimate().rtt_p95().unwrap(),
            heart.estimate().loss(),
            dead - killed
        );
    }
    let most = noticed.into_iter().max().unwrap();
    assert!(most < Duration::from_millis(500), "{most:?}");
}
