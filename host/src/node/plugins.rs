//! The plugins of a node: which to load, and what to do when one starts or fails.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::engine::Message;
use super::shared::Shared;
use super::transports::Transports;
use crate::config::Config;
use crate::core::{LinkId, RouteKind, RouteQuery, Router, RouterOutput};
use crate::plugin::{PluginEvent, PluginSpec, Running, TransportHandle, find};
use qpq_schemas::PeerId;

/// How long the start of a node waits for its plugins.
const SETTLE: Duration = Duration::from_secs(2);

/// What the configuration wants loaded. A plugin without a file is kept as a warning: the node runs without it.
pub(super) fn specs(config: &Config, shared: &Shared) -> Vec<PluginSpec> {
    let dirs = config.plugin_dirs();
    let mut specs = Vec::new();
    for name in &config.plugins.load {
        match find(name, &dirs) {
            Some(file) => specs.push(PluginSpec { name: name.clone(), file, config: config.plugin_config(name) }),
            None => {
                let places: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
                let text = format!(
                    "no file {name}.so or libqpq_{}.so in {}; build it, or set `plugins.dirs`",
                    name.replace('-', "_"),
                    places.join(", ")
                );
                error!("plugin {name}: {text}");
                shared.warn(name, Some(text));
            }
        }
    }
    specs
}

/// Waits until each plugin has started (and listens) or failed for the first time, so that a node that says it is ready is.
/// A slow one is not waited for longer than [`SETTLE`].
pub(super) async fn settle(count: usize, mut settled: mpsc::Receiver<String>) {
    let all = async {
        let mut names = BTreeSet::new();
        while names.len() < count {
            let Some(name) = settled.recv().await else { return };
            names.insert(name);
        }
    };
    if tokio::time::timeout(SETTLE, all).await.is_err() {
        warn!("some plugins are still starting");
    }
}

/// What following the plugins needs.
pub(super) struct Follower {
    pub(super) shared: Arc<Shared>,
    pub(super) transports: Arc<Transports>,
    /// The addresses to listen at.
    pub(super) listen: Vec<String>,
    /// Hears the name of each plugin that has started or failed.
    pub(super) settled: mpsc::Sender<String>,
}

/// Follows the plugins' fates until the registry is gone.
pub(super) async fn follow(mut events: mpsc::Receiver<PluginEvent>, follower: Follower) {
    let Follower { shared, transports, listen, settled } = follower;
    // Nobody listens any more once the node has started.
    let tell = |name: String| _ = settled.try_send(name);
    while let Some(event) = events.recv().await {
        match event {
            PluginEvent::Started { name, running: Running::Transport(handle) } => {
                shared.warn(&name, None);
                transports.started(&name, handle.clone());
                let (listen, shared, settled) = (listen.clone(), Arc::clone(&shared), settled.clone());
                tokio::spawn(async move {
                    listen_all(&name, handle, listen, shared).await;
                    _ = settled.try_send(name);
                });
            }
            PluginEvent::Started { name, running: Running::Routing(handle) } => {
                shared.warn(&name, None);
                info!(plugin = name, "routes");
                route_by(&shared, Box::new(handle)).await;
                tell(name);
            }
            PluginEvent::Started { name, running: Running::Discovery(handle) } => {
                shared.discovery.started(&name, handle, &shared);
                tell(name);
            }
            PluginEvent::Started { name, .. } => {
                warn!(plugin = name, "this version of the node has no use for a plugin of that kind yet");
                tell(name);
            }
            PluginEvent::Failed { name, reason, disabled, .. } => {
                let remedy =
                    if disabled { format!("; mend it, then `qpq plugin enable {name}`") } else { String::new() };
                shared.warn(&name, Some(format!("{reason}{remedy}")));
                shared.discovery.ended(&name);
                if name.starts_with("routing-") {
                    route_by(&shared, Box::new(NoRouter)).await;
                }
                tell(name);
            }
        }
    }
}

async fn route_by(shared: &Shared, router: Box<dyn Router>) {
    let change = Box::new(move |core: &mut crate::core::Core, now_ms| core.replace_router(router, now_ms));
    _ = shared.engine.send(Message::Change(change)).await; // fails only while the node stops
}

/// Listens at the configured addresses whose scheme the running library serves.
async fn listen_all(name: &str, handle: TransportHandle, listen: Vec<String>, shared: Arc<Shared>) {
    let ours = |uri: &&String| uri.split_once("://").is_some_and(|(scheme, _)| handle.serves(scheme));
    shared.listening().retain(|uri| !ours(&uri));
    for uri in listen.iter().filter(ours) {
        match handle.listen(uri).await {
            Ok(bound) => {
                info!(plugin = name, uri = bound, "listening");
                shared.listening().push(bound);
                shared.warn(uri, None);
            }
            Err(why) => {
                error!(plugin = name, uri, %why, "can't listen");
                shared.warn(uri, Some(format!("can't listen there: {why}")));
            }
        }
    }
}

/// Stands in while no routing plugin runs: everything waits.
pub(super) struct NoRouter;

impl Router for NoRouter {
    fn name(&self) -> &str {
        "none"
    }
    fn link_up(&mut self, _: u64, _: LinkId, _: PeerId, _: &mut RouterOutput) {}
    fn link_measured(&mut self, _: u64, _: LinkId, _: u64, _: u32, _: &mut RouterOutput) {}
    fn link_down(&mut self, _: u64, _: LinkId, _: &mut RouterOutput) {}
    fn control(&mut self, _: u64, _: LinkId, _: &[u8], _: &mut RouterOutput) {}
    fn seen(&mut self, _: u64, _: PeerId, _: LinkId, _: u8, _: &mut RouterOutput) {}
    fn tick(&mut self, _: u64, _: &mut RouterOutput) -> Option<u64> {
        None
    }
    fn route(&mut self, _: u64, _: &RouteQuery, _: &mut Vec<LinkId>) -> RouteKind {
        RouteKind::Nowhere
    }
    fn dump(&self, _: u64) -> String {
        "[]".to_owned()
    }
}
