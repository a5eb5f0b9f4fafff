//! The source of a template, brought into the form the engine can run safely.
//!
//! The engine charges for work and for bytes, but not for the depth of a
//! value: a loop that does `{% set ns.x = [ns.x] %}` builds a list whose
//! destructor overflows the stack, and `{% set ns.x = ns %}` one that never
//! ends. A value outlives one expression only through `set`, so what every
//! `set` assigns is sent through a filter (see [`super::hold`]) that bounds
//! it. Tags are found by the engine's own tokenizer; the two cannot disagree
//! on where one begins.

use minijinja::machinery::{Span, Token, tokenize};
use minijinja::syntax::SyntaxConfig;

use super::charges::{Insertion, Tag};
use super::error::TemplateError;

/// The longest source that is read. Templates of 2025 have up to 30 KiB.
pub(super) const SOURCE_BYTES_MAX: usize = 512 << 10;

/// Tags in one template; the engine's parser recurses over `elif`.
const TAGS_MAX: usize = 8192;

/// Tokens in one tag; the engine's compiler recurses over `a + b + c`.
const TAG_TOKENS_MAX: usize = 2048;

/// Jinja's syntax with the white space rules transformers sets.
pub(super) fn syntax() -> SyntaxConfig {
    let mut builder = SyntaxConfig::builder();
    builder.trim_blocks(true).lstrip_blocks(true);
    builder
        .build()
        .expect("the default delimiters are valid together")
}

/// The source with `set` guarded, work charged for (see [`super::charges`])
/// and Hugging Face's `generation` tags, which only mark spans for training,
/// turned into blocks that always run.
pub(super) fn guarded(source: &str) -> Result<String, TemplateError> {
    if source.len() > SOURCE_BYTES_MAX {
        return Err(TemplateError::TooLarge {
            bytes: source.len(),
            max: SOURCE_BYTES_MAX,
        });
    }
    let mut out = String::with_capacity(source.len() * 2);
    let mut copied = 0;
    let mut tags = 0;
    let mut tokens: Vec<(Token, Span)> = Vec::new();
    for token in tokenize(source, false, syntax()) {
        let (token, span) = token?;
        match token {
            Token::BlockStart | Token::VariableStart => {
                tags += 1;
                if tags > TAGS_MAX {
                    return Err(refused(span, "the template has too many tags"));
                }
                tokens.clear();
            }
            Token::BlockEnd | Token::VariableEnd => {
                let is_block = matches!(token, Token::BlockEnd);
                if is_block && let [(Token::Ident(word), word_span)] = tokens.as_slice() {
                    let replaced = match *word {
                        "generation" => Some("if true"),
                        "endgeneration" => Some("endif"),
                        _ => None,
                    };
                    if let Some(replaced) = replaced {
                        out.push_str(&source[copied..word_span.start_offset as usize]);
                        out.push_str(replaced);
                        copied = word_span.end_offset as usize;
                    }
                }
                for insertion in insertions(&tokens, is_block, span)? {
                    out.push_str(&source[copied..insertion.at]);
                    out.push_str(insertion.text);
                    copied = insertion.at;
                }
            }
            Token::TemplateData(_) => {}
            _ if tokens.len() == TAG_TOKENS_MAX => {
                return Err(refused(span, "the tag has too many tokens"));
            }
            _ => tokens.push((token, span)),
        }
    }
    out.push_str(&source[copied..]);
    Ok(out)
}
/// What is put into the tag of `tokens` that ends at `end`.
fn insertions(
    tokens: &[(Token<'_>, Span)],
    is_block: bool,
    end: Span,
) -> Result<Vec<Insertion>, TemplateError> {
    let mut found = Vec::new();
    let tag =
        Tag::new(tokens, is_block).map_err(|token| refused(token.1, "a bracket has no partner"))?;
    tag.charges(&mut found);
    match tokens.first() {
        Some((Token::Ident("include" | "import" | "from" | "extends"), span)) if is_block => {
            return Err(refused(
                *span,
                "a chat template cannot load other templates",
            ));
        }
        Some((Token::Ident("set"), _)) if is_block => {
            let rest = tokens
                .iter()
                .position(|t| matches!(t.0, Token::Assign | Token::Pipe));
            let target = &tokens[..rest.unwrap_or(tokens.len())];
            let to_attribute = target.iter().any(|t| matches!(t.0, Token::Dot));
            let assigned = rest.filter(|at| matches!(tokens[*at].0, Token::Assign));
            if let Some(at) = assigned {
                found.push(Insertion::at_end(tokens[at].1.end_offset as usize, " ("));
            }
            let hold = match (assigned.is_some(), to_attribute) {
                (true, false) => ")|outrigger_hold ",
                (true, true) => ")|outrigger_hold_attribute ",
                (false, false) => "|outrigger_hold ",
                (false, true) => "|outrigger_hold_attribute ",
            };
            found.push(Insertion::at_end(end.start_offset as usize, hold));
        }
        _ => {}
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn refused(span: Span, message: &str) -> TemplateError {
    TemplateError::Syntax {
        line: span.start_line.into(),
        message: message.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_guarded() {
        for (source, expected) in [
            (
                "{%- set x = 1, 2 -%}",
                "{%- set x = ( 1, 2 )|outrigger_hold -%}",
            ),
            (
                "{% set ns.a = {'b': ns.c} %}{# {% set x = 1 %} #}",
                "{% set ns.a = ( {'b': ns.c} )|outrigger_hold_attribute %}{# {% set x = 1 %} #}",
            ),
            ("{% set x | trim %}", "{% set x | trim |outrigger_hold %}"),
            (
                "{% set x = f(a=1) %}{{ '{% set y = 1 %}' }}",
                "{% set x = ( f(a=1) )|outrigger_hold %}{{ '{% set y = 1 %}' }}",
            ),
        ] {
            assert_eq!(guarded(source).unwrap(), expected);
        }
        let raw = "{% raw %}{% set y = 1 %}{% endraw %}";
        assert_eq!(guarded(raw).unwrap(), raw);
    }

    #[test]
    fn operands_are_charged_for() {
        for (source, expected) in [
            ("{{ 'a' ~ b.c ~ 1 }}", "{{ 'a' ~ b.c|T ~ 1 }}"),
            (
                "{{ a[0] + -b|first == c * 2 }}",
                "{{ a[0]|O + -b|first|O == c|F|O * 2 }}",
            ),
            (
                "{{ a not in b and c is not none }}",
                "{{ a|O not in b|O and c is not none }}",
            ),
            (
                "{{ a is eq b }}{{ a is in(b) }}",
                "{{ a|O is eq b|O }}{{ a|O is in((b)|O) }}",
            ),
            (
                "{{ f(a if b else c, d=e)[g] }}",
                "{{ f((a if b else c)|O, d=(e)|O)[(g)|O] }}",
            ),
            (
                "{{ {a: b, 'c': d}|sort|length }}{{ x[1:y] }}",
                "{{ {(a)|O: b, 'c': d}|O|sort|length }}{{ x[1:y] }}",
            ),
            (
                "{% for a in b if a.in in c %}",
                "{% for a in b if a.in|O in c|O %}",
            ),
            (
                "{% macro f(a, b=c) %}{% if not -1 < x %}",
                "{% macro f(a, b=c) %}{% if not -1 < x|O %}",
            ),
        ] {
            let short = guarded(source).unwrap().replace("outrigger_operand", "O");
            let short = short
                .replace("outrigger_text", "T")
                .replace("outrigger_factor", "F");
            assert_eq!(short, expected);
        }
    }

    #[test]
    fn parentheses_cannot_be_escaped() {
        assert!(guarded("{% set ns.x = 0), (ns %}").is_err());
    }

    #[test]
    fn generation_tags_run() {
        assert_eq!(
            guarded("{%- generation %}a{% endgeneration -%}").unwrap(),
            "{%- if true %}a{% endif -%}"
        );
    }
}
