//! What all tasks of one instance share.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use qpq_plugin_api::{Error, Host, LinkUp, Status, TransportHost, guarded};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use crate::config::Config;
use crate::link::{Link, run};
use crate::wire::MAX_FRAME;

/// What a URI of this transport begins with.
pub(crate) const SCHEME: &str = "example://";
/// A listener that can't accept waits so long before it tries again.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) struct Shared {
    pub(crate) host: Host,
    pub(crate) events: TransportHost,
    pub(crate) config: Config,
    links: Mutex<HashMap<u64, Arc<Link>>>,
    next_link: AtomicU64,
    /// Nothing new is taken on.
    closing: watch::Sender<bool>,
    /// A link has gone.
    gone: Notify,
}

impl Shared {
    pub(crate) fn new(host: Host, config: Config) -> Result<Self, Error> {
        let (events, closing) = (host.transport()?, watch::Sender::new(false));
        let (links, next_link, gone) = (Mutex::default(), AtomicU64::new(1), Notify::new());
        Ok(Self { host, events, config, links, next_link, closing, gone })
    }

    fn links(&self) -> MutexGuard<'_, HashMap<u64, Arc<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn link(&self, id: u64) -> Option<Arc<Link>> {
        self.links().get(&id).cloned()
    }

    pub(crate) fn count(&self) -> usize {
        self.links().len()
    }

    /// Reports a connection as a link, and carries its frames. `op` is the dial that made it, or 0.
    pub(crate) fn open(self: &Arc<Self>, stream: TcpStream, remote: SocketAddr, op: u64) -> Result<(), Error> {
        let _ = stream.set_nodelay(true);
        let id = self.next_link.fetch_add(1, Ordering::Relaxed);
        let link = Arc::new(Link::new(id));
        {
            let mut links = self.links();
            if *self.closing.borrow() {
                return Err(Error::new(Status::CLOSED, "the transport is ending"));
            }
            if links.len() >= self.config.max_links {
                return Err(Error::new(Status::BUSY, "there are as many links as `max_links` allows"));
            }
            // Before it is reported: the host may send at once.
            links.insert(id, link.clone());
        }
        let up = LinkUp {
            link: id,
            op,
            outbound: op != 0,
            reliable: true,
            relayed: false,
            peer: None, // TCP proves no keys; the node does that itself
            remote: &format!("{SCHEME}{remote}"),
            max_frame: MAX_FRAME as u32,
            channel_binding: &[],
            rtt: None,
        };
        if let Err(refused) = self.events.link_up(&up) {
            self.links().remove(&id);
            return Err(refused); // the connection is dropped, so the other end hears of it
        }
        spawn(&Handle::current(), self.host, run(self.clone(), link, stream));
        Ok(())
    }

    /// Forgets a link that has ended, and reports it.
    pub(crate) fn closed(&self, id: u64, reason: &str) {
        self.links().remove(&id);
        self.events.link_down(id, reason);
        self.gone.notify_waiters();
    }

    /// Takes connections until the instance ends.
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut closing = self.closing.subscribe();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = closing.wait_for(|closing| *closing) => return,
            };
            match accepted {
                Ok((stream, remote)) => {
                    if let Err(error) = self.open(stream, remote, 0) {
                        self.host.debug(format!("{remote} was turned away: {error}"));
                    }
                }
                Err(error) => {
                    self.host.warn(format!("no connection could be accepted: {error}"));
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Takes on nothing new, and ends all links within `patience`.
    pub(crate) async fn close(&self, patience: Duration) {
        self.closing.send_replace(true);
        let all: Vec<Arc<Link>> = self.links().values().cloned().collect();
        all.iter().for_each(|link| link.end("the transport is ending", patience));
        let empty = async {
            loop {
                let gone = self.gone.notified();
                if self.count() == 0 {
                    return;
                }
                gone.await;
            }
        };
        let _ = tokio::time::timeout(patience, empty).await;
    }
}

/// Runs a task; when it panics, the instance is reported as failed, and the node starts another.
pub(crate) fn spawn(on: &Handle, host: Host, work: impl Future<Output = ()> + Send + 'static) {
    drop(on.spawn(guarded(host, work)));
}
