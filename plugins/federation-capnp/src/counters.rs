//! Figures for `stats`.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What happened since the instance was made.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $($(#[$doc])* pub(crate) $name: Counter,)*
        }

        impl Counters {
            /// All figures by name.
            pub(crate) fn to_json(&self) -> Value {
                let all = [$((stringify!($name), self.$name.0.load(Ordering::Relaxed)),)*];
                Value::Object(all.into_iter().map(|(name, n)| (name.to_owned(), n.into())).collect::<Map<_, _>>())
            }
        }
    };
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub(crate) fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Ordering::Relaxed);
    }

    /// Adds one.
    pub(crate) fn one(&self) {
        self.add(1);
    }
}

counters! {
    /// Frames that were received.
    frames_in,
    /// Their bytes.
    bytes_in,
    /// Frames that were sent.
    frames_out,
    /// Their bytes.
    bytes_out,
    /// How often the host took fewer frames than came in.
    stalls,
    /// Frames of the host that were above the limit.
    oversize_dropped,
    /// Links that came up.
    links_up,
    /// Links that ended.
    links_ended,
    /// Of them, because the peer fell silent.
    peers_silent,
    /// Of them, because the peer broke the protocol.
    peers_at_fault,
    /// Dials that failed.
    dials_failed,
    /// Inbound handshakes that failed.
    handshakes_failed,
    /// Inbound handshakes that had to make room for newer ones.
    handshakes_given_up,
    /// Inbound connections whose address had to prove itself first.
    retries,
    /// Peers that were refused, in both directions.
    refused,
    /// Envelopes that servers of the older kind took from us.
    relayed_out,
    /// Envelopes that they did not take.
    relays_failed,
    /// Envelopes that the node took from them.
    relayed_in,
    /// Calls of theirs that were refused.
    relays_refused,
}
