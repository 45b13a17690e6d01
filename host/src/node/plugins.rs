//! The plugins of a node: which to load, and what to do when one starts or fails.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error, info, warn};

use super::dialer::{at_port, is_ipv6, port, scheme};
use super::engine::Message;
use super::shared::Shared;
use super::transports::Transports;
use crate::config::Config;
use crate::core::{LinkId, RouteKind, RouteQuery, Router, RouterOutput};
use crate::plugin::{
    DiscoveryEvents, Listeners, PluginEvent, PluginSpec, Running, TransportEvents, TransportHandle, find, missing_file,
};
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
                let text = missing_file(name, &dirs);
                error!("plugin {name}: {text}");
                shared.warn(name, Some(text));
            }
        }
    }
    specs
}

/// Waits until each plugin has started (and listens) or failed for the first time, so that a node that says it is ready is.
/// A slow one is not waited for longer than [`SETTLE`]. Whether all have.
pub(super) async fn settle(count: usize, mut settled: mpsc::Receiver<String>) -> bool {
    let all = async {
        let mut names = BTreeSet::new();
        while names.len() < count {
            let Some(name) = settled.recv().await else { return };
            names.insert(name);
        }
    };
    let done = tokio::time::timeout(SETTLE, all).await.is_ok();
    if !done {
        warn!("some plugins are still starting");
    }
    done
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
                _ = transports.started(&name, handle.clone());
                let (listen, shared, settled) = (listen.clone(), Arc::clone(&shared), settled.clone());
                tokio::spawn(async move {
                    _ = listen_all(&name, &handle, &listen, &shared).await; // each failure is a warning in the status
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
            PluginEvent::Failed { name, reason, .. } => {
                shared.warn(&name, Some(reason));
                shared.discovery.ended(&name);
                if let Some(before) = transports.ended(&name) {
                    shared.listening().retain(|uri| !before.serves(uri));
                }
                if name.starts_with("routing-") {
                    route_by(&shared, Box::new(NoRouter)).await;
                }
                tell(name);
            }
        }
    }
}

async fn route_by(shared: &Shared, router: Box<dyn Router>) {
    let (done, heard) = oneshot::channel();
    let change = Box::new(move |core: &mut crate::core::Core, now_ms| {
        let effects = core.replace_router(router, now_ms);
        _ = done.send(()); // who waits may have gone
        effects
    });
    // Both fail only while the node stops.
    _ = shared.engine.send(Message::Change(change)).await;
    _ = heard.await;
}

/// Listens at the configured addresses whose scheme the running library serves; the first failure that is new, if any.
/// An address at which nothing could listen before either is only warned of again.
async fn listen_all(name: &str, handle: &TransportHandle, listen: &[String], shared: &Shared) -> Result<(), String> {
    let ours = |uri: &&String| handle.serves_uri(uri);
    shared.listening().retain(|uri| !ours(&uri));
    let mut failed = Ok(());
    for uri in listen.iter().filter(ours) {
        match handle.listen(uri).await {
            Ok(bound) => {
                info!(plugin = name, uri = bound, "listening");
                shared.listening().push(bound);
                shared.warn(uri, None);
            }
            Err(why) => {
                error!(plugin = name, uri, %why, "can't listen");
                let known = shared.warns(uri);
                shared.warn(uri, Some(format!("can't listen there: {why}")));
                if !known && failed.is_ok() {
                    failed = Err(format!("it can't listen at {uri}: {why}"));
                }
            }
        }
    }
    failed
}

/// Has the running library listen at the configured addresses, each at a port that the system chooses, while the configured
/// ports belong to the instance before. Returns each address with the port, if it got one.
async fn passing_ports(handle: &TransportHandle, listen: &[String]) -> Vec<(String, Option<u16>)> {
    let mut ports = Vec::new();
    for uri in listen.iter().filter(|uri| handle.serves_uri(uri)) {
        let Some(any) = at_port(uri, 0) else { continue };
        let bound = handle.listen(&any).await.inspect_err(|why| debug!(uri, %why, "no second port for it"));
        ports.push((uri.clone(), bound.ok().and_then(|bound| port(&bound))));
    }
    ports
}

/// The port at which a neighbour with that address can come over: nothing where it can't be told which of this node's
/// addresses it uses.
fn port_for(remote: &str, ports: &[(String, Option<u16>)]) -> Option<u16> {
    let same_kind = |(uri, _): &&(String, Option<u16>)| scheme(uri) == scheme(remote);
    let alike = |(uri, _): &&(String, Option<u16>)| is_ipv6(uri) == is_ipv6(remote);
    let of_kind: Vec<_> = ports.iter().filter(same_kind).collect();
    let alike: Vec<_> = of_kind.iter().copied().filter(alike).collect();
    match (if alike.is_empty() { of_kind } else { alike })[..] {
        [(_, port)] => *port,
        _ => None,
    }
}

/// The shell's side of the plugins: where their events go, and how a new instance takes over in a swap.
pub(super) struct Stage {
    pub(super) shared: Arc<Shared>,
    pub(super) transports: Arc<Transports>,
    /// The addresses to listen at.
    pub(super) listen: Vec<String>,
}

impl Listeners for Stage {
    fn transport(&self, name: &str) -> Arc<dyn TransportEvents> {
        self.transports.transport(name)
    }

    fn discovery(&self, name: &str) -> Arc<dyn DiscoveryEvents> {
        self.shared.discovery.ear(name)
    }

    fn overlap(&self, name: &str, running: Running) -> BoxFuture<'static, ()> {
        let (name, transports, listen) = (name.to_owned(), Arc::clone(&self.transports), self.listen.clone());
        async move {
            let Running::Transport(handle) = running else { return };
            let ports = passing_ports(&handle, &listen).await;
            let Some(before) = transports.started(&name, handle.clone()) else { return };
            before.go_over(&handle, |remote| port_for(remote, &ports)).await;
        }
        .boxed()
    }

    fn adopt(&self, name: &str, running: Running) -> BoxFuture<'static, Result<(), String>> {
        let (name, shared, transports) = (name.to_owned(), Arc::clone(&self.shared), Arc::clone(&self.transports));
        let listen = self.listen.clone();
        async move {
            match running {
                Running::Transport(handle) => {
                    let listening = shared.listening().clone();
                    let before = transports.started(&name, handle.clone());
                    shared.listening().retain(|uri| !before.as_ref().is_some_and(|before| before.serves(uri)));
                    if let Err(why) = listen_all(&name, &handle, &listen, &shared).await {
                        transports.put_back(&name);
                        *shared.listening() = listening;
                        for uri in listen.iter().filter(|uri| handle.serves_uri(uri)) {
                            shared.warn(uri, None); // what this one can't do does not count
                        }
                        return Err(why);
                    }
                    transports.settled(&name);
                }
                Running::Routing(handle) => route_by(&shared, Box::new(handle)).await,
                Running::Discovery(handle) => shared.discovery.started(&name, handle, &shared),
                Running::Store(_) => {}
            }
            Ok(())
        }
        .boxed()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_is_asked_over_only_where_its_way_here_is_certain() {
        let ports = |ports: &[(&str, u16)]| {
            ports.iter().map(|(uri, port)| ((*uri).to_owned(), Some(*port))).collect::<Vec<_>>()
        };
        let both = ports(&[("quic://0.0.0.0:7000", 1), ("quic://[::]:7000", 2), ("federation://a@0.0.0.0:7001", 3)]);
        for (remote, port) in [
            ("quic://10.0.0.2:40000", Some(1)),
            ("quic://[fe80::1%eth0]:40000", Some(2)),
            ("federation://b.mesh@10.0.0.2:40000", Some(3)),
            ("iroh://abcd", None),
        ] {
            assert_eq!(port_for(remote, &both), port, "{remote}");
        }
        let mapped = ports(&[("quic://[::]:7000", 2)]);
        assert_eq!(port_for("quic://10.0.0.2:40000", &mapped), Some(2), "IPv4 over a socket for both");
        let two = ports(&[("quic://10.0.0.1:7000", 1), ("quic://10.1.0.1:7000", 2)]);
        assert_eq!(port_for("quic://10.1.0.2:40000", &two), None);
        let one_failed = [two[0].clone(), (two[1].0.clone(), None)];
        assert_eq!(port_for("quic://10.1.0.2:40000", &one_failed), None, "it may be a neighbour of the other");
        assert_eq!(port_for("quic://10.1.0.2:40000", &[]), None);
    }
}
