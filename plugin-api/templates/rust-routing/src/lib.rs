//! A routing protocol for quicproquo nodes. It sends to a neighbour directly, and floods everything else.
//!
//! Routing is a state machine: no threads, no clock, no randomness of its own. Time comes with each call and randomness
//! from the host, so that the same library runs in a simulator.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use qpq_plugin_api::{Error, Host, LinkState, RouteContext, RouteKind, RouteLink, RouteLinks, RouteQuery, Routing};
use serde_json::{Value, json};

/// Kind of an envelope for everybody.
const BROADCAST: u32 = 1;

/// The protocol.
pub struct Neighbours {
    /// Who is at the other end of each link that is up. In order, so that answers don't depend on chance.
    links: BTreeMap<u64, [u8; 32]>,
}

impl Routing for Neighbours {
    fn create(_host: Host, _instance: &str, _config: Value) -> Result<Self, Error> {
        Ok(Self { links: BTreeMap::new() })
    }

    fn on_link(&mut self, context: &mut RouteContext<'_>, link: &RouteLink<'_>) {
        match link.state {
            LinkState::Up => {
                self.links.insert(link.link, link.peer);
            }
            LinkState::Down => {
                self.links.remove(&link.link);
                // What was to go over it may go another way now.
                context.invalidate(None);
            }
            LinkState::Metrics => {}
        }
    }

    fn route(&mut self, _: &mut RouteContext<'_>, query: &RouteQuery, links: &mut RouteLinks<'_>) -> RouteKind {
        let others = || self.links.iter().filter(|(link, _)| Some(**link) != query.from_link);
        if query.kind != BROADCAST
            && let Some((link, _)) = others().find(|(_, peer)| **peer == query.destination)
        {
            links.push(*link);
            return RouteKind::Known;
        }
        others().for_each(|(link, _)| links.push(*link));
        if links.count() == 0 { RouteKind::Unknown } else { RouteKind::Flood }
    }

    fn dump(&self, _now_ms: u64) -> Value {
        let row = |peer: &[u8; 32]| {
            let peer: String = peer.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "destination": peer, "next_hop": peer, "metric": 1, "hops": 1, "age_ms": 0 })
        };
        json!({ "routes": self.links.values().map(row).collect::<Vec<_>>() })
    }
}

qpq_plugin_api::export_plugin! {
    routing: Neighbours,
    id: "routing-example",
    config_schema: r#"{"type": "object", "additionalProperties": false}"#,
    needs: "qpq.host.routing/1",
}
