//! What a bot's process may do, and what it gets to see. Decides and remembers; reads and writes nothing.
//!
//! The child's own machine has checked all of this before. The gate assumes that it was taken over by its bot: what an
//! honest child can't have asked for is [`Refusal::Broken`] and ends it; what it may not have known is answered.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::time::Instant;

use qpq_schemas::{MessageId, PeerId};

use crate::api::{ApiError, ChannelInfo, InboxItem, InboxPage, InboxQuery, PeerInfo};

use super::super::api::{MAX_MESSAGE_BYTES, clean, event_needs};
use super::super::board;
use super::super::dispatch::command_name;
use super::super::limits::{COMMAND_BYTES, HELP_BYTES, NAME_BYTES, REGISTRATIONS, STORE_KEY_BYTES, ScriptLimits};
use super::super::manifest::Permissions;
use super::super::shared::{LiveEvent, Offer};
use super::super::store::{HOST_PREFIX, StoreOp};
use super::super::traffic::{LAST_ANSWERS, Traffic};
use super::super::worker::{PAGE, reader};
use super::wire::{Answer, Call};

/// Senders and channels that are remembered, so that they can be answered: half a mebibyte of keys.
const MAX_ORIGINS: usize = 16_384;
/// Messages of one page take about so much, in bytes; one larger message comes alone.
const PAGE_BYTES: usize = 512 << 10;
/// Messages of the bot that are remembered because they may be answered, at least: of a bot that may ask more, as many as it may.
const QUESTIONS: usize = 256;

/// Why a call is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The child is told.
    Answer(ApiError),
    /// No honest child asks that.
    Broken(String),
}

fn broken<T>(what: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Broken(what.into()))
}

/// Where messages came from that were handed over.
#[derive(Debug, Default)]
struct Origins {
    peers: HashSet<PeerId>,
    topics: HashSet<String>,
    /// There were more than are remembered, so one that isn't known may have been one all the same.
    full: bool,
}

/// The rules for one process.
#[derive(Debug)]
pub(super) struct Gate {
    bot: String,
    permissions: Permissions,
    limits: ScriptLimits,
    commands: Vec<String>,
    /// Channels that the bot listens to.
    topics: BTreeSet<String>,
    origins: Origins,
    /// The last place in the inbox that was handed over.
    handed: u64,
    /// Messages from people that nothing was published for yet.
    asked: usize,
    /// Who was written to, and so may answer.
    written: Written,
    /// Answers that may still go beyond the quota.
    spare: u32,
}

impl Gate {
    pub(super) fn new(bot: &str, permissions: Permissions, limits: ScriptLimits) -> Self {
        let (bot, commands, topics) = (bot.to_owned(), Vec::new(), BTreeSet::new());
        Self {
            bot,
            permissions,
            limits,
            commands,
            topics,
            origins: Origins::default(),
            handed: 0,
            asked: 0,
            written: Written::default(),
            spare: 0,
        }
    }

    /// The bot is told to end: a few answers need not wait for room.
    pub(super) fn let_finish(&mut self) {
        self.spare = LAST_ANSWERS;
    }

    /// The bot is loaded and says what it answers and hears.
    pub(super) fn loaded(&mut self, commands: Vec<Offer>, topics: Vec<String>) -> Result<Vec<Offer>, Refusal> {
        if commands.len() > REGISTRATIONS || topics.len() > self.limits.channels {
            return broken("more commands or channels than there is room for");
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if commands.iter().any(|offer| offer.name.len() > COMMAND_BYTES || !offer.name.chars().all(plain)) {
            return broken("a command with a name that no command has");
        }
        if !commands.is_empty() {
            self.require("reply", None)?;
        }
        let on_channels = commands.iter().flat_map(|offer| &offer.channels).cloned();
        for topic in topics.into_iter().chain(on_channels).filter(|topic| topic.len() <= NAME_BYTES) {
            self.listen(topic)?;
        }
        self.commands = commands.iter().map(|offer| offer.name.clone()).collect();
        let shown = |offer: Offer| Offer { help: clean(&offer.help, HELP_BYTES), ..offer };
        Ok(commands.into_iter().map(shown).collect())
    }

    /// The channels that the bot listens to.
    pub(super) fn topics(&self) -> impl Iterator<Item = &String> {
        self.topics.iter()
    }

    /// Whether the bot may see what it has stored.
    pub(super) fn has_store(&self) -> bool {
        self.permissions.allows("store", None)
    }

    /// Another process of the bot handed over the inbox up to here.
    pub(super) fn handed_before(&mut self, pulled: u64) {
        self.handed = self.handed.max(pulled);
    }

    fn require(&self, need: &str, channel: Option<&str>) -> Result<(), Refusal> {
        if self.permissions.allows(need, channel) {
            return Ok(());
        }
        broken(format!("a call that wants the permission \"{need}\", which the bot doesn't have"))
    }

    fn listen(&mut self, topic: String) -> Result<(), Refusal> {
        self.require("listen", Some(&topic))?;
        if self.topics.len() >= self.limits.channels && !self.topics.contains(&topic) {
            return broken("more channels than there is room for");
        }
        self.topics.insert(topic);
        Ok(())
    }

    /// Checks a call, charges for it, and returns it as it may be done.
    pub(super) fn admit(&mut self, call: Call, traffic: &mut Traffic, now: Instant) -> Result<Call, Refusal> {
        match call {
            Call::IsBusy => Ok(call),
            Call::Peers => self.require("peers", None).map(|()| call),
            Call::Routes => self.require("routes", None).map(|()| call),
            Call::Channels => self.require("channels", None).map(|()| call),
            Call::Plugins | Call::PluginSwap(..) => self.require("relay", Some("plugins")).map(|()| call),
            Call::StoreStats => self.require("relay", Some("store")).map(|()| call),
            Call::SetTrust(..) => self.require("relay", Some("trust")).map(|()| call),
            Call::LimitLink(..) => self.require("relay", Some("limit")).map(|()| call),
            Call::Machine => self.require("machine", None).map(|()| call),
            Call::Source(ref name) => self.require("source", Some(name)).map(|()| call),
            Call::Send(mut request) => {
                check_name("recipient", &request.to)?;
                check_message(&request.payload, request.priority)?;
                let answers = request.to.parse().is_ok_and(|peer| self.origins.peers.contains(&peer));
                self.may_write(answers, "send", None)?;
                self.charge(answers, request.payload.len(), traffic, now)?;
                request.automatic = true;
                Ok(Call::Send(request))
            }
            Call::Broadcast(mut request) => {
                check_name("channel", &request.topic)?;
                check_message(&request.payload, request.priority)?;
                let answers = self.answers_on(&request.topic);
                self.may_write(answers, "broadcast", Some(&request.topic))?;
                self.charge_broadcast(answers, request.payload.len(), traffic, now)?;
                request.automatic = true;
                Ok(Call::Broadcast(request))
            }
            Call::Subscribe(topic) => {
                check_name("channel", &topic)?;
                self.listen(topic.clone())?;
                Ok(Call::Subscribe(topic))
            }
            Call::Inbox(query) => Ok(Call::Inbox(self.query(query)?)),
            Call::InboxAck(seq) if seq <= self.handed => Ok(Call::InboxAck(seq)),
            Call::InboxAck(_) => broken("messages acknowledged that were never handed over"),
            Call::Commit(ops) => {
                ops.iter().try_for_each(|op| self.check_op(op))?;
                // An honest child has counted change by change; here it may go once below what is left.
                traffic.may_store(0, now).map_err(Refusal::Answer)?;
                traffic.stored.take(ops.iter().map(StoreOp::written_bytes).sum::<usize>() as f64);
                Ok(Call::Commit(ops))
            }
        }
    }

    /// An answer goes where a message came from; anything else wants a permission of its own.
    fn may_write(&self, answers: bool, need: &str, channel: Option<&str>) -> Result<(), Refusal> {
        if answers && self.permissions.allows("reply", None) || self.permissions.allows(need, channel) {
            return Ok(());
        }
        if self.origins.full && self.permissions.allows("reply", None) {
            let message = "the message is too old to be answered: too many others came since";
            return Err(Refusal::Answer(ApiError::new("too-old", message)));
        }
        broken(format!("a message to somebody who wrote none, without the permission \"{need}\""))
    }

    /// Charges for a message.
    fn charge(&mut self, answers: bool, bytes: usize, traffic: &mut Traffic, now: Instant) -> Result<(), Refusal> {
        match traffic.admit(false, bytes, now) {
            Err(_) if answers && self.spare > 0 && traffic.may_go_last(bytes, now) => {
                self.spare -= 1;
                Ok(())
            }
            charged => charged.map_err(Refusal::Answer),
        }
    }

    /// A broadcast that answers counts as a message. So does one for each message that came from a person, where there is no
    /// room for it as a broadcast: it may have been asked for elsewhere, as a post on a board is.
    fn charge_broadcast(
        &mut self,
        answers: bool,
        bytes: usize,
        traffic: &mut Traffic,
        now: Instant,
    ) -> Result<(), Refusal> {
        if answers {
            return self.charge(true, bytes, traffic, now);
        }
        let charged = match traffic.admit(true, bytes, now) {
            Err(_) if self.asked > 0 => {
                self.asked -= 1;
                traffic.admit(false, bytes, now)
            }
            charged => charged,
        };
        charged.map_err(Refusal::Answer)
    }

    /// Whether a broadcast counts as an answer, which has the larger quota.
    fn answers_on(&self, topic: &str) -> bool {
        self.permissions.allows("reply", None) && self.origins.topics.contains(topic)
    }

    /// The reader is always this bot, and nobody waits inside the node for a process.
    fn query(&self, query: InboxQuery) -> Result<InboxQuery, Refusal> {
        if let Some(topic) = &query.topic {
            self.require("listen", Some(topic))?;
        }
        Ok(InboxQuery {
            reader: query.reader.map(|_| reader(&self.bot)),
            limit: query.limit.clamp(1, PAGE),
            wait_ms: 0,
            newest: false,
            ..query
        })
    }

    fn check_op(&self, op: &StoreOp) -> Result<(), Refusal> {
        let (key, value) = match op {
            StoreOp::Put { key, value, .. } => (key, value.as_slice()),
            StoreOp::Delete { key } => (key, &[][..]),
        };
        match key.first() {
            None => return broken("an empty key for the store"),
            Some(&HOST_PREFIX) => return broken("a key of the host's own for the store"),
            Some(_) => self.require("store", None)?,
        }
        if key.len() > STORE_KEY_BYTES || value.len() > self.limits.store_value_bytes {
            return broken("a key or value too long for the store");
        }
        Ok(())
    }

    /// A page of the inbox as the bot may see it. What isn't for it stays as a bare place, so that it goes on from there.
    /// A look back at one channel doesn't move its own place.
    pub(super) fn hand_over(&mut self, page: InboxPage, query: &InboxQuery) -> InboxPage {
        let InboxPage { items, next_after } = page;
        let (count, mut bytes) = (items.len(), 0);
        let mut kept = Vec::with_capacity(count);
        for item in items {
            let item = if self.may_see(&item) { item } else { blank(item.seq) };
            bytes += item.payload.len();
            if bytes > PAGE_BYTES && !kept.is_empty() {
                break;
            }
            if item.problem.is_none() {
                self.remember(&item);
            }
            kept.push(item);
        }
        let cut = kept.len() < count;
        let next_after = kept.last().filter(|_| cut).map_or(next_after, |last| last.seq);
        if query.topic.is_none() {
            self.handed = self.handed.max(next_after).max(kept.last().map_or(0, |last| last.seq));
        }
        InboxPage { items: kept, next_after }
    }

    /// The last place in the inbox that was handed over.
    pub(super) fn handed(&self) -> u64 {
        self.handed
    }

    fn may_see(&self, item: &InboxItem) -> bool {
        // What its own node's bots said it never hears; but what they wrote on a board stands there.
        let is_said = |item: &InboxItem| item.topic.is_none() || !board::is_entry(&item.payload);
        if item.problem.is_some() || item.own && item.automatic && is_said(item) {
            return false;
        }
        match &item.topic {
            Some(topic) => self.permissions.allows("listen", Some(topic)),
            // Commands are answered in private, too, whatever else the bot may read.
            None => self.permissions.allows("direct", None) || self.is_command(item) || self.written.expects(item),
        }
    }

    fn is_command(&self, item: &InboxItem) -> bool {
        let known = |name: String| name == "help" || self.commands.contains(&name);
        !self.commands.is_empty() && command_name(item).is_some_and(known)
    }

    fn remember(&mut self, item: &InboxItem) {
        let Origins { peers, topics, full } = &mut self.origins;
        if peers.len() >= MAX_ORIGINS || topics.len() >= MAX_ORIGINS {
            peers.clear();
            topics.clear();
            *full = true;
        }
        peers.insert(item.from);
        topics.extend(item.topic.clone());
        self.written.answered(item);
        self.asked = (self.asked + usize::from(!item.automatic)).min(QUESTIONS);
    }

    /// A message went to somebody, who may answer it: it may have been a question.
    pub(super) fn wrote(&mut self, to: &str, id: MessageId) {
        if let Ok(peer) = to.parse() {
            self.written.add(peer, id, self.limits.questions.max(QUESTIONS));
        }
    }

    /// Whether the bot may hear of it.
    pub(super) fn hears(&self, event: &LiveEvent) -> bool {
        event_needs(event.kind.name()).is_none_or(|need| self.permissions.allows(need, None))
    }
}

/// Direct messages of the bot that may be answered. A bot without the permission to read all direct messages sees the next
/// one of each person that it wrote to, and whatever names a message of its own: the answers to its questions.
#[derive(Debug, Default)]
struct Written(VecDeque<(PeerId, MessageId)>);

impl Written {
    fn add(&mut self, to: PeerId, id: MessageId, most: usize) {
        if self.0.len() >= most {
            self.0.pop_front();
        }
        self.0.push_back((to, id));
    }

    fn place(&self, item: &InboxItem) -> Option<usize> {
        let names = |id: &MessageId| item.reply_to.is_none_or(|to| to == *id);
        self.0.iter().rposition(|(to, id)| *to == item.from && names(id))
    }

    fn expects(&self, item: &InboxItem) -> bool {
        !item.automatic && self.place(item).is_some()
    }

    fn answered(&mut self, item: &InboxItem) {
        if item.topic.is_none()
            && let Some(place) = self.place(item)
        {
            self.0.remove(place);
        }
    }
}

/// What a bot's process has no use for doesn't go there: addresses, invites, who else listens.
pub(super) fn strip(mut answer: Answer) -> Answer {
    let bare = |channel: &mut ChannelInfo| {
        channel.invite = None;
        channel.subscribers.clear();
    };
    let nowhere = |peer: &mut PeerInfo| {
        peer.addresses.clear();
        peer.discovered.clear();
        peer.last_error = None;
        peer.links.iter_mut().for_each(|link| link.remote.clear());
    };
    match &mut answer {
        Answer::Peers(peers) => peers.iter_mut().for_each(nowhere),
        Answer::Peer(peer) => nowhere(peer),
        Answer::Channels(channels) => channels.iter_mut().for_each(bare),
        Answer::Channel(channel) => bare(channel),
        Answer::Busy(_)
        | Answer::Routes(_)
        | Answer::Receipt(_)
        | Answer::Page(_)
        | Answer::Plugins(_)
        | Answer::StoreStats(_)
        | Answer::Machine(_)
        | Answer::Source(_)
        | Answer::Done(()) => {}
    }
    answer
}

fn check_name(what: &str, name: &str) -> Result<(), Refusal> {
    if name.len() > NAME_BYTES {
        let message = format!("the name of a {what} has at most {NAME_BYTES} bytes, this one has {}", name.len());
        return Err(Refusal::Answer(ApiError::new("bad-name", message)));
    }
    Ok(())
}

fn check_message(payload: &[u8], priority: Option<u8>) -> Result<(), Refusal> {
    if payload.len() > MAX_MESSAGE_BYTES || priority.is_some_and(|priority| priority > 3) {
        return broken("a message larger or more urgent than there are any");
    }
    Ok(())
}

/// A message that the bot doesn't see: its place alone.
fn blank(seq: u64) -> InboxItem {
    InboxItem {
        seq,
        id: MessageId([0; 32]),
        from: PeerId([0; 32]),
        from_name: None,
        topic: None,
        payload: Vec::new(),
        sealed: false,
        automatic: false,
        created_ms: 0,
        received_ms: 0,
        expires_ms: 0,
        priority: 0,
        hops: 0,
        own: false,
        problem: Some("not for this bot".to_owned()),
        reply_to: None,
        reaction: false,
        max_hops: 0,
        notice: None,
    }
}

#[cfg(test)]
mod tests;
