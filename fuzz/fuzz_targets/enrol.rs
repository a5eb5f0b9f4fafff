//! Any bytes are a request for a certificate, an answer to one or a
//! certificate, or are refused; an authority answers every request, and signs
//! for clean names alone.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_offload::trust::{
    Authority, EnrolAnswer, EnrolRequest, Identity, NewKey, PairToken, Peer, Validity,
};
use rustls_pki_types::CertificateDer;
use std::{
    cell::RefCell,
    time::{Duration, SystemTime},
};
use tempfile::TempDir;

const ADDRESS: &str = "node.example:7443";
/// Certificates after which the authority is replaced, for its register grows.
const SIGNED_MAX: usize = 64;

/// A node's authority, a token of it, and an edge.
struct Ground {
    _folder: TempDir,
    authority: Authority,
    token: PairToken,
    key: NewKey,
    signed: usize,
}

impl Ground {
    fn new(now: SystemTime) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("node");
        let authority = Authority::open(&path, Validity::default(), now).expect("an authority");
        Self {
            token: token(&authority, now),
            key: NewKey::generate().expect("a key"),
            _folder: folder,
            authority,
            signed: 0,
        }
    }

    /// Answers a request, with a token that holds where `valid` says so.
    fn answer(&mut self, mut request: EnrolRequest, valid: bool, now: SystemTime) {
        if let EnrolRequest::First { id, secret, .. } = &mut request
            && valid
        {
            (*id, *secret) = (self.token.id, self.token.secret);
        }
        let answer = self.authority.answer(&request, None, now);
        if let EnrolAnswer::Signed(signed) = answer.expect("an answer") {
            let peer = Peer::of(&CertificateDer::from(signed.certificate)).expect("a client's");
            assert_eq!(peer.name.to_string().parse().ok(), Some(peer.name.clone()));
            // A certificate in hand may be renewed, by whom it belongs to.
            if let EnrolRequest::First { csr, .. } = request {
                let renewal = EnrolRequest::Renewal { csr };
                let answer = self.authority.answer(&renewal, Some(&peer), now);
                assert!(matches!(answer, Ok(EnrolAnswer::Signed(_))));
            }
            self.signed += 1;
            self.token = token(&self.authority, now);
        }
    }
}

fn token(authority: &Authority, now: SystemTime) -> PairToken {
    let token = authority.issue_token(ADDRESS, Duration::from_secs(3600), now);
    token.expect("a token")
}

thread_local! {
    static GROUND: RefCell<Option<Ground>> = const { RefCell::new(None) };
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, bytes)) = bytes.split_first() else {
        return;
    };
    GROUND.with_borrow_mut(|ground| {
        let now = SystemTime::now();
        if ground.as_ref().is_some_and(|g| g.signed >= SIGNED_MAX) {
            *ground = None;
        }
        let ground = ground.get_or_insert_with(|| Ground::new(now));
        if let Ok(request) = postcard::from_bytes::<EnrolRequest>(bytes) {
            let again = postcard::to_stdvec(&request).expect("what was read can be written");
            assert_eq!(postcard::from_bytes(&again), Ok(request.clone()));
            ground.answer(request, choice % 2 == 0, now);
        }
        if let Ok(EnrolAnswer::Signed(signed)) = postcard::from_bytes(bytes) {
            assert!(
                Identity::new(ADDRESS, &ground.key, signed).is_err(),
                "not signed"
            );
        }
        let _ = Peer::of(&CertificateDer::from(bytes));
        let _ = ground.authority.is_revoked(&CertificateDer::from(bytes));
    });
});
