//! What every tensor becomes.

use super::{Encoder, ImportanceMatrix};
use crate::{
    gguf::{Format, Gguf, Metadata, MetadataError, TensorInfo, TensorShape, Value},
    model::mixture::{Mixture, MixtureModel},
};

/// The number of the way in which ggml stores blocks today
/// (`GGML_QNT_VERSION`).
const QUANTIZATION_VERSION: u32 = 2;

/// What a quantized file will hold.
#[derive(Debug)]
pub struct Plan<'a> {
    pub(super) gguf: &'a Gguf,
    pub(super) importance: Option<&'a ImportanceMatrix>,
    metadata: Metadata,
    tensors: Vec<PlannedTensor<'a>>,
}

/// What a tensor becomes.
#[derive(Debug, Clone, Copy)]
pub struct PlannedTensor<'a> {
    /// The tensor as it is.
    pub source: &'a TensorInfo,
    /// The format it will have; where it is the one it has, the bytes are
    /// copied.
    pub format: Format,
    /// How much each column matters, expert after expert.
    pub importance: Option<&'a [f32]>,
}

impl PlannedTensor<'_> {
    /// Whether the format is another than it was.
    pub fn changes(&self) -> bool {
        self.format != self.source.format
    }
}

/// Why a file cannot be quantized as asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// The metadata do not say what the choice of formats depends on.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// No sense without an importance matrix.
    #[error(
        "{mixture} needs an importance matrix, without which tensor `{tensor}` would be noise; \
         make one with llama-imatrix, or take a type of more bits such as Q3_K_S"
    )]
    NeedsImportance {
        /// The mixture asked for.
        mixture: &'static str,
        /// The first tensor that needs one.
        tensor: String,
    },
    /// An importance matrix of another model.
    #[error(
        "the importance matrix has {found} values for tensor `{tensor}`, which needs {needed}; \
         it was made for another model"
    )]
    Importance {
        /// The tensor.
        tensor: String,
        /// Values there are.
        found: usize,
        /// Columns of all its experts.
        needed: usize,
    },
    /// A tensor in a format that is to be made by someone else.
    #[error("tensor `{tensor}` would be {format}, for which there is no encoder here")]
    NoEncoder {
        /// The tensor.
        tensor: String,
        /// The format it would have.
        format: Format,
    },
}

impl<'a> Plan<'a> {
    /// Plans the quantization of `gguf` to `mixture` with blocks of `encoder`.
    ///
    /// The tensors will stand in the order in which llama.cpp writes them:
    /// those outside of layers first, then layer by layer, each by name. The
    /// metadata stay as they are but for `general.quantization_version` and
    /// `general.file_type`, which go to their end, and those of a split model,
    /// which go.
    pub fn new(
        gguf: &'a Gguf,
        mixture: Mixture,
        importance: Option<&'a ImportanceMatrix>,
        encoder: &impl Encoder,
    ) -> Result<Self, PlanError> {
        let model = model(gguf, importance.is_some())?;
        let mut tensors: Vec<_> = gguf.tensors().iter().collect();
        tensors.sort_by_cached_key(|tensor| (layer(&tensor.name), &tensor.name));
        let planned = tensors
            .into_iter()
            .map(|tensor| plan(tensor, mixture, &model, importance))
            .collect::<Result<Vec<_>, _>>()?;
        let missing = planned.iter().find(|tensor| {
            tensor.changes() && !encoder.supports(tensor.format, tensor.importance.is_some())
        });
        if let Some(tensor) = missing {
            return Err(PlanError::NoEncoder {
                tensor: tensor.source.name.to_string(),
                format: tensor.format,
            });
        }
        let mut metadata = Metadata::new();
        let replaced = ["general.quantization_version", "general.file_type"];
        for (key, value) in gguf.metadata().iter() {
            if !replaced.contains(&key) && !key.starts_with("split.") {
                metadata.insert(key, value.clone());
            }
        }
        for (key, value) in replaced
            .into_iter()
            .zip([QUANTIZATION_VERSION, mixture.file_type()])
        {
            metadata.insert(key, Value::U32(value));
        }
        Ok(Self {
            gguf,
            importance,
            metadata,
            tensors: planned,
        })
    }

    /// The tensors, in the order of the file.
    pub fn tensors(&self) -> &[PlannedTensor<'a>] {
        &self.tensors
    }

    /// Whether there is an importance matrix, and it says nothing about this
    /// tensor, although it could: it does not know the table of tokens, which
    /// nothing is multiplied with.
    pub fn lacks_importance(&self, tensor: &PlannedTensor<'_>) -> bool {
        let table = &*tensor.source.name == "token_embd.weight";
        self.importance.is_some() && tensor.changes() && tensor.importance.is_none() && !table
    }

    /// The metadata of the new file.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Names the importance matrix in the metadata, by the keys of
    /// `llama-quantize`; does nothing without one.
    pub fn record_importance(&mut self, file: &str) {
        let Some(importance) = self.importance else {
            return;
        };
        let entries = u32::try_from(importance.len()).unwrap_or(u32::MAX);
        let mut put = |key: &str, value| self.metadata.insert(key, value);
        put("quantize.imatrix.file", Value::String(file.into()));
        if let Some(dataset) = &importance.dataset {
            put(
                "quantize.imatrix.dataset",
                Value::String(dataset.as_str().into()),
            );
        }
        put("quantize.imatrix.entries_count", Value::U32(entries));
        if importance.chunks > 0 {
            put(
                "quantize.imatrix.chunks_count",
                Value::U32(importance.chunks),
            );
        }
    }

    pub(super) fn shapes(&self) -> Vec<TensorShape> {
        let shape = |tensor: &PlannedTensor<'_>| TensorShape {
            name: tensor.source.name.to_string(),
            dims: tensor.source.dims.to_vec(),
            format: tensor.format,
        };
        self.tensors.iter().map(shape).collect()
    }
}

/// What the choice of formats depends on. A file that holds no decoder has no
/// layers.
fn model(gguf: &Gguf, importance: bool) -> Result<MixtureModel, MetadataError> {
    let metadata = gguf.metadata();
    let architecture = metadata.str("general.architecture")?.unwrap_or_default();
    let number = |key: &str| {
        let number = metadata.u32(&format!("{architecture}.{key}"))?;
        Ok::<_, MetadataError>(number.map(|number| number as usize))
    };
    // Of counts that differ between layers, the first layer's.
    let heads = |key: &str| {
        let name = format!("{architecture}.{key}");
        let array = metadata.get(&name).and_then(Value::as_array);
        match array.and_then(|array| array.get(0)) {
            Some(first) => Ok(first.as_u64().and_then(|first| usize::try_from(first).ok())),
            None => number(key),
        }
    };
    let query = heads("attention.head_count")?.unwrap_or(1);
    let key = heads("attention.head_count_kv")?.unwrap_or(query);
    Ok(MixtureModel {
        layers: number("block_count")?.unwrap_or(0),
        experts: number("expert_count")?.unwrap_or(0),
        group: query.checked_div(key).unwrap_or(0),
        tied: gguf.tensor("output.weight").is_none(),
        importance,
    })
}

fn plan<'a>(
    tensor: &'a TensorInfo,
    mixture: Mixture,
    model: &MixtureModel,
    importance: Option<&'a ImportanceMatrix>,
) -> Result<PlannedTensor<'a>, PlanError> {
    let name = &*tensor.name;
    let dims = significant(&tensor.dims);
    if !Mixture::changes(name, dims) || !tensor.format.is_weight() {
        return Ok(PlannedTensor {
            source: tensor,
            format: tensor.format,
            importance: None,
        });
    }
    let format = mixture.format(name, dims, model);
    if format == tensor.format {
        return Ok(PlannedTensor {
            source: tensor,
            format,
            importance: None,
        });
    }
    let needed = tensor.row_len() * dims.iter().skip(2).product::<usize>();
    let values = importance.and_then(|importance| importance.get(name));
    let values = match values {
        // A text says nothing about the columns of a table of tokens.
        Some(values) if values.len() != needed && name == "token_embd.weight" => None,
        Some(values) if values.len() != needed => {
            return Err(PlanError::Importance {
                tensor: name.into(),
                found: values.len(),
                needed,
            });
        }
        values => values,
    };
    if values.is_none() && mixture.needs_importance(name, format) {
        return Err(PlanError::NeedsImportance {
            mixture: mixture.name(),
            tensor: name.into(),
        });
    }
    Ok(PlannedTensor {
        source: tensor,
        format,
        importance: values,
    })
}

/// The dimensions without those of size 1 at the end, which say nothing.
fn significant(dims: &[usize]) -> &[usize] {
    let end = dims
        .iter()
        .rposition(|&dim| dim != 1)
        .map_or(1, |at| at + 1);
    &dims[..end.min(dims.len())]
}

/// The layer of a tensor; those outside of layers come before all others.
fn layer(name: &str) -> Option<u32> {
    name.strip_prefix("blk.")?.split_once('.')?.0.parse().ok()
}
