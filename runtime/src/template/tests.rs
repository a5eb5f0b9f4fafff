use serde_json::json;

use super::*;

fn input() -> TemplateInput {
    TemplateInput {
        messages: vec![json!({"role": "user", "content": "hi"})],
        ..TemplateInput::default()
    }
}

pub(super) fn rendered(source: &str) -> Result<String, TemplateError> {
    ChatTemplate::parse(source)?.render(&input())
}

#[test]
fn raised_messages_are_verbatim() {
    let error = rendered("{{ raise_exception('no <tools> \"here\"') }}").unwrap_err();
    assert_eq!(error.to_string(), "no <tools> \"here\"");
    assert!(matches!(error, TemplateError::Raised(_)));
}

#[test]
fn values_print_as_in_python() {
    for (source, text) in [
        (
            "{{ true }} {{ none }} {{ 1e16 }} {{ 1/2 }} {{ 7//2 }}",
            "True None 1e+16 0.5 3",
        ),
        (
            "{{ ['a', \"it's\", 1.0, none, (1,)] }}",
            "['a', \"it's\", 1.0, None, (1,)]",
        ),
        ("{{ {'a': [true]}|tojson }}", "{\"a\": [true]}"),
        (
            "{{ {'a': [1, {}], 'b': []}|tojson(indent=2) }}",
            "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": []\n}",
        ),
        (
            "{{ {'b': 1, 'a': 2}|tojson(sort_keys=true, separators=(',', ':')) }}",
            "{\"a\":2,\"b\":1}",
        ),
        (
            "{{ 'é<>&\\x07'|tojson }}{{ 'é🦙'|tojson(ensure_ascii=true) }}",
            "\"é<>&\\u0007\"\"\\u00e9\\ud83e\\udd99\"",
        ),
        (
            "{{ 'x' is sequence }} {{ {} is iterable }} {{ {} is mapping }}",
            "True True True",
        ),
        (
            "{{ messages[0].items()|list|length }} {{ messages[0].content[::-1] }}",
            "2 ih",
        ),
        (
            "{% set ns = namespace(a=1) %}{% for i in range(3) %}{% if i == 1 %}{% continue %}{% endif %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}",
            "3",
        ),
        ("a{% generation %}b{% endgeneration %}c", "abc"),
        (
            "{{ 'a-b-c'.rsplit('-', 1) }} {{ 'xay'.strip('xy') }} {{ 'abc'.removeprefix('a') }}",
            "['a-b', 'c'] a bc",
        ),
        (
            "{{ '{:>4}|{}'.format(7, 'b') }} {{ '%05.1f'|format(2.25) }}",
            "   7|b 002.2",
        ),
    ] {
        assert_eq!(rendered(source).expect(source), text, "{source}");
    }
}

#[test]
fn the_clock_can_be_fixed() {
    let template = ChatTemplate::parse("{{ strftime_now('%d %b %Y') }}").unwrap();
    let input = TemplateInput {
        now: Some(CivilTime::parse("2025-01-15T12:30:45").unwrap()),
        ..TemplateInput::default()
    };
    assert_eq!(template.render(&input).unwrap(), "15 Jan 2025");
}

#[test]
fn models_name_their_templates() {
    use crate::gguf::Value;
    let mut metadata = Metadata::new();
    assert!(
        ChatTemplate::from_metadata(&metadata, None)
            .unwrap()
            .is_none()
    );
    metadata.insert("tokenizer.chat_template", Value::String("a".into()));
    metadata.insert(
        "tokenizer.chat_template.tool_use",
        Value::String("b".into()),
    );
    let text = |name| {
        let template = ChatTemplate::from_metadata(&metadata, name)
            .unwrap()
            .unwrap();
        template.render(&TemplateInput::default()).unwrap()
    };
    assert_eq!(text(None), "a");
    assert_eq!(text(Some("tool_use")), "b");
    assert_eq!(text(Some("rag")), "a");
    assert_eq!(
        ChatTemplate::variants(&metadata).collect::<Vec<_>>(),
        ["tool_use"]
    );
}
