use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519,
};
use tempfile::TempDir;

use super::*;
use crate::tls::provider;

/// A folder with the files of a domain.
struct Files {
    folder: TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Files {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = rcgen::date_time_ymd(2050, 1, 1);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let files = Self { folder: tempfile::tempdir().unwrap(), ca };
        files.write("ca", files.ca.pem().as_bytes());
        files
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let new = self.path(&format!("{name}.new"));
        fs::write(&new, bytes).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A certificate for that name, in DER, and its key.
    fn issue(&self, name: &str, key: KeyPair) -> (Vec<u8>, KeyPair) {
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.ca).unwrap().der().to_vec(), key)
    }

    fn config(&self) -> Config {
        let (cert, key, ca) = (self.path("cert"), self.path("key"), self.path("ca"));
        Config { domain: "a.example".into(), cert, key, ca, ..Config::default() }
    }

    fn load(&self) -> Result<Material, CertError> {
        Material::load(&self.config(), &provider())
    }
}

/// An Ed25519 key as PKCS#8 version 1: the seed alone.
fn version_1(key: &KeyPair) -> Vec<u8> {
    let der = key.serialize_der();
    let seed = &der[16..48];
    [&[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20], seed].concat()
}

/// The SEC1 structure inside of a PKCS#8 one of P-256: behind a fixed prefix.
fn sec1(key: &KeyPair) -> Vec<u8> {
    let der = key.serialize_der();
    let start = der.windows(7).position(|window| window[0] == 0x30 && window[2..] == [2, 1, 1, 4, 32]).unwrap();
    let len = usize::from(der[start + 1]) + 2;
    der[start..start + len].to_vec()
}

fn pem(label: &str, der: &[u8]) -> Vec<u8> {
    let encoded = rcgen_base64(der);
    format!("-----BEGIN {label}-----\n{encoded}\n-----END {label}-----\n").into_bytes()
}

fn rcgen_base64(der: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in der.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * i) & 63) as usize] as char;
            out.push(if i <= chunk.len() { letter } else { '=' });
        }
    }
    out
}

#[test]
fn every_form_of_key_is_read() {
    let files = Files::new();
    let ed25519 = || KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let p256 = || KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    type Form = fn(&KeyPair) -> Vec<u8>;
    let cases: [(&str, KeyPair, Form, &str); 4] = [
        ("Ed25519, PKCS#8 version 2", ed25519(), KeyPair::serialize_der, "PRIVATE KEY"),
        ("Ed25519, PKCS#8 version 1", ed25519(), version_1, "PRIVATE KEY"),
        ("P-256, PKCS#8", p256(), KeyPair::serialize_der, "PRIVATE KEY"),
        ("P-256, SEC1", p256(), sec1, "EC PRIVATE KEY"),
    ];
    for (what, key, form, label) in cases {
        let (cert, key) = files.issue("a.example", key);
        files.write("cert", &cert);
        for bytes in [form(&key), pem(label, &form(&key))] {
            files.write("key", &bytes);
            let loaded = files.load().unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(loaded.names, ["a.example"]);
        }
    }
}

#[test]
fn a_chain_and_several_authorities_are_read_from_pem() {
    let (files, other) = (Files::new(), Files::new());
    let (cert, key) = files.issue("a.example", KeyPair::generate().unwrap());
    files.write("cert", &[pem("CERTIFICATE", &cert), files.ca.pem().into_bytes()].concat());
    files.write("key", &key.serialize_der());
    files.write("ca", format!("{}{}", other.ca.pem(), files.ca.pem()).as_bytes());
    let loaded = files.load().unwrap();
    assert_eq!((loaded.own.cert.len(), loaded.roots.len()), (2, 2));
    assert_eq!(days_left(loaded.authority_not_after_ms, 0), 29_220);
}

#[test]
fn what_is_wrong_is_said_with_the_file() {
    let files = Files::new();
    let (cert, key) = files.issue("a.example", KeyPair::generate().unwrap());
    let (wrong, _) = files.issue("b.example", KeyPair::generate().unwrap());
    let other = KeyPair::generate().unwrap();
    let cases: [(&str, &[u8], &str); 7] = [
        ("cert", b"rubbish", "no certificate in PEM or DER"),
        ("cert", b"-----BEGIN CERTIFICATE-----\n", "broken PEM"),
        ("cert", &wrong, "names b.example, not a.example"),
        ("key", b"rubbish", "no private key"),
        ("key", &other.serialize_der(), "not the key of"),
        ("ca", &[], "no certificate in PEM or DER"),
        ("ca", &vec![0; MAX_FILE as usize + 1], "larger than"),
    ];
    for (name, bytes, what) in cases {
        files.write("cert", &cert);
        files.write("key", &key.serialize_der());
        files.write("ca", files.ca.der());
        files.load().unwrap();
        files.write(name, bytes);
        let error = files.load().unwrap_err().to_string();
        assert!(error.contains(what) && error.starts_with(&files.path(name).display().to_string()), "{error}");
    }
    fs::remove_file(files.path("key")).unwrap();
    assert!(files.load().unwrap_err().to_string().contains("can't be read"));
}

#[test]
fn new_files_are_noticed_and_broken_ones_change_nothing() {
    let files = Files::new();
    let renew = || {
        let (cert, key) = files.issue("a.example", KeyPair::generate().unwrap());
        files.write("key", &key.serialize_der());
        files.write("cert", &cert);
        cert
    };
    let first = renew();
    let certificates = Certificates::load(&files.config(), provider()).unwrap();
    assert_eq!(certificates.look(), Look::Same);
    let second = renew();
    assert_eq!(certificates.look(), Look::Renewed);
    assert_ne!(first, second);
    assert_eq!(certificates.current().own.cert[0].as_ref(), second);
    files.write("cert", b"rubbish");
    let Look::Kept(error) = certificates.look() else { panic!("the file is broken") };
    assert!(error.contains("no certificate"), "{error}");
    assert_eq!(certificates.current().own.cert[0].as_ref(), second);
    assert_eq!(certificates.to_json(0).0["error"], error);
    assert_eq!(certificates.look(), Look::Same);
    renew();
    assert_eq!(certificates.look(), Look::Renewed);
    assert_eq!(certificates.to_json(0).0["error"], Value::Null);
}

#[test]
fn a_key_that_others_can_read_or_write_is_refused_with_the_remedy() {
    let files = Files::new();
    let (cert, key) = files.issue("a.example", KeyPair::generate().unwrap());
    files.write("cert", &cert);
    files.write("key", &key.serialize_der());
    let path = files.path("key");
    let set = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    for bit in [0o040, 0o020, 0o010, 0o004, 0o002, 0o001] {
        set(0o600 | bit);
        let error = files.load().unwrap_err();
        assert_eq!(error, CertError::Loose { path: path.clone(), mode: 0o600 | bit });
        assert!(error.to_string().ends_with(&format!("chmod 600 {}", path.display())), "{error}");
    }
    for private in [0o600, 0o400] {
        set(private);
        files.load().unwrap();
    }
    // The other files are public.
    fs::set_permissions(files.path("cert"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::set_permissions(files.path("ca"), fs::Permissions::from_mode(0o644)).unwrap();
    files.load().unwrap();
}

#[test]
fn a_key_that_is_opened_to_others_changes_nothing_until_it_is_closed() {
    let files = Files::new();
    let (cert, key) = files.issue("a.example", KeyPair::generate().unwrap());
    files.write("cert", &cert);
    files.write("key", &key.serialize_der());
    let certificates = Certificates::load(&files.config(), provider()).unwrap();
    fs::set_permissions(files.path("key"), fs::Permissions::from_mode(0o644)).unwrap();
    let Look::Kept(error) = certificates.look() else { panic!("others can read the key") };
    assert!(error.contains("mode 0644") && error.contains("chmod 600 "), "{error}");
    assert_eq!(certificates.to_json(0).0["error"], error);
    assert_eq!(certificates.current().own.cert[0].as_ref(), cert);
    fs::set_permissions(files.path("key"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(certificates.look(), Look::Renewed);
    assert_eq!(certificates.to_json(0).0["error"], Value::Null);
}

#[test]
fn a_path_in_a_command_is_quoted_where_it_must_be() {
    assert_eq!(quoted(Path::new("/etc/qpq/a.example.key")), "/etc/qpq/a.example.key");
    assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
}
