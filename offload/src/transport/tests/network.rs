use super::{
    super::{Path, listen},
    ground::{EDGE, Ground, NODE, RTT, address, identity},
};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// Sends bytes from the edge to the node and says how long it took.
async fn transfer(
    ground: &mut Ground,
    bytes: usize,
    midway: impl AsyncFnOnce(&Ground),
) -> Duration {
    let anna = identity(&ground.authority, "anna", SystemTime::now());
    let (edge, link) = ground.link(&anna).await;
    let sent: Vec<u8> = (0..bytes).map(|i| (i * 31 + i / 255) as u8).collect();
    let expected = sent.clone();
    let began = Instant::now();
    let received = tokio::spawn(async move {
        let mut stream = link.accept_uni().await.unwrap();
        let all = stream.read_to_end(bytes).await.unwrap();
        (all, link)
    });
    let mut stream = edge.open_uni().await.unwrap();
    let (half, rest) = sent.split_at(bytes / 2);
    stream.write_all(half).await.unwrap();
    midway(ground).await;
    stream.write_all(rest).await.unwrap();
    stream.finish().unwrap();
    let (all, link) = received.await.unwrap();
    assert!(all == expected, "every byte once and in its place");
    let took = began.elapsed();
    assert_eq!(link.remote_address(), edge_address(ground));
    took
}

fn edge_address(ground: &Ground) -> std::net::SocketAddr {
    ground.network.address_of(EDGE).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_transfer_survives_a_change_of_address() {
    let mut ground = Ground::new(11);
    transfer(&mut ground, 4 << 20, async |ground| {
        ground.network.set_address(EDGE, address(9)).unwrap();
    })
    .await;
    assert_eq!(edge_address(&ground), address(9));
}

#[tokio::test(start_paused = true)]
async fn a_transfer_survives_loss_duplicates_and_reordering() {
    for seed in 0..5 {
        let mut ground = Ground::new(seed);
        let path = Path {
            loss: 0.05,
            duplicate: 0.02,
            reorder: 0.02,
            jitter: Duration::from_millis(5),
            ..Path::with_round_trip(RTT)
        };
        ground.network.set_paths(EDGE, NODE, path);
        let took = transfer(&mut ground, 1 << 20, async |_| {}).await;
        println!("seed {seed}: 1 MiB at 5 % loss in {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_held() {
    let mut ground = Ground::new(12);
    let path = Path {
        rate_bits_s: Some(10_000_000),
        ..Path::with_round_trip(RTT)
    };
    ground.network.set_paths(EDGE, NODE, path);
    let took = transfer(&mut ground, 2 << 20, async |_| {}).await;
    let least = Duration::from_secs_f64(f64::from(2 << 20) * 8.0 / 1e7);
    println!("2 MiB at 10 Mbit/s in {took:?}, at best {least:?}");
    assert!(took > least && took < least.mul_f64(1.3), "{took:?}");
}

#[test]
fn a_seed_replays_a_run() {
    let run = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut ground = Ground::new(seed);
            let path = Path {
                loss: 0.05,
                duplicate: 0.01,
                reorder: 0.01,
                jitter: Duration::from_millis(3),
                rate_bits_s: Some(50_000_000),
                ..Path::with_round_trip(RTT)
            };
            ground.network.set_paths(EDGE, NODE, path);
            let took = transfer(&mut ground, 300_000, async |ground| {
                ground.network.set_address(EDGE, address(9)).unwrap();
            });
            let took = took.await;
            (ground.network.trace(), took, ground.network.sent_by(EDGE))
        })
    };
    let first = run(21);
    for _ in 0..3 {
        assert_eq!(run(21), first);
    }
    assert_ne!(run(22).0, first.0);
}

#[tokio::test(start_paused = true)]
async fn a_stall_delays_and_loses_nothing() {
    let mut ground = Ground::new(13);
    let stall = Duration::from_secs(5);
    let took = transfer(&mut ground, 1 << 20, async |ground| {
        ground.network.stall(EDGE, NODE, stall);
    })
    .await;
    assert!(
        took > stall && took < stall + Duration::from_secs(2),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_killed_says_nothing_and_may_return() {
    let mut ground = Ground::new(14);
    let anna = identity(&ground.authority, "anna", SystemTime::now());
    let (edge, _link) = ground.link(&anna).await;
    ground.network.kill(NODE);
    let began = Instant::now();
    edge.closed().await;
    let idle = Duration::from_millis(ground.config.idle_timeout_ms.into());
    assert!(
        began.elapsed() >= idle,
        "nobody said goodbye: {:?}",
        began.elapsed()
    );

    let endpoint = ground.network.endpoint(NODE).unwrap();
    ground.node = listen(endpoint, ground.authority.clone(), &ground.config).unwrap();
    let (_edge, link) = ground.link(&anna).await;
    assert_eq!(link.peer().name.as_str(), "anna");
}
