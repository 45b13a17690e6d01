//! Who was refused, for `stats` and the log: newest first, bounded, and each said once in a while.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use qpq_quic_common::canonical;
use serde_json::{Value, json};

use crate::limits::{LOG_EVERY, REFUSALS};
use crate::refusal::{Reason, Refusal};

/// The refusals of an instance.
#[derive(Debug, Default)]
pub(crate) struct Refused(Mutex<VecDeque<Entry>>);

#[derive(Debug)]
struct Entry {
    remote: SocketAddr,
    domain: Option<String>,
    refusal: Refusal,
    by_peer: bool,
    count: u64,
    last_ms: i64,
    logged: Instant,
}

impl Entry {
    fn is(&self, remote: IpAddr, domain: Option<&str>, reason: Reason, by_peer: bool) -> bool {
        self.remote.ip() == remote
            && self.domain.as_deref() == domain
            && self.refusal.reason == reason
            && self.by_peer == by_peer
    }
}

impl Refused {
    /// Notes a refusal; `by_peer` when it was the peer that refused us. Returns whether it should be logged.
    pub(crate) fn note(
        &self,
        remote: SocketAddr,
        domain: Option<&str>,
        refusal: &Refusal,
        by_peer: bool,
        now_ms: i64,
    ) -> bool {
        let remote = canonical(remote);
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = entries.iter().position(|entry| entry.is(remote.ip(), domain, refusal.reason, by_peer));
        let (mut entry, new) = match known.and_then(|place| entries.remove(place)) {
            Some(entry) => (entry, false),
            None => {
                let (domain, refusal) = (domain.map(str::to_owned), refusal.clone());
                (Entry { remote, domain, refusal, by_peer, count: 0, last_ms: 0, logged: Instant::now() }, true)
            }
        };
        (entry.count, entry.last_ms, entry.remote) = (entry.count + 1, now_ms, remote);
        let due = new || entry.logged.elapsed() >= LOG_EVERY;
        if due {
            entry.logged = Instant::now();
        }
        entries.push_front(entry);
        entries.truncate(REFUSALS);
        due
    }

    /// For `stats`.
    pub(crate) fn to_json(&self) -> Value {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let show = |entry: &Entry| {
            json!({
                "remote": entry.remote.to_string(),
                "domain": entry.domain,
                "reason": entry.refusal.to_string(),
                "code": entry.refusal.reason.code(),
                "by_peer": entry.by_peer,
                "count": entry.count,
                "last_ms": entry.last_ms,
            })
        };
        entries.iter().map(show).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_counted_and_not_logged_and_the_list_is_bounded() {
        let refused = Refused::default();
        let at = |i: u16| SocketAddr::from(([10, 0, (i >> 8) as u8, i as u8], 1));
        let refusal = Refusal::new(Reason::Expired);
        assert!(refused.note(at(0), Some("b"), &refusal, false, 1));
        assert!(!refused.note(at(0), Some("b"), &refusal, false, 2));
        assert!(refused.note(at(0), Some("b"), &refusal, true, 3));
        let all = refused.to_json();
        assert_eq!((&all[1]["count"], &all[1]["last_ms"], &all[0]["by_peer"]), (&json!(2), &json!(2), &json!(true)));
        for i in 1..1_000 {
            refused.note(at(i), None, &refusal, false, 3);
        }
        assert_eq!(refused.to_json().as_array().map(Vec::len), Some(REFUSALS));
    }
}
