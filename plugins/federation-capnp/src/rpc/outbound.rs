//! A connection that this node has opened to another domain.

use std::rc::Rc;
use std::sync::Arc;

use capnp::capability::FromClientHook;
use capnp_rpc::rpc_twoparty_capnp::Side;
use qpq_schemas::federation_capnp::{federation_service, frames, mesh_federation};
use quinn::Connection;
use tokio::time::{Instant, timeout_at};
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use super::session::{Session, drive};
use super::sink::Sink;
use super::system::system;
use super::thread::{Local, spawn};
use crate::bridge::Bridge;
use crate::engine::{Engine, Peer};
use crate::error::{End, Error};
use crate::link::{self, Way};
use crate::links::Room;

/// A connection that was made for a dial.
pub(crate) struct Dialled {
    /// The QUIC connection. Whether the peer accepts us is not known yet.
    pub(crate) connection: Connection,
    /// The peer, as its certificate tells.
    pub(crate) peer: Peer,
    /// The domain that was dialled.
    pub(crate) domain: String,
    /// The dial's operation.
    pub(crate) op: u64,
    /// When it is too late.
    pub(crate) deadline: Instant,
    /// Room for the connection.
    pub(crate) room: Room,
}

/// Asks for a link. TLS 1.3 lets the client in before the server has looked at its certificate, so the peer counts as
/// reached when its first answer has come.
pub(crate) async fn outbound(local: Rc<Local>, engine: Arc<Engine>, dialled: Dialled) -> Result<(), Error> {
    let Dialled { connection, peer, domain, op, deadline, room } = dialled;
    let (send, recv) = connection.open_bi().await.map_err(|error| {
        let end = End::of(&error);
        if let End::Refused(refusal) = &end {
            engine.note_refusal(connection.remote_address(), Some(&domain), refusal, true);
        }
        Error::from(end)
    })?;
    let session = Session::new(engine, connection, Way::Out, peer, room);
    let (mut rpc, meter) = system(recv.compat(), send.compat_write(), Side::Client, None);
    let remote: mesh_federation::Client = rpc.bootstrap(Side::Server);
    spawn(session.engine.host, drive(session.clone(), rpc, meter));
    // Calls that are not answered stay open when the connection ends, so its end is waited for as well.
    let asked = async {
        tokio::select! {
            asked = ask(local, &session, remote, &domain, op) => asked,
            end = session.ended() => Err(end.into()),
        }
    };
    let asked = timeout_at(deadline, asked).await.unwrap_or(Err(Error::Timeout));
    if let Err(error) = &asked {
        session.finish(match error {
            Error::Timeout => End::NotOpened,
            Error::Ended(end) => end.clone(),
            Error::Refused(refusal) => End::Refused(refusal.clone()),
            other => End::Closed(other.to_string()),
        });
    }
    asked
}

async fn ask(
    local: Rc<Local>,
    session: &Rc<Session>,
    remote: mesh_federation::Client,
    domain: &str,
    op: u64,
) -> Result<(), Error> {
    let service = federation_service::Client::new(remote.client.hook.add_ref());
    if let Err(error) = service.federation_health_request().send().promise.await {
        return Err(session.why(&error).await);
    }
    let back: frames::Client = capnp_rpc::new_client(Sink(session.clone()));
    let mut request = remote.open_request();
    let mut asked = request.get();
    asked.reborrow().init_auth().set_origin(&session.engine.config.domain);
    asked.set_back(back);
    let forth = match request.send().promise.await {
        Ok(answer) => answer.get().and_then(mesh_federation::open_results::Reader::get_forth),
        // A server of the older kind.
        Err(error) if error.kind == capnp::ErrorKind::Unimplemented => {
            return Bridge::start(&local, session, domain, Some(service), op).map(|_| ()).map_err(Error::from);
        }
        Err(error) => return Err(session.why(&error).await),
    };
    let forth = match forth {
        Ok(forth) => forth,
        Err(error) => return Err(session.why(&error).await),
    };
    let link = link::admit(session, domain, false, op)?;
    session.set_link(link.clone());
    spawn(session.engine.host, link::run(session.clone(), link, forth));
    Ok(())
}
