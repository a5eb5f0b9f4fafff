use super::*;

fn signals() -> Signals {
    Signals {
        online: Some(true),
        rtt_ms: Some(40.0),
        rtt_var_ms: Some(0.0),
        rtt_p95_ms: Some(60.0),
        up_mbit_s: Some(8.0),
        down_mbit_s: Some(80.0),
        node_model_matches: Some(true),
        node_tokenizer_matches: Some(true),
        node_has_draft: Some(true),
        edge_has_model: Some(true),
        edge_has_draft: Some(true),
        t_local_ms: Some(100.0),
        t_cloud_ms: Some(30.0),
        t_verify_base_ms: Some(28.0),
        t_verify_per_token_ms: Some(1.0),
        t_draft_ms: Some(5.0),
        t_node_draft_ms: Some(3.0),
        t_edge_split_ms: Some(20.0),
        t_node_split_ms: Some(10.0),
        prefill_local_ms: Some(4.0),
        prefill_cloud_ms: Some(1.0),
        prefill_split_ms: Some(2.0),
        acceptance: vec![0.8],
        node_acceptance: vec![0.9],
        hidden_bytes: Some(8192.0),
        prompt_tokens: Some(100.0),
        edge_power_w: Some(10.0),
        ..Signals::default()
    }
}

fn near(found: f64, wanted: f64) {
    assert!(
        (found - wanted).abs() < 1e-6 * wanted.max(1.0),
        "{found}, not {wanted}"
    );
}

#[test]
fn local_and_stream_take_their_step() {
    let local = predict(Mode::Local, &signals(), &Terms::default()).unwrap();
    assert_eq!((local.tpot_ms, local.ttft_ms), (100.0, Some(400.0)));
    assert_eq!((local.cloud_tokens, local.edge_joules), (0.0, Some(1.0)));
    let stream = predict(Mode::Stream, &signals(), &Terms::default()).unwrap();
    assert_eq!((stream.tpot_ms, stream.cloud_tokens), (30.0, 1.0));
    // 480 bytes up at 1 byte a microsecond, 84 down at 10.
    near(stream.ttft_ms.unwrap(), 40.0 + 0.48 + 0.0084 + 100.0);
}

#[test]
fn split_takes_a_round_trip_a_token() {
    let split = predict(Mode::Split, &signals(), &Terms::default()).unwrap();
    near(split.tpot_ms, 20.0 + 10.0 + 40.0 + 8.272 + 0.8272);
    near(split.ttft_ms.unwrap(), 40.0 + 819.28 + 0.8272 + 200.0);
    assert_eq!(split.edge_joules, Some(0.2));
    let mut lossy = signals();
    lossy.loss = Some(0.05);
    let more = predict(Mode::Split, &lossy, &Terms::default()).unwrap();
    near(more.tpot_ms - split.tpot_ms, 0.0975 * 85.0 / 0.9025);
    let stream = |signals| predict(Mode::Stream, signals, &Terms::default()).unwrap();
    near(stream(&lossy).tpot_ms, 30.0);
}

#[test]
fn the_best_draft_length_is_found() {
    let verify = predict(Mode::VerifySequential, &signals(), &Terms::default()).unwrap();
    let of_length = |k: u32| {
        let committed = (1.0 - 0.8_f64.powi(k as i32 + 1)) / 0.2;
        let up = (80.0 + 4.0 * f64::from(k)) / 1e3;
        let verify = 28.0 + f64::from(k + 1);
        (5.0 * f64::from(k) + 40.0 + up + 0.0088 + verify) / committed
    };
    let best = (1..=16).min_by(|&a, &b| of_length(a).total_cmp(&of_length(b)));
    assert_eq!(verify.draft_tokens, best);
    let k = best.unwrap();
    assert!((verify.tpot_ms - of_length(k)).abs() < 1e-4);
    // Whatever is thrown away is paid for.
    let committed = verify.cloud_tokens * (1.0 - verify.waste);
    near(committed, 1.0);
    // Where each cloud token costs, drafts are short.
    let dear = Terms {
        lambda_cloud_ms_per_token: 1000.0,
        ..Terms::default()
    };
    let dear = predict(Mode::VerifySequential, &signals(), &dear).unwrap();
    assert_eq!(dear.draft_tokens, Some(1));
}

#[test]
fn drafting_on_hides_the_link_and_wastes() {
    let terms = Terms::default();
    let waiting = predict(Mode::VerifySequential, &signals(), &terms).unwrap();
    let drafting = predict(Mode::VerifyPipelined, &signals(), &terms).unwrap();
    assert!(drafting.tpot_ms < waiting.tpot_ms);
    assert!(drafting.waste > waiting.waste);
    near(drafting.cloud_tokens * (1.0 - drafting.waste), 1.0);
    let node = predict(Mode::DraftAtNode, &signals(), &terms).unwrap();
    assert!(
        node.tpot_ms < drafting.tpot_ms,
        "no link between draft and target"
    );
    // One token under way is one round trip a token.
    let narrow = Terms {
        in_flight_max: 1,
        ..terms
    };
    let narrow = predict(Mode::VerifyPipelined, &signals(), &narrow).unwrap();
    assert!(narrow.tpot_ms >= 70.0);
}

#[test]
fn the_margin_is_cost_and_not_time() {
    let plain = predict(Mode::Split, &signals(), &Terms::default()).unwrap();
    let terms = Terms {
        jitter_margin: 0.5,
        ..Terms::default()
    };
    let wary = predict(Mode::Split, &signals(), &terms).unwrap();
    assert_eq!(wary.tpot_ms, plain.tpot_ms);
    near(wary.cost_ms - plain.cost_ms, 10.0);
}

#[test]
fn what_is_missing_is_named() {
    let error = |mode, change: fn(&mut Signals)| {
        let mut signals = signals();
        change(&mut signals);
        predict(mode, &signals, &Terms::default()).unwrap_err()
    };
    let found = error(Mode::Stream, |s| s.online = Some(false));
    assert_eq!(found, Unfit::Lacking("no node answers"));
    let found = error(Mode::Stream, |s| s.node_tokenizer_matches = None);
    assert_eq!(found, Unfit::Unknown("node_tokenizer_matches"));
    let found = error(Mode::Split, |s| s.up_mbit_s = Some(f64::NAN));
    assert_eq!(found, Unfit::Unmeasured("up_mbit_s"));
    let found = error(Mode::VerifyPipelined, |s| s.acceptance.clear());
    assert_eq!(found, Unfit::Unmeasured("acceptance"));
    let found = error(Mode::Split, |s| s.down_mbit_s = Some(0.0));
    assert_eq!(found, Unfit::Lacking("the link carries nothing"));
}
