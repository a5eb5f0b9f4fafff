//! Typed access to an architecture's metadata keys.

use super::ModelError;
use crate::gguf::{Array, Metadata, Value};

/// The metadata under `ARCHITECTURE.`.
pub(super) struct Keys<'a> {
    pub(super) metadata: &'a Metadata,
    pub(super) architecture: &'a str,
}

impl Keys<'_> {
    fn name(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.architecture)
    }

    /// An integer; `None` if the key is absent.
    pub(super) fn u32(&self, suffix: &str) -> Result<Option<u32>, ModelError> {
        Ok(self.metadata.u32(&self.name(suffix))?)
    }

    /// An integer of at least 1 that has to be there.
    pub(super) fn count(&self, suffix: &str) -> Result<usize, ModelError> {
        match self.u32(suffix)? {
            Some(0) => Err(self.bad(suffix, "0", "an integer of at least 1")),
            Some(n) => Ok(n as usize),
            None => Err(Metadata::missing(&self.name(suffix)).into()),
        }
    }

    /// A finite float; `None` if the key is absent.
    pub(super) fn f32(&self, suffix: &str) -> Result<Option<f32>, ModelError> {
        match self.metadata.f32(&self.name(suffix))? {
            Some(v) if !v.is_finite() => Err(self.bad(suffix, &v.to_string(), "a finite number")),
            v => Ok(v),
        }
    }

    /// A finite float above 0; `None` if the key is absent.
    pub(super) fn positive(&self, suffix: &str) -> Result<Option<f32>, ModelError> {
        match self.f32(suffix)? {
            Some(v) if v <= 0.0 => Err(self.bad(suffix, &v.to_string(), "a number above 0")),
            v => Ok(v),
        }
    }

    /// A finite float above 0; 0 and an absent key both mean "none", as
    /// converters write either.
    pub(super) fn factor(&self, suffix: &str) -> Result<Option<f32>, ModelError> {
        match self.f32(suffix)? {
            Some(0.0) => Ok(None),
            _ => self.positive(suffix),
        }
    }

    /// A string; `None` if the key is absent.
    pub(super) fn str(&self, suffix: &str) -> Result<Option<&str>, ModelError> {
        Ok(self.metadata.str(&self.name(suffix))?)
    }

    /// One integer of at least 1 per layer; the file has one for all, or an
    /// array. `None` if the key is absent.
    pub(super) fn per_layer(
        &self,
        suffix: &str,
        layers: usize,
    ) -> Result<Option<Vec<usize>>, ModelError> {
        let Some(value) = self.metadata.get(&self.name(suffix)) else {
            return Ok(None);
        };
        let Value::Array(array) = value else {
            return Ok(Some(vec![self.count(suffix)?; layers]));
        };
        if array.len() != layers {
            let value = format!("an array of {}", array.len());
            return Err(self.bad(suffix, &value, &format!("an array of {layers}")));
        }
        let wanted = "an array of integers of at least 1";
        let read = |i| {
            let n = array.get(i).and_then(|v| v.as_u64())?;
            usize::try_from(n)
                .ok()
                .filter(|&n| n > 0 && n <= u32::MAX as usize)
        };
        let counts: Option<Vec<usize>> = (0..layers).map(read).collect();
        counts
            .map(Some)
            .ok_or_else(|| self.bad(suffix, "something else", wanted))
    }

    /// An array; `None` if the key is absent or holds a single value.
    pub(super) fn array(&self, suffix: &str) -> Option<&Array> {
        self.metadata.get(&self.name(suffix))?.as_array()
    }

    pub(super) fn bad(&self, suffix: &str, value: &str, wanted: &str) -> ModelError {
        ModelError::BadValue {
            key: self.name(suffix),
            value: value.into(),
            wanted: wanted.into(),
        }
    }
}
