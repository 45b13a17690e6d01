use bytes::Bytes;

use super::FrameError;
use super::frame::kind;
use crate::PeerId;
use crate::signature::{Domain, SignatureError, SigningKey};
use crate::wire::Reader;

/// The version of the link protocol.
pub const LINK_VERSION: u8 = 1;

/// The first frame on a link, from both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Highest version of the link protocol that the side speaks. The lower of both is spoken.
    pub version: u8,
    /// The side's public key, proven by AUTH.
    pub peer: PeerId,
    /// Bits for what the side can do beyond this version; unknown ones are ignored.
    pub features: u32,
    /// Fresh random bytes, so that no AUTH fits a second link.
    pub random: [u8; 32],
    /// Fields of later versions: ignored, but signed.
    pub later: Bytes,
}

impl Hello {
    /// A HELLO of this version without features.
    pub fn new(peer: PeerId, random: [u8; 32]) -> Self {
        Self { version: LINK_VERSION, peer, features: 0, random, later: Bytes::new() }
    }

    /// The body, which both AUTH signatures cover.
    pub fn body(&self) -> Vec<u8> {
        let version = [self.version];
        [&version[..], &self.peer.0, &self.features.to_be_bytes(), &self.random, &self.later].concat()
    }

    pub(super) fn read(body: &Bytes) -> Result<Self, FrameError> {
        let mut reader = Reader::new(body);
        let hello = Self::fields(&mut reader).ok_or(FrameError::Truncated)?;
        if hello.version == 0 {
            return Err(FrameError::Malformed { kind: kind::HELLO, what: "version" });
        }
        Ok(Self { later: body.slice_ref(reader.rest()), ..hello })
    }

    fn fields(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            version: reader.u8()?,
            peer: PeerId(reader.array()?),
            features: reader.u32()?,
            random: reader.array()?,
            later: Bytes::new(),
        })
    }
}

/// Which side of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Role {
    /// Dialled.
    Initiator = 0,
    /// Was dialled.
    Responder = 1,
}

impl Role {
    /// The other side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }
}

/// What the side with that role signs (after the domain "qpq-link-v1\0"): its role, both HELLOs, and the transport's channel
/// binding where it has one, each with its length. So no AUTH can be reflected, replayed, or carried over to another connection.
pub fn auth_message(role: Role, initiator: &Hello, responder: &Hello, channel_binding: &[u8]) -> Vec<u8> {
    let mut out = vec![role as u8];
    for part in [&initiator.body()[..], &responder.body(), channel_binding] {
        out.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// Our AUTH signature.
pub fn sign_auth(
    key: &SigningKey,
    role: Role,
    initiator: &Hello,
    responder: &Hello,
    channel_binding: &[u8],
) -> [u8; 64] {
    key.sign(Domain::LINK, &[&auth_message(role, initiator, responder, channel_binding)])
}

/// Checks the AUTH signature of the side with that role.
///
/// # Errors
/// When the key in that side's HELLO is unusable or the signature doesn't fit.
pub fn verify_auth(
    role: Role,
    initiator: &Hello,
    responder: &Hello,
    channel_binding: &[u8],
    signature: &[u8; 64],
) -> Result<(), SignatureError> {
    let peer = match role {
        Role::Initiator => initiator.peer,
        Role::Responder => responder.peer,
    };
    let message = auth_message(role, initiator, responder, channel_binding);
    crate::signature::verify(peer, Domain::LINK, &[&message], signature)
}
