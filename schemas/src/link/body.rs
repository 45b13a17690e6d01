//! The bodies of the frames, there and back.

use bytes::{Buf, Bytes};

use super::custody::ANSWER_LEN;
use super::frame::{Close, CloseCode, Frame, SubscriptionChange, Sync, kind};
use super::{
    AUTH_BODY, Answer, Fragment, FrameError, Hello, MAX_ANSWERS, MAX_BLOCK, MAX_ENVELOPES, MAX_ENVELOPES_BODY,
    MAX_HELLO_BODY, MAX_OPTIONAL_BODY, MAX_REASON_LEN, MAX_RECORDS, MAX_RECORDS_BODY, MAX_RESOLVE_BODY, MAX_ROUTE_BODY,
    MAX_SYNC_IDS, MAX_TOPICS, Reconcile, Resolve, Tree,
};
use crate::envelope::OVERHEAD;
use crate::wire::{Reader, is_control, split_bytes};
use crate::{MessageId, TopicId};

const ID_LEN: usize = 32;
/// Bytes in front of each envelope in a frame: its length.
pub(super) const ENVELOPE_PREFIX: usize = 4;
/// Shortest node record that could be one: more than a signature.
const MIN_RECORD_LEN: usize = 65;

impl Frame {
    pub(super) fn kind(&self) -> u8 {
        match self {
            Self::Hello(_) => kind::HELLO,
            Self::Auth(_) => kind::AUTH,
            Self::Envelopes(_) => kind::ENVELOPES,
            Self::Custody(_) => kind::CUSTODY,
            Self::Subscriptions(..) => kind::SUBSCRIPTIONS,
            Self::Route(_) => kind::ROUTE,
            Self::Sync(_) => kind::SYNC,
            Self::Records(_) => kind::RECORDS,
            Self::Ping(_) => kind::PING,
            Self::Pong(_) => kind::PONG,
            Self::Close(_) => kind::CLOSE,
            Self::Fragment(_) => kind::FRAGMENT,
            Self::Resolve(_) => kind::RESOLVE,
            Self::Moving(_) => kind::MOVING,
            Self::Tree(_) => kind::TREE,
            Self::Reconcile(_) => kind::RECONCILE,
            Self::Optional(kind, _) => *kind,
        }
    }

    /// The largest body of that type, in bytes.
    pub(super) fn max_body(kind: u8) -> Result<usize, FrameError> {
        Ok(match kind {
            kind::HELLO => MAX_HELLO_BODY,
            kind::AUTH => AUTH_BODY,
            kind::ENVELOPES => MAX_ENVELOPES_BODY,
            kind::CUSTODY => MAX_ANSWERS * ANSWER_LEN,
            kind::SUBSCRIPTIONS => 1 + MAX_TOPICS * ID_LEN,
            kind::ROUTE => MAX_ROUTE_BODY,
            kind::SYNC => 1 + MAX_SYNC_IDS * ID_LEN,
            kind::RECORDS => MAX_RECORDS_BODY,
            kind::PING | kind::PONG => 8,
            kind::CLOSE => 2 + MAX_REASON_LEN,
            kind::FRAGMENT => MAX_BLOCK,
            kind::RESOLVE => MAX_RESOLVE_BODY,
            kind::MOVING => 2,
            kind::TREE => Tree::MAX_BODY,
            kind::RECONCILE => Reconcile::MAX_BODY,
            kind::FIRST_UNKNOWN.. => MAX_OPTIONAL_BODY,
            _ => return Err(FrameError::UnknownType(kind)),
        })
    }

    pub(super) fn put_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(hello) => out.extend_from_slice(&hello.body()),
            Self::Auth(signature) => out.extend_from_slice(signature),
            Self::Envelopes(envelopes) => {
                for envelope in envelopes {
                    out.extend_from_slice(&u32::try_from(envelope.len()).unwrap_or(u32::MAX).to_be_bytes());
                    out.extend_from_slice(envelope);
                }
            }
            Self::Custody(answers) => answers.iter().for_each(|answer| answer.put(out)),
            Self::Subscriptions(change, topics) => {
                out.push(*change as u8);
                topics.iter().for_each(|topic| out.extend_from_slice(&topic.0));
            }
            Self::Route(bytes) | Self::Optional(_, bytes) => out.extend_from_slice(bytes),
            Self::Sync(sync) => put_sync(sync, out),
            Self::Records(records) => {
                for record in records {
                    out.extend_from_slice(&u16::try_from(record.len()).unwrap_or(u16::MAX).to_be_bytes());
                    out.extend_from_slice(record);
                }
            }
            Self::Ping(number) | Self::Pong(number) => out.extend_from_slice(&number.to_be_bytes()),
            Self::Close(close) => put_close(close, out),
            Self::Fragment(fragment) => fragment.put(out),
            Self::Resolve(resolve) => resolve.put(out),
            Self::Moving(port) => out.extend_from_slice(&port.to_be_bytes()),
            Self::Tree(tree) => tree.put(out),
            Self::Reconcile(reconcile) => reconcile.put(out),
        }
    }

    pub(super) fn check_limits(&self, len: usize) -> Result<(), FrameError> {
        let kind = self.kind();
        let max = Self::max_body(kind)?;
        if len > max {
            return Err(FrameError::TooLarge { kind, len, max });
        }
        let in_range = |ok, what| if ok { Ok(()) } else { Err(FrameError::Malformed { kind, what }) };
        match self {
            Self::Hello(hello) => in_range(hello.version != 0, "version"),
            Self::Envelopes(list) if list.len() > MAX_ENVELOPES => {
                Err(FrameError::TooMany { kind, max: MAX_ENVELOPES })
            }
            Self::Envelopes(list) => in_range(list.iter().all(|item| item.len() >= OVERHEAD), "envelope length"),
            Self::Records(list) if list.len() > MAX_RECORDS => Err(FrameError::TooMany { kind, max: MAX_RECORDS }),
            Self::Records(list) => in_range(list.iter().all(|item| is_record_len(item.len())), "record length"),
            Self::Fragment(fragment) => fragment.check(),
            Self::Resolve(resolve) => resolve.check(),
            Self::Moving(port) => in_range(*port != 0, "port"),
            Self::Tree(tree) => tree.check(),
            Self::Reconcile(reconcile) => reconcile.check(),
            Self::Optional(kind, _) => in_range(*kind >= kind::FIRST_UNKNOWN, "type"),
            _ => Ok(()),
        }
    }

    pub(super) fn read_body(kind: u8, body: Bytes) -> Result<Self, FrameError> {
        let malformed = |what| FrameError::Malformed { kind, what };
        match kind {
            kind::HELLO => Hello::read(&body).map(Self::Hello),
            kind::AUTH => body.as_ref().try_into().map(Self::Auth).map_err(|_| malformed("length")),
            kind::ENVELOPES => read_envelopes(body).map(Self::Envelopes),
            kind::CUSTODY => read_custody(&body).map(Self::Custody),
            kind::SUBSCRIPTIONS => {
                let (change, topics) = read_ids(kind, &body)?;
                let change = SubscriptionChange::from_byte(change).ok_or(malformed("change"))?;
                Ok(Self::Subscriptions(change, topics.map(TopicId).collect()))
            }
            kind::ROUTE => Ok(Self::Route(body)),
            kind::SYNC => match read_ids(kind, &body)? {
                (0, ids) => Ok(Self::Sync(Sync::Have(ids.map(MessageId).collect()))),
                (1, ids) => Ok(Self::Sync(Sync::Want(ids.map(MessageId).collect()))),
                _ => Err(malformed("form")),
            },
            kind::RECORDS => read_records(body).map(Self::Records),
            kind::PING => read_number(kind, &body).map(Self::Ping),
            kind::PONG => read_number(kind, &body).map(Self::Pong),
            kind::CLOSE => read_close(&body).map(Self::Close),
            kind::FRAGMENT => Fragment::read(&body).map(Self::Fragment),
            kind::RESOLVE => Resolve::read(body).map(Self::Resolve),
            kind::MOVING => read_port(&body).map(Self::Moving),
            kind::TREE => Tree::read(&body).map(Self::Tree),
            kind::RECONCILE => Reconcile::read(&body).map(Self::Reconcile),
            kind::FIRST_UNKNOWN.. => Ok(Self::Optional(kind, body)),
            _ => Err(FrameError::UnknownType(kind)),
        }
    }
}

fn put_sync(sync: &Sync, out: &mut Vec<u8>) {
    let (form, ids) = match sync {
        Sync::Have(ids) => (0, ids),
        Sync::Want(ids) => (1, ids),
    };
    out.push(form);
    ids.iter().for_each(|id| out.extend_from_slice(&id.0));
}

fn put_close(close: &Close, out: &mut Vec<u8>) {
    out.extend_from_slice(&close.code.0.to_be_bytes());
    out.extend_from_slice(close.reason.as_bytes());
}

fn read_envelopes(mut body: Bytes) -> Result<Vec<Bytes>, FrameError> {
    let kind = kind::ENVELOPES;
    // Room for all, where they are as long as the first. That is at most a fifth of what the body takes.
    let first = body.first_chunk().map_or(0, |len| usize::try_from(u32::from_be_bytes(*len)).unwrap_or(usize::MAX));
    let mut envelopes = Vec::with_capacity((body.len() / first.max(OVERHEAD)).min(MAX_ENVELOPES));
    while !body.is_empty() {
        let len = *body.first_chunk::<ENVELOPE_PREFIX>().ok_or(FrameError::Truncated)?;
        body.advance(ENVELOPE_PREFIX);
        let len = usize::try_from(u32::from_be_bytes(len)).unwrap_or(usize::MAX);
        if len < OVERHEAD {
            return Err(FrameError::Malformed { kind, what: "envelope length" });
        }
        if envelopes.len() == MAX_ENVELOPES {
            return Err(FrameError::TooMany { kind, max: MAX_ENVELOPES });
        }
        envelopes.push(split_bytes(&mut body, len).ok_or(FrameError::Truncated)?);
    }
    Ok(envelopes)
}

fn is_record_len(len: usize) -> bool {
    (MIN_RECORD_LEN..=crate::record::MAX_RECORD_LEN).contains(&len)
}

fn read_records(mut body: Bytes) -> Result<Vec<Bytes>, FrameError> {
    let kind = kind::RECORDS;
    let mut records = Vec::new();
    while !body.is_empty() {
        let len = split_bytes(&mut body, 2).and_then(|len| Reader::new(&len).u16()).ok_or(FrameError::Truncated)?;
        if !is_record_len(usize::from(len)) {
            return Err(FrameError::Malformed { kind, what: "record length" });
        }
        if records.len() == MAX_RECORDS {
            return Err(FrameError::TooMany { kind, max: MAX_RECORDS });
        }
        records.push(split_bytes(&mut body, usize::from(len)).ok_or(FrameError::Truncated)?);
    }
    Ok(records)
}

fn read_custody(body: &[u8]) -> Result<Vec<Answer>, FrameError> {
    let (answers, rest) = body.as_chunks::<ANSWER_LEN>();
    if !rest.is_empty() {
        return Err(FrameError::Truncated);
    }
    let verdict = FrameError::Malformed { kind: kind::CUSTODY, what: "verdict" };
    answers.iter().map(|answer| Answer::read(answer).ok_or(verdict)).collect()
}

/// A byte that says what the ids mean, then the ids.
fn read_ids(kind: u8, body: &[u8]) -> Result<(u8, impl Iterator<Item = [u8; ID_LEN]>), FrameError> {
    let (form, ids) = body.split_first().ok_or(FrameError::Truncated)?;
    let (ids, rest) = ids.as_chunks::<ID_LEN>();
    if !rest.is_empty() {
        return Err(FrameError::Malformed { kind, what: "length" });
    }
    Ok((*form, ids.iter().copied()))
}

fn read_number(kind: u8, body: &[u8]) -> Result<u64, FrameError> {
    body.try_into().map(u64::from_be_bytes).map_err(|_| FrameError::Malformed { kind, what: "length" })
}

fn read_port(body: &[u8]) -> Result<u16, FrameError> {
    let malformed = |what| FrameError::Malformed { kind: kind::MOVING, what };
    let port = body.try_into().map(u16::from_be_bytes).map_err(|_| malformed("length"))?;
    if port == 0 { Err(malformed("port")) } else { Ok(port) }
}

fn read_close(body: &[u8]) -> Result<Close, FrameError> {
    let mut reader = Reader::new(body);
    let code = CloseCode(reader.u16().ok_or(FrameError::Truncated)?);
    let malformed = FrameError::Malformed { kind: kind::CLOSE, what: "reason" };
    let reason = std::str::from_utf8(reader.rest()).map_err(|_| malformed)?;
    Ok(Close { code, reason: reason.chars().map(|c| if is_control(c) { '?' } else { c }).collect() })
}
