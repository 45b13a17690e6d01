//! Whether what the admin's configuration says to a bot fits it: the bot is loaded with it, in its sandbox and on a node in
//! memory.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::{Map, Value as Json};

use super::double::MemoryNode;
use super::host::{StartVersion, thread};
use super::limits::ScriptLimits;
use super::manifest::Permissions;
use super::pulse::Pulse;
use super::shared::Shared;
use super::source::{Found, read};
use super::store::MemoryStore;
use super::watched::watched;
use super::{BotConfig, Source};

/// What doesn't fit, as the bot says it. Nothing where the bot doesn't load without these settings either.
pub(crate) fn misfits(bot: &Found, config: &BotConfig, limits: &ScriptLimits) -> Vec<String> {
    let Ok(source) = read(&bot.path, limits.source_bytes) else { return Vec::new() };
    let error = |settings: &Map<String, Json>| {
        let config = BotConfig { config: settings.clone(), ..config.clone() };
        load_error(bot, source.clone(), config, limits)
    };
    let (mut settings, mut found) = (config.config.clone(), Vec::new());
    while !settings.is_empty()
        && let Some(message) = error(&settings)
    {
        // One that is wrong is said first, and hides the others.
        let named = |key: &&String| message.contains(&format!("sets '{key}'"));
        let Some(key) = settings.keys().find(named).cloned() else {
            if error(&Map::new()).is_none() {
                found.push(message);
            }
            break;
        };
        settings.remove(&key);
        found.push(message);
    }
    found
}

/// Why a bot doesn't load with its configuration.
fn load_error(bot: &Found, source: Source, config: BotConfig, limits: &ScriptLimits) -> Option<String> {
    let permissions = Permissions::new(source.manifest.needs.clone());
    let start = StartVersion {
        shared: Arc::new(Shared::new(&bot.name, bot.path.clone(), limits)),
        generation: 0,
        node: Arc::new(MemoryNode::default()),
        kv: Arc::new(MemoryStore::default()),
        limits: limits.clone(),
        config,
        source,
        permissions,
        state: None,
        read_store: true,
        messages: channel().0, // nobody supervises
    };
    let life = Duration::from_secs(limits.handler_life_secs * 2 + 10);
    let loaded = watched("bot-settings", life, move |pulse| load(start, pulse));
    loaded.unwrap_or_else(|lost| Some(super::failure::Failure::from(&lost).message))
}

fn load(start: StartVersion, pulse: &Arc<Pulse>) -> Option<String> {
    pulse.attach();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().ok()?;
    runtime.block_on(thread::load(start, pulse)).err().map(|failure| failure.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_that_does_not_fit_is_named_and_a_bot_that_fails_by_itself_is_no_matter_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("plants.lua");
        let misfits_of = |text: &str, settings: Json| {
            std::fs::write(&path, text).unwrap();
            let bot = Found::at(&path);
            let config = BotConfig { config: settings.as_object().cloned().unwrap(), ..BotConfig::default() };
            misfits(&bot, &config, &ScriptLimits::default())
        };
        let text = "local cfg = mesh.config { people = {}, remind = '1d' }\n\
                    if cfg.remind == 'never' then error('remind must be a time') end";
        assert!(misfits_of(text, serde_json::json!({ "people": ["Dora"], "remind": "2d" })).is_empty());
        let found = misfits_of(text, serde_json::json!({ "people": "Dora", "remnid": "x" }));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("sets 'people' to a string; it must be a"), "{found:?}");
        assert!(found[1].contains("did you mean 'remind'?"), "{found:?}");
        assert_eq!(misfits_of(text, serde_json::json!({ "remind": "never" })), ["remind must be a time"]);
        assert!(misfits_of("mesh.config {} error('oops')", serde_json::json!({})).is_empty());
        assert!(misfits_of("local = 1", serde_json::json!({ "x": 1 })).is_empty());
    }
}
