//! The verb `policy`.

use crate::binary::{json, printed, refusal, text};
use std::{fs, path::PathBuf};

fn ready(name: &str) -> PathBuf {
    let configs = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/policies");
    PathBuf::from(configs).join(format!("{name}.toml"))
}

#[test]
fn help_of_each_action() {
    for action in ["check", "explain", "simulate"] {
        let help = printed(&["policy", action, "--help"], b"");
        assert!(help.contains("Examples:\n"), "{action}");
        insta::assert_snapshot!(format!("help_policy_{action}"), help);
    }
}

#[test]
fn a_policy_is_checked() {
    let file = ready("fastest");
    let said = printed(&["policy", "check", text(&file)], b"");
    assert!(said.contains(": can be used\n"), "{said}");
    let report = json(&["policy", "check", text(&file), "--json"], b"");
    assert_eq!(report["gates"][0]["name"], "offline");
    assert_eq!(report["gates"][0]["signals"][0], "online");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("p.toml");
    fs::write(
        &file,
        "[[gate]]\nname = \"far\"\nwhen = \"rtt > 5\"\ndeny = [\"split\"]\nreason = \"far\"\n",
    )
    .unwrap();
    let said = refusal(&["policy", "check", text(&file)], 2);
    let wrong = "p.toml, line 3: gate `far`: `when`, column 1 of the condition: `rtt` is not a \
                 signal; did you mean `rtt_ms`?";
    assert!(said.ends_with(wrong), "{said}");

    // No machine tells whether its link is metered.
    fs::write(
        &file,
        "[[gate]]\nname = \"paid\"\nwhen = \"metered\"\ndeny = [\"split\"]\nreason = \"paid\"\n",
    )
    .unwrap();
    let said = printed(&["policy", "check", text(&file)], b"");
    assert!(
        said.contains("gate `paid`: this machine does not tell `metered`"),
        "{said}"
    );
}

#[test]
fn a_choice_is_explained() {
    let said = printed(&["policy", "explain"], b"");
    assert!(said.starts_with("choice: local\n"), "{said}");

    let folder = tempfile::tempdir().unwrap();
    let signals = folder.path().join("signals.json");
    fs::write(
        &signals,
        "{\"online\": true, \"rtt_ms\": 40, \"node_tokenizer_matches\": true, \
         \"edge_has_model\": true, \"t_local_ms\": 100, \"t_cloud_ms\": 30, \
         \"privacy\": \"public\"}",
    )
    .unwrap();
    let file = ready("fastest");
    let arguments = [
        "policy",
        "explain",
        text(&file),
        "--signals",
        text(&signals),
    ];
    let said = printed(&arguments, b"");
    assert!(said.starts_with("choice: stream\n"), "{said}");
    let mut arguments = arguments.to_vec();
    arguments.push("--json");
    let decision = json(&arguments, b"");
    assert_eq!(decision["choice"], "stream");
    assert_eq!(decision["candidates"][0]["predicted"]["tpot_ms"], 100.0);
    assert_eq!(decision["gates"][0]["state"], "open");

    fs::write(&signals, "{\"rtt\": 40}").unwrap();
    arguments.pop();
    let said = refusal(&arguments, 1);
    assert!(said.contains("unknown field `rtt`"), "{said}");
}

#[test]
fn a_range_is_simulated() {
    let folder = tempfile::tempdir().unwrap();
    let svg = folder.path().join("regions.svg");
    let file = ready("fastest");
    let arguments = [
        "policy",
        "simulate",
        text(&file),
        "--rtt-ms",
        "1,100",
        "--charge",
        "plugged,0.5",
        "--svg",
        text(&svg),
    ];
    insta::assert_snapshot!("policy_simulate", printed(&arguments, b""));
    let drawn = fs::read_to_string(&svg).unwrap();
    assert!(drawn.starts_with("<svg ") && drawn.ends_with("</svg>\n"));
    let mut arguments = arguments.to_vec();
    arguments.push("--json");
    let simulation = json(&arguments, b"");
    assert_eq!(simulation["cells"].as_array().unwrap().len(), 16);
    let said = refusal(&["policy", "simulate", "--mbit-s", "0"], 2);
    assert!(said.contains("`mbit_s` must be above 0, not 0"), "{said}");
}
