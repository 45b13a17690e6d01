//! Who may do what, and what goes when.

use std::collections::BTreeSet;

use qpq_schemas::{MessageId, PeerId};

use super::super::fold::Replica;
use super::super::{Entry, Find, Settings, Source, Unfound, parse};

const DAY_MS: u64 = 86_400_000;
const ANNA: PeerId = PeerId([0xaa; 32]);
const BEN: PeerId = PeerId([0xbb; 32]);
const MODERATOR: PeerId = PeerId([0xee; 32]);
/// A program that posts for people.
const GATE: PeerId = PeerId([0x99; 32]);

/// A board to talk to, with a clock of its own.
struct Board {
    replica: Replica,
    now_ms: u64,
    said: u8,
    ttl_ms: u64,
}

impl Board {
    fn new() -> Self {
        Self::with(1_000)
    }

    fn with(posts: usize) -> Self {
        let settings = Settings { keep_ms: 30 * DAY_MS, moderators: BTreeSet::from([MODERATOR]), posts };
        Self { replica: Replica::new(settings), now_ms: 100 * DAY_MS, said: 0, ttl_ms: 30 * DAY_MS }
    }

    /// Somebody writes on the channel; a second later than what was written before.
    fn say(&mut self, who: PeerId, text: &str) -> MessageId {
        self.now_ms += 1_000;
        self.say_at(who, self.now_ms, text)
    }

    fn say_at(&mut self, signer: PeerId, created_ms: u64, text: &str) -> MessageId {
        self.said += 1;
        self.tell(MessageId([self.said; 32]), signer, created_ms, text)
    }

    /// A second later than what was written before.
    fn say_as(&mut self, signer: PeerId, id: MessageId, text: &str) {
        self.now_ms += 1_000;
        self.tell(id, signer, self.now_ms, text);
    }

    fn tell(&mut self, id: MessageId, signer: PeerId, created_ms: u64, text: &str) -> MessageId {
        let source = Source { id, signer, created_ms, expires_ms: created_ms + self.ttl_ms };
        let entry = Entry::read(&source, text.as_bytes()).unwrap_or_else(|| panic!("{text:?} is no entry"));
        self.replica.apply(entry, self.now_ms);
        id
    }

    fn list(&self) -> Vec<&str> {
        self.replica.list(&Find { limit: 100, ..Find::default() }).iter().map(|post| post.text).collect()
    }

    fn text(&self, id: MessageId) -> &str {
        self.replica.post(&id).unwrap().text
    }
}

fn short(id: MessageId) -> String {
    id.to_string()[..6].to_owned()
}

#[test]
fn only_the_author_edits_and_deletes() {
    let mut board = Board::new();
    let id = board.say(ANNA, "!post one");
    board.say(BEN, &format!("!edit {} two", short(id)));
    board.say(BEN, &format!("!delete {id}"));
    board.say(MODERATOR, &format!("!delete {id}"));
    assert_eq!(board.text(id), "one");
    board.say(ANNA, &format!("!edit {} three", short(id)));
    assert_eq!((board.text(id), board.replica.post(&id).unwrap().edited_ms), ("three", Some(board.now_ms)));
    board.say(ANNA, &format!("!delete {}", short(id)));
    assert_eq!((board.list(), board.replica.find(&short(id))), (vec![], Err(Unfound::Unknown)));
    board.say(ANNA, &format!("!edit {id} four"));
    assert!(board.list().is_empty(), "what is deleted stays deleted");
}

#[test]
fn what_a_program_wrote_for_somebody_only_it_changes_for_the_same_person() {
    let mut board = Board::new();
    let id = board.say(GATE, &format!("!post for:{ANNA} one"));
    let post = board.replica.post(&id).unwrap();
    assert_eq!((post.author, post.via), (ANNA, Some(GATE)));
    board.say(ANNA, &format!("!edit {id} two"));
    board.say(GATE, &format!("!edit {id} three"));
    board.say(GATE, &format!("!edit for:{BEN} {id} four"));
    assert_eq!(board.text(id), "one");
    board.say(GATE, &format!("!edit for:{ANNA} {id} five"));
    assert_eq!(board.text(id), "five");
}

#[test]
fn of_several_edits_the_last_made_counts_whichever_came_last() {
    let mut board = Board::new();
    let id = board.say(ANNA, "!post one");
    let made_ms = board.now_ms;
    board.say_at(ANNA, made_ms + 20, &format!("!edit {id} new"));
    board.say_at(ANNA, made_ms + 10, &format!("!edit {id} old"));
    assert_eq!(board.text(id), "new");
}

#[test]
fn only_those_whom_the_reader_names_moderate() {
    let mut board = Board::new();
    let (id, other) = (board.say(ANNA, "!post one"), board.say(BEN, "!post two"));
    for text in [format!("!pin {id}"), format!("!hide {other}"), format!("!ban {ANNA}")] {
        board.say(ANNA, &text);
    }
    assert_eq!(board.list(), ["two", "one"], "also not the author");
    board.say(MODERATOR, &format!("!pin {}", short(id)));
    board.say(MODERATOR, &format!("!hide {} off topic", short(other)));
    assert_eq!(board.list(), ["one"]);
    assert_eq!(board.replica.post(&other).unwrap().hidden, Some("off topic"));
    board.say(MODERATOR, &format!("!show {other}"));
    board.say(MODERATOR, &format!("!unpin {id}"));
    assert_eq!(board.list(), ["two", "one"]);
}

#[test]
fn a_banned_key_is_silent_until_it_is_unbanned_and_moderators_are_never_banned() {
    let mut board = Board::new();
    board.say(ANNA, "!post one");
    board.say(GATE, &format!("!post for:{ANNA} two"));
    board.say(BEN, "!post three");
    board.say(MODERATOR, &format!("!ban {ANNA}"));
    board.say(ANNA, "!post four");
    assert_eq!(board.list(), ["three"], "neither herself nor by a program");
    board.say(MODERATOR, &format!("!ban {MODERATOR}"));
    board.say(MODERATOR, &format!("!unban {ANNA}"));
    assert!(board.replica.is_stale(), "what she wrote is to be told once more");
    board.say(ANNA, "!post five");
    assert_eq!(board.list(), ["five", "three"]);
}

#[test]
fn an_entry_waits_for_the_post_that_it_is_about() {
    let mut board = Board::new();
    let id = MessageId([9; 32]); // the ninth entry
    board.say(ANNA, &format!("!edit {id} better"));
    board.say(MODERATOR, &format!("!pin {id}"));
    let reply = board.say(BEN, &format!("!reply {id} yes"));
    assert_eq!(board.list(), ["yes"], "a reply to nothing is shown where all see it");
    board.said = 8;
    board.say_at(ANNA, board.now_ms - 10_000, "!post one");
    let post = board.replica.post(&id).unwrap();
    assert_eq!((post.text, post.pinned, post.replies), ("better", true, 1));
    assert_eq!(board.replica.post(&reply).unwrap().parent, Some(id));
    assert_eq!(board.list(), ["better"]);
}

#[test]
fn a_reference_to_two_posts_counts_for_neither() {
    let mut board = Board::new();
    let id = board.say(ANNA, "!post one");
    let mut twin = id;
    twin.0[31] = 0;
    let source = Source { id: twin, signer: ANNA, created_ms: board.now_ms, expires_ms: board.now_ms + DAY_MS };
    board.replica.apply(Entry::read(&source, b"!post two").unwrap(), board.now_ms);
    board.say(ANNA, &format!("!delete {}", short(id)));
    board.say(MODERATOR, &format!("!hide {}", short(id)));
    assert_eq!(board.list().len(), 2);
    assert_eq!(board.replica.find(&short(id)), Err(Unfound::Ambiguous(2)));
    assert_eq!(board.replica.post(&id).unwrap().short.to_string(), id.to_string(), "the short form is never ambiguous");
    board.say(ANNA, &format!("!delete {id}"));
    assert_eq!(board.list(), ["two"]);
    assert_eq!(board.replica.find(&short(id)), Ok(twin));
}

#[test]
fn a_full_board_keeps_the_newest_and_what_is_pinned() {
    let mut board = Board::with(4);
    let pinned = board.say(ANNA, "!post rules");
    board.say(ANNA, &format!("!edit {pinned} the rules"));
    board.say(MODERATOR, &format!("!pin {pinned}"));
    (0..9).for_each(|n| _ = board.say(BEN, &format!("!post {n}")));
    assert_eq!(board.list(), ["the rules", "8", "7", "6", "5"]);
    board.say(MODERATOR, &format!("!unpin {pinned}"));
    assert_eq!(board.list(), ["8", "7", "6", "5"]);
    board.say(MODERATOR, &format!("!pin {pinned}"));
    assert!(board.replica.is_stale(), "it is to be told once more");
}

#[test]
fn a_full_board_asks_again_for_an_edit_that_came_before_its_pinned_post_and_seemed_too_old() {
    let mut board = Board::with(2);
    let pinned = MessageId([5; 32]);
    board.say(MODERATOR, &format!("!pin {pinned}"));
    // By a clock that is behind: otherwise no edit is older than its post.
    board.say_at(ANNA, board.now_ms - DAY_MS, &format!("!edit {pinned} the rules"));
    board.say(BEN, "!post one");
    board.say(BEN, "!post two");
    assert!(!board.replica.is_stale(), "nothing wants the edit yet");
    assert_eq!(board.say(ANNA, "!post rules"), pinned);
    assert!(board.replica.is_stale());
}

#[test]
fn edits_that_can_mean_two_pinned_posts_push_out_nobody_elses() {
    let mut board = Board::with(4);
    let rules = board.say(BEN, "!post rules");
    let post = board.say(ANNA, "!post mine");
    board.say(MODERATOR, &format!("!pin {rules}"));
    board.say(MODERATOR, &format!("!pin {post}"));
    // A second post whose id begins as the first one's does, which takes its author some seconds to make.
    let twin = MessageId(std::array::from_fn(|at| if at < 4 { post.0[at] } else { 0xff }));
    board.say_as(ANNA, twin, "!post the same digits");
    (0..40).for_each(|n| _ = board.say(ANNA, &format!("!edit {} {n}", short(post))));
    (0..4).for_each(|n| _ = board.say(BEN, &format!("!post {n}")));
    let listed = board.list();
    assert!(listed.contains(&"rules") && listed.contains(&"39"), "{listed:?}");
    assert!(board.replica.held() < 16, "{}", board.replica.held());
}

#[test]
fn of_many_posts_that_one_pin_can_mean_it_keeps_the_oldest() {
    let mut board = Board::with(2);
    let rules = board.say(BEN, "!post rules");
    board.say(MODERATOR, &format!("!pin {}", short(rules)));
    for n in 0..40u8 {
        let twin = MessageId(std::array::from_fn(|at| if at < 4 { rules.0[at] } else { 0x80 | n }));
        board.say_as(ANNA, twin, &format!("!post {n}"));
    }
    assert_eq!(board.list(), ["39", "38", "0", "rules"]);
}

#[test]
fn a_ban_that_goes_for_want_of_room_lets_its_key_in_again() {
    let mut board = Board::new();
    board.replica = Replica::with_marks(board.replica.settings().clone(), 2, 2);
    board.say(MODERATOR, &format!("!ban {BEN}"));
    board.say(BEN, "!post banned");
    let post = board.say(ANNA, "!post one");
    board.say(MODERATOR, &format!("!hide {post}"));
    assert!(board.replica.bans(&BEN) && !board.replica.is_stale());
    board.say(MODERATOR, &format!("!hide {}", short(post)));
    assert!(!board.replica.bans(&BEN) && board.replica.is_stale());
    board.replica.begin_again();
    board.say_at(MODERATOR, 1, &format!("!ban {ANNA}"));
    assert!(!board.replica.bans(&ANNA) && !board.replica.is_stale(), "an older one changes nothing");
}

#[test]
fn a_full_board_knows_when_something_ends_that_kept_others_out() {
    let mut board = Board::with(1);
    board.ttl_ms = DAY_MS;
    board.say(BEN, "!post for a day");
    assert_eq!(board.replica.stale_from(), None, "nothing was kept out");
    board.ttl_ms = DAY_MS / 2;
    board.say(BEN, "!post for half a day");
    let ends_ms = board.now_ms + DAY_MS / 2;
    assert_eq!(board.replica.stale_from(), Some(ends_ms));
    board.replica.expire(ends_ms);
    assert!(board.replica.is_stale(), "the older one belongs here now");
}

#[test]
fn long_posts_push_out_more_than_short_ones() {
    let mut board = Board::with(8);
    (0..8).for_each(|n| _ = board.say(BEN, &format!("!post {n}")));
    board.say(BEN, &format!("!post {}", "x".repeat(8_000)));
    assert_eq!(board.list().len(), 8);
    board.say(BEN, &format!("!post {}", "x".repeat(8_000)));
    assert_eq!(board.list().iter().filter(|text| text.len() < 9).count(), 0);
}

#[test]
fn a_post_goes_with_its_time_and_its_delete_outlives_it() {
    let mut board = Board::new();
    board.ttl_ms = DAY_MS;
    let id = board.say(ANNA, "!post a day");
    board.ttl_ms = 60 * DAY_MS;
    board.say(ANNA, "!post for long");
    let deleted = board.say(ANNA, "!post deleted");
    board.say(ANNA, &format!("!delete {deleted}"));
    let later = |board: &mut Board, ms: u64| {
        board.now_ms += ms;
        board.replica.expire(board.now_ms);
    };
    later(&mut board, DAY_MS);
    assert_eq!((board.list(), board.replica.post(&id)), (vec!["for long"], None));
    later(&mut board, 29 * DAY_MS - 10_000);
    assert_eq!(board.list(), ["for long"]);
    later(&mut board, 20_000);
    assert!(board.list().is_empty(), "the board keeps posts for 30 days, whatever they ask for");
}

#[test]
fn a_thread_goes_down_and_no_circle_holds_it() {
    let mut board = Board::new();
    let id = |n: u8| MessageId([n; 32]);
    board.say(ANNA, "!post 1");
    board.say(BEN, &format!("!reply {} 2", id(1)));
    board.say(ANNA, &format!("!reply {} 3", id(1)));
    board.say(ANNA, &format!("!reply {} 4", id(2)));
    let hidden = board.say(BEN, &format!("!reply {} 5", id(4)));
    board.say(MODERATOR, &format!("!hide {hidden}"));
    let thread: Vec<(&str, usize)> =
        board.replica.thread(&id(1), 99).iter().map(|post| (post.text, post.depth)).collect();
    assert_eq!(thread, [("1", 0), ("2", 1), ("4", 2), ("3", 1)]);
    assert_eq!(board.replica.thread(&id(1), 2).len(), 2);
    assert_eq!(board.replica.post(&id(1)).unwrap().replies, 2);
    board.said = 20;
    board.say(ANNA, &format!("!reply {} a", id(22)));
    board.say(ANNA, &format!("!reply {} b", id(21)));
    assert_eq!(board.replica.thread(&id(21), 99).len(), 2);
}

#[test]
fn lists_are_paged_and_searched() {
    let mut board = Board::new();
    let first = board.say(ANNA, "!post Lost: one cat");
    board.say(BEN, "!post Found: a CAT, and a dog");
    board.say(BEN, &format!("!reply {first} a grey cat?"));
    let texts = |find: Find| -> Vec<&str> { board.replica.list(&find).iter().map(|post| post.text).collect() };
    assert_eq!(texts(Find { limit: 1, ..Find::default() }), ["Found: a CAT, and a dog"]);
    assert_eq!(texts(Find { limit: 9, skip: 1, ..Find::default() }), ["Lost: one cat"]);
    assert_eq!(texts(Find { limit: 9, reverse: true, ..Find::default() })[0], "Lost: one cat");
    assert_eq!(texts(Find { limit: 9, by: Some(BEN), replies: true, ..Find::default() }).len(), 2);
    let found = |words: &str| -> Vec<&str> { board.replica.search(words, 0, 9).iter().map(|post| post.text).collect() };
    assert_eq!(found("cat found"), ["Found: a CAT, and a dog"]);
    assert_eq!(found("Cat").len(), 3);
    assert_eq!(found("bird"), [""; 0]);
    assert_eq!(board.replica.size(), 3);
}

#[test]
fn whoever_watches_hears_what_an_entry_changed() {
    let mut board = Board::new();
    let post = board.say(ANNA, "!post one");
    let mut word = |who: PeerId, text: &str| {
        let id = board.say(who, text);
        let (on_behalf, act) = parse(text).unwrap();
        let (created_ms, expires_ms) = (board.now_ms, board.now_ms + DAY_MS);
        let entry = Entry { id, signer: who, on_behalf, created_ms, expires_ms, act };
        board.replica.change_by(&entry).map(|change| change.word)
    };
    assert_eq!(word(BEN, "!post two"), Some("new"));
    assert_eq!(word(BEN, &format!("!edit {post} not mine")), None);
    assert_eq!(word(ANNA, &format!("!edit {post} mine")), Some("edited"));
    assert_eq!(word(ANNA, &format!("!pin {post}")), None);
    assert_eq!(word(MODERATOR, &format!("!pin {post}")), Some("pinned"));
    assert_eq!(word(MODERATOR, &format!("!unpin {post}")), Some("unpinned"));
    assert_eq!(word(MODERATOR, &format!("!hide {post}")), Some("hidden"));
    assert_eq!(word(MODERATOR, &format!("!show {post}")), Some("shown"));
    assert_eq!(word(MODERATOR, &format!("!ban {BEN}")), Some("banned"));
    assert_eq!(word(BEN, "!post three"), None);
    assert_eq!(word(ANNA, &format!("!delete {post}")), Some("deleted"));
}
