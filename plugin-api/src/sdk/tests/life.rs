//! From `create` to `destroy`, with errors and panics at every step.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::fake_host::{Driven, FakeHost, vtable, written};
use crate::abi::{self, Status, Str};
use crate::sdk::frames::offer;
use crate::{Error, FrameBatch, FrameQueue, Host, LinkUp, Op, Plugin, QueueLimits, Transport, TransportHost};

/// A transport without a network: what is sent waits in a queue until `resume` delivers it back.
struct Loopback {
    host: TransportHost,
    queue: FrameQueue,
    kept: Mutex<Option<Op>>,
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the payload was dropped");
    }
}

static DESTROYED: AtomicUsize = AtomicUsize::new(0);

impl Drop for Loopback {
    fn drop(&mut self) {
        DESTROYED.fetch_add(1, Ordering::SeqCst);
    }
}

impl Plugin for Loopback {
    fn create(host: Host, instance: &str, config: Value) -> Result<Self, Error> {
        assert_eq!(instance, "t");
        match config["create"].as_str() {
            Some("fail") => return Err(Error::invalid("the port is taken")),
            Some("panic") => panic!("no port"),
            Some("bomb") => std::panic::panic_any(Bomb),
            _ => {}
        }
        let limits = QueueLimits { frames: 4, bytes: 10_000 };
        Ok(Self { host: host.transport()?, queue: FrameQueue::new(limits), kept: Mutex::default() })
    }

    fn quiesce(&self, op: Op, deadline: Duration) {
        op.done(Ok(format!("{deadline:?}")));
    }

    fn stop(&self, _deadline: Duration) -> Result<(), Error> {
        drop(self.kept.lock().expect("unpoisoned").take());
        Ok(())
    }
}

impl Transport for Loopback {
    fn listen(&self, op: Op, uri: &str) {
        if uri == "panic" {
            panic!("cannot listen");
        }
        *self.kept.lock().expect("unpoisoned") = Some(op);
    }

    fn dial(&self, op: Op, uri: &str, peer: Option<[u8; 32]>) {
        let up = LinkUp {
            link: 1,
            op: op.id(),
            outbound: true,
            relayed: false,
            reliable: true,
            peer,
            remote: uri,
            max_frame: 1200,
            channel_binding: b"binding",
            rtt: Some(Duration::from_millis(2)),
        };
        self.host.link_up(&up).expect("taken");
        op.ok();
    }

    fn close(&self, link: u64, reason: &str) {
        self.host.unsent(link, &self.queue.close());
        self.host.link_down(link, reason);
    }

    fn send(&self, frames: &mut FrameBatch<'_>) {
        self.queue.accept(frames);
    }

    fn resume(&self, link: u64) {
        let mut frames = VecDeque::new();
        let taken = self.queue.take(&mut frames, 100, usize::MAX);
        self.host.deliver(link, &mut frames);
        frames.into_iter().for_each(|frame| self.queue.push(frame).expect("room"));
        if taken.tell_other_side {
            self.host.writable(link);
        }
    }

    fn stats(&self) -> Value {
        json!({ "queued": self.queue.len() })
    }
}

fn loopback() -> (&'static FakeHost, Driven, abi::Transport) {
    let host = FakeHost::new();
    let driven = Driven::create::<Loopback>(host, "{}").expect("created");
    (host, driven, vtable(crate::export::transport::<Loopback>()))
}

#[test]
fn the_whole_life_of_a_transport() {
    let before = DESTROYED.load(Ordering::SeqCst);
    let (host, driven, vtable) = loopback();
    assert_eq!(driven.start(1), Status::OK);
    // SAFETY: as in all calls of this file, the instance lives, and so do texts and frames.
    unsafe {
        vtable.dial.expect("set")(driven.raw, 2, Str::new("loop:a"), [3; 32].as_ptr());
        let frames: Vec<Bytes> = [10, 2000, 10].map(|n| Bytes::from(vec![n as u8; n])).to_vec();
        assert_eq!(offer(1, &frames, |f, n| vtable.send.expect("set")(driven.raw, f, n)), 3);
        assert_eq!(written(|out| vtable.stats.expect("set")(driven.raw, out)), r#"{"queued":3}"#);
        vtable.resume.expect("set")(driven.raw, 1);
        assert_eq!(*host.frames.lock().expect("unpoisoned"), frames);
        vtable.close.expect("set")(driven.raw, 1, Str::new("bye"));
        driven.descriptor.quiesce.expect("set")(driven.raw, 3, 250);
    }
    assert_eq!(driven.stop(), Status::OK);
    drop(driven);
    assert!(DESTROYED.load(Ordering::SeqCst) > before);
    assert_eq!(host.told(), ["op 1 ok ", "link 1 1 op 2 loop:a", "op 2 ok ", "link 2 1 op 0 bye", "op 3 ok 250ms"]);
}

#[test]
fn backpressure_keeps_what_was_not_taken_and_wakes_once() {
    let (host, driven, vtable) = loopback();
    let send = vtable.send.expect("set");
    let frames: Vec<Bytes> = (0..6).map(|n| Bytes::from(vec![n; 1500])).collect();
    // SAFETY: see above.
    unsafe {
        assert_eq!(offer(1, &frames, |f, n| send(driven.raw, f, n)), 4);
        *host.room.lock().expect("unpoisoned") = 1;
        vtable.resume.expect("set")(driven.raw, 1);
        assert_eq!(host.told(), ["writable 1"]);
        assert_eq!(offer(1, &frames[4..], |f, n| send(driven.raw, f, n)), 1);
        *host.room.lock().expect("unpoisoned") = 10;
        vtable.resume.expect("set")(driven.raw, 1);
        assert_eq!(offer(1, &frames[5..], |f, n| send(driven.raw, f, n)), 1);
        vtable.close.expect("set")(driven.raw, 1, Str::EMPTY);
    }
    assert_eq!(*host.frames.lock().expect("unpoisoned"), frames[..5]);
    assert_eq!(host.told(), ["writable 1", "unsent 1", "link 2 1 op 0 "]);
}

#[test]
fn create_reports_why_it_failed() {
    for (config, status, said) in [
        (r#"{"create": "fail"}"#, Status::INVALID, "fail invalid the port is taken"),
        (r#"{"create": "panic"}"#, Status::PANIC, "fail panic the plugin panicked in create: no port"),
        (r#"{"create": "bomb"}"#, Status::PANIC, "fail panic the plugin panicked in create: a panic without a message"),
    ] {
        let host = FakeHost::new();
        assert_eq!(Driven::create::<Loopback>(host, config).err(), Some(status));
        assert!(host.told().contains(&said.to_owned()), "{said}");
    }
    let host = FakeHost::new();
    assert_eq!(Driven::create::<Loopback>(host, "{").err(), Some(Status::INVALID));
}

#[test]
fn a_panic_in_a_callback_fails_the_instance_and_answers_the_operation() {
    let (host, driven, vtable) = loopback();
    // SAFETY: see above.
    let status = unsafe { vtable.listen.expect("set")(driven.raw, 9, Str::new("panic")) };
    assert_eq!(status, Status::OK, "the operation is answered by op_done");
    assert_eq!(
        host.told(),
        [
            "op 9 failed the plugin gave up the operation without an answer",
            "fail panic the plugin panicked: cannot listen"
        ]
    );
}

#[test]
fn an_operation_that_is_kept_until_stop_is_answered_then() {
    let (host, driven, vtable) = loopback();
    // SAFETY: see above.
    unsafe { vtable.listen.expect("set")(driven.raw, 5, Str::new("loop:b")) };
    assert!(host.told().is_empty());
    driven.stop();
    assert_eq!(host.told(), ["op 5 failed the plugin gave up the operation without an answer"]);
}

#[test]
fn bad_text_of_the_host_fails_the_operation_only() {
    let (host, driven, vtable) = loopback();
    let bad = [0xffu8, 0xfe];
    // SAFETY: see above.
    unsafe {
        vtable.listen.expect("set")(driven.raw, 6, Str { ptr: bad.as_ptr(), len: 2 });
        vtable.dial.expect("set")(driven.raw, 7, Str { ptr: std::ptr::null(), len: 2 }, std::ptr::null());
    }
    let told = host.told();
    assert!(told.iter().any(|line| line.starts_with("op 6 failed")), "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("op 7 failed")), "{told:?}");
    assert!(!told.iter().any(|line| line.starts_with("fail")), "{told:?}");
}

#[test]
fn null_is_answered_and_not_followed() {
    let vtable: abi::Transport = vtable(crate::export::transport::<Loopback>());
    let descriptor_create = |host| {
        let mut raw = std::ptr::null_mut();
        let (_, driven, _) = loopback();
        // SAFETY: a NULL host is what is tested.
        let status = unsafe { driven.descriptor.create.expect("set")(host, Str::EMPTY, Str::EMPTY, &raw mut raw) };
        (status, raw.is_null())
    };
    assert_eq!(descriptor_create(std::ptr::null()), (Status::INVALID, true));
    // SAFETY: NULL is what is tested.
    unsafe {
        assert_eq!(vtable.send.expect("set")(std::ptr::null_mut(), std::ptr::null(), 3), 0);
        assert_eq!(vtable.close.expect("set")(std::ptr::null_mut(), 1, Str::EMPTY), Status::PANIC);
        vtable.resume.expect("set")(std::ptr::null_mut(), 1);
    }
}
