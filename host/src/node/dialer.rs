//! Keeps links to the servers that the configuration or the user named.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use qpq_schemas::PeerId;
use rand::RngExt;
use tokio::runtime::Handle;
use tracing::{debug, info};

use super::switchboard::Switchboard;
use super::transports::Transports;
use crate::api::ApiError;

/// A link that lived at least so long was a good one: the pause before the next dial starts anew.
const GOOD_AFTER: Duration = Duration::from_secs(10);
/// How often a target without a running transport is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Pause before a neighbour is dialled that replaces its transport: the port changes hands within that time.
const HANDOVER: Duration = Duration::from_millis(2);
/// Servers kept at most.
const MAX_TARGETS: usize = 1_024;
/// Links have so long to prove their peer after the dial succeeded.
const PROOF: Duration = Duration::from_secs(6);

/// How a server stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Target {
    /// `up`, `connecting` or `waiting`.
    pub(super) state: &'static str,
    /// The key behind the address, once it was linked.
    pub(super) peer: Option<PeerId>,
    /// Why the last dial failed.
    pub(super) last_error: Option<String>,
}

/// Shortest and longest pause before an address is dialled again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pauses {
    pub(super) min: Duration,
    pub(super) max: Duration,
}

/// The servers to keep links to, by address.
pub(super) struct Dialer {
    targets: Mutex<BTreeMap<String, Target>>,
    transports: Arc<Transports>,
    board: Arc<Switchboard>,
    pauses: Pauses,
    runtime: Handle,
}

impl Dialer {
    pub(super) fn new(
        transports: Arc<Transports>,
        board: Arc<Switchboard>,
        pauses: Pauses,
        runtime: Handle,
    ) -> Arc<Self> {
        Arc::new(Self { targets: Mutex::default(), transports, board, pauses, runtime })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Target>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All servers and how they stand.
    pub(super) fn targets(&self) -> BTreeMap<String, Target> {
        self.lock().clone()
    }

    /// How one server stands.
    pub(super) fn target(&self, uri: &str) -> Option<Target> {
        self.lock().get(uri).cloned()
    }

    /// Keeps a link to that address from now on; whether it is new.
    pub(super) fn keep(self: &Arc<Self>, uri: &str) -> Result<bool, ApiError> {
        let mut targets = self.lock();
        if targets.contains_key(uri) {
            return Ok(false);
        }
        if targets.len() >= MAX_TARGETS {
            return Err(ApiError::new("too-many-servers", format!("{MAX_TARGETS} servers are noted already")));
        }
        targets.insert(uri.to_owned(), Target { state: "connecting", ..Target::default() });
        drop(targets);
        let (dialer, uri) = (Arc::clone(self), uri.to_owned());
        self.runtime.spawn(async move { dialer.serve(&uri).await });
        Ok(true)
    }

    fn note(&self, uri: &str, change: impl FnOnce(&mut Target)) {
        if let Some(target) = self.lock().get_mut(uri) {
            change(target);
        }
    }

    async fn serve(&self, uri: &str) {
        let mut pause = self.pauses.min;
        loop {
            self.while_linked(uri).await;
            self.note(uri, |target| target.state = "connecting");
            let began = Instant::now();
            match self.dial(uri).await {
                Ok(()) => debug!(uri, "the link to this server ended"),
                Err(why) => {
                    let known = self.target(uri).and_then(|target| target.last_error).as_ref() == Some(&why);
                    if !known {
                        info!(uri, why, "this server can't be reached; trying on");
                    }
                    self.note(uri, |target| target.last_error = Some(why));
                }
            }
            if began.elapsed() > GOOD_AFTER {
                pause = self.pauses.min;
            }
            if self.target(uri).and_then(|target| target.peer).is_some_and(|peer| self.board.expects(&peer)) {
                tokio::time::sleep(HANDOVER).await;
                continue;
            }
            self.note(uri, |target| target.state = "waiting");
            let jittered = pause.mul_f64(rand::rng().random_range(0.5..1.0));
            tokio::time::sleep(jittered).await;
            pause = (pause * 2).min(self.pauses.max);
        }
    }

    /// Waits while the peer behind the address is linked, by whichever link.
    async fn while_linked(&self, uri: &str) {
        let mut changes = self.board.watch();
        while let Some(peer) = self.target(uri).and_then(|target| target.peer) {
            if !self.board.linked(&peer) {
                return;
            }
            self.note(uri, |target| target.state = "up");
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Makes a link and stays until it ends.
    async fn dial(&self, uri: &str) -> Result<(), String> {
        let transport = loop {
            match self.transports.for_uri(uri) {
                Some(transport) => break transport,
                None => {
                    let why = "no transport plugin for such addresses is running";
                    self.note(uri, |target| target.last_error = Some(why.to_owned()));
                    _ = tokio::time::timeout(LOOK, self.transports.changed()).await;
                }
            }
        };
        let mut changes = self.board.watch();
        let link = transport.dial(uri, None).await.map_err(|error| error.to_string())?;
        let proven = async {
            loop {
                if let Some(peer) = self.board.peer_of(link).or_else(|| self.board.duplicate_of(link)) {
                    return Some(peer);
                }
                changes.changed().await.ok()?;
            }
        };
        let peer = match tokio::time::timeout(PROOF, proven).await {
            Ok(Some(peer)) => peer,
            _ => return Err("the other side did not prove who it is, or has a link to this node already".to_owned()),
        };
        self.note(uri, |target| *target = Target { state: "up", peer: Some(peer), last_error: None });
        while self.board.peer_of(link).is_some() {
            if changes.changed().await.is_err() {
                break;
            }
        }
        Ok(())
    }
}
