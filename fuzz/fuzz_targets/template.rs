//! Any text is a template that renders, or is refused, in time.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use outrigger_runtime::template::{ChatTemplate, CivilTime, TemplateInput};
use serde_json::json;

/// A second, with what sanitizers and the fuzzer's counters cost.
const PATIENCE: Duration = Duration::from_secs(10);

fuzz_target!(|source: &str| {
    let start = Instant::now();
    if let Ok(template) = ChatTemplate::parse(source) {
        let function = json!({"name": "add", "arguments": {"a": 1, "b": [2.5, null]}});
        let input = TemplateInput {
            messages: vec![
                json!({"role": "system", "content": "Be brief."}),
                json!({"role": "user", "content": [{"type": "text", "text": "1+1?"}]}),
                json!({"role": "assistant", "tool_calls": [{"function": function}]}),
            ],
            tools: Some(vec![json!({"type": "function", "function": function})]),
            add_generation_prompt: true,
            bos_token: Some("<s>".into()),
            now: CivilTime::parse("2025-01-15T12:30:45").ok(),
            ..TemplateInput::default()
        };
        let _ = template.render(&input);
    }
    assert!(start.elapsed() < PATIENCE, "took {:?}", start.elapsed());
});
