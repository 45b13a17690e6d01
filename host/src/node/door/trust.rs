//! Whom the admin trusts, and whom not.

use qpq_schemas::PeerId;

use super::super::keeper::save_directory;
use super::Door;
use crate::api::{ApiError, BlocksImported, PeerInfo, Trust};
use crate::core::Event;
use crate::core::federation::Domain;
use crate::identity::Sighting;

impl Door {
    /// The key that a person means.
    pub(super) fn resolve(&self, peer: &str) -> Result<PeerId, ApiError> {
        let shown = || peer.chars().take(80).collect::<String>();
        self.shared
            .directory()
            .resolve(peer)
            .map_err(|error| ApiError::new(error.code(), format!("`{}`: {error}", shown())))
    }

    /// The key that a person means, who may say where it lives: `peer@domain`.
    pub(super) async fn addressee(&self, text: &str) -> Result<PeerId, ApiError> {
        let Some((peer, domain)) = text.trim().rsplit_once('@') else { return self.resolve(text) };
        let peer = self.resolve(peer)?;
        let sighting = Sighting { domain: Some(domain.to_ascii_lowercase()), ..Sighting::default() };
        if !crate::identity::is_domain(&domain.to_ascii_lowercase()) {
            let shown: String = domain.chars().take(80).collect();
            return Err(ApiError::new("bad-domain", format!("`{shown}` is no domain name, such as node1.mesh.local")));
        }
        _ = self.shared.directory().upsert(peer, &sighting); // a full directory refuses; the core knows all the same
        let domain = Some(Domain::from(domain.to_ascii_lowercase()));
        self.shared.event(Event::Home { peer, domain }).await?;
        Ok(peer)
    }

    /// Mail to a blocked peer would be for nothing: no link to it is made, and its answers and receipts are refused here.
    pub(super) fn refuse_blocked(&self, peer: PeerId, said: &str) -> Result<(), ApiError> {
        if self.shared.directory().trust(&peer) != Trust::Blocked {
            return Ok(());
        }
        let text = format!(
            "`{}` is blocked here, so nothing was sent; `qpq mesh unblock {}` lifts that",
            said.chars().take(80).collect::<String>(),
            peer.short()
        );
        Err(ApiError::new("peer-blocked", text))
    }

    pub(super) async fn judge(self, peer: String, trust: Trust) -> Result<PeerInfo, ApiError> {
        let peer = self.resolve(&peer)?;
        let refused = |error: crate::identity::DirectoryError| ApiError::new("bad-peer", error.to_string());
        self.shared.directory().set_trust(peer, trust).map_err(refused)?;
        self.take_effect(peer, trust).await?;
        self.saved().await?;
        let mut peers = self.all_peers().await?.into_iter();
        peers.find(|info| info.peer_id == Some(peer)).ok_or_else(|| ApiError::new("unknown-peer", "it was forgotten"))
    }

    pub(super) async fn blocks(self) -> Result<String, ApiError> {
        Ok(self.shared.directory().export_blocks())
    }

    pub(super) async fn block_all(self, list: String) -> Result<BlocksImported, ApiError> {
        let imported = self.shared.directory().import_blocks(&list);
        let imported = imported.map_err(|error| ApiError::new("bad-list", error.to_string()))?;
        for peer in &imported.added {
            self.take_effect(*peer, Trust::Blocked).await?;
        }
        self.saved().await?;
        Ok(BlocksImported { added: imported.added.len(), known: imported.known })
    }

    /// Tells the core, which closes the links of a blocked peer, and the dialer.
    async fn take_effect(&self, peer: PeerId, trust: Trust) -> Result<(), ApiError> {
        let blocked = if trust == Trust::Blocked { Event::Block(peer) } else { Event::Unblock(peer) };
        self.shared.event(blocked).await?;
        self.shared.event(Event::Trust { peer, trusted: trust == Trust::Trusted }).await?;
        self.shared.dialer.get().into_iter().for_each(|dialer| dialer.look_again());
        Ok(())
    }

    async fn saved(&self) -> Result<(), ApiError> {
        match save_directory(&self.shared).await {
            true => Ok(()),
            false => Err(ApiError::new(
                "not-saved",
                "that holds until the node stops, but it could not be saved; see `qpq status`",
            )),
        }
    }
}
