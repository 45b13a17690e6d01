//! A plugin's log messages on their way to the node's log.

use qpq_plugin_api::abi::log_level;
use tracing::level_filters::LevelFilter;

/// The longest message that is logged, in characters.
const MAX_CHARS: usize = 4096;

/// The largest level that anybody listens to.
pub(super) fn wanted() -> u32 {
    match LevelFilter::current() {
        LevelFilter::OFF => 0,
        LevelFilter::ERROR => log_level::ERROR,
        LevelFilter::WARN => log_level::WARN,
        LevelFilter::INFO => log_level::INFO,
        LevelFilter::DEBUG => log_level::DEBUG,
        _ => log_level::TRACE,
    }
}

/// Logs a message of a plugin.
pub(super) fn write(plugin: &str, level: u32, target: &str, message: &str, fields: &str) {
    let (message, at, fields) = (clean(message), clean(target), clean(fields));
    match level {
        log_level::ERROR => tracing::error!(target: "qpq::plugin", plugin, at, fields, "{message}"),
        log_level::WARN => tracing::warn!(target: "qpq::plugin", plugin, at, fields, "{message}"),
        log_level::INFO => tracing::info!(target: "qpq::plugin", plugin, at, fields, "{message}"),
        log_level::DEBUG => tracing::debug!(target: "qpq::plugin", plugin, at, fields, "{message}"),
        _ => tracing::trace!(target: "qpq::plugin", plugin, at, fields, "{message}"),
    }
}

/// Text of a plugin, which may repeat text of a peer: short, and without anything that a terminal obeys.
pub(super) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len().min(MAX_CHARS));
    for c in text.chars().take(MAX_CHARS) {
        if c.is_control() || is_invisible(c) {
            clean.extend(c.escape_unicode());
        } else {
            clean.push(c);
        }
    }
    clean
}

/// Characters that turn the direction of text around them, or separate lines.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_that_it_would_obey() {
        assert_eq!(clean("a\x1b[31mb\nc\u{202e}d ü"), "a\\u{1b}[31mb\\u{a}c\\u{202e}d ü");
        assert_eq!(clean(&"x".repeat(10_000)).len(), MAX_CHARS);
    }
}
