//! The certificate of this node, its key, and the CAs that are trusted: read from files, checked, and read again when the
//! files change.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::der;
use crate::limits::MAX_FILE;
use crate::refusal::{Reason, Refusal};
use crate::tls;
use crate::verify::{names_of, self_check};

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// Permission bits of everybody but the owner: a private key has none of them.
const OTHERS: u32 = 0o077;

/// Room beyond a file's length, in bytes, so that its end is seen without a larger buffer.
const SPARE: usize = 64;

/// What the files hold.
#[derive(Debug)]
pub(crate) struct Material {
    /// Certificate chain and key.
    pub(crate) own: Arc<CertifiedKey>,
    /// The trusted CAs.
    pub(crate) roots: Arc<RootCertStore>,
    /// The domains of the certificate, in lower case.
    pub(crate) names: Vec<String>,
    /// When the certificate is over, in Unix milliseconds.
    pub(crate) not_after_ms: i64,
    /// When the CA of the certificate is over, in Unix milliseconds.
    authority_not_after_ms: i64,
    /// Why others will refuse the certificate, if they trust the same CAs.
    trouble: Option<String>,
}

/// Which file is wrong, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CertError {
    /// The file can't be read, or what it holds can't be used.
    Unfit {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Others than the owner may read or write the private key, so that they may have it.
    Loose {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl CertError {
    fn unfit(path: &Path, what: impl Into<String>) -> Self {
        Self::Unfit { path: path.to_owned(), what: what.into() }
    }
}

impl fmt::Display for CertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfit { path, what } => write!(f, "{}: {what}", path.display()),
            Self::Loose { path, mode } => write!(
                f,
                "{}: others can read or write this private key (mode {mode:04o}), so it is not used; close it with: \
                 chmod 600 {}",
                path.display(),
                quoted(path)
            ),
        }
    }
}

/// A path as a shell takes it: what is more than plain letters stands in single quotes.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=@%,".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

impl std::error::Error for CertError {}

impl Material {
    /// Reads and checks the files.
    pub(crate) fn load(config: &Config, provider: &CryptoProvider) -> Result<Self, CertError> {
        let wrong = |path: &Path, what: String| CertError::unfit(path, what);
        let chain = certificates(&config.cert)?;
        let key = private_key(&config.key)?;
        let key = tls::signing_key(&key).map_err(|e| {
            wrong(&config.key, format!("this key can't be used ({e}); take an Ed25519 or P-256 key in PKCS#8 or SEC1"))
        })?;
        let leaf = chain.first().ok_or_else(|| wrong(&config.cert, "there is no certificate in it".into()))?.clone();
        let names = names_of(&leaf).map_err(|_| wrong(&config.cert, "this is no certificate".into()))?;
        if !names.contains(&config.domain) {
            let found = if names.is_empty() { "no domain".to_owned() } else { names.join(", ") };
            let domain = &config.domain;
            let what = format!("the certificate names {found}, not {domain}; `qpq federation cert {domain}` makes one");
            return Err(wrong(&config.cert, what));
        }
        let own = CertifiedKey::new(chain, key);
        if let Err(error) = own.keys_match() {
            return Err(wrong(&config.key, format!("this is not the key of {}: {error}", config.cert.display())));
        }
        let authorities = certificates(&config.ca)?;
        let mut roots = RootCertStore::empty();
        for authority in &authorities {
            let added = roots.add(authority.clone());
            added.map_err(|e| wrong(&config.ca, format!("a certificate in it can't be a CA: {e}")))?;
        }
        let not_after = |der: &[u8]| der::fields(der).map_or(0, |fields| fields.not_after.saturating_mul(1_000));
        let not_after_ms = not_after(&leaf);
        let authority_not_after_ms = issuer_of(&own.cert, &authorities).map_or(0, not_after);
        let trouble =
            self_check(&own.cert, &roots, provider).err().map(|refusal| format!("others will refuse us: {refusal}"));
        Ok(Self { own: Arc::new(own), roots: Arc::new(roots), names, not_after_ms, authority_not_after_ms, trouble })
    }

    /// What is wrong with the certificate though it can be used: it is not of a trusted CA, or it is over.
    pub(crate) fn trouble(&self, now_ms: i64) -> Option<String> {
        let over = || Refusal::new(Reason::Expired).to_string();
        self.trouble.clone().or_else(|| (self.not_after_ms <= now_ms).then(over))
    }
}

/// The CA that stands above a chain; any of them when none does.
fn issuer_of<'a>(chain: &[CertificateDer<'_>], authorities: &'a [CertificateDer<'_>]) -> Option<&'a [u8]> {
    let issuer = chain.last().and_then(|last| der::fields(last)).map(|fields| fields.issuer);
    let made_it = |authority: &&CertificateDer<'_>| {
        issuer.is_some() && der::fields(authority).map(|fields| fields.subject) == issuer
    };
    authorities.iter().find(made_it).or_else(|| authorities.first()).map(AsRef::as_ref)
}

/// Whole days until then; negative when it is over.
pub(crate) fn days_left(not_after_ms: i64, now_ms: i64) -> i64 {
    not_after_ms.saturating_sub(now_ms).div_euclid(DAY_MS)
}

fn open(path: &Path) -> Result<File, CertError> {
    File::open(path).map_err(|e| CertError::unfit(path, format!("can't be read: {e}")))
}

/// All that a file holds. The bytes are wiped when they are dropped.
fn read(path: &Path, file: File) -> Result<Zeroizing<Vec<u8>>, CertError> {
    let failed = |e: io::Error| CertError::unfit(path, format!("can't be read: {e}"));
    let len = file.metadata().map_err(failed)?.len().min(MAX_FILE);
    // Room for all of it at once: bytes that a growing buffer leaves behind are not wiped.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(len).unwrap_or_default() + SPARE));
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(CertError::unfit(path, format!("larger than {MAX_FILE} bytes")));
    }
    Ok(bytes)
}

fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(11).any(|window| window == b"-----BEGIN ")
}

/// All certificates of a file: PEM, or one in DER.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertError> {
    let wrong = |what: String| CertError::unfit(path, what);
    let bytes = read(path, open(path)?)?;
    if !is_pem(&bytes) {
        let der = CertificateDer::from(bytes.to_vec());
        return if der::fields(&der).is_some() {
            Ok(vec![der])
        } else {
            Err(wrong("no certificate in PEM or DER".into()))
        };
    }
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let all = all.map_err(|e| wrong(format!("broken PEM: {e}")))?;
    if all.is_empty() { Err(wrong("there is no certificate in it".into())) } else { Ok(all) }
}

/// The private key of a file: PKCS#8 of either version, or SEC1. A file that others may read or write is refused, by the mode
/// of the opened file, so that nobody can swap it between check and read. The bytes are wiped when they are dropped.
fn private_key(path: &Path) -> Result<Zeroizing<PrivateKeyDer<'static>>, CertError> {
    let file = open(path)?;
    let about = file.metadata().map_err(|e| CertError::unfit(path, format!("can't be examined: {e}")))?;
    let mode = about.mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(CertError::Loose { path: path.to_owned(), mode });
    }
    let bytes = read(path, file)?;
    if is_pem(&bytes) {
        let key = PrivateKeyDer::from_pem_slice(&bytes);
        return key.map(Zeroizing::new).map_err(|e| CertError::unfit(path, format!("no private key in PEM: {e}")));
    }
    let key = PrivateKeyDer::try_from(bytes.as_slice()).map(|key| Zeroizing::new(key.clone_key()));
    key.map_err(|_| CertError::unfit(path, "no private key in PEM or DER (PKCS#8, SEC1)"))
}

/// What tells that a file has changed: modification time with nanoseconds, size, and inode, for a rename over it,
/// and the permissions.
type Stamp = Option<(i64, i64, u64, u64, u32)>;

/// The material in use, and what happened to the files since.
#[derive(Debug)]
pub(crate) struct Certificates {
    config: Config,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<Material>>,
    watched: Mutex<Watched>,
}

#[derive(Debug)]
struct Watched {
    stamps: [Stamp; 3],
    error: Option<String>,
    reloads: u64,
}

/// What a look at the files has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nothing new.
    Same,
    /// New material, in use from now on.
    Renewed,
    /// The new files are no good; the old material stays.
    Kept(String),
}

impl Certificates {
    /// Reads the files for the first time.
    pub(crate) fn load(config: &Config, provider: Arc<CryptoProvider>) -> Result<Self, CertError> {
        // Looked at first: a change in between is noticed at the next look.
        let stamps = stamps(config);
        let current = Material::load(config, &provider)?;
        let watched = Mutex::new(Watched { stamps, error: None, reloads: 0 });
        Ok(Self { config: config.clone(), provider, current: RwLock::new(Arc::new(current)), watched })
    }

    /// The material for a new handshake.
    pub(crate) fn current(&self) -> Arc<Material> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks whether the files have changed. Reads files, so it may block.
    pub(crate) fn look(&self) -> Look {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamps(&self.config);
        if now == watched.stamps {
            return Look::Same;
        }
        watched.stamps = now;
        match Material::load(&self.config, &self.provider) {
            Ok(material) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(material);
                watched.error = None;
                watched.reloads += 1;
                Look::Renewed
            }
            Err(error) => {
                let error = error.to_string();
                watched.error = Some(error.clone());
                Look::Kept(error)
            }
        }
    }

    /// For `stats`: the certificate and its CA.
    pub(crate) fn to_json(&self, now_ms: i64) -> (Value, Value) {
        let material = self.current();
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let certificate = json!({
            "names": material.names,
            "not_after_ms": material.not_after_ms,
            "days_left": days_left(material.not_after_ms, now_ms),
            "error": watched.error.clone().or_else(|| material.trouble(now_ms)),
            "reloads": watched.reloads,
        });
        let authority = json!({
            "not_after_ms": material.authority_not_after_ms,
            "days_left": days_left(material.authority_not_after_ms, now_ms),
        });
        (certificate, authority)
    }
}

fn stamps(config: &Config) -> [Stamp; 3] {
    [&config.cert, &config.key, &config.ca].map(|path| {
        let about = fs::metadata(path).ok()?;
        Some((about.mtime(), about.mtime_nsec(), about.size(), about.ino(), about.mode()))
    })
}

#[cfg(test)]
mod tests;
