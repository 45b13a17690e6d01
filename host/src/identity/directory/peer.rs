//! One entry of the directory, and what a peer may say about itself.

use qpq_schemas::record::NodeRecord;

use crate::api::Trust;
use crate::identity::nickname;

/// The most addresses kept for one peer; the oldest go first.
pub const MAX_ADDRESSES: usize = 8;

/// The longest address, in bytes: a host name has at most 253, and a transport URI little else.
pub const MAX_ADDRESS: usize = 300;

/// The longest domain name, in bytes (RFC 1035, section 2.3.4).
pub const MAX_DOMAIN: usize = 253;

/// What is known of a peer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peer {
    /// A name to show, clean and short. Peers choose their own, so it proves nothing unless the admin gave it.
    pub nickname: Option<String>,
    /// Whether the admin gave the nickname.
    pub named_by_admin: bool,
    /// Addresses as transport URIs, the newest first.
    pub addresses: Vec<String>,
    /// The peer's home domain.
    pub domain: Option<String>,
    /// When it was last linked or heard of, Unix time in milliseconds.
    pub last_seen_ms: Option<u64>,
    /// Trust given by the admin.
    pub trust: Trust,
}

/// What was heard of a peer, from itself or from others: unchecked.
#[derive(Debug, Clone, Default)]
pub struct Sighting {
    /// The name it gives itself.
    pub nickname: Option<String>,
    /// The home domain it claims.
    pub domain: Option<String>,
    /// Where it says it listens, best first.
    pub addresses: Vec<String>,
    /// When, Unix time in milliseconds; `None` if this is hearsay.
    pub seen_ms: Option<u64>,
}

impl From<NodeRecord> for Sighting {
    /// What a node says of itself in its record.
    fn from(record: NodeRecord) -> Self {
        let text = |text: String| (!text.is_empty()).then_some(text);
        let (nickname, domain) = (text(record.nickname), text(record.domain));
        Self { nickname, domain, addresses: record.addresses, seen_ms: None }
    }
}

impl Peer {
    /// Whether the peer may be forgotten for a newer one.
    pub(super) fn is_replaceable(&self) -> bool {
        self.trust == Trust::Known && !self.named_by_admin
    }

    /// Takes in what was heard; `true` if that changed anything.
    pub(in crate::identity) fn take_in(&mut self, sighting: &Sighting) -> bool {
        let mut changed = sighting.seen_ms.is_some_and(|now| self.see(now));
        if let Some(name) = sighting.nickname.as_deref().and_then(nickname::sanitise).filter(|_| !self.named_by_admin) {
            changed |= replace(&mut self.nickname, name);
        }
        if let Some(domain) = sighting.domain.as_deref().filter(|domain| is_domain(domain)) {
            changed |= replace(&mut self.domain, domain.to_ascii_lowercase());
        }
        // Backwards, so that the best stands first in the end.
        for address in sighting.addresses.iter().take(MAX_ADDRESSES).rev().filter(|a| is_address(a)) {
            changed |= self.note_address(address);
        }
        changed
    }

    /// Moves the time of the last sign of life forward.
    pub(super) fn see(&mut self, now_ms: u64) -> bool {
        let later = self.last_seen_ms.is_none_or(|before| before < now_ms);
        if later {
            self.last_seen_ms = Some(now_ms);
        }
        later
    }

    /// Puts a checked address first.
    pub(super) fn note_address(&mut self, address: &str) -> bool {
        if self.addresses.first().is_some_and(|first| first == address) {
            return false;
        }
        self.addresses.retain(|known| known != address);
        self.addresses.insert(0, address.to_owned());
        self.addresses.truncate(MAX_ADDRESSES);
        true
    }

    /// Sets or takes back the admin's nickname, which is clean.
    pub(super) fn name_by_admin(&mut self, name: Option<String>) -> bool {
        if name.is_none() && !self.named_by_admin {
            return false;
        }
        self.named_by_admin = name.is_some();
        self.nickname = name;
        true
    }
}

fn replace(place: &mut Option<String>, value: String) -> bool {
    let changed = place.as_ref() != Some(&value);
    *place = Some(value);
    changed
}

/// Whether the text can be a transport URI: a scheme, `://`, and printable ASCII without spaces or quotes.
pub(crate) fn is_address(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b));
    scheme_ok
        && !rest.is_empty()
        && text.len() <= MAX_ADDRESS
        && rest.bytes().all(|b| b.is_ascii_graphic() && !b"\"'`<>\\^{|}".contains(&b))
}

/// Whether the text can be a domain name: labels of letters, digits and hyphens (RFC 1123, section 2.1).
pub(crate) fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    text.len() <= MAX_DOMAIN && text.split('.').all(label)
}
