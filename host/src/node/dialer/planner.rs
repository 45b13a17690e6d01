//! Which addresses to dial when: a state machine without sockets, clock or tasks.
//!
//! Two things want links. A *server* is an address that the configuration or the user named: it is dialled for as long as
//! it is noted. A *wish* is a peer, by its key: discovery found it, or mail waits for it. The planner is told what
//! happened and looks at the links that are up; [`Planner::step`] returns what to dial now. Times are milliseconds of
//! any clock that only grows.

mod servers;
#[cfg(test)]
mod tests;
mod wishes;

use std::collections::BTreeMap;

use qpq_schemas::PeerId;
use qpq_schemas::link::CloseCode;
use rand::rngs::StdRng;

use super::pause::Pauses;
use crate::core::LinkId;
use crate::link::BELIEVED_AFTER_MS;
use servers::Use;
pub(in crate::node) use servers::{Server, State};
use wishes::Wish;

/// A link that lived at least so long was a good one, in milliseconds: the pauses start anew.
const GOOD_AFTER_MS: u64 = 10_000;

/// After a change of the network everything is dialled within so long, in milliseconds.
const SPREAD_MS: u64 = 200;

/// What bounds the planner.
#[derive(Debug, Clone, Copy)]
pub(in crate::node) struct Limits {
    /// How soon a failed address is dialled again.
    pub(in crate::node) pauses: Pauses,
    /// Dials under way at a time.
    pub(in crate::node) max_dials: usize,
    /// No found node is dialled while so many links are up.
    pub(in crate::node) max_links: usize,
}

/// A link that is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::node) struct Fact {
    /// This node dialled.
    pub(in crate::node) outbound: bool,
    pub(in crate::node) link: LinkId,
    pub(in crate::node) peer: PeerId,
    /// The remote address, as the transport reports it.
    pub(in crate::node) remote: String,
}

/// What the planner looks at in each step.
pub(super) struct View<'a> {
    /// The links that are up.
    pub(super) links: &'a [Fact],
    /// Whether a transport for addresses of that scheme runs.
    pub(super) serves: &'a dyn Fn(&str) -> bool,
    /// The addresses of a peer that the directory knows, the newest first.
    pub(super) addresses: &'a dyn Fn(&PeerId) -> Vec<String>,
    /// Whether the admin blocked that peer.
    pub(super) blocked: &'a dyn Fn(&PeerId) -> bool,
}

/// An address to be dialled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dial {
    /// Comes back in [`Planner::done`].
    pub(super) number: u64,
    /// The address.
    pub(super) uri: String,
    /// Who must answer there; anybody for a server, since only its address is known for certain.
    pub(super) peer: Option<PeerId>,
}

/// How a dial or a link ended.
#[derive(Debug, Clone, Default)]
pub(in crate::node) struct End {
    /// Who was there, as far as that was proven.
    pub(in crate::node) peer: Option<PeerId>,
    /// The code in the CLOSE frame, ours or theirs.
    pub(in crate::node) code: Option<CloseCode>,
    /// For people.
    pub(in crate::node) reason: String,
    /// How long the link was up, in milliseconds.
    pub(in crate::node) lived_ms: u64,
}

/// What an end means for the next dial.
enum Meaning {
    /// It comes back at once.
    Restarts,
    /// Another link is used instead.
    Duplicate,
    /// The other side won't have us, or can't; asking more often changes nothing.
    Unwanted,
    /// The link was fine while it lasted.
    WasGood,
    /// Anything else.
    Failed,
}

impl End {
    fn meaning(&self) -> Meaning {
        match self.code {
            Some(CloseCode::RESTARTING) if self.lived_ms >= BELIEVED_AFTER_MS => Meaning::Restarts,
            Some(CloseCode::DUPLICATE) => Meaning::Duplicate,
            Some(CloseCode::BLOCKED | CloseCode::SELF | CloseCode::VERSION | CloseCode::WRONG_PEER) => {
                Meaning::Unwanted
            }
            _ if self.lived_ms >= GOOD_AFTER_MS => Meaning::WasGood,
            _ => Meaning::Failed,
        }
    }
}

/// Why something is dialled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    Server(String),
    Wish(PeerId),
}

/// The servers, the wishes, and what is being dialled for them.
pub(in crate::node) struct Planner {
    me: PeerId,
    limits: Limits,
    rng: StdRng,
    servers: BTreeMap<String, Server>,
    wishes: BTreeMap<PeerId, Wish>,
    under_way: BTreeMap<u64, Why>,
    last: u64,
}

impl Planner {
    pub(super) fn new(me: PeerId, limits: Limits, rng: StdRng) -> Self {
        let (servers, wishes, under_way) = Default::default();
        Self { me, limits, rng, servers, wishes, under_way, last: 0 }
    }

    /// What to dial now.
    pub(super) fn step(&mut self, now_ms: u64, view: &View<'_>) -> Vec<Dial> {
        self.look_at_servers(now_ms, view);
        self.look_at_wishes(now_ms, view);
        let servers = self.servers.iter().filter(|(_, server)| server.is_waiting());
        let servers = servers.map(|(uri, server)| (server.due_ms(), Why::Server(uri.clone())));
        let wishes = self.wishes.iter().filter_map(|(peer, wish)| Some((wish.next_dial_ms()?, Why::Wish(*peer))));
        let mut due: Vec<(u64, Why)> = servers.chain(wishes).filter(|(at, _)| *at <= now_ms).collect();
        due.sort_unstable(); // who waits for longest comes first, so that nobody starves
        let room = self.limits.max_dials.saturating_sub(self.under_way.len());
        due.into_iter().take(room).filter_map(|(_, why)| self.start(why, now_ms)).collect()
    }

    fn start(&mut self, why: Why, now_ms: u64) -> Option<Dial> {
        let (uri, peer) = match &why {
            Why::Server(uri) => {
                self.servers.get_mut(uri)?.start();
                (uri.clone(), None)
            }
            Why::Wish(peer) => (self.wishes.get_mut(peer)?.start(now_ms)?, Some(*peer)),
        };
        self.last += 1;
        self.under_way.insert(self.last, why);
        Some(Dial { number: self.last, uri, peer })
    }

    /// When the next step is due, if nothing happens before.
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        let servers = self.servers.values().filter(|server| server.is_waiting()).map(Server::due_ms);
        let dials = servers.chain(self.wishes.values().filter_map(Wish::next_dial_ms)).min();
        let dials = dials.filter(|_| self.under_way.len() < self.limits.max_dials);
        dials.into_iter().chain(self.wishes.values().filter_map(Wish::next_look_ms)).min()
    }

    /// A dial has led to a link of a proven peer, or not.
    pub(super) fn done(&mut self, number: u64, outcome: Result<(LinkId, PeerId), End>, now_ms: u64) {
        match self.under_way.remove(&number) {
            Some(Why::Server(uri)) => {
                if let Some(server) = self.servers.get_mut(&uri) {
                    server.done(outcome, self.limits.pauses, now_ms, &mut self.rng);
                }
            }
            Some(Why::Wish(peer)) => {
                if let Some(wish) = self.wishes.get_mut(&peer) {
                    wish.done(outcome, self.limits.pauses, now_ms, &mut self.rng);
                }
            }
            None => {}
        }
    }

    /// A link takes the place of another to the same peer: whatever had made that one has this one now.
    pub(super) fn moved(&mut self, before: LinkId, after: LinkId) {
        for server in self.servers.values_mut() {
            server.moved(before, after);
        }
    }

    /// A link is gone.
    pub(super) fn ended(&mut self, link: LinkId, end: &End, now_ms: u64) {
        let (pauses, rng) = (self.limits.pauses, &mut self.rng);
        for server in self.servers.values_mut().filter(|server| server.link() == Some(link)) {
            server.ended(end, pauses, now_ms, rng);
        }
        if let Some(wish) = end.peer.and_then(|peer| self.wishes.get_mut(&peer)) {
            wish.ended(end, pauses, now_ms, rng);
        }
    }

    /// This node's network has changed: what failed before may work now.
    pub(super) fn network_changed(&mut self, now_ms: u64) {
        self.servers.values_mut().for_each(|server| server.hurry(SPREAD_MS, now_ms));
        self.wishes.values_mut().for_each(|wish| wish.hurry(SPREAD_MS, now_ms));
    }

    fn used_links(&self) -> Use {
        Use::of(&self.servers)
    }
}
