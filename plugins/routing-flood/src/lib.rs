//! The simplest correct routing: flood, and remember the way that things came in by.
#![forbid(unsafe_code)]

pub mod flood;
pub mod table;
