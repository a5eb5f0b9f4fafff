//! Reads the one kind of `.npy` file the fixtures use: little-endian float32
//! in C order (NumPy format 1.0 to 3.0, NEP 1).

use std::fs;
use std::path::Path;

/// A dense array as NumPy saved it.
#[derive(Debug, Clone, PartialEq)]
pub struct Npy {
    /// Extents, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Values in C order: the last index runs fastest.
    pub values: Vec<f32>,
}

impl Npy {
    /// Reads `path`.
    ///
    /// # Panics
    ///
    /// When the file cannot be read or is not a float32 array in C order; the
    /// message names the file.
    pub fn read(path: &Path) -> Npy {
        fs::read(path)
            .map_err(|error| error.to_string())
            .and_then(|bytes| Npy::parse(&bytes))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Parses the bytes of a `.npy` file.
    ///
    /// # Errors
    ///
    /// A sentence that says what is wrong with the bytes.
    pub fn parse(bytes: &[u8]) -> Result<Npy, String> {
        let rest = bytes
            .strip_prefix(b"\x93NUMPY")
            .ok_or("does not begin with the npy magic")?;
        let (header_len, rest) = match *rest {
            [1, 0, a, b, ref rest @ ..] => (u32::from(u16::from_le_bytes([a, b])), rest),
            [2 | 3, 0, a, b, c, d, ref rest @ ..] => (u32::from_le_bytes([a, b, c, d]), rest),
            _ => return Err("not version 1.0, 2.0 or 3.0 of the npy format".into()),
        };
        let (header, data) = usize::try_from(header_len)
            .ok()
            .and_then(|len| rest.split_at_checked(len))
            .ok_or("the header is cut short")?;
        let header = std::str::from_utf8(header).map_err(|_| "the header is not UTF-8")?;
        if field(header, "descr")? != "'<f4'" {
            return Err(format!("not little-endian float32: {}", header.trim()));
        }
        if field(header, "fortran_order")? != "False" {
            return Err("in Fortran order".into());
        }
        let shape = field(header, "shape")?
            .trim_matches(['(', ')'])
            .split(',')
            .map(str::trim)
            .filter(|extent| !extent.is_empty())
            .map(|extent| {
                extent
                    .parse()
                    .map_err(|_| format!("bad extent {extent:?} in the shape"))
            })
            .collect::<Result<Vec<usize>, String>>()?;
        let count = shape
            .iter()
            .try_fold(1usize, |count, &extent| count.checked_mul(extent))
            .ok_or("the shape overflows")?;
        if Some(data.len()) != count.checked_mul(4) {
            return Err(format!(
                "{} bytes of data do not fill shape {shape:?}",
                data.len()
            ));
        }
        let values = data
            .as_chunks::<4>()
            .0
            .iter()
            .map(|&value| f32::from_le_bytes(value))
            .collect();
        Ok(Npy { shape, values })
    }

    /// The values of row `index` of a two-dimensional array.
    ///
    /// # Panics
    ///
    /// When the array is not two-dimensional or has no such row.
    pub fn row(&self, index: usize) -> &[f32] {
        assert_eq!(self.shape.len(), 2, "shape {:?} has no rows", self.shape);
        &self.values[index * self.shape[1]..][..self.shape[1]]
    }
}

/// The text of one value of the header, which is a Python dict literal such
/// as `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`.
fn field<'a>(header: &'a str, key: &str) -> Result<&'a str, String> {
    let (_, value) = header
        .split_once(&format!("'{key}':"))
        .ok_or_else(|| format!("the header has no {key}"))?;
    let value = value.trim_start();
    let end = if value.starts_with('(') {
        value.find(')').map(|end| end + 1)
    } else {
        value.find([',', '}'])
    };
    end.map(|end| value[..end].trim_end())
        .ok_or_else(|| format!("the header ends inside {key}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, values: &[f32]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        bytes
    }

    #[test]
    fn reads_shape_and_values() {
        let bytes = file(
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n",
            &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        );
        let array = Npy::parse(&bytes).unwrap();
        assert_eq!(array.shape, [2, 3]);
        assert_eq!(array.row(1), [4.0, 5.0, 6.0]);
        let vector = file(
            "{'shape': (2,), 'fortran_order': False, 'descr': '<f4'}",
            &[1.0, 2.0],
        );
        assert_eq!(Npy::parse(&vector).unwrap().shape, [2]);
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for (header, values) in [
            (
                "{'descr': '<f8', 'fortran_order': False, 'shape': (1,)}",
                &[1.0, 2.0][..],
            ),
            (
                "{'descr': '<f4', 'fortran_order': True, 'shape': (1,)}",
                &[1.0],
            ),
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}",
                &[1.0],
            ),
            ("{'descr': '<f4', 'fortran_order': False}", &[1.0]),
        ] {
            assert!(Npy::parse(&file(header, values)).is_err(), "{header}");
        }
        assert!(Npy::parse(b"\x93NUMPY\x01\x00\xff\xff{").is_err());
    }
}
