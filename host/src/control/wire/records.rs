//! The table of records: which field of the API goes through which accessors of the generated code.

mod mail;

use qpq_schemas::node_capnp;

use super::fields::{self, put, record, take};
use super::{Wire, list_len, read_id, read_list, write_list};
use crate::api::mailbox::{MailFigures, MailItem};
use crate::api::*;

record!(ApiError = fault {
    text code(get_code, set_code),
    text message(get_message, set_message),
});

record!(Receipt = receipt {
    id id(get_id, set_id),
    num expires_ms(get_expires_ms, set_expires_ms),
});

record!(SendRequest = send_request {
    text to(get_to, set_to),
    data payload(get_payload, set_payload),
    opt_num ttl_secs(has_ttl_secs, get_ttl_secs, init_ttl_secs),
    opt_num priority(has_priority, get_priority, init_priority),
    num receipt(get_receipt, set_receipt),
    num plain(get_plain, set_plain),
    num automatic(get_automatic, set_automatic),
    opt_id reply_to(has_reply_to, get_reply_to, set_reply_to),
    num reaction(get_reaction, set_reaction),
});

record!(BroadcastRequest = broadcast_request {
    text topic(get_topic, set_topic),
    data payload(get_payload, set_payload),
    opt_num ttl_secs(has_ttl_secs, get_ttl_secs, init_ttl_secs),
    opt_num priority(has_priority, get_priority, init_priority),
    num automatic(get_automatic, set_automatic),
    opt_num max_hops(has_max_hops, get_max_hops, init_max_hops),
    opt_id reply_to(has_reply_to, get_reply_to, set_reply_to),
    num reaction(get_reaction, set_reaction),
});

// The waiting time is an argument of `fetchWait`, not a part of the query.
record!(InboxQuery = inbox_query {
    opt_num after(has_after, get_after, init_after),
    opt_text reader(has_reader, get_reader, set_reader),
    count limit(get_limit, set_limit),
    num newest(get_newest, set_newest),
    opt_text topic(has_topic, get_topic, set_topic),
} skip { wait_ms });

record!(InboxPage = inbox_page {
    list items(get_items, init_items),
    num next_after(get_next_after, set_next_after),
});

record!(InboxItem = inbox_item {
    num seq(get_seq, set_seq),
    id id(get_id, set_id),
    id from(get_from, set_from),
    opt_text from_name(has_from_name, get_from_name, set_from_name),
    opt_text topic(has_topic, get_topic, set_topic),
    data payload(get_payload, set_payload),
    num sealed(get_sealed, set_sealed),
    num automatic(get_automatic, set_automatic),
    num created_ms(get_created_ms, set_created_ms),
    num received_ms(get_received_ms, set_received_ms),
    num expires_ms(get_expires_ms, set_expires_ms),
    num priority(get_priority, set_priority),
    num hops(get_hops, set_hops),
    num own(get_own, set_own),
    opt_text problem(has_problem, get_problem, set_problem),
    opt_id reply_to(has_reply_to, get_reply_to, set_reply_to),
    num reaction(get_reaction, set_reaction),
    num max_hops(get_max_hops, set_max_hops),
    opt_nested notice(has_notice, get_notice, init_notice),
});

record!(NoticeMark = notice_mark {
    num until_ms(get_until_ms, set_until_ms),
    ids signed(get_signed, init_signed),
    num counted(get_counted, set_counted),
    num quorum(get_quorum, set_quorum),
});

record!(NoticeKey = notice_key {
    id key(get_key, set_key),
    opt_text name(has_name, get_name, set_name),
    num admin(get_admin, set_admin),
    num own(get_own, set_own),
});

record!(NoticeInfo = notice {
    text notice(get_notice, set_notice),
    text text(get_text, set_text),
    num until_ms(get_until_ms, set_until_ms),
    opt_text channel(has_channel, get_channel, set_channel),
    id topic_id(get_topic_id, set_topic_id),
    list signed(get_signed, init_signed),
    list missing(get_missing, init_missing),
    num counted(get_counted, set_counted),
    num quorum(get_quorum, set_quorum),
});

record!(Delivery = delivery {
    num seq(get_seq, set_seq),
    id id(get_id, set_id),
    id peer(get_peer, set_peer),
    opt_text peer_name(has_peer_name, get_peer_name, set_peer_name),
    num at_ms(get_at_ms, set_at_ms),
});

record!(DeliveryPage = delivery_page {
    list items(get_items, init_items),
    num next_after(get_next_after, set_next_after),
});

record!(IdentityInfo = identity_info {
    id peer_id(get_peer_id, set_peer_id),
    opt_text nickname(has_nickname, get_nickname, set_nickname),
    opt_text domain(has_domain, get_domain, set_domain),
    texts listen(get_listen, init_listen),
    text identity_file(get_identity_file, set_identity_file),
    count known_peers(get_known_peers, set_known_peers),
    text fingerprint(get_fingerprint, set_fingerprint),
});

record!(PeerInfo = peer_info {
    opt_id peer_id(has_peer_id, get_peer_id, set_peer_id),
    opt_text nickname(has_nickname, get_nickname, set_nickname),
    trust trust(get_trust, set_trust),
    texts addresses(get_addresses, init_addresses),
    text state(get_state, set_state),
    list links(get_links, init_links),
    opt_num last_seen_ms(has_last_seen_ms, get_last_seen_ms, init_last_seen_ms),
    opt_text last_error(has_last_error, get_last_error, set_last_error),
    list discovered(get_discovered, init_discovered),
});

record!(Discovered = discovered {
    text plugin(get_plugin, set_plugin),
    opt_text interface(has_interface, get_interface, set_interface),
    opt_text domain(has_domain, get_domain, set_domain),
    opt_text server(has_server, get_server, set_server),
    texts addresses(get_addresses, init_addresses),
    num first_seen_ms(get_first_seen_ms, set_first_seen_ms),
    num last_seen_ms(get_last_seen_ms, set_last_seen_ms),
});

record!(LinkInfo = link_info {
    num link(get_link, set_link),
    text transport(get_transport, set_transport),
    text remote(get_remote, set_remote),
    num outbound(get_outbound, set_outbound),
    opt_num rtt_us(has_rtt_us, get_rtt_us, init_rtt_us),
    num since_ms(get_since_ms, set_since_ms),
    count in_flight(get_in_flight, set_in_flight),
    num sent(get_sent, set_sent),
    num received(get_received, set_received),
    num relayed(get_relayed, set_relayed),
    opt_num loss_ppm(has_loss_ppm, get_loss_ppm, init_loss_ppm),
    num preferred(get_preferred, set_preferred),
});

record!(PingReport = ping_report {
    id peer_id(get_peer_id, set_peer_id),
    opt_text nickname(has_nickname, get_nickname, set_nickname),
    list links(get_links, init_links),
    opt_id next_hop(has_next_hop, get_next_hop, set_next_hop),
});

record!(LinkPing = link_ping {
    num link(get_link, set_link),
    text transport(get_transport, set_transport),
    text remote(get_remote, set_remote),
    num relayed(get_relayed, set_relayed),
    num preferred(get_preferred, set_preferred),
    nums rtts_us(get_rtts_us, init_rtts_us),
    num lost(get_lost, set_lost),
});

record!(BlocksImported = blocks_imported {
    count added(get_added, set_added),
    count known(get_known, set_known),
});

record!(ServerNote = server_note {
    text address(get_address, set_address),
    opt_id peer_id(has_peer_id, get_peer_id, set_peer_id),
    text state(get_state, set_state),
});

record!(ChannelInfo = channel_info {
    text name(get_name, set_name),
    id topic_id(get_topic_id, set_topic_id),
    num private(get_private, set_private),
    num epoch(get_epoch, set_epoch),
    texts subscribers(get_subscribers, init_subscribers),
    opt_text invite(has_invite, get_invite, set_invite),
});

record!(FederationReport = federation_report {
    opt_text domain(has_domain, get_domain, set_domain),
    opt_text plugin(has_plugin, get_plugin, set_plugin),
    opt_text problem(has_problem, get_problem, set_problem),
    texts listen(get_listen, init_listen),
    opt_nested certificate(has_certificate, get_certificate, init_certificate),
    opt_nested authority(has_authority, get_authority, init_authority),
    list domains(get_domains, init_domains),
    list refused(get_refused, init_refused),
});

record!(CertificateInfo = certificate_info {
    texts names(get_names, init_names),
    opt_num not_after_ms(has_not_after_ms, get_not_after_ms, init_not_after_ms),
    opt_num days_left(has_days_left, get_days_left, init_days_left),
    opt_text problem(has_problem, get_problem, set_problem),
});

record!(DomainInfo = domain_info {
    text domain(get_domain, set_domain),
    text state(get_state, set_state),
    opt_text remote(has_remote, get_remote, set_remote),
    num legacy(get_legacy, set_legacy),
    ids gateways(get_gateways, init_gateways),
    opt_num rtt_us(has_rtt_us, get_rtt_us, init_rtt_us),
    opt_num certificate_days_left(has_certificate_days_left, get_certificate_days_left, init_certificate_days_left),
    opt_text last_error(has_last_error, get_last_error, set_last_error),
    opt_num last_error_ms(has_last_error_ms, get_last_error_ms, init_last_error_ms),
    count channels(get_channels, set_channels),
    num sent(get_sent, set_sent),
    num taken(get_taken, set_taken),
    num taken_bytes(get_taken_bytes, set_taken_bytes),
    num put_off(get_put_off, set_put_off),
});

record!(RefusedDomain = refused_domain {
    text remote(get_remote, set_remote),
    opt_text domain(has_domain, get_domain, set_domain),
    text reason(get_reason, set_reason),
    num count(get_count, set_count),
    opt_num last_ms(has_last_ms, get_last_ms, init_last_ms),
});

record!(RouteTable = route_table {
    text plugin(get_plugin, set_plugin),
    list routes(get_routes, init_routes),
    list lost(get_lost, init_lost),
    list links(get_links, init_links),
    opt_id here(has_here, get_here, set_here),
    opt_text here_name(has_here_name, get_here_name, set_here_name),
    opt_num state_bytes(has_state_bytes, get_state_bytes, init_state_bytes),
    counters counters(get_counters, init_counters),
});

record!(RouteInfo = route_info {
    id destination(get_destination, set_destination),
    id next_hop(get_next_hop, set_next_hop),
    opt_text nickname(has_nickname, get_nickname, set_nickname),
    num metric(get_metric, set_metric),
    opt_num hops(has_hops, get_hops, init_hops),
    num age_ms(get_age_ms, set_age_ms),
    opt_text next_hop_name(has_next_hop_name, get_next_hop_name, set_next_hop_name),
    opt_num link(has_link, get_link, init_link),
    opt_num seqno(has_seqno, get_seqno, init_seqno),
    opt_nested feasibility(has_feasibility, get_feasibility, init_feasibility),
    list alternatives(get_alternatives, init_alternatives),
});

record!(LostRoute = lost_route {
    id destination(get_destination, set_destination),
    opt_text nickname(has_nickname, get_nickname, set_nickname),
    text state(get_state, set_state),
    num age_ms(get_age_ms, set_age_ms),
    opt_num seqno(has_seqno, get_seqno, init_seqno),
    opt_nested feasibility(has_feasibility, get_feasibility, init_feasibility),
    list alternatives(get_alternatives, init_alternatives),
});

record!(Feasibility = feasibility {
    num seqno(get_seqno, set_seqno),
    num metric(get_metric, set_metric),
});

record!(RouteAlternative = route_alternative {
    id next_hop(get_next_hop, set_next_hop),
    opt_text nickname(has_nickname, get_nickname, set_nickname),
    num metric(get_metric, set_metric),
    opt_num seqno(has_seqno, get_seqno, init_seqno),
    num feasible(get_feasible, set_feasible),
    opt_num age_ms(has_age_ms, get_age_ms, init_age_ms),
});

record!(RouteLink = route_link {
    num link(get_link, set_link),
    id peer(get_peer, set_peer),
    opt_text nickname(has_nickname, get_nickname, set_nickname),
    opt_num cost(has_cost, get_cost, init_cost),
    opt_num rtt_us(has_rtt_us, get_rtt_us, init_rtt_us),
    opt_num loss_ppm(has_loss_ppm, get_loss_ppm, init_loss_ppm),
});

record!(StoreStats = store_stats {
    count waiting(get_waiting, set_waiting),
    num waiting_bytes(get_waiting_bytes, set_waiting_bytes),
    count recipients(get_recipients, set_recipients),
    list longest(get_longest, init_longest),
    count broadcasts(get_broadcasts, set_broadcasts),
    num broadcast_bytes(get_broadcast_bytes, set_broadcast_bytes),
    count inbox(get_inbox, set_inbox),
    count seen(get_seen, set_seen),
    opt_num oldest_ms(has_oldest_ms, get_oldest_ms, init_oldest_ms),
    counters counters(get_counters, init_counters),
    num damaged(get_damaged, set_damaged),
    num disk_bytes(get_disk_bytes, set_disk_bytes),
    opt_text read_only(has_read_only, get_read_only, set_read_only),
    opt_text lost(has_lost, get_lost, set_lost),
    list oldest(get_oldest, init_oldest),
    list senders(get_senders, init_senders),
    counters evicted(get_evicted, init_evicted),
    counters refused(get_refused, init_refused),
    count total(get_total, set_total),
    num total_bytes(get_total_bytes, set_total_bytes),
    num inbox_bytes(get_inbox_bytes, set_inbox_bytes),
    count replicas(get_replicas, set_replicas),
    nested quotas(get_quotas, init_quotas),
});

record!(QueueInfo = queue_info {
    id recipient(get_recipient, set_recipient),
    opt_text nickname(has_nickname, get_nickname, set_nickname),
    count messages(get_messages, set_messages),
    num bytes(get_bytes, set_bytes),
    num oldest_ms(get_oldest_ms, set_oldest_ms),
});

record!(SenderUse = sender_use {
    id sender(get_sender, set_sender),
    opt_text nickname(has_nickname, get_nickname, set_nickname),
    num messages(get_messages, set_messages),
    num bytes(get_bytes, set_bytes),
});

record!(StoreQuotas = store_quotas {
    num recipient_messages(get_recipient_messages, set_recipient_messages),
    num recipient_bytes(get_recipient_bytes, set_recipient_bytes),
    num sender_share_percent(get_sender_share_percent, set_sender_share_percent),
    num sender_messages(get_sender_messages, set_sender_messages),
    num sender_bytes(get_sender_bytes, set_sender_bytes),
    num topic_messages(get_topic_messages, set_topic_messages),
    num topic_bytes(get_topic_bytes, set_topic_bytes),
    num inbox_messages(get_inbox_messages, set_inbox_messages),
    num inbox_bytes(get_inbox_bytes, set_inbox_bytes),
    num total_messages(get_total_messages, set_total_messages),
    num total_bytes(get_total_bytes, set_total_bytes),
    num link_messages_per_minute(get_link_messages_per_minute, set_link_messages_per_minute),
    num link_bytes_per_minute(get_link_bytes_per_minute, set_link_bytes_per_minute),
});

record!(QueueQuery = queue_query {
    text recipient(get_recipient, set_recipient),
    num after(get_after, set_after),
    num limit(get_limit, set_limit),
});

record!(QueuePage = queue_page {
    id recipient(get_recipient, set_recipient),
    opt_text nickname(has_nickname, get_nickname, set_nickname),
    num messages(get_messages, set_messages),
    num bytes(get_bytes, set_bytes),
    num max_messages(get_max_messages, set_max_messages),
    num max_bytes(get_max_bytes, set_max_bytes),
    list items(get_items, init_items),
});

record!(QueuedItem = queued_item {
    id id(get_id, set_id),
    id from(get_from, set_from),
    opt_text from_name(has_from_name, get_from_name, set_from_name),
    num priority(get_priority, set_priority),
    num bytes(get_bytes, set_bytes),
    num created_ms(get_created_ms, set_created_ms),
    num received_ms(get_received_ms, set_received_ms),
    num expires_ms(get_expires_ms, set_expires_ms),
    opt_id source(has_source, get_source, set_source),
});

record!(PluginStatus = plugin_status {
    text name(get_name, set_name),
    text kind(get_kind, set_kind),
    text version(get_version, set_version),
    text file(get_file, set_file),
    text sha256(get_sha256, set_sha256),
    text state(get_state, set_state),
    num failures(get_failures, set_failures),
    opt_text last_error(has_last_error, get_last_error, set_last_error),
    opt_num restart_in_ms(has_restart_in_ms, get_restart_in_ms, init_restart_in_ms),
    num generation(get_generation, set_generation),
    json stats(get_stats, set_stats),
    list swaps(get_swaps, init_swaps),
});

record!(SwapReport = swap_report {
    text file(get_file, set_file),
    text version(get_version, set_version),
    text sha256(get_sha256, set_sha256),
    text state(get_state, set_state),
    opt_text reason(has_reason, get_reason, set_reason),
    num at_ms(get_at_ms, set_at_ms),
    opt_num took_ms(has_took_ms, get_took_ms, init_took_ms),
    opt_num pause_us(has_pause_us, get_pause_us, init_pause_us),
});

record!(BotStatus = bot_status {
    text name(get_name, set_name),
    opt_text version(has_version, get_version, set_version),
    text path(get_path, set_path),
    text state(get_state, set_state),
    opt_text problem(has_problem, get_problem, set_problem),
    texts commands(get_commands, init_commands),
    texts topics(get_topics, init_topics),
    num events(get_events, set_events),
    num errors(get_errors, set_errors),
    num cpu_ms(get_cpu_ms, set_cpu_ms),
    num memory_bytes(get_memory_bytes, set_memory_bytes),
    num sent(get_sent, set_sent),
    num stored_bytes(get_stored_bytes, set_stored_bytes),
    num lag(get_lag, set_lag),
    num loads(get_loads, set_loads),
    text isolation(get_isolation, set_isolation),
    texts needs(get_needs, init_needs),
    texts missing(get_missing, init_missing),
    num pauses(get_pauses, set_pauses),
    num kills(get_kills, set_kills),
    list limits(get_limits, init_limits),
    texts denied(get_denied, init_denied),
});

record!(LimitUse = limit_use {
    text name(get_name, set_name),
    num used(get_used, set_used),
    num limit(get_limit, set_limit),
});

record!(ScriptApproval = script_approval {
    texts needs(get_needs, init_needs),
    num revoke(get_revoke, set_revoke),
    num trusted(get_trusted, set_trusted),
});

// The waiting time is an argument of `scriptLogs`, not a part of the query.
record!(ScriptLogQuery = script_log_query {
    opt_text bot(has_bot, get_bot, set_bot),
    opt_num after(has_after, get_after, init_after),
    count limit(get_limit, set_limit),
} skip { wait_ms });

record!(ScriptLogLine = script_log_line {
    num seq(get_seq, set_seq),
    num at_ms(get_at_ms, set_at_ms),
    text bot(get_bot, set_bot),
    text level(get_level, set_level),
    opt_text event(has_event, get_event, set_event),
    opt_text place(has_place, get_place, set_place),
    text text(get_text, set_text),
    opt_text traceback(has_traceback, get_traceback, set_traceback),
});

record!(ScriptLogPage = script_log_page {
    list lines(get_lines, init_lines),
    num next_after(get_next_after, set_next_after),
});

record!(ScriptEval = script_eval {
    text bot(get_bot, set_bot),
    text code(get_code, set_code),
    num write(get_write, set_write),
});

record!(ScriptEvaluated = script_evaluated {
    text result(get_result, set_result),
    opt_text error(has_error, get_error, set_error),
    num cpu_us(get_cpu_us, set_cpu_us),
});

record!(NodeStatus = node_status {
    text version(get_version, set_version),
    num pid(get_pid, set_pid),
    text home(get_home, set_home),
    id peer_id(get_peer_id, set_peer_id),
    num uptime_secs(get_uptime_secs, set_uptime_secs),
    count links(get_links, set_links),
    opt_num resident_bytes(has_resident_bytes, get_resident_bytes, init_resident_bytes),
    list plugins(get_plugins, init_plugins),
    list scripts(get_scripts, init_scripts),
    nested store(get_store, init_store),
    texts warnings(get_warnings, init_warnings),
    num mapped_libraries(get_mapped_libraries, set_mapped_libraries),
});

record!(MailItem = mail_item {
    num seq(get_seq, set_seq),
    data envelope(get_envelope, set_envelope),
    num received_ms(get_received_ms, set_received_ms),
});

record!(MailFigures = mail_figures {
    num waiting(get_waiting, set_waiting),
    num waiting_bytes(get_waiting_bytes, set_waiting_bytes),
    num max_messages(get_max_messages, set_max_messages),
    num max_bytes(get_max_bytes, set_max_bytes),
    ids topics(get_topic_ids, init_topic_ids),
});
