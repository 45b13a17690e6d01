//! One node of the simulation: a real core over a virtual disk.

use std::sync::Arc;

use qpq_host::core::shelf::{Shelf, StoreLimits};
use qpq_host::core::{Core, CoreConfig, Event};
use qpq_host::identity::Identity;
use qpq_host::plugin::RoutingLibrary;
use qpq_host::sim::Disk;
use qpq_schemas::record::NodeRecord;
use qpq_schemas::sealing::SealingKeyPair;
use qpq_schemas::signature::SigningKey;
use qpq_schemas::{PeerId, TopicId};

use super::checks::check_record;
use super::recorder::Recorder;
use crate::{Failure, Outcome, Random};

/// The time at which every run begins, Unix time in milliseconds.
pub const START_MS: u64 = 1_800_000_000_000;

/// How long a node record counts, as the daemon makes them, in milliseconds.
const RECORD_LIFE_MS: u64 = qpq_host::identity::RECORD_LIFETIME_MS;

/// A node.
pub struct Node {
    /// Its key.
    pub key: SigningKey,
    seed: [u8; 32],
    /// Its rules; none while it is down.
    pub core: Option<Core>,
    /// Its routing plugin.
    pub router: Option<Recorder>,
    /// What survives a crash.
    pub disk: Disk,
    /// How long a commit with its sync takes, in microseconds.
    pub sync_us: u64,
    /// How far its clock is ahead, in milliseconds.
    pub skew_ms: i64,
    /// Counts its starts, so that what was under way for an earlier one is void.
    pub life: u32,
    /// When its core is to be called next, in microseconds.
    pub tick_us: u64,
    /// Topics that its user has subscribed.
    pub topics: Vec<TopicId>,
    /// Up to where its user has read the inbox.
    pub read: u64,
    /// Whether its routing plugin announces it.
    pub announces: bool,
}

impl Node {
    /// A node that was never started.
    pub fn new(number: usize, seed: u64, sync_us: u64) -> Self {
        let seed = Random::seeded(seed ^ (number as u64 + 1).wrapping_mul(0xd134_2543_de82_ef95)).bytes32();
        Self {
            key: SigningKey::from_seed(&seed),
            seed,
            core: None,
            router: None,
            disk: Disk::default(),
            sync_us,
            skew_ms: 0,
            life: 0,
            tick_us: u64::MAX,
            topics: Vec::new(),
            read: 0,
            announces: true,
        }
    }

    /// Its public key.
    pub fn peer(&self) -> PeerId {
        self.key.public()
    }

    /// What its clock shows, Unix time in milliseconds.
    pub fn clock_ms(&self, now_us: u64) -> u64 {
        (START_MS + now_us / 1_000).saturating_add_signed(self.skew_ms)
    }

    /// When its clock shows that time, in microseconds of the run; 0 where that is over.
    pub fn when_us(&self, clock_ms: u64) -> u64 {
        clock_ms.saturating_sub(START_MS.saturating_add_signed(self.skew_ms)).saturating_mul(1_000)
    }

    /// Starts it over what its disk holds.
    ///
    /// # Errors
    /// When the routing plugin doesn't start.
    pub fn start(&mut self, library: &RoutingLibrary, now_us: u64) -> Outcome {
        self.life += 1;
        let mut seed = self.seed;
        seed.iter_mut().zip(self.life.to_be_bytes()).for_each(|(byte, life)| *byte ^= life);
        let identity = Arc::new(Identity::from_seed(&self.seed));
        let router = library.start(seed, identity).map_err(|error| Failure::new(error.to_string()))?;
        let router = Recorder::new(router);
        let config = CoreConfig { check_record, ..CoreConfig::new(self.peer()) };
        let mut core = Core::new(config, self.recovered(), self.disk.next_seq(), Box::new(router.clone()));
        let now_ms = self.clock_ms(now_us);
        for topic in &self.topics {
            core.handle(Event::Subscribe(*topic), now_ms);
        }
        core.handle(Event::InboxRead { seq: self.read }, now_ms);
        (self.core, self.router, self.tick_us) = (Some(core), Some(router), u64::MAX);
        Ok(())
    }

    /// What its disk holds, as a shelf.
    pub(super) fn recovered(&self) -> Shelf {
        let mut shelf = Shelf::new(StoreLimits::default());
        let (heads, seen) = self.disk.recover();
        heads.for_each(|head| shelf.restore(head));
        seen.for_each(|entry| shelf.restore_seen(entry));
        shelf
    }

    /// kill -9, or power is lost.
    pub fn crash(&mut self, random: &mut Random) {
        self.disk.crash(random);
        (self.core, self.router, self.tick_us) = (None, None, u64::MAX);
    }

    /// Whether it runs.
    pub fn lives(&self) -> bool {
        self.core.is_some()
    }

    /// What it says of itself, as the daemon does: with a nickname and two addresses.
    ///
    /// # Errors
    /// When the record breaks a limit.
    pub fn record(&self, number: u32, now_us: u64) -> Outcome<bytes::Bytes> {
        let now_ms = self.clock_ms(now_us);
        let [_, a, b, c] = number.to_be_bytes();
        let record = NodeRecord {
            peer: self.peer(),
            seq_ms: now_ms,
            expires_ms: now_ms + RECORD_LIFE_MS,
            sealing: SealingKeyPair::of_identity(&self.key).public(),
            nickname: format!("node-{number}"),
            domain: String::new(),
            addresses: vec![format!("quic://10.{a}.{b}.{c}:4433"), format!("quic://[fd00::{b:x}:{c:x}]:4433")],
        };
        Ok(record.sign(&self.key)?.into())
    }
}

/// How a core was found to stand, for reports.
#[must_use]
pub fn counters(core: &Core) -> String {
    format!("{:?} {:?}", core.counters(), core.shelf().stats().counters)
}
