//! One line of the log, made safe.

use std::fmt::Write as _;

/// How an invite begins; all of it is a secret.
const INVITE: &str = "qpqinvite";

/// How a character is shown that must not stand in the log as it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Escape {
    /// `\u{1b}`
    Braces,
    /// `\u001b`, valid inside a JSON string.
    Json,
}

/// The line without control characters (save the line feed at its end), marks of direction, and invites.
pub(super) fn safe(line: &str, escape: Escape) -> String {
    let line = hide_invites(line);
    let (body, end) = line.strip_suffix('\n').map_or((line.as_str(), ""), |body| (body, "\n"));
    let mut out = String::with_capacity(line.len());
    for c in body.chars() {
        if is_unsafe(c) {
            write_escaped(&mut out, c, escape);
        } else {
            out.push(c);
        }
    }
    out + end
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn write_escaped(out: &mut String, c: char, escape: Escape) {
    let code = u32::from(c);
    // Every unsafe character is in the basic plane, so four digits do for JSON.
    let _ = match escape {
        Escape::Braces => write!(out, "\\u{{{code:x}}}"),
        Escape::Json => write!(out, "\\u{code:04x}"),
    };
}

fn hide_invites(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.to_ascii_lowercase().find(INVITE) {
        let (before, invite) = rest.split_at(at + INVITE.len());
        out.push_str(before);
        out.push_str("(hidden)");
        rest = invite.trim_start_matches(|c: char| c.is_ascii_alphanumeric());
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_cannot_write_a_line_of_its_own() {
        let line = "INFO peer nickname=x\nERROR forged\r\x1b[2J\u{202e}\n";
        assert_eq!(safe(line, Escape::Braces), "INFO peer nickname=x\\u{a}ERROR forged\\u{d}\\u{1b}[2J\\u{202e}\n");
        let json = "{\"a\":\"x\u{202e}\u{9b}\"}\n";
        let safe = safe(json, Escape::Json);
        assert_eq!(safe, "{\"a\":\"x\\u202e\\u009b\"}\n");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap()["a"], "x\u{202e}\u{9b}");
    }

    #[test]
    fn invites_are_hidden() {
        let line = "joined QPQinviteab23cd, then qpqinvite77 ok";
        assert_eq!(safe(line, Escape::Braces), "joined QPQinvite(hidden), then qpqinvite(hidden) ok");
    }
}
