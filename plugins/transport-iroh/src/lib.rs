//! transport-iroh: to be written.
#![forbid(unsafe_code)]
