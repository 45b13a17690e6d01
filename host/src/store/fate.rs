//! What became of a message that is no longer held, as far as this node knows.

use serde::{Deserialize, Serialize};

/// The first bytes of a peer's key, by which it is remembered after a message has gone; zeros stand for nobody.
pub type KeyPrefix = [u8; 8];

/// The bound that a message met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Quota {
    /// What may wait for one recipient.
    Recipient = 0,
    /// One sender's share of what may wait for one recipient.
    SenderShare = 1,
    /// What may wait of one sender, for all recipients.
    Sender = 2,
    /// Broadcasts kept of one topic.
    Topic = 3,
    /// One sender's share of a topic.
    TopicShare = 4,
    /// This node's inbox.
    Inbox = 5,
    /// One sender's share of the inbox.
    InboxShare = 6,
    /// Everything kept here.
    Total = 7,
    /// What one neighbour may bring in a minute.
    Link = 8,
    /// What may be checked and written at a time.
    Pending = 9,
}

impl Quota {
    /// Every one, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Recipient,
        Self::SenderShare,
        Self::Sender,
        Self::Topic,
        Self::TopicShare,
        Self::Inbox,
        Self::InboxShare,
        Self::Total,
        Self::Link,
        Self::Pending,
    ];

    /// Its name for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Recipient => "recipient",
            Self::SenderShare => "sender-share",
            Self::Sender => "sender",
            Self::Topic => "topic",
            Self::TopicShare => "topic-share",
            Self::Inbox => "inbox",
            Self::InboxShare => "inbox-share",
            Self::Total => "total",
            Self::Link => "link",
            Self::Pending => "pending",
        }
    }
}

/// How a message's stay here ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum End {
    /// Nobody noted it: it was before this was kept, or the state alone says all.
    #[default]
    Unknown,
    /// A neighbour that leads to its recipient has it in custody.
    Custody,
    /// Its recipient took it over our link.
    Taken,
    /// Its recipient's signed receipt came.
    Receipt,
    /// The holder of a mailbox here has fetched it.
    Collected,
    /// It was a receipt for this node, and has been read.
    Used,
    /// Its time was over.
    Expired,
    /// It made room.
    Evicted(Quota),
}

/// From here on the numbers on disk are those of [`End::Evicted`].
const EVICTED: u8 = 16;

impl End {
    /// Its number on disk.
    pub fn number(self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Custody => 1,
            Self::Taken => 2,
            Self::Receipt => 3,
            Self::Collected => 4,
            Self::Used => 5,
            Self::Expired => 6,
            Self::Evicted(quota) => EVICTED + quota as u8,
        }
    }

    /// The end with that number; one that a newer program wrote counts as not known.
    pub fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Custody,
            2 => Self::Taken,
            3 => Self::Receipt,
            4 => Self::Collected,
            5 => Self::Used,
            6 => Self::Expired,
            EVICTED.. => {
                Quota::ALL.get(usize::from(number - EVICTED)).map_or(Self::Unknown, |quota| Self::Evicted(*quota))
            }
            _ => Self::Unknown,
        }
    }
}

/// Where a message came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Origin {
    /// Not noted.
    #[default]
    Unknown,
    /// That neighbour brought it; this node's own key when it came out of a file.
    Neighbour(KeyPrefix),
    /// It was handed in here, for that recipient or topic.
    Here(KeyPrefix),
}

/// What is remembered of a message's way besides its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Fate {
    /// How its stay ended.
    pub end: End,
    /// Who has it now, or had it when it was dropped here.
    pub by: KeyPrefix,
    /// When, Unix time in milliseconds (kept to the second); 0 when it was not noted.
    pub at_ms: u64,
    /// Where it came from.
    pub origin: Origin,
}

impl Fate {
    /// An end at that time, by nobody in particular.
    pub fn new(end: End, at_ms: u64) -> Self {
        Self { end, at_ms, ..Self::default() }
    }

    /// The same, with who has the message.
    pub fn by(self, key: &[u8; 32]) -> Self {
        Self { by: prefix(key), ..self }
    }
}

/// The part of a key that is remembered.
pub fn prefix(key: &[u8; 32]) -> KeyPrefix {
    key.first_chunk().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_comes_back_from_its_number() {
        let plain = [End::Unknown, End::Custody, End::Taken, End::Receipt, End::Collected, End::Used, End::Expired];
        for end in plain.into_iter().chain(Quota::ALL.map(End::Evicted)) {
            assert_eq!(End::from_number(end.number()), end);
        }
        assert_eq!(End::from_number(255), End::Unknown, "a newer program's");
    }
}
