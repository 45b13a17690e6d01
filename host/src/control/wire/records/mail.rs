//! Records of what became of messages, and of those that travel in files.

use qpq_schemas::node_capnp;

use super::super::fields::{self, put, record, take};
use super::super::{Wire, list_len, read_id, read_list, write_list};
use crate::api::*;

record!(WhyReport = why_report {
    text id(get_id, set_id),
    text state(get_state, set_state),
    opt_text kind(has_kind, get_kind, set_kind),
    num own(get_own, set_own),
    opt_id from(has_from, get_from, set_from),
    opt_text from_name(has_from_name, get_from_name, set_from_name),
    opt_text to(has_to, get_to, set_to),
    opt_text to_name(has_to_name, get_to_name, set_to_name),
    opt_text topic(has_topic, get_topic, set_topic),
    opt_text source(has_source, get_source, set_source),
    opt_text source_name(has_source_name, get_source_name, set_source_name),
    opt_num created_ms(has_created_ms, get_created_ms, init_created_ms),
    opt_num received_ms(has_received_ms, get_received_ms, init_received_ms),
    opt_num expires_ms(has_expires_ms, get_expires_ms, init_expires_ms),
    opt_num remembered_ms(has_remembered_ms, get_remembered_ms, init_remembered_ms),
    opt_nested wait(has_wait, get_wait, init_wait),
    opt_text inbox(has_inbox, get_inbox, set_inbox),
    opt_num at_ms(has_at_ms, get_at_ms, init_at_ms),
    opt_text by(has_by, get_by, set_by),
    opt_text by_name(has_by_name, get_by_name, set_by_name),
    opt_text how(has_how, get_how, set_how),
    opt_text quota(has_quota, get_quota, set_quota),
    opt_nested refused(has_refused, get_refused, init_refused),
});

record!(WaitInfo = wait_info {
    num place(get_place, set_place),
    num queue(get_queue, set_queue),
    num mailbox(get_mailbox, set_mailbox),
    num known(get_known, set_known),
    list hops(get_hops, init_hops),
    opt_num next_ms(has_next_ms, get_next_ms, init_next_ms),
});

record!(HopInfo = hop_info {
    id peer(get_peer, set_peer),
    opt_text nickname(has_nickname, get_nickname, set_nickname),
    text state(get_state, set_state),
    opt_num since_ms(has_since_ms, get_since_ms, init_since_ms),
    opt_num until_ms(has_until_ms, get_until_ms, init_until_ms),
    opt_text verdict(has_verdict, get_verdict, set_verdict),
});

record!(RefusedInfo = refused_info {
    text code(get_code, set_code),
    num at_ms(get_at_ms, set_at_ms),
    opt_id source(has_source, get_source, set_source),
    opt_text source_name(has_source_name, get_source_name, set_source_name),
});

record!(ExportQuery = export_query {
    opt_text recipient(has_recipient, get_recipient, set_recipient),
    opt_text topic(has_topic, get_topic, set_topic),
    num all(get_all, set_all),
    num place(get_place, set_place),
});

record!(ExportPage = export_page {
    datas envelopes(get_envelopes, init_envelopes),
    opt_num next(has_next, get_next, init_next),
    num damaged(get_damaged, set_damaged),
    num held(get_held, set_held),
});

record!(ImportOutcome = import_outcome {
    opt_id id(has_id, get_id, set_id),
    text code(get_code, set_code),
    opt_text message(has_message, get_message, set_message),
});
