//! A node of the virtual mesh: a real core, with all of a node's memory around it.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use qpq_schemas::PeerId;
use rand::CryptoRng;
use sha2::{Digest, Sha256};

use super::super::log::Counter;
use super::super::shared::{LiveEvent, Shared};
use super::super::store::MemoryStore;
use super::compass::{Compass, Map};
use super::scene::Scene;
use crate::api::InboxItem;
use crate::core::shelf::{Shelf, StoreLimits};
use crate::core::{Core, CoreConfig, Event};
use crate::identity::{Directory, Identity, SealingKeys};
use crate::node::channels::Channels;
use crate::node::deliveries::Deliveries;
use crate::node::emergency::Desk;
use crate::node::mail::Opener;
use crate::sim::Disk;
use crate::store::StoredRecord;

/// The key of the node of that name: the same in every test.
pub(super) fn key_of(name: &str) -> Identity {
    let seed: [u8; 32] = Sha256::new().chain_update(b"qpq-script-test\0").chain_update(name).finalize().into();
    Identity::from_seed(&seed)
}

/// See the module.
pub(super) struct Node {
    pub name: String,
    /// The node whose side a person's node is on when the mesh breaks; `None` for a node that bots run on.
    pub home: Option<usize>,
    pub identity: Arc<Identity>,
    /// Its rules; none while it is down.
    pub core: Option<Core>,
    /// What survives a crash, with what follows below.
    pub disk: Disk,
    pub directory: Directory,
    pub channels: Channels,
    pub sealing: SealingKeys,
    pub records: BTreeMap<PeerId, Bytes>,
    /// How far each reader of the inbox has come.
    pub readers: BTreeMap<String, u64>,
    /// What its bots keep.
    pub store: Arc<MemoryStore>,
    pub deliveries: Deliveries,
    /// What stands around it.
    pub scene: Scene,
    /// The bots that run here.
    pub bots: Arc<RwLock<Vec<Arc<Shared>>>>,
    /// Numbers the lines of their logs.
    pub lines: Arc<Counter>,
    /// Counts its starts, so that what was under way for an earlier one is void.
    pub life: u32,
    /// When its core is to be called next, in microseconds.
    pub tick_us: u64,
}

impl Node {
    /// A node that was never started.
    pub(super) fn new(name: &str, home: Option<usize>, now_ms: u64, rng: &mut impl CryptoRng) -> Self {
        let identity = Arc::new(key_of(name));
        Self {
            name: name.to_owned(),
            home,
            core: None,
            disk: Disk::default(),
            directory: Directory::in_memory(Arc::clone(&identity)),
            channels: Channels::in_memory(),
            sealing: SealingKeys::in_memory(Arc::clone(&identity), now_ms, rng),
            records: BTreeMap::new(),
            readers: BTreeMap::new(),
            store: Arc::default(),
            deliveries: Deliveries::default(),
            scene: Scene::default(),
            bots: Arc::default(),
            lines: Arc::default(),
            life: 0,
            tick_us: u64::MAX,
            identity,
        }
    }

    pub(super) fn peer(&self) -> PeerId {
        self.identity.peer_id()
    }

    /// Starts it over what its disk holds.
    pub(super) fn start(&mut self, map: &Map, now_ms: u64) {
        self.life += 1;
        let mut shelf = Shelf::new(StoreLimits::default());
        let (heads, seen) = self.disk.recover();
        heads.for_each(|head| shelf.restore(head));
        seen.for_each(|entry| shelf.restore_seen(entry));
        let router = Box::new(Compass::new(Arc::clone(map), self.peer()));
        let mut core = Core::new(CoreConfig::new(self.peer()), shelf, self.disk.next_seq(), router);
        for wire in self.records.values() {
            core.restore_record(wire.clone(), now_ms);
        }
        for topic in self.channels.topics() {
            core.handle(Event::Subscribe(topic), now_ms);
        }
        (self.core, self.tick_us) = (Some(core), u64::MAX);
    }

    /// Messages as their reader sees them.
    pub(super) fn open(&self, seqs: impl IntoIterator<Item = u64>) -> Vec<InboxItem> {
        let (me, desk) = (self.peer(), Desk::default());
        let (channels, sealing, directory) = (&self.channels, &self.sealing, &self.directory);
        let opener = Opener { me, channels, sealing, directory, desk: &desk };
        let records = seqs.into_iter().filter_map(|seq| self.disk.record(seq));
        records.filter_map(|(head, wire)| opener.open(&StoredRecord { head, wire })).collect()
    }

    /// All that its inbox holds.
    pub(super) fn inbox(&self) -> Vec<InboxItem> {
        let places = self.core.iter().flat_map(|core| core.shelf().inbox(0).map(|head| head.seq));
        self.open(places.collect::<Vec<_>>())
    }

    /// Does something with each of the bots that run here.
    pub(super) fn each_bot(&self, f: impl Fn(&Shared)) {
        self.bots.read().unwrap_or_else(PoisonError::into_inner).iter().for_each(|bot| f(bot));
    }

    /// Tells the bots of a live event.
    pub(super) fn tell(&self, event: &LiveEvent) {
        self.each_bot(|bot| bot.push_live(event.clone()));
    }

    /// The name that this node knows a key by.
    pub(super) fn name_of(&self, peer: &PeerId) -> Option<String> {
        self.directory.name_of(peer).map(str::to_owned)
    }
}
