//! What the other side will say of a certificate, asked of the code that it uses itself.

use rustls_pki_types::{CertificateDer, DnsName, ServerName, UnixTime};
use std::time::Duration;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, Error, KeyUsage, anchor_from_trusted_cert};

/// Which side of a connection shows the certificate. Servers of a federation are both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The one that was dialled.
    Server,
    /// The one that dialled.
    Client,
}

impl Side {
    pub(super) const BOTH: [Self; 2] = [Self::Server, Self::Client];
}

/// Whether a chain, the server's own certificate first, leads to one of the authorities.
pub(super) fn verdict(
    chain: &[CertificateDer<'_>],
    authorities: &[CertificateDer<'_>],
    side: Side,
    now: u64,
) -> Result<(), Error> {
    let Some((own, above)) = chain.split_first() else { return Err(Error::UnknownIssuer) };
    let anchors: Result<Vec<_>, _> = authorities.iter().map(anchor_from_trusted_cert).collect();
    let usage = match side {
        Side::Server => KeyUsage::server_auth(),
        Side::Client => KeyUsage::client_auth(),
    };
    let time = UnixTime::since_unix_epoch(Duration::from_secs(now));
    let own = EndEntityCert::try_from(own)?;
    own.verify_for_usage(ALL_VERIFICATION_ALGS, &anchors?, above, time, usage, None, None).map(drop)
}

/// Whether a certificate is one for that domain.
pub(super) fn names(certificate: &CertificateDer<'_>, domain: &str) -> bool {
    let (Ok(own), Ok(name)) = (EndEntityCert::try_from(certificate), DnsName::try_from(domain)) else { return false };
    own.verify_is_valid_for_subject_name(&ServerName::DnsName(name)).is_ok()
}

/// What is wrong, and what to do about it.
pub(super) fn reason(error: &Error) -> (&'static str, String, String) {
    let anew = "Issue the certificate anew with `qpq federation cert`.".to_owned();
    match error {
        Error::UnknownIssuer | Error::InvalidSignatureForPublicKey => (
            "chain",
            "it wasn't issued by an authority of the CA file".to_owned(),
            "Name the file of its authority in federation_ca; for a server of another community, its authority must be \
             vouched for (`qpq federation cross-sign`)."
                .to_owned(),
        ),
        Error::NameConstraintViolation => (
            "name-constraint",
            "its names lie outside of what its authority may name".to_owned(),
            "Give it a name in the permitted domain, or have the authority vouched for again with --permit.".to_owned(),
        ),
        Error::PathLenConstraintViolated => (
            "path-length",
            "an authority vouches for another one without being allowed to".to_owned(),
            "Make the upper authority with `qpq federation ca`.".to_owned(),
        ),
        Error::CertExpired { .. } => {
            ("expired", "a certificate between it and the authority has expired".to_owned(), anew)
        }
        Error::CertNotValidYet { .. } => (
            "not-yet-valid",
            "a certificate between it and the authority isn't valid yet".to_owned(),
            "Check this machine's clock (`date`).".to_owned(),
        ),
        other => ("refused", format!("other servers would refuse it ({other})"), anew),
    }
}
