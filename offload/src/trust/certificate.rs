use super::{ClientName, Fingerprint, TrustError};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The name in every node's certificate. A node has an authority of its own,
/// so that the authority says which node it is; the name says that it is one.
pub const SERVER_NAME: &str = "outrigger-node";

/// How far clocks may differ before a new certificate is refused.
const SKEW: Duration = Duration::from_secs(3600);

/// What a certificate says.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) name: String,
    pub(super) serial: Vec<u8>,
    pub(super) fingerprint: Fingerprint,
    pub(super) from: SystemTime,
    pub(super) until: SystemTime,
}

impl Facts {
    /// Whether less than a third of its time is left.
    pub(super) fn renewal_due(&self, now: SystemTime) -> bool {
        let all = self.until.duration_since(self.from).unwrap_or_default();
        let left = self.until.duration_since(now).unwrap_or_default();
        left < all / 3
    }
}

/// Reads a certificate, whose signature is another's to verify.
pub(super) fn read(der: &[u8]) -> Result<Facts, TrustError> {
    let parsed = X509Certificate::from_der(der);
    let (rest, certificate) = parsed.map_err(|e| TrustError::NotACertificate(e.to_string()))?;
    if !rest.is_empty() {
        let what = format!("{} bytes follow it", rest.len());
        return Err(TrustError::NotACertificate(what));
    }
    let name = certificate.subject().iter_common_name().next();
    let name = name.and_then(|n| n.as_str().ok()).unwrap_or_default();
    let validity = certificate.validity();
    let time = |t: &x509_parser::time::ASN1Time| {
        UNIX_EPOCH + Duration::from_secs(u64::try_from(t.timestamp()).unwrap_or(0))
    };
    Ok(Facts {
        name: name.to_owned(),
        serial: certificate.raw_serial().to_vec(),
        fingerprint: Fingerprint::of(der),
        from: time(&validity.not_before),
        until: time(&validity.not_after),
    })
}

/// How long a certificate holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) now: SystemTime,
    pub(super) length: Duration,
}

/// A name for a new authority, that no other has: a certificate of another is
/// then known by its issuer's name, and told apart from a forged one.
pub(super) fn authority_name() -> Result<String, TrustError> {
    let number = u64::from_le_bytes(random()?);
    Ok(format!("outrigger authority {number:016x}"))
}

/// Signs other certificates, but no further authorities.
pub(super) fn authority(name: &str, span: Span) -> Result<CertificateParams, TrustError> {
    let mut params = blank(name, span)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// May serve, and nothing else.
pub(super) fn server(span: Span) -> Result<CertificateParams, TrustError> {
    let mut params = blank("outrigger node", span)?;
    let san = SERVER_NAME.try_into()?;
    params.subject_alt_names = vec![rcgen::SanType::DnsName(san)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

/// May be a client, and nothing else.
pub(super) fn client(name: &ClientName, span: Span) -> Result<CertificateParams, TrustError> {
    let mut params = blank(name.as_str(), span)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

fn blank(name: &str, span: Span) -> Result<CertificateParams, TrustError> {
    let mut params = CertificateParams::default();
    params.not_before = (span.now - SKEW).into();
    params.not_after = (span.now + span.length).into();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let mut serial = random::<16>()?;
    // A first byte between 0x40 and 0x7f: positive, and of one length always,
    // so that simulated runs see datagrams of the same sizes.
    serial[0] = serial[0] & 0x3f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

/// Random bytes of the system.
pub(super) fn random<const N: usize>() -> Result<[u8; N], TrustError> {
    let mut bytes = [0; N];
    let source = rustls::crypto::ring::default_provider().secure_random;
    let filled = source.fill(&mut bytes);
    filled.map_err(|_| TrustError::NoRandomness)?;
    Ok(bytes)
}

/// The first certificate of a PEM text.
pub(super) fn from_pem(pem: &str) -> Result<CertificateDer<'static>, String> {
    use rustls::pki_types::pem::PemObject as _;
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| format!("no certificate: {e}"))
}

/// The public key of a certificate, as DER.
pub(super) fn public_key(der: &[u8]) -> Result<Vec<u8>, TrustError> {
    let parsed = X509Certificate::from_der(der);
    let (_, certificate) = parsed.map_err(|e| TrustError::NotACertificate(e.to_string()))?;
    Ok(certificate.public_key().raw.to_vec())
}
