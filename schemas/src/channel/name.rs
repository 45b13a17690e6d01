use std::fmt;

use crate::wire::is_control;

/// Longest topic name, in bytes of UTF-8 after normalisation.
pub const MAX_NAME_LEN: usize = 64;

/// Why a text can't be a topic name. The one who typed it is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// Nothing is left after normalisation.
    Empty,
    /// Longer than [`MAX_NAME_LEN`] bytes.
    TooLong(usize),
    /// Holds a control, an invisible or a loose combining character.
    Character(char),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "a topic name needs at least one character"),
            Self::TooLong(len) => write!(f, "the topic name has {len} bytes, at most {MAX_NAME_LEN} are allowed"),
            Self::Character(c) => {
                write!(f, "the topic name holds U+{:04X}, which can't be seen: leave it out", u32::from(*c))
            }
        }
    }
}

impl std::error::Error for NameError {}

/// The one form of a topic name: spaces and `#` at its beginning and spaces at its end go, each run of spaces inside becomes
/// one, `A`–`Z` become `a`–`z`.
///
/// Nothing else changes: other letters are compared byte by byte, as no table of another Unicode version may ever make two nodes
/// derive two keys. Combining accents (U+0300–U+036F) are refused, so that `é` has one form only, the composed one.
///
/// # Errors
/// When the name is empty or too long, or holds characters that can't be seen.
pub fn normalise(name: &str) -> Result<String, NameError> {
    let name = name.trim_start_matches([' ', '#']);
    if let Some(c) = name.chars().find(|c| is_control(*c) || matches!(c, '\u{300}'..='\u{36f}')) {
        return Err(NameError::Character(c));
    }
    let words: Vec<&str> = name.split(' ').filter(|word| !word.is_empty()).collect();
    let name = words.join(" ").to_ascii_lowercase();
    match name.len() {
        0 => Err(NameError::Empty),
        len if len > MAX_NAME_LEN => Err(NameError::TooLong(len)),
        _ => Ok(name),
    }
}
