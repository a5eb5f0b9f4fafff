//! The importance matrix: how much each column of a weight matrix matters.
//!
//! llama.cpp's `llama-imatrix` sums the squares of what a matrix is multiplied
//! with over a text. Read are both of its files: GGUF, and the older `.dat`.

use crate::gguf::{Format, Gguf, GgufError, TensorInfo};
use outrigger_kernels::format::dequantize;
use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

/// Largest mean square that is taken for one.
pub const IMPORTANCE_MAX: f32 = 1e20;

const SUMS: &str = ".in_sum2";
const COUNTS: &str = ".counts";

/// Importances of the columns of many matrices, and where they come from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ImportanceMatrix {
    entries: HashMap<Box<str>, Vec<f32>>,
    /// The text it was computed on, if the file names it.
    pub dataset: Option<String>,
    /// How many chunks of the text were used; 0 if the file does not say.
    pub chunks: u32,
}

/// An importance matrix that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ImportanceError {
    /// The file cannot be read.
    #[error("{path} cannot be read: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file is a GGUF file that cannot be parsed.
    #[error(transparent)]
    Gguf(#[from] GgufError),
    /// The file is something else.
    #[error("{path} is not an importance matrix: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl ImportanceMatrix {
    /// Reads a file of `llama-imatrix`, GGUF or `.dat`.
    pub fn open(path: &Path) -> Result<Self, ImportanceError> {
        let read = |error| ImportanceError::Io {
            path: path.into(),
            error,
        };
        let malformed = |reason| ImportanceError::Malformed {
            path: path.into(),
            reason,
        };
        let mut magic = [0; 4];
        let mut file = fs::File::open(path).map_err(read)?;
        let gguf = io::Read::read_exact(&mut file, &mut magic).is_ok() && &magic == b"GGUF";
        if gguf {
            return Self::from_gguf(&Gguf::open(path)?).map_err(malformed);
        }
        Self::from_dat(&fs::read(path).map_err(read)?).map_err(malformed)
    }

    /// Reads the tensors `NAME.in_sum2` and `NAME.counts` of an opened file;
    /// the error is what is wrong with it.
    pub fn from_gguf(gguf: &Gguf) -> Result<Self, String> {
        let metadata = gguf.metadata();
        let datasets = metadata.strings("imatrix.datasets");
        let datasets = datasets.map_err(|error| error.to_string())?;
        let chunks = metadata.u32("imatrix.chunk_count");
        let chunks = chunks.map_err(|error| error.to_string())?;
        let (Some(datasets), Some(chunks)) = (datasets, chunks) else {
            return Err("it lacks the keys imatrix.datasets and imatrix.chunk_count".into());
        };
        let mut matrix = Self {
            entries: HashMap::new(),
            dataset: datasets.first().map(|name| name.to_string()),
            chunks,
        };
        for tensor in gguf.tensors() {
            let Some(name) = tensor.name.strip_suffix(SUMS) else {
                continue;
            };
            let counts = gguf.tensor(&format!("{name}{COUNTS}"));
            let counts = counts.ok_or_else(|| format!("`{name}{COUNTS}` is missing"))?;
            let mut sums = floats(gguf, tensor)?;
            let counts = floats(gguf, counts)?;
            if !sums.len().is_multiple_of(counts.len()) {
                return Err(format!("`{name}` has other counts than sums"));
            }
            let cols = sums.len() / counts.len();
            for (sums, count) in sums.chunks_mut(cols).zip(counts) {
                // Of an expert that was never chosen nothing is known.
                let count = count.round();
                let mean = |&sum: &f32| if count > 0.0 { sum / count } else { 1.0 };
                sums.iter_mut().for_each(|sum| *sum = mean(sum));
            }
            matrix.insert(name, sums)?;
        }
        matrix.whole()
    }

    /// Reads the older form; the error is what is wrong with it.
    ///
    /// A count of entries; for each its name, a number of calls and the values
    /// times that number; then the number of chunks and the text's name, which
    /// may be absent. Integers are i32 and strings follow their length.
    pub fn from_dat(bytes: &[u8]) -> Result<Self, String> {
        let mut rest = Dat(bytes);
        let count = rest.count("the number of entries")?;
        let mut matrix = Self::default();
        for _ in 0..count {
            let name = rest.string("a name")?;
            let calls = rest.integer("a number of calls")?;
            let values = rest.count("a number of values")?;
            let bytes = values.checked_mul(4).ok_or("a length overflows")?;
            let values = rest.take(bytes, "values")?.as_chunks::<4>().0.iter();
            let divisor = calls.max(1) as f32;
            let values = values.map(|bytes| f32::from_le_bytes(*bytes) / divisor);
            matrix.insert(&name, values.collect())?;
        }
        if !rest.0.is_empty() {
            let chunks = rest.integer("the number of chunks")?;
            matrix.chunks = u32::try_from(chunks).unwrap_or(0);
            if !rest.0.is_empty() {
                let dataset = rest.string("the name of the text")?;
                matrix.dataset = Some(dataset).filter(|name| !name.is_empty());
            }
        }
        matrix.whole()
    }

    fn insert(&mut self, name: &str, values: Vec<f32>) -> Result<(), String> {
        let valid = |value: &f32| (0.0..=IMPORTANCE_MAX).contains(value);
        if let Some(value) = values.iter().find(|value| !valid(value)) {
            return Err(format!(
                "`{name}` holds {value}, which is not a mean of squares"
            ));
        }
        match self.entries.insert(name.into(), values) {
            Some(_) => Err(format!("`{name}` occurs twice")),
            None => Ok(()),
        }
    }

    fn whole(self) -> Result<Self, String> {
        if self.entries.is_empty() {
            return Err("it has no entries".into());
        }
        Ok(self)
    }

    /// Importances of the columns of the matrix `name`: those of its first
    /// expert, then those of the second.
    pub fn get(&self, name: &str) -> Option<&[f32]> {
        self.entries.get(name).map(Vec::as_slice)
    }

    /// How many matrices it has values for; at least one.
    #[allow(clippy::len_without_is_empty)] // it never is
    pub fn len(&self) -> usize {
        self.entries.len()
    }
}

/// The values of a tensor that has to be F32.
fn floats(gguf: &Gguf, tensor: &TensorInfo) -> Result<Vec<f32>, String> {
    if tensor.format != Format::F32 {
        return Err(format!("`{}` is not F32", tensor.name));
    }
    let mut values = vec![0.0; tensor.values()];
    let decoded = dequantize(tensor.format, gguf.bytes(tensor), &mut values);
    decoded.map_err(|error| error.to_string())?;
    Ok(values)
}

/// What is left of a `.dat` file.
struct Dat<'a>(&'a [u8]);

impl<'a> Dat<'a> {
    fn take(&mut self, len: usize, what: &str) -> Result<&'a [u8], String> {
        let (taken, rest) = self
            .0
            .split_at_checked(len)
            .ok_or_else(|| format!("it ends inside {what}"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn integer(&mut self, what: &str) -> Result<i32, String> {
        let bytes = self.take(4, what)?;
        Ok(bytes.iter().rev().fold(0, |n, &b| n << 8 | i32::from(b)))
    }

    /// A number of things, of which there is one at least.
    fn count(&mut self, what: &str) -> Result<usize, String> {
        let count = usize::try_from(self.integer(what)?).ok();
        let count = count.filter(|&count| count > 0);
        count.ok_or_else(|| format!("{what} is not positive"))
    }

    fn string(&mut self, what: &str) -> Result<String, String> {
        let len = usize::try_from(self.integer(what)?);
        let len = len.map_err(|_| format!("the length of {what} is negative"))?;
        let text = std::str::from_utf8(self.take(len, what)?);
        Ok(text.map_err(|_| format!("{what} is not UTF-8"))?.to_owned())
    }
}
