//! What became of a message, for people.

use qpq_schemas::envelope::Kind;
use qpq_schemas::{MessageId, PeerId, TopicId};

use super::Door;
use crate::api::{ApiError, HopInfo, QueuePage, QueueQuery, QueuedItem, RefusedInfo, WaitInfo, WhyReport};
use crate::core::why::{Beginning, Hop, HopState, MIN_DIGITS, Trace, Wait};
use crate::core::{Core, Refused};
use crate::identity::Directory;
use crate::store::{End, Fate, Head, KeyPrefix, Origin, Places, SeenState, prefix};

/// Messages in a page of a queue when no number is named.
const DEFAULT_LIMIT: u32 = 100;
/// Messages in a page of a queue at most.
const MAX_LIMIT: u32 = 1_000;

impl Door {
    pub(super) async fn explain(self, text: String) -> Result<WhyReport, ApiError> {
        let text = text.trim().to_ascii_lowercase();
        let beginning = Beginning::parse(&text).ok_or_else(|| {
            let shown: String = text.chars().take(80).collect();
            let why = format!(
                "`{shown}` is no message id; it has 64 hex digits, of which at least {MIN_DIGITS} must be given"
            );
            ApiError::new("bad-id", why)
        })?;
        let Some(id) = self.find_message(beginning).await? else {
            return Ok(WhyReport { id: text, state: "unknown".to_owned(), ..WhyReport::default() });
        };
        let trace = self.shared.look(move |core, now_ms| core.trace(&id, now_ms)).await?;
        let channels = self.shared.channels();
        let topic =
            |topic: &TopicId| channels.key(topic).map_or_else(|| topic.to_string(), |key| key.name().to_owned());
        let directory = self.shared.directory();
        let teller = Teller { directory: &directory, topic: &topic };
        Ok(teller.report(&id, &trace))
    }

    /// The one message whose id begins so. Looks at a bounded number of ids at a time, so that it holds nothing up.
    async fn find_message(&self, beginning: Beginning) -> Result<Option<MessageId>, ApiError> {
        if let Some(id) = beginning.whole() {
            return Ok(Some(id));
        }
        let mut found: Vec<MessageId> = Vec::new();
        let mut place = Some(0);
        while let Some(from) = place {
            let wanted = beginning.clone();
            let (ids, next) = self.shared.ask(move |core: &Core| core.search(&wanted, from)).await?;
            found.extend(ids);
            place = next;
        }
        found.sort_unstable();
        found.dedup();
        match found.as_slice() {
            [] => Ok(None),
            [id] => Ok(Some(*id)),
            several => {
                let some: Vec<String> = several.iter().take(4).map(ToString::to_string).collect();
                let text = format!("{} messages begin so; give more digits: {}", several.len(), some.join(", "));
                Err(ApiError::new("ambiguous-id", text))
            }
        }
    }

    pub(super) async fn queue_of(self, query: QueueQuery) -> Result<QueuePage, ApiError> {
        let recipient = self.resolve(&query.recipient)?;
        let limit = if query.limit == 0 { DEFAULT_LIMIT } else { query.limit.min(MAX_LIMIT) } as usize;
        let after = usize::try_from(query.after).unwrap_or(usize::MAX);
        let look = move |core: &Core| {
            (core.queue_page(&recipient, after, limit), core.shelf().waiting_for(&recipient), core.recipient_quota())
        };
        let (waiting, (messages, bytes), (max_messages, max_bytes)) = self.shared.ask(look).await?;
        let directory = self.shared.directory();
        let name = |peer: &PeerId| directory.name_of(peer).map(str::to_owned);
        let item = |head: &Head| QueuedItem {
            id: head.id,
            from: head.sender,
            from_name: name(&head.sender),
            priority: head.priority as u8,
            bytes: head.wire_len.into(),
            created_ms: head.created_ms,
            received_ms: head.received_ms,
            expires_ms: head.expires_ms,
            source: head.source,
        };
        let items = waiting.iter().map(|(_, head)| item(head)).collect();
        Ok(QueuePage { recipient, nickname: name(&recipient), messages, bytes, max_messages, max_bytes, items })
    }
}

/// Puts what the core knows into words for programs.
struct Teller<'a> {
    directory: &'a Directory,
    topic: &'a dyn Fn(&TopicId) -> String,
}

impl Teller<'_> {
    fn report(&self, id: &MessageId, trace: &Trace) -> WhyReport {
        let mut report = WhyReport { id: id.to_string(), state: "unknown".to_owned(), ..WhyReport::default() };
        report.refused = trace.refused.as_ref().map(|refused| self.refused(refused));
        if report.refused.is_some() {
            report.state = "refused".to_owned();
        }
        if let Some(seen) = &trace.seen {
            report.remembered_ms = Some(seen.expires_ms);
            self.gone(&mut report, &seen.state, &seen.fate);
        }
        if let Some(head) = &trace.held {
            self.held(&mut report, head);
            report.inbox = trace.read.map(|read| if read { "read" } else { "unread" }.to_owned());
            report.wait = trace.wait.as_ref().map(|wait| self.wait(wait));
        }
        if trace.pending {
            report.state = "writing".to_owned();
        }
        report
    }

    fn held(&self, report: &mut WhyReport, head: &Head) {
        let state = match head.places {
            places if places.has(Places::WAITING) => "waiting",
            places if places.has(Places::INBOX) => "inbox",
            _ => "history",
        };
        report.state = state.to_owned();
        let kind = match head.kind {
            Kind::Direct => "direct",
            Kind::Broadcast => "broadcast",
            Kind::Receipt => "receipt",
        };
        report.kind = Some(kind.to_owned());
        report.own = head.source.is_none();
        (report.from, report.from_name) = (Some(head.sender), self.name(&head.sender));
        if head.kind == Kind::Broadcast {
            report.topic = Some((self.topic)(&TopicId(head.destination)));
        } else {
            (report.to, report.to_name) = self.who(&prefix(&head.destination), Some(PeerId(head.destination)));
        }
        if let Some(source) = head.source {
            (report.source, report.source_name) = self.who(&prefix(&source.0), Some(source));
        }
        report.created_ms = Some(head.created_ms);
        report.received_ms = Some(head.received_ms);
        report.expires_ms = Some(head.expires_ms);
    }

    fn gone(&self, report: &mut WhyReport, state: &SeenState, fate: &Fate) {
        let (word, how) = match (fate.end, state) {
            (End::Custody, _) => ("custody", None),
            (End::Taken, _) => ("delivered", Some("link")),
            (End::Receipt, _) => ("delivered", Some("receipt")),
            (End::Collected, _) => ("delivered", Some("mailbox")),
            (End::Used, _) => ("used", None),
            (End::Expired, _) => ("expired", None),
            (End::Evicted(_), SeenState::Delivered) => ("evicted", Some("inbox")),
            (End::Evicted(_), _) => ("evicted", None),
            (End::Unknown, SeenState::Delivered) => ("delivered", Some("unknown")),
            (End::Unknown, _) => ("gone", None),
        };
        report.state = word.to_owned();
        report.how = how.map(str::to_owned);
        if let End::Evicted(quota) = fate.end {
            report.quota = Some(quota.name().to_owned());
        }
        report.at_ms = (fate.at_ms > 0).then_some(fate.at_ms);
        (report.by, report.by_name) = self.who(&fate.by, None);
        match fate.origin {
            Origin::Here(to) => {
                report.own = true;
                (report.to, report.to_name) = self.who(&to, None);
            }
            Origin::Neighbour(source) => (report.source, report.source_name) = self.who(&source, None),
            Origin::Unknown => {}
        }
    }

    fn wait(&self, wait: &Wait) -> WaitInfo {
        WaitInfo {
            place: wait.place,
            queue: wait.queue,
            mailbox: wait.mailbox,
            known: wait.known,
            hops: wait.hops.iter().map(|hop| self.hop(hop)).collect(),
            next_ms: wait.next_ms,
        }
    }

    fn hop(&self, hop: &Hop) -> HopInfo {
        let (state, since_ms, until_ms, verdict) = match hop.state {
            HopState::Offered(since) => ("offered", Some(since), None, None),
            HopState::Declined(verdict, until) => ("declined", None, Some(until), Some(verdict.code().to_owned())),
            HopState::Copied(until) => ("copied", None, Some(until), None),
            HopState::Brought(until) => ("brought", None, Some(until), None),
            HopState::Full => ("full", None, None, None),
            HopState::Elsewhere => ("elsewhere", None, None, None),
            HopState::Kept => ("kept", None, None, None),
            HopState::Next => ("next", None, None, None),
        };
        let nickname = self.name(&hop.peer);
        HopInfo { peer: hop.peer, nickname, state: state.to_owned(), since_ms, until_ms, verdict }
    }

    fn refused(&self, refused: &Refused) -> RefusedInfo {
        let source_name = refused.source.and_then(|peer| self.name(&peer));
        RefusedInfo { code: refused.code.to_owned(), at_ms: refused.at_ms, source: refused.source, source_name }
    }

    fn name(&self, peer: &PeerId) -> Option<String> {
        self.directory.name_of(peer).map(str::to_owned)
    }

    /// A key that is known in full, or that the directory has; else its first digits. Nothing for nobody.
    fn who(&self, beginning: &KeyPrefix, whole: Option<PeerId>) -> (Option<String>, Option<String>) {
        if *beginning == [0; 8] && whole.is_none() {
            return (None, None);
        }
        let begins = |peer: &&PeerId| peer.0.starts_with(beginning);
        let found = whole.or_else(|| self.directory.entries().map(|(peer, _)| peer).find(begins).copied());
        match found {
            Some(peer) => (Some(peer.to_string()), self.name(&peer)),
            None => (Some(beginning.iter().map(|byte| format!("{byte:02x}")).collect()), None),
        }
    }
}
