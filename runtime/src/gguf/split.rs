//! Models split over several files, `NAME-00001-of-0000N.gguf`.

use std::path::{Path, PathBuf};

use super::error::GgufError;
use super::file::ReadPart;
use super::metadata::{Metadata, MetadataError};

const NUMBER_KEY: &str = "split.no";
const COUNT_KEY: &str = "split.count";
const TENSORS_KEY: &str = "split.tensors.count";

/// What a part says about itself.
struct Place {
    /// The part's number, from 0.
    number: u16,
    /// How many parts there are; more than one.
    count: u16,
}

/// The place of a part among the others; `None` if the model is not split.
fn place(metadata: &Metadata) -> Result<Option<Place>, String> {
    let read = |key| {
        let value = metadata.u32(key).map_err(|error| error.to_string())?;
        value
            .map(|value| {
                u16::try_from(value)
                    .map_err(|_| format!("metadata key `{key}` is {value}, more than 65535"))
            })
            .transpose()
    };
    let Some(count) = read(COUNT_KEY)?.filter(|&count| count > 1) else {
        return Ok(None);
    };
    let number = read(NUMBER_KEY)?.ok_or_else(|| Metadata::missing(NUMBER_KEY).to_string())?;
    if number >= count {
        return Err(format!(
            "metadata key `{NUMBER_KEY}` is {number}, but there are only {count} parts"
        ));
    }
    Ok(Some(Place { number, count }))
}

fn error(file: &ReadPart, reason: String) -> GgufError {
    GgufError::Split {
        file: file.part.label(),
        reason,
    }
}

/// Refuses one part of a split model where there can be no others.
pub(super) fn refuse(read: &ReadPart) -> Result<(), GgufError> {
    match place(&read.header.metadata) {
        Ok(None) => Ok(()),
        Ok(Some(Place { count, .. })) => Err(error(
            read,
            format!("this is one of {count} parts of a split model; merge them first"),
        )),
        Err(reason) => Err(error(read, reason)),
    }
}

/// All the parts of the model that `given`, read from `path`, belongs to.
pub(super) fn gather(
    path: &Path,
    given: ReadPart,
    mut open: impl FnMut(&Path) -> Result<ReadPart, GgufError>,
) -> Result<Vec<ReadPart>, GgufError> {
    let place_of =
        |read: &ReadPart| place(&read.header.metadata).map_err(|reason| error(read, reason));
    let Some(Place { number, count }) = place_of(&given)? else {
        return Ok(vec![given]);
    };
    let name = path.file_name().and_then(|name| name.to_str());
    let suffix = suffix(number, count);
    let Some(stem) = name.and_then(|name| name.strip_suffix(&suffix)) else {
        let reason = format!(
            "this is part {} of {count} of a split model, so its name must end in {suffix}",
            number + 1
        );
        return Err(error(&given, reason));
    };
    let mut given = Some(given);
    let mut parts = Vec::new();
    for at in 0..count {
        let read = match given.take_if(|_| at == number) {
            Some(given) => given,
            None => {
                let path = sibling(path, stem, at, count);
                if !path.exists() {
                    return Err(GgufError::MissingPart {
                        number: at + 1,
                        count,
                        path,
                    });
                }
                let read = open(&path)?;
                match place_of(&read)? {
                    Some(place) if place.number == at && place.count == count => read,
                    _ => {
                        let reason = format!(
                            "the file's metadata does not say that it is part {} of {count}",
                            at + 1
                        );
                        return Err(error(&read, reason));
                    }
                }
            }
        };
        parts.push(read);
    }
    check_tensors(&parts)?;
    Ok(parts)
}

fn suffix(number: u16, count: u16) -> String {
    format!("-{:05}-of-{count:05}.gguf", u32::from(number) + 1)
}

fn sibling(path: &Path, stem: &str, number: u16, count: u16) -> PathBuf {
    path.with_file_name(format!("{stem}{}", suffix(number, count)))
}

/// Holds the number of tensors found against the number announced.
fn check_tensors(parts: &[ReadPart]) -> Result<(), GgufError> {
    let Some(first) = parts.first() else {
        return Ok(());
    };
    let announced = first.header.metadata.u32(TENSORS_KEY);
    let announced = announced.map_err(|found: MetadataError| error(first, found.to_string()))?;
    let found: usize = parts.iter().map(|part| part.header.tensors.len()).sum();
    match announced {
        Some(announced) if announced as usize != found => Err(error(
            first,
            format!("the model should have {announced} tensors, but its parts hold {found}"),
        )),
        _ => Ok(()),
    }
}
