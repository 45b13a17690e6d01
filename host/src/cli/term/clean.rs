//! Text from others, made harmless for a terminal.
//!
//! Names and messages come from strangers. Their escape sequences could move the cursor, rename the window or type
//! commands; their direction marks could make a text read otherwise than it is.

use std::iter::Peekable;
use std::str::Chars;

const ESCAPE: char = '\u{1b}';
const BELL: char = '\u{7}';

/// Text for one line: escape sequences, control characters and hidden direction marks are taken out, and what
/// would break the line becomes a space.
pub(in crate::cli) fn clean(text: &str) -> String {
    filter(text, |c| if breaks_line(c) { Some(' ') } else { None })
}

/// The same for text of several lines: line feeds stay.
pub(in crate::cli) fn clean_lines(text: &str) -> String {
    filter(text, |c| match c {
        '\n' => Some('\n'),
        c if breaks_line(c) => Some(' '),
        _ => None,
    })
}

/// Takes out what is harmful, save what `keep` puts in its place.
fn filter(text: &str, keep: impl Fn(char) -> Option<char>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\r' if chars.peek() == Some(&'\n') => {}
            ESCAPE => skip_sequence(&mut chars),
            '\u{9b}' => skip_control(&mut chars),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => skip_string(&mut chars),
            c => out.extend(keep(c).or((!is_harmful(c)).then_some(c))),
        }
    }
    out
}

/// Whether a character could do harm where it is shown as it is.
pub(in crate::cli) fn is_unsafe(c: char) -> bool {
    is_harmful(c) || breaks_line(c)
}

fn breaks_line(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Control characters; marks, overrides and isolates of direction (Unicode annex 9); invisible tags and the like.
fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// After an escape character (ECMA-48): a control sequence, a string, or a single character.
fn skip_sequence(chars: &mut Peekable<Chars<'_>>) {
    match chars.peek() {
        Some('[') => {
            chars.next();
            skip_control(chars);
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            chars.next();
            skip_string(chars);
        }
        Some(c) if c.is_ascii() => {
            // Intermediate characters, then the final one.
            while chars.next_if(|c| (' '..='/').contains(c)).is_some() {}
            chars.next_if(|c| ('0'..='~').contains(c));
        }
        _ => {}
    }
}

/// The parameters of a control sequence, then its final character.
fn skip_control(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|c| (' '..='?').contains(c)).is_some() {}
    chars.next_if(|c| ('@'..='~').contains(c));
}

/// A string of an operating system command and the like. One that never ends takes the rest of its line.
fn skip_string(chars: &mut Peekable<Chars<'_>>) {
    while let Some(c) = chars.next_if(|c| !breaks_line(*c)) {
        match c {
            BELL | '\u{9c}' => return,
            ESCAPE => {
                chars.next_if(|c| *c == '\\');
                return;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_are_taken_out_whole() {
        assert_eq!(clean("a\x1b[31mred\x1b[0mb"), "aredb");
        assert_eq!(clean("a\x1b]0;title\x07b"), "ab");
        assert_eq!(clean("a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\b"), "alinkb");
        assert_eq!(clean("a\x1b(Bb\x1bcc\u{9b}2Jd\u{9d}0;x\u{9c}e"), "abcde");
        assert_eq!(clean("a\x1bP1$r\x1b\\b"), "ab");
        assert_eq!(clean("a\x1b"), "a");
        assert_eq!(clean("a\x1b[12"), "a");
        assert_eq!(clean_lines("a\x1b]never ends\nb"), "a\nb");
    }

    #[test]
    fn control_characters_and_line_breaks_cannot_break_a_line() {
        assert_eq!(clean("a\0\x07\x08\x7fb"), "ab");
        assert_eq!(clean("a\r\nb\nc\rd\te\u{2028}f\u{85}g"), "a b c d e f g");
        assert_eq!(clean_lines("a\r\nb\nc\rd"), "a\nb\nc d");
    }

    #[test]
    fn text_cannot_be_made_to_read_otherwise_than_it_is() {
        assert_eq!(clean("a\u{202e}b\u{202c}\u{2066}c\u{2069}\u{200f}d\u{e0041}e\u{feff}f\u{200b}g"), "abcdefg");
    }

    #[test]
    fn honest_text_stays() {
        let text = "Grüße, 你好, مرحبا, 👩‍👩‍👧 e\u{301}";
        assert_eq!(clean(text), text);
    }

    #[test]
    fn whatever_comes_in_nothing_harmful_comes_out() {
        use proptest::prelude::*;
        proptest!(|(text in "\\PC{0,20}[\\x00-\\x9f\\u{2028}\\u{202e}]{0,40}\\PC{0,20}")| {
            prop_assert!(!clean(&text).chars().any(|c| is_harmful(c) || breaks_line(c)));
            prop_assert!(!clean_lines(&text).chars().any(|c| c != '\n' && (is_harmful(c) || breaks_line(c))));
        });
    }
}
