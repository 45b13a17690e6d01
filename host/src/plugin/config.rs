//! A plugin's configuration against the plugin's own JSON Schema, before any of its code runs.

use serde_json::Value;

use super::error::Problem;

/// At most that many errors are told at once.
const MAX_ERRORS: usize = 8;

pub(super) fn check(schema: &str, config: &Value) -> Result<(), Problem> {
    if schema.trim().is_empty() {
        return if config.is_object() { Ok(()) } else { Err(Problem::Configuration(vec!["not a table".to_owned()])) };
    }
    let validator = compile(schema)?;
    let errors: Vec<String> = validator
        .iter_errors(config)
        .take(MAX_ERRORS)
        .map(|e| match e.instance_path().as_str() {
            "" => e.to_string(),
            path => format!("{}: {e}", path.trim_start_matches('/').replace('/', ".")),
        })
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(Problem::Configuration(errors)) }
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
        assert!(matches!(check(SCHEMA, &json!({"idel_ms": 200})), Err(Problem::Configuration(_))));
    }

    #[test]
    fn a_schema_that_is_none_is_the_plugins_fault() {
        assert!(matches!(check("{", &json!({})), Err(Problem::BadSchema(_))));
        assert!(matches!(check(r#"{"type": "nonsense"}"#, &json!({})), Err(Problem::BadSchema(_))));
        assert_eq!(check("", &json!({})), Ok(()));
    }
}
