//! Enrolment on a connection of its own protocol: one request, one answer.

use super::{ConnectError, LinkConfig, NodeAddress, connect::open};
use crate::trust::{
    Authority, ENROL_BYTES_MAX, EnrolAnswer, EnrolRefusal, EnrolRequest, Identity, NewKey,
    PairToken, Peer, Signed, TrustError, pair_client_tls, renew_client_tls,
};
use quinn::{Connection, Endpoint};
use std::{sync::Arc, time::SystemTime};

/// Why an edge got no identity.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// There was no connection, or it broke.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The token names no address that can be one.
    #[error("the pairing token: {0}")]
    Address(#[from] super::NodeAddressError),
    /// The node refused.
    #[error(transparent)]
    Refused(#[from] EnrolRefusal),
    /// Keys or certificates cannot be used.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The node answered something else.
    #[error("the node gave an answer that cannot be read; it may be of another version")]
    BadAnswer,
    /// The answer is signed by another authority than the one trusted.
    #[error("the node answered with another authority than the one it is trusted by")]
    OtherAuthority,
}

/// Enrols this machine with the node that handed out `token`, under a name
/// that the node cleans. The key is made here and stays here.
///
/// # Errors
/// [`EnrolError`]; the token is spent only by success.
pub async fn pair(
    endpoint: &Endpoint,
    token: &PairToken,
    name: &str,
    config: &LinkConfig,
) -> Result<Identity, EnrolError> {
    let address: NodeAddress = token.address.parse()?;
    let key = NewKey::generate()?;
    let request = EnrolRequest::First {
        id: token.id,
        secret: token.secret,
        name: name.chars().take(64).collect(),
        csr: key.csr().to_vec(),
    };
    let client = config.client(pair_client_tls(token.authority)?);
    let signed = ask(endpoint, &address, client, &request, config).await?;
    let identity = Identity::new(&token.address, &key, signed)?;
    if identity.authority_fingerprint() != token.authority {
        return Err(EnrolError::OtherAuthority);
    }
    Ok(identity)
}

/// Gets a new key and certificate in place of `identity`, whose certificate
/// must still hold.
///
/// # Errors
/// [`EnrolError`]; the old identity stays usable.
pub async fn renew(
    endpoint: &Endpoint,
    identity: &Identity,
    config: &LinkConfig,
) -> Result<Identity, EnrolError> {
    let address: NodeAddress = identity.address().parse()?;
    let key = NewKey::generate()?;
    let csr = key.csr().to_vec();
    let client = config.client(renew_client_tls(identity)?);
    let request = EnrolRequest::Renewal { csr };
    let signed = ask(endpoint, &address, client, &request, config).await?;
    let renewed = Identity::new(identity.address(), &key, signed)?;
    if !identity.trusts_again(&renewed) {
        return Err(EnrolError::OtherAuthority);
    }
    Ok(renewed)
}

async fn ask(
    endpoint: &Endpoint,
    address: &NodeAddress,
    client: quinn::ClientConfig,
    request: &EnrolRequest,
    config: &LinkConfig,
) -> Result<Signed, EnrolError> {
    let after = config.handshake_time();
    let asked = tokio::time::timeout(after, async {
        let connection = open(endpoint, address, client).await?;
        let exchanged = exchange(&connection, request).await;
        let ended = connection.close_reason();
        connection.close(0u32.into(), b"");
        match (exchanged, ended) {
            (Some(bytes), _) => match postcard::from_bytes(&bytes) {
                Ok(EnrolAnswer::Signed(signed)) => Ok(signed),
                Ok(EnrolAnswer::Refused(refusal)) => Err(refusal.into()),
                Err(_) => Err(EnrolError::BadAnswer),
            },
            (None, Some(error)) => Err(ConnectError::of(address, error).into()),
            (None, None) => Err(EnrolError::BadAnswer),
        }
    });
    asked.await.unwrap_or_else(|_| {
        let address = address.clone();
        Err(ConnectError::Silent { address, after }.into())
    })
}

/// The bytes of the answer, or `None` where the connection or a stream broke.
async fn exchange(connection: &Connection, request: &EnrolRequest) -> Option<Vec<u8>> {
    let bytes = postcard::to_stdvec(request).ok()?;
    let (mut send, mut receive) = connection.open_bi().await.ok()?;
    send.write_all(&bytes).await.ok()?;
    send.finish().ok()?;
    receive.read_to_end(ENROL_BYTES_MAX).await.ok()
}

/// Answers the request of one connection and waits for the client to close
/// it. What went wrong, for the log.
pub(super) async fn serve(
    connection: &Connection,
    authority: &Arc<Authority>,
) -> Result<(), String> {
    let lost = |e: quinn::ConnectionError| e.to_string();
    let (mut send, mut receive) = connection.accept_bi().await.map_err(lost)?;
    let bytes = receive.read_to_end(ENROL_BYTES_MAX).await;
    let bytes = bytes.map_err(|e| e.to_string())?;
    let request = postcard::from_bytes(&bytes).map_err(|_| "the request is malformed")?;
    let peer = Peer::at(connection);
    let authority = authority.clone();
    // Signing waits for the disk and for other processes.
    let answered = tokio::task::spawn_blocking(move || {
        authority.answer(&request, peer.as_ref(), SystemTime::now())
    });
    let answer = match answered.await {
        Ok(Ok(answer)) => answer,
        fault => {
            tracing::error!("enrolment failed: {fault:?}");
            EnrolAnswer::Refused(EnrolRefusal::Internal)
        }
    };
    let bytes = postcard::to_stdvec(&answer).map_err(|e| e.to_string())?;
    let written = send.write_all(&bytes).await;
    written.map_err(|e| e.to_string())?;
    // The stream may have been stopped; then the client has gone.
    let _ = send.finish();
    connection.closed().await;
    match answer {
        EnrolAnswer::Signed(_) => Ok(()),
        EnrolAnswer::Refused(refusal) => Err(refusal.to_string()),
    }
}
