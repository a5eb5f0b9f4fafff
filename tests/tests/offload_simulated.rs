//! Offload under simulated time: a few cells of the grid and a few runs with
//! faults. The whole of both are the examples `offload_grid` and
//! `offload_faults`.

use outrigger_tests::simulation::{
    Language, Trust, bundled_tokenizer,
    faults::{Kind, play},
    grid::{Axes, Rates, rows},
};

fn language() -> Language {
    Language::new(1, bundled_tokenizer().unwrap())
}

#[test]
fn modes_take_the_time_that_is_predicted_and_the_policy_picks_well() {
    let axes = Axes {
        rtts_ms: vec![0, 40],
        losses: vec![0.0, 0.05],
        clouds_ms: vec![30],
        drafts_ms: vec![2],
        acceptances: vec![Rates::constant(0.8)],
    };
    let rows = rows(&axes.cells(), 1, 2, &Trust::new().unwrap(), &language()).unwrap();
    assert_eq!(rows.len(), 4);
    for row in rows {
        for one in &row.modes {
            let (rtt, loss) = (row.cell.rtt_ms, row.cell.loss);
            let off = (one.ratio() - 1.0).abs();
            assert!(off < 0.1, "{rtt} ms, loss {loss}: {one:?}");
        }
        assert!(row.pick_ratio() > 0.95, "{row:?}");
    }
}

#[test]
fn faults_cost_no_token() {
    let (trust, language) = (Trust::new().unwrap(), language());
    for seed in 0..2 * Kind::ALL.len() as u64 {
        let played = play(seed, &trust, &language).unwrap();
        assert!(played.faults_found.is_empty(), "{played:#?}");
    }
}

#[test]
fn a_seed_replays_a_run() {
    let language = language();
    for seed in 0..Kind::ALL.len() as u64 {
        let [one, other] = [(); 2].map(|()| {
            // Keys differ from time to time, and change nothing.
            play(seed, &Trust::new().unwrap(), &language).unwrap()
        });
        assert_eq!(one.events, other.events, "seed {seed}");
        assert_eq!(one.digest, other.digest, "seed {seed}");
    }
}
