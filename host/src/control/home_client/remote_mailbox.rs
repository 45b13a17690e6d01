//! A mailbox at a node, over a connection to it.

use bytes::Bytes;
use capnp::data_list;
use qpq_schemas::node_capnp::mailbox::Client;
use qpq_schemas::{MessageId, TopicId};

use crate::api::Reply;
use crate::api::mailbox::{MailFigures, MailPage, MailboxQuery};
use crate::control::RemoteNode;
use crate::control::wire::{Wire, list_len, read_list, write_ids};

/// The mailbox of the key that the connection has proven.
#[derive(Debug, Clone)]
pub(in crate::control) struct RemoteMailbox(pub(in crate::control) RemoteNode);

/// The mailbox and the first call to it travel together.
fn mailbox(node: &qpq_schemas::node_capnp::node_service::Client) -> Client {
    node.mailbox_request().send().pipeline.get_mailbox()
}

fn read_data(list: data_list::Reader<'_>) -> capnp::Result<Vec<Bytes>> {
    list.iter().map(|data| Ok(Bytes::copy_from_slice(data?))).collect()
}

impl RemoteMailbox {
    pub(in crate::control) fn fetch(&self, query: MailboxQuery) -> Reply<MailPage> {
        self.0.call(move |node| async move {
            let mut request = mailbox(&node).fetch_request();
            let mut call = request.get();
            call.set_after(query.after);
            call.set_limit(u32::try_from(query.limit).unwrap_or(u32::MAX));
            call.set_wait_ms(query.wait_ms);
            let response = request.send().promise.await?;
            let page = response.get()?;
            Ok(MailPage { items: read_list(page.get_items()?)?, next_after: page.get_next_after() })
        })
    }

    pub(in crate::control) fn acknowledge(&self, ids: Vec<MessageId>) -> Reply<u32> {
        self.0.call(move |node| async move {
            let mut request = mailbox(&node).ack_request();
            write_ids(ids.iter().map(MessageId::as_bytes), request.get().init_ids(list_len(ids.len())));
            let response = request.send().promise.await?;
            Ok(response.get()?.get_dropped())
        })
    }

    pub(in crate::control) fn subscribe(&self, topics: Vec<TopicId>) -> Reply<()> {
        self.0.call(move |node| async move {
            let mut request = mailbox(&node).subscribe_request();
            write_ids(topics.iter().map(TopicId::as_bytes), request.get().init_topic_ids(list_len(topics.len())));
            request.send().promise.await.map(drop)
        })
    }

    pub(in crate::control) fn unsubscribe(&self, topics: Vec<TopicId>) -> Reply<()> {
        self.0.call(move |node| async move {
            let mut request = mailbox(&node).unsubscribe_request();
            write_ids(topics.iter().map(TopicId::as_bytes), request.get().init_topic_ids(list_len(topics.len())));
            request.send().promise.await.map(drop)
        })
    }

    pub(in crate::control) fn publish(&self, record: Bytes) -> Reply<()> {
        self.0.call(move |node| async move {
            let mut request = mailbox(&node).publish_request();
            request.get().set_record(&record);
            request.send().promise.await.map(drop)
        })
    }

    pub(in crate::control) fn look_up(&self, who: String) -> Reply<Vec<Bytes>> {
        self.0.call(move |node| async move {
            let mut request = mailbox(&node).lookup_request();
            request.get().set_who(who.as_str());
            let response = request.send().promise.await?;
            read_data(response.get()?.get_records()?)
        })
    }

    pub(in crate::control) fn figures(&self) -> Reply<MailFigures> {
        self.0.call(move |node| async move {
            let response = mailbox(&node).figures_request().send().promise.await?;
            MailFigures::read(response.get()?.get_figures()?)
        })
    }
}
