//! Libraries that are refused before an instance is made.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use qpq_host::plugin::{CheckReport, PluginEvent, check_file, check_in_child};

use crate::bench::{Bench, Workshop, spec};

/// Checks that a file is refused for that reason, with something to do about it.
fn refused(path: &Path, code: &str) -> CheckReport {
    let report = check_file(path);
    assert!(!report.ok, "accepted: {report:?}");
    let problem = report.problem.as_ref().expect("a problem");
    assert_eq!(problem.code, code, "{problem:?}");
    assert!(!problem.found.is_empty() && !problem.wanted.is_empty() && !problem.remedy.is_empty(), "{problem:?}");
    report
}

fn refused_with(macros: &[&str], code: &str) -> CheckReport {
    let shop = Workshop::new();
    refused(&shop.plugin("p.so", macros), code)
}

fn accepted_with(macros: &[&str]) -> CheckReport {
    let shop = Workshop::new();
    let report = check_file(&shop.plugin("p.so", macros));
    assert!(report.ok, "{report:?}");
    report
}

#[test]
fn a_good_plugin_passes_and_is_described() {
    let report = accepted_with(&[]);
    let plugin = report.plugin.expect("described");
    assert_eq!((plugin.id.as_str(), plugin.kind.as_str(), plugin.abi.as_str()), ("transport-c", "transport", "1.1"));
    assert_eq!(plugin.config_schema, serde_json::json!({"type": "object"}));
    assert_eq!(report.sha256.len(), 64);
}

#[test]
fn no_file_and_no_regular_file() {
    let shop = Workshop::new();
    refused(&shop.path("nothing.so"), "unreadable");
    fs::create_dir(shop.path("folder.so")).expect("made");
    refused(&shop.path("folder.so"), "not-a-file");
}

#[test]
fn a_text_file() {
    let shop = Workshop::new();
    let report = refused(&shop.file("text.so", b"int main(void) { return 0; }\n"), "not-a-library");
    assert!(report.problem.expect("one").found.contains("text"));
    refused(&shop.file("empty.so", b""), "not-a-library");
}

#[test]
fn a_truncated_library() {
    let shop = Workshop::new();
    let whole = fs::read(shop.plugin("whole.so", &[])).expect("readable");
    for cut in [5, 63, 64, 100, 1000, whole.len() / 2, whole.len() - 1] {
        refused(&shop.file("cut.so", &whole[..cut]), "truncated");
    }
}

#[test]
fn a_library_for_another_machine() {
    let shop = Workshop::new();
    let mut bytes = fs::read(shop.plugin("whole.so", &[])).expect("readable");
    let (at, other) = (18, 0x00f3u16 ^ if cfg!(target_arch = "riscv64") { 0x00cd } else { 0 });
    bytes[at..at + 2].copy_from_slice(&other.to_ne_bytes());
    refused(&shop.file("other.so", &bytes), "other-machine");
}

#[test]
fn a_library_that_needs_what_is_not_installed() {
    let report = refused_with(&["P_UNRESOLVED"], "loader");
    assert!(report.plugin.is_none());
}

#[test]
fn no_symbol() {
    refused_with(&["P_ENTRY=some_other_entry"], "no-symbol");
}

#[test]
fn null_or_wild_descriptor() {
    refused_with(&["P_DESCRIPTOR=NULL"], "no-descriptor");
    refused_with(&["P_DESCRIPTOR=((const qpq_plugin*)64)"], "no-descriptor");
}

#[test]
fn wrong_magic() {
    refused_with(&["P_MAGIC=0x1122334455667788"], "magic");
}

#[test]
fn a_descriptor_too_small_or_too_large() {
    refused_with(&["P_SIZE=0"], "size");
    refused_with(&["P_SIZE=100"], "size");
    refused_with(&["P_SIZE=(offsetof(qpq_plugin, schemes)-1)"], "size");
    refused_with(&["P_SIZE=0x7fffffff"], "size");
}

#[test]
fn a_transport_says_which_addresses_are_for_it() {
    let schemes = |macros: &[&str]| accepted_with(macros).plugin.expect("described").schemes;
    assert_eq!(schemes(&[r#"P_SCHEMES=S("udp udp+c")"#]), ["udp", "udp+c"]);
    let old = "P_SIZE=offsetof(qpq_plugin, schemes)";
    assert_eq!(schemes(&[old, "P_MINOR=0", r#"P_ID=S("transport-radio")"#, r#"P_SCHEMES=S("udp")"#]), ["radio"]);
    assert_eq!(schemes(&[r#"P_SCHEMES=S("")"#]), ["c"]);
    refused_with(&[r#"P_SCHEMES=S("udp://")"#], "descriptor-text");
    refused_with(&[r#"P_SCHEMES=S("9p")"#], "descriptor-text");
}

#[test]
fn a_larger_descriptor_of_a_later_minor_version_loads() {
    accepted_with(&["P_MINOR=2", "P_SIZE=(sizeof(qpq_plugin)+64)"]);
}

#[test]
fn a_later_major_version_is_refused_and_named() {
    let report = refused_with(&["P_MAJOR=2"], "abi-major");
    assert!(report.problem.expect("one").found.contains('2'));
    refused_with(&["P_MAJOR=0"], "abi-major");
}

#[test]
fn panics_that_abort_and_flags_from_the_future() {
    refused_with(&["P_FLAGS=0"], "panic-aborts");
    refused_with(&["P_FLAGS=(1|0x10000)"], "unknown-flags");
    accepted_with(&["P_FLAGS=(1|0x100)"]);
}

#[test]
fn texts_that_are_none() {
    refused_with(&[r#"P_ID=S("trans\xffport")"#], "descriptor-text");
    refused_with(&[r#"P_ID=S("../../etc")"#], "descriptor-text");
    refused_with(&[r#"P_ID=S("")"#], "descriptor-text");
    refused_with(&[r#"P_VERSION=S("1\x1b[31m")"#], "descriptor-text");
    refused_with(&["P_ID={(const uint8_t*)0,9}"], "descriptor-text");
}

#[test]
fn lengths_that_lie() {
    refused_with(&[r#"P_ID={(const uint8_t*)"x",SIZE_MAX}"#], "descriptor-text");
    refused_with(&[r#"P_SCHEMA={(const uint8_t*)"x",0x7fffffff}"#], "descriptor-text");
    // Within the limit, but nothing is mapped there.
    refused_with(&["P_SCHEMA={(const uint8_t*)4096,60000}"], "descriptor-text");
}

#[test]
fn null_functions_and_vtables() {
    refused_with(&["P_CREATE=NULL"], "missing-function");
    refused_with(&["P_DIAL=NULL"], "missing-function");
    refused_with(&["P_VTABLE_SIZE=8"], "missing-function");
    refused_with(&["P_VTABLE=NULL"], "bad-interface");
    refused_with(&["P_VTABLE=((void*)64)"], "bad-interface");
}

#[test]
fn interfaces_that_do_not_fit() {
    refused_with(&[r#"P_KIND=S("oven")"#], "unknown-kind");
    refused_with(&[r#"P_INTERFACES=S("qpq.transport/2")"#], "missing-interface");
    refused_with(&[r#"P_KIND=S("routing")"#], "missing-interface");
    refused_with(&[r#"P_NEEDS=S("qpq.host.time-travel/1")"#], "needs-interface");
    accepted_with(&[r#"P_INTERFACES=S("qpq.transport/2 qpq.transport/1")"#]);
    accepted_with(&[r#"P_KIND=S("federation")"#]);
}

#[test]
fn a_schema_that_is_none() {
    refused_with(&[r#"P_SCHEMA=S("{")"#], "bad-schema");
    refused_with(&[r#"P_SCHEMA=S("{\"type\":\"moon\"}")"#], "bad-schema");
    accepted_with(&[r#"P_SCHEMA=S("")"#]);
}

#[test]
fn a_file_that_others_can_change() {
    let shop = Workshop::new();
    let file = shop.plugin("p.so", &[]);
    fs::set_permissions(&file, Permissions::from_mode(0o757)).expect("chmod");
    let report = refused(&file, "writable-by-others");
    assert!(report.problem.expect("one").remedy.contains("chmod go-w"));
    fs::set_permissions(&file, Permissions::from_mode(0o755)).expect("chmod");
    assert!(check_file(&file).ok);
    let folder = shop.path("open");
    fs::create_dir(&folder).expect("made");
    fs::set_permissions(&folder, Permissions::from_mode(0o777)).expect("chmod");
    fs::copy(&file, folder.join("p.so")).expect("copied");
    refused(&folder.join("p.so"), "writable-by-others");
}

#[tokio::test]
async fn a_check_whose_process_dies_is_a_report_too() {
    let shop = Workshop::new();
    let file = shop.plugin("p.so", &[]);
    for program in ["/bin/false", "/nowhere/at/all"] {
        let report = check_in_child(Path::new(program), &file).await;
        assert!(!report.ok);
        assert_eq!(report.problem.expect("one").code, "crashed");
    }
}

/// The library's own code runs as soon as it is loaded; so it is, in a child process, with a deadline.
#[tokio::test]
async fn a_library_that_crashes_hangs_or_chats_as_it_is_loaded() {
    let cases = [
        ("abort()", "ends the process", false),
        ("*(volatile int *)0 = 1", "ends the process", false),
        ("_exit(0)", "ends the process", false),
        ("sleep(600)", "takes over", false),
        (r#"puts("{\"ok\": false}")"#, "", true),
    ];
    for (what, says, ok) in cases {
        let shop = Workshop::new();
        let file = shop.plugin("p.so", &[&format!("P_CONSTRUCTOR={what}")]);
        let report = check_in_child(Path::new(env!("CARGO_BIN_EXE_qpq")), &file).await;
        assert_eq!(report.ok, ok, "{what}: {report:?}");
        if let Some(problem) = report.problem {
            assert!(problem.code == "crashed" && problem.found.contains(says), "{what}: {problem:?}");
        }
    }
}

#[tokio::test]
async fn a_library_that_is_fatal_as_it_is_loaded_is_refused_at_the_start_and_the_others_run() {
    let shop = Workshop::new();
    let bad = shop.plugin("bad.so", &["P_CONSTRUCTOR=abort()"]);
    let good = shop.plugin("good.so", &[r#"P_ID=S("transport-good")"#]);
    let specs = vec![spec("bad", bad, shop.behave("")), spec("good", good, shop.behave(""))];
    let mut bench = Bench::trying(&shop, specs);
    let (mut started, mut refused) = (0, String::new());
    for _ in 0..2 {
        match bench.event().await {
            PluginEvent::Started { name, .. } => started += usize::from(name == "good"),
            PluginEvent::Failed { name, reason, restart, .. } => {
                assert!(name == "bad" && restart.is_none(), "{name}: {reason}");
                refused = reason;
            }
        }
    }
    assert_eq!(started, 1);
    assert!(refused.contains("ends the process that loads it"), "{refused}");
    assert!(refused.contains("qpq plugin enable bad"), "{refused}");
}

/// The second start loads it at once: the program that would try it isn't there any more.
#[tokio::test]
async fn a_library_that_did_no_harm_is_not_tried_again_until_its_file_changes() {
    let shop = Workshop::new();
    let file = shop.plugin("t.so", &[]);
    let mut first = Bench::trying(&shop, vec![spec("t", file.clone(), shop.behave(""))]);
    first.started().await;
    let mark = shop.path("state/plugins/t/tried");
    assert!(mark.exists());
    first.registry.stop(std::time::Duration::from_secs(2)).await;
    // A program that says of every library that it is fatal.
    let mut second = Bench::tried_by("/bin/false", &shop, vec![spec("t", file.clone(), shop.behave(""))]);
    second.started().await;
    second.registry.stop(std::time::Duration::from_secs(2)).await;
    let bytes = fs::read(&file).expect("readable");
    fs::write(&file, bytes).expect("written");
    let mut third = Bench::tried_by("/bin/false", &shop, vec![spec("t", file, shop.behave(""))]);
    let (reason, _) = third.failed().await;
    assert!(reason.contains("ends the process that loads it"), "{reason}");
    assert!(!mark.exists(), "what is fatal is not known as harmless");
}
