use sha2::{Digest, Sha256};

use super::{
    AAD_LEN, Aad, Flags, HEADER_LEN, Kind, LARGEST_PAYLOAD, MAX_CLOCK_SKEW_MS, MAX_TTL_SECS, OVERHEAD, Refusal,
    SIGNATURE_LEN, VERSION,
};
use crate::{MessageId, PeerId, TopicId};

/// An envelope read in place: whole and well-formed, its signature not yet checked. Reading it allocates nothing.
#[derive(Clone, Copy)]
pub struct EnvelopeRef<'a> {
    /// Has passed [`EnvelopeRef::parse`], so it holds a header, the payload that the header tells of, and the trailer.
    wire: &'a [u8],
    kind: Kind,
    flags: Flags,
}

impl<'a> EnvelopeRef<'a> {
    /// Reads an envelope that fills `bytes` exactly. `max_payload` is in bytes; [`LARGEST_PAYLOAD`] caps it.
    ///
    /// # Errors
    /// The version is looked at first, then kind, flags, payload length and total length.
    pub fn parse(bytes: &'a [u8], max_payload: usize) -> Result<Self, Refusal> {
        let have = bytes.len();
        let header: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or(Refusal::Length { have, need: OVERHEAD })?;
        let [version, kind, flags, ..] = *header;
        if version != VERSION {
            return Err(Refusal::Version(version));
        }
        let kind = Kind::from_byte(kind).ok_or(Refusal::Kind(kind))?;
        let flags = Flags::from_byte(flags).ok_or(Refusal::ReservedBits(flags))?;
        let len = payload_len(header);
        let max = max_payload.min(LARGEST_PAYLOAD);
        if len > max {
            return Err(Refusal::PayloadTooLarge { len, max });
        }
        let need = OVERHEAD + len;
        if have == need { Ok(Self { wire: bytes, kind, flags }) } else { Err(Refusal::Length { have, need }) }
    }

    /// An envelope whose bytes were parsed before, with that outcome.
    pub(super) fn parsed_before(wire: &'a [u8], kind: Kind, flags: Flags) -> Self {
        Self { wire, kind, flags }
    }

    /// How long the envelope is that begins with `prefix`, in bytes; `None` when `prefix` is shorter than a header.
    pub fn wire_len(prefix: &[u8]) -> Option<usize> {
        prefix.first_chunk().and_then(|header| payload_len(header).checked_add(OVERHEAD))
    }

    /// A field of the header. `OFFSET` and `N` are constants inside the header, so this cannot fail.
    fn field<const OFFSET: usize, const N: usize>(&self) -> [u8; N] {
        const { assert!(OFFSET + N <= HEADER_LEN) };
        let header = self.header();
        std::array::from_fn(|i| header[OFFSET + i])
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its flags.
    pub fn flags(&self) -> Flags {
        self.flags
    }

    /// How many links it may cross.
    pub fn max_hops(&self) -> u8 {
        self.header()[3]
    }

    /// How long it lives after its creation, in seconds.
    pub fn ttl_secs(&self) -> u32 {
        u32::from_be_bytes(self.field::<4, 4>())
    }

    /// When it was created by its sender's clock, Unix time in milliseconds.
    pub fn created_ms(&self) -> u64 {
        u64::from_be_bytes(self.field::<8, 8>())
    }

    /// Random bytes that make two equal messages differ.
    pub fn nonce(&self) -> [u8; 8] {
        self.field::<16, 8>()
    }

    /// Who signed it.
    pub fn sender(&self) -> PeerId {
        PeerId(self.field::<24, 32>())
    }

    /// The recipient's key or the topic id, as bytes.
    pub fn destination(&self) -> [u8; 32] {
        self.field::<56, 32>()
    }

    /// The recipient of a direct message or a receipt.
    pub fn recipient(&self) -> Option<PeerId> {
        (self.kind != Kind::Broadcast).then(|| PeerId(self.destination()))
    }

    /// The topic of a broadcast.
    pub fn topic(&self) -> Option<TopicId> {
        (self.kind == Kind::Broadcast).then(|| TopicId(self.destination()))
    }

    /// The payload as it travels.
    pub fn payload(&self) -> &'a [u8] {
        self.signed().get(HEADER_LEN..).unwrap_or_default()
    }

    /// The signature. See [`crate::signature::Verifier::check`].
    pub fn signature(&self) -> &'a [u8; SIGNATURE_LEN] {
        self.wire.split_last().and_then(|(_, rest)| rest.last_chunk()).unwrap_or(&[0; SIGNATURE_LEN])
    }

    /// How many links it has crossed, as the relays say: not signed, so good for nothing but dropping it.
    pub fn hop_count(&self) -> u8 {
        self.wire.last().copied().unwrap_or(u8::MAX)
    }

    /// The bytes that the signature covers (after the domain): header and payload.
    pub fn signed(&self) -> &'a [u8] {
        self.wire.get(..self.wire.len().saturating_sub(SIGNATURE_LEN + 1)).unwrap_or_default()
    }

    /// The whole envelope.
    pub fn wire(&self) -> &'a [u8] {
        self.wire
    }

    /// The header.
    pub fn header(&self) -> &'a [u8; HEADER_LEN] {
        self.wire.first_chunk().unwrap_or(&[0; HEADER_LEN])
    }

    /// The part of the header that a sealed payload is bound to.
    pub fn aad(&self) -> Aad {
        self.field::<0, AAD_LEN>()
    }

    /// The message's id: SHA-256 of header and payload. The signature is left out, so a re-made signature is no new message.
    pub fn id(&self) -> MessageId {
        MessageId(Sha256::digest(self.signed()).into())
    }

    /// When it dies, Unix time in milliseconds.
    pub fn expires_ms(&self) -> u64 {
        self.created_ms().saturating_add(u64::from(self.ttl_secs()) * 1000)
    }

    /// Checks its times against our clock (Unix time in milliseconds).
    ///
    /// # Errors
    /// When it wants to live too long, comes from the future, or has expired.
    pub fn check_times(&self, now_ms: u64) -> Result<(), Refusal> {
        let ttl_secs = self.ttl_secs();
        if ttl_secs > MAX_TTL_SECS {
            return Err(Refusal::TtlTooLong { ttl_secs });
        }
        let ahead_ms = self.created_ms().saturating_sub(now_ms);
        if ahead_ms > MAX_CLOCK_SKEW_MS {
            return Err(Refusal::FromTheFuture { ahead_ms });
        }
        let expires_ms = self.expires_ms();
        if expires_ms <= now_ms {
            return Err(Refusal::Expired { expires_ms });
        }
        Ok(())
    }

    /// Checks that it has not crossed too many links.
    ///
    /// # Errors
    /// When its hop count has reached what its sender allowed.
    pub fn check_hops(&self) -> Result<(), Refusal> {
        let (hop_count, max_hops) = (self.hop_count(), self.max_hops());
        if hop_count < max_hops { Ok(()) } else { Err(Refusal::Hops { hop_count, max_hops }) }
    }
}

impl std::fmt::Debug for EnvelopeRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Envelope")
            .field("id", &self.id())
            .field("kind", &self.kind)
            .field("sender", &self.sender())
            .field("payload_len", &self.payload().len())
            .finish_non_exhaustive()
    }
}

fn payload_len(header: &[u8; HEADER_LEN]) -> usize {
    let [.., a, b, c, d] = *header;
    usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX)
}
