use super::*;
use proptest::prelude::*;
use rustls::pki_types::CertificateDer;
use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use tempfile::TempDir;

const DAY: Duration = Duration::from_secs(24 * 3600);
const ADDRESS: &str = "node.example:4433";

fn folder() -> (TempDir, PathBuf) {
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("trust");
    (outer, path)
}

fn open(path: &Path, now: SystemTime) -> Authority {
    Authority::open(path, Validity::default(), now).unwrap()
}

fn request(authority: &Authority, key: &NewKey, name: &str, now: SystemTime) -> EnrolRequest {
    let token = authority.issue_token(ADDRESS, DAY / 24, now).unwrap();
    EnrolRequest::First {
        id: token.id,
        secret: token.secret,
        name: name.to_owned(),
        csr: key.csr().to_vec(),
    }
}

fn signed(answer: EnrolAnswer) -> Signed {
    match answer {
        EnrolAnswer::Signed(signed) => signed,
        EnrolAnswer::Refused(refusal) => panic!("{refusal}"),
    }
}

fn enrol(authority: &Authority, name: &str, now: SystemTime) -> Identity {
    let key = NewKey::generate().unwrap();
    let answer = authority.answer(&request(authority, &key, name, now), None, now);
    Identity::new(ADDRESS, &key, signed(answer.unwrap())).unwrap()
}

#[test]
fn an_authority_outlives_its_process() {
    let (_outer, path) = folder();
    let now = SystemTime::now();
    let first = open(&path, now);
    let anna = enrol(&first, "anna", now);
    let second = open(&path, now);
    assert_eq!(first.fingerprint(), second.fingerprint());
    let names: Vec<_> = second
        .list(now)
        .unwrap()
        .into_iter()
        .map(|c| c.name)
        .collect();
    assert_eq!(names, [anna.peer().unwrap().name]);
    // What one process revokes, another knows.
    second.revoke("anna", now).unwrap();
    assert!(first.is_revoked(&anna.certificate()).unwrap());
    assert!(first.list(now).unwrap()[0].revoked);
}

#[test]
fn a_fingerprint_revokes_one_certificate_of_a_name() {
    let (_outer, path) = folder();
    let now = SystemTime::now();
    let authority = open(&path, now);
    let old = enrol(&authority, "anna", now);
    let key = NewKey::generate().unwrap();
    let renewal = EnrolRequest::Renewal {
        csr: key.csr().to_vec(),
    };
    let peer = old.peer().unwrap();
    let answer = authority.answer(&renewal, Some(&peer), now).unwrap();
    let new = Identity::new(ADDRESS, &key, signed(answer)).unwrap();
    let taken = authority
        .revoke(&peer.fingerprint.to_string(), now)
        .unwrap();
    assert_eq!(taken.len(), 1);
    assert!(authority.is_revoked(&old.certificate()).unwrap());
    assert!(!authority.is_revoked(&new.certificate()).unwrap());
    let error = authority.revoke("bob", now).unwrap_err();
    assert!(matches!(error, TrustError::UnknownClient(_)), "{error}");
    let refused = authority.answer(&renewal, None, now).unwrap();
    assert_eq!(refused, EnrolAnswer::Refused(EnrolRefusal::NoCertificate));
}

#[test]
fn no_client_fills_the_register_by_renewing() {
    let (_outer, path) = folder();
    let now = SystemTime::now();
    let authority = open(&path, now);
    let peer = enrol(&authority, "anna", now).peer().unwrap();
    let csr = NewKey::generate().unwrap().csr().to_vec();
    let renewal = EnrolRequest::Renewal { csr };
    let mut renewals = 0;
    let refusal = loop {
        match authority.answer(&renewal, Some(&peer), now).unwrap() {
            EnrolAnswer::Signed(_) => renewals += 1,
            EnrolAnswer::Refused(refusal) => break refusal,
        }
    };
    assert_eq!((refusal, renewals), (EnrolRefusal::TooManyRenewals, 15));
    enrol(&authority, "bob", now);
    let later = now + 366 * DAY;
    let answer = authority.answer(&renewal, Some(&peer), later).unwrap();
    assert!(matches!(answer, EnrolAnswer::Signed(_)), "those have ended");
}

#[test]
fn certificates_are_renewed_before_they_end() {
    let (_outer, path) = folder();
    let begin = SystemTime::now();
    let authority = open(&path, begin);
    let [server, of] = authority.shown().0;
    assert!(!authority.renew(begin + 50 * DAY).unwrap());
    assert!(authority.renew(begin + 70 * DAY).unwrap());
    let [renewed, same] = authority.shown().0;
    assert_ne!(server, renewed);
    assert_eq!(of, same);
    assert!(!authority.renew(begin + 70 * DAY).unwrap());

    // Nine years on, the authority signs itself anew with the key it had.
    assert!(authority.renew(begin + 9 * 365 * DAY).unwrap());
    let [_, later] = authority.shown().0;
    assert_ne!(of, later);
    let key = |c: &CertificateDer<'_>| certificate::public_key(c).unwrap();
    assert_eq!(key(&of), key(&later));
    let names = [&of, &later].map(|c| certificate::read(c).unwrap().name);
    assert_eq!(names[0], names[1]);
}

#[test]
fn a_client_says_when_it_wants_renewal() {
    let (_outer, path) = folder();
    let now = SystemTime::now();
    let anna = enrol(&open(&path, now), "anna", now);
    assert!(!anna.renewal_due(now + 200 * DAY).unwrap());
    assert!(anna.renewal_due(now + 260 * DAY).unwrap());
    let lasts = anna.expires().unwrap().duration_since(now).unwrap();
    assert!(
        (365 * DAY).abs_diff(lasts) < Duration::from_secs(2),
        "{lasts:?}"
    );
}

#[test]
fn keys_of_other_kinds_are_not_signed_and_leave_the_token() {
    let (_outer, path) = folder();
    let now = SystemTime::now();
    let authority = open(&path, now);
    let key = NewKey::generate().unwrap();
    let good = request(&authority, &key, "anna", now);
    let EnrolRequest::First {
        id, secret, name, ..
    } = good.clone()
    else {
        panic!("a first request");
    };
    let curve = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let csr = rcgen::CertificateParams::default().serialize_request(&curve);
    let csr = csr.unwrap().der().to_vec();
    let bad = EnrolRequest::First {
        id,
        secret,
        name,
        csr,
    };
    let refused = authority.answer(&bad, None, now).unwrap();
    assert_eq!(refused, EnrolAnswer::Refused(EnrolRefusal::BadRequest));
    let answer = authority.answer(&good, None, now).unwrap();
    assert!(matches!(answer, EnrolAnswer::Signed(_)));
}

#[test]
fn an_edge_takes_no_certificate_for_another_key() {
    let (_outer, path) = folder();
    let now = SystemTime::now();
    let authority = open(&path, now);
    let [key, other] = [(); 2].map(|()| NewKey::generate().unwrap());
    let answer = authority.answer(&request(&authority, &key, "anna", now), None, now);
    let error = Identity::new(ADDRESS, &other, signed(answer.unwrap())).unwrap_err();
    assert!(error.to_string().contains("another key"), "{error}");
}

#[test]
fn damaged_files_are_named() {
    let (_outer, path) = folder();
    let now = SystemTime::now();
    for file in ["authority.key", "authority.pem", "server.pem"] {
        let _ = std::fs::remove_dir_all(&path);
        open(&path, now);
        std::fs::write(path.join(file), "nonsense").unwrap();
        let error = Authority::open(&path, Validity::default(), now).unwrap_err();
        assert!(error.to_string().contains(file), "{error}");
    }
    // A key that another authority made.
    let _ = std::fs::remove_dir_all(&path);
    open(&path, now);
    std::fs::remove_file(path.join("authority.key")).unwrap();
    let error = Authority::open(&path, Validity::default(), now).unwrap_err();
    assert!(error.to_string().contains("authority.pem"), "{error}");
}

#[test]
fn a_validity_out_of_reason_is_refused() {
    let (_outer, path) = folder();
    for client in [Duration::ZERO, Duration::MAX] {
        let validity = Validity {
            client,
            ..Validity::default()
        };
        let error = Authority::open(&path, validity, SystemTime::now()).unwrap_err();
        assert!(matches!(error, TrustError::Validity(_)), "{error}");
    }
}

proptest! {
    #[test]
    fn any_signing_request_is_answered(csr in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(authority::parse_request(&csr).is_err());
    }

    #[test]
    fn a_changed_signing_request_is_for_the_same_key_or_none(at in 0usize..1000, by in 1u8..) {
        let key = NewKey::generate().unwrap();
        let mut csr = key.csr().to_vec();
        let whole = authority::parse_request(&csr).unwrap();
        let at = at % csr.len();
        csr[at] ^= by;
        // Bytes that no signature covers may be written in several ways.
        if let Ok(changed) = authority::parse_request(&csr) {
            prop_assert_eq!(changed.public_key, whole.public_key, "byte {} ^ {}", at, by);
        }
    }

    #[test]
    fn any_bytes_are_a_certificate_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(Peer::of(&CertificateDer::from(bytes)).is_err());
    }
}
