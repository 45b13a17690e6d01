//! discovery-mdns: to be written.
#![forbid(unsafe_code)]
