//! Chat templates against what transformers' Jinja renders.

use outrigger_runtime::template::{ChatTemplate, CivilTime, TemplateError, TemplateInput};
use outrigger_tests::fixtures::fixtures;
use serde::Deserialize;
use serde_json::{Map, Value};

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

#[test]
fn templates_render_as_in_jinja() {
    let Some(root) = fixtures() else {
        return;
    };
    let mut cases = 0;
    let mut failures = Vec::new();
    for entry in std::fs::read_dir(root.join("chat_templates")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let model = path.file_stem().unwrap().to_string_lossy().into_owned();
        let fixture: Fixture =
            serde_json::from_slice(&std::fs::read(&path).unwrap()).expect("a readable fixture");
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
    assert!(cases > 0, "no chat templates in {}", root.display());
    assert!(
        failures.is_empty(),
        "{} of {cases} cases differ\n{}",
        failures.len(),
        failures.join("\n")
    );
}
