//! A decoder that is made when it is needed.

use outrigger_runtime::{
    decoder::{DecodeError, DecodeRequest, Decoded, Decoder, Provenance, Speculation},
    loaded::LoadError,
};

type Make = Box<dyn FnMut() -> Result<Box<dyn Decoder>, LoadError> + Send>;

/// Stands behind a node without taking memory: where a machine has but a part
/// of a model in use, the whole is laid out only once the node has failed.
pub struct LateDecoder {
    make: Make,
    made: Option<Box<dyn Decoder>>,
    context: u32,
    provenance: Provenance,
}

impl LateDecoder {
    /// A decoder that `make` makes, with this context and provenance.
    pub fn new(make: Make, context: u32, provenance: Provenance) -> Self {
        Self {
            make,
            made: None,
            context,
            provenance,
        }
    }
}

impl Decoder for LateDecoder {
    fn decode(
        &mut self,
        request: DecodeRequest<'_>,
        out: &mut Vec<Decoded>,
    ) -> Result<(), DecodeError> {
        let decoder = match &mut self.made {
            Some(made) => made,
            none => {
                let made =
                    (self.make)().map_err(|error| DecodeError::Elsewhere(Box::new(error)))?;
                none.insert(made)
            }
        };
        decoder.decode(request, out)
    }

    fn context(&self) -> u32 {
        self.context
    }

    fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    fn speculation(&self) -> Option<&Speculation> {
        self.made.as_ref()?.speculation()
    }
}
