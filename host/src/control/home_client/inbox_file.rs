//! A client's inbox on its own disk: `inbox.jsonl` in its data directory, one JSON object on each line.
//!
//! What was fetched is appended and synced before the node is told that it may drop its copy. Together with the messages
//! stands how far the broadcasts were fetched, so the two can't disagree. A line that a crash has cut off is no line; the
//! next append takes it away. Several processes of one client may use the file: each change is made under the lock of the
//! data directory, after what others have appended was read.

mod line;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use qpq_schemas::{MessageId, PeerId};

use super::lock::HomeLock;
use crate::api::{ApiError, InboxItem};
use crate::identity::private_file;
use line::{Line, SCHEMA, encode};

/// The file's name in the data directory.
const INBOX_FILE: &str = "inbox.jsonl";
/// Messages kept. Beyond it broadcasts and read messages make room, oldest first.
const MAX_ITEMS: usize = 10_000;
/// Bytes of the file. The same holds beyond it.
const MAX_BYTES: u64 = 64 << 20;
/// Largest file that is read, in bytes: one page more than the bound, since room is made before the next page.
const MAX_FILE: u64 = MAX_BYTES + (16 << 20);
/// No message has a place beyond it: behind a damaged number nothing could be added.
const LAST_SEQ: u64 = 1 << 53;
/// Ids of messages that made room and could come again, remembered at most.
const MAX_SEEN: usize = 20_000;

/// How far the mail of one node was fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Broadcasts up to this place of the node are here.
    pub(super) after: u64,
    /// When this client's record was last published there, Unix time in milliseconds.
    pub(super) published_ms: u64,
}

/// The inbox as it stands in the file.
pub(super) struct InboxFile {
    home: PathBuf,
    path: PathBuf,
    state: State,
    /// Tells apart the file and one that replaced it.
    inode: u64,
    /// Up to here the file was read, in bytes.
    read_to: u64,
}

#[derive(Default)]
struct State {
    items: VecDeque<InboxItem>,
    ids: HashSet<MessageId>,
    seen: VecDeque<MessageId>,
    next_seq: u64,
    progress: BTreeMap<PeerId, Progress>,
    readers: HashMap<String, u64>,
}

impl State {
    fn take(&mut self, line: Line) {
        match line {
            Line::Head { next_seq, .. } => self.next_seq = self.next_seq.max(next_seq),
            Line::Seen { ids } => {
                self.ids.extend(&ids);
                self.seen.extend(ids);
            }
            Line::Progress { node, after, published_ms } => {
                self.progress.insert(node, Progress { after, published_ms });
            }
            Line::Read { reader, seq } => _ = self.readers.insert(reader, seq),
            Line::Message(message) => {
                let item = message.into_item();
                self.next_seq = self.next_seq.max(item.seq + 1);
                if self.ids.insert(item.id) {
                    self.items.push_back(item);
                }
            }
        }
    }

    fn read_up_to(&self) -> u64 {
        self.readers.values().copied().max().unwrap_or(0)
    }

    /// Takes out what may go, oldest first, until a quarter of the room is free. False if nothing may go.
    fn make_room(&mut self, bytes: u64) -> bool {
        let read = self.read_up_to();
        let surplus_bytes = bytes.saturating_sub(MAX_BYTES / 4 * 3);
        let surplus = self.items.len().saturating_sub(MAX_ITEMS / 4 * 3);
        let (mut gone, mut gone_bytes) = (Vec::new(), 0_u64);
        self.items.retain(|item| {
            let goes =
                (gone.len() < surplus || gone_bytes < surplus_bytes) && (item.topic.is_some() || item.seq <= read);
            if goes {
                gone.push(item.id);
                gone_bytes += 2 * item.payload.len() as u64 + 400;
            }
            !goes
        });
        let made = !gone.is_empty();
        self.seen.extend(gone);
        while self.seen.len() > MAX_SEEN {
            self.seen.pop_front().into_iter().for_each(|id| _ = self.ids.remove(&id));
        }
        made
    }

    fn to_lines(&self) -> Vec<u8> {
        let mut bytes = encode(&Line::Head { schema: SCHEMA.to_owned(), next_seq: self.next_seq });
        let seen = Line::Seen { ids: self.seen.iter().copied().collect() };
        let items = self.items.iter().map(Line::message);
        let progress = self.progress.iter();
        let progress = progress.map(|(node, at)| Line::progress(*node, *at));
        let readers = self.readers.iter().map(|(reader, seq)| Line::Read { reader: reader.clone(), seq: *seq });
        [seen].into_iter().chain(items).chain(progress).chain(readers).for_each(|line| bytes.extend(encode(&line)));
        bytes
    }
}

impl InboxFile {
    /// The inbox in that data directory; an empty one when there is none.
    pub(super) fn open(home: &Path) -> Result<Self, ApiError> {
        let path = home.join(INBOX_FILE);
        let state = State { next_seq: 1, ..State::default() };
        let mut file = Self { home: home.to_owned(), path, state, inode: 0, read_to: 0 };
        let _lock = file.lock()?;
        private_file::sweep(&file.path);
        file.catch_up()?;
        Ok(file)
    }

    /// How far that node's mail was fetched.
    pub(super) fn progress(&self, node: &PeerId) -> Progress {
        self.state.progress.get(node).copied().unwrap_or_default()
    }

    /// Adds what is new of a page, and how far it reaches. On return it is on the disk.
    pub(super) fn add(&mut self, items: Vec<InboxItem>, node: PeerId, after: Option<u64>) -> Result<(), ApiError> {
        let _lock = self.lock()?;
        self.catch_up()?;
        let mut lines = Vec::new();
        let mut taken = HashSet::new();
        for item in items {
            if !self.state.ids.contains(&item.id) && taken.insert(item.id) {
                let seq = self.state.next_seq + lines.len() as u64;
                lines.push(Line::message(&InboxItem { seq, ..item }));
            }
        }
        let before = self.progress(&node);
        if let Some(after) = after.filter(|after| *after != before.after) {
            lines.push(Line::progress(node, Progress { after, ..before }));
        }
        self.append(lines)
    }

    /// Broadcasts of that node are fetched from the beginning again, since older ones of a new topic are wanted.
    pub(super) fn start_again(&mut self, node: PeerId) -> Result<(), ApiError> {
        self.add(Vec::new(), node, Some(0))
    }

    /// Notes that this client's record was published.
    pub(super) fn note_published(&mut self, node: PeerId, published_ms: u64) -> Result<(), ApiError> {
        let _lock = self.lock()?;
        self.catch_up()?;
        let progress = Progress { published_ms, ..self.progress(&node) };
        self.append(vec![Line::progress(node, progress)])
    }

    /// Notes how far somebody has read.
    pub(super) fn note_read(&mut self, reader: &str, seq: u64) -> Result<(), ApiError> {
        if self.state.readers.get(reader) == Some(&seq) {
            return Ok(());
        }
        let _lock = self.lock()?;
        self.catch_up()?;
        self.append(vec![Line::Read { reader: reader.to_owned(), seq }])
    }

    /// How far somebody has read.
    pub(super) fn read_by(&self, reader: &str) -> u64 {
        self.state.readers.get(reader).copied().unwrap_or(0)
    }

    /// The messages behind a place, oldest first, also those that other processes have added.
    pub(super) fn items(&mut self, after: u64) -> Result<impl DoubleEndedIterator<Item = &InboxItem>, ApiError> {
        let _lock = self.lock()?;
        self.catch_up()?;
        Ok(self.state.items.iter().filter(move |item| item.seq > after))
    }

    /// How many messages there are.
    pub(super) fn len(&self) -> usize {
        self.state.items.len()
    }

    /// Makes room if it is short; fails when nothing may go.
    pub(super) fn check_room(&mut self) -> Result<(), ApiError> {
        if self.state.items.len() < MAX_ITEMS && self.read_to < MAX_BYTES {
            return Ok(());
        }
        let _lock = self.lock()?;
        self.catch_up()?;
        if !self.state.make_room(self.read_to) {
            let text = format!(
                "{} is full of messages that were not read. Read them with `mesh inbox`; until then mail waits at the node.",
                self.path.display()
            );
            return Err(ApiError::new("inbox-full", text));
        }
        private_file::replace(&self.path, &self.state.to_lines()).map_err(|error| unsaved(&error))?;
        self.reload()
    }

    fn lock(&self) -> Result<HomeLock, ApiError> {
        HomeLock::take(&self.home).map_err(|error| unsaved(&error))
    }

    /// Reads what others have appended, or the whole file when it is another one.
    fn catch_up(&mut self) -> Result<(), ApiError> {
        let Some(metadata) = metadata(&self.path)? else {
            self.inode = 0;
            return Ok(());
        };
        if metadata.ino() != self.inode || metadata.len() < self.read_to {
            return self.reload();
        }
        if metadata.len() > self.read_to {
            let mut file = File::open(&self.path).map_err(|error| unsaved(&error))?;
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(self.read_to)).map_err(|error| unsaved(&error))?;
            file.take(MAX_FILE).read_to_end(&mut bytes).map_err(|error| unsaved(&error))?;
            self.take_bytes(&bytes);
        }
        Ok(())
    }

    fn reload(&mut self) -> Result<(), ApiError> {
        let bytes = private_file::read(&self.path, MAX_FILE).map_err(|error| unsaved(&error))?;
        let inode = metadata(&self.path)?.map_or(0, |metadata| metadata.ino());
        self.state = State { next_seq: 1, ..State::default() };
        (self.inode, self.read_to) = (inode, 0);
        self.take_bytes(bytes.as_deref().map_or(&[], Vec::as_slice));
        Ok(())
    }

    /// Takes the whole lines of what stands behind `read_to`. A damaged one in the middle is left out.
    fn take_bytes(&mut self, bytes: &[u8]) {
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for line in bytes.get(..whole).unwrap_or_default().split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
        {
            match serde_json::from_slice::<Line>(line) {
                Ok(line) if !line.is_beyond(LAST_SEQ) => self.state.take(line),
                Ok(_) => {
                    tracing::warn!(file = %self.path.display(), "a line with a place that no message has is left out");
                }
                Err(error) => tracing::warn!(%error, file = %self.path.display(), "a damaged line is left out"),
            }
        }
        self.read_to += whole as u64;
    }

    /// Appends lines and syncs. What could not be written whole is taken away again.
    fn append(&mut self, lines: Vec<Line>) -> Result<(), ApiError> {
        if lines.is_empty() {
            return Ok(());
        }
        let bytes: Vec<u8> = lines.iter().flat_map(encode).collect();
        if self.inode == 0 {
            let head = encode(&Line::Head { schema: SCHEMA.to_owned(), next_seq: self.state.next_seq });
            private_file::replace(&self.path, &[head, bytes].concat()).map_err(|error| unsaved(&error))?;
            return self.reload();
        }
        let mut file = OpenOptions::new().write(true).mode(0o600).open(&self.path).map_err(|error| unsaved(&error))?;
        let written = file
            .set_len(self.read_to) // without the line that a crash has cut off
            .and_then(|()| file.seek(SeekFrom::Start(self.read_to)))
            .and_then(|_| file.write_all(&bytes))
            .and_then(|()| file.sync_data());
        if let Err(error) = written {
            let _ = file.set_len(self.read_to);
            return Err(unsaved(&error));
        }
        self.read_to += bytes.len() as u64;
        lines.into_iter().for_each(|line| self.state.take(line));
        Ok(())
    }
}

fn metadata(path: &Path) -> Result<Option<std::fs::Metadata>, ApiError> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unsaved(&error)),
    }
}

fn unsaved(error: &dyn std::fmt::Display) -> ApiError {
    ApiError::new("inbox-file", format!("this client's inbox can't be kept: {error}"))
}

#[cfg(test)]
mod tests;
