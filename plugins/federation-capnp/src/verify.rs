//! Who may connect, as far as TLS can tell: the checks of a peer's certificate, in both directions.

use std::sync::{Arc, Mutex, PoisonError};

use qpq_quic_common::{PeerCheck, Role, Verifier};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme};

use crate::address::domain_of;
use crate::certs::Material;
use crate::config::Config;
use crate::der;
use crate::limits::{MAX_INTERMEDIATES, MAX_NAMES};
use crate::refusal::{Reason, Refusal};

/// Which domains may connect.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    allow: Vec<String>,
    block: Vec<String>,
}

impl Policy {
    /// The policy of a configuration.
    pub(crate) fn new(config: &Config) -> Self {
        Self { allow: config.allow.clone(), block: config.block.clone() }
    }

    /// Whether a domain may connect.
    pub(crate) fn check(&self, domain: &str) -> Result<(), Refusal> {
        let among = |list: &[String]| list.iter().any(|listed| listed == domain);
        if among(&self.block) {
            return Err(Refusal::found(Reason::Blocked, domain));
        }
        if !self.allow.is_empty() && !among(&self.allow) {
            return Err(Refusal::found(Reason::NotListed, domain));
        }
        Ok(())
    }

    /// Whether one of these domains may connect. The error is that of the first.
    fn check_any(&self, names: &[String]) -> Result<(), Refusal> {
        let mut first = Err(Refusal::new(Reason::NoDomain));
        for name in names.iter().rev() {
            match self.check(name) {
                Ok(()) => return Ok(()),
                refused => first = refused,
            }
        }
        first
    }
}

/// What a verifier has seen of the peer of one connection.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<Sight>);

#[derive(Debug, Default)]
struct Sight {
    names: Vec<String>,
    refusal: Option<Refusal>,
}

impl Seen {
    /// The domains in the certificate that it showed, good or not.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).names.clone()
    }

    /// Why it was refused.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).refusal.clone()
    }

    fn note(&self, names: &[String], judged: &Result<(), Refusal>) {
        let mut sight = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.clone_into(&mut sight.names);
        sight.refusal = judged.as_ref().err().cloned();
    }
}

/// The DNS names of a certificate, in lower case, without those that stand for many.
pub(crate) fn names_of(certificate: &CertificateDer<'_>) -> Result<Vec<String>, Refusal> {
    let malformed = |_| Refusal::new(Reason::Malformed);
    let parsed = webpki::EndEntityCert::try_from(certificate).map_err(malformed)?;
    Ok(parsed.valid_dns_names().filter_map(|name| domain_of(name).ok()).take(MAX_NAMES).collect())
}

/// Which domain a peer must prove.
#[derive(Debug)]
pub(crate) enum Judge {
    /// One that may connect: the peer has dialled us.
    Policy(Policy),
    /// The one that was dialled.
    Domain(String),
}

/// Checks the certificate of the peer of one connection.
#[derive(Debug)]
pub(crate) struct Examiner {
    algorithms: WebPkiSupportedAlgorithms,
    material: Arc<Material>,
    judge: Judge,
    /// Judges clients.
    clients: Arc<dyn ClientCertVerifier>,
    seen: Arc<Seen>,
}

impl Examiner {
    /// What verifies the peer of one connection, and what it will have seen.
    pub(crate) fn new(
        provider: &Arc<CryptoProvider>,
        material: Arc<Material>,
        judge: Judge,
    ) -> Result<(Verifier<Self>, Arc<Seen>), rustls::Error> {
        let clients = WebPkiClientVerifier::builder_with_provider(material.roots.clone(), provider.clone())
            .build()
            .map_err(|e| rustls::Error::General(e.to_string()))?;
        let (algorithms, seen) = (provider.signature_verification_algorithms, Arc::new(Seen::default()));
        let examiner = Self { algorithms, material, judge, clients, seen: seen.clone() };
        Ok((Verifier(Arc::new(examiner)), seen))
    }

    /// Judges a certificate; `chain_check` is the part that differs between clients and servers.
    fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        chain_check: impl FnOnce() -> Result<(), rustls::Error>,
    ) -> Result<(), rustls::Error> {
        let names = names_of(end_entity);
        let judged = match &names {
            Ok(_) if intermediates.len() > MAX_INTERMEDIATES => {
                Err(Refusal::found(Reason::Malformed, "too many intermediate certificates"))
            }
            Ok(names) => chain_check().map_err(|e| reason_of(&e, end_entity)).and_then(|()| self.check_names(names)),
            Err(refusal) => Err(refusal.clone()),
        };
        self.seen.note(&names.unwrap_or_default(), &judged);
        judged.map_err(to_rustls)
    }

    fn check_names(&self, names: &[String]) -> Result<(), Refusal> {
        let wanted = match &self.judge {
            Judge::Policy(policy) => return policy.check_any(names),
            Judge::Domain(wanted) => wanted,
        };
        match names.contains(wanted) {
            true => Ok(()),
            false if names.is_empty() => Err(Refusal::new(Reason::NoDomain)),
            false => Err(Refusal::found(Reason::WrongDomain, &format!("dialled {wanted}, found {}", names.join(", ")))),
        }
    }
}

impl PeerCheck for Examiner {
    const RAW_KEYS: bool = false;

    fn check(
        &self,
        role: Role,
        shown: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        self.judge(shown, intermediates, || match role {
            Role::Client => self.clients.verify_client_cert(shown, intermediates, now).map(|_| ()),
            Role::Server => {
                let parsed = ParsedCertificate::try_from(shown)?;
                let roots = &self.material.roots;
                verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, self.algorithms.all)
            }
        })
    }

    fn check_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, shown, signed, &self.algorithms).map_err(|_| {
            let refusal = Refusal::new(Reason::KeyMismatch);
            self.seen.note(&self.seen.names(), &Err(refusal.clone()));
            to_rustls(refusal)
        })
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn to_rustls(refusal: Refusal) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(refusal))).into()
}

/// What an error of the chain's check means.
fn reason_of(error: &rustls::Error, certificate: &CertificateDer<'_>) -> Refusal {
    let rustls::Error::InvalidCertificate(error) = error else { return Refusal::new(Reason::Malformed) };
    let reason = match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Reason::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Reason::NotYetValid,
        // The second where the CA has the name of a trusted one, and another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            let own = der::fields(certificate).is_some_and(|fields| fields.issuer == fields.subject);
            if own { Reason::SelfSigned } else { Reason::UnknownAuthority }
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => Reason::Usage,
        CertificateError::Other(OtherError(other))
            if matches!(other.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity)) =>
        {
            Reason::AuthorityAsLeaf
        }
        CertificateError::Other(OtherError(other))
            if matches!(other.downcast_ref(), Some(webpki::Error::NameConstraintViolation)) =>
        {
            Reason::NotPermitted
        }
        _ => Reason::Malformed,
    };
    match reason {
        Reason::Malformed | Reason::Expired | Reason::NotYetValid => Refusal::found(reason, &error.to_string()),
        Reason::NotPermitted => Refusal::found(reason, &names_of(certificate).unwrap_or_default().join(", ")),
        reason => Refusal::new(reason),
    }
}

/// Checks our own chain as another domain with the same CAs will.
pub(crate) fn self_check(
    chain: &[CertificateDer<'_>],
    roots: &RootCertStore,
    provider: &CryptoProvider,
) -> Result<(), Refusal> {
    let (leaf, intermediates) = chain.split_first().ok_or_else(|| Refusal::new(Reason::NoCertificate))?;
    let algorithms = provider.signature_verification_algorithms.all;
    let checked = ParsedCertificate::try_from(leaf).and_then(|parsed| {
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, UnixTime::now(), algorithms)
    });
    checked.map_err(|error| reason_of(&error, leaf))
}
