//! Who may talk to whom: keys, certificates, enrolment.
//!
//! A node is its own certificate authority ([`Authority`]). It signs the
//! certificate it shows and those of the edges that it lets in; an edge trusts
//! that authority and no other. An edge is enrolled with a one-time
//! [`PairToken`], makes its key itself and keeps what it was given as an
//! [`Identity`]. Nothing here knows of sockets.

mod authority;
mod certificate;
mod client_tls;
mod enrolment;
mod error;
mod fingerprint;
mod folder;
mod identity;
mod name;
mod pair_token;
mod peer;
mod refused;
mod register;
mod revocations;
mod server_tls;
#[cfg(test)]
mod tests;
mod token_book;

pub use authority::{Authority, Validity};
pub use certificate::SERVER_NAME;
pub use client_tls::{link_client_tls, pair_client_tls, renew_client_tls};
pub use enrolment::{ENROL_BYTES_MAX, EnrolAnswer, EnrolRefusal, EnrolRequest, NewKey, Signed};
pub use error::TrustError;
pub use fingerprint::Fingerprint;
pub use identity::{Identities, Identity};
pub use name::ClientName;
pub use pair_token::{PairToken, PairTokenError};
pub use peer::Peer;
pub use refused::Refused;
pub use register::Client;
pub use server_tls::server_tls;
pub use token_book::{OUTSTANDING_MAX, WRONG_GUESSES_MAX};

/// The application protocol of a link: certificates on both sides.
pub const LINK_ALPN: &[u8] = b"outrigger/1";
/// The application protocol of enrolment and renewal.
pub const PAIR_ALPN: &[u8] = b"outrigger-pair/1";
