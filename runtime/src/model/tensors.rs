//! Finding tensors by name and shape, and noticing those that nobody asked for.

use super::{ExpertMatrices, Linear, Matrix, ModelError, Norm, Vector};
use crate::gguf::{Gguf, TensorInfo};
use outrigger_kernels::format::dequantize;
use std::collections::HashSet;

pub(super) struct Tensors<'a> {
    gguf: &'a Gguf,
    architecture: &'a str,
    used: HashSet<&'a str>,
}

impl<'a> Tensors<'a> {
    pub(super) fn new(gguf: &'a Gguf, architecture: &'a str) -> Self {
        Self {
            gguf,
            architecture,
            used: HashSet::new(),
        }
    }

    /// The shape of a tensor, without counting it as used.
    pub(super) fn shape(&self, name: &str) -> Option<&'a [usize]> {
        self.gguf.tensor(name).map(|t| &*t.dims)
    }

    fn take(&mut self, name: &str) -> Option<&'a TensorInfo> {
        let tensor = self.gguf.tensor(name)?;
        self.used.insert(&tensor.name);
        Some(tensor)
    }

    fn missing(&self, name: &str) -> ModelError {
        ModelError::MissingTensor {
            name: name.into(),
            architecture: self.architecture.into(),
        }
    }

    /// A matrix of `rows` rows of `cols` values.
    pub(super) fn matrix(
        &mut self,
        name: &str,
        rows: usize,
        cols: usize,
    ) -> Result<Matrix, ModelError> {
        self.find_matrix(name, &[cols, rows])
    }

    fn find_matrix(&mut self, name: &str, dims: &[usize]) -> Result<Matrix, ModelError> {
        let tensor = self.take(name).ok_or_else(|| self.missing(name))?;
        check_shape(tensor, dims)?;
        if !tensor.format.is_weight() {
            return Err(ModelError::Format {
                name: name.into(),
                format: tensor.format.name(),
            });
        }
        let bytes = self.gguf.tensor_bytes(tensor);
        Matrix::new(bytes, tensor.format, tensor.rows(), tensor.row_len()).ok_or_else(|| {
            ModelError::Shape {
                name: name.into(),
                found: tensor.dims.to_vec(),
                wanted: dims.to_vec(),
            }
        })
    }

    /// `NAME.weight` of `experts` matrices in one stack.
    pub(super) fn experts(
        &mut self,
        name: &str,
        experts: usize,
        rows: usize,
        cols: usize,
    ) -> Result<ExpertMatrices, ModelError> {
        let name = format!("{name}.weight");
        let stack = self.find_matrix(&name, &[cols, rows, experts])?;
        ExpertMatrices::new(stack, experts).ok_or_else(|| self.missing(&name))
    }

    /// `NAME.weight`, and `NAME.bias` where there is one.
    pub(super) fn linear(
        &mut self,
        name: &str,
        rows: usize,
        cols: usize,
    ) -> Result<Linear, ModelError> {
        Ok(Linear {
            weight: self.matrix(&format!("{name}.weight"), rows, cols)?,
            bias: self.vector(&format!("{name}.bias"), &[rows])?,
        })
    }

    /// A vector of the given shape as f32, if the tensor is there.
    pub(super) fn vector(
        &mut self,
        name: &str,
        dims: &[usize],
    ) -> Result<Option<Vector>, ModelError> {
        let Some(tensor) = self.take(name) else {
            return Ok(None);
        };
        check_shape(tensor, dims)?;
        let mut values = vec![0.0; tensor.values()];
        dequantize(tensor.format, self.gguf.bytes(tensor), &mut values).map_err(|_| {
            ModelError::Format {
                name: name.into(),
                format: tensor.format.name(),
            }
        })?;
        Ok(Some(values.into()))
    }

    /// `NAME.weight` and its bias, if the tensor is there.
    pub(super) fn optional_norm(
        &mut self,
        name: &str,
        dims: &[usize],
    ) -> Result<Option<Norm>, ModelError> {
        let Some(weight) = self.vector(&format!("{name}.weight"), dims)? else {
            return Ok(None);
        };
        let bias = self.vector(&format!("{name}.bias"), dims)?;
        Ok(Some(Norm { weight, bias }))
    }

    /// `NAME.weight` and its bias.
    pub(super) fn norm(&mut self, name: &str, dims: &[usize]) -> Result<Norm, ModelError> {
        self.optional_norm(name, dims)?
            .ok_or_else(|| self.missing(&format!("{name}.weight")))
    }

    /// Says which tensor nobody asked for, if there is one.
    pub(super) fn finish(self) -> Result<(), ModelError> {
        let mut tensors = self.gguf.tensors().iter();
        match tensors.find(|t| !self.used.contains(&*t.name)) {
            Some(tensor) => Err(ModelError::UnusedTensor {
                name: tensor.name.to_string(),
                architecture: self.architecture.into(),
            }),
            None => Ok(()),
        }
    }
}

fn check_shape(tensor: &TensorInfo, wanted: &[usize]) -> Result<(), ModelError> {
    let used = |dims: &[usize]| dims.iter().rposition(|&d| d != 1).map_or(0, |i| i + 1);
    // Trailing dimensions of 1 say nothing.
    if tensor.dims[..used(&tensor.dims)] == wanted[..used(wanted)] {
        return Ok(());
    }
    Err(ModelError::Shape {
        name: tensor.name.to_string(),
        found: tensor.dims.to_vec(),
        wanted: wanted.to_vec(),
    })
}
