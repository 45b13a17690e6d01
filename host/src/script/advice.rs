//! What loads, but is probably not meant so: `qpq script check` warns of it.

use super::api::{EVENTS, calls};
use super::limits::ScriptLimits;
use super::manifest::Manifest;
use super::once::{Diagnostic, Severity};
use super::source::Source;

/// Advice on a bot; `silent` are its commands without help.
pub(super) fn on(source: &Source, silent: &[String]) -> Vec<Diagnostic> {
    let mut advice: Vec<Diagnostic> = silent.iter().map(|command| without_help(source, command)).collect();
    let manifest = format!("{}/bot.toml", source.main.split_once('/').map_or("", |(folder, _)| folder));
    // What comes without a manifest has none to mend.
    if source.manifest != Manifest::single_file() {
        let warn = |(message, help): (String, &str)| warning(&manifest, None, message, help);
        advice.extend(unused_needs(source).chain(unused_config(source)).chain(raised_limits(source)).map(warn));
    }
    advice
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
    use super::super::{Severity, check};

    fn checked(toml: &str, lua: &str) -> Vec<(Severity, String, Option<usize>, String)> {
        let dir = tempfile::tempdir().unwrap();
        let bot = dir.path().join("bot");
        std::fs::create_dir(&bot).unwrap();
        std::fs::write(bot.join("bot.toml"), toml).unwrap();
        std::fs::write(bot.join("init.lua"), lua).unwrap();
        check(&bot).into_iter().map(|found| (found.severity, found.file, found.line, found.message)).collect()
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
