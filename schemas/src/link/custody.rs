use crate::MessageId;

/// Bytes of an answer on the wire.
pub(super) const ANSWER_LEN: usize = 35;

/// What became of an envelope that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Verdict {
    /// Durable here, or delivered here: the offerer may drop its copy.
    Stored = 0,
    /// Known here, but no longer held: the offerer keeps its copy.
    Seen = 1,
    /// The recipient's quota here is used up.
    RecipientFull = 2,
    /// The sender's quota here is used up.
    SenderFull = 3,
    /// The store is full, or takes nothing at the moment.
    RelayFull = 4,
    /// Its time to live is over.
    TooOld = 5,
    /// Its payload is over the limit here.
    TooLarge = 6,
    /// It has crossed too many links.
    Hops = 7,
    /// Not taken for another reason: bad signature, blocked sender, clock.
    Refused = 8,
}

impl Verdict {
    /// The verdict of that byte.
    pub const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Stored,
            1 => Self::Seen,
            2 => Self::RecipientFull,
            3 => Self::SenderFull,
            4 => Self::RelayFull,
            5 => Self::TooOld,
            6 => Self::TooLarge,
            7 => Self::Hops,
            8 => Self::Refused,
            _ => return None,
        })
    }

    /// A stable word for counters and programs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Seen => "seen",
            Self::RecipientFull => "recipient-full",
            Self::SenderFull => "sender-full",
            Self::RelayFull => "relay-full",
            Self::TooOld => "too-old",
            Self::TooLarge => "too-large",
            Self::Hops => "hops",
            Self::Refused => "refused",
        }
    }
}

/// The answer to one envelope of an ENVELOPES frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Which message.
    pub id: MessageId,
    /// What became of it.
    pub verdict: Verdict,
    /// When to offer it again, in seconds; 0 says nothing.
    pub retry_after_secs: u16,
}

impl Answer {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id.0);
        out.push(self.verdict as u8);
        out.extend_from_slice(&self.retry_after_secs.to_be_bytes());
    }

    pub(super) fn read(bytes: &[u8; ANSWER_LEN]) -> Option<Self> {
        let mut reader = crate::wire::Reader::new(bytes);
        Some(Self {
            id: MessageId(reader.array()?),
            verdict: Verdict::from_byte(reader.u8()?)?,
            retry_after_secs: reader.u16()?,
        })
    }
}
