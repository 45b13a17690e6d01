//! The node core: the rules of the mesh, without I/O.
//!
//! [`Core::handle`] takes one [`Event`] and the time, and returns [`Effect`]s. It opens no socket, reads no
//! clock and touches no disk, so a simulator can run thousands of cores under a virtual clock, and a test can
//! play any order of events. The shell in [`crate::node`] performs the effects.
//!
//! An envelope's way through the core:
//!
//! ```text
//! Event::Frame(Envelopes)                            intake: shape, time, hops, block list, dedup
//!   └► Effect::Verify ─► Event::Verified             intake: quotas, place in the shelf
//!        └► Effect::Persist ─► Event::Persisted      custody answer, inbox, receipts
//!             └► Effect::Offer ─► CUSTODY answers    custody: the copy is dropped once the next hop has it
//! ```
//!
//! What must hold at every moment, whatever the order of events:
//! - `Stored` is answered only for what is durable here, or is known to be with its recipient.
//! - A copy of a direct envelope is given up only for such an answer, for its recipient's signed receipt, when its recipient has
//!   collected it, or at its expiry; and for lack of room only where a neighbour holds a copy that may be relied upon.

mod accept;
mod calm;
mod custody;
pub mod emergency;
mod event;
pub mod federation;
mod intake;
mod links;
mod mailbox;
mod neighbours;
pub mod quota;
mod records;
mod refusals;
mod router;
mod set_back;
pub mod shelf;
mod spread;
#[cfg(test)]
mod tests;
mod toll;
pub mod why;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use qpq_schemas::envelope::Kind;
use qpq_schemas::link::Frame;
use qpq_schemas::record::{NodeRecord, RecordError};
use qpq_schemas::{MessageId, PeerId, TopicId};

pub use event::{Effect, Event, Notice, Offered};
pub use mailbox::{MailPlace, MailQuery};
pub use neighbours::LinkUse;
pub use records::RecordBook;
pub use refusals::Refused;
pub use router::{Changed, RouteKind, RouteQuery, Router, RouterOutput};

use crate::api::StoreStats;
use crate::store::{Batch, Head, Places};
use accept::Unwritten;
use calm::Calm;
use custody::{Recent, Reroute};
use emergency::{Emergency, EmergencyPolicy};
use federation::{Federation, FederationPolicy};
pub use intake::KNOWN;
use intake::{Candidate, Pending, REACCEPT_AFTER_MS};
use links::LinkState;
use neighbours::{Neighbour, Quality};
pub use quota::Limit;
use refusals::Refusals;
use shelf::{Shelf, StoreLimits};
use spread::Spread;
use toll::Tolls;

/// The host's number for a link, unique for the life of the process.
pub type LinkId = u64;

/// Pairs an effect with the event that reports its end.
pub type Ticket = u64;

/// How often housekeeping runs at least, in milliseconds.
const TICK_MS: u64 = 1_000;

/// A router that names a later time is called after this one, in milliseconds.
const MAX_ROUTER_PAUSE_MS: u64 = 60_000;

/// That ways have changed is said once in so many milliseconds.
const ROUTES_TOLD_MS: u64 = 1_000;

/// Messages and ids that one tick takes off at most, so that no tick takes long.
const EXPIRE_STEP: usize = 4_096;

/// What the core is told at its start.
#[derive(Debug, Clone)]
pub struct CoreConfig {
    /// This node's key.
    pub me: PeerId,
    /// Largest payload accepted, in bytes.
    pub max_payload: usize,
    /// Quotas of the shelf.
    pub limits: StoreLimits,
    /// Envelopes on their way to one neighbour without its answer, at most.
    pub window: usize,
    /// What one neighbour may bring in.
    pub link: Limit,
    /// What crosses between domains; nothing when there is no policy.
    pub federation: Option<FederationPolicy>,
    /// Whose notices go before everything else; nobody's when there is no policy.
    pub emergency: Option<EmergencyPolicy>,
    /// Reads a node record and checks its signature. A simulator of thousands of nodes in one process, that all get the same
    /// records, puts one with a memory in its place; it must come to the same verdicts.
    pub check_record: fn(&[u8]) -> Result<NodeRecord, RecordError>,
}

impl CoreConfig {
    /// The usual settings for a node of that key.
    pub fn new(me: PeerId) -> Self {
        let max_payload = qpq_schemas::envelope::DEFAULT_MAX_PAYLOAD;
        let (limits, window, link) = (StoreLimits::default(), custody::DEFAULT_WINDOW, Limit::LINK);
        Self {
            me,
            max_payload,
            limits,
            window,
            link,
            federation: None,
            emergency: None,
            check_record: NodeRecord::verify,
        }
    }
}

/// A node's rules and its memory of the mesh.
pub struct Core {
    config: CoreConfig,
    links: BTreeMap<LinkId, LinkState>,
    neighbours: BTreeMap<PeerId, Neighbour>,
    shelf: Shelf,
    router: Box<dyn Router>,
    records: RecordBook,
    federation: Federation,
    emergency: Emergency,
    tolls: Tolls,
    refusals: Refusals,
    subscribed: BTreeSet<TopicId>,
    blocked: BTreeSet<PeerId>,
    /// Keys whose mail waits here for them.
    mailboxes: BTreeSet<PeerId>,
    /// Envelopes between their first check and the disk, with who waits for the outcome.
    pending: HashMap<MessageId, Pending>,
    /// Envelopes whose signatures are to be checked at the end of this step.
    unchecked: Vec<Candidate>,
    verifying: HashMap<Ticket, Vec<Candidate>>,
    /// Envelopes of this step that wait for receipts to be made, or for others before them that do.
    unreceipted: Vec<Candidate>,
    receipting: HashMap<Ticket, Vec<Candidate>>,
    unwritten: Unwritten,
    persisting: HashMap<Ticket, Vec<Candidate>>,
    /// Removals on their way to the disk.
    removing: HashMap<Ticket, Batch>,
    /// Removals that it didn't take, and when they are tried again.
    put_off: Batch,
    put_off_until_ms: u64,
    /// Bytes of envelopes in `verifying` and `persisting`.
    pending_bytes: usize,
    /// On how many links an envelope is under way.
    flying: HashMap<MessageId, u16>,
    recent: Recent,
    reroute: Reroute,
    spread: Spread,
    /// Links whose queues this step filled.
    unpumped: BTreeSet<LinkId>,
    next_ticket: Ticket,
    next_seq: u64,
    router_deadline_ms: Option<u64>,
    /// When to look for links whose places others have taken.
    next_retirement_ms: Option<u64>,
    twin_until_ms: u64,
    /// Ways have changed since it was said last, and when it may be said again.
    routes_changed: bool,
    routes_told_ms: u64,
    /// The second of the last eviction, and how many of other nodes' messages were told in it.
    evictions_told: (u64, u32),
    next_tick_ms: u64,
    next_sweep_ms: u64,
    /// Whether the clock may be believed.
    calm: Calm,
    counters: BTreeMap<&'static str, u64>,
    effects: Vec<Effect>,
}

impl Core {
    /// A core over what the store recovered.
    pub fn new(mut config: CoreConfig, shelf: Shelf, next_seq: u64, router: Box<dyn Router>) -> Self {
        let me = config.me;
        Self {
            federation: Federation::new(config.federation.take()),
            emergency: Emergency::new(config.emergency.take()),
            tolls: Tolls::new(config.link),
            refusals: Refusals::default(),
            config,
            links: BTreeMap::new(),
            neighbours: BTreeMap::new(),
            shelf,
            router,
            records: RecordBook::keeping(me),
            subscribed: BTreeSet::new(),
            blocked: BTreeSet::new(),
            mailboxes: BTreeSet::new(),
            pending: HashMap::new(),
            unchecked: Vec::new(),
            verifying: HashMap::new(),
            unreceipted: Vec::new(),
            receipting: HashMap::new(),
            unwritten: Unwritten::default(),
            persisting: HashMap::new(),
            removing: HashMap::new(),
            put_off: Batch::default(),
            put_off_until_ms: 0,
            pending_bytes: 0,
            flying: HashMap::new(),
            recent: Recent::default(),
            reroute: Reroute::default(),
            spread: Spread::default(),
            unpumped: BTreeSet::new(),
            next_ticket: 0,
            next_seq,
            router_deadline_ms: Some(0),
            next_retirement_ms: None,
            twin_until_ms: 0,
            routes_changed: false,
            evictions_told: (0, 0),
            routes_told_ms: 0,
            next_tick_ms: 0,
            next_sweep_ms: 0,
            calm: Calm::default(),
            counters: BTreeMap::new(),
            effects: Vec::new(),
        }
    }

    /// Takes one event and returns what is to be done about it, in order.
    pub fn handle(&mut self, event: Event, now_ms: u64) -> Vec<Effect> {
        self.handle_all([event], now_ms)
    }

    /// Takes events that came in together, in their order. What they lead to leaves together as well: one batch for the
    /// signature checks, one frame of answers and one of envelopes for a neighbour.
    pub fn handle_all(&mut self, events: impl IntoIterator<Item = Event>, now_ms: u64) -> Vec<Effect> {
        if self.calm.advance(now_ms) {
            self.clock_set_back(now_ms);
        }
        self.shelf.believe(self.calm.sure_ms());
        for event in events {
            self.take_in(event, now_ms);
        }
        self.finish_step(now_ms);
        std::mem::take(&mut self.effects)
    }

    fn take_in(&mut self, event: Event, now_ms: u64) {
        match event {
            Event::LinkUp { link, peer, domain } => self.link_up(link, peer, domain, now_ms),
            Event::LinkDown { link } => self.link_down(link, now_ms),
            Event::Succeeds { before, after, close } => self.succeeds(before, after, close, now_ms),
            Event::LinkMeasured { link, rtt_us, loss_ppm } => {
                self.measured(link, Quality { rtt_us, loss_ppm }, now_ms);
            }
            Event::Frame { link, frame } => self.frame(link, frame, now_ms),
            Event::Verified { ticket, verdicts } => self.verified(ticket, verdicts, now_ms),
            Event::ReceiptsMade { ticket, receipts } => self.receipts_made(ticket, receipts, now_ms),
            Event::ReceiptLeft { envelope } => self.receipt_left(&envelope, now_ms),
            Event::Persisted { ticket, result } => self.persisted(ticket, &result, now_ms),
            Event::Submit { token, envelope, trusted } => self.submit(token, envelope, trusted, now_ms),
            Event::Import { token, envelope } => self.import(token, &envelope, now_ms),
            Event::Subscribe(topic) => self.subscribe(topic),
            Event::Unsubscribe(topic) => self.unsubscribe(topic),
            Event::InboxRead { seq } => self.shelf.inbox_read(seq.min(self.next_seq.saturating_sub(1))),
            Event::Home { peer, domain } => self.note_home(peer, domain),
            Event::OwnRecord(wire) => self.own_record(&wire, now_ms),
            Event::Block(peer) => self.block(peer),
            Event::Unblock(peer) => _ = self.blocked.remove(&peer),
            Event::Trust { peer, trusted } => self.trust(peer, trusted),
            Event::Limit { peer, limit } => self.tolls.set_limit(peer, limit),
            Event::Damaged { id } => self.damaged(&id),
            Event::Mailbox { peer, kept } => self.set_mailbox(peer, kept),
            Event::Collected { peer, ids } => self.collected(peer, &ids, now_ms),
            Event::Tick => self.tick(now_ms),
        }
    }

    /// What is done once for all that came in together.
    fn finish_step(&mut self, now_ms: u64) {
        self.reroute_step(now_ms);
        self.flush_missed();
        self.pump_all(now_ms);
        self.ask_fresh_homes(now_ms);
        self.tell_askers(now_ms);
        self.flush_answers();
        self.flush_checks();
        self.flush_writes();
        self.flush_receipts();
        self.tell_routes(now_ms);
    }

    /// Says now and then that ways have changed; with the next tick at the latest.
    fn tell_routes(&mut self, now_ms: u64) {
        let since_ms = now_ms.abs_diff(self.routes_told_ms);
        if self.routes_changed && since_ms >= ROUTES_TOLD_MS {
            (self.routes_changed, self.routes_told_ms) = (false, now_ms);
            self.effects.push(Effect::Notice(Notice::RoutesChanged));
        }
    }

    /// For a shell that owns the clock and skips idle time: the clock went on calmly up to that moment, though nobody looked at
    /// it. Without this a step of more than five minutes counts as a leap, after which nothing expires for a while.
    pub fn time_went_on(&mut self, now_ms: u64) {
        self.calm.go_on(now_ms);
    }

    /// When [`Event::Tick`] is due.
    pub fn deadline_ms(&self) -> u64 {
        if self.reroute.is_due() {
            return 0;
        }
        let others = [self.router_deadline_ms, self.next_retirement_ms, self.spread.next_ms()];
        others.into_iter().flatten().fold(self.next_tick_ms, u64::min)
    }

    /// The shelf, to look up what is held here.
    pub fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// What stands on the shelf, and the bounds.
    pub fn store_stats(&self) -> StoreStats {
        let mut stats = self.shelf.stats();
        let limit = self.config.link;
        stats.quotas.link_messages_per_minute = limit.messages_per_minute;
        stats.quotas.link_bytes_per_minute = limit.bytes_per_minute;
        for (name, count) in &self.counters {
            *stats.counters.entry((*name).to_owned()).or_default() += count;
        }
        stats
    }

    /// The node records known.
    pub fn records(&self) -> &RecordBook {
        &self.records
    }

    /// What the core counted since its start, by name.
    pub fn counters(&self) -> &BTreeMap<&'static str, u64> {
        &self.counters
    }

    /// The router's table as JSON rows, and the router's name.
    pub fn routes(&self, now_ms: u64) -> (String, String) {
        (self.router.name().to_owned(), self.router.dump(now_ms))
    }

    /// Whether the router learns ways from what comes in, so that nodes should be heard of now and then.
    pub fn router_learns(&self) -> bool {
        self.router.learns()
    }

    /// Puts another router in place of the present one and tells it the links that are up.
    pub fn replace_router(&mut self, router: Box<dyn Router>, now_ms: u64) -> Vec<Effect> {
        self.router = router;
        self.router_deadline_ms = Some(now_ms);
        let inside = self.links.iter().filter(|(_, state)| state.domain.is_none());
        for (link, peer, quality) in inside.map(|(link, state)| (*link, state.peer, state.quality)).collect::<Vec<_>>()
        {
            self.with_router(|router, out| router.link_up(now_ms, link, peer, out));
            if let Some(Quality { rtt_us, loss_ppm }) = quality {
                self.with_router(|router, out| router.link_measured(now_ms, link, rtt_us, loss_ppm, out));
            }
        }
        self.reroute_all();
        self.finish_step(now_ms);
        std::mem::take(&mut self.effects)
    }

    fn tick(&mut self, now_ms: u64) {
        // A clock that was set back must not put everything off until it has caught up.
        self.next_tick_ms = self.next_tick_ms.min(now_ms + TICK_MS);
        self.next_sweep_ms = self.next_sweep_ms.min(now_ms + REACCEPT_AFTER_MS);
        self.router_deadline_ms = self.router_deadline_ms.map(|at| at.min(now_ms + MAX_ROUTER_PAUSE_MS));
        self.next_retirement_ms = self.next_retirement_ms.map(|at| at.min(now_ms + TICK_MS));
        self.tick_router(now_ms);
        if self.next_retirement_ms.is_some_and(|at| at <= now_ms) {
            self.retire_links(now_ms);
        }
        self.spread_tick(now_ms);
        if self.next_tick_ms <= now_ms {
            self.next_tick_ms = now_ms + TICK_MS;
            self.expire(now_ms);
            self.expire_records(now_ms);
            self.retry_offers(now_ms);
            self.retry_removals(now_ms);
            self.spread_not_after(now_ms);
            self.look_after_talks(now_ms);
            self.ask_homes(now_ms);
        }
    }

    /// Calls the router if it is time. It says when the next time is.
    fn tick_router(&mut self, now_ms: u64) {
        if self.router_deadline_ms.is_some_and(|at| at <= now_ms) {
            self.router_deadline_ms = None;
            let mut next = None;
            self.with_router(|router, out| next = router.tick(now_ms, out));
            self.router_deadline_ms = next.map(|at| at.max(now_ms + 1));
        }
    }

    /// Tells the router what happened to a link, or what its neighbour said, and lets it say anew when it wants to be called.
    fn tell_router(&mut self, now_ms: u64, call: impl FnOnce(&mut dyn Router, &mut RouterOutput)) {
        self.with_router(call);
        self.router_deadline_ms = Some(now_ms);
        self.tick_router(now_ms);
    }

    /// Calls the router and does what it wants done.
    fn with_router(&mut self, call: impl FnOnce(&mut dyn Router, &mut RouterOutput)) {
        let mut out = RouterOutput::default();
        call(self.router.as_mut(), &mut out);
        for (link, bytes) in out.control {
            if self.links.contains_key(&link) {
                self.effects.push(Effect::Send { link, frame: Frame::Route(bytes) });
            }
        }
        self.routes_changed |= !matches!(out.changed, Changed::Nothing);
        match out.changed {
            Changed::Nothing => {}
            Changed::These(recipients) => {
                let recipients = recipients.into_iter().map(PeerId);
                self.reroute.note(recipients.filter(|recipient| self.shelf.has_waiting(recipient)));
            }
            Changed::All => self.reroute_all(),
        }
    }

    fn frame(&mut self, link: LinkId, frame: Frame, now_ms: u64) {
        if !self.links.contains_key(&link) {
            return; // the link was closed while its last frames were on their way
        }
        match frame {
            Frame::Envelopes(wires) => self.envelopes(link, wires, now_ms),
            Frame::Custody(answers) => self.answers(link, answers, now_ms),
            Frame::Route(_) if self.leads_out(link) => self.count("route-between-domains"),
            Frame::Route(bytes) => self.tell_router(now_ms, |router, out| router.control(now_ms, link, &bytes, out)),
            Frame::Sync(sync) => self.sync(link, sync, now_ms),
            Frame::Tree(tree) => self.tree(link, tree, now_ms),
            Frame::Reconcile(step) => self.reconcile(link, step, now_ms),
            Frame::Resolve(resolve) => self.resolve(link, resolve, now_ms),
            Frame::Subscriptions(change, topics) if self.leads_out(link) => {
                self.domain_wants(link, change, &topics, now_ms);
            }
            Frame::Subscriptions(change, topics) => self.neighbour_wants(link, change, &topics),
            Frame::Records(records) => self.peer_records(link, records, now_ms),
            // The link layer keeps its own frames to itself.
            _ => {}
        }
    }

    /// Takes off the shelf what has died, a bounded number at a time.
    fn expire(&mut self, now_ms: u64) {
        let gone = self.shelf.expire(now_ms, EXPIRE_STEP);
        let mut batch = Batch::default();
        gone.iter().for_each(|gone| gone.put_into(&mut batch));
        let me = self.config.me;
        let own = |head: &&Head| head.kind == Kind::Direct && head.sender == me && head.places.has(Places::WAITING);
        let failed = gone.iter().map(|gone| &gone.head).filter(own);
        let failed = failed.map(|head| Notice::Failed { id: head.id, to: PeerId(head.destination) });
        self.effects.extend(failed.map(Effect::Notice));
        if self.shelf.forget_seen(now_ms, EXPIRE_STEP) > 0 {
            batch.forget_before_ms = now_ms.min(self.calm.sure_ms());
        }
        self.persist(batch);
    }

    /// A record that can't be read any more is as good as never received: its id may come again.
    fn damaged(&mut self, id: &MessageId) {
        if let Some(gone) = self.shelf.discard(id) {
            self.count("damaged");
            let mut batch = Batch::default();
            gone.unfile(&mut batch);
            self.persist(batch);
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        self.next_ticket
    }

    fn count(&mut self, name: &'static str) {
        *self.counters.entry(name).or_default() += 1;
    }
}
