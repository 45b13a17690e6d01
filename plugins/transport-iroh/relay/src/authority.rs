//! The community's certificate authority, and the certificates that it issues.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};

use crate::host::Host;
use crate::problem::Problem;
use crate::secret_file::{self, Secrecy};

/// The authority's certificate, which every node gets.
pub(crate) const CA_CERTIFICATE: &str = "ca.pem";
/// The authority's secret key.
pub(crate) const CA_KEY: &str = "ca.key";
/// A relay's certificate.
pub(crate) const RELAY_CERTIFICATE: &str = "relay.pem";
/// A relay's secret key.
pub(crate) const RELAY_KEY: &str = "relay.key";

/// The name inside every authority's certificate. Authorities are told apart by their keys.
const CA_NAME: &str = "quicproquo relay authority";

/// How long an authority holds, in days: twenty years, because changing it means changing every node.
const CA_DAYS: u32 = 7300;

/// Certificates hold from a day before they were made: clocks of routers differ.
const BACKDATED: Duration = DAY;

const DAY: Duration = Duration::from_secs(86_400);

/// An authority that can issue certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Makes a new authority in a folder. One that is there already isn't touched.
    pub(crate) fn create(folder: &Path) -> Result<Self, Problem> {
        secret_file::make_folder(folder)?;
        let (certificate, key) = files(folder);
        if certificate.symlink_metadata().is_ok() {
            return Err(Problem::Exists { path: certificate });
        }
        let pair = new_key()?;
        let mut params = ca_params();
        (params.not_before, params.not_after) = validity(SystemTime::now(), CA_DAYS);
        let text = params.self_signed(&pair).map_err(Problem::Making)?.pem();
        secret_file::create(&key, &pair.serialize_pem(), Secrecy::Secret)?;
        secret_file::create(&certificate, &text, Secrecy::Public)?;
        Ok(Self { issuer: Issuer::new(params, pair) })
    }

    /// Opens the authority in a folder.
    pub(crate) fn open(folder: &Path) -> Result<Self, Problem> {
        let pair = read_key(&files(folder).1)?;
        Ok(Self { issuer: Issuer::new(ca_params(), pair) })
    }

    /// Opens the authority in a folder, or makes one if there is none.
    pub(crate) fn open_or_create(folder: &Path) -> Result<Self, Problem> {
        if folder.join(CA_CERTIFICATE).exists() { Self::open(folder) } else { Self::create(folder) }
    }

    /// Makes or renews the certificate in a folder. A key that is there already is kept.
    pub(crate) fn issue(&self, folder: &Path, hosts: &[Host], days: u32) -> Result<(), Problem> {
        secret_file::make_folder(folder)?;
        let key_path = folder.join(RELAY_KEY);
        let pair = if key_path.exists() {
            read_key(&key_path)?
        } else {
            let pair = new_key()?;
            secret_file::create(&key_path, &pair.serialize_pem(), Secrecy::Secret)?;
            pair
        };
        let certificate = relay_params(hosts, days)?.signed_by(&pair, &self.issuer).map_err(Problem::Making)?;
        secret_file::replace(&folder.join(RELAY_CERTIFICATE), &certificate.pem(), Secrecy::Public)
    }
}

fn files(folder: &Path) -> (PathBuf, PathBuf) {
    (folder.join(CA_CERTIFICATE), folder.join(CA_KEY))
}

/// P-256, because every TLS library takes it.
fn new_key() -> Result<KeyPair, Problem> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(Problem::Making)
}

fn read_key(path: &Path) -> Result<KeyPair, Problem> {
    let text = secret_file::read(path, Secrecy::Secret)?;
    KeyPair::from_pem(&text).map_err(|error| Problem::Certificate {
        path: path.to_owned(),
        text: format!("no usable secret key ({error}). Restore it from your copy, or make everything anew elsewhere."),
    })
}

/// What names the authority. Certificates refer to it by this and its key, so it must stay the same.
fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = named(CA_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn relay_params(hosts: &[Host], days: u32) -> Result<CertificateParams, Problem> {
    let mut params = CertificateParams::default();
    params.distinguished_name = named("quicproquo relay");
    for host in hosts {
        params.subject_alt_names.push(match host {
            Host::Address(address) => SanType::IpAddress((*address).into()),
            Host::Name(name) => SanType::DnsName(name.as_str().try_into().map_err(Problem::Making)?),
        });
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = validity(SystemTime::now(), days);
    Ok(params)
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// From a day ago until so many days from now.
fn validity<T>(now: SystemTime, days: u32) -> (T, T)
where
    T: From<SystemTime>,
{
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let begin = UNIX_EPOCH + now.saturating_sub(BACKDATED);
    (begin.into(), (UNIX_EPOCH + now + DAY * days).into())
}
