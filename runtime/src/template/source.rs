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

use super::error::TemplateError;

/// The longest source that is read. Templates of 2025 have up to 30 KiB.
pub(super) const SOURCE_BYTES_MAX: usize = 512 << 10;

/// Tags in one template; the engine's parser recurses over `elif`.
const TAGS_MAX: usize = 8192;

/// Tokens in one tag; the engine's compiler recurses over `a + b + c`.
const TAG_TOKENS_MAX: usize = 2048;

/// Filter for what is assigned to a name.
pub(super) const HOLD: &str = "outrigger_hold";

/// Filter for what is assigned to an attribute of a namespace.
pub(super) const HOLD_ATTRIBUTE: &str = "outrigger_hold_attribute";

/// Jinja's syntax with the white space rules transformers sets.
pub(super) fn syntax() -> SyntaxConfig {
    let mut builder = SyntaxConfig::builder();
    builder.trim_blocks(true).lstrip_blocks(true);
    builder
        .build()
        .expect("the default delimiters are valid together")
}

/// What a `set` tag assigns to, found while its tokens go by.
struct SetTag {
    filter: &'static str,
    /// The tokens so far are the target's.
    in_target: bool,
    /// A parenthesis was opened around the assigned expression.
    opened: bool,
}

/// The source with `set` guarded and Hugging Face's `generation` tags, which
/// only mark spans for training, turned into blocks that always run.
pub(super) fn guarded(source: &str) -> Result<String, TemplateError> {
    if source.len() > SOURCE_BYTES_MAX {
        return Err(TemplateError::TooLarge {
            bytes: source.len(),
            max: SOURCE_BYTES_MAX,
        });
    }
    let mut out = String::with_capacity(source.len() + source.len() / 4);
    let mut copied = 0;
    let mut tags = 0;
    let mut tokens_in_tag = 0;
    let mut depth = 0_i32;
    let mut set: Option<SetTag> = None;

    for token in tokenize(source, false, syntax()) {
        let (token, span) = token?;
        tokens_in_tag += 1;
        if tokens_in_tag > TAG_TOKENS_MAX {
            return Err(refused(span, "the tag has too many tokens"));
        }
        match token {
            Token::BlockStart | Token::VariableStart => {
                tags += 1;
                if tags > TAGS_MAX {
                    return Err(refused(span, "the template has too many tags"));
                }
                (tokens_in_tag, depth, set) = (0, 0, None);
            }
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => depth += 1,
            Token::ParenClose | Token::BracketClose | Token::BraceClose => {
                depth -= 1;
                // Otherwise `1) + (2` would leave the parenthesis put around it.
                if depth < 0 {
                    return Err(refused(span, "a bracket is closed that was not opened"));
                }
            }
            Token::Ident(name) if tokens_in_tag == 1 => match name {
                "set" => {
                    set = Some(SetTag {
                        filter: HOLD,
                        in_target: true,
                        opened: false,
                    });
                }
                "generation" | "endgeneration" => {
                    out.push_str(&source[copied..span.start_offset as usize]);
                    out.push_str(if name == "generation" {
                        "if true"
                    } else {
                        "endif"
                    });
                    copied = span.end_offset as usize;
                }
                "include" | "import" | "from" | "extends" => {
                    return Err(refused(span, "a chat template cannot load other templates"));
                }
                _ => {}
            },
            Token::Dot => {
                if let Some(set) = set.as_mut().filter(|set| set.in_target) {
                    set.filter = HOLD_ATTRIBUTE;
                }
            }
            Token::Pipe => {
                if let Some(set) = &mut set {
                    set.in_target = false;
                }
            }
            Token::Assign if depth == 0 => {
                if let Some(set) = set.as_mut().filter(|set| set.in_target) {
                    set.in_target = false;
                    set.opened = true;
                    let end = span.end_offset as usize;
                    out.push_str(&source[copied..end]);
                    out.push_str(" (");
                    copied = end;
                }
            }
            Token::BlockEnd => {
                if let Some(set) = set.take() {
                    let start = span.start_offset as usize;
                    out.push_str(&source[copied..start]);
                    if set.opened {
                        out.push(')');
                    }
                    out.push('|');
                    out.push_str(set.filter);
                    out.push(' ');
                    copied = start;
                }
            }
            Token::TemplateData(_) => tokens_in_tag = 0,
            _ => {}
        }
    }
    out.push_str(&source[copied..]);
    Ok(out)
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
        assert_eq!(
            guarded("{%- set x = 1, 2 -%}").unwrap(),
            "{%- set x = ( 1, 2 )|outrigger_hold -%}"
        );
        assert_eq!(
            guarded("{% set ns.a = {'b': ns.c} %}{# {% set x = 1 %} #}").unwrap(),
            "{% set ns.a = ( {'b': ns.c} )|outrigger_hold_attribute %}{# {% set x = 1 %} #}"
        );
        assert_eq!(
            guarded("{% set x | trim %}{% endset %}").unwrap(),
            "{% set x | trim |outrigger_hold %}{% endset %}"
        );
        assert_eq!(
            guarded("{% set x = f(a=1) %}{{ '{% set y = 1 %}' }}").unwrap(),
            "{% set x = ( f(a=1) )|outrigger_hold %}{{ '{% set y = 1 %}' }}"
        );
        let raw = "{% raw %}{% set y = 1 %}{% endraw %}";
        assert_eq!(guarded(raw).unwrap(), raw);
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
