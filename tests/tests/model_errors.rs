//! Models that contradict themselves: each is refused in one sentence that
//! names the key or the tensor.

use outrigger_kernels::format::Format;
use outrigger_runtime::{
    gguf::{Array, Gguf, TensorShape, Value},
    kv::{KvConfig, KvFormat},
    model::{
        Model, ModelError, ModelOptions,
        synthetic::{SyntheticFormats, SyntheticModel, SyntheticShape},
    },
};
use std::{fs::File, io::BufWriter, sync::Arc};

fn tiny() -> SyntheticShape {
    SyntheticShape {
        width: 64,
        ff: 64,
        heads: 4,
        kv_heads: 2,
        head_dim: 16,
        ..SyntheticShape::preset("tiny").unwrap()
    }
}

fn with_experts() -> SyntheticShape {
    SyntheticShape {
        architecture: "qwen3moe",
        experts: Some((4, 2)),
        ..tiny()
    }
}

/// Loads the model of `shape` after a change to it.
fn load(
    shape: &SyntheticShape,
    change: impl FnOnce(&mut SyntheticModel),
) -> Result<Model, ModelError> {
    let formats = SyntheticFormats::all(Format::F32);
    let mut model = SyntheticModel::new(shape, &formats, 1).unwrap();
    change(&mut model);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    drop(
        model
            .write(BufWriter::new(File::create(&path).unwrap()))
            .unwrap(),
    );
    let gguf = Gguf::open(&path).unwrap();
    Model::load(Arc::new(gguf), &ModelOptions::default())
}

/// The refusal of a changed model, which must name all of `names`.
fn refused(shape: &SyntheticShape, names: &[&str], change: impl FnOnce(&mut SyntheticModel)) {
    let text = match load(shape, change) {
        Ok(_) => panic!("a model was loaded that should name {names:?}"),
        Err(error) => error.to_string(),
    };
    println!("{text}");
    for name in names {
        assert!(text.contains(name), "{name:?} is not in: {text}");
    }
    assert!(!text.contains('\n') && text.len() < 400, "{text}");
}

fn set(key: &str, value: Value) -> impl FnOnce(&mut SyntheticModel) {
    move |model| drop(model.metadata.insert(key, value))
}

/// Sets a key to an integer.
fn refuses_count(shape: &SyntheticShape, key: &str, value: u32, names: &[&str]) {
    refused(
        shape,
        &[&[key], names].concat(),
        set(key, Value::U32(value)),
    );
}

fn without_key(key: &str) -> impl FnOnce(&mut SyntheticModel) {
    move |model| {
        let kept = model.metadata.iter().filter(|(k, _)| *k != key);
        let mut metadata = outrigger_runtime::gguf::Metadata::new();
        for (key, value) in kept {
            metadata.insert(key, value.clone());
        }
        model.metadata = metadata;
    }
}

fn with_dims(name: &str, dims: &[usize]) -> impl FnOnce(&mut SyntheticModel) {
    move |model| {
        let tensor = model.tensors.iter_mut().find(|t| t.name == name);
        tensor.unwrap().dims = dims.into();
    }
}

#[test]
fn unchanged_they_load() {
    let model = load(&tiny(), |_| ()).unwrap();
    assert_eq!((model.layers.len(), model.vocab), (2, 320));
    load(&with_experts(), |_| ()).unwrap();
}

#[test]
fn every_tensor_is_needed() {
    for shape in [tiny(), with_experts()] {
        let formats = SyntheticFormats::all(Format::F32);
        let model = SyntheticModel::new(&shape, &formats, 1).unwrap();
        for (index, tensor) in model.tensors.iter().enumerate() {
            // A model without a head uses the embedding.
            refused(&shape, &[&tensor.name, "missing"], |model| {
                model.tensors.remove(index);
            });
        }
    }
}

#[test]
fn every_tensor_has_one_shape() {
    for shape in [tiny(), with_experts()] {
        let formats = SyntheticFormats::all(Format::F32);
        let model = SyntheticModel::new(&shape, &formats, 1).unwrap();
        for (index, tensor) in model.tensors.iter().enumerate() {
            for axis in 0..tensor.dims.len() {
                // The number of rows of the embedding is the vocabulary.
                if tensor.name == "token_embd.weight" && axis == 1 {
                    continue;
                }
                let dims = format!("{:?}", tensor.dims);
                refused(&shape, &[&tensor.name, &dims], |model| {
                    model.tensors[index].dims[axis] *= 2;
                });
            }
        }
    }
    refused(&tiny(), &["output.weight", "[64, 320]"], |model| {
        model.tensors.push(TensorShape {
            name: "output.weight".into(),
            dims: vec![64, 319],
            format: Format::F32,
        });
    });
    refused(
        &tiny(),
        &["blk.1.ffn_up.weight", "[4096]"],
        with_dims("blk.1.ffn_up.weight", &[4096]),
    );
}

#[test]
fn what_nobody_uses_is_not_passed_over() {
    for name in [
        "blk.0.attn_q_norm.weight",
        "blk.2.attn_norm.weight",
        "mtp.weight",
    ] {
        refused(&tiny(), &[name, "wrong results"], |model| {
            model.tensors.push(TensorShape {
                name: name.into(),
                dims: vec![64],
                format: Format::F32,
            });
        });
    }
}

#[test]
fn integers_are_no_weights() {
    // The writer makes no values of these: the bytes are made by hand.
    let formats = SyntheticFormats::all(Format::F32);
    for name in ["blk.0.attn_q.weight", "blk.0.attn_norm.weight"] {
        let model = SyntheticModel::new(&tiny(), &formats, 1).unwrap();
        let mut tensors = model.tensors;
        let tensor = tensors.iter_mut().find(|t| t.name == name).unwrap();
        tensor.format = Format::I32;
        let mut writer =
            outrigger_runtime::gguf::Writer::new(Vec::new(), &model.metadata, &tensors).unwrap();
        while let Some(tensor) = writer.next_tensor() {
            let zeros = vec![0; tensor.bytes];
            writer.append(&zeros).unwrap();
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        std::fs::write(&path, writer.finish().unwrap()).unwrap();
        let gguf = Gguf::open(&path).unwrap();
        let error = Model::load(Arc::new(gguf), &ModelOptions::default()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(name) && text.contains("I32"), "{text}");
    }
}

#[test]
fn an_architecture_has_to_be_known() {
    let key = "general.architecture";
    refused(
        &tiny(),
        &["`mamba`", "qwen3moe"],
        set(key, Value::String("mamba".into())),
    );
    refused(&tiny(), &[key, "missing"], without_key(key));
    refused(&tiny(), &[key, "u32"], set(key, Value::U32(1)));
}

#[test]
fn counts_are_there_and_not_zero() {
    for key in [
        "llama.context_length",
        "llama.embedding_length",
        "llama.block_count",
        "llama.feed_forward_length",
        "llama.attention.head_count",
    ] {
        refuses_count(&tiny(), key, 0, &["0", "at least 1"]);
        refused(&tiny(), &[key, "missing"], without_key(key));
        refused(
            &tiny(),
            &[key, "string"],
            set(key, Value::String("8".into())),
        );
        refused(&tiny(), &[key], set(key, Value::I32(-1)));
        refused(&tiny(), &[key], set(key, Value::U64(1 << 40)));
        refused(&tiny(), &[key], set(key, Value::F32(4.0)));
    }
    for key in [
        "llama.attention.head_count_kv",
        "llama.attention.key_length",
        "llama.attention.value_length",
    ] {
        refuses_count(&tiny(), key, 0, &["at least 1"]);
    }
    for key in [
        "qwen3moe.expert_used_count",
        "qwen3moe.expert_feed_forward_length",
    ] {
        refuses_count(&with_experts(), key, 0, &["at least 1"]);
    }
}

#[test]
fn sizes_without_measure_are_refused_before_they_are_used() {
    let most = u32::MAX;
    refuses_count(&tiny(), "llama.block_count", most, &["4096"]);
    refused(&tiny(), &["blk.4.attn_norm.weight"], |model| {
        set("llama.block_count", Value::U32(4096))(model);
        let layers: Vec<_> = model.tensors[1..10].to_vec();
        for layer in 2..4 {
            model.tensors.extend(layers.iter().map(|t| TensorShape {
                name: t.name.replace("blk.0", &format!("blk.{layer}")),
                ..t.clone()
            }));
        }
    });
    refused(&tiny(), &["blk.0.attn_q.weight"], |model| {
        for key in [
            "attention.key_length",
            "attention.head_count",
            "attention.head_count_kv",
        ] {
            set(&format!("llama.{key}"), Value::U32(most))(model);
        }
    });
    refused(
        &tiny(),
        &["blk.0.ffn_gate.weight"],
        set("llama.feed_forward_length", Value::U32(most)),
    );
    refused(
        &tiny(),
        &["token_embd.weight"],
        set("llama.embedding_length", Value::U32(most - 3)),
    );
    refused(
        &with_experts(),
        &["blk.0.ffn_gate_inp.weight"],
        set("qwen3moe.expert_count", Value::U32(most)),
    );
}

#[test]
fn heads_have_to_divide() {
    refuses_count(
        &tiny(),
        "llama.attention.head_count_kv",
        3,
        &["3", "4 heads"],
    );
    // A head's length that is not given is the width by the number of heads.
    refused(
        &tiny(),
        &["llama.attention.key_length", "missing"],
        |model| {
            without_key("llama.attention.key_length")(model);
            set("llama.attention.head_count", Value::U32(6))(model);
        },
    );
    let key = "llama.attention.head_count_kv";
    for (array, name) in [
        (Array::U32(vec![2]), "array of 1"),
        (Array::U32(vec![2, 0]), "at least 1"),
        (Array::I32(vec![2, -1]), "at least 1"),
        (Array::F32(vec![2.0, 2.0]), "integers"),
        (Array::U32(vec![2, 3]), "4 heads"),
    ] {
        refused(&tiny(), &[key, name], set(key, Value::Array(array)));
    }
}

#[test]
fn rotations_are_of_pairs_within_a_head() {
    let key = "llama.rope.dimension_count";
    refuses_count(&tiny(), key, 15, &["15", "even"]);
    refuses_count(&tiny(), key, 18, &["18", "16"]);
    refused(
        &tiny(),
        &["llama.rope.scaling.type", "`dynamic`"],
        set("llama.rope.scaling.type", Value::String("dynamic".into())),
    );
    refused(&tiny(), &["rope_factors_long"], |model| {
        model.tensors.push(TensorShape {
            name: "rope_factors_long.weight".into(),
            dims: vec![8],
            format: Format::F32,
        });
    });
    refused(&tiny(), &["rope_freqs.weight", "[8]"], |model| {
        model.tensors.push(TensorShape {
            name: "rope_freqs.weight".into(),
            dims: vec![7],
            format: Format::F32,
        });
    });
}

#[test]
fn factors_are_numbers_above_zero() {
    let eps = "llama.attention.layer_norm_rms_epsilon";
    for key in [eps, "llama.rope.freq_base", "llama.rope.scaling.factor"] {
        for value in [f32::NAN, f32::INFINITY, -1.0, 0.0] {
            refused(&tiny(), &[key], set(key, Value::F32(value)));
        }
        refused(&tiny(), &[key, "float"], set(key, Value::Bool(true)));
    }
    refused(&tiny(), &[eps, "missing"], without_key(eps));
}

#[test]
fn experts_are_chosen_among_those_there_are() {
    refuses_count(
        &with_experts(),
        "qwen3moe.expert_used_count",
        5,
        &["5", "4 experts"],
    );
    refused(
        &with_experts(),
        &["qwen3moe.expert_used_count", "missing"],
        without_key("qwen3moe.expert_used_count"),
    );
    refused(
        &with_experts(),
        &["blk.0.ffn_gate_inp.weight", "[64, 3]"],
        set("qwen3moe.expert_count", Value::U32(3)),
    );
}

#[test]
fn windows_are_said_for_each_layer_or_for_all() {
    let key = "llama.attention.sliding_window_pattern";
    for array in [
        Array::Bool(vec![true]),
        Array::String(vec!["a".into(), "b".into()]),
    ] {
        refused(&tiny(), &[key, "2 booleans"], set(key, Value::Array(array)));
    }
}

#[test]
fn a_context_of_any_length_costs_nothing_until_a_cache_is_made() {
    let model = load(&tiny(), set("llama.context_length", Value::U32(u32::MAX))).unwrap();
    assert_eq!(model.context, u32::MAX);
    // Four thousand million positions of 512 bytes, thousands of times over.
    let shape = model.kv_shape(0..2);
    let config = KvConfig::for_context(&shape, KvFormat::F32, model.context, 4096);
    let cache = config.and_then(|config| outrigger_runtime::kv::KvCache::new(shape, config));
    let text = cache.err().expect("petabytes").to_string();
    assert!(
        text.contains("4294967295") && text.contains("shorter context"),
        "{text}"
    );
}
