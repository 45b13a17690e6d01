//! Configurations that don't fit: pins, schemas, names.

use std::sync::Arc;

use qpq_host::plugin::{PluginError, Problem, Registry, check_file};
use serde_json::json;

use crate::bench::{Bench, Notes, Workshop, settings, spec};

#[tokio::test]
async fn only_pinned_libraries_load() {
    let shop = Workshop::new();
    let file = shop.plugin("p.so", &[]);
    let digest = check_file(&file).sha256;
    for (pin, loads) in [("00".repeat(32), false), (digest.to_uppercase(), true)] {
        let specs = vec![spec("p", file.clone(), json!({}))];
        let notes = Arc::new(Notes::default());
        let (registry, mut events) = Registry::start(settings(&shop, &notes, vec![pin]), specs).expect("good names");
        let event = events.recv().await.expect("an event");
        assert_eq!(matches!(event, qpq_host::plugin::PluginEvent::Started { .. }), loads);
        let status = registry.statuses().await.remove(0);
        assert_eq!(status.last_error.is_some_and(|e| e.contains("plugins.pinned")), !loads);
        registry.stop(std::time::Duration::from_secs(2)).await;
    }
}

#[tokio::test]
async fn a_configuration_that_fails_its_schema_is_named_and_waits_for_the_admin() {
    let shop = Workshop::new();
    let schema = r#"P_SCHEMA=S("{\"properties\":{\"port\":{\"type\":\"integer\"}},\"additionalProperties\":false}")"#;
    let file = shop.plugin("p.so", &[schema]);
    let mut bench = Bench::start(&shop, vec![spec("p", file, json!({"port": "four", "prot": 4}))]);
    let (reason, restart) = bench.failed().await;
    assert!(reason.contains("port: ") && reason.contains("prot"), "{reason}");
    assert!(reason.contains("qpq plugin enable p"), "{reason}");
    assert_eq!(restart, None);
    assert_eq!(bench.status().await.state, "failed");
}

#[tokio::test]
async fn two_libraries_with_one_id() {
    let shop = Workshop::new();
    let one = shop.plugin("one.so", &[]);
    let two = shop.plugin("two.so", &[r#"P_VERSION=S("0.2.0")"#]);
    let mut bench = Bench::start(&shop, vec![spec("one", one, json!({})), spec("two", two, json!({}))]);
    let (first, second) = (bench.event().await, bench.event().await);
    let refused = [first, second].into_iter().find_map(|event| match event {
        qpq_host::plugin::PluginEvent::Failed { reason, .. } => Some(reason),
        qpq_host::plugin::PluginEvent::Started { .. } => None,
    });
    assert!(refused.expect("one of them").contains("transport-c"));
}

#[tokio::test]
async fn one_library_under_two_names_runs_twice() {
    let shop = Workshop::new();
    let file = shop.plugin("p.so", &[]);
    let mut bench = Bench::start(&shop, vec![spec("one", file.clone(), json!({})), spec("two", file, json!({}))]);
    bench.started().await;
    bench.started().await;
    assert!(bench.registry.statuses().await.iter().all(|s| s.state == "active" && s.generation == 1));
}

#[tokio::test]
async fn names_that_are_none_or_taken() {
    let shop = Workshop::new();
    let notes = Arc::new(Notes::default());
    for names in [["same", "same"], ["../up", "other"]] {
        let specs = names.map(|name| spec(name, shop.path("p.so"), json!({}))).to_vec();
        let refused = Registry::start(settings(&shop, &notes, Vec::new()), specs).err();
        let Some(PluginError::Load(error)) = refused else { panic!("{names:?} accepted") };
        assert!(matches!(error.problem, Problem::DuplicateId(..) | Problem::Text(..)), "{error}");
    }
}
