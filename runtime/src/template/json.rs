//! `tojson`, with the text of Python's `json.dumps`.

use minijinja::value::{Kwargs, ObjectRepr, Rest, ValueKind, ValueOrKwargs, from_args};
use minijinja::{Error, ErrorKind, State, Value};

use super::error::Exceeded;
use super::hold::DEPTH_MAX;
use super::text::{Sink, float_repr};

/// The layout of the JSON text.
struct Layout {
    ensure_ascii: bool,
    /// What one level is indented by; `None` writes one line.
    indent: Option<String>,
    item_separator: String,
    key_separator: String,
    sort_keys: bool,
}

/// transformers' `tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
pub(super) fn tojson(
    state: &State,
    value: &Value,
    arguments: Rest<ValueOrKwargs>,
) -> Result<Value, Error> {
    let arguments = arguments.into_values();
    let (positional, kwargs): (&[Value], Kwargs) = from_args(&arguments)?;
    let argument = |at: usize, name: &str| -> Result<Option<Value>, Error> {
        let value = match positional.get(at) {
            Some(value) => Some(value.clone()),
            None => kwargs.get::<Option<Value>>(name)?,
        };
        Ok(value.filter(|value| !value.is_none() && !value.is_undefined()))
    };
    let ensure_ascii = argument(0, "ensure_ascii")?;
    let indent = argument(1, "indent")?;
    let separators = argument(2, "separators")?;
    let sort_keys = argument(3, "sort_keys")?;
    kwargs.assert_all_used()?;

    let indent = match indent {
        None => None,
        Some(value) => Some(match value.as_str() {
            Some(text) => text.to_owned(),
            None => {
                let spaces = usize::try_from(value).unwrap_or(0);
                if spaces > 64 {
                    return Err(Exceeded::error("tojson indents by at most 64 spaces"));
                }
                " ".repeat(spaces)
            }
        }),
    };
    let (item_separator, key_separator) = match separators {
        Some(pair) => {
            let part = |at| -> Result<String, Error> {
                let part = pair.get_item_by_index(at)?;
                part.as_str().map(str::to_owned).ok_or_else(|| {
                    Error::new(
                        ErrorKind::InvalidOperation,
                        "separators must be two strings",
                    )
                })
            };
            (part(0)?, part(1)?)
        }
        None if indent.is_some() => (",".into(), ": ".into()),
        None => (", ".into(), ": ".into()),
    };
    let layout = Layout {
        ensure_ascii: ensure_ascii.is_some_and(|v| v.is_true()),
        indent,
        item_separator,
        key_separator,
        sort_keys: sort_keys.is_some_and(|v| v.is_true()),
    };
    let mut sink = Sink::new(state);
    write_value(&mut sink, value, &layout, 0)?;
    Ok(Value::from(sink.into_string()))
}

fn write_value(sink: &mut Sink, value: &Value, layout: &Layout, depth: usize) -> Result<(), Error> {
    if depth > DEPTH_MAX {
        return Err(Exceeded::error("a value is nested too deeply"));
    }
    match value.kind() {
        ValueKind::None => sink.push("null"),
        ValueKind::Bool => sink.push(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => sink.push(&number(value)),
        ValueKind::String => write_string(sink, value.as_str().unwrap_or_default(), layout),
        ValueKind::Map => write_map(sink, value, layout, depth),
        ValueKind::Seq | ValueKind::Iterable => {
            let mut open = false;
            sink.push("[")?;
            for item in value.try_iter()?.checked() {
                begin_item(sink, layout, depth, &mut open)?;
                write_value(sink, &item?, layout, depth + 1)?;
            }
            end_container(sink, layout, depth, open)?;
            sink.push("]")
        }
        _ => Err(unserializable(value)),
    }
}

fn write_map(sink: &mut Sink, value: &Value, layout: &Layout, depth: usize) -> Result<(), Error> {
    let Some(object) = value
        .as_object()
        .filter(|object| object.repr() == ObjectRepr::Map)
    else {
        return Err(unserializable(value));
    };
    let mut open = false;
    sink.push("{")?;
    let pairs = object.try_iter_pairs().into_iter().flatten();
    let mut write_pair = |sink: &mut Sink, key: &Value, item: &Value| {
        begin_item(sink, layout, depth, &mut open)?;
        write_key(sink, key, layout)?;
        sink.push(&layout.key_separator)?;
        write_value(sink, item, layout, depth + 1)
    };
    if layout.sort_keys {
        let mut pairs: Vec<(Value, Value)> = pairs.collect();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        for (key, item) in &pairs {
            write_pair(sink, key, item)?;
        }
    } else {
        for (key, item) in pairs {
            write_pair(sink, &key, &item)?;
        }
    }
    end_container(sink, layout, depth, open)?;
    sink.push("}")
}

fn write_key(sink: &mut Sink, key: &Value, layout: &Layout) -> Result<(), Error> {
    let text = match key.kind() {
        ValueKind::String => key.as_str().unwrap_or_default().to_owned(),
        ValueKind::None => "null".into(),
        ValueKind::Bool => if key.is_true() { "true" } else { "false" }.into(),
        ValueKind::Number => number(key),
        _ => {
            return Err(Error::new(
                ErrorKind::BadSerialization,
                "keys of JSON objects must be strings, numbers, booleans or none",
            ));
        }
    };
    write_string(sink, &text, layout)
}

fn begin_item(
    sink: &mut Sink,
    layout: &Layout,
    depth: usize,
    open: &mut bool,
) -> Result<(), Error> {
    if *open {
        sink.push(&layout.item_separator)?;
    }
    *open = true;
    new_line(sink, layout, depth + 1)
}

fn end_container(sink: &mut Sink, layout: &Layout, depth: usize, open: bool) -> Result<(), Error> {
    if open {
        new_line(sink, layout, depth)
    } else {
        Ok(())
    }
}

fn new_line(sink: &mut Sink, layout: &Layout, depth: usize) -> Result<(), Error> {
    if let Some(indent) = &layout.indent {
        sink.push("\n")?;
        for _ in 0..depth {
            sink.push(indent)?;
        }
    }
    Ok(())
}

fn number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    match f64::try_from(value.clone()) {
        Ok(v) if v.is_nan() => "NaN".into(),
        Ok(v) if v.is_infinite() => if v > 0.0 { "Infinity" } else { "-Infinity" }.into(),
        Ok(v) => float_repr(v),
        Err(_) => value.to_string(),
    }
}

fn write_string(sink: &mut Sink, text: &str, layout: &Layout) -> Result<(), Error> {
    sink.push("\"")?;
    let mut plain = 0;
    for (at, c) in text.char_indices() {
        let escape = match c {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\u{8}' => "\\b",
            '\u{c}' => "\\f",
            '\0'..='\x1f' => "",
            _ if layout.ensure_ascii && !c.is_ascii() => "",
            _ => continue,
        };
        sink.push(&text[plain..at])?;
        plain = at + c.len_utf8();
        if escape.is_empty() {
            for unit in c.encode_utf16(&mut [0; 2]) {
                sink.push(&format!("\\u{unit:04x}"))?;
            }
        } else {
            sink.push(escape)?;
        }
    }
    sink.push(&text[plain..])?;
    sink.push("\"")
}

fn unserializable(value: &Value) -> Error {
    Error::new(
        ErrorKind::BadSerialization,
        format!("a value of kind {} is not JSON serializable", value.kind()),
    )
}
