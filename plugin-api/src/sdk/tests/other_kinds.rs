//! Routing, discovery and stores through the C entries.

use std::path::Path;
use std::sync::Mutex;

use bytes::Bytes;
use serde_json::{Value, json};

use super::fake_host::{Driven, FakeHost, vtable, written};
use crate::abi::{self, Buf, RouteLink as CLink, RouteQuery as CQuery, Slice, Status, StoreItem, StoreSink, Str};
use crate::export::Shared;
use crate::sdk::routing::{LinkState, RouteContext, RouteKind, RouteLink, RouteLinks, RouteQuery, Routing};
use crate::{Discovery, DiscoveryHost, Error, Host, Op, PeerEvent, Plugin, Store, StoreHost, StoredItem};

/// Floods over all links.
struct Flood(Vec<u64>);

impl Routing for Flood {
    fn create(_: Host, _: &str, _: Value) -> Result<Self, Error> {
        Ok(Self(Vec::new()))
    }

    fn on_link(&mut self, context: &mut RouteContext<'_>, link: &RouteLink<'_>) {
        assert!(link.transport != "panic", "asked to");
        if link.state == LinkState::Up {
            self.0.push(link.link);
            context.send_control(link.link, &[1, 2]).expect("sent");
        }
        context.invalidate(None);
    }

    fn on_tick(&mut self, context: &mut RouteContext<'_>) -> Option<u64> {
        let mut dice = [0; 2];
        context.random(&mut dice).expect("random");
        Some(context.now_ms() + u64::from(dice[0]))
    }

    fn route(&mut self, _: &mut RouteContext<'_>, query: &RouteQuery, links: &mut RouteLinks<'_>) -> RouteKind {
        self.0.iter().filter(|link| Some(**link) != query.from_link).for_each(|link| links.push(*link));
        RouteKind::Flood
    }
}

fn link(number: u64, change: u32, transport: &str) -> CLink {
    let size = size_of::<CLink>() as u32;
    let transport = Str::new(transport);
    CLink { size, change, link: number, peer: [1; 32], rtt_us: 0, loss_ppm: 0, max_frame: 0, transport }
}

#[test]
fn a_routing_protocol_answers_and_asks() {
    let host = FakeHost::new();
    let driven = Driven::create::<Shared<Flood>>(host, "").expect("created");
    let v: abi::Routing = vtable(crate::export::routing::<Flood>());
    // SAFETY: as in all calls of this file, the instance lives, and so do structs, texts and arrays.
    unsafe {
        for n in 1..=3 {
            assert_eq!(v.on_link.expect("set")(driven.raw, 5, &link(n, 1, "t")), Status::OK);
        }
        assert_eq!(v.on_link.expect("set")(driven.raw, 5, &link(1, 77, "t")), Status::INVALID);
        assert_eq!(v.on_tick.expect("set")(driven.raw, 100), 104);
        assert_eq!(v.on_control.expect("set")(driven.raw, 6, 1, Slice::new(b"x")), Status::OK);
        assert_eq!(v.on_seen.expect("set")(driven.raw, 6, [2; 32].as_ptr(), 1, 0), Status::OK);
        assert_eq!(v.on_seen.expect("set")(driven.raw, 6, std::ptr::null(), 1, 0), Status::INVALID);
        let query = CQuery { size: size_of::<CQuery>() as u32, kind: 0, destination: [9; 32], from_link: 2 };
        let (mut room, mut flags) = ([0; 1], 0);
        let found = v.route.expect("set")(driven.raw, 7, &query, room.as_mut_ptr(), 1, &mut flags);
        assert_eq!((found, room, flags), (2, [1], abi::route_flags::FLOOD));
        assert_eq!(v.route.expect("set")(driven.raw, 7, &query, std::ptr::null_mut(), 0, &mut flags), 2);
        assert_eq!(written(|out| v.dump.expect("set")(driven.raw, 8, out)), r#"{"routes":[]}"#);
    }
    let told = host.told();
    assert_eq!(told.iter().filter(|line| line.starts_with("control")).count(), 3);
    assert!(told.contains(&"invalidate all".to_owned()));
}

#[test]
fn after_a_panic_a_routing_protocol_is_not_asked_again() {
    let host = FakeHost::new();
    let driven = Driven::create::<Shared<Flood>>(host, "").expect("created");
    let v: abi::Routing = vtable(crate::export::routing::<Flood>());
    // SAFETY: see above.
    unsafe {
        assert_eq!(v.on_link.expect("set")(driven.raw, 5, &link(1, 1, "panic")), Status::PANIC);
        assert_eq!(v.on_link.expect("set")(driven.raw, 5, &link(1, 1, "t")), Status::PANIC);
        assert_eq!(v.on_tick.expect("set")(driven.raw, 100), u64::MAX);
    }
    assert!(host.told().contains(&"fail panic the plugin panicked: asked to".to_owned()));
}

struct Neighbours(DiscoveryHost);

impl Plugin for Neighbours {
    fn create(host: Host, _: &str, _: Value) -> Result<Self, Error> {
        host.discovery().map(Self)
    }
}

impl Discovery for Neighbours {
    fn advertise(&self, op: Op, record: Value) {
        op.done(Ok(record["peer"].as_str().unwrap_or_default()));
    }
    fn browse(&self, op: Op, service: &str) {
        self.0.peer(PeerEvent::Found, op.id(), &json!({ "service": service })).expect("taken");
        op.ok();
    }
    fn cancel(&self, _: u64) {}
}

#[test]
fn a_discovery_service_announces_and_finds() {
    let host = FakeHost::new();
    let driven = Driven::create::<Neighbours>(host, "").expect("created");
    let v: abi::Discovery = vtable(crate::export::discovery::<Neighbours>());
    // SAFETY: see above.
    unsafe {
        v.advertise.expect("set")(driven.raw, 1, Str::new(r#"{"peer": "ab"}"#));
        v.advertise.expect("set")(driven.raw, 2, Str::new("{"));
        v.browse.expect("set")(driven.raw, 3, Str::new("mesh"));
        v.cancel.expect("set")(driven.raw, 3);
        assert_eq!(written(|out| v.stats.expect("set")(driven.raw, out)), "{}");
    }
    let told = host.told();
    assert!(told.contains(&"op 1 ok ab".to_owned()));
    assert!(told.iter().any(|line| line.starts_with("op 2 failed")));
    assert!(told.contains(&r#"peer 1 3 {"service":"mesh"}"#.to_owned()));
}

struct Shelf(StoreHost, Mutex<Vec<StoredItem>>);

impl Plugin for Shelf {
    fn create(host: Host, _: &str, _: Value) -> Result<Self, Error> {
        Ok(Self(host.store()?, Mutex::default()))
    }
}

impl Store for Shelf {
    fn open(&self, op: Op, path: &Path) {
        self.0.read_only(path.to_str());
        op.ok();
    }
    fn append(&self, op: Op, items: Vec<StoredItem>) {
        self.1.lock().expect("unpoisoned").extend(items);
        op.ok();
    }
    fn fetch(
        &self,
        recipient: &[u8; 32],
        cursor: u64,
        limit: u32,
        sink: &mut dyn FnMut(&StoredItem) -> bool,
    ) -> Result<(), Error> {
        let items = self.1.lock().expect("unpoisoned");
        let wanted = items.iter().filter(|i| i.recipient == *recipient && i.cursor >= cursor);
        let _ = wanted.take(limit as usize).all(sink);
        Ok(())
    }
    fn remove(&self, op: Op, ids: Vec<[u8; 32]>) {
        self.1.lock().expect("unpoisoned").retain(|item| !ids.contains(&item.id));
        op.ok();
    }
    fn expire(&self, op: Op, now_ms: u64) {
        let mut items = self.1.lock().expect("unpoisoned");
        let before = items.len();
        items.retain(|item| item.expires_ms > now_ms);
        op.done(Ok((before - items.len()).to_string()));
    }
}

fn c_item(id: u8, envelope: &Bytes) -> StoreItem {
    let (data, len) = (envelope.as_ptr(), envelope.len());
    let envelope = Buf { data, len, owner: std::ptr::null_mut(), release: None };
    let (id, recipient) = ([id; 32], [7; 32]);
    StoreItem { id, recipient, expires_ms: 50, cursor: 0, priority: 1, rsvd: 0, envelope }
}

#[test]
fn a_store_keeps_finds_and_forgets() {
    unsafe extern "C" fn take(ctx: *mut std::ffi::c_void, item: *const StoreItem) -> u32 {
        // SAFETY: the test passes its list; the item lives for the call.
        unsafe { (*ctx.cast::<Vec<u8>>()).push((*item).id[0]) };
        1
    }
    let host = FakeHost::new();
    let driven = Driven::create::<Shelf>(host, "").expect("created");
    let v: abi::Store = vtable(crate::export::store::<Shelf>());
    let bytes = Bytes::from_static(b"envelope");
    let fetch = || {
        let mut ids: Vec<u8> = Vec::new();
        let sink = StoreSink { ctx: (&raw mut ids).cast(), item: Some(take) };
        // SAFETY: see above.
        assert_eq!(unsafe { v.fetch.expect("set")(driven.raw, [7; 32].as_ptr(), 0, 10, sink) }, Status::OK);
        ids
    };
    // SAFETY: see above; the buffers are static, so taking them is free.
    unsafe {
        v.open.expect("set")(driven.raw, 1, Str::new("/data"));
        v.append.expect("set")(driven.raw, 2, [c_item(1, &bytes), c_item(2, &bytes)].as_ptr(), 2);
        assert_eq!(fetch(), [1, 2]);
        v.remove.expect("set")(driven.raw, 3, [1; 32].as_ptr(), 1);
        assert_eq!(fetch(), [2]);
        v.expire.expect("set")(driven.raw, 4, 60);
        assert!(fetch().is_empty());
        let no_sink = StoreSink { ctx: std::ptr::null_mut(), item: None };
        assert_eq!(v.fetch.expect("set")(driven.raw, std::ptr::null(), 0, 1, no_sink), Status::INVALID);
    }
    assert_eq!(host.told(), ["read-only /data", "op 1 ok ", "op 2 ok ", "op 3 ok ", "op 4 ok 1"]);
}
