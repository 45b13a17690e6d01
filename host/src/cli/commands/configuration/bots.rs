//! What only the bots themselves know: whether what the configuration says to them fits.

use crate::cli::failure::Failure;
use crate::config::{ConfigError, ConfigErrors, Loaded, Place};
use crate::script::{BotConfig, FoundBot, ScriptConfig, discover_bots, misfits, nearest};

/// Checks the tables of bots: a name that no bot has is a warning, since the bot may come later; values that the bot refuses
/// are errors.
pub(super) fn check(loaded: &mut Loaded) -> Result<(), Failure> {
    let host = loaded.config.script_host();
    if !host.enabled {
        return Ok(());
    }
    let (found, mut errors) = (discover_bots(&host.dirs), Vec::new());
    for (name, config) in &host.bots {
        match found.iter().find(|bot| bot.name == *name) {
            Some(bot) => errors.extend(check_one(loaded, &host, bot, config)),
            None => loaded.warnings.push(unknown(name, config, &found, &host)),
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(ConfigErrors(errors).into()) }
}

fn check_one(loaded: &Loaded, host: &ScriptConfig, bot: &FoundBot, config: &BotConfig) -> Vec<ConfigError> {
    let places = ["scripts.config", "scripts.bots"].map(|table| loaded.origins.get(&format!("{table}.{}", bot.name)));
    let place = places.into_iter().flatten().next().cloned().unwrap_or(Place::Default);
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
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("scripts")).unwrap();
        let bot = "mesh.config { people = { 'anna' }, remind = '1d' }";
        std::fs::write(home.path().join("scripts/plants.lua"), bot).unwrap();
        std::fs::write(home.path().join(FILE_NAME), tables).unwrap();
        let mut loaded = Sources { home: home.path().to_path_buf(), ..Sources::default() }.load().unwrap();
        check(&mut loaded).map(|()| loaded.warnings)
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
}
