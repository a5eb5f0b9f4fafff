//! Methods of Python's strings, lists and dictionaries, paid for before their
//! result is made.

use minijinja::formatting::{self, FormatStyle};
use minijinja::value::{Kwargs, Rest, ValueKind, ValueOrKwargs, from_args};
use minijinja::{Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat;

use super::error::Exceeded;
use super::text::{Sink, pay, string, write_str};

/// Bytes in the argument of `strip`; each is compared with each of the text's.
const STRIP_BYTES_MAX: usize = 256;

/// Called by the engine for a method it does not know.
pub(super) fn call(
    state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    if let Some(text) = value.as_str() {
        pay(state, text.len())?;
        if let Some(result) = of_string(state, text, method, args)? {
            return Ok(result);
        }
    } else if let Some(len) = value.len() {
        pay(state, len)?;
    }
    if let (ValueKind::Seq | ValueKind::Iterable, "index") = (value.kind(), method) {
        let (what,): (&Value,) = from_args(args)?;
        for (at, item) in value.try_iter()?.checked().enumerate() {
            state.consume_fuel(1)?;
            if item? == *what {
                return Ok(Value::from(at));
            }
        }
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            "the value is not in the list",
        ));
    }
    if let (ValueKind::Map | ValueKind::Seq, "copy") = (value.kind(), method) {
        let () = from_args(args)?;
        return Ok(value.clone());
    }
    pycompat::unknown_method_callback(state, value, method, args)
}

/// The methods that can make more than they are given, or that the engine's
/// own set lacks.
fn of_string(
    state: &State,
    text: &str,
    method: &str,
    args: &[Value],
) -> Result<Option<Value>, Error> {
    Ok(Some(match method {
        "strip" | "lstrip" | "rstrip" => {
            let (chars,): (Option<&str>,) = from_args(args)?;
            let drop = stripped_chars(state, text, chars)?;
            Value::from(match method {
                "strip" => text.trim_matches(drop),
                "lstrip" => text.trim_start_matches(drop),
                _ => text.trim_end_matches(drop),
            })
        }
        "replace" => {
            let (old, new, count): (&str, &str, Option<i64>) = from_args(args)?;
            let count = usize::try_from(count.unwrap_or(-1)).unwrap_or(usize::MAX);
            let found = text.matches(old).take(count).count();
            pay(
                state,
                text.len().saturating_add(found.saturating_mul(new.len())),
            )?;
            Value::from(text.replacen(old, new, count))
        }
        "join" => {
            let (values,): (&Value,) = from_args(args)?;
            let mut sink = Sink::new(state);
            for (at, value) in values.try_iter()?.checked().enumerate() {
                if at > 0 {
                    sink.push(text)?;
                }
                write_str(&mut sink, &value?)?;
            }
            Value::from(sink.into_string())
        }
        "format" => {
            pay_for_format(state, text, args)?;
            return Ok(None);
        }
        "removeprefix" => {
            let (affix,): (&str,) = from_args(args)?;
            Value::from(text.strip_prefix(affix).unwrap_or(text))
        }
        "removesuffix" => {
            let (affix,): (&str,) = from_args(args)?;
            Value::from(text.strip_suffix(affix).unwrap_or(text))
        }
        "partition" | "rpartition" => {
            let (separator,): (&str,) = from_args(args)?;
            let parts = match method {
                "partition" => text.split_once(separator),
                _ => text.rsplit_once(separator),
            };
            match parts {
                Some((head, tail)) => Value::from((head, separator, tail)),
                None if method == "partition" => Value::from((text, "", "")),
                None => Value::from(("", "", text)),
            }
        }
        "rsplit" => {
            let (separator, count): (Option<&str>, Option<i64>) = from_args(args)?;
            let count = usize::try_from(count.unwrap_or(-1)).map_or(usize::MAX, |n| n + 1);
            let mut parts: Vec<Value> = match separator {
                Some("") => {
                    return Err(Error::new(ErrorKind::InvalidOperation, "empty separator"));
                }
                Some(separator) => text.rsplitn(count, separator).map(Value::from).collect(),
                None if count == usize::MAX => {
                    text.split_whitespace().rev().map(Value::from).collect()
                }
                None => {
                    return Err(Error::new(
                        ErrorKind::InvalidOperation,
                        "rsplit with a count needs a separator",
                    ));
                }
            };
            pay(state, parts.len().saturating_mul(32))?;
            parts.reverse();
            Value::from(parts)
        }
        "index" | "rindex" => {
            let (what,): (&str,) = from_args(args)?;
            let at = match method {
                "index" => text.find(what),
                _ => text.rfind(what),
            };
            let at =
                at.ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "substring not found"))?;
            Value::from(text[..at].chars().count())
        }
        "split" | "splitlines" => {
            // A list slot for every byte, at the worst.
            pay(state, text.len().saturating_mul(4))?;
            return Ok(None);
        }
        _ => return Ok(None),
    }))
}

/// Charges for the longest text `format.format(*args)` can be: every number in
/// it a width or a precision, every field all of the arguments.
fn pay_for_format(state: &State, format: &str, args: &[Value]) -> Result<(), Error> {
    let digits = format.split(|c: char| !c.is_ascii_digit());
    for number in digits.filter(|digits| !digits.is_empty()) {
        pay(state, number.parse().unwrap_or(usize::MAX))?;
    }
    let mut sink = Sink::new(state);
    for arg in args {
        write_str(&mut sink, arg)?;
    }
    let fields = format.matches(['{', '%']).count();
    pay(state, fields.saturating_mul(sink.into_string().len()))
}

/// The `join` filter: `joiner.join(values)`, of an attribute of the values if
/// one is named.
pub(super) fn join(
    state: &State,
    values: &Value,
    joiner: Option<&str>,
    attribute: Option<&str>,
    named: Kwargs,
) -> Result<Value, Error> {
    let joiner = match joiner {
        Some(joiner) => joiner,
        None => named.get::<Option<&str>>("d")?.unwrap_or_default(),
    };
    let attribute = match attribute {
        Some(attribute) => Some(attribute),
        None => named.get::<Option<&str>>("attribute")?,
    };
    named.assert_all_used()?;
    let mut sink = Sink::new(state);
    for (at, value) in values.try_iter()?.checked().enumerate() {
        let mut value = value?;
        if let Some(path) = attribute {
            for name in path.split('.') {
                value = value.get_attr(name)?;
            }
        }
        if at > 0 {
            sink.push(joiner)?;
        }
        write_str(&mut sink, &value)?;
    }
    Ok(Value::from(sink.into_string()))
}

/// The `format` filter: `value % arguments`.
pub(super) fn format(
    state: &State,
    value: &Value,
    arguments: Rest<ValueOrKwargs>,
) -> Result<Value, Error> {
    let value = string(state, value)?;
    let text = value.as_str().unwrap_or_default();
    let arguments = arguments.into_values();
    pay_for_format(state, text, &arguments)?;
    formatting::format(FormatStyle::Printf, text, &arguments).map(Value::from)
}

/// Which characters to strip from `text`.
fn stripped_chars<'a>(
    state: &State,
    text: &str,
    chars: Option<&'a str>,
) -> Result<impl Fn(char) -> bool + use<'a>, Error> {
    let len = chars.map_or(0, str::len);
    if len > STRIP_BYTES_MAX {
        return Err(Exceeded::error(
            "strip takes at most 256 bytes of characters",
        ));
    }
    pay(state, text.len().saturating_mul(len) / 16)?;
    Ok(move |c| match chars {
        Some(chars) => chars.contains(c),
        None => is_python_space(c),
    })
}

/// The `trim` filter: `str(value).strip(chars)`.
pub(super) fn trim(state: &State, value: &Value, chars: Option<&str>) -> Result<Value, Error> {
    let value = string(state, value)?;
    let text = value.as_str().unwrap_or_default();
    pay(state, text.len())?;
    Ok(Value::from(
        text.trim_matches(stripped_chars(state, text, chars)?),
    ))
}

/// What `str.strip` removes by default: Unicode's white space and the four separators
/// that only Python counts in.
fn is_python_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}
