//! What the admin set. The node has checked it against `config.schema.json` before.

use std::time::Duration;

use qpq_plugin_api::Error;
use serde_json::Value;

pub(crate) struct Config {
    pub(crate) dial_timeout: Duration,
    pub(crate) max_links: usize,
}

impl Config {
    pub(crate) fn from_json(config: &Value) -> Result<Self, Error> {
        let keys = config.as_object().ok_or_else(|| Error::invalid("the configuration must be a table"))?;
        let number = |key: &str, default: u64| match keys.get(key) {
            None => Ok(default),
            Some(value) => value.as_u64().ok_or_else(|| Error::invalid(format!("`{key}` must be a number"))),
        };
        Ok(Self {
            dial_timeout: Duration::from_millis(number("dial_timeout_ms", 5_000)?),
            max_links: number("max_links", 256)? as usize,
        })
    }
}
