//! `qpq federation …` as an operator runs it: three commands from nothing to certificates, in the real binary.
#![forbid(unsafe_code)]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const NODE: &str = "node1.valley.mesh";

struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// One with an authority.
    fn of_a_keeper() -> Self {
        let desk = Self::new();
        desk.done(&["ca", "--name", "Valley mesh"]);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs any command in the folder, with a data directory of its own.
    fn command(&self, program: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("QPQ_")) {
            command.env_remove(name);
        }
        command.env("QPQ_HOME", self.path("home")).current_dir(self.0.path()).args(arguments).output().unwrap()
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let arguments: Vec<&str> = ["federation"].iter().chain(arguments).copied().collect();
        let output = self.command(env!("CARGO_BIN_EXE_qpq"), &arguments);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn done(&self, arguments: &[&str]) -> String {
        let (code, out, err) = self.run(arguments);
        assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}: {out}");
        out
    }

    fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let arguments: Vec<&str> = arguments.iter().chain(&["--json"]).copied().collect();
        serde_json::from_str(&self.run(&arguments).1).unwrap()
    }

    fn check(&self, folder: &str) -> serde_json::Value {
        let file = |ending: &str| format!("{folder}/{ending}");
        let (cert, key, ca) = (file(&format!("{NODE}.pem")), file(&format!("{NODE}.key")), file("ca.pem"));
        self.json(&["check", NODE, "--cert", &cert, "--key", &key, "--ca", &ca])
    }
}

#[test]
fn three_commands_make_a_federation() {
    let desk = Desk::new();
    let out = desk.done(&["ca", "--name", "Valley mesh"]);
    assert!(out.contains("Valley mesh") && out.contains("Keep a copy"), "{out}");
    let out = desk.done(&["cert", "Node1.Valley.Mesh", "--out", "node1"]);
    assert!(out.contains("federation_cert = ") && out.contains("QPQ_FEDERATION_CERT="), "{out}");
    desk.done(&["cert", "node2.valley.mesh", "--out", "node2"]);
    let report = desk.check("node1");
    assert_eq!((&report["schema"], &report["ok"]), (&"qpq.federation-check/1".into(), &true.into()), "{report}");
    assert_eq!(report["names"][0], NODE);
    assert!(desk.path("node2/ca.pem").exists() && !desk.path("node2/ca.key").exists());
}

#[test]
fn the_printed_lines_are_a_configuration_that_fits() {
    let desk = Desk::of_a_keeper();
    let made = desk.json(&["cert", NODE, "--der"]);
    let toml = made["config"].as_str().unwrap();
    assert!(toml.contains(".der\"") && toml.contains(NODE), "{toml}");
    fs::create_dir(desk.path("home")).unwrap();
    let plugins = "[plugins]\nload = [\"federation-capnp\"]\n";
    fs::write(desk.path("home/qpq-server.toml"), format!("{toml}{plugins}")).unwrap();
    let (code, out, err) = desk.run(&["check"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");

    fs::write(desk.path("home/qpq-server.toml"), plugins).unwrap();
    let (code, _, err) = desk.run(&["check"]);
    assert!(code == 2 && err.contains("federation_cert") && err.contains("--cert"), "{err}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_qpq"));
    for (name, value) in made["environment"].as_str().unwrap().lines().map(|line| line.split_once('=').unwrap()) {
        command.env(name, value);
    }
    let output = command.arg("--home").arg(desk.path("home")).args(["federation", "check"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_does_not_fit_is_1_with_the_remedy() {
    let desk = Desk::of_a_keeper();
    desk.done(&["cert", NODE]);
    desk.done(&["ca", "--name", "Another", "--out", "other"]);
    let key = format!("{NODE}.key");
    let pem = format!("{NODE}.pem");
    let (code, out, _) = desk.run(&["check", NODE, "--cert", &pem, "--key", &key, "--ca", "other/ca.pem"]);
    assert_eq!(code, 1);
    assert!(out.contains("wasn't issued by") && out.contains("cross-sign") && out.contains("do not fit"), "{out}");
}

#[test]
fn wrong_names_are_wrong_usage_and_what_is_there_is_left_alone() {
    let desk = Desk::of_a_keeper();
    for bad in ["a b", "a..b", "a_b", ""] {
        assert_eq!(desk.run(&["cert", bad]).0, 2, "{bad}");
    }
    assert_eq!(desk.run(&["cert", NODE, "--days", "0"]).0, 2);
    assert_eq!(desk.run(&["cross-sign", "ca.pem"]).0, 2, "without --permit");
    let (code, _, err) = desk.run(&["ca", "--name", "Valley mesh"]);
    assert!(code == 1 && err.contains("left alone") && err.contains("--force"), "{err}");
    let (code, _, err) = desk.run(&["cert", NODE, "--ca", "nowhere"]);
    assert!(code == 1 && err.contains("qpq federation ca"), "{err}");
    desk.done(&["cert", NODE]);
    let (code, _, err) = desk.run(&["cert", NODE, "--json"]);
    let error: serde_json::Value = serde_json::from_str(&err).unwrap();
    assert_eq!((code, error["code"].as_str()), (1, Some("certificate-exists")));
    let out = desk.done(&["ca", "--name", "Valley mesh", "--force"]);
    assert!(out.contains("void") && out.contains("ca.key"), "{out}");
}

#[test]
fn a_request_travels_and_its_key_does_not() {
    let (keeper, server) = (Desk::of_a_keeper(), Desk::new());
    let made = server.json(&["request", NODE]);
    assert_eq!(made["schema"], "qpq.federation-request/1");
    let csr = server.path(&format!("{NODE}.csr"));
    let out = keeper.done(&["cert", NODE, "--request", csr.to_str().unwrap()]);
    assert!(out.contains("Give it to the server"), "{out}");
    assert!(!keeper.path(&format!("{NODE}.key")).exists());
    for name in ["ca.pem", &format!("{NODE}.pem")] {
        fs::copy(keeper.path(name), server.path(name)).unwrap();
    }
    assert_eq!(server.check(".")["ok"], true);
}

#[test]
fn communities_with_authorities_of_their_own_vouch_for_each_other() {
    let (valley, hill) = (Desk::of_a_keeper(), Desk::of_a_keeper());
    let theirs = hill.path("ca.pem");
    let made = valley.json(&["cross-sign", theirs.to_str().unwrap(), "--permit", "Hill.mesh"]);
    assert_eq!((&made["schema"], &made["permit"][0]), (&"qpq.federation-cross-sign/1".into(), &"hill.mesh".into()));
    let cross = made["certificate"].as_str().unwrap();
    hill.done(&["cert", "node1.hill.mesh", "--chain", cross, "--out", "node"]);
    let (cert, key) = ("node/node1.hill.mesh.pem", "node/node1.hill.mesh.key");
    let ca = valley.path("ca.pem");
    let report = hill.json(&["check", "node1.hill.mesh", "--cert", cert, "--key", key, "--ca", ca.to_str().unwrap()]);
    assert_eq!(report["ok"], true, "{report}");
}

#[test]
fn completions_and_man_pages_have_the_commands() {
    let desk = Desk::new();
    let qpq = env!("CARGO_BIN_EXE_qpq");
    for shell in ["bash", "zsh", "fish"] {
        let out = String::from_utf8(desk.command(qpq, &["completions", shell]).stdout).unwrap();
        assert!(out.contains("cross-sign") && out.contains("permit"), "{shell}");
    }
    assert!(desk.command(qpq, &["man", "pages"]).status.success());
    assert!(desk.path("pages/qpq-federation-cert.1").exists());
}

/// Runs `openssl`, which must succeed, and returns what it says.
fn openssl(desk: &Desk, arguments: &[&str]) -> String {
    let output = desk.command("openssl", arguments);
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "openssl {arguments:?}: {text}");
    text
}

/// Tells that a test was skipped.
fn without_openssl(test: &str) -> bool {
    let missing = Command::new("openssl").arg("version").output().is_err();
    if missing {
        let _ = writeln!(std::io::stderr(), "skipped {test}: there is no openssl on this machine");
    }
    missing
}

#[test]
fn openssl_takes_certificates_keys_and_chains() {
    if without_openssl("openssl_takes_certificates_keys_and_chains") {
        return;
    }
    let (valley, hill) = (Desk::of_a_keeper(), Desk::of_a_keeper());
    valley.done(&["cert", NODE, "--der"]);
    let (pem, key) = (format!("{NODE}.pem"), format!("{NODE}.key"));
    for purpose in ["sslserver", "sslclient"] {
        openssl(
            &valley,
            &["verify", "-x509_strict", "-purpose", purpose, "-verify_hostname", NODE, "-CAfile", "ca.pem", &pem],
        );
    }
    let public = openssl(&valley, &["pkey", "-in", &key, "-pubout"]);
    let der = format!("{NODE}.key.der");
    assert_eq!(public, openssl(&valley, &["pkey", "-inform", "DER", "-in", &der, "-pubout"]));
    assert_eq!(public, openssl(&valley, &["x509", "-in", &pem, "-noout", "-pubkey"]));
    // The first number in PKCS#8 is its version; stacks besides rustls want 0.
    let structure = openssl(&valley, &["asn1parse", "-inform", "DER", "-in", &der]);
    assert!(structure.lines().nth(1).unwrap().ends_with(":00"), "{structure}");

    let theirs = hill.path("ca.pem");
    valley.done(&["cross-sign", theirs.to_str().unwrap(), "--permit", "hill.mesh"]);
    let cross = valley.path("cross-hill.mesh.pem");
    let ca = valley.path("ca.pem");
    let (cross, ca) = (cross.to_str().unwrap(), ca.to_str().unwrap());
    hill.done(&["cert", "node1.hill.mesh"]);
    openssl(&hill, &["verify", "-x509_strict", "-CAfile", ca, "-untrusted", cross, "node1.hill.mesh.pem"]);
    hill.done(&["cert", NODE]);
    let outside = hill.command("openssl", &["verify", "-CAfile", ca, "-untrusted", cross, &pem]);
    assert!(!outside.status.success(), "a name outside of the permitted domain");
}

#[test]
fn authorities_and_requests_that_openssl_made_are_good_too() {
    if without_openssl("authorities_and_requests_that_openssl_made_are_good_too") {
        return;
    }
    let (valley, hill) = (Desk::of_a_keeper(), Desk::new());
    let san = format!("subjectAltName=DNS:{NODE}");
    let new = [
        "req",
        "-new",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "server.key",
        "-out",
        "server.csr",
        "-subj",
        "/CN=x",
    ];
    openssl(&valley, &[&new[..], &["-addext", &san]].concat());
    valley.done(&["cert", NODE, "--request", "server.csr"]);
    openssl(&valley, &["verify", "-CAfile", "ca.pem", &format!("{NODE}.pem")]);
    let report =
        valley.json(&["check", NODE, "--cert", &format!("{NODE}.pem"), "--key", "server.key", "--ca", "ca.pem"]);
    assert_eq!(report["ok"], true, "{report}");

    let subject = "/C=CH/O=Hill/OU=Net/CN=Hill authority";
    let ca = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "900"];
    let usage = ["-subj", subject, "-addext", "keyUsage=critical,keyCertSign,cRLSign"];
    openssl(&hill, &[&ca[..], &usage].concat());
    hill.done(&["cert", "node1.hill.mesh"]);
    valley.done(&["cross-sign", path(&hill.path("ca.pem")), "--permit", "hill.mesh"]);
    let cross = valley.path("cross-hill.mesh.pem");
    openssl(
        &hill,
        &["verify", "-CAfile", path(&valley.path("ca.pem")), "-untrusted", path(&cross), "node1.hill.mesh.pem"],
    );
    hill.done(&["cert", "node1.hill.mesh", "--renew", "--chain", path(&cross)]);
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
