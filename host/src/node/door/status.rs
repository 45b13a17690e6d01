//! The node's state for people.

use qpq_schemas::PeerId;

use super::super::shared::Shared;
use super::Door;
use crate::api::{ApiError, IdentityInfo, NodeStatus, StoreStats};
use crate::core::Core;
use crate::identity::IDENTITY_FILE;
use crate::script::ScriptHost;

impl Door {
    pub(super) fn own_identity(&self) -> IdentityInfo {
        let shared = &self.shared;
        IdentityInfo {
            peer_id: shared.identity.peer_id(),
            nickname: shared.nickname.clone(),
            domain: shared.domain.clone(),
            listen: shared.listening().clone(),
            identity_file: shared.home.join(IDENTITY_FILE).display().to_string(),
            known_peers: shared.directory().len(),
            fingerprint: shared.identity.fingerprint(),
        }
    }

    /// The shelf's figures, the core's counters and the engine's in one.
    pub(super) async fn figures(self) -> Result<StoreStats, ApiError> {
        let mut stats = self.shared.ask(Core::store_stats).await?;
        self.name_all(&mut stats);
        let store = self.shared.store.clone();
        let engine = super::blocking(move || Ok(store.stats())).await?;
        stats.damaged = engine.damaged;
        stats.disk_bytes = engine.disk_bytes;
        stats.read_only = engine.read_only;
        stats.lost = engine.lost;
        Ok(stats)
    }

    fn name_all(&self, stats: &mut StoreStats) {
        let directory = self.shared.directory();
        let name = |peer: &PeerId| directory.name_of(peer).map(str::to_owned);
        for queue in stats.longest.iter_mut().chain(&mut stats.oldest) {
            queue.nickname = name(&queue.recipient);
        }
        for sender in &mut stats.senders {
            sender.nickname = name(&sender.sender);
        }
    }

    pub(super) async fn node_status(self) -> Result<NodeStatus, ApiError> {
        let store = self.clone().figures().await?;
        let plugins = match self.plugins.get() {
            Some(registry) => registry.statuses().await,
            None => Vec::new(),
        };
        let shared = &self.shared;
        Ok(NodeStatus {
            mapped_libraries: self.plugins.get().map_or(0, crate::plugin::Registry::mapped_libraries),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            home: shared.home.display().to_string(),
            peer_id: shared.identity.peer_id(),
            uptime_secs: shared.started.elapsed().as_secs(),
            links: shared.board.len(),
            resident_bytes: resident_bytes(),
            plugins,
            scripts: self.scripts.get().map_or_else(Vec::new, ScriptHost::list),
            warnings: warnings(shared, &store),
            store,
        })
    }
}

fn warnings(shared: &Shared, store: &StoreStats) -> Vec<String> {
    let mut warnings = shared.warnings();
    warnings.extend(nowhere(shared));
    warnings.extend(store.read_only.iter().map(|why| format!("store: {why}")));
    warnings.extend(store.lost.iter().map(|lost| format!("store: {lost}")));
    if store.damaged > 0 {
        warnings.push(format!(
            "store: {} damaged records or stretches of a journal were set aside since the start; check the disk",
            store.damaged
        ));
    }
    warnings
}

/// That no other node can reach this one, if it is so. Where a transport failed, its own warning says why.
pub(in crate::node) fn nowhere(shared: &Shared) -> Option<String> {
    let text = "listen: this node listens nowhere, so no other node can connect to it; it only connects to others. The \
                addresses stand in `listen`, and each needs the plugin of its transport in `plugins.load`";
    shared.listening().is_empty().then(|| text.to_owned())
}

/// Resident memory, where /proc tells it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}
