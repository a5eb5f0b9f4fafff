//! The model that comes with the program, for use where none is named, and a
//! smaller one that drafts for it.

use outrigger_runtime::gguf::{Gguf, GgufError};

/// Bytes that begin where a tensor may: [`Gguf::from_static`] asks for a
/// multiple of 8, and whole cache lines are read best.
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

static MODEL: &Aligned<[u8]> = &Aligned(*include_bytes!("../assets/demo-target-q8_0.gguf"));

static DRAFT: &Aligned<[u8]> = &Aligned(*include_bytes!("../assets/demo-draft-q8_0.gguf"));

/// Opens the model where it lies.
pub(crate) fn open() -> Result<Gguf, GgufError> {
    Gguf::from_static(&MODEL.0)
}

/// Opens its draft.
pub(crate) fn draft() -> Result<Gguf, GgufError> {
    Gguf::from_static(&DRAFT.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    use outrigger_runtime::{decoder::ModelDraft, loaded::LoadedModel, model::ModelOptions};

    #[test]
    fn they_are_models_that_run_and_share_a_vocabulary() {
        let load = |gguf: Result<Gguf, GgufError>| {
            LoadedModel::from_gguf(gguf.unwrap(), &ModelOptions::default()).unwrap()
        };
        let (model, draft) = (load(open()), load(draft()));
        assert!(model.model().parameters() > 4 * draft.model().parameters());
        ModelDraft::check_vocabulary(draft.tokenizer(), model.tokenizer()).unwrap();
    }
}
