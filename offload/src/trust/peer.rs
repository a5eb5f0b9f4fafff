use super::{ClientName, Fingerprint, TrustError, certificate};
use rustls::pki_types::CertificateDer;

/// Who is at the other end of a link, as its certificate says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    /// The name it was enrolled under.
    pub name: ClientName,
    /// That of its certificate.
    pub fingerprint: Fingerprint,
}

impl Peer {
    /// The owner of a certificate, whose signature the caller has verified.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, TrustError> {
        let facts = certificate::read(certificate)?;
        Ok(Self {
            name: facts.name.parse()?,
            fingerprint: facts.fingerprint,
        })
    }

    /// The client at the other end of a connection that a node accepted;
    /// `None` where it showed no certificate, or none of a client.
    pub fn at(connection: &quinn::Connection) -> Option<Self> {
        Self::of(&Self::certificate_at(connection)?).ok()
    }

    /// The certificate that the other end showed and TLS verified.
    pub fn certificate_at(connection: &quinn::Connection) -> Option<CertificateDer<'static>> {
        let identity = connection.peer_identity()?;
        let chain = identity.downcast::<Vec<CertificateDer<'static>>>().ok()?;
        chain.into_iter().next()
    }
}
