//! Addresses that are dialled for as long as they are noted.

use std::collections::{BTreeMap, BTreeSet};

use qpq_schemas::PeerId;
use rand::rngs::StdRng;

use super::super::address::{host, scheme};
use super::super::pause::{Pauses, Retry};
use super::{End, Fact, Meaning, Planner, View};
use crate::core::LinkId;

/// Servers kept at most.
pub(super) const MAX_SERVERS: usize = 1_024;

/// How a server stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(in crate::node) enum State {
    /// It is linked.
    Up,
    /// It is being dialled.
    Connecting,
    /// It will be dialled.
    #[default]
    Waiting,
    /// No transport for such addresses runs.
    NoTransport,
    /// The admin blocked the peer behind it.
    Blocked,
}

impl State {
    /// The word for it.
    pub(in crate::node) fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Connecting => "connecting",
            Self::Waiting => "waiting",
            Self::NoTransport => "no-transport",
            Self::Blocked => "blocked",
        }
    }
}

/// A noted address.
#[derive(Debug, Clone, Default)]
pub(in crate::node) struct Server {
    /// How it stands.
    pub(in crate::node) state: State,
    /// The key behind the address, once it was linked.
    pub(in crate::node) peer: Option<PeerId>,
    /// Why the last dial failed.
    pub(in crate::node) last_error: Option<String>,
    /// The link that a dial of this address has made.
    link: Option<LinkId>,
    /// The host that this link led to.
    host: Option<String>,
    /// Another link to the peer is used instead: this address is dialled only when there is none.
    yields: bool,
    dialling: bool,
    retry: Retry,
}

impl Server {
    pub(super) fn is_waiting(&self) -> bool {
        self.state == State::Waiting
    }

    pub(super) fn due_ms(&self) -> u64 {
        self.retry.due_ms
    }

    /// How the server at that address stands now, when `serves` says whether a transport for it runs: the planner may not have
    /// looked since one was started.
    pub(in crate::node) fn seen_now(mut self, uri: &str, serves: bool) -> Self {
        match (self.state, serves) {
            (State::NoTransport, false) => self.last_error = Some(no_transport(scheme(uri))),
            (State::NoTransport, true) => self.state = State::Waiting,
            _ => {}
        }
        self
    }

    pub(in crate::node) fn link(&self) -> Option<LinkId> {
        self.link
    }

    pub(super) fn start(&mut self) {
        (self.dialling, self.state) = (true, State::Connecting);
    }

    pub(super) fn done(
        &mut self,
        outcome: Result<(LinkId, PeerId), End>,
        pauses: Pauses,
        now_ms: u64,
        rng: &mut StdRng,
    ) {
        self.dialling = false;
        match outcome {
            Ok((link, peer)) => {
                (self.link, self.peer, self.last_error) = (Some(link), Some(peer), None);
                (self.state, self.yields, self.host) = (State::Up, false, None);
            }
            Err(end) => self.ended(&end, pauses, now_ms, rng),
        }
    }

    /// The dial failed, or its link is gone.
    pub(super) fn ended(&mut self, end: &End, pauses: Pauses, now_ms: u64, rng: &mut StdRng) {
        (self.link, self.state) = (None, State::Waiting);
        self.peer = end.peer.or(self.peer);
        self.last_error = Some(end.reason.clone()).filter(|reason| !reason.is_empty());
        match end.meaning() {
            Meaning::Restarts => self.retry.restarts(now_ms),
            Meaning::Duplicate => {
                (self.yields, self.last_error) = (true, None);
                self.retry.ended(pauses, now_ms, rng);
            }
            Meaning::Unwanted => self.retry.unwanted(pauses, now_ms, rng),
            Meaning::WasGood => self.retry.ended(pauses, now_ms, rng),
            Meaning::Failed => self.retry.failed(pauses, now_ms, rng),
        }
    }

    /// Another link goes on in the place of the one that a dial of this address had made.
    pub(super) fn moved(&mut self, before: LinkId, after: LinkId) {
        if self.link == Some(before) {
            self.link = Some(after);
        }
    }

    pub(super) fn hurry(&mut self, within_ms: u64, now_ms: u64) {
        self.retry.after(within_ms, now_ms);
    }

    /// Whether a link that this address did not make serves as well.
    fn is_covered(&self, uri: &str, links: &[Fact], used: &Use) -> bool {
        let Some(peer) = self.peer else { return false };
        let kind = scheme(uri);
        let alone = self.yields || used.servers.get(&(peer, kind.to_owned())) == Some(&1);
        let same_path = |link: &Fact| {
            let there = host(&link.remote);
            !used.links.contains(&link.link) && (there == host(uri) || self.host.as_deref() == Some(there))
        };
        links.iter().any(|link| link.peer == peer && scheme(&link.remote) == kind && (alone || same_path(link)))
    }
}

/// What the servers use together.
#[derive(Default)]
pub(super) struct Use {
    /// Links that belong to a server.
    links: BTreeSet<LinkId>,
    /// How many servers a peer has for a kind of address.
    servers: BTreeMap<(PeerId, String), usize>,
}

impl Use {
    pub(super) fn of(servers: &BTreeMap<String, Server>) -> Self {
        let mut used = Self::default();
        for (uri, server) in servers {
            used.links.extend(server.link);
            if let Some(peer) = server.peer {
                *used.servers.entry((peer, scheme(uri).to_owned())).or_default() += 1;
            }
        }
        used
    }
}

impl Planner {
    /// All servers and how they stand.
    pub(in crate::node) fn servers(&self) -> &BTreeMap<String, Server> {
        &self.servers
    }

    /// Keeps a link to that address from now on; whether it is new, or nothing when there are too many.
    pub(in crate::node) fn keep(&mut self, uri: &str, now_ms: u64) -> Option<bool> {
        if let Some(server) = self.servers.get_mut(uri) {
            server.hurry(0, now_ms); // the user says that it is there
            return Some(false);
        }
        if self.servers.len() >= MAX_SERVERS {
            return None;
        }
        self.servers.insert(uri.to_owned(), Server::default());
        Some(true)
    }

    /// Keeps a link to that address no more; the server that it was, if it was one.
    pub(in crate::node) fn forget(&mut self, uri: &str) -> Option<Server> {
        self.servers.remove(uri)
    }

    pub(super) fn look_at_servers(&mut self, now_ms: u64, view: &View<'_>) {
        let used = self.used_links();
        for (uri, server) in &mut self.servers {
            let own = view.links.iter().find(|fact| Some(fact.link) == server.link);
            if let Some(own) = own {
                server.host = Some(host(&own.remote).to_owned());
            } else if server.link.take().is_some() {
                server.retry.due_ms = now_ms; // its end was not reported
            }
            let linked = server.peer.is_some_and(|peer| view.links.iter().any(|fact| fact.peer == peer));
            server.yields &= linked;
            server.state = match server.peer {
                _ if own.is_some() => State::Up,
                _ if server.dialling => State::Connecting,
                _ if server.is_covered(uri, view.links, &used) => State::Up,
                Some(peer) if (view.blocked)(&peer) => State::Blocked,
                _ if !(view.serves)(scheme(uri)) => State::NoTransport,
                _ => State::Waiting,
            };
        }
    }
}

/// Why an address can't be dialled at all, and what helps.
fn no_transport(scheme: &str) -> String {
    format!(
        "no running transport serves {scheme}:// addresses; load one that does (`plugins.load`), or mend it: `qpq plugin list`"
    )
}
