//! What this domain offers to others.

use std::rc::Rc;

use capnp::Error;
use qpq_schemas::federation_capnp::{federation_auth, federation_service, frames, mesh_federation};

use super::session::Session;
use super::sink::Sink;
use super::thread::{Local, spawn};
use crate::bridge;
use crate::error::End;
use crate::limits::{MAX_RECIPIENTS, MAX_RELAY_PAYLOAD, RELAY_VERSION};
use crate::link::{self, Way};
use crate::refusal::{Reason, Refusal};

/// The bootstrap capability of an inbound connection.
pub(super) struct Service {
    pub(super) session: Rc<Session>,
    pub(super) local: Rc<Local>,
}

/// What both relay calls have in common, once it is checked.
struct Relay {
    domain: String,
    payload: Vec<u8>,
    channel: Vec<u8>,
}

impl Service {
    fn origin(&self, auth: capnp::Result<federation_auth::Reader<'_>>) -> Result<String, Error> {
        let origin = auth?.get_origin()?.to_str().map_err(|_| failed("bad-argument", "the origin is no UTF-8"))?;
        self.session.claim(origin).map_err(|refusal| self.refuse(&refusal))
    }

    /// Notes a refusal of a call, and makes the exception of it.
    fn refuse(&self, refusal: &Refusal) -> Error {
        let engine = &self.session.engine;
        let domain = self.session.peer.names.first().map(String::as_str);
        engine.note_refusal(self.session.connection.remote_address(), domain, refusal, false);
        Error::failed(refusal.to_string())
    }

    fn relay(
        &self,
        version: u16,
        payload: &[u8],
        channel: &[u8],
        auth: capnp::Result<federation_auth::Reader<'_>>,
    ) -> Result<Relay, Error> {
        if version != RELAY_VERSION {
            return Err(self.refuse(&Refusal::found(Reason::WrongVersion, &format!("got {version}"))));
        }
        let domain = self.origin(auth)?;
        if payload.len() > MAX_RELAY_PAYLOAD {
            let what = format!("the payload has {} bytes; the limit is {MAX_RELAY_PAYLOAD}", payload.len());
            return Err(failed("too-large", &what));
        }
        Ok(Relay { domain, payload: payload.to_vec(), channel: channel.to_vec() })
    }

    async fn enqueue(&self, relay: &Relay, keys: Vec<[u8; 32]>) -> Result<Vec<u64>, Error> {
        let counters = &self.session.engine.counters;
        let taken =
            bridge::relay_in(&self.local, &self.session, &relay.domain, &keys, &relay.payload, &relay.channel).await;
        match &taken {
            Ok(seqs) => counters.relayed_in.add(seqs.len()),
            Err(_) => counters.relays_refused.one(),
        }
        taken
    }
}

fn failed(code: &str, sentence: &str) -> Error {
    Error::failed(format!("{code}: {sentence}"))
}

fn no_such(method: &str) -> Error {
    Error::unimplemented(format!("unimplemented: {method} is not offered by a node of the mesh"))
}

fn key(bytes: &[u8]) -> Result<[u8; 32], Error> {
    bytes.try_into().map_err(|_| failed("bad-argument", &format!("a key has 32 bytes, not {}", bytes.len())))
}

impl federation_service::Server for Service {
    async fn relay_enqueue(
        self: Rc<Self>,
        params: federation_service::RelayEnqueueParams,
        mut results: federation_service::RelayEnqueueResults,
    ) -> Result<(), Error> {
        let asked = params.get()?;
        let relay =
            self.relay(asked.get_version(), asked.get_payload()?, asked.get_channel_id()?, asked.get_auth())?;
        let keys = vec![key(asked.get_recipient_key()?)?];
        let seqs = self.enqueue(&relay, keys).await?;
        results.get().set_seq(seqs.first().copied().unwrap_or_default());
        Ok(())
    }

    async fn relay_batch_enqueue(
        self: Rc<Self>,
        params: federation_service::RelayBatchEnqueueParams,
        mut results: federation_service::RelayBatchEnqueueResults,
    ) -> Result<(), Error> {
        let asked = params.get()?;
        let relay =
            self.relay(asked.get_version(), asked.get_payload()?, asked.get_channel_id()?, asked.get_auth())?;
        let listed = asked.get_recipient_keys()?;
        let len = usize::try_from(listed.len()).unwrap_or(usize::MAX);
        if len > MAX_RECIPIENTS {
            let what = format!("{len} recipients; the limit is {MAX_RECIPIENTS}");
            return Err(failed("too-many", &what));
        }
        let keys = listed.iter().map(|bytes| key(bytes?)).collect::<Result<Vec<_>, Error>>()?;
        let seqs = self.enqueue(&relay, keys).await?;
        let mut list = results.get().init_seqs(u32::try_from(seqs.len()).unwrap_or(u32::MAX));
        for (place, seq) in (0..).zip(seqs) {
            list.set(place, seq);
        }
        Ok(())
    }

    async fn proxy_fetch_key_package(
        self: Rc<Self>,
        _: federation_service::ProxyFetchKeyPackageParams,
        _: federation_service::ProxyFetchKeyPackageResults,
    ) -> Result<(), Error> {
        Err(no_such("proxyFetchKeyPackage"))
    }

    async fn proxy_fetch_hybrid_key(
        self: Rc<Self>,
        _: federation_service::ProxyFetchHybridKeyParams,
        _: federation_service::ProxyFetchHybridKeyResults,
    ) -> Result<(), Error> {
        Err(no_such("proxyFetchHybridKey"))
    }

    async fn proxy_resolve_user(
        self: Rc<Self>,
        _: federation_service::ProxyResolveUserParams,
        _: federation_service::ProxyResolveUserResults,
    ) -> Result<(), Error> {
        Err(no_such("proxyResolveUser"))
    }

    async fn federation_health(
        self: Rc<Self>,
        _: federation_service::FederationHealthParams,
        mut results: federation_service::FederationHealthResults,
    ) -> Result<(), Error> {
        let mut answer = results.get();
        answer.set_status("ok");
        answer.set_server_domain(&self.session.engine.config.domain);
        Ok(())
    }
}

impl mesh_federation::Server for Service {
    async fn open(
        self: Rc<Self>,
        params: mesh_federation::OpenParams,
        mut results: mesh_federation::OpenResults,
    ) -> Result<(), Error> {
        let asked = params.get()?;
        let session = &self.session;
        if session.way == Way::Out || !session.open_once() {
            return Err(failed("bad-argument", "a connection carries one link, opened by the side that dialled"));
        }
        let origin = asked.get_auth()?.get_origin()?;
        let claimed = session.claim(&String::from_utf8_lossy(origin.as_bytes()));
        let domain = claimed.map_err(|refusal| {
            session.finish(End::Refused(refusal.clone()));
            Error::failed(refusal.to_string())
        })?;
        let back = asked.get_back()?;
        let link = link::admit(session, &domain, false, 0).map_err(|end| {
            session.finish(end.clone());
            Error::overloaded(end.to_string())
        })?;
        let forth: frames::Client = capnp_rpc::new_client(Sink(session.clone()));
        results.get().set_forth(forth);
        session.set_link(link.clone());
        spawn(session.engine.host, link::run(session.clone(), link, back));
        Ok(())
    }
}
