//! `mesh.on` and its short forms, and commands.

use std::rc::Rc;

use mlua::{Function, Lua, Table, Value};
use qpq_schemas::PeerId;
use qpq_schemas::channel::normalise;

use super::super::context::Ctx;
use super::super::dispatch::COMMAND_SIGN;
use super::super::duration::shorten;
use super::super::limits::{COMMAND_ARGS_BYTES, COMMAND_BYTES, HELP_BYTES, NAME_BYTES};
use super::super::shared::Offer;
use super::super::{manifest, nearest};
use super::args::beginning;
use super::table::EVENTS;
use super::{Args, Fault, Installer, MAX_MESSAGE_BYTES, Outcome, clean, done};

/// Fields in a filter.
const MAX_FILTER: usize = 8;
/// Length of the help of all bots of a node, in bytes: more than one message takes is cut off anyway.
const ALL_HELP_BYTES: usize = MAX_MESSAGE_BYTES;

/// The permission that an event wants, if any.
pub(crate) fn event_needs(event: &str) -> Option<&'static str> {
    EVENTS.iter().find(|known| known.name == event && !known.needs.is_empty()).map(|known| known.needs)
}

/// A function that waits for an event.
#[derive(Debug, Clone)]
pub(crate) struct Handler {
    pub event: &'static str,
    /// Fields of the event that must be equal.
    pub filter: Vec<(Value, Value)>,
    /// Whether it wants messages of other programs too.
    pub automatic: bool,
    pub function: Function,
}

impl Handler {
    /// Whether it names a channel.
    pub(crate) fn has_topic(&self) -> bool {
        self.filter.iter().any(|(key, _)| key.as_string().is_some_and(|key| key.as_bytes() == b"topic".as_slice()))
    }
}

/// A command.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    pub name: String,
    pub args: String,
    pub help: String,
    /// Who may use it; everybody when `None`.
    pub who: Option<Vec<PeerId>>,
    /// Where it is answered besides direct messages.
    pub channels: Vec<String>,
    /// On a channel each node's bot answers, not just one of them.
    pub all: bool,
    pub function: Function,
}

impl Command {
    /// As it is typed, with its arguments.
    pub(crate) fn usage(&self) -> String {
        let space = if self.args.is_empty() { "" } else { " " };
        format!("!{}{space}{}", self.name, self.args)
    }

    /// As others see it.
    pub(crate) fn offer(&self) -> Offer {
        let dash = if self.help.is_empty() { "" } else { " - " };
        let help = clean(&format!("{}{dash}{}", self.usage(), self.help), HELP_BYTES);
        Offer { name: self.name.clone(), help, channels: self.channels.clone() }
    }

    /// Splits what follows the name into as many arguments as the command has, the last one taking the rest. One in `[]` gets
    /// a word only where the words are enough for those in `<>`. `None` when one in `<>` is missing.
    pub(crate) fn split<'t>(&self, rest: &'t str) -> Option<Vec<Option<&'t str>>> {
        let wanted: Vec<&str> = self.args.split_whitespace().filter(|arg| arg.starts_with(['<', '['])).collect();
        let is_needed = |arg: &&&str| arg.starts_with('<');
        let (mut rest, mut left) = (rest.trim(), rest.split_whitespace().count());
        let mut needed = wanted.iter().filter(is_needed).count();
        if left < needed {
            return None;
        }
        let mut words = Vec::new();
        for (i, arg) in wanted.iter().enumerate() {
            if is_needed(&arg) {
                needed -= 1;
            } else if left <= needed {
                words.push(None);
                continue;
            }
            let (word, tail) = if i + 1 == wanted.len() {
                (rest, "")
            } else {
                rest.split_once(char::is_whitespace).unwrap_or((rest, ""))
            };
            words.push(Some(word));
            (rest, left) = (tail.trim_start(), left - 1);
        }
        if wanted.is_empty() && !rest.is_empty() {
            words.push(Some(rest));
        }
        Some(words)
    }
}

pub(super) fn install(installer: &mut Installer<'_>) -> mlua::Result<()> {
    installer.sync("mesh.on", on)?;
    installer.sync("mesh.on_envelope", |lua, ctx, args| {
        register(ctx, "envelope", Vec::new(), false, args.function(0).map_err(Fault::Misuse)?)?;
        done(lua, ())
    })?;
    installer.sync("mesh.on_broadcast", |lua, ctx, args| {
        let topic = args.topic(0).map_err(Fault::Misuse)?;
        ctx.listen(&topic)?;
        let filter = vec![(Value::String(lua.create_string("topic")?), Value::String(lua.create_string(&topic)?))];
        register(ctx, "broadcast", filter, false, args.function(1).map_err(Fault::Misuse)?)?;
        done(lua, ())
    })?;
    installer.sync("mesh.command", command)
}

fn on(lua: &Lua, ctx: &Rc<Ctx>, args: &Args) -> Outcome {
    let name = args.name(0).map_err(Fault::Misuse)?;
    let Some(event) = EVENTS.iter().find(|event| event.name == name) else {
        let names = EVENTS.iter().map(|event| event.name);
        let near = nearest(&name, names.clone()).map_or(String::new(), |near| format!("; did you mean '{near}'?"));
        let all = names.collect::<Vec<_>>().join(", ");
        return Err(Fault::Misuse(format!("there is no event '{}'{near} (events: {all})", shorten(&name))));
    };
    let (filter, automatic, topic) =
        args.table(1).map_or(Ok((Vec::new(), false, None)), |table| read_filter(lua, &table))?;
    match (topic, event.needs) {
        (Some(topic), "listen") => ctx.listen(&topic)?,
        (Some(topic), _) if event.name == "reaction" => ctx.listen(&topic)?,
        (_, "") => {}
        (_, need) => ctx.require(need, None)?,
    }
    register(ctx, event.name, filter, automatic, args.function(2).map_err(Fault::Misuse)?)?;
    done(lua, ())
}

type Filter = (Vec<(Value, Value)>, bool, Option<String>);

/// Channels are compared as messages name them, whatever the script wrote.
fn read_filter(lua: &Lua, table: &Table) -> Result<Filter, Fault> {
    let (mut filter, mut automatic, mut topic) = (Vec::new(), false, None);
    for pair in table.pairs::<Value, Value>() {
        let (key, mut value) = pair?;
        let Value::String(name) = &key else {
            return Err(Fault::Misuse("argument 2 (filter) has names as keys, as in { topic = \"board\" }".to_owned()));
        };
        match (beginning(name, NAME_BYTES).as_str(), &value) {
            ("automatic", Value::Boolean(wanted)) => automatic = *wanted,
            (field @ ("topic" | "board"), Value::String(text)) => {
                let channel = normalise(&beginning(text, NAME_BYTES))
                    .map_err(|error| Fault::Misuse(format!("argument 2 (filter.{field}): {error}")))?;
                value = Value::String(lua.create_string(&channel)?);
                topic = if field == "topic" { Some(channel) } else { topic };
            }
            _ => {}
        }
        // `automatic = true` lets messages of other programs in; it doesn't shut people's out.
        if name.as_bytes() != b"automatic".as_slice() {
            filter.push((key, value));
        }
        if filter.len() > MAX_FILTER {
            return Err(Fault::Misuse(format!("argument 2 (filter) has more than {MAX_FILTER} fields")));
        }
    }
    Ok((filter, automatic, topic))
}

fn register(
    ctx: &Ctx,
    event: &'static str,
    filter: Vec<(Value, Value)>,
    automatic: bool,
    function: Function,
) -> Result<(), Fault> {
    ctx.room_to_register()?;
    ctx.handlers.borrow_mut().push(Handler { event, filter, automatic, function });
    Ok(())
}

fn command(lua: &Lua, ctx: &Rc<Ctx>, args: &Args) -> Outcome {
    let name = args.name(0).map_err(Fault::Misuse)?.to_lowercase();
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > COMMAND_BYTES || !name.chars().all(fits) {
        return Err(Fault::Misuse(format!(
            "argument 1 (name) must be letters, digits, - or _, at most {COMMAND_BYTES}"
        )));
    }
    if name == "help" {
        let message =
            "argument 1 (name): `!help` is the node's own, made from the help of all commands; take another name";
        return Err(Fault::Misuse(message.to_owned()));
    }
    if ctx.commands.borrow().iter().any(|command| command.name == name) {
        return Err(Fault::Misuse(format!("there is a command '{name}' already")));
    }
    ctx.room_to_register()?;
    ctx.require("reply", None)?;
    let named = args.option_names("channel").map_err(Fault::Misuse)?.unwrap_or_default();
    let channels: Vec<String> = named
        .iter()
        .map(|name| normalise(name))
        .collect::<Result<_, _>>()
        .map_err(|error| Fault::Misuse(format!("options.channel: {error}")))?;
    for channel in &channels {
        ctx.listen(channel)?;
    }
    if channels.is_empty() {
        ctx.require("direct", None)?;
    }
    let who = args.option_names("who").map_err(Fault::Misuse)?;
    let who = who.map(|who| who.iter().enumerate().map(|(i, key)| admitted(ctx, i, key)).collect()).transpose()?;
    let text = |name, max| args.option_text(name, max).map(Option::unwrap_or_default).map_err(Fault::Misuse);
    let command = Command {
        name,
        args: text("args", COMMAND_ARGS_BYTES)?,
        help: text("help", HELP_BYTES)?,
        who,
        channels,
        all: args.option_bool("all"),
        function: args.function(2).map_err(Fault::Misuse)?,
    };
    ctx.commands.borrow_mut().push(command);
    done(lua, ())
}

/// Only whole keys open a command: a name or a short prefix can be taken by somebody else.
fn admitted(ctx: &Ctx, i: usize, key: &str) -> Result<PeerId, Fault> {
    if key == "self" {
        return Ok(ctx.self_id);
    }
    key.parse().map_err(|_| {
        let message = format!(
            "options.who[{}] must be a key of 64 hexadecimal digits or \"self\", got \"{}\"; a name can be taken by anyone",
            i + 1,
            shorten(key)
        );
        Fault::Misuse(message)
    })
}

/// The help text for one place, direct messages or a channel: this bot's commands, and those of its node's other bots. The line of
/// one command alone, where there is one `of` that name.
pub(crate) fn help(ctx: &Ctx, channel: Option<&str>, of: &str) -> Option<String> {
    let offers: Vec<Offer> = ctx.commands.borrow().iter().map(Command::offer).collect();
    let lines: Vec<&str> = offers.iter().filter(|o| o.is_answered(channel)).map(|o| o.help.as_str()).collect();
    if lines.is_empty() {
        return None;
    }
    let others = ctx.shared.others().into_iter().flat_map(|bot| bot.commands);
    let name = of.trim().trim_start_matches(COMMAND_SIGN).to_lowercase();
    let meant = |offer: &Offer| offer.name == name && offer.is_answered(channel);
    if !name.is_empty()
        && let Some(offer) = offers.iter().cloned().chain(others).find(meant)
    {
        return Some(offer.help);
    }
    let version = ctx.manifest.version.as_ref().map_or(String::new(), |version| format!(" {version}"));
    let mut text =
        format!("{}{version} (script API {}):\n{}", ctx.shared.name, manifest::API_VERSION, lines.join("\n"));
    let left = ALL_HELP_BYTES.saturating_sub(text.len());
    for (bot, lines) in ctx.shared.others_help(channel, left) {
        text += &format!("\n{bot}:\n{}", lines.join("\n"));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_args(args: &str) -> Command {
        let lua = Lua::new();
        let function = lua.create_function(|_, ()| Ok(())).unwrap();
        let (name, help) = ("post".to_owned(), String::new());
        Command { name, args: args.to_owned(), help, who: None, channels: Vec::new(), all: false, function }
    }

    #[test]
    fn the_last_argument_takes_the_rest() {
        let split = |args: &str, rest: &'static str| with_args(args).split(rest);
        assert_eq!(split("<topic> <text>", "news  two words"), Some(vec![Some("news"), Some("two words")]));
        assert_eq!(split("<n>", ""), None);
        assert_eq!(split("", "all of it"), Some(vec![Some("all of it")]));
        assert_eq!(split("", " "), Some(vec![]));
        assert_eq!(split("<topic> <text>", "news"), None);
    }

    #[test]
    fn an_argument_that_may_be_left_out_takes_no_word_of_one_that_must_be_there() {
        let split = |args: &str, rest: &'static str| with_args(args).split(rest);
        assert_eq!(split("[page]", ""), Some(vec![None]));
        assert_eq!(split("[page]", "2"), Some(vec![Some("2")]));
        let args = "<topic> [count] <text>";
        assert_eq!(split(args, "news hello"), Some(vec![Some("news"), None, Some("hello")]));
        assert_eq!(split(args, "news 2 hello you"), Some(vec![Some("news"), Some("2"), Some("hello you")]));
        assert_eq!(split(args, "news"), None);
        assert_eq!(split("[a] [b] <c>", "1 2"), Some(vec![Some("1"), None, Some("2")]));
    }
}
