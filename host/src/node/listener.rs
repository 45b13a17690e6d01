//! What the core's news mean to the directory and to the bots.

use std::sync::{Arc, OnceLock};

use qpq_schemas::PeerId;
use qpq_schemas::record::NodeRecord;
use tracing::{info, warn};

use super::clock::now_ms;
use super::engine::Listener;
use super::shared::Shared;
use crate::core::Notice;
use crate::identity::Sighting;
use crate::script::{LiveEvent, ScriptHost};
use crate::store::Batch;

/// Where node records are kept over restarts, in the store's key-value space.
pub(super) const RECORD_PREFIX: &[u8] = b"record/";

fn record_key(peer: &PeerId) -> Vec<u8> {
    [RECORD_PREFIX, &peer.0].concat()
}

/// The listener of a node. The script host starts last, so it is filled in later.
pub(super) struct News {
    pub(super) shared: Arc<Shared>,
    pub(super) scripts: Arc<OnceLock<ScriptHost>>,
}

impl News {
    /// Tells the bots what they may want to know.
    fn tell(&self, event: Option<LiveEvent>) {
        if let (Some(scripts), Some(mut event)) = (self.scripts.get(), event) {
            event.name = event.peer.and_then(|peer| self.shared.directory().name_of(&peer).map(str::to_owned));
            scripts.event(&event);
        }
    }

    fn record(&self, record: NodeRecord, wire: &[u8]) {
        let peer = record.peer;
        let sighting = Sighting::from(record);
        if let Err(error) = self.shared.directory().upsert(peer, &sighting) {
            warn!(%error, "a peer was not noted");
        }
        self.keep(vec![(record_key(&peer), Some(wire.to_vec()))]);
    }

    /// Has a link made to a known peer for whom mail waits. Strangers' mail must not have this node dial without end.
    fn look_for(&self, peer: PeerId) {
        let known = self.shared.directory().get(&peer).is_some();
        if let Some(dialer) = self.shared.dialer.get().filter(|_| known) {
            dialer.want(peer);
        }
    }

    fn records_gone(&self, peers: &[PeerId]) {
        self.keep(peers.iter().map(|peer| (record_key(peer), None)).collect());
    }

    fn keep(&self, kv: Vec<(Vec<u8>, Option<Vec<u8>>)>) {
        let report = |result| {
            if let Err(error) = result {
                warn!(%error, "node records were not kept");
            }
        };
        // Under load it is left out: a record comes again with its next refresh, a stale one goes at the next start.
        _ = self.shared.store.submit(Batch { kv, ..Batch::default() }, report);
    }
}

impl Listener for News {
    fn inbox_grew(&mut self, seq: u64) {
        if let Some(scripts) = self.scripts.get() {
            scripts.inbox_grew(seq);
        }
    }

    fn mail_came(&mut self, destination: [u8; 32]) {
        self.shared.mailboxes().came(&destination);
    }

    fn notice(&mut self, notice: Notice) {
        // Told last, when the directory knows of it.
        let told = LiveEvent::of(&notice);
        match notice {
            Notice::PeerUp(peer) => {
                let sighting = Sighting { seen_ms: Some(now_ms()), ..Sighting::default() };
                _ = self.shared.directory().upsert(peer, &sighting); // a full directory refuses; the link works all the same
            }
            Notice::PeerDown(peer) => {
                self.shared.directory().note_seen(&peer, now_ms());
            }
            Notice::LinkChange { .. } | Notice::RoutesChanged | Notice::Failed { .. } | Notice::Evicted { .. } => {}
            Notice::NoWay(peer) => self.look_for(peer),
            Notice::Record { record, wire } => self.record(*record, &wire),
            Notice::Twin => {
                let text = "another node uses this node's key, or the clock was set back. Messages for this node may end \
                            up there. Stop the copy, or give it an identity of its own";
                warn!("{text}");
                self.shared.warn("identity", Some(text.to_owned()));
            }
            Notice::RecordsGone(peers) => self.records_gone(&peers),
            Notice::Delivered { id, by } => {
                info!(id = %id.short(), by = %by.short(), "delivered");
                let name = self.shared.directory().name_of(&by).map(str::to_owned);
                self.shared.deliveries.came(id, by, name, now_ms());
            }
        }
        self.tell(told);
    }
}
