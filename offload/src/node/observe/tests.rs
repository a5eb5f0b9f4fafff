use super::*;
use crate::{
    node::{Engine, NodeLimits},
    transport::{LinkConfig, bind, listen},
    trust::{Authority, Validity},
};
use std::{collections::BTreeMap, time::SystemTime};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Duration, timeout},
};

/// Sends these bytes and hears the whole answer.
async fn ask(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let heard = stream.read_to_end(&mut answer);
    // A connection that is reset has said what it had to say.
    let _ = timeout(2 * server::CONNECTION_TIME, heard).await.unwrap();
    String::from_utf8(answer).unwrap()
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let answer = ask(address, request.as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

async fn told() -> (Arc<Observed>, SocketAddr) {
    let observed = Observed::new("1.2.3");
    let listener = bind_observer(([127, 0, 0, 1], 0).into()).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(observed.clone().answer(listener));
    (observed, address)
}

/// The samples of an exposition, each of a family that was declared before.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let text = text.strip_suffix("# EOF\n").expect("an end");
    let mut families: BTreeMap<String, String> = BTreeMap::new();
    let mut samples = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(
                families.insert(name.into(), kind.into()).is_none(),
                "{line}"
            );
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        let ends: &[(&str, &str)] = &[
            ("_total", "counter"),
            ("_info", "info"),
            ("_bucket", "histogram"),
            ("_sum", "histogram"),
            ("_count", "histogram"),
            ("", "gauge"),
        ];
        let known = ends.iter().any(|(end, kind)| {
            let family = name.strip_suffix(end).and_then(|f| families.get(f));
            family.is_some_and(|found| found == kind)
        });
        assert!(known, "{line} was not declared");
        assert!(
            samples
                .insert(series.into(), value.parse().unwrap())
                .is_none(),
            "{line}"
        );
    }
    samples
}

#[tokio::test]
async fn only_a_loopback_address_is_bound() {
    for open in [
        "0.0.0.0:9443",
        "[::]:9443",
        "192.0.2.1:9443",
        "[::ffff:192.0.2.1]:9443",
    ] {
        let error = bind_observer(open.parse().unwrap()).await.unwrap_err();
        assert!(matches!(error, ObserveError::Open(_)), "{error}");
        assert!(error.to_string().contains("127.0.0.1:9443"), "{error}");
    }
    assert!(
        bind_observer("[::ffff:127.0.0.1]:0".parse().unwrap())
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_node_says_whether_it_takes_work() {
    let (observed, address) = told().await;
    assert_eq!(get(address, "/health").await, (200, "ok\n".into()));
    assert_eq!(get(address, "/ready").await, (503, "loading\n".into()));
    let samples = parse(&get(address, "/metrics").await.1);
    assert_eq!(samples["outrigger_node_ready"], 0.0);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node");
    let authority = Authority::open(&path, Validity::default(), SystemTime::now());
    let endpoint = bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = listen(
        endpoint,
        Arc::new(authority.unwrap()),
        &LinkConfig::default(),
    );
    let links = listener.unwrap().gauge();
    let (engine, handle) = Engine::new(super::super::tests::Rule::default(), NodeLimits::default());
    let model = ModelIdentity {
        model: [0; 32],
        tokenizer: [0; 32],
        title: "a \"model\"\n\\".into(),
        quant: "Q4_0".into(),
        kernel_set: "avx2".into(),
        context: 512,
        vocab: 10,
    };
    let times = StepTimes {
        step_ms: 2.0,
        prefill_ms: 1.0,
        verify_ms: 3.0,
    };
    observed.serves(model, times, &handle, links, 16);
    assert_eq!(get(address, "/ready").await, (200, "ready\n".into()));

    let metrics = &handle.metrics;
    metrics.passed(3, 4_000);
    metrics.passed(1_000, 5_000_000);
    metrics.client(7, "anna");
    metrics.chose(7, 5);
    metrics.refused(&crate::wire::Refused::Quota);
    let text = get(address, "/metrics").await.1;
    let samples = parse(&text);
    for (series, value) in [
        ("outrigger_node_ready", 1.0),
        ("outrigger_node_tokens_total", 5.0),
        ("outrigger_node_client_tokens_total{client=\"anna\"}", 5.0),
        ("outrigger_node_refused_total{reason=\"quota\"}", 1.0),
        ("outrigger_node_pass_columns_bucket{le=\"2.0\"}", 0.0),
        ("outrigger_node_pass_columns_bucket{le=\"4.0\"}", 1.0),
        ("outrigger_node_pass_columns_bucket{le=\"64.0\"}", 1.0),
        ("outrigger_node_pass_columns_bucket{le=\"+Inf\"}", 2.0),
        ("outrigger_node_pass_columns_count", 2.0),
        ("outrigger_node_pass_columns_sum", 1003.0),
        ("outrigger_node_pass_seconds_bucket{le=\"0.005\"}", 1.0),
        ("outrigger_node_pass_seconds_count", 2.0),
        ("outrigger_node_kv_positions_max", 8192.0),
        ("outrigger_node_links", 0.0),
        ("outrigger_node_sent_bytes_total", 0.0),
        ("outrigger_node_build_info{version=\"1.2.3\"}", 1.0),
    ] {
        assert_eq!(samples.get(series), Some(&value), "{series} in {text}");
    }
    assert!(text.contains(r#"title="a \"model\"\n\\""#), "{text}");

    observed.drains();
    assert_eq!(get(address, "/health").await, (503, "draining\n".into()));
    assert_eq!(get(address, "/ready").await.0, 503);
    let samples = parse(&get(address, "/metrics").await.1);
    assert_eq!(samples["outrigger_node_draining"], 1.0);
    drop(engine);
}

#[tokio::test]
async fn other_requests_are_refused_and_slow_ones_given_up() {
    let (_observed, address) = told().await;
    let status = |answer: String| answer[9..12].to_owned();
    let other = ask(
        address,
        b"POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    assert!(other.contains("allow: GET, HEAD"), "{other}");
    assert_eq!(status(other), "405");
    let head = ask(address, b"HEAD /health HTTP/1.1\r\n\r\n").await;
    assert!(
        head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    assert_eq!(get(address, "/").await.0, 404);
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(100));
    assert_eq!(status(ask(address, many.as_bytes()).await), "431");
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(64 << 10));
    let long = ask(address, long.as_bytes()).await;
    assert!(
        long.is_empty() || !long.starts_with("HTTP/1.1 200"),
        "{long}"
    );

    // As many as are taken at once, none of which says anything.
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let waited = timeout(
        server::CONNECTION_TIME + Duration::from_secs(3),
        get(address, "/health"),
    );
    assert_eq!(waited.await.unwrap().0, 200);
    for stream in &mut silent {
        let _ = timeout(Duration::from_secs(1), stream.read(&mut [0; 512]))
            .await
            .expect("an end");
    }
}
