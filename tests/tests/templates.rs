//! Chat templates against what transformers' Jinja renders.

use outrigger_runtime::template::{ChatTemplate, CivilTime, TemplateError, TemplateInput};
use outrigger_tests::fixtures::fixtures;
use serde::Deserialize;
use serde_json::{Map, Value, json};

#[derive(Deserialize)]
struct Fixture {
    template: String,
    bos_token: Option<String>,
    eos_token: Option<String>,
    now: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    messages: Vec<Value>,
    tools: Option<Vec<Value>>,
    add_generation_prompt: bool,
    extra: Option<Map<String, Value>>,
    expected: Option<String>,
    error: Option<String>,
}

/// The fixtures by name of the model; `None` without a folder of fixtures.
fn models() -> Option<Vec<(String, Fixture)>> {
    let folder = fixtures()?.join("chat_templates");
    let paths = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let paths = paths.filter(|path| path.extension().is_some_and(|kind| kind == "json"));
    let read = |path: std::path::PathBuf| {
        let model = path.file_stem().unwrap().to_string_lossy().into_owned();
        let fixture = serde_json::from_slice(&std::fs::read(&path).unwrap());
        (model, fixture.expect("a readable fixture"))
    };
    Some(paths.map(read).collect())
}

#[test]
fn templates_render_as_in_jinja() {
    let Some(models) = models() else {
        return;
    };
    let mut cases = 0;
    let mut failures = Vec::new();
    for (model, fixture) in models {
        let template = ChatTemplate::parse(&fixture.template).expect("a template that parses");
        for case in fixture.cases {
            cases += 1;
            let rendered = template.render(&TemplateInput {
                messages: case.messages,
                tools: case.tools,
                add_generation_prompt: case.add_generation_prompt,
                bos_token: fixture.bos_token.clone(),
                eos_token: fixture.eos_token.clone(),
                now: Some(CivilTime::parse(&fixture.now).unwrap()),
                variables: case.extra.unwrap_or_default(),
            });
            let agrees = match (&rendered, &case.expected, &case.error) {
                (Ok(text), Some(expected), None) => text == expected,
                (Err(TemplateError::Raised(message)), None, Some(error)) => message == error,
                _ => false,
            };
            if !agrees {
                failures.push(format!(
                    "{model}/{}:\n  got      {rendered:?}\n  expected {:?}{:?}",
                    case.name, case.expected, case.error
                ));
            }
        }
    }
    assert!(cases > 0, "no chat templates among the fixtures");
    assert!(
        failures.is_empty(),
        "{} of {cases} cases differ\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn long_conversations_are_within_the_limits() {
    let Some(models) = models() else {
        return;
    };
    let message = |at: usize, content: &str| {
        let role = if at.is_multiple_of(2) {
            "user"
        } else {
            "assistant"
        };
        json!({"role": role, "content": content})
    };
    let many: Vec<Value> = (0..2001)
        .map(|at| message(at, "And what is 2+2?"))
        .collect();
    let large = "And what is 2+2? \"four\"\n".repeat(100_000);
    for (model, fixture) in models {
        let template = ChatTemplate::parse(&fixture.template).unwrap();
        for messages in [many.clone(), vec![message(0, &large)]] {
            let rendered = template.render(&TemplateInput {
                messages,
                bos_token: fixture.bos_token.clone(),
                eos_token: fixture.eos_token.clone(),
                add_generation_prompt: true,
                ..TemplateInput::default()
            });
            assert!(rendered.is_ok(), "{model}: {rendered:?}");
        }
    }
}
