//! Where recipients live: what is known, whom to ask, and what to answer.

use std::sync::Arc;

use qpq_schemas::PeerId;
use qpq_schemas::link::{Frame, Home, MAX_RESOLVED, Resolve, Verdict};
use qpq_schemas::record::NodeRecord;

use super::{Destination, Domain};
use crate::core::{Core, Effect, LinkId};

/// Members of this mesh that are remembered as such. A full memory is emptied: their next record brings them back.
const MAX_INSIDE: usize = 16_384;

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
    pub(in crate::core) fn note_inside(&mut self, link: LinkId, peer: PeerId) {
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
    pub(in crate::core) fn is_outsiders(&self, record: &NodeRecord) -> bool {
        let Some(policy) = &self.federation.policy else { return false };
        let elsewhere = !record.domain.is_empty() && record.domain.as_str() != &*policy.domain;
        elsewhere && !self.federation.inside.contains(&record.peer)
    }

    /// Whether mail for a recipient waits for another domain's link, and not for a way in this mesh.
    pub(in crate::core) fn waits_for_domain(&self, recipient: &PeerId, now_ms: u64) -> bool {
        let elsewhere = matches!(self.resolve_destination(recipient, now_ms), Destination::Domain(_));
        elsewhere && !self.federation.inside.contains(recipient)
    }

    /// Takes in where a peer lives, as the directory said at the start.
    pub fn restore_home(&mut self, peer: PeerId, domain: &str) {
        self.federation.homes.say(peer, Some(Domain::from(domain)));
    }

    /// A user says where a peer lives.
    pub(in crate::core) fn note_home(&mut self, peer: PeerId, domain: Option<Domain>) {
        self.federation.homes.say(peer, domain);
        self.reroute_all();
    }

    /// Whether the admin has blocked a domain: nothing goes there, through others neither.
    fn is_blocked_domain(&self, domain: &Domain) -> bool {
        self.federation.policy.as_ref().is_some_and(|policy| policy.block.contains(&**domain))
    }

    /// The links to other domains that lead to a recipient. None: it lives here, nobody has said where, or its domain isn't
    /// linked to this node; then it is asked for, and perhaps another gateway of this mesh knows a way.
    pub(in crate::core) fn ways_between(&mut self, recipient: PeerId, now_ms: u64) -> Vec<LinkId> {
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
    pub(in crate::core) fn ask_homes(&mut self, now_ms: u64) {
        let gateways = self.gateways();
        if !gateways.is_empty() {
            let due = self.federation.homes.take_due(now_ms, MAX_RESOLVED);
            self.ask(&gateways, &due);
        }
    }

    /// Asks at once for those who were never asked for.
    pub(in crate::core) fn ask_fresh_homes(&mut self, now_ms: u64) {
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
    pub(in crate::core) fn resolve(&mut self, link: LinkId, resolve: Resolve, now_ms: u64) {
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
    pub(in crate::core) fn learned_of(&mut self, peer: PeerId) {
        self.federation.asked.learn(peer);
    }

    /// Answers the questions of other domains that can be answered now: with growing pauses between theirs, mail would stand in
    /// their gateways for minutes.
    pub(in crate::core) fn tell_askers(&mut self, now_ms: u64) {
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
    pub(in crate::core) fn doubt_home(&mut self, link: LinkId, recipient: PeerId, verdict: Verdict, now_ms: u64) {
        if verdict == Verdict::Refused && self.domain_behind(link).is_some() {
            self.federation.homes.doubt(recipient, now_ms);
        }
    }
}
