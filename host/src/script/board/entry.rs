//! The words of a board: from the text of a broadcast to an entry, and back.

use std::fmt::Write as _;

use qpq_schemas::{MessageId, PeerId};

use super::super::cut;
use super::reference::Reference;

/// Longest text of a post, in bytes: a few pages. What is longer is no entry.
pub(crate) const TEXT_BYTES: usize = 8 << 10;
/// Longest reason for hiding a post, in bytes.
pub(crate) const REASON_BYTES: usize = 200;
/// What a program writes before the key of the person that it writes for.
const FOR: &str = "for:";
/// What an entry takes in memory beside its text, in bytes, with its places in the indexes. An estimate.
const OVERHEAD_BYTES: usize = 400;

/// Where an entry comes from: the broadcast around its text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Source {
    pub id: MessageId,
    pub signer: PeerId,
    /// Unix time in milliseconds, by the signer's clock.
    pub created_ms: u64,
    /// When the broadcast dies.
    pub expires_ms: u64,
}

/// A signed entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub id: MessageId,
    pub signer: PeerId,
    /// Whom the signer says it wrote for.
    pub on_behalf: Option<PeerId>,
    pub created_ms: u64,
    pub expires_ms: u64,
    pub act: Act,
}

/// What an entry does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Act {
    Post { text: Box<str> },
    Reply { to: Reference, text: Box<str> },
    Edit { of: Reference, text: Box<str> },
    Delete { of: Reference },
    Pin { of: Reference, on: bool },
    Hide { of: Reference, on: bool, reason: Box<str> },
    Ban { key: PeerId, on: bool },
}

/// Order of making: what is later wins. Unlike times of arrival it is the same at every node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub created_ms: u64,
    pub id: MessageId,
}

impl Rank {
    /// Before all others.
    pub(crate) const FIRST: Self = Self { created_ms: 0, id: MessageId([0; 32]) };
    /// After all others.
    pub(crate) const LAST: Self = Self { created_ms: u64::MAX, id: MessageId([u8::MAX; 32]) };
}

/// Who may change a post: the signer, for the same person.
pub(crate) type Owner = (PeerId, Option<PeerId>);

impl Entry {
    /// Reads the text of a broadcast; `None` when it is no entry of a board.
    pub(crate) fn read(source: &Source, payload: &[u8]) -> Option<Self> {
        let (on_behalf, act) = parse(std::str::from_utf8(payload).ok()?)?;
        let Source { id, signer, created_ms, expires_ms } = *source;
        Some(Self { id, signer, on_behalf, created_ms, expires_ms, act })
    }

    pub(crate) fn rank(&self) -> Rank {
        Rank { created_ms: self.created_ms, id: self.id }
    }

    pub(crate) fn owner(&self) -> Owner {
        (self.signer, self.on_behalf)
    }

    /// Who is shown as the author.
    pub(crate) fn author(&self) -> PeerId {
        self.on_behalf.unwrap_or(self.signer)
    }

    /// The post that an edit or delete changes; of anything else, itself.
    pub(crate) fn about(&self) -> Reference {
        match &self.act {
            Act::Edit { of, .. } | Act::Delete { of } => *of,
            _ => Reference::to(&self.id),
        }
    }

    /// Whether it is a post or a reply, with its text.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.act {
            Act::Post { text } | Act::Reply { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Roughly the memory that it takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let text = match &self.act {
            Act::Post { text } | Act::Reply { text, .. } | Act::Edit { text, .. } => text.len(),
            Act::Hide { reason, .. } => reason.len(),
            _ => 0,
        };
        text + OVERHEAD_BYTES
    }
}

/// Whether the text of a broadcast is an entry of a board.
pub(crate) fn is_entry(payload: &[u8]) -> bool {
    std::str::from_utf8(payload).is_ok_and(|text| parse(text).is_some())
}

/// Reads an entry's text: the verb, whom it is written for, and what belongs to the verb.
pub(crate) fn parse(text: &str) -> Option<(Option<PeerId>, Act)> {
    let (verb, rest) = word(text.strip_prefix('!')?);
    let verb = verb.to_ascii_lowercase();
    // Only what is somebody's own is written for somebody; moderators sign themselves.
    let own = matches!(verb.as_str(), "post" | "reply" | "edit" | "delete");
    let (on_behalf, rest) = if own { for_whom(rest) } else { (None, rest) };
    let act = match verb.as_str() {
        "post" => Act::Post { text: body(rest)? },
        "reply" => referring(rest).and_then(|(to, rest)| Some(Act::Reply { to, text: body(rest)? }))?,
        "edit" => referring(rest).and_then(|(of, rest)| Some(Act::Edit { of, text: body(rest)? }))?,
        "delete" => Act::Delete { of: only(rest)? },
        "pin" => Act::Pin { of: only(rest)?, on: true },
        "unpin" => Act::Pin { of: only(rest)?, on: false },
        "hide" => {
            let (of, reason) = referring(rest)?;
            Act::Hide { of, on: true, reason: self::reason(reason).into() }
        }
        "show" => Act::Hide { of: only(rest)?, on: false, reason: Box::default() },
        "ban" => Act::Ban { key: rest.parse().ok()?, on: true },
        "unban" => Act::Ban { key: rest.parse().ok()?, on: false },
        _ => return None,
    };
    Some((on_behalf, act))
}

/// As much of a reason as an entry holds.
pub(crate) fn reason(text: &str) -> &str {
    cut(text.trim(), REASON_BYTES).trim_end()
}

/// The text that [`parse`] reads as this.
pub(crate) fn write(on_behalf: Option<PeerId>, act: &Act) -> String {
    let mut text = String::from("!");
    text.push_str(match act {
        Act::Post { .. } => "post",
        Act::Reply { .. } => "reply",
        Act::Edit { .. } => "edit",
        Act::Delete { .. } => "delete",
        Act::Pin { on: true, .. } => "pin",
        Act::Pin { .. } => "unpin",
        Act::Hide { on: true, .. } => "hide",
        Act::Hide { .. } => "show",
        Act::Ban { on: true, .. } => "ban",
        Act::Ban { .. } => "unban",
    });
    if let Some(key) = on_behalf {
        _ = write!(text, " {FOR}{key}");
    }
    _ = match act {
        Act::Post { text: body } => write!(text, " {body}"),
        Act::Reply { to: id, text: body } | Act::Edit { of: id, text: body } => write!(text, " {id} {body}"),
        Act::Hide { of, reason, .. } if !reason.is_empty() => write!(text, " {of} {reason}"),
        Act::Delete { of } | Act::Pin { of, .. } | Act::Hide { of, .. } => write!(text, " {of}"),
        Act::Ban { key, .. } => write!(text, " {key}"),
    };
    text
}

/// The first word, and what follows it without the blanks at both ends.
fn word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim())
}

fn for_whom(text: &str) -> (Option<PeerId>, &str) {
    let (first, rest) = word(text);
    match first.strip_prefix(FOR).and_then(|key| key.parse().ok()) {
        Some(key) => (Some(key), rest),
        None => (None, text), // a text that begins like this, as "for: sale" may
    }
}

fn referring(text: &str) -> Option<(Reference, &str)> {
    let (first, rest) = word(text);
    Some((Reference::parse(first)?, rest))
}

fn only(text: &str) -> Option<Reference> {
    Reference::parse(text)
}

fn body(text: &str) -> Option<Box<str>> {
    let fits = !text.is_empty() && text.len() <= TEXT_BYTES;
    fits.then(|| text.into())
}

/// A door for fuzzing: reads a text as an entry, and what is written from it again.
///
/// # Panics
/// When an entry reads otherwise once it was written.
#[cfg(feature = "fuzz-doors")]
pub(crate) fn fuzz(text: &str) {
    if let Some((on_behalf, act)) = parse(text) {
        let written = write(on_behalf, &act);
        assert_eq!(parse(&written), Some((on_behalf, act)), "{text:?} is written {written:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn of(digits: &str) -> Reference {
        Reference::parse(digits).unwrap()
    }

    #[test]
    fn people_type_entries_as_they_type_commands() {
        let cases = [
            ("!post two  words ", Act::Post { text: "two  words".into() }),
            ("!POST line\nline", Act::Post { text: "line\nline".into() }),
            ("!post for: sale, a bike", Act::Post { text: "for: sale, a bike".into() }),
            ("!reply #AB12CD yes", Act::Reply { to: of("ab12cd"), text: "yes".into() }),
            ("!edit ab12cd better", Act::Edit { of: of("ab12cd"), text: "better".into() }),
            ("!delete ab12cd", Act::Delete { of: of("ab12cd") }),
            ("!pin ab12cd", Act::Pin { of: of("ab12cd"), on: true }),
            ("!unpin ab12cd ", Act::Pin { of: of("ab12cd"), on: false }),
            ("!hide ab12cd off topic", Act::Hide { of: of("ab12cd"), on: true, reason: "off topic".into() }),
            ("!hide ab12cd", Act::Hide { of: of("ab12cd"), on: true, reason: "".into() }),
            ("!show ab12cd", Act::Hide { of: of("ab12cd"), on: false, reason: "".into() }),
        ];
        for (text, act) in cases {
            assert_eq!(parse(text), Some((None, act.clone())), "{text}");
            assert_eq!(parse(&write(None, &act)), Some((None, act)), "{text}");
        }
        let ban = format!("!ban {KEY}");
        assert_eq!(parse(&ban), Some((None, Act::Ban { key: KEY.parse().unwrap(), on: true })));
    }

    #[test]
    fn a_program_says_for_whom_it_writes() {
        let key: PeerId = KEY.parse().unwrap();
        let act = Act::Reply { to: of("ab12cd"), text: "for:me".into() };
        let text = format!("!reply for:{KEY} ab12cd for:me");
        assert_eq!(parse(&text), Some((Some(key), act.clone())));
        assert_eq!(write(Some(key), &act), text);
        assert_eq!(parse(&format!("!pin for:{KEY} ab12cd")), None, "moderators sign themselves");
    }

    #[test]
    fn what_is_no_entry_is_none() {
        let too_long = format!("!post {}", "x".repeat(TEXT_BYTES + 1));
        let texts = [
            "",
            "!",
            "post x",
            " !post x",
            "!post",
            "!post  ",
            "!reply ab12cd",
            "!reply ab12c yes",
            "!reply yes",
            "!edit ab12cd ",
            "!delete",
            "!delete ab12cd now",
            "!pin here",
            "!ban ab12cd",
            "!list",
            &too_long,
        ];
        for text in texts {
            assert_eq!(parse(text), None, "{text:.20}");
        }
    }
}
