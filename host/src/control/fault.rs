//! API errors on their way through Cap'n Proto exceptions.
//!
//! An exception has one text, so the code and the message share it: `code: message`.

use capnp::{Error, ErrorKind};

use crate::api::ApiError;

/// What capnp-rpc puts before the reason of an exception that came from the other side.
const REMOTE_PREFIX: &str = "remote exception: ";

/// Longest code that is looked for; a text without a code has its first colon later, or none.
const MAX_CODE_LEN: usize = 40;

/// An API error as an exception.
pub(super) fn to_exception(error: &ApiError) -> Error {
    Error::failed(format!("{}: {}", error.code, error.message))
}

/// The API error in an exception. An exception of another origin gets a code for its kind.
pub(super) fn from_exception(error: &Error) -> ApiError {
    let reason = error.extra.strip_prefix(REMOTE_PREFIX).unwrap_or(&error.extra);
    match error.kind {
        ErrorKind::Disconnected => {
            ApiError::new("disconnected", "The node closed the connection before it answered. See its log.")
        }
        ErrorKind::Unimplemented => ApiError::new(
            "unimplemented",
            "The running node does not know this command. It is older than this program: restart it.",
        ),
        _ => split(reason).unwrap_or_else(|| ApiError::new("protocol", format!("The connection failed: {error}."))),
    }
}

/// `code: message`, taken apart.
pub(super) fn split(reason: &str) -> Option<ApiError> {
    let (code, message) = reason.split_once(": ")?;
    let is_code = !code.is_empty()
        && code.len() <= MAX_CODE_LEN
        && code.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    is_code.then(|| ApiError::new(code, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_error_survives_the_way_through_an_exception() {
        let error = ApiError::new("recipient-full", "The queue is full: 1,000 messages wait.");
        let mut exception = to_exception(&error);
        exception.extra = format!("{REMOTE_PREFIX}{}", exception.extra);
        assert_eq!(from_exception(&exception), error);
    }

    #[test]
    fn other_exceptions_get_a_code_for_their_kind() {
        assert_eq!(from_exception(&Error::unimplemented("x".into())).code, "unimplemented");
        assert_eq!(from_exception(&Error::disconnected("x".into())).code, "disconnected");
        assert_eq!(from_exception(&Error::failed("Message has 9 words: too many".into())).code, "protocol");
        assert_eq!(from_exception(&Error::failed(String::new())).code, "protocol");
    }
}
