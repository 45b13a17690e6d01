//! The authority: it issues certificates to servers, and vouches for other authorities within limits.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, NameConstraints, PublicKeyData, SanType,
    SerialNumber, SubjectPublicKeyInfo,
};
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::asn1_rs::Tag;
use x509_parser::prelude::FromDer;

use super::facts::Facts;
use super::problem::Problem;
use super::trust::{self, Side};
use super::{BACKDATED_DAYS, CA_CERTIFICATE, CA_KEY, DAY_SECONDS, MAX_NAME, files, key};

/// The longest common name (RFC 5280, ub-common-name). A longer domain stands among the alternative names alone.
const MAX_COMMON_NAME: usize = 64;

/// One authority that it vouches for may stand below an authority, …
const OWN_PATH_LEN: u8 = 1;

/// … and none below that one.
const CROSS_PATH_LEN: u8 = 0;

/// An authority that can issue certificates.
pub(super) struct Authority {
    /// Its own certificate.
    pub certificate: CertificateDer<'static>,
    /// What that says.
    pub facts: Facts,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new authority.
    pub(super) fn generate(name: &str, days: u32, now: u64) -> Result<Self, Problem> {
        let name = name.trim();
        if name.is_empty() || name.chars().count() > MAX_NAME || name.chars().any(char::is_control) {
            let text = format!("the name of an authority has 1 to {MAX_NAME} characters, such as \"Valley mesh\".");
            return Err(Problem::refused(text));
        }
        let pair = key::generate()?;
        let mut params = authority_params(OWN_PATH_LEN);
        params.distinguished_name = named(name);
        (params.not_before, params.not_after) = (backdated(now).into(), at(now + span(days)).into());
        let certificate = params.self_signed(&pair)?;
        Self::new(certificate.der().clone(), pair).ok_or_else(|| unreadable(Path::new(CA_CERTIFICATE)))
    }

    /// Opens the authority of a folder. Its certificate may stand among others that are trusted too.
    pub(super) fn open(folder: &Path) -> Result<Self, Problem> {
        let (path, key_path) = (folder.join(CA_CERTIFICATE), folder.join(CA_KEY));
        if !files::taken(&path) && !files::taken(&key_path) {
            let text =
                "no authority is there. Make one with `qpq federation ca --name NAME`, or name its folder with --ca.";
            return Err(Problem::unusable(folder, text));
        }
        let pair = key::read(&key_path)?;
        let public = pair.subject_public_key_info();
        let own = files::read_certificates(&path)?
            .into_iter()
            .find(|certificate| Facts::of(certificate).is_some_and(|facts| facts.public_key == public));
        let Some(own) = own else {
            let text =
                format!("no certificate in it fits {}. Put back the file that was made with it.", key_path.display());
            return Err(Problem::unusable(&path, text));
        };
        let authority = Self::new(own, pair).ok_or_else(|| unreadable(&path))?;
        if !authority.facts.ca || !authority.facts.signs_certificates {
            return Err(Problem::unusable(&path, "it isn't the certificate of an authority (CA:TRUE, keyCertSign)."));
        }
        Ok(authority)
    }

    fn new(certificate: CertificateDer<'static>, pair: KeyPair) -> Option<Self> {
        let facts = Facts::of(&certificate)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, pair).ok()?;
        Some(Self { certificate, facts, issuer })
    }

    /// The secret key.
    pub(super) fn key(&self) -> &KeyPair {
        self.issuer.key()
    }

    /// Makes the certificate of a server, and proves that the others will take it.
    pub(super) fn issue(
        &self,
        domain: &str,
        key: &impl PublicKeyData,
        days: u32,
        now: u64,
    ) -> Result<CertificateDer<'static>, Problem> {
        let mut params = CertificateParams::default();
        params.distinguished_name =
            if domain.len() <= MAX_COMMON_NAME { named(domain) } else { DistinguishedName::new() };
        params.subject_alt_names = vec![SanType::DnsName(domain.try_into()?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        params.serial_number = Some(serial());
        (params.not_before, params.not_after) = (backdated(now).into(), at(self.end(days, now)?).into());
        let made: CertificateDer<'static> = params.signed_by(key, &self.issuer)?.into();
        self.prove(&made, domain, now)?;
        Ok(made)
    }

    fn prove(&self, made: &CertificateDer<'static>, domain: &str, now: u64) -> Result<(), Problem> {
        if !trust::names(made, domain) {
            return Err(Problem::refused(format!(
                "`{domain}` can't be the name of a server: TLS takes it for no domain name. Choose one such as node1.mesh.local."
            )));
        }
        for side in Side::BOTH {
            let chain = std::slice::from_ref(made);
            trust::verdict(chain, std::slice::from_ref(&self.certificate), side, now).map_err(|error| {
                let (_, problem, remedy) = trust::reason(&error);
                Problem::refused(format!("a certificate for {domain} would be of no use: {problem}. {remedy}"))
            })?;
        }
        Ok(())
    }

    /// Makes a certificate by which whoever trusts this authority trusts the other one too, for those domains alone.
    pub(super) fn vouch(
        &self,
        other: &CertificateDer<'_>,
        permit: &[String],
        days: u32,
        now: u64,
    ) -> Result<CertificateDer<'static>, Problem> {
        if self.facts.path_len == Some(0) {
            return Err(Problem::refused(
                "this authority was made for servers alone (pathlen 0), so it can't vouch for another. Make one with `qpq federation ca`.",
            ));
        }
        let facts = Facts::of(other).filter(|facts| facts.ca && facts.signs_certificates);
        let facts = facts.ok_or_else(|| {
            Problem::refused("that is no certificate of an authority. Ask the other community for its ca.pem.")
        })?;
        if facts.public_key == self.facts.public_key {
            return Err(Problem::refused(
                "that is this authority's own certificate. Name the other community's ca.pem.",
            ));
        }
        if facts.days_left(now) < 0 {
            return Err(Problem::refused("the other authority's certificate has expired. Ask for its new one."));
        }
        let mut params = authority_params(CROSS_PATH_LEN);
        params.distinguished_name = subject(other).ok_or_else(unrepeatable)?;
        if let Some(id) = facts.key_id {
            params.key_identifier_method = KeyIdMethod::PreSpecified(id);
        }
        params.use_authority_key_identifier_extension = true;
        params.name_constraints = Some(constraints(permit));
        let end = self.end(days, now)?.min(u64::try_from(facts.not_after).unwrap_or_default());
        (params.not_before, params.not_after) = (backdated(now).into(), at(end).into());
        let key = SubjectPublicKeyInfo::from_der(&facts.public_key)?;
        let made: CertificateDer<'static> = params.signed_by(&key, &self.issuer)?.into();
        // Certificates name their issuer byte by byte: one that is written differently would be of no use.
        let same =
            Facts::of(&made).is_some_and(|made| made.subject == facts.subject && made.public_key == facts.public_key);
        if same { Ok(made) } else { Err(unrepeatable()) }
    }

    /// When something that it signs now ends: not after itself.
    fn end(&self, days: u32, now: u64) -> Result<u64, Problem> {
        if self.facts.days_left(now) < 0 {
            return Err(Problem::refused(
                "the authority has expired. Check this machine's clock (`date`); if it is right, make a new authority with \
                 `qpq federation ca` and give its ca.pem to every server.",
            ));
        }
        Ok((now + span(days)).min(u64::try_from(self.facts.not_after).unwrap_or_default()))
    }
}

fn authority_params(path_len: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_len));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(serial());
    params
}

/// Those domains and what is below them, and no IP address.
fn constraints(permit: &[String]) -> NameConstraints {
    let everything = [CidrSubnet::V4([0; 4], [0; 4]), CidrSubnet::V6([0; 16], [0; 16])];
    NameConstraints {
        permitted_subtrees: permit.iter().cloned().map(GeneralSubtree::DnsName).collect(),
        excluded_subtrees: everything.into_iter().map(GeneralSubtree::IpAddress).collect(),
    }
}

/// A certificate's subject, to be repeated in another one.
fn subject(certificate: &CertificateDer<'_>) -> Option<DistinguishedName> {
    let (_, x509) = X509Certificate::from_der(certificate).ok()?;
    let mut name = DistinguishedName::new();
    for attribute in x509.subject().iter_attributes() {
        let kind = DnType::from_oid(&attribute.attr_type().iter()?.collect::<Vec<_>>());
        let text = std::str::from_utf8(attribute.attr_value().data).ok()?;
        let value = match attribute.attr_value().header.tag() {
            Tag::Utf8String => DnValue::Utf8String(text.to_owned()),
            Tag::PrintableString => DnValue::PrintableString(text.try_into().ok()?),
            Tag::Ia5String => DnValue::Ia5String(text.try_into().ok()?),
            _ => return None,
        };
        name.push(kind, value);
    }
    Some(name)
}

/// 126 random bits. The first byte is neither 0 nor above 0x7f, so that they are a positive number of that length.
fn serial() -> SerialNumber {
    let mut bytes: [u8; 16] = rand::random();
    bytes[0] = bytes[0] & 0x7f | 0x40;
    SerialNumber::from_slice(&bytes)
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn span(days: u32) -> u64 {
    u64::from(days) * DAY_SECONDS
}

fn backdated(now: u64) -> SystemTime {
    at(now.saturating_sub(span(BACKDATED_DAYS)))
}

fn at(secs: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(secs)
}

fn unreadable(path: &Path) -> Problem {
    Problem::unusable(path, "this certificate can't be read. Put back your copy.")
}

fn unrepeatable() -> Problem {
    Problem::refused(
        "the other authority's name has a form that can't be repeated exactly, so its certificates would not fit. \
         Ask for an authority made with `qpq federation ca`.",
    )
}
