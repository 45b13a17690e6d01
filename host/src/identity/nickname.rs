//! Names that peers give themselves, made harmless before anything keeps or shows them.

/// The longest nickname, in bytes of UTF-8.
pub const MAX_NICKNAME: usize = 64;

/// The fewest hexadecimal digits that name a peer, so also the fewest that a nickname must not consist of.
pub const MIN_PREFIX: usize = 8;

/// A nickname as it may be kept and shown: no controls, nothing invisible or that turns the writing direction, single
/// spaces, at most [`MAX_NICKNAME`] bytes. `None` where nothing is left, or where it could be taken for a key.
pub fn sanitise(raw: &str) -> Option<String> {
    let mut clean = String::new();
    // A long text is cut before it is looked at: four times the limit is plenty for what is dropped.
    for word in cut(raw, 4 * MAX_NICKNAME).split(char::is_whitespace) {
        let space = !clean.is_empty() && !clean.ends_with(' ');
        let mut letters = word.chars().filter(|&c| is_harmless(c)).peekable();
        if space && letters.peek().is_some() {
            clean.push(' ');
        }
        clean.extend(letters);
    }
    let clean = cut(&clean, MAX_NICKNAME).trim_end();
    (!clean.is_empty() && !is_key_like(clean)).then(|| clean.to_owned())
}

/// Whether the text could be meant as (the beginning of) a public key.
pub(super) fn is_key_like(text: &str) -> bool {
    text.len() >= MIN_PREFIX && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// The form in which two nicknames are compared, so that `Alice` can't pass beside `alice`.
pub(super) fn folded(nickname: &str) -> String {
    nickname.to_lowercase()
}

/// The longest beginning of at most `limit` bytes that ends between two characters.
pub(super) fn cut(text: &str, limit: usize) -> &str {
    let end = (0..=limit.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

/// Neither a control, nor invisible, nor a change of direction, nor for private use.
fn is_harmless(c: char) -> bool {
    let hidden = matches!(u32::from(c),
        0x00ad | 0x034f | 0x061c | 0x115f..=0x1160 | 0x17b4..=0x17b5 | 0x180b..=0x180f // soft hyphen, joiners, fillers
        | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f // zero width, separators, bidirectional
        | 0x3164 | 0xfeff | 0xffa0 | 0xfff0..=0xfffb // fillers, byte order mark, annotations
        | 0xe000..=0xf8ff | 0xf_0000..=0x10_ffff // private use
        | 0x1_bca0..=0x1_bca3 | 0x1_d173..=0x1_d17a | 0xe_0000..=0xe_0fff); // format controls, tags, selectors
    !c.is_control() && !hidden
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in ["alice", "Grete Hermann", "北京", "café-17", "🦀 crab", "cafe", "deadbee"] {
            assert_eq!(sanitise(name).as_deref(), Some(name));
        }
    }

    #[test]
    fn terminal_escapes_and_newlines_are_taken_out() {
        assert_eq!(sanitise("\x1b[31mred\x1b[0m\r\n\0x").as_deref(), Some("[31mred[0m x"));
        assert_eq!(sanitise("\u{9b}31mred").as_deref(), Some("31mred"));
    }

    #[test]
    fn direction_changes_and_invisible_characters_are_taken_out() {
        assert_eq!(sanitise("a\u{202e}b\u{2066}c\u{200b}d\u{feff}e\u{e0041}").as_deref(), Some("abcde"));
        assert_eq!(sanitise("\u{200b} \u{202e}"), None);
    }

    #[test]
    fn spaces_are_single_and_never_at_the_ends() {
        assert_eq!(sanitise("  a \t\u{3000} b\u{2003}").as_deref(), Some("a b"));
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let name = sanitise(&"ä".repeat(1000)).unwrap();
        assert_eq!(name.len(), MAX_NICKNAME);
        let name = sanitise(&format!("x{}", "ä".repeat(40))).unwrap();
        assert_eq!(name.len(), MAX_NICKNAME - 1);
    }

    #[test]
    fn a_name_that_looks_like_a_key_is_no_name() {
        assert_eq!(sanitise("deadbeef"), None);
        assert_eq!(sanitise("DEADBEEF01"), None);
        assert_eq!(sanitise("dead\u{200b}beef"), None);
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_in_is_harmless_and_short(raw in ".{0,300}") {
            if let Some(name) = sanitise(&raw) {
                assert!(name.len() <= MAX_NICKNAME && name.chars().all(is_harmless) && name.trim() == name);
                assert_eq!(sanitise(&name), Some(name));
            }
        }
    }
}
