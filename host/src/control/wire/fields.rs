//! How each kind of field is written and read.
//!
//! `record!` takes a table of fields, `kind name(accessors)`, and makes both directions from it, so that they
//! can't disagree. The kinds:
//!
//! | kind | Rust | Cap'n Proto | accessors |
//! |---|---|---|---|
//! | `num` | a number or `bool` | the same | get, set |
//! | `count` | `usize` | `UInt64`, `UInt32` | get, set |
//! | `opt_num` | `Option` of a number | `Number` | has, get, init |
//! | `text`, `opt_text` | `String`, `Option<String>` | `Text` | \[has,] get, set |
//! | `data` | `Vec<u8>` | `Data` | get, set |
//! | `id`, `opt_id` | a 32-byte id | `Data` | \[has,] get, set |
//! | `texts` | `Vec<String>` | `List(Text)` | get, init |
//! | `nums` | `Vec<u64>` | `List(UInt64)` | get, init |
//! | `datas` | `Vec<Vec<u8>>` | `List(Data)` | get, init |
//! | `ids` | a list of 32-byte ids | `List(Data)` | get, init |
//! | `list`, `nested`, `opt_nested` | other records | `List(…)`, a struct | \[has,] get, init |
//! | `json` | a JSON value | `Text` | get, set |
//! | `trust` | `Trust` | `Trust` | get, set |
//! | `counters` | a map of counters | `List(Counter)` | get, init |

use std::collections::BTreeMap;

use capnp::{data_list, primitive_list, struct_list, text_list};
use qpq_schemas::node_capnp;

use crate::api::Trust;

macro_rules! put {
    (num, $value:expr, $to:ident, $get:ident, $set:ident) => {
        $to.$set(*$value)
    };
    (count, $value:expr, $to:ident, $get:ident, $set:ident) => {
        $to.$set((*$value).try_into().unwrap_or_default())
    };
    (opt_num, $value:expr, $to:ident, $has:ident, $get:ident, $init:ident) => {
        if let Some(number) = $value {
            $to.reborrow().$init().set_value(u64::from(*number));
        }
    };
    (text, $value:expr, $to:ident, $get:ident, $set:ident) => {
        $to.$set($value.as_str())
    };
    (opt_text, $value:expr, $to:ident, $has:ident, $get:ident, $set:ident) => {
        if let Some(text) = $value {
            $to.$set(text.as_str());
        }
    };
    (data, $value:expr, $to:ident, $get:ident, $set:ident) => {
        $to.$set($value)
    };
    (id, $value:expr, $to:ident, $get:ident, $set:ident) => {
        $to.$set($value.as_bytes())
    };
    (opt_id, $value:expr, $to:ident, $has:ident, $get:ident, $set:ident) => {
        if let Some(id) = $value {
            $to.$set(id.as_bytes());
        }
    };
    (texts, $value:expr, $to:ident, $get:ident, $init:ident) => {
        fields::write_texts($value, $to.reborrow().$init(list_len($value.len())))
    };
    (nums, $value:expr, $to:ident, $get:ident, $init:ident) => {
        fields::write_nums($value, $to.reborrow().$init(list_len($value.len())))
    };
    (ids, $value:expr, $to:ident, $get:ident, $init:ident) => {
        fields::write_ids($value.iter().map(|id| id.as_bytes()), $to.reborrow().$init(list_len($value.len())))
    };
    (datas, $value:expr, $to:ident, $get:ident, $init:ident) => {
        fields::write_datas($value, $to.reborrow().$init(list_len($value.len())))
    };
    (list, $value:expr, $to:ident, $get:ident, $init:ident) => {
        write_list($value, $to.reborrow().$init(list_len($value.len())))
    };
    (opt_nested, $value:expr, $to:ident, $has:ident, $get:ident, $init:ident) => {
        if let Some(value) = $value {
            value.write($to.reborrow().$init());
        }
    };
    (nested, $value:expr, $to:ident, $get:ident, $init:ident) => {
        $value.write($to.reborrow().$init())
    };
    (json, $value:expr, $to:ident, $get:ident, $set:ident) => {
        $to.$set($value.to_string().as_str())
    };
    (trust, $value:expr, $to:ident, $get:ident, $set:ident) => {
        $to.$set(fields::write_trust(*$value))
    };
    (counters, $value:expr, $to:ident, $get:ident, $init:ident) => {
        fields::write_counters($value, $to.reborrow().$init(list_len($value.len())))
    };
}

macro_rules! take {
    (num, $from:ident, $get:ident, $set:ident) => {
        $from.$get()
    };
    (count, $from:ident, $get:ident, $set:ident) => {
        fields::read_number($from.$get().into())?
    };
    (opt_num, $from:ident, $has:ident, $get:ident, $init:ident) => {
        if $from.$has() { Some(fields::read_number($from.$get()?.get_value())?) } else { None }
    };
    (text, $from:ident, $get:ident, $set:ident) => {
        $from.$get()?.to_string()?
    };
    (opt_text, $from:ident, $has:ident, $get:ident, $set:ident) => {
        if $from.$has() { Some($from.$get()?.to_string()?) } else { None }
    };
    (data, $from:ident, $get:ident, $set:ident) => {
        $from.$get()?.to_vec()
    };
    (id, $from:ident, $get:ident, $set:ident) => {
        read_id($from.$get()?)?
    };
    (opt_id, $from:ident, $has:ident, $get:ident, $set:ident) => {
        if $from.$has() { Some(read_id($from.$get()?)?) } else { None }
    };
    (texts, $from:ident, $get:ident, $init:ident) => {
        fields::read_texts($from.$get()?)?
    };
    (nums, $from:ident, $get:ident, $init:ident) => {
        $from.$get()?.iter().collect()
    };
    (ids, $from:ident, $get:ident, $init:ident) => {
        $from.$get()?.iter().map(|id| read_id(id?)).collect::<capnp::Result<_>>()?
    };
    (datas, $from:ident, $get:ident, $init:ident) => {
        $from.$get()?.iter().map(|bytes| Ok(bytes?.to_vec())).collect::<capnp::Result<_>>()?
    };
    (list, $from:ident, $get:ident, $init:ident) => {
        read_list($from.$get()?)?
    };
    (opt_nested, $from:ident, $has:ident, $get:ident, $init:ident) => {
        if $from.$has() { Some(Wire::read($from.$get()?)?) } else { None }
    };
    (nested, $from:ident, $get:ident, $init:ident) => {
        Wire::read($from.$get()?)?
    };
    (json, $from:ident, $get:ident, $set:ident) => {
        fields::read_json($from.$get()?.to_str()?)?
    };
    (trust, $from:ident, $get:ident, $set:ident) => {
        fields::read_trust($from.$get()?)
    };
    (counters, $from:ident, $get:ident, $init:ident) => {
        fields::read_counters($from.$get()?)?
    };
}

macro_rules! record {
    ($Record:ident = $module:ident { $($kind:ident $field:ident ($($accessor:ident),+)),+ $(,)? } $(skip { $($skipped:ident),+ })?) => {
        impl Wire for $Record {
            type Owned = node_capnp::$module::Owned;

            fn write(&self, mut to: node_capnp::$module::Builder<'_>) {
                $(put!($kind, &self.$field, to, $($accessor),+);)+
            }

            fn read(from: node_capnp::$module::Reader<'_>) -> capnp::Result<Self> {
                Ok(Self { $($field: take!($kind, from, $($accessor),+),)+ $($($skipped: Default::default(),)+)? })
            }
        }
    };
}

pub(super) use {put, record, take};

pub(in crate::control) fn write_texts(texts: &[String], mut list: text_list::Builder<'_>) {
    for (place, text) in (0..list.len()).zip(texts) {
        list.set(place, text.as_str());
    }
}

pub(in crate::control) fn read_texts(list: text_list::Reader<'_>) -> capnp::Result<Vec<String>> {
    list.iter().map(|text| Ok(text?.to_string()?)).collect()
}

pub(in crate::control) fn write_ids<'a>(ids: impl Iterator<Item = &'a [u8; 32]>, mut list: data_list::Builder<'_>) {
    for (place, id) in (0..list.len()).zip(ids) {
        list.set(place, id);
    }
}

pub(in crate::control) fn write_datas<T: AsRef<[u8]>>(items: &[T], mut list: data_list::Builder<'_>) {
    for (place, bytes) in (0..list.len()).zip(items) {
        list.set(place, bytes.as_ref());
    }
}

pub(super) fn write_nums(numbers: &[u64], mut list: primitive_list::Builder<'_, u64>) {
    for (place, number) in (0..list.len()).zip(numbers) {
        list.set(place, *number);
    }
}

pub(super) fn write_counters(
    counters: &BTreeMap<String, u64>,
    mut list: struct_list::Builder<'_, node_capnp::counter::Owned>,
) {
    for (place, (name, value)) in (0..list.len()).zip(counters) {
        let mut counter = list.reborrow().get(place);
        counter.set_name(name.as_str());
        counter.set_value(*value);
    }
}

pub(super) fn read_counters(
    list: struct_list::Reader<'_, node_capnp::counter::Owned>,
) -> capnp::Result<BTreeMap<String, u64>> {
    super::bound(list.len(), super::MAX_COUNTERS)?;
    list.iter().map(|counter| Ok((counter.get_name()?.to_string()?, counter.get_value()))).collect()
}

pub(in crate::control) fn write_trust(trust: Trust) -> node_capnp::Trust {
    match trust {
        Trust::Known => node_capnp::Trust::Known,
        Trust::Trusted => node_capnp::Trust::Trusted,
        Trust::Blocked => node_capnp::Trust::Blocked,
    }
}

pub(in crate::control) fn read_trust(trust: node_capnp::Trust) -> Trust {
    match trust {
        node_capnp::Trust::Known => Trust::Known,
        node_capnp::Trust::Trusted => Trust::Trusted,
        node_capnp::Trust::Blocked => Trust::Blocked,
    }
}

/// A number that must fit a smaller type.
pub(in crate::control) fn read_number<T: TryFrom<u64>>(value: u64) -> capnp::Result<T> {
    T::try_from(value).map_err(|_| capnp::Error::failed(format!("bad-argument: The number {value} is too large.")))
}

/// JSON text; an empty one is `null`.
pub(super) fn read_json(text: &str) -> capnp::Result<serde_json::Value> {
    if text.is_empty() {
        return Ok(serde_json::Value::Null);
    }
    serde_json::from_str(text).map_err(|error| capnp::Error::failed(format!("bad-argument: No JSON: {error}.")))
}
