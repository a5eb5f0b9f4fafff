//! Any bytes are a model with its tokenizer or are refused; what is a model
//! computes logits.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_kernels::{cpu::isa::Isa, team::Team};
use outrigger_runtime::{
    gguf::{Gguf, parse},
    kv::{KvConfig, KvFormat, SequenceId},
    model::{Model, ModelOptions},
    stage::{Batch, Column, CpuStage, CpuStageConfig, Pipeline, Span},
    tokenizer::{EncodeOptions, Tokenizer},
    transcript::Class,
};
use std::{
    fs,
    sync::{Arc, LazyLock, atomic::AtomicBool},
};

static TEAM: LazyLock<Arc<Team>> = LazyLock::new(|| Arc::new(Team::new(1).expect("a thread")));

const COLUMNS: u32 = 3;

fn forward(model: Arc<Model>) {
    let layers = model.layers.len();
    let kv = KvConfig::for_context(&model.kv_shape(0..layers), KvFormat::F16, model.context, 1);
    let Ok(kv) = kv else { return };
    let config = CpuStageConfig {
        span: Span::whole(layers),
        kv,
        columns_max: COLUMNS as usize,
        isa: Isa::detect(),
    };
    let vocab = model.vocab as u32;
    let Ok(stage) = CpuStage::new(model, TEAM.clone(), config) else {
        return;
    };
    let mut pipeline = Pipeline::new(vec![Box::new(stage)]).expect("a whole model");
    let sequence = SequenceId(0);
    pipeline.create(sequence).expect("the cache is empty");
    let mut batch = Batch::default();
    for position in 0..COLUMNS {
        let column = Column {
            sequence,
            position,
            class: Class::Prompt,
            wanted: true,
        };
        batch.push(column, position % vocab);
    }
    let result = pipeline.forward(&mut batch, &AtomicBool::new(false));
    result.expect("the context has room and the tokens exist");
    assert_eq!(batch.output.len(), COLUMNS as usize * vocab as usize);
}

fuzz_target!(|bytes: &[u8]| {
    if parse(bytes).is_err() {
        return;
    }
    // A map is what models are read from; a file is the way to it.
    let path = std::env::temp_dir().join(format!("outrigger-fuzz-{}.gguf", std::process::id()));
    fs::write(&path, bytes).expect("room for a temporary file");
    let gguf = Gguf::open(&path);
    fs::remove_file(&path).expect("the file is there");
    let Ok(gguf) = gguf else { return };
    if let Ok(tokenizer) = Tokenizer::from_metadata(gguf.metadata()) {
        if let Ok(ids) = tokenizer.encode("A b\u{e9}.\n 12", EncodeOptions::default()) {
            assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_len()));
        }
    }
    let options = ModelOptions {
        context: Some(32),
        ..ModelOptions::default()
    };
    if let Ok(model) = Model::load(Arc::new(gguf), &options) {
        forward(Arc::new(model));
    }
});
