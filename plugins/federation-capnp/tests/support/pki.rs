//! CAs and certificates, good ones and bad ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    KeyPair, KeyUsagePurpose, NameConstraints,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;

/// A CA.
pub struct Ca(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its chain, and its key.
#[derive(Debug)]
pub struct Leaf {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

impl Clone for Leaf {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

/// Settings of a certificate for that domain, as they should be.
pub fn params(domain: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![domain.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, domain);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params
}

impl Ca {
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(Self::params(name), key).unwrap())
    }

    /// A CA below this one.
    pub fn below(&self, name: &str) -> Self {
        self.below_with(name, |_| ())
    }

    /// The same with a change of its certificate.
    pub fn below_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = Self::params(name);
        change(&mut params);
        Self(CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.0).unwrap())
    }

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    }

    /// The certificate by which this CA vouches for another one, for domains below that one alone.
    pub fn vouch(&self, other: &Self, other_name: &str, domain: &str) -> CertificateDer<'static> {
        let mut params = Self::params(other_name);
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName(domain.to_owned())],
            excluded_subtrees: Vec::new(),
        });
        params.signed_by(other.0.key(), &self.0).unwrap().der().clone()
    }

    pub fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// A good certificate.
    pub fn issue(&self, domain: &str) -> Leaf {
        self.sign(&params(domain))
    }

    pub fn sign(&self, params: &CertificateParams) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let chain = vec![params.signed_by(&key, &self.0).unwrap().der().clone()];
        Leaf { chain, key: key.into() }
    }
}

/// A certificate that is signed by itself.
pub fn self_signed(params: &CertificateParams) -> Leaf {
    let key = KeyPair::generate().unwrap();
    Leaf { chain: vec![params.self_signed(&key).unwrap().der().clone()], key: key.into() }
}

/// The files of a domain. They stay as long as one of the clones.
#[derive(Clone)]
pub struct Files {
    folder: Arc<TempDir>,
    pub domain: String,
}

impl Files {
    /// Files with that certificate, which trust these CAs.
    pub fn new(domain: &str, leaf: &Leaf, trusted: &[&Ca]) -> Self {
        let files = Self { folder: Arc::new(tempfile::tempdir().unwrap()), domain: domain.to_owned() };
        files.trust(trusted);
        files.show(leaf);
        files
    }

    /// Files with a good certificate.
    pub fn good(domain: &str, ca: &Ca) -> Self {
        Self::new(domain, &ca.issue(domain), &[ca])
    }

    /// Replaces certificate and key.
    pub fn show(&self, leaf: &Leaf) {
        write(&self.path("key"), leaf.key.secret_der());
        let chain = leaf.chain.iter().map(|der| pem(der)).collect::<String>();
        write(&self.path("cert"), chain.as_bytes());
    }

    /// Replaces the trusted CAs.
    pub fn trust(&self, trusted: &[&Ca]) {
        self.trust_certificates(&trusted.iter().map(|ca| ca.der()).collect::<Vec<_>>());
    }

    /// Replaces the trusted CAs by those of these certificates.
    pub fn trust_certificates(&self, trusted: &[CertificateDer<'_>]) {
        let all: String = trusted.iter().map(|der| pem(der)).collect();
        write(&self.path("ca"), all.as_bytes());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The configuration of the plugin, with `more` keys.
    pub fn config(&self, more: &serde_json::Value) -> String {
        let mut config = serde_json::json!({
            "domain": self.domain,
            "cert": self.path("cert"),
            "key": self.path("key"),
            "ca": self.path("ca"),
        });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        config.to_string()
    }
}

/// Writes as an operator's tool should: a new file, renamed over the old one.
pub fn write(path: &Path, bytes: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, bytes).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&new, mode).unwrap();
    fs::rename(new, path).unwrap();
}

fn pem(der: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    for chunk in der.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * i) & 63) as usize] as char;
            out.push(if i <= chunk.len() { letter } else { '=' });
        }
    }
    out + "\n-----END CERTIFICATE-----\n"
}
