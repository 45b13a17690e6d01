//! Plain data: what a script may store, carry over a reload or write as JSON. No functions, no handles.
//!
//! Encoded as one tag byte and a body: nil, false and true have none; a number is 8 bytes, little-endian; a text is
//! its length in 4 bytes and the bytes; a table is its number of pairs in 4 bytes, and keys and values in turn.

use mlua::{Lua, Value};

use super::limits::DATA_DEPTH;

/// A value without behaviour.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Plain {
    Nil,
    Bool(bool),
    Number(f64),
    Text(Vec<u8>),
    Table(Vec<(Plain, Plain)>),
}

impl Plain {
    /// Copies a script's value, refusing what isn't plain, deeper than [`DATA_DEPTH`] or larger than `max_bytes`.
    pub(crate) fn from_lua(value: &Value, max_bytes: usize) -> Result<Self, String> {
        let mut left = max_bytes;
        copy(value, DATA_DEPTH, &mut left).map_err(|e| if e.is_empty() { Self::too_large(max_bytes) } else { e })
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

    /// As JSON; refuses texts that aren't UTF-8 and keys that JSON doesn't have.
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
            Self::Table(pairs) => match sequence(pairs) {
                Some(items) => Json::Array(items.into_iter().map(Self::to_json).collect::<Result<_, _>>()?),
                None => {
                    let entry = |(key, value): &(Self, Self)| Ok((json_key(key)?, value.to_json()?));
                    Json::Object(pairs.iter().map(entry).collect::<Result<_, String>>()?)
                }
            },
        })
    }

    /// From JSON. A null in an object or a list is left out, as Lua has it.
    pub(crate) fn from_json(json: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match json {
            Json::Null => Self::Nil,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(n) => Self::Number(n.as_f64().unwrap_or(0.0)),
            Json::String(text) => Self::Text(text.clone().into_bytes()),
            Json::Array(items) => {
                let keys = (1u32..).map(|i| Self::Number(f64::from(i)));
                Self::Table(keys.zip(items.iter().map(Self::from_json)).filter(|(_, v)| *v != Self::Nil).collect())
            }
            Json::Object(map) => {
                let pair =
                    |(key, value): (&String, &Json)| (Self::Text(key.clone().into_bytes()), Self::from_json(value));
                Self::Table(map.iter().map(pair).filter(|(_, v)| *v != Self::Nil).collect())
            }
        }
    }
}

/// The values of a table with the keys 1 … n, n > 0, in order.
fn sequence(pairs: &[(Plain, Plain)]) -> Option<Vec<&Plain>> {
    let mut items = vec![None; pairs.len()];
    for (key, value) in pairs {
        let Plain::Number(n) = key else { return None };
        let place = items.get_mut((*n as usize).checked_sub(1)?)?;
        *place = (n.fract() == 0.0).then_some(value);
    }
    if items.is_empty() { None } else { items.into_iter().collect() }
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

/// An empty error says that the size is used up.
fn copy(value: &Value, depth: usize, left: &mut usize) -> Result<Plain, String> {
    let size = match value {
        Value::String(text) => 5 + text.as_bytes().len(),
        Value::Integer(_) | Value::Number(_) => 9,
        _ => 5,
    };
    *left = left.checked_sub(size).ok_or_else(String::new)?;
    Ok(match value {
        Value::Nil => Plain::Nil,
        Value::Boolean(value) => Plain::Bool(*value),
        Value::Integer(n) => Plain::Number(*n as f64),
        Value::Number(n) => Plain::Number(*n),
        Value::String(text) => Plain::Text(text.as_bytes().to_vec()),
        Value::Table(_) if depth == 0 => return Err(format!("nested deeper than {DATA_DEPTH} tables, or in a circle")),
        Value::Table(table) => {
            let mut pairs = Vec::new();
            for pair in table.pairs::<Value, Value>() {
                let (key, value) = pair.map_err(|e| e.to_string())?;
                pairs.push((copy(&key, depth - 1, left)?, copy(&value, depth - 1, left)?));
            }
            Plain::Table(pairs)
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
        let json = serde_json::json!({"a": [1, 2.5, "x"], "b": {"c": true}});
        assert_eq!(Plain::from_json(&json).to_json().unwrap(), json);
    }
}
