//! What crosses between domains, and where a recipient lives.
//!
//! A link that a federation plugin made leads to another domain, whose name its certificate has proven. Such a neighbour is no
//! part of this mesh: no routing is spoken with it, and of records, broadcasts and history it gets only what the policy lets
//! through. What does cross keeps all promises of a link: custody, dedup, hop limit. `host/docs/federation.md` tells the whole.

mod asked;
mod gateways;
mod homes;
mod policy;
mod report;
mod resolve;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use qpq_schemas::envelope::{EnvelopeRef, Kind};
use qpq_schemas::link::{Answer, Frame, MAX_TOPICS, SubscriptionChange, Verdict};
use qpq_schemas::{MessageId, PeerId, TopicId};

pub use super::quota::Limit;
use super::quota::Quota;
use super::toll::Charge;
use super::{Core, Effect, LinkId};
use asked::Asked;
pub use gateways::{GATEWAY_PREFIX, gateway_of};
use homes::Homes;
pub use policy::{Domain, FederationPolicy};
pub use report::DomainReport;

/// Domains whose use is counted at a time.
const MAX_QUOTAS: usize = 1_024;

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

/// Envelopes on their way in and out.
impl Core {
    /// Whether an envelope from a domain is taken in, and counts that it was; else what to answer.
    pub(super) fn admit_from_domain(
        &mut self,
        domain: Domain,
        view: EnvelopeRef<'_>,
        id: MessageId,
        now_ms: u64,
    ) -> Result<Charge, Answer> {
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
        let quota = quotas.entry(domain.clone()).or_insert_with(|| Quota::new(policy.quota, now_ms));
        match quota.take(view.wire().len() as u64, now_ms) {
            Ok(()) => Ok(Charge::Domain(domain)),
            Err(retry_after_secs) => {
                self.count("between-domains-quota");
                Err(Answer { id, verdict: Verdict::RelayFull, retry_after_secs })
            }
        }
    }

    /// An envelope of that domain comes again, and shall count once.
    pub(super) fn give_back_to_domain(&mut self, domain: &Domain, bytes: u64) {
        if let Some(quota) = self.federation.quotas.get_mut(domain) {
            quota.give_back(bytes);
        }
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
