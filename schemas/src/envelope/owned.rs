use bytes::Bytes;

use super::{EnvelopeRef, Flags, Kind, Refusal};
use crate::MessageId;

/// An envelope that owns its bytes. A clone shares them. Its id is computed once.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    wire: Bytes,
    kind: Kind,
    flags: Flags,
    id: MessageId,
}

impl Envelope {
    /// Takes over an envelope in wire form. The signature is not checked.
    ///
    /// # Errors
    /// As [`EnvelopeRef::parse`].
    pub fn from_wire(wire: Bytes, max_payload: usize) -> Result<Self, Refusal> {
        let view = EnvelopeRef::parse(&wire, max_payload)?;
        let (kind, flags, id) = (view.kind(), view.flags(), view.id());
        Ok(Self { wire, kind, flags, id })
    }

    /// Reads it.
    pub fn view(&self) -> EnvelopeRef<'_> {
        EnvelopeRef::parsed_before(&self.wire, self.kind, self.flags)
    }

    /// The bytes.
    pub fn wire(&self) -> &Bytes {
        &self.wire
    }

    /// The message's id.
    pub fn id(&self) -> MessageId {
        self.id
    }

    /// A copy that says it has crossed so many links.
    #[must_use]
    pub fn with_hop_count(&self, hop_count: u8) -> Self {
        let mut wire = self.wire.to_vec();
        if let Some(last) = wire.last_mut() {
            *last = hop_count;
        }
        Self { wire: wire.into(), ..*self }
    }
}

impl std::fmt::Debug for Envelope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.view().fmt(f)
    }
}
