//! What a certificate says, read once.

use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

/// What a certificate says.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// Whom it names, as it stands in the certificate.
    pub subject: Vec<u8>,
    /// The same for people.
    pub name: String,
    /// The public key with its kind (SubjectPublicKeyInfo).
    pub public_key: Vec<u8>,
    /// The identifier of the key, where it has one.
    pub key_id: Option<Vec<u8>>,
    /// Its first second, Unix time.
    pub not_before: i64,
    /// Its last second, Unix time.
    pub not_after: i64,
    /// Its DNS names, in lower case.
    pub domains: Vec<String>,
    /// Whether it may issue certificates.
    pub ca: bool,
    /// How many authorities may stand between it and a server's certificate; no limit where there is none.
    pub path_len: Option<u32>,
    /// Whether its key may sign handshakes.
    pub signs_handshakes: bool,
    /// Whether its key may sign certificates.
    pub signs_certificates: bool,
    /// Whether a server may show it.
    pub server: bool,
    /// Whether a client may show it.
    pub client: bool,
}

impl Facts {
    /// Reads them; `None` when these bytes are no certificate, or have extensions that can't be read.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (rest, x509) = X509Certificate::from_der(certificate).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let constraints = x509.basic_constraints().ok()?.map(|found| found.value);
        let usage = x509.key_usage().ok()?.map(|found| found.value);
        let extended = x509.extended_key_usage().ok()?.map(|found| found.value);
        Some(Self {
            subject: x509.subject().as_raw().to_vec(),
            name: name(&x509),
            public_key: x509.public_key().raw.to_vec(),
            key_id: key_id(&x509),
            not_before: x509.validity().not_before.timestamp(),
            not_after: x509.validity().not_after.timestamp(),
            domains: domains(&x509)?,
            ca: constraints.is_some_and(|found| found.ca),
            path_len: constraints.and_then(|found| found.path_len_constraint),
            // Without the extension, everything is allowed (RFC 5280).
            signs_handshakes: usage.is_none_or(x509_parser::extensions::KeyUsage::digital_signature),
            signs_certificates: usage.is_none_or(x509_parser::extensions::KeyUsage::key_cert_sign),
            server: extended.is_none_or(|found| found.server_auth || found.any),
            client: extended.is_none_or(|found| found.client_auth || found.any),
        })
    }

    /// Whole days until it ends; negative when it has.
    pub(super) fn days_left(&self, now: u64) -> i64 {
        days_between(now, self.not_after)
    }
}

/// Whole days from now to then.
fn days_between(now: u64, then: i64) -> i64 {
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    then.saturating_sub(now).div_euclid(super::DAY_SECONDS.cast_signed())
}

/// The common name, or everything where there is none.
fn name(x509: &X509Certificate<'_>) -> String {
    let common = x509.subject().iter_common_name().next().and_then(|found| found.as_str().ok());
    common.map_or_else(|| x509.subject().to_string(), str::to_owned)
}

fn key_id(x509: &X509Certificate<'_>) -> Option<Vec<u8>> {
    x509.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    })
}

fn domains(x509: &X509Certificate<'_>) -> Option<Vec<String>> {
    let names = x509.subject_alternative_name().ok()?.map(|found| &found.value.general_names);
    let dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    Some(names.into_iter().flatten().filter_map(dns).collect())
}
