//! A line of the prompt, parsed by the table of commands.
//!
//! A line is split into words as a shell does it, with one difference: the text of a message is the rest of its
//! line, just as it was typed.

use clap::{Arg, CommandFactory, Parser};

use crate::cli::args::Line;

/// The argument that takes the rest of the line.
const TEXT: &str = "text";

/// A word and the place in the line where it begins, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) start: usize,
    /// A quote in it is not closed.
    open: bool,
}

/// Parses a line; `None` when there is nothing on it. The error is what to tell the user, also for `--help`.
pub(super) fn parse(line: &str) -> Result<Option<Line>, String> {
    let words = words(line);
    if words.is_empty() {
        return Ok(None);
    }
    let mut command = Line::command();
    // Puts the flags that every command takes in their places.
    command.build();
    let text_at = Place::of(&command, &words).text_at;
    let (before, text) = match text_at {
        Some(at) => (words.get(..at).unwrap_or_default(), words.get(at).and_then(|word| line.get(word.start..))),
        None => (words.as_slice(), None),
    };
    if before.iter().any(|word| word.open) {
        return Err("A quote is not closed.".to_owned());
    }
    let arguments = before.iter().map(|word| word.text.as_str());
    let text = text.map(|text| ["--", text.trim_end()]).into_iter().flatten();
    Line::try_parse_from(arguments.chain(text)).map(Some).map_err(|error| error.render().to_string())
}

/// Splits a line into words. The slash before the first word is taken off.
pub(super) fn words(line: &str) -> Vec<Word> {
    let mut words = vec![];
    let mut current: Option<Word> = None;
    let mut quote: Option<char> = None;
    let mut chars = line.char_indices().peekable();
    if let Some((_, '/')) = chars.peek() {
        chars.next();
    }
    while let Some((at, c)) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            words.extend(current.take());
            continue;
        }
        let word = current.get_or_insert_with(|| Word { text: String::new(), start: at, open: false });
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None | Some('"'), '\\') => word.text.extend(chars.next().map(|(_, c)| c)),
            (_, c) => word.text.push(c),
        }
    }
    if let Some(word) = &mut current {
        word.open = quote.is_some();
    }
    words.extend(current);
    words
}

/// Where in the table of commands some words lead.
pub(super) struct Place<'c> {
    /// The command that they name.
    pub(super) command: &'c clap::Command,
    /// The argument whose value must come next, after a flag.
    pub(super) pending: Option<&'c Arg>,
    /// How many arguments without a flag were given.
    pub(super) given: usize,
    /// The word with which the text of a message begins.
    pub(super) text_at: Option<usize>,
}

impl<'c> Place<'c> {
    /// Follows the words from the root of the table.
    pub(super) fn of(root: &'c clap::Command, words: &[Word]) -> Self {
        let mut place = Self { command: root, pending: None, given: 0, text_at: None };
        for (at, word) in words.iter().enumerate() {
            if place.pending.take().is_some() {
                continue;
            }
            let text_next = place.positional().is_some_and(|argument| argument.get_id() == TEXT);
            if word.text.starts_with('-') && word.text.len() > 1 && !(text_next && place.flag(&word.text).is_none()) {
                place.pending = place.flag(&word.text).filter(|argument| argument.get_action().takes_values());
                continue;
            }
            if place.given == 0
                && let Some(sub) = place.command.find_subcommand(&word.text)
            {
                place.command = sub;
                continue;
            }
            if text_next {
                place.text_at = Some(at);
                return place;
            }
            place.given += 1;
        }
        place
    }

    /// The argument without a flag that comes next.
    pub(super) fn positional(&self) -> Option<&'c Arg> {
        self.command.get_positionals().nth(self.given)
    }

    /// The argument that a flag names.
    fn flag(&self, word: &str) -> Option<&'c Arg> {
        let named = |argument: &&Arg| match word.strip_prefix("--") {
            Some(long) => argument.get_long() == Some(long),
            None => {
                argument.get_short().is_some_and(|short| word.strip_prefix('-') == Some(short.to_string().as_str()))
            }
        };
        self.command.get_arguments().find(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Cli, Command, LineCommand, MeshCommand};

    fn mesh(line: &str) -> MeshCommand {
        match parse(line).unwrap().unwrap().command {
            LineCommand::Shared(Command::Mesh { command }) => command,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_rest_of_the_line_is_the_text() {
        let MeshCommand::Send(send) = mesh("/mesh send anna Hello from  the mesh! don't --json \"x\" ") else {
            panic!()
        };
        assert_eq!(send.peer, "anna");
        assert_eq!(send.text, ["Hello from  the mesh! don't --json \"x\""]);
        let MeshCommand::Broadcast(post) = mesh("mesh broadcast --ttl 3d 'two words' -5 degrees") else { panic!() };
        assert_eq!((post.topic.as_str(), post.ttl.unwrap().as_secs()), ("two words", 259_200));
        assert_eq!(post.text, ["-5 degrees"]);
    }

    #[test]
    fn a_line_and_a_shell_command_mean_the_same() {
        for words in [
            &["mesh", "peers"][..],
            &["mesh", "inbox", "--limit", "3", "--follow"],
            &["mesh", "subscribe", "announcements"],
            &["plugin", "enable", "routing-flood"],
            &["script", "run", "x.lua", "--event", "{}"],
            &["config", "check"],
            &["status"],
        ] {
            let shell = Cli::try_parse_from(["qpq"].iter().chain(words)).unwrap().command.unwrap();
            let LineCommand::Shared(line) = parse(&format!("/{}", words.join(" "))).unwrap().unwrap().command else {
                panic!("{words:?}")
            };
            assert_eq!(format!("{shell:?}"), format!("{line:?}"));
        }
    }

    #[test]
    fn words_are_split_as_in_a_shell() {
        let texts = |line| words(line).into_iter().map(|word| word.text).collect::<Vec<_>>();
        assert_eq!(texts("/a 'b c' \"d \\\" e\" f\\ g  ''"), ["a", "b c", "d \" e", "f g", ""]);
        assert_eq!(words("  ab cd").iter().map(|word| word.start).collect::<Vec<_>>(), [2, 5]);
        assert!(texts("  ").is_empty() && texts("/").is_empty());
    }

    #[test]
    fn a_wrong_line_is_explained() {
        assert!(parse("").unwrap().is_none() && parse("/").unwrap().is_none());
        assert!(parse("/mesh sned x y").unwrap_err().contains("send"));
        assert!(parse("/mesh send anna").unwrap_err().contains("<TEXT>"));
        assert!(parse("/script reload 'x").unwrap_err().contains("quote"));
        assert!(parse("/help").unwrap_err().contains("mesh"));
        assert!(parse("/mesh send --help").unwrap_err().contains("--ttl"));
        assert!(matches!(parse("/exit").unwrap().unwrap().command, LineCommand::Quit));
    }
}
