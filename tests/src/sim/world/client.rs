//! The clients of the nodes: they hand in messages, read inboxes, and keep a ledger outside of any node.

use std::collections::{BTreeMap, HashMap};

use qpq_host::api::{self, ApiError};
use qpq_host::core::Event;
use qpq_schemas::envelope::{Draft, Envelope, Flags, Kind, LARGEST_PAYLOAD, Priority};
use qpq_schemas::receipt::Receipt;
use qpq_schemas::{MessageId, PeerId, TopicId};

use super::World;
use crate::Outcome;

/// Links that an envelope of the simulation may cross.
const MAX_HOPS: u8 = u8::MAX;

/// A message to be made.
#[derive(Debug, Clone, Copy)]
pub struct Message {
    /// Direct or broadcast.
    pub kind: Kind,
    /// The recipient's key, or the topic.
    pub destination: [u8; 32],
    /// How long it lives, in seconds.
    pub ttl_secs: u32,
    /// Whether a receipt is wanted.
    pub receipt: bool,
    /// Bytes of its payload.
    pub len: usize,
}

impl Message {
    /// A direct message of 100 bytes that lives for a week.
    pub fn direct(to: PeerId) -> Self {
        Self { kind: Kind::Direct, destination: to.0, ttl_secs: 7 * 86_400, receipt: false, len: 100 }
    }

    /// The same, to a topic.
    pub fn broadcast(topic: TopicId) -> Self {
        Self { kind: Kind::Broadcast, destination: topic.0, ..Self::direct(PeerId([0; 32])) }
    }
}

/// What clients were told about what they handed in.
#[derive(Debug, Default)]
pub struct Answers(HashMap<u64, Result<api::Receipt, ApiError>>);

impl Answers {
    pub(super) fn note(&mut self, token: u64, result: Result<api::Receipt, ApiError>) {
        self.0.insert(token, result);
    }

    /// The answer to that submission: durable, refused, or none yet.
    pub fn get(&self, token: u64) -> Option<&Result<api::Receipt, ApiError>> {
        self.0.get(&token)
    }

    /// Whether the message was acknowledged.
    pub fn is_stored(&self, token: u64) -> bool {
        self.get(token).is_some_and(Result::is_ok)
    }
}

/// What the clients were handed.
#[derive(Debug, Default)]
pub struct Inboxes {
    got: HashMap<(u32, MessageId), u32>,
    order: Vec<u64>,
    receipts: BTreeMap<MessageId, u32>,
    /// Messages that a client got again.
    pub doubled: u64,
    /// The first of them, in words.
    pub first_double: Option<String>,
}

impl Inboxes {
    fn note(&mut self, node: u32, id: MessageId, now_us: u64) {
        let count = self.got.entry((node, id)).or_default();
        *count += 1;
        if *count > 1 {
            self.doubled += 1;
            self.first_double.get_or_insert_with(|| format!("{id:?} at node {node}, {now_us} us"));
        }
        self.order.extend([now_us, node.into()]);
    }

    pub(super) fn receipt(&mut self, _node: u32, id: MessageId) {
        *self.receipts.entry(id).or_default() += 1;
    }

    /// How often a node's client got a message.
    pub fn count(&self, node: u32, id: &MessageId) -> u32 {
        self.got.get(&(node, *id)).copied().unwrap_or(0)
    }

    /// Whether a receipt for it came back.
    pub fn is_receipted(&self, id: &MessageId) -> bool {
        self.receipts.contains_key(id)
    }

    pub(super) fn digest(&self) -> impl Iterator<Item = u64> + '_ {
        self.order.iter().copied()
    }
}

impl World {
    /// A client hands in a message at a node; the token of the answer, and the message's id.
    ///
    /// # Errors
    /// When it can't be signed.
    pub fn submit(&mut self, node: u32, message: Message) -> Outcome<(u64, MessageId)> {
        let flags = Flags { sealed: false, receipt_wanted: message.receipt, priority: Priority::Normal };
        let draft = Draft {
            kind: message.kind,
            flags,
            max_hops: MAX_HOPS,
            ttl_secs: message.ttl_secs,
            created_ms: self.nodes[node as usize].clock_ms(self.now_us),
            nonce: self.random.next_u64().to_be_bytes(),
            destination: message.destination,
            payload: vec![b'x'; message.len],
        };
        let envelope = draft.sign(&self.nodes[node as usize].key)?;
        let id = envelope.id();
        Ok((self.hand_in(node, envelope), id))
    }

    fn hand_in(&mut self, node: u32, envelope: Envelope) -> u64 {
        self.next_token += 1;
        let token = self.next_token;
        self.feed(node, Event::Submit { token, envelope, trusted: true });
        token
    }

    /// A node's client subscribes a topic.
    pub fn subscribe(&mut self, node: u32, topic: TopicId) {
        self.nodes[node as usize].topics.push(topic);
        self.feed(node, Event::Subscribe(topic));
        // What was kept of the topic is in the inbox now, also before the place up to which the client has read.
        self.read_inbox(node);
        let Some(core) = &self.nodes[node as usize].core else { return };
        let older: Vec<MessageId> = core.shelf().inbox(0).map(|head| head.id).collect();
        for id in older.into_iter().filter(|id| self.inboxes.count(node, id) == 0).collect::<Vec<_>>() {
            self.inboxes.note(node, id, self.now_us);
        }
    }

    /// The client reads what came since it read last, and says that it did.
    pub(super) fn read_inbox(&mut self, number: u32) {
        let now_us = self.now_us;
        let node = &mut self.nodes[number as usize];
        let Some(core) = &node.core else { return };
        let new: Vec<(u64, MessageId)> = core.shelf().inbox(node.read).map(|head| (head.seq, head.id)).collect();
        let Some((seq, _)) = new.last().copied() else { return };
        node.read = seq;
        new.iter().for_each(|(_, id)| self.inboxes.note(number, *id, now_us));
        self.feed(number, Event::InboxRead { seq });
    }

    /// What stood on the disk when a crash came before it was read.
    pub(super) fn read_receipts(&mut self, node: u32) {
        let Some(core) = &self.nodes[node as usize].core else { return };
        let wires = core.unread_receipts().into_iter().filter_map(|seq| self.nodes[node as usize].disk.read(seq));
        let receipts = wires.filter_map(|wire| Envelope::from_wire(wire, LARGEST_PAYLOAD).ok());
        for envelope in receipts.collect::<Vec<_>>() {
            self.feed(node, Event::ReceiptLeft { envelope });
        }
    }

    pub(super) fn make_receipt(&mut self, node: u32, to: PeerId, id: MessageId) -> Option<Envelope> {
        let clock_ms = self.nodes[node as usize].clock_ms(self.now_us);
        let draft = Draft {
            kind: Kind::Receipt,
            flags: Flags { sealed: false, receipt_wanted: false, priority: Priority::Normal },
            max_hops: MAX_HOPS,
            ttl_secs: 7 * 86_400,
            created_ms: clock_ms,
            nonce: self.random.next_u64().to_be_bytes(),
            destination: to.0,
            payload: Receipt { id, received_ms: clock_ms }.encode().to_vec(),
        };
        let signed = draft.sign(&self.nodes[node as usize].key);
        signed.map_err(|refusal| self.failure = Some(refusal.into())).ok()
    }
}
