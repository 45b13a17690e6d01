//! The configuration in the form that the host's parts want it.

use std::collections::BTreeSet;

use qpq_schemas::PeerId;
use qpq_schemas::channel::ChannelKey;
use serde_json::Value;

use super::Config;
use crate::core::emergency::EmergencyPolicy;
use crate::core::quota::Limit;
use crate::core::shelf::StoreLimits;
use crate::script::{BotConfig, ScriptConfig, ScriptLimits};
use crate::store;

impl Config {
    /// The quotas of the shelf.
    pub fn store_limits(&self) -> StoreLimits {
        let store = &self.store;
        StoreLimits {
            recipient_messages: store.recipient_messages,
            recipient_bytes: store.recipient_bytes,
            sender_share_percent: store.sender_share_percent,
            sender_messages: store.sender_messages,
            sender_bytes: store.sender_bytes,
            total_messages: store.total_messages,
            total_bytes: store.total_bytes,
            topic_messages: store.topic_messages,
            topic_bytes: store.topic_bytes,
            topic_age_secs: store.topic_age_secs,
            inbox_messages: store.inbox_messages,
            inbox_bytes: store.inbox_bytes,
            seen_ids: store.seen_ids,
        }
    }

    /// What one neighbour may bring in.
    pub fn link_limit(&self) -> Limit {
        Limit {
            messages_per_minute: self.store.link_messages_per_minute,
            bytes_per_minute: self.store.link_bytes_per_minute,
        }
    }

    /// Whose notices go before everything else; nobody's when no admins are named.
    pub fn emergency_policy(&self) -> Option<EmergencyPolicy> {
        let emergency = &self.emergency;
        let admins: BTreeSet<PeerId> = emergency.admins.iter().filter_map(|key| key.parse().ok()).collect();
        let channel = ChannelKey::open(&emergency.channel).ok()?;
        (!admins.is_empty()).then_some(EmergencyPolicy { admins, quorum: emergency.quorum, channel })
    }

    /// The settings of the database.
    pub fn store_engine(&self) -> store::StoreConfig {
        let store = &self.store;
        store::StoreConfig {
            cache_bytes: store.cache_bytes,
            memtable_bytes: store.memtable_bytes,
            gather_us: store.gather_us,
            reserve_bytes: store.reserve_bytes,
            index: store.index,
            ..store::StoreConfig::default()
        }
    }

    /// The settings of the script host, for each bot too.
    pub fn script_host(&self) -> ScriptConfig {
        let names = self.bot_tables.names().chain(self.script_tables.names());
        let bots = names.map(|name| (name.to_owned(), self.bot_config(name))).collect();
        ScriptConfig {
            enabled: self.scripts.enabled,
            dirs: self.script_dirs(),
            watch: self.scripts.watch,
            limits: self.script_limits(),
            babel: self.scripts.babel.clone(),
            batctl: self.scripts.batctl.clone(),
            isolation: self.scripts.isolation,
            bots,
            ..ScriptConfig::default()
        }
    }

    fn bot_config(&self, name: &str) -> BotConfig {
        let mut bot = bot(&self.bot_tables.json(name)).unwrap_or_default();
        if let Value::Object(config) = self.script_config(name) {
            bot.config.extend(config);
        }
        bot
    }

    /// What each bot may use.
    pub fn script_limits(&self) -> ScriptLimits {
        let limits = &self.script_limits;
        ScriptLimits {
            cpu_per_event_ms: limits.cpu_per_event_ms,
            cpu_at_load_ms: limits.cpu_at_load_ms,
            cpu_percent: limits.cpu_percent,
            memory_bytes: limits.memory_bytes,
            handlers: limits.handlers,
            handler_life_secs: limits.handler_life_secs,
            questions: limits.questions,
            coroutines: limits.coroutines,
            timers: limits.timers,
            channels: limits.channels,
            messages_per_minute: limits.messages_per_minute,
            broadcasts_per_minute: limits.broadcasts_per_minute,
            bytes_per_hour: limits.bytes_per_hour,
            store_bytes: limits.store_bytes,
            store_bytes_per_minute: limits.store_bytes_per_minute,
            store_keys: limits.store_keys,
            store_value_bytes: limits.store_value_bytes,
            board_posts: limits.board_posts,
            log_lines_per_second: limits.log_lines_per_second,
            source_bytes: limits.source_bytes,
        }
    }
}

/// `[scripts.bots.NAME]`
pub(super) fn bot(table: &Value) -> Result<BotConfig, String> {
    let bot: BotConfig = serde_json::from_value(table.clone()).map_err(|error| error.to_string())?;
    bot.limits.check().map_err(|error| error.to_string())?;
    Ok(bot)
}
