use super::{AAD_LEN, Aad, Envelope, Flags, HEADER_LEN, Kind, LARGEST_PAYLOAD, OVERHEAD, Refusal, VERSION};
use crate::PeerId;
use crate::signature::{Domain, SigningKey};

/// An envelope that is not yet signed. Fill the header, seal the payload against [`Draft::aad`], then sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// What it is.
    pub kind: Kind,
    /// Its flags.
    pub flags: Flags,
    /// How many links it may cross.
    pub max_hops: u8,
    /// How long it lives, in seconds.
    pub ttl_secs: u32,
    /// When it is created, Unix time in milliseconds.
    pub created_ms: u64,
    /// Random bytes, fresh for each envelope: a channel's one-message key depends on them.
    pub nonce: [u8; 8],
    /// The recipient's key or the topic id.
    pub destination: [u8; 32],
    /// The payload as it shall travel.
    pub payload: Vec<u8>,
}

impl Draft {
    /// The part of the header that the payload is sealed against. The payload is not part of it, all other fields are.
    pub fn aad(&self, sender: PeerId) -> Aad {
        let mut aad: Aad = [0; AAD_LEN];
        let fields: [&[u8]; 6] = [
            &[VERSION, self.kind as u8, self.flags.to_byte(), self.max_hops],
            &self.ttl_secs.to_be_bytes(),
            &self.created_ms.to_be_bytes(),
            &self.nonce,
            &sender.0,
            &self.destination,
        ];
        for (to, from) in aad.iter_mut().zip(fields.concat()) {
            *to = from;
        }
        aad
    }

    /// Signs it.
    ///
    /// # Errors
    /// [`Refusal::PayloadTooLarge`] when no node would take it.
    pub fn sign(&self, key: &SigningKey) -> Result<Envelope, Refusal> {
        let (len, max) = (self.payload.len(), LARGEST_PAYLOAD);
        let too_large = Refusal::PayloadTooLarge { len, max };
        if len > max {
            return Err(too_large);
        }
        let payload_len = u32::try_from(len).map_err(|_| too_large)?;
        let mut wire = Vec::with_capacity(OVERHEAD + len);
        wire.extend_from_slice(&self.aad(key.public()));
        wire.extend_from_slice(&payload_len.to_be_bytes());
        debug_assert_eq!(wire.len(), HEADER_LEN);
        wire.extend_from_slice(&self.payload);
        let signature = key.sign(Domain::ENVELOPE, &[&wire]);
        wire.extend_from_slice(&signature);
        wire.push(0);
        Envelope::from_wire(wire.into(), max)
    }
}
