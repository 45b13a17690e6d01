//! Doors for fuzzing: what a peer with a good certificate, or a name server, can send, without the network and the host around it.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use capnp::Error;
use capnp::capability::FromClientHook;
use capnp_rpc::rpc_twoparty_capnp::Side;
use futures::io::{AsyncWrite, Cursor};
use futures::stream::{self, TryStreamExt};
use qpq_quic_common::canonical;
use qpq_schemas::federation_capnp::{federation_service as service, frames, mesh_federation as mesh};
use rustls::pki_types::CertificateDer;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;

use crate::address::{Target, domain_of, parse_listen, uri_of};
use crate::bridge::{Payload, sort};
use crate::config::Config;
use crate::der;
use crate::dns::message::{self, Answer, Record, Service};
use crate::limits::MAX_NAMES;
use crate::rpc::arguments::{self, Fault, Relay, Standing};
use crate::rpc::{read_frames, system};
use crate::verify::{Policy, names_of};

/// One input may take so long; an honest one takes a millisecond.
const PATIENCE: Duration = Duration::from_secs(4);

/// How long the honest client is listened to.
const HONEST: Duration = Duration::from_millis(50);

const ORIGIN: &str = "b.example";

/// Feeds bytes to the RPC system of one connection, with the plugin's meter and its readers of arguments behind it.
///
/// # Panics
/// When the system does not end with its input.
pub fn rpc(bytes: &[u8]) {
    let input = Cursor::new(bytes.to_vec());
    run(async {
        let client: mesh::Client = capnp_rpc::new_client(Stub);
        let (rpc, _meter) = system(input, Spoken::default(), Side::Server, Some(client.client));
        // How it ends is for the peer to say; that it ends is what counts.
        let _ = timeout(PATIENCE, rpc).await.expect("the connection ends with its input");
    });
}

/// What an honest client says in a short conversation.
pub fn rpc_seeds() -> Vec<Vec<u8>> {
    let spoken = Spoken::default();
    run(async {
        let silence = stream::pending::<io::Result<Vec<u8>>>().into_async_read();
        let (mut rpc, _meter) = system(Box::pin(silence), spoken.clone(), Side::Client, None);
        let remote: mesh::Client = rpc.bootstrap(Side::Server);
        spawn_local(rpc);
        let older = service::Client::new(remote.client.hook.add_ref());
        let health = older.federation_health_request().send();
        let mut relay = older.relay_enqueue_request();
        let mut asked = relay.get();
        asked.set_recipient_key(&[1; 32]);
        asked.set_payload(b"payload");
        asked.set_version(1);
        asked.init_auth().set_origin(ORIGIN);
        let relayed = relay.send();
        let mut open = remote.open_request();
        open.get().init_auth().set_origin(ORIGIN);
        open.get().set_back(capnp_rpc::new_client(Stub));
        let opened = open.send();
        let forth = opened.pipeline.get_forth();
        let mut carry = forth.carry_request();
        carry.get().init_frames(1).set(0, b"frame");
        let carried = carry.send();
        let all = async { tokio::join!(health.promise, relayed.promise, opened.promise, carried) };
        let _ = timeout(HONEST, all).await;
    });
    vec![spoken.0.take()]
}

/// Reads arbitrary arguments of `relayEnqueue`: 2 bytes of version, a byte each for the lengths of key, origin and channel,
/// these, and the rest as payload.
///
/// # Panics
/// When something is taken that should not be.
pub fn relay(bytes: &[u8]) {
    let Some((&[high, low, key, origin, channel], rest)) = bytes.split_first_chunk() else { return };
    let cut = |bytes: &'_ [u8], len: u8| bytes.len().min(usize::from(len));
    let (key, rest) = rest.split_at(cut(rest, key));
    let (origin, rest) = rest.split_at(cut(rest, origin));
    let (channel, payload) = rest.split_at(cut(rest, channel));
    let mut message = capnp::message::Builder::new_default();
    let mut asked: service::relay_enqueue_params::Builder<'_> = message.init_root();
    asked.set_version(u16::from_be_bytes([high, low]));
    asked.set_recipient_key(key);
    asked.set_channel_id(channel);
    asked.set_payload(payload);
    asked.reborrow().init_auth().set_origin(capnp::text::Reader(origin));
    if let Ok(relay) = read(arguments::relay, asked.into_reader()) {
        assert_eq!((high, low), (0, 1), "another version was taken");
        assert_eq!(relay.domain, ORIGIN);
        check(&relay);
    }
}

/// Well-formed arguments for [`relay`].
pub fn relay_seeds() -> Vec<Vec<u8>> {
    let head = [0, 1, 32, 9, 2];
    vec![[&head[..], &[7; 32], ORIGIN.as_bytes(), &[1, 2], b"payload"].concat()]
}

/// Reads arbitrary bytes as the answer to one question about the domain that the target asks for.
///
/// # Panics
/// When more is found than may be.
pub fn dns(bytes: &[u8]) {
    let Some(question) = dns_question() else { return };
    let Some(Answer::Records(records)) = message::parse(bytes, &question) else { return };
    assert!(records.len() <= bytes.len() / 12, "more records than fit into the answer");
    for record in records {
        if let Record::Service(Service { address: Some(address), .. }) = record {
            assert_eq!(domain_of(&address.host).as_ref(), Ok(&address.host), "no name that can be dialled");
            assert_ne!(address.port, 0);
        }
    }
}

/// Well-formed answers for [`dns`]: one record, and one that says that there is no service.
pub fn dns_seeds() -> Vec<Vec<u8>> {
    let Some(mut head) = dns_question() else { return Vec::new() };
    if let Some(flags) = head.get_mut(2..8) {
        flags.copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
    }
    let record = |data: &[u8]| [&head[..], &[0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60, 0, data.len() as u8], data].concat();
    vec![record(b"\0\x01\0\x02\x1b\x59\x04host\x01b\0"), record(&[0, 0, 0, 0, 0, 0, 0])]
}

/// Reads a text as an address, to dial and to listen at.
///
/// # Panics
/// When something is taken that is not fit for a log, or is read in another way when it is written again.
pub fn address(uri: &str) {
    for error in [parse_listen(uri).err(), Target::parse(uri).err()].into_iter().flatten() {
        assert!(!error.to_string().chars().any(char::is_control), "{error}");
    }
    let Ok(target) = Target::parse(uri) else { return };
    assert_eq!(domain_of(&target.domain).as_ref(), Ok(&target.domain));
    let Some(address) = &target.address else { return };
    assert!(address.port != 0 && address.host.bytes().all(|byte| byte.is_ascii_graphic()), "{address:?}");
    if let Some(socket) = address.socket_addr() {
        let again = Target::parse(&uri_of(&target.domain, socket)).ok();
        let place = again.as_ref().and_then(|again| again.address.as_ref()?.socket_addr());
        assert_eq!(again.as_ref().map(|again| &again.domain), Some(&target.domain));
        assert_eq!(place, Some(canonical(socket)));
    }
}

/// Reads bytes as the certificate that a peer shows.
///
/// # Panics
/// When a name is taken that no domain has.
pub fn certificate(bytes: &[u8]) {
    if let Some(fields) = der::fields(bytes) {
        assert!(fields.issuer.len() + fields.subject.len() < bytes.len());
    }
    let Ok(names) = names_of(&CertificateDer::from(bytes)) else { return };
    assert!(names.len() <= MAX_NAMES && names.iter().all(|name| domain_of(name).as_ref() == Ok(name)), "{names:?}");
}

fn dns_question() -> Option<Vec<u8>> {
    message::question(7, ORIGIN, message::TYPE_SRV)
}

fn read<T>(reader: impl FnOnce(T, Standing<'_>) -> Result<Relay, Fault>, asked: T) -> Result<Relay, Fault> {
    let policy = Policy::new(&Config::default());
    reader(asked, Standing { names: &[ORIGIN.to_owned()], policy: &policy })
}

fn check(relay: &Relay) {
    for key in &relay.keys {
        if let Ok(Payload::Envelope(envelope)) = sort(&relay.payload, key) {
            assert_eq!(envelope.view().recipient().map(|peer| peer.0), Some(*key), "an envelope for somebody else");
        }
    }
}

fn run(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, work);
}

/// Keeps what is written.
#[derive(Clone, Default)]
struct Spoken(Rc<RefCell<Vec<u8>>>);

impl AsyncWrite for Spoken {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Reads all arguments as the real service does, and does nothing with them.
struct Stub;

impl Stub {
    fn taken(relay: Result<Relay, Fault>) -> Result<(), Error> {
        match relay {
            Ok(relay) => {
                check(&relay);
                Ok(())
            }
            Err(Fault::Bad(error)) => Err(error),
            Err(Fault::Refused(refusal)) => Err(Error::failed(refusal.to_string())),
        }
    }
}

impl service::Server for Stub {
    async fn relay_enqueue(
        self: Rc<Self>,
        params: service::RelayEnqueueParams,
        _: service::RelayEnqueueResults,
    ) -> Result<(), Error> {
        Self::taken(read(arguments::relay, params.get()?))
    }

    async fn relay_batch_enqueue(
        self: Rc<Self>,
        params: service::RelayBatchEnqueueParams,
        _: service::RelayBatchEnqueueResults,
    ) -> Result<(), Error> {
        Self::taken(read(arguments::batch, params.get()?))
    }
}

impl mesh::Server for Stub {
    async fn open(self: Rc<Self>, params: mesh::OpenParams, mut results: mesh::OpenResults) -> Result<(), Error> {
        params.get()?.get_back()?;
        results.get().set_forth(capnp_rpc::new_client(Self));
        Ok(())
    }
}

impl frames::Server for Stub {
    async fn carry(self: Rc<Self>, params: frames::CarryParams) -> Result<(), Error> {
        read_frames(params.get()?.get_frames()?).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_honest_conversation_is_taken_and_cut_off_ones_end() {
        let seeds = rpc_seeds();
        let seed = seeds.first().expect("one");
        assert!(seed.len() > 500, "{} bytes were said", seed.len());
        for len in (0..seed.len()).step_by(7) {
            rpc(&seed[..len]);
        }
        rpc(seed);
        relay_seeds().iter().for_each(|seed| relay(seed));
        dns_seeds().iter().for_each(|seed| dns(seed));
    }
}
