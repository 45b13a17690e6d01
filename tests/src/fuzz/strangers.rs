//! What strangers hand in: requests of clients, block lists, certificates, keys and requests for them, plugin files.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use qpq_federation_capnp::fuzz as federation;
use qpq_host::pki::{CA_CERTIFICATE, CA_KEY, Certify, Checked, Files, Overwrite, certify, check, cross_sign};
use qpq_host::{fuzz, identity, pki};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::snapshot::{Snapshot, fast_folder};
use super::{Seeds, Target};

pub(super) const TARGETS: &[Target] = &[
    Target { name: "control", feed: fuzz::control, seeds: fuzz::control_seeds },
    Target { name: "blocks", feed: feed_blocks, seeds: blocks },
    Target { name: "certificate", feed: feed_certificate, seeds: certificates },
    Target { name: "federation-certificate", feed: federation::certificate, seeds: shown },
    Target { name: "secret-key", feed: feed_key, seeds: keys },
    Target { name: "certificate-request", feed: feed_request, seeds: requests },
    Target { name: "plugin-file", feed: feed_plugin, seeds: plugins },
];

const DOMAIN: &str = "a.example";

fn blocks() -> Seeds {
    let key = "ab".repeat(32);
    vec![format!("# a comment\n{key}\n{key}  # anna\n\n").into_bytes()]
}

/// All of a list is taken or nothing; what was taken stands in the next export.
fn feed_blocks(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(folder) = fast_folder() else { return };
    let Ok((_, mut directory)) = identity::open(folder.path(), &mut StdRng::from_seed([7; 32])) else { return };
    let empty = directory.export_blocks();
    match directory.import_blocks(&text) {
        Ok(imported) => {
            let exported = directory.export_blocks();
            assert!(imported.added.iter().all(|peer| exported.contains(&peer.to_string())));
        }
        Err(error) => {
            assert!(!error.to_string().chars().any(char::is_control), "{error}");
            assert_eq!(directory.export_blocks(), empty);
        }
    }
}

/// An authority with a server's certificate, key and request.
fn authority() -> &'static Snapshot {
    static AUTHORITY: OnceLock<Snapshot> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        Snapshot::of(|folder| {
            let _ = pki::make_authority("A", folder, 30, false, Overwrite::Never);
            let _ = pki::request(DOMAIN, folder, Overwrite::Never);
            let request = Files::of(folder, DOMAIN).request;
            let _ = certify(&order(folder, folder, Some(&request)));
        })
    })
}

fn order<'a>(ca: &'a Path, out: &'a Path, request: Option<&'a Path>) -> Certify<'a> {
    Certify { domain: DOMAIN, ca, out, days: 10, request, chain: &[], der: false, overwrite: Overwrite::Renew }
}

fn file(name: &Path) -> Seeds {
    authority().files.iter().filter(|(path, _)| path == name).map(|(_, bytes)| bytes.clone()).collect()
}

fn names() -> Files {
    Files::of(Path::new(""), DOMAIN)
}

fn certificates() -> Seeds {
    [file(&names().certificate), file(Path::new(CA_CERTIFICATE))].concat()
}

/// Whatever is wrong with a certificate is said. An authority vouches only for what it can read.
fn feed_certificate(bytes: &[u8]) {
    let Some(number) = authority().number(&names().certificate) else { return };
    let Some(folder) = authority().copy_with(number, bytes) else { return };
    let files = Files::of(folder.path(), DOMAIN);
    let checked =
        Checked { certificate: &files.certificate, key: &files.key, authority: &files.authority, domain: Some(DOMAIN) };
    let report = check(&checked);
    assert!(report.ok || report.findings.iter().all(|finding| !finding.problem.is_empty()));
    assert!(!report.ok || report.names.iter().any(|name| name == DOMAIN), "{report:?}");
    let out: PathBuf = folder.path().join("vouched.pem");
    let permit = [DOMAIN.to_owned()];
    if let Err(problem) = cross_sign(&files.certificate, &permit, (folder.path(), &out), 5, Overwrite::Never) {
        assert!(!problem.to_string().is_empty());
    }
}

/// The same as a peer shows them.
fn shown() -> Seeds {
    let der = |pem: Vec<u8>| CertificateDer::from_pem_slice(&pem).ok().map(|der| der.to_vec());
    certificates().into_iter().filter_map(der).collect()
}

fn keys() -> Seeds {
    [file(&names().key), file(Path::new(CA_KEY))].concat()
}

/// A key is good for its own certificate alone. An authority whose key can't be read makes nothing.
fn feed_key(bytes: &[u8]) {
    for (name, own) in [(names().key, false), (CA_KEY.into(), true)] {
        let Some(number) = authority().number(&name) else { return };
        let Some(folder) = authority().copy_with(number, bytes) else { return };
        let files = Files::of(folder.path(), DOMAIN);
        let checked = Checked {
            certificate: &files.certificate,
            key: &files.key,
            authority: &files.authority,
            domain: Some(DOMAIN),
        };
        let report = check(&checked);
        assert!(report.ok || report.findings.iter().all(|finding| !finding.problem.is_empty()));
        assert!(!own || report.ok, "a server needs no key of its authority: {report:?}");
        if let Err(problem) = certify(&order(folder.path(), folder.path(), Some(&files.request))) {
            assert!(!problem.code().is_empty() && !problem.to_string().is_empty());
        }
    }
}

fn requests() -> Seeds {
    file(&names().request)
}

/// Only a request that asks for the domain gets a certificate, and that certificate is good.
fn feed_request(bytes: &[u8]) {
    let Some(number) = authority().number(&names().request) else { return };
    let Some(folder) = authority().copy_with(number, bytes) else { return };
    let Ok(out) = fast_folder() else { return };
    let request = Files::of(folder.path(), DOMAIN).request;
    match certify(&order(folder.path(), out.path(), Some(&request))) {
        Ok(made) => assert!(made.paths.certificate.exists()),
        Err(problem) => assert!(!problem.code().is_empty() && !problem.to_string().is_empty()),
    }
}

fn plugins() -> Seeds {
    // The headers of this program: an ELF file of this machine with a dozen segments.
    let own = std::env::current_exe().and_then(|path| {
        use std::io::Read;
        let mut head = Vec::new();
        std::fs::File::open(path)?.take(4096).read_to_end(&mut head)?;
        Ok(head)
    });
    own.into_iter().chain([b"no library".to_vec()]).collect()
}

/// Whatever is wrong with a library's headers is said. What claims more than there is is not loaded.
fn feed_plugin(bytes: &[u8]) {
    if let Some(problem) = fuzz::look_at_library(bytes) {
        assert!(!problem.is_empty());
    } else {
        assert!(bytes.starts_with(b"\x7fELF") && bytes.len() >= 52, "{} bytes were taken for a library", bytes.len());
    }
}
