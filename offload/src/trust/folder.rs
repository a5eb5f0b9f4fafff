use super::TrustError;
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

/// Far above what any file here grows to.
const FILE_BYTES_MAX: u64 = 4 << 20;
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// A folder that its owner alone may read, and so are its files.
#[derive(Debug, Clone)]
pub(super) struct PrivateFolder(PathBuf);

impl PrivateFolder {
    /// Opens the folder, made if missing.
    pub(super) fn open(path: &Path) -> Result<Self, TrustError> {
        let folder = Self(path.to_owned());
        make(path).map_err(|e| folder.failure("", e))?;
        check_mode(path, FOLDER_MODE, |e| folder.failure("", e))?;
        Ok(folder)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Keeps other processes out of the folder until the result is dropped.
    pub(super) fn lock(&self) -> Result<File, TrustError> {
        let lock = private_file(OpenOptions::new().write(true).create(true).truncate(false))
            .open(self.path("lock"))
            .and_then(|file| file.lock().map(|()| file));
        lock.map_err(|e| self.failure("lock", e))
    }

    /// The whole file, or `None` if there is none.
    pub(super) fn read(&self, name: &str) -> Result<Option<String>, TrustError> {
        let file = match File::open(self.path(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|e| self.failure(name, e))?,
        };
        let mut text = String::new();
        let read = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text);
        read.map_err(|e| self.failure(name, e))?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(self.damaged(name, format!("it is larger than {FILE_BYTES_MAX} bytes")));
        }
        Ok(Some(text))
    }

    /// [`PrivateFolder::read`], refused where others may read the file.
    pub(super) fn read_secret(&self, name: &str) -> Result<Option<String>, TrustError> {
        let path = self.path(name);
        if path.exists() {
            check_mode(&path, FILE_MODE, |e| self.failure(name, e))?;
        }
        self.read(name)
    }

    /// Replaces the file: a reader sees the old one or the new one, whole.
    pub(super) fn write(&self, name: &str, contents: &str) -> Result<(), TrustError> {
        let part = self.path(&format!(".{name}.{}", std::process::id()));
        let written = (|| {
            let mut options = OpenOptions::new();
            let mut file =
                private_file(options.write(true).create(true).truncate(true)).open(&part)?;
            file.write_all(contents.as_bytes())?;
            file.sync_all()?;
            fs::rename(&part, self.path(name))
        })();
        written.map_err(|error| {
            // It may never have been made.
            let _ = fs::remove_file(&part);
            self.failure(name, error)
        })
    }

    /// The names of the files that end so, without their end.
    pub(super) fn names(&self, end: &str) -> Result<Vec<String>, TrustError> {
        let entries = fs::read_dir(&self.0).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = entries.map_err(|e| self.failure("", e))?;
        let names = entries.iter().map(|e| e.file_name());
        let names = names.filter_map(|n| n.to_str()?.strip_suffix(end).map(str::to_owned));
        Ok(names.filter(|n| !n.starts_with('.')).collect())
    }

    pub(super) fn failure(&self, name: &str, source: io::Error) -> TrustError {
        let path = self.path(name);
        TrustError::File { path, source }
    }

    pub(super) fn damaged(&self, name: &str, what: impl ToString) -> TrustError {
        TrustError::Damaged {
            path: self.path(name),
            what: what.to_string(),
        }
    }
}

fn make(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, FOLDER_MODE);
    builder.create(path)
}

fn private_file(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, FILE_MODE);
    options
}

/// Refuses a file or folder whose mode allows more than `wanted`.
#[cfg(unix)]
fn check_mode(
    path: &Path,
    wanted: u32,
    failure: impl Fn(io::Error) -> TrustError,
) -> Result<(), TrustError> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(path).map_err(failure)?.permissions().mode() & 0o777;
    if mode & !wanted != 0 {
        let path = path.to_owned();
        return Err(TrustError::Open { path, mode, wanted });
    }
    Ok(())
}

/// Modes are a matter of Unix; elsewhere the profile's folder protects.
#[cfg(not(unix))]
fn check_mode(_: &Path, _: u32, _: impl Fn(io::Error) -> TrustError) -> Result<(), TrustError> {
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn folder_and_files_are_private_and_kept_so() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("node");
        let folder = PrivateFolder::open(&path).unwrap();
        folder.write("key", "secret").unwrap();
        let mode = |p: &Path| fs::metadata(p).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&folder.path("key"))), (0o700, 0o600));
        assert_eq!(
            fs::read_dir(&path).unwrap().count(),
            1,
            "nothing temporary stays"
        );

        fs::set_permissions(folder.path("key"), fs::Permissions::from_mode(0o644)).unwrap();
        let error = folder.read_secret("key").unwrap_err();
        assert!(
            matches!(error, TrustError::Open { mode: 0o644, .. }),
            "{error}"
        );
    }
}
