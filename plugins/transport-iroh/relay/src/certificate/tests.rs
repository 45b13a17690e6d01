use super::*;
use crate::authority::Authority;
use crate::config::tests::in_folder;
use tempfile::TempDir;

const DAYS: u32 = 30;

/// A folder with an authority and a certificate for 192.0.2.1.
fn made() -> (TempDir, Config) {
    let folder = tempfile::tempdir().unwrap();
    let config = in_folder(folder.path(), &["192.0.2.1"]);
    let authority = Authority::create(&folder.path().join("ca")).unwrap();
    authority.issue(folder.path(), &config.hosts, DAYS).unwrap();
    (folder, config)
}

fn refused(config: &Config) -> String {
    Certificate::load(config).unwrap_err().to_string()
}

#[test]
fn a_certificate_of_ones_own_authority_is_good_for_its_addresses_and_names() {
    let (folder, config) = made();
    let certificate = Certificate::load(&config).unwrap();
    assert!((29..=30).contains(&certificate.days_left()), "{} days", certificate.days_left());
    let both = in_folder(folder.path(), &["relay.example", "192.0.2.1"]);
    assert!(refused(&both).contains("doesn't name relay.example"));
    Authority::open(&folder.path().join("ca")).unwrap().issue(folder.path(), &both.hosts, DAYS).unwrap();
    Certificate::load(&both).unwrap();
}

#[test]
fn renewing_keeps_the_key() {
    let (folder, config) = made();
    let key = std::fs::read(&config.key).unwrap();
    Authority::open(&folder.path().join("ca")).unwrap().issue(folder.path(), &config.hosts, 100).unwrap();
    assert_eq!(std::fs::read(&config.key).unwrap(), key);
    assert!(Certificate::load(&config).unwrap().days_left() > u64::from(DAYS));
}

#[test]
fn what_nodes_would_refuse_is_refused_at_the_start_with_the_reason() {
    let (folder, config) = made();
    let (_other_folder, other) = made();
    let cases = [
        (Config { ca: other.ca.clone(), ..config.clone() }, "wasn't issued by"),
        (Config { key: other.key.clone(), ..config.clone() }, "don't make a pair"),
        (Config { ca: config.key.clone(), ..config.clone() }, "no certificate in PEM form"),
        (Config { key: config.certificate.clone(), ..config.clone() }, "chmod 600"),
        (Config { certificate: folder.path().join("none.pem"), ..config.clone() }, "Check the path"),
    ];
    for (config, reason) in cases {
        let told = refused(&config);
        assert!(told.contains(reason), "{reason}: {told}");
    }
}

#[test]
fn an_expired_certificate_is_told_from_a_clock_that_is_behind() {
    let (_folder, config) = made();
    let certificate = Certificate::load(&config).unwrap();
    let judge = Judge::new(&config.ca, provider()).unwrap();
    let host = config.hosts.first().unwrap();
    let told = |at: Duration| {
        let error = judge.verdict(&certificate.key.cert, host, at).unwrap_err();
        refusal(&error, host, &config.ca)
    };
    assert!(told(now() + Duration::from_secs(u64::from(DAYS + 1) * DAY_SECONDS)).contains("has expired"));
    assert!(told(Duration::from_secs(1)).contains("isn't valid yet"));
}

#[test]
fn an_authority_is_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    Authority::create(folder.path()).unwrap();
    assert!(matches!(Authority::create(folder.path()), Err(Problem::Exists { .. })));
}
