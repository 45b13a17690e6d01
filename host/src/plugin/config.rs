//! A plugin's configuration against the plugin's own JSON Schema, before any of its code runs.

use std::fmt;

use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use super::error::Problem;
use crate::config::nearest;

/// At most that many errors are told at once.
const MAX_ERRORS: usize = 8;

/// A value that doesn't fit the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Its key, with dots between the tables; empty for the table as a whole.
    pub key: String,
    /// What is wrong with it, and what is wanted.
    pub message: String,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => f.write_str(&self.message),
            key => write!(f, "{key}: {}", self.message),
        }
    }
}

pub(super) fn check(schema: &str, config: &Value) -> Result<(), Problem> {
    let schema = match schema.trim() {
        "" => Value::Null,
        text => serde_json::from_str(text).map_err(|e| Problem::BadSchema(e.to_string()))?,
    };
    let misfits = misfits(&schema, config)?;
    if misfits.is_empty() {
        return Ok(());
    }
    Err(Problem::Configuration(misfits.iter().map(ToString::to_string).collect()))
}

/// What in a plugin's section doesn't fit its schema, at most eight values; a schema that is `null` is none.
///
/// # Errors
/// When the schema is none.
pub fn misfits(schema: &Value, config: &Value) -> Result<Vec<Misfit>, Problem> {
    if schema.is_null() {
        let misfit = Misfit { key: String::new(), message: "not a table".to_owned() };
        return Ok(if config.is_object() { Vec::new() } else { vec![misfit] });
    }
    let validator = jsonschema::validator_for(schema).map_err(|e| Problem::BadSchema(e.to_string()))?;
    Ok(validator.iter_errors(config).flat_map(|error| explain(schema, &error)).take(MAX_ERRORS).collect())
}

fn explain(schema: &Value, error: &jsonschema::ValidationError<'_>) -> Vec<Misfit> {
    let key = error.instance_path().as_str().trim_start_matches('/').replace('/', ".");
    let ValidationErrorKind::AdditionalProperties { unexpected } = error.kind() else {
        return vec![Misfit { message: error.to_string(), key }];
    };
    let known = || schema.get("properties").and_then(Value::as_object).filter(|_| key.is_empty());
    let explain = |name: &String| {
        let near = known().and_then(|known| nearest(name, known.keys().map(String::as_str)));
        let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
        Misfit { key, message: format!("the plugin has no such key{hint}") }
    };
    unexpected.iter().map(explain).collect()
}

/// The schema, ready for use. References to other documents are not followed.
pub(super) fn compile(schema: &str) -> Result<jsonschema::Validator, Problem> {
    let schema: Value = serde_json::from_str(schema).map_err(|e| Problem::BadSchema(e.to_string()))?;
    jsonschema::validator_for(&schema).map_err(|e| Problem::BadSchema(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SCHEMA: &str = r#"{"type": "object", "additionalProperties": false,
        "properties": {"idle_ms": {"type": "integer", "minimum": 100}}}"#;

    #[test]
    fn a_wrong_value_is_named_with_its_place() {
        assert_eq!(check(SCHEMA, &json!({"idle_ms": 200})), Ok(()));
        let Err(Problem::Configuration(errors)) = check(SCHEMA, &json!({"idle_ms": 7})) else { panic!("accepted") };
        assert!(errors[0].starts_with("idle_ms: "), "{errors:?}");
        let Err(Problem::Configuration(errors)) = check(SCHEMA, &json!({"idel_ms": 200})) else { panic!("accepted") };
        assert_eq!(errors, ["idel_ms: the plugin has no such key; did you mean `idle_ms`?"]);
    }

    #[test]
    fn a_schema_that_is_none_is_the_plugins_fault() {
        assert!(matches!(check("{", &json!({})), Err(Problem::BadSchema(_))));
        assert!(matches!(check(r#"{"type": "nonsense"}"#, &json!({})), Err(Problem::BadSchema(_))));
        assert_eq!(check("", &json!({})), Ok(()));
    }
}
