use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose, SanType};
use tempfile::TempDir;

use super::check::check_at;
use super::facts::Facts;
use super::*;

mod handshake;

use handshake::handshake;

const NODE: &str = "node1.valley.mesh";

/// A folder with the authority of a community.
fn community(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    make_authority(name, folder.path(), CA_DAYS, false, Overwrite::Never).unwrap();
    folder
}

fn order<'a>(folder: &'a Path, domain: &'a str) -> Certify<'a> {
    let days = CERTIFICATE_DAYS;
    let overwrite = Overwrite::Never;
    Certify { domain, ca: folder, out: folder, days, request: None, chain: &[], der: false, overwrite }
}

/// A community with a server of that domain.
fn server(name: &str, domain: &str) -> (TempDir, Files) {
    let folder = community(name);
    let made = certify(&order(folder.path(), domain)).unwrap();
    (folder, made.paths)
}

fn leaf(files: &Files) -> Facts {
    Facts::of(&files::read_certificates(&files.certificate).unwrap()[0]).unwrap()
}

fn report(files: &Files, domain: &str, now: u64) -> Report {
    let Files { certificate, key, authority, .. } = files;
    check_at(&Checked { certificate, key, authority, domain: Some(domain) }, now)
}

fn codes(report: &Report) -> Vec<&'static str> {
    report.findings.iter().map(|found| found.code).collect()
}

#[test]
fn servers_of_one_authority_take_each_other_in_both_directions() {
    let (folder, one) = server("Valley", NODE);
    let two = certify(&order(folder.path(), "node2.valley.mesh")).unwrap().paths;
    handshake(&one, &two, "node2.valley.mesh").unwrap();
    handshake(&two, &one, NODE).unwrap();
    let wrong_name = handshake(&one, &two, "node3.valley.mesh").unwrap_err();
    assert!(wrong_name.contains("NotValidForName"), "{wrong_name}");
    let (_elsewhere, stranger) = server("Valley", NODE);
    handshake(&one, &stranger, NODE).unwrap_err();
    handshake(&stranger, &one, NODE).unwrap_err();
}

#[test]
fn a_server_certificate_says_what_it_is_for_and_no_more() {
    let (folder, files) = server("Valley", NODE);
    let facts = leaf(&files);
    assert_eq!(facts.domains, [NODE]);
    assert!(!facts.ca && facts.signs_handshakes && !facts.signs_certificates && facts.server && facts.client);
    let days = |secs: i64| secs / DAY_SECONDS.cast_signed();
    assert!(days(i64::try_from(now()).unwrap() - facts.not_before) >= i64::from(BACKDATED_DAYS));
    assert_eq!(days(facts.not_after - facts.not_before), i64::from(BACKDATED_DAYS + CERTIFICATE_DAYS));
    let ca = Facts::of(&files::read_certificates(&folder.path().join(CA_CERTIFICATE)).unwrap()[0]).unwrap();
    assert!(ca.ca && ca.signs_certificates && !ca.signs_handshakes && ca.path_len == Some(1));
}

#[test]
fn secrets_are_private_and_certificates_are_not() {
    let folder = community("Valley");
    let made = certify(&Certify { der: true, ..order(folder.path(), NODE) }).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    for secret in [&made.paths.key, &made.paths.key_der, &folder.path().join(CA_KEY)] {
        assert_eq!(mode(secret), 0o600, "{}", secret.display());
    }
    assert_eq!(mode(&made.paths.certificate) & 0o022, 0);
    assert_eq!(mode(&made.paths.certificate) & 0o400, 0o400);
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".new")), "{left:?}");
}

#[test]
fn files_in_der_form_fit_as_well() {
    let folder = community("Valley");
    let made = certify(&Certify { der: true, ..order(folder.path(), NODE) }).unwrap();
    let der = Files {
        certificate: made.paths.certificate_der.clone(),
        key: made.paths.key_der.clone(),
        authority: folder.path().join("ca.der"),
        ..made.paths.clone()
    };
    assert_eq!(codes(&report(&der, NODE, now())), [""; 0]);
    handshake(&made.paths, &der, NODE).unwrap();
}

#[test]
fn nothing_is_overwritten_unless_it_is_meant_to() {
    let (folder, files) = server("Valley", NODE);
    let content = |path: &Path| fs::read(path).unwrap();
    let (key, certificate, ca) = (content(&files.key), content(&files.certificate), content(&files.authority));
    assert!(matches!(certify(&order(folder.path(), NODE)), Err(Problem::Exists { .. })));
    let again = make_authority("Valley", folder.path(), 1, false, Overwrite::Never);
    assert!(matches!(again, Err(Problem::Exists { .. })));
    assert!(matches!(request(NODE, folder.path(), Overwrite::Never), Err(Problem::Exists { .. })));
    assert_eq!(
        (content(&files.key), content(&files.certificate), content(&files.authority)),
        (key.clone(), certificate, ca)
    );

    let made = certify(&Certify { overwrite: Overwrite::Force, ..order(folder.path(), NODE) }).unwrap();
    assert_ne!(content(&files.key), key);
    assert_eq!(made.replaced, [files.key.clone(), files.certificate.clone()]);
    assert!(report(&files, NODE, now()).ok);
}

#[test]
fn renewing_keeps_the_key_and_makes_another_certificate() {
    let (folder, files) = server("Valley", NODE);
    let (key, old) = (fs::read(&files.key).unwrap(), fs::read(&files.certificate).unwrap());
    let renewal = Certify { overwrite: Overwrite::Renew, days: 100, ..order(folder.path(), NODE) };
    let made = certify(&renewal).unwrap();
    assert_eq!(made.replaced, std::slice::from_ref(&files.certificate));
    assert_eq!(fs::read(&files.key).unwrap(), key);
    assert_ne!(fs::read(&files.certificate).unwrap(), old);
    assert!(report(&files, NODE, now()).ok);
    let no_key = certify(&Certify { domain: "other.mesh", ..renewal }).unwrap_err().to_string();
    assert!(no_key.contains("no key to keep"), "{no_key}");
}

#[test]
fn serial_numbers_differ_even_for_one_key() {
    let (folder, files) = server("Valley", NODE);
    let serial = |path: &Path| {
        let der = files::read_certificates(path).unwrap().remove(0);
        let (_, x509) = x509_parser::parse_x509_certificate(&der).unwrap();
        x509.raw_serial().to_vec()
    };
    let first = serial(&files.certificate);
    certify(&Certify { overwrite: Overwrite::Renew, ..order(folder.path(), NODE) }).unwrap();
    let second = serial(&files.certificate);
    assert_ne!(first, second);
    assert_eq!((first.len(), second.len()), (16, 16));
}

#[test]
fn a_certificate_never_outlives_its_authority() {
    let folder = tempfile::tempdir().unwrap();
    let ca = make_authority("Short", folder.path(), 20, false, Overwrite::Never).unwrap();
    let made = certify(&order(folder.path(), NODE)).unwrap();
    assert_eq!((made.not_after, made.cut_short), (ca.not_after, true));
    let report = report(&made.paths, NODE, now());
    assert_eq!((report.ok, codes(&report)), (true, vec!["expires-soon", "expires-soon"]));
}

#[test]
fn a_name_that_tls_takes_for_no_domain_is_refused_before_anything_is_written() {
    let folder = community("Valley");
    for bad in ["192.0.2.1", "-a.mesh"] {
        let told = certify(&order(folder.path(), bad)).unwrap_err().to_string();
        assert!(told.contains("can't be the name of a server"), "{told}");
        assert!(!folder.path().join(format!("{bad}.key")).exists());
    }
    let long = format!("{0}.{0}.{0}.mesh", "a".repeat(60));
    let made = certify(&order(folder.path(), &long)).unwrap();
    assert!(report(&made.paths, &long, now()).ok);
    for bad in ["", "  ", "a\nb", &"x".repeat(MAX_NAME + 1)] {
        let other = tempfile::tempdir().unwrap();
        assert!(matches!(make_authority(bad, other.path(), 1, false, Overwrite::Never), Err(Problem::Refused { .. })));
    }
}

#[test]
fn a_request_is_signed_without_its_key_ever_leaving() {
    let ours = tempfile::tempdir().unwrap();
    let asked = request(NODE, ours.path(), Overwrite::Never).unwrap();
    assert_eq!(fs::metadata(&asked.paths.key).unwrap().mode() & 0o7777, 0o600);
    let keeper = community("Valley");
    let made = certify(&Certify { request: Some(&asked.paths.request), ..order(keeper.path(), NODE) }).unwrap();
    assert!(!made.paths.key.exists());
    for (from, to) in
        [(&made.paths.certificate, &asked.paths.certificate), (&made.paths.authority, &asked.paths.authority)]
    {
        fs::copy(from, to).unwrap();
    }
    assert_eq!(codes(&report(&asked.paths, NODE, now())), [""; 0]);
    let key = fs::read(&asked.paths.key).unwrap();
    assert!(!request(NODE, ours.path(), Overwrite::Renew).unwrap().new_key);
    assert_eq!(fs::read(&asked.paths.key).unwrap(), key);
}

#[test]
fn a_request_for_another_domain_or_with_a_wrong_signature_is_refused() {
    let ours = tempfile::tempdir().unwrap();
    let file = request(NODE, ours.path(), Overwrite::Never).unwrap().paths.request;
    let keeper = community("Valley");
    let sign = |domain| certify(&Certify { request: Some(&file), ..order(keeper.path(), domain) });
    let told = sign("node2.valley.mesh").unwrap_err().to_string();
    assert!(told.contains("asks for node1.valley.mesh, not for node2.valley.mesh"), "{told}");

    let mut der = files::read_request(&file).unwrap().to_vec();
    let place = der.windows(5).position(|window| window == b"node1").unwrap();
    der[place..place + 5].copy_from_slice(b"node2");
    fs::write(&file, &der).unwrap();
    let told = sign("node2.valley.mesh").unwrap_err().to_string();
    assert!(told.contains("its signature is wrong"), "{told}");
    assert!(!keeper.path().join("node2.valley.mesh.pem").exists());
}

#[test]
fn of_a_request_nothing_counts_but_its_key() {
    let folder = community("Valley");
    let mut greedy = CertificateParams::default();
    greedy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    greedy.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    greedy.subject_alt_names = [NODE, "bank.example"].map(|name| SanType::DnsName(name.try_into().unwrap())).to_vec();
    let csr = folder.path().join("greedy.csr");
    fs::write(&csr, greedy.serialize_request(&KeyPair::generate().unwrap()).unwrap().der()).unwrap();
    let made = certify(&Certify { request: Some(&csr), ..order(folder.path(), NODE) }).unwrap();
    assert_eq!(made.ignored, ["bank.example"]);
    let facts = leaf(&made.paths);
    assert_eq!(facts.domains, [NODE]);
    assert!(!facts.ca && !facts.signs_certificates);
}

/// Two communities, of which the first vouches for the second's authority, for hill.mesh alone.
fn vouched() -> (TempDir, Files, TempDir, PathBuf) {
    let (valley, one) = server("Valley", NODE);
    let hill = community("Hill");
    let permit = ["hill.mesh".to_owned()];
    let folders = (valley.path(), valley.path());
    let cross = cross_sign(&hill.path().join(CA_CERTIFICATE), &permit, folders, 365, Overwrite::Never).unwrap();
    assert_eq!(cross.name, "Hill");
    (valley, one, hill, cross.certificate)
}

/// The servers of the first community trust the other authority, too.
fn trust_too(files: &Files, cross: &Path) {
    let mut trusted = fs::read(&files.authority).unwrap();
    trusted.extend(fs::read(cross).unwrap());
    fs::write(&files.authority, trusted).unwrap();
}

#[test]
fn a_server_that_shows_who_vouches_for_its_authority_is_taken() {
    let (_valley, one, hill, cross) = vouched();
    let chain = [cross];
    let two = certify(&Certify { chain: &chain, ..order(hill.path(), "node1.hill.mesh") }).unwrap();
    assert!(two.chained);
    // The other direction: Hill's servers trust Valley's authority by its name in their own file.
    trust_too(&two.paths, &one.authority);
    handshake(&one, &two.paths, "node1.hill.mesh").unwrap();
    handshake(&two.paths, &one, NODE).unwrap();
    assert!(report(&two.paths, "node1.hill.mesh", now()).ok);

    let renewed = certify(&Certify { overwrite: Overwrite::Renew, ..order(hill.path(), "node1.hill.mesh") }).unwrap();
    assert!(renewed.chained, "a renewal keeps the bond");
    handshake(&one, &renewed.paths, "node1.hill.mesh").unwrap();
}

#[test]
fn a_server_that_trusts_who_is_vouched_for_needs_nothing_from_the_others() {
    let (_valley, one, hill, cross) = vouched();
    let two = certify(&order(hill.path(), "node1.hill.mesh")).unwrap().paths;
    trust_too(&two, &one.authority);
    handshake(&one, &two, "node1.hill.mesh").unwrap_err();
    trust_too(&one, &cross);
    handshake(&one, &two, "node1.hill.mesh").unwrap();
    assert!(report(&one, NODE, now()).ok);
    let valley_still_renews = Certify { overwrite: Overwrite::Renew, ..order(_valley.path(), NODE) };
    assert!(!certify(&valley_still_renews).unwrap().other_authority);
}

#[test]
fn an_authority_that_is_vouched_for_has_no_say_outside_of_its_domain() {
    let (_valley, one, hill, cross) = vouched();
    let chain = [cross.clone()];
    for outside in [NODE, "hill.mesh.example", "xhill.mesh"] {
        let false_one = certify(&Certify { chain: &chain, ..order(hill.path(), outside) }).unwrap().paths;
        trust_too(&false_one, &one.authority);
        let shown = handshake(&one, &false_one, outside).unwrap_err();
        assert!(shown.contains("NameConstraint"), "{shown}");
    }
    trust_too(&one, &cross);
    let false_one = Files::of(hill.path(), NODE);
    let trusted = handshake(&one, &false_one, NODE).unwrap_err();
    assert!(trusted.contains("NameConstraint"), "{trusted}");
    // As a client it is refused, too.
    handshake(&false_one, &one, NODE).unwrap_err();
}

#[test]
fn only_another_authority_is_vouched_for() {
    let (valley, one, hill, cross) = vouched();
    let permit = ["x.mesh".to_owned()];
    let sign = |other: &Path| {
        let folders = (valley.path(), valley.path());
        cross_sign(other, &permit, folders, 365, Overwrite::Never).unwrap_err().to_string()
    };
    assert!(sign(&one.authority).contains("own certificate"));
    assert!(sign(&one.certificate).contains("no certificate of an authority"));
    assert!(sign(&one.key).contains("no certificate in DER or PEM form"));
    let unrelated = [one.authority.clone()];
    let told = certify(&Certify { chain: &unrelated, ..order(hill.path(), "a.hill.mesh") }).unwrap_err().to_string();
    assert!(told.contains("doesn't vouch for this authority"), "{told}");
    assert!(cross.exists());
}

#[test]
fn an_authority_for_servers_alone_issues_but_does_not_vouch() {
    let folder = tempfile::tempdir().unwrap();
    let pair = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    fs::write(folder.path().join(CA_CERTIFICATE), params.self_signed(&pair).unwrap().pem()).unwrap();
    files::write_secret(&folder.path().join(CA_KEY), pair.serialize_pem().as_bytes(), false).unwrap();
    let made = certify(&order(folder.path(), NODE)).unwrap();
    assert!(report(&made.paths, NODE, now()).ok);
    let other = community("Hill");
    let folders = (folder.path(), folder.path());
    let permit = ["hill.mesh".to_owned()];
    let told = cross_sign(&other.path().join(CA_CERTIFICATE), &permit, folders, 1, Overwrite::Never).unwrap_err();
    assert!(told.to_string().contains("pathlen 0"), "{told}");
}

#[test]
fn a_check_says_what_does_not_fit_and_how_to_mend_it() {
    let (_one_folder, one) = server("Valley", NODE);
    let (_two_folder, two) = server("Hill", NODE);
    let nowhere = PathBuf::from("/nowhere/x");
    let cases = [
        (Files { key: two.key.clone(), ..one.clone() }, NODE, vec!["key-mismatch"]),
        (Files { authority: two.authority.clone(), ..one.clone() }, NODE, vec!["chain"]),
        (Files { authority: one.certificate.clone(), ..one.clone() }, NODE, vec!["chain", "no-authority"]),
        (Files { certificate: nowhere.clone(), ..one.clone() }, NODE, vec!["certificate-io"]),
        (Files { key: nowhere, ..one.clone() }, NODE, vec!["certificate-io"]),
        (Files { key: one.certificate.clone(), ..one.clone() }, NODE, vec!["key-file-loose"]),
        (Files { certificate: one.key.clone(), ..one.clone() }, NODE, vec!["certificate-unusable"]),
        (one.clone(), "node2.valley.mesh", vec!["wrong-domain"]),
        (one.clone(), NODE, vec![]),
    ];
    for (files, domain, wanted) in cases {
        let report = report(&files, domain, now());
        assert_eq!(codes(&report), wanted, "{report:?}");
        assert_eq!(report.ok, wanted.is_empty());
    }
    fs::set_permissions(&one.certificate, fs::Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(&one.key, fs::Permissions::from_mode(0o640)).unwrap();
    let report = report(&one, NODE, now());
    assert_eq!(codes(&report), ["mode", "key-file-loose"]);
    assert!(report.findings.iter().all(|found| format!("{}{}", found.problem, found.remedy).contains("chmod")));
}

#[test]
fn a_check_tells_an_expired_certificate_from_a_clock_that_is_behind() {
    let (_folder, files) = server("Valley", NODE);
    let days = |days: u64| now() + days * DAY_SECONDS;
    assert_eq!(codes(&report(&files, NODE, days(340))), ["expires-soon"]);
    assert_eq!(codes(&report(&files, NODE, days(366))), ["expired"]);
    assert_eq!(codes(&report(&files, NODE, days(4_000))), ["expired", "expired"]);
    let at_the_start_of_time = report(&files, NODE, 0);
    assert_eq!(codes(&at_the_start_of_time), ["not-yet-valid", "not-yet-valid"]);
    assert!(at_the_start_of_time.findings[0].remedy.contains("clock"));
    assert!(report(&files, NODE, now() - 29 * DAY_SECONDS).ok, "a clock that is a month behind will do");
}

#[test]
fn a_certificate_for_servers_alone_is_not_enough() {
    let (folder, files) = server("Valley", NODE);
    let ca = authority::Authority::open(folder.path()).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_der(&ca.certificate, ca.key()).unwrap();
    let mut params = CertificateParams::new([NODE.to_owned()]).unwrap();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let pair = key::read(&files.key).unwrap();
    fs::write(&files.certificate, params.signed_by(&pair, &issuer).unwrap().pem()).unwrap();
    let report = report(&files, NODE, now());
    assert_eq!(codes(&report), ["usage"]);
    assert!(report.findings[0].problem.contains("clientAuth"));
}

#[test]
fn no_problem_or_report_shows_a_secret() {
    let (folder, files) = server("Valley", NODE);
    let key = fs::read_to_string(&files.key).unwrap();
    let secret = key.lines().nth(1).unwrap();
    fs::write(&files.key, key.replace("PRIVATE KEY", "SOMETHING")).unwrap();
    let renewal = Certify { overwrite: Overwrite::Renew, ..order(folder.path(), NODE) };
    let told = format!("{:?}", certify(&renewal).unwrap_err());
    let reported = format!("{:?}", report(&files, NODE, now()));
    assert!(!told.contains(secret) && !reported.contains(secret));
    assert!(reported.contains("no secret key in PKCS#8 form"));
}
