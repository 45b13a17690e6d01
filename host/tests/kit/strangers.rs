//! What a stranger does: makes a plugin, builds it outside this repository, checks and tests it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workbench::{QPQ, make, qpq, said};

/// The library passes the check and every trial.
fn passes(folder: &Path, library: &Path) {
    let library = library.to_str().expect("UTF-8");
    let check = qpq(folder, &["plugin", "check", library]);
    assert!(check.status.success(), "{}", said(&check));
    let test = qpq(folder, &["plugin", "test", library, "--json"]);
    assert!(test.status.success(), "{}", said(&test));
    let report: serde_json::Value = serde_json::from_slice(&test.stdout).expect("JSON");
    assert_eq!((&report["schema"], &report["failed"]), (&"qpq.plugin-test/1".into(), &0.into()), "{report}");
}

fn new(folder: &Path, arguments: &[&str]) -> PathBuf {
    let mut command = Command::new(QPQ);
    let made = command.current_dir(folder).args(["plugin", "new"]).args(arguments).output().expect("qpq runs");
    assert!(made.status.success(), "{}", said(&made));
    folder.to_owned()
}

#[test]
fn a_new_transport_in_c_needs_cc_and_make_alone() {
    let folder = tempfile::tempdir().unwrap();
    let dir = new(folder.path(), &["radio", "--lang", "c"]).join("transport-radio");
    make(&dir);
    passes(folder.path(), &dir.join("transport-radio.so"));
}

/// Builds a new crate as a stranger would, but with the crates that this repository has already fetched and built.
fn cargo_build(dir: &Path) -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::copy(root.join("Cargo.lock"), dir.join("Cargo.lock")).expect("copied");
    let target = Path::new(QPQ).parent().and_then(Path::parent).expect("a target folder");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--offline", "--quiet"])
        .current_dir(dir)
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only")
        .output()
        .expect("cargo runs");
    let text = said(&built);
    match built.status.success() {
        true => Ok(target.join("debug")),
        false if text.contains("offline") => Err(text),
        false => panic!("{text}"),
    }
}

fn rust(kind: &str) {
    let folder = tempfile::tempdir().unwrap();
    let name = format!("stranger-{kind}");
    let dir = new(folder.path(), &[&name, "--lang", "rust", "--kind", kind]).join(format!("{kind}-{name}"));
    match cargo_build(&dir) {
        Ok(built) => passes(folder.path(), &built.join(format!("libqpq_{kind}_stranger_{kind}.so"))),
        Err(why) => println!("SKIPPED a_new_{kind}_in_rust: its crates are not in cargo's cache: {why}"),
    }
}

#[test]
fn a_new_transport_in_rust_builds_outside_this_repository() {
    rust("transport");
}

#[test]
fn a_new_routing_in_rust_builds_outside_this_repository() {
    rust("routing");
}

/// A panic in Rust is caught at the boundary: the test fails, its process goes on, and the panic is told.
#[test]
fn a_panic_is_told_and_not_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let dir = new(folder.path(), &["panics", "--lang", "rust", "--kind", "routing"]).join("routing-panics");
    let source = dir.join("src/lib.rs");
    let text = std::fs::read_to_string(&source).unwrap();
    let from = "Ok(Self { links: BTreeMap::new() })";
    let in_create = "if _config.get(\"now\").is_some() { panic!(\"in create\") }";
    let spoiled = text
        .replace(from, &format!("{in_create}\n        {from}"))
        .replace("            LinkState::Metrics => {}", "            LinkState::Metrics => panic!(\"in a callback\"),")
        .replace(r#", "additionalProperties": false"#, "");
    assert_ne!(spoiled, text);
    std::fs::write(&source, spoiled).unwrap();
    let library = match cargo_build(&dir) {
        Ok(built) => built.join("libqpq_routing_panics.so"),
        Err(why) => {
            return println!("SKIPPED a_panic_is_told_and_not_a_crash: its crates are not in cargo's cache: {why}");
        }
    };
    let library = library.to_str().unwrap();
    for (arguments, says) in [(&[][..], "in a callback"), (&["--config", "{\"now\": 1}"], "in create")] {
        let all = [&["plugin", "test", library, "--only", "deterministic", "--json"], arguments].concat();
        let report: serde_json::Value = serde_json::from_slice(&qpq(folder.path(), &all).stdout).expect("JSON");
        let why = report["tests"][0]["why"].as_str().unwrap_or_default();
        assert!(why.contains("panicked") && why.contains(says), "{report}");
    }
}

#[test]
fn nothing_is_overwritten_and_names_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("here");
    std::fs::create_dir(&dir).unwrap();
    let dir = dir.to_str().unwrap();
    let there = qpq(folder.path(), &["plugin", "new", "radio", "--lang", "c", "--dir", dir]);
    assert_eq!(there.status.code(), Some(2));
    assert!(said(&there).contains("nothing is overwritten"));
    assert_eq!(std::fs::read_dir(dir).unwrap().count(), 0);
    for name in ["../up", "Radio", "a b"] {
        let refused = qpq(folder.path(), &["plugin", "new", name, "--lang", "rust"]);
        assert_eq!(refused.status.code(), Some(2), "{name}");
        assert!(said(&refused).contains("such as `radio`"), "{}", said(&refused));
    }
    let no_template = qpq(folder.path(), &["plugin", "new", "x", "--lang", "c", "--kind", "routing"]);
    assert_eq!(no_template.status.code(), Some(2));
}

#[test]
fn a_failure_names_the_command_that_repeats_it_and_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let file = crate::workbench::compile(&folder, "routing.c", &["BAD_TICK"]);
    let file = file.to_str().unwrap();
    let first = qpq(folder.path(), &["plugin", "test", file, "--seed", "7"]);
    assert_eq!(first.status.code(), Some(1), "{}", said(&first));
    let text = said(&first);
    assert!(text.contains("✗ time") && text.contains("mend") && text.contains("--only time --seed 7"), "{text}");
    let again = qpq(folder.path(), &["plugin", "test", file, "--only-failed", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&again.stdout).expect("JSON");
    let failed: Vec<_> = report["tests"].as_array().unwrap().iter().map(|test| test["name"].clone()).collect();
    assert!(failed.contains(&"time".into()), "{report}");
    assert_eq!(report["seed"], 7);
    let unknown = qpq(folder.path(), &["plugin", "test", file, "--only", "nonsense"]);
    assert_eq!(unknown.status.code(), Some(2));
}
