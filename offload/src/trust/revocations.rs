//! The list of certificates that a node no longer takes.

use super::{Fingerprint, TrustError, certificate::Facts, folder::PrivateFolder};
use data_encoding::HEXLOWER;
use std::{
    collections::BTreeSet,
    fs, io,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

/// A line for each certificate: its fingerprint or its serial number in
/// hexadecimal digits, then what a person may want to read. `#` begins a
/// comment.
const FILE: &str = "revoked";

/// The list as it stands in its file, read again whenever the file changes.
#[derive(Debug)]
pub(super) struct Revocations {
    folder: PrivateFolder,
    read: Mutex<Read>,
}

#[derive(Debug, Default)]
struct Read {
    stamp: Option<Stamp>,
    certificates: BTreeSet<Vec<u8>>,
}

/// What changes when the file does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    /// A file that was replaced has another, however fast it went.
    inode: u64,
}

impl Revocations {
    pub(super) fn new(folder: PrivateFolder) -> Self {
        let read = Mutex::default();
        Self { folder, read }
    }

    /// Whether the list names a certificate.
    ///
    /// A list that cannot be read is an error: nobody can say then who was
    /// revoked.
    pub(super) fn names(&self, certificate: &Facts) -> Result<bool, TrustError> {
        let fingerprint = &certificate.fingerprint.0[..];
        self.with(|all| all.contains(fingerprint) || all.contains(&certificate.serial))
    }

    /// [`Revocations::names`], by fingerprint alone.
    pub(super) fn names_fingerprint(&self, fingerprint: &Fingerprint) -> Result<bool, TrustError> {
        self.with(|all| all.contains(&fingerprint.0[..]))
    }

    /// Adds certificates. The caller holds the folder's lock.
    pub(super) fn add<'a>(
        &self,
        certificates: impl Iterator<Item = (&'a Fingerprint, &'a str)>,
    ) -> Result<(), TrustError> {
        let mut text = self.folder.read(FILE)?.unwrap_or_default();
        parse(&text).map_err(|e| self.folder.damaged(FILE, e))?;
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        for (fingerprint, name) in certificates {
            text += &format!("{fingerprint} {name}\n");
        }
        self.folder.write(FILE, &text)
    }

    fn with<T>(&self, look: impl FnOnce(&BTreeSet<Vec<u8>>) -> T) -> Result<T, TrustError> {
        let stamp = self.stamp()?;
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.stamp != stamp {
            let text = self.folder.read(FILE)?.unwrap_or_default();
            read.certificates = parse(&text).map_err(|e| self.folder.damaged(FILE, e))?;
            read.stamp = stamp;
        }
        Ok(look(&read.certificates))
    }

    /// `None` where there is no file.
    fn stamp(&self) -> Result<Option<Stamp>, TrustError> {
        match fs::metadata(self.folder.path(FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.folder.failure(FILE, error)),
            Ok(data) => Ok(Some(Stamp {
                modified: data.modified().ok(),
                bytes: data.len(),
                inode: inode(&data),
            })),
        }
    }
}

#[cfg(unix)]
fn inode(data: &fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(data)
}

#[cfg(not(unix))]
fn inode(_: &fs::Metadata) -> u64 {
    0
}

fn parse(text: &str) -> Result<BTreeSet<Vec<u8>>, String> {
    let lines = text.lines().enumerate();
    let lines = lines.map(|(at, line)| (at, line.split('#').next().unwrap_or_default()));
    let words = lines.filter_map(|(at, line)| Some((at, line.split_whitespace().next()?)));
    words
        .map(|(at, word)| {
            let bytes = HEXLOWER.decode(word.to_ascii_lowercase().as_bytes());
            bytes.map_err(|_| {
                format!(
                    "line {} begins with neither a fingerprint nor a serial number",
                    at + 1
                )
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    fn facts(fill: u8) -> Facts {
        Facts {
            name: String::new(),
            serial: vec![fill; 16],
            fingerprint: Fingerprint([fill; 32]),
            from: UNIX_EPOCH,
            until: UNIX_EPOCH,
        }
    }

    #[test]
    fn the_file_is_read_again_when_it_changes() {
        let outer = tempfile::tempdir().unwrap();
        let folder = PrivateFolder::open(&outer.path().join("a")).unwrap();
        let list = Revocations::new(folder.clone());
        assert!(!list.names(&facts(1)).unwrap());
        list.add([(&Fingerprint([1; 32]), "anna")].into_iter())
            .unwrap();
        assert!(list.names(&facts(1)).unwrap());
        assert!(!list.names(&facts(2)).unwrap());

        let serial = HEXLOWER.encode(&[2; 16]);
        folder
            .write(FILE, &format!("# by hand\n\n{serial} # bob"))
            .unwrap();
        assert!(list.names(&facts(2)).unwrap());
        assert!(!list.names(&facts(1)).unwrap());
    }

    #[test]
    fn a_damaged_list_lets_nobody_in() {
        let outer = tempfile::tempdir().unwrap();
        let folder = PrivateFolder::open(&outer.path().join("a")).unwrap();
        let list = Revocations::new(folder.clone());
        folder.write(FILE, "anna\n").unwrap();
        let error = list.names(&facts(1)).unwrap_err();
        assert!(error.to_string().contains("line 1"), "{error}");
    }
}
