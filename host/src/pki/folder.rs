//! The files of authorities and servers: what each command reads and writes.

use std::path::{Path, PathBuf};

use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::CertificateDer;

use super::authority::Authority;
use super::facts::Facts;
use super::problem::Problem;
use super::{files, key, now, request as requests};

/// The authority's certificate, which every server gets.
pub const CA_CERTIFICATE: &str = "ca.pem";
/// The authority's secret key, which no server gets.
pub const CA_KEY: &str = "ca.key";
/// The authority's certificate in DER form.
const CA_DER: &str = "ca.der";

/// What happens to files that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overwrite {
    /// They are left alone, and nothing is made.
    Never,
    /// The key stays and the rest is made anew.
    Renew,
    /// Everything is made anew.
    Force,
}

/// The files of a server.
#[derive(Debug, Clone)]
pub struct Files {
    /// Its certificate, and those between it and the authorities.
    pub certificate: PathBuf,
    /// Its secret key.
    pub key: PathBuf,
    /// Its certificate in DER form.
    pub certificate_der: PathBuf,
    /// Its secret key in DER form.
    pub key_der: PathBuf,
    /// Its request.
    pub request: PathBuf,
    /// The authority that it trusts.
    pub authority: PathBuf,
}

impl Files {
    /// The names in a folder.
    pub fn of(folder: &Path, domain: &str) -> Self {
        let named = |ending: &str| folder.join(format!("{domain}.{ending}"));
        Self {
            certificate: named("pem"),
            key: named("key"),
            certificate_der: named("der"),
            key_der: named("key.der"),
            request: named("csr"),
            authority: folder.join(CA_CERTIFICATE),
        }
    }
}

/// What was written, and what made way for it.
#[derive(Debug, Default)]
struct Written {
    files: Vec<PathBuf>,
    replaced: Vec<PathBuf>,
}

impl Written {
    fn secret(&mut self, path: &Path, content: &[u8], overwrite: Overwrite) -> Result<(), Problem> {
        let there = files::taken(path);
        files::write_secret(path, content, overwrite != Overwrite::Never)?;
        self.note(path, there);
        Ok(())
    }

    fn public(&mut self, path: &Path, content: &[u8], overwrite: Overwrite) -> Result<(), Problem> {
        let there = files::taken(path);
        files::write_public(path, content, overwrite != Overwrite::Never)?;
        self.note(path, there);
        Ok(())
    }

    fn note(&mut self, path: &Path, there: bool) {
        self.files.push(path.to_owned());
        if there {
            self.replaced.push(path.to_owned());
        }
    }
}

/// Refuses before anything is made, so that no half of a pair is left behind.
fn refuse_taken(paths: &[&Path], overwrite: Overwrite, remedy: &'static str) -> Result<(), Problem> {
    match paths.iter().find(|path| overwrite == Overwrite::Never && files::taken(path)) {
        Some(path) => Err(Problem::Exists { path: (*path).to_owned(), remedy }),
        None => Ok(()),
    }
}

/// A new authority.
#[derive(Debug)]
pub struct MadeAuthority {
    /// Its certificate, for every server.
    pub certificate: PathBuf,
    /// Its key, for nobody.
    pub key: PathBuf,
    /// Its last second, Unix time.
    pub not_after: i64,
    /// What was written.
    pub files: Vec<PathBuf>,
    /// What was there before.
    pub replaced: Vec<PathBuf>,
}

/// Makes an authority in a folder.
pub fn make_authority(
    name: &str,
    out: &Path,
    days: u32,
    der: bool,
    overwrite: Overwrite,
) -> Result<MadeAuthority, Problem> {
    let (certificate, key, certificate_der) = (out.join(CA_CERTIFICATE), out.join(CA_KEY), out.join(CA_DER));
    let remedy =
        "Name another folder with --out, or replace it with --force: then every certificate that it issued is void.";
    refuse_taken(&[&certificate, &key], overwrite, remedy)?;
    let der = der || files::taken(&certificate_der);
    if der {
        refuse_taken(&[&certificate_der], overwrite, remedy)?;
    }
    let authority = Authority::generate(name, days, now())?;
    files::make_folder(out)?;
    let mut written = Written::default();
    written.secret(&key, key::pem(authority.key()).as_bytes(), overwrite)?;
    written.public(&certificate, files::pem(std::slice::from_ref(&authority.certificate)).as_bytes(), overwrite)?;
    if der {
        written.public(&certificate_der, &authority.certificate, overwrite)?;
    }
    let not_after = authority.facts.not_after;
    Ok(MadeAuthority { certificate, key, not_after, files: written.files, replaced: written.replaced })
}

/// A certificate to make.
#[derive(Debug)]
pub struct Certify<'a> {
    /// The domain that it is for.
    pub domain: &'a str,
    /// The folder of the authority.
    pub ca: &'a Path,
    /// The folder for the files.
    pub out: &'a Path,
    /// How long it is to hold, in days.
    pub days: u32,
    /// The request that has the key. Without one, the key is made here.
    pub request: Option<&'a Path>,
    /// Certificates by which other authorities vouch for this one.
    pub chain: &'a [PathBuf],
    /// Write DER files too.
    pub der: bool,
    /// What happens to files that are there.
    pub overwrite: Overwrite,
}

/// A certificate that was made.
#[derive(Debug)]
pub struct Certified {
    /// Its files, some of which may not be there.
    pub paths: Files,
    /// Whether there are DER files too.
    pub der: bool,
    /// Whether certificates of other authorities stand behind it, for which a DER file has no room.
    pub chained: bool,
    /// Its last second, Unix time.
    pub not_after: i64,
    /// Whether that is as early as it is because the authority ends then.
    pub cut_short: bool,
    /// Names in the request that the certificate doesn't have.
    pub ignored: Vec<String>,
    /// What was written.
    pub files: Vec<PathBuf>,
    /// What was there before.
    pub replaced: Vec<PathBuf>,
    /// The CA file beside it is there but lacks this authority.
    pub other_authority: bool,
}

/// Whose key is certified.
enum Subject {
    /// One that was made or read here.
    Here { key: Box<KeyPair>, new: bool },
    /// One of a request.
    There(requests::Request),
}

/// Makes or renews the certificate of a server.
pub fn certify(order: &Certify<'_>) -> Result<Certified, Problem> {
    let now = now();
    let authority = Authority::open(order.ca)?;
    let paths = Files::of(order.out, order.domain);
    let der = order.der || files::taken(&paths.certificate_der);
    refuse_certificate(order, &paths, der)?;
    let subject = subject(order, &paths)?;
    let (made, ignored) = match &subject {
        Subject::Here { key, .. } => (authority.issue(order.domain, &**key, order.days, now)?, vec![]),
        Subject::There(request) => {
            (authority.issue(order.domain, &request.key, order.days, now)?, request.ignored.clone())
        }
    };
    let mut chain = vec![made.clone()];
    chain.extend(above(order, &authority, &paths, now)?);
    files::make_folder(order.out)?;
    let mut written = Written::default();
    if let Subject::Here { key, new } = &subject {
        write_key(&mut written, order, &paths, (key, *new), der)?;
    }
    written.public(&paths.certificate, files::pem(&chain).as_bytes(), order.overwrite)?;
    if der {
        written.public(&paths.certificate_der, &made, order.overwrite)?;
    }
    let other_authority = !place_authority(&mut written, order, &authority, der)?;
    let not_after = Facts::of(&made).map_or(0, |facts| facts.not_after);
    let cut_short = not_after == authority.facts.not_after;
    let (chained, Written { files, replaced }) = (chain.len() > 1, written);
    Ok(Certified { paths, der, chained, not_after, cut_short, ignored, files, replaced, other_authority })
}

fn refuse_certificate(order: &Certify<'_>, paths: &Files, der: bool) -> Result<(), Problem> {
    let remedy = "--renew makes a new certificate and keeps the key, --force replaces both.";
    refuse_taken(&[&paths.certificate], order.overwrite, remedy)?;
    if der {
        refuse_taken(&[&paths.certificate_der], order.overwrite, remedy)?;
    }
    if order.request.is_none() {
        refuse_taken(&[&paths.key, &paths.key_der], order.overwrite, remedy)?;
    }
    Ok(())
}

fn subject(order: &Certify<'_>, paths: &Files) -> Result<Subject, Problem> {
    match (order.request, order.overwrite) {
        (Some(path), _) => Ok(Subject::There(requests::read(path, order.domain)?)),
        (None, Overwrite::Renew) if !files::taken(&paths.key) => Err(Problem::unusable(
            &paths.key,
            "there is no key to keep. Leave --renew out, or name the folder of the key with --out; \
             for a key on another machine, use --request.",
        )),
        (None, Overwrite::Renew) => Ok(Subject::Here { key: Box::new(key::read(&paths.key)?), new: false }),
        (None, _) => Ok(Subject::Here { key: Box::new(key::generate()?), new: true }),
    }
}

/// The key is written before its certificate: after a crash between the two, --renew goes on.
fn write_key(
    written: &mut Written,
    order: &Certify<'_>,
    paths: &Files,
    (key, new): (&KeyPair, bool),
    der: bool,
) -> Result<(), Problem> {
    if new {
        written.secret(&paths.key, key::pem(key).as_bytes(), order.overwrite)?;
    }
    if der && (new || !files::taken(&paths.key_der)) {
        written.secret(&paths.key_der, key.serialized_der(), order.overwrite)?;
    }
    Ok(())
}

/// The certificates by which others vouch for this authority: those that were named, and those of the certificate that is
/// replaced, since a renewal must not break the bond with another community.
fn above(
    order: &Certify<'_>,
    authority: &Authority,
    paths: &Files,
    now: u64,
) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let fits = |certificate: &CertificateDer<'_>| {
        Facts::of(certificate).is_some_and(|facts| {
            facts.subject == authority.facts.subject && facts.public_key == authority.facts.public_key
        })
    };
    let mut found: Vec<CertificateDer<'static>> = vec![];
    for path in order.chain {
        for certificate in files::read_certificates(path)? {
            if !fits(&certificate) {
                let text = "it doesn't vouch for this authority, so it would be of no use. Name the file that the other \
                            community made with `qpq federation cross-sign` from your ca.pem.";
                return Err(Problem::unusable(path, text));
            }
            found.push(certificate);
        }
    }
    let old = if files::taken(&paths.certificate) { files::read_certificates(&paths.certificate).ok() } else { None };
    let good = |certificate: &CertificateDer<'_>| Facts::of(certificate).is_some_and(|facts| facts.days_left(now) >= 0);
    for certificate in old.into_iter().flatten().filter(|old| fits(old) && good(old)) {
        if !found.contains(&certificate) {
            found.push(certificate);
        }
    }
    Ok(found)
}

/// Puts the authority's certificate beside the server's, so that the folder is complete. Says whether it is there: a file
/// that is there already may name other authorities on purpose, so it is left alone.
fn place_authority(
    written: &mut Written,
    order: &Certify<'_>,
    authority: &Authority,
    der: bool,
) -> Result<bool, Problem> {
    let (path, path_der) = (order.out.join(CA_CERTIFICATE), order.out.join(CA_DER));
    if der && !files::taken(&path_der) {
        written.public(&path_der, &authority.certificate, Overwrite::Never)?;
    }
    if files::taken(&path) {
        return Ok(files::read_certificates(&path).is_ok_and(|found| found.contains(&authority.certificate)));
    }
    written.public(&path, files::pem(std::slice::from_ref(&authority.certificate)).as_bytes(), Overwrite::Never)?;
    Ok(true)
}

/// A key and a request for its certificate.
#[derive(Debug)]
pub struct Requested {
    /// Its files.
    pub paths: Files,
    /// Whether the key is new.
    pub new_key: bool,
    /// What was written.
    pub files: Vec<PathBuf>,
    /// What was there before.
    pub replaced: Vec<PathBuf>,
}

/// Makes a request for a certificate, and its key unless that is to be kept.
pub fn request(domain: &str, out: &Path, overwrite: Overwrite) -> Result<Requested, Problem> {
    let paths = Files::of(out, domain);
    let remedy = "--renew makes a new request for the key that is there, --force replaces the key: then its certificate is void.";
    refuse_taken(&[&paths.key, &paths.request], overwrite, remedy)?;
    let new_key = overwrite != Overwrite::Renew;
    let pair = if new_key { key::generate()? } else { key::read(&paths.key)? };
    let text = requests::make(domain, &pair)?;
    files::make_folder(out)?;
    let mut written = Written::default();
    if new_key {
        written.secret(&paths.key, key::pem(&pair).as_bytes(), overwrite)?;
    }
    written.public(&paths.request, text.as_bytes(), overwrite)?;
    Ok(Requested { paths, new_key, files: written.files, replaced: written.replaced })
}

/// A certificate by which one authority vouches for another.
#[derive(Debug)]
pub struct CrossSigned {
    /// The certificate.
    pub certificate: PathBuf,
    /// The other authority's name.
    pub name: String,
    /// Its last second, Unix time.
    pub not_after: i64,
    /// Whether it replaced another.
    pub replaced: Vec<PathBuf>,
}

/// Lets an authority vouch for another one, for some domains alone.
pub fn cross_sign(
    other: &Path,
    permit: &[String],
    (ca, out): (&Path, &Path),
    days: u32,
    overwrite: Overwrite,
) -> Result<CrossSigned, Problem> {
    let authority = Authority::open(ca)?;
    let found = files::read_certificates(other)?;
    let [theirs] = found.as_slice() else {
        return Err(Problem::unusable(
            other,
            "it has several certificates. Name a file that has the other authority's alone.",
        ));
    };
    let first = permit
        .first()
        .ok_or_else(|| Problem::refused("name the domain that the other authority is trusted for, with --permit."))?;
    let certificate = out.join(format!("cross-{first}.pem"));
    refuse_taken(&[&certificate], overwrite, "--force replaces it; or name another folder with --out.")?;
    let made = authority.vouch(theirs, permit, days, now())?;
    files::make_folder(out)?;
    let mut written = Written::default();
    written.public(&certificate, files::pem(std::slice::from_ref(&made)).as_bytes(), overwrite)?;
    let (name, not_after) = Facts::of(&made).map(|facts| (facts.name, facts.not_after)).unwrap_or_default();
    Ok(CrossSigned { certificate, name, not_after, replaced: written.replaced })
}

/// Whether two keys are one, by their public halves.
pub(super) fn same_key(key: &KeyPair, certificate: &Facts) -> bool {
    key.subject_public_key_info() == certificate.public_key
}
