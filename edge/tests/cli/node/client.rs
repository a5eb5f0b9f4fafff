//! A client that keeps to no rule but those that it is told.

use outrigger_offload::{
    frames::{FrameReader, FrameWriter},
    transport::{Endpoint, bind},
    trust::{
        Authority, EnrolAnswer, EnrolRequest, Identity, LINK_ALPN, NewKey, SERVER_NAME, Validity,
        link_client_tls,
    },
    wire::{Append, Failed, Failure, Open, Refused, Run, ToEdge, ToNode, encode},
};
use outrigger_runtime::sampler::{SamplerParams, SamplerState};
use quinn::{ClientConfig, Connection, RecvStream, SendStream, TransportConfig};
use std::{
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);
/// What a stream may hold that is not read: less than a generation's tokens.
const WINDOW: u32 = 1 << 10;

/// The authority of the node whose state is under `home`.
pub(super) fn authority(home: &Path) -> Authority {
    let folder = home.join("state/outrigger/node");
    Authority::open(&folder, Validity::default(), SystemTime::now()).unwrap()
}

/// An identity that an authority signed `ago`.
pub(super) fn enrol(authority: &Authority, name: &str, ago: Duration) -> Identity {
    let (at, key) = (SystemTime::now() - ago, NewKey::generate().unwrap());
    let address = "127.0.0.1:7443";
    let token = authority
        .issue_token(address, Duration::from_secs(60), at)
        .unwrap();
    let request = EnrolRequest::First {
        id: token.id,
        secret: token.secret,
        name: name.into(),
        csr: key.csr().to_vec(),
    };
    match authority.answer(&request, None, at).unwrap() {
        EnrolAnswer::Signed(signed) => Identity::new(address, &key, signed).unwrap(),
        EnrolAnswer::Refused(refusal) => panic!("{refusal}"),
    }
}

/// A socket at this loopback address.
pub(super) fn socket(last: u8) -> Endpoint {
    bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap()
}

/// The settings of a client that reads little.
pub(super) fn settings(identity: &Identity) -> ClientConfig {
    quiet(ClientConfig::new(link_client_tls(identity).unwrap()))
}

/// The same for any TLS.
pub(super) fn quiet(mut config: ClientConfig) -> ClientConfig {
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(WINDOW.into());
    transport.keep_alive_interval(Some(Duration::from_secs(5)));
    config.transport_config(Arc::new(transport));
    config
}

/// Trusts whatever server, shows whatever certificate.
pub(super) fn forged(shown: Option<&rcgen::CertifiedKey<rcgen::KeyPair>>) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)));
    let mut tls = match shown {
        None => tls.with_no_client_auth(),
        Some(shown) => {
            let key =
                rustls::pki_types::PrivatePkcs8KeyDer::from(shown.signing_key.serialize_der());
            tls.with_client_auth_cert(vec![shown.cert.der().clone()], key.into())
                .unwrap()
        }
    };
    tls.alpn_protocols = vec![LINK_ALPN.to_vec()];
    let tls = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    quiet(ClientConfig::new(Arc::new(tls)))
}

#[derive(Debug)]
struct Anyone(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("not spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &rustls::pki_types::CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A connection that the node let in, or why there is none: as the node's
/// reason for closing it says.
pub(super) async fn link(
    endpoint: &Endpoint,
    node: SocketAddr,
    config: &ClientConfig,
) -> Result<Connection, String> {
    let connecting = endpoint.connect_with(config.clone(), node, SERVER_NAME);
    let reached = async {
        let connection = connecting.unwrap().await?;
        let mut welcome = connection.accept_uni().await?;
        let _ = welcome.read_to_end(64).await;
        Ok(connection)
    };
    let reached: Result<_, quinn::ConnectionError> = timeout(PATIENCE, reached).await.unwrap();
    reached.map_err(|error| {
        let known = outrigger_offload::trust::Refused::of(&error);
        known.map_or_else(|| error.to_string(), |refused| format!("{refused:?}"))
    })
}

/// A stream of frames, or of whatever.
pub(super) struct Talk {
    pub(super) send: FrameWriter<SendStream>,
    receive: FrameReader<RecvStream>,
}

pub(super) fn open(session: u64) -> ToNode {
    ToNode::Open(Open {
        session,
        sampling: SamplerParams {
            seed: Some(1),
            // What would end it.
            logit_bias: (0..3).map(|token| (token, f32::NEG_INFINITY)).collect(),
            ..SamplerParams::default()
        },
        logprobs: None,
        tokens_max: u32::MAX,
        draft: false,
    })
}

pub(super) fn prompt() -> ToNode {
    ToNode::Append(Append {
        epoch: 0,
        position: 0,
        prompt: true,
        begins: true,
        tokens: vec![1, 300, 301],
    })
}

pub(super) fn run(tokens_max: u32) -> ToNode {
    ToNode::Run(Run {
        epoch: 0,
        position: 3,
        tokens_max,
        state: SamplerState::initial(&SamplerParams::default()),
    })
}

impl Talk {
    pub(super) async fn on(link: &Connection) -> Self {
        let (send, receive) = link.open_bi().await.unwrap();
        Self {
            send: FrameWriter::new(send),
            receive: FrameReader::new(receive),
        }
    }

    /// A generation of so many tokens, none of which was read.
    pub(super) async fn generation(link: &Connection, session: u64, tokens_max: u32) -> Self {
        let mut talk = Self::on(link).await;
        for message in [open(session), prompt(), run(tokens_max)] {
            talk.send.write(&message).await.unwrap();
        }
        talk
    }

    pub(super) async fn hear(&mut self) -> Option<ToEdge> {
        let heard = timeout(PATIENCE, self.receive.read()).await;
        heard.expect("an answer in time").unwrap()
    }

    /// Tokens until the end of the stream, or until something else is said.
    pub(super) async fn tokens(&mut self) -> (u32, Option<ToEdge>) {
        let mut count = 0;
        loop {
            match self.hear().await {
                Some(ToEdge::Tokens(tokens)) => count += tokens.tokens.len() as u32,
                Some(ToEdge::Accepted(_)) => {}
                other => return (count, other),
            }
        }
    }

    /// The refusal that comes next.
    pub(super) async fn refusal(&mut self) -> Refused {
        match self.tokens().await.1 {
            Some(ToEdge::Refused(refused))
            | Some(ToEdge::Failed(Failed {
                failure: Failure::Refused(refused),
                ..
            })) => refused,
            other => panic!("{other:?} is no refusal"),
        }
    }
}

/// Sends these bytes on a stream of their own and hears what is said.
pub(super) async fn shout(link: &Connection, bytes: &[u8]) -> Refused {
    let (mut send, receive) = link.open_bi().await.unwrap();
    send.write_all(bytes).await.unwrap();
    let mut reader = FrameReader::new(receive);
    match timeout(PATIENCE, reader.read::<ToEdge>())
        .await
        .unwrap()
        .unwrap()
    {
        Some(ToEdge::Refused(refused)) => refused,
        other => panic!("{other:?} is no refusal"),
    }
}

/// A frame of a message, to be spoilt.
pub(super) fn frame(message: &ToNode) -> Vec<u8> {
    encode(message).unwrap()
}
