//! Emergencies: what goes before everything else, once enough admins have signed it.
//!
//! Anybody can mark an envelope as an emergency. It counts as one only if it is a broadcast on the channel for emergencies
//! and holds a notice with the signatures of enough of the admins that this node's configuration names, dies when the notice
//! is over, and may go as far as any. Everything else that is marked so counts as high. The rules stand in
//! `host/docs/emergency.md`.

use std::collections::{BTreeMap, BTreeSet};

use qpq_schemas::channel::{CHANNEL_OVERHEAD, ChannelKey};
use qpq_schemas::content::{CONTENT_HEADER_LEN, Content, KIND_NOTICE};
use qpq_schemas::emergency::{MAX_NOTICE_BYTES, Notice};
use qpq_schemas::envelope::{EnvelopeRef, Kind, Priority};
use qpq_schemas::{MessageId, PeerId};

use super::Core;
use super::intake::Candidate;
use super::quota::{Limit, Quota};

/// Notices without a quorum that one neighbour may have looked at in a minute. One costs a check of a signature, as its
/// envelope did: 100 a second are less than a hundredth of a core's time. Lower, and who floods the mesh with made-up notices
/// would use up what honest neighbours may have looked at.
const CHECKS_PER_MINUTE: u64 = 6_000;
/// Neighbours whose checks are counted at a time.
const MAX_COUNTED: usize = 1_024;
/// Envelopes with the same notice that count as an emergency. Who has a notice can send it again and again; a few times is
/// for those who publish it at two places at once.
const COPIES: usize = 3;
/// How much sooner than its notice an envelope may be over, in milliseconds: a life is a whole number of seconds. A notice is
/// no secret, and copies of it that die at once shall not use up the few that count.
const SOONER_MS: u64 = 2_000;
/// Links that an envelope must still be free to cross: more than any mesh is wide. For the same reason: a copy that ends here
/// shall not stand for one that goes on.
const LINKS_LEFT: u8 = 64;
/// Notices that are remembered. Those that are over first go.
const MAX_NOTICES: usize = 256;

/// Who can proclaim an emergency.
#[derive(Debug, Clone)]
pub struct EmergencyPolicy {
    /// The admins' keys.
    pub admins: BTreeSet<PeerId>,
    /// How many of them must have signed, at least 1.
    pub quorum: usize,
    /// The open channel for it.
    pub channel: ChannelKey,
}

/// What is known of emergencies.
#[derive(Debug)]
pub(super) struct Emergency {
    policy: Option<EmergencyPolicy>,
    /// Notices with a quorum, by digest: when they are over, and the first envelopes that held them.
    notices: BTreeMap<[u8; 32], (u64, Vec<MessageId>)>,
    checks: BTreeMap<PeerId, Quota>,
}

impl Emergency {
    pub(super) fn new(policy: Option<EmergencyPolicy>) -> Self {
        let policy = policy.filter(|policy| policy.quorum > 0 && policy.admins.len() >= policy.quorum);
        Self { policy, notices: BTreeMap::new(), checks: BTreeMap::new() }
    }

    fn check(&mut self, view: EnvelopeRef<'_>, id: MessageId, source: PeerId, now_ms: u64) -> Standing {
        let Self { policy, notices, checks } = self;
        let Some((policy, notice)) = policy.as_ref().and_then(|policy| Some((policy, notice_in(view, policy)?))) else {
            return Standing::None;
        };
        let digest = notice.digest();
        match notices.get(&digest) {
            Some((_, copies)) if copies.contains(&id) => return Standing::Proven,
            Some((_, copies)) if copies.len() >= COPIES => return Standing::Repeated,
            _ => {}
        }
        if checks.len() >= MAX_COUNTED && !checks.contains_key(&source) {
            checks.pop_first(); // a full bucket is the worst that follows
        }
        let limit = Limit { messages_per_minute: CHECKS_PER_MINUTE, bytes_per_minute: u64::MAX };
        let used = checks.entry(source).or_insert_with(|| Quota::new(limit, now_ms));
        if used.take(0, now_ms).is_err() {
            return Standing::Unchecked;
        }
        if !notice.has_quorum(|key| policy.admins.contains(key), policy.quorum) {
            return Standing::Few;
        }
        used.give_back(0); // a true one costs nobody anything
        notices.retain(|_, (until_ms, _)| *until_ms > now_ms);
        if notices.len() >= MAX_NOTICES {
            let first = notices.iter().min_by_key(|(_, (until_ms, _))| *until_ms).map(|(digest, _)| *digest);
            first.and_then(|digest| notices.remove(&digest));
        }
        notices.entry(digest).or_insert_with(|| (notice.until_ms(), Vec::new())).1.push(id);
        Standing::Proven
    }
}

/// The notice in an envelope, if it may be an emergency; nothing of it is proven yet.
fn notice_in(view: EnvelopeRef<'_>, policy: &EmergencyPolicy) -> Option<Notice> {
    let topic = policy.channel.topic_id();
    let goes_on = view.max_hops() == u8::MAX && view.hop_count() <= u8::MAX - LINKS_LEFT;
    let fits = view.kind() == Kind::Broadcast
        && view.flags().priority == Priority::Emergency
        && view.destination() == topic.0
        && goes_on
        && view.payload().len() <= CHANNEL_OVERHEAD + CONTENT_HEADER_LEN + MAX_NOTICE_BYTES;
    let content = fits.then(|| policy.channel.open_payload(view).ok()).flatten()?;
    let content = Content::decode(&content).ok().filter(|content| content.kind == KIND_NOTICE)?;
    let notice = Notice::decode(&content.body).ok()?;
    let life = notice.until_ms().saturating_sub(SOONER_MS)..=notice.until_ms();
    (notice.topic() == topic && life.contains(&view.expires_ms())).then_some(notice)
}

/// What a look at an envelope came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It holds no notice of the channel for emergencies, or lives shorter or longer than that, or goes less far than it must.
    None,
    /// Enough admins have signed.
    Proven,
    /// Too few have.
    Few,
    /// Enough have, and it has been here often enough.
    Repeated,
    /// Whoever brought it has brought too many without a quorum.
    Unchecked,
}

impl Core {
    /// Whether an envelope goes before all others.
    pub(super) fn is_emergency(&mut self, candidate: &Candidate, now_ms: u64) -> bool {
        let view = candidate.envelope.view();
        if view.flags().priority != Priority::Emergency {
            return false;
        }
        let source = candidate.source.unwrap_or(self.config.me);
        let standing = self.emergency.check(view, candidate.id, source, now_ms);
        self.count(match standing {
            Standing::Proven => "emergency",
            Standing::None => "emergency-without-notice",
            Standing::Few => "emergency-without-quorum",
            Standing::Repeated => "emergency-repeated",
            Standing::Unchecked => "emergency-unchecked",
        });
        standing == Standing::Proven
    }
}
