//! The types that a key can have.

use std::path::PathBuf;

use toml::Value;

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What is wrong, without the name of the key.
    pub message: String,
    /// Which element of a list is meant, counted from 0.
    pub element: Option<usize>,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), element: None }
    }

    fn wrong_type(expected: &str, value: &Value) -> Self {
        Self::new(format!("expected {expected}, got {}", describe(value)))
    }

    pub(super) fn at(self, element: usize) -> Self {
        Self { element: Some(element), ..self }
    }
}

/// A value's type in words.
pub(super) fn describe(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number with a fraction",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

/// A type that a key can have.
pub(super) trait Setting: Sized {
    /// The type in words.
    const KIND: &'static str;
    /// Takes the value of a file or flag.
    fn from_value(value: &Value) -> Result<Self, Fault>;
    /// The value as it would stand in a file; `None` when it is not set.
    fn to_value(&self) -> Option<Value>;
}

impl Setting for bool {
    const KIND: &'static str = "true or false";

    fn from_value(value: &Value) -> Result<Self, Fault> {
        value.as_bool().ok_or_else(|| Fault::wrong_type(Self::KIND, value))
    }

    fn to_value(&self) -> Option<Value> {
        Some(Value::Boolean(*self))
    }
}

macro_rules! whole_number {
    ($($Number:ty),+) => {$(
        impl Setting for $Number {
            const KIND: &'static str = "whole number";

            fn from_value(value: &Value) -> Result<Self, Fault> {
                let number = value.as_integer().ok_or_else(|| Fault::wrong_type("a whole number", value))?;
                Self::try_from(number).map_err(|_| Fault::new(format!("{number} is out of range")))
            }

            fn to_value(&self) -> Option<Value> {
                i64::try_from(*self).ok().map(Value::Integer)
            }
        }
    )+};
}

whole_number!(u8, u16, u32, u64, usize);

impl Setting for String {
    const KIND: &'static str = "text";

    fn from_value(value: &Value) -> Result<Self, Fault> {
        let text = value.as_str().ok_or_else(|| Fault::wrong_type("a text", value))?;
        if text.chars().any(char::is_control) {
            return Err(Fault::new("the text has a control character"));
        }
        Ok(text.to_owned())
    }

    fn to_value(&self) -> Option<Value> {
        Some(Value::String(self.clone()))
    }
}

impl Setting for PathBuf {
    const KIND: &'static str = "path";

    fn from_value(value: &Value) -> Result<Self, Fault> {
        let text = value.as_str().ok_or_else(|| Fault::wrong_type("a path", value))?;
        if text.is_empty() || text.contains('\0') {
            return Err(Fault::new("the path is empty or has a zero byte"));
        }
        Ok(text.into())
    }

    fn to_value(&self) -> Option<Value> {
        Some(Value::String(self.display().to_string()))
    }
}

impl<T: Setting> Setting for Option<T> {
    const KIND: &'static str = T::KIND;

    fn from_value(value: &Value) -> Result<Self, Fault> {
        T::from_value(value).map(Some)
    }

    fn to_value(&self) -> Option<Value> {
        self.as_ref().and_then(T::to_value)
    }
}

macro_rules! list {
    ($($Item:ty = $kind:literal),+) => {$(
        impl Setting for Vec<$Item> {
            const KIND: &'static str = $kind;

            fn from_value(value: &Value) -> Result<Self, Fault> {
                let items = value.as_array().ok_or_else(|| Fault::wrong_type(concat!("a ", $kind), value))?;
                let item = |(place, value)| <$Item>::from_value(value).map_err(|fault| fault.at(place));
                items.iter().enumerate().map(item).collect()
            }

            fn to_value(&self) -> Option<Value> {
                Some(Value::Array(self.iter().filter_map(Setting::to_value).collect()))
            }
        }
    )+};
}

list!(String = "list of texts", PathBuf = "list of paths");

/// Reads the text of a variable or flag as the type that the key has: lists are separated by commas.
pub(super) fn value_of_text(kind: &str, text: &str) -> Result<Value, Fault> {
    let text = text.trim();
    match kind {
        "true or false" => match text {
            "true" | "1" | "yes" | "on" => Ok(Value::Boolean(true)),
            "false" | "0" | "no" | "off" => Ok(Value::Boolean(false)),
            _ => Err(Fault::new(format!("expected true or false, got `{text}`"))),
        },
        "whole number" => text
            .replace('_', "")
            .parse()
            .map(Value::Integer)
            .map_err(|_| Fault::new(format!("expected a whole number, got `{text}`"))),
        kind if kind.starts_with("list") => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Ok(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
        }
        _ => Ok(Value::String(text.to_owned())),
    }
}

/// Refuses a number outside of its bounds.
pub(super) fn between<T: Copy + PartialOrd + std::fmt::Display>(value: T, min: T, max: T) -> Result<T, Fault> {
    if value < min || value > max {
        return Err(Fault::new(format!("{value} is out of range: it must be from {min} to {max}")));
    }
    Ok(value)
}
