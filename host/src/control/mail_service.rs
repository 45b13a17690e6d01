//! `Mailbox` of `node.capnp`, handed on to a `MailboxApi`.

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use capnp::data_list;
use qpq_schemas::PeerId;
use qpq_schemas::node_capnp::mailbox::*;

use super::fault::to_exception;
use super::service::too_many_waits;
use super::slots::Slots;
use super::wire::{Wire, list_len, read_id, write_list};
use crate::api::ApiError;
use crate::api::mailbox::{MAX_ACKS, MailboxApi, MailboxQuery};

/// The mailbox of one connection.
pub(super) struct MailService {
    owner: PeerId,
    mailboxes: Arc<dyn MailboxApi>,
    slots: Rc<Slots>,
    waits: Rc<Slots>,
}

impl MailService {
    /// The mailbox of `owner`. Calls are counted with all others of the connection.
    pub(super) fn new(owner: PeerId, mailboxes: Arc<dyn MailboxApi>, slots: Rc<Slots>, waits: Rc<Slots>) -> Self {
        Self { owner, mailboxes, slots, waits }
    }
}

/// A method: takes its slot when the call comes in, and keeps it until the answer is made.
macro_rules! method {
    ($name:ident($Params:ident, $Results:ident) |$service:ident, $params:ident, $results:ident| $body:block) => {
        fn $name(
            self: Rc<Self>,
            $params: $Params,
            mut $results: $Results,
        ) -> impl Future<Output = capnp::Result<()>> + 'static {
            let slot = self.slots.take();
            async move {
                let _slot = slot;
                let $service = self;
                let $params = $params.get()?;
                let mut $results = $results.get();
                $body
                Ok(())
            }
        }
    };
}

macro_rules! ask {
    ($call:expr) => {
        $call.await.map_err(|error| to_exception(&error))?
    };
}

impl Server for MailService {
    method! { fetch(FetchParams, FetchResults) |service, params, results| {
        let wait_ms = params.get_wait_ms();
        let waits = || service.waits.try_take().ok_or_else(|| to_exception(&too_many_waits()));
        let _wait = if wait_ms == 0 { None } else { Some(waits()?) };
        let limit = usize::try_from(params.get_limit()).unwrap_or(usize::MAX);
        let query = MailboxQuery { after: params.get_after(), limit, wait_ms };
        let page = ask!(service.mailboxes.fetch(service.owner, query));
        results.set_next_after(page.next_after);
        write_list(&page.items, results.reborrow().init_items(list_len(page.items.len())));
    }}

    method! { ack(AckParams, AckResults) |service, params, results| {
        let ids = read_ids(params.get_ids()?)?;
        results.set_dropped(ask!(service.mailboxes.acknowledge(service.owner, ids)));
    }}

    method! { subscribe(SubscribeParams, SubscribeResults) |service, params, _results| {
        let topics = read_ids(params.get_topic_ids()?)?;
        ask!(service.mailboxes.subscribe(service.owner, topics));
    }}

    method! { unsubscribe(UnsubscribeParams, UnsubscribeResults) |service, params, _results| {
        let topics = read_ids(params.get_topic_ids()?)?;
        ask!(service.mailboxes.unsubscribe(service.owner, topics));
    }}

    method! { publish(PublishParams, PublishResults) |service, params, _results| {
        let record = Bytes::copy_from_slice(params.get_record()?);
        ask!(service.mailboxes.publish(service.owner, record));
    }}

    method! { lookup(LookupParams, LookupResults) |service, params, results| {
        let records = ask!(service.mailboxes.look_up(params.get_who()?.to_string()?));
        let mut list = results.reborrow().init_records(list_len(records.len()));
        for (place, record) in (0..list.len()).zip(&records) {
            list.set(place, record);
        }
    }}

    method! { figures(FiguresParams, FiguresResults) |service, _params, results| {
        ask!(service.mailboxes.figures(service.owner)).write(results.reborrow().init_figures());
    }}
}

/// Ids of a list, whose length is looked at before anything is made of it.
fn read_ids<T: From<[u8; 32]>>(list: data_list::Reader<'_>) -> capnp::Result<Vec<T>> {
    let len = usize::try_from(list.len()).unwrap_or(usize::MAX);
    if len > MAX_ACKS {
        let text = format!("One call takes at most {MAX_ACKS} ids, this one has {len}.");
        return Err(to_exception(&ApiError::new("too-large", text)));
    }
    list.iter().map(|id| read_id(id?)).collect()
}
