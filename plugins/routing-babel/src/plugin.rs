//! The protocol as a plugin: between the host's calls and [`Babel`].

use qpq_plugin_api::{
    Error, Host, Identity, LinkState, RouteContext, RouteKind, RouteLink, RouteLinks, RouteQuery, Routing,
};
use serde_json::{Value, json};

use qpq_babel::babel::{Answer, Babel, Output, Query};
use qpq_babel::config::Settings;
use qpq_babel::record::Key;

/// Kind of an envelope for everybody.
const BROADCAST: u32 = 1;

/// The routing plugin.
#[derive(Debug)]
pub struct BabelRouting {
    settings: Settings,
    identity: Identity,
    key: Key,
    /// Made at the first call: only then there is time and randomness.
    babel: Option<Babel>,
}

impl BabelRouting {
    fn babel(&mut self, context: &mut RouteContext<'_>) -> &mut Babel {
        self.babel.get_or_insert_with(|| {
            let mut seed = [0; 8];
            // Without randomness all nodes would draw the same numbers: the key keeps them apart.
            if context.random(&mut seed).is_err() {
                seed.iter_mut().zip(self.key).for_each(|(seed, key)| *seed = key);
            }
            let identity = self.identity;
            let signer = Box::new(move |message: &[u8]| identity.sign(message).ok());
            Babel::new(self.settings, self.key, signer, u64::from_le_bytes(seed), context.now_ms())
        })
    }

    fn call(&mut self, context: &mut RouteContext<'_>, work: impl FnOnce(&mut Babel, u64, &mut Output)) {
        let (now_ms, mut out) = (context.now_ms(), Output::default());
        work(self.babel(context), now_ms, &mut out);
        pass_on(context, &out);
    }
}

/// Hands to the host what a call wants done. A frame that it doesn't take is lost; the next digest brings that to light.
fn pass_on(context: &mut RouteContext<'_>, out: &Output) {
    for (link, frame) in &out.control {
        _ = context.send_control(*link, frame);
    }
    for destination in &out.changed {
        context.invalidate(Some(destination));
    }
}

impl Routing for BabelRouting {
    const LEARNS_FROM_SEEN: bool = false;

    fn create(host: Host, _instance: &str, config: Value) -> Result<Self, Error> {
        let settings = Settings::read(&config).map_err(Error::invalid)?;
        let identity = host.identity()?;
        Ok(Self { settings, identity, key: identity.public_key()?, babel: None })
    }

    fn on_link(&mut self, context: &mut RouteContext<'_>, link: &RouteLink<'_>) {
        self.call(context, |babel, now_ms, out| match link.state {
            LinkState::Up => babel.link_up(now_ms, link.link, link.peer, out),
            LinkState::Down => babel.link_down(now_ms, link.link, out),
            LinkState::Metrics => {
                // Without a round-trip time there is nothing that a cost could be made of.
                if let Some(rtt_us) = link.rtt_us {
                    babel.link_measured(now_ms, link.link, rtt_us, link.loss_ppm, out);
                }
            }
        });
    }

    fn on_control(&mut self, context: &mut RouteContext<'_>, link: u64, bytes: &[u8]) {
        self.call(context, |babel, now_ms, out| babel.control(now_ms, link, bytes, out));
    }

    fn on_tick(&mut self, context: &mut RouteContext<'_>) -> Option<u64> {
        let mut next = None;
        self.call(context, |babel, now_ms, out| next = Some(babel.tick(now_ms, out)));
        next
    }

    fn route(&mut self, context: &mut RouteContext<'_>, query: &RouteQuery, links: &mut RouteLinks<'_>) -> RouteKind {
        let now_ms = context.now_ms();
        let query = Query { destination: query.destination, broadcast: query.kind == BROADCAST, from: query.from_link };
        match self.babel(context).route(now_ms, &query) {
            Answer::Known(link) => {
                links.push(link);
                RouteKind::Known
            }
            Answer::Spray(all) if all.is_empty() => RouteKind::Unknown,
            Answer::Spray(all) => {
                all.into_iter().for_each(|link| links.push(link));
                RouteKind::Flood
            }
        }
    }

    fn dump(&self, _now_ms: u64) -> Value {
        self.babel.as_ref().map_or_else(|| json!({ "routes": [] }), Babel::dump)
    }
}
