//! What crosses between domains, and where a recipient lives.
//!
//! A link that a federation plugin made leads to another domain, whose name its certificate has proven. Such a neighbour is no
//! part of this mesh: no routing is spoken with it, and of records, broadcasts and history it gets only what the policy lets
//! through. What does cross keeps all promises of a link: custody, dedup, hop limit. `host/docs/federation.md` tells the whole.

mod asked;
mod gateways;
mod homes;
mod policy;
mod quota;
mod report;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use qpq_schemas::envelope::{EnvelopeRef, Kind};
use qpq_schemas::link::{Answer, Frame, Home, MAX_RESOLVED, MAX_TOPICS, Resolve, SubscriptionChange, Verdict};
use qpq_schemas::record::NodeRecord;
use qpq_schemas::{MessageId, PeerId, TopicId};

use super::{Core, Effect, LinkId};
use asked::Asked;
pub use gateways::{GATEWAY_PREFIX, gateway_of};
use homes::Homes;
pub use policy::{Domain, FederationPolicy};
pub use quota::Limit;
use quota::Quota;
pub use report::DomainReport;

/// Domains whose use is counted at a time.
const MAX_QUOTAS: usize = 1_024;

/// Members of this mesh that are remembered as such. A full memory is emptied: their next record brings them back.
const MAX_INSIDE: usize = 16_384;

/// Where a recipient lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// In this domain: at this node, or somewhere in its mesh.
    Here,
    /// In another domain.
    Domain(Domain),
    /// Nobody has said so far.
    Unknown,
}

/// What the core remembers of other domains.
#[derive(Default)]
pub(super) struct Federation {
    policy: Option<FederationPolicy>,
    homes: Homes,
    asked: Asked,
    quotas: BTreeMap<Domain, Quota>,
    /// The domain of each gateway that was linked to.
    gateways: HashMap<PeerId, Domain>,
    /// The bridged topics that each linked gateway wants.
    wanted: HashMap<PeerId, BTreeSet<TopicId>>,
    /// Whose record came over an ordinary link since the start: they are in this mesh, whatever their domain.
    inside: HashSet<PeerId>,
}

impl Federation {
    pub(super) fn new(policy: Option<FederationPolicy>) -> Self {
        Self { policy, ..Self::default() }
    }
}

/// Links to other domains.
impl Core {
    /// Why no link to that gateway of that domain may stay, if so.
    pub(super) fn refuse_domain(&self, peer: &PeerId, domain: &Domain) -> Option<String> {
        match &self.federation.policy {
            None => Some("this node does not relay between domains".to_owned()),
            Some(policy) => policy.refuses(domain).or_else(|| self.no_room_for(peer, domain)),
        }
    }

    /// The domain behind a neighbour; none when any link to it is one of this mesh.
    pub(super) fn domain_of(&self, peer: &PeerId) -> Option<&Domain> {
        self.federation.policy.as_ref()?;
        let mut links = self.neighbours.get(peer)?.links().filter_map(|link| self.links.get(link));
        let first = links.next()?.domain.as_ref()?;
        links.all(|link| link.domain.is_some()).then_some(first)
    }

    /// The domain behind a link's neighbour.
    pub(super) fn domain_behind(&self, link: LinkId) -> Option<&Domain> {
        self.domain_of(&self.links.get(&link)?.peer)
    }

    /// A gateway of another domain: tells it what it may know, and remembers it.
    pub(super) fn greet_domain(&mut self, link: LinkId, peer: PeerId, now_ms: u64) {
        self.remember_gateway(link, peer);
        self.tell_bridged(link);
        self.send_own_record(link);
        self.announce_history(link, now_ms);
        self.federation.homes.ask_again(now_ms);
    }

    /// The last link to a gateway is gone.
    pub(super) fn domain_down(&mut self, peer: &PeerId) {
        self.federation.wanted.remove(peer);
    }

    /// The preferred links to the gateways of a domain.
    fn links_to(&self, domain: &Domain) -> Vec<LinkId> {
        let at = |peer: &PeerId| self.domain_of(peer) == Some(domain);
        self.preferred_links().filter(|(peer, _)| at(peer)).map(|(_, link)| link).collect()
    }

    /// The gateways that are linked, with the link that is used to each.
    fn gateways(&self) -> Vec<(PeerId, LinkId)> {
        match self.federation.policy {
            Some(_) => self.preferred_links().filter(|(peer, _)| self.domain_of(peer).is_some()).collect(),
            None => Vec::new(),
        }
    }
}

/// Where recipients live.
impl Core {
    /// Where a recipient lives, as far as is known: what it signed itself counts before what a user said.
    pub fn resolve_destination(&self, recipient: &PeerId, now_ms: u64) -> Destination {
        let Some(policy) = &self.federation.policy else { return Destination::Unknown };
        let place = |domain: &str| match domain == &*policy.domain {
            true => Destination::Here,
            false => Destination::Domain(Domain::from(domain)),
        };
        if *recipient == self.config.me || self.mailboxes.contains(recipient) {
            return Destination::Here;
        }
        match self.records.get(recipient).filter(|record| record.expires_ms > now_ms && !record.domain.is_empty()) {
            Some(record) => place(&record.domain),
            None => self.federation.homes.said(recipient).map_or(Destination::Unknown, |domain| place(domain)),
        }
    }

    /// A record of that peer came over a link.
    pub(super) fn note_inside(&mut self, link: LinkId, peer: PeerId) {
        if self.federation.policy.is_none() || self.domain_behind(link).is_some() {
            return;
        }
        let inside = &mut self.federation.inside;
        if inside.len() >= MAX_INSIDE && !inside.contains(&peer) {
            inside.clear();
        }
        inside.insert(peer);
    }

    /// Whether a record is of somebody in another domain, of whom this mesh need not know.
    pub(super) fn is_outsiders(&self, record: &NodeRecord) -> bool {
        let Some(policy) = &self.federation.policy else { return false };
        let elsewhere = !record.domain.is_empty() && record.domain.as_str() != &*policy.domain;
        elsewhere && !self.federation.inside.contains(&record.peer)
    }

    /// Whether mail for a recipient waits for another domain's link, and not for a way in this mesh.
    pub(super) fn waits_for_domain(&self, recipient: &PeerId, now_ms: u64) -> bool {
        let elsewhere = matches!(self.resolve_destination(recipient, now_ms), Destination::Domain(_));
        elsewhere && !self.federation.inside.contains(recipient)
    }

    /// Takes in where a peer lives, as the directory said at the start.
    pub fn restore_home(&mut self, peer: PeerId, domain: &str) {
        self.federation.homes.say(peer, Some(Domain::from(domain)));
    }

    /// A user says where a peer lives.
    pub(super) fn note_home(&mut self, peer: PeerId, domain: Option<Domain>) {
        self.federation.homes.say(peer, domain);
        self.reroute_all();
    }

    /// Whether the admin has blocked a domain: nothing goes there, through others neither.
    fn is_blocked_domain(&self, domain: &Domain) -> bool {
        self.federation.policy.as_ref().is_some_and(|policy| policy.block.contains(&**domain))
    }

    /// The links to other domains that lead to a recipient. None: it lives here, nobody has said where, or its domain isn't
    /// linked to this node; then it is asked for, and perhaps another gateway of this mesh knows a way.
    pub(super) fn ways_between(&mut self, recipient: PeerId, now_ms: u64) -> Vec<LinkId> {
        if self.federation.policy.is_none() {
            return Vec::new();
        }
        if let Some(link) = self.preferred(&recipient).filter(|link| self.domain_behind(*link).is_some()) {
            return vec![link]; // a gateway's own mail
        }
        let links = match self.resolve_destination(&recipient, now_ms) {
            Destination::Here => return Vec::new(),
            Destination::Domain(domain) if self.is_blocked_domain(&domain) => return Vec::new(),
            Destination::Domain(domain) => {
                let via = || self.federation.homes.via(&recipient).map(|via| self.links_to(via));
                Some(self.links_to(&domain)).filter(|links| !links.is_empty()).or_else(via)
            }
            Destination::Unknown => None,
        };
        let links = links.unwrap_or_default();
        if links.is_empty() {
            self.federation.homes.want(recipient, now_ms);
        }
        links
    }

    /// Asks the linked domains again for those whose home is still wanted, a bounded number at a time.
    pub(super) fn ask_homes(&mut self, now_ms: u64) {
        let gateways = self.gateways();
        if !gateways.is_empty() {
            let due = self.federation.homes.take_due(now_ms, MAX_RESOLVED);
            self.ask(&gateways, &due);
        }
    }

    /// Asks at once for those who were never asked for.
    pub(super) fn ask_fresh_homes(&mut self, now_ms: u64) {
        if self.federation.homes.has_fresh() {
            let gateways = self.gateways();
            let fresh = self.federation.homes.take_fresh(now_ms, MAX_RESOLVED);
            self.ask(&gateways, &fresh);
        }
    }

    fn ask(&mut self, gateways: &[(PeerId, LinkId)], peers: &[PeerId]) {
        if !peers.is_empty() {
            for (_, link) in gateways {
                let frame = Frame::Resolve(Resolve::Ask(peers.to_vec()));
                self.effects.push(Effect::Send { link: *link, frame });
            }
        }
    }

    /// A domain asks for homes, or answers.
    pub(super) fn resolve(&mut self, link: LinkId, resolve: Resolve, now_ms: u64) {
        let Some(domain) = self.domain_behind(link).cloned() else { return self.count("resolve-unasked") };
        match resolve {
            Resolve::Ask(peers) => self.tell_homes(link, &domain, peers, now_ms),
            Resolve::Homes(homes) => homes.into_iter().for_each(|home| self.take_home(&domain, &home, now_ms)),
        }
    }

    /// Answers with the peers' own records: of those that live here and, for a domain that this one carries for, elsewhere.
    fn tell_homes(&mut self, link: LinkId, asker: &Domain, peers: Vec<PeerId>, now_ms: u64) {
        let transit = self.federation.policy.as_ref().is_some_and(|policy| policy.transit);
        let mut homes = Vec::with_capacity(peers.len());
        for peer in peers {
            let known = match self.resolve_destination(&peer, now_ms) {
                Destination::Here => true,
                Destination::Domain(domain) => transit && domain != *asker && self.carries(&peer, &domain, asker),
                Destination::Unknown => {
                    if transit {
                        self.federation.homes.want_for_another(peer, now_ms); // who asks comes again, and finds the answer here
                    }
                    false
                }
            };
            let record = self.records.wire(&peer).filter(|_| known);
            if let (None, Some(gateway)) = (&record, self.peer_of(link)) {
                self.federation.asked.note(peer, gateway, now_ms);
            }
            homes.push(Home { peer, record });
        }
        self.effects.push(Effect::Send { link, frame: Frame::Resolve(Resolve::Homes(homes)) });
    }

    /// Something was learned of a peer, for whom another domain may have asked in vain.
    pub(super) fn learned_of(&mut self, peer: PeerId) {
        self.federation.asked.learn(peer);
    }

    /// Answers the questions of other domains that can be answered now: with growing pauses between theirs, mail would stand in
    /// their gateways for minutes.
    pub(super) fn tell_askers(&mut self, now_ms: u64) {
        for (peer, gateways) in self.federation.asked.take_learned(now_ms) {
            for gateway in gateways {
                let (Some(link), Some(domain)) = (self.preferred(&gateway), self.domain_of(&gateway).cloned()) else {
                    continue;
                };
                self.tell_homes(link, &domain, vec![peer], now_ms);
            }
        }
    }

    /// Whether this node has a way to a peer's domain that doesn't lead back to the one that asks (split horizon).
    fn carries(&self, peer: &PeerId, domain: &Domain, asker: &Domain) -> bool {
        let via = || self.federation.homes.via(peer).filter(|via| *via != asker);
        !self.links_to(domain).is_empty() || via().is_some_and(|via| !self.links_to(via).is_empty())
    }

    /// Only the peer itself can say where it lives: what counts is its signed record.
    fn take_home(&mut self, teller: &Domain, home: &Home, now_ms: u64) {
        if !self.federation.homes.is_wanted(&home.peer) {
            return self.count("home-unasked");
        }
        let Some(wire) = &home.record else { return self.count("home-unknown") };
        let Ok(record) = NodeRecord::verify(wire) else { return self.count("home-refused") };
        let fits = record.peer == home.peer && !record.domain.is_empty() && record.check_times(now_ms).is_ok();
        let old = self.records.get(&home.peer).is_some_and(|known| known.seq_ms > record.seq_ms);
        if !fits || old || self.blocked.contains(&record.peer) {
            return self.count("home-refused");
        }
        let domain = Domain::from(record.domain.as_str());
        let via = (domain != *teller).then(|| Arc::clone(teller));
        self.federation.homes.found(home.peer, domain, via);
        self.count("home-found");
        self.keep_record(record, wire);
        self.learned_of(home.peer);
        self.reroute_all();
    }

    /// A domain does not take mail for a recipient: perhaps it has moved, so the others are asked. What is known stands until
    /// somebody proves better: a domain may also refuse for another reason, and some never answer questions.
    pub(super) fn doubt_home(&mut self, link: LinkId, recipient: PeerId, verdict: Verdict, now_ms: u64) {
        if verdict == Verdict::Refused && self.domain_behind(link).is_some() {
            self.federation.homes.doubt(recipient, now_ms);
        }
    }
}

/// Envelopes on their way in and out.
impl Core {
    /// Whether an envelope from a domain is taken in; else what to answer.
    pub(super) fn admit_from(
        &mut self,
        link: LinkId,
        view: EnvelopeRef<'_>,
        id: MessageId,
        now_ms: u64,
    ) -> Result<(), Answer> {
        let Some(domain) = self.domain_behind(link).cloned() else { return Ok(()) };
        let refused = Answer { id, verdict: Verdict::Refused, retry_after_secs: 0 };
        if !self.relays(&domain, view, now_ms) {
            self.count("between-domains-refused");
            return Err(refused);
        }
        let Some(policy) = &self.federation.policy else { return Err(refused) };
        let quotas = &mut self.federation.quotas;
        if quotas.len() >= MAX_QUOTAS && !quotas.contains_key(&domain) {
            quotas.pop_first(); // a full bucket is the worst that follows
        }
        let quota = quotas.entry(domain).or_insert_with(|| Quota::new(policy.quota, now_ms));
        quota.take(view.wire().len() as u64, now_ms).map_err(|retry_after_secs| {
            *self.counters.entry("between-domains-quota").or_default() += 1;
            Answer { id, verdict: Verdict::RelayFull, retry_after_secs }
        })
    }

    fn relays(&self, from: &Domain, view: EnvelopeRef<'_>, now_ms: u64) -> bool {
        let Some(policy) = &self.federation.policy else { return false };
        match view.kind() {
            Kind::Broadcast => policy.topics.contains(&TopicId(view.destination())),
            Kind::Direct | Kind::Receipt => match self.resolve_destination(&PeerId(view.destination()), now_ms) {
                Destination::Here | Destination::Unknown => true,
                Destination::Domain(to) => policy.transit && to != *from,
            },
        }
    }

    /// Whether an envelope that is held here may go to the domain behind a link.
    pub(super) fn may_leave(&self, link: LinkId, id: &MessageId) -> bool {
        let Some(to) = self.domain_behind(link) else { return true };
        let Some(policy) = &self.federation.policy else { return false };
        let Some(head) = self.shelf.get(id) else { return false };
        let from = head.source.and_then(|source| self.federation.gateways.get(&source));
        let through = from.is_none_or(|from| from != to && (policy.transit || head.kind == Kind::Broadcast));
        let wanted = || {
            let topics = self.peer_of(link).and_then(|peer| self.federation.wanted.get(&peer));
            let topic = TopicId(head.destination);
            policy.topics.contains(&topic) && topics.is_some_and(|topics| topics.contains(&topic))
        };
        through && (head.kind != Kind::Broadcast || wanted())
    }

    /// The links to domains that want a broadcast of that topic.
    pub(super) fn bridges(&self, topic: &TopicId) -> Vec<LinkId> {
        let wants = |peer: &PeerId| self.federation.wanted.get(peer).is_some_and(|topics| topics.contains(topic));
        self.gateways().into_iter().filter(|(peer, _)| wants(peer)).map(|(_, link)| link).collect()
    }

    /// The ids of a domain's share of the history, newest first by their senders' clocks.
    pub(super) fn bridged_history(&self, link: LinkId, now_ms: u64, max: usize) -> Vec<MessageId> {
        let Some(wanted) = self.peer_of(link).and_then(|peer| self.federation.wanted.get(&peer)) else {
            return Vec::new();
        };
        let heads = wanted.iter().flat_map(|topic| self.shelf.history(topic).take(max));
        let mut kept: Vec<_> = heads.filter(|head| head.expires_ms > now_ms).collect();
        kept.sort_unstable_by_key(|head| std::cmp::Reverse(head.created_ms));
        kept.into_iter().map(|head| head.id).filter(|id| self.may_leave(link, id)).take(max).collect()
    }

    /// Which of the bridged topics a domain wants.
    pub(super) fn domain_wants(&mut self, link: LinkId, change: SubscriptionChange, topics: &[TopicId], now_ms: u64) {
        let (Some(peer), Some(policy)) = (self.peer_of(link), &self.federation.policy) else { return };
        if self.domain_of(&peer).is_none() {
            return;
        }
        let bridged = topics.iter().filter(|topic| policy.topics.contains(topic)).copied();
        let first = !self.federation.wanted.contains_key(&peer);
        let wanted = self.federation.wanted.entry(peer).or_default();
        let before = wanted.clone();
        match change {
            SubscriptionChange::Set => *wanted = bridged.collect(),
            SubscriptionChange::Add => wanted.extend(bridged),
            SubscriptionChange::Remove => topics.iter().for_each(|topic| _ = wanted.remove(topic)),
        }
        match (first, *wanted == before) {
            (true, _) => self.announce_history(link, now_ms),
            (false, true) => {}
            (false, false) => self.announce_later(link, now_ms), // a small frame must not cost much each time
        }
    }

    fn tell_bridged(&mut self, link: LinkId) {
        let topics = self.federation.policy.as_ref().map(|policy| policy.topics.iter().copied().collect::<Vec<_>>());
        let topics = topics.unwrap_or_default();
        let mut change = SubscriptionChange::Set;
        for chunk in topics.chunks(MAX_TOPICS) {
            self.effects.push(Effect::Send { link, frame: Frame::Subscriptions(change, chunk.to_vec()) });
            change = SubscriptionChange::Add;
        }
    }
}
