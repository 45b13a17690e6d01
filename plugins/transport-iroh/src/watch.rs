//! Looks after links and relays for as long as the instance runs.

use std::sync::Arc;

use qpq_quic_common::spawn;
use tokio::runtime::Handle;
use tokio::time::{Instant, interval, sleep};

use crate::accept::serve;
use crate::dial::upgrade;
use crate::engine::Engine;
use crate::limits::{MAX_FRAME, ONLINE_AFTER, SWEEP};
use crate::link::Link;
use crate::relays::{self, Line, Reporter};

/// Goes online when there are relays, so that this node can be found there even if it neither listens nor dials.
pub(crate) async fn go_online(engine: Arc<Engine>) {
    if engine.net.relays().is_empty() {
        return;
    }
    sleep(ONLINE_AFTER).await;
    if let Err(error) = engine.net.endpoint(|endpoint| serve(&engine, endpoint)).await {
        engine.host.debug(format!("not online: {error}"));
    }
}

/// Tells the host which links go on over another path, tries to get links off their relays, and reports how the relays stand.
pub(crate) async fn sweep(engine: Arc<Engine>) {
    let mut ticks = interval(SWEEP);
    let mut reporter = Reporter::new(Instant::now().into_std());
    loop {
        ticks.tick().await;
        for link in engine.links.table.all() {
            look_after(&engine, link);
        }
        let relays = relays::look(engine.net.relays(), engine.net.current().as_ref());
        for line in reporter.look(&relays, Instant::now().into_std()) {
            match line {
                Line::Warn(text) => engine.host.warn(text),
                Line::Info(text) => engine.host.info(text),
            }
        }
    }
}

fn look_after(engine: &Arc<Engine>, link: Arc<Link>) {
    if let Some(path) = link.moved() {
        engine.book.note_path(link.peer, &path);
        engine.counters.path_changes.one();
        let remote = path.uri(&link.connection);
        engine.events.path_changed(link.id, &remote, path.is_relayed(), MAX_FRAME as u32, path.rtt);
    }
    // iroh looks for paths at the end that dialled.
    if link.is_outbound() && link.wants_upgrade(Instant::now()) {
        spawn(&Handle::current(), engine.host, upgrade(engine.clone(), link));
    }
}
