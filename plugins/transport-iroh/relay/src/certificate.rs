//! The certificate that the relay shows: checked as a node would check it, and read again while the relay runs.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, RootCertStore};

use crate::config::Config;
use crate::host::Host;
use crate::problem::Problem;
use crate::secret_file::{self, Secrecy};

const DAY_SECONDS: u64 = 86_400;

/// A moment after the end of every certificate: year 9999.
const FAR_FUTURE: Duration = Duration::from_secs(253_370_764_800);

/// A certificate and its key, found good.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    key: Arc<CertifiedKey>,
    /// When it ends.
    not_after: Duration,
}

impl Certificate {
    /// Reads the files that the configuration names, and checks them as the nodes will.
    pub(crate) fn load(config: &Config) -> Result<Self, Problem> {
        let provider = provider();
        let bad = |path: &Path, text: String| Problem::Certificate { path: path.to_owned(), text };
        let chain = read_chain(&config.certificate)?;
        let secret = PrivateKeyDer::from_pem_slice(secret_file::read(&config.key, Secrecy::Secret)?.as_bytes())
            .map_err(|error| bad(&config.key, format!("no secret key in PEM form ({error}). {ISSUE}")))?;
        let key = CertifiedKey::from_der(chain, secret, &provider).map_err(|error| {
            let files = format!("{} and this file", config.certificate.display());
            bad(&config.key, format!("{files} don't make a pair ({error}). {ISSUE}"))
        })?;
        let judge = Judge::new(&config.ca, provider)?;
        for host in &config.hosts {
            let verdict = judge.verdict(&key.cert, host, now());
            verdict.map_err(|error| bad(&config.certificate, refusal(&error, host, &config.ca)))?;
        }
        let not_after = config.hosts.first().and_then(|host| judge.not_after(&key.cert, host)).unwrap_or(FAR_FUTURE);
        Ok(Self { key: Arc::new(key), not_after })
    }

    /// Whole days until it ends.
    pub(crate) fn days_left(&self) -> u64 {
        self.not_after.saturating_sub(now()).as_secs() / DAY_SECONDS
    }
}

/// What to do about files that don't fit.
const ISSUE: &str = "Issue them anew with `qpq-relay cert`.";

/// Checks certificates with the code and the rules of the nodes.
struct Judge(Arc<WebPkiServerVerifier>);

impl Judge {
    fn new(ca: &Path, provider: Arc<CryptoProvider>) -> Result<Self, Problem> {
        let bad = |text: String| Problem::Certificate { path: ca.to_owned(), text };
        let mut roots = RootCertStore::empty();
        for certificate in read_chain(ca)? {
            roots.add(certificate).map_err(|error| bad(format!("no certificate of an authority: {error}.")))?;
        }
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
        verifier.map(Self).map_err(|error| bad(format!("no usable authority: {error}.")))
    }

    fn verdict(&self, chain: &[CertificateDer<'_>], host: &Host, at: Duration) -> Result<(), rustls::Error> {
        let (Some((own, above)), Some(name)) = (chain.split_first(), host.server_name()) else {
            return Err(rustls::Error::NoCertificatesPresented);
        };
        self.0.verify_server_cert(own, above, &name, &[], UnixTime::since_unix_epoch(at)).map(drop)
    }

    /// The verifier tells when a certificate ended, so it is asked about a time when every one has.
    fn not_after(&self, chain: &[CertificateDer<'_>], host: &Host) -> Option<Duration> {
        match self.verdict(chain, host, FAR_FUTURE) {
            Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
                Some(Duration::from_secs(not_after.as_secs()))
            }
            _ => None,
        }
    }
}

fn refusal(error: &rustls::Error, host: &Host, ca: &Path) -> String {
    use CertificateError as E;
    let rustls::Error::InvalidCertificate(reason) = error else { return format!("nodes would refuse it: {error}") };
    match reason {
        E::Expired | E::ExpiredContext { .. } => {
            "has expired, so nodes refuse it. Issue a new one with `qpq-relay cert`, and check this machine's clock."
                .to_owned()
        }
        E::NotValidYet | E::NotValidYetContext { .. } => {
            "isn't valid yet. Check this machine's clock (`date`).".to_owned()
        }
        E::NotValidForName | E::NotValidForNameContext { .. } => format!(
            "doesn't name {host}, by which nodes reach this relay (`hosts`). Issue one with `qpq-relay cert --host {host} …`."
        ),
        E::UnknownIssuer | E::BadSignature => format!(
            "wasn't issued by {}, so nodes refuse it. Name its authority in `ca`, or issue one with `qpq-relay cert`.",
            ca.display()
        ),
        other => format!("nodes would refuse it: {other}. {ISSUE}"),
    }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let text = secret_file::read(path, Secrecy::Public)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(Problem::Certificate {
            path: path.to_owned(),
            text: "no certificate in PEM form is in it. Name a file that `qpq-relay ca` or `cert` made.".to_owned(),
        }),
    }
}

/// The cryptography of the nodes too.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Hands the newest certificate to each handshake.
#[derive(Debug)]
pub(crate) struct Shown(RwLock<Arc<CertifiedKey>>);

impl Shown {
    /// Shows that one.
    pub(crate) fn new(certificate: &Certificate) -> Self {
        Self(RwLock::new(Arc::clone(&certificate.key)))
    }

    /// Shows another one from now on.
    pub(crate) fn replace(&self, certificate: &Certificate) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&certificate.key);
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

#[cfg(test)]
mod tests;
