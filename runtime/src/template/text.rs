//! The text of a value, as Python's `str` and `repr` write it.

use minijinja::value::{ObjectRepr, ValueKind};
use minijinja::{Error, State, Value};

use super::error::Exceeded;
use super::hold::DEPTH_MAX;

/// A string that is paid for while it grows.
pub(super) struct Sink<'s, 't, 'e> {
    state: &'s State<'t, 'e>,
    text: String,
    unpaid: usize,
}

impl<'s, 't, 'e> Sink<'s, 't, 'e> {
    /// Bytes written between two payments.
    const STEP: usize = 1024;

    pub(super) fn new(state: &'s State<'t, 'e>) -> Self {
        Self {
            state,
            text: String::new(),
            unpaid: 0,
        }
    }

    pub(super) fn push(&mut self, text: &str) -> Result<(), Error> {
        // A piece costs more than its bytes, the shortest most.
        self.unpaid += text.len() + 16;
        if self.unpaid >= Self::STEP {
            pay(self.state, self.unpaid)?;
            self.unpaid = 0;
        }
        self.text.push_str(text);
        Ok(())
    }

    pub(super) fn into_string(self) -> String {
        self.text
    }
}

/// Charges for `bytes` that are about to be made, as the engine charges for
/// the ones it makes: before, so that the bytes can be refused.
pub(super) fn pay(state: &State, bytes: usize) -> Result<(), Error> {
    state.consume_fuel(bytes as u64 / 16 + 1)
}

/// `str(value)`.
pub(super) fn string(state: &State, value: &Value) -> Result<Value, Error> {
    if value.kind() == ValueKind::String {
        return Ok(value.clone());
    }
    let mut sink = Sink::new(state);
    write_str(&mut sink, value)?;
    Ok(Value::from(sink.into_string()))
}

/// An operand of `~`: `str(value)`, an undefined value left as it is.
pub(super) fn operand(state: &State, value: &Value) -> Result<Value, Error> {
    if value.is_undefined() {
        return Ok(value.clone());
    }
    string(state, value)
}

/// Appends `str(value)`; an undefined value is the empty string.
pub(super) fn write_str(sink: &mut Sink, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Undefined => Ok(()),
        ValueKind::String => sink.push(value.as_str().unwrap_or_default()),
        _ => write_repr(sink, value, 0),
    }
}

fn write_repr(sink: &mut Sink, value: &Value, depth: usize) -> Result<(), Error> {
    if depth > DEPTH_MAX {
        return Err(Exceeded::error("a value is nested too deeply"));
    }
    match value.kind() {
        ValueKind::Undefined => sink.push("Undefined"),
        ValueKind::Number if !value.is_integer() => match f64::try_from(value.clone()) {
            Ok(v) if v.is_nan() => sink.push("nan"),
            Ok(v) if v.is_infinite() => sink.push(if v > 0.0 { "inf" } else { "-inf" }),
            Ok(v) => sink.push(&float_repr(v)),
            Err(_) => sink.push(&value.to_string()),
        },
        ValueKind::String => write_quoted(sink, value.as_str().unwrap_or_default()),
        ValueKind::Seq | ValueKind::Iterable => {
            let (open, close) = if value.is_tuple() {
                ("(", ")")
            } else {
                ("[", "]")
            };
            sink.push(open)?;
            let mut count = 0;
            for item in value.try_iter()?.checked() {
                if count > 0 {
                    sink.push(", ")?;
                }
                write_repr(sink, &item?, depth + 1)?;
                count += 1;
            }
            if value.is_tuple() && count == 1 {
                sink.push(",")?;
            }
            sink.push(close)
        }
        ValueKind::Map => {
            sink.push("{")?;
            let pairs = value
                .as_object()
                .filter(|object| object.repr() == ObjectRepr::Map)
                .and_then(|object| object.try_iter_pairs());
            for (at, (key, item)) in pairs.into_iter().flatten().enumerate() {
                if at > 0 {
                    sink.push(", ")?;
                }
                write_repr(sink, &key, depth + 1)?;
                sink.push(": ")?;
                write_repr(sink, &item, depth + 1)?;
            }
            sink.push("}")
        }
        _ => sink.push(&value.to_string()),
    }
}

fn write_quoted(sink: &mut Sink, text: &str) -> Result<(), Error> {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut buffer = [0; 4];
    sink.push(quote.encode_utf8(&mut buffer))?;
    for c in text.chars() {
        match c {
            '\\' => sink.push("\\\\")?,
            '\n' => sink.push("\\n")?,
            '\r' => sink.push("\\r")?,
            '\t' => sink.push("\\t")?,
            c if c == quote => {
                sink.push("\\")?;
                sink.push(c.encode_utf8(&mut buffer))?;
            }
            '\0'..='\x1f' | '\x7f' => sink.push(&format!("\\x{:02x}", c as u32))?,
            c => sink.push(c.encode_utf8(&mut buffer))?,
        }
    }
    sink.push(quote.encode_utf8(&mut buffer))
}

/// `repr(float)` of a finite number: the shortest digits that read back, in
/// positional notation for exponents from -4 to 15.
pub(super) fn float_repr(value: f64) -> String {
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value == 0.0 || (-4..16).contains(&exponent) {
        let text = value.to_string();
        return if text.contains('.') {
            text
        } else {
            text + ".0"
        };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::float_repr;

    #[test]
    fn floats_as_in_python() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (0.1, "0.1"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-2.5e-7, "-2.5e-07"),
            (123_456_789.125, "123456789.125"),
        ] {
            assert_eq!(float_repr(value), text);
        }
    }
}
