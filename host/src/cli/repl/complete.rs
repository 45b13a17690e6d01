//! Completion and hints, made from the table of commands.

use clap::{Arg, Command};

use super::line::{Place, words};

/// What an argument's values are names of, so that known ones can be offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Peers, by nickname or key.
    Peers,
    /// Joined channels.
    Channels,
    /// Loaded plugins.
    Plugins,
    /// Bots.
    Bots,
    /// Calls of the script API.
    Calls,
}

/// Completions of the word at the end of a line: where it starts, and what it can become.
pub(super) fn complete(root: &Command, line: &str, names: impl Fn(Kind) -> Vec<String>) -> (usize, Vec<String>) {
    let mut words = words(line);
    let partial = if line.ends_with(char::is_whitespace) { None } else { words.pop() };
    let (start, partial) = match partial {
        Some(word) => (word.start, word.text),
        None => (line.len().max(usize::from(line == "/")), String::new()),
    };
    let place = Place::of(root, &words);
    if place.text_at.is_some() {
        return (start, vec![]);
    }
    let mut found: Vec<String> = candidates(&place, &partial, names);
    found.retain(|candidate| candidate.starts_with(&partial));
    found.sort();
    found.dedup();
    let mut found: Vec<String> = found.into_iter().map(quoted).collect();
    // The only candidate is a whole word: go on to the next.
    if let [only] = found.as_mut_slice() {
        only.push(' ');
    }
    (start, found)
}

fn candidates(place: &Place<'_>, partial: &str, names: impl Fn(Kind) -> Vec<String>) -> Vec<String> {
    if let Some(argument) = place.pending {
        return values(place.command, argument, names);
    }
    if partial.starts_with('-') {
        return flags(place.command);
    }
    let mut found = match place.positional() {
        Some(argument) => values(place.command, argument, names),
        None => vec![],
    };
    if place.given == 0 {
        found.extend(visible(place.command).map(|sub| sub.get_name().to_owned()));
    }
    found
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|sub| !sub.is_hide_set())
}

fn flags(command: &Command) -> Vec<String> {
    let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let mut flags: Vec<String> =
        shown.filter_map(|argument| argument.get_long()).map(|long| format!("--{long}")).collect();
    flags.push("--help".to_owned());
    flags
}

fn values(command: &Command, argument: &Arg, names: impl Fn(Kind) -> Vec<String>) -> Vec<String> {
    let fixed: Vec<String> = argument.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if !fixed.is_empty() {
        return fixed;
    }
    let kind = match (command.get_name(), argument.get_id().as_str()) {
        (_, "peer") => Kind::Peers,
        (_, "topic") => Kind::Channels,
        ("enable" | "swap", "name") => Kind::Plugins,
        ("reload" | "approve" | "logs" | "top" | "repl", "name") => Kind::Bots,
        ("help", "call") => Kind::Calls,
        _ => return vec![],
    };
    names(kind)
}

/// A candidate as it must be typed.
fn quoted(candidate: String) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_.:/@".contains(c);
    if candidate.chars().all(plain) { candidate } else { format!("'{}'", candidate.replace('\'', "'\\''")) }
}

/// What is still to be typed, shown behind the cursor; `None` when nothing is missing.
pub(super) fn hint(root: &Command, line: &str) -> Option<String> {
    let words = words(line);
    let place = Place::of(root, &words);
    if words.is_empty() || place.text_at.is_some() || place.pending.is_some() {
        return None;
    }
    if place.command.has_subcommands() {
        return command_hint(&place, line, &words.last()?.text);
    }
    let missing: Vec<String> = place.command.get_positionals().skip(place.given).map(placeholder).collect();
    spaced(line, &missing.join(" "))
}

/// At the place of a command: the rest of the only one that it can be, or all of them before the first letter.
fn command_hint(place: &Place<'_>, line: &str, last: &str) -> Option<String> {
    let names = || visible(place.command).map(Command::get_name).filter(|name| *name != "help");
    if place.given == 0 {
        return spaced(line, &names().collect::<Vec<_>>().join("|"));
    }
    let mut rests = names().filter_map(|name| name.strip_prefix(last));
    match (rests.next(), rests.next()) {
        (Some(rest), None) if !line.ends_with(char::is_whitespace) => Some(rest.to_owned()),
        _ => None,
    }
}

/// A hint with a space before it, where the line has none.
fn spaced(line: &str, hint: &str) -> Option<String> {
    let space = if line.ends_with(char::is_whitespace) { "" } else { " " };
    (!hint.is_empty()).then(|| format!("{space}{hint}"))
}

fn placeholder(argument: &Arg) -> String {
    let name = argument.get_id().as_str().to_uppercase();
    if argument.is_required_set() { format!("<{name}>") } else { format!("[{name}]") }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::args::Line;

    fn table() -> Command {
        let mut table = Line::command();
        table.build();
        table
    }

    fn names(kind: Kind) -> Vec<String> {
        match kind {
            Kind::Peers => vec!["anna".into(), "bert the relay".into()],
            Kind::Channels => vec!["announcements".into()],
            Kind::Plugins => vec!["routing-flood".into()],
            Kind::Bots => vec!["board".into()],
            Kind::Calls => vec!["mesh.send".into()],
        }
    }

    fn completed(line: &str) -> (usize, Vec<String>) {
        complete(&table(), line, names)
    }

    #[test]
    fn commands_and_flags_are_completed_from_the_table() {
        assert_eq!(completed("/mesh su"), (6, vec!["subscribe ".into()]));
        assert_eq!(completed("/mes"), (1, vec!["mesh ".into()]));
        assert!(completed("/").1.contains(&"status".to_owned()));
        assert!(completed("/mesh ").1.contains(&"inbox".to_owned()));
        assert_eq!(completed("/mesh inbox --fo"), (12, vec!["--follow ".into()]));
        assert_eq!(completed("/mesh send --priority e").1, ["emergency "]);
    }

    #[test]
    fn known_names_are_offered() {
        assert_eq!(completed("/mesh send an"), (11, vec!["anna ".into()]));
        assert_eq!(completed("/mesh send b").1, ["'bert the relay' "]);
        assert_eq!(completed("/mesh unsubscribe ").1, ["announcements "]);
        assert_eq!(completed("/plugin enable ").1, ["routing-flood "]);
        assert_eq!(completed("/script reload ").1, ["board "]);
        assert_eq!(completed("/script approve b").1, ["board "]);
        assert_eq!(completed("/script help mesh.se").1, ["mesh.send "]);
    }

    #[test]
    fn the_text_of_a_message_is_left_alone() {
        assert!(completed("/mesh send anna mesh su").1.is_empty());
        assert_eq!(hint(&table(), "/mesh send anna hello"), None);
    }

    #[test]
    fn a_hint_says_what_is_missing() {
        let hint = |line| hint(&table(), line);
        assert_eq!(hint("/mesh send").as_deref(), Some(" <PEER> <TEXT>"));
        assert_eq!(hint("/mesh send anna ").as_deref(), Some("<TEXT>"));
        assert_eq!(hint("/script reload").as_deref(), Some(" [NAME]"));
        assert_eq!(hint("/config").as_deref(), Some(" check|print|reference"));
        assert_eq!(hint("/mesh unsub").as_deref(), Some("scribe"));
        assert_eq!(hint("/mesh s"), None, "there are several");
        assert_eq!(hint("/mesh zzz"), None);
        assert_eq!(hint("/status"), None);
        assert_eq!(hint(""), None);
    }
}
