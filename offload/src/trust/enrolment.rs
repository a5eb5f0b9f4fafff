//! What an edge asks of a node's authority, and the answers.

use super::{ClientName, TrustError, certificate};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519, PublicKeyData as _};
use serde::{Deserialize, Serialize};

/// The most bytes of a request or an answer, encoded.
pub const ENROL_BYTES_MAX: usize = 8 * 1024;

/// Asks for a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnrolRequest {
    /// A first one, in exchange for a token.
    First {
        /// The token's id.
        id: u32,
        /// The token's secret.
        secret: [u8; 16],
        /// What the client wants to be called; the node cleans it.
        name: String,
        /// The signing request, DER.
        csr: Vec<u8>,
    },
    /// A new one before the one shown on this connection ends.
    Renewal {
        /// The signing request, DER.
        csr: Vec<u8>,
    },
}

/// What the authority says to an [`EnrolRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnrolAnswer {
    /// A certificate.
    Signed(Signed),
    /// None, and why.
    Refused(EnrolRefusal),
}

/// A certificate for a client, and what it stands on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// The client's certificate, DER.
    pub certificate: Vec<u8>,
    /// The authority's own as it stands now, DER.
    pub authority: Vec<u8>,
}

/// Why an authority gives no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum EnrolRefusal {
    /// No such token was handed out, or it was long ago.
    #[error("the node does not know this pairing token; ask for a new one")]
    UnknownToken,
    /// The token exists with another secret.
    #[error("the pairing token's secret is wrong")]
    WrongSecret,
    /// The token has enrolled a client already.
    #[error("the pairing token was used already; ask for a new one")]
    Used,
    /// The token's time is over.
    #[error("the pairing token has expired; ask for a new one")]
    Expired,
    /// Too many wrong secrets were tried.
    #[error("the pairing token was locked after too many wrong guesses; ask for a new one")]
    Locked,
    /// The name has nothing left after cleaning.
    #[error("the name has no letter or digit")]
    BadName,
    /// The signing request is malformed, or its key is of another kind.
    #[error("the signing request is not one of an Ed25519 key")]
    BadRequest,
    /// Renewal on a connection without a certificate.
    #[error("a renewal needs a connection that shows the certificate to renew")]
    NoCertificate,
    /// The node keeps no more clients.
    #[error("the node has enrolled as many clients as it keeps")]
    Full,
    /// The client has renewed too often.
    #[error("this client holds as many certificates as one may; wait until some have ended")]
    TooManyRenewals,
    /// The node's own fault, which its log names.
    #[error("the node could not sign; its log says why")]
    Internal,
}

/// A key that an edge has made and that never leaves it.
pub struct NewKey {
    key: KeyPair,
    csr: Vec<u8>,
}

impl NewKey {
    /// Makes a key and the request to sign it.
    pub fn generate() -> Result<Self, TrustError> {
        let key = KeyPair::generate_for(&PKCS_ED25519)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let csr = params.serialize_request(&key)?.der().to_vec();
        Ok(Self { key, csr })
    }

    /// The signing request, DER.
    pub fn csr(&self) -> &[u8] {
        &self.csr
    }

    /// The private key, PEM.
    pub(super) fn pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// Whether a certificate is for this key.
    pub(super) fn fits(&self, certificate: &[u8]) -> bool {
        certificate::public_key(certificate).is_ok_and(|k| k == self.key.subject_public_key_info())
    }
}

impl std::fmt::Debug for NewKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewKey")
    }
}

/// The name of a request, cleaned.
pub(super) fn wanted_name(name: &str) -> Result<ClientName, EnrolRefusal> {
    name.parse().map_err(|_| EnrolRefusal::BadName)
}
