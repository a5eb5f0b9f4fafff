//! The edge's model: a clock that knows the language.

use super::{Language, Times, compute::CONTEXT, memory::Memory, times::ms};
use outrigger_offload::Waiter;
use outrigger_runtime::decoder::{DecodeError, DecodeRequest, Decoded, Decoder, Provenance};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Decodes by waiting.
pub struct ClockDecoder {
    language: Language,
    times: Times,
    waiter: Waiter,
    memory: Memory,
    /// Whether it computes along while others decode, so that nothing is left
    /// to compute when it takes over.
    warm: bool,
    rebuilt_ms: Arc<AtomicU64>,
    provenance: Provenance,
}

impl ClockDecoder {
    /// A model that says `language` and takes `times`.
    pub fn new(language: Language, times: Times, waiter: Waiter, warm: bool) -> Self {
        Self {
            language,
            times,
            waiter,
            memory: Memory::default(),
            warm,
            rebuilt_ms: Arc::default(),
            provenance: provenance("local"),
        }
    }

    /// Milliseconds that it has computed what others had decoded.
    pub fn rebuilt_ms(&self) -> Arc<AtomicU64> {
        self.rebuilt_ms.clone()
    }
}

impl Decoder for ClockDecoder {
    fn decode(
        &mut self,
        request: DecodeRequest<'_>,
        out: &mut Vec<Decoded>,
    ) -> Result<(), DecodeError> {
        let transcript = request.transcript;
        if transcript.is_empty() {
            return Err(DecodeError::EmptyPrompt);
        }
        let rebuilt = match self.warm {
            true => Duration::ZERO,
            false => ms(self.times.prefill_local_ms) * (self.memory.behind(transcript) - 1),
        };
        let rebuilt_ms = rebuilt.as_millis() as u64;
        self.rebuilt_ms.fetch_add(rebuilt_ms, Ordering::Relaxed);
        let takes = rebuilt + ms(self.times.local_ms);
        self.waiter.wait(async { tokio::time::sleep(takes).await });
        self.memory.compute(transcript, transcript.len());
        out.extend(self.language.choose(transcript, &[]));
        Ok(())
    }

    fn context(&self) -> u32 {
        CONTEXT
    }

    fn provenance(&self) -> &Provenance {
        &self.provenance
    }
}

pub(super) fn provenance(source: &str) -> Provenance {
    Provenance {
        source: source.into(),
        model: "clock".into(),
        kernel_set: "clock".into(),
    }
}
