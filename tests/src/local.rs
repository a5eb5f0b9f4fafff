//! Running a model on this machine, for tests.

use outrigger_kernels::{cpu::isa::Isa, team::Team};
use outrigger_runtime::{
    gguf::Gguf,
    kv::{KvConfig, KvFormat, SequenceId},
    model::{Model, ModelOptions},
    stage::{Batch, Column, CpuStage, CpuStageConfig, Pipeline, Span, Stage, StageError},
    transcript::Class,
};
use std::{
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

/// How a test runs a model.
#[derive(Debug, Clone)]
pub struct Options {
    /// Positions a sequence may have.
    pub context: u32,
    /// How the KV cache is stored.
    pub kv: KvFormat,
    /// Threads in the team.
    pub threads: usize,
    /// The kernels' instruction set.
    pub isa: Isa,
    /// Sequences the cache has room for.
    pub sequences: usize,
    /// Before which layers to split the model into stages.
    pub splits: Vec<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            context: 512,
            kv: KvFormat::F32,
            threads: 2,
            isa: Isa::detect(),
            sequences: 2,
            splits: Vec::new(),
        }
    }
}

/// Loads a model file.
///
/// # Panics
///
/// When it cannot be loaded.
pub fn load(path: &Path, options: &Options) -> Arc<Model> {
    let gguf = Gguf::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let model_options = ModelOptions {
        context: Some(options.context),
        ..ModelOptions::default()
    };
    let model = Model::load(Arc::new(gguf), &model_options);
    Arc::new(model.unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

/// A pipeline of CPU stages over a whole model.
///
/// # Panics
///
/// When a stage cannot be made.
pub fn pipeline(model: &Arc<Model>, options: &Options) -> Pipeline {
    let team = Arc::new(Team::new(options.threads).expect("threads"));
    let mut bounds = vec![0];
    bounds.extend(&options.splits);
    bounds.push(model.layers.len());
    let last = bounds.len() - 2;
    let stages = bounds.windows(2).enumerate().map(|(index, bounds)| {
        let layers = bounds[0]..bounds[1];
        let shape = model.kv_shape(layers.clone());
        let kv = KvConfig::for_context(&shape, options.kv, options.context, options.sequences);
        let config = CpuStageConfig {
            span: Span {
                embed: index == 0,
                layers,
                head: index == last,
            },
            kv: kv.expect("a cache that fits"),
            columns_max: 512,
            isa: options.isa,
        };
        let stage = CpuStage::new(model.clone(), team.clone(), config).expect("a stage");
        Box::new(stage) as Box<dyn Stage>
    });
    Pipeline::new(stages.collect()).expect("stages that join")
}

/// Appends tokens to a sequence, in batches of `chunk`, and returns the logits
/// of each.
///
/// # Errors
///
/// When a pass fails.
pub fn logits(
    pipeline: &mut Pipeline,
    sequence: SequenceId,
    tokens: &[u32],
    class: Class,
    chunk: usize,
) -> Result<Vec<Vec<f32>>, StageError> {
    let mut rows = Vec::new();
    let vocab = pipeline.vocab();
    let start = pipeline.len(sequence).unwrap_or(0);
    let mut batch = Batch::default();
    for (index, tokens) in tokens.chunks(chunk).enumerate() {
        batch.clear();
        for (i, &token) in tokens.iter().enumerate() {
            let column = Column {
                sequence,
                position: start + (index * chunk + i) as u32,
                class,
                wanted: true,
            };
            batch.push(column, token);
        }
        pipeline.forward(&mut batch, &AtomicBool::new(false))?;
        rows.extend(batch.output.chunks_exact(vocab).map(<[f32]>::to_vec));
    }
    Ok(rows)
}

/// The index of the largest value, the first of several.
pub fn argmax(values: &[f32]) -> u32 {
    let mut best = 0;
    for (i, &value) in values.iter().enumerate() {
        if value > values[best] {
            best = i;
        }
    }
    best as u32
}
