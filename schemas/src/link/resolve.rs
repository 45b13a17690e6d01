//! Between domains: who lives where.

use bytes::{Buf, Bytes};

use super::frame::kind;
use super::{FrameError, MAX_RESOLVED};
use crate::PeerId;
use crate::record::MAX_RECORD_LEN;
use crate::wire::split_bytes;

const KEY_LEN: usize = 32;
/// Key and length in front of each record.
const HOME_PREFIX: usize = KEY_LEN + 2;

/// A question about the homes of peers, or the answer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolve {
    /// Do these live with you?
    Ask(Vec<PeerId>),
    /// What is known here of those that were asked for.
    Homes(Vec<Home>),
}

/// What a domain says of one peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// The peer that was asked for.
    pub peer: PeerId,
    /// The peer's own signed node record, not verified yet: only the peer itself can say where it lives. `None`: not known here.
    pub record: Option<Bytes>,
}

impl Resolve {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ask(peers) => {
                out.push(0);
                peers.iter().for_each(|peer| out.extend_from_slice(&peer.0));
            }
            Self::Homes(homes) => {
                out.push(1);
                for home in homes {
                    let record = home.record.as_deref().unwrap_or_default();
                    out.extend_from_slice(&home.peer.0);
                    out.extend_from_slice(&u16::try_from(record.len()).unwrap_or(u16::MAX).to_be_bytes());
                    out.extend_from_slice(record);
                }
            }
        }
    }

    pub(super) fn check(&self) -> Result<(), FrameError> {
        let (count, long) = match self {
            Self::Ask(peers) => (peers.len(), false),
            Self::Homes(homes) => {
                let len = |home: &Home| home.record.as_ref().map_or(0, Bytes::len);
                (homes.len(), homes.iter().any(|home| len(home) > MAX_RECORD_LEN))
            }
        };
        match count > MAX_RESOLVED {
            true => Err(FrameError::TooMany { kind: kind::RESOLVE, max: MAX_RESOLVED }),
            false if long => Err(malformed("record length")),
            false => Ok(()),
        }
    }

    pub(super) fn read(mut body: Bytes) -> Result<Self, FrameError> {
        let form = body.split_to(1.min(body.len()));
        match form.first() {
            None => Err(FrameError::Truncated),
            Some(0) => read_peers(&body).map(Self::Ask),
            Some(1) => read_homes(body).map(Self::Homes),
            Some(_) => Err(malformed("form")),
        }
    }
}

fn malformed(what: &'static str) -> FrameError {
    FrameError::Malformed { kind: kind::RESOLVE, what }
}

fn too_many() -> FrameError {
    FrameError::TooMany { kind: kind::RESOLVE, max: MAX_RESOLVED }
}

fn read_peers(body: &[u8]) -> Result<Vec<PeerId>, FrameError> {
    match body.as_chunks::<KEY_LEN>() {
        (_, [_, ..]) => Err(malformed("length")),
        (keys, _) if keys.len() > MAX_RESOLVED => Err(too_many()),
        (keys, _) => Ok(keys.iter().copied().map(PeerId).collect()),
    }
}

fn read_homes(mut body: Bytes) -> Result<Vec<Home>, FrameError> {
    let mut homes = Vec::new();
    while !body.is_empty() {
        if homes.len() == MAX_RESOLVED {
            return Err(too_many());
        }
        let prefix = *body.first_chunk::<HOME_PREFIX>().ok_or(FrameError::Truncated)?;
        body.advance(HOME_PREFIX);
        let (key, len) = prefix.split_at(KEY_LEN);
        let peer = key.try_into().map(PeerId).map_err(|_| FrameError::Truncated)?;
        let len = len.try_into().map(u16::from_be_bytes).map_err(|_| FrameError::Truncated)?;
        if usize::from(len) > MAX_RECORD_LEN {
            return Err(malformed("record length"));
        }
        let record = split_bytes(&mut body, usize::from(len)).ok_or(FrameError::Truncated)?;
        homes.push(Home { peer, record: (!record.is_empty()).then_some(record) });
    }
    Ok(homes)
}
