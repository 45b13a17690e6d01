//! What became of a message, as far as this node knows. Looks only; changes nothing.

use qpq_schemas::link::Verdict;
use qpq_schemas::{MessageId, PeerId};

use super::custody::ANSWER_TIMEOUT_MS;
use super::intake::REACCEPT_AFTER_MS;
use super::refusals::Refused;
use super::shelf::Waiting;
use super::{Core, LinkId};
use crate::store::{Head, Places, SeenEntry};

/// Slots that one step of a search looks at, so that it holds nothing up: about a millisecond.
pub const SEARCH_STEP: u32 = 65_536;

/// Digits of an id that must be given at least.
pub const MIN_DIGITS: usize = 8;

/// Ids that a search returns at most.
const MAX_FOUND: usize = 16;

/// The beginning of a message id, in hex digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    bytes: Vec<u8>,
    half: Option<u8>,
}

impl Beginning {
    /// Reads [`MIN_DIGITS`] to 64 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: Vec<u8> =
            text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect::<Option<_>>()?;
        if digits.len() < MIN_DIGITS || digits.len() > 64 {
            return None;
        }
        let pairs = digits.chunks_exact(2);
        let half = pairs.remainder().first().copied();
        Some(Self { bytes: pairs.map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect(), half })
    }

    /// The id itself, when all digits are there.
    pub fn whole(&self) -> Option<MessageId> {
        self.bytes.as_slice().try_into().ok().map(MessageId)
    }

    /// Whether an id begins so.
    pub fn begins(&self, id: &MessageId) -> bool {
        let half = self.half.is_none_or(|half| id.0.get(self.bytes.len()).is_some_and(|byte| byte >> 4 == half));
        half && id.0.starts_with(&self.bytes)
    }
}

/// All that is known of a message here.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// It is being checked or written.
    pub pending: bool,
    /// It is held here.
    pub held: Option<Head>,
    /// It waits for its recipient or the next hop.
    pub wait: Option<Wait>,
    /// It stands in the inbox; whether its user has read so far.
    pub read: Option<bool>,
    /// It was here.
    pub seen: Option<SeenEntry>,
    /// It was not taken.
    pub refused: Option<Refused>,
}

/// How a message waits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wait {
    /// Its place in its recipient's queue, counted from 1.
    pub place: u64,
    /// Messages in that queue.
    pub queue: u64,
    /// Its recipient has a mailbox here, and fetches it.
    pub mailbox: bool,
    /// The router knows a way.
    pub known: bool,
    /// How it stands with each neighbour that is a way, or was offered it.
    pub hops: Vec<Hop>,
    /// When it is offered next, Unix time in milliseconds; none while no way is known at all.
    pub next_ms: Option<u64>,
}

/// How a waiting message stands with one neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    /// The neighbour.
    pub peer: PeerId,
    /// How it stands.
    pub state: HopState,
}

/// How a waiting message stands with a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HopState {
    /// It was offered then, and no answer came yet.
    Offered(u64),
    /// The neighbour did not take it, and is offered it again at that time.
    Declined(Verdict, u64),
    /// The neighbour holds a copy, and is offered it again at that time.
    Copied(u64),
    /// It came from there, so it isn't offered back before that time.
    Brought(u64),
    /// What is under way to that neighbour fills what may be.
    Full,
    /// It is under way to another neighbour.
    Elsewhere,
    /// It must not go to that neighbour's domain.
    Kept,
    /// It is its turn soon.
    Next,
}

impl HopState {
    /// When it is offered there again.
    fn next_ms(self, now_ms: u64) -> Option<u64> {
        match self {
            Self::Offered(since) => Some(since + ANSWER_TIMEOUT_MS),
            Self::Declined(_, at) | Self::Copied(at) | Self::Brought(at) => Some(at),
            Self::Full | Self::Next => Some(now_ms),
            Self::Elsewhere | Self::Kept => None,
        }
    }
}

impl Core {
    /// What is known of a message. Asks the router for a way, as for an offer.
    pub fn trace(&mut self, id: &MessageId, now_ms: u64) -> Trace {
        let held = self.shelf.get(id);
        let pending = self.pending.contains_key(id);
        let inbox = held.filter(|head| head.places.has(Places::INBOX));
        let waits = held.filter(|head| head.places.has(Places::WAITING) && !pending);
        Trace {
            pending,
            wait: waits.map(|head| self.wait_of(&head, now_ms)),
            read: inbox.map(|head| self.shelf.is_read(head.seq)),
            seen: held.is_none().then(|| self.shelf.seen_entry(id)).flatten(),
            refused: self.refusals.get(id),
            held,
        }
    }

    /// Ids that begin so, of all that is held or remembered here, from a place on: at most a few. And the place to go on from, if
    /// there is more. The place 0 is the beginning.
    pub fn search(&self, beginning: &Beginning, place: u64) -> (Vec<MessageId>, Option<u64>) {
        let (ids, next) = self.shelf.search(|id| beginning.begins(id), place, SEARCH_STEP);
        let mut found: Vec<MessageId> = ids.into_iter().take(MAX_FOUND).collect();
        if place == 0 {
            let others = self.refusals.ids().chain(self.pending.keys()).filter(|id| beginning.begins(id));
            found.extend(others.take(MAX_FOUND).copied());
        }
        (found, next)
    }

    fn wait_of(&mut self, head: &Head, now_ms: u64) -> Wait {
        let recipient = PeerId(head.destination);
        let before = self.shelf.queue(&recipient).take_while(|waiting| waiting.id != head.id).count() as u64;
        let (links, known) = self.ways(recipient, now_ms);
        let hops: Vec<Hop> = self.hops(head, &links, known, now_ms);
        let next_ms = hops.iter().filter_map(|hop| hop.state.next_ms(now_ms)).min().map(|at| at.max(now_ms));
        Wait {
            place: before + 1,
            queue: self.shelf.waiting_for(&recipient).0,
            mailbox: self.mailboxes.contains(&recipient),
            known,
            next_ms: next_ms.filter(|_| !links.is_empty()),
            hops,
        }
    }

    /// How it stands with each neighbour that is a way, and with those that hold a copy or were offered it.
    fn hops(&self, head: &Head, ways: &[LinkId], known: bool, now_ms: u64) -> Vec<Hop> {
        let mut hops = Vec::new();
        for (peer, link) in self.preferred_links() {
            let way = ways.contains(&link);
            let Some(neighbour) = self.neighbours.get(&peer) else { continue };
            let on_any = neighbour.links().filter_map(|link| self.links.get(link)?.in_flight.get(&head.id));
            let offered = on_any.map(|flight| flight.since_ms).min();
            let declined = neighbour.declined.get(&head.id).filter(|declined| declined.until_ms > now_ms);
            let copied = neighbour.copied.get(&head.id).copied();
            let brought = head.received_ms + REACCEPT_AFTER_MS;
            let state = match (offered, declined, copied) {
                (Some(since), _, _) => HopState::Offered(since),
                (None, Some(declined), _) => HopState::Declined(declined.verdict, declined.until_ms),
                (None, None, Some(at)) => HopState::Copied(at),
                _ if !way => continue,
                _ if head.source == Some(peer) && now_ms < brought => HopState::Brought(brought),
                _ if !self.may_leave(link, &head.id) => HopState::Kept,
                _ if known && self.flying.contains_key(&head.id) => HopState::Elsewhere,
                _ if self.room(link) == 0 => HopState::Full,
                _ => HopState::Next,
            };
            hops.push(Hop { peer, state });
        }
        hops
    }

    /// What waits for a recipient behind a place in its queue, counted from 0: at most `limit` messages.
    pub fn queue_page(&self, recipient: &PeerId, after: usize, limit: usize) -> Vec<(Waiting, Head)> {
        let queue = self.shelf.queue(recipient).skip(after).take(limit);
        queue.filter_map(|waiting| Some((waiting, self.shelf.get(&waiting.id)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_by_its_beginning_of_eight_digits_or_more() {
        let id = MessageId([0xab; 32]);
        for digits in [8, 9, 63, 64] {
            let beginning = Beginning::parse(&"ab".repeat(32)[..digits]).unwrap();
            assert!(beginning.begins(&id), "{digits}");
            assert_eq!(beginning.whole(), (digits == 64).then_some(id));
        }
        assert!(!Beginning::parse("ababababb").unwrap().begins(&id));
        for bad in ["", "abababa", "abababag", &"ab".repeat(33), "äbababab"] {
            assert_eq!(Beginning::parse(bad), None, "{bad}");
        }
    }
}
