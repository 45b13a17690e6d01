//! Files: secrets as in [`crate::identity`], public ones readable by all; each appears whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use zeroize::Zeroizing;

use super::problem::Problem;
use super::{MAX_CHAIN, MAX_FILE};
use crate::identity::private_file::{self, Created};

/// The mode of files that everybody may read.
const PUBLIC: u32 = 0o644;

/// The first byte of every certificate and request in DER form: a sequence.
const DER_SEQUENCE: u8 = 0x30;

/// Makes a folder, and those above it, which others may look into but not change.
pub(super) fn make_folder(path: &Path) -> Result<(), Problem> {
    DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(Problem::file(path, "make"))
}

/// Whether anything has that name, even a link to nowhere.
pub(super) fn taken(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Reads a secret file. One that others can read, or that isn't ours, is refused.
pub(super) fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let missing = || Problem::file(path, "read")(io::ErrorKind::NotFound.into());
    private_file::read(path, MAX_FILE)?.ok_or_else(missing)
}

/// Reads a public file.
pub(super) fn read_public(path: &Path) -> Result<Vec<u8>, Problem> {
    let file = File::open(path).map_err(Problem::file(path, "read"))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(Problem::file(path, "read"))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(Problem::unusable(path, format!("it has more than {MAX_FILE} bytes. Is it the right file?")));
    }
    Ok(bytes)
}

/// Writes a secret file with mode 0600 from its first byte. Replaces one of that name only when told so.
pub(super) fn write_secret(path: &Path, content: &[u8], replace: bool) -> Result<(), Problem> {
    if replace {
        return Ok(private_file::replace(path, content)?);
    }
    match private_file::create(path, content)? {
        Created::Yes => Ok(()),
        Created::AlreadyThere => Err(appeared(path)),
    }
}

/// Writes a public file. Replaces one of that name only when told so.
pub(super) fn write_public(path: &Path, content: &[u8], replace: bool) -> Result<(), Problem> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
    let written = write_beside(&beside, content).and_then(|()| {
        // A link, unlike a rename, fails where the name is taken.
        if replace { fs::rename(&beside, path) } else { fs::hard_link(&beside, path) }
    });
    let _ = fs::remove_file(&beside);
    match written {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(appeared(path)),
        other => other.map_err(Problem::file(path, "write")),
    }?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(Problem::file(folder, "sync"))
}

fn write_beside(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(PUBLIC).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Somebody else was faster.
fn appeared(path: &Path) -> Problem {
    Problem::Exists { path: path.to_owned(), remedy: "It has just appeared; look who made it." }
}

/// The certificates of a file, in DER or PEM form: at least one.
pub(super) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    parse_certificates(&read_public(path)?).map_err(|text| Problem::unusable(path, text))
}

fn parse_certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    if bytes.first() == Some(&DER_SEQUENCE) {
        return Ok(vec![CertificateDer::from(bytes.to_vec())]);
    }
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).take(MAX_CHAIN + 1).collect();
    match found {
        Ok(found) if found.len() > MAX_CHAIN => Err(format!("it has more than {MAX_CHAIN} certificates.")),
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err("no certificate in DER or PEM form is in it. Is it the right file?".to_owned()),
    }
}

/// The request of a file, in DER or PEM form.
pub(super) fn read_request(path: &Path) -> Result<CertificateSigningRequestDer<'static>, Problem> {
    let bytes = read_public(path)?;
    if bytes.first() == Some(&DER_SEQUENCE) {
        return Ok(bytes.into());
    }
    CertificateSigningRequestDer::from_pem_slice(&bytes).map_err(|_| {
        Problem::unusable(path, "no request in DER or PEM form is in it. `qpq federation request` makes one.")
    })
}

/// Certificates as text in PEM form, one after the other.
pub(super) fn pem(certificates: &[CertificateDer<'_>]) -> String {
    let blocks: Vec<_> = certificates.iter().map(|found| pem::Pem::new("CERTIFICATE", found.to_vec())).collect();
    pem::encode_many_config(&blocks, pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF))
}
