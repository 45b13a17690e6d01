use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A panic that was stopped at the boundary: its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caught(pub String);

/// Runs `work` and stops a panic. The payload is forgotten, not dropped: its drop could panic again, or belong to another
/// copy of the standard library.
pub fn catch<R>(work: impl FnOnce() -> R) -> Result<R, Caught> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let text = message(payload.as_ref());
        std::mem::forget(payload);
        Caught(text)
    })
}

fn message(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a message".to_owned()
    }
}
