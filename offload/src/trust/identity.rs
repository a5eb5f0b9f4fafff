use super::{
    ClientName, Fingerprint, NewKey, Peer, Signed, TrustError, certificate, folder::PrivateFolder,
};
use data_encoding::BASE64;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};
use std::{fmt, path::Path, time::SystemTime};

/// What an edge keeps of its enrolment with one node.
#[derive(Clone)]
pub struct Identity {
    address: String,
    key_pem: String,
    certificate: CertificateDer<'static>,
    authority: CertificateDer<'static>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("address", &self.address)
            .field("certificate", &Fingerprint::of(&self.certificate))
            .field("authority", &Fingerprint::of(&self.authority))
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// What a signed certificate makes of a new key; `address` is the node's.
    ///
    /// # Errors
    /// [`TrustError::NotACertificate`] if the certificates are none, or not of
    /// this key.
    pub fn new(address: &str, key: &NewKey, signed: Signed) -> Result<Self, TrustError> {
        if !key.fits(&signed.certificate) {
            let what = "the node signed another key than the one sent".to_owned();
            return Err(TrustError::NotACertificate(what));
        }
        certificate::read(&signed.authority)?;
        let certificate = CertificateDer::from(signed.certificate);
        Peer::of(&certificate)?;
        Ok(Self {
            address: address.to_owned(),
            key_pem: key.pem(),
            certificate,
            authority: signed.authority.into(),
        })
    }

    /// Where the node is reached, `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Who this edge is to the node.
    pub fn peer(&self) -> Result<Peer, TrustError> {
        Peer::of(&self.certificate)
    }

    /// When the certificate ends.
    pub fn expires(&self) -> Result<SystemTime, TrustError> {
        Ok(certificate::read(&self.certificate)?.until)
    }

    /// Whether less than a third of the certificate's time is left.
    pub fn renewal_due(&self, now: SystemTime) -> Result<bool, TrustError> {
        Ok(certificate::read(&self.certificate)?.renewal_due(now))
    }

    /// The fingerprint of the node's authority.
    pub fn authority_fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.authority)
    }

    /// Whether an authority's certificate is the trusted one, or the same
    /// authority's under the same key.
    pub(crate) fn trusts_again(&self, other: &Self) -> bool {
        let key = |c: &CertificateDer<'_>| certificate::public_key(c).ok();
        key(&self.authority).is_some() && key(&self.authority) == key(&other.authority)
    }

    /// The certificate of the node's authority.
    pub fn authority_certificate(&self) -> CertificateDer<'static> {
        self.authority.clone()
    }

    /// The same for a node that has moved.
    pub fn at(self, address: &str) -> Self {
        let address = address.to_owned();
        Self { address, ..self }
    }

    /// The same key and certificate with the trust of another.
    #[cfg(test)]
    pub(crate) fn trusting(self, other: &Self) -> Self {
        let authority = other.authority.clone();
        Self { authority, ..self }
    }

    pub(super) fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, TrustError> {
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes());
        key.map_err(|e| TrustError::NotACertificate(format!("the private key: {e}")))
    }
}

/// An [`Identity`] in its file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    address: String,
    key: String,
    certificate: String,
    authority: String,
}

/// The identities of an edge, a file for each node, in one folder.
#[derive(Debug, Clone)]
pub struct Identities(PrivateFolder);

impl Identities {
    /// Opens the folder, made if missing.
    pub fn open(path: &Path) -> Result<Self, TrustError> {
        PrivateFolder::open(path).map(Self)
    }

    /// The identity for a node that was named so when it was saved.
    pub fn load(&self, node: &ClientName) -> Result<Identity, TrustError> {
        let name = file(node);
        let text = self.0.read_secret(&name)?;
        let text = text.ok_or_else(|| TrustError::NotPaired(node.to_string()))?;
        let damaged = |what: String| self.0.damaged(&name, what);
        let kept: Kept = toml::from_str(&text).map_err(|e| damaged(e.message().to_owned()))?;
        let der = |text: &str| {
            let bytes = BASE64
                .decode(text.as_bytes())
                .map_err(|e| damaged(e.to_string()))?;
            certificate::read(&bytes)?;
            Ok::<_, TrustError>(CertificateDer::from(bytes))
        };
        let identity = Identity {
            certificate: der(&kept.certificate)?,
            authority: der(&kept.authority)?,
            address: kept.address,
            key_pem: kept.key,
        };
        identity.key()?;
        Ok(identity)
    }

    /// Keeps an identity under a name for its node, in place of one kept
    /// under the same name.
    pub fn save(&self, node: &ClientName, identity: &Identity) -> Result<(), TrustError> {
        let kept = Kept {
            address: identity.address.clone(),
            key: identity.key_pem.clone(),
            certificate: BASE64.encode(&identity.certificate),
            authority: BASE64.encode(&identity.authority),
        };
        let name = file(node);
        let text = toml::to_string(&kept).map_err(|e| self.0.damaged(&name, e))?;
        self.0.write(&name, &text)
    }

    /// The names of the nodes, in order.
    pub fn list(&self) -> Result<Vec<ClientName>, TrustError> {
        self.0.names(".toml").map(|names| {
            let mut nodes: Vec<ClientName> = names.iter().filter_map(|n| n.parse().ok()).collect();
            nodes.sort();
            nodes
        })
    }
}

fn file(node: &ClientName) -> String {
    format!("{node}.toml")
}
