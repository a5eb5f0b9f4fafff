//! The clients that a node has let in.

use super::{
    ClientName, EnrolRefusal, Fingerprint, TrustError, certificate::Facts, folder::PrivateFolder,
};
use serde::{Deserialize, Serialize};
use std::time::{SystemTime, UNIX_EPOCH};

const FILE: &str = "clients.json";
const CERTIFICATES_MAX: usize = 4096;
/// Certificates of one name, so that no client fills the register by renewing.
const OF_ONE_NAME_MAX: usize = 16;

/// One certificate that a node signed for a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// The name in the certificate.
    pub name: ClientName,
    /// That of the certificate.
    pub fingerprint: Fingerprint,
    /// When it ends, in seconds since 1970.
    pub expires_unix_s: u64,
    /// Whether it was revoked.
    #[serde(skip)]
    pub revoked: bool,
}

/// All clients whose certificates have not ended.
#[derive(Debug, Default)]
pub(super) struct Register(pub(super) Vec<Client>);

impl Register {
    pub(super) fn load(folder: &PrivateFolder, now: SystemTime) -> Result<Self, TrustError> {
        let Some(text) = folder.read(FILE)? else {
            return Ok(Self::default());
        };
        let clients = serde_json::from_str(&text).map_err(|e| folder.damaged(FILE, e))?;
        let mut register = Self(clients);
        let now = unix_s(now);
        register.0.retain(|c| c.expires_unix_s > now);
        Ok(register)
    }

    pub(super) fn save(&self, folder: &PrivateFolder) -> Result<(), TrustError> {
        let text = serde_json::to_string_pretty(&self.0);
        folder.write(FILE, &text.map_err(|e| folder.damaged(FILE, e))?)
    }

    /// Whether there is room for another certificate of a name.
    pub(super) fn check_room(&self, name: &ClientName) -> Result<(), EnrolRefusal> {
        if self.0.len() >= CERTIFICATES_MAX {
            return Err(EnrolRefusal::Full);
        }
        let of_name = self.0.iter().filter(|c| c.name == *name);
        if of_name.count() >= OF_ONE_NAME_MAX {
            return Err(EnrolRefusal::TooManyRenewals);
        }
        Ok(())
    }

    /// Adds a certificate that was just signed.
    pub(super) fn add(&mut self, name: ClientName, facts: &Facts) {
        self.0.push(Client {
            name,
            fingerprint: facts.fingerprint,
            expires_unix_s: unix_s(facts.until),
            revoked: false,
        });
    }

    /// The name asked for, or the same with the first number that no client
    /// has: a name that is revoked later means one client only.
    pub(super) fn free_name(&self, wanted: ClientName) -> ClientName {
        let taken = |name: &ClientName| self.0.iter().any(|c| c.name == *name);
        if !taken(&wanted) {
            return wanted;
        }
        // One number more than there are clients, so that one is free.
        let numbers = 2..=self.0.len() + 2;
        let mut names = numbers.map(|n| wanted.numbered(n));
        names.find(|n| !taken(n)).unwrap_or(wanted)
    }
}

pub(super) fn unix_s(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.map_or(0, |d| d.as_secs())
}
