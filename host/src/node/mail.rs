//! Between people's texts and envelopes: sealing and signing on the way out, opening on the way in.

use qpq_schemas::channel::ChannelKey;
use qpq_schemas::content::{Content, KIND_BYTES, KIND_NOTICE, KIND_REACTION, KIND_TEXT};
use qpq_schemas::emergency::Notice;
use qpq_schemas::envelope::{
    Draft, Envelope, EnvelopeRef, Flags, Kind, LARGEST_PAYLOAD, MAX_TTL_SECS, Priority, Refusal,
};
use qpq_schemas::receipt::Receipt;
use qpq_schemas::record::NodeRecord;
use qpq_schemas::signature::SigningKey;
use qpq_schemas::{MessageId, PeerId};
use rand::CryptoRng;
use rand::rngs::ThreadRng;

use super::channels::Channels;
use super::clock::now_ms;
use super::emergency::Desk;
use crate::api::{ApiError, BroadcastRequest, InboxItem, SendRequest};
use crate::identity::{Directory, SealingKeys, seal_for};
use crate::store::StoredRecord;

/// A receipt lives as long as the message it is for may have: the default time to live, in seconds.
const RECEIPT_TTL_SECS: u32 = 7 * 24 * 60 * 60;
/// Links that a receipt may cross.
const RECEIPT_MAX_HOPS: u8 = 32;

/// Longest reaction, in bytes: a few emoji with their joiners.
const MAX_REACTION_BYTES: usize = 64;

/// What a message gets where its sender says nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Defaults {
    /// Time to live, in seconds.
    pub(crate) ttl_secs: u32,
    /// Links that it may cross.
    pub(crate) max_hops: u8,
    /// Largest payload, in bytes.
    pub(crate) max_payload: usize,
}

/// When a message is made, and where its random numbers come from.
pub(crate) struct Moment<R> {
    /// Unix time in milliseconds.
    pub(crate) now_ms: u64,
    /// For nonces and sealing.
    pub(crate) rng: R,
}

impl Moment<ThreadRng> {
    /// This one.
    fn now() -> Self {
        Self { now_ms: now_ms(), rng: rand::rng() }
    }
}

impl<R: CryptoRng> Moment<R> {
    fn nonce(&mut self) -> [u8; 8] {
        let mut nonce = [0; 8];
        self.rng.fill_bytes(&mut nonce);
        nonce
    }
}

impl Defaults {
    fn draft<R: CryptoRng>(
        &self,
        kind: Kind,
        flags: Flags,
        ttl_secs: Option<u32>,
        destination: [u8; 32],
        moment: &mut Moment<R>,
    ) -> Result<Draft, ApiError> {
        let ttl_secs = ttl_secs.unwrap_or(self.ttl_secs);
        if ttl_secs == 0 || ttl_secs > MAX_TTL_SECS {
            let range = format!("a time to live of {ttl_secs} s is outside 1 … {MAX_TTL_SECS} s");
            return Err(ApiError::new("bad-ttl", range));
        }
        let (created_ms, nonce, max_hops) = (moment.now_ms, moment.nonce(), self.max_hops);
        Ok(Draft { kind, flags, max_hops, ttl_secs, created_ms, nonce, destination, payload: Vec::new() })
    }

    fn finish(&self, draft: &Draft, key: &SigningKey) -> Result<Envelope, ApiError> {
        let (len, max) = (draft.payload.len(), self.max_payload.min(LARGEST_PAYLOAD));
        if len > max {
            let refusal = Refusal::PayloadTooLarge { len, max };
            return Err(ApiError::new(refusal.code(), refusal.to_string()));
        }
        draft.sign(key).map_err(|refusal| ApiError::new(refusal.code(), refusal.to_string()))
    }

    /// A signed direct message, sealed unless the sender wants it plain.
    pub(crate) fn direct(
        &self,
        request: SendRequest,
        to: PeerId,
        record: Option<&NodeRecord>,
        key: &SigningKey,
    ) -> Result<Envelope, ApiError> {
        self.direct_at(request, to, record, key, &mut Moment::now())
    }

    /// The same at another moment.
    pub(crate) fn direct_at<R: CryptoRng>(
        &self,
        request: SendRequest,
        to: PeerId,
        record: Option<&NodeRecord>,
        key: &SigningKey,
        moment: &mut Moment<R>,
    ) -> Result<Envelope, ApiError> {
        let priority = priority(request.priority)?;
        let flags = Flags { sealed: !request.plain, receipt_wanted: request.receipt, priority };
        let mut draft = self.draft(Kind::Direct, flags, request.ttl_secs, to.0, moment)?;
        let content = content(request.payload, request.automatic, request.reply_to, request.reaction)?;
        draft.payload = if request.plain {
            content
        } else {
            seal_for(to, record, draft.created_ms, &draft.aad(key.public()), &content, &mut moment.rng)
                .map_err(|error| ApiError::new("not-sealed", error.to_string()))?
        };
        self.finish(&draft, key)
    }

    /// A signed broadcast, encrypted with the channel's key.
    pub(crate) fn broadcast(
        &self,
        request: BroadcastRequest,
        channel: &ChannelKey,
        key: &SigningKey,
    ) -> Result<Envelope, ApiError> {
        self.broadcast_at(request, channel, key, &mut Moment::now())
    }

    /// The same at another moment.
    pub(crate) fn broadcast_at<R: CryptoRng>(
        &self,
        request: BroadcastRequest,
        channel: &ChannelKey,
        key: &SigningKey,
        moment: &mut Moment<R>,
    ) -> Result<Envelope, ApiError> {
        let flags = Flags { sealed: true, receipt_wanted: false, priority: priority(request.priority)? };
        let mut draft = self.draft(Kind::Broadcast, flags, request.ttl_secs, channel.topic_id().0, moment)?;
        draft.max_hops = request.max_hops.unwrap_or(self.max_hops);
        if draft.max_hops == 0 {
            let why = "a broadcast that may cross no link reaches nobody; allow 1 to 255 links";
            return Err(ApiError::new("bad-hops", why));
        }
        let content = content(request.payload, request.automatic, request.reply_to, request.reaction)?;
        draft.payload = channel.seal(&draft.aad(key.public()), &content);
        self.finish(&draft, key)
    }

    /// A signed broadcast of a notice, for everybody who can be reached, that lives `ttl_secs` from `now_ms` on.
    pub(crate) fn notice(
        &self,
        notice: &Notice,
        ttl_secs: u32,
        now_ms: u64,
        channel: &ChannelKey,
        key: &SigningKey,
    ) -> Result<Envelope, ApiError> {
        let flags = Flags { sealed: true, receipt_wanted: false, priority: Priority::Emergency };
        let mut moment = Moment { now_ms, rng: rand::rng() };
        let mut draft = self.draft(Kind::Broadcast, flags, Some(ttl_secs), channel.topic_id().0, &mut moment)?;
        draft.max_hops = u8::MAX;
        let content = Content { automatic: false, kind: KIND_NOTICE, reply_to: None, body: notice.encode() };
        draft.payload = channel.seal(&draft.aad(key.public()), &content.encode());
        self.finish(&draft, key)
    }
}

/// The notice that a message is, if it is one.
fn notice_of(content: &Content) -> Result<Option<Notice>, String> {
    if content.kind != KIND_NOTICE {
        return Ok(None);
    }
    Notice::decode(&content.body).map(Some).map_err(|error| error.to_string())
}

/// The recipient's signed word that a message arrived.
pub(crate) fn receipt(to: PeerId, id: MessageId, key: &SigningKey) -> Result<Envelope, Refusal> {
    receipt_at(to, id, key, &mut Moment::now())
}

/// The same at another moment.
pub(crate) fn receipt_at<R: CryptoRng>(
    to: PeerId,
    id: MessageId,
    key: &SigningKey,
    moment: &mut Moment<R>,
) -> Result<Envelope, Refusal> {
    let now_ms = moment.now_ms;
    let draft = Draft {
        kind: Kind::Receipt,
        flags: Flags { sealed: false, receipt_wanted: false, priority: Priority::Normal },
        max_hops: RECEIPT_MAX_HOPS,
        ttl_secs: RECEIPT_TTL_SECS,
        created_ms: now_ms,
        nonce: moment.nonce(),
        destination: to.0,
        payload: Receipt { id, received_ms: now_ms }.encode().to_vec(),
    };
    draft.sign(key)
}

fn content(body: Vec<u8>, automatic: bool, reply_to: Option<MessageId>, reaction: bool) -> Result<Vec<u8>, ApiError> {
    let is_text = std::str::from_utf8(&body).is_ok();
    let kind = match (reaction, is_text) {
        (false, true) => KIND_TEXT,
        (false, false) => KIND_BYTES,
        (true, true) if reply_to.is_some() && body.len() <= MAX_REACTION_BYTES => KIND_REACTION,
        (true, _) => {
            let why = format!("a reaction is a text of at most {MAX_REACTION_BYTES} bytes to a message that it names");
            return Err(ApiError::new("bad-reaction", why));
        }
    };
    Ok(Content { automatic, kind, reply_to, body }.encode())
}

fn priority(number: Option<u8>) -> Result<Priority, ApiError> {
    let number = number.unwrap_or(Priority::Normal as u8);
    Priority::from_byte(number)
        .ok_or_else(|| ApiError::new("bad-priority", format!("a priority is 0 (low) to 3 (emergency), not {number}")))
}

/// What opens the mail of this node.
pub(crate) struct Opener<'a> {
    pub(crate) me: PeerId,
    pub(crate) channels: &'a Channels,
    pub(crate) sealing: &'a SealingKeys,
    pub(crate) directory: &'a Directory,
    pub(crate) desk: &'a Desk,
}

impl Opener<'_> {
    /// A stored message as its reader sees it. What can't be opened comes with the reason instead of a text.
    pub(crate) fn open(&self, record: &StoredRecord) -> Option<InboxItem> {
        let view = EnvelopeRef::parse(&record.wire, LARGEST_PAYLOAD).ok()?;
        let opened = self.content(view).and_then(|content| Ok((notice_of(&content)?, content)));
        let (notice, mut content, problem) = match opened {
            Ok((notice, content)) => (notice, content, None),
            Err(problem) => (None, Content::default(), Some(problem)),
        };
        if let Some(notice) = &notice {
            content.body = notice.text().as_bytes().to_vec();
        }
        let topic = view.topic().map(|topic| match self.channels.key(&topic) {
            Some(key) => key.name().to_owned(),
            None => topic.to_string(),
        });
        let sender = view.sender();
        Some(InboxItem {
            seq: record.head.seq,
            id: record.head.id,
            from: sender,
            from_name: self.directory.name_of(&sender).map(str::to_owned),
            topic,
            payload: content.body,
            sealed: view.flags().sealed,
            automatic: content.automatic,
            created_ms: view.created_ms(),
            received_ms: record.head.received_ms,
            expires_ms: view.expires_ms(),
            priority: record.head.priority as u8,
            hops: view.hop_count(),
            own: sender == self.me,
            problem,
            reply_to: content.reply_to,
            reaction: content.kind == KIND_REACTION,
            max_hops: view.max_hops(),
            notice: notice.map(|notice| self.desk.mark(&notice, view.topic())),
        })
    }

    fn content(&self, view: EnvelopeRef<'_>) -> Result<Content, String> {
        let opened = match (view.topic(), view.flags().sealed) {
            (Some(topic), _) => match self.channels.key(&topic) {
                Some(key) => key.open_payload(view).map_err(|error| error.to_string())?,
                None => return Err("the channel was left, and its key with it".to_owned()),
            },
            (None, true) => self.sealing.open_payload(view).map_err(|error| error.to_string())?,
            (None, false) => view.payload().to_vec(),
        };
        Content::decode(&opened).map_err(|error| error.to_string())
    }
}
