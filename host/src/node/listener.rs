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
use crate::script::{LiveEvent, LiveKind, ScriptHost};
use crate::store::Batch;

/// Where node records are kept over restarts, in the store's key-value space.
pub(super) const RECORD_PREFIX: &[u8] = b"record/";

/// The listener of a node. The script host starts last, so it is filled in later.
pub(super) struct News {
    pub(super) shared: Arc<Shared>,
    pub(super) scripts: Arc<OnceLock<ScriptHost>>,
}

impl News {
    fn tell(&self, kind: LiveKind, peer: PeerId, id: Option<qpq_schemas::MessageId>) {
        let Some(scripts) = self.scripts.get() else { return };
        let name = self.shared.directory().name_of(&peer).map(str::to_owned);
        scripts.event(&LiveEvent { kind, peer: Some(peer), name, id, detail: None });
    }

    fn record(&self, peer: PeerId, wire: &[u8]) {
        let Ok(record) = NodeRecord::verify(wire) else { return };
        let text = |text: String| (!text.is_empty()).then_some(text);
        let sighting = Sighting {
            nickname: text(record.nickname),
            domain: text(record.domain),
            addresses: record.addresses,
            seen_ms: None,
        };
        if let Err(error) = self.shared.directory().upsert(peer, &sighting) {
            warn!(%error, "a peer was not noted");
        }
        let kv = vec![([RECORD_PREFIX, &peer.0].concat(), Some(wire.to_vec()))];
        let report = |result| {
            if let Err(error) = result {
                warn!(%error, "a node record was not kept");
            }
        };
        // Under load it is left out: the record comes again with its next refresh.
        _ = self.shared.store.submit(Batch { kv, ..Batch::default() }, report);
    }
}

impl Listener for News {
    fn inbox_grew(&mut self, seq: u64) {
        if let Some(scripts) = self.scripts.get() {
            scripts.inbox_grew(seq);
        }
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::PeerUp(peer) => {
                let sighting = Sighting { seen_ms: Some(now_ms()), ..Sighting::default() };
                _ = self.shared.directory().upsert(peer, &sighting); // a full directory refuses; the link works all the same
                self.tell(LiveKind::PeerUp, peer, None);
            }
            Notice::PeerDown(peer) => {
                self.shared.directory().note_seen(&peer, now_ms());
                self.tell(LiveKind::PeerDown, peer, None);
            }
            Notice::Record { peer, wire } => self.record(peer, &wire),
            Notice::Delivered { id, by } => {
                info!(id = %id.short(), by = %by.short(), "delivered");
                self.tell(LiveKind::Delivered, by, Some(id));
            }
        }
    }
}
