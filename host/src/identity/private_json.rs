//! JSON files with secrets in them: strict when read, so that nothing is lost when they are written again; silent about
//! their content when refused; without copies left in freed memory.

mod secret;

use std::path::Path;

use serde::Deserialize;
use serde_json::error::Category;

use super::IdentityError;

pub(crate) use secret::{Secret, Seed};

/// Reads strict JSON of that schema. The errors never quote the file, since any part of it may be the secret.
pub(crate) fn parse<'a, T: Deserialize<'a>>(
    path: &Path,
    bytes: &'a [u8],
    schema: &'static str,
) -> Result<T, IdentityError> {
    /// What every version of a file has.
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow)]
        schema: Option<std::borrow::Cow<'a, str>>,
    }
    let corrupt = |error: &serde_json::Error| IdentityError::Corrupt {
        path: path.to_owned(),
        line: error.line(),
        column: error.column(),
        reason: reason(error),
    };
    let head: Head<'_> = serde_json::from_slice(bytes).map_err(|error| corrupt(&error))?;
    if head.schema.as_deref().is_some_and(|found| found != schema) {
        return Err(IdentityError::Schema { path: path.to_owned(), expected: schema });
    }
    serde_json::from_slice(bytes).map_err(|error| corrupt(&error))
}

/// What a JSON error says, as far as it can't quote the file.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    // The texts of syntax errors are fixed; those of data errors quote values, but for these.
    let fixed = ["missing field", "duplicate field", "expected 64 hexadecimal digits"];
    match error.classify() {
        Category::Eof => format!("the file ends too early ({text})"),
        Category::Syntax => format!("this is not JSON ({text})"),
        Category::Data if fixed.iter().any(|start| text.starts_with(start)) => text.to_owned(),
        Category::Data if text.starts_with("unknown field") => "a field that this version does not know".to_owned(),
        Category::Data | Category::Io => "a value of the wrong kind".to_owned(),
    }
}
