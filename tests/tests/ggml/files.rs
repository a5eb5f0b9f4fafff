//! Choices of formats and whole files, byte for byte, against llama.cpp's
//! `llama-quantize`.
//!
//! `OUTRIGGER_LLAMA_QUANTIZE` names the program; without it nothing is
//! compared.

use crate::random::Random;
use outrigger_runtime::{
    ggml::Ggml,
    gguf::{Array, Format, Gguf, Metadata, TensorShape, Value, Writer},
    model::{
        mixture::Mixture,
        synthetic::{SyntheticFormats, SyntheticModel, SyntheticShape},
    },
    quantize::{ImportanceMatrix, Plan},
};
use std::{
    env, fs,
    io::BufWriter,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::Command,
};

fn program() -> Option<PathBuf> {
    let path = env::var_os("OUTRIGGER_LLAMA_QUANTIZE").map(PathBuf::from);
    if path.is_none() {
        eprintln!("skipped: OUTRIGGER_LLAMA_QUANTIZE does not name llama.cpp's llama-quantize");
    }
    path
}

/// Small shapes between which all choices of a mixture differ.
fn shapes() -> Vec<SyntheticShape> {
    let tiny = SyntheticShape {
        layers: 8,
        width: 256,
        ff: 256,
        heads: 4,
        kv_heads: 1,
        head_dim: 64,
        tied: true,
        ..SyntheticShape::preset("tiny").unwrap()
    };
    let experts = SyntheticShape {
        architecture: "qwen3moe",
        kv_heads: 4,
        tied: false,
        ..tiny.clone()
    };
    vec![
        SyntheticShape {
            kv_heads: 4,
            tied: false,
            ..tiny.clone()
        },
        SyntheticShape {
            architecture: "qwen2",
            layers: 3,
            width: 288,
            heads: 9,
            kv_heads: 3,
            head_dim: 32,
            ..tiny.clone()
        },
        SyntheticShape {
            layers: 2,
            experts: Some((4, 2)),
            ..experts.clone()
        },
        SyntheticShape {
            experts: Some((8, 2)),
            ..experts
        },
        tiny,
    ]
}

/// An importance matrix for every matrix of a model, as GGUF and as `.dat`.
fn importance(gguf: &Gguf, folder: &Path) -> [PathBuf; 2] {
    let mut random = Random(5);
    let mut metadata = Metadata::new();
    let dataset = Array::String(vec!["text.txt".into()]);
    metadata.insert("imatrix.datasets", Value::Array(dataset));
    metadata.insert("imatrix.chunk_count", Value::U32(10));
    metadata.insert("imatrix.chunk_size", Value::U32(512));
    let (mut shapes, mut data) = (Vec::new(), Vec::new());
    let matrices = gguf.tensors().iter().filter(|t| t.dims.len() >= 2);
    let mut dat = (matrices.clone().count() as i32).to_le_bytes().to_vec();
    for tensor in matrices {
        let experts: usize = tensor.dims.iter().skip(2).product();
        let count = tensor.row_len() * experts;
        let sums: Vec<f32> = (0..count).map(|_| random.even().powi(2) * 900.0).collect();
        // The last expert was never chosen.
        let counts = (0..experts).map(|e| {
            if e > 0 && e + 1 == experts {
                0.0
            } else {
                300.0
            }
        });
        for (suffix, values, cols) in [
            ("in_sum2", sums.clone(), tensor.row_len()),
            ("counts", counts.collect(), 1),
        ] {
            shapes.push(TensorShape {
                name: format!("{}.{suffix}", tensor.name),
                dims: vec![cols, experts],
                format: Format::F32,
            });
            data.extend(values.into_iter().flat_map(f32::to_le_bytes));
        }
        dat.extend((tensor.name.len() as i32).to_le_bytes());
        dat.extend(tensor.name.bytes());
        dat.extend(7_i32.to_le_bytes());
        dat.extend((sums.len() as i32).to_le_bytes());
        dat.extend(sums.into_iter().flat_map(f32::to_le_bytes));
    }
    dat.extend(10_i32.to_le_bytes());
    dat.extend(8_i32.to_le_bytes());
    dat.extend(b"text.txt");
    let paths = ["imatrix.gguf", "imatrix.dat"].map(|name| folder.join(name));
    let mut writer = Writer::new(Vec::new(), &metadata, &shapes).unwrap();
    writer.append(&data).unwrap();
    fs::write(&paths[0], writer.finish().unwrap()).unwrap();
    fs::write(&paths[1], dat).unwrap();
    paths
}

/// What a program said.
struct Said {
    success: bool,
    log: String,
}

fn quantize(program: &Path, arguments: &[&Path], mixture: Mixture) -> Said {
    let output = Command::new(program)
        .args(arguments)
        .args([mixture.name(), "2"])
        .output()
        .expect("llama-quantize can be started");
    let said = [output.stdout, output.stderr].concat();
    Said {
        success: output.status.success(),
        log: String::from_utf8_lossy(&said).into_owned(),
    }
}

/// The formats that a dry run names, by tensor. A line is
/// `[1/2] NAME - [SHAPE], type = f16, size = 1 MiB -> 0.5 MiB (q8_0)`, without
/// what follows the arrow where nothing changes.
fn formats(log: &str) -> Vec<(String, String)> {
    let lines = log.lines().filter(|line| line.starts_with('['));
    let formats = lines.filter_map(|line| {
        let (name, rest) = line.split_once("] ")?.1.split_once(" - [")?;
        let before = rest.split_once("type = ")?.1.split(',').next()?;
        let after = rest.split_once("-> ").and_then(|(_, after)| {
            let after = after.split_once('(')?.1;
            after.split(')').next()
        });
        let format = after.unwrap_or(before).trim().to_uppercase();
        Some((name.trim().to_owned(), format))
    });
    formats.collect()
}

/// Compares what would be chosen.
fn assert_same_formats(program: &Path, model: &Path, mixture: Mixture, importance: Option<&Path>) {
    let what = format!(
        "{} of {} with {importance:?}",
        mixture.name(),
        model.display()
    );
    let mut arguments = vec![Path::new("--dry-run")];
    arguments.extend(
        importance
            .into_iter()
            .flat_map(|path| [Path::new("--imatrix"), path]),
    );
    arguments.extend([model, Path::new("unwritten.gguf")]);
    let said = quantize(program, &arguments, mixture);
    assert!(said.success, "{what}: {}", said.log);
    let gguf = Gguf::open(model).unwrap();
    let matrix = importance.map(|path| ImportanceMatrix::open(path).unwrap());
    match Plan::new(&gguf, mixture, matrix.as_ref(), &Ggml) {
        Ok(plan) => {
            let ours: Vec<_> = plan
                .tensors()
                .iter()
                .map(|tensor| {
                    let format = tensor.format.name().to_owned();
                    (tensor.source.name.to_string(), format)
                })
                .collect();
            assert_eq!(ours, formats(&said.log), "{what}");
        }
        Err(refusal) => {
            assert!(importance.is_none(), "{what}: {refusal}");
            assert!(
                said.log.contains("will require an imatrix"),
                "{what}: {}",
                said.log
            );
        }
    }
}

/// Quantizes both ways and compares the files.
fn assert_same_file(program: &Path, model: &Path, mixture: Mixture, importance: Option<&Path>) {
    let what = format!(
        "{} of {} with {importance:?}",
        mixture.name(),
        model.display()
    );
    let theirs = model.with_extension("theirs");
    let mut arguments = Vec::new();
    arguments.extend(
        importance
            .into_iter()
            .flat_map(|path| [Path::new("--imatrix"), path]),
    );
    arguments.extend([model, &theirs]);
    let said = quantize(program, &arguments, mixture);
    assert!(said.success, "{what}: {}", said.log);

    let gguf = Gguf::open(model).unwrap();
    let matrix = importance.map(|path| ImportanceMatrix::open(path).unwrap());
    let mut plan = Plan::new(&gguf, mixture, matrix.as_ref(), &Ggml).unwrap();
    if let Some(path) = importance {
        plan.record_importance(path.to_str().unwrap());
    }
    let threads = NonZeroUsize::new(3).unwrap();
    let ours = plan.write(Vec::new(), &Ggml, threads, |_| true).unwrap();
    let theirs = fs::read(&theirs).unwrap();
    if ours != theirs {
        let differing = ours.iter().zip(&theirs).position(|(a, b)| a != b);
        panic!("{what}: byte {differing:?}; {}", said.log);
    }
}

/// Writes the model, and an importance matrix for it.
fn make(shape: &SyntheticShape, folder: &Path) -> (PathBuf, [PathBuf; 2]) {
    let model = folder.join("model.gguf");
    let formats = SyntheticFormats::Mixture(Mixture::F16);
    let synthetic = SyntheticModel::new(shape, &formats, 0).unwrap();
    let out = BufWriter::new(fs::File::create(&model).unwrap());
    synthetic.write(out).unwrap();
    let matrices = importance(&Gguf::open(&model).unwrap(), folder);
    (model, matrices)
}

/// The mixtures that it has names for, and that `shape` can be made of.
fn mixtures(shape: &SyntheticShape) -> impl Iterator<Item = Mixture> {
    // Where a row is not whole blocks of 128, no format is defined to take the
    // place of Q1_0.
    let odd = !shape.width.is_multiple_of(128);
    let named = move |mixture: &Mixture| match mixture {
        Mixture::NVFP4 => false,
        Mixture::Q1_0 => !odd,
        _ => true,
    };
    Mixture::ALL.into_iter().filter(named)
}

#[test]
fn formats_are_those_of_llama_quantize() {
    let Some(program) = program() else {
        return;
    };
    for shape in shapes() {
        let folder = tempfile::tempdir().unwrap();
        let (model, [gguf, _]) = make(&shape, folder.path());
        for mixture in mixtures(&shape) {
            assert_same_formats(&program, &model, mixture, None);
            assert_same_formats(&program, &model, mixture, Some(&gguf));
        }
    }
}

#[test]
fn files_are_those_of_llama_quantize() {
    let Some(program) = program() else {
        return;
    };
    // All formats on one layer, and on all shapes those that take no time.
    for mut shape in shapes() {
        let folder = tempfile::tempdir().unwrap();
        if shape.experts.is_none() && shape.tied {
            shape.layers = 1;
            let (model, [gguf, dat]) = make(&shape, folder.path());
            for mixture in mixtures(&shape) {
                assert_same_file(&program, &model, mixture, Some(&gguf));
            }
            assert_same_file(&program, &model, Mixture::Q4_K_M, Some(&dat));
            assert_same_file(&program, &model, Mixture::IQ2_XS, Some(&dat));
        }
        shape.layers = 2;
        let (model, [gguf, _]) = make(&shape, folder.path());
        for mixture in [
            Mixture::Q4_0,
            Mixture::Q8_0,
            Mixture::Q4_K_M,
            Mixture::Q6_K,
            Mixture::IQ4_XS,
            Mixture::BF16,
        ] {
            assert_same_file(&program, &model, mixture, None);
            assert_same_file(&program, &model, mixture, Some(&gguf));
        }
    }
}
