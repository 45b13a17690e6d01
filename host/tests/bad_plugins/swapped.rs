//! Libraries that are replaced while they run, by good ones and by bad ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use qpq_host::api::{PluginStatus, SwapReport};
use qpq_host::plugin::{MAX_GENERATIONS, PluginError, SwapProblem};

use crate::bench::{Bench, PATIENCE, Workshop, spec};

/// A running plugin whose builds report who they are.
async fn running(shop: &Workshop, macros: &[&str]) -> Bench {
    let file = shop.plugin("t.so", &[macros, &["P_NAME=\"old \""]].concat());
    let mut bench = Bench::start(shop, vec![spec("t", file, shop.behave(""))]);
    bench.started().await;
    bench
}

/// Another build.
fn another(shop: &Workshop, macros: &[&str]) -> PathBuf {
    shop.plugin("new.so", &[macros, &["P_NAME=\"new \"", "P_VERSION=S(\"0.2.0\")"]].concat())
}

/// The same library with another digest.
pub(crate) fn copy(file: &Path, to: &Path, tail: &str) {
    let mut bytes = fs::read(file).expect("readable");
    bytes.extend(tail.as_bytes());
    fs::write(to, bytes).expect("written");
}

pub(crate) fn last(status: &PluginStatus) -> &SwapReport {
    status.swaps.last().expect("a swap")
}

async fn swap(bench: &Bench, file: &Path) -> Result<PluginStatus, PluginError> {
    bench.registry.swap("t", Some(file.to_owned())).await
}

/// The old one goes on, and the status says why.
async fn refused(bench: &Bench, shop: &Workshop, file: &Path, said: &str) -> PluginError {
    let error = swap(bench, file).await.expect_err("refused");
    assert!(error.to_string().contains(said), "{error}");
    let status = bench.status().await;
    assert_eq!((status.state.as_str(), status.version.as_str(), status.generation), ("active", "0.1.0", 1));
    assert_eq!(last(&status).state, "refused");
    assert!(last(&status).reason.as_ref().is_some_and(|reason| reason.contains(said)), "{status:?}");
    assert!(!shop.report().contains(&"old stop".to_owned()), "the old one was stopped");
    error
}

#[tokio::test]
async fn a_new_build_takes_over_and_the_old_one_is_retired() {
    let shop = Workshop::new();
    let bench = running(&shop, &["P_QUIESCE"]).await;
    let status = swap(&bench, &another(&shop, &[])).await.expect("swapped");
    assert_eq!((status.state.as_str(), status.version.as_str(), status.generation), ("active", "0.2.0", 2));
    assert_eq!(last(&status).state, "done");
    assert!(last(&status).took_ms.is_some() && last(&status).reason.is_none());
    assert_eq!(shop.report(), ["old start", "new start", "old quiesce", "old stop", "old destroy"]);
    assert_eq!(bench.notes.lines(), ["listens at c:here"]);
}

#[tokio::test]
async fn one_that_needs_its_port_alone_listens_after_the_old_one_has_drained() {
    let shop = Workshop::new();
    let exclusive = "P_FLAGS=(QPQ_PLUGIN_PANIC_UNWIND|QPQ_PLUGIN_NEEDS_EXCLUSIVE)";
    let bench = running(&shop, &["P_QUIESCE", exclusive]).await;
    let status = swap(&bench, &another(&shop, &[exclusive])).await.expect("swapped");
    assert_eq!((last(&status).state.as_str(), status.generation), ("done", 2));
    assert_eq!(shop.report(), ["old start", "new start", "old quiesce", "old stop", "old destroy"]);
}

#[tokio::test]
async fn a_file_that_is_no_plugin_leaves_the_old_one_running() {
    let shop = Workshop::new();
    let bench = running(&shop, &[]).await;
    let text = shop.file("text.so", b"hello");
    let error = refused(&bench, &shop, &text, "shared library").await;
    assert!(matches!(error, PluginError::Load(_)));
    let half = fs::read(shop.path("t.so")).expect("readable");
    let half = shop.file("half.so", &half[..half.len() / 2]);
    refused(&bench, &shop, &half, "Copy or build the file again").await;
}

#[tokio::test]
async fn one_that_fails_before_it_takes_over_leaves_the_old_one_running() {
    for (behaviour, said) in [
        ("create-fails", "the moon is wrong"),
        ("create-null", "made no instance"),
        ("start-fails", "not today"),
        ("start-refuses", "busy"),
        ("listen-fails", "the port is taken"),
    ] {
        let shop = Workshop::new();
        let bench = running(&shop, &[]).await;
        let new = another(&shop, &[&format!("P_DO=\"{behaviour}\"")]);
        refused(&bench, &shop, &new, said).await;
        let started = shop.report().contains(&"new start".to_owned());
        assert_eq!(started, shop.report().contains(&"new destroy".to_owned()), "{behaviour}: {:?}", shop.report());
    }
}

#[tokio::test]
async fn one_that_cant_have_the_port_makes_way_for_a_fresh_instance_of_the_old() {
    let shop = Workshop::new();
    let exclusive = "P_FLAGS=(QPQ_PLUGIN_PANIC_UNWIND|QPQ_PLUGIN_NEEDS_EXCLUSIVE)";
    let bench = running(&shop, &[exclusive]).await;
    let error = swap(&bench, &another(&shop, &[exclusive, "P_DO=\"listen-fails\""])).await.expect_err("fell back");
    assert!(matches!(error, PluginError::Swap { problem: SwapProblem::TakeOver(_), .. }), "{error}");
    let status = bench.status().await;
    assert_eq!((status.state.as_str(), status.version.as_str()), ("active", "0.1.0"));
    assert_eq!(last(&status).state, "fell-back");
    let report = shop.report();
    assert_eq!(report.iter().filter(|line| *line == "old start").count(), 2, "{report:?}");
    assert_eq!(bench.notes.lines(), ["listens at c:here"]);
}

#[tokio::test]
async fn one_that_fails_right_after_the_swap_makes_way_for_the_old_library() {
    let shop = Workshop::new();
    let mut bench = running(&shop, &[]).await;
    swap(&bench, &another(&shop, &["P_DO=\"fail-soon\""])).await.expect("swapped");
    bench.started().await; // the library before, in a new instance
    let status = bench.status().await;
    assert_eq!((status.state.as_str(), status.version.as_str()), ("active", "0.1.0"));
    assert_eq!(last(&status).state, "fell-back");
    assert!(last(&status).reason.as_ref().is_some_and(|reason| reason.contains("right after the swap")), "{status:?}");
}

#[tokio::test]
async fn another_id_needs_the_command_with_a_file_and_another_kind_is_refused() {
    let shop = Workshop::new();
    let bench = running(&shop, &[]).await;
    let other = another(&shop, &["P_ID=S(\"transport-other\")"]);
    let error = bench.registry.swap("t", None).await.map(|status| status.version);
    assert_eq!(error.as_deref(), Ok("0.1.0"), "the same file again is a new instance");
    assert_eq!(swap(&bench, &other).await.expect("the admin wants it").version, "0.2.0");
    let routing = shop.plugin("routing.so", &["P_KIND=S(\"routing\")", "P_ID=S(\"r\")"]);
    assert!(swap(&bench, &routing).await.is_err());
    assert_eq!(bench.status().await.version, "0.2.0");
}

#[tokio::test]
async fn a_schema_that_the_configuration_does_not_fit_is_told() {
    let shop = Workshop::new();
    let bench = running(&shop, &[]).await;
    let picky = "P_SCHEMA=S(\"{\\\"type\\\":\\\"object\\\",\\\"required\\\":[\\\"moon\\\"]}\")";
    refused(&bench, &shop, &another(&shop, &[picky]), "Correct the plugin's section").await;
}

#[tokio::test]
async fn a_plugin_that_hangs_becomes_a_zombie_and_the_new_one_works() {
    let shop = Workshop::new();
    let bench = running(&shop, &["P_QUIESCE", "P_DO=\"quiesce-hangs stop-hangs\""]).await;
    let begun = Instant::now();
    let status = swap(&bench, &another(&shop, &[])).await.expect("swapped");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert_eq!((status.state.as_str(), status.version.as_str()), ("active", "0.2.0"));
    assert!(last(&status).reason.as_ref().is_some_and(|reason| reason.contains("zombie")), "{status:?}");
}

#[tokio::test]
async fn a_storm_of_swaps_ends_with_one_instance_that_works() {
    let shop = Workshop::new();
    let bench = running(&shop, &[]).await;
    let files = [another(&shop, &[]), shop.path("t.so")];
    let storm = (0..20).map(|n| bench.registry.swap("t", Some(files[n % 2].clone())));
    for swapped in futures::future::join_all(storm).await {
        swapped.expect("each in its turn");
    }
    let report = shop.report();
    let count = |what: &str| report.iter().filter(|line| line.ends_with(what)).count();
    assert_eq!((count("start"), count("stop"), count("destroy")), (21, 20, 20), "{report:?}");
    let status = bench.status().await;
    assert_eq!((status.state.as_str(), bench.registry.mapped_libraries()), ("active", 2));
}

#[tokio::test]
async fn libraries_are_capped_and_the_old_one_runs_on_at_the_cap() {
    let shop = Workshop::new();
    let bench = running(&shop, &[]).await;
    let (whole, copied) = (another(&shop, &[]), shop.path("copy.so"));
    for number in 1..MAX_GENERATIONS {
        copy(&whole, &copied, &number.to_string());
        swap(&bench, &copied).await.expect("below the cap");
    }
    copy(&whole, &copied, "one too many");
    let error = swap(&bench, &copied).await.expect_err("at the cap");
    assert!(error.to_string().contains("Restart the node"), "{error}");
    let status = bench.status().await;
    assert_eq!((status.state.as_str(), status.generation), ("active", MAX_GENERATIONS));
    assert_eq!(bench.registry.mapped_libraries(), MAX_GENERATIONS);
    assert!(swap(&bench, &shop.path("t.so")).await.is_ok(), "one that is mapped already costs nothing");
}

/// The plugin's file is none, so it never started.
async fn stopped(shop: &Workshop) -> Bench {
    let mut bench = Bench::start(shop, vec![spec("t", shop.file("t.so", b"hello"), shop.behave(""))]);
    bench.failed().await;
    bench
}

#[tokio::test]
async fn a_plugin_that_does_not_run_has_nothing_to_be_swapped() {
    let shop = Workshop::new();
    let bench = stopped(&shop).await;
    let error = tokio::time::timeout(PATIENCE, bench.registry.swap("t", None)).await.expect("an answer");
    assert!(error.expect_err("refused").to_string().contains("qpq plugin enable"));
}

#[tokio::test]
async fn another_library_starts_in_the_place_of_one_that_does_not_run() {
    let shop = Workshop::new();
    let mut bench = stopped(&shop).await;
    swap(&bench, &shop.file("worse.so", b"no library either")).await.expect_err("refused");
    swap(&bench, &another(&shop, &[])).await.expect("taken");
    bench.started().await;
    let status = bench.status().await;
    assert_eq!((status.state.as_str(), status.version.as_str()), ("active", "0.2.0"));
}
