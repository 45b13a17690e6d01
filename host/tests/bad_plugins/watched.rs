//! Files of running plugins that are replaced.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use qpq_host::api::PluginStatus;

use crate::bench::{Bench, PATIENCE, Workshop, spec};
use crate::swapped::{copy, last};

/// Longer than the watcher waits for a file to be quiet.
const QUIET: Duration = Duration::from_millis(1_500);

async fn running(shop: &Workshop) -> Bench {
    let file = shop.plugin("t.so", &["P_NAME=\"old \""]);
    let mut bench = Bench::watching(shop, vec![spec("t", file, shop.behave(""))]);
    bench.started().await;
    bench
}

async fn until(bench: &Bench, what: &str, fits: impl Fn(&PluginStatus) -> bool) -> PluginStatus {
    let end = Instant::now() + PATIENCE;
    loop {
        let status = bench.status().await;
        if fits(&status) {
            return status;
        }
        assert!(Instant::now() < end, "{what} did not come: {status:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn new_build(shop: &Workshop, macros: &[&str]) -> std::path::PathBuf {
    shop.plugin("build/new.so", &[macros, &["P_NAME=\"new \"", "P_VERSION=S(\"0.2.0\")"]].concat())
}

fn workshop() -> Workshop {
    let shop = Workshop::new();
    fs::create_dir(shop.path("build")).expect("a folder");
    shop
}

#[tokio::test]
async fn a_file_that_is_replaced_by_a_rename_is_swapped_in() {
    let shop = workshop();
    let bench = running(&shop).await;
    fs::rename(new_build(&shop, &[]), shop.path("t.so")).expect("renamed");
    let status = until(&bench, "the swap", |status| status.version == "0.2.0").await;
    assert_eq!(status.state, "active");
}

#[tokio::test]
async fn a_file_that_is_copied_over_is_swapped_in_and_the_mapped_one_is_not_touched() {
    let shop = workshop();
    let bench = running(&shop).await;
    let new = fs::read(new_build(&shop, &[])).expect("readable");
    fs::write(shop.path("t.so"), new).expect("written in place");
    until(&bench, "the swap", |status| status.version == "0.2.0").await;
}

#[tokio::test]
async fn half_a_file_is_refused_with_its_reason_and_the_whole_one_is_taken() {
    let shop = workshop();
    let bench = running(&shop).await;
    let new = fs::read(new_build(&shop, &[])).expect("readable");
    fs::write(shop.path("t.so"), &new[..new.len() / 2]).expect("written in place");
    let status = until(&bench, "the refusal", |status| status.swaps.iter().any(|swap| swap.state == "refused")).await;
    assert_eq!((status.state.as_str(), status.version.as_str()), ("active", "0.1.0"));
    assert!(last(&status).reason.as_ref().is_some_and(|reason| reason.contains("complete file")), "{status:?}");
    fs::write(shop.path("t.so"), &new).expect("written in place");
    until(&bench, "the swap", |status| status.version == "0.2.0").await;
}

#[tokio::test]
async fn a_touched_file_changes_nothing() {
    let shop = workshop();
    let bench = running(&shop).await;
    let same = fs::read(shop.path("t.so")).expect("readable");
    fs::write(shop.path("t.so"), same).expect("written in place");
    tokio::time::sleep(QUIET).await;
    assert!(bench.status().await.swaps.is_empty());
}

#[tokio::test]
async fn a_library_that_failed_is_not_tried_again_until_it_changes_or_the_admin_asks() {
    let shop = workshop();
    let bench = running(&shop).await;
    let bad = new_build(&shop, &["P_DO=\"start-fails\""]);
    put(&bad, &shop.path("t.so"));
    until(&bench, "the refusal", |status| status.swaps.iter().any(|swap| swap.state == "refused")).await;
    put(&bad, &shop.path("t.so"));
    tokio::time::sleep(QUIET).await;
    assert_eq!(bench.status().await.swaps.len(), 1, "it was tried again");
    bench.registry.swap("t", None).await.expect_err("tried, and bad");
    assert_eq!(bench.status().await.swaps.len(), 2);
    copy(&new_build(&shop, &[]), &shop.path("t.so"), "changed");
    until(&bench, "the swap", |status| status.version == "0.2.0").await;
}

#[tokio::test]
async fn a_refused_plugin_starts_when_its_file_is_replaced() {
    let shop = workshop();
    let mut bench = Bench::watching(&shop, vec![spec("t", shop.file("t.so", b"hello"), shop.behave(""))]);
    bench.failed().await;
    fs::rename(new_build(&shop, &[]), shop.path("t.so")).expect("renamed");
    bench.started().await;
    assert_eq!(bench.status().await.version, "0.2.0");
}

fn put(from: &Path, to: &Path) {
    fs::write(to, fs::read(from).expect("readable")).expect("written in place");
}
