//! A connection that another domain has opened.

use std::rc::Rc;
use std::sync::Arc;

use capnp_rpc::rpc_twoparty_capnp::Side;
use qpq_schemas::federation_capnp::mesh_federation;
use quinn::Connection;
use tokio::time::timeout;
use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};

use super::service::Service;
use super::session::{Session, drive};
use super::system::system;
use super::thread::Local;
use crate::engine::{Engine, Peer};
use crate::error::{End, code};
use crate::link::Way;
use crate::links::Room;

/// Serves the calls of a peer until the connection ends.
pub(crate) async fn inbound(local: Rc<Local>, engine: Arc<Engine>, connection: Connection, peer: Peer, room: Room) {
    let streams = match timeout(engine.config.handshake_timeout(), connection.accept_bi()).await {
        Ok(Ok(streams)) => streams,
        Ok(Err(error)) => {
            let end = End::of(&error);
            if let End::Refused(refusal) = &end {
                let domain = peer.names.first().map(String::as_str);
                engine.note_refusal(connection.remote_address(), domain, refusal, true);
            }
            return;
        }
        Err(_) => return connection.close(code::TIMEOUT, b"not-opened"),
    };
    let (send, recv) = streams;
    let session = Session::new(engine, connection, Way::In, peer, room);
    let service: mesh_federation::Client = capnp_rpc::new_client(Service { session: session.clone(), local });
    let (rpc, meter) = system(recv.compat(), send.compat_write(), Side::Server, Some(service.client));
    drive(session, rpc, meter).await;
}
