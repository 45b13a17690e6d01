//! Links that end because a transport, here or there, is being replaced: another one is up in a moment.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use qpq_schemas::PeerId;
use tokio::sync::oneshot;

use super::Switchboard;
use crate::core::LinkId;

/// How long a peer that replaces a transport may take to be back. Until then the core, and the routing plugin, don't hear
/// of the end of its link, so that the ways learned over it go over to the next one.
const EXPECTED_FOR: Duration = Duration::from_secs(5);

/// A link that is expected back.
pub(super) struct Expected {
    link: LinkId,
    peer: PeerId,
    since: Instant,
    /// Hears that another link took over.
    back: oneshot::Sender<()>,
}

impl Switchboard {
    /// That link to the peer ends only because a transport is replaced. The future says whether another took over for it, and
    /// has told the core of its end: not so when one was there already, nor after [`EXPECTED_FOR`].
    pub(in crate::node) fn expect_back(&self, link: LinkId, peer: PeerId) -> impl Future<Output = bool> + use<> {
        let (back, heard) = oneshot::channel();
        let elsewhere = self.lock().iter().any(|(other, entry)| *other != link && entry.peer == peer);
        if !elsewhere {
            let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
            expected.retain(|other| other.since.elapsed() < EXPECTED_FOR);
            expected.push(Expected { link, peer, since: Instant::now(), back });
        }
        async move { matches!(tokio::time::timeout(EXPECTED_FOR, heard).await, Ok(Ok(()))) }
    }

    /// A link to that peer is up: those that it takes over for, whose end the core must hear of.
    pub(in crate::node) fn back(&self, peer: PeerId) -> Vec<LinkId> {
        let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        let here = expected.extract_if(.., |other| other.peer == peer);
        here.filter_map(|other| other.back.send(()).ok().map(|()| other.link)).collect()
    }
}
