use std::{io, path::PathBuf};

/// Why keys, certificates or their files could not be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what its name says.
    #[error("{}: {what}; restore it from a copy, or remove it to begin anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Others may read what holds a private key.
    #[error(
        "{}: its mode is {mode:o}, so that others can read private keys; set it to {wanted:o}",
        path.display()
    )]
    Open {
        /// The file or folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The permission bits it should have.
        wanted: u32,
    },
    /// Certificates would hold for too short or too long.
    #[error("certificates may hold for an hour to a hundred years, and not for {} s", .0.as_secs())]
    Validity(std::time::Duration),
    /// A certificate or key could not be made.
    #[error("a certificate could not be made: {0}")]
    Make(#[from] rcgen::Error),
    /// Bytes that should be a certificate are none.
    #[error("what should be a certificate is none: {0}")]
    NotACertificate(String),
    /// TLS does not accept the keys or certificates.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    NoRandomness,
    /// No client has this name or fingerprint.
    #[error("no client is known as \"{0}\"; `list` shows those that are")]
    UnknownClient(String),
    /// Too many tokens wait to be used.
    #[error("{0} pairing tokens wait to be used already; use them or let them expire")]
    TooManyTokens(usize),
    /// A name has nothing left after cleaning.
    #[error("the name \"{0}\" has no letter or digit")]
    EmptyName(String),
    /// No identity is kept for a node.
    #[error("this machine is not paired with a node \"{0}\"; pair it first")]
    NotPaired(String),
}
