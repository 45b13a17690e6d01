//! What this domain offers to others.

use std::rc::Rc;

use capnp::Error;
use qpq_schemas::federation_capnp::{federation_service, frames, mesh_federation};

use super::arguments::{self, Fault, Relay, failed};
use super::session::Session;
use super::sink::Sink;
use super::thread::{Local, spawn};
use crate::bridge;
use crate::error::End;
use crate::link::{self, Way};

/// The bootstrap capability of an inbound connection.
pub(super) struct Service {
    pub(super) session: Rc<Session>,
    pub(super) local: Rc<Local>,
}

impl Service {
    /// Notes a refusal of a call, and makes the exception of a fault.
    fn exception(&self, fault: Fault) -> Error {
        let refusal = match fault {
            Fault::Refused(refusal) => refusal,
            Fault::Bad(error) => return error,
        };
        let (engine, connection) = (&self.session.engine, &self.session.connection);
        let domain = self.session.peer.names.first().map(String::as_str);
        engine.note_refusal(connection.remote_address(), domain, &refusal, false);
        Error::failed(refusal.to_string())
    }

    async fn enqueue(&self, relay: Result<Relay, Fault>) -> Result<Vec<u64>, Error> {
        let counters = &self.session.engine.counters;
        let taken = match relay {
            Ok(relay) => bridge::relay_in(&self.local, &self.session, &relay).await,
            Err(fault) => Err(self.exception(fault)),
        };
        match &taken {
            Ok(seqs) => counters.relayed_in.add(seqs.len()),
            Err(_) => counters.relays_refused.one(),
        }
        taken
    }
}

fn no_such(method: &str) -> Error {
    Error::unimplemented(format!("unimplemented: {method} is not offered by a node of the mesh"))
}

impl federation_service::Server for Service {
    async fn relay_enqueue(
        self: Rc<Self>,
        params: federation_service::RelayEnqueueParams,
        mut results: federation_service::RelayEnqueueResults,
    ) -> Result<(), Error> {
        let seqs = self.enqueue(arguments::relay(params.get()?, self.session.standing())).await?;
        results.get().set_seq(seqs.first().copied().unwrap_or_default());
        Ok(())
    }

    async fn relay_batch_enqueue(
        self: Rc<Self>,
        params: federation_service::RelayBatchEnqueueParams,
        mut results: federation_service::RelayBatchEnqueueResults,
    ) -> Result<(), Error> {
        let seqs = self.enqueue(arguments::batch(params.get()?, self.session.standing())).await?;
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
        let claimed = session.standing().claim(origin.as_bytes());
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
