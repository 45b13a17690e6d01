//! What only the bots themselves know: whether what the configuration says to them fits.

use std::path::PathBuf;

use crate::cli::failure::Failure;
use crate::config::{ConfigError, ConfigErrors, Loaded, Place};
use crate::script::{BotConfig, FoundBot, ScriptConfig, discover_bots, misfits, nearest, source_place_problem};

/// Checks the tables of bots: a name that no bot has is a warning, since the bot may come later; values that the bot refuses
/// are errors, and so are places that no source can have. Bots are looked for in the folders of the configuration and in those
/// that a running node uses.
pub(super) fn check(loaded: &mut Loaded, in_use: Vec<PathBuf>) -> Result<(), Failure> {
    let mut host = loaded.config.script_host();
    if !host.enabled {
        return Ok(());
    }
    let more = in_use.into_iter().filter(|dir| !host.dirs.contains(dir)).collect::<Vec<_>>();
    host.dirs.extend(more);
    let (found, mut errors) = (discover_bots(&host.dirs), Vec::new());
    for (name, config) in &host.bots {
        errors.extend(misplaced(loaded, name, config));
        match found.iter().find(|bot| bot.name == *name) {
            Some(bot) => errors.extend(check_one(loaded, &host, bot, config)),
            None => loaded.warnings.push(unknown(name, config, &found, &host)),
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(ConfigErrors(errors).into()) }
}

/// The sources with a place that can't be read. The place itself isn't told: it may hold a password.
fn misplaced(loaded: &Loaded, name: &str, config: &BotConfig) -> Vec<ConfigError> {
    let place = place(loaded, name, ["scripts.bots", "scripts.config"]);
    let error = |(source, at): (&String, &String)| {
        let message = format!("[scripts.bots.{name}.sources]: {source}: {}", source_place_problem(at)?);
        Some(ConfigError { place: place.clone(), message })
    };
    config.sources.iter().filter_map(error).collect()
}

/// Where the first of these tables of a bot stands.
fn place(loaded: &Loaded, bot: &str, tables: [&str; 2]) -> Place {
    let places = tables.map(|table| loaded.origins.get(&format!("{table}.{bot}")));
    places.into_iter().flatten().next().cloned().unwrap_or(Place::Default)
}

fn check_one(loaded: &Loaded, host: &ScriptConfig, bot: &FoundBot, config: &BotConfig) -> Vec<ConfigError> {
    let place = place(loaded, &bot.name, ["scripts.config", "scripts.bots"]);
    let error = |misfit: String| {
        let message = format!("[scripts.config.{}]: {misfit}", bot.name);
        ConfigError { place: place.clone(), message }
    };
    misfits(bot, config, &host.limits).into_iter().map(error).collect()
}

fn unknown(name: &str, config: &BotConfig, found: &[FoundBot], host: &ScriptConfig) -> String {
    let table = if config.config.is_empty() { "bots" } else { "config" };
    let near = nearest(name, found.iter().map(|bot| bot.name.as_str()));
    let near = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
    let dirs: Vec<String> = host.dirs.iter().map(|dir| dir.display().to_string()).collect();
    format!("[scripts.{table}.{name}]: there is no bot `{name}` in {}{near}", dirs.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FILE_NAME, Sources};

    fn checked(tables: &str) -> Result<Vec<String>, Failure> {
        checked_beside("scripts", tables)
    }

    /// The same with a running node that has the bot from that folder.
    fn checked_beside(folder: &str, tables: &str) -> Result<Vec<String>, Failure> {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join(folder);
        std::fs::create_dir(&dir).unwrap();
        let bot = "mesh.config { people = { 'anna' }, remind = '1d' }";
        std::fs::write(dir.join("plants.lua"), bot).unwrap();
        std::fs::write(home.path().join(FILE_NAME), tables).unwrap();
        let mut loaded = Sources { home: home.path().to_path_buf(), ..Sources::default() }.load().unwrap();
        check(&mut loaded, vec![dir]).map(|()| loaded.warnings)
    }

    #[test]
    fn settings_that_a_bot_refuses_are_errors_and_those_of_no_bot_are_told() {
        assert!(checked("[scripts.config.plants]\npeople = [\"Dora\"]").unwrap().is_empty());
        let told = checked("[scripts.config.plants]\npeople = \"Dora\"\nremnid = \"x\"").unwrap_err();
        assert_eq!(told.exit_code(), 78);
        let told = told.to_string();
        assert!(told.contains(&format!("{FILE_NAME}:1:1: [scripts.config.plants]: ")), "{told}");
        assert!(told.contains("sets 'people' to a string") && told.contains("did you mean 'remind'?"), "{told}");
        let [warning] = &checked("[scripts.bots.plans]\nenabled = true").unwrap()[..] else { panic!("one warning") };
        assert!(warning.starts_with("[scripts.bots.plans]: there is no bot `plans` in "), "{warning}");
        assert!(warning.ends_with("; did you mean `plants`?"), "{warning}");
        assert!(checked("[scripts]\nenabled = false\n[scripts.config.nosuch]\nx = 1").unwrap().is_empty());
    }

    #[test]
    fn bots_of_a_folder_that_only_the_running_node_knows_count_too() {
        assert!(checked_beside("mine", "[scripts.config.plants]\npeople = [\"Dora\"]").unwrap().is_empty());
        let told = checked_beside("mine", "[scripts.config.plants]\npeople = \"Dora\"").unwrap_err().to_string();
        assert!(told.contains("sets 'people' to a string"), "{told}");
        let [warning] = &checked_beside("mine", "[scripts.bots.plans]\nenabled = true").unwrap()[..] else { panic!() };
        assert!(warning.contains("/scripts, ") && warning.contains("/mine; did you mean"), "{warning}");
    }

    #[test]
    fn a_source_with_a_place_that_cannot_be_read_is_an_error_that_does_not_tell_the_place() {
        let places = |text: &str| checked(&format!("[scripts.bots.plants.sources]\n{text}"));
        assert!(places("w = \"/var/lib/w.txt\"\nx = \"https://host/x\"").unwrap().is_empty());
        for wrong in ["src/w.txt", "ftp://anna:SECRET@host/w", ""] {
            let told = places(&format!("w = \"{wrong}\"")).unwrap_err();
            assert_eq!(told.exit_code(), 78);
            let told = told.to_string();
            assert!(told.contains("[scripts.bots.plants.sources]: w: the place of a source is an absolute"), "{told}");
            assert!(!told.contains("SECRET"), "{told}");
        }
        assert!(checked("[scripts.bots.nosuch.sources]\nw = \"w.txt\"").is_err(), "of a bot that may come later, too");
    }
}
