//! Why a command was not done, and the exit code that says so.

use std::fmt;
use std::io::{self, Write};

use serde_json::json;

use crate::api::ApiError;
use crate::config::{ConfigError, ConfigErrors, Place};
use crate::control::ConnectError;

/// The operation failed.
const FAILED: u8 = 1;
/// The command was used wrongly.
pub(super) const USAGE: u8 = 2;
/// No node runs in the data directory.
const NO_NODE: u8 = 3;
/// The configuration is bad (`EX_CONFIG` of sysexits.h).
const CONFIG: u8 = 78;

/// Why a command was not done.
#[derive(Debug)]
pub(super) enum Failure {
    /// The operation failed.
    Operation(ApiError),
    /// The command was used wrongly.
    Usage(String),
    /// The node can't be reached.
    Connect(ConnectError),
    /// The configuration is bad.
    Config(ConfigErrors),
    /// The operation failed, and its answer has said how.
    Told,
    /// The other end of a pipe has closed: nothing more to say.
    Quiet,
}

impl Failure {
    pub(super) fn new(code: &str, message: impl Into<String>) -> Self {
        Self::Operation(ApiError::new(code, message))
    }

    #[allow(clippy::needless_pass_by_value, reason = "made for map_err")]
    pub(super) fn io(error: io::Error) -> Self {
        Self::new("io", error.to_string())
    }

    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Quiet => 0,
            Self::Told | Self::Operation(_) | Self::Connect(ConnectError::Io { .. } | ConnectError::Remote { .. }) => {
                FAILED
            }
            Self::Usage(_) => USAGE,
            Self::Connect(ConnectError::NoNode { .. }) => NO_NODE,
            Self::Config(_) => CONFIG,
        }
    }

    fn code(&self) -> &str {
        match self {
            Self::Quiet | Self::Told => "told",
            Self::Operation(error) => &error.code,
            Self::Usage(_) => "usage",
            Self::Connect(ConnectError::NoNode { .. }) => "no-node",
            Self::Connect(ConnectError::Io { .. }) => "unreachable",
            Self::Connect(ConnectError::Remote { error, .. }) => &error.code,
            Self::Config(_) => "configuration",
        }
    }

    fn to_json(&self) -> serde_json::Value {
        let mut value = json!({ "schema": "qpq.error/1", "code": self.code(), "message": self.to_string() });
        if let Self::Config(errors) = self {
            value["errors"] = errors.0.iter().map(config_error).collect();
        }
        value
    }

    /// Tells the user, on the standard error output.
    pub(super) fn print(&self, as_json: bool) {
        let _ = match self {
            Self::Quiet | Self::Told => Ok(()),
            _ if as_json => writeln!(io::stderr(), "{}", self.to_json()),
            Self::Config(_) => writeln!(io::stderr(), "{self}"),
            _ => writeln!(io::stderr(), "qpq: {self}"),
        };
    }
}

fn config_error(error: &ConfigError) -> serde_json::Value {
    match &error.place {
        Place::File { path, line, column } => {
            json!({ "file": path, "line": line, "column": column, "message": error.message })
        }
        place => json!({ "place": place.to_string(), "message": error.message }),
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quiet | Self::Told => Ok(()),
            Self::Operation(error) => write!(f, "{}", super::term::clean_lines(&error.to_string())),
            Self::Usage(text) => f.write_str(text),
            Self::Connect(error) => write!(f, "{}", super::term::clean_lines(&error.to_string())),
            Self::Config(errors) => write!(f, "{errors}"),
        }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Operation(error)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Self::Connect(error)
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::Config(errors)
    }
}
