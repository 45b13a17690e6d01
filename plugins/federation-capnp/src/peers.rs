//! What is known of each domain, for `stats`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::certs::days_left;
use crate::limits::PEERS;

/// The domains that were dialled, or have connected.
#[derive(Debug, Default)]
pub(crate) struct Peers(Mutex<BTreeMap<String, Peer>>);

#[derive(Debug, Default)]
struct Peer {
    links: usize,
    dialling: usize,
    remote: Option<String>,
    legacy: bool,
    not_after_ms: Option<i64>,
    last_error: Option<String>,
    last_error_ms: Option<i64>,
    last_ms: i64,
}

impl Peers {
    /// A dial has begun.
    pub(crate) fn dialling(&self, domain: &str, now_ms: i64) {
        self.with(domain, now_ms, |peer| peer.dialling += 1);
    }

    /// A dial has ended; with what error, if it failed.
    pub(crate) fn dialled(&self, domain: &str, error: Option<String>, now_ms: i64) {
        self.with(domain, now_ms, |peer| {
            peer.dialling = peer.dialling.saturating_sub(1);
            if error.is_some() {
                (peer.last_error, peer.last_error_ms) = (error, Some(now_ms));
            }
        });
    }

    /// A link has come up.
    pub(crate) fn up(&self, domain: &str, remote: &str, legacy: bool, not_after_ms: Option<i64>, now_ms: i64) {
        self.with(domain, now_ms, |peer| {
            peer.links += 1;
            peer.legacy = legacy;
            peer.remote = Some(remote.to_owned());
            peer.not_after_ms = not_after_ms;
        });
    }

    /// A link has ended; with what error, if it was one.
    pub(crate) fn down(&self, domain: &str, error: Option<String>, now_ms: i64) {
        self.with(domain, now_ms, |peer| {
            peer.links = peer.links.saturating_sub(1);
            if error.is_some() {
                (peer.last_error, peer.last_error_ms) = (error, Some(now_ms));
            }
        });
    }

    /// For `stats`.
    pub(crate) fn to_json(&self, now_ms: i64) -> Value {
        let show = |(domain, peer): (&String, &Peer)| {
            let state = match (peer.links, peer.dialling) {
                (1.., _) => "up",
                (0, 1..) => "connecting",
                (0, 0) => "down",
            };
            json!({
                "domain": domain,
                "state": state,
                "remote": peer.remote,
                "legacy": peer.legacy,
                "certificate_days_left": peer.not_after_ms.map(|not_after| days_left(not_after, now_ms)),
                "last_error": peer.last_error,
                "last_error_ms": peer.last_error_ms,
                "links": peer.links,
            })
        };
        self.lock().iter().map(show).collect()
    }

    fn with(&self, domain: &str, now_ms: i64, change: impl FnOnce(&mut Peer)) {
        let mut peers = self.lock();
        if peers.len() >= PEERS && !peers.contains_key(domain) {
            let idle = peers.iter().filter(|(_, peer)| peer.links == 0 && peer.dialling == 0);
            let oldest = idle.min_by_key(|(_, peer)| peer.last_ms).map(|(domain, _)| domain.clone());
            let Some(oldest) = oldest else { return };
            peers.remove(&oldest);
        }
        let peer = peers.entry(domain.to_owned()).or_default();
        peer.last_ms = now_ms;
        change(peer);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Peer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_connects_comes_up_and_goes() {
        let peers = Peers::default();
        peers.dialling("b", 1);
        assert_eq!(peers.to_json(1)[0]["state"], "connecting");
        peers.up("b", "federation://b@10.0.0.1:1", false, Some(3 * 86_400_000), 2);
        peers.dialled("b", None, 2);
        assert_eq!(
            (&peers.to_json(2)[0]["state"], &peers.to_json(2)[0]["certificate_days_left"]),
            (&json!("up"), &json!(2))
        );
        peers.down("b", Some("peer-silent: x".into()), 3);
        let all = peers.to_json(3);
        assert_eq!(
            (&all[0]["state"], &all[0]["last_error"], &all[0]["last_error_ms"]),
            (&json!("down"), &json!("peer-silent: x"), &json!(3))
        );
    }

    #[test]
    fn the_table_is_bounded_and_keeps_who_is_up() {
        let peers = Peers::default();
        peers.up("kept", "r", false, None, 0);
        for i in 0..2_000 {
            peers.dialling(&format!("d{i}"), i);
            peers.dialled(&format!("d{i}"), Some("timeout".into()), i);
        }
        let all = peers.to_json(0);
        assert_eq!(all.as_array().map(Vec::len), Some(PEERS));
        assert!(all.as_array().is_some_and(|all| all.iter().any(|peer| peer["domain"] == "kept")));
    }
}
