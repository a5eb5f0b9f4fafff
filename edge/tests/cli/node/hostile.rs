//! Peers that mean a node no good, against a real process: each is refused by
//! name, the node's memory stays within a bound, and another edge gets the
//! text that it would get alone. It prints what it saw:
//!
//!     cargo test -p outrigger --test cli hostile -- --nocapture

use super::{
    client::{Talk, authority, enrol, forged, frame, link, open, prompt, quiet, run, settings},
    client::{shout, socket},
    process::{Node, complete, pair},
    replay::Tap,
};
use outrigger_offload::{
    transport::Endpoint,
    trust::{Authority, Validity, pair_client_tls},
    wire::{BODY_BYTES_MAX, HEADER_BYTES, Refused, ToNode},
};
use quinn::{ClientConfig, Connection};
use std::{
    path::Path,
    time::{Duration, SystemTime},
};

/// Links that one client may have, and streams that each may have.
const LINKS: u64 = 8;
const STREAMS: u64 = 64;
/// Streams that the first link has had already. QUIC gives back the places of
/// those that have ended by the eighth part.
const OTHERS: u64 = 16;
/// What the node may hold more at the worst than before: on each stream of one
/// client a frame that is not whole, 64 MiB, and half as much for handshakes,
/// connections and what the allocator keeps.
const GROWTH_MIB_MAX: f64 = 1.5 * (LINKS * STREAMS * BODY_BYTES_MAX as u64) as f64 / 1_048_576.0;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The ground, and what came of each attack.
struct Siege<'a> {
    node: &'a Node,
    home: &'a Path,
    rows: Vec<(&'static str, String, f64)>,
}

impl Siege<'_> {
    fn saw(&mut self, attack: &'static str, came: impl ToString) {
        let memory = self.node.memory_mib("VmRSS:");
        self.rows.push((attack, came.to_string(), memory));
    }

    async fn refused_link(&mut self, attack: &'static str, config: &ClientConfig, why: &str) {
        let refused = link(&socket(2), self.node.address, config).await;
        assert_eq!(refused.err().as_deref(), Some(why), "{attack}");
        self.saw(attack, why);
    }

    async fn certificates(&mut self, authority: &Authority) {
        self.refused_link("no certificate", &forged(None), "NoCertificate")
            .await;
        let own = rcgen::generate_simple_self_signed(vec!["good".into()]).unwrap();
        let own = forged(Some(&own));
        self.refused_link("a certificate signed by itself", &own, "Foreign")
            .await;
        let other = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let other = Authority::open(&other.path().join("node"), Validity::default(), now);
        let other = enrol(&other.unwrap(), "good", Duration::ZERO);
        let here = enrol(authority, "witness", Duration::ZERO);
        let other = settings(&with_trust_of(self.home, &other, &here));
        self.refused_link("a certificate of another authority", &other, "Foreign")
            .await;
        let old = settings(&enrol(authority, "old", 400 * DAY));
        self.refused_link("an expired certificate", &old, "Expired")
            .await;
        let gone = settings(&enrol(authority, "gone", Duration::ZERO));
        authority.revoke("gone", now).unwrap();
        self.refused_link("a revoked certificate", &gone, "Revoked")
            .await;
    }

    async fn frames(&mut self, link: &Connection) {
        let spoilt = |at: usize, byte: u8| {
            let mut bytes = frame(&ToNode::Ping(5));
            bytes[at] = byte;
            bytes
        };
        let too_long = {
            let mut bytes = frame(&ToNode::Ping(5));
            bytes[4..HEADER_BYTES].copy_from_slice(&u32::MAX.to_le_bytes());
            bytes
        };
        let cases = [
            ("a frame of another version", spoilt(0, 9), "version 9"),
            ("a frame of an unknown kind", spoilt(2, 200), "kind 200"),
            ("a frame of 4 GiB", too_long, "longer than"),
            ("a body that is none", spoilt(2, 3), "`append`"),
            ("a stream that begins with `run`", frame(&run(5)), "neither"),
        ];
        for (attack, bytes, says) in cases {
            match shout(link, &bytes).await {
                Refused::Protocol { what } if what.contains(says) => self.saw(attack, what),
                other => panic!("{attack}: {other:?}"),
            }
        }
        let mut greedy = Talk::generation(link, 1, 1_000_000_000).await;
        match greedy.refusal().await {
            refused @ Refused::Context { .. } => self.saw("10^9 tokens asked for", name(&refused)),
            other => panic!("{other:?}"),
        }
        let mut again = Talk::on(link).await;
        for message in [open(2), prompt(), prompt(), run(1_000_000_000)] {
            again.send.write(&message).await.unwrap();
        }
        assert!(matches!(again.refusal().await, Refused::Context { .. }));
    }

    /// Half a frame on every stream of every link, and no more after it.
    async fn halves(&mut self, links: &[Connection]) {
        let mut header = frame(&ToNode::Ping(5));
        header.truncate(HEADER_BYTES);
        header[4..].copy_from_slice(&BODY_BYTES_MAX.to_le_bytes());
        let mut streams = Vec::new();
        for link in links {
            for _ in 0..STREAMS - OTHERS {
                let (mut send, receive) = link.open_bi().await.unwrap();
                send.write_all(&header).await.unwrap();
                send.write_all(&vec![1; BODY_BYTES_MAX as usize - 1])
                    .await
                    .unwrap();
                streams.push((send, receive));
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.saw(
            "half a frame on each of 384 streams",
            "held, until the link ends",
        );
    }

    /// As many generations as one client may have, none of which is read.
    async fn deaf(&mut self, link: &Connection) -> Vec<Talk> {
        let mut deaf = Vec::new();
        for session in 10..18 {
            let mut talk = Talk::generation(link, session, 400).await;
            // Streams overtake each other; the ninth is to be the last.
            assert!(talk.hear().await.is_some());
            deaf.push(talk);
        }
        let mut more = Talk::generation(link, 18, 400).await;
        let refused = more.refusal().await;
        assert!(matches!(refused, Refused::Sessions { .. }), "{refused:?}");
        self.saw(
            "8 generations that nobody reads, and a ninth",
            name(&refused),
        );
        deaf
    }

    /// 200 connections of one client that do nothing.
    async fn idle(&mut self, endpoint: &Endpoint, config: &ClientConfig) -> Vec<Connection> {
        let (mut held, mut refused) = (Vec::new(), 0);
        for _ in 0..200 {
            match link(endpoint, self.node.address, config).await {
                Ok(link) => held.push(link),
                Err(why) => {
                    assert_eq!(why, "ClientFull");
                    refused += 1;
                }
            }
        }
        assert_eq!(held.len() as u64, LINKS);
        self.saw(
            "200 idle links of one edge",
            format!("{refused} refused: ClientFull"),
        );
        held
    }

    /// 200 connections of nobody, that ask for nothing.
    async fn strangers(&mut self, authority: &Authority) {
        let tls = pair_client_tls(authority.fingerprint()).unwrap();
        let config = quiet(ClientConfig::new(tls));
        let endpoint = socket(3);
        let attempts = (0..200).map(|_| {
            let (endpoint, config) = (endpoint.clone(), config.clone());
            let node = self.node.address;
            tokio::spawn(async move { link(&endpoint, node, &config).await })
        });
        let attempts: Vec<_> = attempts.collect();
        let (mut full, mut other) = (0, 0);
        for attempt in attempts {
            match attempt
                .await
                .unwrap()
                .expect_err("no link for a stranger")
                .as_str()
            {
                "Full" => full += 1,
                _ => other += 1,
            }
        }
        assert_eq!(self.node.sample("links"), 0.0);
        let came = format!("{full} refused: Full; {other} turned away or timed out");
        self.saw("200 connections without a certificate", came);
    }

    async fn replays(&mut self, config: &ClientConfig) {
        let tap = Tap::before(self.node.address).await;
        let endpoint = socket(1);
        let heard = link(&endpoint, tap.address, config).await.unwrap();
        let mut talk = Talk::generation(&heard, 30, 20).await;
        let mut tokens = 0;
        while tokens < 20 {
            match talk.hear().await {
                Some(outrigger_offload::wire::ToEdge::Tokens(t)) => tokens += t.tokens.len(),
                Some(_) => {}
                None => panic!("an end after {tokens} tokens"),
            }
        }
        let counts = ["links_admitted_total", "sessions_opened_total"];
        let counted = |node: &Node| counts.map(|series| node.sample(series));
        let before = counted(self.node);
        let (live, echo) = tap.replay(self.node.address).await;
        assert!(live > 5, "{live} datagrams are no session");
        heard.close(0u32.into(), b"");
        endpoint.wait_idle().await;
        self.node.wait_for("links", |n| n == 0.0);
        let (again, echo_again) = tap.replay(self.node.address).await;
        assert_eq!(counted(self.node), before, "a replay opened something");
        // RFC 9000, 8.1: three times what came, before an address is shown.
        let echo = echo.max(echo_again);
        assert!(echo <= 3.0, "{echo} bytes for each");
        let came = format!(
            "{} datagrams opened nothing; {echo:.2} B back per B",
            live + again
        );
        self.saw("a session said again", came);
    }
}

fn name(refused: &Refused) -> String {
    format!("{refused:?}")
}

/// An identity that trusts the node of another, as a thief of keys would have
/// it: by its file.
fn with_trust_of(
    home: &Path,
    identity: &outrigger_offload::trust::Identity,
    other: &outrigger_offload::trust::Identity,
) -> outrigger_offload::trust::Identity {
    let folder = home.join("forged");
    let identities = outrigger_offload::trust::Identities::open(&folder).unwrap();
    let names = ["one", "other"].map(|name| name.parse().unwrap());
    identities.save(&names[0], identity).unwrap();
    identities.save(&names[1], other).unwrap();
    let read = |file: &str| -> toml::Table {
        let text = std::fs::read_to_string(folder.join(file)).unwrap();
        text.parse().unwrap()
    };
    let (mut one, other) = (read("one.toml"), read("other.toml"));
    one["authority"] = other["authority"].clone();
    std::fs::write(folder.join("one.toml"), one.to_string()).unwrap();
    identities.load(&names[0]).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_peers_are_refused_and_others_served() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path();
    let node = Node::start(home, &[]);
    pair(home, &node);
    let alone = complete(home, &[]);
    let offloaded = complete(home, &["--node", "cloud"]);
    assert_eq!(offloaded["tokens"], alone["tokens"]);
    let before = node.memory_mib("VmRSS:");

    // A good edge, again and again, for as long as the siege lasts.
    let (over, good) = (
        std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)),
        home.to_owned(),
    );
    let stop = over.clone();
    let served = std::thread::spawn(move || {
        let mut answers = Vec::new();
        while answers.is_empty() || !stop.load(std::sync::atomic::Ordering::SeqCst) {
            answers.push(complete(&good, &["--node", "cloud"]));
        }
        answers
    });
    let authority = authority(home);
    let mut siege = Siege {
        node: &node,
        home,
        rows: Vec::new(),
    };
    siege.certificates(&authority).await;
    let bad = settings(&enrol(&authority, "bad", Duration::ZERO));
    let endpoint = socket(2);
    let links = siege.idle(&endpoint, &bad).await;
    siege.frames(&links[0]).await;
    let deaf = siege.deaf(&links[0]).await;
    siege.halves(&links).await;
    drop((deaf, links));
    endpoint.close(0u32.into(), b"");
    over.store(true, std::sync::atomic::Ordering::SeqCst);
    let answers = served.join().unwrap();
    node.wait_for("links", |n| n == 0.0);
    siege
        .replays(&settings(&enrol(&authority, "heard", Duration::ZERO)))
        .await;
    siege.strangers(&authority).await;

    for (attack, came, memory) in &siege.rows {
        println!("{attack:<46} {memory:6.1} MiB  {came}");
    }
    let tpot = |answer: &serde_json::Value| answer["timings"]["tpot_ms"].as_f64().unwrap();
    let worst = answers.iter().map(tpot).fold(0.0, f64::max);
    let peak = node.memory_mib("VmHWM:");
    println!(
        "good edge: {} answers meanwhile, {worst:.2} ms per token at worst, {:.2} before",
        answers.len(),
        tpot(&offloaded)
    );
    println!(
        "node: {before:.1} MiB before, {peak:.1} at most, bound {:.1}",
        before + GROWTH_MIB_MAX
    );
    for answer in &answers {
        assert_eq!(answer["tokens"], alone["tokens"]);
        assert_eq!(
            answer["provenance"][0]["source"],
            "stream:cloud",
            "{}",
            node.said()
        );
    }
    assert!(peak - before < GROWTH_MIB_MAX);
    assert_eq!(node.get("/ready").0, 200);
    let after = complete(home, &["--node", "cloud"]);
    assert_eq!(after["tokens"], alone["tokens"]);
}
