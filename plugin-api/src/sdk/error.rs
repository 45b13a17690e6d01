use crate::abi::Status;

/// Why something did not work: a status for programs, a text for people. Both reach the host's log and `qpq status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What kind of failure; never [`Status::OK`].
    pub status: Status,
    /// What happened and how to mend it, in a sentence or two.
    pub message: String,
}

impl Error {
    /// An error of that status. [`Status::OK`] is no error and becomes [`Status::FAILED`].
    pub fn new(status: Status, message: impl Into<String>) -> Self {
        let status = if status.is_ok() { Status::FAILED } else { status };
        Self { status, message: message.into() }
    }

    /// A failure of no special kind.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Status::FAILED, message)
    }

    /// A wrong argument or configuration value.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Status::INVALID, message)
    }

    /// This plugin doesn't do that.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(Status::UNSUPPORTED, message)
    }

    /// `Ok` for [`Status::OK`], else an error with that message.
    pub fn check(status: Status, message: &str) -> Result<(), Self> {
        if status.is_ok() { Ok(()) } else { Err(Self::new(status, message)) }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.message, self.status)
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::invalid(error.to_string())
    }
}
