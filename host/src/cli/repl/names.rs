//! Names that the node knows, for completion.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::complete::Kind;
use crate::api::{ApiError, NodeApi};
use crate::cli::term::clean;

/// How long an answer of the node is used.
const FRESH: Duration = Duration::from_secs(5);

/// How long completion waits for the node. Longer would be felt at the keyboard.
const PATIENCE: Duration = Duration::from_millis(300);

/// Asks the node for names, and remembers its answers for a moment.
pub(super) struct Names {
    node: Arc<dyn NodeApi>,
    runtime: Arc<Runtime>,
    known: RefCell<HashMap<&'static str, (Instant, Vec<String>)>>,
}

impl Names {
    /// Asks that node, on that runtime.
    pub(super) fn new(node: Arc<dyn NodeApi>, runtime: Arc<Runtime>) -> Self {
        Self { node, runtime, known: RefCell::default() }
    }

    /// The names of a kind; none when the node doesn't answer in time.
    pub(super) fn of(&self, kind: Kind) -> Vec<String> {
        let key = match kind {
            Kind::Peers => "peers",
            Kind::Channels => "channels",
            Kind::Plugins => "plugins",
            Kind::Bots => "bots",
            Kind::Calls => return crate::script::meta::calls().map(|call| call.name.to_owned()).collect(),
        };
        if let Some((when, names)) = self.known.borrow().get(key)
            && when.elapsed() < FRESH
        {
            return names.clone();
        }
        let asked = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, self.ask(kind)).await });
        let names: Vec<String> = asked.ok().and_then(Result::ok).unwrap_or_default();
        self.known.borrow_mut().insert(key, (Instant::now(), names.clone()));
        names
    }

    async fn ask(&self, kind: Kind) -> Result<Vec<String>, ApiError> {
        let names: Vec<String> = match kind {
            Kind::Peers => {
                let name = |peer: crate::api::PeerInfo| peer.nickname.or(peer.peer_id.map(|id| id.to_string()));
                self.node.peers().await?.into_iter().filter_map(name).collect()
            }
            Kind::Channels => self.node.channels().await?.into_iter().map(|channel| channel.name).collect(),
            Kind::Plugins => self.node.plugins().await?.into_iter().map(|plugin| plugin.name).collect(),
            Kind::Bots => self.node.scripts().await?.into_iter().map(|bot| bot.name).collect(),
            Kind::Calls => vec![], // known without the node
        };
        // A name that had to be cleaned could not be found again by its clean form.
        Ok(names.into_iter().filter(|name| clean(name) == *name).collect())
    }
}
