//! The arguments of calls, read and checked before anything is done with them.

use capnp::Error;
use qpq_schemas::federation_capnp::{federation_auth, federation_service as service};

use crate::address::domain_of;
use crate::limits::{MAX_RECIPIENTS, MAX_RELAY_PAYLOAD, RELAY_VERSION};
use crate::refusal::{Reason, Refusal};
use crate::verify::Policy;

/// What a relay call asks for.
#[derive(Debug)]
pub(crate) struct Relay {
    /// The domain that asks.
    pub(crate) domain: String,
    /// For whom.
    pub(crate) keys: Vec<[u8; 32]>,
    /// What.
    pub(crate) payload: Vec<u8>,
    /// On which channel; nodes of the mesh leave it empty.
    pub(crate) channel: Vec<u8>,
}

/// Why a call is not done.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The peer may not ask for it.
    Refused(Refusal),
    /// The arguments are no good.
    Bad(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Bad(error)
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Who may ask: the names of the peer's certificate, and what the operator says of domains.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing<'a> {
    pub(crate) names: &'a [String],
    pub(crate) policy: &'a Policy,
}

impl Standing<'_> {
    /// The domain that the peer speaks for, if it may: one of its certificate's names, and not blocked.
    pub(crate) fn claim(&self, origin: &[u8]) -> Result<String, Refusal> {
        let found = |what: &str| Refusal::found(Reason::WrongOrigin, what);
        let origin = std::str::from_utf8(origin).ok().and_then(|origin| domain_of(origin).ok());
        let domain = origin.ok_or_else(|| found("no domain name"))?;
        if !self.names.contains(&domain) {
            let names = self.names.join(", ");
            return Err(found(&format!("stated {domain}, certificate for {names}")));
        }
        self.policy.check(&domain)?;
        Ok(domain)
    }

    fn claim_of(&self, auth: capnp::Result<federation_auth::Reader<'_>>) -> Result<String, Fault> {
        Ok(self.claim(auth?.get_origin()?.as_bytes())?)
    }
}

/// An exception with a code in front.
pub(super) fn failed(code: &str, sentence: &str) -> Error {
    Error::failed(format!("{code}: {sentence}"))
}

/// Reads `relayEnqueue`.
pub(crate) fn relay(asked: service::relay_enqueue_params::Reader<'_>, who: Standing<'_>) -> Result<Relay, Fault> {
    check_version(asked.get_version())?;
    let domain = who.claim_of(asked.get_auth())?;
    let payload = payload(asked.get_payload()?)?;
    let keys = vec![key(asked.get_recipient_key()?)?];
    Ok(Relay { domain, keys, payload, channel: asked.get_channel_id()?.to_vec() })
}

/// Reads `relayBatchEnqueue`.
pub(crate) fn batch(asked: service::relay_batch_enqueue_params::Reader<'_>, who: Standing<'_>) -> Result<Relay, Fault> {
    check_version(asked.get_version())?;
    let domain = who.claim_of(asked.get_auth())?;
    let payload = payload(asked.get_payload()?)?;
    let listed = asked.get_recipient_keys()?;
    let len = usize::try_from(listed.len()).unwrap_or(usize::MAX);
    if len > MAX_RECIPIENTS {
        return Err(failed("too-many", &format!("{len} recipients; the limit is {MAX_RECIPIENTS}")).into());
    }
    let keys = listed.iter().map(|bytes| key(bytes?)).collect::<Result<Vec<_>, Error>>()?;
    Ok(Relay { domain, keys, payload, channel: asked.get_channel_id()?.to_vec() })
}

fn check_version(version: u16) -> Result<(), Refusal> {
    if version == RELAY_VERSION { Ok(()) } else { Err(Refusal::found(Reason::WrongVersion, &format!("got {version}"))) }
}

fn payload(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let len = bytes.len();
    if len > MAX_RELAY_PAYLOAD {
        return Err(failed("too-large", &format!("the payload has {len} bytes; the limit is {MAX_RELAY_PAYLOAD}")));
    }
    Ok(bytes.to_vec())
}

fn key(bytes: &[u8]) -> Result<[u8; 32], Error> {
    bytes.try_into().map_err(|_| failed("bad-argument", &format!("a key has 32 bytes, not {}", bytes.len())))
}
