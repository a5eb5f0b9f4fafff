//! Every block format against gguf-py's reference values, bit for bit.

use std::collections::BTreeSet;
use std::fs;

use outrigger_kernels::format::{Format, dequantize};
use outrigger_tests::fixtures::fixtures;
use outrigger_tests::npy::Npy;

#[test]
fn dequantized_values_equal_the_reference() {
    let Some(folder) = fixtures().map(|fixtures| fixtures.join("quant_blocks")) else {
        return;
    };
    let names: BTreeSet<String> = fs::read_dir(&folder)
        .expect("quant_blocks can be listed")
        .map(|entry| entry.expect("quant_blocks can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "bin"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    assert!(names.len() >= 25, "only {names:?} in {}", folder.display());
    for name in names {
        let format = Format::from_name(&name)
            .unwrap_or_else(|| panic!("{name}.bin: no format of that name"));
        let blocks = fs::read(folder.join(format!("{name}.bin"))).expect("the file can be read");
        let reference = Npy::read(&folder.join(format!("{name}.npy")));
        let mut values = vec![0.0; reference.values.len()];
        dequantize(format, &blocks, &mut values).unwrap();
        for (i, (&value, &expected)) in values.iter().zip(&reference.values).enumerate() {
            assert!(
                equal(value, expected),
                "{name}, block {}, value {}: {value:e} instead of {expected:e}",
                i / format.block_len(),
                i % format.block_len()
            );
        }
    }
}

/// Bit for bit, up to the sign of zero and the payload of NaN.
fn equal(value: f32, expected: f32) -> bool {
    value.to_bits() == expected.to_bits()
        || value == 0.0 && expected == 0.0
        || value.is_nan() && expected.is_nan()
}
