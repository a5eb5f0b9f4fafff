use super::{
    Client, ClientName, EnrolAnswer, EnrolRefusal, EnrolRequest, Fingerprint, PairToken, Peer,
    Signed, TrustError,
    certificate::{self, Facts, Span},
    enrolment,
    folder::PrivateFolder,
    register::{Register, unix_s},
    revocations::Revocations,
    token_book::TokenBook,
};
use rcgen::{CertificateSigningRequestParams, Issuer, KeyPair, PKCS_ED25519};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer};
use std::{
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

const DAY: Duration = Duration::from_secs(24 * 3600);
const AUTHORITY_KEY: &str = "authority.key";
const AUTHORITY: &str = "authority.pem";
const SERVER: &str = "server.pem";

/// How long certificates hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The authority's own; ten years unless said.
    pub authority: Duration,
    /// The node's; 90 days unless said. A short one is renewed more often.
    pub server: Duration,
    /// A client's; a year unless said. An edge that was off for longer must
    /// be paired again.
    pub client: Duration,
}

impl Validity {
    fn check(&self) -> Result<(), TrustError> {
        let possible = DAY / 24..=36_500 * DAY;
        let mut all = [self.authority, self.server, self.client].into_iter();
        let wrong = all.find(|length| !possible.contains(length));
        wrong.map_or(Ok(()), |length| Err(TrustError::Validity(length)))
    }
}

impl Default for Validity {
    fn default() -> Self {
        Self {
            authority: 3650 * DAY,
            server: 90 * DAY,
            client: 365 * DAY,
        }
    }
}

/// A node's own certificate authority, kept in a folder that several
/// processes may use at once.
#[derive(Debug)]
pub struct Authority {
    folder: PrivateFolder,
    validity: Validity,
    issuer: Issuer<'static, KeyPair>,
    certificates: Mutex<Certificates>,
    revocations: Revocations,
}

/// What is renewed while the node runs.
struct Certificates {
    authority: CertificateDer<'static>,
    server: CertificateDer<'static>,
    server_key: KeyPair,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let authority = Fingerprint::of(&self.authority);
        f.debug_struct("Certificates")
            .field("authority", &authority)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Opens the authority of a folder; a folder without one gets one.
    ///
    /// # Errors
    /// [`TrustError`] if files cannot be read or written, are damaged, or
    /// others may read the keys.
    pub fn open(path: &Path, validity: Validity, now: SystemTime) -> Result<Self, TrustError> {
        validity.check()?;
        let folder = PrivateFolder::open(path)?;
        let _lock = folder.lock()?;
        let key = authority_key(&folder)?;
        let span = Span {
            now,
            length: validity.authority,
        };
        let authority = match folder.read(AUTHORITY)? {
            Some(pem) => certificate::from_pem(&pem).map_err(|e| folder.damaged(AUTHORITY, e))?,
            None => sign_authority(&folder, &key, &certificate::authority_name()?, span)?,
        };
        if certificate::public_key(&authority)?
            != rcgen::PublicKeyData::subject_public_key_info(&key)
        {
            let what = format!("it is not for the key in {AUTHORITY_KEY}");
            return Err(folder.damaged(AUTHORITY, what));
        }
        let issuer = Issuer::from_ca_cert_der(&authority, key)?;
        let span = Span {
            now,
            length: validity.server,
        };
        let (server_key, server) = match read_server(&folder)? {
            Some(pair) => pair,
            None => sign_server(&folder, &issuer, span)?,
        };
        let this = Self {
            revocations: Revocations::new(folder.clone()),
            certificates: Mutex::new(Certificates {
                authority,
                server,
                server_key,
            }),
            folder,
            validity,
            issuer,
        };
        this.renew_locked(now)?;
        Ok(this)
    }

    /// Signs the node's certificates anew where less than a third of their
    /// time is left; whether any was. The authority keeps its key, so that
    /// edges go on trusting it.
    pub fn renew(&self, now: SystemTime) -> Result<bool, TrustError> {
        let _lock = self.folder.lock()?;
        self.renew_locked(now)
    }

    fn renew_locked(&self, now: SystemTime) -> Result<bool, TrustError> {
        let mut held = self.certificates();
        let mut renewed = false;
        let authority = certificate::read(&held.authority)?;
        if authority.renewal_due(now) {
            let span = Span {
                now,
                length: self.validity.authority,
            };
            held.authority =
                sign_authority(&self.folder, self.issuer.key(), &authority.name, span)?;
            renewed = true;
        }
        if certificate::read(&held.server)?.renewal_due(now) {
            let span = Span {
                now,
                length: self.validity.server,
            };
            (held.server_key, held.server) = sign_server(&self.folder, &self.issuer, span)?;
            renewed = true;
        }
        Ok(renewed)
    }

    /// That of the authority's certificate.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificates().authority)
    }

    /// Makes a token that enrols one client within `lasts`; ten minutes are
    /// usual. `address` is where edges reach the node.
    pub fn issue_token(
        &self,
        address: &str,
        lasts: Duration,
        now: SystemTime,
    ) -> Result<PairToken, TrustError> {
        let token = PairToken {
            id: u32::from_le_bytes(certificate::random()?),
            secret: certificate::random()?,
            authority: self.fingerprint(),
            address: address.to_owned(),
        };
        let _lock = self.folder.lock()?;
        let mut book = TokenBook::load(&self.folder)?;
        let now = unix_s(now);
        let lasts = now..now.saturating_add(lasts.as_secs());
        book.issue(token.id, &token.secret, lasts)?;
        book.save(&self.folder)?;
        Ok(token)
    }

    /// Answers a request from `peer`, the owner of the connection's
    /// certificate if it has one. Reads and writes files.
    pub fn answer(
        &self,
        request: &EnrolRequest,
        peer: Option<&Peer>,
        now: SystemTime,
    ) -> Result<EnrolAnswer, TrustError> {
        let _lock = self.folder.lock()?;
        let signed = match request {
            EnrolRequest::First {
                id,
                secret,
                name,
                csr,
            } => {
                let mut book = TokenBook::load(&self.folder)?;
                let checked = book.check(*id, secret, unix_s(now));
                let checked = checked.and_then(|()| enrolment::wanted_name(name));
                let signed = checked
                    .and_then(|name| Ok((name, parse_request(csr)?)))
                    .map(|(name, csr)| self.sign(name, &csr, now));
                if matches!(signed, Ok(Ok(Ok(_)))) {
                    book.spend(*id);
                }
                book.save(&self.folder)?;
                signed
            }
            EnrolRequest::Renewal { csr } => peer
                .ok_or(EnrolRefusal::NoCertificate)
                .and_then(|peer| Ok((peer, parse_request(csr)?)))
                .map(|(peer, csr)| self.sign_again(peer, &csr, now)),
        };
        let signed = signed.unwrap_or_else(|refusal| Ok(Err(refusal)))?;
        Ok(match signed {
            Ok(certificate) => EnrolAnswer::Signed(Signed {
                certificate: certificate.to_vec(),
                authority: self.certificates().authority.to_vec(),
            }),
            Err(refusal) => EnrolAnswer::Refused(refusal),
        })
    }

    /// The clients whose certificates have not ended.
    pub fn list(&self, now: SystemTime) -> Result<Vec<Client>, TrustError> {
        let mut clients = Register::load(&self.folder, now)?.0;
        for client in &mut clients {
            client.revoked = self.revocations.names_fingerprint(&client.fingerprint)?;
        }
        Ok(clients)
    }

    /// Takes a client's certificates back, by its name or by the fingerprint
    /// of one; returns those it took. A running node closes their connections.
    pub fn revoke(
        &self,
        name_or_fingerprint: &str,
        now: SystemTime,
    ) -> Result<Vec<Client>, TrustError> {
        let _lock = self.folder.lock()?;
        let mut clients = self.list(now)?;
        let fingerprint = name_or_fingerprint.parse::<Fingerprint>().ok();
        clients.retain(|c| {
            c.name.as_str() == name_or_fingerprint || Some(c.fingerprint) == fingerprint
        });
        if clients.is_empty() {
            return Err(TrustError::UnknownClient(name_or_fingerprint.to_owned()));
        }
        clients.retain(|c| !c.revoked);
        let taken = clients.iter().map(|c| (&c.fingerprint, c.name.as_str()));
        self.revocations.add(taken)?;
        for client in &mut clients {
            client.revoked = true;
        }
        Ok(clients)
    }

    /// Whether a certificate was revoked.
    ///
    /// # Errors
    /// If the list cannot be read: then nobody can say.
    pub fn is_revoked(&self, certificate: &CertificateDer<'_>) -> Result<bool, TrustError> {
        self.revocation_of(&certificate::read(certificate)?)
    }

    pub(super) fn revocation_of(&self, facts: &Facts) -> Result<bool, TrustError> {
        self.revocations.names(facts)
    }

    /// What the node shows in a handshake: its certificate and the
    /// authority's, and its key.
    pub(crate) fn shown(&self) -> ([CertificateDer<'static>; 2], PrivateKeyDer<'static>) {
        let held = self.certificates();
        let key = PrivateKeyDer::Pkcs8(held.server_key.serialize_der().into());
        ([held.server.clone(), held.authority.clone()], key)
    }

    fn certificates(&self) -> MutexGuard<'_, Certificates> {
        // Each field is replaced whole, so that a panic leaves them usable.
        self.certificates
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Signs a first certificate, under the name wanted or one like it.
    fn sign(
        &self,
        wanted: ClientName,
        csr: &CertificateSigningRequestParams,
        now: SystemTime,
    ) -> Certified {
        let register = Register::load(&self.folder, now)?;
        let name = register.free_name(wanted);
        self.sign_named(register, name, csr, now)
    }

    fn sign_again(
        &self,
        peer: &Peer,
        csr: &CertificateSigningRequestParams,
        now: SystemTime,
    ) -> Certified {
        let register = Register::load(&self.folder, now)?;
        self.sign_named(register, peer.name.clone(), csr, now)
    }

    /// Signs for the key of a request; nothing else in it counts.
    fn sign_named(
        &self,
        mut register: Register,
        name: ClientName,
        csr: &CertificateSigningRequestParams,
        now: SystemTime,
    ) -> Certified {
        if let Err(refusal) = register.check_room(&name) {
            return Ok(Err(refusal));
        }
        let span = Span {
            now,
            length: self.validity.client,
        };
        let params = certificate::client(&name, span)?;
        let signed = params.signed_by(&csr.public_key, &self.issuer)?;
        register.add(name, &certificate::read(signed.der())?);
        register.save(&self.folder)?;
        Ok(Ok(signed.into()))
    }
}

/// A certificate, the client's fault, or the node's.
type Certified = Result<Result<CertificateDer<'static>, EnrolRefusal>, TrustError>;

pub(super) fn parse_request(csr: &[u8]) -> Result<CertificateSigningRequestParams, EnrolRefusal> {
    let der = CertificateSigningRequestDer::from(csr);
    let parsed = CertificateSigningRequestParams::from_der(&der);
    let parsed = parsed.map_err(|_| EnrolRefusal::BadRequest)?;
    if *parsed.public_key.algorithm() != PKCS_ED25519 {
        return Err(EnrolRefusal::BadRequest);
    }
    Ok(parsed)
}

fn authority_key(folder: &PrivateFolder) -> Result<KeyPair, TrustError> {
    if let Some(pem) = folder.read_secret(AUTHORITY_KEY)? {
        return KeyPair::from_pem(&pem).map_err(|e| folder.damaged(AUTHORITY_KEY, e));
    }
    let key = KeyPair::generate_for(&PKCS_ED25519)?;
    folder.write(AUTHORITY_KEY, &key.serialize_pem())?;
    Ok(key)
}

fn sign_authority(
    folder: &PrivateFolder,
    key: &KeyPair,
    name: &str,
    span: Span,
) -> Result<CertificateDer<'static>, TrustError> {
    let signed = certificate::authority(name, span)?.self_signed(key)?;
    folder.write(AUTHORITY, &signed.pem())?;
    Ok(signed.into())
}

fn read_server(
    folder: &PrivateFolder,
) -> Result<Option<(KeyPair, CertificateDer<'static>)>, TrustError> {
    let Some(pem) = folder.read_secret(SERVER)? else {
        return Ok(None);
    };
    let certificate = certificate::from_pem(&pem).map_err(|e| folder.damaged(SERVER, e))?;
    let end = pem.find("-----BEGIN CERTIFICATE").unwrap_or(pem.len());
    let key = KeyPair::from_pem(&pem[..end]).map_err(|e| folder.damaged(SERVER, e))?;
    Ok(Some((key, certificate)))
}

/// The key and its certificate stand in one file, so that they change together.
fn sign_server(
    folder: &PrivateFolder,
    issuer: &Issuer<'static, KeyPair>,
    span: Span,
) -> Result<(KeyPair, CertificateDer<'static>), TrustError> {
    let key = KeyPair::generate_for(&PKCS_ED25519)?;
    let signed = certificate::server(span)?.signed_by(&key, issuer)?;
    folder.write(SERVER, &(key.serialize_pem() + &signed.pem()))?;
    Ok((key, signed.into()))
}
