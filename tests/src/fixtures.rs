//! Where the reference fixtures are.
//!
//! They are produced outside the repository and are too large for it; the
//! environment variable `OUTRIGGER_FIXTURES` names their folder.

use std::env;
use std::path::PathBuf;

/// The folder of the reference fixtures, or `None` when the caller should
/// skip: then a line on stderr has said so.
///
/// # Panics
///
/// When `CI` is set and `OUTRIGGER_FIXTURES` is not (a build server that tests
/// nothing must not be green), or when the variable names something that is
/// not a folder.
pub fn fixtures() -> Option<PathBuf> {
    let Some(folder) = env::var_os("OUTRIGGER_FIXTURES").map(PathBuf::from) else {
        assert!(
            env::var_os("CI").is_none(),
            "OUTRIGGER_FIXTURES is not set, and CI is: the reference fixtures are required here"
        );
        eprintln!("skipped: OUTRIGGER_FIXTURES does not name the folder of reference fixtures");
        return None;
    };
    assert!(
        folder.is_dir(),
        "OUTRIGGER_FIXTURES is {}, which is not a folder",
        folder.display()
    );
    Some(folder)
}
