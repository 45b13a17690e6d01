//! Doors for fuzzing: a client's own files, as they may have become on its disk.

use std::path::Path;

use qpq_schemas::{MessageId, PeerId};

use super::inbox_file::InboxFile;
use crate::api::{ApiError, InboxItem};
use crate::control::known_nodes;

const NODE: PeerId = PeerId([9; 32]);

/// Opens a folder with an `inbox.jsonl` of any content: damaged lines are left out, and the next message has a place behind
/// all others, also when the file is read again.
///
/// # Panics
/// When a message is lost, or has the place of another.
pub fn inbox(folder: &Path) {
    let Ok(mut file) = InboxFile::open(folder) else { return };
    let Ok(before) = places(&mut file) else { return };
    let new = message([0xee; 32]);
    if before.iter().any(|(_, id)| *id == new.id) || file.add(vec![new.clone()], NODE, Some(7)).is_err() {
        return;
    }
    let Ok(after) = places(&mut file) else { return };
    let Some(((last, id), others)) = after.split_last() else { return };
    assert_eq!((others, *id), (&before[..], new.id), "messages were lost");
    assert!(others.iter().all(|(seq, _)| seq < last), "{last} is not behind {others:?}");
    assert_eq!(file.progress(&NODE).after, 7);
    let again = InboxFile::open(folder).and_then(|mut again| places(&mut again));
    assert_eq!(again.ok().as_ref(), Some(&after), "another is read than was written");
}

fn places(file: &mut InboxFile) -> Result<Vec<(u64, MessageId)>, ApiError> {
    Ok(file.items(0)?.map(|item| (item.seq, item.id)).collect())
}

fn message(id: [u8; 32]) -> InboxItem {
    InboxItem {
        seq: 0,
        id: MessageId(id),
        from: NODE,
        from_name: None,
        topic: None,
        payload: b"hello".to_vec(),
        sealed: true,
        automatic: false,
        created_ms: 1,
        received_ms: 2,
        expires_ms: 3,
        priority: 1,
        hops: 1,
        own: false,
        problem: None,
        reply_to: None,
        reaction: false,
        max_hops: 16,
        notice: None,
    }
}

/// Writes an inbox with two messages.
pub fn inbox_seed(folder: &Path) {
    let Ok(mut file) = InboxFile::open(folder) else { return };
    let bytes = InboxItem { payload: vec![0xff, 0], ..message([2; 32]) };
    _ = file.add(vec![message([1; 32]), bytes], NODE, Some(5));
    _ = file.note_read("cli", 1);
    _ = file.note_published(NODE, 3);
}

/// Looks into a folder with a `known_nodes` of any content: a key that is noted is found, and others stay.
///
/// # Panics
/// When a key is forgotten.
pub fn known(folder: &Path) {
    let other = known_nodes::look_up(folder, "b:2").ok().flatten();
    if known_nodes::note(folder, "new:1", NODE).is_err() {
        return;
    }
    assert_eq!(known_nodes::look_up(folder, "new:1").ok().flatten(), Some(NODE));
    assert_eq!(known_nodes::look_up(folder, "b:2").ok().flatten(), other, "another node's key is not the same");
}

/// Notes two nodes.
pub fn known_seed(folder: &Path) {
    _ = known_nodes::note(folder, "a:1", NODE);
    _ = known_nodes::note(folder, "b:2", PeerId([1; 32]));
}
