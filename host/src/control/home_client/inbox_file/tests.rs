//! What the file promises: nothing lost, nothing doubled, whatever is cut off.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::control::testing::item;

const NODE: PeerId = PeerId([5; 32]);

fn message(n: u8) -> InboxItem {
    InboxItem { id: MessageId([n; 32]), ..item(0) }
}

fn ids(inbox: &mut InboxFile) -> Vec<u8> {
    inbox.items(0).unwrap().map(|item| item.id.0[0]).collect()
}

#[test]
fn what_was_added_is_there_after_a_restart_once_and_private() {
    let home = tempfile::tempdir().unwrap();
    let mut inbox = InboxFile::open(home.path()).unwrap();
    let bytes = InboxItem { payload: vec![0, 255, 10], ..message(2) };
    inbox.add(vec![message(1), bytes.clone(), message(1)], NODE, Some(7)).unwrap();
    inbox.add(vec![message(2), message(3)], NODE, None).unwrap();
    inbox.note_read("cli", 2).unwrap();
    drop(inbox);
    let mut inbox = InboxFile::open(home.path()).unwrap();
    let found: Vec<InboxItem> = inbox.items(0).unwrap().cloned().collect();
    assert_eq!(found.iter().map(|item| item.seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(found[1], InboxItem { seq: 2, ..bytes });
    assert_eq!((inbox.progress(&NODE).after, inbox.read_by("cli")), (7, 2));
    let mode = std::fs::metadata(home.path().join(INBOX_FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_crash_in_the_middle_of_a_write_loses_only_what_was_not_acknowledged() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(INBOX_FILE);
    let mut inbox = InboxFile::open(home.path()).unwrap();
    inbox.add(vec![message(1)], NODE, None).unwrap();
    let whole = std::fs::read(&path).unwrap();
    inbox.add(vec![message(2)], NODE, Some(9)).unwrap();
    let longer = std::fs::read(&path).unwrap();
    for cut in whole.len()..longer.len() {
        std::fs::write(&path, &longer[..cut]).unwrap();
        let mut inbox = InboxFile::open(home.path()).unwrap();
        let before = ids(&mut inbox);
        assert!(before == [1] || before == [1, 2], "cut at {cut}: {before:?}");
        inbox.add(vec![message(2), message(3)], NODE, None).unwrap();
        assert_eq!(ids(&mut InboxFile::open(home.path()).unwrap()), [1, 2, 3], "cut at {cut}");
    }
}

#[test]
fn two_processes_see_what_the_other_adds() {
    let home = tempfile::tempdir().unwrap();
    let (mut a, mut b) = (InboxFile::open(home.path()).unwrap(), InboxFile::open(home.path()).unwrap());
    a.add(vec![message(1)], NODE, Some(3)).unwrap();
    b.add(vec![message(1), message(2)], NODE, None).unwrap();
    a.add(vec![message(2), message(3)], NODE, None).unwrap();
    assert_eq!(ids(&mut a), [1, 2, 3]);
    assert_eq!(ids(&mut b), [1, 2, 3]);
    assert_eq!(b.progress(&NODE).after, 3);
}

#[test]
fn a_damaged_line_costs_that_line_alone() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(INBOX_FILE);
    let mut inbox = InboxFile::open(home.path()).unwrap();
    inbox.add(vec![message(1), message(2), message(3)], NODE, None).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"seq\":2", "\"seq\":x", 1)).unwrap();
    assert_eq!(ids(&mut InboxFile::open(home.path()).unwrap()), [1, 3]);
}

fn many(count: usize, read: bool) -> (tempfile::TempDir, InboxFile) {
    let home = tempfile::tempdir().unwrap();
    let mut inbox = InboxFile::open(home.path()).unwrap();
    let id = |n: usize| MessageId(std::array::from_fn(|i| n.to_be_bytes().get(i).copied().unwrap_or(0)));
    inbox.add((0..count).map(|n| InboxItem { id: id(n), ..item(0) }).collect(), NODE, Some(4)).unwrap();
    if read {
        inbox.note_read("cli", count as u64).unwrap();
    }
    (home, inbox)
}

#[test]
fn read_messages_make_room_and_do_not_come_back() {
    let (home, mut inbox) = many(MAX_ITEMS, true);
    let oldest = inbox.items(0).unwrap().next().unwrap().clone();
    inbox.check_room().unwrap();
    assert_eq!(inbox.len(), MAX_ITEMS / 4 * 3);
    inbox.add(vec![oldest], NODE, None).unwrap();
    assert_eq!(inbox.len(), MAX_ITEMS / 4 * 3, "it was here before");
    inbox.add(vec![message(250)], NODE, None).unwrap();
    let mut again = InboxFile::open(home.path()).unwrap();
    assert_eq!(again.items(0).unwrap().next_back().unwrap().seq, MAX_ITEMS as u64 + 1, "places are never used twice");
    assert_eq!(again.progress(&NODE).after, 4);
}

#[test]
fn unread_messages_make_no_room() {
    let (_home, mut inbox) = many(MAX_ITEMS, false);
    assert_eq!(inbox.check_room().unwrap_err().code, "inbox-full");
    assert_eq!(inbox.len(), MAX_ITEMS);
}

/// The next message had the place of another, or the client panicked.
#[test]
fn a_damaged_number_does_not_take_the_last_place() {
    let home = tempfile::tempdir().unwrap();
    let mut inbox = InboxFile::open(home.path()).unwrap();
    inbox.add(vec![message(1), message(2)], NODE, None).unwrap();
    let path = home.path().join(INBOX_FILE);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\"seq\":2,", &format!("\"seq\":{},", u64::MAX))).unwrap();
    let mut inbox = InboxFile::open(home.path()).unwrap();
    inbox.add(vec![message(3)], NODE, None).unwrap();
    assert_eq!(ids(&mut inbox), [1, 3]);
}
