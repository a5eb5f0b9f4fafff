//! `inspect`: what a GGUF file holds.

use super::Session;
use crate::{
    console,
    model::ModelArgs,
    printable::Printable,
    table::{Align, Table},
    units,
};
use clap::Args;
use outrigger_runtime::gguf::{Array, Format, Gguf, TensorInfo, Value};
use serde::{Serialize, Serializer, ser::SerializeMap};
use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::PathBuf,
};

/// Shows the metadata and the tensors of a GGUF file
///
/// Prints a summary, the metadata, the tensors and how many bytes each type takes. Long values are
/// cut short in the tables and whole in the JSON. The file need not hold a model that can be run.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  outrigger inspect -m model.gguf
  outrigger inspect -m model.gguf --tensors
  outrigger inspect -m model.gguf --json | jq '.metadata[\"general.architecture\"].value'")]
pub(crate) struct Inspect {
    /// The GGUF file, if -m does not name it
    #[arg(conflicts_with = "model", value_name = "PATH", value_hint = clap::ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// Shows only the metadata
    #[arg(long, conflicts_with = "tensors")]
    metadata: bool,
    /// Shows only the tensors
    #[arg(long)]
    tensors: bool,
    #[command(flatten)]
    model: ModelArgs,
}

/// Longest value in the table, in characters.
const VALUE_CHARS_MAX: usize = 72;
/// Most elements of an array in the table.
const ELEMENTS_MAX: usize = 6;

impl Inspect {
    pub(super) fn run(mut self, session: &Session) -> anyhow::Result<()> {
        if let Some(file) = self.file.take() {
            self.model.model = Some(file);
        }
        let gguf = self.model.gguf(&session.config)?;
        if session.json {
            let (metadata, tensors) = (!self.tensors, !self.metadata);
            return console::print_json(&Report::of(&gguf, metadata, tensors));
        }
        let mut out = console::stdout();
        let all = !self.metadata && !self.tensors;
        if all {
            print_summary(&gguf, &mut out)?;
            writeln!(out)?;
        }
        if all || self.metadata {
            print_metadata(&gguf, &mut out)?;
        }
        if all {
            writeln!(out)?;
        }
        if all || self.tensors {
            print_tensors(&gguf, &mut out)?;
        }
        out.flush()?;
        Ok(())
    }
}

/// What is said of a file as a whole.
#[derive(Serialize)]
struct Summary<'a> {
    file: Option<String>,
    architecture: Option<&'a str>,
    name: Option<&'a str>,
    bytes: u64,
    parameters: u64,
    tensor_bytes: u64,
    bits_per_weight: Option<f64>,
}

impl<'a> Summary<'a> {
    fn of(gguf: &'a Gguf) -> Self {
        let text = |key| gguf.metadata().get(key).and_then(Value::as_str);
        let parameters = gguf.tensors().iter().map(|t| t.values() as u64).sum();
        let tensor_bytes = gguf.tensors().iter().map(|t| t.bytes as u64).sum();
        Self {
            file: gguf.path().map(|path| path.display().to_string()),
            architecture: text("general.architecture"),
            name: text("general.name"),
            bytes: gguf.total_bytes(),
            parameters,
            tensor_bytes,
            bits_per_weight: (parameters > 0)
                .then(|| tensor_bytes as f64 * 8.0 / parameters as f64),
        }
    }
}

fn print_summary(gguf: &Gguf, out: &mut impl Write) -> io::Result<()> {
    let summary = Summary::of(gguf);
    let mut line = |name: &str, value: &str| {
        let value = Printable::start(value, 4 * VALUE_CHARS_MAX);
        writeln!(out, "{name:<16}{value}")
    };
    line(
        "file",
        summary.file.as_deref().unwrap_or("the bundled model"),
    )?;
    line("architecture", summary.architecture.unwrap_or("not said"))?;
    line("name", summary.name.unwrap_or("not said"))?;
    line("size", &units::bytes(summary.bytes))?;
    line("parameters", &units::count(summary.parameters))?;
    if let Some(bits) = summary.bits_per_weight {
        line("bits per weight", &format!("{bits:.2}"))?;
    }
    Ok(())
}

fn print_metadata(gguf: &Gguf, out: &mut impl Write) -> io::Result<()> {
    let mut table = Table::new([
        ("KEY", Align::Left),
        ("TYPE", Align::Left),
        ("VALUE", Align::Left),
    ]);
    for (key, value) in gguf.metadata().iter() {
        table.push([
            Printable::line(key).to_string(),
            type_name(value),
            abbreviated(value),
        ]);
    }
    table.print(out)
}

fn print_tensors(gguf: &Gguf, out: &mut impl Write) -> io::Result<()> {
    let mut table = Table::new([
        ("TENSOR", Align::Left),
        ("TYPE", Align::Left),
        ("SHAPE", Align::Right),
        ("BYTES", Align::Right),
    ]);
    for tensor in gguf.tensors() {
        let dims: Vec<String> = tensor.dims.iter().map(usize::to_string).collect();
        table.push([
            Printable::line(&tensor.name).to_string(),
            tensor.format.name().into(),
            dims.join(" x "),
            units::bytes(tensor.bytes as u64),
        ]);
    }
    table.print(out)?;
    writeln!(out)?;
    let mut table = Table::new([
        ("TYPE", Align::Left),
        ("TENSORS", Align::Right),
        ("VALUES", Align::Right),
        ("BYTES", Align::Right),
    ]);
    for total in totals(gguf) {
        table.push([
            total.format.into(),
            total.tensors.to_string(),
            units::count(total.values),
            units::bytes(total.bytes),
        ]);
    }
    table.print(out)
}

/// What the tensors of one type come to.
#[derive(Serialize)]
struct Total {
    #[serde(rename = "type")]
    format: &'static str,
    tensors: u64,
    values: u64,
    bytes: u64,
}

/// Totals per type, the largest first.
fn totals(gguf: &Gguf) -> Vec<Total> {
    let mut totals = BTreeMap::new();
    for tensor in gguf.tensors() {
        let format: Format = tensor.format;
        let total = totals.entry(format.ggml_type()).or_insert(Total {
            format: format.name(),
            tensors: 0,
            values: 0,
            bytes: 0,
        });
        total.tensors += 1;
        total.values += tensor.values() as u64;
        total.bytes += tensor.bytes as u64;
    }
    let mut totals: Vec<Total> = totals.into_values().collect();
    totals.sort_by_key(|total| std::cmp::Reverse(total.bytes));
    totals
}

/// GGUF's name of a value's type, an array with its length: `u32[3]`.
fn type_name(value: &Value) -> String {
    match value {
        Value::Array(array) => array_type(array),
        scalar => scalar.type_name().into(),
    }
}

fn array_type(array: &Array) -> String {
    let element = match array {
        Array::U8(_) => "u8",
        Array::I8(_) => "i8",
        Array::U16(_) => "u16",
        Array::I16(_) => "i16",
        Array::U32(_) => "u32",
        Array::I32(_) => "i32",
        Array::U64(_) => "u64",
        Array::I64(_) => "i64",
        Array::F32(_) => "f32",
        Array::F64(_) => "f64",
        Array::Bool(_) => "bool",
        Array::String(_) => "string",
        Array::Array(_) => "array",
    };
    format!("{element}[{}]", array.len())
}

/// A value on one line, cut where it is long.
fn abbreviated(value: &Value) -> String {
    let shown = match value {
        Value::U8(v) => v.to_string(),
        Value::I8(v) => v.to_string(),
        Value::U16(v) => v.to_string(),
        Value::I16(v) => v.to_string(),
        Value::U32(v) => v.to_string(),
        Value::I32(v) => v.to_string(),
        Value::U64(v) => v.to_string(),
        Value::I64(v) => v.to_string(),
        Value::F32(v) => v.to_string(),
        Value::F64(v) => v.to_string(),
        Value::Bool(v) => v.to_string(),
        Value::String(v) => return Printable::start(v, VALUE_CHARS_MAX).to_string(),
        Value::Array(array) => {
            let first = (0..ELEMENTS_MAX).map_while(|index| array.get(index));
            let mut elements: Vec<String> = first
                .map(|element| match element {
                    Value::Array(inner) => array_type(&inner),
                    scalar => abbreviated(&scalar),
                })
                .collect();
            if array.len() > ELEMENTS_MAX {
                elements.push("…".into());
            }
            format!("[{}]", elements.join(", "))
        }
    };
    Printable::start(&shown, VALUE_CHARS_MAX).to_string()
}

/// All of a file's description.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    summary: Summary<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<JsonMetadata<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tensors: Option<Vec<JsonTensor<'a>>>,
    types: Vec<Total>,
}

impl<'a> Report<'a> {
    fn of(gguf: &'a Gguf, metadata: bool, tensors: bool) -> Self {
        Self {
            summary: Summary::of(gguf),
            metadata: metadata.then_some(JsonMetadata(gguf)),
            tensors: tensors.then(|| gguf.tensors().iter().map(JsonTensor::of).collect()),
            types: totals(gguf),
        }
    }
}

#[derive(Serialize)]
struct JsonTensor<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    format: &'static str,
    shape: &'a [usize],
    offset: usize,
    bytes: usize,
    part: u16,
}

impl<'a> JsonTensor<'a> {
    fn of(tensor: &'a TensorInfo) -> Self {
        Self {
            name: &tensor.name,
            format: tensor.format.name(),
            shape: &tensor.dims,
            offset: tensor.offset,
            bytes: tensor.bytes,
            part: tensor.part,
        }
    }
}

struct JsonMetadata<'a>(&'a Gguf);

impl Serialize for JsonMetadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let metadata = self.0.metadata();
        let mut map = serializer.serialize_map(Some(metadata.len()))?;
        for (key, value) in metadata.iter() {
            map.serialize_entry(key, &TypedValue::of(value))?;
        }
        map.end()
    }
}

#[derive(Serialize)]
struct TypedValue<'a> {
    #[serde(rename = "type")]
    type_name: String,
    value: JsonValue<'a>,
}

impl<'a> TypedValue<'a> {
    fn of(value: &'a Value) -> Self {
        Self {
            type_name: type_name(value),
            value: JsonValue(value),
        }
    }
}

/// A value in JSON; floats that JSON does not have are null.
struct JsonValue<'a>(&'a Value);

impl Serialize for JsonValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::U8(v) => v.serialize(serializer),
            Value::I8(v) => v.serialize(serializer),
            Value::U16(v) => v.serialize(serializer),
            Value::I16(v) => v.serialize(serializer),
            Value::U32(v) => v.serialize(serializer),
            Value::I32(v) => v.serialize(serializer),
            Value::U64(v) => v.serialize(serializer),
            Value::I64(v) => v.serialize(serializer),
            Value::F32(v) => v.serialize(serializer),
            Value::F64(v) => v.serialize(serializer),
            Value::Bool(v) => v.serialize(serializer),
            Value::String(v) => v.serialize(serializer),
            Value::Array(v) => JsonArray(v).serialize(serializer),
        }
    }
}

struct JsonArray<'a>(&'a Array);

impl Serialize for JsonArray<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Array::U8(v) => v.serialize(serializer),
            Array::I8(v) => v.serialize(serializer),
            Array::U16(v) => v.serialize(serializer),
            Array::I16(v) => v.serialize(serializer),
            Array::U32(v) => v.serialize(serializer),
            Array::I32(v) => v.serialize(serializer),
            Array::U64(v) => v.serialize(serializer),
            Array::I64(v) => v.serialize(serializer),
            Array::F32(v) => v.serialize(serializer),
            Array::F64(v) => v.serialize(serializer),
            Array::Bool(v) => v.serialize(serializer),
            Array::String(v) => serializer.collect_seq(v.iter()),
            Array::Array(v) => serializer.collect_seq(v.iter().map(JsonArray)),
        }
    }
}
