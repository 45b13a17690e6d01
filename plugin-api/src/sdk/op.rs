use crate::abi::Status;
use crate::sdk::error::Error;
use crate::sdk::host::Host;

/// An operation of the host that waits for its answer. It is answered exactly once: by [`Op::done`], [`Op::ok`] or
/// [`Op::fail`], or with a failure when it is dropped unanswered (a task was cancelled, a panic unwound).
#[derive(Debug)]
#[must_use = "an operation that is dropped is reported as failed"]
pub struct Op {
    host: Host,
    id: u64,
}

impl Op {
    pub(crate) fn new(host: Host, id: u64) -> Self {
        Self { host, id }
    }

    /// The host's number for it, for [`LinkUp::op`](crate::LinkUp).
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Answers with a result or an error.
    pub fn done(self, result: Result<impl AsRef<str>, Error>) {
        match result {
            Ok(detail) => self.answer(Status::OK, detail.as_ref()),
            Err(error) => self.answer(error.status, &error.message),
        }
    }

    /// Answers that it is done.
    pub fn ok(self) {
        self.answer(Status::OK, "");
    }

    /// Answers that it failed.
    pub fn fail(self, error: &Error) {
        self.answer(error.status, &error.message);
    }

    fn answer(self, status: Status, detail: &str) {
        self.host.op_done(self.id, status, detail);
        std::mem::forget(self);
    }
}

impl Drop for Op {
    fn drop(&mut self) {
        self.host.op_done(self.id, Status::FAILED, "the plugin gave up the operation without an answer");
    }
}
