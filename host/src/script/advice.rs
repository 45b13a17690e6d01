//! What loads, but is probably not meant so: `qpq script check` warns of it.

use super::api::{Call, EVENTS, Named, calls, named};
use super::limits::ScriptLimits;
use super::manifest::{Manifest, Permissions};
use super::once::{Diagnostic, Severity};
use super::source::Source;

mod mentions;

use mentions::{Mention, mentions};

/// Advice on a bot; `silent` are its commands without help.
pub(super) fn on(source: &Source, silent: &[String]) -> Vec<Diagnostic> {
    let mut advice: Vec<Diagnostic> = silent.iter().map(|command| without_help(source, command)).collect();
    let manifest = format!("{}/bot.toml", source.main.split_once('/').map_or("", |(folder, _)| folder));
    // What comes without a manifest has none to mend.
    if source.manifest != Manifest::single_file() {
        let warn = |(message, help): (String, &str)| warning(&manifest, None, message, help);
        advice.extend(unused_needs(source).chain(unused_config(source)).chain(raised_limits(source)).map(warn));
    }
    advice.extend(source.files.iter().flat_map(|(file, text)| on_mentions(source, file, text)));
    advice
}

/// What is misspelt in a file, and what its calls want and the bot doesn't ask for: in a handler that shows only when it runs.
fn on_mentions(source: &Source, file: &str, text: &str) -> Vec<Diagnostic> {
    // Not every bot uses all of the library.
    let own = !file.starts_with("lib/");
    let mut asked = Vec::new();
    let advise = |mention: Mention<'_>| match meant(&mention) {
        Named::Unknown(told) => {
            Some(warning(file, Some(mention.line), told, "mend the name; one that is only asked for may stay"))
        }
        Named::Call(call) if own && !asked.contains(&call.name) => {
            let need = wanted(source, call)?;
            asked.push(call.name);
            Some(without_need(source, file, mention.line, call, need))
        }
        Named::Call(_) | Named::Other => None,
    };
    mentions(text).into_iter().filter_map(advise).collect()
}

fn meant(mention: &Mention<'_>) -> Named {
    match (mention.root, mention.words.as_slice()) {
        ("mesh", words) => named(words),
        // What else is called `msg` has methods of its own.
        (_, [method]) => {
            calls().find(|call| call.name.strip_prefix("msg:") == Some(method)).map_or(Named::Other, Named::Call)
        }
        _ => Named::Other,
    }
}

/// The permission that a call wants, if the bot asks for none that may do. A permission for one channel or source may.
fn wanted(source: &Source, call: &Call) -> Option<&'static str> {
    let has = Permissions::new(source.manifest.needs.clone());
    let names = |need: &str| has.needs().iter().any(|has| has.split(':').next() == Some(need));
    // `relay:trust, or relay`; what may be wanted besides stands behind a semicolon.
    let asks = call.asks.split(';').next().unwrap_or_default();
    let mut ways =
        call.needs.into_iter().chain(asks.split(", or ").filter(|way| !way.is_empty() && !way.contains(' ')));
    let may_do = |way: &str| match way.split_once(':') {
        Some((need, part)) if part.chars().all(char::is_lowercase) => has.allows(need, Some(part)),
        Some((need, _)) => names(need),
        None => names(way) && (way != "relay" || has.allows(way, None)),
    };
    let first = ways.next()?;
    (!may_do(first) && !ways.any(may_do)).then_some(first)
}

fn without_need(source: &Source, file: &str, line: usize, call: &Call, need: &str) -> Diagnostic {
    let needs: Vec<String> =
        source.manifest.needs.iter().map(String::as_str).chain([need]).map(|need| format!("\"{need}\"")).collect();
    let list = format!("needs = [{}]", needs.join(", "));
    let help = match source.main.split_once('/') {
        Some(_) => format!("write in bot.toml: {list}"),
        None => format!("make the bot a folder with init.lua and a bot.toml that says: {list}"),
    };
    let message = format!("{} wants the permission \"{need}\", which the bot doesn't ask for", call.name);
    warning(file, Some(line), message, &help)
}

fn warning(file: &str, line: Option<usize>, message: String, help: &str) -> Diagnostic {
    let file = file.to_owned();
    Diagnostic { severity: Severity::Warning, file, line, column: None, message, help: help.to_owned() }
}

fn without_help(source: &Source, command: &str) -> Diagnostic {
    let quoted = [format!("\"{command}\""), format!("'{command}'")];
    let place = source.files.iter().find_map(|(file, text)| {
        let found = text.lines().position(|line| {
            line.contains("command") && quoted.iter().any(|name| line.to_lowercase().contains(name.as_str()))
        });
        found.map(|line| (file.as_str(), line + 1))
    });
    let (file, line) = place.map_or((source.main.as_str(), None), |(file, line)| (file, Some(line)));
    let help = "add help = \"…\" to its options: !help shows that line";
    warning(file, line, format!("the command !{command} has no help"), help)
}

fn anywhere(source: &Source, text: &str) -> bool {
    source.files.values().any(|file| file.contains(text))
}

/// Permissions that nothing in the files needs, as far as names tell.
fn unused_needs(source: &Source) -> impl Iterator<Item = (String, &'static str)> + '_ {
    source.manifest.needs.iter().filter(|need| !is_used(source, need)).map(|need| {
        let help = "leave it out of needs: a bot should ask for no more than it uses";
        (format!("it asks for \"{need}\", and nothing in its files uses that"), help)
    })
}

fn is_used(source: &Source, need: &str) -> bool {
    let name = need.split(':').next().unwrap_or(need);
    let asks = |words: &str| words.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == name);
    let by_call = calls().filter(|call| call.needs == Some(name) || asks(call.asks)).any(|call| {
        // `local posts = mesh.store` is the usual way, so the table's name is enough.
        let (place, function) = call.name.rsplit_once(['.', ':']).unwrap_or(("", call.name));
        let text = if place.starts_with("mesh.") { place.to_owned() } else { function.to_owned() };
        anywhere(source, &text)
    });
    let by_event = EVENTS.iter().filter(|event| event.needs == name).any(|event| anywhere(source, event.name));
    by_call || by_event
}

/// Keys of `[config]` that no file names.
fn unused_config(source: &Source) -> impl Iterator<Item = (String, &'static str)> + '_ {
    source.manifest.config.keys().filter(|key| !anywhere(source, key)).map(|key| {
        let message = format!("[config] has \"{key}\", and nothing in its files names that");
        (message, "use it, as in mesh.config({}).NAME, or leave it out")
    })
}

/// Limits that a manifest would raise: it can only lower them.
fn raised_limits(source: &Source) -> impl Iterator<Item = (String, &'static str)> + '_ {
    let figures = |value: serde_json::Result<serde_json::Value>| match value {
        Ok(serde_json::Value::Object(figures)) => figures,
        _ => serde_json::Map::new(),
    };
    let common = figures(serde_json::to_value(ScriptLimits::default()));
    let asked = figures(serde_json::to_value(&source.manifest.limits));
    asked.into_iter().filter_map(move |(name, asked)| {
        let (asked, common) = (asked.as_u64()?, common.get(&name)?.as_u64()?);
        let message = format!("[limits] {name} = {asked} has no effect: it is {common} already");
        (asked > common)
            .then_some((message, "a manifest can only lower a limit; the admin can raise it in [scripts.bots.NAME]"))
    })
}

#[cfg(test)]
mod tests {
    use super::super::source::Found;
    use super::super::{Severity, check};

    fn checked(toml: &str, lua: &str) -> Vec<(Severity, String, Option<usize>, String)> {
        let dir = tempfile::tempdir().unwrap();
        let bot = dir.path().join("bot");
        std::fs::create_dir(&bot).unwrap();
        std::fs::write(bot.join("bot.toml"), toml).unwrap();
        std::fs::write(bot.join("init.lua"), lua).unwrap();
        check(&Found::at(&bot))
            .into_iter()
            .map(|found| (found.severity, found.file, found.line, found.message))
            .collect()
    }

    #[test]
    fn what_is_asked_for_and_not_used_is_named() {
        let toml = "needs = [\"direct\", \"reply\", \"send\", \"broadcast:news\", \"peers\"]\n\
                    [config]\ngreeting = \"x\"\nunused_key = 1\n[limits]\ntimers = 99\nhandlers = 2\n";
        let lua = "local cfg = mesh.config {}\nmesh.command(\"hi\", { help = \"hi\" }, function() return cfg.greeting end)\n\
                   mesh.on(\"peer_up\", function() end)";
        let found = checked(toml, lua);
        let messages: Vec<&str> = found.iter().map(|(.., message)| message.as_str()).collect();
        assert!(found.iter().all(|(severity, file, ..)| *severity == Severity::Warning && file == "bot/bot.toml"));
        assert_eq!(messages.len(), 4, "{messages:?}");
        for (message, part) in messages.iter().zip(["\"send\"", "\"broadcast:news\"", "\"unused_key\"", "timers = 99"])
        {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn a_call_in_a_handler_that_lacks_its_permission_is_named_with_its_line() {
        let toml = "needs = [\"direct\", \"reply\", \"broadcast:news\", \"relay:trust\"]";
        let lua = "mesh.on_envelope(function(msg)\n  -- mesh.routes()\n  local all = mesh.peers()\n  msg:reply('x')\n\
                   mesh.broadcast('news', 'x')\n mesh.relay.block('x')\n mesh.relay.store()\n mesh.peers() end)";
        let found = checked(toml, lua);
        assert_eq!(found.len(), 2, "{found:?}");
        let [(severity, file, line, message), (.., store_line, store)] = &found[..] else { panic!("{found:?}") };
        assert_eq!((*severity, file.as_str(), *line), (Severity::Warning, "bot/init.lua", Some(3)));
        assert!(message.starts_with("mesh.peers wants the permission \"peers\""), "{message}");
        assert!(*store_line == Some(7) && store.contains("\"relay:store\""), "{store}");
        let found = checked("needs = [\"direct\"]", "mesh.on_envelope(function(msg) msg:reply('x') end)");
        assert!(found.len() == 1 && found[0].3.starts_with("msg:reply wants"), "{found:?}");
        // What fails at load is told once.
        let found = checked("", "\nmesh.peers()");
        assert!(found.len() == 1 && found[0].0 == Severity::Error, "{found:?}");
    }

    #[test]
    fn a_misspelt_name_of_mesh_is_named_with_its_line_and_the_right_one() {
        let lua = "mesh.on_envelope(function(msg)\n  if msg.text == 'x' then mesh.lgo.info('x') end\nend)";
        let found = checked("needs = [\"direct\"]", lua);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].0, found[0].2), (Severity::Warning, Some(2)));
        assert_eq!(found[0].3, "there is no mesh.lgo; did you mean mesh.log?");
    }

    #[test]
    fn a_test_is_checked_with_the_bot_that_it_belongs_to() {
        let dir = tempfile::tempdir().unwrap();
        let (bot, test) = (dir.path().join("hello.lua"), dir.path().join("hello_test.lua"));
        std::fs::write(&bot, "mesh.command('hi', function() end)").unwrap();
        std::fs::write(&test, "return { ['it says hi'] = function(t) end }").unwrap();
        let found = check(&Found::at(&test));
        assert!(found.len() == 1 && found[0].message.contains("!hi"), "{found:?}");
        std::fs::write(&test, "return {\n  local\n}").unwrap();
        let found = check(&Found::at(&test));
        assert!(found.len() == 1 && found[0].file == "hello_test.lua" && found[0].line == Some(2), "{found:?}");
        std::fs::remove_file(&bot).unwrap();
        std::fs::write(&test, "return {}").unwrap();
        assert!(check(&Found::at(&test)).is_empty(), "one of the library");
    }

    #[test]
    fn a_command_without_help_is_named_with_its_line() {
        let lua = "\nmesh.command('Loud', { help = 'x' }, function() end)\nmesh.command('silent', function() end)";
        let found = checked("needs = [\"direct\", \"reply\"]", lua);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].1.as_str(), found[0].2), ("bot/init.lua", Some(3)));
        assert!(found[0].3.contains("!silent"));
    }

    #[test]
    fn a_misspelt_key_of_the_manifest_is_an_error_with_its_line_and_the_right_name() {
        let found = checked("version = \"1\"\nneds = []\n", "");
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].0, found[0].2), (Severity::Error, Some(2)));
        assert!(found[0].3.contains("did you mean `needs`?"), "{found:?}");
        let found = checked("[limits]\ntimer = 1\n", "");
        assert!(found[0].3.contains("did you mean `timers`?"), "{found:?}");
    }
}
