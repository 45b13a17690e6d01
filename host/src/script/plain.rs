//! Plain data: what a script may store, carry over a reload or write as JSON. No functions, no handles.
//!
//! Encoded as one tag byte and a body: nil, false and true have none; a number is 8 bytes, little-endian; a text is
//! its length in 4 bytes and the bytes; a table is its number of pairs in 4 bytes, and keys and values in turn.

use std::time::{Duration, Instant};

use mlua::{Lua, Table, Value};

use super::budget::thread_cpu;
use super::limits::DATA_DEPTH;

/// How long a copy may compute, on a machine that does nothing else; twice as long where others want it, too.
const COPY_TIME: Duration = Duration::from_millis(40);

/// What the metatable of a list says of it, as dkjson and others write it too, and the name under which a machine keeps its own.
const LIST_MARK: (&str, &str) = ("__jsontype", "array");
/// What a value without a body counts for, in bytes; one that isn't there in a marked list, too, since JSON has a null for it.
const BARE_BYTES: usize = 5;

/// A value without behaviour.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Plain {
    Nil,
    Bool(bool),
    Number(f64),
    Text(Vec<u8>),
    /// A table that is marked as a list: in JSON it is one even when it is empty. Nothing but JSON knows the mark.
    List(Vec<Plain>),
    Table(Vec<(Plain, Plain)>),
}

impl Plain {
    /// Copies a script's value, refusing what isn't plain, deeper than [`DATA_DEPTH`] or larger than `max_bytes`.
    pub(crate) fn from_lua(value: &Value, max_bytes: usize) -> Result<Self, String> {
        let mut room = Room::new(max_bytes);
        copy(value, DATA_DEPTH, &mut room).map_err(|e| if e.is_empty() { Self::too_large(max_bytes) } else { e })
    }

    /// Why a value is refused that takes more bytes.
    pub(crate) fn too_large(max_bytes: usize) -> String {
        format!("larger than {max_bytes} bytes")
    }

    /// Makes the value anew in a machine.
    pub(crate) fn to_lua(&self, lua: &Lua) -> mlua::Result<Value> {
        Ok(match self {
            Self::Nil => Value::Nil,
            Self::Bool(value) => Value::Boolean(*value),
            Self::Number(value) => Value::Number(*value),
            Self::Text(bytes) => Value::String(lua.create_string(bytes)?),
            Self::List(items) => {
                let table = lua.create_table_with_capacity(items.len(), 0)?;
                for (place, item) in (1..).zip(items) {
                    table.raw_set(place, item.to_lua(lua)?)?;
                }
                mark_list(lua, &table)?;
                Value::Table(table)
            }
            Self::Table(pairs) => {
                let table = lua.create_table_with_capacity(0, pairs.len())?;
                for (key, value) in pairs {
                    table.raw_set(key.to_lua(lua)?, value.to_lua(lua)?)?;
                }
                Value::Table(table)
            }
        })
    }

    /// The encoded form.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        let length = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
        match self {
            Self::Nil => out.push(0),
            Self::Bool(false) => out.push(1),
            Self::Bool(true) => out.push(2),
            Self::Number(value) => {
                out.push(3);
                out.extend(value.to_le_bytes());
            }
            Self::Text(bytes) => {
                out.push(4);
                out.extend(length(bytes.len()));
                out.extend(bytes);
            }
            Self::List(items) => {
                let filled = || items.iter().enumerate().filter(|(_, item)| **item != Self::Nil);
                out.push(5);
                out.extend(length(filled().count()));
                for (place, item) in filled() {
                    Self::Number((place + 1) as f64).write(out);
                    item.write(out);
                }
            }
            Self::Table(pairs) => {
                out.push(5);
                out.extend(length(pairs.len()));
                for (key, value) in pairs {
                    key.write(out);
                    value.write(out);
                }
            }
        }
    }

    /// Reads the encoded form; `None` when it is damaged.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let value = read(&mut bytes, DATA_DEPTH)?;
        bytes.is_empty().then_some(value)
    }

    /// As JSON; refuses texts that aren't UTF-8 and keys that JSON doesn't have. A table with the keys 1 … n is a list, also with
    /// holes in it, as long as they are no more than its values.
    pub(crate) fn to_json(&self) -> Result<serde_json::Value, String> {
        use serde_json::Value as Json;
        Ok(match self {
            Self::Nil => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Number(n) if n.fract() == 0.0 && n.abs() < 9e15 => Json::from(*n as i64),
            Self::Number(n) => {
                serde_json::Number::from_f64(*n).map(Json::Number).ok_or("a number that is no number")?
            }
            Self::Text(bytes) => Json::String(utf8(bytes)?),
            Self::List(items) => Json::Array(items.iter().map(Self::to_json).collect::<Result<_, _>>()?),
            Self::Table(pairs) => match sequence(pairs) {
                Some(items) => Json::Array(items.into_iter().map(Self::to_json).collect::<Result<_, _>>()?),
                None => {
                    let entry = |(key, value): &(Self, Self)| Ok((json_key(key)?, value.to_json()?));
                    Json::Object(pairs.iter().map(entry).collect::<Result<_, String>>()?)
                }
            },
        })
    }

    /// From JSON. A null in an object or a list is nil, as Lua has it.
    pub(crate) fn from_json(json: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match json {
            Json::Null => Self::Nil,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(n) => Self::Number(n.as_f64().unwrap_or(0.0)),
            Json::String(text) => Self::Text(text.clone().into_bytes()),
            Json::Array(items) => Self::List(items.iter().map(Self::from_json).collect()),
            Json::Object(map) => {
                let pair =
                    |(key, value): (&String, &Json)| (Self::Text(key.clone().into_bytes()), Self::from_json(value));
                Self::Table(map.iter().map(pair).filter(|(_, v)| *v != Self::Nil).collect())
            }
        }
    }
}

/// Marks a table of a script as a list.
pub(crate) fn mark_list(lua: &Lua, table: &Table) -> mlua::Result<()> {
    let (key, value) = LIST_MARK;
    let meta = match lua.named_registry_value::<Option<Table>>(key)? {
        Some(meta) => meta,
        None => {
            let meta = lua.create_table()?;
            meta.raw_set(key, value)?;
            meta.set_readonly(true);
            lua.set_named_registry_value(key, &meta)?;
            meta
        }
    };
    table.set_metatable(Some(meta))
}

/// Whether a table is marked as a list.
pub(crate) fn is_list(table: &Table) -> bool {
    let (key, value) = LIST_MARK;
    let mark = table.metatable().and_then(|meta| meta.raw_get::<Value>(key).ok());
    mark.is_some_and(|mark| mark.as_string().is_some_and(|mark| *mark.as_bytes() == *value.as_bytes()))
}

/// The values of a table that is a list without being marked, in order.
fn sequence(pairs: &[(Plain, Plain)]) -> Option<Vec<&Plain>> {
    let last = last_place(pairs)?;
    let has_first = pairs.iter().any(|(key, _)| place(key) == Some(1));
    (has_first && last <= 2 * pairs.len()).then(|| placed(pairs, last))
}

fn place(key: &Plain) -> Option<usize> {
    match key {
        Plain::Number(n) if n.fract() == 0.0 && *n >= 1.0 => Some(*n as usize),
        _ => None,
    }
}

/// The largest key of a table that has places alone as keys; 0 of one that has none.
fn last_place(pairs: &[(Plain, Plain)]) -> Option<usize> {
    pairs.iter().try_fold(0, |last, (key, _)| Some(last.max(place(key)?)))
}

/// The values of a table in order of their places, with nil where there are none.
fn placed(pairs: &[(Plain, Plain)], last: usize) -> Vec<&Plain> {
    let mut items = vec![&Plain::Nil; last];
    for (key, value) in pairs {
        if let Some(item) = place(key).and_then(|place| items.get_mut(place - 1)) {
            *item = value;
        }
    }
    items
}

fn json_key(key: &Plain) -> Result<String, String> {
    match key {
        Plain::Text(bytes) => utf8(bytes),
        Plain::Number(n) => Ok(n.to_string()),
        _ => Err("a table with keys that JSON doesn't have".to_owned()),
    }
}

fn utf8(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "a text that isn't UTF-8; use mesh.base64 for bytes".to_owned())
}

/// What a copy may take.
struct Room {
    /// In bytes.
    left: usize,
    /// Until when nobody looks at what it has computed.
    looked_at: Instant,
    /// CPU time of the thread when somebody looked first.
    since: Option<Duration>,
}

impl Room {
    fn new(bytes: usize) -> Self {
        Self { left: bytes, looked_at: Instant::now() + COPY_TIME, since: None }
    }

    fn take(&mut self, bytes: usize) -> Result<(), String> {
        self.left = self.left.checked_sub(bytes).ok_or_else(String::new)?;
        Ok(())
    }

    /// Whether it has computed for too long. Bytes alone don't say: to walk a table takes the longer the more it once held, and
    /// one table may stand in many places.
    fn is_late(&mut self) -> bool {
        if Instant::now() < self.looked_at {
            return false;
        }
        let cpu = thread_cpu();
        let since = *self.since.get_or_insert(cpu);
        cpu.saturating_sub(since) >= COPY_TIME
    }
}

/// An empty error says that the size is used up.
fn copy(value: &Value, depth: usize, room: &mut Room) -> Result<Plain, String> {
    let size = match value {
        Value::String(text) => BARE_BYTES + text.as_bytes().len(),
        Value::Integer(_) | Value::Number(_) => 9,
        _ => BARE_BYTES,
    };
    room.take(size)?;
    Ok(match value {
        Value::Nil => Plain::Nil,
        Value::LightUserData(pointer) if pointer.0.is_null() => Plain::Nil,
        Value::Boolean(value) => Plain::Bool(*value),
        Value::Integer(n) => Plain::Number(*n as f64),
        Value::Number(n) => Plain::Number(*n),
        Value::String(text) => Plain::Text(text.as_bytes().to_vec()),
        Value::Table(_) if depth == 0 => return Err(format!("nested deeper than {DATA_DEPTH} tables, or in a circle")),
        Value::Table(_) if room.is_late() => {
            return Err("takes too long to copy: its tables are far larger than what they hold".to_owned());
        }
        Value::Table(table) => {
            let mut pairs = Vec::new();
            for pair in table.pairs::<Value, Value>() {
                let (key, value) = pair.map_err(|e| e.to_string())?;
                if key.is_light_userdata() {
                    return Err("holds mesh.json.null as a key".to_owned());
                }
                pairs.push((copy(&key, depth - 1, room)?, copy(&value, depth - 1, room)?));
            }
            match last_place(&pairs).filter(|_| is_list(table)) {
                Some(last) => {
                    room.take(BARE_BYTES.saturating_mul(last - pairs.len()))?;
                    let mut items = vec![Plain::Nil; last];
                    for (key, value) in pairs {
                        if let Some(item) = place(&key).and_then(|place| items.get_mut(place - 1)) {
                            *item = value;
                        }
                    }
                    Plain::List(items)
                }
                None => Plain::Table(pairs),
            }
        }
        other => return Err(format!("holds a {}, which is no plain data", other.type_name())),
    })
}

fn take<'a>(bytes: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(n)?;
    *bytes = rest;
    Some(head)
}

fn length(bytes: &mut &[u8]) -> Option<usize> {
    Some(u32::from_le_bytes(take(bytes, 4)?.try_into().ok()?) as usize)
}

fn read(bytes: &mut &[u8], depth: usize) -> Option<Plain> {
    Some(match take(bytes, 1)? {
        [0] => Plain::Nil,
        [1] => Plain::Bool(false),
        [2] => Plain::Bool(true),
        [3] => Plain::Number(f64::from_le_bytes(take(bytes, 8)?.try_into().ok()?)),
        [4] => {
            let n = length(bytes)?;
            Plain::Text(take(bytes, n)?.to_vec())
        }
        [5] => {
            let depth = depth.checked_sub(1)?;
            let n = length(bytes)?;
            // Each pair takes two bytes at least, so a length that lies allocates nothing.
            let mut pairs = Vec::with_capacity(n.min(bytes.len() / 2));
            for _ in 0..n {
                pairs.push((read(bytes, depth)?, read(bytes, depth)?));
            }
            Plain::Table(pairs)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain() -> impl Strategy<Value = Plain> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Plain::Bool),
            (-1e9..1e9f64).prop_map(Plain::Number),
            proptest::collection::vec(any::<u8>(), 0..20).prop_map(Plain::Text),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            proptest::collection::vec((inner.clone(), inner), 0..5).prop_map(Plain::Table)
        })
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(value in plain()) {
            prop_assert_eq!(Plain::decode(&value.encode()), Some(value));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(0u8..8, 0..200)) {
            let _ = Plain::decode(&bytes);
        }
    }

    #[test]
    fn lists_and_objects_become_json_and_come_back() {
        let json = serde_json::json!({"a": [1, 2.5, "x"], "b": {"c": true}, "d": [], "e": {}, "f": [null, 1, null]});
        assert_eq!(Plain::from_json(&json).to_json().unwrap(), json);
    }

    #[test]
    fn a_list_is_kept_as_the_table_that_it_is() {
        let list = Plain::List(vec![Plain::Bool(true), Plain::Nil, Plain::Number(3.0)]);
        let pairs = [(1.0, Plain::Bool(true)), (3.0, Plain::Number(3.0))];
        let table = Plain::Table(pairs.map(|(key, value)| (Plain::Number(key), value)).to_vec());
        assert_eq!(Plain::decode(&list.encode()), Some(table));
    }
}
