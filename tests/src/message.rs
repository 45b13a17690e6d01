//! A message as `qpq mesh inbox --json` shows it.

use serde_json::Value;

/// One line of the inbox, as far as the tests look at it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Place in the inbox.
    pub seq: u64,
    /// The message's id, 64 hex digits.
    pub id: String,
    /// Who signed it, 64 hex digits.
    pub from: String,
    /// The channel, for a broadcast.
    pub topic: Option<String>,
    /// The text.
    pub text: String,
    /// Whether the payload travelled closed to relays.
    pub sealed: bool,
    /// Whether this node sent it itself.
    pub own: bool,
    /// Links crossed.
    pub hops: u64,
}

impl Message {
    /// Reads one entry. Missing fields are left empty: the assertions of the tests will find them.
    pub fn from_json(value: &Value) -> Self {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let number = |key: &str| value.get(key).and_then(Value::as_u64).unwrap_or_default();
        let flag = |key: &str| value.get(key).and_then(Value::as_bool).unwrap_or_default();
        Self {
            seq: number("seq"),
            id: text("id").unwrap_or_default(),
            from: text("from").unwrap_or_default(),
            topic: text("topic"),
            text: text("text").or_else(|| text("payload")).unwrap_or_else(|| bytes_as_text(value)),
            sealed: flag("sealed"),
            own: flag("own"),
            hops: number("hops"),
        }
    }
}

/// The payload, where it is a list of bytes.
fn bytes_as_text(value: &Value) -> String {
    let bytes = value.get("payload").and_then(Value::as_array);
    let bytes: Vec<u8> = bytes.into_iter().flatten().filter_map(|byte| byte.as_u64().map(|byte| byte as u8)).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
