use super::{
    super::{ConnectError, Next, Nodes, NodesError, Path},
    ground::{EDGE, Ground, NODE, RTT, address, authority, identity},
};
use crate::trust::Refused;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn the_second_node_serves_where_the_first_is_down() {
    let mut ground = Ground::new(31);
    let anna = identity(&ground.authority, "anna", SystemTime::now());
    let nobody = anna.clone().at(&address(77).to_string());
    ground.config.handshake_ms_max = 1_000;
    let mut nodes = Nodes::new([nobody, anna], 1).unwrap();
    let began = Instant::now();
    let within = Duration::from_secs(5);
    let (index, _link) = nodes
        .connect(&ground.edge, &ground.config, within)
        .await
        .unwrap();
    assert_eq!(index, 1);
    assert_eq!(began.elapsed(), Duration::from_secs(1) + 2 * RTT);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_returns_is_found_again() {
    let ground = Ground::new(32);
    let anna = identity(&ground.authority, "anna", SystemTime::now());
    ground.network.set_cut(EDGE, NODE, true);
    let back = {
        let network = ground.network.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(30)).await;
            network.set_paths(EDGE, NODE, Path::with_round_trip(RTT));
        }
    };
    tokio::spawn(back);
    let mut nodes = Nodes::new([anna], 2).unwrap();
    let began = Instant::now();
    let within = Duration::from_secs(90);
    nodes
        .connect(&ground.edge, &ground.config, within)
        .await
        .unwrap();
    println!(
        "a node back after 30 s is found after {:?}",
        began.elapsed()
    );
    assert!(began.elapsed() >= Duration::from_secs(30));
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_not_repeated() {
    let mut ground = Ground::new(33);
    let (_folder, other) = authority();
    let foreign = identity(&other, "mallory", SystemTime::now());
    let mut nodes = Nodes::new([foreign], 3).unwrap();
    let within = Duration::from_secs(60);
    let began = Instant::now();
    let error = nodes
        .connect(&ground.edge, &ground.config, within)
        .await
        .unwrap_err();
    let NodesError::Refused(error) = error else {
        panic!("{error}");
    };
    assert!(
        matches!(
            *error,
            ConnectError::Refused {
                refused: Refused::Foreign,
                ..
            }
        ),
        "{error}"
    );
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(nodes.next(Instant::now().into_std()), Next::Nobody);
    ground.refusal().await;
}
