//! Processes that don't keep to the protocol, as one would that its bot took over. They are not shut off; the host has
//! to do with them by itself.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use bytes::BytesMut;

use super::super::live::{EVE, Live, Store};
use super::super::write;
use super::{config, program};
use crate::script::process::wire::{self, Call, Frames, ToChild, ToHost};

/// The child's end, in the hands of somebody evil.
struct Evil {
    socket: UnixStream,
    frames: Frames,
}

impl Evil {
    /// Behaves well until the bot is loaded.
    fn loaded() -> Self {
        let socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().unwrap());
        let mut evil = Self { socket, frames: Frames::new(64 << 20) };
        evil.wait(|frame| matches!(frame, ToChild::Confine { .. }));
        evil.say(&ToHost::Confined { without_seccomp: None });
        evil.wait(|frame| matches!(frame, ToChild::Start(_)));
        evil.say(&ToHost::Loaded { commands: Vec::new(), topics: Vec::new(), memory: 1 });
        evil.wait(|frame| matches!(frame, ToChild::Activate { .. }));
        evil
    }

    fn say(&mut self, frame: &ToHost) {
        let mut out = BytesMut::new();
        wire::put(&mut out, frame).unwrap();
        self.socket.write_all(&out).unwrap();
    }

    fn wait(&mut self, wanted: impl Fn(&ToChild) -> bool) {
        let mut chunk = [0; 4_096];
        loop {
            while let Some(frame) = self.frames.next::<ToChild>().unwrap() {
                if wanted(&frame) {
                    return;
                }
            }
            let count = self.socket.read(&mut chunk).unwrap();
            self.frames.buffer.extend_from_slice(&chunk[..count]);
        }
    }

    /// Waits to be ended.
    fn linger(&mut self) -> ! {
        loop {
            self.wait(|_| false);
        }
    }
}

/// A host whose bots run such a program, and what it says of one after a while.
#[track_caller]
fn end_of(child: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "bot.lua", "-- nothing");
    write(dir.path(), "honest.lua", "mesh.on_broadcast('honest', function(msg) msg:reply(msg.text) end)");
    let mut config = config(dir.path());
    config.child = program(&format!("{}::{child}", module_path!()));
    config.isolation = crate::script::Isolation::Thread;
    let evil = crate::script::BotConfig { isolation: Some(crate::script::Isolation::Process), ..Default::default() };
    config.bots.insert("bot".to_owned(), evil);
    let live = Live::start(config, Store::default());
    live.running("honest");
    live.until(|live| live.bot("bot").is_some_and(|bot| bot.state == "failed"));
    assert_eq!(live.ask(EVE, Some("honest"), "still here"), "still here");
    let problem = live.bot("bot").unwrap().problem.unwrap();
    live.stop();
    problem
}

macro_rules! evil {
    ($($(#[doc = $doc:literal])* $promise:ident ends $child:ident with $words:literal $body:expr;)+) => {
        $($(#[doc = $doc])*
        #[test]
        fn $promise() {
            let problem = end_of(stringify!($child));
            assert!(problem.contains($words), "{problem}");
        }

        #[test]
        #[ignore = "the program of an evil process"]
        fn $child() {
            let body: fn(Evil) = $body;
            body(Evil::loaded());
        })+
    };
}

evil! {
    noise_on_the_socket ends makes_noise with "broke the rules: a frame of" |mut evil| {
        evil.socket.write_all(&[0xff; 100]).unwrap();
        evil.linger();
    };
    a_call_without_permission ends looks_around with "broke the rules: a call that wants the permission \"peers\"" |mut evil| {
        evil.say(&ToHost::Call { id: 1, call: Call::Peers });
        evil.linger();
    };
    a_process_that_hangs ends hangs with "stuck: it worked for more than" |_evil| {
        loop {
            std::hint::spin_loop();
        }
    };
    a_process_that_takes_memory_without_end ends eats with "MiB of memory, more than" |mut evil| {
        let mut all: Vec<Vec<u8>> = Vec::new();
        (0..100).for_each(|_| all.push(vec![1; 1 << 20]));
        // The host looks at what does something.
        loop {
            all.iter_mut().for_each(|part| part[0] = part[0].wrapping_add(1));
            evil.say(&ToHost::Trace { level: crate::script::log::Level::Debug, text: String::new() });
        }
    };
    a_process_that_leaves ends leaves with "its process ended" |_evil| {};
    a_process_that_says_that_it_is_done ends resigns with "nobody had told it to end" |mut evil| {
        evil.say(&ToHost::Ended(crate::script::worker::End::Done));
        evil.linger();
    };
    a_process_that_only_hangs_up ends hangs_up with "its process hung up" |evil| {
        evil.socket.shutdown(std::net::Shutdown::Both).unwrap();
        loop {
            std::thread::park();
        }
    };
    a_process_that_crashes ends crashes with "its process gave up" |_evil| std::process::abort();
    a_process_that_computes_beyond_its_share ends computes with "CPU time beyond its share" |mut evil| {
        evil.socket.set_nonblocking(true).unwrap();
        let mut chunk = [0; 4_096];
        loop {
            // It answers as an honest one does, and works on all the same.
            while let Ok(count) = evil.socket.read(&mut chunk) {
                evil.frames.buffer.extend_from_slice(&chunk[..count]);
            }
            while let Some(frame) = evil.frames.next::<ToChild>().unwrap() {
                if let ToChild::Ping { id, .. } = frame {
                    evil.say(&ToHost::Pong(id));
                }
            }
        }
    };
}
