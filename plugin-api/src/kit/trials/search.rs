#![allow(unsafe_code, reason = "calls the functions of a discovery plugin under trial")]

use std::time::Duration;

use crate::abi::{Discovery, Status, Str};
use crate::kit::actor::Actor;
use crate::kit::case::{Case, Stop, ensure};

use super::life::broken_texts;

/// What a node makes known.
const RECORD: &str = r#"{"peer": "0707070707070707070707070707070707070707070707070707070707070707",
 "addresses": ["quic://192.0.2.7:4433"], "domain": "kit.example", "server": "192.0.2.7:4433"}"#;
/// What a node looks for.
const SERVICE: &str = "_quicproquo._udp.local.";

/// A discovery plugin, and the calls that a host makes.
struct Searcher {
    actor: Actor,
    vtable: Discovery,
}

impl Searcher {
    fn new(case: &Case) -> Result<Self, Stop> {
        Ok(Self { actor: case.started("instance")?, vtable: case.library.discovery()? })
    }

    /// Begins to advertise or browse, and waits for the answer: the operation, its status and the reason.
    fn begin(&self, advertise: bool, text: Str) -> Result<(u64, Status, String), Stop> {
        let (name, call) =
            if advertise { ("advertise", self.vtable.advertise) } else { ("browse", self.vtable.browse) };
        let call = call.ok_or_else(|| Stop::failed(format!("{name} is NULL")))?;
        // SAFETY: the instance lives, and so does the text.
        let op = match self.actor.begin(name, |op| unsafe { call(self.actor.instance(), op, text) })? {
            Ok(op) => op,
            Err(status) => return Ok((0, status, String::new())),
        };
        let answer = self.actor.stage.wait(&format!("the answer (op_done) to {name}"), |state| {
            state.ops.get(&op).and_then(|answers| answers.first().cloned())
        })?;
        Ok((op, answer.0, answer.1))
    }

    fn cancel(&self, op: u64) -> Status {
        let Some(call) = self.vtable.cancel else { return Status::UNSUPPORTED };
        // SAFETY: the instance lives.
        self.actor.quick("cancel", || unsafe { call(self.actor.instance(), op) })
    }
}

pub(in crate::kit) fn operations(case: &Case) -> Result<(), Stop> {
    let searcher = Searcher::new(case)?;
    for _ in 0..2 {
        let (advertised, status, why) = searcher.begin(true, Str::new(RECORD))?;
        ensure(status.is_ok(), || format!("advertise ended with {status}: {why}"))?;
        let (browsed, status, why) = searcher.begin(false, Str::new(SERVICE))?;
        ensure(status.is_ok(), || format!("browse ended with {status}: {why}"))?;
        searcher.cancel(browsed);
        searcher.cancel(advertised);
        searcher.cancel(advertised);
    }
    searcher.cancel(0);
    searcher.cancel(u64::MAX);
    // What is still under way ends with the instance.
    searcher.begin(true, Str::new(RECORD))?;
    searcher.begin(false, Str::new(SERVICE))?;
    searcher.actor.end();
    Ok(())
}

pub(in crate::kit) fn hostile_records(case: &Case) -> Result<(), Stop> {
    let searcher = Searcher::new(case)?;
    let large = format!("{{\"peer\": \"{}\"}}", "x".repeat(70_000));
    let nested = "[".repeat(50_000);
    for text in ["", "{", "[]", "{\"peer\": 7}", "{\"peer\": \"07\", \"addresses\": 1}", &large, &nested] {
        let (_, status, _) = searcher.begin(true, Str::new(text))?;
        let shown: String = text.chars().take(40).collect();
        ensure(!status.is_ok(), || format!("advertise accepted this record: {shown}"))?;
    }
    for text in broken_texts() {
        let (_, status, _) = searcher.begin(true, text)?;
        ensure(!status.is_ok(), || "advertise accepted a text that is none".to_owned())?;
        searcher.begin(false, text)?;
    }
    searcher.begin(false, Str::new(&"x.".repeat(40_000)))?;
    searcher.actor.end();
    Ok(())
}

pub(in crate::kit) fn quiet_after_cancel(case: &Case) -> Result<(), Stop> {
    let (one, two) = (Searcher::new(case)?, Searcher::new(case)?);
    let (browsed, ..) = one.begin(false, Str::new(SERVICE))?;
    two.begin(true, Str::new(RECORD))?;
    std::thread::sleep(Duration::from_secs(2));
    one.cancel(browsed);
    // A report that is on its way at this moment may still come.
    std::thread::sleep(Duration::from_millis(300));
    let before = one.actor.stage.state().peers.len();
    two.actor.end();
    std::thread::sleep(Duration::from_millis(1500));
    let peers = one.actor.stage.state().peers.clone();
    ensure(peers.len() == before, || "a node was reported after cancel".to_owned())?;
    let stray = peers.iter().find(|(_, op, _)| *op != browsed);
    ensure(stray.is_none(), || "a node was reported for an operation that nobody began".to_owned())?;
    one.actor.end();
    Ok(())
}
