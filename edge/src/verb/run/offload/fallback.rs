//! The model that goes on where this machine has not the node's.

use outrigger_offload::{
    identity::{Hash, tokenizer_digest},
    remote::Fallback,
};
use outrigger_runtime::{
    decoder::{Decoder, LocalDecoder},
    gguf::Gguf,
    loaded::{LoadedModel, RunOptions},
    model::ModelOptions,
};
use std::path::Path;

/// Opens fallback models, whose tokens must mean the same.
pub(super) fn opener(options: RunOptions, tokenizer: Hash, context: u32) -> Fallback {
    Box::new(move |path| {
        let named = |what: String| format!("{path}: {what}");
        let gguf = Gguf::open(Path::new(path)).map_err(|e| e.to_string())?;
        if tokenizer_digest(gguf.metadata()) != tokenizer {
            let why = "it has another tokenizer than the model of the text";
            return Err(named(why.into()));
        }
        let wanted = ModelOptions {
            context: Some(context),
            ..ModelOptions::default()
        };
        let loaded = LoadedModel::from_gguf(gguf, &wanted).map_err(|e| named(e.to_string()))?;
        let decoder = LocalDecoder::new(&loaded, &options).map_err(|e| named(e.to_string()))?;
        Ok(Box::new(decoder) as Box<dyn Decoder>)
    })
}
