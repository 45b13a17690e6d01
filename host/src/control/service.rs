//! `NodeService` of `node.capnp`, handed on to a `NodeApi`.

use std::cell::OnceCell;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use capnp::text_list;
use futures::FutureExt;
use futures::future::{join_all, ready};
use qpq_schemas::PeerId;
use qpq_schemas::emergency::MAX_SIGNATURES;
use qpq_schemas::node_capnp::node_service::*;
use qpq_schemas::node_capnp::{enqueue_result, health, mailbox};

use super::API_LEVEL;
use super::access::Caller;
use super::fault::to_exception;
use super::mail_service::MailService;
use super::slots::Slots;
use super::wire::{Wire, list_len, read_number, read_texts, read_trust, write_list};
use crate::api::mailbox::MailboxApi;
use crate::api::{ApiError, DeliveryQuery, InboxPage, InboxQuery, NodeApi, Receipt, ScriptLogQuery};

/// Most envelopes in one `batchEnqueue` or `importMail`.
const MAX_BATCH: u32 = 256;

/// A page of the inbox is cut when its payloads exceed this, in bytes: the reply stays well below what clients
/// accept in one message.
const MAX_PAGE_BYTES: usize = 4 << 20;

/// Longest wait of `fetchWait`, `deliveries` and `scriptLogs`, in milliseconds.
const MAX_WAIT_MS: u64 = 60_000;

/// The service of one connection.
pub(super) struct Service {
    node: Arc<dyn NodeApi>,
    caller: Caller,
    slots: Rc<Slots>,
    /// Calls of `fetchWait`, `deliveries` and `scriptLogs`, which wait. They get half the slots only: a connection whose slots are all taken isn't
    /// read, so it must not be possible to fill them with calls that end by time alone.
    waits: Rc<Slots>,
    mailbox: OnceCell<mailbox::Client>,
}

impl Service {
    /// Serves that node to that client, counting calls in those slots.
    pub(super) fn new(node: Arc<dyn NodeApi>, caller: Caller, slots: Rc<Slots>) -> Self {
        let waits = Slots::new(slots.limit() / 2);
        Self { node, caller, slots, waits, mailbox: OnceCell::new() }
    }

    /// The client's mailbox: one capability for the connection, however often it is asked for.
    fn mailbox_of(&self, owner: PeerId, mailboxes: &Arc<dyn MailboxApi>) -> mailbox::Client {
        let make = || {
            let (slots, waits) = (Rc::clone(&self.slots), Rc::clone(&self.waits));
            capnp_rpc::new_client(MailService::new(owner, Arc::clone(mailboxes), slots, waits))
        };
        self.mailbox.get_or_init(make).clone()
    }
}

/// A method, and who may call it: takes its slot at once, when the call comes in, and keeps it until the answer is made.
macro_rules! method {
    ($who:ident $name:ident($Params:ident, $Results:ident) |$service:ident, $params:ident, $results:ident| $body:block) => {
        fn $name(
            self: Rc<Self>,
            $params: $Params,
            mut $results: $Results,
        ) -> impl Future<Output = capnp::Result<()>> + 'static {
            let slot = self.slots.take();
            async move {
                let _slot = slot;
                let $service = self;
                $service.caller.$who(stringify!($name))?;
                let $params = $params.get()?;
                let mut $results = $results.get();
                $body
                Ok(())
            }
        }
    };
}

/// The answer to an API call, its error as an exception.
macro_rules! ask {
    ($call:expr) => {
        $call.await.map_err(|error| to_exception(&error))?
    };
}

impl Server for Service {
    method! { everyone enqueue(EnqueueParams, EnqueueResults) |service, params, results| {
        let envelope = params.get_envelope()?;
        service.caller.may_enqueue(envelope).map_err(|error| to_exception(&error))?;
        ask!(service.node.enqueue(Bytes::copy_from_slice(envelope))).write(results.reborrow().init_receipt());
    }}

    method! { everyone batch_enqueue(BatchEnqueueParams, BatchEnqueueResults) |service, params, results| {
        let envelopes = params.get_envelopes()?;
        if envelopes.len() > MAX_BATCH {
            return Err(to_exception(&batch_too_large(envelopes.len())));
        }
        let calls: Vec<_> = envelopes
            .iter()
            .map(|envelope| {
                let envelope = envelope?;
                Ok(match service.caller.may_enqueue(envelope) {
                    Ok(()) => service.node.enqueue(Bytes::copy_from_slice(envelope)),
                    Err(error) => ready(Err(error)).boxed(),
                })
            })
            .collect::<capnp::Result<_>>()?;
        let outcomes = join_all(calls).await;
        let mut list = results.reborrow().init_results(list_len(outcomes.len()));
        for (place, outcome) in (0..list.len()).zip(&outcomes) {
            write_outcome(outcome, list.reborrow().get(place));
        }
    }}

    method! { admins fetch(FetchParams, FetchResults) |service, params, results| {
        let query = InboxQuery::read(params.get_query()?)?;
        let newest = query.newest;
        cut(ask!(service.node.inbox(query)), newest).write(results.reborrow().init_page());
    }}

    method! { admins fetch_wait(FetchWaitParams, FetchWaitResults) |service, params, results| {
        let _wait = service.waits.try_take().ok_or_else(|| to_exception(&too_many_waits()))?;
        let wait_ms = params.get_wait_ms().min(MAX_WAIT_MS);
        let query = InboxQuery { wait_ms, ..InboxQuery::read(params.get_query()?)? };
        let newest = query.newest;
        cut(ask!(service.node.inbox(query)), newest).write(results.reborrow().init_page());
    }}

    method! { admins ack(AckParams, AckResults) |service, params, _results| {
        ask!(service.node.inbox_ack(params.get_reader()?.to_string()?, params.get_seq()));
    }}

    method! { admins subscribe(SubscribeParams, SubscribeResults) |service, params, results| {
        ask!(service.node.subscribe(params.get_topic()?.to_string()?)).write(results.reborrow().init_channel());
    }}

    method! { everyone health(HealthParams, HealthResults) |service, _params, results| {
        let identity = ask!(service.node.identity());
        write_health(identity.peer_id.as_bytes(), results.reborrow().init_health());
    }}

    method! { admins status(StatusParams, StatusResults) |service, _params, results| {
        ask!(service.node.status()).write(results.reborrow().init_status());
    }}

    method! { admins identity(IdentityParams, IdentityResults) |service, _params, results| {
        ask!(service.node.identity()).write(results.reborrow().init_identity());
    }}

    method! { admins peers(PeersParams, PeersResults) |service, _params, results| {
        let peers = ask!(service.node.peers());
        write_list(&peers, results.reborrow().init_peers(list_len(peers.len())));
    }}

    method! { admins note_server(NoteServerParams, NoteServerResults) |service, params, results| {
        ask!(service.node.note_server(params.get_address()?.to_string()?)).write(results.reborrow().init_note());
    }}

    method! { admins send(SendParams, SendResults) |service, params, results| {
        ask!(service.node.send(Wire::read(params.get_request()?)?)).write(results.reborrow().init_receipt());
    }}

    method! { admins broadcast(BroadcastParams, BroadcastResults) |service, params, results| {
        ask!(service.node.broadcast(Wire::read(params.get_request()?)?)).write(results.reborrow().init_receipt());
    }}

    method! { admins unsubscribe(UnsubscribeParams, UnsubscribeResults) |service, params, _results| {
        ask!(service.node.unsubscribe(params.get_topic()?.to_string()?));
    }}

    method! { admins create_private(CreatePrivateParams, CreatePrivateResults) |service, params, results| {
        ask!(service.node.create_private(params.get_name()?.to_string()?)).write(results.reborrow().init_channel());
    }}

    method! { admins channels(ChannelsParams, ChannelsResults) |service, _params, results| {
        let channels = ask!(service.node.channels());
        write_list(&channels, results.reborrow().init_channels(list_len(channels.len())));
    }}

    method! { admins routes(RoutesParams, RoutesResults) |service, _params, results| {
        ask!(service.node.routes()).write(results.reborrow().init_table());
    }}

    method! { admins store_stats(StoreStatsParams, StoreStatsResults) |service, _params, results| {
        ask!(service.node.store_stats()).write(results.reborrow().init_stats());
    }}

    method! { admins plugins(PluginsParams, PluginsResults) |service, _params, results| {
        let plugins = ask!(service.node.plugins());
        write_list(&plugins, results.reborrow().init_plugins(list_len(plugins.len())));
    }}

    method! { admins plugin_enable(PluginEnableParams, PluginEnableResults) |service, params, results| {
        ask!(service.node.plugin_enable(params.get_name()?.to_string()?)).write(results.reborrow().init_plugin());
    }}

    method! { admins scripts(ScriptsParams, ScriptsResults) |service, _params, results| {
        let scripts = ask!(service.node.scripts());
        write_list(&scripts, results.reborrow().init_scripts(list_len(scripts.len())));
    }}

    method! { admins script_reload(ScriptReloadParams, ScriptReloadResults) |service, params, results| {
        let name = if params.has_name() { Some(params.get_name()?.to_string()?) } else { None };
        let scripts = ask!(service.node.script_reload(name));
        write_list(&scripts, results.reborrow().init_scripts(list_len(scripts.len())));
    }}

    method! { admins script_approve(ScriptApproveParams, ScriptApproveResults) |service, params, results| {
        let (name, approval) = (params.get_name()?.to_string()?, Wire::read(params.get_approval()?)?);
        ask!(service.node.script_approve(name, approval)).write(results.reborrow().init_script());
    }}

    method! { admins script_logs(ScriptLogsParams, ScriptLogsResults) |service, params, results| {
        let _wait = service.waits.try_take().ok_or_else(|| to_exception(&too_many_waits()))?;
        let wait_ms = params.get_wait_ms().min(MAX_WAIT_MS);
        let query = ScriptLogQuery { wait_ms, ..ScriptLogQuery::read(params.get_query()?)? };
        ask!(service.node.script_logs(query)).write(results.reborrow().init_page());
    }}

    method! { admins script_eval(ScriptEvalParams, ScriptEvalResults) |service, params, results| {
        ask!(service.node.script_eval(Wire::read(params.get_eval()?)?)).write(results.reborrow().init_evaluated());
    }}

    method! { admins ping(PingParams, PingResults) |service, params, results| {
        let peer = params.get_peer()?.to_string()?;
        ask!(service.node.ping(peer, params.get_count())).write(results.reborrow().init_report());
    }}

    method! { admins set_trust(SetTrustParams, SetTrustResults) |service, params, results| {
        let trust = read_trust(params.get_trust()?);
        ask!(service.node.set_trust(params.get_peer()?.to_string()?, trust)).write(results.reborrow().init_peer());
    }}

    method! { admins forget_server(ForgetServerParams, ForgetServerResults) |service, params, results| {
        if let Some(remark) = ask!(service.node.forget_server(params.get_address()?.to_string()?)) {
            results.set_remark(remark.as_str());
        }
    }}

    method! { admins export_blocks(ExportBlocksParams, ExportBlocksResults) |service, _params, results| {
        results.set_list(ask!(service.node.export_blocks()).as_str());
    }}

    method! { admins import_blocks(ImportBlocksParams, ImportBlocksResults) |service, params, results| {
        ask!(service.node.import_blocks(params.get_list()?.to_string()?)).write(results.reborrow().init_outcome());
    }}

    method! { admins plugin_swap(PluginSwapParams, PluginSwapResults) |service, params, results| {
        let file = if params.has_file() { Some(params.get_file()?.to_string()?) } else { None };
        ask!(service.node.plugin_swap(params.get_name()?.to_string()?, file)).write(results.reborrow().init_plugin());
    }}

    method! { admins federation(FederationParams, FederationResults) |service, _params, results| {
        ask!(service.node.federation()).write(results.reborrow().init_report());
    }}

    method! { admins deliveries(DeliveriesParams, DeliveriesResults) |service, params, results| {
        let _wait = service.waits.try_take().ok_or_else(|| to_exception(&too_many_waits()))?;
        let after = if params.has_after() { Some(params.get_after()?.get_value()) } else { None };
        let query = DeliveryQuery { after, wait_ms: params.get_wait_ms().min(MAX_WAIT_MS) };
        ask!(service.node.deliveries(query)).write(results.reborrow().init_page());
    }}

    method! { admins why(WhyParams, WhyResults) |service, params, results| {
        ask!(service.node.why(params.get_id()?.to_string()?)).write(results.reborrow().init_report());
    }}

    method! { admins queue(QueueParams, QueueResults) |service, params, results| {
        ask!(service.node.queue(Wire::read(params.get_query()?)?)).write(results.reborrow().init_page());
    }}

    method! { admins export_mail(ExportMailParams, ExportMailResults) |service, params, results| {
        ask!(service.node.export_mail(Wire::read(params.get_query()?)?)).write(results.reborrow().init_page());
    }}

    method! { admins import_mail(ImportMailParams, ImportMailResults) |service, params, results| {
        let envelopes = params.get_envelopes()?;
        if envelopes.len() > MAX_BATCH {
            return Err(to_exception(&batch_too_large(envelopes.len())));
        }
        let envelopes = envelopes.iter().map(|bytes| Ok(Bytes::copy_from_slice(bytes?)));
        let outcomes = ask!(service.node.import_mail(envelopes.collect::<capnp::Result<_>>()?));
        write_list(&outcomes, results.reborrow().init_outcomes(list_len(outcomes.len())));
    }}

    method! { admins emergency_draft(EmergencyDraftParams, EmergencyDraftResults) |service, params, results| {
        let ttl_secs = if params.has_ttl_secs() { Some(read_number(params.get_ttl_secs()?.get_value())?) } else { None };
        let text = params.get_text()?.to_string()?;
        ask!(service.node.emergency_draft(text, ttl_secs)).write(results.reborrow().init_notice());
    }}

    method! { admins emergency_sign(EmergencySignParams, EmergencySignResults) |service, params, results| {
        let copies = read_copies(params.get_copies()?)?;
        ask!(service.node.emergency_sign(copies)).write(results.reborrow().init_notice());
    }}

    method! { admins emergency_show(EmergencyShowParams, EmergencyShowResults) |service, params, results| {
        let copies = read_copies(params.get_copies()?)?;
        ask!(service.node.emergency_show(copies)).write(results.reborrow().init_notice());
    }}

    method! { admins emergency_publish(EmergencyPublishParams, EmergencyPublishResults) |service, params, results| {
        let copies = read_copies(params.get_copies()?)?;
        ask!(service.node.emergency_publish(copies)).write(results.reborrow().init_receipt());
    }}

    method! { admins shutdown(ShutdownParams, ShutdownResults) |service, _params, _results| {
        ask!(service.node.shutdown());
    }}

    method! { everyone mailbox(MailboxParams, MailboxResults) |service, _params, results| {
        let Some((owner, mailboxes)) = &service.caller.proven else {
            let text = "Whoever comes through the control socket has proven no key. The node's own mail is in its inbox: call fetch.";
            return Err(to_exception(&ApiError::new("no-key", text)));
        };
        ask!(mailboxes.open(*owner));
        results.set_mailbox(service.mailbox_of(*owner, mailboxes));
    }}

    method! { everyone whoami(WhoamiParams, WhoamiResults) |service, _params, results| {
        let key = match &service.caller.proven {
            Some((key, _)) => *key,
            None => ask!(service.node.identity()).peer_id,
        };
        results.set_role(service.caller.role.word());
        results.set_peer_id(key.as_bytes());
    }}
}

/// Copies of a notice: at most so many that each can have another signature, so that nobody has thousands checked.
fn read_copies(copies: text_list::Reader<'_>) -> capnp::Result<Vec<String>> {
    let most = u32::try_from(MAX_SIGNATURES).unwrap_or(u32::MAX);
    if copies.len() > most {
        let error = ApiError::new("bad-notice", format!("At most {most} copies of a notice are put together."));
        return Err(to_exception(&error));
    }
    read_texts(copies)
}

pub(super) fn too_many_waits() -> ApiError {
    ApiError::new("too-many-waits", "Too many calls of this client wait for messages. One of each kind is enough.")
}

fn batch_too_large(envelopes: u32) -> ApiError {
    ApiError::new("batch-too-large", format!("A batch has at most {MAX_BATCH} envelopes, this one has {envelopes}."))
}

fn write_outcome(outcome: &Result<Receipt, ApiError>, to: enqueue_result::Builder<'_>) {
    match outcome {
        Ok(receipt) => receipt.write(to.init_receipt()),
        Err(error) => error.write(to.init_fault()),
    }
}

fn write_health(peer_id: &[u8], mut to: health::Builder<'_>) {
    to.set_version(env!("CARGO_PKG_VERSION"));
    to.set_api_level(API_LEVEL);
    to.set_pid(std::process::id());
    to.set_peer_id(peer_id);
}

/// Keeps what fits one reply: the oldest messages of the page, or its newest when those were asked for.
/// One message is always kept.
fn cut(mut page: InboxPage, newest: bool) -> InboxPage {
    let mut bytes = 0;
    let mut fits = |len: usize| {
        bytes += len;
        bytes <= MAX_PAGE_BYTES
    };
    let lens = page.items.iter().map(|item| item.payload.len());
    let kept = if newest {
        lens.rev().take_while(|len| fits(*len)).count()
    } else {
        lens.take_while(|len| fits(*len)).count()
    };
    let kept = kept.max(1);
    if kept >= page.items.len() {
        return page;
    }
    if newest {
        page.items.drain(..page.items.len() - kept);
    } else {
        page.items.truncate(kept);
        page.next_after = page.items.last().map_or(page.next_after, |item| item.seq);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::InboxItem;
    use crate::control::testing::item;

    fn page() -> InboxPage {
        let items: Vec<InboxItem> =
            (1..=3).map(|seq| InboxItem { payload: vec![0; MAX_PAGE_BYTES / 2 - 1], ..item(seq) }).collect();
        InboxPage { items, next_after: 3 }
    }

    #[test]
    fn a_page_too_long_for_one_reply_is_cut_and_can_be_gone_on_from() {
        let page = cut(page(), false);
        assert_eq!(page.items.iter().map(|item| item.seq).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(page.next_after, 2);
    }

    #[test]
    fn when_the_newest_are_asked_for_the_newest_are_kept() {
        let page = cut(page(), true);
        assert_eq!(page.items.iter().map(|item| item.seq).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(page.next_after, 3);
    }
}
