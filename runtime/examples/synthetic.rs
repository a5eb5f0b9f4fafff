//! Writes a GGUF file of a real shape with random weights:
//!
//! ```text
//! cargo run --release -p outrigger-runtime --example synthetic -- llama-1b q8_0 FILE
//! ```

use outrigger_runtime::model::{
    mixture::Mixture,
    synthetic::{PRESETS, SyntheticFormats, SyntheticModel, SyntheticShape},
};
use std::{env, error::Error, fs::File, io::BufWriter};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [shape, quant, path] = &args[..] else {
        return Err("usage: synthetic SHAPE QUANT FILE".into());
    };
    let names = PRESETS.map(|(name, _)| name).join(", ");
    let shape = SyntheticShape::preset(shape)
        .ok_or_else(|| format!("no shape `{shape}`; there are {names}"))?;
    let mixture = Mixture::from_name(quant).ok_or_else(|| format!("no mixture `{quant}`"))?;
    let model = SyntheticModel::new(&shape, &SyntheticFormats::Mixture(mixture), 0)?;
    model.write(BufWriter::new(File::create(path)?))?;
    Ok(())
}
