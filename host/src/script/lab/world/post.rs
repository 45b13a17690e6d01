//! What goes in and out by a node's door: messages, channels, the inbox.

use std::time::Duration;

use qpq_schemas::envelope::{Envelope, LARGEST_PAYLOAD};
use qpq_schemas::{MessageId, PeerId};
use tokio::sync::oneshot;

use super::{Event, Moment, World};
use crate::api::{
    ApiError, BroadcastRequest, ChannelInfo, InboxPage, InboxQuery, LinkLimit, PeerInfo, Receipt, SendRequest, Trust,
};
use crate::core::Limit;
use crate::identity::Sighting;
use crate::node::channels::USER;
use crate::node::door::inbox_places;
use crate::node::mail::Defaults;

/// What a message gets where its sender says nothing: as in a node's configuration.
const DEFAULTS: Defaults = Defaults { ttl_secs: 604_800, max_hops: 16, max_payload: LARGEST_PAYLOAD };

/// Comes once the message is on the node's disk.
pub(in super::super) type Answer = oneshot::Receiver<Result<Receipt, ApiError>>;

/// Something that a bot sent.
#[derive(Debug, Clone)]
pub(in super::super) struct Posted {
    /// The node that it was sent from.
    pub node: usize,
    pub bot: String,
    /// The recipient of a direct message.
    pub to: Option<PeerId>,
    /// The channel of a broadcast.
    pub topic: Option<String>,
    pub payload: Vec<u8>,
    pub id: MessageId,
    /// When, counted from the start.
    pub at: Duration,
    pub expires_ms: u64,
    pub priority: u8,
    /// The message that it answers.
    pub reply_to: Option<MessageId>,
    /// It is a reaction to that, and not a text.
    pub reaction: bool,
    /// A test has expected it already.
    pub expected: bool,
}

/// What a message says before it is sealed.
struct Said {
    to: Option<PeerId>,
    topic: Option<String>,
    payload: Vec<u8>,
    reply_to: Option<MessageId>,
    reaction: bool,
}

impl World {
    /// Sends a direct message for a bot, or for the node's user.
    pub(in super::super) fn send(
        &mut self,
        number: usize,
        request: SendRequest,
        bot: Option<&str>,
    ) -> Result<Answer, ApiError> {
        let now_ms = self.now_ms();
        self.core(number)?;
        let Some(node) = self.nodes.get_mut(number) else { return Err(gone()) };
        let resolved = node.directory.resolve(&request.to);
        let shown: String = request.to.chars().take(80).collect();
        let to = resolved.map_err(|error| ApiError::new(error.code(), format!("`{shown}`: {error}")))?;
        let record = node.core.as_ref().and_then(|core| core.records().get(&to)).cloned();
        let awaited = request.receipt && bot.is_none();
        let said = Said {
            to: Some(to),
            topic: None,
            payload: request.payload.clone(),
            reply_to: request.reply_to,
            reaction: request.reaction,
        };
        let mut moment = Moment { now_ms, rng: &mut self.rng };
        let key = node.identity.signing_key();
        let envelope = DEFAULTS.direct_at(request, to, record.as_ref(), key, &mut moment)?;
        if awaited {
            node.deliveries.expect(envelope.id(), to);
        }
        _ = node.directory.upsert(to, &Sighting::default()); // a full directory refuses
        Ok(self.submit(number, envelope, bot, said))
    }

    /// Publishes a broadcast for a bot, or for the node's user.
    pub(in super::super) fn broadcast(
        &mut self,
        number: usize,
        request: BroadcastRequest,
        bot: Option<&str>,
    ) -> Result<Answer, ApiError> {
        let now_ms = self.now_ms();
        self.core(number)?;
        let Some(node) = self.nodes.get_mut(number) else { return Err(gone()) };
        let channel = node.channels.key_for(&request.topic)?;
        let said = Said {
            to: None,
            topic: Some(channel.name().to_owned()),
            payload: request.payload.clone(),
            reply_to: request.reply_to,
            reaction: request.reaction,
        };
        let mut moment = Moment { now_ms, rng: &mut self.rng };
        let envelope = DEFAULTS.broadcast_at(request, &channel, node.identity.signing_key(), &mut moment)?;
        Ok(self.submit(number, envelope, bot, said))
    }

    fn submit(&mut self, number: usize, envelope: Envelope, bot: Option<&str>, said: Said) -> Answer {
        self.be_active();
        if let Some(bot) = bot {
            let view = envelope.view();
            self.posted.push(Posted {
                node: number,
                bot: bot.to_owned(),
                to: said.to,
                topic: said.topic,
                payload: said.payload,
                reply_to: said.reply_to,
                reaction: said.reaction,
                id: envelope.id(),
                at: self.time.passed(),
                expires_ms: view.expires_ms(),
                priority: view.flags().priority as u8,
                expected: false,
            });
        }
        let (token, answer) = self.expect_answer();
        self.feed(number, Event::Submit { token, envelope, trusted: true });
        answer
    }

    /// Joins a channel.
    pub(in super::super) fn join(&mut self, number: usize, topic: &str, bot: bool) -> Result<ChannelInfo, ApiError> {
        self.core(number)?;
        let Some(node) = self.nodes.get_mut(number) else { return Err(gone()) };
        let info = node.channels.join(topic, if bot { "bots" } else { USER })?;
        self.feed(number, Event::Subscribe(info.topic_id));
        Ok(info)
    }

    /// A page of the inbox. It waits for nothing.
    pub(in super::super) fn inbox(&self, number: usize, query: &InboxQuery) -> Result<InboxPage, ApiError> {
        let core = self.core(number)?;
        let Some(node) = self.nodes.get(number) else { return Err(gone()) };
        let place = |reader: &String| node.readers.get(reader).copied();
        let after = query.after.or(query.reader.as_ref().and_then(place)).unwrap_or(0);
        let topic = query.topic.as_ref().map(|name| node.channels.key_for(name)).transpose()?;
        let topic = topic.map(|key| key.topic_id());
        let places = inbox_places(core, after, query.limit, query.newest, topic);
        let next_after = places.last().map_or(after, |(seq, _)| *seq);
        Ok(InboxPage { items: node.open(places.into_iter().map(|(seq, _)| seq)), next_after })
    }

    /// A bot says how far a peer is trusted.
    pub(in super::super) fn judge(&mut self, number: usize, peer: &str, trust: Trust) -> Result<PeerInfo, ApiError> {
        self.core(number)?;
        let Some(node) = self.nodes.get_mut(number) else { return Err(gone()) };
        let told = |error: &dyn std::fmt::Display| ApiError::new("bad-peer", error.to_string());
        let peer = node.directory.resolve(peer).map_err(|error| ApiError::new(error.code(), error.to_string()))?;
        node.directory.set_trust(peer, trust).map_err(|error| told(&error))?;
        let events = match trust {
            Trust::Blocked => [Event::Trust { peer, trusted: false }, Event::Block(peer)],
            Trust::Trusted => [Event::Unblock(peer), Event::Trust { peer, trusted: true }],
            Trust::Known => [Event::Unblock(peer), Event::Trust { peer, trusted: false }],
        };
        events.into_iter().for_each(|event| self.feed(number, event));
        self.peers(number)?.into_iter().find(|info| info.peer_id == Some(peer)).ok_or_else(gone)
    }

    /// A bot bounds a neighbour, or lifts the bound.
    pub(in super::super) fn limit(
        &mut self,
        number: usize,
        peer: &str,
        limit: Option<LinkLimit>,
    ) -> Result<(), ApiError> {
        self.core(number)?;
        let Some(node) = self.nodes.get_mut(number) else { return Err(gone()) };
        let peer = node.directory.resolve(peer).map_err(|error| ApiError::new(error.code(), error.to_string()))?;
        match limit {
            Some(limit) => _ = node.scene.limits.insert(peer, limit),
            None => _ = node.scene.limits.remove(&peer),
        }
        let limit = limit.map(|limit| Limit {
            messages_per_minute: limit.messages_per_minute,
            bytes_per_minute: limit.bytes_per_minute,
        });
        self.feed(number, Event::Limit { peer, limit });
        Ok(())
    }

    /// The peers that a node knows.
    pub(in super::super) fn peers(&self, number: usize) -> Result<Vec<PeerInfo>, ApiError> {
        let used = self.core(number)?.links_in_use();
        let Some(node) = self.nodes.get(number) else { return Err(gone()) };
        let mut links = self.links_of(number);
        for (_, link) in &mut links {
            if let Some(used) = used.get(&link.link) {
                (link.in_flight, link.preferred) = (used.in_flight, used.preferred);
            }
        }
        let known = node.directory.entries().map(|(id, peer)| {
            let theirs = links.iter().filter(|(far, _)| self.peer(*far) == Some(*id));
            let links: Vec<_> = theirs.map(|(_, link)| link.clone()).collect();
            PeerInfo {
                peer_id: Some(*id),
                nickname: peer.nickname.clone(),
                trust: peer.trust,
                addresses: peer.addresses.clone(),
                state: if links.is_empty() { "idle" } else { "up" }.to_owned(),
                links,
                last_seen_ms: peer.last_seen_ms,
                last_error: None,
                discovered: Vec::new(),
            }
        });
        Ok(known.collect())
    }
}

fn gone() -> ApiError {
    ApiError::new("stopping", "there is no such node")
}
