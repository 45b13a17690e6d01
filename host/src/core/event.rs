//! What the core is told, and what it wants done.

use bytes::Bytes;
use qpq_schemas::envelope::{Envelope, Refusal};
use qpq_schemas::link::Frame;
use qpq_schemas::record::NodeRecord;
use qpq_schemas::{MessageId, PeerId, TopicId};

use super::federation::Domain;
use super::quota::Limit;
use super::{LinkId, Ticket};
use crate::api::{ApiError, Receipt};
use crate::store::Batch;

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// A link was authenticated.
    LinkUp {
        /// Its number.
        link: LinkId,
        /// The proven key behind it.
        peer: PeerId,
        /// The domain that it leads to, where a federation plugin made it.
        domain: Option<Domain>,
    },
    /// A link is gone.
    LinkDown {
        /// Its number.
        link: LinkId,
    },
    /// One link takes the place of another to the same neighbour, whose transport is being replaced. May come before the new one
    /// is up.
    Succeeds {
        /// The number of the one that goes.
        before: LinkId,
        /// The number of the one that stays.
        after: LinkId,
        /// Whether this side closes the one that goes, once all that went over it is answered. The side that dialled does:
        /// the other might before both are up there.
        close: bool,
    },
    /// A link was measured.
    LinkMeasured {
        /// Its number.
        link: LinkId,
        /// Smoothed round-trip time in microseconds.
        rtt_us: u64,
        /// Lost frames in a million.
        loss_ppm: u32,
    },
    /// A frame arrived over an authenticated link.
    Frame {
        /// The link's number.
        link: LinkId,
        /// The frame.
        frame: Frame,
    },
    /// [`Effect::Verify`] is done: one verdict for each envelope, in order.
    Verified {
        /// The effect's ticket.
        ticket: Ticket,
        /// The verdicts.
        verdicts: Vec<Result<(), Refusal>>,
    },
    /// [`Effect::Persist`] is done: the batch is on disk, or the store says why not.
    Persisted {
        /// The effect's ticket.
        ticket: Ticket,
        /// The store's word.
        result: Result<(), String>,
    },
    /// [`Effect::MakeReceipts`] is done: the signed receipts, in order; none where one could not be made.
    ReceiptsMade {
        /// The effect's ticket.
        ticket: Ticket,
        /// The receipts.
        receipts: Vec<Option<Envelope>>,
    },
    /// A receipt that stood in the store at the start, see [`super::Core::unread_receipts`]. It was checked when it came.
    ReceiptLeft {
        /// The receipt.
        envelope: Envelope,
    },
    /// A local client hands in an envelope.
    Submit {
        /// Comes back in [`Effect::Answer`].
        token: u64,
        /// The envelope.
        envelope: Envelope,
        /// Its signature needs no check, because this process made it.
        trusted: bool,
    },
    /// An envelope comes out of a file: as from a neighbour, but over no link.
    Import {
        /// Comes back in [`Effect::Answer`].
        token: u64,
        /// The envelope.
        envelope: Envelope,
    },
    /// Broadcasts of this topic belong into the inbox from now on.
    Subscribe(TopicId),
    /// They no longer do.
    Unsubscribe(TopicId),
    /// The user has read the inbox up to this place.
    InboxRead {
        /// The place.
        seq: u64,
    },
    /// A user, or the directory, says in which domain a peer lives; `None` takes it back.
    Home {
        /// The peer.
        peer: PeerId,
        /// Its domain.
        domain: Option<Domain>,
    },
    /// This node's own signed record, to be spread.
    OwnRecord(Bytes),
    /// Links and envelopes of this key are refused from now on.
    Block(PeerId),
    /// They no longer are.
    Unblock(PeerId),
    /// The admin vouches for this key, or no longer does.
    Trust {
        /// The key.
        peer: PeerId,
        /// Whether it is trusted.
        trusted: bool,
    },
    /// The admin bounds what this neighbour may bring in, or no longer does.
    Limit {
        /// The neighbour.
        peer: PeerId,
        /// In place of what the configuration says.
        limit: Option<Limit>,
    },
    /// The store found this record damaged and has set it aside.
    Damaged {
        /// The message that it held.
        id: MessageId,
    },
    /// Mail for this key stays here until its holder has it, or no longer does.
    Mailbox {
        /// The key.
        peer: PeerId,
        /// Whether it has a mailbox here.
        kept: bool,
    },
    /// The holder of a mailbox has these messages on its own disk.
    Collected {
        /// The holder.
        peer: PeerId,
        /// The messages.
        ids: Vec<MessageId>,
    },
    /// Time has passed.
    Tick,
}

/// Something to be done by the shell.
#[derive(Debug)]
pub enum Effect {
    /// Send a frame over a link.
    Send {
        /// The link.
        link: LinkId,
        /// The frame.
        frame: Frame,
    },
    /// Send envelopes over a link; those without bytes are read from the store first.
    Offer {
        /// The link.
        link: LinkId,
        /// What to send, in this order.
        items: Vec<Offered>,
    },
    /// Close a link, giving the reason to the other side.
    Close {
        /// The link.
        link: LinkId,
        /// Why.
        reason: String,
    },
    /// Close a link whose place another one has taken.
    Retire {
        /// The link.
        link: LinkId,
    },
    /// Check signatures, as one batch where possible; answer with [`Event::Verified`].
    Verify {
        /// Comes back in the event.
        ticket: Ticket,
        /// The envelopes.
        envelopes: Vec<Envelope>,
    },
    /// Make a batch durable; answer with [`Event::Persisted`].
    Persist {
        /// Comes back in the event.
        ticket: Ticket,
        /// What to write.
        batch: Batch,
    },
    /// Answer a local client.
    Answer {
        /// The token of its [`Event::Submit`].
        token: u64,
        /// Durable here, or why not.
        result: Result<Receipt, ApiError>,
    },
    /// The inbox has a new message.
    InboxGrew {
        /// Its place.
        seq: u64,
    },
    /// A message came for a mailbox, or a broadcast that one may have subscribed.
    MailCame {
        /// The recipient's key or the topic id.
        destination: [u8; 32],
    },
    /// Sign delivery receipts, at once; answer with [`Event::ReceiptsMade`]. The messages wait for it, to be written in one
    /// batch with their receipts.
    MakeReceipts {
        /// Comes back in the event.
        ticket: Ticket,
        /// For each message its sender, who asked for the receipt, and its id.
        wanted: Vec<(PeerId, MessageId)>,
    },
    /// Something that people, bots or the directory may want to know.
    Notice(Notice),
}

/// One envelope to be sent over a link.
#[derive(Debug, Clone)]
pub struct Offered {
    /// Its place in the store.
    pub seq: u64,
    /// Its id.
    pub id: MessageId,
    /// Its wire form, when it is still in memory.
    pub wire: Option<Bytes>,
}

/// News that change nothing in the core.
#[derive(Debug, Clone)]
pub enum Notice {
    /// The first link to this peer is up.
    PeerUp(PeerId),
    /// The last link to this peer is gone.
    PeerDown(PeerId),
    /// A link to this peer came or went, beside others to it or as the only one.
    LinkChange {
        /// The peer.
        peer: PeerId,
        /// Whether it came.
        up: bool,
    },
    /// The ways to some nodes, or to all, are others now.
    RoutesChanged,
    /// The time of a message of this node's own is over, and its recipient never had it as far as is known here.
    Failed {
        /// The message.
        id: MessageId,
        /// Its recipient.
        to: PeerId,
    },
    /// A message made room for another one. Told for all of this node's own, and for a few of others in a second.
    Evicted {
        /// The message.
        id: MessageId,
        /// Who signed it.
        from: PeerId,
    },
    /// Mail waits for this peer, and no way to it is known. Comes again every few seconds while that is so.
    NoWay(PeerId),
    /// A newer signed record of a node came in.
    Record {
        /// What it says; its signature was checked.
        record: Box<NodeRecord>,
        /// The signed bytes.
        wire: Bytes,
    },
    /// Somebody else signs with this node's key: its identity was copied.
    Twin,
    /// The records of these nodes have expired or made room for newer ones.
    RecordsGone(Vec<PeerId>),
    /// The recipient's own signed receipt for a message of ours arrived.
    Delivered {
        /// The message.
        id: MessageId,
        /// Its recipient.
        by: PeerId,
    },
}
