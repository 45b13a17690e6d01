//! What goes over the socket between the host and a bot's process.
//!
//! A frame is its length in 4 bytes, little-endian, and a body in postcard's encoding. No type in it nests without
//! bound: plain data travels encoded, configuration as JSON.

use bytes::{Buf, BytesMut};
use qpq_schemas::PeerId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::api::{
    ApiError, BroadcastRequest, ChannelInfo, InboxPage, InboxQuery, LinkLimit, MachineReport, PeerInfo, PluginStatus,
    Receipt, RouteTable, ScriptEvaluated, SendRequest, SourceText, StoreStats, Trust,
};

use super::super::failure::Failure;
use super::super::handover::Place;
use super::super::limits::ScriptLimits;
use super::super::log::{About, Level};
use super::super::shared::{LiveEvent, Offer, Other};
use super::super::store::{StoreOp, StoredEntry};
use super::super::worker::End;

/// Longest frame from the host, in bytes: well above all sources (16 MiB at most) and a page of the inbox. The store
/// comes in pieces of its own.
pub(super) const FROM_HOST_BYTES: usize = 64 << 20;
/// Bytes of stored entries that one frame brings to a starting child.
pub(super) const ENTRIES_BYTES: usize = 1 << 20;
/// Room in a frame from a child for all that is not its store: state, log lines, one message.
const FRAME_BASE_BYTES: usize = 512 << 10;
/// What an operation of a commit takes besides its key and value, in bytes: tags, lengths, the end of its life.
const OP_BYTES: usize = 32;
const LENGTH_BYTES: usize = 4;

/// Longest frame that a bot with these limits may send, in bytes: its whole store at once.
pub(super) fn from_child_bytes(limits: &ScriptLimits) -> usize {
    let store = limits.store_bytes.saturating_add(limits.store_keys.saturating_mul(OP_BYTES));
    store.saturating_add(FRAME_BASE_BYTES)
}

/// From the host to the child.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToChild {
    /// The first frame, before anything else happens: how much memory of its own the process may take, in bytes.
    Confine { data_bytes: u64 },
    /// A part of the bot's store; before `Start`.
    Entries(Vec<StoredEntry>),
    /// The bot.
    Start(Box<Start>),
    /// Begin to take events, and messages from that place on.
    Activate { reloaded: bool, place: Option<Place>, settled: bool },
    /// The versions before have done what they had begun.
    Settled,
    /// Begin nothing more; hand over.
    Freeze,
    /// Go on.
    Thaw,
    /// Finish what has begun, then end: a new version took over.
    Retire,
    /// Finish what has begun, then end.
    Stop,
    /// What a call came to.
    Answer { id: u64, answer: Result<Answer, ApiError> },
    /// The inbox grew to this place.
    InboxGrew(u64),
    /// Something happened in the mesh.
    Live(LiveEvent),
    /// Another version of the bot changed the store.
    Changed(Vec<StoreOp>),
    /// The other bots of this node, for the question who answers a command.
    Others(Vec<Other>),
    /// Run what the admin typed.
    Eval { id: u64, code: String, write: bool },
    /// Say that you are there. `cpu_left` is what is left of the bot's share of CPU, in seconds.
    Ping { id: u64, cpu_left: f64 },
}

/// A bot, as it goes to its process.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    pub name: String,
    pub limits: ScriptLimits,
    /// [`super::super::manifest::Manifest`] as JSON.
    pub manifest: String,
    pub main: String,
    /// Chunk name and text.
    pub files: Vec<(String, String)>,
    /// The permissions.
    pub needs: Vec<String>,
    /// The admin's configuration as a JSON object.
    pub overrides: String,
    pub self_id: PeerId,
    pub self_name: Option<String>,
    /// `mesh.state` of the version before, encoded.
    pub state: Option<Vec<u8>>,
    /// When named timers are due, Unix time in seconds.
    pub timers: Vec<(String, f64)>,
    /// How full the buckets are.
    pub levels: Vec<f64>,
}

/// From the child to the host.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToHost {
    /// The process has confined itself. Without seccomp: why.
    Confined { without_seccomp: Option<String> },
    /// The bot is loaded.
    Loaded { commands: Vec<Offer>, topics: Vec<String>, memory: u64 },
    /// The bot didn't load.
    Failed(Failure),
    /// A call of the node or the store.
    Call { id: u64, call: Call },
    /// What has changed of the bot's figures.
    Report(Report),
    /// A line for the node's log.
    Trace { level: Level, text: String },
    /// The answer to `Freeze`.
    Handover(Handover),
    /// The bot is done.
    Ended(End),
    /// What typed code came to.
    Evaluated { id: u64, evaluated: ScriptEvaluated },
    /// The answer to `Ping`.
    Pong(u64),
}

/// What the next version of a bot gets.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Handover {
    /// `mesh.state`, encoded.
    pub state: Option<Vec<u8>>,
    /// When named timers are due, Unix time in seconds.
    pub timers: Vec<(String, f64)>,
    /// Where it goes on in the inbox.
    pub place: Option<Place>,
    /// Events that the bot has not looked at.
    pub live: Vec<LiveEvent>,
}

/// A bot's figures since its process began, and what is new.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub events: u64,
    pub errors: u64,
    pub pauses: u32,
    pub kills: u32,
    /// Bytes of the machine, timers that are set, handlers in flight, questions that wait and entries of boards, at the moment.
    pub memory: u64,
    pub timers: u32,
    pub handlers: u32,
    pub questions: u32,
    pub board_posts: u32,
    /// CPU time of the load, and the most of an event since.
    pub load_cpu_us: u64,
    pub event_cpu_us: u64,
    pub paused: bool,
    pub problem: Option<String>,
    pub log: Vec<(About, String)>,
}

/// What bots ask of the node and of their store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Call {
    IsBusy,
    Peers,
    Routes,
    Channels,
    Plugins,
    StoreStats,
    Machine,
    Source(String),
    SetTrust(String, Trust),
    LimitLink(String, Option<LinkLimit>),
    PluginSwap(String, Option<String>),
    Send(SendRequest),
    Broadcast(BroadcastRequest),
    Subscribe(String),
    Inbox(InboxQuery),
    InboxAck(u64),
    Commit(Vec<StoreOp>),
}

/// What the host answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Answer {
    Busy(bool),
    Receipt(Receipt),
    Page(#[serde(with = "page")] InboxPage),
    Done(()),
    // What comes seldom goes as JSON: its fields may be left out or be of any kind, which postcard can't read.
    Peers(#[serde(with = "as_json")] Vec<PeerInfo>),
    Routes(#[serde(with = "as_json")] RouteTable),
    Channels(#[serde(with = "as_json")] Vec<ChannelInfo>),
    Channel(#[serde(with = "as_json")] Box<ChannelInfo>),
    Peer(#[serde(with = "as_json")] Box<PeerInfo>),
    Plugins(#[serde(with = "as_json")] Vec<PluginStatus>),
    StoreStats(#[serde(with = "as_json")] Box<StoreStats>),
    Machine(#[serde(with = "as_json")] MachineReport),
    Source(#[serde(with = "as_json")] SourceText),
}

mod page;

mod as_json {
    use serde::de::{DeserializeOwned, Error as _};
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<T: Serialize, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::to_string(value).map_err(S::Error::custom)?.serialize(serializer)
    }

    pub(super) fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
        serde_json::from_str(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// A frame that can't be read; whoever sent it doesn't keep to the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadFrame(pub String);

/// Writes a frame at the end of `out`.
pub(crate) fn put(out: &mut BytesMut, frame: &impl Serialize) -> Result<(), BadFrame> {
    let body = postcard::to_stdvec(frame).map_err(|error| BadFrame(format!("a frame can't be written: {error}")))?;
    let length = u32::try_from(body.len()).map_err(|_| BadFrame("a frame larger than 4 GiB".to_owned()))?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&body);
    Ok(())
}

/// What has come in, cut into frames.
#[derive(Debug)]
pub(crate) struct Frames {
    /// Where to read to. It grows with what has really come, not with what a length promises.
    pub buffer: BytesMut,
    /// Longest frame that is taken, in bytes.
    pub limit: usize,
}

impl Frames {
    pub(crate) fn new(limit: usize) -> Self {
        Self { buffer: BytesMut::new(), limit }
    }

    /// The next whole frame, if it is there.
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, BadFrame> {
        let Some(head) = self.buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let length = u32::from_le_bytes(*head) as usize;
        if length > self.limit {
            return Err(BadFrame(format!("a frame of {length} bytes, where {} are allowed", self.limit)));
        }
        let Some(body) = self.buffer.get(LENGTH_BYTES..LENGTH_BYTES + length) else { return Ok(None) };
        let frame = match postcard::take_from_bytes(body) {
            Ok((frame, [])) => frame,
            Ok(_) => return Err(BadFrame("a frame with something behind its end".to_owned())),
            Err(error) => return Err(BadFrame(format!("a frame that can't be read: {error}"))),
        };
        self.buffer.advance(LENGTH_BYTES + length);
        Ok(Some(frame))
    }
}

/// Cuts entries into frames of about [`ENTRIES_BYTES`].
pub(super) fn portions(entries: Vec<StoredEntry>) -> Vec<Vec<StoredEntry>> {
    let (mut portions, mut portion, mut bytes) = (Vec::new(), Vec::new(), 0);
    for entry in entries {
        bytes += entry.0.len() + entry.1.len();
        portion.push(entry);
        if bytes >= ENTRIES_BYTES {
            portions.push(std::mem::take(&mut portion));
            bytes = 0;
        }
    }
    portions.push(portion);
    portions.retain(|portion| !portion.is_empty());
    portions
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(frames: &[ToHost]) -> BytesMut {
        let mut out = BytesMut::new();
        frames.iter().for_each(|frame| put(&mut out, frame).unwrap());
        out
    }

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let bytes = framed(&[ToHost::Pong(1), ToHost::Call { id: 7, call: Call::Subscribe("board".into()) }]);
        for step in 1..bytes.len() {
            let (mut frames, mut seen) = (Frames::new(1_000), Vec::new());
            for chunk in bytes.chunks(step) {
                frames.buffer.extend_from_slice(chunk);
                while let Some(frame) = frames.next::<ToHost>().unwrap() {
                    seen.push(frame);
                }
            }
            assert!(
                matches!(&seen[..], [ToHost::Pong(1), ToHost::Call { id: 7, call: Call::Subscribe(topic) }] if topic == "board")
            );
        }
    }

    #[test]
    fn a_message_arrives_whole() {
        use super::super::super::double::message;
        let plain = message(PeerId([1; 32]), None);
        let full = crate::api::InboxItem {
            seq: 7,
            from_name: Some("eve".into()),
            topic: Some("board".into()),
            payload: vec![0, 255],
            problem: Some("x".into()),
            reply_to: Some(qpq_schemas::MessageId([9; 32])),
            notice: Some(crate::api::NoticeMark { until_ms: 1, signed: vec![PeerId([2; 32])], counted: 1, quorum: 2 }),
            ..plain.clone()
        };
        let page = InboxPage { items: vec![plain, full], next_after: 8 };
        let mut frames = Frames::new(10_000);
        put(&mut frames.buffer, &ToChild::Answer { id: 1, answer: Ok(Answer::Page(page.clone())) }).unwrap();
        let Some(ToChild::Answer { answer: Ok(Answer::Page(come)), .. }) = frames.next().unwrap() else { panic!() };
        assert_eq!((come.items, come.next_after), (page.items, page.next_after));
    }

    #[test]
    fn calls_arrive_as_they_went_with_all_that_may_be_left_out_left_out() {
        let calls = [
            Call::Send(SendRequest::default()),
            Call::Broadcast(BroadcastRequest::default()),
            Call::Inbox(InboxQuery::default()),
        ];
        for call in calls {
            let mut frames = Frames::new(10_000);
            let sent = ToHost::Call { id: 1, call };
            put(&mut frames.buffer, &sent).unwrap();
            assert_eq!(format!("{:?}", frames.next::<ToHost>().unwrap().unwrap()), format!("{sent:?}"));
        }
    }

    #[test]
    fn a_plugins_own_figures_arrive_whatever_they_are() {
        let stats = serde_json::json!({ "links": [1, null, { "rtt": 0.5 }] });
        let plugin = PluginStatus {
            name: "transport-quic".into(),
            kind: "transport".into(),
            version: "1".into(),
            file: String::new(),
            sha256: String::new(),
            state: "active".into(),
            failures: 0,
            last_error: None,
            restart_in_ms: None,
            generation: 1,
            stats: stats.clone(),
            swaps: Vec::new(),
        };
        let mut frames = Frames::new(1_000);
        put(&mut frames.buffer, &ToChild::Answer { id: 1, answer: Ok(Answer::Plugins(vec![plugin])) }).unwrap();
        let Some(ToChild::Answer { answer: Ok(Answer::Plugins(plugins)), .. }) = frames.next().unwrap() else {
            panic!()
        };
        assert_eq!(plugins[0].stats, stats);
    }

    #[test]
    fn an_oversize_frame_is_refused_by_its_length_alone() {
        let mut frames = Frames::new(100);
        frames.buffer.extend_from_slice(&101u32.to_le_bytes());
        assert!(frames.next::<ToHost>().unwrap_err().0.contains("101 bytes, where 100"));
    }

    #[test]
    fn a_frame_with_a_tail_is_refused() {
        let mut bytes = framed(&[ToHost::Pong(1)]);
        bytes[0] += 1;
        bytes.extend_from_slice(b"x");
        let mut frames = Frames { buffer: bytes, limit: 100 };
        assert!(frames.next::<ToHost>().unwrap_err().0.contains("behind its end"));
    }

    #[test]
    fn the_store_comes_in_portions_that_fit_a_frame() {
        let entries = (0..10_000u32).map(|n| (n.to_le_bytes().to_vec(), vec![0; 400], None)).collect();
        let portions = portions(entries);
        assert_eq!(portions.iter().map(Vec::len).sum::<usize>(), 10_000);
        assert!(portions.len() > 3 && portions.iter().all(|portion| portion.len() * 404 <= ENTRIES_BYTES + 404));
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_child_make_the_host_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut frames = Frames { buffer: BytesMut::from(&(bytes.len() as u32).to_le_bytes()[..]), limit: 1_000 };
            frames.buffer.extend_from_slice(&bytes);
            let _ = frames.next::<ToHost>();
        }
    }
}
