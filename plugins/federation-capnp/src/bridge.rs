//! Links to domains whose servers know nothing of the mesh: they take payloads for a recipient (`relayEnqueue`), and send
//! some. The host sees a link as any other; its far end is played here.

mod end;
mod relay;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use hkdf::Hkdf;
use qpq_plugin_api::Next;
use qpq_schemas::MessageId;
use qpq_schemas::federation_capnp::federation_service;
use qpq_schemas::link::{Answer, Frame, MAX_BLOCK, Role};
use qpq_schemas::signature::SigningKey;
use sha2::Sha256;
use tokio::sync::{Notify, Semaphore, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use zeroize::Zeroizing;

use self::end::{Event, FarEnd};
pub(crate) use self::relay::{Payload, relay_in, sort};
use crate::engine::Engine;
use crate::error::End;
use crate::limits::{BINDING_LEN, EXPORTER_LABEL, OFFERED_KIB, RELAYS_IN_FLIGHT};
use crate::link::{self, Link, Way};
use crate::rpc::{Local, Session, spawn};

/// Salt of the keys of the far ends.
const KEY_SALT: &[u8] = b"qpq-federation-bridge-v1";

/// Blocks that the far end has said and the host has not taken; while there are more, nothing is taken from the host.
const MAX_SAID: usize = 1_024;

/// A link whose far end is played here.
pub(crate) struct Bridge {
    link: Arc<Link>,
    session: Rc<Session>,
    key: SigningKey,
    /// Blocks for the host.
    said: RefCell<VecDeque<Bytes>>,
    /// Who waits for the host's answer for an envelope.
    waiting: RefCell<HashMap<MessageId, Vec<oneshot::Sender<Answer>>>>,
    /// The handshake is done.
    up: watch::Sender<bool>,
    /// Something was said.
    wake: Notify,
    /// Room for envelopes that the host has not answered for, in KiB.
    room: Semaphore,
}

impl Bridge {
    /// Shows the host a link to that domain, over a connection whose other end takes `relayEnqueue` calls (`service`), or
    /// only makes some. `op` is the dial that made it, or 0.
    pub(crate) fn start(
        local: &Rc<Local>,
        session: &Rc<Session>,
        domain: &str,
        service: Option<federation_service::Client>,
        op: u64,
    ) -> Result<Rc<Self>, End> {
        let key = key_of(&session.engine, domain).map_err(End::Lost)?;
        let link = link::admit(session, domain, true, op)?;
        let bridge = Rc::new(Self {
            link,
            session: session.clone(),
            key: SigningKey::from_seed(&key),
            said: RefCell::default(),
            waiting: RefCell::default(),
            up: watch::Sender::new(false),
            wake: Notify::new(),
            room: Semaphore::new(OFFERED_KIB),
        });
        let before = local.bridges.borrow_mut().insert(domain.to_owned(), bridge.clone());
        if let Some(before) = before {
            before.link.flow.ask_end(End::Closed("another connection to the domain is used".into()), Duration::ZERO);
        }
        spawn(session.engine.host, run(local.clone(), bridge.clone(), service));
        Ok(bridge)
    }

    /// Waits until the host has accepted the link.
    async fn is_up(&self) {
        if self.up.subscribe().wait_for(|up| *up).await.is_err() {
            pending::<()>().await;
        }
    }

    /// Offers an envelope to the host; what resolves is its answer, or an error when the link has ended.
    fn offer(&self, id: MessageId, envelope: Bytes) -> Option<oneshot::Receiver<Answer>> {
        self.say(&Frame::Envelopes(vec![envelope]))?;
        let (answer, answered) = oneshot::channel();
        self.waiting.borrow_mut().entry(id).or_default().push(answer);
        Some(answered)
    }

    fn say(&self, frame: &Frame) -> Option<()> {
        let mut block = Vec::new();
        frame.encode(&mut block).ok()?;
        self.said.borrow_mut().push_back(block.into());
        self.wake.notify_one();
        Some(())
    }

    fn answered(&self, answers: Vec<Answer>) {
        for answer in answers {
            for waiting in self.waiting.borrow_mut().remove(&answer.id).unwrap_or_default() {
                let _ = waiting.send(answer);
            }
        }
    }
}

/// The seed of the far end's key for a domain: the same at each start.
fn key_of(engine: &Engine, domain: &str) -> Result<Zeroizing<[u8; 32]>, String> {
    let subkey = Zeroizing::new(engine.identity.transport_subkey().map_err(|e| e.to_string())?);
    let mut seed = Zeroizing::new([0; 32]);
    let expanded = Hkdf::<Sha256>::new(Some(KEY_SALT), &*subkey).expand(domain.as_bytes(), &mut *seed);
    expanded.map_err(|e| e.to_string()).map(|()| seed)
}

/// Answers of the other domain that are awaited.
type Relays = FuturesUnordered<LocalBoxFuture<'static, Answer>>;

/// Plays the far end until the link ends.
async fn run(local: Rc<Local>, bridge: Rc<Bridge>, service: Option<federation_service::Client>) {
    let link = bridge.link.clone();
    let mut unsent = VecDeque::new();
    let end = play(&bridge, service, &mut unsent).await;
    bridge.room.close();
    bridge.waiting.borrow_mut().clear();
    let mut bridges = local.bridges.borrow_mut();
    if bridges.get(&link.domain).is_some_and(|current| Rc::ptr_eq(current, &bridge)) {
        bridges.remove(&link.domain);
    }
    drop(bridges);
    link::dismiss(&bridge.session, &link, unsent, &end);
    bridge.session.finish(end);
}

async fn play(bridge: &Bridge, service: Option<federation_service::Client>, unsent: &mut VecDeque<Bytes>) -> End {
    let (link, session) = (&bridge.link, &bridge.session);
    let mut binding = [0; BINDING_LEN];
    // It could be exported a moment ago, when the host was told.
    if session.connection.export_keying_material(&mut binding, EXPORTER_LABEL, b"").is_err() {
        return End::Lost("TLS gave no channel binding".into());
    }
    let role = if session.way == Way::Out { Role::Responder } else { Role::Initiator };
    let mut far = FarEnd::new(bridge.key.clone(), role, binding.to_vec(), rand::random());
    let _ = bridge.say(&far.hello());
    let mut relays = Relays::new();
    let mut leaving: Option<(End, Instant)> = None;
    let mut open = true;
    loop {
        if !bridge.said.borrow().is_empty() {
            // Never held over the call: the host may answer at once, on another thread.
            let mut said = bridge.said.take();
            session.engine.events.deliver(link.id, &mut said);
            said.extend(bridge.said.take());
            bridge.said.replace(said);
        }
        let said = bridge.said.borrow().len();
        if let Some((end, _)) = leaving.as_ref().filter(|_| !open && relays.is_empty() && said == 0) {
            return end.clone();
        }
        let takes = open && relays.len() < RELAYS_IN_FLIGHT && said < MAX_SAID;
        let deadline = leaving.as_ref().map(|(_, deadline)| *deadline);
        let mut batch = VecDeque::new();
        tokio::select! {
            next = link.flow.outbox.next(&mut batch, 1, MAX_BLOCK), if takes => match next {
                Next::Finished => open = false,
                Next::Batch { writable } => if writable { session.engine.events.writable(link.id) },
            },
            Some(answer) = relays.next(), if !relays.is_empty() => {
                let _ = bridge.say(&Frame::Custody(vec![answer]));
            }
            () = bridge.wake.notified() => {}
            () = link.flow.resumed(), if said > 0 => {}
            (end, patience) = link.flow.asked(), if leaving.is_none() => leaving = Some((end, Instant::now() + patience)),
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                return leaving.map_or(End::Silent, |(end, _)| end);
            }
            end = session.ended() => {
                unsent.extend(batch);
                return end;
            }
        }
        for block in batch {
            for event in far.take(block) {
                match event {
                    Event::Say(frame) => {
                        let _ = bridge.say(&frame);
                    }
                    Event::Up => {
                        bridge.up.send_replace(true);
                    }
                    Event::Answers(answers) => bridge.answered(answers),
                    Event::Envelope(envelope) => {
                        relays.push(Box::pin(relay::relay_out(session.engine.clone(), service.clone(), envelope)));
                    }
                    Event::Closed(why) => return End::Closed(why),
                }
            }
        }
    }
}
