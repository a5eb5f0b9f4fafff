use super::{Authority, LINK_ALPN, PAIR_ALPN, TrustError, certificate};
use quinn::crypto::rustls::QuicServerConfig;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime},
    server::{
        NoServerSessionStorage, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use std::{fmt, sync::Arc};

/// The TLS of a node, for links and for enrolment.
///
/// A certificate that a client shows is always verified. One that shows none
/// gets past TLS, for enrolment; whoever accepts connections closes it unless
/// enrolment is what it came for. Nothing is resumed: a resumed session would
/// not have its certificate looked at again.
pub fn server_tls(authority: &Arc<Authority>) -> Result<Arc<QuicServerConfig>, TrustError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (chain, key) = authority.shown();
    let mut roots = RootCertStore::empty();
    roots.add(chain[1].clone())?;
    let clients = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(|e| Error::General(e.to_string()))?;
    let verifier = Unrevoked {
        clients,
        authority: authority.clone(),
    };
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(chain.to_vec(), key)?;
    tls.alpn_protocols = vec![LINK_ALPN.to_vec(), PAIR_ALPN.to_vec()];
    tls.session_storage = Arc::new(NoServerSessionStorage {});
    tls.send_tls13_tickets = 0;
    tls.max_early_data_size = 0;
    let quic = QuicServerConfig::try_from(tls);
    Ok(Arc::new(quic.map_err(|e| Error::General(e.to_string()))?))
}

/// Lets certificates pass that webpki finds good and no list names.
struct Unrevoked {
    clients: Arc<dyn ClientCertVerifier>,
    authority: Arc<Authority>,
}

impl fmt::Debug for Unrevoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unrevoked")
    }
}

impl ClientCertVerifier for Unrevoked {
    fn client_auth_mandatory(&self) -> bool {
        self.clients.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.clients.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self
            .clients
            .verify_client_cert(certificate, intermediates, now)?;
        let facts = certificate::read(certificate).map_err(|_| CertificateError::BadEncoding)?;
        match self.authority.revocation_of(&facts) {
            Ok(false) => Ok(verified),
            Ok(true) => Err(CertificateError::Revoked.into()),
            Err(error) => {
                tracing::error!("no client can be let in: {error}");
                Err(CertificateError::Other(rustls::OtherError(Arc::new(error))).into())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.clients
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.clients
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.clients.supported_verify_schemes()
    }
}
