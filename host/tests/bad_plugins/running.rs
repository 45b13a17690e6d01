//! Plugins that load and then misbehave.

use std::time::{Duration, Instant};

use bytes::Bytes;
use qpq_host::plugin::{FIRST_RETRY, Frame, Fresh, PluginError};
use qpq_plugin_api::Status;

use crate::bench::{Bench, PATIENCE, Workshop, spec};

const STOP: Duration = Duration::from_secs(2);

async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < end, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_good_plugin_carries_frames_and_ends_in_order() {
    let shop = Workshop::new();
    let mut bench = Bench::of(&shop, "");
    let handle = bench.started().await;
    assert_eq!(handle.listen("c:here").await.as_deref(), Ok("c:here"));
    let link = handle.dial("c:echo", None).await.expect("a link");
    let sizes = [0, 1, 1024, 1025, 65_536];
    let frames: Vec<Frame> = sizes.iter().map(|n| Frame { link, bytes: Bytes::from(vec![7; *n]) }).collect();
    assert_eq!(handle.send(&frames), frames.len());
    let back: Vec<usize> = bench.notes.frames.lock().expect("unpoisoned").iter().map(Bytes::len).collect();
    assert_eq!(back, sizes);
    handle.close(link, "done");
    bench.registry.stop(STOP).await;
    assert_eq!(bench.notes.lines(), ["up c:echo\\u{1b}[31m", "down done"]);
    assert_eq!(shop.report(), ["start", "stop", "destroy"]);
}

#[tokio::test]
async fn create_that_fails_is_tried_again_and_then_disabled() {
    let shop = Workshop::new();
    let mut bench = Bench::of(&shop, "create-fails");
    for most in [500, 1000, 2000, 4000] {
        let (reason, restart) = bench.failed().await;
        assert!(reason.contains("the moon is wrong"), "{reason}");
        assert!(restart.is_some_and(|wait| wait <= Duration::from_millis(most)), "{restart:?}");
    }
    let (reason, restart) = bench.failed().await;
    assert!(restart.is_some_and(|wait| wait >= FIRST_RETRY / 2 && wait <= FIRST_RETRY), "{restart:?}");
    assert!(reason.contains("the moon is wrong") && reason.contains("qpq plugin enable t"), "{reason}");
    let status = bench.status().await;
    assert_eq!((status.state.as_str(), status.failures), ("disabled", 5));
    assert!(status.restart_in_ms.is_some_and(|ms| ms > 30_000), "the next try is shown: {status:?}");
    let enabled = bench.registry.enable("t", None).await.expect("known");
    assert_eq!(enabled.failures, 0);
    assert!(bench.failed().await.1.is_some(), "counts from the beginning");
}

#[tokio::test]
async fn a_disabled_plugin_is_tried_again_and_runs_when_its_trouble_is_over() {
    let shop = Workshop::new();
    let mut bench = Bench::that_retries(&shop, "six-creates-fail", Duration::from_millis(400));
    for _ in 0..5 {
        bench.failed().await;
    }
    let (_, restart) = bench.failed().await;
    let (least, most) = (Duration::from_millis(400), Duration::from_millis(800));
    assert!(restart.is_some_and(|wait| wait >= least && wait <= most), "one try, then twice the pause: {restart:?}");
    assert_eq!(bench.status().await.state, "disabled");
    bench.started().await;
    let status = bench.status().await;
    assert_eq!((status.state.as_str(), status.restart_in_ms), ("active", None));
}

#[tokio::test]
async fn create_that_gives_no_instance() {
    let shop = Workshop::new();
    let mut bench = Bench::of(&shop, "create-null");
    assert!(bench.failed().await.0.contains("made no instance"));
}

#[tokio::test]
async fn create_that_hangs_holds_up_nobody() {
    let shop = Workshop::new();
    let mut bench = Bench::of(&shop, "create-hangs");
    let (reason, _) = bench.failed().await;
    assert!(reason.contains("create did not end"), "{reason}");
}

#[tokio::test]
async fn start_that_fails_or_refuses_is_cleaned_up() {
    for (behaviour, said) in [("start-fails", "not today"), ("start-refuses", "busy")] {
        let shop = Workshop::new();
        let mut bench = Bench::of(&shop, behaviour);
        let (reason, restart) = bench.failed().await;
        assert!(reason.contains(said), "{reason}");
        assert!(restart.is_some());
        assert_eq!(shop.report(), ["start", "stop", "destroy"]);
    }
}

#[tokio::test]
async fn a_plugin_that_needs_the_key_and_may_not_have_it_waits_for_the_admin() {
    let shop = Workshop::new();
    let mut bench = Bench::of(&shop, "needs-key");
    let (reason, restart) = bench.failed().await;
    assert!(reason.contains("add \"t\" there. Then run: qpq plugin enable t."), "{reason}");
    assert!(reason.contains("plugins.trusted_with_key"), "{reason}");
    assert_eq!(restart, None, "the same configuration would fail again");
    let status = bench.status().await;
    assert_eq!((status.state.as_str(), status.failures, status.restart_in_ms), ("failed", 0, None));
    assert_eq!(shop.report(), ["start", "stop", "destroy"]);
    // The admin has added it to the list.
    let fresh = Fresh { config: shop.behave("needs-key"), trusted_with_key: vec!["t".to_owned()] };
    bench.registry.enable("t", Some(fresh)).await.expect("known");
    bench.started().await;
}

#[tokio::test]
async fn enabling_takes_the_configuration_of_now() {
    let shop = Workshop::new();
    let mut bench = Bench::of(&shop, "needs-key");
    assert_eq!(bench.failed().await.1, None);
    bench.registry.enable("t", None).await.expect("known");
    assert_eq!(bench.failed().await.1, None, "nothing has changed");
    let fresh = Fresh { config: shop.behave(""), trusted_with_key: Vec::new() };
    bench.registry.enable("t", Some(fresh)).await.expect("known");
    bench.started().await;
}

#[tokio::test]
async fn a_plugin_that_needs_the_key_and_may_have_it_works() {
    let shop = Workshop::new();
    let file = shop.plugin("t.so", &[]);
    let mut bench = Bench::trusting(&shop, vec![spec("t", file, shop.behave("needs-key"))]);
    bench.started().await;
    assert_eq!(bench.status().await.state, "active");
}

#[tokio::test]
async fn a_reported_panic_stops_the_instance_downs_its_links_and_starts_another() {
    let shop = Workshop::new();
    let mut bench = Bench::of(&shop, "fail-soon");
    let handle = bench.started().await;
    let link = handle.dial("c:echo", None).await.expect("a link");
    let (reason, restart) = bench.failed().await;
    assert!(reason.contains("a task panicked: \\u{1b}[31mred"), "{reason}");
    assert!(restart.is_some());
    assert!(bench.notes.lines().contains(&"down the transport plugin stopped".to_owned()));
    // The old handle is dead and harmless.
    let frame = Frame { link, bytes: Bytes::from_static(b"late") };
    assert_eq!(handle.send(&[frame]), 1);
    handle.resume(link);
    handle.close(link, "late");
    assert!(matches!(handle.dial("c:echo", None).await, Err(PluginError::Closed { .. })));
    assert!(handle.stats().is_object());
    let again = bench.started().await;
    assert_ne!(again.dial("c:echo", None).await.expect("a link"), link, "numbers are never used again");
}

#[tokio::test]
async fn operations_that_fail_say_so() {
    let shop = Workshop::new();
    let mut bench = Bench::of(&shop, "answer-twice");
    let handle = bench.started().await;
    let failed = handle.dial("c:nowhere", None).await.expect_err("nobody there");
    assert!(matches!(failed, PluginError::Failed { status: Status::UNREACHABLE, .. }), "{failed}");
    assert!(handle.dial("c:nolink", None).await.expect_err("no link").to_string().contains("no link came up"));
    assert_eq!(bench.status().await.state, "active");
}

#[tokio::test]
async fn everything_forbidden_at_once_is_survived() {
    let shop = Workshop::new();
    let mut bench = Bench::of(&shop, "misbehave");
    bench.started().await;
    // Both stray frames were released, and nothing but a TLS message was signed.
    assert_eq!(shop.report()[0], format!("sign {} releases 2", Status::REFUSED.0));
    assert!(bench.notes.lines().is_empty(), "{:?}", bench.notes.lines());
    assert_eq!(bench.status().await.state, "active");
}

#[tokio::test]
async fn a_thread_that_outlives_stop_meets_a_tombstone() {
    let shop = Workshop::new();
    let mut bench = Bench::of(&shop, "outlive");
    bench.started().await;
    bench.registry.stop(STOP).await;
    let late = format!("late {}", Status::CLOSED.0);
    eventually("the late call", || shop.report().contains(&late)).await;
    assert!(bench.notes.lines().is_empty());
}

#[tokio::test]
async fn a_stop_that_hangs_makes_a_zombie_and_holds_up_nobody() {
    let shop = Workshop::new();
    let mut bench = Bench::of(&shop, "stop-hangs");
    let handle = bench.started().await;
    let begun = Instant::now();
    bench.registry.stop(STOP).await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(bench.status().await.state, "zombie");
    assert!(matches!(handle.listen("c:x").await, Err(PluginError::Closed { .. })));
    assert_eq!(shop.report(), ["start"]);
}

#[tokio::test]
async fn an_unknown_plugin_is_not_enabled() {
    let shop = Workshop::new();
    let bench = Bench::of(&shop, "");
    assert!(matches!(bench.registry.enable("other", None).await, Err(PluginError::Unknown { .. })));
}

#[tokio::test]
async fn a_call_that_hangs_or_is_never_answered_holds_up_nobody() {
    for uri in ["c:never", "c:hangs"] {
        let shop = Workshop::new();
        let mut bench = Bench::of(&shop, "");
        let handle = bench.started().await;
        let (hung, link) = tokio::join!(handle.listen(uri), handle.dial("c:echo", None));
        assert!(matches!(hung, Err(PluginError::Hung { .. })), "{uri}: {hung:?}");
        let link = link.expect("a link meanwhile");
        let frame = Frame { link, bytes: Bytes::from_static(b"through") };
        assert_eq!(handle.send(&[frame]), 1);
    }
}

#[tokio::test]
async fn an_instance_is_stopped_and_destroyed_once_however_often_the_registry_is_stopped() {
    let shop = Workshop::new();
    let mut bench = Bench::of(&shop, "");
    let handle = bench.started().await;
    bench.registry.stop(STOP).await;
    bench.registry.stop(STOP).await;
    assert_eq!(shop.report(), ["start", "stop", "destroy"]);
    // A call after the end finds nobody, and harms nobody.
    assert!(matches!(handle.listen("c:x").await, Err(PluginError::Closed { .. })));
    handle.close(1, "late");
    assert_eq!(shop.report(), ["start", "stop", "destroy"]);
}
