//! What the core asks of a routing plugin.
//!
//! A router is a state machine without I/O: it hears what happens, answers where an envelope should go, and
//! hands out control frames for its fellow routers. Time comes with every call, so the same library runs in a
//! node and in a simulator. Broadcasts are not its concern: the core spreads them itself.

use bytes::Bytes;
use qpq_schemas::PeerId;
use qpq_schemas::envelope::Kind;

use super::LinkId;

/// Where an envelope wants to go.
#[derive(Debug, Clone, Copy)]
pub struct RouteQuery {
    /// The recipient's key.
    pub destination: [u8; 32],
    /// The envelope's kind.
    pub kind: Kind,
    /// The link it came in by; it is never part of the answer.
    pub from: Option<LinkId>,
}

/// How sure the router is of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteKind {
    /// The links lead to the recipient: custody may pass to the next hop.
    Known,
    /// Nobody knows the way: offer copies to all these links and keep one's own.
    Flood,
    /// No link at all: keep it and wait.
    Nowhere,
}

/// What a router wants done after a call.
#[derive(Debug, Default)]
pub struct RouterOutput {
    /// Control frames for the fellow router behind a link.
    pub control: Vec<(LinkId, Bytes)>,
    /// Which answers of [`Router::route`] may have changed.
    pub changed: Changed,
}

/// Destinations to which the way may be another than before.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum Changed {
    /// None.
    #[default]
    Nothing,
    /// These alone.
    These(Vec<[u8; 32]>),
    /// Any.
    All,
}

impl Changed {
    /// Past so many, single destinations are not told apart any more.
    const MAX_THESE: usize = 1_024;

    /// Notes one destination.
    pub fn add(&mut self, destination: [u8; 32]) {
        match self {
            Self::Nothing => *self = Self::These(vec![destination]),
            Self::These(all) if all.len() < Self::MAX_THESE => all.push(destination),
            Self::These(_) => *self = Self::All,
            Self::All => {}
        }
    }

    /// Notes what another call changed.
    pub fn merge(&mut self, other: Self) {
        match other {
            Self::Nothing => {}
            Self::These(all) => all.into_iter().for_each(|destination| self.add(destination)),
            Self::All => *self = Self::All,
        }
    }
}

/// A routing plugin, as the core sees it.
pub trait Router: Send {
    /// The plugin's name, for people.
    fn name(&self) -> &str;
    /// A link to a neighbour came up.
    fn link_up(&mut self, now_ms: u64, link: LinkId, peer: PeerId, out: &mut RouterOutput);
    /// The link's quality was measured anew. `loss` is in parts per million.
    fn link_measured(&mut self, now_ms: u64, link: LinkId, rtt_us: u64, loss_ppm: u32, out: &mut RouterOutput);
    /// A link went down.
    fn link_down(&mut self, now_ms: u64, link: LinkId, out: &mut RouterOutput);
    /// A control frame of the neighbour's router.
    fn control(&mut self, now_ms: u64, link: LinkId, frame: &[u8], out: &mut RouterOutput);
    /// Something that `origin` signed came in by this link, having crossed `hops` links (0: not known).
    fn seen(&mut self, now_ms: u64, origin: PeerId, link: LinkId, hops: u8, out: &mut RouterOutput);
    /// Whether [`Self::seen`] teaches it anything.
    fn learns(&self) -> bool {
        true
    }
    /// Time has passed. Returns when the router wants to be called again. It is also called right after each of the
    /// calls above but `seen`, so that these can ask for an earlier time.
    fn tick(&mut self, now_ms: u64, out: &mut RouterOutput) -> Option<u64>;
    /// The links that an envelope should go out by, appended to `links`.
    fn route(&mut self, now_ms: u64, query: &RouteQuery, links: &mut Vec<LinkId>) -> RouteKind;
    /// The table as JSON, in the form of [`crate::api::RouteInfo`] rows.
    fn dump(&self, now_ms: u64) -> String;
}
