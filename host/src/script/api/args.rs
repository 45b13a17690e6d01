//! Checks what a script passes against the table of calls, and says what is wrong in its terms.

use mlua::{Function, LuaString, MultiValue, Table, Value};
use qpq_schemas::channel::normalise;

use super::super::context::Ctx;
use super::super::limits::{DURATION_BYTES, NAME_BYTES};
use super::super::plain::Plain;
use super::super::{duration, nearest};
use super::table::{Call, Kind, Param};

/// Names in a list.
const MAX_NAMES: usize = 64;

/// Checked arguments of a call; for a method, without the receiver.
#[derive(Debug)]
pub(crate) struct Args {
    values: Vec<Value>,
    options: Option<Table>,
    /// What stood before the colon.
    pub receiver: Option<Table>,
}

impl Args {
    pub(crate) fn check(ctx: &Ctx, call: &'static Call, values: MultiValue) -> Result<Self, String> {
        let mut values: Vec<Value> = values.into_iter().collect();
        let receiver = if call.is_method() { Some(receiver(ctx, call, &mut values)?) } else { None };
        // mesh.on(event, fn) and mesh.command(name, fn) leave out the table in the middle.
        if call.skips_middle() && values.len() == 2 && values.last().is_some_and(Value::is_function) {
            values.insert(1, Value::Nil);
        }
        if call.skips_first() && values.len() == 1 && values.first().is_some_and(Value::is_table) {
            values.insert(0, Value::Nil);
        }
        if values.len() > call.params.len() && !call.is_variadic() {
            let (takes, got) = (call.params.len(), values.len());
            return Err(format!("takes {takes} argument{}, got {got}", if takes == 1 { "" } else { "s" }));
        }
        let mut options = None;
        if !call.is_variadic() {
            for (i, param) in call.params.iter().enumerate() {
                let value = values.get(i).unwrap_or(&Value::Nil);
                check(param, value).map_err(|e| format!("argument {} ({}) {e}", i + 1, param.name))?;
                if let (Kind::Options, Value::Table(table)) = (param.kind, value) {
                    check_options(call, table)?;
                    options = Some(table.clone());
                }
            }
        }
        Ok(Self { values, options, receiver })
    }

    /// All arguments.
    pub(crate) fn all(&self) -> &[Value] {
        &self.values
    }

    pub(crate) fn value(&self, i: usize) -> Value {
        self.values.get(i).cloned().unwrap_or(Value::Nil)
    }

    /// A string's bytes; empty when it was left out.
    pub(crate) fn bytes(&self, i: usize) -> Vec<u8> {
        self.string(i).map_or_else(Vec::new, |text| text.as_bytes().to_vec())
    }

    pub(crate) fn string(&self, i: usize) -> Option<LuaString> {
        self.values.get(i).and_then(Value::as_string).cloned()
    }

    /// A name: a string of at most [`NAME_BYTES`] that is UTF-8.
    pub(crate) fn name(&self, i: usize) -> Result<String, String> {
        self.string(i).map_or(Ok(String::new()), |text| utf8(&text, NAME_BYTES, &format!("argument {}", i + 1)))
    }

    /// What a person may have typed: at most so many bytes of it, and what is no UTF-8 replaced.
    pub(crate) fn typed(&self, i: usize, max_bytes: usize) -> String {
        self.string(i).map_or_else(String::new, |text| beginning(&text, max_bytes))
    }

    /// A channel's name in its one form, as messages carry it: `#News` is `news`.
    pub(crate) fn topic(&self, i: usize) -> Result<String, String> {
        normalise(&self.name(i)?).map_err(|error| format!("argument {} (topic): {error}", i + 1))
    }

    pub(crate) fn function(&self, i: usize) -> Result<Function, String> {
        self.values.get(i).and_then(Value::as_function).cloned().ok_or_else(|| format!("argument {} is missing", i + 1))
    }

    pub(crate) fn table(&self, i: usize) -> Option<Table> {
        self.values.get(i).and_then(Value::as_table).cloned()
    }

    pub(crate) fn number(&self, i: usize) -> Option<f64> {
        self.values.get(i).and_then(number)
    }

    /// A duration in seconds.
    pub(crate) fn duration(&self, i: usize) -> Result<f64, String> {
        seconds(&self.value(i)).map_err(|e| format!("argument {}: {e}", i + 1))
    }

    pub(crate) fn option(&self, name: &str) -> Value {
        // Checked before; raw, so that no metamethod of the script runs here.
        self.options.as_ref().and_then(|table| table.raw_get(name).ok()).unwrap_or(Value::Nil)
    }

    pub(crate) fn option_text(&self, name: &str, max_bytes: usize) -> Result<Option<String>, String> {
        let value = self.option(name);
        value.as_string().map(|text| utf8(text, max_bytes, &format!("options.{name}"))).transpose()
    }

    /// An option that a person may have typed, as [`Args::typed`].
    pub(crate) fn option_typed(&self, name: &str, max_bytes: usize) -> String {
        self.option(name).as_string().map_or_else(String::new, |text| beginning(text, max_bytes))
    }

    pub(crate) fn option_bool(&self, name: &str) -> bool {
        self.option(name).as_boolean().unwrap_or(false)
    }

    pub(crate) fn option_number(&self, name: &str) -> Option<f64> {
        number(&self.option(name))
    }

    pub(crate) fn option_duration(&self, name: &str) -> Result<Option<f64>, String> {
        match self.option(name) {
            Value::Nil => Ok(None),
            value => seconds(&value).map(Some).map_err(|e| format!("options.{name}: {e}")),
        }
    }

    /// A list of names; `None` when it was left out.
    pub(crate) fn option_names(&self, name: &str) -> Result<Option<Vec<String>>, String> {
        let text = |value: &Value, place: &str| match value {
            Value::String(text) => utf8(text, NAME_BYTES, place),
            other => Err(format!("{place} must be a string, got {}", other.type_name())),
        };
        match self.option(name) {
            Value::Nil => Ok(None),
            Value::Table(list) => {
                if list.raw_len() > MAX_NAMES {
                    return Err(format!("options.{name} has more than {MAX_NAMES} entries"));
                }
                let items = list.sequence_values::<Value>().enumerate();
                items
                    .map(|(i, v)| text(&v.map_err(|e| e.to_string())?, &format!("options.{name}[{}]", i + 1)))
                    .collect::<Result<_, _>>()
                    .map(Some)
            }
            value => text(&value, &format!("options.{name}")).map(|name| Some(vec![name])),
        }
    }

    /// A message: a string's bytes, or a table as JSON.
    pub(crate) fn payload(&self, i: usize, max_bytes: usize) -> Result<Vec<u8>, String> {
        let bytes = match self.value(i) {
            Value::Table(table) => {
                let plain = Plain::from_lua(&Value::Table(table), max_bytes);
                let json = plain.and_then(|plain| plain.to_json()).map_err(|e| format!("argument {}: {e}", i + 1))?;
                json.to_string().into_bytes()
            }
            _ => self.bytes(i),
        };
        match bytes.len() {
            n if n > max_bytes => Err(format!("argument {} has {n} bytes; a message has at most {max_bytes}", i + 1)),
            _ => Ok(bytes),
        }
    }
}

fn receiver(ctx: &Ctx, call: &Call, values: &mut Vec<Value>) -> Result<Table, String> {
    let hint = || format!("call it with a colon, as in {}(…)", call.name);
    if values.is_empty() {
        return Err(hint());
    }
    let Value::Table(table) = values.remove(0) else { return Err(hint()) };
    let fits = match call.name.split(':').next() {
        Some("mesh.store") => ctx.is_store(&table),
        _ => table.has_metatable(),
    };
    if fits { Ok(table) } else { Err(hint()) }
}

fn check(param: &Param, value: &Value) -> Result<(), String> {
    let fits = match (param.kind, value) {
        (_, Value::Nil) if param.optional => true,
        (Kind::Any, value) => param.optional || !value.is_nil(),
        (Kind::Text, Value::String(_)) | (Kind::Boolean, Value::Boolean(_)) | (Kind::Function, Value::Function(_)) => {
            true
        }
        (Kind::Table | Kind::Options, Value::Table(_)) | (Kind::Payload, Value::String(_) | Value::Table(_)) => true,
        (Kind::Names, Value::String(_) | Value::Table(_)) => true,
        (Kind::Integer, value) => number(value).is_some_and(|n| n.fract() == 0.0),
        (Kind::Number, value) => number(value).is_some(),
        (Kind::Duration | Kind::When, value) => number(value).is_some() || value.is_string(),
        _ => false,
    };
    if fits { Ok(()) } else { Err(format!("must be {}, got {}", param.kind.words(), got(param.kind, value))) }
}

fn check_options(call: &Call, table: &Table) -> Result<(), String> {
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair.map_err(|e| e.to_string())?;
        let Value::String(key) = key else { return Err("options are named: { name = value }".to_owned()) };
        let key = beginning(&key, NAME_BYTES);
        let Some(option) = call.options.iter().find(|option| option.name == key) else {
            let names = call.options.iter().map(|option| option.name);
            let near = nearest(&key, names.clone()).map_or(String::new(), |near| format!("; did you mean '{near}'?"));
            let all = names.collect::<Vec<_>>().join(", ");
            return Err(format!("there is no option '{}'{near} (options: {all})", duration::shorten(&key)));
        };
        check(option, &value).map_err(|e| format!("options.{key} {e}"))?;
    }
    Ok(())
}

/// What a value is instead: its type, or the number that it is where another would do.
fn got(wanted: Kind, value: &Value) -> String {
    match (wanted, value) {
        (Kind::Integer | Kind::Number | Kind::Duration | Kind::When, Value::Number(number)) => number.to_string(),
        _ => type_word(value).to_owned(),
    }
}

/// How Lua calls the value's type.
pub(crate) fn type_word(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) => "number",
        other => other.type_name(),
    }
}

/// A copy of a text that is UTF-8 and no longer than that.
fn utf8(text: &LuaString, max_bytes: usize, place: &str) -> Result<String, String> {
    let bytes = text.as_bytes();
    if bytes.len() > max_bytes {
        return Err(format!("{place} must have at most {max_bytes} bytes, has {}", bytes.len()));
    }
    String::from_utf8(bytes.to_vec()).map_err(|_| format!("{place} must be UTF-8"))
}

/// A copy of at most so many bytes; what is no UTF-8 is replaced.
pub(crate) fn beginning(text: &LuaString, max_bytes: usize) -> String {
    let bytes = text.as_bytes();
    String::from_utf8_lossy(bytes.get(..max_bytes).unwrap_or(&bytes)).into_owned()
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(n) => Some(*n as f64),
        Value::Number(n) if n.is_finite() => Some(*n),
        _ => None,
    }
}

fn seconds(value: &Value) -> Result<f64, String> {
    match value {
        Value::String(text) => duration::parse(&beginning(text, DURATION_BYTES + 1)),
        other => duration::check(number(other).unwrap_or(f64::NAN)),
    }
}
