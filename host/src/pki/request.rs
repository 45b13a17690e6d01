//! Requests: how a server gets a certificate while its secret key stays where it is.

use std::path::Path;

use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, DnValue, KeyPair, PublicKey, SanType,
};

use super::files;
use super::problem::Problem;

/// A request for a certificate, as text in PEM form.
pub(super) fn make(domain: &str, key: &KeyPair) -> Result<String, Problem> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::DnsName(domain.try_into()?)];
    Ok(params.serialize_request(key)?.pem()?)
}

/// A request whose signature is good: whoever made it has the secret key.
pub(super) struct Request {
    /// The key to certify. Nothing else of the request goes into a certificate.
    pub key: PublicKey,
    /// The names that it asks for beyond the one that the operator named.
    pub ignored: Vec<String>,
}

/// Reads a request that must ask for that domain.
pub(super) fn read(path: &Path, domain: &str) -> Result<Request, Problem> {
    let der = files::read_request(path)?;
    let request = CertificateSigningRequestParams::from_der(&der).map_err(|error| match error {
        rcgen::Error::InvalidCertificationRequestSignature => Problem::unusable(
            path,
            "its signature is wrong, so it was damaged or changed on its way. Have it sent again.",
        ),
        error => Problem::unusable(
            path,
            format!("this request can't be used ({error}). `qpq federation request` makes one."),
        ),
    })?;
    let (asked, ignored): (Vec<_>, Vec<_>) = names(&request.params).into_iter().partition(|name| name == domain);
    if asked.is_empty() {
        let asks = if ignored.is_empty() { "no domain".to_owned() } else { ignored.join(", ") };
        let text = format!(
            "it asks for {asks}, not for {domain}. Name the domain that it is to have, or ask for the right request."
        );
        return Err(Problem::unusable(path, text));
    }
    Ok(Request { key: request.public_key, ignored })
}

/// The domains that a request asks for: its alternative names, or the common name of an old-fashioned one.
fn names(params: &CertificateParams) -> Vec<String> {
    let dns = |name: &SanType| match name {
        SanType::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        _ => None,
    };
    let found: Vec<String> = params.subject_alt_names.iter().filter_map(dns).collect();
    if !found.is_empty() {
        return found;
    }
    match params.distinguished_name.get(&DnType::CommonName) {
        Some(DnValue::Utf8String(name)) => vec![name.to_ascii_lowercase()],
        Some(DnValue::PrintableString(name)) => vec![name.as_str().to_ascii_lowercase()],
        _ => vec![],
    }
}
