use serde_json::Value;

use super::flow::exchange;
use super::life::broken_texts;
use crate::abi::{Str, link_flags};
use crate::kit::case::{Case, Stop, ensure};
use crate::kit::links::{Pair, dial, listen};
use crate::kit::parcel::{Loan, Offer, parcel};

/// The longest figures.
const MAX_STATS: usize = 64 * 1024;

pub(in crate::kit) fn both_ways(case: &Case) -> Result<(), Stop> {
    let pair = Pair::connect(case)?;
    let (out, inbound) = (pair.note_out(), pair.note_in());
    ensure(out.flags & link_flags::OUTBOUND != 0, || "a dialled link came up without OUTBOUND".to_owned())?;
    ensure(inbound.flags & link_flags::OUTBOUND == 0, || "an accepted link came up as OUTBOUND".to_owned())?;
    ensure(out.binding == inbound.binding, || "the two ends report different channel bindings".to_owned())?;
    let reliable = |flags: u32| flags & link_flags::RELIABLE;
    ensure(reliable(out.flags) == reliable(inbound.flags), || "only one end calls the link RELIABLE".to_owned())?;
    let keys = [(&out, &pair.listener), (&inbound, &pair.dialler)];
    for (note, other) in keys {
        let proven = note.flags & link_flags::PEER_PROVEN != 0;
        ensure(!proven || note.peer == other.stage.identity.public_key(), || {
            "PEER_PROVEN with a key that the node at the other end doesn't have".to_owned()
        })?;
    }
    let mut random = case.random(11);
    let most = pair.max_frame().min(out.max_frame as usize);
    let lengths: Vec<usize> = (0..300).map(|_| 8 + random.below(most.min(30_000) - 7)).collect();
    exchange(&pair, &lengths)?;
    // What a link calls its remote is an address for later.
    dial(&pair.dialler, &pair.listener, &out.remote).map_err(|why| match why {
        Stop::Failed(why) => Stop::failed(format!("the remote that the link reported can't be dialled: {why}")),
        other => other,
    })?;
    pair.end();
    Ok(())
}

pub(in crate::kit) fn dial_nobody(case: &Case) -> Result<(), Stop> {
    let listener = case.started("listener")?;
    let dialler = case.started("dialler")?;
    let uri = listen(case, &listener)?;
    let key = listener.stage.identity.public_key();
    listener.end();
    let (status, why) = dialler.dial(Str::new(&uri), Some(&key))?;
    let up = dialler.stage.state().links.values().any(|note| note.down.is_none());
    if status.is_ok() {
        // Without a handshake a transport can't know; but then it may not claim to be reliable.
        let claims = dialler.stage.state().links.values().any(|note| note.flags & link_flags::RELIABLE != 0);
        return ensure(!claims, || "dialling where nobody listens succeeded".to_owned());
    }
    ensure(!up, || "the dial failed, and its link is up".to_owned())?;
    ensure(!why.trim().is_empty(), || format!("the dial failed with {status} and no reason"))?;
    dialler.end();
    Ok(())
}

pub(in crate::kit) fn wrong_peer(case: &Case) -> Result<(), Stop> {
    let pair = Pair::connect(case)?;
    if pair.note_out().flags & link_flags::PEER_PROVEN == 0 {
        return Err(Stop::skipped("this transport proves no keys; the host does"));
    }
    let other = pair.dialler.stage.identity.public_key();
    let uri = pair.uri.replace(&hex(&pair.listener.stage.identity.public_key()), &hex(&other));
    let before = pair.dialler.stage.state().links.len();
    let (status, _) = pair.dialler.dial(Str::new(&uri), Some(&other))?;
    ensure(!status.is_ok(), || "a link came up to a node with another key than the one that was dialled".to_owned())?;
    let after = pair.dialler.stage.state().links.len();
    ensure(after == before, || "the dial failed, and a link came up all the same".to_owned())?;
    pair.end();
    Ok(())
}

fn hex(key: &[u8; 32]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(in crate::kit) fn hostile_arguments(case: &Case) -> Result<(), Stop> {
    let pair = Pair::connect(case)?;
    let actor = &pair.dialler;
    for link in [0, 999_999, 1 << 48, u64::MAX] {
        actor.resume(link);
        actor.close(link, Str::new("nobody"));
        let taken = actor.send(&mut Loan::new(link, vec![parcel(1, 100), parcel(2, 5000)], Offer::Rules));
        ensure(taken == 2, || {
            format!("{taken} of 2 frames for link {link}, which doesn't exist, were taken; all must be")
        })?;
    }
    let scheme = case.scheme();
    let uris: Vec<String> = vec![
        "x".repeat(70_000),
        "nonsense".to_owned(),
        "://".to_owned(),
        format!("{scheme}://"),
        format!("{scheme}://[::1"),
        format!("{scheme}://127.0.0.1"),
        format!("{scheme}://127.0.0.1:99999"),
        format!("{scheme}://127.0.0.1:1\0"),
        format!("{scheme}://%00%ff:\u{202e}1"),
        format!("{scheme}://{}:1", "a.".repeat(3_000)),
    ];
    for uri in &uris {
        let shown: String = uri.chars().take(60).collect();
        refused(&format!("dial of {shown:?}"), actor.dial(Str::new(uri), None)?)?;
        refused(&format!("listen at {shown:?}"), actor.listen(uri)?)?;
    }
    for text in broken_texts() {
        refused("dial of a text that is none", actor.dial(text, None)?)?;
        refused("listen at a text that is none", actor.listen_raw(text)?)?;
        actor.close(999_999, text);
    }
    exchange(&pair, &[64; 20])?;
    pair.end();
    Ok(())
}

fn refused(what: &str, (status, why): (crate::abi::Status, String)) -> Result<(), Stop> {
    ensure(!status.is_ok(), || format!("{what} succeeded: {why}"))
}

pub(in crate::kit) fn stats(case: &Case) -> Result<(), Stop> {
    let pair = Pair::connect(case)?;
    exchange(&pair, &[500; 50])?;
    for actor in [&pair.dialler, &pair.listener] {
        let Some((status, text)) = actor.stats() else { return Err(Stop::skipped("the plugin has no stats")) };
        ensure(status.is_ok(), || format!("stats answered {status}"))?;
        ensure(text.len() <= MAX_STATS, || format!("stats wrote {} bytes; {MAX_STATS} are read", text.len()))?;
        let parsed = serde_json::from_str(&text);
        ensure(matches!(parsed, Ok(Value::Object(_))), || format!("stats wrote no JSON object: {text}"))?;
    }
    pair.end();
    Ok(())
}
