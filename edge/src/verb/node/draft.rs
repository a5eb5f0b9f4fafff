//! The model that guesses for a node's.

use crate::{bundled, config::DraftChoice, exit::Usage};
use outrigger_offload::node::NodeDraft;
use outrigger_runtime::{
    decoder::{ModelDraft, SharedDecoder},
    gguf::Gguf,
    loaded::{LoadedModel, RunOptions},
    model::ModelOptions,
};

/// The draft of this name for a model, with a context as long.
pub(super) fn open_draft(
    choice: &DraftChoice,
    target: &LoadedModel,
    options: &RunOptions,
) -> anyhow::Result<Option<NodeDraft>> {
    let gguf = match choice {
        DraftChoice::None => return Ok(None),
        DraftChoice::Ngram => {
            let why = "a node drafts with a model; `ngram` is for `run`";
            return Err(Usage(why.into()).into());
        }
        DraftChoice::Bundled => bundled::draft()?,
        DraftChoice::File(path) => Gguf::open(path)?,
    };
    let context = ModelOptions {
        context: Some(target.model().context),
        ..ModelOptions::default()
    };
    let draft = LoadedModel::from_gguf(gguf, &context)?;
    if let Err(mismatch) = ModelDraft::check_vocabulary(draft.tokenizer(), target.tokenizer()) {
        let (draft, target) = (draft.model().title(), target.model().title());
        return Err(Usage(format!("{draft} cannot draft for {target}: {mismatch}")).into());
    }
    Ok(Some(NodeDraft::new(SharedDecoder::new(&draft, options)?)))
}
