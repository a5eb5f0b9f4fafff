//! The model that comes with the program, for use where none is named.

use outrigger_runtime::gguf::{Gguf, GgufError};

/// Bytes that begin where a tensor may: [`Gguf::from_static`] asks for a
/// multiple of 8, and whole cache lines are read best.
#[repr(C, align(64))]
struct Aligned<T: ?Sized>(T);

static MODEL: &Aligned<[u8]> = &Aligned(*include_bytes!("../assets/demo-target-q8_0.gguf"));

/// Opens it where it lies.
pub(crate) fn open() -> Result<Gguf, GgufError> {
    Gguf::from_static(&MODEL.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_model_that_runs() {
        let options = outrigger_runtime::model::ModelOptions::default();
        let model = outrigger_runtime::loaded::LoadedModel::from_gguf(open().unwrap(), &options);
        assert!(model.unwrap().model().parameters() > 0);
    }
}
