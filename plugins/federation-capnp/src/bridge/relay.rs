//! `relayEnqueue` in both directions: envelopes of the host to the other domain, and what that domain sends to the host.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use capnp::Error;
use futures::future::try_join_all;
use qpq_schemas::content::{Content, KIND_BYTES};
use qpq_schemas::envelope::{Draft, Envelope, Flags, Kind, LARGEST_PAYLOAD};
use qpq_schemas::federation_capnp::federation_service;
use qpq_schemas::link::{Answer, Verdict};
use tokio::time::timeout;

use super::Bridge;
use crate::config::LegacyPayloads;
use crate::engine::Engine;
use crate::limits::{
    BRIDGE_PATIENCE, CUSTODY_PATIENCE, MAX_RELAY_PAYLOAD, OPAQUE_HOPS, OPAQUE_TTL_SECS, RELAY_PATIENCE,
    RELAY_RETRY_SECS, RELAY_VERSION,
};
use crate::rpc::arguments::Relay;
use crate::rpc::{Local, Session};

/// The last number that a relay call was answered with. It begins with the time, so that it grows over restarts too.
static SEQ: AtomicU64 = AtomicU64::new(0);

/// Verdicts that may be different later.
const PASSING: [Verdict; 3] = [Verdict::RecipientFull, Verdict::SenderFull, Verdict::RelayFull];

/// Sends an envelope to a server of the older kind, and says what to tell the host.
pub(super) async fn relay_out(
    engine: Arc<Engine>,
    service: Option<federation_service::Client>,
    envelope: Envelope,
) -> Answer {
    let (verdict, retry_after_secs) = match service {
        _ if envelope.wire().len() > MAX_RELAY_PAYLOAD => (Verdict::TooLarge, 0),
        Some(service) => call(&engine, &service, &envelope).await,
        // The domain has connected to us, and takes no calls over that connection.
        None => (Verdict::RelayFull, RELAY_RETRY_SECS),
    };
    match verdict {
        Verdict::Stored => engine.counters.relayed_out.one(),
        _ => engine.counters.relays_failed.one(),
    }
    Answer { id: envelope.id(), verdict, retry_after_secs }
}

async fn call(engine: &Engine, service: &federation_service::Client, envelope: &Envelope) -> (Verdict, u16) {
    let mut request = service.relay_enqueue_request();
    let mut asked = request.get();
    asked.set_recipient_key(&envelope.view().destination());
    asked.set_payload(envelope.wire());
    asked.set_channel_id(&[]);
    asked.set_version(RELAY_VERSION);
    asked.init_auth().set_origin(&engine.config.domain);
    match timeout(RELAY_PATIENCE, request.send().promise).await {
        Ok(Ok(_)) => (Verdict::Stored, 0),
        Ok(Err(error)) => {
            engine.host.debug(format!("a server of the older kind did not take an envelope: {error}"));
            (verdict_of(&error), RELAY_RETRY_SECS)
        }
        Err(_) => (Verdict::RelayFull, RELAY_RETRY_SECS),
    }
}

/// What an exception of the other side means: a code of ours in front of its text, else that it may go well later. Nobody
/// knows what a failure without a code means there, and a final verdict would end the message for a passing fault.
fn verdict_of(error: &Error) -> Verdict {
    let known = (0..=u8::MAX).map_while(Verdict::from_byte).filter(|verdict| *verdict != Verdict::Stored);
    let mut stated = known.filter(|verdict| error.extra.contains(&format!("{}: ", verdict.code())));
    stated.next().unwrap_or(Verdict::RelayFull)
}

/// Hands what a server of the older kind has sent to the host, once for each recipient. Returns when all of it is durable.
pub(crate) async fn relay_in(local: &Rc<Local>, session: &Rc<Session>, relay: &Relay) -> Result<Vec<u64>, Error> {
    let refuses = session.engine.config.legacy_payloads == LegacyPayloads::Refuse;
    for key in &relay.keys {
        // All of them before the first is offered.
        if matches!(sort(&relay.payload, key)?, Payload::Opaque) && refuses {
            return Err(Error::failed(
                "opaque-payload: the payload is no envelope of the mesh, and this node takes nothing else".into(),
            ));
        }
    }
    let bridge = bridge_to(local, session, &relay.domain).await?;
    try_join_all(relay.keys.iter().map(|key| take_in(&bridge, relay, key))).await?;
    Ok(relay.keys.iter().map(|_| next_seq(&session.engine)).collect())
}

/// The bridge to that domain, with its handshake done; made where there is none.
async fn bridge_to(local: &Rc<Local>, session: &Rc<Session>, domain: &str) -> Result<Rc<Bridge>, Error> {
    let known = local.bridges.borrow().get(domain).cloned();
    let bridge = match known {
        Some(bridge) => bridge,
        None => Bridge::start(local, session, domain, None, 0).map_err(|end| Error::overloaded(end.to_string()))?,
    };
    let late = |_| Error::overloaded("not-ready: the node has not accepted the link in time; try again".into());
    timeout(BRIDGE_PATIENCE, bridge.is_up()).await.map_err(late)?;
    Ok(bridge)
}

/// What a payload is.
pub(crate) enum Payload {
    /// An envelope for that recipient.
    Envelope(Envelope),
    /// Something else.
    Opaque,
}

/// Looks what a payload for that recipient is. An envelope for somebody else is an error.
pub(crate) fn sort(payload: &[u8], key: &[u8; 32]) -> Result<Payload, Error> {
    let Ok(envelope) = Envelope::from_wire(Bytes::copy_from_slice(payload), LARGEST_PAYLOAD) else {
        return Ok(Payload::Opaque);
    };
    if envelope.view().kind() == Kind::Broadcast {
        return Err(Error::failed("not-direct: a broadcast has no recipient".into()));
    }
    if envelope.view().destination() != *key {
        return Err(Error::failed("wrong-recipient: the envelope is for another key than recipientKey".into()));
    }
    Ok(Payload::Envelope(envelope))
}

/// A payload that is no envelope, as the operator wants it.
fn opaque(bridge: &Bridge, relay: &Relay, key: &[u8; 32]) -> Result<Envelope, Error> {
    let Relay { domain, payload, channel, .. } = relay;
    let engine = &bridge.session.engine;
    let channel: String = channel.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut body = format!("opaque payload from {domain}, channel {channel:?}, {} bytes\n", payload.len()).into_bytes();
    body.extend_from_slice(payload);
    let draft = Draft {
        kind: Kind::Direct,
        flags: Flags::default(),
        max_hops: OPAQUE_HOPS,
        ttl_secs: OPAQUE_TTL_SECS,
        created_ms: u64::try_from(engine.now_ms()).unwrap_or_default(),
        nonce: rand::random(),
        destination: *key,
        payload: Content { automatic: true, kind: KIND_BYTES, reply_to: None, body }.encode(),
    };
    draft.sign(&bridge.key).map_err(|refusal| Error::failed(refusal.to_string()))
}

/// Offers the envelope for one recipient, and waits for what the host says. It is made when there is room for it, so that a
/// large payload for many recipients does not lie here once for each of them.
async fn take_in(bridge: &Bridge, relay: &Relay, key: &[u8; 32]) -> Result<(), Error> {
    let gone = || Error::overloaded("not-ready: the link to the node has ended; try again".into());
    let kibibytes = u32::try_from(relay.payload.len() / 1_024 + 1).unwrap_or(u32::MAX);
    let _room = bridge.room.acquire_many(kibibytes).await.map_err(|_| gone())?;
    let envelope = match sort(&relay.payload, key)? {
        Payload::Envelope(envelope) => envelope,
        Payload::Opaque => opaque(bridge, relay, key)?,
    };
    let answered = bridge.offer(envelope.id(), envelope.wire().clone()).ok_or_else(gone)?;
    let late = |_| Error::overloaded("not-ready: the node has not answered in time; try again".into());
    let answer = timeout(CUSTODY_PATIENCE, answered).await.map_err(late)?.map_err(|_| gone())?;
    match answer.verdict {
        // Known and no longer held: it was delivered before, and the caller has not heard of it.
        Verdict::Stored | Verdict::Seen => Ok(()),
        verdict if PASSING.contains(&verdict) => Err(Error::overloaded(format!(
            "{}: the node has no room for it; try again in {} seconds",
            verdict.code(),
            answer.retry_after_secs.max(1)
        ))),
        verdict => Err(Error::failed(format!("{}: the node does not take this envelope", verdict.code()))),
    }
}

fn next_seq(engine: &Engine) -> u64 {
    let first = u64::try_from(engine.now_ms()).unwrap_or_default().saturating_mul(1_000);
    SEQ.fetch_max(first, Ordering::Relaxed);
    SEQ.fetch_add(1, Ordering::Relaxed) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exceptions_become_verdicts() {
        let remote = |text: &str| format!("remote exception: {text}");
        assert_eq!(verdict_of(&Error::failed(remote("too-old: x"))), Verdict::TooOld);
        assert_eq!(verdict_of(&Error::overloaded(remote("recipient-full: x"))), Verdict::RecipientFull);
        assert_eq!(verdict_of(&Error::overloaded(remote("later"))), Verdict::RelayFull);
        assert_eq!(verdict_of(&Error::failed(remote("no"))), Verdict::RelayFull);
        assert_eq!(verdict_of(&Error::unimplemented(remote("no"))), Verdict::RelayFull);
        assert_eq!(verdict_of(&Error::failed(remote("stored: no"))), Verdict::RelayFull);
        assert_eq!(verdict_of(&Error::failed(remote("refused: no"))), Verdict::Refused);
    }
}
