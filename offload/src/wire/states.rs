//! Frames of hidden states: a header of fixed size, and the values as they
//! are.
//!
//! | bytes | meaning |
//! |---|---|
//! | 0..8 | as of every frame; the kind is [`STATES_UP`] or [`STATES_DOWN`] |
//! | 8..12 | epoch |
//! | 12..16 | position of the first column |
//! | 16..18 | columns |
//! | 18 | class of the columns: 0 prompt, 1 generated |
//! | 19 | format of the values: 0 f32, 1 bf16, 2 q8 |
//! | 20..24 | down: microseconds that the node took; up: 0 |
//! | 24..26 | down: generations in the pass; up: 0 |
//! | 26..28 | 0; a reader ignores them |
//! | 28.. | the columns, one after the other |

use super::{HEADER_BYTES, NumberFormat, PROTOCOL_VERSION, WireError};
use outrigger_runtime::transcript::Class;

/// The kind of a frame of states to a node.
pub const STATES_UP: u8 = 17;
/// The kind of a frame of states to an edge.
pub const STATES_DOWN: u8 = 81;

/// Bytes of a frame of states before its values.
pub const STATES_HEADER_BYTES: usize = 28;

/// What stands in that header behind what stands in all.
pub const STATES_FIELDS_BYTES: usize = STATES_HEADER_BYTES - HEADER_BYTES;

/// Most bytes of values in a frame. A column that is longer cannot cross.
pub const STATES_BYTES_MAX: usize = 1 << 20;

/// Most columns in a frame.
pub const STATES_COLUMNS_MAX: usize = 128;

/// What the ends of a stream of states have agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatesShape {
    /// Values in a column.
    pub width: usize,
    /// How they are written.
    pub format: NumberFormat,
    /// Most columns in a frame.
    pub columns_max: usize,
}

impl StatesShape {
    /// A shape with as many columns in a frame as there may be. `None` for a
    /// width of which not even one fits, and for none.
    pub fn new(width: usize, format: NumberFormat) -> Option<Self> {
        let fits = (1..=STATES_BYTES_MAX).contains(&width);
        let bytes = fits.then(|| format.column_bytes(width))?;
        let columns_max = (STATES_BYTES_MAX / bytes).min(STATES_COLUMNS_MAX);
        (columns_max > 0).then_some(Self {
            width,
            format,
            columns_max,
        })
    }

    /// Bytes of one column.
    pub fn column_bytes(&self) -> usize {
        self.format.column_bytes(self.width)
    }

    /// Most bytes of a frame behind the header that all frames have.
    pub fn body_bytes_max(&self) -> usize {
        STATES_FIELDS_BYTES + self.columns_max * self.column_bytes()
    }

    /// Appends the values of whole columns.
    pub fn read_values(&self, bytes: &[u8], out: &mut Vec<f32>) {
        for column in bytes.chunks_exact(self.column_bytes()) {
            self.format.read(column, self.width, out);
        }
    }
}

/// What the header of a frame of states says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatesHeader {
    /// Rises whenever the edge goes back.
    pub epoch: u32,
    /// Position of the first column.
    pub position: u32,
    /// Columns.
    pub columns: u16,
    /// Which kernels compute them.
    pub class: Class,
    /// From taking the columns to these: what the node itself took.
    pub took_us: u32,
    /// Generations that shared the pass, this one included; 0 upwards.
    pub sharing: u16,
}

impl StatesHeader {
    /// Makes `frame` the frame of these columns, whose values are as many as
    /// the header says.
    pub fn write(&self, kind: u8, shape: &StatesShape, values: &[f32], frame: &mut Vec<u8>) {
        debug_assert_eq!(values.len(), usize::from(self.columns) * shape.width);
        let bytes = STATES_FIELDS_BYTES + usize::from(self.columns) * shape.column_bytes();
        frame.clear();
        frame.reserve(HEADER_BYTES + bytes);
        frame.extend(PROTOCOL_VERSION.to_le_bytes());
        frame.extend([kind, 0]);
        frame.extend(u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes());
        frame.extend(self.epoch.to_le_bytes());
        frame.extend(self.position.to_le_bytes());
        frame.extend(self.columns.to_le_bytes());
        frame.extend([class_code(self.class), shape.format.code()]);
        frame.extend(self.took_us.to_le_bytes());
        frame.extend(self.sharing.to_le_bytes());
        frame.extend([0; 2]);
        for column in values.chunks_exact(shape.width) {
            shape.format.write(column, frame);
        }
    }

    /// Reads the fields of a frame whose body has `body_bytes` bytes, and
    /// holds them against what was agreed on. Nothing is allocated before.
    pub fn parse(
        fields: &[u8; STATES_FIELDS_BYTES],
        body_bytes: usize,
        shape: &StatesShape,
    ) -> Result<Self, WireError> {
        let [
            e0,
            e1,
            e2,
            e3,
            p0,
            p1,
            p2,
            p3,
            c0,
            c1,
            class,
            format,
            t0,
            t1,
            t2,
            t3,
            s0,
            s1,
            _,
            _,
        ] = *fields;
        let failed = |reason: String| WireError::Body {
            kind: "states",
            reason,
        };
        let columns = u16::from_le_bytes([c0, c1]);
        if !(1..=shape.columns_max).contains(&usize::from(columns)) {
            return Err(WireError::Limit {
                kind: "states",
                what: "columns",
                found: columns.into(),
                max: shape.columns_max,
            });
        }
        let found = NumberFormat::from_code(format)
            .ok_or_else(|| failed(format!("there is no format of values {format}")))?;
        if found != shape.format {
            let (found, agreed) = (found.name(), shape.format.name());
            return Err(failed(format!(
                "values in {found} where {agreed} was agreed on"
            )));
        }
        let wanted = STATES_FIELDS_BYTES + usize::from(columns) * shape.column_bytes();
        if body_bytes != wanted {
            let width = shape.width;
            return Err(failed(format!(
                "{columns} columns of width {width} take {wanted} bytes, and it has {body_bytes}"
            )));
        }
        Ok(Self {
            epoch: u32::from_le_bytes([e0, e1, e2, e3]),
            position: u32::from_le_bytes([p0, p1, p2, p3]),
            columns,
            class: class_of(class).ok_or_else(|| failed(format!("there is no class {class}")))?,
            took_us: u32::from_le_bytes([t0, t1, t2, t3]),
            sharing: u16::from_le_bytes([s0, s1]),
        })
    }

    /// The position behind the last column; past the last there is, the last.
    pub fn end(&self) -> u32 {
        self.position.saturating_add(self.columns.into())
    }
}

fn class_code(class: Class) -> u8 {
    match class {
        Class::Prompt => 0,
        Class::Generated => 1,
    }
}

fn class_of(code: u8) -> Option<Class> {
    match code {
        0 => Some(Class::Prompt),
        1 => Some(Class::Generated),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Header;
    use proptest::prelude::*;

    fn read(frame: &[u8], shape: &StatesShape) -> Result<(StatesHeader, Vec<f32>), WireError> {
        let (first, body) = frame.split_first_chunk().unwrap();
        let header = Header::parse_up_to(*first, shape.body_bytes_max())?;
        assert_eq!(header.body_bytes as usize, body.len());
        let (fields, bytes) = body.split_first_chunk().unwrap();
        let states = StatesHeader::parse(fields, body.len(), shape)?;
        let mut values = Vec::new();
        shape.read_values(bytes, &mut values);
        Ok((states, values))
    }

    fn header(columns: u16) -> StatesHeader {
        StatesHeader {
            epoch: 3,
            position: 70_000,
            columns,
            class: Class::Generated,
            took_us: 12_345,
            sharing: 2,
        }
    }

    proptest! {
        #[test]
        fn frames_are_read_as_they_were_written(
            width in 1..200_usize,
            columns in 1..5_u16,
            seed in any::<u64>(),
            scale in -30..30_i32,
        ) {
            let mut random = fastrand::Rng::with_seed(seed);
            let count = width * usize::from(columns);
            let value = |_| (random.f32() - 0.5) * 2_f32.powi(scale);
            let values: Vec<f32> = (0..count).map(value).collect();
            for format in NumberFormat::ALL {
                let shape = StatesShape::new(width, format).unwrap();
                let mut frame = Vec::new();
                header(columns).write(STATES_UP, &shape, &values, &mut frame);
                let (read, found) = read(&frame, &shape).unwrap();
                prop_assert_eq!(read, header(columns));
                prop_assert_eq!(found.len(), values.len());
                let columns = values.chunks(width).zip(found.chunks(width));
                let blocks = columns.flat_map(|(values, found)| values.chunks(32).zip(found.chunks(32)));
                for (values, found) in blocks {
                    let largest = values.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
                    for (&value, &found) in values.iter().zip(found) {
                        // Half a unit of the last of 8 bits; half a step of
                        // 127 to the block's largest, and the rounding of
                        // the three products on the way.
                        let most = match format {
                            NumberFormat::F32 => 0.0,
                            NumberFormat::Bf16 => value.abs() * 2_f32.powi(-8),
                            NumberFormat::Q8 => largest * (1.0 / 254.0 + 4.0 * f32::EPSILON),
                        };
                        let off = (found - value).abs();
                        prop_assert!(off <= most, "{}: {value}, {found}", format.name());
                    }
                }
            }
        }

        #[test]
        fn no_bytes_are_taken_that_were_not_agreed_on(
            bytes in prop::collection::vec(any::<u8>(), STATES_FIELDS_BYTES..200),
            width in 1..40_usize,
        ) {
            let shape = StatesShape::new(width, NumberFormat::F32).unwrap();
            let fields = bytes.first_chunk().unwrap();
            if let Ok(header) = StatesHeader::parse(fields, bytes.len(), &shape) {
                let values = bytes.len() - STATES_FIELDS_BYTES;
                prop_assert_eq!(values, usize::from(header.columns) * width * 4);
            }
        }
    }

    #[test]
    fn every_bit_of_an_f32_crosses() {
        let values = [
            f32::NAN,
            f32::INFINITY,
            -0.0,
            f32::from_bits(1),
            f32::from_bits(0x7f80_0001),
        ];
        let shape = StatesShape::new(5, NumberFormat::F32).unwrap();
        let mut frame = Vec::new();
        header(1).write(STATES_DOWN, &shape, &values, &mut frame);
        let (_, found) = read(&frame, &shape).unwrap();
        let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&found), bits(&values));
    }

    #[test]
    fn what_is_no_number_stays_none() {
        for format in [NumberFormat::Bf16, NumberFormat::Q8] {
            let shape = StatesShape::new(33, format).unwrap();
            let mut values = [1.0; 33];
            values[3] = f32::NAN;
            let mut frame = Vec::new();
            header(1).write(STATES_UP, &shape, &values, &mut frame);
            let (_, found) = read(&frame, &shape).unwrap();
            assert!(found[3].is_nan());
            assert_eq!(found[32], 1.0, "{}", format.name());
        }
    }

    #[test]
    fn what_was_not_agreed_on_is_refused_by_name() {
        let shape = StatesShape::new(8, NumberFormat::F32).unwrap();
        let mut frame = Vec::new();
        header(2).write(STATES_UP, &shape, &[0.5; 16], &mut frame);
        let refused = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut frame = frame.clone();
            change(&mut frame);
            read(&frame, &shape).unwrap_err().to_string()
        };
        let says = |error: String, what: &str| assert!(error.contains(what), "{error}");
        says(refused(&|f| f[16] = 0), "0 columns");
        says(refused(&|f| f[17] = 1), "258 columns");
        says(refused(&|f| f[16] = 1), "take 52 bytes");
        says(refused(&|f| f[18] = 2), "no class 2");
        says(refused(&|f| f[19] = 1), "bf16 where f32");
        says(refused(&|f| f[19] = 9), "no format of values 9");
        let long = shape.body_bytes_max() as u32 + 1;
        says(
            refused(&|f| f[4..8].copy_from_slice(&long.to_le_bytes())),
            "longer than",
        );
    }

    #[test]
    fn a_frame_stays_within_its_bounds() {
        assert_eq!(StatesShape::new(0, NumberFormat::F32), None);
        assert_eq!(StatesShape::new(usize::MAX, NumberFormat::Q8), None);
        assert_eq!(
            StatesShape::new((STATES_BYTES_MAX / 4) + 1, NumberFormat::F32),
            None
        );
        for width in [1, 2048, 8192, STATES_BYTES_MAX / 4] {
            let shape = StatesShape::new(width, NumberFormat::F32).unwrap();
            assert!(shape.columns_max >= 1);
            assert!(shape.body_bytes_max() <= STATES_BYTES_MAX + STATES_FIELDS_BYTES);
        }
    }
}
