//! Round trips to a neighbour, over each link to it.

use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::sync::oneshot;

use super::super::engine::Message;
use super::Door;
use crate::api::{ApiError, LinkInfo, LinkPing, PingReport};

/// Pings of one call at most.
const MAX_COUNT: u32 = 100;
/// From one ping to the next.
const EVERY: Duration = Duration::from_secs(1);
/// An answer that takes longer counts as lost. A link on which nothing comes for so long is dead anyway.
const ANSWER_WAIT: Duration = Duration::from_secs(3);

impl Door {
    pub(super) async fn ping_links(self, peer: String, count: u32) -> Result<PingReport, ApiError> {
        let peer_id = self.resolve(&peer)?;
        if peer_id == self.shared.identity.peer_id() {
            return Err(ApiError::new("bad-peer", "that is this node's own key; name another node"));
        }
        let links = self.shared.links_by_peer().await?.remove(&peer_id).unwrap_or_default();
        let mut links: Vec<LinkPing> = links.into_iter().map(unmeasured).collect();
        let next_hop = match links.is_empty() {
            true => self.clone().route_table().await?.routes.into_iter().find(|route| route.destination == peer_id),
            false => None,
        };
        let rounds = if links.is_empty() { 0 } else { count.clamp(1, MAX_COUNT) };
        for round in 0..rounds {
            let began = Instant::now();
            join_all(links.iter_mut().map(|link| self.ping_once(link))).await;
            if round + 1 < rounds {
                tokio::time::sleep(EVERY.saturating_sub(began.elapsed())).await;
            }
        }
        let nickname = self.shared.directory().name_of(&peer_id).map(str::to_owned);
        let next_hop = next_hop.map(|route| route.next_hop);
        Ok(PingReport { peer_id, nickname, links, next_hop })
    }

    async fn ping_once(&self, link: &mut LinkPing) {
        let (reply, answer) = oneshot::channel();
        let asked = self.shared.engine.send(Message::Ping(link.link, reply)).await;
        let answer = tokio::time::timeout(ANSWER_WAIT, answer).await;
        match (asked, answer) {
            (Ok(()), Ok(Ok(took))) => link.rtts_us.push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX)),
            _ => link.lost += 1,
        }
    }
}

fn unmeasured(link: LinkInfo) -> LinkPing {
    let LinkInfo { link, transport, remote, relayed, preferred, .. } = link;
    LinkPing { link, transport, remote, relayed, preferred, rtts_us: Vec::new(), lost: 0 }
}
