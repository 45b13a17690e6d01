//! Doors for fuzzing: what a discovery plugin says of a node that it found, transport addresses in others' records, and what
//! stands on the disk of channels and mailboxes.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use qpq_schemas::PeerId;

use super::addresses::{self, Local};
use super::channels::{Channels, USER};
use super::discovery::sighted;
use super::{dialer, mailboxes, transports};
use crate::api::mailbox::MAX_TOPICS;

/// Reads a report of a discovery plugin: the node's name, and its addresses in the order in which they are tried.
///
/// # Panics
/// When something is taken that should not be.
pub fn discovered(report: &[u8]) -> Option<(String, Vec<String>)> {
    let (id, uris) = sighted(&serde_json::from_slice(report).ok()?)?;
    assert!(!id.is_empty() && !id.chars().any(char::is_control), "{id:?} would reach a terminal");
    assert!(!uris.is_empty(), "nobody could be dialled");
    uris.iter().for_each(|uri| address(uri));
    Some((id, addresses::in_order(&uris, &[local()])))
}

/// A network at home.
fn local() -> Local {
    Local { ip: IpAddr::V4(Ipv4Addr::new(192, 168, 1, 2)), prefix: 24 }
}

/// Takes an address apart, as it is done with those that others announce or that a link comes from.
///
/// # Panics
/// When the parts don't belong to the address.
pub fn address(uri: &str) {
    let parts = [dialer::scheme(uri), dialer::host(uri), dialer::place(uri)];
    assert!(parts.iter().all(|part| uri.contains(part)), "{uri:?} falls into {parts:?}");
    let _ = (dialer::is_ipv6(uri), addresses::host_and_port(uri), transports::address_of(uri));
    if let Some(other) = dialer::at_port(uri, 9) {
        assert_eq!(dialer::port(&other), Some(9), "{uri:?} at another port is {other:?}");
        assert_eq!((dialer::scheme(&other), dialer::host(&other)), (parts[0], parts[1]));
    }
    let reachable = addresses::reachable(&[uri.to_owned()], &[local()], true);
    assert!(reachable.len() <= 1, "{uri:?} stands for {reachable:?}");
}

/// Opens a folder with a `channels.json`. A file that can't be read is refused whole; what was read is written and read again.
///
/// # Panics
/// When a channel is lost or altered.
pub fn channels(folder: &Path) -> bool {
    let Ok(mut channels) = Channels::open(folder) else { return false };
    if channels.join("fuzz", USER).is_err() {
        return true; // too many are joined, or the machine has no room
    }
    let list = |channels: &Channels| serde_json::to_value(channels.list()).unwrap_or_default();
    let again = Channels::open(folder).map(|again| list(&again));
    assert_eq!(again.ok(), Some(list(&channels)), "what was joined is not what is read");
    true
}

/// Reads an entry of the store about a mailbox: its owner, and the rest.
///
/// # Panics
/// When what was read is written in another way.
pub fn mailbox(bytes: &[u8]) {
    let Some((owner, value)) = bytes.split_first_chunk::<32>() else { return };
    let key = [mailboxes::MAILBOX_PREFIX, owner].concat();
    let Some((read, topics)) = mailboxes::read(&key, value) else { return };
    assert_eq!(read, PeerId(*owner));
    assert!(topics.len() <= MAX_TOPICS && topics.len() * 32 < value.len());
    let (again, written) = mailboxes::write(&read, &topics);
    assert_eq!(again, key);
    assert_eq!(written.and_then(|value| mailboxes::read(&key, &value)), Some((read, topics)));
}

/// An entry for [`mailbox`] with two topics.
pub fn mailbox_seeds() -> Vec<Vec<u8>> {
    let topics = [[1; 32], [2; 32]].map(qpq_schemas::TopicId).into();
    let (_, written) = mailboxes::write(&PeerId([7; 32]), &topics);
    written.map(|value| [&[7; 32], &value[..]].concat()).into_iter().collect()
}

/// A `channels.json` with an open and a private channel.
pub fn channels_seed(folder: &Path) {
    if let Ok(mut channels) = Channels::open(folder) {
        _ = channels.join("board", USER);
        _ = channels.create_private("garden club");
    }
}
