use quinn::{ConnectionError, TransportErrorCode, VarInt};
use rustls::AlertDescription;

/// Why a node or an edge does not talk to the other, as both ends name it.
///
/// What TLS finds travels as its alert; the rest as the code of the close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refused {
    /// A link without a client certificate.
    #[error("the client showed no certificate; pair it with the node first")]
    NoCertificate,
    /// A certificate of another authority.
    #[error("the certificate was signed by another authority; pair the edge with this node again")]
    Foreign,
    /// A certificate whose time is over or has not begun.
    #[error("the certificate has expired or is not valid yet; check the clocks, else pair again")]
    Expired,
    /// A certificate that the node has taken back.
    #[error("the certificate was revoked by the node; pair again")]
    Revoked,
    /// A certificate for something else, such as a client's shown by a server.
    #[error("the certificate is not for this purpose")]
    WrongPurpose,
    /// A certificate that is malformed, or without proof of its key.
    #[error("the certificate is malformed, or its key was not proven")]
    BadCertificate,
    /// The two ends share no protocol version.
    #[error("the other end speaks another version of the protocol")]
    Version,
    /// The node has as many connections as it takes.
    #[error("the node has as many connections as it takes; try again later")]
    Full,
    /// This client has as many connections as one may have.
    #[error("this client has as many connections to the node as one may have")]
    ClientFull,
    /// The node is about to end.
    #[error("the node is shutting down")]
    Draining,
    /// The node cannot say whether the certificate was revoked.
    #[error("the node cannot read its own list of revoked certificates; its log says why")]
    NodeFault,
}

/// Close codes of trust and transport; those of the protocol lie elsewhere.
const CODES: [(u32, Refused); 6] = [
    (0x1001, Refused::NoCertificate),
    (0x1002, Refused::Revoked),
    (0x1003, Refused::Full),
    (0x1004, Refused::ClientFull),
    (0x1005, Refused::Draining),
    (0x1006, Refused::NodeFault),
];

impl Refused {
    /// Whether the same attempt may succeed later, with nothing changed here.
    pub fn is_passing(self) -> bool {
        matches!(
            self,
            Self::Full | Self::ClientFull | Self::Draining | Self::NodeFault
        )
    }

    /// Closes a connection for this reason.
    pub fn close(self, connection: &quinn::Connection) {
        let code = CODES.iter().find(|(_, refused)| *refused == self);
        let code = code.map_or(0x1000, |(code, _)| *code);
        connection.close(VarInt::from_u32(code), self.to_string().as_bytes());
    }

    /// The reason in what quinn reports, at either end; `None` where the
    /// connection ended for another.
    pub fn of(error: &ConnectionError) -> Option<Self> {
        match error {
            ConnectionError::ApplicationClosed(close) => {
                let code = CODES.iter();
                let code = code
                    .copied()
                    .find(|(c, _)| u64::from(*c) == close.error_code.into_inner());
                code.map(|(_, refused)| refused)
            }
            ConnectionError::ConnectionClosed(close) => Self::of_code(close.error_code),
            ConnectionError::TransportError(error) => Self::of_code(error.code),
            ConnectionError::VersionMismatch => Some(Self::Version),
            _ => None,
        }
    }

    fn of_code(code: TransportErrorCode) -> Option<Self> {
        // TLS alerts travel as 0x100 and the alert (RFC 9001, 4.8).
        let alert = u64::from(code).checked_sub(0x100)?;
        Some(match AlertDescription::from(u8::try_from(alert).ok()?) {
            AlertDescription::CertificateRequired => Self::NoCertificate,
            AlertDescription::UnknownCA => Self::Foreign,
            AlertDescription::CertificateExpired => Self::Expired,
            AlertDescription::CertificateRevoked => Self::Revoked,
            AlertDescription::UnsupportedCertificate => Self::WrongPurpose,
            AlertDescription::BadCertificate | AlertDescription::DecryptError => {
                Self::BadCertificate
            }
            AlertDescription::NoApplicationProtocol | AlertDescription::ProtocolVersion => {
                Self::Version
            }
            AlertDescription::CertificateUnknown => Self::NodeFault,
            _ => return None,
        })
    }
}
