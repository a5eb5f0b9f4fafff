use super::{Fingerprint, Identity, LINK_ALPN, PAIR_ALPN, TrustError};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::sync::Arc;

/// The TLS of an edge on a link: its certificate, and trust in its node alone.
pub fn link_client_tls(identity: &Identity) -> Result<Arc<QuicClientConfig>, TrustError> {
    with_identity(identity, LINK_ALPN)
}

/// The TLS of a renewal: as on a link, for the protocol of enrolment.
pub fn renew_client_tls(identity: &Identity) -> Result<Arc<QuicClientConfig>, TrustError> {
    with_identity(identity, PAIR_ALPN)
}

/// The TLS of a first enrolment: no certificate, and trust in the node whose
/// authority has this fingerprint.
pub fn pair_client_tls(authority: Fingerprint) -> Result<Arc<QuicClientConfig>, TrustError> {
    let provider = provider();
    let pinned = Pinned {
        authority,
        provider: provider.clone(),
    };
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pinned))
        .with_no_client_auth();
    finish(tls, PAIR_ALPN)
}

fn with_identity(identity: &Identity, alpn: &[u8]) -> Result<Arc<QuicClientConfig>, TrustError> {
    let mut roots = RootCertStore::empty();
    roots.add(identity.authority_certificate())?;
    let tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![identity.certificate()], identity.key()?)?;
    finish(tls, alpn)
}

fn finish(mut tls: rustls::ClientConfig, alpn: &[u8]) -> Result<Arc<QuicClientConfig>, TrustError> {
    tls.alpn_protocols = vec![alpn.to_vec()];
    tls.resumption = Resumption::disabled();
    tls.enable_early_data = false;
    let quic = QuicClientConfig::try_from(tls);
    Ok(Arc::new(quic.map_err(|e| Error::General(e.to_string()))?))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Trusts a server whose chain holds the authority with a known fingerprint.
#[derive(Debug)]
struct Pinned {
    authority: Fingerprint,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut chain = intermediates.iter();
        let authority = chain.find(|c| Fingerprint::of(c) == self.authority);
        let authority = authority.ok_or(CertificateError::UnknownIssuer)?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        WebPkiServerVerifier::builder_with_provider(roots.into(), self.provider.clone())
            .build()
            .map_err(|e| Error::General(e.to_string()))?
            .verify_server_cert(certificate, &[], name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
