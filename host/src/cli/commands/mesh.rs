//! `mesh …`

mod emergency;
mod parcel;
mod peers;
mod route;
mod send;
mod store;
mod why;

pub(super) use store::figures as store_figures;

use std::io::Write as _;

use qpq_schemas::channel::normalise;
use qpq_schemas::{PeerId, channel};
use serde_json::json;

use crate::api::*;
use crate::cli::answer::Answer;
use crate::cli::args::{BroadcastArgs, MeshCommand};
use crate::cli::failure::Failure;
use crate::cli::term::{Style, Table, clean};
use send::{priority, ttl_secs};

pub(super) async fn run(node: &dyn NodeApi, command: MeshCommand, style: Style) -> Result<Answer, Failure> {
    Ok(match command {
        MeshCommand::Identity => identity(&node.identity().await?),
        MeshCommand::Peers => peers::table(&node.peers().await?, style),
        MeshCommand::Server { address } => server(&node.note_server(address).await?),
        MeshCommand::Forget { address } => {
            let remark = node.forget_server(address.clone()).await?;
            let more = remark.as_deref().map(|remark| format!(" {}", clean(remark))).unwrap_or_default();
            let text = format!("Forgot {}.{more}", clean(&address));
            Answer::new("qpq.forgotten/1", &json!({ "address": address, "remark": remark }), text)
        }
        MeshCommand::Ping { peer, count } => peers::ping(&node.ping(peer, count).await?, style)?,
        MeshCommand::Trust { peer, level } => peers::trusted(&node.set_trust(peer, level.into()).await?),
        MeshCommand::Block { peer } => peers::trusted(&node.set_trust(peer, Trust::Blocked).await?),
        MeshCommand::Unblock { peer } => peers::trusted(&node.set_trust(peer, Trust::Known).await?),
        MeshCommand::Blocks { command } => peers::blocks(node, command).await?,
        MeshCommand::Send(args) => send::run(node, args).await?,
        MeshCommand::Broadcast(args) => publish(node, args).await?,
        MeshCommand::Emergency { command } => emergency::run(node, command).await?,
        MeshCommand::Subscribe { topic } => joined(&node.subscribe(topic).await?),
        MeshCommand::Unsubscribe { topic } => {
            node.unsubscribe(topic.clone()).await?;
            Answer::new("qpq.unsubscribed/1", &json!({ "topic": topic }), format!("Left {}.", clean(&topic)))
        }
        MeshCommand::Channels => channels(&node.channels().await?, style),
        MeshCommand::Create { name } => invite(&node.create_private(name).await?)?,
        MeshCommand::Invite { topic } => invite(&find_channel(node, &topic).await?)?,
        MeshCommand::Why { id } => why::told(&node.why(id).await?)?,
        MeshCommand::Route(args) => route::shown(&node.routes().await?, &args, style)?,
        MeshCommand::Store(args) => store::shown(node, args, style).await?,
        MeshCommand::Export(args) => parcel::export(node, args).await?,
        MeshCommand::Import { file } => parcel::import(node, &file).await?,
        MeshCommand::Inbox(args) => super::inbox::show(node, &args, style).await?,
    })
}

/// Publishes, and says so where the topic may be a slip of the pen: an open channel that nobody here has joined. The note
/// goes to the standard error output, so that the id stays alone for programs.
async fn publish(node: &dyn NodeApi, args: BroadcastArgs) -> Result<Answer, Failure> {
    let name = normalise(&args.topic).unwrap_or_default();
    let receipt = receipt(&node.broadcast(broadcast_request(args)).await?);
    if !node.channels().await?.iter().any(|channel| channel.name == name) {
        let note = format!("note: published on the open channel {}, which this node has not joined", clean(&name));
        let _ = writeln!(std::io::stderr(), "{note}"); // whoever closed it doesn't want to know
    }
    Ok(receipt)
}

fn broadcast_request(args: BroadcastArgs) -> BroadcastRequest {
    BroadcastRequest {
        topic: args.topic,
        payload: args.text.join(" ").into_bytes(),
        ttl_secs: ttl_secs(args.ttl),
        priority: priority(args.priority),
        automatic: false,
        max_hops: args.hops,
        reply_to: args.reply_to,
        reaction: false,
    }
}

fn receipt(receipt: &Receipt) -> Answer {
    Answer::new("qpq.receipt/1", receipt, receipt.id.to_string())
}

fn identity(identity: &IdentityInfo) -> Answer {
    let or_none = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), clean);
    let text = format!(
        "peer id      {}\nfingerprint  {}\nnickname     {}\ndomain       {}\nlistens at   {}\nknown peers  {}\nfile         {}",
        identity.peer_id,
        identity.fingerprint,
        or_none(&identity.nickname),
        or_none(&identity.domain),
        if identity.listen.is_empty() { "-".to_owned() } else { clean(&identity.listen.join(", ")) },
        identity.known_peers,
        identity.identity_file,
    );
    Answer::new("qpq.identity/1", identity, text)
}

/// A name for a key: its nickname, if it has one, beside the key's first digits.
pub(super) fn name(peer: &PeerId, nickname: Option<&String>) -> String {
    match nickname {
        Some(nickname) => format!("{} ({})", clean(nickname), peer.short()),
        None => peer.short(),
    }
}

fn server(note: &ServerNote) -> Answer {
    let who = note.peer_id.map(|id| format!(", peer {id}")).unwrap_or_default();
    let text = format!("Noted {}: {}{who}.", clean(&note.address), clean(&note.state));
    Answer::new("qpq.server/1", note, text)
}

/// A channel as JSON, its invite left out unless it was asked for.
fn without_invite(channel: &ChannelInfo) -> ChannelInfo {
    ChannelInfo { invite: None, ..channel.clone() }
}

fn joined(channel: &ChannelInfo) -> Answer {
    let kind = if channel.private { "private" } else { "open" };
    Answer::new("qpq.channel/1", &without_invite(channel), format!("Joined {} ({kind}).", clean(&channel.name)))
}

fn channels(channels: &[ChannelInfo], style: Style) -> Answer {
    let mut table = Table::new(&["CHANNEL", "KIND", "TOPIC ID", "SUBSCRIBERS"]);
    for channel in channels {
        table.row([
            channel.name.clone(),
            if channel.private { "private" } else { "open" }.to_owned(),
            channel.topic_id.short(),
            channel.subscribers.join(", "),
        ]);
    }
    let shown: Vec<_> = channels.iter().map(without_invite).collect();
    let empty = "No channels yet. `mesh subscribe TOPIC` joins one.";
    Answer::list("qpq.channels/1", "channels", &shown, table.show(style, empty))
}

async fn find_channel(node: &dyn NodeApi, topic: &str) -> Result<ChannelInfo, Failure> {
    let channels = node.channels().await?;
    channels.into_iter().find(|channel| channel.name == topic).ok_or_else(|| {
        Failure::new("unknown-channel", format!("No channel {} is joined here; see `qpq mesh channels`.", clean(topic)))
    })
}

fn invite(channel: &ChannelInfo) -> Result<Answer, Failure> {
    let Some(invite) = &channel.invite else {
        let text = format!("{} is an open channel: its name is all that others need.", channel.name);
        return Err(Failure::new("open-channel", text));
    };
    let qr = channel::qr(invite).unwrap_or_default();
    let text = format!(
        "Invite to {}. Whoever has it can read and write there, so hand it over in private.\n\n{invite}\n\n{qr}",
        clean(&channel.name),
    );
    Ok(Answer::new("qpq.channel/1", channel, text))
}
