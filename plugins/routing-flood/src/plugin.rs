//! The rules as a plugin: between the host's calls and [`Flood`].

use qpq_plugin_api::{Error, Host, LinkState, RouteContext, RouteKind, RouteLink, RouteLinks, RouteQuery, Routing};
use serde_json::{Value, json};

use crate::config::limits;
use crate::flood::{Choice, Flood, Route};
use crate::table::{Key, Observed, UNKNOWN_HOPS};

/// How often it wants to be called, in milliseconds: then old entries go, and the host hears of changed answers.
const TICK_MS: u64 = 1_000;

/// Kind of an envelope for everybody.
const BROADCAST: u32 = 1;

/// The routing plugin.
#[derive(Debug)]
pub struct FloodRouting {
    flood: Flood,
    /// Answers have changed since the last tick. The host asks anew for all that waits when it hears so, which is too
    /// much to do for each new origin.
    changed: bool,
}

impl Routing for FloodRouting {
    fn create(_host: Host, _instance: &str, config: Value) -> Result<Self, Error> {
        let limits = limits(&config).map_err(Error::invalid)?;
        Ok(Self { flood: Flood::new(limits), changed: false })
    }

    fn on_link(&mut self, context: &mut RouteContext<'_>, link: &RouteLink<'_>) {
        match link.state {
            LinkState::Up => self.flood.link_up(link.link, link.peer),
            LinkState::Down => {
                // What was meant for one link may go over any other now. At once: this is rare, and somebody waits.
                if !self.flood.link_down(link.link).is_empty() {
                    context.invalidate(None);
                }
            }
            LinkState::Metrics => {}
        }
    }

    fn on_seen(&mut self, context: &mut RouteContext<'_>, origin: &[u8; 32], link: u64, hops: u32) {
        let hops = match u8::try_from(hops) {
            Ok(0) | Err(_) => UNKNOWN_HOPS,
            Ok(hops) => hops,
        };
        let observed = self.flood.seen(*origin, link, hops, context.now_ms());
        self.changed |= matches!(observed, Observed::New | Observed::Moved);
    }

    fn on_tick(&mut self, context: &mut RouteContext<'_>) -> Option<u64> {
        let expired = self.flood.tick(context.now_ms());
        if std::mem::take(&mut self.changed) || expired > 0 {
            context.invalidate(None);
        }
        Some(context.now_ms().saturating_add(TICK_MS))
    }

    fn route(&mut self, context: &mut RouteContext<'_>, query: &RouteQuery, links: &mut RouteLinks<'_>) -> RouteKind {
        let choice = match query.kind {
            BROADCAST => self.flood.flood(query.from_link),
            _ => self.flood.route_direct(&query.destination, query.from_link, context.now_ms()),
        };
        match choice {
            Choice::Known(link) => {
                links.push(link);
                RouteKind::Known
            }
            Choice::Flood(all) if all.is_empty() => RouteKind::Unknown,
            Choice::Flood(all) => {
                all.into_iter().for_each(|link| links.push(link));
                RouteKind::Flood
            }
        }
    }

    fn dump(&self, now_ms: u64) -> Value {
        let (origins, evicted) = self.flood.learned_count();
        let routes: Vec<Value> = self.flood.routes(now_ms).iter().map(row).collect();
        json!({ "routes": routes, "links": self.flood.link_count(), "origins": origins, "evicted": evicted })
    }
}

/// A line of the table. The metric is the number of links to cross.
fn row(route: &Route) -> Value {
    let hops = (route.hops != UNKNOWN_HOPS).then_some(route.hops);
    json!({
        "destination": hex(&route.destination),
        "next_hop": hex(&route.next_hop),
        "link": route.link,
        "metric": u32::from(route.hops),
        "hops": hops,
        "age_ms": route.age_ms,
    })
}

fn hex(key: &Key) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}
