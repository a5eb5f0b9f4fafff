use super::*;
use crate::policy::Bar;
use proptest::prelude::*;

/// A fast node behind a link of `rtt_ms`.
fn signals(rtt_ms: f64) -> Signals {
    Signals {
        online: Some(true),
        rtt_ms: Some(rtt_ms),
        rtt_var_ms: Some(0.0),
        loss: Some(0.0),
        node_tokenizer_matches: Some(true),
        node_model_matches: Some(true),
        edge_has_model: Some(true),
        edge_has_draft: Some(true),
        t_local_ms: Some(100.0),
        t_cloud_ms: Some(30.0),
        t_verify_base_ms: Some(30.0),
        t_verify_per_token_ms: Some(0.0),
        t_draft_ms: Some(5.0),
        acceptance: vec![0.8],
        prompt_tokens: Some(10.0),
        context_tokens: Some(10.0),
        ..Signals::default()
    }
}

fn chooser(text: &str) -> Chooser {
    Chooser::new(Arc::new(Policy::parse(text, "p.toml").unwrap()))
}

const ALL: &str = "modes_allowed = [\"local\", \"split\", \"stream\", \"verify\", \
                   \"verify_pipelined\", \"draft_at_node\"]\n";

fn after(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn without_a_policy_all_stays_here() {
    let mut chooser = Chooser::new(Arc::default());
    let decision = chooser.decide(&signals(1.0), after(0));
    assert_eq!(decision.choice, Some(Mode::Local));
    let stream = &decision.candidates[2];
    assert_eq!(stream.standing, Standing::Barred(Bar::Policy));
    // Nothing was measured yet.
    let mut chooser = Chooser::new(Arc::default());
    let fresh = Signals {
        edge_has_model: Some(true),
        ..Signals::default()
    };
    let decision = chooser.decide(&fresh, after(0));
    assert_eq!(decision.choice, Some(Mode::Local));
    assert!(decision.reason.contains("`t_local_ms` is not measured yet"));
}

#[test]
fn the_cheapest_mode_is_chosen() {
    for (rtt_ms, mode) in [(1.0, Mode::VerifyPipelined), (500.0, Mode::Stream)] {
        let decision = chooser(ALL).decide(&signals(rtt_ms), after(0));
        assert_eq!(decision.choice, Some(mode), "{}", decision.reason);
    }
    let mut slow = signals(500.0);
    slow.t_cloud_ms = Some(200.0);
    let decision = chooser(ALL).decide(&slow, after(0));
    assert_eq!(decision.choice, Some(Mode::Local));
}

#[test]
fn weights_count() {
    let text = format!("{ALL}[weights]\nlambda_cloud_ms_per_token = 100.0\n");
    let decision = chooser(&text).decide(&signals(1.0), after(0));
    assert_eq!(decision.choice, Some(Mode::Local), "{}", decision.reason);
    let text = format!(
        "{ALL}[weights]\nlambda_cloud_ms_per_token = 100.0\n\
         lambda_energy_ms_per_joule = 100.0\n"
    );
    let mut powered = signals(1.0);
    let decision = chooser(&text).decide(&powered, after(0));
    assert!(
        decision
            .notes
            .iter()
            .any(|note| note.contains("`edge_power_w`"))
    );
    powered.edge_power_w = Some(20.0);
    let decision = chooser(&text).decide(&powered, after(0));
    assert_ne!(decision.choice, Some(Mode::Local), "{}", decision.reason);
    assert!(decision.notes.is_empty(), "{:?}", decision.notes);
}

#[test]
fn gates_bar_and_the_undecided_send_nothing() {
    let text = format!(
        "{ALL}[[gate]]\nname = \"low\"\nwhen = \"charge < 0.2\"\n\
         deny = [\"local\", \"stream\"]\nreason = \"the battery is low\"\n"
    );
    let mut known = signals(500.0);
    known.charge = Some(0.1);
    let decision = chooser(&text).decide(&known, after(0));
    let bar = Standing::Barred(Bar::Gate {
        gate: "low".into(),
        reason: "the battery is low".into(),
    });
    assert_eq!(decision.candidates[0].standing, bar);
    assert_eq!(decision.candidates[2].standing, bar);
    assert!(decision.notes.is_empty());

    let decision = chooser(&text).decide(&signals(500.0), after(0));
    assert!(decision.candidates[0].prediction().is_some());
    let Standing::Barred(bar) = &decision.candidates[2].standing else {
        panic!("stream is open");
    };
    let said = bar.to_string();
    assert_eq!(said, "gate `low` cannot be decided: `charge` is not known");
    assert!(decision.notes[0].starts_with(&said), "{:?}", decision.notes);
}

#[test]
fn a_barred_mode_is_left_at_once_and_none_may_be_left() {
    let text = format!(
        "{ALL}[hysteresis]\ndwell_tokens = 1000\n\
         [[gate]]\nname = \"offline\"\nwhen = \"!online\"\nonly = [\"local\"]\n\
         reason = \"no node answers\"\n"
    );
    let mut chooser = chooser(&text);
    chooser.decide(&signals(1.0), after(0));
    let mut gone = signals(1.0);
    gone.online = Some(false);
    let decision = chooser.decide(&gone, after(1));
    assert_eq!(decision.choice, Some(Mode::Local));
    assert!(decision.changed);
    assert!(
        decision.reason.contains("no node answers"),
        "{}",
        decision.reason
    );
    gone.edge_has_model = Some(false);
    let decision = chooser.decide(&gone, after(2));
    assert_eq!((decision.choice, chooser.mode()), (None, None));
    assert!(decision.reason.contains("the edge has no model"));
}

#[test]
fn changes_must_pay_and_wait() {
    let text = format!("{ALL}[hysteresis]\nratio = 0.2\ndwell_tokens = 8\ndwell_ms = 100\n");
    let mut chooser = chooser(&text);
    let mut now = signals(500.0);
    assert_eq!(chooser.decide(&now, after(0)).choice, Some(Mode::Stream));
    // A tenth better is too little.
    now.t_local_ms = Some(27.0);
    now.context_tokens = Some(100.0);
    let decision = chooser.decide(&now, after(1000));
    assert_eq!(decision.choice, Some(Mode::Stream));
    assert!(
        decision.reason.contains("too little"),
        "{}",
        decision.reason
    );
    // A third better is enough, once tokens and time have gone by.
    now.t_local_ms = Some(20.0);
    for (ms, tokens, choice) in [
        (50, 100.0, Mode::Stream),
        (1000, 15.0, Mode::Stream),
        (1000, 18.0, Mode::Local),
    ] {
        now.context_tokens = Some(tokens);
        assert_eq!(chooser.decide(&now, after(ms)).choice, Some(choice));
    }
}

#[test]
fn a_draft_that_could_pay_is_tried_for_a_while() {
    let mut chooser = chooser(ALL);
    let mut now = signals(1.0);
    now.acceptance.clear();
    now.context_tokens = Some(10.0);
    let decision = chooser.decide(&now, after(0));
    assert_eq!(decision.choice, Some(Mode::VerifyPipelined));
    let why = "verify_pipelined, to measure `acceptance`: at 0.9 it would cost";
    assert!(decision.reason.starts_with(why), "{}", decision.reason);
    // What is measured ends it, and so does a draft that guesses nothing.
    let mut measured = now.clone();
    measured.acceptance = vec![0.05];
    measured.context_tokens = Some(30.0);
    let decision = chooser.clone().decide(&measured, after(1000));
    assert_eq!(decision.choice, Some(Mode::Stream), "{}", decision.reason);
    let mut tried = 0;
    for step in 1..100_u64 {
        now.context_tokens = Some(10.0 + 8.0 * step as f64);
        let decision = chooser.decide(&now, after(100 * step));
        tried += usize::from(decision.choice != Some(Mode::Stream));
    }
    // Two modes, each until 32 tokens of its trial, and again after 512.
    assert!((6..=16).contains(&tried), "{tried} of 100");
    // Where even a good draft would not pay, it is left alone.
    let mut far = signals(900.0);
    far.acceptance.clear();
    let decision =
        super::Chooser::new(Arc::new(Policy::parse(ALL, "p.toml").unwrap())).decide(&far, after(0));
    assert_eq!(decision.choice, Some(Mode::Stream), "{}", decision.reason);
}

#[test]
fn only_what_can_be_had_is_chosen() {
    let modes = [Mode::Local, Mode::VerifySequential];
    let decision = chooser(ALL).decide_among(&modes, &signals(1.0), after(0));
    assert_eq!(decision.choice, Some(Mode::VerifySequential));
    let decision = chooser(ALL).decide_among(&[], &signals(1.0), after(0));
    assert_eq!(decision.choice, None);
    assert!(decision.reason.contains("stream: nothing here can do it"));
}

#[test]
fn bits_and_deadlines_bar() {
    let text = format!("require_bitwise = true\n{ALL}");
    let mut now = signals(1.0);
    let decision = chooser(&text).decide(&now, after(0));
    assert_eq!(decision.choice, Some(Mode::Local));
    assert_eq!(
        decision.candidates[2].standing,
        Standing::Barred(Bar::Bitwise)
    );
    now.node_kernels_match = Some(true);
    assert_ne!(
        chooser(&text).decide(&now, after(0)).choice,
        Some(Mode::Local)
    );

    now.prefill_cloud_ms = Some(100.0);
    now.prefill_local_ms = Some(10.0);
    now.deadline_ms = Some(500.0);
    let decision = chooser(ALL).decide(&now, after(0));
    assert_eq!(decision.choice, Some(Mode::Local));
    assert_eq!(
        decision.candidates[2].standing,
        Standing::Barred(Bar::Deadline)
    );
    // Once the answer has begun, its first token is no longer due.
    now.context_tokens = Some(11.0);
    assert_ne!(
        chooser(ALL).decide(&now, after(0)).choice,
        Some(Mode::Local)
    );
}

#[test]
fn a_decision_is_a_record() {
    let decision = chooser(ALL).decide(&signals(40.0), after(7));
    let record = serde_json::to_value(&decision).unwrap();
    assert_eq!(record["at_ms"], 7);
    assert_eq!(record["candidates"][0]["mode"], "local");
    assert_eq!(record["candidates"][0]["predicted"]["tpot_ms"], 100.0);
    assert_eq!(
        record["candidates"][1]["unpredicted"]["unmeasured"],
        "t_edge_split_ms"
    );
    assert_eq!(record["candidates"][5]["barred"]["by"], "unfit");
    assert_eq!(record["signals"]["rtt_ms"], 40.0);
}

proptest! {
    #[test]
    fn changes_keep_their_distance(costs in prop::collection::vec(10.0..100.0_f64, 200)) {
        let text = "modes_allowed = [\"local\", \"stream\"]\n\
                    [hysteresis]\nratio = 0.0\ndwell_tokens = 8\ndwell_ms = 0\n";
        let mut chooser = chooser(text);
        let mut now = signals(10.0);
        let mut changes = Vec::new();
        for (token, cost) in costs.into_iter().enumerate() {
            now.t_local_ms = Some(cost);
            now.t_cloud_ms = Some(50.0);
            now.context_tokens = Some(token as f64);
            if chooser.decide(&now, after(token as u64)).changed {
                changes.push(token);
            }
        }
        prop_assert!(changes.windows(2).all(|pair| pair[1] - pair[0] >= 8), "{changes:?}");
    }

    #[test]
    fn any_signals_give_a_decision(numbers in prop::collection::vec(any::<f64>(), 16), rates in prop::collection::vec(any::<f32>(), 0..20)) {
        let mut now = signals(numbers[0]);
        now.rtt_p95_ms = Some(numbers[1]);
        now.rtt_var_ms = Some(numbers[2]);
        now.loss = Some(numbers[3]);
        now.up_mbit_s = Some(numbers[4]);
        now.down_mbit_s = Some(numbers[5]);
        now.t_cloud_ms = Some(numbers[6]);
        now.t_draft_ms = Some(numbers[7]);
        now.t_verify_base_ms = Some(numbers[8]);
        now.t_edge_split_ms = Some(numbers[9]);
        now.t_node_split_ms = Some(numbers[10]);
        now.hidden_bytes = Some(numbers[11]);
        now.context_tokens = Some(numbers[12]);
        now.edge_power_w = Some(numbers[13]);
        now.deadline_ms = Some(numbers[14]);
        now.prefill_cloud_ms = Some(numbers[15]);
        now.acceptance = rates;
        let mut chooser = chooser(ALL);
        for ms in 0..3 {
            let decision = chooser.decide(&now, after(ms));
            prop_assert!(decision.choice.is_some());
            if let Some(prediction) = decision.prediction() {
                prop_assert!(prediction.cost_ms.is_finite());
                prop_assert!(prediction.tpot_ms >= 0.0);
                prop_assert!((0.0..=1.0).contains(&prediction.waste));
            }
        }
    }
}
