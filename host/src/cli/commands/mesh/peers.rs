//! `mesh peers`, `ping`, `trust`, `block` and `blocks`.

use std::io::Read as _;
use std::path::Path;

use super::name;
use crate::api::*;
use crate::cli::answer::Answer;
use crate::cli::args::{BlocksCommand, TrustLevel};
use crate::cli::failure::Failure;
use crate::cli::term::{Style, Table, ago, clean, now_ms};

/// The largest block list that is read, in bytes: more than a directory takes.
const MAX_LIST: u64 = 1 << 20;

impl From<TrustLevel> for Trust {
    fn from(level: TrustLevel) -> Self {
        match level {
            TrustLevel::Known => Self::Known,
            TrustLevel::Trusted => Self::Trusted,
            TrustLevel::Blocked => Self::Blocked,
        }
    }
}

fn millis(us: u64) -> String {
    format!("{}.{} ms", us / 1_000, us % 1_000 / 100)
}

/// The known peers and the links to them. Why one can't be reached stands below the table, which stays narrow so.
pub(super) fn table(peers: &[PeerInfo], style: Style) -> Answer {
    let now = now_ms();
    let mut table =
        Table::new(&["PEER", "NAME", "TRUST", "STATE", "LINKS", "ROUND TRIP", "LAST SEEN", "FOUND", "ADDRESS"]);
    let mut notes = String::new();
    for peer in peers {
        let used = peer.links.iter().find(|link| link.preferred).or(peer.links.first());
        let address = used.map(|link| way(peer, link)).or_else(|| peer.addresses.first().cloned()).unwrap_or_default();
        if let Some(error) = &peer.last_error {
            let who = peer.addresses.first().cloned().or_else(|| peer.peer_id.map(|id| id.short())).unwrap_or_default();
            notes += &format!("\n{}: {}", clean(&who), clean(error));
        }
        table.row([
            peer.peer_id.map(|id| id.short()).unwrap_or_default(),
            peer.nickname.clone().unwrap_or_default(),
            format!("{:?}", peer.trust).to_lowercase(),
            peer.state.clone(),
            peer.links.len().to_string(),
            used.and_then(|link| link.rtt_us).map(millis).unwrap_or_default(),
            peer.last_seen_ms.map(|then| ago(then, now)).unwrap_or_default(),
            peer.discovered.iter().min_by_key(|found| found.first_seen_ms).map(|f| found(f, now)).unwrap_or_default(),
            address,
        ]);
    }
    if let Some(stranger) = peers.iter().filter(|peer| peer.peer_id.is_none()).find_map(|peer| peer.discovered.first())
    {
        let server = stranger.server.as_deref().or(stranger.addresses.first().map(String::as_str)).unwrap_or_default();
        notes += &format!("\nA found node without a key is not connected to by itself: mesh server {}", clean(server));
    }
    let empty = "No peers yet. `mesh server HOST:PORT` adds one.";
    let gap = if notes.is_empty() { "" } else { "\n" };
    Answer::list("qpq.peers/1", "peers", peers, format!("{}{gap}{notes}", table.show(style, empty)))
}

/// By which interface a node was found, and when.
fn found(found: &Discovered, now: u64) -> String {
    format!("{}, {}", found.interface.as_ref().unwrap_or(&found.plugin), ago(found.first_seen_ms, now))
}

/// The address of the link that is used, and how it runs. A peer that dialled us comes from a port of the moment, where
/// nobody can reach it, so the address that it listens at stands there if it is known.
fn way(peer: &PeerInfo, link: &LinkInfo) -> String {
    let place = |uri: &str| uri.rsplit_once(':').map_or_else(|| uri.to_owned(), |(place, _)| place.to_owned());
    let listens = peer.addresses.iter().find(|address| !link.outbound && place(address) == place(&link.remote));
    let remote = listens.unwrap_or(&link.remote);
    match (link.relayed, link.outbound || listens.is_some()) {
        (true, _) => format!("{remote} (relayed)"),
        (false, true) => remote.clone(),
        (false, false) => format!("{remote} (it dialled)"),
    }
}

/// What a ping measured.
pub(super) fn ping(report: &PingReport, style: Style) -> Result<Answer, Failure> {
    let who = name(&report.peer_id, report.nickname.as_ref());
    if report.links.is_empty() {
        let way = report.next_hop.map(|hop| format!(" Messages go by its neighbour {}.", hop.short()));
        let text = format!("There is no link to {who}, and only neighbours answer pings.{}", way.unwrap_or_default());
        return Err(Failure::new("no-link", text));
    }
    let mut table = Table::new(&["TRANSPORT", "ADDRESS", "PATH", "USED", "ANSWERS", "MIN", "MEAN", "MAX"]);
    for link in &report.links {
        let count = link.rtts_us.len() as u64;
        let mean = link.rtts_us.iter().sum::<u64>().checked_div(count);
        table.row([
            link.transport.clone(),
            link.remote.clone(),
            if link.relayed { "relayed" } else { "direct" }.to_owned(),
            if link.preferred { "yes" } else { "no" }.to_owned(),
            format!("{count} of {}", count + u64::from(link.lost)),
            link.rtts_us.iter().min().copied().map(millis).unwrap_or_default(),
            mean.map(millis).unwrap_or_default(),
            link.rtts_us.iter().max().copied().map(millis).unwrap_or_default(),
        ]);
    }
    Ok(Answer::new("qpq.ping/1", report, format!("Round trips to {who}:\n{}", table.show(style, ""))))
}

/// A peer whose trust was changed.
pub(super) fn trusted(peer: &PeerInfo) -> Answer {
    let who = peer.peer_id.map(|id| name(&id, peer.nickname.as_ref())).unwrap_or_default();
    Answer::new("qpq.peer/1", peer, format!("{who} is {} now.", format!("{:?}", peer.trust).to_lowercase()))
}

/// Prints or reads a block list.
pub(super) async fn blocks(node: &dyn NodeApi, command: BlocksCommand) -> Result<Answer, Failure> {
    match command {
        BlocksCommand::Export => {
            let list = node.export_blocks().await?;
            Ok(Answer::new("qpq.blocks/1", &serde_json::json!({ "list": list }), list.trim_end().to_owned()))
        }
        BlocksCommand::Import { file } => {
            let outcome = node.import_blocks(read_list(&file)?).await?;
            let text = format!("Blocked {} more peers; {} were blocked already.", outcome.added, outcome.known);
            Ok(Answer::new("qpq.blocks-imported/1", &outcome, text))
        }
    }
}

fn read_list(file: &Path) -> Result<String, Failure> {
    let wrong = |error: std::io::Error| Failure::new("bad-list", format!("{}: {error}", file.display()));
    let mut text = String::new();
    let taken = if file == Path::new("-") {
        std::io::stdin().take(MAX_LIST + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).map_err(wrong)?.take(MAX_LIST + 1).read_to_string(&mut text)
    };
    if taken.map_err(wrong)? as u64 > MAX_LIST {
        return Err(Failure::new("bad-list", format!("{}: longer than {MAX_LIST} bytes", file.display())));
    }
    Ok(text)
}
